"""How a client of `zabpy.client` reaches servers in memory, and how its connections break at any byte.

    dial = ensemble.dial("client1")                      # a MemoryEnsemble's
    async with zabpy.connect(ensemble.hosts, dial=dial) as zk:
        ensemble.cut("client1", 2)                       # silence
        dial.break_after(received_bytes=17)              # the next connection's answers end in the midst of a frame
        dial.break_now()

Whatever a client had sent when its connection breaks still reaches the server, which is then told of the end; what the
server had sent, and the client has not read, is lost.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

import anyio
import trio
from anyio.abc import ByteStream, SocketAttribute

if TYPE_CHECKING:
    from .memory_stream import MemoryStream

#: Opens a stream: from this host, to that one, to its port.
Open = Callable[[str, str, int], Awaitable["MemoryStream"]]
RECEIVE_BYTES_MAX = 65_536


class MemoryDial:
    """The ``dial`` of one client: a coroutine function that also keeps what it dialled."""

    def __init__(self, open: Open, host: str) -> None:
        self._open, self.host = open, host
        #: All connections that came to be, in order, also those that are over.
        self.streams: list[DialledStream] = []
        #: The host and port of every attempt, successful or not.
        self.attempts: list[tuple[str, int]] = []
        self._limits: tuple[int | None, int | None] = None, None

    async def __call__(self, host: str, port: int) -> "DialledStream":
        """Raises ConnectionRefusedError when nobody listens there; between two that are cut it waits."""
        self.attempts.append((host, port))
        stream = DialledStream(await self._open(self.host, host, port), (host, port))
        (stream.sent_bytes_max, stream.received_bytes_max), self._limits = self._limits, (None, None)
        self.streams.append(stream)
        return stream

    def break_after(self, *, sent_bytes: int | None = None, received_bytes: int | None = None) -> None:
        """The next connection that is dialled breaks once so many bytes have passed in a direction, not one more.

        With 0 it breaks at the first byte, which does not arrive. The send that goes beyond the limit seems to succeed,
        as with a socket: the client learns of the end when it reads, or sends again.
        """
        self._limits = sent_bytes, received_bytes

    def break_now(self) -> None:
        """All connections of this client break."""
        for stream in self.streams:
            stream.break_now()


class DialledStream(ByteStream):
    """A connection as `zabpy.client` takes it, with counted bytes and a place to break at."""

    def __init__(self, stream: "MemoryStream", remote: tuple[str, int]) -> None:
        self._stream, self.remote = stream, remote
        self.sent_bytes = self.received_bytes = 0
        #: Once so many bytes have passed it breaks; None: it does not. May be changed while fewer have.
        self.sent_bytes_max: int | None = None
        self.received_bytes_max: int | None = None
        self.broken = False
        self._rest = b""

    def break_now(self) -> None:
        """As by a reset: see the head of this file."""
        self.broken = True
        self._rest = b""
        self._stream.close()

    async def receive(self, max_bytes: int = RECEIVE_BYTES_MAX) -> bytes:
        await trio.lowlevel.checkpoint()
        if not self._rest:
            self._rest = await self._read()
        limit = self.received_bytes_max
        size = min(max_bytes, len(self._rest) if limit is None else limit - self.received_bytes)
        data, self._rest = self._rest[:size], self._rest[size:]
        self.received_bytes += len(data)
        if self.received_bytes == limit:
            self.break_now()
        if not data:
            raise anyio.BrokenResourceError
        return data

    async def send(self, item: bytes) -> None:
        await trio.lowlevel.checkpoint()
        limit = self.sent_bytes_max
        part = bytes(item) if limit is None else bytes(item[: limit - self.sent_bytes])
        if self.broken:
            raise anyio.BrokenResourceError
        try:
            if part:
                await self._stream.send_all(part)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise self._over(error) from error
        self.sent_bytes += len(part)
        if self.sent_bytes == limit:
            self.break_now()

    async def send_eof(self) -> None:
        await self._stream.send_eof()

    async def aclose(self) -> None:
        await self._stream.aclose()

    @property
    def extra_attributes(self) -> Mapping[Any, Callable[[], Any]]:
        return {SocketAttribute.remote_address: lambda: self.remote}

    async def _read(self) -> bytes:
        try:
            data = bytes(await self._stream.receive_some(RECEIVE_BYTES_MAX))
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise self._over(error) from error
        if not data:
            raise anyio.EndOfStream
        return data

    def _over(self, error: Exception) -> Exception:
        if self.broken or isinstance(error, trio.BrokenResourceError):
            return anyio.BrokenResourceError()
        return anyio.ClosedResourceError()
