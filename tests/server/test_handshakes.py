"""Handshakes of all the clients there are, and of what is none. Expected is what Apache ZooKeeper 3.8.0 said."""

import struct
from typing import NamedTuple

import pytest
import trio
from trio.testing import MockClock

from tests.server.raw_client import RawClient
from tests.server.servers import client_of, ensemble
from zabpy.model import OPEN_ACL
from zabpy.testing.ensemble import MemoryEnsemble
from zabpy.wire import Op, frame, records as r

TICK_MS = 1000


class Answer(NamedTuple):
    timeout_ms: int
    session_id: int
    password: bytes
    tail: bytes


def wish(
    version: int = 0,
    zxid: int = 0,
    timeout_ms: int = 10_000,
    session_id: int = 0,
    password: bytes | None = bytes(16),
    tail: bytes = b"\0",
) -> bytes:
    """A ConnectRequest without its length."""
    buffer = struct.pack(">i", -1) if password is None else struct.pack(">i", len(password)) + password
    return struct.pack(">iqiq", version, zxid, timeout_ms, session_id) + buffer + tail


async def greet(servers: MemoryEnsemble, payload: bytes, id: int = 1) -> tuple[RawClient, Answer | None]:
    """Say it; what the server answered, None if it closed without a word."""
    client = RawClient(await servers.connect(id))
    await client.stream.send_all(frame(payload))
    try:
        told = await client.next_frame()
    except EOFError:
        return client, None
    version, timeout_ms, session_id, size = struct.unpack_from(">iiqi", told)
    assert (version, size) == (0, 16)
    client.session_id, client.password, client.timeout_ms = session_id, told[20:36], timeout_ms
    return client, Answer(timeout_ms, session_id, told[20:36], told[36:])


SERVED = {
    "as usual": (wish(), 10_000, b"\0"),
    "may be read-only": (wish(tail=b"\1"), 10_000, b"\0"),
    "3.4: no byte for read-only": (wish(tail=b""), 10_000, b""),
    "a later protocol": (wish(version=1), 10_000, b"\0"),
    "a negative protocol": (wish(version=-5), 10_000, b"\0"),
    "the largest protocol": (wish(version=0x7FFFFFFF), 10_000, b"\0"),
    "null password": (wish(password=None), 10_000, b"\0"),
    "null password, 3.4": (wish(password=None, tail=b""), 10_000, b""),
    "empty password": (wish(password=b""), 10_000, b"\0"),
    "empty password, 3.4": (wish(password=b"", tail=b""), 10_000, b""),
    "short password": (wish(password=b"abcd"), 10_000, b"\0"),
    "long password": (wish(password=b"a" * 40), 10_000, b"\0"),
    "very long password": (wish(password=b"a" * 10_000), 10_000, b"\0"),
    "no timeout": (wish(timeout_ms=0), 2 * TICK_MS, b"\0"),
    "a negative timeout": (wish(timeout_ms=-1), 2 * TICK_MS, b"\0"),
    "the smallest timeout": (wish(timeout_ms=-(1 << 31)), 2 * TICK_MS, b"\0"),
    "the largest timeout": (wish(timeout_ms=(1 << 31) - 1), 20 * TICK_MS, b"\0"),
    "more than we know": (wish(tail=b"\0\1"), 10_000, b"\0"),
    "much more than we know": (wish(tail=b"\7" * 50), 10_000, b"\0"),
    "any byte is true": (wish(tail=b"\2"), 10_000, b"\0"),
    "has seen nothing at all": (wish(zxid=-1), 10_000, b"\0"),
}


@pytest.mark.parametrize("name", SERVED)
async def test_who_gets_a_session(autojump_clock: MockClock, name: str) -> None:
    payload, timeout_ms, tail = SERVED[name]
    async with ensemble(servers=1, tick_ms=TICK_MS) as servers:
        client, answer = await greet(servers, payload)
        assert answer is not None
        assert (answer.timeout_ms, answer.tail) == (timeout_ms, tail)
        assert answer.session_id != 0
        assert answer.password != bytes(16)
        assert (await client.ask(Op.PING)).err == 0
        assert (await client.create("/e", flags=1)).err == 0


REFUSED = {
    **{f"cut to {size} bytes": wish()[:size] for size in (0, 1, 4, 8, 24, 27, 28, 29, 36, 43)},
    "a password of less than no bytes": struct.pack(">iqiqi", 0, 0, 1000, 0, -2) + b"\0",
    "a password that is not all there": struct.pack(">iqiqi", 0, 0, 1000, 0, 100) + bytes(20),
    "a password without end": struct.pack(">iqiqi", 0, 0, 1000, 0, 1 << 30) + bytes(20),
    "has seen what is to come": wish(zxid=1 << 60),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_who_is_closed_without_a_word(autojump_clock: MockClock, name: str) -> None:
    async with ensemble(servers=1, tick_ms=TICK_MS) as servers:
        client = RawClient(await servers.connect(1))
        await client.stream.send_all(frame(REFUSED[name]))
        assert await client.ended()
        assert len(servers.servers[1].driver.state.sessions) == 0


GONE = {"expects the byte": b"\0", "3.4": b""}


@pytest.mark.parametrize("name", GONE)
async def test_whose_session_is_gone(autojump_clock: MockClock, name: str) -> None:
    """All look the same: unknown, negative, closed, the wrong password in whatever form."""
    tail = GONE[name]
    async with ensemble(servers=1, tick_ms=TICK_MS) as servers:
        alive = await client_of(servers, 1)
        over = await client_of(servers, 1)
        await over.ask(Op.CLOSE_SESSION)
        mine = alive.session_id
        for payload in (
            wish(session_id=0x123456789, tail=tail),
            wish(session_id=-5, tail=tail),
            wish(session_id=over.session_id, password=over.password, tail=tail),
            wish(session_id=mine, password=b"x" * 16, tail=tail),
            wish(session_id=mine, password=None, tail=tail),
            wish(session_id=mine, password=b"", tail=tail),
            wish(session_id=mine, password=alive.password[:-1], tail=tail),
            wish(session_id=mine, password=alive.password + b"x", tail=tail),
        ):
            client, answer = await greet(servers, payload)
            assert answer == (0, 0, bytes(16), tail)
            assert await client.ended()
        # ZooKeeper cuts off the connection that is there before it looks at the password. We do not.
        assert (await alive.ask(Op.PING)).err == 0


@pytest.mark.parametrize("tail", [b"\0", b""], ids=["now", "3.4"])
async def test_who_comes_back_gets_the_timeout_it_asks_for_now(autojump_clock: MockClock, tail: bytes) -> None:
    async with ensemble(servers=1, tick_ms=TICK_MS) as servers:
        first = await client_of(servers, 1, timeout_ms=20_000)
        id, password = first.session_id, first.password
        for timeout_ms, negotiated in ((4000, 4000), (0, 2000), (1 << 30, 20_000), (5000, 5000)):
            client, answer = await greet(
                servers, wish(3, timeout_ms=timeout_ms, session_id=id, password=password, tail=tail)
            )
            assert answer == (negotiated, id, password, tail)
            assert await first.ended()
            first = client
        await first.create("/e", flags=1)
        await first.close()
        began = trio.current_time()
        while len(servers.servers[1].driver.state.sessions):  # noqa: ASYNC110
            await trio.sleep(0.01)
        assert 4.9 <= trio.current_time() - began <= 6.1  # 5 s, rounded up to a tick
        assert "/e" not in servers.servers[1].driver.state.tree.nodes


async def test_a_client_that_says_no_more_behind_its_request(autojump_clock: MockClock) -> None:
    """ZooKeeper closes without an answer, though the session is made. Here it may come before the end."""
    async with ensemble(servers=3, tick_ms=TICK_MS) as servers:
        for id in servers.servers:
            stream = await servers.connect(id)
            await stream.send_all(frame(wish()))
            await stream.send_eof()
            with trio.fail_after(2):
                while await stream.receive_some(4096):
                    pass
        assert (await (await client_of(servers, 1)).create("/fine")).err == 0
        await trio.sleep(13)
        for server in servers.servers.values():
            assert len(server.clients.connections) == len(server.driver.state.sessions) == 0


async def test_a_session_that_moved_is_served_at_its_new_place_only(autojump_clock: MockClock) -> None:
    async with ensemble(tick_ms=TICK_MS) as servers:
        here, there = [id for id in servers.servers if id != servers.leader]
        old = await client_of(servers, here)
        await old.create("/e", b"1", flags=1)
        new = RawClient(await servers.connect(there))
        assert await new.handshake(session_id=old.session_id, password=old.password)
        assert (await old.get("/e"))[0] == 0  # a read shows nothing of it, as in ZooKeeper
        await old.send(Op.SET_DATA, r.SetDataRequest("/e", b"old", -1))
        assert await old.ended()  # SESSIONMOVED is never told
        assert (await new.set("/e", b"new")).err == 0
        assert await new.get("/e") == (0, b"new")
        back = RawClient(await servers.connect(here))
        assert await back.handshake(session_id=new.session_id, password=new.password)
        assert (await back.set("/e", b"back")).err == 0
        await new.send(Op.CLOSE_SESSION)
        assert await new.ended()
        assert (await back.set("/e", b"still")).err == 0


async def test_older_forms_of_requests(autojump_clock: MockClock) -> None:
    async with ensemble(servers=1, tick_ms=TICK_MS) as servers:
        client = await client_of(servers, 1)
        created = await client.ask(Op.CREATE, r.CreateRequest("/x", b"d", OPEN_ACL, 1))
        assert (created.err, created.body) == (0, b"\0\0\0\2/x")  # no Stat behind it
        children = await client.ask(Op.GET_CHILDREN, r.GetChildrenRequest("/zookeeper", False))
        assert children.body[:4] == b"\0\0\0\2"
        path = b"\0\0\0\2/x"
        for op, record in (
            (Op.CREATE, path + b"\0\0\0\1d"),
            (Op.GET_DATA, path),
            (Op.GET_CHILDREN, path),
            (Op.EXISTS, path),
            (Op.DELETE, path),
            (Op.SET_DATA, path + b"\0\0\0\1x"),
            (Op.SYNC, b""),
            (Op.GET_ACL, b""),
        ):
            assert (await client.ask(op, record)).err == -5, op
        # Bytes behind a record, as a later client may send them, are not looked at.
        assert (await client.ask(Op.EXISTS, path + b"\0tail")).err == 0
        assert (await client.ask(Op.PING, b"abc")).err == 0
        assert (await client.ask(Op.CLOSE_SESSION, b"abc")).err == 0
        assert await client.ended()


async def test_the_c_clients_set_watches_is_answered_under_its_own_xid(autojump_clock: MockClock) -> None:
    async with ensemble(servers=1, tick_ms=TICK_MS) as servers:
        client = await client_of(servers, 1)
        await client.create("/a")
        zxid = client.zxid
        await client.set("/a", b"later")
        await client.send(Op.SET_WATCHES, r.SetWatches(zxid, ("/a",), (), ()), xid=-8)
        told = await client.reply()
        assert (told.xid, told.err, told.body) == (-8, 0, b"")
        assert client.events == [(-1, 3, "/a")]


async def test_nobody_makes_sessions_but_by_a_handshake(autojump_clock: MockClock) -> None:
    """ZooKeeper takes createSession (-10) from a client: it makes a session that nobody has, and answers with a
    ConnectResponse in the middle of the stream. No client sends it; here it is an operation that does not exist."""
    async with ensemble(servers=1, tick_ms=TICK_MS) as servers:
        client = await client_of(servers, 1)
        told = await client.ask(Op.CREATE_SESSION, struct.pack(">i", 5000))
        assert (told.zxid, told.err) == (-1, -6)
        assert await client.ended()
        assert len(servers.servers[1].driver.state.sessions) == 1


async def test_sessions_have_their_whole_timeout_again_after_a_change_of_leaders(autojump_clock: MockClock) -> None:
    async with ensemble(tick_ms=TICK_MS) as servers:
        leader = servers.leader
        assert leader is not None
        here = next(id for id in servers.servers if id != leader)
        client = await client_of(servers, here, timeout_ms=6000)
        await client.close()
        await trio.sleep(5)
        servers.crash(leader)
        while servers.leader in (None, leader):  # noqa: ASYNC110
            await trio.sleep(0.01)
        began = trio.current_time()
        while len(servers.servers[here].driver.state.sessions):  # noqa: ASYNC110
            await trio.sleep(0.01)
        assert 5.9 <= trio.current_time() - began <= 7.1


async def test_closing_takes_the_ephemerals_away_on_every_server_at_one_zxid(autojump_clock: MockClock) -> None:
    async with ensemble(tick_ms=TICK_MS) as servers:
        client, watcher = await client_of(servers, 1), await client_of(servers, 2)
        for number in range(3):
            await client.create(f"/e{number}", flags=1)
        await watcher.sync()
        for number in range(3):
            assert (await watcher.ask(Op.EXISTS, r.ExistsRequest(f"/e{number}", True))).err == 0
        closed = await client.ask(Op.CLOSE_SESSION)
        await trio.sleep(1)
        await watcher.ask(Op.PING)
        assert watcher.events == [(closed.zxid, 2, f"/e{number}") for number in range(3)]


@pytest.mark.parametrize("seed", range(5))
async def test_a_server_that_was_stopped_reads_first_what_came_meanwhile(autojump_clock: MockClock, seed: int) -> None:
    async with ensemble(servers=1, tick_ms=TICK_MS, seed=seed) as servers:
        lively, silent = [await client_of(servers, 1, timeout_ms=4000) for _ in range(2)]
        for client in (lively, silent):
            assert (await client.create(f"/{client.session_id}", flags=1)).err == 0
        await lively.send(Op.PING)
        autojump_clock.jump(60)  # as a process that is stopped sees it: all at once
        assert (await lively.reply()).err == 0
        for _ in range(5):
            await trio.sleep(1)
            assert (await lively.ask(Op.PING)).err == 0
        assert (await lively.get(f"/{lively.session_id}"))[0] == 0
        assert (await lively.get(f"/{silent.session_id}"))[0] == -101
        assert await silent.ended()
