from collections import Counter
from random import Random

from hypothesis import given, strategies as st

from zabpy.recipes.sharing import share_out

NAMES = st.text(min_size=1, max_size=8)


@given(st.sets(NAMES, min_size=1, max_size=12), st.sets(NAMES, max_size=60))
def test_everything_is_shared_out_as_evenly_as_can_be(members: set[str], items: set[str]) -> None:
    owners = share_out(members, items)
    loads = Counter(dict.fromkeys(members, 0) | Counter(owners.values()))
    assert set(owners) == items
    assert max(loads.values()) - min(loads.values()) <= 1


@given(st.lists(NAMES, max_size=8), st.lists(NAMES, max_size=20), st.randoms(use_true_random=False))
def test_the_answer_is_the_same_for_everybody(members: list[str], items: list[str], chance: Random) -> None:
    expected = share_out(members, items)
    chance.shuffle(members)
    chance.shuffle(items)
    assert share_out(members, items) == expected
    assert share_out(members * 2, items * 2) == expected


def test_without_members_nobody_has_anything() -> None:
    assert share_out([], ["a"]) == {}
    assert share_out(["m"], []) == {}


@given(st.integers(2, 10), st.integers(1, 60), st.integers(0, 10**9))
def test_who_leaves_moves_few_items_but_its_own(members: int, items: int, seed: int) -> None:
    """Never more than three times what has to move, and three."""
    names = [f"{seed}-{i}" for i in range(members)]
    before = share_out(names, map(str, range(items)))
    after = share_out(names[1:], map(str, range(items)))
    own = sum(owner == names[0] for owner in before.values())
    moved = sum(before[item] != after[item] for item in before)
    assert own <= moved <= 3 * own + 3 + items // 10


def test_on_average_a_newcomer_moves_less_than_1_7_times_what_has_to_move() -> None:
    for members, items in ((4, 100), (10, 100), (7, 50), (3, 12)):
        moved = 0
        for seed in range(40):
            names = [f"{seed}-{i}" for i in range(members + 1)]
            before, after = (share_out(some, map(str, range(items))) for some in (names[:-1], names))
            moved += sum(before[item] != after[item] for item in before)
        assert moved / 40 <= 1.7 * items / (members + 1), (members, items)
