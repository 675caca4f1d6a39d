"""Many seeds of a simulation on several processes, and the report of what was done to them and what broke.

A seed that fails is shrunk and printed as a case. One that ends in an error of the simulation itself is a failed seed,
too, with the traceback in its case: the others go on.
"""

import multiprocessing
import subprocess
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from .cases import Cases, R, S
from .run import Line

Given = TypeVar("Given")
Done = TypeVar("Done")

#: Fewer seeds than this may happen to meet no image or truncation; more must.
VACUOUS_BELOW = 100


def in_processes(
    work: Callable[[Given], Done], given: Sequence[Given], jobs: int, *, chunk: int = 1, ordered: bool = False
) -> Iterator[Done]:
    """What ``work`` makes of each, as it is done or in order. One job is done in this process."""
    if jobs == 1:
        yield from map(work, given)
        return
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        yield from (pool.imap if ordered else pool.imap_unordered)(work, given, chunksize=chunk)


def broken(error: BaseException) -> str:
    """In a line, how the harness itself failed. Raises again what somebody ends it with."""
    ends = (KeyboardInterrupt, SystemExit)
    if isinstance(error, ends) or (isinstance(error, BaseExceptionGroup) and error.subgroup(ends)):
        raise error
    return f"the harness itself broke: {error!r}".replace("\n", " ")


class Outcome(NamedTuple):
    """What one seed sends back from its process."""

    seed: int
    events: int = 0
    simulated_ms: int = 0
    cpu_s: float = 0.0
    trace: int = 0
    counts: dict[str, int] = {}
    vacuous: bool = False
    failure: str | None = None
    case: str = ""


def outcome(
    seed: int, draw: Callable[[], tuple[S, tuple[Line, ...]]], cases: Cases[S, R], *, shrinks_max: int
) -> Outcome:
    """Run what was drawn; if it fails, shrink it in so many runs."""
    drawn: tuple[S, tuple[Line, ...]] | None = None
    small: Any = None
    try:
        drawn = draw()
        result = cases.run(*drawn)
        if result.violation is not None:
            small = result
            small = cases.shrink(result, shrinks_max)
    except BaseException as error:  # PowerLost is one, and where it comes through, too, a seed has failed
        why = broken(error)
        case = cases.to_text(*drawn, why) if drawn is not None else ""
        if small is not None:
            why = f"{small.violation}; shrinking it: {why}"
        case += "".join(f"# {line}\n" for line in traceback.format_exc().splitlines())
        return Outcome(seed, failure=why, case=case)
    failure, case = None, ""
    if small is not None:
        failure, case = str(result.violation), cases.to_text(small.settings, small.script, str(small.violation))
    return Outcome(
        seed,
        result.events,
        result.simulated_ms,
        result.cpu_s,
        result.trace,
        result.counts,
        result.is_vacuous,
        failure,
        case,
    )


@dataclass(frozen=True)
class Rules:
    """What a report holds seeds to, besides that none fails."""

    #: What cases of failed seeds are called.
    name: str
    #: Without these the seeds proved nothing.
    must_happen: tuple[str, ...]
    #: Of so many seeds one more may be vacuous.
    vacuous_share_max: float = 1.0


def report(outcomes: Iterable[Outcome], rules: Rules, *, seconds: int = 0, keep: Path | None = None) -> int:
    """Print failures as they come, then the report; return the number of failures, a vacuous suite being one.

    Args:
        seconds: take no further seed after so many; 0: no limit.
        keep: the folder that the cases of failed seeds are written to.
    """
    begun, commit = time.monotonic(), _commit()
    counts: Counter[str] = Counter()
    touched: Counter[str] = Counter()
    done = events = simulated_ms = vacuous = 0
    cpu_s = slowest = 0.0
    failures: list[Outcome] = []
    for one in outcomes:
        done += 1
        events += one.events
        simulated_ms += one.simulated_ms
        cpu_s += one.cpu_s
        slowest = max(slowest, one.cpu_s)
        vacuous += one.vacuous and one.failure is None
        counts.update(one.counts)
        touched.update(one.counts.keys())
        if one.failure is not None:
            failures.append(one)
            print(f"seed {one.seed} at {commit}, event {one.events}: {one.failure}\n{one.case}", flush=True)
            if keep is not None:
                keep.mkdir(parents=True, exist_ok=True)
                (keep / f"{rules.name}-{one.seed}.txt").write_text(one.case)
        if seconds and time.monotonic() - begun > seconds:
            break
    hours = max(simulated_ms / 3_600_000, 1e-9)
    faults = sum(number for what, number in counts.items() if what.startswith("F"))
    print(
        f"{done} seeds at {commit} in {time.monotonic() - begun:.0f} s ({cpu_s / max(done, 1):.2f} s of processor a"
        f" seed, slowest {slowest:.1f} s), {vacuous} of them vacuous\n"
        f"{simulated_ms / 1000:.0f} simulated seconds, {simulated_ms / 1000 / max(cpu_s, 1e-3):.1f} times real time a"
        f" core; {events} events, {events / max(cpu_s, 1e-3):.0f} a second and core\n"
        f"{faults} faults, {faults / hours:.0f} an hour of simulated time; {counts['leaders']} leaders,"
        f" {counts['writes acked during faults']} of {counts['writes acked']} writes acked during faults"
    )
    for what in sorted(counts):
        if what != "converged after ms":
            rate = f"{counts[what] / hours:>10.0f} an hour" if what.startswith("F") else " " * 18
            print(f"  {what:40} {counts[what]:>10} {rate}  in {100 * touched[what] / max(done, 1):5.1f} % of seeds")
    missing = [what for what in rules.must_happen if not counts[what]] if done >= VACUOUS_BELOW else []
    for what in missing:
        print(f"vacuous: no {what} in {done} seeds")
    if vacuous > rules.vacuous_share_max * max(done, 4):
        missing.append("load")
        print(f"vacuous: {vacuous} of {done} seeds had next to no load during their faults")
    print(f"{len(failures)} failures" + "".join(f"\n  seed {one.seed}: {one.failure}" for one in failures))
    return len(failures) + len(missing)


def _commit() -> str:
    """The commit that this runs on, as far as it can be told."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=10"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "an unknown commit"
