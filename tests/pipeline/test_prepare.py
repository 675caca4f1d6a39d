"""Judging on what is proposed: results, errors and their order."""

from collections.abc import Callable

import pytest

from tests.pipeline.conftest import ANYBODY, EPOCH, OPEN, World
from zabpy.model import (
    ADMIN,
    ALL,
    CONTAINER,
    CREATE,
    DELETE,
    EPHEMERAL,
    LOCAL_SESSION,
    PERSISTENT,
    READ,
    TTL,
    WRITE,
    Acl,
    CloseSessionTxn,
    CreateSessionTxn,
    CreateTxn,
    DeleteTxn,
    ErrorTxn,
    FailedMultiTxn,
    Identity,
    Request,
    SetAclTxn,
    SetDataTxn,
    Zxid,
    counter_of,
    make_zxid,
)
from zabpy.pipeline import Preparer, RequestIds, Rules
from zabpy.sessions import is_local_id
from zabpy.wire import PEER_FRAME_BYTES_MAX, Op, encode_txn, packed, records as r

BOB = (Identity("ip", "10.0.0.7"), Identity("digest", "bob:hash"))
SUPER = (Identity("super", ""),)


def create(path: str, flags: int = 0, data: bytes | None = b"", acl: tuple[Acl, ...] = OPEN) -> r.CreateRequest:
    return r.CreateRequest(path, data, acl, flags)


def acl_of(perms: int) -> tuple[Acl, ...]:
    """These permissions for everybody, everything for Bob."""
    return Acl(perms, "world", "anyone"), Acl(ALL, "digest", "bob:hash")


def test_what_is_proposed_counts_though_it_is_not_applied(world: World) -> None:
    assert world.propose(Op.CREATE, create("/a")) == CreateTxn("/a", b"", OPEN, PERSISTENT, 0, 0, 1)
    assert "/a" not in world.state.tree.nodes
    assert world.propose(Op.CREATE, create("/a")) == ErrorTxn(-110)
    assert world.propose(Op.SET_DATA, r.SetDataRequest("/a", b"1", 0)) == SetDataTxn("/a", b"1", 1)
    assert world.propose(Op.SET_DATA, r.SetDataRequest("/a", b"2", 0)) == ErrorTxn(-103)
    assert world.propose(Op.SET_DATA, r.SetDataRequest("/a", b"2", 1)) == SetDataTxn("/a", b"2", 2)
    assert world.propose(Op.CREATE, create("/a/b")) == CreateTxn("/a/b", b"", OPEN, PERSISTENT, 0, 0, 1)
    assert world.propose(Op.DELETE, r.DeleteRequest("/a", -1)) == ErrorTxn(-111)
    assert world.propose(Op.DELETE, r.DeleteRequest("/a/b", 0)) == DeleteTxn("/a/b")
    assert world.propose(Op.DELETE, r.DeleteRequest("/a/b", -1)) == ErrorTxn(-101)
    assert world.propose(Op.DELETE, r.DeleteRequest("/a", 2)) == DeleteTxn("/a")
    assert world.propose(Op.SET_DATA, r.SetDataRequest("/a", b"", -1)) == ErrorTxn(-101)
    world.deliver()
    assert "/a" not in world.state.tree.nodes
    assert world.state.tree.nodes["/"].creations == 1
    assert len(world.preparer.pending) == 0


def test_outstanding_changes_are_forgotten_one_by_one_and_the_applied_tree_says_the_same(world: World) -> None:
    for version in range(4):
        world.propose(Op.CREATE, create(f"/q{version}"))
        world.propose(Op.SET_DATA, r.SetDataRequest("/q0", b"x", version))
    for _ in range(8):
        assert world.propose(Op.CREATE, create("/q-", 2)) is not None
        world.deliver(1)
    world.deliver()
    assert world.state.tree.nodes["/q0"].version == 4
    assert sorted(world.state.tree.nodes["/"].children or ())[:8] == [f"q-000000{n:04}" for n in range(4, 12)]


def test_a_sequential_name_counts_creations_of_any_kind_and_no_deletions(world: World) -> None:
    names = []
    for flags, path in ((2, "/s-"), (0, "/plain"), (2, "/s-"), (3, "/s-"), (2, "/")):
        body = world.propose(Op.CREATE, create(path, flags))
        assert isinstance(body, CreateTxn)
        names.append(body.path)
    assert world.propose(Op.CREATE, create("/s-/x", 2)) == ErrorTxn(-101)  # a failed create does not count
    world.propose(Op.DELETE, r.DeleteRequest("/plain", -1))
    body = world.propose(Op.CREATE, create("/s-", 2))
    assert isinstance(body, CreateTxn)
    assert [*names, body.path] == [
        "/s-0000000000",
        "/plain",
        "/s-0000000002",
        "/s-0000000003",
        "/0000000004",
        "/s-0000000005",
    ]
    world.deliver()


#: Requests wrong in several ways: what is told. /open lets everybody do everything, /shut
#: lets nobody but Bob, /open/e is an ephemeral with version 1, /open/full has a child.
WRONG: list[tuple[str, int, r.Record, int]] = [
    ("flags before all", Op.CREATE, create("no-slash", 7), -8),
    ("negative flags", Op.CREATE, create("/x", -1), -8),
    ("TTL flag while TTL is off", Op.CREATE, create("no-slash", 5), -6),
    ("TTL while it is off", Op.CREATE_TTL, r.CreateTTLRequest("no-slash", b"", OPEN, 5, 1), -6),
    ("bad flags of TTL", Op.CREATE_TTL, r.CreateTTLRequest("/x", b"", OPEN, 9, 1), -8),
    ("no slash before the ACL", Op.CREATE, create("foo", acl=()), -8),
    ("NUL before the ACL", Op.CREATE, create("/a\0b", acl=()), -8),
    ("empty path", Op.CREATE, create(""), -8),
    ("no ACL before the parent", Op.CREATE, create("/none/x", acl=()), -114),
    ("unknown scheme", Op.CREATE, create("/none/x", acl=(Acl(31, "nobody", "x"),)), -114),
    ("auth by nobody", Op.CREATE, create("/none/x", acl=(Acl(31, "auth", ""),)), -114),
    ("parent before the path", Op.CREATE, create("/none/.."), -101),
    ("no root but the root", Op.CREATE, create("foo/bar"), -101),
    ("permission before the path", Op.CREATE, create("/shut/.."), -102),
    ("path before existence", Op.CREATE, create("/open/../open"), -101),
    ("bad last name", Op.CREATE, create("/open/.."), -8),
    ("slash at the end", Op.CREATE, create("/open/"), -8),
    ("two slashes", Op.CREATE, create("//x"), -8),
    ("not UTF-8", Op.CREATE, create("/open/\ufffd"), -8),
    ("astral", Op.CREATE, create("/open/\U0001f600"), -8),
    ("the root is there", Op.CREATE, create("/"), -110),
    ("existence before the ephemeral parent", Op.CREATE, create("/open"), -110),
    ("child of an ephemeral", Op.CREATE, create("/open/e/x"), -108),
    ("sequential child of an ephemeral", Op.CREATE, create("/open/e/x", 2), -108),
    ("container below an ephemeral", Op.CREATE_CONTAINER, create("/open/e/x", 4), -108),
    ("delete: no slash", Op.DELETE, r.DeleteRequest("foo", 0), -8),
    ("delete: NUL", Op.DELETE, r.DeleteRequest("/none/\0", 0), -8),
    ("delete: built in", Op.DELETE, r.DeleteRequest("/zookeeper/quota", 5), -8),
    ("delete: root", Op.DELETE, r.DeleteRequest("/", -1), -8),
    ("delete: no parent", Op.DELETE, r.DeleteRequest("/none/x", 0), -101),
    ("delete: permission of the parent first", Op.DELETE, r.DeleteRequest("/shut/none", 0), -102),
    ("delete: bad path is only missing", Op.DELETE, r.DeleteRequest("/open/..", 0), -101),
    ("delete: version before children", Op.DELETE, r.DeleteRequest("/open/full", 9), -103),
    ("delete: children", Op.DELETE, r.DeleteRequest("/open/full", 0), -111),
    ("setData: path before existence", Op.SET_DATA, r.SetDataRequest("/none/", b"", 0), -8),
    ("setData: empty path", Op.SET_DATA, r.SetDataRequest("", b"", 0), -8),
    ("setData: missing", Op.SET_DATA, r.SetDataRequest("/none", b"", 0), -101),
    ("setData: permission before version", Op.SET_DATA, r.SetDataRequest("/shut", b"", 9), -102),
    ("setData: version", Op.SET_DATA, r.SetDataRequest("/open/e", b"", 0), -103),
    ("setACL: path before ACL", Op.SET_ACL, r.SetACLRequest("/none/", (), 0), -8),
    ("setACL: ACL before existence", Op.SET_ACL, r.SetACLRequest("/none", (), 0), -114),
    ("setACL: missing", Op.SET_ACL, r.SetACLRequest("/none", OPEN, 0), -101),
    ("setACL: permission before version", Op.SET_ACL, r.SetACLRequest("/shut", OPEN, 9), -102),
    ("setACL: version is the ACL's", Op.SET_ACL, r.SetACLRequest("/open/e", OPEN, 1), -103),
    ("check: only in a multi", Op.CHECK, r.CheckVersionRequest("/open", 0), -6),
    ("reconfig is off", Op.RECONFIG, r.ReconfigRequest(None, None, "", -1), -123),
    ("deleteContainer from a client", Op.DELETE_CONTAINER, r.DeleteContainerRequest("/open"), -8),
    ("createSession from a client", Op.CREATE_SESSION, r.CreateSessionRequest(1), -6),
]


@pytest.mark.parametrize(("op", "record", "code"), [row[1:] for row in WRONG], ids=[row[0] for row in WRONG])
def test_the_first_thing_wrong_is_the_error_and_nothing_changes(
    world: World, op: int, record: r.Record, code: int
) -> None:
    assert world.create("/open") == 0
    assert world.create("/open/e", flags=1) == 0
    assert world.create("/open/full") == 0
    assert world.create("/open/full/child") == 0
    assert world.create("/shut", acl=(Acl(ALL, "digest", "bob:hash"),)) == 0
    assert world.write(Op.SET_DATA, r.SetDataRequest("/open/e", b"", -1))[0] == 0
    assert world.propose(op, record) == ErrorTxn(code)
    assert len(world.preparer.pending) == 0
    before = world.state.tree.digest()
    assert world.deliver()[-1][2] == (code, b"")
    assert world.state.tree.digest() == before


@pytest.mark.parametrize("keep", [READ, WRITE, CREATE, DELETE, ADMIN])
def test_each_permission_allows_its_own_operation_and_no_other(world: World, keep: int) -> None:
    assert world.create("/p", acl=acl_of(keep)) == 0
    assert world.create("/p/child", identities=BOB) == 0
    tries: dict[int, tuple[int, r.Record]] = {
        WRITE: (Op.SET_DATA, r.SetDataRequest("/p", b"", -1)),
        CREATE: (Op.CREATE, create("/p/new")),
        DELETE: (Op.DELETE, r.DeleteRequest("/p/child", -1)),
        ADMIN: (Op.SET_ACL, r.SetACLRequest("/p", acl_of(keep), -1)),
    }
    for perm, (op, record) in tries.items():
        assert world.write(op, record)[0] == (0 if perm == keep else -102)
    assert world.read(Op.GET_DATA, r.GetDataRequest("/p", False)).err == (0 if keep == READ else -102)
    for op, record in tries.values():
        assert world.write(op, record, identities=SUPER)[0] in (0, -110, -101)  # done before


def test_an_outstanding_acl_is_already_in_force(world: World) -> None:
    assert world.create("/a") == 0
    assert isinstance(world.propose(Op.SET_ACL, r.SetACLRequest("/a", (Acl(READ, "world", "anyone"),), 0)), SetAclTxn)
    assert world.propose(Op.SET_DATA, r.SetDataRequest("/a", b"", -1)) == ErrorTxn(-102)


def test_auth_in_an_acl_becomes_the_clients_own_identities(world: World) -> None:
    body = world.propose(Op.CREATE, create("/mine", acl=(Acl(31, "auth", ""),)), identities=BOB)
    assert isinstance(body, CreateTxn)
    assert body.acl == (Acl(31, "digest", "bob:hash"),)


def test_the_opcode_decides_the_kind_of_a_single_create(world: World, make_world: Callable[[Rules], World]) -> None:
    def kind(op: int, record: r.Record, world: World = world) -> int:
        body = world.propose(op, record)
        assert isinstance(body, CreateTxn), body
        return body.kind

    assert kind(Op.CREATE, create("/0", 4)) == PERSISTENT
    assert kind(Op.CREATE2, create("/1", 4)) == PERSISTENT
    assert kind(Op.CREATE_CONTAINER, create("/2", 0)) == CONTAINER
    assert kind(Op.CREATE_CONTAINER, create("/3", 4)) == CONTAINER
    assert kind(Op.CREATE, create("/4", 1)) == EPHEMERAL
    world.deliver()
    extended = make_world(Rules(extended_types=True))
    assert kind(Op.CREATE_TTL, r.CreateTTLRequest("/t", b"", OPEN, 5, 7), extended) == TTL
    for ttl_ms, flags in ((0, 5), (-1, 6), (1 << 40, 5), (1, 0), (1, 4)):
        record = r.CreateTTLRequest("/u", b"", OPEN, flags, ttl_ms)
        assert extended.propose(Op.CREATE_TTL, record) == ErrorTxn(-8)
    assert extended.propose(Op.CREATE, create("/u", 5)) == ErrorTxn(-8)


def test_versions_skip_minus_one_and_wrap(world: World) -> None:
    assert world.create("/v") == 0
    world.state.tree.nodes["/v"].version = 0x7FFFFFFF
    assert world.propose(Op.SET_DATA, r.SetDataRequest("/v", b"", -1)) == SetDataTxn("/v", b"", -0x80000000)
    world.deliver()
    world.state.tree.nodes["/v"].version = -2
    assert world.propose(Op.SET_DATA, r.SetDataRequest("/v", None, -2)) == SetDataTxn("/v", None, 0)


def test_times_do_not_go_back_when_the_clock_does(world: World) -> None:
    world.create("/t")
    first = world.now_ms
    world.now_ms -= 5_000
    world.create("/u")
    assert world.state.tree.nodes["/u"].ctime_ms == first
    assert world.state.last_time_ms == first
    again = type(world.preparer)(world.state, lambda count: b"p" * count)  # the next leader, its clock behind
    txn = again.prepare(world.request(Op.CREATE, create("/w")), Zxid(world.last + 1), world.now_ms)
    assert txn.time_ms == first


def test_nothing_is_judged_before_the_log_is_applied_or_with_a_place_left_out(world: World) -> None:
    world.propose(Op.CREATE, create("/a"))
    request = world.request(Op.CREATE, create("/a"))
    next_leader = Preparer(world.state, bytes)
    with pytest.raises(AssertionError):
        next_leader.prepare(request, Zxid(world.last + 1), 0)  # /a is in the log and not applied
    world.deliver()
    assert next_leader.prepare(request, Zxid(world.last + 1), 0).body == ErrorTxn(-110)
    with pytest.raises(AssertionError):
        next_leader.prepare(request, Zxid(world.last + 3), 0)


# Sessions ------------------------------------------------------------------------------------------------------------


def test_a_session_id_is_made_of_its_server_and_its_place_in_the_order(world: World) -> None:
    body = world.propose(Op.CREATE_SESSION, r.CreateSessionRequest(4_000), session=0, ids=RequestIds(200, 1))
    assert body == CreateSessionTxn(4_000, b"p" * 16)
    (txn, _, _) = world.deliver()[-1]
    unsigned = txn.session_id & 0xFFFF_FFFF_FFFF_FFFF
    assert unsigned == 200 << 56 | EPOCH << 32 | counter_of(world.last)
    assert txn.session_id < 0
    assert world.state.sessions.get(txn.session_id) is not None


def test_a_session_may_ask_from_its_proposal_on(world: World) -> None:
    """A quorum of others delivers it, and its client goes on, while the leader's own disk is still behind."""
    world.propose(Op.CREATE_SESSION, r.CreateSessionRequest(4_000), session=0)
    session = world.proposed_session()

    assert isinstance(world.propose(Op.CREATE, create("/early", 1), session=session), CreateTxn)
    assert world.propose(Op.CLOSE_SESSION, session=session) == CloseSessionTxn(("/early",))
    assert world.propose(Op.CREATE, create("/late"), session=session) == ErrorTxn(-112)
    world.deliver()
    assert world.propose(Op.CREATE, create("/later"), session=session) == ErrorTxn(-112)


def test_a_session_is_closing_from_the_proposal_on(world: World) -> None:
    world.create("/e", flags=1)
    assert world.propose(Op.CREATE, create("/late-but-in-time", 1)) is not None
    assert world.propose(Op.CLOSE_SESSION) == CloseSessionTxn(("/e", "/late-but-in-time"))
    assert world.propose(Op.CREATE, create("/late", 1)) == ErrorTxn(-112)
    assert world.propose(Op.SET_DATA, r.SetDataRequest("/e", b"", -1)) == ErrorTxn(-112)
    assert world.propose(Op.CLOSE_SESSION) == ErrorTxn(-112)
    world.deliver()
    assert list(world.state.sessions.ids()) == []
    assert len(world.state.tree.ephemerals) == 0
    assert world.propose(Op.CREATE, create("/late", 1)) == ErrorTxn(-112)
    assert world.propose(Op.DELETE, r.DeleteRequest("/", -1)) == ErrorTxn(-112)  # session before path
    assert world.propose(Op.CREATE, create("/late", 9)) == ErrorTxn(-8)  # flags before session


def test_closing_takes_what_will_be_the_sessions_own_and_nothing_else(world: World) -> None:
    other = world.open()
    for path in ("/mine", "/gone", "/passed-on"):
        world.create(path, flags=1)
    world.propose(Op.DELETE, r.DeleteRequest("/gone", -1))
    world.propose(Op.DELETE, r.DeleteRequest("/passed-on", -1))
    world.propose(Op.CREATE, create("/passed-on", 1), session=other)
    world.propose(Op.CREATE, create("/new", 1))
    world.propose(Op.CREATE, create("/new-and-gone", 1))
    world.propose(Op.DELETE, r.DeleteRequest("/new-and-gone", -1))
    world.propose(Op.SET_DATA, r.SetDataRequest("/mine", b"x", -1), session=other)
    assert world.propose(Op.CLOSE_SESSION) == CloseSessionTxn(("/mine", "/new"))
    assert world.propose(Op.CREATE, create("/mine"), session=other) is not None
    world.deliver()
    assert list(world.state.tree.ephemerals.of(other)) == ["/passed-on"]
    assert world.propose(Op.CLOSE_SESSION, session=other) == CloseSessionTxn(("/passed-on",))


def test_requests_through_the_former_server_are_refused_as_moved(world: World) -> None:
    elsewhere = RequestIds(2, 1)
    assert world.propose(Op.CREATE, create("/a"), ids=elsewhere) == ErrorTxn(-118)
    assert world.propose(Op.MULTI, r.MultiRequest(((1, create("/a")),)), ids=elsewhere) == ErrorTxn(-118)
    assert world.propose(Op.CLOSE_SESSION, ids=elsewhere) == ErrorTxn(-118)
    world.preparer.owners[world.session] = 2  # revalidated there
    assert isinstance(world.propose(Op.CREATE, create("/a"), ids=elsewhere), CreateTxn)
    assert world.propose(Op.CREATE, create("/b")) == ErrorTxn(-118)


def test_what_a_closing_takes_away_is_gone_for_those_behind_it(world: World) -> None:
    """Before it is delivered: parents are empty, paths are free, and what is made there anew stays."""
    for path in ("/a", "/b"):
        world.write(Op.CREATE, create(path))
    other = world.open()
    world.write(Op.CREATE, create("/a/applied", 1))
    world.write(Op.CREATE, create("/b/applied", 1))
    world.write(Op.CREATE, create("/b/early", 1))
    world.propose(Op.CREATE, create("/a/proposed", 1))
    world.propose(Op.DELETE, r.DeleteRequest("/b/early", -1))
    world.propose(Op.CREATE, create("/b/early", 1), session=other)
    body = world.propose(Op.CLOSE_SESSION)
    assert body == CloseSessionTxn(("/a/applied", "/b/applied", "/a/proposed"))
    assert world.propose(Op.DELETE, r.DeleteRequest("/a", -1), session=other) == DeleteTxn("/a")
    assert world.propose(Op.DELETE, r.DeleteRequest("/b", -1), session=other) == ErrorTxn(-111)
    assert isinstance(world.propose(Op.CREATE, create("/b/applied", 1), session=other), CreateTxn)
    assert world.propose(Op.DELETE, r.DeleteRequest("/b/applied", -1), session=other) == DeleteTxn("/b/applied")
    assert isinstance(world.propose(Op.CREATE, create("/b/applied", 1), session=other), CreateTxn)
    world.deliver()
    assert len(world.preparer.pending) == 0
    assert sorted(world.state.tree.ephemerals.of(other)) == ["/b/applied", "/b/early"]
    assert world.propose(Op.CLOSE_SESSION, session=other) == CloseSessionTxn(("/b/early", "/b/applied"))
    world.deliver()
    assert world.propose(Op.DELETE, r.DeleteRequest("/b", -1), session=world.open()) == DeleteTxn("/b")
    world.deliver()


def test_the_leader_closes_an_expired_session_wherever_it_is(world: World) -> None:
    world.preparer.owners[world.session] = 2
    world.create("/e", flags=1, ids=RequestIds(2, 1))
    body = world.propose(Op.CLOSE_SESSION, world.session.to_bytes(8, "big", signed=True), session=0)
    assert body == CloseSessionTxn(("/e",))
    assert world.deliver()[-1][0].session_id == world.session


# Sizes ---------------------------------------------------------------------------------------------------------------


def test_the_id_of_a_global_session_never_has_the_bit_of_local_ones(world: World) -> None:
    preparer = world.preparer
    request = world.ids.next()
    for epoch in (0x7FFFFF, 0x800000, 0xFFFFFF, 0xFFFF_FFFF):
        session_id, _ = preparer._create_session(
            Request(request, 0, 0, Op.CREATE_SESSION, packed(r.CreateSessionRequest(4_000)), ()), make_zxid(epoch, 1)
        )
        assert not is_local_id(session_id)
        assert session_id not in (0, -(1 << 63))


def test_a_local_session_may_write_but_own_nothing(world: World) -> None:
    assert isinstance(world.propose(Op.CREATE, create("/a"), session=LOCAL_SESSION), CreateTxn)
    assert isinstance(world.propose(Op.SET_DATA, r.SetDataRequest("/a", b"x", -1), session=LOCAL_SESSION), SetDataTxn)
    assert isinstance(world.propose(Op.DELETE, r.DeleteRequest("/a", -1), session=LOCAL_SESSION), DeleteTxn)
    for flags in (1, 3):
        assert world.propose(Op.CREATE, create("/e", flags), session=LOCAL_SESSION) == ErrorTxn(-120)
        assert world.propose(Op.CREATE2, create("/no/where", flags), session=LOCAL_SESSION) == ErrorTxn(-120)
    assert world.propose(Op.CREATE, create("/e", 9), session=LOCAL_SESSION) == ErrorTxn(-8)  # flags before session
    many = r.MultiRequest(((int(Op.CREATE), create("/a")), (int(Op.CREATE), create("/e", 1))))
    assert world.propose(Op.MULTI, many, session=LOCAL_SESSION) == FailedMultiTxn(-120, 1, 2)
    world.deliver()


def test_a_local_session_is_closed_by_nobody_here(world: World) -> None:
    """There is none of that id to close: applied, it would be the end of every replica."""
    assert world.propose(Op.CLOSE_SESSION, session=LOCAL_SESSION) == ErrorTxn(-6)
    world.deliver()


LOCAL_ID = 1 << 56 | 1 << 55 | 1 << 32 | 1
UPGRADE = packed(r.UpgradeSessionRequest(4_000, b"q" * 16))


def test_a_local_session_becomes_global_under_its_id_and_may_own_at_once(world: World) -> None:
    assert world.propose(Op.CREATE, create("/e", 1), session=LOCAL_ID) == ErrorTxn(-112)
    assert world.propose(Op.CREATE_SESSION, UPGRADE, session=LOCAL_ID) == CreateSessionTxn(4_000, b"q" * 16)
    assert isinstance(world.propose(Op.CREATE, create("/e", 1), session=LOCAL_ID), CreateTxn)
    assert world.preparer.owners[LOCAL_ID] == 1
    world.deliver()
    assert world.state.sessions.get(LOCAL_ID) == (4_000, b"q" * 16)
    assert world.propose(Op.CREATE_SESSION, UPGRADE, session=LOCAL_ID) == ErrorTxn(-112)  # never a second time
    assert world.propose(Op.CLOSE_SESSION, session=LOCAL_ID) == CloseSessionTxn(("/e",))
    assert world.propose(Op.CREATE_SESSION, UPGRADE, session=LOCAL_ID) == ErrorTxn(-112)
    assert world.propose(Op.CREATE, create("/late"), session=LOCAL_ID) == ErrorTxn(-112)
    world.deliver()
    assert world.propose(Op.CREATE, create("/later"), session=LOCAL_ID) == ErrorTxn(-112)


@pytest.mark.parametrize(
    ("session", "record"),
    [
        (1 << 56 | 1 << 32 | 1, UPGRADE),
        (2 << 56 | 1 << 55 | 1, UPGRADE),
        (LOCAL_SESSION, UPGRADE),
        (LOCAL_ID, packed(r.UpgradeSessionRequest(4_000, b"short"))),
        (LOCAL_ID, b"\0\0"),
    ],
    ids=["a global id", "another server's", "the marker", "a short password", "half a record"],
)
def test_what_is_no_upgrade_of_a_servers_own_session_is_refused(world: World, session: int, record: bytes) -> None:
    assert isinstance(world.propose(Op.CREATE_SESSION, record, session=session), ErrorTxn)
    world.deliver()
    assert world.state.sessions.ids() == [world.session]


def test_a_sessions_ephemerals_always_fit_into_its_closing(make_world: Callable[[Rules], World]) -> None:
    world = make_world(Rules(ephemeral_bytes_max=1_000))
    codes = [world.create(f"/ephemeral-{n:04}", flags=1) for n in range(60)]
    assert codes.count(0) == 1_000 // 20
    assert set(codes[50:]) == {-125}
    assert world.create("/not-ephemeral") == 0
    assert world.write(Op.DELETE, r.DeleteRequest("/ephemeral-0000", -1))[0] == 0
    refused = ((2, r.DeleteRequest("/ephemeral-0001", -1)), (13, r.CheckVersionRequest("/none", 0)))
    world.write(Op.MULTI, r.MultiRequest(refused))  # undone, so nothing is free by it
    assert world.create("/ephemeral-0000", flags=1) == 0
    assert world.create("/ephemeral-0050", flags=1) == -125
    assert (
        len(encode_txn(world.preparer.prepare(world.request(Op.CLOSE_SESSION, b""), Zxid(world.last + 1), 0))) < 1_100
    )


def test_a_request_beyond_the_bound_is_refused(make_world: Callable[[Rules], World]) -> None:
    world = make_world(Rules(txn_bytes_max=1_000))
    assert world.create("/a", b"x" * 900) == 0
    assert world.create("/b", b"x" * 1_000) == -5
    assert world.write(Op.SET_DATA, r.SetDataRequest("/a", b"x" * 1_000, -1)) == (-5, b"")


def test_the_bound_on_ephemerals_is_below_the_frame_between_servers() -> None:
    assert Rules().ephemeral_bytes_max + 1_048_575 < PEER_FRAME_BYTES_MAX
    assert Rules().txn_bytes_max + 1_048_575 < PEER_FRAME_BYTES_MAX


def test_expanding_auth_cannot_make_a_small_request_large(make_world: Callable[[Rules], World]) -> None:
    world = make_world(Rules(txn_bytes_max=100_000))
    many = (*ANYBODY, *(Identity("digest", f"user{n}:{'h' * 28}") for n in range(100)))
    wide = tuple(Acl(perms, "auth", "") for perms in range(1, 101))
    assert world.propose(Op.CREATE, create("/wide", acl=wide), identities=many) == ErrorTxn(-114)
    assert world.propose(Op.SET_ACL, r.SetACLRequest("/", wide, -1), identities=many) == ErrorTxn(-114)
    ops = tuple((1, create(f"/n{n}", acl=wide[:1])) for n in range(50))
    world.propose(Op.MULTI, r.MultiRequest(ops), identities=many)
    txn, _, (err, _) = world.deliver()[-1]
    assert (err, txn.body) == (-5, ErrorTxn(-5))
    assert len(packed(r.MultiRequest(ops))) < 5_000
    assert len(world.state.tree.nodes) == 4
