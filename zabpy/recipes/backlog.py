"""Which entries of a queue wait and which are taken, as far as events have told. Without I/O.

Names of entries end in ten digits that servers count up, and that become negative after 2^31 puts; so order among
equals is the order in which we heard of them, and for those that were there before us, the order of the digits where
one that is more than 2^31 behind another counts as after it.
"""

import heapq
import re
from collections.abc import Iterable
from random import Random

#: ``entry-100-0000000042``: rank, then the server's number.
_NAME = re.compile(r"entry-(\d{3,19})-(\d{10}|-\d{9,10})")


def rank_of(name: str) -> int | None:
    """Priority, or due time; None for the name of something that is no entry."""
    found = _NAME.fullmatch(name)
    return int(found[1]) if found else None


class Backlog:
    """By rank, then in the order of arrival. Changes and picks cost O(log n)."""

    def __init__(self) -> None:
        self._places: dict[str, tuple[int, int]] = {}  # of all entries, taken or not
        self._taken: set[str] = set()
        self._reserved: set[str] = set()  # somebody of this client is about to take it
        self._heap: list[tuple[int, int, str]] = []  # of all that are free, and perhaps some that are not any more
        self._heaped: set[str] = set()
        self._arrivals = 0

    def __len__(self) -> int:
        """All entries, taken or not."""
        return len(self._places)

    @property
    def taken(self) -> int:
        return len(self._taken & self._places.keys())

    def is_free(self, name: str) -> bool:
        return name in self._places and name not in self._taken and name not in self._reserved

    def reset(self, names: Iterable[str], taken: Iterable[str]) -> None:
        """These were listed, after a time that nothing is known of."""
        listed = {name for name in names if rank_of(name) is not None}
        for name in self._places.keys() - listed:
            del self._places[name]
        for name in in_order(listed - self._places.keys()):
            self.add(name)
        self._taken = set(taken)
        for name in self._places:
            self._offer(name)

    def add(self, name: str) -> None:
        rank = rank_of(name)
        if rank is not None and name not in self._places:
            self._places[name] = rank, self._arrivals
            self._arrivals += 1
            self._offer(name)

    def remove(self, name: str) -> None:
        self._places.pop(name, None)

    def take(self, name: str) -> None:
        self._taken.add(name)

    def untake(self, name: str) -> None:
        self._taken.discard(name)
        self._offer(name)

    def reserve(self, name: str) -> None:
        self._reserved.add(name)

    def unreserve(self, name: str) -> None:
        self._reserved.discard(name)
        self._offer(name)

    def pick(self, rng: Random, spread: int, rank_max: int | None = None) -> str | None:
        """One of the first ``spread`` free ones of the best rank, by chance; None if none is up to ``rank_max``."""
        found: list[tuple[int, int, str]] = []
        while self._heap and len(found) < spread:
            rank, _, name = self._heap[0]
            if (found and rank != found[0][0]) or (rank_max is not None and rank > rank_max):
                break
            place = heapq.heappop(self._heap)
            if self.is_free(name) and self._places[name] == place[:2]:
                found.append(place)
            else:
                self._heaped.discard(name)
                self._offer(name)
        for place in found:
            heapq.heappush(self._heap, place)
        return rng.choice(found)[2] if found else None

    @property
    def rank_min(self) -> int | None:
        """The best rank of those that are free."""
        name = self.pick(_FIRST, 1)
        return None if name is None else self._places[name][0]

    def _offer(self, name: str) -> None:
        if name not in self._heaped and self.is_free(name):
            self._heaped.add(name)
            heapq.heappush(self._heap, (*self._places[name], name))


_FIRST = Random(0)


def in_order(names: Iterable[str]) -> list[str]:
    """By the servers' number, see the head of this file."""
    numbers = {name: int(found[2]) for name in names if (found := _NAME.fullmatch(name))}
    wrapped = bool(numbers) and max(numbers.values()) - min(numbers.values()) >= 1 << 31
    return sorted(numbers, key=lambda name: numbers[name] + (1 << 32 if wrapped and numbers[name] < 0 else 0))
