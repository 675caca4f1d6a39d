"""The config store at the prompt: the verbs of ``zabpy config``."""

import os

import click

from zabpy.model import ZabpyError

from ..command import ZPath, command
from ..problems import ShellError, UsageError, status_of, told
from ..shell import Shell


@command("cfg", group="Shell", interspersed=False)
@click.option("-n", "--namespace", type=ZPath(glob=False, new=True), help="Where the settings are; else where we are.")
@click.option("-l", "--layer", "layers", multiple=True, metavar="NAME", help="Above the default; the later wins.")
@click.option("--keys", metavar="SOURCE", help="Of secrets: file:PATH, env:NAME or command:LINE.")
@click.argument("words", metavar="VERB [ARGUMENTS...]", nargs=-1, required=True)
async def cfg(
    shell: Shell, namespace: str | None, layers: tuple[str, ...], keys: str | None, words: tuple[str, ...]
) -> int:
    """Settings that change by commits: the verbs of zabpy config, such as get, set, edit, diff, log and rollback.

    cfg VERB --help tells of each. Without --namespace it is ZABPY_CONFIG_NAMESPACE, or where we are. (config
    is zkCli.sh's, of the ensemble.)
    """
    from ..config_tool import Tool, load_verbs, parsed, verb_status

    verbs = load_verbs()
    if shell.transaction is not None:
        raise UsageError("this is not done in a transaction: commit or abort it first")
    if words[0] in OUTSIDE:
        raise UsageError(f"{words[0]} is for programs, and not for a prompt: zabpy config {words[0]}")
    if words[0] in verbs and any(word in ("-h", "--help") for word in words[1:]):
        with click.Context(verbs[words[0]], info_name=f"cfg {words[0]}") as context:
            await shell.out.line(verbs[words[0]].get_help(context))
        return 0
    found, params = parsed(words)
    place = namespace or os.environ.get("ZABPY_CONFIG_NAMESPACE") or "."
    keys = keys or os.environ.get("ZABPY_CONFIG_KEYS")
    chroot = shell.cluster.servers.partition("/")[2].strip("/")
    tool = Tool(shell, shell.path(place), layers, keys, f"/{chroot}" if chroot else "")
    try:
        return await found.run(tool, **params) or 0
    except ZabpyError as error:
        raise ShellError(f"{found.name}: {told(error)}", verb_status(error, status_of(error))) from error


#: They go on until a signal ends them.
OUTSIDE = ("run", "render", "serve")
