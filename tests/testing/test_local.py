"""`zabpy.testing.Ensemble`: programs with kazoo, aiozk and our client on it, and what each handle does to them."""

import asyncio
import gc
import os
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

import anyio
import pytest
from aiozk import ZKClient
from aiozk.states import States
from kazoo.client import KazooClient
from kazoo.handlers.threading import KazooTimeoutError
from kazoo.protocol.states import KazooState
from kazoo.retry import KazooRetry

import zabpy
from tests.server.authority import Authority
from zabpy.testing import Ensemble, EnsembleError
from zabpy.testing.port import Port
from zabpy.testing.session_ids import session_id_of
from zabpy.testing.steady_clock import STALL_MS_MAX, SteadyClock

WAIT_SECONDS = 30.0


@contextmanager
def kazoo(hosts: str, timeout_ms: int = 10_000) -> Iterator[Any]:
    """A client whose states are kept."""
    retry = KazooRetry(max_tries=-1, delay=0.02, max_delay=0.1, deadline=WAIT_SECONDS)
    client = KazooClient(hosts, timeout=timeout_ms / 1000, connection_retry=retry, command_retry=retry)
    client.seen = []
    client.add_listener(client.seen.append)
    client.start(WAIT_SECONDS)
    try:
        yield client
    finally:
        client.stop()
        client.close()


def until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"not within {WAIT_SECONDS:.0f} s: {what}"
        time.sleep(0.005)  # whatever client it is of, it can be asked


def server_of(ensemble: Ensemble, client: Any) -> int:
    """The server that a kazoo client is connected to."""
    port = client._connection._socket.getpeername()[1]
    return next(each.id for each in ensemble.servers if each.port == port)


def descriptors() -> set[str]:
    """What this process has open."""
    gc.collect()
    return {os.readlink(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd") if _is_open(name)}


def _is_open(name: str) -> bool:
    return os.path.lexists(f"/proc/self/fd/{name}")


# Programs -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("servers", [1, 3])
def test_how_long_it_takes(servers: int) -> None:
    """Told, not asserted: it is the machine's business."""
    took_ms = []
    for _ in range(5):
        began = time.perf_counter()
        with Ensemble(servers):
            took_ms.append(round(1000 * (time.perf_counter() - began)))
    print(f"{servers} servers were ready after {took_ms} ms")


@pytest.mark.parametrize("servers", [1, 3])
def test_a_program_with_kazoo(servers: int) -> None:
    with Ensemble(servers) as ensemble, kazoo(ensemble.hosts) as client:
        assert client.create("/a", b"1") == "/a"
        client.set("/a", b"2")
        fired = threading.Event()
        client.get("/a", watch=lambda event: fired.set())
        for server in ensemble.servers:
            with kazoo(server.hosts) as other:
                other.sync("/a")
                assert other.get("/a")[0] == b"2"
                with other.Lock("/lock", "me"):
                    other.set("/a", b"2")
        assert fired.wait(WAIT_SECONDS)


def test_a_program_with_aiozk() -> None:
    async def program(hosts: str) -> None:
        client = ZKClient(hosts)
        await client.start()
        try:
            await client.create("/a", b"1")
            assert await client.get_data("/a") == b"1"
            async with client.recipes.Lock("/lock"):
                await client.set_data("/a", b"2")
        finally:
            await client.close()

    with Ensemble() as ensemble:
        asyncio.run(program(ensemble.hosts))


@pytest.mark.parametrize("backend", ["trio", "asyncio"])
def test_a_program_with_zabpy_in_which_the_ensemble_is_an_async_context(backend: str) -> None:
    async def program() -> None:
        async with Ensemble() as ensemble, zabpy.connect(ensemble.hosts) as zk:
            await zk.create("/a", b"1")
            ensemble.kill(ensemble.leader or 1)
            await anyio.to_thread.run_sync(ensemble.wait_leader)
            assert (await zk.get("/a")).data == b"1"

    anyio.run(program, backend=backend)
    assert not servers_threads()


def test_who_leads_and_who_serves_is_told() -> None:
    with Ensemble(3) as ensemble:
        assert ensemble.hosts == ",".join(f"127.0.0.1:{each.port}" for each in ensemble.servers)
        assert [each.id for each in ensemble.servers] == [1, 2, 3]
        assert [each.id for each in ensemble.servers if each.leading] == [ensemble.leader]
        assert all(each.running and each.serving for each in ensemble.servers)
        assert "following" in repr(ensemble.servers) and "leading" in repr(ensemble.servers)
        assert "event=role role=leading" in ensemble.log


def test_observers_follow_without_a_vote() -> None:
    with Ensemble(3, observers=2) as ensemble, kazoo(ensemble.servers[2].hosts) as client:
        assert ensemble.leader == 1
        ensemble.kill(2)
        client.create("/a")
        assert b":observer;127.0.0.1:" in client.get("/zookeeper/config")[0]


# Handles --------------------------------------------------------------------------------------------------------------


def test_a_client_moves_when_its_server_is_killed_and_its_session_lives_on() -> None:
    with Ensemble(3) as ensemble, kazoo(ensemble.hosts) as client:
        client.create("/mine", ephemeral=True)
        session = client.client_id
        for _ in range(3):
            server = server_of(ensemble, client)
            ensemble.kill(server)
            assert not ensemble.servers[server - 1].running
            client.retry(client.sync, "/mine")
            assert client.retry(client.exists, "/mine") and server_of(ensemble, client) != server
            ensemble.restart(server)
            ensemble.wait_ready()
        assert client.client_id == session
        assert KazooState.LOST not in client.seen
        assert ensemble.log.count("closed by the other side") >= 6, "both other servers see each end at once"


@pytest.mark.parametrize("how", ["kill", "stop"])
@pytest.mark.parametrize("on_disk", [False, True])
def test_a_server_starts_again_on_its_data_and_its_port(how: str, on_disk: bool) -> None:
    with Ensemble(1, on_disk=on_disk) as ensemble, kazoo(ensemble.hosts) as client:
        server = ensemble.servers[0]
        for number in range(5):
            client.retry(client.create, f"/a{number}")
            getattr(server, how)()
            getattr(server, how)()  # harmless
            assert not server.running and ensemble.leader is None
            with pytest.raises(TimeoutError, match="server 1 is down"):
                ensemble.wait_ready(timeout_ms=1)
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", server.port))
            server.restart()
        server.restart()
        ensemble.wait_ready()
        assert set(client.retry(client.get_children, "/")) == {"zookeeper", "a0", "a1", "a2", "a3", "a4"}
        assert ensemble.hosts == server.hosts


def test_a_minority_that_is_cut_off_takes_no_writes_and_the_others_find_a_leader() -> None:
    with Ensemble(3) as ensemble:
        leader = ensemble.leader
        assert leader is not None
        alone = ensemble.servers[leader - 1]
        with kazoo(",".join(each.hosts for each in ensemble.servers if each is not alone)) as client:
            with ensemble.partition(leader):
                until(lambda: not alone.serving, "the one that is alone notices")
                until(lambda: ensemble.leader not in (None, leader), "the others find a leader")
                client.retry(client.create, "/a")
                with pytest.raises(KazooTimeoutError):
                    KazooClient(alone.hosts).start(0.5)
                with pytest.raises(TimeoutError, match=f"server {leader} is looking"):
                    ensemble.wait_ready(timeout_ms=50)
            ensemble.wait_ready()
            with kazoo(alone.hosts) as other:
                other.sync("/a")
                assert other.exists("/a")


def test_a_partition_of_those_who_have_no_majority_among_them_leaves_the_others_at_work() -> None:
    with Ensemble(5) as ensemble:
        few = [each for each in ensemble.servers if not each.leading][:2]
        fault = ensemble.partition(*few)
        until(lambda: not any(each.serving for each in few), "the two notice")
        rest = [each for each in ensemble.servers if each not in few]
        assert all(each.serving for each in rest)
        fault.heal()
        fault.heal()  # harmless
        ensemble.wait_ready()


def test_a_client_that_is_cut_off_hears_nothing_until_it_is_healed() -> None:
    with Ensemble(1) as ensemble, socket.create_connection(("127.0.0.1", ensemble.servers[0].port)) as client:
        with ensemble.partition_client(1):
            client.sendall(b"ruok")
            client.settimeout(0.3)
            with pytest.raises(TimeoutError):
                client.recv(4)
            with socket.create_connection(("127.0.0.1", ensemble.servers[0].port)) as other:
                other.sendall(b"ruok")
                other.settimeout(0.1)
                with pytest.raises(TimeoutError):
                    other.recv(4)
        client.settimeout(WAIT_SECONDS)
        assert client.recv(10) == b"imok"
        assert client.recv(10) == b""


def test_a_client_whose_server_is_cut_off_from_it_goes_elsewhere_with_its_session() -> None:
    with Ensemble(3) as ensemble, kazoo(ensemble.hosts, timeout_ms=3_000) as client:
        session, server = client.client_id, server_of(ensemble, client)
        client.create("/mine", ephemeral=True)
        with ensemble.partition_client(server):
            until(lambda: KazooState.SUSPENDED in client.seen, "the client notices")
            assert client.retry(client.exists, "/mine")
            assert server_of(ensemble, client) != server
            assert client.client_id == session


def test_a_client_that_is_cut_off_from_all_servers_for_long_has_lost_its_session() -> None:
    with Ensemble(3) as ensemble, kazoo(ensemble.hosts, timeout_ms=1_000) as client:
        client.create("/mine", ephemeral=True)
        id = session_id_of(client)
        with ensemble.partition_client():
            until(lambda: id not in ensemble.sessions, "its session is over")
        until(lambda: KazooState.LOST in client.seen, "it learns of it")
        assert client.retry(client.exists, "/mine") is None


def test_what_a_client_says_while_it_is_cut_off_arrives_late_and_in_order() -> None:
    with Ensemble(1) as ensemble, kazoo(ensemble.hosts, timeout_ms=60_000) as client:
        client.create("/a")
        with ensemble.partition_client(1):
            sent = [client.set_async("/a", b"%d" % number) for number in range(100)]
            time.sleep(0.2)  # nothing arrives: for that there is no event, only time in which it could
            assert not any(each.ready() for each in sent)
        assert [each.get(timeout=WAIT_SECONDS).version for each in sent] == list(range(1, 101))


@pytest.mark.parametrize("servers", [1, 3])
def test_kazoo_sees_that_its_session_was_ended(servers: int) -> None:
    with Ensemble(servers) as ensemble, kazoo(ensemble.hosts) as client, kazoo(ensemble.hosts) as other:
        client.create("/mine", ephemeral=True)
        other.sync("/mine")
        gone = threading.Event()
        assert other.exists("/mine", watch=lambda event: gone.set())
        id = session_id_of(client)
        assert id in ensemble.sessions
        ensemble.expire(client)
        assert id not in ensemble.sessions
        assert gone.wait(WAIT_SECONDS)
        with pytest.raises(EnsembleError, match=f"no session {id & (1 << 64) - 1:#x}"):
            ensemble.expire(id)
        until(lambda: KazooState.LOST in client.seen, "kazoo has learnt of it")
        until(lambda: client.seen[-1] == KazooState.CONNECTED, "and has a new one")
        assert session_id_of(client) != id
        assert KazooState.LOST not in other.seen


@pytest.mark.parametrize("by", ["client", "session", "id"])
@pytest.mark.parametrize("backend", ["trio", "asyncio"])
def test_zabpy_sees_that_its_session_was_ended(by: str, backend: str) -> None:
    async def program() -> None:
        async with Ensemble(3) as ensemble, zabpy.connect(ensemble.hosts) as zk:
            session = zk.session
            lost = anyio.Event()
            session.on_lost(lost.set)
            # From a thread, as it waits for the servers; a client tells its session to nobody outside of its loop.
            what = {"client": zk, "session": session, "id": session.id}[by]
            await anyio.to_thread.run_sync(ensemble.expire, what)
            with anyio.fail_after(WAIT_SECONDS):
                await lost.wait()
                await zk.create("/a")
            assert zk.session is not session

    anyio.run(program, backend=backend)


def test_aiozk_sees_that_its_session_was_ended() -> None:
    async def program(ensemble: Ensemble) -> None:
        client = ZKClient(ensemble.hosts, session_timeout=2)  # it waits so long in vain
        await client.start()
        try:
            await client.create("/mine", ephemeral=True)
            id = client.session.session_id
            ensemble.expire(client)
            async with asyncio.timeout(WAIT_SECONDS):  # it has no event for this
                while client.session.session_id in (id, None) or client.session.state != States.CONNECTED:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
                assert not await client.exists("/mine")
        finally:
            await client.close()

    with Ensemble(3) as ensemble:
        asyncio.run(program(ensemble))


def test_a_local_session_ends_too() -> None:
    with Ensemble(3, settings={"localSessionsEnabled": True}) as ensemble, kazoo(ensemble.hosts) as client:
        assert not ensemble.sessions, "no transaction opened it"
        ensemble.expire(client)
        until(lambda: KazooState.LOST in client.seen, "kazoo has learnt of it")


def test_a_session_ends_also_when_the_leader_is_another_meanwhile() -> None:
    with Ensemble(3) as ensemble, kazoo(ensemble.hosts) as client:
        id = session_id_of(client)
        ensemble.kill(ensemble.leader or 0)
        ensemble.expire(id)
        until(lambda: KazooState.LOST in client.seen, "kazoo has learnt of it")
        ensemble.kill(ensemble.wait_leader())
        with pytest.raises(TimeoutError, match="has ended; .*down"):
            ensemble.expire(1, timeout_ms=100)


def test_what_is_no_session_is_told_so() -> None:
    with Ensemble(1) as ensemble:
        with pytest.raises(TypeError, match="'x' is neither"):
            ensemble.expire("x")
        with pytest.raises(ValueError, match="has no session now"):
            ensemble.expire(KazooClient(ensemble.hosts))
        with pytest.raises(ValueError, match="has no session now"):
            ensemble.expire(ZKClient(ensemble.hosts))
        with pytest.raises(ValueError, match="has no session now: .*not open"):
            ensemble.expire(zabpy.connect(ensemble.hosts))
        with pytest.raises(EnsembleError, match="there is no session 0x7"):
            ensemble.expire(7)


def test_each_packet_is_late_by_the_delay() -> None:
    with Ensemble(3) as ensemble:
        follower = next(each for each in ensemble.servers if not each.leading)
        with kazoo(follower.hosts) as client:
            client.create("/a")
            cases = [(25, True, False, 50), (25, False, True, 50), (25, True, True, 100), (0, True, True, 0)]
            for delay_ms, clients, servers, least_ms in cases:
                with ensemble.delay(delay_ms, clients=clients, servers=servers):
                    began = time.monotonic()
                    client.set("/a", b"x")
                    took_ms = 1000 * (time.monotonic() - began)
                print(f"delay of {delay_ms} ms, clients {clients}, servers {servers}: a write takes {took_ms:.1f} ms")
                # Of a follower's client: there and back; to the leader, perhaps with its own vote, and back again.
                assert took_ms >= least_ms
        with ensemble.delay(10), ensemble.delay(15):
            began = time.monotonic()
            with socket.create_connection(("127.0.0.1", follower.port)) as link:
                link.sendall(b"ruok")
                assert link.recv(4) == b"imok"
            assert time.monotonic() - began >= 0.05, "delays add up"


def test_connections_that_are_dropped_are_made_again_and_sessions_live_on() -> None:
    with Ensemble(1) as ensemble, kazoo(ensemble.hosts) as client, kazoo(ensemble.hosts) as other:
        sessions = client.client_id, other.client_id
        assert ensemble.drop_connections(1) == 2
        for each in (client, other):
            until(lambda seen=each.seen: seen[-2:] == ["SUSPENDED", "CONNECTED"], "it is back")  # type: ignore[misc]  # mypy cannot infer it
        assert sessions == (client.client_id, other.client_id)
        assert ensemble.drop_connections(1) == 2
        ensemble.kill(1)
        assert ensemble.drop_connections(1) == 0


def test_heal_ends_all_that_is_wrong() -> None:
    with Ensemble(3) as ensemble:
        faults = [ensemble.partition(1), ensemble.partition(2), ensemble.partition_client(), ensemble.delay(60_000)]
        until(lambda: not any(each.serving for each in ensemble.servers), "nobody serves")
        ensemble.heal()
        ensemble.wait_ready()
        with kazoo(ensemble.hosts) as client:
            client.create("/a")
        for fault in faults:
            fault.heal()
    for fault in faults:
        fault.heal()


# What is left behind --------------------------------------------------------------------------------------------------


def servers_threads() -> list[threading.Thread]:
    return [each for each in threading.enumerate() if each.name == "zabpy-ensemble"]


@pytest.mark.parametrize("on_disk", [False, True])
def test_many_in_a_row_leave_nothing_behind(on_disk: bool) -> None:
    with Ensemble(3) as ensemble, kazoo(ensemble.hosts):
        pass  # what is opened once and for all is
    before = descriptors(), threading.active_count()
    for number in range(20):
        with Ensemble(1 + 2 * (number % 2), on_disk=on_disk) as ensemble:
            links = [socket.create_connection(("127.0.0.1", each.port)) for each in ensemble.servers]
            ensemble.kill(1)
            if number % 3 == 0:
                ensemble.partition_client()
            if number % 3 == 1:
                ensemble.delay(1_000)
            ensemble.restart(1)
        for link in links:
            link.close()
        assert not servers_threads()
    assert descriptors() <= before[0] and threading.active_count() <= before[1]


def test_the_collector_of_garbage_is_left_as_it_was() -> None:
    before = gc.get_threshold(), gc.get_freeze_count()
    with Ensemble(1):
        assert (gc.get_threshold(), gc.get_freeze_count()) == before


def test_two_at_a_time_know_nothing_of_each_other() -> None:
    with Ensemble(3) as one, Ensemble(3) as other:
        with kazoo(one.hosts) as client:
            client.create("/a")
            other.kill(1)
            other.partition_client()
            assert client.exists("/a")
            with pytest.raises(ValueError, match="another ensemble"):
                other.kill(one.servers[0])
        other.heal()
        with kazoo(other.hosts) as client:
            assert not client.exists("/a")


@pytest.mark.parametrize("kind", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_an_exception_passes_and_nothing_is_left(kind: type[BaseException]) -> None:
    before = descriptors()
    with pytest.raises(kind):
        with Ensemble(3) as ensemble:
            port = ensemble.servers[0].port
            raise kind
    assert not servers_threads() and descriptors() <= before
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


def test_an_interrupt_while_it_starts_passes_and_nothing_is_left() -> None:
    code = """
import _thread, os, sys, threading, time
from zabpy.testing import Ensemble
after = float(sys.argv[1])
timer = threading.Timer(after, _thread.interrupt_main)
interrupted = 0
try:
    timer.start()
    while True:
        with Ensemble(3):
            pass  # interrupted at some moment of its start or end
except KeyboardInterrupt:
    interrupted = 1
timer.join()
for each in threading.enumerate():  # an end that was interrupted itself goes on in its thread
    if each is not threading.main_thread():
        each.join(30)
assert interrupted and threading.active_count() == 1, threading.enumerate()
left = [os.readlink(f"/proc/self/fd/{n}") for n in os.listdir("/proc/self/fd") if os.path.lexists(f"/proc/self/fd/{n}")]
assert not [each for each in left if each.startswith(("socket:", "anon_inode:[eventpoll"))], left
"""
    for after in (0.001, 0.01, 0.02, 0.03, 0.05):
        done = subprocess.run([sys.executable, "-c", code, str(after)], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr


def test_a_process_that_ends_without_closing_it_ends() -> None:
    code = "from zabpy.testing import Ensemble; print(Ensemble(3).start().hosts)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "") and done.stdout.count("127.0.0.1:") == 3


def test_data_in_a_directory_is_there_for_the_next_one(tmp_path: Path) -> None:
    for number in range(3):
        with Ensemble(3, directory=tmp_path / "data") as ensemble, kazoo(ensemble.hosts) as client:
            client.sync("/")
            assert len(client.get_children("/")) == 1 + number
            client.create(f"/a{number}")
    assert sorted(os.listdir(tmp_path / "data")) == ["server1", "server2", "server3"]


def test_a_temporary_directory_is_removed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with Ensemble(1, on_disk=True):
        (found,) = tmp_path.iterdir()
        assert any(found.rglob("*.log")) or any(each.is_file() for each in found.rglob("*"))
    assert not list(tmp_path.iterdir())


# Bad input, and bad luck ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"servers": 0}, "0 servers: expected 1 to 255"),
        ({"servers": 3, "observers": 3}, "3 observers of 3 servers"),
        ({"tick_ms": 0}, "a tick of 0 ms"),
        ({"settings": {"clientPort": 1}}, "clientPort: the ensemble sets this itself"),
        ({"settings": {"server.1": "a:1:2"}}, "server.1: the ensemble sets this itself"),
        ({"settings": {"reconfigEnable": True}}, "unknown key .*reconfigEnabled"),
        ({"settings": {"audit.enable": True}}, "not served yet"),
        ({"settings": {"syncLimit": "x"}}, "expected a whole number of ticks"),
    ],
)
def test_what_cannot_be_is_told_before_anything_starts(wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        Ensemble(**wrong)


def test_settings_are_those_of_zookeeper() -> None:
    with Ensemble(1, settings={"4lw.commands.whitelist": "srvr", "skipACL": True}) as ensemble:
        with socket.create_connection(("127.0.0.1", ensemble.servers[0].port)) as link:
            link.sendall(b"ruok")
            assert link.recv(100).startswith(b"ruok is not executed because it is not in the whitelist")


def test_with_certificates_each_server_has_a_port_for_tls(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ours")
    settings = {
        "secureClientPort": 2281,
        "ssl.keyStore.location": authority.pem("server.pem", "127.0.0.1"),
        "ssl.trustStore.location": authority.trust,
        "ssl.clientAuth": "none",
    }
    context = ssl.create_default_context(cafile=authority.trust)
    with Ensemble(3, settings=settings) as ensemble:
        assert len({each.secure_port for each in ensemble.servers} | {each.port for each in ensemble.servers}) == 6
        for server in ensemble.servers:
            server.restart()
            ensemble.wait_ready()
            with socket.create_connection(("127.0.0.1", server.secure_port)) as plain:
                with context.wrap_socket(plain, server_hostname="127.0.0.1") as link:
                    link.sendall(b"ruok")
                    assert link.recv(4) == b"imok"


def test_calls_of_many_threads_do_not_meet() -> None:
    with Ensemble(3) as ensemble:
        failures: list[BaseException] = []

        def change(seed: int) -> None:
            chance = Random(seed)
            try:
                for _ in range(15):
                    chance.choice((ensemble.kill, ensemble.stop, ensemble.restart, ensemble.restart))(
                        chance.randint(1, 3)
                    )
            except BaseException as error:  # in a thread pytest would not see it
                failures.append(error)

        threads = [threading.Thread(target=change, args=(seed,)) for seed in range(4)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        assert not failures
        for server in ensemble.servers:
            server.restart()
        ensemble.wait_ready()


def test_what_is_asked_too_early_or_too_late_is_told() -> None:
    ensemble = Ensemble(1)
    early: list[Callable[[], object]] = [
        lambda: ensemble.kill(1),
        lambda: ensemble.hosts,
        lambda: ensemble.servers,
        ensemble.wait_ready,
    ]
    for call in early:
        with pytest.raises(EnsembleError, match="has not been started"):
            call()
    ensemble.close()
    with ensemble:
        with pytest.raises(EnsembleError, match="started before"):
            ensemble.start()
        for wrong in (0, 2, -1):
            with pytest.raises(ValueError, match=f"server {wrong}: expected 1 to 1"):
                ensemble.kill(wrong)
        with pytest.raises(ValueError, match="-1 ms"):
            ensemble.delay(-1)
        with pytest.raises(ValueError, match="no server"):
            ensemble.partition()
    ensemble.close()
    late: list[Callable[[], object]] = [lambda: ensemble.kill(1), ensemble.wait_ready, lambda: ensemble.expire(1)]
    for call in late:  # but where it was can still be asked
        with pytest.raises(EnsembleError, match="has ended"):
            call()


def test_data_that_cannot_be_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "server1").write_text("no directory")
    before = descriptors()
    with pytest.raises(zabpy.ZabpyError, match="server1: File exists"):
        Ensemble(1, directory=tmp_path).start()
    assert not servers_threads() and descriptors() <= before


def test_a_mistake_of_ours_in_a_server_does_not_stay_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    from zabpy.server.clients import Clients

    with pytest.raises(EnsembleError, match="server 1 had ended by itself: ZeroDivisionError") as told:
        with Ensemble(1) as ensemble:
            monkeypatch.setattr(Clients, "accept", lambda self, channel: 1 // 0)
            socket.create_connection(("127.0.0.1", ensemble.servers[0].port)).close()
            until(lambda: not ensemble.servers[0].running, "it ends")
    assert isinstance(told.value.__cause__, ZeroDivisionError)
    assert "ZeroDivisionError" in ensemble.log


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")
def test_a_process_that_was_forked_keeps_nothing_open_and_can_do_nothing_to_it() -> None:
    with Ensemble(1) as ensemble, kazoo(ensemble.hosts) as client:
        go, come = socket.socketpair()
        child = os.fork()
        if not child:  # what it finds is in its exit status; it must not return into pytest
            status = 1
            try:
                ensemble.kill(1)
            except EnsembleError as error:
                status = 0 if "another process" in str(error) else 2
            try:
                ensemble.close()
                go.close()
                come.recv(1)
            finally:
                os._exit(status)
        try:
            for _ in range(2):
                ensemble.kill(1)
                until(lambda: KazooState.SUSPENDED in client.seen, "the client learns of it")
                client.seen.clear()
                ensemble.restart(1)
                until(lambda: KazooState.CONNECTED in client.seen, "it is back")
        finally:
            go.send(b"!")
            status = os.waitpid(child, 0)[1]
            go.close()
            come.close()
        assert status == 0


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nothing holds a port")
def test_a_port_is_held_for_servers_that_come_and_go() -> None:
    port = Port()
    for _ in range(3):
        with socket.socket() as stranger, pytest.raises(OSError, match="in use"):
            stranger.bind(("127.0.0.1", port.number))
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port.number))
        with socket.create_server(("127.0.0.1", port.number)):
            socket.create_connection(("127.0.0.1", port.number)).close()
    for _ in range(2_000):
        with socket.create_server(("127.0.0.1", 0)) as stranger:
            assert stranger.getsockname()[1] != port.number
    port.close()
    with socket.create_server(("127.0.0.1", port.number)):
        pass


def test_a_stall_is_short_on_the_clock_of_the_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    now_ns = 5_000_000_000
    monkeypatch.setattr("time.monotonic_ns", lambda: now_ns)
    clock = SteadyClock()
    began_ms = clock.now_ms()
    for step_ms, passed_ms in ((10, 10), (80, 90), (60_000, 90 + STALL_MS_MAX), (1, 91 + STALL_MS_MAX)):
        now_ns += step_ms * 1_000_000
        clock.beat()
        assert clock.now_ms() - began_ms == passed_ms
    now_ns += 50_000_000
    assert clock.now_ms() - began_ms == 141 + STALL_MS_MAX, "between two beats too"


def test_servers_survive_that_their_process_is_stopped_for_a_while() -> None:
    code = """
import os, signal, subprocess, sys, time
from zabpy.testing import Ensemble
with Ensemble(3) as ensemble:
    leader = ensemble.leader
    wake = f"import os, time; time.sleep(2); os.kill({os.getpid()}, {signal.SIGCONT})"
    subprocess.Popen([sys.executable, "-c", wake])
    os.kill(os.getpid(), signal.SIGSTOP)
    time.sleep(0.3)  # time for another election, if there were one
    assert ensemble.leader == leader and ensemble.log.count("role=leading phase=broadcast") == 1, ensemble.log
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
