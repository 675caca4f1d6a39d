"""What must hold of what clients saw, besides linearizability: I19 to I23 of checkers.py's numbers, on a `History`.

Where linearizability.py knows calls, answers and times only, these go by the stamps (zxids) that the protocol puts on
every answer: a reply says which state it claims to show, and so each of them can be judged by itself, in one pass.
They need no server and no simulation, so they judge real processes and simulated ones alike.

To add one: a function of a `History` that raises `ViolationError`, with the rule as its docstring, and a row in `ALL`.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterator
from itertools import pairwise

from .facts import ViolationError
from .histories import NO_NODE, Event, History, Operation

Check = Callable[[History], None]


def check(history: History) -> None:
    """All of them. Raises ViolationError: the first that does not hold."""
    for each in ALL:
        each(history)


def never_back(history: History) -> None:
    """Zxids seen by a session never decrease, also across servers. With `reads` a session so sees its own writes."""
    last: dict[int, Operation] = {}
    for each in history.operations:
        if each.returned_ns is None or not each.zxid or not each.session:
            continue
        before = last.get(each.session)
        if before is not None and each.zxid < before.zxid:
            raise ViolationError("I20", "NeverBack", f"a session went back from {before} to {each}")
        last[each.session] = each


def real_time(history: History) -> None:
    """A write or synced read has no lower stamp than anything that was answered before it was called; no two writes
    have the same."""
    answered = [each for each in history.operations if each.returned_ns is not None and each.zxid]
    placed: dict[int, Operation] = {}
    times: list[tuple[int, int, Operation]] = []
    for each in answered:
        times += [(each.called_ns, 0, each), (each.returned_ns or 0, 1, each)]
        if each.changes and each.done and placed.setdefault(each.zxid, each) is not each:
            raise ViolationError("I21", "RealTime", f"{placed[each.zxid]} and {each} have one place in the order")
    highest: Operation | None = None
    floors: dict[int, Operation | None] = {}
    for _, is_return, each in sorted(times, key=lambda time: time[:2]):
        if not is_return:
            floors[id(each)] = highest
            continue
        floor = floors[id(each)]
        if floor is not None and each.zxid < floor.zxid and (each.changes or each.synced):
            raise ViolationError("I21", "RealTime", f"{floor} was answered before {each} was called")
        if highest is None or each.zxid > highest.zxid:
            highest = each


class _Changes:
    """The writes of one znode: those that were answered, by their stamps, and those that nobody knows of."""

    def __init__(self, operations: list[Operation]) -> None:
        self.known = sorted((each for each in operations if each.done), key=lambda each: each.zxid)
        self.zxids = [each.zxid for each in self.known]
        self.unknown = [each for each in operations if each.returned_ns is None]

    def upto(self, zxid: int) -> Operation | None:
        at = bisect_right(self.zxids, zxid)
        return self.known[at - 1] if at else None

    def after(self, zxid: int) -> Operation | None:
        at = bisect_right(self.zxids, zxid)
        return self.known[at] if at < len(self.known) else None

    def at(self, zxid: int) -> Operation | None:
        found = self.upto(zxid)
        return found if found is not None and found.zxid == zxid else None

    def may_be_unknown(self, kind: str, before_ns: int, data: str | None = None) -> bool:
        """Whether such a write was called before then, and was never answered."""
        return any(
            each.kind == kind and each.called_ns < before_ns and (data is None or each.data == data)
            for each in self.unknown
        )


def _changes(history: History) -> dict[str, _Changes]:
    by_path: dict[str, list[Operation]] = defaultdict(list)
    for each in history.operations:
        if each.changes:
            by_path[each.made or each.path].append(each)
    return {path: _Changes(operations) for path, operations in by_path.items()}


def _gets(history: History) -> Iterator[tuple[Operation, int]]:
    """All answered reads, and when each was."""
    for each in history.operations:
        if each.kind == "get" and each.returned_ns is not None and each.error in (0, NO_NODE):
            yield each, each.returned_ns


def reads(history: History) -> None:
    """A read, plain or synced, shows what the writes up to its stamp have left: the data and version of the last one,
    or of one later than that whose fate its client does not know."""
    changes = _changes(history)
    same: dict[tuple[str, int], Operation] = {}
    for each, returned_ns in _gets(history):
        writes = changes.get(each.path) or _Changes([])
        last = writes.upto(each.zxid)
        if each.seen is None:
            if last is None or last.kind == "delete" or writes.may_be_unknown("delete", returned_ns):
                continue
            if any(made.ephemeral for made in (*writes.known, *writes.unknown)):
                continue  # see `ephemerals`
            raise ViolationError("I20", "Reads", f"{each} misses {last}")
        seen = each.seen
        if not 0 < seen.czxid <= seen.mzxid <= each.zxid:
            raise ViolationError("I20", "Reads", f"{each} shows what is later than its stamp")
        if last is not None and (seen.mzxid < last.zxid or (last.kind == "delete" and seen.czxid <= last.zxid)):
            raise ViolationError("I20", "Reads", f"{each} does not show {last}")
        source = writes.at(seen.mzxid)
        if source is None:
            if not any(writes.may_be_unknown(kind, returned_ns, seen.data) for kind in ("create", "set")):
                raise ViolationError("I20", "Reads", f"nobody wrote what {each} shows")
        elif source.kind == "delete" or source.data != seen.data or not _fits(source, each):
            raise ViolationError("I20", "Reads", f"{each} shows another thing than {source}")
        twin = same.setdefault((each.path, seen.mzxid), each)
        if twin.seen != seen:
            raise ViolationError("I17", "Reads", f"{twin} and {each} are of one state and differ")


def _fits(source: Operation, read: Operation) -> bool:
    assert read.seen is not None
    if source.kind == "create":
        return read.seen.version == 0 and read.seen.czxid == source.zxid
    return source.seen is None or source.seen.version == read.seen.version


def watches(history: History) -> None:
    """A watch fires once at most, and its event comes before any answer that is stamped with the change or later."""
    changes = _changes(history)
    armed: dict[int, dict[str, int]] = defaultdict(dict)
    for each in history.records:
        mine = armed[each.session]
        if isinstance(each, Event):
            if mine.pop(each.path, None) is None:
                raise ViolationError("I23", "Watches", f"{each} of a watch that nobody set, or that had fired")
            continue
        if each.kind == "expired" or (each.kind == "close" and each.done):
            mine.clear()
        if each.returned_ns is None:
            continue
        for path, since in mine.items():
            change = changes[path].after(since) if path in changes else None
            if change is not None and change.zxid <= each.zxid:
                raise ViolationError("I23", "Watches", f"{each} comes before the event of {change}")
            if each.path == path and each.kind == "get" and (each.seen is None or each.seen.mzxid > since):
                raise ViolationError("I23", "Watches", f"{each} shows a change before its event")
        if each.kind == "get" and each.watch and each.done:
            mine.setdefault(each.path, each.zxid)


class _End:
    """What is known of the end of a session."""

    def __init__(self) -> None:
        #: The highest stamp it was given: it lived then.
        self.alive = 0
        #: The stamp of its end, 0 where that is not known.
        self.closed = 0
        #: Its client may have ended it, or was told that it is over.
        self.ended = False
        self.written_ns = 0


def _ends(history: History) -> dict[int, _End]:
    ends: dict[int, _End] = defaultdict(_End)
    for each in history.operations:
        end = ends[each.session]
        if each.kind == "expired":
            end.ended = True
        elif each.kind == "close":
            end.ended = True
            if each.done:
                end.closed = each.zxid
        elif each.returned_ns is not None:
            end.alive = max(end.alive, each.zxid)
    return ends


def ephemerals(history: History) -> None:
    """An ephemeral znode is there as long as its session lives and nobody deletes it, and not any longer."""
    changes, ends = _changes(history), _ends(history)
    for each, returned_ns in _gets(history):
        writes = changes.get(each.path) or _Changes([])
        if each.seen is not None:
            owner = each.seen.owner
            end = ends.get(owner)
            if owner and end is not None and end.closed and end.closed <= each.zxid:
                raise ViolationError(
                    "I22", "Ephemerals", f"{each} shows a znode of session {owner:#x}, which was closed"
                )
            made = writes.at(each.seen.czxid)
            if made is not None and made.kind == "create" and owner != (made.session if made.ephemeral else 0):
                raise ViolationError("I22", "Ephemerals", f"{each} names another owner than {made}")
            continue
        last = writes.upto(each.zxid)
        if last is None or last.kind == "delete" or writes.may_be_unknown("delete", returned_ns):
            continue
        made = next((one for one in reversed(writes.known) if one.kind == "create" and one.zxid <= each.zxid), None)
        if made is not None and made.ephemeral and ends[made.session].alive >= each.zxid:
            raise ViolationError("I22", "Ephemerals", f"{each} misses {made}, whose session lived on")


def expiry(history: History, timeout_ms: int | None = None) -> None:
    """No session is told that it is over before it has been silent for its timeout: since the call of the last write
    that was answered, of which the leader itself had to hear. Unless its client has asked for its end."""
    timeout_ms = timeout_ms if timeout_ms is not None else history.about.get("session_timeout_ms")
    if timeout_ms is None:
        return
    heard: dict[int, int] = {}
    asked: set[int] = set()
    for each in history.operations:
        if each.kind == "close":
            asked.add(each.session)
        elif each.kind == "expired" and each.session not in asked:
            silent_ms = ((each.returned_ns or 0) - heard.get(each.session, -(10**15))) / 1e6
            if silent_ms < timeout_ms:
                raise ViolationError("I22", "Expiry", f"{each} after {silent_ms:.0f} ms of {timeout_ms}")
        elif each.changes and each.returned_ns is not None:
            heard[each.session] = max(heard.get(each.session, 0), each.called_ns)


def numbers(history: History) -> None:
    """No number below one znode is given twice, and later creates have higher ones."""
    made: dict[str, list[Operation]] = defaultdict(list)
    for each in history.operations:
        if each.made and each.done:
            made[each.path.rpartition("/")[0]].append(each)
    for operations in made.values():
        operations.sort(key=lambda each: each.zxid)
        for one, other in pairwise(operations):
            if int(other.made[-10:]) <= int(one.made[-10:]):
                raise ViolationError("I19", "Numbers", f"{one} and then {other}")


ALL: tuple[Check, ...] = (never_back, real_time, reads, watches, ephemerals, expiry, numbers)
