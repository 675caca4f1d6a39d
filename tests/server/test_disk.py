"""Group commit, order, and what a failure does."""

import threading
from collections.abc import Callable

import pytest
import trio

from zabpy.model import NO_CHAIN, Entry, Zxid, entry_after, make_zxid
from zabpy.server.disk import PROBE_INTERVAL, Disk, TaskWorker, ThreadWorker, Worker
from zabpy.server.transport import StreamNetwork
from zabpy.storage import Store
from zabpy.testing.disk import FaultyFiles
from zabpy.zab import Durable, EpochSaved, Input


class HandWorker:
    """Does its work when the test says so."""

    def __init__(self) -> None:
        self.rings = 0

    def start(self, work: Callable[[], None], finished: Callable[[], None]) -> None:
        self._work, self._finished = work, finished

    def wake(self) -> None:
        self.rings += 1

    def stop(self) -> None: ...

    def join(self, seconds: float) -> bool:
        return True

    def go(self) -> None:
        for _ in range(self.rings):
            self._work()
        self.rings = 0
        self._finished()


class World:
    def __init__(self, worker: Worker, *, on_the_spot: bool = False) -> None:
        self.files = FaultyFiles()
        self.fail_syncs = False
        self.clock_us, self.sync_us = 0, 100
        self.syncs: list[str] = []
        self.files.hook = self._hook
        self.store = Store.open(self.files, "/d", "/d", 1)
        self.syncs.clear()
        self.told: list[Input] = []
        self.failures: list[str] = []
        self.disk = Disk(
            self.store,
            worker,
            feed=self.told.append,
            settle=lambda: None,
            failed=self.failures.append,
            slow=lambda ms, entries: None,
            slow_sync_ms=1000,
            on_the_spot=on_the_spot,
            now_us=self._now_us,
        )

    def _now_us(self) -> int:
        self.clock_us += self.sync_us
        return self.clock_us

    def _hook(self, when: str, kind: str, path: str) -> None:
        if when == "before" and kind == "sync":
            self.syncs.append(path)
            if self.fail_syncs:
                raise OSError(5, "Input/output error", path)


def entries(count: int) -> list[tuple[Entry, ...]]:
    """The first ``count`` entries of an epoch, each by itself."""
    made: list[tuple[Entry, ...]] = []
    chain = NO_CHAIN
    for counter in range(count):
        entry = entry_after(chain, make_zxid(1, counter), b"payload")
        chain = entry.chain
        made.append((entry,))
    return made


def test_all_appends_that_wait_are_one_sync_and_one_durable() -> None:
    worker = HandWorker()
    world = World(worker)
    for each in entries(100):
        world.disk.append(each)
        world.disk.kick()
    assert world.told == []
    assert not world.disk.idle
    worker.go()
    assert world.told == [Durable(make_zxid(1, 99))]
    assert len(world.syncs) == 1
    assert world.disk.idle


def test_jobs_are_done_strictly_in_order() -> None:
    worker = HandWorker()
    world = World(worker)
    first, second, third, fourth = entries(4)
    world.disk.append(first)
    world.disk.append(second)
    world.disk.save_epoch(1)
    world.disk.append(third)
    world.disk.truncate(second[0].zxid)
    world.disk.append(third)
    world.disk.append(fourth)
    world.disk.kick()
    worker.go()
    assert world.told == [Durable(second[0].zxid), EpochSaved(1), Durable(third[0].zxid), Durable(fourth[0].zxid)]
    assert world.store.tip.zxid == fourth[0].zxid


def test_a_batch_by_itself_is_done_on_the_spot_and_never_past_one_that_waits() -> None:
    worker = HandWorker()
    world = World(worker, on_the_spot=True)
    first, second, third = entries(3)
    world.disk.append(first)
    world.disk.kick()
    assert world.told == [Durable(first[0].zxid)]
    world.disk.save_epoch(1)
    world.disk.kick()
    world.disk.append(second)
    world.disk.kick()
    assert len(world.told) == 1
    worker.go()
    world.disk.append(third)
    world.disk.kick()
    assert world.told == [Durable(first[0].zxid), EpochSaved(1), Durable(second[0].zxid), Durable(third[0].zxid)]


def test_a_slow_disk_is_left_to_the_worker_and_tried_again_now_and_then() -> None:
    worker = HandWorker()
    world = World(worker, on_the_spot=True)
    world.sync_us = 10_000
    on_the_spot = []
    for count, each in enumerate(entries(3 * PROBE_INTERVAL)):
        if count == PROBE_INTERVAL + 10:
            world.sync_us = 100  # quick again, as nobody knows before it is tried
        world.disk.append(each)
        world.disk.kick()
        if not worker.rings:
            on_the_spot.append(count)
        worker.go()
        assert world.told[-1] == Durable(each[0].zxid)
    assert on_the_spot[:2] == [0, PROBE_INTERVAL]
    assert on_the_spot[-100:] == list(range(3 * PROBE_INTERVAL - 100, 3 * PROBE_INTERVAL))


@pytest.mark.parametrize("on_the_spot", [False, True])
def test_after_a_failed_sync_nothing_is_told_and_nothing_written(on_the_spot: bool) -> None:
    worker = HandWorker()
    world = World(worker, on_the_spot=on_the_spot)
    first, second, _ = entries(3)
    world.fail_syncs = True
    world.disk.append(first)
    world.disk.kick()
    worker.go()
    assert len(world.failures) == 1
    assert "Input/output error" in world.failures[0]
    operations = world.files.operations
    world.disk.append(second)
    world.disk.save_epoch(1)
    world.disk.kick()
    worker.go()
    assert world.told == []
    assert world.files.operations == operations


async def test_call_waits_for_its_turn_and_gives_the_result_or_the_stores_refusal() -> None:
    async with trio.open_nursery() as nursery:
        world = World(TaskWorker(nursery))
        world.disk.append(entries(1)[0])
        assert await world.disk.call(lambda: world.store.synced.zxid) == make_zxid(1, 0)
        with pytest.raises(Exception, match="PurgedError|read"):
            await world.disk.call(lambda: _refuse())
        assert world.failures == []


async def test_the_thread_does_the_work_aside_and_answers_on_the_loop() -> None:
    network = StreamNetwork()
    async with trio.open_nursery() as nursery:
        await nursery.start(network.run, lambda: None, print)
        world = World(ThreadWorker(network.waker))
        done = trio.Event()

        def tell(given: Input) -> None:
            world.told.append(given)
            done.set()

        world.disk._feed = tell
        for each in entries(50):
            world.disk.append(each)
        world.disk.kick()
        with trio.fail_after(5):
            await done.wait()
        assert world.told == [Durable(Zxid(make_zxid(1, 49)))]
        world.disk.stop()
        nursery.cancel_scope.cancel()


def _refuse() -> None:
    from zabpy.storage import PurgedError

    raise PurgedError("PurgedError: cannot be read")


def test_after_a_stop_nothing_more_is_begun() -> None:
    worker = HandWorker()
    world = World(worker)
    first, second, _ = entries(3)
    world.disk.append(first)
    world.disk.kick()
    world.disk.stop()
    world.disk.append(second)
    world.disk.kick()
    operations = world.files.operations
    worker.go()
    assert world.told == []
    assert world.files.operations == operations


def test_who_stops_can_wait_until_the_write_that_is_under_way_has_let_go_of_the_log() -> None:
    """Two threads in one log: the one that closes it would take its file from under the one that writes."""
    begun, may_end = threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        may_end.wait(30)

    worker = ThreadWorker(lambda finished: finished)
    worker.start(work, lambda: None)
    worker.wake()
    assert begun.wait(30)
    worker.stop()
    assert not worker.join(0)
    may_end.set()
    assert worker.join(30)
