"""One end of a connection in memory, whatever network it is of: wires.py or whole_network.py."""

from typing import Protocol

import trio


class Way(Protocol):
    """One of the two directions of a connection."""

    async def send(self, data: bytes) -> None: ...

    def end(self) -> None:
        """The sender says no more."""

    async def receive(self, count: int) -> bytes: ...

    def deafen(self) -> None:
        """The receiver reads no more."""


class MemoryStream(trio.abc.HalfCloseableStream):
    """One end of a connection."""

    def __init__(self, out: Way, back: Way) -> None:
        self._out, self._back = out, back

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await trio.lowlevel.checkpoint()
        await self._out.send(bytes(data))

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def send_eof(self) -> None:
        await trio.lowlevel.checkpoint()
        self._out.end()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        await trio.lowlevel.checkpoint()
        return await self._back.receive(max_bytes or 1 << 16)

    def close(self) -> None:
        """What was sent still arrives; what has not been read is lost."""
        self._out.end()
        self._back.deafen()

    async def aclose(self) -> None:
        self.close()
        await trio.lowlevel.checkpoint()
