"""Snapshots: now and then the state is written aside, so that the log before it can go.

The moment is frozen by copy on write, its rows are encoded on the event loop in slices of a few milliseconds, and
written in a thread of their own, so that neither requests nor the log wait.
"""

import time
from collections.abc import Callable
from functools import partial
from random import Random

import trio

from zabpy.model import Tip, Zxid, zxid_text
from zabpy.pipeline import State
from zabpy.storage import SnapshotFailed, SnapshotWriter, Store
from zabpy.wire import ImageReader, ImageWriter
from zabpy.zab import Input, SnapshotSaved

from .counts import Counts
from .disk import Disk
from .log import Log
from .peers import Aside

#: How long one slice of rows may keep the event loop, about; and the rows of the first one.
SLICE_US_MAX = 3_000
SLICE_ROWS_FIRST = 500
#: Encoded bytes that go to the disk at once.
WRITE_BYTES = 1 << 20


class Snapshots:
    """Counts what is delivered and makes a snapshot when it is time."""

    def __init__(
        self,
        *,
        now: Callable[[], tuple[State, Tip]],
        disk: Disk,
        store: Store,
        aside: Aside,
        feed: Callable[[Input], None],
        settle: Callable[[], None],
        log: Log,
        rng: Random,
        entries_max: int,
        log_bytes_max: int,
        kept: int,
        purge: bool,
        purge_interval_ms: int,
        counts: Counts | None = None,
    ) -> None:
        """``now`` gives the state and the tip it stands at; ``log_bytes_max`` 0 is no bound."""
        self._counts = Counts() if counts is None else counts
        self._purge_interval_ms = purge_interval_ms
        self._now, self._disk, self._store, self._aside = now, disk, store, aside
        self._feed, self._settle, self._log, self._rng = feed, settle, log, rng
        self._entries_max, self._log_bytes_max = entries_max, log_bytes_max
        self._kept, self._purge = kept, purge
        self._entries = self._bytes = 0
        self._due = trio.Event()
        self._set_goal()
        self.last: Tip | None = None

    def delivered(self, entries: int, size: int) -> None:
        self._entries += entries
        self._bytes += size
        if self._entries >= self._entries_goal or (self._bytes_goal and self._bytes >= self._bytes_goal):
            self._due.set()

    async def run(self) -> None:
        while True:
            await self._due.wait()
            self._entries = self._bytes = 0
            self._set_goal()
            self._due = trio.Event()
            try:
                await self.make()
            except SnapshotFailed as error:
                self._counts.snapshot_errors.value += 1
                self._log("snapshot_failed", why=error)

    async def keep_purging(self) -> None:
        """Remove, besides after each snapshot, what of snapshots and log is not to be kept: who lowers the number kept
        and starts a server that writes little would wait long for its next snapshot."""
        while self._purge:
            await trio.sleep(self._purge_interval_ms / 1000)
            before, log_base, tip = await self._disk.call(self._purge_now)
            if log_base != before:
                self._log("purged", log_base=zxid_text(log_base))
                self._feed(SnapshotSaved(tip, log_base))
                self._settle()

    def _purge_now(self) -> tuple[Zxid, Zxid, Tip]:
        """Blocks. Where the log began before and begins now, and the newest snapshot, all of one moment."""
        before = self._store.log_base
        return before, self._store.purge(self._kept), self._store.snapshot

    async def make(self) -> None:
        """Write one now. Raises `SnapshotFailed`: it is gone, and nothing else was changed."""
        began = time.monotonic()
        state, tip = self._now()
        frozen = state.freeze()
        pieces: list[bytes] = []
        size = rows = 0
        writer: SnapshotWriter | None = None
        try:
            writer = await self._disk.call(lambda: self._store.begin_snapshot(tip))
            image = ImageWriter(pieces.append)
            image.begin(tip)
            count = SLICE_ROWS_FIRST
            while True:
                slice_began_ns = time.perf_counter_ns()
                slice_rows = frozen.rows(count)
                image.add(slice_rows)
                took_us = max(1, (time.perf_counter_ns() - slice_began_ns) // 1000)
                count = max(50, min(20_000, count * SLICE_US_MAX // took_us))
                if not slice_rows:
                    rows = image.end()
                if sum(map(len, pieces)) >= WRITE_BYTES or not slice_rows:
                    data = b"".join(pieces)
                    pieces.clear()
                    size += len(data)
                    await self._aside(partial(writer.write, data))
                if not slice_rows:
                    break
                await trio.lowlevel.checkpoint()
            await self._aside(writer.finish)
            await self._disk.call(writer.commit)
            log_base = self._store.log_base
            if self._purge:
                log_base = await self._disk.call(lambda: self._store.purge(self._kept))
        except BaseException:
            frozen.close()
            if writer is not None:
                writer.abort()
            raise
        self.last = tip
        took_ms = int((time.monotonic() - began) * 1000)
        self._counts.snapshot_time.add(took_ms)
        self._log("snapshot", zxid=zxid_text(tip.zxid), rows=rows, bytes=size, ms=took_ms, log_base=zxid_text(log_base))
        self._feed(SnapshotSaved(tip, log_base))
        self._settle()

    def _set_goal(self) -> None:
        """Somewhere in the upper half, so that not all servers of an ensemble do it at once."""
        half = max(1, self._entries_max // 2)
        self._entries_goal = half + self._rng.randrange(max(1, self._entries_max - half) + 1)
        self._bytes_goal = 0
        if self._log_bytes_max > 0:
            self._bytes_goal = self._log_bytes_max // 2 + self._rng.randrange(self._log_bytes_max // 2 + 1)


def load_state(store: Store, tip: Tip, *, standalone: bool, config: bytes) -> State:
    """The state of the snapshot at ``tip``. Blocks; about 3 µs a znode."""
    with store.open_snapshot(tip) as reader:
        image = ImageReader(reader.read)
        if image.tip != tip:
            raise SnapshotFailed(f"{store.snapshot_path(tip)}: expected the state at {tip}, found that at {image.tip}")
        return State.from_rows(image, standalone=standalone, config=config)
