"""A server with a mistake: the check of `make linearize` and of `make soak`.

    python -m tests.processes.trapped NAME serve ZOO_CFG

NAME is one of `MISTAKES`, or of `zabpy.testing.traps` as far as they are of `zabpy.zab`: a real server has no simulated
disk that could forget.
"""

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from zabpy.model import Entry
from zabpy.server import driver
from zabpy.storage import Store
from zabpy.testing.traps import TRAPS
from zabpy.zab import Quorums

LATE_SECONDS = 0.4


@contextmanager
def sync_at_once() -> Iterator[None]:
    """A server answers a sync by itself, without asking the leader: a read behind it may be old."""
    right = driver.Driver.submit

    def submit(self: Any, request: Any) -> None:
        right(self, request)
        if self._requests and self._requests[-1] is request and request.op == 9:
            self._requests.pop()
            self.clients.synced(request.request_id)

    driver.Driver.submit = submit  # type: ignore[method-assign]  # the mistake
    yield


@contextmanager
def one_is_enough() -> Iterator[None]:
    """A leader commits what is on its own disk; what others have it does not ask."""
    right = Quorums.agreed

    def agreed(self: Quorums, positions: Iterable[tuple[int, int]]) -> int:
        first, *others = positions
        return max(right(self, [first, *others]), first[1])

    Quorums.agreed = agreed  # type: ignore[method-assign]  # the mistake
    yield


@contextmanager
def late_log() -> Iterator[None]:
    """A server says that entries are on its disk some tenths of a second before they are: a kill loses them."""
    right = Store.append_and_sync
    waiting: list[tuple[float, Entry]] = []

    def append_and_sync(self: Store, entries: Any) -> None:
        now = time.monotonic()
        waiting.extend((now + LATE_SECONDS, entry) for entry in entries)
        due = [entry for at, entry in waiting if at <= now]
        del waiting[: len(due)]
        if due:
            right(self, due)

    Store.append_and_sync = append_and_sync  # type: ignore[method-assign]  # the mistake
    yield


@contextmanager
def leaked_descriptors() -> Iterator[None]:
    """One a write to the log."""
    with _beside_each_write(lambda _: os.dup(0)):
        yield


@contextmanager
def leaked_memory() -> Iterator[None]:
    """64 KiB a write to the log."""
    kept: list[bytes] = []
    with _beside_each_write(lambda _: kept.append(os.urandom(65536))):
        yield


@contextmanager
def _beside_each_write(does: Callable[[Any], object]) -> Iterator[None]:
    right = Store.append_and_sync

    def append_and_sync(self: Store, entries: Any) -> None:
        does(entries)
        right(self, entries)

    Store.append_and_sync = append_and_sync  # type: ignore[method-assign]
    yield


MISTAKES: dict[str, Callable[[], AbstractContextManager[None]]] = {
    "sync-at-once": sync_at_once,
    "one-is-enough": one_is_enough,
    "late-log": late_log,
    "leaked-descriptors": leaked_descriptors,
    "leaked-memory": leaked_memory,
}


#: What `make linearize ARGS=--mistakes` tries: the mistake, and the faults that bring it to light.
SHOWN_BY: dict[str, tuple[str, ...]] = {
    "sync-at-once": ("slow disk", "delay"),
    "one-is-enough": ("isolate", "kill"),
    "late-log": ("kill several", "kill all"),
    "A2": ("power cut behind leader",),
    "G1": ("late word",),
}


def main() -> None:
    name = sys.argv.pop(1)
    mistake = MISTAKES[name] if name in MISTAKES else TRAPS[name].set
    from zabpy.__main__ import main as zabpy

    with mistake():
        zabpy()


if __name__ == "__main__":
    main()
