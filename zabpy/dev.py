"""``zabpy dev``: a whole ensemble on loopback from nothing, each server a child process that runs ``zabpy serve``.

May import: zabpy.model. Imported by: zabpy.__main__, inside the subcommand.

With a terminal there may be a shell on it (``--shell``), another child; the ensemble ends when it is left.

Nothing is restarted: what ends has ended, so that killing a server by hand shows what an ensemble does then. The
children end with us however we end: on Linux the kernel kills them when this process dies (PR_SET_PDEATHSIG).
"""

import os
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import IO, NamedTuple

from zabpy.model import ZabpyError

LOOPBACK = "127.0.0.1"
READY_S = 30.0
STOP_S = 5.0
#: Between two looks at servers that are starting.
POLL_S = 0.05
#: Where the servers' lines go while a shell has the terminal.
LOG = "servers.log"
#: Peer and election ports stand as far from the client ports as ZooKeeper's usual ones: 2181, 2888, 3888.
PEER_PORTS, ELECTION_PORTS = 707, 1707

CONFIG = """\
# Written by `zabpy dev` at every start.
tickTime=2000
initLimit=10
syncLimit=5
dataDir={data}
clientPort={ports.client}
clientPortAddress=127.0.0.1
maxClientCnxns=0
4lw.commands.whitelist=*
{members}"""


class DevError(ZabpyError):
    """One line: the ensemble cannot be started, and why."""


class Ports(NamedTuple):
    client: int
    peer: int
    election: int


def serve_command(config: str) -> list[str]:
    return [sys.executable, "-m", "zabpy", "serve", config]


def shell_command(where: str) -> list[str]:
    return [sys.executable, "-m", "zabpy", "shell", "--server", where]


def run(
    servers: int,
    port: int,
    directory: str | None,
    out: Callable[[str], None],
    command: Callable[[str], list[str]] = serve_command,
    shell: Callable[[str], list[str]] | None = None,
) -> int:
    """Start, wait until all serve, say where, stay until a signal, or until ``shell`` ends. Return the exit status.

    Args:
        command: gives the command that runs a server with this config file.
        shell: gives the command that has the terminal meanwhile, from where to connect. The servers' lines go to a file
            in the directory then, and Ctrl-C is the shell's business.
        port: of the first server's clients, the next servers' follow; 0: any free ones.
        directory: where the data stays for the next time; None: a temporary one.
    Raises:
        DevError: a port is in use, the directory is not ours, or a server ended before all were serving.
    """
    ports = _plan(servers, port)
    _check_ports(ports)
    if directory is None:
        with tempfile.TemporaryDirectory(prefix="zabpy-dev-", ignore_cleanup_errors=True) as temporary:
            return _run_in(temporary, "removed at the end", ports, out, command, shell)
    _check_directory(directory, servers)
    return _run_in(os.path.abspath(directory), "kept", ports, out, command, shell)


def _run_in(
    directory: str,
    what_then: str,
    ports: list[Ports],
    out: Callable[[str], None],
    command: Callable[[str], list[str]],
    shell: Callable[[str], list[str]] | None,
) -> int:
    try:
        configs = [_write(directory, number, ports) for number in range(1, len(ports) + 1)]
    except OSError as error:
        raise DevError(f"{error.filename or directory}: {error.strerror}: expected a directory to write to") from None
    log_path = os.path.join(directory, LOG)
    log = open(log_path, "wb") if shell is not None else sys.stderr.buffer  # noqa: SIM115  # closed at the end
    children = Children(log)
    try:
        for config in configs:
            children.start(command(config))
        waiting = set(range(len(ports)))
        give_up = time.monotonic() + READY_S
        while waiting and not children.stopping:
            if ended := children.ended():
                raise DevError(f"server {ended[0]} ended before it was serving; its lines above say why")
            if time.monotonic() > give_up:
                raise DevError(f"server {min(waiting) + 1} is not serving after {READY_S:.0f} s; see its lines above")
            children.pump(POLL_S)
            waiting -= {at for at in waiting if _serves(ports[at].client)}
        many = "1 server is" if len(ports) == 1 else f"{len(ports)} servers are"
        where = ",".join(f"{LOOPBACK}:{each.client}" for each in ports)
        if shell is not None:
            if not children.stopping:
                end = "Leaving the shell (Ctrl-D) ends it."
                out(
                    f"{many} serving, data and {LOG} in {directory} ({what_then}). {end} Others connect to\n\n{where}\n"
                )
                children.run(shell(where))
            return 0
        if not children.stopping:
            out(f"{many} serving, data in {directory} ({what_then}), Ctrl-C ends it. Connect to\n")
            out(where)
        said: set[int] = set()
        while not children.stopping:
            for number in children.ended():
                if number not in said:
                    said.add(number)
                    out(f"server {number} has ended; it is not started again")
            if len(said) == len(ports):
                return 1
            children.pump(1.0)
        return 0
    except DevError:
        if shell is not None:  # what would stand above
            log.flush()
            with open(log_path, "rb") as lines:
                sys.stderr.buffer.write(lines.read())
            sys.stderr.buffer.flush()
        raise
    finally:
        children.stop()
        if shell is not None:
            log.close()


def ask(host: str, port: int, word: str, timeout_s: float = 2.0) -> str:
    """A four-letter word's answer. Raises OSError when there is none."""
    with socket.create_connection((host, port), timeout=timeout_s) as link:
        link.sendall(word.encode("ascii"))
        answer = bytearray()
        while data := link.recv(65536):
            answer += data
        return answer.decode("utf-8", "replace")


def _serves(port: int) -> bool:
    try:
        return "\nMode: " in ask(LOOPBACK, port, "srvr", timeout_s=0.5)
    except OSError:
        return False


def _plan(servers: int, port: int) -> list[Ports]:
    if port:
        if port + servers + ELECTION_PORTS > 65536:
            raise DevError(
                f"--port {port}: expected at most {65536 - ELECTION_PORTS - servers}, for there are more above"
            )
        return [Ports(at, at + PEER_PORTS, at + ELECTION_PORTS) for at in range(port, port + servers)]
    sockets = [socket.create_server((LOOPBACK, 0)) for _ in range(3 * servers)]
    free = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return [Ports(*free[at : at + 3]) for at in range(0, len(free), 3)]


def _check_ports(ports: list[Ports]) -> None:
    for number, each in enumerate(ports, 1):
        for port, whom in ((each.client, "clients"), *(((each.peer, "peers"),) if len(ports) > 1 else ())):
            try:
                socket.create_server((LOOPBACK, port)).close()
            except OSError as error:
                raise DevError(
                    f"port {port} on {LOOPBACK} for the {whom} of server {number}: {error.strerror}; "
                    "expected a free one, --port takes others"
                ) from None


def _check_directory(directory: str, servers: int) -> None:
    """An empty directory, a new one, or one that we made for as many servers."""
    try:
        names = set(os.listdir(directory))
    except FileNotFoundError:
        return
    except OSError as error:
        raise DevError(f"--dir {directory}: {error.strerror}: expected a directory") from None
    ours = {name for name in names if os.path.isfile(os.path.join(directory, name, "zoo.cfg"))}
    if names and not ours:
        raise DevError(f"--dir {directory}: expected an empty directory, or one that `zabpy dev` made")
    if ours and len(ours) != servers:
        raise DevError(
            f"--dir {directory}: it holds {len(ours)} servers, not {servers}: expected --servers {len(ours)}"
        )


def _write(directory: str, number: int, ports: list[Ports]) -> str:
    data = os.path.join(directory, str(number), "data")
    os.makedirs(data, exist_ok=True)
    # With the clients' ports, so that whoever asks one server learns where the others are.
    members = "".join(
        f"server.{at}={LOOPBACK}:{each.peer}:{each.election}:participant;{LOOPBACK}:{each.client}\n"
        for at, each in enumerate(ports, 1)
    )
    with open(os.path.join(data, "myid"), "w", encoding="utf-8") as file:
        file.write(f"{number}\n")
    path = os.path.join(directory, str(number), "zoo.cfg")
    with open(path, "w", encoding="utf-8") as file:
        text = CONFIG.format(data=data.replace("\\", "\\\\"), ports=ports[number - 1], members=members)
        file.write(text if len(ports) > 1 else text.replace(members, ""))
    return path


class Children:
    """Child processes, their lines with a number in front, and the signals that end us."""

    def __init__(self, log: IO[bytes]) -> None:
        self.stopping = False
        self._log = log
        self._processes: list[subprocess.Popen[bytes]] = []
        self._halves: dict[int, bytes] = {}
        self._selector = selectors.DefaultSelector()
        self._wake, wake = socket.socketpair()
        self._wake.setblocking(False)
        wake.setblocking(False)
        self._waker = wake
        self._selector.register(self._wake, selectors.EVENT_READ, None)
        signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
        self._before = {number: signal.signal(number, self._signalled) for number in SIGNALS}
        self._bind_lives = _lives_bound_to_ours()

    def start(self, command: list[str]) -> None:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is ours, and we tell the children
            preexec_fn=self._bind_lives,
        )
        self._processes.append(process)
        assert process.stdout is not None
        os.set_blocking(process.stdout.fileno(), False)
        self._selector.register(process.stdout, selectors.EVENT_READ, len(self._processes))

    def run(self, command: list[str]) -> None:
        """Run another program in the foreground until it ends, or we are told to end."""
        signal.signal(signal.SIGINT, lambda number, frame: None)  # of the terminal, which is the program's
        program = subprocess.Popen(command, preexec_fn=self._bind_lives)
        while program.poll() is None and not self.stopping:
            self.pump(POLL_S)
        if program.poll() is None:
            program.terminate()
            try:
                program.wait(STOP_S)
            except subprocess.TimeoutExpired:
                program.kill()
                program.wait()

    def ended(self) -> list[int]:
        """The numbers of those that have ended, all their lines told."""
        return [at for at, process in enumerate(self._processes, 1) if process.poll() is not None and self._drain(at)]

    def pump(self, timeout_s: float) -> None:
        """Tell what the children say, and wait so long for something to say, for an end, or for a signal."""
        for key, _ in self._selector.select(timeout_s):
            if key.data is None:
                self._wake.recv(1024)
            else:
                self._read(key.data, self._processes[key.data - 1].stdout)

    def stop(self) -> None:
        """Ask all to end, wait, then kill what is left."""
        for process in self._processes:
            if process.poll() is None:
                process.terminate()
        give_up = time.monotonic() + STOP_S
        while any(process.poll() is None for process in self._processes) and time.monotonic() < give_up:
            self.pump(POLL_S)
        for at, process in enumerate(self._processes, 1):
            if process.poll() is None:
                process.kill()
                process.wait()
            self._drain(at)
        signal.set_wakeup_fd(-1)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._selector.close()
        self._wake.close()
        self._waker.close()

    def _drain(self, number: int) -> bool:
        stdout = self._processes[number - 1].stdout
        while stdout is not None and not stdout.closed and self._read(number, stdout):
            pass
        return True

    def _read(self, number: int, stdout: IO[bytes] | None) -> bool:
        assert stdout is not None
        try:
            data = os.read(stdout.fileno(), 65536)
        except BlockingIOError:
            return False
        *lines, half = (self._halves.get(number, b"") + data).split(b"\n")
        if not data:
            self._selector.unregister(stdout)
            stdout.close()
            lines, half = ([half] if half else []), b""
        self._halves[number] = half
        if lines:
            self._log.write(b"".join(b"%d | %s\n" % (number, line) for line in lines))
            self._log.flush()
        return bool(data)

    def _signalled(self, number: int, frame: object) -> None:
        self.stopping = True


SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def _lives_bound_to_ours() -> Callable[[], None] | None:
    """What a child calls before it becomes the server: ask the kernel to kill it when its parent is gone."""
    if not sys.platform.startswith("linux"):
        return None
    import ctypes

    prctl, parent = ctypes.CDLL(None, use_errno=True).prctl, os.getpid()

    def bind() -> None:
        prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG
        if os.getppid() != parent:  # it was gone already
            os._exit(1)

    return bind


#: How a TLS server's answer to what is no TLS begins: a record of type alert, of a version 3.x.
_TLS_ALERT = "\x15\x03"


def status_line(server: str) -> tuple[bool, str]:
    """Whether the server at ``host:port`` serves, and a line about it."""
    host, _, port = server.rpartition(":")
    host = host.strip("[]") or LOOPBACK
    if not (port.isascii() and port.isdecimal() and 0 < int(port) < 65536):
        return False, f"{server}: expected HOST:PORT"
    try:
        answer = ask(host, int(port), "srvr")
    except OSError as error:
        return False, f"{server}: not reachable: {error.strerror or error}"
    facts = dict(line.split(": ", 1) for line in answer.splitlines() if ": " in line)
    if "Mode" not in facts:
        why = "not serving" if "not currently serving" in answer else "no status"
        said = "".join(letter if letter.isprintable() else "?" for letter in " ".join(answer.split())[:120])
        if answer.startswith(_TLS_ALERT):
            said = "it takes nothing but TLS on this port"
        return False, f"{server}: {why}: {said or 'no answer'}"
    version = facts.get("Zookeeper version", "?").split(",")[0]
    return True, (
        f"{server}: {facts['Mode']}, zxid {facts.get('Zxid', '?')}, {facts.get('Node count', '?')} znodes, "
        f"{facts.get('Connections', '?')} connections, latency {facts.get('Latency min/avg/max', '?')} ms, {version}"
    )
