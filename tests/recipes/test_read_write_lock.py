"""Many readers or one writer, in the order they came."""

from collections.abc import Callable

import anyio
import pytest
from trio.testing import MockClock

import zabpy
from tests.client.conftest import Story
from tests.recipes.killing import kill
from tests.recipes.memory import world
from zabpy.recipes import AcquireTimeoutError, LockLost, NotReentrantError


def test_readers_share_and_writers_do_not(on_both: Callable[[Story], None], hosts: str) -> None:
    async def story() -> None:
        async with zabpy.connect(hosts) as a, zabpy.connect(hosts) as b:
            ours, theirs = a.read_write_lock("/rw"), b.read_write_lock("/rw")
            async with ours.read:
                async with theirs.read as other:
                    assert other.path.endswith("__rlock__0000000001")
                for timeout_ms in (0, 30):
                    with pytest.raises(AcquireTimeoutError, match="the write lock /rw"):
                        await theirs.write.acquire(timeout_ms)
                    with pytest.raises(AcquireTimeoutError):
                        await b.lock("/rw").acquire(timeout_ms)
            async with ours.write:
                for lock in (theirs.read, theirs.write, b.lock("/rw")):
                    with pytest.raises(AcquireTimeoutError):
                        await lock.acquire(0)
                with pytest.raises(NotReentrantError):
                    await ours.read.acquire()
            assert await a.children("/rw") == []

    on_both(story)


def test_who_comes_after_a_waiting_writer_waits_for_him(on_both: Callable[[Story], None], hosts: str) -> None:
    async def story() -> None:
        async with zabpy.connect(hosts) as a, zabpy.connect(hosts) as b:
            rw = a.read_write_lock("/rw")
            order: list[str] = []

            async def take(lock: zabpy.recipes.Lock, name: str) -> None:
                async with lock:
                    order.append(name)

            async with anyio.create_task_group() as tasks:
                async with rw.read:
                    count = 1
                    for lock, name in ((rw.write, "writer 1"), (rw.read, "reader 1"), (rw.read, "reader 2")):
                        tasks.start_soon(take, lock, name)
                        count += 1
                        while len(await b.children("/rw")) < count:
                            pass
                    assert order == []
                    queue = await rw.read.queue()
                    assert [each.shared for each in queue] == [True, False, True, True]
            assert order[0] == "writer 1" and len(order) == 3

    on_both(story)


def test_all_readers_are_asked_to_give_way(on_both: Callable[[Story], None], hosts: str) -> None:
    async def story() -> None:
        async with zabpy.connect(hosts) as a, zabpy.connect(hosts) as b, zabpy.connect(hosts) as c:
            async with a.read_write_lock("/rw").read as one, b.read_write_lock("/rw").read as two:
                asked = await c.read_write_lock("/rw").write.request_revocation()
                assert [each.path for each in asked] == [one.path, two.path]
                await one.wait_revocation_requested()
                await two.wait_revocation_requested()

    on_both(story)


def test_a_reader_whose_session_ends_is_cancelled_and_the_writer_gets_it(
    on_both: Callable[[Story], None], hosts: str
) -> None:
    async def story() -> None:
        async with zabpy.connect(hosts) as a, zabpy.connect(hosts) as b:
            with pytest.raises(LockLost, match="the read lock /rw"):
                async with a.read_write_lock("/rw").read:
                    await kill(hosts, a.session)
                    async with b.read_write_lock("/rw").write:
                        pass
                    await anyio.sleep_forever()

    on_both(story)


async def test_never_a_writer_beside_another_one(autojump_clock: MockClock) -> None:
    """Sessions are lost all the time, by connections that go silent; who is inside is told in time."""
    readers, writers, turns = 0, 0, 0

    async with world() as w:

        async def work(name: str, number: int) -> None:
            nonlocal readers, writers, turns
            async with w.client(name) as zk:
                rw = zk.read_write_lock("/rw")
                for turn in range(12):
                    try:
                        if (turn + number) % 3:
                            async with rw.read:
                                assert not writers
                                readers += 1
                                try:
                                    await anyio.sleep(0.3)
                                finally:
                                    readers -= 1
                        else:
                            async with rw.write:
                                assert not writers and not readers
                                writers += 1
                                try:
                                    await anyio.sleep(0.3)
                                finally:
                                    writers -= 1
                        turns += 1
                    except (LockLost, zabpy.NoServerError):
                        pass

        async def trouble() -> None:
            for round in range(6):
                await anyio.sleep(1)
                w.isolate(f"c{round % 3}")
                await anyio.sleep(8)
                w.heal()

        async with anyio.create_task_group() as tasks:
            for number in range(3):
                tasks.start_soon(work, f"c{number}", number)
            await trouble()
        async with w.client("look") as look:
            assert await look.children("/rw") == []
    assert turns > 12
