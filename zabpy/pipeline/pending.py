"""The tree as it will be when all that has been proposed is delivered.

The leader judges a request on this, not on what is applied: between a proposal and its delivery lie a disk and a
network, and other requests. A path that no outstanding transaction touches has no record here; `Pending.see` then
gives the applied znode itself, since both show the fields a judgement needs.
"""

from collections import deque
from typing import NamedTuple

from zabpy.model import EPHEMERAL, Acls, Zxid
from zabpy.tree import Znode

from .state import State


class Change:
    """A znode as it will be. ``zxid`` is the last outstanding transaction that touches it."""

    __slots__ = (
        "acl",
        "aversion",
        "child_count",
        "creations",
        "data_bytes",
        "exists",
        "kind",
        "owner",
        "version",
        "zxid",
    )

    def __init__(
        self,
        zxid: Zxid,
        exists: bool,
        kind: int,
        owner: int,
        acl: Acls,
        version: int,
        aversion: int,
        creations: int,
        child_count: int,
        data_bytes: int,
    ) -> None:
        self.zxid = zxid
        self.exists = exists
        self.kind = kind
        self.owner = owner
        self.acl = acl
        self.version = version
        self.aversion = aversion
        self.creations = creations
        self.child_count = child_count
        self.data_bytes = data_bytes

    def is_owned_by(self, session_id: int) -> bool:
        """Whether it will be an ephemeral of this session."""
        return self.exists and self.kind == EPHEMERAL and self.owner == session_id

    def copy(self) -> "Change":
        return Change(
            self.zxid,
            self.exists,
            self.kind,
            self.owner,
            self.acl,
            self.version,
            self.aversion,
            self.creations,
            self.child_count,
            self.data_bytes,
        )


class _Attempt(NamedTuple):
    """What to put back when a multi fails: in the order of the changes, what was there before."""

    changes: list[tuple[str, Change | None]]
    ephemeral_bytes: list[tuple[int, int | None]]


class Pending:
    """All outstanding changes, by path. Made anew by every leader, when its state is applied to the end.

    Cost: a change is one record and one place in a queue; `forget` is one step for each change it forgets.
    """

    __slots__ = ("_attempt", "_changes", "_closing", "_ephemeral_bytes", "_opening", "_order", "_owned", "_state")

    def __init__(self, state: State) -> None:
        self._state = state
        self._changes: dict[str, Change] = {}
        #: Who was changed when, for `forget`: a path, or the id of a session that opens or closes.
        self._order: deque[tuple[Zxid, str | int]] = deque()
        self._opening: dict[int, Zxid] = {}
        self._closing: dict[int, Zxid] = {}
        #: Session id → ephemerals it will have and the applied tree has not.
        self._owned: dict[int, dict[str, None]] = {}
        self._ephemeral_bytes: dict[int, int] = {}
        self._attempt: _Attempt | None = None

    def __len__(self) -> int:
        """How many changes are outstanding."""
        return len(self._order)

    def see(self, path: str) -> Change | Znode | None:
        """The znode as it will be, to be read only; None if there will be none."""
        change = self._changes.get(path)
        if change is None:
            return self._state.tree.nodes.get(path)
        return change if change.exists else None

    def touched(self, path: str) -> bool:
        """Whether an outstanding transaction changes this znode or its number of children."""
        return path in self._changes

    def change(self, path: str, zxid: Zxid) -> Change:
        """The record of a znode that will exist, to be changed by the transaction at ``zxid``."""
        change = self._changes.get(path)
        if self._attempt is not None:
            self._attempt.changes.append((path, None if change is None else change.copy()))
        if change is None:
            znode = self._state.tree.nodes[path]
            self._changes[path] = change = Change(
                zxid,
                True,
                znode.kind,
                znode.owner,
                znode.acl,
                znode.version,
                znode.aversion,
                znode.creations,
                len(znode.children) if znode.children else 0,
                len(znode.data) if znode.data else 0,
            )
        else:
            assert change.zxid <= zxid  # proposals go forwards
            change.zxid = zxid
        self._order.append((zxid, path))
        return change

    def create(self, path: str, zxid: Zxid, kind: int, owner: int, acl: Acls, data_bytes: int = 0) -> None:
        """The transaction at ``zxid`` creates this znode; its parent is changed by the caller."""
        if self._attempt is not None:
            before = self._changes.get(path)
            self._attempt.changes.append((path, None if before is None else before.copy()))
        self._changes[path] = Change(zxid, True, kind, owner, acl, 0, 0, 0, 0, data_bytes)
        self._order.append((zxid, path))
        if kind == EPHEMERAL:
            self._owned.setdefault(owner, {})[path] = None
            self._count(owner, ephemeral_bytes(path))

    def delete(self, path: str, zxid: Zxid) -> None:
        """The transaction at ``zxid`` deletes this znode; its parent is changed by the caller."""
        change = self.change(path, zxid)
        change.exists = False
        if change.kind == EPHEMERAL:
            self._disown(change.owner, path)
            self._count(change.owner, -ephemeral_bytes(path))

    # Sessions --------------------------------------------------------------------------------------------------------

    def is_open(self, session_id: int) -> bool:
        """Whether the session is open, or will be, and no outstanding transaction closes it (trap F3).

        A session that will be may ask already: a quorum of others can deliver before this server's own disk has it.
        """
        return (session_id in self._state.sessions or session_id in self._opening) and session_id not in self._closing

    def knows(self, session_id: int) -> bool:
        """Whether the session is open or will be, and even if it closes."""
        return session_id in self._state.sessions or session_id in self._opening

    def open(self, session_id: int, zxid: Zxid) -> None:
        """The transaction at ``zxid`` opens the session."""
        assert self._attempt is None
        self._opening[session_id] = zxid
        self._order.append((zxid, session_id))

    def close(self, session_id: int, zxid: Zxid) -> list[str]:
        """The transaction at ``zxid`` closes the session; from now on it has no further say. What goes with it.

        There may be hundreds of thousands, and all wait meanwhile: half a microsecond each.
        """
        assert self._attempt is None  # never part of a multi
        paths = self.ephemerals(session_id)
        changes, order = self._changes, self._order
        # One record for all of them: nobody changes that of a znode that will not exist, `create` makes a new one.
        gone = Change(zxid, False, EPHEMERAL, session_id, (), 0, 0, 0, 0, 0)
        lost: dict[str, int] = {}
        for path in paths:
            changes[path] = gone
            above = path[: path.rindex("/")]
            lost[above] = lost.get(above, 0) + 1
        order.extend([(zxid, path) for path in paths])
        for above, count in lost.items():
            self.change(above or "/", zxid).child_count -= count
        self._owned.pop(session_id, None)
        self._closing[session_id] = zxid
        order.append((zxid, session_id))
        self._ephemeral_bytes.pop(session_id, None)
        return paths

    def ephemerals(self, session_id: int) -> list[str]:
        """The ephemerals the session will have, oldest first."""
        applied, changes = self._state.tree.ephemerals.of(session_id), self._changes
        owned = [path for path in applied if path not in changes or changes[path].is_owned_by(session_id)]
        coming = self._owned.get(session_id)
        if coming:
            there = frozenset(applied)
            owned += [path for path in coming if path not in there and changes[path].is_owned_by(session_id)]
        return owned

    def ephemeral_bytes(self, session_id: int) -> int:
        """What the ephemerals the session will have take in the transaction that closes it; counted once a leader."""
        known = self._ephemeral_bytes.get(session_id)
        if known is None:
            known = sum(map(ephemeral_bytes, self.ephemerals(session_id)))
            if self._attempt is not None:
                self._attempt.ephemeral_bytes.append((session_id, None))
            self._ephemeral_bytes[session_id] = known
        return known

    def _count(self, session_id: int, difference: int) -> None:
        known = self._ephemeral_bytes.get(session_id)
        if known is not None:  # else nobody has asked yet
            if self._attempt is not None:
                self._attempt.ephemeral_bytes.append((session_id, known))
            self._ephemeral_bytes[session_id] = known + difference

    def _disown(self, session_id: int, path: str) -> None:
        owned = self._owned.get(session_id)
        if owned is not None:
            owned.pop(path, None)
            if not owned:
                del self._owned[session_id]

    # All or nothing --------------------------------------------------------------------------------------------------

    def attempt(self) -> None:
        """From here until `keep` or `undo`, remember what was before."""
        assert self._attempt is None
        self._attempt = _Attempt([], [])

    def keep(self) -> None:
        assert self._attempt is not None
        self._attempt = None

    def undo(self) -> None:
        """Put everything back as it was at `attempt`."""
        attempt, self._attempt = self._attempt, None
        assert attempt is not None
        for path, before in reversed(attempt.changes):
            now = self._changes.pop(path)
            owner = 0
            if before is not None:
                self._changes[path] = before
                if before.kind == EPHEMERAL and before.exists:
                    owner = before.owner
                    self._owned.setdefault(owner, {})[path] = None
            if now.kind == EPHEMERAL and now.owner != owner:
                self._disown(now.owner, path)
            self._order.pop()
        for session_id, known in reversed(attempt.ephemeral_bytes):
            if known is None:
                del self._ephemeral_bytes[session_id]
            else:
                self._ephemeral_bytes[session_id] = known

    # Delivered -------------------------------------------------------------------------------------------------------

    def forget(self, upto: Zxid) -> None:
        """All up to ``upto`` is applied: the state says it itself now."""
        order, changes = self._order, self._changes
        while order and order[0][0] <= upto:
            what = order.popleft()[1]
            if isinstance(what, str):
                change = changes.get(what)
                if change is not None and change.zxid <= upto:
                    del changes[what]
                    if change.kind == EPHEMERAL:
                        self._disown(change.owner, what)
            else:
                if self._opening.get(what, upto + 1) <= upto:
                    del self._opening[what]
                if self._closing.get(what, upto + 1) <= upto:
                    del self._closing[what]


def ephemeral_bytes(path: str) -> int:
    """At most what a path takes in a CloseSessionTxn."""
    return len(path.encode()) + 5
