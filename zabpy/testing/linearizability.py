"""Linearizability: is there one order of all operations, each between call and return, that explains every answer?

    verdict = check_znode(operations)       # of one znode, which nobody has made before the first of them

The search is Wing and Gong's (1993), with Lowe's memo (2017): the next operation to be put in order is any one that was
called before the first return that is left; what has been put in order, and the state after it, is never tried twice.
Operations have numbers, a set of them is an int with a bit for each, calls and returns stand in one doubly linked list,
and steps back are taken from a stack, so the depth has no limit.

An operation whose outcome nobody knows (its connection was lost, nobody waited any longer) returns at no time: it may
have happened at any time after its call, after the last return of all, or not at all. A read without an answer says
nothing and is left out. Exponential at worst: after ``steps_max`` the search gives up, a verdict of its own.

Sees calls, answers and times, and nothing else: no zxid, no log. It shares no code with the server it judges, not even
the model of a znode (`step`), and imports nothing of ours.
"""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

#: What a znode is: None while there is none, else its data and version.
Znode = tuple[Hashable, int] | None
Kind = Literal["create", "set", "delete", "get"]
#: What was answered: done (with what `Call.seen` says), or why not.
Answer = Literal["ok", "exists", "none", "bad version"]
Outcome = Literal["ok", "violation", "gave up"]
STEPS_MAX = 2_000_000


class Call(NamedTuple):
    """One operation on one znode, as its client saw it. Times are of one clock, in any unit, and need not differ."""

    kind: Kind
    called: int
    #: None: there was no answer.
    returned: int | None
    answer: Answer | None = None
    #: Of create and set: what is written.
    data: Hashable = None
    #: Of set and delete: the version it must have; -1: any.
    version: int = -1
    #: What the answer shows: of set the version alone (None, version), of get both.
    seen: tuple[Hashable, int] | None = None


@dataclass(frozen=True)
class Verdict:
    """``order``: the operations as they can have happened, by their places in what was judged; of a violation the
    longest order that was found, after which ``stuck`` (places, too) could not come next."""

    outcome: Outcome
    order: tuple[int, ...] = ()
    stuck: tuple[int, ...] = ()
    steps: int = 0

    def __bool__(self) -> bool:
        return self.outcome == "ok"


class Impossible(Exception):  # no error: an answer about a state
    """That answer cannot be given in that state."""


def step(znode: Znode, call: Call) -> Znode:
    """The znode after this operation, which was answered as it says, or not at all.

    Raises:
        Impossible: in this state there is another answer.
    """
    if call.returned is None:
        return _unanswered(znode, call)
    match call.kind, call.answer:
        case "create", "ok" if znode is None:
            return call.data, 0
        case "create", "exists" if znode is not None:
            return znode
        case "set", "ok" if znode is not None and call.version in (-1, znode[1]):
            after = call.data, znode[1] + 1
            if call.seen is not None and call.seen[1] != after[1]:
                raise Impossible
            return after
        case "delete", "ok" if znode is not None and call.version in (-1, znode[1]):
            return None
        case "get", "ok" if znode is not None and znode == call.seen:
            return znode
        case "set" | "delete", "bad version" if znode is not None and call.version not in (-1, znode[1]):
            return znode
        case "set" | "delete" | "get", "none" if znode is None:
            return None
    raise Impossible


def _unanswered(znode: Znode, call: Call) -> Znode:
    """What it does if it comes now."""
    if call.kind == "create":
        return (call.data, 0) if znode is None else znode
    if znode is None or call.version not in (-1, znode[1]):
        return znode
    return (call.data, znode[1] + 1) if call.kind == "set" else None


class _Entry:
    """A call, or a return, in the list. ``number`` is the operation's."""

    __slots__ = ("after", "before", "call", "number", "returning")

    def __init__(self, number: int, call: Call | None) -> None:
        self.number, self.call = number, call
        self.before: _Entry | None = None
        self.after: _Entry | None = None
        #: Of a call: its return, if there is one. A return has none, and no call.
        self.returning: _Entry | None = None

    def take_out(self) -> None:
        for entry in (self, self.returning):
            if entry is not None:
                assert entry.before is not None
                entry.before.after = entry.after
                if entry.after is not None:
                    entry.after.before = entry.before

    def put_back(self) -> None:
        for entry in (self.returning, self):
            if entry is not None:
                assert entry.before is not None
                entry.before.after = entry
                if entry.after is not None:
                    entry.after.before = entry


def check_znode(calls: Sequence[Call], znode: Znode = None, steps_max: int = STEPS_MAX) -> Verdict:
    """Judge all operations on one znode, which began as ``znode``, in whatever order they are given."""
    head, known = _linked(calls)
    done, left = 0, known
    seen: set[tuple[int, Znode]] = {(0, znode)}
    stack: list[tuple[_Entry, Znode]] = []
    order: list[int] = []
    best: tuple[int, ...] = ()
    stuck: tuple[int, ...] = ()
    entry, steps = head.after, 0
    while left:
        steps += 1
        if steps > steps_max:
            return Verdict("gave up", best, stuck, steps)
        if entry is not None and entry.call is not None:
            try:
                after = step(znode, entry.call)
            except Impossible:
                entry = entry.after
                continue
            if entry.returning is None and after == znode:
                entry = entry.after  # it would change nothing: as if it came later, or never
                continue
            state = done | 1 << entry.number, after
            if state in seen:
                entry = entry.after
                continue
            seen.add(state)
            stack.append((entry, znode))
            order.append(entry.number)
            entry.take_out()
            left -= entry.returning is not None
            done, znode = state
            entry = head.after
            continue
        # Whoever returns here has no place before it: one step back.
        if len(order) > len(best) or not stuck:
            best, stuck = tuple(order), tuple(_callable(head))
        if not stack:
            return Verdict("violation", best, stuck, steps)
        entry, znode = stack.pop()
        order.pop()
        entry.put_back()
        done ^= 1 << entry.number
        left += entry.returning is not None
        entry = entry.after
    return Verdict("ok", tuple(order), (), steps)


def _linked(calls: Sequence[Call]) -> tuple[_Entry, int]:
    """The list of calls and returns by time, behind a head; and how many of them have an answer."""
    head = _Entry(-1, None)
    times: list[tuple[int, int, int, _Entry]] = []
    known = 0
    for number, call in enumerate(calls):
        if call.returned is None and call.kind == "get":
            continue
        entry = _Entry(number, call)
        # At the same time calls come first: who can be told apart by no clock may have overlapped.
        times.append((call.called, 0, number, entry))
        if call.returned is not None:
            if call.returned < call.called:
                raise ValueError(f"operation {number} returns at {call.returned}, before its call at {call.called}")
            entry.returning = _Entry(number, None)
            times.append((call.returned, 1, number, entry.returning))
            known += 1
    last = head
    for *_, entry in sorted(times, key=lambda each: each[:3]):
        last.after, entry.before = entry, last
        last = entry
    return head, known


def _callable(head: _Entry) -> Iterable[int]:
    """What could come next: all calls up to the first return."""
    entry = head.after
    while entry is not None and entry.call is not None:
        yield entry.number
        entry = entry.after
