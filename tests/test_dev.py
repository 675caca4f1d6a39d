"""`zabpy dev` with children that answer as servers do, but are none: what it starts, it ends."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from zabpy.dev import DevError, ask, run, status_line

#: Serves `srvr` on the client port of the config it is given, after a line to stderr.
SERVER = r"""
import socket, sys
text = open(sys.argv[1]).read()
port = int(text.split("clientPort=")[1].split()[0])
if port == DYING: sys.exit("zabpy: no luck")
print("up on", port, file=sys.stderr, flush=True)
with socket.create_server(("127.0.0.1", port)) as listener:
    while True:
        link = listener.accept()[0]
        link.recv(4)
        link.sendall(b"Zookeeper version: 3.8.0-x, built on\nMode: follower\nZxid: 0x7\nNode count: 5\n")
        link.close()
"""

#: Runs `zabpy.dev.run` with such children.
DEV = """
import sys
from zabpy.dev import run
command = lambda config: [sys.executable, {server!r}, config]
sys.exit(run(3, 0, {directory!r}, lambda text: print(text, flush=True), command))
"""


def server_script(tmp_path: Path, dying: int = 0) -> str:
    path = tmp_path / "server.py"
    path.write_text(SERVER.replace("DYING", str(dying)))
    return str(path)


@pytest.fixture
def dev(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    code = DEV.format(directory=str(tmp_path / "data"), server=server_script(tmp_path))
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    yield process
    process.kill()
    process.communicate()


def connection_string(process: subprocess.Popen[str]) -> list[tuple[str, int]]:
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("127.0.0.1:"):
            return [(host, int(port)) for host, _, port in (each.partition(":") for each in line.strip().split(","))]
    raise AssertionError("it ended without a connection string")


def wait_until_gone(ports: list[tuple[str, int]]) -> None:
    give_up = time.monotonic() + 10
    for host, port in ports:
        while True:
            try:
                ask(host, port, "srvr", timeout_s=1)
            except OSError:
                break
            assert time.monotonic() < give_up, f"something still answers at {port}"


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_it_says_where_all_serve_numbers_their_lines_and_ends_them(dev: subprocess.Popen[str], how: int) -> None:
    ports = connection_string(dev)
    assert len(ports) == 3
    assert all("Mode: follower" in ask(host, port, "srvr") for host, port in ports)
    dev.send_signal(how)
    _, lines = dev.communicate(timeout=20)
    assert dev.returncode == 0
    assert sorted(lines.split()[::5]) == ["1", "2", "3"]
    assert f"2 | up on {ports[1][1]}\n" in lines
    wait_until_gone(ports)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the kernel's help is Linux's")
def test_nothing_is_left_when_it_is_killed(dev: subprocess.Popen[str]) -> None:
    ports = connection_string(dev)
    dev.kill()
    dev.wait()
    wait_until_gone(ports)


def test_a_server_that_ends_early_ends_all(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    script = server_script(tmp_path, dying=port)
    with pytest.raises(DevError, match="server 1 ended before it was serving"):
        run(1, port, None, print, lambda config: [sys.executable, script, config])


def test_a_port_in_use_is_named_and_nothing_is_written(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(
            DevError, match=rf"port {port} on 127.0.0.1 for the clients of server 1: Address already in"
        ):
            run(1, port, str(tmp_path / "new"), print)
    assert os.listdir(tmp_path) == []


def test_a_directory_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(DevError, match="expected an empty directory, or one that `zabpy dev` made"):
        run(3, 0, str(tmp_path), print)
    with pytest.raises(DevError, match="Not a directory: expected a directory"):
        run(3, 0, str(tmp_path / "thesis.txt"), print)
    assert os.listdir(tmp_path) == ["thesis.txt"]


def test_a_directory_for_three_servers_is_not_taken_for_five(tmp_path: Path) -> None:
    for number in "123":
        (tmp_path / number).mkdir()
        (tmp_path / number / "zoo.cfg").touch()
    with pytest.raises(DevError, match="it holds 3 servers, not 5: expected --servers 3"):
        run(5, 0, str(tmp_path), print)


def test_a_status_line_says_why_there_is_no_status() -> None:
    assert status_line("nowhere") == (False, "nowhere: expected HOST:PORT")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    assert status_line(f"127.0.0.1:{port}") == (False, f"127.0.0.1:{port}: not reachable: Connection refused")


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (
            b"This ZooKeeper instance is not currently serving requests\n",
            "not serving: This ZooKeeper instance is not currently serving requests",
        ),
        (
            b"srvr is not executed because it is not in the whitelist.\n",
            "no status: srvr is not executed because it is not in the whitelist.",
        ),
        (b"", "no status: no answer"),
        (b"SSH-2.0-x\r\n", "no status: SSH-2.0-x"),
        (b"a\x1b[2Jb\x00", "no status: a?[2Jb?"),  # nothing that a terminal would obey
        (b"\x15\x03\x03\x00\x02\x02\x46", "no status: it takes nothing but TLS on this port"),
    ],
)
def test_a_status_line_of_what_answers_otherwise(answer: bytes, told: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as end:

        def serve() -> None:
            link, _ = end.accept()
            with link:
                link.recv(4)
                link.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        server = f"127.0.0.1:{end.getsockname()[1]}"
        assert status_line(server) == (False, f"{server}: {told}")
        thread.join()
