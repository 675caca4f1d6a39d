"""A client that shares nothing with what it judges: ZooKeeper's protocol by `struct`, one request after the other.

What it is told it writes into a history. A request without an answer in time ends the connection, and is unknown; the
session goes on at the next server, with the watches it had, as the protocol has it.
"""

import struct
import time
from dataclasses import replace
from random import Random

import trio

from zabpy.testing.histories import Event, History, Kind, Operation, Seen

CREATE, DELETE, GET, SET, SYNC, SET_WATCHES, CLOSE = 1, 2, 4, 5, 9, 101, -11
_STAT = struct.Struct(">qqqqiiiqiiq")
_OPEN_ACL = struct.pack(">ii", 1, 31) + b"\0\0\0\x05world\0\0\0\x06anyone"
EPHEMERAL, SEQUENTIAL = 1, 2
_MASK = (1 << 64) - 1


class Lost(Exception):  # what happens to connections
    """The connection is gone, or nobody waited any longer."""


class Client:
    """One session after the other, and one request at a time."""

    def __init__(
        self, number: int, addresses: list[tuple[str, int]], history: History, rng: Random, *, session_timeout_ms: int
    ) -> None:
        self.number, self.addresses, self.history, self._rng = number, addresses, history, rng
        self.session_timeout_ms, self.patience_ms = session_timeout_ms, rng.choice((1_000, 1_500, 3_500))
        self.session, self._password, self._zxid = 0, bytes(16), 0
        self.stream: trio.SocketStream | None = None
        self._buffer = b""
        self._xid = 0
        #: Paths with a watch, to be set again at the next server.
        self._watched: dict[str, None] = {}
        self.connections = 0
        self._asked: Operation | None = None

    # Sessions ---------------------------------------------------------------------------------------------------------

    async def connect(self) -> None:
        """With the session, or a new one; tries all servers until one lets it in."""
        while self.stream is None:
            try:
                with trio.fail_after(self.patience_ms / 1000):
                    await self._connect(*self._rng.choice(self.addresses))
            except (OSError, Lost, trio.TooSlowError):
                await self.leave()
                await trio.sleep(0.02 + 0.05 * self._rng.random())  # a client's pause between two attempts

    async def _connect(self, host: str, port: int) -> None:
        self.stream = await trio.open_tcp_stream(host, port)
        self._buffer = b""
        called_ns = time.monotonic_ns()
        asked = struct.pack(">iqiqi", 0, self._zxid, self.session_timeout_ms, self.session, 16) + self._password + b"\0"
        await self._send(asked)
        answer = await self._frame()
        _, timeout_ms, session, size = struct.unpack_from(">iiqi", answer)
        session &= _MASK
        if not session:
            if self.session:
                now_ns = time.monotonic_ns()
                gone = self.session & _MASK
                self.history.records.append(Operation(self.number, gone, "expired", "", called_ns, now_ns))
            self.forget()
            raise Lost
        assert timeout_ms == self.session_timeout_ms, "the settings of the servers allow it"
        self.session = _signed(session)
        self._password = answer[20 : 20 + size]
        self.connections += 1
        if self._watched:
            paths = list(self._watched)
            body = struct.pack(">qi", self._zxid, len(paths)) + b"".join(map(_text, paths)) + struct.pack(">ii", 0, 0)
            await self._send(struct.pack(">ii", -8, SET_WATCHES) + body)
            await self._reply(-8)

    def forget(self) -> None:
        """The session is over."""
        self.session, self._password, self._zxid = 0, bytes(16), 0
        self._watched.clear()

    async def leave(self) -> None:
        """End the connection, whatever is on its way; the session goes on."""
        if self.stream is not None:
            with trio.CancelScope(shield=True):
                await trio.aclose_forcefully(self.stream)
            self.stream = None

    # Requests ---------------------------------------------------------------------------------------------------------

    async def create(self, path: str, data: str, flags: int = 0) -> Operation:
        body = _text(path) + _bytes(data) + _OPEN_ACL + struct.pack(">i", flags)
        given = {"data": data, "ephemeral": bool(flags & EPHEMERAL)}
        return await self._ask("create", path, [(CREATE, body)], given, sequential=bool(flags & SEQUENTIAL))

    async def set(self, path: str, data: str, version: int = -1) -> Operation:
        body = _text(path) + _bytes(data) + struct.pack(">i", version)
        return await self._ask("set", path, [(SET, body)], {"data": data, "version": version})

    async def delete(self, path: str, version: int = -1) -> Operation:
        return await self._ask(
            "delete", path, [(DELETE, _text(path) + struct.pack(">i", version))], {"version": version}
        )

    async def get(self, path: str, *, synced: bool = False, watch: bool = False) -> Operation:
        """``synced``: a sync goes out before it, with the same send."""
        asked = [(GET, _text(path) + struct.pack(">?", watch))]
        if synced:
            asked.insert(0, (SYNC, _text(path)))
        return await self._ask("get", path, asked, {"synced": synced, "watch": watch})

    async def close(self) -> Operation:
        """The end of the session."""
        told = await self._ask("close", "", [(CLOSE, b"")], {})
        await self.leave()
        self.forget()
        return told

    async def _ask(
        self,
        kind: Kind,
        path: str,
        asked: list[tuple[int, bytes]],
        given: dict[str, object],
        *,
        sequential: bool = False,
    ) -> Operation:
        """Raises Lost after it is written down as unknown. Connects before, if need be: that is no part of it."""
        await self.connect()
        called_ns = time.monotonic_ns()
        session = self.session & _MASK
        unknown = Operation(self.number, session, kind, path, called_ns, **given)  # type: ignore[arg-type]  # fields of `Operation`
        self._asked = unknown
        zxid, error, answer = 0, 0, b""
        try:
            with trio.fail_after(self.patience_ms / 1000):
                xids = []
                out = b""
                for op, body in asked:
                    self._xid += 1
                    xids.append(self._xid)
                    out += _framed(struct.pack(">ii", self._xid, op) + body)
                assert self.stream is not None
                await self.stream.send_all(out)
                for xid in xids:
                    zxid, error, answer = await self._reply(xid)
                    if xid != xids[-1] and error:
                        raise Lost  # a sync that failed says nothing
        except (OSError, Lost, trio.TooSlowError, trio.BrokenResourceError, trio.ClosedResourceError):
            self.give_up()
            await self.leave()
            raise Lost from None
        returned_ns = time.monotonic_ns()
        seen, made = None, ""
        if not error and kind == "get":
            (size,) = struct.unpack_from(">i", answer)
            seen = _seen(answer[4 + size :], answer[4 : 4 + size].decode())
        elif not error and kind == "set":
            seen = _seen(answer)
        elif not error and sequential:
            made = answer[4:].decode()
        told = replace(unknown, returned_ns=returned_ns, error=error, zxid=zxid, seen=seen, made=made)
        self.history.records.append(told)
        self._asked = None
        if kind == "get" and given["watch"] and not error:
            self._watched[path] = None
        return told

    def give_up(self) -> None:
        """What was asked last was not answered."""
        if self._asked is not None:
            self.history.records.append(self._asked)
            self._asked = None

    # Bytes ------------------------------------------------------------------------------------------------------------

    async def _send(self, payload: bytes) -> None:
        assert self.stream is not None
        try:
            await self.stream.send_all(_framed(payload))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise Lost from None

    async def _reply(self, xid: int) -> tuple[int, int, bytes]:
        while True:
            frame = await self._frame()
            told, zxid, error = struct.unpack_from(">iqi", frame)
            if told == -1:
                (size,) = struct.unpack_from(">i", frame, 24)
                path = frame[28 : 28 + size].decode()
                self._watched.pop(path, None)
                self.history.records.append(Event(self.number, self.session & _MASK, path, time.monotonic_ns()))
                continue
            assert told == xid, f"reply {told} to request {xid}"
            self._zxid = max(self._zxid, zxid)
            return zxid, error, frame[16:]

    async def _frame(self) -> bytes:
        assert self.stream is not None
        while len(self._buffer) < 4 or len(self._buffer) < 4 + int.from_bytes(self._buffer[:4], "big"):
            try:
                data = await self.stream.receive_some(65536)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                raise Lost from None
            if not data:
                raise Lost
            self._buffer += data
        size = int.from_bytes(self._buffer[:4], "big")
        frame, self._buffer = self._buffer[4 : 4 + size], self._buffer[4 + size :]
        return frame


def _framed(payload: bytes) -> bytes:
    return struct.pack(">i", len(payload)) + payload


def _text(text: str) -> bytes:
    return _framed(text.encode())


_bytes = _text


def _seen(stat: bytes, data: str = "") -> Seen:
    czxid, mzxid, _, _, version, _, _, owner, _, _, _ = _STAT.unpack(stat)
    return Seen(version, czxid, mzxid, data, owner & _MASK)


def _signed(session: int) -> int:
    return session - (1 << 64) if session >> 63 else session
