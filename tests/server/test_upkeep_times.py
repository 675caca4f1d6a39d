"""What a server does by itself or at its end, in the time its configuration gives."""

import trio
from trio.testing import MockClock

from tests.server.servers import client_of
from zabpy.model import OPEN_ACL
from zabpy.testing.ensemble import MemoryEnsemble
from zabpy.wire import Op, records as r


async def stopped_while_writing(shutdown_timeout_ms: int) -> bool:
    """A write is on a slow disk when the server is told to stop: whether its client is answered."""
    async with trio.open_nursery() as nursery:
        servers = MemoryEnsemble(nursery, servers=1)
        servers.limit(shutdown_timeout_ms=shutdown_timeout_ms)
        await servers.start_all()
        client = await client_of(servers, 1)
        await trio.sleep(1)
        servers.servers[1].disk._worker._delay_ms = 2_000  # type: ignore[attr-defined]
        await client.send(Op.CREATE, r.CreateRequest("/a", b"", OPEN_ACL, 0))
        await trio.sleep(0.1)
        servers.servers[1].stop()
        try:
            answered = (await client.reply()).err == 0
        except EOFError:
            answered = False
        nursery.cancel_scope.cancel()
    return answered


async def test_what_is_under_way_at_a_stop_has_as_long_as_the_file_says(autojump_clock: MockClock) -> None:
    assert await stopped_while_writing(5_000)
    assert not await stopped_while_writing(1_000)


def snapshots(servers: MemoryEnsemble) -> int:
    return sum(name.startswith("snapshot.") for name in servers.files[1].list("/server1/zabpy"))


async def test_the_purge_looks_again_after_its_interval(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        servers = MemoryEnsemble(nursery, servers=1, snapshot_entries=4)
        servers.limit(snapshots_kept=6)
        await servers.start_all()
        client = await client_of(servers, 1)
        await client.create("/a")
        for _ in range(40):
            await client.set("/a", b"x")
            await trio.sleep(0.1)
        assert snapshots(servers) == 6
        await servers.stop(1)
        servers.limit(snapshots_kept=3, snapshot_entries=100_000, purge_interval_ms=60_000)
        server = await servers.start(1)
        await servers.wait_serving()
        assert snapshots(servers) == 6
        before = server.store.log_base
        await trio.sleep(61)
        assert snapshots(servers) == 3
        assert server.store.log_base == server.replica.history.log_base > before
        assert sum("event=purged" in line for line in servers.lines) == 1
        nursery.cancel_scope.cancel()
