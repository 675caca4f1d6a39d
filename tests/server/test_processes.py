"""Real processes, real sockets, real disks: kill -9 under load.

ZABPY_KILL_ROUNDS sets how many times a server is killed; the leader is every second time.
"""

import fcntl
import os
import signal
import struct
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from random import Random

import pytest
import trio

from tests.server.raw_client import RawClient
from tests.server.writer import Writer
from zabpy.bench.systems import free_ports
from zabpy.wire import Op, records as r

ROUNDS = int(os.environ.get("ZABPY_KILL_ROUNDS", "4"))
WRITERS = 8


@pytest.mark.timeout(60 + 20 * ROUNDS)
async def test_no_acknowledged_write_and_no_session_is_lost_when_servers_are_killed(tmp_path: Path) -> None:
    """Eight clients write without a pause longer than some milliseconds, while one server after the other is killed and
    started again. In the end every acknowledged write is on every replica, in order, and all sessions are the same."""
    rng = Random(7)
    async with processes(tmp_path, 3) as servers:

        async def dial(rng: Random) -> trio.abc.Stream:
            return await trio.open_tcp_stream("127.0.0.1", rng.choice(servers.client_ports))

        writers = [Writer(dial, number, Random(number), pause=0.01) for number in range(WRITERS)]
        pauses_ms = []
        async with trio.open_nursery() as nursery:
            for writer in writers:
                nursery.start_soon(writer.run)
            await trio.sleep(0.5)
            for round in range(ROUNDS):
                leader = await servers.wait_leader()
                victim = leader if round % 2 == 0 else rng.randrange(3)
                before = sum(len(writer.acknowledged) for writer in writers)
                began = trio.current_time()
                servers.kill(victim)
                while sum(len(writer.acknowledged) for writer in writers) <= before + WRITERS:  # noqa: ASYNC110
                    await trio.sleep(0.005)
                pauses_ms.append((victim == leader, round_ms(trio.current_time() - began)))
                await trio.sleep(rng.random())
                servers.start(victim)
                await servers.wait_serving(victim)
                await trio.sleep(rng.random())
            for writer in writers:
                writer.stopping = True
        print("pauses after a kill (was it the leader, ms):", pauses_ms)
        print("acknowledged:", [len(writer.acknowledged) for writer in writers])
        assert not any(writer.lost_session for writer in writers)
        replicas = [await znodes_of(port, writers) for port in servers.client_ports]
        assert replicas[0] == replicas[1] == replicas[2]
        for writer in writers:
            zxids = [replicas[0][f"{writer.path}/{number:06d}"][0] for number in writer.acknowledged]
            assert zxids == sorted(zxids)
            assert replicas[0][f"{writer.path}/alive"][1] == writer.session_id
            assert len(zxids) > 10 * ROUNDS


async def test_a_server_ends_with_status_0_on_sigterm_and_has_kept_everything(tmp_path: Path) -> None:
    async with processes(tmp_path, 1) as servers:
        client = RawClient(await trio.open_tcp_stream("127.0.0.1", servers.client_ports[0]))
        assert await client.handshake()
        assert (await client.create("/kept", b"x")).err == 0
        servers.processes[0].send_signal(signal.SIGTERM)
        assert await trio.to_thread.run_sync(servers.processes[0].wait) == 0
        with pytest.raises(EOFError):
            await client.reply()
        servers.start(0)
        await servers.wait_serving(0)
        assert "clean=True" in servers.log(0)
        again = RawClient(await trio.open_tcp_stream("127.0.0.1", servers.client_ports[0]))
        assert await again.handshake(session_id=client.session_id, password=client.password, zxid=client.zxid)
        assert await again.get("/kept") == (0, b"x")


async def test_what_cannot_be_used_is_one_line_and_nothing_is_written(tmp_path: Path) -> None:
    async with processes(tmp_path, 1) as servers:
        second = servers.config(tmp_path / "second", 0)
        told = await trio.run_process(
            [sys.executable, "-m", "zabpy", "serve", str(second)], capture_stderr=True, check=False
        )
        lines = [line for line in told.stderr.decode().splitlines() if "event=config_" not in line]
        assert told.returncode != 0
        assert len(lines) == 1, lines
        assert "clientPort" in lines[0]
        assert str(servers.client_ports[0]) in lines[0]
        assert not (tmp_path / "second" / "data" / "zabpy").exists()
        # The same directory twice: another port, but the first server holds it.
        third = tmp_path / "third.cfg"
        third.write_text(f"dataDir={tmp_path}/1/data\nclientPort={free_ports(1)[0]}\n")
        told = await trio.run_process(
            [sys.executable, "-m", "zabpy", "serve", str(third)], capture_stderr=True, check=False
        )
        lines = [line for line in told.stderr.decode().splitlines() if "event=config_" not in line]
        assert told.returncode != 0
        assert len(lines) == 1, lines
        assert str(tmp_path / "1" / "data") in lines[0]


async def test_clients_cannot_take_the_descriptors_that_the_log_and_snapshots_need(tmp_path: Path) -> None:
    """A server that cannot open its next segment or sync a directory has to end: a flood of connections must not get it
    there."""
    servers = Processes(tmp_path, 1)
    config = tmp_path / "1" / "zoo.cfg"
    config.write_text(config.read_text().replace("snapCount=2000", "snapCount=10"))
    servers.start(0, descriptors=128)
    flood: list[trio.SocketStream] = []
    try:
        with trio.fail_after(60):
            await servers.wait_serving(0)
            client = RawClient(await trio.open_tcp_stream("127.0.0.1", servers.client_ports[0]))
            assert await client.handshake()
            flood += [await trio.open_tcp_stream("127.0.0.1", servers.client_ports[0]) for _ in range(200)]
            for number in range(100):
                assert (await client.create(f"/n{number}")).err == 0
        assert servers.processes[0].poll() is None
        assert "event=snapshot " in servers.log(0)
        assert 'why="file descriptors"' in servers.log(0)
    finally:
        for stream in flood:
            await stream.aclose()
        servers.processes[0].kill()
        servers.processes[0].wait()
        print(servers.log(0))


async def test_a_log_that_nobody_reads_does_not_stop_the_server(tmp_path: Path) -> None:
    """Whoever collects the lines may hang, and the pipe to it be full."""
    servers = Processes(tmp_path, 1)
    collector, pipe = os.pipe()
    fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, 4096)
    try:
        servers.start(0, stderr=pipe)
        os.close(pipe)
        with trio.fail_after(60):
            await servers.wait_serving(0)
            client = RawClient(await trio.open_tcp_stream("127.0.0.1", servers.client_ports[0]))
            assert await client.handshake()
            for number in range(60):  # each leaves a line: more than the pipe holds
                async with await trio.open_tcp_stream("127.0.0.1", servers.client_ports[0]) as stranger:
                    await stranger.send_all(b"\0\0\0\4rubb")
                    with suppress(trio.BrokenResourceError):
                        await stranger.receive_some()
                if number % 10 == 0:
                    assert (await client.create(f"/n{number}")).err == 0
    finally:
        servers.processes[0].kill()
        servers.processes[0].wait()
        os.close(collector)


SLOW_NAMES = """
import socket, time
real = socket.getaddrinfo
def getaddrinfo(host, port, family=0, type=0, proto=0, flags=0):
    if host in ("dead.invalid", b"dead.invalid") and not flags & socket.AI_NUMERICHOST:
        time.sleep(60)
    return real(host, port, family, type, proto, flags)
socket.getaddrinfo = getaddrinfo
"""


@pytest.mark.parametrize("hangs", [False, True], ids=["unknown", "hangs"])
async def test_a_peer_whose_name_cannot_be_looked_up_is_only_missing(
    hangs: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text(SLOW_NAMES if hangs else "")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    servers = Processes(tmp_path, 3)
    for config in servers.configs[1:]:
        config.write_text(config.read_text().replace("server.1=127.0.0.1", "server.1=dead.invalid"))
    for config in servers.configs:
        config.write_text(config.read_text().replace("snapCount=2000", "snapCount=10\nzabpy.peersUnproven=yes"))
    try:
        for i in range(3):
            servers.start(i)
        with trio.fail_after(60):
            await servers.wait_serving(2)
            client = RawClient(await trio.open_tcp_stream("127.0.0.1", servers.client_ports[2]))
            assert await client.handshake()
            for number in range(100):
                assert (await client.create(f"/n{number}")).err == 0
            while "event=snapshot " not in servers.log(2):  # noqa: ASYNC110
                await trio.sleep(0.01)
        assert await servers.mode(0) == ""
    finally:
        for i, process in enumerate(servers.processes):
            process.kill()
            process.wait()
            print(servers.log(i))


class Processes:
    """``count`` servers as `zabpy serve` runs them, below ``directory``."""

    def __init__(self, directory: Path, count: int, *settings: str) -> None:
        """``settings``: further lines of every zoo.cfg."""
        self._directory, self._count, self._settings = directory, count, settings
        ports = free_ports(3 * count)
        self.client_ports = ports[:count]
        self._members = [f"server.{i + 1}=127.0.0.1:{ports[count + i]}:{ports[2 * count + i]}" for i in range(count)]
        self.processes: list[subprocess.Popen[bytes]] = []
        self.configs = [self.config(directory / str(i + 1), i) for i in range(count)]

    def config(self, directory: Path, i: int) -> Path:
        data = directory / "data"
        data.mkdir(parents=True)
        lines = ["tickTime=500", "initLimit=20", "syncLimit=10", f"dataDir={data}", "snapCount=2000"]
        lines += [f"clientPort={self.client_ports[i]}", "maxClientCnxns=0", *self._settings]
        if self._count > 1:
            (data / "myid").write_text(f"{i + 1}\n")
            lines += self._members
        path = directory / "zoo.cfg"
        path.write_text("\n".join(lines) + "\n")
        return path

    def start(self, i: int, *, descriptors: int = 0, stderr: int | None = None) -> None:
        """``descriptors``: how many it may have at most, 0 for what this process may. ``stderr``: not the log."""
        command = [sys.executable, "-m", "zabpy", "serve", str(self.configs[i])]
        if descriptors:
            command = ["sh", "-c", f'ulimit -n {descriptors}; exec "$@"', "sh", *command]
        with open(self.configs[i].with_suffix(".log"), "ab") as log:
            process = subprocess.Popen(command, stderr=log if stderr is None else stderr)
        if i < len(self.processes):
            self.processes[i] = process
        else:
            self.processes.append(process)

    def kill(self, i: int) -> None:
        self.processes[i].kill()
        self.processes[i].wait()

    def log(self, i: int) -> str:
        return self.configs[i].with_suffix(".log").read_text()

    async def word(self, i: int, word: bytes) -> str:
        try:
            stream = await trio.open_tcp_stream("127.0.0.1", self.client_ports[i])
            async with stream:
                await stream.send_all(word)
                return b"".join([bytes(data) async for data in stream]).decode()
        except (OSError, trio.BrokenResourceError):
            return ""

    async def mode(self, i: int) -> str:
        """leader, follower…; empty while it does not serve."""
        text = await self.word(i, b"srvr")
        return text.partition("Mode: ")[2].partition("\n")[0]

    async def wait_serving(self, i: int) -> None:
        while not await self.mode(i):
            assert self.processes[i].poll() is None, self.log(i)
            await trio.sleep(0.02)

    async def wait_leader(self) -> int:
        while True:
            for i in range(self._count):
                if await self.mode(i) == "leader":
                    return i
            await trio.sleep(0.02)


@asynccontextmanager
async def processes(directory: Path, count: int, *settings: str) -> AsyncIterator[Processes]:
    servers = Processes(directory, count, *settings)
    try:
        for i in range(count):
            servers.start(i)
        with trio.fail_after(30):
            for i in range(count):
                await servers.wait_serving(i)
        yield servers
    finally:
        for i, process in enumerate(servers.processes):
            process.kill()
            process.wait()
            print(servers.log(i))


async def znodes_of(port: int, writers: list[Writer]) -> dict[str, tuple[int, int]]:
    """Path → czxid and owner of all that the writers made, as this server has it after a sync."""
    client = RawClient(await trio.open_tcp_stream("127.0.0.1", port))
    assert await client.handshake(timeout_ms=20_000)
    assert (await client.sync()).err == 0
    found = {}
    for writer in writers:
        told = await client.ask(Op.GET_CHILDREN, r.GetChildrenRequest(writer.path, False))
        paths = [f"{writer.path}/{name}" for name in _strings(told.body)]
        for start in range(0, len(paths), 500):
            asked = paths[start : start + 500]
            for path in asked:
                await client.send(Op.EXISTS, r.ExistsRequest(path, False))
            for path in asked:
                told = await client.reply()
                stat = struct.unpack(">qqqqiiiqiiq", told.body)
                found[path] = (stat[0], stat[7])
    await client.close()
    return found


def _strings(body: bytes) -> list[str]:
    (count,) = struct.unpack_from(">i", body)
    at, found = 4, []
    for _ in range(count):
        (length,) = struct.unpack_from(">i", body, at)
        found.append(body[at + 4 : at + 4 + length].decode())
        at += 4 + length
    return found


def round_ms(seconds: float) -> int:
    return int(seconds * 1000)
