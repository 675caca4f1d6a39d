"""A bar on stderr for what takes long, at a terminal only."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Advance = Callable[[int], object]


@contextmanager
def progress(what: str, total: int | None, *, least: int = 2_000) -> Iterator[Advance]:
    """Gives a function that is told how many more were done. ``total`` None: nobody knows.

    Nothing is shown for fewer than ``least``.
    """
    if not sys.stderr.isatty() or (total is not None and total < least):
        yield lambda count: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda count: bar.advance(task, count)
