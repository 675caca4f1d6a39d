"""watch and tail: what happens to znodes, as it happens."""

import os
from contextlib import aclosing, suppress
from datetime import datetime
from signal import SIGINT
from tempfile import TemporaryFile
from typing import Any

import anyio
import click

from zabpy.client import Client
from zabpy.model import NoNodeError

from ..child import Ending, run_while
from ..command import Duration, ZPath, command
from ..differences import unified
from ..following import Following, Happening
from ..looks import shown
from ..problems import ShellError, Status
from ..shell import Shell
from ..stats import hexed
from ..values import brief, data_fields, lines_of_text

#: Of what ``--exec`` runs, with all that it has started, when watching ends before it.
ENDING = Ending(grace_ms=1_000)
UNTIL = ("created", "deleted", "changed")


class Until(click.ParamType[tuple[str, str]]):
    """What is waited for: ``created``, ``deleted``, ``changed``, ``value=TEXT``, ``count=N``."""

    name = "condition"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        if isinstance(value, tuple):
            return value
        what, equals, rest = str(value).partition("=")
        known = what in UNTIL if not equals else what == "value" or (what == "count" and rest.isdecimal() and int(rest))
        if not known:
            self.fail(f"{value!r}: expected created, deleted, changed, value=TEXT or count=N", param, ctx)
        return what, rest


@command("watch", group="Watch", aliases=("follow",))
@click.option("-r", "-R", "--recursive", is_flag=True, help="All below it, too.")
@click.option("-q", "--brief", is_flag=True, help="Without the values.")
@click.option("--exec", "run", metavar="COMMAND", help="Run this for each event; see below.")
@click.option("--until", type=Until(), help="created, deleted, changed, value=TEXT or count=N; then end with status 0.")
@click.option("--timeout", "timeout_ms", type=Duration(), help="End after this time, with status 6.")
@click.argument("path", type=ZPath(), default=".")
async def watch(
    shell: Shell,
    recursive: bool,
    brief: bool,
    run: str | None,
    until: tuple[str, str] | None,
    timeout_ms: int | None,
    path: str,
) -> int:
    """What happens to a znode, with its values before and after, until Ctrl-C. It need not exist.

    Nothing is missed silently: after a gap (a lost connection) a line says so, and what differs from before is told.
    Values are read after the event: of several changes in a row all events are told, and the value of the last.

    --exec runs a command of the system's shell, one at a time, with ZABPY_EVENT (created, changed, deleted), ZABPY_PATH
    and ZABPY_ZXID in its environment and the new value on its standard input.

    --until created, deleted and value= are about PATH itself, and hold at once if they hold already."""
    zk = await shell.zk()
    telling = Telling(shell, Following(zk, path, recursive=recursive), brief, run, until)
    with anyio.move_on_after(None if timeout_ms is None else timeout_ms / 1000):
        await telling.tell_all(zk)
        return 0
    wanted = "watched for" if until is None else f"not {'='.join(filter(None, until))} within"
    raise ShellError(f"{path}: {wanted} {timeout_ms} ms", Status.TIMEOUT)


class Telling:
    """Tells of what happens, in rows, until what is waited for is there."""

    def __init__(
        self, shell: Shell, following: Following, brief: bool, run: str | None, until: tuple[str, str] | None
    ) -> None:
        self._shell, self._out, self._following = shell, shell.out, following
        self._brief, self._run, self._until, self._count = brief, run, until, 0

    async def tell_all(self, zk: Client) -> None:
        following, out = self._following, self._out
        is_first = True
        self._now: Happening  # what is being shown
        async with (
            out.rows("path", live=True, human=self._human) as rows,
            aclosing(following.happenings()) as happenings,
        ):
            async for each in happenings:
                if is_first and out.format == "table":
                    count = len(following.known)
                    there = f"{count:,} znode{'s' * (count != 1)}" if count else "not there yet"
                    await out.tell(f"watching {shown(following.path)}: {there}")
                else:
                    self._now = each
                    await rows.add(**self._fields(each))
                if is_first:
                    for path in following.denied:
                        await out.tell(f"{path}: permission denied: READ is needed; nothing is told of it")
                    is_first = False
                    if await self._holds_already(zk):
                        return
                    continue
                if each.what == "resynced":
                    continue
                self._count += 1
                if self._run is not None:
                    await self._execute(self._run, each)
                if self._holds(each):
                    return

    async def _holds_already(self, zk: Client) -> bool:
        """By what was there when watching began: what has come since is told, and decides when it is."""
        following, until = self._following, self._until
        if until is None or until[0] not in ("created", "deleted", "value"):
            return False
        if following.path not in following.known:
            return until[0] == "deleted"
        if until[0] != "value":
            return until[0] == "created"
        data = following.value(following.path)
        if data is None:  # too large to be kept
            with suppress(NoNodeError):
                data = (await zk.get(following.path)).data
        return data == until[1].encode()

    def _holds(self, each: Happening) -> bool:
        if self._until is None:
            return False
        what, text = self._until
        is_it = each.path == self._following.path
        match what:
            case "created" | "deleted":
                return is_it and each.what == what
            case "changed":
                return each.what == "changed"
            case "value":
                return is_it and each.data is not None and each.data == text.encode()
            case _:
                return self._count >= int(text)

    def _fields(self, each: Happening) -> dict[str, Any]:
        data, old = data_fields(each.data), data_fields(each.old if each.is_latest else None)
        values = {} if self._brief else {**data, "old_data": old["data"], "old_data_base64": old["data_base64"]}
        return {
            "event": each.what,
            "path": each.path,
            "zxid": None if each.zxid is None else hexed(each.zxid),
            "version": each.stat.version if each.stat is not None else None,
            **values,
            "is_latest": each.is_latest,
            "is_found": each.is_found,
        }

    def _human(self, row: Any) -> str:
        each = self._now
        out = self._out
        paint, path = out.look.paint, shown(each.path)
        clock = paint("dim", f"{datetime.now():%H:%M:%S} ") if out.look.is_terminal else ""
        if each.what == "resynced":
            return clock + paint("changed", f"resynced {path}: there was a gap; what was hidden by it follows")
        style = {"created": "added", "deleted": "removed", "changed": "changed"}[each.what]
        line = f"{clock}{paint(style, f'{each.what:7}')} {path}"
        if self._brief:
            return line
        if each.what == "deleted" or each.data is None:
            return line if each.what == "deleted" or each.is_latest else f"{line}  (it is told below what came of it)"
        if not each.is_latest:
            return f"{line}  (its value was told already)"
        if each.what == "created" or each.old is None:
            return f"{line}  {brief(each.data)}" if each.data else line
        old, new = brief(each.old, 1 << 16), brief(each.data, 1 << 16)
        if len(old) + len(new) <= 100 and b"\n" not in each.old + each.data:
            return f"{line}  {paint('removed', old or chr(39) * 2)} -> {paint('added', new or chr(39) * 2)}"
        return "\n".join([line, *(f"  {part}" for part in unified(each.old, each.data, None, paint))])

    async def _execute(self, command: str, each: Happening) -> None:
        """With what the event says in its environment; it is waited for, and its failure is told."""
        environ = {
            **os.environ,
            "ZABPY_EVENT": each.what,
            "ZABPY_PATH": each.path,
            "ZABPY_ZXID": "" if each.zxid is None else hexed(each.zxid),
        }
        words, stdout = ["sh", "-c", command], self._shell.program_stdout
        with TemporaryFile() as value:  # rather than a pipe, for it may read it when it likes, or never
            await anyio.to_thread.run_sync(value.write, each.data or b"")
            value.seek(0)
            async with self._shell.foreground():
                status = await run_while(None, words, environ, ENDING, stdout, value, forwards=False)
        if status == 128 + SIGINT:  # Ctrl-C, which is for all that was typed; the terminal tells it only
            raise ShellError(f"{command}: interrupted", Status.INTERRUPTED)
        if status:
            await self._out.tell(f"watch: {command}: ended with status {status}")


@command("tail", group="Watch")
@click.option("-f", "--follow", is_flag=True, help="Go on with what comes: what is appended, or the new value.")
@click.option("-n", "--lines", type=click.IntRange(0), default=10, show_default=True, help="So many lines of the end.")
@click.argument("path", type=ZPath())
async def tail(shell: Shell, follow: bool, lines: int, path: str) -> None:
    """The end of a value, and what becomes of it."""
    zk, out = await shell.zk(), shell.out

    async def show(data: bytes) -> None:
        for line in lines_of_text(data)[-lines:] if lines else []:
            await out.line(line)

    if not follow:
        await show((await zk.get(path)).data)
        return
    before: bytes | None = None
    async with aclosing(Following(zk, path, recursive=False).happenings()) as happenings:
        async for each in happenings:
            if each.what == "resynced":
                if before is None:
                    try:
                        before = (await zk.get(path)).data
                        await show(before)
                    except NoNodeError:
                        await out.tell(f"{shown(path)}: not there yet")
                else:
                    await out.tell(f"{shown(path)}: resynced: there was a gap")
            elif each.what == "deleted":
                await out.tell(f"{shown(path)}: deleted")
                before = b""
            elif each.data is not None and each.data != before:
                if before and each.data.startswith(before):
                    added = each.data[len(before) :]
                    await out.line("\n".join(lines_of_text(added.removeprefix(b"\n"))))
                else:
                    await show(each.data)
                before = each.data
            await out.flush()
