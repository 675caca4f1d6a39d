"""The tasks that recipes leave with a client: keepers that run while it is open, clean-ups that its end awaits."""

import logging
from collections.abc import Awaitable, Callable

import anyio
from anyio.abc import TaskGroup

from .errors import ClosedClientError

log = logging.getLogger("zabpy.client")


class Background:
    """Tasks in ``tasks``. The first that fails is told to ``crashed``; it is for the client to end with it."""

    def __init__(self, tasks: TaskGroup, crashed: Callable[[Exception], None]) -> None:
        self._tasks, self._crashed = tasks, crashed
        #: Of each task that has not ended; and whether it is a clean-up.
        self._scopes: dict[anyio.CancelScope, bool] = {}
        self._ended = anyio.Event()
        self._stopped = False

    def start(self, fn: Callable[..., Awaitable[object]], *args: object, cleanup: bool) -> None:
        scope = anyio.CancelScope(shield=True)
        self._scopes[scope] = cleanup
        if self._stopped:
            scope.cancel()
        self._tasks.start_soon(self._run, scope, fn, args)

    async def wait_clean(self) -> None:
        """Until no clean-up runs."""
        while any(self._scopes.values()):
            await self._wait_ended()

    async def stop(self) -> None:
        """Cancel all and wait until they have ended. What is started from now on is cancelled at once."""
        self._stopped = True
        for scope in self._scopes:
            scope.cancel()
        while self._scopes:
            await self._wait_ended()

    async def _wait_ended(self) -> None:
        self._ended = anyio.Event()
        await self._ended.wait()

    async def _run(
        self, scope: anyio.CancelScope, fn: Callable[..., Awaitable[object]], args: tuple[object, ...]
    ) -> None:
        try:
            with scope:
                await fn(*args)
        except anyio.get_cancelled_exc_class():
            # The scope has not taken it: asyncio's own `Task.cancel`, of this task or of one that it waited for. The
            # task group would cancel everything for it, and say nothing.
            self._crashed(ClosedClientError(f"{_name(fn)}, which ran in the background of the client, was cancelled"))
        except Exception as error:
            name = _name(fn)
            error.add_note(f"raised by {name}, which ran in the background of the client")
            log.error("%s, which ran in the background of the client, failed: %r", name, error)
            self._crashed(error)
        finally:
            del self._scopes[scope]
            self._ended.set()


def _name(fn: object) -> str:
    return getattr(fn, "__qualname__", repr(fn))
