"""What befalls clients of servers in memory, besides what their `MemoryDial` can do to them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import trio

import zabpy
from tests.recipes.memory import World
from tests.server.raw_client import RawClient
from tests.server.servers import ensemble
from zabpy.recipes.client import Client
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


class Crowd(World):
    """Servers and clients, each of which can be hurt."""

    def __init__(self, servers: MemoryEnsemble) -> None:
        super().__init__(servers)
        self.clients: dict[str, Client] = {}

    def client(self, name: str, **settings: Any) -> Client:
        zk = self.clients[name] = super().client(name, **settings)
        return zk


@asynccontextmanager
async def crowd(**settings: Any) -> AsyncIterator[Crowd]:
    async with ensemble(**{"tick_ms": 500, **settings}) as servers:
        yield Crowd(servers)


async def hurt(all: Crowd, rng: Random, *, sessions: bool = True, pause_s: float = 1.0) -> None:
    """One mishap after another, until cancelled; servers come back, and networks are healed."""
    servers = all.servers
    while True:
        await trio.sleep(rng.random() * pause_s)
        name = rng.choice(list(all.dials))
        dial, zk = all.dials[name], all.clients[name]
        if not dial.streams:
            continue
        stream = dial.streams[-1]
        match rng.randrange(6 if sessions else 5):
            case 0:
                stream.break_now()
            case 1:
                stream.received_bytes_max = stream.received_bytes + rng.randrange(200)
            case 2:
                stream.sent_bytes_max = stream.sent_bytes + rng.randrange(200)
            case 3:
                id = rng.choice(list(servers.servers))
                servers.crash(id)
                await servers.start(id)
            case 4:
                all.isolate(name)
                await trio.sleep(rng.random() * (6 if sessions else 1))
                all.heal()
            case 5:
                if zk.state is zabpy.State.CONNECTED:
                    await kill(servers, zk.session)
