"""The verbs of ``zabpy config`` that commit, and those that look at what was committed."""

import getpass
import os
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import click

from zabpy.client import ConnectionLossError, SessionLostError

from .command import Duration
from .config_tool import Tool, UsageError, verb
from .differences import unified
from .looks import Paint, when
from .problems import ShellError, Status, told

if TYPE_CHECKING:
    from zabpy.config import Change, Problem, Revision, Secret, Secrets, Store

folder = click.Path(path_type=Path)

At = tuple[str, str]
Wanted = dict[At, "bytes | Secret | None"]
AUTHOR = "ZABPY_CONFIG_AUTHOR"


@dataclass(frozen=True)
class How:
    """What every verb that commits is told."""

    author: str
    message: str
    base: int | None = None
    rebase: bool = False
    dry_run: bool = False


def _author() -> str:
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # in a container, say, that knows no names
        name = f"uid {os.getuid()}"
    return f"{name}@{socket.gethostname()}"


def signed(run: Callable[..., Any]) -> Callable[..., Any]:
    """Options of who commits, and why."""
    run = click.option("-m", "--message", default="", help="Why; it stands in the log.")(run)
    return click.option("--author", envvar=AUTHOR, default=_author, show_default="user@host", help="Who says so.")(run)


def based(run: Callable[..., Any]) -> Callable[..., Any]:
    """Options of a commit of named values, besides those."""
    run = click.option("-n", "--dry-run", "dry_run", is_flag=True, help="Only show what would be done.")(run)
    run = click.option("--rebase", is_flag=True, help="With --base: go on if others changed other keys since.")(run)
    run = click.option("--base", type=int, metavar="REVISION", help="Only if nobody has committed since this one.")(run)
    return signed(run)


in_layer = click.option("--in", "layer", default="default", metavar="LAYER", help="The layer it is for.")


@verb("init")
@click.option("--keep", type=click.IntRange(1), metavar="COMMITS", help="How many the history is to hold: 1000.")
@click.option("--keep-for", "age_ms", type=Duration(), help="And how long, such as 90d; else for ever.")
async def init(tool: Tool, keep: int | None, age_ms: int | None) -> None:
    """Make a namespace, if there is none; or tell one how much history to keep."""
    may_commit(tool)
    store = await writer(tool)
    await store.create()
    if keep is not None or age_ms is not None:
        await store.retain(keep, age_ms)
    revision = (await store.at()).revision
    await tool.shell.out.show(
        {"namespace": tool.namespace, "revision": revision}, human=f"{tool.namespace}: a config store at {revision}"
    )


@verb("set")
@click.argument("words", metavar="KEY=VALUE...", nargs=-1, required=True)
@click.option("-f", "--file", "source", type=click.Path(path_type=Path, allow_dash=True), help="KEY's value is in it.")
@in_layer
@click.option("--secret", is_flag=True, help="Encrypt it; needs --keys.")
@based
async def set_(
    tool: Tool, words: tuple[str, ...], source: Path | None, layer: str, secret: bool, **how: Any
) -> int | None:
    """Set values, as one commit.

    KEY=VALUE is text; with --file, KEY is set to what is in the file, or with - to what comes on stdin, less one line
    end if KEY is no document (.json, .yaml, .toml). What does not fit the schema is refused.
    """
    values: dict[str, bytes] = {}
    if source is not None:
        if len(words) != 1:
            raise UsageError("--file takes one KEY")
        [key] = words
        data = await _contents(source)
        from zabpy.config import is_document

        values[key] = data if is_document(key) else data.removesuffix(b"\n")
    else:
        for word in words:
            key, mark, value = word.partition("=")
            if not mark:
                raise UsageError(f"{word}: expected KEY=VALUE; --file takes a bare KEY")
            if key in values:
                raise UsageError(f"{key} is named twice")
            values[key] = value.encode("utf-8", "surrogateescape")
    wanted: Wanted = {(layer, key): sealed(key, value) if secret else value for key, value in values.items()}
    return await put(tool, wanted, How(**how))


@verb("unset")
@click.argument("keys", metavar="KEY...", nargs=-1, required=True)
@in_layer
@based
async def unset(tool: Tool, keys: tuple[str, ...], layer: str, **how: Any) -> int | None:
    """Delete values, as one commit; status 1, and nothing is done, if there is no such value."""
    now = await (await writer(tool)).at()
    missing = [key for key in keys if (layer, key) not in now.entries]
    if missing:
        await tool.shell.out.tell(f"unset: {', '.join(missing)}: the layer {layer} has no such key; nothing was done")
        return Status.NO
    return await put(tool, {(layer, key): None for key in keys}, How(**how), now)


@verb("commit")
@click.argument("source", type=click.Path(path_type=Path, allow_dash=True), metavar="FILE")
@based
async def commit(tool: Tool, source: Path, **how: Any) -> int | None:
    """Commit what a file of YAML or JSON says, or stdin (-): {layer: {key: value}}, where null deletes.

    Values are texts, numbers and truths; a value of a document's key (db.json) may be the document itself.
    """
    from zabpy.config import BadDocumentError, parse

    try:
        found = parse("changes.yaml", await _contents(source))
    except BadDocumentError as error:
        raise UsageError(f"{source}: {error}") from None
    if not isinstance(found, dict) or not all(isinstance(each, dict) for each in found.values()):
        raise UsageError(f"{source}: expected a mapping of layers, and in each one of keys: {{default: {{a.b: x}}}}")
    wanted: Wanted = {
        (str(layer), str(key)): _value(source, str(layer), str(key), value)
        for layer, keys in found.items()
        for key, value in keys.items()
    }
    return await put(tool, wanted, How(**how))


def _value(source: Path, layer: str, key: str, value: Any) -> bytes | None:
    import json

    from zabpy.config import as_text, is_document

    if value is None:
        return None
    if isinstance(value, dict | list):
        if not is_document(key):
            raise UsageError(f"{source}: {key} (layer {layer}): only a document's key takes that, such as {key}.json")
        if key.endswith(".toml"):
            raise UsageError(f"{source}: {key} (layer {layer}): write the TOML as a text")
        return (json.dumps(value, ensure_ascii=False, indent=2) + "\n").encode()
    return as_text(value).encode("utf-8", "surrogateescape")


@verb("import")
@click.argument("source", type=folder, metavar="FOLDER")
@click.option("--prune", is_flag=True, help="Delete what is in no file there.")
@click.option("--secret", "patterns", multiple=True, metavar="GLOB", help="Encrypt plain values of such keys.")
@click.option("-n", "--dry-run", "dry_run", is_flag=True, help="Only show the plan.")
@signed
async def import_(
    tool: Tool, source: Path, prune: bool, patterns: tuple[str, ...], dry_run: bool, **how: Any
) -> int | None:
    """Make the settings what a folder of files says (see export): shows the plan, asks, and commits all of it at once.

    A second time there is nothing to do. Values that stand there encrypted stay so. With --yes nothing is asked.
    """
    from zabpy.config import ENCRYPTED, KEPT, is_document, read_folder

    found = await anyio.to_thread.run_sync(read_folder, source)
    now = await (await writer(tool)).at()
    wanted: Wanted = {
        at: sealed(at[1], value)
        if any(fnmatchcase(at[1], each) for each in patterns)
        and not is_document(at[1])
        and not value.startswith(ENCRYPTED.encode())
        else value
        for at, value in found.entries.items()
    }
    if prune:
        wanted |= {at: None for at in now.entries if at not in wanted}
    schema = KEPT if found.schema is None else found.schema
    return await put(tool, wanted, How(**how, base=now.revision, dry_run=dry_run), now, schema=schema, asks=True)


@verb("rollback", negative=True)
@click.argument("revision", type=int)
@click.option("--schema", is_flag=True, help="And the schema, too.")
@click.option("-n", "--dry-run", "dry_run", is_flag=True, help="Only show what would be done.")
@signed
async def rollback(tool: Tool, revision: int, schema: bool, dry_run: bool, **how: Any) -> int | None:
    """Make the values what they were at a REVISION (-2: the one before the newest), by a new commit."""
    store, signature = await writer(tool), How(**how)
    if dry_run:
        await show(tool, await store.diff(-1, revision))
        return None
    may_commit(tool)
    before = await store.at()
    made = await sent(store.rollback(revision, schema=schema, author=signature.author, message=signature.message))
    await done(tool, made, before)
    return None


@verb("diff", negative=True)
@click.argument("old", type=int, default=-2, metavar="[OLD]")
@click.argument("new", type=int, default=-1, metavar="[NEW]")
async def diff(tool: Tool, old: int, new: int) -> int | None:
    """Show what is another value at revision NEW (the newest) than at OLD (the one before); status 1 if there is any.

    What a folder would change is shown by import --dry-run.
    """
    changes = await (await writer(tool)).diff(old, new)
    await show(tool, changes)
    return Status.NO if changes else None


@verb("log")
@click.option("-c", "--count", type=click.IntRange(1), default=20, show_default=True, help="So many, the newest first.")
@click.option("--before", type=int, metavar="REVISION", help="Of those before this one.")
async def log(tool: Tool, count: int, before: int | None) -> None:
    """Show who has committed what, when and why."""
    records = await (await writer(tool)).log(count, before=before)
    cells = {"time": lambda row: when(row["time_ms"]), "keys": _changed}
    table = ("revision", "time", "author", "kind", "keys", "message")
    async with tool.shell.out.rows(*table, cells=cells, table=table, spare=("time", "kind")) as rows:
        for each in records:
            await rows.add(
                revision=each.revision,
                time_ms=each.time_ms,
                author=each.author,
                message=each.message,
                kind=each.kind,
                of=each.of,
                keys=[{"layer": layer, "key": key} for layer, key in each.keys],
                schema_changed=each.schema_changed,
            )


def _changed(row: Mapping[str, Any]) -> str:
    names = [_named(each["layer"], each["key"]) for each in row["keys"]]
    found = [*names[:3], *([f"{len(names) - 3} more"] if len(names) > 3 else ())]
    return ", ".join([*found, *(["the schema"] if row["schema_changed"] else ())])


@verb("schema")
@click.argument("source", type=click.Path(path_type=Path, allow_dash=True), required=False, metavar="[FILE]")
@click.option("--remove", is_flag=True, help="Have none from now on.")
@click.option("-n", "--dry-run", "dry_run", is_flag=True, help="Only say whether the present values fit.")
@signed
async def schema_(tool: Tool, source: Path | None, remove: bool, dry_run: bool, **how: Any) -> int | None:
    """Show the JSON Schema that all values have to fit; or make it what a FILE says, if the present values fit that."""
    if source is not None and remove:
        raise UsageError("--remove takes no FILE")
    if source is None and not remove:
        found = await tool.schema()
        if found is None:
            await tool.shell.out.tell("schema: there is none")
            return Status.NO
        await tool.shell.out.write(found if found.endswith(b"\n") else found + b"\n")
        return None
    text = None if source is None else await _contents(source)
    return await put(tool, {}, How(**how, dry_run=dry_run), schema=text)


@verb("canary")
@click.argument("words", metavar="[KEY=VALUE...]", nargs=-1)
@in_layer
@click.option("--unset", "unset_", multiple=True, metavar="KEY", help="Delete it there.")
@click.option("--host", "hosts", multiple=True, metavar="NAME", help="For these hosts; * stands for anything.")
@click.option("--label", "labels", multiple=True, metavar="NAME=VALUE", help="For readers that have all of these.")
@click.option("--percent", type=click.FloatRange(0, 100), default=0, help="For this share of all hosts.")
@signed
async def canary(
    tool: Tool,
    words: tuple[str, ...],
    layer: str,
    unset_: tuple[str, ...],
    hosts: tuple[str, ...],
    labels: tuple[str, ...],
    percent: float,
    **how: Any,
) -> int | None:
    """Have some readers take a change before all others do: promote makes it everybody's, withdraw takes it back.

    Without KEY=VALUE the readers of the change under way are chosen anew; with nothing at all it is shown (and who
    shows which revision each reader runs).
    """
    store, signature = await writer(tool), How(**how)
    chosen = {"hosts": hosts, "percent": percent, "labels": _labels(labels)}
    wanted: Wanted = {(layer, key): None for key in unset_}
    for word in words:
        key, mark, value = word.partition("=")
        if not mark or (layer, key) in wanted:
            raise UsageError(f"{word}: expected KEY=VALUE, each KEY once")
        wanted[layer, key] = value.encode("utf-8", "surrogateescape")
    before = await store.at()
    if not wanted and not any(chosen.values()):
        return await _show_canary(tool, before)
    if wanted and not any(chosen.values()):
        raise UsageError("for whom? --host, --label or --percent says so")
    may_commit(tool)
    made = await sent(
        store.canary(
            wanted or None,
            hosts=hosts,
            percent=percent,
            labels=_labels(labels),
            author=signature.author,
            message=signature.message,
        )
    )
    await done(tool, made, before)
    return None


def _labels(words: Sequence[str]) -> dict[str, str]:
    found = {}
    for word in words:
        name, mark, value = word.partition("=")
        if not mark or not name:
            raise UsageError(f"--label {word}: expected NAME=VALUE")
        found[name] = value
    return found


async def _show_canary(tool: Tool, now: "Revision") -> int | None:
    from zabpy.config import Change

    found = now.canary
    if found is None:
        await tool.shell.out.tell("canary: none is under way")
        return Status.NO
    labels = [f"{name}={value}" for name, value in found.labels.items()]
    who = [*found.hosts, *([",".join(labels)] if labels else []), *([f"{found.percent:g} %"] if found.percent else [])]
    await tool.shell.out.tell(f"since revision {found.revision}, for {' or '.join(who)}:")
    await show(tool, [Change(*at, now.entries.get(at), value) for at, value in sorted(found.changes.items())])
    return None


@verb("promote")
@signed
async def promote(tool: Tool, **how: Any) -> None:
    """Make the change that some readers took before (see canary) everybody's."""
    await _end_rollout(tool, "promote", How(**how))


@verb("withdraw")
@signed
async def withdraw(tool: Tool, **how: Any) -> None:
    """Take back the change that some readers took before (see canary)."""
    await _end_rollout(tool, "withdraw", How(**how))


async def _end_rollout(tool: Tool, by: str, how: How) -> None:
    may_commit(tool)
    store = await writer(tool)
    before = await store.at()
    await done(tool, await sent(getattr(store, by)(author=how.author, message=how.message)), before)


@verb("rotate")
@click.option("-n", "--dry-run", "dry_run", is_flag=True, help="Only show which values.")
@signed
async def rotate(tool: Tool, dry_run: bool, **how: Any) -> int | None:
    """Have all secrets encrypted with the first key of --keys, by one commit; what they are is not looked at."""
    secrets = await tool.secrets()
    if secrets is None:
        raise UsageError("rotate needs --keys")
    now = await (await writer(tool)).at()
    wanted: Wanted = dict(secrets.rotated(now.entries))
    return await put(tool, wanted, How(**how, base=now.revision, dry_run=dry_run), now)


@verb("verify")
async def verify(tool: Tool) -> int | None:
    """Look whether the namespace is as commits leave it: values changed by hand, records missing; status 1 if not."""
    problems = await (await writer(tool)).verify()
    async with tool.shell.out.rows("problem", human=lambda row: str(row["problem"])) as rows:
        for each in problems:
            await rows.add(problem=each)
    return Status.NO if problems else None


@verb("repair")
@signed
async def repair(tool: Tool, **how: Any) -> None:
    """Make a damaged head of the namespace anew, from its history and values, by a commit. Values stay as they are."""
    may_commit(tool)
    store, signature = await writer(tool), How(**how)
    await tool.shell.confirm(f"make the head of {tool.namespace} anew?")
    revision = await sent(store.repair(author=signature.author, message=signature.message))
    await _tell_revision(tool, revision, changed=True)


# What they share ------------------------------------------------------------------------------------------------------


async def writer(tool: Tool) -> "Store":
    from zabpy.config import Store

    return Store(await tool.shell.zk(), tool.namespace, secrets=await tool.secrets())


async def put(
    tool: Tool,
    wanted: "Wanted",
    how: How,
    now: "Revision | None" = None,
    *,
    schema: Any = ...,
    asks: bool = False,
) -> int | None:
    """Commit that, or show what would come of it. ``now``: what it is compared with, if that was read already."""
    from zabpy.config import KEPT

    schema = KEPT if schema is ... else schema
    store = await writer(tool)
    now = now or await store.at()
    secrets = await tool.secrets()
    changes = _changes(now, wanted, secrets)
    has_schema = schema is not KEPT and schema != now.schema
    if how.dry_run or asks:
        await show(tool, changes, schema="the schema changes, too" if has_schema else "")
        problems = await store.check(wanted, schema=schema)
        if problems:
            await _refuse(tool, problems)
            return Status.NO
    if how.dry_run:
        return None
    may_commit(tool)
    if not changes and not has_schema:
        if how.base is not None and not asks and how.base not in (-1, now.revision) and not how.rebase:
            from zabpy.config import StaleBaseError

            raise StaleBaseError(tool.namespace, how.base, now.revision)
        await _tell_revision(tool, now.revision, changed=False)
        return None
    if asks:
        what = f"{len(changes)} value{'s' if len(changes) != 1 else ''}"
        gone = sum(each.new is None for each in changes)
        await tool.shell.confirm(f"commit {what}{f', {gone} of them deleted' if gone else ''}?")
    revision = await sent(
        store.commit(
            wanted,
            schema=schema,
            author=how.author,
            message=how.message,
            base=how.base,
            rebase=how.rebase,
        )
    )
    await done(tool, revision, now)
    return None


def may_commit(tool: Tool) -> None:
    rules = tool.shell.rules
    if rules.read_only:
        raise ShellError("the profile, or --read-only, allows no commits; nothing was done", Status.DENIED)
    if rules.forbids("set"):
        raise ShellError(f"the profile {rules.name} forbids set; nothing was done", Status.DENIED)


async def sent(commit: Any) -> int:
    """The revision. A commit whose answer is lost may have been done, which is said."""
    try:
        revision: int = await commit
    except (ConnectionLossError, SessionLostError) as error:
        raise ShellError(f"{told(error)}; it may have been done: log shows it", Status.CONNECTION) from error
    return revision


async def done(tool: Tool, revision: int, before: "Revision") -> None:
    await _tell_revision(tool, revision, changed=revision != before.revision)


async def _tell_revision(tool: Tool, revision: int, *, changed: bool) -> None:
    text = f"revision {revision}" if changed else f"nothing to change; revision {revision}"
    await tool.shell.out.show({"revision": revision, "changed": changed}, human=text, raw=f"{revision}\n")


async def _refuse(tool: Tool, problems: "Sequence[Problem]") -> None:
    await tool.shell.out.tell("it would be refused:")
    for each in problems:
        await tool.shell.out.tell(f"  {each}")


def _changes(now: "Revision", wanted: "Wanted", secrets: "Secrets | None") -> "list[Change]":
    """What would be another value; of what is to be encrypted only that it would."""
    from zabpy.config import Change, Secret

    found = []
    for at, value in sorted(wanted.items()):
        old = now.entries.get(at)
        if isinstance(value, Secret):
            if old is not None and secrets is not None and _means(secrets, at, old) == value.text:
                continue
            found.append(Change(*at, old, b"!enc "))
        elif value != old:
            found.append(Change(*at, old, value))
    return found


def _means(secrets: "Secrets", at: At, value: bytes) -> str | None:
    from zabpy.config import SecretError

    try:
        return secrets.reveal(*at, value.decode())
    except (SecretError, UnicodeDecodeError):
        return None  # encrypted with another key, or not at all


async def show(tool: Tool, changes: "Sequence[Change]", *, schema: str = "") -> None:
    """Changes, for people as lines; what is secret is masked."""
    out = tool.shell.out
    async with out.rows("what", "key", "layer", "before", "after", human=_human) as rows:
        for each in changes:
            secret = each.secret
            before, after = (_shown(value, secret=secret) for value in (each.old, each.new))
            what = "create" if each.old is None else "delete" if each.new is None else "change"
            await rows.add(what=what, key=each.key, layer=each.layer, before=before, after=after, secret=secret)
    if schema:
        await out.tell(schema)


def _human(row: Mapping[str, Any]) -> str:
    name, before, after = _named(row["layer"], row["key"]), row["before"], row["after"]
    if "\n" in (before or "").rstrip("\n") or "\n" in (after or "").rstrip("\n"):
        lines = [f"{_MARKS[row['what']]} {name}"]
        old, new = ((text or "").encode("utf-8", "surrogateescape") for text in (before, after))
        lines += [f"    {line}" for line in unified(old, new, None, Paint(False))]
        return "\n".join(lines)
    if row["what"] == "create":
        return f"+ {name} = {_line(after)}"
    return f"- {name} = {_line(before)}" if row["what"] == "delete" else f"~ {name}: {_line(before)} -> {_line(after)}"


def _line(text: str | None) -> str:
    return (text or "").removesuffix("\n")


_MARKS = {"create": "+", "change": "~", "delete": "-"}


def _shown(value: bytes | None, *, secret: bool) -> str | None:
    if value is None:
        return None
    return "***" if secret else value.decode("utf-8", "surrogateescape")


def _named(layer: str, key: str) -> str:
    return key if layer == "default" else f"{key} (layer {layer})"


def sealed(key: str, value: bytes) -> "Secret":
    from zabpy.config import Secret

    try:
        return Secret(value.decode())
    except UnicodeDecodeError:
        raise UsageError(f"{key}: it is no UTF-8, and cannot be a value") from None


async def _contents(source: Path) -> bytes:
    import sys

    if str(source) == "-":
        return await anyio.to_thread.run_sync(sys.stdin.buffer.read, abandon_on_cancel=True)
    return await anyio.Path(source).read_bytes()
