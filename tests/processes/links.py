"""What is between the servers: links that can be cut in either direction, delayed and reset.

`Proxies` needs no privileges: every server dials the others through a relay of ours. A cut is silent, as in a network:
nothing is lost of what TCP would send again, the end of a connection is held back too, and it all arrives when the cut
is healed, unless somebody has given up before.

`Namespaces` gives each server a network of its own, joined by a bridge; a cut lets the kernel send to an address that
nobody has. Needs root, and Linux's `ip` and `tc`.
"""

import os
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from typing import Protocol

import trio

from zabpy.testing.port import LOOPBACK, Port

#: From, to.
Way = tuple[int, int]
#: A relay holds so much of what waits for a delay.
WAITING_MAX = 1000


class Links(Protocol):
    """What faults.py does to them; cuts of the same way add up, and so do heals."""

    name: str

    def host(self, server: int) -> str:
        """Where that server listens."""

    def peer_port(self, server: int) -> int: ...

    def client_port(self, server: int) -> int: ...

    def seen_by(self, dialler: int, server: int) -> tuple[str, int]:
        """Where ``dialler`` finds the peer port of ``server``."""

    def command(self, server: int, command: list[str]) -> list[str]:
        """How to start it there."""

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None: ...

    def close(self) -> None: ...

    async def cut(self, ways: Iterable[Way]) -> None: ...

    async def heal(self, ways: Iterable[Way]) -> None: ...

    async def delay(self, ways: Iterable[Way], delay_ms: int) -> None:
        """From now on; 0: no more."""

    async def reset(self, one: int, other: int) -> bool:
        """End their connections at once. False: that cannot be done here."""


class Proxies:
    """Relays in this process."""

    name = "proxies"

    def __init__(self, servers: int) -> None:
        self._ids = range(1, servers + 1)
        self._peer = {id: Port() for id in self._ids}
        self._client = {id: Port() for id in self._ids}
        self._relays = {(a, b): Port() for a in self._ids for b in self._ids if a != b}
        self._cuts: Counter[Way] = Counter()
        self._delays: dict[Way, int] = {}
        self._changed = trio.Event()
        self._open: dict[frozenset[int], dict[trio.CancelScope, None]] = {}

    def host(self, server: int) -> str:
        return LOOPBACK

    def peer_port(self, server: int) -> int:
        return self._peer[server].number

    def client_port(self, server: int) -> int:
        return self._client[server].number

    def seen_by(self, dialler: int, server: int) -> tuple[str, int]:
        return LOOPBACK, (self._peer[server] if dialler == server else self._relays[dialler, server]).number

    def command(self, server: int, command: list[str]) -> list[str]:
        return command

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        async with trio.open_nursery() as nursery:
            for way, port in self._relays.items():
                handler = partial(self._relay, way)
                await nursery.start(partial(trio.serve_tcp, handler, port.number, host=LOOPBACK))
            task_status.started()
            await trio.sleep_forever()

    def close(self) -> None:
        for port in (*self._peer.values(), *self._client.values(), *self._relays.values()):
            port.close()

    async def cut(self, ways: Iterable[Way]) -> None:
        self._cuts.update(ways)

    async def heal(self, ways: Iterable[Way]) -> None:
        self._cuts.subtract(ways)
        self._tell()

    async def delay(self, ways: Iterable[Way], delay_ms: int) -> None:
        self._delays |= dict.fromkeys(ways, delay_ms)

    async def reset(self, one: int, other: int) -> bool:
        scopes = self._open.get(frozenset((one, other)), {})
        for scope in list(scopes):
            scope.cancel()
        return bool(scopes)

    def _tell(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    async def _passable(self, *ways: Way) -> None:
        while any(self._cuts[way] > 0 for way in ways):
            await self._changed.wait()

    async def _relay(self, way: Way, near: trio.SocketStream) -> None:
        server = way[1]
        scopes = self._open.setdefault(frozenset(way), {})
        with trio.CancelScope() as scope:
            scopes[scope] = None
            try:
                await self._passable(way, way[::-1])
                try:
                    far = await trio.open_tcp_stream(LOOPBACK, self._peer[server].number)
                except OSError:
                    return
                async with far, trio.open_nursery() as nursery:
                    nursery.start_soon(self._carry, near, far, way, nursery.cancel_scope)
                    nursery.start_soon(self._carry, far, near, way[::-1], nursery.cancel_scope)
            finally:
                del scopes[scope]
                await trio.aclose_forcefully(near)

    async def _carry(
        self, source: trio.SocketStream, target: trio.SocketStream, way: Way, end: trio.CancelScope
    ) -> None:
        """One direction, in order; with its end both end."""
        put, take = trio.open_memory_channel[tuple[float, bytes]](WAITING_MAX)

        async def read() -> None:
            data = b"?"
            while data:
                try:
                    data = bytes(await source.receive_some(65536))
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    data = b""
                await put.send((trio.current_time() + self._delays.get(way, 0) / 1000, data))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            while True:
                due, data = await take.receive()
                if due > trio.current_time():
                    await trio.sleep_until(due)
                await self._passable(way)
                if not data:
                    break
                try:
                    await target.send_all(data)
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    break
            end.cancel()


class Namespaces:
    """Each server in a network namespace of its own, with one cable to a bridge, on which clients are, too."""

    name = "namespaces"

    def __init__(self, servers: int, number: int | None = None) -> None:
        """``number``: 0 to 255, of its own for each ensemble of this machine at a time."""
        number = os.getpid() % 256 if number is None else number
        self._ids = range(1, servers + 1)
        self._prefix, self._bridge = f"zl{number}", f"zlbr{number}"
        self._net = f"10.213.{number}"
        self._cuts: Counter[Way] = Counter()
        self._macs: dict[int, str] = {}
        self._made: list[Callable[[], object]] = []
        try:
            self._make()
        except BaseException:  # Ctrl-C too: what was made of links would outlive us
            self.close()
            raise

    @staticmethod
    def possible() -> bool:
        return hasattr(os, "geteuid") and os.geteuid() == 0 and bool(shutil.which("ip"))

    def _make(self) -> None:
        _ip("link", "add", self._bridge, "type", "bridge")
        self._made.append(partial(_ip, "link", "del", self._bridge, check=False))
        _ip("addr", "add", f"{self._net}.254/24", "dev", self._bridge)
        _ip("link", "set", self._bridge, "up")
        for id in self._ids:
            space, cable = self._space(id), f"{self._prefix}c{id}"
            _ip("netns", "add", space)
            self._made.append(partial(_ip, "netns", "del", space, check=False))
            _ip("link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", space)
            _ip("link", "set", cable, "master", self._bridge, "up")
            _ip("-n", space, "addr", "add", f"{self.host(id)}/24", "dev", "eth0")
            _ip("-n", space, "link", "set", "lo", "up")
            _ip("-n", space, "link", "set", "eth0", "up")
            self._macs[id] = _ip("-n", space, "-br", "link", "show", "eth0").split()[2]
        for way in ((a, b) for a in self._ids for b in self._ids if a != b):
            self._point(way, self._macs[way[1]])

    def _space(self, id: int) -> str:
        return f"{self._prefix}s{id}"

    def _point(self, way: Way, mac: str) -> None:
        """Whose network card the one takes for the other's."""
        a, b = way
        _ip("-n", self._space(a), "neigh", "replace", self.host(b), "lladdr", mac, "dev", "eth0", "nud", "permanent")

    def host(self, server: int) -> str:
        return f"{self._net}.{server}"

    def peer_port(self, server: int) -> int:
        return 2888

    def client_port(self, server: int) -> int:
        return 2181

    def seen_by(self, dialler: int, server: int) -> tuple[str, int]:
        return self.host(server), 2888

    def command(self, server: int, command: list[str]) -> list[str]:
        return ["ip", "netns", "exec", self._space(server), *command]

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        task_status.started()
        await trio.sleep_forever()

    def close(self) -> None:
        while self._made:
            self._made.pop()()

    async def cut(self, ways: Iterable[Way]) -> None:
        for way in ways:
            self._cuts[way] += 1
            if self._cuts[way] == 1:
                await trio.to_thread.run_sync(self._point, way, "02:00:00:00:00:00")

    async def heal(self, ways: Iterable[Way]) -> None:
        for way in ways:
            self._cuts[way] -= 1
            if not self._cuts[way]:
                await trio.to_thread.run_sync(self._point, way, self._macs[way[1]])

    async def delay(self, ways: Iterable[Way], delay_ms: int) -> None:
        """Of all that the first of each sends, clients' answers among it: that is what `tc` does most simply."""
        for id in sorted({way[0] for way in ways}):
            ns = ["tc", "-n", self._space(id), "qdisc"]
            how = ["add", "dev", "eth0", "root", "netem", "delay", f"{delay_ms}ms", f"{delay_ms // 2}ms"]
            command = [*ns, *(how if delay_ms else ["del", "dev", "eth0", "root"])]
            await trio.run_process(command, check=False, capture_stderr=True)

    async def reset(self, one: int, other: int) -> bool:
        return False


def _ip(*words: str, check: bool = True) -> str:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if check and done.returncode:
        raise OSError(f"ip {' '.join(words)}: {done.stderr.strip()}")
    return done.stdout
