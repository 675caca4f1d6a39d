"""Completion in the shells of the system: ``zabsh --completion bash|zsh|fish`` prints what to put into their settings.

zsh and fish ask ``zabsh --complete WORD...``, of which the last word is the one being typed. It answers with a
candidate a line, and what it is behind a tab; or with ``:files`` where a file is to be named. Paths are asked of the
servers, which have a second to answer; whatever goes wrong, nothing is offered.

bash takes what it is offered into the line as it is: so it asks with the line, and is answered with what is to stand
there, quoted. Names of znodes come from anybody: unquoted, ``$(...)`` in one would be run.
"""

import os
import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

import click
from click.shell_completion import CompletionItem, ShellComplete

from .choosing import choose
from .command import REGISTRY, ZPath, find
from .commands import load
from .errors import ShellError
from .profiles import File, load as load_file
from .settings import Settings
from .shell import Asker

FILES = ":files"
#: For servers to tell the children of a znode.
ASK_MS = 1_000
SUBCOMMANDS = "bench config crashpoints damage dev serve shell simulate status"


def complete(program: click.Command, words: Sequence[str]) -> None:
    """Print the candidates for the last of the words that stand behind the program's name."""
    items = _found(program, words)
    if items is None:
        print(FILES)
        return
    for item in items:
        print(f"{item.value}\t{item.help}" if item.help else item.value)


def complete_in_bash(program: click.Command, asked: Sequence[str]) -> None:
    """Print what bash is to put in the place of what it completes: behind a line ``:files``, or ``:nospace`` for a
    path, which may go on, or ``:``.

    Args:
        asked: how many words the program's name has, ``$COMP_WORDBREAKS``, and the line up to the cursor.
    """
    names, breaks, line = asked
    typed = in_bash(line, breaks)
    items = _found(program, typed.words[int(names) :])
    if items is None:
        print(FILES)
        return
    print(":nospace" if items and items[0].value.startswith("/") else ":")
    stays = typed.words[-1][: typed.stays]
    for item in items:
        if item.value.startswith(stays) and item.value.isprintable():
            print(quoted_in_bash(item.value[len(stays) :], typed.quote))


def _found(program: click.Command, words: Sequence[str]) -> list[CompletionItem] | None:
    """None: the name of a file."""
    *before, typed = words or [""]
    try:
        items = _items(program, before, typed)
    except (click.UsageError, ShellError):
        return []  # what was typed so far is wrong, and will be told when it is run
    return None if any(item.type in ("file", "dir") for item in items) else items


class Typed(NamedTuple):
    """``words``: without their quotes, the last one is being typed. ``stays``: so many letters of that stand before
    what bash replaces. ``quote``: the one that is open."""

    words: list[str]
    stays: int
    quote: str


def in_bash(line: str, breaks: str) -> Typed:
    """``breaks``: letters that part words for completion, though not for the command."""
    words, quote, stays, is_escaped = [""], "", 0, False
    for char in line:
        if is_escaped:
            words[-1] += ("\\" if quote and char not in '$`"\\' else "") + char
            is_escaped = False
        elif char == "\\" and quote != "'":
            is_escaped = True
        elif quote:
            if char == quote:
                quote, stays = "", len(words[-1])
            else:
                words[-1] += char
        elif char in "'\"":
            quote, stays = char, len(words[-1])
        elif char.isspace():
            stays = 0
            if words[-1]:
                words.append("")
        else:
            words[-1] += char
            if char in breaks:
                stays = len(words[-1])
    return Typed(words, stays, quote)


def quoted_in_bash(text: str, quote: str) -> str:
    """As it stands within this quote, or without one."""
    if quote == "'":
        return text.replace("'", "'\\''")
    special = r'([$`"\\])' if quote else r"([^\w./:=,@%+-])"
    return re.sub(special, r"\\\1", text)


def _items(program: click.Command, before: list[str], typed: str) -> list[CompletionItem]:
    from .main import options_of, place

    load()
    file = load_file(os.environ)
    given = program.make_context("zabsh", list(before), resilient_parsing=True).params
    words = tuple(given.pop("words") or ())
    options = options_of(given)
    command = place(words, options, file)
    if command:
        return _of_command(command, typed, lambda parent: children_of(choose(options, os.environ, file), parent))
    items = ShellComplete(program, {}, "zabsh", "").get_completions(list(before), typed)
    if typed.startswith("-") or items or _awaits_value(program, before):
        return items if items or not before or before[-1] not in ("-p", "--profile") else _profiles(file, typed)
    return ([] if words or options.profile else _profiles(file, typed)) + _commands(typed)


def _awaits_value(program: click.Command, before: Sequence[str]) -> bool:
    options = [param for param in program.params if isinstance(param, click.Option) and not param.is_flag]
    return bool(before) and any(before[-1] in param.opts and not param.count for param in options)


def _profiles(file: File, typed: str) -> list[CompletionItem]:
    found = sorted(file.profiles.items())
    return [CompletionItem(name, help=it.servers or "") for name, it in found if name.startswith(typed)]


def _commands(typed: str) -> list[CompletionItem]:
    found = sorted(REGISTRY.items())
    return [CompletionItem(name, help=it.get_short_help_str(60)) for name, it in found if name.startswith(typed)]


def _of_command(words: Sequence[str], typed: str, children: Callable[[str], Sequence[str]]) -> list[CompletionItem]:
    command = find(words[0])
    context = command.make_context(words[0], list(words[1:]), resilient_parsing=True)
    if typed.startswith("-") and "--" not in words:
        return ShellComplete(command, {}, words[0], "").get_completions(list(words[1:]), typed)
    awaited = next((p for p in _options(command) if words[-1] in p.opts and not p.is_flag and not p.count), None)
    # The one that takes the next word: the first argument that is still empty, or takes many.
    arguments = [p for p in command.params if isinstance(p, click.Argument)]
    param = awaited or next((p for p in arguments if p.nargs == -1 or not context.params.get(p.name or "")), None)
    if param is None:
        return []
    if not isinstance(param.type, ZPath):
        return param.shell_complete(context, typed)
    parent, slash, name = typed.rpartition("/")
    names = children(parent or "/")
    return [CompletionItem(f"{parent}{slash or '/'}{each}") for each in names if each.startswith(name)]


def _options(command: click.Command) -> list[click.Option]:
    return [param for param in command.params if isinstance(param, click.Option)]


def children_of(settings: Settings, parent: str) -> list[str]:
    """The children's names, as far as they are to be had in a moment and without a password."""
    import anyio

    from zabpy.client import Client
    from zabpy.model import ZabpyError

    async def ask() -> list[str]:
        with anyio.move_on_after(ASK_MS / 1000):
            client = await settings.for_client(Asker())
            async with Client(settings.servers, connect_timeout_ms=ASK_MS, **client) as zk:
                return sorted(await zk.children(parent))
        return []

    try:
        return anyio.run(ask)
    except (ShellError, ZabpyError):
        return []


SCRIPTS = {
    "bash": """\
# Completion of NAME for bash: put `source <(NAME --completion bash)` into ~/.bashrc.
FUNCTION() {
    local line how
    COMPREPLY=()
CHECK    while IFS= read -r line; do
        if [[ -z $how ]]; then
            how=$line
        else
            COMPREPLY+=("$line")
        fi
    done < <(NAME --complete-bash SKIP "$COMP_WORDBREAKS" "${COMP_LINE:0:COMP_POINT}" 2>/dev/null)
    case $how in
        :files) compopt -o default 2>/dev/null ;;
        :nospace) compopt -o nospace 2>/dev/null ;;
    esac
}
complete -F FUNCTION PROGRAM
""",
    "zsh": """\
#compdef PROGRAM
# Completion of NAME for zsh: put `source <(NAME --completion zsh)` into ~/.zshrc, behind compinit.
FUNCTION() {
    local line
    local -a lines described paths
CHECK    lines=("${(@f)$(NAME --complete "${(@Q)words[SKIP+1,CURRENT-1]}" "${(Q)PREFIX}" 2>/dev/null)}")
    if [[ $lines[1] == ":files" ]]; then
        _files
        return
    fi
    for line in $lines; do
        if [[ $line == /* ]]; then
            paths+=("$line")
        elif [[ $line == *$'\t'* ]]; then
            described+=("${${line%%$'\t'*}//:/\\:}:${line#*$'\t'}")
        elif [[ -n $line ]]; then
            described+=("${line//:/\\:}")
        fi
    done
    (($#described)) && _describe 'NAME' described
    (($#paths)) && compadd -S '' -a paths
}
compdef FUNCTION PROGRAM
""",
    "fish": """\
# Completion of NAME for fish: put `NAME --completion fish | source` into ~/.config/fish/config.fish.
function FUNCTION
    set -l words (commandline -opc)
    set -l typed (commandline -ct | string unescape)
    test -z "$typed"; and set typed ""
CHECK    set -l lines (NAME --complete $words[(math SKIP + 1)..-1] $typed 2>/dev/null)
    if test "$lines[1]" = ":files"
        __fish_complete_path $typed
        return
    end
    string join \\n $lines
end
complete -c PROGRAM -f -a '(FUNCTION)'
""",
}
#: For `zabpy shell`: the first word behind the program's name.
CHECKS = {
    "bash": """\
    local words typed
    read -ra words <<< "${COMP_LINE:0:COMP_POINT}"
    [[ ${COMP_LINE:0:COMP_POINT} == *[[:space:]] ]] && words+=("")
    typed=${words[${#words[@]}-1]}
    if ((${#words[@]} < 3)); then
        mapfile -t COMPREPLY < <(compgen -W "SUBCOMMANDS" -- "$typed")
        return
    elif [[ ${words[1]} != shell ]]; then
        compopt -o default 2>/dev/null
        return
    fi
""",
    "zsh": """\
    if ((CURRENT < 3)); then
        compadd SUBCOMMANDS
        return
    elif [[ $words[2] != shell ]]; then
        _files
        return
    fi
""",
    "fish": """\
    if test (count $words) -lt 2
        string join \\n (string split ' ' 'SUBCOMMANDS')
        return
    else if test "$words[2]" != shell
        __fish_complete_path $typed
        return
    end
""",
}


def script_for(shell: str, name: str) -> str:
    """The script for ``bash``, ``zsh`` or ``fish``. ``name``: how we are called, ``zabsh`` or ``zabpy shell``."""
    program, *inner = name.split()
    function = "_" + "_".join([program, *inner])
    replaced = {
        "CHECK": CHECKS[shell] if inner else "",
        "SUBCOMMANDS": SUBCOMMANDS,
        "FUNCTION": function,
        "PROGRAM": program,
        "NAME": name,
        "SKIP": str(1 + len(inner)),
    }
    text = SCRIPTS[shell]
    for each, value in replaced.items():
        text = text.replace(each, value)
    return text
