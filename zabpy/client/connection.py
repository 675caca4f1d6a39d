"""Keeps a `Core` linked with some server: dials, moves its bytes, tells it the time. Decides nothing about sessions."""

import math
import ssl
from collections.abc import Awaitable, Callable
from random import Random

import anyio
from anyio.abc import ByteStream

from .hosts import Host, Hosts
from .session import Core, Link

RECEIVE_BYTES_MAX = 256 * 1024
#: Between two rounds over all servers: at first, and at most.
BACKOFF_MS, BACKOFF_MS_MAX = 50, 2_000

#: Opens a connection to a server. Raises OSError, or what `anyio.connect_tcp` raises.
Dial = Callable[[str, int], Awaitable[ByteStream]]


async def dial_tcp(host: str, port: int) -> ByteStream:
    """A TCP connection to the first address of ``host`` that answers; looked up anew each time."""
    return await anyio.connect_tcp(host, port)


def now_ms() -> int:
    """Of the event loop's clock, which never goes back."""
    return int(anyio.current_time() * 1000)


class Connection:
    def __init__(self, core: Core, hosts: Hosts, dial: Dial, rng: Random, *, dial_timeout_ms: int) -> None:
        self._core, self._hosts, self._dial, self._rng = core, hosts, dial, rng
        self._dial_timeout_ms = dial_timeout_ms
        self._to_write = anyio.Event()
        self._link_over = anyio.Event()
        self._poke = anyio.Event()
        #: Each server of the last round and why it would not do.
        self.tried: dict[Host, str] = {}
        #: Set while nothing is to be dialled any more.
        self.closing = False

    def flush(self) -> None:
        """There may be something to write."""
        self._to_write.set()

    def poke(self) -> None:
        """The core's next deadline may be earlier than it was."""
        self._poke.set()

    async def keep_linked(self) -> None:
        """Dial one server after another, for ever."""
        backoff_ms = BACKOFF_MS
        while not self.closing:
            host = self._hosts.next()
            try:
                with anyio.fail_after(self._dial_timeout_ms / 1000):
                    stream = await self._dial(host.name, host.port)
            except TimeoutError:
                self.tried[host] = f"no answer within {self._dial_timeout_ms} ms"
            except (OSError, ssl.SSLError, anyio.BrokenResourceError) as error:
                self.tried[host] = str(error) or type(error).__name__
            else:
                why, linked = await self._serve(stream, host)
                self.tried[host] = why
                if linked:
                    backoff_ms = BACKOFF_MS
                    continue
            if self._hosts.at_round_start:
                await anyio.sleep(backoff_ms * (0.5 + self._rng.random()) / 1000)
                backoff_ms = min(backoff_ms * 2, BACKOFF_MS_MAX)

    async def _serve(self, stream: ByteStream, host: Host) -> tuple[str, bool]:
        """Until the link ends: why, and whether it had been up."""
        core = self._core
        self._link_over, self._to_write = anyio.Event(), anyio.Event()
        core.open_link(str(host), now_ms())
        self.poke()
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._read, stream)
                tasks.start_soon(self._write, stream)
                self.flush()
                await self._link_over.wait()
                tasks.cancel_scope.cancel()
        finally:
            linked = core.link is Link.UP
            core.close_link(core.link_broken or "the connection was closed", now_ms())
            self.poke()
            with anyio.CancelScope(shield=True), anyio.move_on_after(1):
                await anyio.aclose_forcefully(stream)
        return core.link_broken, linked

    async def _read(self, stream: ByteStream) -> None:
        core = self._core
        try:
            while not core.link_broken:
                core.receive(await stream.receive(RECEIVE_BYTES_MAX), now_ms())
                self._to_write.set()
        except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError, OSError) as error:
            core.link_broken = core.link_broken or _why(error)
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
            core.link_broken = core.link_broken or _why(error)
        self._link_over.set()

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


def _why(error: BaseException) -> str:
    if isinstance(error, anyio.EndOfStream):
        return "it closed the connection"
    cause = error.__cause__
    return str(error) or (str(cause) if cause else "") or type(error).__name__
