"""A disk that is slow, or whose syncs fail: a few lines of C before libc, where there is a compiler."""

import functools
import mmap
import shutil
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

_SOURCE = Path(__file__).parent / "slow_disk.c"


@functools.cache
def _library() -> Path | None:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or sys.platform != "linux":
        return None
    library = Path(tempfile.mkdtemp(prefix="zabpy-slow-disk-")) / "slow_disk.so"
    done = subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(_SOURCE), "-ldl"], check=False)
    return library if done.returncode == 0 else None


class SlowDisk:
    """Of one server, also while it is down."""

    def __init__(self, home: Path) -> None:
        self._path = home / "slow-disk"
        self._path.write_bytes(bytes(8))
        with open(self._path, "r+b") as file:
            self._how = mmap.mmap(file.fileno(), 8)

    @staticmethod
    def possible() -> bool:
        return _library() is not None

    def environment(self) -> dict[str, str]:
        return {"LD_PRELOAD": str(_library()), "ZABPY_SLOW_DISK": str(self._path)}

    def set(self, delay_ms: int = 0, error: int = 0) -> None:
        self._how[:] = struct.pack("ii", delay_ms, error)
