"""``zabpy``: arguments to one call each.

May import: zabpy.server, zabpy.dev, zabpy.testing, zabpy.bench; click, trio; and the shell, by the name that it is
installed under, since what checks types knows it as `shell`. All of them inside the subcommand, because
a server is to serve a moment after it was started. ``zabpy serve FILE`` itself goes past click for the same reason.

What goes wrong for a reason that a person can mend is one line on stderr and an exit status: 2 for what was asked (an
argument, the config), 1 for what was met (a port in use, a full disk).
"""

import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    import click


def main() -> NoReturn:
    arguments = sys.argv[1:]
    if len(arguments) == 2 and arguments[0] == "serve" and not arguments[1].startswith("-"):
        sys.exit(serve(arguments[1]))
    if arguments[:1] == ["shell"]:  # it reads its arguments itself, and its prompt is to be there at once
        import_module("zabpy_shell.main").main(arguments[1:], "zabpy shell")
    if arguments[:1] == ["config"]:  # the same
        import_module("zabpy_shell.config_tool").main(arguments[1:], "zabpy config")
    import click

    try:
        sys.exit(commands().main(arguments or ["--help"], prog_name="zabpy", standalone_mode=False) or 0)
    except click.UsageError as error:
        what = error.ctx.command_path if error.ctx else "zabpy"
        sys.exit(_told(ConfusedError(f"{error.format_message().rstrip('.')}. Try '{what} --help'."), 2))
    except click.ClickException as error:
        sys.exit(_told(ConfusedError(error.format_message()), 2))
    except click.Abort:
        sys.exit(130)


class ConfusedError(Exception):
    """The arguments are not what a command takes."""


def serve(path: str) -> int:
    """Run one server until SIGTERM or Ctrl-C; return the exit status."""
    from zabpy.server.config import load
    from zabpy.server.config_text import ConfigError

    try:
        config = load(path)
    except ConfigError as error:
        return _told(error, 2)

    import trio

    from zabpy.server.clock import SystemClock
    from zabpy.server.log import Log
    from zabpy.server.main import serve as serve_config

    log = Log(SystemClock(), server_id=config.server_id)
    for line in config.warnings:
        log("config_warning", why=line)
    for line in config.notices:
        log("config_notice", why=line)
    try:
        trio.run(serve_config, config)
    except KeyboardInterrupt:
        return 130
    except BaseException as error:
        return _met(error)
    return 0


def _met(error: BaseException) -> int:
    """Tell in one line what a person can mend; anything else is a bug of ours and keeps its traceback."""
    from zabpy.model import ZabpyError

    leaves = list(_leaves(error))
    if leaves and all(isinstance(leaf, KeyboardInterrupt) for leaf in leaves):
        return 130
    for leaf in leaves:
        if not isinstance(leaf, (ZabpyError, OSError, KeyboardInterrupt)):
            raise error
    return _told(next(leaf for leaf in leaves if not isinstance(leaf, KeyboardInterrupt)), 1)


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from _leaves(each)
    else:
        yield error


def _told(error: BaseException, status: int) -> int:
    text = str(error)
    if isinstance(error, OSError) and error.strerror:
        text = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    print(f"zabpy: {' '.join(text.split())}", file=sys.stderr, flush=True)
    return status


def commands() -> "click.Group":
    """The subcommands, with their help."""
    import click

    from zabpy import __version__

    @click.group(context_settings={"help_option_names": ["-h", "--help"]})
    @click.version_option(__version__, prog_name="zabpy")
    def zabpy() -> None:
        """A ZooKeeper-compatible coordination service."""

    @zabpy.command("serve")
    @click.argument("config", type=click.Path())
    def serve_command(config: str) -> None:
        """Run one server in the foreground, as the zoo.cfg CONFIG says."""
        sys.exit(serve(config))

    @zabpy.command()
    @click.option("--servers", type=click.IntRange(1, 15), default=3, show_default=True, help="How many.")
    @click.option(
        "--port",
        type=click.IntRange(0, 65535),
        default=2181,
        show_default=True,
        help="Of the first server's clients; the next servers' follow. 0: any free ones.",
    )
    @click.option(
        "--dir", "directory", type=click.Path(), help="Keep the data here. Without it all is gone at the end."
    )
    @click.option("--shell", is_flag=True, help="With a shell on it, if this is a terminal; it ends with that.")
    def dev(servers: int, port: int, directory: str | None, shell: bool) -> None:
        """Start a whole ensemble on this machine, say where to connect, and end it on Ctrl-C.

        The connection string goes to stdout, alone on its line; the servers' log lines to stderr, numbered, or with
        --shell to a file.
        """
        import os

        from zabpy.dev import DevError, run, shell_command

        on_it = shell_command if shell and os.isatty(0) and os.isatty(1) else None
        try:
            status = run(servers, port, directory, lambda text: print(text, flush=True), shell=on_it)
        except DevError as error:
            status = _told(error, 1)
        sys.exit(status)

    @zabpy.command()
    @click.argument("servers", nargs=-1, metavar="[HOST:PORT]...")
    def status(servers: tuple[str, ...]) -> None:
        """Ask servers how they are, a line each (127.0.0.1:2181 unless told). Fails unless all are serving."""
        from zabpy.dev import status_line

        lines = [status_line(server) for server in servers or ("127.0.0.1:2181",)]
        for _, line in lines:
            print(line)
        sys.exit(0 if all(serving for serving, _ in lines) else 1)

    @zabpy.command("shell", add_help_option=False)
    def shell() -> None:
        """Look at an ensemble and change it: a prompt, one command, or a script; also called zabsh."""

    @zabpy.command("config", add_help_option=False)
    def config() -> None:
        """Settings in the tree: look at them, check them, make files of them, run programs with them."""

    def passed_on(name: str, help: str) -> Callable[[Callable[[list[str]], int]], None]:
        """A command that reads its arguments itself, ``--help`` too."""

        def add(run: Callable[[list[str]], int]) -> None:
            @zabpy.command(name, help=help, context_settings={"ignore_unknown_options": True}, add_help_option=False)
            @click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
            def command(arguments: tuple[str, ...]) -> None:
                sys.exit(run(list(arguments)))

        return add

    @passed_on("simulate", "Run seeded ensembles with faults in simulated time; check every invariant.")
    def simulate(arguments: list[str]) -> int:
        from zabpy.testing.simulate_cli import main

        return main(arguments)

    @passed_on(
        "crashpoints", "Cut an ensemble's life before and after every operation on its disks; check what comes back."
    )
    def crashpoints(arguments: list[str]) -> int:
        from zabpy.testing.crashpoints_cli import main

        return main(arguments)

    @passed_on("damage", "Damage a data directory bit by bit; check that nothing starts with a wrong state.")
    def damage(arguments: list[str]) -> int:
        from zabpy.testing.damage_cli import main

        return main(arguments)

    @passed_on("bench", "Measure speed on this machine.")
    def bench(arguments: list[str]) -> int:
        from zabpy.bench.runner import main

        return main(arguments)

    return zabpy


if __name__ == "__main__":
    main()
