"""Whatever is wrong with what is typed, to whatever command: one complaint, with the usage line, at once."""

import re
from pathlib import Path

import click
import pytest

from shell.command import REGISTRY, ZPath
from shell.errors import Status
from shell.settings import Rules

from .conftest import Run

NAMES = sorted({it.name or "" for it in REGISTRY.values()})
#: They take another command line, or whatever there is.
TAKE_ALL = {name for name in NAMES if not REGISTRY[name].context_settings.get("allow_interspersed_args", True)}


def test_a_wrong_flag_to_any_command(zabsh: Run) -> None:
    for name in NAMES:
        told = zabsh(f"{name} --nosuchflag")
        assert told.status == Status.USAGE, (name, told)
        assert told.out == "" and f"{name}: " in told.err and "--nosuchflag" in told.err, (name, told)
        assert f"usage: {name}" in told.err and "Traceback" not in told.err, (name, told)


def test_a_missing_argument_of_any_command(zabsh: Run) -> None:
    needy = [
        name for name in NAMES if any(p.required and p.param_type_name == "argument" for p in REGISTRY[name].params)
    ]
    assert len(needy) > 20
    for name in needy:
        told = zabsh(name)
        assert (told.status, told.out) == (Status.USAGE, ""), (name, told)
        assert f"{name}: Missing" in told.err and f"usage: {name}" in told.err, (name, told)


def test_too_many_arguments_to_any_command(zabsh: Run) -> None:
    full = [
        name
        for name in NAMES
        if name not in TAKE_ALL and all(p.nargs == 1 for p in REGISTRY[name].params if p.param_type_name == "argument")
    ]
    assert len(full) > 30
    for name in full:
        told = zabsh(f"{name} 1 2 3 4 5 6 7 8 9")
        assert (told.status, told.out) == (Status.USAGE, ""), (name, told)
        assert f"usage: {name}" in told.err and re.match(rf"{name}: .+", told.err), (name, told)


def test_a_path_that_cannot_be_to_any_command(zabsh: Run) -> None:
    """A control character, which no server takes; what is said of it is on one line."""
    pathy = [
        name
        for name in NAMES
        if name not in TAKE_ALL
        and [isinstance(p.type, ZPath) for p in REGISTRY[name].params if p.param_type_name == "argument"][:1] == [True]
        and sum(p.param_type_name == "argument" and p.required for p in REGISTRY[name].params) <= 1
    ]
    assert len(pathy) > 15
    for name in pathy:
        told = zabsh(f"{name} '/bad\nname\x07'")
        assert (told.status, told.out) == (Status.USAGE, ""), (name, told)
        complaint, usage = told.err.splitlines()
        assert complaint.startswith(f"{name}: ") and "/bad\\nname\\x07" in complaint, (name, told)
        assert usage.startswith(f"usage: {name}"), (name, told)


def test_a_version_that_is_none(zabsh: Run) -> None:
    versioned = [
        name
        for name in NAMES
        for p in REGISTRY[name].params
        if "-v" in p.opts and isinstance(p.type, click.types.IntParamType)
    ]
    assert len(versioned) > 4
    for name in versioned:
        told = zabsh(f"{name} -v x /a")
        assert (told.status, told.out) == (Status.USAGE, ""), (name, told)
        assert "'-v'" in told.err and "'x'" in told.err and f"usage: {name}" in told.err, (name, told)


def test_a_znode_that_is_not_there(zabsh: Run) -> None:
    """Said of it, whatever the command is, as long as it takes a path alone and does not wait for it."""
    for name in ("get", "set", "ls", "stat", "rm", "delete", "deleteall", "tree", "du", "count", "acl", "getAcl", "cd"):
        told = zabsh(f"{name} /nope" + " x" * (name == "set"))
        assert (told.status, told.out) == (Status.NO, ""), (name, told)
        assert told.err.startswith(f"{name}: /nope: no such znode"), (name, told)


def test_a_session_that_was_closed(zabsh: Run) -> None:
    for line in ("get /a", "ls /", "create /a", "set /a x", "rm /a", "acl /a", "whoami", "export /", "cp /a /b"):
        told = zabsh("close", line)
        assert (told.status, told.out) == (Status.CONNECTION, ""), (line, told)
        assert "the session was closed; connect begins another one" in told.err, (line, told)


def test_whatever_writes_is_refused_by_a_read_only_shell(zabsh: Run) -> None:
    """With as many arguments as are needed, whatever they are."""
    for name in NAMES:
        command = REGISTRY[name]
        needed = sum(max(1, p.nargs) for p in command.params if p.param_type_name == "argument" and p.required)
        if command.writes:
            told = zabsh(f"{name} " + "/a " * needed, rules=Rules(read_only=True))
            assert told.status in (Status.DENIED, Status.USAGE) and told.out == "", (name, told)
            assert re.search("read-only, so nothing was done|usage: ", told.err), (name, told)


def test_a_value_that_is_too_large(zabsh: Run, tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(bytes(2 << 20))
    for line in ("create /large --file {0}", "set / --file {0}"):
        told = zabsh(line.format(tmp_path / "large"))
        assert told.status in (Status.USAGE, Status.CONNECTION) and told.err.startswith(line.split()[0] + ": "), told
        assert re.search(r"a request of 2,?097,?\d+ bytes", told.err), told


DENIED = [
    ("get /mine", "READ on /mine"),
    ("ls /mine", "READ on /mine"),
    ("set /mine x", "WRITE on /mine"),
    ("create /mine/x", "CREATE on /mine"),
    ("rm /mine/below", "DELETE on /mine"),
    ("acl /mine world:anyone:r", "ADMIN on /mine"),
]


@pytest.mark.parametrize(("line", "needs"), DENIED)
def test_a_refusal_names_the_permission_and_the_znode(zabsh: Run, line: str, needs: str) -> None:
    zabsh("create /mine x", "create /mine/below x", "setAcl /mine digest:ann:7RJfAeIvrl4zdj6sS2fXrQHDvHM=:cdrwa")
    told = zabsh(line)
    assert (told.status, told.out) == (Status.DENIED, "") and re.search(rf"{needs}$", told.err, re.MULTILINE), told


@pytest.mark.parametrize(("typed", "near"), [("gett", "get"), ("Deletall", "deleteall"), ("exprt", "export")])
def test_an_unknown_command_is_told_the_nearest(zabsh: Run, typed: str, near: str) -> None:
    told = zabsh(f"{typed} /a")
    assert told.status == Status.USAGE and told.err == f"{typed}: no such command; did you mean {near}?\n"


def test_what_is_typed_gives_no_orders_and_has_one_line(zabsh: Run, tmp_path: Path) -> None:
    for line in (
        "'no\nsuch' /a",
        "rm '/no\nsuch' -v 1",
        "get '/a*\nb'",
        "cp /a 'file:/no\nwhere/x'",
        "import '/no\nfile'",
    ):
        told = zabsh(line)
        assert told.status and all(
            each.startswith(("usage: ", line[:2], "no\\nsuch")) for each in told.err.splitlines()
        ), told
