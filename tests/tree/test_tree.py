"""What each txn does to the tree: Stat, events, and what stands beside the znodes."""

import struct

import pytest

from zabpy.model import (
    ALL,
    CONTAINER,
    EPHEMERAL,
    OPEN_ACL,
    PERSISTENT,
    READ_ACL,
    TTL,
    Acl,
    Body,
    CheckTxn,
    CloseSessionTxn,
    CreateSessionTxn,
    CreateTxn,
    DeleteTxn,
    ErrorTxn,
    FailedMultiTxn,
    MultiTxn,
    SetAclTxn,
    SetDataTxn,
    Stat,
    Zxid,
)
from zabpy.tree import (
    CHILDREN_CHANGED,
    CONFIG_PATH,
    CREATED,
    DATA_CHANGED,
    DELETED,
    Event,
    Outcome,
    Tree,
    Znode,
)

SECRET = (Acl(ALL, "digest", "bob:hash"),)


def create(path: str, creations: int, data: bytes | None = b"", kind: int = PERSISTENT, owner: int = 0) -> CreateTxn:
    return CreateTxn(path, data, OPEN_ACL, kind, owner, 0, creations)


def grown(*bodies: CreateTxn) -> Tree:
    """A tree in which these were created, at zxid and time 1, 2, 3…"""
    tree = Tree()
    for number, body in enumerate(bodies, 1):
        tree.apply(Zxid(number), number, body)
    return tree


def stat(tree: Tree, path: str) -> Stat:
    return tree.nodes[path].stat()


def test_a_new_tree_holds_the_built_in_znodes() -> None:
    tree = Tree()

    assert list(tree.nodes) == ["/", "/zookeeper", "/zookeeper/quota", "/zookeeper/config"]
    assert stat(tree, "/") == Stat(0, 0, 0, 0, 0, -1, 0, 0, 0, 1, 0)
    assert stat(tree, "/zookeeper") == Stat(0, 0, 0, 0, 0, -2, 0, 0, 0, 2, 0)
    assert stat(tree, "/zookeeper/quota") == Stat(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
    assert stat(tree, CONFIG_PATH) == Stat(0, 0, 0, 0, 0, 0, -1, 0, 0, 0, 0)
    assert {path: znode.acl for path, znode in tree.nodes.items()} == {
        "/": OPEN_ACL,
        "/zookeeper": OPEN_ACL,
        "/zookeeper/quota": OPEN_ACL,
        CONFIG_PATH: READ_ACL,
    }
    assert all(znode.data == b"" for znode in tree.nodes.values())
    assert tree.descendants("/") == 3


def test_in_an_ensemble_the_config_has_version_minus_one_and_the_text_given() -> None:
    tree = Tree(standalone=False, config=b"version=0")

    assert stat(tree, CONFIG_PATH) == Stat(0, 0, 0, 0, -1, 0, -1, 0, 9, 0, 0)
    assert tree.nodes[CONFIG_PATH].data == b"version=0"


def test_create_sets_every_field_of_the_new_znode_and_counts_at_the_parent() -> None:
    tree = grown(create("/a", 1))

    outcome = tree.apply(Zxid(9), 90, CreateTxn("/a/b", b"xyz", SECRET, PERSISTENT, 0, 0, 1))

    assert outcome == Outcome(
        tree.nodes["/a/b"], (), (Event(CREATED, "/a/b", SECRET), Event(CHILDREN_CHANGED, "/a", OPEN_ACL))
    )
    assert stat(tree, "/a/b") == Stat(9, 9, 90, 90, 0, 0, 0, 0, 3, 0, 9)
    assert stat(tree, "/a") == Stat(1, 1, 1, 1, 0, 1, 0, 0, 0, 1, 9)
    assert tree.nodes["/a"].children == {"b": None}
    assert tree.nodes["/a/b"].data == b"xyz"


def test_null_data_is_kept_apart_from_empty_data() -> None:
    tree = grown(create("/null", 1, None), create("/empty", 2, b""))

    assert tree.nodes["/null"].data is None
    assert tree.nodes["/empty"].data == b""
    assert stat(tree, "/null").data_length == 0


def test_delete_counts_at_the_parent_and_tells_the_acl_the_znode_had() -> None:
    tree = grown(CreateTxn("/a", b"", SECRET, PERSISTENT, 0, 0, 1))

    outcome = tree.apply(Zxid(5), 50, DeleteTxn("/a"))

    assert outcome == Outcome(None, (), (Event(DELETED, "/a", SECRET), Event(CHILDREN_CHANGED, "/", OPEN_ACL)))
    assert "/a" not in tree.nodes
    assert stat(tree, "/") == Stat(0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 5)


def test_visible_cversion_is_creations_plus_deletions() -> None:
    tree = grown(create("/p", 1), create("/p/a", 1), create("/p/b", 2), create("/p/c", 3))
    assert stat(tree, "/p").cversion == 3

    tree.apply(Zxid(5), 5, DeleteTxn("/p/b"))

    assert stat(tree, "/p").cversion == 4


def test_visible_cversion_wraps_at_32_bits() -> None:
    tree = grown(create("/p", 1), create("/p/a", 2**31 - 1))

    assert stat(tree, "/p").cversion == -3  # as Java's int arithmetic has it
    assert len(tree.nodes["/p"].packed_stat()) == 68


def test_set_data_changes_data_version_mzxid_and_mtime_only() -> None:
    tree = grown(create("/a", 1))

    outcome = tree.apply(Zxid(7), 70, SetDataTxn("/a", b"new", 1))

    assert outcome == Outcome(tree.nodes["/a"], (), (Event(DATA_CHANGED, "/a", OPEN_ACL),))
    assert stat(tree, "/a") == Stat(1, 7, 1, 70, 1, 0, 0, 0, 3, 0, 1)


def test_set_acl_changes_acl_and_aversion_only_and_fires_nothing() -> None:
    tree = grown(create("/a", 1))

    outcome = tree.apply(Zxid(7), 70, SetAclTxn("/a", SECRET, 1))

    assert outcome == Outcome(tree.nodes["/a"], (), ())
    assert stat(tree, "/a") == Stat(1, 1, 1, 1, 0, 0, 1, 0, 0, 0, 1)
    assert tree.nodes["/a"].acl == SECRET


def test_the_owner_shows_for_ephemerals_and_ttl_and_container_show_none() -> None:
    tree = grown(create("/e", 1, kind=EPHEMERAL, owner=-77), create("/c", 2, kind=CONTAINER))
    tree.apply(Zxid(9), 9, CreateTxn("/t", b"", OPEN_ACL, TTL, 0, 5000, 3))

    assert [stat(tree, path).ephemeral_owner for path in ("/e", "/c", "/t")] == [-77, 0, 0]
    assert tree.ephemerals.of(-77) == ["/e"]
    assert (tree.lifetimes.containers, tree.lifetimes.ttls) == (1, 1)


def test_a_closing_session_takes_exactly_what_the_txn_lists_in_its_order() -> None:
    tree = grown(
        create("/p", 1),
        create("/p/2", 1, kind=EPHEMERAL, owner=5),
        create("/p/1", 2, kind=EPHEMERAL, owner=5),
        create("/p/3", 3, kind=EPHEMERAL, owner=5),
    )

    outcome = tree.apply(Zxid(9), 90, CloseSessionTxn(("/p/1", "/p/2")))

    assert outcome.events == (
        Event(DELETED, "/p/1", OPEN_ACL),
        Event(CHILDREN_CHANGED, "/p", OPEN_ACL),
        Event(DELETED, "/p/2", OPEN_ACL),
        Event(CHILDREN_CHANGED, "/p", OPEN_ACL),
    )
    assert tree.ephemerals.of(5) == ["/p/3"]
    assert stat(tree, "/p").pzxid == 9
    assert stat(tree, "/p").cversion == 5


def test_the_parts_of_a_multi_tell_the_stat_right_behind_each_operation() -> None:
    tree = Tree()
    bodies = (create("/a", 1), CheckTxn("/a"), SetDataTxn("/a", b"12", 1), DeleteTxn("/a"))

    outcome = tree.apply(Zxid(3), 30, MultiTxn((15, 13, 5, 2), bodies))

    assert outcome.znode is None
    assert outcome.parts == (
        Stat(3, 3, 30, 30, 0, 0, 0, 0, 0, 0, 3).packed(),
        None,
        Stat(3, 3, 30, 30, 1, 0, 0, 0, 2, 0, 3).packed(),
        None,
    )
    assert [(event.type, event.path) for event in outcome.events] == [
        (CREATED, "/a"),
        (CHILDREN_CHANGED, "/"),
        (DATA_CHANGED, "/a"),
        (DELETED, "/a"),
        (CHILDREN_CHANGED, "/"),
    ]


@pytest.mark.parametrize(
    "body",
    [ErrorTxn(-101), FailedMultiTxn(-110, 0, 1), CreateSessionTxn(1000, b"p"), CheckTxn("/"), MultiTxn((), ())],
    ids=lambda body: type(body).__name__,
)
def test_what_changes_no_znode_leaves_the_digest_alone(
    body: ErrorTxn | FailedMultiTxn | CreateSessionTxn | CheckTxn | MultiTxn,
) -> None:
    tree = grown(create("/a", 1))
    before = tree.digest()

    assert tree.apply(Zxid(9), 9, body) == Outcome(None, (), ())
    assert tree.digest() == before


def test_packed_stat_is_stat_packed() -> None:
    tree = grown(create("/e", 1, b"data", EPHEMERAL, -(2**63)), create("/p", 2, None), create("/p/c", 1))

    for znode in tree.nodes.values():
        assert znode.packed_stat() == znode.stat().packed()
        assert struct.unpack(">qqqqiiiqiiq", znode.packed_stat()) == znode.stat()


def test_a_kept_reply_goes_whenever_data_or_stat_change() -> None:
    tree = grown(create("/p", 1), create("/p/c", 1))
    parent, child = tree.nodes["/p"], tree.nodes["/p/c"]
    steps: list[tuple[Body, Znode]] = [
        (SetDataTxn("/p", b"x", 1), parent),
        (SetAclTxn("/p", SECRET, 1), parent),
        (create("/p/d", 2), parent),
        (SetDataTxn("/p/c", b"x", 1), child),
        (DeleteTxn("/p/d"), parent),
    ]

    for number, (body, touched) in enumerate(steps, 10):
        parent.reply = child.reply = b"kept"
        tree.apply(Zxid(number), number, body)
        assert [znode for znode in (parent, child) if znode.reply is None] == [touched], body


def test_the_size_counts_paths_and_data() -> None:
    tree = Tree()
    fresh = tree.data_bytes
    assert fresh == len("/") + len("/zookeeper") + len("/zookeeper/quota") + len("/zookeeper/config")

    tree.apply(Zxid(1), 1, create("/ab", 1, b"12345"))
    assert tree.data_bytes == fresh + 8
    tree.apply(Zxid(2), 2, SetDataTxn("/ab", None, 1))
    assert tree.data_bytes == fresh + 3
    tree.apply(Zxid(3), 3, DeleteTxn("/ab"))
    assert tree.data_bytes == fresh


def test_descendants_counts_all_below() -> None:
    tree = grown(create("/a", 1), create("/a/b", 1), create("/a/b/c", 1), create("/ab", 2), create("/ab/x", 1))

    assert [tree.descendants(path) for path in ("/a", "/a/b", "/a/b/c", "/ab", "/")] == [2, 1, 0, 1, 8]


def test_equal_acls_share_memory() -> None:
    tree = Tree()
    for number in (1, 2):
        own = (Acl(ALL, "digest", "bob:" + "hash"),)
        tree.apply(Zxid(number), 1, CreateTxn(f"/{number}", b"", own, PERSISTENT, 0, 0, number))
    tree.apply(Zxid(3), 1, CreateTxn("/open", b"", (Acl(ALL, "world", "anyone"),), PERSISTENT, 0, 0, 3))

    assert tree.nodes["/1"].acl is tree.nodes["/2"].acl
    assert tree.nodes["/open"].acl is OPEN_ACL


@pytest.mark.parametrize(
    "body",
    [
        create("/a", 1),  # there already
        create("/e/c", 1),  # below an ephemeral
        create("/none/c", 1),
        DeleteTxn("/p"),  # has a child
        DeleteTxn("/zookeeper/quota"),
        DeleteTxn("/none"),
        SetDataTxn("/none", b"", 1),
    ],
)
def test_what_prepare_cannot_have_let_through_stops_the_replica(body: CreateTxn | DeleteTxn | SetDataTxn) -> None:
    tree = grown(create("/a", 1), create("/e", 2, kind=EPHEMERAL, owner=1), create("/p", 3), create("/p/c", 1))
    before = tree.digest()

    with pytest.raises((AssertionError, KeyError)):
        tree.apply(Zxid(9), 9, body)
    assert tree.digest() == before
