"""Bytes in and out: many connections, one task.

A trio wake-up costs more than ten requests, so no connection has a task. `EpollNetwork` keeps all sockets in one
epoll object, which is itself a file descriptor that trio can wait on; one ``poll`` then hands over every socket that is
ready. While there is something to do it stays with its own ``poll``, whose wake-up costs a fraction of one of trio's,
and lets trio's other tasks in every few milliseconds. Whoever deals with a connection is a `Handler`, called with the
bytes that have come, and writes with `Channel.send`, which never waits. After every round the network calls ``settle``
once: what the whole round produced then leaves in one go.

`StreamNetwork` does the same over trio's own streams, two tasks a connection: for systems without epoll, and for
networks that are not there at all (`zabpy.testing`).
"""

import errno
import select
import socket
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

import trio

#: Most that one ``recv`` takes from a socket: a client's whole pipeline, and not so much that others wait for long.
RECEIVE_BYTES_MAX = 64 * 1024
#: Sockets handed over by one poll. The rest comes with the next.
READY_MAX = 512
#: How long the network goes on by itself before trio's other tasks get their turn, and how long it waits for more to
#: do before it leaves the waiting to trio.
TURN_NS_MAX = 5_000_000
PATIENCE_SECONDS = 0.001
#: Connections accepted from one listening socket in a round. Each costs some 0.1 ms, and in a flood there are always
#: more: those that are there already must not wait for many of them.
ACCEPTS_MAX = 16
#: A finished connection may take this long to hand over its last bytes and to see the other side's end.
LINGER_MS = 2_000
#: So many of them at most: they have a file descriptor each, and nobody counts them any more. The oldest are closed.
LINGERING_MAX = 1_024


class Handler(Protocol):
    """Who deals with the bytes of one connection. Plain calls by the network, never from within `Channel.send`."""

    def received(self, data: bytes) -> None:
        """These bytes came next."""

    def drained(self) -> None:
        """The backlog is gone: the kernel took all that was sent."""

    def closed(self, why: str) -> None:
        """The connection is gone, by the other side or by failure. Not called after our own `close` or `finish`."""


class Channel(Protocol):
    """One end of one connection."""

    remote: tuple[str, int]

    @property
    def backlog(self) -> int:
        """Bytes given to `send` that the kernel has not taken yet."""

    def start(self, handler: Handler) -> None:
        """Begin to receive. To be called once, by whoever was handed this channel, unless it is closed instead."""

    def send(self, data: bytes) -> None:
        """Hand these bytes over, now or when there is room. After an end of the connection: dropped."""

    def pause(self) -> None:
        """Read no more until `resume`; the other side feels it as back-pressure."""

    def resume(self) -> None: ...

    def finish(self) -> None:
        """Send the backlog, tell the other side that no more comes, drop what it still says, close: all within
        `LINGER_MS`. Unlike `close` this does not let unread bytes turn our last reply into a reset."""

    def close(self) -> None:
        """Close now; a backlog is lost."""


class Listener(Protocol):
    port: int

    def close(self) -> None: ...


Accept = Callable[[Channel], None]
#: Told of what a listening socket cannot do (out of descriptors), with a short text.
Trouble = Callable[[str], None]


class Network(Protocol):
    """Where servers and clients meet."""

    async def listen(self, host: str, port: int, accept: Accept, *, backlog: int = 1024) -> Listener:
        """Call ``accept`` with each new connection. Port 0 takes any free one. Raises OSError."""

    async def dial(self, host: str, port: int) -> Channel:
        """A connection to there. Raises OSError."""

    async def run(
        self,
        settle: Callable[[], None],
        trouble: Trouble,
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Move bytes until cancelled; ``settle`` is called after every round. Listen and dial only while this runs."""

    def waker(self, call: Callable[[], None]) -> Callable[[], None]:
        """A function that any thread may call: the network then calls ``call``, as if bytes had come."""

    def reap(self, now_ms: int) -> None:
        """To be called about every second: ends lingering connections, takes up stalled listeners."""


class EpollNetwork:
    """Sockets of the machine, all in one task. With ``patience_seconds`` 0 it leaves all waiting to trio: for several
    servers in one thread, where waiting keeps the others."""

    def __init__(self, now_ms: Callable[[], int], *, patience_seconds: float = PATIENCE_SECONDS) -> None:
        self.now_ms, self._patience_seconds = now_ms, patience_seconds
        self.epoll = select.epoll()
        self.ends: dict[int, EpollChannel | EpollListener | EpollWaker] = {}
        self.lingering: deque[tuple[int, EpollChannel]] = deque()
        self.lingering_max = LINGERING_MAX
        self.trouble: Trouble = lambda text: None

    async def listen(self, host: str, port: int, accept: Accept, *, backlog: int = 1024) -> Listener:
        sockets: list[socket.socket] = []
        refused: OSError | None = None
        for family, kind, _, _, address in await trio.socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        ):
            end = socket.socket(family, kind)
            try:
                end.setblocking(False)
                end.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    end.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                if sockets and port == 0:  # every address of the host gets the port that the first one got
                    address = (address[0], sockets[0].getsockname()[1], *address[2:])
                end.bind(address)
                end.listen(backlog)
                sockets.append(end)
            except OSError as error:
                end.close()
                # A host may have a name for an address family that is switched off; another of its addresses will do.
                if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                    for other in sockets:
                        other.close()
                    raise
                refused = error
        if not sockets:
            raise refused or OSError(errno.EADDRNOTAVAIL, f"no address for {host!r}")
        return EpollListener(self, sockets, accept)

    async def dial(self, host: str, port: int) -> Channel:
        refused: OSError | None = None
        for family, kind, _, _, address in await trio.socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            end = socket.socket(family, kind)
            try:
                end.setblocking(False)
                code = end.connect_ex(address)
                if code == errno.EINPROGRESS:
                    await trio.lowlevel.wait_writable(end)
                    code = end.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if code:
                    raise OSError(code, errno.errorcode.get(code, "connect failed"))
                return EpollChannel(self, end, (str(address[0]), int(address[1])))
            except OSError as error:
                end.close()
                refused = error
            except BaseException:
                end.close()
                raise
        raise refused or OSError(errno.EADDRNOTAVAIL, f"no address for {host!r}")

    async def run(
        self,
        settle: Callable[[], None],
        trouble: Trouble,
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        self.trouble = trouble
        poll, ends, fileno, now_ns = self.epoll.poll, self.ends, self.epoll.fileno(), time.monotonic_ns
        patience_seconds = self._patience_seconds
        task_status.started()
        try:
            while True:
                await trio.lowlevel.wait_readable(fileno)
                turn_ends_ns = now_ns() + TURN_NS_MAX
                while now_ns() < turn_ends_ns:
                    ready = poll(patience_seconds, READY_MAX)
                    if not ready:
                        break
                    for fd, mask in ready:
                        end = ends.get(fd)
                        if end is not None:  # gone by what an earlier one of this round led to
                            end.on_ready(mask)
                    settle()
        finally:
            for end in list(ends.values()):
                end.close()
            self.epoll.close()

    def waker(self, call: Callable[[], None]) -> Callable[[], None]:
        return EpollWaker(self, call).wake

    def abandon(self) -> None:
        """In a process that was forked from ours: let go of its copies of our sockets, for as long as there is one a
        connection that we close has not ended. Nothing that is shared with us is touched."""
        for end in self.ends.values():
            for each in end.sockets:
                each.close()
        self.epoll.close()

    def linger(self, channel: "EpollChannel") -> None:
        self.lingering.append((self.now_ms() + LINGER_MS, channel))
        while len(self.lingering) > self.lingering_max:
            self.lingering.popleft()[1].close()

    def reap(self, now_ms: int) -> None:
        while self.lingering and self.lingering[0][0] <= now_ms:
            self.lingering.popleft()[1].close()
        for end in self.ends.values():
            if isinstance(end, EpollListener):
                end.take_up()


class EpollChannel:
    """A connected socket of an `EpollNetwork`."""

    __slots__ = ("_fd", "_finishing", "_handler", "_mask", "_network", "_out", "_socket", "backlog", "remote")

    def __init__(self, network: EpollNetwork, end: socket.socket, remote: tuple[str, int]) -> None:
        end.setblocking(False)
        if end.family in (socket.AF_INET, socket.AF_INET6):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._network, self._socket, self._fd, self.remote = network, end, end.fileno(), remote
        self._handler: Handler = _NOBODY
        self._mask = 0
        self._finishing = False
        self._out = bytearray()
        self.backlog = 0

    @property
    def sockets(self) -> tuple[socket.socket, ...]:
        return (self._socket,)

    def start(self, handler: Handler) -> None:
        self._handler = handler
        self._network.ends[self._fd] = self
        self._mask |= select.EPOLLIN
        self._network.epoll.register(self._fd, self._mask)

    def send(self, data: bytes) -> None:
        if self._fd < 0:
            return
        sent = 0
        if not self.backlog:
            try:
                sent = self._socket.send(data)
            except BlockingIOError:
                pass
            except OSError:  # broken: epoll says so too, and the handler hears of it there, not in the midst of a send
                return
            if sent == len(data):
                return
            self._watch(self._mask | select.EPOLLOUT)
        self._out += data[sent:] if sent else data
        self.backlog = len(self._out)

    def pause(self) -> None:
        self._watch(self._mask & ~select.EPOLLIN)

    def resume(self) -> None:
        self._watch(self._mask | select.EPOLLIN)

    def finish(self) -> None:
        if self._fd < 0 or self._finishing:
            return
        if self._fd not in self._network.ends:  # never started
            return self.close()
        self._finishing, self._handler = True, _NOBODY
        self._network.linger(self)
        self.resume()
        if not self.backlog:
            self._end_output()

    def close(self) -> None:
        if self._fd < 0:
            return
        if self._network.ends.pop(self._fd, None) is not None:
            self._network.epoll.unregister(self._fd)
        self._fd, self._handler, self.backlog = -1, _NOBODY, 0
        self._out = bytearray()
        self._socket.close()

    def on_ready(self, mask: int) -> None:
        if mask & select.EPOLLOUT:
            self._push()
        if mask & ~select.EPOLLOUT and self._fd >= 0:
            try:
                data = self._socket.recv(RECEIVE_BYTES_MAX)
            except BlockingIOError:
                return
            except OSError as error:
                self._lost(_reason(error))
                return
            if not data:
                self._lost("closed by the other side")
            elif self._mask & select.EPOLLIN:
                self._handler.received(data)
            else:  # paused, yet the socket is in error or hung up: there is nobody left to hold back
                self._lost("hung up")

    def _push(self) -> None:
        try:
            with memoryview(self._out) as view:
                sent = self._socket.send(view[: 1 << 20])
            del self._out[:sent]
        except BlockingIOError:
            return
        except OSError as error:
            self._lost(_reason(error))
            return
        self.backlog = len(self._out)
        if not self.backlog:
            self._watch(self._mask & ~select.EPOLLOUT)
            if self._finishing:
                self._end_output()
            else:
                self._handler.drained()

    def _end_output(self) -> None:
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError:
            self.close()

    def _lost(self, why: str) -> None:
        handler = self._handler
        self.close()
        handler.closed(why)

    def _watch(self, mask: int) -> None:
        if mask != self._mask and self._fd >= 0:
            self._mask = mask
            if self._fd in self._network.ends:
                self._network.epoll.modify(self._fd, mask)


class EpollListener:
    """Listening sockets, one for each address of the host."""

    def __init__(self, network: EpollNetwork, sockets: list[socket.socket], accept: Accept) -> None:
        self._network, self._accept = network, accept
        self.sockets = sockets
        self._stalled = False
        self.port: int = sockets[0].getsockname()[1]
        for end in sockets:
            network.ends[end.fileno()] = self
            network.epoll.register(end.fileno(), select.EPOLLIN)

    def on_ready(self, mask: int) -> None:
        for end in self.sockets:
            for _ in range(ACCEPTS_MAX):
                try:
                    connected, remote = end.accept()
                except BlockingIOError:
                    break
                except OSError as error:
                    if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                        # It would be ready again at once, for ever. Let it rest until the next `reap`.
                        self._stall()
                        self._network.trouble(f"cannot accept: {_reason(error)}")
                        return
                    continue  # that one client has gone already
                self._accept(EpollChannel(self._network, connected, (remote[0], remote[1])))

    def take_up(self) -> None:
        if self._stalled:
            self._stalled = False
            for end in self.sockets:
                self._network.epoll.modify(end.fileno(), select.EPOLLIN)

    def close(self) -> None:
        for end in self.sockets:
            if self._network.ends.pop(end.fileno(), None) is not None:
                self._network.epoll.unregister(end.fileno())
            end.close()
        self.sockets = []

    def _stall(self) -> None:
        self._stalled = True
        for end in self.sockets:
            self._network.epoll.modify(end.fileno(), 0)


class EpollWaker:
    """Two sockets: a thread writes to one and the network waits for the other. Sockets and not bare descriptors, so
    that a thread that comes late meets a closed socket, and not whoever has its number by then."""

    def __init__(self, network: EpollNetwork, call: Callable[[], None]) -> None:
        self._network, self._call = network, call
        self.sockets = self._ours, self._theirs = socket.socketpair()
        self._ours.setblocking(False)
        self._theirs.setblocking(False)
        network.ends[self._ours.fileno()] = self
        network.epoll.register(self._ours.fileno(), select.EPOLLIN)

    def wake(self) -> None:
        try:
            self._theirs.send(b"!")
        except OSError:  # closed; or full, and then there is enough to wake up for
            pass

    def on_ready(self, mask: int) -> None:
        self._ours.recv(4096)
        self._call()

    def close(self) -> None:
        if self._network.ends.pop(self._ours.fileno(), None) is not None:
            self._network.epoll.unregister(self._ours.fileno())
        self._ours.close()
        self._theirs.close()


#: What a `StreamNetwork` needs of a connection: trio's byte streams have it, those in memory too.
Stream = trio.abc.Stream
OnStream = Callable[[Stream, tuple[str, int]], None]


class StreamNetwork:
    """The same over trio streams. Where they come from is for `open_listener` and `open_stream`: TCP, here."""

    def __init__(self) -> None:
        self._nursery: trio.Nursery | None = None
        self.settle: Callable[[], None] = lambda: None
        self.trouble: Trouble = lambda text: None

    async def listen(self, host: str, port: int, accept: Accept, *, backlog: int = 1024) -> Listener:
        assert self._nursery is not None, "the network does not run"
        nursery = self._nursery

        def connected(stream: Stream, remote: tuple[str, int]) -> None:
            accept(StreamChannel(self, nursery, stream, remote))

        return await self.open_listener(nursery, host, port, connected)

    async def dial(self, host: str, port: int) -> Channel:
        assert self._nursery is not None, "the network does not run"
        return StreamChannel(self, self._nursery, await self.open_stream(host, port), (host, port))

    async def run(
        self,
        settle: Callable[[], None],
        trouble: Trouble,
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        self.settle, self.trouble = settle, trouble
        async with trio.open_nursery() as self._nursery:
            task_status.started()
            await trio.sleep_forever()

    def waker(self, call: Callable[[], None]) -> Callable[[], None]:
        token = trio.lowlevel.current_trio_token()

        def settled() -> None:
            call()
            self.settle()

        def wake() -> None:
            try:
                token.run_sync_soon(settled)
            except trio.RunFinishedError:
                pass

        return wake

    def reap(self, now_ms: int) -> None:
        """Nothing lingers here: every connection has its tasks."""

    async def open_listener(self, nursery: trio.Nursery, host: str, port: int, connected: OnStream) -> Listener:
        listeners = await trio.open_tcp_listeners(port, host=host or None)

        scopes = [trio.CancelScope() for _ in listeners]

        async def accept_all(listener: trio.SocketListener, scope: trio.CancelScope) -> None:
            with scope:
                async with listener:
                    while True:
                        try:
                            stream = await listener.accept()
                            remote = stream.socket.getpeername()
                        except OSError as error:
                            self.trouble(f"cannot accept: {_reason(error)}")
                            await trio.sleep(0.1)
                        else:
                            connected(stream, (remote[0], remote[1]))

        for listener, scope in zip(listeners, scopes):
            nursery.start_soon(accept_all, listener, scope)
        return StreamListener(listeners[0].socket.getsockname()[1], scopes)

    async def open_stream(self, host: str, port: int) -> Stream:
        return await trio.open_tcp_stream(host, port)


class StreamListener:
    def __init__(self, port: int, scopes: list[trio.CancelScope]) -> None:
        self.port, self._scopes = port, scopes

    def close(self) -> None:
        for scope in self._scopes:
            scope.cancel()


class StreamChannel:
    """A trio stream as a `Channel`: a task that reads it and a task that writes what was sent."""

    def __init__(self, network: StreamNetwork, nursery: trio.Nursery, stream: Stream, remote: tuple[str, int]) -> None:
        self._network, self._nursery, self._stream, self.remote = network, nursery, stream, remote
        self._handler: Handler = _NOBODY
        self._scope = trio.CancelScope()
        self._out = bytearray()
        self._wake_writer, self._wake_reader = trio.Event(), trio.Event()
        self._paused = self._finishing = self._over = self._started = False
        self.backlog = 0

    def start(self, handler: Handler) -> None:
        self._handler, self._started = handler, True
        self._nursery.start_soon(self._run)

    def send(self, data: bytes) -> None:
        if not self._over:
            self._out += data
            self.backlog += len(data)
            self._wake_writer.set()

    def pause(self) -> None:
        self._paused = True

    def resume(self) -> None:
        self._paused = False
        self._wake_reader.set()

    def finish(self) -> None:
        self._handler, self._finishing = _NOBODY, True
        self._wake_writer.set()
        self.resume()

    def close(self) -> None:
        self._handler, self._over = _NOBODY, True
        self._scope.cancel()
        if not self._started:
            self._nursery.start_soon(trio.aclose_forcefully, self._stream)

    async def _run(self) -> None:
        why = "closed by the other side"
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._write)
                    await self._read()
                    nursery.cancel_scope.cancel()
        except* (trio.BrokenResourceError, trio.ClosedResourceError, trio.BusyResourceError) as group:
            why = repr(group.exceptions[0])
        finally:
            self._over, self.backlog = True, 0
            await trio.aclose_forcefully(self._stream)
        handler, self._handler = self._handler, _NOBODY
        handler.closed(why)
        self._network.settle()

    async def _read(self) -> None:
        while True:
            await self._wait_resumed()
            data = bytes(await self._stream.receive_some(RECEIVE_BYTES_MAX))
            if not data:
                return
            await self._wait_resumed()
            self._handler.received(data)
            self._network.settle()

    async def _wait_resumed(self) -> None:
        while self._paused:
            self._wake_reader = trio.Event()
            await self._wake_reader.wait()

    async def _write(self) -> None:
        while True:
            while self._out:
                part = bytes(self._out[: 1 << 18])
                await self._stream.send_all(part)
                del self._out[: len(part)]
                self.backlog = len(self._out)
            if self._finishing:
                with trio.move_on_after(LINGER_MS / 1000):
                    if isinstance(self._stream, trio.abc.HalfCloseableStream):
                        await self._stream.send_eof()
                        await trio.sleep_forever()  # until the reader sees the other side's end
                self._scope.cancel()
                return
            self._handler.drained()
            self._network.settle()
            self._wake_writer = trio.Event()
            if not self._out and not self._finishing:
                await self._wake_writer.wait()


class _Nobody:
    """The handler of a channel that is no longer anybody's: what still comes is dropped."""

    def received(self, data: bytes) -> None: ...
    def drained(self) -> None: ...
    def closed(self, why: str) -> None: ...


_NOBODY = _Nobody()


def _reason(error: OSError) -> str:
    return error.strerror or str(error)
