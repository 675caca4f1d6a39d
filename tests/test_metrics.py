"""Counting."""

import pytest

from zabpy.metrics import Histogram, Registry, Summary


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


def test_a_summary_knows_its_ends_whatever_their_sign() -> None:
    summary = Summary("took_ms")
    assert (summary.mean(), summary.smallest, summary.largest) == (0.0, 0, 0)
    for value in (7, 3, 5):
        summary.add(value)
    assert (summary.count, summary.total, summary.smallest, summary.largest, summary.mean()) == (3, 15, 3, 7, 5.0)
    summary.reset()
    summary.add(-2)
    assert (summary.count, summary.smallest, summary.largest) == (1, -2, -2)


def test_a_registry_forgets_what_was_counted_but_not_what_is() -> None:
    registry = Registry()
    counter, summary, gauge = registry.counter("a"), registry.summary("b"), registry.gauge("c")
    counter.add(3)
    summary.add(3)
    gauge.set(3)
    registry.reset()
    assert (counter.value, summary.count, gauge.value) == (0, 0, 3)
