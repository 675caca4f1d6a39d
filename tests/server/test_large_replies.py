"""Long answers are made in slices: nothing about them changes but that others are served in between."""

import struct
from typing import Any

import pytest
import trio
from hypothesis import given, settings, strategies as st
from trio.testing import MockClock

from tests.server.raw_client import RawClient
from tests.server.servers import client_of, ensemble
from zabpy.model import OPEN_ACL
from zabpy.pipeline import Sliced
from zabpy.pipeline.slices import (
    SLICE_ITEMS,
    count_in_slices,
    filtered_names_in_slices,
    names_in_slices,
    pack_names,
    parts_in_slices,
)
from zabpy.testing.ensemble import MemoryEnsemble
from zabpy.tree import Event, Watches
from zabpy.tree.watches import FORGOTTEN_AT_ONCE
from zabpy.wire import Op, Reader, Writer, frame, packed, records as r

MANY = 2 * SLICE_ITEMS + 5


def vector(names: list[str]) -> bytes:
    writer = Writer()
    writer.vector(names, Writer.ustring)
    return writer.bytes()


@given(st.lists(st.one_of(st.text(max_size=5), st.sampled_from(["x" * 127, "x" * 128, "node-0001", "é" * 64]))))
@settings(deadline=None)
def test_names_are_packed_as_a_vector_whatever_they_are(names: list[str]) -> None:
    names = [name.encode("utf-8", "replace").decode() for name in names]
    assert struct.pack(">i", len(names)) + pack_names(names) == vector(names)


@pytest.mark.parametrize("count", [0, 1, SLICE_ITEMS, SLICE_ITEMS + 1, 3 * SLICE_ITEMS])
def test_slices_together_are_the_whole(count: int) -> None:
    names = [f"n{number}" for number in range(count)]
    assert b"".join(names_in_slices(names, b"tail")) == vector(names) + b"tail"
    assert b"".join(filtered_names_in_slices(names, "n1")) == vector([n for n in names if n.startswith("n1")])
    paths = [f"/{'a' if number % 3 else 'ab'}/{number}" for number in range(count)]
    assert b"".join(count_in_slices(paths, "/a")) == struct.pack(">i", sum(p.startswith("/a/") for p in paths))
    parts: list[bytes | tuple[bytes, list[str]]] = [b"1", (b"head", names), b"2" * 10, (b"short", ["x"])]
    whole = b"1head" + vector(names) + b"2" * 10 + b"short" + vector(["x"])
    assert b"".join(parts_in_slices(parts)) == whole
    assert all(len(slice) < 2 << 20 for slice in parts_in_slices([b"x" * 500_000] * 50))


async def fill(client: RawClient, above: str, count: int, flags: int = 0) -> list[str]:
    if above:
        await client.create(above)
    names = [f"n{number:06d}" for number in range(count)]
    for at in range(0, count, 5_000):
        ops = [(int(Op.CREATE), r.CreateRequest(f"{above}/{n}", b"", OPEN_ACL, flags)) for n in names[at : at + 5_000]]
        assert (await client.ask(Op.MULTI, r.MultiRequest(tuple(ops)))).err == 0
    return names


def slicing(servers: MemoryEnsemble, client: RawClient) -> bool:
    clients = servers.servers[1].clients
    return any(connection.session_id == client.session_id for connection in clients._slicing)


async def test_what_happens_while_the_names_are_told_is_told_behind_them(autojump_clock: MockClock) -> None:
    async with ensemble(servers=1) as servers:
        reader, writer = await client_of(servers, 1), await client_of(servers, 1)
        names = await fill(writer, "/big", MANY)
        server = servers.servers[1]
        # No slice is made until the test says so.
        server.clients.begin_work = lambda: None
        at = server.driver.state.last_applied
        xid = await reader.send(Op.GET_CHILDREN2, r.GetChildren2Request("/big", True))
        later = await reader.send(Op.EXISTS, r.ExistsRequest("/big/new", False))
        await trio.sleep(1)
        assert slicing(servers, reader)

        assert (await writer.create("/big/new")).err == 0  # others are served, and the watch fires
        assert (await writer.get("/big/new"))[0] == 0
        assert reader.log == []

        server._work.set()
        told = await reader.reply()
        assert told[:3] == (xid, at, 0)
        answer = r.GetChildren2Response.read(Reader(told.body))
        assert sorted(answer.children) == names  # of the moment of the zxid: without the new one
        assert answer.stat.num_children == len(names) == answer.stat.cversion
        assert reader.events == []
        assert (await reader.reply())[::2] == (later, 0)  # after the event, from the state it tells of
        assert [event[1:] for event in reader.events] == [(4, "/big")]
        assert [reply.xid for reply in reader.log] == [xid, -1, later]


@pytest.mark.parametrize("pipelined", [False, True])
async def test_replies_keep_their_order_and_a_close_waits_for_them(autojump_clock: MockClock, pipelined: bool) -> None:
    async with ensemble(servers=1) as servers:
        client = await client_of(servers, 1)
        names = await fill(client, "/big", MANY)
        ask = r.packed(r.GetChildrenRequest("/big", False))
        asked: list[tuple[int, int, bytes]] = [
            (1, Op.SET_DATA, packed(r.SetDataRequest("/big", b"1", -1))),
            (2, Op.GET_CHILDREN, ask),
            (3, Op.SET_DATA, packed(r.SetDataRequest("/big", b"2", -1))),
            (4, Op.GET_CHILDREN, ask),
            (5, Op.GET_DATA, packed(r.GetDataRequest("/big", False))),
            (6, Op.GET_CHILDREN, ask),
            (7, Op.CLOSE_SESSION, b""),
        ]
        frames = [frame(struct.pack(">ii", xid, op) + record) for xid, op, record in asked]
        if pipelined:
            await client.stream.send_all(b"".join(frames))
        else:
            for each in frames:
                await client.stream.send_all(each)
        for xid, op, _ in asked:
            told = await client.reply()
            assert told[::2] == (xid, 0)
            if op == Op.GET_CHILDREN:
                assert sorted(r.GetChildrenResponse.read(Reader(told.body)).children) == names
        with pytest.raises(EOFError):
            await client.reply()


async def test_every_long_read(autojump_clock: MockClock) -> None:
    async with ensemble(servers=1) as servers:
        client, other = await client_of(servers, 1), await client_of(servers, 1)
        names = await fill(client, "/big", MANY, flags=1)
        paths = [f"/big/{name}" for name in names]

        told = await client.ask(Op.GET_EPHEMERALS, r.GetEphemeralsRequest("/"))
        assert r.GetEphemeralsResponse.read(Reader(told.body)).ephemerals == tuple(paths)
        told = await client.ask(Op.GET_EPHEMERALS, r.GetEphemeralsRequest("/big/n0000"))
        assert r.GetEphemeralsResponse.read(Reader(told.body)).ephemerals == tuple(paths[:100])
        told = await client.ask(Op.GET_ALL_CHILDREN_NUMBER, r.GetAllChildrenNumberRequest("/big"))
        assert told.body == struct.pack(">i", MANY)

        ops: list[tuple[int, Any]] = [(int(Op.GET_CHILDREN), r.GetChildrenRequest("/big", False))] * 2
        ops += [(int(Op.GET_DATA), r.GetDataRequest("/big/n000001", False)), (4, r.GetDataRequest("/none", False))]
        told = await client.ask(Op.MULTI_READ, r.MultiReadRequest(tuple(ops)))
        results = r.MultiResponse.read(Reader(told.body)).results
        assert [result.type for result in results] == [8, 8, 4, -1]
        assert isinstance(results[1].body, r.GetChildrenResponse)
        assert sorted(results[1].body.children) == names

        gone = [f"/gone{number}" for number in range(3_000)]
        asked = r.SetWatches2(0, tuple(gone), tuple(paths[:3_000]), ("/big",), tuple(paths[3_000:6_000]), ())
        assert (await other.ask(Op.SET_WATCHES2, asked)).err == 0
        told_of = [(type, path) for _, type, path in other.events]
        assert told_of == [(2, path) for path in gone] + [(1, path) for path in paths[:3_000]] + [(4, "/big")]
        assert (await client.set(paths[3_000], b"x")).err == 0
        await other.sync()
        assert [event[1:] for event in other.events[len(told_of) :]] == [(3, paths[3_000])]


async def test_a_client_that_leaves_in_the_midst_of_its_answer_leaves_nothing(autojump_clock: MockClock) -> None:
    async with ensemble(servers=1) as servers:
        client, other = await client_of(servers, 1), await client_of(servers, 1)
        await fill(other, "/big", MANY)
        clients = servers.servers[1].clients
        clients.begin_work = lambda: None
        await client.send(Op.GET_CHILDREN, r.GetChildrenRequest("/big", True))
        watched = r.SetWatches(1 << 60, (), tuple(f"/w{number}" for number in range(5_000)), ())
        await other.send(Op.SET_WATCHES, watched)
        await trio.sleep(1)
        assert slicing(servers, client) and slicing(servers, other)
        clients.work()
        await client.close()
        await other.close()
        await trio.sleep(1)
        servers.servers[1]._work.set()
        await trio.sleep(1)
        assert not clients.has_work
        assert clients.watches.total == 0


async def test_many_reads_of_much_in_one_request_end_the_connection_and_not_the_server(
    autojump_clock: MockClock,
) -> None:
    async with ensemble(servers=1) as servers:
        greedy, other = await client_of(servers, 1), await client_of(servers, 1)
        await other.create("/big", bytes(1_000_000))
        ops = ((int(Op.GET_DATA), r.GetDataRequest("/big", False)),) * 30_000  # 30 GB
        await greedy.send(Op.MULTI_READ, r.MultiReadRequest(ops))
        with pytest.raises(EOFError):
            await greedy.reply()
        assert (await other.create("/fine")).err == 0
        assert any("asks for more than it can be sent" in line for line in servers.lines)


async def test_a_reply_that_the_default_client_refuses_is_sent_and_logged(autojump_clock: MockClock) -> None:
    async with ensemble(servers=1) as servers:
        client = await client_of(servers, 1)
        data = bytes(1_048_575 - 8 - 4 - 4 - 4 - 4)
        await client.create("/big")
        assert (await client.set("/big", data)).err == 0
        for large in (1, 2):  # the first makes the reply, the second finds it made
            assert await client.get("/big") == (0, data)
            assert servers.servers[1].clients.large_replies == large
        line = next(line for line in servers.lines if "event=large_reply" in line)
        size = 16 + 4 + len(data) + 68
        assert f"op=GET_DATA path=/big bytes={size} limit=1048575 key=jute.maxbuffer" in line
        await fill(client, "/many", 5)
        await client.ask(Op.GET_CHILDREN, r.GetChildrenRequest("/many", False))
        assert servers.servers[1].clients.large_replies == 2


async def test_a_frame_may_come_in_small_pieces(autojump_clock: MockClock) -> None:
    async with ensemble(servers=1) as servers:
        client = RawClient(await servers.connect(1))
        wish = frame(packed(r.ConnectRequest(0, 0, 10_000, 0, bytes(16), False)))
        asked = [
            (1, Op.CREATE, packed(r.CreateRequest("/a", bytes(3_000), OPEN_ACL, 0))),
            (2, Op.GET_DATA, packed(r.GetDataRequest("/a", False))),
        ]
        for size in (1, 2, 3, 5, 7, 11, 1000):
            stream = await servers.connect(1)
            client = RawClient(stream)
            asked[0] = (1, Op.CREATE, packed(r.CreateRequest(f"/a{size}", bytes(3_000), OPEN_ACL, 0)))
            sent = wish + b"".join(frame(struct.pack(">ii", xid, op) + record) for xid, op, record in asked * 2)
            for at in range(0, len(sent), size):
                await stream.send_all(sent[at : at + size])
                await trio.sleep(0.0001)
            await client.next_frame()
            replies = [await client.reply() for _ in range(4)]
            assert [reply[::2] for reply in replies] == [(1, 0), (2, -101), (1, -110), (2, -101)]


# Watches of those that leave ---------------------------------------------------------------------------------------


def test_many_watches_of_a_watcher_that_leaves_are_removed_bit_by_bit_and_fire_no_more() -> None:
    watches = Watches()
    count = FORGOTTEN_AT_ONCE + 100
    for number in range(count):
        watches.add_data(1, f"/{number}")
        watches.add_data(2, f"/{number}")
    watches.add_child(1, "/0")
    watches.add_persistent(1, "/1", recursive=True)
    watches.add_persistent(1, "/2", recursive=False)
    watches.forget(1)
    assert watches.watchers == 1
    assert watches.paths_of(1) == []
    assert list(watches.all_watchers()) == [2]
    for number in (0, 1, 2, count - 1):
        assert watches.fire(Event(2, f"/{number}", OPEN_ACL)) == [2]
        assert watches.fire(Event(2, f"/{number}", OPEN_ACL)) == []
    assert watches.fire(Event(3, "/1/below", OPEN_ACL)) == []
    assert watches.fire(Event(4, "/0", OPEN_ACL)) == []
    assert watches._leaving
    rounds = 0
    while watches._leaving:
        watches.clean_up(1000)
        rounds += 1
    assert rounds >= 5
    assert watches.total == watches.paths == count - 4
    watches.forget(2)
    while watches._leaving:
        watches.clean_up(10**9)
    assert (watches.total, watches.paths, watches.watchers) == (0, 0, 0)
    assert not (watches._data or watches._child or watches._recursive or watches._by_watcher)


def test_a_sliced_reply_is_as_long_as_it_says() -> None:
    sliced = Sliced(7, 9, iter([b"abc", b"", b"de"]), 4)
    assert [sliced.work() for _ in range(4)] == [False, False, False, True]
    assert b"".join(sliced.pieces) == struct.pack(">iiqi", 21, 7, 9, 0) + b"abcde"
    assert sliced.size == 25
