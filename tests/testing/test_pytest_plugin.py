"""The fixtures, as a user's own run of pytest finds them; and what they cost a run that does not ask for them."""

import os
import re
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from zabpy.testing import Ensemble

TESTS = """
from kazoo.client import KazooClient
import pytest

seen = []

@pytest.mark.parametrize("time", [1, 2])
def test_one(zab_server, time):
    assert len(zab_server.servers) == 1
    client = KazooClient(zab_server.hosts)
    client.start()
    assert client.get_children("/") == ["zookeeper"], "it is empty each time"
    client.create("/a", ephemeral=True)
    zab_server.expire(client)
    client.stop()
    client.close()
    seen.append(zab_server.hosts)

def test_three(zab_ensemble):
    with zab_ensemble.partition(zab_ensemble.leader):
        pass
    assert len(zab_ensemble.servers) == 3

async def test_async(zab_server):
    assert zab_server.leader == 1

def test_both(zab_server, zab_ensemble):
    assert zab_server is not zab_ensemble

@pytest.mark.parametrize("time", [1, 2])
def test_client(zab_client, zab_server, time):
    zab_client.create("/a", b"1")
    assert zab_client.get("/a").data == b"1"
    session = zab_client.session
    zab_server.expire(zab_client)
    assert zab_client.get("/a").data == b"1"
    assert session.lost and zab_client.session.id != session.id

def test_fails(zab_server):
    assert zab_server is None
"""


def run(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:hypothesispytest", *arguments],
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=100,
        env={**os.environ, "PYTHONPATH": "", "PYTEST_ADDOPTS": ""},
    )


def write(directory: Path, tests: str, ini: str = "") -> None:
    (directory / "test_it.py").write_text(tests)
    (directory / "pytest.ini").write_text(f"[pytest]\ntrio_mode = true\n{ini}")


def test_it_is_an_entry_point() -> None:
    (found,) = entry_points(group="pytest11", name="zabpy")
    assert found.value == "zabpy.testing.pytest_plugin"


def test_a_users_tests_have_servers(tmp_path: Path) -> None:
    write(tmp_path, TESTS)
    done = run(tmp_path)
    assert "1 failed, 7 passed" in done.stdout, done.stdout
    assert "zabpy servers" in done.stdout and "event=role role=leading" in done.stdout, "the report of the failed test"
    assert done.stdout.count("event=started") == 1, "and no other's"


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_clients_are_fixtures_under_anyios_plugin(backend: str, tmp_path: Path) -> None:
    tests = f"""
import pytest
import zabpy

pytestmark = pytest.mark.anyio

@pytest.fixture
def anyio_backend():
    return "{backend}"

@pytest.fixture
async def zk(zab_server):
    async with zabpy.connect(zab_server.hosts) as zk:
        yield zk

@pytest.fixture
async def held(zk):
    async with zk.lock("/lock") as held:
        yield held

async def test_ours(held, zk, zab_client):
    held.check()
    await zk.create("/a", b"1")
    assert zab_client.get("/a").data == b"1"

async def test_again(zk):
    assert await zk.children("/") == ["zookeeper"]
"""
    (tmp_path / "test_it.py").write_text(tests)
    done = run(tmp_path, "-p", "no:trio", "-p", "no:pytest_trio")
    assert "2 passed" in done.stdout, done.stdout


def test_fixtures_are_listed_with_what_they_are(tmp_path: Path) -> None:
    write(tmp_path, "")
    listed = run(tmp_path, "--fixtures").stdout
    for name in ("zab_server", "zab_ensemble", "zab_client"):
        assert re.search(rf"^{name} .*\n +A ", listed, re.MULTILINE), listed


def test_settings_stand_in_the_ini_file(tmp_path: Path) -> None:
    test = """
def test_it(zab_server):
    config = zab_server.servers[0]._host.config
    assert config.ttl_znodes and config.reconfig
"""
    write(tmp_path, test, "zab_settings =\n  extendedTypesEnabled=true\n  reconfigEnabled = true\n")
    done = run(tmp_path)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("line", "told"),
    [("extendedTypes=true", "zab_settings: .*extendedTypesEnabled"), ("x", "zab_settings: 'x': expected key=value")],
)
def test_settings_that_nobody_knows_are_told(line: str, told: str, tmp_path: Path) -> None:
    write(tmp_path, "def test_it(zab_server): pass", f"zab_settings =\n  {line}\n")
    done = run(tmp_path)
    assert done.returncode != 0 and re.search(told, done.stdout), done.stdout


def test_an_interrupted_run_ends(tmp_path: Path) -> None:
    write(tmp_path, "def test_it(zab_ensemble): raise KeyboardInterrupt")
    done = run(tmp_path)
    assert done.returncode == pytest.ExitCode.INTERRUPTED, done.stdout + done.stderr


def test_a_run_that_asks_for_nothing_loads_next_to_nothing(tmp_path: Path) -> None:
    test = """
import sys
def test_it():
    print()
    print("ours", *(name for name in sys.modules if name.startswith("zabpy")))
"""
    write(tmp_path, test)
    done = run(tmp_path, "-s")
    (loaded,) = re.findall(r"^ours (.*)$", done.stdout, re.MULTILINE)
    assert set(loaded.split()) == {"zabpy", "zabpy.testing", "zabpy.testing.pytest_plugin"}


def test_what_it_costs_such_a_run() -> None:
    """In CPU time, which is the same on a busy machine."""
    code = """
import pytest, sys, time
before, began = set(sys.modules), time.process_time()
import zabpy.testing.pytest_plugin
print(round(1000 * (time.process_time() - began), 1))
print(*(name for name in sys.modules.keys() - before if "." not in name))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    took_ms, others = done.stdout.splitlines()
    print(f"the plugin is loaded in {took_ms} ms")
    assert others == "zabpy" and float(took_ms) < 50


def test_our_own_tests_have_the_fixtures_too(zab_server: Ensemble) -> None:
    assert zab_server.leader == 1
