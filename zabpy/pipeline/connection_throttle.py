"""How many handshakes a server takes in a time: a bucket of tokens, and chance while it stays empty.

ZooKeeper's BlueThrottle (its ``connection_throttle_…``). Thousands of clients that come back at once after a restart
would expire waiting for one another; those that are closed without a word try another server, or later.
"""

from collections.abc import Callable
from typing import NamedTuple


class ConnectionRules(NamedTuple):
    """``tokens_max`` 0: everybody comes in. ``freeze_ms`` -1: no chance in it, only tokens count.

    ``drop_increase`` is added to the chance of being turned away whenever the bucket is found empty, at most once in
    ``freeze_ms``; ``drop_decrease`` taken from it when no more than ``decrease_ratio`` of the tokens are used.
    """

    tokens_max: int = 0
    fill_ms: int = 1
    fill_tokens: int = 1
    freeze_ms: int = -1
    drop_increase: float = 0.02
    drop_decrease: float = 0.002
    decrease_ratio: float = 0.0


class ConnectionThrottle:
    """Args:
    chance: gives a number from 0 up to 1.
    """

    def __init__(self, rules: ConnectionRules, now_ms: int, chance: Callable[[], float]) -> None:
        self._rules, self._chance = rules, chance
        self.tokens = rules.tokens_max
        #: The probability with which a handshake is turned away, whatever the bucket holds.
        self.drop = 0.0
        self._filled_ms = self._frozen_ms = now_ms

    def admit(self, weight: int, now_ms: int) -> bool:
        """Whether a handshake that costs so many tokens may go on."""
        rules = self._rules
        if not rules.tokens_max:
            return True
        passed_ms = now_ms - self._filled_ms
        if passed_ms > rules.fill_ms:
            self.tokens = min(self.tokens + passed_ms * rules.fill_tokens // rules.fill_ms, rules.tokens_max)
            self._filled_ms = now_ms
        if rules.freeze_ms != -1 and not self._lucky(now_ms):
            return False
        if self.tokens < weight:
            return False
        self.tokens -= weight
        return True

    def _lucky(self, now_ms: int) -> bool:
        rules = self._rules
        if now_ms - self._frozen_ms > rules.freeze_ms:
            used = rules.tokens_max - self.tokens
            if used == rules.tokens_max and self.drop < 1:
                self.drop = min(self.drop + rules.drop_increase, 1.0)
            elif used <= round(rules.tokens_max * rules.decrease_ratio) and self.drop > 0:
                self.drop = max(self.drop - rules.drop_decrease, 0.0)
            self._frozen_ms = now_ms
        return self._chance() >= self.drop
