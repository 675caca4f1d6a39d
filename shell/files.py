"""Files that are there whole or not at all: what was there before stays until all of the new one is on the disk.

Until then it is ``.NAME.PID.part`` beside it, or ``.NAME.PID-1.part`` if that is there, and so on; whoever writes it
has it locked (flock). A killed process leaves it behind, and the kernel frees the lock. A process id alone would not
tell: those of containers that share a folder are no business of each other's, and are often the same.
"""

import errno
import fcntl
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import IO

#: So much of a file's name is in that of its part, for the names of files end at 255 bytes.
NAME_MAX = 200


@contextmanager
def whole_file(target: Path, *, is_kept: Callable[[BaseException], bool] = lambda error: False) -> Iterator[IO[bytes]]:
    """A stream to write it to, which is at its name, with the mode of what was there, when the block has ended well;
    `on_disk` is to be called before, and may take long. A device or a pipe is written to as it is.

    Args:
        is_kept: whether the part is to stay when the block ends with this; the stream's ``name`` says where it is.
    Raises:
        OSError: the disk is full, and so on; then, and if the block fails, what was there is as it was.
    """
    if target.exists() and not target.is_file():
        with target.open("wb") as stream:
            yield stream
        return
    target = target.resolve()  # behind a link is the file that is meant
    with _new_part(target) as stream:
        part = Path(stream.name)
        try:
            if target.exists():
                os.fchmod(stream.fileno(), target.stat().st_mode & 0o7777)
            yield stream
            stream.flush()
            part.replace(target)
        except BaseException as error:
            if not is_kept(error):
                part.unlink(missing_ok=True)
            raise


def _new_part(target: Path) -> IO[bytes]:
    """One that nobody else has, locked."""
    for number in count():
        name = f"{_beginning(target)}{os.getpid()}{f'-{number}' if number else ''}.part"
        part = target.with_name(name)
        try:
            stream = part.open("xb")
        except FileExistsError:
            continue
        lock(stream)
        if part.exists() and os.path.samestat(os.fstat(stream.fileno()), part.stat()):
            return stream
        stream.close()  # somebody has taken it for a stale one, just before it was locked
    raise AssertionError


def stale_parts(target: Path) -> list[Path]:
    """What of writing ``target`` may have been left, by processes of that id which do not run, or by this one itself;
    some of it may be another one's, who has it locked then."""
    if target.exists() and not target.is_file():
        return []
    target = target.resolve()
    if len(target.name) > NAME_MAX:  # it may be another file's, whose name begins so
        return []
    name = re.compile(re.escape(_beginning(target)) + r"([0-9]+)(-[0-9]+)?\.part", re.DOTALL)
    found = []
    for part in sorted(target.parent.iterdir()):
        match = name.fullmatch(part.name)
        if match and part.is_file() and not part.is_symlink() and not _is_another_running(int(match[1])):
            found.append(part)
    return found


def remove_stale_parts(target: Path) -> list[Path]:
    """Remove what killed processes have left of writing ``target``, and return it. It is left alone if a process of
    that id is running, or one anywhere has it locked, or that cannot be found out.

    Raises:
        OSError: the folder cannot be read, or a file of it not be removed.
    """
    removed = []
    for part in stale_parts(target):
        with part.open("rb") as stream:
            if lock(stream):
                part.unlink()
                removed.append(part)
    return removed


def _beginning(target: Path) -> str:
    return f".{target.name[:NAME_MAX]}."


def lock(stream: IO[bytes]) -> bool | None:
    """Whether this process has it now; None: nobody knows, for not every file system can do it."""
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.ENOLCK, errno.ENOSYS, errno.EBADF):
            raise
        return None
    return True


def _is_another_running(pid: int) -> bool:
    if pid == os.getpid():
        return False
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
