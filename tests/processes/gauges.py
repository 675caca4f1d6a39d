"""What processes hold, over time: memory, descriptors, threads, processor time; of Linux's /proc.

Each life of a server has a `Gauge` of its own, for a kill resets everything. What a life shows is judged by `rises`:
by the medians of its first and last parts, which a single peak does not move, once it has warmed up.
"""

import os
import statistics
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

MIB = 1 << 20
#: What a server allocates in its first minutes stays: its caches, the interpreter's arenas.
WARM_UP_SECONDS = 180.0
#: A life is judged by its slope from here on.
LIFE_SECONDS_MIN = 600.0
#: Of a life that has warmed up: more than this between its first and its last third is a leak. Half a percent is
#: noise of the allocator; the rest are the pages of a tree that happens to be a little larger.
RISE_SHARE_MAX = 0.10
RISE_BYTES_MIN = 4 * MIB


class Sample(NamedTuple):
    seconds: float
    rss_bytes: int
    descriptors: int
    threads: int


@dataclass
class Gauge:
    """One life of one process."""

    name: str
    pid: int
    samples: list[Sample] = field(default_factory=list)

    def look(self, seconds: float) -> None:
        """Take a sample. Nothing, if the process has gone."""
        try:
            status = Path(f"/proc/{self.pid}/status").read_text()
            descriptors = len(os.listdir(f"/proc/{self.pid}/fd"))
        except OSError:
            return
        rows = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
        if "VmRSS" in rows:
            rss_bytes = int(rows["VmRSS"].split()[0]) * 1024
            self.samples.append(Sample(seconds, rss_bytes, descriptors, int(rows["Threads"])))

    @property
    def lived_seconds(self) -> float:
        return self.samples[-1].seconds - self.samples[0].seconds if self.samples else 0.0

    def peak(self, what: str) -> int:
        return max((getattr(each, what) for each in self.samples), default=0)

    def warm(self) -> list[Sample]:
        begin = self.samples[0].seconds + WARM_UP_SECONDS if self.samples else 0.0
        return [each for each in self.samples if each.seconds >= begin]

    def slope_per_hour(self, what: str) -> float | None:
        """From the median of the first third of its warm life to that of the last; None: it has not lived enough."""
        thirds = self._thirds(what)
        if thirds is None:
            return None
        first, last, hours = thirds
        return (last - first) / hours

    def rises(self) -> str:
        """What leaks, in words; empty: nothing, as far as this life can show."""
        thirds = self._thirds("rss_bytes")
        if thirds is None:
            return ""
        first, last, hours = thirds
        if last - first <= max(RISE_SHARE_MAX * first, RISE_BYTES_MIN):
            return ""
        return (
            f"{self.name}: its memory rose from {first / MIB:.1f} to {last / MIB:.1f} MiB in {60 * hours:.0f} minutes"
        )

    def _thirds(self, what: str) -> tuple[float, float, float] | None:
        warm = self.warm()
        if self.lived_seconds < LIFE_SECONDS_MIN or len(warm) < 9:
            return None
        third = len(warm) // 3
        first, last = warm[:third], warm[-third:]
        hours = (statistics.median(each.seconds for each in last) - _middle(first)) / 3600
        return (
            statistics.median(getattr(each, what) for each in first),
            statistics.median(getattr(each, what) for each in last),
            hours,
        )


def _middle(samples: list[Sample]) -> float:
    return statistics.median(each.seconds for each in samples)


def processor_seconds(pid: int) -> float:
    """What it has used so far; 0, if it has gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def bytes_below(directory: Path) -> int:
    """Of all files there, whatever comes and goes meanwhile."""
    total = 0
    for path in directory.rglob("*"):
        try:
            total += path.lstat().st_size if path.is_file() else 0
        except OSError:
            pass
    return total
