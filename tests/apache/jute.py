"""Requests in bytes, right and wrong: written here anew, so that no error of ours can hide in both ends."""

import struct
from collections.abc import Iterable

Text = str | bytes | None
#: Permissions, scheme, id.
Entry = tuple[int, Text, Text]
OPEN: tuple[Entry, ...] = ((31, "world", "anyone"),)
NULL = b"\xff\xff\xff\xff"

CREATE, DELETE, EXISTS, GET_DATA, SET_DATA, GET_ACL, SET_ACL, GET_CHILDREN, SYNC = range(1, 10)
PING, GET_CHILDREN2, CHECK, MULTI, CREATE2, RECONFIG, CHECK_WATCHES, REMOVE_WATCHES = range(11, 19)
CREATE_CONTAINER, DELETE_CONTAINER, CREATE_TTL, MULTI_READ = range(19, 23)
AUTH, SET_WATCHES, SASL, GET_EPHEMERALS, GET_ALL_CHILDREN_NUMBER, SET_WATCHES2, ADD_WATCH, WHO_AM_I = range(100, 108)
CLOSE_SESSION = -11
#: Opcodes that do not exist, or not for clients.
UNKNOWN = (0, -1, 10, 23, 99, 108, 1000, -2, -12, 0x7FFFFFFF, -0x80000000)

#: Operations by the names the counts are printed with.
NAMES = {number: name.lower() for name, number in list(globals().items()) if name.isupper() and isinstance(number, int)}


def integer(value: int) -> bytes:
    return struct.pack(">i", value)


def long(value: int) -> bytes:
    return struct.pack(">q", value)


def text(value: Text) -> bytes:
    if value is None:
        return NULL
    raw = value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value
    return integer(len(raw)) + raw


def vector(values: Iterable[bytes] | None) -> bytes:
    if values is None:
        return NULL
    items = list(values)
    return integer(len(items)) + b"".join(items)


def texts(values: Iterable[Text] | None) -> bytes:
    return vector(None if values is None else [text(value) for value in values])


def acls(entries: Iterable[Entry] | None) -> bytes:
    return vector(None if entries is None else [integer(p) + text(scheme) + text(id) for p, scheme, id in entries])


def create(path: Text, data: Text, acl: Iterable[Entry] | None = OPEN, flags: int = 0) -> bytes:
    return text(path) + text(data) + acls(acl) + integer(flags)


def create_ttl(path: Text, data: Text, acl: Iterable[Entry] | None, flags: int, ttl: int) -> bytes:
    return create(path, data, acl, flags) + long(ttl)


def path_and_int(path: Text, value: int) -> bytes:
    """delete, check (a version), addWatch (a mode), checkWatches and removeWatches (a type)."""
    return text(path) + integer(value)


def path_and_flag(path: Text, flag: int) -> bytes:
    """exists, getData, getChildren: the flag is ``watch``, and any byte but 0 is yes."""
    return text(path) + bytes([flag])


def set_data(path: Text, data: Text, version: int = -1) -> bytes:
    return text(path) + text(data) + integer(version)


def set_acl(path: Text, acl: Iterable[Entry] | None, version: int = -1) -> bytes:
    return text(path) + acls(acl) + integer(version)


def auth(scheme: Text, credential: Text) -> bytes:
    return integer(0) + text(scheme) + text(credential)


def part(op: int, record: bytes, done: bool = False, err: int = -1) -> bytes:
    return struct.pack(">i?i", op, done, err) + record


END = struct.pack(">i?i", -1, True, -1)


def multi(parts: Iterable[tuple[int, bytes]]) -> bytes:
    return b"".join(part(op, record) for op, record in parts) + END


def set_watches(zxid: int, *lists: Iterable[Text] | None) -> bytes:
    return long(zxid) + b"".join(texts(paths) for paths in lists)


def frame(xid: int, op: int, record: bytes) -> bytes:
    return struct.pack(">iii", 8 + len(record), xid, op) + record
