"""Two quorums always intersect: the one property of them that ZAB's proofs use."""

from itertools import combinations

import pytest

from zabpy.zab import Quorums


def subsets(servers: range) -> list[frozenset[int]]:
    return [frozenset(c) for size in range(len(servers) + 1) for c in combinations(servers, size)]


@pytest.mark.parametrize("voters", range(1, 8))
def test_any_two_majorities_intersect_and_all_voters_are_one(voters: int) -> None:
    servers = range(1, voters + 1)
    quorums = Quorums(frozenset(servers))
    deciding = [s for s in subsets(servers) if quorums.is_quorum(s)]
    assert all(len(s) == min(len(d) for d in deciding) for s in deciding if not any(d < s for d in deciding))
    assert min(len(s) for s in deciding) == voters // 2 + 1
    assert all(a & b for a in deciding for b in deciding)
    assert quorums.is_quorum(frozenset(servers))


@pytest.mark.parametrize(
    ("weights", "groups"),
    [
        ({1: 3, 2: 1, 3: 1, 4: 0}, {}),
        ({1: 2, 2: 2, 3: 2, 4: 1, 5: 1}, {}),
        ({}, {1: {1, 2, 3}, 2: {4, 5, 6}, 3: {7}}),
        ({7: 0}, {1: {1, 2, 3}, 2: {4, 5, 6}, 3: {7}}),
        ({1: 5, 4: 2}, {1: {1, 2, 3}, 2: {4, 5, 6, 7}}),
    ],
)
def test_any_two_weighted_or_hierarchical_quorums_intersect(
    weights: dict[int, int], groups: dict[int, set[int]]
) -> None:
    servers = range(1, (max((max(g) for g in groups.values()), default=0) or len(weights)) + 1)
    quorums = Quorums(frozenset(servers), weights, {g: frozenset(members) for g, members in groups.items()})
    deciding = [s for s in subsets(servers) if quorums.is_quorum(s)]
    assert deciding
    assert all(a & b for a in deciding for b in deciding)


def test_a_group_of_no_weight_is_left_out_of_the_number_of_groups() -> None:
    groups = {1: frozenset({1}), 2: frozenset({2}), 3: frozenset({3})}
    assert not Quorums(frozenset({1, 2, 3}), {}, groups).is_quorum({1})
    assert Quorums(frozenset({1, 2, 3}), {2: 0, 3: 0}, groups).is_quorum({1})


def test_with_groups_most_of_them_decide_and_not_most_of_the_servers() -> None:
    groups = {1: frozenset({1, 2, 3}), 2: frozenset({4, 5, 6}), 3: frozenset({7, 8, 9})}
    quorums = Quorums(frozenset(range(1, 10)), {}, groups)
    assert quorums.is_quorum({1, 2, 4, 5})
    assert not quorums.is_quorum({1, 2, 3, 4, 7})
    assert not quorums.is_quorum({1, 2, 3})
    assert Quorums(frozenset(range(1, 10)), {3: 3}, groups).is_quorum({3, 8, 9})


def test_half_of_the_weight_is_not_enough() -> None:
    quorums = Quorums(frozenset({1, 2, 3}), {1: 2})
    assert not quorums.is_quorum({1})
    assert quorums.is_quorum({1, 2})


def test_servers_that_are_no_voters_do_not_count() -> None:
    quorums = Quorums(frozenset({1, 2, 3}))
    assert not quorums.is_quorum({1, 4, 5, 6})
    assert quorums.is_quorum({1, 2, 4})


def test_the_agreed_position_is_what_a_quorum_has_reached() -> None:
    quorums = Quorums(frozenset({1, 2, 3}))
    assert quorums.agreed([(1, 7)]) == 0
    assert quorums.agreed([(1, 7), (2, 3)]) == 3
    assert quorums.agreed([(1, 7), (2, 3), (3, 5)]) == 5
    assert quorums.agreed([(1, 7), (9, 6), (8, 6), (2, 3)]) == 3  # 8 and 9 are observers
    assert Quorums(frozenset({1, 2, 3}), {1: 3}).agreed([(1, 7), (2, 3)]) == 7


@pytest.mark.parametrize(
    ("weights", "groups", "message"),
    [
        ({1: -1}, {}, "negative"),
        ({1: 0, 2: 0}, {}, "weight 0"),
        ({}, {1: {1}}, "exactly one"),
        ({}, {1: {1, 2}, 2: {2}}, "exactly one"),
    ],
)
def test_rules_that_could_never_decide_are_refused(
    weights: dict[int, int], groups: dict[int, set[int]], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Quorums(frozenset({1, 2}), weights, {g: frozenset(m) for g, m in groups.items()})
