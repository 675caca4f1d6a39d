"""What befalls clients of servers in memory, besides what their `MemoryDial` can do to them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

import zabpy
from tests.server.raw_client import RawClient
from zabpy.testing.dialling import MemoryDial
from zabpy.testing.ensemble import MemoryEnsemble
from zabpy.wire import Op


async def kill(servers: MemoryEnsemble, session: zabpy.Session) -> None:
    """End a session behind its client's back, as its expiry would. Returns once the servers know no such session."""
    while True:
        raw = RawClient(await servers.connect(next(iter(servers.servers))))
        try:
            if not await raw.handshake(session_id=session.id, password=session.password):
                return
            await raw.ask(Op.CLOSE_SESSION, b"")
        except (EOFError, trio.BrokenResourceError):
            pass  # its client has moved it elsewhere meanwhile, or the server is not ready
        finally:
            await raw.stream.aclose()


@asynccontextmanager
async def client(
    servers: MemoryEnsemble, name: str = "client", **settings: object
) -> AsyncIterator[tuple[zabpy.Client, MemoryDial]]:
    """A client, and its connections to be broken."""
    dial = servers.dial(name)
    async with zabpy.connect(servers.hosts, dial=dial, **settings) as zk:  # type: ignore[arg-type]
        yield zk, dial
