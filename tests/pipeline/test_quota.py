"""Quotas as they are enforced: the answers are those Apache ZooKeeper 3.8.0 gave with enforceQuota."""

import pytest

from tests.pipeline.conftest import World
from zabpy.model import OPEN_ACL, FailedMultiTxn, MultiTxn
from zabpy.pipeline import Preparer, Rules
from zabpy.tree import Exceeded
from zabpy.wire import Op, records as r

Q, L, S = "/zookeeper/quota", "/zookeeper_limits", "/zookeeper_stats"
EXCEEDED = -125


def world_of(*, enforce: bool) -> tuple[World, list[Exceeded]]:
    world = World(Rules(enforce_quota=enforce))
    told: list[Exceeded] = []
    world.preparer = Preparer(
        world.state, lambda count: bytes(count), rules=world.preparer.rules, quota_exceeded=told.append
    )
    assert world.create("/a", b"12345") == world.create("/a/b", b"1") == world.create(Q + "/a") == 0
    return world, told


def limits(world: World, text: bytes) -> None:
    if Q + "/a" + L in world.state.tree.nodes:
        assert put(world, Q + "/a" + L, text) == 0
    else:
        assert world.create(Q + "/a" + L, text) == 0
        assert world.create(Q + "/a" + S) == 0


def put(world: World, path: str, data: bytes, version: int = -1) -> int:
    return world.write(Op.SET_DATA, r.SetDataRequest(path, data, version))[0]


def new(path: str, data: bytes = b"") -> tuple[int, r.CreateRequest]:
    return int(Op.CREATE), r.CreateRequest(path, data, OPEN_ACL, 0)


def test_creates_beyond_the_hard_count_are_refused() -> None:
    world, told = world_of(enforce=True)
    limits(world, b"count=1,bytes=-1=;byteHardLimit=-1;countHardLimit=3")
    assert world.create("/a/c") == 0
    assert world.create("/a/d") == EXCEEDED
    assert "/a/d" not in world.state.tree.nodes
    assert told == [Exceeded("/a", "count", 4, 3, True)]
    assert world.write(Op.DELETE, r.DeleteRequest("/a/c", -1))[0] == 0
    assert world.create("/a/d") == 0
    assert world.create("/elsewhere") == 0


def test_a_multi_is_judged_on_the_usage_before_it() -> None:
    world, _ = world_of(enforce=True)
    limits(world, b"count=-1,bytes=-1=;byteHardLimit=-1;countHardLimit=3")
    body = world.propose(Op.MULTI, r.MultiRequest((new("/a/x"), new("/a/y"))))
    assert isinstance(body, MultiTxn)
    world.deliver()
    body = world.propose(Op.MULTI, r.MultiRequest((new("/fine"), new("/a/z"))))
    assert body == FailedMultiTxn(EXCEEDED, 1, 2)
    world.deliver()
    assert world.create("/fine") == 0  # nothing of it is left


def test_data_beyond_the_hard_limit_is_refused_before_the_version_is_looked_at() -> None:
    world, _ = world_of(enforce=True)
    limits(world, b"count=-1,bytes=-1")
    assert put(world, "/a/b", bytes(50)) == 0
    limits(world, b"count=-1,bytes=-1=;byteHardLimit=20;countHardLimit=-1")
    assert put(world, "/a/b", bytes(49)) == EXCEEDED  # less, but still too much
    assert put(world, "/a/b", b"x" * 50) == 0  # no difference
    assert put(world, "/a/b", bytes(51), version=77) == EXCEEDED
    assert put(world, "/a/b", b"y", version=77) == -103
    assert world.create("/a/empty") == 0
    assert world.create("/a/full", b"1") == EXCEEDED
    assert world.create("/a/b", b"1") == -110  # that it exists is found out first
    assert put(world, "/a", b"") == EXCEEDED
    assert put(world, "/a/b", b"y") == 0


def test_the_size_before_is_the_one_that_is_on_its_way() -> None:
    world, told = world_of(enforce=True)
    limits(world, b"count=-1,bytes=-1=;byteHardLimit=10;countHardLimit=-1")
    world.propose(Op.SET_DATA, r.SetDataRequest("/a/b", bytes(5), -1))
    world.propose(Op.SET_DATA, r.SetDataRequest("/a/b", bytes(8), -1))  # 3 more than what is outstanding
    assert [reply[0] for _, _, reply in world.deliver()] == [0, 0]
    world.propose(Op.CREATE, r.CreateRequest("/a/n", b"", OPEN_ACL, 0))
    world.propose(Op.SET_DATA, r.SetDataRequest("/a/n", b"", -1))
    assert [reply[0] for _, _, reply in world.deliver()] == [0, 0]
    assert told == []


@pytest.mark.parametrize("text", [b"count=2,bytes=6", b"count=-1,bytes=-1=;byteHardLimit=6;countHardLimit=2"])
def test_without_enforcement_what_goes_beyond_is_only_told(text: bytes) -> None:
    world, told = world_of(enforce=False)
    limits(world, text)
    assert world.create("/a/c", b"1") == 0
    hard = b"Hard" in text
    assert told == [Exceeded("/a", "count", 3, 2, hard), Exceeded("/a", "bytes", 7, 6, hard)]


def test_texts_that_cannot_be_read_refuse_nobody() -> None:
    world, told = world_of(enforce=True)
    limits(world, b"garbage")
    assert put(world, Q + "/a" + S, b"garbage") == 0
    assert world.create("/a/c", b"1") == 0
    assert world.state.tree.nodes[Q + "/a" + S].data == b"count=3,bytes=7"
    assert told == []
