"""Several locks: all or none, and no two wait for each other."""

from collections.abc import Callable

import anyio
import pytest
from trio.testing import MockClock

import zabpy
from tests.client.conftest import Story
from tests.recipes.killing import kill
from tests.recipes.memory import world
from zabpy.recipes import AcquireTimeoutError, Client, LockLost


def test_all_are_held_and_given_back(on_both: Callable[[Story], None], hosts: str) -> None:
    async def story() -> None:
        async with zabpy.connect(hosts) as a, zabpy.connect(hosts) as b:
            async with a.multi_lock(["/b", "/a"]) as held:
                assert list(held.tokens) == ["/a", "/b"]
                assert held.tokens["/a"] < held.tokens["/b"]
                for path in ("/a", "/b"):
                    with pytest.raises(AcquireTimeoutError):
                        await b.lock(path).acquire(0)
            assert await b.children("/a") == await b.children("/b") == []

    on_both(story)


def test_none_is_held_if_one_is_not_to_be_had(on_both: Callable[[Story], None], hosts: str) -> None:
    async def story() -> None:
        async with zabpy.connect(hosts) as a, zabpy.connect(hosts) as b:
            async with b.lock("/b"):
                for timeout_ms in (0, 50):
                    with pytest.raises(AcquireTimeoutError, match="the locks /a, /b"):
                        await a.multi_lock(["/a", "/b"]).acquire(timeout_ms)
                    assert await b.children("/a") == []
                    assert len(await b.children("/b")) == 1

    on_both(story)


def test_all_are_lost_if_one_is_and_the_others_are_given_back_after_the_body(
    on_both: Callable[[Story], None], hosts: str
) -> None:
    async def story() -> None:
        async with zabpy.connect(hosts) as a, zabpy.connect(hosts) as b:
            with pytest.raises(LockLost, match="the locks /a, /b: the lock /b: its znode .* was deleted"):
                async with a.multi_lock(["/a", "/b"]) as held:
                    await b.delete(held.locks["/b"].path)
                    try:
                        await anyio.sleep_forever()
                    finally:
                        with anyio.CancelScope(shield=True):
                            assert len(await b.children("/a")) == 1
            assert await b.children("/a") == []
            with pytest.raises(LockLost, match="the locks /a, /b: .*session"):
                async with a.multi_lock(["/a", "/b"]):
                    await kill(hosts, a.session)
                    await anyio.sleep_forever()

    on_both(story)


async def test_one_that_is_lost_while_another_is_waited_for_is_taken_again(autojump_clock: MockClock) -> None:
    async with world() as w, w.client("a") as a, w.client("b") as b:
        async with anyio.create_task_group() as tasks:
            got = anyio.Event()

            async def work() -> None:
                async with a.multi_lock(["/a", "/b"]) as held:
                    held.check()
                    got.set()

            async with b.lock("/b"):
                tasks.start_soon(work)
                await anyio.sleep(1)
                [name] = await b.children("/a")
                await b.delete(f"/a/{name}")
                await anyio.sleep(1)
                assert len(await b.children("/a")) == 1
                assert not got.is_set()
        assert got.is_set()


async def test_no_two_wait_for_each_other(autojump_clock: MockClock) -> None:
    inside: set[str] = set()
    async with world() as w, w.client("a") as a, w.client("b") as b:

        async def work(zk: Client, paths: list[str]) -> None:
            for _ in range(10):
                async with zk.multi_lock(paths):
                    assert not inside & set(paths)
                    inside.update(paths)
                    await anyio.sleep(0.01)
                    inside.difference_update(paths)

        async with anyio.create_task_group() as tasks:
            for zk, paths in ((a, "xyz"), (b, "zyx"), (a, "yz"), (b, "zx")):
                tasks.start_soon(work, zk, [f"/{name}" for name in paths])


def test_what_makes_no_sense(on_both: Callable[[Story], None], hosts: str) -> None:
    async def story() -> None:
        async with zabpy.connect(hosts) as zk:
            for paths in ([], ["/a", "/a"]):
                with pytest.raises(zabpy.BadArgumentsError):
                    zk.multi_lock(paths)

    on_both(story)


def test_what_was_lost_before_it_was_entered_leaves_nothing(on_both: Callable[[Story], None], hosts: str) -> None:
    async def story() -> None:
        async with zabpy.connect(hosts) as a, zabpy.connect(hosts) as b:
            held = await a.multi_lock(["/a", "/b"]).acquire()
            await b.delete(held.locks["/b"].path)
            await held.wait_lost()
            with pytest.raises(LockLost):
                async with held:
                    raise AssertionError("it was lost")
            async with b.lock("/a"):
                pass

    on_both(story)
