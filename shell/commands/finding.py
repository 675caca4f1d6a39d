"""To find znodes in a tree, by what they are or by what is in them, and to see where its bytes are."""

import fnmatch
import re
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, NamedTuple

import click

from zabpy.model import NoAuthError, Stat, UnimplementedError, name_of

from ..command import Duration, Size, ZPath, command
from ..matching import COSTLY, Matching, Spans
from ..output import Look
from ..problems import Status, UsageError
from ..shell import Shell
from ..stats import UNKNOWN, mode, stat_fields
from ..values import searched
from ..walk import Node, Walk, missing, tell_denied
from .walking import for_each, long_cells

#: So many znodes, or so much of their values, are matched at one time.
ASKED_AT_ONCE, ASKED_BYTES = 500, 1 << 20

Test = Callable[[Node], bool]


class Compared(click.ParamType[tuple[str, int]]):
    """``+N`` more than, ``-N`` less than, ``N`` exactly; N in units of its own."""

    def __init__(self, unit: "click.ParamType[int]", *, sign_needed: bool = False) -> None:
        self._unit, self._sign_needed = unit, sign_needed
        self.name = f"[+-]{unit.name}"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, int]:
        if isinstance(value, tuple):
            return value
        text = str(value)
        sign = text[0] if text[:1] in ("+", "-") else ""
        if self._sign_needed and not sign:
            self.fail(
                f"{text!r}: expected +{text or '1h'} for longer ago, or -{text or '1h'} for since then", param, ctx
            )
        return sign, int(self._unit.convert(text[len(sign) :], param, ctx))


class Count(click.ParamType[int]):
    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, str) and not value.isdecimal():
            self.fail(f"{value!r}: expected a number", param, ctx)
        return int(value)


class SessionId(click.ParamType[int]):
    """As servers show them: ``0x100a3b...``, or decimal."""

    name = "session"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            return int(value, 16 if str(value).lower().startswith("0x") else 10) & 0xFFFF_FFFF_FFFF_FFFF
        except ValueError:
            self.fail(f"{value!r}: expected the id of a session, such as 0x100a3b4c5d60001", param, ctx)


def _holds(compared: tuple[str, int], number: int) -> bool:
    sign, bound = compared
    return number > bound if sign == "+" else number < bound if sign == "-" else number == bound


@command("find", group="Look")
@click.option("-name", "name", multiple=True, help="Its name matches the pattern.")
@click.option("-iname", "iname", multiple=True, help="The same, capitals or not.")
@click.option("-path", "path", multiple=True, help="Its whole path matches; * stands for slashes, too.")
@click.option("-regex", "regex", help="Its whole path matches this regular expression.")
@click.option("-size", "size", type=Compared(Size()), multiple=True, help="Bytes of its value: +10k, -1M, 0.")
@click.option("-children", "children", type=Compared(Count()), multiple=True, help="So many children: +1000, 0.")
@click.option("-mtime", "mtime", type=Compared(Duration(), sign_needed=True), multiple=True,
              help="Changed longer ago: +30d, or since: -10m.")  # fmt: skip
@click.option("-ctime", "ctime", type=Compared(Duration(), sign_needed=True), multiple=True,
              help="The same of its creation.")  # fmt: skip
@click.option("-newer", "newer", type=ZPath(), help="Changed after this znode was.")
@click.option("-owner", "owner", type=SessionId(), help="An ephemeral of this session.")
@click.option("-ephemeral", "ephemeral", is_flag=True, help="An ephemeral.")
@click.option("-persistent", "persistent", is_flag=True, help="No ephemeral.")
@click.option("-type", "type", type=click.Choice(["e", "p"]), help="e ephemeral, p persistent.")
@click.option("-empty", "empty", is_flag=True, help="Has neither value nor children.")
@click.option("-maxdepth", "maxdepth", type=click.IntRange(0), help="At most so far down.")
@click.option("-mindepth", "mindepth", type=click.IntRange(0), default=0, help="At least so far down.")
@click.option("-ls", "-l", "long", is_flag=True, help="As ls -l shows them.")
@click.option("-print0", "print0", is_flag=True, help="Paths with a NUL behind each, for xargs -0.")
@click.option("-delete", "delete", is_flag=True, hidden=True)
@click.argument("paths", type=ZPath(), nargs=-1)
async def find(
    shell: Shell, paths: tuple[str, ...], maxdepth: int | None, mindepth: int, long: bool, print0: bool, **wanted: Any
) -> int:
    """Znodes below the paths, and these themselves, for which all that is asked for holds.

    Which ones are containers or have a lifetime servers tell nobody. What was found can be deleted by
    find ... -print0 | xargs -0 zabsh rm, with what rm asks."""
    if wanted["delete"]:
        raise UsageError("-delete: find deletes nothing, rm does; it takes patterns, too")
    out, zk = shell.out, await shell.zk()
    if wanted["newer"] is not None:
        wanted["newer"] = (await zk.get(wanted["newer"])).stat.mzxid  # no two are equal, as times are
    by_path, by_stat = _tests(wanted)
    walk = Walk(zk, "stats" if by_stat or long else "names", depth_max=maxdepth)
    columns = ("mode", "children", "size", "version", "modified", "owner", "path") if long else ("path",)
    plain = None if long else lambda row: out.look.name(row["path"])
    async with out.rows("path", table=columns, human=plain, cells=long_cells(out.look)) as rows:
        async for node in _of_regex(wanted["regex"], walk.nodes(paths or (shell.cwd,))):
            if node.depth < mindepth or not all(test(node) for test in by_path):
                continue
            if by_stat and (node.stat is None or not all(holds(node.stat) for holds in by_stat)):
                continue
            if print0:
                await out.write(node.path + "\0")
                continue
            fields = {"path": node.path, "name": name_of(node.path)}
            if long:
                fields |= {"mode": mode(node.path, node.stat) if node.stat else "???"}
            if walk.wants == "stats":
                fields |= stat_fields(node.stat) if node.stat else UNKNOWN
            await rows.add(**fields)
    return await tell_denied(out, walk.denied)


def _tests(wanted: dict[str, Any]) -> tuple[list[Test], list[Callable[[Stat], bool]]]:
    """What can be told by the path alone, and what needs the stat."""
    names = [_matcher(pattern) for pattern in wanted["name"]]
    names += [_matcher(pattern, re.I) for pattern in wanted["iname"]]
    whole = [_matcher(pattern) for pattern in wanted["path"]]
    by_path: list[Test] = []
    if names:
        by_path.append(lambda node: all(fits(name_of(node.path)) for fits in names))
    if whole:
        by_path.append(lambda node: all(fits(node.path) for fits in whole))

    now_ms = round(time.time() * 1000)
    measures: dict[str, Callable[[Stat], int]] = {
        "size": lambda stat: stat.data_length,
        "children": lambda stat: stat.num_children,
        "mtime": lambda stat: now_ms - stat.mtime_ms,
        "ctime": lambda stat: now_ms - stat.ctime_ms,
    }
    bounds = [(measure, each) for name, measure in measures.items() for each in wanted[name]]
    by_stat: list[Callable[[Stat], bool]] = []
    if bounds:
        by_stat.append(lambda stat: all(_holds(each, measure(stat)) for measure, each in bounds))
    if wanted["newer"] is not None:
        by_stat.append(lambda stat: stat.mzxid > wanted["newer"])
    if wanted["owner"] is not None:
        by_stat.append(lambda stat: stat.ephemeral_owner & 0xFFFF_FFFF_FFFF_FFFF == wanted["owner"] != 0)
    if wanted["ephemeral"] or wanted["type"] == "e":
        by_stat.append(lambda stat: stat.ephemeral_owner != 0)
    if wanted["persistent"] or wanted["type"] == "p":
        by_stat.append(lambda stat: stat.ephemeral_owner == 0)
    if wanted["empty"]:
        by_stat.append(lambda stat: stat.data_length == 0 and stat.num_children == 0)
    return by_path, by_stat


async def _of_regex(pattern: str | None, nodes: AsyncIterator[Node]) -> AsyncIterator[Node]:
    """Those whose whole path matches."""
    if pattern is None:
        async for node in nodes:
            yield node
        return
    async with Matching(_regex(pattern), whole=True) as matching:
        async for some in _pieces(nodes):
            found = await matching.spans([node.path for node in some])
            for node, spans in zip(some, found, strict=True):
                if spans is not None:
                    yield node


async def _pieces(nodes: AsyncIterator[Node]) -> AsyncIterator[list[Node]]:
    """Enough at a time for another process to be asked about them."""
    some: list[Node] = []
    size = 0
    async for node in nodes:
        some.append(node)
        size += len(node.path) + len(node.data or b"")
        if len(some) >= ASKED_AT_ONCE or size > ASKED_BYTES:
            yield some
            some, size = [], 0
    if some:
        yield some


def _matcher(pattern: str, flags: int = 0) -> Callable[[str], object]:
    return re.compile(fnmatch.translate(pattern), flags).match


def _regex(pattern: str, flags: int = 0) -> re.Pattern[str]:
    try:
        return re.compile(pattern, flags)
    except re.error as error:
        raise UsageError(f"{pattern}: {error}") from None


@command("grep", group="Look")
@click.option("-r", "-R", "--recursive", is_flag=True, help="All below the paths, too.")
@click.option("-i", "--ignore-case", is_flag=True, help="Capitals do not matter.")
@click.option("-E", "--regexp", "regexp", is_flag=True, help="A regular expression; it is one anyway.")
@click.option("-F", "--fixed", is_flag=True, help="The text as it is, no regular expression.")
@click.option("-w", "--word", is_flag=True, help="Whole words only.")
@click.option("-l", "--paths-only", is_flag=True, help="Only the paths of what matches.")
@click.option("-c", "--count", "counts", is_flag=True, help="Only how many lines match in each.")
@click.option("-v", "--invert", is_flag=True, help="The lines that do not match.")
@click.option("-n", "--numbers", is_flag=True, help="With line numbers.")
@click.option("-o", "--matches-only", is_flag=True, help="Only what matches of a line.")
@click.option("-q", "--quiet", is_flag=True, help="Nothing but the status.")
@click.argument("pattern")
@click.argument("paths", type=ZPath(), nargs=-1)
async def grep(
    shell: Shell,
    recursive: bool,
    ignore_case: bool,
    regexp: bool,
    fixed: bool,
    word: bool,
    paths_only: bool,
    counts: bool,
    invert: bool,
    numbers: bool,
    matches_only: bool,
    quiet: bool,
    pattern: str,
    paths: tuple[str, ...],
) -> int:
    """Lines of values that match; status 1 if there are none.

    What gzip has packed is unpacked, CBOR is searched as JSON; of values that are no text it is only said that they
    match. Regular expressions are those of Python."""
    if regexp and fixed:
        raise click.UsageError("-E or -F, not both")
    source = re.escape(pattern) if fixed else pattern
    wanted = _regex(rf"\b(?:{source})\b" if word else source, re.I if ignore_case else 0)
    look = shell.out.look
    with_path = recursive or len(paths) > 1
    walk = Walk(await shell.zk(), "data", depth_max=None if recursive else 0)
    found = False
    places: Spans = None  # in what is being shown
    in_colour = look.colour and not invert
    matching = Matching(wanted, every=matches_only or in_colour, is_simple=fixed or COSTLY.isdisjoint(pattern))

    def line(row: Any) -> str:
        path = look.paint("path", look.name(row["path"]))
        if paths_only:
            return path
        if counts:
            return f"{path}:{row['count']}" if with_path else str(row["count"])
        if row["text"] is None:
            return f"binary value matches: {path}"
        shown = _marked(row["text"], [] if places is None or not in_colour else places, look)
        return (f"{path}:" if with_path else "") + (f"{row['line']}:" if numbers else "") + shown

    async def all_hits() -> AsyncIterator[tuple[Node, list[Hit]]]:
        async for some in _pieces(walk.nodes(paths or (shell.cwd,))):
            texts = [(node, searched(node.data), node.data) for node in some if node.data is not None]
            lines = [[data.decode(errors="replace")] if text is None else _lines(text) for _, text, data in texts]
            spans = iter(await matching.spans([each for of_one in lines for each in of_one]))
            for (node, text, _), of_one in zip(texts, lines, strict=True):
                hits = [Hit(number, each, next(spans)) for number, each in enumerate(of_one, 1)]
                hits = [hit for hit in hits if (hit.spans is None) == invert]
                yield node, hits if text is not None else [Hit(0, None, None)] * len(hits)

    async with shell.out.rows("path" if paths_only else "text", human=line) as rows, matching:
        async for node, hits in all_hits():
            found |= bool(hits)
            if quiet:
                if found:
                    break
            elif paths_only:
                if hits:
                    await rows.add(path=node.path)
            elif counts:
                if hits or not recursive:
                    await rows.add(path=node.path, count=len(hits), text=str(len(hits)))
            else:
                for hit in hits:
                    parts: list[tuple[str | None, list[tuple[int, int]]]]
                    if hit.text and matches_only:
                        parts = [(hit.text[start:end], [(0, end - start)]) for start, end in hit.spans or ()]
                    else:
                        parts = [(hit.text, hit.spans or [])]
                    for part, within in parts:
                        places = within
                        await rows.add(path=node.path, line=hit.number or None, text=part)
    denied = await tell_denied(shell.out, walk.denied)
    return denied or (Status.OK if found else Status.NO)


class Hit(NamedTuple):
    """A line, from 1, and where it matches; of a value that is no text 0 and None."""

    number: int
    text: str | None
    spans: Spans


def _marked(text: str, places: Sequence[tuple[int, int]], look: Look) -> str:
    """With the places in another colour, and nothing in it that a terminal obeys."""
    parts, done = [], 0

    def safe(part: str) -> str:
        return part if not look.is_terminal or part.isprintable() else repr(part)[1:-1]

    for start, end in places:
        parts += [safe(text[done:start]), look.paint("match", safe(text[start:end]))]
        done = end
    return "".join([*parts, safe(text[done:])])


def _lines(text: str) -> list[str]:
    lines = text.split("\n")
    return lines[:-1] if lines[-1] == "" else lines


@command("du", group="Look")
@click.option("-d", "--depth", type=click.IntRange(0), help="Show so many levels; all below is counted anyway.")
@click.option("-s", "--summary", is_flag=True, help="Only the paths themselves; as -d 0.")
@click.option("--sort", "by_size", is_flag=True, help="Largest first.")
@click.option("-n", "--limit", type=click.IntRange(1), help="Only so many.")
@click.argument("paths", type=ZPath(), nargs=-1)
async def du(
    shell: Shell, depth: int | None, summary: bool, by_size: bool, limit: int | None, paths: tuple[str, ...]
) -> int:
    """Bytes of values in subtrees, and how many znodes there are. Names, ACLs and what servers need besides is more."""
    out = shell.out
    walk = Walk(await shell.zk(), "stats")
    depth = 0 if summary else depth
    nodes: list[tuple[str, int]] = []
    sizes: list[int] = []
    async for node in walk.nodes(paths or (shell.cwd,)):
        nodes.append((node.path, node.depth))
        sizes.append(node.stat.data_length if node.stat is not None else 0)
    counts = [1] * len(nodes)
    totals = _summed(sizes, [level for _, level in nodes])
    numbers = _summed(counts, [level for _, level in nodes])
    shown = [(path, level, total, number) for (path, level), total, number in zip(nodes, totals, numbers, strict=True)
             if depth is None or level <= depth]  # fmt: skip
    if by_size:
        shown.sort(key=lambda each: (-each[2], each[0]))
    cells = {"bytes": lambda row: out.look.size(row["bytes"]), "path": lambda row: out.look.name(row["path"])}
    async with out.rows("bytes", table=("bytes", "znodes", "path"), cells=cells) as rows:
        for path, level, total, number in shown[:limit]:
            await rows.add(path=path, bytes=total, znodes=number, depth=level)
    return await tell_denied(out, walk.denied, "what is there and below is not counted")


def _summed(numbers: Sequence[int], levels: Sequence[int]) -> list[int]:
    """Of each the sum of itself and all below it. In the order of a walk: what is below follows, one level down."""
    sums: list[int] = [0] * len(numbers)
    below: list[int] = []  # by level, the sum of those whose parent is still to come
    for at in range(len(numbers) - 1, -1, -1):
        level = levels[at]
        below += [0] * (level + 2 - len(below))
        sums[at] = numbers[at] + below[level + 1]
        below[level + 1] = 0
        below[level] += sums[at]
    return sums


@command("count", group="Look")
@click.argument("paths", type=ZPath(), nargs=-1)
async def count(shell: Shell, paths: tuple[str, ...]) -> int:
    """How many children znodes have, and how many znodes are below them in all."""
    zk, out = await shell.zk(), shell.out
    denied: list[str] = []
    cells = {"path": lambda row: out.look.name(row["path"])}
    async with out.rows("descendants", table=("children", "descendants", "path"), cells=cells) as rows:

        async def show(path: str) -> None:
            stat = await zk.exists(path)  # of so many children that no client could list them
            if stat is None:
                raise missing(path)
            try:
                below = await zk.count_descendants(path)
            except (UnimplementedError, NoAuthError):
                walk = Walk(zk)
                below = -1
                async for _ in walk.nodes([path]):
                    below += 1
                denied.extend(walk.denied)
            await rows.add(path=path, children=stat.num_children, descendants=below)

        status = await for_each(shell, paths or (shell.cwd,), show)
    return status or await tell_denied(out, denied, "what is below is not counted")
