"""Files that are there whole or not at all: what was there before stays until all of the new one is on the disk."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


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
    part = target.with_name(f".{target.name[:200]}.{os.getpid()}.part")
    try:
        with part.open("wb") as stream:
            if target.exists():
                os.fchmod(stream.fileno(), target.stat().st_mode & 0o7777)
            yield stream
        part.replace(target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def on_disk(stream: IO[bytes]) -> None:
    """Have all that was written outlive a power failure, where that can be."""
    stream.flush()
    try:
        os.fsync(stream.fileno())
    except OSError as error:
        import errno

        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # a pipe, say
            raise


def write_whole(target: Path, data: bytes) -> None:
    """The same for a value that is at hand."""
    with whole_file(target) as stream:
        stream.write(data)
        on_disk(stream)
