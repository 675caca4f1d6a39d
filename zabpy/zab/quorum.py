"""What a quorum is: arithmetic over sets of server ids, and the only property ZAB's proofs use is that two intersect.

Three kinds: majority of the voters; weighted, where weights are summed; hierarchical, where groups with a
majority of their own weight are counted, and most groups are needed. One function serves all three: a majority is all
weights 1 in one group.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Quorums:
    """The rule for one set of voters.

    ``weights`` default to 1. ``groups`` maps a group's id to its members; without groups all voters are one group.
    Voters of weight 0 follow and hold the data, but have no say and never lead.
    """

    voters: frozenset[int]
    weights: Mapping[int, int] = field(default_factory=dict)
    groups: Mapping[int, frozenset[int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.voters:
            raise ValueError("an ensemble needs at least one voter")
        if any(self.weight(voter) < 0 for voter in self.voters):
            raise ValueError("weights cannot be negative")
        if self.groups:
            members = [member for group in self.groups.values() for member in group]
            if len(members) != len(set(members)) or set(members) != self.voters:
                raise ValueError("with groups, every voter must be in exactly one of them")
        if not any(self.weight(voter) for voter in self.voters):
            raise ValueError("all voters have weight 0, so nothing could ever be decided")

    def weight(self, voter: int) -> int:
        return self.weights.get(voter, 1)

    def is_quorum(self, servers: Collection[int]) -> bool:
        """Whether these servers decide. Those that are not voters do not count, whatever they say of themselves."""
        if not self.weights and not self.groups:
            return 2 * sum(1 for server in servers if server in self.voters) > len(self.voters)
        counting = having = 0
        for group in self.groups.values() or (self.voters,):
            total = sum(self.weight(member) for member in group)
            if total == 0:
                continue  # a group without weight is left out of the number of groups
            counting += 1
            having += 2 * sum(self.weight(member) for member in group if member in servers) > total
        return 2 * having > counting

    def agreed(self, positions: Iterable[tuple[int, int]]) -> int:
        """The greatest position that a quorum has reached or passed, 0 if none; from (server, position) pairs."""
        reached: set[int] = set()
        for position, server in sorted(((position, server) for server, position in positions), reverse=True):
            reached.add(server)
            if self.is_quorum(reached):
                return position
        return 0
