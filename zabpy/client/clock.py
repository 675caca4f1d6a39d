"""The time that sessions are judged by: the event loop's, and that of the machine's sleep, when loops stand still.

Servers count on while this machine is suspended, so that time counts here as well (CLOCK_BOOTTIME beside
CLOCK_MONOTONIC, where the system has both). Jumps of the wall clock do not.
"""

import time
from collections.abc import Callable
from threading import get_ident

import anyio

from .home import Home


def asleep_ms() -> int:
    """How long this machine was suspended since it was started; 0 where the system does not say."""
    try:
        # In this order, for what happens in between must not look like sleep.
        with_sleep = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        return max(0, with_sleep - time.clock_gettime_ns(time.CLOCK_MONOTONIC)) // 1_000_000
    except (AttributeError, OSError):
        return 0


class Clock:
    """To be made in the event loop whose time it tells; may then be read from any thread."""

    def __init__(self, home: Home, asleep_ms: Callable[[], int] = asleep_ms) -> None:
        # Loops of asyncio may tell the time that it was when they last woke (uvloop): too old for `Session.check`.
        self._loops_seconds = time.monotonic if home.on_asyncio else anyio.current_time
        self._thread = get_ident()
        self._read_last = self._loops_seconds(), time.monotonic()
        self._asleep_ms = asleep_ms
        self._asleep_at_first_ms = self._asleep_max_ms = asleep_ms()

    def now_ms(self) -> int:
        """Never less than before."""
        if get_ident() == self._thread:
            seconds = self._loops_seconds()
            self._read_last = seconds, time.monotonic()
        else:
            then, monotonic = self._read_last
            seconds = then + time.monotonic() - monotonic
        return int(seconds * 1000) + self.suspended_ms

    @property
    def suspended_ms(self) -> int:
        """How long the machine slept since this was made."""
        self._asleep_max_ms = max(self._asleep_max_ms, self._asleep_ms())
        return self._asleep_max_ms - self._asleep_at_first_ms
