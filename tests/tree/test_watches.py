"""Who is told of what: ZooKeeper's rules, one row each, then all of them against a naive model."""

import itertools
import subprocess
import sys
from collections.abc import Callable

import pytest
from hypothesis import given, settings, strategies as st

from zabpy.model import OPEN_ACL, CreateTxn, DeleteTxn, MultiTxn, SetAclTxn, SetDataTxn, Zxid
from zabpy.tree import (
    ANY_WATCH,
    CHILD_WATCH,
    CHILDREN_CHANGED,
    CREATED,
    DATA_CHANGED,
    DATA_WATCH,
    DELETED,
    PERSISTENT_WATCH,
    RECURSIVE_WATCH,
    Event,
    Tree,
    Watches,
)
from zabpy.tree.watches import FORGOTTEN_AT_ONCE

Set = Callable[[Watches], None]


def data(path: str, watcher: int = 1) -> Set:
    return lambda watches: watches.add_data(watcher, path)


def child(path: str, watcher: int = 1) -> Set:
    return lambda watches: watches.add_child(watcher, path)


def persistent(path: str, watcher: int = 1) -> Set:
    return lambda watches: watches.add_persistent(watcher, path, recursive=False)


def recursive(path: str, watcher: int = 1) -> Set:
    return lambda watches: watches.add_persistent(watcher, path, recursive=True)


def create(path: str, creations: int = 1) -> CreateTxn:
    return CreateTxn(path, b"", OPEN_ACL, 0, 0, 0, creations)


def told(set_before: list[Set], *bodies: CreateTxn | DeleteTxn | SetDataTxn | SetAclTxn) -> list[tuple[int, int, str]]:
    """(watcher, type, path) of every packet, when the watches were set and then these happened to a tree with /a/b."""
    tree, watches = Tree(), Watches()
    tree.apply(Zxid(1), 1, create("/a"))
    tree.apply(Zxid(2), 2, create("/a/b"))
    for set_watch in set_before:
        set_watch(watches)
    packets = []
    for number, body in enumerate(bodies, 3):
        for event in tree.apply(Zxid(number), number, body).events:
            packets += [(watcher, event.type, event.path) for watcher in watches.fire(event)]
    return packets


NEW, CHANGE, GONE = create("/a/c", 2), SetDataTxn("/a/b", b"", 1), DeleteTxn("/a/b")
AGAIN = create("/a/b", 3)


@pytest.mark.parametrize(
    ("set_before", "bodies", "packets"),
    [
        pytest.param([data("/a/c")], [NEW], [(1, CREATED, "/a/c")], id="exists watch, created"),
        pytest.param([child("/a")], [NEW], [(1, CHILDREN_CHANGED, "/a")], id="child watch on the parent, created"),
        pytest.param([child("/")], [create("/x", 2)], [(1, CHILDREN_CHANGED, "/")], id="parent of the top is /"),
        pytest.param([data("/a/b")], [CHANGE], [(1, DATA_CHANGED, "/a/b")], id="data watch, changed"),
        pytest.param([data("/a/b")], [GONE], [(1, DELETED, "/a/b")], id="data watch, deleted"),
        pytest.param([child("/a")], [GONE], [(1, CHILDREN_CHANGED, "/a")], id="child watch on the parent, deleted"),
        pytest.param([child("/a/b")], [GONE], [(1, DELETED, "/a/b")], id="child watch on the deleted one itself"),
        pytest.param(
            [data("/a/b"), child("/a/b")], [GONE], [(1, DELETED, "/a/b")], id="one delete, one packet for both watches"
        ),
        pytest.param(
            [data("/a/b"), child("/a/b")],
            [GONE, AGAIN, create("/a/b/x")],
            [(1, DELETED, "/a/b")],
            id="both are used up by it",
        ),
        pytest.param(
            [child("/a/b", 1), data("/a/b", 2)],
            [GONE],
            [(2, DELETED, "/a/b"), (1, DELETED, "/a/b")],
            id="deleted: data table first, then child table",
        ),
        pytest.param(
            [child("/a", 1), data("/a/c", 2)],
            [NEW],
            [(2, CREATED, "/a/c"), (1, CHILDREN_CHANGED, "/a")],
            id="created: the znode first, then its parent",
        ),
        pytest.param(
            [data("/a/b")], [CHANGE, SetDataTxn("/a/b", b"", 2)], [(1, DATA_CHANGED, "/a/b")], id="one-shot means once"
        ),
        pytest.param(
            [data("/a/c")], [NEW, SetDataTxn("/a/c", b"", 1)], [(1, CREATED, "/a/c")], id="created uses it up too"
        ),
        pytest.param([data("/a/b"), data("/a/b")], [CHANGE], [(1, DATA_CHANGED, "/a/b")], id="set twice, told once"),
        pytest.param([data("/a/b"), child("/a/b")], [SetAclTxn("/a/b", (), 1)], [], id="setACL fires nothing"),
        pytest.param([child("/"), data("/")], [NEW, GONE], [], id="grandparents hear nothing"),
        pytest.param([data("/a")], [NEW, GONE], [], id="a data watch does not see children"),
        pytest.param([child("/a/b"), child("/a")], [CHANGE], [], id="a child watch does not see data"),
        pytest.param(
            [persistent("/a/b")],
            [CHANGE, create("/a/b/x"), DeleteTxn("/a/b/x"), GONE, AGAIN],
            [
                (1, DATA_CHANGED, "/a/b"),
                (1, CHILDREN_CHANGED, "/a/b"),
                (1, CHILDREN_CHANGED, "/a/b"),
                (1, DELETED, "/a/b"),
                (1, CREATED, "/a/b"),
            ],
            id="persistent: all four types, of its own path, and stays",
        ),
        pytest.param(
            [recursive("/a")],
            [CHANGE, NEW, create("/a/b/x"), SetDataTxn("/a", b"", 1), DeleteTxn("/a/b/x"), create("/ab", 2)],
            [
                (1, DATA_CHANGED, "/a/b"),
                (1, CREATED, "/a/c"),
                (1, CREATED, "/a/b/x"),
                (1, DATA_CHANGED, "/a"),
                (1, DELETED, "/a/b/x"),
            ],
            id="recursive: its path and all below, no child events, not its namesakes",
        ),
        pytest.param([recursive("/")], [NEW], [(1, CREATED, "/a/c")], id="recursive at / sees all"),
        pytest.param(
            [recursive("/"), recursive("/a"), recursive("/a/b"), data("/a/b"), persistent("/a/b")],
            [CHANGE],
            [(1, DATA_CHANGED, "/a/b")],
            id="who qualifies several ways gets one packet",
        ),
        pytest.param(
            [recursive("/a"), child("/a")],
            [NEW],
            [(1, CREATED, "/a/c"), (1, CHILDREN_CHANGED, "/a")],
            id="recursive and a child watch of one connection: the child event is sent",
        ),
        pytest.param(
            [recursive("/a"), child("/a/b")], [GONE], [(1, DELETED, "/a/b")], id="recursive above counts as told"
        ),
        pytest.param(
            [data("/a/b"), persistent("/a/b")],
            [CHANGE, SetDataTxn("/a/b", b"", 2)],
            [(1, DATA_CHANGED, "/a/b"), (1, DATA_CHANGED, "/a/b")],
            id="persistent stays when the one-shot beside it is used up",
        ),
        pytest.param(
            [data("/a/b", 3), data("/a/b", 1), persistent("/a/b", 2), recursive("/", 4), recursive("/a", 5)],
            [CHANGE],
            [(watcher, DATA_CHANGED, "/a/b") for watcher in (3, 1, 2, 5, 4)],
            id="the longest waiting first, then from below to above",
        ),
    ],
)
def test_what_fires_what(
    set_before: list[Set],
    bodies: list[CreateTxn | DeleteTxn | SetDataTxn | SetAclTxn],
    packets: list[tuple[int, int, str]],
) -> None:
    assert told(set_before, *bodies) == packets


def test_a_multi_fires_as_its_operations_would() -> None:
    set_before = [data("/a/c", 1), child("/a", 2), data("/a/b", 3)]
    tree, watches = Tree(), Watches()
    for number, body in enumerate([create("/a"), create("/a/b")], 1):
        tree.apply(Zxid(number), number, body)
    for set_watch in set_before:
        set_watch(watches)

    outcome = tree.apply(Zxid(3), 3, MultiTxn((1, 5, 2), (NEW, CHANGE, GONE)))
    packets = [(watcher, event.type) for event in outcome.events for watcher in watches.fire(event)]

    assert packets == [(1, CREATED), (2, CHILDREN_CHANGED), (3, DATA_CHANGED)]


ALL_TYPES = (CHILD_WATCH, DATA_WATCH, ANY_WATCH, PERSISTENT_WATCH, RECURSIVE_WATCH)


@pytest.mark.parametrize(
    ("set_watch", "found"),
    [
        (data("/a"), {DATA_WATCH, ANY_WATCH}),
        (child("/a"), {CHILD_WATCH, ANY_WATCH}),
        (persistent("/a"), {PERSISTENT_WATCH, ANY_WATCH}),
        (recursive("/a"), {RECURSIVE_WATCH, ANY_WATCH}),
    ],
)
def test_a_watch_is_found_and_removed_by_its_type_or_as_any(set_watch: Set, found: set[int]) -> None:
    for type in ALL_TYPES:
        watches = Watches()
        set_watch(watches)
        assert watches.has(1, "/a", type) == (type in found)
        assert not watches.has(2, "/a", type)
        assert not watches.has(1, "/b", type)
        assert not watches.remove(2, "/a", type)

        assert watches.remove(1, "/a", type) == (type in found)

        assert not watches.remove(1, "/a", type)
        assert watches.total == (0 if type in found else watches.total)
        fired = [watches.fire(Event(kind, "/a", OPEN_ACL)) for kind in (CREATED, CHILDREN_CHANGED)]
        assert (fired == [[], []]) == (type in found)


def test_removing_a_persistent_watch_leaves_the_one_shot_beside_it() -> None:
    watches = Watches()
    for set_watch in (child("/a"), persistent("/a"), recursive("/a")):
        set_watch(watches)

    assert watches.remove(1, "/a", PERSISTENT_WATCH)
    assert [type for type in ALL_TYPES if watches.has(1, "/a", type)] == [CHILD_WATCH, ANY_WATCH, RECURSIVE_WATCH]


def test_the_counts_are_of_entries_paths_and_watchers() -> None:
    watches = Watches()
    for set_watch in (
        data("/a"),
        data("/a"),
        child("/a"),
        persistent("/a"),
        recursive("/b"),
        data("/b"),
        data("/b", 2),
    ):
        set_watch(watches)
    assert (watches.total, watches.paths, watches.watchers) == (4, 2, 2)
    assert watches.paths_of(1) == ["/a", "/b"]
    assert sorted(watches.all_watchers()) == [1, 2]

    watches.forget(1)
    assert (watches.total, watches.paths, watches.watchers) == (1, 1, 1)
    watches.fire(Event(DELETED, "/b", OPEN_ACL))
    assert (watches.total, watches.paths, watches.watchers) == (0, 0, 0)
    watches.forget(1)  # harmless


def test_a_one_shot_watch_beside_a_persistent_one_is_gone_once_it_fired() -> None:
    watches = Watches()
    for set_watch in (data("/a"), persistent("/a")):
        set_watch(watches)
    watches.fire(Event(DATA_CHANGED, "/a", OPEN_ACL))

    assert [type for type in ALL_TYPES if watches.has(1, "/a", type)] == [ANY_WATCH, PERSISTENT_WATCH]


def test_one_of_two_recursive_watchers_goes_and_the_other_is_still_told() -> None:
    watches = Watches()
    for set_watch in (recursive("/a", 1), recursive("/a", 2)):
        set_watch(watches)
    watches.remove(1, "/a", RECURSIVE_WATCH)

    assert watches.fire(Event(CREATED, "/a/b/c", OPEN_ACL)) == [2]
    watches.forget(2)
    assert watches.fire(Event(CREATED, "/a/b/c", OPEN_ACL)) == []


def test_who_is_forgotten_is_forgotten_in_both_tables() -> None:
    watches = Watches()
    for set_watch in (data("/a"), child("/a"), child("/b"), data("/c"), child("/a", 2)):
        set_watch(watches)
    watches.forget(1)

    assert (watches.total, watches.paths, watches.watchers) == (1, 1, 1)
    assert watches.fire(Event(DELETED, "/a", OPEN_ACL)) == [2]
    assert watches.fire(Event(DELETED, "/b", OPEN_ACL)) == []


class Naive:
    """The two tables as a list of (table, path, watcher, mode), read over and over."""

    def __init__(self) -> None:
        self.entries: list[tuple[str, str, int, str]] = []

    def add(self, mode: str, path: str, watcher: int) -> None:
        tables = {"data": ["data"], "child": ["child"], "persistent": ["data", "child"], "recursive": ["data"]}[mode]
        for table in tables:
            entry = (table, path, watcher, "standard" if mode in ("data", "child") else mode)
            if entry not in self.entries:
                self.entries.append(entry)

    def at(self, table: str, path: str) -> set[int]:
        found = {entry[2] for entry in self.entries if entry[:2] == (table, path)}
        self.entries = [entry for entry in self.entries if entry[:2] != (table, path) or entry[3] != "standard"]
        return found

    def fire(self, type: int, path: str) -> set[int]:
        if type == CHILDREN_CHANGED:
            return self.at("child", path)
        above = {
            watcher
            for _, top, watcher, mode in self.entries
            if mode == "recursive" and (path + "/").startswith(top if top == "/" else top + "/")
        }
        found = self.at("data", path) | above
        return found | self.at("child", path) if type == DELETED else found

    def matching(self, watcher: int, path: str, type: int, removing: bool = False) -> list[tuple[str, str, int, str]]:
        wanted = {
            CHILD_WATCH: [("child", "standard")],
            DATA_WATCH: [("data", "standard")],
            PERSISTENT_WATCH: [("data", "persistent")] + [("child", "persistent")] * removing,
            RECURSIVE_WATCH: [("data", "recursive")],
        }
        wanted[ANY_WATCH] = [pair for pairs in wanted.values() for pair in pairs] + [("child", "persistent")]
        return [e for e in self.entries if e[1:3] == (path, watcher) and (e[0], e[3]) in wanted[type]]


PATHS = ("/", "/a", "/a/b", "/ab")
paths = st.sampled_from(PATHS)
watchers = st.integers(1, 3)
steps = st.one_of(
    st.tuples(st.just("add"), st.sampled_from(["data", "child", "persistent", "recursive"]), paths, watchers),
    st.tuples(st.just("fire"), st.integers(1, 4), paths, st.none()),
    st.tuples(st.just("remove"), st.integers(1, 5), paths, watchers),
    st.tuples(st.just("forget"), st.none(), st.none(), watchers),
)


@given(st.lists(steps, max_size=40))
@settings(max_examples=200, deadline=None)
def test_whatever_comes_it_does_as_the_naive_tables_do(script: list[tuple[str, str | int, str, int]]) -> None:
    watches, naive = Watches(), Naive()
    for what, kind, path, watcher in script:
        if what == "add":
            assert isinstance(kind, str)
            naive.add(kind, path, watcher)
            {"data": data, "child": child, "persistent": persistent, "recursive": recursive}[kind](path, watcher)(
                watches
            )
        elif what == "fire":
            assert isinstance(kind, int)
            found = watches.fire(Event(kind, path, OPEN_ACL))
            assert len(found) == len(set(found))
            assert set(found) == naive.fire(kind, path)
        elif what == "remove":
            assert isinstance(kind, int)
            for type in ALL_TYPES:
                assert watches.has(watcher, path, type) == bool(naive.matching(watcher, path, type))
            there = naive.matching(watcher, path, kind)
            for entry in naive.matching(watcher, path, kind, removing=True) if there else []:
                naive.entries.remove(entry)
            assert watches.remove(watcher, path, kind) == bool(there)
        else:
            watches.forget(watcher)
            naive.entries = [entry for entry in naive.entries if entry[2] != watcher]
        entries = {entry[:3] for entry in naive.entries}
        assert watches.total == len(entries)
        assert watches.paths == len({entry[1] for entry in entries})
        assert set(watches.all_watchers()) == {entry[2] for entry in entries}
        for each in (1, 2, 3):
            assert watches.paths_of(each) == sorted({entry[1] for entry in entries if entry[2] == each})
    for watcher, path, type in itertools.product((1, 2, 3), PATHS, ALL_TYPES):
        assert watches.has(watcher, path, type) == bool(naive.matching(watcher, path, type))


MILLION = """
from zabpy.tree import Watches
def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096
watches, before = Watches(), resident()
for number in range(1_000_000):
    watches.add_data(1, f"/application/znode-{number:010d}")
print(watches.total, resident() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_million_one_shot_watches_fit_in_200_megabytes() -> None:
    # In a process of its own (2–4 s): in ours, memory freed by other tests would be used first and not counted.
    output = subprocess.run([sys.executable, "-c", MILLION], capture_output=True, text=True, check=True).stdout
    total, size = map(int, output.split())

    assert total == 1_000_000
    assert size < 200_000_000


@pytest.mark.parametrize("kind", ["data", "child", "both", "persistent"])
@pytest.mark.parametrize("cleaned", [0, 100, FORGOTTEN_AT_ONCE])
def test_who_leaves_with_many_watches_is_told_of_none_not_even_the_last(kind: str, cleaned: int) -> None:
    watches = Watches()
    paths = [f"/p{number}" for number in range(FORGOTTEN_AT_ONCE + 1)]
    for path in paths:
        if kind in ("data", "both"):
            watches.add_data(7, path)
        if kind in ("child", "both"):
            watches.add_child(7, path)
        if kind == "persistent":
            watches.add_persistent(7, path, recursive=True)
    watches.forget(7)
    watches.clean_up(cleaned)
    for path in paths:
        assert watches.fire(Event(DELETED, path, OPEN_ACL)) == []
        assert watches.fire(Event(CHILDREN_CHANGED, path, OPEN_ACL)) == []
    watches.clean_up(2 * len(paths))
    assert (watches.total, watches.paths, watches.leaving) == (0, 0, False)


def test_what_the_words_show_is_the_data_table() -> None:
    watches = Watches()
    for watcher, path in ((1, "/a"), (1, "/b"), (2, "/a")):
        watches.add_data(watcher, path)
    watches.add_child(3, "/a")
    watches.add_child(1, "/c")
    watches.add_persistent(4, "/a", recursive=True)
    assert watches.data_paths() == ["/a", "/b"]
    assert (watches.data_watchers("/a"), watches.data_watchers("/b"), watches.data_watchers("/c")) == (
        [1, 2, 4],
        [1],
        [],
    )
    assert sorted(watches.watched_by(1)) == ["/a", "/b", "/c"]
    assert [watches.watches_data(1, path) for path in ("/a", "/b", "/c")] == [True, True, False]
    assert tuple(map(sum, zip(*watches.data_counts()))) == (3, 2, 4)


def test_many_are_counted_in_parts() -> None:
    watches = Watches()
    for at in range(1000):
        watches.add_data(1, f"/{at}")
        watches.add_child(2, f"/{at}")
    parts = list(watches.data_counts())
    assert len(parts) >= 10
    assert tuple(map(sum, zip(*parts))) == (1, 1000, 1000)
