"""Permissions, identities and access control lists."""

from typing import NamedTuple

READ, WRITE, CREATE, DELETE, ADMIN = 1, 2, 4, 8, 16
ALL = READ | WRITE | CREATE | DELETE | ADMIN


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
