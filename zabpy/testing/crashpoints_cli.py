"""``zabpy crashpoints``: the life of crashpoints.py, cut at every point, on several processes; and a report.

Every failure is named with the command that shows it again.
"""

import argparse
import contextlib
import sys
import time
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from .crash_life import MODELS, Image, Point
from .crashpoints import VICTIMS, Cutter, Tally, replay
from .seeds import in_processes

#: Without these the life proves nothing.
MUST_HAPPEN = ("syncs by diff", "syncs by trunc", "syncs by image", "images installed", "segments cut off",
               "tails from disk", "snapshots",
               "changes of observers delivered", "writes acked during faults")  # fmt: skip
OPERATIONS_MUST_HAPPEN = ("create", "write", "allocate", "truncate", "rename", "unlink", "sync", "sync_dir")
ACKED_MIN = 150
FAILURES_SHOWN = 20


class Share(NamedTuple):
    """Every ``every``-th operation, and of those the ``number``-th of ``of`` parts."""

    number: int
    of: int
    every: int
    draws: int
    victims: tuple[str, ...]
    models: tuple[str, ...]
    trap: str | None
    failures_max: int = 1 << 30
    ensembles: bool = True
    first: int = 1


def _trapped(name: str | None) -> contextlib.AbstractContextManager[None]:
    if name is None:
        return contextlib.nullcontext()
    from .store_traps import CRASH_TRAPS

    return CRASH_TRAPS[name].set()


def work(share: Share) -> Tally:
    """One process's part."""

    def wanted(point: Point) -> bool:
        # Neighbours stay together: what is before an operation is often the same as after the one before it.
        if point.operation < share.first:
            return False
        return point.operation % share.every == 0 and point.operation // share.every // 16 % share.of == share.number

    with _trapped(share.trap):
        return Cutter(
            wanted=wanted,
            victims=share.victims,
            models=share.models,
            draws=tuple(range(share.draws)),
            failures_max=share.failures_max,
            ensembles=share.ensembles,
        ).run()


def crashpoints(
    *,
    every: int = 1,
    draws: int = 2,
    jobs: int = 1,
    victims: tuple[str, ...] = VICTIMS,
    models: tuple[str, ...] = tuple(MODELS),
) -> int:
    """Cut at every ``every``-th operation, print the report, and return the number of failures, a vacuous life too."""
    began = time.monotonic()
    shares = [Share(number, jobs, every, draws, victims, models, None) for number in range(jobs)]
    tallies = list(in_processes(work, shares, jobs, ordered=True))
    failures = [failure for tally in tallies for failure in tally.failures]
    failures.sort(key=lambda failure: (failure.image.point.operation, failure.image.point.when == "after"))
    images: Counter[tuple[str, str]] = Counter()
    for tally in tallies:
        images.update(tally.images)
    life = tallies[0]
    kinds = ", ".join(f"{number} {kind}" for kind, number in sorted(life.kinds.items()))
    print(f"{life.operations} operations on disks: {kinds}")
    print(
        f"{life.acked} writes acknowledged; " + ", ".join(f"{life.counts.get(what, 0)} {what}" for what in MUST_HAPPEN)
    )
    print(f"{'':>10}" + "".join(f"{model:>11}" for model in models))
    for name in victims:
        print(f"{name:>10}" + "".join(f"{images[name, model]:>11}" for model in models))
    print(
        f"{sum(tally.points for tally in tallies)} points, {images.total()} images, "
        f"{sum(tally.ensembles for tally in tallies)} different ensembles that went on, "
        f"{len(failures)} failures, {time.monotonic() - began:.0f} s"
    )
    for failure in failures[:FAILURES_SHOWN]:
        print(f"{failure.operation}, {failure.image.point}: {failure.text}\n  {failure.image.command}")
    vacuous = [what for what in MUST_HAPPEN if not life.counts.get(what)]
    vacuous += [kind for kind in OPERATIONS_MUST_HAPPEN if not life.kinds[kind]]
    if life.acked < ACKED_MIN:
        vacuous.append(f"{ACKED_MIN} acknowledged writes")
    for what in vacuous:
        print(f"vacuous: no {what}")
    return len(failures) + len(vacuous)


class Caught(NamedTuple):
    """What became of a trap: which invariant named it, at which image, and how many images it took."""

    trap: str
    id: str
    expected: bool
    text: str
    images: int


#: The operation at which to begin to cut, for mistakes that cannot show before.
LATE = {
    "one-slot": 560,
    "snapshot-unsynced": 480,
    "snapshot-name-unsynced": 480,
    "log-purged-too-far": 500,
    "purge-unordered": 1000,
    "meta-before-image": 1700,
    "old-log-gone-first": 1700,
    "cut-before-watermark": 1880,
    "cut-unsynced": 1880,
}


def spring(name: str, every: int = 1) -> Caught:
    """Tell the life with this trap, cut until something is found."""
    from .store_traps import CRASH_TRAPS

    images = 0
    try:
        tally = work(Share(0, 1, every, 2, ("one",), tuple(MODELS), name, 1, False, LATE.get(name, 1)))
    except Exception as error:  # the life alone brought it out
        text = str(error)
    else:
        images = tally.images.total()
        text = f"{tally.failures[0].text} ({tally.failures[0].image.command})" if tally.failures else ""
    id = text.split(" ")[0]
    return Caught(name, id, id in CRASH_TRAPS[name].caught_by, text, images)


def _spring(given: tuple[str, int]) -> Caught:
    return spring(*given)


def traps(names: Sequence[str], every: int, jobs: int) -> int:
    """One trap after the other; prints a table, and returns how many were not caught by an invariant of theirs."""
    arguments = [(name, every) for name in names]
    missed = 0
    for caught in in_processes(_spring, arguments, jobs, ordered=True):
        verdict = "caught" if caught.expected else "MISSED" if not caught.text else "MISNAMED"
        missed += not caught.expected
        print(
            f"{caught.trap:24} {verdict:8} by {caught.id or '-':4} {caught.images:6} images  {caught.text[:150]}",
            flush=True,
        )
    print(f"{len(names)} traps, {missed} not caught")
    return missed


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; its status is 1 when anything failed."""
    parser = argparse.ArgumentParser(
        prog="zabpy crashpoints", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--every", type=int, default=1, help="cut at every so manieth operation only")
    parser.add_argument("--draws", type=int, default=2, help="images of each point, victims and model")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--victims", action="append", choices=VICTIMS, help="only these")
    parser.add_argument("--model", action="append", choices=tuple(MODELS), help="only this model of what a cut leaves")
    parser.add_argument("--point", help="before:NUMBER or after:NUMBER: this point alone, and print all that happens")
    parser.add_argument("--draw", type=int, default=0, help="with --point: which of its images")
    parser.add_argument("--traps", nargs="*", help="restore known mistakes, these or all, and see that each is found")
    parser.add_argument("--trap", help="with --point: with this mistake")
    given = parser.parse_args(arguments)
    if given.traps is not None:
        from .store_traps import CRASH_TRAPS

        return 1 if traps(given.traps or list(CRASH_TRAPS), given.every, given.jobs) else 0
    victims, models = tuple(given.victims or VICTIMS), tuple(given.model or MODELS)
    if given.point is not None:
        when, _, number = given.point.partition(":")
        if when not in ("before", "after") or not number.isdigit() or len(victims) != 1 or len(models) != 1:
            parser.error("--point wants before:NUMBER or after:NUMBER, one --victims and one --model")
        with _trapped(given.trap):
            failed, lines = replay(Image(Point(int(number), when), victims[0], models[0], given.draw))
        print("\n".join(lines))
        print(failed or "nothing is wrong")
        return 1 if failed else 0
    failed_count = crashpoints(every=given.every, draws=given.draws, jobs=given.jobs, victims=victims, models=models)
    return 1 if failed_count else 0


if __name__ == "__main__":
    sys.exit(main())
