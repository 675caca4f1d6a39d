"""kazoo's Counter, Barrier, DoubleBarrier and LockingQueue on one path with ours, while a fleet migrates."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import anyio
import anyio.to_thread
import pytest
from kazoo.client import KazooClient

import zabpy
from tests.client.conftest import Story
from tests.recipes.test_with_kazoo import in_thread


@contextmanager
def kazoo(hosts: str) -> Iterator[Any]:
    client = KazooClient(hosts, timeout=10)
    client.start(30)
    try:
        yield client
    finally:
        client.stop()
        client.close()


def test_a_counter_is_counted_by_both(on_both: Callable[[Story], None], hosts: str) -> None:
    async def story() -> None:
        with kazoo(hosts) as theirs:
            async with zabpy.connect(hosts) as zk:
                for path, layout, curator in (("/text", "text", False), ("/int", "int", True)):
                    counter = theirs.Counter(path, support_curator=curator)

                    def count(counter: Any) -> None:
                        for _ in range(15):
                            counter += 2
                            counter -= 1

                    ours = zk.counter(path, layout=layout)  # type: ignore[arg-type]
                    async with anyio.create_task_group() as tasks:
                        tasks.start_soon(anyio.to_thread.run_sync, partial(count, counter))
                        for _ in range(15):
                            await ours.add()
                    assert await ours.get() == counter.value == 30

    on_both(story)


def test_a_barrier_is_one_for_both(on_both: Callable[[Story], None], hosts: str) -> None:
    async def story() -> None:
        with kazoo(hosts) as theirs:
            async with zabpy.connect(hosts) as zk:
                barrier, ours = theirs.Barrier("/barrier"), zk.barrier("/barrier")
                await ours.create()
                theirs.sync("/barrier")
                async with anyio.create_task_group() as tasks:
                    waited: list[bool] = []
                    tasks.start_soon(anyio.to_thread.run_sync, lambda: waited.append(barrier.wait(20)))
                    await anyio.sleep(0.1)
                    assert waited == []
                    assert await ours.remove()
                assert waited == [True]
                barrier.create()
                await zk.sync()
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(ours.wait)
                    await anyio.sleep(0.1)
                    await anyio.to_thread.run_sync(barrier.remove)

    on_both(story)


@pytest.mark.parametrize(("late_kazoo", "late_ours"), [(0, 0), (0.3, 0), (0, 0.3)])
def test_a_double_barrier_is_one_for_both(
    late_kazoo: float, late_ours: float, on_both: Callable[[Story], None], hosts: str
) -> None:
    async def story() -> None:
        with kazoo(hosts) as theirs, kazoo(hosts) as more:
            async with zabpy.connect(hosts) as zk:
                log: list[str] = []
                lock = threading.Lock()
                # Nobody leaves before all are in: the first of kazoo's to leave deletes `ready`, and who of kazoo's has
                # joined and not looked at it yet would wait for it for ever.
                all_in = threading.Barrier(4)

                def note(what: str) -> None:
                    with lock:
                        log.append(what)

                def kazoos(client: Any, late_seconds: float) -> None:
                    barrier = client.DoubleBarrier("/rounds", 4)
                    time.sleep(late_seconds)
                    note("arrived")
                    barrier.enter()
                    note("in" if log.count("arrived") == 4 else "in too early")
                    all_in.wait(30)
                    time.sleep(late_seconds)
                    note("out")
                    barrier.leave()
                    note("gone" if log.count("out") == 4 else "gone too early")

                async def ours(late_seconds: float) -> None:
                    await anyio.sleep(late_seconds)
                    note("arrived")
                    async with zk.double_barrier("/rounds", 4):
                        note("in" if log.count("arrived") == 4 else "in too early")
                        await in_thread(all_in.wait, 30)
                        await anyio.sleep(late_seconds)
                        note("out")
                    note("gone" if log.count("out") == 4 else "gone too early")

                with anyio.fail_after(40):
                    async with anyio.create_task_group() as tasks:
                        tasks.start_soon(in_thread, kazoos, theirs, 0)
                        tasks.start_soon(in_thread, kazoos, more, late_kazoo)
                        tasks.start_soon(ours, 0)
                        tasks.start_soon(ours, late_ours)
                assert Counter(log) == dict.fromkeys(("arrived", "in", "out", "gone"), 4)
                assert set(await zk.children("/rounds")) <= {"ready"}

    on_both(story)


def test_a_queue_is_worked_on_by_both(on_both: Callable[[Story], None], hosts: str) -> None:
    async def story() -> None:
        with kazoo(hosts) as theirs:
            async with zabpy.connect(hosts) as zk:
                locking = theirs.LockingQueue("/queue")
                done: list[bytes] = []
                lock = threading.Lock()

                def work() -> None:
                    while len(done) < 60:
                        data = locking.get(0.5)  # none, where ours has the rest
                        if data is not None:
                            with lock:
                                done.append(data)
                            assert locking.consume()

                async def ours() -> None:
                    async with zk.work_queue("/queue") as queue:
                        while True:
                            async with queue.take() as item:
                                with lock:
                                    done.append(item.data)

                for number in range(30):
                    locking.put(b"k%d" % number, priority=number)
                    await zk.work_queue("/queue").put(b"z%d" % number, priority=number)
                with anyio.fail_after(40):
                    async with anyio.create_task_group() as tasks:
                        tasks.start_soon(ours)
                        await in_thread(work)
                        while await zk.children("/queue/entries") or await zk.children("/queue/taken"):
                            await zk.sync()  # the end of the last one's work is under way
                        tasks.cancel_scope.cancel()
                assert sorted(done) == sorted(b"%c%d" % (who, i) for who in b"kz" for i in range(30))

    on_both(story)


def test_an_item_that_kazoo_gives_back_is_taken_by_ours(on_both: Callable[[Story], None], hosts: str) -> None:
    async def story() -> None:
        with kazoo(hosts) as theirs:
            async with zabpy.connect(hosts) as zk:
                locking = theirs.LockingQueue("/queue")
                locking.put(b"x")
                assert locking.get(5) == b"x"
                async with zk.work_queue("/queue") as queue:
                    with anyio.move_on_after(0.2):
                        async with queue.take():
                            raise AssertionError("it is taken")
                    assert locking.release()
                    with anyio.fail_after(10):
                        with pytest.raises(LookupError):
                            async with queue.take():
                                assert theirs.LockingQueue("/queue").get(0.2) is None
                                raise LookupError
                assert locking.get(5) == b"x"
                assert locking.consume()

    on_both(story)
