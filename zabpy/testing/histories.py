"""What clients did and saw, as they wrote it down: what linearizability.py and history_checks.py judge.

A `History` is a list of facts in the order in which they came to be known: an `Operation` when its answer came or was
given up, an `Event` when it arrived. So of one session the order is the order of arrival. As a file it is one JSON
object a line, the first of which says what the run was; `read` makes the same history of it, to be judged again.

Times are nanoseconds of one monotonic clock. Codes and stamps (zxids) are ZooKeeper's.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from .linearizability import STEPS_MAX, Answer, Call, Verdict, check_znode

Kind = Literal["create", "set", "delete", "get", "close", "expired"]

NO_NODE, BAD_VERSION, NODE_EXISTS = -101, -103, -110
_ANSWERS: dict[int, Answer] = {0: "ok", NO_NODE: "none", BAD_VERSION: "bad version", NODE_EXISTS: "exists"}
FORMAT = 1


@dataclass(frozen=True, slots=True)
class Seen:
    """What an answer shows of a znode; ``data`` of a get alone. ``owner`` is a session, 0 for a znode that stays."""

    version: int
    czxid: int
    mzxid: int
    data: str = ""
    owner: int = 0


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation of one client: its call and its answer.

    ``close`` is the end of a session at its client's wish, ``expired`` what a client is told that comes back too late:
    it has no stamp.
    """

    client: int
    session: int
    kind: Kind
    path: str
    called_ns: int
    #: None: there was no answer; it may have happened or not, and ``error``, ``zxid`` and ``seen`` mean nothing.
    returned_ns: int | None = None
    #: 0: done.
    error: int = 0
    #: The stamp of the answer: what the server had applied that gave it.
    zxid: int = 0
    data: str = ""
    version: int = -1
    seen: Seen | None = None
    #: A get behind a sync of the same client, called when that was: it is linearizable, a plain one need not be.
    synced: bool = False
    #: A get that leaves a watch.
    watch: bool = False
    #: A create of a znode that goes with its session.
    ephemeral: bool = False
    #: Of a create with a number: the path that was made.
    made: str = ""

    @property
    def done(self) -> bool:
        return self.returned_ns is not None and not self.error

    @property
    def changes(self) -> bool:
        return self.kind in ("create", "set", "delete")

    def __str__(self) -> str:
        """For people who look for what went wrong."""
        when = f"{self.called_ns / 1e6:.3f}-{'?' if self.returned_ns is None else f'{self.returned_ns / 1e6:.3f}'} ms"
        asked = f"{'synced ' * self.synced}{self.kind} {self.path}"
        if self.changes:
            asked += f" {self.data!r} if {self.version}"
        answer = "no answer" if self.returned_ns is None else f"{self.error} {self.seen or self.made} at {self.zxid:#x}"
        return f"{when} client {self.client} session {self.session:#x}: {asked} -> {answer}"


@dataclass(frozen=True, slots=True)
class Event:
    """A watch fired, and the client heard of it."""

    client: int
    session: int
    path: str
    at_ns: int


Record = Operation | Event


@dataclass
class History:
    records: list[Record] = field(default_factory=list)
    #: What the run was: seed, number, faults, ...; for people.
    about: dict[str, Any] = field(default_factory=dict)

    @property
    def operations(self) -> Iterator[Operation]:
        return (each for each in self.records if isinstance(each, Operation))

    def write(self, path: Path) -> None:
        lines = [{"format": FORMAT, **self.about}]
        for record in self.records:
            given = asdict(record)
            kept = {each.name: given[each.name] for each in fields(record) if given[each.name] != each.default}
            lines.append({"is": type(record).__name__.lower(), **kept})
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def read(path: Path) -> History:
    """Raises ValueError: it is not such a file."""
    first, *lines = path.read_text().splitlines() or [""]
    about = json.loads(first or "{}")
    if about.pop("format", None) != FORMAT:
        raise ValueError(f"{path}: expected a history of format {FORMAT}")
    return History([_record(json.loads(line)) for line in lines], about)


def _record(given: dict[str, Any]) -> Record:
    if given.pop("is") == "event":
        return Event(**given)
    if given.get("seen") is not None:
        given["seen"] = Seen(**given["seen"])
    return Operation(**given)


def calls_of(operations: Iterable[Operation]) -> dict[str, list[tuple[Operation, Call]]]:
    """What a linearizability checker may see of these, by znode. Znodes that are numbered or belong to a session are
    left out (others end them, too), and so are plain gets."""
    operations = list(operations)
    apart = {each.path for each in operations if each.ephemeral or each.made}
    found: dict[str, list[tuple[Operation, Call]]] = {}
    for each in operations:
        if each.path in apart or not (each.changes or (each.kind == "get" and each.synced)):
            continue
        found.setdefault(each.path, []).append((each, _call(each)))
    return found


def _call(each: Operation) -> Call:
    kind = each.kind
    assert kind in ("create", "set", "delete", "get")
    if each.returned_ns is None:
        return Call(kind, each.called_ns, None, None, each.data, each.version)
    if each.error not in _ANSWERS:
        raise ValueError(f"{each}: no answer of the model is {each.error}")
    seen = None
    if each.seen is not None and kind in ("set", "get"):
        seen = (each.seen.data if kind == "get" else None), each.seen.version
    return Call(kind, each.called_ns, each.returned_ns, _ANSWERS[each.error], each.data, each.version, seen)


def linearizable(history: History, steps_max: int = STEPS_MAX) -> dict[str, Verdict]:
    """By znode, each of which nobody has made before the history."""
    calls = calls_of(history.operations)
    return {path: check_znode([call for _, call in calls[path]], None, steps_max) for path in sorted(calls)}


def told(history: History, path: str, verdict: Verdict) -> str:
    """Of a violation: the end of the longest order that explains what was seen, and what cannot come next."""
    operations = [operation for operation, _ in calls_of(history.operations)[path]]
    lines = [f"{path}: {verdict.outcome} after {verdict.steps} steps; in order:"]
    lines += [f"  {operations[number]}" for number in verdict.order[-8:]]
    lines += ["and none of these can be next:", *(f"  {operations[number]}" for number in verdict.stuck)]
    return "\n".join(lines)
