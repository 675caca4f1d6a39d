"""Frames: a four-byte big-endian length, then that many bytes. The same on client ports and between servers."""

import struct

from zabpy.model import ZabpyError

#: Largest frame a client may send, ZooKeeper's ``jute.maxbuffer`` default. There is no limit on what we send.
CLIENT_FRAME_BYTES_MAX = 1_048_575
#: Largest frame between servers. Senders cut snapshots and long tails of the log well below it.
PEER_FRAME_BYTES_MAX = 64 * 1024 * 1024

_LENGTH = struct.Struct(">i")


class FrameBuffer:
    """Bytes as they come in, whole frames out.

    Holds at most one unfinished frame (``limit`` bytes and its length word) besides what the last `feed` brought, and
    joins the pieces of a long frame once, when it is complete.
    """

    __slots__ = ("_limit", "_pieces", "_size", "_wanted")

    def __init__(self, limit: int) -> None:
        assert 0 < limit <= PEER_FRAME_BYTES_MAX
        self._limit = limit
        self._pieces: list[bytes] = []
        self._size = 0
        self._wanted = 4  # nothing new can be told before this many bytes are here

    def feed(self, data: bytes) -> None:
        """Take what a ``recv`` gave. Looks at nothing: call `frames` next."""
        self._pieces.append(data)
        self._size += len(data)

    def frames(self) -> list[bytes]:
        """The payloads that are whole by now, each told once, in order.

        Raises:
            FrameError: a length below 0 or above the limit; its ``frames`` are the whole ones before it. The stream
                is lost from there: close the connection.
        """
        if self._size < self._wanted:
            return []
        data = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        size, at, limit, unpack = self._size, 0, self._limit, _LENGTH.unpack_from
        found: list[bytes] = []
        while True:
            if size - at < 4:
                self._wanted = 4
                break
            (length,) = unpack(data, at)
            if not 0 <= length <= limit:
                raise FrameError(length, limit, found)
            end = at + 4 + length
            if end > size:
                self._wanted = 4 + length
                break
            found.append(data[at + 4 : end])
            at = end
        if at:
            self._pieces = [data[at:]] if at < size else []
            self._size = size - at
        else:
            self._pieces = [data]
        return found

    @property
    def pending(self) -> int:
        """Bytes held that are not yet a whole frame."""
        return self._size


class FrameError(ZabpyError):
    """The other side announced a frame that cannot be: close the connection."""

    def __init__(self, length: int, limit: int, frames: list[bytes]) -> None:
        super().__init__(f"frame of {length} bytes announced, 0 to {limit} expected")
        self.length, self.limit, self.frames = length, limit, frames


def frame(payload: bytes) -> bytes:
    """The payload with its length in front."""
    return _LENGTH.pack(len(payload)) + payload
