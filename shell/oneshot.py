"""Commands from the command line, from a file or from a pipe, with nobody at a terminal."""

import sys
from typing import IO

import anyio

from .commands import load
from .output import Look, standard
from .settings import Settings
from .shell import Leave
from .starting import started


def run(settings: Settings, texts: list[str], stdin: IO[bytes] | None = None) -> int:
    """Run the texts one after the other, and return what the process is to end with. ``stdin``: what ``-`` reads."""
    load()
    return anyio.run(_run, settings, texts, stdin)


async def _run(settings: Settings, texts: list[str], stdin: IO[bytes] | None) -> int:
    out = standard(settings.format, Look(is_terminal=sys.stdout.isatty()))
    status = 0
    async with started(settings, out, keeps_trying=False) as shell:
        shell.stdin = stdin
        try:
            for text in texts:
                status = await shell.run(text)
        except Leave as leave:
            status = leave.status
    return status
