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
        config = os.path.join(self._home, "zoo.cfg")
        with open(config, "w") as file:
            file.write(_CONFIG.format(home=self._home, port=self.port) + settings)
        if ours:
            command = [sys.executable, "-m", "zabpy", "serve", config]
        else:
            classpath = ":".join(os.path.join(APACHE_JARS, jar) for jar in _JARS.split())
            main = "org.apache.zookeeper.server.quorum.QuorumPeerMain"
            log_config = os.path.join(self._home, "log4j.properties")
            with open(log_config, "w") as file:
                file.write(_LOG_CONFIG)
            java = ["java", "-Xmx192m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", _UNSAFE]
            java.append(f"-Dlog4j.configuration=file:{log_config}")
            command = [*java, "-cp", classpath, main, config]
        with open(os.path.join(self._home, "log"), "wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)

    def wait_serving(self) -> None:
        end = time.monotonic() + 60
        while True:
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=5) as probe:
                    probe.sendall(b"srvr")
                    if b"Mode: standalone" in probe.makefile("rb").read():
                        return
            except OSError:
                pass
            if self._process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"no server came up:\n{self.log()}")
            time.sleep(0.05)

    def log(self) -> str:
        with open(os.path.join(self._home, "log"), errors="replace") as file:
            return file.read()[-20_000:]

    def stop(self) -> None:
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()
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
