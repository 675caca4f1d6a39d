"""Commands from the command line, from a file or from a pipe, with nobody at a prompt.

A script ends with its first command that fails, like make and unlike sh: what follows was written for a tree in which
it had succeeded, and that tree is one that other people's programs live on. ``||`` behind a command says what else to
do; ``keeps_going`` runs all, and the status is that of the first that failed.

A signal ends the session before the process ends, so that ephemeral znodes are gone with it; a second one does not
wait.
"""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import anyio

from .asking import asker
from .commands import load, load_for
from .line import LineError, parse
from .listing import profiles_of
from .output import look_of, standard
from .problems import Status
from .profiles import File
from .settings import Settings
from .shell import Leave, Shell
from .starting import started

#: What ends a shell, with a status of 128 more.
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Script(NamedTuple):
    """``name`` is empty for what was given by an option, where a line's number says nothing."""

    name: str
    text: str


@dataclass
class Work:
    """What to do: the ``words`` of one command; or ``scripts``; or, with neither, what stands on stdin."""

    words: tuple[str, ...] = ()
    scripts: tuple[Script, ...] = ()
    keeps_going: bool = False


def run(settings: Settings, work: Work) -> int:
    """Do it, and return what the process is to end with.

    Raises:
        ShellError: it could not begin.
    """
    if work.words:
        load_for(work.words[0])
    else:
        load()
    return within(settings, lambda shell: _scripted(shell, work))


def within(settings: Settings, body: Callable[[Shell], Awaitable[int]]) -> int:
    """What the process is to end with after ``body``, which is given a shell and is cancelled by a signal.

    Raises:
        ShellError: it could not begin.
    """
    return anyio.run(_run, settings, body)


def show_profiles(file: File, settings: Settings) -> int:
    """``zabsh --list-profiles``"""

    async def show() -> None:
        out = standard(settings.format, look_of(settings.colour, os.environ))
        await profiles_of(file, settings.profile, out)
        await out.end()

    anyio.run(show)
    return Status.OK


async def _run(settings: Settings, body: Callable[[Shell], Awaitable[int]]) -> int:
    out = standard(settings.format, look_of(settings.colour, os.environ))
    ended = by_signal = 0
    scope = anyio.CancelScope()

    def on_signal(number: int) -> None:
        nonlocal by_signal
        if by_signal:
            os._exit(by_signal)
        by_signal = 128 + number
        scope.cancel()

    for number in SIGNALS:
        if signal.getsignal(number) is signal.SIG_IGN:
            continue  # as nohup has it
        asyncio.get_running_loop().add_signal_handler(number, on_signal, number)
    try:
        with scope:
            async with started(settings, out, keeps_trying=False, asker=asker()) as shell:
                ended = await body(shell)
    except ExceptionGroup as group:
        raise _only(group) from None
    return by_signal or ended


async def _scripted(shell: Shell, work: Work) -> int:
    try:
        ended = await _work(shell, work)
    except Leave as leave:
        ended = leave.status
    return await forgotten(shell) or ended


async def forgotten(shell: Shell) -> int:
    """The status of a shell that ends with a transaction begun and not committed, which is said; 0 without one."""
    draft = shell.transaction
    if draft is None or not draft.operations:
        return Status.OK
    number = f"{len(draft.operations):,} operation{'s' * (len(draft.operations) != 1)}"
    await shell.out.tell(f"the transaction was not committed: {number} forgotten, nothing of it was done")
    return Status.FAILED


async def _work(shell: Shell, work: Work) -> int:
    if work.words or work.scripts:
        shell.stdin = sys.stdin.buffer if sys.stdin else None
    if work.words:
        return await shell.run_words(work.words)
    async for line, script in _given(work.scripts) if work.scripts else _typed():
        status = await shell.run(script.text, script=script.name, line=line, keeps_going=work.keeps_going)
        if status == Status.PIPE or (status and not work.keeps_going):
            break
    return shell.failed


async def _given(scripts: Sequence[Script]) -> AsyncIterator[tuple[int, Script]]:
    for script in scripts:
        yield 1, script


async def _typed() -> AsyncIterator[tuple[int, Script]]:
    """What comes on stdin, with the number of its line: each as soon as it is there, for another program may wait for
    what we say to it. Only a quote that goes on holds lines together."""
    number, held, text = 0, b"", ""
    begun = 1
    while True:
        # Not through Python's buffer, whose lock a thread that is still reading would hold when the process ends.
        data = await anyio.to_thread.run_sync(os.read, 0, 65536, abandon_on_cancel=True)
        *lines, held = (held + data).split(b"\n") if data else (held, b"")
        for line in lines:
            number += 1
            begun = begun if text else number
            text += line.decode("utf-8", "surrogateescape")
            if data and (b"'" in line or b'"' in line or begun < number) and _goes_on(text, line):
                text += "\n"
                continue
            yield begun, Script("stdin", text)
            text = ""
        if not data:
            return


def _goes_on(text: str, line: bytes) -> bool:
    """Whether a quote is open at its end."""
    if "\n" in text and b"'" not in line and b'"' not in line:
        return True  # as it was before this line
    try:
        parse(text)
    except LineError as error:
        return "does not end" in str(error)
    return False


def _only(group: ExceptionGroup) -> Exception:
    return group.exceptions[0] if len(group.exceptions) == 1 else group
