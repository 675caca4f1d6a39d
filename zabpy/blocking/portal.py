"""One thread with an event loop in it, and how plain code has that loop work for it.

**Why a thread for each client**: its life is the client's. Nothing is shared that a stuck neighbour could hold up,
nothing is left when the client is closed, and a process that has closed its clients may fork. **Why asyncio's loop**:
to wake it from another thread and run one task takes half the time of trio's loop or of anyio's own portal.

What may happen to a thread that waits here:

* Ctrl-C, or anything else raised in it: what it waited for is cancelled, and when that has cleaned up, it is raised.
* Another thread closes the client: `ClosedClientError`, at once.
* It is the loop's own thread (a finalizer, a logging handler): `WrongLoopError` instead of a deadlock. Any other thread
  may wait, also one that runs an event loop of its own, as the cells of a notebook do. (Nothing else of that loop runs
  meanwhile, so within coroutines use `zabpy.connect`.)
* The process is a fork of the one that opened the client: `ForkedClientError`; a fork has no copy of the thread.
"""

import asyncio
import functools
import os
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Final, Generic, TypeVar

import anyio

from zabpy.client import ClientError, ClosedClientError, ForkedClientError, WrongLoopError
from zabpy.recipes import ACTING_FOR

from .inbox import Inbox

T = TypeVar("T")

#: How long the end of a client waits for its thread to wind up, once the session is closed.
JOIN_MS: Final = 2_000

new_lock = threading.Lock
thread_id = threading.get_ident


class _Thread(threading.local):
    """Of each thread an object that is no other's, not even a later thread's, as its number may be."""

    def __init__(self) -> None:
        self.itself = object()


_this = _Thread()


def this_thread() -> object:
    """What stands for the calling thread where `ACTING_FOR` asks who acquires."""
    return _this.itself


def main_thread_id() -> int:
    ident = threading.main_thread().ident
    assert ident is not None
    return ident


def in_thread(fn: Callable[[], object]) -> None:
    """Run it on a thread of its own, which the program's end does not wait for."""
    threading.Thread(target=fn, name="zabpy-call", daemon=True).start()


class TimedOutError(ClientError, TimeoutError):
    """It took longer than its ``timeout_ms`` and was given up. A write may have been done."""


class Job(Generic[T]):
    """Something that a thread waits for: once ``finished``, it has an outcome."""

    def __init__(self) -> None:
        self.finished = False
        self._result: T | None = None
        self._error: BaseException | None = None
        self._latch = threading.Lock()  # of all that threads can wait for this wakes quickest; signals get through
        self._latch.acquire()

    def finish(self, result: T | None, error: BaseException | None = None) -> None:
        """To be called by the loop's thread, or once that is over. Only the first time counts."""
        if not self.finished:
            self._result, self._error = result, error
            self.finished = True
            self._latch.release()

    def wait(self, timeout_ms: int | None = None) -> bool:
        """Wait for the end, for ever or so long. Whether it is finished."""
        if not self.finished and self._latch.acquire(timeout=-1 if timeout_ms is None else max(0, timeout_ms) / 1000):
            self._latch.release()  # for the next who waits
        return self.finished

    def outcome(self) -> T:
        """The result, or the error raised."""
        error = self._error
        if error is not None:
            try:
                raise error
            finally:
                del error  # or it and this frame would hold each other
        return self._result  # type: ignore[return-value]  # None is a T where there was neither


class Portal:
    """See the head of this file."""

    def __init__(self) -> None:
        self.closed = False
        self._pid = os.getpid()
        self._ident = 0
        self._jobs: set[Job[Any]] = set()
        #: What runs on the loop → how to end it when the client ends, if not by cancelling it.
        self._tasks: dict[asyncio.Task[None], Callable[[], object] | None] = {}
        self._started: Job[None] = Job()
        # A daemon: a program that forgot to close its client must end all the same.
        self._thread = threading.Thread(target=self._run, name="zabpy", daemon=True)
        self._thread.start()
        self._started.wait()
        self._started.outcome()

    # For threads ------------------------------------------------------------------------------------------------------

    @property
    def forked(self) -> bool:
        """Whether this process is a fork of the one that started the thread."""
        return self._pid != os.getpid()

    def check(self) -> None:
        """Raise if no call can be made here and now."""
        if self.forked:
            raise ForkedClientError(
                "this process is a fork of the one that opened the client: "
                "call after_fork() on the client, or open another one here"
            )
        if self.closed:
            raise ClosedClientError("the client is closed")
        if threading.get_ident() == self._ident:
            raise WrongLoopError("called on the client's own thread, which would wait for itself")

    def call(
        self, fn: Callable[..., Coroutine[Any, Any, T]], *args: Any, timeout_ms: int | None = None, **named: Any
    ) -> T:
        """``await fn(*args, **named)`` on the loop."""
        self.check()
        call = _Call(self, functools.partial(fn, *args, **named), timeout_ms)
        try:
            self.submit(call, call.begin)
            call.wait()
        except BaseException:
            self.wind_up(call, call.give_up)
            self.tell(call.take_back)
            raise
        return call.outcome()

    def ask(self, fn: Callable[..., Coroutine[Any, Any, T]], *args: Any, timeout_ms: int | None, **named: Any) -> T:
        """The same for what awaits nothing but answers of servers. It needs no task, and so half of the time."""
        self.check()
        asked = _Asked(self, functools.partial(fn, *args, **named))
        try:
            self.submit(asked, asked.begin)
            if not asked.wait(timeout_ms):
                self.wind_up(asked, asked.give_up)
                if asked.given_up:
                    raise TimedOutError(f"not done within {timeout_ms} ms, and given up")
        except BaseException:
            if not asked.finished:
                self.wind_up(asked, asked.give_up)
            raise
        return asked.outcome()

    def call_plain(self, fn: Callable[..., T], *args: Any, **named: Any) -> T:
        """``fn(*args, **named)`` on the loop's thread."""
        self.check()
        job: Job[T] = Job()

        def run() -> None:
            try:
                job.finish(fn(*args, **named))
            except BaseException as error:
                job.finish(None, error)
            self.done_with(job)

        self.submit(job, run)
        job.wait()
        return job.outcome()

    def submit(self, job: Job[Any], fn: Callable[..., object], *args: Any) -> None:
        """Have the loop's thread call this. If it ends before ``job`` does, the job is failed."""
        self._jobs.add(job)  # before it is asked whether that is closed: so one of the two who look sees the other
        self.tell(fn, *args)
        if self.closed:
            self.done_with(job, "the client is closed")

    def wind_up(self, job: Job[Any], give_up: Callable[[], None]) -> None:
        """Who waited gives up. Nothing shall go on behind his back, so he waits for the end of that, unless it is hard
        on him, too: another Ctrl-C ends this waiting."""
        self.tell(give_up)
        job.wait(JOIN_MS if self.closed else None)

    def tell(self, fn: Callable[..., object], *args: Any) -> None:
        """Have the loop's thread call this, if there still is one."""
        try:
            self._inbox.put(fn, *args)
        except RuntimeError:
            self.closed = True  # the loop is

    def close(self) -> None:
        """End the thread. Who waits for something gets `ClosedClientError`. Harmless a second time, and in a fork."""
        if self.forked or self.closed:
            return
        self.closed = True
        self.tell(self.stop)
        if threading.get_ident() != self._ident:
            self._thread.join(JOIN_MS / 1000)
        self._fail_all()

    async def in_thread(self, fn: Callable[..., T], *args: Any, cancelled: Callable[[], object]) -> T:
        """Call a user's function on a thread of its own, and return or raise what it does.

        To be called on the loop. When this is cancelled, ``cancelled`` is called, once; as no thread can be stopped,
        the function is then still waited for: nobody else shall be given what it relies on.
        """
        done: Job[T] = Job()
        over = asyncio.Event()

        def body() -> None:
            try:
                done.finish(fn(*args))
            except BaseException as error:
                done.finish(None, error)
            self.tell(over.set)

        in_thread(body)
        try:
            await over.wait()
        except asyncio.CancelledError:
            cancelled()
            with anyio.CancelScope(shield=True):
                await over.wait()
            done.outcome()  # what it raised tells more than that it was cancelled
            raise
        return done.outcome()

    # On the loop ------------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            anyio.run(self._main, backend="asyncio")
        except BaseException as error:
            self._started.finish(None, error)
            raise
        finally:
            self.closed = True
            self._fail_all()

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._inbox = Inbox()
        self._stop = asyncio.Event()
        self._ident = threading.get_ident()
        self._started.finish(None)
        try:
            await self._stop.wait()
            await self._end_tasks()
        finally:
            self._inbox.close()

    async def _end_tasks(self) -> None:
        for task, end in list(self._tasks.items()):
            if end is None:
                task.cancel()
            else:
                end()
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=JOIN_MS / 2000)
            for task in late:
                task.cancel()

    def _fail_all(self) -> None:
        for job in list(self._jobs):
            self.done_with(job, "the client was closed meanwhile")

    def done_with(self, job: Job[Any], why: str = "") -> None:
        """The thread's end has nothing to do with this job any more."""
        self._jobs.discard(job)
        if why:
            job.finish(None, ClosedClientError(why))

    def stop(self) -> None:
        """The thread is to end, once what runs here has been told."""
        self._stop.set()

    def soon(self, fn: Callable[[], object]) -> None:
        """Call it in a moment."""
        self._loop.call_soon(fn)

    def spawn(self, fn: Callable[[], Coroutine[Any, Any, None]], at_end: Callable[[], object] | None = None) -> None:
        """Run this as a task. When the client ends, ``at_end`` is called, or the task is cancelled."""
        task = self._loop.create_task(fn())
        self._tasks[task] = at_end
        task.add_done_callback(self._tasks.pop)


class _Call(Job[T]):
    def __init__(self, portal: Portal, fn: Callable[[], Coroutine[Any, Any, T]], timeout_ms: int | None) -> None:
        super().__init__()
        self._portal, self._fn, self._timeout_ms = portal, fn, timeout_ms
        self._scope: anyio.CancelScope | None = None
        self._begun = self._given_up = False
        self._asked_by = this_thread()

    def begin(self) -> None:
        self._begun = True
        self._portal.spawn(self._run)

    def give_up(self) -> None:
        self._given_up = True
        if self._scope is not None:
            self._scope.cancel()
        elif not self._begun:  # whoever gave up did so before he had asked
            self.finish(None)

    def take_back(self) -> None:
        """It was done before it could be given up, and nobody gets what it gave: release that, if it can be."""
        if self.finished and callable(release := getattr(self._result, "release", None)):
            self._portal.spawn(release)

    async def _run(self) -> None:
        ACTING_FOR.set(self._asked_by)
        try:
            # A scope even without a deadline: to cancel the task itself would get through the shields of clean-ups.
            with anyio.CancelScope() as self._scope:
                if self._timeout_ms is not None:
                    self._scope.deadline = anyio.current_time() + self._timeout_ms / 1000
                if self._given_up:
                    self._scope.cancel()
                self.finish(await self._fn())
            if not self.finished:
                self.finish(None, TimedOutError(f"not done within {self._timeout_ms} ms, and given up"))
        except asyncio.CancelledError:
            self.finish(None, ClosedClientError("the client was closed meanwhile"))
            raise
        except BaseException as error:  # KeyboardInterrupt, too: it is the caller's, and not the loop's end
            self.finish(None, error)
        finally:
            self._portal.done_with(self)


class _Asked(Job[T]):
    """A coroutine that is run without a task: each time that it waits for an answer, the answer has it go on."""

    def __init__(self, portal: Portal, fn: Callable[[], Coroutine[Any, Any, T]]) -> None:
        super().__init__()
        self._portal, self._fn = portal, fn
        self._coroutine: Coroutine[Any, Any, T] | None = None
        self._waits_for: Any = None
        self.given_up = False

    def begin(self) -> None:
        if not self.finished:
            self._coroutine = self._fn()
            self._go_on()

    def give_up(self) -> None:
        if self.finished:
            return
        self.given_up = True
        if self._coroutine is None:
            self._finish(None)
        else:
            self._go_on(asyncio.CancelledError())

    def _go_on(self, error: BaseException | None = None) -> None:
        if self.finished:
            return
        assert self._coroutine is not None
        self._waits_for = None
        try:
            waits_for = self._coroutine.send(None) if error is None else self._coroutine.throw(error)
        except StopIteration as end:
            self._finish(end.value)
        except asyncio.CancelledError:
            self._finish(None, ClosedClientError("the client was closed meanwhile"))
        except BaseException as raised:
            self._finish(None, raised)
        else:
            self._waits_for = waits_for
            waits_for.wake = self._woken

    def _woken(self) -> None:
        if getattr(self._waits_for, "error", self) is None:  # an answer, and a good one
            self._go_on()
        else:  # the client may be in the middle of something, such as telling all that the connection is lost
            self._portal.soon(self._go_on)

    def _finish(self, result: T | None, error: BaseException | None = None) -> None:
        self._portal.done_with(self)
        self._coroutine = None
        self.finish(result, error)
