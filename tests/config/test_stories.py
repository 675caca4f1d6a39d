"""Stories of the config store, drawn from seeds: see story.py. ``ZABPY_CONFIG_SEEDS=200`` tells more of them."""

import os

import pytest
from trio.testing import MockClock

from tests.recipes.stories.story import tell
from zabpy.config import head, reading

from .story import ConfigPlay

SEEDS = int(os.environ.get("ZABPY_CONFIG_SEEDS", "1"))
FIRST = int(os.environ.get("ZABPY_CONFIG_SEED", "0"))


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """What happens with namespaces of megabytes happens with small ones."""
    monkeypatch.setattr(head, "RECENT_BYTES_MAX", 800)
    monkeypatch.setattr(head, "EARLIER_BYTES_MAX", 300)
    monkeypatch.setattr(reading, "READ_BYTES", 100)
    monkeypatch.setattr(reading, "READ_MAX", 4)
    monkeypatch.setattr(reading, "READ_SURELY_MAX", 3)


@pytest.mark.parametrize("seed", range(FIRST, FIRST + SEEDS))
async def test_whatever_happens_readers_see_whole_revisions_in_order(seed: int, autojump_clock: MockClock) -> None:
    await tell(seed, ConfigPlay)
