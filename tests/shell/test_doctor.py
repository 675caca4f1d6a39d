"""What the doctor finds: in what servers might tell, and in what three real ones do."""

import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from shell.diagnosis import Case, Finding, Look, findings_of
from shell.servers import Answer, Server
from shell.views import View
from shell.words import Dump, Line, Srvr, UnreachableError, WordError
from tests.client.conftest import TESTED_ON
from zabpy.bench.systems import Servers
from zabpy.client import Host
from zabpy.model import OPEN_ACL, Member, parse_members

from .conftest import Run, runner
from .test_ensemble_commands import one_down
from .three_servers import hosts_of

SRVR = Srvr("zabpy 0.1.0", "follower", 0x100001007, 3, 0, 9, 9, 7, 0, 0.5, 3)
MEMBERS = parse_members("\n".join(f"server.{id}=h{id}:1:2:participant;2181" for id in (1, 2, 3))).servers


def look(id: int, *, mode: str = "follower", **fields: object) -> Look:
    """One of three that are well, but for these fields of `srvr`."""
    srvr = SRVR._replace(mode="leader" if id == 3 and mode == "follower" else mode, **fields)  # type: ignore[arg-type]
    server = Server(Host(f"h{id}", 2181), id)
    mntr = {"znode_count": "7", "uptime": "1000000", "watch_count": "0", "max_file_descriptor_count": "100"}
    view = View(srvr, mntr, {"tickTime": "2000", "maxClientCnxns": "60", "secureClientPort": "2281"})
    diag = {"digest_zxid": "0x100001007", "digest": "0xab", "snapshot_disk_free_bytes": str(10**12)}
    return Look(Answer(server, view), Answer(server, View(srvr)), diag, ahead_ms=0)


def case(members: tuple[Member, ...] = MEMBERS) -> Case:
    return Case([look(id) for id in (1, 2, 3)], members)


def away(case: Case) -> None:
    case.looks[0].answer = Answer(case.looks[0].answer.server, None, UnreachableError("h1:2181", "srvr", "refused"))


def not_serving(case: Case) -> None:
    case.looks[0].view.srvr = None


def lagging(case: Case) -> None:
    case.looks[0] = look(1, zxid=0x100001007 - 2_000)
    case.looks[0].diag = {}


def clock(case: Case) -> None:
    case.looks[1].ahead_ms = 2_500


def orphans(case: Case) -> None:
    case.dump = Dump({}, {5: "soon"}, {5: ["/fine"], 6: ["/orphan"]}, leads=True)


def crowd(case: Case) -> None:
    case.looks[0].connections = [Line(f"10.0.0.1:{port}", {}) for port in range(58)]


def forbidden(case: Case) -> None:
    case.forbidden["mntr"] = ["h1:2181", "h2:2181"]


def put(index: int, part: str, **rows: str) -> Callable[[Case], None]:
    def change(case: Case) -> None:
        look = case.looks[index]
        {"mntr": look.view.mntr, "conf": look.view.conf, "diag": look.diag, "hash": look.hashes}[part].update(
            {key.replace("__", "."): value for key, value in rows.items()}
        )

    return change


def srvr(index: int, **fields: object) -> Callable[[Case], None]:
    def change(case: Case) -> None:
        case.looks[index] = look(index + 1, **fields)  # type: ignore[arg-type]

    return change


def hashes(case: Case) -> None:
    for each, digest in zip(case.looks, ("1", "1", "2"), strict=True):
        each.hashes = {"zxid 0x100000080": digest}


def four(case: Case) -> None:
    case.members = parse_members("\n".join(f"server.{id}=h:1:2:participant" for id in (1, 2, 3, 4))).servers


def everybody(case: Case) -> None:
    case.root_acl = OPEN_ACL


def stranger(case: Case) -> None:
    case.unknown = [MEMBERS[0]]


def other_problem(case: Case) -> None:
    case.looks[0].answer = Answer(case.looks[0].answer.server, None, WordError("h1:2181", "srvr", "what?", 8))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "level", "server", "what"),
    [
        (away, "error", "h1:2181", "unreachable: refused"),
        (other_problem, "error", "h1:2181", "what?"),
        (not_serving, "error", "h1:2181", "up, but not serving"),
        (srvr(0, mode="leader"), "error", "", "2 leaders: h1:2181, h3:2181"),
        (srvr(2, mode="observer"), "error", "", "no server leads"),
        (srvr(0, zxid=0x200000001), "warning", "", "servers are in the epochs 1, 2"),
        (lagging, "warning", "h1:2181", "2,000 transactions behind the newest server"),
        (
            put(1, "diag", digest="0xcd"),
            "error",
            "h2:2181",
            "another state than the other servers have at zxid 0x100001007",
        ),
        (hashes, "error", "h3:2181", "another state than the other servers have at zxid 0x100000080"),
        (put(0, "mntr", znode_count="8"), "error", "h1:2181", "8 znodes, others 7, at the same zxid"),
        (
            put(0, "mntr", digest_mismatches_count="1"),
            "error",
            "h1:2181",
            "its own digests did not fit after a transaction",
        ),
        (clock, "warning", "h2:2181", "its clock is 2.5 s ahead of that of h1:2181"),
        (put(0, "diag", snapshot_disk_free_bytes=str(2**20)), "error", "h1:2181", "1 MB left where snapshots are kept"),
        (put(0, "conf", tickTime="3000"), "warning", "", "tickTime differs: h1:2181 3000, h2:2181 2000, h3:2181 2000"),
        (put(0, "diag", jute__maxbuffer="1"), None, "", ""),  # only one says it
        (srvr(0, version="3.8.0"), "warning", "", "different versions: 3.8.0, zabpy 0.1.0"),
        (four, "warning", "", "4 voters, an even number, which stands no more failures than 3"),
        (srvr(0, outstanding=500), "warning", "h1:2181", "500 requests wait"),
        (srvr(0, latency_avg=200.0), "warning", "h1:2181", "requests take 200 ms on average"),
        (put(0, "mntr", avg_fsynctime="80.0"), "warning", "h1:2181", "its disk takes 80 ms for a sync on average"),
        (
            put(0, "mntr", max_fsynctime="8000", avg_fsynctime="1"),
            "warning",
            "h1:2181",
            "its disk once took 8,000 ms for a sync",
        ),
        (put(0, "mntr", open_file_descriptor_count="90"), "error", "h1:2181", "90 of 100 file descriptors are open"),
        (put(0, "mntr", uptime="5000"), "note", "h1:2181", "serves for 5 s only"),
        (srvr(0, connections=500), "warning", "h1:2181", "500 connections, the others 3 on average"),
        (put(0, "mntr", watch_count="50000"), "warning", "h1:2181", "50,000 watches, the others 0 on average"),
        (crowd, "warning", "h1:2181", "58 of at most 60 connections from 10.0.0.1"),
        (orphans, "error", "", "1 ephemeral znodes of session 0x6, which is over: /orphan"),
        (everybody, "note", "", "everybody may write to /"),
        (forbidden, "note", "h1:2181, h2:2181", "mntr is not allowed, so not all was looked at"),
        (stranger, "note", "server.1", "not asked: the configuration tells no client port"),
    ],
)
def test_one_thing_wrong_is_one_finding(
    change: Callable[[Case], None], level: str | None, server: str, what: str
) -> None:
    assert findings_of(case()) == []
    wrong = case()
    change(wrong)
    found = findings_of(wrong)
    assert [(each.level, each.server, each.what) for each in found] == (
        [] if level is None else [(level, server, what)]
    )
    assert all(each.todo for each in found)


def test_a_lag_of_a_moment_and_counts_at_another_zxid_are_none() -> None:
    moving = case()
    lagging(moving)
    moving.looks[0].later = moving.looks[1].later
    moving.looks[0].view.mntr["znode_count"] = "8"
    assert findings_of(moving) == []


def test_errors_come_first() -> None:
    several = case()
    for change in (everybody, clock, away):
        change(several)
    assert [each.level for each in findings_of(several)] == ["error", "warning", "note"]
    assert isinstance(findings_of(several)[0], Finding)


@pytest.fixture
def three(shell_servers: Servers) -> Run:
    return runner(hosts_of(shell_servers))


def test_on_three_servers(three: Run, shell_servers: Servers) -> None:
    told = three("doctor", format="json")
    found = json.loads(told.out)
    assert {each["level"] for each in found} <= {"note"}, found
    assert (told.status, told.err) == (0, "nothing wrong with 3 servers that were asked\n")
    assert three("doctor --strict").status == 1
    down = f"127.0.0.1:{shell_servers.client_ports[2]}"
    with one_down(shell_servers, 2):
        told = three("doctor")
    assert told.status == 1
    assert told.lines[:2] == [
        f"error   {down}: unreachable: connection refused",
        "        -> start it, or see to the network; its log says why it ended",
    ]


def test_digests_and_clocks_are_really_compared(three: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Case] = []

    def spy(case: Case) -> list[Finding]:
        seen.append(replace(case))
        return findings_of(case)

    monkeypatch.setattr("shell.commands.doctor.findings_of", spy)
    three("create /seen x")
    if TESTED_ON == "Apache":  # it keeps a digest each 128 transactions
        three(*["set /seen y"] * 260)
    assert three("doctor").status == 0
    (looked,) = seen
    digests = [look.hashes if TESTED_ON == "Apache" else look.diag.get("digest") for look in looked.looks]
    assert digests[0] and digests[0] == digests[1] == digests[2]
    assert all(look.ahead_ms is not None and abs(look.ahead_ms) < 1_000 for look in looked.looks)
    assert looked.dump is not None and looked.dump.leads
    assert looked.forbidden == {}


def test_no_server_to_be_reached() -> None:
    told = runner("127.0.0.1:1")("doctor")
    assert told.status == 5
    assert told.lines[0] == "error   127.0.0.1:1: unreachable: connection refused"
