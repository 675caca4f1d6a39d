"""The client on a real server, under trio and under asyncio."""

from collections.abc import Callable

import anyio
import pytest

import zabpy
from tests.client.conftest import Story, told


def test_what_a_body_raises_comes_out_as_it_was(on_both: Callable[[Story], None], hosts: str) -> None:
    async def story() -> None:
        with pytest.raises(ValueError, match="mine"):
            async with zabpy.connect(hosts):
                raise ValueError("mine")

    on_both(story)


def test_a_first_walk(on_both: Callable[[Story], None], hosts: str) -> None:
    async def story() -> None:
        async with zabpy.connect(hosts) as zk:
            assert zk.state is zabpy.State.CONNECTED
            made = await zk.create("/a", b"1")
            assert made.path == "/a"
            assert await zk.get("/a") == (b"1", made.stat)
            async with zk.watch("/a", recursive=True) as events:
                data, _, fired = await zk.get_watched("/a")
                changed = await zk.set("/a", data + b"2")
                assert await fired.wait() == zabpy.Changed("/a", told(changed.mzxid))
                child = await zk.create("/a/b", ephemeral=True)
                assert child.stat.ephemeral_owner == zk.session.id
                assert [await anext(events) for _ in range(3)] == [
                    zabpy.Resynced("/a"),
                    zabpy.Changed("/a", told(changed.mzxid)),
                    zabpy.Created("/a/b", told(child.stat.czxid)),
                ]
            await zk.delete("/a/b")
            await zk.delete("/a")
            with pytest.raises(zabpy.NoNodeError) as error:
                await zk.get("/a")
            assert (error.value.operation, error.value.path) == ("get", "/a")

    on_both(story)


def test_what_is_to_be_cleaned_up_is_though_the_block_was_cancelled_from_outside(
    on_both: Callable[[Story], None], hosts: str
) -> None:
    async def story() -> None:
        async with zabpy.connect(hosts) as other:
            await other.create("/lasting")
            with anyio.CancelScope() as scope:
                async with zabpy.connect(hosts) as zk:
                    await zk.create("/fleeting", ephemeral=True)

                    async def clean_up() -> None:
                        await anyio.sleep(0.1)
                        await zk.delete("/lasting")

                    zk.background(clean_up, cleanup=True)
                    zk.background(anyio.sleep_forever)
                    scope.cancel()
                    await anyio.sleep_forever()
            assert await other.children("/") == [], "cleaned up, and then the session was closed"

    on_both(story)


def test_a_normal_end_warns_nobody(
    on_both: Callable[[Story], None], hosts: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def story() -> None:
        async with zabpy.connect(hosts) as zk:
            await zk.exists("/")

    on_both(story)
    assert [record for record in caplog.records if record.levelname == "WARNING"] == []
