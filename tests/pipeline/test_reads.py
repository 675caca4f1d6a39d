"""What is answered from the applied tree, and which watches that sets."""

import struct

import pytest

from tests.pipeline.conftest import ANYBODY, World, parse, whole
from zabpy.model import ALL, OPEN_ACL, READ, Acl, Identity
from zabpy.pipeline import read_now
from zabpy.wire import Op, Reader, packed, records as r

BOB = (Identity("ip", "10.0.0.7"), Identity("digest", "bob:hash"))


def told(world: World, op: int, record: r.Record) -> list[tuple[int, str]]:
    """Whom a write is told, and the type and path in the frame: (type, path), watcher 1 only."""
    world.propose(op, record)
    events = []
    for _, outcome, _ in world.deliver():
        for watcher, frame in world.tell(world.state.last_applied, outcome):
            assert watcher == 1
            event = r.WatcherEvent.read(Reader(frame[20:]))
            assert event.state == 3
            events.append((event.type, event.path))
    return events


@pytest.mark.parametrize(
    ("op", "record"),
    [
        (Op.GET_DATA, r.GetDataRequest("/none", True)),
        (Op.EXISTS, r.ExistsRequest("/none", True)),
        (Op.GET_CHILDREN, r.GetChildrenRequest("/none", True)),
        (Op.GET_CHILDREN2, r.GetChildren2Request("/none", True)),
        (Op.GET_ACL, r.GetACLRequest("/none")),
        (Op.GET_ALL_CHILDREN_NUMBER, r.GetAllChildrenNumberRequest("/none")),
        (Op.GET_DATA, r.GetDataRequest("no slash, and nobody minds", False)),
    ],
)
def test_a_missing_znode_is_no_node_and_only_exists_waits_for_it(world: World, op: int, record: r.Record) -> None:
    reply = world.read(op, record)
    assert (reply.err, reply.body, reply.zxid) == (-101, b"", world.state.last_applied)
    expected = [(1, "/none")] if op == Op.EXISTS else []
    assert told(world, Op.CREATE, r.CreateRequest("/none", b"", OPEN_ACL, 0)) == expected


def test_who_may_not_read_gets_no_watch_either(world: World) -> None:
    world.create("/shut", acl=(Acl(ALL, "digest", "bob:hash"),), identities=BOB)
    for op, record in (
        (Op.GET_DATA, r.GetDataRequest("/shut", True)),
        (Op.EXISTS, r.ExistsRequest("/shut", True)),
        (Op.GET_CHILDREN, r.GetChildrenRequest("/shut", True)),
        (Op.GET_CHILDREN2, r.GetChildren2Request("/shut", True)),
        (Op.GET_ACL, r.GetACLRequest("/shut")),
        (Op.GET_ALL_CHILDREN_NUMBER, r.GetAllChildrenNumberRequest("/shut")),
    ):
        assert world.read(op, record).err == -102
        assert world.read(op, record, identities=BOB, watcher=2).err == 0
    assert world.watches.paths_of(1) == []
    assert world.watches.paths_of(2) == ["/shut"]


def test_an_event_is_not_told_to_whom_may_not_read_and_its_watch_is_used_up(world: World) -> None:
    world.create("/a")
    world.read(Op.GET_DATA, r.GetDataRequest("/a", True))
    world.write(Op.SET_ACL, r.SetACLRequest("/a", (Acl(ALL & ~READ, "world", "anyone"),), -1))
    assert told(world, Op.SET_DATA, r.SetDataRequest("/a", b"", -1)) == []
    assert world.watches.total == 0


def test_data_is_told_with_its_stat_and_null_is_not_empty(world: World) -> None:
    world.create("/null", None)
    world.create("/empty", b"")
    for path, data in (("/null", None), ("/empty", b"")):
        for _ in range(2):  # the second one from the cache
            body = world.read(Op.GET_DATA, r.GetDataRequest(path, False)).body
            reply = r.GetDataResponse.read(Reader(body))
            assert (reply.data, reply.stat.data_length, reply.stat.version) == (data, 0, 0)
    world.write(Op.SET_DATA, r.SetDataRequest("/null", b"now", -1))
    world.create("/null/child")
    reply = r.GetDataResponse.read(Reader(world.read(Op.GET_DATA, r.GetDataRequest("/null", False)).body))
    assert (reply.data, reply.stat.version, reply.stat.num_children, reply.stat.cversion) == (b"now", 1, 1, 1)
    assert world.read(Op.EXISTS, r.ExistsRequest("/null", False)).body == reply.stat.packed()


def test_children_by_name_and_descendants_by_number(world: World) -> None:
    for path in ("/a", "/a/x", "/a/ü", "/a/x/deep"):
        world.create(path)
    body = world.read(Op.GET_CHILDREN, r.GetChildrenRequest("/a", False)).body
    assert sorted(r.GetChildrenResponse.read(Reader(body)).children) == ["x", "ü"]
    body = world.read(Op.GET_CHILDREN2, r.GetChildren2Request("/a/x/deep", False)).body
    both = r.GetChildren2Response.read(Reader(body))
    assert (both.children, both.stat.num_children) == ((), 0)
    assert body[:4] == b"\0\0\0\0"  # never null
    assert world.read(Op.GET_ALL_CHILDREN_NUMBER, r.GetAllChildrenNumberRequest("/a")).body == b"\0\0\0\3"
    assert told(world, Op.CREATE, r.CreateRequest("/a/y", b"", OPEN_ACL, 0)) == []


def test_each_watch_sees_its_kind_of_change(world: World) -> None:
    world.create("/a")
    world.read(Op.GET_CHILDREN, r.GetChildrenRequest("/a", True))
    world.read(Op.GET_DATA, r.GetDataRequest("/a", True))
    assert told(world, Op.CREATE, r.CreateRequest("/a/y", b"", OPEN_ACL, 0)) == [(4, "/a")]
    assert told(world, Op.SET_DATA, r.SetDataRequest("/a", b"", -1)) == [(3, "/a")]
    assert told(world, Op.SET_DATA, r.SetDataRequest("/a", b"", -1)) == []
    world.read(Op.ADD_WATCH, r.AddWatchRequest("/", 1))
    assert told(world, Op.DELETE, r.DeleteRequest("/a/y", -1)) == [(2, "/a/y")]


def test_acls_are_masked_for_those_who_may_not_administer(world: World) -> None:
    acl = (Acl(READ, "world", "anyone"), Acl(ALL, "digest", "bob:hash"))
    world.create("/a", acl=acl)

    def read(identities: tuple[Identity, ...]) -> tuple[Acl, ...]:
        body = world.read(Op.GET_ACL, r.GetACLRequest("/a"), identities=identities).body
        return r.GetACLResponse.read(Reader(body)).acl

    assert read(BOB) == acl
    assert read(ANYBODY) == (acl[0], Acl(ALL, "digest", "bob:x"))


def test_ephemerals_of_this_session_by_plain_prefix(world: World) -> None:
    other = world.open()
    world.create("/a")
    for path in ("/a/1", "/a/2", "/ab"):
        world.create(path, flags=1)
    world.create("/a/other", flags=1, session=other)

    def read(record: bytes | r.Record) -> list[str]:
        return list(r.GetEphemeralsResponse.read(Reader(world.read(Op.GET_EPHEMERALS, record).body)).ephemerals)

    everything = ["/a/1", "/a/2", "/ab"]
    assert read(r.GetEphemeralsRequest("/")) == everything
    assert read(r.GetEphemeralsRequest(" ")) == everything
    assert read(b"\xff\xff\xff\xff") == everything
    assert read(r.GetEphemeralsRequest("/a")) == everything
    assert read(r.GetEphemeralsRequest("/a/")) == everything[:2]
    assert read(r.GetEphemeralsRequest("/none")) == []


def test_a_multi_read_gives_each_its_own_result_and_sets_no_watch(world: World) -> None:
    world.create("/a", b"data")
    reads: tuple[tuple[int, r.Record], ...] = (
        (4, r.GetDataRequest("/none", True)),
        (4, r.GetDataRequest("/a", True)),
        (8, r.GetChildrenRequest("/", True)),
    )
    reply = world.read(Op.MULTI_READ, r.MultiReadRequest(reads))
    results = r.MultiResponse.read(Reader(reply.body)).results
    assert results[0] == r.MultiResult(-1, -101, r.ErrorResponse(-101))
    assert isinstance(results[1].body, r.GetDataResponse)
    assert results[1].body.data == b"data"
    assert results[2].body == r.GetChildrenResponse(("zookeeper", "a"))
    assert world.watches.total == 0


def test_who_am_i_tells_users_and_no_hashes(world: World) -> None:
    identities = (*BOB, Identity("super", ""))
    body = world.read(Op.WHO_AM_I, identities=identities).body
    infos = r.WhoAmIResponse.read(Reader(body)).client_info
    assert infos == (("ip", "10.0.0.7"), ("digest", "bob"), ("super", ""))


def test_watches_are_put_back_or_caught_up_in_one_answer(world: World) -> None:
    for path in ("/same", "/changed", "/parent"):
        world.create(path)
    seen = world.state.last_applied
    world.write(Op.SET_DATA, r.SetDataRequest("/changed", b"", -1))
    world.create("/parent/child")
    asked = r.SetWatches2(
        seen,
        ("/same", "/changed", "/gone"),
        ("/missing", "/same"),
        ("/parent", "/gone", "/changed"),
        ("/p",),
        ("/r",),
    )

    def read(op: int, record: bytes) -> tuple[list[tuple[int, str]], tuple[int, int]]:
        raw = whole(read_now(world.state, world.watches, 1, -8, op, record, ANYBODY))
        events: list[tuple[int, str]] = []
        while True:
            (length,) = struct.unpack_from(">i", raw)
            reply, raw = parse(raw[: 4 + length]), raw[4 + length :]
            if not raw:
                return events, (reply.xid, reply.err)
            assert (reply.xid, reply.zxid) == (-1, -1)
            event = r.WatcherEvent.read(Reader(reply.body))
            events.append((event.type, event.path))

    missed = [(3, "/changed"), (2, "/gone"), (1, "/same"), (4, "/parent"), (2, "/gone")]
    assert read(101, packed(r.SetWatches(*asked[:4]))) == (missed, (-8, 0))
    assert world.watches.paths_of(1) == ["/changed", "/missing", "/same"]
    assert read(105, packed(asked)) == (missed, (-8, 0))
    assert world.watches.has(1, "/p", 4)
    assert world.watches.has(1, "/r", 5)
    assert read(101, struct.pack(">qi", 0, -1)) == ([], (-8, -5))  # a null list


def test_watches_are_checked_and_removed_by_type(world: World) -> None:
    assert world.read(Op.ADD_WATCH, r.AddWatchRequest("/a", 0)).body == b"\0\0\0\0"
    assert world.read(Op.ADD_WATCH, r.AddWatchRequest("/a", 2)).err == -5
    assert world.read(Op.CHECK_WATCHES, r.CheckWatchesRequest("/a", 4)).err == 0
    assert world.read(Op.CHECK_WATCHES, r.CheckWatchesRequest("/a", 2)).err == -121
    assert world.read(Op.CHECK_WATCHES, r.CheckWatchesRequest("/a", 6)).err == -5
    assert world.read(Op.REMOVE_WATCHES, r.RemoveWatchesRequest("/a", 0)).err == -5
    assert world.read(Op.REMOVE_WATCHES, r.RemoveWatchesRequest("/a", 1)).err == -121
    assert world.read(Op.REMOVE_WATCHES, r.RemoveWatchesRequest("/a", 3)).err == 0
    assert world.watches.total == 0


def test_sasl_is_answered_as_by_a_server_without_it(world: World) -> None:
    reply = world.read(Op.SASL, r.GetSASLRequest(b"token"))
    assert (reply.zxid, reply.err, reply.body) == (0, 0, b"\xff\xff\xff\xff")


def test_a_nul_in_the_path_of_exists_is_a_bad_argument(world: World) -> None:
    assert world.read(Op.EXISTS, r.ExistsRequest("/\0", True)).err == -8
    assert world.watches.total == 0


def test_a_multi_read_as_clients_write_them_is_taken_apart_the_quick_way(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(reader: Reader) -> r.MultiReadRequest:
        raise AssertionError("the slow way")

    world.create("/a", b"1")
    monkeypatch.setattr(r.MultiReadRequest, "read", slow)
    reads = ((Op.GET_DATA, r.GetDataRequest("/a", False)), (Op.GET_CHILDREN, r.GetChildrenRequest("/a", False)))
    for count in range(3):
        reply = world.read(Op.MULTI_READ, r.MultiReadRequest(reads[:count]))
        assert len(r.MultiResponse.read(Reader(reply.body)).results) == count
