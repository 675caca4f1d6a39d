"""Registrations when sessions end, connections break at every request, and servers are away. In memory."""

import trio
from trio.testing import MockClock

from zabpy.client import Created, Deleted, Resynced
from zabpy.recipes.registration import Presence

from .killing import until
from .memory import world


async def test_an_isolated_client_does_not_call_itself_present_for_longer_than_its_session_may_last(
    autojump_clock: MockClock,
) -> None:
    async with world() as w, w.client("a") as zk, w.client("b") as other:
        async with zk.registered("/1", b"a") as here, other.registered("/1", b"b", wait=False) as next_one:
            w.isolate("a")
            cut_at = trio.current_time()
            await until(lambda: next_one.present)
            assert not here.present, "it gave itself up before the servers gave it up"
            assert trio.current_time() - cut_at < 8
            w.heal()
            await until(lambda: here.state is Presence.OCCUPIED)
            assert (await other.get("/1")).data == b"b"


async def test_the_znode_of_its_own_lost_session_is_replaced_before_the_servers_end_that(
    autojump_clock: MockClock,
) -> None:
    """Lost here by our own deadline, while the servers heard us later: what we said arrived, the answers did not."""
    async with world(servers=1) as w, w.client("a") as zk, w.client("b") as other:
        async with zk.registered("/1", b"a") as here:
            first, lost_session = await other.get("/1"), zk.session
            w.servers.lose(1, "a")
            await zk.wait_lost(lost_session)
            w.servers.heal()
            seen_missing = 0.0
            while (found := await other.exists("/1")) is None or found.czxid == first.stat.czxid:
                if found is None:
                    seen_missing += 0.01
                await trio.sleep(0.01)
            assert found.ephemeral_owner == zk.session.id
            assert seen_missing < 0.5, "a connection anew takes up to 0.1 s, the end of a session seconds"
            await here.wait_present()


async def test_with_take_over_never_the_end_of_the_old_session_is_waited_for(autojump_clock: MockClock) -> None:
    async with world(servers=1) as w, w.client("a") as zk, w.client("b") as other:
        async with zk.registered("/1", b"a", take_over="never") as here:
            first, lost_session = await other.get("/1"), zk.session
            w.servers.lose(1, "a")
            await zk.wait_lost(lost_session)
            zk.core.undead.clear()  # else the client itself ends it
            w.servers.heal()
            await until(lambda: here.state is Presence.OCCUPIED)
            assert (await other.get("/1")).stat.czxid == first.stat.czxid
            await here.wait_present()
            assert (await other.get("/1")).stat.ephemeral_owner == zk.session.id


async def test_wherever_the_connection_breaks_it_is_there_in_the_end_and_gone_after_the_block(
    autojump_clock: MockClock,
) -> None:
    """The block's first connection breaks after each byte that is sent and after each that comes."""
    ends: set[str] = set()
    async with world(servers=1, delay_us_max=0) as w, w.client("look") as look:
        for direction in ("sent_bytes_max", "received_bytes_max"):
            for count in range(0, 1_200, 13):
                async with w.client("a", request_timeout_ms=60_000) as zk:
                    stream = w.dials["a"].streams[-1]
                    passed = stream.sent_bytes if direction == "sent_bytes_max" else stream.received_bytes
                    setattr(stream, direction, passed + count)
                    async with zk.registered("/a/1", b"a" * 20) as here:
                        found = await look.get("/a/1")
                        assert (found.data, found.stat.ephemeral_owner) == (b"a" * 20, zk.session.id)
                        await here.update(b"other")
                        assert (await look.get("/a/1")).data == b"other"
                    assert await look.exists("/a/1") is None
                    ends.add("broke" if stream.broken else "held")
                await look.delete("/a")
    assert ends == {"broke", "held"}


async def test_a_cancelled_block_leaves_no_znode_though_its_create_was_on_its_way(autojump_clock: MockClock) -> None:
    async with world(servers=3, delay_us_max=5_000) as w, w.client("a") as zk, w.client("look") as look:
        for delay_ms in range(0, 60, 2):
            with trio.move_on_after(delay_ms / 1000):
                async with zk.registered("/a/1", b"a"):
                    await trio.sleep(0.005)
            await look.sync()
            assert await look.exists("/a/1") is None


async def test_the_block_ends_soon_though_no_server_can_be_reached_and_nothing_stays(
    autojump_clock: MockClock,
) -> None:
    async with world() as w, w.client("look") as look:
        async with w.client("a") as zk:
            async with zk.registered("/1", b"a"):
                w.isolate("a")
                left_at = trio.current_time()
            assert trio.current_time() - left_at < 6
            w.heal()
            await trio.sleep(1)
            await look.sync()
            assert await look.exists("/1") is None


async def test_a_former_incarnations_znode_is_replaced_in_one_go(autojump_clock: MockClock) -> None:
    async with world(servers=1) as w, w.client("a") as a, w.client("b") as b, w.client("look") as look:
        async with a.registered("/1", b"me"), look.watch("/1") as events:
            assert isinstance(await anext(events), Resynced)
            async with b.registered("/1", b"me", take_over="same_data") as here:
                gone, back = await anext(events), await anext(events)
                assert (gone, back) == (Deleted("/1", here.token), Created("/1", here.token))
