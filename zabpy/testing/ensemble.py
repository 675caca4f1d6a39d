"""Whole servers in one process: on streams in memory, disks in memory and trio's clock, which a test may jump.

    async with trio.open_nursery() as nursery:
        ensemble = MemoryEnsemble(nursery, servers=3, seed=1)
        await ensemble.start_all()
        stream = await ensemble.connect(1)          # a client's byte stream to server 1
        ensemble.crash(2)

Nothing here waits for real: under ``trio.testing.MockClock(autojump_threshold=0)`` an hour of timeouts takes a moment.
Delays are drawn from the seed. What is ready at the same instant trio runs in an order of its own.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from random import Random
from types import MappingProxyType
from typing import Any

import trio

from zabpy.model import Member
from zabpy.server import Config, Log, Server, TrioClock, serve

from .dialling import MemoryDial
from .disk import CutModel, FaultyFiles, PowerLost
from .session_ids import ask_for_end, session_id_of
from .wires import MemoryNetwork, Wires

CLIENT_PORT, PEER_PORT = 2181, 2888
#: Who may do everything: the identity digest of ``super:test``.
SUPER_DIGEST = "super:D/InIHSb7yEEbrWz8b9l71RjZJU="
#: How often a test looks whether what it waits for is so. In virtual time this costs nothing.
POLL_SECONDS = 0.01
#: A session's end is asked for again after this: whoever was asked may lead no more.
ASK_AGAIN_SECONDS = 0.5


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
        # A server tells nobody when it begins to serve: this and all below ask every `POLL_SECONDS` of virtual time.
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
            pass  # it was crashed
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


def _host(id: int | str) -> str:
    return f"server{id}" if isinstance(id, int) else id
