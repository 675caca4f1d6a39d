"""TCP under asyncio, with what comes handed to a function at once instead of to a task that has to be woken first.

asyncio reads and then calls; anyio's stream puts that into a queue, wakes the task that waits for it, and has the loop
told twice each time that it wants to read (two system calls). Of what one call at a time costs that was a fifth. Under
trio a task reads, there is nothing to be had.
"""

import asyncio
import socket
from collections.abc import Callable

import anyio
from anyio.abc import SocketStream

from .dialling import Pushing

#: What may come before anybody asks for it; then the other side has to wait.
HELD_BYTES_MAX = 256 * 1024


class PushingStream(Pushing, SocketStream, asyncio.Protocol):
    """To be had from `dialled`. Either `push` is used, once, or `receive`, as TLS does."""

    _transport: asyncio.Transport

    def __init__(self) -> None:
        self._held = bytearray()
        self._came, self._may_write = asyncio.Event(), asyncio.Event()
        self._may_write.set()
        self._push: Callable[[bytes], object] | None = None
        #: Why nothing more will come.
        self._over: Exception | None = None

    @property
    def _raw_socket(self) -> socket.socket:
        raw: socket.socket = self._transport.get_extra_info("socket")
        return raw

    async def push(self, received: Callable[[bytes], object]) -> None:
        self._push = received
        if self._held:
            held = bytes(self._held)
            self._held.clear()
            received(held)
        self._transport.resume_reading()
        try:
            while self._over is None:
                self._came.clear()
                await self._came.wait()
            raise self._over
        finally:
            self._push = None

    async def receive(self, max_bytes: int = 65536) -> bytes:
        await anyio.lowlevel.checkpoint_if_cancelled()
        while not self._held:
            if self._over is not None:
                raise self._over
            self._came.clear()
            await self._came.wait()
        data = bytes(self._held[:max_bytes])
        del self._held[:max_bytes]
        if not self._held:
            self._transport.resume_reading()
        return data

    async def send(self, item: bytes) -> None:
        await anyio.lowlevel.checkpoint_if_cancelled()
        if self._transport.is_closing():
            raise self._over or anyio.ClosedResourceError
        self._transport.write(item)
        await self._may_write.wait()
        if self._transport.is_closing():
            raise self._over or anyio.ClosedResourceError

    async def send_eof(self) -> None:
        self._transport.write_eof()

    async def aclose(self) -> None:
        self._end(anyio.ClosedResourceError())
        self._transport.abort()
        await anyio.lowlevel.checkpoint()

    def _end(self, why: Exception) -> None:
        self._over = self._over or why
        self._came.set()
        self._may_write.set()

    # What asyncio calls -----------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if self._push is not None and self._over is None:
            try:
                self._push(data)
            except Exception as error:
                self._end(error)  # which `push` raises
            return
        self._held += data
        self._came.set()
        if len(self._held) >= HELD_BYTES_MAX:
            self._transport.pause_reading()

    def eof_received(self) -> bool:
        self._end(anyio.EndOfStream())
        return True  # what is still to be written may be wanted on the other side

    def connection_lost(self, exc: Exception | None) -> None:
        broken = anyio.BrokenResourceError()
        broken.__cause__ = exc
        self._end(anyio.EndOfStream() if exc is None else broken)

    def pause_writing(self) -> None:
        self._may_write.clear()

    def resume_writing(self) -> None:
        self._may_write.set()


async def dialled(address: str, port: int) -> PushingStream:
    """Connect to an address, no name. Raises OSError."""
    _, stream = await asyncio.get_running_loop().create_connection(PushingStream, address, port)
    return stream
