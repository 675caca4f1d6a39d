"""What the tier of real processes hurts links with does what it says; else its runs show nothing."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from tests.processes.links import Proxies

#: Nothing comes within this; what is to come has ten times as long.
SILENCE_SECONDS = 0.15


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[Proxies, trio.SocketStream, trio.SocketStream]]:
    """Server 2 has dialled server 1: its end and the other's."""
    links = Proxies(2)
    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(links.run)
            (listener,) = await trio.open_tcp_listeners(links.peer_port(1), host=links.host(1))
            host, port = links.seen_by(2, 1)
            dialled = await trio.open_tcp_stream(host, port)
            accepted = await listener.accept()
            yield links, dialled, accepted
            nursery.cancel_scope.cancel()
            await listener.aclose()
    finally:
        links.close()


async def hears(stream: trio.SocketStream, seconds: float = 10 * SILENCE_SECONDS) -> bytes | None:
    with trio.move_on_after(seconds):
        return bytes(await stream.receive_some())
    return None


async def test_what_is_said_is_heard_in_both_directions() -> None:
    async with connected() as (_, two, one):
        await two.send_all(b"hello")
        assert await hears(one) == b"hello"
        await one.send_all(b"you")
        assert await hears(two) == b"you"


async def test_a_cut_is_silent_and_one_way_and_what_was_said_into_it_arrives_when_it_is_healed() -> None:
    async with connected() as (links, two, one):
        await links.cut([(2, 1)])
        await links.cut([(2, 1)])
        await two.send_all(b"lost?")
        assert await hears(one, SILENCE_SECONDS) is None
        await one.send_all(b"still there")
        assert await hears(two) == b"still there"
        await links.heal([(2, 1)])
        assert await hears(one, SILENCE_SECONDS) is None, "it was cut twice"
        await links.heal([(2, 1)])
        assert await hears(one) == b"lost?"


async def test_an_end_does_not_pass_a_cut() -> None:
    async with connected() as (links, two, one):
        await links.cut([(2, 1), (1, 2)])
        await two.aclose()
        assert await hears(one, SILENCE_SECONDS) is None
        await links.heal([(2, 1), (1, 2)])
        assert await hears(one) == b""


async def test_nobody_is_reached_through_a_cut() -> None:
    async with connected() as (links, two, _):
        await links.cut([(1, 2)])
        another = await trio.open_tcp_stream(*links.seen_by(2, 1))
        await another.send_all(b"hello")
        assert await hears(another, SILENCE_SECONDS) is None
        assert await hears(two, SILENCE_SECONDS) is None


async def test_a_delay_delays_and_keeps_the_order() -> None:
    async with connected() as (links, two, one):
        await links.delay([(2, 1)], 200)
        began = trio.current_time()
        await two.send_all(b"a")
        assert await hears(one, 0.1) is None
        await links.delay([(2, 1)], 0)
        await two.send_all(b"b")
        heard = b""
        while len(heard) < 2:
            heard += await hears(one) or b""
        assert heard == b"ab"
        assert trio.current_time() - began >= 0.2


async def test_a_reset_ends_both_ends() -> None:
    async with connected() as (links, two, one):
        assert await links.reset(1, 2)
        for stream in (one, two):
            try:
                assert await hears(stream) == b""
            except trio.BrokenResourceError:
                pass  # an end or a reset, by what the system had already passed on
        assert not await links.reset(1, 2)
