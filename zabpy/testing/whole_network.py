"""The network of a whole simulation: byte streams in memory between named hosts, and all that goes wrong with them.

Each directed path between two hosts has a delay, may be cut (what was said arrives late, as TCP sends it again) and may
be clogged. A connection breaks at a byte, half-closes, or dies with a host: a killed process's system tells the other
side, a machine without power does not, and answers with a reset once it is back. Bytes arrive in pieces of any size.
"""

import math
from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count as count_from
from random import Random

import trio

from zabpy.server import Listener, StreamNetwork
from zabpy.server.transport import OnStream

from .memory_stream import MemoryStream

#: Bytes on their way in one direction before the sender waits, as with a socket's buffers.
WIRE_BYTES_MAX = 256 * 1024
#: A host without power, or behind a cut: how often whoever dials looks again. In virtual time this costs next to none.
SYN_AGAIN_SECONDS = 0.05


class Path:
    """From one host to another."""

    __slots__ = ("clogged_until", "cuts", "delay_us", "rate")

    def __init__(self) -> None:
        self.cuts = 0
        self.clogged_until = 0.0
        #: Added to every piece.
        self.delay_us = 0
        #: Bytes a second; 0: no limit.
        self.rate = 0


class WholeNetwork:
    """All hosts and all connections."""

    def __init__(
        self,
        rng: Random,
        *,
        latency_us: int,
        jitter_us: int,
        spike_permille: int,
        spike_us: int,
        split_permille: int,
        count: Callable[[str], None],
        moved: Callable[[str, str, bytes], None],
    ) -> None:
        """``split_permille``: of what arrives, how much comes in two pieces at least. ``moved`` sees all bytes."""
        self._rng = rng
        self._latency_us, self._jitter_us = latency_us, jitter_us
        self._spike_permille, self._spike_us = spike_permille, spike_us
        self._split_permille = split_permille
        self.count, self.moved = count, moved
        self._paths: dict[tuple[str, str], Path] = {}
        self._listening: dict[tuple[str, int], WholeListener] = {}
        #: Hosts without power.
        self.off: set[str] = set()
        #: Those that stand, in the order they came to be.
        self.connections: dict[int, Connection] = {}
        self._last_number = 40_000
        #: When the first byte of what arrives in which direction may be read.
        self._due: list[tuple[float, int, Direction]] = []
        self._sequence = count_from(1)
        self._nap = trio.CancelScope()

    async def run(self) -> None:
        """Let bytes arrive when it is their time. One task for all: a wake-up of trio's costs more than all else."""
        due = self._due
        while True:
            now = trio.current_time()
            while due and due[0][0] <= now:
                heappop(due)[2].arrive()
            self._nap = trio.CancelScope(deadline=due[0][0] if due else math.inf)
            with self._nap:
                await trio.sleep_forever()

    def arrives(self, at: float, direction: "Direction") -> None:
        heappush(self._due, (at, next(self._sequence), direction))
        if at < self._nap.deadline:
            self._nap.deadline = at

    def path(self, sender: str, receiver: str) -> Path:
        path = self._paths.get((sender, receiver))
        if path is None:
            path = self._paths[sender, receiver] = Path()
        return path

    # What goes wrong --------------------------------------------------------------------------------------------------

    def cut(self, sender: str, receiver: str) -> None:
        """Nothing more arrives until as many `heal`s."""
        self.path(sender, receiver).cuts += 1

    def heal(self, sender: str, receiver: str) -> None:
        path = self.path(sender, receiver)
        path.cuts = max(0, path.cuts - 1)
        if not path.cuts:
            for connection in self.between(sender, receiver):
                connection.direction(sender).arrive()

    def heal_all(self) -> None:
        for path in self._paths.values():
            path.cuts = path.delay_us = path.rate = 0
            path.clogged_until = 0.0
        for connection in self.connections.values():
            connection.out.arrive()
            connection.back.arrive()

    def between(self, one: str, other: str) -> list["Connection"]:
        return [each for each in self.connections.values() if {each.dialler, each.host} == {one, other}]

    def of_host(self, host: str) -> list["Connection"]:
        return [each for each in self.connections.values() if host in (each.dialler, each.host)]

    def kill(self, host: str, *, power: bool) -> None:
        """Its processes are gone, and with them their ends of all connections."""
        for connection in self.of_host(host):
            connection.die(host, silently=power)
        for key in [key for key in self._listening if key[0] == host]:
            del self._listening[key]
        if power:
            self.off.add(host)

    def power_on(self, host: str) -> None:
        self.off.discard(host)

    # Connections ------------------------------------------------------------------------------------------------------

    def listen(self, host: str, port: int) -> "WholeListener":
        if (host, port) in self._listening:
            raise OSError(98, "Address already in use")
        listener = self._listening[host, port] = WholeListener(self, host, port)
        return listener

    def unlisten(self, listener: "WholeListener") -> None:
        if self._listening.get((listener.host, listener.port)) is listener:
            del self._listening[listener.host, listener.port]

    async def dial(self, here: str, there: str, port: int) -> "WholeStream":
        await trio.sleep((self.delay_us(here, there) + self.delay_us(there, here)) / 1e6)
        while there in self.off or self.path(here, there).cuts or self.path(there, here).cuts:  # noqa: ASYNC110
            await trio.sleep(SYN_AGAIN_SECONDS)
        listener = self._listening.get((there, port))
        if listener is None:
            raise ConnectionRefusedError(111, "Connection refused")
        self._last_number += 1
        connection = Connection(self, self._last_number, here, there)
        self.connections[connection.number] = connection
        listener.arrived(connection.end_of(there), (here, connection.number))
        return connection.end_of(here)

    def delay_us(self, sender: str, receiver: str) -> int:
        rng = self._rng
        delay = self._latency_us + int(self._jitter_us * rng.random() ** 3) + self.path(sender, receiver).delay_us
        if rng.randrange(1000) < self._spike_permille:
            delay += rng.randrange(self._spike_us + 1)
        return delay

    def piece(self, size: int) -> int:
        """How much of so many bytes arrives at once."""
        rng = self._rng
        return rng.randint(1, size) if rng.randrange(1000) < self._split_permille else size


class Connection:
    """Two directions between whoever dialled and the host that listened."""

    def __init__(self, network: WholeNetwork, number: int, dialler: str, host: str) -> None:
        self.network, self.number, self.dialler, self.host = network, number, dialler, host
        self.out, self.back = Direction(self, dialler, host), Direction(self, host, dialler)
        self._ends = {dialler: WholeStream(self, self.out, self.back), host: WholeStream(self, self.back, self.out)}
        #: The host whose end went with its power: nobody there answers until it is back.
        self._vanished = ""

    def end_of(self, host: str) -> "WholeStream":
        return self._ends[host]

    def direction(self, sender: str) -> "Direction":
        return self.out if sender == self.dialler else self.back

    def reset(self) -> None:
        """Both ends find it broken; what was on its way is lost."""
        self.network.connections.pop(self.number, None)
        self.out.break_now()
        self.back.break_now()

    def die(self, host: str, *, silently: bool) -> None:
        """The end at this host is gone without having said anything."""
        here = self.direction(host)
        there = self.back if here is self.out else self.out
        there.deafen()
        if silently:
            self._vanished = host
            here.ended = True  # and nothing of what is on its way is held back
        else:
            here.end()

    def said_into_the_void(self) -> None:
        """The other end is gone, and yet something was said to it."""
        if self._vanished and self._vanished in self.network.off:
            return
        self.reset()

    def over(self) -> None:
        if self.out.ended and self.back.ended:
            self.network.connections.pop(self.number, None)


class Direction:
    """One of the two: in order, each piece after a delay of its own."""

    def __init__(self, connection: Connection, sender: str, receiver: str) -> None:
        self._connection, self._network = connection, connection.network
        self.sender, self.receiver = sender, receiver
        self._path = self._network.path(sender, receiver)
        self._pieces: deque[tuple[float, bytes]] = deque()  # an empty piece is the end
        self._bytes = 0
        self._last_at = 0.0
        self.ended = False  # nothing more is said
        self.deaf = False  # the receiver has closed, or is no more
        self.broken = False
        self.lost = False  # a half-close that the sender knows nothing of: what it still says goes nowhere
        #: Breaks once so many bytes more have arrived.
        self.breaks_after: int | None = None
        self._readable, self._room = trio.Event(), trio.Event()

    async def send(self, data: bytes) -> None:
        while self._bytes > WIRE_BYTES_MAX and not (self.deaf or self.ended or self.broken):
            self._room = trio.Event()
            await self._room.wait()
        if self.broken or self.ended:
            raise trio.BrokenResourceError
        if self.deaf:
            self._connection.said_into_the_void()
            if self.broken:
                raise trio.BrokenResourceError
        elif not self.lost:
            self._put(data)

    def end(self) -> None:
        if not self.ended:
            if not self.deaf and not self.lost:
                self._put(b"")
            self.ended = True
            self._connection.over()

    def half_close(self) -> None:
        """The receiver reads an end; the sender goes on in vain."""
        if not (self.ended or self.lost or self.deaf):
            self._put(b"")
            self.lost = True

    def deafen(self) -> None:
        self.deaf = True
        self._pieces.clear()
        self._bytes = 0
        self._readable.set()
        self._room.set()

    def break_now(self) -> None:
        self.broken = self.ended = True
        self._pieces.clear()
        self._bytes = 0
        self._readable.set()
        self._room.set()

    def arrive(self) -> None:
        """Perhaps there is something to read now."""
        if self._pieces and not self._path.cuts:
            at = max(self._pieces[0][0], self._path.clogged_until)
            if at <= trio.current_time():
                self._readable.set()
            else:
                self._network.arrives(at, self)

    async def receive(self, count: int) -> bytes:
        while True:
            if self.broken:
                raise trio.BrokenResourceError
            if self.deaf:
                raise trio.ClosedResourceError
            if self._pieces and not self._path.cuts:
                at, data = self._pieces[0]
                if max(at, self._path.clogged_until) <= trio.current_time():
                    return self._take(data, count)
            self._readable = trio.Event()
            await self._readable.wait()

    def _put(self, data: bytes) -> None:
        now, path = trio.current_time(), self._path
        at = now + self._network.delay_us(self.sender, self.receiver) / 1e6
        if path.rate:
            at = max(at, self._last_at) + len(data) / path.rate
        self._last_at = max(self._last_at, at)
        self._pieces.append((self._last_at, data))
        self._bytes += len(data)
        if len(self._pieces) == 1:
            self.arrive()

    def _take(self, data: bytes, count: int) -> bytes:
        if not data:
            return b""  # the end stays
        at, _ = self._pieces.popleft()
        size = min(count, self._network.piece(len(data)))
        if self.breaks_after is not None:
            size = min(size, self.breaks_after)
            self.breaks_after -= size
        if size < len(data):
            self._pieces.appendleft((at, data[size:]))
        self._bytes -= size
        self._room.set()
        self.arrive()
        data = data[:size]
        if self.breaks_after == 0:
            self._network.count("F16 broken at a byte")
            self._connection.reset()
            if not data:
                raise trio.BrokenResourceError
        self._network.moved(self.sender, self.receiver, data)
        return data


class WholeStream(MemoryStream):
    """An end that knows its connection."""

    def __init__(self, connection: Connection, out: Direction, back: Direction) -> None:
        super().__init__(out, back)
        self.connection = connection


class WholeListener:
    """The system takes connections; the server's own task takes them from there, when it runs."""

    def __init__(self, network: WholeNetwork, host: str, port: int) -> None:
        self._network, self.host, self.port = network, host, port
        self._waiting: deque[tuple[WholeStream, tuple[str, int]]] = deque()
        self._arrived = trio.Event()
        self._closed = False

    def arrived(self, stream: WholeStream, remote: tuple[str, int]) -> None:
        self._waiting.append((stream, remote))
        self._arrived.set()

    async def accept_all(self, connected: OnStream) -> None:
        while not self._closed:
            await self._arrived.wait()
            self._arrived = trio.Event()
            while self._waiting and not self._closed:
                connected(*self._waiting.popleft())

    def close(self) -> None:
        self._closed = True
        self._network.unlisten(self)
        for stream, _ in self._waiting:
            stream.connection.reset()


class HostNetwork(StreamNetwork):
    """What one host sees of it."""

    def __init__(self, network: WholeNetwork, host: str) -> None:
        super().__init__()
        self._whole, self._host = network, host

    async def open_listener(self, nursery: trio.Nursery, host: str, port: int, connected: OnStream) -> Listener:
        await trio.lowlevel.checkpoint()
        listener = self._whole.listen(self._host, port)
        nursery.start_soon(listener.accept_all, connected)
        return listener

    async def open_stream(self, host: str, port: int) -> trio.abc.Stream:
        return await self._whole.dial(self._host, host, port)
