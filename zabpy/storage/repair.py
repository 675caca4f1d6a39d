"""What is in the directories after whatever happened, and what may be done about it.

`survey` only reads. It either says what the history is and which small things to put right, or raises; `put_right`
then does them. So a directory that we refuse is left as it was found.

**A torn tail and damage look alike.** After a power cut any part of what was not synced may be missing, in any order:
a record may be gone and the one behind it, written in the same batch, whole. Only what is known to have been synced
tells them apart. That is the watermark, the greatest of
- the marks in the last segment, also those behind a frame that does not verify (each batch names the point up to which
  the file was synced when the batch was written),
- the meta file's, which is written after every sync, without being synced itself each time,
- the end of every segment that has a successor: it was synced before that was made.

A frame that does not verify at or above the watermark, in the last segment, is the torn tail: the log ends before it.
Below the watermark it is damage: `DamagedLogError`. What this cannot tell is a torn tail from damage to the very last
batches before a power cut; `Survey.cut` says that something was cut, so that the caller may be careful.
Source: Alagappan et al., Protocol-Aware Recovery (FAST 2018).
"""

from dataclasses import dataclass, field
from typing import NamedTuple

from zabpy.model import NO_TIP, Entry, Tip, Zxid

from .epochs import NAME as META_NAME, Meta
from .errors import DamagedLogError, DamagedMetaError, DamagedSnapshotError, ForeignDirectoryError
from .files import Files
from .format import (
    LOG_HEADER_BYTES,
    MARK_MAGIC,
    RECORD,
    RECORD_MAGIC,
    LogHeader,
    Name,
    frames,
    log_name,
    names_of,
    read_log_header,
    read_mark,
    snapshot_name,
)
from .log import Segment, read_whole
from .snapshots import DAMAGED_SUFFIX, OWN_ASIDE, RECEIVED_ASIDE, check_snapshot


class Cut(NamedTuple):
    """A torn tail that was cut off: ``size`` bytes from ``offset`` on, behind the record ``after``."""

    path: str
    offset: int
    size: int
    after: Tip


@dataclass(slots=True)
class Survey:
    """What was found, and what `put_right` has to do."""

    snapshot: Tip = NO_TIP
    #: By zxid, ascending; of those, only `snapshot` was read.
    snapshots: list[Zxid] = field(default_factory=list)
    segments: list[Segment] = field(default_factory=list)
    tip: Tip = NO_TIP
    #: Entries behind the snapshot.
    entries: list[Entry] = field(default_factory=list)
    cut: Cut | None = None
    #: In the last segment, what is behind this offset may be in the system's cache only.
    synced: int = 0
    leftovers: list[str] = field(default_factory=list)
    #: Snapshots that are not whole, while an older one will do: path, and what is wrong.
    damaged: list[tuple[str, str]] = field(default_factory=list)


def survey(files: Files, log_dir: str, snap_dir: str, meta: Meta) -> Survey:
    """Read everything, change nothing.

    Raises:
        DamagedLogError, DamagedMetaError, DamagedSnapshotError, ForeignDirectoryError, NewerFormatError, OSError
    """
    found = Survey()
    logs, snapshots = names_of("log", files.list(log_dir)), names_of("snapshot", files.list(snap_dir))
    found.leftovers = _asides(files, log_dir, snap_dir)
    found.leftovers += _other_generations(files, log_dir, snap_dir, meta, logs, snapshots)
    if meta.generation > 0:
        _survey_snapshots(files, snap_dir, [name for name in snapshots if name.generation == meta.generation], found)
        _survey_log(files, log_dir, meta, [name for name in logs if name.generation == meta.generation], found)
        _check_together(snap_dir, found)
    return found


def _asides(files: Files, log_dir: str, snap_dir: str) -> list[str]:
    """What was written aside and never got its name."""
    asides = [(log_dir, f"{META_NAME}.tmp"), (snap_dir, OWN_ASIDE), (snap_dir, RECEIVED_ASIDE)]
    return [f"{directory}/{name}" for directory, name in asides if name in files.list(directory)]


def _other_generations(
    files: Files, log_dir: str, snap_dir: str, meta: Meta, logs: list[Name], snapshots: list[Name]
) -> list[str]:
    """Files of former generations, not yet deleted, and of the next one, which the meta file never came to name.

    The latter can be one snapshot and one segment without a record. Anything more was in use, and is not ours to
    delete: the meta file is older than the log.
    """
    later = [name for name in logs if name.generation > meta.generation]
    for name in later:
        used = bool(_read(files, f"{log_dir}/{name.name}")[LOG_HEADER_BYTES:].strip(b"\0"))
        if used or len(later) > 1 or name.generation > meta.generation + 1:
            raise DamagedMetaError(
                f"{log_dir}/{META_NAME}: offset 0: names log generation {meta.generation}, "
                f"but {name.name} is of a later one and in use"
            )
    for name in snapshots:
        if name.generation > meta.generation + (meta.generation > 0):
            raise DamagedMetaError(
                f"{log_dir}/{META_NAME}: offset 0: names log generation {meta.generation}, but there is {name.name}"
            )
    return [
        f"{directory}/{name.name}"
        for directory, names in ((log_dir, logs), (snap_dir, snapshots))
        for name in names
        if name.generation != meta.generation
    ]


def _survey_snapshots(files: Files, snap_dir: str, names: list[Name], found: Survey) -> None:
    """The newest whole one wins. Those below it are read when they are needed."""
    for place, name in reversed(list(enumerate(names))):
        path = f"{snap_dir}/{name.name}"
        tip = check_snapshot(files, path, name.generation, name.zxid)
        if isinstance(tip, Tip):
            found.snapshot = tip
            found.snapshots = [older.zxid for older in names[: place + 1]]
            return
        found.damaged.append((path, tip))


def _survey_log(files: Files, log_dir: str, meta: Meta, names: list[Name], found: Survey) -> None:
    headers: list[tuple[str, LogHeader]] = []
    finished = False  # the last segment had a successor, so it was whole
    for place, name in enumerate(names):
        path = f"{log_dir}/{name.name}"
        header = _read_header(files, path, name, meta)
        if header is not None:
            headers.append((path, header))
        elif (
            place == len(names) - 1 > 0
            and meta.synced_base < name.zxid
            and not _read(files, path)[LOG_HEADER_BYTES:].strip(b"\0")
        ):
            found.leftovers.append(path)  # a crash at its creation
            finished = True
        else:
            raise DamagedLogError(f"{path}: offset 0: expected a whole segment header")
    if not headers or headers[-1][1].base.zxid < meta.synced_base:
        missing = log_name(meta.generation, meta.synced_base)
        raise DamagedLogError(f"{log_dir}/{missing}: offset 0: expected this segment, it is missing")

    for number, (path, header) in enumerate(headers):
        if found.segments and header.base != found.tip:
            before = found.segments[-1]
            if header.base.zxid > found.tip.zxid:
                raise DamagedLogError(
                    f"{before.path}: offset {before.end}: expected records up to {header.base.zxid:#x}, where {path} "
                    f"goes on, or a segment between the two; the last one is {found.tip.zxid:#x}"
                )
            raise DamagedLogError(
                f"{path}: offset 0: expected a segment that goes on after {found.tip.zxid:#x} (chain "
                f"{found.tip.chain:#x}), it goes on after {header.base.zxid:#x} (chain {header.base.chain:#x})"
            )
        data = _read(files, path)
        watermark = len(data) if finished or number < len(headers) - 1 else 0
        if header.base.zxid == meta.synced_base:
            watermark = max(watermark, meta.synced_offset)
        _scan(path, data, header, watermark, found)


def _read(files: Files, path: str) -> bytes:
    file = files.open(path)
    try:
        return read_whole(file)
    finally:
        file.close()


def _read_header(files: Files, path: str, name: Name, meta: Meta) -> LogHeader | None:
    """None when there is no whole one."""
    file = files.open(path)
    try:
        header = read_log_header(file.read(LOG_HEADER_BYTES, 0), path)
    finally:
        file.close()
    if header is not None:
        if header.server_id != meta.server_id:
            raise ForeignDirectoryError(
                f"{path}: offset 0: expected the log of server {meta.server_id}, it is of server {header.server_id}"
            )
        if (header.generation, header.base.zxid) != (name.generation, name.zxid):
            raise DamagedLogError(f"{path}: offset 0: expected the segment that the file's name says")
    return header


def _scan(path: str, data: bytes, header: LogHeader, watermark: int, found: Survey) -> None:
    """Take in one segment's records, up to its end or to the first frame that does not verify."""
    segment = Segment(path, header, header.salt())
    snapshot, entries = found.snapshot, found.entries
    tip = header.base
    end = LOG_HEADER_BYTES
    synced = 0
    keep_after = snapshot.zxid
    _check_snapshot_chain(path, end, tip, snapshot)
    zxid, chain = tip
    for offset, frame_zxid, start, end, frame_chain in frames(data, LOG_HEADER_BYTES, 0, tip, segment.salt):
        if frame_zxid < 0:
            synced = start
            segment.note(Tip(zxid, chain), offset)
        else:
            zxid, chain = Zxid(frame_zxid), frame_chain
            if frame_zxid > keep_after:
                entries.append(Entry(zxid, data[start:end], chain))
            elif frame_zxid == keep_after:
                _check_snapshot_chain(path, offset, Tip(zxid, chain), snapshot)
    tip = Tip(zxid, chain)

    behind = max(synced, _marked_behind(data, end, segment.salt))
    watermark = max(watermark, behind)
    if end < watermark:
        raise DamagedLogError(
            f"{path}: offset {end}: expected the record after {tip.zxid:#x}, since all before offset {watermark} "
            f"was synced; found {_what_is_at(data, end)}"
        )
    torn = data[end:].rstrip(b"\0")
    if torn:
        found.cut = Cut(path, end, len(torn), tip)
    segment.end = end
    found.segments.append(segment)
    found.tip, found.synced = tip, watermark


def _check_snapshot_chain(path: str, offset: int, tip: Tip, snapshot: Tip) -> None:
    if tip.zxid == snapshot.zxid and tip.chain != snapshot.chain:
        raise DamagedLogError(
            f"{path}: offset {offset}: expected chain {snapshot.chain:#x} at {tip.zxid:#x}, as the snapshot there "
            f"has, found {tip.chain:#x}"
        )


def _marked_behind(data: bytes, at: int, salt: int) -> int:
    """The greatest watermark that a batch behind ``at`` names, whatever else is torn or damaged there."""
    synced = 0
    at = data.find(MARK_MAGIC, at)
    while at >= 0:
        synced = max(synced, read_mark(salt, data, at, at) or 0)
        at = data.find(MARK_MAGIC, at + 1)
    return synced


def _what_is_at(data: bytes, at: int) -> str:
    """For people."""
    if at >= len(data):
        return "the end of the file"
    if len(data) - at >= RECORD.size and data[at] == RECORD_MAGIC:
        _, length, _, zxid = RECORD.unpack_from(data, at)
        return f"one of {length} bytes at {zxid:#x} that does not verify"
    return "no record" if data[at : at + 64].strip(b"\0") else "zeros"


def _check_together(snap_dir: str, found: Survey) -> None:
    base = found.segments[0].header.base
    if found.snapshot.zxid < base.zxid:
        why = "".join(f"; {path}: {what}" for path, what in found.damaged)
        missing = snapshot_name(found.segments[0].header.generation, base.zxid)
        raise DamagedSnapshotError(
            f"{snap_dir}/{missing}: offset 0: expected this snapshot or a later one, since the log begins there{why}"
        )
    if found.snapshot.zxid > found.tip.zxid:
        raise DamagedLogError(
            f"{found.segments[-1].path}: offset {found.segments[-1].end}: expected records up to the snapshot at "
            f"{found.snapshot.zxid:#x}, the last one is {found.tip.zxid:#x}"
        )


def put_right(files: Files, log_dir: str, snap_dir: str, found: Survey) -> None:
    """Do what the survey asks for; durable on return, and harmless to repeat after a crash in between.

    The tail behind the watermark is written once more before it is synced: after a failed sync the system's cache may
    show what the disk never got, and hold it to be clean.
    """
    for path in found.leftovers:
        files.unlink(path)
    for path, _ in found.damaged:
        files.rename(path, path + DAMAGED_SUFFIX)
    if found.segments:
        segment = found.segments[-1]
        file = files.open(segment.path)
        try:
            if file.size() != segment.end:
                file.truncate(segment.end)
            if found.synced < segment.end:
                file.write(file.read(segment.end - found.synced, found.synced), found.synced)
            file.sync()
        finally:
            file.close()
    files.sync_dir(log_dir)
    files.sync_dir(snap_dir)
