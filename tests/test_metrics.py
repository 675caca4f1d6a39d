"""Counting."""

import pytest

from zabpy.metrics import Histogram, Registry


def test_counters_grow_and_gauges_go_where_they_are_put() -> None:
    registry = Registry()
    counter, gauge = registry.counter("replies"), registry.gauge("connections")
    counter.value += 1
    counter.add(2)
    gauge.set(5)
    gauge.set(3)
    asked = registry.gauge("znodes", ask=lambda: 42)
    assert (counter.value, gauge.value, asked.value) == (3, 3, 42)
    assert [metric.name for metric in registry] == ["replies", "connections", "znodes"]
    assert registry["replies"] is counter
    with pytest.raises(AssertionError):
        registry.counter("znodes")


def test_a_histogram_counts_where_values_fall() -> None:
    histogram = Histogram("latency_us", bounds=(10, 100))
    assert (histogram.mean(), histogram.quantile(0.5), histogram.smallest) == (0.0, 0, None)
    for value in (1, 10, 11, 100, 101, 5_000):
        histogram.add(value)
    assert histogram.buckets == [2, 2, 2]
    assert (histogram.count, histogram.total, histogram.smallest, histogram.largest) == (6, 5_223, 1, 5_000)
    assert [histogram.quantile(share) for share in (0.1, 0.33, 0.5, 0.99)] == [10, 10, 100, 5_000]
    histogram.reset()
    assert (histogram.count, histogram.buckets) == (0, [0, 0, 0])
