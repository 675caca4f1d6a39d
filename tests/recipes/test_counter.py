"""Counters and atomic values: what was counted is counted once, whatever becomes of answers."""

import struct
from collections.abc import Callable
from random import Random

import pytest
import trio
from trio.testing import MockClock

import zabpy
from tests.client.conftest import Story
from tests.recipes.hurting import crowd, hurt
from zabpy.recipes import Counter, NotACounterError
from zabpy.recipes.client import Client


def test_it_counts_as_kazoo_and_curator_do(on_both: Callable[[Story], None], hosts: str) -> None:
    async def story() -> None:
        async with zabpy.connect(hosts) as zk:
            for layout, struct_, path in (("text", None, "/t"), ("int", ">i", "/i"), ("long", ">q", "/l")):
                counter = Counter(zk, f"/deep{path}", start=40, layout=layout)  # type: ignore[arg-type]
                assert await counter.get() == 40
                assert [await counter.add(), await counter.add(-3), await counter.add(0)] == [41, 38, 38]
                assert await counter.get() == 38
                data = (await zk.get(f"/deep{path}")).data
                assert data == (struct.pack(struct_, 38) if struct_ else b"38")
            await zk.create("/empty")
            assert await zk.counter("/empty", start=7).add(-8) == -1
            assert (await zk.get("/empty")).data == b"-1"
            small = zk.counter("/small", start=2**31 - 1, layout="int")
            with pytest.raises(OverflowError, match="2147483648 is no int, as which /small is kept"):
                await small.add()
            assert await small.get() == 2**31 - 1
            await zk.create("/other", b"hello")
            with pytest.raises(NotACounterError, match="the data of /other is no number as text: b'hello'") as error:
                await zk.counter("/other").add()
            assert error.value.path == "/other"
            with pytest.raises(zabpy.BadArgumentsError, match="layout='hex'"):
                zk.counter("/x", layout="hex")  # type: ignore[arg-type]

    on_both(story)


def test_a_value_changes_only_if_nobody_else_has_changed_it(on_both: Callable[[Story], None], hosts: str) -> None:
    async def story() -> None:
        async with zabpy.connect(hosts) as zk:
            value = zk.atomic_value("/value", default=b"none")
            none = await value.get()
            assert none == (b"none", -1, -1)
            first = await value.compare_and_set(none, b"1")
            assert first is not None and first == await value.get()
            assert await value.compare_and_set(none, b"2") is None
            second = await value.compare_and_set(first, b"2")
            assert second is not None and second == await value.get() and second.version == 1
            assert await value.compare_and_set(first, b"3") is None
            assert (await value.update(lambda data: data + b"3")).data == b"23"
            with pytest.raises(ZeroDivisionError):
                await value.update(lambda data: b"%d" % (1 // 0))
            assert await value.update(lambda data: data + b"4") == await value.get()
            await zk.delete_tree("/value")
            assert await value.compare_and_set(second, b"x") is None
            assert (await value.update(lambda data: data + b"!")).data == b"none!"

    on_both(story)


async def test_many_count_at_once(autojump_clock: MockClock) -> None:
    async with crowd(servers=3) as all:
        async with all.client("a") as a, all.client("b") as b, all.client("c") as c:
            seen: list[int] = []

            async def count(zk: Client) -> None:
                counter = zk.counter("/n")
                for _ in range(20):
                    seen.append(await counter.add())

            async with trio.open_nursery() as nursery:
                for zk in (a, b, c, a):
                    nursery.start_soon(count, zk)
            assert sorted(seen) == list(range(1, 81)), "each number was one caller's"
            assert await a.children("/n") == [], "nothing is left beside the number"


@pytest.mark.parametrize("bytes_", range(0, 240, 7))
async def test_one_is_one_wherever_the_connection_breaks(bytes_: int, autojump_clock: MockClock) -> None:
    """Behind any byte of the answers; every request and every answer is lost in one of these."""
    async with crowd(servers=1) as all, all.client("a") as zk, all.client("b") as other:
        counter, value = zk.counter("/n"), zk.atomic_value("/v")
        assert await counter.add() == 1
        await value.update(lambda data: data + b".")
        stream = all.dials["a"].streams[-1]
        stream.received_bytes_max = stream.received_bytes + bytes_
        async with trio.open_nursery() as nursery:
            # Somebody else does the very same, so data and version do not tell whose it was.
            nursery.start_soon(other.counter("/n").add)
            assert await counter.add() in (2, 3)
            await value.update(lambda data: data + b".")
            await counter.add(10)
        assert await other.counter("/n").get() == 13
        assert (await other.atomic_value("/v").get()).data == b".."


@pytest.mark.parametrize("bytes_", range(80, 240, 40))
async def test_one_is_one_also_after_a_long_search_for_a_server(bytes_: int, autojump_clock: MockClock) -> None:
    """What tells whether it was done must not be tidied up meanwhile."""
    async with crowd(servers=1) as all, all.client("a", session_timeout_ms=10_000) as zk:
        counter = zk.counter("/n")
        assert await counter.add() == 1
        stream = all.dials["a"].streams[-1]
        stream.received_bytes_max = stream.received_bytes + bytes_

        async def no_connection_for_a_while() -> None:
            async with zk.states() as states:
                async for state in states:
                    if state is zabpy.State.JEOPARDY:
                        break
            all.isolate("a")
            await trio.sleep(5)
            all.heal()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(no_connection_for_a_while)
            assert await counter.add() == 2
            assert await counter.add() == 3


@pytest.mark.parametrize("seed", range(6))
async def test_nothing_is_counted_twice_or_lost_in_any_story(seed: int, autojump_clock: MockClock) -> None:
    rng = Random(f"counter {seed}")
    async with crowd(servers=3, seed=seed) as all:
        done = unknown = 0

        async def count(name: str) -> None:
            nonlocal done, unknown
            async with all.client(name, session_timeout_ms=4_000) as zk:
                counter = zk.counter("/n")
                for _ in range(25):
                    await zk.wait_connected()
                    try:
                        await counter.add()
                        done += 1
                    except zabpy.SessionLostError:
                        unknown += 1

        async with trio.open_nursery() as nursery:
            nursery.start_soon(hurt, all, rng)
            async with trio.open_nursery() as counting:
                for name in "abc":
                    counting.start_soon(count, name)
            nursery.cancel_scope.cancel()
        all.heal()
        async with all.client("last") as zk:
            await zk.sync()
            assert done <= await zk.counter("/n").get() <= done + unknown
            assert done > 50, f"{done} were counted, of {unknown} nobody knows"


async def test_an_outage_of_seconds_does_not_make_anybody_doubt(autojump_clock: MockClock) -> None:
    async with crowd(servers=1) as all, all.client("a", session_timeout_ms=20_000) as zk:
        counter = zk.counter("/n")
        await counter.add()
        stream = all.dials["a"].streams[-1]

        async def outage() -> None:
            stream.received_bytes_max = stream.received_bytes + 80  # the answer to the get gets through, no other
            await trio.sleep(0.1)
            all.isolate("a")
            await trio.sleep(6)
            all.heal()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(outage)
            await counter.add()
        assert await counter.get() == 2


def test_a_value_that_was_made_anew_is_another_one(on_both: Callable[[Story], None], hosts: str) -> None:
    async def story() -> None:
        async with zabpy.connect(hosts) as zk, zabpy.connect(hosts) as other:
            value = zk.atomic_value("/value")
            seen = await value.update(lambda data: b"1")
            await zk.delete_tree("/value")
            theirs = await other.atomic_value("/value").update(lambda data: b"theirs")
            assert theirs.version == seen.version
            assert await value.compare_and_set(seen, b"2") is None
            assert (await value.get()).data == b"theirs"

    on_both(story)
