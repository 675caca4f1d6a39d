"""Cases: a run as text, and made small."""

import pytest

from zabpy.testing.cases import CORE_CASES, CaseError
from zabpy.testing.drawing import draw
from zabpy.testing.run import Settings
from zabpy.testing.simulate_cli import run_seed
from zabpy.testing.traps import TRAPS


@pytest.mark.parametrize("seed", range(1, 40))
def test_a_case_reads_back_as_it_was(seed: int) -> None:
    settings, script = draw(seed)
    assert CORE_CASES.from_text(CORE_CASES.to_text(settings, script, "some reason")) == (settings, script)


def test_only_what_is_not_the_default_is_written() -> None:
    text = CORE_CASES.to_text(Settings(seed=7, voters=3), [(12, "write", 1), (30, "kill-at-disk", "any", 2, 50)], "why")
    assert text == "# why\nseed 7\nvoters 3\n12 write 1\n30 kill-at-disk any 2 50\n"


@pytest.mark.parametrize("line", ["colour 3", "12", "12 dance", "voters many", "soon write 1"])
def test_a_line_that_says_nothing_is_named(line: str) -> None:
    with pytest.raises(CaseError, match="line 2 of the case"):
        CORE_CASES.from_text(f"seed 1\n{line}\n")


def test_a_failing_script_is_made_small_and_still_fails() -> None:
    with TRAPS["memory-ahead"].set():
        failed = next(result for result in map(run_seed, range(1, 20)) if result.violation is not None)
        small = CORE_CASES.shrink(failed, runs_max=60)
        assert len(small.script) < len(failed.script) / 10
        again = CORE_CASES.run(*CORE_CASES.from_text(CORE_CASES.to_text(small.settings, small.script)))
        assert small.violation is not None
        assert str(again.violation) == str(small.violation)
    assert CORE_CASES.run(small.settings, small.script).violation is None
