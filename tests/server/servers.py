"""Servers for a test: in memory, on a clock that jumps, gone when the test ends."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import trio

from tests.server.raw_client import RawClient
from zabpy.testing.ensemble import MemoryEnsemble


@asynccontextmanager
async def ensemble(
    seconds_max: float = 600, fields: Mapping[str, Any] | None = None, **settings: Any
) -> AsyncIterator[MemoryEnsemble]:
    """A running ensemble; its log lines are shown when the test fails. ``fields``: of every server's `Config`."""
    # trio runs what is ready at one instant in an order of its own, unless it is told to draw it from this generator.
    trio._core._run._ALLOW_DETERMINISTIC_SCHEDULING = True  # type: ignore[misc]
    trio._core._run._r.seed(settings.get("seed", 0))
    with trio.fail_after(seconds_max):
        async with trio.open_nursery() as nursery:
            servers = MemoryEnsemble(nursery, **settings)
            servers.limit(**(fields or {}))
            try:
                await servers.start_all()
                yield servers
            finally:
                print("".join(servers.lines))
            nursery.cancel_scope.cancel()


async def client_of(servers: MemoryEnsemble, id: int, **wishes: Any) -> RawClient:
    """A client with a new session."""
    client = RawClient(await servers.connect(id))
    assert await client.handshake(**wishes)
    return client
