"""Stories: what is done to an ensemble, and the trace it must leave. Data first, as in etcd's datadriven tests.

A file begins with a sentence that says what it shows. Then blocks: lines of what is done, a line of four dashes, and
the trace, up to an empty line. Everything is slow and even, so that a trace can be read: a link takes
1 ms, a disk 2 ms.

    # An entry on one disk of three is not final: the next leader may drop it, and then it must never come back.
    ensemble 3
    until leader
    ----
    3 leads epoch 1

    cut 3-1 3-2
    submit 3 x
    run 10
    ----
    3 appends 1.1:x

What can be said: `Story` has a method for each word. What is traced: who leads and follows, appends, cuts, installs and
delivers; `trace` chooses among these.
"""

from collections.abc import Callable
from typing import Any

from zabpy.model import Entry, ZabpyError, counter_of, zxid_text
from zabpy.zab.effects import Append, Deliver, Install, Phase, ReadConfirmed, Role, RoleChanged, Send, Truncate
from zabpy.zab.messages import Diff, Image, Trunc

from .process import Process
from .run import Settings
from .simulation import Simulation

#: A story that waits longer than this for something waits in vain.
WAIT_MS_MAX = 20_000


class StoryError(ZabpyError):
    """A story says what we do not understand, or waits for what does not come."""


class Block:
    """Lines to carry out, and the trace expected of them."""

    def __init__(self, number: int) -> None:
        self.number = number  # of its first line
        self.words: list[list[str]] = []
        self.expected: list[str] = []


def parse(text: str) -> list[Block]:
    blocks: list[Block] = []
    block, expecting = None, False
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip()
        if expecting and line:
            assert block is not None
            block.expected.append(line)
        elif expecting or not line:
            block, expecting = None, False
        elif line.startswith("#"):
            continue
        elif line == "----":
            if block is None:
                raise StoryError(f"line {number}: an expectation without anything done before it")
            expecting = True
        else:
            if block is None:
                block = Block(number)
                blocks.append(block)
            block.words.append(line.split())
    return blocks


def play(text: str) -> list[tuple[Block, list[str]]]:
    """Carry the story out; each block with the trace it left."""
    story = Story()
    return [(block, story.do(block)) for block in parse(text)]


def retold(text: str) -> str:
    """The story with the traces it leaves now, for a person to read and then to keep."""
    played = iter(play(text))
    lines: list[str] = []
    skipping = False
    for line in text.splitlines():
        if line.strip() == "----":
            lines += [line, *next(played)[1]]
            skipping = True
        elif not line.strip():
            skipping = False
            lines.append(line)
        elif not skipping:
            lines.append(line)
    return "\n".join(lines) + "\n"


class Story:
    """The ensemble of a story. A word ``x-y a b`` calls ``x_y("a", "b")``."""

    def __init__(self) -> None:
        self._sim: Simulation | None = None
        self._trace: list[str] = []
        self._wanted = {"roles", "appends", "cuts", "installs", "delivers", "syncs", "reads"}

    def do(self, block: Block) -> list[str]:
        self._trace = []
        for words in block.words:
            method: Callable[..., None] | None = getattr(self, "do_" + words[0].replace("-", "_"), None)
            if method is None:
                raise StoryError(f"line {block.number}: no such word: {words[0]}")
            method(*words[1:])
        return self._trace

    @property
    def sim(self) -> Simulation:
        if self._sim is None:
            raise StoryError("a story begins with `ensemble`")
        return self._sim

    # Words ------------------------------------------------------------------------------------------------------------

    def do_ensemble(self, voters: str, observers: str = "0", *more: str) -> None:
        """``ensemble 3``, ``ensemble 3 1``, and settings by name: ``recent_entries=0``."""
        settings = Settings(
            seed=1,
            voters=int(voters),
            observers=int(observers),
            latency_us=1000,
            jitter_us=0,
            spike_permille=0,
            disk_us=2000,
            disk_jitter_us=0,
            keepalive_ms=2000,
            redial_ms=10,
            replace_permille=0,
            snapshot_every=0,
            **{name: int(value) for name, value in (setting.split("=") for setting in more)},
        )
        self._sim = Traced(settings, self)
        self.sim.start()

    def do_trace(self, *kinds: str) -> None:
        self._wanted = set(kinds)

    def do_run(self, ms: str) -> None:
        self.sim.run_until(self.sim.now + int(ms) * 1000)

    def do_until(self, what: str, sid: str = "0") -> None:
        """``until established`` or ``leader`` (activated), ``until broadcast 2``, ``until quiet``: all are level."""
        for _ in range(WAIT_MS_MAX):
            if self._has_come(what, int(sid)):
                return
            self.sim.run_until(self.sim.now + 1000)
        raise StoryError(f"{what} {sid} does not come")

    def _has_come(self, what: str, sid: int) -> bool:
        processes = [self.sim.processes[s] for s in sorted(self.sim.processes)]
        if what == "leader":
            return any(p.role is Role.LEADING and p.phase is Phase.BROADCAST for p in processes)
        if what == "established":
            return any(p.role is Role.LEADING and p.phase is Phase.SYNCHRONIZATION for p in processes)
        if what == "broadcast":
            return any(p.sid == sid and p.phase is Phase.BROADCAST for p in processes)
        if what == "quiet":
            tips = {p.state.tip.zxid for p in processes} | {p.visible.zxid for p in processes}
            return all(p.phase is Phase.BROADCAST for p in processes) and len(tips) == 1
        raise StoryError(f"until what? {what}")

    def do_submit(self, sid: str, *payloads: str) -> None:
        process = self.sim.processes[int(sid)]
        if not process.replica.may_submit:
            raise StoryError(f"server {sid} may not submit")
        self.sim.submit(process, [payload.encode() for payload in payloads])

    def do_read(self, sid: str) -> None:
        self.sim.read_at(int(sid))

    def do_kill(self, *sids: str) -> None:
        for sid in sids:
            self.sim.crash(self.sim.processes[int(sid)], power=False, down_ms=10_000_000)

    def do_power_cut(self, *sids: str) -> None:
        for sid in sids:
            self.sim.crash(self.sim.processes[int(sid)], power=True, down_ms=10_000_000)

    def do_start(self, *sids: str) -> None:
        for sid in sids:
            self.sim.start_server(int(sid))

    def do_pause(self, sid: str) -> None:
        self.sim.pause(int(sid), 10_000_000)

    def do_resume(self, sid: str) -> None:
        self.sim.resume(self.sim.processes[int(sid)])

    def do_cut(self, *paths: str) -> None:
        """``cut 1->2 1-3``: one way, both ways."""
        for path in paths:
            for pair in _pairs(path):
                self.sim.network.cut(*pair)

    def do_heal(self, *paths: str) -> None:
        for path in paths:
            for pair in _pairs(path):
                self.sim.network.heal(*pair)

    def do_stall(self, sid: str, ms: str) -> None:
        """Its disk finishes nothing for a while."""
        self.sim.servers[int(sid)].disk_stalled_until = self.sim.now + int(ms) * 1000

    def do_snapshot(self, *sids: str) -> None:
        for sid in sids:
            self.sim.begin_snapshot(self.sim.processes[int(sid)])

    # The trace --------------------------------------------------------------------------------------------------------

    def saw(self, process: Process, effect: Any) -> None:
        kind, text = _told(effect)
        if kind in self._wanted:
            self._trace.append(f"{process.sid} {text}")


class Traced(Simulation):
    """A simulation that tells a story all effects it carries out."""

    def __init__(self, settings: Settings, story: Story) -> None:
        super().__init__(settings, ())
        for kind, act in list(self._do.items()):
            self._do[kind] = self._tell(story, act)

    def _tell(self, story: Story, act: Callable[[Process, Any], None]) -> Callable[[Process, Any], None]:
        def told(process: Process, effect: Any) -> None:
            story.saw(process, effect)
            act(process, effect)

        return told


def _told(effect: Any) -> tuple[str, str]:
    if isinstance(effect, RoleChanged):
        if effect.role is Role.LOOKING:
            return "roles", f"looks for a leader: {effect.why}"
        if effect.phase is Phase.BROADCAST:
            does = "leads" if effect.role is Role.LEADING else f"is {effect.role} {effect.leader} in"
            return "roles", f"{does} epoch {effect.epoch}"
    if isinstance(effect, Append):
        return "appends", "appends " + _names(effect.entries)
    if isinstance(effect, Deliver):
        return "delivers", "delivers " + _names(effect.entries)
    if isinstance(effect, Truncate):
        return "cuts", f"cuts after {zxid_text(effect.after)}"
    if isinstance(effect, Install):
        return "installs", f"installs a snapshot at {zxid_text(effect.tip.zxid)}"
    if isinstance(effect, ReadConfirmed):
        return "reads", f"confirms a read at {zxid_text(effect.zxid)}"
    if isinstance(effect, Send) and isinstance(effect.message, Diff | Trunc | Image):
        return "syncs", f"brings {effect.peer} up to date by {type(effect.message).__name__.lower()}"
    return "", ""


def _names(entries: tuple[Entry, ...]) -> str:
    return " ".join(
        zxid_text(entry.zxid) + (f":{entry.payload.decode()}" if counter_of(entry.zxid) else "") for entry in entries
    )


def _pairs(path: str) -> list[tuple[int, int]]:
    """``1->2``: that way; ``1-2``: both."""
    one_way = "->" in path
    sender, receiver = path.replace("->", "-").split("-")
    pair = int(sender), int(receiver)
    return [pair] if one_way else [pair, pair[::-1]]
