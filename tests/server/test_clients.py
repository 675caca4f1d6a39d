"""The client port, byte by byte: one standalone server in memory."""

import struct
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.server.raw_client import RawClient, all_of
from tests.server.servers import client_of, ensemble
from zabpy.model import OPEN_ACL
from zabpy.pipeline import Row
from zabpy.server.connection import READS_WAITING_MAX
from zabpy.testing.ensemble import MemoryEnsemble
from zabpy.wire import Op, frame, records as r

WISH = bytes.fromhex(
    "0000002d 00000000 0000000000000000 00007530 0000000000000000 00000010 00000000000000000000000000000000 00"
)


@pytest.mark.parametrize("old_client", [False, True])
async def test_the_handshake_has_the_read_only_byte_exactly_when_the_client_sent_it(
    autojump_clock: MockClock, old_client: bool
) -> None:
    async with ensemble(servers=1) as servers:
        stream = await servers.connect(1)
        await stream.send_all(b"\0\0\0\x2c" + WISH[4:-1] if old_client else WISH)
        size = 40 if old_client else 41
        data = b""
        while len(data) < size:
            data += bytes(await stream.receive_some(size))
        length, version, timeout_ms, session_id, password = struct.unpack_from(">iiiqi", data)
        assert (length, version, timeout_ms, password) == (size - 4, 0, 20_000, 16)  # 30 s wished, 20 ticks at most
        assert session_id != 0
        assert data[40:] == (b"" if old_client else b"\0")


async def test_what_is_pipelined_behind_the_handshake_is_answered_in_order(autojump_clock: MockClock) -> None:
    async with ensemble(servers=1) as servers:
        client = RawClient(await servers.connect(1))
        create = struct.pack(">ii", 1, Op.CREATE) + r.packed(r.CreateRequest("/a", b"x", OPEN_ACL, 0))
        ping = struct.pack(">ii", -2, Op.PING)
        get = struct.pack(">ii", 2, Op.GET_DATA) + r.packed(r.GetDataRequest("/a", False))
        rest = frame(create) + frame(ping) + frame(get)
        await client.stream.send_all(WISH + rest[:30])
        await trio.sleep(1)
        await client.stream.send_all(rest[30:])
        assert len(await client.next_frame()) == 37
        assert [(await client.reply())[::2] for _ in range(3)] == [(1, 0), (-2, 0), (2, 0)]


async def test_frames_may_come_byte_by_byte(autojump_clock: MockClock) -> None:
    async with ensemble(servers=1) as servers:
        client = await client_of(servers, 1)
        for byte in frame(struct.pack(">ii", 7, Op.EXISTS) + r.packed(r.ExistsRequest("/", False))):
            await client.stream.send_all(bytes([byte]))
            await trio.sleep(0.01)
        assert (await client.reply())[::2] == (7, 0)


def _frame_of(length: int) -> bytes:
    return struct.pack(">i", length) + b"\0" * 40


@pytest.mark.parametrize(
    "garbage",
    [_frame_of(-1), _frame_of(4), _frame_of(1 << 20), b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 64],
    ids=["negative", "short header", "too long", "http", "ones"],
)
@pytest.mark.parametrize("handshaken", [False, True])
async def test_garbage_ends_its_connection_with_a_line_and_nobody_else_notices(
    autojump_clock: MockClock, garbage: bytes, handshaken: bool
) -> None:
    async with ensemble(servers=1) as servers:
        other = await client_of(servers, 1)
        if handshaken:
            stream: trio.abc.Stream = (await client_of(servers, 1)).stream
        else:
            stream = await servers.connect(1)
        before = len(servers.lines)
        await stream.send_all(garbage)
        assert await all_of(stream) == b""
        assert sum("event=client_garbage" in line for line in servers.lines[before:]) == 1
        assert (await other.create("/fine")).err == 0


async def test_the_largest_frame_is_served_and_one_byte_more_is_not(autojump_clock: MockClock) -> None:
    async with ensemble(servers=1) as servers:
        client = await client_of(servers, 1)
        await client.create("/big")
        room = 1_048_575 - 8 - 4 - 4 - 4 - 4  # header, path, its length, the data's length, version
        assert (await client.set("/big", b"x" * room)).err == 0
        assert await client.get("/big") == (0, b"x" * room)
        await client.send(Op.SET_DATA, r.SetDataRequest("/big", b"x" * (room + 1), -1))
        with pytest.raises(EOFError):
            await client.reply()


@pytest.mark.parametrize("behind", [0, 1])
async def test_a_small_limit_holds_for_frames_that_come_whole(autojump_clock: MockClock, behind: int) -> None:
    """All of it in one receive, alone and behind others, as ZooKeeper has it: the connection is closed."""
    async with ensemble(servers=1) as servers:
        clients = servers.servers[1].clients
        clients.config = replace(clients.config, frame_bytes_max=1024)
        client = await client_of(servers, 1)
        room = 1024 - 8 - 4 - 2 - 4 - 4
        assert (await client.create("/b")).err == 0
        set_ = struct.pack(">ii", 7, Op.SET_DATA)
        fits = frame(set_ + r.packed(r.SetDataRequest("/b", b"x" * room, -1)))
        await client.stream.send_all(
            fits * behind + frame(set_ + r.packed(r.SetDataRequest("/b", b"y" * (room + 1), -1)))
        )
        with pytest.raises(EOFError):
            for _ in range(behind + 1):
                await client.reply()
        assert any("event=client_garbage" in line and "limit=1024" in line for line in servers.lines)
        other = await client_of(servers, 1)
        assert (await other.get("/b"))[1] != b"y" * (room + 1)


async def test_half_a_handshake_or_nothing_at_all_ends_after_ten_seconds(autojump_clock: MockClock) -> None:
    async with ensemble(servers=1) as servers:
        for first in (b"", b"\0\0", WISH[:20]):
            stream = await servers.connect(1)
            if first:
                await stream.send_all(first)
            began = trio.current_time()
            assert await all_of(stream) == b""
            assert 9 < trio.current_time() - began < 12


async def test_a_connection_that_is_silent_for_its_session_timeout_ends(autojump_clock: MockClock) -> None:
    async with ensemble(servers=1) as servers:
        client = await client_of(servers, 1, timeout_ms=4000)
        began = trio.current_time()
        with pytest.raises(EOFError):
            await client.reply()
        assert 4 <= trio.current_time() - began < 6.6


async def test_an_unknown_operation_is_refused_in_its_turn_and_ends_the_connection(autojump_clock: MockClock) -> None:
    async with ensemble(servers=1) as servers:
        for op in (0, 13, -1, -10, 10, 4711):
            client = await client_of(servers, 1)
            await client.send(Op.CREATE, r.CreateRequest(f"/before{op}", b"", OPEN_ACL, 0), xid=5)
            await client.send(op, xid=6)
            await client.send(Op.PING, xid=-2)
            assert (await client.reply())[::2] == (5, 0)
            told = await client.reply()
            assert told == (6, -1, -6, b"")
            with pytest.raises(EOFError):
                await client.reply()


async def test_a_sync_that_cannot_be_read_is_answered_in_its_turn_with_the_zxid_of_that_moment(
    autojump_clock: MockClock,
) -> None:
    async with ensemble(servers=1) as servers:
        client = await client_of(servers, 1)
        for number in range(3):
            await client.send(Op.CREATE, r.CreateRequest(f"/{number}", b"", OPEN_ACL, 0))
        await client.send(Op.SYNC, b"\0")
        told = [await client.reply() for _ in range(4)]  # which looks that no zxid goes back
        assert [reply.err for reply in told] == [0, 0, 0, -5]
        assert told[3].zxid == told[2].zxid


async def test_authentication_is_answered_in_order_and_holds_from_then_on(autojump_clock: MockClock) -> None:
    async with ensemble(servers=1) as servers:
        client = await client_of(servers, 1)
        await client.send(Op.CREATE, r.CreateRequest("/open", b"", OPEN_ACL, 0), xid=1)
        await client.send(Op.AUTH, r.AuthPacket(0, "digest", b"user:secret"), xid=-4)
        await client.send(Op.WHO_AM_I, xid=2)
        assert [(await client.reply())[::2] for _ in range(2)] == [(1, 0), (-4, 0)]
        assert b"digest" in (await client.reply()).body
        await client.send(Op.AUTH, r.AuthPacket(0, "nonsense", b""), xid=-4)
        assert (await client.reply())[::2] == (-4, -115)
        with pytest.raises(EOFError):
            await client.reply()


async def test_closing_a_session_is_answered_then_closes_and_takes_its_ephemerals(autojump_clock: MockClock) -> None:
    async with ensemble(servers=1) as servers:
        client, other = await client_of(servers, 1), await client_of(servers, 1)
        await client.create("/gone", flags=1)
        await other.get("/gone", watch=True)
        await client.send(Op.CLOSE_SESSION, xid=9)
        assert (await client.reply())[::2] == (9, 0)
        with pytest.raises(EOFError):
            await client.reply()
        assert (await other.get("/gone"))[0] == -101
        assert [event[1:] for event in other.events] == [(2, "/gone")]


async def test_a_bad_record_is_an_error_and_the_connection_goes_on(autojump_clock: MockClock) -> None:
    async with ensemble(servers=1) as servers:
        client = await client_of(servers, 1)
        for op in (Op.CREATE, Op.GET_DATA, Op.SYNC, Op.MULTI, Op.SET_WATCHES):
            assert (await client.ask(op, b"\xff\xff")).err == -5
        assert (await client.create("/fine")).err == 0


async def test_four_letter_words(autojump_clock: MockClock) -> None:
    async with ensemble(servers=1) as servers:
        asked: dict[bytes, Callable[[bytes], bool]] = {
            b"ruok": lambda told: told == b"imok",
            b"isro": lambda told: told == b"rw",
            b"srvr\n": lambda told: b"Mode: standalone\n" in told,
            b"mntr": lambda told: b"zk_server_state\tstandalone\n" in told,
            b"stat": lambda told: b"Clients:\n /client:" in told,
            b"conf": lambda told: b"tickTime=1000\n" in told,
            b"dump": lambda told: told == b"dump is not executed because it is not in the whitelist.\n",
            b"\xff\xf4\xff\xfd": lambda told: told == b"",
        }
        for word, right in asked.items():
            stream = await servers.connect(1)
            await stream.send_all(word)
            told = await all_of(stream)
            assert right(told), (word, told)


async def test_a_client_that_does_not_read_is_held_back_and_harms_nobody(autojump_clock: MockClock) -> None:
    async with ensemble(servers=1) as servers:
        other, greedy = await client_of(servers, 1), await client_of(servers, 1)
        await other.create("/big", b"x" * 500_000)
        get = frame(struct.pack(">ii", 1, Op.GET_DATA) + r.packed(r.GetDataRequest("/big", False)))
        await greedy.stream.send_all(get * 1000)  # half a gigabyte of answers, none of them read
        await trio.sleep(1)
        connection = servers.servers[1].clients.connections[max(servers.servers[1].clients.connections)]
        assert connection.channel.backlog < 4_000_000
        assert await other.get("/big") == (0, b"x" * 500_000)
        for _ in range(1000):  # and all of them come, once it reads
            assert len(await greedy.next_frame()) > 500_000


async def test_more_connections_from_one_address_than_allowed_are_closed_at_once(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        servers = MemoryEnsemble(nursery, servers=1)
        servers.limit(address_connections_max=3)
        await servers.start_all()
        clients = [await client_of(servers, 1) for _ in range(3)]
        assert await all_of(await servers.connect(1)) == b""
        elsewhere = RawClient(await servers.connect(1, host="elsewhere"))
        assert await elsewhere.handshake()
        await clients[0].close()
        await trio.sleep(0.1)
        await client_of(servers, 1)
        nursery.cancel_scope.cancel()


async def test_too_many_outstanding_requests_stop_the_reading(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        servers = MemoryEnsemble(nursery, servers=1)
        servers.limit(outstanding_max=10)
        await servers.start_all()
        client = await client_of(servers, 1)
        await client.create("/a")
        count = 3000
        write = b"".join(
            frame(struct.pack(">ii", xid, Op.SET_DATA) + r.packed(r.SetDataRequest("/a", b"x" * 100, -1)))
            for xid in range(count)
        )
        nursery.start_soon(client.stream.send_all, write)
        most = 0
        for xid in range(count):
            assert (await client.reply())[::2] == (xid, 0)
            most = max(most, servers.servers[1].clients.throttle.outstanding)
        assert most < 1000  # what one receive brought, not all that was sent
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("close_behind", [False, True])
async def test_a_client_that_asks_for_more_than_it_can_be_sent_is_dropped_and_nobody_else_notices(
    autojump_clock: MockClock, close_behind: bool
) -> None:
    async with ensemble(servers=1) as servers:
        clients = servers.servers[1].clients
        clients.config = replace(clients.config, connection_send_bytes_max=1 << 20)
        greedy, other = await client_of(servers, 1), await client_of(servers, 1)
        assert (await other.create("/big", bytes(500_000))).err == 0
        get = frame(struct.pack(">ii", 2, Op.GET_DATA) + r.packed(r.GetDataRequest("/big", False)))
        create = frame(struct.pack(">ii", 1, Op.CREATE) + r.packed(r.CreateRequest("/w", b"", OPEN_ACL, 0)))
        close = frame(struct.pack(">ii", 3, Op.CLOSE_SESSION)) if close_behind else b""
        await greedy.stream.send_all(create + 60 * get + close)
        await trio.sleep(5)
        assert greedy.session_id not in clients.sessions
        assert (await other.create("/fine")).err == 0


async def test_what_one_client_can_make_us_hold_is_bounded(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    lengths: list[int] = []
    push_read = Row.push_read

    def pushed(row: Row, *read: Any) -> None:
        push_read(row, *read)
        lengths.append(len(row))

    monkeypatch.setattr(Row, "push_read", pushed)
    async with ensemble(servers=1) as servers:
        client = await client_of(servers, 1)
        create = frame(struct.pack(">ii", 1, Op.CREATE) + r.packed(r.CreateRequest("/w", b"", OPEN_ACL, 0)))
        ask = frame(struct.pack(">ii", 2, Op.EXISTS) + r.packed(r.ExistsRequest("/w", False)))
        await client.stream.send_all(create + 2_000 * ask)
        for _ in range(2_001):  # all are answered all the same
            await client.next_frame()
        assert READS_WAITING_MAX <= max(lengths) <= READS_WAITING_MAX + 1


async def test_nothing_behind_a_failed_authentication_is_done(autojump_clock: MockClock) -> None:
    async with ensemble(servers=1) as servers:
        client, other = await client_of(servers, 1), await client_of(servers, 1)
        auth = frame(struct.pack(">ii", -4, Op.AUTH) + r.packed(r.AuthPacket(0, "nobody", b"x")))
        create = frame(struct.pack(">ii", 1, Op.CREATE) + r.packed(r.CreateRequest("/late", b"", OPEN_ACL, 0)))
        await client.stream.send_all(auth + create)
        await trio.sleep(5)
        assert (await other.get("/late"))[0] == -101
