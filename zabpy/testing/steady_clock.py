"""SteadyClock: a clock that stands still while this thread does.

Servers in a test share a process, and a machine, with what is tested. When that keeps the interpreter for a second, or
the machine does something else, no server has heard a ping that was sent in time: on the machine's clock leaders would
be given up and sessions would expire because a test was slow. Here such a stall lasts `STALL_MS_MAX`, however long it
was.
"""

import time

import trio

#: So often the clock is set. What lies between two times is at most this much time.
BEAT_SECONDS = 0.02
STALL_MS_MAX = 100


class SteadyClock:
    """A `zabpy.server.Clock`: milliseconds that never go back, nor far ahead at once; the date is the machine's."""

    def __init__(self) -> None:
        self._beat_ns, self._beat_ms = time.monotonic_ns(), 0.0

    def now_ms(self) -> int:
        return int(self._now_ms())

    def wall_ms(self) -> int:
        return time.time_ns() // 1_000_000

    async def run(self) -> None:
        """To be run while the clock is in use."""
        while True:
            self.beat()
            await trio.sleep(BEAT_SECONDS)

    def beat(self) -> None:
        """To be called often."""
        self._beat_ms, self._beat_ns = self._now_ms(), time.monotonic_ns()

    def _now_ms(self) -> float:
        return self._beat_ms + min(STALL_MS_MAX, (time.monotonic_ns() - self._beat_ns) / 1e6)
