"""What could be typed here. Never waits for a server: what is not known yet is asked for, and the menu opens when it is
there, if the person still stands at the same place.
"""

import asyncio
import os
from collections.abc import AsyncGenerator, Callable, Iterable

import click
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.formatted_text import StyleAndTextTuples

from ..command import REGISTRY, ZLocation
from ..line import quoted
from ..looks import quotable
from .fuzzy import fitting
from .known import Known
from .place import Cursor, Kind, Part, cursor, is_path, is_taken, options_of, takes_value

#: So many are offered of what may be very many.
SHOWN_MAX = 200
#: Local directories may be somebody else's disk.
FILES_WAIT_S = 0.5
#: What stands before a file where a znode could stand, too.
FILE = "file:"


class ShellCompleter(Completer):
    """``full_path`` makes a path of what was typed, or raises."""

    def __init__(self, known: Known, full_path: Callable[[str], str]) -> None:
        self._known, self._full_path = known, full_path
        #: Where the person stood when something was not known yet, and whether they had asked for a completion.
        self.waiting: tuple[Document, bool] | None = None
        #: What is said about the menu.
        self.note = ""

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        return ()  # the other one is what is called

    async def get_completions_async(
        self, document: Document, complete_event: CompleteEvent
    ) -> AsyncGenerator[Completion, None]:
        self.waiting, self.note = None, ""
        here = cursor(document.text_before_cursor)
        part = here.part
        if part is None:
            return
        if part.kind is Kind.COMMAND:
            found = self._commands(part)
        elif here.is_file or (part.param is not None and isinstance(part.param.type, click.Path | click.File)):
            found = self._files(part)
        elif part.typed.startswith(FILE) and isinstance(part.param and part.param.type, ZLocation):
            found = self._files(part, FILE)
        elif part.kind is Kind.FLAG or (part.kind is Kind.VALUE and not part.typed and _asks_nothing(here)):
            found = self._flags(here, part)
        elif isinstance(part.param and part.param.type, click.Choice):
            found = self._choices(part)
        elif part.param is not None and part.param.name == "name" and here.command and here.command.name == "help":
            found = self._commands(part)
        elif is_path(part.param) and not part.is_pattern and not is_taken(part):
            found = self._paths(document, part, complete_event.completion_requested)
        else:
            return
        async for each in found:
            yield each

    async def _commands(self, part: Part) -> AsyncGenerator[Completion, None]:
        names = sorted(name for name, it in REGISTRY.items() if not it.hidden and name[0].isalpha())
        hidden = sorted(name for name, it in REGISTRY.items() if it.hidden and part.typed and name[0].isalpha())
        shown = [name async for name in fitting(names, part.typed, SHOWN_MAX)]
        shown += [name async for name in fitting(hidden, part.typed, SHOWN_MAX) if name.startswith(part.typed)]
        if shown == [part.typed]:
            return
        for name in shown:
            yield _offer(name, part, name, REGISTRY[name].get_short_help_str(60))

    async def _flags(self, here: Cursor, part: Part) -> AsyncGenerator[Completion, None]:
        assert here.command is not None
        given = {each.param for each in here.before if each.kind is Kind.FLAG}
        options = {
            name: option
            for name, option in options_of(here.command).items()
            if (option not in given or option.multiple) and not option.hidden
        }
        if not any(option.name == "help" for option in options.values()) and part.typed.startswith("--"):
            options["--help"] = click.Option(["--help"], is_flag=True, help="How it is used.")
        async for name in fitting(sorted(options), part.typed, SHOWN_MAX):
            option = options[name]
            value = f" {(option.metavar or option.type.name).upper()}" if takes_value(option) else ""
            if name != part.typed:
                yield _offer(name, part, name + value, option.help or "")

    async def _choices(self, part: Part) -> AsyncGenerator[Completion, None]:
        assert part.param is not None and isinstance(part.param.type, click.Choice)
        async for name in fitting(sorted(map(str, part.param.type.choices)), part.typed, SHOWN_MAX):
            yield _offer(quoted(name), part, name)

    async def _files(self, part: Part, scheme: str = "") -> AsyncGenerator[Completion, None]:
        folder, slash, name = part.typed.removeprefix(scheme).rpartition("/")
        try:
            listing = asyncio.to_thread(_local, folder + slash)
            names = await asyncio.wait_for(listing, FILES_WAIT_S)
        except (OSError, TimeoutError):
            return
        names = [each for each in names if name.startswith(".") or not each.startswith(".")]
        async for each in fitting(names, name, SHOWN_MAX):
            yield _offer(quoted(scheme + folder + slash + each), part, each)

    async def _paths(self, document: Document, part: Part, was_asked: bool) -> AsyncGenerator[Completion, None]:
        folder, slash, name = part.typed.rpartition("/")
        try:
            parent = self._full_path(folder + slash or ".")
        except Exception:  # it is no path yet; if it stays so, the command will say why
            return
        is_known, names = self._known.children(parent)
        if not is_known:
            self.waiting = (document, was_asked)
            return
        shown = 0
        async for each in fitting(names or (), name, SHOWN_MAX):
            shown += 1
            if each == name and shown == 1:
                continue  # it is there already
            yield _offer(quoted(folder + slash + each), part, _marked(each, name))
        if shown == SHOWN_MAX and names:
            self.note = f"{shown} shown; {parent} has {len(names):,} children"


def _asks_nothing(here: Cursor) -> bool:
    """Nothing but flags can follow."""
    part = here.part
    return part is not None and part.param is None and here.command is not None and not _is_other_line(here)


def _is_other_line(here: Cursor) -> bool:
    return any(each.kind is Kind.END for each in here.before)


def _offer(text: str, part: Part, display: StyleAndTextTuples | str, meta: str = "") -> Completion:
    return Completion(text, part.start - part.end, display=display, display_meta=meta)


def _marked(name: str, typed: str) -> StyleAndTextTuples:
    """The letters that fit stand out."""
    if not typed or name.startswith(typed) or not name.isprintable():
        return [("", quotable(name))]
    at = name.lower().find(typed.lower())
    marked = set(range(at, at + len(typed))) if at >= 0 else set()
    if at < 0:
        found = 0
        for place, letter in enumerate(name):
            if found < len(typed) and letter.lower() == typed[found].lower():
                marked.add(place)
                found += 1
    return [("class:match" if place in marked else "", letter) for place, letter in enumerate(name)]


def _local(folder: str) -> list[str]:
    with os.scandir(os.path.expanduser(folder) or ".") as entries:
        return sorted(each.name + ("/" if each.is_dir() else "") for each in entries)
