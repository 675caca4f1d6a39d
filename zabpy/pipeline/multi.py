"""Several operations, one transaction: all of them or none. Rules: ZooKeeper's."""

from collections.abc import Callable

from zabpy.model import (
    OPEN_ACL,
    Body,
    CheckTxn,
    CodeError,
    CreateTxn,
    DeleteTxn,
    FailedMultiTxn,
    MarshallingError,
    MultiTxn,
    SessionMovedError,
    SetDataTxn,
)
from zabpy.wire import Op, Record, records as r

from .pending import Pending

Part = CreateTxn | DeleteTxn | SetDataTxn | CheckTxn

#: Create flags → the operation they make of any create in a multi. 5 and 6 need the room for a TTL of createTTL.
_BY_FLAGS = {**dict.fromkeys(range(4), Op.CREATE), 4: Op.CREATE_CONTAINER, 5: Op.CREATE_TTL, 6: Op.CREATE_TTL}


def prepare_multi(
    pending: Pending, asked: r.MultiRequest, judge: Callable[[int, Record], Part], bytes_max: int
) -> Body:
    """Judge each operation on what those before it leave behind. The first that fails undoes them all.

    Args:
        judge: opcode, record → body; changes ``pending``, or raises `CodeError` and changes nothing.
        bytes_max: what the transaction may take when encoded; the operation that goes beyond it fails.
    Raises:
        SessionMovedError: ends the connection instead of failing one operation.
        MarshallingError: an operation that ZooKeeper cannot make sense of fails the whole packet, in its turn.
    """
    ops: list[int] = []
    parts: list[Part] = []
    size = 64
    pending.attempt()
    for op, record in asked.ops:
        try:
            if isinstance(record, (r.CreateRequest, r.CreateTTLRequest)):
                op, record = by_flags(op, record)
            part = judge(op, record)
            size += bytes_at_most(part)
            if size > bytes_max:
                raise MarshallingError(f"multi of more than {bytes_max} bytes")
        except (SessionMovedError, MarshallingError):
            pending.undo()
            raise
        except CodeError as error:
            pending.undo()
            return FailedMultiTxn(error.code, len(parts), len(asked.ops))
        ops.append(int(op))
        parts.append(part)
    pending.keep()
    return MultiTxn(tuple(ops), tuple(parts))


def by_flags(op: int, asked: r.CreateRequest | r.CreateTTLRequest) -> tuple[int, Record]:
    """What a create in a multi is: here, unlike outside of one, the flags decide, and not the opcode.

    Raises:
        MarshallingError: the flags of a TTL znode under an opcode whose record has no TTL.
    """
    kind = _BY_FLAGS.get(asked.flags, op)  # flags that do not exist are refused by whoever judges the create
    if isinstance(asked, r.CreateTTLRequest):
        return kind, asked if kind == Op.CREATE_TTL else r.CreateRequest(*asked[:4])
    if kind == Op.CREATE_TTL:
        raise MarshallingError("create flags of a TTL znode without a time to live")
    return kind, asked


def bytes_at_most(part: Part) -> int:
    """Not less than ``part`` takes when encoded."""
    size = 64 + 3 * len(part.path)  # what a path may hold takes three bytes in UTF-8 at most
    if isinstance(part, (CreateTxn, SetDataTxn)):
        size += len(part.data or b"")
    if isinstance(part, CreateTxn) and part.acl is not OPEN_ACL:
        size += sum(32 + 4 * (len(scheme) + len(id)) for _, scheme, id in part.acl)
    return size
