"""Completion in the shells of the system: ``zabsh --completion bash|zsh|fish`` prints what to put into their settings.

All three ask ``zabsh --complete WORD...``, of which the last word is the one being typed. It answers with a candidate a
line, and what it is behind a tab; or with ``:files`` where a file is to be named. Paths are asked of the servers, which
have a second to answer; whatever goes wrong, nothing is offered.
"""

import os
from collections.abc import Callable, Sequence

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
SUBCOMMANDS = "bench dev serve shell simulate status"


def complete(program: click.Command, words: Sequence[str]) -> None:
    """Print the candidates for the last of the words that stand behind the program's name."""
    *before, typed = words or [""]
    try:
        items = _items(program, before, typed)
    except (click.UsageError, ShellError):
        return  # what was typed so far is wrong, and will be told when it is run
    for item in items:
        if item.type in ("file", "dir"):
            print(FILES)
            return
        print(f"{item.value}\t{item.help}" if item.help else item.value)


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
    local IFS=$' \\t\\n' words line typed before
    read -ra words <<< "${COMP_LINE:0:COMP_POINT}"
    [[ ${COMP_LINE:0:COMP_POINT} == *[[:space:]] ]] && words+=("")
    typed=${words[${#words[@]}-1]}
    COMPREPLY=()
CHECK    while IFS= read -r line; do
        if [[ $line == ":files" ]]; then
            compopt -o default 2>/dev/null
            return
        fi
        COMPREPLY+=("${line%%$'\\t'*}")
    done < <(NAME --complete "${words[@]:SKIP}" 2>/dev/null)
    # bash takes what stands behind : and = for a word of its own.
    before=${typed%"${typed##*[:=]}"}
    COMPREPLY=("${COMPREPLY[@]#"$before"}")
    [[ ${COMPREPLY[0]} == /* ]] && compopt -o nospace 2>/dev/null
}
complete -F FUNCTION PROGRAM
""",
    "zsh": """\
#compdef PROGRAM
# Completion of NAME for zsh: put `source <(NAME --completion zsh)` into ~/.zshrc, behind compinit.
FUNCTION() {
    local line
    local -a lines described
CHECK    lines=("${(@f)$(NAME --complete "${(@)words[SKIP+1,CURRENT]}" 2>/dev/null)}")
    if [[ $lines[1] == ":files" ]]; then
        _files
        return
    fi
    for line in $lines; do
        [[ -n $line ]] && described+=("${${line%%$'\\t'*}//:/\\\\:}:${line#*$'\\t'}")
    done
    _describe 'NAME' described
}
compdef FUNCTION PROGRAM
""",
    "fish": """\
# Completion of NAME for fish: put `NAME --completion fish | source` into ~/.config/fish/config.fish.
function FUNCTION
    set -l words (commandline -opc)
    set -l typed (commandline -ct)
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
