"""Whole stories, drawn from a seed: clients of every kind ask for everything, while servers crash, lose their power and
each other, and observers join and leave. At every zxid all replicas are the same, also once they have read it all from
disk; what was acknowledged is there; ephemerals are those of sessions that live; no session sees time go back.
"""

import struct
from collections.abc import Callable, Iterator
from itertools import pairwise
from random import Random
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.server.raw_client import RawClient, Reply
from tests.server.servers import ensemble
from zabpy.model import OPEN_ACL, Acl
from zabpy.pipeline import reads, slices
from zabpy.server import clients
from zabpy.server.clients import Clients
from zabpy.testing.disk import CutModel
from zabpy.testing.ensemble import MemoryEnsemble
from zabpy.tree import watches
from zabpy.wire import Op, Reader, packed, records as r

CONFIG = {
    "local_sessions": True,
    "local_sessions_upgrading": True,
    "read_only_mode": True,
    "enforce_quota": True,
    "ttl_znodes": True,
    "container_check_ms": 1_000,
    "container_never_used_ms": 2_000,
}
#: How long faults last, and how often states are compared; with more of both, and more seeds, it takes minutes.
SECONDS, DIGEST_EVERY = 8, 50
#: What is too long for one turn of a server is short here.
SMALL = (
    (reads, "SLICE_ITEMS"),
    (reads, "_NAMES_AT_ONCE"),
    (reads, "_WATCHES_AT_ONCE"),
    (slices, "SLICE_ITEMS"),
    (watches, "FORGOTTEN_AT_ONCE"),
    (clients, "WATCHES_AT_ONCE"),
)
SHARED = ("/s", "/s/a", "/s/b", "/s/a/x", "/s/b/y", "/s/lock")
QUOTA = "/zookeeper/quota"
QUOTAS = ("/s", "/s/a", "/zookeeper", QUOTA)
LOST = (EOFError, OSError, trio.BrokenResourceError, trio.TooSlowError)
NO_NODE, NODE_EXISTS, READ_ONLY, EXPIRED = -101, -110, -119, -112


class Story:
    """What came to be, by zxid; what clients were promised; and the servers that it happens on."""

    def __init__(self, servers: MemoryEnsemble, seed: int) -> None:
        self.servers, self.rng = servers, Random(f"story {seed}")
        self.over = False
        self.states: dict[int, tuple[int, int, int]] = {}
        self.clients: list[Client] = []
        self.reconfigs = 0

    def applied(self, state: Any) -> None:
        zxid = state.last_applied
        if zxid % DIGEST_EVERY == 0:
            digest = state.digest()
            assert self.states.setdefault(zxid, digest) == digest, f"{zxid:x}"

    async def faults(self) -> None:
        servers, rng = self.servers, self.rng
        while not self.over:
            await trio.sleep(rng.expovariate(1 / 1.5))
            ids = sorted(servers.servers)
            down = sorted(servers.configs.keys() - servers.servers.keys())
            what = rng.randrange(10)
            if what < 3 and ids:
                model = rng.choice((None, *CutModel))
                servers.crash(rng.choice(ids), model)
            elif what < 6 and down:
                await self.start(rng.choice(down))
            elif what < 8:
                a, b = rng.sample(sorted(servers.configs), 2)
                servers.cut(a, b)
            else:
                servers.heal()

    async def start(self, id: int) -> None:
        while id in self.servers.servers or not self.ended(id):  # noqa: ASYNC110
            await trio.sleep(0.1)
        await self.servers.start(id)

    def ended(self, id: int) -> bool:
        ended = self.servers._ended.get(id)
        return ended is None or ended.is_set()

    async def changes(self, lines: dict[int, str]) -> None:
        """Observers join and leave."""
        while not self.over:
            await trio.sleep(self.rng.expovariate(1 / 3))
            id = self.rng.choice(sorted(lines))
            try:
                with trio.fail_after(5):
                    at = self.rng.choice((1, 2, 3))
                    if at not in self.servers.servers:
                        continue
                    client = RawClient(await self.servers.connect(at))
                    if not await client.handshake():
                        continue
                    await client.become_super()
                    if self.rng.random() < 0.6:
                        err, _ = await client.reconfig(joining=lines[id])
                    else:
                        err, _ = await client.reconfig(leaving=str(id))
                    self.reconfigs += err == 0
                    await client.close()
            except LOST:
                pass


class Client:
    """Writes what nobody else writes, and what all write; goes on with its session wherever it is let in."""

    def __init__(self, story: Story, number: int) -> None:
        self.story, self.number = story, number
        self.rng = Random(f"client {number} {story.rng.random()}")
        self.session: tuple[int, bytes, int] | None = None
        self.zxid = 0
        self.count = 0
        self.there: set[str] = set()
        self.gone: set[str] = set()
        #: Ephemerals acknowledged to the session that lives, and those of sessions whose end was acknowledged.
        self.mine: set[str] = set()
        self.ended: set[int] = set()
        #: Once there, and somebody was asked to delete it.
        self.unsure: set[str] = set()
        self.read = -1
        self.acked = self.asked = 0

    def name(self) -> str:
        self.count += 1
        return f"{self.number}-{self.count}"

    async def run(self) -> None:
        while not self.story.over:
            await trio.sleep(self.rng.random() * 0.3)
            ids = sorted(self.story.servers.servers)
            if not ids:
                continue
            try:
                with trio.fail_after(3):
                    client = RawClient(await self.story.servers.connect(self.rng.choice(ids)))
                    if not await self.enter(client):
                        continue
            except LOST:
                continue
            try:
                with trio.move_on_after(self.rng.expovariate(1 / 5)):
                    while not self.story.over:
                        await self.turn(client)
            except LOST:
                pass
            finally:
                self.zxid = max(self.zxid, client.zxid)
                with trio.CancelScope(shield=True):
                    await client.close()

    async def enter(self, client: RawClient) -> bool:
        wishes: dict[str, Any] = {"timeout_ms": 6_000, "read_only": self.rng.random() < 0.5}
        client.zxid = self.zxid
        if self.session is None:
            ok = await client.handshake(zxid=self.zxid, **wishes)
            self.mine.clear()
        else:
            id, password, _ = self.session
            ok = await client.handshake(session_id=id, password=password, zxid=self.zxid, **wishes)
            assert not ok or client.session_id == id
            assert not ok or id not in self.ended, "a session is there again that was closed"
        self.session = (client.session_id, client.password, 0) if ok else None
        return ok

    async def turn(self, client: RawClient) -> None:
        """Some requests at once; their replies come in their order."""
        asked = [self.draw() for _ in range(self.rng.choice((1, 1, 1, 2, 5, 12)))]
        xids = [await client.send(op, record) for op, record, _ in asked]
        with trio.fail_after(8):
            for xid, (op, _, then) in zip(xids, asked, strict=True):
                told = await client.reply()
                self.check_order(client)
                assert told.xid == (-2 if op == Op.PING else xid), (told, xid, Op(op))
                then(told)
        if self.rng.random() < 0.02:
            with trio.fail_after(8):
                if (await client.ask(Op.CLOSE_SESSION)).err == 0:
                    assert self.session is not None
                    self.ended.add(self.session[0])
                    self.session = None
                    raise EOFError
        await trio.sleep(self.rng.random() * 0.2)

    def check_order(self, client: RawClient) -> None:
        """An event comes before any reply from a state that has the change."""
        for before, told in pairwise(client.log):
            if told.xid == -1 and told.zxid > 0:  # else it tells what was missed
                assert told.zxid > before.zxid - (before.xid == -1), (before, told)
        del client.log[:-1]

    # What it asks -----------------------------------------------------------------------------------------------------

    def draw(self) -> tuple[int, bytes, Callable[[Reply], None]]:
        rng = self.rng
        op, record, then = rng.choice(
            2 * (self.own, self.ephemeral, self.look, self.multi, self.long)
            + 3 * (self.any,)
            + (self.forget, self.write, self.quota)
        )()
        return op, packed(record) if not isinstance(record, bytes) else record, then

    def own(self) -> Any:
        path = f"/own/{self.name()}"

        def then(told: Reply) -> None:
            if told.err == 0:
                self.there.add(path)
            elif told.err in (NO_NODE, READ_ONLY, EXPIRED):
                self.gone.add(path)
            else:
                raise AssertionError(told)

        return Op.CREATE, r.CreateRequest(path, b"x", OPEN_ACL, 0), then

    def ephemeral(self) -> Any:
        path = f"/own/e{self.name()}"

        def then(told: Reply) -> None:
            if told.err == 0:
                self.mine.add(path)
            else:
                assert told.err in (NO_NODE, READ_ONLY, EXPIRED), told
                self.gone.add(path)

        return self.rng.choice((Op.CREATE, Op.CREATE2)), r.CreateRequest(path, b"", OPEN_ACL, 1), then

    def forget(self) -> Any:
        path = self.rng.choice(sorted(self.mine | self.there) or ["/nothing"])
        self.mine.discard(path)
        self.there.discard(path)
        self.unsure.add(path)

        def then(told: Reply) -> None:
            if told.err == 0:
                self.gone.add(path)

        return Op.DELETE, r.DeleteRequest(path, -1), then

    def write(self) -> Any:
        self.asked += 1
        number = self.asked

        def then(told: Reply) -> None:
            if told.err == 0:
                self.acked = number

        return Op.SET_DATA, r.SetDataRequest(f"/n{self.number}", b"%d" % number, -1), then

    def look(self) -> Any:
        floor = self.acked

        def then(told: Reply) -> None:
            if told.err == 0:
                (length,) = struct.unpack_from(">i", told.body)
                number = int(told.body[4 : 4 + length] or b"0")
                assert number >= max(self.read, floor), (number, self.read, floor)
                self.read = number
            else:
                assert told.err in (NO_NODE, EXPIRED), told
                assert self.read < 0

        return Op.GET_DATA, r.GetDataRequest(f"/n{self.number}", self.rng.random() < 0.3), then

    def any(self) -> Any:
        return (*next(_anything(self.rng)), lambda told: None)

    def long(self) -> Any:
        """Answers that are made in slices here, and watches that fire meanwhile."""
        rng = self.rng
        paths = (*SHARED, "/own", *sorted(self.there)[:5])
        asked: tuple[Op, Any] = rng.choice(
            (
                (Op.GET_CHILDREN2, r.GetChildren2Request("/own", rng.random() < 0.5)),
                (Op.GET_CHILDREN, r.GetChildrenRequest("/own", rng.random() < 0.5)),
                (Op.GET_ALL_CHILDREN_NUMBER, r.GetAllChildrenNumberRequest("/own")),
                (Op.ADD_WATCH, r.AddWatchRequest("/own", rng.randrange(2))),
                (Op.SET_WATCHES, r.SetWatches(self.zxid, paths, ("/no", *paths), paths)),
                (
                    Op.MULTI_READ,
                    r.MultiReadRequest(tuple((int(Op.GET_CHILDREN), r.GetChildrenRequest(p, False)) for p in paths)),
                ),
            )
        )
        there = set(self.there)

        def then(told: Reply) -> None:
            if asked[0] == Op.GET_CHILDREN2 and told.err == 0:
                reader = Reader(told.body)
                names = reader.vector(Reader.text) or []
                stat = r.read_stat(reader)
                assert stat.num_children == len(names) == len(set(names))
                assert not {path for path in there if f"{path[5:]}" not in names} - self.unsure

        return (*asked, then)

    def multi(self) -> Any:
        """All or nothing, whatever it is made of."""
        rng, ops = self.rng, list[tuple[int, Any]]()
        made = [f"/own/{self.name()}" for _ in range(rng.randrange(3))]
        ops += [(int(Op.CREATE), r.CreateRequest(path, b"", OPEN_ACL, 0)) for path in made]
        held = [f"/own/e{self.name()}" for _ in range(rng.randrange(2))]
        for path in held:
            ops.append(
                rng.choice(
                    (
                        (int(Op.CREATE), r.CreateRequest(path, b"", OPEN_ACL, 1)),
                        (int(Op.CREATE_CONTAINER), r.CreateRequest(path, b"", OPEN_ACL, 1)),
                        (int(Op.CREATE_TTL), r.CreateTTLRequest(path, b"", OPEN_ACL, 1, 5)),
                    )
                )
            )
        wanted = rng.randrange(3)
        for op, record in _anything(rng):
            if len(ops) >= len(made) + len(held) + wanted:
                break
            if op in IN_MULTI:
                ops.append((int(op), record))
        rng.shuffle(ops)

        def then(told: Reply) -> None:
            if told.err == 0 and ops and struct.unpack_from(">i", told.body)[0] != -1:
                self.there.update(made)
                self.mine.update(held)
            else:
                self.gone.update(made)
                self.gone.update(held)

        return Op.MULTI, r.MultiRequest(tuple(ops)), then

    def quota(self) -> Any:
        rng, path = self.rng, self.rng.choice(QUOTAS)
        where = QUOTA + path
        if rng.random() < 0.5:
            made = [where[:end] for end in range(len(QUOTA) + 1, len(where) + 1) if where[end : end + 1] in ("/", "")]
            at = rng.choice([*made, f"{where}/zookeeper_limits", f"{where}/zookeeper_stats"])
            return Op.CREATE, r.CreateRequest(at, rng.choice(QUOTA_TEXTS), OPEN_ACL, 0), lambda told: None
        at = where + rng.choice(("/zookeeper_limits", "/zookeeper_stats"))
        if rng.random() < 0.5:
            return Op.DELETE, r.DeleteRequest(at, -1), lambda told: None
        return Op.SET_DATA, r.SetDataRequest(at, rng.choice(QUOTA_TEXTS), -1), lambda told: None


QUOTA_TEXTS = (b"count=5,bytes=100", b"count=-1,bytes=-1=;byteHardLimit=40;countHardLimit=6", b"", b"rubbish")
IN_MULTI = frozenset((Op.CREATE, Op.CREATE2, Op.CREATE_CONTAINER, Op.CREATE_TTL, Op.DELETE, Op.SET_DATA, Op.CHECK))


def _anything(rng: Random) -> Iterator[tuple[Op, Any]]:
    """Requests about what is everybody's."""
    while True:
        path = rng.choice(SHARED)
        data = rng.choice((None, b"", b"12345", b"x" * 30))
        create = r.CreateRequest(path, data, OPEN_ACL, rng.choice((0, 0, 1, 1, 2, 3, 4)))
        everybody = (Acl(31, "world", "anyone"), Acl(1, "ip", "10.0.0.1"))
        yield rng.choice(
            (
                (Op.CREATE, create),
                (Op.CREATE2, create),
                (Op.CREATE_CONTAINER, create),
                (Op.CREATE_TTL, r.CreateTTLRequest(path, data, OPEN_ACL, rng.choice((5, 6, 1)), rng.choice((1, 999)))),
                (Op.DELETE, r.DeleteRequest(path, rng.choice((-1, -1, 0, 1)))),
                (Op.SET_DATA, r.SetDataRequest(path, data, rng.choice((-1, -1, 0, 1)))),
                (Op.SET_ACL, r.SetACLRequest(path, rng.choice((OPEN_ACL, everybody)), -1)),
                (Op.CHECK, r.CheckVersionRequest(path, rng.choice((-1, 0)))),
                (Op.GET_CHILDREN, r.GetChildrenRequest(path, rng.random() < 0.5)),
                (Op.EXISTS, r.ExistsRequest(path, rng.random() < 0.5)),
                (Op.GET_EPHEMERALS, r.GetEphemeralsRequest("/")),
                (Op.DELETE_CONTAINER, r.DeleteContainerRequest(path)),
                (Op.SYNC, r.SyncRequest(path)),
                (Op.PING, b""),
            )
        )


async def tell(story: Story, seconds: float, joiner: str) -> None:
    servers = story.servers
    first = RawClient(await servers.connect(1))
    assert await first.handshake()
    for path in ("/own", *(f"/n{client.number}" for client in story.clients)):
        assert (await first.create(path)).err == 0
    await first.close()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(story.faults)
        nursery.start_soon(story.changes, {4: servers.configs[4].member._replace(client_port=2181).text(), 5: joiner})
        for client in story.clients:
            nursery.start_soon(client.run)
        await trio.sleep(seconds)
        story.over = True
    servers.heal()
    for id in sorted(servers.configs):
        if id not in servers.servers:
            await story.start(id)
    await servers.wait_serving((1, 2, 3))
    await trio.sleep(20)  # sessions whose clients have gone expire
    check(story)
    for id in (1, 2, 3):
        await servers.stop(id)
    for id in (1, 2, 3):
        await story.start(id)
    await servers.wait_serving((1, 2, 3))
    await trio.sleep(5)
    check(story)


def check(story: Story) -> None:
    states = [story.servers.servers[id].driver.state for id in (1, 2, 3)]
    assert len({state.digest() for state in states}) == 1
    tree, sessions = states[0].tree, states[0].sessions
    for client in story.clients:
        assert client.there <= tree.nodes.keys(), sorted(client.there - tree.nodes.keys())[:3]
        assert not client.gone & tree.nodes.keys(), sorted(client.gone & tree.nodes.keys())[:3]
        assert not any(id in sessions for id in client.ended)
        assert int(tree.nodes[f"/n{client.number}"].data or b"0") >= client.acked
    owners = {znode.owner for znode in tree.nodes.values() if znode.kind == 1}
    assert not owners, "an ephemeral without a session"
    assert not len(sessions)


@pytest.mark.parametrize("seed", range(2))
async def test_replicas_stay_the_same_and_promises_are_kept(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    async with ensemble(
        servers=4, observers=1, seed=seed, snapshot_entries=40, config=CONFIG, seconds_max=2_000
    ) as servers:
        joiner = servers.add_observer(5)
        story = Story(servers, seed)
        story.clients = [Client(story, number) for number in range(5)]
        applied = Clients.applied

        def look(self: Clients, *what: Any) -> None:
            applied(self, *what)
            story.applied(self.state)

        monkeypatch.setattr(Clients, "applied", look)
        for module, name in SMALL:
            monkeypatch.setattr(module, name, 2)
        await tell(story, SECONDS, joiner.text())
        assert story.reconfigs and story.states
        assert sum(len(client.there) for client in story.clients) > 20
