"""What happens to a znode, or to all below it, event by event, with the values before and after: nothing is missed
silently. Where the connection was away, or events came faster than they were read, that is told, and what it hid is
found by comparing all there is with all there was.

A znode that came and went within such a gap, or was set several times, shows as what is left of that.
"""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Literal

import anyio

import zabpy
from zabpy.client import Changed, Client, Created, Deleted, Event, EventStream, Resynced
from zabpy.model import Stat

from .walk import Reading, Walk

What = Literal["created", "changed", "deleted", "resynced"]

#: Events that are looked into at one time.
BATCH_MAX = 500
#: Of larger values only the stat is kept, and all together take no more than this; so they show without what they were.
KEPT_BYTES_MAX = 64 * 1024
KEPT_BYTES_ALL = 64 * 1024 * 1024


@dataclass
class Happening:
    """``data`` and ``stat``: after it, None if the znode is gone (again) or may not be read. ``old``: the value before,
    None if there was none or it was too large to be kept. ``is_found``: not told by the server, but found by comparing
    after a gap. ``is_latest``: the value is what this event brought; else a later one has overtaken it."""

    what: What
    path: str
    zxid: int | None = None
    data: bytes | None = None
    stat: Stat | None = None
    old: bytes | None = None
    is_found: bool = False
    is_latest: bool = True


class Following:
    """See the head of this file. ``known``: the stats of all znodes that are there, as far as it was told."""

    def __init__(self, zk: Client, path: str, *, recursive: bool) -> None:
        self._zk, self.path, self._recursive = zk, path, recursive
        self.known: dict[str, Stat | None] = {}
        self._values: dict[str, bytes] = {}
        self._kept = 0
        self._reading = Reading(zk)
        self.denied: list[str] = []

    def value(self, path: str) -> bytes | None:
        """The value as it was last told; None if there is none, or it is too large to be kept."""
        return self._values.get(path)

    async def happenings(self) -> AsyncGenerator[Happening, None]:
        """The first one is ``resynced``: from then on all is told; `known` is what there is at that time. To be closed,
        as by `contextlib.aclosing`: it watches until then."""
        async with self._zk.watch(self.path, recursive=self._recursive) as events:
            is_first = True
            async for event in events:
                batch = [event, *_waiting(events)]
                while batch:
                    gap = next((at for at, each in enumerate(batch) if isinstance(each, Resynced)), None)
                    for happening in await self._looked_into(batch[:gap]):
                        yield happening
                    if gap is None:
                        break
                    found = await self._compared()
                    yield Happening("resynced", self.path)
                    for happening in [] if is_first else found:
                        yield happening
                    is_first = False
                    batch = batch[gap + 1 :]

    async def _looked_into(self, events: list[Event]) -> list[Happening]:
        told = [event for event in events if isinstance(event, Created | Changed | Deleted)]
        paths = list(dict.fromkeys(event.path for event in told if not isinstance(event, Deleted)))
        now = dict(zip(paths, await self._reading.values(paths), strict=True)) if paths else {}
        # Of several events of one znode the last one has the value that was read.
        last = {event.path: at for at, event in enumerate(told)}
        found = []
        for at, event in enumerate(told):
            path = event.path
            old = self._values.get(path)
            read = now.get(path)
            if isinstance(event, Deleted):
                self._forget(path)
                found.append(Happening("deleted", path, event.zxid, old=old))
                continue
            is_latest = last[path] == at and read is not None
            before = self.known.get(path)
            overtaken = (
                before is not None
                and read is not None
                and read.stat is not None
                and (before.mzxid >= read.stat.mzxid and before.czxid == read.stat.czxid)
            )
            what: What = "created" if isinstance(event, Created) else "changed"
            if read is None or not is_latest or overtaken:
                # A later event has it, or an earlier one had it already.
                stat = read.stat if read is not None and overtaken else None
                data = read.data if read is not None and overtaken else None
                found.append(Happening(what, path, event.zxid, data, stat, old, is_latest=False))
                if path not in self.known:
                    self.known[path] = None
                continue
            zxid = event.zxid if event.zxid is not None else read.stat.mzxid if read.stat is not None else None
            found.append(Happening(what, path, zxid, read.data, read.stat, old))
            self._keep(path, read.data, read.stat)
        return found

    async def _compared(self) -> list[Happening]:
        """Read all there is; what differs from what was known."""
        found: list[Happening] = []
        there: set[str] = set()
        walk = Walk(self._zk, "data", depth_max=None if self._recursive else 0)
        try:
            async for node in walk.nodes([self.path]):
                there.add(node.path)
                before, old = self.known.get(node.path), self._values.get(node.path)
                stat = node.stat
                if node.path not in self.known or (before and stat and before.czxid != stat.czxid):
                    zxid = stat.czxid if stat is not None else None
                    found.append(Happening("created", node.path, zxid, node.data, stat, old, is_found=True))
                elif before is None or (stat is not None and before.mzxid != stat.mzxid):
                    zxid = stat.mzxid if stat is not None else None
                    found.append(Happening("changed", node.path, zxid, node.data, stat, old, is_found=True))
                self._keep(node.path, node.data, stat)
        except zabpy.NoNodeError:
            pass  # it is not there yet, or no more
        self.denied = walk.denied
        for path in sorted(set(self.known) - there):
            found.append(Happening("deleted", path, None, old=self._values.get(path), is_found=True))
            self._forget(path)
        return found

    def _keep(self, path: str, data: bytes | None, stat: Stat | None) -> None:
        self._forget(path)
        self.known[path] = stat
        if data is not None and len(data) <= KEPT_BYTES_MAX and self._kept + len(data) <= KEPT_BYTES_ALL:
            self._values[path] = data
            self._kept += len(data)

    def _forget(self, path: str) -> None:
        self.known.pop(path, None)
        self._kept -= len(self._values.pop(path, b""))


def _waiting(events: EventStream) -> list[Event]:
    found: list[Event] = []
    while len(found) < BATCH_MAX:
        try:
            found.append(events.receive_nowait())
        except anyio.WouldBlock:
            break
    return found
