"""The check of the checks: every known mistake, restored, is found by a script that was kept for it.

The scripts of traps/ are what `zabpy simulate mutants --keep tests/testing/traps` found and shrank. How many seeds it
takes to find each from nothing, `make mutants` prints.
"""

from pathlib import Path

import pytest

from zabpy.testing.cases import CORE_CASES
from zabpy.testing.mutants_cli import Task, find
from zabpy.testing.simulate_cli import run_seed
from zabpy.testing.traps import TRAPS

CASES = Path(__file__).parent / "traps"
ENSEMBLES = sorted(name for name in TRAPS if TRAPS[name].on == "ensemble")
STORES = sorted(name for name in TRAPS if TRAPS[name].on == "store")


@pytest.mark.parametrize("name", ENSEMBLES)
def test_a_mistake_is_found_and_named(name: str) -> None:
    settings, script = CORE_CASES.from_text((CASES / f"{name}.txt").read_text())
    with TRAPS[name].set():
        violation = CORE_CASES.run(settings, script).violation
    assert violation is not None, TRAPS[name].mistake
    assert violation.id in TRAPS[name].caught_by, violation
    assert CORE_CASES.run(settings, script).violation is None


@pytest.mark.parametrize("name", STORES)
def test_a_mistake_of_the_disk_is_found_and_named(name: str) -> None:
    series = find(Task(name, 0, 600))
    assert series.id in TRAPS[name].caught_by, f"{TRAPS[name].mistake} {series.text}"


def test_there_are_no_cases_without_a_trap() -> None:
    assert {path.stem for path in CASES.iterdir()} == set(ENSEMBLES)


def test_a_trap_is_gone_when_it_was_left() -> None:
    for trap in TRAPS.values():
        with trap.set():
            pass
    assert run_seed(1).violation is None
