"""Permissions, identities and access control lists."""

import base64
import hashlib
from ipaddress import ip_network
from typing import NamedTuple

from .errors import BadArgumentsError

READ, WRITE, CREATE, DELETE, ADMIN = 1, 2, 4, 8, 16
ALL = READ | WRITE | CREATE | DELETE | ADMIN
#: As ZooKeeper's shell writes them.
LETTERS = {"r": READ, "w": WRITE, "c": CREATE, "d": DELETE, "a": ADMIN}


class Identity(NamedTuple):
    """Who a connection is, by one scheme: ``("digest", "user:hash")``, ``("ip", "10.0.0.7")``, ``("super", "")``."""

    scheme: str
    id: str


class Acl(NamedTuple):
    """One entry of an access control list: these permission bits for whoever matches ``scheme:id``."""

    perms: int
    scheme: str
    id: str


Acls = tuple[Acl, ...]

OPEN_ACL: Acls = (Acl(ALL, "world", "anyone"),)
READ_ACL: Acls = (Acl(READ, "world", "anyone"),)
CREATOR_ALL_ACL: Acls = (Acl(ALL, "auth", ""),)


def digest_id(user_and_password: str, algorithm: str = "sha1") -> str:
    """``user:hash`` for ``user:password``, as it stands in ACLs."""
    hashed = hashlib.new(algorithm, user_and_password.encode(), usedforsecurity=False).digest()
    return f"{user_and_password.partition(':')[0]}:{base64.b64encode(hashed).decode('ascii')}"


def digest_acl(user: str, password: str, perms: str | int = ALL, *, algorithm: str = "sha1") -> Acl:
    """For whoever shows this password with ``add_auth("digest", "user:password")``.

    Args:
        perms: letters of ``rwcda``, or bits.
        algorithm: as hashlib calls it, where the servers have another one than ZooKeeper's default.
    """
    if ":" in user or not user:
        raise BadArgumentsError(f"user {user!r}: the scheme digest has names without a colon, and not empty")
    return Acl(perms_of(perms), "digest", digest_id(f"{user}:{password}", algorithm))


def world_acl(perms: str | int = ALL) -> Acl:
    """For everybody."""
    return Acl(perms_of(perms), "world", "anyone")


def creator_acl(perms: str | int = ALL) -> Acl:
    """For each identity that the connection has proved when it sends this: the server puts those into its place."""
    return Acl(perms_of(perms), "auth", "")


def sasl_acl(user: str, perms: str | int = ALL) -> Acl:
    """For whoever has logged in by SASL under this name."""
    return Acl(perms_of(perms), "sasl", user)


def x509_acl(subject: str, perms: str | int = ALL) -> Acl:
    """For whoever has a certificate of this subject, in RFC 2253's order: ``CN=me,O=us``."""
    return Acl(perms_of(perms), "x509", subject)


def ip_acl(address: str, perms: str | int = ALL) -> Acl:
    """For connections from this address, or, as ``10.0.0.0/8``, from these."""
    try:
        ip_network(address, strict=False)
    except ValueError:
        raise BadArgumentsError(f"{address!r} is neither an IP address nor such a network") from None
    return Acl(perms_of(perms), "ip", address)


def perms_of(perms: str | int) -> int:
    """Bits of letters. Raises `BadArgumentsError` for what are none."""
    if isinstance(perms, int):
        if not 0 <= perms <= ALL:
            raise BadArgumentsError(f"permissions {perms}: expected bits from 0 to {ALL}")
        return perms
    if not perms or set(perms) - LETTERS.keys():
        raise BadArgumentsError(f"permissions {perms!r}: expected letters of rwcda")
    return sum(LETTERS[letter] for letter in set(perms))
