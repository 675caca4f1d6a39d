"""Four-letter words of Apache's server and of ours, asked in the same situation: the same lines, in the same form.

What differs from one run to the next (ids, ports, times, counts) is masked; what remains must be equal. Standalone, and
an ensemble of a leader, a follower and an observer, each with the same clients on it.
"""

import re
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import NamedTuple

import pytest
from kazoo.client import KazooClient

from zabpy.bench.systems import Servers, apache_is_here

ROLES = ("standalone", "leader", "follower", "observer")
SYSTEMS = ("Apache", "zabpy")
START_S = 60.0

#: Rows of mntr that dashboards and exporters ask for, whatever the role.
WANTED = (
    "zk_version zk_server_state zk_avg_latency zk_max_latency zk_min_latency zk_packets_received zk_packets_sent "
    "zk_num_alive_connections zk_outstanding_requests zk_znode_count zk_watch_count zk_ephemerals_count "
    "zk_approximate_data_size zk_open_file_descriptor_count zk_max_file_descriptor_count zk_uptime zk_global_sessions "
    "zk_local_sessions zk_looking_count zk_cnt_fsynctime zk_sum_fsynctime zk_connection_rejected zk_response_bytes "
    "zk_bytes_received_count zk_cnt_updatelatency zk_cnt_election_time zk_cnt_snapshottime zk_commit_count"
).split()


class Place(NamedTuple):
    """Where to ask, and the names of its znodes."""

    port: int
    root: str


def ask(port: int, data: bytes, *, singly: bool = False) -> bytes:
    """All that comes until the server closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as end:
        for piece in [data[at : at + 1] for at in range(len(data))] if singly else [data]:
            end.sendall(piece)
            time.sleep(0.02 if singly else 0)
        told = b""
        while more := end.recv(65536):
            told += more
        return told


def start(system: str, count: int, stack: ExitStack) -> dict[str, Place]:
    """Servers of one system with a client on each; by role."""
    servers = Servers(system, count)
    for i in servers.client_ports:
        path = f"{servers.directory}/{i}/zoo.cfg"
        with open(path) as file:
            text = re.sub(r"(?m)^(server\.3=.*)$", r"\1:observer", file.read())
        with open(path, "w") as file:
            file.write(text + "4lw.commands.whitelist=*\n" + ("peerType=observer\n" if i == 3 else ""))
    stack.enter_context(servers)
    places = {}
    for i, port in servers.client_ports.items():
        give_up = time.monotonic() + START_S
        while True:
            try:
                mode = re.search(rb"\nMode: (.*)\n", ask(port, b"srvr"))
            except OSError:
                mode = None
            if mode is not None:
                break
            assert time.monotonic() < give_up, servers.log_of(i)
            time.sleep(0.1)
        places[mode[1].decode()] = Place(port, f"/of{i}")
    for place in places.values():
        client = KazooClient(hosts=f"127.0.0.1:{place.port}", timeout=12)
        client.start()
        stack.callback(client.close)
        stack.callback(client.stop)
        client.create(place.root)
        for name in ("e-", "f-"):
            client.create(f"{place.root}/{name}", b"x", ephemeral=True, sequence=True)
        client.get(place.root, watch=print)
        client.exists(f"{place.root}/none", watch=print)
        client.get_children("/", watch=print)
        stack.enter_context(socket.create_connection(("127.0.0.1", place.port)))
    return places


@pytest.fixture(scope="module")
def places() -> Iterator[dict[tuple[str, str], Place]]:
    if not apache_is_here():
        pytest.skip("no java, or no Apache ZooKeeper (Debian: libzookeeper-java)")
    with ExitStack() as stack:
        found = {}
        for system in SYSTEMS:
            for count in (1, 3):
                for role, place in start(system, count, stack).items():
                    found[system, role] = place
        yield found


def masked(text: str) -> str:
    """The form of the text: what is another number, date or path each time is one letter."""
    text = re.sub(r"(?m)^Zookeeper version: \d.*$", "Zookeeper version: V", text)
    text = re.sub(r"[A-Z][a-z]{2} [A-Z][a-z]{2} \d\d \d\d:\d\d:\d\d \S+ \d{4}", "D", text)
    text = re.sub(r"/of\d(/[ef]-)?", "/of", text)  # which of a session's ephemerals comes first is Java's hashing
    text = re.sub(r"0x[0-9a-f]+", "0xH", text)
    text = re.sub(r"lop=(PING|GETC)", "lop=O", text)
    return re.sub(r"-?\d+(\.\d+)?", lambda found: "F" if found[1] else "N", text)


def lines_of(text: str) -> list[str]:
    """Masked lines, each once: how many there are of a kind depends on when it is asked."""
    return list(dict.fromkeys(masked(text).split("\n")))


def keys_of(text: str) -> list[str]:
    return [line.split("=")[0] for line in text.split("\n")]


@pytest.fixture(params=ROLES)
def both(request: pytest.FixtureRequest, places: dict[tuple[str, str], Place]) -> tuple[int, int]:
    """The ports of Apache's server and of ours in one role."""
    return places["Apache", request.param].port, places["zabpy", request.param].port


@pytest.mark.parametrize("word", ["ruok", "isro", "dirs", "wchs", "gtmk", "hash"])
def test_short_ones(both: tuple[int, int], word: str) -> None:
    apache, ours = (ask(port, word.encode()).decode() for port in both)
    assert masked(ours) == masked(apache)


@pytest.mark.parametrize("word", ["ruok", "isro", "wchs", "gtmk", "hash"])
def test_short_ones_to_the_byte(both: tuple[int, int], word: str) -> None:
    apache, ours = (ask(port, word.encode()) for port in both)
    assert ours == apache


def test_srvr(both: tuple[int, int]) -> None:
    apache, ours = (masked(ask(port, b"srvr").decode()) for port in both)
    assert ours == apache


@pytest.mark.parametrize("word", ["stat", "cons"])
def test_connections(both: tuple[int, int], word: str) -> None:
    for port in both:
        ask(port, b"srvr")
    apache, ours = (lines_of(ask(port, word.encode()).decode()) for port in both)
    assert sorted(ours) == sorted(apache)  # connections come in no order
    if word == "stat":
        assert [line for line in ours if line[:1] != " "] == [line for line in apache if line[:1] != " "]


@pytest.mark.parametrize("word", ["wchc", "wchp"])
def test_watches(both: tuple[int, int], word: str) -> None:
    apache, ours = (masked(ask(port, word.encode()).decode()) for port in both)
    assert sorted(ours.split("\n")) == sorted(apache.split("\n"))
    assert ours.endswith("\n\n")
    assert apache.endswith("\n\n")


def test_dump(both: tuple[int, int]) -> None:
    apache, ours = (lines_of(dump_of(port)) for port in both)
    assert ours == apache


def dump_of(port: int) -> str:
    """Apache's server leaves out a session that it moves from one set to another just then: it is asked again."""
    told = ""
    while not told or ("Session Sets" in told and "\n\t0x" not in told):
        told = ask(port, b"dump").decode()
    return told


def test_conf(both: tuple[int, int]) -> None:
    apache, ours = (ask(port, b"conf").decode() for port in both)
    assert keys_of(ours) == keys_of(apache)
    assert ours.endswith("\n") == apache.endswith("\n")
    for key in ("secureClientPort", "tickTime", "maxClientCnxns", "minSessionTimeout", "maxSessionTimeout", "serverId"):
        same = [re.findall(rf"(?m)^{key}=.*$", text) for text in (ours, apache)]
        assert len(same[0]) == 1 and same[0] == same[1], key


def test_envi(both: tuple[int, int]) -> None:
    apache, ours = (ask(port, b"envi").decode() for port in both)
    assert keys_of(ours) == keys_of(apache)


def test_mntr(both: tuple[int, int]) -> None:
    apache, ours = (
        dict(line.split("\t") for line in ask(port, b"mntr").decode().removesuffix("\n").split("\n")) for port in both
    )
    assert set(ours) - set(apache) <= {"zk_snapshot_error_count"}  # that one is of 3.9
    assert [key for key in WANTED if key not in ours] == []
    first = "zk_version zk_server_state zk_peer_state zk_observer_master_id".split()
    heads = [[key for key in list(each)[:4] if key in first] for each in (ours, apache)]
    assert heads[0] == heads[1]
    for key in set(ours) & set(apache):
        if key != "zk_version":
            assert masked(ours[key]) == masked(apache[key]), key
    for key in "server_state peer_state quorum_size learners synced_followers synced_observers".split():
        assert ours.get(f"zk_{key}") == apache.get(f"zk_{key}"), key


@pytest.mark.parametrize(
    "data",
    [
        b"ruok\n",
        b"ruok\r\n",
        b"ruok and more",
        b"RUOK",
        b"what",
        b"\xff\xf4\xff\xfd",
        b"\0\0\0\5abcde",
        b"stmk" + struct.pack(">q", 1022) + b"tail",
        b"gtmk",
        b"stmk" + struct.pack(">q", -5),
        b"stmk" + struct.pack(">q", 306),
    ],
)
def test_bytes(places: dict[tuple[str, str], Place], data: bytes) -> None:
    apache, ours = (ask(places[system, "standalone"].port, data) for system in SYSTEMS)
    assert ours == apache


def test_a_word_may_come_byte_by_byte(places: dict[tuple[str, str], Place]) -> None:
    apache, ours = (ask(places[system, "standalone"].port, b"ruok", singly=True) for system in SYSTEMS)
    assert ours == apache == b"imok"


def test_after_a_reset(places: dict[tuple[str, str], Place]) -> None:
    told = []
    for system in SYSTEMS:
        port = places[system, "standalone"].port
        assert ask(port, b"srst") == b"Server stats reset.\n"
        time.sleep(0.1)  # Apache counts this very answer in a thread of its own, before or behind the reset
        ask(port, b"crst")
        cons, srvr = ask(port, b"cons").decode(), ask(port, b"srvr").decode()
        line = next(line for line in cons.split("\n") if "lop=" in line)
        told.append((re.sub(r"sid=.*?,|est=\d+,|:\d+", "", line), srvr.split("\n")[1], srvr.split("\n")[5]))
    assert told[0] == told[1]
