"""Counting what happens: counters, gauges, summaries, histograms, in a registry. No output here; `admin` turns them
into text.

May import: nothing of ours.
Imported by: everybody who counts.

Made for hot paths: a counter is an attribute that is added to, a histogram is one list index. Nothing is locked, since
everything that counts runs in one thread; a worker thread hands its numbers over instead.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar


class Counter:
    """A number that only grows. ``counter.value += 1`` is the quick way to add."""

    __slots__ = ("help", "name", "value")

    def __init__(self, name: str, help: str = "") -> None:
        self.name, self.help, self.value = name, help, 0

    def add(self, amount: int = 1) -> None:
        assert amount >= 0
        self.value += amount

    def reset(self) -> None:
        self.value = 0


class Gauge:
    """A number that goes up and down: set by whoever knows, or asked for when it is read."""

    __slots__ = ("_ask", "_value", "help", "name")

    def __init__(self, name: str, help: str = "", ask: Callable[[], int] | None = None) -> None:
        self.name, self.help, self._ask, self._value = name, help, ask, 0

    @property
    def value(self) -> int:
        return self._value if self._ask is None else self._ask()

    def set(self, value: int) -> None:
        assert self._ask is None  # one owner of the number, or the other
        self._value = value


#: Upper bounds of buckets for durations in microseconds: 10 µs to 10 s, three a decade.
DURATION_BOUNDS_US = tuple(step * 10**power for power in range(1, 7) for step in (1, 2, 5)) + (10_000_000,)


class Histogram:
    """How often values fell where. Bucket ``i`` counts values up to ``bounds[i]``; the last one counts the rest."""

    __slots__ = ("bounds", "buckets", "count", "help", "largest", "name", "smallest", "total")

    def __init__(self, name: str, help: str = "", bounds: Iterable[int] = DURATION_BOUNDS_US) -> None:
        self.name, self.help, self.bounds = name, help, tuple(bounds)
        assert list(self.bounds) == sorted(set(self.bounds)), name
        assert self.bounds, name
        self.reset()

    def reset(self) -> None:
        self.buckets = [0] * (len(self.bounds) + 1)
        self.count = self.total = self.largest = 0
        self.smallest: int | None = None

    def add(self, value: int) -> None:
        self.buckets[bisect_left(self.bounds, value)] += 1
        self.count += 1
        self.total += value
        if value > self.largest:
            self.largest = value
        if self.smallest is None or value < self.smallest:
            self.smallest = value

    def mean(self) -> float:
        return self.total / self.count if self.count else 0.0

    def quantile(self, share: float) -> int:
        """A value that at least ``share`` of all values do not exceed: a bucket's upper bound, or the largest seen."""
        assert 0 <= share <= 1
        wanted, seen = share * self.count, 0
        for bound, number in zip(self.bounds, self.buckets, strict=False):
            seen += number
            if seen >= wanted and seen:
                return min(bound, self.largest)
        return self.largest


class Summary:
    """How many values there were, their sum, the smallest and the largest: what ZooKeeper calls a basic summary."""

    __slots__ = ("count", "help", "largest", "name", "smallest", "total")

    def __init__(self, name: str, help: str = "") -> None:
        self.name, self.help = name, help
        self.reset()

    def reset(self) -> None:
        self.count = self.total = self.largest = self.smallest = 0

    def add(self, value: int) -> None:
        if not self.count or value < self.smallest:
            self.smallest = value
        if not self.count or value > self.largest:
            self.largest = value
        self.count += 1
        self.total += value

    def mean(self) -> float:
        return self.total / self.count if self.count else 0.0


Metric = Counter | Gauge | Histogram | Summary
_M = TypeVar("_M", Counter, Gauge, Histogram, Summary)


class Registry:
    """All metrics of one server by name. Names are ``snake_case`` with the unit last; a name is given once."""

    def __init__(self) -> None:
        self._metrics: dict[str, Metric] = {}

    def counter(self, name: str, help: str = "") -> Counter:
        return self._keep(Counter(name, help))

    def gauge(self, name: str, help: str = "", ask: Callable[[], int] | None = None) -> Gauge:
        return self._keep(Gauge(name, help, ask))

    def histogram(self, name: str, help: str = "", bounds: Iterable[int] = DURATION_BOUNDS_US) -> Histogram:
        return self._keep(Histogram(name, help, bounds))

    def summary(self, name: str, help: str = "") -> Summary:
        return self._keep(Summary(name, help))

    def reset(self) -> None:
        """All that was counted is forgotten. A gauge is not counted: it stays."""
        for metric in self._metrics.values():
            if not isinstance(metric, Gauge):
                metric.reset()

    def _keep(self, metric: _M) -> _M:
        assert metric.name not in self._metrics, metric.name
        self._metrics[metric.name] = metric
        return metric

    def __iter__(self) -> Iterator[Metric]:
        return iter(self._metrics.values())

    def __getitem__(self, name: str) -> Metric:
        return self._metrics[name]
