"""Which names fit what was typed, best first, a few out of very many, with pauses for the person who types."""

import re
from bisect import bisect_left
from collections.abc import AsyncIterator, Sequence

import anyio

#: So many names are looked at before other tasks have their turn: about a millisecond's worth.
PIECE = 1_000


async def fitting(names: Sequence[str], typed: str, most: int) -> AsyncIterator[str]:
    """Those that begin so; then those that have it within; then those that have its letters in this order.

    Args:
        names: sorted.
        most: so many names at most.
    """
    found = 0
    at = bisect_left(names, typed)
    while at < len(names) and names[at].startswith(typed) and found < most:
        yield names[at]
        at, found = at + 1, found + 1
    if not typed or found == most:
        return
    # The first of each letter will do, so nothing is tried twice: somebody is typing.
    letters = re.compile("".join(f"(?>.*?{re.escape(each)})" for each in typed), re.IGNORECASE | re.DOTALL).match
    lower, within = typed.lower(), found
    scattered: list[str] = []
    for start in range(0, len(names), PIECE):
        await anyio.lowlevel.checkpoint()
        for name in names[start : start + PIECE]:
            if not letters(name) or name.startswith(typed):
                continue
            if lower in name.lower():
                yield name
                within += 1
            elif len(scattered) < most:
                scattered.append(name)
            if within == most:
                return
    for name in sorted(scattered, key=len)[: most - within]:
        yield name
