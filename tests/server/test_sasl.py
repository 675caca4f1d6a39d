"""DIGEST-MD5 and SCRAM-SHA-256 as the RFCs and Apache's server have them, and the accounts they go by."""

import contextlib
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import given, strategies as st
from scramp import ScramClient
from trio.testing import MockClock

from tests.server.sasl_client import digest_response
from zabpy.server import Log, TrioClock
from zabpy.server.accounts import LOOK_SECONDS, Accounts, AccountsFile, accounts_of
from zabpy.server.digest_md5 import DigestError, challenge, check
from zabpy.server.jaas import JaasError, parse
from zabpy.server.sasl import Exchange, SaslError
from zabpy.server.scram import ITERATIONS, Verifier, make_verifier, parse_verifier
from zabpy.wire.digest_md5 import directives, proof, secrets_of

NONCE = "OA6MG9tEQGm2hh"


def accounts(options: str, before: Accounts | None = None, **more: Any) -> Accounts:
    return accounts_of(
        parse(f"Server {{ m required {options}; }};", "f")["Server"], "f", os.urandom, before=before, **more
    )


ACCOUNTS = accounts('user_bob="bobs password" user_hé="pé" user_quo="q\\"u\\\\o"')


def login(name: str, password: str, **changes: str | None) -> str | None:
    exchange = Exchange(ACCOUNTS, os.urandom)
    response, last = digest_response(exchange.step(b"").token, name, password, **changes)
    step = exchange.step(response)
    assert step.token == last
    return step.name


# DIGEST-MD5


def test_the_example_of_the_rfc() -> None:
    """RFC 2831 §4."""
    (secret,) = secrets_of("chris", "secret", "elwood.innosoft.com")
    said = directives(
        b'charset=utf-8,username="chris",realm="elwood.innosoft.com",nonce="OA6MG9tEQGm2hh",nc=00000001,'
        b'cnonce="OA6MHXh6VqTrRk",digest-uri="imap/elwood.innosoft.com",'
        b"response=d388dad90d4bbd760a152321f2143af7,qop=auth"
    )
    assert proof(secret, said, b"AUTHENTICATE:") == said["response"]
    assert proof(secret, said, b":") == b"ea40f60335c427b5527b84dbabcdfffd"


def test_the_challenge_is_apaches() -> None:
    assert challenge("abc") == b'realm="zk-sasl-md5",nonce="abc",charset=utf-8,algorithm=md5-sess'


def test_no_nonce_comes_twice() -> None:
    assert len({Exchange(ACCOUNTS, os.urandom).step(b"").token for _ in range(100)}) == 100


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"digest_uri": '"Zookeeper/ZK-sasl-md5"'},
        {"nc": '"00000001"'},
        {"cnonce": '""'},
        {"qop": None},
        {"qop": '"auth"'},
        {"authzid": '"super"'},  # hashed, and nobody becomes it
        {"authzid": '""'},
        {"username": "bob"},
        {"charset": None},
        {"charset": '"utf-8"'},
        {"maxbuf": "65536", "cipher": '"rc4"', "algorithm": "md5-sess", "foo": '"x\\"y"'},
    ],
)
def test_what_proves_a_password(changes: dict[str, str | None]) -> None:
    """What Apache's server takes."""
    assert login("bob", "bobs password", **changes) == "bob"


@pytest.mark.parametrize(
    "changes",
    [
        {"realm": '"else"'},
        {"realm": '""'},
        {"realm": None},
        {"digest_uri": '"zookeeper/localhost"'},
        {"digest_uri": '"imap/zk-sasl-md5"'},
        {"digest_uri": '"zookeeper/zk-sasl-md5/x"'},
        {"digest_uri": None},
        {"nc": "00000002"},
        {"nc": "1"},
        {"nc": None},
        {"nonce": '"abc"'},
        {"nonce": None},
        {"cnonce": None},
        {"qop": "auth-int"},
        {"username": None},
        {"username": '"eve"'},
        {"charset": "latin-1"},
        {"response": None},
        {"response": "0" * 32},
        {"response": "0" * 31},
        {"response": '""'},
        {"NONCE": '"x"'},  # the same directive twice
        {"foo": "x" * 5000},
    ],
)
def test_what_proves_nothing(changes: dict[str, str | None]) -> None:
    """What Apache's server refuses."""
    with pytest.raises(SaslError):
        login("bob", "bobs password", **changes)


@pytest.mark.parametrize(
    ("name", "password"),
    [("bob", "wrong"), ("bob", ""), ("nobody", "bobs password"), ("", ""), ("Bob", "bobs password")],
)
def test_wrong_names_and_passwords_fail_alike(name: str, password: str) -> None:
    with pytest.raises(SaslError, match=r"^a wrong name or password$"):
        login(name, password)


@pytest.mark.parametrize(
    ("change", "good"),
    [
        (lambda raw: b" " + raw.replace(b",", b" , ").replace(b"=", b" = "), True),
        (lambda raw: b",," + raw, True),
        (lambda raw: raw.replace(b",", b",,"), True),
        (lambda raw: raw + b",", True),
        (lambda raw: raw.replace(b"nonce", b"NONCE"), True),
        (lambda raw: raw + b',zz="abc', False),
        (lambda raw: raw + b",zz", False),  # Java overlooks this one
        (lambda raw: raw + b',username="super"', False),
        (lambda raw: raw.upper(), False),
        (lambda raw: b"\xff\x00=,,=", False),
        (lambda raw: b"", False),
    ],
)
def test_how_a_response_may_be_written(change: Callable[[bytes], bytes], good: bool) -> None:
    response, _ = digest_response(challenge(NONCE), "bob", "bobs password")
    if good:
        assert check(change(response), NONCE, ACCOUNTS.digest.get)[0] == "bob"
    else:
        with pytest.raises(DigestError):
            check(change(response), NONCE, ACCOUNTS.digest.get)


def test_a_name_that_is_not_known_has_no_secret_that_could_be_guessed() -> None:
    """For one some secret is hashed with, to take as long; whoever knows that one must not come in."""
    said = directives(b'nonce="n",cnonce="c",nc=00000001,digest-uri="zookeeper/zk-sasl-md5"')
    raw = b'username="nobody",realm="zk-sasl-md5",nonce="n",cnonce="c",nc=00000001,digest-uri="zookeeper/zk-sasl-md5"'
    for secret in (bytes(16), b"", *secrets_of("nobody", ""), *secrets_of("", "")):
        with pytest.raises(DigestError, match="a wrong name or password"):
            check(raw + b",response=" + proof(secret, said, b"AUTHENTICATE:"), "n", ACCOUNTS.digest.get)


def test_names_beyond_ascii_are_hashed_as_the_rfc_says_or_as_clients_do() -> None:
    for secret in secrets_of("hé", "pé"):
        for name, charset in (("hé".encode(), b"charset=utf-8,"), ("hé".encode(), b""), (b"h\xe9", b"")):
            said = directives(b'nonce="n",cnonce="c",nc=00000001,digest-uri="zookeeper/zk-sasl-md5"')
            raw = charset + b'username="' + name + b'",realm="zk-sasl-md5",nonce="n",cnonce="c",nc=00000001,'
            raw += b'digest-uri="zookeeper/zk-sasl-md5",response=' + proof(secret, said, b"AUTHENTICATE:")
            assert check(raw, "n", ACCOUNTS.digest.get)[0] == "hé"
    assert len(secrets_of("hé", "pé")) == 2
    assert len(secrets_of("€", "€")) == 1


@pytest.mark.parametrize("raw", [b"a=1,a=1", b'a=1,A="2"', b"a=1,,b=2,a="])
def test_no_directive_comes_twice(raw: bytes) -> None:
    with pytest.raises(DigestError):
        directives(raw)


@given(st.binary(max_size=200))
def test_any_bytes_are_directives_or_an_error(raw: bytes) -> None:
    with contextlib.suppress(DigestError):
        directives(raw)
    with pytest.raises(DigestError):
        check(raw, NONCE, ACCOUNTS.digest.get)


@given(
    st.dictionaries(
        st.from_regex(r"[a-z-]{1,10}", fullmatch=True), st.binary(max_size=20).filter(lambda value: b"\0" not in value)
    )
)
def test_directives_are_what_was_written(said: dict[str, bytes]) -> None:
    quoted = {name: value.replace(b"\\", b"\\\\").replace(b'"', b'\\"') for name, value in said.items()}
    assert directives(b",".join(b'%s="%s"' % (name.encode(), value) for name, value in quoted.items())) == said


# SCRAM-SHA-256


def test_the_example_of_scrams_rfc() -> None:
    """RFC 7677 §3, with the RFC's salt and nonces."""
    salt = bytes.fromhex("5b6d99689d12358eeca04b141236fa81")
    verifier = make_verifier("pencil", salt)
    assert verifier.iterations == ITERATIONS
    known = Accounts({}, {"user": ("user", verifier)}, bytes(32))

    class FixedNonce(Exchange):
        def __init__(self) -> None:
            super().__init__(known, os.urandom)
            self._nonce = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"

    exchange = FixedNonce()
    nonces = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
    first = exchange.step(b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO")
    assert first == (f"r={nonces},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096".encode(), None)
    last = exchange.step(f"c=biws,r={nonces},p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=".encode())
    assert last == (b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=", "user")


def scram_login(known: Accounts, name: str, password: str) -> str | None:
    client = ScramClient(["SCRAM-SHA-256"], name, password)
    exchange = Exchange(known, os.urandom)
    client.set_server_first(exchange.step(client.get_client_first().encode()).token.decode())
    step = exchange.step(client.get_client_final().encode())
    client.set_server_final(step.token.decode())
    return step.name


@pytest.mark.parametrize("name", ["bob", "hé"])
def test_the_accounts_of_digest_md5_serve_scram_too(name: str) -> None:
    password = {"bob": "bobs password", "hé": "pé"}[name]
    assert scram_login(ACCOUNTS, name, password) == name
    with pytest.raises(SaslError, match=r"^a wrong name or password$"):
        scram_login(ACCOUNTS, name, "wrong")


def test_a_verifier_stands_for_a_password() -> None:
    text = make_verifier("pässword", os.urandom(16), 8192).text()
    known = accounts(f'scram_bob="{text}" user_alice="x"')

    assert text.startswith("SCRAM-SHA-256$8192:")
    assert scram_login(known, "bob", "pässword") == "bob"
    assert "bob" not in known.digest
    assert len(known) == 2


def test_of_both_forms_scram_goes_by_the_verifier() -> None:
    known = accounts(f'user_bob="one" scram_bob="{make_verifier("two", os.urandom(16)).text()}"')
    assert scram_login(known, "bob", "two") == "bob"
    with pytest.raises(SaslError):
        scram_login(known, "bob", "one")


def test_a_name_that_is_not_known_is_challenged_like_one_that_is() -> None:
    known = accounts(f'scram_bob="{make_verifier("p", os.urandom(20), 5000).text()}"')

    def challenged(name: str) -> dict[str, str]:
        told = Exchange(known, os.urandom).step(f"n,,n={name},r=abc".encode()).token.decode()
        return dict(part.split("=", 1) for part in told.split(","))

    bob, eve, again, other = (challenged(name) for name in ("bob", "eve", "eve", "eva"))
    assert {key: len(value) for key, value in bob.items()} == {key: len(value) for key, value in eve.items()}
    assert bob["i"] == eve["i"] == "5000"
    assert eve["s"] == again["s"] != other["s"]
    with pytest.raises(SaslError, match=r"^a wrong name or password$"):
        scram_login(known, "eve", "p")


@pytest.mark.parametrize(
    "first",
    [
        b"p=tls-unique,,n=bob,r=abc",  # channel binding is not offered
        b"n,a=super,n=bob,r=abc",  # to be another is not
        b"n,,",
        b"n,,n=bob",
        b"n,,n=,r=abc",
        b"n,,m=x,n=bob,r=abc",
        b"n,,n=bo=b,r=abc",
        b"n,,n=bob,r=\xff",
        b"n,,n=bob,r=" + b"x" * 5000,
        b"n,,n=\xe2\x80\x8bbob\x07,r=abc",
        b"y,",
    ],
)
def test_a_first_message_that_is_none(first: bytes) -> None:
    with pytest.raises(SaslError):
        Exchange(ACCOUNTS, os.urandom).step(first)


@given(st.lists(st.one_of(st.binary(max_size=60), st.just(b""), st.just(b"n,,n=bob,r=abc")), max_size=4))
def test_any_tokens_in_any_order_let_nobody_in(tokens: list[bytes]) -> None:
    exchange = Exchange(ACCOUNTS, os.urandom)
    for token in tokens:
        try:
            assert exchange.step(token).name is None
        except SaslError:
            with pytest.raises(SaslError, match="behind the end"):
                exchange.step(b"")


@given(st.text(max_size=40))
def test_any_last_message_of_scram_is_an_error(text: str) -> None:
    exchange = Exchange(ACCOUNTS, os.urandom)
    exchange.step(b"n,,n=bob,r=abc")
    with pytest.raises(SaslError):
        exchange.step(text.encode())


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("hunter2", "does not begin with SCRAM-SHA-256"),
        ("SCRAM-SHA-512$4096:aaaa$hunter2:hunter2", "does not begin with SCRAM-SHA-256"),
        ("SCRAM-SHA-256$hunter2", "is not iterations:salt"),
        ("SCRAM-SHA-256$4096:hunter2!$a:b", "is not iterations:salt"),
        ("SCRAM-SHA-256$4096:AAAAAAAAAAAAAAAAAAAAAA==$AAAA:AAAA", "keys are not of 32 bytes"),
        (make_verifier("x", bytes(16)).text().replace("4096", "4095"), "iterations are not from 4096"),
        (make_verifier("x", bytes(16)).text().replace("4096", "99999999"), "iterations are not from 4096"),
        (Verifier(b"short", bytes(32), bytes(32), 4096).text(), "salt is not of 12"),
    ],
)
def test_a_verifier_that_is_none_is_an_error_that_does_not_show_it(text: str, why: str) -> None:
    with pytest.raises(ValueError, match="it") as told:
        parse_verifier(text)
    with pytest.raises(JaasError, match=r"^f:1: expected a SCRAM verifier: it") as error:
        accounts(f'scram_bob="{text}"')
    for each in (str(told.value), str(error.value)):
        assert why in each
        assert "hunter2" not in each


# Accounts


def test_accounts_show_nothing() -> None:
    known = accounts('user_bob="hunter2"')
    verifier = next(iter(known.scram.values()))[1]
    shown = repr(known) + repr(known.scram) + repr(verifier) + repr(Exchange(known, os.urandom))
    assert "hunter2" not in shown
    assert verifier.stored_key.hex() not in shown
    assert repr(verifier.stored_key) not in shown


def test_only_changed_passwords_are_hashed_again() -> None:
    first = accounts('user_bob="one" user_eve="one"')
    second = accounts('user_bob="one" user_eve="two"', before=first)
    assert second.scram["bob"] is first.scram["bob"]
    assert second.scram["eve"] != first.scram["eve"]
    assert scram_login(second, "eve", "two") == "eve"


def test_every_module_counts_and_kerberos_is_warned_of() -> None:
    text = 'Server { com.sun.security.auth.module.Krb5LoginModule required user_a="1"; b optional user_b="2"; };'
    known = accounts_of(parse(text, "f")["Server"], "f", os.urandom)
    assert set(known.digest) == {"a", "b"}
    assert known.warnings == ("f:1: com.sun.security.auth.module.Krb5LoginModule: Kerberos is not served",)


def test_the_password_of_super_may_come_from_the_configuration() -> None:
    assert accounts('user_super="file"', super_password="config").digest["super"] == secrets_of("super", "config")
    assert "super" not in accounts('user_bob="x"', super_password="config").digest


def test_what_scram_cannot_take_is_warned_of_and_logs_in_by_digest_md5() -> None:
    known = accounts('user_bob="bell\\7hunter2" user_\u2060="x" "user_bo\u00adb"="y"')
    assert set(known.digest) == {"bob", "\u2060", "bo\u00adb"}
    assert known.scram == {}
    assert len(known.warnings) == 3
    assert not any("hunter2" in warning for warning in known.warnings)


class Watched:
    def __init__(self, path: Path, nursery: trio.Nursery, text: str | None = None, **more: str) -> None:
        self.path, self.lines = path, list[str]()
        if text is not None:
            self.write(text)
        log = Log(TrioClock(), write=self.lines.append)
        self.file = AccountsFile(str(path), "Server", os.urandom, log, **more)
        self.file.open_blocking()
        nursery.start_soon(self.file.watch, aside)

    def write(self, text: str, mode: int = 0o600) -> None:
        new = self.path.with_suffix(".new")
        new.write_text(text)
        new.chmod(mode)
        new.rename(self.path)

    @property
    def now(self) -> Accounts:
        assert self.file.now is not None
        return self.file.now

    async def settle(self) -> str:
        """What was logged since the last time."""
        await trio.sleep(2.5 * LOOK_SECONDS)
        lines, self.lines[:] = "".join(self.lines), []
        return lines


async def aside(call: Callable[[], Any]) -> Any:
    await trio.lowlevel.checkpoint()
    return call()


@contextlib.asynccontextmanager
async def watching(path: Path, text: str) -> AsyncIterator[Watched]:
    async with trio.open_nursery() as nursery:
        yield Watched(path, nursery, text)
        nursery.cancel_scope.cancel()


def server(password: str) -> str:
    return f'Server {{ m required user_bob="{password}"; }};'


async def test_a_changed_file_is_read_again(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with watching(tmp_path / "jaas.conf", server("one")) as watched:
        before = watched.now
        assert "event=accounts " in await watched.settle()
        assert await watched.settle() == ""
        watched.write(server("two"))
        assert "event=accounts " in await watched.settle()
        assert watched.now.digest["bob"] == secrets_of("bob", "two")
        assert before.digest["bob"] == secrets_of("bob", "one")
        assert "one" not in repr(watched.file)


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        ("", "the section 'Server' is not there any more"),
        ("Client { };", "the section 'Server' is not there any more"),
        ('Server { m required user_bob="hunter2', "expected a closing quote"),
        ('Server { m required scram_bob="hunter2"; };', "expected a SCRAM verifier"),
        ("x" * (1 << 21), "at most 1048576 bytes"),
    ],
)
async def test_a_file_that_has_become_wrong_is_told_of_once_and_changes_nothing(
    broken: str, why: str, tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with watching(tmp_path / "jaas.conf", server("one")) as watched:
        await watched.settle()
        watched.write(broken)
        told = await watched.settle()
        assert told.count("event=accounts_kept") == 1
        assert why in told
        assert "hunter2" not in told
        assert watched.now.digest["bob"] == secrets_of("bob", "one")
        watched.path.unlink()
        assert (await watched.settle()).count("event=accounts_kept") == 1
        watched.write(server("three"))
        assert "event=accounts " in await watched.settle()
        assert watched.now.digest["bob"] == secrets_of("bob", "three")


async def test_a_file_without_the_section_is_no_sasl_until_it_has_one(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with watching(tmp_path / "jaas.conf", "") as watched:
        assert watched.file.now is None
        assert "event=no_accounts" in await watched.settle()
        watched.write(server("one"))
        await watched.settle()
        assert len(watched.now) == 1


async def test_a_file_that_everybody_can_read_is_warned_of(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with watching(tmp_path / "jaas.conf", server("one")) as watched:
        assert "chmod" not in await watched.settle()
        watched.write(server("one"), mode=0o644)
        assert "everybody on this machine can read it" in await watched.settle()


@pytest.mark.parametrize("make", [lambda path: None, lambda path: path.mkdir()])
def test_a_file_that_cannot_be_read_is_an_error_at_the_start(make: Callable[[Path], None], tmp_path: Path) -> None:
    make(tmp_path / "jaas.conf")
    file = AccountsFile(str(tmp_path / "jaas.conf"), "Server", os.urandom, Log(TrioClock(), write=print))
    with pytest.raises(JaasError, match="expected a readable JAAS file"):
        file.open_blocking()


def test_a_file_that_is_not_utf8_is_an_error_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "jaas.conf").write_bytes(b"Server {\n\xff")
    file = AccountsFile(str(tmp_path / "jaas.conf"), "Server", os.urandom, Log(TrioClock(), write=print))
    with pytest.raises(JaasError, match=r"jaas.conf:2: expected UTF-8"):
        file.open_blocking()
