"""The network of a `MemoryEnsemble`: byte streams in memory between named hosts, with delays and cuts.

Nothing is ever lost here, and no connection breaks by itself; the network where they do is whole_network.py.
"""

from collections import deque
from random import Random

import trio

from zabpy.server import Listener, StreamNetwork
from zabpy.server.transport import OnStream

from .memory_stream import MemoryStream

#: Bytes on their way in one direction before the sender waits, as with a socket's buffers.
WIRE_BYTES_MAX = 1 << 20
#: Behind a cut: how often whoever dials looks again. In virtual time this costs next to none.
DIAL_AGAIN_SECONDS = 0.05


class Wires:
    """All there is between hosts: who listens where, and which pairs are cut from each other."""

    def __init__(self, rng: Random, *, delay_us_max: int) -> None:
        self._rng, self._delay_us_max = rng, delay_us_max
        #: Further names of hosts.
        self.aliases: dict[str, str] = {}
        self._listening: dict[tuple[str, int], OnStream] = {}
        self._cuts: set[tuple[str, str]] = set()
        self._directions: set[Direction] = set()
        self._last_port = 40_000

    def listen(self, host: str, port: int, connected: OnStream) -> None:
        if (host, port) in self._listening:
            raise OSError(98, "Address already in use")
        self._listening[host, port] = connected

    def unlisten(self, host: str, port: int) -> None:
        self._listening.pop((host, port), None)

    async def dial(self, here: str, there: str, port: int) -> MemoryStream:
        here, there = self._named(here), self._named(there)
        await trio.sleep(self.delay())
        while self.is_cut(here, there) or self.is_cut(there, here):  # noqa: ASYNC110
            await trio.sleep(DIAL_AGAIN_SECONDS)
        connected = self._listening.get((there, port))
        if connected is None:
            raise ConnectionRefusedError(111, "Connection refused")
        out, back = Direction(self, here, there), Direction(self, there, here)
        self._directions |= {out, back}
        self._last_port += 1
        connected(MemoryStream(back, out), (here, self._last_port))
        return MemoryStream(out, back)

    def delay(self) -> float:
        return self._rng.randrange(self._delay_us_max + 1) / 1e6

    def cut(self, a: str, b: str) -> None:
        self.lose(a, b)
        self.lose(b, a)

    def lose(self, sender: str, receiver: str) -> None:
        self._cuts.add((self._named(sender), self._named(receiver)))

    def heal(self) -> None:
        self._cuts.clear()
        for direction in self._directions:
            direction.changed.set()

    def is_cut(self, sender: str, receiver: str) -> bool:
        return (sender, receiver) in self._cuts

    def forget(self, direction: "Direction") -> None:
        self._directions.discard(direction)

    def _named(self, host: str) -> str:
        return self.aliases.get(host, host)


class Direction:
    """One of the two streams of a connection: in order, each piece after a delay of its own."""

    def __init__(self, wires: Wires, sender: str, receiver: str) -> None:
        self._wires, self._sender, self._receiver = wires, sender, receiver
        self._pieces: deque[tuple[float, bytes]] = deque()  # an empty piece is the end
        self._bytes = 0
        self._last_at = 0.0
        self._ended = False
        self.deaf = False  # the receiver has closed
        self.changed = trio.Event()

    async def send(self, data: bytes) -> None:
        while self._bytes > WIRE_BYTES_MAX and not self.deaf and not self._ended:
            await self._wait_change()
        if self.deaf or self._ended:
            raise trio.BrokenResourceError
        self._put(data)

    def end(self) -> None:
        if not self._ended:
            self._put(b"")
            self._ended = True

    def deafen(self) -> None:
        self.deaf = True
        self._pieces.clear()
        self._wires.forget(self)
        self.changed.set()

    async def receive(self, count: int) -> bytes:
        while True:
            if self.deaf:
                raise trio.ClosedResourceError
            if self._pieces and not self._wires.is_cut(self._sender, self._receiver):
                at, data = self._pieces[0]
                if at <= trio.current_time():
                    return self._take(data, count)
                with trio.move_on_at(at):
                    await self._wait_change()
            else:
                await self._wait_change()

    def _put(self, data: bytes) -> None:
        self._last_at = max(self._last_at, trio.current_time() + self._wires.delay())
        self._pieces.append((self._last_at, data))
        self._bytes += len(data)
        self.changed.set()

    def _take(self, data: bytes, count: int) -> bytes:
        if not data:
            return b""  # the end stays
        at, _ = self._pieces.popleft()
        if len(data) > count:
            self._pieces.appendleft((at, data[count:]))
        self._bytes -= min(count, len(data))
        self.changed.set()
        return data[:count]

    async def _wait_change(self) -> None:
        if self.changed.is_set():
            self.changed = trio.Event()
        await self.changed.wait()


class MemoryNetwork(StreamNetwork):
    """What one host sees of the `Wires`."""

    def __init__(self, wires: Wires, host: str) -> None:
        super().__init__()
        self._wires, self._host = wires, host

    async def open_listener(self, nursery: trio.Nursery, host: str, port: int, connected: OnStream) -> Listener:
        await trio.lowlevel.checkpoint()
        self._wires.listen(self._host, port, connected)
        return MemoryListener(self._wires, self._host, port)

    async def open_stream(self, host: str, port: int) -> trio.abc.Stream:
        return await self._wires.dial(self._host, host, port)


class MemoryListener:
    def __init__(self, wires: Wires, host: str, port: int) -> None:
        self._wires, self._host, self.port = wires, host, port

    def close(self) -> None:
        self._wires.unlisten(self._host, self.port)
