"""The shell itself: help, leaving."""

import click

from ..command import GROUPS, REGISTRY, command, find
from ..shell import Leave, Shell


@command("help", group="Shell", aliases=("?",))
@click.argument("name", required=False)
async def help(shell: Shell, name: str | None) -> None:
    """All commands, or how to use one."""
    if name is not None:
        found = find(name)
        with click.Context(found, info_name=found.name) as context:
            await shell.out.line(found.get_help(context))
        return
    for group in GROUPS:
        members = {each.name or "": each for each in REGISTRY.values() if each.group == group and not each.hidden}
        if members:
            await shell.out.line(f"{group}:")
        for each, it in sorted(members.items()):
            await shell.out.line(f"  {each:12} {it.get_short_help_str(90)}")


@command("exit", group="Shell", aliases=("quit",))
@click.argument("status", type=click.IntRange(0, 255), required=False)
async def exit(shell: Shell, status: int | None) -> None:
    """Leave the shell."""
    raise Leave(shell.status if status is None else status)
