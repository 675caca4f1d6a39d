"""ZAB under fault: stories with their traces, seeds that once failed, and fresh ones."""

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from zabpy.testing import script
from zabpy.testing.cases import CORE_CASES
from zabpy.testing.simulate_cli import run_seed

HERE = Path(__file__).parent
STORIES = sorted(HERE.glob("scripts/*.txt"))
CASES = sorted(HERE.glob("seeds/*.txt"))

PRINT_TRACES = """
from zabpy.testing.simulate_cli import run_seed
for seed in (20, 21, 22, 23, 24):
    result = run_seed(seed)
    print(seed, result.events, result.trace, result.violation)
"""


@pytest.mark.parametrize("story", STORIES, ids=lambda path: path.stem)
def test_a_story_leaves_its_trace(story: Path) -> None:
    for block, trace in script.play(story.read_text()):
        assert trace == block.expected, f"{story.name}, line {block.number}"


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.stem)
def test_what_once_failed_holds(case: Path) -> None:
    settings, lines = CORE_CASES.from_text(case.read_text())
    assert CORE_CASES.run(settings, lines).violation is None


def test_fresh_seeds_break_nothing_and_were_worth_running() -> None:
    counts: Counter[str] = Counter()
    seeds = range(1, 41)
    for seed in seeds:
        result = run_seed(seed)
        assert result.violation is None, f"seed {seed}: {result.violation}"
        counts.update(result.counts)
    # Without these, nothing broken proves nothing.
    assert counts["leaders"] > 2 * len(seeds)
    assert min(counts["syncs by " + kind] for kind in ("diff", "trunc", "image")) > 0
    assert counts["tails from disk"] > 0
    assert counts["writes acked during faults"] > 100 * len(seeds)
    assert counts["reads confirmed"] > 0
    assert sum(number for what, number in counts.items() if what.startswith("F")) > 20 * len(seeds)


def test_a_seed_is_the_same_run_whatever_strings_hash_to() -> None:
    outputs = {
        subprocess.run(
            [sys.executable, "-c", PRINT_TRACES],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("0", "1", "12345")
    }
    assert len(outputs) == 1
    assert len(outputs.pop().splitlines()) == 5
