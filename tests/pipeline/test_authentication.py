"""Schemes, and that no password is ever shown."""

import struct

import pytest

from tests.pipeline.conftest import ANYBODY, parse
from zabpy.model import AuthFailedError, Identity, digest_id
from zabpy.pipeline import (
    DIGEST_ALGORITHMS,
    IDENTITIES_CHARS_MAX,
    SUPER,
    AuthRules,
    answer_auth,
    authenticate,
)

RULES = AuthRules()
ALL = AuthRules(schemes=frozenset(("digest", "ip", "sasl", "x509", "ensemble")))


def packet(scheme: bytes, auth: bytes | None) -> bytes:
    raw = struct.pack(">ii", 0, len(scheme)) + scheme
    return raw + (struct.pack(">i", -1) if auth is None else struct.pack(">i", len(auth)) + auth)


@pytest.mark.parametrize(
    ("text", "id"),
    [
        ("super:test", "super:D/InIHSb7yEEbrWz8b9l71RjZJU="),
        ("user1:12345", "user1:+owfoSBn/am19roBPzR1/MfCblE="),
        ("zookeeper:admin", "zookeeper:qW/HnTfCSoQpB5G8LgkwT3IbiFc="),
    ],
)
def test_digests_are_zookeepers(text: str, id: str) -> None:
    assert digest_id(text) == id
    assert authenticate("digest", text.encode(), ANYBODY, RULES) == (*ANYBODY, Identity("digest", id))


def test_identities_accumulate_and_none_comes_twice() -> None:
    once = authenticate("digest", b"a:b", ANYBODY, RULES)
    assert authenticate("digest", b"a:b", once, RULES) == once
    assert len(authenticate("digest", b"c:d", once, RULES)) == 3
    assert authenticate("ip", b"anything", once, RULES) == once


def test_digest_takes_any_text() -> None:
    for auth in (b"", b"no colon", b"a:b:c", b"\xff\xfe", b":"):
        assert authenticate("digest", auth, (), RULES)[0].scheme == "digest"


def test_a_null_buffer_is_no_digest_but_an_address_is_one_without_it() -> None:
    """As Apache's server answers: it stumbles over the null, and calls that a failure."""
    answer = answer_auth(-4, packet(b"digest", None), ANYBODY)
    assert parse(answer.frame) == (-4, 0, -115, b"")
    assert answer.why
    assert answer_auth(-4, packet(b"ip", None), ANYBODY).why == ""


def test_the_super_digest_adds_super() -> None:
    digest = digest_id("super:test")
    rules = AuthRules(super_digest=digest)
    assert authenticate("digest", b"super:test", (), rules) == (SUPER, Identity("digest", digest))
    assert SUPER not in authenticate("digest", b"super:wrong", (), rules)
    assert SUPER not in authenticate("digest", b"super:test", (), RULES)


@pytest.mark.parametrize(
    ("name", "id"),
    [
        ("SHA1", "super:D/InIHSb7yEEbrWz8b9l71RjZJU="),
        ("SHA-256", "super:wjySwxg860UATFtciuZ1lpzrCHrPeov6SPu/ZD56uig="),
        ("SHA-512/256", "super:GV6U44a5U7SXgFZS9GkWgmwq2+im64wGlYXjCHia3mo="),
        ("SHA512/224", "super:Jbob8j2c9tikAuLuqxcIJr3TG4aS6fcELZsiHw=="),
        ("SHA224", "super:opwh3FU/0WUpM+8JAOS98bsQFC+823kv438mIg=="),
        ("SHA3-256", "super:cRy/KPYuDpW/dtsepniTMpuiuupnWgdU9txltIfv3hA="),
        (
            "SHA-512",
            "super:cMAGk13FCMtJkaVQImGEKhjqoGELCiVjYdIhiD8stB1FnIpdGeFvKwAHh5mf4tUYmBR2ZY9181dZTXEHMlkVhg==",
        ),
        ("MD5", "super:yzhcGieXAe2NBWh0Znxa3g=="),
    ],
)
def test_the_digest_may_be_another(name: str, id: str) -> None:
    """What Apache's server stores for each."""
    algorithm = DIGEST_ALGORITHMS[name]
    assert digest_id("super:test", algorithm) == id
    rules = AuthRules(digest_algorithm=algorithm, super_digest=id)
    assert authenticate("digest", b"super:test", (), rules) == (SUPER, Identity("digest", id))


@pytest.mark.parametrize("scheme", ["world", "auth", "sasl", "x509", "super", "", "nonsense", "Digest", "ensemble"])
@pytest.mark.parametrize("rules", [RULES, ALL])
def test_other_schemes_fail_and_the_connection_ends(scheme: str, rules: AuthRules) -> None:
    if scheme == "ensemble" and rules is ALL:
        return
    with pytest.raises(AuthFailedError):
        authenticate(scheme, b"secret", ANYBODY, rules)
    answer = answer_auth(17, packet(scheme.encode(), b"secret"), ANYBODY, rules)
    assert parse(answer.frame) == (17, 0, -115, b"")
    assert answer == (answer.frame, ANYBODY, answer.why)
    assert answer.why


def test_a_null_scheme_fails() -> None:
    answer = answer_auth(-4, struct.pack(">iii", 0, -1, 0), ANYBODY)
    assert parse(answer.frame) == (-4, 0, -115, b"")


def test_a_scheme_can_be_switched_off() -> None:
    with pytest.raises(AuthFailedError, match="scheme digest is switched off"):
        authenticate("digest", b"a:b", (), AuthRules(schemes=frozenset({"ip"})))


def test_a_client_of_another_ensemble_is_told_so() -> None:
    rules = ALL._replace(ensemble_names=frozenset(("blue", "green")))
    for name in (b"blue", b"green", b"", None):
        assert authenticate("ensemble", name, ANYBODY, rules) == ANYBODY
    with pytest.raises(AuthFailedError):
        authenticate("ensemble", b"red", ANYBODY, rules)
    assert answer_auth(-4, packet(b"ensemble", b"red"), ANYBODY, rules).frame == b""
    assert authenticate("ensemble", b"red", ANYBODY, ALL) == ANYBODY


@pytest.mark.parametrize(
    "record",
    [
        b"",
        b"\0\0",
        b"\0\0\0\0",
        packet(b"digest", b"abcde")[:-3],
        packet(b"digest", b"")[:-4] + b"\xff\xff\xff\xfe",
        b"\0\0\0\0\xff\xff\xff\xfb",
    ],
)
def test_a_packet_that_cannot_be_read_ends_the_connection_without_a_word(record: bytes) -> None:
    """As Apache's server does it: to a client that sends this no answer would mean anything."""
    answer = answer_auth(-4, record, ANYBODY)
    assert (answer.frame, answer.identities) == (b"", ANYBODY)
    assert answer.why


def test_what_stands_behind_the_packet_is_ignored() -> None:
    assert answer_auth(-4, packet(b"digest", b"a:b") + b"zzz", ANYBODY).why == ""


def test_identities_are_bounded_together() -> None:
    identities = ANYBODY
    for number in range(400):
        identities = authenticate("digest", b"user%03d:secret" % number, identities, RULES)
    with pytest.raises(AuthFailedError):
        authenticate("digest", b"u" * (IDENTITIES_CHARS_MAX - 400 * 36), identities, RULES)
    with pytest.raises(AuthFailedError):
        authenticate("digest", b"u" * IDENTITIES_CHARS_MAX, (), RULES)


def test_a_password_is_in_no_text_of_what_comes_out() -> None:
    seen = []
    for scheme in (b"digest", b"world", b"hunter2"):
        seen.append(repr(answer_auth(-4, packet(scheme, b"user:hunter2"), ANYBODY)))
    seen.append(repr(answer_auth(-4, packet(b"digest", b"user:hunter2")[:-1], ANYBODY)))
    try:
        authenticate("sasl", b"user:hunter2", (), RULES)
    except AuthFailedError as error:
        seen += [str(error), repr(error)]
    assert len(seen) == 6
    assert not any("hunter2" in text for text in seen)


def test_a_certificate_proves_once_and_for_all_and_only_for_its_connection() -> None:
    """Asked of Apache's server: with a certificate an auth packet of x509 is answered with 0, without one the
    connection ends."""
    mine = (Identity("ip", "127.0.0.1"), Identity("x509", "CN=me"))
    answer = answer_auth(-4, packet(b"x509", b""), mine, ALL)
    assert (answer.why, answer.identities) == ("", mine)
    assert answer_auth(-4, packet(b"x509", b"CN=me"), mine[:1], ALL).why
    assert answer_auth(-4, packet(b"x509", b""), mine, RULES).why  # switched off
