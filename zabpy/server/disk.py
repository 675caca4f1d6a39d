"""The disk's side of the server: one queue, strictly in order, group commit in one worker.

Everything that changes the log or the epochs is a job in one queue, and one worker does them. All appends that wait
are one write and one sync, told by one `Durable`. What the worker cannot do ends the process: after a failed sync
nobody knows what is on the disk, and whoever goes on acknowledges what may be gone.
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import Protocol, TypeVar

import trio

from zabpy.model import Entry, Tip, ZabpyError, Zxid
from zabpy.storage import Store, StoreError
from zabpy.zab import Durable, EpochSaved, Input

from .counts import Counts

#: A job blocks and returns what it has to tell the replica, if anything.
Job = Callable[[], Input | None]
T = TypeVar("T")

#: On the spot, on the event loop, instead of by the worker: at most so many bytes, and only while syncs lately took no
#: longer than this. See `Disk.kick`.
ON_THE_SPOT_BYTES_MAX = 1 << 20
ON_THE_SPOT_SYNC_US_MAX = 1_000
#: Of the running mean of sync times, how much weight the latest one has, as a shift: 1/8.
_MEAN_SHIFT = 3
#: As measured in the worker, a sync seems longer than it is, since the worker must get the interpreter back after it.
#: So one batch in so many is tried on the spot again.
PROBE_INTERVAL = 256


class DiskFailedError(ZabpyError):
    """The disk refused, or lost, what it was given. The server ends without writing anything more."""


class Worker(Protocol):
    """Where the disk's jobs are done."""

    def start(self, work: Callable[[], None], finished: Callable[[], None]) -> None:
        """From now on call ``work`` after each `wake`, one call at a time, then ``finished`` on the event loop."""

    def wake(self) -> None: ...

    def stop(self) -> None:
        """Let go of the worker. What it is doing, it may finish."""

    def join(self, seconds: float) -> bool:
        """Blocks until the worker is done for good after `stop`; False if it is not after so long."""


class ThreadWorker:
    """A thread of our own. It waits on a queue written in C; ``waker`` makes what it answers through (see
    `Network.waker`)."""

    def __init__(self, waker: Callable[[Callable[[], None]], Callable[[], None]]) -> None:
        self._bell: SimpleQueue[bool] = SimpleQueue()
        self._waker = waker

    def start(self, work: Callable[[], None], finished: Callable[[], None]) -> None:
        answer = self._waker(finished)

        def run() -> None:
            while self._bell.get():
                work()
                answer()

        self._thread = threading.Thread(target=run, name="disk", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        self._bell.put(True)

    def stop(self) -> None:
        self._bell.put(False)

    def join(self, seconds: float) -> bool:
        self._thread.join(seconds)
        return not self._thread.is_alive()


class TaskWorker:
    """Jobs done on the event loop itself after ``delay_ms`` of its time: for simulated disks on simulated time."""

    def __init__(self, nursery: trio.Nursery, delay_ms: float = 0) -> None:
        self._nursery, self._delay_ms, self._stopped = nursery, delay_ms, False

    def start(self, work: Callable[[], None], finished: Callable[[], None]) -> None:
        self._work, self._finished = work, finished

    def wake(self) -> None:
        self._nursery.start_soon(self._later)

    def stop(self) -> None:
        self._stopped = True

    def join(self, seconds: float) -> bool:
        return True

    async def _later(self) -> None:
        await trio.sleep(self._delay_ms / 1000)
        if not self._stopped:
            self._work()
            self._finished()


class Disk:
    """The queue in front of a `Store`. Plain calls, all from the event loop but `_work`."""

    def __init__(
        self,
        store: Store,
        worker: Worker,
        *,
        feed: Callable[[Input], None],
        settle: Callable[[], None],
        failed: Callable[[str], None],
        slow: Callable[[int, int], None],
        slow_sync_ms: int,
        on_the_spot: bool,
        counts: Counts | None = None,
        now_us: Callable[[], int] = lambda: time.perf_counter_ns() // 1000,
    ) -> None:
        """``failed`` ends the server, told why; ``slow`` is told of a sync over ``slow_sync_ms``: ms, entries."""
        self._store, self._worker = store, worker
        self._feed, self._settle, self._failed, self._slow = feed, settle, failed, slow
        self._slow_sync_ms, self._on_the_spot, self._now_us = slow_sync_ms, on_the_spot, now_us
        self._gathered: list[Entry] = []
        self._jobs: deque[Job] = deque()
        self._done: deque[Input | Exception | trio.Event] = deque()
        # Rings of the worker's bell, and those it has worked off; the first is ours to write, the second its.
        self._rung = self._worked = 0
        self._is_failed = self._stopped = False
        self._sync_us = self._unprobed = 0
        self.counts = Counts() if counts is None else counts
        #: Syncs that are not counted yet: µs and entries of each.
        self._synced: deque[tuple[int, int]] = deque()
        worker.start(self._work, self._finished)

    @property
    def idle(self) -> bool:
        """Whether nothing waits to be written or told."""
        return not self._gathered and self.idle_but_for_gathered

    @property
    def idle_but_for_gathered(self) -> bool:
        return not (self._jobs or self._done) and self._rung == self._worked

    def append(self, entries: tuple[Entry, ...]) -> None:
        self._gathered += entries

    def truncate(self, after: Zxid) -> None:
        self.do(lambda: self._store.truncate(after))

    def save_epoch(self, epoch: int) -> None:
        def save() -> Input:
            self._store.save_epoch(epoch)
            return EpochSaved(epoch)

        self.do(save)

    def keep_image(self, data: bytes) -> None:
        self.do(lambda: self._store.keep_image(data))

    def drop_image(self) -> None:
        self.do(self._store.drop_image)

    def install(self, tip: Tip, then: Job) -> None:
        """Make the staged image the newest snapshot; ``then`` runs behind it, still as part of the queue."""

        def install() -> Input | None:
            self._store.install(tip)
            return then()

        self.do(install)

    def do(self, job: Job) -> None:
        """Put a job behind all that was asked before."""
        self._flush_gathered()
        self._jobs.append(job)

    async def call(self, job: Callable[[], T]) -> T:
        """Do ``job`` in its turn and wait for it. A `StoreError` is the caller's; anything else ends the server."""
        done = trio.Event()
        results: list[T] = []
        refused: list[StoreError] = []

        def attempt() -> None:
            try:
                results.append(job())
            except StoreError as error:
                refused.append(error)
            # Any other error ends the server, and whoever waits here with it.
            self._done.append(done)

        self.do(attempt)
        self.kick()
        await done.wait()
        if refused:
            raise refused[0]
        return results[0]

    def kick(self) -> None:
        """What was asked in this turn is done, or goes to the worker, as one batch. Once at the end of a turn.

        Entries alone, while nothing else is under way, are written on the spot if the disk is quick: a trip through
        the worker's thread costs several hand-overs of the interpreter and two wake-ups. Measured on three servers that
        shared two busy cores, in turns with and without: 5 to 15 % less CPU a write at full load, and no fewer writes
        a second. A slow disk is waited for in the worker, and the loop goes on.
        """
        if self._is_failed or self._stopped:
            return
        if self._gathered:
            if self._may_be_on_the_spot():
                gathered, self._gathered = self._gathered, []
                self._attempt(lambda: self._append_and_sync(gathered))
                self._tell()
                return
            self._flush_gathered()
        if self._jobs:
            self._rung += 1
            self._worker.wake()

    def _may_be_on_the_spot(self) -> bool:
        if not self._on_the_spot or not self.idle_but_for_gathered:
            return False
        if self._sync_us > ON_THE_SPOT_SYNC_US_MAX:
            self._unprobed += 1
            if self._unprobed < PROBE_INTERVAL:
                return False
            self._unprobed, self._sync_us = 0, 0  # what this one takes decides
        return sum(len(entry.payload) for entry in self._gathered) <= ON_THE_SPOT_BYTES_MAX

    def stop(self) -> None:
        """Begin nothing more. What was not begun was not acknowledged either."""
        self._stopped = True
        self._gathered = []
        self._jobs.clear()
        self._worker.stop()

    def join(self, seconds: float) -> bool:
        """Blocks until the store is the caller's alone, after `stop`; False: the disk takes longer than that."""
        return self._worker.join(seconds)

    def _flush_gathered(self) -> None:
        if self._gathered:
            self._jobs.append(_AppendJob(self, self._gathered))
            self._gathered = []

    def _work(self) -> None:
        """In the worker: do all that waits. Appends next to each other become one."""
        while self._jobs and not self._is_failed:
            job = self._jobs.popleft()
            if isinstance(job, _AppendJob):
                while self._jobs and isinstance(following := self._jobs[0], _AppendJob):
                    self._jobs.popleft()
                    job.entries += following.entries
            self._attempt(job)
        self._worked += 1

    def _attempt(self, job: Job) -> None:
        try:
            told = job()
        except Exception as error:  # any failure of the disk, or of our own code about it: neither may be outlived
            self._is_failed = True
            self._done.append(error)
        else:
            if told is not None:
                self._done.append(told)

    def _append_and_sync(self, entries: list[Entry]) -> Input:
        began_us = self._now_us()
        self._store.append_and_sync(entries)
        took_us = self._now_us() - began_us
        self._sync_us += (took_us - self._sync_us) >> _MEAN_SHIFT if self._sync_us else took_us
        self._synced.append((took_us, len(entries)))
        if took_us > self._slow_sync_ms * 1000:
            self._slow(took_us // 1000, len(entries))
        return Durable(entries[-1].zxid)

    def _finished(self) -> None:
        """On the event loop again: tell what the worker did. One answer may be to several rings."""
        self._tell()
        self._settle()

    def _tell(self) -> None:
        while self._synced:
            took_us, entries = self._synced.popleft()
            self.counts.fsync_time.add(took_us // 1000)
            self.counts.batch_size.add(entries)
        while self._done:
            told = self._done.popleft()
            if isinstance(told, trio.Event):
                told.set()
                continue
            if isinstance(told, Exception):
                self._failed(_why(told))
                return
            self._feed(told)


def _why(error: Exception) -> str:
    """For people: the disk's own word with the file; of anything else also what kind of error it is."""
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}"
    return f"{type(error).__name__}: {error}"


class _AppendJob:
    """Entries that wait; a job like the others, told apart so that neighbours can be joined."""

    __slots__ = ("disk", "entries")

    def __init__(self, disk: Disk, entries: list[Entry]) -> None:
        self.disk, self.entries = disk, entries

    def __call__(self) -> Input:
        return self.disk._append_and_sync(self.entries)
