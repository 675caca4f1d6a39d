"""``zabpy simulate --whole``: seeds of whole servers and clients, and a report of what was done to them and what broke.

A seed that fails is shrunk, and printed as a case that ``--replay`` reads back.
"""

import gc
import logging
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from . import whole_cases
from .whole import WholeResult, WholeSimulation
from .whole_faults import draw

#: Of so many seeds one more may be vacuous: faults so long that hardly anybody was served.
VACUOUS_SHARE_MAX = 0.3
#: Fewer seeds than this may happen to meet no image or truncation; more must.
VACUOUS_BELOW = 100
#: Without these the seeds proved nothing.
MUST_HAPPEN = ("leaders", "syncs by diff", "syncs by trunc", "syncs by image", "images installed", "snapshots",
               "writes acked during faults", "reads confirmed", "watches fired", "F2 power cut at a disk operation",
               "F3 power-cut-all", "F4 unsynced changes at a power cut", "F6 disk refused", "F7 stall-disk",
               "F8 full disk", "F12 split", "F13 cut", "F14 ring", "F16 broken at a byte", "F16 half-close", "F17 clog",
               "F19 message of a former link", "F20 jump-clock", "F21 pause", "F21 pause-client", "F22 slow-link",
               "F23 glutton", "F29 change of observers")  # fmt: skip


class Outcome(NamedTuple):
    """What one seed sends back from its process."""

    seed: int
    events: int
    simulated_ms: int
    cpu_s: float
    trace: int
    counts: dict[str, int]
    vacuous: bool
    failure: str | None
    case: str


def run_seed(seed: int) -> WholeResult:
    settings, script = draw(seed)
    return WholeSimulation(settings, script).run()


def work(seed: int) -> Outcome:
    """One seed, and its case if it fails."""
    logging.disable()  # clients tell of every connection that breaks
    result = run_seed(seed)
    failure, case = None, ""
    if result.violation is not None:
        failure = str(result.violation)
        small = whole_cases.shrink(result)
        case = whole_cases.to_text(small.settings, small.script, str(small.violation))
    gc.collect()
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


def simulate(outcomes: Iterable[Outcome], *, seconds: int = 0, keep: Path | None = None) -> int:
    """Print the report of these seeds; return the number of failures, a vacuous suite being one."""
    begun, commit = time.monotonic(), _commit()
    counts: Counter[str] = Counter()
    touched: Counter[str] = Counter()
    done = events = simulated_ms = vacuous = 0
    cpu_s = 0.0
    failures: list[Outcome] = []
    for outcome in outcomes:
        done += 1
        events += outcome.events
        simulated_ms += outcome.simulated_ms
        cpu_s += outcome.cpu_s
        vacuous += outcome.vacuous and outcome.failure is None
        counts.update(outcome.counts)
        touched.update(outcome.counts.keys())
        if outcome.failure is not None:
            failures.append(outcome)
            print(f"seed {outcome.seed} at {commit}: {outcome.failure}\n{outcome.case}", flush=True)
            if keep is not None:
                keep.mkdir(parents=True, exist_ok=True)
                (keep / f"whole-{outcome.seed}.txt").write_text(outcome.case)
        if seconds and time.monotonic() - begun > seconds:
            break
    hours = max(simulated_ms / 3_600_000, 1e-9)
    faults = sum(number for what, number in counts.items() if what.startswith("F"))
    print(
        f"{done} seeds at {commit} in {time.monotonic() - begun:.0f} s"
        f" ({cpu_s / max(done, 1):.2f} s of processor a seed), {vacuous} of them vacuous\n"
        f"{simulated_ms / 1000:.0f} simulated seconds, {simulated_ms / 1000 / max(cpu_s, 1e-9):.1f} times real time a"
        f" core; {events} events, {events / max(cpu_s, 1e-9):.0f} a second and core\n"
        f"{faults} faults, {faults / hours:.0f} an hour of simulated time; {counts['leaders']} leaders,"
        f" {counts['writes acked during faults']} of {counts['writes acked']} writes acked during faults"
    )
    for what in sorted(counts):
        if what != "converged after ms":
            rate = f"{counts[what] / hours:>10.0f} an hour" if what.startswith("F") else " " * 18
            print(f"  {what:40} {counts[what]:>9} {rate}  in {100 * touched[what] / max(done, 1):5.1f} % of seeds")
    missing = [what for what in MUST_HAPPEN if not counts[what]] if done >= VACUOUS_BELOW else []
    for what in missing:
        print(f"vacuous: no {what} in {done} seeds")
    if vacuous > VACUOUS_SHARE_MAX * max(done, 4):
        missing.append("load")
        print(f"vacuous: {vacuous} of {done} seeds had next to no load during their faults")
    print(f"{len(failures)} failures" + "".join(f"\n  seed {f.seed}: {f.failure}" for f in failures))
    return len(failures) + len(missing)


def check_repeats(seeds: Iterable[int], run: Callable[[int], WholeResult] = run_seed) -> str:
    """One line a seed: what must be the same in every process."""
    lines = []
    for seed in seeds:
        result = run(seed)
        lines.append(f"{seed} {result.trace:#x} {result.events} {result.simulated_ms} {result.violation}")
    return "\n".join(lines)


def replay(text: str) -> int:
    """Run one case with its timeline."""
    settings, script = whole_cases.from_text(text)
    result = WholeSimulation(settings, script, record=True).run()
    for line in result.lines:
        print(line)
    return 0 if result.violation is None else 1


def _commit() -> str:
    """The commit that this ran on, as far as it can be told."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=10"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "an unknown commit"
