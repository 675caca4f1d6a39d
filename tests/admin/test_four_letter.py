"""Four-letter words are answered with ZooKeeper's own text."""

from dataclasses import replace

import pytest

from zabpy.admin import TRACE_MASK, WORDS, Answer, ConnectionStatus, Status, Word, answer

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
    return told.text.decode() + "".join(told.lines or ())


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
        "quorumPort=2888\npeerType=0\nmembership: \nserver.1=one:2888:3888:participant"
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
    text = say("envi", LOOKING)
    assert text.startswith("Environment:\nzookeeper.version=3.8.0-zabpy-0.1.0, built on 2026-11-22 ")
    assert [line.split("=")[0] for line in text.splitlines()[1:]] == (
        "zookeeper.version host.name java.version java.vendor java.home java.class.path java.library.path "
        "java.io.tmpdir java.compiler os.name os.arch os.version user.name user.home user.dir "
        "os.memory.free os.memory.max os.memory.total"
    ).split()


def test_the_rest() -> None:
    status = Status(
        version="0.1.0",
        serving=True,
        mode="follower",
        snapshot_dir_bytes=7,
    )
    assert say("dirs", status) == "datadir_size: 7\nlogdir_size: 0\n"
    assert answer(b"crst", WORDS, lambda row: status) == Answer(b"Connection stats reset.\n", "connections")
    assert answer(b"srst", WORDS, lambda row: status) == Answer(b"Server stats reset.\n", "server")


def test_a_word_that_is_not_allowed_says_so() -> None:
    told = answer(b"stat", {"srvr"}, lambda row: LEADER)
    assert told == Answer(b"stat is not executed because it is not in the whitelist.\n")


def test_a_server_that_does_not_serve_says_so() -> None:
    for word in (
        "srvr",
        "stat",
        "mntr",
        "conf",
        "cons",
        "dump",
        "wchs",
        "wchc",
        "wchp",
        "dirs",
        "crst",
        "srst",
        "hash",
    ):
        assert say(word, LOOKING) == "This ZooKeeper instance is not currently serving requests\n"


def test_watches_are_those_of_the_data_table() -> None:
    status = Status(
        version="0.1.0",
        serving=True,
        mode="follower",
        watch_count=9,
        watches_by_session=((0x10, ("/b", None, "/a")), (-1, ("/a",)), (0x20, (None,))),
        watch_counts=((0, 2, 3), (1, 0, 0), (0, 0, 0), (1, 1, 0)),
        watches_by_path=(("/a", (0x10, -1)), ("/b", (0x10,)), ("/gone", ())),
    )
    assert say("wchs", status) == "2 connections watching 3 paths\nTotal watches:3\n"
    assert say("wchc", status) == "0x10\n\t/b\n\t/a\n0xffffffffffffffff\n\t/a\n\n"
    assert say("wchp", status) == "/a\n\t0x10\n\t0xffffffffffffffff\n/b\n\t0x10\n\n"


DUMPED = Status(
    mode="leader",
    version="0.1.0",
    serving=True,
    session_count=3,
    session_timeouts=((0x10, 12000), (0x11, 4000), (-1, 6000)),
    ephemeral_owner_count=1,
    ephemerals=((0x10, ("/e/n_0000000003", "/e/n_0000000004")),),
    connections=(
        ConnectionStatus(host="::1", port=5, session_id=0x10, expires_wall_ms=4001),
        ConnectionStatus(host="127.0.0.1", port=6, expires_wall_ms=5999),
        ConnectionStatus(host="127.0.0.1", port=7, session_id=-1, expires_wall_ms=1),
    ),
    tick_ms=2000,
    date="at {}".format,
)
EPHEMERALS = (
    "ephemeral nodes dump:\nSessions with Ephemerals (1):\n0x10:\n\t/e/n_0000000003\n\t/e/n_0000000004\n"
    "Connections dump:\nConnections Sets (2)/(3):\n1 expire at at 2000:\n"
    "\tip: /127.0.0.1:7 sessionId: 0xffffffffffffffff\n"
    "2 expire at at 6000:\n\tip: /[0:0:0:0:0:0:0:1]:5 sessionId: 0x10\n\tip: /127.0.0.1:6 sessionId: 0x0\n"
)


def test_dump_of_a_leader_tells_when_sessions_end() -> None:
    status = replace(DUMPED, mode="leader", deadlines=((4000, (0x10, 0x11)), (6000, (-1,))))
    assert say("dump", status) == (
        "SessionTracker dump:\nSession Sets (2)/(3):\n2 expire at at 4000:\n\t0x10\n\t0x11\n"
        "1 expire at at 6000:\n\t0xffffffffffffffff\n" + EPHEMERALS
    )


def test_dump_of_a_follower_tells_their_timeouts() -> None:
    status = replace(DUMPED, mode="follower")
    assert say("dump", status) == (
        "SessionTracker dump:\nGlobal Sessions(3):\n0x10\t12000ms\n0x11\t4000ms\n0xffffffffffffffff\t6000ms\n"
        + EPHEMERALS
    )


def test_dump_tells_local_sessions_apart() -> None:
    status = replace(DUMPED, mode="leader", deadlines=(), local_deadlines=((4000, (7,)),))
    head = "SessionTracker dump:\nLocal Session Sets (1)/(1):\n1 expire at at 4000:\n\t0x7\n"
    assert say("dump", status) == head + "Global Session Sets (0)/(0):\n" + EPHEMERALS
    status = replace(DUMPED, mode="follower", local_deadlines=((4000, (7,)),))
    assert say("dump", status).startswith(head + "Global Sessions(3):\n")


def test_the_trace_mask_is_told_and_set() -> None:
    assert TRACE_MASK == 306
    assert say("gtmk", Status(version="0.1.0", serving=False, mode="looking", trace_mask=306)) == "306"
    for mask in (0, 1022, -5):
        told = answer(b"stmk", WORDS, lambda row: LEADER, mask.to_bytes(8, "big", signed=True))
        assert told == Answer(b"%d" % mask, trace_mask=mask)
    assert answer(b"stmk", {"gtmk"}, lambda row: LEADER, bytes(8)) == Answer(
        b"stmk is not executed because it is not in the whitelist.\n"
    )


def test_no_digest_is_recorded() -> None:
    assert say("hash", LEADER) == ""


@pytest.mark.parametrize("four", [b"\x00\x00\x00\x2d", b"what", b"RUOK", b"\xff\xf4\xff\xfd"])
def test_what_is_no_word_is_the_length_of_a_packet(four: bytes) -> None:
    assert answer(four, WORDS, lambda row: LEADER) is None


def test_status_is_told_what_the_word_needs() -> None:
    asked: list[Word] = []

    def status(row: Word) -> Status:
        asked.append(row)
        return LEADER

    for word in (b"dump", b"conf", b"srvr"):
        answer(word, WORDS, status)
    assert [(row.sessions, row.sizes) for row in asked] == [(True, False), (False, True), (False, False)]


def test_diag() -> None:
    status = replace(LEADER, wall_ms=7, log_disk_free_bytes=8, frame_bytes_max=9, snapshot_entries=10)
    head = (
        "zk_wall_ms\t7\nzk_snapshot_disk_free_bytes\t-1\nzk_log_disk_free_bytes\t8\n"
        "zk_jute.maxbuffer\t9\nzk_snapCount\t10\n"
    )
    assert say("diag", status) == head
    whole = replace(status, digest=iter([None, None, (0x100000007, 0xFE)]))
    assert say("diag", whole) == head + "zk_digest_zxid\t0x100000007\nzk_digest\t0xfe\n"
