"""Local sessions: their ids, and when they end."""

from collections.abc import Callable

from hypothesis import given, strategies as st

from zabpy.model import LOCAL_SESSION
from zabpy.sessions import LocalSessions, is_local_id, origin_of_session

SERVER = st.integers(1, 255)
START = st.integers(0, 1 << 40)


def passwords() -> Callable[[int], bytes]:
    count = iter(range(1, 1 << 30))
    return lambda size: next(count).to_bytes(size, "big")


def local(origin: int = 1, start: int = 1, tick_ms: int = 1000) -> LocalSessions:
    return LocalSessions(origin, start, tick_ms, passwords())


@given(SERVER, START)
def test_an_id_is_a_signed_64_bit_number_with_a_mark_that_no_global_id_has(origin: int, start: int) -> None:
    sessions = local(origin, start)
    ids = [sessions.open(4000, 0)[0] for _ in range(3)]
    assert len(set(ids)) == 3
    for id in ids:
        assert -(1 << 63) <= id < 1 << 63
        assert id not in (0, -(1 << 63), LOCAL_SESSION)
        assert is_local_id(id)
        assert origin_of_session(id) == origin


@given(SERVER, SERVER, st.integers(0, 0x7FFFFF), st.integers(0, 0x7FFFFF))
def test_two_servers_and_two_starts_never_give_the_same_id(a: int, b: int, first: int, second: int) -> None:
    if (a, first) != (b, second):
        assert local(a, first).open(4000, 0)[0] != local(b, second).open(4000, 0)[0]


def test_when_all_ids_are_given_no_more_are_opened_and_none_was_the_marker() -> None:
    sessions = local(255, 0x7FFFFF)
    sessions._counter = 0xFFFF_FFFD
    assert not sessions.exhausted
    assert sessions.open(4000, 0)[0] == -2
    assert sessions.exhausted


def test_a_silent_session_ends_at_its_deadline_rounded_up_and_is_told_once() -> None:
    sessions = local(tick_ms=1000)
    id, password = sessions.open(4000, 100)
    session = sessions.get(id)
    assert session is not None
    assert (session.timeout_ms, session.password) == (4000, password)
    assert sessions.next_ms(100) == 4900
    assert sessions.expired(4999) == []
    sessions.heard(id, 4999)
    assert sessions.expired(8999) == []
    assert sessions.expired(9000) == [id]
    assert id not in sessions
    assert sessions.expired(99_000) == []


def test_a_client_that_comes_back_may_agree_on_another_timeout() -> None:
    sessions = local(tick_ms=1000)
    id, _ = sessions.open(4000, 0)
    sessions.heard(id, 1000, 10_000)
    assert sessions.expired(10_999) == []
    assert sessions.expired(11_000) == [id]


def test_a_session_on_its_way_to_become_global_is_not_ended_here() -> None:
    sessions = local(tick_ms=1000)
    id, _ = sessions.open(4000, 0)
    sessions.upgrade(id)
    sessions.heard(id, 100)
    assert sessions.is_upgrading(id)
    assert sessions.expired(1 << 40) == []
    assert id in sessions


def test_what_became_of_upgrades_is_not_known_here_any_more_after_they_are_forgotten() -> None:
    sessions = local()
    gone, _ = sessions.open(4000, 0)
    stays, _ = sessions.open(4000, 0)
    sessions.upgrade(gone)
    sessions.forget_upgrades()
    assert gone not in sessions
    assert stays in sessions
    sessions.clear()
    assert len(sessions) == 0
    assert sessions.next_ms(0) is None


def test_all_have_their_whole_timeout_again_after_a_refresh() -> None:
    sessions = local(tick_ms=1000)
    id, _ = sessions.open(4000, 0)
    sessions.refresh(50_000)
    assert sessions.expired(53_999) == []
    assert sessions.expired(54_000) == [id]


def test_what_is_heard_of_a_session_that_is_over_brings_it_back_to_nothing() -> None:
    sessions = local()
    id, _ = sessions.open(4000, 0)
    sessions.close(id)
    sessions.close(id)
    sessions.heard(id, 100, 4000)
    assert len(sessions) == 0
    assert sessions.expired(1 << 40) == []
