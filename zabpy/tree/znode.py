"""Znode: one place in the tree."""

from zabpy.model import EPHEMERAL, STAT_STRUCT, Acls, Stat

_pack = STAT_STRUCT.pack


class Znode:
    """The stored state of a znode. Only `Tree.apply` writes to one; all others read.

    ``creations`` counts the children ever created here. What clients see as cversion is derived from it:
    creations plus deletions, which is twice the creations less the children still there.
    ``children`` is None rather than empty, for most znodes have none. ``owner`` is 0 unless ``kind`` is EPHEMERAL.
    ``reply`` belongs to the layer above, which may keep an encoded answer there; the tree sets it to None whenever
    the data or anything in the visible Stat has changed.
    """

    __slots__ = (
        "data",
        "acl",
        "kind",
        "owner",
        "ttl_ms",
        "czxid",
        "mzxid",
        "ctime_ms",
        "mtime_ms",
        "version",
        "creations",
        "aversion",
        "pzxid",
        "children",
        "reply",
    )

    def __init__(
        self,
        data: bytes | None,
        acl: Acls,
        kind: int,
        owner: int,
        ttl_ms: int,
        czxid: int,
        mzxid: int,
        ctime_ms: int,
        mtime_ms: int,
        version: int = 0,
        creations: int = 0,
        aversion: int = 0,
        pzxid: int = 0,
    ) -> None:
        self.data = data
        self.acl = acl
        self.kind = kind
        self.owner = owner
        self.ttl_ms = ttl_ms
        self.czxid = czxid
        self.mzxid = mzxid
        self.ctime_ms = ctime_ms
        self.mtime_ms = mtime_ms
        self.version = version
        self.creations = creations
        self.aversion = aversion
        self.pzxid = pzxid
        self.children: dict[str, None] | None = None
        self.reply: bytes | None = None

    def stat(self) -> Stat:
        """What a client sees of it besides the data."""
        children = len(self.children) if self.children else 0
        return Stat(
            self.czxid,
            self.mzxid,
            self.ctime_ms,
            self.mtime_ms,
            self.version,
            _wrapped(2 * self.creations - children),
            self.aversion,
            self.owner if self.kind == EPHEMERAL else 0,
            len(self.data) if self.data else 0,
            children,
            self.pzxid,
        )

    def packed_stat(self) -> bytes:
        """`stat`, as the 68 bytes on the wire, without making a Stat first."""
        children = len(self.children) if self.children else 0
        return _pack(
            self.czxid,
            self.mzxid,
            self.ctime_ms,
            self.mtime_ms,
            self.version,
            _wrapped(2 * self.creations - children),
            self.aversion,
            self.owner if self.kind == EPHEMERAL else 0,
            len(self.data) if self.data else 0,
            children,
            self.pzxid,
        )


def _wrapped(number: int) -> int:
    # The field has 32 bits and twice the counter can have more; ZooKeeper lets it wrap, and so do we.
    return number if -0x80000000 <= number <= 0x7FFFFFFF else (number + 0x80000000 & 0xFFFFFFFF) - 0x80000000
