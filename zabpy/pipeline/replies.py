"""Frames to clients: replies, events, the answer to a handshake. Length words included.

Bytes are put together here and not through `wire.records`, since this is
done for every request; `tests/pipeline/test_replies.py` holds the two against each other.
"""

import struct
from collections.abc import Callable, Iterable

from zabpy.model import (
    READ,
    Body,
    CheckTxn,
    CloseSessionTxn,
    CreateSessionTxn,
    CreateTxn,
    DeleteTxn,
    ErrorTxn,
    FailedMultiTxn,
    Identity,
    MultiTxn,
    ReconfigTxn,
    RuntimeInconsistencyError,
    SetAclTxn,
    SetDataTxn,
    Zxid,
)
from zabpy.tree import Event, Outcome, Watches, allowed
from zabpy.wire import Op, bytes_of

#: Length, xid, zxid, err.
_REPLY = struct.Struct(">iiqi")
#: Length, xid -1, zxid, err 0, type, state, length of the path.
_EVENT = struct.Struct(">iiqiiii")
#: Length, protocol version, timeout, session id, length of the password.
_CONNECTED = struct.Struct(">iiiqi")
#: Type, done, err; and the same with the int that is the body of an error.
_PART = struct.Struct(">i?i")
_ERROR_PART = struct.Struct(">i?ii")
_END_OF_PARTS = _PART.pack(-1, True, -1)
_INT = struct.Struct(">i")

_SYNC_CONNECTED = 3
PASSWORD_BYTES = 16
_NO_PASSWORD = bytes(PASSWORD_BYTES)


def reply_frame(xid: int, zxid: int, err: int, body: bytes = b"") -> bytes:
    """A reply. ``body`` is empty whenever ``err`` is not 0, but for a multi with a null path and for SASL."""
    return _REPLY.pack(16 + len(body), xid, zxid, err) + body


def refusal_frame(xid: int) -> bytes:
    """To an operation that does not exist: zxid -1, UNIMPLEMENTED. The connection ends behind it."""
    return _REPLY.pack(16, xid, -1, -6)


def connect_response(timeout_ms: int, session_id: int, password: bytes, read_only: bool | None = None, /) -> bytes:
    """The answer to a handshake. ``read_only`` None: the client did not send the byte, so it gets none."""
    assert len(password) == PASSWORD_BYTES  # the C client reads exactly that many
    tail = b"" if read_only is None else b"\1" if read_only else b"\0"
    return _CONNECTED.pack(36 + len(tail), 0, timeout_ms, session_id, PASSWORD_BYTES) + password + tail


def session_gone(read_only: bool | None = None) -> bytes:
    """The answer to a handshake whose session is unknown, expired, closing, or not the client's: all look the same."""
    return connect_response(0, 0, _NO_PASSWORD, read_only)


# Events --------------------------------------------------------------------------------------------------------------


def event_frame(zxid: int, type: int, path: str) -> bytes:
    """Tells of one event. ``zxid`` is that of its transaction, or -1 when it is told on a `setWatches`."""
    name = bytes_of(path)
    return _EVENT.pack(28 + len(name), -1, zxid, 0, type, _SYNC_CONNECTED, len(name)) + name


def event_frames(
    watches: Watches, zxid: Zxid, events: Iterable[Event], identities_of: Callable[[int], tuple[Identity, ...]]
) -> list[tuple[int, bytes]]:
    """Who must be told what of one transaction: (watcher, frame), in order. One-shot watches are used up.

    To be put on the connections right after the transaction was applied: before its reply, before anything is read.
    A watcher that may not read the znode is not told, and its watch is used up all the same.
    """
    if not watches.total:
        return []
    frames = []
    for event in events:
        watchers = watches.fire(event)
        if watchers:
            frame = event_frame(zxid, event.type, event.path)
            for watcher in watchers:
                if allowed(event.acl, READ, identities_of(watcher)):
                    frames.append((watcher, frame))
    return frames


# Outcomes of writes --------------------------------------------------------------------------------------------------


def outcome_body(op: int, body: Body, outcome: Outcome) -> tuple[int, bytes]:
    """What the client that asked for ``op`` is told: the error code of the header, and the record behind it.

    Call it right after the transaction was applied, while the znode is as it left it.
    """
    return _BODIES[type(body)](op, body, outcome)


def _set(op: int, body: SetDataTxn | SetAclTxn, outcome: Outcome) -> tuple[int, bytes]:
    assert outcome.znode is not None
    return 0, outcome.znode.packed_stat()


def _created(op: int, body: CreateTxn, outcome: Outcome) -> tuple[int, bytes]:
    if op == Op.CREATE:
        return 0, _string(body.path)
    assert outcome.znode is not None
    return 0, _string(body.path) + outcome.znode.packed_stat()


def _reconfigured(op: int, body: ReconfigTxn, outcome: Outcome) -> tuple[int, bytes]:
    assert outcome.znode is not None
    return 0, _INT.pack(len(body.text)) + body.text + outcome.znode.packed_stat()


def _header_only(op: int, body: Body, outcome: Outcome) -> tuple[int, bytes]:
    return 0, b""


def _error(op: int, body: ErrorTxn, outcome: Outcome) -> tuple[int, bytes]:
    return body.code, b""


def _failed_multi(op: int, body: FailedMultiTxn, outcome: Outcome) -> tuple[int, bytes]:
    code, index, count = body
    if not count:
        return code, _END_OF_PARTS
    behind = RuntimeInconsistencyError.code
    return 0, b"".join(
        (
            _ERROR_PART.pack(-1, False, 0, 0) * index,
            _ERROR_PART.pack(-1, False, code, code),
            _ERROR_PART.pack(-1, False, behind, behind) * (count - index - 1),
            _END_OF_PARTS,
        )
    )


def _multi(op: int, body: MultiTxn, outcome: Outcome) -> tuple[int, bytes]:
    pieces: list[bytes] = []
    for part_op, part, stat in zip(body.ops, body.bodies, outcome.parts):
        if isinstance(part, CreateTxn):
            plain = part_op == Op.CREATE
            pieces += (_PART.pack(1 if plain else 15, False, 0), _string(part.path))
            if plain:
                continue
        else:
            pieces.append(_PART.pack(part_op, False, 0))
        if stat is not None:
            pieces.append(stat)
    pieces.append(_END_OF_PARTS)
    return 0, b"".join(pieces)


_BODIES: dict[type, Callable[..., tuple[int, bytes]]] = {
    SetDataTxn: _set,
    SetAclTxn: _set,
    CreateTxn: _created,
    DeleteTxn: _header_only,
    CheckTxn: _header_only,
    CreateSessionTxn: _header_only,
    CloseSessionTxn: _header_only,
    ReconfigTxn: _reconfigured,
    ErrorTxn: _error,
    MultiTxn: _multi,
    FailedMultiTxn: _failed_multi,
}


# Pieces that reads put together too ----------------------------------------------------------------------------------


def error_part(code: int) -> bytes:
    """One failed operation of a multiRead."""
    return _ERROR_PART.pack(-1, False, code, code)


def read_part(op: int, body: bytes) -> bytes:
    """One operation of a multiRead that succeeded."""
    return _PART.pack(op, False, 0) + body


def end_of_parts() -> bytes:
    return _END_OF_PARTS


def _string(text: str) -> bytes:
    raw = text.encode()
    return _INT.pack(len(raw)) + raw
