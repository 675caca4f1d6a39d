"""A number that many count up and down together.

    counter = zk.counter("/hits")
    await counter.add(1)            # → the number after it
    await counter.get()

**Exact:** an `add` that returns was done once, also if connections broke meanwhile (zabpy/client/ledger.py). One that
raises `SessionLostError` was done once or not at all, and nobody can say which: the session that knew is over. So it is
with one that is cancelled. Others' changes between reading and setting are seen by the version, so none is lost; only
deleting and creating the znode again within that moment would go unnoticed.

Kept as kazoo's Counter does (decimal text), or as Curator's SharedCount and DistributedAtomicInteger
(``layout="int"``, 4 bytes), or as its DistributedAtomicLong (``layout="long"``, 8 bytes), so that all count together.
Many that count at the same moment are slow: each of them has to find the number unchanged.
"""

import struct
from random import Random
from typing import Final, Literal

import anyio

from zabpy.client import Client
from zabpy.model import Acls, BadVersionError, NodeExistsError, NoNodeError

from .arguments import bad, check_one_of, check_path
from .errors import RecipeError, about

Layout = Literal["text", "int", "long"]
_STRUCTS: Final = {"int": struct.Struct(">i"), "long": struct.Struct(">q")}
#: After somebody else was faster: a random time up to so long.
PAUSE_MS_MAX = 64


class NotACounterError(RecipeError):
    """The znode's data is no number of this layout."""


class Counter:
    """See the head of this file. Several tasks may use one object; it counts for one after the other."""

    def __init__(
        self,
        zk: Client,
        path: str,
        *,
        start: int = 0,
        layout: Layout = "text",
        acl: Acls | None = None,
        rng: Random | None = None,
    ) -> None:
        """
        Args:
            start: what it counts from where there is no znode yet, or an empty one.
        Raises:
            BadArgumentsError: that is no path, no layout, or a start that the layout cannot hold.
        """
        check_path(path, "counter")
        check_one_of("layout", layout, ("text", *_STRUCTS), "counter", path)
        self._zk, self.path, self._start, self._layout, self._acl = zk, path, start, layout, acl
        self._rng = Random() if rng is None else rng
        try:
            self._encoded(start)
        except OverflowError as error:
            raise bad(str(error), "counter", path) from None
        self._turn = anyio.Lock()

    async def get(self) -> int:
        """The number now, as the server sees it that the client is connected to. Raises `NotACounterError`."""
        try:
            return self._decoded((await self._zk.get(self.path)).data)
        except NoNodeError:
            return self._start

    async def add(self, delta: int = 1) -> int:
        """Add to it, and give the number after that.

        Raises:
            NotACounterError: the znode has other data.
            OverflowError: the layout cannot hold the sum; nothing was changed.
            SessionLostError: done or not, see the head of this file.
            ConnectionLossError: done or not; only of servers that let nobody keep account (``lost_reply="once"`` of
                `Client.set`), or after connection upon connection broke.
        """
        if not isinstance(delta, int):
            raise bad(f"delta={delta!r}: a whole number is expected", "add", self.path)
        pause_ms = 1
        async with self._turn:
            while True:
                try:
                    data, stat = await self._zk.get(self.path)
                    after = self._decoded(data) + delta
                    await self._zk.set(self.path, self._encoded(after), stat.version, lost_reply="once")
                    return after
                except NoNodeError:
                    await self._create()
                except BadVersionError:
                    pause_ms = min(2 * pause_ms, PAUSE_MS_MAX)
                    await anyio.sleep(self._rng.random() * pause_ms / 1000)

    async def _create(self) -> None:
        data = self._encoded(self._start)
        try:
            await self._zk.create(self.path, data, acl=self._acl, parents=True, lost_reply="again")
        except NodeExistsError:
            pass

    def _encoded(self, number: int) -> bytes:
        if self._layout == "text":
            return str(number).encode()
        try:
            return _STRUCTS[self._layout].pack(number)
        except struct.error:
            raise OverflowError(f"{number} is no {self._layout}, as which {self.path} is kept") from None

    def _decoded(self, data: bytes) -> int:
        if not data:
            return self._start
        try:
            if self._layout == "text":
                return int(data.decode("ascii"))
            return int(_STRUCTS[self._layout].unpack(data)[0])
        except (ValueError, struct.error):
            error = NotACounterError(f"the data of {self.path} is no number as {self._layout}: {data[:40]!r}")
            raise about(error, "counter", self.path) from None
