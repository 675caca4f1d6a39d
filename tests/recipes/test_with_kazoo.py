"""A mixed fleet: kazoo's locks and ours on one path, both ways round."""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import anyio
import anyio.to_thread
import pytest
from kazoo.client import KazooClient
from kazoo.exceptions import LockTimeout

import zabpy
from tests.client.conftest import Story
from zabpy.recipes import AcquireTimeoutError, Client


@contextmanager
def kazoo(hosts: str) -> Iterator[Any]:
    client = KazooClient(hosts)
    client.start(30)
    try:
        yield client
    finally:
        client.stop()
        client.close()


async def in_thread(fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    return await anyio.to_thread.run_sync(functools.partial(fn, *args, **kwargs), abandon_on_cancel=True)


async def refused(lock: Any, seconds: float) -> bool:
    """Whether kazoo does not get it: neither at once nor in time."""
    try:
        return not await in_thread(lock.acquire, timeout=seconds)
    except LockTimeout:
        return True


#: kazoo's, ours, and whether they exclude each other.
PAIRS: dict[str, tuple[Callable[[Any], Any], Callable[[Client], Any], bool]] = {
    "lock, lock": (lambda k: k.Lock("/l", "k"), lambda zk: zk.lock("/l"), True),
    "write, write": (lambda k: k.WriteLock("/l", "k"), lambda zk: zk.read_write_lock("/l").write, True),
    "write, read": (lambda k: k.WriteLock("/l", "k"), lambda zk: zk.read_write_lock("/l").read, True),
    "read, write": (lambda k: k.ReadLock("/l", "k"), lambda zk: zk.read_write_lock("/l").write, True),
    "read, read": (lambda k: k.ReadLock("/l", "k"), lambda zk: zk.read_write_lock("/l").read, False),
    "read, lock": (lambda k: k.ReadLock("/l", "k"), lambda zk: zk.lock("/l"), True),
    "semaphore": (lambda k: k.Semaphore("/l", "k", max_leases=1), lambda zk: zk.semaphore("/l", 1), True),
    "curator's layout": (
        lambda k: k.Lock("/l", "k", extra_lock_patterns=["-lock-"]),
        lambda zk: zk.lock("/l", layout="curator"),
        True,
    ),
}


@pytest.mark.parametrize("pair", PAIRS)
def test_they_exclude_each_other(pair: str, on_both: Callable[[Story], None], hosts: str) -> None:
    theirs_of, ours_of, exclusive = PAIRS[pair]

    async def story() -> None:
        with kazoo(hosts) as k:
            async with zabpy.connect(hosts) as zk:
                ours = ours_of(zk)
                async with ours:
                    assert await refused(theirs_of(k), 0.2 if exclusive else 20) == exclusive
                theirs = theirs_of(k)
                assert await in_thread(theirs.acquire, timeout=10)
                for timeout_ms in (0, 200 if exclusive else 20_000):
                    if exclusive:
                        with pytest.raises(AcquireTimeoutError):
                            await ours.acquire(timeout_ms)
                    else:
                        await (await ours.acquire(timeout_ms)).release()

                # Who waits gets it from the other one.
                async with anyio.create_task_group() as tasks:
                    got = anyio.Event()

                    async def wait() -> None:
                        async with ours:
                            got.set()
                            again = theirs_of(k)
                            tasks.start_soon(functools.partial(in_thread, again.acquire, timeout=10))
                            await anyio.sleep(0.1)

                    tasks.start_soon(wait)
                    if exclusive:
                        await anyio.sleep(0.1)
                        assert not got.is_set()
                    else:
                        await got.wait()
                    await in_thread(theirs.release)
                assert got.is_set()

    on_both(story)


def test_they_see_each_other_in_the_queue(on_both: Callable[[Story], None], hosts: str) -> None:
    async def story() -> None:
        with kazoo(hosts) as k:
            async with zabpy.connect(hosts) as zk:
                theirs = k.Lock("/l", "kazoo")
                await in_thread(theirs.acquire)
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(zk.lock("/l", data=b"ours").acquire)
                    while len(queue := await zk.lock("/l").queue()) < 2:
                        pass
                    assert [each.data for each in queue] == [b"kazoo", b"ours"]
                    assert queue[0].session_id == k.client_id[0]
                    assert await in_thread(theirs.contenders) == ["kazoo", "ours"]
                    await in_thread(theirs.release)

    on_both(story)


def test_turns_of_a_mixed_fleet(on_both: Callable[[Story], None], hosts: str) -> None:
    async def story() -> None:
        inside = turns = 0

        async def work_ours(zk: zabpy.Client) -> None:
            nonlocal inside, turns
            for _ in range(8):
                async with zk.lock("/l"):
                    assert not inside
                    inside += 1
                    await anyio.sleep(0.002)
                    inside -= 1
                    turns += 1

        def work_theirs(k: Any) -> None:
            nonlocal inside, turns
            for _ in range(8):
                lock = k.Lock("/l")
                lock.acquire(timeout=30)
                assert not inside
                inside += 1
                k.exists("/l")
                inside -= 1
                turns += 1
                lock.release()

        with kazoo(hosts) as k:
            async with zabpy.connect(hosts) as zk, anyio.create_task_group() as tasks:
                for _ in range(3):
                    tasks.start_soon(work_ours, zk)
                    tasks.start_soon(in_thread, work_theirs, k)
            assert turns == 48
            assert await in_thread(k.get_children, "/l") == []

    on_both(story)
