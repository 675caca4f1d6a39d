"""Four-letter words over the wire: whole servers, standalone and three, and what clients do with their bytes."""

import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
import trio
from trio.testing import MockClock

from tests.server.raw_client import RawClient, all_of
from tests.server.servers import client_of
from zabpy.admin import WORDS as WORD_ROWS
from zabpy.server.config import WORDS
from zabpy.server.connection import NOT_MEASURED
from zabpy.server.status import status_of
from zabpy.server.words import LONG_ANSWERS_MAX, SLICE_BYTES
from zabpy.testing.ensemble import MemoryEnsemble
from zabpy.wire import Op, frame, records as r


@asynccontextmanager
async def speaking(
    *, servers: int, observers: int = 0, words: frozenset[str] = WORDS, address_connections_max: int = 0
) -> AsyncIterator[MemoryEnsemble]:
    """Servers that answer these words."""
    with trio.fail_after(600):
        async with trio.open_nursery() as nursery:
            those = MemoryEnsemble(nursery, servers=servers, observers=observers)
            those.configs = {
                id: replace(config, words=words, address_connections_max=address_connections_max)
                for id, config in those.configs.items()
            }
            await those.start_all()
            yield those
            nursery.cancel_scope.cancel()


async def say(servers: MemoryEnsemble, word: bytes, id: int = 1) -> str:
    stream = await servers.connect(id)
    await stream.send_all(word)
    return (await all_of(stream)).decode()


async def rows(servers: MemoryEnsemble, id: int = 1) -> dict[str, str]:
    """What mntr tells."""
    return dict(line.removeprefix("zk_").split("\t") for line in (await say(servers, b"mntr", id)).splitlines())


async def ephemeral(client: RawClient, path: str) -> None:
    assert (await client.create(path, flags=1)).err == 0


@pytest.mark.parametrize(
    ("sent", "right"),
    [
        (b"ruok\n", b"imok"),
        (b"ruok\r\n", b"imok"),
        (b"ruok and more", b"imok"),
        (b"isro", b"rw"),
        (b"RUOK", b""),
        (b"what", b""),
        (b"\xff\xf4\xff\xfd", b""),
        (b"stmk" + struct.pack(">q", 1022), b"1022"),
        (b"stmk" + struct.pack(">q", -5) + b"tail", b"-5"),
        (b"gtmk", b"306"),
        (b"hash", b""),
        (b"crst", b"Connection stats reset.\n"),
        (b"srst", b"Server stats reset.\n"),
    ],
)
async def test_bytes_of_a_word(autojump_clock: MockClock, sent: bytes, right: bytes) -> None:
    """As Apache's 3.8.0 answered the same bytes; it wants those of stmk in one piece, and here they may come singly."""
    async with speaking(servers=1) as servers:
        assert (await say(servers, sent)).encode() == right
        if len(sent) == len(right) or sent[:4] in (b"ruok", b"stmk"):
            stream = await servers.connect(1)
            for byte in sent[:12]:
                await stream.send_all(bytes([byte]))
                await trio.sleep(0.1)
                if len(right) and sent[:4] == b"ruok" and byte == sent[3]:
                    break
            assert await all_of(stream) == right


async def test_a_telnet_goodbye_leaves_no_line_in_the_log_and_garbage_does(autojump_clock: MockClock) -> None:
    async with speaking(servers=1) as servers:
        before = len(servers.lines)
        assert await say(servers, b"\xff\xf4\xff\xfd") == ""
        assert servers.lines[before:] == []
        assert await say(servers, b"\xff\xf4\xff\xfe") == ""
        assert len(servers.lines) == before + 1


async def test_in_a_session_a_word_is_a_length(autojump_clock: MockClock) -> None:
    async with speaking(servers=1) as servers:
        client = await client_of(servers, 1)
        await client.stream.send_all(b"ruok")
        with pytest.raises(EOFError):
            await client.next_frame()
        assert await say(servers, b"ruok") == "imok"


async def test_the_mask_that_was_set_is_the_one_that_is_told(autojump_clock: MockClock) -> None:
    async with speaking(servers=1) as servers:
        await say(servers, b"stmk" + struct.pack(">q", 0x3FE))
        assert await say(servers, b"gtmk") == "1022"
        await say(servers, b"srst")
        assert await say(servers, b"gtmk") == "1022"


async def test_an_stmk_that_never_ends_is_closed_like_any_silent_connection(autojump_clock: MockClock) -> None:
    async with speaking(servers=1) as servers:
        began = trio.current_time()
        assert await say(servers, b"stmk1234567") == ""
        assert 9 < trio.current_time() - began < 12


async def test_a_word_that_is_not_allowed_is_refused_whatever_it_is(autojump_clock: MockClock) -> None:
    async with speaking(servers=1, words=frozenset({"srvr"})) as servers:
        for word in sorted(WORDS - {"srvr"}):
            argument = bytes(8) if word == "stmk" else b""
            told = await say(servers, word.encode() + argument)
            assert told == f"{word} is not executed because it is not in the whitelist.\n"


async def test_a_refused_connection_is_told_nothing(autojump_clock: MockClock) -> None:
    async with speaking(servers=1, address_connections_max=1) as servers:
        await client_of(servers, 1)
        stream = await servers.connect(1)
        assert await all_of(stream) == b""
        stream = await servers.connect(1, "elsewhere")
        await stream.send_all(b"mntr")
        assert b"zk_connection_rejected\t1\n" in await all_of(stream)


async def test_counts_are_apaches(autojump_clock: MockClock) -> None:
    """Handshakes, pings and events are packets; the word itself is received, and sent once it is answered."""
    async with speaking(servers=1) as servers:
        client, other = await client_of(servers, 1), await client_of(servers, 1)
        await client.create("/a")
        await client.get("/a", watch=True)
        await client.send(Op.PING, xid=-2)
        await client.reply()
        await other.set("/a", b"new")
        assert (await client.ask(Op.GET_DATA, r.GetDataRequest("/none", False))).err == -101
        told = await say(servers, b"srvr")
        assert "Received: 8\nSent: 8\nConnections: 3\n" in told  # an event more than answers, this word less
        assert "Received: 9\nSent: 9\nConnections: 3\n" in await say(servers, b"srvr")
        lines = (await say(servers, b"cons")).splitlines()
        assert "(queued=0,recved=5,sent=6,sid=" in lines[0]
        assert "lop=GETD," in lines[0]
        assert "lcxid=0x3," in lines[0]
        assert "(queued=0,recved=2,sent=2,sid=" in lines[1]
        assert "lop=SETD," in lines[1]
        assert lines[2].endswith("[0](queued=0,recved=1,sent=0)")
        assert servers.servers[1].clients.replies == 7  # what latencies are the average over: no events, no words
        facts = await rows(servers)
        assert facts["connection_request_count"] == "2"
        assert facts["cnt_node_changed_watch_count"] == facts["sum_node_changed_watch_count"] == "1"
        assert facts["cnt_node_created_watch_count"] == "0"
        assert facts["watch_bytes"] == str(4 + 16 + 4 + 4 + 4 + 2)
        assert facts["cnt_updatelatency"] == "2"
        assert facts["min_client_response_size"] == "16"


async def test_the_last_operation_is_the_last_whole_one(autojump_clock: MockClock) -> None:
    async with speaking(servers=1) as servers:
        client = await client_of(servers, 1)
        assert "lop=SESS," in await say(servers, b"cons")
        assert "lcxid=0x0," in await say(servers, b"cons")
        await client.send(Op.PING, xid=-2)
        await client.reply()
        assert "lop=PING," in await say(servers, b"cons")
        exists = frame(struct.pack(">ii", 7, Op.EXISTS) + r.packed(r.ExistsRequest("/", False)))
        sync = frame(struct.pack(">ii", 8, Op.SYNC) + r.packed(r.SyncRequest("/")))
        await client.stream.send_all(exists + sync[:-1])
        await client.reply()
        told = await say(servers, b"cons")
        assert "lop=EXIS," in told
        assert "lcxid=0x7," in told


async def test_resets(autojump_clock: MockClock) -> None:
    async with speaking(servers=1) as servers:
        client = await client_of(servers, 1)
        await client.create("/a")
        await say(servers, b"crst")
        line = (await say(servers, b"cons")).splitlines()[0]
        assert "(queued=0,recved=0,sent=0,sid=" in line
        assert "lop=NA," in line
        assert "lcxid" not in line
        assert "lzxid=0xffffffffffffffff,lresp=0,llat=0,minlat=0,avglat=0,maxlat=0)" in line
        assert "Received: 5\nSent: 4\n" in await say(servers, b"srvr")  # the server's own stay
        await say(servers, b"srst")
        assert "Latency min/avg/max: 0/0.0/0\nReceived: 1\nSent: 0\n" in await say(servers, b"srvr")
        facts = await rows(servers)
        assert facts["proposal_count"] == "0"
        assert facts["bytes_received_count"] == "8"
        assert servers.servers[1].clients.latency_min_ms == NOT_MEASURED


async def test_the_smallest_latency_is_measured(autojump_clock: MockClock) -> None:
    async with speaking(servers=1) as servers:
        servers.servers[1].disk._worker._delay_ms = 7  # type: ignore[attr-defined]
        client = await client_of(servers, 1)
        await say(servers, b"srst")
        await client.create("/a")
        await client.create("/b")
        assert "Latency min/avg/max: 7/7.0/7\n" in await say(servers, b"srvr")
        await client.get("/a")
        assert "Latency min/avg/max: 0/4.6667/7\n" in await say(servers, b"srvr")


async def test_dump_of_three(autojump_clock: MockClock) -> None:
    async with speaking(servers=3) as servers:
        leader = await servers.wait_leader()
        follower = 1 + leader % 3
        one, two = await client_of(servers, leader, timeout_ms=4000), await client_of(servers, follower)
        await ephemeral(one, "/e")
        await ephemeral(one, "/f")
        await ephemeral(two, "/g")
        await servers.wait_level()
        ours = "ephemeral nodes dump:\nSessions with Ephemerals (2):\n" + (
            f"{one.session_id:#x}:\n\t/e\n\t/f\n{two.session_id:#x}:\n\t/g\n"
        )
        told = await say(servers, b"dump", leader)
        head, _, rest = told.partition(ours)
        assert rest.startswith("Connections dump:\nConnections Sets ("), told
        lines = head.splitlines()
        assert lines[:2] == ["SessionTracker dump:", "Session Sets (2)/(2):"]
        assert lines[2].startswith("1 expire at ")
        assert lines[3] == f"\t{one.session_id:#x}"  # the sooner one first
        assert lines[5] == f"\t{two.session_id:#x}"
        assert f" sessionId: {one.session_id:#x}\n" in rest
        assert f" sessionId: {two.session_id:#x}\n" not in rest  # that connection is the follower's

        told = await say(servers, b"dump", follower)
        first, second = sorted((one, two), key=lambda client: client.session_id)
        sessions = "".join(f"{each.session_id:#x}\t{each.timeout_ms}ms\n" for each in (first, second))
        assert told.startswith(f"SessionTracker dump:\nGlobal Sessions(2):\n{sessions}{ours}Connections dump:\n"), told
        assert f" sessionId: {two.session_id:#x}\n" in told


async def test_watches_by_session_and_by_path(autojump_clock: MockClock) -> None:
    async with speaking(servers=1) as servers:
        one, two, three = [await client_of(servers, 1) for _ in range(3)]
        await one.create("/a")
        for client, path in ((one, "/a"), (one, "/b"), (two, "/a")):
            await client.ask(Op.EXISTS, r.ExistsRequest(path, True))
        await three.ask(Op.GET_CHILDREN, r.GetChildrenRequest("/a", True))  # only in the other table
        assert await say(servers, b"wchs") == "2 connections watching 2 paths\nTotal watches:3\n"
        told = await say(servers, b"wchc")
        assert told in (
            f"{one.session_id:#x}\n\t/a\n\t/b\n{two.session_id:#x}\n\t/a\n\n",
            f"{one.session_id:#x}\n\t/b\n\t/a\n{two.session_id:#x}\n\t/a\n\n",
        )
        told = await say(servers, b"wchp")
        assert told == f"/a\n\t{one.session_id:#x}\n\t{two.session_id:#x}\n/b\n\t{one.session_id:#x}\n\n"
        assert (await rows(servers))["watch_count"] == "4"


async def test_roles_and_their_rows(autojump_clock: MockClock) -> None:
    async with speaking(servers=4, observers=1) as servers:
        leader = await servers.wait_leader()
        await (await client_of(servers, leader)).create("/a")
        await servers.wait_level()
        of: Callable[[int], dict[str, str]] = (await everyones_rows(servers)).__getitem__
        assert of(leader)["peer_state"] == "leading - broadcast"
        assert (of(leader)["learners"], of(leader)["synced_followers"], of(leader)["synced_observers"]) == (
            *("3", "2", "1"),
        )
        assert of(leader)["quorum_size"] == of(4)["quorum_size"] == "3"
        assert int(of(leader)["proposal_count"]) == 2
        assert int(of(leader)["commit_count"]) >= 2
        follower = 1 + leader % 3
        assert of(follower)["peer_state"] == "following - broadcast"
        assert int(of(follower)["learner_commit_received_count"]) >= 2
        assert int(of(follower)["learner_proposal_received_count"]) >= 2
        assert "learners" not in of(follower)
        assert (of(4)["server_state"], of(4)["observer_master_id"]) == ("observer", str(leader))
        for id in servers.servers:
            assert of(id)["looking_count"] == of(id)["cnt_unavailable_time"] == "1"
            assert int(of(id)["max_election_time"]) <= int(of(id)["max_unavailable_time"])
            assert int(of(id)["cnt_fsynctime"]) >= 1


async def everyones_rows(servers: MemoryEnsemble) -> dict[int, dict[str, str]]:
    return {id: await rows(servers, id) for id in servers.servers}


async def test_who_does_not_serve_says_so(autojump_clock: MockClock) -> None:
    async with speaking(servers=3) as servers:
        await servers.stop(2)
        await servers.stop(3)
        await trio.sleep(30)
        for word in sorted(WORDS - {"ruok", "isro", "envi", "gtmk", "stmk"}):
            told = await say(servers, word.encode())
            assert told == "This ZooKeeper instance is not currently serving requests\n", word
        assert await say(servers, b"isro") == "null"
        assert await say(servers, b"ruok") == "imok"


# Long answers --------------------------------------------------------------------------------------------------------


def watch_much(servers: MemoryEnsemble, client: RawClient, count: int) -> None:
    """Set watches without asking for each: `count` paths of 30 bytes."""
    clients = servers.servers[1].clients
    for at in range(count):
        clients.watches.add_data(clients.sessions[client.session_id].id, f"/a/path/of/thirty/bytes/{at:06}")


async def test_a_long_answer_comes_whole_and_in_slices(autojump_clock: MockClock) -> None:
    async with speaking(servers=1) as servers:
        client = await client_of(servers, 1)
        watch_much(servers, client, 20_000)
        for word, lines in ((b"wchc", 20_002), (b"wchp", 40_001)):
            stream = await servers.connect(1)
            await stream.send_all(word)
            await trio.sleep(1)
            connection = max(servers.servers[1].clients.connections.items())[1]
            assert connection.channel.backlog <= 2 * SLICE_BYTES  # no more is made before this is taken
            told = (await all_of(stream)).decode().splitlines()
            assert len(told) == lines
            assert len(set(told)) == 20_002
        assert await say(servers, b"wchs") == "1 connections watching 20000 paths\nTotal watches:20000\n"


async def test_what_goes_while_it_is_told_is_left_out(autojump_clock: MockClock) -> None:
    async with speaking(servers=1) as servers:
        client = await client_of(servers, 1)
        watch_much(servers, client, 60_000)
        streams = []
        for word in (b"wchp", b"wchc"):
            stream = await servers.connect(1)
            await stream.send_all(word)
            streams.append(stream)
        await trio.sleep(1)
        await client.close()
        await trio.sleep(1)
        for stream in streams:
            told = await all_of(stream)
            assert told.endswith(b"\n\n")
            assert told.count(b"\t") < 50_000


async def test_who_does_not_take_a_long_answer_is_closed_and_others_get_theirs(autojump_clock: MockClock) -> None:
    async with speaking(servers=1) as servers:
        client = await client_of(servers, 1, timeout_ms=20_000)
        watch_much(servers, client, 100_000)
        slow = [await servers.connect(1) for _ in range(LONG_ANSWERS_MAX)]
        for stream in slow:
            await stream.send_all(b"wchp")
        await trio.sleep(1)
        began = trio.current_time()
        assert len(await say(servers, b"wchc")) > 3_000_000
        assert 8 < trio.current_time() - began < 12
        assert len(servers.servers[1].clients.connections) <= 2


async def test_a_slow_reader_that_takes_some_is_not_closed(autojump_clock: MockClock) -> None:
    async with speaking(servers=1) as servers:
        client = await client_of(servers, 1, timeout_ms=20_000)
        watch_much(servers, client, 60_000)

        async def ping() -> None:
            while True:
                await trio.sleep(5)
                await client.send(Op.PING, xid=-2)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ping)
            stream = await servers.connect(1)
            await stream.send_all(b"wchp")
            data, told = b"", 0
            while more := bytes(await stream.receive_some(1 << 20)):
                data += more
                if len(data) - told > 2 * SLICE_BYTES:
                    told = len(data)
                    await trio.sleep(6)
            nursery.cancel_scope.cancel()
        assert data.endswith(b"\n\n")
        assert data.count(b"\t") == 60_000


# Digests -------------------------------------------------------------------------------------------------------------


async def diag(servers: MemoryEnsemble, id: int) -> dict[str, str]:
    return dict(line.removeprefix("zk_").split("\t") for line in (await say(servers, b"diag", id)).splitlines())


async def test_servers_in_the_same_state_tell_the_same_digest(autojump_clock: MockClock) -> None:
    async with speaking(servers=3) as servers:
        client = await client_of(servers, 1)
        seen = set()
        for name in ("/a", "/b"):
            assert (await client.create(name)).err == 0
            await trio.sleep(1)
            told = [await diag(servers, id) for id in (1, 2, 3)]
            assert len({(each["digest_zxid"], each["digest"]) for each in told}) == 1
            assert int(told[0]["digest_zxid"], 16) == servers.servers[1].driver.state.last_applied
            seen.add(told[0]["digest"])
        assert len(seen) == 2
        tree = servers.servers[2].driver.state.tree
        tree.nodes["/a"].data = b"rot"
        assert (await diag(servers, 2))["digest"] != (await diag(servers, 1))["digest"] in seen


async def test_a_digest_is_of_one_moment_and_leaves_nothing_behind(autojump_clock: MockClock) -> None:
    async with speaking(servers=1) as servers:
        state = servers.servers[1].driver.state
        steps = status_of(servers.servers[1], WORD_ROWS["diag"]).digest
        steps = iter(steps)
        assert next(steps) is None
        client = await client_of(servers, 1)
        assert (await client.create("/later")).err == 0
        *_, last = steps
        assert last is not None and last[0] < state.last_applied
        *_, now = status_of(servers.servers[1], WORD_ROWS["diag"]).digest
        assert now is not None and now[1] != last[1]
        assert state.tree._frozen == []
        begun = iter(status_of(servers.servers[1], WORD_ROWS["diag"]).digest)
        next(begun)
        assert len(state.tree._frozen) == 1
        del begun
        assert state.tree._frozen == []
