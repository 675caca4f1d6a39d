"""``zabpy simulate mutants``: every known mistake of traps/ restored, and what it takes to find it.

A series begins at a seed of its own and goes on until a seed breaks an invariant; its length is the number of seeds
that finding took. The suite fails when a series finds nothing within its bound, when the median of a trap is over
`MEDIAN_MAX`, or when fewer than four of five findings bear the name of an invariant that names the cause.
"""

import argparse
import gc
import sys
import time
import traceback
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

from .cases import CORE_CASES
from .facts import ViolationError
from .seeds import broken, in_processes
from .simulate_cli import Plain, run_seed
from .traps import TRAPS

#: No trap may take more seeds than this in the middle of its series, and no series more than its bound.
MEDIAN_MAX = 200
BOUND = 12_000
#: Series begin so far apart.
APART = 1_000_000
NAMED_SHARE_MIN = 0.8
#: Stands for the invariant that a series found, when what it found is a fault of the trap or the simulation.
HARNESS = "HARNESS"


class Task(NamedTuple):
    """A series to run. ``number``: of the series; ``bound``: in seeds; ``shrink``: what is found, in so many runs."""

    trap: str
    number: int
    bound: int
    shrink: int = 0


class Series(NamedTuple):
    """What one series found. ``seeds``: how many it took; ``id``: of the invariant, "" when the bound came first."""

    trap: str
    number: int
    seeds: int
    id: str
    text: str
    cpu_s: float
    case: str


def run_trap(name: str, seed: int) -> ViolationError | None:
    """What a seed breaks with this trap set, by whatever the trap is found."""
    if TRAPS[name].on == "store":
        from .store_runs import run_store_seed

        return run_store_seed(seed)
    return run_seed(seed).violation


def find(given: Task) -> Series:
    """Seeds of one series until one breaks something."""
    begun = time.process_time()
    gc.disable()
    seed, found = 0, None
    try:
        with TRAPS[given.trap].set():
            for seed in range(given.number * APART + 1, given.number * APART + given.bound + 1):
                found = run_trap(given.trap, seed)
                if found is not None:
                    break
                if seed % 20 == 0:
                    gc.collect()
            if found is not None and found.name in ("NameError", "AttributeError", "TypeError", "ImportError"):
                raise AssertionError(f"the trap {given.trap} is broken itself: {found}")
            case = _case(given, seed) if found is not None else ""
        id, text = found.id if found else "", str(found)
    except BaseException as error:  # PowerLost is one; where one comes through, this series is over, the others go on
        id, text, case = HARNESS, f"seed {seed}: {broken(error)}\n{traceback.format_exc()}", ""
    finally:
        gc.enable()
    seeds = seed - given.number * APART
    return Series(given.trap, given.number, seeds, id, text, time.process_time() - begun, case)


def _case(given: Task, seed: int) -> str:
    """What this seed found, made small; "" where nobody wants it, or there are no cases of it."""
    trap = TRAPS[given.trap]
    if not given.shrink or trap.on != "ensemble":
        return ""
    small = CORE_CASES.shrink(run_seed(seed), runs_max=given.shrink)
    return CORE_CASES.to_text(small.settings, small.script, f"{given.trap}, {trap.mistake} {small.violation}")


def mutants(
    names: Sequence[str],
    *,
    series: int,
    first: int = 0,
    bound: int = BOUND,
    jobs: int = 1,
    keep: Path | None = None,
    shrink: int = 100,
) -> int:
    """Run the series, print the table, and return how many traps failed."""
    begun = time.monotonic()
    found: dict[str, list[Series]] = {name: [] for name in names}
    shrink = shrink if keep is not None else 0
    given = [Task(name, first + number, bound, 0 if number else shrink) for name in names for number in range(series)]
    failed: list[str] = []
    print(f"{'trap':18} {'found by':30} {'median':>6} {'most':>6}   the mistake")
    for one in in_processes(find, given, jobs, ordered=True):
        found[one.trap].append(one)
        if keep is not None and one.case:
            keep.mkdir(parents=True, exist_ok=True)
            (keep / f"{one.trap}.txt").write_text(one.case)
        if len(found[one.trap]) == series:
            why = _row(one.trap, found[one.trap])
            if why:
                failed.append(f"{one.trap}: {why}")
    everything = [one for each in found.values() for one in each]
    named = sum(one.id in TRAPS[one.trap].caught_by for one in everything)
    share = named / max(1, len(everything))
    print(
        f"{len(names)} traps, {len(everything)} series, {sum(one.seeds for one in everything)} seeds in "
        f"{time.monotonic() - begun:.0f} s ({sum(one.cpu_s for one in everything):.0f} s of processor); "
        f"{100 * share:.0f} % found by an invariant that names the cause; "
        f"median of the medians {median(median(one.seeds for one in each) for each in found.values()):g}"
    )
    if share < NAMED_SHARE_MIN:
        failed.append(f"only {100 * share:.0f} % of the findings name the cause")
    print(f"{len(failed)} failures" + "".join(f"\n  {each}" for each in failed))
    return len(failed)


def _row(name: str, found: list[Series]) -> str:
    """Print it; why it fails, "" if it does not."""
    trap = TRAPS[name]
    by = Counter(one.id or "nothing" for one in found)
    ids = ", ".join(
        f"{'' if id in trap.caught_by or id == 'nothing' else '?'}{id}" + (f" ×{times}" if len(by) > 1 else "")
        for id, times in by.most_common()
    )
    middle, most = median(one.seeds for one in found), max(one.seeds for one in found)
    print(f"{name:18} {ids:30} {middle:6g} {most:6}   {trap.mistake}", flush=True)
    for one in found:
        if one.id == HARNESS:
            print(one.text)
    if by[HARNESS]:
        return next(one.text.splitlines()[0] for one in found if one.id == HARNESS)
    if by["nothing"]:
        return f"not found within {most} seeds by {by['nothing']} of {len(found)} series"
    return f"the median is {middle:g} seeds" if middle > MEDIAN_MAX else ""


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; its status is 1 when a trap is not found as it must be."""
    parser = argparse.ArgumentParser(prog="zabpy simulate mutants", description=__doc__, formatter_class=Plain)
    parser.add_argument("traps", nargs="*", help="which; else all")
    parser.add_argument("--series", type=int, default=5, help="how many for each")
    parser.add_argument("--first", type=int, default=0, help="number of the first series")
    parser.add_argument("--bound", type=int, default=BOUND, help="seeds after which a series gives up")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--keep", type=Path, default=None, help="write what the first series finds, shrunk, here")
    parser.add_argument("--shrink", type=int, default=100, help="in that many runs at most")
    given = parser.parse_args(arguments)
    unknown = [name for name in given.traps if name not in TRAPS]
    if unknown:
        parser.error(f"no such trap: {', '.join(unknown)}")
    failed = mutants(
        given.traps or list(TRAPS),
        series=given.series,
        first=given.first,
        bound=given.bound,
        jobs=given.jobs,
        keep=given.keep,
        shrink=given.shrink,
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
