"""TLS and logins by SASL, as profiles say them: on real servers, and what is said where something is wrong."""

import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from shell.choosing import Options, choose
from shell.output import Output
from shell.profiles import load
from shell.starting import started
from tests.client.conftest import TESTED_ON
from tests.client.listeners import listening, silence
from tests.client.test_tls import Secure, up
from tests.server.authority import Authority, pem_of

from .conftest import Told
from .screen import Screen
from .terminals import PROGRAM, places


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Whom the server trusts. In its directory are ann.pem, and ann.crt with ann.key, whose password is geheim."""
    authority = Authority(tmp_path_factory.mktemp("authority"))
    authority.pem("ann.pem", "ann.example", name="ann")
    whole = pem_of(authority.issue("ann.example", name="ann"), "geheim")
    at = whole.index(b"-----BEGIN CERTIFICATE-----")
    (authority.directory / "ann.key").write_bytes(whole[:at])
    (authority.directory / "ann.crt").write_bytes(whole[at:])
    return authority


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("stranger"))


@pytest.fixture(scope="module")
def closed(authority: Authority) -> Iterator[Secure]:
    """It wants a certificate, and its own is for 127.0.0.1 and zk.example."""
    yield from up(Secure(authority, "need"))


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "config/zabpy/shell.toml"


def write(config: Path, servers: str, more: str) -> None:
    config.parent.mkdir(parents=True, exist_ok=True)
    config.write_text(f'[profile.p]\nservers = "{servers}"\ntimeout = "15s"\n{more}\n')


def run(config: Path, *lines: str) -> Told:
    """With the profile p of this file, as a script."""
    out, err = bytearray(), bytearray()

    async def story() -> int:
        settings = choose(Options(profile="p"), {}, load({"ZABPY_SHELL_CONFIG": str(config)}))
        status = 0
        async with started(settings, Output(out.extend, err.extend), keeps_trying=False) as shell:
            for line in lines:
                status = await shell.run(line)
        return status

    return Told(anyio.run(story), out.decode(), err.decode())


def tls(authority: Authority, **more: str) -> str:
    rows = {"ca": authority.trust, "certificate": f"{authority.directory}/ann.pem", **more}
    return "[profile.p.tls]\n" + "".join(f"{name} = {value!r}\n" for name, value in rows.items() if value)


def test_a_profile_with_a_certificate_whose_key_has_a_password(
    config: Path, closed: Secure, authority: Authority
) -> None:
    apart = {"certificate": f"{authority.directory}/ann.crt", "key": f"{authority.directory}/ann.key"}
    write(config, f"127.0.0.1:{closed.secure_port}", tls(authority, **apart, password_command="echo geheim"))
    told = run(config, "create -e /mine hush auth::cdrwa; acl /mine --output raw", "4lw srvr")
    assert (told.status, told.err) == (0, "")
    assert "x509:CN=ann" in told.out and "Zookeeper version" in told.out
    for line, why in [
        ("password_command = 'echo falsch'", "the password is not the key's"),
        ("", "the password is not the key's"),
        ("password_command = 'echo no such entry >&2; exit 3'", "ended with status 3"),
        ("password_env = 'NOWHERE'", "password of the key: the variable NOWHERE is not set"),
    ]:
        write(config, f"127.0.0.1:{closed.secure_port}", tls(authority, **apart) + line)
        with pytest.raises(Exception, match=why) as error:
            run(config, "ls /")
        assert "falsch" not in str(error.value) or "echo falsch" in str(error.value)


def test_what_is_wrong_with_a_server_or_with_us_is_named_at_once(
    config: Path, closed: Secure, authority: Authority, stranger: Authority
) -> None:
    here, elsewhere = f"127.0.0.1:{closed.secure_port}", f"localhost:{closed.secure_port}"
    trusted = {"ca": authority.trust, "certificate": ""}
    for servers, settings, why in [
        (here, tls(authority, ca=stranger.trust), "its certificate is not to be trusted: "),
        (elsewhere, tls(authority), "certificate is not valid for 'localhost'"),
        (here, tls(authority, server_name="other.example"), "certificate is not valid for 'other.example'"),
        (here, tls(authority, **trusted), "certificate"),
        (here, tls(authority, certificate=stranger.pem("s.pem", "s.example")), "it refused our certificate"),
    ]:
        write(config, servers, settings)
        began = time.monotonic()
        told = run(config, "ls /")
        assert told.status == 5 and why in told.err and servers in told.err, told
        assert time.monotonic() - began < 2.5, "which no waiting would cure"
    write(config, elsewhere, tls(authority, server_name="zk.example"))
    assert run(config, "ls /").status == 0
    write(config, elsewhere, tls(authority) + "verify_names = false\n")
    assert run(config, "ls /").status == 0
    if TESTED_ON == "zabpy":
        write(config, here, tls(authority, **trusted))
        assert "give one with --tls-cert, or tls.certificate in the profile" in run(config, "ls /").err
        write(config, here, "")
        assert "say --tls, or tls in the profile" in run(config, "ls /").err


def test_a_server_out_of_date(config: Path, authority: Authority) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.pem("expired.pem", "127.0.0.1", expired=True))

    async def story() -> None:
        async with listening(silence, context) as host:
            write(config, host, tls(authority))
            told = await anyio.to_thread.run_sync(run, config, "ls /", "doctor")
            assert f"{host}: its certificate is not to be trusted: certificate has expired" in told.err
            assert (
                "up, but not to be spoken to: its certificate is not to be trusted: certificate has expired" in told.out
            )
            assert "-> see to its certificate" in told.out

    anyio.run(story)


def test_files_that_will_not_do_are_named(config: Path, authority: Authority, tmp_path: Path) -> None:
    (tmp_path / "empty.pem").touch()
    for settings, why in [
        (tls(authority, ca=str(tmp_path / "none.pem")), "none.pem.*No such file"),
        (tls(authority, ca=str(tmp_path / "empty.pem")), "empty.pem.*there is no certificate in it"),
        (tls(authority, certificate=authority.trust), "there is no key in it"),
    ]:
        write(config, "127.0.0.1:1", settings)
        with pytest.raises(Exception, match=why):
            run(config, "ls /")


@pytest.mark.parametrize("mechanism", ["digest-md5", "scram-sha-256"] if TESTED_ON == "zabpy" else ["digest-md5"])
def test_a_login_whose_password_comes_from_a_command(config: Path, accounts: str, mechanism: str) -> None:
    login = f'[profile.p.sasl]\nmechanism = "{mechanism}"\nuser = "alice"\n'
    write(config, accounts, login + 'password_command = "echo hers"')
    told = run(config, "create -e /alices hush sasl:alice:cdrwa; get /alices; whoami --output raw")
    assert (told.status, told.lines[1], "sasl" in told.lines) == (0, "hush", True), told
    write(config, accounts, login + 'password_command = "echo falsch"')
    told = run(config, "ls /")
    assert told.status == 4 and "SASL: a wrong name or password" in told.err and "falsch" not in told.err


def test_a_login_whose_password_is_asked_for(config: Path, tmp_path: Path, accounts: str) -> None:
    write(config, accounts, '[profile.p.sasl]\nmechanism = "digest-md5"\nuser = "alice"\n')
    with Screen([PROGRAM, "p"], places(tmp_path)) as screen:
        screen.until("Password of digest-md5:alice: ?$")
        screen.type("hers\r")
        screen.until("connected, ")
        screen.type("whoami --output raw\r")
        screen.until("^sasl$")
        assert "hers" not in screen.text
    with Screen([PROGRAM, "p"], places(tmp_path)) as screen:
        screen.until("Password of digest-md5:alice: ?$")
        screen.type("falsch\r")
        screen.until("no session yet: .*SASL: a wrong name or password")
        assert "falsch" not in screen.text
