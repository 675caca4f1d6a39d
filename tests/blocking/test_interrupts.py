"""Ctrl-C during a call, and programs that end with a client open."""

import signal
import subprocess
import time

import pytest

from tests.blocking.conftest import Run, eventually
from zabpy.blocking import Client

SECONDS_MAX = 30
BEGIN = """
import sys, threading, time
import zabpy, zabpy.blocking
zk = zabpy.blocking.connect(sys.argv[1]).open()
"""


def ended(process: "subprocess.Popen[str]") -> tuple[int, str, str]:
    out, err = process.communicate(timeout=SECONDS_MAX)
    return process.returncode, out, err


def said(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


@pytest.mark.parametrize(
    "waits",
    [
        "zk.exists_watched('/never')[1].wait()",
        "next(events), next(events)",
        "zk.lock('/busy').acquire()",
        "zk.lock('/busy').__enter__()",
        "zk.registered('/taken').__enter__()",
    ],
)
def test_ctrl_c_ends_a_call_and_the_client_goes_on(program: Run, hosts: str, zk: Client, waits: str) -> None:
    code = f"""{BEGIN}
with zk.watch("/x") as events:
    try:
        print("waits")
        {waits}
    except KeyboardInterrupt:
        began = time.monotonic()
        print("interrupted")
    print(zk.create("/mine", ephemeral=True).path)
    print(len(zk.lock("/busy").queue()), zk.lock("/free").acquire().lost.is_set())
zk.close()
print(threading.active_count(), time.monotonic() - began < 5)
"""
    zk.create("/taken")
    with zk.lock("/busy"):
        process = program(code, hosts)
        assert said(process) == "waits"
        time.sleep(0.3)  # so that it truly waits; where it does not yet, the test only tests less
        process.send_signal(signal.SIGINT)
        code_, out, err = ended(process)
        assert (code_, err) == (0, "")
        assert out.split() == ["interrupted", "/mine", "1", "False", "1", "True"]
    assert zk.exists("/mine") is None


def test_ctrl_c_when_no_server_answers(program: Run) -> None:
    """A call that waits for a server can be given up, and so can the end of the client; a second one is not needed."""
    code = """
import zabpy.blocking
from zabpy.testing import Ensemble
with Ensemble(1) as ensemble:
    with zabpy.blocking.connect(ensemble.hosts, request_timeout_ms=600_000, session_timeout_ms=600_000) as zk:
        ensemble.kill(1)
        print("waits")
        zk.get("/")
"""
    process = program(code)
    assert said(process) == "waits"
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    began = time.monotonic()
    code_, _, err = ended(process)
    assert code_ != 0 and err.strip().endswith("KeyboardInterrupt")
    assert time.monotonic() - began < 10


@pytest.mark.parametrize(
    "end",
    [
        "",
        "sys.exit(0)",
        "threading.Thread(target=zk.exists_watched('/never')[1].wait, daemon=True).start(); time.sleep(0.2)",
        "held = zk.lock('/lock').acquire(); events = zk.watch('/').__enter__(); next(events)",
        "zk.registered('/reg').__enter__()",
        "del zk",
    ],
)
def test_a_program_that_ends_with_its_client_open_ends_the_session(
    program: Run, hosts: str, zk: Client, end: str
) -> None:
    process = program(f"{BEGIN}\nzk.create('/mine', ephemeral=True)\n{end}", hosts)
    began = time.monotonic()
    code, _, err = ended(process)
    assert code == 0
    assert "daemon" in end or err == "" or "ClosedClientError" in err
    assert time.monotonic() - began < 15
    eventually(lambda: zk.exists("/mine") is None)  # at once: the session's time would be much longer
    assert zk.lock("/lock").queue() == []


def test_an_exception_ends_the_program_as_ever(program: Run, hosts: str) -> None:
    code, _, err = ended(program(f"{BEGIN}\nwith zk, zk.lock('/l'): raise ValueError('mine')", hosts))
    assert code == 1 and err.strip().endswith("ValueError: mine")


def test_a_fork_that_ends_as_programs_do_ends_quietly(program: Run, hosts: str, zk: Client) -> None:
    code = f"""{BEGIN}
import os
zk.create("/mine", ephemeral=True)
with zk.watch("/") as events:
    next(events)
    pid = os.fork()
    if pid == 0:
        sys.exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    print(zk.exists("/mine") is not None)
    pid = os.fork()
    if pid == 0:
        zk.after_fork()
        zk.create("/child", ephemeral=True)
        sys.exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    print(zk.exists("/mine") is not None, zk.exists("/child"))
"""
    code_, out, err = ended(program(code, hosts))
    assert (code_, out, err) == (0, "True\nTrue None\n", "")


def test_two_clients_open_at_the_end(program: Run, hosts: str) -> None:
    code, _, err = ended(program(f"{BEGIN}\nother = zabpy.blocking.connect(sys.argv[1]).open()", hosts))
    assert (code, err) == (0, "")
