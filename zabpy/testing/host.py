"""Host: what one server of `zabpy.testing.Ensemble` has whether it runs or not, and its life.

All of it belongs to the servers' thread, but for what is said to be readable from others.
"""

import traceback
from collections.abc import Callable, Iterator
from random import Random

import trio

from zabpy.server import Config, Log, Server, serve

from .disk import FaultyFiles, PowerLost
from .faulty_network import Exchange, FaultyNetwork
from .port import Port
from .real_files import RealFiles
from .steady_clock import SteadyClock

#: Called with the server's number when it ended by itself, and why.
Failed = Callable[[int, BaseException], None]


class Host:
    def __init__(
        self,
        id: int,
        files: FaultyFiles | RealFiles,
        *,
        exchange: Exchange,
        clock: SteadyClock,
        write: Callable[[str], object],
        failed: Failed,
    ) -> None:
        self.id = id
        self.client_port, self.secure_port, self.peer_port = Port(), Port(), Port()
        #: To be set before the first start.
        self.config: Config
        #: While it runs.
        self.server: Server | None = None
        self._files, self._exchange, self._clock = files, exchange, clock
        self._write, self._failed = write, failed
        self._network: FaultyNetwork | None = None
        self._changing = trio.Lock()
        self._scope = trio.CancelScope()
        self._ended = trio.Event()

    # Any thread may ask -----------------------------------------------------------------------------------------------

    @property
    def serving(self) -> bool:
        server = self.server
        return server is not None and server.serving

    @property
    def epoch_led(self) -> int:
        """The epoch in which it leads and takes writes; 0 if it does not."""
        server = self.server
        if server is None or not server.serving or not server.driver.leading:
            return 0
        return server.driver.replica.epoch

    @property
    def doing(self) -> str:
        server = self.server
        if server is None:
            return "down"
        if not server.serving:
            return f"{server.driver.replica.role}, not serving"
        return "leading" if server.driver.leading else "following"

    # Life -------------------------------------------------------------------------------------------------------------

    async def start(self, nursery: trio.Nursery) -> None:
        """Until it listens. Nothing if it runs."""
        async with self._changing:
            if self.server is None:
                await nursery.start(self._keep)

    async def stop(self) -> None:
        """In good order. Nothing if it is down."""
        async with self._changing:
            if self.server is not None:
                self.server.stop()
                await self._ended.wait()

    async def kill(self) -> None:
        async with self._changing:
            if self.server is not None:
                if isinstance(self._files, FaultyFiles):
                    self._files.kill()
                self._scope.cancel()
                await self._ended.wait()

    async def _keep(self, *, task_status: trio.TaskStatus[None]) -> None:
        self._ended = trio.Event()
        failures: list[BaseException] = []
        try:
            with trio.CancelScope() as self._scope:
                async with trio.open_nursery() as nursery:
                    self.server = await nursery.start(self._serve)
                    task_status.started()
        except* PowerLost:
            pass  # it was killed
        except* Exception as group:
            failures = list(_leaves(group))
        finally:
            began = self.server is not None
            self.server = self._network = None
            if isinstance(self._files, RealFiles):
                self._files.kill()
            self._ended.set()
        if failures and not began:
            raise failures[0]
        for error in failures:
            self._write("".join(traceback.format_exception(error)))
            self._failed(self.id, error)

    async def _serve(self, *, task_status: trio.TaskStatus[Server]) -> None:
        self._network = FaultyNetwork(
            self.id, self._exchange, peer_port=self.peer_port.number, now_ms=self._clock.now_ms
        )
        await serve(
            self.config,
            network=self._network,
            files=self._files,
            clock=self._clock,
            log=Log(self._clock, server_id=self.id, write=self._write),
            rng=Random(),
            threads=False,
            signals=False,
            task_status=task_status,
        )

    # Clients ----------------------------------------------------------------------------------------------------------

    @property
    def sessions(self) -> list[int]:
        """Those that all servers know, as far as this one does."""
        return [] if self.server is None else self.server.driver.state.sessions.ids()

    def end_local(self, session_id: int) -> bool:
        """Whether that is a local session here; then it is over."""
        clients = None if self.server is None else self.server.clients
        if clients is None or session_id not in clients.local.sessions:
            return False
        clients.local.sessions.close(session_id)
        connection = clients.sessions.get(session_id)
        if connection is not None:
            connection.drop("local session expired")
        return True

    def drop_clients(self) -> int:
        return 0 if self._network is None else self._network.drop_clients()

    # The end ----------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Give the ports back."""
        for port in (self.client_port, self.secure_port, self.peer_port):
            port.close()

    def abandon(self) -> None:
        """In a process that was forked: let go of the copies of all sockets; what ends here shall end for clients."""
        self.close()
        if self._network is not None:
            self._network.abandon()


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from _leaves(each)
    else:
        yield error
