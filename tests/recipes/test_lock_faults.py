"""The lock when servers crash, connections go silent and tasks are cancelled: never two, and nothing left."""

import asyncio
from random import Random

import anyio
import pytest
from trio.testing import MockClock

import zabpy
from tests.recipes.memory import World, world
from zabpy.recipes import AcquireTimeoutError, LockLost


class Inside:
    """Judges who is inside: by itself, and by the tokens that a store would see."""

    def __init__(self) -> None:
        self.holder = ""
        self.tokens: list[int] = []

    def enter(self, name: str, token: int) -> None:
        assert not self.holder, f"{name} is inside with {self.holder}"
        assert not self.tokens or token > self.tokens[-1]
        self.holder = name
        self.tokens.append(token)

    def leave(self) -> None:
        self.holder = ""


@pytest.mark.parametrize("seed", range(4))
async def test_never_two_and_nothing_left(seed: int, autojump_clock: MockClock) -> None:
    rng = Random(seed)
    inside = Inside()
    over = False

    async def work(w: World, name: str) -> None:
        async with w.client(name) as zk:
            lock = zk.lock("/lock", data=name.encode())
            while not over:
                try:
                    async with await lock.acquire(rng.choice([None, 0, 50, 2_000])) as held:
                        inside.enter(name, held.token)
                        try:
                            await anyio.sleep(rng.random())
                        finally:
                            inside.leave()
                except (LockLost, AcquireTimeoutError, zabpy.NoServerError):
                    await anyio.sleep(rng.random() / 10)

    async def trouble(w: World) -> None:
        for _ in range(10):
            await anyio.sleep(rng.random() * 3)
            name, server = f"c{rng.randrange(4)}", rng.randrange(1, 4)
            match rng.randrange(4):
                case 0:
                    w.isolate(name)
                    await anyio.sleep(rng.choice([1, 5, 9]))
                    w.heal()
                case 1:
                    for id in w.servers.configs:
                        w.servers.lose(id, name)  # it is heard, and does not hear
                    await anyio.sleep(rng.choice([1, 5, 9]))
                    w.heal()
                case 2:
                    w.dials[name].break_now()
                case 3:
                    w.servers.crash(server)
                    await w.servers.wait_ended(server)
                    await anyio.sleep(rng.random())
                    await w.servers.start(server)
                    await w.servers.wait_serving()

    async with world(seed=seed) as w:
        async with anyio.create_task_group() as tasks:
            for number in range(4):
                tasks.start_soon(work, w, f"c{number}")
            await trouble(w)
            over = True
        async with w.client("look") as look:
            await look.sync("/lock")
            assert await look.children("/lock") == []
    assert len(inside.tokens) > 10


async def test_the_end_of_all_by_a_cancellation_leaves_nothing(autojump_clock: MockClock) -> None:
    async with world() as w, w.client("b") as b:
        with anyio.move_on_after(3):
            async with w.client("a", session_timeout_ms=30_000) as a, a.lock("/lock", lock_delay_ms=1_000):
                await anyio.sleep_forever()
        assert await b.children("/lock") == []


def test_a_task_that_asyncio_itself_cancels_leaves_nothing(hosts: str) -> None:
    """Not by a scope of anyio's, but by Task.cancel, after so many steps of the loop as it takes to have the lock."""

    async def story() -> None:
        async with zabpy.connect(hosts) as zk:
            await zk.create("/lock")
            had_it = False

            async def take() -> None:
                nonlocal had_it
                async with zk.lock("/lock", lock_delay_ms=5):
                    had_it = True
                    await asyncio.sleep(10)

            steps = 0
            while not had_it:
                task = asyncio.create_task(take())
                for _ in range(steps):
                    await asyncio.sleep(0)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                while await zk.children("/lock"):
                    pass
                steps += 1
            assert steps > 5

    asyncio.run(asyncio.wait_for(story(), 60))
