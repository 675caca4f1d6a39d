"""Clock: what time it is, handed in from outside so that whole servers can run on simulated time."""

import time
from typing import Protocol

import trio


class Clock(Protocol):
    def now_ms(self) -> int:
        """Milliseconds that never go back and do not know the date. All deadlines are on this one (trap F1)."""

    def wall_ms(self) -> int:
        """Milliseconds since 1970. Only for times that users see: ctime, mtime, log lines."""


class SystemClock:
    """The machine's own clocks."""

    def now_ms(self) -> int:
        return time.monotonic_ns() // 1_000_000

    def wall_ms(self) -> int:
        return time.time_ns() // 1_000_000


class TrioClock:
    """trio's clock: virtual time in a test that runs under a `trio.testing.MockClock`."""

    def __init__(self, began_wall_ms: int = 1_700_000_000_000) -> None:
        self._began_wall_ms = began_wall_ms

    def now_ms(self) -> int:
        return int(trio.current_time() * 1000)

    def wall_ms(self) -> int:
        return self._began_wall_ms + self.now_ms()
