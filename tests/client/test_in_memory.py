"""The client and servers in memory, on a clock that jumps: how tests of what takes long, or breaks anywhere, look.

`zabpy.testing.dialling` says what can be done to a client's connections, `MemoryEnsemble` what to servers.
"""

import anyio
import pytest
from trio.testing import MockClock

import zabpy
from tests.server.servers import ensemble


async def test_a_client_moves_when_its_server_is_gone(autojump_clock: MockClock) -> None:
    async with ensemble() as servers:
        dial = servers.dial("client1")
        async with zabpy.connect(servers.hosts, dial=dial) as zk:
            await zk.create("/here", b"1")
            for _ in range(3):
                server = int(dial.streams[-1].remote[0][1:])
                servers.crash(server)
                await servers.wait_ended(server)
                assert (await zk.get("/here")).data == b"1"
                await servers.start(server)
                await servers.wait_serving()
        assert len(dial.streams) >= 4


async def test_a_client_that_hears_nothing_has_lost_its_session_in_time(autojump_clock: MockClock) -> None:
    async with ensemble() as servers:
        async with zabpy.connect(servers.hosts, dial=servers.dial("client1"), session_timeout_ms=10_000) as zk:
            await zk.create("/mine", ephemeral=True)
            session = zk.session
            for id in servers.configs:
                servers.lose(id, "client1")
            lost = anyio.Event()
            session.on_lost(lost.set)
            await lost.wait()
            servers.heal()
            await zk.wait_connected()
            assert zk.session is not session
            await anyio.sleep(15)  # the servers heard of it for longer than it heard of them
            assert await zk.exists("/mine") is None


async def test_a_session_ends_when_a_test_wants_it_also_while_servers_fail(autojump_clock: MockClock) -> None:
    async with ensemble() as servers:
        async with zabpy.connect(servers.hosts, dial=servers.dial("client1")) as zk:
            for fails in (False, True):
                session = zk.session
                await zk.create("/mine", ephemeral=True)
                if fails:
                    servers.crash(await servers.wait_leader())
                await servers.expire(zk)
                await servers.expire(session.id)  # harmless
                assert await zk.exists("/mine") is None
                assert session.lost and zk.session is not session


@pytest.mark.parametrize("sent_bytes", range(0, 200, 7))
async def test_a_write_was_done_or_not_when_its_connection_broke_and_the_client_says_so(
    sent_bytes: int, autojump_clock: MockClock
) -> None:
    async with ensemble(servers=1, tick_ms=100) as servers:
        dial = servers.dial("client1")
        dial.break_after(sent_bytes=sent_bytes)
        async with zabpy.connect(servers.hosts, dial=dial) as zk:
            for number in range(5):
                try:
                    stat = await zk.set("/", b"x" * 20, number)
                except zabpy.ConnectionLossError:
                    stat = (await zk.get("/")).stat
                    if stat.version == number:
                        stat = await zk.set("/", b"x" * 20, number)
                assert stat.version == number + 1
        assert dial.streams[0].broken and dial.streams[0].sent_bytes == sent_bytes
