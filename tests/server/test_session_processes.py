"""Sessions of real processes: without a leader, and while a process is stopped."""

import signal
from pathlib import Path

import pytest
import trio

from tests.server.raw_client import RawClient
from tests.server.test_processes import Processes, processes
from zabpy.wire import Op


async def dial(servers: Processes, i: int) -> trio.SocketStream:
    return await trio.open_tcp_stream("127.0.0.1", servers.client_ports[i])


@pytest.mark.timeout(90)
async def test_a_session_is_read_only_while_the_quorum_is_gone_and_whole_when_it_is_back(tmp_path: Path) -> None:
    async with processes(tmp_path, 3, "readonlymode.enabled=true") as servers:
        leader = await servers.wait_leader()
        here = (leader + 1) % 3
        client = RawClient(await dial(servers, here))
        assert await client.handshake(timeout_ms=5_000, read_only=True)
        assert (await client.create("/mine", b"x", flags=1)).err == 0
        others = [i for i in range(3) if i != here]
        for i in others:
            servers.kill(i)
        with trio.fail_after(15):
            while await servers.word(here, b"isro") != "ro":  # noqa: ASYNC110
                await trio.sleep(0.05)
        plain = RawClient(await dial(servers, here))
        with pytest.raises(EOFError):
            await plain.handshake(session_id=client.session_id, password=client.password)
        assert await client.resume(await dial(servers, here), read_only=True)
        assert client.read_only
        for _ in range(7):  # longer than its timeout
            assert await client.get("/mine") == (0, b"x")
            assert (await client.set("/mine", b"y")).err == -119
            await trio.sleep(1)
        servers.start(others[0])
        with pytest.raises(EOFError), trio.fail_after(20):
            while True:
                assert (await client.ask(Op.PING)).err == 0
                await trio.sleep(0.1)
        for i in (here, others[0]):
            await servers.wait_serving(i)
            with trio.fail_after(20):
                while await servers.word(i, b"isro") != "rw":  # noqa: ASYNC110
                    await trio.sleep(0.05)
            assert await client.resume(await dial(servers, i), read_only=True)
            assert (await client.set("/mine", b"z")).err == 0
            assert await client.get("/mine") == (0, b"z")
        assert (await client.ask(Op.CLOSE_SESSION)).err == 0


@pytest.mark.timeout(60)
async def test_a_process_that_was_stopped_longer_than_all_timeouts_reads_before_it_ends_sessions(
    tmp_path: Path,
) -> None:
    async with processes(tmp_path, 1) as servers:
        client = RawClient(await dial(servers, 0))
        assert await client.handshake(timeout_ms=1_000)
        assert client.timeout_ms == 1_000
        assert (await client.create("/mine", b"x", flags=1)).err == 0
        for _ in range(3):
            servers.processes[0].send_signal(signal.SIGSTOP)
            xids = [await client.send(Op.PING)]
            for _ in range(5):
                await trio.sleep(0.4)
                xids.append(await client.send(Op.PING))
            servers.processes[0].send_signal(signal.SIGCONT)
            assert [(await client.reply()).xid for _ in xids] == xids
        assert await client.get("/mine") == (0, b"x")
        assert "event=stalled" in servers.log(0)
