"""An export is gone on with: what a killed one has written is copied where the tree is still as it was then.

The tree is walked anew. Of a znode whose line the old part has, only the stat is asked for, with the value if that is
small; if all of it is as the line says, the line is copied, for whatever changes a znode changes its stat. Else it is
read like any other. So the export is what a new one would be, and only less is read for it: not the large values, and
not the ACLs, each of which is a request.

In memory are the paths of the part, about 250 bytes a znode. A part that is gzipped is unpacked into a file without a
name, in the folder for such.
"""

import json
import mmap
import tempfile
import zlib
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import IO, Any

from zabpy.client import Client
from zabpy.model import NoAuthError, Stat

from .archive import LINE_BYTES_MAX, Kept, line_end_of
from .errors import UsageError
from .files import lock, stale_parts
from .pipelined import each
from .records import Record
from .trees import TreeReader

#: How the line of a znode begins, as `archive.line_of` writes it.
BEGINNING = b'{"path": "'
DECODER = json.JSONDecoder()
#: Where a line is, is one number: its offset, and in these lowest bits its length.
LENGTH_BITS = LINE_BYTES_MAX.bit_length()
LENGTH_MASK = (1 << LENGTH_BITS) - 1
#: A stat alone costs a request of its own, where of values there are many in one: worth it for what is larger.
LARGE_BYTES = 1_500
UNPACKED_BYTES = 1024 * 1024
#: The least of a hole in a file, in which there are blocks of at least 512 bytes.
HOLE = bytes(256)


class Resumed(TreeReader):
    """Reads a tree, of which an old part has something already. ``taken``: how many znodes were not read anew."""

    def __init__(self, zk: Client, top: str, *, acls: bool, old: "OldPart") -> None:
        super().__init__(zk, top, acls=acls)
        self._old = old
        self.taken = 0

    async def _records(self, paths: list[str]) -> list[Record]:
        lines = self._old.lines
        places = {path: place for path in paths if (place := lines.pop(self._below(path), None)) is not None}
        kept: dict[str, Record] = {}

        def keep(path: str, stat: Stat) -> bool:
            if (place := places.get(path)) is None or not _is_of(self._old.line(place), stat):
                return False
            kept[path] = Kept(self._below(path), stat, partial(self._old.line, place))
            return True

        large = [path for path, place in places.items() if place & LENGTH_MASK > LARGE_BYTES]
        for path, stat in zip(large, await each(self._stat, large), strict=True):
            if stat is not None:
                keep(path, stat)
        found = await self._znodes([path for path in paths if path not in kept])
        changed = await self._with_acls([znode for znode in found if not keep(znode[0], znode[2])])
        read = {record.path: record for record in changed}
        self.taken += len(kept)
        both = (kept.get(path) or read.get(self._below(path)) for path in paths)
        return [record for record in both if record is not None]

    async def _stat(self, path: str) -> Stat | None:
        try:
            return await self._zk.exists(path)
        except NoAuthError:
            return None  # which is said when it is read


def _is_of(line: bytes, stat: Stat) -> bool:
    """Whether the line was written of a znode with this stat. After a power failure a file may have holes, of zeros,
    which no JSON has."""
    return line.endswith(line_end_of(stat).encode()) and b"\0" not in line


class OldPart:
    """What a killed export to NDJSON has left, locked for as long as it is open. All of it may block.

    Raises:
        UsageError: it is something else.
        OSError: it cannot be read.
    """

    def __init__(self, part: Path, stream: IO[bytes]) -> None:
        self.part = part
        #: Of each path, from the top of the export, where its line is.
        self.lines: dict[str, int] = {}
        self.header: dict[str, Any] = {}
        self._streams = ExitStack()
        self._streams.enter_context(stream)
        try:
            self._lines = self._read(stream)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "OldPart":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._streams.close()

    def line(self, place: int) -> bytes:
        """Plain memory, soon: to read each from the file would let the other thread run, and wait for that."""
        start = place >> LENGTH_BITS
        return self._lines[start : start + (place & LENGTH_MASK)]

    def _read(self, stream: IO[bytes]) -> mmap.mmap | bytes:
        if stream.read(2) == b"\x1f\x8b":
            stream = self._streams.enter_context(_unpacked(stream))
        stream.seek(0)
        at = 0
        for line in iter(partial(stream.readline, LINE_BYTES_MAX), b""):
            if not line.endswith(b"\n"):
                break  # it was cut off here
            if not at:
                self.header = self._header_of(line)
            elif line.startswith(BEGINNING) and (path := _path_of(line)) is not None:
                self.lines["" if path == "/" else path] = at << LENGTH_BITS | len(line)
            at += len(line)
        if not at:
            return b""
        return self._streams.enter_context(mmap.mmap(stream.fileno(), at, access=mmap.ACCESS_READ))

    def _header_of(self, line: bytes) -> dict[str, Any]:
        try:
            header = json.loads(line)
        except ValueError:
            header = None
        if not isinstance(header, dict) or "zabpy_export" not in header:
            raise UsageError(f"{self.part}: is not of an export to NDJSON; without --resume it is begun anew")
        return header


def left_of(target: Path) -> tuple[OldPart | None, list[Path]]:
    """The longest part of writing ``target`` that nobody is writing now, and those that somebody is."""
    busy: list[Path] = []
    for part in sorted(stale_parts(target), key=lambda part: part.stat().st_size, reverse=True):
        stream = part.open("rb")
        if lock(stream) is not False:
            old = OldPart(part, stream)
            if old.lines:
                return old, busy
            old.close()  # and shorter ones have no more
            return None, busy
        stream.close()
        busy.append(part)
    return None, busy


def _path_of(line: bytes) -> str | None:
    try:
        path, _ = DECODER.raw_decode(line.decode("utf-8", "surrogatepass"), len(BEGINNING) - 1)
    except ValueError:
        return None
    return str(path)


def _unpacked(stream: IO[bytes]) -> IO[bytes]:
    """What is there of it, for its end is missing, and with that its checksum: so it ends where a hole may be."""
    plain = tempfile.TemporaryFile()  # noqa: SIM115 - closed by who asks
    unzip = zlib.decompressobj(wbits=31)
    stream.seek(0)
    try:
        for data in iter(partial(stream.read, UNPACKED_BYTES), b""):
            sound, hole, _ = data.partition(HOLE)
            plain.write(unzip.decompress(sound))
            if hole:
                break
    except zlib.error:
        pass
    except BaseException:
        plain.close()
        raise
    plain.flush()
    return plain
