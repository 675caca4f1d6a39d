"""A terminal, and a program in it: what a person would see, and in which colours."""

import os
import re
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self

import pexpect
import pyte

#: Until something must be on the screen; on a loaded machine starting alone takes a second or two.
WAIT_S = 20.0

UP, DOWN, RIGHT, TAB, ENTER, ESCAPE = "\x1b[A", "\x1b[B", "\x1b[C", "\t", "\r", "\x1b"
CTRL_C, CTRL_D, CTRL_L, CTRL_R = "\x03", "\x04", "\x0c", "\x12"


class _Answering(pyte.Screen):
    """Answers when it is asked where the cursor is, as terminals do."""

    def __init__(self, columns: int, lines: int, answer: Callable[[str], object]) -> None:
        super().__init__(columns, lines)
        self._answer = answer

    def write_process_input(self, data: str) -> None:
        self._answer(data)


class Screen:
    def __init__(self, command: list[str], env: Mapping[str, str], *, columns: int = 120, lines: int = 24) -> None:
        self.child: Any = pexpect.spawn(
            command[0], command[1:], env={**os.environ, **env}, dimensions=(lines, columns), timeout=WAIT_S
        )
        self.child.delaybeforesend = None  # which would be 50 ms, for programs that turn off the echo late
        self._screen: Any = _Answering(columns, lines, self.child.send)
        self._stream: Any = pyte.ByteStream(self._screen)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.child.close(force=True)

    def type(self, text: str) -> None:
        self.child.send(text)

    def run(self, line: str) -> None:
        """Type a line at an empty prompt, and wait for the next one: what is typed before is for the command."""
        self.until(lambda it: it.prompt.endswith(">"))
        prompt = self.prompt
        before = self.text.count(f"{prompt} {line}")
        self.type(line + ENTER)
        self.until(lambda it: it.text.count(f"{prompt} {line}") > before and it.prompt.endswith(">"))

    @property
    def lines(self) -> list[str]:
        return [line.rstrip() for line in self._screen.display]

    @property
    def text(self) -> str:
        return "\n".join(self.lines).rstrip()

    @property
    def prompt(self) -> str:
        """The line with the cursor."""
        line: str = self._screen.display[self._screen.cursor.y]
        return line.rstrip()

    @property
    def cursor(self) -> tuple[int, int]:
        return self._screen.cursor.y, self._screen.cursor.x

    def cell(self, row: int, column: int) -> Any:
        """pyte's: data, fg, bg, bold and so on."""
        return self._screen.buffer[row][column]

    @property
    def prompt_colour(self) -> str:
        return str(self._screen.buffer[self._screen.cursor.y][0].fg)

    def read(self, timeout_s: float = 0.02) -> bool:
        """Take in what is there; whether the program still runs."""
        try:
            self._stream.feed(self.child.read_nonblocking(65536, timeout_s))
        except pexpect.TIMEOUT:
            pass
        except pexpect.EOF:
            return False
        return True

    def until(self, seen: str | Callable[["Screen"], object], wait_s: float = WAIT_S) -> None:
        """Until a pattern is on the screen, or a condition holds."""
        holds = seen if callable(seen) else lambda screen: re.search(seen, screen.text, re.MULTILINE)
        deadline = time.monotonic() + wait_s
        while not holds(self):
            runs = self.read()
            assert runs or holds(self), f"the program ended without {seen!r}; on the screen:\n{self.text}"
            assert time.monotonic() < deadline, f"not within {wait_s} s: {seen!r}; on the screen:\n{self.text}"

    def until_end(self) -> int:
        """The status it ends with."""
        deadline = time.monotonic() + WAIT_S
        while self.read():
            assert time.monotonic() < deadline, "the program did not end"
        self.child.wait()
        status: int = self.child.exitstatus if self.child.exitstatus is not None else -self.child.signalstatus
        return status

    def colour_of(self, text: str) -> str:
        """The foreground of this text in the line with the cursor; several, where it has several; empty without it."""
        column = self.prompt.find(text)
        if column < 0:
            return ""
        row = self._screen.buffer[self._screen.cursor.y]
        return "+".join(sorted({row[at].fg for at in range(column, column + len(text))}))
