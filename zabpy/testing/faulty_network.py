"""The network of `zabpy.testing.Ensemble`: real sockets for clients, links in memory between servers, and what goes
wrong with either.

Each direction of a connection has a `Pipe`. While nothing is wrong what clients say and hear goes past it; else it
waits there, in order: for its delay, or until a cut is over. Nothing is ever dropped, for TCP would send it again: what
was said into a cut arrives late, and so does the end of a connection.
"""

import math
import select
from collections import deque
from collections.abc import Callable

import trio

from zabpy.server import Channel, EpollNetwork, Handler, Listener, Network, StreamNetwork
from zabpy.server.transport import Accept, Trouble

#: Where clients are, as an end of a `Path`; servers have numbers from 1 on.
CLIENTS = 0
#: From, to.
Path = tuple[int, int]


class Troubles:
    """All that is wrong between the servers and clients of one ensemble now."""

    def __init__(self) -> None:
        self._cuts: dict[int, Callable[[Path], bool]] = {}
        self._delays: dict[int, tuple[int, Callable[[Path], bool]]] = {}
        self._last_number = 0
        self._changed = trio.Event()
        #: Told of every change.
        self.networks: set[FaultyNetwork] = set()

    @property
    def none(self) -> bool:
        return not self._cuts and not self._delays

    def cut(self, concerns: Callable[[Path], bool]) -> int:
        """Begin; the number is for `end`."""
        self._last_number += 1
        self._cuts[self._last_number] = concerns
        self._tell()
        return self._last_number

    def delay(self, delay_ms: int, concerns: Callable[[Path], bool]) -> int:
        self._last_number += 1
        self._delays[self._last_number] = delay_ms, concerns
        self._tell()
        return self._last_number

    def end(self, number: int) -> None:
        """Harmless when it has ended before."""
        self._cuts.pop(number, None)
        self._delays.pop(number, None)
        self._tell()

    def end_all(self) -> None:
        self._cuts.clear()
        self._delays.clear()
        self._tell()

    def is_cut(self, path: Path) -> bool:
        return any(concerns(path) for concerns in self._cuts.values())

    def delay_ms(self, path: Path) -> int:
        """What is wrong at the same time adds up."""
        return sum(delay_ms for delay_ms, concerns in self._delays.values() if concerns(path))

    async def wait_passable(self, path: Path) -> None:
        """Until a packet could go and its answer come back."""
        while self.is_cut(path) or self.is_cut(path[::-1]):
            await self._changed.wait()
        await trio.sleep((self.delay_ms(path) + self.delay_ms(path[::-1])) / 1000)

    def _tell(self) -> None:
        self._changed.set()
        self._changed = trio.Event()
        for network in self.networks:
            network.wake()


class Pipe:
    """One direction of one connection: what is put in happens in that order, when the path lets it."""

    def __init__(self, network: "FaultyNetwork", path: Path) -> None:
        """``network`` lets it happen, in its task."""
        self._network, self._path = network, path
        self._waiting: deque[tuple[float, Callable[[], None], int]] = deque()
        #: Whoever it is for does not want more now.
        self.paused = False
        #: Bytes that wait.
        self.size = 0

    @property
    def empty(self) -> bool:
        return not self._waiting

    @property
    def open(self) -> bool:
        """Whether nothing is in the way: what need not wait in the network's task can happen now."""
        return not self._waiting and not self.paused and self._network.troubles.none

    def put(self, happen: Callable[[], None], size: int = 0) -> None:
        delay_ms = self._network.troubles.delay_ms(self._path)
        self._waiting.append((trio.current_time() + delay_ms / 1000, happen, size))
        self.size += size
        self._network.has_waiting(self)

    def clear(self) -> None:
        self._waiting.clear()
        self.size = 0

    def resume(self) -> None:
        self.paused = False
        if self._waiting:
            self._network.wake()

    def work(self) -> float:
        """Let happen what is due, and tell when there is more to do."""
        while self._waiting and not self.paused and not self._network.troubles.is_cut(self._path):
            at, happen, size = self._waiting[0]
            if at > trio.current_time():
                return at
            self._waiting.popleft()
            self.size -= size
            happen()
        return math.inf


class Exchange:
    """Where servers find each other: no sockets, so no ports that somebody else may have."""

    def __init__(self, troubles: Troubles) -> None:
        self.troubles = troubles
        #: Which server has that peer port.
        self.servers: dict[int, int] = {}
        self._listening: dict[int, tuple[FaultyNetwork, Accept]] = {}

    def listen(self, port: int, network: "FaultyNetwork", accept: Accept) -> None:
        self._listening[port] = network, accept

    def unlisten(self, port: int, network: "FaultyNetwork") -> None:
        if port in self._listening and self._listening[port][0] is network:
            del self._listening[port]

    async def dial(self, dialler: "FaultyNetwork", port: int) -> Channel:
        """Raises ConnectionRefusedError when the server there does not run; waits while the two are cut."""
        path = dialler.server_id, self.servers[port]
        await self.troubles.wait_passable(path)
        if port not in self._listening:
            raise ConnectionRefusedError(111, "Connection refused")
        network, accept = self._listening[port]
        near, far = MemoryChannel(dialler), MemoryChannel(network)
        near.join(far)
        far.join(near)
        Pipe(network, path).put(lambda: accept(far))
        return near


class FaultyNetwork:
    """What one server sees of it."""

    def __init__(self, server_id: int, exchange: Exchange, *, peer_port: int, now_ms: Callable[[], int]) -> None:
        self.server_id, self.troubles = server_id, exchange.troubles
        self._exchange, self._peer_port = exchange, peer_port
        self._sockets: Network = (
            EpollNetwork(now_ms, patience_seconds=0) if hasattr(select, "epoll") else StreamNetwork()
        )
        self._busy: dict[Pipe, None] = {}
        self._wake = trio.Event()
        self._settle: Callable[[], None] = lambda: None
        self.links: set[MemoryChannel] = set()
        self.clients: set[ClientChannel] = set()

    # As a Network -----------------------------------------------------------------------------------------------------

    async def listen(self, host: str, port: int, accept: Accept, *, backlog: int = 1024) -> Listener:
        if port == self._peer_port:
            self._exchange.listen(port, self, accept)
            return MemoryListener(self._exchange, self, port)
        return await self._sockets.listen(
            host, port, lambda channel: accept(ClientChannel(self, channel)), backlog=backlog
        )

    async def dial(self, host: str, port: int) -> Channel:
        return await self._exchange.dial(self, port)

    async def run(
        self,
        settle: Callable[[], None],
        trouble: Trouble,
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        self._settle = settle
        self.troubles.networks.add(self)
        try:
            async with trio.open_nursery() as nursery:
                await nursery.start(self._sockets.run, settle, trouble)
                task_status.started()
                await self._let_happen()
        finally:
            self.troubles.networks.discard(self)
            self._exchange.unlisten(self._peer_port, self)
            for link in list(self.links):
                link.close()

    def waker(self, call: Callable[[], None]) -> Callable[[], None]:
        return self._sockets.waker(call)

    def reap(self, now_ms: int) -> None:
        self._sockets.reap(now_ms)

    # What a test does -------------------------------------------------------------------------------------------------

    def drop_clients(self) -> int:
        """End all connections of clients, here and there, whatever is cut. How many there were."""
        dropped = list(self.clients)
        for channel in dropped:
            channel.break_now()
        self._settle()
        return len(dropped)

    def abandon(self) -> None:
        """See `EpollNetwork.abandon`."""
        if isinstance(self._sockets, EpollNetwork):
            self._sockets.abandon()

    # Pipes ------------------------------------------------------------------------------------------------------------

    def has_waiting(self, pipe: Pipe) -> None:
        self._busy[pipe] = None
        self._wake.set()

    def wake(self) -> None:
        self._wake.set()

    async def _let_happen(self) -> None:
        while True:
            self._wake = trio.Event()
            at = math.inf
            busy = list(self._busy)
            for pipe in busy:
                at = min(at, pipe.work())
                if pipe.empty:
                    self._busy.pop(pipe, None)
            if busy:
                self._settle()
            with trio.move_on_at(at):
                await self._wake.wait()


class ClientChannel:
    """A client's connection, as its server sees it."""

    def __init__(self, network: FaultyNetwork, socket: Channel) -> None:
        self._network, self._socket, self.remote = network, socket, socket.remote
        self._handler: Handler = _NOBODY
        self._in = Pipe(network, (CLIENTS, network.server_id))
        self._out = Pipe(network, (network.server_id, CLIENTS))
        network.clients.add(self)

    @property
    def backlog(self) -> int:
        return self._out.size + self._socket.backlog

    def start(self, handler: Handler) -> None:
        self._handler = handler
        self._socket.start(self)

    def send(self, data: bytes) -> None:
        if self._out.open:
            self._socket.send(data)
        else:
            self._out.put(lambda: self._send_late(data), len(data))

    def pause(self) -> None:
        self._in.paused = True
        self._socket.pause()

    def resume(self) -> None:
        self._socket.resume()
        self._in.resume()

    def finish(self) -> None:
        self._leave()
        if self._out.open:
            self._socket.finish()
        else:
            self._out.put(self._socket.finish)

    def close(self) -> None:
        self._leave()
        self._out.clear()
        if self._out.open:
            self._socket.close()
        else:
            self._out.put(self._socket.close)

    def break_now(self) -> None:
        handler = self._handler
        self._leave()
        self._out.clear()
        self._socket.close()
        handler.closed("dropped by a test")

    def _send_late(self, data: bytes) -> None:
        self._socket.send(data)
        if not self.backlog:
            self._handler.drained()

    def _leave(self) -> None:
        self._handler = _NOBODY
        self._in.clear()
        self._network.clients.discard(self)

    # As the socket's handler ------------------------------------------------------------------------------------------

    def received(self, data: bytes) -> None:
        if self._in.open:
            self._handler.received(data)
        else:
            self._in.put(lambda: self._handler.received(data), len(data))

    def drained(self) -> None:
        if self._out.empty:
            self._handler.drained()

    def closed(self, why: str) -> None:
        if self._in.open:
            self._lost(why)
        else:
            self._in.put(lambda: self._lost(why))

    def _lost(self, why: str) -> None:
        handler = self._handler
        self._leave()
        handler.closed(why)


class MemoryChannel:
    """One end of a link between two servers."""

    def __init__(self, network: FaultyNetwork) -> None:
        self._network = network
        self._handler: Handler = _NOBODY

    def join(self, other: "MemoryChannel") -> None:
        """To be called once for both ends, before anything else."""
        self.remote = f"server {other._network.server_id}", 0
        self._other = other
        self._in = Pipe(self._network, (other._network.server_id, self._network.server_id))
        self._in.paused = True  # until somebody takes it
        self._network.links.add(self)

    @property
    def backlog(self) -> int:
        return self._other._in.size

    def start(self, handler: Handler) -> None:
        self._handler = handler
        self._in.resume()

    def send(self, data: bytes) -> None:
        self._other._in.put(lambda: self._arrives(data), len(data))

    def pause(self) -> None:
        self._in.paused = True

    def resume(self) -> None:
        self._in.resume()

    def finish(self) -> None:
        self._leave()
        self._other._in.put(self._other._lost)

    def close(self) -> None:
        self._other._in.clear()
        self.finish()

    def _arrives(self, data: bytes) -> None:
        self._other._handler.received(data)
        if not self.backlog:
            self._handler.drained()

    def _lost(self) -> None:
        handler = self._handler
        self._leave()
        handler.closed("closed by the other side")

    def _leave(self) -> None:
        self._handler = _NOBODY
        self._in.clear()
        self._in.paused = False  # nobody minds
        self._network.links.discard(self)


class MemoryListener:
    def __init__(self, exchange: Exchange, network: FaultyNetwork, port: int) -> None:
        self._exchange, self._network, self.port = exchange, network, port

    def close(self) -> None:
        self._exchange.unlisten(self.port, self._network)


class _Nobody:
    """The handler of a channel that is no longer anybody's."""

    def received(self, data: bytes) -> None: ...
    def drained(self) -> None: ...
    def closed(self, why: str) -> None: ...


_NOBODY = _Nobody()
