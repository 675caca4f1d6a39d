"""A copy of a subtree and what changed in it, without I/O: `TreeCache` reads, this keeps and compares."""

from dataclasses import dataclass

from zabpy.client import Znode
from zabpy.model import join, name_of, parent_of


@dataclass(frozen=True, slots=True)
class Added:
    """The znode is there now."""

    path: str
    node: Znode


@dataclass(frozen=True, slots=True)
class Updated:
    """Its data was set since ``before``, perhaps several times, perhaps to what it was."""

    path: str
    before: Znode
    node: Znode


@dataclass(frozen=True, slots=True)
class Removed:
    """It is gone. One that was deleted and created again is `Removed`, then `Added`."""

    path: str
    before: Znode


@dataclass(frozen=True, slots=True)
class Missed:
    """You read too slowly, and changes were dropped: look at the whole cache again. All that follows is complete."""

    path: str


CacheChange = Added | Updated | Removed | Missed


class Mirror:
    """Znodes by path. What it returns are the changes, in an order in which a parent is never without its children:
    they are removed before it and added after it, as far as the reads came in that order.
    """

    def __init__(self) -> None:
        self._nodes: dict[str, Znode] = {}
        self._names: dict[str, set[str]] = {}

    def __len__(self) -> int:
        return len(self._nodes)

    def get(self, path: str) -> Znode | None:
        return self._nodes.get(path)

    def names(self, path: str) -> list[str]:
        """Of the children that are here, sorted."""
        return sorted(self._names.get(path, ()))

    def paths(self) -> list[str]:
        return sorted(self._nodes)

    def put(self, path: str, node: Znode) -> list[Added | Updated | Removed]:
        """This was read. A znode is another one when its czxid is: versions start anew (CURATOR-391)."""
        changes: list[Added | Updated | Removed] = []
        before = self._nodes.get(path)
        if before is not None and before.stat.czxid != node.stat.czxid:
            changes += self.remove(path)
            before = None
        self._nodes[path] = node
        if before is None:
            if path != "/":
                self._names.setdefault(parent_of(path), set()).add(name_of(path))
            changes.append(Added(path, node))
        elif before.stat.mzxid != node.stat.mzxid:
            changes.append(Updated(path, before, node))
        return changes

    def remove(self, path: str) -> list[Removed]:
        """It and all below it are gone."""
        # The deepest first, and no recursion: a tree may be as deep as a path is long.
        found, at = [path], 0
        while at < len(found):
            found += [join(found[at], name) for name in self._names.get(found[at], ())]
            at += 1
        removed = []
        for each in reversed(found):
            node = self._nodes.pop(each, None)
            self._names.pop(each, None)
            if each != "/":
                parent = parent_of(each)
                names = self._names.get(parent)
                if names is not None:
                    names.discard(name_of(each))
                    if not names:
                        del self._names[parent]
            if node is not None:
                removed.append(Removed(each, node))
        return removed
