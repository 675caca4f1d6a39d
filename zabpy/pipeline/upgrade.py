"""Whether a request makes an ephemeral: a local session must become global before it."""

from zabpy.model import CodeError
from zabpy.wire import Op, Reader, records as r

_CREATES = frozenset((int(Op.CREATE), int(Op.CREATE2)))
_EPHEMERAL_FLAGS = frozenset((1, 3))


def makes_ephemeral(op: int, record: bytes) -> bool:
    """Whether `prepare` would make an ephemeral of it, were nothing wrong with it otherwise.

    As in ZooKeeper, a path that cannot be does not keep a session from its upgrade; a record that cannot be read does.
    """
    try:
        if op in _CREATES:
            return r.CreateRequest.read(Reader(record)).flags in _EPHEMERAL_FLAGS
        if op == Op.MULTI:
            return any(
                # Here the flags decide what a create makes, and not the opcode: `multi.by_flags`.
                isinstance(part, r.CreateRequest | r.CreateTTLRequest) and part.flags in _EPHEMERAL_FLAGS
                for _, part in r.MultiRequest.read(Reader(record)).ops
            )
    except CodeError:
        pass  # the leader says what is wrong with it
    return False
