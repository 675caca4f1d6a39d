"""Read-only mode: what a server without a leader still answers, to whom, and how clients get back to writing.

Bytes and refusals are those of Apache ZooKeeper 3.8.0, but for global sessions, which it closes on and we keep.
"""

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.server.raw_client import RawClient
from tests.server.servers import client_of, ensemble
from zabpy.model import OPEN_ACL
from zabpy.sessions import is_local_id
from zabpy.testing.ensemble import MemoryEnsemble
from zabpy.wire import Op, Record, packed, records as r

ON = {"read_only_mode": True}
CREATE = r.CreateRequest("/new", b"", OPEN_ACL, 0)


async def lose_quorum(servers: MemoryEnsemble, survivor: int) -> None:
    """All others crash, and the survivor has had the time to notice and to enter read-only mode."""
    for id in list(servers.servers):
        if id != survivor:
            servers.crash(id)
    await wait_read_only(servers, survivor)


async def wait_read_only(servers: MemoryEnsemble, id: int) -> None:
    while not servers.servers[id].clients.read_only.on:  # noqa: ASYNC110
        await trio.sleep(0.01)


async def read_only_client(servers: MemoryEnsemble, id: int, **wishes: Any) -> RawClient:
    client = await client_of(servers, id, read_only=True, **wishes)
    assert client.read_only
    return client


async def back(client: RawClient, servers: MemoryEnsemble, id: int) -> str:
    """Come back with the session: how it is served now."""
    if not await client.resume(await servers.connect(id), read_only=True):
        return "gone"
    return "read-only" if client.read_only else "fully"


async def closed_without_a_word(servers: MemoryEnsemble, id: int, **wishes: Any) -> bool:
    client = RawClient(await servers.connect(id))
    try:
        await client.handshake(**wishes)
    except EOFError:
        return True
    return False


async def word(servers: MemoryEnsemble, id: int, text: bytes) -> bytes:
    stream = await servers.connect(id)
    await stream.send_all(text)
    told = b""
    while more := await stream.receive_some(65536):
        told += bytes(more)
    return told


async def wait_closed(client: RawClient) -> None:
    with trio.fail_after(60):
        while True:
            try:
                await client.next_frame()
            except EOFError:
                return


async def test_it_begins_two_seconds_after_the_search_for_a_leader_and_no_sooner(autojump_clock: MockClock) -> None:
    async with ensemble(config=ON) as servers:
        servers.crash(1)
        servers.crash(2)
        while servers.servers[3].clients.serving:  # noqa: ASYNC110
            await trio.sleep(0.001)
        began = trio.current_time()
        assert await word(servers, 3, b"isro") == b"null"
        assert await closed_without_a_word(servers, 3, read_only=True)
        await wait_read_only(servers, 3)
        assert 1.9 <= trio.current_time() - began <= 2.1
        assert await word(servers, 3, b"isro") == b"ro"
        told = (await word(servers, 3, b"srvr")).decode()
        assert "READ-ONLY mode; serving only read-only clients\n" in told
        assert "Mode: read-only\n" in told


async def test_with_long_ticks_it_waits_a_tick(autojump_clock: MockClock) -> None:
    async with ensemble(config=ON, tick_ms=5000) as servers:
        servers.crash(1)
        servers.crash(2)
        while servers.servers[3].clients.serving:  # noqa: ASYNC110
            await trio.sleep(0.001)
        began = trio.current_time()
        await wait_read_only(servers, 3)
        assert 4.9 <= trio.current_time() - began <= 5.1


async def test_who_did_not_ask_for_it_is_not_served(autojump_clock: MockClock) -> None:
    async with ensemble(config=ON) as servers:
        old = await client_of(servers, 3, timeout_ms=20_000)
        await lose_quorum(servers, 3)
        mine: dict[str, Any] = {"session_id": old.session_id, "password": old.password}
        for wish in (False, None):
            assert await closed_without_a_word(servers, 3, read_only=wish)
            assert await closed_without_a_word(servers, 3, read_only=wish, **mine)


async def test_without_the_key_nobody_is_served_without_a_leader(autojump_clock: MockClock) -> None:
    async with ensemble() as servers:
        servers.crash(1)
        servers.crash(2)
        await trio.sleep(30)
        assert not servers.servers[3].clients.read_only.on
        assert await closed_without_a_word(servers, 3, read_only=True)
        assert await word(servers, 3, b"isro") == b"null"


async def test_a_standalone_server_is_never_read_only(autojump_clock: MockClock) -> None:
    async with ensemble(servers=1, config=ON) as servers:
        client = await client_of(servers, 1, read_only=True)
        assert not client.read_only
        assert await word(servers, 1, b"isro") == b"rw"


REFUSED: list[tuple[int, Record | bytes]] = [
    (Op.CREATE, CREATE),
    (Op.CREATE2, CREATE),
    (Op.CREATE, r.CreateRequest("/new", b"", OPEN_ACL, 1)),
    (Op.CREATE_CONTAINER, CREATE),
    (Op.CREATE_TTL, b""),
    (Op.DELETE, r.DeleteRequest("/a", -1)),
    (Op.DELETE_CONTAINER, r.DeleteContainerRequest("/a")),
    (Op.SET_DATA, r.SetDataRequest("/a", b"", -1)),
    (Op.SET_ACL, r.SetACLRequest("/a", OPEN_ACL, -1)),
    (Op.MULTI, packed(r.MultiRequest(((int(Op.CHECK), r.CheckVersionRequest("/a", -1)),)))),
    (Op.MULTI, b"\0"),
    (Op.CHECK, r.CheckVersionRequest("/a", -1)),
    (Op.RECONFIG, b""),
    (Op.SYNC, r.SyncRequest("/")),
    (Op.SYNC, b""),
]
PATH_AND_WATCH = r.GetDataRequest("/a", True)
SERVED: list[tuple[int, Record | bytes]] = [
    (Op.EXISTS, PATH_AND_WATCH),
    (Op.GET_DATA, PATH_AND_WATCH),
    (Op.GET_CHILDREN, PATH_AND_WATCH),
    (Op.GET_CHILDREN2, PATH_AND_WATCH),
    (Op.GET_ACL, r.GetACLRequest("/a")),
    (Op.GET_EPHEMERALS, r.GetEphemeralsRequest("/")),
    (Op.GET_ALL_CHILDREN_NUMBER, r.GetAllChildrenNumberRequest("/")),
    (Op.MULTI_READ, packed(r.MultiReadRequest(((int(Op.GET_DATA), r.GetDataRequest("/a", False)),)))),
    (Op.WHO_AM_I, b""),
    (Op.SET_WATCHES, r.SetWatches(1 << 40, ("/a",), (), ())),
    (Op.ADD_WATCH, r.AddWatchRequest("/", 1)),
    (Op.REMOVE_WATCHES, r.RemoveWatchesRequest("/", 3)),
    (Op.PING, b""),
]


async def test_reads_are_answered_and_writes_are_not(autojump_clock: MockClock) -> None:
    async with ensemble(config=ON) as servers:
        writer = await client_of(servers, 3)
        await writer.create("/a", b"data")
        before = {op: await writer.ask(op, record) for op, record in SERVED if op < 100}
        await lose_quorum(servers, 3)
        client = await read_only_client(servers, 3)
        assert is_local_id(client.session_id)
        state = servers.servers[3].driver.state
        zxid = state.last_applied
        for op, record in REFUSED:
            told = await client.ask(op, record)
            assert (told.zxid, told.err, told.body) == (zxid, -119, b""), op
        for op, record in SERVED:
            told = await client.ask(op, record)
            assert (told.zxid, told.err) == (zxid, 0), op
            if op in before:
                assert told.body == before[op].body
        told = await client.ask(Op.AUTH, packed(r.AuthPacket(0, "digest", b"a:b")))
        assert (told.zxid, told.err) == (0, 0)
        assert state.last_applied == zxid
        assert "/new" not in state.tree.nodes
        await client.send(77)
        assert (await client.reply())[1:3] == (-1, -6)
        await wait_closed(client)


async def test_refusals_have_their_turn_among_reads(autojump_clock: MockClock) -> None:
    async with ensemble(config=ON) as servers:
        await lose_quorum(servers, 3)
        client = await read_only_client(servers, 3)
        asked: list[tuple[int, Record | bytes]] = [
            (Op.EXISTS, r.ExistsRequest("/", False)),
            (Op.CREATE, CREATE),
            (Op.PING, b""),
            (Op.SYNC, r.SyncRequest("/")),
            (Op.CLOSE_SESSION, b""),
        ]
        sent = [await client.send(op, record) for op, record in asked]
        told = [await client.reply() for _ in sent]
        assert [(reply.xid, reply.err) for reply in told] == list(zip(sent, (0, -119, 0, -119, 0), strict=True))
        await wait_closed(client)
        assert not await client.resume(await servers.connect(3), read_only=True)


@pytest.mark.parametrize("local", [False, True])
async def test_new_sessions_are_local_and_last_as_long_as_the_mode_or_the_key_says(
    autojump_clock: MockClock, local: bool
) -> None:
    async with ensemble(config=ON | {"local_sessions": local}) as servers:
        await lose_quorum(servers, 3)
        client = await read_only_client(servers, 3, timeout_ms=20_000)
        assert await client.resume(await servers.connect(3), read_only=True)
        other = RawClient(await servers.connect(3))
        assert not await other.handshake(session_id=client.session_id, password=b"x" * 16, read_only=True)
        await servers.start(1)
        await wait_closed(client)
        await servers.wait_serving([3])
        assert await back(client, servers, 3) == ("fully" if local else "gone")


async def test_a_local_session_goes_on_in_read_only_mode_and_behind_it(autojump_clock: MockClock) -> None:
    async with ensemble(config=ON | {"local_sessions": True}) as servers:
        client = await client_of(servers, 3, timeout_ms=20_000)
        elsewhere = await client_of(servers, 1, timeout_ms=20_000)
        await lose_quorum(servers, 3)
        assert await back(client, servers, 3) == "read-only"
        assert (await client.create("/no")).err == -119
        # One that lived on another server can be resumed nowhere: its client must learn it, to begin anew.
        assert not await elsewhere.resume(await servers.connect(3), read_only=True)
        await servers.start(1)
        await wait_closed(client)
        await servers.wait_serving([3])
        assert await back(client, servers, 3) == "fully"
        assert (await client.create("/yes")).err == 0


async def test_a_global_session_is_served_and_not_lost(autojump_clock: MockClock) -> None:
    async with ensemble(config=ON) as servers:
        client = await client_of(servers, 3, timeout_ms=8_000, read_only=True)
        assert not client.read_only
        await client.create("/mine", b"x", flags=1)
        await lose_quorum(servers, 3)
        assert await back(client, servers, 3) == "read-only"
        assert not is_local_id(client.session_id)
        assert await client.get("/mine", watch=True) == (0, b"x")
        assert (await client.create("/more", flags=1)).err == -119
        assert (await client.ask(Op.CLOSE_SESSION)).err == -119  # needs a leader too
        for _ in range(20):  # far longer than its timeout
            await trio.sleep(2.5)
            assert (await client.ask(Op.PING)).err == 0
        await servers.start(1)
        await wait_closed(client)
        await servers.wait_serving([1, 3])
        for id in (1, 3):
            assert await back(client, servers, id) == "fully"
            assert await client.get("/mine", watch=True) == (0, b"x")
            assert (await client.create(f"/more{id}", flags=1)).err == 0
        assert servers.servers[1].driver.state.tree.ephemerals.of(client.session_id)
        assert (await client.ask(Op.CLOSE_SESSION)).err == 0
        await servers.wait_level()
        assert len(servers.servers[3].driver.state.tree.ephemerals) == 0


async def test_a_session_this_server_knows_nothing_of_is_told_nothing(autojump_clock: MockClock) -> None:
    async with ensemble(config=ON) as servers:
        leader = await servers.wait_leader()
        lost = 1 if leader != 1 else 2
        known = await client_of(servers, lost, timeout_ms=20_000)
        for id in servers.servers:
            servers.cut(id, lost)
        unknown = await client_of(servers, leader, timeout_ms=20_000)
        await wait_read_only(servers, lost)
        assert unknown.session_id in servers.servers[leader].driver.state.sessions
        mine: dict[str, Any] = {"session_id": unknown.session_id, "password": unknown.password, "read_only": True}
        assert await closed_without_a_word(servers, lost, **mine)
        wrong = RawClient(await servers.connect(lost))
        assert not await wrong.handshake(session_id=known.session_id, password=b"x" * 16, read_only=True)
        assert await closed_without_a_word(servers, lost, zxid=1 << 60, read_only=True)  # from the future
        servers.heal()
        await servers.wait_serving([lost])
        assert await unknown.resume(await servers.connect(lost), read_only=True)


async def test_the_side_of_a_partition_that_has_no_quorum_shows_nothing_undecided(autojump_clock: MockClock) -> None:
    """A leader cut off from its followers has writes in its log that never come to be: they are not shown."""
    async with ensemble(config=ON) as servers:
        leader = await servers.wait_leader()
        client = await client_of(servers, leader, timeout_ms=20_000, read_only=True)
        await client.create("/a", b"1")
        for id in servers.servers:
            if id != leader:
                servers.cut(id, leader)
        await client.send(Op.SET_DATA, r.SetDataRequest("/a", b"2", -1))
        await wait_read_only(servers, leader)
        assert servers.servers[leader].replica.outstanding == 1
        with pytest.raises(EOFError):
            await client.reply()
        assert await client.resume(await servers.connect(leader), read_only=True)
        assert await client.get("/a") == (0, b"1")
        others = [id for id in servers.servers if id != leader]
        await servers.wait_serving(others)
        servers.heal()
        await wait_closed(client)
        await servers.wait_serving()
        assert await back(client, servers, leader) == "fully"
        assert await client.get("/a") == (0, b"1")


async def test_a_server_that_starts_alone_shows_its_snapshot_and_no_more(autojump_clock: MockClock) -> None:
    """Its log holds more, all of it final; but that it does not know. And it takes nobody's session for expired."""
    async with ensemble(config=ON, snapshot_entries=40) as servers:
        client = await client_of(servers, 3, timeout_ms=20_000, read_only=True)
        for number in range(60):
            await client.create(f"/{number}")
        while servers.servers[3].snapshots.last is None:  # noqa: ASYNC110
            await trio.sleep(0.01)
        later = await client_of(servers, 3, timeout_ms=20_000)
        await client.create("/last")
        for id in (1, 2, 3):
            servers.crash(id)
        await servers.start(3)
        await wait_read_only(servers, 3)
        shown = servers.servers[3].driver.state
        assert "/0" in shown.tree.nodes
        assert "/last" not in shown.tree.nodes
        assert shown.last_applied == servers.servers[3].store.recovered.snapshot.zxid
        reader = await read_only_client(servers, 3)
        assert (await reader.get("/last"))[0] == -101
        # Who has seen more, and whose session is later, is told nothing at all.
        mine: dict[str, Any] = {"session_id": client.session_id, "password": client.password, "read_only": True}
        assert await closed_without_a_word(servers, 3, zxid=client.zxid, **mine)
        assert await closed_without_a_word(
            servers, 3, session_id=later.session_id, password=later.password, read_only=True
        )
        await servers.start(1)
        await servers.wait_serving()
        assert await back(client, servers, 3) == "fully"
        assert (await client.get("/last"))[0] == 0
        assert await back(later, servers, 1) == "fully"


async def test_an_observer_alone_is_read_only_too(autojump_clock: MockClock) -> None:
    async with ensemble(servers=3, observers=1, config=ON) as servers:
        client = await client_of(servers, 3)
        await client.create("/a", b"1")
        await lose_quorum(servers, 3)
        reader = await read_only_client(servers, 3)
        assert await reader.get("/a") == (0, b"1")


async def test_silent_read_only_clients_and_their_sessions_end(autojump_clock: MockClock) -> None:
    async with ensemble(config=ON) as servers:
        await lose_quorum(servers, 3)
        client = await read_only_client(servers, 3, timeout_ms=4000)
        await wait_closed(client)
        await trio.sleep(2)
        assert len(servers.servers[3].clients.local.sessions) == 0
        assert not await client.resume(await servers.connect(3), read_only=True)


async def test_local_sessions_have_their_whole_timeout_when_it_begins(autojump_clock: MockClock) -> None:
    async with ensemble(config=ON | {"local_sessions": True}, tick_ms=1000) as servers:
        client = await client_of(servers, 3, timeout_ms=4000)
        await client.close()
        await lose_quorum(servers, 3)
        began = trio.current_time()
        while len(servers.servers[3].clients.local.sessions):  # noqa: ASYNC110
            await trio.sleep(0.01)
        assert 3.9 <= trio.current_time() - began <= 5.1


async def test_leaving_and_entering_again_many_times(autojump_clock: MockClock) -> None:
    async with ensemble(config=ON) as servers:
        client = await client_of(servers, 3, timeout_ms=20_000, read_only=True)
        await client.create("/mine", flags=1)
        for number in range(5):
            await lose_quorum(servers, 3)
            assert await back(client, servers, 3) == "read-only"
            assert (await client.create(f"/{number}")).err == -119
            await servers.start(1)
            await servers.start(2)
            await servers.wait_serving()
            assert await back(client, servers, number % 3 + 1) == "fully"
            assert (await client.create(f"/{number}")).err == 0
        assert (await client.get("/mine"))[0] == 0
