"""The log: segments on disk, the last one open at its end.

Nothing here repairs or guesses: `repair.survey` says what is there, and from then on what is in memory and what is on
disk are the same, or the store is broken. All calls block on the disk and belong to one thread.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from zabpy.model import Entry, Tip, Zxid

from .errors import CannotTruncateError, DamagedLogError, PurgedError
from .files import File, Files
from .format import LOG_HEADER_BYTES, MARK, LogHeader, frames, log_name, pack_batch, pack_mark

#: How far apart the entries of a segment's index are, at least. A look-up reads about this much.
INDEX_BYTES = 32 << 10
_WINDOW_BYTES = 1 << 20


@dataclass(slots=True)
class Segment:
    """One file of the log. ``index`` holds some (zxid, chain, offset): the record before the frame at that offset."""

    path: str
    header: LogHeader
    salt: int
    end: int = LOG_HEADER_BYTES
    index: list[tuple[int, int, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.index.append((*self.header.base, LOG_HEADER_BYTES))

    def note(self, before: Tip, offset: int) -> None:
        """A batch starts at ``offset``, behind the record ``before``."""
        if offset - self.index[-1][2] >= INDEX_BYTES:
            self.index.append((*before, offset))


def create_segment(files: Files, directory: str, header: LogHeader) -> Segment:
    """An empty segment, durable with its name."""
    path = f"{directory}/{log_name(header.generation, header.base.zxid)}"
    file = files.open(path, create=True)
    try:
        file.write(header.packed(), 0)
        file.sync()
    finally:
        file.close()
    files.sync_dir(directory)
    return Segment(path, header, header.salt())


class Log:
    """The segments of one generation, in order, and the end of the last."""

    def __init__(
        self,
        files: Files,
        directory: str,
        segments: list[Segment],
        tip: Tip,
        *,
        segment_bytes: int,
        allocate_bytes: int,
    ) -> None:
        """All that ``segments`` hold is synced; the last file ends where its segment does."""
        self._files, self._directory, self._segments = files, directory, segments
        self._segment_bytes, self._allocate_bytes = segment_bytes, allocate_bytes
        #: The last record written, and the last one synced.
        self.tip = self.synced = tip
        self._roll_asked = False
        self._open_last()

    def _open_last(self) -> None:
        self._segment = self._segments[-1]
        self._file = self._files.open(self._segment.path)
        self._offset = self._synced_offset = self._allocated = self._segment.end
        assert self._file.size() == self._offset, "the file has another end than the log"  # trap B3

    @property
    def base(self) -> Tip:
        """The record after which the log can be read."""
        return self._segments[0].header.base

    @property
    def watermark(self) -> tuple[Zxid, int]:
        """The last segment, by its base, and the offset before which it is synced."""
        return self._segment.header.base.zxid, self._synced_offset

    @property
    def wants_roll(self) -> bool:
        return self._offset >= self._segment_bytes or (self._roll_asked and self._offset > LOG_HEADER_BYTES)

    def ask_roll(self) -> None:
        """Let the next batch begin a new segment: the older ones may then be purged up to here."""
        self._roll_asked = True

    def append(self, entries: Sequence[Entry]) -> None:
        """Write entries at the end, in one write. Not durable before `sync` returns.

        Raises:
            OutOfOrderError: they do not follow the last record; nothing was written.
            OSError: the disk's own word; what is in the file now is not known.
        """
        offset = self._offset
        data, tip = pack_batch(pack_mark(self._segment.salt, offset, self._synced_offset), entries, self.tip)
        end = offset + len(data)
        if end > self._allocated:
            size = max(self._allocate_bytes, end - self._allocated)
            self._file.allocate(self._allocated, size)
            self._allocated += size
        self._file.write(data, offset)
        self._segment.note(self.tip, offset)
        self._segment.end = self._offset = end
        self.tip = tip

    def sync(self) -> bool:
        """All that was appended is on disk on return. Says whether there was anything to do."""
        if self._synced_offset == self._offset:
            return False
        self._file.sync_data()
        self._synced_offset = self._offset
        self.synced = self.tip
        return True

    def roll(self) -> None:
        """Finish the last segment and begin a new one. The caller notes the new `watermark` before appending."""
        self._finish()
        header = self._segment.header._replace(base=self.tip)
        self._segments.append(create_segment(self._files, self._directory, header))
        self._roll_asked = False
        self._open_last()

    def _finish(self) -> None:
        """Sync the last segment at its true length. That a successor exists is then proof that it is whole."""
        self.sync()
        if self._allocated != self._offset:
            self._file.truncate(self._offset)
        self._file.sync()
        self._file.close()

    def restart(self, segment: Segment) -> None:
        """Go on in this new, empty segment of another generation; all former ones have no part in the log any more."""
        self._file.close()
        self._segments = [segment]
        self.tip = self.synced = segment.header.base
        self._roll_asked = False
        self._open_last()

    def close(self) -> None:
        """Sync and cut off what was only allocated."""
        self._finish()

    def abandon(self) -> None:
        """Let go of the file without another word to the disk."""
        self._file.close()

    def tip_at(self, zxid: Zxid) -> Tip | None:
        """The tip at a record of the log, or at its base; None when there is no such record."""
        place = self._place_of(zxid)
        return None if place is None else place[1]

    def end_at(self, zxid: Zxid) -> tuple[Zxid, int]:
        """Where the log ends when it ends with this record, in the form of `watermark`.

        Raises:
            CannotTruncateError: there is no such record.
        """
        place = self._place_of(zxid)
        if place is None:
            raise CannotTruncateError(f"{self._segment.path}: no record at {zxid:#x} to cut behind")
        return place[0].header.base.zxid, place[2]

    def truncate(self, after: Zxid) -> None:
        """Cut behind the record at ``after``; durable on return. Files go from the last on, each for good before the
        next, so a crash leaves a log that ends somewhere between there and where it ended before, without holes."""
        place = self._place_of(after)
        assert place is not None
        segment, tip, offset = place
        self._file.close()
        while self._segments[-1] is not segment:
            self._files.unlink(self._segments.pop().path)
            self._files.sync_dir(self._directory)
        file = self._files.open(segment.path)
        try:
            file.truncate(offset)
            file.sync()
        finally:
            file.close()
        segment.end = offset
        while segment.index[-1][2] > offset:
            segment.index.pop()
        self.tip = self.synced = tip
        self._open_last()

    def read(self, after: Zxid, upto: Zxid, bytes_max: int) -> list[Entry]:
        """Entries behind ``after``, up to and including ``upto``, until their payloads exceed ``bytes_max``; at least
        one if there is one.

        Raises:
            PurgedError: the log begins after ``after``.
            DamagedLogError: the disk does not give back what was written.
        """
        if after < self.base.zxid:
            raise PurgedError(
                f"{self._segments[0].path}: the log begins after {self.base.zxid:#x}, asked for {after:#x}"
            )
        entries: list[Entry] = []
        taken = 0
        window = min(INDEX_BYTES + bytes_max, _WINDOW_BYTES)
        for segment in self._segments[self._number_of(after) :]:
            if segment.header.base.zxid >= upto:
                break
            for _, data, seen in self._windows(segment, after, window):
                for _, zxid, start, end, chain in seen:
                    if zxid > after:  # not a mark
                        taken += end - start
                        if zxid > upto or (taken > bytes_max and entries):
                            return entries
                        entries.append(Entry(Zxid(zxid), data[start:end], chain))
        return entries

    def drop_before(self, zxid: Zxid) -> None:
        """Delete segments that hold nothing behind ``zxid``; never the last. Oldest first, each for good before the
        next, so that a crash leaves no hole."""
        while len(self._segments) > 1 and self._segments[1].header.base.zxid <= zxid:
            self._files.unlink(self._segments[0].path)
            self._files.sync_dir(self._directory)
            del self._segments[0]

    def _number_of(self, zxid: Zxid) -> int:
        """The last segment that begins at or before this record."""
        bases = [segment.header.base.zxid for segment in self._segments]
        return max(bisect_right(bases, zxid) - 1, 0)

    def _place_of(self, zxid: Zxid) -> tuple[Segment, Tip, int] | None:
        """The segment a record ends in, or the one whose base it is; its tip; the offset behind it."""
        if zxid < self.base.zxid:
            return None
        segment = self._segments[self._number_of(zxid)]
        if segment.header.base.zxid == zxid:
            return segment, segment.header.base, LOG_HEADER_BYTES
        for offset, _, seen in self._windows(segment, Zxid(zxid - 1), INDEX_BYTES):
            for _, found, _, end, chain in seen:
                if found >= zxid:
                    return (segment, Tip(zxid, chain), offset + end) if found == zxid else None
        return None

    def _windows(
        self, segment: Segment, after: Zxid, size: int
    ) -> Iterator[tuple[int, bytes, list[tuple[int, int, int, int, int]]]]:
        """The segment from about the record ``after`` on, in pieces of ``size`` or what a record takes: the offset of
        the piece, its bytes, and its frames as `frames` gives them."""
        last, chain, offset = segment.index[max(bisect_right(segment.index, (after, 1 << 32, 0)) - 1, 0)]
        window = size
        file = self._file if segment is self._segment else self._files.open(segment.path)
        try:
            while offset < segment.end:
                data = file.read(min(window, segment.end - offset), offset)
                seen = list(frames(data, 0, offset, Tip(Zxid(last), chain), segment.salt))
                if seen:
                    yield offset, data, seen
                    offset += seen[-1][3]
                    last, chain = next((each[1:5:3] for each in reversed(seen) if each[1] >= 0), (last, chain))
                    window = size
                elif window < segment.end - offset:  # a record larger than the window, or damage
                    window *= 8
                else:
                    raise DamagedLogError(
                        f"{segment.path}: offset {offset}: expected the record after {last:#x}, as it was written"
                    )
        finally:
            if file is not self._file:
                file.close()


def read_whole(file: File) -> bytes:
    return file.read(file.size(), 0)


assert MARK.size < INDEX_BYTES
