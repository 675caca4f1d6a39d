"""Limits that protect a server: connections, requests, and what clients do not take."""

import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.server.raw_client import RawClient
from tests.server.servers import client_of, ensemble
from zabpy.model import Acl
from zabpy.server.clock import SystemClock, TrioClock
from zabpy.server.config import parse
from zabpy.server.transport import Channel, EpollNetwork
from zabpy.testing.ensemble import MemoryEnsemble
from zabpy.wire import Op, frame, packed, records as r


@asynccontextmanager
async def limited(**limits: Any) -> AsyncIterator[MemoryEnsemble]:
    async with trio.open_nursery() as nursery:
        servers = MemoryEnsemble(nursery, servers=1)
        servers.limit(**limits)
        await servers.start_all()
        yield servers
        nursery.cancel_scope.cancel()


def set_frame(xid: int, path: str, data: bytes) -> bytes:
    return frame(struct.pack(">ii", xid, Op.SET_DATA) + packed(r.SetDataRequest(path, data, -1)))


# Quotas ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("enforced", [True, False])
async def test_a_hard_quota_is_refused_or_only_logged(autojump_clock: MockClock, enforced: bool) -> None:
    async with limited(enforce_quota=enforced) as servers:
        client = await client_of(servers, 1)
        quota = "/zookeeper/quota/a"
        for path in ("/a", quota):
            await client.create(path)
        await client.create(f"{quota}/zookeeper_limits", b"count=-1,bytes=-1=;byteHardLimit=-1;countHardLimit=1")
        await client.create(f"{quota}/zookeeper_stats")
        assert (await client.create("/a/b")).err == (-125 if enforced else 0)
        (line,) = [line for line in servers.lines if "event=quota_exceeded" in line]
        assert f"path=/a what=count usage=2 limit=1 hard=True refused={enforced}" in line
        assert servers.servers[1].quota_refusals == ({"a": 1} if enforced else {})


async def test_stats_are_the_same_on_every_server_also_on_one_that_was_away(autojump_clock: MockClock) -> None:
    async with ensemble(servers=3) as servers:
        client = await client_of(servers, 1)
        for path in ("/a", "/zookeeper/quota/a", "/zookeeper/quota/a/zookeeper_limits"):
            await client.create(path, b"count=5,bytes=5")
        await client.create("/zookeeper/quota/a/zookeeper_stats")
        for number in range(20):
            await client.create(f"/a/{number}", bytes(number), flags=number % 2)
        await client.ask(Op.CLOSE_SESSION)
        other = await client_of(servers, 2)
        await other.sync()
        await trio.sleep(1)
        told = {server.driver.state.tree.digest() for server in servers.servers.values()}
        assert len(told) == 1
        assert await other.get("/zookeeper/quota/a/zookeeper_stats") == (0, b"count=11,bytes=105")


# Handshakes -----------------------------------------------------------------------------------------------------------


async def test_handshakes_beyond_the_tokens_are_closed_without_a_word(autojump_clock: MockClock) -> None:
    async with limited(handshake_tokens_max=3, handshake_fill_ms=10_000, handshake_fill_tokens=2) as servers:
        clients = [await client_of(servers, 1) for _ in range(3)]
        late = RawClient(await servers.connect(1))
        with pytest.raises(EOFError):
            await late.handshake()
        assert any("connection_throttle_tokens" in line for line in servers.lines)
        assert (await clients[0].create("/served")).err == 0
        await trio.sleep(10.1)
        assert [await RawClient(await servers.connect(1)).handshake() for _ in range(2)] == [True, True]


async def test_a_session_that_is_resumed_costs_less_than_a_new_one(autojump_clock: MockClock) -> None:
    async with limited(handshake_tokens_max=5, handshake_fill_ms=100_000, handshake_weighted=True) as servers:
        client = await client_of(servers, 1)
        await client.close()
        again = RawClient(await servers.connect(1))
        assert await again.handshake(session_id=client.session_id, password=client.password)
        with pytest.raises(EOFError):
            await RawClient(await servers.connect(1)).handshake()


# Requests -------------------------------------------------------------------------------------------------------------


async def test_many_who_write_much_are_slowed_down_and_nobody_fails(autojump_clock: MockClock) -> None:
    async with limited(outstanding_max=20) as servers:
        writers = [await client_of(servers, 1) for _ in range(10)]
        quiet = await client_of(servers, 1)
        await quiet.create("/a")
        clients = servers.servers[1].clients
        most = 0

        async def write(client: RawClient) -> None:
            nonlocal most
            count = 300
            async with trio.open_nursery() as nursery:
                nursery.start_soon(
                    client.stream.send_all, b"".join(set_frame(xid, "/a", b"x" * 100) for xid in range(count))
                )
                for xid in range(count):
                    assert (await client.reply())[::2] == (xid, 0)
                    most = max(most, clients.throttle.outstanding)

        async with trio.open_nursery() as nursery:
            for client in writers:
                nursery.start_soon(write, client)
            for _ in range(20):  # who has nothing outstanding is served all the while
                with trio.fail_after(1):
                    assert (await quiet.get("/a"))[0] == 0
                    assert (await quiet.set("/a", b"y")).err == 0
        assert most <= 10 * 65536 // len(set_frame(1, "/a", b"x" * 100)) + 20  # one receive each, at most
        assert clients.throttle.outstanding == 0


async def test_large_requests_beyond_their_bound_end_the_connection(autojump_clock: MockClock) -> None:
    async with limited(large_request_bytes_min=1_000, large_requests_bytes_max=5_000) as servers:
        client, other = await client_of(servers, 1), await client_of(servers, 1)
        await other.create("/a")
        clients = servers.servers[1].clients
        for _ in range(10):  # one after the other they are no problem
            assert (await client.set("/a", bytes(4_000))).err == 0
        assert clients.large.bytes == 0
        await client.stream.send_all(b"".join(set_frame(xid, "/a", bytes(2_000)) for xid in range(3)))
        with pytest.raises(EOFError):
            while True:
                await client.reply()
        assert clients.large.bytes == 0
        assert any("largeRequestMaxBytes" in line for line in servers.lines)
        assert servers.servers[1].counts.large_rejected.value == 1
        assert (await other.set("/a", bytes(900))).err == 0


# What clients do not take ---------------------------------------------------------------------------------------------


async def test_all_that_clients_do_not_take_has_a_bound_together(autojump_clock: MockClock) -> None:
    async with limited(send_bytes_max=4_000_000, address_connections_max=0) as servers:
        other = await client_of(servers, 1)
        await other.create("/big", bytes(900_000))
        get = frame(struct.pack(">ii", 1, Op.GET_DATA) + packed(r.GetDataRequest("/big", False)))
        slow = [await client_of(servers, 1, timeout_ms=20_000) for _ in range(20)]
        clients = servers.servers[1].clients
        for client in slow:
            await client.stream.send_all(get * 2)
            await trio.sleep(0.1)
            assert sum(each.channel.backlog for each in clients.connections.values()) <= 4_000_000 + 2_000_000
        assert 2 <= len(clients.connections) <= 6
        assert other.session_id in clients.sessions
        assert (await other.get("/big"))[0] == 0
        assert any("zabpy.sendBytesMax" in line for line in servers.lines)
        for client in slow:
            await client.close()
        await trio.sleep(1)
        assert clients._lagging_bytes == sum(clients._lagging.values())
        assert set(clients._lagging) <= set(clients.connections.values())


# Connections ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_a_connection_too_many_is_reset_and_does_not_hang(autojump_clock: MockClock, host: str) -> None:
    """With real sockets: the network's and the limit's part."""
    async with limited(address_connections_max=2) as servers:
        clients = servers.servers[1].clients
        network = EpollNetwork(SystemClock().now_ms)
        accepted: list[Channel] = []

        def accept(channel: Channel) -> None:
            accepted.append(channel)
            clients.accept(channel)

        async with trio.open_nursery() as nursery:
            await nursery.start(network.run, lambda: None, print)
            try:
                listener = await network.listen(host, 0, accept)
            except OSError:
                pytest.skip(f"no {host} here")
            ends = []
            for _ in range(3):
                end = socket.create_connection((host, listener.port))
                end.settimeout(5)
                ends.append(end)
                while len(accepted) < len(ends):  # noqa: ASYNC110
                    await trio.sleep(0.001)
            assert {channel.remote[0] for channel in accepted} == {host}
            with pytest.raises(ConnectionResetError):  # the bytes we send reach nobody: reset
                ends[2].sendall(b"ruok")
                await trio.sleep(0.1)
                if ends[2].recv(10) == b"":
                    raise ConnectionResetError
            assert sum("why=maxClientCnxns limit=2" in line for line in servers.lines) == 1
            for end in ends:
                end.close()
            nursery.cancel_scope.cancel()


async def test_no_more_connections_in_all_than_allowed(autojump_clock: MockClock) -> None:
    async with limited(connections_max=3, address_connections_max=0) as servers:
        clients = [RawClient(await servers.connect(1, host=f"host{number}")) for number in range(3)]
        for client in clients:
            assert await client.handshake()
        for number in range(60):
            with pytest.raises((EOFError, trio.BrokenResourceError)):
                await RawClient(await servers.connect(1, host=f"other{number}")).handshake()
        assert sum("why=maxCnxns" in line for line in servers.lines) <= 60
        assert len(servers.servers[1].clients.connections) == 3


# Configuration --------------------------------------------------------------------------------------------------------


def test_the_keys() -> None:
    config = parse(
        "dataDir=/d\nclientPort=1\nenforceQuota=true\nlargeRequestThreshold=1000\n"
        "largeRequestMaxBytes=2000\nconnection_throttle_tokens=5\nzookeeper.connection_throttle_fill_time=6\n"
        "connection_throttle_fill_count=7\nconnection_throttle_freeze_time=8\nconnection_throttle_drop_increase=0.5\n"
        "connection_throttle_drop_decrease=0.25\nconnection_throttle_decrease_ratio=1\n"
        "connection_throttle_weight_enabled=true\nconnection_throttle_global_session_weight=9\n"
        "connection_throttle_local_session_weight=8\nconnection_throttle_renew_session_weight=7\n"
        "zabpy.sendBytesMax=1048576\nrequest_throttle_max_requests=10\n"
    )
    assert config.enforce_quota and config.handshake_weighted
    assert (config.large_request_bytes_min, config.large_requests_bytes_max) == (1000, 2000)
    assert (config.handshake_tokens_max, config.handshake_fill_ms, config.handshake_fill_tokens) == (5, 6, 7)
    assert (config.handshake_freeze_ms, config.handshake_drop_increase) == (8, 0.5)
    assert (config.handshake_drop_decrease, config.handshake_decrease_ratio) == (0.25, 1.0)
    assert (config.new_session_tokens, config.local_session_tokens, config.resumed_session_tokens) == (9, 8, 7)
    assert config.send_bytes_max == 1 << 20
    assert any("request_throttle_max_requests" in notice for notice in config.notices)
    assert replace(config, handshake_tokens_max=0) != config


@pytest.mark.parametrize("value", ["-0.1", "1.1", "nan", "x", ""])
def test_a_share_is_a_number_from_0_to_1(value: str) -> None:
    with pytest.raises(Exception, match="a number from 0 to 1"):
        parse(f"dataDir=/d\nclientPort=1\nconnection_throttle_drop_increase={value}\n")


# Turns ----------------------------------------------------------------------------------------------------------------


class SlowClock(TrioClock):
    """A clock on which every look at it takes so long."""

    def __init__(self) -> None:
        super().__init__()
        self.look_ms = self.passed_ms = 0

    def now_ms(self) -> int:
        self.passed_ms += self.look_ms
        return super().now_ms() + self.passed_ms


async def test_who_asks_much_that_takes_long_is_put_off_for_the_others(autojump_clock: MockClock) -> None:
    async with limited() as servers:
        greedy = await client_of(servers, 1)
        await greedy.create("/a")
        acl = (Acl(31, "world", "anyone"), Acl(31, "digest", "a:b"))
        assert (await greedy.ask(Op.CREATE, r.CreateRequest("/listed", b"", acl, 0))).err == 0
        clients = servers.servers[1].clients
        connection = clients.sessions[greedy.session_id]
        clock = clients.clock = SlowClock()
        work, answered = clients.work, list[int]()

        def watched_work() -> None:
            answered.append(connection.replies)
            work()

        clients.work = watched_work  # type: ignore[method-assign]
        for op, record in (
            (Op.EXISTS, r.ExistsRequest("/a", False)),
            (Op.GET_DATA, r.GetDataRequest("/listed", False)),
        ):
            before = connection.replies
            asked = b"".join(frame(struct.pack(">ii", xid, op) + packed(record)) for xid in range(100))
            clock.look_ms = 2
            await greedy.stream.send_all(asked)
            assert [(await greedy.reply()).xid for _ in range(100)] == list(range(100))
            clock.look_ms = 0
            answered = [count for count in answered if before < count < before + 100]
            assert len(set(answered)) > 20  # each time after no more than this, others have had their turn


@pytest.mark.parametrize("said", [b"\0\0\0\x2d", b"stmk"])
async def test_bytes_that_drip_in_are_no_handshake(autojump_clock: MockClock, said: bytes) -> None:
    async with limited(handshake_timeout_ms=3_000) as servers:
        stream = await servers.connect(1)
        began = trio.current_time()
        await stream.send_all(said)
        with trio.fail_after(60), pytest.raises(trio.BrokenResourceError):
            while True:
                await trio.sleep(0.9)
                await stream.send_all(b"\0")
        assert 3 <= trio.current_time() - began <= 6
