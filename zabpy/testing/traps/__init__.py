"""Known ways to get ZAB wrong, each as a switch for tests: the check of the checks.

A trap is a context manager that replaces one function of `zabpy.zab` or `zabpy.storage`, or of the simulated driver
where the trap lives there, by one that makes the old mistake. Production code knows nothing of it. ``caught_by`` are
the invariants that may name it; a suite that runs with a trap and finds nothing is itself broken. mutants_cli.py runs
them all and prints what it takes to find each.

A file a theme; trap.py says what a trap is. Never use one outside tests.

May import: zabpy.model, zabpy.zab, zabpy.storage, with their inner files, which it replaces functions of.
Imported by: zabpy.testing and tests.

Names are those of the project's list of what has gone wrong in ZooKeeper, with a word where one mistake has several
forms, or a word alone for what broke a rule of the paper. Of that list are not here:

* D3 (a voter that changes its mind costs the winner its whole time): it costs time only, and no bound is that tight.
* D5 (addresses, name resolution, one unreachable peer that blocks all): the core knows neither; tests/server.
* E1 (one stalled socket stops everybody), E3 to E6 (threads, locks, queues): the core is one function without any of
  them; tests/server/test_stalls.py.
* E9, E10, F2, F3 (size of what is put in order, sequence numbers, sessions): the pipeline's; tests/pipeline.
* H2 (liveness by the old configuration only): voters do not change here.
"""

from . import (
    acked_early as acked_early,
    commits as commits,
    elections as elections,
    epochs as epochs,
    histories as histories,
    reads_and_snapshots as reads_and_snapshots,
    states as states,
    store as store,
)
from .trap import TRAPS as TRAPS, Trap as Trap
