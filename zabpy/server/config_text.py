"""The text of a ``zoo.cfg``: keys and values by the rules of java.util.Properties, each with its place."""

from collections.abc import Iterable
from typing import NamedTuple

from zabpy.model import ZabpyError


class ConfigError(ZabpyError):
    """One line: the file, the line, the key and its value, and what was expected instead."""


class Line(NamedTuple):
    """A key and its value, and where they stand."""

    path: str
    number: int
    key: str
    value: str

    def error(self, expected: str) -> ConfigError:
        value = "..." if "password" in self.key.lower() else short(self.value)
        return ConfigError(f"{self.path}:{self.number}: {self.key}={value}: expected {expected}")


def lines_of(text: str, path: str) -> Iterable[Line]:
    """Keys and values by the rules of java.util.Properties: comments, continued lines, escapes, three separators."""
    rows = iter(enumerate(text.removeprefix("\ufeff").splitlines(), 1))
    for number, row in rows:
        row = row.lstrip(" \t\f")
        if not row or row[0] in "#!":
            continue
        while (len(row) - len(row.rstrip("\\"))) % 2:  # an odd number of backslashes at the end: it goes on
            row = row[:-1] + next(rows, (0, ""))[1].lstrip(" \t\f")
        at = 0
        while at < len(row) and row[at] not in "=: \t\f":
            at += 2 if row[at] == "\\" else 1
        key, rest = row[:at], row[at:].lstrip(" \t\f")
        if rest and rest[0] in "=:":
            rest = rest[1:]
        line = Line(path, number, key, rest.strip())
        if "\0" in row:
            raise line.error("text without the character of number 0")
        yield line._replace(key=_unescaped(key, line), value=_unescaped(rest.strip(), line))


def _unescaped(text: str, line: Line) -> str:
    if "\\" not in text:
        return text
    out: list[str] = []
    chars = iter(text)
    for char in chars:
        if char == "\\":
            char = next(chars, "")
            if char == "u":
                digits = "".join(next(chars, "") for _ in range(4))
                try:
                    char = chr(int(digits, 16))
                except ValueError:
                    raise line.error("four hexadecimal digits behind \\u") from None
            else:
                char = {"t": "\t", "n": "\n", "r": "\r", "f": "\f"}.get(char, char)
            if char == "\0":  # which ends a file's name for the system, and belongs to no value
                raise line.error("text without the character of number 0")
        out.append(char)
    return "".join(out)


def read_text(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {reason(error)}: expected a readable file of lines key=value") from None


def reason(error: OSError | UnicodeDecodeError) -> str:
    return f"{error.strerror}" if isinstance(error, OSError) else f"not UTF-8 at byte {error.start}"


def short(text: str) -> str:
    """For a message of one line: no control characters, not too long."""
    text = "".join(char if char.isprintable() else "?" for char in text)
    return text if len(text) <= 100 else text[:97] + "..."
