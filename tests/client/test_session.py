"""The session core without I/O: when it is lost, what is sent again, and that no byte of a server's can hurt it."""

import logging
import struct
import tracemalloc
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given, settings, strategies as st

from tests.client.story import REQUEST_TIMEOUT_MS, TIMEOUT_MS, Story
from zabpy.client import (
    ClosedClientError,
    ConnectionLossError,
    NoServerError,
    ProtocolError,
    ReplyTooLargeError,
    SessionLostError,
    State,
    UnknownCodeError,
)
from zabpy.client.call import Call, Credential
from zabpy.client.core import BYTES_MAX, CALLS_MAX, REPLY_BYTES_MAX, XID_MAX, Link
from zabpy.client.session import Undead
from zabpy.client.watches import OneShot
from zabpy.model import AuthFailedError, NoNodeError, SessionMovedError
from zabpy.wire import Op, frame, packed, records as r

PING = -2


# When the session is lost ---------------------------------------------------------------------------------------------


def test_it_is_lost_a_timeout_after_the_sending_of_the_last_request_that_was_answered() -> None:
    story = Story()
    session = story.up()
    story.wait(1_000)
    story.ask()
    assert story.sent() == [(1, Op.SET_DATA)]
    sent_ms = story.now_ms
    story.wait(2_000)
    story.answer(1)  # late: the server may have heard it two seconds ago
    story.lose_link()
    assert story.core.state is State.JEOPARDY
    assert session.deadline_ms == sent_ms + TIMEOUT_MS
    story.wait(sent_ms + TIMEOUT_MS - 1 - story.now_ms)
    session.check()
    assert session.time_left_ms == 1
    story.wait(1)
    assert session.lost
    assert story.core.session is None
    with pytest.raises(SessionLostError, match=r"session 0x7 was not heard of for 9000 ms") as error:
        session.check()
    assert error.value.session_id == 7
    assert story.states == [State.CONNECTED, State.JEOPARDY, State.LOST]


def test_bytes_that_answer_nothing_do_not_keep_it() -> None:
    story = Story()
    session = story.up()
    for _ in range(20):
        story.wait(500)
        event = packed(r.WatcherEvent(3, 3, "/a"))
        if story.is_up():
            story.say(struct.pack(">iqi", -1, 5, 0) + event)
    assert session.lost


def test_a_server_that_talks_but_does_not_answer_is_left_while_there_is_time_for_another() -> None:
    story = Story()
    session = story.up()
    left_ms = 0
    while story.is_up():
        story.wait(100)
        left_ms = session.time_left_ms
        story.say(struct.pack(">iqi", -1, 5, 0) + packed(r.WatcherEvent(3, 3, "/a")))
    assert story.core.link_broken.startswith("it answered nothing that its leader has to answer in the last 6000 ms")
    assert left_ms >= TIMEOUT_MS // 3 - 100
    story.up("s2:2181")
    assert not session.lost and session.time_left_ms == TIMEOUT_MS


def test_a_server_that_is_busy_with_what_was_asked_before_is_given_more_time_to_get_to_a_heartbeat() -> None:
    story = Story()
    session = story.up()
    xid = 0
    for _ in range(1_000):
        story.ask(Op.GET_DATA)
    story.sent()
    while story.is_up():
        story.wait(100)
        story.sent()
        xid += 1
        story.answer(xid)
    assert story.core.link_broken == "it answered nothing of what was sent in the last 7500 ms"
    assert session.time_left_ms == TIMEOUT_MS // 6


def test_heartbeats_keep_it_counted_from_when_they_were_sent() -> None:
    story = Story()
    session = story.up()
    story.wait(TIMEOUT_MS // 3)
    beat_ms = story.now_ms
    (payload,) = story.payloads()
    assert payload == struct.pack(">ii", 1, Op.SYNC) + packed(r.SyncRequest("/"))
    story.wait(TIMEOUT_MS // 4)
    story.answer(1)
    assert session.deadline_ms == beat_ms + TIMEOUT_MS
    story.wait(TIMEOUT_MS // 12)
    assert story.sent() == [(2, Op.SYNC)], "a third of the timeout after the last one was sent"


@pytest.mark.parametrize(
    ("opcode", "counts"),
    [(op, True) for op in (Op.CREATE, Op.CREATE2, Op.CREATE_CONTAINER, Op.CREATE_TTL, Op.DELETE, Op.SET_DATA,
                           Op.SET_ACL, Op.MULTI, Op.RECONFIG, Op.SYNC)]
    + [(op, False) for op in (Op.EXISTS, Op.GET_DATA, Op.GET_ACL, Op.GET_CHILDREN, Op.GET_CHILDREN2, Op.MULTI_READ,
                              Op.GET_EPHEMERALS, Op.GET_ALL_CHILDREN_NUMBER, Op.ADD_WATCH, Op.REMOVE_WATCHES,
                              Op.CHECK_WATCHES, Op.SET_WATCHES2, Op.WHO_AM_I, Op.CLOSE_SESSION)],
)  # fmt: skip
def test_only_what_went_through_the_leader_keeps_it(opcode: int, counts: bool) -> None:
    story = Story()
    session = story.up()
    before_ms = session.deadline_ms
    story.wait(1_000)
    story.ask(opcode)
    story.sent()
    story.answer(1)
    assert session.deadline_ms == before_ms + (1_000 if counts else 0)
    story.ask(opcode)
    story.wait(1_000)
    story.sent()
    story.answer(2, err=-101)
    assert session.deadline_ms == before_ms + (1_000 if counts else 0), "an error may be a server's own word"


@pytest.mark.parametrize(("opcode", "err"), [(Op.GET_DATA, 0), (Op.SET_DATA, -101)])
def test_a_client_that_is_busy_with_what_does_not_count_sends_heartbeats(opcode: int, err: int) -> None:
    story = Story()
    session = story.up()
    beats: list[int] = []
    for _ in range(10 * TIMEOUT_MS // 100):
        story.wait(100)
        story.ask(opcode)
        for xid, sent in story.sent():
            if sent == Op.SYNC:
                beats.append(story.now_ms)
            story.answer(xid, err=0 if sent == Op.SYNC else err)
    assert not session.lost and session.time_left_ms >= TIMEOUT_MS * 2 // 3
    assert {after - before for before, after in pairwise(beats)} == {TIMEOUT_MS // 3}


def test_a_client_that_writes_sends_no_heartbeats() -> None:
    story = Story()
    session = story.up()
    for _ in range(10 * TIMEOUT_MS // 1_000):
        story.wait(1_000)
        story.ask()
        ((xid, opcode),) = story.sent()
        assert opcode == Op.SET_DATA
        story.answer(xid)
    assert session.time_left_ms == TIMEOUT_MS


def test_heartbeats_that_are_all_answered_late_keep_it_as_long_as_they_come() -> None:
    story = Story()
    session = story.up()
    late_ms = TIMEOUT_MS // 3 - 200  # as much as two thirds of silence allow, as with ZooKeeper's own client
    waiting: list[tuple[int, int]] = []
    for _ in range(10 * TIMEOUT_MS // 100):
        story.wait(100)
        assert story.is_up(), story.core.link_broken
        waiting += [(story.now_ms, xid) for xid, _ in story.sent()]
        if waiting and story.now_ms >= waiting[0][0] + late_ms:
            story.answer(waiting.pop(0)[1])
    assert not session.lost


def test_to_a_server_without_a_quorum_heartbeats_are_pings_and_whatever_it_answers_keeps_its_own_session() -> None:
    story = Story(read_only=True)
    story.dial()
    story.say(packed(r.ConnectResponse(0, TIMEOUT_MS, 7, b"p" * 16, True)))
    session = story.core.session
    assert session is not None and session.read_only
    story.wait(TIMEOUT_MS // 3)
    pinged_ms = story.now_ms
    assert story.sent() == [(PING, Op.PING)]
    story.wait(TIMEOUT_MS // 4)
    story.answer(PING)
    assert session.deadline_ms == pinged_ms + TIMEOUT_MS
    story.ask(Op.GET_DATA)
    story.sent()
    story.answer(1, err=-101)
    assert session.deadline_ms == story.now_ms + TIMEOUT_MS


def test_a_silent_link_is_dropped_after_two_thirds_of_the_timeout() -> None:
    story = Story()
    story.up()
    began_ms = story.now_ms
    while story.is_up():
        story.wait(10)
    assert story.now_ms - began_ms == TIMEOUT_MS * 2 // 3
    assert story.core.link_broken == "it said nothing for 6000 ms"


def test_a_server_that_grants_less_when_it_is_met_again_shortens_it() -> None:
    story = Story()
    session = story.up(timeout_ms=9_000)
    story.wait(100)
    story.lose_link()
    greeted_ms = story.now_ms
    assert story.up("s2:2181", timeout_ms=4_000) is session
    assert (session.timeout_ms, session.deadline_ms) == (4_000, greeted_ms + 4_000)
    story.lose_link()
    story.wait(4_000)
    assert session.lost


def test_no_answer_brings_a_session_back_whose_time_was_up() -> None:
    story = Story()
    session = story.up()
    story.now_ms += TIMEOUT_MS - 1
    story.ask()
    story.sent()
    story.now_ms += 1  # and nobody ticks: the machine slept, or the loop was blocked
    with pytest.raises(SessionLostError):
        session.check()
    story.answer(1)
    assert session.lost and story.core.link_broken


def test_an_answer_that_comes_with_the_end_of_the_session_does_not_raise_it_from_the_dead() -> None:
    """The timekeeper runs first, and the reader, woken at the same moment, hands over what had just come."""
    story = Story()
    session = story.up()
    story.lose_link()
    story.dial("s2:2181")
    story.now_ms = session.deadline_ms
    story.core.tick(story.now_ms)
    assert session.lost and list(story.core.undead) == [Undead(7, b"p" * 16)]
    story.say(packed(r.ConnectResponse(0, TIMEOUT_MS, 7, b"p" * 16, False)))
    assert story.core.session is None and story.core.state is State.LOST


def test_a_greeting_counts_from_when_it_was_sent_and_only_once_it_is_answered() -> None:
    story = Story()
    session = story.up()
    story.wait(1_000)
    story.lose_link()
    before_ms = session.deadline_ms
    greeted_ms = story.now_ms
    assert story.dial("s2:2181").session_id == 7
    story.wait(500)
    assert session.deadline_ms == before_ms
    story.say(packed(r.ConnectResponse(0, TIMEOUT_MS, 7, b"p" * 16, False)))
    assert session.deadline_ms == greeted_ms + TIMEOUT_MS


def test_a_credential_that_is_added_while_others_are_told_is_told_as_well() -> None:
    story = Story()
    story.core.login.credentials.append(Credential("digest", b"a:1", None))
    story.dial()
    story.say(packed(r.ConnectResponse(0, TIMEOUT_MS, 7, b"p" * 16, False)))
    assert story.core.link is Link.LOGIN and story.sent() == [(-4, Op.AUTH)]
    call = Call(Op.AUTH, b"", None, "add_auth", None)
    story.core.add_auth(call, "digest", b"b:2")
    assert story.sent() == [(-4, Op.AUTH)]
    story.answer(-4)
    assert story.core.link is Link.LOGIN
    story.answer(-4)
    assert story.is_up() and call.done and call.error is None
    assert [each.secret for each in story.core.login.credentials] == [b"a:1", b"b:2"]


def test_the_word_of_a_server_ends_it_at_once_and_the_next_one_is_asked_for() -> None:
    story = Story()
    session = story.up()
    story.lose_link()
    story.dial("s2:2181")
    story.say(packed(r.ConnectResponse(0, 0, 0, bytes(16), False)))
    assert session.lost and session.why_lost == "session 0x7 had expired, says s2:2181"
    assert story.core.link_broken and not story.core.undead
    story.lose_link()
    greeting = story.dial("s2:2181")
    assert (greeting.session_id, greeting.password) == (0, bytes(16))


def test_a_session_that_is_lost_here_but_maybe_not_there_is_noted_to_be_ended() -> None:
    story = Story()
    story.up()
    story.lose_link()
    story.wait(TIMEOUT_MS)
    assert list(story.core.undead) == [Undead(7, b"p" * 16)]


def test_all_who_rely_on_it_are_told_even_if_one_of_them_fails(caplog: pytest.LogCaptureFixture) -> None:
    story = Story()
    session = story.up()
    told: list[str] = []

    def fails() -> None:
        raise RuntimeError("a bug of a recipe")

    session.on_lost(fails)
    undo = session.on_lost(lambda: told.append("not me"))
    session.on_lost(lambda: told.append("me"))
    undo()
    story.lose_link()
    with caplog.at_level(logging.CRITICAL, "zabpy.client"):
        story.wait(TIMEOUT_MS)
    assert told == ["me"]
    session.on_lost(lambda: told.append("late"))
    assert told == ["me", "late"]
    assert story.core.state is State.LOST


def test_the_password_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    story = Story()
    with caplog.at_level(logging.DEBUG, "zabpy.client"):
        story.up()
        story.lose_link()
        story.wait(TIMEOUT_MS)
    assert [record.getMessage() for record in caplog.records] == [
        "opened session 0x7 at s1:2181, timeout 9000 ms",
        "connection to s1:2181 lost: a cable; session 0x7 has 9000 ms left",
        "session lost: session 0x7 was not heard of for 9000 ms (its timeout: 9000 ms)",
    ]


# A client that was not run --------------------------------------------------------------------------------------------


def test_a_client_that_was_not_run_does_not_take_that_for_a_silence_of_the_server() -> None:
    story = Story()
    story.up()
    story.ask()
    story.sent()
    story.core.stalls.sleeps(story.now_ms + 1_000)
    story.now_ms += 7_000  # of which it slept one as it wanted to
    assert story.core.stalls.woke(story.now_ms) == 6_000
    story.core.stalled(6_000, 0, story.now_ms)
    story.tick()
    assert story.is_up()
    story.answer(1)
    story.tick()
    assert story.is_up()


def test_a_loss_says_that_the_client_was_not_scheduled() -> None:
    story = Story()
    session = story.up()
    story.core.stalls.sleeps(story.now_ms + 1_000)
    story.now_ms += 10_000
    with pytest.raises(SessionLostError, match="the client was not scheduled for 9000 ms"):
        session.check()  # already before anything of the client's was run
    story.core.stalls.woke(story.now_ms, 8_500)
    story.tick()
    assert session.lost
    assert session.why_lost.endswith(
        "not heard of for 10000 ms (its timeout: 9000 ms); the client was not scheduled for 9000 ms"
        " (the machine was suspended for 8500 ms)"
    )


def test_a_connection_that_ends_after_a_stall_says_so_and_one_that_ends_long_after_does_not() -> None:
    story = Story()
    story.up()
    call = story.ask()
    story.sent()
    story.core.stalls.sleeps(story.now_ms)
    story.now_ms += 4_000
    story.core.stalls.woke(story.now_ms)
    story.lose_link("it closed the connection")
    assert "it closed the connection; the client was not scheduled for 4000 ms" in str(call.error)
    story.up("s2:2181")
    story.now_ms += TIMEOUT_MS + 1
    story.lose_link("it closed the connection")
    assert story.core.link_broken == "it closed the connection"


# What is sent, and sent again -----------------------------------------------------------------------------------------


def test_what_was_sent_is_of_unknown_outcome_and_what_was_not_is_sent_later() -> None:
    story = Story()
    story.up()
    sent, read = story.ask(), story.ask(Op.GET_DATA, again=True)
    assert story.sent() == [(1, Op.SET_DATA), (2, Op.GET_DATA)]
    unsent = story.ask()  # put together, but the driver never took it
    story.lose_link()
    later = story.ask(Op.DELETE)
    assert isinstance(sent.error, ConnectionLossError)
    assert str(sent.error) == (
        "set /a: connection to s1:2181 lost before the answer: a cable (server s1:2181, session 0x7)"
    )
    assert not (read.done or unsent.done or later.done)
    story.up("s2:2181")
    assert story.sent() == [(4, Op.GET_DATA), (5, Op.SET_DATA), (6, Op.DELETE)]
    assert (read.attempt, unsent.attempt) == (2, 1)


def test_a_read_that_breaks_every_connection_is_not_sent_for_ever() -> None:
    story = Story()
    story.up()
    read = story.ask(Op.GET_DATA, again=True)
    for _ in range(9):
        assert story.sent()
        story.lose_link()
        assert not read.done
        story.up()
    assert story.sent()
    story.lose_link()
    assert isinstance(read.error, ConnectionLossError) and read.error.attempt == 10


def test_what_waits_for_a_connection_too_long_was_never_sent_and_says_who_was_tried() -> None:
    story = Story()
    call = story.ask()
    story.wait(REQUEST_TIMEOUT_MS - 1)
    assert not call.done
    story.wait(1)
    assert isinstance(call.error, NoServerError)
    assert call.error.tried == (("s1:2181", "it was tired"),)
    assert str(call.error).startswith("set /a: no server within 20000 ms: s1:2181: it was tired")
    assert (call.error.operation, call.error.path, call.error.attempt) == ("set", "/a", 1)


def test_links_that_come_and_go_do_not_make_a_call_wait_for_ever() -> None:
    story = Story()
    call = story.ask(Op.GET_DATA, again=True)
    for _ in range(REQUEST_TIMEOUT_MS // 1_000):
        story.wait(1_000)
        if not call.done:
            story.dial()
            story.lose_link()
    assert isinstance(call.error, NoServerError)


def test_a_lost_session_fails_what_is_bound_to_it_and_what_may_have_been_done() -> None:
    story = Story()
    session = story.up()
    bound, write, read = story.ask(session=session), story.ask(), story.ask(Op.GET_DATA, again=True)
    story.sent()
    unsent = story.ask(session=session)
    story.now_ms += TIMEOUT_MS
    story.tick()
    assert [type(call.error) for call in (bound, write, unsent)] == [SessionLostError] * 3
    assert not read.done
    late = story.ask(session=session)
    assert isinstance(late.error, SessionLostError) and late.error.session_id == 7
    story.up(id=8)
    assert story.sent() == [(5, Op.GET_DATA)]


def test_so_many_requests_are_in_flight_and_the_rest_waits_in_line() -> None:
    story = Story()
    story.up()
    calls = [story.ask() for _ in range(CALLS_MAX + 5)]
    assert len(story.sent()) == CALLS_MAX
    story.answer(1)
    story.answer(2)
    last = story.ask()
    assert story.sent() == [(CALLS_MAX + 1, Op.SET_DATA), (CALLS_MAX + 2, Op.SET_DATA)]
    assert [call.done for call in calls[:3]] == [True, True, False]
    for xid in range(3, CALLS_MAX + 7):
        story.sent()
        story.answer(xid)
    assert last.done and last.error is None


def test_so_many_bytes_are_in_flight_but_one_request_always_is() -> None:
    story = Story()
    story.up()
    for _ in range(9):
        story.ask(body=bytes(BYTES_MAX // 4))
    assert len(story.sent()) == 4
    story.answer(1)
    assert len(story.sent()) == 1
    other = Story()
    other.up()
    other.ask(body=bytes(2 * BYTES_MAX))
    assert len(other.sent()) == 1


def test_a_hundred_thousand_calls_that_nobody_waits_for_any_more_cost_next_to_nothing() -> None:
    story = Story()
    calls = [story.ask() for _ in range(100_000)]
    steps = 0

    class Counting(type(story.core._queue)):  # type: ignore[misc]
        def __iter__(self) -> object:
            nonlocal steps
            steps += len(self)
            return super().__iter__()

        def remove(self, value: object) -> None:
            nonlocal steps
            steps += len(self)
            super().remove(value)

    story.core._queue = Counting(story.core._queue)
    kept = calls[50_000]
    for call in reversed(calls):
        if call is not kept:
            story.core.give_up(call)
            assert call.done
    assert steps < 300_000
    assert len(story.core._queue) < 3
    story.up()
    assert story.sent() == [(1, Op.SET_DATA)]
    story.answer(1)
    assert kept.done and kept.error is None


def test_numbers_of_requests_wrap_and_none_is_taken_for_one_of_the_special_ones() -> None:
    story = Story()
    story.up()
    story.core._xid = XID_MAX - 1
    calls = [story.ask() for _ in range(3)]
    assert story.sent() == [(XID_MAX, Op.SET_DATA), (1, Op.SET_DATA), (2, Op.SET_DATA)]
    for xid in (XID_MAX, 1, 2):
        story.answer(xid)
    assert all(call.done and call.error is None for call in calls)


def test_a_call_that_was_given_up_is_answered_to_nobody_and_its_watch_is_not_kept() -> None:
    story = Story()
    story.up()
    watch = OneShot("data", "/a")
    call = story.ask(Op.GET_DATA, watch=watch)
    woken: list[str] = []
    call.wake = lambda: woken.append("woken")
    next_one = story.ask()
    story.sent()
    story.core.give_up(call)
    story.answer(1)
    story.answer(2)
    assert woken == [] and next_one.done
    assert list(story.core.watches.renewal(0, session_changed=False)) == []


# Closing --------------------------------------------------------------------------------------------------------------


def test_a_session_in_jeopardy_is_ended_at_the_next_server() -> None:
    story = Story()
    session = story.up()
    story.lose_link()
    call = Call(Op.CLOSE_SESSION, b"", None, "close", None, session=session, again=True)
    story.core.close(call)
    late = story.ask()
    assert isinstance(late.error, ClosedClientError)
    story.up("s2:2181")
    assert story.sent() == [(1, Op.CLOSE_SESSION)]
    story.lose_link()  # did it hear it?
    story.dial("s1:2181")
    story.say(packed(r.ConnectResponse(0, 0, 0, bytes(16), False)))
    assert isinstance(call.error, SessionLostError)


def test_the_end_says_of_each_call_whether_it_may_have_been_done() -> None:
    story = Story()
    story.up()
    sent = story.ask()
    story.sent()
    unsent = story.ask()
    story.core.end()
    assert "it may have been done" in str(sent.error)
    assert "before it was done" in str(unsent.error)
    assert all(isinstance(call.error, ClosedClientError) for call in (sent, unsent))
    assert story.core.state is State.CLOSED
    assert isinstance(story.ask().error, ClosedClientError)


# What a server says ---------------------------------------------------------------------------------------------------


def test_the_newest_state_is_that_of_answers_to_requests_and_never_that_of_events() -> None:
    story = Story()
    story.up()
    story.ask()
    story.ask()
    story.sent()
    story.answer(1, zxid=5)
    story.answer(2, zxid=-1, err=-6)
    assert story.core.last_zxid == 5
    story.say(struct.pack(">iqi", -1, 99, 0) + packed(r.WatcherEvent(3, 3, "/a")))
    assert story.core.last_zxid == 5
    story.lose_link()
    assert story.dial().last_zxid_seen == 99  # but what an event told of is to be found on the next server, too


def test_an_answer_says_what_it_was_about() -> None:
    story = Story()
    story.up()
    call = story.ask(attempt=3)
    story.sent()
    story.answer(1, zxid=77, err=-101)
    error = call.error
    assert isinstance(error, NoNodeError)
    assert (error.operation, error.path, error.session_id, error.server, error.zxid, error.attempt) == (
        "set", "/a", 7, "s1:2181", 77, 3,
    )  # fmt: skip
    assert str(error) == "set /a: NONODE (server s1:2181, session 0x7, attempt 3)"


@pytest.mark.parametrize(("code", "says"), [(-14, "RECONFIGINPROGRESS"), (-999, "error -999, which is unknown")])
def test_a_code_that_is_no_class_of_ours_is_told_by_its_number(code: int, says: str) -> None:
    story = Story()
    story.up()
    call = story.ask()
    story.sent()
    story.answer(1, err=code)
    assert isinstance(call.error, UnknownCodeError)
    assert call.error.code == code and says in str(call.error)
    assert not story.core.link_broken


def test_a_session_that_has_moved_is_gone_on_with_over_another_connection() -> None:
    story = Story()
    session = story.up()
    call = story.ask()
    story.sent()
    story.answer(1, err=-118)
    assert isinstance(call.error, SessionMovedError)
    assert story.core.link_broken and not session.lost


def test_a_session_that_is_over_in_an_answer_is_over() -> None:
    story = Story()
    session = story.up()
    call, other = story.ask(), story.ask()
    story.sent()
    story.answer(1, err=-112)
    assert session.lost and story.core.link_broken
    assert isinstance(call.error, SessionLostError) and isinstance(other.error, SessionLostError)


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n", "no greeting of a ZooKeeper server"),
        (b"\x15\x03\x01\x00\x02\x02\x28", "a server that wants TLS"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "it begins with: b'SSH-"),
        (b"-ERR unknown command\r\n", "it begins with: b'-ERR"),
        (frame(bytes(36)), "a new session was refused as expired"),
        (frame(b"short"), "cut short"),
        (struct.pack(">i", -1), "no greeting"),
        (struct.pack(">i", 5_000), "no greeting"),
        (struct.pack(">i", 0), "cut short"),
        (frame(struct.pack(">iiqi", 0, 9000, 5, 2**31 - 1)), "bytes follow"),
    ],
)
def test_a_greeting_that_is_none_is_told_by_what_it_is(said: bytes, why: str) -> None:
    for pieces in ([said], [said[i : i + 1] for i in range(len(said))]):
        story = Story()
        story.dial()
        for piece in pieces:
            if not story.core.link_broken:
                story.core.receive(piece, story.now_ms)
        assert why in story.core.link_broken
        assert "talks nonsense" in story.core.link_broken
        story.lose_link()
        story.up("s2:2181")


@pytest.mark.parametrize(
    ("payload", "why"),
    [
        (struct.pack(">iqi", 2, 0, 0), "an answer to request 2, where 1 is due"),
        (struct.pack(">iqi", 0, 0, 0), "an answer to request 0, where 1 is due"),
        (struct.pack(">iqi", PING, 0, 0), "a ping answered that was not sent"),
        (struct.pack(">iqi", -4, 0, 0), "an auth answered that was not sent"),
        (struct.pack(">iqi", -1, 0, 0) + b"?", "cut short"),
        (b"", "not even a header"),
        (b"xyz", "not even a header"),
    ],
)
def test_an_answer_that_is_none_ends_the_connection(payload: bytes, why: str) -> None:
    story = Story()
    session = story.up()
    call = story.ask()
    story.sent()
    story.say(payload)
    assert why in story.core.link_broken
    story.lose_link()
    assert isinstance(call.error, ConnectionLossError) and why in str(call.error)
    assert not session.lost


def test_an_answer_before_it_was_asked_ends_the_connection_and_the_call_is_sent_over_the_next() -> None:
    story = Story()
    story.up()
    call = story.ask()
    story.answer(1)
    assert story.core.link_broken == "s1:2181 talks nonsense: an answer to request 1, which was not sent yet"
    story.lose_link()
    story.up("s2:2181")
    assert story.sent() == [(2, Op.SET_DATA)] and not call.done


def test_an_answer_that_cannot_be_read_fails_its_call_and_ends_the_connection() -> None:
    story = Story()
    story.up()
    call = Call(Op.GET_DATA, b"", r.GetDataResponse.read, "get", "/a")
    story.core.submit(call)
    other = story.ask()
    story.sent()
    story.answer(1, body=b"\0\0\0\5abc")
    assert isinstance(call.error, ProtocolError) and call.error.path == "/a"
    assert story.core.link_broken and not other.done


def test_an_answer_that_is_too_long_is_told_to_its_call_and_the_others_lose_their_connection() -> None:
    story = Story()
    story.up()
    first, call, other = story.ask(), story.ask(), story.ask()
    story.sent()
    story.core.receive(frame(struct.pack(">iqi", 1, 0, 0)) + struct.pack(">i", REPLY_BYTES_MAX + 1), story.now_ms)
    assert first.done and first.error is None
    assert isinstance(call.error, ReplyTooLargeError) and call.error.size == REPLY_BYTES_MAX + 1
    story.lose_link()
    assert isinstance(other.error, ConnectionLossError)


def test_a_length_of_nonsense_costs_no_memory() -> None:
    story = Story()
    story.dial()
    tracemalloc.start()
    try:
        story.core.receive(struct.pack(">i", 2**31 - 1) + bytes(1000), story.now_ms)
        story.lose_link()
        story.up()
        story.core.receive(struct.pack(">i", REPLY_BYTES_MAX) + bytes(1000), story.now_ms)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_half_a_frame_and_then_silence_is_a_silence() -> None:
    story = Story()
    story.up()
    story.core.receive(struct.pack(">i", 100) + b"half", story.now_ms)
    story.wait(TIMEOUT_MS)
    assert story.is_down()
    assert "it said nothing" in story.core.link_broken


def test_a_server_that_takes_the_connection_but_does_not_greet_is_left_in_time() -> None:
    story = Story()
    story.core.open_link("s1:2181", story.now_ms, story.now_ms + 3_000)
    story.wait(2_999)
    assert not story.is_down()
    story.wait(1)
    assert story.is_down()
    assert story.core.link_broken == "it took the connection, but did not greet within 3000 ms"


def _mangled(payload: bytes, at: int, value: int) -> bytes:
    return payload[: at % (len(payload) or 1)] + bytes([value]) + payload[at % (len(payload) or 1) + 1 :]


HEADERS = st.builds(
    lambda xid, zxid, err, body: frame(struct.pack(">iqi", xid, zxid, err) + body),
    st.sampled_from([-8, -4, -2, -1, 0, 1, 2, 3, 4, 5]) | st.integers(-(2**31), 2**31 - 1),
    st.integers(-(2**63), 2**63 - 1),
    st.sampled_from([0, 0, 0, -101, -112, -115, -118, -124, -999]),
    st.binary(max_size=80) | st.just(packed(r.WatcherEvent(3, 3, "/a"))),
)
GREETINGS = st.builds(
    lambda timeout, id, password, read_only: frame(packed(r.ConnectResponse(0, timeout, id, password, read_only))),
    st.integers(-(2**31), 2**31 - 1),
    st.sampled_from([0, 7, 8]),
    st.binary(max_size=40),
    st.sampled_from([None, False, True]),
)
NONSENSE = st.one_of(
    st.binary(max_size=200), HEADERS, GREETINGS, st.builds(_mangled, HEADERS, st.integers(0, 99), st.integers(0, 255))
)
READS: list[Callable[..., object] | None] = [
    None, r.GetDataResponse.read, r.GetChildren2Response.read, r.Create2Response.read, r.MultiResponse.read,
]  # fmt: skip
STEPS = st.one_of(
    st.tuples(st.just("say"), NONSENSE),
    st.tuples(st.just("ask"), st.sampled_from(range(len(READS)))),
    st.tuples(st.just("wait"), st.integers(1, 4_000)),
    st.tuples(st.sampled_from(["send", "drop", "dial", "greet", "forget", "auth"]), st.none()),
)


@settings(max_examples=400, deadline=None)
@given(st.lists(STEPS, max_size=40))
def test_whatever_comes_from_servers_nothing_is_raised_and_every_call_ends(steps: list[tuple[str, object]]) -> None:
    story = Story()
    core = story.core
    calls: list[Call] = []
    logging.disable(logging.CRITICAL)
    try:
        for what, value in steps:
            if what == "dial" and core.link is Link.DOWN:
                core.open_link("s1:2181", story.now_ms)
                core.take(story.now_ms)
            elif what == "greet" and core.link is Link.DOWN and core.failure is None:
                story.up(id=core.session.id if core.session else 7 + len(calls))
            elif what == "say" and core.link is not Link.DOWN and not core.link_broken:
                assert isinstance(value, bytes)
                core.receive(value, story.now_ms)
            elif what == "ask":
                assert isinstance(value, int)
                call = Call(Op.GET_DATA, b"", READS[value], "get", "/a", again=value % 2 == 0)
                calls.append(call)
                core.submit(call)
            elif what == "auth":
                call = Call(Op.AUTH, b"", None, "add_auth", None)
                calls.append(call)
                core.add_auth(call, "digest", b"a:b")
            elif what == "wait":
                assert isinstance(value, int)
                story.wait(value)
            elif what == "send":
                core.take(story.now_ms)
            elif what == "drop":
                story.lose_link()
            elif what == "forget" and calls:
                core.give_up(calls[-1])
            if core.link_broken and core.link is not Link.DOWN:
                story.lose_link()
            if core.session is not None:
                assert not core.session.lost
                assert core.session.deadline_ms <= story.now_ms + core.session.timeout_ms
        story.lose_link()
        story.wait(REQUEST_TIMEOUT_MS)  # without a server
        assert all(call.done for call in calls)
        if core.failure is None:
            assert not core._queue and core._given_up == 0
            story.up(id=core.session.id if core.session else 99)
            last = story.ask()
            assert story.sent() == [(last.xid, Op.SET_DATA)]
            story.answer(last.xid)
            assert last.done and last.error is None
        else:
            assert isinstance(core.failure, AuthFailedError)
    finally:
        logging.disable(logging.NOTSET)
