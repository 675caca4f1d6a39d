"""What the leader may delete by itself, and when."""

from zabpy.model import CONTAINER, EPHEMERAL, OPEN_ACL, PERSISTENT, TTL, CreateTxn, DeleteTxn, SetDataTxn, Zxid
from zabpy.tree import Tree


class Story:
    """A tree whose txns are told in one line each."""

    def __init__(self) -> None:
        self.tree = Tree()
        self.zxid = 0

    def create(self, path: str, kind: int, at_ms: int, ttl_ms: int = 0) -> None:
        self.zxid += 1
        parent = self.tree.nodes[path[: path.rindex("/")] or "/"]
        owner = 7 if kind == EPHEMERAL else 0
        self.tree.apply(
            Zxid(self.zxid), at_ms, CreateTxn(path, b"", OPEN_ACL, kind, owner, ttl_ms, parent.creations + 1)
        )

    def delete(self, path: str) -> None:
        self.zxid += 1
        self.tree.apply(Zxid(self.zxid), 0, DeleteTxn(path))

    def set(self, path: str, at_ms: int) -> None:
        self.zxid += 1
        self.tree.apply(Zxid(self.zxid), at_ms, SetDataTxn(path, b"", 1))

    def due(self, now_ms: int, never_used_ms: int = 300_000, count_max: int = 100) -> list[str]:
        found = self.tree.lifetimes.due(now_ms, never_used_ms, count_max)
        again = Tree.from_rows(self.tree.freeze().rows(10_000)).lifetimes.due(now_ms, never_used_ms, count_max)
        assert sorted(again) == sorted(found)
        return found


def test_a_container_is_due_once_its_last_child_is_gone() -> None:
    story = Story()
    story.create("/c", CONTAINER, 0)
    assert story.due(1000) == []
    story.create("/c/a", PERSISTENT, 0)
    story.create("/c/b", EPHEMERAL, 0)
    assert story.due(10**9) == []
    story.delete("/c/a")
    assert story.due(10**9) == []
    story.delete("/c/b")
    assert story.due(0) == ["/c"]
    assert story.due(0) == ["/c"]  # until it is gone
    story.create("/c/a", PERSISTENT, 0)
    assert story.due(10**9) == []
    story.delete("/c/a")
    story.delete("/c")
    assert story.due(10**9) == []
    assert story.tree.lifetimes.containers == 0


def test_a_container_never_used_is_kept_for_its_time_or_for_ever() -> None:
    story = Story()
    story.create("/c", CONTAINER, 1000)

    assert story.due(1000 + 299_999) == []
    assert story.due(1000 + 300_000) == ["/c"]
    assert story.due(10**12, never_used_ms=0) == []


def test_a_ttl_znode_is_due_when_nobody_wrote_for_longer_than_its_ttl() -> None:
    story = Story()
    story.create("/t", TTL, 1000, ttl_ms=4000)

    assert story.due(5000) == []
    assert story.due(5001) == ["/t"]
    story.set("/t", 3000)
    assert story.due(7000) == []
    assert story.due(7001) == ["/t"]
    story.create("/t/child", PERSISTENT, 8000)
    assert story.due(10**9) == []
    story.delete("/t/child")
    assert story.due(9000) == ["/t"]
    story.delete("/t")
    assert story.due(10**9) == []
    assert story.tree.lifetimes.ttls == 0


def test_a_deadline_may_be_met_a_second_late_but_never_early() -> None:
    story = Story()
    for number in range(1000):
        story.create(f"/t{number:03}", TTL, number, ttl_ms=1)

    for now_ms in (1, 500, 999, 1001):
        due = story.due(now_ms, count_max=10_000)
        ripe = [f"/t{number:03}" for number in range(1000) if now_ms - number > 1]
        assert set(due) <= set(ripe)
    assert len(story.due(2001, count_max=10_000)) == 1000


def test_no_more_than_asked_for_containers_first() -> None:
    story = Story()
    story.create("/t", TTL, 0, ttl_ms=1)
    for name in "abc":
        story.create(f"/{name}", CONTAINER, 0)

    assert story.due(10**6, count_max=2) == ["/a", "/b"]
    assert story.due(10**6, count_max=3) == ["/a", "/b", "/c"]
    assert story.due(10**6, count_max=4) == ["/a", "/b", "/c", "/t"]
    assert story.due(10**6, count_max=0) == []
