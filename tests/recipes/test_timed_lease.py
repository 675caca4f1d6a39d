"""A lease that lasts so long by the servers' clock, whoever ends meanwhile."""

import datetime
from collections.abc import Callable
from typing import Any

import anyio
import pytest
from trio.testing import MockClock

import zabpy
from tests.client.conftest import Story
from tests.recipes.hurting import crowd, kill
from tests.recipes.killing import until
from tests.recipes.memory import World, world
from tests.recipes.test_data_cancelled import cancelled_anywhere
from tests.recipes.test_with_kazoo import in_thread, kazoo
from zabpy.recipes import AcquireTimeoutError, LockLost, TimedLease

DAY_MS = 24 * 3_600_000


async def denied(lease: TimedLease) -> bool:
    """Ask for it, now or never."""
    try:
        await lease.acquire(timeout_ms=0)
    except AcquireTimeoutError:
        return True
    return False


async def test_one_has_it_for_its_time_and_then_another_one_may(autojump_clock: MockClock) -> None:
    async with world(seconds_max=10 * 86_400) as w, w.client("b") as b:
        async with w.client("a") as a:
            held = await a.timed_lease("/daily", 60_000, name="a").acquire(timeout_ms=0)
            assert 59_000 < held.time_left_ms <= 60_000
        theirs = b.timed_lease("/daily", 60_000, name="b")
        assert await denied(theirs)  # though the session of the holder is over
        there = await theirs.holder()
        assert there is not None and (there.name, there.token) == ("a", held.token)
        await anyio.sleep(50)
        assert await denied(theirs)
        await anyio.sleep(11)
        again = await theirs.acquire(timeout_ms=0)
        assert again.token > held.token


async def test_the_body_ends_with_the_time(autojump_clock: MockClock) -> None:
    async with world() as w, w.client("a") as a:
        held = await a.timed_lease("/daily", 60_000).acquire(timeout_ms=0)
        began = anyio.current_time()
        with pytest.raises(LockLost, match="the timed lease /daily: its time of 60000 ms is over"):
            async with held:
                await anyio.sleep_forever()
        assert 59 < anyio.current_time() - began <= 60
        with pytest.raises(LockLost):
            held.check()


async def test_a_body_that_ends_earlier_leaves_the_lease(autojump_clock: MockClock) -> None:
    async with world() as w, w.client("a") as a, w.client("b") as b:
        lease = a.timed_lease("/daily", 60_000, name="a")
        held = await lease.acquire(timeout_ms=0)
        async with held:
            pass
        assert await denied(b.timed_lease("/daily", 60_000))
        await anyio.sleep(50)
        held = await lease.acquire(timeout_ms=0)  # the same one again, for another minute
        await anyio.sleep(50)
        assert await denied(b.timed_lease("/daily", 60_000))
        await held.release()
        assert await lease.holder() is None
        await b.timed_lease("/daily", 60_000).acquire(timeout_ms=0)
        await held.release()
        assert await lease.holder() is not None


async def test_of_many_that_ask_at_once_one_gets_it_wherever_connections_break(autojump_clock: MockClock) -> None:
    got: list[str] = []

    async def ask(w: World, name: str, cut: int) -> None:
        zk = w.client(name)
        w.dials[name].break_after(received_bytes=cut)
        async with zk:
            if not await denied(zk.timed_lease("/daily", DAY_MS)):
                got.append(name)

    for cut in range(0, 700, 29):
        got.clear()
        async with world(servers=1) as w, anyio.create_task_group() as tasks:
            for number in range(3):
                tasks.start_soon(ask, w, f"c{number}", cut)
        assert len(got) == 1


def test_kazoos_lease_and_ours_respect_each_other(on_both: Callable[[Story], None], hosts: str) -> None:
    async def story() -> None:
        minute = datetime.timedelta(minutes=1)
        with kazoo(hosts) as k:
            async with zabpy.connect(hosts) as zk:
                ours = zk.timed_lease("/daily", 60_000, name="ours")
                assert await in_thread(k.NonBlockingLease, "/daily", minute, identifier="kazoo")
                assert await denied(ours)
                there = await ours.holder()
                assert there is not None and there.name == "kazoo"
                await zk.delete("/daily/lease_holder")
                assert not await denied(ours)
                assert not await in_thread(k.NonBlockingLease, "/daily", minute, identifier="kazoo")

    on_both(story)


def test_what_nobody_of_us_wrote_is_not_touched(on_both: Callable[[Story], None], hosts: str) -> None:
    async def story() -> None:
        async with zabpy.connect(hosts) as zk:
            await zk.create("/daily/lease_holder", b"?", parents=True)
            for data in (b"?", b"[]", b'{"version": 2}', b'{"version": 1, "holder": "x", "end": "soon"}'):
                await zk.set("/daily/lease_holder", data)
                assert await denied(zk.timed_lease("/daily", 1))
                assert (await zk.get("/daily/lease_holder")).data == data
            with pytest.raises(zabpy.BadArgumentsError):
                zk.timed_lease("/daily", 0)

    on_both(story)


async def test_who_gives_back_late_or_twice_takes_nothing_from_the_next_one(autojump_clock: MockClock) -> None:
    async with world() as w, w.client("a") as a, w.client("b") as b, w.client("c") as c:
        first = await a.timed_lease("/daily", 10_000).acquire(timeout_ms=0)
        await first.release()
        theirs = await b.timed_lease("/daily", 60_000).acquire(timeout_ms=0)
        await first.release()  # as after an error that left it open whether it was done
        assert await denied(c.timed_lease("/daily", 60_000))

        await theirs.release()
        second = await a.timed_lease("/daily", 10_000).acquire(timeout_ms=0)
        await anyio.sleep(11)
        assert second.lost
        await c.delete("/daily/lease_holder")  # as kazoo's do: they delete it and create another one
        theirs = await b.timed_lease("/daily", 60_000).acquire(timeout_ms=0)
        await second.release()
        assert await denied(c.timed_lease("/daily", 60_000))


async def test_who_waits_has_it_when_it_is_given_back_or_its_time_is_over(autojump_clock: MockClock) -> None:
    async with world() as w, w.client("a") as a, w.client("b") as b:
        held = await a.timed_lease("/daily", 60_000).acquire()
        got: list[float] = []

        async def wait() -> None:
            async with b.timed_lease("/daily", 20_000) as theirs:
                got.append(anyio.current_time())
                assert theirs.token > held.token

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait)
            await anyio.sleep(10)
            assert got == []
            await held.release()
            began = anyio.current_time()
        assert got[0] - began < 0.5
        held = await a.timed_lease("/daily", 60_000).acquire()  # the end of the body has given back nothing
        assert 20 <= anyio.current_time() - got[0] < 21


async def test_waiting_has_an_end_and_leaves_nothing(autojump_clock: MockClock) -> None:
    async with world() as w, w.client("a") as a, w.client("b") as b:
        await a.timed_lease("/daily", 60_000, name="a").acquire()
        began = anyio.current_time()
        with pytest.raises(AcquireTimeoutError, match="not to be had within 5000 ms"):
            await b.timed_lease("/daily", 60_000, name="b").acquire(5_000)
        assert 5 <= anyio.current_time() - began < 6
        with anyio.move_on_after(5):
            await b.timed_lease("/daily", 60_000, name="b").acquire()
        assert await b.children("/daily") == ["lease_holder"]
        there = await b.timed_lease("/daily", 1).holder()
        assert there is not None and there.name == "a"


async def test_waiting_survives_a_lost_session(autojump_clock: MockClock) -> None:
    async with world() as w, w.client("a") as a, w.client("b") as b:
        await a.timed_lease("/daily", 60_000).acquire()
        got: list[float] = []
        began = anyio.current_time()

        async def wait() -> None:
            await b.timed_lease("/daily", 60_000).acquire()
            got.append(anyio.current_time() - began)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait)
            await anyio.sleep(5)
            w.isolate("b")
            await anyio.sleep(12)
            w.heal()
        assert 60 <= got[0] < 62


async def test_who_is_cancelled_anywhere_has_not_taken_it(autojump_clock: MockClock) -> None:
    async with crowd(servers=1) as w, w.client("a") as a, w.client("b") as b:
        asked = 0

        async def ask() -> None:
            nonlocal asked
            asked += 1
            await a.timed_lease("/daily", DAY_MS, name=f"a{asked}").acquire(60_000)

        steps = await cancelled_anywhere(ask)
        assert steps > 40, "each of the five round trips was hit on its way"
        mine = await b.timed_lease("/daily", DAY_MS).holder()
        assert mine is not None and mine.name == f"a{asked}", "the one that was not cancelled"
        await b.delete("/daily/lease_holder")
        assert await b.children("/daily") == []


async def test_who_is_cancelled_and_ends_has_not_taken_it(autojump_clock: MockClock) -> None:
    async with crowd(servers=1) as w, w.client("b") as b:

        async def ask_and_end() -> None:
            async with w.client("a") as a:
                await a.timed_lease("/daily", DAY_MS).acquire()
            await b.delete("/daily/lease_holder")

        assert await cancelled_anywhere(ask_and_end) > 40
        await b.sync("/daily")
        assert await b.children("/daily") == []


async def test_what_was_ours_before_is_not_taken_back_with_a_renewal_that_is_cancelled(
    autojump_clock: MockClock,
) -> None:
    async with crowd(servers=1) as w, w.client("a") as a, w.client("b") as b:
        lease = a.timed_lease("/daily", DAY_MS, name="a")
        held = await lease.acquire()

        async def renew() -> None:
            await lease.acquire()

        async def never_free() -> None:
            while True:
                there = await b.timed_lease("/daily", 1).holder()
                assert there is not None and there.name == "a"
                await anyio.sleep(0.001)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(never_free)
            await cancelled_anywhere(renew)
            tasks.cancel_scope.cancel()
        held.check()


async def test_a_lease_lost_while_it_was_asked_for_is_free(autojump_clock: MockClock) -> None:
    async with crowd(servers=1) as w, w.client("a") as a, w.client("b") as b:
        lease = a.timed_lease("/daily", DAY_MS)
        create = a.create

        async def then_lost(path: str, *args: Any, **settings: Any) -> Any:
            made = await create(path, *args, **settings)
            if path == "/daily/lease_holder":
                session = a.session
                await kill(w.servers, session)
                await until(lambda: session.lost)
            return made

        a.create = then_lost  # type: ignore[method-assign]
        with pytest.raises(LockLost):
            await lease.acquire()
        await b.timed_lease("/daily", 1).acquire(20_000)


def test_a_task_leaves_what_it_has_entered_last(on_both: Callable[[Story], None], hosts: str) -> None:
    async def story() -> None:
        async with zabpy.connect(hosts) as zk:
            lease = zk.timed_lease("/daily", 60_000)
            async with lease as outer:
                async with lease as inner:
                    assert inner.token > outer.token
                with pytest.raises(LockLost):
                    inner.check()
                outer.check()

    on_both(story)
