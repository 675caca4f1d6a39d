"""``zabpy shell`` and ``zabsh``: a prompt, one command, or a script.

Here only the command line is read, and nothing is loaded that a prompt can do without: neither commands nor client.
"""

import sys
from typing import IO, NoReturn

import click

from .command import Duration
from .errors import Status
from .output import FORMATS
from .settings import Rules, Settings


def main(arguments: list[str] | None = None, prog_name: str = "zabsh") -> NoReturn:
    try:
        status = zabsh.main(arguments, prog_name=prog_name, standalone_mode=False)
    except click.UsageError as error:
        print(f"{prog_name}: {error.format_message()} Try '{prog_name} --help'.", file=sys.stderr)
        status = Status.USAGE
    except (click.Abort, KeyboardInterrupt):
        status = Status.INTERRUPTED
    sys.exit(int(status or 0))


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--server", "servers", default="127.0.0.1:2181", help="HOST:PORT,...[/CHROOT]", show_default=True)
@click.option("-c", "lines", multiple=True, help="Run this line, and end. May be given several times.")
@click.option("-f", "script", type=click.File("r", encoding="utf-8"), help="Run the lines of a file, and end.")
@click.option("--output", "format", type=click.Choice(FORMATS), default="table", help="How results are printed.")
@click.option("--timeout", "timeout_ms", type=Duration(), default="15s", help="How long to wait for a server.")
@click.option("--read-only", is_flag=True, help="Refuse every command that changes something.")
@click.option("--yes", is_flag=True, help="Ask nothing.")
def zabsh(
    servers: str,
    lines: tuple[str, ...],
    script: IO[str] | None,
    format: str,
    timeout_ms: int,
    read_only: bool,
    yes: bool,
) -> int:
    """Look at an ensemble, and change it."""
    settings = Settings(servers, format=format, timeout_ms=timeout_ms, rules=Rules(read_only, yes))
    if not lines and script is None and sys.stdin.isatty() and sys.stdout.isatty():
        from .interactive import interact

        return interact(settings)
    from .oneshot import run

    if not lines and script is None:
        return run(settings, [sys.stdin.read()])
    return run(settings, list(lines) or [script.read() if script is not None else ""], sys.stdin.buffer)
