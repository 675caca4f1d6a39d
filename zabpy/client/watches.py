"""Who waits for news of which znode: one-shot watches and streams, as the client keeps them. Without I/O.

Paths are the server's, with the chroot.

**What a server holds.** Of one connection it keeps one entry for each path. ZooKeeper 3.6 to 3.8 have one mode for it:
a one-shot asked for where a persistent watch stands takes its place, and the stream falls silent; 3.9 and ours keep all
modes side by side. A client cannot ask which it is. So what is sent here is right by either rule:

- At one path there is one persistent mode at a time: the recursive one if any stream there is, else the plain one. A
  recursive watch does not tell of children that come and go, so for plain streams and one-shots this is made out of
  the creations and deletions it does tell of.
- A read that watches asks the server for it only where no persistent watch stands; else it is served from that one.
- A persistent watch stays as long as anybody waits for anything at its path, and then everything at that path goes.

What counts is what stands at the server when it comes to a request: the sum of what was sent before on that connection.
So it is decided when a request is sent, not when it was asked for (`WatchTable.sending`), and what comes of it holds
from its answer on (`WatchTable.registered`), which stands in the stream of events exactly where the server did it.

**A new connection** begins with setWatches: one-shots are told what happened since ``last_zxid`` (but for a znode that
came and went, which ``exists`` waited for: no server can tell), streams get `Resynced` when it is answered.
"""

from collections.abc import Callable, Iterator
from typing import Final, Literal

from zabpy.model import NoNodeError, ZabpyError, parent_of
from zabpy.wire import Op, packed, records as r

from .errors import ProtocolError
from .events import EVENTS, ChildrenChanged, Event, Resynced

Kind = Literal["data", "exists", "children"]
KINDS: Final[tuple[Kind, ...]] = ("data", "exists", "children")
CREATED, DELETED, CHANGED, CHILDREN_CHANGED = 1, 2, 3, 4
#: Type of a notification to the one-shots that it fires.
FIRES: Final[dict[int, tuple[Kind, ...]]] = {
    CREATED: ("data", "exists"),
    DELETED: ("data", "exists", "children"),
    CHANGED: ("data", "exists"),
    CHILDREN_CHANGED: ("children",),
}
#: Modes of addWatch.
PLAIN, RECURSIVE = 0, 1
#: Types of removeWatches: everything at the path; its recursive watch only, which servers before 3.9 answer with -5.
REMOVE_ALL, REMOVE_RECURSIVE = 3, 5
#: A setWatches request holds about so many bytes of paths, as with ZooKeeper's own clients.
RENEWAL_BYTES = 128 * 1024


class OneShot:
    """A watch that tells one thing: ``event`` once it fired, ``lost`` if the session ended before."""

    __slots__ = ("kind", "path", "event", "lost", "given_up", "wake")

    def __init__(self, kind: Kind, path: str) -> None:
        self.kind, self.path = kind, path
        self.event: Event | None = None
        self.lost = ""
        self.given_up = False
        self.wake: Callable[[], None] | None = None

    def fire(self, event: Event | None, lost: str = "") -> None:
        self.event, self.lost = event, lost
        if self.wake is not None:
            self.wake()


class Subscription:
    """One stream's end here: ``put`` is called with every event, ``end`` with why there will be no more."""

    __slots__ = ("path", "recursive", "put", "end", "mode", "added", "live", "session_changed")

    def __init__(
        self, path: str, recursive: bool, put: Callable[[Event], None], end: Callable[[ZabpyError], None]
    ) -> None:
        self.path, self.recursive, self.put, self.end = path, recursive, put, end
        self.mode = PLAIN  # what its addWatch asked for
        self.added = False  # a server has said yes to it
        self.live = False  # from here on nothing is missed
        self.session_changed = False  # since the last Resynced

    def begin(self) -> None:
        self.added = self.live = True
        changed, self.session_changed = self.session_changed, False
        self.put(Resynced(self.path, changed))


class ModeChange:
    """An addWatch that nobody waits for."""

    def __init__(self, path: str, mode: int) -> None:
        self.path, self.mode = path, mode


class Renewal:
    """One setWatches, and the streams that are whole again when it was answered."""

    def __init__(self) -> None:
        self.streams: list[Subscription] = []


#: What a request may carry that has to do with watches.
Watch = OneShot | Subscription | ModeChange | Renewal


class Place:
    """All that is waited for at one path."""

    __slots__ = ("path", "shots", "asked", "unwanted", "streams", "sent", "mode", "data_set", "children_set")

    def __init__(self, path: str) -> None:
        self.path = path
        self.shots: dict[Kind, dict[OneShot, None]] = {}
        self.asked: dict[OneShot, None] = {}  # their reads are under way
        self.unwanted: set[OneShot] = set()  # so are theirs, but nobody waits for them any more
        self.streams: dict[Subscription, None] = {}
        #: The persistent mode that the server has once it has done all that was sent; and as of the last answer.
        self.sent: int | None = None
        self.mode: int | None = None
        #: Whether the server may hold one-shot watches of ours.
        self.data_set = self.children_set = False

    @property
    def is_used(self) -> bool:
        return bool(self.shots or self.asked or self.streams)

    @property
    def wanted(self) -> int:
        return RECURSIVE if any(each.recursive for each in self.streams) else PLAIN

    def add(self, watch: OneShot) -> None:
        self.shots.setdefault(watch.kind, {})[watch] = None
        self.set_by(watch)

    def set_by(self, watch: OneShot) -> None:
        if watch.kind == "children":
            self.children_set = True
        else:
            self.data_set = True

    def take(self, kind: Kind) -> dict[OneShot, None]:
        return self.shots.pop(kind, {})


class WatchTable:
    """See above.

    Args:
        tell: sends a request that nobody waits for, if there is a connection, at once, before it returns.
    """

    def __init__(self, tell: Callable[[int, bytes, Watch | None], None]) -> None:
        self._tell = tell
        self._places: dict[str, Place] = {}
        self._recursive: set[Subscription] = set()

    # Requests ---------------------------------------------------------------------------------------------------------

    def sending(self, watch: Watch, body: bytes) -> bytes:
        """A request that carries this watch is sent now: what its body is to be."""
        if isinstance(watch, OneShot):
            place = self._place(watch.path)
            place.asked[watch] = None
            # The last byte of a read says whether to watch. It may have been sent before, on another connection.
            return body[:-1] + (b"\1" if place.sent is None else b"\0")
        if isinstance(watch, Subscription):
            place = self._place(watch.path)
            place.streams[watch] = None
            if watch.recursive:
                self._recursive.add(watch)
            place.sent = watch.mode = place.wanted
            return packed(r.AddWatchRequest(watch.path, watch.mode))
        return body

    def registered(self, watch: Watch, err: int) -> str:
        """The request that carried this watch was answered. Says why the connection must go, if it must."""
        if isinstance(watch, Renewal):
            if err:
                return f"setWatches was answered with {err}"
            for stream in watch.streams:
                place = self._places.get(stream.path)
                if place is not None and stream in place.streams:
                    place.mode = place.sent if place.mode is None else place.mode
                    stream.begin()
            return ""
        place = self._places.get(watch.path)
        if place is None:
            return ""
        if isinstance(watch, OneShot):
            self._read(place, watch, err)
        elif err:
            # Reads that followed it count on it. A new connection sets everything right.
            place.sent = place.mode
            if place.sent is None and (place.shots or place.asked):
                return f"addWatch was answered with {err}"
        else:
            place.mode = watch.mode
            if isinstance(watch, Subscription) and watch in place.streams:
                watch.begin()
        return ""

    def _read(self, place: Place, watch: OneShot, err: int) -> None:
        if watch in place.unwanted:
            place.unwanted.remove(watch)
            place.set_by(watch)
        if watch not in place.asked:
            return
        del place.asked[watch]
        if err == 0 or (err == NoNodeError.code and watch.kind == "exists"):
            watch.kind = "exists" if err else "data" if watch.kind == "exists" else watch.kind
            place.add(watch)
        self._release(place)

    def forget(self, watch: Watch) -> None:
        """Nobody waits for it any more; also of no use where it is not known, or no more."""
        if isinstance(watch, ModeChange | Renewal):
            return
        place = self._places.get(watch.path)
        if place is None:
            return
        if isinstance(watch, OneShot):
            if watch in place.asked:
                del place.asked[watch]
                place.unwanted.add(watch)  # what fires before its answer is none of its doing
            elif watch in place.shots.get(watch.kind, ()):
                shots = place.shots[watch.kind]
                del shots[watch]
                if not shots:
                    del place.shots[watch.kind]
        elif watch in place.streams:
            del place.streams[watch]
            self._recursive.discard(watch)
        self._release(place)

    def _release(self, place: Place) -> None:
        """Give back what is not needed at the server any more."""
        if not place.is_used:
            self._places.pop(place.path, None)
            if place.sent is not None or place.data_set or place.children_set or place.unwanted:
                self._tell(Op.REMOVE_WATCHES, packed(r.RemoveWatchesRequest(place.path, REMOVE_ALL)), None)
        elif place.sent == RECURSIVE and place.wanted == PLAIN:
            place.sent = PLAIN
            change = ModeChange(place.path, PLAIN)
            self._tell(Op.ADD_WATCH, packed(r.AddWatchRequest(place.path, PLAIN)), change)
            self._tell(Op.REMOVE_WATCHES, packed(r.RemoveWatchesRequest(place.path, REMOVE_RECURSIVE)), None)

    def _place(self, path: str) -> Place:
        place = self._places.get(path)
        if place is None:
            place = self._places[path] = Place(path)
        return place

    # Events -----------------------------------------------------------------------------------------------------------

    def fire(self, type: int, path: str, zxid: int | None) -> None:
        """The server says so. Raises ProtocolError when it cannot be so."""
        if type not in EVENTS:
            return
        if not path.startswith("/"):
            raise ProtocolError(f"an event at {path!r:.80}, which is no path")
        event = EVENTS[type](path, zxid)
        place = self._places.get(path)
        if place is not None:
            self._fire_at(place, type, event)
        if type == CHILDREN_CHANGED:
            return
        if self._recursive:
            for above in _above(path):
                found = self._places.get(above)
                if found is not None:
                    _put(event, found, recursive=True)
        if type != CHANGED and path != "/":
            parent = self._places.get(parent_of(path))
            if parent is not None and parent.mode == RECURSIVE:
                changed = ChildrenChanged(parent.path, zxid)
                for watch in parent.take("children"):
                    watch.fire(changed)
                _put(changed, parent, recursive=False)
                self._release(parent)

    def _fire_at(self, place: Place, type: int, event: Event) -> None:
        for kind in FIRES[type]:
            for watch in place.take(kind):
                watch.fire(event)
        if type != CHILDREN_CHANGED:
            place.data_set = False
            _put(event, place, recursive=True)
        if type in (DELETED, CHILDREN_CHANGED):
            place.children_set = False
        if type != CHILDREN_CHANGED or place.mode == PLAIN:
            _put(event, place, recursive=False)
        self._release(place)

    # Connections and sessions -----------------------------------------------------------------------------------------

    def renewal(self, last_zxid: int, *, session_changed: bool) -> Iterator[tuple[int, bytes, Renewal]]:
        """The requests that a new connection begins with: opcode, body, and what to carry."""
        self._unlinked(session_changed)
        # One-shots first: where a server has one mode for a path, the last is to be the persistent one.
        wanted: list[tuple[int, Place]] = [
            (KINDS.index(kind), place) for place in self._places.values() for kind in place.shots
        ]
        wanted += [(4 if place.wanted == RECURSIVE else 3, place) for place in self._places.values() if place.streams]
        for part in _parts(wanted):
            renewal = Renewal()
            lists: list[list[str]] = [[], [], [], [], []]
            for index, place in part:
                lists[index].append(place.path)
                if index >= 3:
                    place.sent = place.wanted
                    renewal.streams += place.streams
                else:
                    place.data_set, place.children_set = place.data_set or index < 2, place.children_set or index == 2
            data, exists, children, plain, recursive = map(tuple, lists)
            if renewal.streams:
                body = packed(r.SetWatches2(last_zxid, data, exists, children, plain, recursive))
                yield Op.SET_WATCHES2, body, renewal
            else:  # which servers before 3.6 know
                yield Op.SET_WATCHES, packed(r.SetWatches(last_zxid, data, exists, children)), renewal

    def _unlinked(self, session_changed: bool) -> None:
        """The server of the last connection has forgotten everything; what was under way there is sent again or not."""
        for place in list(self._places.values()):
            place.asked.clear()
            place.unwanted.clear()
            place.sent = place.mode = None
            place.data_set = place.children_set = False
            for stream in list(place.streams):
                stream.live = False
                stream.session_changed |= session_changed
                if not stream.added:
                    del place.streams[stream]
                    self._recursive.discard(stream)
            if not place.is_used:
                del self._places[place.path]

    def lose(self, why: str) -> None:
        """The session is over: one-shots with it; streams go on in the next one."""
        for place in list(self._places.values()):
            for kind in KINDS:
                for watch in place.take(kind):
                    watch.fire(None, why)

    def end(self, error: ZabpyError) -> None:
        """There will be no connection any more."""
        self.lose(str(error))
        for place in self._places.values():
            for stream in place.streams:
                stream.end(error)

    def __len__(self) -> int:
        """How many paths somebody waits at."""
        return len(self._places)


def _put(event: Event, place: Place, *, recursive: bool) -> None:
    for stream in place.streams:
        if stream.recursive is recursive and stream.live:
            stream.put(event)


def _parts(wanted: list[tuple[int, Place]]) -> Iterator[list[tuple[int, Place]]]:
    part: list[tuple[int, Place]] = []
    size = 0
    for each in wanted:
        part.append(each)
        size += len(each[1].path.encode()) + 4
        if size > RENEWAL_BYTES:
            yield part
            part, size = [], 0
    if part:
        yield part


def _above(path: str) -> Iterator[str]:
    while path != "/":
        path = parent_of(path)
        yield path
