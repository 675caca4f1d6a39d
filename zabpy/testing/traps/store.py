"""Traps: the data directory. Each is found by seeds of store_runs.py."""

import inspect
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

from zabpy.storage import SnapshotFailed, Store, repair
from zabpy.storage.epochs import MetaFile
from zabpy.storage.log import Log
from zabpy.storage.snapshots import SnapshotFile

from ..disk import FaultyFiles
from ..instead import instead
from .trap import trap


def _edited(owner: Any, name: str, old: str, new: str) -> AbstractContextManager[None]:
    """A function with one piece of its source replaced, for mistakes in the middle of one."""
    function = vars(owner)[name]
    source = inspect.cleandoc("\n" + inspect.getsource(function))
    assert source.count(old) == 1, f"{name} does not hold {old!r} once"
    scope: dict[str, Any] = {}
    exec(compile(source.replace(old, new), inspect.getfile(function), "exec"), function.__globals__, scope)
    return instead(owner, name, scope[name])


def _without_syncs(owner: Any, name: str) -> AbstractContextManager[None]:
    """During this method nothing is synced, and nobody is told."""

    def unsynced(self: Any, *given: Any) -> Any:
        with instead(FaultyFiles, "_sync", lambda self, kind, path, covers: None):
            return right(self, *given)

    right: Callable[..., Any] = vars(owner)[name]
    return instead(owner, name, unsynced)


@trap("A2-store", "I7", "I3", "I26", on="store")
def _append_not_synced() -> Iterator[None]:
    """A sync of the log returns without the disk's word."""
    with _without_syncs(Log, "sync"):
        yield


@trap("A9-store", "I18", "I26", on="store")
def _snapshot_not_synced() -> Iterator[None]:
    """A snapshot gets its name before its content is on disk."""
    with _without_syncs(SnapshotFile, "finish"):
        yield


@trap("A12-store", "I3", "I7", "I26", on="store")
def _truncation_not_synced() -> Iterator[None]:
    """The log is cut, and the cut is not synced: a power cut brings back what was behind it."""
    with _without_syncs(Log, "truncate"):
        yield


@trap("B3", "I7", "I26", "I3", on="store")
def _position_not_moved() -> Iterator[None]:
    """The log is cut through a second handle; whoever writes goes on at the old position, behind a gap."""

    def truncate(self: Log, after: Any) -> None:
        offset, segment = self._offset, self._segment
        right(self, after)
        if self._segment is segment:
            self._offset = self._allocated = offset

    right = Log.truncate
    with instead(Log, "truncate", truncate):
        yield


@trap("B6-store", "I7", "I3", "I26", on="store")
def _failed_sync_repeated() -> Iterator[None]:
    """A sync that failed is tried again, and succeeds: what the first one dropped is on no disk."""

    def sync(self: Log) -> bool:
        try:
            return right(self)
        except OSError:
            return right(self)

    right = Log.sync
    with instead(Log, "sync", sync):
        yield


@trap("B9", "I3", "I7", "I26", "CORE", on="store")
def _missing_segment_passed_over() -> Iterator[None]:
    """At the start nobody looks whether a segment goes on where the one before it ends."""
    with _edited(repair, "_survey_log", "if found.segments and header.base != found.tip:", "if False:"):
        yield


@trap("B9-rest", "I7", "I3", on="store")
def _damage_taken_for_a_torn_tail() -> Iterator[None]:
    """A record that does not verify is the end of the log, wherever it stands: what was synced behind it is cut
    off."""
    with _edited(repair, "_scan", "if end < watermark:", "if False:"):
        yield


@trap("D6-store", "I26", "I2", on="store")
def _both_slots_at_once() -> Iterator[None]:
    """Both slots of the promise are written before either is synced: a power cut may tear both."""

    def save(self: MetaFile, meta: Any) -> None:
        with instead(FaultyFiles, "_sync", lambda self, kind, path, covers: None):
            right(self, meta)
        self._file.sync_data()

    right = MetaFile.save
    with instead(MetaFile, "save", save):
        yield


@trap("P1", "I7", on="store")
def _snapshots_counted_unread() -> Iterator[None]:
    """What is purged goes by the number of snapshots, whole or not."""
    with instead(Store, "_is_whole", lambda self, zxid, path: True):
        yield


@trap("P1-log", "I7", "I26", on="store")
def _log_purged_up_to_the_newest() -> Iterator[None]:
    """The log is purged up to the newest snapshot instead of the oldest that is kept."""
    with _edited(Store, "purge", "self._log.drop_before(kept[-1])", "self._log.drop_before(kept[0])"):
        yield


@trap("P2", "I18", "I26", "I7", on="store")
def _failed_snapshot_gets_its_name() -> Iterator[None]:
    """A snapshot for which there was no room gets its name all the same, and is the newest."""

    def finish(self: SnapshotFile, header: Any) -> None:
        try:
            right(self, header)
        except SnapshotFailed:
            pass

    right = SnapshotFile.finish
    with instead(SnapshotFile, "finish", finish), instead(SnapshotFile, "remove", lambda self: None):
        yield


@trap("P3", "I26", on="store")
def _half_made_segment_refused() -> Iterator[None]:
    """A server does not start when its newest log file has no whole header, as a crash can leave it."""
    with _edited(repair, "_survey_log", "place == len(names) - 1 > 0", "False"):
        yield


@trap("names-not-synced", "I26", "I7", "I18", "I3", on="store")
def _directories_not_synced() -> Iterator[None]:
    """Files are synced, their names are not: a power cut leaves a new file nameless."""
    with instead(FaultyFiles, "sync_dir", lambda self, path: None):
        yield
