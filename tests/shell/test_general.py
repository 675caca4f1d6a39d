"""Help, history, commands that run commands, options of the shell, and going to another cluster."""

import json
import re
from pathlib import Path

import pytest

from shell.command import REGISTRY, find
from shell.commands import FREQUENT
from shell.commands.general import help_of
from shell.examples import EXAMPLES
from shell.line import parse
from shell.settings import Rules
from shell.shell import Shell

from .conftest import Run


def test_help_names_every_command_that_is_not_hidden(zabsh: Run) -> None:
    out = zabsh("help").out
    for name in {each.name for each in REGISTRY.values() if not each.hidden}:
        assert re.search(rf"^  {re.escape(name or '')} +\S", out, re.MULTILINE), name
    assert zabsh("help xyzzy") == (2, "", "help: xyzzy: no such command\nusage: help [OPTIONS] [NAME]\n")


@pytest.mark.parametrize("name", sorted({each.name or "" for each in REGISTRY.values()}))
def test_every_command_has_help_with_its_usage(name: str) -> None:
    text = help_of(name)
    assert text.startswith(f"Usage: {name} ") and len(text.splitlines()[2].split()) > 1


@pytest.mark.parametrize(("name", "line"), [(name, line) for name, lines in EXAMPLES.items() for line in lines])
def test_examples_can_be_typed(name: str, line: str) -> None:
    for statement in parse(line):
        find(statement.words[0]).parse(statement.words[0], statement.words[1:])
    assert any(find(statement.words[0]).name == name for statement in parse(line))


def test_history_and_redo(zabsh: Run) -> None:
    def setup(shell: Shell) -> None:
        shell.lines = ["pwd", "redo 0", "this"]

    told = zabsh("redo 0; redo; redo 7", setup=setup)
    assert told.out == "/\n" and told.err.splitlines()[0] == "pwd"
    assert "redo: 1: that is a redo itself: redo 0" in told.err
    assert "redo: 7: no such line; history shows them" in told.err
    assert zabsh("history", setup=setup).lines == ["   0  pwd", "   1  redo 0", "   2  this"]
    assert zabsh("history 1", setup=setup).lines == ["   2  this"]


def test_time_repeat_sleep_echo(zabsh: Run) -> None:
    told = zabsh("time pwd; sleep 1ms; repeat 3 echo a 'b  c' d*; repeat 2 ls /nope; repeat -k 2 cd /nope")
    assert told.lines == ["/", *["a b  c d*"] * 3]
    assert re.fullmatch(r"0\.\d{3} s\n(ls: /nope.*\n){1}(cd: /nope.*\n){2}", told.err)
    assert told.status == 1
    assert zabsh("sleep soon").status == 2


def test_a_command_within_another_keeps_its_quotes(zabsh: Run) -> None:
    told = zabsh("time ls '/*'; time ls /zzz*")
    assert "ls: /*: no such znode" in told.err and "ls: /zzz*: no znode matches" in told.err


def test_each_command_takes_an_output_format(zabsh: Run) -> None:
    assert json.loads(zabsh("pwd --output json").out) == {"path": "/"}
    told = zabsh("pwd --output ndjson; pwd; option output yaml; pwd; option; option colour red; option output xml")
    assert told.out == '{"path": "/"}\n/\npath: /\noutput: yaml\ncolor: never\nread_only: false\n'
    assert "option: xml: expected one of table, json" in told.err and told.status == 2
    assert "--output" in help_of("pwd")


def test_a_shell_made_read_only_stays_so(zabsh: Run) -> None:
    told = zabsh("option read_only on; create /a; option read_only off")
    assert told.status == 4
    assert told.err == (
        "create: this shell is read-only, so nothing was done\noption: a shell that is read-only stays so\n"
    )


def test_what_a_profile_forbids_is_refused_by_all_its_names(zabsh: Run) -> None:
    rules = Rules(name="prod", forbid=frozenset({"exit", "?"}))
    assert zabsh("quit; exit; help", rules=rules) == (
        4,
        "",
        "".join(f"{name}: the profile prod forbids it, so nothing was done\n" for name in ("quit", "exit", "help")),
    )


def test_close_and_connect(zabsh: Run, hosts: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZABPY_SHELL_CONFIG", str(tmp_path / "shell.toml"))
    (tmp_path / "shell.toml").write_text(f"[profile.dev]\nservers = '{hosts}'\nread_only = true\n")
    told = zabsh("create /a && close; ls /", f"connect {hosts}; ls /; connect dev; profiles; create /b")
    assert told.lines[-3:-2] == ["a"] and told.lines[-1].split()[:2] == ["*", "dev"]
    assert "ls: the session was closed; connect begins another one" in told.err
    assert told.err.count("connected to 127.0.0.1:") == 2
    assert "create: this shell is read-only, so nothing was done" in told.err


def test_a_place_that_cannot_be_reached_is_not_gone_to(
    zabsh: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZABPY_SHELL_CONFIG", str(tmp_path / "shell.toml"))
    (tmp_path / "shell.toml").write_text("[profile.nowhere]\nservers = '127.0.0.1:1'\ntimeout = '300ms'\n")
    told = zabsh("create /a; connect nowhere || ls /")
    assert told.lines[-1] == "a" and "127.0.0.1:1" in told.err and told.status == 0


def test_whoami_and_version(zabsh: Run) -> None:
    assert json.loads(zabsh("whoami", format="ndjson").out) == {"scheme": "ip", "id": "127.0.0.1"}
    assert re.fullmatch(r"zabpy \d+\.\d+\.\d+, Python 3\.\d+\.\d+\n", zabsh("version").out)


def test_frequent_commands_stand_where_they_are_looked_for() -> None:
    assert {name: REGISTRY[name].run.__module__ for name in FREQUENT} == {
        name: f"shell.commands.{module}" for name, module in FREQUENT.items()
    }
