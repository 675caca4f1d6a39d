"""Traps: the state machine and its snapshots differ from the order."""

from collections.abc import Iterator
from typing import Any

from zabpy.zab.effects import Phase, Role

from ..drive import Snapshot
from ..facts import State
from ..instead import instead
from ..process import Process
from ..simulation import Simulation
from .trap import trap


def _copy(state: State) -> State:
    return State(state.count, state.tip, state.digest, state.observers)


@trap("B12", "I17", "I18")
def _shorter_path_while_synchronising() -> Iterator[None]:
    """What is delivered before a server serves takes a shorter path, which leaves a part of the state out."""

    def deliver(self: Simulation, process: Process, effect: Any) -> None:
        before = process.state.digest
        right(self, process, effect)
        if process.phase is Phase.SYNCHRONIZATION:
            process.state.digest = before

    right = Simulation._deliver
    with instead(Simulation, "_deliver", deliver):
        yield


@trap("B12-leader", "I17", "I18")
def _leader_cleans_up() -> Iterator[None]:
    """A new leader mends its own state directly, beside the order."""

    def role_changed(self: Simulation, process: Process, effect: Any) -> None:
        right(self, process, effect)
        if process.role is Role.LEADING and process.phase is Phase.BROADCAST:
            process.state.digest ^= 1

    right = Simulation._role_changed
    with instead(Simulation, "_role_changed", role_changed):
        yield


@trap("C2", "I18")
def _position_ahead_of_a_batch() -> Iterator[None]:
    """The position is that of a batch's end while its parts are still being applied, and a snapshot is taken then."""

    def deliver(self: Simulation, process: Process, effect: Any) -> None:
        first, last = effect.entries[0], effect.entries[-1]
        if first is last or process.snapshotting or process.phase is not Phase.BROADCAST:
            right(self, process, effect)
            return
        half = _copy(process.state)
        half.apply(first)
        half.tip = half.tip._replace(zxid=last.zxid, chain=last.chain)
        right(self, process, effect)
        if process.alive and not process.snapshotting:
            whole, process.state = process.state, half
            self.begin_snapshot(process)
            process.state = whole

    right = Simulation._deliver
    with instead(Simulation, "_deliver", deliver):
        yield


@trap("C3", "I18")
def _fuzzy_snapshot() -> Iterator[None]:
    """A snapshot is named by where it was begun, and holds what came in while it was written."""

    def saved(self: Simulation, what: tuple[Process, Snapshot]) -> None:
        process, snapshot = what
        if process.alive and not process.paused:
            later = _copy(process.state)
            later.tip = snapshot.tip
            what = process, Snapshot(snapshot.tip, later.image())
        right(self, what)

    right = Simulation._snapshot_saved
    with instead(Simulation, "_snapshot_saved", saved):
        yield


@trap("C4", "I18")
def _part_of_the_state_not_in_the_snapshot() -> Iterator[None]:
    """A snapshot leaves out a part of the state that the order decides: who observes."""

    def image(self: State) -> bytes:
        return right(State(self.count, self.tip, self.digest, -1))

    right = State.image
    with instead(State, "image", image):
        yield


@trap("C5", "I17", "I18")
def _part_of_the_state_not_restored() -> Iterator[None]:
    """A part of the state is written to a snapshot and not read back."""

    def of_image(image: bytes) -> State:
        state = right(image)
        state.digest &= 0xFFFFFFFF
        return state

    right = State.of_image
    with instead(State, "of_image", staticmethod(of_image)):
        yield
