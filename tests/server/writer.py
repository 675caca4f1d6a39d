"""A client that never gives up, for tests that let servers die under it."""

from collections.abc import Awaitable, Callable
from random import Random

import trio

from tests.server.raw_client import RawClient

#: A connection to any one of the servers.
Dial = Callable[[Random], Awaitable[trio.abc.Stream]]

NODE_EXISTS = -110


class Writer:
    """Creates 0, 1, 2… below its path; after a lost connection it goes on, with its session, on any server."""

    def __init__(self, dial: Dial, number: int, rng: Random, *, pause: float) -> None:
        self._dial, self._rng, self._pause = dial, rng, pause
        self.path = f"/w{number}"
        self.acknowledged: list[int] = []
        self.session_id, self._password, self._zxid = 0, bytes(16), 0
        self.reconnections = 0
        self.lost_session = self.stopping = False

    async def run(self) -> None:
        while not self.stopping and not self.lost_session:
            try:
                with trio.fail_after(2):
                    client = RawClient(await self._dial(self._rng))
                    known = self.session_id
                    ok = await client.handshake(session_id=known, password=self._password, zxid=self._zxid)
            except (OSError, EOFError, trio.BrokenResourceError, trio.TooSlowError):
                await trio.sleep(0.02)
                continue
            if not ok:
                self.lost_session = True
                return
            assert known in (0, client.session_id)
            self.session_id, self._password, client.zxid = client.session_id, client.password, self._zxid
            try:
                await self._write(client)
            except (EOFError, trio.BrokenResourceError, trio.TooSlowError):
                self.reconnections += 1
            finally:
                self._zxid = max(self._zxid, client.zxid)
                with trio.CancelScope(shield=True):
                    await client.close()

    async def _write(self, client: RawClient) -> None:
        with trio.fail_after(5):
            await client.create(self.path)
            await client.create(f"{self.path}/alive", flags=1)
        while not self.stopping:
            number = len(self.acknowledged)
            with trio.fail_after(5):
                told = await client.create(f"{self.path}/{number:06d}")
            # It may be there already: the reply was lost with the connection it was to go on.
            assert told.err in (0, NODE_EXISTS), told
            self.acknowledged.append(number)
            await trio.sleep(self._rng.random() * self._pause)
