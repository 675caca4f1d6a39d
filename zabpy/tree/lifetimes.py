"""Lifetimes: containers and TTL znodes, and which of them are due to go. Rules: ZooKeeper's.

An index by deadline, kept with every change, so that the leader's sweep costs what is due and not what there is.
Deadlines are rounded up to whole seconds and share a bucket: deletion may come up to a second late, never early.
"""

from zabpy.model import CONTAINER, TTL

from .znode import Znode

_BUCKET_MS = 1000


class Lifetimes:
    """Due times of the znodes that the leader deletes by itself. Only childless ones are ever due."""

    def __init__(self) -> None:
        self.containers = 0
        self.ttls = 0
        self._emptied = _Buckets()  # containers that had a child once: due at once, all in bucket 0
        self._unused = _Buckets()  # containers that never had one, by creation time
        self._expiring = _Buckets()  # TTL znodes, by mtime + ttl
        self._places: dict[str, tuple[_Buckets, int]] = {}

    def due(self, now_ms: int, never_used_ms: int, count_max: int) -> list[str]:
        """Paths that may be deleted now, at most ``count_max``; they stay due until the tree says they are gone.

        Args:
            now_ms: the leader's wall clock, comparable with mtime.
            never_used_ms: how long a container without any child yet is kept; 0 is for ever.
        """
        paths = self._emptied.upto(0, count_max)
        if never_used_ms > 0:
            paths += self._unused.upto(now_ms - never_used_ms, count_max - len(paths))
        # A deadline itself is not past yet: it is due when now - mtime > ttl.
        return paths + self._expiring.upto(now_ms - 1, count_max - len(paths))

    def is_due(self, path: str, now_ms: int, never_used_ms: int) -> bool:
        """Whether `due` would still name this path: since it was named it may have been renewed, or made anew."""
        place = self._places.get(path)
        if place is None:
            return False
        buckets, time_ms = place
        if buckets is self._unused:
            return never_used_ms > 0 and time_ms <= now_ms - never_used_ms
        return buckets is self._emptied or time_ms <= now_ms - 1

    def add(self, path: str, znode: Znode) -> None:
        """A container or TTL znode came to be."""
        if znode.kind == CONTAINER:
            self.containers += 1
        else:
            self.ttls += 1
        self.update(path, znode)

    def remove(self, path: str, znode: Znode) -> None:
        if znode.kind == CONTAINER:
            self.containers -= 1
        else:
            self.ttls -= 1
        if place := self._places.pop(path, None):
            place[0].remove(place[1], path)

    def update(self, path: str, znode: Znode) -> None:
        """Its mtime or its children changed."""
        place = self._place_of(znode)
        before = self._places.get(path)
        if place == before:
            return
        if before:
            before[0].remove(before[1], path)
        if place:
            place[0].add(place[1], path)
            self._places[path] = place
        else:
            del self._places[path]

    def _place_of(self, znode: Znode) -> "tuple[_Buckets, int] | None":
        if znode.children:
            return None
        if znode.kind == TTL:
            return self._expiring, _bucket(znode.mtime_ms + znode.ttl_ms)
        return (self._emptied, 0) if znode.creations > 0 else (self._unused, _bucket(znode.ctime_ms))


class _Buckets:
    """Paths by a time that was rounded up."""

    def __init__(self) -> None:
        self._paths: dict[int, dict[str, None]] = {}

    def add(self, bucket: int, path: str) -> None:
        self._paths.setdefault(bucket, {})[path] = None

    def remove(self, bucket: int, path: str) -> None:
        paths = self._paths[bucket]
        del paths[path]
        if not paths:
            del self._paths[bucket]

    def upto(self, time_ms: int, count_max: int) -> list[str]:
        """Earliest bucket first."""
        found: list[str] = []
        for bucket in sorted(bucket for bucket in self._paths if bucket <= time_ms):
            for path in self._paths[bucket]:
                if len(found) >= count_max:
                    return found
                found.append(path)
        return found


def _bucket(time_ms: int) -> int:
    return -(-time_ms // _BUCKET_MS) * _BUCKET_MS
