"""Processes and servers killed in the midst of large work: nothing half is taken for whole, the rest can be done."""

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shell.applying import Applier
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


def killed(ensemble: Ensemble, command: list[str], when: Callable[[], bool]) -> None:
    """Run it as a process of its own, and kill that when it is so far."""
    program = [sys.executable, "-m", "zabpy", "shell", "-s", ensemble.hosts, *command]
    with subprocess.Popen(program, stderr=subprocess.PIPE) as process:
        until = time.monotonic() + 60
        while not when():
            assert process.poll() is None, process.stderr and process.stderr.read()
            assert time.monotonic() < until
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)


@pytest.mark.parametrize("name", ["y.ndjson", "y.tar"])
def test_a_killed_export(ensemble: Ensemble, file: Path, tmp_path: Path, name: str) -> None:
    assert run(ensemble, f"import {file}")[0] == 0
    target = tmp_path / name
    target.write_text("what was there before")

    def part() -> list[Path]:
        return [each for each in tmp_path.iterdir() if each.name.endswith(".part") and each.stat().st_size > 150_000]

    killed(ensemble, ["--yes", "export", "-f", "/t", str(target)], lambda: bool(part()))
    assert target.read_text() == "what was there before"
    (half,) = part()
    status, _, err = run(ensemble, f"import {half} /half", "exists /half")
    assert status == 1 and "it is cut off: behind " in err and "so nothing was done; --partial takes the rest" in err
    status, _, err = run(ensemble, f"import --partial {half} /half")
    found = re.search(r"([\d,]+) created", err)
    assert status == 0 and found is not None and 0 < int(found[1].replace(",", "")) < MANY
    status, _, err = run(ensemble, f"export -f /t {target}", f"import -n {target}", "rm -r /half")
    assert status == 0 and f"0 to create, 0 to change, 0 to delete, {MANY + 1:,} the same" in err
    assert f"{half}: removed, an export to {name} that was killed had left it" in err and not part()


def test_a_killed_import_is_gone_on_with(ensemble: Ensemble, file: Path) -> None:
    run(ensemble, "rm -r /t")
    with connect(ensemble.hosts) as zk:
        killed(ensemble, ["import", str(file)], lambda: zk.exists("/t/n300") is not None)
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
