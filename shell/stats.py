"""What a stat tells, as fields of JSON: ZooKeeper's names in snake case; zxids and session ids as ``"0x…"``."""

import re
from typing import Any, Literal, NamedTuple

from zabpy.model import Stat

Kind = Literal["persistent", "ephemeral", "container", "ttl"]

#: ``ephemeral_owner`` of a container; of a znode with a lifetime the top byte is 0xff, and the low five are the ms.
#: Source: ZooKeeper's EphemeralType.
CONTAINER_OWNER = -(1 << 63)
TTL_MS_MAX = 0xFF_FFFF_FFFF
IN_SEQUENCE = re.compile(r".*-?\d{10}\Z", re.DOTALL)


class Nature(NamedTuple):
    """What kind of znode it is. ``owner``: the session of an ephemeral, else None."""

    kind: Kind
    owner: int | None = None
    ttl_ms: int | None = None


def nature(stat: Stat) -> Nature:
    owner = stat.ephemeral_owner
    if owner == 0:
        return Nature("persistent")
    if owner == CONTAINER_OWNER:
        return Nature("container")
    if (owner >> 40) & 0xFF_FFFF == 0xFF_0000:
        return Nature("ttl", None, owner & TTL_MS_MAX)
    return Nature("ephemeral", owner)


def mode(name: str, stat: Stat) -> str:
    """Three letters: ``d`` has children; ``e`` ephemeral, ``c`` container, ``t`` has a lifetime; ``s`` its name ends as
    those of znodes in sequence do."""
    kind = nature(stat).kind
    letters = "d" if stat.num_children else "-", "-" if kind == "persistent" else kind[0]
    return "".join(letters) + ("s" if IN_SEQUENCE.match(name) else "-")


def hexed(number: int) -> str:
    """A zxid or a session id."""
    return f"{number & 0xFFFF_FFFF_FFFF_FFFF:#x}"


def stat_fields(stat: Stat) -> dict[str, Any]:
    kind, owner, ttl_ms = nature(stat)
    return {
        "czxid": hexed(stat.czxid),
        "mzxid": hexed(stat.mzxid),
        "pzxid": hexed(stat.pzxid),
        "ctime_ms": stat.ctime_ms,
        "mtime_ms": stat.mtime_ms,
        "version": stat.version,
        "cversion": stat.cversion,
        "aversion": stat.aversion,
        "ephemeral_owner": None if owner is None else hexed(owner),
        "data_length": stat.data_length,
        "num_children": stat.num_children,
        "kind": kind,
        "ttl_ms": ttl_ms,
    }
