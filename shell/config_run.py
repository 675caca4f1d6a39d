"""A command that has settings as its environment, and is restarted, or told by a signal, when they change.

Its life is as under ``lock -- COMMAND``: a supervisor sees that its process group ends when we do, whatever becomes of
us; see child.py.
"""

import os
import signal
from collections.abc import Awaitable, Callable, Sequence
from random import Random
from typing import TYPE_CHECKING, Any

import anyio

from zabpy.model import ZabpyError

from .child import FORWARDED, Child, Ending
from .signals import heard_by

if TYPE_CHECKING:
    from zabpy.config import Config

#: Who sends one of these wants an end, and no other beginning.
LAST = (signal.SIGINT, signal.SIGTERM)


async def keep_running(
    cfg: "Config[Any]",
    words: Sequence[str],
    *,
    prefix: str,
    ending: Ending,
    on_change: int | None,
    wait_ms: int,
    splay_ms: int,
    tell: Callable[[str], Awaitable[object]],
    rng: Random | None = None,
) -> int:
    """Returns the status of the command when it has ended by itself, as sh has it.

    Args:
        on_change: a signal for it; 0: restart it; None: leave it alone.
        wait_ms, splay_ms: between a change and that; the latter times a chance from 0 to 1.

    Raises:
        ShellError: the command cannot be run.
        BadSettingsError: two settings would be one variable.
    """
    rng = rng or Random()
    changes = cfg.changes()  # before they are read, so that none is missed
    environ = _environ(cfg, prefix)
    child: Child | None = None
    is_last = False

    def hear(number: int) -> None:
        nonlocal is_last
        is_last = is_last or number in LAST
        if child is not None:
            child.forward(number)

    with heard_by(hear, FORWARDED):
        while True:
            child = Child(words, {**os.environ, **environ}, ending, None)
            is_again = False

            async def watch(child: Child) -> None:
                nonlocal environ, is_again
                async for _ in changes:
                    await anyio.sleep((wait_ms + rng.random() * splay_ms) / 1000)
                    try:
                        found = _environ(cfg, prefix)
                    except ZabpyError as error:
                        await tell(f"run: {error}\nrun: the command goes on with what it has")
                        continue
                    if found == environ:
                        continue
                    environ = found
                    if on_change:
                        await tell(f"run: revision {cfg.revision}: {signal.Signals(on_change).name} to the command")
                        child.forward(on_change)
                    else:
                        await tell(f"run: revision {cfg.revision}: the command is restarted")
                        is_again = True
                        child.end()
                        return

            try:
                async with anyio.create_task_group() as tasks:
                    if on_change is not None:
                        tasks.start_soon(watch, child)
                    try:
                        await child.wait()
                    except BaseException:
                        child.end()
                        with anyio.CancelScope(shield=True):
                            await child.wait()
                        raise
                    finally:
                        tasks.cancel_scope.cancel()
            finally:
                child.close()
            if is_last or not is_again:
                return child.exit_status


def _environ(cfg: "Config[Any]", prefix: str) -> dict[str, str]:
    from zabpy.config import env_form

    return env_form({path: each.value for path, each in cfg.merged.leaves.items()}, prefix)
