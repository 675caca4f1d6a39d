"""Quotas: how many znodes and bytes a subtree may have and has. Rules: ZooKeeper's.

They live in the tree itself: for the path P in ``/zookeeper/quota<P>/zookeeper_limits``, whose being there makes the
quota active, and ``…/zookeeper_stats``, whose text every replica rewrites in place as it applies what happens below P.
That is no txn: version and mzxid stay, no watch fires. What is rewritten depends only on the tree and the txn, and
the texts are in the rows of a snapshot, taken at one zxid. So replicas stay equal, whichever way each came to its
state, and nothing is counted anew when a snapshot is loaded (ZooKeeper must, for its snapshots are fuzzy).
"""

import re
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from .znode import Znode

QUOTA_PATH: Final = "/zookeeper/quota"
_LIMITS: Final = "/zookeeper_limits"
_STATS: Final = "/zookeeper_stats"
#: A text that is longer was not written by a client that means quotas; it counts as unreadable.
_TEXT_BYTES_MAX: Final = 1000
#: Subtrees whose count is kept.
_KNOWN_MAX: Final = 1_000
_SEPARATORS = re.compile("[,;]+")
_NUMBER = re.compile("[+-]?[0-9]{1,19}")
_LONG_MAX = (1 << 63) - 1


class Text(NamedTuple):
    """What a limits or a stats text says; -1 is not set. ``more`` are keys that mean nothing here, kept as they are."""

    znodes: int = -1
    data_bytes: int = -1
    znodes_hard: int = -1
    data_bytes_hard: int = -1
    more: tuple[tuple[str, int], ...] = ()

    def packed(self) -> bytes:
        """As ZooKeeper writes it: an ``=`` before the first ``;``, for parsers older than 3.7."""
        keys = dict(self.more)
        if self.znodes_hard != -1:
            keys["countHardLimit"] = self.znodes_hard
        if self.data_bytes_hard != -1:
            keys["byteHardLimit"] = self.data_bytes_hard
        tail = "=" + "".join([f";{key}={keys[key]}" for key in sorted(keys)]) if keys else ""
        return f"count={self.znodes},bytes={self.data_bytes}{tail}".encode()


class Exceeded(NamedTuple):
    """A change would take the usage of a quota beyond its limit; ``what`` is ``count`` or ``bytes``."""

    path: str
    what: str
    usage: int
    limit: int
    hard: bool


class Usage(NamedTuple):
    """All quotas below one name of the root together. -1 is no limit; the hard limit, where there is one."""

    znodes_limit: int
    data_bytes_limit: int
    znodes: int
    data_bytes: int


def read_text(data: bytes | None) -> Text | None:
    """None: it cannot be read. Takes what ZooKeeper's own parser takes, down to empty pieces and numbers."""
    if data is None or len(data) > _TEXT_BYTES_MAX:
        return None
    keys: dict[str, int] = {}
    pairs = _SEPARATORS.split(data.decode("utf-8", "replace"))
    while pairs and not pairs[-1]:
        pairs.pop()
    for pair in pairs:
        pieces = pair.split("=")
        while pieces and not pieces[-1]:
            pieces.pop()
        if len(pieces) < 2:
            return None
        number = pieces[1] or "-1"
        if not _NUMBER.fullmatch(number) or not -_LONG_MAX - 1 <= int(number) <= _LONG_MAX:
            return None
        keys[pieces[0]] = int(number)
    count, bytes_used = keys.pop("count", -1), keys.pop("bytes", -1)
    count_hard, bytes_hard = keys.pop("countHardLimit", -1), keys.pop("byteHardLimit", -1)
    return Text(count, bytes_used, count_hard, bytes_hard, tuple(keys.items()))


class Quotas:
    """The active quotas of a tree. The tree tells of every change while there is anything below `QUOTA_PATH`, or in
    ``known``.

    Args:
        nodes: the tree's znodes, by path.
        rewrite: gives a stats znode another text.
    """

    def __init__(self, nodes: dict[str, Znode], rewrite: Callable[[str, Znode, bytes], None]) -> None:
        self._nodes, self._rewrite = nodes, rewrite
        #: Paths with an active quota.
        self.paths: set[str] = set()
        #: Znodes and bytes below paths that were counted before, kept up from then on; whether the quota is still
        #: there or not. Else who deletes and creates stats again and again would have a large tree walked each time.
        self.known: dict[str, list[int]] = {}

    def load(self) -> None:
        """Find the active ones in a tree that was read from rows."""
        self.paths.clear()
        self.known.clear()
        waiting = [QUOTA_PATH]
        while waiting:
            above = waiting.pop()
            waiting += [f"{above}/{name}" for name in self._nodes[above].children or ()]
            if above.endswith(_LIMITS) and (path := _path_of(above, _LIMITS)):
                self.paths.add(path)

    def created(self, path: str, size: int) -> None:
        """This znode is there now, with ``size`` bytes of data."""
        if self.known:
            self._count(path, 1, size)
        if path.startswith(QUOTA_PATH):
            if limited := _path_of(path, _LIMITS):
                self.paths.add(limited)
            elif counted := _path_of(path, _STATS):
                self._recount(counted)
        if self.paths and (above := self.find(path)):
            self._update(above, 1, size)

    def deleted(self, path: str, size: int) -> None:
        """This znode, which had ``size`` bytes of data, is gone."""
        if self.known:
            self._count(path, -1, -size)
        if path.startswith(QUOTA_PATH):
            self.paths.discard(_path_of(path, _LIMITS))
        if self.paths and (above := self.find(path)):
            self._update(above, -1, -size)

    def changed(self, path: str, more: int) -> None:
        """The data of this znode has grown by ``more`` bytes."""
        if self.known:
            self._count(path, 0, more)
        if self.paths and (above := self.find(path)):
            self._update(above, 0, more)

    def find(self, path: str) -> str:
        """The path whose quota counts for this one: the deepest, itself or above; empty if there is none."""
        while path not in self.paths:
            path = path[: path.rindex("/")]
            if not path:
                return ""
        return path

    def exceeded(self, path: str, count: int, more: int) -> Iterator[Exceeded]:
        """The limits that a change at ``path`` by ``count`` znodes and ``more`` bytes goes beyond, by the usage that is
        applied. Where there is a hard limit, the soft one of its kind is not looked at."""
        above = self.find(path) if self.paths else ""
        if not above:
            return
        limits, stats = self._text(above, _LIMITS), self._text(above, _STATS)
        if limits is None or stats is None:
            return
        for what, diff, used, soft, hard in (
            ("count", count, stats.znodes, limits.znodes, limits.znodes_hard),
            ("bytes", more, stats.data_bytes, limits.data_bytes, limits.data_bytes_hard),
        ):
            limit = hard if hard > -1 else soft
            if diff and limit > -1 and used + diff > limit:
                yield Exceeded(above, what, used + diff, limit, hard > -1)

    def by_namespace(self) -> dict[str, Usage]:
        """Limits and usage by the first name of the path, summed up."""
        found: dict[str, Usage] = {}
        for path in sorted(self.paths):
            name = path.split("/", 2)[1]
            limits, stats = self._text(path, _LIMITS) or Text(), self._text(path, _STATS) or Text()
            told = (
                limits.znodes_hard if limits.znodes_hard > -1 else limits.znodes,
                limits.data_bytes_hard if limits.data_bytes_hard > -1 else limits.data_bytes,
                stats.znodes,
                stats.data_bytes,
            )
            before = found.get(name, Usage(-1, -1, -1, -1))
            found[name] = Usage(*(a if b == -1 else b if a == -1 else a + b for a, b in zip(before, told)))
        return found

    def _text(self, path: str, name: str) -> Text | None:
        znode = self._nodes.get(f"{QUOTA_PATH}{path}{name}")
        return None if znode is None else read_text(znode.data)

    def _update(self, path: str, count: int, more: int) -> None:
        """Cost: about 4 µs. A text that cannot be read, which a client may have put there, is counted anew."""
        where = f"{QUOTA_PATH}{path}{_STATS}"
        znode = self._nodes.get(where)
        if znode is None:
            return
        text = read_text(znode.data)
        if text is None:
            self._recount(path)
        else:
            text = text._replace(znodes=_long(text.znodes + count), data_bytes=_long(text.data_bytes + more))
            self._rewrite(where, znode, text.packed())

    def _recount(self, path: str) -> None:
        """Walks the subtree, unless it was counted before: 0.2 µs a znode and more."""
        where = f"{QUOTA_PATH}{path}{_STATS}"
        if path not in self.known:
            count, size = self._walk(path)
            if not path.startswith("/zookeeper"):  # there stand texts that are rewritten without a word
                while len(self.known) >= _KNOWN_MAX:
                    del self.known[next(iter(self.known))]
                self.known[path] = [count, size]
        else:
            count, size = self.known[path]
        self._rewrite(where, self._nodes[where], Text(count, size).packed())

    def _count(self, path: str, count: int, more: int) -> None:
        """Keep up what is known of the path and those above it."""
        while path:
            known = self.known.get(path)
            if known is not None:
                known[0] += count
                known[1] += more
            path = path[: path.rindex("/")]

    def _walk(self, path: str) -> tuple[int, int]:
        nodes = self._nodes
        count = size = 0
        waiting = [path] if path in nodes else []
        while waiting:
            above = waiting.pop()
            znode = nodes[above]
            count += 1
            if (
                znode.data and znode.mzxid
            ):  # else no txn wrote it: /zookeeper/config, which differs from server to server
                size += len(znode.data)
            if znode.children:
                waiting += [f"{above}/{name}" for name in znode.children]
        return count, size


def _path_of(path: str, name: str) -> str:
    """The P of ``/zookeeper/quota<P><name>``; empty if it is no such path, and for the root, which has no quota."""
    if path.endswith(name) and path.startswith(f"{QUOTA_PATH}/"):
        return path[len(QUOTA_PATH) : -len(name)]
    return ""


def _long(number: int) -> int:
    # As Java's long, since what is there already may be anything.
    return (number + _LONG_MAX + 1 & 0xFFFFFFFFFFFFFFFF) - _LONG_MAX - 1
