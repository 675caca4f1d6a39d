"""What was typed, taken apart: statements, words, where each stands. Knows no command and no znode.

The rules are those of sh, as far as people use them, and of zkCli.sh where both can be had:

* Words are parted by spaces. ``'...'`` and ``"..."`` hold a word together; within the latter ``\\"`` and ``\\\\`` are
  escapes. As in zkCli.sh a quote counts at the beginning of a word only, or behind ``=``, or behind another quoted
  piece: so ``set /a {"port":1}`` keeps its quotes.
* A backslash takes the meaning from a space, a quote, a backslash or one of ``*?[]{};|&<>#``; before all else it
  stands for itself.
* ``;`` and a new line part statements; behind ``&&`` one is run only if the one before succeeded, behind ``||`` if not.
  A ``;`` in the midst of a word, behind ``=``, is one of its characters, as in ``server.4=host:2888:3888;2181``.
* ``| sh...`` hands what a statement prints to that command line of the system's shell; ``> FILE`` and ``>> FILE``
  write it.
* ``#`` at the beginning of a statement begins a comment.
* Words with an unquoted ``*``, ``?``, ``[...]`` or ``{a,b}`` are patterns; which words are paths only commands know.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Self

SPECIAL = " \t'\"\\*?[]{};|&<>#"
GLOB = "*?[{"


class LineError(Exception):
    """A line that cannot be read; ``at`` is where (from 0)."""

    def __init__(self, message: str, at: int) -> None:
        super().__init__(message)
        self.at = at


class Word(str):
    """A word, without its quotes. ``pattern``: None, or its text as a pattern, ``\\`` before what was quoted."""

    start: int
    end: int
    pattern: str | None

    @classmethod
    def of(cls, text: str, start: int = 0, end: int = 0, pattern: str | None = None) -> Self:
        word = cls(text)
        word.start, word.end, word.pattern = start, end, pattern
        return word


class After(Enum):
    """When a statement is run, as to the one before."""

    ALWAYS = ";"
    SUCCESS = "&&"
    FAILURE = "||"


@dataclass
class Statement:
    """One command with its arguments. ``pipe``: what follows its first ``|``, as it was typed; ``target``: a file to
    write to, ``appends`` or anew."""

    after: After
    start: int
    words: list[Word] = field(default_factory=list)
    pipe: str | None = None
    pipe_start: int = 0
    target: Word | None = None
    appends: bool = False


def parse(text: str) -> list[Statement]:
    """The statements of what was typed, those without words left out.

    Raises:
        LineError: a quote that does not end, or an operator with nothing to work on.
    """
    return _Parser(text, strict=True).statements()


def parse_so_far(text: str) -> list[Statement]:
    """The same while it is typed: an open quote ends with the text, and an operator may still lack what follows it. The
    last statement is the one being typed, and may be empty."""
    return _Parser(text, strict=False).statements()


class _Parser:
    def __init__(self, text: str, *, strict: bool) -> None:
        self._text, self._strict, self._at = text, strict, 0

    def statements(self) -> list[Statement]:
        found = [Statement(After.ALWAYS, 0)]
        while self._skip_spaces():
            now = found[-1]
            text, at = self._text, self._at
            if text[at] == "#" and not now.words and now.pipe is None:
                end = text.find("\n", at)
                self._at = len(text) if end < 0 else end
            elif text[at] in ";\n":
                self._at += 1
                self._end(now, at)
                found.append(Statement(After.ALWAYS, self._at))
            elif text.startswith(("&&", "||"), at):
                self._at += 2
                if not now.words:
                    self._complain(f"nothing stands before {text[at : at + 2]}", at)
                self._end(now, at)
                found.append(Statement(After(text[at : at + 2]), self._at))
            elif text[at] == "|":
                if not now.words:
                    self._complain("nothing stands before |", at)
                self._at += 1
                now.pipe_start = self._at
                now.pipe = self._rest_of_pipe().strip()
                if not now.pipe:
                    self._complain("nothing stands behind |", at)
            elif text[at] == ">" and now.words:
                self._at += 2 if text.startswith(">>", at) else 1
                now.appends = self._at - at == 2
                if not self._skip_spaces() or text[self._at] in ";\n|&>":
                    self._complain("expected a file behind >", at)
                    continue
                now.target = self._word()
            else:
                now.words.append(self._word())
        last = found[-1]
        if not last.words and last.after is not After.ALWAYS:
            self._complain(f"nothing stands behind {last.after.value}", len(self._text))
        self._end(last, len(self._text))
        return [each for each in found if each.words] if self._strict else found

    def _end(self, statement: Statement, at: int) -> None:
        if not statement.words and (statement.pipe or statement.target):
            self._complain("no command", at)

    def _complain(self, message: str, at: int) -> None:
        if self._strict:
            raise LineError(message, at)

    def _skip_spaces(self) -> bool:
        """Whether anything follows."""
        while self._at < len(self._text) and self._text[self._at] in " \t\r":
            self._at += 1
        return self._at < len(self._text)

    def _rest_of_pipe(self) -> str:
        """All up to the end of the statement; quotes are left for the system's shell."""
        text, start, quote = self._text, self._at, ""
        while self._at < len(text):
            char = text[self._at]
            if quote:
                quote = "" if char == quote else quote
            elif char in "'\"":
                quote = char
            elif char == "\\":
                self._at += 1
            elif char in ";\n" or text.startswith(("&&", "||"), self._at):
                break
            self._at += 1
        self._at = min(self._at, len(text))
        return text[start : self._at]

    def _word(self) -> Word:
        text, start = self._text, self._at
        plain, pattern, is_pattern = [], [], False
        quotes = True  # whether a quote here is one
        while self._at < len(text):
            char = text[self._at]
            if char in " \t\r\n|>" or text.startswith("&&", self._at):
                break
            if char == ";" and not ("=" in plain and text[self._at + 1 : self._at + 2].strip(" \t\r\n;")):
                break
            if char in "'\"" and quotes:
                for each in self._quoted(char):
                    plain.append(each)
                    pattern.append("\\" + each if each in SPECIAL else each)
                continue
            if char == "\\" and self._at + 1 < len(text) and text[self._at + 1] in SPECIAL:
                char = text[self._at + 1]
                pattern.append("\\" + char)
                self._at += 2
            else:
                is_pattern |= char in GLOB
                pattern.append("\\\\" if char == "\\" else char)
                self._at += 1
            plain.append(char)
            quotes = char == "="
        word = "".join(plain)
        return Word.of(word, start, self._at, "".join(pattern) if is_pattern else None)

    def _quoted(self, quote: str) -> Iterator[str]:
        text, start = self._text, self._at
        self._at += 1
        while self._at < len(text):
            char = text[self._at]
            self._at += 1
            if char == quote:
                return
            if char == "\\" and quote == '"' and self._at < len(text) and text[self._at] in '"\\':
                char = text[self._at]
                self._at += 1
            yield char
        self._complain(f"the {quote} at column {start + 1} does not end", start)


def quoted(word: str) -> str:
    """The word as it can be typed."""
    if word and not any(each in SPECIAL or each == "\n" for each in word):
        return word
    if "'" not in word:
        return f"'{word}'"
    return '"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"'
