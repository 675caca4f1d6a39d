"""The operations about one znode, and those about the ensemble, as methods that a client has.

**A create that looks for what it made** (``lost_reply="find"``) has no mark to go by as those of `ledger` have, only a
name that nobody else can have made. So before it may say "it is not there, create it again" the first sending must be
past: done, or never to be. That is so behind any write of the same session that was sent over a later connection and
answered: a multi that checks something and changes nothing. For when the session went on over that connection, the
leader noted at which server it is now, and from then on refuses what another server still forwards for it
(`SessionMovedError`; Apache's ``setOwner``, our ``owners``); what was forwarded before, or by the same server, is ahead
of the multi in the order of all writes, and the server that answers the multi has applied it. A sync would not do: ours
waits for what is final, and a create may be ordered without being final yet. After a change of leaders nobody's old
requests are taken: links and queues end with the old one's reign.

If the session ended meanwhile nothing of this holds, and the outcome is unknown: `SessionLostError`. One sliver is left
on Apache's servers, which read a connection in one thread and close it in another: a client that comes back to the very
server it was at may overtake a request that this server had read and its thread, stopped in between, not yet passed on.
``once`` does not even rely on that.
"""

import re
from collections.abc import Iterable
from typing import Any, NamedTuple

from zabpy.model import (
    Acl,
    Acls,
    BadArgumentsError,
    Identity,
    Members,
    NodeExistsError,
    NoNodeError,
    Stat,
    join,
    name_of,
    parent_of,
    parse_members,
)
from zabpy.wire import OPS, Op, packed, records as r

from .arguments import as_acls, as_config_version, as_data, as_version, bad, check_lost_reply
from .asking import LostReply
from .errors import ConnectionLossError, NameLostError, NoServerError, ProtocolError, about, error_of
from .ledger import SLOT_PREFIX, Done, Once, err_of
from .session import Session

#: Where the ensemble's configuration stands, whatever the chroot.
CONFIG_PATH = "/zookeeper/config"
TTL_MS_MAX = 0xFF_FFFF_FFFF
#: How often what stands above a znode is created again when others delete it meanwhile.
PARENTS_ROUNDS = 8


class Znode(NamedTuple):
    """What a read gives: ``data, stat = await zk.get(path)``. Null data reads as ``b""``; see `Operations.request`."""

    data: bytes
    stat: Stat


class NewZnode(NamedTuple):
    """What a create gives. ``path`` has the sequence number, if one was asked for."""

    path: str
    stat: Stat


class EnsembleConfig(NamedTuple):
    """What the ensemble says of itself. ``members.version`` is what `Operations.reconfig` takes as ``version``."""

    data: bytes
    stat: Stat
    members: Members


class Operations(Once):
    """See the head of `client`: what waits for what, and what is sent again.

    Every operation takes ``session``: it is then done in this session only, else `SessionLostError`. Every one may
    raise NoServerError (not done), SessionLostError, ClosedClientError, RequestTooLargeError (not sent) and, for what
    no path is, BadArgumentsError (not sent); writes ConnectionLossError, too, and reads only when connection after
    connection broke under them.
    """

    async def create(
        self,
        path: str,
        data: bytes | None = b"",
        *,
        acl: Iterable[Acl] | None = None,
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
            data: None is kept apart from ``b""`` by the servers, though hardly ever shown.
            acl: who may do what; None: everybody everything.
            ephemeral: it ends with the session.
            sequence: ten digits are put behind the name, and ``path`` may then end with a slash.
            container: it is deleted some time after its last child was.
            ttl_ms: it is deleted once it had no children and was not written for so long; where servers allow it.
            parents: create what is missing above it, too, with the same ACL.
            lost_reply: ``once`` costs a second write, of a mark, in the same transaction (ledger.py): one at a time
                about 1.4 times as long as ``raise``, many at once half as many a second; and one more request each
                time that more are under way than ever before, up to 128, which is the most at a time. Where marks
                are not allowed, or the request has not about 200 bytes to spare, a lost answer is a
                ConnectionLossError. ``find`` needs a name that
                only this call can have made, such as one with a GUID. With ``again``, a NodeExistsError may be of what
                the first sending made.
        Raises:
            NodeExistsError, NoNodeError (no parent), NoChildrenForEphemeralsError, InvalidAclError, NoAuthError,
            QuotaExceededError, UnimplementedError (``ttl_ms``, where it is not allowed); NameLostError: it was created,
            in sequence, and deleted by others before its name could be told.
        """
        full = self._full(path, "create", sequence=sequence)
        check_lost_reply(lost_reply, "create", path, ("raise", "again", "once", "find"))
        if lost_reply == "find" and not name_of(path):
            raise bad("a name is needed for what was lost to be found by", "create", path)
        opcode, record = creation(
            path, full, data, acl, ephemeral=ephemeral, sequence=sequence, container=container, ttl_ms=ttl_ms
        )
        body = packed(record)
        attempt, rounds = 1, PARENTS_ROUNDS if parents else 0
        while True:
            try:
                if lost_reply == "once":
                    done = await self._once([(opcode, record)], "create", path, session)
                    if done is not None:
                        await self._check(done, "create", path)
                        return await self._created(done, opcode, record, path, session)
                made = await self._ask(opcode, body, r.Create2Response.read, "create", path, session, attempt=attempt)
                return NewZnode(self._seen(made.path), made.stat)
            except NoNodeError:
                if not rounds:
                    raise
                rounds -= 1
                await self._ensure(parent_of(full), record.acl, session)
            except ConnectionLossError as error:
                if lost_reply == "find":
                    found = await self._find(path, session, error)
                    if found is not None:
                        return found
                elif lost_reply != "again":
                    raise
            attempt += 1

    async def _check(self, done: Done, operation: str, path: str) -> None:
        """Raise what the server had against it."""
        if done.stat is None and done.results is not None:
            session = self.core.session
            error = about(
                error_of(err_of(done.results[0])),
                operation,
                path,
                session_id=session.id if session is not None else 0,
                server=self.core.server,
                zxid=self.core.last_zxid,
                attempt=done.sendings,
            )
            await self._explain(error)
            raise error

    async def _created(
        self, done: Done, opcode: int, record: r.CreateRequest | r.CreateTTLRequest, path: str, session: Session | None
    ) -> NewZnode:
        stat = done.stat_of_new(record.data, ephemeral=record.flags in (1, 3))
        if record.flags not in (2, 3, 6):
            return NewZnode(path, stat)
        if done.results is None:
            found = await self._names_at(stat.czxid, record.path, session)
            if not found:
                raise self._name_lost("create", path, stat.czxid)
            return NewZnode(self._seen(found[0]), stat)
        made = done.results[0].body
        assert isinstance(made, r.CreateResponse | r.Create2Response)
        return NewZnode(self._seen(made.path), stat)

    async def _names_at(self, zxid: int, full: str, session: Session | None) -> list[str]:
        """The children in sequence that were created at this zxid from this path, in the order of their creation."""
        parent, prefix = parent_of(full), name_of(full)
        body = packed(r.GetChildrenRequest(parent, False))
        read = r.GetChildrenResponse.read
        try:
            found = await self._ask(Op.GET_CHILDREN, body, read, "create", self._seen(parent), session)
        except NoNodeError:
            return []
        in_sequence = re.compile(re.escape(prefix) + r"-?\d{10}")
        names = [name for name in found.children if in_sequence.fullmatch(name)]
        made: list[str] = []
        for name in sorted(names, key=lambda name: int(name[len(prefix) :]), reverse=True):  # likely one of the newest
            body = packed(r.ExistsRequest(join(parent, name), False))
            try:
                stat = (await self._ask(Op.EXISTS, body, r.ExistsResponse.read, "create", name, session)).stat
            except NoNodeError:
                continue
            if stat.czxid == zxid:
                made.append(join(parent, name))
            elif made:
                break
        return made[::-1]

    def _name_lost(self, operation: str, path: str, zxid: int) -> NameLostError:
        session = self.core.session
        return about(
            NameLostError(f"it was created, at zxid {zxid:#x}, and deleted before the client had learned its name"),
            operation,
            path,
            session_id=session.id if session is not None else 0,
            server=self.core.server,
            zxid=zxid,
        )

    async def _stat_set(
        self, done: Done, full: str, data: bytes | None, version: int, session: Session | None, later: int = 0
    ) -> Stat:
        """The stat that a set has given whose answer was lost, as far as it can still be told; see `Operations.set`.

        ``later``: so often it was set again at the same zxid.
        """
        assert done.stat is not None
        zxid, time_ms = done.stat.mzxid, done.stat.mtime_ms
        body = packed(r.ExistsRequest(full, False))
        found: Stat | None = None
        try:
            reply = await self._ask(Op.EXISTS, body, r.ExistsResponse.read, "set", self._seen(full), session)
            found = reply.stat
        except NoNodeError:
            pass
        if found is not None and found.czxid <= zxid:
            since = later if found.mzxid == zxid else later + 1
            new_version = version + 1 if version >= 0 else found.version - since
            return found._replace(mzxid=zxid, mtime_ms=time_ms, version=new_version, data_length=len(data or b""))
        return Stat(0, zxid, 0, time_ms, version + 1 if version >= 0 else 0, 0, 0, 0, len(data or b""), 0, 0)

    async def _find(self, path: str, session: Session | None, lost: ConnectionLossError) -> NewZnode | None:
        """What a create whose answer was lost has made: the child whose name begins as the one that was asked for.

        None: it was not done, and never will be; see the head of this file.
        """
        parent, prefix = parent_of(path), name_of(path)
        try:
            session = self._same_session("create", path, lost)
            body = packed(r.MultiRequest(((Op.CHECK, r.CheckVersionRequest(self._full(parent, "create"), -1)),)))
            await self._write(Op.MULTI, body, None, "create", path, session, "again")
            for name in await self.children(parent, session=session):
                if name.startswith(prefix):
                    found = join(parent, name)
                    stat = await self.exists(found, session=session)
                    if stat is not None:
                        return NewZnode(found, stat)
        except NoServerError as error:
            raise lost from error
        except NoNodeError:
            pass
        return None

    async def ensure(self, path: str, *, acl: Iterable[Acl] | None = None, session: Session | None = None) -> None:
        """Have the znode be there, and all above it, the chroot included; empty ones are made where some are missing.

        Raises:
            NoAuthError, InvalidAclError, NoChildrenForEphemeralsError.
        """
        await self._ensure(self._full(path, "ensure"), as_acls(acl, "ensure", path), session)

    async def _ensure(self, full: str, acls: Acls, session: Session | None) -> None:
        rounds = PARENTS_ROUNDS
        while True:
            missing: list[str] = []
            above = full
            while above != "/":
                try:
                    body = packed(r.ExistsRequest(above, False))
                    await self._ask(Op.EXISTS, body, r.ExistsResponse.read, "ensure", self._seen(above), session)
                    break
                except NoNodeError:
                    missing.append(above)
                    above = parent_of(above)
            try:
                for each in reversed(missing):
                    body = packed(r.CreateRequest(each, b"", acls, 0))
                    try:
                        await self._write(
                            Op.CREATE, body, r.CreateResponse.read, "ensure", self._seen(each), session, "again"
                        )
                    except NodeExistsError:
                        pass
                return
            except NoNodeError:  # somebody deletes what we have just made
                rounds -= 1
                if not rounds:
                    raise

    async def get(self, path: str, *, session: Session | None = None) -> Znode:
        """Data and stat. Raises `NoNodeError`, `NoAuthError`."""
        body = packed(r.GetDataRequest(self._full(path, "get"), False))
        found = await self._ask(Op.GET_DATA, body, r.GetDataResponse.read, "get", path, session)
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

        With ``lost_reply="again"`` and a version, a BadVersionError may come of the first sending having been done.
        With ``"once"`` and an answer that was lost, the stat is read afterwards: it has the ``mzxid`` and ``mtime_ms``
        of this change, what others did since may show in the rest, and ``version`` is one that the znode had at this
        change, or none it has now; where the znode is gone what cannot be told is 0.

        Raises:
            BadVersionError, NoNodeError, NoAuthError, QuotaExceededError.
        """
        full, checked = self._full(path, "set"), as_data(data, "set", path)
        record = r.SetDataRequest(full, checked, as_version(version, "set", path))
        check_lost_reply(lost_reply, "set", path, ("raise", "again", "once"))
        if lost_reply == "once":
            done = await self._once([(Op.SET_DATA, record)], "set", path, session)
            if done is not None:
                await self._check(done, "set", path)
                if done.results is None:
                    return await self._stat_set(done, record.path, record.data, version, session)
                changed = done.results[0].body
                assert isinstance(changed, r.SetDataResponse)
                return changed.stat
            lost_reply = "raise"
        reply = await self._write(Op.SET_DATA, packed(record), r.SetDataResponse.read, "set", path, session, lost_reply)
        stat: Stat = reply.stat
        return stat

    async def delete(
        self, path: str, version: int = -1, *, lost_reply: LostReply = "raise", session: Session | None = None
    ) -> None:
        """Delete the znode, if it has this version (-1: any).

        With ``lost_reply="again"`` it is well if the znode is gone when it is sent again: it may have been us.

        Raises:
            NoNodeError, BadVersionError, NotEmptyError, NoAuthError.
        """
        record = r.DeleteRequest(self._full(path, "delete"), as_version(version, "delete", path))
        check_lost_reply(lost_reply, "delete", path, ("raise", "again", "once"))
        if lost_reply == "once":
            done = await self._once([(Op.DELETE, record)], "delete", path, session)
            if done is not None:
                await self._check(done, "delete", path)
                return
            lost_reply = "raise"
        try:
            await self._write(Op.DELETE, packed(record), None, "delete", path, session, lost_reply)
        except NoNodeError as error:
            if error.attempt == 1:
                raise

    async def exists(self, path: str, *, session: Session | None = None) -> Stat | None:
        """The stat, or None where there is no such znode. Raises `NoAuthError`, from servers of 2024 on."""
        body = packed(r.ExistsRequest(self._full(path, "exists"), False))
        try:
            found = await self._ask(Op.EXISTS, body, r.ExistsResponse.read, "exists", path, session)
        except NoNodeError:
            return None
        stat: Stat = found.stat
        return stat

    async def children(self, path: str, *, session: Session | None = None) -> list[str]:
        """The names of the children, in no order. Raises `NoNodeError`, `NoAuthError`."""
        body = packed(r.GetChildrenRequest(self._full(path, "children"), False))
        found = await self._ask(Op.GET_CHILDREN, body, r.GetChildrenResponse.read, "children", path, session)
        return list(found.children)

    async def children_and_stat(self, path: str, *, session: Session | None = None) -> tuple[list[str], Stat]:
        """The names of the children, in no order, and the stat, of one moment. Raises `NoNodeError`, `NoAuthError`."""
        body = packed(r.GetChildren2Request(self._full(path, "children"), False))
        found = await self._ask(Op.GET_CHILDREN2, body, r.GetChildren2Response.read, "children", path, session)
        return list(found.children), found.stat

    async def get_acl(self, path: str, *, session: Session | None = None) -> tuple[Acls, Stat]:
        """Who may do what, and the stat, whose ``aversion`` `set_acl` takes. Hashes are hidden from all but admins.

        Raises `NoNodeError`, `NoAuthError`.
        """
        body = packed(r.GetACLRequest(self._full(path, "get_acl")))
        found = await self._ask(Op.GET_ACL, body, r.GetACLResponse.read, "get_acl", path, session)
        return found.acl, found.stat

    async def set_acl(
        self,
        path: str,
        acl: Iterable[Acl],
        version: int = -1,
        *,
        lost_reply: LostReply = "raise",
        session: Session | None = None,
    ) -> Stat:
        """Set who may do what, if the ACL has this version (-1: any), which is the stat's ``aversion``.

        ``lost_reply="once"`` is not to be had: servers take no ACL in a transaction.

        Raises:
            BadVersionError, NoNodeError, InvalidAclError, NoAuthError.
        """
        full, acls = self._full(path, "set_acl"), as_acls(acl, "set_acl", path)
        check_lost_reply(lost_reply, "set_acl", path, ("raise", "again"))
        body = packed(r.SetACLRequest(full, acls, as_version(version, "set_acl", path)))
        done = await self._write(Op.SET_ACL, body, r.SetACLResponse.read, "set_acl", path, session, lost_reply)
        stat: Stat = done.stat
        return stat

    async def sync(self, path: str = "/", *, session: Session | None = None) -> None:
        """Until this client's server has all that was final when it was asked: of the whole tree, whatever the path.

        What is read after it is as new as what any client had read before it was called.
        """
        body = packed(r.SyncRequest(self._full(path, "sync")))
        await self._ask(Op.SYNC, body, r.SyncResponse.read, "sync", path, session)

    async def ephemerals(self, prefix: str = "/", *, session: Session | None = None) -> list[str]:
        """The ephemeral znodes of this client's session whose paths begin with this text, sorted.

        ``/a`` takes in ``/ab``, too. Raises `UnimplementedError` from servers before 3.6.
        """
        if not prefix.startswith("/"):
            raise bad("a prefix starts with a slash", "ephemerals", prefix)
        body = packed(r.GetEphemeralsRequest(self.chroot + prefix))
        found = await self._ask(Op.GET_EPHEMERALS, body, r.GetEphemeralsResponse.read, "ephemerals", prefix, session)
        mine = self.chroot + "/"
        return sorted(
            self._seen(full) for full in found.ephemerals if full.startswith(mine) and not full.startswith(SLOT_PREFIX)
        )

    async def count_descendants(self, path: str = "/", *, session: Session | None = None) -> int:
        """How many znodes there are below this one. The server counts them all: costly for large trees.

        Raises `NoNodeError`, `NoAuthError`, and `UnimplementedError` from servers before 3.6.
        """
        body = packed(r.GetAllChildrenNumberRequest(self._full(path, "count_descendants")))
        read = r.GetAllChildrenNumberResponse.read
        found = await self._ask(Op.GET_ALL_CHILDREN_NUMBER, body, read, "count_descendants", path, session)
        count: int = found.total_number
        return count

    async def whoami(self, *, session: Session | None = None) -> tuple[Identity, ...]:
        """As whom the server knows this connection, passwords left out. Raises `UnimplementedError` before 3.7."""
        found = await self._ask(Op.WHO_AM_I, b"", r.WhoAmIResponse.read, "whoami", None, session)
        return tuple(Identity(*info) for info in found.client_info)

    async def get_config(self, *, session: Session | None = None) -> EnsembleConfig:
        """Who the ensemble's servers are. Of a standalone server: none."""
        body = packed(r.GetDataRequest(CONFIG_PATH, False))
        found = await self._ask(Op.GET_DATA, body, r.GetDataResponse.read, "get_config", None, session)
        return _config(found)

    async def reconfig(
        self,
        *,
        joining: str | None = None,
        leaving: str | None = None,
        members: str | None = None,
        version: int = -1,
        lost_reply: LostReply = "raise",
        session: Session | None = None,
    ) -> EnsembleConfig:
        """Change who the ensemble's servers are; all servers take part in it, so it needs a quorum of the new ones.

        Args:
            joining: ``server.4=host:2888:3888;2181``, more behind commas.
            leaving: numbers of servers, between commas.
            members: all servers of the new configuration, instead of the two.
            version: only if the present one has it: ``EnsembleConfig.members.version``; -1: any.
        Raises:
            NoAuthError (it is for ``super``, usually), ReconfigDisabledError, BadVersionError, NewConfigNoQuorumError,
            BadArgumentsError, UnimplementedError (a standalone server).
        """
        check_lost_reply(lost_reply, "reconfig", None, ("raise", "again"))
        body = packed(r.ReconfigRequest(joining, leaving, members, as_config_version(version)))
        done = await self._write(Op.RECONFIG, body, r.GetDataResponse.read, "reconfig", None, session, lost_reply)
        return _config(done)

    async def request(self, opcode: int, record: r.Record | None = None, *, session: Session | None = None) -> Any:
        """Send one request as it stands, and give the answer's record, None where it has none.

        The escape hatch: no chroot is put before its paths and taken from the answer's, null data stays None. Reads
        are sent again when the connection breaks, the rest is not (`ConnectionLossError`). Do not watch by it, and
        do not close the session by it: the client would know nothing of that.
        """
        row = OPS.get(opcode)
        if row is None or not row.from_client:
            raise BadArgumentsError(f"no operation {opcode} that a client may ask for")
        if (None if record is None else type(record)) is not row.request:
            wanted = row.request.__name__ if row.request else "no record"
            raise BadArgumentsError(f"{row.name} takes {wanted}, not {record!r}")
        body = b"" if record is None else packed(record)
        path = getattr(record, "path", None)
        return await self._ask(opcode, body, row.reply.read if row.reply else None, row.name, path, session)


def creation(
    path: str,
    full: str,
    data: bytes | None,
    acl: Iterable[Acl] | None,
    *,
    ephemeral: bool,
    sequence: bool,
    container: bool,
    ttl_ms: int | None,
) -> tuple[Op, r.CreateRequest | r.CreateTTLRequest]:
    """The request for a znode of this kind. Raises `BadArgumentsError` for kinds that are none."""
    checked, acls = as_data(data, "create", path), as_acls(acl, "create", path)
    if container:
        if ephemeral or sequence or ttl_ms is not None:
            raise bad("a container is neither ephemeral nor in sequence and has no lifetime", "create", path)
        return Op.CREATE_CONTAINER, r.CreateRequest(full, checked, acls, 4)
    if ttl_ms is not None:
        if ephemeral:
            raise bad("an ephemeral znode has no lifetime of its own", "create", path)
        if type(ttl_ms) is not int or not 0 < ttl_ms <= TTL_MS_MAX:
            raise bad(f"a lifetime of {ttl_ms!r} ms: 1 to {TTL_MS_MAX} is expected", "create", path)
        return Op.CREATE_TTL, r.CreateTTLRequest(full, checked, acls, 6 if sequence else 5, ttl_ms)
    return Op.CREATE2, r.CreateRequest(full, checked, acls, (1 if ephemeral else 0) | (2 if sequence else 0))


def _config(found: r.GetDataResponse) -> EnsembleConfig:
    data = found.data or b""
    try:
        members = parse_members(data.decode()) if data else Members((), 0)
    except ValueError as error:
        raise ProtocolError(f"a configuration that cannot be read: {error}") from error
    return EnsembleConfig(data, found.stat, members)
