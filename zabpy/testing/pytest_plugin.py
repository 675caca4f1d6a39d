"""For pytest: servers as fixtures. Loaded by itself where zabpy is installed (entry point ``pytest11``).

    def test_a_job_runs_once(zab_server):                 # one server; zab_ensemble: three
        job = Job(zab_server.hosts)                       # kazoo, aiozk, zabpy: whatever it uses
        ...
        zab_server.expire(job.client)

    def test_an_entry_is_written(zab_client):             # a `zabpy.blocking` client of zab_server
        assert zab_client.get("/entry").data == b"x"

Each test has servers of its own, with an empty tree, on ports of their own: that takes some ten milliseconds, so
nothing is shared, and nothing is left for the next test. They are plain fixtures, so tests may be ``async def`` under
any plugin. When a test fails, its report shows what the servers said.

**A client of one's own, for ``async def`` tests,** is a fixture under anyio's plugin and pytest-trio, which begin and
end it in one task:

    @pytest.fixture
    async def zk(zab_server):
        async with zabpy.connect(zab_server.hosts) as zk:
            yield zk

pytest-asyncio ends a fixture in another task than it began it in. No ``async with`` that cancels its body can be left
so (anyio and `asyncio.TaskGroup` refuse it: "Attempted to exit cancel scope in a different task"), the client's and
what is held among them. There write ``async with zabpy.connect(zab_server.hosts) as zk`` in the test itself, or take
zab_client, which works under all of them.

For other numbers, scopes and settings write your own:

    @pytest.fixture(scope="module")
    def servers():
        with zabpy.testing.Ensemble(5, observers=2) as ensemble:
            yield ensemble

In the ini file, lines of ZooKeeper's configuration for the servers of all fixtures here:

    zab_settings =
        extendedTypesEnabled=true

Nothing else of zabpy is imported before a test asks for one of these.
"""

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from zabpy.blocking import Client

    from .local import Ensemble

_INI = "zab_settings"
_ENSEMBLES: pytest.StashKey[list["Ensemble"]] = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addini(_INI, "Lines of zoo.cfg, key=value, for the servers of zab_server and zab_ensemble", "linelist", [])


@pytest.fixture
def zab_server(request: pytest.FixtureRequest) -> Iterator["Ensemble"]:
    """A `zabpy.testing.Ensemble` of one ZooKeeper server; empty, and this test's alone."""
    with _ensemble(request, 1) as ensemble:
        yield ensemble


@pytest.fixture
def zab_ensemble(request: pytest.FixtureRequest) -> Iterator["Ensemble"]:
    """A `zabpy.testing.Ensemble` of three ZooKeeper servers; empty, and this test's alone."""
    with _ensemble(request, 3) as ensemble:
        yield ensemble


@pytest.fixture
def zab_client(zab_server: "Ensemble") -> Iterator["Client"]:
    """A connected `zabpy.blocking.Client` of zab_server, closed at the end."""
    from zabpy.blocking import connect

    with connect(zab_server.hosts) as client:
        yield client


@contextmanager
def _ensemble(request: pytest.FixtureRequest, servers: int) -> Iterator["Ensemble"]:
    from .local import Ensemble

    settings: dict[str, object] = {}
    for line in request.config.getini(_INI):
        key, equals, value = line.partition("=")
        if not equals:
            raise pytest.UsageError(f"{_INI}: {line!r}: expected key=value")
        settings[key.strip()] = value.strip()
    try:
        ensemble = Ensemble(servers, settings=settings)
    except ValueError as error:
        raise pytest.UsageError(f"{_INI}: {error}") from error
    with ensemble:
        request.node.stash.setdefault(_ENSEMBLES, []).append(ensemble)
        yield ensemble


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, None]:
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        for ensemble in item.stash.get(_ENSEMBLES, []):
            report.sections.append(("zabpy servers", ensemble.log))
