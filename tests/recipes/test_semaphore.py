"""At most so many at a time."""

from collections.abc import Callable
from typing import Literal

import anyio
import pytest
from trio.testing import MockClock

import zabpy
from tests.client.conftest import Story
from tests.recipes.killing import kill
from tests.recipes.memory import world
from zabpy.recipes import AcquireTimeoutError, LeasesMaxError, LockLost

LAYOUTS = pytest.mark.parametrize("layout", ["kazoo", "curator"])
Layout = Literal["kazoo", "curator"]


@LAYOUTS
def test_so_many_and_not_one_more(layout: Layout, on_both: Callable[[Story], None], hosts: str) -> None:
    async def story() -> None:
        async with zabpy.connect(hosts) as a, zabpy.connect(hosts) as b:
            ours = a.semaphore("/deep/er/s", 2, data=b"a", layout=layout)
            theirs = b.semaphore("/deep/er/s", 2, data=b"b", layout=layout)
            async with ours as one, theirs as two:
                assert one.token < two.token
                assert [each.data for each in await ours.holders()] == [b"a", b"b"]
                assert [each.token for each in await ours.holders()] == [one.token, two.token]
                for timeout_ms in (0, 100):
                    with pytest.raises(AcquireTimeoutError, match="a lease of /deep/er/s"):
                        await theirs.acquire(timeout_ms)
            assert await ours.holders() == []
            assert await ours._gate.queue() == []
            async with await ours.acquire(0), await ours.acquire(0):  # one task may have several
                pass

    on_both(story)


@LAYOUTS
async def test_never_too_many_however_sessions_end(layout: Layout, autojump_clock: MockClock) -> None:
    inside = turns = most = 0
    async with world() as w:

        async def work(name: str) -> None:
            nonlocal inside, turns, most
            async with w.client(name) as zk:
                for _ in range(10):
                    try:
                        async with zk.semaphore("/s", 2, layout=layout):
                            inside += 1
                            most = max(most, inside)
                            try:
                                await anyio.sleep(0.3)
                            finally:
                                inside -= 1
                        turns += 1
                    except (LockLost, zabpy.NoServerError):
                        pass

        async with anyio.create_task_group() as tasks:
            for number in range(4):
                tasks.start_soon(work, f"c{number}")
            for round in range(4):
                await anyio.sleep(0.5)
                w.isolate(f"c{round}")
                await anyio.sleep(7)
                w.heal()
        async with w.client("look") as look:
            assert await look.semaphore("/s", 2, layout=layout).holders() == []
            assert await look.semaphore("/s", 2, layout=layout)._gate.queue() == []
    assert most == 2 and turns > 30


@LAYOUTS
async def test_a_cancelled_acquire_leaves_nothing(layout: Layout, autojump_clock: MockClock) -> None:
    got, at_us = False, 0
    async with world(servers=1) as w, w.client("a") as a, w.client("b") as b:
        look = b.semaphore("/s", 1, layout=layout)
        while not got:
            with anyio.move_on_after(at_us / 1_000_000):
                async with a.semaphore("/s", 1, layout=layout):
                    got = True
            await anyio.sleep(0.05)
            assert await look.holders() == [] == await look._gate.queue()
            at_us += 250
    assert at_us > 10_000


async def test_a_lease_that_is_one_too_many_is_given_back(autojump_clock: MockClock) -> None:
    """As when somebody has deleted the gate's znode, and two are at the gate."""

    async def free(*_: object, **__: object) -> bool:
        return True

    async with world() as w, w.client("a") as a, w.client("b") as b:
        async with b.semaphore("/s", 1) as held:
            ours = a.semaphore("/s", 1)
            ours._wait_free = free  # type: ignore[method-assign]
            with pytest.raises(AcquireTimeoutError):
                await ours.acquire(2_000)
            await anyio.sleep(1)  # what the end of the time has cut off is removed in the background
            assert [each.path for each in await ours.holders()] == [held.path]
        await (await ours.acquire(2_000)).release()


def test_a_lease_is_lost_with_the_session_and_with_its_znode(on_both: Callable[[Story], None], hosts: str) -> None:
    async def story() -> None:
        async with zabpy.connect(hosts) as a, zabpy.connect(hosts) as b:
            with pytest.raises(LockLost, match="a lease of /s: its znode"):
                async with a.semaphore("/s", 1) as held:
                    await b.delete(held.path)
                    await anyio.sleep_forever()
            with pytest.raises(LockLost, match="a lease of /s: session"):
                async with a.semaphore("/s", 1):
                    await kill(hosts, a.session)
                    await anyio.sleep_forever()

    on_both(story)


def test_all_say_the_same_number(on_both: Callable[[Story], None], hosts: str) -> None:
    async def story() -> None:
        async with zabpy.connect(hosts) as zk:
            async with zk.semaphore("/s", 2):
                assert (await zk.get("/s")).data == b"2"
            with pytest.raises(LeasesMaxError, match="/s has 2 leases, not 3"):
                await zk.semaphore("/s", 3).acquire()
            with pytest.raises(LeasesMaxError):
                await zk.semaphore("/s", 3).acquire(0)
            for bad in (0, -1):
                with pytest.raises(zabpy.BadArgumentsError):
                    zk.semaphore("/s", bad)

    on_both(story)


def test_one_task_may_hold_several(on_both: Callable[[Story], None], hosts: str) -> None:
    async def story() -> None:
        async with zabpy.connect(hosts) as zk:
            semaphore = zk.semaphore("/semaphore", 3)
            async with semaphore as first, semaphore as second:
                assert first.token < second.token
                assert len(await semaphore.holders()) == 2
            assert await semaphore.holders() == []

    on_both(story)
