"""The loop of a shell at a terminal: a line is read, run, and the next one read, while the session is kept.

The prompt is up before anything else is loaded: commands, client and connection come behind it, in a thread and in the
background. A command waits for them; typing never does.
"""

import asyncio
import os
import shutil
import signal
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from prompt_toolkit import PromptSession
from prompt_toolkit.application import get_app_or_none, run_in_terminal
from prompt_toolkit.auto_suggest import AutoSuggestFromHistory
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.formatted_text import FormattedText, StyleAndTextTuples
from prompt_toolkit.layout.screen import Char
from prompt_toolkit.shortcuts import CompleteStyle, print_formatted_text
from prompt_toolkit.utils import get_cwidth

from ..errors import Status
from ..looks import BIDI_CHARACTERS, harmless
from ..settings import Settings
from .completer import ShellCompleter
from .history import KeptHistory, file_of, is_secret
from .keys import bindings
from .known import Children, Known
from .lexer import ShellLexer
from .style import PLAIN, style_of
from .validator import ShellValidator

if TYPE_CHECKING:
    import anyio

    from ..shell import Shell
    from .standing import Standing

# Whatever is drawn while somebody types (prompt, line, menu, toolbar) shows these as what they are, as it does control
# characters by itself.
Char.display_mappings.update({each: f"\\u{ord(each):04x}" for each in BIDI_CHARACTERS})

#: Between two drawings of the toolbar, where the session's time runs.
REFRESH_S = 1.0
#: A terminal that cannot be drawn on (TERM=dumb) never tells that it was; then this is long enough.
UNDRAWN_S = 0.5
HINT = """\
Three things to try:
  create /greeting "hello"        a znode with a value; Tab completes commands, flags and paths
  tree /                          what is there; `help` lists all commands, `help ls` says how one is used
  lock /locks/demo -- sleep 60    a lock, for as long as a command runs; Ctrl-C ends it, Ctrl-D the shell"""


class Terminal:
    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._name = settings.profile or short(settings.servers)
        self._history = KeptHistory(file_of(settings.profile or settings.servers))
        self._known = Known(self._children, self._news)
        self._lexers = [ShellLexer(self._known, self._full_path) for _ in range(2)]
        self._completer = ShellCompleter(self._known, self._full_path)
        self._validator = ShellValidator()
        self._has_colour = wants_colour(settings.colour)
        self._style = style_of(settings.colors) if self._has_colour else PLAIN
        self._session: PromptSession[str] = PromptSession(
            self._prompt,
            lexer=self._lexers[0],
            completer=self._completer,
            complete_while_typing=True,
            complete_style=CompleteStyle.COLUMN,
            validator=self._validator,
            validate_while_typing=True,
            auto_suggest=AutoSuggestFromHistory(),
            history=self._history,
            search_ignore_case=True,
            key_bindings=bindings(self._validator),
            bottom_toolbar=self._toolbar,
            style=self._style,
            include_default_pygments_style=False,
            refresh_interval=REFRESH_S,
            enable_suspend=True,
        )
        self._shell: Shell | None = None
        self._standing: Standing | None = None
        self._scope: anyio.CancelScope | None = None
        self._waiting: list[tuple[str, str]] = []
        self._drawn, self._ready, self._over = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._left: int | None = None

    async def run(self) -> int:
        """Until the person leaves; what the process is to end with."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGINT, self._interrupted)
        for number in (signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._ended, 128 + number)
        self._session.app.after_render += lambda _: self._drawn.set()
        loop.call_later(UNDRAWN_S, self._drawn.set)
        if not self._history.is_anything_kept():
            self._say("hint", HINT)
        for remark in self._settings.remarks:
            self._say("bad", remark)
        if asks(self._settings):  # passwords come before all else, and two prompts at a time would be one too many
            self._drawn.set()
        background = asyncio.create_task(self._background())
        background.add_done_callback(lambda _: self._ended(Status.FAILED))
        try:
            if self._drawn.is_set():
                await self._ready.wait()
            while self._left is None:
                text = await self._line()
                if text is not None and text.strip():
                    await self._run(text)
            if self._shell is not None:
                from ..oneshot import forgotten

                await forgotten(self._shell)
        finally:
            self._over.set()
            await background
        return self._left

    # Reading ----------------------------------------------------------------------------------------------------------

    async def _line(self) -> str | None:
        self._tell_what_waited()
        if self._standing is not None:
            self._standing.is_looked_at = True
        if self._shell is not None:
            cluster = self._shell.cluster  # which `connect` changes
            self._history.go_to(file_of(cluster.rules.name or cluster.servers))
        try:
            return await self._session.prompt_async(handle_sigint=False, set_exception_handler=False)
        except KeyboardInterrupt:
            return None
        except OSError:  # the terminal is gone, and nobody is there to be told anything
            self._ended(128 + signal.SIGHUP)
            return None
        except EOFError:
            if self._left is None:
                self._left = self._shell.status if self._shell is not None else Status.OK
            return None
        finally:
            if self._standing is not None:
                self._standing.is_looked_at = False

    def _prompt(self) -> StyleAndTextTuples:
        good = self._standing is not None and self._standing.has_session
        name, path = self._name, "/"
        if self._shell is not None:
            cluster, path = self._shell.cluster, self._shell.cwd
            name = cluster.rules.name or short(cluster.servers)  # which `connect` changes
        style = "class:prompt.good" if good else "class:prompt.bad"
        # The line that is typed is to have most of a line, wherever one is.
        room = self._session.output.get_size().columns // 2
        name = shortened(name, room // 2)
        return [(style, name), ("class:prompt.path", f" {shortened(path, room - get_cwidth(name))}"), (style, "> ")]

    def _toolbar(self) -> StyleAndTextTuples:
        if self._completer.note and self._session.default_buffer.complete_state is not None:
            return [("", f" {self._completer.note}")]
        if self._standing is None:
            return [("class:toolbar.bad", f" {self._settings.servers} │ connecting")]
        return self._standing.toolbar(self._session.output.get_size().columns)

    def _full_path(self, typed: str) -> str:
        if self._shell is None:
            raise LookupError("not loaded yet")
        return self._shell.path(typed)

    # Running ----------------------------------------------------------------------------------------------------------

    async def _run(self, text: str) -> None:
        import anyio

        with anyio.CancelScope() as self._scope:
            await self._ready.wait()
            if self._shell is not None:
                await self._run_in(self._shell, text)
        if self._scope.cancelled_caught and self._shell is not None:
            self._shell.status = Status.INTERRUPTED
        self._scope = None
        self._known.forget()  # a command may have written, and may have gone somewhere else

    async def _run_in(self, shell: "Shell", text: str) -> None:
        import anyio

        from ..shell import Leave
        from .pager import Pager

        pages = shell.out.pages
        assert isinstance(pages, Pager)
        width, height = shutil.get_terminal_size()
        programs = shell.programs_run
        # Anew for each line: what a cancelled command had not shown is not shown later.
        shell.out = replace(shell.out, look=replace(shell.out.look, width=width, height=height))
        if not is_secret(text):
            shell.lines.append(text)
        try:
            await shell.run(text)
        except Leave as leave:
            self._left = leave.status
        except anyio.get_cancelled_exc_class():
            pages.drop()
            raise
        except Exception:  # a bug of ours ends the command, not the shell
            import traceback

            sys.stderr.write(harmless(traceback.format_exc()))
            shell.status = Status.FAILED
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(pages.end)
            cancelled = self._scope is not None and self._scope.cancel_called
            if shell.status == Status.INTERRUPTED and shell.programs_run > programs:
                cancelled = True  # Ctrl-C was for the program; the terminal has shown ^C for it
            if cancelled or not pages.is_at_start:
                sys.stdout.write("\n")
                sys.stdout.flush()
                pages.is_at_start = True

    def _interrupted(self) -> None:
        """Ctrl-C, while the terminal makes a signal of it; at a prompt it is a key."""
        if self._scope is not None:
            self._scope.cancel()
        else:
            self._leave_app(KeyboardInterrupt())

    def _ended(self, status: int) -> None:
        """Told to end, or there is nothing left to run in."""
        if self._left is None:
            self._left = status
        self._ready.set()
        if self._scope is not None:
            self._scope.cancel()
        self._leave_app(EOFError())

    def _leave_app(self, error: BaseException) -> None:
        app = get_app_or_none() or self._session.app
        if app.is_running and app.future is not None and not app.future.done():
            app.exit(exception=error)

    # Behind it --------------------------------------------------------------------------------------------------------

    async def _background(self) -> None:
        """Load what commands need, and have a shell; then keep what the prompt shows up to date."""
        await self._drawn.wait()
        await asyncio.to_thread(_load)
        import anyio

        from ..output import Look, Output, to_stream
        from ..starting import started
        from .asker import TerminalAsker
        from .pager import Pager
        from .standing import Standing

        write_out, write_err = to_stream(sys.stdout.buffer), to_stream(sys.stderr.buffer)
        look = Look(is_terminal=True, colour=self._has_colour)
        out = Output(write_out, write_err, self._settings.format, look, Pager(write_out, write_err))
        async with started(
            replace(self._settings, remarks=[]), out, keeps_trying=True, asker=TerminalAsker(self._interrupted)
        ) as shell:
            shell.is_interactive = True
            self._standing = Standing(shell, self._say, self._session.app.invalidate)
            self._shell = shell
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._standing.follow)
                tasks.start_soon(self._standing.probe)
                tasks.start_soon(self._known.run)
                self._ready.set()
                self._paint()
                await self._over.wait()
                tasks.cancel_scope.cancel()

    def _say(self, kind: str, text: str) -> None:
        """Above the prompt; at once while a command runs, unless another program has the terminal."""
        app = get_app_or_none()
        shell = self._shell
        pages: Any = shell.out.pages if shell is not None else None
        self._waiting.append((kind, text))
        if app is not None and app.is_running:
            asyncio.ensure_future(run_in_terminal(self._tell_what_waited))  # noqa: RUF006  # the app waits for it
        elif self._scope is not None and shell is not None and not shell.programs and not pages.is_reading:
            self._tell_what_waited()

    def _tell_what_waited(self) -> None:
        waiting, self._waiting = self._waiting, []
        for kind, text in waiting:
            print_formatted_text(FormattedText([(f"class:notice.{kind}", harmless(text))]), style=self._style)

    async def _children(self, path: str) -> Children:
        from zabpy.model import NoAuthError, NoNodeError

        assert self._shell is not None
        try:
            names = await (await self._shell.zk()).children(path)
        except NoNodeError:
            return None
        except NoAuthError:
            return []
        return sorted(names)

    def _news(self) -> None:
        """What somebody waits for in the menu has come."""
        waiting, buffer = self._completer.waiting, self._session.default_buffer
        if waiting is not None and buffer.document == waiting[0] and buffer.complete_state is None:
            self._completer.waiting = None
            event = CompleteEvent(text_inserted=not waiting[1], completion_requested=waiting[1])
            buffer.start_completion(insert_common_part=waiting[1], complete_event=event)
        self._paint()

    def _paint(self) -> None:
        """Draw the line anew, whose colours say what is known now. A PromptSession keeps those of the same text for as
        long as it has the same lexer, so another one takes its turn."""
        self._lexers.reverse()
        self._session.lexer = self._lexers[0]
        self._session.app.invalidate()


def short(servers: str) -> str:
    """``a:2181,b:2181,c:2181/app`` as ``a:2181+2/app``."""
    hosts, slash, chroot = servers.partition("/")
    first, *others = hosts.split(",")
    return first + (f"+{len(others)}" if others else "") + slash + chroot


def shortened(text: str, cells: int) -> str:
    """Its end, behind an ellipsis, where it would take more; that is what tells where one is."""
    if get_cwidth(text) <= cells:
        return text
    kept = ""
    for char in reversed(text):
        if get_cwidth(char + kept) >= max(cells, 2):
            break
        kept = char + kept
    slash = kept.find("/", 0, len(kept) - 1)
    return "…" + kept[max(slash, 0) :]


def asks(settings: Settings) -> bool:
    """Whether a password may have to be typed before there can be a client."""
    return bool(settings.auth or settings.sasl or settings.tls)


def wants_colour(setting: str) -> bool:
    if setting in ("always", "never"):
        return setting == "always"
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _load() -> None:
    """All that a command needs, in a thread."""
    import logging

    from .. import starting  # noqa: F401
    from ..commands import load
    from . import asker, pager, standing  # noqa: F401

    # What the client would write over the screen is said above the prompt, as far as it matters to a person.
    logging.getLogger("zabpy").addHandler(logging.NullHandler())
    load()
