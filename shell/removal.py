"""Subtrees are counted, and deleted: children first, many requests at once, with an account of what became of each."""

from collections.abc import Callable
from dataclasses import dataclass, field

from zabpy.client import Client, ConnectionLossError, SessionLostError
from zabpy.model import NoAuthError, NoNodeError, NotEmptyError, ZabpyError, parent_of

from .pipelined import each
from .walk import Walk

#: How often a tree is gone through for what others create in it meanwhile.
ROUNDS_MAX = 20
#: How often a delete is sent anew whose session was lost meanwhile.
SESSIONS_MAX = 3


@dataclass
class Found:
    """A subtree: its paths, a list a level, from the top; and who has ephemerals in it."""

    levels: list[list[str]] = field(default_factory=list)
    #: Ephemeral znodes, by path, with the session that owns each.
    ephemerals: dict[str, int] = field(default_factory=dict)
    #: Of each path, as it was when it was found.
    versions: dict[str, int] = field(default_factory=dict)
    #: What may not be listed, so that nobody knows what is below.
    denied: list[NoAuthError] = field(default_factory=list)

    @property
    def count(self) -> int:
        return sum(map(len, self.levels))


async def found_below(zk: Client, top: str) -> Found:
    """The subtree as it is now, more or less: what others change meanwhile is in it or not. Empty if there is none."""
    found = Found()
    walk = Walk(zk, "stats")  # many in a request, and leaves are not asked for their children
    try:
        async for node in walk.nodes([top]):
            if node.depth == len(found.levels):
                found.levels.append([])
            found.levels[node.depth].append(node.path)
            if node.stat is not None:
                found.versions[node.path] = node.stat.version
                if node.stat.ephemeral_owner:
                    found.ephemerals[node.path] = node.stat.ephemeral_owner
    except NoNodeError:
        return Found()
    found.denied = [_unread(path) for path in walk.denied]
    return found


def _unread(path: str) -> NoAuthError:
    """As a client raises it."""
    error = NoAuthError(f"{path}: its children may not be listed")
    error.operation, error.path = "children_and_stat", path
    return error


@dataclass
class Removal:
    """What became of it. ``failed``: paths that are left, and why; for those above them, nothing."""

    deleted: int = 0
    appeared: int = 0
    failed: dict[str, ZabpyError] = field(default_factory=dict)
    #: Why it was given up before all was tried.
    ended_by: ZabpyError | None = None

    @property
    def is_complete(self) -> bool:
        return not self.failed and self.ended_by is None


class Remover:
    """Deletes subtrees; ``removal`` says at any time, also after a cancellation, what was done so far."""

    def __init__(self, zk: Client, advance: Callable[[int], object] = lambda count: None) -> None:
        self._zk, self._advance = zk, advance
        self.removal = Removal()
        self._blocked: set[str] = set()  # what cannot be deleted, because something below it stays
        self._unlisted: dict[str | None, NoAuthError] = {}  # they may have children or not

    async def remove(self, top: str, found: Found) -> None:
        """Delete what was found, and what appeared in it since. Never raises for what servers refuse."""
        try:
            for round in range(ROUNDS_MAX):
                if round:
                    found = await found_below(self._zk, top)
                    self.removal.appeared += sum(path not in self._blocked for level in found.levels for path in level)
                again = False
                self._unlisted = {error.path: error for error in found.denied}
                for level in reversed(found.levels):
                    again |= True in await each(self._delete, level)
                if not again:
                    return
        except ZabpyError as error:
            self.removal.ended_by = error
            return
        self._stays(top, NotEmptyError("others create below it as fast as it is deleted"))

    async def _delete(self, path: str) -> bool:
        """Whether somebody has created something below it, so that all has to be looked at again."""
        if path in self._blocked:
            return False
        for session in range(SESSIONS_MAX):
            try:
                await self._zk.delete(path, lost_reply="again")
            except NoNodeError:
                return False
            except NotEmptyError:
                if path in self._unlisted:
                    self._stays(path, self._unlisted[path])
                    return False
                return True
            except NoAuthError as error:
                self._stays(path, error)
                return False
            except (ConnectionLossError, SessionLostError):
                if session == SESSIONS_MAX - 1:
                    raise
                continue
            self.removal.deleted += 1
            self._advance(1)
            return False
        raise AssertionError

    def _stays(self, path: str, error: ZabpyError) -> None:
        self.removal.failed.setdefault(path, error)
        while path not in self._blocked:
            self._blocked.add(path)
            path = parent_of(path)
