"""Bytes to clients, against worked examples and against `wire.records`."""

import pytest

from tests.pipeline.conftest import ANYBODY, World
from zabpy.model import (
    OPEN_ACL,
    PERSISTENT,
    CheckTxn,
    CreateSessionTxn,
    CreateTxn,
    DeleteTxn,
    MultiTxn,
    SetDataTxn,
    Txn,
    Zxid,
)
from zabpy.pipeline import (
    Row,
    State,
    answer_auth,
    apply_entry,
    connect_response,
    event_frames,
    get_data,
    outcome_body,
    read_now,
    refusal_frame,
    reply_frame,
    session_gone,
)
from zabpy.tree import Watches
from zabpy.wire import Op, Reader, records as r

SESSION = 0x0100000A1B2C0000
PASSWORD = bytes.fromhex("3665714e8bcd93350432be484c2c3d03")
TIME_MS = 1_700_000_000_000


def hexed(text: str) -> bytes:
    return bytes.fromhex(text.replace(" ", "").replace("\n", ""))


def test_the_story_of_appendix_a_byte_for_byte() -> None:
    state, watches = State(), Watches()

    def apply(zxid: int, txn: Txn, op: int) -> tuple[list[bytes], bytes]:
        outcome = apply_entry(state, Zxid(zxid), txn)
        events = event_frames(watches, Zxid(zxid), outcome.events, lambda watcher: ANYBODY)
        err, body = outcome_body(op, txn.body, outcome)
        return [frame for _, frame in events], reply_frame(txn.xid, zxid, err, body)

    apply(1, Txn(SESSION, 0, 1, TIME_MS, CreateSessionTxn(30_000, PASSWORD)), -10)
    assert connect_response(30_000, SESSION, PASSWORD, False) == hexed(
        "00000025 00000000 00007530 0100000a1b2c0000 00000010 3665714e8bcd93350432be484c2c3d03 00"
    )
    # A.4
    body = CreateTxn("/app", b"hi", OPEN_ACL, PERSISTENT, 0, 0, 1)
    assert apply(2, Txn(SESSION, 1, 2, TIME_MS, body), 1) == (
        [],
        hexed("00000018 00000001 0000000000000002 00000000 00000004 2f617070"),
    )
    # A.5, the frame without its length word
    asked = hexed("00000002 00000004 00000004 2f617070 01")
    reply = hexed(
        """0000005a 00000002 0000000000000002 00000000 00000002 6869
        0000000000000002 0000000000000002 0000018bcfe56800 0000018bcfe56800 00000000 00000000 00000000
        0000000000000000 00000002 00000000 0000000000000002"""
    )
    assert get_data(state, watches, 1, asked, ANYBODY) == reply
    assert read_now(state, watches, 1, 2, 4, asked[8:], ANYBODY) == reply
    # A.6
    events, reply = apply(3, Txn(SESSION, 3, 3, TIME_MS + 5_000, SetDataTxn("/app", b"yo!", 1)), 5)
    assert events == [hexed("00000020 ffffffff 0000000000000003 00000000 00000003 00000003 00000004 2f617070")]
    assert reply == hexed(
        """00000054 00000003 0000000000000003 00000000
        0000000000000002 0000000000000003 0000018bcfe56800 0000018bcfe57b88
        00000001 00000000 00000000 0000000000000000 00000003 00000000 0000000000000002"""
    )
    # A.7
    assert read_now(state, watches, 1, 4, 3, hexed("00000005 2f6e6f7065 00"), ANYBODY) == hexed(
        "00000010 00000004 0000000000000003 ffffff9b"
    )
    # A.9 and A.11, with the state of A.6
    assert read_now(state, watches, 1, -2, 11, b"", ANYBODY) == hexed("00000010 fffffffe 0000000000000003 00000000")
    asked = hexed("0000000000000002 00000001 00000004 2f617070 00000000 00000000")
    assert read_now(state, watches, 1, -8, 101, asked, ANYBODY) == hexed(
        """00000020 ffffffff ffffffffffffffff 00000000 00000003 00000003 00000004 2f617070
        00000010 fffffff8 0000000000000003 00000000"""
    )
    # A.10
    answer = answer_auth(-4, hexed("00000000 00000006 646967657374 0000000b 75736572313a3132333435"), ANYBODY)
    assert answer.frame == hexed("00000010 fffffffc 0000000000000000 00000000")
    assert answer.identities[-1] == ("digest", "user1:+owfoSBn/am19roBPzR1/MfCblE=")


def test_a_failing_multi_is_told_as_in_appendix_a(world: World) -> None:
    world.create("/app")
    body = hexed(
        """00000005 00 ffffffff 00000004 2f617070 00000001 78 ffffffff
        0000000d 00 ffffffff 00000004 2f617070 00000009
        00000002 00 ffffffff 00000004 2f617070 ffffffff
        ffffffff 01 ffffffff"""
    )
    assert world.write(Op.MULTI, body) == (
        0,
        hexed(
            "ffffffff 00 00000000 00000000 ffffffff 00 ffffff99 ffffff99 ffffffff 00 fffffffe fffffffe"
            "ffffffff 01 ffffffff"
        ),
    )


def test_a_gone_session_looks_the_same_whatever_the_cause() -> None:
    assert session_gone(False) == hexed(
        "00000025 00000000 00000000 0000000000000000 00000010 00000000000000000000000000000000 00"
    )
    assert len(session_gone()) == 40
    assert r.ConnectResponse.read(Reader(connect_response(5, -7, b"q" * 16, True)[4:])).session_id == -7


def test_a_refusal_has_zxid_minus_one() -> None:
    assert refusal_frame(5) == hexed("00000010 00000005 ffffffffffffffff fffffffa")


def test_results_of_a_multi_are_typed_by_the_flags_and_not_by_the_opcode(world: World) -> None:
    err, raw = world.write(
        Op.MULTI,
        r.MultiRequest(
            (
                (1, r.CreateRequest("/a", b"", OPEN_ACL, 0)),
                (15, r.CreateRequest("/a/b", b"x", OPEN_ACL, 2)),
                (19, r.CreateRequest("/c", None, OPEN_ACL, 4)),
                (1, r.CreateRequest("/d", None, OPEN_ACL, 4)),
                (13, r.CheckVersionRequest("/a", 0)),
                (5, r.SetDataRequest("/a", b"1", 0)),
                (5, r.SetDataRequest("/a", b"22", 1)),
                (2, r.DeleteRequest("/c", -1)),
            )
        ),
    )
    assert err == 0
    results = r.MultiResponse.read(Reader(raw)).results
    assert [result.type for result in results] == [1, 1, 15, 15, 13, 5, 5, 2]
    assert results[0].body == r.CreateResponse("/a")
    second, third, sixth, seventh = (results[n].body for n in (1, 2, 5, 6))
    assert isinstance(second, r.CreateResponse)
    assert isinstance(third, r.Create2Response)
    assert isinstance(sixth, r.SetDataResponse)
    assert isinstance(seventh, r.SetDataResponse)
    assert second.path == "/a/b0000000000"
    assert (sixth.stat.version, sixth.stat.data_length) == (1, 1)  # as it was right after that operation
    assert (seventh.stat.version, seventh.stat.data_length) == (2, 2)
    assert sixth.stat.cversion == 1
    assert len({third.stat.czxid, sixth.stat.mzxid}) == 1


def test_an_empty_multi_is_legal_and_answered_by_the_end_alone(world: World) -> None:
    err, raw = world.write(Op.MULTI, r.MultiRequest(()))
    assert (err, r.MultiResponse.read(Reader(raw))) == (0, r.MultiResponse(()))


@pytest.mark.parametrize(("op", "record"), [(Op.CREATE, r.CreateResponse), (Op.CREATE2, r.Create2Response)])
def test_create_tells_the_real_path_and_create2_the_stat(world: World, op: int, record: type[r.Record]) -> None:
    err, raw = world.write(op, r.CreateRequest("/s", b"", OPEN_ACL, 2))
    reply = record.read(Reader(raw))
    assert isinstance(reply, r.CreateResponse | r.Create2Response)
    assert (err, reply.path) == (0, "/s0000000000")
    assert len(raw) == 4 + 12 + (68 if op == Op.CREATE2 else 0)


def test_bodies_of_a_multi_in_every_form() -> None:
    state = State()
    zxid = Zxid(1 << 32 | 1)
    bodies = (
        CreateTxn("/x", None, OPEN_ACL, PERSISTENT, 0, 0, 1),
        CheckTxn("/x"),
        DeleteTxn("/x"),
    )
    body = MultiTxn((1, 13, 2), bodies)
    outcome = apply_entry(state, zxid, Txn(1, 1, 1, 1, body))
    assert r.MultiResponse.read(Reader(outcome_body(14, body, outcome)[1])).results == (
        r.MultiResult(1, 0, r.CreateResponse("/x")),
        r.MultiResult(13, 0, None),
        r.MultiResult(2, 0, None),
    )
    assert not Row()
