"""A small data directory, damaged in every small way there is, one at a time; and what a start makes of it.

Each directory is that of a server of a real ensemble (of replicas and stores, simulated). Each image of it has one
fault: a bit turned over, a file cut to a length, a piece zeroed, a sector written in another's place, two sectors
swapped, a file gone, a file as it was some time ago. The server starts from the image alone; what it must come to is
one of

- *same*: the state and the promises are what they were,
- *healed*: it has lost the end of its log, takes it from its peers, and all are equal in the end,
- *refused*: one line that names the file and the place, and nothing in the directory was changed.

Never another state, never an exception that is not a `StoreError`, never a hang, never memory by what a damaged length
says. An end of a log may be missing only where nothing on the disk says that it was synced: where the power went at
once after the sync, a torn tail and damage to it cannot be told apart (repair.py).
"""

import gc
import os
import pickle
import resource
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from zabpy.model import Tip
from zabpy.storage import DamagedError, StoreError
from zabpy.storage.epochs import read_meta
from zabpy.zab.effects import Phase, Role

from .disk import FaultyFiles, PowerLost
from .facts import State, ViolationError
from .run import Settings
from .simulation import instead_of_life
from .stored import Found, StoredSimulation, StorePlatter, found_in, open_store

SETTINGS = Settings(
    seed=3, voters=3, jitter_us=0, spike_permille=0, disk_jitter_us=0, replace_permille=0, snapshot_every=0,
    recent_entries=3, core=0b1110,
)  # fmt: skip
SECTOR = 512
#: Pieces that are zeroed.
_PIECES = (64, SECTOR, 4096)
#: Memory that a start may take on top of what there is, and how long it may take.
MEMORY_BYTES_MAX = 192 << 20
SECONDS_MAX = 20
_WAIT_MS_MAX = 10_000

SAME, HEALED, REFUSED, WRONG, EXCEPTION, HANG, MEMORY = (
    "same", "healed", "refused", "WRONG", "EXCEPTION", "HANG", "MEMORY",
)  # fmt: skip
OUTCOMES = (SAME, HEALED, REFUSED, WRONG, EXCEPTION, HANG, MEMORY)
GOOD = (SAME, HEALED, REFUSED)

Contents = dict[str, bytes]


class Damage(NamedTuple):
    """``kind`` of fault, at ``place`` (by kind: a bit, a length, an offset and so on), in the file at ``path``."""

    kind: str
    path: str
    place: tuple[int, ...] = ()

    def __str__(self) -> str:
        return ":".join((self.kind, self.path, *map(str, self.place)))


class Promised(NamedTuple):
    """What a start must come to: promises, and the state that snapshot and log make."""

    accepted_epoch: int
    tip: Tip
    digest: int


class Directory(NamedTuple):
    """One server's files, what they say, and what of it the disk can prove to have been synced."""

    name: str
    sid: int
    contents: Contents
    promised: Promised
    #: States that a shorter log may make, by where it ends: as far back as the meta file cannot prove more to have been
    #: synced, for damages that may take the marks in the log too; and as the marks cannot, for a single bit.
    shorter: dict[Tip, int]
    unmarked: dict[Tip, int]
    #: Earlier contents of the files that are there, oldest first.
    stale: dict[str, list[bytes]]
    #: The ensemble at rest, all its processes gone, for going on with.
    ensemble: "Ensemble"


class Ensemble(StoredSimulation):
    """Three servers with a short past: snapshots, segments, a history replaced by the leader's at server 3."""

    fill_bytes = 700

    def __init__(self) -> None:
        super().__init__(SETTINGS)
        #: Of each server, what its files held after each change.
        self.past: dict[int, dict[str, list[bytes]]] = {sid: {} for sid in self.settings.servers}

    def tell(self, *, left_behind: bool) -> None:
        """``left_behind``: server 3 is away until it needs a snapshot."""
        for sid, platter in self.platters.items():
            platter.files.hook = self._remember(sid)
        self.start()
        self.wait_level()
        self._writes(1, 3, 2)
        away = next(sid for sid in (3, 2) if self.processes[sid].role is Role.FOLLOWING)
        if left_behind:
            self.crash(self.processes[away], power=True, down_ms=1 << 30)
        for _ in range(4):
            for process in list(self.processes.values()):
                self.begin_snapshot(process)
            self.run_until(self.now + 20_000)
            self._writes(2, 1)
        if left_behind:
            self.start_server(away)
            self.wait_level()
        self._writes(1, 2, 1)
        self.wait_level()
        self.damaged = (
            away if left_behind else next(sid for sid in (1, 2, 3) if self.processes[sid].role is Role.FOLLOWING)
        )
        for platter in self.platters.values():
            platter.files.hook = None

    def _remember(self, sid: int) -> Callable[[str, str, str], None]:
        def remember(when: str, kind: str, path: str) -> None:
            if when == "before" and kind in ("write", "rename"):
                for name, data in self.platters[sid].files.contents().items():
                    versions = self.past[sid].setdefault(name, [])
                    if not versions or versions[-1] != data:
                        versions.append(data)

        return remember

    def _writes(self, *numbers: int) -> None:
        for number in numbers:
            for process in list(self.processes.values()):
                if process.replica.may_submit:
                    self.submit(process, [b"w%d" % next(self._payloads) for _ in range(number)])
            self.run_until(self.now + 10_000)

    def wait_level(self) -> None:
        """Raises ViolationError: they do not find together, or not to the same state."""
        for _ in range(_WAIT_MS_MAX // 10):
            self.run_until(self.now + 10_000)
            processes = self.processes.values()
            tips = {process.state.tip for process in processes} | {process.visible for process in processes}
            settled = all(process.phase is Phase.BROADCAST and process.drive.idle for process in processes)
            if len(processes) == len(self.platters) and settled and len(tips) == 1:
                return
        raise ViolationError("L1", "Convergence", f"not level after {_WAIT_MS_MAX} ms")

    def end(self) -> None:
        """All processes are gone, as if killed."""
        for process in list(self.processes.values()):
            self.crash(process, power=False, down_ms=1 << 40)

    def go_on(self, sid: int, files: FaultyFiles) -> None:
        """All start, one of them from these files. Raises whatever is wrong with that."""
        platter = StorePlatter(sid)  # it has promised nothing: what it had, the damage took
        platter.files = files
        self.platters[sid] = self.servers[sid].platter = platter
        for acked in self.facts.acked.values():
            acked.pop(sid, None)
        for each in self.settings.servers:
            self.start_server(each)
        self.wait_level()
        self._writes(1)
        self.wait_level()
        digests = {found_state(found_in(open_store(p.files.copy(), s))).digest for s, p in self.platters.items()}
        if len(digests) != 1:
            raise ViolationError("I17", "StateMachineEquality", f"the disks make {len(digests)} states")


def found_state(found: Found) -> State:
    state = State() if found.snapshot is None else State.of_image(found.snapshot.image)
    for entry in found.entries:
        if entry.zxid > state.tip.zxid:
            state.apply(entry)
    return state


# Directories ---------------------------------------------------------------------------------------------------------


def _synced_only(files: FaultyFiles) -> Contents:
    """What a power cut leaves that takes all that was not synced."""
    files = files.copy()
    files.lose_unsynced()
    return files.contents()


def directories() -> dict[str, Callable[[], Directory]]:
    """By name. *killed*: as a process left it. *cut off*: after a power cut that took all that was not synced.
    *stopped*: after an orderly stop. *installed*: killed, where the history came as a snapshot from the leader."""
    return {
        "killed": lambda: _directory("killed"),
        "cut off": lambda: _directory("cut off"),
        "stopped": lambda: _directory("stopped"),
        "installed": lambda: _directory("installed"),
    }


def _directory(name: str) -> Directory:
    with instead_of_life(SETTINGS):
        ensemble = Ensemble()
        ensemble.tell(left_behind=name == "installed")
        sid = ensemble.damaged
        if name == "stopped":
            ensemble.stop(sid)
        ensemble.end()
    files = ensemble.platters[sid].files
    contents = _synced_only(files) if name == "cut off" else files.contents()
    found = found_in(open_store(FaultyFiles.holding(contents), sid))
    state = found_state(found)
    shorter: dict[Tip, int] = {}
    unmarked: dict[Tip, int] = {}
    if name == "cut off":
        meta, _ = read_meta(FaultyFiles.holding(contents), "/log/epochs")
        marked = _marked(contents, sid, found)
        part = State() if found.snapshot is None else State.of_image(found.snapshot.image)
        for entry in found.entries:
            if entry.zxid > part.tip.zxid:
                if part.tip.zxid >= meta.synced_base:
                    shorter[part.tip] = part.digest
                if part.tip.zxid >= marked:
                    unmarked[part.tip] = part.digest
                part.apply(entry)
    stale = {
        path: [data for data in versions if data != contents[path]]
        for path, versions in ensemble.past[sid].items()
        if path in contents
    }
    promised = Promised(found.accepted_epoch, state.tip, state.digest)
    return Directory(name, sid, contents, promised, shorter, unmarked, stale, ensemble)


def _marked(contents: Contents, sid: int, found: Found) -> int:
    """The last record of which a mark says that it was synced: a damage to it must be noticed."""
    last = max(path for path in contents if "/log." in path)
    for entry in reversed(found.entries):
        data = contents[last]
        at = data.find(entry.chain.to_bytes(4, "big"))
        if at < 0:
            return entry.zxid
        torn = FaultyFiles.holding({**contents, last: data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]})
        try:
            open_store(torn, sid)
        except DamagedError:
            return entry.zxid
    return 0


# Damages -------------------------------------------------------------------------------------------------------------


def damages(directory: Directory) -> Iterator[Damage]:
    """All of them, in a fixed order."""
    for path, data in directory.contents.items():
        yield from (Damage("flip", path, (bit,)) for bit in range(len(data) * 8))
        yield from (Damage("cut", path, (size,)) for size in range(len(data)))
        for piece in _PIECES:
            yield from (Damage("zero", path, (at, piece)) for at in range(0, len(data), piece))
        sectors = range(0, len(data), SECTOR)
        yield from (Damage("copy", path, (to, of)) for to in sectors for of in sectors if to != of)
        yield from (Damage("swap", path, (a, b)) for a in sectors for b in sectors if a < b)
        yield Damage("lost", path)
        yield from (Damage("stale", path, (number,)) for number in range(len(directory.stale.get(path, ()))))
        yield Damage("tail", path, (SECTOR,))


def apply(directory: Directory, damage: Damage) -> Contents | None:
    """The directory with this damage; None when it changes nothing."""
    contents = dict(directory.contents)
    data, place = bytearray(contents[damage.path]), damage.place
    if damage.kind == "flip":
        data[place[0] // 8] ^= 1 << place[0] % 8
    elif damage.kind == "cut":
        del data[place[0] :]
    elif damage.kind == "zero":
        end = min(place[0] + place[1], len(data))
        data[place[0] : end] = bytes(end - place[0])
    elif damage.kind == "copy":
        to, of = place
        piece = data[of : of + SECTOR][: len(data) - to]
        data[to : to + len(piece)] = piece
    elif damage.kind == "swap":
        a, b = place
        size = min(SECTOR, len(data) - b)
        data[a : a + size], data[b : b + size] = data[b : b + size], data[a : a + size]
    elif damage.kind == "tail":
        data += bytes([0xE1]) * place[0]
    elif damage.kind == "stale":
        data = bytearray(directory.stale[damage.path][place[0]])
    if damage.kind == "lost":
        del contents[damage.path]
    elif bytes(data) == contents[damage.path]:
        return None
    else:
        contents[damage.path] = bytes(data)
    return contents


# What comes of them --------------------------------------------------------------------------------------------------


class Verdict(NamedTuple):
    outcome: str
    text: str


class Judge:
    """Starts a directory's server from damaged images of it."""

    def __init__(self, directory: Directory) -> None:
        self.directory = directory
        #: What peers make of a shorter log, by where it ends.
        self._healed: dict[object, str] = {}

    def judge(self, damage: Damage) -> Verdict | None:
        """None: this damage changes nothing."""
        contents = apply(self.directory, damage)
        if contents is None:
            return None
        signal.alarm(SECONDS_MAX)
        try:
            return self._judge(damage, contents)
        except _HangError:
            return Verdict(HANG, f"no word after {SECONDS_MAX} s")
        except MemoryError:
            return Verdict(MEMORY, f"more than {MEMORY_BYTES_MAX >> 20} MiB")
        except PowerLost as error:
            return Verdict(EXCEPTION, repr(error))
        except Exception as error:  # any at all is a finding
            return Verdict(EXCEPTION, repr(error))
        finally:
            signal.alarm(0)

    def _judge(self, damage: Damage, contents: Contents) -> Verdict:
        directory = self.directory
        files = FaultyFiles.holding(contents)
        files.make_dir("/data")  # also when nothing is left in it
        files.operations = 0
        try:
            store = open_store(files, directory.sid)
        except StoreError as error:
            return self._refused(damage, contents, files, str(error))
        found = found_in(store)
        state = found_state(found)
        promised = directory.promised
        if found.accepted_epoch != promised.accepted_epoch:
            return Verdict(WRONG, f"accepted epoch {found.accepted_epoch}, not {promised.accepted_epoch}")
        if (state.tip, state.digest) == (promised.tip, promised.digest):
            return Verdict(SAME, "")
        shorter = directory.unmarked if damage.kind == "flip" else directory.shorter
        if shorter.get(state.tip) != state.digest:
            return Verdict(WRONG, f"a log up to {state.tip.zxid:#x}, not {promised.tip.zxid:#x}")
        key = (found.snapshot and found.snapshot.tip, found.log_base, found.tip)
        if key not in self._healed:
            files.kill()
            self._healed[key] = _in_child(lambda: directory.ensemble.go_on(directory.sid, files))
        failed = self._healed[key]
        return Verdict(WRONG, f"among its peers: {failed}") if failed else Verdict(HEALED, "")

    def _refused(self, damage: Damage, contents: Contents, files: FaultyFiles, text: str) -> Verdict:
        if files.contents() != contents or files.operations:
            return Verdict(WRONG, f"refused, and changed something: {text}")
        names = damage.path in text or (damage.kind in ("lost", "stale") and any(path in text for path in contents))
        if "\n" in text or ("offset" not in text and damage.kind != "lost") or not names:
            return Verdict(WRONG, f"refused without naming the file and the place: {text}")
        return Verdict(REFUSED, text)


def _in_child(act: Callable[[], None]) -> str:
    """Do this in a child, so that nothing is left of it; what was wrong, or nothing."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        signal.alarm(SECONDS_MAX)
        try:
            with instead_of_life(SETTINGS):
                act()
            failed = ""
        except BaseException as error:  # PowerLost is one; a child that comes back would be a second parent
            failed = f"{type(error).__name__}: {error}"
        with os.fdopen(writer, "wb") as told:
            pickle.dump(failed, told)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as told:
        text = told.read()
    _, status = os.waitpid(child, 0)
    return f"ended by status {status}" if status else str(pickle.loads(text))


class _HangError(BaseException):
    """The time is up. Not an Exception, since what hangs may catch those."""


@contextmanager
def _bounded() -> Iterator[None]:
    """Within: a start that hangs is noticed, and one that takes too much memory."""

    def hang(number: int, frame: object) -> None:
        raise _HangError

    before = signal.signal(signal.SIGALRM, hang)
    limits = resource.getrlimit(resource.RLIMIT_AS)
    try:
        with open("/proc/self/statm", encoding="ascii") as statm:
            used = int(statm.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY_BYTES_MAX, limits[1]))
    except FileNotFoundError:  # not on Linux: unbounded
        pass
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)
        signal.signal(signal.SIGALRM, before)


class Tally(NamedTuple):
    """Images by kind of damage, kind of file and outcome; and what went wrong."""

    images: Counter[tuple[str, str, str]]
    failures: list[tuple[str, Damage, Verdict]]


def kind_of_file(path: str) -> str:
    return path.rpartition("/")[2].split(".")[0]


def try_all(directory: Directory, *, every: int = 1, first: int = 0, failures_max: int = 1 << 30) -> Tally:
    """Every ``every``-th damage of this directory, beginning with the ``first``; all of those that are few."""
    judge = Judge(directory)
    tally = Tally(Counter(), [])
    number = first
    gc.collect()
    with _bounded():
        for damage in damages(directory):
            if damage.kind in ("flip", "cut", "copy", "swap"):
                number += 1
                if number % every:
                    continue
            verdict = judge.judge(damage)
            if verdict is None:
                continue
            tally.images[damage.kind, kind_of_file(damage.path), verdict.outcome] += 1
            if verdict.outcome not in GOOD:
                tally.failures.append((directory.name, damage, verdict))
                if len(tally.failures) >= failures_max:
                    break
    return tally
