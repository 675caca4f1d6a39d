"""A stat as the fields that every format shows."""

from typing import Any

from zabpy.model import Stat


def stat_fields(stat: Stat) -> dict[str, Any]:
    """Zxids and session ids as ``0x...``, times in ms since 1970, sizes in bytes."""
    return {
        "czxid": hex(stat.czxid),
        "mzxid": hex(stat.mzxid),
        "pzxid": hex(stat.pzxid),
        "ctime_ms": stat.ctime_ms,
        "mtime_ms": stat.mtime_ms,
        "version": stat.version,
        "cversion": stat.cversion,
        "aversion": stat.aversion,
        "ephemeral_owner": hex(stat.ephemeral_owner & 2**64 - 1),
        "data_length": stat.data_length,
        "num_children": stat.num_children,
    }
