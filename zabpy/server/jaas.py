"""A JAAS file: sections of login modules with their options, as Java's ``ConfigFile`` reads them. Plain.

    Server {                                                        // a section; /* comments */ as in Java
        org.apache.zookeeper.server.auth.DigestLoginModule required // a module and its flag
        user_alice="secret"                                         // options, quoted strings with Java's escapes
        user_bob="se\\"cret";
    };

Here stand passwords, so no error and no repr shows anything of a value, nor of a word that may be one. What Java would
fill in from its properties (``${…}``) is an error: to take it literally would be another password.
Source of the grammar: javax.security.auth.login.Configuration; of the words: java.io.StreamTokenizer.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple, NoReturn

from zabpy.model import ZabpyError

#: A file that is longer is none.
FILE_BYTES_MAX = 1 << 20
FLAGS = frozenset(("required", "requisite", "sufficient", "optional"))


class JaasError(ZabpyError):
    """One line: the file, the line, what was expected and what kind of thing is there instead."""


@dataclass(frozen=True, slots=True)
class Module:
    """One login module of a section. ``options``: name to (value, line)."""

    name: str
    flag: str
    options: dict[str, tuple[str, int]] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Section:
    """What a program that calls itself ``name`` logs in by."""

    name: str
    line: int
    modules: tuple[Module, ...]


def parse(text: str, path: str) -> dict[str, Section]:
    """All sections by their names; none of an empty text. ``path`` is for the errors.

    Raises:
        JaasError: this is no JAAS file.
    """
    sections: dict[str, Section] = {}
    tokens = _Tokens(text.removeprefix("\ufeff"), path)
    while tokens.next.kind != "the end":
        line = tokens.next.line
        name = tokens.word("the name of a section")
        if name in sections:
            tokens.fail(f"one section of this name; line {sections[name].line} has it too", line)
        sections[name] = Section(name, line, tuple(_modules(tokens)))
    return sections


def _modules(tokens: "_Tokens") -> Iterator[Module]:
    tokens.take("{")
    while tokens.next.kind != "}":
        name = tokens.word("a login module or }")
        line = tokens.next.line
        flag = tokens.word("a flag").lower()
        if flag not in FLAGS:
            tokens.fail("a flag (required, requisite, sufficient or optional)", line)
        options: dict[str, tuple[str, int]] = {}
        while tokens.next.kind != ";":
            line = tokens.next.line
            key = tokens.word("an option or ;")
            tokens.take("=")
            value = tokens.word("a value")
            if "${" in value:
                tokens.fail("no ${...} in a value: the properties of Java are not known here", line)
            options[key] = value, line
        tokens.take(";")
        yield Module(name, flag, options)
    tokens.take("}")
    tokens.take(";")


class _Token(NamedTuple):
    kind: str  # "a word", "a quoted string", "the end", or the character it is
    text: str
    line: int


_TOKEN = re.compile(
    r"""(?P<skip>(?:[\x00-\x20]++|//[^\n]*+|/\*(?:[^*]|\*(?!/))*+\*/)++)
    |   (?P<word>[A-Za-z0-9_.$*\-\x80-\U0010ffff]++)
    |   "(?P<string>(?:[^"\\\n]|\\[^\n])*+)"
    |   (?P<sign>[{}=;])""",
    re.VERBOSE,
)
_ESCAPE = re.compile(r"\\([0-3]?[0-7]{1,2}|.)")
_LETTERS = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


class _Tokens:
    """The words of the text, one ahead."""

    def __init__(self, text: str, path: str) -> None:
        self._text, self._path = text.replace("\r\n", "\n").replace("\r", "\n"), path
        self._at, self._line = 0, 1
        self.next = self._read()

    def word(self, expected: str) -> str:
        token = self.next
        if token.kind not in ("a word", "a quoted string"):
            self.fail(f"{expected}, found {token.kind}", token.line)
        self.next = self._read()
        return token.text

    def take(self, sign: str) -> None:
        if self.next.kind != sign:
            self.fail(f"{sign}, found {self.next.kind}", self.next.line)
        self.next = self._read()

    def fail(self, expected: str, line: int) -> NoReturn:
        raise JaasError(f"{self._path}:{line}: expected {expected}")

    def _read(self) -> _Token:
        while self._at < len(self._text):
            found = _TOKEN.match(self._text, self._at)
            line = self._line
            if found is None:
                rest = self._text[self._at : self._at + 2]
                if rest[0] == '"':
                    self.fail("a closing quote in this line", line)
                if rest == "/*":
                    self.fail("an end of this comment", line)
                self.fail(f"a word, a quoted string or one of {{ }} = ;, found {_shown(rest[0])}", line)
            self._at = found.end()
            self._line += found[0].count("\n")
            if found["skip"] is not None:
                continue
            if found["word"] is not None:
                return _Token("a word", found[0], line)
            if found["string"] is not None:
                return _Token("a quoted string", _ESCAPE.sub(_unescaped, found["string"]), line)
            return _Token(found[0], found[0], line)
        return _Token("the end", "", self._line)


def _unescaped(found: re.Match[str]) -> str:
    what = found[1]
    return chr(int(what, 8)) if what[0] in "01234567" else _LETTERS.get(what, what)


def _shown(char: str) -> str:
    # A sign between the words; what might be part of a password is not shown.
    return char if char in "#'()[],:<>!&|/" else "something else"
