"""To go about in the tree and see what is there."""

from collections.abc import Callable, Sequence
from typing import Any

import click

from zabpy.client import Client
from zabpy.model import NoAuthError, NoNodeError, Stat, join, name_of

from ..command import ZPath, command
from ..looks import escaped, in_columns, when
from ..output import Look, plain
from ..problems import ShellError, Status, status_of, told
from ..shell import Shell
from ..stats import UNKNOWN, mode, stat_fields
from ..trees import SYSTEM
from ..walk import Denied, Node, Reading, Walk, tell_denied
from ..watching import tell_of_one


class Where(ZPath):
    """A path, or ``-`` for where we were before."""

    def taken(self, word: str) -> object:
        return word if word == "-" else None


@command("pwd", group="Look")
async def pwd(shell: Shell) -> None:
    """Where we are."""
    await shell.out.show({"path": shell.cwd}, human=shell.cwd, raw=shell.cwd + "\n")


@command("cd", group="Look")
@click.argument("path", type=Where(), default="/")
async def cd(shell: Shell, path: str) -> None:
    """Go to a znode; to / without one, and with - to where we were before."""
    to = shell.previous if path == "-" else path
    if await (await shell.zk()).exists(to) is None:
        raise ShellError(f"{to}: no such znode", Status.NO)
    shell.previous, shell.cwd = shell.cwd, to
    if path == "-":
        await shell.out.show({"path": to}, human=to, raw=to + "\n")


@command("ls", group="Look")
@click.option("-l", "--long", is_flag=True, help="With kind, children, size, version, time of change and owner.")
@click.option("-R", "--recursive", is_flag=True, help="All below, too, as full paths.")
@click.option("-t", "--by-time", is_flag=True, help="Changed last, listed first.")
@click.option("-S", "--by-size", is_flag=True, help="Largest first.")
@click.option("-r", "--reverse", is_flag=True, help="The other way round.")
@click.option("-d", "--itself", is_flag=True, help="The znode itself, not its children.")
@click.option("-1", "--one", "one", is_flag=True, help="One on a line, also at a terminal.")
@click.option("-s", "--stat", "with_stat", is_flag=True, help="And the stat of the znode itself.")
@click.option("-w", "--watch", "watches", is_flag=True, help="Tell, once, when children come or go.")
@click.argument("paths", type=ZPath(), nargs=-1)
async def ls(
    shell: Shell,
    long: bool,
    recursive: bool,
    by_time: bool,
    by_size: bool,
    reverse: bool,
    itself: bool,
    one: bool,
    with_stat: bool,
    watches: bool,
    paths: tuple[str, ...],
) -> int:
    """The children of znodes. The three letters of -l: d has children, e is ephemeral, s is in sequence, to judge by
    its name."""
    listing = Listing(shell, long, one, by_time, by_size, reverse)
    if recursive:
        return await listing.recursive(paths or (shell.cwd,))
    if itself:
        return await listing.themselves(paths or (shell.cwd,))
    zk = await shell.zk()

    async def children(path: str) -> None:
        if watches:
            names, stat, fired = await zk.children_watched(path)
            tell_of_one(shell, zk, fired, path, "children")
        else:
            names, stat = await zk.children_and_stat(path)
        if with_stat and shell.out.format != "table":
            await shell.out.show({"path": path, "children": sorted(names), **stat_fields(stat)})
            return
        if shell.out.format == "table" and len(paths) > 1:
            await shell.out.line(f"{'' if path == paths[0] else chr(10)}{shell.out.look.name(path)}:")
        await listing.of([join(path, name) for name in names], names_only=True)
        if with_stat:
            await show_stat(shell, path, stat)

    return await for_each(shell, paths or (shell.cwd,), children)


class Listing:
    """Lists znodes as the flags of ``ls`` have it."""

    def __init__(self, shell: Shell, long: bool, one: bool, by_time: bool, by_size: bool, reverse: bool) -> None:
        self._shell, self._out = shell, shell.out
        self._long, self._one, self._by_time, self._by_size, self._reverse = long, one, by_time, by_size, reverse

    @property
    def _needs_stats(self) -> bool:
        return self._long or self._by_time or self._by_size

    async def of(self, paths: Sequence[str], *, names_only: bool) -> None:
        """``names_only``: shown by their names, as children are."""
        if not self._needs_stats:
            await self._show(self._sorted([(path, None) for path in paths]), names_only)
        else:
            stats = await Reading(await self._shell.zk()).stats(paths)
            await self._show(self._sorted(_there(paths, stats)), names_only)

    async def themselves(self, paths: Sequence[str]) -> int:
        stats = await Reading(await self._shell.zk()).stats(paths)
        await self._show(self._sorted(_there(paths, stats)), False)
        missing = [path for path, stat in zip(paths, stats, strict=True) if stat is None]
        for path in missing:
            await self._out.tell(f"ls: {path}: no such znode")
        return Status.NO if missing else Status.OK

    async def recursive(self, tops: Sequence[str]) -> int:
        walk = Walk(await self._shell.zk(), "stats" if self._needs_stats else "names")
        if self._by_time or self._by_size or self._reverse:
            nodes: list[tuple[str, Stat | None]] = [(node.path, node.stat) async for node in walk.nodes(tops)]
            await self._show(self._sorted(nodes), False)
        else:
            async with self._rows(False) as rows:
                async for node in walk.nodes(tops):
                    await rows.add(**self._fields(node.path, node.stat))
        return await tell_denied(self._out, walk.denied, "what is below is left out")

    def _sorted(self, found: list[tuple[str, Stat | None]]) -> list[tuple[str, Stat | None]]:
        found.sort()
        keys: dict[bool, Callable[[tuple[str, Stat | None]], int]] = {
            self._by_time: lambda each: -each[1].mtime_ms if each[1] else 0,
            self._by_size: lambda each: -each[1].data_length if each[1] else 0,
        }
        if True in keys:
            found.sort(key=keys[True])
        return found[::-1] if self._reverse else found

    async def _show(self, found: list[tuple[str, Stat | None]], names_only: bool) -> None:
        out = self._out
        if out.format == "table" and not self._long and out.look.is_terminal and not self._one and names_only:
            for line in in_columns([out.look.name(name_of(path)) for path, _ in found], out.look.width):
                await out.line(line)
            return
        async with self._rows(names_only) as rows:
            for path, stat in found:
                await rows.add(**self._fields(path, stat if self._long else None))

    def _rows(self, names_only: bool) -> Any:
        look = self._out.look
        column = "name" if names_only else "path"
        if not self._long:
            return self._out.rows(column, human=lambda row: look.name(row[column]))
        return self._out.rows(
            column, table=("mode", "children", "size", "version", "modified", "owner", column), cells=long_cells(look)
        )

    def _fields(self, path: str, stat: Stat | None) -> dict[str, Any]:
        fields: dict[str, Any] = {"path": path, "name": name_of(path) if path != "/" else "/"}
        if self._long:
            fields |= {"mode": "???", **UNKNOWN} if stat is None else {"mode": mode(path, stat), **stat_fields(stat)}
        return fields


def _there(paths: Sequence[str], stats: Sequence[Stat | Denied | None]) -> list[tuple[str, Stat | None]]:
    """What is there, with its stat if that may be read."""
    found = zip(paths, stats, strict=True)
    return [(path, stat if isinstance(stat, Stat) else None) for path, stat in found if stat is not None]


def long_cells(look: Look) -> dict[str, Callable[[Any], str]]:
    """How the columns of a long listing show what is in its rows."""

    def name(column: str) -> Callable[[Any], str]:
        def shown(row: Any) -> str:
            style = "ephemeral" if row["ephemeral_owner"] else "parent" if row["num_children"] else ""
            text = look.name(row[column])
            text = text if text.isprintable() else escaped(text)
            return look.paint(style, text) if style else text

        return shown

    return {
        "mode": lambda row: str(row["mode"]),
        "children": lambda row: plain(row["num_children"]),
        "size": lambda row: "-" if row["data_length"] is None else look.size(row["data_length"]),
        "version": lambda row: plain(row["version"]),
        "modified": lambda row: when(row["mtime_ms"] or 0),
        "owner": lambda row: row["ephemeral_owner"] or "-",
        "name": name("name"),
        "path": name("path"),
    }


async def show_stat(shell: Shell, path: str, stat: Stat) -> None:
    """The stat of one znode: lines for people, with what the numbers mean."""
    fields = {"path": path, **stat_fields(stat)}
    said = {
        "ctime_ms": when(stat.ctime_ms),
        "mtime_ms": when(stat.mtime_ms),
        "ephemeral_owner": fields["ephemeral_owner"] or "-",
        "path": shell.out.look.name(path),
    }
    names = {"ctime_ms": "ctime", "mtime_ms": "mtime"}
    lines = [f"{names.get(field, field):15} {said.get(field, value)}" for field, value in fields.items()]
    await shell.out.show(fields, human="\n".join(lines))


async def for_each(shell: Shell, paths: Sequence[str], show: Callable[[str], Any]) -> int:
    """Show each; one that is not there or may not be read is told of, and the rest shown. One alone raises."""
    status = 0
    for path in paths:
        try:
            await show(path)
        except (NoNodeError, NoAuthError) as error:
            if len(paths) == 1:
                raise
            await shell.out.tell(told(error) or str(error))
            status = status or status_of(error)
    return status


@command("tree", group="Look")
@click.option("-L", "--depth", "depth", type=click.IntRange(0), help="So many levels below the first.")
@click.option(
    "-n", "--limit", type=click.IntRange(0), help="So many children of one znode; 0: all. [at a terminal: 40]"
)
@click.option("-l", "--long", is_flag=True, help="With sizes.")
@click.argument("paths", type=ZPath(), nargs=-1)
async def tree(shell: Shell, depth: int | None, limit: int | None, long: bool, paths: tuple[str, ...]) -> int:
    """Subtrees, drawn. What servers and clients keep for themselves below /zookeeper only if it is asked for."""
    out = shell.out
    if limit is None and out.look.is_terminal and out.format == "table":
        limit = 40
    zk: Client = await shell.zk()

    def enters(node: Node) -> bool:
        return node.depth == 0 or node.path != SYSTEM or bool(zk.chroot)

    walk = Walk(zk, "stats" if long else "names", depth_max=depth, children_max=limit or None, enters=enters)
    if out.format != "table":
        async with out.rows("path") as rows:
            async for node in walk.nodes(paths or (shell.cwd,)):
                stat = stat_fields(node.stat) if node.stat is not None else {}
                await rows.add(path=node.path, depth=node.depth, left_out=node.more, **stat)
    else:
        nodes = [node async for node in walk.nodes(paths or (shell.cwd,))]
        for line in drawn(nodes, out.look, with_size=long):
            await out.line(line)
        more = sum(node.more for node in nodes)
        cut = f", {more:,} more left out with all that is below them" if more else ""
        await out.line(f"\n{len(nodes):,} znode{'s' * (len(nodes) != 1)}{cut}")
    return await tell_denied(out, walk.denied, "what is below is left out")


def drawn(nodes: Sequence[Node], look: Look, *, with_size: bool) -> list[str]:
    """Lines with branches before the names. ``nodes`` are as a walk gives them."""
    entries: list[tuple[int, str]] = []
    cut: list[tuple[int, int]] = []  # depth and number of what is left out below those znodes we are in
    for node in [*nodes, None]:
        while cut and (node is None or cut[-1][0] > node.depth):
            depth, more = cut.pop()
            entries.append((depth, look.paint("dim", f"… {more:,} more")))
        if node is None:
            break
        name = look.name(node.path if node.depth == 0 else name_of(node.path))
        size = f"  ({look.size(node.stat.data_length)})" if with_size and node.stat is not None else ""
        entries.append((node.depth, (look.paint("parent", name) if node.names else name) + look.paint("dim", size)))
        if node.more:
            cut.append((node.depth + 1, node.more))
    # From the end, so that it is known whether another one of the same parent follows.
    lines: list[str] = []
    follows: list[bool] = []
    for depth, text in reversed(entries):
        follows += [False] * (depth + 1 - len(follows))
        above = "".join("│   " if level else "    " for level in follows[1:depth])
        branch = "" if depth == 0 else "├── " if follows[depth] else "└── "
        lines.append(above + branch + text)
        del follows[depth + 1 :]
        follows[depth] = True
    return lines[::-1]
