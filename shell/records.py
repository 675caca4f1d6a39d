"""What a znode is when it is not in a tree: what exports hold, and what copies carry."""

from dataclasses import dataclass

from zabpy.model import Acls, Stat

from .stats import nature


@dataclass(slots=True)
class Record:
    """``path``: from the top of what was read, beginning with a slash; empty for the top itself."""

    path: str
    data: bytes
    #: None: not known.
    acl: Acls | None = None
    is_container: bool = False
    ttl_ms: int | None = None
    #: The session of an ephemeral one.
    owner: int | None = None
    stat: Stat | None = None

    @classmethod
    def of(cls, path: str, data: bytes, stat: Stat, acl: Acls | None) -> "Record":
        if stat.ephemeral_owner == 0:
            return cls(path, data, acl, stat=stat)
        kind, owner, ttl_ms = nature(stat)
        return cls(path, data, acl, kind == "container", ttl_ms, owner, stat)
