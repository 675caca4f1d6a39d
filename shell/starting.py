"""A shell is opened on what its `Settings` say, used, and closed: for prompts and scripts alike."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio

from .cluster import Cluster
from .output import Output
from .settings import Settings
from .shell import Asker, Shell


@asynccontextmanager
async def started(
    settings: Settings, out: Output, *, keeps_trying: bool, asker: Asker | None = None
) -> AsyncIterator[Shell]:
    """A shell whose session is being sought, and is closed at the end. ``keeps_trying``: see `Cluster.start`."""
    async with anyio.create_task_group() as tasks:
        cluster = Cluster(settings.servers, settings.timeout_ms, settings.client)
        shell = Shell(cluster.start(tasks, keeps_trying=keeps_trying), out, rules=settings.rules, asker=asker)

        async def open_cluster(servers: str) -> Cluster:
            # Who we are here is nothing that another cluster is told.
            client = {name: value for name, value in settings.client.items() if name not in ("auth", "sasl")}
            return Cluster(servers, settings.timeout_ms, client).start(tasks, keeps_trying=False)

        shell.open_cluster = open_cluster
        try:
            yield shell
        finally:
            with anyio.CancelScope(shield=True):
                await shell.cluster.close()
