"""TLS: servers are who they say, or `connect` says at once what is wrong with them."""

import ssl
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest
from anyio.abc import AnyByteStream

import zabpy
from tests.client.conftest import TESTED_ON, Story
from tests.client.listeners import hang_up, listening, silence
from tests.server.authority import Authority, pem_of, pkcs12_of, write_whole
from zabpy.bench.systems import Servers, free_ports

OnBoth = Callable[[Story], None]
#: Java takes only ASCII from a properties file.
PASSWORD = "only-for-tests"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("stranger"))


class Secure(Servers):
    """One server with a plain port and one for TLS, whose certificate is for 127.0.0.1 and zk.example."""

    def __init__(self, authority: Authority, client_auth: str) -> None:
        self.secure_port = free_ports(1)[0]
        store = authority.directory / f"server-{client_auth}.p12"
        write_whole(store, pkcs12_of(authority.issue("127.0.0.1", "zk.example"), PASSWORD))
        more = f"""\
secureClientPort={self.secure_port}
secureClientPortAddress=127.0.0.1
serverCnxnFactory=org.apache.zookeeper.server.NettyServerCnxnFactory
ssl.keyStore.location={store}
ssl.keyStore.password={PASSWORD}
ssl.trustStore.location={authority.trust}
ssl.clientAuth={client_auth}
ssl.clientHostnameVerification=false
authProvider.x509=org.apache.zookeeper.server.auth.X509AuthenticationProvider
"""
        if TESTED_ON == "zabpy":
            more = more.replace("serverCnxnFactory=org.apache.zookeeper.server.NettyServerCnxnFactory\n", "")
        super().__init__(TESTED_ON, 1, more=more)

    @property
    def plain_port(self) -> int:
        return self.client_ports[1]


def up(servers: Secure) -> Iterator[Secure]:
    async def wait() -> None:
        async with zabpy.connect(f"127.0.0.1:{servers.plain_port}", connect_timeout_ms=30_000):
            pass

    with servers:
        anyio.run(wait, backend="trio")
        yield servers


@pytest.fixture(scope="module")
def open_to_all(authority: Authority) -> Iterator[Secure]:
    """It asks nobody for a certificate."""
    yield from up(Secure(authority, "none"))


@pytest.fixture(scope="module")
def closed(authority: Authority) -> Iterator[Secure]:
    """It lets nobody in without a certificate."""
    yield from up(Secure(authority, "need"))


@asynccontextmanager
async def refused_at_once(match: str) -> AsyncIterator[None]:
    """`NoServerError` long before any timeout, and ``tried`` says of the only server what matches."""
    began = time.monotonic()
    with pytest.raises(zabpy.NoServerError, match=match) as error:
        yield
    assert time.monotonic() - began < 5, "connect_timeout_ms is 15 s"
    assert [match in why for _, why in error.value.tried] == [True], error.value.tried


@pytest.mark.parametrize(
    ("host", "tls"),
    [
        ("127.0.0.1", zabpy.TLS()),
        ("localhost", zabpy.TLS(server_name="zk.example")),
        ("localhost", zabpy.TLS(server_name="127.0.0.1")),
        ("localhost", zabpy.TLS(verify_names=False)),
    ],
)
def test_a_server_with_a_certificate_for_its_name(
    on_both: OnBoth, open_to_all: Secure, authority: Authority, host: str, tls: zabpy.TLS
) -> None:
    async def story() -> None:
        known = zabpy.TLS(ca=authority.trust, server_name=tls.server_name, verify_names=tls.verify_names)
        async with zabpy.connect(f"{host}:{open_to_all.secure_port}", tls=known) as zk:
            await zk.set("/", b"x" * 300_000)
            assert (await zk.get("/")).data == b"x" * 300_000

    on_both(story)


def test_a_context_of_ones_own_is_taken_as_it_is(on_both: OnBoth, open_to_all: Secure, authority: Authority) -> None:
    async def story() -> None:
        context = ssl.create_default_context(cafile=authority.trust)
        async with zabpy.connect(f"127.0.0.1:{open_to_all.secure_port}", tls=context) as zk:
            assert zk.state is zabpy.State.CONNECTED
        async with refused_at_once("not valid for 'localhost'"):
            async with zabpy.connect(f"localhost:{open_to_all.secure_port}", tls=context):
                pass

    on_both(story)


def test_a_certificate_for_another_name_is_refused(on_both: OnBoth, open_to_all: Secure, authority: Authority) -> None:
    async def story() -> None:
        async with refused_at_once("certificate is not valid for 'localhost'"):
            async with zabpy.connect(f"localhost:{open_to_all.secure_port}", tls=zabpy.TLS(ca=authority.trust)):
                pass
        async with refused_at_once("certificate is not valid for 'other.example'"):
            tls = zabpy.TLS(ca=authority.trust, server_name="other.example")
            async with zabpy.connect(f"127.0.0.1:{open_to_all.secure_port}", tls=tls):
                pass

    on_both(story)


def test_a_certificate_of_a_stranger_is_refused(on_both: OnBoth, open_to_all: Secure, stranger: Authority) -> None:
    async def story() -> None:
        for tls in (True, zabpy.TLS(ca=stranger.trust)):
            async with refused_at_once("its certificate is not to be trusted"):
                async with zabpy.connect(f"127.0.0.1:{open_to_all.secure_port}", tls=tls):
                    pass

    on_both(story)


def test_a_certificate_out_of_date_is_refused(on_both: OnBoth, authority: Authority) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.pem("expired.pem", "127.0.0.1", expired=True))

    async def story() -> None:
        async with listening(silence, context) as host, refused_at_once("certificate has expired"):
            async with zabpy.connect(host, tls=zabpy.TLS(ca=authority.trust)):
                pass

    on_both(story)


def test_a_port_that_speaks_something_else_is_named(on_both: OnBoth, open_to_all: Secure, authority: Authority) -> None:
    async def http(stream: AnyByteStream) -> None:
        await stream.receive()
        await stream.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async def story() -> None:
        tls = zabpy.TLS(ca=authority.trust)
        async with listening(http) as host, refused_at_once("it does not speak TLS"):
            async with zabpy.connect(host, tls=tls):
                pass
        # A plain port hangs up on TLS, as a server that is not ready does on anybody; so that one is tried again.
        with pytest.raises(zabpy.NoServerError, match="TLS handshake, as a port without TLS does"):
            async with zabpy.connect(f"127.0.0.1:{open_to_all.plain_port}", tls=tls, connect_timeout_ms=700):
                pass
        if TESTED_ON == "zabpy":
            async with refused_at_once("it speaks TLS, and this client does not"):
                async with zabpy.connect(f"127.0.0.1:{open_to_all.secure_port}"):
                    pass
        else:  # it hangs up
            with pytest.raises(zabpy.NoServerError, match="closed the connection"):
                async with zabpy.connect(f"127.0.0.1:{open_to_all.secure_port}", connect_timeout_ms=700):
                    pass

    on_both(story)


def test_of_several_servers_one_that_is_only_down_is_waited_for(on_both: OnBoth, open_to_all: Secure) -> None:
    async def story() -> None:
        down = free_ports(1)[0]
        with pytest.raises(zabpy.NoServerError, match="within 700 ms") as error:
            both = f"127.0.0.1:{open_to_all.secure_port},127.0.0.1:{down}"
            async with zabpy.connect(both, tls=True, connect_timeout_ms=700):
                pass
        tried = dict(error.value.tried)
        assert "not to be trusted" in tried[f"127.0.0.1:{open_to_all.secure_port}"]
        assert "refused" in tried[f"127.0.0.1:{down}"]

    on_both(story)


def test_a_server_that_says_nothing_is_given_up(on_both: OnBoth, open_to_all: Secure, authority: Authority) -> None:
    async def story() -> None:
        tls = zabpy.TLS(ca=authority.trust)
        async with listening(silence) as mute:
            began = time.monotonic()
            hosts = ",".join([mute, f"127.0.0.1:{open_to_all.secure_port}"])
            async with zabpy.connect(hosts, tls=tls, session_timeout_ms=4_000):
                assert time.monotonic() - began < 3.5
            with pytest.raises(zabpy.NoServerError, match="no connection within 1000 ms"):
                async with zabpy.connect(mute, tls=tls, session_timeout_ms=1_000, connect_timeout_ms=1_500):
                    pass

    on_both(story)


def test_a_client_with_a_certificate_is_who_it_says(on_both: OnBoth, closed: Secure, authority: Authority) -> None:
    mine = authority.pem("client.pem", "client.example", name="me")

    async def story() -> None:
        tls = zabpy.TLS(ca=authority.trust, certificate=mine)
        async with zabpy.connect(f"127.0.0.1:{closed.secure_port}", tls=tls) as zk:
            made = await zk.create("/mine-", b"1", acl=zabpy.CREATOR_ALL_ACL, sequence=True, ephemeral=True)
            async with zabpy.connect(f"127.0.0.1:{closed.plain_port}") as other:
                with pytest.raises(zabpy.NoAuthError):
                    await other.get(made.path)
            assert (await zk.get(made.path)).data == b"1"

    on_both(story)


def test_a_client_without_a_certificate_or_with_a_strangers_is_told_so(
    on_both: OnBoth, closed: Secure, authority: Authority, stranger: Authority
) -> None:
    async def story() -> None:
        async with refused_at_once("certificate"):
            async with zabpy.connect(f"127.0.0.1:{closed.secure_port}", tls=zabpy.TLS(ca=authority.trust)):
                pass
        async with refused_at_once("it refused our certificate"):
            tls = zabpy.TLS(ca=authority.trust, certificate=stranger.pem("client.pem", "client.example"))
            async with zabpy.connect(f"127.0.0.1:{closed.secure_port}", tls=tls):
                pass

    on_both(story)


def test_files_that_cannot_be_used_are_named(authority: Authority, stranger: Authority, tmp_path: Path) -> None:
    empty, mine = tmp_path / "empty.pem", authority.pem("mine.pem", "me")
    empty.write_text("")
    key = tmp_path / "key.pem"
    key.write_bytes(stranger.issue("x").private_key_pem.bytes())
    for tls, why in [
        (zabpy.TLS(ca=tmp_path / "none.pem"), r"TLS\(ca='.*none.pem'\): No such file"),
        (zabpy.TLS(ca=empty), r"TLS\(ca='.*empty.pem'\): there is no certificate"),
        (zabpy.TLS(ca=authority.trust, certificate=tmp_path / "none.pem"), "none.pem.*No such file"),
        (zabpy.TLS(ca=authority.trust, certificate=authority.trust), "there is no key in it"),
        (zabpy.TLS(ca=authority.trust, certificate=mine, key=key), "the key is not this certificate's"),
        (zabpy.TLS(ca=authority.trust, key=key), "without a certificate"),
    ]:
        with pytest.raises(zabpy.BadArgumentsError, match=why):
            zabpy.connect("h", tls=tls)
    with pytest.raises(zabpy.BadArgumentsError, match="expected True"):
        zabpy.connect("h", tls="yes")  # type: ignore[arg-type]


def test_a_key_with_a_password(authority: Authority, tmp_path: Path) -> None:
    path = tmp_path / "locked.pem"
    path.write_bytes(pem_of(authority.issue("me"), "hunter2"))
    zabpy.TLS(certificate=path, password="hunter2").context()
    for wrong in ("hunter3", None):
        with pytest.raises(zabpy.BadArgumentsError, match="the password is not the key's") as error:
            zabpy.TLS(certificate=path, password=wrong).context()
        assert "hunter" not in str(error.value)


def test_a_server_that_hangs_up_at_once_is_not_dialled_in_a_storm(on_both: OnBoth) -> None:
    async def story() -> None:
        calls = 0

        async def count(stream: AnyByteStream) -> None:
            nonlocal calls
            calls += 1
            await hang_up(stream)

        async with listening(count) as host:
            with pytest.raises(zabpy.NoServerError, match="closed the connection"):
                async with zabpy.connect(host, connect_timeout_ms=1_500):
                    pass
        assert 3 <= calls <= 12

    on_both(story)
