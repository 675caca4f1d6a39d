from collections.abc import Callable, Iterator

import pytest

from tests.interop.ensembles import Ensemble
from tests.interop.programs import PROGRAMS, Program
from zabpy.bench.systems import apache_is_here

#: Where the scripts run. A failure that Apache's servers give too is the script's or the client's own.
SITUATIONS: dict[str, Callable[[], Ensemble]] = {
    "three": lambda: Ensemble("zabpy"),
    "one down": lambda: Ensemble("zabpy", up=(1, 2)),
    "apache": lambda: Ensemble("Apache"),
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """All tests of one situation before the next: each has its servers started once, and no two at a time."""
    if "situation" in metafunc.fixturenames:
        metafunc.parametrize("situation", SITUATIONS, scope="session")


@pytest.fixture(scope="session")
def _running(situation: str) -> Iterator[Ensemble]:
    if situation == "apache" and not apache_is_here():
        pytest.skip("no Java or no Apache ZooKeeper: Debian's default-jre-headless and libzookeeper-java")
    ensemble = SITUATIONS[situation]()
    yield ensemble
    ensemble.close()


@pytest.fixture
def ensemble(_running: Ensemble) -> Iterator[Ensemble]:
    yield _running
    _running.mend()
    print(_running.log())


@pytest.fixture
def clients(ensemble: Ensemble) -> Iterator[Callable[[str, int], Program]]:
    """Starts a client, connected; all are gone when the test ends, and what they said is shown if it failed."""
    started: list[Program] = []

    def start(name: str, timeout_ms: int) -> Program:
        program = Program(PROGRAMS[name]())
        started.append(program)
        program.ask("connect", ensemble.hosts, str(timeout_ms))
        return program

    yield start
    for program in started:
        print(f"---- {program.process.args!r}\n{program.transcript()}")
        program.kill()
