"""What is measured: an ensemble of zabpy or of Apache ZooKeeper, started the same way from the same zoo.cfg."""

import glob
import itertools
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from types import TracebackType
from typing import IO

#: Debian's package libzookeeper-java puts its jars there; another place goes into ZOOKEEPER_JARS.
APACHE_JARS = os.environ.get("ZOOKEEPER_JARS", "/usr/share/java")
_CLASSPATH = (
    "zookeeper.jar zookeeper-jute.jar slf4j-log4j12.jar log4j-1.2.jar netty-codec.jar netty-resolver.jar"
    " netty-transport-native-unix-common.jar"
)


def zabpy_command(config: str) -> list[str]:
    return [sys.executable, "-m", "zabpy", "serve", config]


def apache_command(config: str) -> list[str]:
    """Its own default memory and compiler settings: it is measured as it comes."""
    classpath = ":".join(os.path.join(APACHE_JARS, jar) for jar in _CLASSPATH.split())
    return ["java", "-cp", classpath, "org.apache.zookeeper.server.quorum.QuorumPeerMain", config]


def apache_is_here() -> bool:
    return bool(shutil.which("java") and glob.glob(os.path.join(APACHE_JARS, "zookeeper.jar")))


#: Name, as the report shows it → the command that runs one server.
SYSTEMS: dict[str, Callable[[str], list[str]]] = {"zabpy": zabpy_command, "Apache": apache_command}


#: Kernels give no port out of these by themselves, neither to a connection nor to who asks for any.
_PORTS = range(10_000, 32_000)
_tried = itertools.count(random.SystemRandom().randrange(len(_PORTS)))


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody listens on. Nobody else gets them before a server of ours has started there, but
    who looks for free ports at this moment at the same place: so each process begins somewhere else."""
    found: list[int] = []
    for number in itertools.islice(_tried, len(_PORTS)):
        if len(found) == count:
            break
        port = _PORTS[number % len(_PORTS)]
        try:
            with socket.create_server(("127.0.0.1", port)):
                found.append(port)
        except OSError:
            continue  # taken
    if len(found) < count:
        raise OSError(f"of the ports {_PORTS[0]} to {_PORTS[-1]} {len(found)} are free, {count} are wanted")
    return found


class Servers:
    """An ensemble of real processes in a directory of its own; gone, with its data, when the context ends."""

    def __init__(self, system: str, count: int, *, more: str = "", below: str | None = None) -> None:
        """``more``: further lines of each zoo.cfg. ``below``: where its directory is to be."""
        self.system, self.count = system, count
        self.directory = tempfile.mkdtemp(prefix="zabpy-bench-", dir=below)
        ports = free_ports(3 * count)
        self.client_ports = dict(zip(range(1, count + 1), ports[:count], strict=True))
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self._logs: list[IO[bytes]] = []
        members = "".join(
            f"server.{i}=127.0.0.1:{ports[count + 2 * i - 2]}:{ports[count + 2 * i - 1]}\n"
            for i in self.client_ports
            if count > 1
        )
        for i, port in self.client_ports.items():
            home = os.path.join(self.directory, str(i))
            os.makedirs(os.path.join(home, "data"))
            with open(os.path.join(home, "data", "myid"), "w") as myid:
                myid.write(f"{i}\n")
            with open(os.path.join(home, "zoo.cfg"), "w") as config:
                config.write(
                    f"tickTime=2000\ninitLimit=10\nsyncLimit=5\ndataDir={home}/data\nclientPort={port}\n"
                    f"clientPortAddress=127.0.0.1\nmaxClientCnxns=0\nadmin.enableServer=false\n{members}{more}"
                )

    def __enter__(self) -> "Servers":
        for i in self.client_ports:
            self.start(i)
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        for process in self._processes.values():
            process.kill()
        for process in self._processes.values():
            process.wait()
        for log in self._logs:
            log.close()
        shutil.rmtree(self.directory)

    def start(self, i: int) -> None:
        home = os.path.join(self.directory, str(i))
        log = open(os.path.join(home, "log"), "ab")  # noqa: SIM115  # closed with the ensemble
        self._logs.append(log)
        command = SYSTEMS[self.system](os.path.join(home, "zoo.cfg"))
        self._processes[i] = subprocess.Popen(command, stdout=log, stderr=log, cwd=home, env=_environment())

    def kill(self, i: int) -> None:
        """As the kernel would: no word to anybody."""
        self._processes[i].send_signal(signal.SIGKILL)
        self._processes[i].wait()

    def log_of(self, i: int) -> str:
        with open(os.path.join(self.directory, str(i), "log"), errors="replace") as log:
            return log.read()


def _environment() -> dict[str, str]:
    """The server runs in its own directory, so where this zabpy is imported from has to be said. Compiled modules are
    kept, as they are on any machine where nobody forbade it."""
    here = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "PYTHONPATH": os.pathsep.join([here, *filter(None, [os.environ.get("PYTHONPATH")])])}
