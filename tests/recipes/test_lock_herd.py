"""What it costs to hand a lock over, however many wait for it."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import anyio
from trio.testing import MockClock

import zabpy
from tests.client.conftest import Story
from tests.recipes.killing import until
from tests.recipes.memory import World, world
from zabpy.client.call import Call
from zabpy.recipes import Client


@contextmanager
def counted(zk: Client) -> Iterator[Counter[str]]:
    """Counts what a client asks, by operation."""
    asked: Counter[str] = Counter()
    submit = zk.core.submit

    def count(call: Call) -> None:
        asked[call.operation] += 1
        submit(call)

    zk.core.submit = count  # type: ignore[method-assign]
    try:
        yield asked
    finally:
        zk.core.submit = submit  # type: ignore[method-assign]


def test_of_a_thousand_that_wait_one_wakes(on_both: Callable[[Story], None], hosts: str) -> None:
    async def story() -> None:
        turns = 0
        async with zabpy.connect(hosts) as zk:
            lock = zk.lock("/lock")
            some_had_it = anyio.Event()

            async def work() -> None:
                nonlocal turns
                async with lock:
                    turns += 1
                    if turns == 100:
                        some_had_it.set()
                        await anyio.sleep_forever()

            async with anyio.create_task_group() as tasks:
                async with lock:
                    with counted(zk) as asked:
                        for _ in range(1_000):
                            tasks.start_soon(work)
                        await until(lambda: asked["get"] >= 1_000)
                    assert asked["create"] == asked["children"] == 1_000
                    assert asked["get"] <= 1_001  # and the holder looks after its own
                    assert len(await zk.children("/lock")) == 1_001
                    await zk.sync()
                    counting = counted(zk)
                    asked = counting.__enter__()
                await some_had_it.wait()
                counting.__exit__(None, None, None)
                # A hand-over: one deletes its znode, the next lists the children, and then watches its own znode.
                assert (asked["delete"], asked["children"]) == (100, 100)
                assert sum(asked.values()) <= 300
                tasks.cancel_scope.cancel()
            while await zk.children("/lock"):
                pass

    on_both(story)


#: A message takes up to so long in memory, a write what the disk takes, and nothing else any time.
DELAY_US = 2_000


def round_trips_and_a_write(w: World, count: int) -> float:
    return (2 * count * DELAY_US / 1000 + w.servers.disk_delay_ms[1]) / 1000


async def test_a_lock_is_handed_over_in_two_round_trips(autojump_clock: MockClock) -> None:
    async with world(servers=1, delay_us_max=DELAY_US) as w, w.client("a") as a, w.client("b") as b:
        released = 0.0

        async def work() -> None:
            async with b.lock("/lock"):
                assert anyio.current_time() - released <= round_trips_and_a_write(w, 2)

        for _ in range(20):
            async with anyio.create_task_group() as tasks:
                async with a.lock("/lock"):
                    tasks.start_soon(work)
                    await anyio.sleep(1)
                    released = anyio.current_time()


async def test_a_free_lock_is_had_in_one_round_trip(autojump_clock: MockClock) -> None:
    async with world(servers=1, delay_us_max=DELAY_US) as w, w.client("a") as a:
        async with a.lock("/lock"):
            pass
        for _ in range(20):
            began = anyio.current_time()
            async with a.lock("/lock"):
                assert anyio.current_time() - began <= round_trips_and_a_write(w, 1)
