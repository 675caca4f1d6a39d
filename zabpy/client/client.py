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
from random import Random
from types import TracebackType
from typing import Any, Literal, NamedTuple, Self

import anyio

from zabpy.model import (
    OPEN_ACL,
    Acls,
    BadArgumentsError,
    NodeExistsError,
    NoNodeError,
    Stat,
    ZabpyError,
    join,
    name_of,
    parent_of,
    validate,
)
from zabpy.wire import CLIENT_FRAME_BYTES_MAX, Op, Reader, packed, records as r

from .connection import Connection, Dial, dial_tcp, now_ms
from .errors import ClosedClientError, ConnectionLossError, NoServerError, RequestTooLargeError, SessionLostError
from .events import Event, Resynced
from .hosts import Hosts, parse_hosts
from .session import Call, Core, Session
from .states import State
from .watches import OneShot, Subscription

#: What a write does when it was sent and the connection broke before the answer.
LostReply = Literal["raise", "again", "once", "find"]


class Znode(NamedTuple):
    """What a read gives: ``data, stat = await zk.get(path)``. Null data reads as ``b""``."""

    data: bytes
    stat: Stat


class NewZnode(NamedTuple):
    """What a create gives. ``path`` has the sequence number, if one was asked for."""

    path: str
    stat: Stat


class Fired:
    """A one-shot watch: waits for the next thing that happens to what was read with it."""

    def __init__(self, client: "Client", watch: OneShot) -> None:
        self._client, self._watch = client, watch

    async def wait(self) -> Event:
        """The event. Raises `SessionLostError` if the session ended before."""
        watch = self._watch
        if watch.event is None and not watch.lost:
            event = anyio.Event()
            watch.wake = event.set
            await event.wait()
        if watch.event is None:
            raise SessionLostError(watch.lost)
        return self._client.seen(watch.event)

    @property
    def is_set(self) -> bool:
        return self._watch.event is not None or bool(self._watch.lost)

    def cancel(self) -> None:
        """Nobody waits for it any more. The server forgets it when it would have fired."""
        self._client.core.watches.forget(self._watch)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.cancel()


class Client:
    """See the head of this file. To be had from `connect`, and used within ``async with``."""

    def __init__(
        self,
        servers: str | Sequence[str],
        *,
        session_timeout_ms: int = 10_000,
        connect_timeout_ms: int = 15_000,
        request_timeout_ms: int = 15_000,
        close_timeout_ms: int = 3_000,
        read_only: bool = False,
        dial: Dial = dial_tcp,
        rng: Random | None = None,
    ) -> None:
        """
        Args:
            servers: ``host:port,host:port/chroot``, or a list of such hosts.
            session_timeout_ms: what is asked for; the servers have a say, see `Session.timeout_ms`.
            connect_timeout_ms: for the first session; then `NoServerError`.
            request_timeout_ms: how long an operation waits for a connection.
            close_timeout_ms: how long the end waits for clean-ups, and for the servers' word that the session is over.
            read_only: also a server without a quorum will do.
            dial: opens connections.
        """
        text = servers if isinstance(servers, str) else ",".join(servers)
        hosts, self.chroot = parse_hosts(text)
        self._rng = Random() if rng is None else rng
        self._connect_timeout_ms, self._close_timeout_ms = connect_timeout_ms, close_timeout_ms
        self._dial = dial
        self._hosts = Hosts(hosts, self._rng)
        self._states: dict[object, Callable[[State], None]] = {}
        self.core = Core(
            session_timeout_ms=session_timeout_ms,
            unsent_timeout_ms=request_timeout_ms,
            read_only=read_only,
            now_ms=now_ms,
            on_state=self._state_changed,
            tried=lambda: [(str(host), why) for host, why in self._connection.tried.items()],
        )
        self._dial_timeout_ms = max(1_000, session_timeout_ms // max(1, len(hosts)))
        self._opened = self._closed = False
        self._cleanups = 0
        self._cleaned = anyio.Event()

    async def __aenter__(self) -> Self:
        if self._opened:
            raise ClosedClientError("a client is opened once; make another one")
        self._opened = True
        self._connection = Connection(
            self.core, self._hosts, self._dial, self._rng, dial_timeout_ms=self._dial_timeout_ms
        )
        self._tasks = anyio.create_task_group()
        await self._tasks.__aenter__()
        try:
            self._tasks.start_soon(self._connection.keep_time)
            self._tasks.start_soon(self._connection.keep_linked)
            with anyio.move_on_after(self._connect_timeout_ms / 1000):
                await self.wait_connected()
            if self.core.session is None:
                tried = [(str(host), why) for host, why in self._connection.tried.items()]
                why = "; ".join(f"{server}: {reason}" for server, reason in tried)
                raise NoServerError(f"no server within {self._connect_timeout_ms} ms: {why}", tried)
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
                    raise ClosedClientError("the client was closed")

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

    # For recipes ------------------------------------------------------------------------------------------------------

    def background(self, fn: Callable[..., Awaitable[object]], *args: object, cleanup: bool = False) -> None:
        """Run ``await fn(*args)`` for as long as the client is open. The client's end waits for a ``cleanup``."""
        if not self._opened or self._closed:
            raise ClosedClientError("the client is not open: use it within `async with`")
        self._tasks.start_soon(self._cleanup if cleanup else _run, fn, *args)
        self._cleanups += cleanup

    async def _cleanup(self, fn: Callable[..., Awaitable[object]], *args: object) -> None:
        try:
            await fn(*args)
        finally:
            self._cleanups -= 1
            cleaned, self._cleaned = self._cleaned, anyio.Event()
            cleaned.set()

    # Operations -------------------------------------------------------------------------------------------------------

    async def create(
        self,
        path: str,
        data: bytes | None = b"",
        *,
        acl: Acls | None = None,
        ephemeral: bool = False,
        sequence: bool = False,
        container: bool = False,
        ttl_ms: int | None = None,
        parents: bool = False,
        lost_reply: LostReply = "once",
        session: Session | None = None,
    ) -> NewZnode:
        """Create a znode.

        Args:
            sequence: ten digits are put behind the name, and ``path`` may then end with a slash.
            parents: create what is missing above it, too.
        Raises:
            NodeExistsError, NoNodeError (no parent), NoChildrenForEphemeralsError, InvalidAclError, NoAuthError.
        """
        full = self._full(path, sequence)
        flags = _flags(ephemeral, sequence, container, ttl_ms)
        opcode = Op.CREATE_CONTAINER if container else Op.CREATE_TTL if ttl_ms is not None else Op.CREATE2
        acls = OPEN_ACL if acl is None else tuple(acl)
        body = packed(
            r.CreateRequest(full, data, acls, flags)
            if ttl_ms is None
            else r.CreateTTLRequest(full, data, acls, flags, ttl_ms)
        )
        attempt = 1
        while True:
            try:
                made = await self._ask(opcode, body, r.Create2Response.read, "create", path, session, attempt=attempt)
                return NewZnode(self._seen(made.path), made.stat)
            except NoNodeError:
                if not parents or parent_of(full) == (self.chroot or "/"):
                    raise
                await self.ensure(parent_of(path))
                parents = False
            except ConnectionLossError:
                if lost_reply == "again":
                    pass
                elif lost_reply == "find":
                    found = await self._find(path, session)
                    if found is not None:
                        return found
                else:
                    raise
            attempt += 1

    async def _find(self, path: str, session: Session | None) -> NewZnode | None:
        """What a create whose answer was lost has made: the child whose name begins as the one that was asked for."""
        parent, prefix = parent_of(path), name_of(path)
        # What the old connection's server still forwards is refused once the session has moved, and what it forwarded
        # before is ordered before this sync; so what is not there now will never be.
        await self.sync(parent, session=session)
        for name in await self.children(parent, session=session):
            if name.startswith(prefix):
                found = join(parent, name)
                stat = await self.exists(found, session=session)
                if stat is not None:
                    return NewZnode(found, stat)
        return None

    async def ensure(self, path: str, *, acl: Acls | None = None, session: Session | None = None) -> None:
        """Have the znode be there, and all above it; empty ones are created where they are missing."""
        self._full(path)
        missing: list[str] = []
        while path != "/" and await self.exists(path, session=session) is None:
            missing.append(path)
            path = parent_of(path)
        for each in reversed(missing):
            try:
                await self.create(each, acl=acl, lost_reply="again", session=session)
            except NodeExistsError:
                pass

    async def get(self, path: str, *, session: Session | None = None) -> Znode:
        """Data and stat. Raises `NoNodeError`, `NoAuthError`."""
        found = await self._ask(
            Op.GET_DATA, packed(r.GetDataRequest(self._full(path), False)), r.GetDataResponse.read, "get", path, session
        )
        return Znode(found.data or b"", found.stat)

    async def set(
        self,
        path: str,
        data: bytes | None,
        version: int = -1,
        *,
        lost_reply: LostReply = "raise",
        session: Session | None = None,
    ) -> Stat:
        """Set the data, if the znode has this version (-1: any).

        Raises:
            BadVersionError, NoNodeError, NoAuthError.
        """
        body = packed(r.SetDataRequest(self._full(path), data, version))
        done = await self._write(Op.SET_DATA, body, r.SetDataResponse.read, "set", path, session, lost_reply)
        stat: Stat = done.stat
        return stat

    async def delete(
        self, path: str, version: int = -1, *, lost_reply: LostReply = "raise", session: Session | None = None
    ) -> None:
        """Delete the znode, if it has this version (-1: any).

        Raises:
            NoNodeError, BadVersionError, NotEmptyError, NoAuthError.
        """
        body = packed(r.DeleteRequest(self._full(path), version))
        await self._write(Op.DELETE, body, None, "delete", path, session, lost_reply)

    async def exists(self, path: str, *, session: Session | None = None) -> Stat | None:
        """The stat, or None where there is no such znode."""
        body = packed(r.ExistsRequest(self._full(path), False))
        try:
            found = await self._ask(Op.EXISTS, body, r.ExistsResponse.read, "exists", path, session)
        except NoNodeError:
            return None
        stat: Stat = found.stat
        return stat

    async def children(self, path: str, *, session: Session | None = None) -> list[str]:
        """The names of the children, in no order. Raises `NoNodeError`, `NoAuthError`."""
        return (await self.children_and_stat(path, session=session))[0]

    async def children_and_stat(self, path: str, *, session: Session | None = None) -> tuple[list[str], Stat]:
        body = packed(r.GetChildren2Request(self._full(path), False))
        found = await self._ask(Op.GET_CHILDREN2, body, r.GetChildren2Response.read, "children", path, session)
        return list(found.children), found.stat

    async def sync(self, path: str = "/", *, session: Session | None = None) -> None:
        """Until this client's server has all that was final when it was asked."""
        await self._ask(Op.SYNC, packed(r.SyncRequest(self._full(path))), r.SyncResponse.read, "sync", path, session)

    # Watches ----------------------------------------------------------------------------------------------------------

    async def get_watched(self, path: str, *, session: Session | None = None) -> tuple[bytes, Stat, Fired]:
        """As `get`, and a watch for what happens to the znode next."""
        watch = OneShot("data", self._full(path))
        body = packed(r.GetDataRequest(watch.path, True))
        found = await self._ask(Op.GET_DATA, body, r.GetDataResponse.read, "get", path, session, watch)
        return found.data or b"", found.stat, Fired(self, watch)

    async def exists_watched(self, path: str, *, session: Session | None = None) -> tuple[Stat | None, Fired]:
        """As `exists`, and a watch for what happens to the znode next: its creation, too."""
        watch = OneShot("exists", self._full(path))
        body = packed(r.ExistsRequest(watch.path, True))
        try:
            found = await self._ask(Op.EXISTS, body, r.ExistsResponse.read, "exists", path, session, watch)
        except NoNodeError:
            return None, Fired(self, watch)
        return found.stat, Fired(self, watch)

    async def children_watched(self, path: str, *, session: Session | None = None) -> tuple[list[str], Stat, Fired]:
        """As `children_and_stat`, and a watch for children that come or go next, or the end of the znode."""
        watch = OneShot("children", self._full(path))
        body = packed(r.GetChildren2Request(watch.path, True))
        found = await self._ask(Op.GET_CHILDREN2, body, r.GetChildren2Response.read, "children", path, session, watch)
        return list(found.children), found.stat, Fired(self, watch)

    @asynccontextmanager
    async def watch(self, path: str, *, recursive: bool = False) -> AsyncIterator[AsyncIterator[Event]]:
        """A stream of what happens to the znode, and below it if ``recursive``; it need not exist.

        The first event is `Resynced`: from then on nothing is missed, so read after it. One more comes after each gap.
        """
        send, receive = anyio.create_memory_object_stream[Event](100_000)
        subscription = Subscription(self._full(path), recursive, lambda event: send.send_nowait(self.seen(event)))
        watches = self.core.watches
        watches.subscribe(subscription)
        try:
            mode = 1 if watches.recursive_at(subscription.path) else 0
            body = packed(r.AddWatchRequest(subscription.path, mode))
            await self._ask(Op.ADD_WATCH, body, r.ErrorResponse.read, "watch", path, None)
            send.send_nowait(Resynced(path))
            with send, receive:
                yield receive
        finally:
            if watches.unsubscribe(subscription) and not self._closed:
                self.background(self._unwatch, subscription.path)

    async def _unwatch(self, full: str) -> None:
        if self.core.watches.recursive_at(full) is None:
            body = packed(r.RemoveWatchesRequest(full, 3))
            try:
                await self._ask(Op.REMOVE_WATCHES, body, None, "unwatch", self._seen(full), None)
            except ZabpyError:
                pass  # the connection is gone, and the watch with it

    # Inside -----------------------------------------------------------------------------------------------------------

    def seen(self, event: Event) -> Event:
        """The event with its path as users have it, without the chroot."""
        if isinstance(event, Resynced):
            return Resynced(self._seen(event.path), event.session_changed)
        return type(event)(self._seen(event.path), event.zxid)

    def _full(self, path: str, sequence: bool = False) -> str:
        """The path as servers have it. Raises `BadArgumentsError` for what is none."""
        try:
            validate(path + "0" if sequence else path)
        except BadArgumentsError as error:
            error.path = path
            raise
        return self.chroot + path if path != "/" else self.chroot or "/"

    def _seen(self, full: str) -> str:
        return full[len(self.chroot) :] or "/"

    async def _write(
        self,
        opcode: int,
        body: bytes,
        read: Callable[[Reader], Any] | None,
        operation: str,
        path: str,
        session: Session | None,
        lost_reply: LostReply,
    ) -> Any:
        attempt = 1
        while True:
            try:
                return await self._ask(opcode, body, read, operation, path, session, attempt=attempt)
            except ConnectionLossError:
                if lost_reply != "again":
                    raise
            attempt += 1

    async def _ask(
        self,
        opcode: int,
        body: bytes,
        read: Callable[[Reader], Any] | None,
        operation: str,
        path: str,
        session: Session | None,
        watch: OneShot | None = None,
        *,
        attempt: int = 1,
    ) -> Any:
        """Send one request and wait for its answer. Reads are sent again when the connection breaks."""
        if self._closed or not self._opened:
            raise ClosedClientError(f"{operation} {path}: the client is not open: use it within `async with`")
        if 8 + len(body) > CLIENT_FRAME_BYTES_MAX:
            raise _about(RequestTooLargeError(8 + len(body), CLIENT_FRAME_BYTES_MAX), operation, path, self.core, 1)
        while True:
            call = Call(opcode, body, read, operation, path, session=session, watch=watch)
            self.core.submit(call)
            if not call.done:
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
            if call.error is None:
                return call.reply
            if isinstance(call.error, ConnectionLossError) and opcode in READS:
                attempt += 1
                continue
            raise _about(call.error, operation, path, self.core, attempt, call)


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


def _flags(ephemeral: bool, sequence: bool, container: bool, ttl_ms: int | None) -> int:
    if container:
        if ephemeral or sequence or ttl_ms is not None:
            raise BadArgumentsError("a container is neither ephemeral nor in sequence and has no lifetime")
        return 4
    if ttl_ms is not None:
        if ephemeral:
            raise BadArgumentsError("an ephemeral znode has no lifetime of its own")
        return 6 if sequence else 5
    return (1 if ephemeral else 0) | (2 if sequence else 0)


async def _run(fn: Callable[..., Awaitable[object]], *args: object) -> None:
    await fn(*args)
