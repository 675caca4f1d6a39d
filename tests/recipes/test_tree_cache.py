"""A cache equals the tree, whatever happens to its connection, its session and the servers."""

import gc
import weakref
from collections.abc import Callable
from random import Random

import anyio
import pytest
import trio
from trio.testing import MockClock

import zabpy
from tests.client.conftest import Story
from tests.recipes.hurting import client, kill
from tests.recipes.memory import world
from tests.server.servers import ensemble
from zabpy.client import Znode
from zabpy.client.watches import WatchTable
from zabpy.recipes import tree_cache
from zabpy.recipes.mirror import Added, CacheChange, Missed, Removed, Updated
from zabpy.recipes.tree_cache import Changes, TreeCache

Tree = dict[str, tuple[bytes, int, int]]


async def read(zk: zabpy.Client, top: str) -> Tree:
    """The tree as the servers have it; nobody may write meanwhile."""
    found: Tree = {}
    todo = [top]
    await zk.sync(top)
    for path in todo:
        try:
            data, stat = await zk.get(path)
        except zabpy.NoNodeError:
            continue
        found[path] = data, stat.czxid, stat.mzxid
        todo += [f"{path}/{name}" for name in await zk.children(path)]
    return found


def held(cache: TreeCache) -> Tree:
    found: Tree = {}
    for path in cache:
        node = cache.get(path)
        assert node is not None
        found[path] = node.data, node.stat.czxid, node.stat.mzxid
        assert all(f"{path}/{name}" in cache for name in cache.children(path))
    return found


def of(node: Znode) -> tuple[bytes, int, int]:
    return node.data, node.stat.czxid, node.stat.mzxid


class Replay:
    """What one knows who reads nothing but the changes."""

    def __init__(self, cache: TreeCache) -> None:
        self.tree = held(cache)
        self.changes: list[CacheChange] = []

    async def follow(self, changes: Changes) -> None:
        async for change in changes:
            self.changes.append(change)
            match change:
                case Added(path, node):
                    assert path not in self.tree
                    self.tree[path] = of(node)
                case Updated(path, before, node):
                    assert self.tree[path] == of(before) and before.stat.czxid == node.stat.czxid
                    assert before.stat.mzxid < node.stat.mzxid
                    self.tree[path] = of(node)
                case Removed(path, before):
                    assert self.tree.pop(path) == of(before)
                case Missed():
                    raise AssertionError("nothing is to be missed here")


async def write_at_random(zk: zabpy.Client, rng: Random, top: str) -> None:
    """One write somewhere in a small tree; what cannot be is not done."""
    path = top + "".join(f"/{rng.choice('ab')}" for _ in range(rng.randrange(4)))
    try:
        match rng.randrange(5):
            case 0 | 1:
                await zk.create(path, rng.randbytes(2))
            case 2:
                await zk.set(path, rng.randbytes(2))
            case 3:
                await zk.delete(path)
            case 4:  # another one of the same version
                data, _ = await zk.get(path)
                await zk.delete(path)
                await zk.create(path, data)
    except (zabpy.NoNodeError, zabpy.NodeExistsError, zabpy.NotEmptyError):
        pass
    except (zabpy.ConnectionLossError, zabpy.SessionLostError):
        pass  # done or not


def test_what_it_holds_and_what_it_tells(on_both: Callable[[Story], None], hosts: str) -> None:
    async def story() -> None:
        async with zabpy.connect(hosts) as zk, zk.tree_cache("/top") as cache:
            assert (list(cache), cache.get("/top"), "/top" in cache, len(cache)) == ([], None, False, 0)
            assert not cache.stale
            async with cache.changes() as changes:
                await zk.create("/top", b"1")
                await zk.create("/top/b", b"2")
                await zk.create("/top/a", b"3")
                await zk.create("/topless")
                last = await zk.set("/top/a", b"4")
                await cache.wait_until(last.mzxid)
                assert cache.get("/top/a") == (b"4", last)
                assert cache.children("/top") == ["a", "b"] and cache.children("/top/a") == []
                assert held(cache) == await read(zk, "/top")
                with pytest.raises(zabpy.BadArgumentsError, match="/topless: it is not in the scope"):
                    cache.get("/topless")
                await zk.delete("/top/a")
                made = await zk.create("/top/a", b"4")
                await zk.delete("/top/b")
                await cache.wait_until(zk.last_zxid)
                node = cache.get("/top/a")
                assert node is not None and node.stat.czxid == made.stat.czxid, "the version is as it was"
                replay = Replay(cache)
                replay.tree = {}
                with anyio.move_on_after(0.1):
                    await replay.follow(changes)
                assert replay.tree == held(cache) == await read(zk, "/top")
                assert [type(each) for each in replay.changes if each.path == "/top/b"] == [Added, Removed]
        with pytest.raises(RuntimeError, match="not open"):
            cache.get("/top")

    on_both(story)


@pytest.mark.parametrize("seed", range(10))
async def test_it_equals_the_tree_after_any_story(
    seed: int, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = Random(f"cache {seed}")
    monkeypatch.setattr(tree_cache, "READS_MAX", rng.choice((1, 3, 64)))
    if seed % 2:  # events as servers before 3.9 send them
        fire = WatchTable.fire
        monkeypatch.setattr(WatchTable, "fire", lambda table, type, path, zxid: fire(table, type, path, None))
    async with (
        ensemble(servers=3, seed=seed) as servers,
        client(servers, "writer", session_timeout_ms=4_000) as (writer, _),
        client(servers, "reader", session_timeout_ms=4_000, rng=rng) as (zk, dial),
    ):
        for _ in range(rng.randrange(20)):
            await write_at_random(writer, rng, "/top")
        async with zk.tree_cache("/top") as cache, trio.open_nursery() as nursery:
            async with cache.changes() as changes:
                replay = Replay(cache)
                nursery.start_soon(replay.follow, changes)
                for _ in range(12):
                    async with trio.open_nursery() as at_once:
                        for _ in range(rng.randrange(60)):
                            at_once.start_soon(write_at_random, writer, rng, "/top")
                    match rng.randrange(6):
                        case 0:
                            dial.break_now()
                        case 1:
                            dial.streams[-1].received_bytes_max = dial.streams[-1].received_bytes + rng.randrange(300)
                        case 2:
                            await zk.wait_connected()
                            await kill(servers, zk.session)
                        case 3:
                            id = rng.choice(list(servers.servers))
                            servers.crash(id)
                            await servers.start(id)
                        case 4:
                            await trio.sleep(rng.random() / 100)
                        case 5:
                            servers.cut("reader", rng.choice(list(servers.servers)))
                            await trio.sleep(rng.random() * 6)
                            servers.heal()
                    if rng.randrange(3) == 0:
                        await writer.wait_connected()
                        await cache.wait_until(writer.last_zxid)
                        assert held(cache) == await read(writer, "/top")
                await cache.wait_until(writer.last_zxid)
                await trio.sleep(0.1)
                assert held(cache) == replay.tree == await read(writer, "/top")
                nursery.cancel_scope.cancel()


async def test_only_what_is_in_its_scope_is_kept(autojump_clock: MockClock) -> None:
    async with ensemble(servers=1) as servers, client(servers) as (zk, _):
        for path in ("/top", "/top/a", "/top/a/b", "/top/tmp", "/top/tmp/c"):
            await zk.create(path)
        async with (
            zk.tree_cache("/top", depth_max=1) as shallow,
            zk.tree_cache("/top", keep=lambda path: not path.endswith("tmp")) as kept,
        ):
            assert list(shallow) == ["/top", "/top/a", "/top/tmp"]
            assert list(kept) == ["/top", "/top/a", "/top/a/b"]
            await zk.create("/top/a/c")
            last = await zk.create("/top/tmp/d")
            for cache in (shallow, kept):
                await cache.wait_until(last.stat.czxid)
            assert list(shallow) == ["/top", "/top/a", "/top/tmp"]
            assert list(kept) == ["/top", "/top/a", "/top/a/b", "/top/a/c"]
            with pytest.raises(zabpy.BadArgumentsError, match="scope"):
                shallow.get("/top/a/b")
            with pytest.raises(zabpy.BadArgumentsError, match="scope"):
                kept.get("/top/tmp/c")


async def test_who_reads_too_slowly_is_told(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree_cache, "CHANGES_MAX", 4)
    async with ensemble(servers=1) as servers, client(servers) as (zk, _), zk.tree_cache("/") as cache:
        async with cache.changes() as changes:
            for name in "abcdef":
                await zk.create(f"/{name}", lost_reply="raise")  # which leaves no mark beside it
            await cache.wait_until(zk.last_zxid)
            told = [await anext(changes) for _ in range(3)]
            assert told[0] == Missed("/")
            assert [each.path for each in told[1:]] == ["/e", "/f"]


async def test_a_cache_is_stale_without_a_connection_and_until_it_has_read_again(autojump_clock: MockClock) -> None:
    async with world(servers=1) as all, all.client("reader") as zk:
        await zk.create("/top", b"1")
        async with zk.tree_cache("/top") as cache:
            told = [cache.stale]
            all.isolate("reader")
            await trio.sleep(5)
            told.append(cache.stale)
            assert of_path(cache, "/top") == b"1", "it tells what it knows"
            async with all.client("writer") as writer:
                last = await writer.set("/top", b"2")
            await trio.sleep(60)
            told.append(cache.stale)
            all.heal()
            await cache.wait_until(last.mzxid)
            told.append(cache.stale)
            assert told == [False, True, True, False]
            assert of_path(cache, "/top") == b"2"


async def test_what_ends_a_cache_is_told_to_all_who_ask_it(autojump_clock: MockClock) -> None:
    def keep(path: str) -> bool:
        if path == "/top/bad":
            raise LookupError("a filter with a fault")
        return True

    async with ensemble(servers=1) as servers, client(servers) as (zk, _):
        await zk.create("/top")
        async with zk.tree_cache("/top", keep=keep) as cache, cache.changes() as changes:
            await zk.create("/top/bad")
            for _ in range(2):
                with pytest.raises(LookupError, match="fault"):
                    await anext(changes)
            with pytest.raises(LookupError, match="fault"):
                cache.get("/top")
            with pytest.raises(LookupError, match="fault"):
                await cache.wait_until(zk.last_zxid)


async def test_a_znode_that_may_not_be_read_is_left_out(autojump_clock: MockClock) -> None:
    nobody = zabpy.Acl(31, "digest", "somebody:else")
    async with ensemble(servers=1) as servers, client(servers) as (zk, _):
        await zk.create("/top")
        await zk.create("/top/mine")
        await zk.create("/top/theirs", acl=(nobody,))
        async with zk.tree_cache("/top") as cache:
            assert list(cache) == ["/top", "/top/mine"]
            assert cache.unreadable == {"/top/theirs"}


async def test_what_may_not_be_read_is_forgotten_when_it_is_gone(autojump_clock: MockClock) -> None:
    nobody = (zabpy.Acl(31, "digest", "somebody:else"),)

    async with ensemble(servers=1) as servers, client(servers, "w") as (zk, _), client(servers, "r") as (reader, dial):

        async def make(*paths: str) -> set[str]:
            await zk.ensure("/top/deep/er")
            for path in paths:
                await zk.create(path, acl=nobody)
            return set(paths)

        async def remove(*paths: str) -> None:
            for path in paths:
                await zk.delete(path)

        async def unreadable(cache: TreeCache) -> set[str]:
            await cache.wait_until((await zk.set("/top", b"")).mzxid)
            return cache.unreadable

        await make("/top/kept")
        some = await make("/top/theirs", "/top/deep/er/theirs")
        async with reader.tree_cache("/top") as cache:
            assert cache.unreadable == {"/top/kept"} | some
            await remove("/top/deep/er/theirs", "/top/deep/er", "/top/deep")
            assert await unreadable(cache) == {"/top/kept", "/top/theirs"}

            dial.break_now()
            await make("/top/deep/er/theirs")
            assert await unreadable(cache) == {"/top/kept"} | some
            dial.break_now()  # it hears of nothing of this, and looks again afterwards
            await remove("/top/theirs", "/top/deep/er/theirs", "/top/deep/er", "/top/deep")
            assert await unreadable(cache) == {"/top/kept"}
            dial.break_now()
            await remove("/top/kept", "/top")
            await zk.create("/top")
            assert await unreadable(cache) == set()


def of_path(cache: TreeCache, path: str) -> bytes:
    node = cache.get(path)
    assert node is not None
    return node.data


async def test_a_stream_of_changes_that_was_left_is_not_filled_any_more(autojump_clock: MockClock) -> None:
    async with ensemble(servers=1) as servers, client(servers) as (zk, _), zk.tree_cache("/") as cache:
        async with cache.changes() as changes:
            left = weakref.ref(changes)
        del changes
        gc.collect()
        assert left() is None, "nobody would read it"
