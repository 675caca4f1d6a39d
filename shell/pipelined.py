"""Many requests at once, but not too many: what walks over trees is built on this."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from zabpy.client import in_parallel

T = TypeVar("T")
U = TypeVar("U")

#: Single requests in flight; about what a server keeps busy with over a fast network.
REQUESTS_MAX = 256


async def each(fn: Callable[[T], Awaitable[U]], items: Sequence[T], at_once: int = REQUESTS_MAX) -> list[U]:
    """``await fn(item)`` of all, so many at a time; in their order. The first error ends it, and comes out as it is."""
    return await in_parallel(fn, items, at_once)
