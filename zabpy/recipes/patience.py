"""Trying again until it works: for what must not be given up because a connection is."""

from typing import Final

import anyio

from zabpy.client import Client, ClosedClientError, ConnectionLossError, NoServerError, SessionLostError, State

#: Troubles that pass: tried again once there is a connection.
TRANSIENT: Final = (ConnectionLossError, NoServerError, SessionLostError)
#: Between two attempts that failed though there was a connection: at first, and at most.
PAUSE_MS, PAUSE_MS_MAX = 10, 1_000


class Patience:
    """``wait`` before each attempt: until there is a session and a server that takes writes, and a pause where the
    last attempts failed; ``reset`` after one that did not."""

    def __init__(self, zk: Client) -> None:
        self._zk = zk
        self._pause_ms = 0

    async def wait(self) -> None:
        """Raises `ClosedClientError` once the client is closed."""
        if self._pause_ms:
            await anyio.sleep(self._pause_ms / 1000)
        self._pause_ms = min(2 * self._pause_ms or PAUSE_MS, PAUSE_MS_MAX)
        if self._zk.state is State.CONNECTED:
            return
        async with self._zk.states() as states:
            async for state in states:
                if state is State.CONNECTED:
                    return
                if state is State.CLOSED:
                    raise ClosedClientError("the client was closed")

    def reset(self) -> None:
        self._pause_ms = 0
