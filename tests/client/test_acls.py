"""The ACL entries that users make, as ZooKeeper has them."""

import pytest

import zabpy
from zabpy.model import Acl


def test_the_vectors_of_zookeeper() -> None:
    assert zabpy.digest_acl("super", "test").id == "super:D/InIHSb7yEEbrWz8b9l71RjZJU="
    assert zabpy.digest_acl("user1", "12345").id == "user1:+owfoSBn/am19roBPzR1/MfCblE="


def test_entries() -> None:
    assert zabpy.world_acl("r") == Acl(1, "world", "anyone")
    assert zabpy.creator_acl() == Acl(31, "auth", "")
    assert zabpy.sasl_acl("bob", "cdrwa") == Acl(31, "sasl", "bob")
    assert zabpy.x509_acl("CN=me", "rw") == Acl(3, "x509", "CN=me")
    assert zabpy.ip_acl("10.0.0.0/8", 4) == Acl(4, "ip", "10.0.0.0/8")
    assert zabpy.digest_acl("bob", "a:b", "d").scheme == "digest"


@pytest.mark.parametrize("perms", ["", "x", "rwz", "R", -1, 32])
def test_permissions_that_are_none(perms: str | int) -> None:
    with pytest.raises(zabpy.BadArgumentsError, match="permissions"):
        zabpy.world_acl(perms)


def test_names_and_addresses_that_are_none() -> None:
    with pytest.raises(zabpy.BadArgumentsError, match="colon") as error:
        zabpy.digest_acl("a:b", "hunter2")
    assert "hunter2" not in str(error.value)
    with pytest.raises(zabpy.BadArgumentsError):
        zabpy.ip_acl("10.0.0")
