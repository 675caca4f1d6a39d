"""Phases of a client's connection.

NEW: it has not said yet what it wants. CONNECTING: it waits for its session. OPEN: it has one. OVER: it is closed.
TOLD: it asked a four-letter word, and what more it says is not read.
"""

from typing import Final

NEW: Final = 0
CONNECTING: Final = 1
OPEN: Final = 2
OVER: Final = 3
TOLD: Final = 4
