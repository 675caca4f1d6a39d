"""Subtrees and lists of znodes are read fast: many in a request, several requests in flight, in the order of a listing.

What vanishes meanwhile is left out. What may not be read is noted, and the rest goes on. Servers before ZooKeeper 3.6
have no reads of many at once; there it is one request a znode, as many in flight.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

import anyio

from zabpy.client import Client, Op, ReplyTooLargeError, records as r
from zabpy.model import ERRORS, CodeError, NoAuthError, NoNodeError, Stat, UnimplementedError, join

from .errors import Status
from .output import Output
from .pipelined import each

Wants = Literal["names", "stats", "data"]
T = TypeVar("T")

#: Znodes in a request, and bytes that their paths may take there.
READS_MAX = 250
PATHS_BYTES_MAX = 256 * 1024
#: Requests in flight.
REQUESTS_MAX = 4
#: Bytes of data that one answer is to bring, as far as sizes can be foreseen.
ANSWER_BYTES = 1024 * 1024
#: How much of a tree may be read ahead of what is listed next.
AHEAD_MAX = 4_000
AHEAD_BYTES = 16 * 1024 * 1024
#: A stat costs a request of its own, but brings no data: worth it where values are larger than this, on average.
SMALL_BYTES = 1_000
#: So many are looked at before sizes are taken as known.
FIRST = 32


class Denied:
    """In the place of what may not be read."""


DENIED = Denied()


class Reading:
    """Reads lists of znodes. Keeps what it has learned of their sizes, and of what the server can do."""

    def __init__(self, zk: Client) -> None:
        self._zk = zk
        self._seen, self._bytes = 0, 0
        self._reads_many = True

    async def names(self, paths: Sequence[str]) -> list[list[str] | Denied | None]:
        """The names of the children of each, unsorted; None where there is no such znode."""
        found = await self._many(Op.GET_CHILDREN, r.GetChildrenRequest, paths, READS_MAX, self._zk.children)
        return [list(one.children) if isinstance(one, r.GetChildrenResponse) else one for one in found]

    async def stats(self, paths: Sequence[str]) -> list[Stat | Denied | None]:
        """The stat of each; None where there is no such znode. Servers differ in whether it may be forbidden."""
        found: list[Stat | Denied | None] = []
        while len(found) < len(paths):
            left = paths[len(found) :]
            if self._seen >= FIRST and self._bytes / self._seen <= SMALL_BYTES and self._reads_many:
                found += [None if one is None else one.stat or DENIED for one in await self.values(left)]
            else:
                some = left[: FIRST if self._reads_many and self._seen < FIRST else len(left)]
                found += await self._each_stat(some)
        return found

    async def _each_stat(self, paths: Sequence[str]) -> list[Stat | Denied | None]:
        found: list[Stat | Denied | None] = await each(lambda path: _single(self._zk.exists, path), paths)
        self._learn(stat.data_length for stat in found if isinstance(stat, Stat))
        return found

    async def values(self, paths: Sequence[str]) -> "list[Read | None]":
        """Data and stat of each; None where there is no such znode. Of what may not be read there is the stat
        alone, and not even that from some servers."""
        found: list[Read | None] = []
        while len(found) < len(paths):
            # The first answers are small ones, in case the values are not.
            mean = max(1, self._bytes // self._seen) if self._seen else ANSWER_BYTES // 8
            a_request = max(1, min(READS_MAX, ANSWER_BYTES // mean, 2 * self._seen + 8))
            some = paths[len(found) : len(found) + a_request * REQUESTS_MAX]
            replies = await self._many(Op.GET_DATA, r.GetDataRequest, some, a_request, self._zk.get)
            denied = [path for path, reply in zip(some, replies, strict=True) if isinstance(reply, Denied)]
            stats = dict(zip(denied, await self._each_stat(denied) if denied else [], strict=True))
            self._learn(reply.stat.data_length for reply in replies if reply and not isinstance(reply, Denied))
            for path, reply in zip(some, replies, strict=True):
                if isinstance(reply, Denied):
                    stat = stats[path]
                    found.append(None if stat is None else Read(None, stat if isinstance(stat, Stat) else None))
                else:
                    found.append(None if reply is None else Read(reply.data or b"", reply.stat))
        return found

    def _learn(self, sizes: Iterable[int]) -> None:
        for size in sizes:
            self._seen += 1
            self._bytes += size

    async def _many(
        self,
        opcode: int,
        request: Callable[[str, bool], r.Record],
        paths: Sequence[str],
        a_request: int,
        single: Callable[[str], Awaitable[Any]],
    ) -> list[Any]:
        """The reply of each, `DENIED`, or None."""
        prefix = self._zk.chroot

        async def read(part: list[str]) -> list[Any]:
            if not self._reads_many or len(part) == 1:
                return await each(lambda path: _single(single, path), part)
            reads = tuple((opcode, request(prefix + path if path != "/" else prefix or "/", False)) for path in part)
            try:
                results = (await self._zk.request(Op.MULTI_READ, r.MultiReadRequest(reads))).results
            except UnimplementedError:
                self._reads_many = False
                return await each(lambda path: _single(single, path), part)
            except ReplyTooLargeError:
                return await each(lambda path: _single(single, path), part, 1)
            return [_result(result.body, path) for path, result in zip(part, results, strict=True)]

        return [reply for part in await each(read, list(_parts(paths, a_request)), REQUESTS_MAX) for reply in part]


@dataclass(slots=True)
class Read:
    """What may not be read is None."""

    data: bytes | None
    stat: Stat | None


async def _single(read: Callable[[str], Awaitable[Any]], path: str) -> Any:
    try:
        found = await read(path)
    except NoNodeError:
        return None
    except NoAuthError:
        return DENIED
    return r.GetChildrenResponse(tuple(found)) if isinstance(found, list) else found


def _result(body: Any, path: str) -> Any:
    if not isinstance(body, r.ErrorResponse):
        return body
    if body.err == NoNodeError.code:
        return None
    if body.err == NoAuthError.code:
        return DENIED
    raise ERRORS.get(body.err, CodeError)(f"{path}: the server refused to read it")


def _parts(paths: Sequence[str], count_max: int) -> Iterable[list[str]]:
    part: list[str] = []
    size = 0
    for path in paths:
        if part and (len(part) >= count_max or size + len(path) > PATHS_BYTES_MAX // 4):
            yield part
            part, size = [], 0
        part.append(path)
        size += len(path)
    if part:
        yield part


@dataclass(slots=True)
class Node:
    """A znode on the way. ``depth`` counts from where the walk began. ``names``: of its children, sorted, at most
    ``children_max``; ``more`` were left out; None if nobody asked. ``stat`` and ``data`` as asked for."""

    path: str
    depth: int
    names: list[str] | None = None
    more: int = 0
    stat: Stat | None = None
    data: bytes | None = None
    _read: bool = False
    _gone: bool = False
    _next: "Node | None" = None


@dataclass
class Walk:
    """A walk over subtrees: ``async for node in walk.nodes([path])``.

    Args:
        wants: what is asked of each znode, besides the names of its children.
        depth_max: how far down; 0 is only where it begins.
        children_max: of one znode so many are gone on with.
        enters: whether to go below a znode; its ``names`` are not known then.
    """

    zk: Client
    wants: Wants = "names"
    depth_max: int | None = None
    children_max: int | None = None
    enters: Callable[[Node], bool] = lambda node: True
    #: What may not be read, in the order it was met.
    denied: list[str] = field(default_factory=list)

    async def nodes(self, tops: Sequence[str]) -> AsyncIterator[Node]:
        """Each znode before what is below it, children sorted by name; so the same tree gives the same list.

        Raises:
            NoNodeError: one of ``tops`` is not there.
        """
        reading = Reading(self.zk)
        head: Node | None = None
        for path in reversed(tops):
            head = Node(path, 0, _next=head)
        while head is not None:
            if not head._read:
                await self._read(reading, head)
            if not head._gone:
                yield head
            head = head._next
        await anyio.lowlevel.checkpoint()

    async def _read(self, reading: Reading, head: Node) -> None:
        """Read this one, and what is near behind it in the list."""
        batch: list[Node] = []
        at: Node | None = head
        ahead = size = 0
        while at is not None and len(batch) < READS_MAX * REQUESTS_MAX and ahead < AHEAD_MAX and size < AHEAD_BYTES:
            if at._read:
                ahead += 1
                size += len(at.data or b"")
            else:
                batch.append(at)
            at = at._next
        if self.wants == "data":
            values = await reading.values([node.path for node in batch])
            for node, value in zip(batch, values, strict=True):
                if value is None:
                    node._gone = True
                    continue
                node.stat, node.data = value.stat, value.data
                if value.data is None:
                    self.denied.append(node.path)
        elif self.wants == "stats":
            for node, stat in zip(batch, await reading.stats([node.path for node in batch]), strict=True):
                node._gone = stat is None
                if isinstance(stat, Denied):
                    self.denied.append(node.path)
                else:
                    node.stat = stat
        await self._read_names(reading, batch)
        for node in batch:
            node._read = True
            if node._gone and node.depth == 0:
                raise missing(node.path)
            self._insert(node)

    async def _read_names(self, reading: Reading, batch: list[Node]) -> None:
        entered = [
            node
            for node in batch
            if not node._gone
            and (node.stat is None or node.stat.num_children)
            and (self.depth_max is None or node.depth < self.depth_max)
            and self.enters(node)
        ]
        found = await reading.names([node.path for node in entered]) if entered else []
        for node, names in zip(entered, found, strict=True):
            if names is None:
                node._gone = True
            elif isinstance(names, Denied):
                if self.wants == "names" or (node.stat if self.wants == "stats" else node.data) is not None:
                    self.denied.append(node.path)
            else:
                node.names = sorted(names)
        if self.wants == "names" and self.depth_max == 0:
            for node, stat in zip(batch, await reading.stats([node.path for node in batch]), strict=True):
                node._gone = stat is None

    def _insert(self, node: Node) -> None:
        """Behind a znode come its children."""
        names = node.names or []
        if self.children_max is not None and len(names) > self.children_max:
            node.more = len(names) - self.children_max
            names = node.names = names[: self.children_max]
        after = node._next
        for name in reversed(names):
            after = Node(join(node.path, name), node.depth + 1, _next=after)
        node._next = after


def missing(path: str) -> NoNodeError:
    """As a client raises it."""
    error = NoNodeError(f"{path}: no such znode")
    error.operation, error.path = "children", path
    return error


async def tell_denied(out: Output, denied: Sequence[str], what: str = "what is there and below is left out") -> Status:
    """Say what was not read; the status that this makes."""
    for path in denied[:20]:
        await out.tell(f"{path}: permission denied: READ is needed; {what}")
    if len(denied) > 20:
        await out.tell(f"and {len(denied) - 20:,} more may not be read")
    return Status.PARTIAL if denied else Status.OK


__all__ = ["DENIED", "Denied", "Node", "Read", "Reading", "Walk", "missing", "tell_denied"]
