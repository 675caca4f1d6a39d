"""The tree of znodes and the one function that changes it."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from zabpy.model import (
    CONTAINER,
    EPHEMERAL,
    OPEN_ACL,
    PERSISTENT,
    READ_ACL,
    Acls,
    Body,
    CheckTxn,
    CloseSessionTxn,
    CreateSessionTxn,
    CreateTxn,
    DeleteTxn,
    ErrorTxn,
    FailedMultiTxn,
    MultiTxn,
    ReconfigTxn,
    SetAclTxn,
    SetDataTxn,
    Zxid,
    name_of,
    parent_of,
)

from .digest import digest_of
from .ephemerals import Ephemerals
from .lifetimes import Lifetimes
from .quota import QUOTA_PATH, Quotas
from .rows import Row, RowsError, row_of, znode_of
from .znode import Znode

# Types of event, with their numbers in the client protocol.
CREATED, DELETED, DATA_CHANGED, CHILDREN_CHANGED = 1, 2, 3, 4

CONFIG_PATH = "/zookeeper/config"
_BUILT_IN = ("/", "/zookeeper", QUOTA_PATH, CONFIG_PATH)
#: More different ACLs than this, and equal ones no longer share memory.
_SHARED_ACLS_MAX = 10_000
_new: Callable[..., Any] = tuple.__new__  # half the cost of calling a NamedTuple by name


class Event(NamedTuple):
    """Something happened at ``path``; whoever watches it and passes ``acl`` for READ may know."""

    type: int
    path: str
    acl: Acls


class Outcome(NamedTuple):
    """What a txn did. ``znode`` is the one created or changed, None where there is none (or many: a multi).

    ``parts`` has one item for each operation of a multi: the packed Stat right after it, None if it has none to tell.
    """

    znode: Znode | None
    parts: tuple[bytes | None, ...]
    events: tuple[Event, ...]


_NOTHING = Outcome(None, (), ())


class Tree:
    """All znodes by path. `apply` is the only writer and cannot fail: what could go wrong was decided by `prepare`.

    Args:
        standalone: this server is no part of an ensemble, which shows in the version of ``/zookeeper/config``.
        config: what ``/zookeeper/config`` holds until a txn writes to it. Comes from this server's own
            configuration, so it is neither in the rows nor in the digest.
    """

    def __init__(self, *, standalone: bool = True, config: bytes = b"") -> None:
        self.nodes: dict[str, Znode] = {}
        self.ephemerals = Ephemerals()
        self.lifetimes = Lifetimes()
        #: Approximate size of the content: characters of all paths, bytes of all data.
        self.data_bytes = 0
        self._frozen: list[Frozen] = []
        self._shared_acls: dict[Acls, Acls] = {}
        for path in _BUILT_IN:
            self._adopt(path, Znode(b"", OPEN_ACL, PERSISTENT, 0, 0, 0, 0, 0, 0))
        self.quotas = Quotas(self.nodes, self._rewrite)
        #: While it has no children there are no quotas, and a change needs to know no more; unless there were some.
        self._quota_root = self.nodes[QUOTA_PATH]
        self._known_counts = self.quotas.known
        self.nodes[CONFIG_PATH].acl = READ_ACL
        self.nodes[CONFIG_PATH].aversion = -1
        self._fill_config(standalone, config)

    @classmethod
    def from_rows(cls, rows: Iterable[Row], *, standalone: bool = True, config: bytes = b"") -> "Tree":
        """The tree whose `freeze` gave ``rows``.

        Raises:
            RowsError: they do not make a tree.
        """
        tree = cls()
        tree.nodes.clear()
        tree.data_bytes = 0
        for row in rows:
            tree._adopt(*znode_of(row))
        if missing := [path for path in _BUILT_IN if path not in tree.nodes]:
            raise RowsError(f"no row for {missing[0]!r}")
        tree._quota_root = tree.nodes[QUOTA_PATH]
        tree.quotas.load()
        for path, znode in tree.nodes.items():
            if znode.kind >= CONTAINER:  # only now it is known which have children
                tree.lifetimes.add(path, znode)
        tree._fill_config(standalone, config)
        return tree

    def apply(self, zxid: Zxid, time_ms: int, body: Body) -> Outcome:
        """Take in one txn, decided for good. Costs 1–2 µs for a setData, 4–7 µs for a create.

        The caller hands the events to `Watches.fire`, in their order, before anybody sees the new state.
        """
        return _ACTIONS[type(body)](self, zxid, time_ms, body)

    def descendants(self, path: str, most: int | None = None) -> int | None:
        """How many znodes are below ``path``, which must exist. Walks them, except for ``/``; None once it has seen
        more than ``most``."""
        if path == "/":
            return len(self.nodes) - 1
        count = 0
        waiting = [path]
        while waiting:
            above = waiting.pop()
            if children := self.nodes[above].children:
                count += len(children)
                if most is not None and count > most:
                    return None
                waiting += [f"{above}/{name}" for name in children]
        return count

    def freeze(self) -> "Frozen":
        """The tree of this moment, to be read in slices while `apply` goes on. Close it, or read it to its end.

        Costs one list of references to the paths now (30 ms and more for a million) and, while it is open, the row of
        every znode changed for the first time.
        """
        frozen = Frozen(self)
        self._frozen.append(frozen)
        return frozen

    def digest(self) -> int:
        """See `digest_of`. On demand, over all there is: for comparisons and tests, not for every txn."""
        return digest_of(self._rows())

    def _rows(self) -> Iterator[Row]:
        for path, znode in self.nodes.items():
            yield _frozen_row(path, znode)

    def _create(self, zxid: Zxid, time_ms: int, body: CreateTxn) -> Outcome:
        path, data, acl, kind, owner, ttl_ms, creations = body
        nodes = self.nodes
        cut = path.rindex("/")
        above = path[:cut] or "/"
        parent = nodes[above]
        assert path not in nodes, body
        assert parent.kind != EPHEMERAL, body
        if self._frozen:
            self._save(above, parent)
        if acl is not OPEN_ACL:
            acl = self._shared(acl)
        znode = Znode(data, acl, kind, owner, ttl_ms, zxid, zxid, time_ms, time_ms, 0, 0, 0, zxid)
        nodes[path] = znode
        children = parent.children
        if children is None:
            parent.children = {path[cut + 1 :]: None}
        else:
            children[path[cut + 1 :]] = None
        parent.creations = creations
        parent.pzxid = zxid
        parent.reply = None
        self.data_bytes += len(path) + (len(data) if data else 0)
        if kind:
            if kind == EPHEMERAL:
                self.ephemerals.add(owner, path)
            else:
                self.lifetimes.add(path, znode)
        if parent.kind >= CONTAINER:
            self.lifetimes.update(above, parent)
        if self._quota_root.children or self._known_counts:
            self.quotas.created(path, len(data) if data else 0)
        events = _new(Event, (CREATED, path, acl)), _new(Event, (CHILDREN_CHANGED, above, parent.acl))
        return _new(Outcome, (znode, (), events))  # type: ignore[no-any-return]

    def _delete(self, zxid: Zxid, time_ms: int, body: DeleteTxn) -> Outcome:
        return Outcome(None, (), self._drop(zxid, body.path))

    def _drop(self, zxid: Zxid, path: str) -> tuple[Event, Event]:
        nodes = self.nodes
        cut = path.rindex("/")
        above = path[:cut] or "/"
        znode, parent = nodes[path], nodes[above]
        siblings = parent.children
        assert not znode.children, path
        assert path not in _BUILT_IN, path
        assert siblings is not None, path
        if self._frozen:
            self._save(path, znode)
            self._save(above, parent)
        del nodes[path]
        del siblings[path[cut + 1 :]]
        if not siblings:
            parent.children = None
        parent.pzxid = zxid
        parent.reply = None
        self.data_bytes -= len(path) + (len(znode.data) if znode.data else 0)
        if znode.kind:
            if znode.kind == EPHEMERAL:
                self.ephemerals.remove(znode.owner, path)
            else:
                self.lifetimes.remove(path, znode)
        if parent.kind >= CONTAINER:
            self.lifetimes.update(above, parent)
        if self._quota_root.children or self._known_counts:
            self.quotas.deleted(path, len(znode.data) if znode.data else 0)
        return _new(Event, (DELETED, path, znode.acl)), _new(Event, (CHILDREN_CHANGED, above, parent.acl))

    def _set_data(self, zxid: Zxid, time_ms: int, body: SetDataTxn) -> Outcome:
        path, data, version = body
        znode = self.nodes[path]
        if self._frozen:
            self._save(path, znode)
        before, counted = znode.data, znode.mzxid != 0
        self.data_bytes += (len(data) if data else 0) - (len(before) if before else 0)
        znode.data = data
        znode.version = version
        znode.mzxid = zxid
        znode.mtime_ms = time_ms
        znode.reply = None
        if znode.kind >= CONTAINER:
            self.lifetimes.update(path, znode)
        if self._quota_root.children or self._known_counts:
            # What no txn has written is this server's own (`_fill_config`), and counts for nothing.
            self.quotas.changed(path, (len(data) if data else 0) - (len(before) if before and counted else 0))
        return _new(Outcome, (znode, (), (_new(Event, (DATA_CHANGED, path, znode.acl)),)))  # type: ignore[no-any-return]

    def _set_acl(self, zxid: Zxid, time_ms: int, body: SetAclTxn) -> Outcome:
        znode = self.nodes[body.path]
        if self._frozen:
            self._save(body.path, znode)
        znode.acl = self._shared(body.acl)
        znode.aversion = body.aversion
        znode.reply = None
        return Outcome(znode, (), ())

    def _reconfig(self, zxid: Zxid, time_ms: int, body: ReconfigTxn) -> Outcome:
        # ZooKeeper never counts this znode's changes: its version is in the text, and is its mzxid.
        return self._set_data(zxid, time_ms, SetDataTxn(CONFIG_PATH, body.text, -1))

    def _close_session(self, zxid: Zxid, time_ms: int, body: CloseSessionTxn) -> Outcome:
        # Exactly what the txn lists, and not what is found here: trap C3.
        events: list[Event] = []
        for path in body.ephemerals:
            events += self._drop(zxid, path)
        return Outcome(None, (), tuple(events))

    def _multi(self, zxid: Zxid, time_ms: int, body: MultiTxn) -> Outcome:
        parts: list[bytes | None] = []
        events: list[Event] = []
        for part in body.bodies:
            znode, _, happened = _ACTIONS[type(part)](self, zxid, time_ms, part)
            # Packed now, for a later operation may change it again.
            parts.append(None if znode is None else znode.packed_stat())
            events += happened
        return Outcome(None, tuple(parts), tuple(events))

    def _nothing(self, zxid: Zxid, time_ms: int, body: Body) -> Outcome:
        return _NOTHING

    def _rewrite(self, path: str, znode: Znode, data: bytes) -> None:
        """Other data and nothing else: see quota.py."""
        if self._frozen:
            self._save(path, znode)
        self.data_bytes += len(data) - (len(znode.data) if znode.data else 0)
        znode.data = data
        znode.reply = None

    def _save(self, path: str, znode: Znode) -> None:
        for frozen in self._frozen:
            frozen.save(path, znode)

    def _shared(self, acl: Acls) -> Acls:
        if acl == OPEN_ACL:
            return OPEN_ACL
        if len(self._shared_acls) >= _SHARED_ACLS_MAX:
            self._shared_acls.clear()
        return self._shared_acls.setdefault(acl, acl)

    def _adopt(self, path: str, znode: Znode) -> None:
        """A znode that was there before any txn of ours, after its parent."""
        if path != "/":
            parent = self.nodes.get(parent_of(path)) if path.startswith("/") else None
            if parent is None or path in self.nodes:
                raise RowsError(f"{path!r} comes twice or before its parent")
            if parent.children is None:
                parent.children = {}
            parent.children[name_of(path)] = None
        elif self.nodes:
            raise RowsError("the root is not the first row")
        znode.acl = self._shared(znode.acl)
        self.nodes[path] = znode
        self.data_bytes += len(path) + (len(znode.data) if znode.data else 0)
        if znode.kind == EPHEMERAL:
            self.ephemerals.add(znode.owner, path)

    def _fill_config(self, standalone: bool, config: bytes) -> None:
        znode = self.nodes[CONFIG_PATH]
        if znode.mzxid == 0:
            self.data_bytes += len(config) - (len(znode.data) if znode.data else 0)
            znode.data, znode.version = config, 0 if standalone else -1


class Frozen:
    """A tree at one moment: `rows` until they end. Get one by `Tree.freeze`.

    Copy on first write: the tree calls `save` before it changes or deletes a znode. Not for a second thread.
    """

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._paths = list(tree.nodes)  # parents first, see rows.py
        self._at = 0
        self._saved: dict[str, Row] = {}

    def __len__(self) -> int:
        """How many rows there are in all."""
        return len(self._paths)

    def rows(self, count: int) -> list[Row]:
        """The next ``count`` rows; fewer at the end, none behind it (and then it is closed)."""
        nodes, saved = self._tree.nodes, self._saved
        paths = self._paths[self._at : self._at + count]
        self._at += len(paths)
        if not paths:
            self.close()
        return [saved[path] if path in saved else _frozen_row(path, nodes[path]) for path in paths]

    def close(self) -> None:
        """Stop holding on to what the tree has changed since. Harmless the second time."""
        if self in self._tree._frozen:
            self._tree._frozen.remove(self)
        self._at = len(self._paths)
        self._saved.clear()

    def save(self, path: str, znode: Znode) -> None:
        """For the tree: this znode is about to change."""
        if path not in self._saved:
            self._saved[path] = _frozen_row(path, znode)


def _frozen_row(path: str, znode: Znode) -> Row:
    if path == CONFIG_PATH and znode.mzxid == 0:  # each server's own until a txn writes it, see Tree
        return (path, b"", *row_of(path, znode)[2:10], 0, *row_of(path, znode)[11:])
    return row_of(path, znode)


#: Every body there is, to what it does to the tree.
_ACTIONS: dict[type, Callable[[Tree, Zxid, int, Any], Outcome]] = {
    CreateTxn: Tree._create,
    DeleteTxn: Tree._delete,
    SetDataTxn: Tree._set_data,
    SetAclTxn: Tree._set_acl,
    MultiTxn: Tree._multi,
    CloseSessionTxn: Tree._close_session,
    ReconfigTxn: Tree._reconfig,
    CheckTxn: Tree._nothing,
    CreateSessionTxn: Tree._nothing,
    ErrorTxn: Tree._nothing,
    FailedMultiTxn: Tree._nothing,
}
