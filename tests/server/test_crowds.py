"""What many ask for at once is sent in turns, in which others have theirs."""

import struct
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from tests.server import hostile
from tests.server.servers import client_of, ensemble
from zabpy.server.clients import FLUSH_BYTES_MAX
from zabpy.server.connection import Connection
from zabpy.wire import Op, frame, packed, records as r

SIZE = 900_000


async def test_what_is_sent_in_one_turn_is_bounded_and_all_is_sent(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with ensemble(servers=1, seed=1) as servers:
        first = await client_of(servers, 1)
        assert (await first.create("/large", b"x" * SIZE)).err == 0
        clients = [await client_of(servers, 1) for _ in range(30)]
        server = servers.servers[1]
        turns: list[int] = []
        flush, flush_all = Connection.flush, server.clients.flush

        def counted(connection: Connection) -> None:
            turns[-1] += connection.out_bytes
            flush(connection)

        def counted_all() -> None:
            turns.append(0)
            flush_all()

        monkeypatch.setattr(Connection, "flush", counted)
        monkeypatch.setattr(server.clients, "flush", counted_all)
        asked = frame(struct.pack(">ii", 9, Op.GET_DATA) + packed(r.GetDataRequest("/large", False)))
        for client in clients:  # all in the same instant
            connection = server.clients.sessions[client.session_id]
            connection.received(asked)
        server.settle()
        assert max(turns) < FLUSH_BYTES_MAX + SIZE + 1_000
        for client in clients:
            with trio.fail_after(10):
                assert len((await client.reply()).body) > SIZE
        assert max(turns) < FLUSH_BYTES_MAX + SIZE + 1_000
        assert not server.clients.has_work


@pytest.mark.parametrize("name", ["deaf", "unfinished", "flood"])
def test_a_good_client_is_served_in_a_crowd(tmp_path: Path, name: str) -> None:
    """A short one of `make hostile`, on real servers. Times are not judged here: other tests run beside this one."""
    row = hostile.measure(name, 1.0, 0.2, tmp_path)
    assert row.asked > 0
    assert row.accepts_again
    assert row.grown_mib <= row.bound_mib
