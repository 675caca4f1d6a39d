"""The commands about servers, on an ensemble of three."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import pytest

from shell.settings import Rules
from shell.shell import Shell
from tests.client.conftest import TESTED_ON
from zabpy.bench.systems import Servers

from .conftest import Run, runner
from .three_servers import AUTH, hosts_of, wait_all


@pytest.fixture
def three(shell_servers: Servers) -> Run:
    return runner(hosts_of(shell_servers))


@contextmanager
def one_down(shell_servers: Servers, id: int) -> Iterator[None]:
    shell_servers.kill(id)
    try:
        yield
    finally:
        shell_servers.start(id)
        wait_all(shell_servers)


def as_super(shell: Shell) -> None:
    shell.cluster.settings["auth"] = AUTH


def test_status_of_all_servers(three: Run, shell_servers: Servers) -> None:
    told = three("status", format="json")
    assert told.status == 0, told.err
    rows = json.loads(told.out)
    assert [row["id"] for row in rows] == [1, 2, 3]
    assert [row["server"] for row in rows] == hosts_of(shell_servers).split(",")
    assert sorted(row["role"] for row in rows) == ["follower", "follower", "leader"]
    assert {row["version"] for row in rows} == {"zabpy 0.1.0" if TESTED_ON == "zabpy" else "3.8.0"}
    assert all(row["problem"] is None and row["lag"] >= 0 and row["zxid"].startswith("0x") for row in rows)
    head, *lines = three("status").lines
    assert head.split()[:6] == ["ID", "SERVER", "ROLE", "EPOCH", "ZXID", "LAG"]
    assert len(lines) == 3


def test_one_server_named_finds_the_others_only_by_the_configuration(shell_servers: Servers) -> None:
    """Which has no client ports here: so they are shown as not to be asked, and how to change that."""
    told = runner(f"127.0.0.1:{shell_servers.client_ports[2]}")("status", format="json")
    rows = json.loads(told.out)
    assert [(row["id"], row["role"] == "unknown") for row in rows] == [(1, True), (2, False), (3, True)]
    assert "--server" in rows[0]["problem"]


def test_a_server_that_is_down_is_shown_as_such(three: Run, shell_servers: Servers) -> None:
    with one_down(shell_servers, 1):
        told = three("status", format="json")
    rows = json.loads(told.out)
    down = f"127.0.0.1:{shell_servers.client_ports[1]}"
    assert [row["role"] for row in rows if row["server"] == down] == ["unreachable"]
    assert told.status == 7
    assert told.err == f"{down}: srvr: connection refused\n"


def test_no_server_at_all() -> None:
    told = runner("127.0.0.1:1")("status")
    assert told.status == 5
    assert "unreachable" in told.out


def test_words(three: Run, shell_servers: Servers) -> None:
    first, second = (f"127.0.0.1:{shell_servers.client_ports[i]}" for i in (1, 2))
    assert three(f"4lw ruok {first}; isro {second}; ruok").lines == ["imok", "rw", "imok"]
    told = json.loads(three(f"mntr {second}", format="json").out)
    assert (told["server"], told["word"]) == (second, "mntr")
    assert told["values"]["server_state"] in ("leader", "follower")
    assert three("4lw --all ruok").lines == [
        line for port in shell_servers.client_ports.values() for line in (f"==> 127.0.0.1:{port}", "imok")
    ]
    assert three("crst", rules=Rules(read_only=True)).status == 4
    assert three("4lw crst", rules=Rules(read_only=True)).status == 4
    told_wrong = three("4lw nothing")
    assert (told_wrong.status, told_wrong.err.split(":")[0]) == (2, "4lw")


def test_a_word_that_the_servers_do_not_allow(zabsh: Run) -> None:
    told = zabsh("4lw dump")
    assert told.status == 4
    todo = "to 4lw.commands.whitelist in zoo.cfg (which is srvr where it is not set), and restart"
    assert re.fullmatch(rf"4lw: \S+: dump: not in its whitelist; add it {re.escape(todo)} it\n", told.err)
    told = zabsh("create -e /mine x; sessions")
    assert (told.status, told.out.count("\n")) == (4, 1)
    assert re.fullmatch(rf"\S+: cons, dump, wchc are not allowed; add them {re.escape(todo)} the server\n", told.err)
    told = zabsh("watches")
    assert (told.status, told.err.split(": ")[1]) == (4, "wchp is not allowed; add it " + todo + " the server\n")
    told = zabsh("locks /; create -p -e /q/lock/0123456789abcdef0123456789abcdef__lock__0000000000; locks /")
    assert (told.status, told.out.count("holds"), told.err.split(": ")[1][:19]) == (0, 1, "cons is not allowed")


def test_ephemerals_are_found_without_words_too(zabsh: Run) -> None:
    told = zabsh("create /a; create -e /a/mine x; create -e /else x; ephemerals /a")
    assert [line.split()[0] for line in told.lines[-2:]] == ["PATH", "/a/mine"]


def test_config(three: Run, shell_servers: Servers) -> None:
    told = three("config")
    assert [line.split("=")[0] for line in told.lines] == ["server.1", "server.2", "server.3", "version"]
    shown = json.loads(three("config -s", format="json").out)
    assert [server["id"] for server in shown["servers"]] == [1, 2, 3]
    assert shown["mzxid"].startswith("0x")


def test_reconfig_shows_asks_and_does(three: Run, shell_servers: Servers) -> None:
    """An observer is added, that is not there, and removed."""
    line = 'reconfig -add "server.9=127.0.0.1:1:2:observer;3"'
    run = partial(three, setup=as_super)
    told = run(f"{line} --dry-run")
    assert (told.status, told.out) == (0, "")
    assert told.err == "+ server.9=127.0.0.1:1:2:observer;3\n3 voters, of which 2 must be up\n"
    assert run(line).status == 4  # nobody to ask
    assert "server.9" not in run("config").out
    told = run(f"{line} -v ffff", rules=Rules(yes=True))
    assert told.status == 3, told.err
    told = run(line, rules=Rules(yes=True))
    assert told.status == 0, told.err
    assert told.lines[0] == "Committed new configuration:"
    assert "server.9=127.0.0.1:1:2:observer" in told.out
    assert run("reconfig -remove 8", rules=Rules(yes=True)).err.startswith(
        "reconfig: -remove 8: there is no such server"
    )
    told = run("reconfig -remove 9", rules=Rules(yes=True))
    assert told.status == 0 and "server.9" not in told.out, told.err
    assert "- server.9" in told.err


def test_reconfig_says_what_is_wrong(three: Run) -> None:
    assert three("reconfig").status == 2
    told = three('reconfig -add "4=host:x:1"')
    assert told.status == 2
    assert told.err.startswith("reconfig: 4=host:x:1: ")
    assert three("reconfig -remove 1 -v zz").err.startswith("reconfig: -v zz: expected a hexadecimal number")
