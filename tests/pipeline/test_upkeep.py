"""What the leader asks for by itself, and how often."""

from tests.pipeline.conftest import OPEN, World
from zabpy.model import ErrorTxn, Request, Zxid
from zabpy.pipeline import RequestIds, Rules, Throttle, Upkeep, UpkeepRules
from zabpy.wire import Op, encode_txn, records as r

TICK_MS = 2_000


def carry_out(world: World, requests: list[Request]) -> list[int]:
    """Prepare, propose and deliver; the error codes."""
    for request in requests:
        world.last = Zxid(world.last + 1)
        txn = world.preparer.prepare(request, world.last, world.now_ms)
        world.proposed.append((world.last, request.op, encode_txn(txn)))
    return [err for _, _, (err, _) in world.deliver()]


def test_a_silent_session_ends_after_its_timeout_and_at_most_a_tick(world: World) -> None:
    other = world.open(30_000)
    world.create("/e", flags=1)
    upkeep = Upkeep(world.state, RequestIds(1, 2), TICK_MS, now_ms=500)  # 10 s and 30 s from here
    assert upkeep.next_ms(500) == 11_500
    assert upkeep.due(10_499, 0) == []
    upkeep.heard(world.session, 4_000)
    assert upkeep.due(13_999, 0) == []
    requests = upkeep.due(14_000, 0)
    assert [(request.op, request.session_id) for request in requests] == [(Op.CLOSE_SESSION, 0)]
    assert upkeep.due(14_000, 0) == []  # once
    assert carry_out(world, requests) == [0]
    assert "/e" not in world.state.tree.nodes
    assert world.state.sessions.ids() == [other]
    upkeep.closed(world.session)
    upkeep.heard(world.session, 15_000)  # too late
    assert len(upkeep.due(50_000, 0)) == 1  # the other one


def test_a_session_heard_of_again_while_it_closes_is_not_closed_twice(world: World) -> None:
    upkeep = Upkeep(world.state, RequestIds(1, 2), TICK_MS, now_ms=0)
    requests = upkeep.due(10_000, 0)
    upkeep.heard(world.session, 10_000)
    assert carry_out(world, requests) == [0]
    assert upkeep.due(30_000, 0) == []


def test_a_timeout_agreed_on_anew_counts_from_then_on(world: World) -> None:
    upkeep = Upkeep(world.state, RequestIds(1, 2), TICK_MS, now_ms=0)
    upkeep.heard(world.session, 1_000, timeout_ms=40_000)
    upkeep.heard(world.session, 2_000)
    assert upkeep.due(41_999, 0) == []
    assert len(upkeep.due(42_000, 0)) == 1


def test_empty_containers_and_old_ttl_znodes_go_within_the_limit() -> None:
    world = World(Rules(extended_types=True))
    for number in range(6):
        world.write(Op.CREATE_CONTAINER, r.CreateRequest(f"/c{number}", b"", OPEN, 4))
        world.create(f"/c{number}/x")
        world.write(Op.DELETE, r.DeleteRequest(f"/c{number}/x", -1))
    world.write(Op.CREATE_TTL, r.CreateTTLRequest("/t", b"", OPEN, 5, 1_000))
    upkeep = Upkeep(world.state, RequestIds(1, 2), TICK_MS, 0, UpkeepRules(1_000, per_minute_max=120))
    world.open(1 << 30)
    wall = world.now_ms + 5_000
    assert upkeep.due(999, wall) == []
    gone = []
    for now in range(1_000, 10_000, 500):
        requests = [request for request in upkeep.due(now, wall) if request.op == Op.DELETE_CONTAINER]
        assert len(requests) <= 2
        gone += carry_out(world, requests)
    assert gone == [0] * 7
    assert sorted(world.state.tree.nodes) == ["/", "/zookeeper", "/zookeeper/config", "/zookeeper/quota"]


def test_a_container_that_is_wanted_again_stays(world: World) -> None:
    world.write(Op.CREATE_CONTAINER, r.CreateRequest("/c", b"", OPEN, 4))
    path = b"\0\0\0\2/c"
    world.propose(Op.CREATE, r.CreateRequest("/c/x", b"", OPEN, 0))
    assert world.propose(Op.DELETE_CONTAINER, path, session=0) == ErrorTxn(-111)
    world.propose(Op.DELETE, r.DeleteRequest("/c/x", -1))
    assert world.propose(Op.DELETE_CONTAINER, path, session=0) == ErrorTxn(-111)  # something is outstanding
    world.deliver()
    assert world.write(Op.DELETE_CONTAINER, path, session=0) == (0, b"")
    assert world.propose(Op.DELETE_CONTAINER, path, session=0) == ErrorTxn(-101)
    world.create("/p")
    assert world.propose(Op.DELETE_CONTAINER, b"\0\0\0\2/p", session=0) == ErrorTxn(-103)


def test_beyond_the_limit_only_those_with_nothing_outstanding_are_read() -> None:
    throttle = Throttle(outstanding_max=10, connection_max=8)
    throttle.began(10)
    assert throttle.may_read(7)
    assert not throttle.may_read(8)
    throttle.began()
    assert throttle.may_read(0)
    assert not throttle.may_read(1)
    throttle.ended()
    assert throttle.may_read(1)
    assert throttle.outstanding == 10
    assert Throttle(0, 8).may_read(7)


def test_a_ttl_znode_that_is_renewed_between_the_sweep_and_its_turn_stays() -> None:
    world = World(Rules(extended_types=True))
    for number in range(4):
        world.write(Op.CREATE_TTL, r.CreateTTLRequest(f"/t{number}", b"", OPEN, 5, 1_000))
    upkeep = Upkeep(world.state, RequestIds(1, 2), TICK_MS, 0, UpkeepRules(60_000, per_minute_max=120))
    world.open(1 << 30)
    world.now_ms += 5_000

    def left() -> list[str]:
        return sorted(path for path in world.state.tree.nodes if path.startswith("/t"))

    def turn(now_ms: int) -> None:
        requests = upkeep.due(now_ms, world.now_ms)
        carry_out(world, [request for request in requests if request.op == Op.DELETE_CONTAINER])

    turn(60_000)  # the sweep finds all four, and some have their turn at once
    renewed, *others = left()
    assert 0 < len(others) < 3
    world.write(Op.SET_DATA, r.SetDataRequest(renewed, b"renewed", -1))
    for now_ms in range(60_500, 65_000, 500):
        turn(now_ms)
    assert left() == [renewed]
