"""To go about in the tree and see what is there."""

import click

from ..command import ZPath, command
from ..problems import ShellError, Status
from ..shell import Shell


@command("pwd", group="Look")
async def pwd(shell: Shell) -> None:
    """Where we are."""
    await shell.out.show({"path": shell.cwd}, human=shell.cwd, raw=shell.cwd + "\n")


@command("cd", group="Look")
@click.argument("path", default="/")
async def cd(shell: Shell, path: str) -> None:
    """Go to a znode; to / without one, and with - to where we were before."""
    to = shell.previous if path == "-" else shell.path(path)
    if await (await shell.zk()).exists(to) is None:
        raise ShellError(f"{to}: no such znode", Status.NO)
    shell.previous, shell.cwd = shell.cwd, to


@command("ls", group="Look")
@click.argument("paths", type=ZPath(), nargs=-1)
async def ls(shell: Shell, paths: tuple[str, ...]) -> None:
    """The children of znodes."""
    zk = await shell.zk()
    async with shell.out.rows("name", human=lambda row: str(row["name"])) as rows:
        for path in paths or (shell.cwd,):
            for name in sorted(await zk.children(path)):
                await rows.add(name=name)
