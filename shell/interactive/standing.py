"""How it stands with the ensemble, for the prompt and the toolbar: asked in the background while a prompt is shown."""

from collections.abc import Callable, Iterator
from time import monotonic

import anyio
from prompt_toolkit.formatted_text import StyleAndTextTuples

import zabpy
from zabpy.client import Client, State

from ..problems import told
from ..shell import Shell

#: Between two requests that measure how long one takes; each also tells the newest zxid.
PROBE_MS = 2_000
#: A server's role changes only while it has no clients: it is asked for on every new connection, and now and then.
ROLE_MS = 30_000
ASK_MS = 1_000
#: Longest answer to `srvr` that is looked at.
ANSWER_BYTES_MAX = 4_096


class Standing:
    """``say`` tells the person something above the prompt; ``changed`` has the prompt drawn anew."""

    def __init__(self, shell: Shell, say: Callable[[str, str], None], changed: Callable[[], None]) -> None:
        self._shell, self._say, self._changed = shell, say, changed
        self.state = State.CONNECTING
        self.role = ""
        self.latency_ms: float | None = None
        #: Only while somebody looks is anything asked.
        self.is_looked_at = True
        self._asked_role_at = 0.0
        self._problem = ""

    @property
    def has_session(self) -> bool:
        return self.state in (State.CONNECTED, State.READ_ONLY)

    async def follow(self) -> None:
        """Tell of every change, of whatever client the shell has."""
        while True:
            cluster = self._shell.cluster
            zk = cluster.zk
            if zk is None:
                self._is_away(cluster.problem)
                with anyio.move_on_after(0.5):  # another cluster may have taken its place, which nobody tells
                    await cluster.wait_changed()
            else:
                await self._follow(zk)
                with anyio.move_on_after(0.1):  # it is closed, and about to be gone
                    await cluster.wait_changed()

    def _is_away(self, problem: Exception | None) -> None:
        self.state = State.CONNECTING
        text = (told(problem) or str(problem)) if problem is not None else ""
        if text and text != self._problem:
            self._problem = text
            self._say("bad", f"no session yet: {text}")
        self._changed()

    async def _follow(self, zk: Client) -> None:
        session = None
        since, lost = monotonic(), False
        async with zk.states() as states:
            async for state in states:
                before, self.state = self.state, state
                self.role, self._asked_role_at = ("", 0.0) if state is not before else (self.role, self._asked_role_at)
                match state:
                    case State.CONNECTED | State.READ_ONLY:
                        self._problem = ""
                        kind = " (read-only: it has no quorum)" if state is State.READ_ONLY else ""
                        if lost:
                            self._say("good", f"connected to {zk.server}{kind} with a new session, {zk.session}")
                        elif before is State.JEOPARDY:
                            away = monotonic() - since
                            self._say("good", f"connected to {zk.server}{kind} again after {away:.1f} s; same session")
                        session, lost = zk.session, False
                    case State.JEOPARDY:
                        since = monotonic()
                        left = f"; session {session} has {session.time_left_ms / 1000:.1f} s left" if session else ""
                        self._say("bad", f"the connection to {zk.server} is lost{left}")
                    case State.LOST:
                        lost = True
                        self._say("bad", f"session {session} is lost, and with it its ephemeral znodes and its locks")
                    case _:
                        pass
                self._changed()
        self.state = State.CLOSED

    async def probe(self) -> None:
        """Keep role, zxid and latency up to date."""
        while True:
            zk = self._shell.cluster.zk
            if self.is_looked_at and zk is not None and self.has_session:
                began = monotonic()
                try:
                    await zk.exists("/")
                    self.latency_ms = (monotonic() - began) * 1000
                except zabpy.ZabpyError:
                    self.latency_ms = None  # its place is the state
                if not self._asked_role_at or monotonic() - self._asked_role_at > ROLE_MS / 1000:
                    self._asked_role_at = monotonic()
                    self.role = "" if self._shell.cluster.is_secure else await role_of(zk.server)
                self._changed()
            await anyio.sleep(PROBE_MS / 1000 if self._asked_role_at else 0.05)

    def toolbar(self, width: int) -> StyleAndTextTuples:
        """One line; what does not fit is left out, the least important first."""
        shown: StyleAndTextTuples = []
        facts = list(self._facts())
        if self.role and sum(len(text) + 3 for _, text in facts[:2]) > width:
            facts[0] = facts[0][0], facts[0][1].removesuffix(f" {self.role}")  # how the session does is more
        for style, text in facts:
            width -= len(text) + 3
            if width < 0:
                break
            shown += [("", " │ " if shown else " "), (f"class:toolbar.{style}" if style else "", text)]
        return shown

    def _facts(self) -> Iterator[tuple[str, str]]:
        """Styles and texts, the most important first."""
        shell, zk = self._shell, self._shell.cluster.zk
        server = zk.server if zk is not None else shell.cluster.servers
        yield "", server + (f" {self.role}" if self.role else "")
        session = zk.core.session if zk is not None else None
        if zk is None or session is None:
            yield "bad", "closed; connect begins another session" if shell.cluster.is_over else "connecting"
        else:
            left = f"{session.time_left_ms / 1000:.0f} s left"
            yield "" if self.has_session else "bad", f"{self.state.value}, {left}"
            if shell.status:
                yield "bad", f"status {shell.status}"
            if shell.rules.read_only:
                yield "", "read-only"
            if self.has_session and self.latency_ms is not None:
                yield "", f"{self.latency_ms:.1f} ms"
            yield "", f"zxid {zk.last_zxid:#x}"
            yield "", f"session {session}"


async def role_of(server: str) -> str:
    """leader, follower, observer, standalone; empty if it does not say, because it refuses the word or is silent."""
    host, _, port = server.rpartition(":")
    answer = b""
    try:
        with anyio.move_on_after(ASK_MS / 1000):
            stream = await anyio.connect_tcp(host.strip("[]"), int(port))
            async with stream:
                await stream.send(b"srvr")
                while len(answer) < ANSWER_BYTES_MAX:
                    answer += await stream.receive()
    except (OSError, ValueError, anyio.EndOfStream, anyio.BrokenResourceError):
        pass  # what there is of an answer counts
    for line in answer.decode("ascii", "replace").splitlines():
        if line.startswith("Mode: "):
            return "".join(letter for letter in line.removeprefix("Mode: ") if letter.isalnum())[:20]
    return ""
