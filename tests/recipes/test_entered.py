"""What was entered in one task and is left in another: it is released, and said."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack

import anyio
import anyio.lowlevel
import pytest
import sniffio
import trio

import zabpy
from tests.client.conftest import Story
from zabpy.recipes import LockLost
from zabpy.recipes.client import Client
from zabpy.recipes.holding import Holding

Make = Callable[[Client], AbstractAsyncContextManager[Holding]]
KINDS: dict[str, Make] = {
    "lock": lambda zk: zk.lock("/it"),
    "multi-lock": lambda zk: zk.multi_lock(["/it", "/other"]),
    "semaphore": lambda zk: zk.semaphore("/it", leases_max=1),
    "read lock": lambda zk: zk.read_write_lock("/it").read,
}


async def in_another_task(do: Callable[[], Awaitable[object]]) -> Exception | None:
    """By the event loop's own means: anyio's tasks, and all scopes of trio, complain of a scope that stays open."""
    failed: list[Exception] = []

    async def run() -> None:
        try:
            await do()
        except Exception as error:
            failed.append(error)
        await anyio.lowlevel.checkpoint()  # this task's own scopes are as they were

    if sniffio.current_async_library() == "trio":
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run)
    else:
        await asyncio.create_task(run())
    return failed[0] if failed else None


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_left_in_another_task_is_released_and_said(
    kind: str, on_both: Callable[[Story], None], hosts: str
) -> None:
    async def story() -> None:
        async with zabpy.connect(hosts) as zk:
            stack, found = AsyncExitStack(), list[Holding]()

            async def enter() -> None:
                found.append(await stack.enter_async_context(KINDS[kind](zk)))

            assert await in_another_task(enter) is None
            failed = await in_another_task(stack.aclose)
            assert isinstance(failed, RuntimeError) and "entered in one task and is left in another" in str(failed)
            with pytest.raises(LockLost, match="it was released"):
                found[0].check()
            with anyio.fail_after(5):
                async with KINDS[kind](zk):
                    pass

    on_both(story)


def test_a_timed_lease_left_in_another_task_is_not_given_back(on_both: Callable[[Story], None], hosts: str) -> None:
    async def story() -> None:
        async with zabpy.connect(hosts) as zk:
            lease, stack = zk.timed_lease("/it", 60_000), AsyncExitStack()

            async def enter() -> None:
                await stack.enter_async_context(lease)

            assert await in_another_task(enter) is None
            failed = await in_another_task(stack.aclose)
            assert isinstance(failed, RuntimeError)
            assert await lease.holder() is not None, "as at the end of any body"

    on_both(story)


def test_of_several_that_which_was_meant_is_released_at_last(on_both: Callable[[Story], None], hosts: str) -> None:
    async def story() -> None:
        async with zabpy.connect(hosts) as zk:
            semaphore, stack = zk.semaphore("/it", leases_max=3), AsyncExitStack()

            async def enter() -> None:
                await stack.enter_async_context(semaphore)

            assert await in_another_task(enter) is None
            async with semaphore as outer:
                async with semaphore as inner:
                    failed = await in_another_task(stack.aclose)
                    assert isinstance(failed, RuntimeError) and "it is entered 3 times" in str(failed)
                    assert len(await semaphore.holders()) == 3, "none of those that may be relied on is taken away"
                outer.check()
                with pytest.raises(LockLost):
                    inner.check()
                assert len(await semaphore.holders()) == 2
            assert await semaphore.holders() == []

    on_both(story)


def test_what_is_not_entered_is_not_left(on_both: Callable[[Story], None], hosts: str) -> None:
    async def story() -> None:
        async with zabpy.connect(hosts) as zk:
            for make in KINDS.values():
                with pytest.raises(RuntimeError, match="it is not entered, and cannot be left"):
                    await make(zk).__aexit__(None, None, None)
            async with zk.lock("/it") as held:
                pass
            with pytest.raises(RuntimeError, match="it is not entered, and cannot be left"):
                await held.__aexit__(None, None, None)

    on_both(story)
