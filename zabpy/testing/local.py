"""Ensemble: real servers for tests of whatever talks to ZooKeeper: in this process, ready in a moment, easy to hurt.

    with Ensemble(servers=3) as ensemble:
        client = KazooClient(ensemble.hosts)         # or zabpy, aiozk, Curator: the real protocol on real ports
        client.start()
        with ensemble.partition(ensemble.leader):    # cut it off from the others
            ...
        ensemble.expire(client)                      # its session is over, as if it had been silent for too long
        ensemble.kill(1)                             # as kill -9 does
        ensemble.restart(1)

All calls are plain ones, for any thread, and return when what they do is done: so a test needs no event loop, and under
one they block it for some ms (`wait_ready`, `wait_leader`, `restart` and `expire` perhaps for longer: use
``anyio.to_thread.run_sync`` there if that matters). ``async with Ensemble()`` is the same under trio and asyncio.

The servers run in one background thread (background.py; each of them in a host.py). Their ports are any free ones and
are held for as long as the ensemble lives, also while a server is down. Servers reach each other in memory
(faulty_network.py). Their data is in memory too, unless they are given a directory.
"""

import contextlib
import os
import tempfile
import weakref
from collections import deque
from collections.abc import Callable, Mapping
from types import MappingProxyType, TracebackType
from typing import Self

import trio

from .background import Background, EnsembleError as EnsembleError
from .disk import FaultyFiles
from .faulty_network import CLIENTS, Exchange, Path, Troubles
from .host import Host
from .local_config import LocalConfig, members_of
from .port import LOOPBACK
from .real_files import RealFiles
from .session_ids import ask_for_end, session_id_of, session_text
from .steady_clock import SteadyClock

SERVERS_MAX = 255
#: How often what is waited for is looked at.
POLL_SECONDS = 0.002
#: A session's end is asked for again after this: whoever was asked may lead no more.
ASK_AGAIN_SECONDS = 0.5
CLOSE_SECONDS_MAX = 10.0
LINES_MAX = 10_000


class Fault:
    """Something that is wrong since the call that returned this, until `heal`, or until the end of its ``with``."""

    def __init__(self, heal: Callable[[], None]) -> None:
        self._heal = heal

    def heal(self) -> None:
        """It is over. Harmless if it is already, or the ensemble is."""
        self._heal()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.heal()


class LocalServer:
    """One server of an `Ensemble`, and what can be done to it: see the methods of that of the same names."""

    def __init__(self, ensemble: "Ensemble", host: Host) -> None:
        self._ensemble, self._host = ensemble, host
        self.id = host.id
        """Its number, from 1 on: the N of its ``server.N``."""

    @property
    def port(self) -> int:
        """For clients, on 127.0.0.1; the same after a restart."""
        return self._host.client_port.number

    @property
    def secure_port(self) -> int:
        """For clients with TLS, if the settings tell of certificates and have any ``secureClientPort``."""
        return self._host.secure_port.number

    @property
    def hosts(self) -> str:
        """``127.0.0.1:port``, for clients that shall know no other server."""
        return f"{LOOPBACK}:{self.port}"

    @property
    def running(self) -> bool:
        return self._host.server is not None

    @property
    def serving(self) -> bool:
        """Whether it runs and takes clients: it leads, or follows a leader."""
        return self._host.serving

    @property
    def leading(self) -> bool:
        """Whether it leads and takes writes, as far as it knows."""
        return self._host.epoch_led > 0

    def kill(self) -> None:
        self._ensemble.kill(self)

    def stop(self) -> None:
        self._ensemble.stop(self)

    def restart(self) -> None:
        self._ensemble.restart(self)

    def drop_connections(self) -> int:
        return self._ensemble.drop_connections(self)

    def __repr__(self) -> str:
        return f"<server {self.id} at {self.hosts}: {self._host.doing}>"


class Ensemble:
    """Servers 1 to ``servers``, ready for clients from `start` on, or from the beginning of a ``with``."""

    def __init__(
        self,
        servers: int = 3,
        *,
        observers: int = 0,
        directory: str | os.PathLike[str] | None = None,
        on_disk: bool = False,
        tick_ms: int = 100,
        settings: Mapping[str, object] = MappingProxyType({}),
        ready_timeout_ms: int = 30_000,
    ) -> None:
        """Nothing is opened or started yet.

        Args:
            servers: how many in all. A lone one is standalone.
            observers: so many of them, the last ones, follow without a vote.
            directory: where they keep their data: it may hold that of an earlier ensemble with as many servers.
                None: in memory, where it survives `kill`, `stop` and `restart`, and ends with the ensemble.
            on_disk: without a ``directory``: a temporary one, which is removed at the end.
            tick_ms: a session lasts two ticks or longer, and a leader who is silent for five is given up.
            settings: further lines of each server's zoo.cfg, as ZooKeeper calls them: ``{"reconfigEnabled": True}``.
                With any ``secureClientPort`` each server has a `LocalServer.secure_port` of its own.
            ready_timeout_ms: how long `start` waits.

        Raises:
            ValueError: a number that cannot be, a setting that nobody knows or that the ensemble makes itself.
        """
        if not 1 <= servers <= SERVERS_MAX:
            raise ValueError(f"{servers} servers: expected 1 to {SERVERS_MAX}")
        if not 0 <= observers < servers:
            raise ValueError(f"{observers} observers of {servers} servers: expected one that votes at least")
        if tick_ms < 1:
            raise ValueError(f"a tick of {tick_ms} ms: expected 1 or more")
        self._count, self._voters = servers, servers - observers
        self._config, self._ready_timeout_ms = LocalConfig(tick_ms, settings), ready_timeout_ms
        self._directory, self._on_disk = directory, on_disk or directory is not None
        self._servers: list[LocalServer] = []
        self._lines: deque[str] = deque(maxlen=LINES_MAX)
        self._failures: list[tuple[int, BaseException]] = []
        self._cleanups = contextlib.ExitStack()
        self._background = Background("zabpy-ensemble")
        # These belong to the thread of the servers.
        self._hosts: list[Host] = []
        self._clock = SteadyClock()
        self._troubles = Troubles()
        self._exchange = Exchange(self._troubles)

    # Life -------------------------------------------------------------------------------------------------------------

    def start(self) -> Self:
        """Start all servers, and wait until all serve. Once; ``with`` does it, and `close`.

        Raises:
            TimeoutError: they do not serve within ``ready_timeout_ms``.
            ZabpyError: a server cannot start, its data is damaged for instance; one line.
        """
        if self._background.started:
            raise EnsembleError("this ensemble has been started before: make another")
        try:
            self._make_servers()
            _LIVING.add(self)
            self._background.start()
            self._background.ask(self._start_all)
            self.wait_ready(timeout_ms=self._ready_timeout_ms)
        except BaseException:  # Ctrl-C too: nothing of a start that failed is left
            self._end()
            raise
        return self

    def close(self) -> None:
        """End all servers, at once, and give back all that they had. May be called again.

        Raises:
            EnsembleError: a server had ended by itself, by a mistake of ours: please report it with its traceback.
        """
        self._end()
        if self._failures:
            (id, error), *_ = self._failures
            self._failures.clear()
            raise EnsembleError(f"server {id} had ended by itself: {error!r}") from error
        if self._background.failure is not None:
            raise EnsembleError("the servers had ended by themselves") from self._background.failure

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:
            self._end()

    async def __aenter__(self) -> Self:
        import anyio

        return await anyio.to_thread.run_sync(self.start)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        import anyio

        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(self.__exit__, kind, error, trace)

    # What it is -------------------------------------------------------------------------------------------------------

    @property
    def servers(self) -> list[LocalServer]:
        """All servers in order, so that ``servers[0]`` is server 1, whether they run or not. From `start` on."""
        self._check_started()
        return list(self._servers)

    @property
    def hosts(self) -> str:
        """Where clients connect: ``127.0.0.1:port,127.0.0.1:port,...``, all servers, whether they run or not. From
        `start` on."""
        return ",".join(server.hosts for server in self.servers)

    @property
    def leader(self) -> int | None:
        """The number of the server that leads now, and may take writes. While a leader that was cut off has not noticed
        yet, and others have found another, it is the other."""
        epochs = [(host.epoch_led, host.id) for host in self._hosts]
        epoch, id = max(epochs, default=(0, 0))
        return id if epoch else None

    @property
    def log(self) -> str:
        """What the servers said last, a line each event; for tests that fail."""
        return "".join(list(self._lines))

    @property
    def sessions(self) -> frozenset[int]:
        """The ids of the sessions that are open, as far as the leader knows, or else any server; not local ones."""

        def sessions() -> frozenset[int]:
            running = [host for host in self._hosts if host.server is not None]
            best = max(running, key=lambda host: host.epoch_led, default=None)
            return frozenset() if best is None else frozenset(best.sessions)

        return self._background.ask_now(sessions)

    # Waiting ----------------------------------------------------------------------------------------------------------

    def wait_ready(self, *servers: int | LocalServer, timeout_ms: int = 10_000) -> None:
        """Wait until these servers, or all that run and at least one, take clients.

        Raises:
            TimeoutError: not within ``timeout_ms``; it says what each server does.
        """
        chosen = [self._host_of(each) for each in servers]

        def ready() -> bool:
            waited_for = chosen or [host for host in self._hosts if host.server is not None]
            return bool(waited_for) and all(host.serving for host in waited_for)

        async def wait() -> None:
            with trio.move_on_after(timeout_ms / 1000):
                await _until(ready)
                return
            raise self._too_late("all serve", timeout_ms)

        self._background.ask(wait)

    def wait_leader(self, timeout_ms: int = 10_000) -> int:
        """Wait until some server leads, and return its number.

        Raises:
            TimeoutError: not within ``timeout_ms``; it says what each server does.
        """

        async def wait() -> int:
            with trio.move_on_after(timeout_ms / 1000):
                return (await self._leading()).id
            raise self._too_late("one leads", timeout_ms)

        return self._background.ask(wait)

    # What can be done to servers --------------------------------------------------------------------------------------

    def kill(self, server: int | LocalServer) -> None:
        """End it as ``kill -9`` does: all its connections end, also those with clients that are cut off, and nothing
        more is written. Harmless when it is down."""
        self._background.ask(self._host_of(server).kill)

    def stop(self, server: int | LocalServer) -> None:
        """End it in good order, as by SIGTERM. Harmless when it is down."""
        self._background.ask(self._host_of(server).stop)

    def restart(self, server: int | LocalServer) -> None:
        """Start it again on what its disk holds; stop it before if it runs. Its port is the same.

        Returns when it listens; that it takes clients, for which it needs a majority, is for `wait_ready`.
        """
        host = self._host_of(server)

        async def restart() -> None:
            await host.stop()
            await host.start(self._background.nursery)

        self._background.ask(restart)

    def drop_connections(self, server: int | LocalServer) -> int:
        """End all its connections with clients, here and there, and return how many there were. Their sessions live on,
        and they may come back at once."""
        return self._background.ask_now(self._host_of(server).drop_clients)

    # What can be done to what is between them -------------------------------------------------------------------------

    def partition(self, *servers: int | LocalServer) -> Fault:
        """Cut these servers from all others, from now on until it is healed: packets are lost, and nobody is told.

        Servers on the same side reach each other, and clients reach all. Who has no majority on its side takes no
        clients any more once it notices: after about five ticks. What was said into the cut arrives when it is healed,
        unless its connection was given up meanwhile.
        """
        if not servers:
            raise ValueError("no server to be cut off")
        inside = {self._host_of(each).id for each in servers}

        def concerns(path: Path) -> bool:
            return CLIENTS not in path and (path[0] in inside) is not (path[1] in inside)

        return self._fault(lambda: self._troubles.cut(concerns))

    def partition_client(self, *servers: int | LocalServer) -> Fault:
        """Cut all clients from these servers (from all, if none is named): packets are lost in both directions, and
        nobody is told, also not of ends of connections.

        A client notices by silence. A new connection is accepted by the operating system, and then hears nothing.
        """
        inside = {self._host_of(each).id for each in servers or self.servers}

        def concerns(path: Path) -> bool:
            return CLIENTS in path and not inside.isdisjoint(path)

        return self._fault(lambda: self._troubles.cut(concerns))

    def delay(self, delay_ms: int, *, clients: bool = True, servers: bool = True) -> Fault:
        """From now on each packet takes so much longer on its way, so a round trip twice that: between clients and
        servers, between servers, or both. Delays add up. What is on its way already is not late."""
        if delay_ms < 0:
            raise ValueError(f"a delay of {delay_ms} ms: expected 0 or more")
        return self._fault(lambda: self._troubles.delay(delay_ms, lambda path: clients if CLIENTS in path else servers))

    def heal(self) -> None:
        """Every partition and delay is over."""
        self._background.ask_now(self._troubles.end_all)

    # Sessions ---------------------------------------------------------------------------------------------------------

    def expire(self, session: object, timeout_ms: int = 10_000) -> None:
        """End a session at the ensemble, as if its client had been silent for too long: its ephemeral znodes go, its
        connection ends, and the client learns why when it comes back.

        Returns when the leader, and all servers that it reaches, have ended it.

        Args:
            session: its id, a client of zabpy, kazoo or aiozk, or anything else with a ``session_id``.
        Raises:
            TypeError: that is none of these.
            ValueError: the client has no session now.
            EnsembleError: there is no such session.
            TimeoutError: not within ``timeout_ms``: no server leads, for instance.
        """
        id = session_id_of(session)

        async def expire() -> None:
            with trio.move_on_after(timeout_ms / 1000):
                if any(host.end_local(id) for host in self._hosts):
                    return
                leader = await self._leading()
                if id not in leader.sessions:
                    raise EnsembleError(f"there is no session {session_text(id)}")
                while id in leader.sessions:
                    if leader.server is not None:
                        ask_for_end(leader.server, id)
                    await self._wait_ended(id, leader)
                    leader = await self._leading()
                return
            raise self._too_late(f"session {session_text(id)} has ended", timeout_ms)

        self._background.ask(expire)

    async def _wait_ended(self, id: int, leader: Host) -> None:
        """For a while, for who was asked may lead no more."""

        def ended() -> bool:
            return all(
                id not in host.sessions
                for host in self._hosts
                if host is leader or (host.serving and not self._troubles.is_cut((leader.id, host.id)))
            )

        with trio.move_on_after(ASK_AGAIN_SECONDS):
            await _until(ended)

    # Inside -----------------------------------------------------------------------------------------------------------

    def _make_servers(self) -> None:
        directory = "" if self._directory is None else os.path.abspath(self._directory)
        if self._on_disk and not directory:
            directory = self._cleanups.enter_context(
                tempfile.TemporaryDirectory(prefix="zabpy-ensemble-", ignore_cleanup_errors=True)
            )
        for id in range(1, self._count + 1):
            host = Host(
                id,
                RealFiles() if self._on_disk else FaultyFiles(),
                exchange=self._exchange,
                clock=self._clock,
                write=self._lines.append,
                failed=lambda id, error: self._failures.append((id, error)),
            )
            self._cleanups.callback(host.close)
            self._hosts.append(host)
        members = members_of(self._hosts, self._voters)
        for host in self._hosts:
            host.config = self._config.of(host, members, directory)
        self._exchange.servers |= {host.peer_port.number: host.id for host in self._hosts}
        self._servers = [LocalServer(self, host) for host in self._hosts]

    async def _start_all(self) -> None:
        nursery = self._background.nursery
        nursery.start_soon(self._clock.run)
        # They meet when all are there: a majority that begins without the last ones takes longer to be joined by them.
        apart = self._troubles.cut(lambda path: CLIENTS not in path)
        for host in self._hosts:
            await host.start(nursery)
        self._troubles.end(apart)

    def _end(self) -> None:
        """Also after a failed start, and when it is interrupted itself what can be given back is."""
        if self._background.elsewhere:
            return
        try:
            if not self._background.end(CLOSE_SECONDS_MAX):
                raise EnsembleError(f"the servers have not ended within {CLOSE_SECONDS_MAX:.0f} s")
        finally:
            self._cleanups.close()
            _LIVING.discard(self)

    def abandon(self) -> None:
        """For processes that are forked, see below."""
        for host in self._hosts:
            host.abandon()

    def _fault(self, begin: Callable[[], int]) -> Fault:
        number = self._background.ask_now(begin)

        def heal() -> None:
            if not self._background.ending:
                self._background.ask_now(lambda: self._troubles.end(number))

        return Fault(heal)

    def _host_of(self, server: int | LocalServer) -> Host:
        self._check_started()
        if isinstance(server, LocalServer):
            if server not in self._servers:
                raise ValueError(f"{server!r} is of another ensemble")
            return self._hosts[server.id - 1]
        if not 1 <= server <= self._count:
            raise ValueError(f"server {server}: expected 1 to {self._count}")
        return self._hosts[server - 1]

    def _check_started(self) -> None:
        if not self._servers:
            raise EnsembleError("the ensemble has not been started")

    async def _leading(self) -> Host:
        while (leader := self.leader) is None:  # noqa: ASYNC110
            await trio.sleep(POLL_SECONDS)
        return self._hosts[leader - 1]

    def _too_late(self, what: str, timeout_ms: int) -> TimeoutError:
        doing = ", ".join(f"server {host.id} is {host.doing}" for host in self._hosts)
        return TimeoutError(f"not within {timeout_ms} ms: {what}; {doing}")


async def _until(condition: Callable[[], bool]) -> None:
    """Servers tell nobody when they begin to lead or serve, so this looks again and again."""
    while not condition():  # noqa: ASYNC110
        await trio.sleep(POLL_SECONDS)


_LIVING: "weakref.WeakSet[Ensemble]" = weakref.WeakSet()


def _abandon_all() -> None:
    """A test that forks gives its child copies of all sockets. As long as there are any, no connection that a server
    here closes has ended for its client, and no other server can listen where one was killed."""
    for ensemble in list(_LIVING):
        ensemble.abandon()


os.register_at_fork(after_in_child=_abandon_all)
