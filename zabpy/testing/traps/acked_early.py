"""Traps: said or acked before it was durable, and disks that do not keep what they said."""

from collections.abc import Iterator
from typing import Any

from zabpy.zab import Replica, replica as zab_replica, synchronization
from zabpy.zab.effects import Append, Install, Send, Truncate
from zabpy.zab.inputs import Durable, Installed
from zabpy.zab.messages import Ack, Propose
from zabpy.zab.roles import Following

from .. import drive
from ..drive import Drive, Platter, Snapshot
from ..instead import instead, instead_in
from .trap import trap


@trap("A1", "I9")
def _ack_of_history_before_disk() -> Iterator[None]:
    """A learner acks the end of the history when it was told of it, not when it has it on disk."""

    def acknowledge(replica: Replica, following: Following) -> None:
        if following.mark is not None and not replica.installing:
            ackable = max(following.mark, replica.history.durable)
            if ackable != following.acked:
                following.acked = ackable
                replica.emit(Send(following.leader, Ack(ackable)))

    with instead(synchronization, "acknowledge", acknowledge):
        yield


@trap("A2", "I9")
def _ack_when_queued() -> Iterator[None]:
    """A learner in BROADCAST acks what it has handed to its disk."""
    right = synchronization.on_propose

    def on_propose(replica: Replica, peer: int, told: Any, now_ms: int) -> None:
        right(replica, peer, told, now_ms)
        following = replica.state
        if isinstance(following, Following) and following.acked:
            following.acked = replica.history.last.zxid
            replica.emit(Send(peer, Ack(following.acked)))

    with instead_in(zab_replica.MESSAGES, Propose, on_propose):
        yield


@trap("A4", "I9", "CORE")
def _speak_while_disk_is_busy() -> Iterator[None]:
    """A server that has left a role stands for election while its disk still works for the old one."""
    with instead(Replica, "disk_is_busy", property(lambda self: False)):
        yield


@trap("A9", "I3", "I7", "I9", "I10", "I18", "CORE")
def _image_in_memory_only() -> Iterator[None]:
    """A received snapshot is loaded, but not made permanent."""

    def install(self: Drive, operation: Any) -> Installed:
        snapshot = Snapshot(operation.tip, bytes(self._staged))
        self._staged.clear()
        self.platter.snapshots = [snapshot, *self.platter.snapshots]  # found by the state machine, not by a restart
        self.platter.snapshots.append(self.platter.snapshots.pop(0))
        return Installed(operation.tip)

    with instead_in(drive._DONE, Install, install):
        yield


@trap("A12", "I7", "I9", "I16", "I8", "I6", "I11", "CORE", "I10", "I3")
def _cut_not_synced() -> Iterator[None]:
    """A truncation is not synced: a power cut brings the old tail back, over what was written since."""
    right = Drive.crash

    def cut(self: Drive, operation: Truncate) -> None:
        self.__dict__.setdefault("uncut", []).append((operation.after, self.platter.truncate(operation.after)))

    def crash(self: Drive, keep_all: bool) -> None:
        right(self, keep_all)
        for after, gone in self.__dict__.get("uncut", ()):
            if gone and not keep_all and after >= self.platter.log_base.zxid:
                self.platter.truncate(after)
                self.platter.append(gone)

    with instead_in(drive._DONE, Truncate, cut), instead(Drive, "crash", crash):
        yield


@trap("B6", "I9", "I3", "I10")
def _failed_sync_ignored() -> Iterator[None]:
    """A failed sync is taken for a good one; the process lives on and its memory speaks for the disk."""

    def failed(self: Drive) -> None:
        last = self.at_work[-1]
        if not isinstance(last, Append):
            self._done()
            return
        self.at_work.clear()
        if self.waiting:
            self._begin()
        self._sim.step(self._process, Durable(last.entries[-1].zxid))

    with instead(Drive, "_failed", failed):
        yield


@trap("B10", "I7", "I9")
def _recovery_cuts_too_far() -> Iterator[None]:
    """Recovery takes the last record for a torn one, always."""
    right = Platter.recovered

    def recovered(self: Platter) -> Any:
        if self.entries and self.entries[-1].zxid > self.snapshot_tip.zxid:
            self.truncate(self.entries[-2].zxid if len(self.entries) > 1 else self.log_base.zxid)
        return right(self)

    with instead(Platter, "recovered", recovered):
        yield


@trap("A3", "I3")
def _end_of_history_first() -> Iterator[None]:
    """The end of a history, which carries its epoch, is on disk before what stands in front of it: a power cut leaves
    the last records of an append, not the first."""

    def crash(self: Drive, keep_all: bool) -> None:
        entries = [entry for operation in self.at_work if isinstance(operation, Append) for entry in operation.entries]
        if len(entries) > 1 and not keep_all:
            self._write(entries[self._random.randrange(1, len(entries)) :])
            self.at_work.clear()
            self.waiting.clear()
        else:
            right(self, keep_all)

    right = Drive.crash
    with instead(Drive, "crash", crash):
        yield


@trap("A5", "I9", "I24")
def _ack_of_a_proposal_before_that_of_the_history() -> Iterator[None]:
    """A learner acks what is on its disk though the end of the history was not told yet."""

    def acknowledge(replica: Replica, following: Following) -> None:
        durable = replica.history.durable
        if following.streaming and not replica.installing and following.cut_after is None and durable > following.acked:
            following.acked = durable
            replica.emit(Send(following.leader, Ack(durable)))

    with instead(synchronization, "acknowledge", acknowledge):
        yield


@trap("A9-torn", "I18")
def _partial_image_kept() -> Iterator[None]:
    """A transfer that broke off leaves its part of a snapshot, and the next one goes on behind it."""

    def break_off(replica: Replica, following: Following) -> None:
        pass

    with instead(synchronization, "break_off", break_off):
        yield


@trap("A11", "I7", "I9", "I6", "I8")
def _sync_left_out() -> Iterator[None]:
    """An append is told to be on disk without a sync: a power cut takes the last records away."""

    def crash(self: Drive, keep_all: bool) -> None:
        right(self, keep_all)
        platter = self.platter
        lost = 0 if keep_all else min(self._random.randrange(4), len(platter.entries))
        after = platter.entries[-lost - 1].zxid if lost < len(platter.entries) else platter.log_base.zxid
        if lost and after >= platter.snapshot_tip.zxid:
            platter.truncate(after)

    right = Drive.crash
    with instead(Drive, "crash", crash):
        yield


@trap("B5", "I3", "I9")
def _writer_outlives_its_role() -> Iterator[None]:
    """What waited for the disk when a process ended is written a while later, into the log of the next one."""

    def late(what: tuple[Drive, list[Any]]) -> None:
        drive_of_old, entries = what
        if entries[0].zxid > drive_of_old.platter.tip.zxid:
            drive_of_old._write(entries)

    def crash(self: Drive, keep_all: bool) -> None:
        operations = (*self.at_work, *self.waiting)
        entries = [entry for operation in operations if isinstance(operation, Append) for entry in operation.entries]
        right(self, keep_all)
        if entries:
            self._sim.after_ms(200, late, (self, entries))

    right = Drive.crash
    with instead(Drive, "crash", crash):
        yield


@trap("E2", "L1")
def _dead_disk_in_a_living_process() -> Iterator[None]:
    """A failed sync ends the disk's worker, and the process goes on without it: pings are answered, nothing is
    written."""
    with instead(Drive, "_failed", lambda self: None):
        yield
