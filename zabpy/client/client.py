"""What users hold: a session with an ensemble, and every operation of the protocol.

    async with zabpy.connect("zk1,zk2:2182/app") as zk:
        await zk.create("/greeting", b"hello")
        data, stat = await zk.get("/greeting")

An operation waits until there is a connection, at most ``request_timeout_ms`` (`NoServerError`: it was not done). Once
it was sent it waits for the answer or for the connection's end. Reads are then sent again; what writes do is said by
their ``lost_reply``. Cancelling a call never hurts the client; a write that was cancelled may have been done.
"""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Sequence
from contextlib import asynccontextmanager
from copy import copy
from random import Random
from ssl import SSLContext
from types import TracebackType, coroutine
from typing import Any, Self, TypeVar

import anyio

from zabpy.model import BadArgumentsError, NoNodeError, ZabpyError
from zabpy.wire import CLIENT_FRAME_BYTES_MAX, Op, Reader, packed, records as r

from .asking import Waking
from .background import Background
from .call import Call, Credential
from .clock import Clock
from .connection import Connection
from .core import Core
from .dialling import Dial, TcpDial, TlsDial
from .errors import ClientError, ClosedClientError, NoServerError, RequestTooLargeError, SessionLostError, about
from .following import Following
from .home import Home
from .hosts import Hosts, parse_servers
from .mailbox import Mailbox
from .sasl import Sasl
from .seeking import keep_seeking
from .session import Session
from .states import State, merged
from .tls import TLS, context_of
from .transaction import Transactions
from .trees import Trees
from .watches import Watch
from .watching import Watching

log = logging.getLogger("zabpy.client")

E = TypeVar("E", bound=ZabpyError)
#: So many states may wait to be read.
STATES_MAX = 16


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
                looked up at each attempt, and all their addresses tried. `ensure` makes the chroot, too.
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
        _check_ms("session_timeout_ms", session_timeout_ms, 1)
        _check_ms("connect_timeout_ms", connect_timeout_ms, 0)
        _check_ms("request_timeout_ms", request_timeout_ms, 0)
        _check_ms("close_timeout_ms", close_timeout_ms, 0)
        self._chroot_seen = False
        context, server_name = context_of(tls)
        credentials = [_identity(each) for each in _identities(auth)]
        if sasl is not None and not callable(getattr(sasl, "begin", None)):
            raise BadArgumentsError(f"sasl: expected a zabpy.Digest or a zabpy.Scram, not a {type(sasl).__name__}")
        if type(frame_bytes_max) is not int or frame_bytes_max < 1:
            raise BadArgumentsError(f"frame_bytes_max: expected bytes, 1 or more, not {frame_bytes_max!r}")
        self._rng = Random() if rng is None else rng
        self._connect_timeout_ms, self._close_timeout_ms = connect_timeout_ms, close_timeout_ms
        self.frame_bytes_max = frame_bytes_max
        self._dial = TcpDial(self._rng) if dial is None else dial
        if context is not None:
            self._dial = TlsDial(self._dial, context, server_name)
        self._hosts = Hosts(hosts, self._rng)
        self._follows = follow_ensemble
        self._states: dict[object, Mailbox[State]] = {}
        self.core = Core(
            session_timeout_ms=session_timeout_ms,
            unsent_timeout_ms=request_timeout_ms,
            read_only=read_only,
            sasl=sasl,
            now_ms=self._now_ms,
            on_state=self._state_changed,
            tried=lambda: self._hosts.tried,
        )
        self.core.login.credentials += [Credential(scheme, secret, None) for scheme, secret in credentials]
        self._opened = self._closed = False
        self._crash: Exception | None = None

    async def __aenter__(self) -> Self:
        if self._opened:
            raise about(ClosedClientError("a client is opened once; make another one"), "connect", None)
        self._opened = True
        self._home = Home()
        self._clock = Clock(self._home)
        self._new_event = type(anyio.Event())  # what the function makes, without its asking which loop this is
        self._connection = Connection(self.core, self._hosts, self._dial, self._rng, self._clock)
        self._tasks = anyio.create_task_group()
        self._background = Background(self._tasks, self._crashed)
        # When the block that the client was opened in is cancelled from further out, its clean-ups still need the
        # connection: so nothing of the client's own ends before its end says so.
        self._linking, self._linking_over = anyio.CancelScope(shield=True), anyio.Event()
        await self._tasks.__aenter__()
        self._body = anyio.CancelScope()
        self._body.__enter__()
        try:
            self._tasks.start_soon(self._keep_linked)
            with anyio.move_on_after(self._connect_timeout_ms / 1000):
                try:
                    await self.wait_connected()
                except NoServerError as error:
                    raise about(error, "connect", None) if not error.operation else error from None
            if self.core.state not in (State.CONNECTED, State.READ_ONLY):
                raise about(self.core.no_server(self._connect_timeout_ms), "connect", None)
            if self._follows:
                self.background(self._follow)
            if self.core.read_only:
                self.background(self._seek)
        except BaseException as error:
            await self.__aexit__(type(error), error, error.__traceback__)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait for clean-ups, stop what runs in the background, end the session, then the connection: all of it within
        ``close_timeout_ms``, whatever is cancelled meanwhile.

        What the body raised comes out as it was. If something in the background failed, the body was cancelled, and
        what comes out is that error.
        """
        if self._body.__exit__(kind, error, trace):
            kind = error = trace = None  # it was cancelled, because of what `_crash` is now
        try:
            if not self._home.left:  # a fork has the same sockets, but not the session
                with anyio.CancelScope(shield=True):
                    await self._close()
        finally:
            self._closed = True
            self.core.end()
            self._linking.cancel()
            with anyio.CancelScope(shield=True):
                await self._linking_over.wait()
                await anyio.lowlevel.checkpoint()  # asyncio's tasks are over one turn of the loop after their last line
            # All tasks have ended, so it does not wait. It is told of no exception: a cancellation by a scope that is
            # not around the client it would take for its own, and keep.
            try:
                await self._tasks.__aexit__(None, None, None)
            except BaseExceptionGroup as group:
                raise _only_one(group) from None
        if self._crash is not None:
            if error is None:
                raise self._crash
            error.add_note(f"something failed in the background of the client meanwhile: {self._crash!r}")

    async def _close(self) -> None:
        core, background = self.core, self._background
        until = anyio.current_time() + self._close_timeout_ms / 1000
        with anyio.CancelScope(deadline=until - self._close_timeout_ms / 4000):
            await background.wait_clean()
        with anyio.CancelScope(deadline=until):
            await background.stop()
            session = core.session
            if session is None or core.failure is not None:
                return
            # Should the connection break, or be away now, the next one is waited for.
            call = Call(Op.CLOSE_SESSION, b"", None, "close", None, session=session, again=True)
            core.close(call)
            if not call.done:
                await self._wait(call)
            if call.error is None:
                log.info("session %s ended", session)
                return
        log.info("session %s was not ended: its ephemeral znodes go when its time is up at the servers", session)

    async def _keep_linked(self) -> None:
        """All that moves bytes and tells the time. If it ends, in whatever way, nobody waits for it in vain."""
        try:
            with self._linking:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(self._connection.keep_time)
                    tasks.start_soon(self._connection.keep_linked)
        except* Exception as errors:
            self._crashed(errors)  # a bug of ours
        finally:
            if not self._linking.cancel_called:
                self._crashed(ClosedClientError("the client's own tasks were cancelled, which is for its end to do"))
            self._closed = True
            self.core.end()
            self._linking_over.set()

    def _crashed(self, error: Exception) -> None:
        if self._crash is None:
            self._crash = error
        self._body.cancel()

    def _now_ms(self) -> int:
        return self._clock.now_ms()

    # How it stands ----------------------------------------------------------------------------------------------------

    @property
    def state(self) -> State:
        return self.core.state

    @property
    def session(self) -> Session:
        """The current session. Raises `SessionLostError` while there is none."""
        self._check_open("session", None)
        session = self.core.session
        if session is None:
            raise about(SessionLostError("there is no session at the moment"), "session", None, server=self.core.server)
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
        """A stream of states: the one now, then each new one: ``async with zk.states() as s: async for state in s``.

        It ends behind `State.CLOSED`. Who falls far behind is told the newest only, and `State.LOST` before it if a
        session was lost on the way.
        """
        states = Mailbox(STATES_MAX, merged, self._check_states)
        states.put(self.core.state)
        key = object()
        self._states[key] = states
        try:
            if self._closed or self.core.state is State.CLOSED:
                states.end()
            yield states
        finally:
            del self._states[key]

    async def wait_connected(self) -> None:
        """Until there is a session and a connection. Raises `ClosedClientError` if the client ends before."""
        self._check_open("wait_connected", None)
        async with self.states() as states:
            async for state in states:
                if state in (State.CONNECTED, State.READ_ONLY):
                    return
        raise copy(self.core.failure or about(ClosedClientError("the client was closed"), "wait_connected", None))

    async def _wait_reconnected(self) -> None:
        """Until there is another connection than now, or the client ends."""
        async with self.states() as states:
            was_away = False
            async for state in states:
                is_there = state in (State.CONNECTED, State.READ_ONLY)
                if is_there and was_away:
                    return
                was_away = was_away or not is_there

    async def _follow(self) -> None:
        secure = isinstance(self._dial, TlsDial)
        await Following(self._ask, self._wait_reconnected, self._hosts, self._connection, secure=secure).run()

    async def _seek(self) -> None:
        async with self.states() as states:
            await keep_seeking(states, self._hosts, self._connection, self._dial, self._rng)

    async def wait_lost(self, session: Session) -> None:
        """Until this session is lost."""
        self._check_states()
        event = anyio.Event()
        undo = session.on_lost(event.set)
        try:
            await event.wait()
        finally:
            undo()

    def _check_states(self) -> None:
        if self._opened:
            self._check_home("states", None)

    def _state_changed(self, state: State) -> None:
        for states in self._states.values():
            states.put(state)
            if state is State.CLOSED:
                states.end()

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
        self._check_open("add_auth", None)
        self.core.add_auth(call, scheme, secret)
        if not call.done:
            await self._wait(call)
        if call.error is not None:
            raise call.error

    # For recipes ------------------------------------------------------------------------------------------------------

    def background(self, fn: Callable[..., Awaitable[object]], *args: object, cleanup: bool = False) -> None:
        """Run ``await fn(*args)`` for as long as the client is open, whatever is cancelled around it.

        At the client's end a ``cleanup`` is waited for (three quarters of ``close_timeout_ms``, then it is cancelled);
        everything else is cancelled then, before the session is ended. What it raises ends the client: the body is
        cancelled and the error comes out of its ``async with``.
        """
        self._check_open("background", None)
        self._background.start(fn, *args, cleanup=cleanup)

    # Inside -----------------------------------------------------------------------------------------------------------

    def _flush(self) -> None:
        if self._opened and not self._closed and not self._home.left:  # the streams that a fork drops are its parent's
            self._connection.flush()

    async def _ask(
        self,
        opcode: int,
        body: bytes,
        read: Callable[[Reader], Any] | None,
        operation: str,
        path: str | None,
        session: Session | None,
        watch: Watch | None = None,
        *,
        attempt: int = 1,
    ) -> Any:
        """Send one request and wait for its answer. Reads are sent again when the connection breaks."""
        self._check_open(operation, path)
        if 8 + len(body) > self.frame_bytes_max:
            raise self._about(RequestTooLargeError(8 + len(body), self.frame_bytes_max), operation, path)
        again = opcode in READS
        call = Call(opcode, body, read, operation, path, session=session, watch=watch, again=again, attempt=attempt)
        self.core.submit(call)
        if not call.done:
            await self._wait(call)
        if call.error is not None:
            try:
                await self._explain(call.error)
            except BaseException:
                self.core.give_up(call)  # of what is not there there may be a watch
                raise
            raise call.error
        return call.reply

    async def _ask_all(self, requests: Sequence[Call], operation: str, path: str | None) -> None:
        self._check_open(operation, path)
        try:
            for call in requests:
                self.core.submit(call)
            for call in reversed(
                requests
            ):  # answers come in order: with the last one all are there, and it is one wait
                if not call.done:
                    await self._wait(call)
        except BaseException:
            for call in requests:
                if not call.done:
                    self.core.give_up(call)
            raise

    async def _explain(self, error: ZabpyError) -> None:
        if isinstance(error, NoNodeError) and self.chroot and not self._chroot_seen:
            await self._look_for_chroot(error)

    async def _look_for_chroot(self, error: NoNodeError) -> None:
        """What is not there may be the chroot itself, and then the error says so. Once it was seen nobody looks again:
        that costs a request."""
        body = packed(r.ExistsRequest(self.chroot, False))
        call = Call(Op.EXISTS, body, None, "exists", "/", again=True)
        self.core.submit(call)
        if not call.done:
            await self._wait(call)
        self._chroot_seen = call.error is None
        if isinstance(call.error, NoNodeError):
            error.args = (f"{error}: the chroot {self.chroot} is not there; `await zk.ensure('/')` makes it",)

    def _check_open(self, operation: str, path: str | None) -> None:
        if self._closed or not self._opened:
            if self.core.failure is not None:
                raise about(copy(self.core.failure), operation, path)
            raise about(ClosedClientError("the client is not open: use it within `async with`"), operation, path)
        self._check_home(operation, path)

    def _check_home(self, operation: str, path: str | None) -> None:
        try:
            self._home.check()
        except ClientError as error:
            raise self._about(error, operation, path) from None

    def _about(self, error: E, operation: str, path: str | None) -> E:
        session = self.core.session
        session_id = session.id if session is not None else 0
        return about(error, operation, path, session_id=session_id, server=self.core.server)

    async def _wait(self, call: Call) -> None:
        if call.sent:
            self._connection.flush()
        else:
            self._connection.poke()
        try:
            await self._woken(call)
        except BaseException:
            self.core.give_up(call)
            raise

    async def _woken(self, by: Waking) -> None:
        if self._home.in_task():
            event = self._new_event()
            by.wake = event.set
            await event.wait()
        else:
            await _driven(by)


@coroutine
def _driven(by: Waking) -> Generator[Waking, None, None]:
    """Who runs this without a task is given what wakes us, and goes on then: `zabpy.blocking`."""
    yield by


def _check_ms(name: str, value: object, least: int) -> None:
    if type(value) is not int or not least <= value < 2**31:
        raise BadArgumentsError(f"{name}: expected whole milliseconds, {least} or more, not {value!r}")


def _only_one(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Where there is but one exception, a group around it tells nobody anything: such as a KeyboardInterrupt."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def _identities(auth: object) -> Sequence[object]:
    if not isinstance(auth, list | tuple):  # the text of what it is would show a secret
        raise BadArgumentsError(f"auth: expected a list of pairs, scheme and credential, not a {type(auth).__name__}")
    return auth


def _identity(given: object) -> tuple[str, bytes]:
    if not isinstance(given, list | tuple) or len(given) != 2 or not isinstance(given[0], str):
        raise BadArgumentsError("auth: expected pairs, scheme and credential, such as ('digest', 'name:password')")
    return given[0], secret_of(given[1])


def secret_of(credential: str | bytes) -> bytes:
    if not isinstance(credential, str | bytes):  # the text of a TypeError would show it
        raise BadArgumentsError("a credential is a string or bytes")
    return credential.encode() if isinstance(credential, str) else credential


#: What may be sent again whatever became of the first time.
READS = frozenset(
    {Op.EXISTS, Op.GET_DATA, Op.GET_ACL, Op.GET_CHILDREN, Op.GET_CHILDREN2, Op.SYNC, Op.MULTI_READ, Op.WHO_AM_I,
     Op.GET_EPHEMERALS, Op.GET_ALL_CHILDREN_NUMBER, Op.ADD_WATCH, Op.CHECK_WATCHES}
)  # fmt: skip
