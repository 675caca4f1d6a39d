"""Three whole servers in one process, on streams, disks and time in memory."""

import os
import struct
from random import Random

import pytest
import trio
from trio.testing import MockClock

from tests.server.raw_client import RawClient
from tests.server.servers import client_of, ensemble
from tests.server.writer import Writer
from zabpy.model import OPEN_ACL
from zabpy.testing.disk import CutModel
from zabpy.testing.ensemble import MemoryEnsemble
from zabpy.wire import Op, records as r


async def test_a_write_on_one_server_is_read_on_all_after_a_sync(autojump_clock: MockClock) -> None:
    async with ensemble(servers=3, seed=1) as servers:
        writer = await client_of(servers, 1)
        assert (await writer.create("/a", b"x")).err == 0
        for id in (1, 2, 3):
            reader = await client_of(servers, id)
            assert (await reader.sync()).err == 0
            assert await reader.get("/a") == (0, b"x")


@pytest.mark.parametrize("syncs", [False, True])
@pytest.mark.parametrize("seed", range(3))
async def test_a_pipelined_read_sees_the_write_before_it_and_not_the_one_behind(
    autojump_clock: MockClock, seed: int, syncs: bool
) -> None:
    async with ensemble(servers=3, seed=seed) as servers:
        for id in (1, 2, 3):
            client = await client_of(servers, id)
            path = f"/p{id}"
            asked = [await client.send(Op.CREATE, r.CreateRequest(path, b"0", OPEN_ACL, 0))]
            reads = []
            for number in range(1, 30):
                asked.append(await client.send(Op.SET_DATA, r.SetDataRequest(path, b"%d" % number, -1)))
                if syncs:
                    asked.append(await client.send(Op.SYNC, r.SyncRequest(path)))
                reads.append(await client.send(Op.GET_DATA, r.GetDataRequest(path, False)))
                asked.append(reads[-1])
                asked.append(await client.send(Op.PING, xid=-2))
            seen = []
            for xid in asked:
                told = await client.reply()
                assert (told.xid, told.err) == (xid, 0)
                if xid in reads:
                    (length,) = struct.unpack_from(">i", told.body)
                    seen.append(told.body[4 : 4 + length])
            assert seen == [b"%d" % number for number in range(1, 30)]


async def test_a_read_after_a_sync_sees_every_write_acknowledged_before_however_slow_the_disk(
    autojump_clock: MockClock,
) -> None:
    async with trio.open_nursery() as nursery:
        servers = MemoryEnsemble(nursery, servers=3, seed=2)
        servers.disk_delay_ms = {1: 200, 2: 1, 3: 1}
        await servers.start_all()
        writer, reader = await client_of(servers, 2), await client_of(servers, 1)
        await writer.create("/s", b"")
        for number in range(20):
            assert (await writer.set("/s", b"%d" % number)).err == 0
            await reader.sync()
            assert await reader.get("/s") == (0, b"%d" % number)
        nursery.cancel_scope.cancel()


async def test_an_event_comes_before_any_reply_that_shows_the_change(autojump_clock: MockClock) -> None:
    async with ensemble(servers=3, seed=3) as servers:
        follower = next(id for id in (1, 2, 3) if id != servers.leader)
        watcher, writer = await client_of(servers, follower), await client_of(servers, servers.leader or 1)
        await writer.create("/w", b"old")
        await watcher.sync()
        for _ in range(20):
            _, before = await watcher.get("/w", watch=True)
            already = len(watcher.events)
            await writer.set("/w", b"new" + (before or b""))
            while (await watcher.get("/w"))[1] == before:
                assert len(watcher.events) == already
            assert len(watcher.events) == already + 1
        # The writer's own event stands before its own reply.
        await writer.get("/w", watch=True)
        await writer.set("/w", b"")
        assert [told.xid for told in writer.log[-2:]] == [-1, writer.log[-1].xid]
        assert writer.log[-2].zxid == writer.log[-1].zxid


async def test_a_session_moves_and_its_old_connection_ends(autojump_clock: MockClock) -> None:
    async with ensemble(servers=3, seed=4) as servers:
        old = await client_of(servers, 1)
        await old.create("/e", b"", flags=1)
        new = RawClient(await servers.connect(2))
        assert await new.handshake(session_id=old.session_id, password=old.password, zxid=old.zxid)
        assert new.session_id == old.session_id
        assert (await new.set("/e", b"moved")).err == 0
        await old.send(Op.SET_DATA, r.SetDataRequest("/e", b"late", -1))
        with pytest.raises(EOFError):
            await old.reply()
        assert await new.get("/e") == (0, b"moved")
        # On the same server the newer connection takes over at once.
        newer = RawClient(await servers.connect(2))
        assert await newer.handshake(session_id=old.session_id, password=old.password, zxid=new.zxid)
        with pytest.raises(EOFError):
            await new.reply()


async def test_a_silent_session_expires_in_time_and_one_that_pings_does_not(autojump_clock: MockClock) -> None:
    async with ensemble(servers=3, seed=5, tick_ms=1000) as servers:
        silent, alive = await client_of(servers, 1, timeout_ms=4000), await client_of(servers, 2, timeout_ms=4000)
        watcher = await client_of(servers, 3, timeout_ms=20_000)
        await silent.create("/silent", flags=1)
        await alive.create("/alive", flags=1)
        await watcher.sync()
        await silent.close()
        began = trio.current_time()
        while (await watcher.get("/silent"))[0] == 0:
            await alive.send(Op.PING, xid=-2)
            await alive.reply()
            await trio.sleep(0.2)
        assert 3.5 < trio.current_time() - began < 6.6  # the timeout, a tick of rounding, half a tick until we look
        assert await watcher.get("/alive") == (0, b"")
        gone = RawClient(await servers.connect(1))
        assert not await gone.handshake(session_id=silent.session_id, password=silent.password)
        assert (gone.session_id, gone.timeout_ms, gone.password) == (0, 0, bytes(16))
        with pytest.raises(EOFError):
            await gone.next_frame()


async def test_a_wrong_password_and_a_zxid_from_the_future(autojump_clock: MockClock) -> None:
    async with ensemble(servers=3, seed=6) as servers:
        for id in (1, 2, 3) * 3:  # at once, whether that server knows the session already or not
            client, thief = await client_of(servers, 1), RawClient(await servers.connect(id))
            wrong = b"0123456789abcdef"
            assert not await thief.handshake(session_id=client.session_id, password=wrong)
            assert (await client.sync()).err == 0
            assert (await client.create(f"/mine{client.session_id}")).err == 0  # the session's owner noticed nothing
            again = RawClient(await servers.connect(id))
            assert await again.handshake(session_id=client.session_id, password=client.password)
        assert not any("event=client_refused" in line for line in servers.lines)
        ahead = RawClient(await servers.connect(1))
        with pytest.raises(EOFError):
            await ahead.handshake(zxid=1 << 40)
        assert sum("event=client_refused" in line for line in servers.lines) == 1


async def test_a_leader_cut_off_from_all_drops_its_clients_and_the_others_go_on(autojump_clock: MockClock) -> None:
    async with ensemble(servers=3, seed=7, tick_ms=500) as servers:
        leader = servers.leader
        assert leader is not None
        others = [id for id in (1, 2, 3) if id != leader]
        client = await client_of(servers, leader, timeout_ms=10_000)
        await client.create("/kept", b"1")
        for id in others:
            servers.cut(leader, id)
        with pytest.raises(EOFError):
            await client.set("/kept", b"undecided")
        await servers.wait_serving(others)
        again = RawClient(await servers.connect(others[0]))
        assert await again.handshake(session_id=client.session_id, password=client.password, zxid=client.zxid)
        assert (await again.set("/kept", b"2")).err == 0
        servers.heal()
        await servers.wait_serving()
        await servers.wait_level()
        back = await client_of(servers, leader)
        assert await back.get("/kept") == (0, b"2")


async def test_one_that_was_away_for_long_gets_a_snapshot_and_one_with_a_lost_disk_too(
    autojump_clock: MockClock,
) -> None:
    async with ensemble(servers=3, seed=8, snapshot_entries=40) as servers:
        leader = servers.leader
        assert leader is not None
        away = next(id for id in (1, 2, 3) if id != leader)
        client = await client_of(servers, leader)
        await client.create("/n", b"")
        servers.crash(away)
        for number in range(600):
            await client.set("/n", b"%d" % number)
        await client.create("/e", b"", flags=1)
        await servers.start(away)
        await servers.wait_serving()
        await servers.wait_level()
        late = await client_of(servers, away)
        assert await late.get("/n") == (0, b"599")
        digests = {server.driver.state.digest() for server in servers.servers.values()}
        await servers.wait_level()
        assert len({server.driver.state.digest() for server in servers.servers.values()}) == 1, digests
        assert any("kind=image" in line for line in servers.lines)
        # And it goes on from there: as a follower, and after another restart.
        servers.crash(away)
        await servers.start(away)
        await client.set("/n", b"last")
        await servers.wait_serving()
        await servers.wait_level()
        assert await (await client_of(servers, away)).get("/n") == (0, b"last")


async def test_a_leader_that_is_told_so_serves_no_clients(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        servers = MemoryEnsemble(nursery, servers=3, seed=12)
        servers.limit(leader_serves=False)
        for id in (1, 2, 3):
            await servers.start(id)
        while sum(server.serving for server in servers.servers.values()) < 2:  # noqa: ASYNC110
            await trio.sleep(0.1)
        leader = next(id for id, server in servers.servers.items() if server.driver.leading)
        with pytest.raises(EOFError):
            await RawClient(await servers.connect(leader)).handshake()
        client = await client_of(servers, leader % 3 + 1)
        assert (await client.create("/a")).err == 0
        nursery.cancel_scope.cancel()


async def test_large_writes_of_many_clients_at_once_pass_through_a_follower(autojump_clock: MockClock) -> None:
    async with ensemble(servers=3, seed=11) as servers:
        follower = next(id for id in (1, 2, 3) if id != servers.leader)
        clients = [await client_of(servers, follower) for _ in range(12)]
        link = servers.servers[follower].peers.links[servers.leader or 0].number
        for number, client in enumerate(clients):
            await client.create(f"/large{number}")
        value = b"x" * 1_000_000
        for number, client in enumerate(clients):
            for _ in range(3):
                await client.send(Op.SET_DATA, r.SetDataRequest(f"/large{number}", value, -1))
        for client in clients:
            for _ in range(3):
                assert (await client.reply()).err == 0
        assert servers.servers[follower].peers.links[servers.leader or 0].number == link  # nobody hung up over it


async def test_an_observer_serves_and_does_not_count(autojump_clock: MockClock) -> None:
    async with ensemble(servers=3, observers=1, seed=9) as servers:
        client = await client_of(servers, 3)
        assert (await client.create("/o", b"x")).err == 0
        leader = servers.leader
        servers.crash(2 if leader == 1 else 1)
        with pytest.raises(EOFError):  # one voter of two is no quorum, whatever the observer does
            await client.set("/o", b"y")


async def test_a_failed_sync_ends_the_server_and_the_others_go_on(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        servers = MemoryEnsemble(nursery, servers=1, seed=10)
        files = servers.files[1]
        with pytest.raises(ExceptionGroup) as raised:  # it leaves through the nursery it runs in
            async with trio.open_nursery() as inner:
                servers._nursery = inner
                await servers.start_all()
                client = await client_of(servers, 1)
                await client.create("/a")

                def fail(when: str, kind: str, path: str) -> None:
                    if when == "before" and "sync" in kind:
                        raise OSError(5, "Input/output error", path)

                files.hook = fail
                with pytest.raises(EOFError):
                    await client.create("/b")
                await trio.sleep(5)
        assert "DiskFailedError" in repr(raised.value.exceptions)
        operations = files.operations
        await trio.sleep(60)
        assert files.operations == operations  # nothing was written after it
        assert any("event=disk_failed" in line for line in servers.lines)


@pytest.mark.parametrize("seed", range(int(os.environ.get("ZABPY_SEEDS", "2"))))
async def test_what_was_acknowledged_is_there_whatever_crashes(autojump_clock: MockClock, seed: int) -> None:
    """Five clients write numbers, servers crash, lose power and come back: every acknowledged number is there at the
    end, in order, on every server; no session that kept in touch was lost; all states are equal."""
    rng = Random(seed)
    async with ensemble(servers=3, seed=100 + seed, tick_ms=500, snapshot_entries=60, seconds_max=2000) as servers:

        async def dial(rng: Random) -> trio.abc.Stream:
            return await servers.connect(rng.randint(1, 3))

        writers = [Writer(dial, number, Random(seed * 10 + number), pause=0.1) for number in range(5)]
        async with trio.open_nursery() as nursery:
            for writer in writers:
                nursery.start_soon(writer.run)
            await trio.sleep(1)
            for _ in range(6):
                victim = (servers.leader if rng.random() < 0.5 else None) or rng.choice(sorted(servers.servers))
                model = rng.choice([None, CutModel.PREFIX, CutModel.PIECES, CutModel.ANY_ORDER])
                servers.crash(victim, model)
                await trio.sleep(rng.random() * 2)
                await servers.start(victim)
                await servers.wait_serving()
                await trio.sleep(rng.random())
            for writer in writers:
                writer.stopping = True
        await servers.wait_level()
        await trio.sleep(1)
        assert len({server.driver.state.digest() for server in servers.servers.values()}) == 1
        for writer in writers:
            assert not writer.lost_session
            assert len(writer.acknowledged) > 20
            for server in servers.servers.values():
                nodes = server.driver.state.tree.nodes
                assert nodes[f"{writer.path}/alive"].owner == writer.session_id
                kept = sorted(nodes[writer.path].children or ())
                there = [int(name) for name in kept if name != "alive"]
                assert set(writer.acknowledged) <= set(there)
                zxids = [nodes[f"{writer.path}/{number:06d}"].czxid for number in sorted(there)]
                assert zxids == sorted(zxids)
