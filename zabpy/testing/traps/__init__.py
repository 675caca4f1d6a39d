"""Known ways to get ZAB wrong, each as a switch for tests: the check of the checks.

A trap is a context manager that replaces one function of `zabpy.zab` or `zabpy.storage`, or of the simulated driver
where the trap lives there, by one that makes the old mistake. Production code knows nothing of it. ``caught_by`` are
the invariants that may name it; a suite that runs with a trap and finds nothing is itself broken. mutants_cli.py runs
them all and prints what it takes to find each.

A file a theme; trap.py says what a trap is. Never use one outside tests.
"""

from . import acked_early, commits, elections, epochs, histories, reads_and_snapshots, states, store
from .trap import TRAPS as TRAPS, Trap as Trap

__all__ = [
    "acked_early", "commits", "elections", "epochs", "histories", "reads_and_snapshots", "states", "store", "TRAPS",
    "Trap",
]  # fmt: skip
