"""Queues of locks, elections and semaphores, found by what their znodes are called: ours, kazoo's and Curator's.

Which names those are stands at the head of zabpy/recipes/contenders.py; besides them leases of semaphores: kazoo's, 32
hex digits in a znode beside which is a gate ``…-__lock__``, and Curator's, ``_c_<uuid>-lease-<number>``.
"""

import re
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass

from zabpy.client import Client
from zabpy.model import NoAuthError, Stat, join

#: So many znodes are listed at a time.
BATCH = 500
_KAZOO_LEASE = re.compile("[0-9a-f]{32}")
_CURATOR_LEASE = re.compile(r"_c_[0-9a-f-]{36}-lease-\d{10}")
_LAYOUTS = (
    ("__lock__", "kazoo"), ("__rlock__", "kazoo"), ("-lock-", "curator"), ("-latch-", "latch"),
    ("__WRIT__", "curator"), ("__READ__", "curator"),
)  # fmt: skip


@dataclass
class Queue:
    """The children of ``path`` that contend, in order. ``is_lease``: of a semaphore, so all of them hold one."""

    path: str
    names: list[str]
    is_lease: bool = False


@dataclass
class Place:
    """One in a queue. ``holds``: it is its turn; ``layout``: of whose library; ``shared``: with others."""

    queue: str
    path: str
    position: int
    holds: bool
    shared: bool
    layout: str
    data: bytes
    stat: Stat


async def queues_below(zk: Client, top: str, hidden: list[str]) -> AsyncIterator[Queue]:
    """All of them, as they are found; into ``hidden`` come the znodes that we may not list."""
    level = [top]
    while level:
        below: list[str] = []
        for some in batched(level, BATCH):
            for path, names in await _children(zk, some, hidden):
                found = _queue(path, names)
                if found is not None:
                    yield found
                contending = set(found.names) if found is not None else set()
                below += [join(path, name) for name in names if name not in contending and path != "/zookeeper"]
        level = below


def batched(items: list[str], count: int) -> Iterable[list[str]]:
    return (items[at : at + count] for at in range(0, len(items), count))


async def _children(zk: Client, paths: list[str], hidden: list[str]) -> list[tuple[str, list[str]]]:
    try:
        listed = await zk.children_many(paths)
    except NoAuthError:
        if len(paths) == 1:
            hidden.append(paths[0])
            return []
        half = len(paths) // 2
        return await _children(zk, paths[:half], hidden) + await _children(zk, paths[half:], hidden)
    return [(path, names) for path, names in zip(paths, listed, strict=True) if names is not None]


def _queue(path: str, names: list[str]) -> Queue | None:
    from zabpy.recipes import in_order

    contending = in_order(names)
    if contending:
        return Queue(path, contending)
    leases = [name for name in names if _CURATOR_LEASE.fullmatch(name) or _KAZOO_LEASE.fullmatch(name)]
    return Queue(path, sorted(leases), is_lease=True) if leases else None


async def places_of(zk: Client, queue: Queue) -> list[Place]:
    """Who is in it, with data and stat; those that are gone meanwhile left out. Leases that are none, too."""
    from zabpy.recipes import contender

    found = await zk.get_many([join(queue.path, name) for name in queue.names])
    places: list[Place] = []
    exclusive_before = False
    for name, znode in zip(queue.names, found, strict=True):
        if znode is None or (queue.is_lease and not znode.stat.ephemeral_owner):
            continue
        who = contender(name)
        shared = queue.is_lease or (who is not None and who.shared)
        holds = queue.is_lease or (not exclusive_before if shared else not places)
        exclusive_before = exclusive_before or not shared
        place = Place(
            queue.path, join(queue.path, name), 0, holds, shared, _layout(name, queue.is_lease), znode.data, znode.stat
        )
        places.append(place)
    if queue.is_lease:
        places.sort(key=lambda place: place.stat.czxid)
    for position, place in enumerate(places, 1):
        place.position = position
    return places


def _layout(name: str, is_lease: bool) -> str:
    if is_lease:
        return "curator-semaphore" if name.startswith("_c_") else "kazoo-semaphore"
    return next((layout for mark, layout in _LAYOUTS if mark in name), "aiozk")
