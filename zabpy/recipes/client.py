"""The client that users hold: the plain one, and a method for each recipe."""

from collections.abc import Callable, Sequence
from typing import Unpack

from zabpy import client
from zabpy.client import Settings
from zabpy.model import Acls

from .registration import Registration, TakeOver
from .tree_cache import TreeCache


class Client(client.Client):
    """`zabpy.client.Client` with a method for each recipe: ``zk.lock(path)`` is ``Lock(zk, path)``."""

    def registered(
        self, path: str, data: bytes = b"", *, acl: Acls | None = None, take_over: TakeOver = "own", wait: bool = True
    ) -> Registration:
        """An ephemeral znode that repairs itself for as long as the block lasts: see `Registration`."""
        return Registration(self, path, data, acl=acl, take_over=take_over, wait=wait)

    def tree_cache(
        self, path: str, *, depth_max: int | None = None, keep: Callable[[str], bool] | None = None
    ) -> TreeCache:
        """A subtree kept in memory: ``async with zk.tree_cache(path) as cache``."""
        return TreeCache(self, path, depth_max=depth_max, keep=keep)


def connect(servers: str | Sequence[str], **settings: Unpack[Settings]) -> Client:
    """A client for these servers: ``async with connect("zk1,zk2/app") as zk``. The settings are `Client`'s."""
    return Client(servers, **settings)
