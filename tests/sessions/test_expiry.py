"""When a silent session is over."""

from hypothesis import given, settings, strategies as st

from zabpy.sessions import Expiry


def test_a_session_expires_at_the_tick_after_its_timeout() -> None:
    expiry = Expiry(100)
    expiry.touch(1, 250, 1000)  # 1250, so at 1300

    assert expiry.next_ms(1000) == 300
    assert expiry.expired(1299) == []
    assert expiry.expired(1300) == [1]
    assert expiry.expired(9999) == []
    assert expiry.next_ms(9999) is None


def test_a_deadline_on_a_tick_is_not_moved() -> None:
    expiry = Expiry(100)
    expiry.touch(1, 200, 1000)

    assert expiry.expired(1199) == []
    assert expiry.expired(1200) == [1]


def test_a_touch_moves_the_deadline_either_way() -> None:
    expiry = Expiry(100)
    expiry.touch(1, 200, 1000)
    expiry.touch(1, 200, 1150)
    assert expiry.next_ms(1150) == 250
    assert expiry.expired(1399) == []
    expiry.touch(1, 10, 1160)  # it came back with a shorter timeout

    assert expiry.expired(1200) == [1]


def test_the_earliest_come_first_and_within_a_tick_the_longest_silent() -> None:
    expiry = Expiry(100)
    expiry.touch(3, 500, 0)
    expiry.touch(2, 100, 0)
    expiry.touch(1, 90, 0)

    assert expiry.expired(1000) == [2, 1, 3]


def test_a_removed_session_never_expires() -> None:
    expiry = Expiry(100)
    expiry.touch(1, 100, 0)
    expiry.remove(1)
    expiry.remove(1)

    assert expiry.expired(1000) == []
    assert expiry.next_ms(0) is None
    assert len(expiry) == 0


def test_what_is_overdue_is_due_now() -> None:
    expiry = Expiry(100)
    expiry.touch(1, 100, 0)

    assert expiry.next_ms(5000) == 0


@given(
    st.lists(
        st.tuples(st.sampled_from(["touch", "remove", "expired"]), st.integers(1, 5), st.integers(1, 40)), max_size=60
    ),
    st.integers(1, 17),
)
@settings(deadline=None)
def test_every_session_lives_its_timeout_and_less_than_a_tick_more(
    steps: list[tuple[str, int, int]], tick_ms: int
) -> None:
    expiry, over_at, now_ms = Expiry(tick_ms), dict[int, int](), 0
    for what, id, number in steps:
        if what == "touch":
            expiry.touch(id, number, now_ms)
            over_at[id] = now_ms + number
        elif what == "remove":
            expiry.remove(id)
            over_at.pop(id, None)
        else:
            now_ms += number
            gone = expiry.expired(now_ms)
            assert len(gone) == len(set(gone))
            assert all(over_at[id] <= now_ms for id in gone)
            assert all(over_at[id] > now_ms - tick_ms for id in over_at if id not in gone)
            for id in gone:
                del over_at[id]
        assert len(expiry) == len(over_at)
        assert all(id in expiry for id in over_at)
