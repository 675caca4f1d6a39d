"""Play one script on both servers; what is equal, what is not, and the shortest script that shows it."""

import struct
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from . import jute
from .known import expected
from .pair import APACHE, OURS, Heard, Line, Pair, Step

#: Stands in all paths of a script; each run puts its own name of the same length there.
ROOT = "/run-00000"
_ROOT_NAME = ROOT[1:].encode()
_STAT = struct.Struct(">qqqqiiiqiiq")
#: Behind each batch a request that always has an answer: up to there everything must have come.
_LAST = jute.EXISTS, jute.path_and_flag("/zookeeper", 0)
_CLOSES = frozenset({jute.CLOSE_SESSION, *jute.UNKNOWN})
_PING_XID = -2  # of the reply, whatever xid the ping had
_COUNTER = 0xFFFFFFFF
_FIRST_XID = 1000
#: How often a script that shows a difference is played again.
REPEATS = 4


class Difference(NamedTuple):
    step: Step | None
    theirs: object
    ours: object

    def __str__(self) -> str:
        return f"on {self.step!r}\n  Apache: {self.theirs!r}\n  zabpy:  {self.ours!r}"


class Result(NamedTuple):
    """``outcomes``: (name of the operation, error code) → how often. ``events``: type → how often. ``ours``: all that
    our server said, in order, without zxids and times."""

    differences: list[Difference]
    outcomes: Counter[tuple[str, int]]
    events: Counter[int]
    ours: list[object]


class _Batch(NamedTuple):
    session: str
    asked: dict[int, Step]  # by xid
    heard: list[Heard]


def play(pair: Pair, script: Sequence[Step]) -> Result:
    """All steps, in order: those of one session that stand next to each other are sent at once."""
    name = b"run-%05d" % pair.next_run()
    lines: dict[str, list[Line]] = {}
    sessions: list[dict[int, str]] = [{0: ""}, {0: ""}]
    batches: list[_Batch] = []
    xid = _FIRST_XID

    def exchange(session: str, steps: list[Step]) -> None:
        nonlocal xid
        if session not in lines:
            lines[session] = pair.connect()
            for owner, line in zip(sessions, lines[session]):
                owner[line.session_id] = f"session {session}"
        asked: dict[int, Step] = {}
        out = [b"", b""]
        for step in steps:
            xid += 1
            number = xid if step.xid is None else step.xid
            asked[number] = step
            for side, line in enumerate(lines[session]):
                record = step.record.replace(_ROOT_NAME, name)
                if step.seen >= 0:
                    record = jute.long(line.marks[max(0, len(line.marks) - 1 - step.seen)]) + record[8:]
                out[side] += jute.frame(number, step.op, record)
        # Apache's server may or may not find the time to answer something behind what makes it close.
        closing = any(step.op in _CLOSES or step.op not in jute.NAMES for step in steps)
        if not closing:
            xid += 1
            asked[xid] = Step(session, *_LAST)
        for side, line in enumerate(lines[session]):
            line.send(out[side] + (b"" if closing else jute.frame(xid, *_LAST)))
        heard = [line.hear(None if closing else xid) for line in lines[session]]
        heard = [Heard([frame.replace(name, _ROOT_NAME) for frame in h.frames], h.closed) for h in heard]
        batches.append(_Batch(session, asked, heard))
        if any(h.closed for h in heard):
            for line in lines.pop(session):
                line.close()

    for batch in _batches(script):
        exchange(batch[0].session, batch)
    for session in list(lines):
        exchange(session, [])  # what events have come since
    for both in lines.values():
        for line in both:
            line.close()
    return _judge(batches, sessions)


def _batches(script: Sequence[Step]) -> Iterator[list[Step]]:
    batch: list[Step] = []
    for step in script:
        if batch and (step.session != batch[0].session or step.alone or batch[-1].alone):
            yield batch
            batch = []
        batch.append(step)
    if batch:
        yield batch


def _judge(batches: list[_Batch], sessions: list[dict[int, str]]) -> Result:
    zxids = _Zxids()
    differences: list[Difference] = []
    outcomes: Counter[tuple[str, int]] = Counter()
    events: Counter[int] = Counter()
    said: list[object] = []
    #: Sessions that have not been looked at since another one was closed: its ephemerals go in any order.
    shuffled: set[str] = set()
    for session, asked, heard in batches:
        told = [[_Frame(frame, asked, owners) for frame in h.frames] for h, owners in zip(heard, sessions)]
        if any(step.op == jute.CLOSE_SESSION for step in asked.values()):
            shuffled = {batch.session for batch in batches}
        if session in shuffled:
            told = [_events_sorted(frames) for frames in told]
            shuffled.discard(session)
        said += [frame.form for frame in told[OURS]]
        for theirs, ours in zip(*told):
            step = theirs.step or ours.step
            if theirs.is_event:
                events[theirs.err] += 1
            elif step is not None:
                outcomes[jute.NAMES.get(step.op, "unknown"), theirs.err] += 1
                if step.op == jute.MULTI and theirs.err == 0:
                    outcomes.update(_parts(theirs.form[2][0]))
            if theirs.form != ours.form:
                if expected(step, theirs.form, ours.form):
                    if step is not None and step.op == jute.EXISTS:
                        return Result(
                            differences, outcomes, events, said
                        )  # one server has a watch now, and one has none
                else:
                    differences.append(Difference(step, theirs.form, ours.form))
            elif wrong := zxids.compare(theirs, ours):
                differences.append(Difference(step, *wrong))
        if len(told[APACHE]) != len(told[OURS]) or heard[APACHE].closed != heard[OURS].closed:
            ends = [([frame.form for frame in side], h.closed) for side, h in zip(told, heard)]
            last = next(iter(asked.values()))
            differences.append(Difference(last, *ends))
    return Result(differences, outcomes, events, said)


def _events_sorted(frames: list["_Frame"]) -> list["_Frame"]:
    """The events that came first, in an order that both servers have."""
    count = next((at for at, frame in enumerate(frames) if not frame.is_event), len(frames))
    return sorted(frames[:count], key=lambda frame: repr(frame.form)) + frames[count:]


def _parts(parts: list[tuple[Any, ...]]) -> Iterator[tuple[str, int]]:
    """What became of the operations of a multi: each that was done, or where it failed and how."""
    for at, (type, done, err, *_) in enumerate(parts):
        if type != -1:
            yield f"multi: {jute.NAMES[type]}", 0
        elif not done and err not in (0, -2):
            yield f"multi: at {at}", err


class _Frame:
    """One frame as it is compared: ``form``, in which zxids, times and ids of sessions have been replaced."""

    def __init__(self, frame: bytes, asked: dict[int, Step], owners: dict[int, str]) -> None:
        xid, self.zxid, self.err = struct.unpack_from(">iqi", frame)
        body = frame[16:]
        self.step = asked.get(xid)
        if xid == _PING_XID and self.step is None:
            self.step = Step("", jute.PING, b"")
        self.is_event = xid == -1 and self.step is None
        self.zxids: list[int] = []
        self._owners = owners
        form: Any = body
        if self.is_event:
            self.err, state, _ = struct.unpack_from(">iii", body)
            form = ("event", self.err, state, body[12:])
        elif self.step is not None and (self.err == 0 or (body and self.step.op == jute.MULTI_READ)):
            try:
                form = self._body(self.step.op, body)
            except (struct.error, IndexError):
                form = "not to be read", body
        self.form = (xid, self.err if not self.is_event else 0, form)

    def _body(self, op: int, body: bytes) -> tuple[Any, ...]:
        cut = _Cut(body)
        form: list[Any] = [part(self, cut) for part in _BODIES.get(op, ())]
        return (*form, cut.rest)

    def text(self, cut: "_Cut") -> bytes | None:
        return cut.text()

    def names(self, cut: "_Cut") -> list[bytes | None]:
        count = cut.integer()
        return sorted((cut.text() for _ in range(count)), key=lambda name: (name is None, name or b""))

    def identities(self, cut: "_Cut") -> list[tuple[bytes | None, bytes | None]]:
        return sorted(((cut.text(), cut.text()) for _ in range(cut.integer())), key=repr)

    def acl(self, cut: "_Cut") -> list[tuple[int, bytes | None, bytes | None]]:
        return [(cut.integer(), cut.text(), cut.text()) for _ in range(cut.integer())]

    def stat(self, cut: "_Cut") -> tuple[Any, ...]:
        fields = cut.unpack(_STAT)
        czxid, mzxid, ctime, mtime, version, cversion, aversion, owner, length, children, pzxid = fields
        self.zxids += [czxid, mzxid, pzxid]
        # Two changes may fall into one millisecond on one server and not on the other; a time cannot go back.
        times = ctime == mtime if mzxid == czxid else ctime <= mtime
        who = self._owners.get(owner, owner)
        return (czxid == 0, times, version, cversion, aversion, who, length, children)

    def parts(self, cut: "_Cut") -> list[tuple[Any, ...]]:
        found = []
        while cut.rest:
            type, done, err = cut.unpack(struct.Struct(">i?i"))
            form = [part(self, cut) for part in _BODIES.get(type, ())] if type != -1 else []
            if type == -1 and not done:
                form = [cut.integer()]
            found.append((type, done, err, *form))
        return found


class _Cut:
    """Takes one field after another from bytes."""

    def __init__(self, data: bytes) -> None:
        self.rest = data

    def unpack(self, layout: struct.Struct) -> tuple[Any, ...]:
        fields = layout.unpack_from(self.rest)
        self.rest = self.rest[layout.size :]
        return fields

    def integer(self) -> int:
        (value,) = self.unpack(struct.Struct(">i"))
        return int(value)

    def text(self) -> bytes | None:
        length = self.integer()
        if length < 0:
            return None
        value, self.rest = self.rest[:length], self.rest[length:]
        return value


_BODIES: dict[int, tuple[Callable[[_Frame, _Cut], Any], ...]] = {
    jute.CREATE: (_Frame.text,),
    jute.CREATE2: (_Frame.text, _Frame.stat),
    jute.CREATE_CONTAINER: (_Frame.text, _Frame.stat),
    jute.CREATE_TTL: (_Frame.text, _Frame.stat),
    jute.EXISTS: (_Frame.stat,),
    jute.SET_DATA: (_Frame.stat,),
    jute.SET_ACL: (_Frame.stat,),
    jute.GET_DATA: (_Frame.text, _Frame.stat),
    jute.GET_ACL: (_Frame.acl, _Frame.stat),
    jute.GET_CHILDREN: (_Frame.names,),
    jute.GET_CHILDREN2: (_Frame.names, _Frame.stat),
    jute.GET_EPHEMERALS: (_Frame.names,),
    jute.WHO_AM_I: (_Frame.identities,),
    jute.MULTI: (_Frame.parts,),
    jute.MULTI_READ: (_Frame.parts,),
}


class _Zxids:
    """Every write attempt takes one zxid, so ours and Apache's differ by one number, but for the epoch ours have.

    With one exception: Apache's server falls over a null path in a multi, and tells of that zxid with the next write.
    """

    def __init__(self) -> None:
        self._ahead: int | None = None
        self._untold = 0

    def compare(self, theirs: "_Frame", ours: "_Frame") -> tuple[object, object] | None:
        """What is wrong, if anything is."""
        pairs = list(zip(theirs.zxids, ours.zxids))
        if not theirs.is_event:  # 3.8 says -1 there, we say what 3.9 says
            pairs.append((theirs.zxid, ours.zxid))
        if theirs.step is not None and theirs.step.op == jute.MULTI and theirs.form[1:] == (-5, jute.END):
            self._untold += 1
        for a, b in pairs:
            if a <= 0 or b <= 0:
                if a != b:
                    return f"zxid {a}", f"zxid {b}"
            elif self._ahead is None:
                self._ahead = (b & _COUNTER) - a
            elif (b & _COUNTER) - a == self._ahead:
                if a == theirs.zxid:
                    self._untold = 0
            elif (b & _COUNTER) - a != self._ahead + self._untold:
                return f"zxid {a}", f"zxid {b:#x}, expected to end in {a + self._ahead:#x}"
        return None


def show(script: Sequence[Step]) -> str:
    """As Python, to be put into a test."""
    lines = []
    for step in script:
        more = "".join(
            f", {name}={value!r}"
            for name, value, usual in zip(Step._fields[3:], step[3:], Step("", 0, b"")[3:])
            if value != usual
        )
        made = f"bytes.fromhex({step.record.hex()!r})"
        lines.append(f"    Step({step.session!r}, {step.op}, {made}{more}),  # {step.record[:50]!r}")
    return "\n".join(lines)


def shrunk(pair: Pair, script: Sequence[Step], seconds: float = 20) -> list[Step]:
    """A shorter script that still shows a difference: halves, quarters, … are left out as long as one is left."""
    end = time.monotonic() + seconds
    steps = list(script)
    size = max(1, len(steps) // 2)
    while time.monotonic() < end:
        at = 0
        before = len(steps)
        while at < len(steps) and time.monotonic() < end:
            fewer = steps[:at] + steps[at + size :]
            if fewer and play(pair, fewer).differences:
                steps = fewer
            else:
                at += size
        if size == 1 and len(steps) == before:
            break
        size = max(1, size // 2)
    return steps


def check(pair: Pair, script: Sequence[Step], what: str) -> Result:
    """Play it; on a difference, fail with the shortest script found that shows one.

    Not if the difference is gone when it is played again, while our server says the very same: then it is Apache's
    server whose answer hangs on how its threads meet. Two cases are known: a transaction of its own that comes first or
    last, and a multi that fails on a request behind it in the pipeline, after which a znode now and then counts one
    creation more than there were (seed 50030).

    Raises:
        AssertionError: the servers answered differently.
    """
    result = play(pair, script)
    for _ in range(REPEATS if result.differences else 0):
        again = play(pair, script)
        if not again.differences and again.ours == result.ours:
            print(f"{what}: Apache's server answers it now so, now otherwise: {result.differences[0]}")
            return again
    if result.differences:
        short = shrunk(pair, script)
        shown = play(pair, short).differences or result.differences
        raise AssertionError(
            f"{what}: {shown[0]}\nscript:\n{show(short)}\nall in the whole script: {len(result.differences)}"
        )
    return result
