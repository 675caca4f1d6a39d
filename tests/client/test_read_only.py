"""Servers without a quorum: who is served by them, what that is worth, and how clients get away from them."""

from collections.abc import Callable

import pytest
import trio
from anyio.abc import ByteStream
from trio.testing import MockClock

import zabpy
from tests.client.conftest import Story
from tests.client.listeners import fake_server, listening
from tests.server.servers import ensemble
from zabpy.testing.ensemble import MemoryEnsemble

ON = {"read_only_mode": True}


async def cut_off(servers: MemoryEnsemble, id: int) -> None:
    """This server has lost the others, and has become read-only."""
    for other in servers.configs:
        if other != id:
            servers.cut(id, other)
    while not servers.servers[id].clients.read_only.on:  # noqa: ASYNC110
        await trio.sleep(0.1)


def only(servers: MemoryEnsemble, client: str, *ids: int, alone: int = 0) -> None:
    """The client reaches these servers and no others; one server may be cut off from the others."""
    servers.heal()
    for id in servers.configs:
        if id not in ids:
            servers.cut(id, client)
        if id != alone and alone:
            servers.cut(id, alone)


async def test_a_client_that_did_not_ask_for_it_is_not_served_read_only(autojump_clock: MockClock) -> None:
    async with ensemble(config=ON) as servers:
        await cut_off(servers, 3)
        only(servers, "client1", 3, alone=3)
        with pytest.raises(zabpy.NoServerError, match="s3:2181: it closed the connection"):
            async with zabpy.connect(servers.hosts, dial=servers.dial("client1")):
                pass


async def test_a_client_that_asked_for_it_reads_and_its_writes_are_refused_at_once(autojump_clock: MockClock) -> None:
    async with ensemble(config=ON) as servers:
        async with zabpy.connect(servers.hosts, dial=servers.dial("client2")) as writer:
            await writer.create("/a", b"1")
        await servers.wait_level()
        await cut_off(servers, 3)
        only(servers, "client1", 3, alone=3)
        async with zabpy.connect(servers.hosts, dial=servers.dial("client1"), read_only=True) as zk:
            assert zk.state is zabpy.State.READ_ONLY
            assert zk.session.read_only
            assert (await zk.get("/a")).data == b"1"
            began = trio.current_time()
            for write in (zk.set("/a", b"2"), zk.create("/b"), zk.delete("/a"), zk.sync()):
                with pytest.raises(zabpy.NotReadOnlyError):
                    await write
            assert trio.current_time() - began < 1


async def test_it_moves_to_a_full_server_when_it_finds_one_and_its_session_is_a_new_one(
    autojump_clock: MockClock,
) -> None:
    async with ensemble(config=ON) as servers:
        await cut_off(servers, 3)
        only(servers, "client1", 3, alone=3)
        dial = servers.dial("client1")
        async with zabpy.connect(servers.hosts, dial=dial, read_only=True) as zk:
            assert zk.state is zabpy.State.READ_ONLY
            old = zk.session
            only(servers, "client1", 1, 3, alone=3)
            began = trio.current_time()
            async with zk.states() as states:
                async for state in states:
                    if state is zabpy.State.CONNECTED:
                        break
            assert trio.current_time() - began < 20
            assert zk.server == "s1:2181"
            assert old.lost and zk.session is not old and not zk.session.read_only
            assert (await zk.create("/mine", ephemeral=True)).stat.ephemeral_owner == zk.session.id


async def test_a_real_session_goes_on_when_it_moves_there_and_back(autojump_clock: MockClock) -> None:
    async with ensemble(config=ON) as servers:
        dial = servers.dial("client1")
        only(servers, "client1", 3)
        async with zabpy.connect(servers.hosts, dial=dial, read_only=True, session_timeout_ms=20_000) as zk:
            session = zk.session
            assert not session.read_only
            await zk.create("/mine", ephemeral=True)
            await servers.wait_level()
            await cut_off(servers, 3)
            async with zk.states() as states:
                async for state in states:
                    if state is zabpy.State.READ_ONLY:
                        break
            assert zk.session is session
            assert await zk.exists("/mine") is not None
            only(servers, "client1", 1, 3, alone=3)
            async with zk.states() as states:
                async for state in states:
                    if state is zabpy.State.CONNECTED:
                        break
            assert zk.session is session and not session.lost
            assert (await zk.get("/mine")).stat.ephemeral_owner == session.id


async def test_a_server_without_a_quorum_keeps_no_session_alive(autojump_clock: MockClock) -> None:
    """The others end the session meanwhile, and somebody else may have its lock: so it must be lost here in time."""
    async with ensemble(config=ON) as servers:
        dial = servers.dial("client1")
        only(servers, "client1", 3)
        async with (
            zabpy.connect(servers.hosts, dial=dial, read_only=True, session_timeout_ms=10_000) as zk,
            zabpy.connect("s1,s2", dial=servers.dial("client2")) as other,
        ):
            session = zk.session
            await zk.create("/mine", ephemeral=True)
            began = trio.current_time()
            await cut_off(servers, 3)
            while await other.exists("/mine") is not None:
                assert trio.current_time() - began < 60
                await trio.sleep(0.1)
            assert session.lost, "before the others ended it"
            async with zk.states() as states:
                async for state in states:
                    if state is zabpy.State.READ_ONLY:
                        break
            assert zk.session is not session and zk.session.read_only
            assert await zk.exists("/mine") is not None, "here nobody knows"


async def test_it_does_not_ask_around_in_a_storm(autojump_clock: MockClock) -> None:
    async with ensemble(config=ON) as servers:
        await cut_off(servers, 3)
        only(servers, "client1", 3, alone=3)
        dial = servers.dial("client1")
        async with zabpy.connect(servers.hosts, dial=dial, read_only=True) as zk:
            count = len(dial.attempts)
            await trio.sleep(300)
            assert zk.state is zabpy.State.READ_ONLY
            assert 20 < len(dial.attempts) - count < 80


async def test_a_dial_that_fails_in_an_odd_way_does_not_end_the_search_or_the_client(
    autojump_clock: MockClock,
) -> None:
    async with ensemble(config=ON) as servers:
        await cut_off(servers, 3)
        dial, odd = servers.dial("client1"), [True]

        async def strange(host: str, port: int) -> ByteStream:
            if odd[0] and host != "s3":
                raise LookupError("of the user's own")
            return await dial(host, port)

        async with zabpy.connect(servers.hosts, dial=strange, read_only=True) as zk:
            seen = []
            for odd[0] in (True, False):
                await trio.sleep(30)
                seen.append(zk.state)
            assert seen == [zabpy.State.READ_ONLY, zabpy.State.CONNECTED]


def test_a_server_that_is_read_only_unasked_is_left_before_it_is_believed(on_both: Callable[[Story], None]) -> None:
    """As one that does not know the flag: it greets everybody."""

    async def story() -> None:
        connections: list[int] = []
        async with listening(fake_server(lambda number: 0, connections, read_only=True)) as host:
            with pytest.raises(zabpy.NoServerError, match="read-only, which was not asked for"):
                async with zabpy.connect(host, connect_timeout_ms=1_000):
                    pass

    on_both(story)
