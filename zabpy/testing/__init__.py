"""Tools for tests, ours and users': servers in one process, and the simulation of an ensemble.

For users: `Ensemble`, real servers on real ports that a test starts in a moment and hurts as it likes, for programs
with any client; and with pytest the fixtures of pytest_plugin.py. Read local.py first, then its parts: host.py,
background.py, faulty_network.py.

For us: ensemble.py, wires.py and dialling.py, whole servers and clients on streams in memory and a clock that jumps.
And proofs: simulation.py (the run), run.py (what goes in and comes out), process.py, network.py and drive.py (what
fails), facts.py and checkers.py (what must hold), convergence.py (how a run must end), faults.py (what is done),
drawing.py (scripts of that), cases.py (a run as a file), seeds.py (many runs, and their report), script.py (stories),
store_runs.py (the real data directory), traps/ (known mistakes, to check the checkers), mutants_cli.py (what it takes
to find them). The same for whole servers and clients begins in whole.py, on repeatable.py: a run of trio that is the
same every time. What clients saw, of simulated servers or of real ones, is a history (histories.py), judged by
linearizability.py and history_checks.py.
With real stores under it, stored.py: crashpoints.py (the power goes at every operation on a
disk, of crash_life.py), damage.py (every bit
turned over), store_traps.py (known mistakes of disks).

May import: everything above zabpy.bench and the shell (not those two), but only once a name below is asked for: pytest
loads our plugin, and this folder with it, in every run of whoever has zabpy installed.
Imported by: tests, `zabpy simulate`, and users, through the names below.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .drawing import draw as draw
    from .facts import ViolationError as ViolationError
    from .local import Ensemble as Ensemble, EnsembleError as EnsembleError, Fault as Fault, LocalServer as LocalServer
    from .run import Result as Result, Settings as Settings
    from .script import play as play, retold as retold
    from .simulation import Simulation as Simulation

#: Name → the file it stands in, as the imports above tell type checkers.
_STAND_IN = {
    "Ensemble": "local",
    "EnsembleError": "local",
    "Fault": "local",
    "LocalServer": "local",
    "Result": "run",
    "Settings": "run",
    "Simulation": "simulation",
    "ViolationError": "facts",
    "draw": "drawing",
    "play": "script",
    "retold": "script",
}


def __getattr__(name: str) -> object:
    if name not in _STAND_IN:
        raise AttributeError(f"module 'zabpy.testing' has no attribute {name!r}")
    from importlib import import_module

    found: object = getattr(import_module(f".{_STAND_IN[name]}", __name__), name)
    globals()[name] = found
    return found
