"""A session, as those who rely on it see it: whether it is lost, and how long it lives for certain.

**When the session is lost.** It is the leader that ends sessions, once it has not heard of one for its timeout. So what
counts is the last request that the leader had a hand in before it was answered: a write, a sync, or the greeting that
opened the session or went on with it (core.py). The leader heard of it no earlier than it was sent; from that
sending on, a timeout long, the leader does not end the session, and after that it may. From then on it is lost here,
whether or not any server can be asked (zab.md calls such clocks leases; Chubby calls the time before jeopardy). Reads
and pings do not count: a server that is cut off from the leader answers them until it notices, `syncLimit` ticks long.
Nor do errors, which may be a server's own word.

So that there is such a request, a heartbeat is sent whenever the last that counts was sent a third of the timeout ago,
reads or not: a sync, of "/", since its path means nothing to servers. Only to a server without a quorum, which has no
leader to ask and keeps a session of its own, it is a ping, and any answer counts.

*What this relies on.* Our leader counts a session as heard of with every request that a follower forwards, and answers
a sync, and a greeting, only once a quorum has confirmed that it still leads; a leader after it begins to count later.
So there it is exact, but for clocks that do not run at one speed. Apache's leader is told by a follower only in the
answer to its ping, every half a tick: of a follower that is cut off, or dies, within half a tick after it has answered
a heartbeat, the leader may know only of the one before, and end the session up to a third of the timeout before it is
lost here. The client has left that server by then (core.py says when), and learns of it from any other that it can
reach; only one that reaches none goes on believing. And an Apache leader that is itself cut off answers syncs until it
notices, which takes it about as long as it takes the others to give it up; they begin to count anew then, so that this
costs a tick or two at most. Against both only a fencing token helps.
"""

import logging
from collections.abc import Callable
from typing import NamedTuple

from .errors import SessionLostError
from .home import Process
from .stalls import Stalls

log = logging.getLogger("zabpy.client")


class Session:
    """One session, for as long as it lives; once lost it stays lost, and the client's next one is another object.

    `check`, `lost` and `time_left_ms` may be asked from any thread of the process; all else is for the client's loop.
    """

    def __init__(
        self,
        id: int,
        password: bytes,
        timeout_ms: int,
        deadline_ms: int,
        now_ms: Callable[[], int],
        read_only: bool = False,
        stalls: Stalls | None = None,
    ) -> None:
        self.id, self.password, self.timeout_ms = id, password, timeout_ms
        #: A server without a quorum made it, and no other knows it: it ends when the client finds a full server.
        self.read_only = read_only
        self.lost = False
        self.why_lost = ""
        #: A server has said that it is lost; else it may live there for a while yet.
        self.is_over = False
        #: On the client's clock: when it is lost if nothing that counts is answered before.
        self.deadline_ms = deadline_ms
        self._now_ms = now_ms
        self._stalls = stalls
        self._process = Process()
        self._on_lost: dict[object, Callable[[], None]] = {}

    def check(self) -> None:
        """Raise `SessionLostError` if it is lost, or its time is up by the clock this very moment.

        Raises:
            ForkedClientError: in a process that was forked off; the session is its parent's.
        """
        self._process.check()
        if self.lost:
            raise self._error(self.why_lost)
        now_ms = self._now_ms()
        if now_ms >= self.deadline_ms:
            raise self._error(self._why_over(now_ms))

    @property
    def time_left_ms(self) -> int:
        """Until it is lost if nothing that counts is answered before; 0 when it is."""
        return 0 if self.lost or self._process.left else max(0, self.deadline_ms - self._now_ms())

    def on_lost(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Have ``callback`` called when the session is lost, at once if it is; returns what takes that back.

        For libraries: it runs on the client's own task and may do nothing but set or cancel something.
        """
        if self.lost:
            callback()
            return lambda: None
        key = object()
        self._on_lost[key] = callback
        return lambda: (self._on_lost.pop(key, None), None)[1]

    def lose(self, why: str, *, is_over: bool = False) -> None:
        """To be called by the core."""
        self.lost, self.why_lost, self.is_over = True, why, is_over
        callbacks, self._on_lost = self._on_lost, {}
        for callback in callbacks.values():
            try:
                callback()
            except Exception:  # the others must be told all the same
                log.exception("what was to be called at the loss of session %s failed", self)

    def _why_over(self, now_ms: int) -> str:
        """What to say when the deadline has passed."""
        silent_ms = now_ms - self.deadline_ms + self.timeout_ms
        note = self._stalls.note(now_ms, self.timeout_ms) if self._stalls is not None else ""
        return f"session {self} was not heard of for {silent_ms} ms (its timeout: {self.timeout_ms} ms){note}"

    def _error(self, why: str) -> SessionLostError:
        """The error that says so."""
        error = SessionLostError(why)
        error.operation, error.session_id, error.attempt = "check", self.id, 1
        return error

    def __str__(self) -> str:
        return f"{self.id & 0xFFFFFFFFFFFFFFFF:#x}"

    def __repr__(self) -> str:
        return f"<Session {self} {'lost' if self.lost else 'alive'}>"


class Undead(NamedTuple):
    """A session that is lost here, but that servers may keep for a while yet, its ephemeral znodes with it."""

    id: int
    password: bytes

    def __str__(self) -> str:
        return f"{self.id & 0xFFFFFFFFFFFFFFFF:#x}"

    def __repr__(self) -> str:
        return f"<Undead {self}>"  # the password is nobody's business
