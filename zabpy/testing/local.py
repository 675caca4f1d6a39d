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

The servers run in one background thread with trio: this is why this file, and no other of this folder, has threads.
Their ports are any free ones and are held for as long as the ensemble lives, also while a server is down. Servers reach
each other in memory. Their data is in memory too, unless they are given a directory.
"""

import contextlib
import os
import socket
import sys
import tempfile
import threading
import traceback
import weakref
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Mapping
from concurrent.futures import Future
from random import Random
from types import MappingProxyType, TracebackType
from typing import Any, Self, TypeVar

import trio

from zabpy.model import Request, ZabpyError
from zabpy.server import Config, Log, Server, parse, serve
from zabpy.sessions.local import signed
from zabpy.wire import Op

from .disk import FaultyFiles, PowerLost
from .faulty_network import CLIENTS, Exchange, FaultyNetwork, Path, Troubles
from .real_files import RealFiles
from .steady_clock import SteadyClock

LOOPBACK = "127.0.0.1"
SERVERS_MAX = 255
#: How often what is waited for is looked at.
POLL_SECONDS = 0.002
#: A session's end is asked for again after this: whoever was asked may lead no more.
ASK_AGAIN_SECONDS = 0.5
CLOSE_SECONDS_MAX = 10.0
LINES_MAX = 10_000
#: Lines of every server's zoo.cfg, before the ones a test has. Ticks are short, so that what servers notice by silence
#: they notice soon: a partition after half a second. Session timeouts may be as long as a client likes.
SETTINGS: Mapping[str, object] = MappingProxyType(
    {
        "initLimit": 50,
        "syncLimit": 5,
        "maxSessionTimeout": 3_600_000,
        "maxClientCnxns": 0,
        "4lw.commands.whitelist": "*",
        "preAllocSize": 256,
    }
)
#: What an ensemble sets itself.
OURS = frozenset({"tickTime", "dataDir", "dataLogDir", "clientPort", "clientPortAddress", "dynamicConfigFile"})
T = TypeVar("T")


class EnsembleError(ZabpyError):
    """What was asked of an `Ensemble` cannot be done; the text says why."""


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

    def __init__(self, ensemble: "Ensemble", id: int) -> None:
        self._ensemble = ensemble
        self.id = id
        """Its number, from 1 on: the N of its ``server.N``."""
        self._client_port, self._peer_port, self._secure_port = Port(), Port(), Port()
        self._files: FaultyFiles | RealFiles = FaultyFiles()
        self._config: Config
        # These belong to the thread of the servers.
        self._changing = trio.Lock()
        self._server: Server | None = None
        self._network: FaultyNetwork | None = None
        self._scope = trio.CancelScope()
        self._ended = trio.Event()

    @property
    def port(self) -> int:
        """For clients, on 127.0.0.1; the same after a restart."""
        return self._client_port.number

    @property
    def secure_port(self) -> int:
        """For clients with TLS, if the settings tell of certificates and have any ``secureClientPort``."""
        return self._secure_port.number

    @property
    def hosts(self) -> str:
        """``127.0.0.1:port``, for clients that shall know no other server."""
        return f"{LOOPBACK}:{self.port}"

    @property
    def running(self) -> bool:
        return self._server is not None

    @property
    def serving(self) -> bool:
        """Whether it runs and takes clients: it leads, or follows a leader."""
        server = self._server
        return server is not None and server.serving

    @property
    def leading(self) -> bool:
        """Whether it leads, as far as it knows. The only one of an ensemble always does."""
        server = self._server
        return server is not None and server.serving and server.driver.leading

    def kill(self) -> None:
        self._ensemble.kill(self)

    def stop(self) -> None:
        self._ensemble.stop(self)

    def restart(self) -> None:
        self._ensemble.restart(self)

    def drop_connections(self) -> int:
        return self._ensemble.drop_connections(self)

    def __repr__(self) -> str:
        return f"<server {self.id} at {self.hosts}: {self._doing()}>"

    def _close_ports(self) -> None:
        for port in (self._client_port, self._peer_port, self._secure_port):
            port.close()

    def _doing(self) -> str:
        server = self._server
        if server is None:
            return "down"
        if not server.serving:
            return f"{server.driver.replica.role}, not serving"
        return "leading" if server.driver.leading else "following"


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
        if unknown := [key for key in settings if key.removeprefix("zookeeper.") in OURS or key.startswith("server.")]:
            raise ValueError(f"{', '.join(unknown)}: the ensemble sets this itself")
        self._count, self._observers, self._tick_ms = servers, observers, tick_ms
        self._settings, self._ready_timeout_ms = dict(settings), ready_timeout_ms
        self._directory, self._on_disk = directory, on_disk or directory is not None
        self._servers: list[LocalServer] = []
        self._lines: deque[str] = deque(maxlen=LINES_MAX)
        self._failures: list[tuple[str, BaseException]] = []
        self._thread: threading.Thread | None = None
        self._up = threading.Event()
        self._pending: set[Future[Any]] = set()
        self._cleanups = contextlib.ExitStack()
        self._pid = os.getpid()
        # These belong to the thread of the servers.
        self._token: trio.lowlevel.TrioToken | None = None
        self._nursery: trio.Nursery
        self._over = trio.Event()
        self._clock = SteadyClock()
        self._troubles = Troubles()
        self._exchange = Exchange(self._troubles)
        self._config_check()

    # Life -------------------------------------------------------------------------------------------------------------

    def start(self) -> Self:
        """Start all servers, and wait until all serve. Once; ``with`` does it, and `close`.

        Raises:
            TimeoutError: they do not serve within ``ready_timeout_ms``.
            ZabpyError: a server cannot start, its data is damaged for instance; one line.
        """
        if self._thread is not None:
            raise EnsembleError("this ensemble has been started before: make another")
        try:
            self._thread = threading.Thread(target=self._run, name="zabpy-ensemble", daemon=True)
            self._make_servers()
            _LIVING.add(self)
            self._thread.start()
            self._up.wait()
            self._ask(self._start_all)
            self.wait_ready(timeout_ms=self._ready_timeout_ms)
        except BaseException:
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
            (who, error), *_ = self._failures
            self._failures.clear()
            raise EnsembleError(f"{who} had ended by itself: {error!r}") from error

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
        self._check_started()
        return ",".join(server.hosts for server in self._servers)

    @property
    def leader(self) -> int | None:
        """The number of the server that leads now, and may take writes. While a leader that was cut off has not noticed
        yet, and others have found another, it is the other."""
        leading = [each for each in self._servers if each.leading]
        if not leading:
            return None
        return max(leading, key=lambda each: each._server.driver.replica.epoch if each._server is not None else 0).id

    @property
    def log(self) -> str:
        """What the servers said last, a line each event; for tests that fail."""
        return "".join(list(self._lines))

    @property
    def sessions(self) -> frozenset[int]:
        """The ids of the sessions that are open, as far as the leader knows, or else any server; not local ones."""
        running = sorted((each for each in self._servers if each.running), key=lambda each: not each.leading)
        return self._ask_now(lambda: frozenset(_sessions_of(running[0]))) if running else frozenset()

    # Waiting ----------------------------------------------------------------------------------------------------------

    def wait_ready(self, *servers: "int | LocalServer", timeout_ms: int = 10_000) -> None:
        """Wait until these servers, or all that run and at least one, take clients.

        Raises:
            TimeoutError: not within ``timeout_ms``; it says what each server does.
        """
        chosen = [self._server(each) for each in servers]

        def ready() -> bool:
            waited_for = chosen or [each for each in self._servers if each.running]
            return bool(waited_for) and all(each.serving for each in waited_for)

        self._ask(lambda: self._wait(ready, timeout_ms, "all serve"))

    def wait_leader(self, timeout_ms: int = 10_000) -> int:
        """Wait until some server leads, and return its number.

        Raises:
            TimeoutError: not within ``timeout_ms``; it says what each server does.
        """
        self._ask(lambda: self._wait(lambda: self.leader is not None, timeout_ms, "one leads"))
        leader = self.leader
        assert leader is not None
        return leader

    # What can be done to servers --------------------------------------------------------------------------------------

    def kill(self, server: "int | LocalServer") -> None:
        """End it as ``kill -9`` does: all its connections end, also those with clients that are cut off, and nothing
        more is written. Harmless when it is down."""
        host = self._server(server)

        async def kill() -> None:
            async with host._changing:
                if host._server is not None:
                    if isinstance(host._files, FaultyFiles):
                        host._files.kill()
                    host._scope.cancel()
                    await host._ended.wait()

        self._ask(kill)

    def stop(self, server: "int | LocalServer") -> None:
        """End it in good order, as by SIGTERM. Harmless when it is down."""
        host = self._server(server)

        self._ask(lambda: self._stop(host))

    def restart(self, server: "int | LocalServer") -> None:
        """Start it again on what its disk holds; stop it before if it runs. Its port is the same.

        Returns when it listens; that it takes clients, for which it needs a majority, is for `wait_ready`.
        """
        host = self._server(server)

        async def restart() -> None:
            await self._stop(host)
            await self._start(host)

        self._ask(restart)

    def drop_connections(self, server: "int | LocalServer") -> int:
        """End all its connections with clients, here and there, and return how many there were. Their sessions live on,
        and they may come back at once."""
        host = self._server(server)
        return self._ask_now(lambda: 0 if host._network is None else host._network.drop_clients())

    # What can be done to what is between them -------------------------------------------------------------------------

    def partition(self, *servers: "int | LocalServer") -> Fault:
        """Cut these servers from all others, from now on until it is healed: packets are lost, and nobody is told.

        Servers on the same side reach each other, and clients reach all. Who has no majority on its side takes no
        clients any more once it notices: after about five ticks. What was said into the cut arrives when it is healed,
        unless its connection was given up meanwhile.
        """
        if not servers:
            raise ValueError("no server to be cut off")
        inside = {self._server(each).id for each in servers}

        def concerns(path: Path) -> bool:
            return CLIENTS not in path and (path[0] in inside) is not (path[1] in inside)

        return self._fault(lambda: self._troubles.cut(concerns))

    def partition_client(self, *servers: "int | LocalServer") -> Fault:
        """Cut all clients from these servers (from all, if none is named): packets are lost in both directions, and
        nobody is told, also not of ends of connections.

        A client notices by silence. A new connection is accepted by the operating system, and then hears nothing.
        """
        inside = {self._server(each).id for each in servers or self._servers}
        return self._fault(
            lambda: self._troubles.cut(lambda path: CLIENTS in path and (path[0] in inside or path[1] in inside))
        )

    def delay(self, delay_ms: int, *, clients: bool = True, servers: bool = True) -> Fault:
        """From now on each packet takes so much longer on its way, so a round trip twice that: between clients and
        servers, between servers, or both. Delays add up. What is on its way already is not late."""
        if delay_ms < 0:
            raise ValueError(f"a delay of {delay_ms} ms: expected 0 or more")
        return self._fault(lambda: self._troubles.delay(delay_ms, lambda path: clients if CLIENTS in path else servers))

    def heal(self) -> None:
        """Every partition and delay is over."""
        self._ask_now(self._troubles.end_all)

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
                if any(_expire_local(host, id) for host in self._servers):
                    return
                leader = await self._leading()
                if id not in _sessions_of(leader):
                    raise EnsembleError(f"there is no session {id & (1 << 64) - 1:#x}")
                while id in _sessions_of(leader):
                    await self._end_session(id, leader)
                    leader = await self._leading()
                return
            raise self._too_late(f"session {id & (1 << 64) - 1:#x} has ended", timeout_ms)

        self._ask(expire)

    async def _leading(self) -> LocalServer:
        await _until(lambda: self.leader is not None)
        leader = self.leader
        assert leader is not None
        return self._servers[leader - 1]

    async def _end_session(self, id: int, leader: LocalServer) -> None:
        """Ask the leader for it, as it asks itself when a session is silent, and wait a while for it."""
        server = leader._server
        assert server is not None
        record = id.to_bytes(8, "big", signed=True)
        server.driver.submit(Request(server.clients.ids.next(), 0, 0, int(Op.CLOSE_SESSION), record, ()))
        server.settle()

        def ended() -> bool:
            return all(
                id not in _sessions_of(each)
                for each in self._servers
                if each is leader or (each.serving and not self._troubles.is_cut((leader.id, each.id)))
            )

        with trio.move_on_after(ASK_AGAIN_SECONDS):
            await _until(ended)

    # The thread -------------------------------------------------------------------------------------------------------

    def _config_check(self) -> None:
        """Say what is wrong with the settings before anything else happens."""
        config = parse(self._text("/data", 1, 2), path="settings", server_id=1)
        wrong = [line for line in config.warnings if "unknown key" in line or "not served yet" in line]
        if wrong:
            raise ValueError("; ".join(wrong))

    def _text(self, data: str, client_port: int, secure_port: int, members: str = "") -> str:
        lines = {
            "tickTime": self._tick_ms,
            "dataDir": data,
            "clientPort": client_port,
            "clientPortAddress": LOOPBACK,
            **SETTINGS,
            **self._settings,
        }
        if "secureClientPort" in lines:
            lines["secureClientPort"] = secure_port
        texts = {key: str(value).lower() if isinstance(value, bool) else str(value) for key, value in lines.items()}
        return "".join(f"{key}={value}\n".replace("\\", "\\\\") for key, value in texts.items()) + members

    def _make_servers(self) -> None:
        self._servers = [LocalServer(self, id) for id in range(1, self._count + 1)]
        for host in self._servers:
            self._cleanups.callback(host._close_ports)
        directory = None if self._directory is None else os.path.abspath(self._directory)
        if self._on_disk and directory is None:
            directory = self._cleanups.enter_context(
                tempfile.TemporaryDirectory(prefix="zabpy-ensemble-", ignore_cleanup_errors=True)
            )
        voters = self._count - self._observers
        members = "".join(
            f"server.{host.id}={LOOPBACK}:{host._peer_port.number}:{host._peer_port.number}"
            f":{'participant' if host.id <= voters else 'observer'};{LOOPBACK}:{host.port}\n"
            for host in self._servers
        )
        for host in self._servers:
            if directory is not None:
                host._files = RealFiles()
            data = f"{directory or ''}/server{host.id}"
            text = self._text(data, host.port, host.secure_port, members if self._count > 1 else "")
            host._config = parse(text, path=f"server{host.id}.cfg", server_id=host.id)

    def _run(self) -> None:
        try:
            trio.run(self._main)
        except BaseException as error:  # told by whoever waits, or by `close`
            self._failures.append(("the ensemble", error))
        finally:
            self._up.set()
            for answer in list(self._pending):
                if not answer.done():
                    answer.set_exception(EnsembleError("the ensemble has ended"))

    async def _main(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        async with trio.open_nursery() as self._nursery:
            self._nursery.start_soon(self._clock.run)
            self._up.set()
            await self._over.wait()
            self._nursery.cancel_scope.cancel()

    def _end(self) -> None:
        """Also after a failed start, and when it is interrupted itself what can be given back is."""
        if self._pid != os.getpid():
            return
        try:
            if self._thread is not None and self._thread.ident is not None:
                self._up.wait()
                with contextlib.suppress(trio.RunFinishedError):
                    if self._token is not None:
                        self._token.run_sync_soon(self._over.set)
                self._thread.join(CLOSE_SECONDS_MAX)
                if self._thread.is_alive():
                    raise EnsembleError(f"the servers have not ended within {CLOSE_SECONDS_MAX:.0f} s")
        finally:
            self._cleanups.close()
            _LIVING.discard(self)

    def _ask(self, question: Callable[[], Awaitable[T]]) -> T:
        """Have it done in the thread of the servers, and wait for what it returns or raises."""
        if self._pid != os.getpid():
            raise EnsembleError("this ensemble was started in another process: here it can only be connected to")
        self._check_started()
        answer: Future[T] = Future()

        async def run() -> None:
            try:
                result = await question()
            except trio.Cancelled:
                answer.set_exception(EnsembleError("the ensemble was closed meanwhile"))
                raise
            except Exception as error:
                answer.set_exception(error)
            else:
                answer.set_result(result)

        def begin() -> None:
            if not self._over.is_set():
                self._nursery.start_soon(run)
            elif not answer.done():
                answer.set_exception(EnsembleError("the ensemble has ended"))

        self._pending.add(answer)
        try:
            if self._token is not None:
                self._token.run_sync_soon(begin)
                return answer.result()
        except trio.RunFinishedError:
            pass
        finally:
            self._pending.discard(answer)
        raise EnsembleError("the ensemble has ended")

    def _ask_now(self, question: Callable[[], T]) -> T:
        async def ask() -> T:
            return question()

        return self._ask(ask)

    # In the thread ----------------------------------------------------------------------------------------------------

    async def _start_all(self) -> None:
        # They meet when all are there: a majority that begins without the last ones takes longer to be joined by them.
        apart = self._troubles.cut(lambda path: CLIENTS not in path)
        for host in self._servers:
            await self._start(host)
        self._troubles.end(apart)

    async def _start(self, host: LocalServer) -> None:
        async with host._changing:
            if host._server is None:
                await self._nursery.start(self._keep, host)

    async def _stop(self, host: LocalServer) -> None:
        async with host._changing:
            if host._server is not None:
                host._server.stop()
                await host._ended.wait()

    async def _keep(self, host: LocalServer, *, task_status: trio.TaskStatus[None]) -> None:
        """One server, until it ends."""
        host._ended = trio.Event()
        failures: list[BaseException] = []
        try:
            with trio.CancelScope() as host._scope:
                async with trio.open_nursery() as nursery:
                    host._server = await nursery.start(self._serve, host)
                    task_status.started()
        except* PowerLost:
            pass  # it was killed
        except* Exception as group:
            failures = list(_leaves(group))
        finally:
            began = host._server is not None
            host._server = host._network = None
            if isinstance(host._files, RealFiles):
                host._files.kill()
            host._ended.set()
        if failures and not began:
            raise failures[0]
        for error in failures:
            self._failures.append((f"server {host.id}", error))
            self._lines.append("".join(traceback.format_exception(error)))

    async def _serve(self, host: LocalServer, *, task_status: trio.TaskStatus[Server]) -> None:
        ids = {each._peer_port.number: each.id for each in self._servers}
        host._network = FaultyNetwork(
            host.id,
            self._exchange,
            peer_port=host._peer_port.number,
            server_of=ids.__getitem__,
            now_ms=self._clock.now_ms,
        )
        await serve(
            host._config,
            network=host._network,
            files=host._files,
            clock=self._clock,
            log=Log(self._clock, server_id=host.id, write=self._lines.append),
            rng=Random(),
            threads=False,
            signals=False,
            task_status=task_status,
        )

    async def _wait(self, condition: Callable[[], bool], timeout_ms: int, what: str) -> None:
        with trio.move_on_after(timeout_ms / 1000):
            await _until(condition)
            return
        raise self._too_late(what, timeout_ms)

    def _too_late(self, what: str, timeout_ms: int) -> TimeoutError:
        doing = ", ".join(f"server {each.id} is {each._doing()}" for each in self._servers)
        return TimeoutError(f"not within {timeout_ms} ms: {what}; {doing}")

    # Small things -----------------------------------------------------------------------------------------------------

    def _server(self, server: "int | LocalServer") -> LocalServer:
        if isinstance(server, LocalServer):
            if server not in self._servers:
                raise ValueError(f"{server!r} is of another ensemble")
            return server
        self._check_started()
        if not 1 <= server <= self._count:
            raise ValueError(f"server {server}: expected 1 to {self._count}")
        return self._servers[server - 1]

    def _check_started(self) -> None:
        if not self._servers:
            raise EnsembleError("the ensemble has not been started")

    def _fault(self, begin: Callable[[], int]) -> Fault:
        number = self._ask_now(begin)

        def heal() -> None:
            if not self._over.is_set():
                self._ask_now(lambda: self._troubles.end(number))

        return Fault(heal)


class Port:
    """A port of 127.0.0.1 that nobody else gets, whether a server listens on it or not.

    On Linux a socket that is bound and does not listen keeps it: another one that allows it (SO_REUSEADDR) may listen
    there, and nobody is given the port who asks for any. Elsewhere it is only known to have been free.
    """

    def __init__(self) -> None:
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind((LOOPBACK, 0))
        self.number: int = self._socket.getsockname()[1]
        if sys.platform != "linux":
            self._socket.close()

    def close(self) -> None:
        self._socket.close()


def session_id_of(client: object) -> int:
    """The id of a client's session, or an id itself: see `Ensemble.expire` for what is taken and what is raised."""
    if isinstance(client, int):
        return signed(client & (1 << 64) - 1)
    for names in (("client_id", 0), ("session_id",), ("session", "session_id"), ("session", "id"), ("id",)):
        found: object = client
        try:
            for name in names:
                if isinstance(name, str):
                    found = getattr(found, name, None)
                else:
                    found = found[name] if isinstance(found, tuple) else None
        except ZabpyError as error:
            raise ValueError(f"{client!r} has no session now: {error}") from error
        if isinstance(found, int) and found:
            return signed(found & (1 << 64) - 1)
    if any(hasattr(client, name) for name in ("client_id", "session_id", "session")):
        raise ValueError(f"{client!r} has no session now")
    raise TypeError(f"{client!r} is neither the id of a session nor a client of a kind that is known here")


def _sessions_of(host: LocalServer) -> list[int]:
    server = host._server
    return [] if server is None else server.driver.state.sessions.ids()


def _expire_local(host: LocalServer, id: int) -> bool:
    """Whether that is a local session of this server; then it is over."""
    clients = None if host._server is None else host._server.clients
    if clients is None or id not in clients.local.sessions:
        return False
    clients.local.sessions.close(id)
    connection = clients.sessions.get(id)
    if connection is not None:
        connection.drop("local session expired")
    return True


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from _leaves(each)
    else:
        yield error


async def _until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110
        await trio.sleep(POLL_SECONDS)


#: So that a process forked by a test gives up its copies of the servers' sockets: what ends here shall end for clients.
_LIVING: "weakref.WeakSet[Ensemble]" = weakref.WeakSet()


def _abandon_all() -> None:
    for ensemble in list(_LIVING):
        for host in ensemble._servers:
            host._close_ports()
            if host._network is not None:
                host._network.abandon()


os.register_at_fork(after_in_child=_abandon_all)
