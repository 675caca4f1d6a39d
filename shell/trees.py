"""A tree is read: parents before children, many requests at once, in the order they were asked."""

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

import anyio

from zabpy.client import Client, ReplyTooLargeError
from zabpy.model import Acls, NoAuthError, NoNodeError, Stat, join

from .records import Record

if TYPE_CHECKING:  # it loads more than a command that only walks a tree should
    from .spool import Spool

#: Requests for so many znodes at once, fewer where values are large; so that an answer has about this many bytes.
CHUNK_MAX = 200
ANSWER_BYTES = 512 * 1024
#: So many of them in flight.
CHUNKS_MAX = 8
#: What servers keep for themselves is no part of a tree, unless it is asked for.
SYSTEM = "/zookeeper"

T = TypeVar("T")
Sink = Callable[[list[Record]], Awaitable[None]]


class _Chunk:
    def __init__(self, paths: list[str]) -> None:
        self.paths = paths
        self.records: list[Record] = []
        self.children: list[str] = []
        self.done = anyio.Event()


class TreeReader:
    """Reads the subtree at ``top``; ``acls``: with who may do what, which servers tell for one znode at a time.

    It is no snapshot: each request's znodes are of one moment, what others change in between is in it or not.
    """

    def __init__(self, zk: Client, top: str, *, acls: bool) -> None:
        self._zk, self.top, self._acls = zk, top, acls
        self._chunk = 20
        self._cut = len(top) if top != "/" else 0
        #: What may not be read, nor then what is below it.
        self.denied: list[NoAuthError] = []

    async def into(self, spool: "Spool") -> None:
        """Read all of it into this one."""

        async def keep(records: list[Record]) -> None:
            await anyio.to_thread.run_sync(spool.extend, records)

        await self.read(keep)

    async def read(self, sink: Sink) -> None:
        """Hand all of it to ``sink``, in pieces. What vanishes meanwhile is left out.

        Raises:
            ZabpyError: not for what may not be read; that is in `denied`.
        """
        waiting = deque([self.top])
        ahead: deque[_Chunk] = deque()
        failed: list[Exception] = []

        async def work(chunk: _Chunk) -> None:
            try:
                await self._read(chunk)
            except Exception as error:
                failed.append(error)
                tasks.cancel_scope.cancel()
            chunk.done.set()

        async with anyio.create_task_group() as tasks:
            while waiting or ahead:
                while waiting and len(ahead) < CHUNKS_MAX:
                    chunk = _Chunk([waiting.popleft() for _ in range(min(self._chunk, len(waiting)))])
                    ahead.append(chunk)
                    tasks.start_soon(work, chunk)
                first = ahead.popleft()
                await first.done.wait()
                waiting.extend(first.children)
                size = sum(map(_data_bytes, first.records)) // max(1, len(first.records)) + 1
                self._chunk = max(1, min(CHUNK_MAX, 4 * self._chunk, ANSWER_BYTES // size))
                await sink(first.records)
        if failed:
            raise failed[0]

    async def _read(self, chunk: _Chunk) -> None:
        chunk.records = await self._records(chunk.paths)
        # Only of those that are told of: what vanishes meanwhile, and comes again, is not to leave orphans.
        parents = [self._full(record) for record in chunk.records if record.stat and record.stat.num_children]
        for path, names in zip(parents, await self._children(parents), strict=True):
            chunk.children += [
                below for name in sorted(names or ()) if (below := join(path, name)) != SYSTEM or self._zk.chroot
            ]

    async def _records(self, paths: list[str]) -> list[Record]:
        """Those that are there, in their order."""
        return await self._with_acls(await self._znodes(paths))

    async def _znodes(self, paths: list[str]) -> list[tuple[str, bytes, Stat]]:
        try:
            found = await self._zk.get_many(paths)
        except (NoAuthError, ReplyTooLargeError):
            found = [await self._one(path, self._zk.get) for path in paths]
        return [(path, *each) for path, each in zip(paths, found, strict=True) if each is not None]

    async def _with_acls(self, znodes: list[tuple[str, bytes, Stat]]) -> list[Record]:
        acls: Sequence[Acls | None] = [None] * len(znodes)
        if self._acls:
            acls = await self._acls_of([path for path, _, _ in znodes])
        return [
            Record.of(self._below(path), data, stat, acl)
            for (path, data, stat), acl in zip(znodes, acls, strict=True)
            if acl is not None or not self._acls
        ]

    def _below(self, path: str) -> str:
        """As a record has it, from the top."""
        return path[self._cut :] if path != "/" else ""

    def _full(self, record: Record) -> str:
        return self.top[: self._cut] + record.path or "/"

    async def _children(self, paths: list[str]) -> Sequence[list[str] | None]:
        if not paths:
            return []
        try:
            return await self._zk.children_many(paths)
        except (NoAuthError, ReplyTooLargeError):
            return [await self._one(path, self._zk.children) for path in paths]

    async def _acls_of(self, paths: list[str]) -> Sequence[Acls | None]:
        try:
            found = await self._zk.get_acl_many(paths)
        except NoAuthError:
            found = [await self._one(path, self._zk.get_acl) for path in paths]
        return [None if each is None else each[0] for each in found]

    async def _one(self, path: str, read: Callable[[str], Awaitable[T]]) -> T | None:
        try:
            return await read(path)
        except NoNodeError:
            return None
        except NoAuthError as error:
            self.denied.append(error)
            return None


def _data_bytes(record: Record) -> int:
    return record.stat.data_length if record.stat else len(record.data)
