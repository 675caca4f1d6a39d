"""A barrier: whoever waits at it goes on once its znode is gone.

    barrier = zk.barrier("/maintenance")
    await barrier.create()          # up
    ...
    await barrier.wait()            # elsewhere: until it is down
    await barrier.remove()

It is up while the znode is there, as with kazoo's Barrier and Curator's DistributedBarrier.
"""

from zabpy.client import Client, Deleted, SessionLostError
from zabpy.model import Acls, NodeExistsError, NoNodeError

from .arguments import check_path


class Barrier:
    """See the head of this file. Its methods raise what the client's operations raise, `NoServerError` above all."""

    def __init__(self, zk: Client, path: str, *, acl: Acls | None = None) -> None:
        """Raises `BadArgumentsError` for what is no path."""
        check_path(path, "barrier")
        self._zk, self.path, self._acl = zk, path, acl

    async def create(self) -> None:
        """Have it be up; also if it is already. It outlives this client: somebody has to remove it."""
        try:
            await self._zk.create(self.path, acl=self._acl, parents=True, lost_reply="again")
        except NodeExistsError:
            pass

    async def remove(self) -> bool:
        """Have it be down. Whether it was up; if an answer got lost, somebody else may have removed it meanwhile."""
        try:
            await self._zk.delete(self.path, lost_reply="again")
        except NoNodeError as error:
            return error.attempt > 1
        return True

    async def is_up(self) -> bool:
        """As the server sees it that the client is connected to; that may be behind by a moment."""
        return await self._zk.exists(self.path) is not None

    async def wait(self) -> None:
        """Until it is down, or was for a moment since this was called, also while the connection was away."""
        czxid = 0
        while True:
            stat, fired = await self._zk.exists_watched(self.path)
            with fired:
                # Another znode than before: it was down meanwhile.
                if stat is None or czxid not in (0, stat.czxid):
                    return
                czxid = stat.czxid
                try:
                    if isinstance(await fired.wait(), Deleted):
                        return
                except SessionLostError:
                    pass  # the next session looks again
