"""Both networks keep the same promises: on sockets by epoll, and on trio's streams."""

import select
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import trio

from zabpy.server import Channel, EpollNetwork, Network, StreamNetwork
from zabpy.server.transport import RECEIVE_BYTES_MAX


class Side:
    """A handler that remembers."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.data = b""
        self.ends: list[str] = []
        self.drains = 0
        self.changed = trio.Event()

    def received(self, data: bytes) -> None:
        assert 0 < len(data) <= RECEIVE_BYTES_MAX
        self.data += data
        self._tell()

    def drained(self) -> None:
        self.drains += 1
        self._tell()

    def closed(self, why: str) -> None:
        self.ends.append(why)
        self._tell()

    def _tell(self) -> None:
        self.changed.set()
        self.changed = trio.Event()

    async def wait(self, condition: Callable[[], bool]) -> None:
        with trio.fail_after(10):
            while not condition():
                await self.changed.wait()


class Turns:
    def __init__(self) -> None:
        self.settled = 0

    def settle(self) -> None:
        self.settled += 1


@asynccontextmanager
async def pair(network: Network) -> AsyncIterator[tuple[Side, Side, Turns]]:
    """Two ends of one connection, and how often a turn ended."""
    accepted: list[Side] = []
    turns = Turns()
    came = trio.Event()

    def accept(channel: Channel) -> None:
        accepted.append(Side(channel))
        channel.start(accepted[0])
        came.set()

    async with trio.open_nursery() as nursery:
        await nursery.start(network.run, turns.settle, print)
        listener = await network.listen("127.0.0.1", 0, accept)
        channel = await network.dial("127.0.0.1", listener.port)
        dialled = Side(channel)
        channel.start(dialled)
        await came.wait()
        yield dialled, accepted[0], turns
        nursery.cancel_scope.cancel()


async def test_bytes_arrive_whole_and_in_order_in_both_directions(network: Network) -> None:
    async with pair(network) as (one, other, turns):
        sent = b"".join(b"%d," % number for number in range(300_000))
        one.channel.send(sent[:1000])
        one.channel.send(sent[1000:])
        other.channel.send(b"back")
        await other.wait(lambda: len(other.data) == len(sent))
        await one.wait(lambda: one.data == b"back")
        assert other.data == sent
        assert turns.settled > 0
        await one.wait(lambda: one.channel.backlog == 0)


async def test_a_paused_end_is_not_told_and_its_sender_sees_a_backlog(network: Network) -> None:
    async with pair(network) as (one, other, _):
        other.channel.pause()
        size = 8 << 20
        one.channel.send(bytes(size))
        await trio.sleep(0.1)
        assert other.data == b"" or isinstance(network, StreamNetwork)
        assert one.channel.backlog > 0
        other.channel.resume()
        await other.wait(lambda: len(other.data) == size)
        await one.wait(lambda: one.drains > 0 and one.channel.backlog == 0)


async def test_finishing_delivers_the_last_bytes_though_some_of_the_other_sides_are_unread(network: Network) -> None:
    async with pair(network) as (one, other, _):
        one.channel.send(bytes(200_000))  # what the other side will never look at
        last = b"x" * (8 << 20)
        other.channel.pause()
        other.channel.send(last)
        other.channel.finish()
        await one.wait(lambda: bool(one.ends))
        assert one.data == last
        assert other.ends == []  # its own doing is not told to it


async def test_the_end_of_a_connection_is_told_once_to_the_other_side_only(network: Network) -> None:
    async with pair(network) as (one, other, _):
        one.channel.close()
        one.channel.close()
        one.channel.send(b"into nothing")
        await other.wait(lambda: bool(other.ends))
        await trio.sleep(0.05)
        assert (one.ends, len(other.ends)) == ([], 1)
        other.channel.send(b"into nothing")


async def test_a_waker_is_heard_from_another_thread(network: Network) -> None:
    async with pair(network) as (one, _, turns):
        heard: list[int] = []

        def hear() -> None:
            heard.append(turns.settled)
            one.drained()

        wake = network.waker(hear)
        await trio.to_thread.run_sync(wake)
        await one.wait(lambda: bool(heard))
        await trio.sleep(0.01)
        assert turns.settled > heard[0]


async def test_a_port_in_use_and_one_without_a_listener_are_oserrors(network: Network) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        async with trio.open_nursery() as nursery:
            await nursery.start(network.run, lambda: None, print)
            with pytest.raises(OSError):
                await network.listen("127.0.0.1", port, lambda channel: None)
            nursery.cancel_scope.cancel()
    async with trio.open_nursery() as nursery:
        fresh = (
            type(network)()
            if isinstance(network, StreamNetwork)
            else EpollNetwork(lambda: int(trio.current_time() * 1000))
        )
        await nursery.start(fresh.run, lambda: None, print)
        with pytest.raises(OSError):
            await fresh.dial("127.0.0.1", port)
        nursery.cancel_scope.cancel()


@pytest.mark.skipif(not hasattr(select, "epoll"), reason="epoll is Linux's")
async def test_connections_that_are_finished_but_left_open_do_not_use_up_the_descriptors() -> None:
    network = EpollNetwork(lambda: int(trio.current_time() * 1000))
    network.lingering_max = 5
    ended = 0

    def accepted(channel: Channel) -> None:
        nonlocal ended
        ended += 1
        channel.start(Side(channel))
        channel.send(b"last words")
        channel.finish()

    async with trio.open_nursery() as nursery:
        await nursery.start(network.run, lambda: None, lambda text: None)
        listener = await network.listen("127.0.0.1", 0, accepted)
        before = len(network.ends)
        streams = []
        with trio.fail_after(10):
            for _ in range(20):
                stream = await trio.open_tcp_stream("127.0.0.1", listener.port)
                assert await stream.receive_some(100) == b"last words"
                streams.append(stream)
        assert ended == 20
        assert len(network.ends) - before == 5
        for stream in streams:
            await stream.aclose()
        nursery.cancel_scope.cancel()
