"""The state, and its rows on the way to and from a snapshot."""

import pytest

from tests.pipeline.conftest import EPOCH, World
from zabpy.model import Txn, ZabpyError, Zxid, make_zxid
from zabpy.pipeline import RequestIds, State, StateRowsError, apply_entry
from zabpy.pipeline.state import Row
from zabpy.wire import Op, records as r


def rows_of(state: State, count: int = 3) -> list[Row]:
    frozen, rows = state.freeze(), []
    while some := frozen.rows(count):
        rows += some
    frozen.close()
    return rows


def fill(world: World) -> None:
    other = world.open(40_000)
    for number in range(7):
        world.create(f"/n{number}", b"x" * number, flags=number % 2, session=other)


def test_a_state_comes_back_from_its_rows_with_all_it_had(world: World) -> None:
    fill(world)
    for count in (1, 2, 5, 100):
        again = State.from_rows(rows_of(world.state, count))
        assert again.digest() == world.state.digest()
        assert again.last_time_ms == world.state.last_time_ms == world.now_ms
        assert again.last_applied == world.last
        assert again.sessions.rows() == world.state.sessions.rows()
        assert again.tree.ephemerals.of(world.state.sessions.ids()[1]) == ["/n1", "/n3", "/n5"]


def test_the_rows_are_of_the_moment_of_the_freeze(world: World) -> None:
    fill(world)
    digest = world.state.digest()
    frozen = world.state.freeze()
    rows = frozen.rows(2)
    world.write(Op.SET_DATA, r.SetDataRequest("/n0", b"changed", -1))
    world.write(Op.DELETE, r.DeleteRequest("/n2", -1))
    world.open()
    world.write(Op.CLOSE_SESSION)
    while some := frozen.rows(2):
        rows += some
    assert State.from_rows(rows).digest() == digest
    assert world.state.digest() != digest


@pytest.mark.parametrize(
    "damage",
    [
        lambda rows: [],
        lambda rows: rows[1:],
        lambda rows: rows[:2],
        lambda rows: [(2, *rows[0][1:]), *rows[1:]],
        lambda rows: [(*rows[0][:3], 99), *rows[1:]],
        lambda rows: [(*rows[0][:3], "x"), *rows[1:]],
        lambda rows: [(*rows[0][:3], 1), *rows[1:]],
        lambda rows: rows[:4],
    ],
)
def test_rows_that_are_no_state_are_refused(world: World, damage: object) -> None:
    fill(world)
    rows = rows_of(world.state)
    with pytest.raises(ZabpyError):
        State.from_rows(damage(rows))  # type: ignore[operator]
    assert issubclass(StateRowsError, ZabpyError)


def test_an_epoch_start_moves_the_place_and_nothing_else(world: World) -> None:
    digest = world.state.tree.digest()
    apply_entry(world.state, make_zxid(EPOCH + 1, 0), None)
    assert world.state.last_applied == make_zxid(EPOCH + 1, 0)
    assert world.state.tree.digest() == digest


def test_the_order_is_delivered_once_and_forwards(world: World) -> None:
    world.propose(Op.CREATE, b"")
    txn, _, _ = world.deliver()[0]
    for zxid in (world.last, Zxid(world.last - 1)):
        with pytest.raises(AssertionError):
            apply_entry(world.state, zxid, txn)
    assert isinstance(txn, Txn)


def test_request_ids_go_round_without_touching_origin_and_start() -> None:
    ids = RequestIds(3, 9)
    assert [ids.next() for _ in range(2)] == [3 << 56 | 9 << 32 | 1, 3 << 56 | 9 << 32 | 2]
    ids._counter = 0xFFFFFFFF
    assert ids.next() == 3 << 56 | 9 << 32
