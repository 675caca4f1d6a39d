"""The seam to the operating system: everything storage asks of a disk, and nothing else.

`OsFiles` here is the real one; `zabpy.testing.FaultyFiles` loses power, space and bits. What a caller may count on is
only what is written here, and that is little: content is on disk once `File.sync` or `File.sync_data` has returned,
a name once `Files.sync_dir` of its directory has. Until then a power cut may keep any part, in any order.
"""

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class File(Protocol):
    """An open file, unbuffered, addressed by offset."""

    def read(self, size: int, offset: int) -> bytes:
        """Up to ``size`` bytes; less only at the end of the file."""
        ...

    def write(self, data: bytes, offset: int) -> None:
        """All of ``data``, however many system calls that takes."""
        ...

    def allocate(self, offset: int, size: int) -> None:
        """Make room for ``size`` zero bytes at ``offset``, which must be the end of the file."""
        ...

    def truncate(self, size: int) -> None: ...

    def size(self) -> int: ...

    def sync_data(self) -> None:
        """Content is on disk, and the size if it grew."""
        ...

    def sync(self) -> None:
        """Content and all of the file's metadata are on disk. Its name is not: see `Files.sync_dir`."""
        ...

    def evict(self) -> None:
        """Forget what is cached of it, as far as possible, so that the next read asks the disk. A hint."""
        ...

    def close(self) -> None:
        """Once or more often."""
        ...


class Lock(Protocol):
    def close(self) -> None:
        """Once or more often."""
        ...


class Files(Protocol):
    """Names. Paths are joined with ``/``."""

    def make_dir(self, path: str) -> None:
        """Make the directory and its missing parents, durably; fine if it exists."""
        ...

    def list(self, path: str) -> list[str]:
        """Names in the directory, sorted; empty when there is no directory."""
        ...

    def lock(self, path: str) -> Lock:
        """Hold the directory for this process. Nothing is written. Raises BlockingIOError when another has it."""
        ...

    def open(self, path: str, *, create: bool = False) -> File:
        """For reading and writing; with ``create`` a new empty file, replacing what had the name."""
        ...

    def rename(self, old: str, new: str) -> None:
        """Atomic in naming; durable after `sync_dir`."""
        ...

    def unlink(self, path: str) -> None: ...

    def sync_dir(self, path: str) -> None: ...


class OsFile:
    """Errors name the file, which the system's own do not for calls on a descriptor."""

    def __init__(self, fd: int, path: str) -> None:
        self._fd, self._path = fd, path

    @property
    def closed(self) -> bool:
        return self._fd < 0

    def read(self, size: int, offset: int) -> bytes:
        with self._named():
            data = os.pread(self._fd, size, offset)
            if len(data) == size or not data:
                return data
            parts, got = [data], len(data)
            while got < size and (data := os.pread(self._fd, size - got, offset + got)):
                parts.append(data)
                got += len(data)
            return b"".join(parts)

    def write(self, data: bytes, offset: int) -> None:
        try:
            written = os.pwrite(self._fd, data, offset)
            if written == len(data):
                return
            rest = memoryview(data)
            while written < len(data):
                written += os.pwrite(self._fd, rest[written:], offset + written)
        except OSError as error:  # not `_named`: this is the hot path
            raise OSError(error.errno, error.strerror, self._path) from error

    def allocate(self, offset: int, size: int) -> None:
        # Written zeros, not only reserved blocks: into those, each sync would also have to journal that they are in
        # use now, which on ext4 doubles the cost of syncing a large batch.
        self.write(bytes(size), offset)

    def truncate(self, size: int) -> None:
        with self._named():
            os.ftruncate(self._fd, size)

    def size(self) -> int:
        return os.fstat(self._fd).st_size

    def sync_data(self) -> None:
        with self._named():
            _sync_data(self._fd)

    def sync(self) -> None:
        with self._named():
            _sync(self._fd)

    def evict(self) -> None:
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(self._fd, 0, 0, os.POSIX_FADV_DONTNEED)

    def close(self) -> None:
        fd, self._fd = self._fd, -1  # the number may soon be another file's
        with self._named():
            os.close(fd)

    @contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise OSError(error.errno, error.strerror, self._path) from error


class OsLock:
    def __init__(self, fd: int) -> None:
        self._fd = fd

    @property
    def closed(self) -> bool:
        return self._fd < 0

    def close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


class OsFiles:
    """The file system of this machine. Files are made readable for their owner only: they hold session passwords."""

    def make_dir(self, path: str) -> None:
        if os.path.isdir(path):
            return
        parent = os.path.dirname(os.path.abspath(path))
        self.make_dir(parent)
        try:
            os.mkdir(path, 0o750)
        except FileExistsError:
            if not os.path.isdir(path):
                raise
        self.sync_dir(parent)

    def list(self, path: str) -> list[str]:
        try:
            return sorted(os.listdir(path))
        except FileNotFoundError:
            return []

    def lock(self, path: str) -> OsLock:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BaseException:
            os.close(fd)
            raise
        return OsLock(fd)

    def open(self, path: str, *, create: bool = False) -> OsFile:
        flags = os.O_RDWR | os.O_CLOEXEC
        return OsFile(os.open(path, flags | os.O_CREAT | os.O_TRUNC if create else flags, 0o600), path)

    def rename(self, old: str, new: str) -> None:
        os.replace(old, new)

    def unlink(self, path: str) -> None:
        os.unlink(path)

    def sync_dir(self, path: str) -> None:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        except OSError as error:
            if error.errno != errno.EINVAL:  # some file systems (of guests' shared folders) know no such thing
                raise
        finally:
            os.close(fd)


# On macOS neither call reaches the platter; F_FULLFSYNC does.
_FULL_SYNC: int | None = getattr(fcntl, "F_FULLFSYNC", None)


def _sync(fd: int) -> None:
    if _FULL_SYNC is not None:
        fcntl.fcntl(fd, _FULL_SYNC)
    else:
        os.fsync(fd)


def _sync_data(fd: int) -> None:
    if _FULL_SYNC is not None:
        fcntl.fcntl(fd, _FULL_SYNC)
    else:
        os.fdatasync(fd)
