"""diff: of two znodes, two trees, two clusters, a znode and a file."""

from collections.abc import Sequence
from typing import Any

import anyio
import click

from zabpy.client import Client
from zabpy.model import NoAuthError, NoNodeError

from ..acls import entry_text
from ..command import ZLocation, command
from ..differences import Pair, pairs, unified
from ..location import Clients, File, Location, Znode, clients
from ..pipelined import each
from ..problems import ShellError, Status, UsageError
from ..shell import Shell
from ..values import data_fields
from ..walk import Walk, tell_denied

#: ACLs of so many are asked for at one time.
ACLS_AT_ONCE = 200


@command("diff", group="Look")
@click.option("-r", "-R", "--recursive", is_flag=True, help="All that is below, too.")
@click.option("-q", "--brief", is_flag=True, help="Only what differs, not how.")
@click.option("-U", "--context", type=click.IntRange(0), default=3, help="So many lines around each change.")
@click.option("--acl", "acls", is_flag=True, help="Compare ACLs, too.")
@click.argument("old", type=ZLocation())
@click.argument("new", type=ZLocation())
async def diff(
    shell: Shell, recursive: bool, brief: bool, context: int, acls: bool, old: Location, new: Location
) -> int:
    """How values differ: of two znodes, of trees (-r), of clusters (zk://HOST:PORT/PATH), of a znode and a file
    (file:NAME). Status 0 if they do not, 1 if they do."""
    telling = Telling(shell, old, new, brief, context)
    async with clients(shell) as reached, telling.rows:
        if isinstance(old, File) or isinstance(new, File):
            if recursive or acls:
                raise UsageError(f"{old if isinstance(old, File) else new}: a file has a value only: no -r, no --acl")
            data = [await _value(place, reached) for place in (old, new)]
            if data[0] != data[1]:
                await telling.add("", data[0], data[1])
            return await telling.end([])
        zks = await reached.of(old), await reached.of(new)
        depth = None if recursive else 0
        walks = [Walk(zk, "data", depth_max=depth) for zk in zks]
        batch: list[Pair] = []
        async for pair in pairs(walks[0], old.path, walks[1], new.path):
            batch.append(pair)
            if not acls or len(batch) == ACLS_AT_ONCE:
                await telling.compare(batch, zks if acls else None)
                batch.clear()
        await telling.compare(batch, zks if acls else None)
        left_out = [*walks[0].denied, *(path for path in walks[1].denied if path not in walks[0].denied)]
        return await telling.end(left_out)


async def _value(place: Location, reached: Clients) -> bytes:
    if isinstance(place, Znode):
        zk = await reached.of(place)
        return (await zk.get(place.path)).data
    if place.is_standard:
        raise UsageError("-: diff does not read standard input; name a file by file:NAME")
    if place.local.is_dir():
        raise ShellError(f"{place}: is a folder; a file is expected", Status.USAGE)
    return await anyio.to_thread.run_sync(place.local.read_bytes)


class Telling:
    """Says what differs, and counts."""

    def __init__(self, shell: Shell, old: Location, new: Location, brief: bool, context: int) -> None:
        self._out, self._old, self._new, self._brief, self._context = shell.out, old, new, brief, context
        self.rows = shell.out.rows("path")
        self.count = 0

    async def compare(self, batch: Sequence[Pair], zks: tuple[Client, Client] | None) -> None:
        for pair in batch:
            if pair.old is None or pair.new is None:
                node = pair.old or pair.new
                assert node is not None
                await self._only(pair, node.data)
            elif pair.old.data is not None and pair.new.data is not None and pair.old.data != pair.new.data:
                await self.add(pair.path, pair.old.data, pair.new.data)
        if zks is not None:
            both = [pair for pair in batch if pair.old is not None and pair.new is not None]
            acls = await each(lambda pair: _acls(pair, zks), both)
            for pair, (old, new) in zip(both, acls, strict=True):
                if old != new:
                    await self._acl(pair.path, old, new)

    async def add(self, path: str, old: bytes, new: bytes) -> None:
        """These values differ."""
        if self._out.format != "table":
            await self._row(path, "changed", old, new)
            return
        self.count += 1
        names = _named(self._old, path), _named(self._new, path)
        if self._brief:
            await self._out.line(f"{names[0]} and {names[1]} differ")
            return
        lines = list(unified(old, new, names, self._out.look.paint, self._context))
        if len(lines) == 1:
            await self._out.line(f"{names[0]} and {names[1]}: {lines[0]}")
            return
        for line in lines:
            await self._out.line(line)

    async def _only(self, pair: Pair, data: bytes | None) -> None:
        change = "removed" if pair.new is None else "added"
        if self._out.format != "table":
            await self._row(pair.path, change, data if pair.new is None else None, data if pair.old is None else None)
            return
        self.count += 1
        place, sign = (self._old, "-") if pair.new is None else (self._new, "+")
        await self._out.line(self._out.look.paint(change, f"{sign} only: {_named(place, pair.path)}"))

    async def _acl(self, path: str, old: Sequence[str], new: Sequence[str]) -> None:
        if self._out.format != "table":
            await self._row(path, "acl", None, None, old_acl=list(old), new_acl=list(new))
            return
        self.count += 1
        paint = self._out.look.paint
        await self._out.line(f"{_named(self._old, path)} and {_named(self._new, path)} have other ACLs")
        if not self._brief:
            await self._out.line(paint("removed", f"-{', '.join(old)}"))
            await self._out.line(paint("added", f"+{', '.join(new)}"))

    async def _row(self, path: str, change: str, old: bytes | None, new: bytes | None, **more: Any) -> None:
        self.count += 1
        await self.rows.add(
            path=path or "/",
            change=change,
            **{f"old_{name}": value for name, value in data_fields(old).items()},
            **{f"new_{name}": value for name, value in data_fields(new).items()},
            **more,
        )

    async def end(self, denied: Sequence[str]) -> int:
        status = await tell_denied(self._out, denied, "what is there and below is not compared")
        return status or (Status.NO if self.count else Status.OK)


def _named(place: Location, path: str) -> str:
    return str(place.below(path) if isinstance(place, Znode) else place)


async def _acls(pair: Pair, zks: tuple[Client, Client]) -> tuple[list[str], list[str]]:
    assert pair.old is not None and pair.new is not None
    return await _acl_of(zks[0], pair.old.path), await _acl_of(zks[1], pair.new.path)


async def _acl_of(zk: Client, path: str) -> list[str]:
    try:
        acls, _ = await zk.get_acl(path)
    except (NoNodeError, NoAuthError):
        return []
    return sorted(map(entry_text, acls))
