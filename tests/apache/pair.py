"""Two servers of the same zoo.cfg, Apache's and ours, and one script that both are given."""

import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from typing import NamedTuple

from zabpy.bench.systems import APACHE_JARS, free_ports

#: user:password of the super identity of both servers.
SUPER = b"super:test"
_CONFIG = """\
tickTime=500
dataDir={home}/data
clientPort={port}
clientPortAddress=127.0.0.1
maxClientCnxns=0
maxSessionTimeout=600000
admin.enableServer=false
4lw.commands.whitelist=*
DigestAuthenticationProvider.superDigest=super:D/InIHSb7yEEbrWz8b9l71RjZJU=
znode.container.checkIntervalMs=3600000
"""
_JARS = (
    "zookeeper.jar zookeeper-jute.jar slf4j-log4j12.jar log4j-1.2.jar netty-codec.jar netty-resolver.jar"
    " netty-transport-native-unix-common.jar"
)
#: Only for tests: whoever reads the answer does not care for what a power cut leaves.
_UNSAFE = "-Dzookeeper.forceSync=no"
#: What of ours is compared: a server on its own; or, of three of which one never comes up, a follower or the leader.
ROLE = os.environ.get("ZABPY_COMPARED", "standalone")
assert ROLE in ("standalone", "follower", "leader"), f"ZABPY_COMPARED={ROLE}: expected standalone, follower or leader"
#: What Apache's server tells of, if it does not come up or ends.
_LOG_CONFIG = """\
log4j.rootLogger=ERROR, out
log4j.appender.out=org.apache.log4j.ConsoleAppender
log4j.appender.out.layout=org.apache.log4j.PatternLayout
log4j.appender.out.layout.ConversionPattern=%d %p %c %m%n
"""
_TIMEOUT_S = 30.0
_HEADER = struct.Struct(">iqi")
APACHE, OURS = 0, 1


class Step(NamedTuple):
    """One request. ``seen``: the record's first long becomes the zxid that the connection knew so many batches ago
    (0: now), which is another number on each server. ``alone``: nothing is sent behind it before it is answered."""

    session: str
    op: int
    record: bytes
    xid: int | None = None
    seen: int = -1
    alone: bool = False


class Heard(NamedTuple):
    """What one connection was told on a batch: whole frames, without length words; whether the server closed it."""

    frames: list[bytes]
    closed: bool


class Line:
    """One client of one server."""

    def __init__(self, port: int, *, session_id: int = 0, password: bytes = bytes(16), zxid: int = 0) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=_TIMEOUT_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._rest = b""
        self.marks: list[int] = [0]  # zxid of the last reply of each batch
        greeting = struct.pack(">iqiqi", 0, zxid, 300_000, session_id, 16) + password + b"\0"
        self.send(struct.pack(">i", len(greeting)) + greeting)
        answer = self.frame()
        assert answer is not None and len(answer) == 37, answer
        self.timeout_ms, self.session_id = struct.unpack_from(">iq", answer, 4)
        self.password = answer[20:36]

    def send(self, data: bytes) -> None:
        try:
            self._socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass  # it shows when the answer is read

    def frame(self) -> bytes | None:
        """The next one; None when the server has closed."""
        while True:
            if len(self._rest) >= 4:
                end = 4 + int.from_bytes(self._rest[:4], "big")
                if len(self._rest) >= end:
                    whole, self._rest = self._rest[4:end], self._rest[end:]
                    return whole
            try:
                data = self._socket.recv(262_144)
            except ConnectionResetError:
                return None
            if not data:
                return None
            self._rest += data

    def hear(self, last_xid: int | None) -> Heard:
        """All frames up to the reply of ``last_xid``, or, for None, up to the end of the connection."""
        frames = []
        while (frame := self.frame()) is not None:
            frames.append(frame)
            xid, zxid, _ = _HEADER.unpack_from(frame)
            if xid == last_xid:
                self.marks.append(zxid)
                return Heard(frames, False)
        return Heard(frames, True)

    def close(self) -> None:
        self._socket.close()


class Server:
    """One process with a directory of its own."""

    def __init__(self, port: int, *, ours: bool, settings: str) -> None:
        shared_memory = "/dev/shm" if os.path.isdir("/dev/shm") else None
        self._home = tempfile.mkdtemp(prefix="zabpy-apache-", dir=shared_memory)
        self.port = port
        self._role = ROLE if ours else "standalone"
        self._processes: list[subprocess.Popen[bytes]] = []
        if self._role != "standalone":
            self._start_two_of_three(settings)
        elif ours:
            self._start([sys.executable, "-m", "zabpy", "serve", self._write_config(self._home, port, settings)])
        else:
            classpath = ":".join(os.path.join(APACHE_JARS, jar) for jar in _JARS.split())
            main = "org.apache.zookeeper.server.quorum.QuorumPeerMain"
            log_config = os.path.join(self._home, "log4j.properties")
            with open(log_config, "w") as file:
                file.write(_LOG_CONFIG)
            java = ["java", "-Xmx192m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", _UNSAFE]
            java.append(f"-Dlog4j.configuration=file:{log_config}")
            self._start([*java, "-cp", classpath, main, self._write_config(self._home, port, settings)])

    def _start_two_of_three(self, settings: str) -> None:
        """Of two that know nothing yet the one with the higher number leads."""
        other, *peer_ports = free_ports(4)
        ports = (self.port, other) if self._role == "follower" else (other, self.port)
        settings += "initLimit=20\nsyncLimit=10\n"
        settings += "".join(f"server.{id}=127.0.0.1:{port}:{port}\n" for id, port in enumerate(peer_ports, 1))
        for id, port in enumerate(ports, 1):
            home = os.path.join(self._home, str(id))
            os.makedirs(os.path.join(home, "data"))
            with open(os.path.join(home, "data", "myid"), "w") as file:
                file.write(str(id))
            self._start([sys.executable, "-m", "zabpy", "serve", self._write_config(home, port, settings)])

    def _write_config(self, home: str, port: int, settings: str) -> str:
        config = os.path.join(home, "zoo.cfg")
        with open(config, "w") as file:
            file.write(_CONFIG.format(home=home, port=port) + settings)
        return config

    def _start(self, command: list[str]) -> None:
        with open(os.path.join(self._home, "log"), "ab") as log:
            self._processes.append(subprocess.Popen(command, stdout=log, stderr=log))

    def wait_serving(self) -> None:
        end = time.monotonic() + 60
        while True:
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=5) as probe:
                    probe.sendall(b"srvr")
                    if f"Mode: {self._role}".encode() in probe.makefile("rb").read():
                        return
            except OSError:
                pass
            if any(process.poll() is not None for process in self._processes) or time.monotonic() > end:
                raise RuntimeError(f"no server came up:\n{self.log()}")
            time.sleep(0.05)

    def log(self) -> str:
        with open(os.path.join(self._home, "log"), errors="replace") as file:
            return file.read()[-20_000:]

    def stop(self) -> None:
        for process in self._processes:
            process.send_signal(signal.SIGKILL)
            process.wait()
        shutil.rmtree(self._home, ignore_errors=True)


class Pair:
    """Apache's server and ours, up. ``settings``: further lines of both servers' zoo.cfg."""

    def __init__(self, settings: str = "") -> None:
        self.servers = [Server(port, ours=ours, settings=settings) for port, ours in zip(free_ports(2), (False, True))]
        self._runs = 0
        for server in self.servers:
            server.wait_serving()

    def connect(self) -> list[Line]:
        return [Line(server.port) for server in self.servers]

    def next_run(self) -> int:
        """A number for the znode below which one script has its own."""
        self._runs += 1
        return self._runs

    def stop(self) -> None:
        for server in self.servers:
            server.stop()
