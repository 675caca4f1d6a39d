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

from zabpy.client import Client, Znode
from zabpy.model import join

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
    """What they hold now. Raises `NoConfigStoreError`, and what a client's reads raise."""
    places = {layer: path if layer == DEFAULT else join(join(path, LAYERS), layer) for layer in layers}
    head_path = join(path, HEAD)
    for _ in range(READS_MAX):
        marker, before = await zk.get_many([path, head_path])
        _check(path, marker)
        listed = await zk.children_many(places.values())
        keys = [
            (layer, name)
            for layer, names in zip(places, listed)
            for name in names or ()
            if not name.startswith(".")
        ]  # fmt: skip
        # Looked at first and last: many values may take several requests.
        first, *values, last = await zk.get_many(
            [head_path, *(join(places[layer], name) for layer, name in keys), head_path]
        )
        if before is None or first is None or last is None:
            if before is first is last:
                raise NoConfigStoreError(f"{path}: no config store: it has no {HEAD}")
        elif before.stat.mzxid == first.stat.mzxid == last.stat.mzxid:
            entries = {at: value.data for at, value in zip(keys, values) if value is not None}
            return _seen(path, before.data, entries)
    raise ConfigError(f"{path}: {READS_MAX} times a commit came while it was read")


def _check(path: str, marker: Znode | None) -> None:
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
