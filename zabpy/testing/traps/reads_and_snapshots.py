"""Traps: links, reads, snapshots."""

from collections.abc import Iterator
from typing import Any

from zabpy.zab import Replica, broadcast, replica as zab_replica
from zabpy.zab.effects import ReadConfirmed
from zabpy.zab.inputs import ReadAsked, Received
from zabpy.zab.roles import Leading, PendingRead

from ..facts import _FILL, _STATE, State
from ..instead import instead, instead_in
from ..simulation import Simulation
from .trap import trap


@trap("stale-link", "I24", "I9", "CORE")
def _message_of_a_dead_link() -> Iterator[None]:
    """A message is processed whichever link it came on."""
    right = Replica._received

    def received(self: Replica, given: Received, now_ms: int) -> None:
        right(self, Received(given.peer, self.links.get(given.peer, given.link), given.message), now_ms)

    with instead_in(zab_replica.INPUTS, Received, received):
        yield


@trap("G1", "I21")
def _read_from_memory() -> Iterator[None]:
    """A leader answers a linearizable read without asking whether it still leads."""

    def read_asked(self: Replica, given: Any, now_ms: int) -> None:
        assert isinstance(self.state, Leading)
        self.emit(ReadConfirmed(given.number, self.state.committed))

    with instead_in(zab_replica.INPUTS, ReadAsked, read_asked):
        yield


@trap("G2", "I21")
def _read_by_an_old_ping() -> Iterator[None]:
    """A read is confirmed by answers to a ping that was sent before it was asked."""

    def read_asked(self: Replica, given: Any, now_ms: int) -> None:
        leading = self.state
        assert isinstance(leading, Leading)
        leading.reads.append(PendingRead(given.number, leading.committed, leading.ping))
        broadcast._confirm_reads(self, leading)

    with instead_in(zab_replica.INPUTS, ReadAsked, read_asked):
        yield


@trap("B2", "I18")
def _snapshot_of_what_is_not_final() -> Iterator[None]:
    """A snapshot is taken of all that is in the log, committed or not."""
    right = Simulation.begin_snapshot

    def begin_snapshot(self: Simulation, process: Any) -> None:
        delivered = process.state
        process.state = State(delivered.count, delivered.tip, delivered.digest, delivered.observers)
        for entry in process.platter.entries:
            if entry.zxid > delivered.tip.zxid:
                process.state.apply(entry)
        right(self, process)
        process.state = delivered

    with instead(Simulation, "begin_snapshot", begin_snapshot):
        yield


@trap("C1", "I18")
def _snapshot_named_too_high() -> Iterator[None]:
    """A snapshot's name promises one entry more than it holds."""

    def image(self: State) -> bytes:
        return _STATE.pack(self.count - 1, self.tip.zxid, self.tip.chain, self.digest, self.observers) + _FILL

    with instead(State, "image", image):
        yield
