"""The program itself, run as other programs run it: what it prints where, and what it ends with."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click
import pexpect
import pytest

from shell.settings import Settings

ZABSH = [sys.executable, "-m", "zabpy", "shell"]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Nothing of the person's own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ZABPY_")}
    return {**kept, "XDG_CONFIG_HOME": str(tmp_path), "HOME": str(tmp_path)}


class Program:
    def __init__(self, hosts: str, environment: Mapping[str, str]) -> None:
        self.hosts, self.environment = hosts, dict(environment)

    def __call__(self, *arguments: str, stdin: str = "", **variables: str) -> tuple[int, str, str]:
        done = subprocess.run(
            [*ZABSH, *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            env={**self.environment, "ZABPY_SERVERS": self.hosts, **variables},
            check=False,
        )
        return done.returncode, done.stdout, done.stderr

    def start(self, *arguments: str, **settings: Any) -> "subprocess.Popen[bytes]":
        environment = {**self.environment, "ZABPY_SERVERS": self.hosts}
        return subprocess.Popen([*ZABSH, *arguments], env=environment, **settings)


@pytest.fixture
def program(hosts: str, environment: dict[str, str]) -> Program:
    return Program(hosts, environment)


def test_one_command_lines_and_stdin(program: Program) -> None:
    assert program("--output", "json", "ls", "/") == (0, "[]\n", "")
    assert program("-c", "pwd", "-c", "cd / && pwd") == (0, "/\n/\n", "")
    assert program("-f", "-", stdin="# one\n\npwd\npwd") == (0, "/\n/\n", "")


def test_a_script_ends_with_its_first_failure_and_says_where(program: Program, tmp_path: Path) -> None:
    script = tmp_path / "a.zk"
    script.write_text("#!/usr/bin/env -S zabsh -f\npwd\n\nls /x || pwd\nls /nope; pwd\n")
    said = f"{script}:4: ls: /x: no such znode\n{script}:5: ls: /nope: no such znode\n"
    status, out, err = program("-f", str(script))
    assert (status, out) == (1, "/\n/\n")
    assert err == said + f"{script}:5: status 1, so what follows was not run; -k runs it\n"
    assert program("-k", "-f", str(script)) == (1, "/\n/\n/\n", said)
    # One that cannot be read is not begun.
    script.write_text("pwd\nls 'x\npwd\n")
    assert program("-f", str(script)) == (2, "", f"{script}:2: the ' at column 8 does not end (column 4)\n")


def test_lines_of_stdin_are_run_as_they_come(program: Program) -> None:
    """Another program may talk with us: it says the next line when it has read the answer."""
    process = program.start(stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdin is not None and process.stdout is not None and process.stderr is not None
    for _ in range(2):
        process.stdin.write(b"pwd\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"/\n"
    process.stdin.write(b"pwd > '/no/\nwhere'\nls /nope\n")
    process.stdin.close()
    assert process.wait(20) == 8
    assert b"stdin:3: pwd: /no/\\nwhere: No such file" in process.stderr.read()


def test_words_reach_a_command_as_they_are(program: Program) -> None:
    assert program("cd", "/a b;c") == (1, "", "cd: /a b;c: no such znode\n")
    assert program("ls", "/a*")[2] == "ls: /a*: no znode matches\n"


def test_wrong_usage_is_status_2(program: Program, tmp_path: Path) -> None:
    assert program("lss")[0] == 2
    status, _, err = program("-c", "pwd", "ls", "/")
    assert (status, err) == (2, "zabpy shell: A command, -c and -f exclude each other. Try 'zabpy shell --help'.\n")
    assert program("-f", str(tmp_path / "none"))[0] == 2
    assert program("--profile", "prod", "pwd")[2].startswith("zabpy shell: prod: no such profile: ")
    assert program("ls", "/", ZABPY_SERVERS="a b")[0] == 2


def test_no_server_is_status_5_and_each_is_named(program: Program) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        server = f"127.0.0.1:{closed.getsockname()[1]}"
        began = time.monotonic()
        status, _, err = program("-s", server, "--timeout", "700ms", "ls", "/")
    assert status == 5 and len(err.splitlines()) == 1 and server in err
    assert time.monotonic() - began < 5


def test_a_profile_is_named_first(program: Program, tmp_path: Path, hosts: str) -> None:
    (tmp_path / "zabpy").mkdir()
    config = tmp_path / "zabpy" / "shell.toml"
    config.write_text(f"[profile.dev]\nservers = '{hosts}'\noutput = 'json'\nread_only = true\n")
    assert program("dev", "pwd", ZABPY_SERVERS="127.0.0.1:1") == (0, '{\n  "path": "/"\n}\n', "")
    assert program(hosts, "pwd", ZABPY_SERVERS="127.0.0.1:1") == (0, "/\n", "")
    status, out, _ = program("--list-profiles", "--output", "ndjson")
    assert (status, '"name": "dev"' in out, '"guards": ["read_only"]' in out) == (0, True, True)
    config.write_text("[profile.dev]\nservres = 'x'\n")
    assert program("pwd") == (
        2,
        "",
        f"zabpy shell: {config}:2: profile.dev.servres: no such key; did you mean servers?\n",
    )


def test_who_reads_our_output_may_leave(program: Program) -> None:
    process = program.start(*["-c", "help"] * 40, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None and process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(20) == 141
    assert process.stderr.read() == b""


def test_output_that_cannot_be_written_is_a_failure(program: Program) -> None:
    with open("/dev/full", "wb") as full:
        process = program.start("pwd", stdout=full, stderr=subprocess.PIPE)
        assert process.stderr is not None
        assert process.wait(20) == 8
        assert process.stderr.read() == b"pwd: No space left on device\n"


@pytest.fixture
def silent() -> Iterator[socket.socket]:
    """A server that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it(program: Program, silent: socket.socket, number: signal.Signals) -> None:
    process = program.start("-s", f"127.0.0.1:{silent.getsockname()[1]}", "-c", "ls /", stderr=subprocess.PIPE)
    connection, _ = silent.accept()  # it is there
    with connection:
        process.send_signal(number)
        assert process.wait(20) == 128 + number
    assert process.stderr is not None and process.stderr.read() == b""


def test_the_session_ends_before_the_process_does(program: Program) -> None:
    process = program.start("-c", "create -e /here && sleep 60", stdout=subprocess.PIPE)
    assert process.stdout is not None and process.stdout.readline() == b"/here\n"
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 143
    assert program("exists", "/here") == (1, "no\n", "")


def test_who_is_at_the_terminal_is_asked(program: Program) -> None:
    """For a command that was not typed at our prompt, too."""
    child = pexpect.spawn(
        ZABSH[0],
        [*ZABSH[1:], "--auth", "digest:ann", "-c", "create /a x auth::cdrwa; get /a; rm -r /a; rm -r /a"],
        env={**program.environment, "ZABPY_SERVERS": program.hosts, "TERM": "dumb"},
        encoding="utf-8",
        timeout=30,
    )
    child.expect_exact("Password of digest:ann: ")
    child.sendline("hush")
    child.expect_exact("delete 1 znode under /a? [y/N] ")
    assert child.before is not None and "x" in child.before and "hush" not in child.before
    child.sendline("n")
    child.expect_exact("rm: nothing was done")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 130


def test_version_and_help(program: Program) -> None:
    assert program("--version")[1].startswith("zabpy shell 0.")
    status, out, _ = program("--help")
    assert status == 0 and "Usage: zabpy shell [OPTIONS]" in out


def test_colours_are_for_terminals() -> None:
    from shell.output import look_of

    assert not look_of("auto", {}).colour  # stdout is pytest's file
    assert look_of("always", {"NO_COLOR": "1"}).colour and not look_of("never", {}).colour


def test_a_transaction_that_is_forgotten_is_a_failure(program: Program) -> None:
    """A script that lost its commit is not to end as if all were well."""
    status, _, err = program(stdin="begin; create /never; create /ever")
    said = "the transaction was not committed: 2 operations forgotten, nothing of it was done\n"
    assert status == 8 and err.endswith(said)
    assert program("exists", "/never")[0] == 1
    assert program(stdin="begin; exit")[0] == 0


def test_zkclis_own_options(hosts: str) -> None:
    """``-timeout`` is the session's, in ms; ``-r`` does with a server without a quorum, and forbids nothing."""
    from shell.main import zabsh as command

    seen: list[Settings] = []

    def run(settings: Settings, work: object) -> int:
        seen.append(settings)
        return 0

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("shell.oneshot.run", run)
        line = ["-server", hosts, "-timeout", "7000", "-r", "-waitforconnection", "ls", "/"]
        assert command.main(line, standalone_mode=False) == 0
        assert seen[0].servers == hosts and not seen[0].rules.read_only
        assert seen[0].client == {"session_timeout_ms": 7000, "read_only": True}
        with pytest.raises(click.UsageError, match="-client-configuration x: Java's properties are not read here"):
            command.main(["-client-configuration", "x", "ls", "/"], standalone_mode=False)


def test_what_is_no_utf8_is_a_value_but_no_name(program: Program) -> None:
    text = b"create /latin gr\xf6\nget /latin --output raw\nrm /latin\nget /gr\xf6\n"
    done = subprocess.run([*ZABSH, "-k", "-s", program.hosts], input=text, capture_output=True, timeout=60, check=False)
    assert done.stdout.startswith(b"/latin\ngr\xf6"), done
    assert b"stdin:4: get: /gr\\udcf6: not UTF-8, as names of znodes are" in done.stderr
