"""The order in which a connection hears of things."""

from tests.pipeline.conftest import ANYBODY, Reply, World, parse, whole
from zabpy.model import Identity, Zxid
from zabpy.pipeline import Row, event_frames, get_data, read_now, refusal_frame, reply_frame
from zabpy.wire import Op, encode_txn, packed, records as r


def nothing(*_: object) -> bytes:
    raise AssertionError("no read waits here")


def test_replies_leave_in_the_order_of_the_requests() -> None:
    row = Row()
    for number in (1, 2, 3):
        row.push_write(number, 10 + number, 5)
    assert row.complete(2, 0, b"two") is False  # overtakes: waits
    assert row.drain(7, nothing) == []
    assert row.complete(1, -103) is True
    assert row.drain(7, nothing) == [reply_frame(11, 7, -103), reply_frame(12, 7, 0, b"two")]
    assert row.complete(4, 0) is False  # not ours
    assert row.complete(3, 0) is True
    assert row.drain(9, nothing) == [reply_frame(13, 9, 0)]
    assert not row
    assert not row.over


def test_a_read_behind_a_write_is_executed_when_the_write_is_answered_and_not_before() -> None:
    executed = []

    def answer(xid: int, op: int, record: bytes, identities: tuple[Identity, ...]) -> bytes:
        executed.append((xid, op, record, identities))
        return b"read %d" % xid

    row = Row()
    row.push_write(1, 1, 5)
    row.push_read(2, 4, b"a", ANYBODY)
    row.push_write(2, 3, 5)
    row.push_read(4, 11, b"", ())
    row.push_frame(b"auth")
    assert row.drain(7, answer) == []
    assert executed == []
    row.complete(1, 0)
    assert row.drain(7, answer) == [reply_frame(1, 7, 0), b"read 2"]
    row.complete(2, 0)
    assert row.drain(8, answer) == [reply_frame(3, 8, 0), b"read 4", b"auth"]
    assert executed == [(2, 4, b"a", ANYBODY), (4, 11, b"", ())]


def test_behind_the_last_frame_nothing_is_answered() -> None:
    row = Row()
    row.push_write(1, 1, int(Op.CLOSE_SESSION))
    row.push_read(2, 11, b"", ())
    row.complete(1, 0)
    assert row.drain(5, nothing) == [reply_frame(1, 5, 0)]
    assert row.over
    assert not row
    row = Row()
    row.push_write(1, 1, 5)
    row.push_frame(refusal_frame(2), over=True)
    row.push_read(3, 11, b"", ())
    row.complete(1, 0)
    assert row.drain(5, nothing) == [reply_frame(1, 5, 0), refusal_frame(2)]
    assert row.over


def test_a_moved_session_is_told_nothing() -> None:
    row = Row()
    row.push_write(1, 1, 5)
    row.push_read(2, 11, b"", ())
    row.complete(1, -118)
    assert row.drain(5, nothing) == []
    assert row.over


class Connection:
    """What `server` does with these parts, on one connection."""

    def __init__(self, world: World, watcher: int) -> None:
        self.world, self.watcher, self.row = world, watcher, Row()
        self.sent: list[Reply] = []

    def ask(self, xid: int, op: int, record: r.Record | None = None) -> None:
        raw = b"" if record is None else packed(record)
        if op in (1, 2, 5):
            request = self.world.request(op, raw)
            txn = self.world.preparer.prepare(request, Zxid(self.world.last + 1), self.world.now_ms)
            self.world.last = Zxid(self.world.last + 1)
            self.world.proposed.append((self.world.last, op, encode_txn(txn)))
            self.row.push_write(request.request_id, xid, op)
        elif self.row:
            self.row.push_read(xid, op, raw, ANYBODY)
        else:
            self.send(self.answer(xid, op, raw, ANYBODY))

    def answer(self, xid: int, op: int, raw: bytes, identities: tuple[Identity, ...]) -> bytes:
        return whole(read_now(self.world.state, self.world.watches, self.watcher, xid, op, raw, identities))

    def send(self, frame: bytes) -> None:
        self.sent.append(parse(frame))


def deliver(world: World, connections: list[Connection], count: int | None = None) -> None:
    by_watcher = {connection.watcher: connection for connection in connections}
    for txn, outcome, (err, body) in world.deliver(count):
        for watcher, frame in event_frames(
            world.watches, world.state.last_applied, outcome.events, lambda watcher: ANYBODY
        ):
            by_watcher[watcher].send(frame)
        for connection in connections:
            connection.row.complete(txn.request_id, err, body)
    for connection in connections:
        for answer in connection.row.drain(world.state.last_applied, connection.answer):
            connection.send(whole(answer))


def test_an_event_comes_before_the_reply_and_before_the_read_that_show_the_change(world: World) -> None:
    world.create("/a", b"old")
    writer, reader = Connection(world, 1), Connection(world, 2)
    for connection in (writer, reader):
        connection.ask(1, 4, r.GetDataRequest("/a", True))
    writer.ask(2, 5, r.SetDataRequest("/a", b"new", -1))
    writer.ask(3, 4, r.GetDataRequest("/a", True))  # own write, pipelined
    reader.ask(2, 4, r.GetDataRequest("/a", False))
    deliver(world, [writer, reader])
    reader.ask(3, 4, r.GetDataRequest("/a", False))
    zxid = world.state.last_applied
    assert [(reply.xid, reply.zxid) for reply in writer.sent] == [(1, zxid - 1), (-1, zxid), (2, zxid), (3, zxid)]
    assert [(reply.xid, reply.zxid) for reply in reader.sent] == [(1, zxid - 1), (2, zxid - 1), (-1, zxid), (3, zxid)]
    assert writer.sent[3].body[4:7] == b"new"
    assert reader.sent[1].body[4:7] == b"old"
    assert reader.sent[3].body[4:7] == b"new"


def test_a_watch_set_by_a_waiting_read_fires_after_its_reply(world: World) -> None:
    world.create("/a")
    connection, other = Connection(world, 1), Connection(world, 2)
    connection.ask(1, 5, r.SetDataRequest("/a", b"1", -1))
    connection.ask(2, 4, r.GetDataRequest("/a", True))
    other.ask(1, 5, r.SetDataRequest("/a", b"2", -1))
    deliver(world, [connection, other], 1)
    deliver(world, [connection, other])
    assert [reply.xid for reply in connection.sent] == [1, 2, -1]


def test_no_reply_carries_a_later_zxid_than_the_events_before_it_when_many_are_applied_at_once(world: World) -> None:
    for name in ("/a", "/b"):
        world.create(name)
    connection, other = Connection(world, 1), Connection(world, 2)
    connection.ask(1, 4, r.GetDataRequest("/b", True))
    connection.ask(2, 5, r.SetDataRequest("/a", b"1", -1))
    other.ask(1, 5, r.SetDataRequest("/b", b"1", -1))
    deliver(world, [connection, other])
    seen = [(reply.xid, reply.zxid) for reply in connection.sent]
    last = world.state.last_applied
    assert seen == [(1, last - 2), (-1, last), (2, last)]


def test_the_quick_getdata_says_what_the_table_says_also_for_bytes_that_are_none(world: World) -> None:
    world.create("/a", None)
    for raw in (b"", b"\0", b"\0\0\0\2/a", b"\xff\xff\xff\xff\1", b"\0\0\0\2/a\0tail", b"\0\0\0\3/\xff\xfe\0"):
        frame = b"\0\0\0\5\0\0\0\4" + raw
        expected = read_now(world.state, world.watches, 1, 5, 4, raw, ANYBODY)
        assert get_data(world.state, world.watches, 1, frame, ANYBODY) == expected


def test_a_lone_write_is_answered_in_one_step_and_only_where_that_changes_nothing() -> None:
    row = Row()
    row.push_write(1, 11, Op.SET_DATA)
    row.push_write(2, 12, Op.SET_DATA)
    assert row.answer_first(2, 5, 0, b"") is None  # not its turn
    assert row.answer_first(1, 5, 0, b"body") == reply_frame(11, 5, 0, b"body")
    row.push_read(13, Op.GET_DATA, b"", ())
    assert row.answer_first(2, 6, 0, b"") is None  # the read behind it must leave too
    assert row.complete(2, 0)
    assert row.drain(6, lambda *asked: b"read") == [reply_frame(12, 6, 0), b"read"]
    for op, err in ((Op.CLOSE_SESSION, 0), (Op.SET_DATA, -118)):  # the connection ends
        row.push_write(3, 14, op)
        assert row.answer_first(3, 7, err, b"") is None
        row = Row()


def test_a_connection_can_end_without_a_word_behind_what_was_asked() -> None:
    row = Row()
    row.push_write(1, 1, Op.CREATE)
    row.push_frame(b"", over=True)
    assert row.complete(1, 0)
    assert len(row.drain(7, lambda *_: b"")) == 1
    assert row.over
