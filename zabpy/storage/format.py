"""The bytes of the data directory. Everything is big-endian; no run of zeros is ever legal.

A log segment, ``log.<generation>.<base zxid>``, both in hex, is one sealed header and then frames without gaps:

    header   8 magic "zabpyLOG", 2 format version, 2 body length, body, 4 CRC-32 of all before it
             body: 8 server id, 8 generation, 8 base zxid, 4 base chain
    mark     0xB5, 8 synced, 4 CRC-32 of (segment, own offset, synced)          one at the start of each batch
    record   0xE1, 4 payload length, 4 chain, 8 zxid, payload                   one an entry

*Base* is the record that the segment's first one follows; names carry it, not the first zxid, because at the birth of
a segment the first zxid may not be known. *Generation* counts how often the history was replaced as a whole (an image
from the leader): files of another generation than the one in the meta file have no part in the history.

A record is checked by its chain alone (model/entry.py): a CRC-32 over the previous record's chain, the zxid and the
payload. So an intact old record at a reused place does not verify, nor does one after a hole. An entry "hi" at zxid
0x700000001 behind a base chain 0 is

    e1 00000002 bea5049c 0000000700000001 6869

A *mark* says: when this batch was written, everything in this file before the offset ``synced`` had been synced. That
tells a torn tail from damage (repair.py). Its CRC is bound to segment and offset, so it never verifies elsewhere.

A snapshot, ``snapshot.<generation>.<zxid>``:

    header   sealed, magic "zabpySNP", body: 8 generation, 8 zxid, 4 chain
    body     bytes of the layer above, unread
    trailer  sealed, magic "zabpyEND", body: 8 body length, 4 CRC-32 of the body, 4 the header's CRC

The meta file, ``epochs``, is in epochs.py. Whoever changes a layout raises FORMAT and reads the one before it.
"""

import re
import struct
import zlib
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from zabpy.model import NO_ZXID, Entry, Tip, Zxid

from .errors import NewerFormatError, OutOfOrderError

FORMAT = 1
#: Above any legal payload (a peer's frame is bounded by as much), far below what a damaged length could ask for.
PAYLOAD_BYTES_MAX = 64 << 20

LOG_MAGIC, SNAPSHOT_MAGIC, TRAILER_MAGIC = b"zabpyLOG", b"zabpySNP", b"zabpyEND"
RECORD_MAGIC, MARK_MAGIC = 0xE1, 0xB5
RECORD = struct.Struct(">BIIQ")
MARK = struct.Struct(">BQI")
_MARK_CHECKED = struct.Struct(">QQ")
_SEAL = struct.Struct(">8sHH")
_CRC = struct.Struct(">I")
_LOG_BODY = struct.Struct(">QQQI")
_SNAPSHOT_BODY = struct.Struct(">QQI")
_TRAILER_BODY = struct.Struct(">QII")

LOG_HEADER_BYTES = _SEAL.size + _LOG_BODY.size + _CRC.size
SNAPSHOT_HEADER_BYTES = _SEAL.size + _SNAPSHOT_BODY.size + _CRC.size
TRAILER_BYTES = _SEAL.size + _TRAILER_BODY.size + _CRC.size


def seal(magic: bytes, body: bytes) -> bytes:
    """A block that names its kind and version and cannot be cut or changed unnoticed."""
    block = _SEAL.pack(magic, FORMAT, len(body)) + body
    return block + _CRC.pack(zlib.crc32(block))


def unseal(magic: bytes, data: bytes, path: str) -> bytes | None:
    """The body of the sealed block at the start of ``data``; None when there is no whole one.

    Raises:
        NewerFormatError: it is whole, and of a version that we do not know.
    """
    if len(data) < _SEAL.size:
        return None
    found, version, length = _SEAL.unpack_from(data)
    end = _SEAL.size + length
    if found != magic or len(data) < end + _CRC.size or _CRC.unpack_from(data, end)[0] != zlib.crc32(data[:end]):
        return None
    if version > FORMAT:
        raise NewerFormatError(f"{path}: format {version}, but this version of zabpy knows formats up to {FORMAT}")
    return data[_SEAL.size : end]


class LogHeader(NamedTuple):
    server_id: int
    generation: int
    base: Tip

    def packed(self) -> bytes:
        return seal(LOG_MAGIC, _LOG_BODY.pack(self.server_id, self.generation, *self.base))

    def salt(self) -> int:
        """What binds marks to this segment."""
        return zlib.crc32(self.packed())


def read_log_header(data: bytes, path: str) -> LogHeader | None:
    """None when there is no whole header."""
    body = unseal(LOG_MAGIC, data[:LOG_HEADER_BYTES], path)
    if body is None or len(body) != _LOG_BODY.size:
        return None
    server_id, generation, zxid, chain = _LOG_BODY.unpack(body)
    return LogHeader(server_id, generation, Tip(Zxid(zxid), chain))


def pack_mark(salt: int, offset: int, synced: int) -> bytes:
    return MARK.pack(MARK_MAGIC, synced, zlib.crc32(_MARK_CHECKED.pack(offset, synced), salt))


def read_mark(salt: int, data: bytes, at: int, offset: int) -> int | None:
    """The ``synced`` of the mark at ``data[at]``, which is at ``offset`` of its segment; None if it is none."""
    if len(data) - at < MARK.size:
        return None
    magic, synced, crc = MARK.unpack_from(data, at)
    if magic != MARK_MAGIC or synced > offset or crc != zlib.crc32(_MARK_CHECKED.pack(offset, synced), salt):
        return None
    assert isinstance(synced, int)
    return synced


def pack_batch(mark: bytes, entries: Iterable[Entry], before: Tip) -> tuple[bytes, Tip]:
    """A batch and the tip behind it.

    Each entry's place and chain are checked again: a wrong one would make the log unreadable from there on, and that
    would come out at the next start, when it is too late. About 0.7 µs an entry of 150 bytes, half of it the check.

    Raises:
        OutOfOrderError: an entry that does not follow the one before it, or is too large.
    """
    parts = [mark]
    add, pack, crc32 = parts.append, RECORD.pack, zlib.crc32
    last, tip_chain = before
    for zxid, payload, chain in entries:
        if (zxid == last + 1 and zxid & 0xFFFFFFFF) or (zxid & 0xFFFFFFFF == 0 and zxid > last):
            tip_chain = crc32(payload, crc32(zxid.to_bytes(8, "big"), tip_chain))
            if tip_chain == chain and len(payload) <= PAYLOAD_BYTES_MAX:
                add(pack(RECORD_MAGIC, len(payload), chain, zxid))
                add(payload)
                last = zxid
                continue
        raise OutOfOrderError(
            f"entry {zxid:#x} (chain {chain:#x}, {len(payload)} bytes) cannot follow {last:#x} (chain {tip_chain:#x})"
        )
    return b"".join(parts), Tip(last, tip_chain)


def frames(data: bytes, at: int, shift: int, before: Tip, salt: int) -> Iterator[tuple[int, int, int, int, int]]:
    """All frames from ``data[at]`` on that verify behind ``before``, up to the first that does not.

    Each as ``(offset, zxid, start, end, chain)``, payload at ``data[start:end]``; a mark as ``(offset, -1, synced,
    end, 0)``. ``shift`` is the offset of ``data[0]`` in its segment. About 1 µs a record.
    """
    unpack, header_bytes, crc32, size = RECORD.unpack_from, RECORD.size, zlib.crc32, len(data)
    view = memoryview(data)
    last, tip_chain = before
    while at < size:
        if data[at] == RECORD_MAGIC:
            start = at + header_bytes
            if start > size:
                return
            _, length, chain, zxid = unpack(data, at)
            end = start + length
            if end > size or length > PAYLOAD_BYTES_MAX:
                return
            if chain != crc32(view[at + 9 : end], tip_chain):
                return
            if not ((zxid == last + 1 and zxid & 0xFFFFFFFF) or (zxid & 0xFFFFFFFF == 0 and zxid > last)):
                return
            yield shift + at, zxid, start, end, chain
            last, tip_chain, at = zxid, chain, end
        else:
            synced = read_mark(salt, data, at, shift + at)
            if synced is None:
                return
            yield shift + at, -1, synced, at + MARK.size, 0
            at += MARK.size


class SnapshotHeader(NamedTuple):
    generation: int
    tip: Tip

    def packed(self) -> bytes:
        return seal(SNAPSHOT_MAGIC, _SNAPSHOT_BODY.pack(self.generation, *self.tip))


def read_snapshot_header(data: bytes, path: str) -> SnapshotHeader | None:
    body = unseal(SNAPSHOT_MAGIC, data[:SNAPSHOT_HEADER_BYTES], path)
    if body is None or len(body) != _SNAPSHOT_BODY.size:
        return None
    generation, zxid, chain = _SNAPSHOT_BODY.unpack(body)
    return SnapshotHeader(generation, Tip(Zxid(zxid), chain))


def pack_trailer(header: SnapshotHeader, body_bytes: int, body_crc: int) -> bytes:
    return seal(TRAILER_MAGIC, _TRAILER_BODY.pack(body_bytes, body_crc, zlib.crc32(header.packed())))


def log_name(generation: int, base: Zxid) -> str:
    return f"log.{generation:08x}.{base:016x}"


def snapshot_name(generation: int, zxid: Zxid) -> str:
    return f"snapshot.{generation:08x}.{zxid:016x}"


class Name(NamedTuple):
    """A file name of ours, taken apart."""

    name: str
    generation: int
    zxid: Zxid


_NAMES = re.compile(r"(log|snapshot)\.([0-9a-f]{8,})\.([0-9a-f]{16})")


def names_of(kind: str, names: Iterable[str]) -> list[Name]:
    """Those of ``names`` that are of this kind ("log", "snapshot"), by generation and zxid."""
    found = [
        Name(name, int(match[2], 16), Zxid(int(match[3], 16)))
        for name in names
        if (match := _NAMES.fullmatch(name)) and match[1] == kind
    ]
    return sorted(found, key=lambda name: name[1:])


assert NO_ZXID == 0  # in names and headers "nothing before" is written as zero
