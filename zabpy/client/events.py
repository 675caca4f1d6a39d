"""What a watch tells: that something happened to a znode, or that a gap may have swallowed such news."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Created:
    """The znode came to be. ``zxid``: of the change, where the server says so (3.9 and newer, and ours); else None."""

    path: str
    zxid: int | None = None


@dataclass(frozen=True, slots=True)
class Changed:
    """The data was set, perhaps to what it was before."""

    path: str
    zxid: int | None = None


@dataclass(frozen=True, slots=True)
class Deleted:
    """The znode is gone; another one may stand there by the time that this is read."""

    path: str
    zxid: int | None = None


@dataclass(frozen=True, slots=True)
class ChildrenChanged:
    """A child of the znode came or went."""

    path: str
    zxid: int | None = None


@dataclass(frozen=True, slots=True)
class Resynced:
    """From here on nothing is missed, but before it something may have been: read again what you rely on.

    The first event of every stream, then one after each time without a connection. ``session_changed``: the session
    was lost meanwhile and this is another one.
    """

    path: str
    session_changed: bool = False


Event = Created | Changed | Deleted | ChildrenChanged | Resynced

#: Type of a WatcherEvent to what users see.
EVENTS: dict[int, type[Created | Changed | Deleted | ChildrenChanged]] = {
    1: Created,
    2: Deleted,
    3: Changed,
    4: ChildrenChanged,
}
