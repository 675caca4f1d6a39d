"""What the leader does by itself: end silent sessions, remove empty containers and old TTL znodes.

Nothing here changes anything. On a tick it says what should be asked for, as requests like any other; `prepare` judges
them again, on what is proposed by then.
"""

import struct
from collections import deque
from typing import NamedTuple

from zabpy.model import Request
from zabpy.sessions import Expiry
from zabpy.wire import Op, packed, records as r

from .request import RequestIds
from .state import State

_LONG = struct.Struct(">q")
_MINUTE_MS = 60_000


class UpkeepRules(NamedTuple):
    """When lifetimes end, and how many deletions a minute; ZooKeeper's defaults."""

    check_interval_ms: int = 60_000
    per_minute_max: int = 10_000
    never_used_ms: int = 300_000


class Upkeep:
    """The leader's clockwork. Made anew by a leader when it is activated: every session then has its whole timeout.

    Times called ``now_ms`` are of a clock that never goes back.
    """

    def __init__(
        self,
        state: State,
        ids: RequestIds,
        tick_ms: int,
        now_ms: int,
        rules: UpkeepRules = UpkeepRules(),  # noqa: B008
    ) -> None:
        self._state = state
        self._ids = ids
        self._rules = rules
        self._expiry = Expiry(tick_ms)
        self._timeouts: dict[int, int] = {}
        self._swept_ms = self._asked_ms = now_ms
        self._found: deque[str] = deque()
        for session_id, timeout_ms, _ in state.sessions.rows():
            self._expiry.touch(session_id, timeout_ms, now_ms)

    def heard(self, session_id: int, now_ms: int, timeout_ms: int | None = None) -> None:
        """A packet of this session has come to one of the servers, or the session was opened.

        Args:
            timeout_ms: agreed on anew, when the session came back with another wish.
        """
        session = self._state.sessions.get(session_id)
        if session is None:
            return
        if timeout_ms is not None:
            self._timeouts[session_id] = timeout_ms
        elif self._timeouts:
            timeout_ms = self._timeouts.get(session_id)
        self._expiry.touch(session_id, session.timeout_ms if timeout_ms is None else timeout_ms, now_ms)

    def closed(self, session_id: int) -> None:
        """The session's end was applied."""
        self._expiry.remove(session_id)
        self._timeouts.pop(session_id, None)

    def next_ms(self, now_ms: int) -> int | None:
        """How long until the next session may have expired; None if there is none."""
        return self._expiry.next_ms(now_ms)

    def deadlines(self) -> list[tuple[int, list[int]]]:
        """When sessions that stay silent are over, earliest first, and which; new lists."""
        return self._expiry.buckets()

    def due(self, now_ms: int, wall_ms: int) -> list[Request]:
        """What to ask for now: prepare and submit all of it. To be called on every tick.

        Args:
            wall_ms: the wall clock, to be compared with mtime and ctime of znodes.
        """
        sessions = self._state.sessions
        requests = [
            self._request(Op.CLOSE_SESSION, _LONG.pack(session_id))
            for session_id in self._expiry.expired(now_ms)
            if session_id in sessions
        ]
        for path in self._lifetimes(now_ms, wall_ms):
            requests.append(self._request(Op.DELETE_CONTAINER, packed(r.DeleteContainerRequest(path))))
        return requests

    def _lifetimes(self, now_ms: int, wall_ms: int) -> list[str]:
        """Look once an interval, hand out no faster than the limit, so that thousands do not go in one tick."""
        rules, found = self._rules, self._found
        if not found and now_ms - self._swept_ms >= rules.check_interval_ms:
            self._swept_ms = now_ms
            count = max(1, rules.per_minute_max * rules.check_interval_ms // _MINUTE_MS)
            found += self._state.tree.lifetimes.due(wall_ms, rules.never_used_ms, count)
            self._asked_ms = max(self._asked_ms, now_ms - 1000)  # what was not used while idle is gone
        if not found:
            self._asked_ms = now_ms
            return []
        count = rules.per_minute_max * (now_ms - self._asked_ms) // _MINUTE_MS
        if count:
            self._asked_ms = now_ms
        popped = [found.popleft() for _ in range(min(count, len(found)))]
        lifetimes = self._state.tree.lifetimes
        return [path for path in popped if lifetimes.is_due(path, wall_ms, rules.never_used_ms)]

    def _request(self, op: int, record: bytes) -> Request:
        return Request(self._ids.next(), 0, 0, int(op), record, ())
