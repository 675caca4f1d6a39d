"""How much may be outstanding before a server stops reading from its clients.

One counter, and the decision derived from it whenever somebody asks: no switch that could be left in the wrong place
(trap E5).
"""


class Throttle:
    """Requests of all connections of one server that are read and not answered.

    Args:
        outstanding_max: above it, only connections with nothing outstanding are read from. 0 is no limit.
        connection_max: what one connection may have outstanding; bounds what its row holds.
    """

    __slots__ = ("_connection_max", "_outstanding_max", "outstanding")

    def __init__(self, outstanding_max: int, connection_max: int) -> None:
        assert outstanding_max >= 0
        assert connection_max > 0
        self._outstanding_max, self._connection_max = outstanding_max, connection_max
        self.outstanding = 0

    def began(self, count: int = 1) -> None:
        self.outstanding += count

    def ended(self, count: int = 1) -> None:
        """Answered, or dropped with the connection."""
        assert self.outstanding >= count
        self.outstanding -= count

    def may_read(self, of_connection: int) -> bool:
        """Whether to read on from a connection with so many requests outstanding."""
        if of_connection == 0:
            return True  # everybody may have one, so nobody waits for others for ever
        if of_connection >= self._connection_max:
            return False
        return not self._outstanding_max or self.outstanding <= self._outstanding_max
