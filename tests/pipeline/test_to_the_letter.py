"""What Apache's server answers to requests that no client should send. Found by tests/apache, which runs where that
server is; here it is held fast for everybody."""

import struct

import pytest

from tests.pipeline.conftest import World, parse
from zabpy.model import OPEN_ACL, ErrorTxn, FailedMultiTxn
from zabpy.pipeline import Rules, read_now
from zabpy.wire import Op, Reader, packed, records as r

NULL = b"\xff\xff\xff\xff"
END = struct.pack(">i?i", -1, True, -1)


def frames_of(world: World, op: int, record: bytes) -> bytes:
    frames = read_now(world.state, world.watches, 1, 9, op, record, ())
    assert isinstance(frames, bytes)
    return frames


def part(op: int, record: bytes) -> bytes:
    return struct.pack(">i?i", op, False, -1) + record


CREATE_A = packed(r.CreateRequest("/a", b"", OPEN_ACL, 0))
CREATE_NULL = NULL + packed(r.CreateRequest("", b"", OPEN_ACL, 0))[4:]
TTL_FLAGS = packed(r.CreateRequest("/b", b"", OPEN_ACL, 5))


def test_a_null_path_is_not_an_empty_one(world: World) -> None:
    assert world.propose(Op.CREATE, CREATE_NULL) == ErrorTxn(-5)
    assert world.propose(Op.CREATE, CREATE_NULL[:-1] + b"\x09") == ErrorTxn(-8)  # its flags are looked at before
    assert world.propose(Op.DELETE, NULL + bytes(4)) == ErrorTxn(-5)
    assert world.propose(Op.DELETE, bytes(8)) == ErrorTxn(-8)
    assert world.propose(Op.SET_DATA, NULL + bytes(8)) == ErrorTxn(-8)
    for op in (Op.EXISTS, Op.GET_DATA, Op.GET_CHILDREN, Op.GET_CHILDREN2, Op.GET_ACL, Op.GET_ALL_CHILDREN_NUMBER):
        assert world.read(op, NULL + b"\0").err == -5
    assert world.read(Op.CHECK_WATCHES, NULL + bytes(3) + b"\1").err == -5
    assert world.read(Op.REMOVE_WATCHES, NULL + bytes(3) + b"\1").err == -121


def test_the_empty_path_names_the_root_to_those_who_read(world: World) -> None:
    for op in (Op.EXISTS, Op.GET_DATA, Op.GET_CHILDREN, Op.GET_CHILDREN2, Op.GET_ACL):
        assert world.read(op, bytes(5)) == world.read(op, b"\0\0\0\1/\0")
    assert world.read(Op.GET_ALL_CHILDREN_NUMBER, bytes(4)).body == b"\0\0\0\4"  # and / is below it
    assert world.read(Op.GET_DATA, b"\0\0\0\0\1").err == 0
    world.create("/a")
    assert world.propose(Op.SET_DATA, bytes(12)) == ErrorTxn(-8)


def test_a_null_path_fails_a_whole_multi_and_the_end_of_results_follows(world: World) -> None:
    assert world.propose(Op.MULTI, part(1, CREATE_A) + part(1, CREATE_NULL) + END) == FailedMultiTxn(-5, 0, 0)
    assert world.deliver()[-1][2] == (-5, END)
    assert world.write(Op.MULTI, part(1, CREATE_A) + part(1, CREATE_NULL)) == (-5, b"")  # cut short
    assert "/a" not in world.state.tree.nodes
    reply = world.read(Op.MULTI_READ, part(4, b"\0\0\0\1x\0") + part(4, NULL + b"\0") + END)
    assert reply.err == -5
    assert reply.body == struct.pack(">i?ii", -1, False, -101, -101) + END
    reply = world.read(Op.MULTI_READ, part(1, CREATE_A) + END)
    assert (reply.err, reply.body) == (-5, END)


def test_what_cannot_be_understood_fails_a_whole_multi_in_its_turn(make_world: type[World]) -> None:
    world = make_world(Rules(extended_types=True))
    assert world.write(Op.MULTI, part(1, CREATE_A) + part(1, TTL_FLAGS) + END) == (-5, b"")
    assert world.propose(Op.CREATE, CREATE_A) != ErrorTxn(-110)  # nothing of it is left
    err, body = world.write(Op.MULTI, part(1, CREATE_A) + part(1, TTL_FLAGS) + END)
    assert (err, body[:13]) == (0, struct.pack(">i?ii", -1, False, -110, -110))  # the first that fails is told


def test_the_flags_of_a_create_decide_in_a_multi_whatever_its_opcode(make_world: type[World]) -> None:
    world = make_world(Rules(extended_types=True))
    ttl = r.CreateTTLRequest("/t", b"", OPEN_ACL, 0, 1000)
    plain = r.CreateRequest("/c", b"", OPEN_ACL, 0)
    err, body = world.write(Op.MULTI, r.MultiRequest(((21, ttl), (19, plain), (21, ttl._replace(path="/k", flags=4)))))
    results = r.MultiResponse.read(Reader(body)).results
    assert (err, [result.type for result in results]) == (0, [1, 1, 15])
    kinds = [world.state.tree.nodes[path].kind for path in ("/t", "/c", "/k")]
    assert kinds == [0, 0, 2]
    err, body = world.write(Op.MULTI, r.MultiRequest(((21, ttl._replace(path="/x", flags=7)),)))
    assert (err, body[:13]) == (0, struct.pack(">i?ii", -1, False, -8, -8))


def test_null_in_set_watches_is_an_error_behind_what_stood_before_it(world: World) -> None:
    lists = b"\0\0\0\1\0\0\0\2/a" + b"\0\0\0\0" + NULL
    frames = frames_of(world, Op.SET_WATCHES, bytes(8) + lists)
    event = 4 + int.from_bytes(frames[:4], "big")
    assert parse(frames[:event])[:3] == (-1, -1, 0)
    assert parse(frames[event:]) == (9, world.state.last_applied, -5, b"")
    lists = b"\0\0\0\1" + NULL + bytes(8)
    assert parse(frames_of(world, Op.SET_WATCHES, bytes(8) + lists)).err == -5
    assert world.watches.total == 0


def test_a_ping_has_one_xid_whatever_the_client_gave_it(world: World) -> None:
    assert parse(frames_of(world, Op.PING, b"")).xid == -2


@pytest.mark.parametrize(("flags", "ttl", "err"), [(5, 5, -6), (6, 5, -6), (0, 5, -8), (4, 5, -8), (7, 5, -8)])
def test_create_ttl_where_ttl_znodes_are_off(world: World, flags: int, ttl: int, err: int) -> None:
    assert world.propose(Op.CREATE_TTL, r.CreateTTLRequest("/t", b"", OPEN_ACL, flags, ttl)) == ErrorTxn(err)


def test_check_watches_stumbles_over_a_path_without_a_slash(world: World) -> None:
    for path, err in (("a", -5), ("a/b", -121), ("/a", -121), ("", -121)):
        assert world.read(Op.CHECK_WATCHES, r.CheckWatchesRequest(path, 3)).err == err
    assert world.read(Op.REMOVE_WATCHES, r.RemoveWatchesRequest("a", 3)).err == -121
    world.read(Op.EXISTS, r.ExistsRequest("a", True))
    assert world.read(Op.CHECK_WATCHES, r.CheckWatchesRequest("a", 3)).err == 0


def test_only_what_java_trims_is_blank(world: World) -> None:
    world.create("/e", flags=1)
    for prefix, count in (("", 1), (" \t\n\x01", 1), ("/", 1), ("/e", 1), ("/f", 0), ("\u2003", 0)):
        reply = world.read(Op.GET_EPHEMERALS, r.GetEphemeralsRequest(prefix))
        assert reply.body[:4] == count.to_bytes(4, "big")
