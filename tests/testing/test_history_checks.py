"""Each check of what clients saw rejects every history with a fault planted in it, and none without."""

from functools import cache
from pathlib import Path
from random import Random

import pytest

from tests.testing.made_histories import FAULTS, Service
from zabpy.testing import ViolationError
from zabpy.testing.histories import History, linearizable, read
from zabpy.testing.history_checks import ALL, check

SEEDS = range(40)


@cache
def made(seed: int) -> History:
    return Service(Random(seed)).run(160)


def test_what_a_right_service_shows_is_right() -> None:
    for seed in SEEDS:
        history = made(seed)
        check(history)
        assert all(linearizable(history).values())


@pytest.mark.parametrize("name", FAULTS)
def test_every_planted_fault_is_rejected(name: str) -> None:
    plant, may_find = FAULTS[name]
    planted = 0
    for seed in SEEDS:
        history = plant(made(seed), Random(f"{seed}/{name}"))
        if history is None:
            continue
        planted += 1
        with pytest.raises(ViolationError) as caught:
            check(history)
        assert caught.value.name in may_find
    assert planted >= len(SEEDS) // 4


def test_every_check_has_a_fault_that_it_alone_finds() -> None:
    """Without it, something planted is taken for right."""
    for left_out in ALL:
        others = [each for each in ALL if each is not left_out]
        assert any(missed(others, name, seed) for name in FAULTS for seed in list(SEEDS)[:10]), left_out.__name__


def missed(checks: list, name: str, seed: int) -> bool:  # type: ignore[type-arg]  # of any of them
    history = FAULTS[name][0](made(seed), Random(f"{seed}/{name}"))
    if history is None:
        return False
    try:
        for each in checks:
            each(history)
    except ViolationError:
        return False
    return True


def test_a_history_of_all_kinds_is_the_same_from_its_file(tmp_path: Path) -> None:
    history = made(1)
    history.write(tmp_path / "h.jsonl")
    assert read(tmp_path / "h.jsonl") == history
