"""Known ways to get the disk wrong, each as a switch for tests: the check of crashpoints.py and damage.py.

As in traps.py: a trap is a context manager that replaces a function of `zabpy.storage` by one that makes the old
mistake. ``caught_by`` are the invariants that may name it when the power is cut; or, for those that only damage brings
out, the outcomes that damage.py may give it.

Never use one outside tests.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from zabpy.model import Tip, Zxid
from zabpy.storage import (
    DamagedLogError,
    Store,
    epochs,
    format as layout,
    log,
    repair,
    snapshots,
    store,
)
from zabpy.storage.epochs import Meta, MetaFile
from zabpy.storage.files import File, Files
from zabpy.storage.format import LogHeader, SnapshotHeader
from zabpy.storage.log import Log, Segment
from zabpy.storage.repair import Survey
from zabpy.storage.snapshots import SnapshotFile

from .instead import instead
from .traps.trap import Trap

CRASH_TRAPS: dict[str, Trap] = {}
DAMAGE_TRAPS: dict[str, Trap] = {}


def _trap(
    traps: dict[str, Trap], name: str, *caught_by: str
) -> Callable[[Callable[[], Iterator[None]]], Callable[[], AbstractContextManager[None]]]:
    def register(make: Callable[[], Iterator[None]]) -> Callable[[], AbstractContextManager[None]]:
        assert make.__doc__ and name not in traps
        set_it = contextmanager(make)
        traps[name] = Trap(make.__doc__, set_it, frozenset(caught_by))
        return set_it

    return register


class _Without:
    """A file or the files, but for some calls, which do nothing."""

    def __init__(self, real: Any, *calls: str) -> None:
        self._real, self._calls = real, calls

    def __getattr__(self, name: str) -> Any:
        if name in self._calls:
            return lambda *_: None
        return getattr(self._real, name)


# What is on disk is said before it is --------------------------------------------------------------------------------


@_trap(CRASH_TRAPS, "ack-before-sync", "I7", "I26")
def _ack_before_sync() -> Iterator[None]:
    """A batch counts as synced when it is written."""

    def sync(self: Log) -> bool:
        self._synced_offset, self.synced = self._offset, self.tip
        return True

    with instead(Log, "sync", sync):
        yield


@_trap(CRASH_TRAPS, "epoch-unsynced", "I2", "I26")
def _epoch_unsynced() -> Iterator[None]:
    """The accepted epoch counts as stored when it is written."""
    right = MetaFile.save

    def save(self: MetaFile, meta: Meta) -> None:
        file: Any = self._file
        self._file = _Without(file, "sync_data")
        right(self, meta)
        self._file = file

    with instead(MetaFile, "save", save):
        yield


@_trap(CRASH_TRAPS, "snapshot-unsynced", "I7", "I26")
def _snapshot_unsynced() -> Iterator[None]:
    """A snapshot is renamed before its content is on disk (A9, ZK-2872)."""
    right = SnapshotFile.finish

    def finish(self: SnapshotFile, header: SnapshotHeader) -> None:
        file: Any = self._file
        self._file = _Without(file, "sync", "sync_data")
        right(self, header)
        self._file = file

    with instead(SnapshotFile, "finish", finish):
        yield


@_trap(CRASH_TRAPS, "snapshot-name-unsynced", "I7", "I26")
def _snapshot_name_unsynced() -> Iterator[None]:
    """The directory is not synced after a snapshot was renamed."""
    right = SnapshotFile.publish

    def publish(self: SnapshotFile, header: SnapshotHeader) -> str:
        files: Any = self._files
        self._files = _Without(files, "sync_dir")
        path = right(self, header)
        self._files = files
        return path

    with instead(SnapshotFile, "publish", publish):
        yield


@_trap(CRASH_TRAPS, "segment-name-unsynced", "I7", "I26")
def _segment_name_unsynced() -> Iterator[None]:
    """The directory is not synced after a segment of the log was made."""
    right = log.create_segment

    def create_segment(files: Any, directory: str, header: LogHeader) -> Segment:
        return right(_Without(files, "sync_dir"), directory, header)

    with instead(log, "create_segment", create_segment), instead(store, "create_segment", create_segment):
        yield


@_trap(CRASH_TRAPS, "meta-unsynced", "I26")
def _meta_unsynced() -> Iterator[None]:
    """The first meta file is renamed before its content is on disk."""
    right = epochs.create_meta

    class Unsynced(_Without):
        def open(self, path: str, *, create: bool = False) -> Any:
            return _Without(self._real.open(path, create=create), "sync")

    def create_meta(files: Any, directory: str, meta: Meta) -> None:
        right(Unsynced(files), directory, meta)

    with instead(store, "create_meta", create_meta):
        yield


@_trap(CRASH_TRAPS, "watermark-early", "I26", "I7")
def _watermark_early() -> Iterator[None]:
    """What is about to be synced is noted as synced before it is."""
    right = Store.sync

    def sync(self: Store) -> None:
        self._meta.note_synced(self._log.watermark[0], self._log._offset)
        right(self)

    with instead(Store, "sync", sync):
        yield


@_trap(CRASH_TRAPS, "segment-unfinished", "I26", "I7")
def _segment_unfinished() -> Iterator[None]:
    """A segment gets a successor before it is on disk at its true length."""

    def finish(self: Log) -> None:
        self.sync()
        if self._allocated != self._offset:
            self._file.truncate(self._offset)
        self._file.close()

    with instead(Log, "_finish", finish):
        yield


# Steps in the wrong order --------------------------------------------------------------------------------------------


@_trap(CRASH_TRAPS, "one-slot", "I2", "I26", "I7")
def _one_slot() -> Iterator[None]:
    """The meta file is written in place, in one slot only."""

    def save(self: MetaFile, meta: Meta) -> None:
        meta = meta._replace(sequence=self.meta.sequence + 1)
        self._write_hint(meta.generation, meta.synced_base, meta.synced_offset)
        self._file.write(epochs._pack(meta), self._offsets[0])
        self._file.sync_data()
        self.meta = meta

    with instead(MetaFile, "save", save):
        yield


def _install(self: Store, tip: Tip, *, meta_first: bool) -> None:
    file, self._staged = self._staged, None
    assert file is not None
    generation = self._meta.meta.generation + 1
    header = SnapshotHeader(generation, tip)
    file.finish(header)
    if meta_first:
        self._save(generation=generation)
    else:
        for directory, kind in ((self._log_dir, "log"), (self._snap_dir, "snapshot")):
            for name in layout.names_of(kind, self._files.list(directory)):
                self._files.unlink(f"{directory}/{name.name}")
            self._files.sync_dir(directory)
    file.publish(header)
    self._log.restart(log.create_segment(self._files, self._log_dir, LogHeader(self._server_id, generation, tip)))
    if not meta_first:
        self._save(generation=generation)
    self._snapshots, self._verified, self._newest = [tip.zxid], {tip.zxid}, tip


@_trap(CRASH_TRAPS, "meta-before-image", "I26")
def _meta_before_image() -> Iterator[None]:
    """A received snapshot counts, by the meta file, before it has its name."""
    with instead(Store, "install", lambda self, tip: _install(self, tip, meta_first=True)):
        yield


@_trap(CRASH_TRAPS, "old-log-gone-first", "I26")
def _old_log_gone_first() -> Iterator[None]:
    """The old history is deleted before the received snapshot counts."""
    with instead(Store, "install", lambda self, tip: _install(self, tip, meta_first=False)):
        yield


@_trap(CRASH_TRAPS, "cut-before-watermark", "I26")
def _cut_before_watermark() -> Iterator[None]:
    """The log is cut before the watermark comes down: a crash in between looks like damage (D6)."""

    def truncate(self: Store, after: Zxid) -> None:
        if self._log.tip.zxid != after:
            base, offset = self._log.end_at(after)
            self._log.truncate(after)
            self._meta.save(self._meta.meta._replace(synced_base=base, synced_offset=offset))

    with instead(Store, "truncate", truncate):
        yield


@_trap(CRASH_TRAPS, "cut-unsynced", "I26", "I7", "I3")
def _cut_unsynced() -> Iterator[None]:
    """Segments behind a cut are unlinked, and the directory is not synced (A12): they come back."""
    right = Log.truncate

    def truncate(self: Log, after: Zxid) -> None:
        files: Any = self._files
        self._files = _Without(files, "sync_dir")
        right(self, after)
        self._files = files

    with instead(Log, "truncate", truncate):
        yield


@_trap(CRASH_TRAPS, "purge-unordered", "I26")
def _purge_unordered() -> Iterator[None]:
    """Segments are purged all at once, and the directory is synced behind the last: a crash may leave a hole (B9)."""

    def drop_before(self: Log, zxid: Zxid) -> None:
        while len(self._segments) > 1 and self._segments[1].header.base.zxid <= zxid:
            self._files.unlink(self._segments.pop(0).path)
        self._files.sync_dir(self._directory)

    with instead(Log, "drop_before", drop_before):
        yield


@_trap(CRASH_TRAPS, "log-purged-too-far", "I26", "I7")
def _log_purged_too_far() -> Iterator[None]:
    """The log is purged up to a snapshot that has not got its name yet."""
    right = SnapshotFile.publish

    def commit(self: Store, header: SnapshotHeader, file: SnapshotFile) -> None:
        if header.generation == self._meta.meta.generation:
            self._log.drop_before(header.tip.zxid)
        path = right(file, header)
        assert path
        self._snapshots.append(header.tip.zxid)
        self._newest = header.tip

    with instead(Store, "_commit_snapshot", commit):
        yield


# What a start makes of it --------------------------------------------------------------------------------------------


def _surveyed(judge: Callable[[Survey, Meta], str | None]) -> AbstractContextManager[None]:
    right = repair.survey

    def survey(files: Files, log_dir: str, snap_dir: str, meta: Meta) -> Survey:
        found = right(files, log_dir, snap_dir, meta)
        if why := judge(found, meta):
            raise DamagedLogError(f"{log_dir}: offset 0: {why}")
        return found

    return instead(store, "survey", survey)


@_trap(CRASH_TRAPS, "torn-tail-refused", "I26")
def _torn_tail_refused() -> Iterator[None]:
    """A tail that a crash has torn is taken for damage (D6)."""
    with _surveyed(lambda found, meta: "torn" if found.cut is not None else None):
        yield


@_trap(CRASH_TRAPS, "new-segment-refused", "I26")
def _new_segment_refused() -> Iterator[None]:
    """A newest segment without a whole header, which a crash leaves, is taken for damage (P3, ZK-2332)."""

    def judge(found: Survey, meta: Meta) -> str | None:
        return next((path for path in found.leftovers if f"/log.{meta.generation:08x}." in path), None)

    with _surveyed(judge):
        yield


@_trap(CRASH_TRAPS, "leftover-refused", "I26")
def _leftover_refused() -> Iterator[None]:
    """A file that was being written aside is in the way of a start (D6, ZK-1653)."""
    with _surveyed(lambda found, meta: next((path for path in found.leftovers if path.endswith(".tmp")), None)):
        yield


@_trap(CRASH_TRAPS, "tail-left", "I26", "I7")
def _tail_left() -> Iterator[None]:
    """A torn tail is seen, and left where it is."""
    right = repair.put_right

    def put_right(files: Files, log_dir: str, snap_dir: str, found: Survey) -> None:
        class Kept(_Without):
            def open(self, path: str, *, create: bool = False) -> Any:
                return _Without(self._real.open(path, create=create), "truncate")

        right(Kept(files), log_dir, snap_dir, found)

    with instead(store, "put_right", put_right):
        yield


@_trap(CRASH_TRAPS, "cut-too-far", "I26", "I7")
def _cut_too_far() -> Iterator[None]:
    """A start takes the last record for a torn one, always (B10)."""
    right = layout.frames

    def frames(data: bytes, at: int, shift: int, before: Tip, salt: int) -> Iterator[tuple[int, int, int, int, int]]:
        found = list(right(data, at, shift, before, salt))
        yield from found[:-1]

    with instead(repair, "frames", frames):
        yield


# What only damage brings out -----------------------------------------------------------------------------------------


@_trap(DAMAGE_TRAPS, "chain-unchecked", "WRONG", "EXCEPTION")
def _chain_unchecked() -> Iterator[None]:
    """Records are taken as they are found, whatever their checksum."""
    right = layout.frames

    def frames(data: bytes, at: int, shift: int, before: Tip, salt: int) -> Iterator[tuple[int, int, int, int, int]]:
        last = before
        while at < len(data):
            if data[at] == layout.RECORD_MAGIC and len(data) - at >= layout.RECORD.size:
                _, length, chain, zxid = layout.RECORD.unpack_from(data, at)
                start, end = at + layout.RECORD.size, at + layout.RECORD.size + length
                if end > len(data) or zxid <= last.zxid:
                    return
                yield shift + at, zxid, start, end, chain
                last, at = Tip(Zxid(zxid), chain), end
            else:
                one = next(right(data, at, shift, last, salt), None)
                if one is None:
                    return
                yield one
                at = one[3] - shift if one[1] < 0 else one[3]

    with instead(repair, "frames", frames), instead(log, "frames", frames):
        yield


@_trap(DAMAGE_TRAPS, "watermark-ignored", "WRONG")
def _watermark_ignored() -> Iterator[None]:
    """Whatever does not verify in the last segment is a torn tail, and cut off (P-A recovery, FAST 2018)."""
    right = repair._scan

    def scan(path: str, data: bytes, header: LogHeader, watermark: int, found: Survey) -> None:
        with instead(repair, "_marked_behind", lambda data, end, salt: 0):
            right(path, data, header, 0, found)

    with instead(repair, "_scan", scan):
        yield


@_trap(DAMAGE_TRAPS, "snapshot-unchecked", "WRONG", "EXCEPTION")
def _snapshot_unchecked() -> Iterator[None]:
    """A snapshot is whole if its header is."""

    def problem_of(file: File, expected: SnapshotHeader | None, path: str) -> str | None:
        return None if layout.read_snapshot_header(file.read(64, 0), path) else "offset 0: expected a header"

    with instead(snapshots, "problem_of", problem_of):
        yield


@_trap(DAMAGE_TRAPS, "length-believed", "MEMORY")
def _length_believed() -> Iterator[None]:
    """A record's payload is read by the length that stands before it."""
    right = repair._scan

    def scan(path: str, data: bytes, header: LogHeader, watermark: int, found: Survey) -> None:
        at = data.find(bytes([layout.RECORD_MAGIC]), layout.LOG_HEADER_BYTES)
        if at >= 0 and len(data) - at >= layout.RECORD.size:
            bytes(layout.RECORD.unpack_from(data, at)[1])
        right(path, data, header, watermark, found)

    with instead(repair, "_scan", scan):
        yield
