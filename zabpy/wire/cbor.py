"""CBOR arrays: flat ones, the shape of all that servers tell each other and write into the log; rows for snapshots.

The profile of RFC 8949 read here: one array of definite length holding int (-2⁶⁴ to 2⁶⁴ - 1), bytes, str, bool and
None, and nothing behind it. Because nothing nests, ``max_depth=1`` makes cbor2 refuse arrays, maps and tags before it
builds anything of them, so no bytes can recurse, call a constructor or follow a reference. What that leaves (floats,
undefined, simple values, an empty array or map) has other types: callers check the type of every item.

Facts about cbor2 6.2, by experiment: it reads a claimed length in pieces and so never allocates by the claim; tags and
containers share the depth; bytes behind the first value are silently ignored; ``max_depth`` and ``allow_indefinite``
are parameters of each call, nothing is set globally. `tests/wire/test_cbor.py` holds it to them.
"""

import io
from collections.abc import Sequence
from typing import Any

import cbor2

from zabpy.model import ZabpyError

Scalar = int | bytes | str | bool | None

#: Items of one array, at most: an item costs up to 72 bytes of memory (a simple value), however short on the wire.
ITEMS_MAX = 1 << 21
# Longer arrays must also hold three bytes an item, so that memory stays in proportion to the frame. The shortest
# honest one is a Propose of epoch-start records: at least eleven bytes for three items.
_ITEMS_UNCHECKED = 4096
_ITEM_BYTES_MIN = 3

# cbor2 ignores a tail. So a short array is read with one item more in its header and this behind it: found in the last
# place, there was no tail. Bytes that hold the mark itself, as long ones, are read from a file, which costs 2 µs more.
_MARK = b"\xfe\x01\xffzabpy"
_MARK_ITEM = bytes([0x40 | len(_MARK)]) + _MARK
_ONE_MORE = {0x80 | count: bytes([0x80 | count + 1]) for count in range(23)}
_SHORT_BYTES_MAX = 16 * 1024

_loads = cbor2.loads


def dump_flat(items: Sequence[Scalar]) -> bytes:
    """The array's bytes. About 0.6 µs and 0.2 to 0.4 µs an item."""
    assert len(items) <= ITEMS_MAX
    return cbor2.dumps(items)


def load_flat(data: bytes) -> list[Any]:
    """The items of the array that ``data`` is, in the types cbor2 gives them. About 1.3 µs for ten items.

    Raises:
        CborError: it is anything else: cut short, with a tail, nested, of indefinite length, too many items.
    """
    header = _ONE_MORE.get(data[0]) if data else None
    if header is None or len(data) > _SHORT_BYTES_MAX or _MARK in data:
        return _load_long(data)
    try:
        items: list[Any] = _loads(header + data[1:] + _MARK_ITEM, max_depth=1, allow_indefinite=False)
    except cbor2.CBORError as error:
        raise CborError(str(error)) from None
    if items.pop() != _MARK:
        raise CborError("bytes behind the array")
    return items


class CborError(ZabpyError):
    """Not one array of what is allowed here."""


Row = tuple["Scalar | Row", ...]

#: Arrays within arrays at most, the outermost counted: a chunk, its rows, and what a row may hold.
ROWS_DEPTH_MAX = 8

_ROW_TYPES = {int, bytes, str, bool, type(None), tuple}


def load_rows(data: bytes) -> Row:
    """An array that may hold arrays, `ROWS_DEPTH_MAX` deep; all of them as tuples, and every type checked.

    Memory may come to 80 times ``data``, for a million of empty arrays. About 2 µs a row of fifteen items.

    Raises:
        CborError: it is anything else.
    """
    _count(data)
    source = io.BytesIO(data)
    decoder = cbor2.CBORDecoder(
        source,
        max_depth=ROWS_DEPTH_MAX,
        allow_indefinite=False,
        strict_hashable_types=True,  # a map is refused below, but must not take long to build
        semantic_decoders=_NO_TAGS,
        read_size=min(max(len(data), 16), 65536),
    )
    try:
        row: Row = decoder.decode(immutable=True)
    except cbor2.CBORError as error:
        raise CborError(str(error)) from None
    if source.tell() != len(data):
        raise CborError("bytes behind the array")
    _check(row)
    return row


def _check(row: Row) -> None:
    types = {*map(type, row)}
    if not types <= _ROW_TYPES:
        raise CborError(f"items of {sorted(kind.__name__ for kind in types - _ROW_TYPES)}")
    if tuple in types:
        for item in row:
            if type(item) is tuple:
                _check(item)


class _NoTags(dict[int, Any]):
    """Looked up for every tag, known to cbor2 or not: refuses it before its content is read."""

    def __getitem__(self, tag: int) -> Any:
        raise CborError(f"tag {tag}")


_NO_TAGS = _NoTags()


def _load_long(data: bytes) -> list[Any]:
    count = _count(data)
    if count > ITEMS_MAX or count > _ITEMS_UNCHECKED + len(data) // _ITEM_BYTES_MIN:
        raise CborError(f"array of {count} items in {len(data)} bytes")
    source = io.BytesIO(data)
    read_size = min(max(len(data), 16), 65536)
    decoder = cbor2.CBORDecoder(source, max_depth=1, allow_indefinite=False, read_size=read_size)
    try:
        items: list[Any] = decoder.decode()
    except cbor2.CBORError as error:
        raise CborError(str(error)) from None
    if source.tell() != len(data):
        raise CborError("bytes behind the array")
    return items


def _count(data: bytes) -> int:
    """How many items the array's header announces."""
    first = data[0] if data else 0
    if 0x80 <= first < 0x98:
        return first & 0x1F
    if 0x98 <= first <= 0x9B:
        size = 1 << (first - 0x98)
        if len(data) > size:
            return int.from_bytes(data[1 : 1 + size], "big")
    raise CborError("not an array of definite length")
