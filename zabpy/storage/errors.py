"""What storage raises. Every text is one line that names the file, where in it, and what was expected there."""

from zabpy.model import ZabpyError


class StoreError(ZabpyError):
    """Root of all below. When `Store.open` raises it, nothing in the directories was changed."""


class DamagedError(StoreError):
    """What was synced once is not there now. Starting over it would break promises made to peers; a person decides."""


class DamagedLogError(DamagedError):
    """A log segment that is missing, or does not hold what was synced to it."""


class DamagedMetaError(DamagedError):
    """The file of promises (epochs) is unreadable, missing beside a log, or not the log's."""


class DamagedSnapshotError(DamagedError):
    """No whole snapshot reaches what the log needs below it."""


class NewerFormatError(StoreError):
    """Written by a later version of zabpy."""


class ForeignDirectoryError(StoreError):
    """The directory belongs to another server."""


class LockedError(StoreError):
    """Another process holds the directory."""


class UnusableDirectoryError(StoreError):
    """The operating system refused: no permission, no space, an I/O error."""


class OutOfOrderError(StoreError):
    """Entries that do not directly follow the end of the log; nothing was written."""


class CannotTruncateError(StoreError):
    """No record at that zxid to cut behind, or a snapshot stands above it; nothing was changed."""


class PurgedError(StoreError):
    """The log no longer reaches back that far."""


class SnapshotFailed(StoreError):
    """A snapshot could not be written; what there was of it is removed, and log and older snapshots are as before."""


class BrokenStoreError(StoreError):
    """A write or sync of protocol data failed before, or the store is closed. After a failure only a restart, which
    reads everything from disk, may go on."""
