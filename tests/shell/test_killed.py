"""Processes and servers killed in the midst of large work: nothing half is taken for whole, the rest can be done."""

import gzip
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shell.applying import Applier
from shell.archive import NdjsonWriter
from shell.spool import Spool
from zabpy.blocking import connect
from zabpy.client import Client
from zabpy.testing import Ensemble

from .test_change_lost import dies_after, run

MANY = 5_000


@pytest.fixture(scope="module")
def ensemble() -> Iterator[Ensemble]:
    with Ensemble(servers=1) as ensemble:
        yield ensemble


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("killed") / "x.ndjson"
    lines = ['{"zabpy_export": 1, "path": "/t"}', '{"path": "/"}']
    lines += [json.dumps({"path": f"/n{i}", "data": "x" * 200}) for i in range(MANY)]
    file.write_text("\n".join([*lines, '{"end": true}']))
    return file


def killed(ensemble: Ensemble, command: list[str], when: Callable[[], bool]) -> bool:
    """Run it as a process of its own, and kill that when it is so far. False: on a busy machine it was done before."""
    program = [sys.executable, "-m", "zabpy", "shell", "-s", ensemble.hosts, *command]
    with subprocess.Popen(program, stderr=subprocess.PIPE) as process:
        until = time.monotonic() + 60
        while not when():
            if process.poll() is not None:
                assert process.returncode == 0, process.stderr and process.stderr.read()
                return False
            assert time.monotonic() < until
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
    return process.returncode == -signal.SIGKILL


def half(ensemble: Ensemble, target: Path, *flags: str) -> Path:
    """What an export of /t leaves that is killed when half is written, or so."""

    def part() -> list[Path]:
        return [each for each in parts(target) if each.stat().st_size > (4_000 if target.suffix == ".gz" else 150_000)]

    before = target.read_bytes() if target.exists() else None
    for _ in range(10):
        if killed(ensemble, ["--yes", "export", *flags, "/t", str(target)], lambda: bool(part())):
            (left,) = part()
            return left
        target.unlink() if before is None else target.write_bytes(before)
    raise AssertionError("it was always done before it could be killed")


def parts(target: Path) -> list[Path]:
    return [each for each in target.parent.iterdir() if each.name.endswith(".part")]


@pytest.mark.parametrize("name", ["y.ndjson", "y.tar"])
def test_a_killed_export(ensemble: Ensemble, file: Path, tmp_path: Path, name: str) -> None:
    assert run(ensemble, f"import {file}")[0] == 0
    target = tmp_path / name
    target.write_text("what was there before")
    left = half(ensemble, target, "-f")
    assert target.read_text() == "what was there before"
    status, _, err = run(ensemble, f"import {left} /half", "exists /half")
    assert status == 1 and "it is cut off: behind " in err and "so nothing was done; --partial takes the rest" in err
    status, _, err = run(ensemble, f"import --partial {left} /half")
    found = re.search(r"([\d,]+) created", err)
    assert status == 0 and found is not None and 0 < int(found[1].replace(",", "")) < MANY
    status, _, err = run(ensemble, f"export -f /t {target}", f"import -n {target}", "rm -r /half")
    assert status == 0 and f"0 to create, 0 to change, 0 to delete, {MANY + 1:,} the same" in err
    assert (f"{left}: a broken off export has left it; --resume goes on with it\n" in err) == (name == "y.ndjson")
    assert f"{left}: removed, a broken off export to {name} had left it" in err and not parts(target)


@pytest.mark.parametrize("name", ["y.ndjson", "y.ndjson.gz"])
def test_a_killed_export_is_gone_on_with(ensemble: Ensemble, file: Path, tmp_path: Path, name: str) -> None:
    """Killed twice; and what has changed, gone or come in between is as it is now."""
    assert run(ensemble, f"import {file}")[0] == 0
    target = tmp_path / name
    first = half(ensemble, target)
    (tmp_path / f".{name}.{os.getpid()}.part").write_bytes(first.read_bytes()[:5_000])  # a shorter one of before
    changes = ("set /t/n0 new", "acl /t/n1 world:anyone:cdra", "rm /t/n2", "create /t/n3/below",
               "rm /t/n4; create /t/n4 again", "set /t/n5 {}; set /t/n5 {}".format("x" * 200, "y" * 200))  # fmt: skip
    assert run(ensemble, *changes)[0] == 0
    status, _, err = run(ensemble, f"export --resume /t {target}", f"export /t {tmp_path}/whole")
    found = re.search(r"5,001 znodes exported in .* s \(.*/s\), ([\d,]+) of them from the old part, exactly as of", err)
    assert status == 0 and found is not None and f"going on with {first}: " in err, err
    lines = set((gzip.open if name.endswith("gz") else open)(target, "rb").read().splitlines()[1:-1])
    kept = int(found[1].replace(",", ""))
    assert kept > 100 and lines == set((tmp_path / "whole").read_bytes().splitlines()[1:-1])
    assert not parts(target) and err.count(": removed, a broken off export") == 2
    run(ensemble, "rm /t/n3/below")


def test_an_export_that_loses_its_server_says_how_to_go_on(
    ensemble: Ensemble, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(ensemble, f"import {file}")[0] == 0
    line = f"export --no-acl /t {tmp_path}/y"
    with monkeypatch.context() as patch:
        dies_after(patch, NdjsonWriter, "add", 2, lambda: ensemble.kill(1))
        status, _, err = run(ensemble, line)
    ensemble.restart(1)
    ensemble.wait_ready()
    found = re.search(r"([\d,]+) znodes so far are in (\S+\.part); to go on: (export .*)\n", err)
    assert status == 5 and found is not None and Path(found[2]).is_file(), err
    again = f"export --resume --no-acl /t {tmp_path}/y"
    assert found[3] == again and not (tmp_path / "y").exists()
    assert "was begun with --no-acl" in run(ensemble, f"export --resume /t {tmp_path}/y")[2]
    assert "is of an export of /t, not of /" in run(ensemble, f"export --no-acl --resume / {tmp_path}/y")[2]
    status, _, err = run(ensemble, again, f"import -n {tmp_path}/y")
    assert status == 0 and f", {found[1]} of them from the old part, exactly as of" in err, err
    assert f"{MANY + 1:,} the same" in err and not parts(tmp_path / "y")


def test_a_killed_import_is_gone_on_with(ensemble: Ensemble, file: Path) -> None:
    run(ensemble, "rm -r /t")
    with connect(ensemble.hosts) as zk:
        assert killed(ensemble, ["import", str(file)], lambda: zk.exists("/t/n300") is not None)
    status, _, err = run(ensemble, f"import {file}", f"import -n {file}")
    found = re.match(r"([\d,]+) created, 0 changed, 0 deleted, ([\d,]+) the same\n", err)
    assert status == 0 and found is not None
    assert 0 < int(found[1].replace(",", "")) < MANY and f"0 to delete, {MANY + 1:,} the same" in err


@pytest.mark.parametrize("command", ["cp -r", "mv"])
def test_the_server_dies_under_a_copy(
    ensemble: Ensemble, file: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    assert run(ensemble, f"import {file}")[0] == 0
    with monkeypatch.context() as patch:
        dies_after(patch, Applier, "_count", 3, lambda: ensemble.kill(1))
        status, _, err = run(ensemble, f"{command} /t /u")
    found = re.search(r"([\d,]+) of 5,001 writes are known to be done, then: .* same command again: (.*)\n", err, re.S)
    assert status == 7 and found is not None, err
    ensemble.restart(1)
    ensemble.wait_ready()
    status, out, err = run(ensemble, found[2], "count /u --output raw", "exists /t", "rm -rf /u")
    assert status == 0 and out.splitlines()[:2] == [str(MANY), "yes" if command == "cp -r" else "no"], err


@pytest.mark.parametrize("command", ["cp -r", "mv"])
def test_the_server_dies_while_it_is_read(
    ensemble: Ensemble, file: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    assert run(ensemble, f"import {file}")[0] == 0
    with monkeypatch.context() as patch:
        dies_after(patch, Spool, "extend", 2, lambda: ensemble.kill(1))
        status, _, err = run(ensemble, f"{command} /t /u")
    assert status == 5 and err.endswith("it was still being read, and nothing was done\n"), err
    ensemble.restart(1)
    ensemble.wait_ready()
    assert run(ensemble, "exists /u", "count /t --output raw")[1] == f"no\n{MANY}\n"


def test_the_server_dies_when_what_was_copied_is_deleted(
    ensemble: Ensemble, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(ensemble, f"import {file}")[0] == 0
    with monkeypatch.context() as patch:
        dies_after(patch, Client, "delete", 1_000, lambda: ensemble.kill(1))
        status, _, err = run(ensemble, "mv /t /u")
    found = re.search(r"all of it is at /u; of the old ones ([\d,]+) of 5,001 are known .* To go on: (.*)\n", err, re.S)
    assert status == 7 and found is not None, err
    ensemble.restart(1)
    ensemble.wait_ready()
    status, out, err = run(ensemble, found[2], "count /u --output raw", "exists /t", "rm -rf /u")
    assert status == 0 and out.splitlines()[:2] == [str(MANY), "no"], err


def test_the_server_dies_under_a_move_that_is_one_transaction(
    ensemble: Ensemble, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody knows whether it was done; but it was all of it or nothing, and that is said."""
    assert run(ensemble, "create -p /one/a/b x")[0] == 0
    with monkeypatch.context() as patch:
        dies_after(patch, Client, "transaction", 1, lambda: ensemble.kill(1))
        status, _, err = run(ensemble, "mv /one /two")
    assert status == 5 and "all of it is at /one or all of it at /two" in err, err
    ensemble.restart(1)
    ensemble.wait_ready()
    _, out, _ = run(ensemble, "exists /one/a/b /two/a/b --output raw")
    assert sorted(out.split()) == ["no", "yes"]
