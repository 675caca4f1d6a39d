"""Three server processes, for what is about ensembles: with short sessions, all words, and a super user."""

import time
from collections.abc import Callable, Iterator

import pytest

from tests.apache.pair import SUPER
from tests.client.conftest import TESTED_ON
from tests.interop.ensembles import serves
from zabpy.bench.systems import Servers

TIMEOUT_MS = 3_000
AUTH = [("digest", SUPER.decode())]
SETTINGS = f"""\
minSessionTimeout={TIMEOUT_MS}
4lw.commands.whitelist=*
reconfigEnabled=true
DigestAuthenticationProvider.superDigest=super:D/InIHSb7yEEbrWz8b9l71RjZJU=
"""


@pytest.fixture(scope="session")
def shell_servers() -> Iterator[Servers]:
    """All three serve when a test begins; who kills one starts it again, and waits for it."""
    with Servers(TESTED_ON, 3, more=SETTINGS) as servers:
        wait_all(servers)
        yield servers


def hosts_of(servers: Servers) -> str:
    return ",".join(f"127.0.0.1:{port}" for port in servers.client_ports.values())


def wait_all(servers: Servers) -> None:
    wait(lambda: all(map(serves, servers.client_ports.values())), 60)


def wait(condition: Callable[[], object], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)
