"""The servers' clock, as far as a client can know it."""

import anyio

from zabpy.model import Stat


class ServerClock:
    """What the servers' clock says at least, going on from the moment when they dated something for us.

    It is the leader's: after an election it may be another one's, and differ as far as their clocks do.
    """

    def __init__(self, created: Stat) -> None:
        """``created``: of a znode that we have just created."""
        self._server_ms, self._local = created.ctime_ms, anyio.current_time()

    def now_ms(self) -> int:
        return self._server_ms + int((anyio.current_time() - self._local) * 1000)
