"""Single writes with a clock: how long after a start, or after the leader's death, the next write is accepted.

The few bytes of the client protocol that this needs are written out here, so that the same probe measures any server
and shares no code with ours.
"""

import socket
import struct
import time
from collections.abc import Iterable

from .systems import Servers

#: How long one attempt at one server may take, and how long we try at all.
ATTEMPT_S = 1.0
GIVE_UP_S = 60.0
PAUSE_S = 0.002


class NoAnswerError(Exception):
    """No server accepted a write in `GIVE_UP_S`."""


class Session:
    """A new session with one server, and writes on it."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), ATTEMPT_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._xid = 0
        try:
            self._send(struct.pack(">iqiqi16s?", 0, 0, 10_000, 0, 16, b"", False))
            if struct.unpack_from(">i", self._receive(), 4)[0] <= 0:
                raise OSError("no session")
        except BaseException:
            self._socket.close()
            raise

    def write(self, path: bytes = b"/bench-probe") -> None:
        """Create the znode, or set it if it is there. OSError: not accepted."""
        acl = struct.pack(">iii5si6s", 1, 31, 5, b"world", 6, b"anyone")
        created = self._ask(1, struct.pack(">i", len(path)) + path + struct.pack(">i1s", 1, b"x") + acl + bytes(4))
        if created == -110:
            created = self._ask(5, struct.pack(">i", len(path)) + path + struct.pack(">i1si", 1, b"y", -1))
        if created:
            raise OSError(f"error {created}")

    def close(self) -> None:
        self._socket.close()

    def _ask(self, op: int, record: bytes) -> int:
        self._xid += 1
        self._send(struct.pack(">ii", self._xid, op) + record)
        xid, _, error = struct.unpack_from(">iqi", self._receive())
        if xid != self._xid:
            raise OSError(f"answer to {xid}, not {self._xid}")
        return int(error)

    def _send(self, payload: bytes) -> None:
        self._socket.sendall(struct.pack(">i", len(payload)) + payload)

    def _receive(self) -> bytes:
        (length,) = struct.unpack(">i", self._exactly(4))
        return self._exactly(length)

    def _exactly(self, count: int) -> bytes:
        got = b""
        while len(got) < count:
            more = self._socket.recv(count - len(got))
            if not more:
                raise OSError("closed")
            got += more
        return got


def first_accepted_write(ports: Iterable[int]) -> float:
    """Seconds until one of these servers, tried in turn without rest, accepts a write on a new session."""
    started = time.perf_counter()
    ports = list(ports)
    while (now := time.perf_counter()) - started < GIVE_UP_S:
        for port in ports:
            try:
                session = Session(port)
                try:
                    session.write()
                finally:
                    session.close()
                return time.perf_counter() - started
            except OSError:
                continue
        time.sleep(max(0.0, PAUSE_S - (time.perf_counter() - now)))
    raise NoAnswerError(f"no write was accepted on ports {ports} in {GIVE_UP_S:.0f} s")


def leader_of(servers: Servers) -> int:
    """Which server says that it leads, by the four-letter word srvr."""
    for i, port in servers.client_ports.items():
        try:
            with socket.create_connection(("127.0.0.1", port), ATTEMPT_S) as sock:
                sock.sendall(b"srvr")
                answer = b""
                while more := sock.recv(4096):
                    answer += more
        except OSError:
            continue
        if b"Mode: leader" in answer:
            return i
    raise NoAnswerError("no server says that it leads")


def failover(servers: Servers) -> float:
    """Kill the leader; seconds from the kill to the next accepted write. The killed one is started again."""
    leader = leader_of(servers)
    servers.kill(leader)
    took = first_accepted_write(port for i, port in servers.client_ports.items() if i != leader)
    servers.start(leader)
    first_accepted_write([servers.client_ports[leader]])
    return took


def start_to_first_write(system: str) -> float:
    """Seconds from starting one server, without data, to its first accepted write."""
    with Servers(system, 1) as servers:
        return first_accepted_write(servers.client_ports.values())
