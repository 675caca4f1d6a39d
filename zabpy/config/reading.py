"""One reader of a namespace: its states, whole and in order, from the one there is now on.

A namespace is a znode with a marker in it; ``.head`` below it tells of the last commit, and is written by each, in the
same transaction as the values. So what is read between two looks at ``.head`` that find the same is of one revision,
and whoever watches ``.head`` alone misses no commit.
"""

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from zabpy.client import Client, Znode, in_parallel
from zabpy.model import NoNodeError, join

from .canary import Canary, decoded
from .errors import ConfigError
from .layers import DEFAULT

FORMAT: Final = "zabpy.config"
VERSION: Final = 1
HEAD: Final = ".head"
LAYERS: Final = ".layers"
#: How often a read that a commit came into the middle of is begun anew.
READS_MAX: Final = 100


class NoConfigStoreError(ConfigError):
    """What is at that path is no namespace of a config store, or there is nothing."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What the wanted layers held at one revision: layer and key → value."""

    revision: int
    entries: Mapping[tuple[str, str], bytes]
    canary: Canary | None = None


@asynccontextmanager
async def follow(zk: Client, path: str, layers: Sequence[str]) -> AsyncIterator[AsyncIterator[Seen]]:
    """``async with follow(...) as states: async for state in states``. Of those that come quickly some are left out.

    Raises `NoConfigStoreError`, and what a client's reads raise.
    """
    async with zk.watch(join(path, HEAD)) as events:

        async def states() -> AsyncIterator[Seen]:
            told: int | None = None
            async for _ in events:
                state = await read(zk, path, layers)
                if state.revision != told:
                    told = state.revision
                    yield state

        yield states()


async def read(zk: Client, path: str, layers: Sequence[str]) -> Seen:
    """What they hold now. Raises `NoConfigStoreError`, and what a client's reads raise.

    Takes two round trips, or as many more as the values have frames besides the first.
    """
    places = {layer: path if layer == DEFAULT else join(join(path, LAYERS), layer) for layer in layers}
    top = [path, join(path, HEAD)]
    for _ in range(READS_MAX):
        found, listed = await _begin(zk, top, list(places.values()))
        check_marker(path, found[0])
        keys = [
            (layer, name) for layer, (names, _) in zip(places, listed) for name in names if not name.startswith(".")
        ]
        # What was found is looked at first and last: many values take several requests. And a list of names is as old
        # as it was when the values are read, if its znode has the cversion that it had.
        paths = [*top[1:], *places.values(), *(join(places[layer], name) for layer, name in keys), *top[1:]]
        head, *values, last = await zk.get_many(paths)
        if found[1] is None or head is None or last is None:
            if found[1] is head is last:
                raise NoConfigStoreError(f"{path}: no config store: it has no {HEAD}")
            continue
        now = [None if each is None else each.stat.cversion for each in values[: len(places)]]
        if found[1].stat.mzxid == head.stat.mzxid == last.stat.mzxid and now == [cversion for _, cversion in listed]:
            pairs = zip(keys, values[len(places) :])
            return _seen(path, head.data, {at: value.data for at, value in pairs if value is not None})
    raise ConfigError(f"{path}: {READS_MAX} times a commit came while it was read")


async def _begin(
    zk: Client, top: list[str], places: list[str]
) -> tuple[list[Znode | None], list[tuple[list[str], int | None]]]:
    """Marker and ``.head``, and the children of each layer with the cversion of its znode; all asked for in one go."""

    async def children(place: str) -> tuple[list[str], int | None]:
        try:
            names, stat = await zk.children_and_stat(place)
        except NoNodeError:
            return [], None
        return names, stat.cversion

    async def ask(place: str | None) -> Any:
        return await (zk.get_many(top) if place is None else children(place))

    found, *listed = await in_parallel(ask, [None, *places])
    return found, listed


def check_marker(path: str, marker: Znode | None) -> None:
    if marker is None:
        raise NoConfigStoreError(f"{path}: no config store: there is nothing")
    found = _json(marker.data)
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise NoConfigStoreError(f"{path}: no config store: its data is something else")
    if found.get("version") != VERSION:
        raise NoConfigStoreError(f"{path}: a config store of version {found.get('version')!r}, which is not known here")


def _seen(path: str, head: bytes, entries: Mapping[tuple[str, str], bytes]) -> Seen:
    found = _json(head)
    revision = found.get("revision") if isinstance(found, dict) else None
    if type(revision) is not int or revision < 0:
        raise NoConfigStoreError(f"{path}: no config store: its {HEAD} tells no revision")
    try:
        return Seen(revision, entries, decoded(found.get("canary")))
    except ValueError as error:
        raise ConfigError(f"{path}: revision {revision}: {error}") from None


def _json(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None
