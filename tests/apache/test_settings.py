"""Generated requests where a setting matters, and frames as long as they may be."""

import struct
from collections import Counter

import pytest

from . import jute
from .compare import check
from .generate import script
from .pair import Pair
from .scenarios import quotas
from .test_operations import FIRST_SEED, OPERATIONS

_SCRIPTS = max(2, OPERATIONS // 2500)


def test_ttl_znodes_that_are_off(pair_without_ttl: Pair) -> None:
    outcomes: Counter[tuple[str, int]] = Counter()
    for seed in range(FIRST_SEED, FIRST_SEED + _SCRIPTS):
        outcomes += check(pair_without_ttl, script(seed, 250), f"seed {seed}").outcomes
    assert {("create_ttl", -6), ("create_ttl", -8), ("create", -6)} <= set(outcomes)
    assert ("create_ttl", 0) not in outcomes


def test_quotas_that_are_enforced(pair_with_quotas: Pair) -> None:
    outcomes: Counter[tuple[str, int]] = Counter()
    for seed in range(FIRST_SEED, FIRST_SEED + 10 * _SCRIPTS):
        outcomes += check(pair_with_quotas, quotas(seed), f"seed {seed}").outcomes
    assert {("create", -125), ("set_data", -125), ("create", 0), ("set_data", 0), ("get_data", 0)} <= set(outcomes)


@pytest.mark.parametrize("more", [0, 1, 2, 1 << 30])
def test_a_frame_may_have_1048575_bytes_and_not_one_more(pair: Pair, more: int) -> None:
    whole = jute.frame(1, jute.SET_DATA, jute.set_data("/none", b""))
    length = 1_048_575 + more
    frame = struct.pack(">i", length) + whole[4:] + bytes(1_048_575 - len(whole) + 4)
    last = jute.frame(2, *(jute.EXISTS, jute.path_and_flag("/zookeeper", 0)))
    told = []
    for line in pair.connect():
        line.send(frame + (b"" if more else last))
        heard = line.hear(None if more else 2)
        told.append(([struct.unpack_from(">iqi", reply)[::2] for reply in heard.frames], heard.closed))
        line.close()
    assert told[0] == told[1] == (([], True) if more else ([(1, -101), (2, 0)], False))
