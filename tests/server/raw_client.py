"""A client of a few lines for tests: sends any request, waits for its reply, keeps the events that came before."""

import struct
from typing import Any, NamedTuple

import trio

from zabpy.model import OPEN_ACL
from zabpy.wire import FrameBuffer, Op, Record, frame, packed, records as r


class Reply(NamedTuple):
    xid: int
    zxid: int
    err: int
    body: bytes


class RawClient:
    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self.session_id = 0
        self.password = bytes(16)
        self.timeout_ms = 0
        #: What the server said of itself.
        self.read_only = False
        self.zxid = 0
        self.events: list[tuple[int, int, str]] = []  # zxid, type, path
        self.log: list[Reply] = []  # all that came, in order
        self._frames = FrameBuffer(1 << 26)
        self._whole: list[bytes] = []
        self._xid = 0

    async def handshake(
        self,
        *,
        timeout_ms: int = 10_000,
        session_id: int = 0,
        password: bytes = bytes(16),
        zxid: int = 0,
        read_only: bool | None = False,
    ) -> bool:
        """Whether there is a session now. ``read_only`` None: the byte is left out, as old clients do."""
        asked = r.ConnectRequest(0, zxid, timeout_ms, session_id, password, read_only)
        await self.stream.send_all(frame(packed(asked)))
        payload = await self.next_frame()
        assert len(payload) == (36 if read_only is None else 37)
        self.read_only = payload[36:] == b"\1"
        _, self.timeout_ms, self.session_id, size = struct.unpack_from(">iiqi", payload)
        assert size == 16
        self.password = payload[20:36]
        return self.session_id != 0

    async def ended(self) -> bool:
        """Whether the server ends the connection, without another word."""
        with trio.move_on_after(5):
            try:
                await self.next_frame()
            except EOFError:
                return True
        return False

    async def resume(self, stream: trio.abc.Stream, **wishes: Any) -> bool:
        """Come back with the session, over another stream. Whether it lives."""
        await self.stream.aclose()
        self.stream, self._frames, self._whole = stream, FrameBuffer(1 << 26), []
        wishes = {"timeout_ms": self.timeout_ms, "zxid": self.zxid} | wishes
        return await self.handshake(session_id=self.session_id, password=self.password, **wishes)

    async def next_frame(self) -> bytes:
        """Raises EOFError when the server has closed."""
        while not self._whole:
            try:
                data = await self.stream.receive_some(65536)
            except trio.BrokenResourceError:
                raise EOFError from None
            if not data:
                raise EOFError
            self._frames.feed(bytes(data))
            self._whole = self._frames.frames()
        return self._whole.pop(0)

    async def send(self, op: int, record: Record | bytes = b"", *, xid: int | None = None) -> int:
        if xid is None and op == Op.PING:
            xid = -2  # it is answered under this one, whatever it was asked under
        elif xid is None:
            self._xid += 1
            xid = self._xid
        raw = record if isinstance(record, bytes) else packed(record)
        await self.stream.send_all(frame(struct.pack(">ii", xid, op) + raw))
        return xid

    async def reply(self) -> Reply:
        """The next reply; events on the way are kept."""
        while True:
            payload = await self.next_frame()
            xid, zxid, err = struct.unpack_from(">iqi", payload)
            told = Reply(xid, zxid, err, payload[16:])
            self.log.append(told)
            if xid != -1:
                if zxid > 0:
                    assert zxid >= self.zxid, "a session never sees time go back"
                    self.zxid = zxid
                return told
            type, _, length = struct.unpack_from(">iii", told.body)
            self.events.append((zxid, type, told.body[12 : 12 + length].decode()))

    async def ask(self, op: int, record: Record | bytes = b"") -> Reply:
        xid = await self.send(op, record)
        told = await self.reply()
        assert told.xid == xid
        return told

    async def create(self, path: str, data: bytes = b"", flags: int = 0) -> Reply:
        return await self.ask(Op.CREATE, r.CreateRequest(path, data, OPEN_ACL, flags))

    async def set(self, path: str, data: bytes) -> Reply:
        return await self.ask(Op.SET_DATA, r.SetDataRequest(path, data, -1))

    async def get(self, path: str, watch: bool = False) -> tuple[int, bytes | None]:
        told = await self.ask(Op.GET_DATA, r.GetDataRequest(path, watch))
        if told.err:
            return told.err, None
        (length,) = struct.unpack_from(">i", told.body)
        return 0, told.body[4 : 4 + length]

    async def become_super(self) -> None:
        """Of servers that `MemoryEnsemble` configured."""
        await self.send(Op.AUTH, r.AuthPacket(0, "digest", b"super:test"), xid=-4)
        assert (await self.reply()).err == 0

    async def reconfig(
        self, joining: str | None = None, leaving: str | None = None, members: str | None = None, version: int = -1
    ) -> tuple[int, str]:
        """Error code and text."""
        told = await self.ask(Op.RECONFIG, r.ReconfigRequest(joining, leaving, members, version))
        if told.err:
            return told.err, ""
        (length,) = struct.unpack_from(">i", told.body)
        return 0, told.body[4 : 4 + length].decode()

    async def sync(self) -> Reply:
        return await self.ask(Op.SYNC, r.SyncRequest("/"))

    async def close(self) -> None:
        await self.stream.aclose()


async def all_of(stream: trio.abc.Stream) -> bytes:
    """What comes until the other side closes."""
    data = b""
    while True:
        try:
            more = bytes(await stream.receive_some(65536))
        except trio.BrokenResourceError:
            return data
        if not more:
            return data
        data += more
