"""``zabpy simulate``: many seeds on several processes, and a report of what was done to them and what broke.

A seed that fails is shrunk, and printed as a case that `zabpy.testing.cases` reads back. ``zabpy simulate mutants`` is
mutants_cli.py.
"""

import argparse
import gc
import multiprocessing
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

from . import cases
from .faults import draw
from .run import Result
from .simulation import Simulation

G = TypeVar("G")
R = TypeVar("R")

#: Of every so many seeds one has no faults, for L2.
CALM_EVERY = 20
#: Fewer seeds than this may happen to meet no image or truncation; more must.
VACUOUS_BELOW = 100


class Outcome(NamedTuple):
    """What one seed sends back from its process."""

    seed: int
    events: int
    simulated_ms: int
    cpu_s: float
    trace: int
    counts: dict[str, int]
    failure: str | None
    case: str


Given = tuple[int, int | None, int | None]
"""A seed, how many voters, how many observers."""


def run_seed(seed: int, servers: int | None = None, observers: int | None = None) -> Result:
    """One seed, whole."""
    settings, script = draw(seed, servers=servers, watching=observers, calm=seed % CALM_EVERY == 0)
    return Simulation(settings, script).run()


def _work(given: Given) -> Outcome:
    gc.disable()
    result = run_seed(*given)
    failure, case = None, ""
    if result.violation is not None:
        failure = str(result.violation)
        small = cases.shrink(result)
        case = cases.to_text(small.settings, small.script, str(small.violation))
    gc.enable()
    gc.collect()
    return Outcome(
        given[0], result.events, result.simulated_ms, result.cpu_s, result.trace, result.counts, failure, case
    )


def _in_processes(work: Callable[[G], R], given: Sequence[G], jobs: int, chunk: int) -> Iterator[R]:
    if jobs == 1:
        yield from map(work, given)
        return
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        yield from pool.imap_unordered(work, given, chunksize=chunk)


def simulate(
    *,
    seeds: int,
    first: int = 1,
    servers: int | None = None,
    observers: int | None = None,
    jobs: int = 1,
    seconds: int = 0,
    keep: Path | None = None,
) -> int:
    """Run the seeds, print the report, and return the number of failures, a vacuous suite being one.

    Args:
        seconds: begin no new seed after so many; 0: no limit.
        keep: the folder that the cases of failed seeds are written to.
    """
    begun = time.monotonic()
    counts: Counter[str] = Counter()
    touched: Counter[str] = Counter()
    done = events = simulated_ms = 0
    cpu_s = slowest = 0.0
    failures: list[Outcome] = []
    for outcome in _in_processes(_work, [(seed, servers, observers) for seed in range(first, first + seeds)], jobs, 4):
        done += 1
        events += outcome.events
        simulated_ms += outcome.simulated_ms
        cpu_s += outcome.cpu_s
        slowest = max(slowest, outcome.cpu_s)
        counts.update(outcome.counts)
        touched.update(outcome.counts.keys())
        if outcome.failure is not None:
            failures.append(outcome)
            print(f"seed {outcome.seed}, event {outcome.events}: {outcome.failure}\n{outcome.case}", flush=True)
            if keep is not None:
                keep.mkdir(parents=True, exist_ok=True)
                (keep / f"seed-{outcome.seed}.txt").write_text(outcome.case)
        if seconds and time.monotonic() - begun > seconds:
            break
    wall_s = time.monotonic() - begun
    _report(done, events, simulated_ms, cpu_s, slowest, wall_s, counts, touched)
    vacuous = [what for what in MUST_HAPPEN if not counts[what]] if done >= VACUOUS_BELOW else []
    for what in vacuous:
        print(f"vacuous: no {what} in {done} seeds")
    print(f"{len(failures)} failures" + "".join(f"\n  seed {f.seed}: {f.failure}" for f in failures))
    return len(failures) + len(vacuous)


#: Without these the seeds proved nothing.
MUST_HAPPEN = ("leaders", "syncs by diff", "syncs by trunc", "syncs by image", "images installed", "tails from disk",
               "writes acked during faults", "reads confirmed", "snapshots",
               "changes of observers delivered")  # fmt: skip


def _report(
    done: int,
    events: int,
    simulated_ms: int,
    cpu_s: float,
    slowest: float,
    wall_s: float,
    counts: Counter[str],
    touched: Counter[str],
) -> None:
    faults = sum(number for what, number in counts.items() if what.startswith("F"))
    hours = simulated_ms / 3_600_000
    print(
        f"{done} seeds in {wall_s:.0f} s ({cpu_s / max(done, 1):.2f} s of processor a seed, slowest {slowest:.1f} s), "
        f"{events} events, {events / max(cpu_s, 0.001):.0f} a second and core, "
        f"{simulated_ms / 1000 / max(cpu_s, 0.001):.0f} times real time a core"
    )
    print(f"{faults} faults, {faults / max(hours, 1e-9):.0f} an hour of simulated time")
    for what in sorted(counts):
        if what != "converged after ms":
            print(f"  {what:40} {counts[what]:>10}  in {100 * touched[what] / max(done, 1):5.1f} % of seeds")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; its status is 1 when anything failed."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments[:1] == ["mutants"]:
        from .mutants_cli import main as mutants

        return mutants(arguments[1:])
    parser = argparse.ArgumentParser(prog="zabpy simulate", description=__doc__, formatter_class=Plain)
    parser.add_argument("--seeds", type=int, default=150, help="how many")
    parser.add_argument("--first", type=int, default=1, help="the first of them")
    parser.add_argument("--servers", type=int, default=None, help="voters; else each seed has three to five")
    parser.add_argument("--observers", type=int, default=None, help="how many; else each seed has up to two")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--seconds", type=int, default=0, help="begin no new seed after so many")
    parser.add_argument("--keep", type=Path, default=None, help="write the cases of failed seeds to this folder")
    parser.add_argument("--whole", action="store_true", help="whole servers and clients, and not the core alone")
    parser.add_argument("--replay", type=Path, default=None, help="run this case instead, and print all that happens")
    given = parser.parse_args(arguments)
    if given.replay is not None:
        return replay(given.replay)
    if given.whole:
        from . import whole_cli

        seeds = range(given.first, given.first + given.seeds)
        outcomes = _in_processes(whole_cli.work, seeds, given.jobs, 1)
        return 1 if whole_cli.simulate(outcomes, seconds=given.seconds, keep=given.keep) else 0
    failed = simulate(
        seeds=given.seeds,
        first=given.first,
        servers=given.servers,
        observers=given.observers,
        jobs=given.jobs,
        seconds=given.seconds,
        keep=given.keep,
    )
    return 1 if failed else 0


def replay(path: Path) -> int:
    """Run one case with its timeline."""
    text = path.read_text()
    if text.startswith("# whole:"):
        from . import whole_cli

        return whole_cli.replay(text)
    settings, script = cases.from_text(text)
    result = Simulation(settings, script, record=True).run()
    for line in result.lines:
        print(line)
    return 0 if result.violation is None else 1


class Plain(argparse.RawDescriptionHelpFormatter, argparse.ArgumentDefaultsHelpFormatter):
    pass


if __name__ == "__main__":
    sys.exit(main())
