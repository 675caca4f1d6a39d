"""What commands print, in the format that was asked for. Commands say what there is; how it looks is decided here.

Formats: ``table`` for people; ``json`` one document a command; ``ndjson`` one object a line, at once; ``yaml``; ``raw``
the bare values, for pipes. The fields of an object are the same in json, ndjson and yaml, and stay: docs/shell.md.

Nothing here blocks the event loop: a slow reader of our output would else cost us the session.
"""

import os
import re
import select
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Protocol, Self

import anyio

from .looks import ORDERS, Paint, escaped, harmless, shown, size, width
from .values import json_text

FORMATS = ("table", "json", "ndjson", "yaml", "raw")
#: What a command prints is written in pieces of this size.
PIECE_BYTES = 64 * 1024
#: Lines of a table that are written together.
LINES_AT_ONCE = 500

#: Cells that stand at the right, if all of their column are such.
NUMBER = re.compile(r"-?[\d,.]+[KMGTPE]?\Z")

Row = Mapping[str, Any]


@dataclass
class Look:
    """How things are shown, apart from the format."""

    #: People look at it: columns, sizes as 1.2K, ages. Otherwise plain.
    is_terminal: bool = False
    colour: bool = False
    width: int = 80
    height: int = 24

    @property
    def paint(self) -> Paint:
        return Paint(self.colour)

    def name(self, name: str) -> str:
        """A name or path: at a terminal as it can be typed, else as it is."""
        return shown(name) if self.is_terminal else name

    def size(self, count: int) -> str:
        """Bytes: at a terminal as 1.2K."""
        return size(count) if self.is_terminal else str(count)


class Pages(Protocol):
    """Between a command and the terminal: what is longer than the screen goes through a pager. All of it may block."""

    def hold(self, data: bytes) -> None:
        """Something of the result, that need not be seen at once. Raises BrokenPipeError if the person has left."""

    def show(self) -> None:
        """What is held is to be seen now, for the command goes on: it is no page to be turned."""

    def remark(self, data: bytes) -> None:
        """For stderr; behind what a pager shows."""

    def end(self) -> None:
        """That was all: show what is held, and wait until the person has read it."""


@dataclass
class Output:
    """Where a command prints. ``write_out`` takes bytes and may block; it is called in a thread. ``pages`` stands in
    for it, and for ``write_err``, where there is one."""

    write_out: Callable[[bytes], object]
    write_err: Callable[[bytes], object]
    format: str = "table"
    look: Look = field(default_factory=Look)
    pages: Pages | None = None

    def __post_init__(self) -> None:
        self._pieces: list[bytes] = []
        self._size = 0

    async def write(self, what: str | bytes) -> None:
        """As it is, whatever the format."""
        data = what.encode("utf-8", "surrogateescape") if isinstance(what, str) else what
        self._pieces.append(data)
        self._size += len(data)
        if self._size >= PIECE_BYTES:
            await self._push()

    async def line(self, text: str) -> None:
        """At a terminal nothing in it but colours is an order to that: it may come from anybody's znode."""
        if self.look.is_terminal and self.format != "raw":
            text = harmless(text)
        await self.write(text + "\n")

    async def flush(self) -> None:
        """What was printed is to be seen now, though there is more to come."""
        await self._push()
        if self.pages is not None:
            await anyio.to_thread.run_sync(self.pages.show)

    async def end(self) -> None:
        """The command is done, or something else needs the terminal: when this returns, what was printed was seen."""
        await self._push()
        if self.pages is not None:
            await anyio.to_thread.run_sync(self.pages.end)

    async def tell(self, text: str) -> None:
        """A remark for people, on stderr, that is no part of the result."""
        await self._push()
        write = self.write_err if self.pages is None else self.pages.remark
        await anyio.to_thread.run_sync(write, (harmless(text) + "\n").encode("utf-8", "surrogateescape"))

    async def _push(self) -> None:
        if self._pieces:
            data, self._pieces, self._size = b"".join(self._pieces), [], 0
            await anyio.to_thread.run_sync(self.write_out if self.pages is None else self.pages.hold, data)

    async def show(self, record: Row, *, human: str | None = None, raw: str | bytes | None = None) -> None:
        """One object. ``human``: its lines in a table's stead; ``raw``: its bare value."""
        match self.format:
            case "json":
                await self.line(json_text(record, indent=2))
            case "ndjson":
                await self.line(json_text(record))
            case "yaml":
                await self.write(_yaml(record))
            case "raw" if raw is not None:
                await self.write(raw)
            case _ if human is not None:
                await self.line(human)
            case _:
                wide = max(map(len, record), default=0)
                for name, value in record.items():
                    await self.line(f"{name:{wide}} {plain(value)}".rstrip())

    def rows(
        self,
        *columns: str,
        live: bool = False,
        human: Callable[[Row], str] | None = None,
        cells: Mapping[str, Callable[[Row], str]] | None = None,
        table: Sequence[str] | None = None,
        spare: Sequence[str] = (),
    ) -> "Rows":
        """Many objects of the same fields: ``async with out.rows("path", "size") as rows: await rows.add(path=...)``.

        Args:
            columns: those of a table, in order; further fields of an object are shown in the other formats only. The
                first one is what is printed as ``raw``.
            live: each is shown as soon as it is there.
            human: the line for people, instead of a table's.
            cells: how columns of a table show what is in a row, where that is not just the value.
            table: the table's columns, if not ``columns``.
            spare: columns that a terminal too narrow for the table does without, the least important first.
        """
        return Rows(self, columns[0], table or columns, live, human, cells or {}, spare)


class Rows:
    def __init__(
        self,
        out: Output,
        raw: str,
        columns: Sequence[str],
        live: bool,
        human: Callable[[Row], str] | None,
        cells: Mapping[str, Callable[[Row], str]],
        spare: Sequence[str],
    ) -> None:
        self._out, self._raw, self._columns, self._live, self._human, self._cells, self._spare = (
            out,
            raw,
            columns,
            live,
            human,
            cells,
            spare,
        )
        self._held: list[Row] = []
        self.count = 0

    async def __aenter__(self) -> Self:
        return self

    async def add(self, **fields: Any) -> None:
        out = self._out
        self.count += 1
        match out.format:
            case "json":
                lines = json_text(fields, indent=2).replace("\n", "\n  ")
                await out.write(("[\n  " if self.count == 1 else ",\n  ") + lines)
            case "ndjson":
                await out.line(json_text(fields))
            case "yaml":
                await out.write(_yaml([fields]))
            case "raw":
                await out.line(plain(fields[self._raw]))
            case _ if self._human is not None:
                await out.line(self._human(fields))
            case _ if self._live:
                await out.line("  ".join(self._cell(fields, column) for column in self._columns))
            case _:
                self._held.append(fields)
        if self._live:
            await out.flush()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # What was found before something went wrong is shown; after a cancellation nothing more is written.
        if error is not None and not isinstance(error, Exception):
            return
        if self._out.format == "json":
            await self._out.line("\n]" if self.count else "[]")
        elif self._out.format == "yaml" and not self.count:
            await self._out.line("[]")
        elif self._held:
            await self._table()

    async def _table(self) -> None:
        columns = {column: self._column(column) for column in self._columns}
        left_out = self._left_out(columns) if self._out.look.is_terminal else []
        shown = [cells for column, cells in columns.items() if column not in left_out]
        lines = ["  ".join(parts).rstrip() for parts in zip(*shown, strict=True)]
        for at in range(0, len(lines), LINES_AT_ONCE):
            await self._out.line("\n".join(lines[at : at + LINES_AT_ONCE]))
        if left_out:
            await self._out.tell(f"no room for {', '.join(left_out)}: a wider terminal has them, or --output yaml")

    def _left_out(self, columns: Mapping[str, list[str]]) -> list[str]:
        wide = {column: width(cells[0]) + 2 for column, cells in columns.items()}
        over, left_out = sum(wide.values()) - 2 - self._out.look.width, []
        for column in self._spare:
            if over <= 0:
                break
            left_out.append(column)
            over -= wide[column]
        return left_out

    def _column(self, column: str) -> list[str]:
        """Its name and its cells, all of one width."""
        cells = [self._cell(row, column) for row in self._held]
        is_numeric = (
            any(cell != "-" for cell in cells)
            and all(cell == "-" or NUMBER.match(cell) for cell in cells)
            and not any(isinstance(row.get(column), str) for row in self._held)
        )
        cells.insert(0, column.upper())
        widths = list(map(width, cells))
        wide = max(widths)
        if is_numeric:
            return [" " * (wide - taken) + cell for cell, taken in zip(cells, widths, strict=True)]
        return [cell + " " * (wide - taken) for cell, taken in zip(cells, widths, strict=True)]

    def _cell(self, row: Row, column: str) -> str:
        if column in self._cells:
            return self._cells[column](row)
        text = plain(row[column])
        # A line is a row, whatever is in it; and nobody's value gives orders to a terminal.
        return text if text.isprintable() else escaped(text)


def plain(value: Any) -> str:
    """A value in a cell."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(map(plain, value))
    return str(value)


def _yaml(value: Any) -> str:
    import yaml

    text: str = yaml.safe_dump(value, sort_keys=False, allow_unicode=True)
    if ORDERS.search(text):  # YAML leaves some of it as it is, unless it is told to escape all that is not ASCII
        text = yaml.safe_dump(value, sort_keys=False)
    return text


def to_stream(stream: Any) -> Callable[[bytes], object]:
    """Writes to a binary stream at once, all of it."""

    def write(data: bytes) -> None:
        stream.write(data)
        stream.flush()

    return write


def to_descriptor(descriptor: int) -> Callable[[bytes], object]:
    """The same to a descriptor. Nothing is kept back, so nothing is left to fail when the process ends."""

    def write(data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[os.write(descriptor, rest) :]
            except BlockingIOError:  # another program has made it so
                select.select([], [descriptor], [])

    return write


def standard(format: str, look: Look) -> Output:
    def complain(data: bytes) -> None:
        with suppress(BrokenPipeError):  # who does not read complaints still wants the result
            to_descriptor(2)(data)

    return Output(to_descriptor(1), complain, format, look)


def look_of(colour: str, environment: Mapping[str, str]) -> Look:
    """How to show things on stdout. ``colour``: always, never, or auto: at a terminal that has colours, unless the
    variable NO_COLOR is set (https://no-color.org)."""
    is_terminal = os.isatty(1)
    size = shutil.get_terminal_size()
    fit = is_terminal and not environment.get("NO_COLOR") and environment.get("TERM") != "dumb"
    return Look(is_terminal, colour == "always" or (colour == "auto" and fit), size.columns, size.lines)
