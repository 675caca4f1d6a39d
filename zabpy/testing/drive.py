"""The disk of a simulated server, entry by entry (the one byte by byte is disk.py).

Two objects, because they do not live equally long. `Platter` is what a power cut leaves. `Drive` is the queue of one
process in front of it: operations are done strictly in order, appends that wait are synced together, and each is
either wholly on the platter or not at all, except an append, of which a crash may leave any prefix.
"""

from bisect import bisect_left
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from zabpy.model import NO_TIP, Entry, Tip, ZabpyError, Zxid
from zabpy.zab import Recovered
from zabpy.zab.effects import Append, DropImage, Install, KeepImage, SaveEpoch, Truncate
from zabpy.zab.inputs import Durable, EpochSaved, Installed

if TYPE_CHECKING:
    from .process import Process
    from .simulation import Simulation


class NotThereError(ZabpyError):
    """Something was asked of the disk that it does not hold."""


class Snapshot(NamedTuple):
    tip: Tip
    image: bytes


class Platter:
    """What is durable on one server."""

    def __init__(self, base: Snapshot | None = None, accepted_epoch: int = 0) -> None:
        self.accepted_epoch = accepted_epoch
        self.snapshots: list[Snapshot] = [base] if base else []
        self.log_base = base.tip if base else NO_TIP  # the log begins after it
        self.entries: list[Entry] = []
        self._zxids: list[Zxid] = []  # of the entries, to search in

    @property
    def tip(self) -> Tip:
        return Tip(self.entries[-1].zxid, self.entries[-1].chain) if self.entries else self.log_base

    @property
    def snapshot_tip(self) -> Tip:
        return self.snapshots[-1].tip if self.snapshots else NO_TIP

    def holds(self, entry: Entry) -> bool:
        """Whether this very record is in the log. What is before the log's beginning counts as held."""
        if entry.zxid <= self.log_base.zxid:
            return True
        at = bisect_left(self._zxids, entry.zxid)
        return at < len(self._zxids) and self.entries[at].chain == entry.chain and self._zxids[at] == entry.zxid

    def after(self, after: Zxid, upto: Zxid) -> list[Entry]:
        """The entries of ``(after, upto]``; `NotThereError` unless both are in the log or at its beginning."""
        start = bisect_left(self._zxids, after + 1)
        end = bisect_left(self._zxids, upto + 1)
        if after != self.log_base.zxid and (start == 0 or self._zxids[start - 1] != after):
            raise NotThereError(f"the log does not hold {after:#x}")
        if upto != after and (end == 0 or self._zxids[end - 1] != upto):
            raise NotThereError(f"the log does not hold {upto:#x}")
        return self.entries[start:end]

    def append(self, entries: list[Entry]) -> None:
        self.entries += entries
        self._zxids += [entry.zxid for entry in entries]

    def truncate(self, after: Zxid) -> list[Entry]:
        """Cut after ``after``; the entries that are gone."""
        kept = bisect_left(self._zxids, after + 1)
        if after != (self._zxids[kept - 1] if kept else self.log_base.zxid):
            raise NotThereError(f"cannot cut after {after:#x}: no such record")
        gone = self.entries[kept:]
        del self.entries[kept:], self._zxids[kept:]
        return gone

    def install(self, snapshot: Snapshot) -> list[Entry]:
        """Only this snapshot is left; the entries that are gone."""
        gone = self.entries
        self.snapshots, self.log_base, self.entries, self._zxids = [snapshot], snapshot.tip, [], []
        return gone

    def keep(self, snapshot: Snapshot, retained: int) -> Zxid:
        """Add a snapshot, keep the last ``retained`` of them and the log back to the oldest; where the log begins."""
        self.snapshots.append(snapshot)
        if len(self.snapshots) > retained:
            del self.snapshots[:-retained]
            base = self.snapshots[0].tip
            if base.zxid > self.log_base.zxid:
                count = bisect_left(self._zxids, base.zxid + 1)
                del self.entries[:count], self._zxids[:count]
                self.log_base = base
        return self.log_base.zxid

    def recovered(self) -> Recovered:
        snapshot = self.snapshot_tip
        return Recovered(
            accepted_epoch=self.accepted_epoch,
            snapshot=snapshot,
            log_base=self.log_base.zxid,
            entries=self.entries[bisect_left(self._zxids, snapshot.zxid + 1) :],
        )


Operation = Append | Truncate | SaveEpoch | KeepImage | DropImage | Install


class Drive:
    """One process's queue to its platter."""

    def __init__(self, sim: "Simulation", process: "Process", platter: Platter) -> None:
        self._sim, self._process, self.platter = sim, process, platter
        self._random = sim.random_for_server("disk", process.sid)
        self.waiting: deque[Operation] = deque()
        self.at_work: list[Operation] = []
        self._staged = bytearray()

    @property
    def idle(self) -> bool:
        return not self.at_work and not self.waiting

    def ask(self, operation: Operation) -> None:
        self.waiting.append(operation)
        if not self.at_work:
            self._begin()

    def crash(self, keep_all: bool) -> None:
        """The process ends now. What was at work may be on the platter wholly, in part, or not at all."""
        if not self.at_work:
            return
        first = self.at_work[0]
        if isinstance(first, Append):
            entries = [entry for operation in self.at_work for entry in _append(operation).entries]
            count = len(entries) if keep_all else self._random.randrange(len(entries) + 1)
            if count < len(entries):
                self._sim.count("F5 torn append")
            self._write(entries[:count])
        elif self._random.random() < 0.5:
            _DONE[type(first)](self, first)
        self.at_work.clear()
        self.waiting.clear()

    def _begin(self) -> None:
        waiting, sim = self.waiting, self._sim
        self.at_work.append(waiting.popleft())
        if type(self.at_work[0]) is Append:
            while waiting and type(waiting[0]) is Append:
                self.at_work.append(waiting.popleft())
        server = sim.servers[self._process.sid]
        time = server.disk_us + int(server.disk_jitter_us * self._random.random() ** 3)
        time = max(sim.now + time * server.disk_factor, server.disk_stalled_until)
        sim.at(time, self._finished, None)
        sim.disk_began(self._process)

    def _finished(self, _: None) -> None:
        process, sim = self._process, self._sim
        if not process.alive:
            return
        if process.paused:
            process.inbox.append((self._finished, None))
            return
        server = sim.servers[process.sid]
        if server.disk_stalled_until > sim.now:
            sim.at(server.disk_stalled_until, self._finished, None)
            return
        if server.disk_fails:
            server.disk_fails = False
            sim.count("F6 failed sync")
            self._failed()
            return
        if server.disk_full_until > sim.now and isinstance(self.at_work[0], Append | KeepImage | Install):
            sim.count("F8 no room to write")
            self._failed()
            return
        self._done()

    def _failed(self) -> None:
        """The first failed sync ends the process; what it was to write is there or not."""
        process = self._process
        self._sim.crash(process, power=True, down_ms=process.server.down_ms)

    def _done(self) -> None:
        process, sim = self._process, self._sim
        first = self.at_work[0]
        if type(first) is Append:
            entries = [entry for operation in self.at_work for entry in _append(operation).entries]
            self._write(entries)
            given: object = Durable(entries[-1].zxid)
        else:
            given = _DONE[type(first)](self, first)
        self.at_work.clear()
        if self.waiting:
            self._begin()
        if process.alive and given is not None:
            if type(given) is Installed:
                sim.installed(process, self.platter.snapshots[-1])
            sim.step(process, given)

    def _write(self, entries: list[Entry]) -> None:
        if entries:
            self._sim.checkers.writing(self._process, entries)
            self.platter.append(entries)

    def _cut(self, operation: Truncate) -> None:
        gone = self.platter.truncate(operation.after)
        self._sim.checkers.lost(self._process, gone)

    def _save_epoch(self, operation: SaveEpoch) -> EpochSaved:
        self._sim.checkers.saving_epoch(self._process, operation.epoch)
        self.platter.accepted_epoch = operation.epoch
        return EpochSaved(operation.epoch)

    def _keep_image(self, operation: KeepImage) -> None:
        self._staged += operation.data

    def _drop_image(self, _: DropImage) -> None:
        self._staged.clear()

    def _install(self, operation: Install) -> Installed:
        snapshot = Snapshot(operation.tip, bytes(self._staged))
        self._staged.clear()
        self._sim.checkers.installing(self._process, snapshot)
        gone = self.platter.install(snapshot)
        self._sim.checkers.lost(self._process, gone)
        return Installed(operation.tip)


def _append(operation: Operation) -> Append:
    assert isinstance(operation, Append)
    return operation


_DONE: dict[type, Callable[..., object]] = {
    Truncate: Drive._cut,
    SaveEpoch: Drive._save_epoch,
    KeepImage: Drive._keep_image,
    DropImage: Drive._drop_image,
    Install: Drive._install,
}
