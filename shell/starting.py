"""A shell is opened on what its `Settings` say, used, and closed: for prompts and scripts alike."""

import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import anyio

from .choosing import of_place
from .cluster import Cluster
from .output import Output
from .profiles import load
from .settings import Settings
from .shell import Asker, Shell


@asynccontextmanager
async def started(
    settings: Settings, out: Output, *, keeps_trying: bool, asker: Asker | None = None
) -> AsyncIterator[Shell]:
    """A shell whose session is being sought, and is closed at the end. ``keeps_trying``: see `Cluster.start`.

    Raises:
        ShellError: a password is not to be had; before anything is opened.
    """
    # Without -v the client's log goes nowhere, and not to stderr, as Python would have it.
    logging.getLogger("zabpy").addHandler(logging.NullHandler())
    asker = asker or Asker()
    client = await settings.for_client(asker)
    for remark in settings.remarks:
        await out.tell(remark)
    opened: list[Cluster] = []
    async with anyio.create_task_group() as tasks:

        async def open_cluster(where: str) -> Cluster:
            other = of_place(where, load(os.environ), settings) if where else settings
            if shell.rules.stays_read_only:
                other = replace(other, rules=replace(other.rules, read_only=True, stays_read_only=True))
            return started_one(other, await other.for_client(shell.asker))

        def started_one(settings: Settings, client: dict[str, object]) -> Cluster:
            cluster = Cluster(settings.servers, settings.timeout_ms, client, settings.rules)
            opened.append(cluster.start(tasks, keeps_trying=keeps_trying))
            return cluster

        shell = Shell(started_one(settings, client), out, rules=settings.rules, asker=asker)
        shell.open_cluster = open_cluster
        try:
            yield shell
        finally:
            with anyio.CancelScope(shield=True):
                async with anyio.create_task_group() as closing:
                    for cluster in opened:
                        closing.start_soon(cluster.close)
