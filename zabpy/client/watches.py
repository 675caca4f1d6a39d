"""Who waits for news of which znode: one-shot watches and streams, as the client keeps them. Without I/O.

Paths are the server's, with the chroot.
"""

from collections.abc import Callable, Iterator
from typing import Final, Literal

from zabpy.model import parent_of
from zabpy.wire import packed, records as r

from .events import EVENTS, ChildrenChanged, Created, Deleted, Event, Resynced

Kind = Literal["data", "exists", "children"]
#: What fires which one-shot watches.
FIRES: Final[dict[int, tuple[Kind, ...]]] = {
    1: ("data", "exists"),
    2: ("data", "exists", "children"),
    3: ("data", "exists"),
    4: ("children",),
}
#: A setWatches request holds about so many bytes of paths, as with ZooKeeper's own clients.
RENEWAL_BYTES = 128 * 1024


class OneShot:
    """A watch that tells one thing: ``event`` once it fired, ``lost`` if the session ended before."""

    __slots__ = ("kind", "path", "event", "lost", "wake")

    def __init__(self, kind: Kind, path: str) -> None:
        self.kind, self.path = kind, path
        self.event: Event | None = None
        self.lost = ""
        self.wake: Callable[[], None] | None = None

    def fire(self, event: Event | None, lost: str = "") -> None:
        self.event, self.lost = event, lost
        if self.wake is not None:
            self.wake()


class Subscription:
    """One stream's end here: ``sink`` is called with every event."""

    __slots__ = ("path", "recursive", "sink")

    def __init__(self, path: str, recursive: bool, sink: Callable[[Event], None]) -> None:
        self.path, self.recursive, self.sink = path, recursive, sink


class WatchTable:
    def __init__(self) -> None:
        self._one_shots: dict[tuple[Kind, str], list[OneShot]] = {}
        self._streams: dict[str, list[Subscription]] = {}

    def registered(self, watch: OneShot, err: int) -> None:
        """The read that carried this watch was answered."""
        if err == 0 or (err == -101 and watch.kind == "exists"):
            kind: Kind = "exists" if err else ("data" if watch.kind == "exists" else watch.kind)
            watch.kind = kind
            self._one_shots.setdefault((kind, watch.path), []).append(watch)

    def forget(self, watch: OneShot) -> bool:
        """Nobody waits for it any more; whether that was the last one of its path."""
        found = self._one_shots.get((watch.kind, watch.path))
        if found is None or watch not in found:
            return False
        found.remove(watch)
        if not found:
            del self._one_shots[watch.kind, watch.path]
        return not found

    def subscribe(self, subscription: Subscription) -> None:
        self._streams.setdefault(subscription.path, []).append(subscription)

    def unsubscribe(self, subscription: Subscription) -> bool:
        """Whether that was the last one of its path."""
        found = self._streams.get(subscription.path, [])
        if subscription in found:
            found.remove(subscription)
        if not found:
            self._streams.pop(subscription.path, None)
        return not found

    def recursive_at(self, path: str) -> bool | None:
        """The mode that the server must have for this path; None for none."""
        found = self._streams.get(path)
        return any(each.recursive for each in found) if found else None

    def fire(self, type: int, path: str, zxid: int | None) -> None:
        if type not in EVENTS:
            return
        event = EVENTS[type](path, zxid)
        for kind in FIRES[type]:
            for watch in self._one_shots.pop((kind, path), ()):
                watch.fire(event)
        if not self._streams:
            return
        for each in self._streams.get(path, ()):
            if not (each.recursive and type == 4):
                each.sink(event)
        if type != 4:
            for above in _above(path):
                for each in self._streams.get(above, ()):
                    if each.recursive:
                        each.sink(event)
        if isinstance(event, Created | Deleted) and path != "/":
            # A server has one mode for a path. Where that is the recursive one, it tells of the child only.
            parent = parent_of(path)
            if self.recursive_at(parent):
                for each in self._streams[parent]:
                    if not each.recursive:
                        each.sink(ChildrenChanged(parent, zxid))

    def renewal(self, last_zxid: int) -> Iterator[bytes]:
        """The setWatches2 requests for another connection."""
        lists: list[list[str]] = [[], [], [], [], []]
        size = 0
        wanted: list[tuple[int, str]] = [
            (("data", "exists", "children").index(kind), path) for kind, path in self._one_shots
        ]
        wanted += [(4 if self.recursive_at(path) else 3, path) for path in self._streams]
        for index, path in wanted:
            lists[index].append(path)
            size += len(path) + 4
            if size > RENEWAL_BYTES:
                yield packed(r.SetWatches2(last_zxid, *map(tuple, lists)))
                lists, size = [[], [], [], [], []], 0
        if size:
            yield packed(r.SetWatches2(last_zxid, *map(tuple, lists)))

    def resynced(self, *, session_changed: bool) -> None:
        for path, found in self._streams.items():
            for each in found:
                each.sink(Resynced(path, session_changed))

    def lose(self, why: str) -> None:
        """The session is over: one-shots with it; streams go on in the next one."""
        one_shots, self._one_shots = self._one_shots, {}
        for found in one_shots.values():
            for watch in found:
                watch.fire(None, why)


def _above(path: str) -> Iterator[str]:
    while path != "/":
        path = parent_of(path)
        yield path
