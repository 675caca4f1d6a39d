"""A commit is whole, for one revision, and done once."""

import itertools
from collections.abc import Awaitable, Callable

import anyio
import pytest

import zabpy
from zabpy.client import ConnectionLossError, RequestTooLargeError
from zabpy.client.transaction import Result, Transaction
from zabpy.config import NoConfigStoreError, read
from zabpy.config.store import BadNameError, StaleBaseError, Store

Both = Callable[[Callable[[], Awaitable[None]]], None]


def test_what_is_committed_is_read(on_both: Both, hosts: str) -> None:
    async def story() -> None:
        async with zabpy.connect(hosts) as zk:
            store = Store(zk, "/config/s1")
            await store.create()
            await store.create()
            assert await store.commit({("default", "a"): b"1", ("env.prod", "b"): b"2"}, author="me") == 1
            assert await store.commit({("default", "a"): None, ("env.prod", "b"): b"3"}, base=1) == 2
            seen = await read(zk, "/config/s1", ["default", "env.prod"])
            assert (seen.revision, seen.entries) == (2, {("env.prod", "b"): b"3"})

    on_both(story)


def test_what_cannot_be_committed_leaves_all_as_it_was(on_both: Both, hosts: str) -> None:
    async def story() -> None:
        async with zabpy.connect(hosts) as zk:
            store = Store(zk, "/config/s2")
            await store.create()
            await store.commit({("default", "a"): b"1"})
            with pytest.raises(StaleBaseError, match="made for revision 0, but it is at 1"):
                await store.commit({("default", "a"): b"2"}, base=0)
            with pytest.raises(BadNameError):
                await store.commit({("default", "../a"): b"2"})
            with pytest.raises(RequestTooLargeError):
                await store.commit({("default", "a"): b"2", ("default", "b"): b"x" * 2_000_000})
            seen = await read(zk, "/config/s2", ["default"])
            assert (seen.revision, seen.entries) == (1, {("default", "a"): b"1"})
            await zk.create("/config/other", b"else")
            with pytest.raises(NoConfigStoreError):
                await Store(zk, "/config/other").commit({("default", "a"): b"2"})
            with pytest.raises(NoConfigStoreError):
                await Store(zk, "/config/other").create()

    on_both(story)


def test_of_writers_at_once_each_commit_is_done_once_though_answers_are_lost(
    on_both: Both, hosts: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    really, sent = Transaction.commit, itertools.count()

    async def lossy(self: Transaction) -> list[Result]:
        turn = next(sent) % 3
        if turn == 0:  # lost on its way there
            raise ConnectionLossError("lost")
        results = await really(self)
        if turn == 1:  # lost on its way back
            raise ConnectionLossError("lost")
        return results

    async def story() -> None:
        done: list[int] = []
        monkeypatch.setattr(Transaction, "commit", lossy)

        async def attempt(zk: zabpy.Client, store: Store, key: str, value: bytes) -> bool:
            try:
                done.append(await store.commit({("default", key): value}))
            except StaleBaseError:
                return False
            return True

        async def write(number: int) -> None:
            async with zabpy.connect(hosts) as zk:
                store = Store(zk, "/config/s3")
                await store.create()
                for turn in range(4):
                    value = str(turn).encode()
                    while not await attempt(zk, store, f"k{number}", value):
                        pass

        async with anyio.create_task_group() as writers:
            for number in range(3):
                writers.start_soon(write, number)
        assert sorted(done) == list(range(1, 13))
        async with zabpy.connect(hosts) as zk:
            assert (await read(zk, "/config/s3", ["default"])).revision == 12

    async def bounded() -> None:
        with anyio.fail_after(20):
            await story()

    on_both(bounded)
