"""Who it is that acquires: what is not re-entrant has to know the same one again.

It is the task, unless the task only acts for somebody else: `zabpy.blocking` has a task do what a thread asks for, and
then it is that thread.
"""

from collections.abc import Hashable
from contextvars import ContextVar

import anyio

#: For whom the task acts, which must then be the same object each time; None: for itself.
ACTING_FOR: ContextVar[Hashable | None] = ContextVar("acting_for", default=None)


def who() -> Hashable:
    other = ACTING_FOR.get()
    return anyio.get_current_task().id if other is None else other
