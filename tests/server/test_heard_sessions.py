"""What the leader hears of sessions, and when: clients count their sessions' time by its answers."""

import pytest
import trio
from trio.testing import MockClock

from tests.server.raw_client import RawClient
from tests.server.servers import client_of, ensemble
from zabpy.testing.ensemble import MemoryEnsemble
from zabpy.testing.session_ids import ask_for_end
from zabpy.wire import Op, records as r


async def a_follower(servers: MemoryEnsemble) -> tuple[int, int]:
    """The leader, and one that follows it."""
    leader = await servers.wait_leader()
    return leader, next(id for id in servers.configs if id != leader)


def deadline_ms(servers: MemoryEnsemble, leader: int, client: RawClient) -> int:
    """When the leader ends the session if it hears no more of it."""
    deadlines = servers.servers[leader].driver.deadlines
    assert deadlines is not None
    return next(ms for ms, ids in deadlines if client.session_id in ids)


@pytest.mark.parametrize("op", [Op.SYNC, Op.CREATE, Op.SET_DATA])
async def test_the_leader_has_heard_of_a_session_when_it_has_answered_it_through_a_follower(
    op: Op, autojump_clock: MockClock
) -> None:
    async with ensemble(servers=3, tick_ms=1_000) as servers:
        leader, follower = await a_follower(servers)
        client = await client_of(servers, follower, timeout_ms=4_000)
        clock = servers.servers[leader].clock
        for phase in range(7):
            await trio.sleep(1.1 + phase / 7)  # anywhere between two reports of the follower's
            sent_ms = clock.now_ms()
            if op == Op.SYNC:
                assert (await client.sync()).err == 0
            elif op == Op.CREATE:
                assert (await client.create(f"/{phase}")).err == 0
            else:
                assert (await client.set("/no", b"")).err == -101
            assert deadline_ms(servers, leader, client) >= sent_ms + 4_000


async def test_a_session_that_is_ending_gets_no_answer_that_would_tell_it_is_alive(autojump_clock: MockClock) -> None:
    async with ensemble(servers=3) as servers:
        leader, follower = await a_follower(servers)
        for id in servers.configs:
            if id != leader:  # the end is proposed, and takes a while to be final
                servers.crash(id)
                await servers.wait_ended(id)
                servers.disk_delay_ms[id] = 500
                await servers.start(id)
        await servers.wait_serving()
        client = await client_of(servers, follower)
        assert (await client.sync()).err == 0
        ask_for_end(servers.servers[leader], client.session_id)
        await client.send(Op.SYNC, r.SyncRequest("/"))
        assert await client.ended()


async def test_a_leader_that_may_lead_no_more_tells_nobody_that_a_session_is_alive(autojump_clock: MockClock) -> None:
    async with ensemble(servers=3) as servers:
        leader, follower = await a_follower(servers)
        others = [id for id in servers.configs if id != leader]
        client = await client_of(servers, follower)
        for at in (leader, follower, leader):
            assert await client.resume(await servers.connect(at)), "while it leads it does"
        for other in others:
            servers.cut(leader, other)
        with pytest.raises(EOFError):
            await client.resume(await servers.connect(leader))
        await servers.wait_serving(others)
        assert await client.resume(await servers.connect(others[0]))
