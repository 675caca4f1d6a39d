"""What is answered here, from the applied tree: a table, opcode → function from record to the reply's body.

`read_now` serves all of them; `get_data` is the same for the most frequent one, from frame to frame without anything
between. Both run to their end before anything else is applied, so that between reading a znode and setting the watch
nothing can change.
"""

import struct
from collections.abc import Callable, Iterator
from functools import lru_cache

from zabpy.model import (
    ADMIN,
    OPEN_ACL,
    READ,
    STAT_STRUCT,
    Acls,
    BadArgumentsError,
    CodeError,
    Identity,
    MarshallingError,
    NoAuthError,
    NoNodeError,
    NoWatcherError,
)
from zabpy.tree import (
    ACLS_ARE_OFF,
    ANY_SASL_USER,
    CHILDREN_CHANGED,
    CREATED,
    DATA_CHANGED,
    DELETED,
    Watches,
    Znode,
    allowed,
    masked,
)
from zabpy.wire import UNDECODABLE, Op, Reader, Writer, records as r

from .replies import end_of_parts, error_part, event_frame, read_part, refusal_frame, reply_frame
from .slices import (
    SLICE_ITEMS,
    Sliced,
    count_in_slices,
    filtered_names_in_slices,
    names_in_slices,
    pack_names,
    parts_in_slices,
)
from .state import State

Identities = tuple[Identity, ...]
#: About how many bytes it will be, and what makes them in slices.
Slow = tuple[int, Iterator[bytes]]
#: Of a multiRead's reply: bytes, or a vector of names and what stands before it.
_Part = bytes | tuple[bytes, list[str]]
#: State, watches, watcher, zxid the client has seen, paths → frames of what it has missed.
_Restore = Callable[[State, Watches, int, int, tuple[str, ...]], bytes]
#: State, watches, watcher, session id, record, identities → body.
Answer = Callable[[State, Watches, int, int, bytes, Identities], bytes | Slow]

_INT = struct.Struct(">i")
_NULL = b"\xff\xff\xff\xff"
#: Request header and the length of the path.
_HEAD = struct.Struct(">iii")
_REPLY = struct.Struct(">iiqi")
_PART_AND_LENGTH = struct.Struct(">i?ii").unpack_from
_GET_DATA, _GET_CHILDREN = int(Op.GET_DATA), int(Op.GET_CHILDREN)
_GET_DATA_PART, _GET_CHILDREN_PART = read_part(_GET_DATA, b""), read_part(_GET_CHILDREN, b"")
_END_OF_PARTS = end_of_parts()
_NO_NODE, _NO_AUTH = error_part(NoNodeError.code), error_part(NoAuthError.code)
#: In a multiRead: children of one znode, and bytes of all results, that are not put off.
_NAMES_AT_ONCE = 100
_BYTES_AT_ONCE = 1 << 20
#: Paths that are looked at for an answer that may be short, so that nothing else holds back who asks for many of them.
_LOOKED_AT_AT_ONCE = 2_000
#: Watches set back at once.
_WATCHES_AT_ONCE = 2_000
_CATCH_UP = frozenset((int(Op.SET_WATCHES), int(Op.SET_WATCHES2)))
_SASL, _PING = int(Op.SASL), int(Op.PING)
_BLANKS = "".join(map(chr, range(33)))  # as Java trims
_PING_XID = -2  # whatever xid the client gave it


def read_now(
    state: State,
    watches: Watches,
    watcher: int,
    xid: int,
    op: int,
    record: bytes,
    identities: Identities,
    session_id: int = 0,
) -> bytes | Sliced:
    """Carry out a request of route READ or LOCAL and give its reply, whole; before it, catch-up events of setWatches.
    One that is too long to be made at once comes as a `Sliced`; it is carried out all the same.

    Args:
        watcher: who is told when a watch that this sets fires.
        record: what follows the request header.
        session_id: whose ephemerals getEphemerals tells.
    """
    zxid = state.last_applied
    try:
        if op in _CATCH_UP:
            return _set_watches(state, watches, watcher, xid, op, record)
        answer = READS.get(op)
        if answer is None:
            return refusal_frame(xid)
        body = answer(state, watches, watcher, session_id, record, identities)
        if not isinstance(body, bytes):
            return Sliced(xid, zxid, body[1], body[0])
        return reply_frame(_PING_XID if op == _PING else xid, 0 if op == _SASL else zxid, 0, body)
    except _UnreadableError as error:
        return reply_frame(xid, zxid, error.code, error.body)
    except CodeError as error:
        return reply_frame(xid, zxid, error.code)


def get_data(state: State, watches: Watches, watcher: int, frame: bytes, identities: Identities) -> bytes:
    """Answer a whole getData frame (header included, length word not)."""
    if len(frame) > 12:
        xid, _, length = _HEAD.unpack_from(frame)
        end = 12 + length
        if 12 <= end < len(frame):
            path = frame[12:end].decode("utf-8", UNDECODABLE)
            znode = state.tree.nodes.get(path)
            if znode is not None:
                acl = znode.acl
                if acl is OPEN_ACL or allowed(acl, READ, identities):
                    if frame[end]:
                        watches.add_data(watcher, path)
                    body = znode.reply or _data_reply(znode)
                    return _REPLY.pack(16 + len(body), xid, state.last_applied, 0) + body
                return _REPLY.pack(16, xid, state.last_applied, -102)
            if path:
                return _REPLY.pack(16, xid, state.last_applied, -101)
    answer = read_now(state, watches, watcher, _INT.unpack_from(frame)[0], Op.GET_DATA, frame[8:], identities)
    assert isinstance(answer, bytes)
    return answer


def _data_reply(znode: Znode) -> bytes:
    """Made once for each change of the znode, by whoever reads it first."""
    data = znode.data
    head = _NULL if data is None else _INT.pack(len(data)) + data
    znode.reply = reply = head + znode.packed_stat()
    return reply


def _path_and_watch(record: bytes) -> tuple[str, bool]:
    """The record that the four reads with a watch share."""
    if len(record) > 4:
        (length,) = _INT.unpack_from(record)
        end = 4 + length
        if 4 <= end < len(record):
            return record[4:end].decode("utf-8", UNDECODABLE), record[end] != 0
    path, watch = r.GetDataRequest.read(Reader(record))
    if path is None:
        raise MarshallingError("null path")
    return path, watch


def _readable(state: State, path: str, identities: Identities, perms: int = READ) -> Znode:
    """The empty path names the root to those who read; its watches are never fired."""
    znode = state.tree.nodes.get(path or "/")
    if znode is None:
        raise NoNodeError(path)
    if not allowed(znode.acl, perms, identities):
        raise NoAuthError(path)
    return znode


def _get_data(state: State, watches: Watches, watcher: int, _: int, record: bytes, identities: Identities) -> bytes:
    path, watch = _path_and_watch(record)
    znode = _readable(state, path, identities)
    if watch:
        watches.add_data(watcher, path)
    return znode.reply or _data_reply(znode)


def _exists(state: State, watches: Watches, watcher: int, _: int, record: bytes, identities: Identities) -> bytes:
    path, watch = _path_and_watch(record)
    if "\0" in path:
        raise BadArgumentsError(path)
    znode = state.tree.nodes.get(path or "/")
    if znode is not None and not allowed(znode.acl, READ, identities):
        raise NoAuthError(path)
    if watch:  # for a missing znode too: it waits for the creation
        watches.add_data(watcher, path)
    if znode is None:
        raise NoNodeError(path)
    return znode.packed_stat()


def _children(znode: Znode, tail: bytes = b"") -> bytes | Slow:
    names = znode.children
    if not names:
        return b"\0\0\0\0" + tail
    if len(names) > SLICE_ITEMS:
        copied = list(names)
        return _names_bytes_about(copied), names_in_slices(copied, tail)
    return _INT.pack(len(names)) + pack_names(list(names)) + tail


def _names_bytes_about(names: list[str]) -> int:
    return len(names) * (4 + len(names[0]))


def _get_children(
    state: State, watches: Watches, watcher: int, _: int, record: bytes, identities: Identities
) -> bytes | Slow:
    path, watch = _path_and_watch(record)
    znode = _readable(state, path, identities)
    if watch:
        watches.add_child(watcher, path)
    return _children(znode)


def _get_children2(
    state: State, watches: Watches, watcher: int, _: int, record: bytes, identities: Identities
) -> bytes | Slow:
    path, watch = _path_and_watch(record)
    znode = _readable(state, path, identities)
    if watch:
        watches.add_child(watcher, path)
    return _children(znode, znode.packed_stat())


def _get_acl(state: State, watches: Watches, watcher: int, _: int, record: bytes, identities: Identities) -> bytes:
    size = len(record) - 4
    if size >= 0 and _INT.unpack_from(record)[0] == size:
        path = record[4:].decode("utf-8", UNDECODABLE)
    else:
        (path,) = r.GetACLRequest.read(Reader(record))
    znode = _readable(state, path, identities, READ | ADMIN)
    acl = znode.acl
    if acl is not OPEN_ACL and not allowed(acl, ADMIN, identities):
        acl = masked(acl)
    return _packed_acl(acl) + (znode.reply[-STAT_STRUCT.size :] if znode.reply else znode.packed_stat())


@lru_cache(1_000)
def _packed_acl(acl: Acls) -> bytes:
    """Most znodes of a tree have the same few."""
    writer = Writer()
    r.write_acls(writer, acl)
    return writer.bytes()


def _get_ephemerals(
    state: State, watches: Watches, watcher: int, session_id: int, record: bytes, identities: Identities
) -> bytes | Slow:
    (prefix,) = r.GetEphemeralsRequest.read(Reader(record))
    if not prefix.strip(_BLANKS) or prefix == "/":
        prefix = ""
    paths = state.tree.ephemerals.of(session_id)
    if len(paths) > _LOOKED_AT_AT_ONCE:
        return _names_bytes_about(paths), filtered_names_in_slices(paths, prefix)
    return b"".join(filtered_names_in_slices(paths, prefix))


def _get_all_children_number(
    state: State, watches: Watches, watcher: int, _: int, record: bytes, identities: Identities
) -> bytes | Slow:
    (path,) = r.GetAllChildrenNumberRequest.read(Reader(record))
    _readable(state, path, identities)
    if not path:  # the root by this name is not counted as below itself, but by its other name
        return _INT.pack(len(state.tree.nodes))
    count = state.tree.descendants(path, _LOOKED_AT_AT_ONCE)
    if count is None:
        return 4, count_in_slices(list(state.tree.nodes), path)
    return _INT.pack(count)


class _UnreadableError(MarshallingError):
    """A multiRead with a null path, or of writes: what was read before stands in ``body``."""

    def __init__(self, body: bytes) -> None:
        super().__init__("null path or write in a multiRead")
        self.body = body


def _multi_read(
    state: State, watches: Watches, watcher: int, _: int, record: bytes, identities: Identities
) -> bytes | Slow:
    """Each operation has its own result; a failed one stops none. No watches are set.

    What ZooKeeper only stumbles over at this point, it answers with an error and with what it has done so far.
    """
    parts: list[_Part] = []
    lists: dict[str, _Part] = {}  # one for each znode, however often it is asked for
    about = 0
    nodes = state.tree.nodes
    for op, path in _multi_reads(record):
        if path is None:
            parts.append(_END_OF_PARTS)
            raise _UnreadableError(b"".join(parts_in_slices(parts)) if about <= _BYTES_AT_ONCE else b"")
        znode = nodes.get(path or "/")
        part: _Part
        if znode is None:
            part = _NO_NODE
        elif znode.acl is not OPEN_ACL and not allowed(znode.acl, READ, identities):
            part = _NO_AUTH
        elif op == _GET_DATA:
            parts.append(_GET_DATA_PART)
            part = znode.reply or _data_reply(znode)
        else:
            if path not in lists:
                lists[path] = _children_part(znode)
            part = lists[path]
        parts.append(part)
        about += len(part) if isinstance(part, bytes) else _names_bytes_about(part[1])
    parts.append(_END_OF_PARTS)
    if len(parts) > SLICE_ITEMS or about > _BYTES_AT_ONCE:
        return about, parts_in_slices(parts)
    return b"".join(parts_in_slices(parts))


def _children_part(znode: Znode) -> _Part:
    if not znode.children:
        return _GET_CHILDREN_PART + b"\0\0\0\0"
    names = list(znode.children)
    if len(names) > _NAMES_AT_ONCE:
        return _GET_CHILDREN_PART, names
    return _GET_CHILDREN_PART + _INT.pack(len(names)) + pack_names(names)


def _multi_reads(record: bytes) -> list[tuple[int, str | None]]:
    """Opcode and path of each operation, no path where it cannot be carried out. Quick for what they nearly all are,
    and otherwise as the record says."""
    found: list[tuple[int, str | None]] = []
    at, size = 0, len(record)
    while at + 13 <= size:
        op, done, _, length = _PART_AND_LENGTH(record, at)
        if done and op == -1:
            return found
        end = at + 13 + length
        if done or length < 0 or end >= size or (op != _GET_DATA and op != _GET_CHILDREN):
            break
        found.append((op, record[at + 13 : end].decode("utf-8", UNDECODABLE)))
        at = end + 1
    if record.startswith(_END_OF_PARTS, at):  # with nothing behind it, as nearly always
        return found
    ops: list[tuple[int, str | None]] = []
    for op, request in r.MultiReadRequest.read(Reader(record)).ops:
        ops.append((int(op), request.path if isinstance(request, r.GetDataRequest | r.GetChildrenRequest) else None))
    return ops


# About the connection ------------------------------------------------------------------------------------------------


def _sync(state: State, watches: Watches, watcher: int, _: int, record: bytes, identities: Identities) -> bytes:
    """Of one that comes here because it cannot be read: others are the leader's to answer."""
    return r.packed(r.SyncResponse(r.SyncRequest.read(Reader(record)).path))


def _pong(state: State, watches: Watches, watcher: int, _: int, record: bytes, identities: Identities) -> bytes:
    return b""


def _who_am_i(state: State, watches: Watches, watcher: int, _: int, record: bytes, identities: Identities) -> bytes:
    shown = [identity for identity in identities if identity != ACLS_ARE_OFF and identity.scheme != ANY_SASL_USER]
    return r.packed(r.WhoAmIResponse(tuple(r.ClientInfo(scheme, _user(scheme, id)) for scheme, id in shown)))


def _user(scheme: str, id: str) -> str:
    if scheme == "digest":
        return id.partition(":")[0]
    return "" if scheme == "super" else id


def _sasl(state: State, watches: Watches, watcher: int, _: int, record: bytes, identities: Identities) -> bytes:
    return _NULL  # the answer of a server that has no SASL set up


def _add_watch(state: State, watches: Watches, watcher: int, _: int, record: bytes, identities: Identities) -> bytes:
    path, mode = r.AddWatchRequest.read(Reader(record))
    if mode not in (0, 1):
        raise MarshallingError(f"watch mode {mode}")
    watches.add_persistent(watcher, path, recursive=mode == 1)
    return b"\0\0\0\0"


def _check_watches(
    state: State, watches: Watches, watcher: int, _: int, record: bytes, identities: Identities
) -> bytes:
    path, type = r.CheckWatchesRequest.read(Reader(record))
    if not 1 <= type <= 5:
        raise MarshallingError(f"watcher type {type}")
    if not watches.has(watcher, path, type):
        if path and "/" not in path:
            raise MarshallingError(f"path {path!r} without a slash")  # ZooKeeper looks for its parents, and stumbles
        raise NoWatcherError(path)
    return b""


def _remove_watches(
    state: State, watches: Watches, watcher: int, _: int, record: bytes, identities: Identities
) -> bytes:
    path, type = r.RemoveWatchesRequest.read(Reader(record))
    if not 1 <= type <= 5:
        raise MarshallingError(f"watcher type {type}")
    if path is None or not watches.remove(watcher, path, type):
        raise NoWatcherError(path)
    return b""


def _set_watches(state: State, watches: Watches, watcher: int, xid: int, op: int, record: bytes) -> bytes | Sliced:
    """Put back the watches of a client that was away; the frames of what it missed. Rules: ZooKeeper's.

    In slices each watch is set, or found to have been missed, at a moment of its own: either way its client is told
    of every change since it left. What fires meanwhile is told behind the reply.

    What is null (a list, or a path) is an error in its turn: what stands before it is done.
    """
    reader = Reader(record)
    persistent: r.Watched = ()
    recursive: r.Watched = ()
    if op == Op.SET_WATCHES:
        seen, data, exist, child = r.SetWatches.read(reader)
    else:
        seen, data, exist, child, persistent, recursive = r.SetWatches2.read(reader)
    zxid = state.last_applied
    wanted: list[tuple[_Restore, tuple[str, ...]]] = []
    err = 0
    for restore, paths in zip(_RESTORES, (data, exist, child, persistent, recursive)):
        good, err = _up_to_null(paths)
        wanted.append((restore, good))
        if err:
            break

    def restored() -> Iterator[bytes]:
        for restore, paths in wanted:
            for at in range(0, len(paths), _WATCHES_AT_ONCE):
                yield restore(state, watches, watcher, seen, paths[at : at + _WATCHES_AT_ONCE])
        yield reply_frame(xid, zxid, err)

    if sum(len(paths) for _, paths in wanted) > _WATCHES_AT_ONCE:
        return Sliced(xid, zxid, restored(), 20, headed=False)
    return b"".join(restored())


def _up_to_null(paths: r.Watched) -> tuple[tuple[str, ...], int]:
    """What may be set back of one list, and the error code for what comes behind that."""
    good: list[str] = []
    for path in paths or ():
        if path is None:
            break
        good.append(path)
    return tuple(good), 0 if paths is not None and len(good) == len(paths) else MarshallingError.code


def _restore_data(state: State, watches: Watches, watcher: int, seen: int, paths: tuple[str, ...]) -> bytes:
    nodes, missed = state.tree.nodes, []
    for path in paths:
        znode = nodes.get(path or "/")
        if znode is None:
            missed.append(event_frame(-1, DELETED, path))
        elif znode.mzxid > seen:
            missed.append(event_frame(-1, DATA_CHANGED, path))
        else:
            watches.add_data(watcher, path)
    return b"".join(missed)


def _restore_exist(state: State, watches: Watches, watcher: int, seen: int, paths: tuple[str, ...]) -> bytes:
    nodes, missed = state.tree.nodes, []
    for path in paths:
        if (path or "/") in nodes:
            missed.append(event_frame(-1, CREATED, path))
        else:
            watches.add_data(watcher, path)
    return b"".join(missed)


def _restore_child(state: State, watches: Watches, watcher: int, seen: int, paths: tuple[str, ...]) -> bytes:
    nodes, missed = state.tree.nodes, []
    for path in paths:
        znode = nodes.get(path or "/")
        if znode is None:
            missed.append(event_frame(-1, DELETED, path))
        elif znode.pzxid > seen:
            missed.append(event_frame(-1, CHILDREN_CHANGED, path))
        else:
            watches.add_child(watcher, path)
    return b"".join(missed)


def _restore_persistent(state: State, watches: Watches, watcher: int, seen: int, paths: tuple[str, ...]) -> bytes:
    for path in paths:
        watches.add_persistent(watcher, path, recursive=False)
    return b""


def _restore_recursive(state: State, watches: Watches, watcher: int, seen: int, paths: tuple[str, ...]) -> bytes:
    for path in paths:
        watches.add_persistent(watcher, path, recursive=True)
    return b""


#: In the order of the lists in a setWatches.
_RESTORES: tuple[_Restore, ...] = (
    _restore_data,
    _restore_exist,
    _restore_child,
    _restore_persistent,
    _restore_recursive,
)

#: All that `read_now` answers, but setWatches, whose events come before its reply.
READS: dict[int, Answer] = {
    Op.GET_DATA: _get_data,
    Op.EXISTS: _exists,
    Op.GET_CHILDREN: _get_children,
    Op.GET_CHILDREN2: _get_children2,
    Op.GET_ACL: _get_acl,
    Op.GET_EPHEMERALS: _get_ephemerals,
    Op.GET_ALL_CHILDREN_NUMBER: _get_all_children_number,
    Op.MULTI_READ: _multi_read,
    Op.SYNC: _sync,
    Op.PING: _pong,
    Op.WHO_AM_I: _who_am_i,
    Op.SASL: _sasl,
    Op.ADD_WATCH: _add_watch,
    Op.CHECK_WATCHES: _check_watches,
    Op.REMOVE_WATCHES: _remove_watches,
}
