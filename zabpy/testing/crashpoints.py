"""One life of an ensemble, cut before and after every single operation on any disk; and what must come back each time.

`tell` is the life: three servers and an observer, some 300 writes, snapshots, segments that turn over, a truncation, a
history replaced by a snapshot, elections, an observer that is let go and taken back, orderly stops, a power cut of all.
It is the same each time. At each operation that changes or syncs something on a disk (`FaultyFiles` counts them) the
process forks, and in the child the power goes: for the server whose operation it is, for the leader, or for all. What
unsynced data that leaves is drawn by each `CutModel`; and ``kill``: only the processes end, the systems live on. Then
the others go on for a while, the victims come back, and

- each must start (I26), and hold what its store had promised (I7, I2),
- every checker of the simulation must be content at every event (checkers.py; I17 is among them),
- the ensemble must serve again (L1), with every acknowledged write in the order where it was, and all replicas equal,
- what the disks hold then, read once more from the beginning, must be that same state.
"""

import gc
import os
import pickle
import signal
from collections import Counter
from collections.abc import Callable
from random import Random
from typing import NamedTuple

from zabpy.model import NO_ZXID, ZabpyError, zxid_text
from zabpy.storage import StoreError
from zabpy.zab.effects import Phase, Role, Truncate

from .convergence import converge
from .disk import CutModel, PowerLost
from .facts import State, ViolationError
from .process import Process
from .run import Settings
from .simulation import instead_of_life
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
VICTIMS = ("one", "leader", "all")
#: By name; None: a kill, which loses nothing that was written.
MODELS: dict[str, CutModel | None] = {"kill": None, **{model.name.lower(): model for model in CutModel}}
#: How long the victims are away, in ms: not noticed, or long enough that others lead and write meanwhile.
_AWAY_MS = (40, 1500)
_WAIT_MS_MAX = 20_000
#: A child that takes longer hangs.
_CHILD_SECONDS_MAX = 60


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


class Failure(NamedTuple):
    image: Image
    operation: str
    text: str


class _CutHere(PowerLost):
    """In a child: the power goes in the middle of this operation."""


def _end_of_life(image: Image) -> None:
    raise _CutHere(str(image.point))


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
        draws = {victim: _draw(image, self.platters[victim], sid) for victim in victims}
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
            raise _CutHere(str(image.point))
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


def _victims(name: str, sid: int, leader: int | None) -> list[int]:
    """Who loses power during an operation of ``sid``."""
    if name == "all":
        return list(SETTINGS.servers)
    if name == "one":
        return [sid]
    return [leader] if leader else []


def _draw(image: Image, platter: StorePlatter, acting: int) -> Random:
    """Chance for this cut of this disk: what is left of it is the same until it is written to again."""
    when = image.point.when if platter.sid == acting else "after"
    return Random(f"{platter.sid}/{platter.files.operations}/{when}/{image.model}/{image.draw}")


class Tally(NamedTuple):
    """What a part of the points came to."""

    operations: int
    kinds: Counter[str]
    counts: dict[str, int]
    acked: int
    #: Points at which images were made, and how many, by victims and model.
    points: int
    images: Counter[tuple[str, str]]
    #: Of those, such that an ensemble had to go on with; all others come back to the same as one of these.
    ensembles: int
    failures: list[Failure]


class Cutter:
    """Tells the life, and at each point of its share makes all images.

    Each victim's store is opened alone on what the cut leaves. Then, in a child, the ensemble goes on, unless it did so
    from this very moment, with stores that came back to this very same.
    """

    def __init__(
        self,
        *,
        wanted: Callable[[Point], bool] = lambda point: True,
        victims: tuple[str, ...] = VICTIMS,
        models: tuple[str, ...] = tuple(MODELS),
        draws: tuple[int, ...] = (0, 1),
        failures_max: int = 1 << 30,
        ensembles: bool = True,
    ) -> None:
        """``ensembles``: False: open each store alone, and let none go on."""
        self._go_on = ensembles
        self._wanted, self._victims, self._models, self._draws = wanted, victims, models, draws
        self._failures_max = failures_max
        self._life = Life()
        self._life.at_point = self._at_point
        self._points = self._ensembles = 0
        self._images: Counter[tuple[str, str]] = Counter()
        self._failures: list[Failure] = []
        self._moment: object = None
        self._seen: set[object] = set()
        self._alone: dict[int, tuple[str, dict[object, object]]] = {}
        self._child: tuple[Image, list[int], int] | None = None

    def run(self) -> Tally:
        """Raises ViolationError: the life fails without any cut."""
        life = self._life
        gc.collect()
        gc.disable()  # a collection in each child would copy all pages
        try:
            with instead_of_life(SETTINGS):
                try:
                    life.tell()
                except _Enough:
                    pass  # so many failures were wanted
                except BaseException as error:  # `_CutHere` is one
                    if self._child is None:
                        raise  # the life breaks without any cut: so it does in every share
                    self._end_child(error)
        finally:
            gc.enable()
        return Tally(
            life.operations,
            life.kinds,
            life.counts,
            len(life.acked),
            self._points,
            self._images,
            self._ensembles,
            self._failures,
        )

    def _at_point(self, point: Point, sid: int, operation: str) -> None:
        life = self._life
        if not self._wanted(point):
            return
        moment = (life.events, life.now, tuple(sorted(life.processes)))
        if moment != self._moment:
            self._moment = moment
            self._seen.clear()
        self._points += 1
        leader = life.leads
        chosen: list[tuple[str, list[int]]] = []
        for name in self._victims:
            victims = _victims(name, sid, leader)
            if victims and victims not in [others for _, others in chosen]:
                chosen.append((name, victims))
        for name, victims in chosen:
            for model in self._models:
                for draw in self._draws:
                    if self._child is not None:
                        return
                    self._cut(Image(point, name, model, draw), sid, victims, operation)

    def _cut(self, image: Image, sid: int, victims: list[int], operation: str) -> None:
        self._images[image.victims, image.model] += 1
        try:
            found = [self._open_alone(image, sid, victim) for victim in victims]
        except ViolationError as error:
            self._fail(Failure(image, operation, str(error)))
            return
        except Exception as error:  # any at all is a finding
            self._fail(Failure(image, operation, f"{type(error).__name__}: {error}"))
            return
        begun = image.draw % 2 if any(self._has_begun(victim) for victim in victims if victim != sid) else 0
        key = (tuple(victims), tuple(found), begun)
        if key in self._seen:
            return
        self._seen.add(key)
        if not self._go_on:
            return
        self._ensembles += 1
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            self._child = image, victims, writer
            os.close(reader)
            self._life.cut(image, sid, victims)
            return
        os.close(writer)
        with os.fdopen(reader, "rb") as told:
            text = told.read()
        _, status = os.waitpid(child, 0)
        if status:
            failed = f"the child ended by status {status}" + (", it hung" if status == signal.SIGALRM else "")
        else:
            failed = pickle.loads(text)
        if failed:
            self._fail(Failure(image, operation, failed))

    def _fail(self, failure: Failure) -> None:
        self._failures.append(failure)
        if len(self._failures) >= self._failures_max:
            raise _Enough

    def _open_alone(self, image: Image, acting: int, victim: int) -> object:
        """What this victim's store comes back to. Raises ViolationError."""
        platter = self._life.platters[victim]
        version = f"{platter.files.operations} {image.point.when if victim == acting else 'after'}"
        if self._alone.get(victim, ("", {}))[0] != version:
            self._alone[victim] = version, {}
        known = self._alone[victim][1]
        if (image.model, image.draw) not in known:
            files, model = platter.files.copy(), MODELS[image.model]
            if model is None:
                files.kill()
            else:
                files.power_cut(_draw(image, platter, acting), model)
            known[image.model, image.draw] = platter.found_on(files)
        return known[image.model, image.draw]

    def _has_begun(self, sid: int) -> bool:
        process = self._life.processes.get(sid)
        return process is not None and not process.drive.idle

    def _end_child(self, error: BaseException) -> None:
        """Never returns. The life ended by ``error``, which is right after the cut if it is `_CutHere`."""
        assert self._child is not None
        image, victims, writer = self._child
        signal.alarm(_CHILD_SECONDS_MAX)
        if isinstance(error, _CutHere):
            try:
                failed = outcome_of(self._life, image, victims)
            except BaseException as other:  # PowerLost is one; a child that comes back would be a second parent
                failed = f"{type(other).__name__}: {other}"
        else:
            failed = f"{type(error).__name__}: {error}"
        with os.fdopen(writer, "wb") as told:
            pickle.dump(failed, told)
        os._exit(0)


def outcome_of(life: Life, image: Image, victims: list[int]) -> str:
    """What is wrong after this cut; empty when nothing is."""
    try:
        life.go_on(image, victims)
    except ZabpyError as error:
        return f"{error}"
    except Exception as error:  # any at all is a finding
        return f"{type(error).__name__}: {error}"
    return ""


class _Enough(BaseException):
    """As many failures as were asked for."""


def replay(image: Image) -> tuple[str, list[str]]:
    """One image, in this process: what is wrong with it, and all that happened."""
    life = Life(record=True)
    victims: list[int] = []

    def cut(point: Point, sid: int, operation: str) -> None:
        if point == image.point:
            life.say(f"--- {image}: {operation}")
            victims.extend(_victims(image.victims, sid, life.leads))
            life.cut(image, sid, victims)

    life.at_point = cut
    with instead_of_life(SETTINGS):
        try:
            life.tell()
        except _CutHere:
            failed = outcome_of(life, image, victims)
        else:
            failed = f"there is no operation {image.point.operation}"
    assert life.lines is not None
    return failed, life.lines
