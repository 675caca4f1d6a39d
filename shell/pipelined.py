"""Many requests at once, but not too many: what walks over trees is built on this."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import anyio

T = TypeVar("T")
U = TypeVar("U")

#: Single requests in flight; about what a server keeps busy with over a fast network.
REQUESTS_MAX = 256


async def each(fn: Callable[[T], Awaitable[U]], items: Sequence[T], at_once: int = REQUESTS_MAX) -> list[U]:
    """``await fn(item)`` of all, so many at a time; in their order. The first error ends it, and comes out as it is."""
    found: dict[int, U] = {}
    failed: list[Exception] = []
    left = iter(range(len(items)))

    async def work() -> None:
        for index in left:
            try:
                found[index] = await fn(items[index])
            except Exception as error:
                failed.append(error)
                tasks.cancel_scope.cancel()
                return

    if len(items) == 1:
        return [await fn(items[0])]
    async with anyio.create_task_group() as tasks:
        for _ in range(min(at_once, len(items))):
            tasks.start_soon(work)
    if failed:
        raise failed[0]
    return [found[index] for index in range(len(items))]
