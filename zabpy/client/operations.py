"""Every operation of the protocol, as methods that a client has."""

from typing import NamedTuple

from zabpy.model import (
    OPEN_ACL,
    Acls,
    BadArgumentsError,
    NodeExistsError,
    NoNodeError,
    Stat,
    join,
    name_of,
    parent_of,
)
from zabpy.wire import Op, packed, records as r

from .asking import Asking, LostReply
from .errors import ConnectionLossError
from .session import Session


class Znode(NamedTuple):
    """What a read gives: ``data, stat = await zk.get(path)``. Null data reads as ``b""``."""

    data: bytes
    stat: Stat


class NewZnode(NamedTuple):
    """What a create gives. ``path`` has the sequence number, if one was asked for."""

    path: str
    stat: Stat


class Operations(Asking):
    """See the head of `client`: what waits for what, and what is sent again."""

    async def create(
        self,
        path: str,
        data: bytes | None = b"",
        *,
        acl: Acls | None = None,
        ephemeral: bool = False,
        sequence: bool = False,
        container: bool = False,
        ttl_ms: int | None = None,
        parents: bool = False,
        lost_reply: LostReply = "once",
        session: Session | None = None,
    ) -> NewZnode:
        """Create a znode.

        Args:
            sequence: ten digits are put behind the name, and ``path`` may then end with a slash.
            parents: create what is missing above it, too.
        Raises:
            NodeExistsError, NoNodeError (no parent), NoChildrenForEphemeralsError, InvalidAclError, NoAuthError.
        """
        full = self._full(path, sequence)
        flags = _flags(ephemeral, sequence, container, ttl_ms)
        opcode = Op.CREATE_CONTAINER if container else Op.CREATE_TTL if ttl_ms is not None else Op.CREATE2
        acls = OPEN_ACL if acl is None else tuple(acl)
        body = packed(
            r.CreateRequest(full, data, acls, flags)
            if ttl_ms is None
            else r.CreateTTLRequest(full, data, acls, flags, ttl_ms)
        )
        attempt = 1
        while True:
            try:
                made = await self._ask(opcode, body, r.Create2Response.read, "create", path, session, attempt=attempt)
                return NewZnode(self._seen(made.path), made.stat)
            except NoNodeError:
                if not parents or parent_of(full) == (self.chroot or "/"):
                    raise
                await self.ensure(parent_of(path))
                parents = False
            except ConnectionLossError:
                if lost_reply == "again":
                    pass
                elif lost_reply == "find":
                    found = await self._find(path, session)
                    if found is not None:
                        return found
                else:
                    raise
            attempt += 1

    async def _find(self, path: str, session: Session | None) -> NewZnode | None:
        """What a create whose answer was lost has made: the child whose name begins as the one that was asked for."""
        parent, prefix = parent_of(path), name_of(path)
        # What the old connection's server still forwards is refused once the session has moved, and what it forwarded
        # before is ordered before this sync; so what is not there now will never be.
        await self.sync(parent, session=session)
        for name in await self.children(parent, session=session):
            if name.startswith(prefix):
                found = join(parent, name)
                stat = await self.exists(found, session=session)
                if stat is not None:
                    return NewZnode(found, stat)
        return None

    async def ensure(self, path: str, *, acl: Acls | None = None, session: Session | None = None) -> None:
        """Have the znode be there, and all above it; empty ones are created where they are missing."""
        self._full(path)
        missing: list[str] = []
        while path != "/" and await self.exists(path, session=session) is None:
            missing.append(path)
            path = parent_of(path)
        for each in reversed(missing):
            try:
                await self.create(each, acl=acl, lost_reply="again", session=session)
            except NodeExistsError:
                pass

    async def get(self, path: str, *, session: Session | None = None) -> Znode:
        """Data and stat. Raises `NoNodeError`, `NoAuthError`."""
        found = await self._ask(
            Op.GET_DATA, packed(r.GetDataRequest(self._full(path), False)), r.GetDataResponse.read, "get", path, session
        )
        return Znode(found.data or b"", found.stat)

    async def set(
        self,
        path: str,
        data: bytes | None,
        version: int = -1,
        *,
        lost_reply: LostReply = "raise",
        session: Session | None = None,
    ) -> Stat:
        """Set the data, if the znode has this version (-1: any).

        Raises:
            BadVersionError, NoNodeError, NoAuthError.
        """
        body = packed(r.SetDataRequest(self._full(path), data, version))
        done = await self._write(Op.SET_DATA, body, r.SetDataResponse.read, "set", path, session, lost_reply)
        stat: Stat = done.stat
        return stat

    async def delete(
        self, path: str, version: int = -1, *, lost_reply: LostReply = "raise", session: Session | None = None
    ) -> None:
        """Delete the znode, if it has this version (-1: any).

        Raises:
            NoNodeError, BadVersionError, NotEmptyError, NoAuthError.
        """
        body = packed(r.DeleteRequest(self._full(path), version))
        await self._write(Op.DELETE, body, None, "delete", path, session, lost_reply)

    async def exists(self, path: str, *, session: Session | None = None) -> Stat | None:
        """The stat, or None where there is no such znode."""
        body = packed(r.ExistsRequest(self._full(path), False))
        try:
            found = await self._ask(Op.EXISTS, body, r.ExistsResponse.read, "exists", path, session)
        except NoNodeError:
            return None
        stat: Stat = found.stat
        return stat

    async def children(self, path: str, *, session: Session | None = None) -> list[str]:
        """The names of the children, in no order. Raises `NoNodeError`, `NoAuthError`."""
        return (await self.children_and_stat(path, session=session))[0]

    async def children_and_stat(self, path: str, *, session: Session | None = None) -> tuple[list[str], Stat]:
        body = packed(r.GetChildren2Request(self._full(path), False))
        found = await self._ask(Op.GET_CHILDREN2, body, r.GetChildren2Response.read, "children", path, session)
        return list(found.children), found.stat

    async def sync(self, path: str = "/", *, session: Session | None = None) -> None:
        """Until this client's server has all that was final when it was asked."""
        await self._ask(Op.SYNC, packed(r.SyncRequest(self._full(path))), r.SyncResponse.read, "sync", path, session)


def _flags(ephemeral: bool, sequence: bool, container: bool, ttl_ms: int | None) -> int:
    if container:
        if ephemeral or sequence or ttl_ms is not None:
            raise BadArgumentsError("a container is neither ephemeral nor in sequence and has no lifetime")
        return 4
    if ttl_ms is not None:
        if ephemeral:
            raise BadArgumentsError("an ephemeral znode has no lifetime of its own")
        return 6 if sequence else 5
    return (1 if ephemeral else 0) | (2 if sequence else 0)
