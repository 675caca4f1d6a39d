"""One client's sessions without I/O: what is in flight, when a heartbeat is due, when a server is left.

`Core` is told what happens (a link opened, bytes came, the link ended, time went by) and says what to send and when it
wants to be woken. Time is handed in, in ms of any clock that only goes forward. What keeps a session, and until when,
stands in session.py; who we are to a server is told in login.py.

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
from collections.abc import Callable, Iterator, Sequence
from copy import copy
from struct import Struct

from zabpy.model import AuthFailedError, SessionExpiredError, SessionMovedError, ZabpyError
from zabpy.wire import FrameBuffer, FrameError, Op, Reader, frame, packed, records as r

from .call import Call, Credential
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
from .login import AUTH, SASL_REQUIRED, Login
from .sasl import Sasl
from .session import Session, Undead
from .stalls import Stalls
from .states import State
from .watches import OneShot, Watch, WatchTable

log = logging.getLogger("zabpy.client")

XID_MAX = 2**31 - 1
NOTIFICATION, PING = -1, -2
NEW_PASSWORD = bytes(16)
#: Most that a server may send in one frame: no limit of the protocol, but a length word of nonsense must not hang us.
REPLY_BYTES_MAX = 64 * 1024 * 1024
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
        self.session_timeout_ms, self.read_only = session_timeout_ms, read_only
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
        #: How many links were up so far: events between two of them are lost.
        self.links = 0
        #: The newest that an event told of.
        self.event_zxid = 0
        self.watches = WatchTable(self._tell)
        #: Why the link must go, once it must; the driver closes it.
        self.link_broken = ""
        #: Why no server will ever do, once that is so: every call fails with it.
        self.failure: ZabpyError | None = None
        self.login = Login(self, sasl)
        #: To be ended at the servers by the driver, which takes out what is gone.
        self.undead: deque[Undead] = deque(maxlen=UNDEAD_MAX)
        self.stalls = Stalls(0)
        self._xid = 0
        self._frames = FrameBuffer(REPLY_BYTES_MAX)
        self._queue: deque[Call] = deque()  # not sent yet
        self._given_up = 0  # so many of the queue nobody waits for any more
        self._in_flight: deque[Call] = deque()
        self._bytes_in_flight = 0
        self._out: list[bytes] = []
        self._marks: deque[list[int]] = deque()  # [how many calls were sent with it, when], oldest first
        self._fresh = 0  # calls put into _out since the last take
        self._pings: deque[int] = deque()
        self._heard_at_ms = self._said_at_ms = 0
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
        self._frames = FrameBuffer(REPLY_BYTES_MAX)
        self._heard_at_ms = self._said_at_ms = self._beat_at_ms = now_ms
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
        self.login.begin(greeting, now_ms, now_ms + self.session_timeout_ms if up_by_ms is None else up_by_ms)

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
        self.login.broke(why)
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
                answer, data = self.login.greeted(data)
                if answer is not None:
                    self._accepted(answer)
            if self.link is not Link.GREETING and not self.link_broken:
                self._replies(data)
            if self._leaving and not self._in_flight and not self.login.is_asking:
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
        self.login.over()
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
        self.login.expire(now_ms, self._unsent_timeout_ms, lambda: self.no_server(self._unsent_timeout_ms))
        if self.link is Link.DOWN or self.link_broken:
            return
        timeout_ms = session.timeout_ms if session else self.session_timeout_ms
        silent_ms = now_ms - self._heard_at_ms
        if self.link is not Link.UP and now_ms >= self.login.until_ms:
            did = "did not greet" if self.link is Link.GREETING else "did not end the login"
            self.link_broken = f"it took the connection, but {did} within {now_ms - self.login.began_ms} ms"
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
            self.send(Call(Op.SYNC, SYNC_ROOT, None, "heartbeat", None, of_link=True))

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
        due += [since_ms + self._unsent_timeout_ms for since_ms in self.login.waiting_since_ms()]
        if self.link is Link.UP:
            due += [each for each in (self._beats_at_ms, self._leave_at_ms) if each is not None]
        elif self.link is not Link.DOWN:
            due.append(self.login.until_ms)
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
        return bool(self._in_flight or self._pings or self.login.is_asking)

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
            self.send(call)
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
        if not self.login.give_up(call) and not call.sent:
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
        for call in (*unsent, *queue, *self.login.end()):
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
        for call in (*queue, *self.login.end()):
            self._fail(call, copy(error))
        self._become(State.CLOSED)

    def leave(self, why: str) -> None:
        """Go to another server, once what was asked of this one is answered; what is asked from now on waits."""
        if self.link is Link.UP and not self._leaving:
            self._leaving = why
            if not self._in_flight and not self.login.is_asking:
                self.link_broken = self.link_broken or why

    def add_auth(self, call: Call, scheme: str, secret: bytes) -> None:
        """One more identity, now and, once it was accepted, on every later connection; ``call`` is told."""
        if self.failure is not None:
            self._fail(call, copy(self.failure))
            return
        call.since_ms = self.now_ms()
        is_telling = self.link is Link.LOGIN and self.login.is_asking and not self.link_broken
        self.login.add(Credential(scheme, secret, call), at_once=self._takes_calls or is_telling)

    def no_server(self, within_ms: int) -> NoServerError:
        """Says which servers were tried, and why none would do."""
        tried = tuple(self._tried())
        why = "; ".join(f"{server}: {reason}" for server, reason in tried) or "none has been tried yet"
        return NoServerError(f"no server within {within_ms} ms: {why}", tried)

    def unanswered(self) -> Iterator[Call]:
        """What was asked and is not answered yet, oldest first; heartbeats and the like are not asked by anybody."""
        return (call for call in (*self._in_flight, *self._queue) if not call.of_link and not call.done)

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
                self.send(call)
            else:
                return
            self._queue.popleft()

    def _drop_given_up(self) -> None:
        while self._queue and self._queue[0].done:
            self._queue.popleft()
            self._given_up -= 1

    def send(self, call: Call) -> None:
        """At once, whatever waits."""
        self._xid = xid = self._xid + 1 if self._xid < XID_MAX else 1
        call.xid, call.sent, call.server = xid, True, self.server
        if call.watch is not None:
            call.body = self.watches.sending(call.watch, call.body)
        body = call.body
        self._in_flight.append(call)
        self._bytes_in_flight += len(body)
        self._fresh += 1
        self._out.append(REQUEST_HEADER.pack(8 + len(body), xid, call.opcode) + body)

    def put(self, data: bytes) -> None:
        """These bytes, which nothing is counted for."""
        self._out.append(data)

    def _tell(self, opcode: int, body: bytes, watch: Watch | None) -> None:
        """What the watches have to say to this link's server, before anything that is sent later."""
        if self._takes_calls and not self._closing:
            self.send(Call(opcode, body, None, "watch", None, watch=watch, of_link=True))

    def settle(self, call: Call, error: ZabpyError | None) -> None:
        """Its outcome is known."""
        if error is None:
            self._finish(call)
        else:
            self._fail(call, error)

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
        deadline_ms = self.login.began_ms + answer.timeout_ms
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
        self.login.identify()

    def identified(self) -> None:
        """We are who we say: all that has waited may go."""
        if self.link is not Link.LOGIN:
            return
        self.link = Link.UP
        self.links += 1
        for opcode, request, renewal in self.watches.renewal(self.last_zxid, session_changed=self._session_changed):
            self.send(Call(opcode, request, None, "setWatches", None, watch=renewal, of_link=True))
        self._send_waiting()
        self._become(State.READ_ONLY if self.server_read_only else State.CONNECTED)

    def shut_out(self, error: AuthFailedError) -> None:
        """No server will have us as who we say we are."""
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
                nonsense = ProtocolError(f"an answer to {call.operation} that cannot be read: {error}")
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
            self.login.answered(err)
        else:
            due = f"where {self._in_flight[0].xid} is due" if self._in_flight else "where none is due"
            raise ProtocolError(f"an answer to request {xid}, {due}")

    def _refused(self, call: Call, err: int) -> None:
        if err == SASL_REQUIRED:
            self.shut_out(AuthFailedError(f"{self.server} requires clients to log in: connect with sasl=..."))
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
