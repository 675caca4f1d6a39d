"""How things look to people: sizes, times, names, columns, colours. Widths are those of a terminal's cells, so that
Chinese and emoji stand in line, too."""

import re
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from .line import quoted

#: ANSI styles, by what they are for; `Paint` is where they are used.
STYLES = {
    "parent": "1;34",
    "ephemeral": "35",
    "container": "36",
    "ttl": "33",
    "path": "36",
    "match": "1;31",
    "added": "32",
    "removed": "31",
    "dim": "2",
    "bold": "1",
    "head": "1",
    "hunk": "36",
    "changed": "33",
}
UNITS = "KMGTPE"
RESETS = ("\x1b[0m", "\x1b[39;49;00m", "\x1b[39m")
ANSI = re.compile(r"\x1b\[[\d;]*m")
#: What turns the direction of writing, so that a text looks like another one (https://trojansource.codes).
BIDI_CHARACTERS = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
#: Letters in colours that can be read on any ground: what we and pygments write, and whatever is as harmless.
_COLOUR = r"\[(?:(?:0?[0-4]|2[2-4]|3[1-79]|49|9[0-7])(?:;(?!m)|(?=m)))*m"
#: What a terminal obeys. Line ends and tabs are nothing of the kind.
ORDERS = re.compile(f"[\x00-\x08\x0b-\x1a\x1c-\x1f\x7f-\x9f{BIDI_CHARACTERS}]|\x1b(?!{_COLOUR})")
#: The same without any colours, and what would begin another line.
UNQUOTABLE = re.compile(f"[\x00-\x1f\x7f-\x9f{BIDI_CHARACTERS}\u2028\u2029\ud800-\udfff]")


def width(text: str) -> int:
    """Cells that a text takes; colours and what is no character there take none."""
    if "\x1b" in text:
        text = ANSI.sub("", text)
    if text.isascii():
        return len(text)
    from prompt_toolkit.utils import get_cwidth

    return get_cwidth(text)


def cut(text: str, to: int) -> str:
    """At most so many cells; what was cut has an ellipsis at its end."""
    if width(text) <= to:
        return text
    used, kept = 0, ""
    for char in text:
        used += width(char)
        if used > to - 1:
            break
        kept += char
    return kept + "…"


def size(count: int) -> str:
    """Bytes as ``0``, ``999``, ``1.2K``, ``15M``: powers of 1,024, rounded up as du does."""
    if count < 1024:
        return str(count)
    power, number = 0, float(count)
    while power == 0 or (number > 1023 and power < len(UNITS)):
        number /= 1024
        power += 1
    tenths = -int(-number * 10 // 1) / 10
    return f"{tenths:.1f}{UNITS[power - 1]}" if tenths < 10 else f"{-int(-number // 1)}{UNITS[power - 1]}"


def age(ms: int) -> str:
    """A span of time as its largest unit: ``5s``, ``12m``, ``3h``, ``2d``."""
    seconds = max(0, ms) // 1000
    for unit, length in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= length:
            return f"{seconds // length}{unit}"
    return f"{seconds}s"


def when(ms: int) -> str:
    """``2026-11-22T18:20:00Z``; no time at all is ``-``, as the root's is."""
    if ms <= 0:
        return "-"
    try:
        return _when(ms // 1000)
    except (OverflowError, ValueError, OSError):
        return f"{ms} ms"


@lru_cache(1_000)
def _when(seconds: int) -> str:
    """Many children are of the same second."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def shown(name: str) -> str:
    """A name or path as it can be typed, quoted where it has to be. Control characters are escaped, for they are no
    text for a terminal."""
    return quoted(name if name.isprintable() else escaped(name))


def harmless(text: str) -> str:
    """The same with orders to a terminal escaped, but for colours, which end with it. All that is shown at a terminal
    comes through here, or through `shown` or `escaped`."""
    if text.isprintable():
        return text
    text = ORDERS.sub(_as_python_writes_it, text)
    last = text.rfind("\x1b[")
    return text if last < 0 or text.startswith(RESETS, last) else f"{text}\x1b[0m"


def quotable(text: str) -> str:
    """For a remark or a complaint: on one line, and without orders to a terminal."""
    return text if text.isprintable() else UNQUOTABLE.sub(_as_python_writes_it, text)


def _as_python_writes_it(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode()


def escaped(text: str) -> str:
    """On one line, with what is not printable as Python writes it."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def in_columns(
    cells: Sequence[str], total: int, paint: Callable[[int, str], str] = lambda at, text: text
) -> Iterator[str]:
    """Lines with the cells in as many columns as fit, going down, as ``ls`` shows them. ``paint`` gets the index and
    the padded text of a cell."""
    if not cells:
        return
    count, widths = len(cells), [width(cell) for cell in cells]
    rows, wide = _layout(widths, total)
    for row in range(rows):
        line = []
        for column in range(len(wide)):
            at = column * rows + row
            if at < count:
                is_last = column == len(wide) - 1 or at + rows >= count
                line.append(paint(at, cells[at]) + ("" if is_last else " " * (wide[column] - widths[at])))
        yield "  ".join(line)


def _layout(widths: Sequence[int], total: int) -> tuple[int, list[int]]:
    """How many rows, and how wide each column is: the fewest rows that fit."""
    count = len(widths)
    for columns in range(min(count, max(1, (total + 2) // (min(widths) + 2))), 1, -1):
        rows = -(-count // columns)
        wide = [max(widths[start : start + rows]) for start in range(0, count, rows)]
        if sum(wide) + 2 * (len(wide) - 1) <= total:
            return rows, wide
    return count, [max(widths)]


class Paint:
    """Colours, where they are wanted: ``paint("match", text)``. To be had from `Look.paint`."""

    def __init__(self, on: bool) -> None:
        self.on = on

    def __call__(self, style: str, text: str) -> str:
        return f"\x1b[{STYLES[style]}m{text}\x1b[0m" if self.on and text else text

    def source(self, text: str, kind: str) -> str:
        """JSON or YAML, highlighted."""
        if not self.on or kind not in ("json", "yaml", "cbor") or len(text) > 256 * 1024:
            return text
        from pygments import highlight
        from pygments.formatters.terminal import TerminalFormatter
        from pygments.lexers.data import JsonLexer, YamlLexer

        lexer: Any = YamlLexer(stripnl=False) if kind == "yaml" else JsonLexer(stripnl=False)
        shown: str = highlight(text, lexer, TerminalFormatter())
        return shown.removesuffix("\n")
