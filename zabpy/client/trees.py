"""Operations about many znodes at once: read together, or deleted with all that is below."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TypeVar

import anyio

from zabpy.model import ERRORS, STAT_STRUCT, Acls, CodeError, NoNodeError, NotEmptyError, Stat, UnimplementedError, join
from zabpy.wire import Op, Reader, bytes_of, records as r

from .arguments import bad
from .call import Call
from .errors import ProtocolError
from .operations import Operations, Znode
from .session import Session

#: Requests in flight at one time.
IN_FLIGHT_MAX = 64
#: Single reads that are sent in one go.
ASKED_AT_ONCE_MAX = 500
#: How often `Trees.delete_tree` goes through what others create behind its back.
ROUNDS_MAX = 100
#: What no client may delete; servers refuse it.
SYSTEM_PATHS = ("/", "/zookeeper", "/zookeeper/config", "/zookeeper/quota")

T = TypeVar("T")
U = TypeVar("U")


class Trees(Operations):
    #: No: the server said that it does not know multiRead. ZooKeeper has it since 3.6.
    _reads_many = True

    async def get_many(self, paths: Iterable[str], *, session: Session | None = None) -> list[Znode | None]:
        """Data and stat of each, in the order of ``paths``; None where there is no such znode.

        All are of one moment, as long as the paths fit into one request (about 1 MB) and the server knows multiRead,
        that is, from 3.6 on; else they are read one by one, in one go.

        Raises:
            NoAuthError: with the path of the first that may not be read.
        """
        wanted = [(path, self._full(path, "get_many")) for path in paths]
        replies = await self._read_many("get_many", Op.GET_DATA, wanted, session)
        if replies is None:
            return await in_parallel(
                lambda path: self._or_none(self.get(path, session=session)), [p for p, _ in wanted]
            )
        return [Znode(reply.data or b"", reply.stat) if isinstance(reply, r.GetDataResponse) else None
                for reply in replies]  # fmt: skip

    async def children_many(self, paths: Iterable[str], *, session: Session | None = None) -> list[list[str] | None]:
        """The names of the children of each, in the order of ``paths``; None where there is no such znode.

        Of one moment and with the errors of `get_many`.
        """
        wanted = [(path, self._full(path, "children_many")) for path in paths]
        replies = await self._read_many("children_many", Op.GET_CHILDREN, wanted, session)
        if replies is None:
            return await in_parallel(
                lambda path: self._or_none(self.children(path, session=session)), [p for p, _ in wanted]
            )
        return [list(reply.children) if isinstance(reply, r.GetChildrenResponse) else None for reply in replies]

    async def get_acl_many(
        self, paths: Iterable[str], *, session: Session | None = None
    ) -> list[tuple[Acls, Stat] | None]:
        """Who may do what to each, as from `get_acl`, in the order of ``paths``; None where there is no such znode.

        Not of one moment: servers read ACLs one by one. They are asked for in one go.

        Raises:
            NoAuthError: with the path of the first that may not be read.
        """
        known: dict[bytes, Acls] = {}  # most znodes of a tree have the same few

        def read(reader: Reader) -> r.GetACLResponse:
            encoded = reader.rest[: -STAT_STRUCT.size]
            acl = known.get(encoded)
            if acl is not None:
                reader.at += len(encoded)
                return r.GetACLResponse(acl, r.read_stat(reader))
            reply = r.GetACLResponse.read(reader)
            if not reader.left:
                known[encoded] = reply.acl
            return reply

        calls = [
            Call(
                Op.GET_ACL,
                r.packed_path(self._full(path, "get_acl_many")),
                read,
                "get_acl_many",
                path,
                session=session,
                again=True,
            )
            for path in paths
        ]
        found: list[tuple[Acls, Stat] | None] = []
        for at in range(0, len(calls), ASKED_AT_ONCE_MAX):
            part = calls[at : at + ASKED_AT_ONCE_MAX]
            await self._ask_all(part, "get_acl_many", part[0].path)
            for call in part:
                if call.error is None:
                    found.append((call.reply.acl, call.reply.stat))
                elif isinstance(call.error, NoNodeError):
                    found.append(None)
                else:
                    raise call.error
        return found

    async def _or_none(self, read: Awaitable[T]) -> T | None:
        try:
            return await read
        except NoNodeError:
            return None

    async def _read_many(
        self, operation: str, opcode: int, wanted: Sequence[tuple[str, str]], session: Session | None
    ) -> list[r.Record | None] | None:
        """The replies, None for a missing znode; or None at all, where servers have no such operation."""
        found: list[r.Record | None] = []
        for part in self._parts(wanted):
            if not self._reads_many:
                return None
            body = r.packed_reads(opcode, [full for _, full in part])
            try:
                reply = await self._ask(Op.MULTI_READ, body, r.MultiResponse.read, operation, part[0][0], session)
            except UnimplementedError:
                self._reads_many = False
                return None
            if len(reply.results) != len(part):
                raise ProtocolError(f"{len(reply.results)} results of {len(part)} reads")
            for (path, _), result in zip(part, reply.results, strict=True):
                body_read = result.body
                if not isinstance(body_read, r.ErrorResponse):
                    found.append(body_read)
                elif body_read.err == NoNodeError.code:
                    found.append(None)
                else:
                    error = ERRORS.get(body_read.err, CodeError)(f"{operation} {path}")
                    error.operation, error.path = operation, path
                    raise error
        return found

    def _parts(self, wanted: Sequence[tuple[str, str]]) -> Iterable[list[tuple[str, str]]]:
        part: list[tuple[str, str]] = []
        size = 0
        for path, full in wanted:
            # The record is the path behind its length, and a boolean; before it is the header of one operation.
            more = (len(full) if full.isascii() else len(bytes_of(full))) + 5 + 9
            if part and size + more > self.frame_bytes_max - 64:
                yield part
                part, size = [], 0
            part.append((path, full))
            size += more
        if part:
            yield part

    async def delete_tree(self, path: str, *, session: Session | None = None) -> int:
        """Delete the znode and all below it; returns how many of them this call has deleted, 0 if there was none.

        Not one transaction: what others see, and what is left if it fails, is part of the tree. What others delete
        meanwhile is well, what they create is deleted, too. Its deletes are sent again when a reply is lost, and such
        a one is counted though somebody else may have been first.

        Raises:
            BadArgumentsError: for ``/`` and the system's own znodes.
            NotEmptyError: others create below it faster than it deletes.
            NoAuthError.
        """
        full = self._full(path, "delete_tree")
        if path == "/" or full in SYSTEM_PATHS:
            raise bad("that stays", "delete_tree", path)
        deleted = 0

        async def delete(each: str) -> bool:
            nonlocal deleted
            try:
                await self.delete(each, lost_reply="again", session=session)
                deleted += 1
            except NoNodeError:
                pass
            except NotEmptyError:
                return False
            return True

        for _ in range(ROUNDS_MAX):
            levels = await self._levels(path, session)
            done = [True]
            for level in reversed(levels):
                done = await in_parallel(delete, level)
            if all(done):  # the last level is the znode itself
                return deleted
        raise NotEmptyError(f"delete_tree {path}: others still create below it after {ROUNDS_MAX} rounds")

    async def _levels(self, path: str, session: Session | None) -> list[list[str]]:
        """The paths of the tree: the root, then its children, then theirs."""
        levels: list[list[str]] = []
        level = [path]
        while level:
            levels.append(level)
            names = await in_parallel(lambda each: self._or_none(self.children(each, session=session)), level)
            level = [join(each, name) for each, found in zip(level, names, strict=True) for name in found or ()]
        return levels


async def in_parallel(
    fn: Callable[[T], Awaitable[U]], items: Sequence[T], in_flight_max: int = IN_FLIGHT_MAX
) -> list[U]:
    """``fn`` of each, in their order, so many at one time. The first exception ends it, and comes out as it is."""
    found: dict[int, U] = {}
    failed: list[Exception] = []
    left = iter(range(len(items)))

    async def work() -> None:
        for index in left:
            try:
                found[index] = await fn(items[index])
            except Exception as error:
                failed.append(error)
                tasks.cancel_scope.cancel()
                return

    if len(items) == 1:
        return [await fn(items[0])]
    async with anyio.create_task_group() as tasks:
        for _ in range(min(in_flight_max, len(items))):
            tasks.start_soon(work)
    if failed:
        raise failed[0]
    return [found[index] for index in range(len(items))]
