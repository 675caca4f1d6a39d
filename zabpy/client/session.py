"""One client's sessions without I/O: what is in flight, when a heartbeat is due, when a link or the session is lost.

`Core` is told what happens (a link opened, bytes came, the link ended, time went by) and says what to send and when it
wants to be woken. Time is handed in, in ms of any clock that only goes forward.

**When the session is lost.** It is the leader that ends sessions, once it has not heard of one for its timeout. So what
counts is the last request that the leader had a hand in before it was answered: a write, a sync, or the greeting that
opened the session or went on with it (`THROUGH_LEADER`). The leader heard of it no earlier than it was sent; from that
sending on, a timeout long, the leader does not end the session, and after that it may. From then on it is lost here,
whether or not any server can be asked (zab.md calls such clocks leases; Chubby calls the time before jeopardy). Reads
and pings do not count: a server that is cut off from the leader answers them until it notices, `syncLimit` ticks long.
Nor do errors, which may be a server's own word.

So that there is such a request, a heartbeat is sent whenever the last that counts was sent a third of the timeout ago,
reads or not: a sync, of "/", since its path means nothing to servers. Only to a server without a quorum, which has no
leader to ask and keeps a session of its own, it is a ping, and any answer counts.

*What this relies on.* Our leader counts a session as heard of with every request that a follower forwards, and confirms
a sync with a quorum; so there it is exact, but for clocks that do not run at one speed. Apache's leader is told by a
follower only in the answer to its ping, every half a tick: of a follower that is cut off, or dies, within half a tick
after it has answered a heartbeat, the leader may know only of the one before, and end the session up to a third of the
timeout before it is lost here. The client has left that server by then (see below), and learns of it from any other
that it can reach; only one that reaches none goes on believing. And an Apache leader that is itself cut off answers
syncs until it notices, which takes it about as long as it takes the others to give it up; they begin to count anew
then, so that this costs a tick or two at most. Against both only a fencing token helps.

**When a server is left.** When it says nothing for two thirds of the timeout, though something is awaited. When two
thirds are over since the last request that counts, and the one that is to be answered next is such a one (answers come
in order): it cannot reach the leader, and the third that is left is for finding one that can. When five sixths are over
and it is busy with answering others: then the reason may as well be that we have asked for much. After a time in which
the client itself was not run, what has come meanwhile is read first.

**What is sent.** At most `CALLS_MAX` requests and `BYTES_MAX` bytes are in flight; further ones wait in line, each in
the task that asks it, so there are never more than tasks. A server that is kept busy by us so still answers in time.

Whatever bytes come from a server: nothing is raised for them, the link is given up with a reason in `link_broken`.
"""

import enum
import logging
from collections import deque
from collections.abc import Callable, Sequence
from copy import copy
from struct import Struct
from typing import Any, NamedTuple

from zabpy.model import AuthFailedError, SessionExpiredError, SessionMovedError, ZabpyError
from zabpy.wire import FrameBuffer, FrameError, Op, Reader, frame, packed, records as r

from .errors import (
    ClosedClientError,
    ConnectionLossError,
    NoServerError,
    ProtocolError,
    ReplyTooLargeError,
    SessionLostError,
    about,
    error_of,
)
from .home import Process
from .sasl import Exchange, Sasl
from .stalls import Stalls
from .states import State
from .watches import OneShot, Watch, WatchTable

log = logging.getLogger("zabpy.client")

XID_MAX = 2**31 - 1
NOTIFICATION, PING, AUTH = -1, -2, -4
NEW_PASSWORD = bytes(16)
#: What a server answers that enforces SASL, to whoever has not logged in.
SASL_REQUIRED = -124
#: A new credential on which so many connections have ended without an answer is not sent again.
CREDENTIAL_TRIES = 3
#: Most that a server may send in one frame: no limit of the protocol, but a length word of nonsense must not hang us.
REPLY_BYTES_MAX = 64 * 1024 * 1024
#: The first answer has 37 bytes; newer servers may append to it.
GREETING_BYTES_MAX = 1024
#: What may be in flight at once; see above. One request is always allowed.
CALLS_MAX = 1_000
BYTES_MAX = 4 * 1024 * 1024
#: So many connections may break under one call: what breaks more is likely the call itself, or its answer.
ATTEMPTS_MAX = 10
#: Sessions that were given up and may live at the servers; the oldest is forgotten for one more.
UNDEAD_MAX = 8

#: Successful answers to these say that the leader has heard of the session since the request was sent. The session's
#: own end is not among them: nothing counts after that.
THROUGH_LEADER = frozenset(
    {
        Op.CREATE, Op.CREATE2, Op.CREATE_CONTAINER, Op.CREATE_TTL, Op.DELETE, Op.SET_DATA, Op.SET_ACL, Op.MULTI,
        Op.RECONFIG, Op.SYNC,
    }
)  # fmt: skip
#: Of a heartbeat; see above.
SYNC_ROOT = packed(r.SyncRequest("/"))

REQUEST_HEADER = Struct(">iii")  # length, xid, opcode
REPLY_HEADER = Struct(">iqi")  # xid, zxid, error
LENGTH = Struct(">i")


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


class Call:
    """One request and, later, its outcome: ``reply`` or ``error``, once ``done``.

    Args:
        read: makes the reply of what follows the header; None if nothing is wanted of it.
        session: the only one it may be sent in.
        again: it is harmless to send it again when the connection broke before the answer.
        of_link: it means something on this connection only, and nobody minds if it is not answered.
        attempt: the how manieth time the operation is tried.
    """

    __slots__ = (
        "opcode", "body", "read", "operation", "path", "session", "watch", "again", "of_link", "attempt",
        "xid", "since_ms", "sent", "done", "reply", "error", "zxid", "server", "wake",
    )  # fmt: skip

    def __init__(
        self,
        opcode: int,
        body: bytes,
        read: Callable[[Reader], Any] | None,
        operation: str,
        path: str | None,
        *,
        session: Session | None = None,
        watch: Watch | None = None,
        again: bool = False,
        of_link: bool = False,
        attempt: int = 1,
    ) -> None:
        self.opcode, self.body, self.read = opcode, body, read
        self.operation, self.path = operation, path
        self.session, self.watch = session, watch
        self.again, self.of_link, self.attempt = again, of_link, attempt
        self.xid = 0
        self.since_ms: int | None = None  # when it began to wait for a connection
        self.sent = self.done = False
        self.reply: Any = None
        self.error: ZabpyError | None = None
        self.zxid = 0
        self.server = ""
        self.wake: Callable[[], None] | None = None


class Credential:
    """An identity that a connection is given: what `add_auth` sends. ``call``: who waits for the answer."""

    __slots__ = ("scheme", "secret", "call", "sent_times")

    def __init__(self, scheme: str, secret: bytes, call: Call | None) -> None:
        self.scheme, self.secret, self.call = scheme, secret, call
        self.sent_times = 0


class Undead(NamedTuple):
    """A session that is lost here, but that servers may keep for a while yet, its ephemeral znodes with it."""

    id: int
    password: bytes

    def __str__(self) -> str:
        return f"{self.id & 0xFFFFFFFFFFFFFFFF:#x}"

    def __repr__(self) -> str:
        return f"<Undead {self}>"  # the password is nobody's business


class Link(enum.Enum):
    DOWN = "down"
    GREETING = "greeting"  # the handshake is under way
    LOGIN = "login"  # there is a session, and we say who we are: nothing else is sent
    UP = "up"


class Core:
    """See above. Everything is a plain call."""

    def __init__(
        self,
        *,
        session_timeout_ms: int,
        unsent_timeout_ms: int,
        read_only: bool,
        sasl: Sasl | None = None,
        now_ms: Callable[[], int],
        on_state: Callable[[State], None],
        tried: Callable[[], Sequence[tuple[str, str]]],
    ) -> None:
        """``unsent_timeout_ms``: how long a call waits for a connection. ``tried``: why no server would do."""
        self.session_timeout_ms, self.read_only, self._sasl = session_timeout_ms, read_only, sasl
        self._unsent_timeout_ms, self._tried = unsent_timeout_ms, tried
        self.now_ms = now_ms
        self._on_state = on_state
        self.state = State.CONNECTING
        self.session: Session | None = None
        self.link = Link.DOWN
        self.server = ""
        self.server_read_only = False
        #: Of the answers to requests; never of pings and notifications, which may be ahead of them (as in Java).
        self.last_zxid = 0
        #: The newest that an event told of.
        self.event_zxid = 0
        self.watches = WatchTable(self._tell)
        #: Why the link must go, once it must; the driver closes it.
        self.link_broken = ""
        #: Why no server will ever do, once that is so: every call fails with it.
        self.failure: ZabpyError | None = None
        #: Sent on every connection. Those from the settings, and each that a server has accepted.
        self.credentials: list[Credential] = []
        self._new_credentials: list[Credential] = []  # not sent yet, or sent and not answered
        #: To be ended at the servers by the driver, which takes out what is gone.
        self.undead: deque[Undead] = deque(maxlen=UNDEAD_MAX)
        self.stalls = Stalls(0)
        self._xid = 0
        self._greeting = b""  # what has come of it
        self._frames = FrameBuffer(REPLY_BYTES_MAX)
        self._queue: deque[Call] = deque()  # not sent yet
        self._given_up = 0  # so many of the queue nobody waits for any more
        self._in_flight: deque[Call] = deque()
        self._bytes_in_flight = 0
        self._auths: deque[Credential] = deque()  # sent, in order
        self._out: list[bytes] = []
        self._marks: deque[list[int]] = deque()  # [how many calls were sent with it, when], oldest first
        self._fresh = 0  # calls put into _out since the last take
        self._pings: deque[int] = deque()
        self._heard_at_ms = self._said_at_ms = 0
        self._greeted_at_ms = self._up_by_ms = 0
        self._beat_at_ms = 0  # when the last heartbeat was sent over this link
        self._excused_until_ms = 0  # the client was not run: what came meanwhile is read before a server is left
        self._closing = False
        self._session_changed = False
        self._leaving = ""

    # The link ---------------------------------------------------------------------------------------------------------

    def open_link(self, server: str, now_ms: int, up_by_ms: int | None = None) -> None:
        """A connection to this server is there: greet. ``up_by_ms``: when it is of no use if it is not up by then."""
        assert self.link is Link.DOWN
        self.link, self.server, self.link_broken, self._leaving = Link.GREETING, server, "", ""
        self._up_by_ms = now_ms + self.session_timeout_ms if up_by_ms is None else up_by_ms
        self._greeting, self._frames = b"", FrameBuffer(REPLY_BYTES_MAX)
        self._greeted_at_ms = self._heard_at_ms = self._said_at_ms = self._beat_at_ms = now_ms
        session = self.session if self.session and not self.session.read_only else None
        greeting = r.ConnectRequest(
            0,
            # What an event told of is to be found on the next server, too. Watches are renewed by the answers alone:
            # of the events of one transaction some may be lost with the link.
            max(self.last_zxid, self.event_zxid),
            self.session_timeout_ms,
            session.id if session else 0,
            session.password if session else NEW_PASSWORD,
            self.read_only,
        )
        self._out.append(frame(packed(greeting)))

    def close_link(self, why: str, now_ms: int) -> None:
        """The connection is gone. What was sent and not answered is of unknown outcome: it fails, or is sent again
        where that does no harm. The rest waits for the next connection."""
        if self.link is Link.DOWN:
            return
        self.link_broken = self.link_broken or why
        was_up, self.link = self.link is Link.UP, Link.DOWN
        session = self.session
        timeout_ms = session.timeout_ms if session is not None else self.session_timeout_ms
        why = self.link_broken = self.link_broken + self.stalls.note(now_ms, timeout_ms)
        in_flight, unsent = self._reset_link()
        for credential in [each for each in self._new_credentials if each.sent_times >= CREDENTIAL_TRIES]:
            self._new_credentials.remove(credential)
            self._fail_credential(credential, ConnectionLossError(f"{self.server} closed the connection on it: {why}"))
        back: list[Call] = []
        for call in in_flight:
            if call.again and call.attempt < ATTEMPTS_MAX and not call.done:
                call.sent = False
                call.attempt += 1
                back.append(call)
            else:
                self._fail(call, ConnectionLossError(f"connection to {self.server} lost before the answer: {why}"))
        self._queue.extendleft(call for call in reversed([*back, *unsent]) if not call.done)
        for call in self._queue:
            if call.since_ms is None:
                call.since_ms = now_ms
        if session is not None:
            if was_up and not self._closing:
                left_ms = max(0, session.deadline_ms - now_ms)
                log.warning("connection to %s lost: %s; session %s has %d ms left", self.server, why, session, left_ms)
            self._become(State.JEOPARDY)
        self.tick(now_ms)

    def receive(self, data: bytes, now_ms: int) -> None:
        """These bytes came. If they are nonsense, `link_broken` says so."""
        self._heard_at_ms = now_ms
        if self.session is not None and now_ms >= self.session.deadline_ms:
            self.tick(now_ms)  # it was lost already, and somebody may have been told: no answer brings it back
            return
        try:
            # A greeting that named a session which was lost since is answered in vain, too: its link is broken.
            if self.link is Link.GREETING and not self.link_broken:
                data = self._greeted(data)
            if self.link is not Link.GREETING and not self.link_broken:
                self._replies(data)
            if self._leaving and not self._in_flight and not self._auths:
                self.link_broken = self.link_broken or self._leaving
        except ZabpyError as error:
            self.link_broken = self.link_broken or f"{self.server} talks nonsense: {error}"
        except Exception as error:  # our own bug, or what no record should hold; the next link may do better
            log.exception("what %s sent could not be taken in", self.server)
            self.link_broken = self.link_broken or f"{self.server} sent what cannot be taken in: {error!r}"
        else:
            if self._queue:
                self._send_waiting()

    def take(self, now_ms: int) -> bytes:
        """All that is to be sent now. It counts as sent."""
        out = self._out
        if not out:
            return b""
        data = out[0] if len(out) == 1 else b"".join(out)
        out.clear()
        self._said_at_ms = now_ms
        if self._fresh:
            self._marks.append([self._fresh, now_ms])
            self._fresh = 0
        return data

    @property
    def has_output(self) -> bool:
        """Whether `take` would give something."""
        return bool(self._out)

    @property
    def only_one(self) -> bool:
        """Whether `take` would give one request, and no other is in flight."""
        return self._fresh == 1 == len(self._in_flight)

    def _reset_link(self) -> tuple[deque[Call], list[Call]]:
        """Nothing is in flight any more: what was, and what was put together but never handed to the driver."""
        self._out.clear()
        self._marks.clear()
        self._pings.clear()
        in_flight, self._in_flight = self._in_flight, deque()
        unsent = [in_flight.pop() for _ in range(self._fresh)][::-1]
        unsent = [call for call in unsent if not call.of_link and not call.done]
        for call in unsent:
            call.sent = False
        self._fresh = self._bytes_in_flight = 0
        self._auths.clear()
        return in_flight, unsent

    # Time -------------------------------------------------------------------------------------------------------------

    def tick(self, now_ms: int) -> None:
        """Do what is due: give the session up, leave the server, send a heartbeat."""
        session = self.session
        if session is not None and now_ms >= session.deadline_ms:
            if not session.read_only:
                self.undead.append(Undead(session.id, session.password))
            self._lose(session._why_over(now_ms))
            if self.link is not Link.DOWN:
                self.link_broken = self.link_broken or "the session's time was up"
        if self.link is not Link.UP:
            self._expire_waiting(now_ms)
        for credential in [each for each in self._new_credentials if self._is_overdue(each, now_ms)]:
            self._new_credentials.remove(credential)
            self._fail_credential(credential, self.no_server(self._unsent_timeout_ms))
        if self.link is Link.DOWN or self.link_broken:
            return
        timeout_ms = session.timeout_ms if session else self.session_timeout_ms
        silent_ms = now_ms - self._heard_at_ms
        if self.link is not Link.UP and now_ms >= self._up_by_ms:
            did = "did not greet" if self.link is Link.GREETING else "did not end the login"
            self.link_broken = f"it took the connection, but {did} within {now_ms - self._greeted_at_ms} ms"
        elif silent_ms >= timeout_ms * 2 // 3 and self._awaited:
            self.link_broken = f"it said nothing for {silent_ms} ms"
        elif self._leave_at_ms is not None and now_ms >= self._leave_at_ms:
            assert session is not None
            since_ms = now_ms - (session.deadline_ms - timeout_ms)
            what = "that its leader has to answer" if self._awaits_leader else "of what was sent"
            self.link_broken = f"it answered nothing {what} in the last {since_ms} ms"
        elif self._beats_at_ms is not None and now_ms >= self._beats_at_ms:
            self._beat(now_ms)

    @property
    def _awaits_leader(self) -> bool:
        """Whether the next answer is one that counts."""
        return bool(self._in_flight) and self._in_flight[0].opcode in THROUGH_LEADER and not self.server_read_only

    @property
    def _leave_at_ms(self) -> int | None:
        """When this server is given up though it talks: some other may do better in the time that is left."""
        session = self.session
        if self.link is not Link.UP or session is None or not self._awaited:
            return None
        left_ms = session.timeout_ms // (3 if self._awaits_leader else 6)
        return max(session.deadline_ms - left_ms, self._excused_until_ms)

    @property
    def _beats_at_ms(self) -> int | None:
        """When a heartbeat is due."""
        session = self.session
        if self.link is not Link.UP or session is None or self._leaving:
            return None
        if self.server_read_only:
            return self._said_at_ms + session.timeout_ms // 3
        counted_ms = session.deadline_ms - session.timeout_ms
        return max(counted_ms, self._beat_at_ms) + session.timeout_ms // 3

    def _beat(self, now_ms: int) -> None:
        self._beat_at_ms = now_ms
        if self.server_read_only:
            self._pings.append(now_ms)
            self._said_at_ms = now_ms
            self._out.append(frame(packed(r.RequestHeader(PING, Op.PING))))
        else:
            self._send(Call(Op.SYNC, SYNC_ROOT, None, "heartbeat", None, of_link=True))

    def stalled(self, late_ms: int, suspended_ms: int, now_ms: int) -> None:
        """The driver was not run for so long. What the server said meanwhile is still to be read: it was not silent."""
        self._heard_at_ms = min(now_ms, self._heard_at_ms + late_ms)
        self._excused_until_ms = now_ms + self.beat_ms
        timeout_ms = self.session.timeout_ms if self.session else self.session_timeout_ms
        level = logging.WARNING if late_ms >= timeout_ms // 3 else logging.DEBUG
        log.log(
            level,
            "the client was not scheduled for %d ms: %s",
            late_ms,
            "the machine was suspended" if suspended_ms * 2 >= late_ms else "something blocks the event loop",
        )

    @property
    def wake_at_ms(self) -> int | None:
        """When `tick` is due at the latest; None: not before something else happens."""
        session = self.session
        timeout_ms = session.timeout_ms if session else self.session_timeout_ms
        due = [session.deadline_ms] if session else []
        if self._queue and self.link is not Link.UP:
            self._drop_given_up()
            if self._queue:
                since_ms = self._queue[0].since_ms
                due.append((self.now_ms() if since_ms is None else since_ms) + self._unsent_timeout_ms)
        due += [
            (each.call.since_ms or 0) + self._unsent_timeout_ms
            for each in self._new_credentials
            if each.call is not None and each not in self._auths
        ]
        if self.link is Link.UP:
            due += [each for each in (self._beats_at_ms, self._leave_at_ms) if each is not None]
        elif self.link is not Link.DOWN:
            due.append(self._up_by_ms)
        if self._awaited:
            due.append(self._heard_at_ms + timeout_ms * 2 // 3)
        return min(due) if due else None

    @property
    def beat_ms(self) -> int:
        """`tick` is to be called at least this often, so that a clock that was ahead of the loop's is noticed."""
        timeout_ms = self.session.timeout_ms if self.session else self.session_timeout_ms
        return min(1_000, max(50, timeout_ms // 10))

    @property
    def _awaited(self) -> bool:
        return bool(self._in_flight or self._pings or self._auths)

    def _expire_waiting(self, now_ms: int) -> None:
        while self._queue:
            call = self._queue[0]
            if not call.done:
                if call.since_ms is None:
                    call.since_ms = now_ms
                if now_ms - call.since_ms < self._unsent_timeout_ms:
                    return
                self._fail(call, self.no_server(self._unsent_timeout_ms))
            else:
                self._given_up -= 1
            self._queue.popleft()

    # Calls ------------------------------------------------------------------------------------------------------------

    def submit(self, call: Call) -> None:
        """Send it now, or once there is a connection, or room. Fails it at once if its session is over."""
        session = call.session
        if self.failure is not None:
            self._fail(call, copy(self.failure))
        elif session is not None and session is not self.session:
            self._fail(call, SessionLostError(session.why_lost or "the session is over"))
        elif self._closing and call.opcode != Op.CLOSE_SESSION:
            self._fail(call, ClosedClientError("the client is closing"))
        elif not self._queue and self._takes_calls and self._has_room(call):
            self._send(call)
        else:
            if self.link is not Link.UP:
                call.since_ms = self.now_ms()
            self._queue.append(call)

    def give_up(self, call: Call) -> None:
        """Nobody waits for it any more. If it was not sent, it will not be; nor does its watch wait for anything."""
        call.wake = None
        if call.watch is not None:
            self.watches.forget(call.watch)
            if not isinstance(call.watch, OneShot):  # that of a read stands at the server once it is answered
                call.watch = None
        if call.done:
            return
        call.done = True
        if any(each.call is call for each in self._new_credentials):
            self._new_credentials = [each for each in self._new_credentials if each.call is not call or call.sent]
        elif not call.sent:
            # It is left where it is, since finding it takes as long as the queue is. Half of a queue may be such.
            self._given_up += 1
            if self._given_up * 2 > len(self._queue):
                self._queue = deque(call for call in self._queue if not call.done)
                self._given_up = 0

    def close(self, call: Call) -> None:
        """Ask for the session's end; ``call`` is a closeSession. Nothing else is taken from here on."""
        self._closing = True
        self.submit(call)

    def end(self) -> None:
        """The client is closed: nothing more will come."""
        self._closing = True
        if self.session is not None:
            session, self.session = self.session, None
            session.lose("the client was closed")
        self.watches.end(ClosedClientError("the client was closed"))
        in_flight, unsent = self._reset_link()
        queue, self._queue, self._given_up = self._queue, deque(), 0
        for call in in_flight:
            self._fail(
                call, ClosedClientError("the client was closed before the answer: it may have been done, or not")
            )
        waiting = [each.call for each in self._new_credentials if each.call is not None]
        self._new_credentials.clear()
        for call in (*unsent, *queue, *waiting):
            self._fail(call, ClosedClientError("the client was closed before it was done"))
        self._become(State.CLOSED)

    def fail(self, error: ZabpyError) -> None:
        """No server will ever do: everything that waits fails with this error, and whatever is asked from now on."""
        if self.failure is not None:
            return
        log.error("the client gives up: %s", error)
        self.failure = error
        self.link_broken = self.link_broken or str(error)
        if self.session is not None:
            self._lose(f"no server will do any more: {error}")
        self.watches.end(error)
        queue, self._queue, self._given_up = self._queue, deque(), 0
        waiting = [each.call for each in self._new_credentials if each.call is not None]
        self._new_credentials.clear()
        for call in (*queue, *waiting):
            self._fail(call, copy(error))
        self._become(State.CLOSED)

    def leave(self, why: str) -> None:
        """Go to another server, once what was asked of this one is answered; what is asked from now on waits."""
        if self.link is Link.UP and not self._leaving:
            self._leaving = why
            if not self._in_flight and not self._auths:
                self.link_broken = self.link_broken or why

    def add_auth(self, call: Call, scheme: str, secret: bytes) -> None:
        """One more identity, now and, once it was accepted, on every later connection; ``call`` is told."""
        if self.failure is not None:
            self._fail(call, copy(self.failure))
            return
        call.since_ms = self.now_ms()
        credential = Credential(scheme, secret, call)
        self._new_credentials.append(credential)
        is_telling = self.link is Link.LOGIN and bool(self._auths) and not self.link_broken
        if self._takes_calls or is_telling:  # else it goes with the others, once the next login begins with them
            self._send_credential(credential)

    def no_server(self, within_ms: int) -> NoServerError:
        """Says which servers were tried, and why none would do."""
        tried = tuple(self._tried())
        why = "; ".join(f"{server}: {reason}" for server, reason in tried) or "none has been tried yet"
        return NoServerError(f"no server within {within_ms} ms: {why}", tried)

    @property
    def _takes_calls(self) -> bool:
        return self.link is Link.UP and not self.link_broken and not self._leaving

    def _has_room(self, call: Call) -> bool:
        calls = len(self._in_flight)
        return calls == 0 or (calls < CALLS_MAX and self._bytes_in_flight + len(call.body) <= BYTES_MAX)

    def _send_waiting(self) -> None:
        if not self._takes_calls:
            return
        while self._queue:
            call = self._queue[0]
            if call.done:
                self._given_up -= 1
            elif self._has_room(call):
                self._send(call)
            else:
                return
            self._queue.popleft()

    def _drop_given_up(self) -> None:
        while self._queue and self._queue[0].done:
            self._queue.popleft()
            self._given_up -= 1

    def _send(self, call: Call) -> None:
        self._xid = xid = self._xid + 1 if self._xid < XID_MAX else 1
        call.xid, call.sent, call.server = xid, True, self.server
        if call.watch is not None:
            call.body = self.watches.sending(call.watch, call.body)
        body = call.body
        self._in_flight.append(call)
        self._bytes_in_flight += len(body)
        self._fresh += 1
        self._out.append(REQUEST_HEADER.pack(8 + len(body), xid, call.opcode) + body)

    def _tell(self, opcode: int, body: bytes, watch: Watch | None) -> None:
        """What the watches have to say to this link's server, before anything that is sent later."""
        if self._takes_calls and not self._closing:
            self._send(Call(opcode, body, None, "watch", None, watch=watch, of_link=True))

    def _send_credential(self, credential: Credential) -> None:
        credential.sent_times += 1
        if credential.call is not None:
            credential.call.sent, credential.call.server = True, self.server
        self._auths.append(credential)
        packet = r.AuthPacket(0, credential.scheme, credential.secret)
        self._out.append(frame(packed(r.RequestHeader(AUTH, Op.AUTH)) + packed(packet)))

    def _is_overdue(self, credential: Credential, now_ms: int) -> bool:
        call = credential.call
        if call is None or credential in self._auths:
            return False
        return now_ms - (call.since_ms or 0) >= self._unsent_timeout_ms

    def _fail_credential(self, credential: Credential, error: ZabpyError) -> None:
        if credential.call is not None:
            self._fail(credential.call, error)

    def _fail(self, call: Call, error: ZabpyError) -> None:
        if call.done:
            return
        session = call.session or self.session
        call.error = about(
            error,
            call.operation,
            call.path,
            session_id=session.id if session is not None else 0,
            server=call.server or self.server,
            zxid=call.zxid,
            attempt=call.attempt,
        )
        self._finish(call)

    def _finish(self, call: Call) -> None:
        call.done = True
        if call.wake is not None:
            call.wake()

    # What the server says ---------------------------------------------------------------------------------------------

    def _greeted(self, data: bytes) -> bytes:
        """Take the first answer; what is behind it is returned."""
        data = self._greeting + data
        if len(data) >= 4:
            (length,) = LENGTH.unpack_from(data)
            if not 0 <= length <= GREETING_BYTES_MAX:
                raise ProtocolError(f"no greeting of a ZooKeeper server: {_banner(data)}")
            if len(data) >= 4 + length:
                answer = r.ConnectResponse.read(Reader(data[4 : 4 + length]))
                self._greeting = b""
                self._accepted(answer)
                return data[4 + length :]
        self._greeting = data
        return b""

    def _accepted(self, answer: r.ConnectResponse) -> None:
        if answer.read_only and not self.read_only:
            raise ProtocolError("it is read-only, which was not asked for")
        session = self.session
        if session is not None and session.read_only:  # it was not asked for again
            self._lose(f"session {session} was one of a read-only server, which the client has left")
            session = None
        if answer.timeout_ms <= 0 or answer.session_id == 0:
            if session is None:
                raise ProtocolError("a new session was refused as expired")
            self.link_broken = f"session {session} had expired"
            self._lose(f"session {session} had expired, says {self.server}", is_over=True)
            return
        if session is not None and answer.session_id != session.id:
            raise ProtocolError(f"asked to go on with session {session}, it answered with another")
        self.link = Link.LOGIN
        self.server_read_only = bool(answer.read_only)
        # The server heard the greeting when it was sent, or later. If it grants less than before, less it is.
        deadline_ms = self._greeted_at_ms + answer.timeout_ms
        self._session_changed = session is None
        if session is None:
            self.session = session = Session(
                answer.session_id,
                answer.password or b"",
                answer.timeout_ms,
                deadline_ms,
                self.now_ms,
                self.server_read_only,
                self.stalls,
            )
        elif not self.server_read_only:
            session.timeout_ms, session.deadline_ms = answer.timeout_ms, deadline_ms
        did = "opened" if self._session_changed else "went on with"
        log.info("%s session %s at %s, timeout %d ms", did, session, self.server, session.timeout_ms)
        if self._sasl is None:
            self._authenticate()
        else:
            exchange = self._sasl.begin()
            self._say(exchange, exchange.first)

    def _say(self, exchange: Exchange, token: bytes) -> None:
        """One step of SASL."""
        call = Call(Op.SASL, packed(r.GetSASLRequest(token)), r.SetSASLResponse.read, "sasl", None, of_link=True)
        call.wake = lambda: self._told(exchange, call)
        self._send(call)

    def _told(self, exchange: Exchange, call: Call) -> None:
        if isinstance(call.error, AuthFailedError):
            self._shut_out(AuthFailedError("SASL: a wrong name or password"))
        elif call.error is None and not self.link_broken:
            try:
                token = exchange.answer(call.reply.token)
            except AuthFailedError as error:
                self._shut_out(error)
                return
            if token is None:
                self._authenticate()
            else:
                self._say(exchange, token)

    def _authenticate(self) -> None:
        for credential in (*self.credentials, *self._new_credentials):
            self._send_credential(credential)
        if not self._auths:
            self._ready()

    def _ready(self) -> None:
        """We are who we say: all that has waited may go."""
        self.link = Link.UP
        for opcode, request, renewal in self.watches.renewal(self.last_zxid, session_changed=self._session_changed):
            self._send(Call(opcode, request, None, "setWatches", None, watch=renewal, of_link=True))
        self._send_waiting()
        self._become(State.READ_ONLY if self.server_read_only else State.CONNECTED)

    def _shut_out(self, error: AuthFailedError) -> None:
        session_id = self.session.id if self.session else 0
        self.fail(about(error, "log in", None, session_id=session_id, server=self.server))

    def _replies(self, data: bytes) -> None:
        self._frames.feed(data)
        try:
            frames = self._frames.frames()
        except FrameError as error:
            for payload in error.frames:
                self._reply(payload)
                if self.link_broken:
                    return
            if error.length > error.limit and self._marks:
                # Answers come in order, and notifications are short: so this is the one of the oldest call.
                self._fail(self._in_flight.popleft(), ReplyTooLargeError(error.length, error.limit))
            raise
        for payload in frames:
            self._reply(payload)
            if self.link_broken:
                return

    def _reply(self, payload: bytes) -> None:
        if len(payload) < REPLY_HEADER.size:
            raise ProtocolError(f"an answer of {len(payload)} bytes, which has not even a header")
        xid, zxid, err = REPLY_HEADER.unpack_from(payload)
        in_flight = self._in_flight
        if not in_flight or in_flight[0].xid != xid:
            self._reply_to_no_call(xid, zxid, err, payload)
            return
        if not self._marks:
            raise ProtocolError(f"an answer to request {xid}, which was not sent yet")
        call = in_flight.popleft()
        self._bytes_in_flight -= len(call.body)
        mark = self._marks[0]  # all that went out with it was sent at one moment
        mark[0] -= 1
        if mark[0] == 0:
            self._marks.popleft()
        if self.server_read_only or (err == 0 and call.opcode in THROUGH_LEADER):
            self._counts(mark[1])
        if zxid > self.last_zxid:
            self.last_zxid = zxid
        call.zxid = zxid
        if err != 0:
            if call.watch is not None:
                self._registered(call.watch, err)
            self._refused(call, err)
            return
        if call.read is not None and not call.done:
            try:
                call.reply = call.read(Reader(payload, REPLY_HEADER.size))
            except Exception as error:
                # Whatever a reader of records stumbles over. It is the server that wrote this.
                nonsense = ProtocolError(f"an answer to {call.operation} that cannot be read: {error!r}")
                self._fail(call, nonsense)
                raise nonsense from error
        if call.watch is not None:
            self._registered(call.watch, err)
        self._finish(call)

    def _registered(self, watch: Watch, err: int) -> None:
        why = self.watches.registered(watch, err)
        self.link_broken = self.link_broken or why

    def _reply_to_no_call(self, xid: int, zxid: int, err: int, payload: bytes) -> None:
        if xid == NOTIFICATION:
            event = r.WatcherEvent.read(Reader(payload, REPLY_HEADER.size))
            if zxid > self.event_zxid:
                self.event_zxid = zxid
            self.watches.fire(event.type, event.path, zxid if zxid > 0 else None)
        elif xid == PING:
            if not self._pings:
                raise ProtocolError("a ping answered that was not sent")
            self._counts(self._pings.popleft())
        elif xid == AUTH:
            if not self._auths:
                raise ProtocolError("an auth answered that was not sent")
            self._authenticated(self._auths.popleft(), err)
        else:
            due = f"where {self._in_flight[0].xid} is due" if self._in_flight else "where none is due"
            raise ProtocolError(f"an answer to request {xid}, {due}")

    def _refused(self, call: Call, err: int) -> None:
        if err == SASL_REQUIRED:
            self._shut_out(AuthFailedError(f"{self.server} requires clients to log in: connect with sasl=..."))
            self._fail(call, copy(self.failure or error_of(err)))
            return
        error = error_of(err)
        if isinstance(error, SessionExpiredError):
            why = f"the session is over, says {self.server}"
            self._fail(call, SessionLostError(why))
            if call.opcode != Op.CLOSE_SESSION and not self._closing:
                self.link_broken = why
                if self.session is not None:
                    self._lose(why, is_over=True)
            return
        if isinstance(error, SessionMovedError):
            self.link_broken = "the session has moved to another server"
        self._fail(call, error)

    def _authenticated(self, credential: Credential, err: int) -> None:
        is_new = credential in self._new_credentials
        if is_new:
            self._new_credentials.remove(credential)
        if err == 0:
            if is_new and not any(
                (each.scheme, each.secret) == (credential.scheme, credential.secret) for each in self.credentials
            ):
                self.credentials.append(credential)
            if credential.call is not None and not credential.call.done:
                self._finish(credential.call)
            if self.link is Link.LOGIN and not self._auths:
                self._ready()
            return
        error = AuthFailedError(f"{self.server} refuses this credential of the scheme {credential.scheme!r}")
        if is_new:
            # The server closes the connection on it. The next one goes without.
            self.link_broken = "a credential was refused"
            self._fail_credential(credential, error)
        else:
            self._shut_out(error)

    def _counts(self, sent_ms: int) -> None:
        """A request was answered, by whoever keeps the session, that was sent then."""
        session = self.session
        if session is None or (self.server_read_only and not session.read_only):
            return  # a server without a quorum keeps no session alive: the others may be ending it this very moment
        if sent_ms + session.timeout_ms > session.deadline_ms:
            session.deadline_ms = sent_ms + session.timeout_ms

    def _lose(self, why: str, *, is_over: bool = False) -> None:
        session = self.session
        assert session is not None
        log.warning("session lost: %s", why)
        in_flight, unsent = self._reset_link()
        queue, self._queue, self._given_up = self._queue, deque(), 0
        # Those whose body relies on the session first; it is still the current one for what they are told.
        session.lose(why, is_over=is_over)
        for call in (*in_flight, *unsent, *queue):
            if call.session is None and (call.again or not call.sent) and not call.done:
                call.sent = False
                self._queue.append(call)  # it may as well be done in the next session
            else:
                self._fail(call, SessionLostError(why))
        self.session = None
        self.watches.lose(why)
        self._become(State.LOST)

    def _become(self, state: State) -> None:
        if state is not self.state:
            self.state = state
            self._on_state(state)


def _banner(data: bytes) -> str:
    """Who it is that speaks so."""
    if data.startswith((b"HTTP/", b"<htm", b"<!DO")):
        who = "an HTTP server"
    elif data[:2] in (b"\x15\x03", b"\x16\x03"):
        who = "a server that wants TLS"
    else:
        who = "it begins with"
    return f"{who}: {data[:24]!r}"
