"""A disk that is slow, whose syncs fail, and that forgets in a power cut what was not synced: some lines of C before
libc (bad_disk.c), where there is a compiler."""

import atexit
import functools
import mmap
import os
import shutil
import struct
import subprocess
import sys
import tempfile
from pathlib import Path
from random import Random
from typing import NamedTuple

_SOURCE = Path(__file__).parent / "bad_disk.c"
_HEAD = struct.Struct("=qqqq")


@functools.cache
def _library() -> Path | None:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or sys.platform != "linux":
        return None
    directory = tempfile.mkdtemp(prefix="zabpy-bad-disk-")
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    library = Path(directory) / "bad_disk.so"
    done = subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(_SOURCE), "-ldl"], check=False)
    return library if done.returncode == 0 else None


class _Write(NamedTuple):
    offset: int
    size: int
    before: bytes
    file_size_before: int


class BadDisk:
    """Of one server, also while it is down."""

    def __init__(self, home: Path, data: Path) -> None:
        self._how_path, self._undo, self._data = home / "slow-disk", home / "undo", data
        self._undo.mkdir()
        self._how_path.write_bytes(bytes(8))
        with open(self._how_path, "r+b") as file:
            self._how = mmap.mmap(file.fileno(), 8)

    @staticmethod
    def possible() -> bool:
        return _library() is not None

    def environment(self) -> dict[str, str]:
        return {
            "LD_PRELOAD": str(_library()),
            "ZABPY_SLOW_DISK": str(self._how_path),
            "ZABPY_UNDO": str(self._undo),
        }

    def set(self, delay_ms: int = 0, error: int = 0) -> None:
        self._how[:] = struct.pack("ii", delay_ms, error)

    def power_cut(self, rng: Random) -> int:
        """While the server is down: of what it wrote and did not sync all is lost, or all from some write on, or any
        part. How many writes."""
        lost = 0
        files = {path.stat().st_ino: path for path in self._data.rglob("*") if path.is_file()}
        for undo in sorted(self._undo.iterdir(), key=lambda path: path.name):
            path = files.get(int(undo.name))
            if path is not None:
                lost += _undone(path, _writes(undo.read_bytes()), rng)
        self.power_stayed()
        return lost

    def power_stayed(self) -> None:
        """While the server is down: what it has written stays, synced or not."""
        for undo in self._undo.iterdir():
            undo.unlink()


def _writes(raw: bytes) -> list[_Write]:
    found, at = [], 0
    while at + _HEAD.size <= len(raw):
        offset, size, saved, file_size = _HEAD.unpack_from(raw, at)
        at += _HEAD.size
        found.append(_Write(offset, size, raw[at : at + saved], file_size))
        at += saved
    return found


def _undone(path: Path, writes: list[_Write], rng: Random) -> int:
    kind = rng.randrange(3)
    first = 0 if kind == 0 else rng.randrange(len(writes) + 1)
    lost = 0
    with open(path, "r+b") as file:
        for number, write in reversed(list(enumerate(writes))):
            if number < first if kind < 2 else rng.random() < 0.5:
                continue
            lost += 1
            os.pwrite(file.fileno(), write.before.ljust(write.size, b"\0"), write.offset)
            if kind < 2:
                os.ftruncate(file.fileno(), max(write.file_size_before, 0))
    return lost
