"""What may come in: requests outstanding, large requests, handshakes."""

from zabpy.pipeline import ConnectionRules, ConnectionThrottle, LargeRequests, Throttle


def test_everybody_may_have_one_request_outstanding_whatever_others_have() -> None:
    throttle = Throttle(outstanding_max=10, connection_max=5)
    throttle.began(1000)
    assert throttle.may_read(0)
    assert not throttle.may_read(1)
    throttle.ended(990)
    assert throttle.may_read(4)
    assert not throttle.may_read(5)


def test_servers_share_the_limit_as_zookeeper_reckons_it() -> None:
    for voters, share in ((1, 1000), (2, 1000), (3, 500), (5, 250), (7, 166), (5000, 1)):
        throttle = Throttle(1000, 10_000)
        throttle.share(voters)
        throttle.began(share)
        assert throttle.may_read(1)
        throttle.began()
        assert not throttle.may_read(1)
    unbounded = Throttle(0, 10_000)
    unbounded.share(3)
    unbounded.began(1 << 40)
    assert unbounded.may_read(1)


def test_large_requests_have_a_bound_together() -> None:
    large = LargeRequests(bytes_min=100, bytes_max=1000)
    assert large.began(1, 600) and large.began(2, 400)
    assert not large.began(3, 101)
    large.ended(3)
    assert large.bytes == 1000
    large.ended(1)
    large.ended(1)
    assert large.bytes == 400
    assert large.began(4, 600)
    large.ended(2)
    large.ended(4)
    assert large.bytes == 0
    assert LargeRequests(-1, 1000).bytes_min > 1 << 40


def never() -> float:
    return 0.999999


def test_the_bucket_is_off_unless_it_has_tokens() -> None:
    throttle = ConnectionThrottle(ConnectionRules(), 0, lambda: 0.0)
    assert all(throttle.admit(3, 0) for _ in range(10_000))


def test_tokens_are_used_up_and_put_back() -> None:
    throttle = ConnectionThrottle(ConnectionRules(tokens_max=4, fill_ms=100, fill_tokens=2), 0, never)
    assert [throttle.admit(1, 50) for _ in range(6)] == [True] * 4 + [False] * 2
    assert not throttle.admit(1, 100)  # only once more than the time has passed, as in ZooKeeper
    assert [throttle.admit(1, 101) for _ in range(3)] == [True, True, False]
    assert [throttle.admit(1, 10_000) for _ in range(5)] == [True] * 4 + [False]  # never more than the bucket holds


def test_weights() -> None:
    throttle = ConnectionThrottle(ConnectionRules(tokens_max=6, fill_ms=1000), 0, never)
    assert [throttle.admit(weight, 1) for weight in (3, 2, 2, 1, 1)] == [True, True, False, True, False]


def test_while_the_bucket_is_empty_the_chance_to_be_turned_away_grows() -> None:
    drawn = [0.5]
    rules = ConnectionRules(
        tokens_max=2,
        fill_ms=100,
        fill_tokens=2,
        freeze_ms=10,
        drop_increase=0.4,
        drop_decrease=0.1,
        decrease_ratio=0.5,
    )
    throttle = ConnectionThrottle(rules, 0, lambda: drawn[0])
    assert throttle.admit(1, 1) and throttle.admit(1, 2) and not throttle.admit(1, 3)
    assert throttle.drop == 0.0
    assert not throttle.admit(1, 11)
    assert throttle.drop == 0.4
    assert not throttle.admit(1, 12)  # frozen
    assert throttle.drop == 0.4
    assert not throttle.admit(1, 22)
    assert throttle.drop == 0.8
    assert not throttle.admit(1, 33)
    assert throttle.drop == 1.0
    assert not throttle.admit(1, 102)  # there are tokens again, but no luck
    assert throttle.tokens == 2
    assert abs(throttle.drop - 0.9) < 1e-9
    drawn[0] = 0.95
    assert throttle.admit(1, 103)
    assert throttle.admit(1, 113)  # half of the tokens used is still few enough
    assert abs(throttle.drop - 0.8) < 1e-9


def test_without_a_freeze_time_there_is_no_chance_in_it() -> None:
    throttle = ConnectionThrottle(ConnectionRules(tokens_max=1, fill_ms=1), 0, lambda: 0.0)
    assert throttle.admit(1, 0)
    for now_ms in range(0, 1000, 2):
        throttle.admit(1, now_ms)
        throttle.admit(1, now_ms)
    assert throttle.drop == 0.0
    assert throttle.admit(1, 2000)
