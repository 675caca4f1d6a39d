"""Request + State + Pending → transaction: a table, opcode → what to decode and how to judge it. The leader's.

Everything is decided here, once: permissions, versions, names of sequential znodes, times. What comes out can be
applied by any replica without a question. A refusal is a transaction too: it was decided on what is proposed, and told
before its turn it might tell of a state that never comes to be.

The order of the checks is ZooKeeper's, for a request that is wrong in two ways must get the
error that ZooKeeper gives. Every check comes before the first change to `Pending`.

Sizes (trap E9): what is proposed must fit a frame between servers and be readable for ever. A request's own bytes are
bounded, by the client frame and again here; two things can grow beyond them. The ACL scheme ``auth``, which stands for
all identities of the client: lists are measured before they are expanded, and a multi as a whole. And closeSession,
which must never fail: so a session's ephemerals are bounded as they are created, see `Rules.ephemeral_bytes_max`.
"""

import struct
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any, NamedTuple

from zabpy.model import (
    ADMIN,
    CONTAINER,
    CREATE,
    DELETE,
    EPHEMERAL,
    LOCAL_SESSION,
    OPEN_ACL,
    PERSISTENT,
    READ,
    TTL,
    WRITE,
    Acls,
    BadArgumentsError,
    BadVersionError,
    Body,
    CheckTxn,
    CloseSessionTxn,
    CodeError,
    CreateSessionTxn,
    CreateTxn,
    DeleteTxn,
    EphemeralOnLocalSessionError,
    ErrorTxn,
    FailedMultiTxn,
    InvalidAclError,
    MarshallingError,
    Members,
    NoAuthError,
    NoChildrenForEphemeralsError,
    NodeExistsError,
    NoNodeError,
    NotEmptyError,
    QuotaExceededError,
    ReconfigDisabledError,
    ReconfigTxn,
    Request,
    SessionExpiredError,
    SessionMovedError,
    SetAclTxn,
    SetDataTxn,
    Txn,
    UnimplementedError,
    Zxid,
    counter_of,
    epoch_of,
    members_text,
    origin_of,
    validate,
)
from zabpy.sessions import is_local_id, origin_of_session
from zabpy.tree import CONFIG_PATH, DEFAULT_SCHEMES, Exceeded, Znode, allowed, normalize
from zabpy.wire import UNDECODABLE, NullPathError, Op, Reader, Record, records as r

from .multi import prepare_multi
from .pending import Change, Pending, ephemeral_bytes
from .reconfig import EnsembleView, judge_reconfig
from .replies import PASSWORD_BYTES
from .state import State

#: ZooKeeper's largest time to live, 40 bits of milliseconds.
TTL_MS_MAX = 0xFF_FFFF_FFFF
_UNDELETABLE = frozenset(("/", "/zookeeper", "/zookeeper/quota", "/zookeeper/config"))
_SEQUENTIAL = frozenset((2, 3, 6))
_new: Callable[..., Any] = tuple.__new__  # half the cost of calling a NamedTuple by name
_EPHEMERAL = frozenset((1, 3))
_unpack_int = struct.Struct(">i").unpack_from
_NULL = b"\xff\xff\xff\xff"
_LONG = struct.Struct(">q")
_PACKED_OPEN_ACL = b"\0\0\0\1\0\0\0\x1f\0\0\0\x05world\0\0\0\x06anyone"


class Rules(NamedTuple):
    """What this ensemble allows, and how much.

    ``txn_bytes_max`` bounds what a request may bring, and a transaction in which ACLs were expanded, far below the
    frame between servers.
    ``ephemeral_bytes_max`` bounds what a session's ephemerals take in its closeSession (their paths in UTF-8 and 5
    bytes each), so that this is never too long to propose: half a frame between servers. A create beyond it is refused
    with QUOTAEXCEEDED; with paths of 50 bytes that is the 610,000th ephemeral of one session.
    ``enforce_quota``: what goes beyond a hard quota is refused; otherwise only noticed, as with a soft one.
    """

    extended_types: bool = False
    reconfig_enabled: bool = False
    acl_schemes: frozenset[str] = DEFAULT_SCHEMES
    txn_bytes_max: int = 16 * 1024 * 1024
    ephemeral_bytes_max: int = 32 * 1024 * 1024
    enforce_quota: bool = False


class Preparer:
    """Judges requests, in the order in which their transactions will stand. Made anew by every leader.

    Args:
        state: applied to the end of the log; whoever applies to it from now on calls ``pending.forget`` behind.
        owners: session id → the server it is connected to. A session that is not in it belongs to whoever asks first
            (a leader's first knowledge); the layer above writes to it when a session is revalidated.
        random_bytes: for passwords of sessions.
        quota_exceeded: told of every limit of a quota that a request goes beyond.
        ensemble: what reconfig changes; None of a standalone server.
    """

    def __init__(
        self,
        state: State,
        random_bytes: Callable[[int], bytes],
        *,
        owners: MutableMapping[int, int] | None = None,
        pending: Pending | None = None,
        rules: Rules = Rules(),  # noqa: B008  # immutable
        quota_exceeded: Callable[[Exceeded], None] = lambda exceeded: None,
        ensemble: EnsembleView | None = None,
    ) -> None:
        self.state = state
        self.pending = Pending(state) if pending is None else pending
        self.owners: MutableMapping[int, int] = {} if owners is None else owners
        self.rules = rules
        self.ensemble = ensemble
        self._reconfigured: Members | None = None
        self._random_bytes = random_bytes
        self._quota_exceeded = quota_exceeded
        self._time_ms = state.last_time_ms
        self._next = 0

    def prepare(self, request: Request, zxid: Zxid, time_ms: int) -> Txn:
        """The transaction that answers ``request`` at ``zxid``. It must be proposed: what is judged next builds on it.

        Never raises for anything that a client or a peer can have put into the request.

        Args:
            zxid: of the first one the place behind the last applied entry, then each the next.
            time_ms: the wall clock; the transaction's time does not go back when the clock does.
        """
        if self._next != zxid:
            # The first one. Were something of the log not applied yet, `pending` would not know of it.
            assert self._next == 0 and zxid == self.state.last_applied + 1, (self._next, zxid)
        self._next = zxid + 1
        if time_ms > self._time_ms:
            self._time_ms = time_ms
        else:
            time_ms = self._time_ms
        request_id, session_id, xid, op, record, _ = request
        body: Body
        try:
            if len(record) > self.rules.txn_bytes_max:
                raise MarshallingError(f"record of {len(record)} bytes")
            judgement = JUDGEMENTS.get(op)
            if judgement is not None:
                read, judge = judgement
                body = judge(self, request, zxid, op, read(record))
            elif op == Op.CREATE_SESSION:
                session_id, body = self._create_session(request, zxid)
            elif op == Op.CLOSE_SESSION:
                session_id, body = self._close_session(request, zxid)
            elif op == Op.DELETE_CONTAINER:
                body = self._delete_container(request, zxid)
            else:
                raise UnimplementedError(f"operation {op}")
        except CodeError as error:
            body = ErrorTxn(error.code)
        return _new(Txn, (session_id, xid, request_id, time_ms, body))  # type: ignore[no-any-return]

    # Sessions --------------------------------------------------------------------------------------------------------

    def check_session(self, request: Request) -> None:
        """Raises unless the session is open, not closing (trap F3), and the asking server's; or local there."""
        request_id, session_id, _, _, _, _ = request
        if not self.pending.is_open(session_id):
            if session_id == LOCAL_SESSION:
                return
            raise SessionExpiredError(f"session {session_id:#x} is closed or closing")
        origin = origin_of(request_id)
        if self.owners.setdefault(session_id, origin) != origin:
            raise SessionMovedError(f"session {session_id:#x} is not at server {origin} any more")

    def _create_session(self, request: Request, zxid: Zxid) -> tuple[int, CreateSessionTxn]:
        """An id that was never used and never will be: the asking server, and the transaction's own place."""
        if request.session_id:
            return request.session_id, self._upgrade_session(request, zxid)
        (timeout_ms,) = r.CreateSessionRequest.read(Reader(request.record))
        if timeout_ms < 0:
            raise MarshallingError(f"a timeout of {timeout_ms} ms")
        origin = origin_of(request.request_id)
        # Bit 55 stays clear: with it set, an id is one that a server gave to a session of its own (`sessions.local`).
        number = origin << 56 | (epoch_of(zxid) & 0x7FFFFF) << 32 | counter_of(zxid)
        session_id: int = _LONG.unpack(number.to_bytes(8, "big"))[0]
        self.owners[session_id] = origin
        self.pending.open(session_id, zxid)
        return session_id, CreateSessionTxn(timeout_ms, self._random_bytes(PASSWORD_BYTES))

    def _upgrade_session(self, request: Request, zxid: Zxid) -> CreateSessionTxn:
        """A local session becomes one that all servers know; asked by its server, in front of its first ephemeral."""
        session_id, origin = request.session_id, origin_of(request.request_id)
        if session_id == LOCAL_SESSION or not is_local_id(session_id) or origin_of_session(session_id) != origin:
            raise UnimplementedError(f"session {session_id:#x} is not a local one of server {origin}")
        timeout_ms, password = r.UpgradeSessionRequest.read(Reader(request.record))
        if timeout_ms < 0 or len(password) != PASSWORD_BYTES:
            raise MarshallingError(f"a timeout of {timeout_ms} ms, a password of {len(password)} bytes")
        if self.pending.knows(session_id):
            raise SessionExpiredError(f"session {session_id:#x} was upgraded before")
        self.owners[session_id] = origin
        self.pending.open(session_id, zxid)
        return CreateSessionTxn(timeout_ms, password)

    def _close_session(self, request: Request, zxid: Zxid) -> tuple[int, CloseSessionTxn]:
        """Asked by its client, or by the leader itself (session 0) for one that has expired, wherever that is."""
        session_id = request.session_id
        if session_id == LOCAL_SESSION:
            raise UnimplementedError("a local session is closed where it is")
        if session_id:
            self.check_session(request)
        else:
            session_id = Reader(request.record).long()
            if not self.pending.is_open(session_id):
                raise SessionExpiredError(f"session {session_id:#x} is closed or closing")
        paths = self.pending.close(session_id, zxid)
        self.owners.pop(session_id, None)
        return session_id, CloseSessionTxn(tuple(paths))

    # Znodes ----------------------------------------------------------------------------------------------------------

    def create(self, request: Request, zxid: Zxid, op: int, asked: r.CreateRequest | r.CreateTTLRequest) -> CreateTxn:
        path, data, acl, flags = asked.path, asked.data, asked.acl, asked.flags
        if not 0 <= flags <= 6:
            raise BadArgumentsError(f"create flags {flags}")
        ttl_ms = 0
        if flags >= 5 and not self.rules.extended_types:
            raise UnimplementedError("TTL znodes are switched off")
        if isinstance(asked, r.CreateTTLRequest):
            ttl_ms, kind = asked.ttl_ms, TTL
            if not 1 <= ttl_ms <= TTL_MS_MAX or flags < 5:
                raise BadArgumentsError(f"time to live {ttl_ms} with create flags {flags}")
        elif flags >= 5:
            raise BadArgumentsError("create flags of a TTL znode without a time to live")
        elif op == Op.CREATE_CONTAINER:
            kind = CONTAINER
        else:
            kind = EPHEMERAL if flags in _EPHEMERAL else PERSISTENT
        self.check_session(request)
        if kind == EPHEMERAL and request.session_id == LOCAL_SESSION:
            raise EphemeralOnLocalSessionError(path)
        cut = path.rfind("/")
        if cut < 0 or "\0" in path:
            raise _bad_path(request, path)
        identities = request.identities
        acl = OPEN_ACL if acl is OPEN_ACL else self._acl(request, acl)
        above = path[:cut] or "/"
        pending = self.pending
        parent = pending.see(above)
        if parent is None:
            raise NoNodeError(above)
        if parent.acl is not OPEN_ACL and not allowed(parent.acl, CREATE, identities):
            raise NoAuthError(above)
        if flags in _SEQUENTIAL:
            path = f"{path}{_int32(parent.creations):010d}"
        validate(path)
        if pending.see(path) is not None:
            raise NodeExistsError(path)
        if parent.kind == EPHEMERAL:
            raise NoChildrenForEphemeralsError(above)
        if self.state.tree.quotas.paths:
            self._check_quota(path, 1, len(data) if data else 0)
        owner = 0
        if kind == EPHEMERAL:
            owner = request.session_id
            if pending.ephemeral_bytes(owner) + ephemeral_bytes(path) > self.rules.ephemeral_bytes_max:
                raise QuotaExceededError(f"too many ephemerals of session {owner:#x}")
        pending.create(path, zxid, kind, owner, acl, len(data) if data else 0)
        change = pending.change(above, zxid)
        change.creations += 1
        change.child_count += 1
        return CreateTxn(path, data, acl, kind, owner, ttl_ms, change.creations)

    def delete(self, request: Request, zxid: Zxid, op: int, asked: r.DeleteRequest) -> DeleteTxn:
        self.check_session(request)
        path, version = asked
        cut = path.rfind("/")
        if cut < 0 or "\0" in path or path in _UNDELETABLE:
            raise _bad_path(request, path)
        above = path[:cut] or "/"
        parent = self.pending.see(above)
        if parent is None:
            raise NoNodeError(above)
        if not allowed(parent.acl, DELETE, request.identities):
            raise NoAuthError(above)
        znode = self.pending.see(path)
        if znode is None:
            raise NoNodeError(path)
        if version not in (-1, znode.version):
            raise BadVersionError(path)
        if _child_count(znode):
            raise NotEmptyError(path)
        self._remove(path, zxid)
        return DeleteTxn(path)

    def _remove(self, path: str, zxid: Zxid) -> None:
        self.pending.delete(path, zxid)
        self.pending.change(path[: path.rindex("/")] or "/", zxid).child_count -= 1

    def set_data(self, request: Request, zxid: Zxid, op: int, asked: r.SetDataRequest) -> SetDataTxn:
        self.check_session(request)
        path, data, version = asked
        pending = self.pending
        znode = pending.see(path)
        if znode is None:
            validate(path)  # a path that is there is valid
            raise NoNodeError(path)
        if znode.acl is not OPEN_ACL and not allowed(znode.acl, WRITE, request.identities):
            raise NoAuthError(path)
        data_bytes = len(data) if data else 0
        if self.state.tree.quotas.paths:
            self._check_quota(path, 0, data_bytes - _data_bytes(znode))
        if version != -1 and version != znode.version:
            raise BadVersionError(path)
        if path == CONFIG_PATH and self.ensemble is not None:
            # ZooKeeper lets super write anything here, and its servers then go by what they cannot read any more.
            raise BadArgumentsError("the configuration changes by reconfig only")
        change = pending.change(path, zxid)
        change.data_bytes = data_bytes
        change.version = version = _next_version(change.version)
        return _new(SetDataTxn, (path, data, version))  # type: ignore[no-any-return]

    def _check_quota(self, path: str, count: int, more: int) -> None:
        """By the usage that is applied, as ZooKeeper does: what is outstanding, also in the same multi, adds nothing,
        so pipelined writes can go a little beyond."""
        for exceeded in self.state.tree.quotas.exceeded(path, count, more):
            self._quota_exceeded(exceeded)
            if exceeded.hard and self.rules.enforce_quota:
                raise QuotaExceededError(exceeded.path)

    def set_acl(self, request: Request, zxid: Zxid, op: int, asked: r.SetACLRequest) -> SetAclTxn:
        self.check_session(request)
        path, acl, version = asked
        validate(path)
        acl = self._acl(request, acl)
        znode = self.pending.see(path)
        if znode is None:
            raise NoNodeError(path)
        if not allowed(znode.acl, ADMIN, request.identities):
            raise NoAuthError(path)
        if version not in (-1, znode.aversion):
            raise BadVersionError(path)
        change = self.pending.change(path, zxid)
        change.acl = acl
        change.aversion = aversion = _next_version(change.aversion)
        return SetAclTxn(path, acl, aversion)

    def check(self, request: Request, zxid: Zxid, op: int, asked: r.CheckVersionRequest) -> CheckTxn:
        self.check_session(request)
        path, version = asked
        validate(path)
        znode = self.pending.see(path)
        if znode is None:
            raise NoNodeError(path)
        if not allowed(znode.acl, READ, request.identities):
            raise NoAuthError(path)
        if version not in (-1, znode.version):
            raise BadVersionError(path)
        return CheckTxn(path)

    def reconfig(self, request: Request, zxid: Zxid, op: int, asked: r.ReconfigRequest) -> ReconfigTxn:
        if not self.rules.reconfig_enabled:
            raise ReconfigDisabledError("reconfiguration is switched off")
        self.check_session(request)
        if self.ensemble is None:
            raise UnimplementedError("a standalone server has no configuration to change")
        # ZooKeeper refuses a second one while one is outstanding (-14): there a change of voters needs two quorums
        # until it is final. Without one each builds on the one before, as all requests do; and a client that was told
        # of the first by a server faster than its leader may ask for the second at once.
        outstanding = self._reconfigured
        if outstanding is None or outstanding.version <= self.state.last_applied:
            outstanding = self.ensemble.members()
        znode = self.pending.see(CONFIG_PATH)
        assert znode is not None  # it cannot be deleted
        may = allowed(znode.acl, WRITE, request.identities)
        self._reconfigured = judge_reconfig(self.ensemble, outstanding, may, asked, zxid)
        text = members_text(*self._reconfigured).encode()
        change = self.pending.change(CONFIG_PATH, zxid)
        change.version, change.data_bytes = -1, len(text)
        return ReconfigTxn(text)

    def multi(self, request: Request, zxid: Zxid, op: int, asked: r.MultiRequest | None) -> Body:
        if asked is None:
            return FailedMultiTxn(MarshallingError.code, 0, 0)

        def judge(op: int, record: Record) -> Any:
            return IN_MULTI[op](self, request, zxid, op, record)

        return prepare_multi(self.pending, asked, judge, self.rules.txn_bytes_max)

    def _delete_container(self, request: Request, zxid: Zxid) -> DeleteTxn:
        """Asked by the leader's own upkeep about what is applied; given up when anything there is outstanding."""
        if request.session_id:  # ZooKeeper reads the path elsewhere in a client's packet, where it is never valid
            raise BadArgumentsError("a client asked for deleteContainer")
        (path,) = r.DeleteContainerRequest.read(Reader(request.record))
        znode = self.pending.see(path)
        if znode is None:
            raise NoNodeError(path)
        if znode.kind not in (CONTAINER, TTL):
            raise BadVersionError(path)
        if _child_count(znode) or self.pending.touched(path):
            raise NotEmptyError(path)
        self._remove(path, zxid)
        return DeleteTxn(path)

    def _acl(self, request: Request, acl: Acls) -> Acls:
        """The list to store."""
        identities = request.identities
        growth = sum(32 + 4 * len(id) for _, id in identities)
        if len(acl) * growth > self.rules.txn_bytes_max:
            if sum(scheme == "auth" for _, scheme, _ in acl) * growth > self.rules.txn_bytes_max:
                raise InvalidAclError("too long with all identities in place of 'auth'")
        return normalize(acl, identities, self.rules.acl_schemes)


def _child_count(znode: Change | Znode) -> int:
    if isinstance(znode, Change):
        return znode.child_count
    return len(znode.children) if znode.children else 0


def _data_bytes(znode: Change | Znode) -> int:
    if isinstance(znode, Change):
        return znode.data_bytes
    return len(znode.data) if znode.data else 0


def _next_version(version: int) -> int:
    """One more; never -1, which in a request means any version."""
    if 0 <= version < 0x7FFFFFFF:
        return version + 1
    return 0 if version == -2 else _int32(version + 1)


def _int32(number: int) -> int:
    return number if -0x80000000 <= number <= 0x7FFFFFFF else (number + 0x80000000 & 0xFFFFFFFF) - 0x80000000


def _read_create(record: bytes) -> r.CreateRequest:
    """As the record reads itself, but quick for what nearly all are: some data, and the open ACL."""
    tail = len(record) - 4 - len(_PACKED_OPEN_ACL)
    if tail >= 8 and record[tail:-4] == _PACKED_OPEN_ACL:
        (length,) = _unpack_int(record)
        end = 4 + length
        if 4 <= end <= tail - 4:
            (data_length,) = _unpack_int(record, end)
            if data_length >= 0 and end + 4 + data_length == tail:
                path = record[4:end].decode("utf-8", UNDECODABLE)
                return r.CreateRequest(
                    path, record[end + 4 : tail], OPEN_ACL, _unpack_int(record, tail + len(_PACKED_OPEN_ACL))[0]
                )
    return r.CreateRequest.read(Reader(record))


def _read_set_data(record: bytes) -> r.SetDataRequest:
    """As the record reads itself, but quick for one that has some data and is as it should be."""
    size = len(record)
    if size >= 12:
        (length,) = _unpack_int(record)
        end = 4 + length
        if 4 <= end <= size - 8:
            (data_length,) = _unpack_int(record, end)
            at = end + 4 + data_length
            if data_length >= 0 and at <= size - 4:
                path = record[4:end].decode("utf-8", UNDECODABLE)
                (version,) = _unpack_int(record, at)
                return _new(r.SetDataRequest, (path, record[end + 4 : at], version))  # type: ignore[no-any-return]
    return r.SetDataRequest.read(Reader(record))


def _bad_path(request: Request, path: str) -> CodeError:
    """Of a create or delete: a null path, which reads as the empty one, has an error of its own."""
    if request.record.startswith(_NULL):
        return MarshallingError("null path")
    return BadArgumentsError(f"path {path!r}")


def _read_multi(record: bytes) -> r.MultiRequest | None:
    """None: all of it can be read, but a path is null, and that has an answer of its own."""
    try:
        return r.MultiRequest.read(Reader(record))
    except NullPathError:
        return None


def _reading(record: type[Record]) -> Callable[[bytes], Record]:
    return lambda raw: record.read(Reader(raw))


#: Preparer, request, zxid, opcode, record → body, or a `CodeError` and nothing changed.
Judge = Callable[[Preparer, Request, Zxid, int, Any], Body]


class Judgement(NamedTuple):
    """How the bytes of a request are read, and who judges what they say."""

    read: Callable[[bytes], Any]
    judge: Judge


#: What may stand in a multi.
IN_MULTI: Mapping[int, Judge] = {
    Op.CREATE: Preparer.create,
    Op.CREATE2: Preparer.create,
    Op.CREATE_CONTAINER: Preparer.create,
    Op.CREATE_TTL: Preparer.create,
    Op.DELETE: Preparer.delete,
    Op.SET_DATA: Preparer.set_data,
    Op.CHECK: Preparer.check,
}

#: What clients may ask for by itself, but for what `Preparer.prepare` treats before it looks here.
JUDGEMENTS: Mapping[int, Judgement] = {
    int(Op.CREATE): Judgement(_read_create, Preparer.create),
    int(Op.CREATE2): Judgement(_read_create, Preparer.create),
    int(Op.CREATE_CONTAINER): Judgement(_read_create, Preparer.create),
    int(Op.CREATE_TTL): Judgement(_reading(r.CreateTTLRequest), Preparer.create),
    int(Op.DELETE): Judgement(_reading(r.DeleteRequest), Preparer.delete),
    int(Op.SET_DATA): Judgement(_read_set_data, Preparer.set_data),
    int(Op.SET_ACL): Judgement(_reading(r.SetACLRequest), Preparer.set_acl),
    int(Op.RECONFIG): Judgement(_reading(r.ReconfigRequest), Preparer.reconfig),
    int(Op.MULTI): Judgement(_read_multi, Preparer.multi),
}
