"""What users hold of a watch: the one thing that a one-shot waits for, and streams."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Self

import anyio

from zabpy.model import NoNodeError, Stat, ZabpyError
from zabpy.wire import Op, packed, records as r

from .asking import Asking
from .errors import SessionLostError
from .events import Event, Resynced
from .session import Session
from .watches import OneShot, Subscription


class Fired:
    """A one-shot watch: waits for the next thing that happens to what was read with it."""

    def __init__(self, client: "Watching", watch: OneShot) -> None:
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
    async def watch(self, path: str, *, recursive: bool = False) -> AsyncIterator[AsyncIterator[Event]]:
        """A stream of what happens to the znode, and below it if ``recursive``; it need not exist.

        The first event is `Resynced`: from then on nothing is missed, so read after it. One more comes after each gap.
        """
        send, receive = anyio.create_memory_object_stream[Event](100_000)
        subscription = Subscription(
            self._full(path, "watch"), recursive, lambda event: send.send_nowait(self.seen(event))
        )
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
            if watches.unsubscribe(subscription) and not self._is_closed:
                self.background(self._unwatch, subscription.path)

    async def _unwatch(self, full: str) -> None:
        if self.core.watches.recursive_at(full) is None:
            body = packed(r.RemoveWatchesRequest(full, 3))
            try:
                await self._ask(Op.REMOVE_WATCHES, body, None, "unwatch", self._seen(full), None)
            except ZabpyError:
                pass  # the connection is gone, and the watch with it

    def seen(self, event: Event) -> Event:
        """The event with its path as users have it, without the chroot."""
        if isinstance(event, Resynced):
            return Resynced(self._seen(event.path), event.session_changed)
        return type(event)(self._seen(event.path), event.zxid)
