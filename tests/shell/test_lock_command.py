"""``lock … -- COMMAND`` with real servers and real processes, killed and stopped: never two commands at a time."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from shell.line import quoted
from tests.interop.ensembles import serves
from zabpy.bench.systems import Servers

from .three_servers import TIMEOUT_MS, hosts_of, wait, wait_all

#: How long five shells contend while servers are killed; longer to be surer.
SECONDS = float(os.environ.get("ZABPY_LOCK_SECONDS", "8"))
SHELLS = 5
ALONE = Path(__file__).with_name("alone.py")
HERE = Path(__file__).parents[2]


def open_shell(servers: Servers, *lines: str, timeout_ms: int = TIMEOUT_MS) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "tests.shell.lock_shell", hosts_of(servers), str(timeout_ms), *lines],
        cwd=HERE,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def runs(pid: int) -> bool:
    """Not so of one that has ended, and that nobody has buried yet."""
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def pid_in(file: Path) -> int:
    """What the command has written there when it has begun."""
    wait(lambda: file.exists() and file.read_text().endswith("\n"))
    return int(file.read_text())


def test_five_shells_while_servers_and_shells_are_killed(shell_servers: Servers, tmp_path: Path) -> None:
    rng = random.Random(5)
    file = tmp_path / "held"
    file.touch()
    lines = [f"lock /five --grace 300ms -- {sys.executable} -I -S {ALONE} {file} 40"] * 10_000
    shells = [open_shell(shell_servers, *lines) for _ in range(SHELLS)]

    def log() -> list[list[str]]:
        return [entry.split() for entry in Path(f"{file}.log").read_text().splitlines()]

    wait(lambda: Path(f"{file}.log").exists())
    end = time.monotonic() + SECONDS
    try:
        while time.monotonic() < end:
            time.sleep(rng.uniform(0.2, 1.5))
            down = rng.choice(list(shell_servers.client_ports))
            shell_servers.kill(down)
            time.sleep(rng.uniform(0, 1.0))
            at = rng.randrange(SHELLS)
            if rng.random() < 0.3:
                shells[at].kill()
            elif rng.random() < 0.3:
                shells[at].send_signal(signal.SIGSTOP)
            shell_servers.start(down)
            wait(lambda: serves(shell_servers.client_ports[down]), 60)  # noqa: B023
            for at, each in enumerate(shells):
                each.send_signal(signal.SIGCONT)
                if each.poll() is not None:  # killed, or it had lost its lock and ended with that
                    each.communicate()
                    shells[at] = open_shell(shell_servers, *lines)
        before = len(log())
        wait(lambda: len(log()) >= before + 3 * SHELLS, 60)  # all goes on
    finally:
        for each in shells:
            each.kill()
            each.communicate()
    assert [word for word, _, _ in log() if word != "begin"] == []
    tokens = [int(token) for _, token, _ in log()]
    assert tokens == sorted(set(tokens))
    wait(lambda: not any(runs(int(pid)) for _, _, pid in log()), 10)


def test_a_command_is_ended_before_the_session_is_over(shell_servers: Servers, tmp_path: Path) -> None:
    """It does not listen to SIGTERM, so it is killed; a child of it, too. It has as much grace as the session has."""
    ports = list(shell_servers.client_ports)
    child, grandchild, told = tmp_path / "child", tmp_path / "grandchild", tmp_path / "told"
    script = f"trap 'date +%s%3N > {told}' TERM; (trap '' TERM; sh -c 'echo $PPID' > {grandchild}; sleep 60) & "
    script += f"echo $$ > {child}; while :; do wait; done"
    shell = open_shell(shell_servers, f'lock /ended --grace 5s -- sh -c "{script}"')
    pids = [pid_in(child), pid_in(grandchild)]
    try:
        time.sleep(0.5)
        before = time.monotonic()
        for id in ports:
            shell_servers.kill(id)
        wait(lambda: told.exists() and told.read_text())
        warned = time.monotonic()
        assert all(map(runs, pids))
        wait(lambda: not any(map(runs, pids)), 10)
        assert 0.2 < time.monotonic() - warned < TIMEOUT_MS / 4000
        assert time.monotonic() - before < TIMEOUT_MS / 1000
        assert shell.wait(10) == 9
        assert shell.stderr is not None
        assert "lock: the lock /ended: " in shell.stderr.read()
    finally:
        shell.kill()
        shell.communicate()
        for id in ports:
            shell_servers.start(id)
        wait_all(shell_servers)


def test_a_lock_whose_znode_is_deleted_ends_the_command(shell_servers: Servers, tmp_path: Path) -> None:
    child = tmp_path / "child"
    shell = open_shell(shell_servers, f"lock /gone -- sh -c 'echo $$ > {child}; exec sleep 60'", timeout_ms=30_000)
    pid = pid_in(child)
    other = open_shell(shell_servers, *[f"lock /gone --try -- true || {LOSE}"])
    assert other.wait(30) == 0, other.communicate()
    assert shell.wait(10) == 9
    assert not runs(pid)
    assert "was deleted" in shell.communicate()[1]
    other.communicate()


LOSE = f"lock /delete -- {sys.executable} -m tests.shell.delete_children /gone"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signals_to_the_shell_are_for_the_command(
    shell_servers: Servers, tmp_path: Path, number: signal.Signals
) -> None:
    child = tmp_path / "child"
    name = number.name.removeprefix("SIG")
    script = f"trap 'kill $!; exit 7' {name}; sleep 60 & echo $$ > {child}; wait"
    shell = open_shell(shell_servers, f'lock /signals -- sh -c "{script}"')
    pid_in(child)
    shell.send_signal(number)
    assert shell.wait(10) == 7, shell.communicate()
    shell.communicate()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_a_command_does_not_outlive_its_shell(shell_servers: Servers, tmp_path: Path, how: signal.Signals) -> None:
    child = tmp_path / "child"
    shell = open_shell(
        shell_servers, f"lock /outlive --grace 400ms -- sh -c 'trap : TERM; echo $$ > {child}; while :; do :; done'"
    )
    pid = pid_in(child)
    before = time.monotonic()
    shell.send_signal(how)
    wait(lambda: not runs(pid), 5)
    took = time.monotonic() - before
    assert took < (1.5 if how == signal.SIGKILL else TIMEOUT_MS / 1000), took
    if how == signal.SIGSTOP:
        shell.send_signal(signal.SIGCONT)
        assert shell.wait(10) == 9
    shell.communicate()


def test_kill_at_once(shell_servers: Servers, tmp_path: Path) -> None:
    child, told = tmp_path / "child", tmp_path / "told"
    script = f"trap 'touch {told}; exit' TERM; echo $$ > {child}; while :; do sleep 0.05; done"
    shell = open_shell(shell_servers, f'lock /at-once --kill-at-once -- sh -c "{script}"')
    pid = pid_in(child)
    shell.kill()
    wait(lambda: not runs(pid), 2)
    assert not told.exists()
    shell.communicate()


def test_what_a_command_leaves_behind_ends_before_the_lock_is_given_back(
    shell_servers: Servers, tmp_path: Path
) -> None:
    child = tmp_path / "child"
    script = f"sh -c 'echo $$ > {child}; exec sleep 60' & sleep 0.3"
    line = f"lock /left -- sh -c {quoted(script)}"
    shell = open_shell(shell_servers, line)
    pid = pid_in(child)
    assert shell.wait(10) == 0, shell.communicate()
    assert not runs(pid)
    shell.communicate()
