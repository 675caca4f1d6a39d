"""The keeper of what must not stay behind: a znode that may exist is deleted, however long that takes.

A create whose answer never came, because the connection broke or the task was cancelled, may have been done; a delete
may have got lost. So a task of the client's own tries until a server has acknowledged that the znode is gone, or until
its session is over, with which it goes by itself. Nobody has to wait for it; the end of the client does, for a while,
and then ends the session.
"""

import logging

import anyio

from zabpy.client import Client, ClosedClientError, ConnectionLossError, NoServerError, Session, SessionLostError
from zabpy.model import NoNodeError, ZabpyError, join

#: After an attempt that met a broken connection: at first, and at most.
PAUSE_MS, PAUSE_MS_MAX = 10, 1_000
log = logging.getLogger(__name__)


class Removal:
    """Deletes ``parent/name``, or if ``name`` is None whatever below ``parent`` begins with ``prefix``.

    Begins at once, in the background. ``session``: the one that owns it; None for what outlives sessions.
    """

    def __init__(
        self, zk: Client, session: Session | None, parent: str, *, name: str | None = None, prefix: str = ""
    ) -> None:
        assert name or prefix
        self._zk, self._session, self._parent, self._name, self._prefix = zk, session, parent, name, prefix
        self._done = anyio.Event()
        self._failed: ZabpyError | None = None
        try:
            zk.background(self._remove, cleanup=True)
        except ClosedClientError:
            self._done.set()  # the session is closed, and its znodes are gone

    @property
    def done(self) -> bool:
        return self._done.is_set()

    async def wait(self) -> None:
        """Until it is done. Raises what the servers refuse it for: `NoAuthError`."""
        await self._done.wait()
        if self._failed is not None:
            raise self._failed

    async def _remove(self) -> None:
        pause_ms = PAUSE_MS
        try:
            while True:
                try:
                    for name in [self._name] if self._name is not None else await self._found():
                        await self._delete(name)
                    return
                except (ConnectionLossError, NoServerError):
                    await anyio.sleep(pause_ms / 1000)
                    pause_ms = min(2 * pause_ms, PAUSE_MS_MAX)
                except SessionLostError:
                    if self._session is not None:
                        return
                    await self._zk.wait_connected()
        except (NoNodeError, ClosedClientError):
            pass
        except ZabpyError as error:
            self._failed = error
            log.warning("%s below %s cannot be deleted: %s", self._name or self._prefix, self._parent, error)
        finally:
            self._done.set()

    async def _delete(self, name: str) -> None:
        try:
            await self._zk.delete(join(self._parent, name), session=self._session)
        except NoNodeError:
            pass

    async def _found(self) -> list[str]:
        # Behind this sync stands whatever our lost create has led to: see Client.create.
        await self._zk.sync(self._parent, session=self._session)
        names = await self._zk.children(self._parent, session=self._session)
        return [name for name in names if name.startswith(self._prefix)]
