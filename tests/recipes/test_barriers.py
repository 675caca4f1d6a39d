"""Barriers and double barriers: who waits goes on when it is time, and not before."""

from collections.abc import Callable
from contextlib import suppress
from random import Random

import anyio
import pytest
import trio
from trio.testing import MockClock

import zabpy
from tests.client.conftest import Story
from tests.recipes.hurting import Crowd, crowd, hurt, kill
from zabpy.recipes import BarrierLost, NotReentrantError


def test_who_waits_goes_on_when_the_barrier_is_removed(on_both: Callable[[Story], None], hosts: str) -> None:
    async def story() -> None:
        async with zabpy.connect(hosts) as zk, zabpy.connect(hosts) as other:
            barrier = zk.barrier("/deep/barrier")
            await barrier.wait()
            assert not await barrier.is_up() and not await barrier.remove()
            await barrier.create()
            await barrier.create()
            assert await barrier.is_up()
            passed: list[int] = []

            async def wait(who: int) -> None:
                await other.barrier("/deep/barrier").wait()
                passed.append(who)

            await other.sync()
            async with anyio.create_task_group() as tasks:
                for who in range(3):
                    tasks.start_soon(wait, who)
                await anyio.sleep(0.2)
                await zk.set("/deep/barrier", b"still up")
                await anyio.sleep(0.1)
                assert passed == []
                assert await barrier.remove()
            assert sorted(passed) == [0, 1, 2]

    on_both(story)


async def test_a_barrier_that_was_down_while_nobody_could_see_it_was_down(autojump_clock: MockClock) -> None:
    async with crowd(servers=1) as all, all.client("a") as zk, all.client("b", session_timeout_ms=20_000) as waiter:
        await zk.barrier("/b").create()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(waiter.barrier("/b").wait)
            await trio.sleep(1)
            all.isolate("b")
            await zk.barrier("/b").remove()
            await zk.barrier("/b").create()
            await trio.sleep(1)
            all.dials["b"].break_now()
            all.heal()
            nursery.cancel_scope.deadline = trio.current_time() + 15
        assert not nursery.cancel_scope.cancelled_caught


def test_all_begin_together_and_end_together(on_both: Callable[[Story], None], hosts: str) -> None:
    async def story() -> None:
        async with zabpy.connect(hosts) as zk, zabpy.connect(hosts) as other:
            arrived = ended = 0

            async def work(client: zabpy.Client, rounds: int) -> None:
                nonlocal arrived, ended
                barrier = client.double_barrier("/rounds", 4)
                for number in range(rounds):
                    arrived += 1
                    async with barrier as member:
                        assert not member.lost
                        assert arrived >= 4 * (number + 1), "nobody begins before all are there"
                        await anyio.sleep(0.01)
                        ended += 1
                    assert ended >= 4 * (number + 1), "nobody goes on before all have ended"

            async with anyio.create_task_group() as tasks:
                for client in (zk, other, zk, other):
                    tasks.start_soon(work, client, 5)
            assert await zk.children("/rounds") == []
            with pytest.raises(zabpy.BadArgumentsError, match="count=0"):
                zk.double_barrier("/x", 0)

    on_both(story)


async def test_a_ready_that_the_dead_have_left_lets_nobody_in(autojump_clock: MockClock) -> None:
    async with crowd(servers=1) as all, all.client("a") as a, all.client("b") as b:
        await a.create("/rounds")
        await a.create("/rounds/ready")
        entered: list[str] = []

        async def enter(zk: zabpy.Client, name: str) -> None:
            async with zk.double_barrier("/rounds", 2):
                entered.append(name)
                await trio.sleep(1)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(enter, a, "a")
            await trio.sleep(60)
            assert entered == []
            nursery.start_soon(enter, b, "b")
            await trio.sleep(0.5)
            assert sorted(entered) == ["a", "b"]
        assert await a.children("/rounds") == []


async def test_who_comes_late_goes_in_and_is_waited_for(autojump_clock: MockClock) -> None:
    async with crowd(servers=1) as all, all.client("a") as zk:
        log: list[str] = []

        async def work(name: str, seconds: float) -> None:
            async with zk.double_barrier("/rounds", 2):
                log.append(f"{name} in")
                await trio.sleep(seconds)
            log.append(f"{name} out")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(work, "a", 5)
            nursery.start_soon(work, "b", 5)
            await trio.sleep(1)
            nursery.start_soon(work, "late", 9)
        assert log[2:3] == ["late in"] and sorted(log[3:]) == ["a out", "b out", "late out"]
        assert trio.current_time() >= 10


async def test_a_body_is_cancelled_when_its_member_is_gone(autojump_clock: MockClock) -> None:
    async with crowd(servers=1) as all, all.client("a") as zk, all.client("b") as other:
        for how in ("session", "znode"):
            with pytest.raises(BarrierLost, match="a member of the barrier /rounds: "):
                async with zk.double_barrier("/rounds", 1) as member:
                    if how == "session":
                        await kill(all.servers, zk.session)
                    else:
                        await other.delete(member.path)
                    await trio.sleep_forever()
            assert member.lost
            await zk.wait_connected()


async def test_a_body_that_raises_takes_its_member_out_and_waits_for_nobody(autojump_clock: MockClock) -> None:
    async with crowd(servers=1) as all, all.client("a") as zk:
        async with trio.open_nursery() as nursery:
            barrier = zk.double_barrier("/rounds", 2)

            async def stay() -> None:
                async with zk.double_barrier("/rounds", 2):
                    await trio.sleep(100)

            nursery.start_soon(stay)
            with pytest.raises(LookupError):
                async with barrier:
                    with pytest.raises(NotReentrantError):
                        await barrier.__aenter__()
                    raise LookupError
            assert trio.current_time() < 50
            names = await zk.children("/rounds")
            assert len(names) == 2 and "ready" in names
        assert await zk.children("/rounds") == []


@pytest.mark.parametrize("after_ms", range(0, 24, 2))
async def test_nothing_stays_of_one_that_was_cancelled_anywhere(after_ms: int, autojump_clock: MockClock) -> None:
    async with crowd(servers=1, seed=after_ms) as all, all.client("a") as zk, all.client("b") as other:
        async with trio.open_nursery() as nursery:

            async def work() -> None:
                async with other.double_barrier("/rounds", 2):
                    await trio.sleep(0.002)

            nursery.start_soon(work)
            with trio.move_on_after(after_ms / 1000) as scope:
                async with zk.double_barrier("/rounds", 2):
                    await trio.sleep(0.002)
            await trio.sleep(1)
            if scope.cancelled_caught and len(nursery.child_tasks):
                await zk.sync()
                assert len(await zk.children("/rounds")) == 1, "only the other one's"
                async with zk.double_barrier("/rounds", 2):
                    pass
        assert set(await zk.children("/rounds")) <= {"ready"}  # which lets nobody in


@pytest.mark.parametrize("seed", range(8))
async def test_nobody_waits_for_ever_in_any_story(seed: int, autojump_clock: MockClock) -> None:
    """Three take part in rounds of three while connections break, sessions end and servers go down."""
    rng = Random(f"barrier {seed}")
    async with crowd(servers=3, seed=seed) as all:
        await play(all, rng)


async def play(all: Crowd, rng: Random) -> None:
    lost = 0

    async def work(name: str) -> None:
        nonlocal lost
        async with all.client(name, session_timeout_ms=4_000) as zk:
            entered = 0
            while entered < 6:
                try:
                    async with zk.double_barrier("/rounds", 3) as member:
                        entered += 1
                        await trio.sleep(rng.random())
                        member.check()
                except (BarrierLost, zabpy.NoServerError):
                    lost += 1
            done.append(name)
            while len(done) < 3:  # others may still have rounds before them, and need three
                with trio.move_on_after(20), suppress(BarrierLost, zabpy.NoServerError):
                    async with zk.double_barrier("/rounds", 3):
                        await trio.sleep(0.1)

    done: list[str] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(hurt, all, rng)
        async with trio.open_nursery() as working:
            for name in "abc":
                working.start_soon(work, name)
        nursery.cancel_scope.cancel()
    all.heal()
    async with all.client("last") as zk:
        await trio.sleep(20)  # one that had no connection when it was closed could not close its session
        await zk.sync()
        left = await zk.children("/rounds")
        assert set(left) <= {"ready"}, left
