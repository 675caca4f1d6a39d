"""A slice of ``make damage``; and known mistakes, restored, that it must bring out."""

import os

import pytest

from zabpy.testing.damage import Damage, Judge, directories, try_all
from zabpy.testing.damage_cli import spring
from zabpy.testing.store_traps import DAMAGE_TRAPS

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="goes on in a child process")


@pytest.mark.parametrize("name", directories())
def test_no_damage_gives_a_wrong_state(name: str) -> None:
    tally = try_all(directories()[name](), every=97)
    assert tally.failures == []
    assert tally.images.total() > 900


@pytest.mark.parametrize("name", DAMAGE_TRAPS)
def test_a_mistake_is_found(name: str) -> None:
    outcomes = spring(name, 41)
    assert outcomes, f"{DAMAGE_TRAPS[name].mistake} is not found"
    assert outcomes[0] in DAMAGE_TRAPS[name].caught_by


def test_a_meta_file_of_before_a_promise_is_refused() -> None:
    """It was taken, and with it the accepted epoch of then: the server could have promised an epoch a second time."""
    directory = directories()["killed"]()
    path = "/log/epochs"
    verdicts = [
        Judge(directory).judge(Damage("stale", path, (number,))) for number in range(len(directory.stale[path]))
    ]
    outcomes = [verdict.outcome for verdict in verdicts if verdict]
    assert outcomes[:4] == ["refused"] * 4
    assert set(outcomes[4:]) == {"same"}  # of after it
    assert sum("older than the log" in verdict.text for verdict in verdicts if verdict) == 2
