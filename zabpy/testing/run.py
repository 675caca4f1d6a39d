"""What goes into a run of a simulation, and what comes out: of the core (simulation.py) or of whole servers (whole.py).

A run is made by its settings and its script alone, and whatever becomes of it is in its result.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from .facts import ViolationError

Line = tuple[Any, ...]
"""A line of a script: (milliseconds, word, argument…), arguments whole numbers or words. See faults.py."""


@dataclass(frozen=True)
class RunSettings:
    """All that a run depends on besides its script. Whole numbers only, so that a file can hold them."""

    seed: int
    voters: int = 5
    observers: int = 0
    tick_ms: int = 100
    init_limit: int = 10
    sync_limit: int = 5
    #: The script's part of the run; then it is healed and must converge.
    script_ms: int = 10_000
    latency_us: int = 300
    jitter_us: int = 2000
    spike_permille: int = 5
    spike_us: int = 100_000
    disk_us: int = 300
    disk_jitter_us: int = 5000
    snapshots_kept: int = 1

    @property
    def servers(self) -> range:
        return range(1, self.voters + self.observers + 1)

    def decides(self, servers: Iterable[int]) -> bool:
        """Whether these are a quorum, by none of the code that is judged: voters are numbered from 1."""
        return 2 * len({sid for sid in servers if sid <= self.voters}) > self.voters


S = TypeVar("S", bound=RunSettings)


@dataclass
class RunResult(Generic[S]):
    """What a run came to."""

    settings: S
    script: tuple[Line, ...]
    violation: ViolationError | None
    events: int
    simulated_ms: int
    trace: int
    counts: dict[str, int]
    cpu_s: float
    lines: list[str] = field(default_factory=list)

    @property
    def is_vacuous(self) -> bool:
        """Nothing broke, and that proves nothing."""
        return False


@dataclass(frozen=True)
class Settings(RunSettings):
    """A run of `Simulation`. After its script a core is healed and must converge."""

    keepalive_ms: int = 500
    redial_ms: int = 30
    #: Of links that break, how many are replaced before both sides have noticed.
    replace_permille: int = 300
    #: A server's clock runs up to this much fast or slow.
    drift_permille: int = 0
    #: A snapshot after so many delivered entries; 0: only when the script says so. Every third server is lazier.
    snapshot_every: int = 20
    lazier: int = 1
    #: How many delivered entries a replica keeps in memory for learners that lag.
    recent_entries: int = 10
    #: Entries in one `Propose` of a history read from disk.
    slice_entries: int = 4
    #: How long a snapshot takes to be sent; more than a follower waits for a leader that says nothing.
    transfer_ms: int = 0
    #: The run begins behind a snapshot whose counter is this; 0: with nothing.
    start_counter: int = 0
    #: From this counter on a leader makes way for another epoch; 0: where it does so in life.
    handover_at: int = 0
    #: After the script: which servers are healed and must converge, as bits; whether the others are dead or cut off.
    core: int = 0
    rest_dead: int = 0
    #: The core is not a full mesh but a ring (1), or two sides with one server between them (its bit, and one side's
    #: bits above 16): whoever reaches a quorum must lead it (trap D10).
    shape: int = 0
    #: A digit for each voter, 0 for all alike: its weight, and the group it is of.
    weights: int = 0
    groups: int = 0
    #: No fault in the script: then no leader may change (L2).
    calm: int = 0

    @property
    def core_servers(self) -> list[int]:
        return [sid for sid in self.servers if self.core >> sid & 1]

    def weight_of(self, sid: int) -> int:
        return _digit(self.weights, self.voters, sid) if self.weights else 1

    def group_of(self, sid: int) -> int:
        return _digit(self.groups, self.voters, sid)

    def decides(self, servers: Iterable[int]) -> bool:
        """Likewise, but a quorum is most of the weight of most groups."""
        here = frozenset(servers)
        there: Counter[int] = Counter()
        whole: Counter[int] = Counter()
        for sid in range(1, self.voters + 1):
            whole[self.group_of(sid)] += self.weight_of(sid)
            there[self.group_of(sid)] += self.weight_of(sid) * (sid in here)
        groups = [group for group, weight in whole.items() if weight]
        return 2 * sum(2 * there[group] > whole[group] for group in groups) > len(groups)


def _digit(digits: int, voters: int, sid: int) -> int:
    return int(str(digits).zfill(voters)[sid - 1])


class Result(RunResult[Settings]):
    """What a run of `Simulation` came to."""
