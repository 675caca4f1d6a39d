"""A mixed fleet at war: kazoo's lock and ours, one path, four processes, and servers that are killed all the while.

ZABPY_CONTEST_SECONDS says how long (`make contest`: a minute), ZABPY_CONTEST_SEED when which server is killed,
ZABPY_TESTED_ON=Apache on whose servers. In long ones a holder of each kind is stopped, once, for longer than its
session lives: another one then has the lock, and the stopped one does not know before it goes on and looks.

What is judged, from what the processes wrote down (contender.py), by a clock that all of them share:

* A turn reaches from the first moment at which its holder was sure to hold the lock to the last one. No two turns
  overlap. There is one excuse, for kazoo only: it lost its session. It hears that when it has found a server again, and
  has no way to know until then; ours goes by the clock, and has no excuse.
* The fencing tokens of turns grow, in the order in which the turns begin.
* Everybody gets turns, and the lock goes from kazoo's to ours and back.
* What is given back is gone: no session of ours owns a znode after its last turn, and in the end, when all sessions are
  closed, none is below the path.
"""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import NamedTuple

import pytest
from kazoo.client import KazooClient

from tests.client.conftest import TESTED_ON
from tests.interop.contender import PATH, SESSION_TIMEOUT_MS
from tests.interop.ensembles import wait_until
from zabpy.bench.probes import first_accepted_write, leader_of
from zabpy.bench.systems import Servers

SECONDS = float(os.environ.get("ZABPY_CONTEST_SECONDS", "15"))
SEED = int(os.environ.get("ZABPY_CONTEST_SEED", "4"))
#: Name → kind.
CONTENDERS = {"kazoo-1": "kazoo", "kazoo-2": "kazoo", "async": "trio", "plain": "blocking"}
END_SECONDS = 40.0
STOPPED_SECONDS = 1.5 * SESSION_TIMEOUT_MS / 1000


class Line(NamedTuple):
    at_ns: int
    name: str
    what: str
    token: int
    session: int


class Turn(NamedTuple):
    """From when to when its holder is known to have held it."""

    begin_ns: int
    end_ns: int
    name: str
    token: int
    session: int


@pytest.fixture
def three_servers() -> Iterator[Servers]:
    with Servers(TESTED_ON, 3) as servers:
        for port in servers.client_ports.values():
            first_accepted_write([port])
        yield servers


@pytest.mark.timeout(120 + 2 * SECONDS)
def test_never_two_holders_nor_a_leak(three_servers: Servers, tmp_path: Path) -> None:
    hosts = ",".join(f"127.0.0.1:{port}" for port in three_servers.client_ports.values())
    record = tmp_path / "record"
    record.touch()
    processes = {}
    try:
        for name, kind in CONTENDERS.items():
            command = [
                sys.executable,
                "-m",
                "tests.interop.contender",
                kind,
                name,
                hosts,
                str(record),
                f"{SEED} {name}",
            ]
            with (tmp_path / name).open("w") as errors:
                processes[name] = subprocess.Popen(
                    command, stdin=subprocess.PIPE, stderr=errors, start_new_session=True, cwd=Path(__file__).parents[2]
                )
        wait_until(lambda: len({line.name for line in lines(record)}) == len(CONTENDERS), "all have had a turn")
        kills = war(three_servers, Random(SEED), record, processes)
        for process in processes.values():
            assert process.stdin is not None
            process.stdin.close()  # the end
        until = time.monotonic() + END_SECONDS
        for name, process in processes.items():
            status = process.wait(max(until - time.monotonic(), 0.1))
            assert status == 0, f"{name} ended with {status}\n{(tmp_path / name).read_text()[-4000:]}"
    finally:
        for process in processes.values():
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    found = lines(record)
    turns = turns_of(found)
    told = Counter(line.what for line in found)
    passed = Counter((kind_of(a.name), kind_of(b.name)) for a, b in pairwise(turns))
    print(
        f"{TESTED_ON}, {SECONDS:.0f} s, seed {SEED}, servers killed: {kills['leader']} leaders, {kills['other']} others"
    )
    print(f"turns: {len(turns)}, of {dict(Counter(turn.name for turn in turns))}")
    print("handed over: " + ", ".join(f"{a} to {b} {count}" for (a, b), count in sorted(passed.items())))
    print(f"sessions lost: {told['lost']}; kazoo before itself: {told['stuck']}")
    judge(turns, lost={line.session for line in found if line.what == "lost" and kind_of(line.name) == "kazoo"})
    assert not told["left"], "what was given back is still there"
    for turn_of in CONTENDERS:
        assert sum(turn.name == turn_of for turn in turns) > SECONDS / 5, f"{turn_of} hardly gets a turn"
    assert min(passed["kazoo", "ours"], passed["ours", "kazoo"]) > SECONDS / 5
    assert kills["leader"] and (kills["other"] or SECONDS < 15)
    client = KazooClient(hosts, timeout=10)
    client.start(30)
    try:
        client.sync(PATH)
        assert client.get_children(PATH) == []
    finally:
        client.stop()
        client.close()


def war(servers: Servers, rng: Random, record: Path, processes: dict[str, subprocess.Popen[bytes]]) -> Counter[str]:
    """Kill one server after the other at random moments, the leader every second time on the average."""
    kills = Counter[str]()
    began = time.monotonic()
    stopped = ["kazoo-1", "async", "plain"] if SECONDS >= 60 else []
    stops = [(began + SECONDS * (n + 0.5) / len(stopped), name) for n, name in enumerate(stopped)]
    while time.monotonic() < began + SECONDS:
        if stops and time.monotonic() > stops[0][0]:
            name = stops.pop(0)[1]
            wait_until(lambda name=name: holder(record) == name, f"{name} holds it")  # type: ignore[misc]
            processes[name].send_signal(signal.SIGSTOP)
            time.sleep(STOPPED_SECONDS)
            processes[name].send_signal(signal.SIGCONT)
        time.sleep(rng.random() * 1.5)
        leader = leader_of(servers)
        victim = rng.choice([leader, leader, *(i for i in servers.client_ports if i != leader)])
        servers.kill(victim)
        kills["leader" if victim == leader else "other"] += 1
        time.sleep(rng.random() * 1.5)
        servers.start(victim)
        first_accepted_write([servers.client_ports[victim]])  # before the next one is killed
    return kills


def holder(record: Path) -> str:
    """Who has just said that it holds it; "" if the last one has said that it is through."""
    last = lines(record)[-1]
    return last.name if last.what in ("in", "still") else ""


def lines(record: Path) -> list[Line]:
    found = []
    for text in record.read_text().splitlines(keepends=True):
        if text.endswith("\n"):
            at_ns, name, what, token, session = text.split()
            found.append(Line(int(at_ns), name, what, int(token, 16), int(session, 16)))
    return found


def turns_of(found: list[Line]) -> list[Turn]:
    """In the order in which they begin."""
    turns: dict[tuple[str, int], Turn] = {}
    for line in found:
        if line.what in ("in", "still", "out"):
            turn = turns.get((line.name, line.token))
            assert (turn is None) == (line.what == "in"), line
            begin_ns = line.at_ns if turn is None else turn.begin_ns
            turns[line.name, line.token] = Turn(begin_ns, line.at_ns, line.name, line.token, line.session)
    return sorted(turns.values())


def kind_of(name: str) -> str:
    return "kazoo" if CONTENDERS[name] == "kazoo" else "ours"


def judge(turns: list[Turn], lost: set[int]) -> None:
    """``lost``: kazoo's sessions that were lost."""
    for number, turn in enumerate(turns):
        for later in turns[number + 1 :]:
            if later.begin_ns > turn.end_ns:
                break
            assert turn.session in lost, f"two holders:\n{turn}\n{later}"
    for turn, later in pairwise(turns):
        assert turn.token < later.token, f"a later holder has a smaller token:\n{turn}\n{later}"


def test_the_judge_sees_two_holders() -> None:
    first, second = Turn(0, 10, "kazoo-1", 1, 71), Turn(11, 20, "plain", 2, 72)
    judge([first, second], set())
    judge([first, second._replace(begin_ns=9)], {71})
    for wrong in (second._replace(begin_ns=9), second._replace(token=1)):
        with pytest.raises(AssertionError, match="two holders|smaller token"):
            judge([first, wrong], set())
    with pytest.raises(AssertionError, match="two holders"):
        judge([first._replace(name="async"), second._replace(begin_ns=9)], {72})
