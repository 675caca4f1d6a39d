"""Who it is that acquires: what is not re-entrant has to know the same one again.

It is the task, unless the task only acts for somebody else: `zabpy.blocking` has a task do what a thread asks for, and
then it is that thread.
"""

from collections.abc import Hashable
from contextvars import ContextVar

import anyio

#: For whom the task acts, which must then be the same object each time; None: for itself.
ACTING_FOR: ContextVar[Hashable | None] = ContextVar("acting_for", default=None)


class _Task:
    """Stands for one task. Its number alone would not do: a later task may get the same."""

    def __init__(self, id: int) -> None:
        self.id = id


#: A task inherits that of the task which started it; then its number is another one.
_task: ContextVar[_Task | None] = ContextVar("task", default=None)


def this_task() -> object:
    """Stands for the running task itself, also where it acts for somebody else: what has a scope must be left in it."""
    id, task = anyio.get_current_task().id, _task.get()
    if task is None or task.id != id:
        task = _Task(id)
        _task.set(task)
    return task


def who() -> Hashable:
    other = ACTING_FOR.get()
    return this_task() if other is None else other
