"""The shell itself: help, leaving, what was typed before, and running commands again."""

from collections.abc import Sequence

import anyio
import click

from ..command import GROUPS, REGISTRY, Duration, command, find
from ..examples import EXAMPLES
from ..output import FORMATS, look_of
from ..problems import ShellError, Status, UsageError
from ..profiles import COLOURS
from ..shell import Leave, Shell


@command("help", group="Shell", aliases=("?",))
@click.argument("name", required=False)
async def help(shell: Shell, name: str | None) -> None:
    """All commands, or how to use one."""
    if name is not None:
        await shell.out.line(help_of(name))
        return
    for group in GROUPS:
        members = {each.name or "": each for each in REGISTRY.values() if each.group == group and not each.hidden}
        if members:
            await shell.out.line(f"{group}:")
        for each, it in sorted(members.items()):
            await shell.out.line(f"  {each:12} {it.get_short_help_str(90)}")
    await shell.out.line("help COMMAND tells more of one; zkCli.sh's commands are known by their names, too.")


def help_of(name: str) -> str:
    """How to use a command: click's page, its other names, and examples."""
    found = find(name)
    with click.Context(found, info_name=found.name, max_content_width=110) as context:
        text = found.get_help(context)
    if found.aliases:
        text += f"\n\n  Also called {', '.join(found.aliases)}."
    examples = EXAMPLES.get(found.name or "", ())
    if examples:
        text += "\n\nExamples:\n" + "\n".join(f"  {each}" for each in examples)
    return text


@command("exit", group="Shell", aliases=("quit",))
@click.argument("status", type=click.IntRange(0, 255), required=False)
async def exit(shell: Shell, status: int | None) -> None:
    """Leave the shell, with STATUS or that of the last command."""
    raise Leave(shell.status if status is None else status)


# What was typed -------------------------------------------------------------------------------------------------------


@command("history", group="Shell")
@click.argument("count", type=click.IntRange(0), required=False)
async def history(shell: Shell, count: int | None) -> None:
    """The lines typed in this shell, with numbers for redo; the last COUNT of them."""
    numbered = list(enumerate(shell.lines))
    async with shell.out.rows("number", "line", human=lambda row: f"{row['number']:>4}  {row['line']}") as rows:
        for number, line in numbered if count is None else numbered[len(numbered) - count :]:
            await rows.add(number=number, line=line)


@command("redo", group="Shell")
@click.argument("number", type=int, required=False)
async def redo(shell: Shell, number: int | None) -> int:
    """Run a line again: the one with history's NUMBER, or the one before this."""
    before = shell.lines[:-1]  # the last one is this
    number = len(before) - 1 if number is None else number
    if not 0 <= number < len(before):
        raise UsageError(f"{number}: no such line; history shows them")
    line = before[number]
    if line.split()[:1] == ["redo"]:
        raise UsageError(f"{number}: that is a redo itself: {line}")
    await shell.out.tell(line)
    return await shell.run(line)


# Commands with commands -----------------------------------------------------------------------------------------------


@command("time", group="Shell", interspersed=False)
@click.argument("words", nargs=-1, required=True, metavar="COMMAND...", type=click.UNPROCESSED)
async def time(shell: Shell, words: Sequence[str]) -> int:
    """Run a command, and tell on stderr how long it took."""
    began = anyio.current_time()
    status = await shell.run_within(words)
    await shell.out.tell(f"{anyio.current_time() - began:.3f} s")
    return status


@command("sleep", group="Shell")
@click.argument("time", type=Duration())
async def sleep(shell: Shell, time: int) -> None:
    """Wait: 500ms, 2s, 1m; a bare number is seconds."""
    await anyio.sleep(time / 1000)


@command("repeat", group="Shell", interspersed=False)
@click.option(
    "--every", "every_ms", type=Duration(), default="0", help="From the beginning of one to that of the next."
)
@click.option("-k", "keeps_going", is_flag=True, help="Go on when it fails.")
@click.argument("count", type=click.IntRange(0))
@click.argument("words", nargs=-1, required=True, metavar="COMMAND...", type=click.UNPROCESSED)
async def repeat(shell: Shell, every_ms: int, keeps_going: bool, count: int, words: Sequence[str]) -> int:
    """Run a command COUNT times, or until it fails."""
    status = 0
    for index in range(count):
        until = anyio.current_time() + every_ms / 1000
        status = await shell.run_within(words)
        await shell.out.flush()
        if status and not keeps_going:
            break
        if index + 1 < count:
            await anyio.sleep_until(until)
    return status


@command("echo", group="Shell")
@click.argument("words", nargs=-1)
async def echo(shell: Shell, words: Sequence[str]) -> None:
    """Print the words."""
    await shell.out.line(" ".join(words))


# How the shell is -----------------------------------------------------------------------------------------------------


@command("option", group="Shell")
@click.argument("name", type=click.Choice(["output", "color", "read_only"]), required=False)
@click.argument("value", required=False)
async def option(shell: Shell, name: str | None, value: str | None) -> None:
    """Show how this shell is, or have it be different: option output json, option color never, option read_only on.

    What was made read-only stays so.
    """
    if name is None or value is None:
        shown = {
            "output": shell.out.format,
            "color": "always" if shell.out.look.colour else "never",
            "read_only": shell.rules.read_only,
        }
        await shell.out.show(shown if name is None else {name: shown[name]})
    elif name == "output":
        shell.out.format = _one_of(FORMATS, value)
    elif name == "color":
        shell.out.look.colour = look_of(_one_of(COLOURS, value), {}).colour
    elif _one_of(("on", "off"), value) == "on":
        shell.rules.read_only = shell.rules.stays_read_only = True
    elif shell.rules.read_only:
        raise ShellError("a shell that is read-only stays so", Status.DENIED)


def _one_of(choices: Sequence[str], value: str) -> str:
    if value not in choices:
        raise UsageError(f"{value}: expected one of {', '.join(choices)}")
    return value


@command("version", group="Shell")
async def version(shell: Shell) -> None:
    """Of this shell. What the servers are, status tells."""
    import sys

    from zabpy import __version__

    python = ".".join(map(str, sys.version_info[:3]))
    await shell.out.show({"zabpy": __version__, "python": python}, human=f"zabpy {__version__}, Python {python}")
