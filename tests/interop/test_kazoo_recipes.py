"""kazoo's recipes, two clients each, with a server killed under the ones that hold something."""

import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from kazoo.recipe.cache import TreeCache

from tests.interop.ensembles import Ensemble, wait_until


@pytest.fixture
def pair(ensemble: Ensemble) -> Iterator[tuple[Any, Any]]:
    with ensemble.client() as ann, ensemble.client() as bob:
        yield ann, bob


@pytest.fixture
def path(request: pytest.FixtureRequest) -> str:
    return "/recipes/" + "".join(letter if letter.isalnum() else "-" for letter in request.node.name)


def in_thread(call: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    return thread


def test_lock_and_semaphore(pair: tuple[Any, Any], path: str) -> None:
    ann, bob = pair
    with ann.Lock(path, "ann"):
        assert not bob.Lock(path, "bob").acquire(blocking=False)
        assert ann.Lock(path, "me").contenders() == ["ann"]
    assert bob.Lock(path, "bob").acquire(timeout=10)
    seats = [client.Semaphore(f"{path}/seats", max_leases=2) for client in (ann, bob, ann)]
    assert [seat.acquire(blocking=False) for seat in seats] == [True, True, False]


def test_read_and_write_locks(pair: tuple[Any, Any], path: str) -> None:
    ann, bob = pair
    with ann.ReadLock(path), bob.ReadLock(path):
        assert not ann.WriteLock(path).acquire(blocking=False)
    with bob.WriteLock(path):
        assert not ann.ReadLock(path).acquire(blocking=False)


def test_an_election_goes_on_when_the_leader_stops(pair: tuple[Any, Any], path: str) -> None:
    ann, bob = pair
    led: list[str] = []
    stop = threading.Event()

    def lead(name: str) -> None:
        led.append(name)
        assert stop.wait(30) or name != "ann"

    first = in_thread(lambda: ann.Election(path, "ann").run(lead, "ann"))
    wait_until(lambda: led == ["ann"], "ann leads")
    second = in_thread(lambda: bob.Election(path, "bob").run(lead, "bob"))
    wait_until(lambda: ann.Election(path).contenders() == ["ann", "bob"], "bob waits")
    assert led == ["ann"]
    stop.set()
    first.join(30)
    second.join(30)
    assert led == ["ann", "bob"]


def test_barriers(pair: tuple[Any, Any], path: str) -> None:
    ann, bob = pair
    barrier = ann.Barrier(f"{path}/one")
    barrier.create()
    assert not bob.Barrier(f"{path}/one").wait(0.2)
    barrier.remove()
    assert bob.Barrier(f"{path}/one").wait(10)

    double = [client.DoubleBarrier(f"{path}/two", 2) for client in (ann, bob)]
    first = in_thread(double[0].enter)
    first.join(0.2)
    assert first.is_alive()
    double[1].enter()
    first.join(10)
    assert not first.is_alive()
    first = in_thread(double[0].leave)
    double[1].leave()
    first.join(10)
    assert not first.is_alive()


def test_a_party_and_a_counter_are_shared(pair: tuple[Any, Any], path: str) -> None:
    ann, bob = pair
    parties = [client.Party(f"{path}/party", name) for client, name in zip(pair, ("ann", "bob"))]
    for party in parties:
        party.join()
    bob.sync(f"{path}/party")
    assert sorted(parties[1]) == ["ann", "bob"]
    parties[0].leave()
    bob.sync(f"{path}/party")
    assert list(parties[1]) == ["bob"]

    def count(client: Any) -> None:
        counter = client.Counter(f"{path}/counter")
        for _ in range(20):
            counter += 1

    threads = [in_thread(lambda client=client: count(client)) for client in pair]  # type: ignore[misc]
    for thread in threads:
        thread.join(60)
    ann.sync(f"{path}/counter")
    assert ann.Counter(f"{path}/counter").value == 40


def test_queues_keep_their_order(pair: tuple[Any, Any], path: str) -> None:
    ann, bob = pair
    queue = ann.Queue(f"{path}/queue")
    for value, priority in ((b"second", 100), (b"third", 100), (b"first", 1)):
        queue.put(value, priority)
    taker = bob.Queue(f"{path}/queue")
    bob.sync(f"{path}/queue")
    assert [taker.get() for _ in range(4)] == [b"first", b"second", b"third", None]

    locking = ann.LockingQueue(f"{path}/locking")
    locking.put_all([b"one", b"two"])
    other = bob.LockingQueue(f"{path}/locking")
    assert locking.get(10) == b"one"
    assert other.get(10) == b"two"
    assert locking.consume() and other.consume()
    assert len(locking) == 0


def test_leases(pair: tuple[Any, Any], path: str) -> None:
    ann, bob = pair
    assert ann.NonBlockingLease(f"{path}/lease", timedelta(hours=1), identifier="ann")
    assert not bob.NonBlockingLease(f"{path}/lease", timedelta(hours=1), identifier="bob")
    leases = [
        client.MultiNonBlockingLease(2, f"{path}/leases", timedelta(hours=1), identifier=name)
        for client, name in ((ann, "ann"), (bob, "bob"), (bob, "cid"))
    ]
    assert [bool(lease) for lease in leases] == [True, True, False]


def test_partitions_and_caches(pair: tuple[Any, Any], path: str) -> None:
    ann, bob = pair
    partitioners = [
        client.SetPartitioner(f"{path}/set", ("a", "b", "c", "d"), identifier=name, time_boundary=0.2)
        for client, name in ((ann, "ann"), (bob, "bob"))
    ]

    def both_have_theirs() -> bool:
        for partitioner in partitioners:
            if partitioner.release:
                partitioner.release_set()
            elif partitioner.allocating:
                partitioner.wait_for_acquire(0.05)
        return all(partitioner.acquired for partitioner in partitioners) and sorted(
            [*partitioners[0], *partitioners[1]]
        ) == ["a", "b", "c", "d"]

    wait_until(both_have_theirs, "each has its half")
    for partitioner in partitioners:
        partitioner.finish()


def test_what_is_held_is_held_when_a_server_dies(ensemble: Ensemble, pair: tuple[Any, Any], path: str) -> None:
    """One after the other, each server is killed; the lock has one holder all the time, the cache follows."""
    ann, bob = pair
    lock = ann.Lock(f"{path}/lock", "ann")
    assert lock.acquire(timeout=10)
    ann.create(f"{path}/tree/a", b"0", makepath=True)
    cache = TreeCache(bob, f"{path}/tree")
    cache.start()
    wait_until(lambda: cache.get_data(f"{path}/tree/a") is not None, "the cache has begun")
    for i in ensemble.up:
        ensemble.kill(i)
        ensemble.set(f"{path}/tree/a", b"%d" % i)
        wait_until(lambda i=i: cache.get_data(f"{path}/tree/a").data == b"%d" % i, "the cache follows")  # type: ignore[misc]
        assert not bob.Lock(f"{path}/lock", "bob").acquire(blocking=False)
        assert lock.is_acquired and ensemble.exists(f"{path}/lock")
        ensemble.mend()
    cache.close()
    lock.release()
    assert bob.Lock(f"{path}/lock", "bob").acquire(timeout=10)
