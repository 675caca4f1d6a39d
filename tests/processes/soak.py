"""``make soak``: five real servers under load and mixed faults, for hours; what was acknowledged stays, nothing grows.

    python -m tests.processes.soak --hours 1 --seed 1 --out build/soak.json

A phase is some faults that are drawn for it, one after the other and now and then two at a time, while all parts of the
load (load.py) work and histories are made (workload.py); then the leader is killed, with nothing else wrong, to see how
long nobody can write; then all is well, the load rests, and everything is looked at: what every client was told, the
histories, the digests of all servers. Of each era of phases one server is spared by all that kills, so that its memory
can be seen to stay flat; at an era's end all are killed at once, and a server that has lost its disk comes back empty
where that is safe (a settled leader has a quorum without it).

The first thing that does not hold ends it: the directories and logs are kept, and it says where. Ctrl-C ends it in an
orderly way, with the report so far. Exit 0: it went on to its end and all held; 1: something does not hold; 130: ended.
"""

import argparse
import json
import logging
import os
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import trio

from zabpy.testing.histories import History

from .ensemble import ROOT, TICK_MS, EndedError, processes
from .faults import FAULTS, Trouble, torment
from .gauges import MIB, Gauge, bytes_below, processor_seconds
from .linearize import judge
from .links import Proxies
from .load import IDLE_SESSION_TIMEOUT_MS, Load, Tally, Wrong
from .workload import Plan, Story, acknowledged_during

SETTINGS = (f"maxSessionTimeout={IDLE_SESSION_TIMEOUT_MS}",)
#: A leader that is silent for so long is given up: syncLimit times tickTime. (One that is killed is not silent.)
ELECTION_TIMEOUT_MS = 5 * TICK_MS
ERA_SECONDS = 1200.0
SAMPLE_SECONDS = 5.0
#: Of both processors of a small machine; the load's pauses grow until it is no more.
CORES_MAX = 1.3
#: What no server exceeds, with the load of this file.
RSS_BYTES_MAX = 96 * MIB
DISK_BYTES_MAX = 20 * MIB
#: Besides its clients' connections: log, snapshots, listeners, peers, whatever the interpreter has.
DESCRIPTORS_MAX = 40
THREADS_MAX = 16
#: Writes that have to be acknowledged in a second in which something is wrong, on average; else it shows nothing.
WRITES_DURING_MIN = 2.0
UNAVAILABLE_SECONDS_MAX = 60.0
#: Addresses of this process and of each server: whatever goes wrong, the machine goes on.
MEMORY_BYTES_MAX = 3 << 30
QUIET_SECONDS_MAX = 240.0
LEADERS_KILLED = 2
#: These spare nobody, or little: an era ends with one of them.
FOR_ALL = ("kill all", "power cut")


@dataclass
class Report:
    """What was done and what came out of it."""

    seed: str
    commit: str = ""
    hours: float = 0.0
    phases: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    fault_seconds: float = 0.0
    leaders: int = 0
    acknowledged: Counter[str] = field(default_factory=Counter)
    unknown: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    writes: int = 0
    writes_during: int = 0
    histories: Counter[str] = field(default_factory=Counter)
    locks: int = 0
    elections: int = 0
    #: After each leader's kill, to the first answer to a write that was called since.
    without_writes_ms: list[int] = field(default_factory=list)
    #: After each of these kills, until a server said that it leads.
    without_leader_ms: list[int] = field(default_factory=list)
    cores: float = 0.0
    rss_peak_bytes: int = 0
    descriptors_peak: int = 0
    descriptors_beside_clients_peak: int = 0
    threads_peak: int = 0
    disk_peak_bytes: int = 0
    lives: list[dict[str, object]] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    ended: str = ""

    @property
    def operations(self) -> int:
        return self.acknowledged.total() + self.unknown.total() + self.refused.total()

    @property
    def cuts(self) -> int:
        """All that was done to processes and links."""
        return _faults(self.faults)

    @property
    def status(self) -> int:
        return 1 if self.violations else 130 if self.ended else 0

    def plain(self) -> dict[str, object]:
        """For JSON."""
        told = vars(self) | {"operations": self.operations, "cuts": self.cuts, "status": self.status}
        return {name: dict(sorted(each.items())) if isinstance(each, Counter) else each for name, each in told.items()}

    def text(self) -> str:
        answered = f"{self.acknowledged.total()} acknowledged, {self.unknown.total()} unknown"
        lines = [
            f"{self.hours:.2f} hours, seed {self.seed}, {self.phases} phases"
            f"{self.ended and f', ended by {self.ended}'}; commit {self.commit or 'unknown'}",
            f"{self.cuts} faults in {self.fault_seconds:.0f} s: {_listed(self.faults)}",
            f"{self.leaders} leaders in all",
            f"{self.operations} operations ({self.operations / max(3600 * self.hours, 1):.0f} a second): {answered},"
            f" {self.refused.total()} refused",
            f"{self.writes} writes acknowledged, {self.writes_during} of them during faults",
            f"by kind: {_listed(self.acknowledged)}",
            f"unknown: {_listed(self.unknown)}; refused: {_listed(self.refused)}",
            f"histories: {_listed(self.histories)}; {self.locks} times a lock was held, {self.elections} terms",
            self._without_writes(),
            f"processors: {self.cores:.2f} on average",
            f"of a server at most: {self.rss_peak_bytes / MIB:.1f} MiB of memory (bound {RSS_BYTES_MAX // MIB}),"
            f" {self.descriptors_peak} descriptors ({self.descriptors_beside_clients_peak} beside clients, bound"
            f" {DESCRIPTORS_MAX}), {self.threads_peak} threads (bound {THREADS_MAX}),"
            f" {self.disk_peak_bytes / MIB:.1f} MiB on its disk (bound {DISK_BYTES_MAX // MIB})",
            *(_life(each) for each in self.lives),
            *(f"VIOLATION: {each}" for each in self.violations),
            "verdict: " + ("does not hold" if self.violations else "all held"),
        ]
        return "\n".join(lines)

    def _without_writes(self) -> str:
        if not self.without_writes_ms:
            return "no leader was killed on purpose"
        return (
            f"after {len(self.without_writes_ms)} kills of the leader, in ms (in election timeouts of"
            f" {ELECTION_TIMEOUT_MS} ms): without writes {_spread(self.without_writes_ms)}; until another one led"
            f" {_spread(self.without_leader_ms)}"
        )


#: Faults of this file.
OWN_FAULTS = ("leader killed", "disk lost", "era's end")


class Soak:
    def __init__(
        self,
        seed: str,
        seconds: float,
        directory: Path,
        *,
        servers: int = 5,
        phase_seconds: float = 60.0,
        module: Sequence[str] = ("zabpy",),
        only: Sequence[str] = (),
        idle: int = 60,
        leaders_killed: int = LEADERS_KILLED,
    ) -> None:
        """``only``: these faults in each phase, instead of some that are drawn; ``leaders_killed``: in each, too."""
        self.seed, self.seconds, self._directory, self._count = seed, seconds, directory, servers
        self._phase_seconds, self._module, self._only, self._idle = phase_seconds, module, only, idle
        self._leaders_killed = leaders_killed
        self._rng = Random(f"{seed}/soak")
        self.report = Report(seed)
        self._began = time.monotonic()
        self._stop = trio.CancelScope()
        self._stopping = False
        self._gauges: dict[tuple[str, int], Gauge] = {}
        self._used: dict[int, float] = {}
        self._cores = 0.0
        self._stories: list[tuple[Story, list[list[int]]]] = []
        self._story_number = 0
        self._stories_go = trio.Event()
        self._stories_busy = 0
        self.doing = "starting"

    # The whole --------------------------------------------------------------------------------------------------------

    async def run(self) -> Report:
        try:
            async with processes(
                self._directory, self._count, Proxies(self._count), settings=SETTINGS, module=self._module
            ) as self.them:
                with self._stop:
                    await self._run()
                self.report.leaders = self.them.reigns()
                if self.report.violations:
                    self._keep()
        finally:
            self._sum_up()
        return self.report

    def _keep(self) -> None:
        """What is on disks that go with the servers."""
        for id in self.them.ids:
            self.them.pause(id)
            shutil.copytree(self.them.disks[id].path, self._directory / f"data-{id}", dirs_exist_ok=True)

    async def _run(self) -> None:
        self.trouble = Trouble(self.them, self._rng)
        self.tally = Tally(lambda: self.trouble.now)
        self.load = Load(self.them.addresses, self.seed, self.tally, idle=self._idle)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._sample)
            nursery.start_soon(self._look_after)
            nursery.start_soon(self._heed_signals)
            await nursery.start(self._load)
            nursery.start_soon(self._tell_stories)
            self._began = time.monotonic()
            era_ends = self._new_era()
            while not self.report.phases or not self._over():
                await self._phase()
                if time.monotonic() >= era_ends and not self._over():
                    await self._end_era()
                    era_ends = self._new_era()
            nursery.cancel_scope.cancel()

    def _over(self) -> bool:
        return self._stopping or time.monotonic() - self._began >= self.seconds

    def violation(self, text: str) -> None:
        self.report.violations.append(
            f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())}, while {self.doing}: {text}"
        )
        self._stop.cancel()

    def _new_era(self) -> float:
        """Until when it lasts."""
        if self.seconds >= 60:
            self.trouble.spared = {self._rng.choice(self.them.ids)}
        return time.monotonic() + min(ERA_SECONDS, self.seconds / 3)

    async def _load(self, *, task_status: trio.TaskStatus[None]) -> None:
        await self.load.run(self.violation, task_status=task_status)

    # Phases -----------------------------------------------------------------------------------------------------------

    async def _phase(self) -> None:
        kinds = [name for name in FAULTS if name not in FOR_ALL]
        names = list(self._only) or self._rng.sample(kinds, self._rng.choice((3, 5, 8, len(kinds))))
        self.doing = f"faults: {', '.join(names) if len(names) < 9 else 'all kinds'}"
        self._stories_go.set()
        gap_ms = self._rng.choice((200, 500, 1000))
        with trio.move_on_after(self._phase_seconds):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(torment, self.trouble, names, gap_ms)
                while not self._stopping:  # noqa: ASYNC110
                    await trio.sleep(0.2)
                nursery.cancel_scope.cancel()
        await self._heal()
        for _ in range(self._leaders_killed):
            if not self._stopping:
                await self._kill_leader()
        await self._look()
        self.report.phases += 1

    async def _heal(self) -> None:
        """Whatever was going on is over: all run, and serve."""
        self.doing = "healing"
        for id in self.them.ids:
            self.them.go_on(id)
            self.them.disks[id].free()
            if id in self.them.bad_disks:
                self.them.bad_disks[id].set()
            if self.them.runs(id) and id in self.them.excused:
                self.them.kill(id)  # its disk was in trouble: it may be about to end
            if not self.them.runs(id):
                self.them.start(id)
        await self._serving(*self.them.ids)

    async def _serving(self, *ids: int) -> None:
        try:
            with trio.fail_after(60):
                await self.them.wait_serving(*ids)
        except (EndedError, trio.TooSlowError) as error:
            self.violation(f"L1: faults are over, and not all serve: {error!r}")
            await trio.sleep_forever()  # until that is heard

    async def _kill_leader(self) -> None:
        """With nothing else wrong."""
        self.doing = "killing the leader"
        leader = await self.them.leader()
        if leader is None:
            return
        if leader in self.trouble.spared:
            # Stopped until the others have given it up, another one leads.
            self.them.pause(leader)
            await trio.sleep(3 * ELECTION_TIMEOUT_MS / 1000)
            self.them.go_on(leader)
            self.report.faults["leader paused to spare it"] += 1
            await self._serving(*self.them.ids)
            leader = await self.them.leader()
            if leader is None or leader in self.trouble.spared:
                return
        await trio.sleep(0.3 + self._rng.random())
        time_ns = [time.monotonic_ns(), 0]
        self.trouble.times.append(time_ns)
        self.them.excused.add(leader)
        self.them.kill(leader)
        began_ns = time.monotonic_ns()
        try:
            with trio.fail_after(UNAVAILABLE_SECONDS_MAX):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._time_leader, began_ns)
                    await self.tally.wait_written(began_ns)
                    self.report.without_writes_ms.append((time.monotonic_ns() - began_ns) // 1_000_000)
        except trio.TooSlowError:
            self.violation(f"L1: {UNAVAILABLE_SECONDS_MAX:.0f} s after leader {leader} was killed nobody can write")
        self.report.faults["leader killed"] += 1
        self.them.start(leader)
        await self._serving(leader)
        time_ns[1] = time.monotonic_ns()

    async def _time_leader(self, began_ns: int) -> None:
        while await self.them.leader() is None:  # noqa: ASYNC110
            await trio.sleep(0.05)
        self.report.without_leader_ms.append((time.monotonic_ns() - began_ns) // 1_000_000)

    async def _end_era(self) -> None:
        """Nobody is spared: all at once, by kill -9 or a power cut."""
        self.doing = "the end of an era"
        self.trouble.spared = set()
        for name in FOR_ALL:
            if name in FAULTS and await FAULTS[name][0](self.trouble):
                self.report.faults["era's end"] += 1
                self.report.faults[name] += 1
                await self._heal()
        await self._look()

    # Looking ----------------------------------------------------------------------------------------------------------

    async def _look(self) -> None:
        """All rests, and is looked at."""
        self.doing = "waiting for the load to rest"
        with trio.move_on_after(QUIET_SECONDS_MAX) as scope:
            await self.load.quiet()
            self._stories_go = trio.Event()
            while self._stories_busy:  # noqa: ASYNC110
                await trio.sleep(0.05)
            try:
                self.doing = "looking at what was acknowledged"
                await self.load.verify()
                self.doing = "looking at histories"
                await self._judge_again()
                self.doing = "comparing digests"
                await self._compare()
                await self._count_descriptors()
            except Wrong as wrong:
                self.violation(str(wrong))
                await trio.sleep_forever()
            if self._rng.random() < 0.25 and not self._over():
                await self._lose_disk()
        if scope.cancelled_caught and not self.report.violations:
            self.violation(f"L1: nothing is wrong, and not all is at rest and equal after {QUIET_SECONDS_MAX:.0f} s")
        self._forget_times()
        self.load.go_on()

    async def _judge_again(self) -> None:
        """The histories of this phase, with one more read of each of their znodes; then these go."""
        for story, times in self._stories:
            await story.look_again(1)
            self._judge(story)
            self.report.writes_during += acknowledged_during(story.history, times)
        self._stories.clear()
        for name in await self.load.names("/"):
            if name.startswith("h"):
                await self.load.remove(f"/{name}")

    def _judge(self, story: Story) -> None:
        outcome, why = judge(story.history)
        self.report.histories[outcome] += 1
        if outcome == "violation":
            path = self._directory / f"history-{story.plan.number:05d}.jsonl"
            story.history.write(path)
            raise Wrong(f"{path}: {why}")

    async def _compare(self) -> None:
        """All come to the same digest at the same zxid; whoever is at the same zxid has the same one anyway."""
        known: dict[str, tuple[int, str]] = {}
        while True:
            found = [_digest(await self._word(id, b"diag")) for id in self.them.ids]
            for id, told in zip(self.them.ids, found, strict=True):
                if told is not None:
                    zxid, digest = told
                    first, other = known.setdefault(zxid, (id, digest))
                    if other != digest:
                        raise Wrong(f"I17: at {zxid} server {first} has digest {other}, server {id} {digest}")
            if None not in found and len(set(found)) == 1:
                return
            await trio.sleep(0.1)

    async def _count_descriptors(self) -> None:
        """Besides clients' connections, of which the server tells."""
        for id in self.them.ids:
            told = (await self._word(id, b"mntr")).partition("zk_num_alive_connections\t")[2].split()
            pid = self.them.processes[id].pid
            if not told:
                continue
            besides = len(os.listdir(f"/proc/{pid}/fd")) - int(told[0])
            self.report.descriptors_beside_clients_peak = max(self.report.descriptors_beside_clients_peak, besides)
            if besides > DESCRIPTORS_MAX:
                raise Wrong(f"server {id} has {besides} descriptors besides its {told[0]} clients' connections")

    async def _lose_disk(self) -> None:
        """Of a follower, while all others are there and equal: it comes back empty."""
        leader = await self.them.leader()
        self.doing = "taking a disk away"
        them = [id for id in self.them.ids if id != leader and id not in self.trouble.spared]
        if leader is None or self._count < 5:
            return
        id = self._rng.choice(them)
        self.them.excused.add(id)
        self.them.kill(id)
        data = self._directory / str(id) / "data"
        for path in data.iterdir():
            if path.name != "myid":
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        self.them.start(id)
        await self._serving(id)
        self.report.faults["disk lost"] += 1
        try:
            await self._compare()
        except Wrong as wrong:
            self.violation(f"after server {id} came back empty: {wrong}")

    async def _word(self, id: int, word: bytes) -> str:
        text = b""
        with trio.move_on_after(2):
            try:
                stream = await trio.open_tcp_stream(self.them.links.host(id), self.them.links.client_port(id))
                async with stream:
                    await stream.send_all(word)
                    async for data in stream:
                        text += data
            except (OSError, trio.BrokenResourceError):
                pass
        return text.decode()

    def _forget_times(self) -> None:
        times = self.trouble.times
        self.report.fault_seconds += _covered([each for each in times if each[1]])
        times[:] = [each for each in times if not each[1]]

    # What goes on beside ----------------------------------------------------------------------------------------------

    async def _tell_stories(self) -> None:
        """Histories, one after the other, each judged by itself."""
        while True:
            await self._stories_go.wait()
            self._stories_busy += 1
            self._story_number += 1
            story = Story(
                Plan(self._story_number, self.seed, most_ms=30_000), self.them.addresses, lambda: self.trouble.now
            )
            self.trouble.on_connections.append(story.drop)
            try:
                await story.run()
                self._stories.append((story, list(self.trouble.times)))
                self._tell_history(story.history)
            finally:
                self.trouble.on_connections.remove(story.drop)
                self._stories_busy -= 1
            await trio.sleep(0.5 * self.load.slower)

    def _tell_history(self, history: History) -> None:
        for each in history.operations:
            if each.returned_ns is None:
                self.tally.unknown["history"] += 1
            else:
                self.tally.acknowledged["history"] += 1
                self.tally.writes += each.done and each.changes

    async def _look_after(self) -> None:
        while True:
            await trio.sleep(0.2)
            for id in self.them.died():
                self.them.excused.add(id)
                self.violation(f"server {id} has ended by itself:\n{self.them.log(id)[-2000:]}")

    async def _heed_signals(self) -> None:
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async for number in signals:
                self.report.ended = signal.Signals(number).name
                if self._stopping:
                    self._stop.cancel()  # asked twice
                self._stopping = True
                print(f"\n{self.report.ended}: looking at everything once more, then the report", flush=True)

    async def _sample(self) -> None:
        last, shown = time.monotonic(), 0.0
        self._used_since()
        self.report.cores = 0.0
        while True:
            self._sample_now()
            now = time.monotonic()
            used = sum(self._used_since().values())
            self._cores = used / max(now - last, 0.001)
            last = now
            self._pace()
            live = sys.stdout.isatty()
            if live or now - shown >= 60:
                shown = now
                print(f"\r\x1b[K{self._progress()}" if live else self._progress(), end="" if live else "\n", flush=True)
            await trio.sleep(SAMPLE_SECONDS)

    def _sample_now(self) -> None:
        seconds = time.monotonic() - self._began
        report = self.report
        for id, process in self.them.processes.items():
            if not self.them.runs(id):
                continue
            gauge = self._gauges.setdefault((str(id), process.pid), Gauge(f"server {id}", process.pid))
            gauge.look(seconds)
            if not gauge.samples:
                continue
            last = gauge.samples[-1]
            report.rss_peak_bytes = max(report.rss_peak_bytes, last.rss_bytes)
            report.descriptors_peak = max(report.descriptors_peak, last.descriptors)
            report.threads_peak = max(report.threads_peak, last.threads)
            disk_bytes = bytes_below(self._directory / str(id) / "data" / "zabpy")
            report.disk_peak_bytes = max(report.disk_peak_bytes, disk_bytes)
            if last.rss_bytes > RSS_BYTES_MAX:
                self.violation(f"server {id} holds {last.rss_bytes / MIB:.1f} MiB of memory")
            if last.threads > THREADS_MAX:
                self.violation(f"server {id} has {last.threads} threads")
            if disk_bytes > DISK_BYTES_MAX:
                self.violation(f"server {id} keeps {disk_bytes / MIB:.1f} MiB on its disk")
            if rises := gauge.rises():
                self.violation(rises)
        self._gauges.setdefault(("us", os.getpid()), Gauge("the clients", os.getpid())).look(seconds)

    def _used_since(self) -> dict[int, float]:
        """Seconds of processor since the last call, by process."""
        pids = [os.getpid(), *(self.them.processes[id].pid for id in self.them.ids if self.them.runs(id))]
        now = {pid: processor_seconds(pid) for pid in pids}
        since = {pid: used - self._used.get(pid, 0.0) for pid, used in now.items()}
        self._used |= now
        self.report.cores += sum(since.values())  # made an average at the end
        return since

    def _pace(self) -> None:
        if self._cores > CORES_MAX:
            self.load.slower = min(20.0, self.load.slower * 1.25) if hasattr(self, "load") else 1.0
        elif self._cores < 0.9 * CORES_MAX and hasattr(self, "load"):
            self.load.slower = max(1.0, self.load.slower * 0.9)

    def _progress(self) -> str:
        minutes = (time.monotonic() - self._began) / 60
        tally = getattr(self, "tally", None)
        if tally is None:
            return "starting"
        return (
            f"{minutes:.1f} of {self.seconds / 60:.0f} min, phase {self.report.phases + 1}: {tally.writes} writes,"
            f" {tally.writes_during} during faults, {tally.unknown.total()} unknown,"
            f" {_faults(self.trouble.counts) + _faults(self.report.faults)} faults,"
            f" {self.report.rss_peak_bytes / MIB:.0f} MiB at most, {self._cores:.1f} cores; {self.doing}"
        )

    def _sum_up(self) -> None:
        report, seconds = self.report, time.monotonic() - self._began
        report.hours, report.cores = seconds / 3600, report.cores / max(seconds, 1)
        if not hasattr(self, "load"):
            return
        self._forget_times()
        report.faults.update(self.trouble.counts)
        report.acknowledged, report.unknown, report.refused = (
            self.tally.acknowledged,
            self.tally.unknown,
            self.tally.refused,
        )
        report.writes = self.tally.writes
        report.writes_during += self.tally.writes_during
        report.locks, report.elections = self.load.lock.turns, self.load.election.turns
        report.lives = [_told(each) for each in self._gauges.values() if each.slope_per_hour("rss_bytes") is not None]
        few = report.writes_during < WRITES_DURING_MIN * report.fault_seconds
        if not report.violations and (few or not report.writes_during):
            report.violations.append(
                f"it shows nothing: {report.writes_during} writes acknowledged in {report.fault_seconds:.0f} s of"
                " faults"
            )


def _faults(counts: Counter[str]) -> int:
    return sum(count for name, count in counts.items() if name in FAULTS or name in OWN_FAULTS)


def _digest(text: str) -> tuple[str, str] | None:
    rows = dict(line.split("\t", 1) for line in text.splitlines() if "\t" in line)
    return (rows["zk_digest_zxid"], rows["zk_digest"]) if "zk_digest" in rows else None


def _covered(times: list[list[int]]) -> float:
    """Seconds in which at least one of them was."""
    covered, upto = 0, 0
    for begin, end in sorted(times):
        covered += max(0, end - max(begin, upto))
        upto = max(upto, end)
    return covered / 1e9


def _told(gauge: Gauge) -> dict[str, object]:
    warm = gauge.warm()
    return {
        "name": gauge.name,
        "minutes": round(gauge.lived_seconds / 60, 1),
        "rss_mib": round(statistics.median(each.rss_bytes for each in warm) / MIB, 1),
        "rss_peak_mib": round(gauge.peak("rss_bytes") / MIB, 1),
        "rss_mib_per_hour": round((gauge.slope_per_hour("rss_bytes") or 0) / MIB, 2),
        "descriptors_peak": gauge.peak("descriptors"),
        "descriptors_per_hour": round(gauge.slope_per_hour("descriptors") or 0, 1),
        "threads_peak": gauge.peak("threads"),
    }


def _life(told: dict[str, object]) -> str:
    return (
        f"{told['name']} lived {told['minutes']} minutes: {told['rss_mib']} MiB, once warm {told['rss_mib_per_hour']:+}"
        f" an hour, {told['rss_peak_mib']} at most; {told['descriptors_per_hour']:+} descriptors an hour,"
        f" {told['descriptors_peak']} at most; {told['threads_peak']} threads at most"
    )


def _spread(found: list[int]) -> str:
    found = sorted(found)
    if not found:
        return "?"
    named = (
        ("median", found[len(found) // 2]),
        ("p99", found[min(len(found) - 1, int(0.99 * len(found)))]),
        ("at most", found[-1]),
    )
    return ", ".join(f"{name} {ms} ({ms / ELECTION_TIMEOUT_MS:.2f})" for name, ms in named)


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items())) or "none"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__.partition("\n")[0])
    parser.add_argument("--hours", type=float, default=1.0)
    parser.add_argument("--seed", default="1", help="of what clients and faults do; times are the machine's")
    parser.add_argument("--servers", type=int, default=5)
    parser.add_argument("--phase-seconds", type=float, default=60.0, help="of faults, before all is looked at")
    parser.add_argument(
        "--fault", action="append", choices=sorted(FAULTS), default=[], help="this one, and others named"
    )
    parser.add_argument(
        "--module", default="zabpy", help="what is run instead of `python -m zabpy`: one with a mistake"
    )
    parser.add_argument("--out", type=Path, help="the report as JSON, too")
    given = parser.parse_args(arguments)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES_MAX, MEMORY_BYTES_MAX))
    logging.getLogger("zabpy").setLevel(logging.CRITICAL)  # of our clients: that servers are away is no news here
    directory = Path(tempfile.mkdtemp(prefix="zabpy-soak-"))
    soak = Soak(
        given.seed,
        3600 * given.hours,
        directory,
        servers=given.servers,
        phase_seconds=given.phase_seconds,
        module=given.module.split(),
        only=given.fault,
    )
    asked = ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"]
    soak.report.commit = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()
    report = trio.run(soak.run)
    print(f"\n{report.text()}", flush=True)
    if given.out is not None:
        given.out.parent.mkdir(parents=True, exist_ok=True)
        given.out.write_text(json.dumps(report.plain(), indent=1) + "\n")
    if report.violations:
        print(
            f"seed {given.seed}; logs: {directory}/*/log, data: {directory}/*/data. Look for `event=` lines at the time"
        )
    else:
        shutil.rmtree(directory, ignore_errors=True)
    return report.status


if __name__ == "__main__":
    sys.exit(main())
