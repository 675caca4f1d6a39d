"""Run kazoo's own test suite against servers that a command starts; `make conformance` is this.

Anything that is no option of ours goes to pytest; test_client.py, test_client.py::TestClient and the like pick tests.
"""

import argparse
import ctypes
import fcntl
import hashlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from tests.conformance.results import Result, compare, from_junit, from_progress, print_table

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
RESULTS_KEPT = 20
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36  # linux/prctl.h
LIBC = ctypes.CDLL(None)


def say(*words: object) -> None:
    print("conformance:", *words, flush=True)


def options() -> tuple[argparse.Namespace, list[str]]:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False, usage="%(prog)s [options] [for pytest]")
    add = parser.add_argument
    add(
        "--server",
        default=f"{ROOT}/.venv/bin/zabpy serve {{config}}",
        help="the command that runs one server in the foreground, with {config} and, for a JVM, {jvmflags} in it "
        "(this checkout's zabpy); split as a shell would, but no shell runs it",
    )
    add("--cluster-size", type=int, default=3, metavar="N", help="servers (3); 1 is a standalone server")
    add("--observer-start-id", type=int, default=-1, metavar="ID", help="servers from this id on are observers (none)")
    add("--zk-version", default="3.8.0", metavar="X.Y.Z", help="what the server calls itself in `envi` (3.8.0)")
    add("--keystore", choices=("jks", "pem"), default="jks", help="form of the TLS stores (jks, as kazoo makes them)")
    add("--config", action="append", default=[], metavar="KEY=VALUE", help="one more entry for zoo.cfg; repeatable")
    add("--port-offset", type=int, default=0, metavar="PORT", help="first port (a free range from 20000 to 30000)")
    add("--test-timeout", type=float, default=180, metavar="S", help="limit for one test (180)")
    add("--max-time", type=float, default=3600, metavar="S", help="limit for the run, then it is reported (3600)")
    add("--gate", action="store_true", help="exit 0 if every test that passes with Apache's server passes here")
    add("--cache", type=Path, default=ROOT / "build" / "conformance", metavar="DIR", help="environment and results")
    add("--out", type=Path, metavar="DIR", help="where the results go (a new folder in the cache)")
    return parser.parse_known_args()


def environment_of_suite(cache: Path) -> Path:
    """The Python of an environment with requirements.txt in it, made if there is none."""
    requirements = HERE / "requirements.txt"
    key = hashlib.sha256(requirements.read_bytes() + sys.version.encode()).hexdigest()[:12]
    where = cache / f"venv-{key}"
    cache.mkdir(parents=True, exist_ok=True)
    with open(cache / "venv.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (where / "complete").exists():
            say("installing the suite into", where)
            subprocess.run([sys.executable, "-m", "venv", "--clear", where], check=True)
            pip = [str(where / "bin" / "python"), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
            if subprocess.run([*pip, "-r", str(requirements)], stdin=subprocess.DEVNULL).returncode:
                sys.exit(f"conformance: pip could not install {requirements}")
            (where / "complete").touch()
    return where / "bin" / "python"


def free_port_offset(cluster_size: int) -> int:
    """kazoo gives server i the ports from offset + 10 i to offset + 10 i + 4."""
    for attempt in range(200):
        offset = 20_000 + (os.getpid() * 97 + attempt * 100) % 10_000 // 100 * 100
        held: list[socket.socket] = []
        try:
            for port in (offset + 10 * i + j for i in range(cluster_size) for j in range(5)):
                held.append(socket.create_server(("127.0.0.1", port)))
        except OSError:
            continue
        else:
            return offset
        finally:
            for each in held:
                each.close()
    sys.exit("conformance: no free range of ports; give --port-offset")


def descendants() -> set[int]:
    parents: dict[int, int] = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            parents[int(name)] = int(Path("/proc", name, "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue  # it has ended meanwhile
    found: set[int] = set()
    while grown := {pid for pid, parent in parents.items() if parent in found | {os.getpid()}} - found:
        found |= grown
    return found


def end_descendants() -> int:
    """Nothing that a run started outlives it: orphans come to us, who are their subreaper. How many there were."""
    asked: set[int] = set()
    for number in (signal.SIGTERM, signal.SIGKILL):
        signalled: set[int] = set()
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            try:
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
            except ChildProcessError:
                return len(asked)
            for pid in descendants() - signalled:
                try:
                    os.kill(pid, number)
                except ProcessLookupError:
                    continue
                signalled.add(pid)
            asked |= signalled
            time.sleep(0.05)
    return len(asked)


class Interrupted(Exception):
    """The run was to end before its end: why, and with which exit status."""

    def __init__(self, why: str, status: int) -> None:
        super().__init__(why)
        self.status = status


def wait_for(process: subprocess.Popen[bytes], progress: Path, seconds_max: float, quiet_seconds_max: float) -> int:
    """pytest's exit status. Raises Interrupted at a limit; a pytest that is done but does not end is killed."""
    started = time.monotonic()
    finished_at = 0.0
    while True:
        try:
            return process.wait(1)
        except subprocess.TimeoutExpired:
            pass
        now = time.monotonic()
        quiet, last = now - started, ""
        if progress.exists():
            quiet, last = time.time() - progress.stat().st_mtime, progress.read_text().rpartition("\n{")[2]
        if '"finish"' in last:
            finished_at = finished_at or now
            if now - finished_at > 60:
                say("pytest is done but does not end; killed")
                process.kill()
                return int(json.loads("{" + last.lstrip("{"))["exit"])
        elif now - started > seconds_max:
            raise Interrupted(f"over the limit of {seconds_max:.0f} s", 124)
        elif quiet > quiet_seconds_max:
            raise Interrupted(f"nothing has moved for {quiet:.0f} s; last: {last}", 124)


@contextmanager
def pytest_running(
    command: list[str], environment: dict[str, str], directory: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """pytest, which is asked to report and end when we are interrupted, and ends the servers if we are killed."""

    def in_child() -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # a shell's job in the background has it ignored
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)

    process = subprocess.Popen(
        command,
        env=environment,
        cwd=directory,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=in_child,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def results_folder(asked: argparse.Namespace) -> Path:
    out: Path | None = asked.out
    if out is None:
        results = asked.cache / "results"
        results.mkdir(parents=True, exist_ok=True)
        for old in sorted(results.iterdir())[: -RESULTS_KEPT + 1]:
            shutil.rmtree(old)
        out = Path(tempfile.mkdtemp(prefix=time.strftime("%Y%m%d-%H%M%S-"), dir=results))
    elif out.exists() and any(out.iterdir()):
        sys.exit(f"conformance: {out} is not empty")
    (out / "servers").mkdir(parents=True)
    return out.resolve()


def report(out: Path, junit: Path, progress: Path, cluster_size: int) -> list[str]:
    """Print the outcome and keep it; what passes with Apache's server and not here."""
    try:
        results: dict[str, Result] = from_junit(str(junit))
    except (OSError, ET.ParseError):
        results = from_progress(str(progress)) if progress.exists() else {}
    (out / "results.json").write_text(json.dumps({name: each._asdict() for name, each in results.items()}, indent=1))
    if not results:
        return ["no test ended"]
    print_table(results)
    return compare(results, cluster_size)


def main() -> int:
    asked, rest = options()
    LIBC.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    python = environment_of_suite(asked.cache)
    find = [str(python), "-c", "import kazoo, os; print(os.path.dirname(kazoo.__file__))"]
    suite = Path(subprocess.run(find, check=True, capture_output=True, text=True).stdout.strip())
    out = results_folder(asked)
    junit, progress = out / "junit.xml", out / "progress.jsonl"

    tests = [word for word in rest if re.match(r"(kazoo/tests/)?test_\w+\.py(::|$)", word)]
    command = [str(python), "-B", str(HERE / "plugin.py"), "-c", str(HERE / "pytest.ini"), f"--rootdir={suite.parent}"]
    command += ["-p", "plugin", "-p", "no:cacheprovider", "--import-mode=importlib", f"--junitxml={junit}"]
    command += [f"--timeout={asked.test_timeout:g}", "--timeout-method=signal"]
    command += [word for word in rest if word not in tests and word != "--"]
    command += [str(suite / "tests" / test.removeprefix("kazoo/tests/")) for test in tests or [""]]

    temporary = tempfile.mkdtemp(prefix="conformance-")
    told = {
        "server": asked.server,
        "directory": os.getcwd(),  # of the servers; pytest's own is the folder that holds kazoo
        "keystore": asked.keystore,
        # nothing listens beyond this machine
        "config": [
            f"{key}=127.0.0.1" for key in ("clientPortAddress", "secureClientPortAddress", "admin.serverAddress")
        ]
        + asked.config,
        "logs": str(out / "servers"),
        "temporary": temporary,
        "progress": str(progress),
        # With CI and a version the suite believes the version and skips nothing for it.
        "suite_environment": {
            "CI": "true",
            "ZOOKEEPER_VERSION": asked.zk_version,
            "ZOOKEEPER_PATH": str(suite),  # has only to be there: our command replaces what it is for
            "ZOOKEEPER_CLUSTER_SIZE": str(asked.cluster_size),
            "ZOOKEEPER_OBSERVER_START_ID": str(asked.observer_start_id),
            "ZOOKEEPER_PORT_OFFSET": str(asked.port_offset or free_port_offset(asked.cluster_size)),
        },
        "suite_environment_without": ["ZOOKEEPER_CLASSPATH", "ZOOKEEPER_JAAS_AUTH", "ZOOKEEPER_LOCAL_SESSION_RO"],
    }

    def on_sigterm(_: int, __: FrameType | None) -> None:
        raise Interrupted("terminated", 143)

    signal.signal(signal.SIGTERM, on_sigterm)
    started = time.monotonic()
    status, whole = 1, False
    try:
        with pytest_running(command, {**os.environ, "CONFORMANCE": json.dumps(told)}, suite.parent) as process:
            # Quiet for one test's limit, its teardown's, and some more: it hangs.
            status = wait_for(process, progress, asked.max_time, asked.test_timeout + 240)
            whole = status in (0, 1)
    except Interrupted as interruption:
        say(interruption)
        status = interruption.status
    except KeyboardInterrupt:
        say("interrupted")
        status = 130
    finally:
        if left := end_descendants():
            say(f"ended {left} processes that were left")
        shutil.rmtree(temporary, ignore_errors=True)

    worse = report(out, junit, progress, asked.cluster_size)
    say(f"{time.monotonic() - started:.0f} s; results in {out}")
    return bool(worse) if asked.gate and whole else status


if __name__ == "__main__":
    sys.exit(main())
