"""Trap: one known mistake, and the switch that makes it."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

from ..facts import ViolationError

#: A seed → what it broke, if anything.
Run = Callable[[int], ViolationError | None]


@dataclass(frozen=True)
class Trap:
    """``mistake`` in a sentence; ``caught_by``: ids of the invariants that name it; ``on``: what is run."""

    mistake: str
    set: Callable[[], AbstractContextManager[None]]
    caught_by: frozenset[str]
    on: str = "ensemble"


TRAPS: dict[str, Trap] = {}


def trap(name: str, *caught_by: str, on: str = "ensemble") -> Callable[[Callable[[], Iterator[None]]], None]:
    """Register a context manager as the trap of this name. ``on``: "ensemble", a seed of `zabpy simulate`; "store", a
    seed of store_runs.py."""

    def register(make: Callable[[], Iterator[None]]) -> None:
        assert make.__doc__ and name not in TRAPS
        TRAPS[name] = Trap(" ".join(make.__doc__.split()), contextmanager(make), frozenset(caught_by), on)

    return register
