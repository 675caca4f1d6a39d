"""What is answered here, from the applied tree: a table, opcode → function from record to the reply's body.

`read_now` serves all of them; `get_data` is the same for the most frequent one, from frame to frame without anything
between. Both run to their end before anything else is applied, so that between reading a znode and setting the watch
nothing can change (client-protocol.md §11).
"""

import struct
from collections.abc import Callable

from zabpy.model import (
    ADMIN,
    OPEN_ACL,
    READ,
    BadArgumentsError,
    CodeError,
    Identity,
    MarshallingError,
    NoAuthError,
    NoNodeError,
    NoWatcherError,
)
from zabpy.tree import CHILDREN_CHANGED, CREATED, DATA_CHANGED, DELETED, Watches, Znode, allowed, masked
from zabpy.wire import Op, Reader, records as r

from .replies import end_of_parts, error_part, event_frame, read_part, refusal_frame, reply_frame
from .state import State

Identities = tuple[Identity, ...]
#: State, watches, watcher, session id, record, identities → body.
Answer = Callable[[State, Watches, int, int, bytes, Identities], bytes]

_INT = struct.Struct(">i")
_NULL = b"\xff\xff\xff\xff"
#: Request header and the length of the path.
_HEAD = struct.Struct(">iii")
_REPLY = struct.Struct(">iiqi")
_CATCH_UP = frozenset((int(Op.SET_WATCHES), int(Op.SET_WATCHES2)))
_SASL = int(Op.SASL)


def read_now(
    state: State,
    watches: Watches,
    watcher: int,
    xid: int,
    op: int,
    record: bytes,
    identities: Identities,
    session_id: int = 0,
) -> bytes:
    """Carry out a request of route READ or LOCAL and give its reply, whole; before it, catch-up events of setWatches.

    Args:
        watcher: who is told when a watch that this sets fires.
        record: what follows the request header.
        session_id: whose ephemerals getEphemerals tells.
    """
    zxid = state.last_applied
    try:
        if op in _CATCH_UP:
            return _set_watches(state, watches, watcher, op, record) + reply_frame(xid, zxid, 0)
        answer = READS.get(op)
        if answer is None:
            return refusal_frame(xid)
        body = answer(state, watches, watcher, session_id, record, identities)
        return reply_frame(xid, 0 if op == _SASL else zxid, 0, body)
    except CodeError as error:
        return reply_frame(xid, zxid, error.code)


def get_data(state: State, watches: Watches, watcher: int, frame: bytes, identities: Identities) -> bytes:
    """Answer a whole getData frame (header included, length word not)."""
    if len(frame) > 12:
        xid, _, length = _HEAD.unpack_from(frame)
        end = 12 + length
        if 12 <= end < len(frame):
            path = frame[12:end].decode("utf-8", "replace")
            znode = state.tree.nodes.get(path)
            if znode is not None:
                acl = znode.acl
                if acl is OPEN_ACL or allowed(acl, READ, identities):
                    if frame[end]:
                        watches.add_data(watcher, path)
                    body = znode.reply or _data_reply(znode)
                    return _REPLY.pack(16 + len(body), xid, state.last_applied, 0) + body
                return _REPLY.pack(16, xid, state.last_applied, -102)
            return _REPLY.pack(16, xid, state.last_applied, -101)
    return read_now(state, watches, watcher, _INT.unpack_from(frame)[0], Op.GET_DATA, frame[8:], identities)


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
            return record[4:end].decode("utf-8", "replace"), record[end] != 0
    return r.GetDataRequest.read(Reader(record))


def _readable(state: State, path: str, identities: Identities, perms: int = READ) -> Znode:
    znode = state.tree.nodes.get(path)
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
    znode = state.tree.nodes.get(path)
    if znode is not None and not allowed(znode.acl, READ, identities):
        raise NoAuthError(path)
    if watch:  # for a missing znode too: it waits for the creation
        watches.add_data(watcher, path)
    if znode is None:
        raise NoNodeError(path)
    return znode.packed_stat()


def _children(znode: Znode) -> bytes:
    names = znode.children
    if not names:
        return b"\0\0\0\0"
    pack = _INT.pack
    pieces = [pack(len(names))]
    for name in names:
        raw = name.encode()
        pieces += (pack(len(raw)), raw)
    return b"".join(pieces)


def _get_children(state: State, watches: Watches, watcher: int, _: int, record: bytes, identities: Identities) -> bytes:
    path, watch = _path_and_watch(record)
    znode = _readable(state, path, identities)
    if watch:
        watches.add_child(watcher, path)
    return _children(znode)


def _get_children2(
    state: State, watches: Watches, watcher: int, _: int, record: bytes, identities: Identities
) -> bytes:
    path, watch = _path_and_watch(record)
    znode = _readable(state, path, identities)
    if watch:
        watches.add_child(watcher, path)
    return _children(znode) + znode.packed_stat()


def _get_acl(state: State, watches: Watches, watcher: int, _: int, record: bytes, identities: Identities) -> bytes:
    (path,) = r.GetACLRequest.read(Reader(record))
    znode = _readable(state, path, identities, READ | ADMIN)
    acl = znode.acl if allowed(znode.acl, ADMIN, identities) else masked(znode.acl)
    return r.packed(r.GetACLResponse(acl, znode.stat()))


def _get_ephemerals(
    state: State, watches: Watches, watcher: int, session_id: int, record: bytes, identities: Identities
) -> bytes:
    (prefix,) = r.GetEphemeralsRequest.read(Reader(record))
    paths = state.tree.ephemerals.of(session_id)
    if prefix.strip() and prefix != "/":
        paths = [path for path in paths if path.startswith(prefix)]
    return r.packed(r.GetEphemeralsResponse(tuple(paths)))


def _get_all_children_number(
    state: State, watches: Watches, watcher: int, _: int, record: bytes, identities: Identities
) -> bytes:
    (path,) = r.GetAllChildrenNumberRequest.read(Reader(record))
    _readable(state, path, identities)
    return _INT.pack(state.tree.descendants(path))


def _multi_read(state: State, watches: Watches, watcher: int, _: int, record: bytes, identities: Identities) -> bytes:
    """Each operation has its own result; a failed one stops none. No watches are set."""
    pieces = []
    for op, request in r.MultiReadRequest.read(Reader(record)).ops:
        assert isinstance(request, r.GetDataRequest | r.GetChildrenRequest)
        try:
            znode = _readable(state, request.path, identities)
            if op == Op.GET_DATA:
                pieces.append(read_part(op, znode.reply or _data_reply(znode)))
            else:
                pieces.append(read_part(op, _children(znode)))
        except CodeError as error:
            pieces.append(error_part(error.code))
    pieces.append(end_of_parts())
    return b"".join(pieces)


# About the connection ------------------------------------------------------------------------------------------------


def _ping(state: State, watches: Watches, watcher: int, _: int, record: bytes, identities: Identities) -> bytes:
    return b""


def _who_am_i(state: State, watches: Watches, watcher: int, _: int, record: bytes, identities: Identities) -> bytes:
    return r.packed(r.WhoAmIResponse(tuple(r.ClientInfo(scheme, _user(scheme, id)) for scheme, id in identities)))


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
        raise NoWatcherError(path)
    return b""


def _remove_watches(
    state: State, watches: Watches, watcher: int, _: int, record: bytes, identities: Identities
) -> bytes:
    path, type = r.RemoveWatchesRequest.read(Reader(record))
    if not 1 <= type <= 5:
        raise MarshallingError(f"watcher type {type}")
    if not watches.remove(watcher, path, type):
        raise NoWatcherError(path)
    return b""


def _set_watches(state: State, watches: Watches, watcher: int, op: int, record: bytes) -> bytes:
    """Put back the watches of a client that was away; the frames of what it missed. Rules: client-protocol.md §11."""
    reader = Reader(record)
    persistent: tuple[str, ...] = ()
    recursive: tuple[str, ...] = ()
    if op == Op.SET_WATCHES:
        seen, data, exist, child = r.SetWatches.read(reader)
    else:
        seen, data, exist, child, persistent, recursive = r.SetWatches2.read(reader)
    nodes = state.tree.nodes
    missed = []
    for path in data:
        znode = nodes.get(path)
        if znode is None:
            missed.append(event_frame(-1, DELETED, path))
        elif znode.mzxid > seen:
            missed.append(event_frame(-1, DATA_CHANGED, path))
        else:
            watches.add_data(watcher, path)
    for path in exist:
        if path in nodes:
            missed.append(event_frame(-1, CREATED, path))
        else:
            watches.add_data(watcher, path)
    for path in child:
        znode = nodes.get(path)
        if znode is None:
            missed.append(event_frame(-1, DELETED, path))
        elif znode.pzxid > seen:
            missed.append(event_frame(-1, CHILDREN_CHANGED, path))
        else:
            watches.add_child(watcher, path)
    for path in persistent:
        watches.add_persistent(watcher, path, recursive=False)
    for path in recursive:
        watches.add_persistent(watcher, path, recursive=True)
    return b"".join(missed)


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
    Op.PING: _ping,
    Op.WHO_AM_I: _who_am_i,
    Op.SASL: _sasl,
    Op.ADD_WATCH: _add_watch,
    Op.CHECK_WATCHES: _check_watches,
    Op.REMOVE_WATCHES: _remove_watches,
}
