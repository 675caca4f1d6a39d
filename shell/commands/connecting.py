"""Which cluster this shell is connected to, and as whom."""

import os

import anyio
import click

from ..command import command
from ..listing import profiles_of
from ..problems import ShellError, UsageError
from ..profiles import load
from ..shell import Shell


@command("connect", group="Shell")
@click.argument("where", default="")
async def connect(shell: Shell, where: str) -> None:
    """Go to another cluster: a profile's name, or HOST:PORT,...[/CHROOT]; to the first one again without.

    The session with this one ends when there is one with the other, so ephemeral znodes are gone then. What the other
    profile allows holds from then on.
    """
    if shell.transaction is not None:
        raise UsageError("a transaction is being put together for this cluster: commit or abort it first")
    if shell.open_cluster is None:
        raise ShellError("no other cluster can be reached from here")
    new = await shell.open_cluster(where)
    try:
        zk = await new.client()
    except BaseException:
        with anyio.CancelScope(shield=True):
            await new.close()
        raise
    old, shell.cluster, shell.rules = shell.cluster, new, new.rules
    shell.cwd = shell.previous = "/"
    with anyio.CancelScope(shield=True):
        await old.close()
    await shell.out.tell(f"connected to {zk.server}{zk.chroot}, session {zk.session}")


@command("close", group="Shell")
async def close(shell: Shell) -> None:
    """End the session, and the ephemeral znodes with it; connect begins another one."""
    await shell.cluster.close()


@command("whoami", group="Access", aliases=("whoAmI",))
async def whoami(shell: Shell) -> None:
    """Who the server thinks this session is; ACLs are about these."""
    async with shell.out.rows("scheme", "id") as rows:
        for each in sorted(await (await shell.zk()).whoami()):
            await rows.add(scheme=each.scheme, id=each.id)


@command("profiles", group="Shell")
async def profiles(shell: Shell) -> None:
    """The clusters of shell.toml, for connect."""
    await profiles_of(load(os.environ), shell.rules.name, shell.out)
