"""A slice of ``make crashpoints``; and the check of the checks: known mistakes of disks, restored, are found."""

import subprocess
import sys

import pytest

from zabpy.testing.crash_life import Image, Point
from zabpy.testing.crashpoints import replay
from zabpy.testing.crashpoints_cli import spring
from zabpy.testing.store_traps import CRASH_TRAPS


def test_nothing_is_lost_wherever_the_power_goes() -> None:
    """Every 131st operation, before and after, by every model, for every choice of victims."""
    # In a process of its own: it forks, which is cheaper from a small one.
    command = [sys.executable, "-m", "zabpy.testing.crashpoints_cli", "--every", "131", "--draws", "1", "--jobs", "1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " 0 failures" in done.stdout


@pytest.mark.parametrize("name", CRASH_TRAPS)
def test_a_mistake_is_found_and_named(name: str) -> None:
    caught = spring(name)
    assert caught.expected, f"{CRASH_TRAPS[name].mistake} {caught}"


def test_a_failure_can_be_shown_again_by_its_command() -> None:
    with CRASH_TRAPS["segment-name-unsynced"].set():
        found = [replay(Image(Point(at, "after"), "one", "prefix", draw))[0] for at in range(12, 17) for draw in (0, 1)]
    assert any(each.startswith("I26") for each in found)


def test_a_point_can_be_shown() -> None:
    failed, lines = replay(Image(Point(20, "before"), "one", "prefix", 0))
    assert failed == ""
    assert any("--- Image(" in line and "make_dir /log of server 2" in line for line in lines)
    missing, _ = replay(Image(Point(1 << 20, "before"), "one", "prefix", 0))
    assert "there is no operation" in missing
