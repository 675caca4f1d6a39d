"""What users hold: a session with an ensemble, and every operation of the protocol.

    async with zabpy.connect("zk1,zk2:2182/app") as zk:
        await zk.create("/greeting", b"hello")
        data, stat = await zk.get("/greeting")

An operation waits until there is a connection, at most ``request_timeout_ms`` (`NoServerError`: it was not done). Once
it was sent it waits for the answer or for the connection's end. Reads are then sent again; what writes do is said by
their ``lost_reply``. Cancelling a call never hurts the client; a write that was cancelled may have been done.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from copy import copy
from random import Random
from ssl import SSLContext
from types import TracebackType
from typing import Any, Self

import anyio

from zabpy.model import BadArgumentsError, ZabpyError
from zabpy.wire import CLIENT_FRAME_BYTES_MAX, Op, Reader

from .connection import Connection, now_ms, told
from .dialling import Dial, TcpDial, TlsDial
from .errors import ClosedClientError, ConnectionLossError, NoServerError, RequestTooLargeError, SessionLostError
from .hosts import Hosts, parse_servers
from .sasl import Sasl
from .session import Call, Core, Credential, Session
from .states import State
from .tls import TLS, context_of
from .transaction import Transactions
from .trees import Trees
from .watches import OneShot
from .watching import Watching


class Client(Trees, Transactions, Watching):
    """See the head of this file. To be had from `connect`, and used within ``async with``."""

    def __init__(
        self,
        servers: str | Sequence[str],
        *,
        session_timeout_ms: int = 10_000,
        connect_timeout_ms: int = 15_000,
        request_timeout_ms: int = 15_000,
        close_timeout_ms: int = 3_000,
        frame_bytes_max: int = CLIENT_FRAME_BYTES_MAX,
        read_only: bool = False,
        follow_ensemble: bool = True,
        tls: TLS | SSLContext | bool = False,
        sasl: Sasl | None = None,
        auth: Sequence[tuple[str, str | bytes]] = (),
        dial: Dial | None = None,
        rng: Random | None = None,
    ) -> None:
        """
        Args:
            servers: ``host:port,host:port/chroot``, or a list of such; the port is 2181 where there is none. Names are
                looked up at each attempt, and all their addresses tried.
            session_timeout_ms: what is asked for; the servers have a say, see `Session.timeout_ms`.
            connect_timeout_ms: for the first session; then `NoServerError`.
            request_timeout_ms: how long an operation waits for a connection.
            close_timeout_ms: how long the end waits for clean-ups, and for the servers' word that the session is over.
            frame_bytes_max: the servers' ``jute.maxbuffer``: they close the connection on a request of more bytes.
            read_only: also a server without a quorum will do, until there is one with.
            follow_ensemble: take to servers that join the ensemble, and leave those that leave it.
            tls: with whom to speak TLS, and how to know them: True for what the system trusts.
            sasl: who logs in, and by which mechanism, before anything else is sent: a `Digest` or a `Scram`.
            auth: identities, as for `add_auth`, that the very first connection has.
            dial: opens connections; TLS is then done over what it has opened.
        Raises:
            BadArgumentsError: it says which setting cannot be, and why.
        """
        hosts, self.chroot = parse_servers(servers)
        context, server_name = context_of(tls)
        credentials = [(scheme, secret_of(secret)) for scheme, secret in auth]
        self._rng = Random() if rng is None else rng
        self._connect_timeout_ms, self._close_timeout_ms = connect_timeout_ms, close_timeout_ms
        self.frame_bytes_max = frame_bytes_max
        self._dial = TcpDial(self._rng) if dial is None else dial
        if context is not None:
            self._dial = TlsDial(self._dial, context, server_name)
        self._hosts = Hosts(hosts, self._rng)
        self._follows = follow_ensemble
        self._states: dict[object, Callable[[State], None]] = {}
        self.core = Core(
            session_timeout_ms=session_timeout_ms,
            unsent_timeout_ms=request_timeout_ms,
            read_only=read_only,
            sasl=sasl,
            now_ms=now_ms,
            on_state=self._state_changed,
            tried=lambda: self._hosts.tried,
        )
        self.core.credentials += [Credential(scheme, secret, None) for scheme, secret in credentials]
        self._opened = self._closed = False
        self._running: set[anyio.CancelScope] = set()
        self._cleanups = 0
        self._cleaned = anyio.Event()

    async def __aenter__(self) -> Self:
        if self._opened:
            raise ClosedClientError("a client is opened once; make another one")
        self._opened = True
        self._connection = Connection(self.core, self._hosts, self._dial, self._rng)
        self._tasks = anyio.create_task_group()
        await self._tasks.__aenter__()
        try:
            self._start(self._connection.keep_time)
            self._start(self._connection.keep_linked)
            with anyio.move_on_after(self._connect_timeout_ms / 1000):
                await self.wait_connected()
            if self.core.state not in (State.CONNECTED, State.READ_ONLY):
                why = f"no server within {self._connect_timeout_ms} ms: {told(self._hosts)}"
                raise NoServerError(why, self._hosts.tried)
        except BaseException as error:
            await self._end(error)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        with anyio.CancelScope(shield=True), anyio.move_on_after(self._close_timeout_ms / 1000):
            while self._cleanups:
                await self._cleaned.wait()
        with anyio.CancelScope(shield=True), anyio.move_on_after(self._close_timeout_ms / 1000):
            if self.core.session is not None and self.core.state is not State.JEOPARDY:
                self._connection.closing = True
                call = Call(Op.CLOSE_SESSION, b"", None, "close", None)
                event = anyio.Event()
                call.wake = event.set
                self.core.close(call)
                self._connection.flush()
                if not call.done:
                    await event.wait()
        return await self._end(error)

    async def _end(self, error: BaseException | None) -> bool | None:
        self._closed = True
        self._tasks.cancel_scope.cancel()
        for scope in list(self._running):
            scope.cancel()
        self.core.end()
        # The body's own exception is not to be wrapped in a group; a cancellation is for the scopes to take.
        if error is not None and isinstance(error, anyio.get_cancelled_exc_class()):
            return await self._tasks.__aexit__(type(error), error, error.__traceback__)
        await self._tasks.__aexit__(None, None, None)
        return None

    # How it stands ----------------------------------------------------------------------------------------------------

    @property
    def state(self) -> State:
        return self.core.state

    @property
    def session(self) -> Session:
        """The current session. Raises `SessionLostError` while there is none."""
        session = self.core.session
        if session is None:
            if self._closed or not self._opened:
                raise ClosedClientError("the client is not open: use it within `async with`")
            if self.core.failure is not None:
                raise copy(self.core.failure)
            raise SessionLostError("there is no session at the moment")
        return session

    @property
    def server(self) -> str:
        """``host:port`` of the server that it is, or was last, connected to."""
        return self.core.server

    @property
    def last_zxid(self) -> int:
        """The newest state that an answer was given on."""
        return self.core.last_zxid

    @asynccontextmanager
    async def states(self) -> AsyncIterator[AsyncIterator[State]]:
        """A stream of states: the one now, then each new one: ``async with zk.states() as s: async for state in s``."""
        send, receive = anyio.create_memory_object_stream[State](1_000)
        send.send_nowait(self.core.state)
        key = object()
        self._states[key] = send.send_nowait
        try:
            with send, receive:
                yield receive
        finally:
            del self._states[key]

    async def wait_connected(self) -> None:
        """Until there is a session and a connection."""
        async with self.states() as states:
            async for state in states:
                if state in (State.CONNECTED, State.READ_ONLY):
                    return
                if state is State.CLOSED:
                    raise copy(self.core.failure or ClosedClientError("the client was closed"))

    async def wait_lost(self, session: Session) -> None:
        """Until this session is lost."""
        event = anyio.Event()
        undo = session.on_lost(event.set)
        try:
            await event.wait()
        finally:
            undo()

    def _state_changed(self, state: State) -> None:
        for tell in list(self._states.values()):
            tell(state)

    async def add_auth(self, scheme: str, credential: str | bytes) -> None:
        """Be one more identity, from what is asked next on: ``add_auth("digest", "bob:password")``.

        It is kept in mind, and sent on every later connection before anything else. Certificates (``x509``) and SASL
        need none. A wrong password of the scheme ``digest`` is nobody's, so it makes another identity and no error.

        Raises:
            AuthFailedError: the server knows no such scheme, or refuses the credential. It closes the connection then,
                so what other tasks had asked may end with `ConnectionLossError`; the client comes back without it. A
                credential that was accepted once and is refused later, when the client comes back, ends the client:
                every call raises this error.
        """
        call = Call(Op.AUTH, b"", None, "add_auth", None)
        secret = secret_of(credential)
        self._check_open("add_auth")
        self.core.add_auth(call, scheme, secret)
        if not call.done:
            await self._wait(call)
        if call.error is not None:
            raise _about(call.error, "add_auth", None, self.core, 1, call)

    # For recipes ------------------------------------------------------------------------------------------------------

    def background(self, fn: Callable[..., Awaitable[object]], *args: object, cleanup: bool = False) -> None:
        """Run ``await fn(*args)`` for as long as the client is open. The client's end waits for a ``cleanup``."""
        if not self._opened or self._closed:
            raise ClosedClientError("the client is not open: use it within `async with`")
        if cleanup:
            self._start(self._cleanup, fn, *args)
        else:
            self._start(fn, *args)
        self._cleanups += cleanup

    def _start(self, fn: Callable[..., Awaitable[object]], *args: object) -> None:
        self._tasks.start_soon(self._run, fn, *args)

    async def _run(self, fn: Callable[..., Awaitable[object]], *args: object) -> None:
        # When the block that the client was opened in is cancelled from further out, its clean-ups still need the
        # connection: so nothing of the client's own ends before its end says so.
        with anyio.CancelScope(shield=True) as scope:
            self._running.add(scope)
            try:
                if not self._closed:
                    await fn(*args)
            finally:
                self._running.discard(scope)

    async def _cleanup(self, fn: Callable[..., Awaitable[object]], *args: object) -> None:
        try:
            await fn(*args)
        finally:
            self._cleanups -= 1
            cleaned, self._cleaned = self._cleaned, anyio.Event()
            cleaned.set()

    # Inside -----------------------------------------------------------------------------------------------------------

    @property
    def _is_closed(self) -> bool:
        return self._closed

    async def _ask(
        self,
        opcode: int,
        body: bytes,
        read: Callable[[Reader], Any] | None,
        operation: str,
        path: str | None,
        session: Session | None,
        watch: OneShot | None = None,
        *,
        attempt: int = 1,
    ) -> Any:
        """Send one request and wait for its answer. Reads are sent again when the connection breaks."""
        self._check_open(f"{operation} {path}")
        if 8 + len(body) > self.frame_bytes_max:
            raise _about(RequestTooLargeError(8 + len(body), self.frame_bytes_max), operation, path, self.core, 1)
        while True:
            call = Call(opcode, body, read, operation, path, session=session, watch=watch)
            self.core.submit(call)
            if not call.done:
                await self._wait(call)
            if call.error is None:
                return call.reply
            if isinstance(call.error, ConnectionLossError) and opcode in READS and attempt < READ_ATTEMPTS_MAX:
                attempt += 1
                continue
            raise _about(call.error, operation, path, self.core, attempt, call)

    def _check_open(self, what: str) -> None:
        if self._closed or not self._opened:
            raise ClosedClientError(f"{what}: the client is not open: use it within `async with`")

    async def _wait(self, call: Call) -> None:
        event = anyio.Event()
        call.wake = event.set
        if call.sent:
            self._connection.flush()
        else:
            self._connection.poke()
        try:
            await event.wait()
        except BaseException:
            self.core.give_up(call)
            raise


def secret_of(credential: str | bytes) -> bytes:
    if not isinstance(credential, str | bytes):  # the text of a TypeError would show it
        raise BadArgumentsError("a credential is a string or bytes")
    return credential.encode() if isinstance(credential, str) else credential


#: So many connections may break under one read: what breaks more of them is likely the read itself, or its answer.
READ_ATTEMPTS_MAX = 10
#: What may be sent again whatever became of the first time.
READS = frozenset(
    {Op.EXISTS, Op.GET_DATA, Op.GET_ACL, Op.GET_CHILDREN, Op.GET_CHILDREN2, Op.SYNC, Op.MULTI_READ, Op.WHO_AM_I,
     Op.GET_EPHEMERALS, Op.GET_ALL_CHILDREN_NUMBER, Op.ADD_WATCH, Op.CHECK_WATCHES}
)  # fmt: skip


def _about(
    error: ZabpyError, operation: str, path: str | None, core: Core, attempt: int, call: Call | None = None
) -> ZabpyError:
    error.operation, error.path, error.attempt = operation, path, attempt
    error.session_id = core.session.id if core.session else 0
    error.server = (call.server if call else "") or core.server
    error.zxid = call.zxid if call else 0
    where = f"{operation} {path}" if path is not None else operation
    what = str(error) or getattr(error, "name", "")
    error.args = (f"{where}: {what} (server {error.server or 'none'}, session {error.session_id & 2**64 - 1:#x})",)
    return error
