"""Stat: what a client may know of a znode besides its data; eleven fields, 68 bytes on the wire."""

import struct
from typing import NamedTuple

#: Field order and widths of the client protocol; packed once per change, not once per read.
STAT_STRUCT = struct.Struct(">qqqqiiiqiiq")


class Stat(NamedTuple):
    """The visible Stat. Times are milliseconds since 1970 on the leader's clock; sizes are bytes."""

    czxid: int
    mzxid: int
    ctime_ms: int
    mtime_ms: int
    version: int
    cversion: int
    aversion: int
    ephemeral_owner: int
    data_length: int
    num_children: int
    pzxid: int

    def packed(self) -> bytes:
        return STAT_STRUCT.pack(*self)
