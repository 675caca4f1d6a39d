"""A value that others look at and wait for; of what comes quickly after another only the last is seen."""

from collections.abc import Callable
from typing import Generic, TypeVar

import anyio

T = TypeVar("T")


class Latest(Generic[T]):
    """``value`` as of now. Plain calls set it, any number of tasks may wait."""

    def __init__(self, value: T) -> None:
        self.value = value
        self._ended: BaseException | None = None
        self._changed = anyio.Event()

    def set(self, value: T) -> None:
        if value != self.value:
            self.value = value
            self._wake()

    def end(self, error: BaseException | None = None) -> None:
        """No other value will come: streams end, with ``error`` if there is one."""
        self._ended = error or StopAsyncIteration()
        self._wake()

    def stream(self) -> "LatestStream[T]":
        return LatestStream(self)

    async def wait(self, condition: Callable[[T], bool]) -> T:
        """Until it meets the condition; what ended it is raised, `EOFError` for an end without an error."""
        while not condition(self.value):
            await self.wait_change()
        return self.value

    async def wait_change(self) -> None:
        """Until it may have changed."""
        if self._ended is not None:
            raise EOFError("no other value will come") if isinstance(self._ended, StopAsyncIteration) else self._ended
        await self._changed.wait()

    def _wake(self) -> None:
        changed, self._changed = self._changed, anyio.Event()
        changed.set()

    @property
    def ended(self) -> BaseException | None:
        return self._ended


class LatestStream(Generic[T]):
    """The value now, then each other one that it has when looked at: ``async with ... as s: async for value in s``."""

    def __init__(self, latest: Latest[T]) -> None:
        self._latest = latest
        self._seen: list[T] = []

    async def __aenter__(self) -> "LatestStream[T]":
        return self

    async def __aexit__(self, *_: object) -> None:
        return None

    def __aiter__(self) -> "LatestStream[T]":
        return self

    async def __anext__(self) -> T:
        latest = self._latest
        while self._seen and self._seen[0] == latest.value:
            if latest.ended is not None:
                raise latest.ended
            await latest.wait_change()
        self._seen = [latest.value]
        return latest.value
