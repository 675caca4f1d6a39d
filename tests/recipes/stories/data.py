"""Plays of recipes that keep data: what was acknowledged is there, once, and what nobody knows of at most once."""

from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

import zabpy
from zabpy.recipes.client import Client
from zabpy.recipes.delay_queue import DelayQueue
from zabpy.recipes.leases import Item
from zabpy.recipes.mirror import Added, Removed, Updated
from zabpy.recipes.tree_cache import TreeCache
from zabpy.recipes.work_queue import WorkQueue

from .store import Room
from .story import TROUBLES, Play, Story, Violation, tree

#: Of `zabpy.server.clock.TrioClock`: what its servers show when trio's clock shows 0.
EPOCH_MS = 1_700_000_000_000
ATTEMPTS_MAX = 4
DRAIN_S = 60.0


class Ledger:
    """What was tried, and of which it is known that it was done."""

    def __init__(self) -> None:
        self.tried: set[str] = set()
        self.sure: set[str] = set()
        self._last = 0

    def new(self, who: str) -> str:
        self._last += 1
        name = f"{who}-{self._last}"
        self.tried.add(name)
        return name

    def judge(self, found: list[str]) -> None:
        if len(set(found)) < len(found):
            raise Violation(f"done twice: {sorted(name for name in set(found) if found.count(name) > 1)}")
        if lost := self.sure - set(found):
            raise Violation(f"acknowledged and lost: {sorted(lost)}")
        if strange := set(found) - self.tried:
            raise Violation(f"never asked for: {sorted(strange)}")


class CounterPlay(Play):
    def __init__(self, story: Story) -> None:
        super().__init__(story)
        self.sure = self.perhaps = 0
        self.sums: set[int] = set()

    async def work(self, zk: Client, who: str) -> None:
        delta = self.rng.randrange(1, 6)
        self.perhaps += delta
        after = await zk.counter(self.path).add(delta)
        self.perhaps -= delta
        self.sure += delta
        if after in self.sums:
            raise Violation(f"two were told {after}")
        self.sums.add(after)
        self.done[who] += 1

    async def finish(self, look: Client) -> None:
        await look.sync(self.path)
        value = await look.counter(self.path).get()
        if not self.sure <= value <= self.sure + self.perhaps:
            raise Violation(f"{value} is not {self.sure}, and {self.perhaps} that nobody knows of")


class ValuePlay(Play):
    def __init__(self, story: Story) -> None:
        super().__init__(story)
        self.ledger = Ledger()

    async def work(self, zk: Client, who: str) -> None:
        name = self.ledger.new(who)
        value = zk.atomic_value(self.path)
        if self.rng.randrange(3):
            await value.update(lambda data: data + b" " + name.encode())
        else:
            seen = await value.get()
            if await value.compare_and_set(seen, seen.data + b" " + name.encode()) is None:
                self.ledger.tried.discard(name)  # and it is not there, then
                return
        self.ledger.sure.add(name)
        self.done[who] += 1

    async def finish(self, look: Client) -> None:
        await look.sync(self.path)
        self.ledger.judge((await look.get(self.path)).data.decode().split())


class CreatesPlay(Play):
    """Exactly-once writes of the client itself: creates, sets and transactions."""

    def __init__(self, story: Story) -> None:
        super().__init__(story)
        self.created, self.changed, self.pairs = Ledger(), Ledger(), Ledger()

    async def work(self, zk: Client, who: str) -> None:
        await zk.ensure(self.path)
        match self.rng.randrange(3):
            case 0:
                name = self.created.new(who)
                await zk.create(f"{self.path}/one-", name.encode(), sequence=True)
                self.created.sure.add(name)
            case 1:
                name = self.changed.new(who)
                await zk.set(self.path, name.encode(), lost_reply="once")
                self.changed.sure.add(name)
            case 2:
                name = self.pairs.new(who)
                both = zk.transaction(lost_reply="once")
                for _ in range(2):
                    both.create(f"{self.path}/two-", name.encode(), sequence=True)
                await both.commit()
                self.pairs.sure.add(name)
        self.done[who] += 1

    async def finish(self, look: Client) -> None:
        await look.sync(self.path)
        found: defaultdict[str, list[str]] = defaultdict(list)
        for name in await look.children(self.path):
            found[name[:3]].append((await look.get(f"{self.path}/{name}")).data.decode())
        self.created.judge(found["one"])
        self.pairs.judge(sorted(found["two"])[::2])
        self.pairs.judge(sorted(found["two"])[1::2])
        version = (await look.get(self.path)).stat.version
        if not len(self.changed.sure) <= version <= len(self.changed.tried):
            raise Violation(f"{version} changes, of which {len(self.changed.sure)} are known")

    async def keeps(self, look: Client) -> set[str]:
        return await tree(look, self.path)


class WorkQueuePlay(Play):
    """Put and take; some fail, and at their last attempt go to ``dead``."""

    def __init__(self, story: Story) -> None:
        super().__init__(story)
        self.room = Room(story)
        self.put, self.finished = Ledger(), Ledger()
        self.attempts: dict[str, int] = {}
        self.queues: dict[Client, WorkQueue | DelayQueue] = {}

    def queue(self, zk: Client) -> WorkQueue | DelayQueue:
        return zk.work_queue(self.path, attempts_max=ATTEMPTS_MAX)

    async def add(self, queue: WorkQueue | DelayQueue, data: bytes) -> None:
        assert isinstance(queue, WorkQueue)
        await queue.put(data, self.rng.randrange(3))

    async def work(self, zk: Client, who: str) -> None:
        queue = self.queue(zk)
        if who == "c0.0":
            name = self.put.new(who)
            await self.add(queue, name.encode())
            self.put.sure.add(name)
            self.done[who] += 1
            return
        with self.story.until_over():
            async with queue:
                for _ in range(3):
                    await self._take(queue, who)

    async def _take(self, queue: WorkQueue | DelayQueue, who: str) -> None:
        name = ""
        try:
            async with queue.take() as item:
                name = item.data.decode()
                self._judge(item, name)
                with self.room.enter(item.name, who, item, item.token):
                    await trio.sleep(self.rng.random() / 4)
                    if self.rng.randrange(6) == 0:
                        raise LookupError
                self.finished.tried.add(name)
            self.finished.sure.add(name)
            self.done[who] += 1
        except LookupError:
            pass

    def _judge(self, item: Item, name: str) -> None:
        if name in self.finished.sure:
            raise Violation(f"{name} is given out after its end was acknowledged")
        if not self.attempts.get(name, 0) < item.attempts <= ATTEMPTS_MAX:
            raise Violation(f"{name}: attempt {item.attempts} after {self.attempts.get(name, 0)}")
        self.attempts[name] = item.attempts

    async def finish(self, look: Client) -> None:
        await trio.sleep(12)  # the leases of those that could not end their sessions
        rest: list[str] = []
        await look.sync(self.path)
        with trio.fail_after(DRAIN_S):
            async with self.queue(look) as queue:
                while await queue.size():
                    with trio.move_on_after(5):
                        async with queue.take() as item:
                            rest.append(item.data.decode())
                            self._judge(item, rest[-1])
        dead = []
        for name in await look.children(f"{self.path}/dead") if await look.exists(f"{self.path}/dead") else []:
            dead.append((await look.get(f"{self.path}/dead/{name}")).data.decode())
        if both := self.finished.sure & set(dead):
            raise Violation(f"done and dead: {both}")
        if few := [name for name in dead if not self.attempts.get(name)]:
            raise Violation(f"dead, and never tried: {few}")
        # What was ended in vain, as far as anybody knows, may be gone all the same.
        self.put.judge(sorted(self.finished.tried | set(rest) | set(dead)))
        ended = [*rest, *dead, *self.finished.sure]
        if twice := {name for name in ended if ended.count(name) > 1}:
            raise Violation(f"ended twice: {sorted(twice)}")

    async def keeps(self, look: Client) -> set[str]:
        found = await tree(look, self.path)
        dead = {path for path in found if path.startswith(f"{self.path}/dead")}
        return {self.path, f"{self.path}/entries", f"{self.path}/taken", *dead}


class DelayQueuePlay(WorkQueuePlay):
    def queue(self, zk: Client) -> DelayQueue:
        return zk.delay_queue(self.path, attempts_max=ATTEMPTS_MAX)

    async def add(self, queue: WorkQueue | DelayQueue, data: bytes) -> None:
        assert isinstance(queue, DelayQueue)
        await queue.put(data, delay_ms=self.rng.choice([0, 100, 3_000]))

    def _judge(self, item: Item, name: str) -> None:
        super()._judge(item, name)
        now_ms = EPOCH_MS + int(trio.current_time() * 1000)
        if now_ms < item.rank:
            raise Violation(f"{name} is given out {item.rank - now_ms} ms too early")


class TreeCachePlay(Play):
    """Tasks write; each client has a cache, which is never behind itself and in the end equals the tree."""

    top = "/r/t"
    paths = ("/r/t", "/r/t/a", "/r/t/b", "/r/t/a/x", "/r/t/a/y", "/r/t/a/x/1")

    def __init__(self, story: Story) -> None:
        super().__init__(story)
        self.written: set[tuple[str, bytes]] = set()
        self.caches: dict[str, TreeCache] = {}

    async def work(self, zk: Client, who: str) -> None:
        path = self.rng.choice(self.paths)
        data = f"{who} {len(self.written)}".encode()
        self.written |= {(path, data)}
        try:
            match self.rng.randrange(5):
                case 0:
                    await zk.delete(path)
                case 1 | 2:
                    await zk.set(path, data)
                case 3:
                    await zk.ensure("/r")
                    await zk.create(path, data, parents=False)
                case 4:
                    await zk.ensure("/r/t/a")
                    self.written |= {(above, b"") for above in ("/r/t", "/r/t/a")}
                    one = zk.transaction().create(f"{path}.both", data).delete(f"{path}.both").set(path, data)
                    await one.commit()
        except (zabpy.NoNodeError, zabpy.NodeExistsError, zabpy.NotEmptyError, zabpy.TransactionFailedError):
            pass
        await trio.sleep(self.rng.random() / 5)
        self.done[who] += 1

    async def serve(self, zk: Client, name: str) -> None:
        while not self.story.over:
            try:
                await zk.ensure("/r")
                self.written |= {(above, b"") for above in ("/r/t", "/r/t/a")}
                async with zk.tree_cache(self.top) as cache:
                    await self._look(zk, cache, name)
            except TROUBLES:
                await trio.sleep(0.1)

    async def _look(self, zk: Client, cache: TreeCache, name: str) -> None:
        seen: dict[str, int] = {}
        shown = {path: cache.get(path) for path in cache}
        for path, node in shown.items():
            assert node is not None
            seen[path] = node.stat.mzxid
        async with cache.changes() as changes:
            with self.story.until_over():
                async for change in changes:
                    if isinstance(change, Removed):
                        continue
                    assert isinstance(change, Added | Updated)
                    path, node = change.path, change.node
                    if (path, node.data) not in self.written:
                        raise Violation(f"{name} shows {node.data!r} at {path}, which never was")
                    if node.stat.mzxid < seen.get(path, 0) or (
                        isinstance(change, Updated) and node.stat.mzxid == seen.get(path)
                    ):
                        raise Violation(f"{name} shows {path} at {node.stat.mzxid:#x} after {seen[path]:#x}")
                    seen[path] = node.stat.mzxid
        await trio.sleep(3)  # until nobody writes any more
        ends_at = trio.current_time() + 5
        while True:
            await zk.sync(self.top)
            there = {}
            for path in await tree(zk, self.top):
                data, stat = await zk.get(path)
                there[path] = data, stat.mzxid
            cached = {path: (node.data, node.stat.mzxid) for path in cache if (node := cache.get(path)) is not None}
            if there == cached:
                self.done[f"{name} equals"] += 1
                return
            if trio.current_time() > ends_at:
                raise Violation(f"{name} shows {cached}, and there is {there}")
            await trio.sleep(0.5)

    async def finish(self, look: Client) -> None:
        if missing := [f"c{i}" for i in range(self.clients) if not self.done[f"c{i} equals"]]:
            raise Violation(f"the caches of {missing} were not compared")

    async def keeps(self, look: Client) -> set[str]:
        return await tree(look, self.path)


class BarrierPlay(Play):
    """One puts it up and down; nobody else passes while the very same znode stands."""

    path = "/r/b"

    async def work(self, zk: Client, who: str) -> None:
        barrier = zk.barrier(self.path)
        if who == "c0.0":
            await barrier.create()
            await trio.sleep(self.rng.random() * 2)
            await barrier.remove()
            await trio.sleep(self.rng.random() / 2)
        else:
            await zk.sync(self.path)
            before = await zk.exists(self.path)
            await barrier.wait()
            await zk.sync(self.path)
            after = await zk.exists(self.path)
            if before and after and before.czxid == after.czxid:
                raise Violation(f"{who} has passed while the barrier was up")
            await trio.sleep(self.rng.random() / 2)
        self.done[who] += 1

    async def finish(self, look: Client) -> None:
        await look.barrier(self.path).remove()

    async def keeps(self, look: Client) -> set[str]:
        return set()


class DoubleBarrierPlay(Play):
    """Rounds of all: nobody is in before all have come, nobody leaves before all have ended."""

    #: The znode of one that could not take it away stays until its session ends.
    AFTERLIFE_S = 12.0

    def __init__(self, story: Story) -> None:
        super().__init__(story)
        self.present: dict[str, float] = {}  # until when
        self.seen: dict[str, set[str]] = {}
        self.members: dict[str, zabpy.recipes.double_barrier.BarrierMember] = {}

    async def work(self, zk: Client, who: str) -> None:
        await trio.sleep(self.rng.random() * self.rng.choice([0, 3]))
        async with self._present(who):
            with self.story.until_over():
                await self._round(zk, who)

    @asynccontextmanager
    async def _present(self, who: str) -> AsyncIterator[None]:
        now = trio.current_time()
        self.seen[who] = {other for other, until in self.present.items() if until >= now} | {who}
        for seen in self.seen.values():
            seen.add(who)
        self.present[who] = float("inf")
        ended_well = False
        try:
            yield
            ended_well = True
        finally:
            self.present[who] = trio.current_time() + (0 if ended_well else self.AFTERLIFE_S)

    async def _round(self, zk: Client, who: str) -> None:
        inside: dict[str, object] = {}
        async with zk.double_barrier(self.path, 3) as member:
            self.story.note(f"{who} is in")
            if len(self.seen[who]) < 3:
                raise Violation(f"{who} is in, though only {sorted(self.seen[who])} have come")
            self.members[who] = member
            try:
                await trio.sleep(self.rng.random())
            finally:
                del self.members[who]
            inside = dict(self.members)
        self.story.note(f"{who} is out")
        for other, its in inside.items():
            still = self.members.get(other)
            if still is its and still is not None and not still.lost and self.story.knows(still.session.id):
                raise Violation(f"{who} has left, and {other} has not ended")
        self.done[who] += 1

    async def finish(self, look: Client) -> None:
        await trio.sleep(12)
        names = await look.children(self.path)
        if names not in ([], ["ready"]):
            raise Violation(f"left: {names}")

    async def keeps(self, look: Client) -> set[str]:
        # ``ready`` counts for nothing without a member that is older, so that it may stay where all died at once.
        return {self.path} | ({f"{self.path}/ready"} & await tree(look, self.path))
