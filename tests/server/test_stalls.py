"""A server that is stopped, or too busy, now and then: whose silence counts, and from when on."""

import trio
from trio.testing import MockClock

from tests.server.servers import client_of, ensemble


async def test_a_server_that_is_late_all_the_time_ends_silent_sessions_all_the_same(autojump_clock: MockClock) -> None:
    async with ensemble(servers=1) as servers:
        client = await client_of(servers, 1, timeout_ms=4_000)
        assert (await client.create("/e", flags=1)).err == 0
        state = servers.servers[1].driver.state
        began = trio.current_time()
        while "/e" in state.tree.nodes:
            assert trio.current_time() - began < 40, "its ephemeral is there for ever"
            await trio.sleep(0.01)
            autojump_clock.jump(0.8)  # more than half a tick
        assert client.session_id not in state.sessions


async def test_silence_does_not_count_while_its_server_did_not_listen(autojump_clock: MockClock) -> None:
    async with ensemble(servers=1) as servers:
        client = await client_of(servers, 1, timeout_ms=4_000)
        assert (await client.create("/e", flags=1)).err == 0
        for _ in range(5):
            autojump_clock.jump(60)  # what it says now was on its way all the time
            assert await client.get("/e") == (0, b"")
            await trio.sleep(3)
            assert await client.get("/e") == (0, b"")
