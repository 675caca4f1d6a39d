"""Quotas count what they should, on every replica alike. Texts and numbers: as asked of Apache ZooKeeper 3.8.0."""

from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from zabpy.model import (
    CONTAINER,
    EPHEMERAL,
    OPEN_ACL,
    PERSISTENT,
    CloseSessionTxn,
    CreateTxn,
    DeleteTxn,
    MultiTxn,
    ReconfigTxn,
    SetDataTxn,
    Zxid,
    parent_of,
)
from zabpy.tree import DATA_CHANGED, Row, Tree
from zabpy.tree.quota import Exceeded, Quotas, Text, Usage, read_text

Q, L, S = "/zookeeper/quota", "/zookeeper_limits", "/zookeeper_stats"


class Story:
    """A tree and what is done to it."""

    def __init__(self) -> None:
        self.tree = Tree()
        self.zxid = 0

    def apply(self, body: Any) -> Any:
        self.zxid += 1
        return self.tree.apply(Zxid(self.zxid), self.zxid, body)

    def create_txn(self, path: str, data: bytes | None = b"", kind: int = PERSISTENT, owner: int = 0) -> CreateTxn:
        parent = self.tree.nodes.get(parent_of(path))
        creations = 1 if parent is None else parent.creations + 1
        return CreateTxn(path, data, OPEN_ACL, kind, owner, 0, creations)

    def create(self, path: str, data: bytes | None = b"", kind: int = PERSISTENT, owner: int = 0) -> None:
        self.apply(self.create_txn(path, data, kind, owner))

    def set(self, path: str, data: bytes | None) -> Any:
        return self.apply(SetDataTxn(path, data, self.tree.nodes[path].version + 1))

    def delete(self, path: str) -> None:
        self.apply(DeleteTxn(path))

    def quota(self, path: str, limits: bytes = b"count=-1,bytes=-1") -> None:
        at = Q
        for name in path.split("/")[1:]:
            at += "/" + name
            if at not in self.tree.nodes:
                self.create(at)
        self.create(f"{Q}{path}{L}", limits)
        self.create(f"{Q}{path}{S}", b"count=0,bytes=0")

    def stats(self, path: str) -> bytes | None:
        return self.tree.nodes[f"{Q}{path}{S}"].data


def test_what_happens_below_the_path_is_counted_in_place_and_no_watch_fires() -> None:
    story = Story()
    story.create("/a", b"12345")
    story.create("/a/b", b"1")
    story.quota("/a")
    assert story.stats("/a") == b"count=2,bytes=6"  # what was there before, with the path itself
    stats = story.tree.nodes[f"{Q}/a{S}"]
    before = stats.stat()._replace(data_length=0)

    story.create("/a/c", b"12")
    assert story.stats("/a") == b"count=3,bytes=8"
    outcome = story.set("/a/b", b"123")
    assert story.stats("/a") == b"count=3,bytes=10"
    assert [event[:2] for event in outcome.events] == [(DATA_CHANGED, "/a/b")]
    story.set("/a/b", None)
    assert story.stats("/a") == b"count=3,bytes=7"
    story.delete("/a/c")
    assert story.stats("/a") == b"count=2,bytes=5"
    story.create("/ab", b"elsewhere")
    assert story.stats("/a") == b"count=2,bytes=5"
    assert stats.stat()._replace(data_length=0) == before
    assert stats.stat().data_length == 15


def test_ephemerals_containers_and_the_parts_of_a_multi_are_counted() -> None:
    story = Story()
    story.create("/a")
    story.quota("/a")
    story.create("/a/e1", b"1", EPHEMERAL, 7)
    story.create("/a/e2", b"22", EPHEMERAL, 7)
    story.create("/a/c", b"333", CONTAINER)
    assert story.stats("/a") == b"count=4,bytes=6"
    story.apply(CloseSessionTxn(("/a/e1", "/a/e2")))
    assert story.stats("/a") == b"count=2,bytes=3"
    story.apply(MultiTxn((2, 1, 5), (DeleteTxn("/a/c"), story.create_txn("/a/x", b"1"), SetDataTxn("/a/x", b"12", 1))))
    assert story.stats("/a") == b"count=2,bytes=2"


def test_a_quota_begins_with_its_limits_and_ends_with_them() -> None:
    story = Story()
    story.create("/a")
    story.create(f"{Q}/a")
    story.create(f"{Q}/a{S}", b"")
    assert story.stats("/a") == b"count=1,bytes=0"  # counted once, but not kept up
    story.create("/a/b")
    assert story.stats("/a") == b"count=1,bytes=0"
    story.create(f"{Q}/a{L}", b"count=1,bytes=-1")
    story.create("/a/c")
    assert story.stats("/a") == b"count=2,bytes=0"
    story.delete(f"{Q}/a{L}")
    story.create("/a/d")
    assert story.stats("/a") == b"count=2,bytes=0"
    assert not story.tree.quotas.paths
    story.delete(f"{Q}/a{S}")
    story.create(f"{Q}/a{L}")
    story.create("/a/e")  # nowhere to put it
    story.create(f"{Q}/a{S}")
    assert story.stats("/a") == b"count=5,bytes=0"


def test_only_the_deepest_quota_counts() -> None:
    story = Story()
    story.create("/a")
    story.create("/a/b")
    story.quota("/a")
    story.quota("/a/b")
    story.create("/a/b/x", b"123")
    story.set("/a/b", b"1")
    assert (story.stats("/a"), story.stats("/a/b")) == (b"count=2,bytes=0", b"count=2,bytes=4")
    story.delete(f"{Q}/a/b{L}")
    story.create("/a/b/y", b"1")
    assert (story.stats("/a"), story.stats("/a/b")) == (b"count=3,bytes=1", b"count=2,bytes=4")


@pytest.mark.parametrize("path", ["/zookeeper", "/zookeeper/config"])
def test_what_a_servers_own_file_says_counts_for_nothing_or_replicas_would_differ(path: str) -> None:
    stories = Story(), Story()
    stories[1].tree = Tree(standalone=False, config=b"server.1=one:2888:3888:participant")
    told = []
    for story in stories:
        story.quota(path)
        told.append(story.stats(path))
        story.apply(ReconfigTxn(b"version=1"))
        told.append(story.stats(path))
        story.create("/zookeeper/quota/more", b"12")
        told.append(story.stats(path))
    assert told[:3] == told[3:]
    assert stories[0].tree.digest() == stories[1].tree.digest()
    again = Tree.from_rows(list(stories[0].tree.freeze().rows(100)), config=b"another one")
    assert again.digest() == stories[0].tree.digest()


def test_a_path_that_is_not_there_yet_and_the_root_which_has_no_quota() -> None:
    story = Story()
    story.quota("/no")
    assert story.stats("/no") == b"count=0,bytes=0"
    story.create("/no", b"ab")
    assert story.stats("/no") == b"count=1,bytes=2"
    story.create(f"{Q}{L}", b"count=1,bytes=1=;byteHardLimit=1;countHardLimit=1")
    story.create(f"{Q}{S}", b"mine")
    story.create("/other", b"x")
    assert story.tree.nodes[Q + S].data == b"mine"
    assert story.tree.quotas.find("/other") == ""


@pytest.mark.parametrize(
    ("text", "then"),
    [
        (b"count=100,bytes=5=;zz=7;byteHardLimit=3", b"count=101,bytes=6=;byteHardLimit=3;zz=7"),
        (b"", b"count=0,bytes=0"),
        (b"count==5=,bytes=9==", b"count=0,bytes=10"),
        (b"bytes=1", b"count=0,bytes=2"),
        (b"count=+3;;bytes=-7,", b"count=4,bytes=-6"),
        (b"count=9223372036854775807,bytes=0", b"count=-9223372036854775808,bytes=1"),
        # What ZooKeeper cannot read and fails on is counted anew.
        (None, b"count=2,bytes=6"),
        (b"garbage", b"count=2,bytes=6"),
        (b"count=", b"count=2,bytes=6"),
        (b"count=1_0,bytes=1", b"count=2,bytes=6"),
        (b"count= 1,bytes=1", b"count=2,bytes=6"),
        ("count=١,bytes=1".encode(), b"count=2,bytes=6"),
        (b"count=99999999999999999999", b"count=2,bytes=6"),
        (b",count=1", b"count=2,bytes=6"),
        (b"\xff\xfe=1\x00", b"count=2,bytes=6"),
        (b"count=1,bytes=1=;" + b"x" * 5000 + b"=1", b"count=2,bytes=6"),
    ],
)
def test_whatever_a_client_writes_into_the_stats(text: bytes | None, then: bytes) -> None:
    story = Story()
    story.create("/a", b"12345")
    story.quota("/a")
    story.set(f"{Q}/a{S}", text)
    story.create("/a/b", b"1")
    assert story.stats("/a") == then


def test_texts_are_written_as_zookeeper_writes_them() -> None:
    assert Text(5, 1024).packed() == b"count=5,bytes=1024"
    assert Text(-1, -1, 2, -1).packed() == b"count=-1,bytes=-1=;countHardLimit=2"
    assert Text(1, 2, 3, 4).packed() == b"count=1,bytes=2=;byteHardLimit=4;countHardLimit=3"
    assert read_text(Text(1, 2, 3, 4).packed()) == Text(1, 2, 3, 4)
    assert read_text(b"count=-1,bytes=-1=;byteHardLimit=-1;countHardLimit=2") == Text(-1, -1, 2, -1)


def test_what_goes_beyond_a_limit() -> None:
    story = Story()
    story.create("/a", b"12345")
    story.quota("/a", b"count=1,bytes=5")

    def told(count: int, more: int) -> list[Exceeded]:
        return list(story.tree.quotas.exceeded("/a/x/y", count, more))

    assert told(0, 0) == []
    assert told(1, 0) == [Exceeded("/a", "count", 2, 1, False)]
    assert told(1, 1) == [Exceeded("/a", "count", 2, 1, False), Exceeded("/a", "bytes", 6, 5, False)]
    story.set(f"{Q}/a{L}", b"count=1,bytes=5=;byteHardLimit=4;countHardLimit=2")
    assert told(1, 0) == []  # where there is a hard limit, the soft one is not looked at
    assert told(0, -1) == []
    assert told(0, 1) == [Exceeded("/a", "bytes", 6, 4, True)]
    story.set(f"{Q}/a{L}", b"nonsense")
    assert told(100, 100) == []
    assert list(story.tree.quotas.exceeded("/b", 100, 100)) == []


def test_gauges_by_the_first_name_of_the_path() -> None:
    story = Story()
    story.create("/a", b"12345")
    story.create("/a/b", b"1")
    story.quota("/a", b"count=3,bytes=-1")
    story.quota("/a/b", b"count=10,bytes=7=;byteHardLimit=9;countHardLimit=-1")
    story.quota("/z", b"?")
    assert story.tree.quotas.by_namespace() == {"a": Usage(13, 9, 3, 7), "z": Usage(-1, -1, 0, 0)}


def test_a_subtree_is_walked_once_however_often_its_stats_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    walks: list[str] = []
    walk = Quotas._walk

    def counted(self: Quotas, path: str) -> tuple[int, int]:
        walks.append(path)
        return walk(self, path)

    monkeypatch.setattr(Quotas, "_walk", counted)
    story = Story()
    story.create("/a", b"12345")
    for number in range(5):
        story.quota("/a")
        story.create(f"/a/{number}", b"1")
        story.set(f"{Q}/a{S}", b"garbage")
        story.set(f"/a/{number}", b"12")  # with such a text the usage is found anew
        for name in (f"{Q}/a{S}", f"{Q}/a{L}", f"{Q}/a"):
            story.delete(name)
        story.create(f"/a/{number}/unseen", b"1234")  # while there is no quota at all
        story.set(f"/a/{number}", b"1")
    story.quota("/a")
    assert story.stats("/a") == b"count=%d,bytes=%d" % count(story.tree, "/a")
    assert walks == ["/a"]


def test_what_is_kept_of_counted_subtrees_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zabpy.tree.quota._KNOWN_MAX", 3)
    story = Story()
    for name in "abcde":
        story.create(f"/{name}")
        story.quota(f"/{name}")
    story.quota("/zookeeper")
    assert list(story.tree.quotas.known) == ["/c", "/d", "/e"]


# Any history, against counting anew --------------------------------------------------------------------------------

PLACES = ["/a", "/b", "/a/a", "/a/b", "/a/a/a", "/zookeeper"]
DATAS = st.sampled_from([None, b"", b"1", b"12345", b"count=7,bytes=8", b"?"])


def count(tree: Tree, path: str) -> tuple[int, int]:
    mine = [znode for each, znode in tree.nodes.items() if each == path or each.startswith(path + "/")]
    return len(mine), sum(len(znode.data or b"") for znode in mine)


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_replicas_stay_equal_however_each_came_to_its_state(data: st.DataObject) -> None:
    story, twin, late = Story(), Tree(), None
    tree = story.tree
    frozen, at_freezing = None, 0
    rows: list[Row] = []
    for _ in range(data.draw(st.integers(1, 40))):
        paths = [path for path in tree.nodes if path.startswith((Q, "/a", "/b"))]
        what = data.draw(st.sampled_from(["create", "create", "quota", "quota", "set", "delete", "freeze", "slice"]))
        body: Any = None
        if what == "create":
            path = data.draw(st.sampled_from(PLACES[:-1]))
            if path not in tree.nodes and parent_of(path) in tree.nodes:
                body = story.create_txn(path, data.draw(DATAS))
        elif what == "quota":
            path = Q + data.draw(st.sampled_from(PLACES)) + data.draw(st.sampled_from(["", L, S]))
            if path not in tree.nodes and parent_of(path) in tree.nodes:
                body = story.create_txn(path, data.draw(DATAS))
        elif what == "set":
            path = data.draw(st.sampled_from(paths))
            body = SetDataTxn(path, data.draw(DATAS), tree.nodes[path].version + 1)
        elif what == "delete":
            lone = [path for path in paths if path != Q and not tree.nodes[path].children]
            body = DeleteTxn(data.draw(st.sampled_from(lone))) if lone else None
        elif what == "freeze" and frozen is None:
            frozen, at_freezing, rows = tree.freeze(), tree.digest(), []
        elif what == "slice" and frozen is not None:
            rows += frozen.rows(3)
        if body is None:
            continue
        story.apply(body)
        twin.apply(Zxid(story.zxid), story.zxid, body)
        if late is None:
            late = Tree.from_rows(tree.freeze().rows(1000)) if data.draw(st.booleans()) else None
        else:
            late.apply(Zxid(story.zxid), story.zxid, body)
        assert tree.quotas.paths == {
            path.removeprefix(Q).removesuffix(L) for path in tree.nodes if path.startswith(Q) and path.endswith(L)
        } - {""}
    assert tree.digest() == twin.digest()
    assert tree.data_bytes == sum(len(path) + len(znode.data or b"") for path, znode in tree.nodes.items())
    if late is not None:
        assert late.digest() == tree.digest()
        assert late.quotas.paths == tree.quotas.paths
    if frozen is not None:
        while slice := frozen.rows(3):
            rows += slice
        assert Tree.from_rows(rows).digest() == at_freezing


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_without_quotas_in_one_another_the_stats_are_what_counting_anew_gives(data: st.DataObject) -> None:
    story = Story()
    tree = story.tree
    wanted = data.draw(st.sets(st.sampled_from(["/a", "/b"]), min_size=1))
    for _ in range(data.draw(st.integers(1, 30))):
        what = data.draw(st.sampled_from(["create", "set", "delete", "quota"]))
        path = data.draw(st.sampled_from(PLACES))
        there = path in tree.nodes
        if what == "quota" and path in wanted and f"{Q}{path}" not in tree.nodes:
            story.quota(path)
        elif path == "/zookeeper":
            pass
        elif what == "create" and not there and parent_of(path) in tree.nodes:
            story.create(path, data.draw(DATAS))
        elif what == "set" and there:
            story.set(path, data.draw(DATAS))
        elif what == "delete" and there and not tree.nodes[path].children:
            story.delete(path)
        for quota in tree.quotas.paths:
            assert story.stats(quota) == b"count=%d,bytes=%d" % count(tree, quota)


def test_a_snapshot_holds_the_usage_of_its_moment_and_counting_goes_on_from_it() -> None:
    story = Story()
    story.create("/a", b"12345")
    story.create("/a/b")
    story.quota("/a")
    story.quota("/a/b")
    story.create("/a/b/x", b"1")  # counted in the deeper one only: counting anew would give the other one more
    frozen, digest = story.tree.freeze(), story.tree.digest()
    rows = frozen.rows(3)
    story.create("/a/c", b"12")  # changes a stats znode without a txn of its own
    story.delete("/a/b/x")
    while slice := frozen.rows(3):
        rows += slice
    late = Tree.from_rows(rows)
    assert late.digest() == digest
    assert late.quotas.paths == {"/a", "/a/b"}
    late.apply(Zxid(story.zxid - 1), story.zxid - 1, CreateTxn("/a/c", b"12", OPEN_ACL, PERSISTENT, 0, 0, 2))
    late.apply(Zxid(story.zxid), story.zxid, DeleteTxn("/a/b/x"))
    assert late.digest() == story.tree.digest()
    assert (story.stats("/a"), story.stats("/a/b")) == (b"count=3,bytes=7", b"count=1,bytes=0")
