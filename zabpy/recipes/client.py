"""The client that users hold: the plain one, and a method for each recipe."""

from collections.abc import Sequence
from typing import Unpack

from zabpy import client
from zabpy.client import Settings
from zabpy.model import Acls

from .registration import Registration, TakeOver


class Client(client.Client):
    """`zabpy.client.Client` with a method for each recipe: ``zk.lock(path)`` is ``Lock(zk, path)``."""

    def registered(
        self, path: str, data: bytes = b"", *, acl: Acls | None = None, take_over: TakeOver = "own", wait: bool = True
    ) -> Registration:
        """An ephemeral znode that repairs itself for as long as the block lasts: see `Registration`."""
        return Registration(self, path, data, acl=acl, take_over=take_over, wait=wait)


def connect(servers: str | Sequence[str], **settings: Unpack[Settings]) -> Client:
    """A client for these servers: ``async with connect("zk1,zk2/app") as zk``. The settings are `Client`'s."""
    return Client(servers, **settings)
