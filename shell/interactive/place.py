"""What each word of a line is to its command: what completion, highlighting and validation have in common.

As far as can be said while it is typed, and without raising anything: click has the last word when the line is run.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

import click

from ..command import REGISTRY, Command, ZPath
from ..line import Statement, Word, parse_so_far


class Kind(Enum):
    COMMAND = "command"
    FLAG = "flag"
    VALUE = "value"
    END = "--"


@dataclass(slots=True)
class Part:
    """One word. ``known``: there is such a command or flag. ``param``: what it is a value of, or the flag itself.
    ``typed``: its value; of ``--flag=value`` what is behind the sign, which stands at ``start``."""

    kind: Kind
    start: int
    end: int
    typed: str
    known: bool = True
    param: click.Parameter | None = None
    is_pattern: bool = False


def command_of(name: str) -> Command | None:
    """As `command.find`, without the error."""
    found = REGISTRY.get(name)
    if found is None:
        found = next((it for each, it in REGISTRY.items() if each.lower() == name.lower()), None)
    return found


def options_of(command: Command) -> dict[str, click.Option]:
    """Each spelling of each flag."""
    found = {}
    for param in command.params:
        if isinstance(param, click.Option):
            for each in (*param.opts, *param.secondary_opts):
                found[each] = param
    return found


def takes_value(option: click.Option) -> bool:
    return not option.is_flag and not option.count


def is_path(param: click.Parameter | None) -> bool:
    """Whether it stands for znodes, be it under another type than `ZPath`."""
    if param is None:
        return False
    return isinstance(param.type, ZPath) or (param.type is click.STRING and (param.name or "").startswith("path"))


def is_taken(part: Part) -> bool:
    """Whether it is not a path of this tree, though it stands where one is expected: a URL, a part of a value."""
    kind = part.param.type if part.param is not None else None
    try:
        return isinstance(kind, ZPath) and kind.taken(part.typed) is not None
    except Exception:  # it is neither, or not yet
        return True


def parts(text: str, statement: Statement) -> Iterator[Part]:
    """All words of a statement, in order."""
    words = statement.words
    if not words:
        return
    command = command_of(words[0])
    yield Part(Kind.COMMAND, words[0].start, words[0].end, words[0], command is not None)
    if command is None:
        yield from (_value(word, None) for word in words[1:])
        return
    options = options_of(command)
    arguments = [each for each in command.params if isinstance(each, click.Argument)]
    arguments_taken = 0
    flags_over = False
    awaited: list[click.Parameter] = []  # an option whose values are still to come, once for each
    for word in words[1:]:
        if awaited:
            yield _value(word, awaited.pop())
        elif word == "--" and not flags_over:
            flags_over = True
            yield Part(Kind.END, word.start, word.end, word)
        elif not flags_over and len(word) > 1 and text[word.start] == "-":
            name, sign, value = word.partition("=")
            option = options.get(name) or _short(options, word)
            if option is None or not sign:
                yield Part(Kind.FLAG, word.start, word.end, word, option is not None, option)
                if option is not None and takes_value(option) and (word in options or _ends_short(options, word)):
                    awaited = [option] * option.nargs
            else:
                at = text.index("=", word.start) + 1
                yield Part(Kind.FLAG, word.start, at, name + sign, True, option)
                yield Part(Kind.VALUE, at, word.end, value, True, option, word.pattern is not None)
        else:
            flags_over = flags_over or not command.context_settings.get("allow_interspersed_args", True)
            yield _value(word, _argument(arguments, arguments_taken))
            arguments_taken += 1


def _value(word: Word, param: click.Parameter | None) -> Part:
    return Part(Kind.VALUE, word.start, word.end, word, True, param, word.pattern is not None)


def _argument(arguments: list[click.Argument], at: int) -> click.Argument | None:
    for each in arguments:
        if each.nargs < 0 or at < each.nargs:
            return each
        at -= each.nargs
    return None


def _short(options: dict[str, click.Option], word: str) -> click.Option | None:
    """The last flag of ``-lR``, or the one of ``-n5``; None if one of them is unknown."""
    if word.startswith("--"):
        return None
    found = None
    for letter in word[1:]:
        found = options.get("-" + letter)
        if found is None or takes_value(found):
            return found
    return found


def _ends_short(options: dict[str, click.Option], word: str) -> bool:
    """Whether the value of ``-xn`` is the next word."""
    return "-" + word[-1] in options and all(
        "-" + each in options and not takes_value(options["-" + each]) for each in word[1:-1]
    )


@dataclass(slots=True)
class Cursor:
    """What is being typed: `part` up to the cursor, in `command`, the words before it in ``before``. ``is_file``: of
    this machine. ``part`` is None in what is not ours: a comment, another shell's command."""

    part: Part | None
    command: Command | None = None
    is_file: bool = False
    before: tuple[Part, ...] = ()


def cursor(text: str) -> Cursor:
    """``text``: up to the cursor."""
    end = len(text)
    statement = parse_so_far(text)[-1]
    if statement.pipe is not None:
        return Cursor(None)
    if statement.target is not None and statement.target.end == end:
        return Cursor(Part(Kind.VALUE, statement.target.start, end, statement.target), is_file=True)
    gap = text[statement.words[-1].end if statement.words else statement.start :]
    if "#" in gap or ">" in gap or "&" in gap:
        return Cursor(None)
    if not statement.words or statement.words[-1].end < end:
        statement.words.append(Word.of("", end, end))
        # An empty word has no first letter to look at.
        *before, last = parts(text + " ", statement)
    else:
        *before, last = parts(text, statement)
    begins_flag = text[last.start :] == "-" and not any(each.kind is Kind.END for each in before)
    if last.kind is Kind.END or (begins_flag and not isinstance(last.param, click.Option)):
        last.kind = Kind.FLAG
    return Cursor(last, command_of(statement.words[0]), before=tuple(before))
