"""Background: trio in a thread of its own, and questions to it from any other. No other file of this folder has threads
(but for the simulator's processes): users call servers for tests from plain code, where nobody runs an event loop."""

import contextlib
import os
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import Any, TypeVar

import trio

from zabpy.model import ZabpyError

T = TypeVar("T")


class EnsembleError(ZabpyError):
    """What was asked of an `Ensemble` cannot be done; the text says why."""


class Background:
    """From `start` to `end`, each once. The thread ends with the process at the latest."""

    def __init__(self, name: str) -> None:
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._up = threading.Event()
        self._pending: set[Future[Any]] = set()
        self._pid = os.getpid()
        #: Why it ended by itself, if it did.
        self.failure: BaseException | None = None
        # These belong to the thread.
        self.nursery: trio.Nursery
        self._token: trio.lowlevel.TrioToken | None = None
        self._over = trio.Event()

    @property
    def started(self) -> bool:
        return self._thread.ident is not None

    @property
    def elsewhere(self) -> bool:
        """Whether this is a process that was forked from the one with the thread."""
        return self._pid != os.getpid()

    @property
    def ending(self) -> bool:
        return self._over.is_set()

    def start(self) -> None:
        self._thread.start()
        self._up.wait()

    def end(self, seconds_max: float) -> bool:
        """Cancel all that runs in it and wait for its end; False: that takes longer. May be called again."""
        if not self.started or self.elsewhere:
            return True
        self._up.wait()
        with contextlib.suppress(trio.RunFinishedError):  # it has ended by itself, as is wanted
            if self._token is not None:
                self._token.run_sync_soon(self._over.set)
        self._thread.join(seconds_max)
        return not self._thread.is_alive()

    def ask(self, question: Callable[[], Awaitable[T]]) -> T:
        """Have it done in the thread, and wait for what it returns or raises.

        Raises:
            EnsembleError: the thread has not begun, has ended, or is that of another process.
        """
        if self.elsewhere:
            raise EnsembleError("this ensemble was started in another process: here it can only be connected to")
        if not self.started:
            raise EnsembleError("the ensemble has not been started")
        answer: Future[T] = Future()

        async def run() -> None:
            try:
                result = await question()
            except trio.Cancelled:
                answer.set_exception(EnsembleError("the ensemble was closed meanwhile"))
                raise
            except Exception as error:
                answer.set_exception(error)
            else:
                answer.set_result(result)

        def begin() -> None:
            if not self.ending:
                self.nursery.start_soon(run)
            elif not answer.done():
                answer.set_exception(EnsembleError("the ensemble has ended"))

        self._pending.add(answer)
        try:
            if self._token is not None:
                self._token.run_sync_soon(begin)
                return answer.result()
        except trio.RunFinishedError:
            pass  # told below
        finally:
            self._pending.discard(answer)
        raise EnsembleError("the ensemble has ended")

    def ask_now(self, question: Callable[[], T]) -> T:
        """The same for what does not wait."""

        async def ask() -> T:
            return question()

        return self.ask(ask)

    def _run(self) -> None:
        try:
            trio.run(self._main)
        except BaseException as error:  # whatever ends the thread: nobody else would be told
            self.failure = error
        finally:
            self._up.set()
            for answer in list(self._pending):
                if not answer.done():
                    answer.set_exception(EnsembleError("the ensemble has ended"))

    async def _main(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        async with trio.open_nursery() as self.nursery:
            self._up.set()
            await self._over.wait()
            self.nursery.cancel_scope.cancel()
