"""An export is gone on with: what a killed one has written is copied where the tree is still as it was then.

The tree is walked anew. Of a znode whose line the old part has, only the stat is asked for; if all of it is as the
line says, the line is copied, for whatever changes a znode changes its stat. Else it is read like any other. So the
export is what a new one would be, and only less is read for it.

In memory are the paths of the part, about 250 bytes a znode. A part that is gzipped is unpacked into a file without a
name, in the folder for such.
"""

import json
import os
import tempfile
import zlib
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import IO, Any

import anyio

from zabpy.client import Client
from zabpy.model import Stat

from .archive import LINE_BYTES_MAX, Kept
from .errors import UsageError
from .files import lock, stale_parts
from .records import Record
from .stats import stat_fields
from .trees import TreeReader
from .values import data_of
from .walk import Denied, Reading

#: How the line of a znode begins, as `archive.line_of` writes it.
BEGINNING = b'{"path": "'
DECODER = json.JSONDecoder()
#: Where a line is, is one number: its offset, and in these lowest bits its length.
LENGTH_BITS = LINE_BYTES_MAX.bit_length()
UNPACKED_BYTES = 1024 * 1024


class Resumed(TreeReader):
    """Reads a tree, of which an old part has something already. ``taken``: how many znodes were not read anew."""

    def __init__(self, zk: Client, top: str, *, acls: bool, old: "OldPart") -> None:
        super().__init__(zk, top, acls=acls)
        self._old, self._stats = old, Reading(zk)
        self.taken = 0

    async def _records(self, paths: list[str]) -> list[Record]:
        places = {path: place for path in paths if (place := self._old.lines.pop(self._below(path), None)) is not None}
        stats = await self._stats.stats(list(places))
        kept = await anyio.to_thread.run_sync(self._kept, places, stats)
        self.taken += len(kept)
        read = iter(await super()._records([path for path in paths if path not in kept]))
        last = next(read, None)
        records: list[Record] = []
        for path in paths:
            if path in kept:
                records.append(kept[path])
            elif last is not None and last.path == self._below(path):
                records.append(last)
                last = next(read, None)
        return records

    def _kept(self, places: dict[str, int], stats: Sequence[Stat | Denied | None]) -> dict[str, Record]:
        """Those that are still as their lines say."""
        return {
            path: Kept(self._below(path), stat, partial(self._old.line, place))
            for (path, place), stat in zip(places.items(), stats, strict=True)
            if isinstance(stat, Stat) and _says(self._old.line(place), self._below(path), stat)
        }


def _says(line: bytes, path: str, stat: Stat) -> bool:
    """Whether this is the znode's line, and of no other moment. After a power failure there may be holes in a file."""
    try:
        fields = json.loads(line)
        data = data_of(fields) or b""
    except (ValueError, UsageError):
        return False
    wanted = {"path": path or "/", **stat_fields(stat)}
    return len(data) == stat.data_length and all(fields.get(name) == value for name, value in wanted.items())


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
        self._plain = stream
        try:
            self._read()
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
        return os.pread(self._plain.fileno(), place & (1 << LENGTH_BITS) - 1, place >> LENGTH_BITS)

    def _read(self) -> None:
        if self._plain.read(2) == b"\x1f\x8b":
            self._plain = self._streams.enter_context(_unpacked(self._plain))
        self._plain.seek(0)
        at = 0
        for line in iter(partial(self._plain.readline, LINE_BYTES_MAX), b""):
            if not line.endswith(b"\n"):
                break  # it was cut off here
            if not at:
                self.header = self._header_of(line)
            elif line.startswith(BEGINNING) and (path := _path_of(line)) is not None:
                self.lines["" if path == "/" else path] = at << LENGTH_BITS | len(line)
            at += len(line)

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
    """What is there of it, for its end is missing."""
    plain = tempfile.TemporaryFile()  # noqa: SIM115 - closed by who asks
    unzip = zlib.decompressobj(wbits=31)
    stream.seek(0)
    try:
        for data in iter(partial(stream.read, UNPACKED_BYTES), b""):
            plain.write(unzip.decompress(data))
    except zlib.error:
        pass
    except BaseException:
        plain.close()
        raise
    plain.flush()
    return plain
