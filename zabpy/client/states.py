"""How it stands between a client and its ensemble."""

import enum
from collections.abc import Sequence


class State(enum.Enum):
    """`JEOPARDY` is the time in between: no connection, but the session may still live, so locks are still held.

    A server that is cut off from its leader is left while there is time for another one (core.py), so `CONNECTED`
    says no more than that the last word of the leader's was heard not long ago: `Session.time_left_ms` says how long.

    CONNECTING -> CONNECTED or READ_ONLY -> JEOPARDY -> CONNECTED again, or LOST -> CONNECTED with a new session;
    CLOSED is the end.
    """

    CONNECTING = "connecting"  # no session yet
    CONNECTED = "connected"
    READ_ONLY = "read-only"  # connected to a server that has no quorum
    JEOPARDY = "jeopardy"
    LOST = "lost"  # the session is over; a new one is being asked for
    CLOSED = "closed"


def merged(states: Sequence[State]) -> list[State]:
    """What a reader who was too slow for them must know: whether a session was lost, and how it stands now."""
    *passed, last = states
    return [State.LOST, last] if State.LOST in passed and last is not State.LOST else [last]
