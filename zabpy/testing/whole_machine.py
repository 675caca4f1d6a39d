"""A machine of a whole simulation: a disk, a clock, and one whole server after another, each under the checkers' eyes.

The server is the real one, built as `serve` builds it. Between its driver and its replica stands `Watch`
(whole_watch.py), which keeps beside the real disk, byte by byte in `FaultyFiles`, what must be on it (`Platter`, which
the checkers know). What a server finds on its disk when it starts is held against that.
"""

import errno
import os
from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Any

import trio

from zabpy.model import NO_TIP, Tip, Zxid, zxid_text
from zabpy.server import Config, DiskFailedError, Log, Server
from zabpy.server.disk import TaskWorker
from zabpy.storage import File, Files, Lock, StoreError
from zabpy.zab import Replica
from zabpy.zab.effects import (
    Phase,
    Role,
)

from .disk import CutModel, FaultyFiles, PowerLost
from .drive import Platter, Snapshot
from .facts import State as ToyState, ViolationError
from .whole_network import HostNetwork
from .whole_watch import Watch

if TYPE_CHECKING:
    from zabpy.storage.store import Recovered as OnDisk

    from .whole import WholeSimulation

BEGAN_WALL_MS = 1_700_000_000_000
#: A server that cannot start because of its disk tries again after so long, as under a supervisor.
START_AGAIN_MS = 400


class MachineClock:
    """The machine's own: a monotonic one that began somewhere, and a wall clock that may jump."""

    def __init__(self, offset_ms: int) -> None:
        self._offset_ms = offset_ms
        self.wall_jump_ms = 0

    def now_ms(self) -> int:
        return int(trio.current_time() * 1000) + self._offset_ms

    def wall_ms(self) -> int:
        return BEGAN_WALL_MS + int(trio.current_time() * 1000) + self.wall_jump_ms


class MachineFiles(FaultyFiles):
    """A disk that tells when it was full."""

    def __init__(self, count: Callable[[str], None]) -> None:
        super().__init__()
        self._count = count

    @property
    def used(self) -> int:
        return sum(len(content) for content in self.contents().values())

    def _need(self, inode: Any, end: int, path: str) -> None:
        try:
            super()._need(inode, end, path)
        except OSError:
            self._count("F8 full disk")
            raise


class ProcessFiles:
    """The disk as one process has it: once the process is gone nothing it still tries is done."""

    def __init__(self, files: FaultyFiles) -> None:
        self._files, self._boot = files, files._boot

    def _live(self) -> FaultyFiles:
        if self._boot != self._files._boot:
            raise PowerLost("this process is no more")
        return self._files

    def make_dir(self, path: str) -> None:
        self._live().make_dir(path)

    def list(self, path: str) -> list[str]:
        return self._live().list(path)

    def lock(self, path: str) -> Lock:
        return self._live().lock(path)

    def open(self, path: str, *, create: bool = False) -> File:
        return self._live().open(path, create=create)

    def rename(self, old: str, new: str) -> None:
        self._live().rename(old, new)

    def unlink(self, path: str) -> None:
        self._live().unlink(path)

    def sync_dir(self, path: str) -> None:
        self._live().sync_dir(path)


def _keeps_to_the_seam(files: ProcessFiles) -> Files:
    """For the type checker."""
    return files


class MachineWorker(TaskWorker):
    """The disk's jobs, each batch after the time that this machine's disk takes now."""

    def __init__(self, nursery: trio.Nursery, machine: "Machine") -> None:
        super().__init__(nursery)
        self._machine = machine

    async def _later(self) -> None:
        machine = self._machine
        await trio.sleep(machine.disk_delay_ms() / 1000)
        while trio.current_time() < machine.stalled_until:  # noqa: ASYNC110
            await trio.sleep_until(machine.stalled_until)
        if not self._stopped:
            self._work()
            self._finished()


class Life:
    """One life of a server's process, as the checkers know it."""

    def __init__(self, machine: "Machine", replica: Replica) -> None:
        self.sid, self.machine, self.replica = machine.id, machine, replica
        self.platter = machine.platter
        self.alive = True
        self.role, self.phase, self.epoch = Role.LOOKING, Phase.ELECTION, 0
        self.leader: int | None = None
        self.visible: Tip = machine.platter.tip
        self.state = ToyState()
        self.committed = Zxid(0)
        self.reads: dict[int, Zxid] = {}
        self.effects_left = 0  # it crashes after so many more effects; 0: it does not

    def __repr__(self) -> str:
        return f"server {self.sid}"


class WatchedServer(Server):
    """The real one; its machine is shown it when it is built."""

    machine: "Machine"

    async def _build(self, nursery: trio.Nursery) -> None:
        await super()._build(nursery)
        worker = MachineWorker(nursery, self.machine)
        worker.start(self.disk._work, self.disk._finished)
        self.disk._worker = worker
        self.machine.built(self)


class Machine:
    """What outlives its processes. `live` keeps one running, but for the times it is down."""

    def __init__(self, sim: "WholeSimulation", id: int, config: Config) -> None:
        self.sim, self.id, self.config = sim, id, config
        self.host = f"server{id}"
        self.files = MachineFiles(sim.count)
        self.files.hook = self._at_disk
        self.platter = Platter()
        self.rng = sim.random_for(f"machine {id}")
        self.clock = MachineClock(self.rng.randrange(100_000))
        self.server: WatchedServer | None = None
        self.life: Life | None = None
        self.disk_factor = 1
        self.stalled_until = 0.0
        #: What the disk is to refuse next: "write", "sync" or "".
        self.fails = ""
        self.down_ms = 100
        self._up_at = 0.0
        self._scope = trio.CancelScope()
        self._root: trio.lowlevel.Task | None = None
        self._wake = trio.Event()
        #: What was asked of the disk and is not told to be done: a crash may leave it done or not.
        self._under_way: tuple[str, Any] = ("", None)

    @property
    def line(self) -> str:
        """Its line in the configuration, as an operator says it who lets it in."""
        return self.config.member._replace(client_host=self.host, client_port=self.config.client_port).text()

    def disk_delay_ms(self) -> float:
        settings = self.sim.settings
        delay_us = settings.disk_us + settings.disk_jitter_us * self.rng.random() ** 3
        return float(delay_us * self.disk_factor / 1000)

    # Life -------------------------------------------------------------------------------------------------------------

    async def live(self) -> None:
        while True:
            while trio.current_time() < self._up_at:
                self._wake = trio.Event()
                with trio.move_on_at(self._up_at):
                    await self._wake.wait()
            self.sim.network.power_on(self.host)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._live_once)

    def start_now(self) -> None:
        self._up_at = 0.0
        self._wake.set()

    async def _live_once(self) -> None:
        sim = self.sim
        self._root = trio.lowlevel.current_task()
        sim.freezer.roots.add(self._root)
        clock = self.clock
        self.server = server = WatchedServer(
            self.config,
            HostNetwork(sim.network, self.host),
            ProcessFiles(self.files),
            clock,
            Log(clock, server_id=self.id, write=sim.log_line),
            Random(self.rng.random()),
            threads=False,
        )
        server.machine = self
        failed: list[BaseException] = []
        try:
            with trio.CancelScope() as self._scope:
                await server.run()
        except* PowerLost:
            pass  # it was crashed
        except* (DiskFailedError, StoreError, OSError) as group:
            failed += _leaves(group)
        except* Exception as group:
            failed += _leaves(group)
        finally:
            sim.freezer.thaw(self._root)
            sim.freezer.roots.discard(self._root)
            self._root = self.server = None
        ended_by_itself = self.life is None or self.life.alive
        if self.life is not None:
            self.life.alive, self.life = False, None
        for error in failed:
            self._judge(error)
        if ended_by_itself:
            self.files.kill()
            sim.network.kill(self.host, power=False)
            self._up_at = trio.current_time() + max(self.down_ms, START_AGAIN_MS) / 1000

    def _judge(self, error: BaseException) -> None:
        """A server may end because of its disk, and for no other reason."""
        sim = self.sim
        sim.say(f"{self.host} ended: {error!r}")
        if isinstance(error, ViolationError):
            sim.broke(error)
        elif isinstance(error, DiskFailedError | StoreError | OSError) and self.disk_was_hurt:
            sim.count("servers ended by their disk")
        else:
            sim.broke(ViolationError("CORE", type(error).__name__, f"{self.host}: {error!r}{_where(error)}"))

    @property
    def disk_was_hurt(self) -> bool:
        return bool(self.sim.counts.get("F6 disk refused") or self.sim.counts.get("F8 full disk"))

    def crash(self, *, model: CutModel | None, down_ms: int) -> None:
        """The process is gone; with a ``model`` the power, and what was not synced with it."""
        life = self.life
        if life is not None:
            life.alive = False
        self.sim.say(f"{self.host} {'loses power' if model else 'is killed'} for {down_ms} ms")
        self.sim.disturb(down_ms)
        if model is None:
            self.files.kill()
        else:
            if self.files.unsynced:
                self.sim.count("F4 unsynced changes at a power cut")
            self.files.power_cut(self.rng, model)
        self.sim.network.kill(self.host, power=model is not None)
        if self._root is not None:
            self.sim.freezer.thaw(self._root)
        self._scope.cancel()
        self._up_at = trio.current_time() + down_ms / 1000

    @property
    def is_up(self) -> bool:
        return self.life is not None and self.life.alive

    @property
    def is_leader(self) -> bool:
        return self.is_up and self.life is not None and self.life.role is Role.LEADING

    @property
    def serving(self) -> bool:
        return self.is_up and self.server is not None and self.server.serving

    def freeze(self) -> bool:
        if self._root is None or self.sim.freezer.is_frozen(self._root):
            return False
        self.sim.freezer.freeze(self._root)
        return True

    def thaw(self) -> None:
        if self._root is not None:
            self.sim.freezer.thaw(self._root)

    # The disk ---------------------------------------------------------------------------------------------------------

    def _at_disk(self, when: str, kind: str, path: str) -> None:
        sim = self.sim
        for trap in sim.disk_traps:
            who = trap[0]
            if who == "any" or (who == "leading") == self.is_leader:
                trap[1] -= 1
                if trap[1] <= 0:
                    sim.disk_traps.remove(trap)
                    sim.count("F2 power cut at a disk operation")
                    self.crash(model=trap[2], down_ms=trap[3])
                    raise PowerLost(f"{when} {kind} of {path}")
                break
        if when == "before" and self.fails and kind.startswith(self.fails):
            self.fails = ""
            sim.count("F6 disk refused")
            raise OSError(errno.EIO, os.strerror(errno.EIO), path)

    # What the server does, as the checkers see it ---------------------------------------------------------------------

    def built(self, server: WatchedServer) -> None:
        life = Life(self, server.replica)
        self._recover(life, server.store.recovered)
        self.life = life
        Watch(self, life, server).begin()

    def _recover(self, life: Life, found: "OnDisk") -> None:
        """Hold what the server found against what must be there, and go on from what it found."""
        sim, old = self.sim, self.platter
        kind, what = self._under_way
        self._under_way = ("", None)

        def fail(text: str) -> ViolationError:
            return ViolationError("I26", "Recovery", f"{life} starts {text}")

        if found.accepted_epoch != old.accepted_epoch and (kind, what) != ("epoch", found.accepted_epoch):
            raise fail(f"with epoch {found.accepted_epoch}; {old.accepted_epoch} was on its disk")
        if found.accepted_epoch != old.accepted_epoch:
            sim.checkers.saving_epoch(life, found.accepted_epoch)
            old.accepted_epoch = found.accepted_epoch
        if kind == "install" and found.snapshot == what:
            gone = old.install(Snapshot(what, b""))
            sim.checkers.lost(life, gone)
        base = found.snapshot.zxid
        expected = [entry for entry in old.entries if entry.zxid > base]
        entries = list(found.entries)
        if base > old.tip.zxid:
            raise fail(f"with a snapshot at {zxid_text(base)}; {zxid_text(old.tip.zxid)} was the end of its log")
        common = 0
        while common < min(len(expected), len(entries)) and expected[common] == entries[common]:
            common += 1
        missing, more = expected[common:], entries[common:]
        if missing and not (kind == "truncate" and missing[0].zxid > what and not more):
            raise fail(f"without {zxid_text(missing[0].zxid)}, which was synced; under way: {kind}")
        if more and not (kind == "append" and more == list(what)[: len(more)]):
            raise fail(f"with {zxid_text(more[0].zxid)}, which nobody wrote; under way: {kind}")
        if missing:
            old.truncate(_last(old, what))
            sim.checkers.lost(life, missing)
        if more:
            sim.checkers.writing(life, more)
            old.append(more)
        self._cut_base(found.log_base)
        life.visible = old.tip
        state = ToyState() if found.snapshot == NO_TIP else self.toy_at(found.snapshot)
        snapshot = None if found.snapshot == NO_TIP else Snapshot(found.snapshot, state.image())
        old.snapshots = [snapshot] if snapshot else []
        sim.checkers.recovering(life, snapshot)
        life.state = state

    def toy_at(self, tip: Tip) -> ToyState:
        """The checkers' state at a place of the committed order."""
        facts = self.sim.facts
        at = facts.chosen_at.get(tip.zxid)
        if at is None or facts.chosen[at].chain != tip.chain:
            raise ViolationError(
                "I18", "SnapshotSoundness", f"{self.host} has a snapshot at {tip}, which is not chosen"
            )
        return ToyState(at + 1, tip, *facts.states[at + 1])

    def _cut_base(self, log_base: Zxid) -> None:
        platter = self.platter
        if log_base > platter.log_base.zxid:
            record = self.sim.facts.records.get(log_base)
            kept = [entry for entry in platter.entries if entry.zxid > log_base]
            platter.entries, platter._zxids = kept, [entry.zxid for entry in kept]
            platter.log_base = Tip(log_base, record.chain if record else 0)


def _last(platter: Platter, upto: Zxid) -> Zxid:
    """The last record that is not behind ``upto``."""
    return next((entry.zxid for entry in reversed(platter.entries) if entry.zxid <= upto), platter.log_base.zxid)


def _leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for each in error.exceptions for leaf in _leaves(each)]
    return [error]


def _where(error: BaseException) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return "" if trace is None else f" at {os.path.basename(trace.tb_frame.f_code.co_filename)}:{trace.tb_lineno}"
