"""Files that are there whole or not at all: what was there before stays until all of the new one is on the disk.

Until then it is ``.NAME.PID.part`` beside it, which whoever writes it has locked (flock). A killed process leaves that
behind, and the kernel frees the lock. A process id alone would not tell: those of containers that share a folder are
no business of each other's.
"""

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

#: So much of a file's name is in that of its part, for the names of files end at 255 bytes.
NAME_MAX = 200


@contextmanager
def whole_file(target: Path) -> Iterator[IO[bytes]]:
    """A stream to write it to, which is at its name, with the mode of what was there, when the block has ended well;
    `on_disk` is to be called before, and may take long. A device or a pipe is written to as it is.

    Raises:
        OSError: the disk is full, and so on; then, and if the block fails, what was there is as it was.
    """
    if target.exists() and not target.is_file():
        with target.open("wb") as stream:
            yield stream
        return
    target = target.resolve()  # behind a link is the file that is meant
    part = target.with_name(f"{_beginning(target)}{os.getpid()}.part")
    try:
        with part.open("wb") as stream:
            _lock(stream)
            if target.exists():
                os.fchmod(stream.fileno(), target.stat().st_mode & 0o7777)
            yield stream
        part.replace(target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def remove_stale_parts(target: Path) -> list[Path]:
    """Remove what killed processes have left of writing ``target``, and return it. It is left alone if a process of
    that id is running, or one anywhere has it locked, or that cannot be found out.

    Raises:
        OSError: the folder cannot be read, or a file of it not be removed.
    """
    if target.exists() and not target.is_file():
        return []
    target = target.resolve()
    if len(target.name) > NAME_MAX:  # it may be another file's, whose name begins so
        return []
    start = _beginning(target)
    removed = []
    for part in sorted(target.parent.iterdir()):
        pid = part.name.removeprefix(start).removesuffix(".part")
        is_part = part.name == f"{start}{pid}.part" and pid.isascii() and pid.isdigit()
        if is_part and part.is_file() and not part.is_symlink() and not _is_running(int(pid)):
            with part.open("rb") as stream:
                if _lock(stream):
                    part.unlink()
                    removed.append(part)
    return removed


def _beginning(target: Path) -> str:
    return f".{target.name[:NAME_MAX]}."


def _lock(stream: IO[bytes]) -> bool:
    """Whether this process has it now; not every file system can do it."""
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in (errno.EWOULDBLOCK, errno.EINVAL, errno.ENOTSUP, errno.ENOLCK, errno.ENOSYS, errno.EBADF):
            raise
        return False
    return True


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):  # somebody else's; or no id of a process
        return True
    return True


def on_disk(stream: IO[bytes]) -> None:
    """Have all that was written outlive a power failure, where that can be."""
    stream.flush()
    try:
        os.fsync(stream.fileno())
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # a pipe, say
            raise


def write_whole(target: Path, data: bytes) -> None:
    """The same for a value that is at hand."""
    with whole_file(target) as stream:
        stream.write(data)
        on_disk(stream)
