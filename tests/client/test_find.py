"""Creates whose answer was lost and that are found by their names: once, whatever is still under way."""

import anyio
import pytest
from trio.testing import MockClock

import zabpy
from tests.server.servers import ensemble


@pytest.mark.parametrize("sent_bytes", range(0, 400, 23))
async def test_it_is_there_once_wherever_the_connection_breaks(sent_bytes: int, autojump_clock: MockClock) -> None:
    async with ensemble(servers=1, tick_ms=100) as servers:
        dial = servers.dial("client1")
        async with zabpy.connect(servers.hosts, dial=dial, follow_ensemble=False) as zk:
            await zk.create("/q")
            stream = dial.streams[-1]
            if sent_bytes % 2:
                stream.sent_bytes_max = stream.sent_bytes + sent_bytes
            else:
                stream.received_bytes_max = stream.received_bytes + sent_bytes
            made = [await zk.create(f"/q/guid{n}-", sequence=True, ephemeral=True, lost_reply="find") for n in range(3)]
            assert sorted(await zk.children("/q")) == [each.path.removeprefix("/q/") for each in made]
            for each in made:
                assert await zk.exists(each.path) == each.stat


@pytest.mark.parametrize("break_ms", [20, 100, 250])
async def test_what_is_ordered_and_not_final_yet_is_waited_for(break_ms: int, autojump_clock: MockClock) -> None:
    """The client is back, and looks, long before the disks of a quorum have what it asked for."""
    async with ensemble(servers=3) as servers:
        leader = await servers.wait_leader()
        for id in servers.configs:
            if id != leader:
                servers.crash(id)
                await servers.wait_ended(id)
                servers.disk_delay_ms[id] = 300
                await servers.start(id)
        await servers.wait_serving()
        dial = servers.dial("client1")
        async with zabpy.connect(servers.hosts, dial=dial, follow_ensemble=False) as zk:
            await zk.create("/q")
            for number in range(6):
                made: list[str] = []

                async def create(number: int, made: list[str]) -> None:
                    done = await zk.create(f"/q/{number}-", sequence=True, ephemeral=True, lost_reply="find")
                    made.append(done.path.removeprefix("/q/"))

                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(create, number, made)
                    await anyio.sleep(break_ms / 1000)
                    dial.break_now()
                await anyio.sleep(1)
                assert sorted(await zk.children("/q"))[number:] == made


async def test_without_its_session_nobody_knows(autojump_clock: MockClock) -> None:
    async with ensemble(servers=1, tick_ms=100) as servers:
        dial = servers.dial("client1")
        async with zabpy.connect(servers.hosts, dial=dial, session_timeout_ms=2_000, follow_ensemble=False) as zk:
            await zk.create("/q")

            async def create() -> None:
                with pytest.raises(zabpy.SessionLostError):
                    await zk.create("/q/guid-", sequence=True, lost_reply="find")

            async with anyio.create_task_group() as tasks:
                dial.streams[-1].received_bytes_max = dial.streams[-1].received_bytes + 5
                tasks.start_soon(create)
                await anyio.sleep(0.005)
                servers.lose(1, "client1")
                await anyio.sleep(5)
                servers.heal()
