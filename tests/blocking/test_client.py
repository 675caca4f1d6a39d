"""The client in plain code, on a real server."""

import asyncio
import gc
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import trio

import zabpy
import zabpy.blocking
from tests.blocking.conftest import eventually
from tests.client.conftest import told
from zabpy.blocking import Client, TimedOutError


def test_a_first_walk(zk: Client) -> None:
    assert zk.state is zabpy.State.CONNECTED
    made = zk.create("/a", b"1")
    assert zk.get("/a") == (b"1", made.stat)
    assert zk.children("/") == ["a"]
    with zk.watch("/a", recursive=True) as events:
        changed = zk.set("/a", b"2")
        assert next(events) == zabpy.Resynced("/a")
        assert next(events) == zabpy.Changed("/a", told(changed.mzxid))
    child = zk.create("/a/b", ephemeral=True)
    assert child.stat.ephemeral_owner == zk.session.id
    with pytest.raises(zabpy.NotEmptyError) as error:
        zk.delete("/a")
    assert (error.value.operation, error.value.path) == ("delete", "/a")


def test_a_one_shot_watch(zk: Client) -> None:
    stat, fired = zk.exists_watched("/a")
    assert stat is None
    with fired:
        with pytest.raises(TimedOutError):
            fired.with_timeout(50).wait()
        made = zk.create("/a")
        assert fired.wait() == zabpy.Created("/a", told(made.stat.czxid))
        assert fired.is_set


def test_what_stands_for_the_same_is_equal_and_is_taken_as_a_parameter(zk: Client) -> None:
    session = zk.session
    assert session == zk.session and len({session, zk.session}) == 1
    assert zk.get("/", session=session).stat.num_children == 0
    session.check()
    assert 0 < session.time_left_ms <= session.timeout_ms


def test_many_threads_at_once(zk: Client) -> None:
    zk.create("/n")

    def work(number: int) -> str:
        return zk.create("/n/x-", b"%d" % number, sequence=True).path

    with ThreadPoolExecutor(16) as pool:
        paths = list(pool.map(work, range(200)))
    assert len(set(paths)) == 200
    assert sorted(int(zk.get(path).data) for path in paths) == list(range(200))


def test_each_item_of_a_stream_is_for_one_thread(zk: Client) -> None:
    zk.create("/a")
    seen: list[object] = []

    def take() -> None:
        for event in events:
            seen.append(event)
            if isinstance(event, zabpy.Deleted):
                events.close()

    with zk.watch("/a") as events:
        threads = [threading.Thread(target=take) for _ in range(3)]
        for thread in threads:
            thread.start()
        for _ in range(20):
            zk.set("/a", b"x")
        zk.delete("/a")
        for thread in threads:
            thread.join(10)
    assert not any(thread.is_alive() for thread in threads)
    assert sorted(type(event).__name__ for event in seen) == ["Changed"] * 20 + ["Deleted", "Resynced"]


def test_who_gives_up_waiting_for_an_item_loses_nothing(zk: Client) -> None:
    with zk.watch("/a") as events:
        assert isinstance(next(events), zabpy.Resynced)
        began = time.monotonic()
        with pytest.raises(TimedOutError, match="nothing within 50 ms"):
            events.next(timeout_ms=50)
        with pytest.raises(TimeoutError):
            next(events.with_timeout(0))
        assert time.monotonic() - began < 5
        zk.create("/a")
        assert isinstance(events.next(timeout_ms=5_000), zabpy.Created)


def test_a_stream_may_be_left_in_the_middle(zk: Client) -> None:
    for _ in range(3):
        with zk.states() as states:
            for state in states:
                assert state is zabpy.State.CONNECTED
                break
    with zk.states() as states:
        assert next(states) is zabpy.State.CONNECTED
        states.close()
        assert list(states) == []


def test_a_call_takes_no_longer_than_it_may(zk: Client) -> None:
    _, fired = zk.exists_watched("/never")
    began = time.monotonic()
    with pytest.raises(TimedOutError):
        fired.with_timeout(100).wait()
    assert 0.1 <= time.monotonic() - began < 5
    in_time = zk.with_timeout(10_000)
    assert in_time == zk and in_time.exists("/never") is None
    for no_time in (-1, True, 0.5, "x"):
        with pytest.raises(zabpy.BadArgumentsError, match="expected whole milliseconds"):
            zk.with_timeout(no_time)  # type: ignore[arg-type]
    assert issubclass(TimedOutError, TimeoutError) and issubclass(TimedOutError, zabpy.ZabpyError)


def test_before_it_is_open_and_after_it_is_closed_calls_raise_at_once(hosts: str) -> None:
    zk = zabpy.blocking.connect(hosts)
    with pytest.raises(zabpy.ClosedClientError, match="not open"):
        zk.get("/")
    zk.close()
    session = zk.open().session
    assert zk.open() is zk and zk.session == session
    zk.close()
    zk.close()
    uses: list[Callable[[], object]] = [lambda: zk.get("/"), lambda: zk.state, lambda: zk.watch("/"), session.check]
    for use in uses:
        with pytest.raises(zabpy.ClosedClientError):
            use()
    assert session.lost
    with zk:  # another session
        assert zk.session.id != session.id


def test_closing_wakes_those_who_wait_in_other_threads(hosts: str) -> None:
    zk = zabpy.blocking.connect(hosts).open()
    raised: list[BaseException] = []
    _, fired = zk.exists_watched("/never")
    streaming = zk.states()
    states = streaming.__enter__()
    next(states)

    def noting(wait: Callable[[], object]) -> None:
        try:
            wait()
        except Exception as error:
            raised.append(error)

    threads = [threading.Thread(target=noting, args=[wait]) for wait in (fired.wait, lambda: list(states))]
    for thread in threads:
        thread.start()
    time.sleep(0.2)  # for them to wait; without it the test would only test less
    began = time.monotonic()
    zk.close()
    for thread in threads:
        thread.join(5)
    assert time.monotonic() - began < 3
    assert not any(thread.is_alive() for thread in threads)
    assert {type(error) for error in raised} <= {zabpy.SessionLostError, zabpy.ClosedClientError}
    streaming.__exit__(None, None, None)


def test_no_server_is_said_and_leaves_nothing() -> None:
    zk = zabpy.blocking.connect("127.0.0.1:1", connect_timeout_ms=200)
    with pytest.raises(zabpy.NoServerError) as error:
        zk.open()
    assert error.value.tried
    with pytest.raises(zabpy.ClosedClientError):
        zk.get("/")
    with pytest.raises(TimedOutError):
        zabpy.blocking.connect("127.0.0.1:1").with_timeout(100).open()


def test_what_a_body_raises_comes_out_as_it_was(hosts: str) -> None:
    mine = ValueError("mine")
    with pytest.raises(ValueError) as error:
        with zabpy.blocking.connect(hosts) as zk, zk.watch("/") as _:
            raise mine
    assert error.value is mine


def test_a_thread_that_runs_an_event_loop_may_wait_too(hosts: str) -> None:
    """As the cells of a notebook do."""

    async def cell() -> None:
        with zabpy.blocking.connect(hosts) as zk, zk.watch("/loop") as events:
            zk.ensure("/loop")
            assert isinstance(next(events), zabpy.Resynced)
            zk.delete("/loop")

    asyncio.run(cell())
    trio.run(cell)


def test_its_own_thread_raises_instead_of_waiting_for_itself(zk: Client) -> None:
    uses: list[Callable[[], object]] = [lambda: zk.get("/"), lambda: zk.state, lambda: next(states)]
    with zk.states() as states:
        for use in uses:
            with pytest.raises(zabpy.WrongLoopError):
                zk._portal.call_plain(use)


def test_a_call_does_not_wait_for_one_that_takes_long(zk: Client) -> None:
    _, fired = zk.exists_watched("/late")
    thread = threading.Thread(target=fired.wait)
    thread.start()
    assert zk.with_timeout(5_000).exists("/late") is None
    zk.create("/late")
    thread.join(5)
    assert not thread.is_alive()


def test_a_value_is_changed_by_a_function_of_this_thread(zk: Client) -> None:
    value = zk.atomic_value("/sum", default=b"0")

    def more(data: bytes) -> bytes:
        zk.exists("/sum")  # it may use the client, and take its time
        return b"%d" % (int(data) + 1)

    threads = [threading.Thread(target=lambda: [value.update(more) for _ in range(5)]) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert value.get().data == b"15"


def threads_of_clients() -> int:
    return sum(thread.name == "zabpy" for thread in threading.enumerate())


def test_a_client_that_nobody_holds_any_more_ends_with_a_warning(hosts: str, zk: Client) -> None:
    before = threads_of_clients()
    clients = [zabpy.blocking.connect(hosts).open()]
    clients[0].create("/mine", ephemeral=True)
    with pytest.warns(ResourceWarning, match="was dropped without being closed"):
        clients.clear()
    eventually(lambda: zk.exists("/mine") is None)
    eventually(lambda: threads_of_clients() == before)


@pytest.mark.filterwarnings("error")
def test_a_client_is_not_dropped_while_somebody_has_a_part_of_it(hosts: str) -> None:
    lock = zabpy.blocking.connect(hosts).open().with_timeout(20_000).lock("/l")
    gc.collect()
    with lock as held:
        del lock
        gc.collect()
        held.check()
        assert held.token > 0
        parts = [held]
    del held
    gc.collect()
    with pytest.warns(ResourceWarning):
        parts.clear()
    eventually(lambda: threads_of_clients() == 0)


@pytest.mark.filterwarnings("error")
def test_a_client_that_was_closed_is_dropped_without_a_word(hosts: str) -> None:
    client = zabpy.blocking.connect(hosts).open()
    client.close()
    del client
    gc.collect()
