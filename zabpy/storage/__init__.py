"""The disk: the log, snapshots, and what this server has promised. Blocking calls; payloads unread.

May import: zabpy.model; `os` only in files.py.
Imported by: zabpy.server, zabpy.testing, zabpy.__main__; by those only through the names below.
Read format.py first (the bytes), then store.py (what can be asked), then repair.py (what a start makes of a crash).
"""

from .errors import (
    BrokenStoreError as BrokenStoreError,
    CannotTruncateError as CannotTruncateError,
    DamagedError as DamagedError,
    DamagedLogError as DamagedLogError,
    DamagedMetaError as DamagedMetaError,
    DamagedSnapshotError as DamagedSnapshotError,
    ForeignDirectoryError as ForeignDirectoryError,
    LockedError as LockedError,
    NewerFormatError as NewerFormatError,
    OutOfOrderError as OutOfOrderError,
    PurgedError as PurgedError,
    SnapshotFailed as SnapshotFailed,
    StoreError as StoreError,
    UnusableDirectoryError as UnusableDirectoryError,
)
from .files import File as File, Files as Files, Lock as Lock, OsFiles as OsFiles
from .inspect import FrameSeen as FrameSeen, inspect_segment as inspect_segment
from .repair import Cut as Cut
from .snapshots import SnapshotReader as SnapshotReader
from .store import (
    SNAPSHOTS_MIN as SNAPSHOTS_MIN,
    Recovered as Recovered,
    SnapshotWriter as SnapshotWriter,
    Store as Store,
)
