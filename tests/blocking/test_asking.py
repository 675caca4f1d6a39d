"""Calls that await nothing but answers are run without a task of their own: whatever becomes of them, as with one."""

import inspect
import threading
import time
from collections.abc import Callable, Iterator

import pytest

import zabpy
import zabpy.blocking
from tests.blocking.conftest import eventually
from zabpy.blocking import Client, TimedOutError
from zabpy.client.ledger import SLOTS_MAX
from zabpy.client.operations import Operations
from zabpy.testing import Ensemble


@pytest.fixture
def alone() -> Iterator[tuple[Client, Ensemble]]:
    """A client whose server is gone and does not come back by itself."""
    with Ensemble(1) as ensemble:
        with zabpy.blocking.connect(ensemble.hosts, session_timeout_ms=60_000, request_timeout_ms=60_000,
                                    close_timeout_ms=100) as zk:  # fmt: skip
            zk.create("/a", b"1")
            ensemble.kill(1)
            eventually(lambda: zk.state is zabpy.State.JEOPARDY)
            yield zk, ensemble


def test_no_operation_waits_for_anything_else(zk: Client) -> None:
    """Each of them is called once: what it awaited that is no answer would be an error here."""
    zk.create("/x", b"1", parents=True)
    zk.create("/y/z/n-", sequence=True, parents=True, lost_reply="find")
    zk.ensure("/e/f/g")
    assert zk.get("/x").data == b"1" and zk.exists("/none") is None
    zk.set("/x", b"2", lost_reply="once")
    assert zk.children("/e/f") == ["g"] and zk.children_and_stat("/e")[0] == ["f"]
    acl, stat = zk.get_acl("/x")
    zk.set_acl("/x", acl, stat.aversion)
    zk.sync()
    assert zk.ephemerals() == [] and zk.count_descendants("/e") == 2 and zk.whoami()
    zk.get_config()
    with pytest.raises(zabpy.ZabpyError):
        zk.reconfig(leaving="7")
    zk.delete("/x", lost_reply="once")
    with zk.transaction() as t:
        t.create("/t").set("/t", b"x")
    assert zk.get("/t").data == b"x"
    asked = {name for name, fn in vars(Operations).items() if inspect.iscoroutinefunction(fn) and name[0] != "_"}
    assert asked == {"create", "ensure", "get", "set", "delete", "exists", "children", "children_and_stat", "get_acl",
                     "set_acl", "sync", "ephemerals", "count_descendants", "whoami", "get_config", "reconfig",
                     "request"}  # fmt: skip


@pytest.mark.parametrize("use", [lambda zk: zk.get("/a"), lambda zk: zk.create("/b"), lambda zk: zk.sync()])
def test_what_takes_too_long_is_given_up_and_not_done_later(
    alone: tuple[Client, Ensemble], use: Callable[[Client], object]
) -> None:
    zk, ensemble = alone
    began = time.monotonic()
    with pytest.raises(TimedOutError, match="not done within 100 ms"):
        use(zk.with_timeout(100))
    assert 0.09 < time.monotonic() - began < 5
    ensemble.restart(1)
    assert zk.get("/a").data == b"1" and zk.exists("/b") is None


def test_another_thread_closes_the_client_meanwhile(alone: tuple[Client, Ensemble]) -> None:
    zk, _ = alone
    errors: list[BaseException] = []

    def get() -> None:
        try:
            zk.get("/a")
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=get) for _ in range(5)]
    for thread in threads:
        thread.start()
    time.sleep(0.1)
    zk.close()
    for thread in threads:
        thread.join(10)
    assert [type(error) for error in errors] == [zabpy.ClosedClientError] * 5


def test_a_connection_that_breaks_and_more_threads_than_marks(zk: Client) -> None:
    """All is done once: many wait for a mark, and many look for theirs when their connection broke."""
    zk.create("/many")
    failures: list[BaseException] = []

    def create(number: int) -> None:
        try:
            for turn in range(5):
                zk.create(f"/many/{number}-{turn}")
                zk.set("/many", b"%d" % number)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=create, args=(number,)) for number in range(SLOTS_MAX + 40)]
    for thread in threads:
        thread.start()
    for _ in range(3):
        time.sleep(0.1)
        connection = zk._bare._connection
        zk._portal.tell(connection._link_over.set)  # whatever is in flight
    for thread in threads:
        thread.join(30)
    # A set whose answer was lost says so; a create never has to.
    assert {type(error) for error in failures} <= {zabpy.ConnectionLossError}
    assert all(getattr(error, "operation", "") == "set" for error in failures)
    names = zk.children("/many")
    assert len(names) == len(set(names)) >= 5 * len(threads) - 4 * len(failures)


def test_an_error_has_its_facts_and_nothing_is_kept(zk: Client) -> None:
    jobs = set(zk._portal._jobs)  # the client's own
    with pytest.raises(zabpy.NoNodeError) as error:
        zk.get("/none")
    assert (error.value.operation, error.value.path) == ("get", "/none")
    assert zk.get("/") is not None
    assert zk._portal._jobs == jobs
