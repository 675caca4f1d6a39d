"""Items come when they are due by the servers' clock, whatever the clocks of clients say."""

from collections.abc import Callable

import pytest
import trio
from trio.testing import MockClock

import zabpy
from tests.client.conftest import Story
from tests.recipes.hurting import crowd
from zabpy.recipes.client import Client
from zabpy.recipes.clock_range import ClockRange


def test_items_come_when_they_are_due(on_both: Callable[[Story], None], hosts: str) -> None:
    async def story() -> None:
        async with zabpy.connect(hosts) as zk, zabpy.connect(hosts) as other:
            queue = other.delay_queue("/later")
            last = await queue.put(b"third", delay_ms=400)
            await queue.put(b"second", delay_ms=200)
            await queue.put(b"first", due_ms=1)
            taken = []
            async with zk.delay_queue("/later") as taking:
                for _ in range(3):
                    async with taking.take() as item:
                        lease = await other.exists(item.path)
                        assert lease is None or lease.ctime_ms >= item.rank
                        taken.append(item.data)
            assert taken == [b"first", b"second", b"third"]
            assert (await zk.create("/now")).stat.ctime_ms >= last
            assert await queue.size() == 0
            assert not [name for name in await zk.children("/later") if name.startswith("clock")]
            for bad in ({}, {"delay_ms": 1, "due_ms": 1}, {"delay_ms": -1}, {"due_ms": 10**15}):
                with pytest.raises(zabpy.BadArgumentsError, match="delay_ms|due_ms"):
                    await queue.put(b"", **bad)

    on_both(story)


async def test_a_consumer_sleeps_until_something_is_due(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with crowd(servers=1, seconds_max=10_000) as all, all.client("a") as zk, all.client("b") as other:
        asked = 0
        ask = Client._ask

        async def counted(*args: object, **kwargs: object) -> object:
            nonlocal asked
            asked += 1
            return await ask(*args, **kwargs)  # type: ignore[arg-type]

        putting = other.delay_queue("/later")
        await putting.put(b"later", delay_ms=300_000)
        began = trio.current_time()
        async with zk.delay_queue("/later") as queue:
            await trio.sleep(1)
            monkeypatch.setattr(Client, "_ask", counted)
            async with trio.open_nursery() as nursery:

                async def sooner() -> None:
                    await trio.sleep(60)
                    await putting.put(b"sooner", delay_ms=60_000)

                nursery.start_soon(sooner)
                async with queue.take() as item:
                    assert item.data == b"sooner"
                    assert 120 <= trio.current_time() - began < 122
            async with queue.take() as item:
                assert item.data == b"later"
                assert 300 <= trio.current_time() - began < 302
                assert item.attempts == 1
        assert asked < 30, f"{asked} requests in five minutes"


def test_the_range_of_clocks_holds_the_true_difference() -> None:
    clock = ClockRange()
    assert not clock.known
    # Theirs is 1,000,000 ms ahead of ours; a round trip takes 10, and the stamp falls somewhere in it.
    for sent, way in ((0, 9), (20, 1), (40, 5)):
        clock.observe(1_000_000 + sent + way, sent, sent + 10)
        assert clock.earliest_ms(sent + 10) <= 1_000_000 + sent + 10
    assert clock.earliest_ms(50) >= 1_000_050 - 2.2, "what several have told is cut with each other"
    assert abs(clock.middle_ms(50) - 1_000_050) < 2
    assert clock.earliest_ms(100_050) < clock.middle_ms(100_050) - 90, "it may have drifted meanwhile"
    clock.observe(500_000, 60, 70)  # another server leads
    assert 499_999 <= clock.earliest_ms(70) <= 500_010
    assert clock.age_ms(75) == 5
