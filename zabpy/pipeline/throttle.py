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

    __slots__ = ("_connection_max", "_outstanding_max", "_share", "outstanding")

    def __init__(self, outstanding_max: int, connection_max: int) -> None:
        assert outstanding_max >= 0
        assert connection_max > 0
        self._outstanding_max, self._connection_max = outstanding_max, connection_max
        self._share = outstanding_max
        self.outstanding = 0

    def share(self, voters: int) -> None:
        """The servers of an ensemble have the limit together: each has its share, as ZooKeeper reckons it."""
        if self._outstanding_max:
            self._share = max(1, self._outstanding_max // (voters - 1 if voters > 2 else 1))

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
        return not self._share or self.outstanding <= self._share


class LargeRequests:
    """Bytes of large requests that are on their way, all together.

    Args:
        bytes_min: a request of more than this is large; -1: none is.
        bytes_max: what all of them may have together.
    """

    __slots__ = ("_bytes_max", "_sizes", "bytes", "bytes_min")

    def __init__(self, bytes_min: int, bytes_max: int) -> None:
        self.bytes_min = bytes_min if bytes_min >= 0 else 1 << 62
        self._bytes_max = bytes_max
        self._sizes: dict[int, int] = {}
        self.bytes = 0

    def began(self, request_id: int, size: int) -> bool:
        """Whether there is room for it; if not, it is not counted either."""
        if self.bytes + size > self._bytes_max:
            return False
        self._sizes[request_id] = size
        self.bytes += size
        return True

    def ended(self, request_id: int) -> None:
        """Answered, or dropped with the connection; also of one that was not large."""
        self.bytes -= self._sizes.pop(request_id, 0)
