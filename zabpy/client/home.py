"""Which process, thread and event loop a client belongs to. Asking costs well below a microsecond, so every call does.

A fork has a copy of the client's memory and the same sockets: what it sent would get between the requests of its
parent. Another thread or loop would wait for what is never set there.
"""

import os
import sys
from collections.abc import Callable
from threading import get_ident

import anyio

from .errors import ForkedClientError, WrongLoopError

#: How often the process that this is was forked from another since the first import.
_forks = 0


def _forked() -> None:
    global _forks
    _forks += 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


class Process:
    """The process that this was made in."""

    def __init__(self) -> None:
        self._forks = _forks

    @property
    def left(self) -> bool:
        """Whether this is a fork of it."""
        return _forks != self._forks

    def check(self) -> None:
        """Raise `ForkedClientError` in a fork."""
        if _forks != self._forks:
            raise ForkedClientError("this process was forked from the one that opened the client: open another here")


class Home(Process):
    """And the thread and the event loop. To be made in it."""

    def __init__(self) -> None:
        super().__init__()
        self._thread = get_ident()
        self._running_loop = _running_loop()
        self._loop = self._running_loop()
        self.on_asyncio = on_asyncio()
        #: Whether a task runs this; plain code may do without, see blocking/portal.py.
        self.in_task: Callable[[], object] = sys.modules["asyncio"].current_task if self.on_asyncio else lambda: True

    def check(self) -> None:
        """Raise `ForkedClientError` or `WrongLoopError` where the client must not be used.

        Two runs of trio in one thread are not told apart here: the first has closed the client when it ended.
        """
        if _forks != self._forks:
            super().check()
        if get_ident() != self._thread:
            raise WrongLoopError("called from another thread than the one that the client was opened in")
        if self._running_loop() is not self._loop:
            raise WrongLoopError("called in another event loop than the one that the client was opened in")


def on_asyncio() -> bool:
    """Whether it is asyncio that runs the task this is called in. Of its loop alone trio may be a guest."""
    asyncio = sys.modules.get("asyncio")
    return asyncio is not None and anyio.get_cancelled_exc_class() is asyncio.CancelledError


def _running_loop() -> Callable[[], object]:
    """What tells asyncio's loop of this thread, None where there is none; asyncio is not loaded for that."""
    asyncio = sys.modules.get("asyncio")
    return (lambda: None) if asyncio is None else asyncio._get_running_loop
