"""acl, auth and quota."""

import pytest
from hypothesis import given, strategies as st

from shell.acls import acl_text, in_words, parse_acl
from shell.problems import UsageError
from shell.quotas import Numbers
from shell.shell import Rules
from tests.client.conftest import TESTED_ON
from zabpy.bench.systems import Servers
from zabpy.model import Acl

from .conftest import Run, runner
from .test_change_writing import Answers

BOB = "digest:bob:kHJ4a+HdR+Z1VqfR4RZnqQJX0Fk="


def test_acls_as_text() -> None:
    text = "world:anyone:r,digest:bob:a=b:cdrwa,x509:CN=me,O=us:rw,auth::a,ip:::1:c"
    acls = parse_acl(text)
    assert [(acl.scheme, acl.id) for acl in acls] == [
        ("world", "anyone"),
        ("digest", "bob:a=b"),
        ("x509", "CN=me,O=us"),
        ("auth", ""),
        ("ip", "::1"),
    ]
    assert acl_text(acls) == text
    assert in_words(acls[0]) == "anyone may read"
    assert in_words(acls[2]) == "the certificate of CN=me,O=us may read and write"
    assert in_words(acls[1]) == "user bob with their password may do all"


@pytest.mark.parametrize("text", ["", "world", "world:anyone", "world:anyone:x", "world:anyone:", "a:b:r,c", ":b:r"])
def test_what_is_no_acl(text: str) -> None:
    with pytest.raises(UsageError):
        parse_acl(text)


@given(st.lists(st.builds(Acl, st.integers(1, 31), st.sampled_from(["digest", "ip"]), st.text("ab:=1")), min_size=1))
def test_acls_are_read_as_they_were(acls: list[Acl]) -> None:
    assert parse_acl(acl_text(tuple(acls))) == tuple(acls)


def test_acl_is_shown_and_set(zabsh: Run) -> None:
    told = zabsh("create /a", "acl /a", "acl /a world:anyone:cra", "acl /a", "acl -s -v 1 /a world:anyone:cdrwa")
    assert told.lines[1:5] == [
        "ENTRY               MEANS",
        "world:anyone:cdrwa  anyone may do all",
        "ENTRY             MEANS",
        "world:anyone:cra  anyone may create, read and administer",
    ]
    assert "aversion        2" in told.lines
    told = zabsh("create /b", "acl -v 3 /b world:anyone:cra", "acl /b nope", "acl /b foo:bar:r", "acl /nope")
    assert [line for line in told.err.splitlines() if not line.startswith("usage")][:2] == [
        "acl: /b: has another version than the one given; somebody changed it",
        "acl: nope: expected SCHEME:ID:PERMISSIONS with letters of cdrwa, such as world:anyone:cdrwa",
    ]
    assert zabsh("create /c", "acl /c world:anyone:r", rules=Rules(read_only=True)).status == 4


def test_entries_are_added_and_removed(zabsh: Run) -> None:
    told = zabsh(
        "create /a",
        f"acl /a --add {BOB}:r",
        f"acl /a --add {BOB}:w --remove world:anyone:w",
        "acl /a",
        f"acl /a --remove {BOB}",
        "acl /a",
        "acl /a --remove world:anyone:cdra",
        format="raw",
    )
    assert told.lines == ["/a", "world:anyone:cdra", f"{BOB}:rw", "world:anyone:cdra"]
    assert told.err.startswith("acl: /a: nobody would be left who may do anything")
    assert zabsh(f"acl /a --remove {BOB}").err.startswith(f"acl: {BOB}: no entry for it in world:anyone")


def test_acls_of_a_tree(zabsh: Run) -> None:
    told = zabsh(
        "create -p /a/b/c", "create /a/no '' ip:203.0.113.1:r", "acl -R /a world:anyone:cdra", rules=Rules(yes=True)
    )
    assert (told.status, told.err) == (
        7,
        "/a/no: permission denied: set_acl needs ADMIN on /a/no\nacl: 3 of 4 ACLs were set\n",
    )
    told = zabsh("create -p /b/c", "acl -R /b world:anyone:cdra", "acl -R /b", format="raw", rules=Rules(yes=True))
    assert told.lines[1:] == ["/b", "/b/c"]


def test_auth_asks_for_the_password(zabsh: Run) -> None:
    asker = Answers(secret="secret")
    told = zabsh("auth digest bob", "create /a '' auth::cdrwa", "acl /a", "auth --digest bob", "auth", asker=asker)
    assert asker.asked == ["password of bob", "password of bob"]
    assert "secret" not in told.out + told.err
    assert "user bob with their password may do all" in told.out
    assert told.lines[3].startswith("digest:bob:") and told.lines[3].endswith(":cdrwa")
    assert told.lines[2].split()[0] == told.lines[3]
    assert any(line.split() == ["digest", "bob"] for line in told.lines)
    assert zabsh("auth digest").err.startswith("auth: Missing argument 'USER'")
    assert zabsh("auth nope x").status == 4


def test_who_is_nobody_is_told_what_is_missing(zabsh: Run) -> None:
    told = zabsh("addauth digest a:b", "create /a x auth::cdrwa")
    assert told.status == 0
    told = zabsh("create /b x ip:203.0.113.1:r", "set /b y", "create /b/c", "acl /b world:anyone:r")
    assert told.err.splitlines() == [
        "set: /b: permission denied: set needs WRITE on /b",
        "create: /b/c: permission denied: create needs CREATE on /b",
        "acl: /b: permission denied: set_acl needs ADMIN on /b",
    ]


def test_quotas(zabsh: Run) -> None:
    told = zabsh(
        "create -p /q/a xyz",
        "quota /q -n 3 -b 10k",
        "quota /q -N 5",
        "create /q/b 12345",
        "quota",
        "quota /q/a -n 1",
        format="ndjson",
    )
    assert told.lines[-1] == (
        '{"path": "/q", "znodes": 3, "znodes_max": "3 soft, 5 hard", "bytes": 8, "bytes_max": "10240 soft",'
        ' "znodes_soft": 3, "znodes_hard": 5, "bytes_soft": 10240, "bytes_hard": null}'
    )
    assert "there is a quota above it, at /" in told.err and told.status == 3
    told = zabsh("quota /q -n 3 -N 4", "quota /q --delete -n 0 -b 0", "quota /q", "quota /q --delete", "quota /q")
    assert "4 hard" in told.out and told.err == "quota: /q: no quota at or below it\n"
    assert zabsh("quota /q --delete", "quota /nope -n 1").err == "quota: /q: no quota\nquota: /nope: no such znode\n"


def test_quota_texts() -> None:
    for each in (Numbers(), Numbers(1, 2), Numbers(-1, -1, 3), Numbers(1, 2, 3, 4)):
        assert Numbers.read(each.packed()) == each
    assert Numbers(-1, -1, 3, 4).packed() == b"count=-1,bytes=-1=;byteHardLimit=4;countHardLimit=3"


def test_servers_that_enforce_quotas_refuse_what_is_beyond() -> None:
    with Servers(TESTED_ON, 1, more="enforceQuota=true\n") as servers:
        zabsh = runner(f"127.0.0.1:{servers.client_ports[1]}")
        told = zabsh(
            "create /q", "quota /q -N 2 -B 10", "create /q/a 123", "create /q/b", "set /q/a 12345678901", "quota /q"
        )
    assert told.lines[-1].split() == ["/q", "2", "2", "hard", "3", "10", "hard"]
    assert told.err.splitlines() == [
        "create: /q/b: a quota does not allow it; quota / shows them",
        "set: /q/a: a quota does not allow it; quota / shows them",
    ]
