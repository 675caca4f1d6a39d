"""Schemes, and that no password is ever shown."""

import struct

import pytest

from tests.pipeline.conftest import ANYBODY, parse
from zabpy.model import AuthFailedError, Identity
from zabpy.pipeline import IDENTITIES_CHARS_MAX, SUPER, answer_auth, authenticate, digest_id


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
    assert authenticate("digest", text.encode(), ANYBODY) == (*ANYBODY, Identity("digest", id))


def test_identities_accumulate_and_none_comes_twice() -> None:
    once = authenticate("digest", b"a:b", ANYBODY)
    assert authenticate("digest", b"a:b", once) == once
    assert len(authenticate("digest", b"c:d", once)) == 3
    assert authenticate("ip", b"anything", once) == once


def test_digest_never_fails() -> None:
    for auth in (b"", b"no colon", b"a:b:c", b"\xff\xfe", b":"):
        assert authenticate("digest", auth, ())[0].scheme == "digest"
    assert answer_auth(-4, packet(b"digest", None), ANYBODY).ok


def test_the_super_digest_adds_super() -> None:
    digest = digest_id("super:test")
    assert authenticate("digest", b"super:test", (), digest) == (SUPER, Identity("digest", digest))
    assert SUPER not in authenticate("digest", b"super:wrong", (), digest)
    assert SUPER not in authenticate("digest", b"super:test", (), None)


@pytest.mark.parametrize("scheme", ["world", "auth", "sasl", "x509", "super", "", "nonsense"])
def test_other_schemes_fail_and_the_connection_ends(scheme: str) -> None:
    with pytest.raises(AuthFailedError):
        authenticate(scheme, b"secret", ANYBODY)
    answer = answer_auth(17, packet(scheme.encode(), b"secret"), ANYBODY)
    assert parse(answer.frame) == (17, 0, -115, b"")
    assert answer == (answer.frame, ANYBODY, False)


def test_a_packet_cut_short_costs_nobody_the_connection() -> None:
    answer = answer_auth(-4, b"\0\0", ANYBODY)
    assert (parse(answer.frame).err, answer.ok) == (-5, True)


def test_identities_are_bounded_together() -> None:
    identities = ANYBODY
    for number in range(400):
        identities = authenticate("digest", b"user%03d:secret" % number, identities)
    with pytest.raises(AuthFailedError):
        authenticate("digest", b"u" * (IDENTITIES_CHARS_MAX - 400 * 36), identities)
    with pytest.raises(AuthFailedError):
        authenticate("digest", b"u" * IDENTITIES_CHARS_MAX, ())


def test_a_password_is_in_no_text_of_what_comes_out() -> None:
    seen = []
    for scheme in (b"digest", b"world"):
        seen.append(repr(answer_auth(-4, packet(scheme, b"user:hunter2"), ANYBODY)))
    try:
        authenticate("sasl", b"user:hunter2", ())
    except AuthFailedError as error:
        seen += [str(error), repr(error)]
    assert len(seen) == 4
    assert not any("hunter2" in text for text in seen)


def test_a_certificate_proves_once_and_for_all_and_only_for_its_connection() -> None:
    """Asked of Apache's server: with a certificate an auth packet of x509 is answered with 0, without one the
    connection ends."""
    mine = (Identity("ip", "127.0.0.1"), Identity("x509", "CN=me"))
    answer = answer_auth(-4, packet(b"x509", b""), mine)
    assert answer.ok
    assert answer.identities == mine
    assert not answer_auth(-4, packet(b"x509", b"CN=me"), mine[:1]).ok
