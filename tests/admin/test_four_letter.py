"""Four-letter words are answered with ZooKeeper's own text."""

import pytest

from zabpy.admin import WORDS, Answer, ConnectionStatus, Status, Word, answer
from zabpy.admin.four_letter import ALL_WORDS

PROBE = ConnectionStatus(host="127.0.0.1", port=53300, received=1, interest=0)
CLIENT = ConnectionStatus(
    host="127.0.0.1",
    port=53212,
    received=12,
    sent=12,
    session_id=0x100000A1B2C0000,
    last_operation="PING",
    established_wall_ms=1700000000000,
    timeout_ms=30000,
    last_xid=4,
    last_zxid=9,
    last_reply_ms=8123456,
    latency_max_ms=3,
)
LEADER = Status(
    version="0.1.0",
    serving=True,
    mode="leader",
    phase="broadcast",
    zxid=0x100000007,
    latency_avg_ms=0.38461,
    latency_max_ms=12,
    received=105,
    sent=104,
    connection_count=2,
    connections=(CLIENT, PROBE),
    znode_count=12,
    proposal_last_bytes=48,
    proposal_min_bytes=48,
    proposal_max_bytes=36208,
    quorum_size=3,
    server_id=1,
    client_port=2181,
    data_dir="/srv/data/zabpy",
    log_dir="/srv/data/zabpy",
    snapshot_dir_bytes=10,
    log_dir_bytes=20,
    tick_ms=2000,
    address_connections_max=60,
    min_session_timeout_ms=4000,
    max_session_timeout_ms=40000,
    init_limit_ticks=10,
    sync_limit_ticks=5,
    peer_port=2888,
    election_port=3888,
    members_text="server.1=one:2888:3888:participant",
)
ALONE = Status(version="0.1.0", serving=True, mode="standalone", zxid=7, znode_count=5)
LOOKING = Status(version="0.1.0", serving=False, mode="looking", phase="election")


def say(word: str, status: Status) -> str:
    told = answer(word.encode(), WORDS, lambda row: status)
    assert told is not None
    return told.text.decode()


def test_srvr() -> None:
    assert say("srvr", LEADER) == (
        "Zookeeper version: 3.8.0-zabpy-0.1.0, built on 2026-11-22 08:00 UTC\n"
        "Latency min/avg/max: 0/0.3846/12\n"
        "Received: 105\n"
        "Sent: 104\n"
        "Connections: 2\n"
        "Outstanding: 0\n"
        "Zxid: 0x100000007\n"
        "Mode: leader\n"
        "Node count: 12\n"
        "Proposal sizes last/min/max: 48/48/36208\n"
    )


def test_only_a_leader_has_proposal_sizes_and_only_a_read_only_server_says_so() -> None:
    assert "Proposal" not in say("srvr", ALONE)
    read_only = Status(version="0.1.0", serving=True, mode="read-only")
    assert say("srvr", read_only).splitlines()[1] == "READ-ONLY mode; serving only read-only clients"


def test_stat_has_a_line_for_each_connection() -> None:
    assert say("stat", LEADER).splitlines()[1:6] == [
        "Clients:",
        " /127.0.0.1:53212[1](queued=0,recved=12,sent=12)",
        " /127.0.0.1:53300[0](queued=0,recved=1,sent=0)",
        "",
        "Latency min/avg/max: 0/0.3846/12",
    ]


def test_cons_is_short_for_a_connection_without_a_session() -> None:
    assert say("cons", LEADER) == (
        " /127.0.0.1:53212[1](queued=0,recved=12,sent=12,sid=0x100000a1b2c0000,lop=PING,est=1700000000000,to=30000,"
        "lcxid=0x4,lzxid=0x9,lresp=8123456,llat=0,minlat=0,avglat=0,maxlat=3)\n"
        " /127.0.0.1:53300[0](queued=0,recved=1,sent=0)\n"
        "\n"
    )


def test_ipv6_and_negative_ids_are_printed_as_java_does() -> None:
    status = Status(
        version="0.1.0",
        serving=True,
        mode="follower",
        connections=(ConnectionStatus(host="::1", port=1, session_id=-2, last_zxid=-1),),
    )
    text = say("cons", status)
    assert text.startswith(" /[0:0:0:0:0:0:0:1]:1[1](")
    assert "sid=0xfffffffffffffffe,lop=NA,est=0,to=0,lzxid=0xffffffffffffffff," in text


def test_ruok_needs_no_status() -> None:
    def none(row: Word) -> Status:
        raise AssertionError("nobody should have asked")

    assert answer(b"ruok", {"ruok"}, none) == Answer(b"imok")


@pytest.mark.parametrize(("status", "text"), [(LEADER, "rw"), (LOOKING, "null")])
def test_isro(status: Status, text: str) -> None:
    assert say("isro", status) == text


def test_isro_of_a_read_only_server() -> None:
    assert say("isro", Status(version="0.1.0", serving=True, mode="read-only")) == "ro"


def test_conf_of_an_ensemble_ends_with_its_members() -> None:
    assert say("conf", LEADER) == (
        "clientPort=2181\nsecureClientPort=-1\ndataDir=/srv/data/zabpy\ndataDirSize=10\ndataLogDir=/srv/data/zabpy\n"
        "dataLogSize=20\ntickTime=2000\nmaxClientCnxns=60\nminSessionTimeout=4000\nmaxSessionTimeout=40000\n"
        "clientPortListenBacklog=-1\nserverId=1\ninitLimit=10\nsyncLimit=5\nelectionAlg=3\nelectionPort=3888\n"
        "quorumPort=2888\npeerType=0\nmembership: \nserver.1=one:2888:3888:participant\n"
    )
    assert say("conf", ALONE).endswith("serverId=0\n")


def test_mntr_is_a_number_a_line() -> None:
    rows = dict(line.split("\t") for line in say("mntr", LEADER).splitlines())
    assert rows["zk_version"].startswith("3.8.0-")
    assert rows["zk_server_state"] == "leader"
    assert rows["zk_peer_state"] == "leading - broadcast"
    assert rows["zk_avg_latency"] == "0.3846"
    assert rows["zk_znode_count"] == "12"
    assert rows["zk_quorum_size"] == "3"
    assert rows["zk_last_proposal_size"] == "48"
    assert "zk_quorum_size" not in say("mntr", ALONE)
    assert "zk_avg_latency\t0.0\n" in say("mntr", ALONE)


def test_mntr_takes_more_metrics_but_none_twice() -> None:
    status = Status(
        version="0.1.0", serving=True, mode="standalone", znode_count=5, metrics=(("znode_count", 9), ("fsync", 1.5))
    )
    text = say("mntr", status)
    assert text.count("zk_znode_count") == 1
    assert text.endswith("zk_fsync\t1.5\n")


def test_envi_tells_the_version_that_clients_look_for() -> None:
    assert say("envi", LOOKING).startswith("Environment:\nzookeeper.version=3.8.0-zabpy-0.1.0, built on 2026-11-22 ")


def test_the_rest() -> None:
    status = Status(
        version="0.1.0",
        serving=True,
        mode="follower",
        watch_count=3,
        watched_path_count=2,
        watching_connection_count=1,
        snapshot_dir_bytes=7,
    )
    assert say("wchs", status) == "1 connections watching 2 paths\nTotal watches:3\n"
    assert say("dirs", status) == "datadir_size: 7\nlogdir_size: 0\n"
    assert answer(b"crst", WORDS, lambda row: status) == Answer(b"Connection stats reset.\n", "connections")
    assert answer(b"srst", WORDS, lambda row: status) == Answer(b"Server stats reset.\n", "server")


def test_a_word_that_is_not_allowed_says_so() -> None:
    told = answer(b"stat", {"srvr"}, lambda row: LEADER)
    assert told == Answer(b"stat is not executed because it is not in the whitelist.\n")


def test_a_server_that_does_not_serve_says_so() -> None:
    for word in ("srvr", "stat", "mntr", "conf", "cons", "wchs", "dirs", "crst", "srst"):
        assert say(word, LOOKING) == "This ZooKeeper instance is not currently serving requests\n"


@pytest.mark.parametrize("four", [b"\x00\x00\x00\x2d", b"what", b"RUOK", b"\xff\xf4\xff\xfd"])
def test_what_is_no_word_is_the_length_of_a_packet(four: bytes) -> None:
    assert answer(four, WORDS, lambda row: LEADER) is None


def test_a_word_of_zookeeper_that_we_do_not_have_is_known_all_the_same() -> None:
    assert say("dump", LEADER) == "dump is not executed because it is not in the whitelist.\n"
    assert answer(b"dump", ALL_WORDS, lambda row: LEADER) == Answer(b"dump is not served here.\n")


def test_status_is_told_what_the_word_needs() -> None:
    asked: list[Word] = []

    def status(row: Word) -> Status:
        asked.append(row)
        return LEADER

    for word in (b"stat", b"conf", b"srvr"):
        answer(word, WORDS, status)
    assert [(row.connections, row.sizes) for row in asked] == [(True, False), (False, True), (False, False)]
