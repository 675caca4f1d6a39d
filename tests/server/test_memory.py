"""What a real server process takes: a million watches within 200 MB."""

import os
import socket
import struct
import time

import pytest

from zabpy.bench.systems import Servers
from zabpy.pipeline.slices import pack_names
from zabpy.wire import Op, frame, packed, records as r

CONNECTIONS, WATCHES_EACH, AT_ONCE = 10, 100_000, 25_000
BYTES_MAX = 200_000_000


class Client:
    """Sends, waits, nothing else."""

    def __init__(self, port: int) -> None:
        self._end = socket.create_connection(("127.0.0.1", port))
        self._end.settimeout(60)
        self._end.sendall(frame(packed(r.ConnectRequest(0, 0, 40_000, 0, bytes(16), False))))
        assert len(self._receive()) == 37

    def watch(self, paths: list[str]) -> None:
        head, none = struct.pack(">iiqi", 1, Op.SET_WATCHES, 1 << 60, 0), bytes(4)
        self._end.sendall(frame(head + struct.pack(">i", len(paths)) + pack_names(paths) + none))
        reply = self._receive()
        assert struct.unpack_from(">iqi", reply)[::2] == (1, 0)

    def close(self) -> None:
        self._end.close()

    def _receive(self) -> bytes:
        (size,) = struct.unpack(">i", self._exactly(4))
        return self._exactly(size)

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            more = self._end.recv(size - len(data))
            if not more:
                raise ConnectionError("closed")
            data += more
        return data


def wait_client(port: int) -> Client:
    for _ in range(300):
        try:
            return Client(port)
        except OSError:  # not there yet, or not serving yet
            time.sleep(0.1)
    raise AssertionError("no server within 30 s")


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="memory is read from /proc")
def test_a_million_watches_fit_in_200_mb() -> None:
    with Servers("zabpy", 1) as servers:
        port, process = servers.client_ports[1], servers._processes[1]

        def resident_bytes() -> int:
            with open(f"/proc/{process.pid}/statm") as statm:
                return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

        clients = [wait_client(port)] + [Client(port) for _ in range(CONNECTIONS - 1)]
        before = resident_bytes()
        for number, client in enumerate(clients):
            for at in range(0, WATCHES_EACH, AT_ONCE):
                client.watch([f"/app/service/{number:03d}/{each:07d}" for each in range(at, at + AT_ONCE)])
        more = resident_bytes() - before
        for client in clients:
            client.close()
    assert 50_000_000 < more < BYTES_MAX, f"{more} bytes"
