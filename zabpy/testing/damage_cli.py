"""``zabpy damage``: all images of damage.py, and a table of what came of them.

Every failure is named with the command that shows it again.
"""

import argparse
import contextlib
import sys
import time
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from .damage import GOOD, OUTCOMES, Damage, Judge, Tally, Verdict, directories, try_all
from .seeds import in_processes

FAILURES_SHOWN = 20
#: Kinds of file, and what must have come of some image of each, or the images prove nothing.
MUST_HAPPEN = (("log", "same"), ("log", "healed"), ("log", "refused"), ("snapshot", "same"), ("snapshot", "refused"),
               ("epochs", "same"), ("epochs", "refused"))  # fmt: skip


class Share(NamedTuple):
    """Every ``every``-th image of one directory; ``first`` says which of them."""

    directory: str
    every: int
    first: int
    trap: str | None = None
    failures_max: int = 1 << 30


def work(share: Share) -> Tally:
    """One process's part."""
    directory = directories()[share.directory]()
    trap: contextlib.AbstractContextManager[None] = contextlib.nullcontext()
    if share.trap is not None:
        from .store_traps import DAMAGE_TRAPS

        trap = DAMAGE_TRAPS[share.trap].set()
    with trap:
        return try_all(directory, every=share.every, first=share.first, failures_max=share.failures_max)


def damage(*, names: Sequence[str], every: int = 1, jobs: int = 1) -> int:
    """Try every ``every``-th image of these directories, print the table, and return the number of failures."""
    began = time.monotonic()
    images: Counter[tuple[str, str, str]] = Counter()
    failures: list[tuple[str, Damage, Verdict]] = []
    parts = 1 if jobs == 1 else 4
    shares = [Share(name, every * parts, every * part) for name in names for part in range(parts)]
    for tally in in_processes(work, shares, jobs):
        images.update(tally.images)
        failures += tally.failures
    files = sorted({file for _, file, _ in images})
    kinds = sorted({kind for kind, _, _ in images})
    print(f"{'':>20}" + "".join(f"{outcome:>10}" for outcome in OUTCOMES))
    for kind in kinds:
        for file in files:
            row = [images[kind, file, outcome] for outcome in OUTCOMES]
            print(f"{kind:>8} {file:>11}" + "".join(f"{number:>10}" for number in row))
    totals = {outcome: sum(number for key, number in images.items() if key[2] == outcome) for outcome in OUTCOMES}
    print(f"{'all':>20}" + "".join(f"{totals[outcome]:>10}" for outcome in OUTCOMES))
    print(f"{images.total()} images of {len(names)} directories, {len(failures)} failures, "
          f"{time.monotonic() - began:.0f} s")  # fmt: skip
    for name, what, verdict in failures[:FAILURES_SHOWN]:
        print(f"{name}: {what}: {verdict.outcome}: {verdict.text}")
        print(f"  python -m zabpy.testing.damage_cli --directory '{name}' --image {what}")
    vacuous = []
    if len(names) == len(directories()):
        come = {(file, outcome) for _, file, outcome in images}
        vacuous = [f"{file} {outcome}" for file, outcome in MUST_HAPPEN if (file, outcome) not in come]
    for missing in vacuous:
        print(f"vacuous: no {missing}")
    return len(failures) + len(vacuous)


def spring(name: str, every: int) -> list[str]:
    """The outcomes that this trap leads to, in the first directory where it leads to any that is not good."""
    for directory in directories():
        tally = work(Share(directory, every, 0, name, 1))
        if tally.failures:
            return [verdict.outcome for _, _, verdict in tally.failures]
    return []


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; its status is 1 when anything failed."""
    parser = argparse.ArgumentParser(
        prog="zabpy damage", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--every", type=int, default=1, help="every so manieth flipped bit and length only")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--directory", action="append", choices=tuple(directories()), help="only these")
    parser.add_argument("--image", help="with one --directory: this image alone, as a failure names it")
    parser.add_argument("--traps", action="store_true", help="restore known mistakes and see that each is found")
    given = parser.parse_args(arguments)
    names = given.directory or list(directories())
    if given.image is not None:
        kind, path, *place = given.image.split(":")
        verdict = Judge(directories()[names[0]]()).judge(Damage(kind, path, tuple(map(int, place))))
        print(verdict)
        return 0 if verdict is None or verdict.outcome in GOOD else 1
    if given.traps:
        return 1 if traps(given.every) else 0
    return 1 if damage(names=names, every=given.every, jobs=given.jobs) else 0


def traps(every: int) -> int:
    """One trap after the other; prints a table, and returns how many did not show as they must."""
    from .store_traps import DAMAGE_TRAPS

    missed = 0
    for name, trap in DAMAGE_TRAPS.items():
        outcomes = spring(name, every)
        caught = bool(outcomes) and outcomes[0] in trap.caught_by
        missed += not caught
        print(f"{name:24} {'caught' if caught else 'MISSED':8} {outcomes}", flush=True)
    return missed


if __name__ == "__main__":
    sys.exit(main())
