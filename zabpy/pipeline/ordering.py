"""One connection's requests in a row: replies leave in the order in which the requests came.

A read waits for the writes in front of it, so that a session reads what it wrote. A connection with an empty row needs
none of this: its reads are answered where they stand.
"""

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from zabpy.model import Identity, SessionMovedError
from zabpy.wire import Op

from .replies import reply_frame

_MOVED = SessionMovedError.code
_CLOSE_SESSION = int(Op.CLOSE_SESSION)


class _Write:
    """Has its outcome once ``done``."""

    __slots__ = ("body", "done", "err", "op", "request_id", "xid")

    def __init__(self, request_id: int, xid: int, op: int) -> None:
        self.request_id, self.xid, self.op = request_id, xid, op
        self.done, self.err, self.body = False, 0, b""


class _Read(NamedTuple):
    """Has the identities that the connection had when the request was read."""

    xid: int
    op: int
    record: bytes
    identities: tuple[Identity, ...]


class _Ready(NamedTuple):
    """A frame that only waits its turn."""

    frame: bytes
    over: bool


#: Executes a read at last: xid, op, record, identities → frames.
AnswerRead = Callable[[int, int, bytes, tuple[Identity, ...]], bytes]


class Row:
    """What has been asked on one connection and not been answered, oldest first.

    ``over`` becomes True when `drain` has given the last frame there may be: flush, and close. What is behind it in
    the row is not answered any more.
    """

    __slots__ = ("_waiting", "over")

    def __init__(self) -> None:
        self._waiting: deque[_Write | _Read | _Ready] = deque()
        self.over = False

    def __len__(self) -> int:
        """How many requests wait. 0: a read may be answered without the row."""
        return len(self._waiting)

    def push_write(self, request_id: int, xid: int, op: int) -> None:
        """A write, sync or closeSession has gone to the leader under this id; `complete` will tell."""
        self._waiting.append(_Write(request_id, xid, op))

    def push_read(self, xid: int, op: int, record: bytes, identities: tuple[Identity, ...]) -> None:
        """To be executed when all in front is answered."""
        self._waiting.append(_Read(xid, op, record, identities))

    def push_frame(self, frame: bytes, over: bool = False) -> None:
        """Answered already (auth, a refusal); the frame waits its turn. ``over``: the connection ends behind it."""
        self._waiting.append(_Ready(frame, over))

    def complete(self, request_id: int, err: int, body: bytes = b"") -> bool:
        """The outcome of a write. Whether `drain` has something to give now."""
        waiting = self._waiting
        for item in waiting:  # it is the first one, but for a sync that overtakes or is overtaken
            if isinstance(item, _Write) and item.request_id == request_id:
                item.err, item.body, item.done = err, body, True
                return item is waiting[0]
        return False  # the connection asked no such thing, or is over

    def drain(self, zxid: int, answer_read: AnswerRead) -> list[bytes]:
        """All frames that may leave now, in order; the reads among them are executed now.

        Call it when all events of what is applied have been put on the connection: the frames carry ``zxid``, the last
        one applied here, and a client must hear of a change it watches before it sees it.
        """
        waiting = self._waiting
        frames: list[bytes] = []
        while waiting:
            item = waiting[0]
            if isinstance(item, _Write):
                if not item.done:
                    break
                if item.err == _MOVED:  # never told: the client finds its session where it has gone to
                    self._end()
                    break
                frames.append(reply_frame(item.xid, zxid, item.err, item.body))
                if item.op == _CLOSE_SESSION:
                    self._end()
                    break
            elif isinstance(item, _Read):
                frames.append(answer_read(*item))
            else:
                frame, over = item
                frames.append(frame)
                if over:
                    self._end()
                    break
            waiting.popleft()
        return frames

    def _end(self) -> None:
        self.over = True
        self._waiting.clear()
