"""A value that many read and change, where nobody's change is lost.

value = zk.atomic_value("/config/limits")
await value.update(lambda data: change(data))

seen = await value.get()
if await value.compare_and_set(seen, b"new") is None: ...       # somebody was faster
"""

from collections.abc import Callable
from random import Random
from typing import NamedTuple

import anyio

from zabpy.client import Client
from zabpy.model import Acls, BadVersionError, NodeExistsError, NoNodeError

from .arguments import check_data, check_path

#: After somebody else was faster: a random time up to so long.
PAUSE_MS_MAX = 64


class Value(NamedTuple):
    """What was read or written. ``version`` and ``mzxid`` are the znode's; both -1 where there was none."""

    data: bytes
    version: int
    mzxid: int


class AtomicValue:
    """See the head of this file. Several tasks may use one object; it writes for one after the other.

    What it writes is done once though answers get lost, as with `Counter`, and with the same limits.
    """

    def __init__(
        self, zk: Client, path: str, *, default: bytes = b"", acl: Acls | None = None, rng: Random | None = None
    ) -> None:
        """``default``: what is read where there is no znode; the first write creates it."""
        check_path(path, "atomic_value")
        check_data(default, "atomic_value", path)
        self._zk, self.path, self._default, self._acl = zk, path, default, acl
        self._rng = Random() if rng is None else rng
        self._turn = anyio.Lock()

    async def get(self) -> Value:
        """The value, as the server sees it that the client is connected to."""
        try:
            data, stat = await self._zk.get(self.path)
        except NoNodeError:
            return Value(self._default, -1, -1)
        return Value(data, stat.version, stat.mzxid)

    async def compare_and_set(self, seen: Value, data: bytes) -> Value | None:
        """Write, if nobody has written since ``seen``. None if somebody has; nothing is changed then.

        Raises:
            SessionLostError, ConnectionLossError: done or not, as with `Counter.add`.
        """
        async with self._turn:
            if seen.version >= 0:
                # Versions begin anew in a znode that was deleted and created again; zxids do not.
                stat = await self._zk.exists(self.path)
                if stat is None or stat.mzxid > seen.mzxid:
                    return None
            return await self._swap(seen, data)

    async def update(self, change: Callable[[bytes], bytes]) -> Value:
        """Write what ``change`` makes of the value, and return that.

        ``change`` is called again, with what is there then, whenever somebody else was faster; let it do nothing else.
        Raises what it raises, and as `compare_and_set`.
        """
        pause_ms = 1
        async with self._turn:
            while True:
                seen = await self.get()
                written = await self._swap(seen, change(seen.data))
                if written is not None:
                    return written
                pause_ms = min(2 * pause_ms, PAUSE_MS_MAX)
                await anyio.sleep(self._rng.random() * pause_ms / 1000)

    async def _swap(self, seen: Value, data: bytes) -> Value | None:
        try:
            if seen.version < 0:
                made = await self._zk.create(self.path, data, acl=self._acl, parents=True, lost_reply="once")
                return Value(data, made.stat.version, made.stat.mzxid)
            written = await self._zk.set(self.path, data, seen.version, lost_reply="once")
            return Value(data, written.version, written.mzxid)
        except (BadVersionError, NodeExistsError, NoNodeError):
            return None
