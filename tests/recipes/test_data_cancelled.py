"""Counter, value, delay queue and tree cache, cancelled at each of their awaits: nothing is leaked or gets stuck."""

from collections.abc import Awaitable, Callable
from itertools import count

import pytest
import trio
from trio.testing import MockClock

from tests.recipes.hurting import crowd
from zabpy.recipes.client import Client


class Cancelling(trio.abc.Instrument):
    """Cancels a scope before a step of any task, the servers' among them: so also while an answer is on its way."""

    def __init__(self, scope: trio.CancelScope, step: int) -> None:
        self._scope, self._left = scope, step

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self._left -= 1
        if self._left == 0:
            self._scope.cancel()


async def cancelled_anywhere(do: Callable[[], Awaitable[object]]) -> int:
    """Do it, cancelled at the first step that anybody takes, at the second, and so on until it ends before.

    Gives how often it was begun.
    """
    for step in count(1):
        with trio.CancelScope() as scope:
            instrument = Cancelling(scope, step)
            trio.lowlevel.add_instrument(instrument)
            try:
                await do()
            finally:
                trio.lowlevel.remove_instrument(instrument)
        if not scope.cancelled_caught:
            return step
    raise AssertionError


async def test_counting_and_changing(autojump_clock: MockClock) -> None:
    async with crowd(servers=1) as all, all.client("a") as zk, all.client("b") as other:
        counter, value = zk.counter("/n"), zk.atomic_value("/v")

        async def change() -> None:
            await counter.add()
            await value.update(lambda data: data + b".")

        steps = await cancelled_anywhere(change)
        assert steps > 30, "a round trip takes some ten: each of the six was hit on its way"
        assert 1 <= await counter.get() <= steps and 1 <= len((await value.get()).data) <= steps
        before = await counter.get()
        with trio.fail_after(1):
            await change()  # neither holds its turn for ever
        await other.sync()
        assert await other.counter("/n").get() == before + 1
        assert await other.children("/n") == await other.children("/v") == []


async def test_putting_and_taking_what_is_due(autojump_clock: MockClock) -> None:
    async with crowd(servers=1) as all, all.client("a") as zk, all.client("b") as other:
        ended = 0

        async def put_and_take() -> None:
            nonlocal ended
            queue = zk.delay_queue("/later")
            await queue.put(b"x", delay_ms=5)
            async with queue, queue.take() as item:
                assert item.data == b"x"
            ended += 1

        steps = await cancelled_anywhere(put_and_take)
        assert steps > 60
        await trio.sleep(2)
        await other.sync()
        assert await other.children("/later/taken") == [], "each lease was given back"
        assert not [name for name in await other.children("/later") if name.startswith("clock")]
        left = await zk.delay_queue("/later").size()
        async with other.delay_queue("/later") as queue:
            for _ in range(left):
                with trio.fail_after(1):
                    async with queue.take():
                        pass
        assert await queue.size() == 0


@pytest.mark.parametrize("what", ["open", "wait_until", "changes"])
async def test_a_cache(what: str, autojump_clock: MockClock) -> None:
    async with crowd(servers=1) as all, all.client("a") as zk, all.client("b") as other:
        for path in ("/top", "/top/a", "/top/b"):
            await zk.create(path)

        async def use(client: Client = zk) -> None:
            async with client.tree_cache("/top") as cache:
                if what == "wait_until":
                    await cache.wait_until((await other.set("/top/a", b"1")).mzxid)
                if what == "changes":
                    async with cache.changes() as changes:
                        await other.set("/top/a", b"1")
                        await anext(changes)

        async with zk.tree_cache("/top") as bystander:
            assert await cancelled_anywhere(use) > 30
            await trio.sleep(1)
            await bystander.wait_until((await other.set("/top/b", b"1")).mzxid)
        await trio.sleep(1)
        assert len(zk.core.watches) == 0, "no watch is left"
