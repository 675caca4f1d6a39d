"""A server as small as can be, without I/O: znodes, the two tables of watches, and one connection.

``modes`` says how many modes it keeps for one path and connection: ``"one"`` as ZooKeeper 3.6 to 3.8 do, the last one
asked for, and ``"many"`` as 3.9 and ours do.
"""

from collections import deque
from typing import Literal, NamedTuple

from zabpy.client import Op, records as r
from zabpy.model import NoNodeError, NoWatcherError, Stat, name_of, parent_of
from zabpy.wire import FrameBuffer, Reader, frame, packed

STANDARD, PLAIN, RECURSIVE = "standard", "plain", "recursive"
Table = dict[str, set[str]]


class Change(NamedTuple):
    """One event that a change gives rise to, whoever may watch."""

    zxid: int
    type: int
    path: str


class Said(NamedTuple):
    payload: bytes
    #: So much of the history was past when it was said.
    at: int


class ModelServer:
    def __init__(self, modes: Literal["one", "many"]) -> None:
        self.modes = modes
        self.zxid = 0
        self.znodes: dict[str, tuple[int, int, int]] = {"/": (0, 0, 0)}  # czxid, mzxid, pzxid
        self.history: list[Change] = []
        self.session_id = 1
        self.expired = False
        self.connect()

    def connect(self) -> None:
        """Another connection: of the last one, nothing is known any more."""
        self.data: Table = {}
        self.child: Table = {}
        self.asked: deque[bytes] = deque()
        self.said: deque[Said] = deque()
        self._frames = FrameBuffer(1 << 20)
        self._greeted = False

    def take(self, data: bytes) -> None:
        self._frames.feed(data)
        self.asked += self._frames.frames()

    # Changes ----------------------------------------------------------------------------------------------------------

    def create(self, path: str) -> None:
        if path not in self.znodes and parent_of(path) in self.znodes:
            self.zxid += 1
            self.znodes[path] = self.zxid, self.zxid, self.zxid
            self._touch_parent(path)
            self._fire(1, path)
            self._fire(4, parent_of(path))

    def delete(self, path: str) -> None:
        if path in self.znodes and not self._children(path) and path != "/":
            self.zxid += 1
            del self.znodes[path]
            self._touch_parent(path)
            self._fire(2, path)
            self._fire(4, parent_of(path))

    def set(self, path: str) -> None:
        if path in self.znodes:
            self.zxid += 1
            czxid, _, pzxid = self.znodes[path]
            self.znodes[path] = czxid, self.zxid, pzxid
            self._fire(3, path)

    def _touch_parent(self, path: str) -> None:
        czxid, mzxid, _ = self.znodes[parent_of(path)]
        self.znodes[parent_of(path)] = czxid, mzxid, self.zxid

    def _children(self, path: str) -> list[str]:
        return [name_of(each) for each in self.znodes if each != "/" and parent_of(each) == path]

    def _fire(self, type: int, path: str) -> None:
        self.history.append(Change(self.zxid, type, path))
        told = False
        if type != 4:
            told = _hit(self.data, path)
            above = path
            while above != "/":
                above = parent_of(above)
                told = told or RECURSIVE in self.data.get(above, ())
        if type == 4:
            # Of a recursive entry, servers of the old rule have one in this table, too, which hears nothing of this.
            told = bool(self.child.get(path, set()) - {RECURSIVE})
        if type in (2, 4):
            told = (_hit(self.child, path) and type == 2) or told
        if told:
            self._notify(type, path, self.zxid if self.modes == "many" else -1)

    def _notify(self, type: int, path: str, zxid: int) -> None:
        self._say(packed(r.ReplyHeader(-1, zxid, 0)) + packed(r.WatcherEvent(type, 3, path)))

    # Requests ---------------------------------------------------------------------------------------------------------

    def answer(self) -> None:
        """Do the next request."""
        reader = Reader(self.asked.popleft())
        if not self._greeted:
            self._greet(r.ConnectRequest.read(reader))
            return
        header = r.RequestHeader.read(reader)
        err, body = self._do(header.type, reader)
        self._say(packed(r.ReplyHeader(header.xid, self.zxid, err)) + (body if err == 0 else b""))

    def _greet(self, request: r.ConnectRequest) -> None:
        assert request.last_zxid_seen <= self.zxid
        self._greeted = True
        if request.session_id == 0:
            self.session_id, self.expired = self.session_id + 1, False
        alive = not self.expired
        self._say(
            packed(r.ConnectResponse(0, 10_000 if alive else 0, self.session_id if alive else 0, bytes(16), False))
        )

    def _say(self, payload: bytes) -> None:
        self.said.append(Said(frame(payload), len(self.history)))

    def _do(self, opcode: int, reader: Reader) -> tuple[int, bytes]:
        match opcode:
            case Op.GET_DATA | Op.EXISTS | Op.GET_CHILDREN2:
                return self._read(opcode, r.ExistsRequest.read(reader))
            case Op.SET_WATCHES:
                request = r.SetWatches.read(reader)
                self._renew(r.SetWatches2(*request, (), ()))
            case Op.SET_WATCHES2:
                self._renew(r.SetWatches2.read(reader))
            case Op.ADD_WATCH:
                add = r.AddWatchRequest.read(reader)
                self._add(add.path, RECURSIVE if add.mode else PLAIN)
                return 0, packed(r.ErrorResponse(0))
            case Op.REMOVE_WATCHES:
                return self._remove(r.RemoveWatchesRequest.read(reader)), b""
            case _:
                raise AssertionError(opcode)
        return 0, b""

    def _read(self, opcode: int, request: r.ExistsRequest) -> tuple[int, bytes]:
        path = request.path or ""
        found = self.znodes.get(path)
        if request.watch and (found is not None or opcode == Op.EXISTS):
            self._set(self.child if opcode == Op.GET_CHILDREN2 else self.data, path, STANDARD)
        if found is None:
            return NoNodeError.code, b""
        czxid, mzxid, pzxid = found
        children = self._children(path)
        stat = Stat(czxid, mzxid, 0, 0, 0, 0, 0, 0, 0, len(children), pzxid)
        match opcode:
            case Op.GET_DATA:
                return 0, packed(r.GetDataResponse(b"", stat))
            case Op.EXISTS:
                return 0, packed(r.ExistsResponse(stat))
            case _:
                return 0, packed(r.GetChildren2Response(tuple(children), stat))

    def _renew(self, request: r.SetWatches2) -> None:
        for path in _paths(request.data_watches):
            if path not in self.znodes:
                self._notify(2, path, -1)
            elif self.znodes[path][1] > request.relative_zxid:
                self._notify(3, path, -1)
            else:
                self._set(self.data, path, STANDARD)
        for path in _paths(request.exist_watches):
            if path in self.znodes:
                self._notify(1, path, -1)
            else:
                self._set(self.data, path, STANDARD)
        for path in _paths(request.child_watches):
            if path not in self.znodes:
                self._notify(2, path, -1)
            elif self.znodes[path][2] > request.relative_zxid:
                self._notify(4, path, -1)
            else:
                self._set(self.child, path, STANDARD)
        for path in _paths(request.persistent_watches):
            self._add(path, PLAIN)
        for path in _paths(request.persistent_recursive_watches):
            self._add(path, RECURSIVE)

    def _add(self, path: str, mode: str) -> None:
        self._set(self.data, path, mode)
        if mode == PLAIN or self.modes == "one":
            self._set(self.child, path, mode)

    def _set(self, table: Table, path: str, mode: str) -> None:
        if self.modes == "one":
            table[path] = {mode}
        else:
            table.setdefault(path, set()).add(mode)

    def _remove(self, request: r.RemoveWatchesRequest) -> int:
        path = request.path or ""
        if request.type == 5:
            if self.modes == "one":
                return -5
            if RECURSIVE not in self.data.get(path, ()):
                return NoWatcherError.code
            self.data[path].discard(RECURSIVE)
            if not self.data[path]:
                del self.data[path]
            return 0
        assert request.type == 3
        found = (self.data.pop(path, None), self.child.pop(path, None))
        return 0 if any(found) else NoWatcherError.code


def _hit(table: Table, path: str) -> bool:
    """Whether anybody waits here; who waited for one event only, does no more."""
    found = table.get(path)
    if not found:
        return False
    found.discard(STANDARD)
    if not found:
        del table[path]
    return True


def _paths(watched: tuple[str | None, ...] | None) -> list[str]:
    return [each for each in watched or () if each is not None]
