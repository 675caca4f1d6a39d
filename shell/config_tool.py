"""``zabpy config``: the config store, for people, scripts, and programs that know nothing of it.

    zabpy config [OPTIONS] VERB [ARGUMENTS...]

Where to connect to and how is said as to ``zabpy shell``: by the same options, variables and profiles. The verbs stand
in config_verbs.py. What is printed, in which format, and the statuses are the shell's, too.
"""

import os
import sys
import threading
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn

import click

from .choosing import choose
from .errors import ShellError, Status, UsageError
from .looks import harmless
from .main import options_of, zabsh
from .profiles import load
from .shell import Shell

if TYPE_CHECKING:
    from zabpy.config import Layer, Reveal, Secrets

#: Of ``zabpy shell``'s options, those that say where to connect to, and how to print.
SHARED = frozenset(
    "servers profile format colour timeout_ms session_timeout_ms read_only yes confirm auth sasl tls tls_ca"
    " tls_certificate tls_key tls_server_name tls_any_name".split()
)

Run = Callable[..., Awaitable[int | None]]


@dataclass
class Tool:
    """What verbs are given. ``chroot``: what ``namespace`` is below of, by the servers' own names."""

    shell: Shell
    namespace: str
    layers: tuple[str, ...] = ()
    keys: str | None = None
    chroot: str = ""
    #: Once they were read.
    _secrets: "Secrets | None" = field(default=None, repr=False)

    async def secrets(self) -> "Secrets | None":
        """Raises `KeySourceError`. None where no keys were given."""
        import anyio

        from zabpy.config import Keyring, Secrets

        if self._secrets is None and self.keys is not None:
            keys = await anyio.to_thread.run_sync(Keyring.load, self.keys)
            self._secrets = Secrets(keys, f"{self.chroot}{self.namespace}")
        return self._secrets

    async def reveal(self) -> "Reveal | None":
        secrets = await self.secrets()
        return None if secrets is None else secrets.reveal

    async def read(self, layers: Sequence[str] | None = None) -> "tuple[int, tuple[Layer, ...]]":
        """The revision, and the default layer and these; those of ``--layer`` unless told."""
        from zabpy.config import DEFAULT, Layer, read

        names = [DEFAULT, *(name for name in (self.layers if layers is None else layers) if name != DEFAULT)]
        zk = await self.shell.zk()
        seen = await read(zk, self.namespace, names)
        found: dict[str, dict[str, bytes]] = {name: {} for name in names}
        for (layer, key), value in seen.entries.items():
            found[layer][key] = value
        return seen.revision, tuple(Layer(name, entries) for name, entries in found.items())

    async def layer_names(self) -> list[str]:
        """Of all layers there are, but the default one."""
        from zabpy.model import NoNodeError

        try:
            return sorted(await (await self.shell.zk()).children(f"{self.namespace}/.layers"))
        except NoNodeError:
            return []

    async def schema(self) -> bytes | None:
        from zabpy.model import NoNodeError

        try:
            return (await (await self.shell.zk()).get(f"{self.namespace}/.schema")).data
        except NoNodeError:
            return None


class Verb(click.Command):
    def __init__(self, name: str, run: Run, **settings: Any) -> None:
        super().__init__(name, callback=None, **settings)
        self.run = run

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        # click would put the arguments of what is above in between: VERB itself.
        above = [] if ctx.parent is None else [ctx.parent.info_name or ""]
        formatter.write_usage(" ".join([*above, ctx.info_name or ""]), " ".join(self.collect_usage_pieces(ctx)))


VERBS: dict[str, Verb] = {}


def verb(name: str, *, interspersed: bool = True, negative: bool = False) -> Callable[[Run], Run]:
    """Make a verb of an async function whose first parameter is the `Tool`, and whose docstring is the help.

    ``negative``: its arguments are numbers, which may look like flags: -2.
    """

    def made(run: Run) -> Run:
        import inspect

        VERBS[name] = Verb(
            name,
            run,
            params=list(reversed(getattr(run, "__click_params__", []))),
            help=inspect.cleandoc(run.__doc__ or ""),
            context_settings={
                "allow_interspersed_args": interspersed,
                "ignore_unknown_options": negative,
                "help_option_names": ["-h", "--help"],
            },
        )
        return run

    return made


def load_verbs() -> dict[str, Verb]:
    """All of them, by name."""
    from . import config_commits, config_edit, config_verbs  # noqa: F401  they register themselves

    return VERBS


def main(arguments: list[str] | None = None, prog_name: str = "zabpy config") -> NoReturn:
    verbs = load_verbs()
    arguments = sys.argv[1:] if arguments is None else arguments
    status: int | None
    try:
        status = _command().main(arguments or ["--help"], prog_name=prog_name, standalone_mode=False)
    except click.UsageError as error:
        within = error.ctx.info_name if error.ctx else None
        what = f"{prog_name} {within}" if within in verbs else prog_name
        print(f"{prog_name}: {error.format_message()} Try '{what} --help'.", file=sys.stderr)
        status = Status.USAGE
    except ShellError as error:
        print(f"{prog_name}: {harmless(str(error))}", file=sys.stderr)
        status = error.status
    except (click.Abort, KeyboardInterrupt):
        status = Status.INTERRUPTED
    if threading.active_count() > 1:
        os._exit(int(status or 0))
    sys.exit(int(status or 0))


def _command() -> click.Command:
    verbs = load_verbs()
    width = max(map(len, verbs))
    lines = "\n".join(f"{name:{width}}  {each.get_short_help_str(90)}" for name, each in verbs.items())
    shared = [param for param in zabsh.params if param.name in SHARED]
    return click.Command(
        "config",
        callback=_main,
        help="The config store: settings that change by commits, and whoever is to have them.",
        epilog=f"\b\n{lines}\n\n{EPILOG}",
        params=[
            click.Option(
                ["-n", "--namespace"],
                metavar="PATH",
                envvar="ZABPY_CONFIG_NAMESPACE",
                help="Where the settings are, such as /config/app.",
            ),
            click.Option(
                ["-l", "--layer", "layers"], multiple=True, metavar="NAME", help="Above the default; the later wins."
            ),
            click.Option(
                ["--keys"],
                metavar="SOURCE",
                envvar="ZABPY_CONFIG_KEYS",
                help="Of secrets: file:PATH, env:NAME or command:LINE.",
            ),
            *shared,
            click.Argument(["words"], nargs=-1, type=click.UNPROCESSED, metavar="VERB [ARGUMENTS...]"),
        ],
        context_settings={
            "help_option_names": ["-h", "--help"],
            "allow_interspersed_args": False,
            "max_content_width": 110,
        },
    )


EPILOG = """\
ZABPY_CONFIG_NAMESPACE and ZABPY_CONFIG_KEYS stand for --namespace and --keys; the others are those of zabpy shell.

\b
Status: 0 done, 1 no such key or the answer is no (validate: something does not fit), 2 wrong usage, 3 conflict,
4 denied, 5 no connection, 6 out of time, 7 partly done (render: see what was said), 8 failed, 130 interrupted;
run: the command's own, 128 and the signal that ended it, 126 and 127 where it could not be started.
"""


def _main(
    words: tuple[str, ...], namespace: str | None, layers: tuple[str, ...], keys: str | None, **given: Any
) -> int:
    from .oneshot import within

    if not words:
        raise click.UsageError("Which verb?")
    found, params = parsed(words)
    settings = choose(options_of(given), os.environ, load(os.environ))
    if namespace is None and found.name not in ALONE:
        raise click.UsageError("--namespace is missing: where are the settings, such as /config/app?")
    chroot = settings.servers.partition("/")[2].strip("/")

    async def body(shell: Shell) -> int:
        place = shell.path(namespace or "/")
        tool = Tool(shell, place, layers, keys, f"/{chroot}" if chroot else "")
        return await run(tool, found, params)

    return within(settings, body)


#: These need no namespace.
ALONE = frozenset({"keygen"})


def parsed(words: Sequence[str]) -> tuple[Verb, dict[str, Any]]:
    """Raises `click.UsageError`."""
    verbs = load_verbs()
    found = verbs.get(words[0])
    if found is None:
        import difflib

        near = difflib.get_close_matches(words[0], verbs, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise click.UsageError(f"{words[0]}: no such verb.{hint}")
    parent = click.get_current_context(silent=True)
    with found.make_context(found.name, list(words[1:]), parent=parent) as context:
        return found, dict(context.params)


async def run(tool: Tool, found: Verb, params: dict[str, Any]) -> int:
    """The verb's status. What went wrong is told."""
    from .problems import status_of, told

    out = tool.shell.out
    status: int | None = None
    try:
        status = await found.run(tool, **params)
    except Exception as error:
        met: BaseException = error
        while isinstance(met, BaseExceptionGroup) and len(met.exceptions) == 1:
            met = met.exceptions[0]
        text = told(met)
        if text is None:
            raise
        status = verb_status(met, status_of(met))
        if text:
            await out.tell(f"{found.name}: {text}")
    try:
        await out.end()
    except BrokenPipeError:
        status = status or Status.PIPE
    return int(status or 0)


def verb_status(error: BaseException, otherwise: int) -> int:
    """What a verb that raises this ends with; ``otherwise``: what any command would."""
    from zabpy.config import (
        BadNameError,
        BadSettingsError,
        CanaryError,
        NoConfigStoreError,
        NotReadyError,
        StaleBaseError,
        UnknownRevisionError,
    )

    if isinstance(error, NoConfigStoreError | BadSettingsError | UnknownRevisionError):
        return Status.NO
    if isinstance(error, StaleBaseError | CanaryError):
        return Status.CONFLICT
    if isinstance(error, BadNameError):
        return Status.USAGE
    return Status.CONNECTION if isinstance(error, NotReadyError) else otherwise


__all__ = ["Tool", "UsageError", "load_verbs", "main", "parsed", "run", "verb", "verb_status"]
