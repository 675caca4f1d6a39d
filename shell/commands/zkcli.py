"""zkCli.sh's own spellings of what other commands do, for runbooks and for hands that have learnt them.

They do what they do there: ``deleteall`` asks nothing, unless a profile wants the cluster's name typed. Where a command
has the same name here and there (``ls``, ``get``, ``create``, ...), it takes zkCli.sh's flags, too. The table of all of
them, typed there and here: tests/shell/test_zkcli.py.
"""

from collections.abc import Sequence

import click

from ..acls import parse_acl
from ..command import Size, ZPath, command
from ..problems import ShellError, Status, UsageError
from ..shell import Shell
from ..stats import stat_fields
from ..watching import tell_of_all
from .access import set_acls, show_acl
from .quota import delete_quota, set_quota, show_quotas
from .removing import remove_one, remove_trees

GROUP = "zkCli.sh"


@command("delete", group=GROUP, same_as="rm", writes=True)
@click.option("-v", "version", type=int, default=-1, help="Only if the znode has this version.")
@click.argument("path", type=ZPath())
@click.argument("old_version", metavar="[VERSION]", type=int, required=False)
async def delete(shell: Shell, version: int, path: str, old_version: int | None) -> None:
    """Delete a znode without children: rm."""
    await remove_one(shell, path, version if old_version is None else old_version)


@command("deleteall", group=GROUP, same_as="rm", writes=True, aliases=("rmr",))
@click.option("-b", "batch", type=int, help="Taken, and of no use: requests are many at a time anyway.")
@click.argument("path", type=ZPath())
async def deleteall(shell: Shell, batch: int | None, path: str) -> None:
    """Delete a znode and all below it: rm -r, but it does not ask."""
    await remove_trees(shell, [path], asks=shell.rules.confirm_name)


@command("getAcl", group=GROUP, same_as="acl")
@click.option("-s", "shows_stat", is_flag=True, help="And the stat.")
@click.argument("path", type=ZPath())
async def get_acl(shell: Shell, shows_stat: bool, path: str) -> None:
    """Who may do what to a znode: acl PATH."""
    await show_acl(shell, path, shows_stat=shows_stat)


@command("setAcl", group=GROUP, same_as="acl", writes=True)
@click.option("-s", "shows_stat", is_flag=True, help="Show the stat then.")
@click.option("-v", "version", type=int, default=-1, help="Only if the ACL has this version, which is its aversion.")
@click.option("-R", "recursive", is_flag=True, help="Of the znode and all below it.")
@click.argument("path", type=ZPath())
@click.argument("acl")
async def set_acl(shell: Shell, shows_stat: bool, version: int, recursive: bool, path: str, acl: str) -> None:
    """Set who may do what to a znode: acl PATH ACL, but it does not ask."""
    if recursive and version != -1:
        raise UsageError("-v is for one znode, not for a subtree")
    asks = shell.rules.confirm_name
    stat = await set_acls(shell, path, parse_acl(acl), version=version, recursive=recursive, asks=asks)
    if shows_stat and stat is not None:
        await shell.out.show({"path": path, **stat_fields(stat)})


@command("getAllChildrenNumber", group=GROUP, same_as="count")
@click.argument("path", type=ZPath(), default=".")
async def get_all_children_number(shell: Shell, path: str) -> None:
    """How many znodes are below one, counted by the server: count."""
    number = await (await shell.zk()).count_descendants(path)
    await shell.out.show({"path": path, "descendants": number}, human=str(number), raw=f"{number}\n")


@command("getEphemerals", group=GROUP)
@click.argument("path", type=ZPath(), default="/")
async def get_ephemerals(shell: Shell, path: str) -> None:
    """The ephemeral znodes of this very session, at PATH or below. Those of all sessions: ephemerals."""
    async with shell.out.rows("path", human=lambda row: str(row["path"])) as rows:
        for each in sorted(await (await shell.zk()).ephemerals(path)):
            await rows.add(path=each)


@command("ls2", group=GROUP, same_as="ls")
@click.argument("words", nargs=-1, metavar="[PATH]", type=click.UNPROCESSED)
async def ls2(shell: Shell, words: Sequence[str]) -> int:
    """The children of a znode and its stat: ls -s."""
    return await shell.run_within(["ls", "-s", *words])


# Quotas ---------------------------------------------------------------------------------------------------------------


@command("listquota", group=GROUP, same_as="quota")
@click.argument("path", type=ZPath(glob=False))
async def listquota(shell: Shell, path: str) -> None:
    """The quotas at a znode and below: quota PATH."""
    await show_quotas(shell, path)


@command("setquota", group=GROUP, same_as="quota", writes=True)
@click.option("-n", "znodes", type=int, help="At most so many znodes, itself included: beyond that, a warning.")
@click.option("-b", "data_bytes", type=Size(), help="At most so many bytes: beyond that, a warning.")
@click.option("-N", "znodes_hard", type=int, help="At most so many znodes: more are refused.")
@click.option("-B", "data_bytes_hard", type=Size(), help="At most so many bytes: more are refused.")
@click.argument("path", type=ZPath(glob=False))
async def setquota(shell: Shell, path: str, **limits: int | None) -> None:
    """Limit what a subtree may have: quota -n N PATH."""
    given = {name: number for name, number in limits.items() if number is not None}
    if not given:
        raise UsageError("Missing option '-n', '-b', '-N' or '-B'")
    await set_quota(shell, path, given)


@command("delquota", group=GROUP, same_as="quota", writes=True)
@click.option("-n", "znodes", is_flag=True, help="Only the warning beyond so many znodes.")
@click.option("-b", "data_bytes", is_flag=True, help="Only the warning beyond so many bytes.")
@click.option("-N", "znodes_hard", is_flag=True, help="Only the limit of znodes.")
@click.option("-B", "data_bytes_hard", is_flag=True, help="Only the limit of bytes.")
@click.argument("path", type=ZPath(glob=False))
async def delquota(shell: Shell, path: str, **limits: bool) -> None:
    """Take limits away, all of them unless told: quota --delete PATH."""
    await delete_quota(shell, path, {name for name, is_given in limits.items() if is_given})


# Watches --------------------------------------------------------------------------------------------------------------


@command("addWatch", group=GROUP, same_as="watch")
@click.option(
    "-m",
    "mode",
    type=click.Choice(["PERSISTENT", "PERSISTENT_RECURSIVE"], case_sensitive=False),
    default="PERSISTENT_RECURSIVE",
    help="Of the znode only, or of all below it, too.",
)
@click.argument("path", type=ZPath())
async def add_watch(shell: Shell, mode: str, path: str) -> None:
    """Tell on stderr what happens to a znode from now on, while the shell goes on. To wait for it: watch."""
    await tell_of_all(shell, await shell.zk(), path, recursive=mode.upper() == "PERSISTENT_RECURSIVE")


@command("removewatches", group=GROUP)
@click.option("-c", "kind", flag_value="children", help="Only those of ls -w.")
@click.option("-d", "kind", flag_value="data", help="Only those of get -w and stat -w.")
@click.option("-a", "kind", flag_value="any", help="All of them, as without a flag.")
@click.option("-l", "local", is_flag=True, help="Taken, and of no use: what was left is forgotten here in any case.")
@click.argument("path", type=ZPath(new=True))
async def removewatches(shell: Shell, kind: str | None, local: bool, path: str) -> None:
    """Forget the watches that commands have left at a znode."""
    zk = await shell.zk()
    found = [each for each in shell.kept if each.zk is zk and each.path == path]
    found = [each for each in found if kind in (None, "any", each.kind)]
    if not found:
        raise ShellError(f"{path}: no such watch", Status.NO)
    for each in found:
        each.cancel()


@command("printwatches", group=GROUP)
@click.argument("value", type=click.Choice(["on", "off"]), required=False)
async def printwatches(shell: Shell, value: str | None) -> None:
    """Whether what watches tell is shown."""
    if value is not None:
        shell.tells_watches = value == "on"
        return
    said = "on" if shell.tells_watches else "off"
    await shell.out.show({"printwatches": shell.tells_watches}, human=f"printwatches is {said}", raw=f"{said}\n")
