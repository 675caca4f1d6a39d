"""What users hold of a watch: the one thing that a one-shot waits for, and streams."""

from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from copy import copy
from typing import Self

import anyio

from zabpy.model import BadArgumentsError, NoNodeError, Stat, UnimplementedError, ZabpyError
from zabpy.wire import Op, packed, records as r

from .asking import Asking
from .errors import SessionLostError, about
from .events import Event, Resynced
from .session import Session
from .watches import OneShot, Subscription

#: What may wait in a stream, unless `Watching.watch` is told otherwise.
EVENTS_MAX = 10_000


class Fired:
    """A one-shot watch: waits for the next thing that happens to what was read with it."""

    def __init__(self, client: "Watching", watch: OneShot) -> None:
        self._client, self._watch = client, watch
        self._told: anyio.Event | None = None

    async def wait(self) -> Event:
        """The event; any number of tasks may wait, and again.

        A reconnect is no event: what happened meanwhile is told after it. The one exception: after `exists_watched`
        found nothing, a znode that came and went while there was no connection goes unnoticed.

        Raises:
            SessionLostError: the session ended before, and all watches with it; or the client was closed.
            RuntimeError: it was given up by `cancel`.
            ForkedClientError, WrongLoopError: asked where the client must not be used.
        """
        watch = self._watch
        self._client._check_home("watch", self._client._seen(watch.path))
        if not self._is_over:
            if self._told is None:
                self._told = anyio.Event()
                watch.wake = self._told.set
            await self._told.wait()
        if watch.event is not None:
            return self._client.seen(watch.event)
        if watch.given_up:
            raise RuntimeError(f"the watch at {self._client._seen(watch.path)} was given up")
        error = SessionLostError(f"watch {self._client._seen(watch.path)}: {watch.lost}")
        error.operation, error.path = "watch", self._client._seen(watch.path)
        raise error

    @property
    def is_set(self) -> bool:
        """It fired, or never will, for the session is lost: `wait` does not wait."""
        return self._watch.event is not None or bool(self._watch.lost)

    @property
    def _is_over(self) -> bool:
        return self.is_set or self._watch.given_up

    def cancel(self) -> None:
        """Nobody waits for it any more. If it was the last one at its path the server is told to forget it."""
        if not self._is_over:
            self._watch.given_up = True
            self._client.core.watches.forget(self._watch)
            self._client._flush()
            if self._watch.wake is not None:
                self._watch.wake()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.cancel()


class EventStream:
    """Events as they come: ``async for event in events``. It ends with its ``async with`` block.

    Whoever reads too slowly finds, in place of all that was waiting, one `Resynced`: the core never waits for a reader.
    """

    def __init__(self, client: "Watching", path: str, events_max: int, jitter_ms: int) -> None:
        """``path`` is the server's."""
        self._client, self._path, self._seen, self._rng = client, path, client.seen, client._rng
        self._shown = client._seen(path)
        self._events_max, self._jitter_ms = events_max, jitter_ms
        self._waiting: deque[Event] = deque()
        self._filled = anyio.Event()
        self._error: ZabpyError | None = None
        self._left = False
        self._idle = False  # the reader has had all there was

    def put(self, event: Event) -> None:
        """On the client's own task: never raises, never waits."""
        waiting = self._waiting
        if len(waiting) >= self._events_max:  # all that waits, and this event, is one gap
            waiting.append(event)
            changed = any(isinstance(each, Resynced) and each.session_changed for each in waiting)
            waiting.clear()
            event = Resynced(self._path, changed)
        elif waiting and isinstance(event, Resynced) and isinstance(last := waiting[-1], Resynced):
            waiting.pop()
            event = Resynced(self._path, last.session_changed or event.session_changed)
        waiting.append(event)
        self._filled.set()

    def end(self, error: ZabpyError) -> None:
        """After what waits, this is raised."""
        self._error = about(copy(error), "watch", self._shown)  # each stream its own: who raises it adds to it
        self._filled.set()

    def leave(self) -> None:
        self._left = True
        self._filled.set()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        """Raises `ClosedClientError` once the client is closed, and where it must not be used as every call does."""
        self._client._check_home("watch", self._shown)
        await anyio.lowlevel.checkpoint_if_cancelled()
        while True:
            if self._left:
                raise StopAsyncIteration
            if self._waiting:
                if not (self._idle and self._jitter_ms):
                    break
                self._idle = False
                await anyio.sleep(self._rng.random() * self._jitter_ms / 1000)
            elif self._error is not None:
                raise self._error
            else:
                if self._filled.is_set():
                    self._filled = anyio.Event()
                await self._filled.wait()
        return self._next()

    def receive_nowait(self) -> Event:
        """The next event if one waits; `anyio.WouldBlock` if none does; other errors as above."""
        self._client._check_home("watch", self._shown)
        if self._waiting and not self._left:
            return self._next()
        if self._error is not None:
            raise self._error
        raise anyio.WouldBlock

    def _next(self) -> Event:
        event = self._waiting.popleft()
        self._idle = not self._waiting
        return self._seen(event)


class Watching(Asking):
    """The operations that watch."""

    async def get_watched(self, path: str, *, session: Session | None = None) -> tuple[bytes, Stat, Fired]:
        """As `get`, and a watch for what happens to the znode next."""
        watch = OneShot("data", self._full(path, "get"))
        body = packed(r.GetDataRequest(watch.path, True))
        found = await self._ask(Op.GET_DATA, body, r.GetDataResponse.read, "get", path, session, watch)
        return found.data or b"", found.stat, Fired(self, watch)

    async def exists_watched(self, path: str, *, session: Session | None = None) -> tuple[Stat | None, Fired]:
        """As `exists`, and a watch for what happens to the znode next: its creation, too."""
        watch = OneShot("exists", self._full(path, "exists"))
        body = packed(r.ExistsRequest(watch.path, True))
        try:
            found = await self._ask(Op.EXISTS, body, r.ExistsResponse.read, "exists", path, session, watch)
        except NoNodeError:
            return None, Fired(self, watch)
        return found.stat, Fired(self, watch)

    async def children_watched(self, path: str, *, session: Session | None = None) -> tuple[list[str], Stat, Fired]:
        """As `children_and_stat`, and a watch for children that come or go next, or the end of the znode."""
        watch = OneShot("children", self._full(path, "children"))
        body = packed(r.GetChildren2Request(watch.path, True))
        found = await self._ask(Op.GET_CHILDREN2, body, r.GetChildren2Response.read, "children", path, session, watch)
        return list(found.children), found.stat, Fired(self, watch)

    @asynccontextmanager
    async def watch(
        self, path: str, *, recursive: bool = False, events_max: int = EVENTS_MAX, jitter_ms: int = 0
    ) -> AsyncIterator[EventStream]:
        """A stream of what happens to the znode, and below it if ``recursive``; it need not exist.

        The first event is `Resynced`: from then on nothing is missed, so read after it. One more comes after each gap.
        An event is there before anything can be read that came after it. Of a znode the client may not read, nothing is
        told. A recursive stream tells of no `ChildrenChanged`: it tells of the children.

        Args:
            events_max: when so many wait to be read, a `Resynced` takes their place, and the next one's.
            jitter_ms: what comes after a pause waits for a time drawn from 0 to this, so that of many clients that
                watch the same not all read again at once.
        Raises:
            UnimplementedError: the server is older than ZooKeeper 3.6. It has closed the connection, too.
        """
        if events_max < 1 or jitter_ms < 0:
            raise BadArgumentsError(f"watch {path}: events_max is at least 1, jitter_ms at least 0")
        full = self._full(path, "watch")
        stream = EventStream(self, full, events_max, jitter_ms)
        subscription = Subscription(full, recursive, stream.put, stream.end)
        body = packed(r.AddWatchRequest(full, 0))
        try:
            try:
                await self._ask(Op.ADD_WATCH, body, r.ErrorResponse.read, "watch", path, None, subscription)
            except UnimplementedError as error:
                error.args = (f"{error}: streams of watches are to be had from ZooKeeper 3.6 on",)
                raise
            yield stream
        finally:
            stream.leave()
            self.core.watches.forget(subscription)
            self._flush()

    def seen(self, event: Event) -> Event:
        """The event with its path as users have it, without the chroot."""
        if isinstance(event, Resynced):
            return Resynced(self._seen(event.path), event.session_changed)
        return type(event)(self._seen(event.path), event.zxid)
