"""Clients of servers in memory, on a clock that jumps: an hour of timeouts takes a moment."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from typing import Any

from tests.server.servers import ensemble
from zabpy.recipes.client import Client, connect
from zabpy.testing.dialling import MemoryDial
from zabpy.testing.ensemble import MemoryEnsemble


class World:
    """Servers, and clients by name; a client's host is called as it is."""

    def __init__(self, servers: MemoryEnsemble) -> None:
        self.servers = servers
        self.dials: dict[str, MemoryDial] = {}

    def client(self, name: str, **settings: Any) -> Client:
        dial = self.dials[name] = self.servers.dial(name)
        # What follows the ensemble asks for its configuration: tests that count bytes have those of their own only.
        fixed = {"session_timeout_ms": 6_000, "dial": dial, "follow_ensemble": False, "rng": Random(name)}
        return connect(self.servers.hosts, **{**fixed, **settings})

    def isolate(self, name: str) -> None:
        """Nothing passes between this client and any server; neither is told."""
        for id in self.servers.configs:
            self.servers.cut(name, id)

    def heal(self) -> None:
        self.servers.heal()


@asynccontextmanager
async def world(**settings: Any) -> AsyncIterator[World]:
    async with ensemble(**{"tick_ms": 500, **settings}) as servers:
        yield World(servers)
