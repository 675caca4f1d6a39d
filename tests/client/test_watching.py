"""What users hold of watches, on a real server, under trio and under asyncio."""

from collections.abc import Callable

import anyio
import pytest

import zabpy
from tests.client.conftest import Story
from zabpy.client.watching import EventStream

OnBoth = Callable[[Story], None]


def test_all_that_wait_for_one_watch_are_told(on_both: OnBoth, hosts: str) -> None:
    async def story() -> None:
        async with zabpy.connect(hosts) as zk:
            found, fired = await zk.exists_watched("/a")
            assert found is None and not fired.is_set
            events: list[zabpy.Event] = []

            async def wait() -> None:
                events.append(await fired.wait())

            async with anyio.create_task_group() as tasks:
                for _ in range(3):
                    tasks.start_soon(wait)
                await anyio.sleep(0.01)
                await zk.create("/a")
            assert [type(event) for event in [*events, await fired.wait()]] == [zabpy.Created] * 4

    on_both(story)


def test_a_watch_that_was_given_up_tells_so(on_both: OnBoth, hosts: str) -> None:
    async def story() -> None:
        async with zabpy.connect(hosts, follow_ensemble=False) as zk:
            _, _, fired = await zk.get_watched("/")
            _, _, other = await zk.get_watched("/")
            with fired:
                pass
            with pytest.raises(RuntimeError, match="given up"):
                await fired.wait()
            await zk.set("/", b"1")
            assert (await other.wait()).path == "/"
            assert len(zk.core.watches) == 0

    on_both(story)


def test_streams_and_one_shots_at_one_path_do_not_disturb_each_other(on_both: OnBoth, hosts: str) -> None:
    async def story() -> None:
        async with zabpy.connect(hosts, follow_ensemble=False) as zk:
            await zk.create("/a")
            async with zk.watch("/a") as plain:
                async with zk.watch("/a", recursive=True) as recursive:
                    _, _, fired = await zk.children_watched("/a")
                    await zk.create("/a/b")
                    assert (await fired.wait()).path == "/a"
                _, _, fired = await zk.children_watched("/a")
                await zk.set("/a", b"1")
                await zk.delete("/a/b")
                assert isinstance(await fired.wait(), zabpy.ChildrenChanged)
                assert [type(await anext(plain)) for _ in range(4)] == [
                    zabpy.Resynced, zabpy.ChildrenChanged, zabpy.Changed, zabpy.ChildrenChanged,
                ]  # fmt: skip
            with pytest.raises(StopAsyncIteration):
                await anext(recursive)
            assert len(zk.core.watches) == 0

    on_both(story)


def test_a_reader_that_is_too_slow_finds_a_gap(on_both: OnBoth, hosts: str) -> None:
    async def story() -> None:
        async with zabpy.connect(hosts) as zk, zk.watch("/", events_max=3) as events:
            for _ in range(9):
                await zk.set("/", b"")
            # Resynced and two; with the next one all is one gap, and so on.
            assert events.receive_nowait() == zabpy.Resynced("/")
            found: list[zabpy.Event] = []
            with pytest.raises(anyio.WouldBlock):
                while True:
                    found.append(events.receive_nowait())
            assert len(found) <= 2 and all(isinstance(event, zabpy.Changed) for event in found)
            await zk.set("/", b"")
            assert isinstance(await anext(events), zabpy.Changed)

    on_both(story)


def test_a_stream_ends_with_the_client(on_both: OnBoth, hosts: str) -> None:
    async def story() -> None:
        zk = zabpy.connect(hosts)
        ended: list[zabpy.Event] = []
        errors: list[zabpy.ClosedClientError] = []

        async def read() -> None:
            with pytest.raises(zabpy.ClosedClientError, match="watch /: the client was closed") as error:
                async with zk.watch("/") as events:
                    async for event in events:
                        ended.append(event)
            errors.append(error.value)

        async with anyio.create_task_group() as tasks:
            async with zk:
                tasks.start_soon(read)
                tasks.start_soon(read)
                await anyio.sleep(0.05)
        assert ended == [zabpy.Resynced("/")] * 2
        assert errors[0] is not errors[1] and (errors[0].operation, errors[0].path) == ("watch", "/")

    on_both(story)


def test_what_comes_after_a_pause_may_wait_a_little(on_both: OnBoth, hosts: str) -> None:
    async def story() -> None:
        async with zabpy.connect(hosts) as zk, zk.watch("/", jitter_ms=200) as events:
            waits = []
            assert isinstance(await anext(events), zabpy.Resynced)
            for _ in range(8):
                await zk.set("/", b"")
                await zk.set("/", b"")
                began = anyio.current_time()
                await anext(events)
                waits.append(anyio.current_time() - began)
                events.receive_nowait()  # what came with it does not wait again
            assert max(waits) > 0.03 and max(waits) < 5
            with pytest.raises(zabpy.BadArgumentsError):
                async with zk.watch("/", jitter_ms=-1):
                    pass
            assert isinstance(events, EventStream)

    on_both(story)


def test_a_watch_that_a_fork_drops_writes_nothing_to_its_parents_connection(on_both: OnBoth, hosts: str) -> None:
    async def story() -> None:
        async with zabpy.connect(hosts, follow_ensemble=False) as zk:
            _, fired = await zk.exists_watched("/nowhere")
            zk._home._forks -= 1  # as after a fork
            fired.cancel()
            zk._home._forks += 1
            assert zk.core.has_output

    on_both(story)
