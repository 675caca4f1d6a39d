"""The verbs of ``zabpy config``."""

import json
import sys
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import click

from zabpy.model import ZabpyError

from .child import Ending
from .command import Duration
from .commands.coordination import Signal
from .config_run import keep_running
from .config_tool import Tool, UsageError, verb
from .problems import Status

if TYPE_CHECKING:
    from zabpy.config import Config, Given, Problem, Reveal

folder = click.Path(path_type=Path)


@verb("get")
@click.argument("key", default="")
@click.option("--reveal", is_flag=True, help="Show what is secret, too.")
async def get(tool: Tool, key: str, reveal: bool) -> int | None:
    """Show settings as a program sees them: all, those below KEY, or the bare value of KEY.

    Layers are merged, and documents taken apart. Secrets are masked.
    """
    from zabpy.config import as_text, dotted, merge

    opened = await tool.reveal()
    if reveal and opened is None:
        raise UsageError("--reveal needs --keys")
    revision, layers = await tool.read()
    merged = merge(layers, opened if reveal and opened else lambda layer, key, text: text)
    wanted = tuple(key.split(".")) if key else ()
    found = [(path, each) for path, each in merged.leaves.items() if path[: len(wanted)] == wanted]
    if not found and key:
        await tool.shell.out.tell(f"get: {key}: no layer of {', '.join(each.name for each in layers)} has it")
        return Status.NO
    rows = [
        {
            "key": dotted(path),
            "value": "***" if each.secret and not reveal else each.value,
            "layer": each.layer,
            "secret": each.secret,
        }
        for path, each in found
    ]
    if key and len(rows) == 1 and rows[0]["key"] == key:
        text = as_text(rows[0]["value"])
        await tool.shell.out.show({**rows[0], "revision": revision}, human=text, raw=f"{text}\n")
        return None
    cells = {"value": lambda row: as_text(row["value"])}
    async with tool.shell.out.rows("key", "value", "layer", cells=cells) as table:
        for row in rows:
            await table.add(**row)
    return None


@verb("explain")
@click.argument("key")
async def explain_(tool: Tool, key: str) -> int | None:
    """Show what each layer says of KEY, or of each key below it, and which of them wins.

    Without --layer all layers are looked at, in the order of their names, which may be the order of no reader.
    """
    from zabpy.config import explain

    _, layers = await tool.read(tool.layers or await tool.layer_names())
    found = explain(layers, key, lambda layer, key, text: text)
    if not found:
        await tool.shell.out.tell(f"explain: {key}: no layer has it")
        return Status.NO
    async with tool.shell.out.rows("key", "layer", "value", "wins", "of", "problem") as rows:
        for each in found:
            for said in each.said:
                await rows.add(
                    key=each.key, layer=said.layer, value=said.value, wins=said.wins, of=said.key, problem=said.problem
                )
    return None


@verb("validate")
@click.argument("source", type=folder, required=False, metavar="[FOLDER]")
@click.option("--schema", type=folder, metavar="FILE", help="This one, and not the namespace's.")
async def validate(tool: Tool, source: Path | None, schema: Path | None) -> int | None:
    """Check the settings, or those of a FOLDER, against the JSON Schema; status 1 if something does not fit.

    With --keys secrets are looked into, too. A FOLDER's own .schema.json comes before the namespace's.
    """
    from zabpy.config import DEFAULT, BadSettingsError, Schema, merge, read_folder

    reveal = await tool.reveal()
    text: bytes | None
    if source is not None:
        found = await anyio.to_thread.run_sync(read_folder, source)
        text, entries = found.schema, found.entries
    else:
        _, read = await tool.read(await tool.layer_names())
        text, entries = None, {(layer.name, key): data for layer in read for key, data in layer.entries.items()}
    if schema is not None:
        text = await anyio.Path(schema).read_bytes()
    if text is None:
        text = await tool.schema()
    layers: dict[str, dict[str, bytes]] = {DEFAULT: {}}
    for (layer, key), data in entries.items():
        layers.setdefault(layer, {})[key] = data
    problems: list[Problem] = []
    if text is not None:
        problems = Schema.parse(text).problems(layers, reveal)
    else:
        from zabpy.config import Layer

        await tool.shell.out.tell("validate: there is no schema; whether documents can be read is all that is checked")
        for name, values in layers.items():
            try:
                merge([Layer(name, values)], reveal or (lambda layer, key, text: text))
            except BadSettingsError as error:
                problems += error.problems
    async with tool.shell.out.rows("key", "layer", "given", "reason", human=lambda row: row["text"]) as rows:
        for each in problems:
            await rows.add(key=each.key, layer=each.layer, given=each.given, reason=each.reason, text=str(each))
    return Status.NO if problems else None


@verb("export")
@click.argument("target", type=folder, metavar="FOLDER")
@click.option("--prune", is_flag=True, help="Delete files there that say what is in no layer any more.")
@click.option("-n", "--dry-run", "dry_run", is_flag=True, help="Only show what would be done.")
async def export(tool: Tool, target: Path, prune: bool, dry_run: bool) -> None:
    """Write all layers and the schema to a folder of files, for git, say. What is right there stays as it is.

    Secrets stay encrypted.
    """
    from zabpy.config import files_of, write_folder

    revision, read = await tool.read(await tool.layer_names())
    entries = {(layer.name, key): data for layer in read for key, data in layer.entries.items()}
    files = files_of(entries, await tool.schema())

    def write() -> list[str]:
        return write_folder(target, files, prune=prune, dry_run=dry_run)

    done = await anyio.to_thread.run_sync(write)
    async with tool.shell.out.rows("what", "file") as rows:
        for line in done:
            what, _, file = line.partition(" ")
            await rows.add(what=what, file=file)
    await tool.shell.out.tell(f"revision {revision}: {'nothing was done' if dry_run or not done else 'written'}")


@verb("who")
async def who(tool: Tool) -> None:
    """Show who reads the settings, and which revision each of them runs."""
    zk = await tool.shell.zk()
    place = f"{tool.namespace}/.readers"
    names = [] if await zk.exists(place) is None else sorted(await zk.children(place))
    async with tool.shell.out.rows("host", "pid", "revision", "refused", "instance") as rows:
        for found in await zk.get_many([f"{place}/{name}" for name in names]):
            if found is not None:
                said = _said(found.data)
                fields = ("host", "pid", "revision", "refused", "instance")
                await rows.add(**{name: said.get(name) for name in fields})


def _said(data: bytes) -> dict[str, Any]:
    try:
        found = json.loads(data)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


@verb("keygen")
@click.argument("key_id")
async def keygen(tool: Tool, key_id: str) -> None:
    """Print a new key for secrets, as a line for a file of mode 0600. The first line of that file is the current key.

    zabpy config keygen k1 | install -m 600 /dev/stdin /etc/app/keys
    """
    from zabpy.config import key_line

    await tool.shell.out.write(key_line(key_id))


@verb("encrypt")
@click.argument("key")
@click.option("--in", "layer", default="default", metavar="LAYER", help="The layer it is for.")
async def encrypt(tool: Tool, key: str, layer: str) -> None:
    """Read a value from stdin, and print it encrypted, as it may stand at KEY of that layer and nowhere else.

    One new line at its end is none of it. For a value within a document KEY is that document's, such as db.yaml.
    """
    secrets = await tool.secrets()
    if secrets is None:
        raise UsageError("encrypt needs --keys")
    data = await anyio.to_thread.run_sync(sys.stdin.buffer.read, abandon_on_cancel=True)
    text = data.decode("utf-8", "surrogateescape").removesuffix("\n")
    await tool.shell.out.line(secrets.conceal(layer, key, text))


@verb("render")
@click.argument("plan", type=folder, required=False)
@click.option("-t", "--template", nargs=2, type=folder, metavar="SOURCE DEST", help="One template, instead of a PLAN.")
@click.option("--check", metavar="LINE", help="Of the new file, {file}, before it takes its place.")
@click.option("--reload", metavar="LINE", help="After it has.")
@click.option("--once", is_flag=True, help="And end; without it files are kept up to date until a signal ends us.")
@click.option("--cache", type=folder, metavar="FILE", help="Begin with what it holds if the servers are away.")
async def render(
    tool: Tool,
    plan: Path | None,
    template: tuple[Path, Path] | None,
    check: str | None,
    reload: str | None,
    once: bool,
    cache: Path | None,
) -> int | None:
    """Make files of the settings, from Jinja2 templates, for programs that know nothing of the store.

    PLAN is a TOML file with a [[template]] for each: source, destination, mode, owner, group, check, reload, timeout,
    allow_empty; and above them wait = "500ms:10s" and splay = "5s". A file takes its place whole, after its check; what
    is wrong leaves the one before. With --once the status is 7 if a file is not as the settings have it.
    """
    from zabpy.config import Given, Plan, Renderer, Template, load_plan

    if (plan is None) == (template is None):
        raise UsageError("render takes a PLAN, or --template SOURCE DEST")
    if plan is not None and (check or reload):
        raise UsageError("--check and --reload are for --template; in a PLAN they stand with each")
    if plan is not None:
        wanted = await anyio.to_thread.run_sync(load_plan, plan)
    else:
        assert template is not None
        wanted = Plan((Template(*template, check=check, reload=reload),))
    renderer = Renderer(wanted, tool.shell.out.tell)
    async with await _open(tool, cache, announce=not once) as cfg:
        if once:
            done = await renderer.once(Given(tool.namespace, cfg.revision, cfg.merged))
            return Status.PARTIAL if any(each.problem for each in done) else None
        await renderer.keep(_states(tool, cfg))
    return None


@verb("run", interspersed=False)
@click.option("--prefix", default="", help="Before the variables' names: APP makes APP__DB__HOST.")
@click.option(
    "--on-change",
    type=click.Choice(("restart", "signal", "nothing")),
    default="restart",
    show_default=True,
    help="Of what the command was given.",
)
@click.option("--signal", "number", type=Signal(), default="HUP", show_default=True, help="With --on-change signal.")
@click.option("--ending", type=Signal(), default="TERM", show_default=True, help="What ends the command to restart it.")
@click.option("--grace", "grace_ms", type=Duration(), default="5s", show_default=True, help="From that to SIGKILL.")
@click.option("--wait", "wait_ms", type=Duration(), default="1s", show_default=True, help="After a change, for more.")
@click.option("--splay", "splay_ms", type=Duration(), default="0", help="By chance up to so much more.")
@click.option("--cache", type=folder, metavar="FILE", help="Begin with what it holds if the servers are away.")
@click.argument("words", metavar="-- COMMAND...", nargs=-1, type=click.UNPROCESSED, required=True)
async def run_(
    tool: Tool,
    words: tuple[str, ...],
    prefix: str,
    on_change: str,
    number: int,
    ending: int,
    grace_ms: int,
    wait_ms: int,
    splay_ms: int,
    cache: Path | None,
) -> int:
    """Run a command with the settings as environment variables: db.host is DB__HOST, or with --prefix APP__DB__HOST.

    When they change, it is restarted, or sent a signal. Signals sent to us are for it; its status is ours. What is
    committed and cannot be the settings changes nothing, and is told. When we end, it ends, with its process group.
    """
    async with await _open(tool, cache, announce=True) as cfg:
        return await keep_running(
            cfg,
            words,
            prefix=prefix,
            ending=Ending(ending, grace_ms),
            on_change={"restart": 0, "signal": number, "nothing": None}[on_change],
            wait_ms=wait_ms,
            splay_ms=splay_ms,
            tell=tool.shell.out.tell,
        )


@verb("serve")
@click.option("--listen", default="127.0.0.1:8200", show_default=True, metavar="HOST:PORT", help="Where.")
@click.option("--token-file", "token", type=folder, metavar="FILE", help="Who asks has to show the token in it.")
@click.option("--open", "is_open", is_flag=True, help="Without a token, though others than this machine may ask.")
@click.option("--cert", "certificate", type=folder, metavar="FILE", help="TLS, with this certificate (PEM).")
@click.option("--key", type=folder, metavar="FILE", help="Its key, if that stands elsewhere.")
@click.option("--reveal", is_flag=True, help="Serve what secrets mean, and not as they are encrypted; needs --keys.")
@click.option("--cache", type=folder, metavar="FILE", help="Begin with what it holds if the servers are away.")
async def serve(
    tool: Tool,
    listen: str,
    token: Path | None,
    is_open: bool,
    certificate: Path | None,
    key: Path | None,
    reveal: bool,
    cache: Path | None,
) -> None:
    """Serve the settings over HTTP, to be read by programs of any language: GET /settings, /settings/KEY, /healthz.

    Answers have an ETag; with ?wait=30s and If-None-Match they come with news. Only this machine may ask unless
    --listen says otherwise, and then only with a token (Authorization: Bearer), or --open.
    """
    from .config_serve import check_certificate, is_loopback, listening, read_token, served

    opened = await tool.reveal()
    if reveal and opened is None:
        raise UsageError("--reveal needs --keys")
    if key is not None and certificate is None:
        raise UsageError("--key needs --cert")
    shown = None if token is None else await anyio.to_thread.run_sync(read_token, token)
    if certificate is not None:
        await anyio.to_thread.run_sync(check_certificate, certificate, key)
    with listening(listen) as listener:
        if shown is None and not is_open and not is_loopback(listener):
            raise UsageError(f"--listen {listen}: others may ask there: expected --token-file, or --open")
        host, port = listener.getsockname()[:2]
        sealed = opened if reveal else lambda layer, key, text: text
        async with await _open(tool, cache, announce=True, reveal=sealed) as cfg:
            async with served(cfg, listener, token=shown, certificate=certificate, key=key):
                scheme = "http" if certificate is None else "https"
                where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
                await tool.shell.out.tell(f"revision {cfg.revision} of {tool.namespace} at {scheme}://{where}/settings")
                await anyio.sleep_forever()


async def _open(
    tool: Tool, cache: Path | None, *, announce: bool, reveal: "Reveal | None" = None
) -> "AbstractAsyncContextManager[Config[Any]]":
    from zabpy.config import Config

    async def alarm(error: ZabpyError) -> None:
        await tool.shell.out.tell(str(error))

    reveal = reveal or await tool.reveal()
    if cache is None:
        zk: Any = await tool.shell.zk()
    else:
        cluster = tool.shell.cluster

        def made() -> Any:
            from zabpy.recipes import connect

            return connect(cluster.servers, **cluster.settings)

        zk = made
    wait_ms = tool.shell.cluster.timeout_ms
    return Config.open(
        zk,
        tool.namespace,
        layers=tool.layers,
        cache=cache,
        reveal=reveal,
        wait_ms=wait_ms,
        on_alarm=alarm,
        announce=announce,
    )


async def _states(tool: Tool, cfg: "Config[Any]") -> "AsyncIterator[Given]":
    from zabpy.config import Given

    changes = cfg.changes()
    yield Given(tool.namespace, cfg.revision, cfg.merged)
    async for _ in changes:
        yield Given(tool.namespace, cfg.revision, cfg.merged)
