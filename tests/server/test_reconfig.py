"""Observers that join and leave while whole servers run, on simulated networks and disks."""

from collections.abc import Iterable

import pytest
import trio
from trio.testing import MockClock

from tests.server.raw_client import RawClient
from tests.server.servers import client_of, ensemble
from tests.server.test_peers import closed, hello
from zabpy.model import Member
from zabpy.testing.disk import CutModel
from zabpy.testing.ensemble import PEER_PORT, MemoryEnsemble
from zabpy.tree import CONFIG_PATH
from zabpy.wire import Op, records as r


async def root_of(servers: MemoryEnsemble, id: int) -> RawClient:
    client = await client_of(servers, id)
    await client.become_super()
    return client


async def reconfig(servers: MemoryEnsemble, at: int, joining: Iterable[Member] = (), leaving: str = "") -> str:
    client = await root_of(servers, at)
    err, text = await client.reconfig(",".join(member.text() for member in joining), leaving)
    assert err == 0
    await client.close()
    return text


def lines(servers: MemoryEnsemble, id: int, event: str) -> list[str]:
    return [line for line in servers.lines if f"server={id} event={event} " in line]


def config_at(servers: MemoryEnsemble, id: int) -> bytes:
    return servers.servers[id].driver.state.tree.nodes[CONFIG_PATH].data or b""


async def assert_serves(servers: MemoryEnsemble, id: int, path: str) -> None:
    """It takes a write, and reads it back."""
    await servers.wait_serving([id])
    client = await client_of(servers, id)
    assert (await client.create(path, b"by %d" % id)).err == 0
    assert await client.get(path) == (0, b"by %d" % id)
    await client.close()


async def assert_shut_out(servers: MemoryEnsemble, id: int, seconds: float = 10) -> None:
    """It runs, and serves nobody, for so long."""
    for _ in range(int(seconds)):
        await trio.sleep(1)
        assert not servers.servers[id].serving
        assert not servers.servers[id].peers.links


@pytest.mark.parametrize("at", [1, 2, 3])
@pytest.mark.parametrize("seed", range(2))
async def test_an_observer_joins_without_a_restart_of_anybody(autojump_clock: MockClock, seed: int, at: int) -> None:
    async with ensemble(servers=3, seed=seed) as servers:
        await assert_serves(servers, 1, "/before")
        member = servers.add_observer(4)
        await servers.start(4)
        await assert_shut_out(servers, 4, 130)
        # Told, but not on and on: once by itself, once a minute by each of the others.
        assert len(lines(servers, 4, "shut_out")) == 1
        for id in (1, 2, 3):
            assert len(lines(servers, id, "link_refused")) in (2, 3)
        began = trio.current_time()
        text = await reconfig(servers, at, [member])
        assert member.text() in text.split("\n")
        await assert_serves(servers, 4, "/after")
        assert trio.current_time() - began < 5
        await servers.wait_level()
        assert len({server.driver.state.digest() for server in servers.servers.values()}) == 1
        assert {config_at(servers, id) for id in servers.servers} == {text.encode()}
        client = await client_of(servers, 4)
        assert await client.get("/before") == (0, b"by 1")
        assert len(lines(servers, 4, "started")) == 1


async def test_one_that_leaves_is_hung_up_on_and_serves_nobody_until_it_joins_again(autojump_clock: MockClock) -> None:
    async with ensemble(servers=4, observers=1, seed=1) as servers:
        client = await client_of(servers, 4)
        before = [len(lines(servers, id, "role")) for id in (1, 2, 3)]
        text = await reconfig(servers, 4, leaving="4")
        assert "server.4" not in text
        with pytest.raises((EOFError, trio.BrokenResourceError)):
            while True:
                await client.get("/")
        await trio.sleep(1)
        assert [len(lines(servers, id, "role")) for id in (1, 2, 3)] == before  # nobody else noticed
        await assert_shut_out(servers, 4)
        assert len(lines(servers, 4, "shut_out")) == 1
        await assert_serves(servers, 1, "/without")
        # Its own file and everybody's lists it still, and that is not enough.
        await servers.stop(4)
        await servers.start(4)
        await assert_shut_out(servers, 4)
        await reconfig(servers, 2, [servers.configs[4].member._replace(client_port=2181)])
        await assert_serves(servers, 4, "/again")


async def test_what_a_removed_server_says_is_not_listened_to(autojump_clock: MockClock) -> None:
    async with ensemble(servers=4, observers=1, seed=2) as servers:
        await reconfig(servers, 1, leaving="4")
        servers.crash(4)
        for id in (1, 2, 3):
            stream = await servers.wires.dial("server4", f"server{id}", PEER_PORT)
            await stream.send_all(hello(4))
            assert await closed(stream)
            assert 4 not in servers.servers[id].peers.links
            assert 4 not in servers.servers[id].replica.links


async def test_observers_that_joined_have_no_say(autojump_clock: MockClock) -> None:
    async with ensemble(servers=3, seed=3) as servers:
        joiners = [servers.add_observer(id) for id in (4, 5, 6)]
        await reconfig(servers, 1, joiners)
        for id in (4, 5, 6):
            await servers.start(id)
        await servers.wait_serving([4, 5, 6])
        for id in (1, 2):
            servers.crash(id)
        await trio.sleep(30)
        assert servers.leader is None
        assert not any(server.serving for server in servers.servers.values())
        await servers.start(1)
        await assert_serves(servers, 6, "/a")


async def test_a_joiner_gets_a_snapshot_and_the_configuration_with_it(autojump_clock: MockClock) -> None:
    async with ensemble(servers=3, seed=4, snapshot_entries=20) as servers:
        writer = await client_of(servers, 1)
        for number in range(100):
            assert (await writer.create(f"/n{number}")).err == 0
        others, member = servers.add_observer(5), servers.add_observer(4)
        await reconfig(servers, 1, [others])
        text = await reconfig(servers, 1, [member])
        for number in range(100, 200):
            assert (await writer.create(f"/n{number}")).err == 0
        await servers.start(4)
        await assert_serves(servers, 4, "/after")
        assert lines(servers, 4, "installed")
        assert config_at(servers, 4) == text.encode()
        assert servers.servers[4].replica.ensemble.observers == {4, 5}
        await servers.wait_level()
        assert len({server.driver.state.digest() for server in servers.servers.values()}) == 1


async def test_a_joiner_passes_configurations_of_before_it_joined(autojump_clock: MockClock) -> None:
    """On its way through the log it is told several times that it is no observer. It goes on, and says nothing."""
    async with ensemble(servers=3, seed=5) as servers:
        four, five = servers.add_observer(4), servers.add_observer(5)
        for _ in range(3):
            await reconfig(servers, 1, [four, five])
            await reconfig(servers, 2, leaving="4")
        await reconfig(servers, 3, [four])
        await servers.start(4)
        await assert_serves(servers, 4, "/a")
        assert not lines(servers, 4, "removed")


@pytest.mark.parametrize("seed", range(8))
async def test_whatever_crashes_while_one_joins_it_joins_in_the_end(autojump_clock: MockClock, seed: int) -> None:
    async with ensemble(servers=3, seed=seed, snapshot_entries=30) as servers:
        writer = await client_of(servers, 1)
        for number in range(60):
            assert (await writer.create(f"/n{number}", bytes(2000))).err == 0
        member = servers.add_observer(4)
        await servers.start(4)
        await reconfig(servers, 1 + seed % 3, [member])
        for round in range(6):
            await trio.sleep(0.003 * (seed + 1) * (round + 1))
            victim = 4 if round % 2 else servers.leader or 4
            if victim in servers.servers:
                servers.crash(victim, CutModel.ANY_ORDER if seed % 2 else None)
            await trio.sleep(0.2 * (round % 3))
            for id in servers.configs:
                if id not in servers.servers:
                    await servers.start(id)
        await servers.wait_serving([1, 2, 3, 4])
        await assert_serves(servers, 4, "/after")
        await servers.wait_level()
        assert len({server.driver.state.digest() for server in servers.servers.values()}) == 1


async def test_a_change_of_leaders_right_after_it_keeps_the_configuration(autojump_clock: MockClock) -> None:
    async with ensemble(servers=5, observers=1, seed=6) as servers:
        member = servers.add_observer(6)
        await servers.start(6)
        for _ in range(4):
            leader = await servers.wait_leader()
            other = next(id for id in (1, 2, 3, 4) if id != leader)
            await servers.wait_serving([other])
            text = await reconfig(servers, other, [member], "5")
            servers.crash(leader)
            await trio.sleep(0.05)
            await assert_serves(servers, 6, f"/{leader}-{len(servers.lines)}")
            assert not servers.servers[5].serving
            assert len(lines(servers, 5, "removed")) <= 1
            await trio.sleep(1)
            assert {config_at(servers, id) for id in servers.servers if id != 5} == {text.encode()}
            await servers.start(leader)
            await servers.wait_serving([leader])


async def test_a_configuration_that_no_quorum_has_never_was(autojump_clock: MockClock) -> None:
    async with ensemble(servers=3, seed=7) as servers:
        leader = servers.leader
        assert leader is not None
        others = [id for id in (1, 2, 3) if id != leader]
        member = servers.add_observer(4)
        client = await root_of(servers, leader)
        for id in others:
            servers.cut(leader, id)
        await servers.start(4)
        await client.send(Op.RECONFIG, r.ReconfigRequest(member.text(), None, None, -1))
        while servers.leader in (None, leader):  # noqa: ASYNC110
            await trio.sleep(0.1)
        await assert_serves(servers, others[0], "/a")
        servers.heal()
        await servers.wait_serving([1, 2, 3])
        await assert_shut_out(servers, 4)
        for id in (1, 2, 3):
            assert config_at(servers, id).endswith(b"version=0")
            assert servers.servers[id].replica.ensemble.observers == frozenset()


@pytest.mark.parametrize("order", ["1234", "4321", "2413"])
@pytest.mark.parametrize("snapshot", [False, True])
async def test_all_restart_in_any_order_on_files_that_lag_behind(
    autojump_clock: MockClock, order: str, snapshot: bool
) -> None:
    async with ensemble(servers=4, observers=1, seed=8, snapshot_entries=10 if snapshot else 10_000) as servers:
        member = servers.add_observer(5)
        await servers.start(5)
        text = await reconfig(servers, 1, [member], "4")
        await assert_serves(servers, 5, "/a")
        writer = await client_of(servers, 1)
        for number in range(40 if snapshot else 1):
            assert (await writer.create(f"/n{number}")).err == 0
        for id in list(servers.servers):
            await servers.stop(id)
        for id in (int(digit) for digit in order.replace("4", "54")):
            await servers.start(id)
            await trio.sleep(0.5)
        await servers.wait_serving([1, 2, 3])
        await assert_serves(servers, 5, "/b")
        await assert_shut_out(servers, 4)
        assert {config_at(servers, id) for id in (1, 2, 3, 5)} == {text.encode()}
        if snapshot:  # else it is in the log, and which of that is final is known later
            assert any(lines(servers, id, "file_and_config_differ") for id in (1, 2, 3))


async def test_two_at_once_from_two_servers_both_happen(autojump_clock: MockClock) -> None:
    async with ensemble(servers=3, seed=9) as servers:
        members = {id: servers.add_observer(id) for id in (4, 5, 6)}
        texts: list[str] = []

        async def join(id: int) -> None:
            texts.append(await reconfig(servers, id - 3, [members[id]]))

        async with trio.open_nursery() as nursery:
            for id in members:
                nursery.start_soon(join, id)
        await servers.wait_level()
        final = config_at(servers, 1).decode()
        assert final in texts and all(member.text() in final for member in members.values())


async def test_the_status_shows_the_configuration_of_now(autojump_clock: MockClock) -> None:
    async with ensemble(servers=3, seed=10) as servers:
        text = await reconfig(servers, 1, [servers.add_observer(4)])
        await servers.wait_level()
        stream = await servers.connect(2)
        await stream.send_all(b"conf")
        answer = b""
        while data := await stream.receive_some():
            answer += data
        assert b"membership: \n" + text.encode() in answer


async def test_a_standalone_server_has_no_configuration_to_change(autojump_clock: MockClock) -> None:
    async with ensemble(servers=1, seed=11) as servers:
        client = await root_of(servers, 1)
        assert await client.reconfig("junk", version=77) == (-6, "")
        assert await client.get(CONFIG_PATH) == (0, b"")
        server = servers.servers[1]
        assert server.driver.state.tree.nodes[CONFIG_PATH].version == 0
