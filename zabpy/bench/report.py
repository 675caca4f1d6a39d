"""Measurements → a table for people."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple


class Row(NamedTuple):
    """One measurement: by system, the value; ``higher_is_better`` says which way a ratio reads.

    ``wanted`` is the ratio (or, with ``wanted_at_most``, the value of ours) that we have set ourselves.
    """

    name: str
    unit: str
    values: Mapping[str, float]
    higher_is_better: bool
    wanted: float = 0.0
    wanted_at_most: float = 0.0


def ratio_of(row: Row) -> float | None:
    """How many times better ours is."""
    ours, theirs = row.values.get("zabpy"), row.values.get("Apache")
    if not ours or not theirs:
        return None
    return ours / theirs if row.higher_is_better else theirs / ours


def verdict_of(row: Row) -> str:
    ratio, ours = ratio_of(row), row.values.get("zabpy", 0.0)
    if row.wanted and ratio is not None:
        return f"{'ok' if ratio >= row.wanted else 'MISSED'}: at least {row.wanted:g}x"
    if row.wanted_at_most and ours:
        return f"{'ok' if ours <= row.wanted_at_most else 'MISSED'}: at most {row.wanted_at_most:g} {row.unit}"
    return ""


def table(rows: Sequence[Row], systems: Sequence[str]) -> str:
    header = ["", *systems, "ratio", "wanted"]
    lines = [header]
    for row in rows:
        ratio = ratio_of(row)
        cells = [f"{_number(row.values[s])} {row.unit}" if s in row.values else "-" for s in systems]
        lines.append([row.name, *cells, f"{ratio:.2f}x" if ratio else "-", verdict_of(row)])
    return aligned(lines)


def aligned(lines: Sequence[Sequence[str]]) -> str:
    """Columns of one width each, the first and the last to the left; the first line is the header."""
    last = len(lines[0]) - 1
    widths = [max(len(line[i]) for line in lines) for i in range(last + 1)]
    return "\n".join(
        "  ".join(
            cell.ljust(w) if i in (0, last) else cell.rjust(w)
            for i, (cell, w) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3f}"
