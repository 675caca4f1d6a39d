"""Where we answer otherwise than Apache ZooKeeper 3.8.0, on purpose: each narrowly, each with its reason."""

from collections.abc import Callable
from typing import Any, NamedTuple

from . import jute
from .pair import Step

Form = tuple[int, int, Any]


class Known(NamedTuple):
    reason: str
    matches: Callable[[Step, Form, Form], bool]


def _codes(op: int, theirs: int, ours: int) -> Callable[[Step, Form, Form], bool]:
    """The same request, these two error codes and no body with ours."""
    return lambda step, a, b: step.op == op and a[0] == b[0] and (a[1], b[1], b[2]) == (theirs, ours, b"")


KNOWN: tuple[Known, ...] = (
    Known(
        "exists of a znode that one may not read: 3.8.0 shows the Stat, 3.7.3, 3.8.4 and 3.9.2 on do not",
        _codes(jute.EXISTS, 0, -102),
    ),
    Known(
        "checkWatches in 3.8.0 finds watches of anybody at the path, in 3.9 those of the connection that asks",
        _codes(jute.CHECK_WATCHES, 0, -121),
    ),
)


def expected(step: Step | None, theirs: Form, ours: Form) -> bool:
    return step is not None and any(known.matches(step, theirs, ours) for known in KNOWN)
