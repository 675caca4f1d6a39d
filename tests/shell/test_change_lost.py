"""The connection is lost in the middle of large work: it is said what was done, and how to go on; that completes it."""

import json
import os
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest

from shell.applying import Applier
from shell.commands import load
from shell.output import Look, Output
from shell.removal import Remover
from shell.settings import Rules, Settings
from shell.starting import started
from shell.trees import TreeReader
from zabpy.client import Client
from zabpy.testing import Ensemble

load()
MANY = 3_000


@pytest.fixture
def ensemble() -> Iterator[Ensemble]:
    with Ensemble(servers=1) as ensemble:
        yield ensemble


def run(ensemble: Ensemble, *lines: str) -> tuple[int, str, str]:
    """Status, what was printed, what was said."""
    out, err = bytearray(), bytearray()

    async def story() -> int:
        status = 0
        settings = Settings(ensemble.hosts, timeout_ms=1_500, rules=Rules(yes=True))
        async with started(settings, Output(out.extend, err.extend, "table", Look()), keeps_trying=False) as shell:
            for line in lines:
                status = await shell.run(line)
        return status

    status = anyio.run(story)
    return status, out.decode(), err.decode()


def stopped(ensemble: Ensemble, line: str, hook: Callable[[Callable[[], object]], None]) -> str:
    """What a command says that is cancelled, as Ctrl-C does it, once ``hook``'s function is called."""
    err = bytearray()

    async def story() -> None:
        settings = Settings(ensemble.hosts, rules=Rules(yes=True))
        out = Output(lambda data: None, err.extend, "table", Look())
        async with started(settings, out, keeps_trying=False) as shell:
            with anyio.CancelScope() as scope:
                hook(scope.cancel)
                await shell.run(line)
            assert scope.cancelled_caught

    anyio.run(story)
    return err.decode()


def exported(tmp_path: Path) -> Path:
    file = tmp_path / "x.ndjson"
    lines = ['{"zabpy_export": 1, "path": "/t"}', '{"path": "/"}']
    lines += [json.dumps({"path": f"/n{i}", "data": "x" * 50}) for i in range(MANY)]
    file.write_text("\n".join([*lines, '{"end": true}']))
    return file


def dies_after(monkeypatch: pytest.MonkeyPatch, kind: type, method: str, calls: int, die: Callable[[], object]) -> None:
    """The server dies when so many were done."""
    count, real = 0, getattr(kind, method)

    def counting(self: object, *args: object, **settings: object) -> object:
        nonlocal count
        count += 1
        if count == calls:
            die()
        return real(self, *args, **settings)

    monkeypatch.setattr(kind, method, counting)


def test_import(ensemble: Ensemble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = exported(tmp_path)
    with monkeypatch.context() as patch:
        dies_after(patch, Applier, "_count", 2, lambda: ensemble.kill(1))
        status, _, err = run(ensemble, f"import {file}")
    assert status == 7
    found = re.search(r"([\d,]+) of 3,001 writes are known to be done, then: .*: import (\S+) /t\n", err, re.DOTALL)
    assert found is not None, err
    done = int(found[1].replace(",", ""))
    assert 0 < done < MANY and found[2] == str(file)
    ensemble.restart(1)
    ensemble.wait_ready()
    status, _, err = run(ensemble, f"import {file} /t", f"import {file}")
    assert status == 0 and err.endswith("0 created, 0 changed, 0 deleted, 3,001 the same\n")
    first = re.match(r"([\d,]+) created, 0 changed, 0 deleted, ([\d,]+) the same\n", err)
    assert first is not None and int(first[2].replace(",", "")) >= done  # nothing that was said to be done was not


def test_rm(ensemble: Ensemble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(ensemble, f"import {exported(tmp_path)}")[0] == 0
    with monkeypatch.context() as patch:
        dies_after(patch, Remover, "_delete", 1_000, lambda: ensemble.kill(1))
        status, _, err = run(ensemble, "rm -r /t")
    assert status == 7
    found = re.match(r"rm: ([\d,]+) of 3,001 znodes were deleted, then: .* To go on: rm -r /t\n", err, re.DOTALL)
    assert found is not None, err
    done = int(found[1].replace(",", ""))
    ensemble.restart(1)
    ensemble.wait_ready()
    status, _, err = run(ensemble, "rm -rn /t > /dev/null", "rm -r /t", "exists /t")
    assert int(err.split()[0].replace(",", "")) <= 3_001 - done
    assert status == 1


def test_a_connection_that_comes_back_is_no_trouble(
    ensemble: Ensemble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def again() -> None:
        ensemble.kill(1)
        ensemble.restart(1)

    file = exported(tmp_path)
    with monkeypatch.context() as patch:
        dies_after(patch, Applier, "_count", 3, again)
        status, _, err = run(ensemble, f"import {file}", f"import -n {file}")
    assert (status, err.splitlines()[-1][:60]) == (0, "0 to create, 0 to change, 0 to delete, 3,001 the same, 0 eph")
    with monkeypatch.context() as patch:
        dies_after(patch, Remover, "_delete", 1_000, again)
        status, _, err = run(ensemble, "rm -r /t")
    assert (status, err) == (0, "")


def test_the_server_dies_while_it_is_counted(
    ensemble: Ensemble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(ensemble, f"import {exported(tmp_path)}")[0] == 0
    requests = 0
    real = Client.request

    async def counted(self: Client, *args: Any, **settings: Any) -> Any:
        nonlocal requests
        requests += 1
        return await real(self, *args, **settings)

    with monkeypatch.context() as patch:
        patch.setattr(Client, "request", counted)
        patch.setattr(Client, "children_and_stat", None)  # one request a znode
        assert run(ensemble, "rm -rn /t --output ndjson")[1].count("\n") == MANY + 1
    assert 0 < requests < 50
    with monkeypatch.context() as patch:
        dies_after(patch, Client, "request", 3, lambda: ensemble.kill(1))
        status, _, err = run(ensemble, "rm -r /t")
    assert status != 0 and "while counting: " in err and err.endswith("; nothing was done\n"), err
    ensemble.restart(1)
    ensemble.wait_ready()
    assert run(ensemble, "count /t --output raw")[1] == f"{MANY}\n"


def test_ctrl_c(ensemble: Ensemble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = exported(tmp_path)
    err = stopped(ensemble, f"import {file}", lambda stop: dies_after(monkeypatch, Applier, "_count", 2, stop))
    assert re.fullmatch(r"stopped: [\d,]+ of 3,001 writes are known to be done; to go on: import \S+ /t\n", err)
    monkeypatch.undo()
    assert run(ensemble, f"import {file}")[0] == 0
    err = stopped(ensemble, "rm -r /t", lambda stop: dies_after(monkeypatch, Remover, "_delete", 1_000, stop))
    assert re.fullmatch(r"rm: stopped: [\d,]+ of 3,001 znodes were deleted; rm -r /t goes on\n", err)
    monkeypatch.undo()
    assert run(ensemble, "rm -r /t", "exists /t")[0] == 1


def test_ctrl_c_under_an_export(ensemble: Ensemble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a tar nothing is left, as nobody could go on with it."""
    assert run(ensemble, f"import {exported(tmp_path)}")[0] == 0
    with monkeypatch.context() as patch:
        err = stopped(ensemble, f"export /t {tmp_path}/y", partial(dies_after, patch, TreeReader, "_records", 20))
    said = rf"stopped: [12],\d\d\d znodes so far are in (\S+); to go on: (export --resume /t {tmp_path}/y)\n"
    found = re.fullmatch(said, err)
    assert found is not None and Path(found[1]).is_file(), err
    assert run(ensemble, found[2])[0] == 0
    with monkeypatch.context() as patch:
        err = stopped(ensemble, f"export /t {tmp_path}/y.tar", partial(dies_after, patch, TreeReader, "_records", 20))
    assert err == "" and sorted(os.listdir(tmp_path)) == ["x.ndjson", "y"]


def test_what_import_has_deleted_is_told_as_well(
    ensemble: Ensemble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "top.ndjson"
    file.write_text('{"zabpy_export": 1, "path": "/t"}\n{"path": "/", "data": "new"}\n{"end": true}\n')
    assert run(ensemble, f"import {exported(tmp_path)}")[0] == 0
    again = f"import --delete {file}"
    err = stopped(ensemble, again, lambda stop: dies_after(monkeypatch, Applier, "_count", 3, stop))
    said = r"stopped: 1 of 1 writes and ([\d,]+) of 3,000 deletes are known to be done; to go on: .*\n"
    found = re.fullmatch(said, err)
    assert found is not None and 0 < int(found[1].replace(",", "")) < MANY, err
    monkeypatch.undo()
    status, out, err = run(ensemble, again, "ls /t")
    assert (status, out) == (0, "") and re.fullmatch(r"0 created, 0 changed, [\d,]+ deleted, 1 the same\n", err), err
