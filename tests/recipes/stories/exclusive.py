"""Plays of recipes that let one in at a time, or so many, or those who share."""

from collections import Counter
from random import Random

import trio

from zabpy.recipes import AcquireTimeoutError
from zabpy.recipes.claim import Claim
from zabpy.recipes.client import Client
from zabpy.recipes.holding import Holding
from zabpy.recipes.multi_lock import HeldLocks

from .store import Room
from .story import Play, Story, Violation, tree

TIMEOUTS_MS = (None, None, 0, 50, 2_000)


class Inside(Play):
    """One takes it, works for a moment, writes to the store now and then, and gives it back."""

    def __init__(self, story: Story) -> None:
        super().__init__(story)
        self.room = Room(story)

    def relying(self) -> list[str]:
        return [each[0].partition(".")[0] for inside in self.room.inside.values() for each in inside]

    async def stay(self, key: object, who: str, held: Holding, token: int, *, shared: bool = False) -> None:
        with self.room.enter(key, who, held, token, shared=shared):
            # Now and then longer than a session lasts that nobody hears of.
            is_long = not self.story.healed and self.rng.random() < 0.15
            for _ in range(100 if is_long else self.rng.randrange(4)):
                if not shared and self.room.limit == 1:
                    self.room.write(key, held, token)
                await trio.sleep(self.rng.random() / 4)
                if is_long and self.story.healed:
                    break
        self.done[who] += 1


class LockPlay(Inside):
    clients, tasks = 3, 2
    lock_delay_ms = 0

    async def work(self, zk: Client, who: str) -> None:
        lock = zk.lock(self.path, lock_delay_ms=self.lock_delay_ms, data=who.encode())
        async with await lock.acquire(self.rng.choice(TIMEOUTS_MS)) as held:
            await self.stay("it", who, held, held.token)


class DelayedLockPlay(LockPlay):
    clients, tasks, lock_delay_ms = 3, 1, 1_500


class CuratorLockPlay(LockPlay):
    async def work(self, zk: Client, who: str) -> None:
        async with zk.lock(self.path, layout="curator") as held:
            await self.stay("it", who, held, held.token)


class ReadWritePlay(Inside):
    clients, tasks = 3, 2

    async def work(self, zk: Client, who: str) -> None:
        rw, shared = zk.read_write_lock(self.path), self.rng.random() < 0.6
        async with await (rw.read if shared else rw.write).acquire(self.rng.choice(TIMEOUTS_MS)) as held:
            await self.stay("it", who, held, held.token, shared=shared)


class SemaphorePlay(Inside):
    clients, tasks = 3, 2
    path = "/r/s"

    def __init__(self, story: Story) -> None:
        super().__init__(story)
        self.room = Room(story, limit=2)

    async def work(self, zk: Client, who: str) -> None:
        async with await zk.semaphore(self.path, 2).acquire(self.rng.choice(TIMEOUTS_MS)) as held:
            await self.stay("it", who, held, held.token)

    async def finish(self, look: Client) -> None:
        while await look.children("/r/s-__lock__"):  # noqa: ASYNC110 -- the ensemble's time limit is this one's
            await trio.sleep(1)


class MultiLockPlay(Inside):
    paths = ("/r/a", "/r/b", "/r/c")

    async def work(self, zk: Client, who: str) -> None:
        wanted = self.rng.sample(self.paths, 2)
        async with await zk.multi_lock(wanted).acquire(self.rng.choice(TIMEOUTS_MS)) as held:
            await self._stay(wanted, who, held)

    async def _stay(self, wanted: list[str], who: str, held: HeldLocks) -> None:
        tokens = held.tokens
        with (
            self.room.enter(wanted[0], who, held, tokens[wanted[0]]),
            self.room.enter(wanted[1], who, held, tokens[wanted[1]]),
        ):
            for path in wanted:
                self.room.write(path, held, tokens[path])
            await trio.sleep(self.rng.random() / 2)
        self.done[who] += 1

    async def keeps(self, look: Client) -> set[str]:
        return {self.path, *self.paths}


class ElectionPlay(Inside):
    """They lead in turn; one more task of each client observes, and has to see the end of it all."""

    async def serve(self, zk: Client, name: str) -> None:
        seen = 0
        with self.story.until_over():
            async with zk.observe(self.path) as leaders:
                async for leader in leaders:
                    if leader is not None:
                        if leader.token < seen:
                            raise Violation(f"{name} saw the term {leader.token:#x} after {seen:#x}")
                        seen = leader.token
                    self.done[f"{name} observes"] += 1

    async def work(self, zk: Client, who: str) -> None:
        stand_again = self.rng.random() < 0.5
        async with zk.election(self.path, data=who.encode()) as election:
            terms = 0
            async for term in election.terms(stand_again=stand_again):
                async with term:
                    await self.stay("it", who, term, term.token)
                terms += 1
                if terms == 2 or self.story.over:
                    break


class TimedLeasePlay(Inside):
    async def work(self, zk: Client, who: str) -> None:
        lease = zk.timed_lease(self.path, self.rng.choice([300, 1_500]))
        try:
            held = await lease.acquire(timeout_ms=self.rng.choice([0, 200, 3_000]))
        except AcquireTimeoutError:
            await trio.sleep(self.rng.random())
            return
        with trio.move_on_after(self.rng.random() * 2):
            try:
                async with held:
                    with self.room.enter("it", who, held, held.token):
                        self.room.write("it", held, held.token)
                        self.done[who] += 1
                        await trio.sleep_forever()
            finally:
                if self.rng.randrange(2):
                    with trio.CancelScope(shield=True):
                        await held.release()

    async def keeps(self, look: Client) -> set[str]:
        return {self.path} | ({f"{self.path}/lease_holder"} & await tree(look, self.path))


class PartitionerPlay(Inside):
    items = ("a", "b/c", "d", "e")

    def __init__(self, story: Story) -> None:
        super().__init__(story)
        self.working: dict[str, tuple[str, Claim]] = {}

    async def work(self, zk: Client, who: str) -> None:
        async with zk.partitioner(self.path, self.items, name=who, settle_ms=200) as partitioner:
            with trio.move_on_after(self.rng.choice([2, 30])):
                with self.story.until_over():
                    await partitioner.run(lambda claim: self._work(who, claim))

    async def _work(self, who: str, claim: Claim) -> None:
        with self.room.enter(claim.item, who, claim.held, claim.token):
            self.working[claim.item] = who, claim
            self.room.write(claim.item, claim.held, claim.token)
            await trio.sleep(Random(claim.token).random())
            self.done[claim.item] += 1
            try:
                await trio.sleep_forever()
            finally:
                if self.working.get(claim.item) == (who, claim):
                    del self.working[claim.item]

    def settled(self, before: Counter[str]) -> bool:
        """All is worked on by somebody who has not lost it."""
        return all(item in self.working and not self.working[item][1].held.lost for item in self.items)

    async def keeps(self, look: Client) -> set[str]:
        items = {"/r/items", *(f"/r/items/{name}" for name in ("a", "b%2Fc", "d", "e"))}
        return {self.path, "/r/members", *(items if self.done else ())}
