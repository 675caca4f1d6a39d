"""All or nothing, also in what is only proposed."""

import random

from tests.pipeline.conftest import World
from zabpy.model import CONTAINER, OPEN_ACL, CloseSessionTxn, CreateTxn, FailedMultiTxn, MultiTxn, SetDataTxn
from zabpy.wire import Op, records as r


def create(path: str, flags: int = 0) -> tuple[int, r.Record]:
    return 1, r.CreateRequest(path, b"", OPEN_ACL, flags)


def delete(path: str) -> tuple[int, r.Record]:
    return 2, r.DeleteRequest(path, -1)


def set_data(path: str, version: int = -1) -> tuple[int, r.Record]:
    return 5, r.SetDataRequest(path, b"x", version)


def check(path: str, version: int) -> tuple[int, r.Record]:
    return 13, r.CheckVersionRequest(path, version)


FAILS = check("/none", 0)


def multi(*ops: tuple[int, r.Record]) -> r.MultiRequest:
    return r.MultiRequest(ops)


def test_each_operation_sees_those_before_it(world: World) -> None:
    body = world.propose(
        Op.MULTI, multi(create("/a"), set_data("/a", 0), check("/a", 1), create("/a/s", 2), delete("/a/s0000000000"))
    )
    assert isinstance(body, MultiTxn)
    assert body.bodies[1] == SetDataTxn("/a", b"x", 1)
    assert world.propose(Op.SET_DATA, r.SetDataRequest("/a", b"", 1)) == SetDataTxn("/a", b"", 2)
    world.deliver()
    assert world.state.tree.nodes["/a"].creations == 1


def test_a_failed_one_leaves_no_trace_in_what_is_proposed(world: World) -> None:
    world.create("/applied")
    world.propose(*create("/pending"))
    before = len(world.preparer.pending)
    body = world.propose(
        Op.MULTI,
        multi(
            create("/new"),
            create("/new/s", 2),
            set_data("/applied"),
            set_data("/pending"),
            delete("/pending"),
            create("/pending"),
            delete("/applied"),
            FAILS,
            create("/never"),
        ),
    )
    assert body == FailedMultiTxn(-101, 7, 9)
    assert len(world.preparer.pending) == before
    assert world.propose(Op.CREATE, create("/new")[1]) == CreateTxn("/new", b"", OPEN_ACL, 0, 0, 0, 3)
    assert world.propose(*set_data("/applied")) == SetDataTxn("/applied", b"x", 1)
    assert world.propose(*set_data("/pending")) == SetDataTxn("/pending", b"x", 1)
    world.deliver()


def test_a_failed_one_leaves_the_ephemerals_as_they_were(world: World) -> None:
    other = world.open()
    world.create("/applied", flags=1)
    world.propose(*create("/pending", 1))
    body = world.propose(
        Op.MULTI, multi(delete("/applied"), delete("/pending"), create("/pending", 1), create("/new", 1), FAILS)
    )
    assert isinstance(body, FailedMultiTxn)
    body = world.propose(Op.MULTI, multi(delete("/pending"), create("/pending", 1), FAILS), session=other)
    assert isinstance(body, FailedMultiTxn)
    assert world.propose(Op.CLOSE_SESSION, session=other) == CloseSessionTxn(())
    assert world.propose(Op.CLOSE_SESSION) == CloseSessionTxn(("/applied", "/pending"))
    world.deliver()


def test_the_container_flag_decides_inside_a_multi(world: World) -> None:
    body = world.propose(Op.MULTI, multi(create("/c", 4)))
    assert isinstance(body, MultiTxn)
    assert body.ops == (19,)
    part = body.bodies[0]
    assert isinstance(part, CreateTxn)
    assert part.kind == CONTAINER


def test_a_multi_of_a_closed_session_fails_at_its_first_operation(world: World) -> None:
    world.propose(Op.CLOSE_SESSION)
    assert world.propose(Op.MULTI, multi(create("/a"), create("/b"))) == FailedMultiTxn(-112, 0, 2)


def test_random_requests_on_what_is_proposed_give_what_they_give_on_what_is_applied() -> None:
    """The same requests, once delivered at random moments and once each at once, must be judged alike."""
    for seed in range(30):
        rng = random.Random(seed)
        late, prompt = World(), World()
        sessions = [(late.session, prompt.session), (late.open(), prompt.open())]
        paths = ["/a", "/b", "/a/c", "/a/d", "/b/e", "/zookeeper"]

        def one(rng: random.Random, paths: list[str]) -> tuple[int, r.Record]:
            path, version = rng.choice(paths), rng.choice((-1, -1, 0, 1, 2))
            match rng.randrange(5):
                case 0 | 1:
                    return create(path, rng.choice((0, 0, 1, 1, 2, 3)))
                case 2:
                    return 2, r.DeleteRequest(path, version)
                case 3:
                    return set_data(path, version)
                case _:
                    return check(path, version)

        for _ in range(150):
            here, there = rng.choice(sessions)
            if rng.random() < 0.4:
                op, record = int(Op.MULTI), multi(*(one(rng, paths) for _ in range(rng.randrange(1, 5))))
                asked: r.Record = record
            elif rng.random() < 0.03:
                op, asked = int(Op.CLOSE_SESSION), r.MultiRequest(())
            elif rng.random() < 0.1:
                op, asked = int(Op.SET_ACL), r.SetACLRequest(rng.choice(paths), OPEN_ACL, rng.choice((-1, 0)))
            else:
                op, asked = one(rng, paths)
                if op == 13:
                    continue
            body = late.propose(op, asked, session=here)
            assert body == prompt.propose(op, asked, session=there)
            prompt.deliver()
            if rng.random() < 0.2:
                late.deliver(rng.randrange(len(late.proposed) + 1))
        late.deliver()
        assert late.state.digest() == prompt.state.digest()
        assert len(late.preparer.pending) == 0
        assert not late.preparer.pending._owned
        assert not late.preparer.pending._closing
