"""How clients get from one server to another in time, and how many come at once. In memory, on a clock that jumps."""

from random import Random

import pytest
import trio
from trio.testing import MockClock

import zabpy
from tests.server.servers import ensemble
from zabpy.testing.dialling import MemoryDial


@pytest.mark.parametrize("seed", range(6))
async def test_a_session_outlives_servers_that_hang_if_one_is_there(autojump_clock: MockClock, seed: int) -> None:
    """The client's own server falls silent, which takes two thirds of the time to notice, and all but one hang."""
    async with ensemble(servers=5, seed=seed) as servers:
        dial = servers.dial("client1")
        async with zabpy.connect(
            servers.hosts, dial=dial, session_timeout_ms=10_000, rng=Random(seed), request_timeout_ms=60_000
        ) as zk:
            session = zk.session
            good = next(id for id in (1, 2, 3, 4, 5) if f"s{id}:2181" != zk.server)
            for id in servers.configs:
                if id != good:
                    servers.cut(id, "client1")
            await zk.get("/")
            assert zk.server == f"s{good}:2181"
            assert zk.session is session and not session.lost


async def test_clients_of_a_server_that_died_do_not_come_to_the_others_at_one_instant(
    autojump_clock: MockClock,
) -> None:
    count = 40
    async with ensemble(servers=3) as servers:
        times: list[float] = []
        dials: list[MemoryDial] = []

        async def client(number: int, ready: trio.Event, go: trio.Event) -> None:
            dial = servers.dial(f"client{number}")
            dials.append(dial)
            async with zabpy.connect(servers.hosts, dial=dial, rng=Random(number), follow_ensemble=False) as zk:
                session = zk.session
                if sum(len(each.streams) for each in dials) == count:
                    ready.set()
                await go.wait()
                before = len(dial.attempts)
                await zk.get("/")
                if len(dial.attempts) > before:
                    times.append(trio.current_time())
                assert zk.session is session

        async with trio.open_nursery() as nursery:
            ready, go = trio.Event(), trio.Event()
            for number in range(count):
                nursery.start_soon(client, number, ready, go)
            await ready.wait()
            await trio.sleep(2)
            servers.crash(2)
            go.set()
        assert 5 < len(times) < 30, "about a third of them had to move"
        assert max(times) - min(times) > 0.05
        assert max(times) - min(times) < 2


async def test_while_no_server_is_there_attempts_are_few_and_all_come_back_when_one_is(
    autojump_clock: MockClock,
) -> None:
    async with ensemble(servers=1) as servers:
        dial = servers.dial("client1")
        async with zabpy.connect(
            servers.hosts, dial=dial, session_timeout_ms=30_000, rng=Random(1), request_timeout_ms=60_000
        ) as zk:
            session = zk.session
            servers.crash(1)
            await servers.wait_ended(1)
            before, began = len(dial.attempts), trio.current_time()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(zk.get, "/")
                await trio.sleep(15)
                assert 8 <= len(dial.attempts) - before <= 25
                await servers.start(1)
            assert trio.current_time() - began < 15 + 5
            assert zk.session is session


@pytest.mark.parametrize("sent_bytes", range(0, 80, 6))
async def test_a_credential_whose_answer_was_lost_is_sent_again(autojump_clock: MockClock, sent_bytes: int) -> None:
    async with ensemble(servers=1) as servers:
        dial = servers.dial("client1")
        async with zabpy.connect(servers.hosts, dial=dial, follow_ensemble=False) as zk:
            stream = dial.streams[-1]
            stream.sent_bytes_max = stream.sent_bytes + sent_bytes
            await zk.add_auth("digest", "bob:secret")
            assert "bob" in str(await zk.whoami())
            dial.break_now()
            assert "bob" in str(await zk.whoami())


async def test_a_credential_waits_for_a_server_only_so_long(autojump_clock: MockClock) -> None:
    async with ensemble(servers=1) as servers:
        async with zabpy.connect(
            servers.hosts, dial=servers.dial("client1"), session_timeout_ms=40_000, request_timeout_ms=2_000
        ) as zk:
            servers.crash(1)
            await servers.wait_ended(1)
            await trio.sleep(0.1)
            began = trio.current_time()
            with pytest.raises(zabpy.NoServerError, match="add_auth"):
                await zk.add_auth("digest", "bob:secret")
            assert 1.9 < trio.current_time() - began < 2.5
            await servers.start(1)
            assert "bob" not in str(await zk.whoami())


@pytest.mark.parametrize("seed", range(5))
async def test_after_a_server_has_said_that_the_session_is_over_the_next_one_is_not_waited_for(
    autojump_clock: MockClock, seed: int
) -> None:
    async with ensemble(servers=1) as servers:
        async with zabpy.connect(
            servers.hosts, dial=servers.dial("client1"), session_timeout_ms=40_000, rng=Random(seed)
        ) as zk:
            session = zk.session
            servers.crash(1)
            await servers.wait_ended(1)
            await trio.sleep(10 + seed / 5)  # and the client waits longer and longer from one attempt to the next
            await servers.start(1)
            await servers.expire(session.id)
            assert not session.lost
            await zk.wait_lost(session)
            lost_at = trio.current_time()
            await zk.wait_connected()
            assert trio.current_time() - lost_at < 0.1
            assert session.is_over and not zk.core.undead
