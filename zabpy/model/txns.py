"""Transactions: what shall change, computed by the leader, so that applying one can neither fail nor differ.

Every value a replica would otherwise have to count or look up stands in the transaction (resulting versions, the
parent's creation counter, the ephemerals a closing session leaves: traps C3, C5, E10). Tuples, because they are made
for every write. Their bytes are in `wire.txns`.
"""

from typing import NamedTuple

from .acl import Acls

# Kinds of znode, as stored.
PERSISTENT, EPHEMERAL, CONTAINER, TTL = 0, 1, 2, 3


class CreateTxn(NamedTuple):
    """A new znode at ``path`` (final: with its sequence suffix). ``data`` None is null, which is not empty.

    ``owner`` is the session id of an ephemeral, else 0; ``ttl_ms`` is 0 unless ``kind`` is TTL. ``creations`` is the
    parent's creation counter after this create.
    """

    path: str
    data: bytes | None
    acl: Acls
    kind: int
    owner: int
    ttl_ms: int
    creations: int


class DeleteTxn(NamedTuple):
    path: str


class SetDataTxn(NamedTuple):
    """``version`` is the resulting one."""

    path: str
    data: bytes | None
    version: int


class SetAclTxn(NamedTuple):
    """``aversion`` is the resulting one."""

    path: str
    acl: Acls
    aversion: int


class CheckTxn(NamedTuple):
    """A version check inside a multi that held; changes nothing, has its place among the results."""

    path: str


class CreateSessionTxn(NamedTuple):
    """Opens the session of the transaction's header."""

    timeout_ms: int
    password: bytes


class CloseSessionTxn(NamedTuple):
    """Closes the session of the transaction's header and deletes exactly these znodes, in this order."""

    ephemerals: tuple[str, ...]


class ReconfigTxn(NamedTuple):
    """The configuration is this from here on: what ``/zookeeper/config`` holds, its last line the version, which is
    this transaction's zxid."""

    text: bytes


class ErrorTxn(NamedTuple):
    """Nothing changes. Decided on what was proposed, so it takes its place in the order before it may be told."""

    code: int


class FailedMultiTxn(NamedTuple):
    """A multi that changes nothing: operation ``failed_at`` (from 0) of ``total`` failed with ``code``.

    ``total`` 0: it could be read, but not understood, as when a path is null.
    """

    code: int
    failed_at: int
    total: int


class MultiTxn(NamedTuple):
    """All of these or none, at one zxid. ``ops`` are the opcodes asked for: results are typed by them."""

    ops: tuple[int, ...]
    bodies: tuple["CreateTxn | DeleteTxn | SetDataTxn | SetAclTxn | CheckTxn", ...]


Body = (
    CreateTxn
    | DeleteTxn
    | SetDataTxn
    | SetAclTxn
    | CheckTxn
    | CreateSessionTxn
    | CloseSessionTxn
    | ReconfigTxn
    | ErrorTxn
    | FailedMultiTxn
    | MultiTxn
)


class Txn(NamedTuple):
    """A body with its header: for which session, in answer to which request, at what time (leader's clock, ms)."""

    session_id: int
    xid: int
    request_id: int
    time_ms: int
    body: Body
