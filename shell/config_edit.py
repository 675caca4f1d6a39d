"""``zabpy config edit``: one value, or all plain ones of a layer, in an editor, and a commit of what comes of it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import anyio
import click

from .commands.editing import ask_again, begun, edited, merged
from .config_commits import At, How, Wanted, done, in_layer, may_commit, sealed, sent, signed, writer
from .config_tool import Tool, verb
from .differences import unified
from .files import write_whole
from .problems import Status

if TYPE_CHECKING:
    from zabpy.config import Revision, Secrets


@verb("edit")
@click.argument("key", default="")
@in_layer
@signed
async def edit(tool: Tool, key: str, layer: str, **how: Any) -> int | None:
    """Change one value, or all plain ones of a layer, in $VISUAL, $EDITOR or vi, and commit what comes of it.

    Without KEY it is a file of lines key=value; a line that is taken out deletes its key. What does not fit is said,
    and the editor opened again; so it is when somebody else changed the same meanwhile, with both in the file. With
    --keys an encrypted value of KEY is edited as what it means, and encrypted again.
    """
    from zabpy.config import BadNameError, BadSettingsError, ConflictError

    may_commit(tool)
    store, signature = await writer(tool), How(**how)
    now = await store.at()
    form = await _form(tool, layer, key)
    before = form.text(now)
    title = key or f"{tool.namespace} ({layer})"
    draft = await anyio.to_thread.run_sync(begun, f"/{title}", before, now.revision, "text", form.suffix)
    try:
        while True:
            new = await edited(tool.shell, draft)
            if new == draft.before:
                await tool.shell.out.tell("unchanged; nothing was committed")
                return None
            try:
                wanted = form.changes(now, new)
                revision = await sent(
                    store.commit(
                        wanted, author=signature.author, message=signature.message, base=now.revision, rebase=True
                    )
                )
            except ConflictError as error:
                now = await store.at()
                theirs = form.text(now)
                name = f"revision {now.revision}, by others"
                for line in unified(draft.before, theirs, ("before", name), tool.shell.out.look.paint):
                    await tool.shell.out.line(line)
                await tool.shell.out.flush()
                await ask_again(tool.shell, draft, str(error), Status.CONFLICT)
                draft.before = theirs
                await anyio.to_thread.run_sync(write_whole, draft.file, merged(new, theirs, name))
            except (BadSettingsError, BadNameError, BadLinesError) as error:
                await ask_again(tool.shell, draft, str(error))
            else:
                await done(tool, revision, now)
                return None
    except BaseException:
        if not draft.is_kept and draft.holds_more_than(before):
            draft.is_kept = True
            with anyio.CancelScope(shield=True):
                await tool.shell.out.tell(f"what was typed is in {draft.file}")
        raise
    finally:
        if not draft.is_kept:
            draft.file.unlink(missing_ok=True)


class BadLinesError(Exception):
    """What was typed cannot be read."""


@dataclass(frozen=True)
class _Value:
    """One value in an editor."""

    at: At
    secrets: "Secrets | None"
    suffix: str

    def text(self, now: "Revision") -> bytes:
        value = now.entries.get(self.at, b"")
        return self._opened(value) or value

    def changes(self, now: "Revision", new: bytes) -> Wanted:
        is_secret = bool(self._opened(now.entries.get(self.at, b"")))
        return {self.at: sealed(self.at[1], new) if is_secret else new}

    def _opened(self, value: bytes) -> bytes:
        """What it means, if it is encrypted as a whole."""
        from zabpy.config import ENCRYPTED

        if self.secrets is None or not value.startswith(ENCRYPTED.encode()):
            return b""
        return self.secrets.reveal(*self.at, value.decode()).encode()


@dataclass(frozen=True)
class _Lines:
    """All plain values of a layer in an editor."""

    layer: str
    suffix: str = ".env"

    def text(self, now: "Revision") -> bytes:
        from zabpy.config import lines_of

        return lines_of(self._plain(now))

    def changes(self, now: "Revision", new: bytes) -> Wanted:
        from zabpy.config import BadFilesError, read_lines

        try:
            found = read_lines("line ", new)
        except BadFilesError as error:
            raise BadLinesError("; ".join(error.problems)) from None
        before = self._plain(now)
        wanted: Wanted = {(self.layer, key): value for key, value in found.items() if before.get(key) != value}
        return wanted | {(self.layer, key): None for key in before if key not in found}

    def _plain(self, now: "Revision") -> dict[str, bytes]:
        from zabpy.config import is_document

        entries = now.layers().get(self.layer, {})
        return {key: value for key, value in sorted(entries.items()) if not is_document(key)}


async def _form(tool: Tool, layer: str, key: str) -> _Value | _Lines:
    from zabpy.config import is_document

    if not key:
        return _Lines(layer)
    return _Value((layer, key), await tool.secrets(), f".{key.rpartition('.')[2]}" if is_document(key) else ".txt")
