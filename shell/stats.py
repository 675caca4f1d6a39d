"""What a stat tells, as fields of JSON: ZooKeeper's names in snake case; zxids and session ids as ``"0x…"``."""

import re
from typing import Any

from zabpy.model import Stat

IN_SEQUENCE = re.compile(r".*-?\d{10}\Z", re.DOTALL)


def mode(name: str, stat: Stat) -> str:
    """Three letters: ``d`` has children; ``e`` ephemeral; ``s`` its name ends as those of znodes in sequence do.
    Servers tell nobody what is a container or has a lifetime."""
    letters = "d" if stat.num_children else "-", "e" if stat.ephemeral_owner else "-"
    return "".join(letters) + ("s" if IN_SEQUENCE.match(name) else "-")


def hexed(number: int) -> str:
    """A zxid or a session id."""
    return f"{number & 0xFFFF_FFFF_FFFF_FFFF:#x}"


def stat_fields(stat: Stat) -> dict[str, Any]:
    return {
        "czxid": hexed(stat.czxid),
        "mzxid": hexed(stat.mzxid),
        "pzxid": hexed(stat.pzxid),
        "ctime_ms": stat.ctime_ms,
        "mtime_ms": stat.mtime_ms,
        "version": stat.version,
        "cversion": stat.cversion,
        "aversion": stat.aversion,
        "ephemeral_owner": hexed(stat.ephemeral_owner) if stat.ephemeral_owner else None,
        "data_length": stat.data_length,
        "num_children": stat.num_children,
    }


#: In the place of a stat that may not be read.
UNKNOWN: dict[str, Any] = dict.fromkeys(stat_fields(Stat(*[0] * 11)))
