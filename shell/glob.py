"""Patterns for paths: ``*``, ``?``, ``[a-z]``, ``{a,b}`` within a name, ``**`` for any number of names.

Only those children are asked for that the pattern leaves possible, a level at a time, all of one level at once.
"""

import re
from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise

import zabpy

ANY_DEPTH = "**"


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
    """For one name."""
    parts, at = [], 0
    while at < len(pattern):
        char = pattern[at]
        at += 1
        if char == "\\" and at < len(pattern):
            parts.append(re.escape(pattern[at]))
            at += 1
        elif char == "*":
            parts.append(".*")
        elif char == "?":
            parts.append(".")
        elif char == "[" and (end := pattern.find("]", at + 1)) > 0:
            inside = pattern[at:end]
            inside = "^" + inside[1:] if inside[0] in "!^" else inside
            parts.append("[" + inside.replace("\\", "").replace("[", "\\[") + "]")
            at = end + 1
        else:
            parts.append(re.escape(char))
    try:
        return re.compile("".join(parts) + r"\Z", re.DOTALL)
    except re.error:
        return re.compile(re.escape(pattern) + r"\Z")


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


async def matches(zk: zabpy.Client, pattern: str) -> list[str]:
    """The znodes whose full paths match, sorted. ``pattern`` is a full path."""
    found: set[str] = set()
    for each in braces(pattern):
        found |= await _matches(zk, [part for part in each.split("/") if part])
    return sorted(found)


async def _matches(zk: zabpy.Client, parts: list[str]) -> set[str]:
    here, certain = {"/"}, True  # `certain`: those are known to exist
    for part in parts:
        name = plain(part)
        if part == ANY_DEPTH:
            here, certain = await _all_below(zk, here), True
        elif name is not None:
            here, certain = {_join(parent, name) for parent in here}, False
        else:
            parents = sorted(here)
            fits = matcher(part).match
            children = await zk.children_many(parents)
            here = {_join(at, one) for at, names in zip(parents, children) for one in names or () if fits(one)}
            certain = True
    if certain or not here:
        return here
    paths = sorted(here)
    return {path for path, children in zip(paths, await zk.children_many(paths)) if children is not None}


async def _all_below(zk: zabpy.Client, tops: set[str]) -> set[str]:
    found, level = set(tops), sorted(tops)
    while level:
        children = await zk.children_many(level)
        level = [_join(parent, name) for parent, names in zip(level, children) for name in names or ()]
        level = [path for path in level if path not in found]
        found.update(level)
    return found


def _join(parent: str, name: str) -> str:
    return f"{parent}/{name}" if parent != "/" else f"/{name}"
