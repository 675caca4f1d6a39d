"""The examples do what they say, with kazoo as it is, on three real servers of which one is killed and comes back."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from zabpy.bench.probes import first_accepted_write, leader_of
from zabpy.bench.systems import Servers

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    with Servers("zabpy", 3) as servers:
        for port in servers.client_ports.values():
            first_accepted_write([port])
        yield servers


@pytest.mark.parametrize("victim", ["leader", "follower"])
@pytest.mark.parametrize(
    ("name", "says_first", "says_last"),
    [
        ("lock", "1 -> 2", "counter: 40, expected: 40"),
        ("election", " leads", " s later"),
        ("config", "hello number", "good bye"),
        ("presence", "present: ['worker", " s later"),
    ],
)
def test_an_example_goes_on_while_a_server_is_killed_and_comes_back(
    servers: Servers, name: str, says_first: str, says_last: str, victim: str
) -> None:
    leader = leader_of(servers)
    killed = leader if victim == "leader" else leader % 3 + 1
    hosts = ",".join(f"127.0.0.1:{port}" for port in servers.client_ports.values())
    command = [sys.executable, str(EXAMPLES / f"{name}.py"), "--hosts", hosts]
    said: list[str] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                said.append(line)
                if killed and says_first in line:  # it is in the middle of what it shows
                    servers.kill(killed)
                    others = [port for i, port in servers.client_ports.items() if i != killed]
                    first_accepted_write(others)
                    servers.start(killed)
                    first_accepted_write([servers.client_ports[killed]])
                    killed = 0
            assert process.wait(60) == 0, "".join(said)
        finally:
            process.kill()
    assert not killed, "".join(said)
    assert says_last in "".join(said[-3:])
