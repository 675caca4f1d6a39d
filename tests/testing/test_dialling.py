"""A client's connections to servers in memory: as `zabpy.client` takes them, cut, lost one way, broken at any byte."""

import struct

import anyio
import pytest
import trio
from trio.testing import MockClock

from tests.server.servers import ensemble
from zabpy.testing.dialling import DialledStream, MemoryDial
from zabpy.testing.ensemble import CLIENT_PORT
from zabpy.wire import frame, packed, records as r

HELLO = frame(packed(r.ConnectRequest(0, 0, 10_000, 0, bytes(16), False)))
ANSWER_BYTES = 41


async def test_a_client_reaches_each_server_by_its_name(autojump_clock: MockClock) -> None:
    async with ensemble() as servers:
        assert servers.hosts == "s1:2181,s2:2181,s3:2181"
        dial = servers.dial("client1")
        for id in (1, 2, 3):
            stream = await dial(f"s{id}", CLIENT_PORT)
            await stream.send(HELLO)
            assert await _session(stream) >> 56 == id
            await stream.aclose()
            with pytest.raises(anyio.ClosedResourceError):
                await stream.receive()
        assert dial.attempts == [("s1", 2181), ("s2", 2181), ("s3", 2181)]
        servers.crash(2)
        with pytest.raises(ConnectionRefusedError):
            await dial("s2", CLIENT_PORT)
        with pytest.raises(ConnectionRefusedError):
            await dial("elsewhere", CLIENT_PORT)
        assert len(dial.streams) == 3 and len(dial.attempts) == 5


async def test_the_end_of_a_server_is_the_end_of_its_streams(autojump_clock: MockClock) -> None:
    async with ensemble(servers=1) as servers:
        stream = await servers.dial()("s1", CLIENT_PORT)
        await stream.send(HELLO)
        await _session(stream)
        servers.crash(1)
        with pytest.raises(anyio.EndOfStream):
            await stream.receive()
        with pytest.raises(anyio.BrokenResourceError):
            await stream.send(HELLO)


async def test_a_connection_breaks_behind_any_byte_that_was_sent(autojump_clock: MockClock) -> None:
    async with ensemble(servers=1) as servers:
        for bytes_max in range(len(HELLO) + 1):
            stream = await _broken_at(servers.dial(), sent_bytes=bytes_max)
            await stream.send(HELLO)  # seems to succeed
            assert (stream.sent_bytes, stream.broken) == (bytes_max, True)
            with pytest.raises(anyio.BrokenResourceError):
                await stream.send(b"more")
            with pytest.raises(anyio.BrokenResourceError):
                await stream.receive()
            await trio.sleep(1)  # of virtual time: all that was sent has arrived
            opened = len(servers.servers[1].driver.state.sessions)
            assert opened == (bytes_max == len(HELLO)), "the server was sent all of it, or less"
            assert not servers.servers[1].clients.connections, "and was told of the end"


async def test_a_connection_breaks_behind_any_byte_that_came(autojump_clock: MockClock) -> None:
    async with ensemble(servers=1) as servers:
        for bytes_max in range(ANSWER_BYTES):
            stream = await _broken_at(servers.dial(), received_bytes=bytes_max)
            await stream.send(HELLO)
            got = b""
            with pytest.raises(anyio.BrokenResourceError):
                while True:
                    got += await stream.receive(7)
            assert len(got) == stream.received_bytes == bytes_max
            with pytest.raises(anyio.BrokenResourceError):
                await stream.send(HELLO)


async def test_a_client_that_waits_learns_that_its_connection_broke(autojump_clock: MockClock) -> None:
    async with ensemble(servers=1) as servers, trio.open_nursery() as nursery:
        dial = servers.dial()
        stream = await dial("s1", CLIENT_PORT)

        async def wait() -> None:
            with pytest.raises(anyio.BrokenResourceError):
                await stream.receive()

        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        dial.break_now()
        dial.break_now()


async def test_one_way_loss_is_late_and_in_order_once_it_is_healed(autojump_clock: MockClock) -> None:
    async with ensemble(servers=1) as servers:
        stream = await servers.dial("client1")("s1", CLIENT_PORT)
        servers.lose(1, "client1")
        await stream.send(HELLO)
        with trio.move_on_after(3) as waited:
            await stream.receive()
        assert waited.cancelled_caught
        assert len(servers.servers[1].driver.state.sessions) == 1, "what the client says arrives"
        servers.heal()
        assert await _session(stream)


@pytest.mark.parametrize("server", [1, "s1", "server1"])
async def test_a_client_that_is_cut_hears_nothing_and_cannot_dial(server: int | str, autojump_clock: MockClock) -> None:
    async with ensemble(servers=1) as servers:
        dial = servers.dial("client1")
        stream = await dial("s1", CLIENT_PORT)
        servers.cut("client1", server)
        await stream.send(HELLO)
        with trio.move_on_after(3) as waited:
            await dial("s1", CLIENT_PORT)
        assert waited.cancelled_caught
        with trio.move_on_after(3) as waited:
            await stream.receive()
        assert waited.cancelled_caught
        other = await servers.dial("client2")("s1", CLIENT_PORT)
        await other.send(HELLO)
        await _session(other)
        servers.heal()
        await _session(stream)


async def _broken_at(
    dial: MemoryDial, *, sent_bytes: int | None = None, received_bytes: int | None = None
) -> DialledStream:
    dial.break_after(sent_bytes=sent_bytes, received_bytes=received_bytes)
    stream = await dial("s1", CLIENT_PORT)
    spared = await dial("s1", CLIENT_PORT)
    assert (spared.sent_bytes_max, spared.received_bytes_max) == (None, None), "it is the next one only"
    await spared.aclose()
    return stream


async def _session(stream: DialledStream) -> int:
    answer = b""
    while len(answer) < ANSWER_BYTES:
        answer += await stream.receive()
    (id,) = struct.unpack_from(">Q", answer, 12)
    assert isinstance(id, int)
    return id
