"""Several operations, one transaction: all of them or none. Rules: client-protocol.md §7."""

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

_CONTAINER_FLAG = 4


def prepare_multi(
    pending: Pending, asked: r.MultiRequest, judge: Callable[[int, Record], Part], bytes_max: int
) -> Body:
    """Judge each operation on what those before it leave behind. The first that fails undoes them all.

    Args:
        judge: opcode, record → body; changes ``pending``, or raises `CodeError` and changes nothing.
        bytes_max: what the transaction may take when encoded; the operation that goes beyond it fails.
    Raises:
        SessionMovedError: ends the connection instead of failing one operation.
    """
    ops: list[int] = []
    parts: list[Part] = []
    size = 64
    pending.attempt()
    for op, record in asked.ops:
        if op in (Op.CREATE, Op.CREATE2) and isinstance(record, r.CreateRequest) and record.flags == _CONTAINER_FLAG:
            op = Op.CREATE_CONTAINER  # here, unlike outside a multi, the flag decides
        try:
            part = judge(op, record)
            size += bytes_at_most(part)
            if size > bytes_max:
                raise MarshallingError(f"multi of more than {bytes_max} bytes")
        except SessionMovedError:
            pending.undo()
            raise
        except CodeError as error:
            pending.undo()
            return FailedMultiTxn(error.code, len(parts), len(asked.ops))
        ops.append(int(op))
        parts.append(part)
    pending.keep()
    return MultiTxn(tuple(ops), tuple(parts))


def bytes_at_most(part: Part) -> int:
    """Not less than ``part`` takes when encoded."""
    size = 64 + 3 * len(part.path)  # what a path may hold takes three bytes in UTF-8 at most
    if isinstance(part, (CreateTxn, SetDataTxn)):
        size += len(part.data or b"")
    if isinstance(part, CreateTxn) and part.acl is not OPEN_ACL:
        size += sum(32 + 4 * (len(scheme) + len(id)) for _, scheme, id in part.acl)
    return size
