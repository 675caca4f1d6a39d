"""Limits of how many znodes and bytes a subtree may have."""

import click

from .. import quotas
from ..command import Size, ZPath, command
from ..problems import ShellError, Status, UsageError
from ..shell import Shell


@command("quota", group="Access")
@click.argument("path", type=ZPath(glob=False), default=".")
@click.option("-n", "znodes", type=int, help="At most so many znodes, itself included: beyond that, a warning.")
@click.option("-b", "data_bytes", type=Size(), help="At most so many bytes of data (10k, 1M): beyond that, a warning.")
@click.option("-N", "znodes_hard", type=int, help="At most so many znodes: more are refused.")
@click.option("-B", "data_bytes_hard", type=Size(), help="At most so many bytes: more are refused.")
@click.option("--delete", "deletes", is_flag=True, help="Take the quota away; of the limits given as -1, only those.")
async def quota(
    shell: Shell,
    path: str,
    znodes: int | None,
    data_bytes: int | None,
    znodes_hard: int | None,
    data_bytes_hard: int | None,
    deletes: bool,
) -> None:
    """Show the quotas at and below PATH, or set one there.

    The servers count what is there. They log a warning beyond the limits of -n and -b; those of -N and -B they heed
    only if they are set up to (enforceQuota).
    """
    asked = {"znodes": znodes, "data_bytes": data_bytes, "znodes_hard": znodes_hard, "data_bytes_hard": data_bytes_hard}
    limits = {name: number for name, number in asked.items() if number is not None}
    if (limits or deletes) and shell.rules.read_only:
        raise ShellError("this shell is read-only, so nothing was done", Status.DENIED)
    if deletes:
        await delete_quota(shell, path, set(limits))
    elif limits:
        await set_quota(shell, path, limits)
    else:
        await show_quotas(shell, path)


async def show_quotas(shell: Shell, path: str) -> None:
    """As rows. Raises `ShellError` if there is none."""
    zk = await shell.zk()
    found = [await quotas.read(zk, one) for one in await quotas.below(zk, path)]
    async with shell.out.rows("path", "znodes", "znodes_max", "bytes", "bytes_max") as rows:
        for one in found:
            if one is None:
                continue
            limits, usage = one.limits, one.usage or quotas.Numbers()
            await rows.add(
                path=one.path,
                znodes=_or_none(usage.znodes),
                znodes_max=_limit(limits.znodes, limits.znodes_hard),
                bytes=_or_none(usage.data_bytes),
                bytes_max=_limit(limits.data_bytes, limits.data_bytes_hard),
                znodes_soft=_or_none(limits.znodes),
                znodes_hard=_or_none(limits.znodes_hard),
                bytes_soft=_or_none(limits.data_bytes),
                bytes_hard=_or_none(limits.data_bytes_hard),
            )
    if not rows.count:
        raise ShellError(f"{path}: no quota at or below it", Status.NO)


async def set_quota(shell: Shell, path: str, limits: dict[str, int]) -> None:
    """``limits``: those of `quotas.Numbers` that are to change.

    Raises:
        UsageError: one is negative, which is no limit.
    """
    for number in limits.values():
        if number < 0:
            raise UsageError(f"{number}: a limit is 0 or more; --delete takes one away")
    await quotas.write(await shell.zk(), path, limits)


async def delete_quota(shell: Shell, path: str, names: set[str]) -> None:
    """``names``: of the limits, as in `quotas.Numbers`; none: all of them."""
    if not await quotas.delete(await shell.zk(), path, names):
        raise ShellError(f"{path}: no quota", Status.NO)


def _or_none(number: int) -> int | None:
    return None if number == -1 else number


def _limit(soft: int, hard: int) -> str | None:
    """``100 soft, 200 hard``."""
    parts = [f"{number} {what}" for number, what in ((soft, "soft"), (hard, "hard")) if number != -1]
    return ", ".join(parts) or None
