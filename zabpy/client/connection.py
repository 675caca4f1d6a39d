"""Keeps a `Core` linked with some server: dials, moves its bytes, tells it the time. Decides nothing about sessions.

A request that nothing else is under way with is written by whoever asks it, without a task being woken for that: what
one call at a time costs is task switches. Many at once are left to the writing task, which sends them together.
"""

import logging
import socket
from random import Random

import anyio
from anyio.abc import ByteStream, SocketAttribute, SocketStream

from .burial import end_session
from .clock import Clock
from .core import Core, Link
from .dialling import Dial, Pushing
from .errors import NoServerError
from .failures import SPEAKS_TLS, Failure, failure_of
from .hosts import Host, Hosts
from .session import Undead

log = logging.getLogger("zabpy.client")

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
#: Of a server that has not been tried to the end.
NOT_YET = Failure("no connection yet")
#: How servers that speak TLS begin to answer those who do not.
TLS_ALERT = b"\x15\x03"


#: How long may be tried to end a session that was lost here; how often; and how long from one time to the next.
BURIAL_MS_MAX, BURIALS_MAX, BURIAL_PAUSE_MS = 5_000, 5, 500
#: How connections end.
EXPECTED = (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError, OSError)


class Connection:
    """To be made in the event loop. `keep_linked` and `keep_time` each run in a task, until they are cancelled."""

    def __init__(self, core: Core, hosts: Hosts, dial: Dial, rng: Random, clock: Clock) -> None:
        self._core, self._hosts, self._dial, self._rng, self._clock = core, hosts, dial, rng, clock
        self._to_write = anyio.Event()
        self._link_over = anyio.Event()
        self._poke = anyio.Event()
        self._stream: ByteStream | None = None
        self._socket: socket.socket | None = None  # where may be written without the stream; see `_own_socket`
        self._writing = False  # the writing task is about to write, or is writing
        self._rest = b""  # what was taken from the core and is to be written before anything else
        self._failure: Failure | None = None
        #: The server of the connection there is, or was last.
        self.host: Host | None = None

    def flush(self) -> None:
        """There may be something to write."""
        if self._socket is None or self._writing or not self._core.only_one:
            self._to_write.set()
            return
        data = self._core.take(self._clock.now_ms())
        try:
            sent = self._socket.send(data)
        except OSError:  # there is no room, or no connection any more: the writing task waits for it, or fails with it
            sent = 0
        if sent < len(data):
            self._rest, self._writing = data[sent:], True
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
    def is_read_only(self) -> bool:
        """Whether the server of the connection there is has no quorum."""
        return self._core.link is Link.UP and self._core.server_read_only

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
        backoff_ms, said = BACKOFF_MS, ""
        while core.failure is None:
            self.host = host = hosts.next()
            session = core.session
            failure, up_ms = await self._attempt(host)
            hosts.failed(host, failure)
            log.debug("%s: %s", host, failure.why)
            had_session = had_session or core.session is not None or up_ms > 0
            if not had_session and hosts.hopeless:
                core.fail(NoServerError(f"no server will do, and waiting does not cure it: {told(hosts)}", hosts.tried))
                return
            timeout_ms = core.session.timeout_ms if core.session else core.session_timeout_ms
            # A server that says that our session is over would have served us: the next one is not to be waited for.
            was_steady = up_ms >= STEADY_MS or (session is not None and session.is_over)
            if was_steady:
                backoff_ms = BACKOFF_MS
            if up_ms:
                await anyio.sleep(min(SPREAD_MS_MAX, timeout_ms / 50) * self._rng.random() / 1000)
            if hosts.at_round_start and not was_steady:
                if up_ms == 0 and said != (said := told(hosts)):
                    log.warning("no server will do: %s", said)
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
        until_ms = self._clock.now_ms() + (attempt_ms := self._attempt_ms())
        if host not in self._hosts.failures:  # who gives up meanwhile is to hear of this one, too
            self._hosts.failed(host, NOT_YET)
        try:
            with anyio.fail_after(attempt_ms / 1000):
                stream = await self._dial(host.name, host.port)
        except TimeoutError:
            return Failure(f"no connection within {attempt_ms} ms"), 0
        except Exception as error:  # whatever a resolver, a handshake or a user's own dial comes up with
            if not isinstance(error, (*EXPECTED, UnicodeError)):
                log.error("dialling %s failed in a way that was not expected", host, exc_info=error)
            return failure_of(error), 0
        return await self._serve(stream, host, until_ms)

    async def _serve(self, stream: ByteStream, host: Host, up_by_ms: int) -> tuple[Failure, int]:
        """Until the link ends."""
        core, now_ms = self._core, self._clock.now_ms
        self._link_over, self._to_write = anyio.Event(), anyio.Event()
        self._stream, self._failure, began_ms = stream, None, now_ms()
        self._socket, self._writing, self._rest = _own_socket(stream), False, b""
        core.open_link(str(host), began_ms, up_by_ms)
        if self._hosts.failures.get(host) is NOT_YET:
            self._hosts.failed(host, Failure("it took the connection and has not greeted yet"))
        self.poke()
        try:
            async with anyio.create_task_group() as tasks:
                up = anyio.Event()
                tasks.start_soon(self._read, stream, up)
                tasks.start_soon(self._write, stream)
                tasks.start_soon(self._bury_once, up, host)
                self.flush()
                await self._link_over.wait()
                tasks.cancel_scope.cancel()
        finally:
            was_up = core.link is Link.UP
            core.close_link(core.link_broken or "the connection was closed", now_ms())
            self._stream = None
            if self._socket is not None:
                self._socket.close()
                self._socket = None
            self.poke()
            await _close(stream)
        return self._how_it_broke(), max(1, now_ms() - began_ms) if was_up else 0

    async def _read(self, stream: ByteStream, up: anyio.Event) -> None:
        core, clock = self._core, self._clock

        # What is pushed comes in no task of anyio's, so tasks are not started here.
        def received(data: bytes) -> None:
            if core.link is Link.GREETING and data.startswith(TLS_ALERT):
                self._broke(Failure(SPEAKS_TLS, True))
            else:
                core.receive(data, clock.now_ms())
            if core.has_output:
                self._to_write.set()
            if not up.is_set() and core.link is Link.UP:
                up.set()
                self.poke()  # its deadline may be another one than before
            if core.link_broken:
                self._link_over.set()

        try:
            if isinstance(stream, Pushing):
                await stream.push(received)
            while not core.link_broken:
                received(await stream.receive(RECEIVE_BYTES_MAX))
        except Exception as error:
            self._broke(self._failure_of_link(error))
        self._link_over.set()

    async def _write(self, stream: ByteStream) -> None:
        core, clock = self._core, self._clock
        try:
            while not core.link_broken:
                await self._to_write.wait()
                self._to_write, self._writing = anyio.Event(), True
                while data := self._rest + core.take(clock.now_ms()):
                    self._rest = b""
                    await stream.send(data)
                self._writing = False
        except Exception as error:
            # What the server said before it closed, such as why, may still be read.
            with anyio.move_on_after(0.1):
                await self._link_over.wait()
            self._broke(self._failure_of_link(error))
        self._link_over.set()

    def _failure_of_link(self, error: Exception) -> Failure:
        core = self._core
        if not isinstance(error, EXPECTED):
            log.error("the connection to %s ended in a way that was not expected", core.server, exc_info=error)
        if core.link is not Link.GREETING or not _hung_up(error):
            return failure_of(error)
        why = "it closed the connection instead of greeting: it has no quorum, or takes no more clients"
        if core.last_zxid:
            why += f", or is behind zxid {core.last_zxid:#x}, which this client has seen (was a backup restored?)"
        return Failure(why)

    def _how_it_broke(self) -> Failure:
        return self._failure or Failure(self._core.link_broken)

    def _broke(self, failure: Failure) -> None:
        if not self._core.link_broken:
            self._failure, self._core.link_broken = failure, failure.why

    async def keep_time(self) -> None:
        """Tell the core the time whenever it wants to know it, and every so often."""
        core, clock = self._core, self._clock
        while True:
            self._poke = anyio.Event()
            now_ms, due_ms, suspended_ms = clock.now_ms(), core.wake_at_ms, clock.suspended_ms
            until_ms = max(now_ms + 1, min(now_ms + core.beat_ms, now_ms + core.beat_ms if due_ms is None else due_ms))
            core.stalls.sleeps(until_ms)
            with anyio.move_on_after((until_ms - now_ms) / 1000):
                await self._poke.wait()
            now_ms, suspended_ms = clock.now_ms(), clock.suspended_ms - suspended_ms
            if late_ms := core.stalls.woke(now_ms, suspended_ms):
                core.stalled(late_ms, suspended_ms, now_ms)
            core.tick(now_ms)
            if core.link_broken:
                self._link_over.set()
            if core.has_output:
                self.flush()

    async def _bury_once(self, up: anyio.Event, host: Host) -> None:
        await up.wait()
        if self._core.undead:
            await self._bury(host)

    async def _bury(self, host: Host) -> None:
        """End, at the server that just took our new session, those that were lost here. In vain, they end by themselves
        when their time is up at the servers."""
        core = self._core
        for _ in range(BURIALS_MAX):
            for session in list(core.undead):
                with anyio.move_on_after(BURIAL_MS_MAX / 1000):
                    if await self._end_session(session, host) and session in core.undead:
                        core.undead.remove(session)
            if not core.undead:
                return
            await anyio.sleep(BURIAL_PAUSE_MS / 1000)
        log.info("gave up ending %d sessions that were lost: the servers will, when their time is up", len(core.undead))
        core.undead.clear()

    async def _end_session(self, session: Undead, host: Host) -> bool:
        core = self._core
        try:
            stream = await self._dial(host.name, host.port)
            try:
                ended = await end_session(stream, session, core.last_zxid, core.session_timeout_ms)
            finally:
                await _close(stream)
        except Exception as error:
            log.debug("could not end session %s, lost before: %s", session, failure_of(error).why)
            return False
        if ended:
            log.info("session %s, lost before, is ended at %s, too", session, host)
        return ended


def _own_socket(stream: ByteStream) -> socket.socket | None:
    """A socket of ours to the same connection, if its bytes go into the stream as they are; TLS has one below, too.

    That it is a copy matters: the event loop may close its own at any moment, and the number then is another file's.
    """
    if not isinstance(stream, SocketStream):
        return None
    raw = stream.extra(SocketAttribute.raw_socket, None)
    if raw is None:
        return None
    try:
        copy = raw.dup()
    except OSError:  # too many open files
        return None
    copy.setblocking(False)
    return copy


def _hung_up(error: BaseException | None) -> bool:
    """The other side has closed the connection. It is a reset if it had not read all that was sent."""
    while error is not None:
        if isinstance(error, anyio.EndOfStream | ConnectionResetError | BrokenPipeError):
            return True
        error = error.__cause__
    return False


async def _close(stream: ByteStream) -> None:
    with anyio.CancelScope(shield=True), anyio.move_on_after(1):
        try:
            await anyio.aclose_forcefully(stream)
        except Exception:  # it is gone either way
            log.debug("closing a connection failed", exc_info=True)


def told(hosts: Hosts) -> str:
    """Which servers were tried, and why they would not do."""
    return "; ".join(f"{server}: {why}" for server, why in hosts.tried) or "none has been tried yet"
