"""When the client itself was not run: an event loop that is blocked looks from inside like a network that is dead."""

#: A loop that is this late is not worth a word.
STALL_MS_MIN = 200


class Stalls:
    """Notes when the client's timekeeper ran, and how long it last was kept from it. Without I/O."""

    def __init__(self, now_ms: int) -> None:
        #: When it is to run again at the latest; until it has run once, there is nothing to be late for.
        self._due_ms: int | None = None
        self._ended_ms = now_ms
        self._lasted_ms = self._suspended_ms = 0

    def sleeps(self, until_ms: int) -> None:
        """It will run again at this time or earlier."""
        self._due_ms = until_ms

    def woke(self, now_ms: int, suspended_ms: int = 0) -> int:
        """It runs. How late, if that is worth a word, else 0; ``suspended_ms``: how much of it the machine slept."""
        late_ms = self._late_ms(now_ms)
        if late_ms:
            late_ms = max(late_ms, suspended_ms)
            self._ended_ms, self._lasted_ms, self._suspended_ms = now_ms, late_ms, suspended_ms
        self._due_ms = None
        return late_ms

    def note(self, now_ms: int, within_ms: int) -> str:
        """What belongs behind the reason of a loss: ``; the client was not scheduled for 6200 ms``. Empty if it was run
        in time for the last ``within_ms``."""
        late_ms, suspended_ms = self._late_ms(now_ms), 0
        if not late_ms and self._lasted_ms and now_ms - self._ended_ms <= within_ms:
            late_ms, suspended_ms = self._lasted_ms, self._suspended_ms
        if not late_ms:
            return ""
        asleep = f" (the machine was suspended for {suspended_ms} ms)" if suspended_ms >= STALL_MS_MIN else ""
        return f"; the client was not scheduled for {late_ms} ms{asleep}"

    def _late_ms(self, now_ms: int) -> int:
        late_ms = now_ms - self._due_ms if self._due_ms is not None else 0
        return late_ms if late_ms >= STALL_MS_MIN else 0
