"""Store: the data directory of one server; log, snapshots and promises under one roof.

Calls block on the disk and belong to one thread at a time: the server gives them to a worker thread of its own. Only
the writer of `begin_snapshot` (up to its `finish`) and the reader of `open_snapshot` may be used from another one while
the log goes on.

The first OSError of a write or sync of protocol data breaks the store: it propagates, every later call raises
`BrokenStoreError`, and only a new start, which reads all from disk, may go on.
"""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from zabpy.model import NO_TIP, Entry, Tip, Zxid, epoch_of

from .epochs import NAME as META_NAME, Meta, MetaFile, create_meta, read_meta
from .errors import (
    BrokenStoreError,
    CannotTruncateError,
    DamagedMetaError,
    DamagedSnapshotError,
    ForeignDirectoryError,
    LockedError,
    SnapshotFailed,
    UnusableDirectoryError,
)
from .files import Files, Lock
from .format import LogHeader, SnapshotHeader, names_of, snapshot_name
from .log import Log, create_segment
from .repair import Cut, Survey, put_right, survey
from .snapshots import DAMAGED_SUFFIX, OWN_ASIDE, RECEIVED_ASIDE, SnapshotFile, SnapshotReader, check_snapshot

SNAPSHOTS_MIN = 3


@dataclass(frozen=True, slots=True)
class Recovered:
    """What the disk held when the store was opened.

    ``fresh``: the directory was empty and is initialised now. ``clean``: the last stop was a `Store.close`. ``cut``: a
    torn tail that was cut off; never after a clean stop. ``damaged_snapshots``: set aside, since an older one does;
    each is one line. ``start_number`` counts the starts, this one included, and is durable already.
    """

    accepted_epoch: int
    start_number: int
    snapshot: Tip
    log_base: Zxid
    entries: list[Entry]
    fresh: bool
    clean: bool
    cut: Cut | None
    damaged_snapshots: tuple[str, ...]


class Store:
    """Make one with `Store.open`; give it back with `close`."""

    recovered: Recovered

    @classmethod
    def open(
        cls,
        files: Files,
        log_dir: str,
        snap_dir: str,
        server_id: int,
        *,
        segment_bytes: int = 64 << 20,
        allocate_bytes: int = 1 << 20,
        first_start: int = 1,
    ) -> "Store":
        """Take the directories (they may be one) and recover what they hold; empty ones are initialised.

        ``segment_bytes``: begin a new segment at the batch that finds this many in the last one. ``allocate_bytes``:
        by how much a segment grows at a time. ``first_start``: where empty directories begin to count their starts; a
        number of chance, so that a server whose directory was emptied does not count again what it counted before.

        Costs reading all of the log that is kept and the newest snapshot, about 1.5 µs a record, and a handful of
        syncs.

        Raises:
            StoreError: one of its subclasses; the text is one line, and nothing was changed.
        """
        locks: list[Lock] = []
        try:
            for directory in dict.fromkeys((log_dir, snap_dir)):
                files.make_dir(directory)
                locks.append(_lock(files, directory))
            store = cls()
            store._open(files, log_dir, snap_dir, server_id, segment_bytes, allocate_bytes, first_start)
            store._locks = locks
        except OSError as error:
            _close(locks)
            where = error.filename or log_dir
            raise UnusableDirectoryError(f"{where}: {error.strerror or error}") from error
        except BaseException:
            _close(locks)
            raise
        return store

    def _open(
        self,
        files: Files,
        log_dir: str,
        snap_dir: str,
        server_id: int,
        segment_bytes: int,
        allocate_bytes: int,
        first_start: int,
    ) -> None:
        self._files, self._log_dir, self._snap_dir, self._server_id = files, log_dir, snap_dir, server_id
        self._locks: list[Lock] = []
        self._broken: str | None = None
        self._staged: SnapshotFile | None = None
        self._writer: SnapshotWriter | None = None
        meta_path = f"{log_dir}/{META_NAME}"

        fresh = META_NAME not in files.list(log_dir)
        if fresh:
            if found_files := names_of("log", files.list(log_dir)) + names_of("snapshot", files.list(snap_dir)):
                raise DamagedMetaError(f"{meta_path}: expected beside {found_files[-1].name}, it is missing")
            meta, slot = Meta(0, server_id, start_number=first_start - 1), 0
        else:
            meta, slot = read_meta(files, meta_path)
            if meta.server_id != server_id:
                raise ForeignDirectoryError(
                    f"{meta_path}: expected the directory of server {server_id}, it is that of server {meta.server_id}"
                )
        found = survey(files, log_dir, snap_dir, meta)
        if epoch_of(found.tip.zxid) > meta.accepted_epoch:
            # Who follows or leads has promised so before. A file of before that promise: an old copy, put back.
            raise DamagedMetaError(
                f"{meta_path}: offset 0: accepted epoch {meta.accepted_epoch}, but the log is of epoch "
                f"{epoch_of(found.tip.zxid)}, up to {found.tip.zxid:#x}: this file is older than the log"
            )

        # From here on we write.
        put_right(files, log_dir, snap_dir, found)
        if fresh:
            create_meta(files, log_dir, meta)
        if meta.generation == 0:
            # As in `install`: the segment first, then the meta file that names it.
            segment = create_segment(files, log_dir, LogHeader(server_id, 1, NO_TIP))
            found.segments.append(segment)
        self._meta = MetaFile(files, meta_path, meta, slot)
        try:
            self._log = Log(
                files, log_dir, found.segments, found.tip, segment_bytes=segment_bytes, allocate_bytes=allocate_bytes
            )
            try:
                self._save(start_number=meta.start_number + 1, generation=max(meta.generation, 1))
            except BaseException:
                self._log.abandon()
                raise
        except BaseException:
            self._meta.close()
            raise
        self._snapshots = found.snapshots
        self._verified = {found.snapshot.zxid}
        self._newest = found.snapshot
        self.recovered = _recovered(self._meta.meta, found, self._log.base.zxid, fresh, meta.clean)

    # What is there --------------------------------------------------------------------------------------------------

    @property
    def accepted_epoch(self) -> int:
        return self._meta.meta.accepted_epoch

    @property
    def tip(self) -> Tip:
        """The last record written."""
        return self._log.tip

    @property
    def synced(self) -> Tip:
        """The last record on disk for sure."""
        return self._log.synced

    @property
    def log_base(self) -> Zxid:
        """The zxid after which the log can be read."""
        return self._log.base.zxid

    @property
    def snapshot(self) -> Tip:
        """Where the newest snapshot stands; `NO_TIP` when there is none."""
        return self._newest

    def tip_at(self, zxid: Zxid) -> Tip | None:
        """The tip at this record of the log, or at its base; None when the log has none there. Reads the disk."""
        return self._log.tip_at(zxid)

    def read_entries(self, after: Zxid, upto: Zxid, bytes_max: int) -> list[Entry]:
        """Entries behind ``after`` up to and including ``upto``, from disk, until their payloads exceed ``bytes_max``;
        at least one if there is one. Costs 1.5 µs an entry and at most a look through 32 KiB before the first.

        Raises:
            PurgedError: ``after`` is below `log_base`.
            DamagedLogError: the disk does not give back what was written.
        """
        self._check()
        return self._log.read(after, upto, bytes_max)

    # The log --------------------------------------------------------------------------------------------------------

    def append(self, entries: Sequence[Entry]) -> None:
        """Write entries at the end of the log, in one write. Not durable before `sync` returns.

        Raises:
            OutOfOrderError: they do not follow the last record; nothing was written, and the store is not broken.
            OSError: the store is broken now.
        """
        if self._broken is not None:
            self._check()
        if not entries:
            return
        try:
            if self._log.wants_roll:
                self._log.roll()
                self._save()
            self._log.append(entries)
        except OSError as error:
            self._break(error)
            raise

    def sync(self) -> None:
        """All that was appended is on disk on return. Raises OSError: the store is broken now."""
        if self._broken is not None:
            self._check()
        try:
            if self._log.sync():
                self._meta.note_synced(*self._log.watermark)
        except OSError as error:
            self._break(error)
            raise

    def append_and_sync(self, entries: Sequence[Entry]) -> None:
        self.append(entries)
        self.sync()

    def truncate(self, after: Zxid) -> None:
        """Cut the log behind the record at ``after``; durable on return.

        Raises:
            CannotTruncateError: no such record, or a snapshot stands above it; nothing was changed.
            OSError: the store is broken now.
        """
        self._check()
        if after < self._newest.zxid:
            raise CannotTruncateError(
                f"{self._snap_dir}/{snapshot_name(self._meta.meta.generation, self._newest.zxid)}: cannot cut the log "
                f"at {after:#x}, below this snapshot"
            )
        with self._breaking():
            if self._log.tip.zxid == after:
                self._log.sync()
                return
            base, offset = self._log.end_at(after)
            # The watermark comes down first: else a crash behind the cut would look like the loss of what was synced.
            self._meta.save(self._meta.meta._replace(synced_base=base, synced_offset=offset))
            self._log.truncate(after)

    # Promises -------------------------------------------------------------------------------------------------------

    def save_epoch(self, epoch: int) -> None:
        """Store the accepted epoch; durable and whole on return. It never goes back."""
        self._check()
        if epoch < self.accepted_epoch:
            raise ValueError(f"accepted epoch {epoch} is before {self.accepted_epoch}")
        with self._breaking():
            self._save(accepted_epoch=epoch)

    # Snapshots ------------------------------------------------------------------------------------------------------

    def begin_snapshot(self, tip: Tip) -> "SnapshotWriter":
        """A writer for the state at ``tip``, a synced record of our log. One at a time.

        The next batch begins a new segment, so that the log can be purged up to here.

        Raises:
            SnapshotFailed: no space, or the disk's word. The log is not touched.
        """
        self._check()
        if self._writer is not None:
            raise ValueError("another snapshot is being written")
        self._check_tip(tip)
        header = SnapshotHeader(self._meta.meta.generation, tip)
        self._writer = SnapshotWriter(self, header, SnapshotFile(self._files, self._snap_dir, OWN_ASIDE))
        self._log.ask_roll()
        return self._writer

    def _check_tip(self, tip: Tip) -> None:
        if not self._newest.zxid <= tip.zxid <= self._log.synced.zxid or self._log.tip_at(tip.zxid) != tip:
            raise SnapshotFailed(
                f"{self._snap_dir}: a snapshot at {tip.zxid:#x} (chain {tip.chain:#x}) is not one of this log, "
                f"between {self._newest.zxid:#x} and {self._log.synced.zxid:#x}"
            )

    def _commit_snapshot(self, header: SnapshotHeader, file: SnapshotFile) -> None:
        self._check()
        tip = header.tip
        try:
            self._check_tip(tip)  # the log may have been cut or replaced in the meantime
            if header.generation != self._meta.meta.generation:
                raise SnapshotFailed(f"{self._snap_dir}: the log that the snapshot at {tip.zxid:#x} is of was replaced")
        except SnapshotFailed:
            file.remove()
            raise
        with self._breaking():
            file.publish(header)
        if tip.zxid not in self._snapshots:
            self._snapshots.append(tip.zxid)
        self._verified.add(tip.zxid)
        self._newest = tip

    def _end_snapshot(self) -> None:
        self._writer = None

    def snapshot_path(self, tip: Tip) -> str:
        return f"{self._snap_dir}/{snapshot_name(self._meta.meta.generation, tip.zxid)}"

    def open_snapshot(self, tip: Tip) -> SnapshotReader:
        """The bytes that were written at ``tip``. It may be read on while the log goes on, and after a purge too.

        Raises:
            DamagedSnapshotError: here or while reading: it is not what was written, or not there.
        """
        path = self.snapshot_path(tip)
        try:
            reader = SnapshotReader(self._files, path)
        except FileNotFoundError as error:
            raise DamagedSnapshotError(f"{path}: expected a snapshot, it is missing") from error
        if reader.tip != tip:
            reader.close()
            raise DamagedSnapshotError(f"{path}: offset 0: expected chain {tip.chain:#x}, found {reader.tip.chain:#x}")
        return reader

    def keep_image(self, data: bytes) -> None:
        """The next bytes of an image that is being received. Raises `SnapshotFailed`: it is dropped."""
        self._check()
        try:
            if self._staged is None:
                self._staged = SnapshotFile(self._files, self._snap_dir, RECEIVED_ASIDE)
            self._staged.write(data)
        except SnapshotFailed:
            self._staged = None
            raise

    def drop_image(self) -> None:
        """Forget what `keep_image` was given."""
        if self._staged is not None:
            self._staged.remove()
            self._staged = None

    def install(self, tip: Tip) -> None:
        """The image given to `keep_image` is the whole state at ``tip``: make it our history, in place of all we had.

        A crash leaves either the old history or the new one. The steps: the snapshot, a segment that begins behind it,
        both of the next generation; then the meta file says that this generation counts; then the old files go.

        Raises:
            SnapshotFailed: the image could not be made durable; it is dropped and nothing was changed.
            OSError: the store is broken now.
        """
        self._check()
        if self._staged is None:
            self.keep_image(b"")
        file, self._staged = self._staged, None
        assert file is not None
        generation = self._meta.meta.generation + 1
        header = SnapshotHeader(generation, tip)
        file.finish(header)
        with self._breaking():
            file.publish(header)
            segment = create_segment(self._files, self._log_dir, LogHeader(self._server_id, generation, tip))
            self._log.restart(segment)
            self._save(generation=generation)
            self._snapshots, self._verified, self._newest = [tip.zxid], {tip.zxid}, tip
            for directory, kind in ((self._log_dir, "log"), (self._snap_dir, "snapshot")):
                for name in names_of(kind, self._files.list(directory)):
                    if name.generation < generation:
                        self._files.unlink(f"{directory}/{name.name}")
                self._files.sync_dir(directory)

    def purge(self, keep_snapshots: int) -> Zxid:
        """Delete all but the newest snapshots, counting only whole ones, and the log that none of those needs.

        Returns `log_base`. A snapshot that turns out not to be whole is set aside, as at a start.
        """
        self._check()
        if keep_snapshots < SNAPSHOTS_MIN:
            raise ValueError(f"keep at least {SNAPSHOTS_MIN} snapshots, not {keep_snapshots}")
        kept: list[Zxid] = []
        with self._breaking():
            for zxid in reversed(self._snapshots):
                path = self.snapshot_path(Tip(zxid, 0))
                if len(kept) == keep_snapshots:
                    self._files.unlink(path)
                elif self._is_whole(zxid, path):
                    kept.append(zxid)
                else:
                    self._files.rename(path, path + DAMAGED_SUFFIX)
            self._files.sync_dir(self._snap_dir)
            self._snapshots = kept[::-1]
            if len(kept) == keep_snapshots:
                self._log.drop_before(kept[-1])
        return self._log.base.zxid

    def _is_whole(self, zxid: Zxid, path: str) -> bool:
        if zxid not in self._verified and isinstance(
            check_snapshot(self._files, path, self._meta.meta.generation, zxid), Tip
        ):
            self._verified.add(zxid)
        return zxid in self._verified

    # The end --------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Sync, note that we stopped cleanly, let go. After a failure only the last. May be called twice."""
        if self._writer is not None:
            self._writer.abort()
        self.drop_image()
        try:
            if self._broken is None:
                with self._breaking():
                    self._log.close()
                    self._save(clean=True)
        finally:
            self._broken = self._broken or "closed"
            with contextlib.suppress(OSError):
                self._log.abandon()
            with contextlib.suppress(OSError):
                self._meta.close()
            _close(self._locks)
            self._locks = []

    def _save(
        self,
        *,
        accepted_epoch: int | None = None,
        start_number: int | None = None,
        generation: int | None = None,
        clean: bool = False,
    ) -> None:
        meta = self._meta.meta
        base, offset = self._log.watermark
        self._meta.save(
            meta._replace(
                accepted_epoch=meta.accepted_epoch if accepted_epoch is None else accepted_epoch,
                start_number=meta.start_number if start_number is None else start_number,
                generation=meta.generation if generation is None else generation,
                synced_base=base,
                synced_offset=offset,
                clean=clean,
            )
        )

    def _check(self) -> None:
        if self._broken is not None:
            raise BrokenStoreError(f"{self._log_dir}: the store is no longer in use: {self._broken}")

    def _break(self, error: OSError) -> None:
        self._broken = str(error)

    @contextlib.contextmanager
    def _breaking(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._break(error)
            raise


class SnapshotWriter:
    """A snapshot being written: `write` the bytes, `finish`, then `commit`; or `abort`.

    Only `commit` and `abort` belong to the store's thread: what takes as long as the snapshot is large does not hold up
    the log.
    """

    def __init__(self, store: Store, header: SnapshotHeader, file: SnapshotFile) -> None:
        self._store, self._header, self._file = store, header, file
        self._open, self._finished = True, False

    def write(self, data: bytes) -> None:
        """Raises `SnapshotFailed`; it is removed then."""
        self._check()
        try:
            self._file.write(data)
        except SnapshotFailed:
            self._end()
            raise

    def finish(self) -> None:
        """All was written: on disk and read back on return, not yet under its name. Raises `SnapshotFailed`."""
        self._check()
        try:
            self._file.finish(self._header)
        except SnapshotFailed:
            self._end()
            raise
        self._finished = True

    def commit(self) -> None:
        """Named, and so the newest, on return. Finishes first if nobody did.

        Raises:
            SnapshotFailed: it is removed; nothing else was changed.
            OSError: its name is in doubt; the store is broken now.
        """
        if not self._finished:
            self.finish()
        self._check()
        self._end()
        self._store._commit_snapshot(self._header, self._file)

    def _check(self) -> None:
        if not self._open:
            raise SnapshotFailed(f"the snapshot at {self._header.tip.zxid:#x} was broken off")

    def abort(self) -> None:
        if self._open:
            self._end()
            self._file.remove()

    def _end(self) -> None:
        self._open = False
        self._store._end_snapshot()


def _recovered(meta: Meta, found: Survey, base: Zxid, fresh: bool, clean: bool) -> Recovered:
    return Recovered(
        accepted_epoch=meta.accepted_epoch,
        start_number=meta.start_number,
        snapshot=found.snapshot,
        log_base=base,
        entries=found.entries,
        fresh=fresh,
        clean=clean,
        cut=found.cut,
        damaged_snapshots=tuple(f"{path}: {what}" for path, what in found.damaged),
    )


def _lock(files: Files, directory: str) -> Lock:
    try:
        return files.lock(directory)
    except BlockingIOError as error:
        raise LockedError(f"{directory}: expected to be the only process here, another one holds it") from error


def _close(locks: list[Lock]) -> None:
    for lock in locks:
        lock.close()
