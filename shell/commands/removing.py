"""To delete znodes, one by one or with all that is below."""

from collections.abc import Sequence

import anyio
import click

import zabpy
from zabpy.client import Client

from ..command import ZPath, command
from ..line import quoted
from ..planned import Planned
from ..problems import ShellError, Status, UsageError, status_of, told
from ..progress import progress
from ..removal import Found, Remover, found_below
from ..shell import Shell
from ..telling import counted, tell_problems
from .writing import put_off


@command("rm", group="Change", writes=True)
@click.argument("paths", type=ZPath(), nargs=-1, required=True)
@click.option("-r", "-R", "--recursive", "recursive", is_flag=True, help="With all that is below; asks before.")
@click.option("-v", "version", type=int, default=-1, help="Only if the znode has this version.")
@click.option("-f", "--force", "force", is_flag=True, help="Ask nothing; nothing is wrong with what is not there.")
@click.option("-n", "--dry-run", "dry_run", is_flag=True, help="Only say what would be deleted.")
async def rm(shell: Shell, paths: tuple[str, ...], recursive: bool, version: int, force: bool, dry_run: bool) -> None:
    """Delete znodes.

    With -r the subtrees are counted first, and it is asked whether to delete so many. Then children go before their
    parents, and what others create there meanwhile goes, too. What cannot be deleted is named, with the permission that
    is missing, and the rest is deleted all the same.
    """
    if recursive and version != -1:
        raise UsageError("-v is for one znode, not for a subtree")
    if recursive:
        await remove_trees(
            shell, paths, asks=not force or shell.rules.confirm_name, dry_run=dry_run, must_exist=not force
        )
        return
    if version != -1 and len(paths) > 1:
        raise UsageError(f"-v is for one znode, not for {len(paths)}")
    for path in paths:
        await remove_one(shell, path, version, dry_run=dry_run, must_exist=not force)


async def remove_one(
    shell: Shell, path: str, version: int = -1, *, dry_run: bool = False, must_exist: bool = True
) -> None:
    """Delete one znode without children; in a transaction, if one is being put together."""
    zk = await shell.zk()
    if _is_the_servers(zk, path):
        raise ShellError(f"{path}: stays: it is the servers' own", Status.DENIED)
    if dry_run:
        stat = await zk.exists(path)
        if stat is None and must_exist:
            raise ShellError(f"{path}: no such znode", Status.NO)
        if stat is not None:
            await shell.out.line(f"would delete {path}")
        return
    if await put_off(shell, Planned("delete", path, version=version)):
        return
    try:
        await zk.delete(path, version, lost_reply="once")
    except zabpy.NoNodeError:
        if must_exist:
            raise


async def remove_trees(
    shell: Shell, paths: Sequence[str], *, asks: bool = True, dry_run: bool = False, must_exist: bool = True
) -> None:
    """Delete subtrees, after the person has said yes to their number.

    Raises:
        ShellError: with `Status.PARTIAL` what was not deleted, and how to go on.
    """
    if shell.transaction is not None:
        raise UsageError("a subtree is not deleted in a transaction: commit or abort it first")
    zk = await shell.zk()
    tops = [path for path in paths if not any(path != other and _is_below(path, other) for other in paths)]
    stay = [path for path in tops if path == "/" or _is_the_servers(zk, path)]
    tops = [path for path in tops if path not in stay]
    for path in stay:
        why = "it is the root; rm -r /* deletes what is below" if path == "/" else "it is the servers' own"
        if len(paths) == 1:
            raise ShellError(f"{path}: stays: {why}", Status.DENIED)
        await shell.out.tell(f"{path}: stays: {why}")
    try:
        found = [(top, await found_below(zk, top)) for top in tops]
    except zabpy.ZabpyError as error:
        raise ShellError(f"while counting: {told(error) or error}; nothing was done", status_of(error)) from error
    for top, tree in found:
        if not tree.levels and must_exist:
            raise ShellError(f"{top}: no such znode; nothing was done", Status.NO)
    count = sum(tree.count for _, tree in found)
    if dry_run:
        await _preview(shell, found)
        return
    if asks and count:
        where = tops[0] if len(tops) == 1 else f"{len(tops)} paths"
        await shell.confirm(f"delete {counted(count, 'znode')} under {where}{_of_others(zk, found)}?")
    with progress("deleting", count) as advance:
        await _remove(shell, Remover(zk, advance), found, count, skipped=len(stay))


async def _remove(
    shell: Shell, remover: Remover, found: Sequence[tuple[str, Found]], count: int, *, skipped: int
) -> None:
    removal = remover.removal
    tops = [top for top, _ in found]
    again = "rm -r " + " ".join(quoted(top) for top in tops)
    try:
        for top, tree in found:
            await remover.remove(top, tree)
            if removal.ended_by is not None:
                break
    except anyio.get_cancelled_exc_class():
        with anyio.CancelScope(shield=True):
            await shell.out.tell(
                f"rm: stopped: {removal.deleted:,} of {counted(count, 'znode')} were deleted; {again} goes on"
            )
        raise
    if removal.ended_by is not None:
        raise ShellError(
            f"{removal.deleted:,} of {counted(count, 'znode')} were deleted, then: {told(removal.ended_by)}."
            f" Some of the others may be gone, too. To go on: {again}",
            Status.PARTIAL,
        )
    if removal.appeared and removal.is_complete:
        await shell.out.tell(f"{removal.deleted:,} were deleted, with what others created there meanwhile")
    if removal.failed:
        await tell_problems(shell, [told(error) or str(error) for error in removal.failed.values()])
        raise ShellError(
            f"{removal.deleted:,} of {counted(count, 'znode')} were deleted; {len(removal.failed):,} could not be,"
            " and stay with those above them",
            Status.PARTIAL if removal.deleted else status_of(next(iter(removal.failed.values()))),
        )
    if skipped:
        raise ShellError(f"{counted(removal.deleted, 'znode')} were deleted, the servers' own stay", Status.PARTIAL)


async def _preview(shell: Shell, found: Sequence[tuple[str, Found]]) -> None:
    total = 0
    async with shell.out.rows("path", human=lambda row: f"would delete {row['path']}") as rows:
        for _, tree in found:
            for level in reversed(tree.levels):
                for path in sorted(level):
                    total += 1
                    owner = tree.ephemerals.get(path)
                    await rows.add(path=path, ephemeral_owner=None if owner is None else hex(owner & 2**64 - 1))
    await shell.out.tell(f"{counted(total, 'znode')} would be deleted; nothing was done")


def _of_others(zk: Client, found: Sequence[tuple[str, Found]]) -> str:
    mine = zk.session.id
    others = sum(owner != mine for _, tree in found for owner in tree.ephemerals.values())
    return f", {others:,} of them {'an ephemeral' if others == 1 else 'ephemerals'} of other sessions" if others else ""


def _is_the_servers(zk: Client, path: str) -> bool:
    """``/zookeeper`` and what servers keep in it; not what clients put below ``/zookeeper/quota``."""
    full = zk.chroot + path if path != "/" else zk.chroot or "/"
    return full in ("/", "/zookeeper", "/zookeeper/config", "/zookeeper/quota")


def _is_below(path: str, top: str) -> bool:
    return path == top or path.startswith(top.rstrip("/") + "/")
