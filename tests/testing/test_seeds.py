"""Many seeds and their report: one that ends in an error of the simulation itself is a failed seed among others."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from zabpy.testing.cases import Cases
from zabpy.testing.disk import PowerLost
from zabpy.testing.drawing import draw
from zabpy.testing.facts import ViolationError
from zabpy.testing.faults import WORDS
from zabpy.testing.fuzz import main as fuzz
from zabpy.testing.mutants_cli import HARNESS, Task, find
from zabpy.testing.run import Line, Result, Settings
from zabpy.testing.seeds import Rules, outcome, report
from zabpy.testing.simulation import Simulation

RULES = Rules("seed", ())


class Broken(Simulation):
    """Seed 2 is too much for it."""

    def run(self) -> Result:
        if self.settings.seed == 2:
            raise PowerLost("a mistake of ours")
        return Result(self.settings, self.script, None, 1, 1, 0, {}, 0.0)


def test_an_error_of_the_simulation_is_a_failed_seed_and_the_others_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken: Cases[Settings, Result] = Cases(Settings, WORDS, Broken)
    outcomes = (outcome(seed, lambda seed=seed: draw(seed), broken, shrinks_max=1) for seed in (1, 2, 3))  # type: ignore[misc]  # mypy cannot infer it
    assert report(outcomes, RULES, keep=tmp_path) == 1
    printed = capsys.readouterr().out
    assert "seed 2 at " in printed
    assert "3 seeds" in printed
    kept = (tmp_path / "seed-2.txt").read_text()
    assert "# PowerLost: a mistake of ours" not in kept.splitlines()[0]
    assert "in run" in kept  # the traceback
    assert broken.from_text(kept) == draw(2)


def test_a_violation_is_told_even_if_shrinking_it_breaks() -> None:
    runs = 0

    class Once(Simulation):
        def run(self) -> Result:
            nonlocal runs
            runs += 1
            if runs > 1:
                raise ZeroDivisionError
            return Result(self.settings, self.script, ViolationError("I7", "Lost", "gone"), 1, 99_999, 0, {}, 0.0)

    told = outcome(1, lambda: draw(1), Cases(Settings, WORDS, Once), shrinks_max=5)
    assert told.failure is not None
    assert told.failure.startswith("I7 Lost: gone; shrinking it: the harness itself broke: ZeroDivisionError")


def test_whoever_ends_a_run_ends_it() -> None:
    class Ended(Simulation):
        def run(self) -> Result:
            raise BaseExceptionGroup("tasks", [KeyboardInterrupt()])

    with pytest.raises(BaseExceptionGroup):
        outcome(1, lambda: draw(1), Cases(Settings, WORDS, Ended), shrinks_max=1)


def test_a_series_of_mutants_that_breaks_itself_names_its_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str, seed: int) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("zabpy.testing.mutants_cli.run_trap", broken)
    series = find(Task("A1", 0, 5))
    assert series.id == HARNESS
    assert series.text.startswith("seed 1: the harness itself broke")


def test_a_fuzzer_that_breaks_itself_fails_and_names_its_seed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def broken(*given: Sequence[Line]) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr("zabpy.testing.fuzz.run_seed", broken)
    assert fuzz(["peer", "--frames", "10", "--seed", "7", "--workers", "1", "--out", str(tmp_path)]) == 1
    assert "FAILED peer, seed 7: the harness itself broke" in capsys.readouterr().out
