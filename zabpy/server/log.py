"""Log: one line an event that matters, ``key=value``, to stderr.

Whoever reads these lines may stop reading: a pipe nobody empties, a terminal that is held. The server must not stop
with them, since all that it does waits for the loop that writes them. So a line that does not fit at once is lost, and
the next one that fits begins by saying how many were.
"""

import os
import select
import sys
from collections.abc import Callable
from datetime import UTC, datetime

from .clock import Clock
from .transport import Channel

#: Events of one name that are written in one second; the rest is counted and told in the next line of that name. A
#: client that reconnects in a loop, or garbage sent without end, must not fill a disk with lines.
LINES_A_SECOND_MAX = 50


class Log:
    """``log("role", epoch=3, why="…")`` writes ``2026-01-31T12:00:00.123Z server=1 event=role epoch=3 why="…"``."""

    def __init__(
        self, clock: Clock, *, server_id: int | None = None, write: Callable[[str], object] | None = None
    ) -> None:
        self._clock, self.server_id = clock, server_id
        self._write = write if write is not None else LinesToStderr().write
        self._second = 0
        self._counts: dict[str, int] = {}

    def __call__(self, event: str, /, **facts: object) -> None:
        wall_ms = self._clock.wall_ms()
        held_back = 0
        if wall_ms // 1000 != self._second:
            self._second = wall_ms // 1000
            held_back = self._counts.get(event, 0) - LINES_A_SECOND_MAX
            self._counts.clear()
        count = self._counts[event] = self._counts.get(event, 0) + 1
        if count > LINES_A_SECOND_MAX:
            return
        if held_back > 0:
            facts["held_back"] = held_back
        moment = datetime.fromtimestamp(wall_ms / 1000, UTC).isoformat(timespec="milliseconds")[:-6]
        head = f"{moment}Z" if self.server_id is None else f"{moment}Z server={self.server_id}"
        self._write(f"{head} event={event}{''.join(f' {key}={_text(value)}' for key, value in facts.items())}\n")


def remote_text(channel: Channel) -> str:
    """The other end of a connection, as lines show it."""
    return f"{channel.remote[0]}:{channel.remote[1]}"


def hex_text(number: int) -> str:
    """A session id or a zxid as ZooKeeper writes them, a negative one in two's complement."""
    return f"0x{number & 0xFFFFFFFFFFFFFFFF:x}"


def _text(value: object) -> str:
    """The value as it stands behind ``key=``: quoted when it is not one plain word, and never more than one line."""
    text = str(value)
    if text and all(32 < ord(char) < 127 and char not in '"=' for char in text):
        return text
    return '"' + text.encode("unicode_escape").decode("ascii").replace('"', '\\"') + '"'


class LinesToStderr:
    """`write` never waits for whoever reads."""

    #: What a pipe that can be written at all takes without waiting (Linux: a page).
    _FITS_BYTES = 4096

    def __init__(self) -> None:
        self._lost = 0  # lines
        self._torn = False  # the last one was not written to its end

    def write(self, line: str) -> None:
        stream = sys.stderr
        if stream is None or getattr(stream, "closed", False):  # the process was started without, or closed it
            return
        try:
            fd = stream.fileno()
        except (OSError, ValueError):  # a test's, or a notebook's
            stream.write(line)
            return
        if self._lost:
            line = f"{self._lost} lines are missing here: nobody read them\n{line}"
        data = (b"\n" if self._torn else b"") + line.encode()
        written = 0
        try:
            stream.flush()
            poll = select.poll()
            poll.register(fd, select.POLLOUT)
            while written < len(data):
                if not any(mask & select.POLLOUT for _, mask in poll.poll(0)):
                    break
                written += os.write(fd, data[written : written + self._FITS_BYTES])
        except OSError:  # whoever read our lines is gone, or the disk is full; the server is neither
            pass
        if written == len(data):
            self._lost, self._torn = 0, False
        else:
            self._lost += 1
            self._torn = self._torn or written > 0
