"""A value is changed in an editor, and written only if nobody else has changed it meanwhile."""

import os
import shlex
import signal
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import anyio
import click

import zabpy
from zabpy.client import Client
from zabpy.model import BadVersionError, name_of

from ..command import ZPath, command
from ..differences import unified
from ..files import write_whole
from ..problems import ShellError, Status, UsageError
from ..shell import Shell
from ..signals import heard_by
from ..values import Kind, recognised

SUFFIXES: dict[Kind, str] = {"json": ".json", "yaml": ".yaml"}
MARKS = ("<<<<<<< ", "=======", ">>>>>>> ")


@dataclass
class Draft:
    """What is being edited. ``version``: the one that it is to replace; None: the znode is to be created."""

    path: str
    before: bytes
    version: int | None
    file: Path
    kind: Kind
    #: The file is left for the person, because what is in it was written nowhere.
    is_kept: bool = False

    def holds_more_than(self, original: bytes) -> bool:
        """Whether there is anything in the file that was not there at first."""
        try:
            return self.file.read_bytes() != original  # a small file of ours
        except OSError:
            return False


@command("edit", group="Change", writes=True)
@click.argument("path", type=ZPath(new=True))
@click.option("-c", "creates", is_flag=True, help="Create it if it is not there.")
@click.option("--invalid", "invalid", is_flag=True, help="Write it even if what was JSON or YAML is none any more.")
async def edit(shell: Shell, path: str, creates: bool, invalid: bool) -> None:
    """Change a value in $VISUAL, $EDITOR or vi.

    It is written if nobody else has changed it meanwhile; else their change is shown, and the editor opened again with
    both. What was JSON or YAML must be that still. A line end that editors put behind the last line is taken off again
    if there was none before. What could not be written is left in a file, whose name is told.
    """
    if shell.transaction is not None:
        raise UsageError("this is not done in a transaction: commit or abort it first")
    zk = await shell.zk()
    version: int | None = None
    data = b""
    try:
        data, stat = await zk.get(path)
        version = stat.version
    except zabpy.NoNodeError:
        if not creates:
            raise
    value = recognised(data)
    if value.text is None or value.is_gzip:
        raise UsageError(f"{path}: its value is {value.name}, which editors do not take; cp to file:NAME and back does")
    draft = await anyio.to_thread.run_sync(begun, path, data, version, value.kind)
    try:
        await _edit(shell, zk, draft, invalid=invalid)
    except BaseException:
        # Whatever ends it, Ctrl-C and lost connections included: what was typed is nowhere else.
        if not draft.is_kept and draft.holds_more_than(data):
            draft.is_kept = True
            with anyio.CancelScope(shield=True):
                await shell.out.tell(f"what was typed is in {draft.file}")
        raise
    finally:
        if not draft.is_kept:
            draft.file.unlink(missing_ok=True)


def begun(path: str, data: bytes, version: int | None, kind: Kind, suffix: str = "") -> Draft:
    """A file with the value, for us alone; ``suffix`` tells editors what it is. Blocks."""
    name = "".join(char if char.isalnum() else "-" for char in name_of(path))[:40]
    number, file = tempfile.mkstemp(suffix or SUFFIXES.get(kind, ".txt"), f"zabsh-{name}-")  # for us alone: 0600
    with os.fdopen(number, "wb") as stream:
        stream.write(data)
    return Draft(path, data, version, Path(file), kind)


async def _edit(shell: Shell, zk: Client, draft: Draft, *, invalid: bool) -> None:
    while True:
        new = await edited(shell, draft)
        if new == draft.before:
            await shell.out.tell("unchanged; nothing was written")
            return
        wrong = _wrong(draft, new, invalid=invalid)
        if wrong:
            await ask_again(shell, draft, wrong)
            continue
        try:
            version = await _write(zk, draft, new)
        except (BadVersionError, zabpy.NodeExistsError):
            await _merge(shell, zk, draft, new)
        else:
            await shell.out.tell(f"{draft.path}: written, version {version}")
            return


async def edited(shell: Shell, draft: Draft) -> bytes:
    """What the person makes of the file.

    Raises:
        ShellError: the editor cannot be run, or ended with another status than 0.
    """
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
    try:
        words = [*shlex.split(editor), str(draft.file)]
    except ValueError as error:
        raise ShellError(f"$EDITOR, {editor!r}: {error}") from None
    async with shell.foreground():
        try:
            # In a thread, so that the session lives on; until it ends the terminal is the editor's, whatever is typed.
            # So is Ctrl-C, which is a key like others in many of them.
            heard: list[int] = []
            with heard_by(heard.append, (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)):
                status = await anyio.to_thread.run_sync(subprocess.call, words)
            for number in heard:
                if number != signal.SIGINT:
                    signal.raise_signal(number)
        except OSError as error:
            raise ShellError(f"{words[0]}: {error.strerror}; $VISUAL or $EDITOR says which editor to use") from None
    if status:
        raise ShellError(f"{words[0]} ended with status {status}; nothing was written")
    new = await anyio.to_thread.run_sync(draft.file.read_bytes)
    if new.endswith(b"\n") and not draft.before.endswith(b"\n"):
        new = new[:-1]
    return new


async def _write(zk: Client, draft: Draft, new: bytes) -> int:
    if draft.version is None:
        return (await zk.create(draft.path, new)).stat.version
    return (await zk.set(draft.path, new, draft.version, lost_reply="once")).version


def _wrong(draft: Draft, new: bytes, *, invalid: bool) -> str:
    """Why this is not written; empty if it may be."""
    if any(line.startswith((MARKS[0].encode(), MARKS[2].encode())) for line in new.splitlines()):
        return "there are still lines of both versions in it, between <<<<<<< and >>>>>>>"
    if invalid or draft.kind not in SUFFIXES:
        return ""
    if draft.kind == "json":
        import json

        try:
            json.loads(new)
        except ValueError as error:
            return f"it was JSON, and is none any more: {error}"
        return ""
    import yaml

    try:
        yaml.safe_load(new)
    except yaml.YAMLError as error:
        return f"it was YAML, and is none any more: {' '.join(str(error).split())}"
    return ""


async def ask_again(shell: Shell, draft: Draft, wrong: str, status: Status = Status.USAGE) -> None:
    """Go on only if the person wants the editor once more."""
    try:
        again = shell.is_interactive or not shell.rules.yes  # with --yes nobody is there to put it right
        if again and await shell.asker.confirm(f"{draft.path}: {wrong}. Open the editor again?"):
            return
    except ShellError:
        pass  # there is nobody to be asked
    draft.is_kept = True
    raise ShellError(f"{draft.path}: {wrong}; nothing was written. What was typed is in {draft.file}", status)


async def _merge(shell: Shell, zk: Client, draft: Draft, mine: bytes) -> None:
    """Show what others changed, and have both in the file."""
    try:
        theirs, stat = await zk.get(draft.path)
    except zabpy.NoNodeError:
        draft.is_kept = True
        raise ShellError(
            f"{draft.path}: somebody has deleted it meanwhile; what was typed is in {draft.file}", Status.CONFLICT
        ) from None
    names = ("before", f"version {stat.version}, by others")
    for line in unified(draft.before, theirs, names, shell.out.look.paint):
        await shell.out.line(line)
    await shell.out.flush()
    await ask_again(shell, draft, "somebody has changed it meanwhile", Status.CONFLICT)
    both = merged(mine, theirs, f"version {stat.version}, by others")
    draft.before, draft.version = theirs, stat.version
    await anyio.to_thread.run_sync(write_whole, draft.file, both)


def _lines(data: bytes) -> list[bytes]:
    """Parted at line feeds and nowhere else, so that every other byte stays as it was."""
    return data.removesuffix(b"\n").split(b"\n")


def merged(mine: bytes, theirs: bytes, name: str) -> bytes:
    """The lines of both, those that differ between marks, as git has them."""
    ours, others = _lines(mine), _lines(theirs)
    begin, middle, end_of = (mark.encode() for mark in (f"{MARKS[0]}yours", MARKS[1], MARKS[2] + name))
    found: list[bytes] = []
    import difflib  # few commands need it

    for tag, start, end, other_start, other_end in difflib.SequenceMatcher(None, ours, others).get_opcodes():
        if tag == "equal":
            found += ours[start:end]
        else:
            found += [begin, *ours[start:end], middle, *others[other_start:other_end], end_of]
    return b"\n".join(found) + b"\n"
