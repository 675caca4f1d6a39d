"""A run of trio that is the same every time: seeded scheduling, a clock that jumps, no threads, no garbage collector.

trio shuffles each batch of tasks that can run; it does so by a generator that can be seeded once a flag says so. Both
names are private, and what freezes a machine's tasks leans on trio's run queue: `check_trio` and a test of it say at
once when a new trio has them no longer. What else differs between two runs of one seed is a bug of ours, and the double
run of a seed under two hash seeds finds it.
"""

import gc
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeVar

import trio
import trio.testing

from zabpy.client import client, clock

from .instead import instead

T = TypeVar("T")

#: What we use of trio that is nobody's business: the module, and its names.
SCHEDULER: Any = trio._core._run
SCHEDULER_NAMES = ("_ALLOW_DETERMINISTIC_SCHEDULING", "_r", "GLOBAL_RUN_CONTEXT")


class OtherTrioError(RuntimeError):
    """This trio has no longer what makes runs repeatable."""


def check_trio() -> None:
    """Raises `OtherTrioError`."""
    missing = [name for name in SCHEDULER_NAMES if not hasattr(SCHEDULER, name)]
    if missing:
        raise OtherTrioError(f"trio {trio.__version__} has no {', '.join(missing)}")


def run(seed: int, main: Callable[[], Awaitable[T]]) -> T:
    """``trio.run`` of it on a jumping clock; equal calls give equal runs, as long as ``main`` knows no other chance."""
    check_trio()

    async def alone() -> T:
        result = await main()
        assert trio.testing.active_thread_count() == 0, "a thread was started in a simulation"
        return result

    collecting = gc.isenabled()
    gc.disable()  # finalisers run at odd moments
    try:
        # The machine's sleep is the one thing that a client's clock asks the system for.
        unslept = partial(clock.Clock, asleep_ms=lambda: 0)
        with instead(SCHEDULER, "_ALLOW_DETERMINISTIC_SCHEDULING", True), instead(client, "Clock", unslept):
            SCHEDULER._r.seed(seed)
            return trio.run(alone, clock=trio.testing.MockClock(autojump_threshold=0))
    finally:
        if collecting:
            gc.enable()


class Freezer(trio.abc.Instrument):
    """Stops the tasks of machines, as SIGSTOP stops processes: time goes on, what is due then is due at once.

    A task belongs to the nearest task above it that is one of `roots`.
    """

    def __init__(self) -> None:
        self.roots: set[trio.lowlevel.Task] = set()
        self._held: dict[trio.lowlevel.Task, list[trio.lowlevel.Task]] = {}

    def is_frozen(self, root: trio.lowlevel.Task) -> bool:
        return root in self._held

    def freeze(self, root: trio.lowlevel.Task) -> None:
        """Of what can run this very moment each task may take one more step."""
        assert root in self.roots and root not in self._held
        if not self._held:
            trio.lowlevel.add_instrument(self)
        held = self._held[root] = []
        queue = SCHEDULER.GLOBAL_RUN_CONTEXT.runner.runq
        for task in list(queue):
            if self._root_of(task) is root:
                queue.remove(task)
                held.append(task)

    def thaw(self, root: trio.lowlevel.Task) -> None:
        """Harmless when it is not frozen."""
        held = self._held.pop(root, None)
        if held is None:
            return
        if not self._held:
            trio.lowlevel.remove_instrument(self)
        SCHEDULER.GLOBAL_RUN_CONTEXT.runner.runq.extend(held)

    def task_scheduled(self, task: trio.lowlevel.Task) -> None:
        held = self._held.get(self._root_of(task))  # type: ignore[arg-type]  # None is nobody's root
        if held is not None:
            queued = SCHEDULER.GLOBAL_RUN_CONTEXT.runner.runq.pop()
            assert queued is task
            held.append(task)

    def _root_of(self, task: trio.lowlevel.Task) -> trio.lowlevel.Task | None:
        above: trio.lowlevel.Task | None = task
        while above is not None and above not in self.roots:
            nursery = above.parent_nursery
            above = None if nursery is None else nursery.parent_task
        return above
