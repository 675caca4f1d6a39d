"""Where the clients go to: three servers; three of which one never came up; three of Apache's own."""

import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from kazoo.client import KazooClient
from kazoo.retry import KazooRetry

from zabpy.bench.systems import Servers

WAIT_SECONDS = 30.0


def wait_until(condition: Callable[[], object], what: str, seconds: float = WAIT_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.05)


class Ensemble:
    """Three real servers and a client of ours that looks at them; a server that a test kills is started again."""

    def __init__(self, system: str, up: tuple[int, ...] = (1, 2, 3)) -> None:
        self.up = up
        self._killed: int | None = None
        self._stack = ExitStack()
        self.servers = Servers(system, 3)
        self._stack.push(self.servers.__exit__)
        self.hosts = ",".join(f"127.0.0.1:{port}" for port in self.servers.client_ports.values())
        try:
            for i in up:
                self.servers.start(i)
            self.look = self._stack.enter_context(self.client())
        except BaseException:
            self.close()
            raise

    @contextmanager
    def client(self) -> Iterator[Any]:
        """A client whose requests are tried again when a connection is lost."""
        retry = KazooRetry(max_tries=-1, delay=0.05, max_delay=0.5, deadline=WAIT_SECONDS)
        client = KazooClient(self.hosts, timeout=10, connection_retry=retry, command_retry=retry)
        client.start(WAIT_SECONDS)
        try:
            yield client
        finally:
            client.stop()
            client.close()

    def data(self, path: str) -> bytes:
        """What a majority has: kazoo may be on a server that is behind."""
        self.look.retry(self.look.sync, path)
        data: bytes = self.look.retry(self.look.get, path)[0]
        return data

    def owner(self, path: str) -> int:
        """The session that an ephemeral znode goes with."""
        self.look.retry(self.look.sync, path)
        session: int = self.look.retry(self.look.get, path)[1].ephemeralOwner
        return session

    def children(self, path: str) -> list[str]:
        self.look.retry(self.look.sync, path)
        return sorted(self.look.retry(self.look.get_children, path))

    def exists(self, path: str) -> bool:
        self.look.retry(self.look.sync, path)
        return self.look.retry(self.look.exists, path) is not None

    def set(self, path: str, data: bytes) -> None:
        self.look.retry(self.look.set, path, data)

    def kill_server_of(self, group: int) -> None:
        """`kill -9` the server that a process group is connected to."""
        connected = set[int]().union(*map(ports_connected_to, processes_of(group)))
        ports = set(self.servers.client_ports.values()) & connected
        assert len(ports) == 1, f"process group {group} is connected to {ports}"
        self.kill(next(i for i, port in self.servers.client_ports.items() if port in ports))

    def kill(self, i: int) -> None:
        """Where only two are up it comes back at once, for one alone is no majority."""
        self.servers.kill(i)
        self._killed = i
        if len(self.up) == 2:
            self.mend()

    def mend(self) -> None:
        if self._killed is not None:
            self.servers.start(self._killed)
            port = self.servers.client_ports[self._killed]
            wait_until(lambda: serves(port), "the server that was started again serves")
            self._killed = None

    def close(self) -> None:
        self._stack.close()

    def log(self) -> str:
        return "".join(f"---- server {i}\n{self.servers.log_of(i)[-2000:]}" for i in self.up)


def serves(port: int) -> bool:
    """Whether a server takes part: `srvr` tells its mode only then."""
    try:
        with socket.create_connection(("127.0.0.1", port), 5) as connection:
            connection.sendall(b"srvr")
            with connection.makefile("rb") as answer:
                return b"\nMode: " in answer.read()
    except OSError:
        return False  # not there yet


def processes_of(group: int) -> list[int]:
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            if os.getpgid(int(name)) == group:
                found.append(int(name))
        except ProcessLookupError:
            continue  # it has ended meanwhile
    return found


def ports_connected_to(pid: int) -> set[int]:
    """The ports at the other end of a process's established connections."""
    inodes = set()
    for descriptor in os.listdir(f"/proc/{pid}/fd"):
        try:
            target = os.readlink(f"/proc/{pid}/fd/{descriptor}")
        except FileNotFoundError:
            continue  # closed meanwhile
        if target.startswith("socket:["):
            inodes.add(target[8:-1])
    ports = set()
    for table in ("tcp", "tcp6"):
        with open(f"/proc/{pid}/net/{table}") as rows:
            for row in list(rows)[1:]:
                fields = row.split()
                if fields[9] in inodes and fields[3] == "01":  # TCP_ESTABLISHED
                    ports.add(int(fields[2].rpartition(":")[2], 16))
    return ports
