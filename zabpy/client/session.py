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
from typing import Any

from zabpy.model import ERRORS, CodeError, MarshallingError, SessionExpiredError, ZabpyError
from zabpy.wire import FrameBuffer, FrameError, JuteError, Op, Reader, frame, packed, records as r

from .errors import ClosedClientError, ConnectionLossError, NoServerError, ProtocolError, SessionLostError
from .states import State
from .watches import OneShot, WatchTable

XID_MAX = 2**31 - 1
NOTIFICATION, PING, AUTH, SET_WATCHES = -1, -2, -4, -8
NEW_PASSWORD = bytes(16)
#: Most that a server may send in one frame: no limit of the protocol, but a length word of nonsense must not hang us.
REPLY_BYTES_MAX = 64 * 1024 * 1024


class Session:
    """One session, for as long as it lives; once lost it stays lost, and the client's next one is another object."""

    def __init__(self, id: int, password: bytes, timeout_ms: int, deadline_ms: int, now_ms: Callable[[], int]) -> None:
        self.id, self.password, self.timeout_ms = id, password, timeout_ms
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


class Link(enum.Enum):
    DOWN = "down"
    GREETING = "greeting"  # the handshake is under way
    UP = "up"


class Core:
    """See above. Everything is a plain call."""

    def __init__(
        self,
        *,
        session_timeout_ms: int,
        unsent_timeout_ms: int,
        read_only: bool,
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
        self.last_zxid = 0
        self.watches = WatchTable()
        #: Why the link must go, once it must; the driver closes it.
        self.link_broken = ""
        self.credentials: list[tuple[str, bytes]] = []
        self.auth_error: CodeError | None = None
        self._xid = 0
        self._frames = FrameBuffer(REPLY_BYTES_MAX)
        self._queue: deque[Call] = deque()  # not sent yet
        self._in_flight: deque[Call] = deque()
        self._auths: deque[Call | None] = deque()
        self._out: list[bytes] = []
        self._marks: deque[tuple[int, int]] = deque()  # (how many calls were sent with it, when), oldest first
        self._fresh = 0  # calls put into _out since the last take
        self._pings: deque[int] = deque()
        self._greeted_at_ms = self._heard_at_ms = self._said_at_ms = 0
        self._closing = False

    # The link ---------------------------------------------------------------------------------------------------------

    def open_link(self, server: str, now_ms: int) -> None:
        """A connection to this server is there: greet."""
        assert self.link is Link.DOWN
        self.link, self.server, self.link_broken = Link.GREETING, server, ""
        self._frames = FrameBuffer(REPLY_BYTES_MAX)
        self._greeted_at_ms = self._heard_at_ms = self._said_at_ms = now_ms
        session = self.session
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
        auths, self._auths = self._auths, deque()
        for auth in auths:
            if auth is not None:
                self._queue.appendleft(auth)
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
                if self.link is Link.UP:
                    self._reply(payload)
                else:
                    self._greeted(payload, now_ms)
                if self.link_broken:
                    return
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
        if self.link is Link.DOWN:
            return
        timeout_ms = session.timeout_ms if session else self.session_timeout_ms
        if now_ms - self._heard_at_ms >= timeout_ms * 2 // 3 and self._awaited:
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
        if self.link is not Link.DOWN:
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
        if call.session is not None and call.session is not self.session:
            self._fail(call, SessionLostError(call.session.why_lost or "the session is over"))
        elif self._closing and call.opcode != Op.CLOSE_SESSION:
            self._fail(call, ClosedClientError("the client is closing"))
        elif self.link is Link.UP and not self.link_broken:
            self._send(call)
        else:
            call.since_ms = call.since_ms or self.now_ms()
            self._queue.append(call)

    def give_up(self, call: Call) -> None:
        """Nobody waits for it any more. If it was not sent, it will not be."""
        if not call.sent and not call.done:
            self._queue.remove(call)
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
        for call in (*self._in_flight, *queue):
            self._fail(call, ClosedClientError("the client was closed"))
        self._in_flight.clear()
        self._become(State.CLOSED)

    def add_auth(self, call: Call, scheme: str, credential: bytes) -> None:
        """One more identity, now and on every later connection. ``call`` is the auth packet."""
        self.credentials.append((scheme, credential))
        if self.link is Link.UP:
            self._send_auth(call)
        else:
            self._finish(call)  # the greeting will carry it

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

    def _send_auth(self, call: Call | None, scheme: str = "", credential: bytes = b"") -> None:
        body = call.body if call is not None else packed(r.AuthPacket(0, scheme, credential))
        if call is not None:
            call.sent, call.server = True, self.server
        self._auths.append(call)
        self._out.append(frame(packed(r.RequestHeader(AUTH, Op.AUTH)) + body))

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
        session = self.session
        if answer.timeout_ms <= 0 or (session is not None and answer.session_id != session.id):
            self.link_broken = "the session had expired"
            if session is None:
                raise ProtocolError("a new session was refused as expired")
            self._lose(f"session {session} had expired, says {self.server}")
            return
        self.link = Link.UP
        self.server_read_only = bool(answer.read_only)
        deadline_ms = self._greeted_at_ms + answer.timeout_ms
        if session is None:
            session_changed = True
            self.session = Session(answer.session_id, answer.password, answer.timeout_ms, deadline_ms, self.now_ms)
        else:
            session_changed = False
            session.timeout_ms, session.deadline_ms = answer.timeout_ms, deadline_ms
        for scheme, credential in self.credentials:
            self._send_auth(None, scheme, credential)
        for request in self.watches.renewal(self.last_zxid):
            call = Call(Op.SET_WATCHES2, request, None, "setWatches", None)
            self._send(call)
        self.watches.resynced(session_changed=session_changed)
        queue, self._queue = self._queue, deque()
        for call in queue:
            self.submit(call)
        self._become(State.READ_ONLY if self.server_read_only else State.CONNECTED)

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
            if known is SessionExpiredError:
                call.error = SessionLostError(f"the session is over, says {self.server}")
            else:
                call.error = known() if known is not None else ProtocolError(f"error code {err}, which is unknown")
        if call.watch is not None:
            self.watches.registered(call.watch, err)
        self._finish(call)

    def _authenticated(self, call: Call | None, err: int) -> None:
        if err != 0:
            error = ERRORS.get(err, CodeError)()
            self.auth_error = error
            self.link_broken = "authentication failed"
            if call is not None:
                self._fail(call, error)
        elif call is not None:
            self._finish(call)

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
        if session is not None and sent_ms + session.timeout_ms > session.deadline_ms:
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
