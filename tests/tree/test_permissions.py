"""Who may do what, and which lists are stored."""

import time

import pytest

from zabpy.model import (
    ADMIN,
    ALL,
    CREATOR_ALL_ACL,
    OPEN_ACL,
    READ,
    READ_ACL,
    WRITE,
    Acl,
    Acls,
    Identity,
    InvalidAclError,
    MarshallingError,
)
from zabpy.tree import ACLS_ARE_OFF, ANY_SASL_USER, DEFAULT_SCHEMES, allowed, masked, normalize
from zabpy.tree.permissions import _Indexes

BOB = Identity("digest", "bob:hash")
HERE = Identity("ip", "10.1.2.3")
THERE = Identity("ip", "2001:db8::7")
EVERY_SCHEME = DEFAULT_SCHEMES | {"x509", "sasl"}


@pytest.mark.parametrize(
    ("acl", "perms", "identities", "expected"),
    [
        (OPEN_ACL, ADMIN, [], True),
        ((), ADMIN, [], True),  # an empty stored list hinders nobody
        (READ_ACL, READ, [HERE], True),
        (READ_ACL, WRITE, [HERE], False),
        (READ_ACL, WRITE, [HERE, Identity("super", "")], True),
        (READ_ACL, READ | ADMIN, [], True),  # any of the bits
        ([(ADMIN, "world", "anyone")], READ | ADMIN, [], True),
        ([(ALL, "world", "someone")], READ, [Identity("world", "someone")], False),
        ([(ALL, "digest", "bob:hash")], READ, [BOB], True),
        ([(ALL, "digest", "bob:other")], READ, [BOB], False),
        ([(ALL, "ip", "bob:hash")], READ, [BOB], False),
        ([(WRITE, "digest", "bob:hash"), (READ, "digest", "bob:hash")], READ, [HERE, BOB], True),
        ([(READ, "digest", "eve:hash"), (WRITE, "digest", "bob:hash")], READ, [BOB], False),
        ([(ALL, "ip", "10.1.2.3")], READ, [HERE], True),
        ([(ALL, "ip", "10.1.2.4")], READ, [HERE], False),
        ([(ALL, "ip", "10.1.0.0/16")], READ, [HERE], True),
        ([(ALL, "ip", "10.1.2.99/24")], READ, [HERE], True),  # bits behind the length are ignored
        ([(ALL, "ip", "10.1.2.4/31")], READ, [HERE], False),
        ([(ALL, "ip", "0.0.0.0/0")], READ, [HERE], True),
        ([(ALL, "ip", "::/0")], READ, [HERE], False),  # another family
        ([(ALL, "ip", "::/0")], READ, [THERE], True),
        ([(ALL, "ip", "2001:db8::/32")], READ, [THERE], True),
        ([(ALL, "ip", "2001:DB8:0::7")], READ, [THERE], True),  # the same address, written otherwise
        ([(ALL, "ip", "2001:db9::/32")], READ, [THERE], False),
        ([(ALL, "ip", "10.1.2.3")], READ, [Identity("ip", "not an address")], False),
        ([(ALL, "x509", "CN=bob")], READ, [Identity("x509", "CN=bob")], True),
        ([(ALL, "x509", "CN=bob")], READ, [Identity("x509", "CN=eve")], False),
        ([(ALL, "sasl", "bob")], READ, [Identity("sasl", "bob")], True),
        ([(ALL, "sasl", "bob")], READ, [Identity("sasl", "eve")], False),
        ([(ALL, "sasl", "bob")], READ, [Identity("sasl", "super")], True),
        ([(ALL, "sasl", "any")], READ, [Identity("sasl", "bob"), Identity(ANY_SASL_USER, "any")], True),
        ([(ALL, "sasl", "eve")], READ, [Identity("sasl", "bob"), Identity(ANY_SASL_USER, "any")], False),
        ([(ALL, "digest", "any")], READ, [Identity(ANY_SASL_USER, "any")], False),
        ([(ALL, "ip", "9.9.9.9")], READ | ADMIN, [HERE, ACLS_ARE_OFF], True),
        ([(ALL, "ip", "010.001.2.+3")], READ, [HERE], True),  # as Java reads numbers: not octal
        ([(ALL, "ip", "10.1.2.3/00008")], READ, [Identity("ip", "10.9.9.9")], True),
        ([(ALL, "ip", "10.1.2.3/7")], READ, [Identity("ip", "11.9.9.9")], True),
        ([(ALL, "ip", "10.1.2.3/7")], READ, [Identity("ip", "12.0.0.0")], False),
        ([(64, "world", "anyone")], READ, [], False),
        ([(-0x80000000, "world", "anyone")], ALL, [], False),
        ([(0, "world", "anyone")], ALL, [], False),
    ],
)
def test_who_may(
    acl: list[tuple[int, str, str]] | Acls, perms: int, identities: list[Identity], expected: bool
) -> None:
    assert allowed(tuple(Acl(*entry) for entry in acl), perms, identities) is expected


def test_auth_becomes_the_identities_that_were_proved() -> None:
    identities = [HERE, BOB, Identity("super", ""), Identity("sasl", "bob")]

    assert normalize(CREATOR_ALL_ACL, identities, EVERY_SCHEME) == (
        Acl(ALL, "digest", "bob:hash"),
        Acl(ALL, "sasl", "bob"),
    )
    assert normalize(CREATOR_ALL_ACL, identities) == (Acl(ALL, "digest", "bob:hash"),)  # sasl is not switched on
    assert normalize([*CREATOR_ALL_ACL, Acl(ALL, "auth", "x")], [BOB]) == (Acl(ALL, "digest", "bob:hash"),) * 2
    assert normalize([Acl(READ, "auth", "ignored")], [BOB]) == (Acl(READ, "digest", "bob:hash"),)


def test_duplicates_go_and_the_order_stays() -> None:
    one, two = Acl(READ, "ip", "10.0.0.1"), Acl(READ, "world", "anyone")

    assert normalize([one, two, one], []) == (one, two)


def test_unknown_bits_are_stored_as_given() -> None:
    assert normalize([Acl(-1, "world", "anyone")], []) == (Acl(-1, "world", "anyone"),)


def test_the_open_list_is_one_object() -> None:
    assert normalize([Acl(31, "world", "anyone")], []) is OPEN_ACL


@pytest.mark.parametrize(
    ("scheme", "id"),
    [
        ("digest", "bob:hash"),
        ("digest", ":hash"),
        ("digest", "bob:hash:"),
        ("digest", "bob:hash::"),
        ("digest", " : "),
        ("ip", "127.0.0.01"),
        ("ip", "0127.0.0.1"),
        ("ip", "+127.0.0.1"),
        ("ip", "127.0.0.1/+8"),
        ("ip", "127.0.0.1/08"),
        ("ip", "127.0.0.1/000000000000000000000000000000008"),
        ("ip", "10.0.0.1"),
        ("ip", "10.0.0.0/0"),
        ("ip", "10.0.0.0/32"),
        ("ip", "::1"),
        ("ip", "2001:db8::/128"),
        ("x509", "CN=bob, OU=a\\,b, O=c"),
        ("x509", ""),  # as Apache's server does
        ("sasl", "bob"),
        ("sasl", "bob/host@REALM.EXAMPLE"),
        ("sasl", "bob@REALM"),
        ("sasl", ""),
        ("sasl", "bob@"),
        ("sasl", "@"),
        ("sasl", "@R"),
        ("sasl", "a/b"),
        ("sasl", "a/b/c"),
        ("sasl", "/@R"),
        ("sasl", "a/@R"),
        ("sasl", " "),
        ("sasl", "b:ob"),
        ("x509", "cn=a"),
        ("x509", "CN="),
        ("x509", "CN=a,O=b"),
        ("x509", "1.2.3=a"),
        ("x509", "OID.1.2.3=a"),
        ("x509", "CN=a+OU=b"),
        ("x509", 'CN="a,b"'),
        ("x509", "CN=a;O=b"),
        ("x509", "CN=é"),
        ("x509", " CN=a"),
        ("x509", "CN = a"),
        ("x509", "EMAILADDRESS=x@y"),
        ("x509", "DC=a,UID=b"),
        ("x509", "2.5.4.97=#0c0161"),
    ],
)
def test_ids_that_may_stand_in_a_list(scheme: str, id: str) -> None:
    assert normalize([Acl(READ, scheme, id)], [], EVERY_SCHEME) == (Acl(READ, scheme, id),)


@pytest.mark.parametrize(
    ("scheme", "id"),
    [
        ("world", "someone"),
        ("world", ""),
        ("auth", ""),
        ("super", ""),
        ("nonsense", "x"),
        ("", ""),
        (None, "anyone"),
        ("digest", "bob"),
        ("digest", "bob:"),
        ("digest", "bob:a:b"),
        ("ip", "10.0.0"),
        ("ip", "10.0.0.256"),
        ("ip", "10.0.0.1/33"),
        ("ip", "10.0.0.1/-1"),
        ("ip", "10.0.0.1/"),
        ("ip", "10.0.0.1/²"),
        ("ip", "::1/129"),
        ("ip", "10.0.0.1/" + "9" * 10_000),
        ("ip", "host"),
        ("x509", "bob"),
        ("sasl", "a@b@c"),
        ("sasl", "a/b/c@R"),
        ("digest", "::"),
        ("digest", ":"),
        ("digest", "a::b"),
        ("ip", "127.0.0.1/8/8"),
        ("ip", "127.0.0.0.1"),
        ("ip", "a.b.c.d"),
        ("ip", "/8"),
        ("ip", " 127.0.0.1"),
        ("ip", "127.0.0.1 "),
        ("ip", "127.0.0.1/ 8"),
        ("ip", "0x7f.0.0.1"),
        ("ip", "127.1"),
        ("ip", "127.0.0.-1"),
        ("ip", "127.0.0.1/0x8"),
        ("x509", "FOO=a"),
        ("x509", "E=x@y"),
        ("x509", "CN=a,"),
        ("x509", "CN=a,,O=b"),
        ("x509", "=a"),
        ("x509", "CN=a\\"),
        ("x509", "CN=#12345"),
        ("ensemble", "x"),
        ("World", "anyone"),
    ],
)
def test_ids_that_may_not(scheme: str, id: str) -> None:
    with pytest.raises(InvalidAclError):
        normalize([OPEN_ACL[0], Acl(READ, scheme, id)], [HERE], EVERY_SCHEME)


@pytest.mark.parametrize("scheme", ["world", "ip", "digest"])
def test_a_null_id_is_not_to_be_understood(scheme: str) -> None:
    with pytest.raises(MarshallingError):
        normalize([OPEN_ACL[0], Acl(READ, scheme, None)], [HERE], EVERY_SCHEME)  # type: ignore[arg-type]
    normalize([Acl(READ, "auth", None)], [Identity("digest", "a:b")], EVERY_SCHEME)  # type: ignore[arg-type]
    with pytest.raises(InvalidAclError):
        normalize([Acl(READ, "nonsense", None)], [HERE], EVERY_SCHEME)  # type: ignore[arg-type]


@pytest.mark.parametrize("acls", [None, [], ()])
def test_no_list_is_no_list(acls: list[Acl] | None) -> None:
    with pytest.raises(InvalidAclError):
        normalize(acls, [BOB])


def test_sasl_and_x509_must_be_switched_on() -> None:
    for scheme, id in (("sasl", "bob"), ("x509", "CN=bob")):
        with pytest.raises(InvalidAclError):
            normalize([Acl(READ, scheme, id)], [])


def test_hashes_are_masked_and_nothing_else() -> None:
    acl = (Acl(1, "digest", "bob:hash"), Acl(2, "ip", "::1"), Acl(4, "digest", "odd"), Acl(8, "sasl", "a:b"))

    assert masked(acl) == (
        Acl(1, "digest", "bob:x"),
        Acl(2, "ip", "::1"),
        Acl(4, "digest", "odd"),
        Acl(8, "sasl", "a:b"),
    )


@pytest.mark.parametrize("id", ["CN=a" + " " * 100_000 + "\\", '"' * 100_000, "CN=a," * 50_000, "CN=" + "\\" * 99_999])
def test_no_name_takes_longer_than_its_length(id: str) -> None:
    with pytest.raises(InvalidAclError):
        normalize([OPEN_ACL[0], Acl(READ, "x509", id)], [], EVERY_SCHEME)


#: Entries that match nobody here, as many as make a list long.
MANY = [(ALL, "digest", f"nobody:{number}") for number in range(40)]


def test_a_long_list_says_what_a_short_one_says() -> None:
    questions = next(mark for mark in test_who_may.pytestmark if mark.name == "parametrize").args[1]  # type: ignore[attr-defined]
    for acl, perms, identities, expected in questions:
        if acl:
            assert allowed(tuple(Acl(*entry) for entry in (*MANY, *acl)), perms, identities) is expected, acl
            assert allowed(tuple(Acl(*entry) for entry in (*acl, *MANY)), perms, identities) is expected, acl
    assert allowed(tuple(Acl(*entry) for entry in (*MANY, (READ, "world", "anyone"))), READ, [HERE])


@pytest.mark.parametrize("entry", ["10.{0}.{1}.{2}/24", "10.{0}.{1}.{2}", "user{0}{1}{2}:hash"])
def test_a_list_of_thirty_thousand_is_asked_by_a_client_of_many_identities(entry: str) -> None:
    """Both are a client's choice, and a question costs sixty bytes."""
    scheme = "digest" if "user" in entry else "ip"
    acl = tuple(
        Acl(ALL, scheme, entry.format(number >> 16, number >> 8 & 255, number & 255)) for number in range(1, 30_000)
    )
    identities = [Identity("ip", "11.0.0.1"), *(Identity("digest", f"me{number}:hash") for number in range(500))]
    began = time.process_time()
    for _ in range(100):
        assert not allowed(acl, READ, identities)
    assert time.process_time() - began < 5  # 0.1 s, and one by one it is minutes
    assert allowed(acl, READ, [Identity(scheme, entry.format(0, 1, 2))])


def test_of_long_lists_only_so_many_are_kept() -> None:
    indexes = _Indexes(entries_max=100)
    lists = [tuple(Acl(ALL, "digest", f"a{number}:{each}") for each in range(40)) for number in range(5)]
    first = indexes.of(lists[0])
    assert indexes.of(lists[1]) is not first
    assert indexes.of(lists[0]) is first
    indexes.of(lists[2])  # in the place of the second, which was used longest ago
    assert indexes.of(lists[0]) is first
    for acl in lists[1:]:
        indexes.of(acl)
    assert indexes.of(lists[0]) is not first
    long = tuple(Acl(ALL, "digest", f"b{each}:c") for each in range(400))
    assert indexes.of(long) is indexes.of(long)  # one that is longer than all may be together is kept alone
