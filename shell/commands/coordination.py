"""Commands that run another one while something is held: a lock, the lead, a lease, a place in a barrier.

Their stdin, stdout and stderr are the command's own; what we have to say ourselves goes to stderr. What is promised of
the command's end stands at the head of ../child.py.
"""

import getpass
import math
import os
import signal
import socket
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import click

from zabpy.client import Client

from ..child import Ending, run_while
from ..command import Duration, ZPath, command
from ..problems import ShellError, Status, UsageError
from ..shell import Shell

if TYPE_CHECKING:
    from zabpy.recipes import Holding

LAYOUTS = ("kazoo", "curator")
#: How long the end waits for the release to be acknowledged; the client's end then waits on, or ends the session.
RELEASE_WAIT_MS = 2_000
#: What is to be run.
behind = click.argument("words", metavar="-- COMMAND...", nargs=-1, type=click.UNPROCESSED, required=True)
Acquire = Callable[[int | None], Awaitable["Holding"]]


class Signal(click.ParamType[int]):
    """``TERM``, ``SIGTERM`` or ``15``."""

    name = "signal"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        text = str(value).upper()
        try:
            return signal.Signals(int(text)) if text.isdecimal() else signal.Signals["SIG" + text.removeprefix("SIG")]
        except (ValueError, KeyError):
            self.fail(f"{value!r} is no signal", param, ctx)


def options(run: Callable[..., Any]) -> Callable[..., Any]:
    """Those that all these commands have."""
    for option in reversed(
        (
            click.option("--try", "at_once", is_flag=True, help="Now or never: status 6 if somebody else has it."),
            click.option("--timeout", "timeout_ms", type=Duration(), help="Wait so long at most, then status 6."),
            click.option("--data", help="What others see of us.  [default: USER@HOST:PID]"),
            click.option("--signal", "ending", type=Signal(), default="TERM", help="What ends the command on a loss."),
            click.option("--grace", "grace_ms", type=Duration(), default="5s", help="From that signal to SIGKILL."),
            click.option("--kill-at-once", is_flag=True, help="SIGKILL without a word before."),
        )
    ):
        run = option(run)
    return run


@command("lock", group="Coordinate", writes=True)
@click.argument("path", type=ZPath(glob=False, new=True))
@click.option("--shared", is_flag=True, help="With others that share it, but with none that has it alone.")
@click.option("--lock-delay", "lock_delay_ms", type=Duration(), default="0", help="After we die nobody has it so long.")
@click.option("--layout", type=click.Choice(LAYOUTS), default="kazoo", help="curator where Curator's clients take it.")
@options
@behind
async def lock(
    shell: Shell, path: str, shared: bool, lock_delay_ms: int, layout: Any, data: str | None, **settings: Any
) -> int:
    """Run a command while a lock is held: one at a time, first come, first served.

    The command has ZABPY_TOKEN (larger for each holder), ZABPY_PATH, ZABPY_SESSION and ZABPY_SERVERS, and its status is
    ours, 128 and the signal that ended it. If the lock is lost it is ended, with its whole process group: SIGTERM, and
    SIGKILL after the grace; our status is then 9. Statuses 6: not to be had in time; 126, 127: no such command.
    """
    from zabpy.recipes import Lock, ReadWriteLock

    zk = await shell.zk()
    if shared and lock_delay_ms:
        raise UsageError("--lock-delay is for a lock that is not --shared")
    if shared:
        wanted: Lock = ReadWriteLock(zk, path, data=_data(data), layout=layout).read
    else:
        wanted = Lock(zk, path, data=_data(data), lock_delay_ms=lock_delay_ms, layout=layout)
    return await _run(shell, path, wanted.acquire, **settings)


@command("elect", group="Coordinate", writes=True)
@click.argument("path", type=ZPath(glob=False, new=True))
@click.option("--again", is_flag=True, help="After a loss stand again, and run it again, until it ends by itself.")
@click.option("--lock-delay", "lock_delay_ms", type=Duration(), default="0", help="After we die nobody leads so long.")
@click.option(
    "--layout", type=click.Choice((*LAYOUTS, "latch")), default="kazoo", help="curator, or latch for its LeaderLatch."
)
@options
@behind
async def elect(
    shell: Shell, path: str, again: bool, lock_delay_ms: int, layout: Any, data: str | None, **settings: Any
) -> int:
    """Run a command while we lead: stand for leader, and be it until the command ends.

    An election is a lock under another name; what the command has, and what ends it, is said by: help lock
    """
    from zabpy.recipes import Lock, LostError

    wanted = Lock(await shell.zk(), path, data=_data(data), lock_delay_ms=lock_delay_ms, layout=layout)
    while True:
        try:
            return await _run(shell, path, wanted.acquire, **settings)
        except LostError as loss:
            if not again:
                raise
            await shell.out.tell(f"elect: {loss}; standing again")


@command("semaphore", group="Coordinate", writes=True)
@click.argument("path", type=ZPath(glob=False, new=True))
@click.option("--max", "most", type=click.IntRange(1), required=True, help="So many at a time; the same for all.")
@click.option("--layout", type=click.Choice(LAYOUTS), default="kazoo", help="curator where Curator's clients take it.")
@options
@behind
async def semaphore(shell: Shell, path: str, most: int, layout: Any, data: str | None, **settings: Any) -> int:
    """Run a command while one of a number of leases is held: so many at a time.

    What the command has, and what ends it, is said by: help lock
    """
    from zabpy.recipes import Semaphore

    wanted = Semaphore(await shell.zk(), path, most, data=_data(data), layout=layout)
    return await _run(shell, path, wanted.acquire, **settings)


@command("barrier", group="Coordinate", writes=True)
@click.argument("path", type=ZPath(glob=False, new=True))
@click.option("--count", type=click.IntRange(1), help="So many begin together, and end together.")
@options
@click.argument("words", metavar="[-- COMMAND...]", nargs=-1, type=click.UNPROCESSED)
async def barrier(
    shell: Shell,
    path: str,
    count: int | None,
    words: tuple[str, ...],
    at_once: bool,
    timeout_ms: int | None,
    data: str | None,
    ending: int,
    grace_ms: int,
    kill_at_once: bool,
) -> int:
    """Wait until a znode is gone, then run a command, if there is one. With --count wait for so many others.

    With --count it is a double barrier: all begin when so many are there, and none ends before all have; one whose
    command fails does not wait for the others. What the command has is said by: help lock
    """
    from zabpy.recipes import Barrier, DoubleBarrier

    zk = await shell.zk()
    how = Ending(ending, 0 if kill_at_once else grace_ms)
    limit_ms = 0 if at_once else timeout_ms
    if count is None:
        simple = Barrier(zk, path)
        with _limited(limit_ms, f"the barrier {path}: still up"):
            while await simple.is_up():
                if at_once:
                    raise ShellError(f"the barrier {path}: still up", Status.TIMEOUT)
                await _patiently(zk, simple.wait)
        return await _run_while(shell, path, None, words, how) if words else 0
    double = DoubleBarrier(zk, path, count, data=_data(data))
    limit_ms = 1 if at_once else timeout_ms
    status = 0
    try:
        with anyio.move_on_after(None if limit_ms is None else limit_ms / 1000) as limit:
            async with double as member:
                limit.deadline = math.inf
                if words:
                    status = await _run_while(shell, path, member, words, how)
                if status:
                    raise _Failed
    except _Failed:
        return status
    if limit.cancelled_caught:
        raise ShellError(f"the barrier {path}: not {count} there within {limit_ms} ms", Status.TIMEOUT)
    return 0


class _Failed(Exception):
    """The command has failed, so nobody is waited for."""


async def _run(
    shell: Shell,
    path: str,
    acquire: Acquire,
    *,
    words: Sequence[str],
    at_once: bool,
    timeout_ms: int | None,
    ending: int,
    grace_ms: int,
    kill_at_once: bool,
) -> int:
    zk = await shell.zk()
    if at_once:
        held = await acquire(0)
    else:
        with _limited(timeout_ms, f"{path}: not to be had"):
            held = await _patiently(zk, partial(acquire, None))
    try:
        return await _run_while(shell, path, held, words, Ending(ending, 0 if kill_at_once else grace_ms))
    finally:
        with anyio.move_on_after(RELEASE_WAIT_MS / 1000, shield=True):
            await held.release()


async def _run_while(shell: Shell, path: str, held: "Holding | None", words: Sequence[str], how: Ending) -> int:
    async with shell.foreground():
        return await run_while(held, words, _environ(shell, path, held), how, shell.program_stdout)


async def _patiently(zk: Client, attempt: Callable[[], Awaitable[Any]]) -> Any:
    """Who waits has time: servers that are away may come back."""
    from zabpy.recipes import TRANSIENT, Patience

    patience = Patience(zk)
    while True:
        try:
            return await attempt()
        except TRANSIENT:
            await patience.wait()


class _limited:
    """``with _limited(ms, what)``: the block has so long, None: for ever; then `ShellError` with status 6."""

    def __init__(self, timeout_ms: int | None, what: str) -> None:
        self._timeout_ms, self._what = timeout_ms, what

    def __enter__(self) -> None:
        self._scope = anyio.move_on_after(None if self._timeout_ms is None else self._timeout_ms / 1000)
        self._scope.__enter__()

    def __exit__(self, *error: Any) -> bool | None:
        ended = self._scope.__exit__(*error)
        if self._scope.cancelled_caught:
            raise ShellError(f"{self._what} within {self._timeout_ms} ms", Status.TIMEOUT)
        return ended


def _environ(shell: Shell, path: str, held: "Holding | None") -> dict[str, str]:
    told = {"ZABPY_PATH": path, "ZABPY_SERVERS": shell.cluster.servers}
    if held is not None:
        token = getattr(held, "token", None)
        told["ZABPY_SESSION"] = str(held.session)
        told["ZABPY_TOKEN"] = str(getattr(held, "czxid", 0) if token is None else token)
    return {**os.environ, **told}


def _data(text: str | None) -> bytes:
    if text is not None:
        return text.encode("utf-8", "surrogateescape")
    try:
        user = getpass.getuser()
    except (OSError, KeyError):
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}:{os.getpid()}".encode()
