"""What the shell's speed is, as a user has it: ``python -m tests.shell.bench``, for some minutes on a quiet machine.

On a server of its own, in a temporary folder, or with ``--server HOST:PORT`` on another one: below ``/shell-bench``,
which is then deleted, and without the last figure. The shell is the installed program, a process for each figure: so
the times are those from Enter to the prompt of the system's shell, and the rates are with the start. Of times there are
the best of some runs, and the median.
"""

import contextlib
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import click
import pexpect

from zabpy.blocking import Client, connect

TOP = "/shell-bench"
ZABSH = str(Path(sys.executable).with_name("zabsh"))
#: At a stalled server: keys that are typed, the time between two of them, and how long until it is stopped.
KEYS, PAUSE_S = "ls /shell-bench/wide/child-000", 0.1


class Bench:
    def __init__(self, hosts: str, folder: Path, runs: int) -> None:
        self.hosts, self.folder, self.runs = hosts, folder, runs
        self.environment = {**os.environ, "XDG_CONFIG_HOME": str(folder), "HOME": str(folder)}

    def run(self, *words: str) -> tuple[float, int]:
        """How long a command takes, in s, and its largest memory, in bytes."""
        began = time.monotonic()
        process = subprocess.Popen(
            [ZABSH, "-s", self.hosts, "--yes", "--timeout", "60s", *words],
            env=self.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        assert process.stderr is not None
        said = process.stderr.read().decode()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        took_s = time.monotonic() - began
        if process.returncode:
            raise SystemExit(f"{' '.join(words)}: status {process.returncode}: {said}")
        return took_s, usage.ru_maxrss * 1024

    def best(self, name: str, *words: str) -> None:
        took = sorted(self.run(*words)[0] for _ in range(self.runs))
        show(name, f"{took[0]:.2f} s", f"median {statistics.median(took):.2f} s")

    def rate(self, name: str, count: int, *words: str) -> None:
        took_s, memory = self.run(*words)
        show(name, f"{count / took_s:,.0f} znodes/s", f"{took_s:.1f} s, {memory / 2**20:,.0f} MiB")

    # Terminal ---------------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def terminal(self) -> Iterator["pexpect.spawn[str]"]:
        child = pexpect.spawn(
            ZABSH,
            ["-s", self.hosts],
            env={**self.environment, "TERM": "xterm-256color"},
            encoding="utf-8",
            dimensions=(24, 100),
            timeout=20,
        )
        try:
            yield child
        finally:
            child.close(force=True)

    def prompt(self) -> None:
        took: list[float] = []
        for _ in range(self.runs):
            began = time.monotonic()
            with self.terminal() as child:
                child.expect(r"/(\x1b\[[0-9;]*m)*> ?")
                took.append(time.monotonic() - began)
        took.sort()
        show("start to prompt", f"{took[0]:.2f} s", f"median {statistics.median(took):.2f} s")

    def keystrokes(self, name: str, stop: Callable[[], object]) -> None:
        """From a key to its echo, while ``stop`` has stopped whoever should answer."""
        delays_ms: list[float] = []
        with self.terminal() as child:
            child.delaybeforesend = None  # or pexpect waits before each key
            child.expect(r"/(\x1b\[[0-9;]*m)*> ?")
            time.sleep(2)  # until it has a session
            stop()
            for key in KEYS:
                drain(child)
                began = time.monotonic()
                child.send(key)
                child.expect(re.escape(key), timeout=5)
                delays_ms.append((time.monotonic() - began) * 1000)
                time.sleep(PAUSE_S)
        show(name, f"{statistics.median(delays_ms):.0f} ms", f"worst {max(delays_ms):.0f} ms of {len(KEYS)}")


def drain(child: "pexpect.spawn[str]") -> None:
    with contextlib.suppress(pexpect.TIMEOUT):
        while True:
            child.read_nonblocking(65536, timeout=0.01)


def show(name: str, figure: str, more: str) -> None:
    click.echo(f"{name:46} {figure:>18}   {more}")


def fill(zk: Client, top: str, count: int, a_parent: int) -> None:
    """``count`` znodes with 100 bytes each, so many below one parent."""
    zk.ensure(top)
    for start in range(0, count, a_parent):
        parent = f"{top}/parent-{start // a_parent:04}"
        zk.create(parent, b"x" * 100)
        for at in range(start + 1, min(start + a_parent, count), 500):
            transaction = zk.transaction()
            for number in range(at, min(at + 500, start + a_parent, count)):
                transaction.create(f"{parent}/child-{number:07}", b"x" * 100)
            transaction.commit()


class Server:
    """``zabpy dev`` with one server, in a session of its own, as is each server that it starts."""

    def __init__(self, folder: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "zabpy", "dev", "--servers", "1", "--port", "0", "--dir", str(folder / "server")],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
        assert self._process.stdout is not None
        lines = iter(self._process.stdout.readline, "")
        self.hosts = next(line.strip() for line in lines if re.fullmatch(r"[\w.]+:\d+\n", line))

    def signal(self, number: signal.Signals) -> None:
        """To it, and to what it has started."""
        waiting = [self._process.pid]
        while waiting:
            pid = waiting.pop()
            with contextlib.suppress(OSError):
                waiting += map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
                os.kill(pid, number)

    def end(self) -> None:
        self.signal(signal.SIGCONT)
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(10)
        finally:
            with contextlib.suppress(ProcessLookupError):
                self.signal(signal.SIGKILL)


@click.command()
@click.option("--server", help="Measure on this one, which is not stopped.")
@click.option("--znodes", type=int, default=200_000, show_default=True, help="In the tree that is exported.")
@click.option("--runs", type=int, default=7, show_default=True, help="Of what takes less than a second.")
def main(server: str | None, znodes: int, runs: int) -> None:
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # the server is to end with us
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        own: Server | None = None
        if server is None:
            own = Server(folder)
            stack.callback(own.end)
            server = own.hosts
        bench = Bench(server, folder, runs)
        with connect(server, session_timeout_ms=60_000) as zk:
            zk.delete_tree(TOP)
            fill(zk, f"{TOP}/wide", 10_000, 10_000)
            fill(zk, f"{TOP}/tree", znodes, 1_000)
        where = f"Python {sys.version.split()[0]}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
        click.echo(f"{where}, server {server}, {znodes:,} znodes")
        bench.prompt()
        bench.best("zabsh ls / (a process)", "ls", "/")
        bench.best("zabsh ls -l of 10,000 children", "ls", "-l", f"{TOP}/wide/parent-0000")
        tree, copy = f"{TOP}/tree", f"{TOP}/copy"
        for words in (["find", tree], ["find", tree, "-size", "+1k"], ["grep", "-rc", "x", tree], ["du", "-s", tree]):
            bench.rate(" ".join(words), znodes, *words)
        file = str(folder / "x.ndjson")
        bench.rate("export", znodes, "export", "-f", tree, file)
        bench.rate("export --no-acl", znodes, "export", "-f", "--no-acl", tree, file + "2")
        bench.rate("export to tar", znodes, "export", "-f", tree, str(folder / "x.tar"))
        bench.rate("import, of what is missing", znodes, "import", file, copy)
        bench.rate("import, of what is there", znodes, "import", file, copy)
        bench.rate("import --no-acl, of what is there", znodes, "import", "--no-acl", file, copy)
        bench.rate("rm -r", znodes, "rm", "-r", copy)
        bench.keystrokes("keystroke to echo", lambda: None)
        if own is not None:
            bench.keystrokes("keystroke to echo, server stopped", partial(own.signal, signal.SIGSTOP))
        else:
            with connect(server, session_timeout_ms=60_000) as zk:
                zk.delete_tree(TOP)


if __name__ == "__main__":
    main()
