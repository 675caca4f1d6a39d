"""Snapshots: written aside, synced, read back, renamed. What the bytes mean is the business of the layer above.

A snapshot that cannot be written is no disaster: the log is longer then. So nothing here breaks the store, up to the
rename; what there was is removed and `SnapshotFailed` says why (trap P2).
"""

import contextlib
import zlib
from collections.abc import Iterator

from zabpy.model import Tip

from .errors import DamagedSnapshotError, SnapshotFailed
from .files import File, Files
from .format import (
    SNAPSHOT_HEADER_BYTES,
    TRAILER_BYTES,
    SnapshotHeader,
    pack_trailer,
    read_snapshot_header,
    snapshot_name,
)

#: A snapshot of our own is written here, one that is received there.
OWN_ASIDE, RECEIVED_ASIDE = "snapshot.tmp", "image.tmp"
DAMAGED_SUFFIX = ".damaged"
_CHUNK_BYTES = 1 << 20
# Synced in between, so that the last sync is short: the log's syncs would have to wait behind a long one.
_SYNC_BYTES = 8 << 20


class SnapshotFile:
    """A snapshot being written, under a name that no recovery takes for one."""

    def __init__(self, files: Files, directory: str, aside: str) -> None:
        self._files, self._directory = files, directory
        self._path = f"{directory}/{aside}"
        self._size = self._synced = self._crc = 0
        with self._removed_on_failure():
            self._file = files.open(self._path, create=True)

    @contextlib.contextmanager
    def _removed_on_failure(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.remove()
            raise SnapshotFailed(f"{self._path}: offset {self._size}: {error.strerror or error}") from error

    def write(self, data: bytes) -> None:
        """The next bytes of the body. Raises `SnapshotFailed`."""
        with self._removed_on_failure():
            self._file.write(data, SNAPSHOT_HEADER_BYTES + self._size)
            self._size += len(data)
            self._crc = zlib.crc32(data, self._crc)
            if self._size - self._synced >= _SYNC_BYTES:
                self._file.sync_data()
                self._synced = self._size

    def finish(self, header: SnapshotHeader) -> None:
        """Whole, on disk and read back on return, still under its name aside. Raises `SnapshotFailed`."""
        with self._removed_on_failure():
            self._file.write(pack_trailer(header, self._size, self._crc), SNAPSHOT_HEADER_BYTES + self._size)
            self._file.write(header.packed(), 0)
            self._file.sync()
            self._file.evict()
            problem = problem_of(self._file, header, self._path)
            self._file.close()
        if problem is not None:
            self.remove()
            raise SnapshotFailed(f"{self._path}: {problem}, when read back")

    def publish(self, header: SnapshotHeader) -> str:
        """Give it its name, durably. An OSError here leaves the name in doubt: it breaks the store."""
        path = f"{self._directory}/{snapshot_name(header.generation, header.tip.zxid)}"
        self._files.rename(self._path, path)
        self._files.sync_dir(self._directory)
        return path

    def remove(self) -> None:
        """Away with it, as far as that goes: a leftover is removed at the next start."""
        with contextlib.suppress(OSError, AttributeError):
            self._file.close()
        with contextlib.suppress(OSError):
            self._files.unlink(self._path)


def problem_of(file: File, expected: SnapshotHeader | None, path: str) -> str | None:
    """What is wrong with a snapshot file, checked from end to end; None when it is whole."""
    header = read_snapshot_header(file.read(SNAPSHOT_HEADER_BYTES, 0), path)
    if header is None or (expected is not None and header != expected):
        return "offset 0: expected a whole snapshot header"
    end = file.size() - TRAILER_BYTES
    if end < SNAPSHOT_HEADER_BYTES:
        return f"offset {max(end, 0)}: expected a trailer"
    crc, at = 0, SNAPSHOT_HEADER_BYTES
    while at < end:
        chunk = file.read(min(_CHUNK_BYTES, end - at), at)
        if not chunk:
            break
        crc = zlib.crc32(chunk, crc)
        at += len(chunk)
    if file.read(TRAILER_BYTES, end) != pack_trailer(header, end - SNAPSHOT_HEADER_BYTES, crc):
        return f"offset {end}: expected a trailer that fits what is before it"
    return None


def check_snapshot(files: Files, path: str, generation: int, zxid: int) -> Tip | str:
    """The tip of the snapshot at ``path`` when it is whole and what its name says, else what is wrong with it."""
    try:
        file = files.open(path)
    except OSError as error:
        return str(error.strerror or error)
    try:
        header = read_snapshot_header(file.read(SNAPSHOT_HEADER_BYTES, 0), path)
        problem = problem_of(file, None, path)
    except OSError as error:
        return str(error.strerror or error)
    finally:
        file.close()
    if problem is not None or header is None:
        return problem or "offset 0: expected a whole snapshot header"
    if (header.generation, header.tip.zxid) != (generation, zxid):
        return "offset 0: expected the snapshot that the file's name says"
    return header.tip


class SnapshotReader:
    """The body of a snapshot, from the beginning, in pieces of any size. Close it, or use ``with``."""

    def __init__(self, files: Files, path: str) -> None:
        self._path = path
        self._file = files.open(path)
        self._at = SNAPSHOT_HEADER_BYTES
        self._crc = 0
        try:
            self._end = self._file.size() - TRAILER_BYTES
            header = read_snapshot_header(self._file.read(SNAPSHOT_HEADER_BYTES, 0), path)
            if header is None or self._end < self._at:
                raise DamagedSnapshotError(f"{path}: offset 0: expected a whole snapshot header")
        except BaseException:
            self._file.close()
            raise
        self._header = header

    @property
    def tip(self) -> Tip:
        return self._header.tip

    @property
    def size(self) -> int:
        """Bytes of the whole body."""
        return self._end - SNAPSHOT_HEADER_BYTES

    def read(self, size: int) -> bytes:
        """The next ``size`` bytes, fewer at the end, then none.

        Raises:
            DamagedSnapshotError: all was read, and it is not what was written.
        """
        if self._at >= self._end:
            return b""
        data = self._file.read(min(size, self._end - self._at), self._at)
        self._crc = zlib.crc32(data, self._crc)
        self._at += len(data)
        if not data or self._at == self._end:
            trailer = pack_trailer(self._header, self.size, self._crc)
            if not data or self._file.read(TRAILER_BYTES, self._end) != trailer:
                raise DamagedSnapshotError(f"{self._path}: offset {self._end}: expected a trailer that fits the body")
        return data

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> "SnapshotReader":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
