"""Generated requests on both servers: every answer is the same, byte for byte where it can be.

ZABPY_APACHE_OPERATIONS sets how many requests there are (CI: 20,000), ZABPY_APACHE_SEED the first seed.
"""

import os
import time
from collections import Counter

import pytest

from .compare import check
from .generate import script
from .pair import Pair

OPERATIONS = int(os.environ.get("ZABPY_APACHE_OPERATIONS", "10000"))
FIRST_SEED = int(os.environ.get("ZABPY_APACHE_SEED", "1"))
_LENGTH = 250
_ALL_CREATES = (0, -5, -8, -101, -102, -108, -110, -114)
#: What must have happened: operation → error codes.
_WANTED = {
    "create": _ALL_CREATES,
    "create2": _ALL_CREATES,
    "create_container": (0, -5, -8, -101, -110, -114),
    "create_ttl": (0, -5, -8, -101, -110, -114),
    "delete": (0, -5, -8, -101, -102, -103, -111),
    "exists": (0, -5, -8, -101),
    "get_data": (0, -5, -101, -102),
    "set_data": (0, -5, -8, -101, -102, -103),
    "get_acl": (0, -5, -101, -102),
    "set_acl": (0, -5, -8, -101, -102, -103, -114),
    "get_children": (0, -5, -101, -102),
    "get_children2": (0, -5, -101, -102),
    "sync": (0, -5),
    "ping": (0,),
    "multi": (0, -5),
    **{f"multi: {name}": (0,) for name in ("create", "create2", "delete", "set_data", "check")},
    "multi: at 0": (-8, -101, -102, -103, -110, -111, -114),
    **{f"multi: at {place}": (-101,) for place in range(1, 4)},
    "reconfig": (-123,),
    "check_watches": (0, -5, -121),
    "remove_watches": (0, -5, -121),
    "delete_container": (-8,),
    "multi_read": (0, -5),
    "set_watches": (0, -5),
    "set_watches2": (0, -5),
    "add_watch": (-5,),
    "who_am_i": (0,),
    "get_ephemerals": (0, -5),
    "get_all_children_number": (0, -5, -101, -102),
    "auth": (0,),
    "close_session": (0,),
    "unknown": (-6,),
}
#: Takes more requests than the usual number.
_RARE = {("create_container", -102), ("create_container", -108), ("create_ttl", -108), ("multi: at 0", -108)}
OUTCOMES = {(name, err) for name, errs in _WANTED.items() for err in errs}


@pytest.mark.timeout(60 + OPERATIONS // 20)
def test_every_request_is_answered_as_apache_answers_it(pair: Pair) -> None:
    outcomes: Counter[tuple[str, int]] = Counter()
    events: Counter[int] = Counter()
    began = time.monotonic()
    for seed in range(FIRST_SEED, FIRST_SEED + max(1, OPERATIONS // _LENGTH)):
        result = check(pair, script(seed, _LENGTH), f"seed {seed}")
        outcomes += result.outcomes
        events += result.events
    print(f"{sum(outcomes.values())} requests in {time.monotonic() - began:.1f} s")
    missing = (OUTCOMES | _RARE if OPERATIONS >= 20_000 else OUTCOMES) - set(outcomes)
    for (name, err), count in sorted(outcomes.items()):
        print(f"{name:24} {err:5} {count:6}")
    print("events:", dict(events))
    assert not missing, f"never seen: {sorted(missing)}"
    assert set(events) == {1, 2, 3, 4}
