"""Whole servers in one process: on streams in memory, disks in memory and trio's clock, which a test may jump.

    async with trio.open_nursery() as nursery:
        ensemble = MemoryEnsemble(nursery, servers=3, seed=1)
        await ensemble.start_all()
        stream = await ensemble.connect(1)          # a client's byte stream to server 1
        ensemble.crash(2)

Nothing here waits for real: under ``trio.testing.MockClock(autojump_threshold=0)`` an hour of timeouts takes a moment.
Delays are drawn from the seed. What is ready at the same instant trio runs in an order of its own.
"""

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import replace
from random import Random
from types import MappingProxyType
from typing import Any

import trio

from zabpy.model import Member
from zabpy.server import Config, Listener, Log, Server, StreamNetwork, TrioClock, serve
from zabpy.server.transport import OnStream

from .dialling import MemoryDial
from .disk import CutModel, FaultyFiles, PowerLost
from .session_ids import ask_for_end, session_id_of

CLIENT_PORT, PEER_PORT = 2181, 2888
#: Who may do everything: the identity digest of ``super:test``.
SUPER_DIGEST = "super:D/InIHSb7yEEbrWz8b9l71RjZJU="
#: How often a test looks whether what it waits for is so. In virtual time this costs nothing.
POLL_SECONDS = 0.01
#: A session's end is asked for again after this: whoever was asked may lead no more.
ASK_AGAIN_SECONDS = 0.5
#: Bytes on their way in one direction before the sender waits, as with a socket's buffers.
WIRE_BYTES_MAX = 1 << 20


class MemoryEnsemble:
    """Servers 1 to ``servers``, the last ``observers`` of them not voting; a lone one is standalone."""

    def __init__(
        self,
        nursery: trio.Nursery,
        *,
        servers: int = 3,
        observers: int = 0,
        seed: int = 0,
        tick_ms: int = 1000,
        delay_us_max: int = 2_000,
        snapshot_entries: int = 100_000,
        frame_bytes_max: int = 1_048_575,
        config: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        """``config``: further fields of all servers' `Config`."""
        self._nursery = nursery
        self._rng = Random(f"ensemble {seed}")
        self.wires = Wires(Random(f"wires {seed}"), delay_us_max=delay_us_max)
        #: What a batch of writes takes on each server's disk.
        self.disk_delay_ms: dict[int, float] = {}
        self.lines: list[str] = []
        self.files: dict[int, FaultyFiles] = {}
        self.servers: dict[int, Server] = {}
        self._scopes: dict[int, trio.CancelScope] = {}
        self._ended: dict[int, trio.Event] = {}
        members = tuple(
            Member(id, _host(id), PEER_PORT, PEER_PORT + 1000, voter=id <= servers - observers)
            for id in range(1, servers + 1)
        )
        self.configs = {
            id: Config(
                path=f"{_host(id)}.cfg",
                server_id=id if servers > 1 else 0,
                members=members if servers > 1 else (),
                data_dir=f"/{_host(id)}",
                data_log_dir=f"/{_host(id)}",
                client_host=_host(id),
                client_port=CLIENT_PORT,
                tick_ms=tick_ms,
                address_connections_max=0,
                snapshot_entries=snapshot_entries,
                frame_bytes_max=frame_bytes_max,
                log_segment_bytes=1 << 20,
                **{"reconfig": True, "super_digest": SUPER_DIGEST, **config},
            )
            for id in range(1, servers + 1)
        }
        for id in self.configs:
            self._add_machine(id)

    def add_observer(self, id: int) -> Member:
        """A machine for one more server. Its own file lists it, and nobody else's does: what lets it in is a reconfig
        with the line of the member that this returns. To be started by `start`."""
        assert id not in self.configs
        first = self.configs[1]
        member = Member(id, _host(id), PEER_PORT, PEER_PORT + 1000, False, _host(id), CLIENT_PORT)
        self.configs[id] = replace(
            first,
            path=f"{_host(id)}.cfg",
            server_id=id,
            members=(*first.members, member),
            data_dir=f"/{_host(id)}",
            data_log_dir=f"/{_host(id)}",
            client_host=_host(id),
        )
        self._add_machine(id)
        return member

    def limit(self, **limits: Any) -> None:
        """Change fields of all configurations, for servers that are started from now on."""
        self.configs = {id: replace(config, **limits) for id, config in self.configs.items()}

    async def start_all(self) -> None:
        """All servers, and wait until all serve."""
        for id in self.configs:
            await self.start(id)
        await self.wait_serving()

    async def start(self, id: int) -> Server:
        """One server, on what its disk holds."""
        assert id not in self.servers
        server = await self._nursery.start(self._run, id)
        assert isinstance(server, Server)
        return server

    def crash(self, id: int, model: CutModel | None = None) -> None:
        """The process is gone at this instant; with a ``model`` the power went, and what was not synced with it."""
        if model is None:
            self.files[id].kill()
        else:
            self.files[id].power_cut(self._rng, model)
        self._scopes[id].cancel()
        self.servers.pop(id, None)

    async def stop(self, id: int) -> None:
        """An orderly stop, as by SIGTERM."""
        self.servers[id].stop()
        await self._ended[id].wait()

    async def wait_ended(self, id: int) -> None:
        await self._ended[id].wait()

    async def wait_serving(self, ids: Iterable[int] | None = None) -> None:
        """Until these servers, or all that run, serve clients."""
        while not all(id in self.servers and self.servers[id].serving for id in ids or self.servers):  # noqa: ASYNC110
            await trio.sleep(POLL_SECONDS)

    @property
    def leader(self) -> int | None:
        """The one that leads and may propose."""
        return next((id for id, server in self.servers.items() if server.serving and server.driver.leading), None)

    async def wait_leader(self) -> int:
        while self.leader is None:  # noqa: ASYNC110
            await trio.sleep(POLL_SECONDS)
        return self.leader

    async def wait_level(self) -> None:
        """Until all servers that run have applied the same last transaction."""
        while len({server.driver.state.last_applied for server in self.servers.values()}) > 1:  # noqa: ASYNC110
            await trio.sleep(POLL_SECONDS)

    async def expire(self, session: object) -> None:
        """End a session (its id, or its client's) as if it had been silent for too long, and wait until the leader has.
        Harmless when it is over. Without a quorum this waits for one."""
        id = session_id_of(session)
        while True:
            leader = self.servers[await self.wait_leader()]
            if id not in leader.driver.state.sessions:
                return
            ask_for_end(leader, id)
            with trio.move_on_after(ASK_AGAIN_SECONDS):
                while id in leader.driver.state.sessions:  # noqa: ASYNC110
                    await trio.sleep(POLL_SECONDS)

    async def connect(self, id: int, host: str = "client") -> trio.abc.HalfCloseableStream:
        """A client's connection to that server's client port."""
        return await self.wires.dial(host, _host(id), CLIENT_PORT)

    @property
    def hosts(self) -> str:
        """What a client is given that dials with `dial`: ``s1:2181,s2:2181,...``."""
        return ",".join(f"s{id}:{CLIENT_PORT}" for id in self.configs)

    def dial(self, host: str = "client") -> MemoryDial:
        """For ``zabpy.connect(ensemble.hosts, dial=...)``: a client on a machine of that name. It can be `cut`, and
        `MemoryDial` has connections that break at a byte."""
        return MemoryDial(self.wires.dial, host)

    def cut(self, a: int | str, b: int | str) -> None:
        """Nothing more passes between these two until `heal`; neither is told. A number is a server, a name a client's
        machine."""
        self.wires.cut(_host(a), _host(b))

    def lose(self, sender: int | str, receiver: int | str) -> None:
        """The same in one direction only. New connections between the two need both."""
        self.wires.lose(_host(sender), _host(receiver))

    def heal(self) -> None:
        """All cuts are over. What was said meanwhile arrives late, as TCP would send it again."""
        self.wires.heal()

    def _add_machine(self, id: int) -> None:
        self.files[id] = FaultyFiles()
        self.disk_delay_ms[id] = self._rng.random() * 4
        self.wires.aliases[f"s{id}"] = _host(id)

    async def _run(self, id: int, *, task_status: trio.TaskStatus[Server]) -> None:
        clock = TrioClock()
        log = Log(clock, server_id=id, write=self.lines.append)
        self._ended[id] = trio.Event()
        try:
            with trio.CancelScope() as self._scopes[id]:
                async with trio.open_nursery() as nursery:
                    server = await nursery.start(self._serve, id, clock, log)
                    self.servers[id] = server
                    task_status.started(server)
        except* PowerLost:
            pass
        finally:
            self.servers.pop(id, None)
            self._ended[id].set()

    async def _serve(self, id: int, clock: TrioClock, log: Log, *, task_status: trio.TaskStatus[Server]) -> None:
        await serve(
            self.configs[id],
            network=MemoryNetwork(self.wires, _host(id)),
            files=self.files[id],
            clock=clock,
            log=log,
            rng=Random(self._rng.random()),
            threads=False,
            disk_delay_ms=self.disk_delay_ms[id],
            signals=False,
            task_status=task_status,
        )


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

    async def dial(self, here: str, there: str, port: int) -> "MemoryStream":
        here, there = self._named(here), self._named(there)
        await trio.sleep(self.delay())
        while self.is_cut(here, there) or self.is_cut(there, here):  # noqa: ASYNC110
            await trio.sleep(0.05)
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

    def close_receiver(self) -> None:
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


class MemoryStream(trio.abc.HalfCloseableStream):
    """One end of a connection."""

    def __init__(self, out: Direction, back: Direction) -> None:
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
        self._back.close_receiver()

    async def aclose(self) -> None:
        self.close()
        await trio.lowlevel.checkpoint()


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


def _host(id: int | str) -> str:
    return f"server{id}" if isinstance(id, int) else id
