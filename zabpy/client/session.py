"""One client's sessions without I/O: what is in flight, when to ping, when the connection or the session is lost.

`Core` is told what happens (a link opened, bytes came, the link ended, time went by) and says what to send and when it
wants to be woken. Time is handed in, in ms of any clock that only goes forward.

**When the session is lost.** The server counts its timeout from the last packet that reached it. We know of the last
request that was answered when we sent it, and that the server heard it no earlier; so at that moment plus the timeout
the server may have ended the session, and not before. From then on it is lost here, whether or not any server can be
asked (zab.md calls such clocks leases; Chubby calls the time before jeopardy).
"""

import enum
from collections import deque
from collections.abc import Callable, Sequence
from copy import copy
from typing import Any

from zabpy.model import ERRORS, AuthFailedError, MarshallingError, SessionExpiredError, ZabpyError
from zabpy.wire import FrameBuffer, FrameError, JuteError, Op, Reader, frame, packed, records as r

from .errors import ClosedClientError, ConnectionLossError, NoServerError, ProtocolError, SessionLostError
from .sasl import Exchange, Sasl
from .states import State
from .watches import OneShot, WatchTable

XID_MAX = 2**31 - 1
NOTIFICATION, PING, AUTH, SET_WATCHES = -1, -2, -4, -8
NEW_PASSWORD = bytes(16)
#: What a server answers that enforces SASL, to whoever has not logged in.
SASL_REQUIRED = -124
#: A new credential on which so many connections have ended without an answer is not sent again.
CREDENTIAL_TRIES = 3
#: Most that a server may send in one frame: no limit of the protocol, but a length word of nonsense must not hang us.
REPLY_BYTES_MAX = 64 * 1024 * 1024


class Session:
    """One session, for as long as it lives; once lost it stays lost, and the client's next one is another object."""

    def __init__(
        self,
        id: int,
        password: bytes,
        timeout_ms: int,
        deadline_ms: int,
        now_ms: Callable[[], int],
        read_only: bool = False,
    ) -> None:
        self.id, self.password, self.timeout_ms = id, password, timeout_ms
        #: A server without a quorum made it, and no other knows it: it ends when the client finds a full server.
        self.read_only = read_only
        self.lost = False
        self.why_lost = ""
        #: On the client's clock: when it is lost if nothing is answered before.
        self.deadline_ms = deadline_ms
        self._now_ms = now_ms
        self._on_lost: dict[object, Callable[[], None]] = {}

    def check(self) -> None:
        """Raise `SessionLostError` if it is lost, or its time is up by the clock this very moment."""
        if self.lost:
            raise SessionLostError(self.why_lost)
        if self._now_ms() >= self.deadline_ms:
            raise SessionLostError(f"session {self} was not heard of for {self.timeout_ms} ms")

    @property
    def time_left_ms(self) -> int:
        """Until it is lost if nothing is answered before; 0 when it is."""
        return 0 if self.lost else max(0, self.deadline_ms - self._now_ms())

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

    def lose(self, why: str) -> None:
        """To be called by the core."""
        self.lost, self.why_lost = True, why
        callbacks, self._on_lost = self._on_lost, {}
        for callback in callbacks.values():
            callback()

    def __str__(self) -> str:
        return f"{self.id & 0xFFFFFFFFFFFFFFFF:#x}"

    def __repr__(self) -> str:
        return f"<Session {self} {'lost' if self.lost else 'alive'}>"


class Call:
    """One request and, later, its outcome: ``reply`` or ``error``, once ``done``."""

    __slots__ = (
        "opcode", "body", "read", "operation", "path", "session", "watch",
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
        watch: OneShot | None = None,
    ) -> None:
        self.opcode, self.body, self.read = opcode, body, read
        self.operation, self.path = operation, path
        self.session = session  # the only one it may be sent in
        self.watch = watch
        self.xid = 0
        self.since_ms = 0  # when it began to wait for a connection
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
        self.last_zxid = 0
        self.watches = WatchTable()
        #: Why the link must go, once it must; the driver closes it.
        self.link_broken = ""
        #: Why no server will ever do, once that is so: every call fails with it.
        self.failure: ZabpyError | None = None
        #: Sent on every connection. Those from the settings, and each that a server has accepted.
        self.credentials: list[Credential] = []
        self._new_credentials: list[Credential] = []  # not sent yet, or sent and not answered
        self._xid = 0
        self._frames = FrameBuffer(REPLY_BYTES_MAX)
        self._queue: deque[Call] = deque()  # not sent yet
        self._in_flight: deque[Call] = deque()
        self._auths: deque[Credential] = deque()  # sent, in order
        self._out: list[bytes] = []
        self._marks: deque[tuple[int, int]] = deque()  # (how many calls were sent with it, when), oldest first
        self._fresh = 0  # calls put into _out since the last take
        self._pings: deque[int] = deque()
        self._greeted_at_ms = self._heard_at_ms = self._said_at_ms = 0
        self._closing = False
        self._up_by_ms = 0
        self._session_changed = False
        self._leaving = ""

    # The link ---------------------------------------------------------------------------------------------------------

    def open_link(self, server: str, now_ms: int, up_by_ms: int | None = None) -> None:
        """A connection to this server is there: greet. ``up_by_ms``: when it is of no use if it is not up by then."""
        assert self.link is Link.DOWN
        self.link, self.server, self.link_broken, self._leaving = Link.GREETING, server, "", ""
        self._up_by_ms = now_ms + self.session_timeout_ms if up_by_ms is None else up_by_ms
        self._frames = FrameBuffer(REPLY_BYTES_MAX)
        self._greeted_at_ms = self._heard_at_ms = self._said_at_ms = now_ms
        session = self.session if self.session and not self.session.read_only else None
        greeting = r.ConnectRequest(
            0,
            self.last_zxid,
            self.session_timeout_ms,
            session.id if session else 0,
            session.password if session else NEW_PASSWORD,
            self.read_only,
        )
        self._out.append(frame(packed(greeting)))

    def close_link(self, why: str, now_ms: int) -> None:
        """The connection is gone. What was sent and not answered is of unknown outcome; the rest waits for the next."""
        if self.link is Link.DOWN:
            return
        self.link = Link.DOWN
        self.link_broken = self.link_broken or why
        self._out.clear()
        self._marks.clear()
        self._fresh = 0
        self._pings.clear()
        self._auths.clear()
        for credential in [each for each in self._new_credentials if each.sent_times >= CREDENTIAL_TRIES]:
            self._new_credentials.remove(credential)
            self._fail_credential(credential, ConnectionLossError(f"{self.server} closed the connection on it: {why}"))
        in_flight, self._in_flight = self._in_flight, deque()
        for call in in_flight:
            self._fail(call, ConnectionLossError(f"connection to {self.server} lost before the answer: {why}"))
        self.tick(now_ms)
        if self.session is not None:
            self._become(State.JEOPARDY)

    def receive(self, data: bytes, now_ms: int) -> None:
        """These bytes came. If they are nonsense, `link_broken` says so."""
        self._heard_at_ms = now_ms
        self._frames.feed(data)
        try:
            frames = self._frames.frames()
        except FrameError as error:
            self.link_broken = str(error)
            frames = error.frames
        try:
            for payload in frames:
                if self.link is Link.GREETING:
                    self._greeted(payload, now_ms)
                else:
                    self._reply(payload)
                if self.link_broken:
                    return
            if self._leaving and not self._in_flight and not self._auths:
                self.link_broken = self._leaving
        except (JuteError, ProtocolError) as error:
            self.link_broken = f"{self.server} talks nonsense: {error}"

    def take(self, now_ms: int) -> bytes:
        """All that is to be sent now. It counts as sent."""
        if not self._out:
            return b""
        data = self._out[0] if len(self._out) == 1 else b"".join(self._out)
        self._out.clear()
        self._said_at_ms = now_ms
        if self._fresh:
            self._marks.append((self._fresh, now_ms))
            self._fresh = 0
        return data

    # Time -------------------------------------------------------------------------------------------------------------

    def tick(self, now_ms: int) -> None:
        """Do what is due: give the session up, find the link dead, ping."""
        session = self.session
        if session is not None and now_ms >= session.deadline_ms:
            self._lose(f"session {session} was not heard of for {session.timeout_ms} ms")
            self.link_broken = self.link_broken or "the session's time was up"
            return
        while self._queue and now_ms - self._queue[0].since_ms >= self._unsent_timeout_ms:
            self._fail(self._queue.popleft(), self._no_server())
        for credential in [each for each in self._new_credentials if self._is_overdue(each, now_ms)]:
            self._new_credentials.remove(credential)
            self._fail_credential(credential, self._no_server())
        if self.link is Link.DOWN:
            return
        timeout_ms = session.timeout_ms if session else self.session_timeout_ms
        if self.link is not Link.UP and now_ms >= self._up_by_ms:
            self.link_broken = f"{self.server} did not say enough in time: {self.link.value}"
        elif now_ms - self._heard_at_ms >= timeout_ms * 2 // 3 and self._awaited:
            self.link_broken = f"{self.server} said nothing for {now_ms - self._heard_at_ms} ms"
        elif self.link is Link.UP and now_ms - self._said_at_ms >= timeout_ms // 3:
            self._pings.append(now_ms)
            self._said_at_ms = now_ms
            self._out.append(frame(packed(r.RequestHeader(PING, Op.PING))))

    @property
    def wake_at_ms(self) -> int | None:
        """When `tick` is due at the latest; None: not before something else happens."""
        session = self.session
        timeout_ms = session.timeout_ms if session else self.session_timeout_ms
        due = [session.deadline_ms] if session else []
        if self._queue:
            due.append(self._queue[0].since_ms + self._unsent_timeout_ms)
        due += [
            each.call.since_ms + self._unsent_timeout_ms
            for each in self._new_credentials
            if each.call is not None and each not in self._auths
        ]
        if self.link is not Link.DOWN:
            if self.link is not Link.UP:
                due.append(self._up_by_ms)
            if self._awaited:
                due.append(self._heard_at_ms + timeout_ms * 2 // 3)
            if self.link is Link.UP:
                due.append(self._said_at_ms + timeout_ms // 3)
        return min(due) if due else None

    @property
    def _awaited(self) -> bool:
        return self.link is Link.GREETING or bool(self._in_flight or self._pings or self._auths)

    # Calls ------------------------------------------------------------------------------------------------------------

    def submit(self, call: Call) -> None:
        """Send it now, or once there is a connection. Fails it at once if its session is over."""
        if self.failure is not None:
            self._fail(call, copy(self.failure))
        elif call.session is not None and call.session is not self.session:
            self._fail(call, SessionLostError(call.session.why_lost or "the session is over"))
        elif self._closing and call.opcode != Op.CLOSE_SESSION:
            self._fail(call, ClosedClientError("the client is closing"))
        elif self.link is Link.UP and not self.link_broken and not self._leaving:
            self._send(call)
        else:
            call.since_ms = call.since_ms or self.now_ms()
            self._queue.append(call)

    def give_up(self, call: Call) -> None:
        """Nobody waits for it any more. If it was not sent, it will not be."""
        if not call.sent and not call.done:
            if call in self._queue:
                self._queue.remove(call)
            self._new_credentials = [each for each in self._new_credentials if each.call is not call]
            call.done = True

    def close(self, call: Call) -> None:
        """Ask for the session's end; ``call`` is a closeSession. Nothing else is taken from here on."""
        self._closing = True
        self.submit(call)

    def end(self) -> None:
        """The client is closed: nothing more will come."""
        if self.session is not None:
            self._lose("the client was closed")
        self.watches.lose("the client was closed")
        queue, self._queue = self._queue, deque()
        waiting = [each.call for each in self._new_credentials if each.call is not None and not each.call.done]
        for call in (*self._in_flight, *queue, *waiting):
            self._fail(call, ClosedClientError("the client was closed"))
        self._in_flight.clear()
        self._new_credentials.clear()
        self._become(State.CLOSED)

    def fail(self, error: ZabpyError) -> None:
        """No server will ever do: everything that waits fails with this error, and whatever is asked from now on."""
        if self.failure is not None:
            return
        self.failure = error
        self.link_broken = self.link_broken or str(error)
        if self.session is not None:
            self._lose(f"no server will do any more: {error}")
        self.watches.lose(str(error))
        queue, self._queue = self._queue, deque()
        waiting = [each.call for each in self._new_credentials if each.call is not None and not each.call.done]
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
        if self.link is Link.UP and not self.link_broken and not self._leaving:
            self._send_credential(credential)

    def _send(self, call: Call) -> None:
        self._xid = xid = self._xid + 1 if self._xid < XID_MAX else 1
        call.xid, call.sent, call.server = xid, True, self.server
        self._in_flight.append(call)
        self._fresh += 1
        self._out.append(
            (8 + len(call.body)).to_bytes(4, "big")
            + xid.to_bytes(4, "big")
            + call.opcode.to_bytes(4, "big", signed=True)
            + call.body
        )

    def _send_credential(self, credential: Credential) -> None:
        credential.sent_times += 1
        if credential.call is not None:
            credential.call.sent, credential.call.server = True, self.server
        self._auths.append(credential)
        packet = r.AuthPacket(0, credential.scheme, credential.secret)
        self._out.append(frame(packed(r.RequestHeader(AUTH, Op.AUTH)) + packed(packet)))

    def _is_overdue(self, credential: Credential, now_ms: int) -> bool:
        call = credential.call
        waits = call is not None and credential not in self._auths
        return waits and call is not None and now_ms - call.since_ms >= self._unsent_timeout_ms

    def _fail_credential(self, credential: Credential, error: ZabpyError) -> None:
        if credential.call is not None and not credential.call.done:
            self._fail(credential.call, error)

    def _no_server(self) -> NoServerError:
        tried = tuple(self._tried())
        why = "; ".join(f"{server}: {reason}" for server, reason in tried) or "none has been tried yet"
        return NoServerError(f"no server within {self._unsent_timeout_ms} ms: {why}", tried)

    def _fail(self, call: Call, error: ZabpyError) -> None:
        call.error = error
        self._finish(call)

    def _finish(self, call: Call) -> None:
        call.done = True
        if call.wake is not None:
            call.wake()

    # What the server says ---------------------------------------------------------------------------------------------

    def _greeted(self, payload: bytes, now_ms: int) -> None:
        answer = r.ConnectResponse.read(Reader(payload))
        if answer.read_only and not self.read_only:
            raise ProtocolError("it is read-only, which was not asked for")
        session = self.session
        if session is not None and session.read_only:  # it was not asked for again
            self._lose(f"session {session} was one of a read-only server, which the client has left")
            session = None
        if answer.timeout_ms <= 0 or (session is not None and answer.session_id != session.id):
            self.link_broken = "the session had expired"
            if session is None:
                raise ProtocolError("a new session was refused as expired")
            self._lose(f"session {session} had expired, says {self.server}")
            return
        self.link = Link.LOGIN
        self.server_read_only = bool(answer.read_only)
        deadline_ms = self._greeted_at_ms + answer.timeout_ms
        self._session_changed = session is None
        if session is None:
            self.session = Session(
                answer.session_id, answer.password, answer.timeout_ms, deadline_ms, self.now_ms, self.server_read_only
            )
        elif not self.server_read_only:
            session.timeout_ms, session.deadline_ms = answer.timeout_ms, deadline_ms
        if self._sasl is None:
            self._authenticate()
        else:
            exchange = self._sasl.begin()
            self._say(exchange, exchange.first)

    def _say(self, exchange: Exchange, token: bytes) -> None:
        """One step of SASL."""
        call = Call(Op.SASL, packed(r.GetSASLRequest(token)), r.SetSASLResponse.read, "sasl", None)
        call.wake = lambda: self._told(exchange, call)
        self._send(call)

    def _told(self, exchange: Exchange, call: Call) -> None:
        if isinstance(call.error, AuthFailedError):
            self._refused(AuthFailedError("SASL: a wrong name or password"))
        elif call.error is None:
            try:
                token = exchange.answer(call.reply.token)
            except AuthFailedError as error:
                self._refused(error)
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
        for request in self.watches.renewal(self.last_zxid):
            call = Call(Op.SET_WATCHES2, request, None, "setWatches", None)
            self._send(call)
        self.watches.resynced(session_changed=self._session_changed)
        queue, self._queue = self._queue, deque()
        for call in queue:
            self.submit(call)
        self._become(State.READ_ONLY if self.server_read_only else State.CONNECTED)

    def _refused(self, error: AuthFailedError) -> None:
        error.operation, error.server, error.attempt = "log in", self.server, 1
        error.session_id = self.session.id if self.session else 0
        self.fail(error)

    def _reply(self, payload: bytes) -> None:
        reader = Reader(payload)
        xid, zxid, err = reader.int(), reader.long(), reader.int()
        if xid == NOTIFICATION:
            event = r.WatcherEvent.read(reader)
            self.watches.fire(event.type, event.path, zxid if zxid > 0 else None)
            return
        if xid == PING:
            if not self._pings:
                raise ProtocolError("a ping answered that was not sent")
            self._answered(self._pings.popleft())
            return
        if xid == AUTH:
            if not self._auths:
                raise ProtocolError("an auth answered that was not sent")
            self._authenticated(self._auths.popleft(), err)
            return
        if not self._in_flight or self._in_flight[0].xid != xid:
            raise ProtocolError(f"an answer to request {xid}, where another one is due")
        call = self._in_flight.popleft()
        self._call_answered()
        if zxid > self.last_zxid:
            self.last_zxid = zxid
        call.zxid = zxid
        if err == 0:
            if call.read is not None:
                try:
                    call.reply = call.read(reader)
                except MarshallingError as error:
                    self._fail(call, ProtocolError(f"an answer to {call.operation} that cannot be read: {error}"))
                    raise
        else:
            known = ERRORS.get(err)
            if err == SASL_REQUIRED:
                self._refused(AuthFailedError(f"{self.server} requires clients to log in: connect with sasl=..."))
                call.error = copy(self.failure)
            elif known is SessionExpiredError:
                call.error = SessionLostError(f"the session is over, says {self.server}")
            else:
                call.error = known() if known is not None else ProtocolError(f"error code {err}, which is unknown")
        if call.watch is not None:
            self.watches.registered(call.watch, err)
        self._finish(call)

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
            self._refused(error)

    def _call_answered(self) -> None:
        """One more of the calls was answered: all that went out with it was sent at one moment."""
        if self._marks:
            count, sent_ms = self._marks[0]
            self._answered(sent_ms)
            if count == 1:
                self._marks.popleft()
            else:
                self._marks[0] = (count - 1, sent_ms)

    def _answered(self, sent_ms: int) -> None:
        session = self.session
        if session is None or (self.server_read_only and not session.read_only):
            return  # a server without a quorum keeps no session alive: the others may be ending it this very moment
        if sent_ms + session.timeout_ms > session.deadline_ms:
            session.deadline_ms = sent_ms + session.timeout_ms

    def _lose(self, why: str) -> None:
        session, self.session = self.session, None
        assert session is not None
        session.lose(why)
        in_flight, self._in_flight = self._in_flight, deque()
        self._marks.clear()
        self._fresh = 0
        for call in in_flight:
            self._fail(call, SessionLostError(why))
        for call in [call for call in self._queue if call.session is session]:
            self._queue.remove(call)
            self._fail(call, SessionLostError(why))
        self.watches.lose(why)
        self._become(State.LOST)

    def _become(self, state: State) -> None:
        if state is not self.state:
            self.state = state
            self._on_state(state)
