"""``make linearize``: real processes under faults, and every history that their clients wrote judged by itself.

    python -m tests.processes.linearize --histories 500 --seed 1
    python -m tests.processes.linearize --judge build/linearize/00017.jsonl

Ensembles of three and of five servers, on proxies and (as root) in network namespaces, take turns; each is hurt all the
time while several histories are made on it, one after the other and two at a time. A history counts if it has its
operations, and some of its writes were acknowledged while something was wrong. At the end of an ensemble all faults are
over: then every server has the same znodes, and each history, with one more read of each of its znodes, is judged.

Exit 1: a violation, a server that ended by itself, more than one in a hundred given up, too few histories that count.
"""

import argparse
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random

import trio

from zabpy.testing import ViolationError
from zabpy.testing.histories import History, linearizable, read, told
from zabpy.testing.history_checks import check

from .client import Client, Lost
from .ensemble import SESSION_TIMEOUT_MS, EndedError, Processes, processes
from .faults import FAULTS, Trouble, torment
from .links import Links, Namespaces, Proxies
from .trapped import SHOWN_BY
from .workload import Plan, Story, acknowledged_during

KINDS_MAX = 6
MISTAKE_HISTORIES_MAX = 60
FAILED = Path("build/linearize")


@dataclass
class Report:
    """What was done and what came out of it."""

    outcomes: Counter[str] = field(default_factory=Counter)
    operations: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    acknowledged: int = 0
    reigns: int = 0
    ensembles: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)
    not_counted: int = 0
    seconds: float = 0.0
    seconds_of_faults: float = 0.0

    @property
    def histories(self) -> int:
        return sum(self.outcomes.values())

    def good(self, wanted: int) -> bool:
        return not self.violations and self.outcomes["gave up"] * 100 <= self.histories and self.histories >= wanted

    def text(self) -> str:
        count, unknown = self.operations["all"], self.operations["unknown"]
        share = f"{unknown} unknown ({unknown / max(count, 1):.1%}), {self.operations['failed']} answered with an error"
        return "\n".join(
            [
                f"{self.histories} histories: {_listed(self.outcomes)}; {self.not_counted} more had too little load",
                f"{count} operations, {self.operations['linearizable']} of them judged for linearizability: {share}",
                f"{self.acknowledged} writes acknowledged during faults; {self.reigns} leaders in all;"
                f" {self.seconds:.0f} s, of which something was wrong in {self.seconds_of_faults:.0f}",
                f"ensembles: {_listed(self.ensembles)}",
                f"faults: {_listed(self.faults)}",
                *self.violations,
            ]
        )


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items())) or "none"


def judge(history: History) -> tuple[str, str]:
    """Outcome, and what is wrong."""
    gave_up = False
    for path, verdict in linearizable(history).items():
        if verdict.outcome == "violation":
            return "violation", told(history, path, verdict)
        gave_up |= verdict.outcome == "gave up"
    try:
        check(history)
    except ViolationError as error:
        return "violation", str(error)
    return ("gave up" if gave_up else "ok"), ""


class Run:
    def __init__(
        self,
        seed: str,
        report: Report,
        *,
        directory: Path,
        module: Sequence[str] = ("zabpy",),
        only: Sequence[str] = (),
        gap_ms: int = 0,
    ) -> None:
        """``only``: these faults alone, else a few drawn for each ensemble; ``gap_ms``: between them, 0: drawn."""
        self.seed, self.report = seed, report
        self._directory, self._module, self._only, self._gap_ms = directory, module, only, gap_ms
        self.number = 0

    async def ensemble(
        self, links: Links, servers: int, histories: int, *, at_once: int = 2, operations: int = 200
    ) -> None:
        """So many histories on one ensemble."""
        rng = Random(f"{self.seed}/{self.number}")
        home = Path(tempfile.mkdtemp(prefix="ensemble-", dir=self._directory))
        made: list[tuple[Story, list[list[int]]]] = []
        began = time.monotonic()
        self.report.ensembles[f"of {servers} on {links.name}"] += 1
        async with processes(home, servers, links, module=self._module) as them:
            trouble = Trouble(them, rng)
            names = list(self._only) or rng.sample(list(FAULTS), rng.choice((2, 3, KINDS_MAX, len(FAULTS))))
            gap_ms = self._gap_ms or rng.choice((300, 700, 1500))
            print(f"{servers} servers on {links.name}: {', '.join(names)}, each {gap_ms} ms", flush=True)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(torment, trouble, names, gap_ms)
                nursery.start_soon(self._look_after, them)
                limit = trio.CapacityLimiter(at_once)
                async with trio.open_nursery() as stories:
                    for _ in range(histories):
                        await limit.acquire_on_behalf_of(token := object())
                        stories.start_soon(self._one, them, trouble, made, operations, limit, token)
                nursery.cancel_scope.cancel()
            await self._end(them, made)
            self.report.reigns += them.reigns()
            self.report.faults.update(trouble.counts)
            self.report.seconds_of_faults += _covered(trouble.times)
        self.report.seconds += time.monotonic() - began
        if not self.report.violations:
            shutil.rmtree(home)

    async def _one(
        self,
        them: Processes,
        trouble: Trouble,
        made: list[tuple[Story, list[list[int]]]],
        operations: int,
        limit: trio.CapacityLimiter,
        token: object,
    ) -> None:
        self.number += 1
        story = Story(Plan(self.number, self.seed, operations), them.addresses, lambda: trouble.now)
        trouble.on_connections.append(story.drop)
        try:
            await story.run()
        finally:
            trouble.on_connections.remove(story.drop)
            limit.release_on_behalf_of(token)
        made.append((story, trouble.times))
        outcome, why = judge(story.history)
        if outcome == "violation":
            self._failed(story, why)  # at once; it is judged again at the end

    async def _look_after(self, them: Processes) -> None:
        while True:
            await trio.sleep(0.2)  # processes that end tell nobody
            for id in them.died():
                self.report.violations.append(f"server {id} has ended by itself:\n{them.log(id)[-2000:]}")
                them.excused.add(id)

    async def _end(self, them: Processes, made: list[tuple[Story, list[list[int]]]]) -> None:
        """All is well again: all servers say the same, and all histories still hold."""
        for id in them.ids:
            them.go_on(id)
            if not them.runs(id):
                them.start(id)
        try:
            with trio.fail_after(60):
                await them.wait_serving()
        except (EndedError, trio.TooSlowError) as error:
            self.report.violations.append(f"L1: faults are over, and not all serve: {error}")
            return
        for story, times in made:
            with trio.fail_after(60):
                await story.look_again(1)
            self._count(story, times)
        znodes = [path for story, _ in made for path in story.plan.znodes]
        told = [await _znodes(them, id, znodes) for id in them.ids]
        for id, each in zip(them.ids, told, strict=True):
            for path in znodes:
                if each[path] != told[0][path]:
                    self.report.violations.append(f"I17: server {id} has {path} {each[path]}, server 1 {told[0][path]}")

    def _count(self, story: Story, times: list[list[int]]) -> None:
        report, history = self.report, story.history
        outcome, why = judge(history)
        acknowledged = acknowledged_during(history, times)
        operations = list(history.operations)
        judged = [each for each in operations if each.synced or each.changes]
        counts = acknowledged >= story.plan.acknowledged and len(judged) >= story.plan.operations
        if outcome == "violation":
            self._failed(story, why)
        elif not counts:
            report.not_counted += 1
            return
        report.outcomes[outcome] += 1
        report.acknowledged += acknowledged
        report.operations["all"] += len(operations)
        report.operations["linearizable"] += len(judged)
        report.operations["unknown"] += sum(each.returned_ns is None for each in operations)
        report.operations["failed"] += sum(bool(each.returned_ns is not None and each.error) for each in operations)

    def _failed(self, story: Story, why: str) -> None:
        FAILED.mkdir(parents=True, exist_ok=True)
        path = FAILED / f"{self.seed}-{story.plan.number:05d}.jsonl"
        known = path.exists() and any(str(path) in line for line in self.report.violations)
        story.history.write(path)
        if not known:
            self.report.violations.append(f"{path}: {why}")
            print(self.report.violations[-1], flush=True)


async def _znodes(them: Processes, id: int, paths: list[str]) -> dict[str, object]:
    history = History()
    address = [(them.links.host(id), them.links.client_port(id))]
    client = Client(0, address, history, Random(0), session_timeout_ms=SESSION_TIMEOUT_MS)
    found: dict[str, object] = {}
    for path in paths:
        while path not in found:
            try:
                seen = await client.get(path, synced=True)
                found[path] = seen.error, seen.seen
            except Lost:
                await trio.sleep(0.05)  # a client's pause between two attempts
    await client.close()
    return found


def _covered(times: list[list[int]]) -> float:
    """Seconds in which something was wrong."""
    covered, upto = 0, 0
    for begin, end in sorted((begin, end) for begin, end in times):
        covered += max(0, end - max(begin, upto))
        upto = max(upto, end)
    return covered / 1e9


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="make linearize", description=__doc__.partition("\n")[0])
    parser.add_argument("--histories", type=int, default=500, help="so many that count")
    parser.add_argument("--seed", default="1", help="of what clients and faults do; times are the machine's")
    parser.add_argument("--block", type=int, default=25, help="histories on one ensemble")
    parser.add_argument("--at-once", type=int, default=4, help="histories at a time")
    parser.add_argument("--servers", type=int, help="always so many (default: 3 or 5)")
    parser.add_argument("--links", choices=("proxies", "namespaces"), help="always these")
    parser.add_argument(
        "--fault", action="append", choices=sorted(FAULTS), default=[], help="this one, and others named"
    )
    parser.add_argument(
        "--module", default="zabpy", help="what is run instead of `python -m zabpy`: one with a mistake"
    )
    parser.add_argument("--mistakes", action="store_true", help="are known mistakes found out?")
    parser.add_argument("--judge", type=Path, help="judge this file again, and nothing else")
    given = parser.parse_args(arguments)
    if given.judge is not None:
        outcome, why = judge(read(given.judge))
        print(outcome, why)
        return outcome != "ok"
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # servers, mounts and namespaces go with us
    with tempfile.TemporaryDirectory(prefix="zabpy-linearize-", ignore_cleanup_errors=True) as directory:
        if given.mistakes:
            return _mistakes(Path(directory), given.seed)
        run = Run(given.seed, Report(), directory=Path(directory), module=given.module.split(), only=given.fault)
        try:
            _histories(run, given)
        except* KeyboardInterrupt:
            print("ended by a signal")
        if run.report.violations and os.environ.get("ZABPY_KEEP"):
            shutil.copytree(directory, FAILED / "servers", dirs_exist_ok=True)
    print(run.report.text())
    return not run.report.good(given.histories)


def _histories(run: Run, given: argparse.Namespace) -> None:
    report, block = run.report, 0
    while report.histories < given.histories and run.number < 2 * given.histories and not report.violations:
        servers = given.servers or (3, 5, 3, 3, 5)[block % 5]
        kind = given.links or ("namespaces" if Namespaces.possible() and block % 2 else "proxies")
        links: Links = Namespaces(servers) if kind == "namespaces" else Proxies(servers)
        left = min(given.block, given.histories - report.histories)
        try:
            trio.run(partial(run.ensemble, links, servers, left, at_once=given.at_once))
        except Exception:  # a signal's KeyboardInterrupt, alone or in a group, is none
            why = f"seed {run.seed}, up to history {run.number}: the harness itself broke\n{traceback.format_exc()}"
            report.violations.append(why)
        block += 1
        print(f"{report.histories} of {given.histories} after {report.seconds:.0f} s", flush=True)


def _mistakes(directory: Path, seed: str) -> int:
    """Servers with a mistake each, until it is found out."""
    lines = []
    for name, faults in SHOWN_BY.items():
        report = Report()
        run = Run(f"{seed}-{name}", report, directory=directory, module=("tests.processes.trapped", name), only=faults)
        while not report.violations and run.number < MISTAKE_HISTORIES_MAX:
            trio.run(partial(run.ensemble, Proxies(3), 3, 10, at_once=10))
        why = report.violations[0].partition(": ")[2].splitlines()[0][:60] if report.violations else "NOT FOUND"
        lines.append(f"{name}, by {' and '.join(faults)}: {why}, in {run.number} histories")
    print("\n".join(lines))
    return any("NOT FOUND" in line for line in lines)


if __name__ == "__main__":
    sys.exit(main())
