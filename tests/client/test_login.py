"""Who a client is: SASL, `add_auth`, and the ACLs that go by them. On real servers."""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import anyio
import pytest

import zabpy
from tests.client.conftest import TESTED_ON, Story, reconnect
from tests.client.listeners import fake_server, listening
from tests.server.sasl_client import digest_response
from zabpy.bench.systems import Servers
from zabpy.client.sasl import DigestExchange, ScramExchange

OnBoth = Callable[[Story], None]
#: What each mechanism is tested on. Apache's servers know only the first.
MECHANISMS = [zabpy.Digest, zabpy.Scram] if TESTED_ON == "zabpy" else [zabpy.Digest]
Mechanism = type[zabpy.Digest] | type[zabpy.Scram]


@pytest.fixture(scope="module")
def accounts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """``host:port`` of a server with accounts."""
    jaas = tmp_path_factory.mktemp("accounts") / "jaas.conf"
    jaas.write_text(
        "Server { org.apache.zookeeper.server.auth.DigestLoginModule required "
        'user_bob="bobs \\"password" user_hé="pé" user_alice="hers"; };'
    )
    jaas.chmod(0o600)
    more = "authProvider.1=org.apache.zookeeper.server.auth.SASLAuthenticationProvider\n"
    java = os.environ.get("JAVA_TOOL_OPTIONS")
    if TESTED_ON == "zabpy":
        more += f"java.security.auth.login.config={jaas}\n"
    else:
        os.environ["JAVA_TOOL_OPTIONS"] = f"-Djava.security.auth.login.config={jaas} -Dfile.encoding=UTF-8"
    with Servers(TESTED_ON, 1, more=more) as servers:
        os.environ.pop("JAVA_TOOL_OPTIONS", None)
        if java is not None:
            os.environ["JAVA_TOOL_OPTIONS"] = java
        host = f"127.0.0.1:{servers.client_ports[1]}"

        async def wait() -> None:
            async with zabpy.connect(host, connect_timeout_ms=30_000):
                pass

        anyio.run(wait, backend="trio")
        yield host


@pytest.mark.parametrize("mechanism", MECHANISMS)
@pytest.mark.parametrize(("name", "password"), [("bob", 'bobs "password'), ("hé", "pé")])
def test_who_logs_in_is_who_an_acl_names(
    on_both: OnBoth, accounts: str, mechanism: Mechanism, name: str, password: str
) -> None:
    async def story() -> None:
        acl = (zabpy.sasl_acl(name),)
        async with zabpy.connect(accounts, sasl=mechanism(name, password)) as zk, zabpy.connect(accounts) as nobody:
            made = await zk.create("/mine-", b"1", acl=acl, sequence=True, ephemeral=True)
            with pytest.raises(zabpy.NoAuthError):
                await nobody.get(made.path)
            assert (await zk.get(made.path)).data == b"1"
            await reconnect(zk)
            assert (await zk.get(made.path)).data == b"1"

    on_both(story)


@pytest.mark.parametrize("mechanism", MECHANISMS)
@pytest.mark.parametrize(("name", "password"), [("bob", "hunter2"), ("nobody", "hunter2"), ("bob", "")])
def test_a_wrong_password_ends_the_connect_at_once(
    on_both: OnBoth, accounts: str, mechanism: Mechanism, name: str, password: str
) -> None:
    async def story() -> None:
        began = time.monotonic()
        with pytest.raises(zabpy.AuthFailedError, match="SASL: a wrong name or password") as error:
            async with zabpy.connect(accounts, sasl=mechanism(name, password)):
                pass
        assert time.monotonic() - began < 3
        assert error.value.server == accounts
        assert error.value.session_id != 0
        assert "hunter2" not in str(error.value) + repr(error.value.__dict__)

    on_both(story)


def test_a_server_without_sasl_is_not_taken_for_one_that_has_proved_itself(on_both: OnBoth, one_server: str) -> None:
    async def story() -> None:
        for sasl in (zabpy.Digest("bob", "x"), zabpy.Scram("bob", "x")):
            with pytest.raises(zabpy.AuthFailedError, match="SASL: the server has none"):
                async with zabpy.connect(one_server, sasl=sasl):
                    pass

    on_both(story)


@pytest.mark.skipif(TESTED_ON == "zabpy", reason="ours speak SCRAM")
def test_a_server_that_does_not_speak_scram_is_named_so(on_both: OnBoth, accounts: str) -> None:
    async def story() -> None:
        with pytest.raises(zabpy.AuthFailedError, match="does not speak SCRAM-SHA-256"):
            async with zabpy.connect(accounts, sasl=zabpy.Scram("bob", "x")):
                pass

    on_both(story)


def test_a_credential_counts_from_the_next_call_on_and_on_every_connection(on_both: OnBoth, hosts: str) -> None:
    async def story() -> None:
        bobs = (zabpy.digest_acl("bob", "secret", "rw"), zabpy.digest_acl("eve", "hers", "r"))
        async with zabpy.connect(hosts) as zk, zabpy.connect(hosts, auth=[("digest", "eve:hers")]) as eve:
            await zk.create("/bobs", b"1", acl=bobs)
            with pytest.raises(zabpy.NoAuthError):
                await zk.get("/bobs")
            await zk.add_auth("digest", "bob:secret")
            for round in range(3):
                stat = await zk.set("/bobs", b"%d" % round)
                assert stat.version == round + 1
                assert (await eve.get("/bobs")).data == b"%d" % round
                with pytest.raises(zabpy.NoAuthError):
                    await eve.set("/bobs", b"")
                for each in (zk, eve):
                    await reconnect(each)
            await zk.add_auth("digest", b"bob:secret")
            assert len(zk.core.login.credentials) == 1, "the same one is remembered once"

    on_both(story)


def test_a_credential_that_is_refused_is_an_error_and_forgotten(on_both: OnBoth, hosts: str) -> None:
    async def story() -> None:
        async with zabpy.connect(hosts) as zk:
            session = zk.session
            await zk.add_auth("digest", "bob:secret")
            with pytest.raises(zabpy.AuthFailedError, match="the scheme 'nonsense'") as error:
                await zk.add_auth("nonsense", "hunter2")
            assert (error.value.operation, error.value.session_id) == ("add_auth", session.id)
            assert error.value.server == zk.server
            assert "hunter2" not in str(error.value) + repr(vars(error.value))
            await zk.create("/bobs", b"1", acl=zabpy.CREATOR_ALL_ACL)
            assert zk.session is session, "the connection was closed, and the session went on"
            for _ in range(2):
                await reconnect(zk)
                assert (await zk.get("/bobs")).data == b"1"

    on_both(story)


def test_a_credential_of_the_settings_that_is_refused_ends_the_connect_at_once(on_both: OnBoth, hosts: str) -> None:
    async def story() -> None:
        began = time.monotonic()
        with pytest.raises(zabpy.AuthFailedError, match="the scheme 'nonsense'"):
            async with zabpy.connect(hosts, auth=[("nonsense", "x")]):
                pass
        assert time.monotonic() - began < 3

    on_both(story)


def test_what_is_no_credential_is_an_error_at_once(on_both: OnBoth, hosts: str) -> None:
    async def story() -> None:
        zk = zabpy.connect(hosts)
        with pytest.raises(zabpy.ClosedClientError):
            await zk.add_auth("digest", "bob:x")
        async with zk:
            with pytest.raises(zabpy.BadArgumentsError):
                await zk.add_auth("digest", 7)  # type: ignore[arg-type]

    on_both(story)


def test_a_server_that_enforces_sasl_says_so_to_who_has_none(on_both: OnBoth, tmp_path: Path) -> None:
    jaas = tmp_path / "jaas.conf"
    jaas.write_text('Server { org.apache.zookeeper.server.auth.DigestLoginModule required user_bob="x"; };')
    jaas.chmod(0o600)
    more = "authProvider.1=org.apache.zookeeper.server.auth.SASLAuthenticationProvider\n"
    more += f"java.security.auth.login.config={jaas}\nenforce.auth.enabled=true\nenforce.auth.schemes=sasl\n"
    with Servers("zabpy", 1, more=more) as servers:
        host = f"127.0.0.1:{servers.client_ports[1]}"

        async def story() -> None:
            async with zabpy.connect(host, sasl=zabpy.Digest("bob", "x"), connect_timeout_ms=30_000) as zk:
                await zk.get("/")
            async with zabpy.connect(host) as zk:
                for _ in range(2):
                    with pytest.raises(zabpy.AuthFailedError, match="requires clients to log in"):
                        await zk.get("/")
                assert zk.state is zabpy.State.CLOSED

        on_both(story)


# Without servers ------------------------------------------------------------------------------------------------------


def test_a_server_must_prove_that_it_knows_the_password() -> None:
    challenge = b'realm="zk-sasl-md5",nonce="abc",charset=utf-8,algorithm=md5-sess'
    exchange = DigestExchange("bob", "secret", b"0a4f113b")
    said = exchange.answer(challenge)
    right, last = digest_response(challenge, "bob", "secret")
    assert said is not None and right.rpartition(b"response=")[2] in said
    for wrong in (b"rspauth=" + bytes(32), b"", last[:-1]):
        with pytest.raises(zabpy.AuthFailedError, match="the server has not proved"):
            exchange.answer(wrong)
    with pytest.raises(zabpy.AuthFailedError, match="would take us without"):
        exchange.answer(None)
    assert exchange.answer(last) is None


@pytest.mark.parametrize("nonsense", [b"", b"\xff", b"x" * 5000, b'nonce="a"', b'algorithm=md5-sess,realm="x"'])
def test_a_challenge_that_is_none(nonsense: bytes) -> None:
    with pytest.raises(zabpy.AuthFailedError, match="the server does not speak DIGEST-MD5"):
        DigestExchange("bob", "hunter2", b"n").answer(nonsense)
    with pytest.raises(zabpy.AuthFailedError, match="the server does not speak SCRAM"):
        ScramExchange("bob", "hunter2").answer(nonsense)


def test_a_server_of_scram_must_prove_itself_and_may_not_ask_for_hours_of_work() -> None:
    exchange = ScramExchange("bob", "secret")
    nonce = exchange.first.decode().rpartition("r=")[2]
    with pytest.raises(zabpy.AuthFailedError, match="more than 1000000 iterations"):
        exchange.answer(f"r={nonce}abc,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=9999999".encode())
    exchange = ScramExchange("bob", "secret")
    nonce = exchange.first.decode().rpartition("r=")[2]
    assert exchange.answer(f"r={nonce}abc,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096".encode()) is not None
    with pytest.raises(zabpy.AuthFailedError, match="the server does not know the password"):
        exchange.answer(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")


def test_a_password_that_scram_forbids_is_refused_when_it_is_given() -> None:
    with pytest.raises(zabpy.BadArgumentsError) as error:
        zabpy.Scram("bob", "hunter2\x07")
    assert "hunter2" not in str(error.value)


# With a server that is none -------------------------------------------------------------------------------------------


def test_a_credential_that_is_refused_later_ends_the_client(on_both: OnBoth) -> None:
    """The second connection refuses what the first has accepted. It is not tried for ever."""

    async def story() -> None:
        connections: list[int] = []
        async with listening(fake_server(lambda number: 0 if number == 1 else -115, connections)) as host:
            async with zabpy.connect(host, follow_ensemble=False) as zk:
                session = zk.session
                await zk.add_auth("digest", "bob:hunter2")
                zk._connection.leave("the test wants another connection")
                for _ in range(3):
                    with pytest.raises(zabpy.AuthFailedError, match="refuses this credential of the scheme") as error:
                        await zk.exists("/")
                    assert "hunter2" not in str(error.value)
                    assert (error.value.operation, error.value.path) == ("exists", "/")
                with pytest.raises(zabpy.AuthFailedError):
                    await zk.add_auth("digest", "x:y")
                assert session.lost
                assert zk.state is zabpy.State.CLOSED
                with pytest.raises(zabpy.AuthFailedError):
                    await zk.wait_connected()
                await anyio.sleep(0.5)
        assert connections == [1, 2]

    on_both(story)


def test_a_credential_on_which_servers_hang_up_is_not_sent_for_ever(on_both: OnBoth) -> None:
    async def story() -> None:
        connections: list[int] = []
        async with listening(fake_server(lambda number: None, connections)) as host:
            async with zabpy.connect(host, follow_ensemble=False) as zk:
                with pytest.raises(zabpy.ConnectionLossError, match="closed the connection on it"):
                    await zk.add_auth("digest", "bob:x")
                await zk.sync()
        assert connections == [1, 2, 3, 4]

    on_both(story)
