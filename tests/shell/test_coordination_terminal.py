"""`top`, and commands under a lock, in a real terminal."""

import json
import sys
from pathlib import Path

import pytest

from zabpy.bench.systems import Servers

from .conftest import runner
from .screen import CTRL_C, Screen
from .terminals import places, zabsh
from .test_lock_command import runs
from .three_servers import hosts_of, wait

UNTIL_CTRL_C = Path(__file__).with_name("ctrl_c.py")


def test_top_once(shell_servers: Servers) -> None:
    told = runner(hosts_of(shell_servers))("top --once --interval 200ms", format="json")
    rows = json.loads(told.out)
    assert [row["id"] for row in rows] == [1, 2, 3]
    assert all(row["requests_per_s"] > 0 and row["writes_per_s"] >= 0 for row in rows)


@pytest.mark.parametrize("leave", ["q", CTRL_C])
def test_top_is_drawn_again_and_again_until_it_is_left(shell_servers: Servers, tmp_path: Path, leave: str) -> None:
    """Then there is a prompt, and what is typed is seen. (pyte knows no other screen, which would be left.)"""
    hosts = hosts_of(shell_servers)
    with Screen(["env", str(Path(__file__).parents[2] / ".venv/bin/zabsh"), "--server", hosts], places(tmp_path)) as it:
        it.until("connected, ")
        it.type("pwd\r")
        it.until("^/$")
        it.type("top --interval 300ms\r")
        # What is read may be half of a drawing, so that what was there before is seen below it.
        it.until(lambda it: it.text.endswith("q leaves") and "pwd" not in it.text)
        it.until(r"3 of 3 servers serve, \d+ connections, [\d.,]+ requests/s, [\d.,]+ writes/s")
        it.until(lambda it: it.text.count(" follower ") == 2 and "REQ/S" in it.text)
        first = it.lines[0][:8]
        it.until(lambda it: it.lines[0][:8] != first)
        assert it.lines[-1] == "" and sum("REQ/S" in line for line in it.lines) == 1
        it.type(leave)
        it.until(lambda it: "REQ/S" not in it.text and "/>" in it.prompt)
        it.type("pwd | cat\r")
        it.until("/> pwd . cat\n/\n")
        it.type("lock /l -- sh -c 'stty -a | grep -ow -e -icanon -e -echo || echo as before'\r")
        it.until("^as before$")


def test_a_command_under_a_lock_has_the_terminal(hosts: str, tmp_path: Path) -> None:
    """It reads from it, Ctrl-C is for it, Ctrl-Z does not stop it, and the shell has it again afterwards."""
    with zabsh(hosts, tmp_path) as it:
        it.type("lock /l -- sh -c 'echo asks; read x; echo got $x; stty size'\r")
        it.until("^asks$")
        it.type("typed\r")
        it.until("^got typed\n24 120$")
        it.type(f"lock /l -- {sys.executable} -I -S {UNTIL_CTRL_C} 4\r")
        it.until("^ready$")
        it.type("\x1a" + CTRL_C)
        it.until("caught\n")
        it.until("/>$")
        it.type("exit\r")
        assert it.until_end() == 4


def test_a_closed_terminal_ends_the_command(hosts: str, tmp_path: Path) -> None:
    with zabsh(hosts, tmp_path) as it:
        it.type("lock /l -- sh -c 'echo pid $$; exec sleep 60'\r")
        it.until(r"^pid \d+$")
        pid = int(next(line for line in it.lines if line.startswith("pid ")).split()[1])
    wait(lambda: not runs(pid), 10)
