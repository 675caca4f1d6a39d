"""Watches that outlive their commands (``get -w``, ``addWatch``): they tell on stderr, whatever is going on then."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import anyio

import zabpy
from zabpy.client import Changed, ChildrenChanged, Client, Created, Deleted, Event, Fired, Resynced, SessionLostError

from .shell import Shell

#: What happened, in words and in JSON.
WORDS: dict[type[Event], str] = {
    Created: "created",
    Changed: "changed",
    Deleted: "deleted",
    ChildrenChanged: "children changed",
}


@dataclass(eq=False)
class Kept:
    """A watch that a command has left behind. ``kind``: data (of ``stat`` and ``exists``, too), children, persistent
    or persistent_recursive."""

    zk: Client
    path: str
    kind: str
    cancel: Callable[[], object] = lambda: None


def tell_of_one(shell: Shell, zk: Client, fired: Fired, path: str, kind: str) -> None:
    """Tell of a one-shot watch's event when it comes, though its command has long ended."""

    async def wait() -> None:
        event = await fired.wait()
        await _tell(shell, f"{event.path}: {WORDS[type(event)]}")

    _keep(shell, Kept(zk, path, kind), wait)


async def tell_of_all(shell: Shell, zk: Client, path: str, *, recursive: bool) -> None:
    """Tell of whatever happens to the znode, and below it if ``recursive``, until it is told not to. Nothing is missed
    that happens after this has returned."""
    is_there = anyio.Event()

    async def follow() -> None:
        try:
            async with zk.watch(path, recursive=recursive) as events:
                async for event in events:
                    if not isinstance(event, Resynced):
                        await _tell(shell, f"{event.path}: {WORDS[type(event)]}")
                    elif is_there.is_set():
                        await _tell(shell, f"{event.path}: there was a gap, in which anything may have happened")
                    is_there.set()
        finally:
            is_there.set()

    _keep(shell, Kept(zk, path, "persistent_recursive" if recursive else "persistent"), follow)
    await is_there.wait()


def _keep(shell: Shell, kept: Kept, tell: Callable[[], Awaitable[None]]) -> None:
    async def run() -> None:
        with anyio.CancelScope() as scope:
            kept.cancel = scope.cancel
            try:
                await tell()
            except SessionLostError as error:
                await _tell(shell, str(error))
            except zabpy.ZabpyError as error:
                await _tell(shell, f"{kept.path}: {error}")
            finally:
                shell.kept.remove(kept)

    shell.kept.append(kept)
    kept.zk.background(run)


async def _tell(shell: Shell, text: str) -> None:
    if not shell.tells_watches:
        return
    try:
        await shell.out.tell(f"watch: {text}")
    except OSError:
        pass  # nobody reads what we say
