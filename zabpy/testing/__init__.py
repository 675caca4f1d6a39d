"""Proofs and tools for tests, ours and users': the simulation of an ensemble, and servers in one process.

May import: everything above zabpy.bench and the shell (not those two).
Imported by: tests, `zabpy simulate`, and users, through the names below.
Read simulation.py first (the run), then network.py and drive.py (what fails), checkers.py (what must hold), faults.py
(what is done), cases.py (a run as a file), script.py (stories), traps.py (known mistakes, to check the checkers).
"""

from .checkers import ViolationError as ViolationError
from .faults import draw as draw
from .script import play as play, retold as retold
from .simulation import Result as Result, Settings as Settings, Simulation as Simulation
