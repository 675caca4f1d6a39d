"""Requests that never come whole: together they are bounded, and whoever means it gets through."""

import struct

import trio
from trio.testing import MockClock

from tests.server.servers import client_of, ensemble
from zabpy.model import OPEN_ACL
from zabpy.wire import Op, frame, packed, records as r

MIB = 1 << 20
LARGE = frame(struct.pack(">ii", 1, Op.CREATE) + packed(r.CreateRequest("/large", b"x" * 900_000, OPEN_ACL, 0)))


async def test_parts_of_requests_are_bounded_together_and_the_oldest_go(autojump_clock: MockClock) -> None:
    async with ensemble(servers=1, seed=1, fields={"receive_bytes_max": 4 * MIB}) as servers:
        clients = servers.servers[1].clients
        stuck = []
        for _ in range(12):
            client = await client_of(servers, 1)
            await client.stream.send_all(LARGE[:-1])
            stuck.append(client)
            await trio.sleep(0.1)
            assert clients._parts_bytes <= 4 * MIB
            assert sum(len(each._part) for each in clients.connections.values()) <= 4 * MIB
        assert len(clients.connections) == 4  # the last ones
        assert sum("key=zabpy.receiveBytesMax" in line for line in servers.lines) == 8
        await stuck[-1].stream.send_all(LARGE[-1:])  # one that meant it
        await trio.sleep(0.1)
        assert await (await client_of(servers, 1)).get("/large") == (0, b"x" * 900_000)
        for each in stuck:
            await each.stream.aclose()
        await trio.sleep(1)
        assert clients._parts_bytes == 0
        assert not clients._parts


async def test_a_part_that_came_at_once_and_never_grows_counts_too(autojump_clock: MockClock) -> None:
    async with ensemble(servers=1, seed=1, fields={"receive_bytes_max": MIB}) as servers:
        clients = servers.servers[1].clients
        stuck = []
        for _ in range(24):
            client = await client_of(servers, 1)
            await client.stream.send_all(LARGE[: 60 * 1024])
            stuck.append(client)
            await trio.sleep(0.1)
            assert sum(len(each._part) for each in clients.connections.values()) <= MIB
        assert len(clients.connections) < len(stuck)
        for each in stuck:
            await each.stream.aclose()
        await trio.sleep(1)
        assert clients._parts_bytes == 0
