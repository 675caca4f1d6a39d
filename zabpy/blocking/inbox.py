"""What threads have a loop of asyncio call. `call_soon_threadsafe` does that, too, but takes longer to wake it, for it
writes to a socket, which is then read until there is nothing left. A call of plain code is little more than wakings.
"""

import asyncio
import contextvars
import os
from collections import deque
from collections.abc import Callable
from typing import Any


class Inbox:
    """To be made on the loop. What is put there after the loop's end is never called."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        # Who puts something keeps his context to himself: under trio it says that all in it is trio.
        self._context = contextvars.copy_context()
        self._calls: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()
        self._fd = -1
        self._over = False
        if hasattr(os, "eventfd"):
            self._fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
            self._loop.add_reader(self._fd, self._take)

    def put(self, fn: Callable[..., object], *args: Any) -> None:
        """Have the loop call this, behind what was put before. Once the loop is over, nothing or a RuntimeError."""
        if self._over:
            return
        if self._fd < 0:
            self._loop.call_soon_threadsafe(fn, *args, context=self._context)
        else:
            self._calls.append((fn, args))
            os.eventfd_write(self._fd, 1)  # even if there were others: whoever put them may not have got to this

    def close(self) -> None:
        """To be called on the loop, at its end."""
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)

    def __del__(self) -> None:
        # No earlier: somebody may be about to write to it, and its number would be another file's. What finalizers of
        # the same garbage still want to put comes later.
        self._over = True
        if self._fd >= 0:
            os.close(self._fd)

    def _take(self) -> None:
        os.eventfd_read(self._fd)
        while self._calls:
            fn, args = self._calls.popleft()
            try:
                fn(*args)
            except Exception as error:
                self._loop.call_exception_handler({"message": f"{fn!r} failed", "exception": error})
