"""What tests of the client and of what is built on it are given; tests/recipes and others import it from here."""

import asyncio
import itertools
import os
from collections.abc import Awaitable, Callable, Iterator

import anyio
import pytest
import sniffio
import trio

import zabpy
from zabpy.bench.systems import Servers
from zabpy.client import Client

Story = Callable[[], Awaitable[None]]
#: Whose servers the tests run on: ``zabpy`` or ``Apache``. What must hold, must hold on both.
TESTED_ON = os.environ.get("ZABPY_TESTED_ON", "zabpy")
_numbers = itertools.count(1)


def told(zxid: int) -> int | None:
    """The zxid of an event: servers before 3.9 do not say it."""
    return zxid if TESTED_ON == "zabpy" else None


@pytest.fixture(params=["trio", "asyncio"])
def on_both(request: pytest.FixtureRequest) -> Callable[[Story], None]:
    """Runs a story under trio in one test and under asyncio in another: ``def test_x(on_both): on_both(story)``.

    The test itself is a plain function: pytest-trio would run an ``async def`` one under trio, whatever it was told.
    """
    backend: str = request.param

    def run(story: Story) -> None:
        async def checked() -> None:
            assert sniffio.current_async_library() == backend
            with anyio.fail_after(60):
                await story()

        # As users do it. `anyio.run` would leave a mark by which anyio knows the backend in callbacks, too, and without
        # that it does not.
        if backend == "asyncio":
            asyncio.run(checked())
        else:
            trio.run(checked)

    return run


@pytest.fixture(scope="session")
def one_server() -> Iterator[str]:
    """``host:port`` of a server process that all tests share."""
    with Servers(TESTED_ON, 1) as servers:
        yield f"127.0.0.1:{servers.client_ports[1]}"


@pytest.fixture
def hosts(one_server: str) -> str:
    """Where to connect, with an empty chroot of this test's own."""
    chroot = f"/test-{next(_numbers)}"

    async def make() -> None:
        async with zabpy.connect(one_server, connect_timeout_ms=30_000) as zk:
            await zk.create(chroot)

    anyio.run(make, backend="trio")
    return one_server + chroot


async def reconnect(zk: Client) -> None:
    """Have the client go to another server, or to the same one anew."""
    async with zk.states() as states:
        zk._connection.leave("the test wants another connection")
        async for state in states:
            if state is zabpy.State.JEOPARDY:
                break
    await zk.wait_connected()
