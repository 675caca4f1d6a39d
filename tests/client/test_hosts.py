"""Connection strings, names that are looked up, and in which order servers are tried."""

import socket
import time
from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any

import anyio
import pytest
from anyio.abc import AnyByteStream

import zabpy
from tests.client.conftest import Story, reconnect
from tests.client.listeners import hang_up, listening, silence
from zabpy.bench.systems import free_ports
from zabpy.client.dialling import TcpDial
from zabpy.client.failures import Failure
from zabpy.client.hosts import Host, Hosts, parse_servers

OnBoth = Callable[[Story], None]


@pytest.mark.parametrize(
    ("servers", "hosts", "chroot"),
    [
        ("zk", [("zk", 2181)], ""),
        ("zk:1/", [("zk", 1)], ""),
        ("zk1:1,zk2/app", [("zk1", 1), ("zk2", 2181)], "/app"),
        (" zk1 , zk2:7 /app/x/ ", [("zk1", 2181), ("zk2", 7)], "/app/x"),
        ("zk1,zk1:2181,", [("zk1", 2181)], ""),
        ("[::1]:99,[fe80::1%eth0],::1", [("::1", 99), ("fe80::1%eth0", 2181), ("::1", 2181)], ""),
        ("10.0.0.1:2181", [("10.0.0.1", 2181)], ""),
        (["zk1", "zk2:7"], [("zk1", 2181), ("zk2", 7)], ""),
        (["zk1/app", "zk2:7/app"], [("zk1", 2181), ("zk2", 7)], "/app"),
        (("zk1", "zk2:7,zk3/app"), [("zk1", 2181), ("zk2", 7), ("zk3", 2181)], "/app"),
        (["zk1/a,b"], [("zk1", 2181)], "/a,b"),
    ],
)
def test_what_servers_may_be(servers: str | list[str], hosts: list[tuple[str, int]], chroot: str) -> None:
    assert parse_servers(servers) == (tuple(Host(*host) for host in hosts), chroot)


@pytest.mark.parametrize(
    ("servers", "why"),
    [
        ("", "no server in ''"),
        (" , ", "no server"),
        ("/app", "no server"),
        ([], "the list is empty"),
        ([""], "no server"),
        (":2181", "':2181'.* has no host"),
        ("zk:", "'zk:'.*a number from 1 to 65535"),
        ("zk:0", "'zk:0'.*a number from 1 to 65535"),
        ("zk:65536", "a number from 1 to 65535"),
        ("zk:²", "a number from 1 to 65535"),
        ("zk:1:2", r"'zk:1:2'.*expected host:port or \[address\]:port"),
        ("[::1:2181", r"expected \[address\]:port"),
        ("[::1]2181", r"expected \[address\]:port"),
        ("[zk]:2181", r"expected \[address\]:port"),
        ("zk1;zk2", "separated by commas"),
        ("zk1 zk2", "separated by commas"),
        ("bob@zk1", "is not a host"),
        ("zk://zk1", "the chroot '//zk1'.*empty"),
        ("zk1/a//b", "the chroot '/a//b'"),
        ("zk1/a/../b", "the chroot"),
        ("zk1/app,zk2/app", "the chroot stands once, behind the last server"),
        (["zk1/app", "zk2"], "different chroots"),
        (["zk1/app", "zk2/other"], "different chroots"),
        (None, "expected a string or a list of strings, not None"),
        ([b"zk"], "expected a string or a list of strings"),
    ],
)
def test_what_servers_may_not_be(servers: Any, why: str) -> None:
    with pytest.raises(zabpy.BadArgumentsError, match=why):
        zabpy.connect(servers)


def test_clients_spread_over_the_servers() -> None:
    hosts = tuple(Host(f"zk{i}", 1) for i in range(3))
    first = Counter(Hosts(hosts, Random(seed)).next() for seed in range(300))
    assert all(70 < first[host] < 130 for host in hosts)
    mine = Hosts(hosts, Random(1))
    turns = [mine.next() for _ in range(9)]
    assert turns[:3] == turns[3:6] == turns[6:] and set(turns[:3]) == set(hosts)


def test_it_is_hopeless_only_when_all_have_failed_for_good() -> None:
    one, two = Host("1", 1), Host("2", 1)
    hosts = Hosts((one, two), Random(1))
    told = []
    for host, failure in [
        (one, Failure("no such name", True)),
        (two, Failure("refused")),
        (two, Failure("no such name", True)),
        (one, Failure("refused")),
    ]:
        hosts.failed(host, failure)
        told.append(hosts.hopeless)
    assert told == [False, False, True, False]


class Names:
    """A resolver in the test's hand; addresses are looked up as ever."""

    def __init__(self) -> None:
        self.known: dict[str, list[str] | int] = {}
        self.asked: list[str] = []
        self._real = socket.getaddrinfo

    def __call__(self, host: Any, port: Any, *args: Any, **more: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        if name not in self.known:
            return self._real(host, port, *args, **more)
        self.asked.append(name)
        found = self.known[name]
        if isinstance(found, int):
            raise socket.gaierror(found, "as the test wants")
        return [each for address in found for each in self._real(address, port, *args, **more)]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    resolver = Names()
    monkeypatch.setattr(socket, "getaddrinfo", resolver)
    return resolver


def test_names_are_looked_up_at_every_attempt(on_both: OnBoth, one_server: str, names: Names) -> None:
    """python-zk/kazoo#794: a client that knows only what a name meant when it started never finds the new server."""
    port = one_server.partition(":")[2]

    async def story() -> None:
        names.known["zk.example"] = ["127.0.0.9"]  # nobody is there
        names.asked.clear()
        async with anyio.create_task_group() as tasks:

            async def move() -> None:
                while len(names.asked) < 3:  # noqa: ASYNC110
                    await anyio.sleep(0.01)
                names.known["zk.example"] = ["127.0.0.1"]

            tasks.start_soon(move)
            async with zabpy.connect(f"zk.example:{port}") as zk:
                session, asked = zk.session, len(names.asked)
                await reconnect(zk)
                assert zk.session is session
                assert len(names.asked) == asked + 1

    on_both(story)


def test_all_addresses_of_a_name_are_tried(on_both: OnBoth, one_server: str, names: Names) -> None:
    port = one_server.partition(":")[2]

    async def story() -> None:
        for addresses in (["127.0.0.9", "127.0.0.8", "127.0.0.1"], ["::1", "127.0.0.1"]):
            names.known["zk.example"] = addresses
            for seed in range(5):
                async with zabpy.connect(f"zk.example:{port}", rng=Random(seed), connect_timeout_ms=3_000):
                    pass
        names.known["zk.example"] = ["127.0.0.9", "127.0.0.8"]
        with pytest.raises(zabpy.NoServerError) as error:
            async with zabpy.connect(f"zk.example:{port}", connect_timeout_ms=500):
                pass
        assert "127.0.0.9: connection refused" in str(error.value)
        assert "127.0.0.8: connection refused" in str(error.value)

    on_both(story)


def test_an_address_that_takes_a_connection_and_is_of_no_use_is_not_the_first_again(
    on_both: OnBoth, names: Names
) -> None:
    async def story() -> None:
        dial = TcpDial(Random(1))
        names.known["zk.example"] = ["127.0.0.1", "127.0.0.2"]
        port = free_ports(1)[0]
        listeners = [
            await anyio.create_tcp_listener(local_host=host, local_port=port) for host in ("127.0.0.1", "127.0.0.2")
        ]
        async with anyio.create_task_group() as tasks:
            for listener in listeners:
                tasks.start_soon(listener.serve, close)
            met = []
            for _ in range(6):
                async with await dial("zk.example", port) as stream:
                    met.append(stream.extra(anyio.abc.SocketAttribute.remote_address)[0])
            tasks.cancel_scope.cancel()
        assert met in (["127.0.0.1", "127.0.0.2"] * 3, ["127.0.0.2", "127.0.0.1"] * 3)

    async def close(stream: AnyByteStream) -> None:
        await stream.aclose()

    on_both(story)


def test_a_name_that_does_not_exist_is_an_error_at_once(on_both: OnBoth, names: Names) -> None:
    async def story() -> None:
        names.known |= {"zk1.example": socket.EAI_NONAME, "zk2.example": socket.EAI_NONAME}
        began = time.monotonic()
        with pytest.raises(zabpy.NoServerError, match="waiting does not cure it") as error:
            async with zabpy.connect("zk1.example,zk2.example"):
                pass
        assert time.monotonic() - began < 2
        assert sorted(server for server, _ in error.value.tried) == ["zk1.example:2181", "zk2.example:2181"]
        assert all(why == "the name cannot be looked up: as the test wants" for _, why in error.value.tried)

    on_both(story)


def test_a_name_that_does_not_exist_is_one_of_those_tried(on_both: OnBoth, one_server: str, names: Names) -> None:
    async def story() -> None:
        names.known["zk1.example"] = socket.EAI_NONAME
        for seed in range(4):
            async with zabpy.connect(f"zk1.example,{one_server}", rng=Random(seed), connect_timeout_ms=3_000):
                pass

    on_both(story)


def test_a_name_server_that_does_not_answer_is_waited_for(on_both: OnBoth, one_server: str, names: Names) -> None:
    port = one_server.partition(":")[2]

    async def story() -> None:
        names.known["zk.example"] = socket.EAI_AGAIN
        names.asked.clear()
        async with anyio.create_task_group() as tasks:

            async def cure() -> None:
                while len(names.asked) < 3:  # noqa: ASYNC110
                    await anyio.sleep(0.01)
                names.known["zk.example"] = ["127.0.0.1"]

            tasks.start_soon(cure)
            async with zabpy.connect(f"zk.example:{port}"):
                pass

    on_both(story)


def test_a_client_that_had_a_session_never_gives_up(on_both: OnBoth, one_server: str, names: Names) -> None:
    port = one_server.partition(":")[2]

    async def story() -> None:
        names.known["zk.example"] = ["127.0.0.1"]
        async with zabpy.connect(f"zk.example:{port}") as zk:
            session = zk.session
            names.known["zk.example"] = socket.EAI_NONAME
            names.asked.clear()
            zk._connection.leave("the test wants another connection")
            while len(names.asked) < 4:  # noqa: ASYNC110
                await anyio.sleep(0.01)
            names.known["zk.example"] = ["127.0.0.1"]
            assert await zk.exists("/") is not None
            assert zk.session is session

    on_both(story)


def test_servers_that_hang_do_not_cost_the_session(on_both: OnBoth, one_server: str) -> None:
    """They take connections and say nothing. All of them together are given up while the session lives."""

    async def story() -> None:
        async with listening(silence) as one, listening(silence) as two, listening(hang_up) as three:
            servers = [one, two, three, one_server]
            async with zabpy.connect(servers, session_timeout_ms=6_000, rng=Random(3)) as zk:
                session = zk.session
                await reconnect(zk)
                assert zk.session is session and not session.lost

    on_both(story)
