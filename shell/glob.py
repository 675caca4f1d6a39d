"""Patterns for paths: ``*``, ``?``, ``[a-z]``, ``{a,b}`` within a name, ``**`` for any number of names.

Only those children are asked for that the pattern leaves possible, a level at a time, all of one level at once. What
may not be read is passed over, and noted. ``*`` stands for names with a dot in front, too.
"""

import re
from collections.abc import Iterator
from functools import lru_cache
from itertools import islice, pairwise

from zabpy.client import Client
from zabpy.model import join

from .errors import ShellError, UsageError
from .walk import Denied, Reading

ANY_DEPTH = "**"
#: So many paths one pattern may stand for, also on the way; what acts on more is to walk, as find does.
MATCHES_MAX = 500_000
#: So many patterns the braces of one may stand for.
BRACES_MAX = 10_000


def braces(pattern: str) -> Iterator[str]:
    """``a{b,c}d`` is ``abd`` and ``acd``; nested ones too. One without a comma or an end stands for itself."""
    depth, start = 0, -1
    commas: list[int] = []
    at = 0
    while at < len(pattern):
        char = pattern[at]
        if char == "\\":
            at += 1
        elif char == "{":
            if depth == 0:
                start, commas = at, []
            depth += 1
        elif char == "," and depth == 1:
            commas.append(at)
        elif char == "}" and depth:
            depth -= 1
            if depth == 0 and commas:
                bounds = [start, *commas, at]
                for left, right in pairwise(bounds):
                    yield from braces(pattern[:start] + pattern[left + 1 : right] + pattern[at + 1 :])
                return
        at += 1
    yield pattern


@lru_cache(256)
def matcher(pattern: str) -> re.Pattern[str]:
    """For one name. It never takes longer than the length of the pattern times that of the name."""
    chunks: list[list[str]] = [[]]  # what stands between stars: each item takes one character
    at = 0
    while at < len(pattern):
        char = pattern[at]
        at += 1
        if char == "\\" and at < len(pattern):
            chunks[-1].append(re.escape(pattern[at]))
            at += 1
        elif char == "*":
            chunks.append([])
        elif char == "?":
            chunks[-1].append(".")
        elif char == "[" and (end := pattern.find("]", at + 1)) > 0:
            chunks[-1].append(_set(pattern[at:end]))
            at = end + 1
        else:
            chunks[-1].append(re.escape(char))
    first, *others = ("".join(chunk) for chunk in chunks)
    # Where a chunk fits first it may be taken for good: so no star is ever tried twice.
    middle = "".join(f"(?>.*?{chunk})" for chunk in others[:-1] if chunk)
    last = f".*{others[-1]}" if others else ""
    return re.compile(rf"{first}{middle}{last}\Z", re.DOTALL)


def _set(inside: str) -> str:
    """``[a-z]``, ``[!a]``; one that cannot be, such as ``[z-a]``, stands for itself, as in sh."""
    negated = inside[0] in "!^" and len(inside) > 1
    wanted = inside[1:] if negated else inside
    wanted = re.sub(r"([\[\]&~|^])", r"\\\1", wanted.replace("\\", ""))
    made = f"[{'^' if negated else ''}{wanted}]"
    try:
        re.compile(made)
    except re.error:
        return re.escape(f"[{inside}]")
    return made


def plain(pattern: str) -> str | None:
    """The name itself, if there is no wildcard in it."""
    parts, at = [], 0
    while at < len(pattern):
        if pattern[at] == "\\" and at + 1 < len(pattern):
            at += 1
        elif pattern[at] in "*?[":
            return None
        parts.append(pattern[at])
        at += 1
    return "".join(parts)


async def matches(zk: Client, pattern: str, denied: list[str] | None = None) -> list[str]:
    """The znodes whose full paths match, sorted. ``pattern`` is a full path. To ``denied`` is added what may not be
    read, so that nobody knows whether what is below would match.

    Raises:
        UsageError: it stands for more than `MATCHES_MAX` znodes, or `BRACES_MAX` patterns.
    """
    alternatives = list(islice(braces(pattern), BRACES_MAX + 1))
    if len(alternatives) > BRACES_MAX:
        raise UsageError(f"{pattern}: its braces stand for more than {BRACES_MAX:,} patterns")
    matching = _Matching(zk, pattern)
    found: set[str] = set()
    for each in alternatives:
        found |= await matching.of(_parts(each))
    if denied is not None:
        denied += sorted(matching.denied)
    return sorted(found)


def _parts(pattern: str) -> list[str]:
    parts: list[str] = []
    for part in pattern.split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part)
    return parts


class _Matching:
    def __init__(self, zk: Client, pattern: str) -> None:
        self._reading, self._pattern = Reading(zk), pattern
        self.denied: set[str] = set()

    async def of(self, parts: list[str]) -> set[str]:
        here, certain = {"/"}, True  # `certain`: those are known to exist
        for part in parts:
            name = plain(part)
            if part == ANY_DEPTH:
                here, certain = await self._all_below(here if certain else await self._there(here)), True
            elif name is not None:
                here, certain = {join(parent, name) for parent in here}, False
            else:
                fits = matcher(part).match
                here = {join(at, one) for at, names in await self._children(here) for one in names if fits(one)}
                certain = True
            if len(here) > MATCHES_MAX:
                raise self._too_many()
        return here if certain else await self._there(here)

    async def _there(self, wanted: set[str]) -> set[str]:
        paths = sorted(wanted)
        return {path for path, stat in zip(paths, await self._reading.stats(paths), strict=True) if stat is not None}

    async def _all_below(self, tops: set[str]) -> set[str]:
        found, level = set(tops), tops
        while level:
            level = {join(at, name) for at, names in await self._children(level) for name in names} - found
            found |= level
            if len(found) > MATCHES_MAX:
                raise self._too_many()
        return found

    async def _children(self, parents: set[str]) -> list[tuple[str, list[str]]]:
        paths = sorted(parents)
        found = list(zip(paths, await self._reading.names(paths), strict=True))
        self.denied.update(path for path, names in found if isinstance(names, Denied))
        return [(path, names) for path, names in found if isinstance(names, list)]

    def _too_many(self) -> ShellError:
        return UsageError(f"{self._pattern}: stands for more than {MATCHES_MAX:,} znodes")
