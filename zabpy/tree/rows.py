"""Rows: znodes as plain tuples, the form in which they enter and leave a snapshot.

Parents stand before their children and siblings in the order of creation, so that reading the rows one by one builds
the same tree, down to the order in which children are listed.
"""

from types import NoneType
from typing import cast

from zabpy.model import CONTAINER, EPHEMERAL, OPEN_ACL, PERSISTENT, TTL, Acl, Acls, ZabpyError

from .znode import Znode

Value = int | bytes | str | bool | None | tuple["Value", ...]
#: path, data, acl (None is OPEN_ACL, by far the most frequent), kind, owner, ttl_ms, czxid, mzxid, ctime_ms, mtime_ms,
#: version, creations, aversion, pzxid.
Row = tuple[Value, ...]

_INTS = (int,) * 11
_SHAPES = {(str, data, acl, *_INTS) for data in (bytes, NoneType) for acl in (tuple, NoneType)}
_KINDS = (PERSISTENT, EPHEMERAL, CONTAINER, TTL)
_ACL_SHAPE = (int, str, str)


class RowsError(ZabpyError):
    """Rows that cannot be a tree: a wrong shape, a path twice, a child before its parent. Nothing was loaded."""


def row_of(path: str, znode: Znode) -> Row:
    acl = znode.acl
    return (
        path,
        znode.data,
        None if acl is OPEN_ACL or acl == OPEN_ACL else tuple([tuple(entry) for entry in acl]),
        znode.kind,
        znode.owner,
        znode.ttl_ms,
        znode.czxid,
        znode.mzxid,
        znode.ctime_ms,
        znode.mtime_ms,
        znode.version,
        znode.creations,
        znode.aversion,
        znode.pzxid,
    )


def znode_of(row: Row) -> tuple[str, Znode]:
    """The path and the znode, still without its children.

    Raises:
        RowsError: not the shape of a row.
    """
    if tuple(map(type, row)) not in _SHAPES or row[3] not in _KINDS:
        raise RowsError(f"not a row of a znode: {row!r:.200}")
    path, data, acl, *numbers = row
    znode = Znode(cast(bytes | None, data), _acl_of(row, acl), *cast(list[int], numbers))
    return cast(str, path), znode


def _acl_of(row: Row, acl: Value) -> Acls:
    if acl is None:
        return OPEN_ACL
    for entry in cast(tuple[Value, ...], acl):
        if type(entry) is not tuple or tuple(map(type, entry)) != _ACL_SHAPE:
            raise RowsError(f"not an access control list: {row!r:.200}")
    return tuple([Acl(*entry) for entry in cast(tuple[tuple[int, str, str], ...], acl)])
