"""What is longer than the screen is shown a page at a time, by the person's own pager."""

import os
import shlex
import shutil
import subprocess
from collections.abc import Callable
from threading import Lock

#: With colours; a cluster's names are UTF-8, whatever the locale says.
USUAL = "less -R"


class Pager:
    """`output.Pages` at a terminal. Called from worker threads, so that the session is kept while a person reads."""

    def __init__(self, write_out: Callable[[bytes], object], write_err: Callable[[bytes], object]) -> None:
        self._write_out, self._write_err = write_out, write_err
        self._lock = Lock()
        self._held = bytearray()
        #: Where among what is held, or behind what is read, they belong.
        self._remarks: list[tuple[int, bytes]] = []
        self._streams = False
        self._reader: subprocess.Popen[bytes] | None = None
        #: Whether the cursor is at the beginning of a line.
        self.is_at_start = True

    @property
    def is_reading(self) -> bool:
        return self._reader is not None

    def hold(self, data: bytes) -> None:
        with self._lock:
            if self._reader is not None:
                self._pipe(self._reader, data)
            elif self._streams:
                self._write(data)
            else:
                self._held += data
                if _lines(self._held) >= shutil.get_terminal_size().lines:
                    self._reader = _started()
                    if self._reader is None:
                        self._release()
                        self._streams = True
                    else:
                        held, self._held = bytes(self._held), bytearray()
                        self._pipe(self._reader, held)

    def show(self) -> None:
        with self._lock:
            if self._reader is not None:
                return
            self._release()
            self._streams = True

    def remark(self, data: bytes) -> None:
        """At its place on the screen; behind the pager, if there is one, whatever comes after it."""
        with self._lock:
            if self._reader is not None or self._held:
                self._remarks.append((len(self._held), data))
            else:
                self._write_remark(data)

    def end(self) -> None:
        """Also when the person has left the pager; then, too, it takes a moment until the terminal is ours again."""
        with self._lock:
            if self._reader is not None:
                assert self._reader.stdin is not None
                try:
                    self._reader.stdin.close()
                except BrokenPipeError:
                    pass
                self._reader.wait()
                self._reader = None
            self._release()
            self._streams = False

    def drop(self) -> None:
        """The command was cancelled: what it has not shown is not shown."""
        with self._lock:
            del self._held[max((at for at, _ in self._remarks), default=0) :]

    def _release(self) -> None:
        held, self._held = bytes(self._held), bytearray()
        remarks, self._remarks = self._remarks, []
        done = 0
        for at, data in remarks:
            if held[done:at]:
                self._write(held[done:at])
            done = max(done, min(at, len(held)))
            self._write_remark(data)
        if held[done:]:
            self._write(held[done:])

    def _write(self, data: bytes) -> None:
        self._write_out(data)
        self.is_at_start = data.endswith(b"\n")

    def _write_remark(self, data: bytes) -> None:
        self._write_err(data)
        self.is_at_start = data.endswith(b"\n")

    def _pipe(self, reader: "subprocess.Popen[bytes]", data: bytes) -> None:
        assert reader.stdin is not None
        reader.stdin.write(data)
        reader.stdin.flush()


def _started() -> "subprocess.Popen[bytes] | None":
    """None where there is no pager, or none is wanted."""
    command = os.environ.get("PAGER", USUAL)
    try:
        words = shlex.split(command)
    except ValueError:
        return None
    if not words or words == ["cat"] or shutil.which(words[0]) is None:
        return None
    environment = {"LESSCHARSET": "utf-8", **os.environ}
    return subprocess.Popen(command, shell=True, stdin=subprocess.PIPE, env=environment)


def _lines(data: bytes | bytearray) -> int:
    """How many of the screen they take, at least; colours count as letters, which errs on the side of a pager."""
    width = max(1, shutil.get_terminal_size().columns)
    if data.count(b"\n") >= shutil.get_terminal_size().lines:
        return data.count(b"\n")
    return sum(1 + max(0, len(line.decode("utf-8", "replace")) - 1) // width for line in data.splitlines())
