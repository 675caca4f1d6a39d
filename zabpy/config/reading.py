"""One reader of a namespace: its states, whole and in order, from the one there is now on.

A namespace is a znode with a marker in it; ``.head`` below it tells of the last commit, and is written by each, in the
same transaction as the values. So what is read between two looks at ``.head`` that find the same is of one revision,
and whoever watches ``.head`` alone misses no commit. It also says what the last commits changed (head.py): who has the
state before them asks for nothing else, and a state that commits came into the middle of is put right by it.

What a state comes to (its count and hash) stands in the store, too. If that is not what was read, somebody has changed
a value without a commit: `Seen.verified` says so. The values are taken as they are.
"""

import math
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from zabpy.client import Client, EventStream, ReplyTooLargeError, Znode, in_parallel
from zabpy.model import NoNodeError, join

from .canary import Canary, decoded
from .errors import ConfigError
from .head import At, Head, Sum, applied, parsed, stated_of, summed, sums_of
from .layers import DEFAULT

FORMAT: Final = "zabpy.config"
VERSION: Final = 1
HEAD: Final = ".head"
LAYERS: Final = ".layers"
#: How often a read that a commit came into the middle of is begun anew.
READS_MAX: Final = 100
#: Values are asked for so many bytes at a time, as far as can be told before.
READ_BYTES: Final = 4 * 1024 * 1024
#: At a time: so many need no look at how large they are; of so many it is known that they are not too large.
READ_MAX, READ_SURELY_MAX = 2_000, 32
#: So many such requests are under way.
READS_AT_ONCE: Final = 4


class NoConfigStoreError(ConfigError):
    """What is at that path is no namespace of a config store, or there is nothing."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What the wanted layers held at one revision: layer and key → value."""

    revision: int
    entries: Mapping[At, bytes]
    canary: Canary | None = None
    #: Of ``.head``: the zxid of its last change, and of its creation. 0: not read from a store.
    zxid: int = 0
    born: int = 0
    sums: Mapping[str, Sum] = field(default_factory=dict, repr=False)
    #: False: a value was changed without a commit.
    verified: bool = True


@dataclass(frozen=True, slots=True)
class Gathered:
    """Seen, and what one who writes asks for besides. All of one revision."""

    head: Head
    stat: Any  # of ``.head``
    entries: dict[At, bytes]
    #: Of the znodes of those entries to which no commit came while they were read.
    versions: dict[At, int]
    places: dict[str, Znode | None]
    more: list[Znode | None]
    sums: dict[str, Sum]
    verified: bool


@asynccontextmanager
async def follow(
    zk: Client, path: str, layers: Sequence[str], known: Seen | None = None
) -> AsyncIterator[AsyncIterator[Seen]]:
    """``async with follow(...) as states: async for state in states``. Of those that come quickly some are left out.

    The first is what there is now. ``known`` is a state that was followed before: what comes is not older, unless the
    namespace itself is (it was made anew, or the servers were).

    Raises `NoConfigStoreError`, and what a client's reads raise.
    """
    async with AsyncExitStack() as stack:

        async def watch() -> EventStream:
            return await stack.enter_async_context(zk.watch(join(path, HEAD)))

        async def begin() -> Seen | None:
            return await read(zk, path, layers) if known is None else None

        # In one go. What came between is noticed at the first event, which is there as soon as nothing is missed.
        parts: list[Callable[[], Awaitable[Any]]] = [watch, begin]
        events, first = await in_parallel(lambda part: part(), parts)

        async def states() -> AsyncIterator[Seen]:
            held, told = known, False
            if first is not None:
                held, told = first, True
                yield first
            async for _ in events:
                state = await _next(zk, path, layers, held)
                if state is not held or not told:
                    held, told = state, True
                    yield state

        yield states()


async def _next(zk: Client, path: str, layers: Sequence[str], held: Seen | None) -> Seen:
    if held is not None and held.zxid:
        try:
            found = await zk.get(join(path, HEAD))
        except NoNodeError:
            raise NoConfigStoreError(f"{path}: no config store: it has no {HEAD}") from None
        if found.stat.mzxid == held.zxid:
            return held
        if (state := _advanced(path, layers, held, found)) is not None:
            return state
    state = await read(zk, path, layers)
    if held is not None and (state.zxid < held.zxid or state.revision < held.revision):
        # This server has not heard of what we saw at another one.
        await zk.sync(path)
        state = await read(zk, path, layers)
    return state


def _advanced(path: str, layers: Sequence[str], held: Seen, found: Znode) -> Seen | None:
    """The state after the commits that ``.head`` tells of; None if that cannot be told, or comes to something else."""
    if found.stat.czxid != held.born or found.stat.mzxid < held.zxid or not held.verified:
        return None
    head = _head(path, found.data)
    changes = head.since(held.revision) if head.revision > held.revision else None
    if changes is None:
        return None
    changes = {at: value for at, value in changes.items() if at[0] in layers}
    entries, sums = applied(held.entries, changes), summed(held.sums, held.entries, changes)
    for layer in layers:
        if layer in head.sums and head.sums[layer] != sums.get(layer, Sum()).stated:
            return None
    return Seen(head.revision, entries, _canary(path, head), found.stat.mzxid, held.born, sums)


async def read(zk: Client, path: str, layers: Sequence[str]) -> Seen:
    """What they hold now. Raises `NoConfigStoreError`, and what a client's reads raise.

    Takes two round trips; where the values are many megabytes, two more, or less than one for each of them.
    """
    found = await gather(zk, path, layers)
    return Seen(
        found.head.revision,
        found.entries,
        _canary(path, found.head),
        found.stat.mzxid,
        found.stat.czxid,
        found.sums,
        found.verified,
    )


async def gather(zk: Client, path: str, layers: Sequence[str] | None, more: Sequence[str] = ()) -> Gathered:
    """These layers, or all (which takes one round trip more), and ``more`` znodes below ``path``."""
    at_once = None
    for _ in range(READS_MAX):
        listing = await _begin(zk, path, layers)
        check_marker(path, listing.marker)
        try:
            found = await _values(zk, path, listing, [join(path, name) for name in more], at_once)
        except ReplyTooLargeError:
            at_once = READ_SURELY_MAX
            continue
        if found is not None:
            return found
    raise ConfigError(f"{path}: {READS_MAX} times a commit came while it was read")


@dataclass(frozen=True, slots=True)
class _Listing:
    marker: Znode | None
    head: Znode | None
    #: Layer → its znode's path.
    places: dict[str, str]
    #: Znode's path → its names, and pzxid, which is another one after each creation and deletion; None: no such znode.
    names: dict[str, tuple[list[str], int | None]]


async def _begin(zk: Client, path: str, layers: Sequence[str] | None) -> _Listing:
    """Marker and ``.head``, and the children of each layer; all asked for in one go."""

    async def ask(place: str | None) -> Any:
        if place is None:
            return await zk.get_many([path, join(path, HEAD)])
        try:
            names, stat = await zk.children_and_stat(place)
        except NoNodeError:
            return [], None
        return names, stat.pzxid

    above = join(path, LAYERS)
    asked = [path, above] if layers is None else [_place(path, layer) for layer in layers]
    (marker, head), *listed = await in_parallel(ask, [None, *asked])
    names = dict(zip(asked, listed))
    if layers is None:
        layers = [DEFAULT, *sorted(name for name in names[above][0] if name != DEFAULT)]
        further = [_place(path, layer) for layer in layers[1:]]
        names.update(zip(further, await in_parallel(ask, further)) if further else ())
    return _Listing(marker, head, {layer: _place(path, layer) for layer in layers}, names)


async def _values(zk: Client, path: str, listing: _Listing, more: list[str], at_once: int | None) -> Gathered | None:
    """None if they cannot be told to be of one revision."""
    places = list(listing.places.values())
    keys = [
        (layer, name)
        for layer, place in listing.places.items()
        for name in listing.names[place][0]
        if not name.startswith(".")
    ]
    # ``.head`` is looked at first and last, for values may take several requests. And a list of names is as old as it
    # was when the values are read, if no name has come or gone since.
    first = [join(path, HEAD), *listing.names]
    last = [*(places if more else ()), *more, join(path, HEAD)]
    asked = [join(listing.places[layer], name) for layer, name in keys]
    size = at_once or _at_once(listing.head, len(asked))
    if len(asked) <= size:
        found = await zk.get_many([*first, *asked, *last])
    else:
        parts = [asked[at : at + size] for at in range(0, len(asked), size)]
        found = await zk.get_many(first)
        for part in await in_parallel(zk.get_many, parts, READS_AT_ONCE):
            found += part
        found += await zk.get_many(last)
    before, tops = found[0], dict(zip(listing.names, found[1 : len(first)]))
    values = dict(zip(keys, found[len(first) : len(first) + len(keys)]))
    ends, after = found[len(first) + len(keys) : -1], found[-1]
    if before is None or after is None:
        if listing.head is before is after:
            raise NoConfigStoreError(f"{path}: no config store: it has no {HEAD}")
        return None
    if not all(_is_listed(top, listing.names[place][1]) for place, top in tops.items()):
        return None
    head = _head(path, after.data)
    entries = {at: value.data for at, value in values.items() if value is not None}
    versions = {at: value.stat.version for at, value in values.items() if value is not None}
    if _is_same(before, after):
        stated = {layer: stated_of(top.data) for layer, place in listing.places.items() if (top := tops.get(place))}
        stated = {layer: each for layer, each in {**stated, **head.sums}.items() if each and layer in listing.places}
    else:
        changes = head.since(_head(path, before.data).revision) if before.stat.czxid == after.stat.czxid else None
        if changes is None or (more and any(at[0] not in listing.places for at in changes)):
            return None
        changes = {at: value for at, value in changes.items() if at[0] in listing.places}
        entries = applied(entries, changes)
        versions = {at: version for at, version in versions.items() if at not in changes}
        stated = {layer: each for layer, each in head.sums.items() if layer in listing.places}
    sums = sums_of(entries)
    verified = all(sums.get(layer, Sum()).stated == each for layer, each in stated.items())
    znodes = ends[: len(places)] if more else [tops[place] for place in places]
    extra = ends[len(places) :] if more else []
    return Gathered(head, after.stat, entries, versions, dict(zip(listing.places, znodes)), extra, sums, verified)


def _is_listed(place: Znode | None, pzxid: int | None) -> bool:
    """Whether no name has come to it or gone since it had this pzxid."""
    return (None if place is None else place.stat.pzxid) == pzxid


def _is_same(before: Znode, after: Znode) -> bool:
    """Whether no commit came between two looks at ``.head``."""
    return before.stat.mzxid == after.stat.mzxid


def _at_once(head: Znode | None, count: int) -> int:
    """How many values to ask for in one request."""
    try:
        size = None if head is None else Head.parse(head.data).size
    except ValueError:
        size = None
    if size is None:
        return READ_MAX
    if size[1] <= READ_BYTES:
        return max(READ_MAX, count)
    return max(READ_SURELY_MAX, math.floor(READ_BYTES / size[1] * count))


def check_marker(path: str, marker: Znode | None) -> None:
    if marker is None:
        raise NoConfigStoreError(f"{path}: no config store: there is nothing")
    found = parsed(marker.data)
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise NoConfigStoreError(f"{path}: no config store: its data is something else")
    if found.get("version") != VERSION:
        raise NoConfigStoreError(f"{path}: a config store of version {found.get('version')!r}, which is not known here")


def _place(path: str, layer: str) -> str:
    return path if layer == DEFAULT else join(join(path, LAYERS), layer)


def _head(path: str, data: bytes) -> Head:
    try:
        return Head.parse(data)
    except ValueError as error:
        raise NoConfigStoreError(f"{path}: no config store: its {HEAD} {error}") from None


def _canary(path: str, head: Head) -> Canary | None:
    try:
        return decoded(head.fields.get("canary"))
    except ValueError as error:
        raise ConfigError(f"{path}: revision {head.revision}: {error}") from None
