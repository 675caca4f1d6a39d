"""Snapshots as bytes: rows in chunks, each under a checksum that runs through all before it, and a count at the end.

::

    image  = MAGIC, header chunk, row chunks, trailer chunk, end of file
    chunk  = length of the body (4 bytes), CRC-32 (4 bytes), body: one CBOR array
    header = [0, format, zxid, chain]      rows = [1, row, row, …]      trailer = [2, number of rows]

The CRC of a chunk goes over its length and body and starts from the CRC of the chunk before, so a chunk that is
changed, missing, doubled or in another place is found at once; a cut image has no trailer. The same bytes are a
snapshot file and what a lagging peer is sent.
"""

import struct
import zlib
from collections.abc import Callable, Iterable, Iterator

import cbor2

from zabpy.model import Tip, ZabpyError, Zxid

from .cbor import CborError, Row, load_rows
from .framing import PEER_FRAME_BYTES_MAX

#: First bytes of every image.
MAGIC = b"zabpyimg"
#: Version of this layout. A server refuses images of a version it does not know.
IMAGE_VERSION = 1
#: A chunk is closed when it has this many bytes: what is held in memory, and read before the next check.
CHUNK_BYTES = 256 * 1024
#: Largest body of a chunk: one row with the largest value there can be.
CHUNK_BYTES_MAX = PEER_FRAME_BYTES_MAX + CHUNK_BYTES

_HEADER, _ROWS, _TRAILER = 0, 1, 2
_LENGTH, _PREFIX = struct.Struct(">I"), struct.Struct(">II")
_READ_BYTES_MAX = 1 << 20  # at a time, so that a wrong length takes no more memory than there are bytes


class ImageWriter:
    """Writes one image: `begin`, `add` as often as needed, `end`. Nothing is whole before `end` returns.

    Hands ``write`` at most `CHUNK_BYTES` at a time, or one row if that is longer. About 4 µs a row.
    """

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self._write = write
        self._crc = 0
        self._rows: list[bytes] = []  # of the open chunk, encoded
        self._size = 0
        self._count = 0

    def begin(self, tip: Tip) -> None:
        """Write the header: the image shows the state after ``tip``."""
        self._write(MAGIC)
        self._chunk(cbor2.dumps((_HEADER, IMAGE_VERSION, tip.zxid, tip.chain)))

    def add(self, rows: Iterable[Row]) -> None:
        """Add rows: tuples of int, bytes, str, bool, None and of such tuples, down to `ROWS_DEPTH_MAX`.

        Raises:
            ImageError: a row is too long for any chunk; the image cannot be finished.
        """
        for row in rows:
            data = cbor2.dumps(row)
            if self._size and self._size + len(data) > CHUNK_BYTES:
                self._flush()
            if len(data) > PEER_FRAME_BYTES_MAX:
                raise ImageError(f"row of {len(data)} bytes, at most {PEER_FRAME_BYTES_MAX} expected")
            self._rows.append(data)
            self._size += len(data)

    def end(self) -> int:
        """Write what is left and the trailer, and return the number of rows."""
        self._flush()
        self._chunk(cbor2.dumps((_TRAILER, self._count)))
        return self._count

    def _flush(self) -> None:
        if self._rows:
            self._count += len(self._rows)
            # An array of the kind and the rows, put together from rows that are encoded already.
            self._chunk(b"\x9a" + _LENGTH.pack(1 + len(self._rows)) + bytes([_ROWS]) + b"".join(self._rows))
            self._rows, self._size = [], 0

    def _chunk(self, body: bytes) -> None:
        length = _LENGTH.pack(len(body))
        self._crc = zlib.crc32(body, zlib.crc32(length, self._crc))
        self._write(length + _LENGTH.pack(self._crc) + body)


class ImageReader:
    """Reads one image: `tip` at once, then iterate for the rows, once. Every row is of a chunk whose checksum held.

    Only when the iteration has ended without `ImageError` was the image whole: do not use the rows before that.

    Args:
        read: gives up to that many bytes, none at the end, as a file's ``read``.
    """

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self._read = read
        self._crc = 0
        self._at = 0
        magic = self._bytes(len(MAGIC), "the start of an image")
        if magic != MAGIC:
            raise ImageError(f"{magic!r} at byte 0, {MAGIC!r} expected")
        header = self._chunk()
        if len(header) < 2 or type(header[0]) is not int or header[0] != _HEADER:
            raise ImageError("no header in the first chunk")
        if type(header[1]) is not int or header[1] != IMAGE_VERSION:
            raise ImageError(f"version {header[1]!r} of the format, {IMAGE_VERSION} expected")
        fields = [item for item in header[2:] if type(item) is int and 0 <= item < 1 << 64]
        if len(header) != 4 or len(fields) != 2 or fields[1] >= 1 << 32:
            raise ImageError(f"header {header[2:]!r:.60}")
        #: The point in history the image stands for.
        self.tip = Tip(Zxid(fields[0]), fields[1])

    def __iter__(self) -> Iterator[Row]:
        count = 0
        while True:
            chunk = self._chunk()
            kind = chunk[0] if chunk else None
            if type(kind) is not int or kind not in (_ROWS, _TRAILER):
                raise ImageError(f"chunk of kind {kind!r:.40} before byte {self._at}")
            if kind == _TRAILER:
                if len(chunk) != 2 or type(chunk[1]) is not int or chunk[1] != count:
                    raise ImageError(f"trailer {chunk[1:]!r:.40} behind {count} rows")
                if self._read(1):
                    raise ImageError(f"bytes behind the trailer, at byte {self._at}")
                return
            count += len(chunk) - 1
            for row in chunk[1:]:
                if type(row) is not tuple:
                    raise ImageError(f"{type(row).__name__} among the rows before byte {self._at}")
                yield row

    def _chunk(self) -> Row:
        start = self._at
        prefix = self._bytes(_PREFIX.size, "a chunk")
        length, crc = _PREFIX.unpack(prefix)
        if length > CHUNK_BYTES_MAX:
            raise ImageError(f"chunk of {length} bytes at byte {start}, at most {CHUNK_BYTES_MAX} expected")
        body = self._bytes(length, "a chunk's body")
        self._crc = zlib.crc32(body, zlib.crc32(prefix[:4], self._crc))
        if self._crc != crc:
            raise ImageError(f"checksum of the chunk at byte {start} is {self._crc:08x}, {crc:08x} expected")
        try:
            return load_rows(body)
        except CborError as error:
            raise ImageError(f"chunk at byte {start}: {error}") from None

    def _bytes(self, size: int, what: str) -> bytes:
        pieces, missing = [], size
        while missing:
            piece = self._read(min(missing, _READ_BYTES_MAX))
            if not piece:
                raise ImageError(f"cut at byte {self._at + size - missing}, in {what}")
            pieces.append(piece)
            missing -= len(piece)
        self._at += size
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)


class ImageError(ZabpyError):
    """The image is damaged, cut, of a newer format, or none."""
