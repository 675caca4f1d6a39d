"""One ensemble, one thread, no real time: the replicas of `zabpy.zab` against a network and disks that fail.

A heap of (time, sequence, function, argument) drives everything. Time is whole microseconds; each server has a clock of
its own, in milliseconds, that drifts. Chance comes from one generator for each concern, each seeded by the run's seed
and the concern's name, so that more draws for one do not reshuffle the others. Nothing depends on the order of a set of
objects or on a hash of a string: the same settings and script give the same trace, see `Simulation.trace`.

What is done to the ensemble stands in a script of lines made up front (drawing.py, of what faults.py can do), which is
what shrinks. What the machines are is in process.py, how a run must end in convergence.py.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from heapq import heappop, heappush
from itertools import count
from random import Random
from typing import Any

from zabpy.model import Tip, Zxid, make_zxid, zxid_text
from zabpy.zab import Ensemble, Quorums, Replica, Timing, broadcast as zab_broadcast, history as zab_history
from zabpy.zab.effects import (
    Append,
    Deliver,
    DropImage,
    Hangup,
    Install,
    KeepImage,
    Note,
    Phase,
    ReadConfirmed,
    Role,
    RoleChanged,
    SaveEpoch,
    Send,
    SendImage,
    SendTail,
    Truncate,
)
from zabpy.zab.inputs import (
    Durable,
    EnsembleChanged,
    EpochSaved,
    Installed,
    Linked,
    ReadAsked,
    Received,
    SnapshotSaved,
    Submitted,
    Tick,
    Unlinked,
)
from zabpy.zab.messages import ImageChunk, Propose

from .checkers import SYNCS, Checkers
from .convergence import check_calm, converge
from .drive import Drive, NotThereError, Platter, Snapshot
from .facts import Facts, State, ViolationError
from .faults import WORDS, strike
from .network import Network
from .process import NEVER, Process, Server
from .run import Line, Result, Settings


class Simulation:
    """One run. `run` it once."""

    def __init__(self, settings: Settings, script: Sequence[Line], *, record: bool = False) -> None:
        self.settings, self.script = settings, tuple(script)
        self.now = 0
        self.events = 0
        #: Several times what any run needs.
        self.events_max = 60_000 + 10 * settings.script_ms
        self.trace = 0
        self.counts: dict[str, int] = {}
        self.lines: list[str] | None = [] if record else None
        self.submitted: set[bytes] = set()
        self.healed = False
        self.core: list[int] = []
        self.disturbed_until = 0
        #: Whose disks were replaced, until they are in step.
        self.replaced: set[int] = set()
        #: Crashes that wait for somebody to reach a point: (kind, …), see faults.py.
        self.traps: list[list[Any]] = []
        self._heap: list[tuple[int, int, Callable[[Any], None], Any]] = []
        self._sequence = count()
        self._payloads = count(1)
        self._reads = count(1)
        voters = frozenset(range(1, settings.voters + 1))
        self.ensemble = Ensemble(_quorums(settings), frozenset(settings.servers) - voters)
        self.timing = Timing(
            tick_ms=settings.tick_ms,
            init_limit=settings.init_limit,
            sync_limit=settings.sync_limit,
            finalize_ms=max(1, settings.tick_ms // 5),
            finalize_disagreed_ms=settings.tick_ms,
            repeat_ms=settings.tick_ms * 2,
            round_ms=settings.tick_ms * 4,
            discovery_ms=settings.tick_ms * 5,
        )
        if settings.weights or settings.groups:
            self.count("quorums by weight or group")
        base = _base(settings)
        self.facts = Facts(self, base)
        self.checkers = Checkers(self.facts)
        self._sent = self.checkers.sent
        clocks = self.random_for("clocks")
        self.servers: dict[int, Server] = {}
        for sid in settings.servers:
            drift = settings.drift_permille
            rate = 1000 + (clocks.randrange(-drift, drift + 1) if drift else 0)
            platter = Platter(base, 1 if base else 0)
            self.servers[sid] = Server(sid, settings, platter, rate, clocks.randrange(10_000))
        self.processes: dict[int, Process] = {}
        self._snapshots = self.random_for("snapshots")
        self._crashes = self.random_for("crashes")
        self.network = Network(self)
        self._do: dict[type, Callable[[Process, Any], None]] = {
            Send: self._send,
            SendTail: self._send_tail,
            SendImage: self._send_image,
            Hangup: self._hangup,
            Append: self._append,
            Truncate: self._truncate,
            SaveEpoch: self._save_epoch,
            KeepImage: self._ask_drive,
            DropImage: self._ask_drive,
            Install: self._install,
            Deliver: self._deliver,
            ReadConfirmed: self._read_confirmed,
            RoleChanged: self._role_changed,
            Note: self._note,
        }

    # Chance, time, counting -------------------------------------------------------------------------------------------

    def random_for(self, concern: str) -> Random:
        return Random(f"{self.settings.seed}/{concern}")

    def random_for_server(self, concern: str, sid: int) -> Random:
        return Random(f"{self.settings.seed}/{concern}/{sid}/{self.now}")

    def at(self, when: int, function: Callable[[Any], None], argument: Any) -> None:
        heappush(self._heap, (when, next(self._sequence), function, argument))

    def after_ms(self, ms: int, function: Callable[[Any], None], argument: Any) -> None:
        self.at(self.now + ms * 1000, function, argument)

    def count(self, what: str, times: int = 1) -> None:
        self.counts[what] = self.counts.get(what, 0) + times

    def say(self, text: str) -> None:
        if self.lines is not None:
            self.lines.append(f"{self.now / 1000:10.3f} {text}")

    # The run ----------------------------------------------------------------------------------------------------------

    def run(self) -> Result:
        """All of it: the script, the healing, the convergence. Whatever breaks is in the result, not raised."""
        violation: ViolationError | None = None
        begun = time.process_time()
        with instead_of_life(self.settings):
            try:
                self.start()
                self.schedule_script()
                self.run_until(self.settings.script_ms * 1000)
                check_calm(self)
                if self.settings.core:
                    converge(self)
            except ViolationError as error:
                violation = error
            self.say(f"violation {violation}" if violation else "end")
        return Result(
            self.settings,
            self.script,
            violation,
            self.events,
            self.now // 1000,
            self.trace & 0xFFFFFFFFFFFFFFFF,
            self.counts,
            time.process_time() - begun,
            self.lines or [],
        )

    def start(self) -> None:
        for sid in self.settings.servers:
            self.start_server(sid)
        if self.settings.drift_permille:
            self.count("F20 clocks that drift")
        self.network.start()

    def schedule_script(self) -> None:
        for line in self.script:
            self.at(line[0] * 1000, self._act, (WORDS[line[1]], line))

    def _act(self, what: tuple[Any, Line]) -> None:
        word, line = what
        if not self.healed:
            self.say("--- " + " ".join(map(str, line[1:])))
            if word.act(self, *line[2:]) is not False and word.fault:
                self.count(f"{word.fault} {line[1]}")

    def run_until(self, end: int) -> None:
        heap = self._heap
        while heap and heap[0][0] <= end:
            self.now, _, function, argument = heappop(heap)
            function(argument)
        self.now = max(self.now, end)

    # Processes --------------------------------------------------------------------------------------------------------

    def new_drive(self, process: Process, server: Server) -> Drive:
        return Drive(self, process, server.platter)

    def start_server(self, sid: int) -> None:
        """Start a process from what is on the disk, unless one runs."""
        if sid in self.processes:
            return
        server = self.servers[sid]
        platter = server.platter
        rng = self.random_for_server("replica", sid)
        snapshot = platter.snapshots[-1] if platter.snapshots else None
        try:
            state = State() if snapshot is None else State.of_image(snapshot.image)
            replica = Replica(sid, self.ensemble_of(sid, state), self.timing, platter.recovered(), rng)
            process = Process(self, server, replica)
            self.checkers.recovering(process, snapshot)
            process.state = state
            process.last_snapshot = process.state.count
            self.processes[sid] = process
            self.say(f"{process} starts with {zxid_text(platter.tip.zxid)}, accepted {platter.accepted_epoch}")
            effects = replica.start(server.clock_ms(self.now))
        except ViolationError:
            raise
        except Exception as error:
            raise ViolationError("I26", "Recovery", f"server {sid} does not start: {error!r}") from error
        self._carry_out(process, effects)
        for peer in self.settings.servers:
            if peer != sid:
                self.network.dial_later(sid, peer)

    def ensemble_of(self, sid: int, state: State) -> Ensemble:
        """As a server knows it: its file's observers until an entry has named others, and itself in any case."""
        if state.observers < 0:
            return self.ensemble
        observers = {peer for peer in self.settings.servers if state.observers >> peer & 1 or peer == sid}
        return Ensemble(self.ensemble.quorums, frozenset(observers) - self.ensemble.voters)

    def _check_ensemble(self, process: Process) -> None:
        """At the end of a turn: what was delivered or installed may have named other observers."""
        ensemble, replica = self.ensemble_of(process.sid, process.state), process.replica
        if ensemble != replica.ensemble:
            self.count("changes of observers delivered")
            self.step(process, EnsembleChanged(ensemble))
            if process.alive:
                self.checkers.ensemble_changed(process, ensemble)

    def crash(self, process: Process, *, power: bool, down_ms: int) -> None:
        """The process ends between two effects, and is started again after a while."""
        if not process.alive:
            return
        self.say(f"{process} {'loses power' if power else 'is killed'}")
        self.count("power cuts" if power else "kills")
        process.alive = False
        del self.processes[process.sid]
        process.drive.crash(keep_all=not power and self._crashes.random() < 0.5)
        process.inbox.clear()
        self.network.ended(process, silently=power)
        self.disturb(down_ms)
        self.after_ms(down_ms, self._restart, process.sid)

    def _restart(self, sid: int) -> None:
        if not self.healed or sid in self.core:
            self.start_server(sid)

    def lose_disk(self, sid: int, ms: int) -> bool:
        """A server comes back with an empty disk, unless that is more than an ensemble can bear: see `_may_lose`."""
        if not self._may_lose(sid):
            self.count("disks spared")
            return False
        if process := self.processes.get(sid):
            self.crash(process, power=True, down_ms=ms)
        platter = self.servers[sid].platter
        platter.__init__()  # type: ignore[misc]  # it is another one, and all who hold it must see that
        self.facts.forgive(sid)
        self.replaced.add(sid)
        return True

    def _may_lose(self, sid: int) -> bool:
        """Whether ZAB can bear it now. Whoever loses its disk forgets its promises too, and once it has caught up
        nobody can tell. So one voter at a time, and only while all that it promised is decided: there is one leader, of
        the latest epoch, and a quorum without this server is in step with it."""
        voters = self.settings.voters
        if sid > voters:
            return True
        leading = [process for process in self.processes.values() if process.role is Role.LEADING]
        if self.replaced or len(leading) != 1 or leading[0].sid == sid or not self.facts.established:
            return False
        leader = leading[0]
        in_step = {
            process.sid
            for process in self.processes.values()
            if process.phase is Phase.BROADCAST and leader.sid in (process.leader, process.sid)
        }
        others = in_step - {sid}
        settled = leader.phase is Phase.BROADCAST and leader.epoch == max(self.facts.established)
        return settled and self.settings.decides(others) and self.facts.chosen_end > 0

    def pause(self, sid: int, ms: int) -> None:
        process = self.processes.get(sid)
        if process is not None and not process.paused:
            self.say(f"{process} is paused for {ms} ms")
            process.paused = True
            self.network.frozen(process)
            self.after_ms(ms, self.resume, process)

    def resume(self, process: Process) -> None:
        if not process.paused or not process.alive:
            return
        self.say(f"{process} goes on")
        process.paused = False
        inbox, process.inbox = process.inbox, []
        if self._crashes.random() < 0.5:
            self._tick(process)  # timers first; else all that came before them
        for function, argument in inbox:
            if process.alive:
                function(argument)
        if process.alive:
            self._tick(process)

    def disturb(self, ms: int) -> None:
        """Something is broken for that long."""
        self.disturbed_until = max(self.disturbed_until, self.now + ms * 1000)

    # Steps ------------------------------------------------------------------------------------------------------------

    def step(self, process: Process, given: Any, stale: bool = False) -> None:
        """Give this input to the replica and carry its effects out. ``stale``: the message is of a dead link."""
        if not process.alive:
            return
        now_ms = process.server.clock_ms(self.now)
        replica = process.replica
        self.events += 1
        if self.events > self.events_max:
            much = f"{self.events} events in {self.now // 1000} ms"
            raise ViolationError("I25", "Bounds", f"{much}: somebody talks without end")
        if stale:
            self.count("F19 message of a former link")
        try:
            effects = replica.step(given, now_ms)
        except Exception as error:
            self.say(f"{process} got {_text(given)}")
            raise _broken(process, given, error) from error
        self.trace = hash((self.trace, self.now, process.sid, _CODES[type(given)], len(effects), replica.delivered))
        if self.lines is not None:
            self.say(f"{process} {_text(given)}")
        if effects:
            if stale:
                self.checkers.stale(process, given.message, effects)
            self._carry_out(process, effects)
        elif replica.wake_at_ms < process.tick_at:
            self._wake(process)

    def _carry_out(self, process: Process, effects: list[Any]) -> None:
        do = self._do
        recording = self.lines is not None
        for effect in effects:
            if process.effects_left:
                process.effects_left -= 1
                if not process.effects_left:
                    self.count("F2 crash between two effects")
                    self.crash(process, power=self._crashes.random() < 0.5, down_ms=process.server.down_ms)
                    return
            if recording:
                self.say(f"{process}   → {_text(effect)}")
            do[type(effect)](process, effect)
            if not process.alive:
                return
        self._wake(process)
        if process.state.observers >= 0:
            self._check_ensemble(process)

    def _wake(self, process: Process) -> None:
        wake_ms = process.replica.wake_at_ms
        if wake_ms < NEVER:
            when = max(self.now + 1, process.server.time_of(wake_ms))
            if when < process.tick_at:
                process.tick_at = when
                self.at(when, self._tick_due, (process, when))

    def _tick_due(self, due: tuple[Process, int]) -> None:
        process, when = due
        if process.tick_at != when or not process.alive:
            return  # an earlier one was wanted later
        if process.paused:
            process.tick_at = NEVER  # `resume` sees to it
            return
        self._tick(process)

    def _tick(self, process: Process) -> None:
        process.tick_at = NEVER
        now_ms = process.server.clock_ms(self.now)
        if process.replica.wake_at_ms <= now_ms:
            self.step(process, Tick())
            if process.alive:
                self.checkers.ticked(process, now_ms)
        if process.alive:
            self._wake(process)

    # Effects ----------------------------------------------------------------------------------------------------------

    def _send(self, process: Process, effect: Send) -> None:
        message = effect.message
        kind = type(message)
        look = self._sent.get(kind)
        if look is not None:
            look(process, effect.peer, message)
        elif kind in SYNCS:
            self.count(SYNCS[kind])
        self.network.send(process, effect.peer, message)
        if self.traps:
            self._sprung_by(process, effect)

    def _sprung_by(self, process: Process, effect: Send) -> None:
        for trap in self.traps:
            if trap[0] == "message" and type(effect.message) is trap[1]:
                trap[2] -= 1
                if not trap[2]:
                    self.traps.remove(trap)
                    strike(self, trap[3], process.sid, effect.peer, trap[4])
                return

    def _send_tail(self, process: Process, effect: SendTail) -> None:
        self.count("tails from disk")
        try:
            entries = process.platter.after(effect.after, effect.upto)
        except NotThereError as error:
            text = f"{process} sends a tail that is not on its disk: {error}"
            raise ViolationError("I9", "AckSoundness", text) from error
        size = self.settings.slice_entries
        for start in range(0, len(entries), size):
            pace = int(self._snapshots.random() * 2000)
            self.network.send(process, effect.peer, Propose(tuple(entries[start : start + size])), pace)

    def _send_image(self, process: Process, effect: SendImage) -> None:
        image = next((snapshot.image for snapshot in process.platter.snapshots if snapshot.tip == effect.tip), None)
        if image is None:
            text = f"{process} sends a snapshot that it does not have: {effect}"
            raise ViolationError("I18", "SnapshotSoundness", text)
        transfer_us = self.settings.transfer_ms * 1000
        parts = 8 if transfer_us else 3
        size = len(image) // parts + 1
        for start in range(0, len(image), size):
            pace = int(self._snapshots.random() * 5000) + transfer_us // parts
            last = start + size >= len(image)
            self.network.send(process, effect.peer, ImageChunk(image[start : start + size], last), pace)

    def _hangup(self, process: Process, effect: Hangup) -> None:
        self.network.hang_up(process, effect.peer)

    def _append(self, process: Process, effect: Append) -> None:
        self.checkers.appended(process, effect.entries)
        last = effect.entries[-1]
        process.visible = Tip(last.zxid, last.chain)
        process.drive.ask(effect)

    def _truncate(self, process: Process, effect: Truncate) -> None:
        self.checkers.truncated(process, effect.after)
        record = self.facts.records.get(effect.after)
        process.visible = Tip(record.zxid, record.chain) if record else Tip(Zxid(0), 0)
        process.drive.ask(effect)

    def _save_epoch(self, process: Process, effect: SaveEpoch) -> None:
        self.checkers.promising(process, effect.epoch)
        process.drive.ask(effect)

    def _ask_drive(self, process: Process, effect: KeepImage | DropImage) -> None:
        process.drive.ask(effect)

    def _install(self, process: Process, effect: Install) -> None:
        process.visible = effect.tip
        process.drive.ask(effect)

    def installed(self, process: Process, snapshot: Snapshot) -> None:
        """The state machine is loaded from an installed snapshot."""
        self.count("images installed")
        process.state = State.of_image(snapshot.image)
        process.last_snapshot = process.state.count
        process.waiting.clear()
        self.checkers.delivered(process)

    def _deliver(self, process: Process, effect: Deliver) -> None:
        checkers = self.checkers
        if process.role is Role.LEADING and effect.entries[-1].zxid > process.committed:
            checkers.commit(process, effect.entries[-1].zxid)
        state, waiting = process.state, process.waiting
        for entry in effect.entries:
            checkers.delivering(process, entry)
            state.apply(entry)
            if waiting and waiting.pop(entry.zxid, None) is not None:
                self.count("writes acked")
                if self.now < self.disturbed_until:
                    self.count("writes acked during faults")
        checkers.delivered(process)
        every = process.server.snapshot_every
        if every and state.count - process.last_snapshot >= every and not process.snapshotting:
            self.begin_snapshot(process)

    def _read_confirmed(self, process: Process, effect: ReadConfirmed) -> None:
        self.checkers.read_confirmed(process, effect.number, effect.zxid)
        self.count("reads confirmed")

    def _role_changed(self, process: Process, effect: RoleChanged) -> None:
        process.role, process.phase = effect.role, effect.phase
        process.epoch, process.leader = effect.epoch, effect.leader
        process.waiting.clear()
        process.reads.clear()
        self.checkers.role_changed(process)
        if effect.why.endswith("nears its end"):
            self.count("F31 counter at its end")
        if effect.phase is Phase.BROADCAST:
            self.replaced.discard(process.sid)
        if effect.role is Role.LEADING and effect.phase is Phase.BROADCAST:
            self.count("leaders")
        for trap in self.traps:
            if trap[0] == "role" and (trap[1], trap[2]) == (effect.role, effect.phase):
                self.traps.remove(trap)
                process.effects_left = trap[3]
                process.server.down_ms = trap[4]
                break

    def _note(self, process: Process, effect: Note) -> None:
        self.count(f"note {effect.event}")
        self.checkers.noted(process, effect)

    # Disks and snapshots ----------------------------------------------------------------------------------------------

    def disk_began(self, process: Process) -> None:
        """A disk operation of this process has begun: somebody may wait for the k-th."""
        for trap in self.traps:
            if trap[0] == "disk" and trap[1] in ("any", process.role):
                trap[2] -= 1
                if trap[2] <= 0:
                    self.traps.remove(trap)
                    self.count("F2 crash at a disk operation")
                    self.at(self.now + 1, self._crash_at_disk, (process, trap[3]))
                return

    def _crash_at_disk(self, what: tuple[Process, int]) -> None:
        self.crash(what[0], power=True, down_ms=what[1])

    def begin_snapshot(self, process: Process) -> None:
        """Take the state as it is now; it is on disk a while later."""
        state = process.state
        if not state.count or process.snapshotting:
            return
        process.snapshotting = True
        process.last_snapshot = state.count
        self.at(
            self.now + 1000 + int(self._snapshots.random() * 50_000),
            self._snapshot_saved,
            (process, Snapshot(state.tip, state.image())),
        )

    def _snapshot_saved(self, what: tuple[Process, Snapshot]) -> None:
        process, snapshot = what
        if not process.alive:
            return
        if process.paused:
            process.inbox.append((self._snapshot_saved, what))
            return
        process.snapshotting = False
        if process.server.disk_full_until > self.now:
            self.count("F8 snapshot given up")
            return
        if snapshot.tip.zxid <= process.platter.snapshot_tip.zxid:
            return  # one was installed meanwhile
        self.checkers.snapshot_saving(process, snapshot)
        self.count("snapshots")
        log_base = process.platter.keep(snapshot, self.settings.snapshots_kept)
        self.step(process, SnapshotSaved(snapshot.tip, log_base))

    # Clients ----------------------------------------------------------------------------------------------------------

    def write(self, number: int) -> None:
        """Clients write that many payloads at every server that takes them for its own."""
        for sid in self.settings.servers:
            if process := self.processes.get(sid):
                self._write_at((process, number))

    def _write_at(self, what: tuple[Process, int]) -> None:
        process, number = what
        if process.paused:
            process.inbox.append((self._write_at, what))
        elif process.replica.may_submit:
            self.submit(process, [b"w%d" % next(self._payloads) for _ in range(number)])

    def submit(self, process: Process, payloads: list[bytes]) -> None:
        self.submitted.update(payloads)
        first = process.replica.last_zxid
        for number, payload in enumerate(payloads, 1):
            process.waiting[Zxid(first + number)] = payload
        self.count("writes", len(payloads))
        self.step(process, Submitted(tuple(payloads)))

    def change_observers(self, bits: int) -> None:
        """Whoever leads is asked for a configuration with these observers."""
        for sid in self.settings.servers:
            process = self.processes.get(sid)
            if process is not None and not process.paused and process.replica.may_submit:
                self.submit(process, [b"o%d#%d" % (bits, next(self._payloads))])

    def read(self) -> None:
        """Clients ask every leader for a linearizable read. One that is paused finds the question when it goes on."""
        for sid in self.settings.servers:
            self.read_at(sid)

    def read_at(self, sid: int) -> None:
        if process := self.processes.get(sid):
            self._read_at(process)

    def _read_at(self, process: Process) -> None:
        if process.paused:
            process.inbox.append((self._read_at, process))
        elif process.replica.may_submit:
            number = next(self._reads)
            process.reads[number] = self.facts.chosen_end
            self.count("reads")
            self.step(process, ReadAsked(number))


def _quorums(settings: Settings) -> Quorums:
    voters = frozenset(range(1, settings.voters + 1))
    weights = {sid: settings.weight_of(sid) for sid in sorted(voters)} if settings.weights else {}
    groups: dict[int, frozenset[int]] = {}
    if settings.groups:
        for sid in sorted(voters):
            groups[settings.group_of(sid)] = groups.get(settings.group_of(sid), frozenset()) | {sid}
    return Quorums(voters, weights, groups)


def _base(settings: Settings) -> Snapshot | None:
    if not settings.start_counter:
        return None
    tip = Tip(make_zxid(1, settings.start_counter), 0x600DCAFE)
    return Snapshot(tip, State(1, tip, 1).image())


@contextmanager
def instead_of_life(settings: Settings) -> Iterator[None]:
    """Learners that lag are to be served from disk, and epochs to come to their end, sooner than in life."""
    history, broadcast = vars(zab_history), vars(zab_broadcast)
    before = history["RECENT_ENTRIES"], broadcast["COUNTER_HANDOVER"]
    history["RECENT_ENTRIES"] = settings.recent_entries
    broadcast["COUNTER_HANDOVER"] = settings.handover_at or before[1]
    try:
        yield
    finally:
        history["RECENT_ENTRIES"], broadcast["COUNTER_HANDOVER"] = before


def _broken(process: Process, given: Any, error: Exception) -> ViolationError:
    if isinstance(error, ViolationError):
        return error
    return ViolationError("CORE", type(error).__name__, f"{process} given {_text(given)}: {error}")


def _text(what: Any) -> str:
    text = repr(what)
    return text if len(text) <= 300 else text[:300] + "…"


_CODES: dict[type, int] = {
    kind: number
    for number, kind in enumerate(
        (
            Linked,
            Unlinked,
            Received,
            Submitted,
            ReadAsked,
            Durable,
            EpochSaved,
            Installed,
            SnapshotSaved,
            Tick,
            EnsembleChanged,
        ),
        1,
    )
}
