"""``make hostile``: a crowd of bad clients on a real server, and what a good one feels of it.

Two servers stand side by side, each a process; one has the crowd, the other has peace. One good client asks both in
turn, so that whatever else the machine does meanwhile touches both alike. For each kind of crowd: the 99th percentile
of its answer times on either, their ratio, how much memory the server took, and whether it takes a new client
afterwards. The crowd is a process of its own.
"""

import argparse
import multiprocessing
import os
import resource
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import NamedTuple

from zabpy.model import OPEN_ACL
from zabpy.wire import Op, frame, packed, records as r

BIG = b"x" * 1_000_000
MIB = 1 << 20
#: What is answered within two fsyncs is not slow, whatever the ratio.
FLOOR_MS = 5.0
RATIO_MAX = 2.0

CONFIG = """\
tickTime=2000
dataDir={directory}
clientPort={port}
maxClientCnxns=0
maxSessionTimeout=120000
preAllocSize=1024
zabpy.sendBytesMax={send}
zabpy.receiveBytesMax={receive}
{settings}
"""
SEND_BYTES_MAX = RECEIVE_BYTES_MAX = 64 * MIB


class Crowd(NamedTuple):
    """``act`` connects, says ``ready``, and goes on until ``over``. ``memory``: what it may cost the server."""

    act: Callable[[int, int, Event, Event], None]
    many: int
    memory: int
    descriptors: int = 0
    settings: str = ""
    judged: bool = True
    """Whether a good client's answer times count."""


class GoodClient:
    """One session, one request at a time."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.sendall(greeting(120_000))
        self._answer()
        self._xid = 0

    def ask(self, op: int, record: bytes) -> bytes:
        self._xid += 1
        self._socket.sendall(frame(struct.pack(">ii", self._xid, op) + record))
        return self._answer()

    def close(self) -> None:
        self._socket.close()

    def _answer(self) -> bytes:
        (length,) = struct.unpack(">i", self._exactly(4))
        return self._exactly(length)

    def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            more = self._socket.recv(count - len(data))
            if not more:
                raise ConnectionError("closed by the server")
            data += more
        return data


def greeting(timeout_ms: int) -> bytes:
    return frame(packed(r.ConnectRequest(0, 0, timeout_ms, 0, bytes(16), False)))


def connected(port: int, *, session: bool, buffer: int = 0) -> socket.socket:
    """``buffer``: bytes that the kernel keeps for it; 0: its own choice."""
    end = socket.socket()
    if buffer:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    end.settimeout(30)
    end.connect(("127.0.0.1", port))
    if session:
        end.sendall(greeting(120_000))
        end.recv(100)
    return end


# The crowds -----------------------------------------------------------------------------------------------------------


def idle(port: int, count: int, ready: Event, over: Event) -> None:
    """Half of them with a session, all silent."""
    ends = [connected(port, session=number % 2 == 0) for number in range(count)]
    ready.set()
    over.wait()
    del ends


def slow(port: int, count: int, ready: Event, over: Event) -> None:
    """A byte a second each: half of them of a handshake, half of a large request."""
    large = frame(struct.pack(">ii", 1, Op.SET_DATA) + packed(r.SetDataRequest("/big", BIG, -1)))
    drips: list[tuple[socket.socket, bytes, int]] = []

    def begin(number: int) -> None:
        session = number % 2 == 0
        drips.append((connected(port, session=session), large if session else greeting(9_000), number))

    for number in range(count):
        begin(number)
    ready.set()
    at = 0
    while not over.wait(1):
        at += 1
        now, drips[:] = list(drips), []
        for end, data, number in now:
            try:
                end.sendall(data[at % len(data) : at % len(data) + 1])
                drips.append((end, data, number))
            except OSError:
                end.close()
                begin(number)


def unfinished(port: int, count: int, ready: Event, over: Event) -> None:
    """All of a large request but its last byte."""
    large = frame(struct.pack(">ii", 1, Op.SET_DATA) + packed(r.SetDataRequest("/big", BIG, -1)))[:-1]
    ends = []
    for _ in range(count):
        try:
            end = connected(port, session=True)
            end.sendall(large)
        except OSError:
            continue
        ends.append(end)
    ready.set()
    over.wait()


def deaf(port: int, count: int, ready: Event, over: Event) -> None:
    """Ask for a megabyte, again and again, and never read. Their own buffers are small: else they would hold, on the
    same machine, 32 MB each."""
    get = frame(struct.pack(">ii", 1, Op.GET_DATA) + packed(r.GetDataRequest("/big", False)))
    ends = [connected(port, session=True, buffer=1 << 16) for _ in range(count)]
    for end in ends:
        end.setblocking(False)
    ready.set()
    while not over.wait(0.2):
        for number, end in enumerate(ends):
            try:
                end.send(get * 100)
            except BlockingIOError:
                pass
            except OSError:
                end.close()
                ends[number] = connected(port, session=True, buffer=1 << 16)
                ends[number].setblocking(False)


def flood(port: int, count: int, ready: Event, over: Event) -> None:
    """Connect as quickly as it goes, up to the server's last descriptor and beyond; let go, and again."""
    ends: list[socket.socket] = []
    ready.set()
    while not over.is_set():
        end = socket.socket()
        end.setblocking(False)
        end.connect_ex(("127.0.0.1", port))
        ends.append(end)
        if len(ends) >= count:
            time.sleep(0.5)
            for each in ends:
                each.close()
            ends.clear()


def garbage(port: int, count: int, ready: Event, over: Event) -> None:
    """Say nonsense, be thrown out, come again."""
    ready.set()
    number = 0
    while not over.is_set():
        number += 1
        try:
            end = socket.create_connection(("127.0.0.1", port), timeout=5)
            end.sendall((b"\xff" * 64, b"GET / HTTP/1.1\r\n\r\n", struct.pack(">i", 1 << 20) + b"x")[number % 3])
            end.close()
        except OSError:
            pass


CROWDS: dict[str, Crowd] = {
    "idle": Crowd(idle, 10_000, 300 * MIB),
    "slow": Crowd(slow, 1_000, 100 * MIB),
    "unfinished": Crowd(unfinished, 1_000, RECEIVE_BYTES_MAX + 100 * MIB),
    "deaf": Crowd(deaf, 100, 300 * MIB, settings=f"zabpy.sendBytesMax={256 * MIB}"),
    # Those that are closed for it come again at once, and ask for megabytes again: that is work, as it is for others.
    "deaf again": Crowd(deaf, 100, SEND_BYTES_MAX + 100 * MIB, judged=False),
    "flood": Crowd(flood, 1_500, 100 * MIB, descriptors=700),
    "garbage": Crowd(garbage, 1, 100 * MIB),
}


class Row(NamedTuple):
    """What one crowd came to. Times in ms."""

    name: str
    many: int
    asked: int
    quiet_p99: float
    crowd_p99: float
    worst: float
    grown_mib: float
    bound_mib: float
    accepts_again: bool

    @property
    def ratio(self) -> float:
        return self.crowd_p99 / max(self.quiet_p99, 1e-9)

    @property
    def good(self) -> bool:
        calm = self.ratio <= RATIO_MAX or self.crowd_p99 <= FLOOR_MS or not CROWDS[self.name].judged
        return calm and self.grown_mib <= self.bound_mib and self.accepts_again


@contextmanager
def server(directory: Path, crowd: Crowd) -> Iterator[tuple[int, int]]:
    """Port and process id."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    directory.mkdir(parents=True)
    config = directory / "zoo.cfg"
    config.write_text(
        CONFIG.format(
            directory=directory / "data",
            port=port,
            send=SEND_BYTES_MAX,
            receive=RECEIVE_BYTES_MAX,
            settings=crowd.settings,
        )
    )

    def limit() -> None:
        if crowd.descriptors:
            resource.setrlimit(resource.RLIMIT_NOFILE, (crowd.descriptors, crowd.descriptors))

    with open(directory / "log", "wb") as log:
        child = subprocess.Popen(
            [sys.executable, "-m", "zabpy", "serve", str(config)],
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            preexec_fn=limit,
        )
        try:
            wait_serving(port)
            yield port, child.pid
            if child.poll() is not None:
                raise RuntimeError(f"the server has ended: {(directory / 'log').read_text()[-2000:]}")
        finally:
            child.kill()
            child.wait()


def wait_serving(port: int) -> None:
    until = time.monotonic() + 30
    while True:
        try:
            GoodClient(port).close()
            return
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.1)


def memory_of(process: int) -> int:
    """Resident bytes."""
    return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def p99(times: list[float]) -> float:
    return sorted(times)[int(len(times) * 0.99)] * 1000


def measure(name: str, seconds: float, scale: float, directory: Path) -> Row:
    crowd = CROWDS[name]
    count = max(1, int(crowd.many * scale))
    with server(directory / "quiet", crowd) as (quiet, _), server(directory / "crowd", crowd) as (port, process):
        clients = GoodClient(quiet), GoodClient(port)
        for client in clients:
            client.ask(Op.CREATE, packed(r.CreateRequest("/big", BIG, OPEN_ACL, 0)))
            client.ask(Op.CREATE, packed(r.CreateRequest("/small", b"x" * 100, OPEN_ACL, 0)))
        before = memory_of(process)
        fork = multiprocessing.get_context("fork")
        ready, over = fork.Event(), fork.Event()
        bad = fork.Process(target=crowd.act, args=(port, count, ready, over), daemon=True)
        bad.start()
        try:
            while not ready.wait(0.5):  # while they come, too, it must stay alive
                if not bad.is_alive():
                    raise RuntimeError(f"the crowd {name} has died")
                for client in clients:
                    client.ask(Op.PING, b"")
            times: tuple[list[float], list[float]] = [], []
            most = before
            until = time.monotonic() + seconds
            set_data = packed(r.SetDataRequest("/small", b"y" * 100, -1))
            while time.monotonic() < until:
                for client, took in zip(clients, times):
                    began = time.perf_counter()
                    client.ask(Op.SET_DATA, set_data)
                    took.append(time.perf_counter() - began)
                if len(times[0]) % 50 == 0:
                    most = max(most, memory_of(process))
        finally:
            over.set()
            bad.join(2)
            bad.kill()
            bad.join()
        accepts = accepts_again(port)
    return Row(
        name,
        count,
        len(times[0]),
        p99(times[0]),
        p99(times[1]),
        max(times[1]) * 1000,
        (most - before) / MIB,
        crowd.memory / MIB,
        accepts,
    )


def accepts_again(port: int) -> bool:
    """A new client with a new session, within ten seconds."""
    until = time.monotonic() + 10
    while time.monotonic() < until:
        try:
            client = GoodClient(port)
            client.ask(Op.GET_DATA, packed(r.GetDataRequest("/small", False)))
            client.close()
            return True
        except OSError:
            time.sleep(0.2)
    return False


def main() -> int:
    parser = argparse.ArgumentParser(prog="make hostile", description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("crowds", nargs="*", help=f"of {', '.join(CROWDS)}; all")
    parser.add_argument("--seconds", type=float, default=10.0, help="for each crowd")
    parser.add_argument("--scale", type=float, default=1.0, help="so many times their number")
    given = parser.parse_args()
    if unknown := set(given.crowds) - set(CROWDS):
        parser.error(f"no crowd {', '.join(sorted(unknown))}")
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    print(f"{'crowd':10} {'count':>6} {'writes':>6} {'p99 quiet':>9} {'p99 crowd':>9} {'ratio':>5} {'worst ms':>8} "
          f"{'MiB':>5} {'bound':>5}  takes new clients", flush=True)  # fmt: skip
    good = True
    with tempfile.TemporaryDirectory(prefix="zabpy-hostile-") as directory:
        for name in given.crowds or CROWDS:
            row = measure(name, given.seconds, given.scale, Path(directory) / name)
            good &= row.good
            print(
                f"{row.name:10} {row.many:6} {row.asked:6} {row.quiet_p99:9.2f} {row.crowd_p99:9.2f} {row.ratio:5.2f} "
                f"{row.worst:8.1f} {row.grown_mib:5.0f} {row.bound_mib:5.0f}  {'yes' if row.accepts_again else 'NO'}"
                f"{'' if row.good else '  FAILED'}",
                flush=True,
            )
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    return int(not good)


if __name__ == "__main__":
    sys.exit(main())
