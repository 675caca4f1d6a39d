"""Which instance of a service a client takes, and which it leaves alone for a while because it did not answer."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final, Protocol

from .arguments import bad
from .instance import ServiceInstance


class Strategy(Protocol):
    """Chooses one of ``instances``, of which there is at least one and which are in the order of their ids.

    ``in_use``: how often each id is in use now through the same view; an id that is not in use is not there.
    """

    def __call__(self, instances: Sequence[ServiceInstance], in_use: Mapping[str, int]) -> ServiceInstance: ...


class RoundRobin:
    """Each in its turn; who comes or goes does not change the turns of the others."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._last: str | None = None

    def __call__(self, instances: Sequence[ServiceInstance], in_use: Mapping[str, int]) -> ServiceInstance:
        # Where it begins is chance: else all clients would begin with the same one.
        last = self._last
        if last is None:
            chosen = self._rng.choice(instances)
        else:
            chosen = next((each for each in instances if each.id > last), instances[0])
        self._last = chosen.id
        return chosen


class AtRandom:
    def __init__(self, rng: Random) -> None:
        self._rng = rng

    def __call__(self, instances: Sequence[ServiceInstance], in_use: Mapping[str, int]) -> ServiceInstance:
        return self._rng.choice(instances)


class Sticky:
    """The same one for as long as it is there and not marked as failed."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._last = ""

    def __call__(self, instances: Sequence[ServiceInstance], in_use: Mapping[str, int]) -> ServiceInstance:
        chosen = next((each for each in instances if each.id == self._last), None) or self._rng.choice(instances)
        self._last = chosen.id
        return chosen


class LeastUsed:
    """One that is least in use through this view; among several of those, each in its turn."""

    def __init__(self, rng: Random) -> None:
        self._turns = RoundRobin(rng)

    def __call__(self, instances: Sequence[ServiceInstance], in_use: Mapping[str, int]) -> ServiceInstance:
        least = min(in_use.get(each.id, 0) for each in instances)
        return self._turns([each for each in instances if in_use.get(each.id, 0) == least], in_use)


STRATEGIES: Final[dict[str, Callable[[Random], Strategy]]] = {
    "round_robin": RoundRobin,
    "random": AtRandom,
    "sticky": Sticky,
    "least_used": LeastUsed,
}


@dataclass(frozen=True, slots=True)
class DownPolicy:
    """After ``failures`` failures within ``within_ms`` an instance is not chosen for ``down_ms``; if it then fails
    again before it was marked as working, for twice as long, and so on up to ``down_ms_max``."""

    failures: int = 2
    within_ms: int = 30_000
    down_ms: int = 5_000
    down_ms_max: int = 120_000

    def __post_init__(self) -> None:
        if self.failures < 1 or self.within_ms < 0 or not 0 <= self.down_ms <= self.down_ms_max:
            raise bad(f"no policy: {self}", "DownPolicy")


class Health:
    """What went wrong with one instance lately. Times are ms of any clock that only goes forward."""

    def __init__(self, policy: DownPolicy) -> None:
        self._policy = policy
        self.worked()

    def worked(self) -> None:
        """It answered: all is forgotten."""
        self._failed_ms: list[int] = []
        self._next_ms = self._policy.down_ms
        self._relapse = False
        self.down_until_ms: int | None = None

    def failed(self, now_ms: int) -> None:
        policy = self._policy
        if self.is_down(now_ms):
            return  # from those who were still at it: an outage counts once
        self._failed_ms = [at for at in self._failed_ms if now_ms - at <= policy.within_ms] + [now_ms]
        if self._relapse or len(self._failed_ms) >= policy.failures:
            self.down_until_ms = now_ms + self._next_ms
            self._next_ms = min(2 * self._next_ms, policy.down_ms_max)
            self._failed_ms.clear()
            self._relapse = True

    def is_down(self, now_ms: int) -> bool:
        return self.down_until_ms is not None and now_ms < self.down_until_ms
