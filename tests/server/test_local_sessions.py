"""Sessions that only their server knows: opened, used, made global, closed. Answers are Apache ZooKeeper 3.8.0's."""

import struct
from contextlib import suppress
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.server.raw_client import RawClient
from tests.server.servers import client_of, ensemble
from zabpy.model import OPEN_ACL, EphemeralOnLocalSessionError, SessionExpiredError
from zabpy.pipeline import Pending
from zabpy.sessions import LocalSessions, is_local_id
from zabpy.testing.disk import FaultyFiles
from zabpy.testing.ensemble import MemoryEnsemble
from zabpy.wire import Op, packed, records as r

ON_LOCAL = EphemeralOnLocalSessionError.code
LOCAL = {"local_sessions": True}
UPGRADING = {"local_sessions": True, "local_sessions_upgrading": True}
WORLD = OPEN_ACL


def multi_of(*creates: tuple[str, int]) -> bytes:
    ops = tuple((int(Op.CREATE), r.CreateRequest(path, b"", WORLD, flags)) for path, flags in creates)
    return packed(r.MultiRequest(ops))


def followers(servers: MemoryEnsemble) -> list[int]:
    return [id for id in servers.servers if id != servers.leader]


def counts(servers: MemoryEnsemble, id: int) -> tuple[int, int]:
    """Local and global sessions at that server."""
    server = servers.servers[id]
    return len(server.clients.local.sessions), len(server.driver.state.sessions)


@pytest.mark.parametrize("leads", [True, False])
async def test_a_local_session_costs_no_transaction_and_no_other_server_has_it(
    autojump_clock: MockClock, leads: bool
) -> None:
    async with ensemble(config=LOCAL) as servers:
        here = servers.leader if leads else followers(servers)[0]
        assert here is not None
        before = servers.servers[here].driver.state.last_applied
        client = await client_of(servers, here)
        assert is_local_id(client.session_id)
        assert servers.servers[here].driver.state.last_applied == before
        assert counts(servers, here) == (1, 0)
        assert (await client.create("/a", b"x")).err == 0
        assert await client.get("/a") == (0, b"x")
        assert (await client.sync()).err == 0
        other = RawClient(await servers.connect(next(id for id in servers.servers if id != here)))
        assert not await other.handshake(session_id=client.session_id, password=client.password)
        assert (await client.set("/a", b"y")).err == 0


async def test_without_the_key_and_standalone_sessions_are_global(autojump_clock: MockClock) -> None:
    async with ensemble() as servers:
        assert not is_local_id((await client_of(servers, 1)).session_id)
    async with ensemble(servers=1, config=UPGRADING) as servers:
        client = await client_of(servers, 1)
        assert not is_local_id(client.session_id)
        assert (await client.create("/e", flags=1)).err == 0


async def test_ephemerals_are_refused_where_sessions_are_not_upgraded(autojump_clock: MockClock) -> None:
    async with ensemble(config=LOCAL) as servers:
        for id in servers.servers:
            client = await client_of(servers, id)
            assert (await client.create(f"/e{id}", flags=1)).err == ON_LOCAL
            assert (await client.create(f"/e{id}", flags=3)).err == ON_LOCAL
            assert (await client.create("bad", flags=1)).err == ON_LOCAL
            assert (await client.create("/no/parent", flags=1)).err == ON_LOCAL
            create2 = await client.ask(Op.CREATE2, r.CreateRequest(f"/e{id}", b"", WORLD, 1))
            assert create2.err == ON_LOCAL
            told = await client.ask(Op.MULTI, multi_of((f"/m{id}", 0), (f"/e{id}", 1), (f"/n{id}", 0)))
            parts = b"".join(struct.pack(">i?ii", -1, False, code, code) for code in (0, ON_LOCAL, -2))
            assert (told.err, told.body) == (0, parts + struct.pack(">i?i", -1, True, -1))
            assert (await client.ask(Op.MULTI, multi_of((f"/m{id}", 0), (f"/n{id}", 2)))).body[:4] == b"\0\0\0\1"
            assert is_local_id(client.session_id)
            assert counts(servers, id) == (1, 0)
            assert (await client.create(f"/still-here{id}")).err == 0


CREATES: list[tuple[int, Any]] = [
    (Op.CREATE, r.CreateRequest("/e", b"", WORLD, 1)),
    (Op.CREATE, r.CreateRequest("/e", b"", WORLD, 3)),
    (Op.CREATE2, r.CreateRequest("/e", b"", WORLD, 1)),
    (Op.MULTI, multi_of(("/p", 0), ("/e", 1))),
    # In a multi the flags decide, under whatever opcode a create comes.
    (Op.MULTI, packed(r.MultiRequest(((int(Op.CREATE_CONTAINER), r.CreateRequest("/e", b"", WORLD, 1)),)))),
    (Op.MULTI, packed(r.MultiRequest(((int(Op.CREATE_TTL), r.CreateTTLRequest("/e", b"", WORLD, 3, 0)),)))),
]


@pytest.mark.parametrize(
    ("op", "record"), CREATES, ids=["create", "sequential", "create2", "multi", "as container", "as TTL"]
)
@pytest.mark.parametrize("leads", [True, False])
async def test_the_first_ephemeral_makes_the_session_global_under_its_id(
    autojump_clock: MockClock, op: int, record: Any, leads: bool
) -> None:
    async with ensemble(config=UPGRADING) as servers:
        here = servers.leader if leads else followers(servers)[0]
        assert here is not None
        client = await client_of(servers, here, timeout_ms=6000)
        id = client.session_id
        assert (await client.create("/q")).err == 0
        assert counts(servers, here) == (1, 0)
        told = await client.ask(op, record)
        assert told.err == 0
        assert counts(servers, here) == (0, 1)
        state = servers.servers[here].driver.state
        session = state.sessions.get(id)
        assert session is not None
        assert (session.timeout_ms, session.password) == (6000, client.password)
        (path,) = state.tree.ephemerals.of(id)
        assert state.tree.nodes[path].owner == id
        # It can go anywhere now, and what it owns goes with its end.
        there = next(other for other in servers.servers if other != here)
        assert await client.resume(await servers.connect(there))
        assert (await client.create("/e2", flags=1)).err == 0
        assert (await client.ask(Op.CLOSE_SESSION)).err == 0
        await servers.wait_level()
        assert counts(servers, here) == (0, 0)
        assert len(servers.servers[here].driver.state.tree.ephemerals) == 0


async def test_reads_and_watches_are_those_of_any_session(autojump_clock: MockClock) -> None:
    async with ensemble(config=LOCAL) as servers:
        client, other = await client_of(servers, 2), await client_of(servers, 3)
        await client.create("/a", b"1")
        await client.get("/a", watch=True)
        who = await client.ask(Op.WHO_AM_I)
        assert (who.err, who.body[:4]) == (0, b"\0\0\0\1")
        assert (await client.ask(Op.GET_EPHEMERALS, r.GetEphemeralsRequest("/"))).body == b"\0\0\0\0"
        told = await other.set("/a", b"2")
        assert (await client.sync()).err == 0
        assert client.events == [(told.zxid, 3, "/a")]
        assert (await client.ask(Op.SET_WATCHES, r.SetWatches(told.zxid, ("/a",), (), ()))).err == 0
        # Its own write, seen at once behind it.
        await client.send(Op.SET_DATA, r.SetDataRequest("/a", b"3", -1))
        xid = await client.send(Op.GET_DATA, r.GetDataRequest("/a", False))
        assert (await client.reply()).err == 0
        read = await client.reply()
        assert (read.xid, read.body[:5]) == (xid, b"\0\0\0\x013")


async def test_what_is_pipelined_around_the_upgrade_is_answered_in_order(autojump_clock: MockClock) -> None:
    async with ensemble(config=UPGRADING) as servers:
        client = await client_of(servers, followers(servers)[0])
        xids = [
            await client.send(Op.CREATE, r.CreateRequest("/a", b"1", WORLD, 0)),
            await client.send(Op.GET_DATA, r.GetDataRequest("/a", True)),
            await client.send(Op.CREATE, r.CreateRequest("/a/e", b"", WORLD, 1)),
            await client.send(Op.CREATE, r.CreateRequest("/a/f", b"", WORLD, 1)),
            await client.send(Op.SET_DATA, r.SetDataRequest("/a", b"2", -1)),
            await client.send(Op.GET_EPHEMERALS, r.GetEphemeralsRequest("/")),
            await client.send(Op.CLOSE_SESSION),
        ]
        told = [await client.reply() for _ in xids]
        assert [(reply.xid, reply.err) for reply in told] == [(xid, 0) for xid in xids]
        assert told[5].body[:4] == b"\0\0\0\2"
        assert await client.ended()
        await servers.wait_level()
        assert all(counts(servers, id) == (0, 0) for id in servers.servers)
        assert len(servers.servers[1].driver.state.tree.ephemerals) == 0


async def test_a_record_that_cannot_be_read_upgrades_nothing(autojump_clock: MockClock) -> None:
    async with ensemble(config=UPGRADING) as servers:
        client = await client_of(servers, 1)
        assert (await client.ask(Op.CREATE, b"abc")).err == -5
        assert (await client.ask(Op.MULTI, b"\0\0\0\1\0")).err == -5
        assert (await client.create("/x", flags=77)).err == -8
        assert counts(servers, 1) == (1, 0)


async def test_closing_a_local_session_needs_no_leader_and_has_its_turn(autojump_clock: MockClock) -> None:
    async with ensemble(config=LOCAL) as servers:
        client = await client_of(servers, followers(servers)[0])
        write = await client.send(Op.CREATE, r.CreateRequest("/a", b"", WORLD, 0))
        close = await client.send(Op.CLOSE_SESSION)
        first, second = await client.reply(), await client.reply()
        assert (first.xid, second.xid) == (write, close)
        assert second == (close, first.zxid, 0, b"")
        assert await client.ended()
        assert not await client.resume(await servers.connect(followers(servers)[0]))


async def test_it_is_resumed_at_its_server_with_its_password_and_the_older_connection_ends(
    autojump_clock: MockClock,
) -> None:
    async with ensemble(config=LOCAL) as servers:
        client = await client_of(servers, 2, timeout_ms=4000)
        thief = RawClient(await servers.connect(2))
        assert not await thief.handshake(session_id=client.session_id, password=b"x" * 16)
        assert (await client.create("/a")).err == 0
        again = RawClient(await servers.connect(2))
        assert await again.handshake(session_id=client.session_id, password=client.password, timeout_ms=8000)
        assert (again.session_id, again.timeout_ms) == (client.session_id, 8000)
        assert await client.ended()
        assert (await again.create("/b")).err == 0
        await again.close()
        await trio.sleep(7)
        assert counts(servers, 2) == (1, 0)  # by the new timeout
        assert await again.resume(await servers.connect(2))


async def test_a_silent_one_ends_within_a_tick_of_its_timeout(autojump_clock: MockClock) -> None:
    async with ensemble(config=LOCAL, tick_ms=1000) as servers:
        client = await client_of(servers, 2, timeout_ms=4000)
        await client.close()
        began = trio.current_time()
        while counts(servers, 2)[0]:  # noqa: ASYNC110
            await trio.sleep(0.01)
        assert 4 <= trio.current_time() - began <= 5.1


async def test_pings_keep_it(autojump_clock: MockClock) -> None:
    async with ensemble(config=LOCAL, tick_ms=1000) as servers:
        client = await client_of(servers, 2, timeout_ms=4000)
        for _ in range(10):
            await trio.sleep(3)
            assert (await client.ask(Op.PING)).err == 0
        assert counts(servers, 2) == (1, 0)


async def test_it_survives_a_change_of_leaders_and_not_its_servers_restart(autojump_clock: MockClock) -> None:
    async with ensemble(config=LOCAL) as servers:
        leader = servers.leader
        assert leader is not None
        here = followers(servers)[0]
        client = await client_of(servers, here, timeout_ms=8000)
        servers.crash(leader)
        assert await client.ended()
        await servers.wait_serving([here])
        assert await client.resume(await servers.connect(here))
        assert (await client.create("/a")).err == 0
        await servers.start(leader)
        servers.crash(here)
        await servers.start(here)
        await servers.wait_serving()
        assert not await client.resume(await servers.connect(here))
        fresh = await client_of(servers, here)
        assert fresh.session_id != client.session_id


async def test_it_has_its_whole_timeout_again_after_a_change_of_leaders(autojump_clock: MockClock) -> None:
    async with ensemble(config=LOCAL, tick_ms=1000) as servers:
        leader = servers.leader
        assert leader is not None
        here = followers(servers)[0]
        client = await client_of(servers, here, timeout_ms=6000)
        await client.close()
        await trio.sleep(4)
        servers.crash(leader)
        while servers.leader in (None, leader):  # noqa: ASYNC110
            await trio.sleep(0.01)
        await servers.wait_serving([here])
        began = trio.current_time()
        while counts(servers, here)[0]:  # noqa: ASYNC110
            await trio.sleep(0.01)
        assert 5.9 <= trio.current_time() - began <= 7.1


async def test_an_upgraded_session_that_has_expired_writes_nothing_more(autojump_clock: MockClock) -> None:
    async with ensemble(config=UPGRADING, tick_ms=1000) as servers:
        here = followers(servers)[0]
        client = await client_of(servers, here, timeout_ms=4000)
        assert (await client.create("/e", flags=1)).err == 0
        await trio.sleep(10)
        assert await client.ended()
        await servers.wait_level()
        assert counts(servers, here) == (0, 0)
        assert "/e" not in servers.servers[here].driver.state.tree.nodes
        assert not await client.resume(await servers.connect(here))


async def test_a_client_that_breaks_off_during_the_upgrade_comes_back_to_a_whole_session(
    autojump_clock: MockClock,
) -> None:
    async with ensemble(config=UPGRADING, delay_us_max=200_000) as servers:
        here = followers(servers)[0]
        client = await client_of(servers, here)
        sessions = servers.servers[here].clients.local.sessions
        await client.send(Op.CREATE, r.CreateRequest("/e", b"", WORLD, 1))
        while not sessions.is_upgrading(client.session_id):  # noqa: ASYNC110
            await trio.sleep(0.001)
        assert await client.resume(await servers.connect(here))
        assert (await client.create("/f", flags=1)).err == 0  # behind the upgrade, in the same session
        assert (await client.create("/e", flags=1)).err == -110
        assert counts(servers, here) == (0, 1)


async def test_a_change_of_roles_during_the_upgrade_leaves_nothing_half_done(autojump_clock: MockClock) -> None:
    """What counts afterwards is the state: the session is there, global, on all servers; or it is gone for good."""
    outcomes = set()
    for seed in range(8):
        async with ensemble(config=UPGRADING, delay_us_max=100_000, seed=seed) as servers:
            here = followers(servers)[0]
            client = await client_of(servers, here, timeout_ms=20_000)
            id = client.session_id
            await client.send(Op.CREATE, r.CreateRequest("/e", b"", WORLD, 1))
            while not servers.servers[here].clients.local.sessions.is_upgrading(id):  # noqa: ASYNC110
                await trio.sleep(0.001)
            await trio.sleep(0.02 * seed)
            leader = servers.leader
            assert leader is not None
            servers.crash(leader)
            with suppress(EOFError), trio.move_on_after(2):
                await client.reply()
            await servers.wait_serving([here])
            assert id not in servers.servers[here].clients.local.sessions
            lives = await client.resume(await servers.connect(here), zxid=0)
            assert lives == (id in servers.servers[here].driver.state.sessions)
            if lives:
                assert (await client.create("/f", flags=1)).err == 0
            else:
                assert "/e" not in servers.servers[here].driver.state.tree.nodes
            outcomes.add(lives)
    assert outcomes == {True, False}


async def test_an_upgrade_that_is_refused_ends_the_connection(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with ensemble(config=UPGRADING) as servers:
        here = followers(servers)[0]
        client = await client_of(servers, here)
        monkeypatch.setattr(Pending, "knows", lambda self, session_id: True)
        await client.send(Op.CREATE, r.CreateRequest("/e", b"", WORLD, 1))
        assert await client.ended()
        assert counts(servers, here) == (0, 0)
        assert "/e" not in servers.servers[here].driver.state.tree.nodes


async def test_the_marker_of_local_sessions_is_no_session_a_client_can_name(autojump_clock: MockClock) -> None:
    async with ensemble(config=LOCAL) as servers:
        client = RawClient(await servers.connect(1))
        assert not await client.handshake(session_id=-1)
        assert SessionExpiredError.code == -112


def forget_starts(servers: MemoryEnsemble, id: int) -> None:
    """As a server whose data directory was emptied would, were its new first start by chance the same: it gives ids
    again."""
    servers.servers[id].clients.local.sessions._counter = 0


async def owner_of(client: RawClient, path: str) -> int:
    told = await client.ask(Op.EXISTS, r.ExistsRequest(path, False))
    assert told.err == 0
    (owner,) = struct.unpack_from(">q", told.body, 44)
    return int(owner)


async def test_an_emptied_server_gives_no_id_of_a_session_that_is_global_since(autojump_clock: MockClock) -> None:
    async with ensemble(config=UPGRADING) as servers:
        here, there = followers(servers)
        old = await client_of(servers, here)
        assert (await old.create("/old", flags=1)).err == 0
        assert await old.resume(await servers.connect(there))
        forget_starts(servers, here)
        new = await client_of(servers, here)
        assert new.session_id != old.session_id
        assert (await new.create("/new", flags=1)).err == 0
        assert await owner_of(new, "/new") == new.session_id
        assert (await old.ask(Op.CLOSE_SESSION)).err == 0
        await new.sync()
        assert (await new.ask(Op.EXISTS, r.ExistsRequest("/old", False))).err == -101
        assert (await new.ask(Op.EXISTS, r.ExistsRequest("/new", False))).err == 0


async def test_a_local_session_with_a_global_ones_id_asks_nothing_in_its_name(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Opened in read-only mode by an emptied server, that did not know which there are."""
    async with ensemble(config=UPGRADING) as servers:
        here, there = followers(servers)
        old = await client_of(servers, here)
        assert (await old.create("/old", flags=1)).err == 0
        forget_starts(servers, here)
        blind = LocalSessions.open
        monkeypatch.setattr(
            LocalSessions, "open", lambda self, timeout_ms, now_ms, taken=(): blind(self, timeout_ms, now_ms)
        )
        new = await client_of(servers, here)
        assert new.session_id == old.session_id
        await new.send(Op.CREATE, r.CreateRequest("/new", b"", WORLD, 1))
        assert await new.ended()
        other = await client_of(servers, there)
        await other.sync()
        assert (await other.ask(Op.EXISTS, r.ExistsRequest("/new", False))).err == -101
        assert await owner_of(other, "/old") == old.session_id


async def test_an_emptied_server_counts_its_starts_from_elsewhere(autojump_clock: MockClock) -> None:
    async with ensemble(config=UPGRADING) as servers:
        id = followers(servers)[0]
        before = servers.servers[id].store.recovered.start_number
        servers.crash(id)
        servers.files[id] = FaultyFiles()
        await servers.start(id)
        await servers.wait_serving()
        assert servers.servers[id].store.recovered.start_number not in (before, before + 1)
