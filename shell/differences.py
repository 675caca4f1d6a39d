"""How two values differ, in lines; and two trees, znode by znode."""

from collections.abc import AsyncIterator, Iterable, Iterator
from typing import NamedTuple

from .looks import Paint
from .values import pretty, recognised
from .walk import Node, Walk

#: Lines of a diff take time as their number squared, at worst: larger values are said to differ, and no more.
DIFF_LINES_MAX = 20_000


def lines_of(data: bytes) -> list[str] | None:
    """To compare: text, JSON on one line as it is indented, what was packed unpacked. None: binary."""
    value = recognised(data)
    if value.kind == "binary":
        return None
    if value.kind == "json" and "\n" not in (value.text or "").strip():
        return pretty(value).splitlines()
    return (pretty(value) if value.kind == "cbor" else value.text or "").splitlines()


def unified(old: bytes, new: bytes, names: tuple[str, str] | None, paint: Paint, context: int = 3) -> Iterator[str]:
    """A unified diff; one line that says so where there are no lines to compare. ``names``: for its head, if any."""
    before, after = lines_of(old), lines_of(new)
    if before is None or after is None or len(before) + len(after) > DIFF_LINES_MAX:
        what = "binary values" if before is None or after is None else "large values"
        yield f"{what} differ: {len(old):,} bytes, {len(new):,} bytes"
        return
    if before == after:
        yield "values differ, but only in what does not show: spaces, line ends, or how they are packed"
        return
    styles = {"+": "added", "-": "removed", "@": "hunk"}
    import difflib  # few commands need it

    lines = difflib.unified_diff(before, after, *(names or ("", "")), n=context, lineterm="")
    for number, line in enumerate(lines):
        if number < 2:
            if names is not None:
                yield paint("head", line)
        else:
            yield paint(styles[line[0]], line) if line[0] in styles else line


class Pair(NamedTuple):
    """A path below the tops that is in one tree or in both."""

    path: str
    old: Node | None
    new: Node | None


async def pairs(old: Walk, old_top: str, new: Walk, new_top: str) -> AsyncIterator[Pair]:
    """Two trees side by side, in the order of a walk."""
    left, right = old.nodes([old_top]), new.nodes([new_top])
    a, b = await _next(left, old_top), await _next(right, new_top)
    while a is not None or b is not None:
        if b is None or (a is not None and a[0] < b[0]):
            assert a is not None
            yield Pair(_joined(a[0]), a[1], None)
            a = await _next(left, old_top)
        elif a is None or b[0] < a[0]:
            yield Pair(_joined(b[0]), None, b[1])
            b = await _next(right, new_top)
        else:
            yield Pair(_joined(a[0]), a[1], b[1])
            a, b = await _next(left, old_top), await _next(right, new_top)


def _joined(parts: Iterable[str]) -> str:
    return "".join(f"/{part}" for part in parts)


async def _next(nodes: AsyncIterator[Node], top: str) -> tuple[list[str], Node] | None:
    """The names below the top, which are in the order of a walk, and the znode."""
    async for node in nodes:
        below = node.path[len(top.rstrip("/")) :]
        return [part for part in below.split("/") if part], node
    return None
