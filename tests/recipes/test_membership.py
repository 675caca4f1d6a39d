"""Groups under trio and asyncio, and together with kazoo's parties."""

from collections.abc import Callable

import anyio
import pytest
from kazoo.client import KazooClient
from trio.testing import MockClock

import zabpy
from tests.client.conftest import Story
from zabpy.recipes.membership import GroupLayout

from .killing import kill, until
from .memory import world

OnBoth = Callable[[Story], None]


@pytest.mark.parametrize("layout", ["party", "shallow", "plain"])
def test_members_come_and_go(on_both: OnBoth, hosts: str, layout: GroupLayout) -> None:
    async def story() -> None:
        async with zabpy.connect(hosts) as zk, zabpy.connect(hosts) as other:
            group = other.group("/g", layout=layout)
            assert await group.members() == ()
            async with zk.member("/g", "a:1", layout=layout) as a, group.watch() as watch:
                assert a.present
                async with group.member("b-2", b"data"):
                    await until(lambda: len(watch.members) == 2)
                    assert [(m.name, m.data) for m in watch.members] == [("a:1", b"a:1"), ("b-2", b"data")]
                    assert [m.session_id for m in watch.members] == [zk.session.id, other.session.id]
                    assert watch.members == await zk.group("/g", layout=layout).members()
                    await a.update(b"new")
                    await until(lambda: watch.members[0].data == b"new")
                await until(lambda: [m.name for m in watch.members] == ["a:1"])
            assert await group.members() == ()

    on_both(story)


def test_a_stream_tells_who_is_there_and_then_each_change(on_both: OnBoth, hosts: str) -> None:
    async def story() -> None:
        async with zabpy.connect(hosts) as zk, zabpy.connect(hosts) as other, other.group("/g").watch() as group:
            told: list[list[str]] = []

            async def listen() -> None:
                async for members in group:
                    told.append([m.name for m in members])

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(listen)
                await until(lambda: told == [[]])
                async with zk.member("/g", "a"):
                    await until(lambda: told[-1] == ["a"])
                    async with zk.member("/g", "b"):
                        await until(lambda: told[-1] == ["a", "b"])
                    await until(lambda: told[-1] == ["a"])
                    id = group.members[0].id
                    session = zk.session
                    await kill(hosts, session)
                    await until(lambda: group.members and group.members[0].session_id != session.id)
                    assert group.members[0].session_id == zk.session.id
                    assert group.members[0].id == id, "the same member, back in another session"
                await until(lambda: told[-1] == [])
                tasks.cancel_scope.cancel()

    on_both(story)


@pytest.mark.parametrize("name", ["", "a/b"])
def test_a_name_that_cannot_be_a_part_of_a_path_is_refused(on_both: OnBoth, hosts: str, name: str) -> None:
    async def story() -> None:
        async with zabpy.connect(hosts) as zk:
            with pytest.raises(zabpy.BadArgumentsError, match="called"):
                zk.member("/g", name)
            with pytest.raises(zabpy.BadArgumentsError, match="nonsense"):
                zk.group("/g", layout="nonsense")  # type: ignore[arg-type]

    on_both(story)


def test_kazoos_members_and_ours_see_each_other(hosts: str) -> None:
    kazoo = KazooClient(hosts)
    kazoo.start()
    try:
        kazoo.Party("/p", "kazoo-1").join()
        kazoo.ShallowParty("/s", "kazoo-2").join()

        async def story() -> None:
            async with zabpy.connect(hosts) as zk:
                async with zk.member("/p", "ours-1"), zk.member("/s", "ours-2", layout="shallow"):
                    deep, shallow = zk.group("/p"), zk.group("/s", layout="shallow")
                    assert [m.name for m in await deep.members()] == ["kazoo-1", "ours-1"]
                    assert [m.name for m in await shallow.members()] == ["kazoo-2", "ours-2"]
                    assert sorted(kazoo.Party("/p")) == ["kazoo-1", "ours-1"]
                    assert sorted(kazoo.ShallowParty("/s")) == ["kazoo-2", "ours-2"]
                assert list(kazoo.Party("/p")) == ["kazoo-1"]

        anyio.run(story, backend="trio")
    finally:
        kazoo.stop()
        kazoo.close()


async def test_members_whose_session_is_over_leave_and_come_back(autojump_clock: MockClock) -> None:
    async with world() as w, w.client("a") as a, w.client("b") as b, w.client("look") as look:
        async with a.member("/g", "a"), b.member("/g", "b"), look.group("/g").watch() as group:

            def names() -> list[str]:
                return [m.name for m in group.members]

            assert names() == ["a", "b"]
            before = group.members
            w.isolate("a")
            await until(lambda: names() == ["b"])
            w.isolate("look")
            await until(lambda: group.stale)
            assert names() == ["b"], "what was last known"
            w.heal()
            await until(lambda: names() == ["b", "a"])
            await until(lambda: not group.stale)
            assert group.members[1].token > before[0].token


async def test_a_change_costs_a_watcher_one_request(autojump_clock: MockClock) -> None:
    async with world(servers=1) as w, w.client("a") as zk, w.client("look") as look:
        async with look.group("/g").watch() as group:
            counts: list[int] = []
            async with zk.member("/g", "m0"):
                await until(lambda: len(group.members) == 1)
                stream = w.dials["look"].streams[-1]
                for i in range(1, 30):
                    before = stream.sent_bytes
                    async with zk.member("/g", f"m{i}"):
                        await until(lambda: len(group.members) == 2)
                        counts.append(stream.sent_bytes - before)
                    await until(lambda: len(group.members) == 1)
            assert max(counts) < 200, "one read of a znode, and perhaps a ping"
