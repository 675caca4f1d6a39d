"""Histories that a small service in this file has made, whose servers lag behind as they may; and faults to plant."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from random import Random

from zabpy.testing.histories import BAD_VERSION, NO_NODE, NODE_EXISTS, Event, History, Operation, Record, Seen

TIMEOUT_MS = 1
_TIMEOUT_NS = TIMEOUT_MS * 1_000_000
PATHS = ("/a", "/b", "/c")
#: Only here are writes without an answer, so that elsewhere a planted fault has no excuse.
UNSURE = "/unsure"


class Service:
    """States one after the other, a zxid each; sessions look at any that is not older than what they have seen."""

    def __init__(self, rng: Random, sessions: int = 4) -> None:
        self._rng = rng
        self._states: list[dict[str, Seen]] = [{}]
        self._sessions = [100 + number for number in range(sessions)]
        self._last_session = 100 + sessions
        self._at: dict[int, int] = {}
        self._armed: dict[int, dict[str, int]] = {}
        self._free_ns: dict[int, int] = {}
        self._written_ns: dict[int, int] = {}
        self._now_ns = 100
        self._numbered = 0
        self.history = History(about={"session_timeout_ms": TIMEOUT_MS})

    @property
    def _now(self) -> int:
        return len(self._states) - 1

    def run(self, operations: int) -> History:
        for number in range(operations):
            self._one(self._rng.choice(self._sessions), f"d{number}")
        return self.history

    def _one(self, session: int, data: str) -> None:
        rng = self._rng
        what = rng.random()
        path = rng.choice(PATHS)
        mine = f"/e{session}"
        if what < 0.2:
            self._get(session, path, synced=True)
        elif what < 0.45:
            self._get(session, rng.choice((path, f"/e{rng.choice(self._sessions)}")), watch=rng.random() < 0.6)
        elif what < 0.65:
            self._write(session, "set", path, data, rng.choice((-1, -1, 0, 1)))
        elif what < 0.77:
            self._write(session, "create", path, data)
        elif what < 0.82:
            self._write(session, "delete", path)
        elif what < 0.87:
            self._write(session, "create", mine, data, ephemeral=True)
        elif what < 0.92:
            self._numbered += 1
            self._write(session, "create", "/s-", data, made=f"/s-{self._numbered:010d}")
        elif what < 0.97:
            self._write(session, rng.choice(("create", "set", "delete")), UNSURE, data, lost=rng.random() < 0.5)
        elif what < 0.985:
            self._close(session, lost=rng.random() < 0.3)
        else:
            self._expire(session)

    # Times and stamps -------------------------------------------------------------------------------------------------

    def _times(self, session: int) -> tuple[int, int]:
        """Around a moment of its own."""
        free = self._free_ns.get(session, 0)
        self._now_ns = max(self._now_ns + 10, free + 2)
        called = max(free + 1, self._now_ns - self._rng.randrange(25))
        returned = self._now_ns + self._rng.randrange(25)
        self._free_ns[session] = returned
        return called, returned

    def _advance(self, session: int, at: int) -> None:
        """It sees all up to there: first of all what its watches have to say."""
        armed = self._armed.setdefault(session, {})
        for path, since in list(armed.items()):
            states = (self._states[each].get(path) for each in range(since, at + 1))
            if len({each.mzxid if each else 0 for each in states}) > 1:
                del armed[path]
                self.history.records.append(Event(session, session, path, self._now_ns))
        self._at[session] = at

    def _add(self, session: int, kind: str, path: str, times: tuple[int, int], **more: object) -> None:
        operation = Operation(session, session, kind, path, *times, zxid=self._at.get(session, 0))  # type: ignore[arg-type]  # kinds are few
        self.history.records.append(replace(operation, **more))  # type: ignore[arg-type]  # its fields

    # Operations -------------------------------------------------------------------------------------------------------

    def _get(self, session: int, path: str, *, synced: bool = False, watch: bool = False) -> None:
        times = self._times(session)
        at = self._now if synced else self._rng.randrange(self._at.get(session, 0), self._now + 1)
        self._advance(session, at)
        seen = self._states[at].get(path)
        error = 0 if seen else NO_NODE
        if watch and seen:
            self._armed[session].setdefault(path, at)
        self._add(session, "get", path, times, seen=seen, error=error, synced=synced, watch=watch)

    def _write(
        self,
        session: int,
        kind: str,
        path: str,
        data: str = "",
        version: int = -1,
        *,
        ephemeral: bool = False,
        made: str = "",
        lost: bool = False,
    ) -> None:
        times = self._times(session)
        asked = {"data": data, "version": version, "ephemeral": ephemeral}
        if lost and self._rng.random() < 0.5:
            self._add(session, kind, path, times, **asked, returned_ns=None, zxid=0)
            return
        state, zxid = dict(self._states[-1]), self._now + 1
        name = made or path
        there, error, seen = state.get(name), 0, None
        if kind == "create":
            error = NODE_EXISTS if there else 0
            if not there:
                state[name] = Seen(0, zxid, zxid, data, session if ephemeral else 0)
        elif there is None:
            error = NO_NODE
        elif version not in (-1, there.version):
            error = BAD_VERSION
        elif kind == "set":
            state[name] = replace(there, version=there.version + 1, mzxid=zxid, data=data)
            seen = replace(state[name], data="")
        else:
            del state[name]
        self._states.append(state)
        if lost:
            self._add(session, kind, path, times, **asked, returned_ns=None, zxid=0)
            return
        self._advance(session, zxid)
        self._written_ns[session] = times[0]
        self._add(session, kind, path, times, **asked, error=error, seen=seen, made="" if error else made)

    def _end(self, session: int) -> None:
        self._states.append({path: seen for path, seen in self._states[-1].items() if seen.owner != session})
        self._last_session += 1
        self._sessions[self._sessions.index(session)] = self._last_session

    def _close(self, session: int, *, lost: bool) -> None:
        """``lost``: without an answer; its client comes back, and either is told that it is over or goes on."""
        times = self._times(session)
        if lost and self._rng.random() < 0.5:
            self._add(session, "close", "", times, returned_ns=None, zxid=0)
            return
        self._end(session)
        if lost:
            self._add(session, "close", "", times, returned_ns=None, zxid=0)
            self._add(session, "expired", "", self._times(session), zxid=0)
            return
        self._armed.pop(session, None)
        self._at[session] = self._now
        self._add(session, "close", "", times)

    def _expire(self, session: int) -> None:
        """Silent for its timeout, and told so when it comes back."""
        self._now_ns = max(self._now_ns, self._written_ns.get(session, 0) + _TIMEOUT_NS)
        times = self._times(session)
        self._end(session)
        self._add(session, "expired", "", (max(times[0], self._now_ns), self._now_ns + 30), zxid=0)


# Faults ---------------------------------------------------------------------------------------------------------------

#: What a fault makes of a history; None where there is no place for it.
Fault = Callable[[History, Random], History | None]
FAULTS: dict[str, tuple[Fault, frozenset[str]]] = {}


def _fault(*names: str) -> Callable[[Fault], Fault]:
    """``names``: the checks that may find it."""

    def register(fault: Fault) -> Fault:
        FAULTS[fault.__name__] = fault, frozenset(names)
        return fault

    return register


def _with(history: History, *changes: tuple[int, Record]) -> History:
    records = list(history.records)
    for at, record in changes:
        records[at] = record
    return History(records, history.about)


def _places(history: History, rng: Random) -> list[tuple[int, Operation]]:
    """All operations that were answered, in any order."""
    found = [
        (at, each)
        for at, each in enumerate(history.records)
        if isinstance(each, Operation) and each.returned_ns is not None and each.path != UNSURE
    ]
    rng.shuffle(found)
    return found


def _before(history: History, at: int, path: str) -> Iterator[Seen]:
    """What was shown of a znode before."""
    for each in history.records[:at]:
        if isinstance(each, Operation) and each.kind == "get" and each.path == path and each.seen is not None:
            yield each.seen


@_fault("NeverBack")
def a_session_goes_back(history: History, rng: Random) -> History | None:
    seen: dict[int, int] = {}
    for at, each in enumerate(history.records):
        if isinstance(each, Operation) and each.returned_ns is not None and each.zxid:
            if seen.get(each.session, 0) > 1 and rng.random() < 0.1:
                return _with(history, (at, replace(each, zxid=seen[each.session] - 1)))
            seen[each.session] = each.zxid
    return None


@_fault("RealTime", "NeverBack", "Reads", "Watches", "Ephemerals")
def two_writes_change_places(history: History, rng: Random) -> History | None:
    writes = [(at, each) for at, each in _places(history, rng) if each.changes]
    for one, first in writes:
        for other, second in writes:
            if (first.returned_ns or 0) < second.called_ns:
                changed = (one, replace(first, zxid=second.zxid)), (other, replace(second, zxid=first.zxid))
                return _with(history, *changed)
    return None


@_fault("RealTime", "NeverBack")
def two_writes_have_one_place(history: History, rng: Random) -> History | None:
    writes = [(at, each) for at, each in _places(history, rng) if each.changes and each.done]
    if len(writes) < 2:
        return None
    return _with(history, (writes[0][0], replace(writes[0][1], zxid=writes[1][1].zxid)))


@_fault("RealTime", "NeverBack")
def a_synced_read_has_an_old_stamp(history: History, rng: Random) -> History | None:
    for at, each in _places(history, rng):
        if not each.synced:
            continue
        before = [one.zxid for _, one in _places(history, rng) if (one.returned_ns or 0) < each.called_ns]
        if max(before, default=0) > 1:
            return _with(history, (at, replace(each, zxid=max(before) - 1, seen=None, error=NO_NODE)))
    return None


@_fault("Reads", "Watches")
def a_read_shows_what_was_before(history: History, rng: Random) -> History | None:
    """With the stamp of now: so it missed a write, its own perhaps."""
    for at, each in _places(history, rng):
        if each.kind == "get" and each.seen is not None and not each.seen.owner:
            for old in _before(history, at, each.path):
                if old.mzxid < each.seen.mzxid and _written(history, each.path, each.seen.mzxid):
                    return _with(history, (at, replace(each, seen=old)))
    return None


def _written(history: History, path: str, zxid: int) -> bool:
    return any(each.done and each.changes and each.path == path and each.zxid == zxid for each in history.operations)


@_fault("Reads")
def a_read_shows_what_nobody_wrote(history: History, rng: Random) -> History | None:
    for at, each in _places(history, rng):
        if each.kind == "get" and each.seen is not None:
            return _with(history, (at, replace(each, seen=replace(each.seen, data="nobody's"))))
    return None


@_fault("Reads")
def a_read_shows_another_version(history: History, rng: Random) -> History | None:
    for at, each in _places(history, rng):
        if each.kind == "get" and each.seen is not None:
            return _with(history, (at, replace(each, seen=replace(each.seen, version=each.seen.version + 1))))
    return None


@_fault("Reads")
def a_read_shows_the_future(history: History, rng: Random) -> History | None:
    for at, each in _places(history, rng):
        if each.kind == "get" and each.seen is not None:
            return _with(history, (at, replace(each, seen=replace(each.seen, mzxid=each.zxid + 1))))
    return None


@_fault("Reads", "Watches")
def a_read_misses_a_znode(history: History, rng: Random) -> History | None:
    for at, each in _places(history, rng):
        if each.kind == "get" and each.seen is not None and not each.seen.owner:
            return _with(history, (at, replace(each, seen=None, error=NO_NODE)))
    return None


@_fault("Reads", "Watches")
def a_deleted_znode_comes_back(history: History, rng: Random) -> History | None:
    for at, each in _places(history, rng):
        if each.kind == "get" and each.seen is None and each.path in PATHS:
            for old in _before(history, at, each.path):
                return _with(history, (at, replace(each, seen=old, error=0)))
    return None


def _events(history: History, rng: Random) -> list[tuple[int, Event]]:
    found = [(at, each) for at, each in enumerate(history.records) if isinstance(each, Event) and each.path in PATHS]
    rng.shuffle(found)
    return found


@_fault("Watches")
def an_event_is_lost(history: History, rng: Random) -> History | None:
    for at, _ in _events(history, rng):
        return History(history.records[:at] + history.records[at + 1 :], history.about)
    return None


@_fault("Watches")
def an_event_comes_twice(history: History, rng: Random) -> History | None:
    for at, each in _events(history, rng):
        return History([*history.records[: at + 1], each, *history.records[at + 1 :]], history.about)
    return None


@_fault("Watches")
def an_event_comes_behind_the_answer(history: History, rng: Random) -> History | None:
    for at, each in _events(history, rng):
        for behind in range(at + 1, len(history.records)):
            other = history.records[behind]
            if isinstance(other, Operation) and other.session == each.session and other.returned_ns is not None:
                records = history.records
                moved = [*records[:at], *records[at + 1 : behind + 1], each, *records[behind + 1 :]]
                return History(moved, history.about)
    return None


@_fault("Ephemerals", "Watches")
def an_ephemeral_vanishes_while_its_session_lives(history: History, rng: Random) -> History | None:
    alive = _alive(history)
    for at, each in _places(history, rng):
        if each.kind == "get" and each.seen is not None and alive.get(each.seen.owner, 0) >= each.zxid > 0:
            return _with(history, (at, replace(each, seen=None, error=NO_NODE)))
    return None


def _alive(history: History) -> dict[int, int]:
    alive: dict[int, int] = {}
    for each in history.operations:
        if each.returned_ns is not None and each.kind not in ("close", "expired"):
            alive[each.session] = max(alive.get(each.session, 0), each.zxid)
    return alive


@_fault("Ephemerals")
def an_ephemeral_outlives_its_session(history: History, rng: Random) -> History | None:
    for _, close in _places(history, rng):
        if close.kind != "close":
            continue
        for seen in (each.seen for each in history.operations if each.seen is not None and each.kind == "get"):
            if seen.owner == close.session:
                end = 1 + max(each.returned_ns or 0 for each in history.operations)
                late = Operation(9, 9, "get", f"/e{seen.owner}", end, end + 1, zxid=close.zxid, seen=seen)
                return History([*history.records, late], history.about)
    return None


@_fault("Ephemerals", "Reads")
def an_ephemeral_belongs_to_another(history: History, rng: Random) -> History | None:
    for at, each in _places(history, rng):
        if each.kind == "get" and each.seen is not None and _created(history, each.path, each.seen.czxid):
            return _with(history, (at, replace(each, seen=replace(each.seen, owner=each.seen.owner + 50))))
    return None


def _created(history: History, path: str, zxid: int) -> bool:
    creates = (each for each in history.operations if each.done and each.kind == "create")
    return any((each.path, each.zxid) == (path, zxid) for each in creates)


@_fault("Expiry")
def a_session_expires_too_early(history: History, rng: Random) -> History | None:
    for at, each in _places(history, rng):
        if each.kind != "expired":
            continue
        mine = [one for one in history.operations if one.session == each.session]
        called = [one.called_ns for one in mine if one.changes and one.returned_ns]
        if called and all(one.kind != "close" for one in mine):
            soon = max(called) + _TIMEOUT_NS // 2
            return _with(history, (at, replace(each, called_ns=soon - 1, returned_ns=soon)))
    return None


@_fault("Numbers")
def a_number_is_given_twice(history: History, rng: Random) -> History | None:
    made = [(at, each) for at, each in _places(history, rng) if each.made]
    if len(made) < 2:
        return None
    return _with(history, (made[0][0], replace(made[0][1], made=made[1][1].made)))


@_fault("Numbers")
def numbers_do_not_rise(history: History, rng: Random) -> History | None:
    made = [(at, each) for at, each in _places(history, rng) if each.made]
    if len(made) < 2:
        return None
    (one, first), (other, second) = made[:2]
    return _with(history, (one, replace(first, made=second.made)), (other, replace(second, made=first.made)))
