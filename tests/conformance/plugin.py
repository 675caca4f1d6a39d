"""A plugin for pytest: kazoo's own tests, unchanged, against servers that a command of ours starts.

kazoo's harness (`ManagedZooKeeper.run` in kazoo/testing/common.py) writes zoo.cfg, myid, a JAAS file and key stores
into a fresh folder and calls ``Popen(["java", …, "-Dkey=value", …, "org…QuorumPeerMain", "<zoo.cfg>"])``. The plugin
replaces only the `subprocess` which that one module sees: the command line is taken apart and our command started
instead. What is written, and when servers stop, restart and lose their data, stays kazoo's.

Runs in the suite's environment, started by run.py, which says by one variable, CONFORMANCE, what is wanted.
"""

import atexit
import base64
import importlib
import json
import logging
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Generator
from types import FrameType
from typing import Any

import pytest

if __name__ == "__main__":  # pytest, with this folder importable
    sys.exit(pytest.console_main())

ASKED: dict[str, Any] = json.loads(os.environ.pop("CONFORMANCE"))
#: What a server inherits: the caller's environment without what the suite is told.
SERVER_ENVIRONMENT = dict(os.environ)
os.environ.update(ASKED["suite_environment"])
for _name in ASKED["suite_environment_without"]:
    os.environ.pop(_name, None)
tempfile.tempdir = ASKED["temporary"]

import kazoo.testing.common as common  # noqa: E402  # reads the environment when it is imported
import kazoo.testing.harness as harness  # noqa: E402
from kazoo.client import KazooClient  # noqa: E402

STOP_SECONDS_MAX = 15.0
PREFLIGHT_SECONDS_MAX = 60.0

_lock = threading.RLock()
_running: list["ServerProcess"] = []
_started = 0
_killed: list[str] = []


class ServerProcess(subprocess.Popen[bytes]):
    """Stands in for the java process that the harness believes it starts."""

    def __init__(self, args: list[str], **_: object) -> None:
        global _started
        config = args[-1]
        flags = [word for word in args if word.startswith("-D")]
        entries = _entries(config)
        with open(os.path.join(entries["dataDir"], "myid")) as file:
            id = file.read().strip()
        lines = _rewrite(config, _changes(entries, flags, os.path.dirname(config)))
        command: list[str] = []
        for word in shlex.split(ASKED["server"]):
            command += flags if word == "{jvmflags}" else [word.replace("{config}", config)]
        environment = {**SERVER_ENVIRONMENT, "SERVER_JVMFLAGS": " ".join(flags)}
        with _lock:
            _started += 1
            self.log = os.path.join(ASKED["logs"], f"{_started:04d}-server{id}.log")
        # The harness shows the end of zookeeper.log in the server's folder when a test fails.
        shown = os.path.join(os.path.dirname(config), "zookeeper.log")
        if os.path.islink(shown):
            os.unlink(shown)
        if not os.path.exists(shown):
            os.symlink(self.log, shown)
        test = os.environ.get("PYTEST_CURRENT_TEST", "(no test)")
        with open(self.log, "ab", buffering=0) as log:
            log.write("".join(f"## {line}\n" for line in (test, shlex.join(command), *lines)).encode())
            super().__init__(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                cwd=ASKED["directory"],
                start_new_session=True,
            )
        self.label = f"server {id} ({os.path.basename(self.log)})"
        self._finished = False
        with _lock:
            _running.append(self)

    # The harness stops a server with terminate(), then wait() without a limit.

    def terminate(self) -> None:
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        self._signal(signal.SIGKILL)

    def wait(self, timeout: float | None = None) -> int:
        if timeout is not None:
            return super().wait(timeout)
        try:
            super().wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            _killed.append(self.label)
            self.kill()
            super().wait()
        if not self._finished:
            self.kill()  # what the server may have left in its process group
            self._finished = True
            with _lock:
                if self in _running:
                    _running.remove(self)
        return self.returncode

    def _signal(self, number: int) -> None:
        if not self._finished:
            try:
                os.killpg(self.pid, number)
            except ProcessLookupError:
                pass  # all of the group is gone


def _entries(config: str) -> dict[str, str]:
    with open(config) as file:
        pairs = [line.strip().partition("=") for line in file if not line.startswith("#")]
    return {key: value for key, equals, value in pairs if equals}


def _changes(entries: dict[str, str], flags: list[str], folder: str) -> dict[str, str | None]:
    """What zoo.cfg says otherwise; None takes an entry out.

    Three settings are properties of the JVM in ZooKeeper. A server without a JVM finds them in zoo.cfg, under the names
    that ZooKeeper takes there (an unknown entry ``k`` becomes its property ``zookeeper.k``) or else their own.
    """
    changes: dict[str, str | None] = _pem_stores(entries, folder) if ASKED["keystore"] == "pem" else {}
    for flag in flags:
        name, _, value = flag.removeprefix("-D").partition("=")
        if name in ("java.security.auth.login.config", "readonlymode.enabled"):
            changes[name] = value
        elif name.startswith("zookeeper.") and not name.startswith(("zookeeper.log.", "zookeeper.root.")):
            changes[name.removeprefix("zookeeper.")] = value
    for entry in ASKED["config"]:
        name, _, value = entry.partition("=")
        changes[name.strip()] = value.strip()
    return changes


def _rewrite(config: str, changes: dict[str, str | None]) -> list[str]:
    with open(config) as file:
        lines = [line for line in file.read().splitlines() if line and line.partition("=")[0].strip() not in changes]
    lines += [f"{key}={value}" for key, value in changes.items() if value is not None]
    with open(config, "w") as file:
        file.write("\n".join(lines) + "\n")
    return lines


def _pem_stores(entries: dict[str, str], folder: str) -> dict[str, str | None]:
    """kazoo's two JKS stores as PEM files. The key in it is not encrypted, so there are no passwords."""
    jks: Any = importlib.import_module("jks")

    def block(label: str, der: bytes) -> str:
        body = "\n".join(textwrap.wrap(base64.b64encode(der).decode(), 64))
        return f"-----BEGIN {label}-----\n{body}\n-----END {label}-----\n"

    changes: dict[str, str | None] = {}
    for kind in ("keyStore", "trustStore"):
        store = jks.KeyStore.load(entries[f"ssl.{kind}.location"], entries[f"ssl.{kind}.password"])
        path = os.path.join(folder, f"{kind.lower()}.pem")
        with open(path, "w") as file:
            for key in store.private_keys.values():
                file.write(block("PRIVATE KEY", key.pkey_pkcs8))
                file.writelines(block("CERTIFICATE", der) for _, der in key.cert_chain)
            file.writelines(block("CERTIFICATE", entry.cert) for entry in store.certs.values())
        changes |= {f"ssl.{kind}.location": path, f"ssl.{kind}.password": None}
    return changes


class _Subprocess:
    """What kazoo.testing.common sees as its module `subprocess`."""

    def __getattr__(self, name: str) -> Any:
        return getattr(subprocess, name)

    Popen = ServerProcess


common.subprocess = _Subprocess()


def _kill_all() -> None:
    with _lock:
        servers = list(_running)
    for server in servers:
        server.kill()


atexit.register(_kill_all)  # before the harness's own handler is registered, so it runs after it


def _on_sigterm(_: int, __: FrameType | None) -> None:
    _kill_all()
    os._exit(143)


signal.signal(signal.SIGTERM, _on_sigterm)


def _note(**what: object) -> None:
    """A line for run.py, which sees from it that something moves, and what was tested should pytest be killed."""
    with open(ASKED["progress"], "a") as file:
        file.write(json.dumps(what) + "\n")


def _preflight() -> None:
    """Ends the run at once, with the servers' last lines, when the command gives no session."""
    cluster = harness.get_global_cluster()
    cluster.start()
    servers = list(_running)
    client = KazooClient(hosts=",".join(server.address for server in cluster), timeout=15)
    deadline = time.monotonic() + PREFLIGHT_SECONDS_MAX
    problem = ""
    try:
        client.start_async()
        while not client.connected and not problem:
            if time.monotonic() > deadline:
                problem = f"no session within {PREFLIGHT_SECONDS_MAX:.0f} s"
            elif all(server.poll() is not None for server in servers):
                problem = "every server has ended: " + ", ".join(f"exit {server.returncode}" for server in servers)
            time.sleep(0.1)
    finally:
        client.stop()
        client.close()
    if problem:
        for server in servers:
            with open(server.log, errors="replace") as log:
                print(f"---- {server.label}, last lines:", *log.readlines()[-25:], sep="\n")
        cluster.terminate()
        harness.CLUSTER = None
        pytest.exit(f"conformance: {problem}", returncode=4)


def pytest_runtestloop(session: pytest.Session) -> None:
    _note(event="start", tests=len(session.items))
    if session.items and not session.config.option.collectonly:
        capture = session.config.pluginmanager.getplugin("capturemanager")
        assert capture is not None
        with capture.global_and_fixture_disabled():
            _preflight()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_logstart(nodeid: str) -> None:
    _note(event="test", id=nodeid)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown() -> Generator[None, Any, Any]:
    # pytest-timeout's alarm rings once: after one that rang in the test, the teardown needs one of its own.
    if signal.getitimer(signal.ITIMER_REAL)[0] == 0:
        if signal.getsignal(signal.SIGALRM) not in (signal.SIG_DFL, signal.SIG_IGN, None):
            signal.setitimer(signal.ITIMER_REAL, 60)
    return (yield)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when == "call" or report.outcome != "passed":
        _note(event="result", id=report.nodeid, outcome=report.outcome, seconds=round(report.duration, 3))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if _killed:
        terminalreporter.write_sep("-", "servers")
        terminalreporter.write_line(
            f"{len(_killed)} did not end within {STOP_SECONDS_MAX:.0f} s of SIGTERM: {', '.join(_killed[:10])}"
        )


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(exitstatus: int) -> None:
    logging.disable(logging.CRITICAL)  # clients that tests left behind go on reconnecting
    _note(event="finish", exit=int(exitstatus))
