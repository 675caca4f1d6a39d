"""Expiry: the leader's clock for sessions. Buckets of a tick each, as ZooKeeper's ExpiryQueue has them."""


class Expiry:
    """When each session that stays silent is over.

    A deadline is rounded up to a multiple of ``tick_ms``, so sessions share buckets and most touches change nothing:
    a session lives for its timeout at least and a tick more at most. Times are milliseconds of any one clock that
    never goes back.
    """

    def __init__(self, tick_ms: int) -> None:
        assert tick_ms > 0
        self._tick_ms = tick_ms
        self._deadlines: dict[int, int] = {}
        self._buckets: dict[int, dict[int, None]] = {}

    def __len__(self) -> int:
        return len(self._deadlines)

    def __contains__(self, id: int) -> bool:
        return id in self._deadlines

    def touch(self, id: int, timeout_ms: int, now_ms: int) -> None:
        """The session was heard of. Adds it if it is new."""
        deadline = -(-(now_ms + timeout_ms) // self._tick_ms) * self._tick_ms
        before = self._deadlines.get(id)
        if before == deadline:
            return
        if before is not None:
            self._leave(id, before)
        self._deadlines[id] = deadline
        bucket = self._buckets.get(deadline)
        if bucket is None:
            self._buckets[deadline] = {id: None}
        else:
            bucket[id] = None

    def remove(self, id: int) -> None:
        """The session is closed, or closing. Harmless if it is not here."""
        deadline = self._deadlines.pop(id, None)
        if deadline is not None:
            self._leave(id, deadline)

    def expired(self, now_ms: int) -> list[int]:
        """Sessions whose deadline has come, earliest first. They are no longer in here: tell of each only once."""
        ids: list[int] = []
        for deadline in sorted(deadline for deadline in self._buckets if deadline <= now_ms):
            ids += self._buckets.pop(deadline)
        for id in ids:
            del self._deadlines[id]
        return ids

    def next_ms(self, now_ms: int) -> int | None:
        """How long from now until `expired` has something to tell, 0 if it has; None if there are no sessions."""
        return max(0, min(self._buckets) - now_ms) if self._buckets else None

    def buckets(self) -> list[tuple[int, list[int]]]:
        """Deadlines, earliest first, and the sessions that are over then; new lists, about 10 ns a session."""
        return [(deadline, list(self._buckets[deadline])) for deadline in sorted(self._buckets)]

    def _leave(self, id: int, deadline: int) -> None:
        bucket = self._buckets[deadline]
        del bucket[id]
        if not bucket:
            del self._buckets[deadline]
