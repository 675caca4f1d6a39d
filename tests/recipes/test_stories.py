"""Stories of every recipe, drawn from seeds: see stories/story.py for what befalls them and what is asked of them.

``ZABPY_RECIPE_SEEDS=200`` tells more of them, from ``ZABPY_RECIPE_SEED`` (0) on.
"""

import os

import pytest
from trio.testing import MockClock

from .stories import data, exclusive, presence
from .stories.story import Play, tell

SEEDS = int(os.environ.get("ZABPY_RECIPE_SEEDS", "1"))
FIRST = int(os.environ.get("ZABPY_RECIPE_SEED", "0"))
PLAYS: list[type[Play]] = [
    exclusive.LockPlay,
    exclusive.DelayedLockPlay,
    exclusive.CuratorLockPlay,
    exclusive.ReadWritePlay,
    exclusive.SemaphorePlay,
    exclusive.MultiLockPlay,
    exclusive.ElectionPlay,
    data.CounterPlay,
    data.ValuePlay,
    data.CreatesPlay,
    exclusive.PartitionerPlay,
    exclusive.TimedLeasePlay,
    data.WorkQueuePlay,
    data.DelayQueuePlay,
    data.TreeCachePlay,
    data.BarrierPlay,
    data.DoubleBarrierPlay,
    presence.RegistrationPlay,
    presence.MembershipPlay,
    presence.DiscoveryPlay,
]


@pytest.mark.parametrize("seed", range(FIRST, FIRST + SEEDS))
@pytest.mark.parametrize("play", PLAYS, ids=lambda play: play.__name__)
async def test_whatever_happens_it_keeps_its_promise(play: type[Play], seed: int, autojump_clock: MockClock) -> None:
    await tell(seed, play)
