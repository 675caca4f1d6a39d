"""Watches: who waits for what, and who is told. Rules: ZooKeeper's.

Two tables, *data* and *child*, as ZooKeeper has them: path → watcher → modes. What most entries are, one watcher with
a one-shot watch, is stored as the bare watcher; only what is more becomes a dict. So a million one-shot watches cost
little beyond their paths, and an event that nobody waits for costs a failed lookup.
"""

from collections.abc import Iterator

from .tree import CHILDREN_CHANGED, DELETED, Event

# Types of watch in removeWatches and checkWatches, with their numbers in the client protocol.
CHILD_WATCH, DATA_WATCH, ANY_WATCH, PERSISTENT_WATCH, RECURSIVE_WATCH = 1, 2, 3, 4, 5

_STANDARD, _PERSISTENT, _RECURSIVE = 1, 2, 4
_EVERY = _STANDARD | _PERSISTENT | _RECURSIVE
#: Type of watch to the modes it means in (the data table, the child table): where to look.
_LOOKS_AT = {
    CHILD_WATCH: (0, _STANDARD),
    DATA_WATCH: (_STANDARD, 0),
    ANY_WATCH: (_EVERY, _EVERY),
    PERSISTENT_WATCH: (_PERSISTENT, 0),
    RECURSIVE_WATCH: (_RECURSIVE, 0),
}
#: The same, what to remove: a persistent watch stands in both tables.
_REMOVES = {**_LOOKS_AT, PERSISTENT_WATCH: (_PERSISTENT, _PERSISTENT)}

#: A watcher with more entries than this is forgotten in slices.
FORGOTTEN_AT_ONCE = 5_000

_NOBODY: frozenset[int] = frozenset()

#: Entries counted at a time.
_PART = 200

_Table = dict[str, "int | dict[int, int]"]


class Watches:
    """All watches of this server's connections. A watcher is a number; what it stands for is the caller's business."""

    def __init__(self) -> None:
        #: Entries: one for each (table, path, watcher), however many modes it has.
        self.total = 0
        #: Paths that somebody watches, in either table.
        self.paths = 0
        self._data: _Table = {}
        self._child: _Table = {}
        self._recursive: dict[str, dict[int, None]] = {}  # who in the data table is recursive, for descendants
        self._by_watcher: dict[int, set[str]] = {}  # paths at which it has an entry in either table
        #: The same of those that are gone and had many; they are told nothing any more.
        self._leaving: dict[int, set[str]] = {}

    @property
    def watchers(self) -> int:
        """How many watchers have at least one watch."""
        return len(self._by_watcher)

    def add_data(self, watcher: int, path: str) -> None:
        """A one-shot watch, as getData and exists set it."""
        self._add(self._data, watcher, path, _STANDARD)

    def add_child(self, watcher: int, path: str) -> None:
        """A one-shot watch, as getChildren sets it."""
        self._add(self._child, watcher, path, _STANDARD)

    def add_persistent(self, watcher: int, path: str, recursive: bool) -> None:
        """A watch that stays, as addWatch sets it; ``recursive``: for all below ``path`` too, but no child events."""
        if recursive:
            self._add(self._data, watcher, path, _RECURSIVE)
            self._recursive.setdefault(path, {})[watcher] = None
        else:
            self._add(self._data, watcher, path, _PERSISTENT)
            self._add(self._child, watcher, path, _PERSISTENT)

    def has(self, watcher: int, path: str, type: int) -> bool:
        """Whether there is such a watch; ``type`` is 1 to 5."""
        data, child = _LOOKS_AT[type]
        return bool(self._modes(self._data, watcher, path) & data or self._modes(self._child, watcher, path) & child)

    def remove(self, watcher: int, path: str, type: int) -> bool:
        """Remove what `has` would find (a persistent watch from both tables); whether there was any."""
        if not self.has(watcher, path, type):
            return False
        data, child = _REMOVES[type]
        self._remove(self._data, watcher, path, data)
        self._remove(self._child, watcher, path, child)
        return True

    @property
    def leaving(self) -> bool:
        """Whether there is something for `clean_up`."""
        return bool(self._leaving)

    def clean_up(self, count: int) -> None:
        """Remove so many entries of those that are gone, 1–2 µs each."""
        while self._leaving and count > 0:
            watcher, mine = next(iter(self._leaving.items()))
            while mine and count > 0:
                count -= 1
                path = mine.pop()
                self._remove(self._data, watcher, path, _EVERY)
                self._remove(self._child, watcher, path, _EVERY)
            if not mine:
                self._leaving.pop(watcher, None)

    def forget(self, watcher: int) -> None:
        """The watcher is gone: it is never told anything again. Costs what it has, 1–2 µs a watch; if those are many,
        `clean_up` has to do the most of it."""
        mine = self._by_watcher.get(watcher)
        if mine is None:
            return
        if len(mine) > FORGOTTEN_AT_ONCE:
            self._leaving[watcher] = self._by_watcher.pop(watcher)
            return
        data, child = self._data, self._child
        lone = [path for path in mine if data.get(path) == watcher and path not in child]  # nearly all of them
        for path in lone:
            del data[path]
        self.total -= len(lone)
        self.paths -= len(lone)
        mine.difference_update(lone)
        for path in list(mine):
            self._remove(data, watcher, path, _EVERY)
            self._remove(child, watcher, path, _EVERY)
        self._by_watcher.pop(watcher, None)

    def fire(self, event: Event) -> list[int]:
        """The watchers to tell, each once, longest waiting first; their one-shot watches are used up.

        Costs the depth of the path (only while there are recursive watches) and those it tells. Without the ACL
        filter: a watch whose owner may not know is used up all the same.
        """
        type, path, _ = event
        # Asked before: whoever loses its last watch here is not among them any more, and as gone as before.
        leaving = frozenset(self._leaving) if self._leaving else _NOBODY
        if type == CHILDREN_CHANGED:
            told = self._take(self._child, path) if path in self._child else []
            return told if not leaving else [watcher for watcher in told if watcher not in leaving]
        told = self._take(self._data, path) if path in self._data else []
        if self._recursive:
            told = list(dict.fromkeys(told + self._above(path)))
        if type == DELETED and path in self._child:
            already = set(told)
            told += [watcher for watcher in self._take(self._child, path) if watcher not in already]
        if leaving:
            return [watcher for watcher in told if watcher not in leaving]
        return told

    def paths_of(self, watcher: int) -> list[str]:
        """Where it has a watch of any kind, sorted."""
        return sorted(self._by_watcher.get(watcher, ()))

    def all_watchers(self) -> Iterator[int]:
        """Those with at least one watch. Change nothing while iterating."""
        return iter(self._by_watcher)

    # What `wchs`, `wchc` and `wchp` show: the data table alone, as in ZooKeeper. Lists are new ones, and what they name
    # may be gone by the time it is looked at: then there is nothing to tell of it.

    def data_counts(self) -> Iterator[tuple[int, int, int]]:
        """Watchers, paths and watches, in parts to be added up, each of a few dozen µs."""
        entries = list(self._data.values())
        for at in range(0, len(entries), _PART):
            part = entries[at : at + _PART]
            yield 0, len(part), sum(1 if isinstance(entry, int) else len(entry) for entry in part)
        for watcher in list(self._by_watcher):
            for at, path in enumerate(self.watched_by(watcher)):
                if self.watches_data(watcher, path):
                    yield 1, 0, 0
                    break
                if at % _PART == 0:
                    yield 0, 0, 0

    def data_paths(self) -> list[str]:
        """Paths in the data table. About 10 ns each."""
        return list(self._data)

    def data_watchers(self, path: str) -> list[int]:
        """Who watches the path in the data table."""
        entry = self._data.get(path)
        return [] if entry is None else [entry] if isinstance(entry, int) else list(entry)

    def watched_by(self, watcher: int) -> list[str]:
        """Paths at which it has a watch in either table, in no order; `watches_data` tells which."""
        return list(self._by_watcher.get(watcher, ()))

    def watches_data(self, watcher: int, path: str) -> bool:
        return self._modes(self._data, watcher, path) != 0

    def _above(self, path: str) -> list[int]:
        """Recursive watchers of the proper ancestors, nearest first."""
        found: list[int] = []
        while path != "/":
            path = path[: path.rindex("/")] or "/"
            if watchers := self._recursive.get(path):
                found += watchers
        return found

    def _take(self, table: _Table, path: str) -> list[int]:
        """All watchers at exactly this path, using up what is one-shot."""
        entry = table[path]
        if isinstance(entry, int):
            self._drop(table, entry, path)
            return [entry]
        told = list(entry)
        used_up = [watcher for watcher, modes in entry.items() if modes == _STANDARD]
        for watcher, modes in entry.items():
            entry[watcher] = modes & ~_STANDARD
        for watcher in used_up:
            self._drop(table, watcher, path)
        return told

    def _modes(self, table: _Table, watcher: int, path: str) -> int:
        entry = table.get(path)
        if entry is None:
            return 0
        if isinstance(entry, int):
            return _STANDARD if entry == watcher else 0
        return entry.get(watcher, 0)

    def _add(self, table: _Table, watcher: int, path: str, mode: int) -> None:
        entry = table.get(path)
        if entry is None:
            if path not in (self._child if table is self._data else self._data):
                self.paths += 1
            table[path] = watcher if mode == _STANDARD else {watcher: mode}
        elif isinstance(entry, int):
            if entry == watcher:
                if mode != _STANDARD:
                    table[path] = {watcher: _STANDARD | mode}
                return
            table[path] = {entry: _STANDARD, watcher: mode}
        elif watcher in entry:
            entry[watcher] |= mode
            return
        else:
            entry[watcher] = mode
        self.total += 1
        mine = self._by_watcher.get(watcher)
        if mine is None:
            self._by_watcher[watcher] = {path}
        else:
            mine.add(path)

    def _remove(self, table: _Table, watcher: int, path: str, modes: int) -> None:
        """Take these modes from the entry, and the entry away if none is left."""
        before = self._modes(table, watcher, path)
        if not before & modes:
            return
        if table is self._data and before & modes & _RECURSIVE:
            watchers = self._recursive[path]
            del watchers[watcher]
            if not watchers:
                del self._recursive[path]
        if left := before & ~modes:
            entry = table[path]
            assert isinstance(entry, dict)  # a bare watcher has one mode, so nothing can be left
            entry[watcher] = left
        else:
            self._drop(table, watcher, path)

    def _drop(self, table: _Table, watcher: int, path: str) -> None:
        """Take the watcher's entry away."""
        other = self._child if table is self._data else self._data
        entry = table[path]
        if isinstance(entry, dict):
            del entry[watcher]
        if isinstance(entry, int) or not entry:
            del table[path]
            if path not in other:
                self.paths -= 1
        self.total -= 1
        if not self._modes(other, watcher, path):
            watchers = self._by_watcher if watcher in self._by_watcher else self._leaving
            mine = watchers[watcher]
            mine.discard(path)  # while leaving it may be gone already
            if not mine:
                del watchers[watcher]
