"""Registrations under trio and asyncio; what happens when sessions end and connections break is in the other file."""

from collections.abc import Callable

import anyio
import pytest

import zabpy
from tests.client.conftest import Story
from zabpy.model import Acl, InvalidAclError, NoChildrenForEphemeralsError
from zabpy.recipes.registration import Presence

from .killing import kill, until

OnBoth = Callable[[Story], None]


def test_the_znode_is_there_for_as_long_as_the_block_lasts(on_both: OnBoth, hosts: str) -> None:
    async def story() -> None:
        async with zabpy.connect(hosts) as zk, zabpy.connect(hosts) as other:
            async with zk.registered("/svc/api/1", b"here") as here:
                assert (here.present, here.state) == (True, Presence.PRESENT)
                found = await other.get("/svc/api/1")
                assert found.data == b"here"
                assert found.stat.ephemeral_owner == zk.session.id
                assert found.stat.czxid == here.token
            await other.sync()
            assert await other.exists("/svc/api/1") is None
            assert await other.exists("/svc/api") is not None
            assert not here.present

    on_both(story)


def test_it_comes_back_when_somebody_deletes_it_and_when_its_session_ends(on_both: OnBoth, hosts: str) -> None:
    async def story() -> None:
        async with zabpy.connect(hosts) as zk, zabpy.connect(hosts) as other:
            async with zk.registered("/1", b"here") as here, here.states() as states:
                assert await anext(states) is Presence.PRESENT
                czxid = here.token
                await other.delete("/1")
                await until(lambda: here.token != czxid)
                await here.wait_present()
                session, czxid = zk.session, here.token
                await kill(hosts, session)
                await zk.wait_lost(session)
                assert not here.present
                await until(lambda: here.token != czxid)
                await other.sync()
                found = await other.get("/1")
                assert found.data == b"here"
                assert found.stat.ephemeral_owner == zk.session.id != session.id
            await other.sync()
            assert await other.exists("/1") is None

    on_both(story)


def test_its_data_can_be_changed_and_stay_changed(on_both: OnBoth, hosts: str) -> None:
    async def story() -> None:
        async with zabpy.connect(hosts) as zk, zabpy.connect(hosts) as other:
            async with zk.registered("/1", b"one") as here:
                await here.update(b"two")
                assert (await other.get("/1")).data == b"two"
                await other.set("/1", b"a stranger's")
                await here.update(b"three")
                assert (await other.get("/1")).data == b"three"
                czxid = here.token
                await other.delete("/1")
                await until(lambda: here.token != czxid)
                assert (await other.get("/1")).data == b"three"
                asked: list[bytes] = []

                async def update(data: bytes) -> None:
                    asked.append(data)
                    await here.update(data)

                async with anyio.create_task_group() as tasks:
                    for i in range(20):
                        tasks.start_soon(update, b"%d" % i)
                assert (await other.get("/1")).data == asked[-1], "the last one wins"

    on_both(story)


def test_a_znode_of_somebody_else_is_waited_for_and_never_touched(on_both: OnBoth, hosts: str) -> None:
    async def story() -> None:
        async with zabpy.connect(hosts) as zk, zabpy.connect(hosts) as other:
            async with zk.registered("/1", b"a") as first, other.registered("/1", b"b", wait=False) as second:
                async with second.states() as states:
                    assert [await anext(states), await anext(states)] == [Presence.ABSENT, Presence.OCCUPIED]
                assert (first.present, second.present) == (True, False)
                with anyio.move_on_after(0.1) as waited:
                    async with other.registered("/2"), zk.registered("/2"):
                        pass
                assert waited.cancelled_caught

    on_both(story)


def test_who_waited_comes_next(on_both: OnBoth, hosts: str) -> None:
    async def story() -> None:
        async with zabpy.connect(hosts) as zk, zabpy.connect(hosts) as other, anyio.create_task_group() as tasks:
            second = other.registered("/1", b"b")

            async def wait() -> None:
                async with second:
                    assert (await zk.get("/1")).data == b"b"

            async with zk.registered("/1", b"a"):
                tasks.start_soon(wait)
                await until(lambda: second.state is Presence.OCCUPIED)

    on_both(story)


def test_the_znode_of_a_former_incarnation_is_replaced_if_asked_and_an_older_one_that_lives_waits(
    on_both: OnBoth, hosts: str
) -> None:
    async def story() -> None:
        async with zabpy.connect(hosts) as zk, zabpy.connect(hosts) as other:
            async with zk.registered("/1", b"me", take_over="same_data") as former:
                with anyio.move_on_after(0.1) as waited:
                    async with other.registered("/1", b"you", take_over="same_data"):
                        pass
                assert waited.cancelled_caught and former.present
                with anyio.move_on_after(0.1) as waited:
                    async with other.registered("/1", b"me"):
                        pass
                assert waited.cancelled_caught and former.present
                async with other.registered("/1", b"me", take_over="same_data") as here:
                    await until(lambda: former.state is Presence.OCCUPIED)
                    czxid = here.token
                    await anyio.sleep(0.05)
                    assert (here.present, former.present) == (True, False), "it does not take it back"
                    assert (await zk.get("/1")).stat.czxid == czxid
                await former.wait_present()
            newer, stop = zk.registered("/1", b"me", take_over="same_data"), anyio.Event()

            async def take_over() -> None:
                async with newer:
                    await stop.wait()

            async with anyio.create_task_group() as tasks:
                async with other.registered("/1", b"me") as here:
                    tasks.start_soon(take_over)
                    await until(lambda: here.state is Presence.OCCUPIED)
                    await newer.wait_present()
                found = await zk.get("/1")
                assert found.stat.czxid == newer.token, "who leaves takes nothing of somebody else's"
                stop.set()

    on_both(story)


def test_what_a_server_refuses_for_good_is_raised_and_cancels_the_body(on_both: OnBoth, hosts: str) -> None:
    async def story() -> None:
        async with zabpy.connect(hosts) as zk, zabpy.connect(hosts) as other:
            with pytest.raises(InvalidAclError, match="/1"):
                async with zk.registered("/1", acl=(Acl(1, "nonsense", "x"),)):
                    pass
            async with zk.registered("/2", wait=False):
                while not await zk.exists("/2"):
                    await anyio.lowlevel.checkpoint()
                with pytest.raises(NoChildrenForEphemeralsError, match="/2/3"):
                    async with other.registered("/2/3", wait=False):
                        await anyio.sleep(60)
            with pytest.raises(LookupError, match="the body's own"):
                async with zk.registered("/3"):
                    raise LookupError("the body's own")
            assert await zk.exists("/3") is None

    on_both(story)


def test_what_cannot_be_is_refused_at_once(on_both: OnBoth, hosts: str) -> None:
    async def story() -> None:
        async with zabpy.connect(hosts) as zk:
            with pytest.raises(zabpy.BadArgumentsError, match="nonsense"):
                zk.registered("/1", take_over="nonsense")  # type: ignore[arg-type]
            async with zk.registered("/1") as here:
                with pytest.raises(zabpy.recipes.NotReentrantError, match="already"):
                    async with zk.registered("/1"):
                        pass
                assert here.present
            with pytest.raises(RuntimeError, match="is over"):
                async with here:
                    pass
            with pytest.raises(zabpy.BadArgumentsError, match="no-slash"):
                async with zk.registered("no-slash"):
                    pass
        with pytest.raises(zabpy.ClosedClientError):
            async with zk.registered("/1"):
                pass

    on_both(story)


def test_a_cancelled_entry_leaves_nothing(on_both: OnBoth, hosts: str) -> None:
    async def story() -> None:
        async with zabpy.connect(hosts) as zk, zabpy.connect(hosts) as other:
            for delay_ms in range(8):
                with anyio.move_on_after(delay_ms / 1000):
                    async with zk.registered("/1", b"x"):
                        await anyio.sleep(0.002)
                await other.sync()
                assert await other.exists("/1") is None

    on_both(story)
