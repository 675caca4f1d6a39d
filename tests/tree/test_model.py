"""The tree against a naive one, under any txns; what is frozen stays as it was; rows bring all of it back."""

from dataclasses import dataclass, replace

import pytest
from hypothesis import given, settings, strategies as st

from zabpy.model import (
    ALL,
    CONTAINER,
    EPHEMERAL,
    OPEN_ACL,
    PERSISTENT,
    READ,
    TTL,
    Acl,
    Acls,
    CheckTxn,
    CloseSessionTxn,
    CreateTxn,
    DeleteTxn,
    ErrorTxn,
    MultiTxn,
    SetAclTxn,
    SetDataTxn,
    Stat,
    Zxid,
    parent_of,
)
from zabpy.tree import (
    CHILDREN_CHANGED,
    CONFIG_PATH,
    CREATED,
    DATA_CHANGED,
    DELETED,
    Frozen,
    Row,
    RowsError,
    Tree,
    digest_of,
    row_of,
)

ACLS: tuple[Acls, ...] = (
    OPEN_ACL,
    (),
    (Acl(READ, "world", "anyone"),),
    (Acl(ALL, "digest", "b:x"), Acl(1, "ip", "::1")),
)
NAMES = ("a", "b", "c")
Simple = CreateTxn | DeleteTxn | SetDataTxn | SetAclTxn | CheckTxn
Change = Simple | CloseSessionTxn | MultiTxn | ErrorTxn
History = list[tuple[Zxid, int, Change]]


@dataclass
class Naive:
    """One znode of the naive tree: cversion as a number of its own, children found by looking at all paths."""

    data: bytes | None
    acl: Acls
    kind: int
    owner: int
    ttl_ms: int
    stat: Stat


class NaiveTree:
    def __init__(self) -> None:
        fresh = Naive(b"", OPEN_ACL, PERSISTENT, 0, 0, Stat(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0))
        self.nodes = {
            "/": replace(fresh, stat=fresh.stat._replace(cversion=-1)),
            "/zookeeper": replace(fresh, stat=fresh.stat._replace(cversion=-2)),
            "/zookeeper/quota": replace(fresh),
            CONFIG_PATH: replace(fresh, acl=(Acl(READ, "world", "anyone"),), stat=fresh.stat._replace(aversion=-1)),
        }
        self.creations = dict.fromkeys(self.nodes, 0)
        self.events: list[tuple[int, str, Acls]] = []

    def children(self, path: str) -> list[str]:
        return [other for other in self.nodes if other != "/" and parent_of(other) == path]

    def stat(self, path: str) -> Stat:
        node = self.nodes[path]
        return node.stat._replace(
            ephemeral_owner=node.owner if node.kind == EPHEMERAL else 0,
            data_length=len(node.data or b""),
            num_children=len(self.children(path)),
        )

    def apply(self, zxid: int, time_ms: int, body: Change) -> None:
        match body:
            case MultiTxn(_, bodies):
                for each in bodies:
                    self.apply(zxid, time_ms, each)
            case CloseSessionTxn(paths):
                for path in paths:
                    self.apply(zxid, time_ms, DeleteTxn(path))
            case CreateTxn(path, data, acl, kind, owner, ttl_ms, creations):
                stat = Stat(zxid, zxid, time_ms, time_ms, 0, 0, 0, 0, 0, 0, zxid)
                self.nodes[path] = Naive(data, acl, kind, owner, ttl_ms, stat)
                self.creations[path] = 0
                self.creations[parent_of(path)] = creations
                self.events.append((CREATED, path, acl))
                self.child_changed(zxid, path)
            case DeleteTxn(path):
                self.events.append((DELETED, path, self.nodes.pop(path).acl))
                del self.creations[path]
                self.child_changed(zxid, path)
            case SetDataTxn(path, data, version):
                node = self.nodes[path]
                node.data, node.stat = data, node.stat._replace(version=version, mzxid=zxid, mtime_ms=time_ms)
                self.events.append((DATA_CHANGED, path, node.acl))
            case SetAclTxn(path, acl, aversion):
                node = self.nodes[path]
                node.acl, node.stat = acl, node.stat._replace(aversion=aversion)

    def child_changed(self, zxid: int, path: str) -> None:
        parent = self.nodes[parent_of(path)]
        parent.stat = parent.stat._replace(pzxid=zxid, cversion=parent.stat.cversion + 1)
        self.events.append((CHILDREN_CHANGED, parent_of(path), parent.acl))


def possible(draw: st.DrawFn, naive: NaiveTree) -> Simple:
    """A body that `prepare` could have made for this tree."""
    path = draw(st.sampled_from(sorted(naive.nodes)))
    node = naive.nodes[path]
    what = draw(st.sampled_from(["create", "create", "create", "delete", "delete", "set", "acl", "check"]))
    if what == "create" and node.kind != EPHEMERAL:
        child = ("" if path == "/" else path) + "/" + draw(st.sampled_from(NAMES))
        if child not in naive.nodes:
            kind = draw(st.sampled_from([PERSISTENT, EPHEMERAL, CONTAINER, TTL]))
            owner = draw(st.sampled_from([-(2**63), 1, 2])) if kind == EPHEMERAL else 0
            data, acl = draw(st.sampled_from([None, b"", b"12345"])), draw(st.sampled_from(ACLS))
            return CreateTxn(child, data, acl, kind, owner, 500 if kind == TTL else 0, naive.creations[path] + 1)
    elif what == "delete" and not naive.children(path) and not (path + "/").startswith(("/zookeeper/", "//")):
        return DeleteTxn(path)
    elif what == "set":
        return SetDataTxn(path, draw(st.sampled_from([None, b"", b"1", b"\xff" * 20])), node.stat.version + 1)
    elif what == "acl":
        return SetAclTxn(path, draw(st.sampled_from(ACLS)), node.stat.aversion + 1)
    return CheckTxn(path)


@st.composite
def histories(draw: st.DrawFn) -> History:
    naive = NaiveTree()
    history: History = []
    for number in range(draw(st.integers(0, 25))):
        zxid, time_ms = Zxid(1 << 32 | number + 1), 1000 * number
        body: Change
        match draw(st.sampled_from(["simple"] * 6 + ["multi", "multi", "close", "error"])):
            case "multi":
                scratch, bodies = NaiveTree(), []
                for _, _, before in history:
                    scratch.apply(0, 0, before)
                for _ in range(draw(st.integers(0, 5))):
                    bodies.append(possible(draw, scratch))
                    scratch.apply(0, 0, bodies[-1])
                body = MultiTxn((0,) * len(bodies), tuple(bodies))
            case "close":
                owner = draw(st.sampled_from([-(2**63), 1, 2]))
                mine = [path for path, node in naive.nodes.items() if node.owner == owner]
                body = CloseSessionTxn(tuple(draw(st.permutations(mine))))
            case "error":
                body = ErrorTxn(-101)
            case _:
                body = possible(draw, naive)
        naive.apply(zxid, time_ms, body)
        history.append((zxid, time_ms, body))
    return history


def check_same(tree: Tree, naive: NaiveTree) -> None:
    assert list(tree.nodes) == list(naive.nodes)
    for path, znode in tree.nodes.items():
        other = naive.nodes[path]
        assert znode.stat() == naive.stat(path), path
        assert znode.packed_stat() == naive.stat(path).packed()
        assert (znode.data, znode.acl, znode.kind) == (other.data, other.acl, other.kind)
        assert (znode.owner, znode.ttl_ms) == (other.owner, other.ttl_ms)
        assert znode.creations == naive.creations[path]
        prefix = "/" if path == "/" else path + "/"
        assert [prefix + name for name in znode.children or ()] == naive.children(path)
        assert tree.descendants(path) == sum(each.startswith(prefix) and each != path for each in naive.nodes)
    assert tree.data_bytes == sum(len(path) + len(node.data or b"") for path, node in naive.nodes.items())
    owners = {node.owner for node in naive.nodes.values() if node.kind == EPHEMERAL}
    assert set(tree.ephemerals.sessions()) == owners
    for owner in owners:
        assert tree.ephemerals.of(owner) == [path for path, node in naive.nodes.items() if node.owner == owner]
    assert len(tree.ephemerals) == sum(node.kind == EPHEMERAL for node in naive.nodes.values())
    due = {path for path, node in naive.nodes.items() if node.kind in (CONTAINER, TTL) and not naive.children(path)}
    assert set(tree.lifetimes.due(10**9, 1, 1000)) == due
    kinds = [node.kind for node in naive.nodes.values()]
    assert (tree.lifetimes.containers, tree.lifetimes.ttls) == (kinds.count(CONTAINER), kinds.count(TTL))


@given(histories())
@settings(max_examples=150, deadline=None)
def test_whatever_is_applied_it_does_as_the_naive_tree_does(
    history: History,
) -> None:
    tree, twin, naive = Tree(), Tree(), NaiveTree()
    for zxid, time_ms, body in history:
        naive.events = []
        naive.apply(zxid, time_ms, body)
        outcome = tree.apply(zxid, time_ms, body)

        assert [tuple(event) for event in outcome.events] == naive.events
        assert twin.apply(zxid, time_ms, body).events == outcome.events
        check_same(tree, naive)
    assert tree.digest() == twin.digest()

    copy = Tree.from_rows(tree.freeze().rows(1000))
    check_same(copy, naive)
    assert copy.digest() == tree.digest()


@given(histories(), st.data())
@settings(max_examples=150, deadline=None)
def test_what_was_frozen_stays_as_it_was_whatever_comes_between_the_slices(
    history: History, data: st.DataObject
) -> None:
    tree = Tree()
    open_now: list[tuple[Frozen, list[Row], list[Row], int]] = []
    done: list[tuple[list[Row], list[Row], int]] = []
    for zxid, time_ms, body in history:
        what = data.draw(st.sampled_from(["nothing", "freeze", "slice", "close"]))
        if what == "freeze":
            open_now.append((tree.freeze(), [row_of(*item) for item in tree.nodes.items()], [], tree.digest()))
        elif open_now and what == "slice":
            frozen, _, so_far, _ = data.draw(st.sampled_from(open_now))
            so_far += frozen.rows(data.draw(st.integers(1, 4)))
        elif open_now and what == "close":
            frozen, *_ = open_now.pop(data.draw(st.integers(0, len(open_now) - 1)))
            frozen.close()
            assert frozen.rows(1) == []
        tree.apply(zxid, time_ms, body)
    for frozen, expected, so_far, digest in open_now:
        while slice := frozen.rows(3):
            so_far += slice
        assert len(so_far) == len(frozen)
        done.append((expected, so_far, digest))

    assert not tree._frozen  # read to their end or closed: nobody holds on to old rows
    for expected, rows, digest in done:
        standing_in = [row for row in rows if row[0] != CONFIG_PATH]
        assert standing_in == [row for row in expected if row[0] != CONFIG_PATH]
        assert digest_of(rows) == digest
        assert Tree.from_rows(rows).digest() == digest


def test_a_frozen_tree_can_be_closed_at_any_time_and_twice() -> None:
    tree = Tree()
    frozen = tree.freeze()
    assert len(frozen.rows(2)) == 2
    frozen.close()
    frozen.close()

    tree.apply(Zxid(1), 1, SetDataTxn("/", b"x", 1))
    assert frozen.rows(10) == []


def test_the_digest_sees_every_field_of_every_znode() -> None:
    tree = Tree()
    tree.apply(Zxid(1), 1, CreateTxn("/a", b"x", ACLS[3], TTL, 0, 500, 1))
    rows = tree.freeze().rows(100)
    digests = {digest_of(rows)}
    for at, other in enumerate(["/b", None, None, *(number + 1 for number in rows[-1][3:] if isinstance(number, int))]):
        digests.add(digest_of([*rows[:-1], (*rows[-1][:at], other, *rows[-1][at + 1 :])]))

    assert len(digests) == 1 + len(rows[0])


def test_the_digest_is_the_same_on_every_machine() -> None:
    tree = Tree()
    tree.apply(Zxid(1 << 32 | 1), 1_700_000_000_000, CreateTxn("/Ω", b"\x00\xff", ACLS[3], PERSISTENT, 0, 0, 1))

    assert Tree().digest() == EMPTY_DIGEST
    assert tree.digest() == ONE_DIGEST


EMPTY_DIGEST = 0x65A898B60DC9941B
ONE_DIGEST = 0xD8BE195D4A98DCC6


def test_the_config_of_a_server_is_its_own_until_a_txn_writes_it() -> None:
    ours = Tree(standalone=False, config=b"ours")
    theirs = Tree(standalone=True, config=b"theirs")
    assert ours.digest() == theirs.digest()

    loaded = Tree.from_rows(ours.freeze().rows(100), standalone=True, config=b"theirs")
    assert loaded.nodes[CONFIG_PATH].data == b"theirs"
    assert loaded.nodes[CONFIG_PATH].version == 0
    assert loaded.data_bytes == theirs.data_bytes

    ours.apply(Zxid(1), 1, SetDataTxn(CONFIG_PATH, b"everybody's", 0))
    loaded = Tree.from_rows(ours.freeze().rows(100), standalone=True, config=b"theirs")
    assert loaded.nodes[CONFIG_PATH].data == b"everybody's"
    assert loaded.digest() == ours.digest() != theirs.digest()


ROOT, ZOOKEEPER, QUOTA, CONFIG = Tree().freeze().rows(4)
ORPHAN: Row = ("/x/y", *ROOT[1:])


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [ROOT],
        [ROOT, ZOOKEEPER, QUOTA],
        [ZOOKEEPER, ROOT, QUOTA, CONFIG],
        [ROOT, ROOT, ZOOKEEPER, QUOTA, CONFIG],
        [ROOT, ZOOKEEPER, QUOTA, CONFIG, QUOTA],
        [ROOT, ZOOKEEPER, QUOTA, CONFIG, ORPHAN],
        [ROOT, ZOOKEEPER, QUOTA, CONFIG, ("x", *ROOT[1:])],
        [ROOT, ZOOKEEPER, QUOTA, CONFIG, ("", *ROOT[1:])],
        [ROOT, ZOOKEEPER, QUOTA, CONFIG, (None, *ROOT[1:])],
        [ROOT, ZOOKEEPER, QUOTA, CONFIG, ("/x", *ROOT[1:-1])],
        [ROOT, ZOOKEEPER, QUOTA, CONFIG, ("/x", *ROOT[1:], 0)],
        [ROOT, ZOOKEEPER, QUOTA, CONFIG, ("/x", "text", *ROOT[2:])],
        [ROOT, ZOOKEEPER, QUOTA, CONFIG, ("/x", b"", ((1, "world"),), *ROOT[3:])],
        [ROOT, ZOOKEEPER, QUOTA, CONFIG, ("/x", b"", (7,), *ROOT[3:])],
        [ROOT, ZOOKEEPER, QUOTA, CONFIG, ("/x", b"", None, True, *ROOT[4:])],
        [ROOT, ZOOKEEPER, QUOTA, CONFIG, ("/x", b"", None, 4, *ROOT[4:])],
    ],
)
def test_rows_that_make_no_tree_are_refused(rows: list[Row]) -> None:
    with pytest.raises(RowsError):
        Tree.from_rows(rows)
