"""What tests of the shell are given: it runs in the test's process, against a real server.

``ZABPY_TESTED_ON=Apache`` runs the same tests on Apache's server.
"""

from collections.abc import Callable
from typing import NamedTuple, Protocol

import anyio
import pytest

from shell.commands import load
from shell.output import Look, Output
from shell.settings import Rules, Settings
from shell.shell import Asker, Leave, Shell
from shell.starting import started
from tests.client.conftest import hosts, one_server
from tests.client.test_login import accounts

from .terminals import one_shell, screen
from .three_servers import shell_servers

__all__ = ["one_shell", "screen", "shell_servers", "hosts", "one_server", "accounts"]

load()


class Told(NamedTuple):
    """What a shell ended with and said."""

    status: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


class Run(Protocol):
    def __call__(
        self,
        *lines: str,
        format: str = "table",
        rules: Rules | None = None,
        asker: Asker | None = None,
        look: Look | None = None,
        setup: Callable[[Shell], None] = lambda shell: None,
    ) -> Told: ...


@pytest.fixture
def zabsh(hosts: str) -> Run:
    """Runs lines in one shell, whose root is an empty znode of this test's own: ``zabsh("create /a", "ls /").out``."""
    return runner(hosts)


def runner(hosts: str) -> Run:
    """Runs lines in shells on these servers."""

    def run(
        *lines: str,
        format: str = "table",
        rules: Rules | None = None,
        asker: Asker | None = None,
        look: Look | None = None,
        setup: Callable[[Shell], None] = lambda shell: None,
    ) -> Told:
        out, err = bytearray(), bytearray()

        async def story() -> int:
            status = 0
            with anyio.fail_after(60):
                output = Output(out.extend, err.extend, format, look or Look())
                settings = Settings(hosts, rules=rules or Rules())
                async with started(settings, output, keeps_trying=False, asker=asker) as shell:
                    setup(shell)
                    try:
                        for line in lines:
                            status = await shell.run(line)
                    except Leave as leave:
                        status = leave.status
            return status

        status = anyio.run(story, backend="asyncio")
        return Told(status, out.decode(), err.decode())

    return run
