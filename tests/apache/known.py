"""Where we answer otherwise than Apache ZooKeeper 3.8.0, on purpose: each narrowly, each with its reason.

Not asked for at all, since the servers part ways there:

* check outside a multi (3.8 does not answer, we refuse it as 3.9.3 does), createSession (ZooKeeper makes a session, we
  refuse), SASL, auth packets that cannot be read; each has tests of its own;
* a createTTL with a negative TTL and the flags of another kind: Apache's server ends, we answer -8;
* a reconfig that cannot be read: -5 from both, but with us it takes a zxid;
* a write pipelined behind a setACL or towards a quota: Apache's server judges by what is applied, we by what is
  proposed;
* persistent and one-shot watches of one connection at one path: see scenarios.py.

Not compared: the zxid in the header of an event (3.8 says -1, we say what 3.9 says), times but for their order, the
order of children, of identities and of a closed session's ephemerals.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from . import jute
from .pair import ROLE, Step

Form = tuple[int, int, Any]


class Known(NamedTuple):
    reason: str
    matches: Callable[[Step, Form, Form], bool]


def _codes(op: int, theirs: int, ours: int) -> Callable[[Step, Form, Form], bool]:
    """The same request, these two error codes and no body with ours."""
    return lambda step, a, b: step.op == op and a[0] == b[0] and (a[1], b[1], b[2]) == (theirs, ours, b"")


def _watcher_type(record: bytes) -> int:
    """Behind the path, which may be null."""
    at = 4 + max(0, int.from_bytes(record[:4], "big", signed=True))
    return int.from_bytes(record[at : at + 4], "big")


KNOWN: tuple[Known, ...] = (
    Known(
        "exists of a znode that one may not read: 3.8.0 shows the Stat, 3.7.3, 3.8.4 and 3.9.2 on do not",
        _codes(jute.EXISTS, 0, -102),
    ),
    Known(
        "watcher types 4 and 5, of persistent and recursive watches, came with 3.9",
        lambda step, a, b: (
            step.op in (jute.CHECK_WATCHES, jute.REMOVE_WATCHES)
            and _watcher_type(step.record) in (4, 5)
            and (a[1], b[1]) == (-5, -121)
        ),
    ),
    Known(
        "checkWatches in 3.8.0 finds watches of anybody at the path, in 3.9 those of the connection that asks",
        _codes(jute.CHECK_WATCHES, 0, -121),
    ),
    Known(
        "/zookeeper/config of an ensemble says who is in it; Apache's server here is on its own, so its is empty",
        lambda step, a, b: ROLE != "standalone" and b"/zookeeper/config" in step.record and a[:2] == b[:2],
    ),
)


def expected(step: Step | None, theirs: Form, ours: Form) -> bool:
    return step is not None and any(known.matches(step, theirs, ours) for known in KNOWN)
