"""``zabpy shell`` and ``zabsh``: a prompt, one command, or a script.

Here only the command line is read, and nothing is loaded that a prompt can do without: neither commands nor client.
"""

import gc
import os
import sys
import threading
from dataclasses import fields
from typing import Any, NoReturn

import click

from .choosing import Options, choose
from .command import Duration
from .errors import ShellError, Status
from .looks import harmless
from .output import FORMATS
from .profiles import COLOURS, File, load

SHELLS = ("bash", "zsh", "fish")


def main(arguments: list[str] | None = None, prog_name: str = "zabsh") -> NoReturn:
    # What is made here, by imports and by reads of many znodes, is hardly ever garbage in a circle: to look for such
    # took up to a tenth of the time.
    gc.set_threshold(50_000, 20, 50)
    for descriptor in (0, 1, 2):  # one that is closed would become that of a connection
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments and arguments[0] in ("--complete", "--complete-bash"):  # asked by what --completion has printed
        from .completing import complete, complete_in_bash

        (complete if arguments[0] == "--complete" else complete_in_bash)(zabsh, arguments[1:])
        sys.exit(0)
    try:
        status = zabsh.main(arguments, prog_name=prog_name, standalone_mode=False)
    except click.UsageError as error:
        print(f"{prog_name}: {error.format_message()} Try '{prog_name} --help'.", file=sys.stderr)
        status = Status.USAGE
    except ShellError as error:
        print(f"{prog_name}: {harmless(str(error))}", file=sys.stderr)
        status = error.status
    except (click.Abort, KeyboardInterrupt):
        status = Status.INTERRUPTED
    if threading.active_count() > 1:
        os._exit(int(status or 0))  # it still waits for a line, or for a reader, whom nobody waits for any more
    sys.exit(int(status or 0))


EPILOG = """\
NAME is a profile of ~/.config/zabpy/shell.toml, and HOST:PORT,...[/CHROOT] stands for --server. COMMAND is run, and
that is all; without one a prompt is shown, or stdin is read if it is no terminal.

\b
ZABPY_SERVERS, ZABPY_PROFILE, ZABPY_OUTPUT, ZABPY_COLOR, ZABPY_TIMEOUT, ZABPY_READ_ONLY, ZABPY_AUTH, ZABPY_SASL,
ZABPY_TLS, ZABPY_TLS_CA, ZABPY_TLS_CERT, ZABPY_TLS_KEY, ZABPY_TLS_KEY_PASSWORD, ZABPY_TLS_SERVER_NAME: as the options
of these names. Options come first, then these, then the profile.

\b
Status: 0 done, 1 no such znode or the answer is no, 2 wrong usage, 3 conflict, 4 denied, 5 no connection,
6 out of time, 7 partly done, 8 failed, 9 lock lost, 130 interrupted, 141 nobody reads the output.
"""


@click.command(
    context_settings={
        "help_option_names": ["-h", "--help"],
        "allow_interspersed_args": False,
        "max_content_width": 110,
    },
    epilog=EPILOG,
)
@click.option(
    "-s",
    "--server",
    "-server",
    "servers",
    metavar="SERVERS",
    help="HOST:PORT,...[/CHROOT]; 127.0.0.1:2181 unless told.",
)
@click.option("-p", "--profile", metavar="NAME", help="One of shell.toml's.")
@click.option("-c", "lines", multiple=True, metavar="LINE", help="Run this line. May be given several times.")
@click.option("-f", "--file", "script", type=click.Path(), metavar="FILE", help="Run the lines of a file; -: stdin.")
@click.option(
    "-k", "--keep-going", is_flag=True, help="Go on behind a line that failed; without it that ends a script."
)
@click.option("-o", "--output", "format", type=click.Choice(FORMATS), help="How results are printed.")
@click.option("--color", "colour", type=click.Choice(COLOURS), help="auto: at a terminal, unless NO_COLOR is set.")
@click.option("--timeout", "timeout_ms", type=Duration(), help="How long to wait for a server; 15s unless told.")
@click.option("--session-timeout", "session_timeout_ms", type=Duration(), help="Of our session; 10s unless told.")
@click.option("-timeout", "zkcli_timeout_ms", type=click.IntRange(1), hidden=True)
@click.option("-r", "zkcli_read_only", is_flag=True, hidden=True)
@click.option("-waitforconnection", "zkcli_waits", is_flag=True, hidden=True)
@click.option("-client-configuration", "zkcli_file", hidden=True)
@click.option("--read-only", is_flag=True, help="Refuse every command that changes something.")
@click.option("--yes", "-y", is_flag=True, help="Ask nothing.")
@click.option("--confirm", metavar="NAME", help="The same where the profile wants its name typed: this is it.")
@click.option(
    "--auth", multiple=True, metavar="SCHEME:WHO", help="An identity, as digest:ann; its password is asked for."
)
@click.option("--sasl", metavar="MECHANISM:USER", help="Log in by digest-md5 or scram-sha-256.")
@click.option("--tls", is_flag=True, help="Speak TLS, with servers that the system trusts.")
@click.option("--tls-ca", type=click.Path(), metavar="FILE", help="Trust the authorities in it instead.")
@click.option("--tls-cert", "tls_certificate", type=click.Path(), metavar="FILE", help="Ours, with its key or not.")
@click.option("--tls-key", type=click.Path(), metavar="FILE", help="Its key.")
@click.option("--tls-server-name", metavar="HOST", help="Whom the servers' certificates are for.")
@click.option("--tls-any-name", is_flag=True, help="Accept a trusted certificate, whomever it is for.")
@click.option("-v", "--verbose", count=True, help="Tell what the client does, on stderr; -vv: all of it.")
@click.option("--list-profiles", is_flag=True, help="Show the profiles, and end.")
@click.option("--completion", type=click.Choice(SHELLS), help="Print a completion script for this shell, and end.")
@click.option("--version", is_flag=True, help="Print it, and end.")
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="[NAME|SERVERS] [COMMAND ARGUMENTS...]")
def zabsh(
    words: tuple[str, ...],
    lines: tuple[str, ...],
    script: str | None,
    keep_going: bool,
    verbose: int,
    list_profiles: bool,
    completion: str | None,
    version: bool,
    zkcli_timeout_ms: int | None,
    zkcli_read_only: bool,
    zkcli_waits: bool,
    zkcli_file: str | None,
    **given: Any,
) -> int:
    """Look at a ZooKeeper ensemble, and change it."""
    if version:
        from zabpy import __version__

        print(f"{click.get_current_context().info_name} {__version__}")
        return Status.OK
    if completion is not None:
        from .completing import script_for

        sys.stdout.write(script_for(completion, click.get_current_context().info_name or "zabsh"))
        return Status.OK
    # zkCli.sh's own: its -timeout is the session's, in ms, and it is always waited for a connection here.
    if zkcli_file is not None:
        raise click.UsageError(
            f"-client-configuration {zkcli_file}: Java's properties are not read here;"
            " --tls-ca and so on, or a profile of shell.toml, say the same."
        )
    given["session_timeout_ms"] = given["session_timeout_ms"] or zkcli_timeout_ms
    file = load(os.environ)
    options = options_of(given)
    words = place(words, options, file)
    settings = choose(options, os.environ, file)
    if zkcli_read_only:
        settings.client["read_only"] = True  # a server without a quorum will do, too
    if verbose:
        import logging

        level = logging.INFO if verbose == 1 else logging.DEBUG
        logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    if list_profiles:
        from .oneshot import show_profiles

        return show_profiles(file, settings)
    if sum(map(bool, (words, lines, script))) > 1:
        raise click.UsageError("A command, -c and -f exclude each other.")
    if not (words or lines or script) and os.isatty(0) and os.isatty(1):
        from .interactive import interact

        status: int = interact(settings)
        return status
    from .oneshot import Script, Work, run

    scripts = [Script("", line) for line in lines]
    if script is not None and script != "-":
        try:
            with open(script, encoding="utf-8") as file_of_lines:
                scripts.append(Script(script, file_of_lines.read()))
        except (OSError, UnicodeDecodeError) as error:
            raise click.UsageError(f"{script}: {getattr(error, 'strerror', None) or error}.") from None
    return run(settings, Work(words, tuple(scripts), keep_going))


def options_of(given: dict[str, Any]) -> Options:
    """What click has found, as far as it is about where to connect to and how."""
    tls = {name: given.get(f"tls_{name}") for name in ("ca", "certificate", "key", "server_name")}
    tls["verify_names"] = False if given.get("tls_any_name") else None
    tls = {name: value for name, value in tls.items() if value is not None}
    names = {each.name for each in fields(Options)} - {"tls_settings"}
    return Options(**{name: value for name, value in given.items() if name in names}, tls_settings=tls)


def place(words: tuple[str, ...], options: Options, file: File) -> tuple[str, ...]:
    """The words without the first one, if that says where to connect to."""
    if words and options.profile is None and words[0] in file.profiles:
        options.profile = words[0]
    elif words and options.servers is None and ":" in words[0]:
        options.servers = words[0]
    else:
        return words
    return words[1:]
