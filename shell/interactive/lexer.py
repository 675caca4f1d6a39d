"""Colours for what is typed: what each word is, and whether it can be."""

from collections.abc import Callable

import click
from prompt_toolkit.document import Document
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.lexers import Lexer

from ..command import REGISTRY, ZPath
from ..line import parse_so_far
from .known import Known
from .place import Kind, Part, is_path, is_taken, parts


class ShellLexer(Lexer):
    """``full_path`` makes a path of what was typed, or raises."""

    def __init__(self, known: Known, full_path: Callable[[str], str]) -> None:
        self._known, self._full_path = known, full_path

    def lex_document(self, document: Document) -> Callable[[int], StyleAndTextTuples]:
        lines = _by_line(document.text, self._styles(document.text))
        return lambda number: lines[number] if number < len(lines) else []

    def _styles(self, text: str) -> list[str]:
        """One for each character."""
        styles = [""] * len(text)

        def paint(start: int, end: int, style: str) -> None:
            styles[start:end] = [f"class:{style}"] * (end - start)

        at = 0
        for statement in parse_so_far(text):
            for part in parts(text, statement):
                _between(text, at, part.start, paint)
                at = part.end
                paint(part.start, part.end, self._style(text, part))
            if statement.target is not None:
                _between(text, at, statement.target.start, paint)
                at = max(at, statement.target.end)
                paint(statement.target.start, statement.target.end, "file")
            if statement.pipe is not None:
                _between(text, at, statement.pipe_start, paint)
                end = text.find(statement.pipe, statement.pipe_start) + len(statement.pipe)
                paint(statement.pipe_start, end, "pipe")
                at = end
        _between(text, at, len(text), paint)
        return styles

    def _style(self, text: str, part: Part) -> str:
        is_last = part.end == len(text)
        match part.kind:
            case Kind.COMMAND:
                if part.known or not REGISTRY:
                    return "command"
                return "word" if is_last and _may_become(part.typed) else "command.unknown"
            case Kind.FLAG | Kind.END:
                return "flag" if part.known or is_last else "flag.unknown"
        if text[part.start : part.start + 1] in ("'", '"'):
            looks = "string"
        elif part.param is not None and isinstance(part.param.type, click.Path | click.File):
            return "file"
        else:
            looks = "value"
        if not is_path(part.param) or is_taken(part):
            return looks
        if part.is_pattern:
            return "pattern"
        if isinstance(part.param and part.param.type, ZPath) and not part.param.type.new:  # type: ignore[union-attr]
            try:
                if self._known.is_missing(self._full_path(part.typed), prefix=is_last):
                    return "path.missing"
            except Exception:  # it is no path
                return "path" if is_last else "path.missing"
        return "path"


def _may_become(typed: str) -> bool:
    return any(name.lower().startswith(typed.lower()) for name in REGISTRY)


def _between(text: str, start: int, end: int, paint: Callable[[int, int, str], None]) -> None:
    """Spaces and operators, or a comment."""
    gap = text[start:end]
    comment = gap.find("#")
    if comment >= 0:
        paint(start + comment, end, "comment")
        end = start + comment
    if end > start:
        paint(start, end, "operator")


def _by_line(text: str, styles: list[str]) -> list[StyleAndTextTuples]:
    lines: list[StyleAndTextTuples] = [[]]
    at = 0
    while at < len(text):
        if text[at] == "\n":
            lines.append([])
            at += 1
            continue
        start = at
        while at < len(text) and text[at] != "\n" and styles[at] == styles[start]:
            at += 1
        lines[-1].append((styles[start], text[start:at]))
    return lines
