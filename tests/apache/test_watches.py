"""Generated watch scenarios on both servers: every event, in its place between the replies of its connection.

ZABPY_APACHE_SCENARIOS sets how many there are (CI: 2,000), ZABPY_APACHE_SEED the first seed.
"""

import os
import time
from collections import Counter

import pytest

from .compare import check
from .pair import Pair
from .scenarios import scenario

SCENARIOS = int(os.environ.get("ZABPY_APACHE_SCENARIOS", "300"))
FIRST_SEED = int(os.environ.get("ZABPY_APACHE_SEED", "1"))


@pytest.mark.timeout(60 + SCENARIOS // 4)
def test_every_watch_tells_what_apache_tells(pair: Pair) -> None:
    outcomes: Counter[tuple[str, int]] = Counter()
    events: Counter[int] = Counter()
    began = time.monotonic()
    for seed in range(FIRST_SEED, FIRST_SEED + SCENARIOS):
        result = check(pair, scenario(seed), f"scenario {seed}")
        outcomes += result.outcomes
        events += result.events
    print(f"{SCENARIOS} scenarios, {sum(events.values())} events in {time.monotonic() - began:.1f} s")
    print("events:", dict(events))
    assert set(events) == {1, 2, 3, 4}
    assert sum(events.values()) > SCENARIOS
    wanted = {("add_watch", 0), ("check_watches", 0), ("check_watches", -121), ("remove_watches", 0)}
    wanted |= {("remove_watches", -121), ("set_watches", 0), ("set_watches2", 0), ("close_session", 0)}
    assert wanted <= set(outcomes)
