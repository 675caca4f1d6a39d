"""What a command is: an async function with click's arguments, under one or more names.

    @command("stat", group="Look", aliases=("exists",))
    @click.argument("path", type=ZPath(), default=".")
    async def stat(shell: Shell, path: str) -> None:
        '''What the servers know of a znode.'''

click takes the words apart, checks them and writes the help; what it is told here also serves completion and
highlighting. Arguments of type `ZPath` reach the function as full paths, with patterns expanded. A command returns its
status, None for 0, or raises; what it prints goes to ``shell.out``.
"""

import inspect
import re
from collections.abc import Awaitable, Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NoReturn

import click

from .errors import UsageError
from .line import Word
from .location import Znode, of_url
from .output import FORMATS

if TYPE_CHECKING:
    from .settings import Rules
    from .shell import Shell

Run = Callable[..., Awaitable[int | None]]

#: In the order in which help shows them.
GROUPS = ("Look", "Change", "Move", "Watch", "Access", "Coordinate", "Ensemble", "Shell", "zkCli.sh")


#: What every command's ``--output`` is called among its parameters.
FORMAT = "output_format"


class ZPath(click.ParamType[str]):
    """A znode's path, full or from where one is. ``glob``: patterns stand for all paths that match, at least one.
    ``new``: it need not exist, so that nothing is wrong with one that is unknown. ``slash``: one at the end is kept."""

    name = "path"

    def __init__(self, *, glob: bool = True, new: bool = False, slash: bool = False) -> None:
        self.glob, self.new, self.slash = glob, new, slash

    def taken(self, word: str) -> object:
        """What the command gets for a word that is no path; None for one that is."""
        return None


class ZLocation(ZPath):
    """A znode here, one in another cluster, or a file: the command gets a `Location`. Here patterns are expanded."""

    name = "location"

    def taken(self, word: str) -> object:
        found = of_url(word)
        if self.slash and isinstance(found, Znode) and word.endswith("/") and found.path != "/":
            return Znode(found.path + "/", found.servers)
        return found


class Duration(click.ParamType[int]):
    """``500ms``, ``30s``, ``5m``, ``2h``, ``1d``, or a bare number of seconds; the command gets ms."""

    name = "time"
    UNITS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        text = str(value)
        number = text.rstrip("msdh")
        try:
            ms = round(float(number) * self.UNITS[text[len(number) :] or "s"])
        except (ValueError, KeyError, OverflowError):
            ms = -1
        if ms < 0:
            self.fail(f"{text!r}: expected a time such as 500ms, 30s, 5m, 2h or 1d", param, ctx)
        return ms


class Size(click.ParamType[int]):
    """``10``, ``10k``, ``1.5M``, ``2G``: bytes, in powers of 1,024."""

    name = "size"
    UNITS = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        text = str(value)
        number = text.rstrip("bBkKmMgG")
        try:
            size = round(float(number) * self.UNITS[text[len(number) :].lower()])
        except (ValueError, KeyError, OverflowError):
            size = -1
        if size < 0:
            self.fail(f"{text!r}: expected a size such as 10, 10k or 1.5M", param, ctx)
        return size


class HelpAsked(Exception):
    """``--help`` stands among the words."""


class Command(click.Command):
    """``writes``: it changes znodes, so a read-only shell refuses it. ``aliases``: its other names. ``hidden`` ones are
    spellings for muscle memory, and stand only in their own help. ``secret``: its line may have a password in it, and
    is not kept. ``same_as``: the command of which it is a spelling with a page of its own; who forbids that forbids it.
    """

    def __init__(
        self,
        name: str,
        *,
        run: Run,
        group: str,
        writes: bool,
        aliases: Sequence[str],
        secret: bool = False,
        same_as: str = "",
        **settings: Any,
    ) -> None:
        super().__init__(name, callback=None, add_help_option=False, **settings)
        if not any("--output" in param.opts for param in self.params):
            help = "How results are printed."
            self.params.append(click.Option(["--output", FORMAT], type=click.Choice(FORMATS), help=help))
        self.run, self.group, self.writes, self.aliases = run, group, writes, tuple(aliases)
        self.secret, self.same_as = secret, same_as

    def parse(self, name: str, words: Sequence[Word]) -> click.Context:
        """The arguments, taken apart and checked, but for what only the servers know.

        Raises:
            click.UsageError: what is wrong with which one.
            HelpAsked: instead.
        """
        before = words[: words.index("--")] if "--" in words else words
        if "--help" in before:
            raise HelpAsked
        try:
            return self.make_context(name, list(words))
        except click.UsageError as error:
            if self.secret:
                raise click.UsageError(_without(words[1:], error.format_message()), error.ctx) from None
            raise

    def is_forbidden(self, rules: "Rules") -> bool:
        """By any of its names."""
        return rules.forbids(self.same_as or self.name or "")

    def usage(self) -> str:
        """``ls [OPTIONS] [PATH]...``"""
        return " ".join([self.name or "", *self.collect_usage_pieces(click.Context(self, info_name=self.name))])


def _without(words: Sequence[str], text: str) -> str:
    """A complaint that shows none of these words, one of which may be a password; but what --output is said to be."""
    kept = {word for before, word in pairwise(("", *words)) if before == "--output"}
    shown = {*words, *(word.partition("=")[0] for word in words if word.startswith("-"))} - kept - {"", "--output"}
    for word in sorted(shown, key=len, reverse=True):
        text = re.sub(rf"(?<!\w){re.escape(word)}(?!\w)", "***", text)
    return text


REGISTRY: dict[str, Command] = {}


def command(
    name: str,
    *,
    group: str,
    writes: bool = False,
    aliases: Sequence[str] = (),
    interspersed: bool = True,
    hidden: bool = False,
    secret: bool = False,
    same_as: str = "",
) -> Callable[[Run], Run]:
    """Make a command of an async function whose first parameter is the shell, and whose docstring is the help.

    Args:
        interspersed: flags may stand behind arguments. Not for commands that take another command line.
    """
    assert group in GROUPS, group

    def made(run: Run) -> Run:
        params = list(reversed(getattr(run, "__click_params__", [])))
        made = Command(
            name,
            run=run,
            group=group,
            writes=writes,
            aliases=aliases,
            secret=secret,
            same_as=same_as,
            params=params,
            help=inspect.cleandoc(run.__doc__ or ""),
            hidden=hidden,
            context_settings={"allow_interspersed_args": interspersed},
        )
        for each in (name, *aliases):
            assert each not in REGISTRY, f"two commands are called {each}"
            REGISTRY[each] = made
        return run

    return made


def find(name: str) -> Command:
    """The command of that name; capitals do not matter where there is no other.

    Raises:
        UsageError: there is none; it names the nearest.
    """
    found = REGISTRY.get(name)
    if found is None:
        found = {each.lower(): it for each, it in REGISTRY.items()}.get(name.lower())
    if found is None:
        _unknown(name)
    return found


def _unknown(name: str) -> NoReturn:
    import difflib

    near = difflib.get_close_matches(name.lower(), [each.lower() for each in REGISTRY], n=1, cutoff=0.5)
    hint = f"; did you mean {next(each for each in REGISTRY if each.lower() == near[0])}?" if near else ""
    raise UsageError(f"{name}: no such command{hint}")


async def expanded(shell: "Shell", context: click.Context) -> dict[str, Any]:
    """The parameters of a command, as it gets them."""
    params = dict(context.params)
    for param in context.command.params:
        kind, value = param.type, params.get(param.name or "")
        if not isinstance(kind, ZPath) or value is None:
            continue
        words = value if isinstance(value, tuple | list) else [value]
        paths: list[object] = []
        for word in words:
            if (taken := kind.taken(word)) is not None:
                paths.append(taken)
                continue
            here = await shell.paths(word, glob=kind.glob)
            if kind.slash and word.endswith("/") and here != ["/"]:
                here = [f"{path}/" for path in here]
            paths += map(Znode, here) if isinstance(kind, ZLocation) else here
        if isinstance(value, tuple | list):
            params[param.name or ""] = tuple(paths)
        elif len(paths) == 1:
            params[param.name or ""] = paths[0]
        else:
            raise UsageError(f"{value}: stands for {len(paths)} znodes, where one is expected")
    return params
