"""What is in a znode: its value, whatever it is, and its stat."""

import base64
from collections.abc import Sequence
from typing import Any

import click

from zabpy.model import Stat

from ..command import ZPath, command
from ..problems import ShellError, Status, UsageError
from ..selection import Selection, is_selection, parse_selection
from ..shell import Shell
from ..stats import stat_fields
from ..values import as_json, data_fields, hex_dump, json_text, jsonable, pretty, recognised
from ..watching import tell_of_one
from .walking import for_each, show_stat


class PathOrPart(ZPath):
    """A path, or the part of its value that is wanted: ``.db.host``."""

    def taken(self, word: str) -> object:
        return parse_selection(word) if is_selection(word) else None


@command("get", group="Look", aliases=("cat",))
@click.option("--raw", is_flag=True, help="The bytes as they are, and nothing else.")
@click.option("-s", "--stat", "with_stat", is_flag=True, help="And the stat.")
@click.option("-w", "--watch", "watches", is_flag=True, help="Tell, once, when it changes or goes.")
@click.option("-x", "--hex", "as_hex", is_flag=True, help="A hex dump.")
@click.option("-b", "--base64", "as_base64", is_flag=True, help="The value in base64.")
@click.argument("paths", type=PathOrPart(), nargs=-1)
async def get(
    shell: Shell,
    raw: bool,
    with_stat: bool,
    watches: bool,
    as_hex: bool,
    as_base64: bool,
    paths: tuple[str | Selection, ...],
) -> int:
    """The values of znodes, or a part of them: get /cfg .db.host, .servers[0], .servers[*].name, ."a b".

    At a terminal JSON is indented, gzip unpacked, CBOR shown as JSON, and what is no text as a hex dump. Elsewhere a
    value comes as it is, with a line end if it is text that has none; with --raw exactly as it is.
    """
    parts = [each for each in paths if isinstance(each, Selection)]
    if len(parts) > 1:
        raise UsageError(f"{parts[1].text}: one part at a time, and {parts[0].text} is given already")
    if raw + as_hex + as_base64 > 1:
        raise click.UsageError("--raw, --hex and --base64 are three ways to show it: choose one")
    getting = Getting(shell, parts[0] if parts else None, raw, with_stat, as_hex, as_base64)
    wanted = [each for each in paths if isinstance(each, str)] or [shell.cwd]
    zk = await shell.zk()

    async def show(path: str) -> None:
        if watches:
            data, stat, fired = await zk.get_watched(path)
            tell_of_one(shell, zk, fired, path, "data")
        else:
            data, stat = await zk.get(path)
        await getting.show(path, data, stat, wanted)

    if shell.out.format in ("json", "ndjson", "yaml") and not raw:
        if len(wanted) > 1:
            async with shell.out.rows("path") as rows:

                async def row(path: str) -> None:
                    await rows.add(**getting.fields(path, *await zk.get(path)))

                return await for_each(shell, wanted, row)
    return await for_each(shell, wanted, show)


class Getting:
    """Shows values as the flags of ``get`` have it."""

    def __init__(
        self, shell: Shell, part: Selection | None, raw: bool, with_stat: bool, as_hex: bool, as_base64: bool
    ) -> None:
        self._out, self._shell, self._part = shell.out, shell, part
        self._raw, self._with_stat, self._hex, self._base64 = raw, with_stat, as_hex, as_base64

    def fields(self, path: str, data: bytes, stat: Stat) -> dict[str, Any]:
        value = recognised(data)
        if self._part is not None:
            return {"path": path, "part": self._part.text, "value": jsonable(self._selected(path, data))}
        return {"path": path, **data_fields(data), "format": value.name, **stat_fields(stat)}

    async def show(self, path: str, data: bytes, stat: Stat, wanted: Sequence[str]) -> None:
        out = self._out
        if self._raw:
            part = data if self._part is None else as_json(self._selected(path, data)).encode()
            await out.write(part)
            return
        if out.format in ("json", "ndjson", "yaml"):
            await out.show(self.fields(path, data, stat))
            return
        if len(wanted) > 1 and out.format == "table":
            await out.line(f"{'' if path == wanted[0] else chr(10)}==> {out.look.name(path)} <==")
        await self._show_value(path, data)
        if self._with_stat and out.format == "table":
            await show_stat(self._shell, path, stat)

    async def _show_value(self, path: str, data: bytes) -> None:
        out, paint = self._out, self._out.look.paint
        if self._part is not None:
            part = self._selected(path, data)
            shown = as_json(part)
            if out.look.is_terminal and isinstance(part, dict | list):
                shown = paint.source(json_text(jsonable(part), indent=2), "json")
            await out.line(shown)
        elif self._hex:
            await out.write(hex_dump(data) + "\n" * bool(data))
        elif self._base64:
            await out.line(base64.b64encode(data).decode())
        elif out.format == "raw":
            await out.write(data)
        elif not out.look.is_terminal:
            value = recognised(data)
            ends = b"\n" if value.kind in ("text", "json", "yaml") and not value.is_gzip else b""
            await out.write(data if data.endswith(b"\n") else data + ends)
        else:
            value = recognised(data)
            if value.kind != "empty":
                await out.line(paint.source(pretty(value), value.kind))
            if value.is_gzip or value.kind in ("cbor", "binary"):
                await out.tell(paint("dim", f"({value.name}, {len(data):,} bytes)"))

    def _selected(self, path: str, data: bytes) -> Any:
        value = recognised(data)
        assert self._part is not None
        if not value.is_structured:
            raise ShellError(f"{path}: {value.name}, which has no parts: JSON, YAML or CBOR have", Status.NO)
        try:
            return self._part.of(value.parsed)
        except ShellError as error:
            raise ShellError(f"{path}: {error}", error.status) from None


@command("stat", group="Look")
@click.option("-w", "--watch", "watches", is_flag=True, help="Tell, once, when it changes, goes or comes.")
@click.argument("paths", type=ZPath(), nargs=-1)
async def stat(shell: Shell, watches: bool, paths: tuple[str, ...]) -> int:
    """What the servers know of znodes, apart from their values."""
    zk = await shell.zk()
    wanted = paths or (shell.cwd,)

    async def found(path: str) -> Stat:
        if watches:
            stat, fired = await zk.exists_watched(path)
            tell_of_one(shell, zk, fired, path, "data")
        else:
            stat = await zk.exists(path)
        if stat is None:
            raise ShellError(f"{path}: no such znode", Status.NO)
        return stat

    if len(wanted) == 1:
        await show_stat(shell, wanted[0], await found(wanted[0]))
        return 0
    status = 0
    columns = ("path", "num_children", "data_length", "version", "mzxid")
    async with shell.out.rows(*columns, cells={"path": lambda row: shell.out.look.name(row["path"])}) as rows:
        for path in wanted:
            try:
                await rows.add(path=path, **stat_fields(await found(path)))
            except ShellError as error:
                await shell.out.tell(f"stat: {error}")
                status = error.status
    return status


@command("exists", group="Look")
@click.option("-w", "--watch", "watches", is_flag=True, help="Tell, once, when it changes, goes or comes.")
@click.argument("paths", type=ZPath(), nargs=-1, required=True)
async def exists(shell: Shell, watches: bool, paths: tuple[str, ...]) -> int:
    """Whether znodes are there: status 0 if all are, else 1."""
    zk = await shell.zk()
    all_there = True
    async with shell.out.rows("exists", table=("path", "exists"), human=_yes_or_no(shell, len(paths))) as rows:
        for path in paths:
            if watches:
                stat, fired = await zk.exists_watched(path)
                tell_of_one(shell, zk, fired, path, "data")
            else:
                stat = await zk.exists(path)
            all_there &= stat is not None
            await rows.add(path=path, exists=stat is not None)
    return Status.OK if all_there else Status.NO


def _yes_or_no(shell: Shell, count: int) -> Any:
    def line(row: Any) -> str:
        said = "yes" if row["exists"] else "no"
        return said if count == 1 else f"{said:3} {shell.out.look.name(row['path'])}"

    return line
