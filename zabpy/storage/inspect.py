"""What stands in a segment, frame by frame, for people: reads only, needs no store, takes damage as it comes."""

from collections.abc import Iterator
from typing import NamedTuple

from zabpy.model import NO_ZXID, Tip, Zxid

from .files import Files
from .format import LOG_HEADER_BYTES, MARK, RECORD, RECORD_MAGIC, frames, read_log_header
from .log import read_whole


class FrameSeen(NamedTuple):
    """``kind`` is header, mark, record, or bad: what does not verify, from ``offset`` on; nothing is listed behind it.

    ``zxid`` and ``chain`` are the record's, or of the header's base; ``synced`` is what a mark says.
    """

    offset: int
    size: int
    kind: str
    valid: bool
    zxid: Zxid = NO_ZXID
    chain: int = 0
    payload: bytes = b""
    synced: int = 0


def inspect_segment(files: Files, path: str) -> Iterator[FrameSeen]:
    """The frames of the segment at ``path``. Zeros behind the last one are room, and not listed.

    Raises:
        NewerFormatError, OSError
    """
    file = files.open(path)
    try:
        data = read_whole(file)
    finally:
        file.close()
    header = read_log_header(data, path)
    if header is None:
        yield FrameSeen(0, len(data), "header", valid=False)
        return
    yield FrameSeen(0, LOG_HEADER_BYTES, "header", True, *header.base)
    stop = LOG_HEADER_BYTES
    for offset, zxid, start, stop, chain in frames(data, LOG_HEADER_BYTES, 0, header.base, header.salt()):
        if zxid < 0:
            yield FrameSeen(offset, MARK.size, "mark", True, synced=start)
        else:
            yield FrameSeen(offset, stop - offset, "record", True, Zxid(zxid), chain, data[start:stop])
    if rest := data[stop:].rstrip(b"\0"):
        tip = Tip(NO_ZXID, 0)
        if len(rest) >= RECORD.size and rest[0] == RECORD_MAGIC:
            _, _, chain, zxid = RECORD.unpack_from(rest)
            tip = Tip(Zxid(zxid), chain)
        yield FrameSeen(stop, len(rest), "bad", False, *tip)
