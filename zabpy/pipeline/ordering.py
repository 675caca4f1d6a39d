"""One connection's requests in a row: replies leave in the order in which the requests came.

A read waits for the writes in front of it, so that a session reads what it wrote. A connection with an empty row needs
none of this: its reads are answered where they stand.
"""

from collections import deque
from collections.abc import Callable
from typing import Final

from zabpy.model import Identity, SessionMovedError
from zabpy.wire import Op

from .replies import reply_frame
from .slices import Sliced

_MOVED = SessionMovedError.code
_CLOSE_SESSION = int(Op.CLOSE_SESSION)


# What waits, told apart by its length: plain tuples, for one is made for every write.
#: Request id, xid, op; its outcome is in `Row._outcomes` once `Row.complete` has it.
_Write = tuple[int, int, int]
#: xid, op, record, and the identities that the connection had when the request was read.
_Read = tuple[int, int, bytes, tuple[Identity, ...]]
#: A frame that only waits its turn, and whether the connection ends behind it.
_Ready = tuple[bytes, bool]

#: Executes a read at last: xid, op, record, identities → frames.
AnswerRead = Callable[[int, int, bytes, tuple[Identity, ...]], bytes | Sliced]


class Row:
    """What has been asked on one connection and not been answered, oldest first.

    ``over`` becomes True when `drain` has given the last frame there may be: flush, and close. What is behind it in
    the row is not answered any more.
    """

    __slots__ = ("_outcomes", "over", "waiting")

    def __init__(self) -> None:
        #: Others look here only for whether it is empty: that costs them a third of what `len` of the row does.
        self.waiting: Final[deque[_Write | _Read | _Ready]] = deque()
        self._outcomes: dict[int, tuple[int, bytes]] = {}
        self.over = False

    def __len__(self) -> int:
        """How many requests wait. 0: a read may be answered without the row."""
        return len(self.waiting)

    def push_write(self, request_id: int, xid: int, op: int) -> None:
        """A write, sync or closeSession has gone to the leader under this id; `complete` will tell."""
        self.waiting.append((request_id, xid, op))

    def push_read(self, xid: int, op: int, record: bytes, identities: tuple[Identity, ...]) -> None:
        """To be executed when all in front is answered."""
        self.waiting.append((xid, op, record, identities))

    def push_frame(self, frame: bytes, over: bool = False) -> None:
        """Answered already (auth, a refusal); the frame waits its turn. ``over``: the connection ends behind it.

        An empty frame with ``over``: it ends without a word.
        """
        self.waiting.append((frame, over))

    def complete(self, request_id: int, err: int, body: bytes = b"") -> bool:
        """The outcome of a write. Whether `drain` has something to give now.

        Drain it before the next transaction is applied: a read that stands between two writes of its connection must
        not see the later one.
        """
        waiting = self.waiting
        if waiting and waiting[0][0] == request_id and len(waiting[0]) == 3:  # nearly always
            self._outcomes[request_id] = err, body
            return True
        if any(len(item) == 3 and item[0] == request_id for item in waiting):  # a sync overtakes or is overtaken
            self._outcomes[request_id] = err, body
        return False  # or the connection asked no such thing, or is over

    def answer_first(self, request_id: int, zxid: int, err: int, body: bytes) -> bytes | None:
        """`complete` and `drain` in one, for what nearly every write is: the first of the row, with nothing behind it
        that may leave too. The frame of its reply; None, and nothing is done, where it is not so."""
        waiting = self.waiting
        if not waiting or waiting[0][0] != request_id:
            return None
        first = waiting[0]
        if len(first) != 3 or first[2] == _CLOSE_SESSION or err == _MOVED:
            return None
        if len(waiting) > 1 and (len(waiting[1]) != 3 or self._outcomes):
            return None
        waiting.popleft()
        return reply_frame(first[1], zxid, err, body)

    def drain(self, zxid: int, answer_read: AnswerRead, bytes_max: int = 1 << 62) -> list[bytes | Sliced]:
        """All frames that may leave now, in order; the reads among them are executed now.

        It breaks off once they are more than ``bytes_max`` together. Such a connection must be dropped: a read that is
        put off would see what it may not.

        Call it when all events of what is applied have been put on the connection: the frames carry ``zxid``, the last
        one applied here, and a client must hear of a change it watches before it sees it.
        """
        waiting, outcomes = self.waiting, self._outcomes
        frames: list[bytes | Sliced] = []
        while waiting:
            item = waiting[0]
            if len(item) == 3:
                outcome = outcomes.pop(item[0], None)
                if outcome is None:
                    break
                _, xid, op = item
                err, body = outcome
                if err == _MOVED:  # never told: the client finds its session where it has gone to
                    self._end()
                    break
                frames.append(reply_frame(xid, zxid, err, body))
                if op == _CLOSE_SESSION:
                    self._end()
                    break
            elif len(item) == 4:
                answer = answer_read(*item)
                frames.append(answer)
                bytes_max -= len(answer)
                if bytes_max < 0:
                    break
            else:
                frame, over = item
                if frame:
                    frames.append(frame)
                if over:
                    self._end()
                    break
            waiting.popleft()
        return frames

    def _end(self) -> None:
        self.over = True
        self.waiting.clear()
        self._outcomes.clear()
