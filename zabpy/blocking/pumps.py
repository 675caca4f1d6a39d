"""What hands the items of an async iterator to plain code: one task that asks for each when it is wanted.

One task, because an iterator may hold scopes of the task it runs in. Only when it is wanted, because to ask may be to
take (a queue's item). Who gives up waiting loses nothing: the item that was asked for is the next one's who asks.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Generic, TypeVar

import anyio

from zabpy.client import ClosedClientError

from .portal import JOIN_MS, Job, Portal, TimedOutError, new_lock

T = TypeVar("T")


class Pump(Generic[T]):
    def __init__(self, portal: Portal, items: AsyncIterator[T]) -> None:
        self._portal, self._items = portal, items
        self._turn = new_lock()  # one thread waits, the others wait for their turn
        self._asked: Job[T] | None = None
        self._wanted = asyncio.Event()
        self._scope: anyio.CancelScope | None = None
        self._started = self._ended = False

    # In a thread ------------------------------------------------------------------------------------------------------

    def next(self, timeout_ms: int | None = None) -> T:
        """The next item. Raises `StopAsyncIteration` after the last one, `TimedOutError`."""
        self._portal.check()
        until = None if timeout_ms is None else time.monotonic() + timeout_ms / 1000
        if not self._turn.acquire(timeout=-1 if timeout_ms is None else max(0, timeout_ms) / 1000):
            raise TimedOutError(f"nothing within {timeout_ms} ms")
        try:
            if self._asked is None:
                if self._ended:
                    raise StopAsyncIteration
                self._asked = Job()
            self._portal.submit(self._asked, self._ask)  # again, if the one before gave up: perhaps before it had asked
            if not self._asked.wait(None if until is None else int((until - time.monotonic()) * 1000)):
                raise TimedOutError(f"nothing within {timeout_ms} ms")
            job, self._asked = self._asked, None
            return job.outcome()
        finally:
            self._turn.release()

    def close(self) -> None:
        """Nobody will ask any more: close the iterator, soon. Waits for nothing, so that a finalizer may call it."""
        if not self._ended and not self._portal.forked:
            self._ended = True
            self._portal.tell(self._end)

    # On the loop ------------------------------------------------------------------------------------------------------

    def _ask(self) -> None:
        if not self._started:
            self._started = True
            self._portal.spawn(self._serve)
        self._wanted.set()

    def _end(self) -> None:
        if self._scope is not None:
            self._scope.cancel()

    async def _serve(self) -> None:
        try:
            with anyio.CancelScope() as self._scope:
                while not self._ended:
                    await self._wanted.wait()
                    self._wanted = asyncio.Event()
                    job = self._asked
                    if job is not None and not job.finished:
                        await self._fetch(job)
        finally:
            close = getattr(self._items, "aclose", None)
            if close is not None:
                with anyio.CancelScope(shield=True), anyio.move_on_after(JOIN_MS / 1000):
                    await close()

    async def _fetch(self, job: Job[T]) -> None:
        try:
            job.finish(await anext(self._items))
        except asyncio.CancelledError:
            job.finish(None, ClosedClientError("closed meanwhile"))
            raise
        except BaseException as error:
            self._ended = self._ended or isinstance(error, StopAsyncIteration)
            job.finish(None, error)
        finally:
            self._portal.done_with(job)
