"""Whole servers with TLS: real ones with kazoo as the client, and ensembles in memory."""

import socket
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trio
from kazoo.client import KazooClient
from kazoo.exceptions import NoAuthError
from kazoo.security import ACL, Id, Permissions
from trio.testing import MockClock

from tests.server.authority import PASSWORD, Authority, jks_of, jks_trust_of, pem_of, pkcs12_of, write_whole
from tests.server.raw_client import RawClient
from tests.server.servers import ensemble
from zabpy.bench.systems import Servers, free_ports
from zabpy.model import Identity
from zabpy.server.connection import Connection
from zabpy.server.tls_ports import ClientTls, names_of
from zabpy.server.tls_settings import StoreSettings, TlsSettings
from zabpy.server.x509 import subject_of
from zabpy.testing.ensemble import PEER_PORT, MemoryEnsemble
from zabpy.wire import PEER_VERSION, Hello, encode_hello, frame

ADMIN = 'admin, "of" all'


class Fleet(Servers):
    """Real servers with more in their zoo.cfg."""

    def __init__(self, count: int) -> None:
        super().__init__("zabpy", count)
        self.secure_ports = dict(zip(self.client_ports, free_ports(count), strict=True))

    def config(self, i: int) -> Path:
        return Path(self.directory, str(i), "zoo.cfg")

    def tell(self, i: int, **keys: object) -> None:
        """Keys with ``_`` for a dot."""
        with self.config(i).open("a") as file:
            for key, value in keys.items():
                escaped = str(value).replace("\\", "\\\\")
                file.write(f"{key.replace('_', '.')}={escaped}\n")

    def wait_line(self, i: int, *parts: str, seconds: float = 15) -> str:
        """The log line of a server that has all these in it."""
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            for line in self.log_of(i).splitlines():
                if all(part in line for part in parts):
                    return line
            time.sleep(0.05)
        raise AssertionError(f"no line with {parts} in the log of {i}:\n{self.log_of(i)}")

    def wait_serving(self, i: int) -> None:
        ends = time.monotonic() + 20
        while time.monotonic() < ends:
            try:
                with socket.create_connection(("127.0.0.1", self.client_ports[i]), timeout=2) as end:
                    end.sendall(b"isro")
                    if end.recv(100) == b"rw":
                        return
            except OSError:
                pass
            time.sleep(0.05)
        raise AssertionError(self.log_of(i))


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("stranger"))


def subject(path: str) -> str:
    pem = "-----BEGIN CERTIFICATE-----" + Path(path).read_text().split("-----BEGIN CERTIFICATE-----")[1]
    return subject_of(ssl.PEM_cert_to_DER_cert(pem))


def kazoo(port: int, authority: Authority, certificate: str | None, **more: Any) -> KazooClient:
    client = KazooClient(
        f"localhost:{port}",
        use_ssl=True,
        ca=authority.trust,
        certfile=certificate,
        keyfile=certificate,
        verify_certs=True,
        timeout=10,
        connection_retry={"max_tries": 2},
        **more,
    )
    client.start(timeout=15)
    return client


def reach(port: int, authority: Authority, certificate: str | None, send: bytes = b"ruok") -> bytes:
    """What the server answers over TLS; b"" when it lets nobody in."""
    context = ssl.create_default_context(cafile=authority.trust)
    if certificate:
        context.load_cert_chain(certificate)
    answer = b""
    try:
        with socket.create_connection(("localhost", port), timeout=10) as raw:
            with context.wrap_socket(raw, server_hostname="localhost") as end:
                end.sendall(send)
                while part := end.recv(4096):
                    answer += part
    except (ssl.SSLError, ConnectionError):
        pass
    return answer


# The client port ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def secure(authority: Authority) -> Iterator[Fleet]:
    """One server with both ports, a key store in the old form of Java and one who may do everything."""
    directory = authority.directory
    (directory / "server.jks").write_bytes(jks_of(authority.issue("localhost", "127.0.0.1")))
    (directory / "trust.jks").write_bytes(jks_trust_of(authority))
    (directory / "password").write_text(PASSWORD + "\n")
    admin = authority.pem("admin.pem", "localhost", name=ADMIN)
    fleet = Fleet(1)
    fleet.tell(
        1,
        secureClientPort=fleet.secure_ports[1],
        secureClientPortAddress="127.0.0.1",
        ssl_keyStore_location=directory / "server.jks",
        ssl_keyStore_passwordPath=directory / "password",
        ssl_trustStore_location=directory / "trust.jks",
        X509AuthenticationProvider_superUser=subject(admin),
    )
    with fleet:
        fleet.wait_serving(1)
        yield fleet


def test_kazoo_works_over_tls_and_is_who_its_certificate_says(secure: Fleet, authority: Authority) -> None:
    mine = authority.pem("mine.pem", "localhost", name="me")
    client = kazoo(secure.secure_ports[1], authority, mine)
    value = bytes(range(256)) * 3_900
    client.create("/mine", value, acl=[ACL(Permissions.ALL, Id("auth", ""))])
    assert client.get("/mine")[0] == value
    assert client.get_acls("/mine")[0] == [ACL(Permissions.ALL, Id("x509", subject(mine)))]

    other = kazoo(secure.secure_ports[1], authority, authority.pem("other.pem", "localhost", name="other"))
    plain = KazooClient(f"127.0.0.1:{secure.client_ports[1]}")
    plain.start(timeout=10)
    for stranger in (other, plain):
        with pytest.raises(NoAuthError):
            stranger.get("/mine")
    admin = kazoo(secure.secure_ports[1], authority, str(authority.directory / "admin.pem"))
    assert admin.get("/mine")[0] == value
    admin.delete("/mine")
    for each in (client, other, plain, admin):
        each.stop()
        each.close()


def test_four_letter_words_work_over_tls(secure: Fleet, authority: Authority) -> None:
    mine = str(authority.directory / "admin.pem")
    assert reach(secure.secure_ports[1], authority, mine) == b"imok"
    assert f"secureClientPort={secure.secure_ports[1]}".encode() in reach(
        secure.secure_ports[1], authority, mine, b"conf"
    )


@pytest.mark.parametrize(
    ("who", "words"),
    [
        ("nobody", "the other side has shown no certificate"),
        ("expired", "the certificate of the other side is not accepted: certificate has expired"),
        ("stranger", "the certificate of the other side is not accepted: "),
    ],
)
def test_whoever_has_no_good_certificate_is_refused_and_the_log_says_why(
    secure: Fleet, authority: Authority, stranger: Authority, who: str, words: str
) -> None:
    certificate = None
    if who == "expired":
        certificate = authority.pem("expired.pem", "localhost", expired=True)
    elif who == "stranger":
        certificate = stranger.pem("stranger.pem", "localhost")
    assert reach(secure.secure_ports[1], authority, certificate) == b""
    secure.wait_line(1, "event=client_refused", "127.0.0.1:", f"TLS: {words}")
    assert "Traceback" not in secure.log_of(1)


def test_plain_text_on_the_tls_port_and_tls_on_the_plain_port(secure: Fleet, authority: Authority) -> None:
    with socket.create_connection(("127.0.0.1", secure.secure_ports[1]), timeout=10) as end:
        end.sendall(b"ruok")
        assert end.recv(100)[:1] == b"\x15"
    secure.wait_line(1, "event=client_refused", "the other side does not speak TLS")
    assert reach(secure.client_ports[1], authority, None) == b""
    secure.wait_line(1, "event=client_garbage", "TLS, on a port without it")


@pytest.fixture(scope="module")
def strict(authority: Authority) -> Iterator[Fleet]:
    """One server whose one port takes both, and that wants to see where a client's certificate is from."""
    fleet = Fleet(1)
    fleet.tell(
        1,
        client_portUnification="true",
        ssl_keyStore_location=authority.pem("strict.pem", "localhost"),
        ssl_trustStore_location=authority.trust,
        ssl_clientAuth="want",
        ssl_clientHostnameVerification="true",
    )
    with fleet:
        fleet.wait_serving(1)
        yield fleet


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_certificate_for_where_it_comes_from_is_good(strict: Fleet, authority: Authority, host: str) -> None:
    if host == "localhost" and socket.getnameinfo(("127.0.0.1", 0), 0)[0] != "localhost":
        pytest.skip("here 127.0.0.1 has another name")
    assert reach(strict.client_ports[1], authority, authority.pem("here.pem", host)) == b"imok"


def test_a_certificate_for_elsewhere_is_refused(strict: Fleet, authority: Authority) -> None:
    certificate = authority.pem("elsewhere.pem", "elsewhere.example", "10.9.8.7")
    assert reach(strict.client_ports[1], authority, certificate) == b""
    strict.wait_line(
        1, "event=client_refused", "TLS: the certificate is for elsewhere.example, 10.9.8.7, not for 127.0"
    )


@pytest.mark.parametrize("wanted", [True, False])
def test_nothing_is_read_from_a_client_whose_certificate_is_still_looked_at(authority: Authority, wanted: bool) -> None:
    pem = Path(authority.pem("held.pem", "elsewhere.example")).read_text()
    der = ssl.PEM_cert_to_DER_cert("-----BEGIN CERTIFICATE-----" + pem.split("-----BEGIN CERTIFICATE-----")[1])
    looked_at: list[object] = []
    nursery: Any = SimpleNamespace(start_soon=lambda *given: looked_at.append(given))
    network: Any = SimpleNamespace(waker=lambda call: call)
    contexts: Any = None
    tls = ClientTls(network, contexts, nursery, lambda *_, **__: None, super_name=None, check_hosts=wanted)  # type: ignore[arg-type]
    connection = object.__new__(Connection)
    connection.identities = (Identity("ip", "10.1.2.3"),)
    connection._clients = SimpleNamespace(access=SimpleNamespace(admits=lambda identities: True))  # type: ignore[assignment]
    channel: Any = SimpleNamespace(certificate=lambda: der, handler=connection)
    assert tls.secure.secured(channel) is not wanted
    assert bool(looked_at) is wanted
    assert connection.identities[-1].scheme == "x509"


@pytest.mark.parametrize(("leads_to", "names"), [("10.1.2.3", ["good.example"]), ("10.9.9.9", [])])
async def test_a_name_of_an_address_counts_only_if_it_leads_back_there(
    leads_to: str, names: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever owns an address may give it any name."""

    async def reverse(address: object, flags: int) -> tuple[str, str]:
        return "good.example", "0"

    async def forward(name: str, port: None, type: int) -> list[Any]:
        return [(2, 1, 6, "", (leads_to, 0))]

    monkeypatch.setattr(trio.socket, "getnameinfo", reverse)
    monkeypatch.setattr(trio.socket, "getaddrinfo", forward)
    assert await names_of("10.1.2.3") == names


def test_one_port_for_both_takes_both(strict: Fleet, authority: Authority) -> None:
    assert reach(strict.client_ports[1], authority, None) == b"imok"  # clientAuth is want
    plain = KazooClient(f"127.0.0.1:{strict.client_ports[1]}")
    plain.start(timeout=10)
    assert plain.get_children("/") == ["zookeeper"]
    plain.stop()
    plain.close()


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"ssl_trustStore_location": "{trust}"}, "ssl.keyStore.location is missing: expected a file"),
        ({"ssl_keyStore_location": "{key}"}, "ssl.trustStore.location is missing: expected a file"),
        (
            {"ssl_keyStore_location": "{key}", "ssl_trustStore_location": "/no/such"},
            "ssl.trustStore.location=/no/such: No such file or directory: expected a readable file",
        ),
    ],
)
def test_a_server_without_its_files_says_so_in_one_line_and_does_not_start(
    authority: Authority, keys: dict[str, str], message: str
) -> None:
    fleet = Fleet(1)
    files = {"key": authority.pem("some.pem", "localhost"), "trust": authority.trust}
    fleet.tell(1, secureClientPort=0, **{name: value.format(**files) for name, value in keys.items()})
    fleet.start(1)
    try:
        assert fleet._processes[1].wait(20) != 0
        lines = [line for line in fleet.log_of(1).splitlines() if "event=" not in line]
        assert len(lines) == 1 and message in lines[0]
        assert not Path(fleet.directory, "1", "data", "zabpy").exists()
    finally:
        fleet.__exit__()


# Between servers, in memory -------------------------------------------------------------------------------------------


def peer_tls(key: str, trust: str) -> TlsSettings:
    return TlsSettings(
        config_path="zoo.cfg",
        key_store=StoreSettings(key="ssl.quorum.keyStore", path=key),
        trust_store=StoreSettings(key="ssl.quorum.trustStore", path=trust),
        check_accepted=True,
    )


def with_tls(servers: MemoryEnsemble, authority: Authority, ids: tuple[int, ...] = (1, 2, 3)) -> None:
    for id in ids:
        key = authority.pem(f"server{id}.pem", f"server{id}")
        servers.configs[id] = replace(
            servers.configs[id],
            peer_tls=peer_tls(key, authority.trust),
            peer_tls_dialled=True,
            client_tls=replace(peer_tls(key, authority.trust), check_accepted=False),
            client_port_unification=True,
        )


async def test_an_ensemble_in_memory_works_under_tls(autojump_clock: MockClock, authority: Authority) -> None:
    async with trio.open_nursery() as nursery:
        servers = MemoryEnsemble(nursery, servers=3, seed=11)
        with_tls(servers, authority)
        await servers.start_all()
        context = ssl.create_default_context(cafile=authority.trust)
        context.load_cert_chain(authority.pem("client.pem", "client"))
        stream = trio.SSLStream(await servers.connect(2), context, server_hostname="server2")
        client = RawClient(stream)
        assert await client.handshake()
        for number in range(20):
            assert (await client.create(f"/{number}", bytes(1000))).err == 0
        leader = servers.leader
        assert leader is not None
        victim = next(id for id in (1, 3) if id != leader)
        servers.crash(victim)
        for number in range(20, 40):
            assert (await client.create(f"/{number}", bytes(100_000))).err == 0
        await servers.start(victim)  # and gets what it missed under TLS too
        await servers.wait_serving()
        await servers.wait_level()
        assert servers.servers[victim].driver.state.tree.nodes["/39"].data == bytes(100_000)
        assert not any("refused" in line for line in servers.lines)
        nursery.cancel_scope.cancel()


async def test_a_handshake_that_is_not_done_in_time_is_given_up(
    autojump_clock: MockClock, authority: Authority
) -> None:
    async with trio.open_nursery() as nursery:
        servers = MemoryEnsemble(nursery, servers=3, seed=15)
        with_tls(servers, authority)
        await servers.start_all()
        for host, port, limit in (("server1", 2181, 12), ("server1", PEER_PORT, 5)):
            stream = await servers.wires.dial("slow", host, port)
            before, began = len(servers.lines), trio.current_time()
            await stream.send_all(b"\x16\x03\x01\x02\x00\x01")
            with trio.fail_after(60), pytest.raises(trio.BrokenResourceError):
                while True:
                    await stream.send_all(b"\0")
                    await trio.sleep(0.5)
            assert trio.current_time() - began < limit
            assert sum("_refused" in line for line in servers.lines[before:]) == 1
        assert any("TLS: closed before the handshake was done" in line for line in servers.lines)
        assert any("no Hello in time" in line for line in servers.lines)
        nursery.cancel_scope.cancel()


async def test_a_certificate_lets_in_where_one_is_required(autojump_clock: MockClock, authority: Authority) -> None:
    async with trio.open_nursery() as nursery:
        servers = MemoryEnsemble(nursery, servers=1)
        with_tls(servers, authority, (1,))
        servers.limit(required_schemes=frozenset({"x509"}), auth_schemes=frozenset({"ip", "digest", "x509"}))
        await servers.start_all()
        context = ssl.create_default_context(cafile=authority.trust)
        context.load_cert_chain(authority.pem("client.pem", "client"))
        bearer = RawClient(trio.SSLStream(await servers.connect(1), context, server_hostname="server1"))
        plain = RawClient(await servers.connect(1))
        for client, err in ((bearer, 0), (plain, -124)):
            assert await client.handshake()
            assert (await client.get("/"))[0] == err
        nursery.cancel_scope.cancel()


def _plain(servers: MemoryEnsemble, authority: Authority, stranger: Authority, id: int) -> None:
    servers.configs[id] = replace(servers.configs[id], peer_tls=None, peer_tls_dialled=False)


def _key(
    make: Callable[[Authority, Authority, int], str],
) -> Callable[[MemoryEnsemble, Authority, Authority, int], None]:
    def change(servers: MemoryEnsemble, authority: Authority, stranger: Authority, id: int) -> None:
        settings = peer_tls(make(authority, stranger, id), authority.trust)
        servers.configs[id] = replace(servers.configs[id], peer_tls=settings)

    return change


#: What is wrong with one server → what the log says: its own, the others'.
BAD_PEERS: dict[str, tuple[Callable[[MemoryEnsemble, Authority, Authority, int], None], str, str]] = {
    "plain": (_plain, "speaks TLS, expected a Hello without it", "the other side does not speak TLS"),
    "expired": (
        _key(lambda ours, theirs, id: ours.pem("expired.pem", f"server{id}", expired=True)),
        "the other side says that our certificate has expired",
        "not accepted: certificate has expired",
    ),
    "unknown authority": (
        _key(lambda ours, theirs, id: theirs.pem("unknown.pem", f"server{id}")),
        "the other side does not know the authority of our certificate",
        "the certificate of the other side is not accepted",
    ),
    "other name": (
        _key(lambda ours, theirs, id: ours.pem("other.pem", "server9")),
        "",
        "certificate is",
    ),
}


@pytest.mark.parametrize("bad", [1, 3], ids=["who is dialled", "who dials"])
@pytest.mark.parametrize("kind", BAD_PEERS)
async def test_a_server_with_a_bad_certificate_is_refused_and_the_others_go_on(
    autojump_clock: MockClock, authority: Authority, stranger: Authority, kind: str, bad: int
) -> None:
    change, ours, theirs = BAD_PEERS[kind]
    async with trio.open_nursery() as nursery:
        servers = MemoryEnsemble(nursery, servers=3, seed=12)
        with_tls(servers, authority)
        change(servers, authority, stranger, bad)
        good = [id for id in (1, 2, 3) if id != bad]
        for id in (1, 2, 3):
            await servers.start(id)
        with trio.fail_after(60):
            await servers.wait_serving(good)
        leader = servers.leader
        client = RawClient(await servers.connect(2))
        assert await client.handshake()
        for number in range(5):
            assert (await client.create(f"/{number}")).err == 0
            await trio.sleep(5)
        assert not servers.servers[bad].serving
        assert servers.leader == leader
        refusals = {
            id: [line for line in servers.lines if f"server={id} event=link_refused" in line] for id in (1, 2, 3)
        }
        print("".join(servers.lines))
        if kind == "other name" and bad == 3:
            ours = "closed before its Hello: it may not let us in with this certificate"
            theirs = "says it is server 3, but its certificate is for server9, not for server3"
        elif kind == "other name":
            ours, theirs = "the other side does not accept our certificate", "Hostname mismatch"
        elif kind == "plain" and bad == 1:
            # Who is dialled says nothing before it has heard a Hello that it likes.
            ours, theirs = "speaks TLS, expected a Hello without it", "closed by the other side during the handshake"
        for id in good:
            assert any(theirs in line for line in refusals[id]), (id, theirs)
        assert any(ours in line for line in refusals[bad])
        assert not any("event=linked" in line and f"peer={bad} " in line for line in servers.lines)
        nursery.cancel_scope.cancel()


async def test_one_server_may_not_say_it_is_another(autojump_clock: MockClock, authority: Authority) -> None:
    """Its certificate is good, and for the host that it comes from: the number it claims has another host."""
    async with trio.open_nursery() as nursery:
        servers = MemoryEnsemble(nursery, servers=3, seed=13)
        with_tls(servers, authority)
        await servers.start_all()
        context = ssl.create_default_context(cafile=authority.trust)
        context.load_cert_chain(authority.pem("thief.pem", "server2"))
        raw = await servers.wires.dial("server2", "server1", PEER_PORT)
        stream = trio.SSLStream(raw, context, server_hostname="server1")
        await stream.send_all(frame(encode_hello(Hello(PEER_VERSION, 3, "1,2,3"))))
        before = len(servers.lines)
        with pytest.raises(trio.BrokenResourceError):
            assert await stream.receive_some(100) == b""  # not even its Hello
            raise trio.BrokenResourceError
        await trio.sleep(1)
        assert any("says it is server 3, but its certificate is for server2" in line for line in servers.lines)
        assert not any("event=unlinked" in line for line in servers.lines[before:])
        nursery.cancel_scope.cancel()


async def test_an_ensemble_is_taken_to_tls_one_server_at_a_time(
    autojump_clock: MockClock, authority: Authority
) -> None:
    """First all take both, then all dial with TLS, then nothing else is let in; it serves all the while."""
    async with ensemble(servers=3, seed=14) as servers:
        steps: list[dict[str, bool]] = [
            {"peer_tls_dialled": False, "peer_port_unification": True},
            {"peer_tls_dialled": True, "peer_port_unification": True},
            {"peer_tls_dialled": True, "peer_port_unification": False},
        ]
        for step in steps:
            for id in (1, 2, 3):
                await servers.stop(id)
                key = authority.pem(f"roll{id}.pem", f"server{id}")
                tls = peer_tls(key, authority.trust)
                servers.configs[id] = replace(servers.configs[id], peer_tls=tls, **step)  # type: ignore[arg-type]
                await servers.start(id)
                with trio.fail_after(60):
                    await servers.wait_serving((1, 2, 3))
        assert not any("event=link_refused" in line for line in servers.lines)
        for server in servers.servers.values():
            assert all(getattr(link.channel, "secure", False) for link in server.peers.links.values())


# Between servers, in earnest ------------------------------------------------------------------------------------------


@pytest.mark.timeout(180)
def test_three_servers_under_tls_and_their_certificates_renewed_while_they_run(
    authority: Authority, stranger: Authority, tmp_path: Path
) -> None:
    def files(i: int) -> tuple[Path, Path]:
        return tmp_path / f"{i}.p12", tmp_path / f"trust{i}.pem"

    fleet = Fleet(3)
    for i in (1, 2, 3):
        key, trust = files(i)
        write_whole(key, pkcs12_of(authority.issue("127.0.0.1", "localhost")))
        write_whole(trust, Path(authority.trust).read_bytes())
        stores = {
            f"ssl_{prefix}{name}": value
            for prefix in ("", "quorum_")
            for name, value in (
                ("keyStore_location", key),
                ("keyStore_password", PASSWORD),
                ("trustStore_location", trust),
            )
        }
        fleet.tell(i, sslQuorum="true", secureClientPort=fleet.secure_ports[i], **stores)
    mine = authority.pem("mine.pem", "localhost")
    with fleet:
        for i in (1, 2, 3):
            fleet.wait_serving(i)
        client = kazoo(fleet.secure_ports[1], authority, mine)
        client.create("/x", b"1")

        # Broken files change nothing; new ones of a new authority are used as they come, and all goes on.
        write_whole(files(1)[0], b"not yet whole")
        line = fleet.wait_line(1, "event=certificates_not_reloaded", "key=ssl.quorum.keyStore")
        assert "the ones from before" in line and PASSWORD not in line
        assert reach(fleet.secure_ports[1], authority, mine) == b"imok"
        both = Path(authority.trust).read_bytes() + Path(stranger.trust).read_bytes()
        for i in (1, 2, 3):
            write_whole(files(i)[1], both)
        for i in (1, 2, 3):
            write_whole(files(i)[0], pkcs12_of(stranger.issue("127.0.0.1", "localhost")))
        for i in (1, 2, 3):
            ends = time.monotonic() + 20
            while reach(fleet.secure_ports[i], stranger, mine) != b"imok" and time.monotonic() < ends:
                time.sleep(0.2)
            assert (
                reach(fleet.secure_ports[i], stranger, mine) == b"imok"
            )  # it shows a certificate of the new authority
            fleet.wait_line(i, "event=certificates_reloaded", "key=ssl.quorum.keyStore")
        assert (
            sum("certificates_not_reloaded" in line for line in fleet.log_of(1).splitlines()) == 2
        )  # once for each port
        assert client.get("/x")[0] == b"1"  # what was connected stays
        fleet.kill(3)
        for i in (1, 2):
            fleet.wait_serving(i)
        fleet.start(3)
        fleet.wait_serving(3)
        fleet.wait_line(3, "event=linked", "peer=1")
        fleet.wait_line(3, "event=linked", "peer=2")
        client.stop()
        client.close()

        # And one whose certificate nobody knows stays out, whatever it does, while the others go on.
        fleet.kill(3)
        outsider = Authority(tmp_path / "outsider")
        write_whole(files(3)[0], pkcs12_of(outsider.issue("127.0.0.1", "localhost")))
        fleet.start(3)
        fleet.wait_line(3, "event=link_refused", "the other side does not know the authority of our certificate")
        for i in (1, 2):
            fleet.wait_line(i, "event=link_refused", "the certificate of the other side is not accepted")
            fleet.wait_serving(i)
        for i in (1, 2, 3):
            assert "Traceback" not in fleet.log_of(i)


def test_a_certificate_that_ends_soon_is_said_so(tmp_path: Path) -> None:
    from datetime import UTC, datetime, timedelta

    authority = Authority(tmp_path / "soon")
    leaf = authority.ca.issue_cert("localhost", not_after=datetime.now(UTC) + timedelta(days=7))
    write_whole(tmp_path / "soon.pem", pem_of(leaf))
    fleet = Fleet(1)
    fleet.config(1).write_text(fleet.config(1).read_text().replace("clientPort=", "secureClientPort="))
    fleet.config(1).write_text(fleet.config(1).read_text().replace("clientPortAddress=", "secureClientPortAddress="))
    fleet.tell(1, ssl_keyStore_location=tmp_path / "soon.pem", ssl_trustStore_location=authority.trust)
    with fleet:
        fleet.wait_line(1, "event=certificate_ends_soon", "key=ssl.keyStore", "soon.pem")
        assert "secure_client=127.0.0.1:" in fleet.wait_line(1, "event=started")
        assert " client=" not in fleet.wait_line(1, "event=started")  # there is no port without TLS
        fleet.wait_line(1, "event=role", "phase=broadcast")
        mine = authority.pem("mine.pem", "localhost")
        assert reach(fleet.client_ports[1], authority, mine) == b"imok"


def test_the_example_in_conf_works(authority: Authority) -> None:
    text = (Path(__file__).parents[2] / "conf" / "tls.cfg").read_text()
    fleet = Fleet(1)
    fleet.config(1).write_text(text.replace("secureClientPort=2281", f"secureClientPort={fleet.secure_ports[1]}"))
    (fleet.config(1).parent / "tls").mkdir()
    write_whole(fleet.config(1).parent / "tls" / "server.pem", pem_of(authority.issue("localhost", "127.0.0.1")))
    write_whole(fleet.config(1).parent / "tls" / "trust.pem", Path(authority.trust).read_bytes())
    with fleet:
        fleet.wait_line(1, "event=role", "phase=broadcast")
        assert reach(fleet.secure_ports[1], authority, authority.pem("mine.pem", "localhost")) == b"imok"
        assert reach(fleet.secure_ports[1], authority, None) == b""
