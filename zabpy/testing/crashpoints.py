"""One life of an ensemble, cut before and after every single operation on any disk; and what must come back each time.

The life, crash_life.py, is the same each time. At each operation that changes or syncs something on a disk
(`FaultyFiles` counts them) the process forks, and in the child the power goes: for the server whose operation it is,
for the leader, or for all. What unsynced data that leaves is drawn by each `CutModel`; and ``kill``: only the processes
end, the systems live on. Then the others go on for a while, the victims come back, and

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
from typing import NamedTuple

from zabpy.model import ZabpyError

from .crash_life import MODELS, SETTINGS, CutHere, Image, Life, Point, draw_of
from .facts import ViolationError
from .simulation import instead_of_life

VICTIMS = ("one", "leader", "all")
#: A child that takes longer hangs.
_CHILD_SECONDS_MAX = 60


class Failure(NamedTuple):
    image: Image
    operation: str
    text: str


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
                except BaseException as error:  # `CutHere` is one
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
                files.power_cut(draw_of(image, platter, acting), model)
            known[image.model, image.draw] = platter.found_on(files)
        return known[image.model, image.draw]

    def _has_begun(self, sid: int) -> bool:
        process = self._life.processes.get(sid)
        return process is not None and not process.drive.idle

    def _end_child(self, error: BaseException) -> None:
        """Never returns. The life ended by ``error``, which is right after the cut if it is `CutHere`."""
        assert self._child is not None
        image, victims, writer = self._child
        signal.alarm(_CHILD_SECONDS_MAX)
        if isinstance(error, CutHere):
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
        except CutHere:
            failed = outcome_of(life, image, victims)
        else:
            failed = f"there is no operation {image.point.operation}"
    assert life.lines is not None
    return failed, life.lines


def _victims(name: str, sid: int, leader: int | None) -> list[int]:
    """Who loses power during an operation of ``sid``."""
    if name == "all":
        return list(SETTINGS.servers)
    if name == "one":
        return [sid]
    return [leader] if leader else []
