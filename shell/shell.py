"""Runs what was typed: finds the command, gives it its arguments, and says what went wrong.

One `Shell` is one person's place in one tree: where they are, whose client it is, what is allowed.
"""

import os
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import IO, TYPE_CHECKING

import anyio
import click

from zabpy.client import Client
from zabpy.model import BadArgumentsError, ZabpyError, validate

from .cluster import Cluster
from .command import FORMAT, Command, HelpAsked, expanded, find
from .glob import matches
from .line import GLOB, After, LineError, Statement, Word, parse
from .looks import quotable
from .output import Look, Output, to_stream
from .planned import Draft
from .problems import ShellError, Status, UsageError, status_of, told
from .settings import Rules

if TYPE_CHECKING:
    from .watching import Kept


#: Commands of this group wait for servers that are away, with time limits of their own.
WAITS = "Coordinate"


class Leave(Exception):
    """The shell ends, with a status."""

    def __init__(self, status: int) -> None:
        self.status = status


class Asker:
    """Asks the person, where there is one; this one is for scripts, and has nobody to ask."""

    async def confirm(self, question: str, must_type: str = "") -> bool:
        """``must_type``: what has to be typed, instead of a y."""
        how = f"--confirm {must_type}" if must_type else "--yes"
        raise ShellError(f"{question} There is nobody to ask: say {how} to do it", Status.DENIED)

    async def secret(self, prompt: str) -> str:
        raise ShellError(f"{prompt}: there is nobody to ask", Status.DENIED)


class Shell:
    def __init__(
        self, cluster: Cluster, out: Output, *, rules: Rules | None = None, asker: Asker | None = None
    ) -> None:
        self.cluster, self.out = cluster, out
        self.rules, self.asker = rules or Rules(), asker or Asker()
        #: Where we are, as a full path.
        self.cwd = "/"
        self.previous = "/"
        #: Of the last command: ``$?``.
        self.status = 0
        #: Of the first one that failed.
        self.failed = 0
        #: At a terminal: long output may be paged, what happens meanwhile is told.
        self.is_interactive = False
        #: How many other programs have the terminal now; see `foreground`.
        self.programs = 0
        #: How many have had it so far.
        self.programs_run = 0
        #: Where commands that run a program are to have it print, if not where we do: a pipe or a file.
        self.program_stdout: IO[bytes] | None = None
        #: What was typed so far in this shell, for ``history`` and ``redo``.
        self.lines: list[str] = []
        #: Watches that commands have left behind, and whether what they tell is shown.
        self.kept: list[Kept] = []
        self.tells_watches = True
        #: What ``-`` reads as a value or a file; None where commands themselves come from there.
        self.stdin: IO[bytes] | None = None
        #: What was put together since ``begin``; None when there was none.
        self.transaction: Draft | None = None
        #: The line of a script that is run now, as it stands before complaints.
        self._where = ""
        #: Makes another `Cluster`, started, for commands on two of them and for ``connect``; main sets it.
        self.open_cluster: Callable[[str], Awaitable[Cluster]] | None = None

    async def zk(self) -> Client:
        """The client, when it has a session."""
        return await self.cluster.client()

    # What arguments mean ----------------------------------------------------------------------------------------------

    def path(self, typed: str) -> str:
        """The full path of one typed, which may be from where we are, with ``.`` and ``..``, or end with a slash.

        Raises:
            UsageError: it is no path; it says why.
        """
        if any("\udc80" <= char <= "\udcff" for char in typed):  # as bytes are that were read as UTF-8
            raise UsageError(f"{typed}: not UTF-8, as names of znodes are")
        parts: list[str] = []
        for part in (typed if typed.startswith("/") else f"{self.cwd}/{typed}").split("/"):
            if part == "..":
                del parts[-1:]
            elif part not in ("", "."):
                parts.append(part)
        path = "/" + "/".join(parts)
        try:
            validate(path)
        except BadArgumentsError as error:
            raise UsageError(f"{typed}: {error}") from None
        return path

    async def paths(self, word: str, *, glob: bool = True) -> list[str]:
        """The full paths that a word stands for: more than one only if it is a pattern, which must match something."""
        pattern = word.pattern if isinstance(word, Word) else None
        if not glob or pattern is None:
            return [self.path(word)]
        full = pattern if pattern.startswith("/") else f"{_escaped(self.cwd)}/{pattern}"
        denied: list[str] = []
        found = await matches(await self.zk(), full, denied)
        for path in denied[:20]:
            await self.out.tell(f"{path}: permission denied: READ is needed; what is below is not in {word}")
        if len(denied) > 20:
            await self.out.tell(f"and {len(denied) - 20:,} more may not be read")
        if not found:
            raise ShellError(f"{word}: no znode matches", Status.NO)
        return found

    async def confirm(self, question: str) -> None:
        """Go on only if the person says so.

        Raises:
            ShellError: no; or nobody is there to be asked.
        """
        if self.rules.yes:
            return
        await self.out.end()
        if not await self.asker.confirm(question, self.rules.name if self.rules.confirm_name else ""):
            raise ShellError("nothing was done", Status.INTERRUPTED)

    # Running ----------------------------------------------------------------------------------------------------------

    async def run(self, text: str, *, script: str = "", line: int = 1, keeps_going: bool = True) -> int:
        """Run all that a text says; the status of what was run last. Never raises for what a command does.

        Args:
            script: the file that it is from, and ``line`` where in it: both then stand before complaints.
            keeps_going: False: end behind the first statement that fails and has no ``||`` behind it.
        Raises:
            Leave: a command ends the shell.
        """
        try:
            statements = parse(text)
        except LineError as error:
            before = text[: error.at]
            where = f"{script}:{line + before.count(chr(10))}: " if script else ""
            await self.out.tell(f"{where}{error} (column {error.at - before.rfind(chr(10))})")
            self.status = self.failed = Status.USAGE
            return self.status
        for index, statement in enumerate(statements):
            if index and statement.after is After.ALWAYS and self.status:
                self.failed = self.failed or self.status
                if not keeps_going:
                    await self.out.tell(f"{self._where}status {self.status}, so what follows was not run; -k runs it")
                    break
            number = line + text.count("\n", 0, statement.words[0].start)
            if statement.after is After.ALWAYS or (statement.after is After.SUCCESS) == (self.status == 0):
                self._where = f"{script}:{number}: " if script else ""
                self.status = await self._run(statement)
            if self.status == Status.PIPE and not self.is_interactive:
                break  # nobody reads what would follow
        self.failed = self.failed or self.status
        return self.status

    async def run_words(self, words: Sequence[str]) -> int:
        """The same for one command whose words are parted already, as another shell has done."""
        self._where = ""
        self.status = await self.run_within(words)
        return self.status

    async def run_within(self, words: Sequence[str]) -> int:
        """For a command that runs another one, whose words are its own arguments."""
        typed = [each if isinstance(each, Word) else _word(each) for each in words]
        return await self._run(Statement(After.ALWAYS, 0, typed))

    async def _run(self, statement: Statement) -> int:
        name, out, status = statement.words[0], self.out, int(Status.OK)
        try:
            found = find(name)
            if statement.pipe is None and statement.target is None:
                status = await self.do(found, name, statement.words[1:])
            else:
                status = await self._do_elsewhere(found, statement)
        except HelpAsked:
            await self._help(find(name))
        except Leave:
            await out.end()
            raise
        except Exception as error:
            told_error: BaseException = error
            if isinstance(error, ExceptionGroup):
                told_error = _first(error)
            text = told(told_error)
            if text is None:
                raise
            status = status_of(told_error)
            if text:
                await self._complain(name, text)
            if status == Status.USAGE and isinstance(told_error, click.UsageError | UsageError):
                await self._show_usage(name)
        finally:
            self.out = out
        try:
            await out.end()
        except BrokenPipeError:
            status = status or Status.PIPE
        except OSError as error:
            await self._complain(name, told(error) or "")
            status = status or Status.FAILED
        return int(status)

    async def do(self, found: Command, name: str, words: list[Word]) -> int:
        """Run one command, within what the rules allow; its status. What it raises comes out as it is."""
        with found.parse(name, words) as context:
            if found.writes and self.rules.read_only:
                raise ShellError("this shell is read-only, so nothing was done", Status.DENIED)
            if found.is_forbidden(self.rules):
                raise ShellError(f"the profile {self.rules.name} forbids it, so nothing was done", Status.DENIED)
            format = context.params.pop(FORMAT, None)
            params = await expanded(self, context)
            out, before = self.out, self.out.format
            out.format = format or before
            try:
                if found.group == WAITS:
                    return await found.run(self, **params) or 0
                status: int | None = None
                with self.cluster.patience():
                    status = await found.run(self, **params)
                return status or 0
            finally:
                if format is not None:
                    out.format = before

    async def _do_elsewhere(self, found: Command, statement: Statement) -> int:
        """With what it prints in a pipe or a file."""
        name, words = statement.words[0], statement.words[1:]
        await self.out.flush()
        look = Look(width=self.out.look.width, height=self.out.look.height)
        if statement.target is not None:
            with await anyio.to_thread.run_sync(_open, statement.target, statement.appends) as file:
                return await self._into(file, look, found, name, words)
        process = await anyio.to_thread.run_sync(_reader, statement.pipe or "")
        assert process.stdin is not None
        async with self.foreground():
            try:
                try:
                    status = await self._into(process.stdin, look, found, name, words)
                except BrokenPipeError:
                    status = 0  # its reader has had enough, and says itself whether that is an error
                finally:
                    with anyio.CancelScope(shield=True):
                        await anyio.to_thread.run_sync(_close, process.stdin)
            finally:
                # It has the terminal, where Ctrl-C has reached it, too; there is no prompt before it is done.
                with anyio.CancelScope(shield=self.is_interactive):
                    ended = await anyio.to_thread.run_sync(process.wait, abandon_on_cancel=True)
        return status or (ended if ended >= 0 else 128 - ended)

    @asynccontextmanager
    async def foreground(self) -> AsyncIterator[None]:
        """Another program has the terminal meanwhile: an editor, a reader of a pipe, whatever runs under a lock. All
        that was printed is shown before, and nothing of ours comes in between."""
        await self.out.end()
        self.programs += 1
        self.programs_run += 1
        try:
            yield
        finally:
            self.programs -= 1

    async def _into(self, stream: IO[bytes], look: Look, found: Command, name: str, words: list[Word]) -> int:
        before, stdout_before = self.out, self.program_stdout
        self.out = Output(to_stream(stream), before.write_err, before.format, look)
        self.program_stdout = stream
        try:
            status = await self.do(found, name, words)
            await self.out.flush()
            return status
        finally:
            self.out, self.program_stdout = before, stdout_before

    # Saying -----------------------------------------------------------------------------------------------------------

    async def _complain(self, name: str, text: str) -> None:
        text = quotable(text)  # here, for all: a path of servers' or a person's may have a new line in it
        named = f"{quotable(name)}: {text}" if name and not text.startswith(f"{name}: ") else text
        await self.out.tell(self._where + named)

    async def _show_usage(self, name: str) -> None:
        try:
            await self.out.tell(f"usage: {find(name).usage()}")
        except UsageError:
            pass  # there is no such command, which was said

    async def _help(self, found: Command) -> None:
        with click.Context(found, info_name=found.name) as context:
            await self.out.line(found.get_help(context))


def _word(text: str) -> Word:
    return Word.of(text, pattern=text if any(char in GLOB for char in text) else None)


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    first = group.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first


def _open(name: str, appends: bool) -> IO[bytes]:
    return open(os.path.expanduser(name), "ab" if appends else "wb")


def _reader(command: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(command, shell=True, stdin=subprocess.PIPE)


def _close(stream: IO[bytes]) -> None:
    try:
        stream.close()
    except BrokenPipeError:
        pass  # its reader has ended before us, which is its right


def _escaped(path: str) -> str:
    return "".join("\\" + char if char in "\\*?[{}" else char for char in path)


__all__ = ["Asker", "Leave", "Rules", "Shell", "ShellError", "Status", "UsageError", "ZabpyError"]
