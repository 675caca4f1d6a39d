"""The records of the client protocol, field for field in wire order.

A null string reads as the empty one, since kazoo writes every empty string as null; but a null path of a read or a
watch is refused, as ZooKeeper refuses it, or kept apart where ZooKeeper refuses it later. Null and empty *data* differ
and are kept apart as None and ``b""``. A null vector of ACLs reads as the empty one, which is as invalid. Nothing here
is ever written as null but such data, and the path of a sync.
"""

from collections.abc import Mapping, Sequence
from struct import Struct
from typing import NamedTuple, Protocol, Self, cast

from zabpy.model import OPEN_ACL, STAT_STRUCT, Acl, Acls, Stat

from .jute import JuteError, NullPathError, Reader, Writer, bytes_of

_new = tuple.__new__
_INT = Struct(">i")
_MULTI_HEADER = Struct(">i?i")
_READ_OF_MANY = Struct(">i?ii")  # and the length of the path
#: A list of paths as a client sent it.
Watched = tuple[str | None, ...] | None


class Record(Protocol):
    """What every record can: be read, be written."""

    @classmethod
    def read(cls, r: Reader) -> Self: ...

    def write(self, w: Writer) -> None: ...


def packed_path(path: str) -> bytes:
    """A record that is nothing but a path, as getACL's."""
    raw = bytes_of(path)
    return _INT.pack(len(raw)) + raw


def packed_reads(opcode: int, paths: Sequence[str]) -> bytes:
    """The bytes of a `MultiReadRequest` of so many getData or getChildren, in a third of the time."""
    pieces: list[bytes] = []
    for path in paths:
        raw = bytes_of(path)
        pieces += (_READ_OF_MANY.pack(opcode, False, -1, len(raw)), raw, b"\0")
    pieces.append(_MULTI_HEADER.pack(-1, True, -1))
    return b"".join(pieces)


def packed(record: Record) -> bytes:
    """The record's bytes."""
    w = Writer()
    record.write(w)
    return w.bytes()


class ClientInfo(NamedTuple):
    """One identity of a connection, as `whoAmI` tells it."""

    auth_scheme: str
    user: str

    @classmethod
    def read(cls, r: Reader) -> Self:
        return cls(r.text(), r.text())

    def write(self, w: Writer) -> None:
        w.ustring(self.auth_scheme)
        w.ustring(self.user)


class ErrorResponse(NamedTuple):
    """The error of one operation of a multi, and the int 0 that answers addWatch."""

    err: int

    @classmethod
    def read(cls, r: Reader) -> Self:
        return cls(r.int())

    def write(self, w: Writer) -> None:
        w.int(self.err)


class MultiHeader(NamedTuple):
    """In front of each operation and each result of a multi, and once more, with ``done``, behind the last."""

    type: int
    done: bool
    err: int

    @classmethod
    def read(cls, r: Reader) -> Self:
        return cls(r.int(), r.bool(), r.int())

    def write(self, w: Writer) -> None:
        w.int(self.type)
        w.bool(self.done)
        w.int(self.err)


# Headers -------------------------------------------------------------------------------------------------------------


class RequestHeader(NamedTuple):
    """In front of every request but the first packet. ``type`` is the opcode; ``xid`` is echoed, whatever it is."""

    xid: int
    type: int

    @classmethod
    def read(cls, r: Reader) -> Self:
        return cls(r.int(), r.int())

    def write(self, w: Writer) -> None:
        w.int(self.xid)
        w.int(self.type)


class ReplyHeader(NamedTuple):
    """In front of every reply but the first packet; a record follows only if ``err`` is 0."""

    xid: int
    zxid: int
    err: int

    @classmethod
    def read(cls, r: Reader) -> Self:
        return cls(r.int(), r.long(), r.int())

    def write(self, w: Writer) -> None:
        w.int(self.xid)
        w.long(self.zxid)
        w.int(self.err)


class WatcherEvent(NamedTuple):
    """The body of a packet with xid -1. ``state`` is 3, SyncConnected, in all that a server sends."""

    type: int
    state: int
    path: str

    @classmethod
    def read(cls, r: Reader) -> Self:
        return cls(r.int(), r.int(), r.text())

    def write(self, w: Writer) -> None:
        w.int(self.type)
        w.int(self.state)
        w.ustring(self.path)


# The handshake -------------------------------------------------------------------------------------------------------


class ConnectRequest(NamedTuple):
    """The first packet of a client. ``read_only`` is None if the client left the byte out, as old ones do."""

    protocol_version: int
    last_zxid_seen: int
    timeout_ms: int
    session_id: int
    password: bytes
    read_only: bool | None

    @classmethod
    def read(cls, r: Reader) -> Self:
        fixed = (r.int(), r.long(), r.int(), r.long(), r.buffer() or b"")
        return cls(*fixed, r.bool() if r.left else None)

    def write(self, w: Writer) -> None:
        w.int(self.protocol_version)
        w.long(self.last_zxid_seen)
        w.int(self.timeout_ms)
        w.long(self.session_id)
        w.buffer(self.password)
        if self.read_only is not None:
            w.bool(self.read_only)


class ConnectResponse(NamedTuple):
    """The answer. ``timeout_ms`` and ``session_id`` 0: no such session. ``read_only`` stands if the request had it."""

    protocol_version: int
    timeout_ms: int
    session_id: int
    password: bytes
    read_only: bool | None

    @classmethod
    def read(cls, r: Reader) -> Self:
        fixed = (r.int(), r.int(), r.long(), r.buffer() or b"")
        return cls(*fixed, r.bool() if r.left else None)

    def write(self, w: Writer) -> None:
        w.int(self.protocol_version)
        w.int(self.timeout_ms)
        w.long(self.session_id)
        w.buffer(self.password)
        if self.read_only is not None:
            w.bool(self.read_only)


# Requests ------------------------------------------------------------------------------------------------------------


class CreateRequest(NamedTuple):
    """create, create2, createContainer."""

    path: str
    data: bytes | None
    acl: Acls
    flags: int

    @classmethod
    def read(cls, r: Reader) -> Self:
        return cls(r.text(), r.buffer(), read_acls(r), r.int())

    def write(self, w: Writer) -> None:
        w.ustring(self.path)
        w.buffer(self.data)
        write_acls(w, self.acl)
        w.int(self.flags)


class CreateTTLRequest(NamedTuple):
    """createTTL."""

    path: str
    data: bytes | None
    acl: Acls
    flags: int
    ttl_ms: int

    @classmethod
    def read(cls, r: Reader) -> Self:
        return cls(r.text(), r.buffer(), read_acls(r), r.int(), r.long())

    def write(self, w: Writer) -> None:
        w.ustring(self.path)
        w.buffer(self.data)
        write_acls(w, self.acl)
        w.int(self.flags)
        w.long(self.ttl_ms)


class DeleteRequest(NamedTuple):
    path: str
    version: int

    @classmethod
    def read(cls, r: Reader) -> Self:
        return cls(r.text(), r.int())

    def write(self, w: Writer) -> None:
        w.ustring(self.path)
        w.int(self.version)


class ExistsRequest(NamedTuple):
    path: str
    watch: bool

    @classmethod
    def read(cls, r: Reader) -> Self:
        return cls(_path(r), r.bool())

    def write(self, w: Writer) -> None:
        w.ustring(self.path)
        w.bool(self.watch)


class GetDataRequest(NamedTuple):
    path: str | None
    watch: bool

    @classmethod
    def read(cls, r: Reader) -> Self:
        return cls(r.ustring(), r.bool())

    def write(self, w: Writer) -> None:
        w.ustring(self.path)
        w.bool(self.watch)


class SetDataRequest(NamedTuple):
    path: str
    data: bytes | None
    version: int

    @classmethod
    def read(cls, r: Reader) -> Self:
        return cls(r.text(), r.buffer(), r.int())

    def write(self, w: Writer) -> None:
        w.ustring(self.path)
        w.buffer(self.data)
        w.int(self.version)


class GetACLRequest(NamedTuple):
    path: str

    @classmethod
    def read(cls, r: Reader) -> Self:
        return cls(_path(r))

    def write(self, w: Writer) -> None:
        w.ustring(self.path)


class SetACLRequest(NamedTuple):
    """``version`` is the expected aversion."""

    path: str
    acl: Acls
    version: int

    @classmethod
    def read(cls, r: Reader) -> Self:
        return cls(r.text(), read_acls(r), r.int())

    def write(self, w: Writer) -> None:
        w.ustring(self.path)
        write_acls(w, self.acl)
        w.int(self.version)


class GetChildrenRequest(NamedTuple):
    path: str | None
    watch: bool

    @classmethod
    def read(cls, r: Reader) -> Self:
        return cls(r.ustring(), r.bool())

    def write(self, w: Writer) -> None:
        w.ustring(self.path)
        w.bool(self.watch)


class GetChildren2Request(NamedTuple):
    path: str
    watch: bool

    @classmethod
    def read(cls, r: Reader) -> Self:
        return cls(_path(r), r.bool())

    def write(self, w: Writer) -> None:
        w.ustring(self.path)
        w.bool(self.watch)


class CheckVersionRequest(NamedTuple):
    path: str
    version: int

    @classmethod
    def read(cls, r: Reader) -> Self:
        return cls(r.text(), r.int())

    def write(self, w: Writer) -> None:
        w.ustring(self.path)
        w.int(self.version)


class SyncRequest(NamedTuple):
    path: str | None

    @classmethod
    def read(cls, r: Reader) -> Self:
        return cls(r.ustring())

    def write(self, w: Writer) -> None:
        w.ustring(self.path)


class DeleteContainerRequest(NamedTuple):
    """Internal: made by the server's own sweeper, refused from clients."""

    path: str

    @classmethod
    def read(cls, r: Reader) -> Self:
        return cls(r.text())

    def write(self, w: Writer) -> None:
        w.ustring(self.path)


class ReconfigRequest(NamedTuple):
    """None where a part was left out."""

    joining_servers: str | None
    leaving_servers: str | None
    new_members: str | None
    cur_config_id: int

    @classmethod
    def read(cls, r: Reader) -> Self:
        return cls(r.ustring(), r.ustring(), r.ustring(), r.long())

    def write(self, w: Writer) -> None:
        w.ustring(self.joining_servers)
        w.ustring(self.leaving_servers)
        w.ustring(self.new_members)
        w.long(self.cur_config_id)


class AuthPacket(NamedTuple):
    """``type`` is 0 and ignored."""

    type: int
    scheme: str
    auth: bytes | None

    @classmethod
    def read(cls, r: Reader) -> Self:
        return cls(r.int(), r.text(), r.buffer())

    def write(self, w: Writer) -> None:
        w.int(self.type)
        w.ustring(self.scheme)
        w.buffer(self.auth)


class SetWatches(NamedTuple):
    """What is null is refused in its turn: what stands before it is done."""

    relative_zxid: int
    data_watches: Watched
    exist_watches: Watched
    child_watches: Watched

    @classmethod
    def read(cls, r: Reader) -> Self:
        return cls(r.long(), _watched(r), _watched(r), _watched(r))

    def write(self, w: Writer) -> None:
        w.long(self.relative_zxid)
        w.vector(self.data_watches, Writer.ustring)
        w.vector(self.exist_watches, Writer.ustring)
        w.vector(self.child_watches, Writer.ustring)


class SetWatches2(NamedTuple):
    """`SetWatches` and two more lists."""

    relative_zxid: int
    data_watches: Watched
    exist_watches: Watched
    child_watches: Watched
    persistent_watches: Watched
    persistent_recursive_watches: Watched

    @classmethod
    def read(cls, r: Reader) -> Self:
        return cls(r.long(), _watched(r), _watched(r), _watched(r), _watched(r), _watched(r))

    def write(self, w: Writer) -> None:
        w.long(self.relative_zxid)
        w.vector(self.data_watches, Writer.ustring)
        w.vector(self.exist_watches, Writer.ustring)
        w.vector(self.child_watches, Writer.ustring)
        w.vector(self.persistent_watches, Writer.ustring)
        w.vector(self.persistent_recursive_watches, Writer.ustring)


class AddWatchRequest(NamedTuple):
    """``mode`` 0 is persistent, 1 persistent recursive."""

    path: str
    mode: int

    @classmethod
    def read(cls, r: Reader) -> Self:
        return cls(_path(r), r.int())

    def write(self, w: Writer) -> None:
        w.ustring(self.path)
        w.int(self.mode)


class CheckWatchesRequest(NamedTuple):
    """``type`` is a watcher type: 1 children, 2 data, 3 any, 4 persistent, 5 persistent recursive."""

    path: str
    type: int

    @classmethod
    def read(cls, r: Reader) -> Self:
        return cls(_path(r), r.int())

    def write(self, w: Writer) -> None:
        w.ustring(self.path)
        w.int(self.type)


class RemoveWatchesRequest(NamedTuple):
    """``type`` as in `CheckWatchesRequest`."""

    path: str | None
    type: int

    @classmethod
    def read(cls, r: Reader) -> Self:
        return cls(r.ustring(), r.int())

    def write(self, w: Writer) -> None:
        w.ustring(self.path)
        w.int(self.type)


class GetEphemeralsRequest(NamedTuple):
    prefix_path: str

    @classmethod
    def read(cls, r: Reader) -> Self:
        return cls(r.text())

    def write(self, w: Writer) -> None:
        w.ustring(self.prefix_path)


class GetAllChildrenNumberRequest(NamedTuple):
    path: str

    @classmethod
    def read(cls, r: Reader) -> Self:
        return cls(_path(r))

    def write(self, w: Writer) -> None:
        w.ustring(self.path)


class GetSASLRequest(NamedTuple):
    token: bytes | None

    @classmethod
    def read(cls, r: Reader) -> Self:
        return cls(r.buffer())

    def write(self, w: Writer) -> None:
        w.buffer(self.token)


class CreateSessionRequest(NamedTuple):
    """Internal: what the handshake asks of the leader."""

    timeout_ms: int

    @classmethod
    def read(cls, r: Reader) -> Self:
        return cls(r.int())

    def write(self, w: Writer) -> None:
        w.int(self.timeout_ms)


class UpgradeSessionRequest(NamedTuple):
    """Internal: the same for a local session that is to become one that all servers know."""

    timeout_ms: int
    password: bytes

    @classmethod
    def read(cls, r: Reader) -> Self:
        return cls(r.int(), r.buffer() or b"")

    def write(self, w: Writer) -> None:
        w.int(self.timeout_ms)
        w.buffer(self.password)


# Replies -------------------------------------------------------------------------------------------------------------


class CreateResponse(NamedTuple):
    path: str

    @classmethod
    def read(cls, r: Reader) -> Self:
        return cls(r.text())

    def write(self, w: Writer) -> None:
        w.ustring(self.path)


class Create2Response(NamedTuple):
    path: str
    stat: Stat

    @classmethod
    def read(cls, r: Reader) -> Self:
        return cls(r.text(), read_stat(r))

    def write(self, w: Writer) -> None:
        w.ustring(self.path)
        w.raw(self.stat.packed())


class ExistsResponse(NamedTuple):
    stat: Stat

    @classmethod
    def read(cls, r: Reader) -> Self:
        return cls(read_stat(r))

    def write(self, w: Writer) -> None:
        w.raw(self.stat.packed())


class SetDataResponse(NamedTuple):
    stat: Stat

    @classmethod
    def read(cls, r: Reader) -> Self:
        return cls(read_stat(r))

    def write(self, w: Writer) -> None:
        w.raw(self.stat.packed())


class SetACLResponse(NamedTuple):
    stat: Stat

    @classmethod
    def read(cls, r: Reader) -> Self:
        return cls(read_stat(r))

    def write(self, w: Writer) -> None:
        w.raw(self.stat.packed())


class GetDataResponse(NamedTuple):
    """The data comes first."""

    data: bytes | None
    stat: Stat

    @classmethod
    def read(cls, r: Reader) -> Self:
        return cls(r.buffer(), read_stat(r))

    def write(self, w: Writer) -> None:
        w.buffer(self.data)
        w.raw(self.stat.packed())


class GetChildrenResponse(NamedTuple):
    """Bare names, in no order that a client may count on."""

    children: tuple[str, ...]

    @classmethod
    def read(cls, r: Reader) -> Self:
        return cls(_texts(r))

    def write(self, w: Writer) -> None:
        w.vector(self.children, Writer.ustring)


class GetChildren2Response(NamedTuple):
    children: tuple[str, ...]
    stat: Stat

    @classmethod
    def read(cls, r: Reader) -> Self:
        return cls(_texts(r), read_stat(r))

    def write(self, w: Writer) -> None:
        w.vector(self.children, Writer.ustring)
        w.raw(self.stat.packed())


class GetACLResponse(NamedTuple):
    acl: Acls
    stat: Stat

    @classmethod
    def read(cls, r: Reader) -> Self:
        return cls(read_acls(r), read_stat(r))

    def write(self, w: Writer) -> None:
        write_acls(w, self.acl)
        w.raw(self.stat.packed())


class SyncResponse(NamedTuple):
    """The request's path, echoed."""

    path: str | None

    @classmethod
    def read(cls, r: Reader) -> Self:
        return cls(r.ustring())

    def write(self, w: Writer) -> None:
        w.ustring(self.path)


class GetEphemeralsResponse(NamedTuple):
    """Full paths."""

    ephemerals: tuple[str, ...]

    @classmethod
    def read(cls, r: Reader) -> Self:
        return cls(_texts(r))

    def write(self, w: Writer) -> None:
        w.vector(self.ephemerals, Writer.ustring)


class GetAllChildrenNumberResponse(NamedTuple):
    """All descendants."""

    total_number: int

    @classmethod
    def read(cls, r: Reader) -> Self:
        return cls(r.int())

    def write(self, w: Writer) -> None:
        w.int(self.total_number)


class WhoAmIResponse(NamedTuple):
    client_info: tuple[ClientInfo, ...]

    @classmethod
    def read(cls, r: Reader) -> Self:
        return cls(_infos(r))

    def write(self, w: Writer) -> None:
        w.vector(self.client_info, _write_record)


class SetSASLResponse(NamedTuple):
    token: bytes | None

    @classmethod
    def read(cls, r: Reader) -> Self:
        return cls(r.buffer())

    def write(self, w: Writer) -> None:
        w.buffer(self.token)


# Several operations at once ------------------------------------------------------------------------------------------

#: What may stand in a multi and in a multiRead: opcode to request. They never mix.
MULTI_WRITES: Mapping[int, type[Record]] = {
    1: CreateRequest,
    2: DeleteRequest,
    5: SetDataRequest,
    13: CheckVersionRequest,
    15: CreateRequest,
    19: CreateRequest,
    21: CreateTTLRequest,
}
MULTI_READS: Mapping[int, type[Record]] = {4: GetDataRequest, 8: GetChildrenRequest}

#: Result type to its body. Containers and TTL nodes answer as create2.
MULTI_RESULTS: Mapping[int, type[Record] | None] = {
    -1: ErrorResponse,
    1: CreateResponse,
    2: None,
    4: GetDataResponse,
    5: SetDataResponse,
    8: GetChildrenResponse,
    13: None,
    15: Create2Response,
}


class MultiRequest(NamedTuple):
    """Each operation as opcode and request.

    Reading refuses what makes ZooKeeper refuse the whole packet: what no operation could be read from, and, with
    an error of its own, a null path.
    """

    ops: tuple[tuple[int, Record], ...]

    @classmethod
    def read(cls, r: Reader) -> Self:
        ops, null_path = _read_ops(r)
        if null_path:
            raise NullPathError("null path in a multi")
        if ops and ops[0][0] not in MULTI_WRITES:
            raise JuteError("reads in a multi")
        return cls(ops)

    def write(self, w: Writer) -> None:
        _write_ops(w, self.ops)


class MultiReadRequest(NamedTuple):
    """As `MultiRequest`, of reads: null paths and writes, if there is nothing else, are the reader's to refuse."""

    ops: tuple[tuple[int, Record], ...]

    @classmethod
    def read(cls, r: Reader) -> Self:
        return cls(_read_ops(r)[0])

    def write(self, w: Writer) -> None:
        _write_ops(w, self.ops)


class MultiResult(NamedTuple):
    """``type`` is a key of `MULTI_RESULTS`; ``err`` is 0 unless that is -1."""

    type: int
    err: int
    body: Record | None


class MultiResponse(NamedTuple):
    """A result for each operation."""

    results: tuple[MultiResult, ...]

    @classmethod
    def read(cls, r: Reader) -> Self:
        results: list[MultiResult] = []
        while True:
            type, done, err = r.unpack(_MULTI_HEADER)
            if done:
                return cls(tuple(results))
            if type not in MULTI_RESULTS:
                raise JuteError(f"result of type {type} in a multi")
            body = MULTI_RESULTS[type]
            results.append(MultiResult(type, err, None if body is None else body.read(r)))

    def write(self, w: Writer) -> None:
        for result in self.results:
            MultiHeader(result.type, False, result.err).write(w)
            if result.body is not None:
                result.body.write(w)
        MultiHeader(-1, True, -1).write(w)


def _read_ops(r: Reader) -> tuple[tuple[tuple[int, Record], ...], bool]:
    """The operations, reads or writes; and whether a path was null, which most records read as empty. All begin with
    the path."""
    ops: list[tuple[int, Record]] = []
    allowed: Mapping[int, type[Record]] | None = None
    null_path = False
    while True:
        header = MultiHeader.read(r)
        if header.done:
            return tuple(ops), null_path
        allowed = allowed or (MULTI_READS if header.type in MULTI_READS else MULTI_WRITES)
        request = allowed.get(header.type)
        if request is None:
            raise JuteError(f"operation {header.type} in a multi")
        null_path = null_path or r.starts_null
        ops.append((header.type, request.read(r)))


def _write_ops(w: Writer, ops: tuple[tuple[int, Record], ...]) -> None:
    for op, record in ops:
        w.raw(_MULTI_HEADER.pack(op, False, -1))
        record.write(w)
    w.raw(_MULTI_HEADER.pack(-1, True, -1))


# Fields of more than one record --------------------------------------------------------------------------------------


def read_acls(r: Reader) -> Acls:
    """An ACL vector; null as empty. The open one is always the same object."""
    acls = tuple(r.vector(_read_acl) or ())
    return OPEN_ACL if acls == OPEN_ACL else acls


def write_acls(w: Writer, acls: Acls) -> None:
    w.vector(acls, _write_acl)


def read_stat(r: Reader) -> Stat:
    return _new(Stat, r.unpack(STAT_STRUCT))  # in half the time of Stat._make, for there are that many


def _read_acl(r: Reader) -> Acl:
    # A null id is kept, whatever the type says: `normalize`, which all lists of clients go through, knows of it.
    return Acl(r.int(), r.text(), cast(str, r.ustring()))


def _write_acl(w: Writer, acl: Acl) -> None:
    w.int(acl.perms)
    w.ustring(acl.scheme)
    w.ustring(acl.id)


def _path(r: Reader) -> str:
    path = r.ustring()
    if path is None:
        raise JuteError(f"null path before byte {r.at}")
    return path


def _watched(r: Reader) -> Watched:
    values = r.vector(Reader.ustring)
    return None if values is None else tuple(values)


def _texts(r: Reader) -> tuple[str, ...]:
    values = r.vector(Reader.text)
    if values is None:
        raise JuteError(f"null vector before byte {r.at}")
    return tuple(values)


def _infos(r: Reader) -> tuple[ClientInfo, ...]:
    return tuple(r.vector(ClientInfo.read) or ())


def _write_record(w: Writer, record: Record) -> None:
    record.write(w)
