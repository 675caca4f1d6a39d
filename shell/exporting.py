"""A tree is written into a file, or to where commands print: whole, or so that it can be gone on with.

What is in memory: the paths of what is still to be read, at most the broadest level of the tree, and a few hundred
records; and what stands at the head of resuming.py, if it goes on with an old part.
"""

import gzip
import sys
import time
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import IO

import anyio

from zabpy.client import Client
from zabpy.model import CodeError, ZabpyError

from .archive import ArchiveWriter, NdjsonWriter, TarWriter
from .files import lock, on_disk, remove_stale_parts, stale_parts, whole_file
from .problems import ShellError, Status, UsageError, status_of, told
from .progress import progress
from .records import Record
from .resuming import OldPart, Resumed, left_of
from .shell import Shell
from .stats import hexed
from .telling import counted, tell_problems
from .trees import TreeReader

#: Records are handed to the thread that writes in pieces of about so many.
WRITTEN_AT_ONCE = 1_000


class Export:
    """One export of ``path``; ``kind`` is ndjson or tar, with gz behind it or not."""

    def __init__(self, shell: Shell, zk: Client, path: str, kind: str, *, acls: bool) -> None:
        self._shell, self._zk, self._path, self._kind, self._acls = shell, zk, path, kind, acls
        self._old: OldPart | None = None
        #: Znodes that the file has.
        self._written = 0
        #: Whether the part was left when it was broken off.
        self._is_kept = False

    async def to_output(self) -> None:
        await self._shell.out.flush()
        output = _ToOutput(self._shell)
        problem = await self._write(output)
        await output.drain()
        if problem is not None:
            raise problem

    async def to_file(self, target: Path, *, resumes: bool, again: str) -> None:
        """Write it to ``target`` when all is there. ``again``: the command that goes on with it.

        Raises:
            ShellError: some of it may not be read; or the connection was lost, and it says what is left of it.
        """
        with ExitStack() as stack:
            if resumes:
                self._old = await self._left_of(target)
                if self._old is not None:
                    stack.enter_context(self._old)
            elif self._kind.startswith("ndjson"):
                await self._tell_of_parts(target)
            part = ""
            try:
                with whole_file(target, is_kept=self._keeps) as stream:
                    part = stream.name
                    problem = await self._write(stream)
                    await anyio.to_thread.run_sync(on_disk, stream)
            except ZabpyError as error:
                if not self._is_kept:
                    raise
                raise ShellError(f"{told(error)}; {self._so_far(part, again)}", status_of(error)) from error
            except anyio.get_cancelled_exc_class():
                if self._is_kept:
                    with anyio.CancelScope(shield=True):
                        await self._shell.out.tell(f"stopped: {self._so_far(part, again)}")
                raise
        if problem is not None:
            raise problem
        try:
            for old in await anyio.to_thread.run_sync(remove_stale_parts, target):
                await self._shell.out.tell(f"{old}: removed, a broken off export to {target.name} had left it")
        except OSError as error:  # the export is there, which is what was asked for
            await self._shell.out.tell(f"what killed exports have left could not be removed: {error}")

    def _keeps(self, error: BaseException) -> bool:
        """Not if the disk is full, say: then its space is needed."""
        is_broken_off = isinstance(error, ZabpyError | anyio.get_cancelled_exc_class())
        self._is_kept = is_broken_off and self._kind.startswith("ndjson") and self._written > 0
        return self._is_kept

    def _so_far(self, part: str, again: str) -> str:
        return f"{counted(self._written, 'znode')} so far are in {part}; to go on: {again}"

    async def _left_of(self, target: Path) -> OldPart | None:
        tell = self._shell.out.tell
        old, busy = await anyio.to_thread.run_sync(left_of, target)
        for part in busy:
            await tell(f"{part}: another export is writing it, so it is left alone")
        if old is None:
            await tell(f"no export to {target.name} has left anything to go on with: it is begun anew")
            return None
        problem = ""
        if old.header.get("path") != self._path:
            problem = f"is of an export of {old.header.get('path')}, not of {self._path}"
        elif old.header.get("acls") is not self._acls:
            problem = "was begun without --no-acl" if old.header.get("acls") else "was begun with --no-acl"
        if problem:
            old.close()
            raise UsageError(f"{old.part}: {problem}: do as it did, or begin anew without --resume")
        await tell(f"going on with {old.part}: {counted(len(old.lines), 'znode')}")
        return old

    async def _tell_of_parts(self, target: Path) -> None:
        for part in await anyio.to_thread.run_sync(stale_parts, target):
            with part.open("rb") as stream:
                if lock(stream) is False:
                    continue
            await self._shell.out.tell(f"{part}: a broken off export has left it; --resume goes on with it")

    async def _write(self, stream: "IO[bytes] | _ToOutput") -> ShellError | None:
        """Write it; what is to be said if it is not complete."""
        zk, path, old = self._zk, self._path, self._old
        with ExitStack() as stack:
            body: IO[bytes] = stream  # type: ignore[assignment]
            zipped: gzip.GzipFile | None = None
            writer: ArchiveWriter
            if self._kind.startswith("tar"):
                writer = TarWriter(body, is_gzip=self._kind.endswith("gz"))
            else:
                if self._kind.endswith("gz"):
                    zipped = stack.enter_context(gzip.GzipFile(fileobj=body, mode="wb", compresslevel=6))
                    body = zipped  # type: ignore[assignment]
                writer = NdjsonWriter(body)
            stack.callback(writer.close)
            await zk.sync(path)
            if await zk.exists(path) is None:
                raise ShellError(f"{path}: no such znode", Status.NO)
            began = zk.last_zxid
            header = {"zabpy_export": 1, "path": path, "server": zk.server, "zxid": hexed(began)}
            writer.begin({**header, "time_ms": time.time_ns() // 1_000_000, "acls": self._acls})
            if old is None:
                reader = TreeReader(zk, path, acls=self._acls)
            else:
                reader = Resumed(zk, path, acls=self._acls, old=old)
            count = changed = 0
            held: list[Record] = []
            begun_s = time.monotonic()

            async def flush() -> None:
                nonlocal held
                records, held = held, []
                await anyio.to_thread.run_sync(writer.add, records)
                self._written += len(records)
                if isinstance(stream, _ToOutput):
                    await stream.drain()

            total = None
            if sys.stderr.isatty():
                try:
                    total = await zk.count_descendants(path) + 1
                except CodeError:
                    total = None
            with progress("exporting", total) as advance:

                async def keep(records: list[Record]) -> None:
                    nonlocal count, changed
                    held.extend(records)
                    count += len(records)
                    changed += sum(_changed_since(record, began) for record in records)
                    advance(len(records))
                    if len(held) >= WRITTEN_AT_ONCE:
                        await flush()

                await reader.read(keep)
                await flush()
            await zk.sync(path)
            denied = sorted({error.path or "" for error in reader.denied})
            footer = {"znodes": count, "zxid": hexed(zk.last_zxid), "changed_meanwhile": changed, "denied": denied}
            await anyio.to_thread.run_sync(writer.end, footer)
            if zipped is not None:
                await anyio.to_thread.run_sync(zipped.close)
        took_s = max(time.monotonic() - begun_s, 0.001)
        taken = f", {reader.taken:,} of them from the old part" if isinstance(reader, Resumed) else ""
        exact = zk.last_zxid == began
        how = f"exactly as of zxid {hexed(began)}" if exact else f"{changed:,} of them changed meanwhile"
        rate = f"{count / took_s:,.0f}/s"
        await self._shell.out.tell(f"{counted(count, 'znode')} exported in {took_s:.1f} s ({rate}){taken}, {how}")
        if not denied:
            return None
        await tell_problems(self._shell, sorted({told(error) or "" for error in reader.denied}))
        return ShellError(
            f"{counted(len(denied), 'znode')} may not be read, and are missing with all that is below", Status.PARTIAL
        )


class _ToOutput:
    """A stream whose bytes go where the command prints."""

    def __init__(self, shell: Shell) -> None:
        self._shell, self._held = shell, bytearray()

    def write(self, data: bytes) -> int:
        self._held += data
        return len(data)

    def writelines(self, lines: Iterable[bytes]) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        pass

    async def drain(self) -> None:
        data, self._held = bytes(self._held), bytearray()
        await self._shell.out.write(data)


def _changed_since(record: Record, zxid: int) -> bool:
    stat = record.stat
    return stat is not None and max(stat.mzxid, stat.pzxid, stat.czxid) > zxid
