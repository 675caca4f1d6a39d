"""The client that users hold: the plain one, and a method for each recipe."""

from collections.abc import Sequence
from random import Random

from zabpy import client
from zabpy.client import Dial
from zabpy.model import Acls

from .registration import Registration, TakeOver


class Client(client.Client):
    """`zabpy.client.Client` with a method for each recipe: ``zk.lock(path)`` is ``Lock(zk, path)``."""

    def registered(
        self, path: str, data: bytes = b"", *, acl: Acls | None = None, take_over: TakeOver = "own", wait: bool = True
    ) -> Registration:
        """An ephemeral znode that repairs itself for as long as the block lasts: see `Registration`."""
        return Registration(self, path, data, acl=acl, take_over=take_over, wait=wait)


def connect(
    servers: str | Sequence[str],
    *,
    session_timeout_ms: int = 10_000,
    connect_timeout_ms: int = 15_000,
    request_timeout_ms: int = 15_000,
    close_timeout_ms: int = 3_000,
    read_only: bool = False,
    dial: Dial = client.dial_tcp,
    rng: Random | None = None,
) -> Client:
    """A client for these servers: ``async with connect("zk1,zk2/app") as zk``. The settings are `Client`'s."""
    return Client(
        servers,
        session_timeout_ms=session_timeout_ms,
        connect_timeout_ms=connect_timeout_ms,
        request_timeout_ms=request_timeout_ms,
        close_timeout_ms=close_timeout_ms,
        read_only=read_only,
        dial=dial,
        rng=rng,
    )
