"""Who takes part: voters, observers, and the timing all of them agree on."""

from dataclasses import dataclass, field

from .quorum import Quorums


@dataclass(frozen=True)
class Ensemble:
    """The servers by role. Roles come from here, never from what a peer says of itself (trap D7)."""

    quorums: Quorums
    observers: frozenset[int] = frozenset()

    @classmethod
    def of(cls, voters: frozenset[int], observers: frozenset[int] = frozenset()) -> "Ensemble":
        """An ensemble that decides by majority."""
        return cls(Quorums(voters), observers)

    def __post_init__(self) -> None:
        if self.voters & self.observers:
            raise ValueError(f"servers {sorted(self.voters & self.observers)} are both voters and observers")

    @property
    def voters(self) -> frozenset[int]:
        return self.quorums.voters

    @property
    def servers(self) -> frozenset[int]:
        return self.voters | self.observers

    def may_lead(self, server: int) -> bool:
        return server in self.voters and self.quorums.weight(server) > 0


@dataclass(frozen=True)
class Timing:
    """All limits in milliseconds on a monotonic clock. Time serves liveness only: any value here is safe."""

    tick_ms: int = 2000
    init_limit: int = 10
    sync_limit: int = 5
    #: How long a looking server with a quorum of equal votes waits for a better one: when all it can reach agree…
    finalize_ms: int = 20
    #: …and when somebody it can reach has not said so yet (ZooKeeper's finalizeWait).
    finalize_disagreed_ms: int = 200
    #: Votes are repeated this often; links lose nothing, so this only mends what was said to a stranger.
    repeat_ms: int = 500
    #: An election that has not settled after this time starts a new round (plus a random part of the same length).
    round_ms: int = 2000
    #: From being elected to a promised epoch: two small messages and one sync on each side.
    discovery_ms: int = field(default=-1)

    def __post_init__(self) -> None:
        if self.discovery_ms < 0:
            object.__setattr__(self, "discovery_ms", min(self.init_timeout_ms, max(self.tick_ms, 1000)))

    @property
    def ping_ms(self) -> int:
        return max(1, self.tick_ms // 2)

    @property
    def init_timeout_ms(self) -> int:
        """Without progress for this long, a synchronisation is given up."""
        return self.init_limit * self.tick_ms

    @property
    def sync_timeout_ms(self) -> int:
        """Unheard of for this long, a leader or a learner is given up."""
        return self.sync_limit * self.tick_ms
