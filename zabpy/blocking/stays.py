"""What stands on the loop for a ``with`` of plain code: a task inside the ``async with``, until the body has ended.

When that task is cancelled in there, what the body relies on is lost. Plain code cannot be cancelled, so the body is
told (`Lost`, and what `OnLost` says), and the task stays inside until the body has ended by itself. Then it leaves with
what the body ended with. So the rules of leaving are those of ``async with``, word for word, and of several things held
none is given back while the body still runs.
"""

import asyncio
import functools
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Any, Final, Literal

import anyio

from zabpy.client import ClosedClientError
from zabpy.recipes import ACTING_FOR

from .portal import JOIN_MS, Job, Portal, TimedOutError, in_thread, main_thread_id, new_lock, this_thread, thread_id

#: What happens when that is lost which a body relies on, besides that ``held.lost`` is set: nothing; what Ctrl-C does
#: to the main thread; or this is called, on a thread of its own.
OnLost = Literal["flag", "interrupt_main"] | Callable[[], object]

#: How long the end of a body waits for the interrupt that was sent to it and is not there yet.
STRAY_INTERRUPT_MS: Final = 1_000


class Lost:
    """Whether that is lost which a body relies on; to be asked and waited for like a `threading.Event`.

    It is set as soon as the client knows. Where that must be certain this very moment, ask ``check()`` of what is held.
    A fork cannot know, so there all of it raises `ForkedClientError` unless it was lost before the fork.
    """

    def __init__(self, portal: Portal) -> None:
        self._portal = portal
        self._job: Job[None] = Job()
        self._also: set[Job[None]] = set()

    def is_set(self) -> bool:
        if not self._job.finished and self._portal.forked:
            self._portal.check()
        return self._job.finished

    def __bool__(self) -> bool:
        return self.is_set()

    def wait(self, *, timeout_ms: int | None = None) -> bool:
        """Wait for it, for ever or so long. Whether it is lost."""
        return self.is_set() or self._job.wait(timeout_ms)

    @contextmanager
    def also(self) -> Iterator[Job[None]]:
        """A job that the loss finishes, too, if nothing else does before."""
        job: Job[None] = Job()
        self._also.add(job)
        if self._job.finished:
            job.finish(None)
        try:
            yield job
        finally:
            self._also.discard(job)

    def set(self) -> None:
        """To be called by the stay."""
        self._job.finish(None)
        for job in list(self._also):
            job.finish(None)

    def __repr__(self) -> str:
        return f"<Lost: {self._job.finished}>"


class Stay:
    def __init__(self, portal: Portal, manager: AbstractAsyncContextManager[Any], on_lost: OnLost = "flag") -> None:
        self.portal, self._manager, self._on_lost = portal, manager, on_lost
        self.lost = Lost(portal)
        self._thread_id = thread_id()
        self._entered_by = this_thread()
        self._entered: Job[Any] = Job()
        self._over: Job[bool] = Job()
        self._body_error: BaseException | None = None
        self._body_over = asyncio.Event()
        self._scope: anyio.CancelScope | None = None
        self._begun = self._given_up = False
        self._interrupts = new_lock()
        self._interruptible, self._interrupted = True, False

    @property
    def is_of_this_thread(self) -> bool:
        return self._thread_id == thread_id()

    # In the thread ----------------------------------------------------------------------------------------------------

    def enter(self, timeout_ms: int | None = None) -> Any:
        """What ``async with ... as`` gives. Interrupted, it has been left again."""
        self.portal.check()
        try:
            self.portal.submit(self._entered, self._begin, timeout_ms)
            self._entered.wait()
        except BaseException:
            self.portal.wind_up(self._over, self._give_up)
            raise
        return self._entered.outcome()

    def leave(self, error: BaseException | None) -> bool:
        """The body has ended, with this error or none. Whether the error is to be swallowed; or another one raised."""
        if self.portal.forked:
            if error is None:
                self.portal.check()  # it was never this process's to hold
            return False
        if self._interrupted_by_us(error):
            error = None
        told = not self._over.finished
        if told:
            self._body_error = error
            self.portal.tell(self._body_over.set)
            self._over.wait(JOIN_MS if self.portal.closed else None)
        try:
            return self._over.outcome()
        except BaseException as outcome:
            if outcome is error:
                return False
            if error is not None and not told:  # it was over before the body was, because the client was closed
                error.add_note(f"meanwhile: {outcome}")
                return False
            raise

    def _interrupted_by_us(self, error: BaseException | None) -> bool:
        """Whether the body's error is the interrupt that we sent. One that is still under way is waited for."""
        if self._on_lost != "interrupt_main":
            return False
        try:
            with self._interrupts:
                self._interruptible = False
            if not self._interrupted or thread_id() != main_thread_id():
                return False
            if isinstance(error, KeyboardInterrupt):
                return True
            if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
                time.sleep(STRAY_INTERRUPT_MS / 1000)
        except KeyboardInterrupt:
            self._interruptible = False
            if not self._interrupted:
                raise
        return False

    # On the loop ------------------------------------------------------------------------------------------------------

    def _begin(self, timeout_ms: int | None) -> None:
        self._begun = True
        self.portal.spawn(functools.partial(self._run, timeout_ms), at_end=self._give_up)

    def _give_up(self) -> None:
        """Nobody is in the body, or the client ends: leave."""
        self._given_up = True
        if self._entered.finished:
            self._body_over.set()
        elif self._scope is not None:
            self._scope.cancel()
        elif not self._begun:
            self._finish(False)

    async def _run(self, timeout_ms: int | None) -> None:
        ACTING_FOR.set(self._entered_by)
        try:
            with anyio.CancelScope() as self._scope:
                if timeout_ms is not None:
                    self._scope.deadline = anyio.current_time() + timeout_ms / 1000
                if self._given_up:
                    self._scope.cancel()
                self._finish(await self._stay())
            self._finish(False, TimedOutError(f"not entered within {timeout_ms} ms, and given up"))
        except asyncio.CancelledError:
            self._finish(False, ClosedClientError("the client was closed meanwhile"))
            raise
        except BaseException as error:
            self._finish(False, error)
        finally:
            self.portal.done_with(self._entered)

    async def _stay(self) -> bool:
        assert self._scope is not None
        value = await self._manager.__aenter__()
        self._scope.deadline = float("inf")
        cancelled: BaseException | None = None
        try:
            self._entered.finish(value)
            await self._body_over.wait()
        except asyncio.CancelledError as loss:
            cancelled = loss
            await self._see_the_body_out()
        error = cancelled if self._body_error is None else self._body_error
        if error is None:
            await self._manager.__aexit__(None, None, None)
            return False
        swallowed = await self._manager.__aexit__(type(error), error, error.__traceback__)
        if cancelled is error and not swallowed:
            raise cancelled
        return bool(swallowed)

    async def _see_the_body_out(self) -> None:
        self._lose()
        with anyio.CancelScope(shield=True):
            await self._body_over.wait()

    def _lose(self) -> None:
        self.lost.set()
        if self._on_lost == "interrupt_main":
            with self._interrupts:
                if self._interruptible:
                    self._interrupted = True
                    # A signal in truth: one that only Python is told of would not end a sleep.
                    signal.pthread_kill(main_thread_id(), signal.SIGINT)
        elif callable(self._on_lost):
            in_thread(self._on_lost)

    def _finish(self, swallowed: bool, error: BaseException | None = None) -> None:
        self._entered.finish(None, error)
        self._over.finish(swallowed, error)
