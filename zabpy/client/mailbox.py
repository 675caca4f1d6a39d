"""A stream's end that whoever fills it need not wait for: what is too much is merged, and nothing is raised there."""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, Self, TypeVar

import anyio

T = TypeVar("T")


class Mailbox(Generic[T]):
    """Holds at most ``limit`` items for one reader: ``async for item in mailbox``.

    Args:
        merge: what stands for all items when one more than ``limit`` would wait: at most ``limit`` of them.
        check: called before each item is read; raises where it may not be.
    """

    def __init__(
        self, limit: int, merge: Callable[[Sequence[T]], Sequence[T]], check: Callable[[], None] = lambda: None
    ) -> None:
        self._limit, self._merge, self._check = limit, merge, check
        self._items: deque[T] = deque()
        self._filled = anyio.Event()
        self._ended = False

    def put(self, item: T) -> None:
        """Never raises, never waits; after `end` it does nothing."""
        if self._ended:
            return
        self._items.append(item)
        if len(self._items) > self._limit:
            self._items = deque(self._merge(list(self._items)))
        self._filled.set()

    def end(self) -> None:
        """What is here can still be read, then the iteration ends."""
        self._ended = True
        self._filled.set()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        self._check()
        while not self._items:
            if self._ended:
                raise StopAsyncIteration
            self._filled = anyio.Event()
            await self._filled.wait()
        await anyio.lowlevel.checkpoint_if_cancelled()
        return self._items.popleft()
