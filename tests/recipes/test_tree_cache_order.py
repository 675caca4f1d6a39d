"""The rules by which a cache puts answers and events together, each in the one order of them that needs it."""

import tracemalloc
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import anyio
import trio
import trio.testing

from zabpy.client import Changed, Created, Deleted, Event, Resynced, State, Znode
from zabpy.model import NoNodeError, Stat, join, name_of, parent_of
from zabpy.recipes.mirror import Added, CacheChange, Mirror, Removed, Updated
from zabpy.recipes.tree_cache import TreeCache


class Script:
    """A client and a server in one: writes are told at once, and a read's answer can be held up by what comes then.

    Of one connection: an event is there before every answer of its state or a later one.
    """

    state = State.CONNECTED
    core = SimpleNamespace(links=1)

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self.nodes: dict[str, Znode] = {}
        self.last_zxid = 0
        self.reads: list[str] = []
        #: Called once, with the next read of this path on its way, or with its answer on its way.
        self.before: dict[str, Callable[[], object]] = {}
        self.meanwhile: dict[str, Callable[[], object]] = {}
        self.silent = False  # a gap: events get lost
        self._events = deque[Event]([Resynced("/", True)])
        self._more = anyio.Event()

    # What the cache sees ----------------------------------------------------------------------------------------------

    def background(self, fn: Callable[..., Awaitable[object]], *args: object) -> None:
        self._nursery.start_soon(fn, *args)

    @asynccontextmanager
    async def watch(self, path: str, *, recursive: bool) -> AsyncIterator["Script"]:
        assert recursive
        yield self

    def receive_nowait(self) -> Event:
        if not self._events:
            raise anyio.WouldBlock
        return self._events.popleft()

    async def __anext__(self) -> Event:
        while not self._events:
            self._more = anyio.Event()
            await self._more.wait()
        return self._events.popleft()

    async def get(self, path: str) -> Znode:
        return await self._read("get", path)

    async def children(self, path: str) -> list[str]:
        names = self._names(path)
        await self._read("children", path)
        return names

    async def children_and_stat(self, path: str) -> tuple[list[str], Stat]:
        names = self._names(path)
        return names, (await self._read("children", path)).stat

    async def sync(self, path: str) -> None:
        await trio.lowlevel.checkpoint()

    async def _read(self, what: str, path: str) -> Znode:
        self.reads.append(f"{what} {path}")
        if (first := self.before.pop(path, None)) is not None:
            first()
        node = self.nodes.get(path)
        if (then := self.meanwhile.pop(path, None)) is not None:
            then()
        await trio.lowlevel.checkpoint()
        if node is None:
            raise NoNodeError
        return node

    # What others do ---------------------------------------------------------------------------------------------------

    def create(self, path: str, data: bytes = b"") -> None:
        self.last_zxid += 1
        at = self.last_zxid
        self.nodes[path] = Znode(data, Stat(at, at, 0, 0, 0, 0, 0, 0, len(data), 0, at))
        self._count(parent_of(path), 1)
        self._tell(Created(path, at))

    def set(self, path: str, data: bytes) -> None:
        self.last_zxid += 1
        stat = self.nodes[path].stat
        self.nodes[path] = Znode(data, stat._replace(mzxid=self.last_zxid, version=stat.version + 1))
        self._tell(Changed(path, self.last_zxid))

    def delete(self, path: str) -> None:
        self.last_zxid += 1
        del self.nodes[path]
        self._count(parent_of(path), -1)
        self._tell(Deleted(path, self.last_zxid))

    def gap(self, *lost: Callable[[], object]) -> None:
        self.silent = True
        for each in lost:
            each()
        self.silent = False
        self._events.clear()  # what had not been read is lost, too
        self._tell(Resynced("/", False))

    def _count(self, path: str, by: int) -> None:
        if path in self.nodes:
            data, stat = self.nodes[path]
            self.nodes[path] = Znode(data, stat._replace(num_children=stat.num_children + by))

    def _names(self, path: str) -> list[str]:
        return [name_of(each) for each in self.nodes if each != path and parent_of(each) == path]

    def _tell(self, event: Event) -> None:
        if not self.silent:
            self._events.append(event)
            self._more.set()


@asynccontextmanager
async def cached(*paths: str) -> AsyncIterator[tuple[Script, TreeCache, list[CacheChange]]]:
    """A loaded cache of /top, and the list its changes go to."""
    async with trio.open_nursery() as nursery:
        zk = Script(nursery)
        for path in ("/top", *paths):
            zk.create(path, b"old")
        zk._events = deque([Resynced("/", True)])
        fake: Any = zk
        changes: list[CacheChange] = []
        async with TreeCache(fake, "/top") as cache, cache.changes() as told:

            async def follow() -> None:
                async for change in told:
                    changes.append(change)

            nursery.start_soon(follow)
            assert sorted(cache) == sorted(zk.nodes)
            yield zk, cache, changes
            await trio.testing.wait_all_tasks_blocked()
            assert {path: cache.get(path) for path in cache} == {
                path: zk.nodes[path]._replace(stat=node.stat._replace(mzxid=zk.nodes[path].stat.mzxid))
                for path in zk.nodes
                if (node := cache.get(path))
            }, "it equals the tree"
            assert set(cache) == set(zk.nodes)


async def test_what_was_deleted_while_it_was_read_stays_away() -> None:
    async with cached("/top/a") as (zk, cache, changes):
        zk.meanwhile["/top/a"] = lambda: zk.delete("/top/a")
        zk.set("/top/a", b"new")
        await trio.testing.wait_all_tasks_blocked()
        assert "/top/a" not in cache
        assert [type(each) for each in changes] == [Removed], "it was not shown again after it had gone"


async def test_what_was_made_again_while_it_was_read_is_removed_and_added_once() -> None:
    async with cached("/top/a") as (zk, cache, changes):

        def again() -> None:
            zk.delete("/top/a")
            zk.create("/top/a", b"old")

        zk.before["/top/a"] = again
        zk.set("/top/a", b"new")
        await trio.testing.wait_all_tasks_blocked()
        assert [type(each) for each in changes if each.path == "/top/a"] == [Removed, Added]
        assert cache.get("/top/a") == zk.nodes["/top/a"]


async def test_answers_from_before_a_gap_are_not_taken() -> None:
    """The deletion of /top/q/p is in the gap, that of /top/q behind it: nothing would ever remove it again."""
    async with cached("/top/q", "/top/q/p") as (zk, cache, _):

        def gap() -> None:
            zk.gap(lambda: zk.delete("/top/q/p"))
            zk.delete("/top/q")

        zk.meanwhile["/top/q/p"] = gap
        zk.set("/top/q/p", b"new")
        await trio.testing.wait_all_tasks_blocked()
        assert list(cache) == ["/top"] and len(cache) == 1


async def test_up_to_a_zxid_means_all_events_that_wait() -> None:
    """The first of two that came together costs no read; the second is not to be forgotten over it."""
    async with cached("/top/a", "/top/b") as (zk, cache, _):
        zk.delete("/top/a")
        zk.set("/top/b", b"new")
        await cache.wait(lambda: cache.zxid >= zk.last_zxid)
        assert cache.get("/top/b") == zk.nodes["/top/b"] and "/top/a" not in cache
        assert cache.zxid == zk.last_zxid


async def test_another_znode_of_the_same_version_is_noticed_after_a_gap_and_the_rest_not_read_again() -> None:
    async with cached("/top/a", "/top/b", "/top/c") as (zk, cache, changes):
        zk.reads.clear()
        zk.gap(lambda: zk.delete("/top/a"), lambda: zk.create("/top/a", b"new"), lambda: zk.set("/top/c", b"new"))
        await trio.testing.wait_all_tasks_blocked()
        assert [(type(each), each.path) for each in changes] == [
            (Removed, "/top/a"), (Added, "/top/a"), (Updated, "/top/c"),
        ]  # fmt: skip
        assert [read for read in sorted(zk.reads) if read.startswith("get")] == ["get /top/a", "get /top/c"]
        assert cache.get("/top/a") == zk.nodes["/top/a"]


async def test_what_went_in_a_gap_is_removed_with_all_below_it() -> None:
    async with cached("/top/a", "/top/a/b", "/top/a/b/c") as (zk, _, changes):
        zk.gap(*(lambda path=path: zk.delete(path) for path in ("/top/a/b/c", "/top/a/b", "/top/a")))
        await trio.testing.wait_all_tasks_blocked()
        assert [each.path for each in changes] == ["/top/a/b/c", "/top/a/b", "/top/a"]


def test_a_mirror_takes_another_znode_of_the_same_version_for_another() -> None:
    def node(czxid: int, mzxid: int, version: int) -> Znode:
        return Znode(b"x", Stat(czxid, mzxid, 0, 0, version, 0, 0, 0, 1, 0, 0))

    mirror = Mirror()
    first, set_, other = node(1, 1, 0), node(1, 2, 1), node(3, 4, 1)
    assert mirror.put("/a", first) == [Added("/a", first)]
    assert mirror.put("/a", first) == []
    assert mirror.put("/a", set_) == [Updated("/a", first, set_)]
    assert mirror.put("/a/b", first) == [Added("/a/b", first)]
    assert mirror.put("/a", other) == [Removed("/a/b", first), Removed("/a", set_), Added("/a", other)]
    assert mirror.names("/a") == [] and mirror.paths() == ["/a"]
    mirror.remove("/a")
    assert (mirror._nodes, mirror._names) == ({}, {}), "nothing is kept of what is gone"


def test_a_znode_costs_less_than_a_kib_besides_its_data() -> None:
    tracemalloc.start()
    try:
        mirror, count = Mirror(), 5_000
        for number in range(1 << 20, (1 << 20) + count):
            at = number << 20
            stat = Stat(at, at + 1, at + 2, at + 3, number, number, 0, at + 4, 0, 0, at + 5)
            mirror.put(join(f"/some/where/{number}", "leaf"), Znode(b"", stat))
        assert tracemalloc.get_traced_memory()[0] < 1024 * count * 1.5, "a parent of its own each"
        for number in range(1 << 20, (1 << 20) + count):
            mirror.remove(f"/some/where/{number}")
        assert tracemalloc.get_traced_memory()[0] < 1_000_000
    finally:
        tracemalloc.stop()
