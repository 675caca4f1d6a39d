"""Clients as programs: how each is found, made and spoken to."""

import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from functools import cache
from glob import glob
from pathlib import Path

import pytest

from zabpy.bench.systems import APACHE_JARS

HERE = Path(__file__).parent
BUILD = HERE.parent.parent / "build"
REPLY_SECONDS = 30.0
CONNECTION_LOSS, SESSION_MOVED, NO_NODE, NO_AUTH, BAD_VERSION, NODE_EXISTS = -4, -118, -101, -102, -103, -110
#: A JVM that starts soon and stays small.
JVM = ["-Xmx96m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]


class Refused(Exception):
    """The client says that the server said no, or that it lost its connection."""

    def __init__(self, code: int, command: str) -> None:
        super().__init__(f"{code} to {command}")
        self.code = code


class Lines:
    """A program that reads and writes lines; what it writes is read as it comes."""

    def __init__(self, command: Sequence[str], environment: dict[str, str] | None = None, stderr: int | None = None):
        self.said: list[str] = []
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115  # closed with the program
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr or self._errors,
            text=True,
            env={**os.environ, **(environment or {})},
            start_new_session=True,  # a script's JVM is to go with the script
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line.rstrip("\n"))
        self._lines.put(None)

    def send(self, line: str) -> None:
        assert self.process.stdin is not None
        self.said.append(f"> {line}")
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def line(self, seconds: float) -> str | None:
        """The next line; None when there is none in time."""
        try:
            line = self._lines.get(timeout=max(seconds, 0))
        except queue.Empty:
            return None
        if line is None:
            self._lines.put(None)
            raise AssertionError(f"the client has ended\n{self.transcript()}")
        self.said.append(line)
        return line

    def transcript(self) -> str:
        if self._errors.closed:
            return "\n".join(self.said[-60:])
        self._errors.seek(0)
        return "\n".join([*self.said[-60:], self._errors.read()[-4000:]])

    def kill(self) -> None:
        """Without a word to the servers."""
        if self._errors.closed:
            return
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass  # it has ended by itself
        self.process.wait()
        self._reader.join()
        for pipe in (self.process.stdin, self.process.stdout, self._errors):
            assert pipe is not None
            try:
                pipe.close()
            except BrokenPipeError:
                pass  # a line that it never took


class Program(Lines):
    """A client that knows our few commands, see the head of kazoo_client.py."""

    def __init__(self, command: Sequence[str], environment: dict[str, str] | None = None) -> None:
        super().__init__(command, environment)
        self._events: list[str] = []
        self._replies: list[str] = []

    def ask(self, *words: str) -> str:
        self.send(" ".join(words))
        return self.reply(" ".join(words))

    def reply(self, to: str) -> str:
        reply = self.reply_within(REPLY_SECONDS, to)
        assert reply is not None, f"no reply to {to}\n{self.transcript()}"
        return reply

    def reply_within(self, seconds: float, to: str) -> str | None:
        self._read_until(lambda: bool(self._replies), seconds)
        if not self._replies:
            return None
        word, _, rest = self._replies.pop(0).partition(" ")
        if word == "error":
            raise Refused(int(rest), to)
        return rest

    def persist(self, *words: str) -> str:
        """Ask until the client is connected again; for what may be done twice."""
        deadline = time.monotonic() + REPLY_SECONDS
        while True:
            try:
                return self.ask(*words)
            except Refused as refusal:
                if refusal.code != CONNECTION_LOSS or time.monotonic() > deadline:
                    raise
                time.sleep(0.1)

    def event(self, path: str) -> None:
        """Wait for a watch's event."""
        assert self.event_within(REPLY_SECONDS, path), f"no event of {path}\n{self.transcript()}"

    def event_within(self, seconds: float, path: str) -> bool:
        self._read_until(lambda: path in self._events, seconds)
        if path not in self._events:
            return False
        self._events.remove(path)
        return True

    def quit(self) -> None:
        """Close the session and end."""
        self.ask("quit")
        assert self.process.wait(REPLY_SECONDS) == 0, self.transcript()

    def _read_until(self, done: Callable[[], bool], seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not done():
            line = self.line(deadline - time.monotonic())
            if line is None:
                return
            word, _, rest = line.partition(" ")
            if word == "event":
                self._events.append(rest)
            elif word in ("ok", "error"):
                self._replies.append(line)


# How the programs are made: each returns what to run, or skips the test with what is missing.


def kazoo() -> list[str]:
    return [sys.executable, str(HERE / "kazoo_client.py")]


def aiozk() -> list[str]:
    return [sys.executable, str(HERE / "aiozk_client.py")]


def node() -> list[str]:
    modules = BUILD / "node" / "node_modules"
    if not shutil.which("node") or not (modules / "node-zookeeper-client").is_dir():
        pytest.skip("no node-zookeeper-client in build/node: `make build/node` gets it, where npm is")
    return ["env", f"NODE_PATH={modules}", "node", str(HERE / "node" / "client.js")]


@cache
def _compiled(*command: str) -> str:
    """Nothing, or why it could not be compiled."""
    done = subprocess.run(command, capture_output=True, text=True)
    return done.stderr if done.returncode else ""


def c() -> list[str]:
    compiler = shutil.which("cc")
    if not compiler or not os.path.exists("/usr/include/zookeeper/zookeeper.h"):
        pytest.skip("no C compiler or no zookeeper.h: Debian's libzookeeper-mt-dev and gcc")
    BUILD.mkdir(exist_ok=True)
    program = str(BUILD / "interop-c")
    trouble = _compiled(compiler, "-Wall", "-O1", "-DTHREADED", "-o", program, str(HERE / "client.c"), "-lzookeeper_mt")
    assert not trouble, trouble
    return [program]


def curator() -> list[str]:
    jars = [f"{APACHE_JARS}/{name}.jar" for name in ("curator-recipes", "zookeeper", "netty-resolver", "netty-codec")]
    jars += [f"{APACHE_JARS}/netty-transport-native-unix-common.jar", f"{APACHE_JARS}/slf4j-simple.jar"]
    if not shutil.which("javac") or not all(map(os.path.exists, jars)):
        pytest.skip("no javac or no Curator: Debian's default-jdk-headless and libcurator-recipes-java")
    classes = str(BUILD / "interop-java")
    # Curator's jar names the others in its manifest, not all of which Debian's package brings: -proc:none is for those.
    path = ":".join([*jars, *glob(f"{APACHE_JARS}/curator-*.jar"), f"{APACHE_JARS}/zookeeper-jute.jar"])
    trouble = _compiled("javac", "-proc:none", "-nowarn", "-d", classes, "-cp", path, str(HERE / "CuratorClient.java"))
    assert not trouble, trouble
    quiet = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"
    return ["java", *JVM, quiet, "-cp", f"{classes}:{path}", "CuratorClient"]


PROGRAMS: dict[str, Callable[[], list[str]]] = {
    "kazoo": kazoo,
    "aiozk": aiozk,
    "node": node,
    "c": c,
    "curator": curator,
}
