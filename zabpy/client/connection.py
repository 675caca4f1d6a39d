"""Keeps a `Core` linked with some server: dials, moves its bytes, tells it the time. Decides nothing about sessions."""

import math
from random import Random

import anyio
from anyio.abc import ByteStream, SocketAttribute

from .dialling import Dial
from .errors import NoServerError
from .failures import SPEAKS_TLS, Failure, failure_of
from .hosts import Host, Hosts
from .session import Core, Link

RECEIVE_BYTES_MAX = 256 * 1024
#: Between two rounds over all servers: at first, and at most.
BACKOFF_MS, BACKOFF_MS_MAX = 50, 2_000
#: How long a client waits at most before it dials again when its connection breaks: all clients of a server that went
#: away dial at once. Less for short sessions.
SPREAD_MS_MAX = 100
#: A connection that was up for less does not count as a success.
STEADY_MS = 1_000
#: What an attempt is given at least, however little time the session has left.
ATTEMPT_MS_MIN = 500
#: How servers that speak TLS begin to answer those who do not.
TLS_ALERT = b"\x15\x03"


def now_ms() -> int:
    """Of the event loop's clock, which never goes back."""
    return int(anyio.current_time() * 1000)


class Connection:
    def __init__(self, core: Core, hosts: Hosts, dial: Dial, rng: Random) -> None:
        self._core, self._hosts, self._dial, self._rng = core, hosts, dial, rng
        self._to_write = anyio.Event()
        self._link_over = anyio.Event()
        self._poke = anyio.Event()
        self._stream: ByteStream | None = None
        self._failure: Failure | None = None
        #: Set while nothing is to be dialled any more.
        self.closing = False

    def flush(self) -> None:
        """There may be something to write."""
        self._to_write.set()

    def poke(self) -> None:
        """The core's next deadline may be earlier than it was."""
        self._poke.set()

    def leave(self, why: str) -> None:
        """Go to another server, once what was asked of this one is answered."""
        self._core.leave(why)
        if self._core.link_broken:
            self._link_over.set()

    @property
    def remote_address(self) -> tuple[str, int] | None:
        """What the connection there is goes to."""
        if self._stream is None:
            return None
        address = self._stream.extra(SocketAttribute.remote_address, None)
        return (address[0], address[1]) if isinstance(address, tuple) else None

    async def keep_linked(self) -> None:
        """Dial one server after another, until there is no more use in it."""
        core, hosts = self._core, self._hosts
        had_session = False
        backoff_ms = BACKOFF_MS
        while not self.closing and core.failure is None:
            host = hosts.next()
            failure, up_ms = await self._attempt(host)
            hosts.failed(host, failure)
            had_session = had_session or core.session is not None or up_ms > 0
            if not had_session and hosts.hopeless:
                core.fail(NoServerError(f"no server will do, and waiting does not cure it: {told(hosts)}", hosts.tried))
                return
            timeout_ms = core.session.timeout_ms if core.session else core.session_timeout_ms
            if up_ms >= STEADY_MS:
                backoff_ms = BACKOFF_MS
            if up_ms:
                await anyio.sleep(min(SPREAD_MS_MAX, timeout_ms / 50) * self._rng.random() / 1000)
            if hosts.at_round_start and up_ms < STEADY_MS:
                # A session that still lives is not to be slept away.
                left_ms = core.session.time_left_ms if core.session else timeout_ms
                wait_ms = min(backoff_ms * (0.5 + self._rng.random()), max(left_ms / 4, BACKOFF_MS / 2))
                await anyio.sleep(wait_ms / 1000)
                backoff_ms = min(backoff_ms * 2, BACKOFF_MS_MAX)

    def _attempt_ms(self) -> int:
        """How long one server may take until it serves us: its share of the time that the session has left."""
        session = self._core.session
        if session is None:
            return max(1_000, self._core.session_timeout_ms // len(self._hosts))
        return max(ATTEMPT_MS_MIN, session.time_left_ms // (self._hosts.left_in_round + 1))

    async def _attempt(self, host: Host) -> tuple[Failure, int]:
        """Why there is no connection with this server, or none any more; and for how long it was up."""
        until_ms = now_ms() + (attempt_ms := self._attempt_ms())
        try:
            with anyio.fail_after(attempt_ms / 1000):
                stream = await self._dial(host.name, host.port)
        except TimeoutError:
            return Failure(f"no connection within {attempt_ms} ms"), 0
        except (OSError, UnicodeError, anyio.BrokenResourceError, anyio.EndOfStream) as error:
            return failure_of(error), 0
        return await self._serve(stream, host, until_ms)

    async def _serve(self, stream: ByteStream, host: Host, up_by_ms: int) -> tuple[Failure, int]:
        """Until the link ends."""
        core = self._core
        self._link_over, self._to_write = anyio.Event(), anyio.Event()
        self._stream, self._failure, began_ms = stream, None, now_ms()
        core.open_link(str(host), began_ms, up_by_ms)
        self.poke()
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._read, stream)
                tasks.start_soon(self._write, stream)
                self.flush()
                await self._link_over.wait()
                tasks.cancel_scope.cancel()
        finally:
            was_up = core.link is Link.UP
            core.close_link(core.link_broken or "the connection was closed", now_ms())
            self._stream = None
            self.poke()
            with anyio.CancelScope(shield=True), anyio.move_on_after(1):
                await anyio.aclose_forcefully(stream)
        return self._how_it_broke(), max(1, now_ms() - began_ms) if was_up else 0

    async def _read(self, stream: ByteStream) -> None:
        core = self._core
        try:
            while not core.link_broken:
                data = await stream.receive(RECEIVE_BYTES_MAX)
                if core.link is Link.GREETING and data.startswith(TLS_ALERT):
                    self._broke(Failure(SPEAKS_TLS, True))
                    break
                core.receive(data, now_ms())
                self._to_write.set()
        except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError, OSError) as error:
            self._broke(failure_of(error))
        self._link_over.set()

    async def _write(self, stream: ByteStream) -> None:
        core = self._core
        try:
            while not core.link_broken:
                await self._to_write.wait()
                self._to_write = anyio.Event()
                while data := core.take(now_ms()):
                    await stream.send(data)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError, OSError) as error:
            # What the server said before it closed, such as why, may still be read.
            with anyio.move_on_after(0.1):
                await self._link_over.wait()
            self._broke(failure_of(error))
        self._link_over.set()

    def _how_it_broke(self) -> Failure:
        return self._failure or Failure(self._core.link_broken)

    def _broke(self, failure: Failure) -> None:
        if not self._core.link_broken:
            self._failure, self._core.link_broken = failure, failure.why

    async def keep_time(self) -> None:
        """Tell the core the time whenever it wants to know it."""
        core = self._core
        while True:
            due_ms = core.wake_at_ms
            self._poke = anyio.Event()
            delay = math.inf if due_ms is None else max(0.001, (due_ms - now_ms()) / 1000)
            with anyio.move_on_after(delay):
                await self._poke.wait()
            core.tick(now_ms())
            if core.link_broken:
                self._link_over.set()
            self.flush()


def told(hosts: Hosts) -> str:
    """Which servers were tried, and why they would not do."""
    return "; ".join(f"{server}: {why}" for server, why in hosts.tried) or "none has been tried yet"
