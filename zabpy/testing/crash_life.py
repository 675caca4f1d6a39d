"""The life of an ensemble that crashpoints.py cuts: the same each time.

Three servers and an observer, some 300 writes, snapshots, segments that turn over, a truncation, a history replaced by
a snapshot, elections, an observer that is let go and taken back, orderly stops, a power cut of all. `Life.tell` tells
it; `Life.cut` ends it for some in the middle of an operation, and `Life.go_on` is what comes of that.
"""

from collections import Counter
from collections.abc import Callable
from random import Random
from typing import NamedTuple

from zabpy.model import NO_ZXID, zxid_text
from zabpy.storage import StoreError
from zabpy.zab.effects import Phase, Role, Truncate

from .convergence import converge
from .disk import CutModel, PowerLost
from .facts import State, ViolationError
from .process import Process
from .run import Settings
from .stored import StoreDrive, StoredSimulation, StorePlatter, found_in, open_store

VOTERS, OBSERVER = (1, 2, 3), 4
SETTINGS = Settings(
    seed=1,
    voters=len(VOTERS),
    observers=1,
    jitter_us=500,
    spike_permille=0,
    disk_us=300,
    disk_jitter_us=500,
    replace_permille=0,
    snapshot_every=0,
    recent_entries=5,
    core=0b11110,
)
#: By name; None: a kill, which loses nothing that was written.
MODELS: dict[str, CutModel | None] = {"kill": None, **{model.name.lower(): model for model in CutModel}}
#: How long the victims are away, in ms: not noticed, or long enough that others lead and write meanwhile.
_AWAY_MS = (40, 1500)
_WAIT_MS_MAX = 20_000


class Point(NamedTuple):
    """A place in the life: ``when`` ("before", "after") the operation of this number, counted over all disks."""

    operation: int
    when: str

    def __str__(self) -> str:
        return f"{self.when}:{self.operation}"


class Image(NamedTuple):
    """What a cut leaves: who loses power at a point, by which model, in which draw."""

    point: Point
    victims: str
    model: str
    draw: int

    @property
    def command(self) -> str:
        return (
            f"python -m zabpy.testing.crashpoints_cli --point {self.point} --victims {self.victims} "
            f"--model {self.model} --draw {self.draw}"
        )


class CutHere(PowerLost):
    """In a child: the power goes in the middle of this operation."""


def _end_of_life(image: Image) -> None:
    raise CutHere(str(image.point))


class Life(StoredSimulation):
    """The scripted run. ``at_point`` is asked at every point; what it raises cuts the run there."""

    def __init__(self, *, record: bool = False) -> None:
        super().__init__(SETTINGS, record=record)
        self.at_point: Callable[[Point, int, str], None] | None = None
        self.operations = 0
        #: Operations by kind, as the disks name them.
        self.kinds: Counter[str] = Counter()
        self._is_cut = False
        for sid, platter in self.platters.items():
            platter.files.hook = self._hook(sid)

    def _hook(self, sid: int) -> Callable[[str, str, str], None]:
        def hook(when: str, kind: str, path: str) -> None:
            if when == "before":
                self.operations += 1
                self.kinds[kind] += 1
                if kind == "unlink" and isinstance(self.platters[sid].doing, Truncate):
                    self.count("segments cut off")
            if self.at_point is not None:
                self.at_point(Point(self.operations, when), sid, f"{kind} {path} of server {sid}")

        return hook

    # The life ---------------------------------------------------------------------------------------------------------

    def tell(self) -> None:
        """All of it. Raises ViolationError."""
        self.start()
        self._wait_quiet()
        self._write(1, 1, 2, 5, 1, 1, 3, 1, 10, 1, 1, 1, 2, 1, 20, 1)
        self._snapshots_while_writing(2)
        self._left_behind()
        self._lonely_tail()
        self._elections()
        self._observer_goes_and_comes()
        self._orderly_stops()
        self._power_cut_of_all()
        self._write(1, 1, 8, 1)
        self._wait_quiet()

    def _snapshots_while_writing(self, times: int) -> None:
        for _ in range(times):
            for sid in self.settings.servers:
                if process := self.processes.get(sid):
                    self.begin_snapshot(process)
                    self._write(1, 2)
            self._write(2, 1)
            self._run(30)

    def _left_behind(self) -> None:
        """A follower is away until the leader's log no longer reaches back to it: it gets a snapshot."""
        sid = self._follower()
        self.crash(self.processes[sid], power=True, down_ms=1 << 30)
        self._snapshots_while_writing(4)
        self.start_server(sid)
        self._wait_quiet()
        self._write(1, 4)

    def _lonely_tail(self) -> None:
        """A leader writes over the end of a segment what nobody else has, and must cut it off."""
        leader = self._leader()
        pairs = [pair for pair in self.network.paths if leader.sid in pair]
        for pair in pairs:
            self.network.cut(*pair)
        for number in (4, 10, 10, 10, 4):
            self._write_at((leader, number))
            self._run(20)

        def others() -> list[Process]:
            return [p for p in self.processes.values() if p.sid != leader.sid and p.replica.may_submit]

        self._wait(lambda: bool(others()), "the others do not find a leader")
        for number in (1, 1, 3):
            self._write_at((others()[0], number))
            self._run(20)
        for pair in pairs:
            self.network.heal(*pair)
        self._wait_quiet()
        self._write(1, 2)

    def _elections(self) -> None:
        for _ in range(2):
            sid = self._leader().sid
            self.crash(self.processes[sid], power=False, down_ms=1 << 30)
            self._wait_leader()
            self._write(1, 1, 5)
            self.start_server(sid)
            self._wait_quiet()
            self._write(1)

    def _observer_goes_and_comes(self) -> None:
        for bits in (0, 1 << OBSERVER):
            self.change_observers(bits)
            self._write(1, 3)
            self._run(50)
        self._wait_quiet()

    def _orderly_stops(self) -> None:
        for sid in (self._follower(), OBSERVER):
            self.stop(sid)
            self._write(1, 1)
            self.start_server(sid)
            self._wait_quiet()

    def _power_cut_of_all(self) -> None:
        self._write(6)
        for sid in self.settings.servers:
            self.crash(self.processes[sid], power=True, down_ms=1 << 30)
        for sid in self.settings.servers:
            self.start_server(sid)
        self._wait_quiet()

    def _write(self, *numbers: int) -> None:
        for number in numbers:
            self.write(number)
            self._run(6)

    def _run(self, ms: int) -> None:
        self.run_until(self.now + ms * 1000)

    def _wait_leader(self) -> None:
        self._wait(lambda: any(p.replica.may_submit for p in self.processes.values()), "nobody leads")

    def _wait_quiet(self) -> None:
        """All run, follow one leader, and have delivered all there is."""

        def quiet() -> bool:
            processes = self.processes.values()
            tips = {p.state.tip for p in processes} | {p.visible for p in processes}
            return len(processes) == len(self.settings.servers) and len(tips) == 1 and self._all_in_broadcast()

        self._wait(quiet, "the ensemble does not come to rest")

    def _all_in_broadcast(self) -> bool:
        return all(p.phase is Phase.BROADCAST and p.drive.idle for p in self.processes.values())

    def _wait(self, until: Callable[[], bool], otherwise: str) -> None:
        for _ in range(_WAIT_MS_MAX):
            if until():
                return
            self._run(1)
        raise ViolationError("L1", "Convergence", f"{otherwise}, after {_WAIT_MS_MAX} ms")

    def _leader(self) -> Process:
        self._wait_leader()
        return next(p for p in self.processes.values() if p.role is Role.LEADING and p.replica.may_submit)

    def _follower(self) -> int:
        return next(sid for sid in VOTERS if self.processes[sid].role is Role.FOLLOWING)

    @property
    def leads(self) -> int | None:
        """Who leads, also while it is not activated yet."""
        return next((sid for sid, p in sorted(self.processes.items()) if p.role is Role.LEADING), None)

    # After the cut ----------------------------------------------------------------------------------------------------

    def cut(self, image: Image, sid: int, victims: list[int]) -> None:
        """The power of these goes now, during an operation of ``sid``. Another's operation goes on to its end."""
        self.at_point = None
        self._is_cut = True
        for platter in self.platters.values():
            platter.files.hook = None
        draws = {victim: draw_of(image, self.platters[victim], sid) for victim in victims}
        for victim in victims:
            process = self.processes.get(victim)
            if process is not None:
                if victim != sid and image.draw % 2:
                    drive = process.drive
                    assert isinstance(drive, StoreDrive)
                    drive.begin_append()
                super(StoredSimulation, self).crash(process, power=image.model != "kill", down_ms=1 << 30)
        for victim in victims:
            self.lose(victim, MODELS[image.model], draws[victim])
        if sid in victims:
            raise CutHere(str(image.point))
        self.at(self.now, _end_of_life, image)

    def go_on(self, image: Image, victims: list[int]) -> None:
        """After the cut. Raises whatever is wrong with what comes of it."""
        self._write(1)
        self._run(_AWAY_MS[image.point.operation % len(_AWAY_MS)])
        self._write(1, 1)
        for victim in victims:
            self.start_server(victim)
        converge(self)
        self._check_disks()

    def _check_disks(self) -> None:
        """All that was acknowledged is on each disk, and makes the same state."""
        facts = self.facts
        for zxid, payload in self.acked:
            at = facts.chosen_at.get(zxid)
            if at is None or facts.chosen[at].payload != payload:
                raise ViolationError("I19", "Durability", f"{zxid_text(zxid)} was acknowledged, and is not there")
        last = self.acked[-1][0] if self.acked else NO_ZXID
        taking_part = self._leader().replica.ensemble.servers
        for sid, platter in self.platters.items():
            files = platter.files.copy()
            try:
                found = found_in(open_store(files, sid))
            except StoreError as error:
                raise ViolationError("I26", "Recovery", f"server {sid} does not start: {error}") from error
            state = State() if found.snapshot is None else State.of_image(found.snapshot.image)
            for entry in found.entries:
                if entry.zxid > state.tip.zxid:
                    state.apply(entry)
            if state.tip.zxid < last and sid in taking_part:
                text = f"server {sid} holds {zxid_text(state.tip.zxid)}; {zxid_text(last)} was acknowledged"
                raise ViolationError("I19", "Durability", text)
            if state.count >= len(facts.states) or state.all != facts.states[state.count]:
                text = f"what server {sid} has on its disk makes another state at {zxid_text(state.tip.zxid)}"
                raise ViolationError("I17", "StateMachineEquality", text)


def draw_of(image: Image, platter: StorePlatter, acting: int) -> Random:
    """Chance for this cut of this disk: what is left of it is the same until it is written to again."""
    when = image.point.when if platter.sid == acting else "after"
    return Random(f"{platter.sid}/{platter.files.operations}/{when}/{image.model}/{image.draw}")
