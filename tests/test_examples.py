"""The examples do what their heads say, while processes of theirs and servers are killed and stopped at random moments.

Judged from the outside: by what is in the store that they share, by what they print, and by what is left in the tree.
"""

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import zabpy
import zabpy.blocking
from zabpy.bench.probes import first_accepted_write
from zabpy.bench.systems import Servers

ROOT = Path(__file__).parent.parent
KINDS = ("trio", "asyncio", "blocking")
#: What sessions last here, whatever is asked for.
SESSION_MS = 1_500


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    with Servers("zabpy", 3, more=f"maxSessionTimeout={SESSION_MS}\nminSessionTimeout=1000\n") as servers:
        for port in servers.client_ports.values():
            first_accepted_write([port])
        yield servers


def hosts_of(servers: Servers) -> str:
    return ",".join(f"127.0.0.1:{port}" for port in servers.client_ports.values())


class Program:
    """One process of an example, and what it prints; killed and started anew as often as you like."""

    def __init__(self, directory: Path, name: str, number: int, *args: str) -> None:
        self.name, self._command = name, [sys.executable, str(ROOT / "examples" / f"{name}.py"), *args]
        self._printed = directory / f"{name}-{number}.out"
        self.start()

    def start(self) -> None:
        with self._printed.open("ab") as out:
            environment = {**os.environ, "PYTHONPATH": str(ROOT)}
            self.process = subprocess.Popen(self._command, stdout=out, stderr=out, env=environment)

    def kill(self) -> None:
        """Whatever it is doing; harmless if it has ended."""
        self.process.kill()
        self.process.wait()

    def interrupt(self) -> None:
        """As Ctrl-C; it cleans up."""
        self.process.send_signal(signal.SIGINT)

    @property
    def lines(self) -> list[str]:
        return self._printed.read_text(encoding="utf-8").splitlines()


@pytest.fixture
def programs() -> Iterator[list[Program]]:
    programs: list[Program] = []
    yield programs
    for program in programs:
        program.kill()


def until(condition: Callable[[], object], what: str, programs: list[Program], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        said = "\n".join(f"{each.name}: {each.process.poll()} {each.lines[-3:]}" for each in programs)
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}\n{said}"
        time.sleep(0.05)


def rows(store: Path, table: str) -> list[tuple[int, int]]:
    """Token and process of each write, in the order in which the store took them."""
    with sqlite3.connect(store, timeout=30) as db:
        return db.execute(f"SELECT token, process FROM {table} ORDER BY rowid").fetchall()


def kill(rng: random.Random, servers: Servers, victim: Program) -> None:
    victim.kill()
    victim.start()


def stop_for_long(rng: random.Random, servers: Servers, victim: Program) -> None:
    """For longer than its session lasts: it does not know what has become of that when it goes on."""
    stop(victim, 2 * SESSION_MS)


def stop_for_a_while(rng: random.Random, servers: Servers, victim: Program) -> None:
    """Perhaps it keeps its session, perhaps it does not."""
    stop(victim, rng.randrange(SESSION_MS))


def kill_a_server(rng: random.Random, servers: Servers, victim: Program) -> None:
    number = rng.choice(list(servers.client_ports))
    servers.kill(number)
    first_accepted_write([port for each, port in servers.client_ports.items() if each != number])
    servers.start(number)
    first_accepted_write([servers.client_ports[number]])


def stop(victim: Program, duration_ms: int) -> None:
    victim.process.send_signal(signal.SIGSTOP)
    time.sleep(duration_ms / 1000)
    victim.process.send_signal(signal.SIGCONT)


def misfortunes(rng: random.Random) -> list[Callable[[random.Random, Servers, Program], None]]:
    """Each kind, and one of them twice."""
    kinds = [kill, stop_for_long, stop_for_a_while, kill_a_server]
    return rng.sample([*kinds, rng.choice(kinds)], 5)


def end(programs: list[Program]) -> None:
    """All at once, by Ctrl-C."""
    for program in programs:
        program.interrupt()
    for program in programs:
        assert program.process.wait(20) is not None


def left_below(servers: Servers, path: str) -> set[str]:
    """What is in the tree there."""
    with zabpy.blocking.connect(hosts_of(servers)) as zk:
        found, todo = set(), [path]
        while todo:
            above = todo.pop()
            found.add(above)
            try:
                todo += [f"{above}/{name}" for name in zk.children(above)]
            except zabpy.NoNodeError:
                found.discard(above)
        return found


@pytest.mark.parametrize(
    ("example", "table", "seed"),
    [("leader", "beats", 1), ("job", "steps", 2)],
)
def test_one_at_a_time_whatever_happens(
    example: str, table: str, seed: int, servers: Servers, programs: list[Program], tmp_path: Path
) -> None:
    store, rng = tmp_path / "store.db", random.Random(seed)
    for number, kind in enumerate([*KINDS, rng.choice(KINDS)]):
        programs.append(Program(tmp_path, f"{example}_{kind}", number, hosts_of(servers), str(store)))
    until(lambda: store.exists() and rows_or_none(store, table), "somebody writes", programs)

    for misfortune in misfortunes(rng):
        time.sleep(rng.random())
        writer = rows(store, table)[-1][1]  # who is at it
        misfortune(rng, servers, next((each for each in programs if each.process.pid == writer), programs[0]))
        before = len(rows(store, table))
        until(lambda seen=before: len(rows(store, table)) > seen + 3, "it goes on", programs)  # type: ignore[misc]
    end(programs)

    written = rows(store, table)
    tokens = [token for token, _ in written]
    assert tokens == sorted(tokens), "a stale token was accepted"
    holders = dict(written)
    assert all(holders[token] == process for token, process in written), "two with one token"
    assert len(holders) > 1, "nobody ever took over"
    until(lambda: left_below(servers, f"/examples/{example}") == {f"/examples/{example}"}, "nothing is left", programs)


def rows_or_none(store: Path, table: str) -> list[tuple[int, int]] | None:
    try:
        return rows(store, table)
    except sqlite3.OperationalError:
        return None  # there is no table yet


def test_clients_find_who_is_alive(servers: Servers, programs: list[Program], tmp_path: Path) -> None:
    rng = random.Random(1)
    instances = [Program(tmp_path, f"discovery_{kind}", 1, hosts_of(servers), "serve") for kind in KINDS]
    clients = [Program(tmp_path, f"discovery_{kind}", 2, hosts_of(servers), "ask") for kind in KINDS]
    programs += [*instances, *clients]

    def are_asking(living: set[int]) -> bool:
        """Whether each client's last answers are of these, and of all of them."""
        answers = [[line.split()[0] for line in each.lines if line.endswith(" answered")][-6:] for each in clients]
        return all({int(name.rpartition("-")[2]) for name in last} == living for last in answers)

    def all_instances() -> set[int]:
        return {each.process.pid for each in instances}

    until(lambda: are_asking(all_instances()), "clients ask all", programs)
    for misfortune in misfortunes(rng):
        time.sleep(rng.random())
        misfortune(rng, servers, rng.choice(instances))
    until(lambda: are_asking(all_instances()), "clients ask all again", programs, 30)

    dead, *living = instances
    dead.kill()
    silent, loud = living
    until(lambda: are_asking({silent.process.pid, loud.process.pid}), "nobody asks the dead", programs)
    silent.process.send_signal(signal.SIGSTOP)  # it takes connections and answers nothing
    until(lambda: are_asking({loud.process.pid}), "nobody asks the one that does not answer", programs)
    silent.process.send_signal(signal.SIGCONT)
    until(lambda: are_asking({silent.process.pid, loud.process.pid}), "it is asked again", programs, 40)

    programs.remove(dead)
    end(programs)
    above = "/examples/services"
    until(lambda: left_below(servers, above) == {above, f"{above}/hello"}, "nothing is left", programs)
