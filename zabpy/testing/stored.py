"""A simulated ensemble on real stores: the core's simulation, its checkers, and `zabpy.storage` on disks that forget.

`Simulation` alone has a model of a disk, entry by entry. Here each server's operations are done by a `Store` on
`FaultyFiles`, so that what the power can cut are the operations on files that a server really does. `StorePlatter`
keeps beside the store what it has promised to hold, for the checkers, and holds every start against it.
"""

import copy
from collections.abc import Callable
from random import Random
from typing import Any, NamedTuple

from zabpy.model import NO_TIP, Entry, Tip, Zxid, zxid_text
from zabpy.storage import SNAPSHOTS_MIN, SnapshotFailed, SnapshotWriter, Store, StoreError
from zabpy.zab import Recovered
from zabpy.zab.effects import Append, DropImage, Install, KeepImage, SaveEpoch, SendImage, Truncate
from zabpy.zab.inputs import Durable, EpochSaved, Installed, SnapshotSaved
from zabpy.zab.messages import ImageChunk

from .disk import CutModel, FaultyFiles
from .drive import Drive, NotThereError, Operation, Platter, Snapshot
from .facts import State, ViolationError
from .process import Process, Server
from .run import Settings
from .simulation import Simulation

#: Small, so that segments and allocations turn over often.
SEGMENT_BYTES, ALLOCATE_BYTES = 2500, 1000
#: A snapshot's body is written in pieces of so much.
_WRITE_BYTES = 2500
_STATE_BYTES = len(State().image())
_FAR = Zxid((1 << 64) - 1)


def body_of(snapshot: Snapshot, fill_bytes: int) -> bytes:
    """What stands on disk for this snapshot."""
    return snapshot.image + Random(snapshot.tip.zxid).randbytes(fill_bytes)


def snapshot_of(tip: Tip, body: bytes) -> Snapshot:
    """Raises ViolationError: the body is not what was written at ``tip``."""
    snapshot = Snapshot(tip, body[:_STATE_BYTES])
    if body != body_of(snapshot, len(body) - _STATE_BYTES):
        raise ViolationError("I18", "SnapshotSoundness", f"the snapshot at {zxid_text(tip.zxid)} has another body")
    return snapshot


class Found(NamedTuple):
    """What a store holds, for comparing."""

    accepted_epoch: int
    snapshot: Snapshot | None
    log_base: Tip
    entries: list[Entry]

    @property
    def tip(self) -> Tip:
        return Tip(self.entries[-1].zxid, self.entries[-1].chain) if self.entries else self.log_base


def open_store(files: FaultyFiles, sid: int) -> Store:
    return Store.open(files, "/log", "/data", sid, segment_bytes=SEGMENT_BYTES, allocate_bytes=ALLOCATE_BYTES)


def found_in(store: Store) -> Found:
    """Raises ViolationError: what was recovered and what can be read disagree."""
    recovered = store.recovered
    snapshot = None
    if recovered.snapshot != NO_TIP:
        with store.open_snapshot(recovered.snapshot) as reader:
            snapshot = snapshot_of(recovered.snapshot, reader.read(reader.size + 1))
    entries = store.read_entries(store.log_base, _FAR, 1 << 30)
    if recovered.entries != [entry for entry in entries if entry.zxid > recovered.snapshot.zxid]:
        raise ViolationError("I3", "WellFormedLog", "what a start found in the log is not what can be read there")
    base = store.tip_at(store.log_base)
    assert base is not None
    return Found(recovered.accepted_epoch, snapshot, base, entries)


class StorePlatter(Platter):
    """What one server's store has promised to hold, and the store.

    ``doing`` is the operation under way; while there is one, the promise is that of before.
    """

    def __init__(self, sid: int) -> None:
        self._accepted_epoch = 0
        super().__init__()
        self.sid, self.files = sid, FaultyFiles()
        self.store: Store | None = None
        self.doing: Operation | None = None

    @property
    def accepted_epoch(self) -> int:
        return self._accepted_epoch

    @accepted_epoch.setter
    def accepted_epoch(self, epoch: int) -> None:
        if epoch:  # not the beginning
            self.live.save_epoch(epoch)
        self._accepted_epoch = epoch

    @property
    def live(self) -> Store:
        assert self.store is not None
        return self.store

    # A start ----------------------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Raises ViolationError: the store does not start, or not with what it has promised."""
        try:
            self.store = open_store(self.files, self.sid)
        except (StoreError, AssertionError, OSError) as error:
            text = f"server {self.sid} does not start: {str(error) or repr(error)}"
            raise ViolationError("I26", "Recovery", text) from error
        self._take(found_in(self.store))

    def found_on(self, files: FaultyFiles) -> tuple[int, Tip, Tip, Tip]:
        """What a start finds on ``files``, which are to hold what we have promised: accepted epoch, snapshot, where the
        log begins and where it ends. Raises ViolationError."""
        twin = copy.copy(self)
        twin.files = files
        twin.open()
        return twin.accepted_epoch, twin.snapshot_tip, twin.log_base, twin.tip

    def _take(self, found: Found) -> None:
        why = self._broken_promise(found)
        if why is not None:
            raise ViolationError("I7", "StorePromise", f"server {self.sid} comes back {why}")
        if found.accepted_epoch < self._accepted_epoch:
            text = (
                f"server {self.sid} comes back with epoch {found.accepted_epoch}, had accepted {self._accepted_epoch}"
            )
            raise ViolationError("I2", "Epochs", text)
        self._accepted_epoch = found.accepted_epoch
        self.snapshots = [found.snapshot] if found.snapshot else []
        self.log_base, self.entries = found.log_base, found.entries
        self._zxids = [entry.zxid for entry in found.entries]
        self.doing = None

    def _broken_promise(self, found: Found) -> str | None:
        """What was on disk for sure, and is not there now; None when all is."""
        doing = self.doing
        if isinstance(doing, Install) and found.snapshot is not None and found.tip == doing.tip:
            return None
        tip = self.tip
        if tip == NO_TIP:
            return None
        if isinstance(doing, Truncate) and found.tip.zxid < tip.zxid:
            upto = max(doing.after, found.tip.zxid)
            tip = next((Tip(e.zxid, e.chain) for e in reversed(self.entries) if e.zxid <= upto), self.log_base)
        if tip.zxid < found.log_base.zxid or (tip != found.log_base and not _holds(found, tip)):
            return f"without {zxid_text(tip.zxid)}, which was on its disk: it has {zxid_text(found.tip.zxid)}"
        before = self.snapshot_tip
        if before.zxid > (found.snapshot.tip if found.snapshot else NO_TIP).zxid:
            return f"without its snapshot at {zxid_text(before.zxid)}"
        return None

    # While a process lives --------------------------------------------------------------------------------------------

    def after(self, after: Zxid, upto: Zxid) -> list[Entry]:
        entries = super().after(after, upto)
        if entries and self.live.read_entries(after, upto, 1 << 30) != entries:
            raise NotThereError(f"the store reads others behind {after:#x} than were written")
        return entries

    def append(self, entries: list[Entry]) -> None:
        self.live.append_and_sync(entries)
        super().append(entries)

    def truncate(self, after: Zxid) -> list[Entry]:
        self.live.truncate(after)
        return super().truncate(after)

    def install(self, snapshot: Snapshot) -> list[Entry]:
        self.live.install(snapshot.tip)
        return super().install(snapshot)

    def kept(self, snapshot: Snapshot) -> None:
        """A snapshot of ours has got its name."""
        self.snapshots = [*self.snapshots, snapshot][-SNAPSHOTS_MIN:]

    def purge(self) -> Zxid:
        log_base = self.live.purge(SNAPSHOTS_MIN)
        base = self.live.tip_at(log_base)
        assert base is not None
        gone = sum(zxid <= log_base for zxid in self._zxids)
        del self.entries[:gone], self._zxids[:gone]
        self.log_base = base
        return log_base

    def check(self) -> None:
        """The store says of itself what it has promised."""
        assert self.live.synced == self.tip and self.live.log_base == self.log_base.zxid

    def recovered(self) -> Recovered:
        assert self.store is not None
        found = self.store.recovered
        return Recovered(found.accepted_epoch, found.snapshot, found.log_base, found.entries)


def _holds(found: Found, tip: Tip) -> bool:
    return any(entry.zxid == tip.zxid and entry.chain == tip.chain for entry in found.entries)


class StoreDrive(Drive):
    """One process's queue to its store."""

    platter: StorePlatter

    def crash(self, keep_all: bool) -> None:
        """What had not begun never will."""
        self.at_work.clear()
        self.waiting.clear()

    def begin_append(self) -> None:
        """What is at work is written, and not synced: for a crash in the middle."""
        if self.at_work and isinstance(self.at_work[0], Append):
            self.platter.live.append([e for each in self.at_work if isinstance(each, Append) for e in each.entries])

    def _done(self) -> None:
        process, platter = self._process, self.platter
        platter.doing = self.at_work[0]
        given = self._carry_out(self.at_work)
        platter.doing = None
        platter.check()
        self.at_work.clear()
        if self.waiting:
            self._begin()
        if process.alive and given is not None:
            if type(given) is Installed:
                self._sim.installed(process, platter.snapshots[-1])
            self._sim.step(process, given)

    def _carry_out(self, operations: list[Operation]) -> object:
        first = operations[0]
        if isinstance(first, Append):
            entries = [e for each in operations if isinstance(each, Append) for e in each.entries]
            self._write(entries)
            return Durable(entries[-1].zxid)
        if isinstance(first, Truncate):
            self._cut(first)
        elif isinstance(first, SaveEpoch):
            self._sim.checkers.saving_epoch(self._process, first.epoch)
            self.platter.accepted_epoch = first.epoch
            return EpochSaved(first.epoch)
        elif isinstance(first, KeepImage):
            self._staged += first.data
            self.platter.live.keep_image(first.data)
        elif isinstance(first, DropImage):
            self._staged.clear()
            self.platter.live.drop_image()
        elif isinstance(first, Install):
            body = bytes(self._staged)
            self._staged.clear()
            snapshot = snapshot_of(first.tip, body)
            self._sim.checkers.installing(self._process, snapshot)
            self._sim.checkers.lost(self._process, self.platter.install(snapshot))
            return Installed(first.tip)
        return None


class StoredSimulation(Simulation):
    """A simulation whose servers have stores. Its crashes cut the power by ``model``."""

    #: A snapshot's body is the toy state and so much more: over several pages, in several writes.
    fill_bytes = 6000

    def __init__(self, settings: Settings, *, record: bool = False) -> None:
        super().__init__(settings, (), record=record)
        self.model = CutModel.ANY_ORDER
        #: Writes that a client was told of: at which zxid, what.
        self.acked: list[tuple[Zxid, bytes]] = []
        self.platters = {sid: StorePlatter(sid) for sid in settings.servers}
        self._cuts = self.random_for("power cuts")
        for sid, server in self.servers.items():
            server.platter = self.platters[sid]

    def new_drive(self, process: Process, server: Server) -> Drive:
        return StoreDrive(self, process, server.platter)

    # Life and death ---------------------------------------------------------------------------------------------------

    def start_server(self, sid: int) -> None:
        if sid not in self.processes:
            self.platters[sid].open()
            super().start_server(sid)

    def crash(self, process: Process, *, power: bool, down_ms: int) -> None:
        if not process.alive:
            return
        super().crash(process, power=power, down_ms=down_ms)
        self.lose(process.sid, self.model if power else None, self._cuts)

    def lose(self, sid: int, model: CutModel | None, rng: Random) -> None:
        """What was open there is gone; with a ``model`` what was not synced too."""
        platter = self.platters[sid]
        platter.store = None
        if model is None:
            platter.files.kill()
        else:
            platter.files.power_cut(rng, model)

    def stop(self, sid: int) -> None:
        """An orderly stop: the process ends, with its store closed."""
        process, platter = self.processes[sid], self.platters[sid]
        platter.live.close()
        self.crash(process, power=False, down_ms=1 << 30)

    # Snapshots --------------------------------------------------------------------------------------------------------

    def begin_snapshot(self, process: Process) -> None:
        """Step by step, with whatever the server does meanwhile in between, as in life."""
        state = process.state
        if not state.count or process.snapshotting:
            return
        process.snapshotting = True
        process.last_snapshot = state.count
        self._next(process, self._open_snapshot, Snapshot(state.tip, state.image()))

    def _next(self, process: Process, step: Callable[[Process, Any], None], given: Any) -> None:
        def act(_: None) -> None:
            if not process.alive:
                return
            try:
                step(process, given)
            except SnapshotFailed:
                process.snapshotting = False

        self.at(self.now + 1200, act, None)

    def _open_snapshot(self, process: Process, snapshot: Snapshot) -> None:
        self.checkers.snapshot_saving(process, snapshot)
        writer = self.platters[process.sid].live.begin_snapshot(snapshot.tip)
        body = body_of(snapshot, self.fill_bytes)
        parts = [body[at : at + _WRITE_BYTES] for at in range(0, len(body), _WRITE_BYTES)]
        self._next(process, self._write_snapshot, (snapshot, writer, parts))

    def _write_snapshot(self, process: Process, what: tuple[Snapshot, SnapshotWriter, list[bytes]]) -> None:
        snapshot, writer, parts = what
        if parts:
            writer.write(parts.pop(0))
            self._next(process, self._write_snapshot, what)
        else:
            writer.finish()
            self._next(process, self._commit_snapshot, (snapshot, writer))

    def _commit_snapshot(self, process: Process, what: tuple[Snapshot, SnapshotWriter]) -> None:
        snapshot, writer = what
        writer.commit()
        self.platters[process.sid].kept(snapshot)
        self.count("snapshots")
        self._next(process, self._purge, snapshot)

    def _purge(self, process: Process, snapshot: Snapshot) -> None:
        process.snapshotting = False
        log_base = self.platters[process.sid].purge()
        self.step(process, SnapshotSaved(self.platters[process.sid].snapshot_tip, log_base))

    def _send_image(self, process: Process, effect: SendImage) -> None:
        with self.platters[process.sid].live.open_snapshot(effect.tip) as reader:
            body = reader.read(reader.size)
        size = len(body) // 3 + 1
        for start in range(0, len(body), size):
            chunk = ImageChunk(body[start : start + size], start + size >= len(body))
            self.network.send(process, effect.peer, chunk, 1000)

    # Clients ----------------------------------------------------------------------------------------------------------

    def _deliver(self, process: Process, effect: Any) -> None:
        waiting = process.waiting
        acked = [(entry.zxid, entry.payload) for entry in effect.entries if entry.zxid in waiting]
        super()._deliver(process, effect)
        self.acked += acked

    def _write_at(self, what: tuple[Process, int]) -> None:
        """Payloads of all sizes, so that records lie across pages."""
        process, number = what
        if process.replica.may_submit:
            names = [next(self._payloads) for _ in range(number)]
            self.submit(process, [b"w%d." % name + b"x" * ((name * 37) % 400) for name in names])
