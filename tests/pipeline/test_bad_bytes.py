"""Whatever a client sends is answered: nothing raises, and what was proposed can be encoded, applied and told."""

import random

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from tests.pipeline.conftest import ANYBODY, World, parse, whole
from zabpy.model import OPEN_ACL, Acl
from zabpy.pipeline import ROUTES, Route, Rules, answer_auth, read_now, route
from zabpy.pipeline.prepare import _read_create
from zabpy.wire import OPS, JuteError, Op, Reader, packed, records as r

PATHS = ("", "/", "/a", "/a/b", "/a/", "//", "a", "/zookeeper/config", "/\0", "/\U0001f600", "/e\ufffd")
WRITES = sorted({op for op, where in ROUTES.items() if where in (Route.WRITE, Route.CLOSE)} | {-10, 20, 13, 0, -1, 999})
READS = sorted(op for op, where in ROUTES.items() if where in (Route.READ, Route.LOCAL))

paths = st.sampled_from(PATHS)
acls = st.lists(
    st.builds(
        Acl, st.integers(-1, 40), st.sampled_from(("world", "auth", "digest", "ip", "", "x")), st.text(max_size=8)
    ),
    max_size=3,
).map(tuple) | st.just(OPEN_ACL)
data = st.none() | st.binary(max_size=8)
versions = st.integers(-3, 3) | st.sampled_from((-0x80000000, 0x7FFFFFFF))
creates = st.builds(r.CreateRequest, paths, data, acls, st.integers(-1, 7))
ttls = st.builds(r.CreateTTLRequest, paths, data, acls, st.integers(-1, 7), st.sampled_from((-1, 0, 1, 1 << 40)))
deletes = st.builds(r.DeleteRequest, paths, versions)
sets = st.builds(r.SetDataRequest, paths, data, versions)
checks = st.builds(r.CheckVersionRequest, paths, versions)
parts = st.one_of(
    st.tuples(st.sampled_from((1, 15, 19)), creates),
    st.tuples(st.just(21), ttls),
    st.tuples(st.just(2), deletes),
    st.tuples(st.just(5), sets),
    st.tuples(st.just(13), checks),
)
records: st.SearchStrategy[r.Record] = st.one_of(
    creates, ttls, deletes, sets, checks, st.builds(r.SetACLRequest, paths, acls, versions),
    st.lists(parts, max_size=4).map(tuple).map(r.MultiRequest),
)  # fmt: skip


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """A record, whole, cut, or with bytes changed; or bytes that never were one."""
    if draw(st.booleans()):
        return draw(st.binary(max_size=60))
    raw = bytearray(packed(draw(records)))
    for _ in range(draw(st.integers(0, 2))):
        if raw:
            raw[draw(st.integers(0, len(raw) - 1))] = draw(st.integers(0, 255))
    return bytes(raw[: draw(st.integers(0, len(raw)))] if draw(st.booleans()) else raw)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(st.sampled_from(WRITES), bodies()), max_size=12), st.booleans())
def test_any_write_becomes_a_transaction_that_can_be_applied(asked: list[tuple[int, bytes]], extended: bool) -> None:
    world = World(Rules(extended_types=extended, reconfig_enabled=extended))
    for op, raw in asked:
        world.propose(op, raw)  # encodes, too
    for _, _, (err, _) in world.deliver():
        assert err in (0, -5, -6, -8, -101, -102, -103, -108, -110, -111, -112, -114, -123)
    assert len(world.preparer.pending) == 0


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([*READS, 999]), bodies()), max_size=10))
def test_any_read_has_one_reply(asked: list[tuple[int, bytes]]) -> None:
    world = World()
    world.create("/a")
    for op, raw in asked:
        frames = whole(read_now(world.state, world.watches, 1, 3, op, raw, ANYBODY))
        assert frames
        if op not in (Op.SET_WATCHES, Op.SET_WATCHES2):
            assert parse(frames).xid == (-2 if op == Op.PING else 3)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=60))
def test_any_auth_packet_has_an_answer(raw: bytes) -> None:
    answer = answer_auth(-4, raw, ANYBODY)
    if answer.frame:
        assert parse(answer.frame).err == (-115 if answer.why else 0)
    else:
        assert answer.why  # nothing to be read: the connection ends without a word


def test_every_operation_of_every_length_of_a_whole_record() -> None:
    rng = random.Random(4)
    world = World(Rules(extended_types=True))
    whole = [
        packed(r.CreateTTLRequest("/a", b"d", (Acl(31, "digest", "a:b"),), 5, 9)),
        packed(r.MultiRequest(((1, r.CreateRequest("/a", b"d", OPEN_ACL, 0)), (2, r.DeleteRequest("/a", -1))))),
        packed(r.SetWatches2(0, ("/a",), ("/b",), ("/c",), ("/d",), ("/e",))),
        rng.randbytes(80),
    ]
    for raw in whole:
        for length in range(len(raw) + 1):
            for op in WRITES:
                if op != Op.CLOSE_SESSION:
                    world.propose(op, raw[:length])
            for op in READS:
                read_now(world.state, world.watches, 1, 3, op, raw[:length], ANYBODY)
        world.deliver()


@settings(max_examples=200, deadline=None)
@given(creates, st.binary(max_size=3), st.data())
def test_the_quick_way_to_read_a_create_reads_the_same(
    record: r.CreateRequest, tail: bytes, data: st.DataObject
) -> None:
    raw = packed(record) + tail
    raw = raw[: data.draw(st.integers(0, len(raw)))] if data.draw(st.booleans()) else raw
    try:
        expected = r.CreateRequest.read(Reader(raw))
    except JuteError:
        with pytest.raises(JuteError):
            _read_create(raw)
    else:
        assert _read_create(raw) == expected


def test_every_opcode_has_a_route_and_what_clients_must_not_send_is_unknown() -> None:
    for op, row in OPS.items():
        # deleteContainer is refused too, but as ZooKeeper refuses it: nobody loses the connection.
        assert (route(op) is not Route.UNKNOWN) == (row.from_client or op == Op.DELETE_CONTAINER), row.name
    assert route(0) is route(-1) is route(10) is route(1 << 30) is Route.UNKNOWN
