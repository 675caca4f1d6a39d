"""Whole servers and clients under fault: fresh seeds, what once failed, and the check of the checks."""

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import trio

from zabpy.testing import repeatable
from zabpy.testing.facts import ViolationError
from zabpy.testing.whole import WholeSettings, WholeSimulation
from zabpy.testing.whole_cli import WHOLE_CASES, run_seed
from zabpy.testing.whole_faults import WORDS, draw
from zabpy.testing.whole_traps import WHOLE_TRAPS

CASES = sorted((Path(__file__).parent / "whole").glob("*.txt"))
#: Quick ones.
SEEDS = (2, 3)

PRINT_TRACES = """
import logging
logging.disable()
from zabpy.testing.whole_cli import check_repeats
print(check_repeats((8,)))
"""


def test_a_seed_is_the_same_run_whatever_strings_hash_to() -> None:
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", PRINT_TRACES],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for seed in ("0", "12345")
    ]
    outputs = [run.communicate(timeout=120)[0] for run in runs]
    assert outputs[0] == outputs[1] != ""


def test_fresh_seeds_break_nothing_and_were_worth_running() -> None:
    counts: Counter[str] = Counter()
    for seed in SEEDS:
        result = run_seed(seed)
        assert result.violation is None, f"seed {seed}: {result.violation}"
        counts.update(result.counts)
    # Without these, nothing broken proves nothing.
    assert counts["leaders"] > len(SEEDS)
    assert counts["writes acked during faults"] > 10 * len(SEEDS)
    assert counts["watches fired"] > len(SEEDS)
    assert sum(number for what, number in counts.items() if what.startswith("F")) > 5 * len(SEEDS)


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.stem)
def test_what_once_failed_holds(case: Path) -> None:
    settings, lines = WHOLE_CASES.from_text(case.read_text())
    assert WHOLE_CASES.run(settings, lines).violation is None


@pytest.mark.parametrize("name", WHOLE_TRAPS)
def test_a_mistake_is_found_and_named(name: str) -> None:
    trap = WHOLE_TRAPS[name]
    with trap.set():
        violation = WholeSimulation(trap.settings, trap.script).run().violation
    assert violation is not None, f"{trap.mistake} is not found"
    assert violation.id in trap.caught_by, violation


def test_a_case_is_read_back_as_it_was_written() -> None:
    for seed in range(1, 40):
        settings, script = draw(seed)
        assert WHOLE_CASES.from_text(WHOLE_CASES.to_text(settings, script, "why")) == (settings, script)
        assert {line[1] for line in script} <= set(WORDS)


def test_what_we_use_of_trio_is_there() -> None:
    repeatable.check_trio()
    assert trio._core._run._r.seed is not None


def test_a_frozen_task_stands_still_while_time_goes_on_and_then_catches_up() -> None:
    async def main() -> list[tuple[str, float]]:
        seen: list[tuple[str, float]] = []
        freezer = repeatable.Freezer()

        async def tick(name: str) -> None:
            while True:
                await trio.sleep(1)
                seen.append((name, trio.current_time()))

        async def machine() -> None:
            freezer.roots.add(trio.lowlevel.current_task())
            async with trio.open_nursery() as nursery:
                nursery.start_soon(tick, "frozen")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(machine)
            nursery.start_soon(tick, "other")
            await trio.sleep(1.5)
            (root,) = freezer.roots
            freezer.freeze(root)
            await trio.sleep(4)
            assert freezer.is_frozen(root)
            freezer.thaw(root)
            await trio.sleep(1.25)
            nursery.cancel_scope.cancel()
        return seen

    seen = repeatable.run(1, main)
    assert [at for name, at in seen if name == "frozen"] == [1, 5.5, 6.5]
    assert [at for name, at in seen if name == "other"] == [1, 2, 3, 4, 5, 6]


def test_a_run_that_breaks_while_somebody_is_frozen_ends() -> None:
    class Breaking(WholeSimulation):
        def heal(self) -> None:
            assert all(self.freezer.is_frozen(root) for root in self.freezer.roots)
            raise ViolationError("I0", "Planted", "before all go on")

    settings = WholeSettings(seed=7, voters=1, clients=1, script_ms=300)
    script = ((100, "pause", 1, 60_000), (200, "pause-client", 1, 60_000))
    assert str(Breaking(settings, script).run().violation) == "I0 Planted: before all go on"
