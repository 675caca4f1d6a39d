"""A lease that lasts so long by the servers' clock, whoever ends meanwhile."""

import datetime
from collections.abc import Callable

import anyio
import pytest
from trio.testing import MockClock

import zabpy
from tests.client.conftest import Story
from tests.recipes.memory import World, world
from tests.recipes.test_with_kazoo import in_thread, kazoo
from zabpy.recipes import LockLost

DAY_MS = 24 * 3_600_000


async def test_one_has_it_for_its_time_and_then_another_one_may(autojump_clock: MockClock) -> None:
    async with world(seconds_max=10 * 86_400) as w, w.client("b") as b:
        async with w.client("a") as a:
            held = await a.timed_lease("/daily", 60_000, identifier="a").obtain()
            assert held is not None
            assert 59_000 < held.time_left_ms <= 60_000
        theirs = b.timed_lease("/daily", 60_000, identifier="b")
        assert await theirs.obtain() is None  # though the session of the holder is over
        there = await theirs.holder()
        assert there is not None and (there.identifier, there.token) == ("a", held.token)
        await anyio.sleep(50)
        assert await theirs.obtain() is None
        await anyio.sleep(11)
        again = await theirs.obtain()
        assert again is not None and again.token > held.token


async def test_the_body_ends_with_the_time(autojump_clock: MockClock) -> None:
    async with world() as w, w.client("a") as a:
        held = await a.timed_lease("/daily", 60_000).obtain()
        assert held is not None
        began = anyio.current_time()
        with pytest.raises(LockLost, match="the timed lease /daily: its time of 60000 ms is over"):
            async with held:
                await anyio.sleep_forever()
        assert 59 < anyio.current_time() - began <= 60
        with pytest.raises(LockLost):
            held.check()


async def test_a_body_that_ends_earlier_leaves_the_lease(autojump_clock: MockClock) -> None:
    async with world() as w, w.client("a") as a, w.client("b") as b:
        lease = a.timed_lease("/daily", 60_000, identifier="a")
        held = await lease.obtain()
        assert held is not None
        async with held:
            pass
        assert await b.timed_lease("/daily", 60_000).obtain() is None
        await anyio.sleep(50)
        held = await lease.obtain()  # the same one again, for another minute
        assert held is not None
        await anyio.sleep(50)
        assert await b.timed_lease("/daily", 60_000).obtain() is None
        await held.give_back()
        assert await lease.holder() is None
        other = await b.timed_lease("/daily", 60_000).obtain()
        assert other is not None
        await held.give_back()
        assert await lease.holder() is not None


async def test_of_many_that_ask_at_once_one_gets_it_wherever_connections_break(autojump_clock: MockClock) -> None:
    got: list[str] = []

    async def ask(w: World, name: str, cut: int) -> None:
        zk = w.client(name)
        w.dials[name].break_after(received_bytes=cut)
        async with zk:
            if await zk.timed_lease("/daily", DAY_MS).obtain() is not None:
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
                ours = zk.timed_lease("/daily", 60_000, identifier="ours")
                assert await in_thread(k.NonBlockingLease, "/daily", minute, identifier="kazoo")
                assert await ours.obtain() is None
                there = await ours.holder()
                assert there is not None and there.identifier == "kazoo"
                await zk.delete("/daily/lease_holder")
                assert await ours.obtain() is not None
                assert not await in_thread(k.NonBlockingLease, "/daily", minute, identifier="kazoo")

    on_both(story)


def test_what_nobody_of_us_wrote_is_not_touched(on_both: Callable[[Story], None], hosts: str) -> None:
    async def story() -> None:
        async with zabpy.connect(hosts) as zk:
            await zk.create("/daily/lease_holder", b"?", parents=True)
            for data in (b"?", b"[]", b'{"version": 2}', b'{"version": 1, "holder": "x", "end": "soon"}'):
                await zk.set("/daily/lease_holder", data)
                assert await zk.timed_lease("/daily", 1).obtain() is None
                assert (await zk.get("/daily/lease_holder")).data == data
            with pytest.raises(zabpy.BadArgumentsError):
                zk.timed_lease("/daily", 0)

    on_both(story)


async def test_who_gives_back_late_or_twice_takes_nothing_from_the_next_one(autojump_clock: MockClock) -> None:
    async with world() as w, w.client("a") as a, w.client("b") as b, w.client("c") as c:
        first = await a.timed_lease("/daily", 10_000).obtain()
        assert first is not None
        await first.give_back()
        theirs = await b.timed_lease("/daily", 60_000).obtain()
        assert theirs is not None
        await first.give_back()  # as after an error that left it open whether it was done
        assert await c.timed_lease("/daily", 60_000).obtain() is None

        await theirs.give_back()
        second = await a.timed_lease("/daily", 10_000).obtain()
        assert second is not None
        await anyio.sleep(11)
        assert second.lost
        await c.delete("/daily/lease_holder")  # as kazoo's do: they delete it and create another one
        theirs = await b.timed_lease("/daily", 60_000).obtain()
        assert theirs is not None
        await second.give_back()
        assert await c.timed_lease("/daily", 60_000).obtain() is None
