"""A chroot is put before every path that is asked for, and taken from every one that comes back."""

from collections.abc import Callable

import anyio
import pytest

import zabpy
from tests.client.conftest import Story, reconnect

OnBoth = Callable[[Story], None]


def test_paths_of_answers_and_events_have_no_chroot(on_both: OnBoth, hosts: str) -> None:
    server, _, chroot = hosts.partition("/")
    chroot = f"/{chroot}/app"

    async def story() -> None:
        async with zabpy.connect(server + chroot) as zk, zabpy.connect(server) as whole:
            await zk.ensure("/")
            await whole.create(chroot + "lication", b"")  # begins alike
            async with zk.watch("/", recursive=True) as events, zk.watch("/q") as queue:
                assert await anext(events) == zabpy.Resynced("/")
                assert await anext(queue) == zabpy.Resynced("/q")
                _, fired = await zk.exists_watched("/q")
                _, _, children = await zk.children_watched("/")
                await whole.create(chroot + "lication/x", b"")
                assert (await zk.create("/q")).path == "/q"
                assert (await fired.wait()).path == "/q"
                assert (await children.wait()).path == "/"
                made = await zk.create("/q/n-", b"1", sequence=True, ephemeral=True)
                assert made.path == "/q/n-0000000000"
                slash = await zk.create("/q/", sequence=True)
                assert slash.path == "/q/0000000001"
                assert (await whole.get(chroot + made.path)).data == b"1"
                assert [(await anext(events)).path for _ in range(3)] == ["/q", made.path, slash.path]
                assert [(await anext(queue)).path for _ in range(3)] == ["/q"] * 3
            assert await zk.ephemerals() == [made.path]
            assert await zk.ephemerals("/q/n") == [made.path]
            await whole.create(chroot + "lication/mine", ephemeral=True)
            assert await whole.ephemerals(chroot) == [chroot + "lication/mine"]
            assert sorted(await zk.children("/")) == ["q"]
            assert await zk.count_descendants("/") == 3
            found = await zk.get_many([made.path, "/", "/none"])
            assert [each and each.data for each in found] == [b"1", b"", None]
            with pytest.raises(zabpy.NoNodeError, match="get /q/none") as error:
                await zk.get("/q/none")
            assert error.value.path == "/q/none"
            assert "chroot" not in str(error.value)

    on_both(story)


def test_watches_under_a_chroot_go_on_with_the_next_connection(on_both: OnBoth, hosts: str) -> None:
    async def story() -> None:
        async with zabpy.connect(hosts) as zk:
            await zk.create("/a")
            async with zk.watch("/", recursive=True) as events:
                assert isinstance(await anext(events), zabpy.Resynced)
                _, _, fired = await zk.get_watched("/a")
                await reconnect(zk)
                assert await anext(events) == zabpy.Resynced("/")
                await zk.set("/a", b"1")
                assert (await fired.wait()).path == "/a"
                assert (await anext(events)).path == "/a"

    on_both(story)


def test_a_chroot_that_is_not_there_is_named(on_both: OnBoth, hosts: str) -> None:
    async def story() -> None:
        async with zabpy.connect(hosts + "/none/app") as zk:
            for ask in (zk.create("/a"), zk.get("/a"), zk.children("/"), zk.set("/a", b"")):
                with pytest.raises(zabpy.NoNodeError, match="the chroot /test-[0-9]+/none/app is not there") as error:
                    await ask
                assert error.value.path in ("/a", "/")
            assert await zk.exists("/a") is None
            await zk.ensure("/")
            assert (await zk.create("/a")).path == "/a"
            with pytest.raises(zabpy.NoNodeError) as error:
                await zk.get("/b")
            assert "chroot" not in str(error.value)
            await zk.delete("/a")
            await zk.delete("/")

    on_both(story)


def test_what_is_outside_cannot_be_named(on_both: OnBoth, hosts: str) -> None:
    async def story() -> None:
        async with zabpy.connect(hosts) as zk:
            for path in ("/../x", "/..", "/./x", "x", "", "//x"):
                with pytest.raises(zabpy.BadArgumentsError):
                    await zk.get(path)

    on_both(story)


def test_a_watch_whose_call_is_cancelled_while_it_looks_for_the_chroot_is_given_up(on_both: OnBoth, hosts: str) -> None:
    async def story() -> None:
        async with zabpy.connect(hosts, follow_ensemble=False) as zk:
            for turns in range(12):
                zk._chroot_seen = done = False

                async def ask() -> None:
                    nonlocal done
                    await zk.exists_watched("/nowhere")
                    done = True

                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(ask)
                    while not zk.core.watches and turns:
                        await anyio.lowlevel.checkpoint()
                    for _ in range(turns):
                        await anyio.lowlevel.checkpoint()
                    tasks.cancel_scope.cancel()
                if done:
                    return
                assert len(zk.core.watches) == 0, turns

    on_both(story)
