"""What a znode is when it is not in a tree: what exports hold, and what copies carry."""

from dataclasses import dataclass

from zabpy.model import Acls, Stat


@dataclass(slots=True)
class Record:
    """``path``: from the top of what was read, beginning with a slash; empty for the top itself."""

    path: str
    data: bytes
    #: None: not known.
    acl: Acls | None = None
    #: Servers tell no client which znodes are containers or have a lifetime; whoever writes a file by hand may say so.
    is_container: bool = False
    ttl_ms: int | None = None
    #: The session of an ephemeral one.
    owner: int | None = None
    stat: Stat | None = None

    @classmethod
    def of(cls, path: str, data: bytes, stat: Stat, acl: Acls | None) -> "Record":
        return cls(path, data, acl, owner=stat.ephemeral_owner or None, stat=stat)
