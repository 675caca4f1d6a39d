"""Links: who is let in, and that garbage ends one link only."""

import struct

import pytest
import trio
from trio.testing import MockClock

from tests.server.servers import client_of, ensemble
from zabpy.model import OPEN_ACL, Request
from zabpy.server.peers import UNNAMED_MAX, ensemble_text
from zabpy.testing.ensemble import PEER_PORT, MemoryEnsemble
from zabpy.wire import PEER_VERSION, Hello, Op, encode, encode_hello, frame, packed, records as r
from zabpy.zab import HistoryPartedError, Input, Quorums, Received
from zabpy.zab.messages import Ack, Forward


def hello(sid: int, ensemble: str = "1,2,3", version: int = PEER_VERSION) -> bytes:
    return frame(encode_hello(Hello(version, sid, ensemble)))


async def closed(stream: trio.abc.Stream) -> bool:
    """Whether the other side closes, within ten seconds; what it says before is skipped."""
    with trio.move_on_after(10):
        try:
            while await stream.receive_some():
                pass
        except trio.BrokenResourceError:
            pass
        return True
    return False


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"ruok",
        struct.pack(">i", -5),
        struct.pack(">i", 1 << 30) + b"x",
        frame(b"\xff\xff\xff"),
        frame(encode(Ack(0))),  # type: ignore[arg-type]
        hello(9),
        hello(1),
        hello(2, ensemble="1,2,4"),
        hello(2, ensemble="1,2*3,3"),
        hello(2, version=99),
    ],
    ids=[
        "nothing",
        "word",
        "negative",
        "huge",
        "no CBOR",
        "no Hello",
        "unknown",
        "we",
        "other list",
        "other weights",
        "other version",
    ],
)
async def test_a_stranger_on_the_peer_port_is_refused_with_a_line(autojump_clock: MockClock, said: bytes) -> None:
    async with ensemble(servers=3, seed=1) as servers:
        client = await client_of(servers, 1)
        before = len(servers.lines)
        stream = await servers.wires.dial("stranger", "server1", PEER_PORT)
        if said:
            await stream.send_all(said)
        assert await closed(stream)
        assert sum("event=link_refused" in line for line in servers.lines[before:]) == 1
        assert not any("event=role" in line for line in servers.lines[before:])
        assert (await client.create("/fine")).err == 0


@pytest.mark.parametrize("garbage", [b"\xff" * 100, frame(b"\x01\x02"), struct.pack(">i", 1 << 30)])
async def test_a_peer_that_breaks_the_protocol_loses_its_link_and_the_ensemble_goes_on(
    autojump_clock: MockClock, garbage: bytes
) -> None:
    async with ensemble(servers=3, seed=2) as servers:
        leader = servers.leader
        assert leader is not None
        follower = min(id for id in (1, 2, 3) if id != leader)
        servers.servers[follower].peers.links[leader].put(garbage)
        servers.servers[follower].settle()
        await trio.sleep(5)
        assert any("event=unlinked" in line and f"peer={follower}" in line for line in servers.lines)
        await servers.wait_serving()
        client = await client_of(servers, follower)
        assert (await client.create("/fine")).err == 0


async def test_a_peer_that_only_says_hello_and_then_nothing_is_given_up(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        servers = MemoryEnsemble(nursery, servers=3, seed=3)
        await servers.start(1)
        stream = await servers.wires.dial("server2", "server1", PEER_PORT)
        await stream.send_all(hello(2))
        began = trio.current_time()
        assert await closed(stream)
        assert trio.current_time() - began < 4
        nursery.cancel_scope.cancel()


async def test_a_newer_connection_of_the_same_peer_replaces_the_older(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        servers = MemoryEnsemble(nursery, servers=3, seed=4)
        await servers.start(1)
        first = await servers.wires.dial("server2", "server1", PEER_PORT)
        await first.send_all(hello(2))
        await trio.sleep(0.1)
        second = await servers.wires.dial("server2", "server1", PEER_PORT)
        await second.send_all(hello(2))
        assert await closed(first)
        assert servers.servers[1].peers.links[2].number == 2
        nursery.cancel_scope.cancel()


async def test_a_hello_that_drips_is_not_waited_for(autojump_clock: MockClock) -> None:
    async with ensemble(servers=3, seed=6) as servers:
        stream = await servers.wires.dial("stranger", "server1", PEER_PORT)
        await stream.send_all(struct.pack(">i", 4_000))
        with pytest.raises(trio.BrokenResourceError):
            for _ in range(10):
                await stream.send_all(b"x")
                await trio.sleep(1)


async def test_an_error_of_our_own_ends_the_server_and_is_not_taken_for_the_peers(autojump_clock: MockClock) -> None:
    """What was delivered would else be missing in the state of a server that goes on serving, or a server that must
    stop until a human has decided would go on and on."""

    def is_it(error: BaseException) -> bool:
        if isinstance(error, BaseExceptionGroup):
            return any(map(is_it, error.exceptions))
        return isinstance(error, HistoryPartedError)

    with pytest.raises(BaseException) as caught:
        async with ensemble(servers=3, seed=5) as servers:
            follower = next(id for id in (1, 2, 3) if id != servers.leader)
            peers = servers.servers[follower].peers
            feed = peers.feed

            def parted(given: Input) -> None:
                if isinstance(given, Received):
                    raise HistoryPartedError("we delivered what the leader does not hold")
                feed(given)

            peers.feed = parted
            await trio.sleep(60)
    assert is_it(caught.value)


async def test_what_a_leader_asks_of_itself_nobody_else_may_ask_of_it(autojump_clock: MockClock) -> None:
    async with ensemble(servers=3, seed=4) as servers:
        leader = await servers.wait_leader()
        follower = min(id for id in (1, 2, 3) if id != leader)
        client = await client_of(servers, leader)
        assert (await client.create("/e", flags=1)).err == 0
        container = r.CreateRequest("/c", b"", OPEN_ACL, 4)
        assert (await client.ask(Op.CREATE_CONTAINER, container)).err == 0
        asking = servers.servers[follower]
        for op, record in (
            (Op.CLOSE_SESSION, struct.pack(">q", client.session_id)),
            (Op.DELETE_CONTAINER, packed(r.DeleteContainerRequest("/c"))),
            (Op.CREATE_SESSION, packed(r.CreateSessionRequest(-5))),
        ):
            request = Request(asking.clients.ids.next(), 0, 0, int(op), record, ())
            asking.peers.send(leader, Forward((request,)))
        asking.settle()
        await trio.sleep(1)
        assert await client.get("/e") == (0, b"")
        assert await client.get("/c") == (0, b"")
        await servers.wait_level()
        assert servers.leader == leader


async def test_a_stranger_who_takes_all_places_at_the_peer_port_keeps_no_peer_out(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        servers = MemoryEnsemble(nursery, servers=3, seed=7)
        await servers.start(1)
        strangers = [await servers.wires.dial("stranger", "server1", PEER_PORT) for _ in range(2 * UNNAMED_MAX)]
        stream = await servers.wires.dial("server2", "server1", PEER_PORT)
        await stream.send_all(hello(2))
        await trio.sleep(0.5)
        peers = servers.servers[1].peers
        assert peers.links.keys() == {2}
        assert len(peers._unnamed) == UNNAMED_MAX - 1
        for each in strangers:
            await each.aclose()
        nursery.cancel_scope.cancel()


def test_servers_that_reckon_differently_have_different_names_for_their_ensemble() -> None:
    voters = frozenset((1, 2, 3, 4))
    names = [
        ensemble_text(quorums)
        for quorums in (
            Quorums(voters),
            Quorums(voters - {4}),
            Quorums(voters, {2: 0}),
            Quorums(voters, {2: 2}),
            Quorums(voters, {}, {1: frozenset((1, 2)), 2: frozenset((3, 4))}),
            Quorums(voters, {}, {1: frozenset((1, 3)), 2: frozenset((2, 4))}),
            Quorums(voters, {}, {1: voters}),
        )
    ]
    assert names[0] == "1,2,3,4"
    assert len(set(names)) == len(names)
    assert ensemble_text(Quorums(voters, {}, {7: frozenset((3, 4)), 5: frozenset((1, 2))})) == names[4]


async def test_whoever_answers_in_the_place_of_a_peer_must_be_that_one(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        servers = MemoryEnsemble(nursery, servers=3, seed=8)

        async def answer(stream: trio.abc.Stream) -> None:
            await stream.send_all(hello(2))
            assert await closed(stream)

        servers.wires.listen("server1", PEER_PORT, lambda stream, remote: nursery.start_soon(answer, stream))
        await servers.start(3)
        await trio.sleep(1)
        assert servers.servers[3].peers.links == {}
        assert any("says it is server 2, expected 1" in line for line in servers.lines)
        nursery.cancel_scope.cancel()
