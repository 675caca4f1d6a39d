"""A slice of `make soak`, and the checks that it bites."""

from pathlib import Path

import pytest

from tests.processes.gauges import LIFE_SECONDS_MIN, MIB, WARM_UP_SECONDS, Gauge, Sample
from tests.processes.load import Slot, Tally, Wrong
from tests.processes.soak import Soak

pytestmark = pytest.mark.timeout(120)


async def test_a_slice_of_the_soak_holds_and_counts(tmp_path: Path) -> None:
    soak = Soak(
        "ci", 6, tmp_path, servers=3, phase_seconds=5, only=("kill", "pause", "isolate"), idle=10, leaders_killed=1
    )
    report = await soak.run()
    print(report.text())
    assert report.status == 0
    assert report.phases == 1
    assert report.writes_during >= 10
    assert {"set", "create", "multi", "kazoo set", "lock", "count", "put", "take", "history"} <= set(
        report.acknowledged
    )


async def test_a_server_that_leaks_descriptors_is_found_out(tmp_path: Path) -> None:
    module = ("tests.processes.trapped", "leaked-descriptors")
    soak = Soak(
        "bite", 4, tmp_path, servers=3, phase_seconds=2, module=module, only=("delay",), idle=0, leaders_killed=0
    )
    report = await soak.run()
    assert report.status == 1
    assert "descriptors besides" in report.violations[0]


def life(*mib: float) -> Gauge:
    """A sample every ten seconds."""
    return Gauge("server 1", 0, [Sample(10.0 * at, int(each * MIB), 30, 3) for at, each in enumerate(mib)])


def test_memory_that_rises_once_it_is_warm_is_a_leak_and_a_warm_up_or_a_peak_is_none() -> None:
    cold, warm = int(WARM_UP_SECONDS / 10), int(LIFE_SECONDS_MIN / 10)
    flat = [20.0 + each for each in range(cold)] + [40.0] * warm
    assert not life(*flat).rises()
    assert not life(*flat[:-30], 90.0, *flat[-30:]).rises()
    leaks = life(*flat[:cold], *(40 + 0.2 * each for each in range(warm)))
    assert "memory rose" in leaks.rises()
    slope = leaks.slope_per_hour("rss_bytes")
    assert slope is not None
    assert abs(slope / MIB - 72) < 4
    short = life(*(40.0 + each for each in range(30)))
    assert short.slope_per_hour("rss_bytes") is None


def test_an_acknowledged_write_that_is_not_there_is_found_out_and_an_unknown_one_is_not() -> None:
    slot = Slot("/x")
    assert slot.written(b"a") == []
    assert not slot.seen((b"a", 1))
    for lost in (None, (b"0", 0), (b"b", 2), (b"a", 2)):
        with pytest.raises(Wrong):
            slot.seen(lost)
    slot.pending += [b"b", b"c"]
    assert not slot.seen((b"a", 1))
    assert slot.seen((b"c", 2))
    with pytest.raises(Wrong):
        slot.seen((b"c", 3))


def test_an_error_that_no_fault_explains_is_found_out() -> None:
    with pytest.raises(Wrong):
        Tally(lambda: True).failed("set", ValueError("what?"))
