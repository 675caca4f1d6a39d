"""Sharing out work: never two at once, all by somebody, little moved. In memory; the last under trio and asyncio."""

from collections.abc import Callable
from random import Random

import anyio
import pytest
import trio
from trio.testing import MockClock

import zabpy
from tests.client.conftest import Story
from zabpy.recipes.assignment import Assignment
from zabpy.recipes.claim import Claim
from zabpy.recipes.client import Client
from zabpy.recipes.errors import AssignmentLost

from .killing import until
from .memory import World, world

OnBoth = Callable[[Story], None]
ITEMS = [f"item/{i}" for i in range(12)]


class Floor:
    """Who works on what, and a complaint when two do; tokens must grow from owner to owner."""

    def __init__(self) -> None:
        self.working: dict[str, str] = {}
        self.tokens: dict[str, int] = {}
        self.moves = 0

    async def work(self, who: str, claim: Claim) -> None:
        self.begin(who, claim)
        try:
            await anyio.sleep_forever()
        finally:
            self.end(who, claim)

    def begin(self, who: str, claim: Claim) -> None:
        assert claim.item not in self.working, f"{claim.item} is {self.working[claim.item]}'s, and now {who}'s too"
        assert claim.token > self.tokens.get(claim.item, 0)
        claim.check()
        self.working[claim.item], self.tokens[claim.item] = who, claim.token
        self.moves += 1

    def end(self, who: str, claim: Claim) -> None:
        assert self.working.pop(claim.item) == who

    def of(self, who: str) -> set[str]:
        return {item for item, owner in self.working.items() if owner == who}

    def loads(self) -> list[int]:
        return sorted(len(self.of(who)) for who in set(self.working.values()))


async def member(zk: Client, floor: Floor, who: str) -> None:
    async with zk.partitioner("/p", ITEMS, name=who) as partitioner:
        await partitioner.run(lambda claim: floor.work(who, claim))


async def alone(w: World, floor: Floor, who: str) -> None:
    async with w.client(who) as zk:
        await member(zk, floor, who)


async def test_items_are_shared_out_evenly_and_anew_when_members_come_and_go(autojump_clock: MockClock) -> None:
    floor = Floor()
    async with world(servers=1) as w, trio.open_nursery() as nursery, w.client("look") as look:
        scopes = {}
        for count, who in enumerate(["a", "b", "c"], start=1):
            scopes[who] = trio.CancelScope()

            async def part(who: str = who) -> None:
                with scopes[who]:
                    await alone(w, floor, who)

            before, moves = dict(floor.working), floor.moves
            nursery.start_soon(part)
            while floor.loads() != [12 // count] * count:  # noqa: ASYNC110
                await trio.sleep(0.01)
            await trio.sleep(5)
            assert floor.moves - moves <= 12 // count + 3 or count == 1, "others keep what they have"
            kept = sum(floor.working[item] == owner for item, owner in before.items())
            assert count == 1 or kept >= 12 - 12 // count - 3
        scopes["b"].cancel()
        await until(lambda: floor.loads() == [6, 6])
        scopes["a"].cancel()
        scopes["c"].cancel()
        await until(lambda: not floor.working)
        await trio.sleep(1)
        assert await look.children("/p/members") == []
        for item in await look.children("/p/items"):
            assert await look.children(f"/p/items/{item}") == []


async def test_an_item_is_not_given_on_before_its_work_has_ended(autojump_clock: MockClock) -> None:
    """The old owner's work takes half a minute to end; the new one waits for it."""
    floor = Floor()
    async with world(servers=1) as w, w.client("a") as a, w.client("b") as b, trio.open_nursery() as nursery:
        ended_at: dict[str, float] = {}

        async def slow(claim: Claim) -> None:
            floor.begin("a", claim)
            try:
                await trio.sleep_forever()
            finally:
                with trio.CancelScope(shield=True):
                    await trio.sleep(30)
                floor.end("a", claim)
                ended_at[claim.item] = trio.current_time()

        async def first() -> None:
            async with a.partitioner("/p", ITEMS) as partitioner:
                await partitioner.run(slow)

        nursery.start_soon(first)
        await until(lambda: floor.loads() == [12])
        nursery.start_soon(member, b, floor, "b")
        started_at = trio.current_time()
        await until(lambda: floor.loads() == [6, 6])
        assert 30 < trio.current_time() - started_at < 40
        nursery.cancel_scope.cancel()


async def test_an_isolated_member_stops_before_others_take_its_items_over(autojump_clock: MockClock) -> None:
    floor = Floor()
    async with world() as w, w.client("a") as a, w.client("b") as b, trio.open_nursery() as nursery:
        nursery.start_soon(member, a, floor, "a")
        nursery.start_soon(member, b, floor, "b")
        await until(lambda: floor.loads() == [6, 6])
        w.isolate("a")
        await until(lambda: floor.of("a") == set())
        await until(lambda: len(floor.of("b")) == 12)
        w.heal()
        await until(lambda: floor.loads() == [6, 6])
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("seed", range(4))
async def test_whatever_happens_to_connections_nobody_works_on_what_another_works_on(
    seed: int, autojump_clock: MockClock
) -> None:
    rng, floor = Random(seed), Floor()
    async with world(servers=3, seed=seed) as w, trio.open_nursery() as nursery:
        for who in "abcd":
            nursery.start_soon(alone, w, floor, who)
        await until(lambda: floor.loads() == [3, 3, 3, 3])
        for _ in range(15):
            who = rng.choice("abcd")
            match rng.choice(["break", "isolate", "heal", "late"]):
                case "break":
                    w.dials[who].break_now()
                case "isolate":
                    w.isolate(who)
                case "heal":
                    w.heal()
                case "late":
                    w.servers.lose(rng.choice([1, 2, 3]), who)
            await trio.sleep(rng.random() * 6)
        w.heal()
        await until(lambda: floor.loads() == [3, 3, 3, 3])
        nursery.cancel_scope.cancel()


async def test_what_work_raises_comes_out_as_it_is_and_ends_the_rest(autojump_clock: MockClock) -> None:
    floor = Floor()

    async def work(claim: Claim) -> None:
        if claim.item == "item/3":
            await trio.sleep(1)
            raise LookupError("item/3")
        await floor.work("a", claim)

    async with world(servers=1) as w, w.client("a") as zk:
        async with zk.partitioner("/p", ITEMS) as partitioner:
            with pytest.raises(LookupError, match="item/3"):
                await partitioner.run(work)
            assert floor.working == {}
            with pytest.raises(RuntimeError, match="already"):
                await partitioner.run(work)


async def test_other_items_are_shared_out_when_they_are_set(autojump_clock: MockClock) -> None:
    floor = Floor()
    async with world(servers=1) as w, w.client("a") as zk, trio.open_nursery() as nursery:
        async with zk.partitioner("/p", ["1", "2"]) as partitioner:
            nursery.start_soon(partitioner.run, lambda claim: floor.work("a", claim))
            await until(lambda: set(floor.working) == {"1", "2"})
            moves = floor.moves
            partitioner.set_items(["2", "..", "a/b %"])
            await until(lambda: set(floor.working) == {"2", "..", "a/b %"})
            assert floor.moves - moves == 2
            with pytest.raises(zabpy.BadArgumentsError, match="without a name"):
                partitioner.set_items([""])
            nursery.cancel_scope.cancel()


async def test_an_item_that_is_taken_away_and_given_back_while_its_work_ends_is_worked_on_again(
    autojump_clock: MockClock,
) -> None:
    floor = Floor()

    async def slow(claim: Claim) -> None:
        floor.begin("a", claim)
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(30)
            floor.end("a", claim)

    async with world(servers=1) as w, w.client("a") as zk, trio.open_nursery() as nursery:
        async with zk.partitioner("/p", ["1"]) as partitioner:
            nursery.start_soon(partitioner.run, slow)
            await until(lambda: floor.moves == 1)
            partitioner.set_items([])
            await trio.sleep(5)
            partitioner.set_items(["1"])
            await until(lambda: floor.moves == 2)
            nursery.cancel_scope.cancel()


async def test_assignments_are_all_of_a_member_at_a_time_and_end_before_others_get_any(
    autojump_clock: MockClock,
) -> None:
    floor = Floor()
    ends: list[tuple[str, int]] = []

    async def part(zk: Client, who: str) -> None:
        async with zk.partitioner("/p", ITEMS) as partitioner:
            async for assignment in partitioner:
                try:
                    async with assignment:
                        await serve(who, assignment)
                except AssignmentLost:
                    ends.append((who, -1))

    async def serve(who: str, assignment: Assignment) -> None:
        for claim in assignment.claims:
            floor.begin(who, claim) if claim.token not in floor.tokens.values() else floor.working.update(
                {claim.item: who}
            )
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                if not assignment.lost:
                    await trio.sleep(3)
            ends.append((who, len(assignment.items)))
            for claim in assignment.claims:
                floor.end(who, claim)

    async with world() as w, w.client("a") as a, w.client("b") as b, trio.open_nursery() as nursery:
        nursery.start_soon(part, a, "a")
        await until(lambda: floor.loads() == [12])
        nursery.start_soon(part, b, "b")
        await until(lambda: floor.loads() == [6, 6])
        assert ends[0] == ("a", 12)
        w.isolate("a")
        await until(lambda: floor.loads() == [12])
        assert ("a", -1) in ends
        w.heal()
        await until(lambda: floor.loads() == [6, 6])
        nursery.cancel_scope.cancel()


def test_it_runs_under_both(on_both: OnBoth, hosts: str) -> None:
    async def story() -> None:
        floor = Floor()
        async with zabpy.connect(hosts) as a, zabpy.connect(hosts) as b, anyio.create_task_group() as tasks:

            async def part(zk: Client, who: str) -> None:
                async with zk.partitioner("/p", ITEMS, settle_ms=50) as partitioner:
                    await partitioner.run(lambda claim: floor.work(who, claim))

            tasks.start_soon(part, a, "a")
            tasks.start_soon(part, b, "b")
            await until(lambda: floor.loads() == [6, 6])
            tasks.cancel_scope.cancel()
        assert floor.working == {}

    on_both(story)
