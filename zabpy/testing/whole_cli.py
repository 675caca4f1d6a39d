"""What ``zabpy simulate --whole`` runs: seeds of whole servers and clients.

A case of theirs, which ``--replay`` reads back, looks like this:

    # whole: I19 AckedWrites: client1, session 0x1, setData 5 at 1.9 was answered; committed is None
    seed 17
    voters 3
    120 power-cut 2 1 60
"""

import gc
import logging
from collections.abc import Callable, Iterable

from .cases import Cases
from .seeds import Outcome, Rules, outcome
from .whole import WholeResult, WholeSettings, WholeSimulation
from .whole_faults import WORDS, draw

SHRINKS_MAX = 60
#: Vacuous: faults so long that hardly anybody was served.
RULES = Rules("whole", ("leaders", "syncs by diff", "syncs by trunc", "syncs by image", "images installed", "snapshots",
               "writes acked during faults", "reads confirmed", "watches fired", "F2 power cut at a disk operation",
               "F3 power-cut-all", "F4 unsynced changes at a power cut", "F6 disk refused", "F7 stall-disk",
               "F8 full disk", "F12 split", "F13 cut", "F14 ring", "F16 broken at a byte", "F16 half-close", "F17 clog",
               "F19 message of a former link", "F20 jump-clock", "F21 pause", "F21 pause-client", "F22 slow-link",
               "F23 glutton", "F29 change of observers"), vacuous_share_max=0.3)  # fmt: skip
WHOLE_CASES: Cases[WholeSettings, WholeResult] = Cases(WholeSettings, WORDS, WholeSimulation, mark="# whole: ")


def run_seed(seed: int) -> WholeResult:
    return WHOLE_CASES.run(*draw(seed))


def work(seed: int) -> Outcome:
    """One seed, and its case if it fails."""
    logging.disable()  # clients tell of every connection that breaks
    try:
        return outcome(seed, lambda: draw(seed), WHOLE_CASES, shrinks_max=SHRINKS_MAX)
    finally:
        gc.collect()


def check_repeats(seeds: Iterable[int], run: Callable[[int], WholeResult] = run_seed) -> str:
    """One line a seed: what must be the same in every process."""
    lines = []
    for seed in seeds:
        result = run(seed)
        lines.append(f"{seed} {result.trace:#x} {result.events} {result.simulated_ms} {result.violation}")
    return "\n".join(lines)
