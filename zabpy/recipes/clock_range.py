"""The servers' time as a range that it must be in. Without I/O. Where one stamp will do there is server_clock.py.

The leader stamps each write (``ctime``, ``mtime``) with its own clock, in whole milliseconds. A write that we sent at
one moment of our clock and whose answer came at another was stamped in between; so the difference of the two clocks
lies in a range as wide as the round trip. Ranges of several writes are cut with each other. Where nothing remains, the
leader's clock has jumped or another server leads, and the newest range counts alone. Ours only has to run forward,
and as fast as theirs; what it shows does not matter.
"""

#: A clock may drift so far: by how much a range widens in each millisecond.
DRIFT = 1 / 1000


class ClockRange:
    def __init__(self) -> None:
        self._low = self._high = 0.0  # of server time minus ours
        self._at_ms = -1.0

    def observe(self, stamp_ms: int, sent_ms: float, received_ms: float) -> None:
        """A write was stamped; ours was sent and answered at these times of our clock."""
        low, high = stamp_ms - received_ms, stamp_ms + 1 - sent_ms
        if self.known:
            drift = (received_ms - self._at_ms) * DRIFT
            kept_low, kept_high = max(low, self._low - drift), min(high, self._high + drift)
            if kept_low <= kept_high:
                low, high = kept_low, kept_high
        self._low, self._high, self._at_ms = low, high, received_ms

    @property
    def known(self) -> bool:
        return self._at_ms >= 0

    def age_ms(self, now_ms: float) -> float:
        """Since the last observation."""
        return now_ms - self._at_ms

    def earliest_ms(self, now_ms: float) -> float:
        """What the servers' clock shows at least, at this time of ours."""
        return now_ms + self._low - self.age_ms(now_ms) * DRIFT

    def middle_ms(self, now_ms: float) -> float:
        return now_ms + (self._low + self._high) / 2
