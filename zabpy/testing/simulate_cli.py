"""``zabpy simulate``: many seeds on several processes, and a report of what was done to them and what broke.

A seed that fails is shrunk, and printed as a case that ``--replay`` reads back. ``zabpy simulate mutants`` is
mutants_cli.py; what is said of whole servers, ``--whole``, stands in whole_cli.py.
"""

import argparse
import gc
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from .cases import CORE_CASES
from .drawing import draw
from .run import Line, Result, Settings
from .seeds import Outcome, Rules, in_processes, outcome, report

#: Of every so many seeds one has no faults, for L2.
CALM_EVERY = 20
SHRINKS_MAX = 200
RULES = Rules("seed", ("leaders", "syncs by diff", "syncs by trunc", "syncs by image", "images installed",
                       "tails from disk", "writes acked during faults", "reads confirmed", "snapshots",
                       "changes of observers delivered"))  # fmt: skip


class Given(NamedTuple):
    """A seed, and how many voters and observers; None: as it draws them."""

    seed: int
    servers: int | None = None
    observers: int | None = None

    def drawn(self) -> tuple[Settings, tuple[Line, ...]]:
        return draw(self.seed, servers=self.servers, watching=self.observers, calm=self.seed % CALM_EVERY == 0)


def run_seed(seed: int) -> Result:
    """One seed, whole."""
    return CORE_CASES.run(*Given(seed).drawn())


def work(given: Given) -> Outcome:
    """One seed, and its case if it fails."""
    gc.disable()
    try:
        return outcome(given.seed, given.drawn, CORE_CASES, shrinks_max=SHRINKS_MAX)
    finally:
        gc.enable()
        gc.collect()


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
    drawn = range(given.first, given.first + given.seeds)
    if given.whole:
        from . import whole_cli

        outcomes, rules = in_processes(whole_cli.work, drawn, given.jobs), whole_cli.RULES
    else:
        seeds = [Given(seed, given.servers, given.observers) for seed in drawn]
        outcomes, rules = in_processes(work, seeds, given.jobs, chunk=4), RULES
    return 1 if report(outcomes, rules, seconds=given.seconds, keep=given.keep) else 0


def replay(path: Path) -> int:
    """Run one case with its timeline."""
    text = path.read_text()
    if text.startswith("# whole:"):
        from . import whole_cli

        return whole_cli.WHOLE_CASES.replay(text)
    return CORE_CASES.replay(text)


class Plain(argparse.RawDescriptionHelpFormatter, argparse.ArgumentDefaultsHelpFormatter):
    """Help as it is written, with defaults."""


if __name__ == "__main__":
    sys.exit(main())
