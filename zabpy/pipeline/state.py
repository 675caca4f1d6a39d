"""State: all that the ensemble agrees on, at one place in the order. What a snapshot holds.

Its rows, for the image: first one about the whole, then the sessions, then the tree. Row 0 says how many sessions
follow, so that rows of both kinds need no mark.
"""

from collections.abc import Iterable
from itertools import chain, islice
from typing import Any

from zabpy.model import NO_ZXID, ZabpyError, Zxid
from zabpy.sessions import SessionTable
from zabpy.tree import Frozen, Tree

Row = tuple[Any, ...]

#: First field of row 0. A later format has another one.
ROWS_FORMAT = 1


class State:
    """Tree and sessions after the transaction at ``last_applied``. Written by `apply` and nobody else.

    ``last_time_ms`` is the largest time any transaction had: times in transactions never go back.
    """

    __slots__ = ("last_applied", "last_time_ms", "sessions", "tree")

    def __init__(
        self,
        tree: Tree | None = None,
        sessions: SessionTable | None = None,
        last_applied: Zxid = NO_ZXID,
        last_time_ms: int = 0,
    ) -> None:
        self.tree = Tree() if tree is None else tree
        self.sessions = SessionTable() if sessions is None else sessions
        self.last_applied = last_applied
        self.last_time_ms = last_time_ms

    def freeze(self) -> "FrozenState":
        """This moment, for a snapshot; the state goes on. Close it, or the tree keeps copying what it changes."""
        return FrozenState(self)

    @classmethod
    def from_rows(cls, rows: Iterable[Row], *, standalone: bool = True, config: bytes = b"") -> "State":
        """The state whose frozen rows these are. ``standalone`` and ``config`` are this server's own, see `Tree`.

        Raises:
            StateRowsError, and what `SessionTable` and `Tree` raise: they are no state's rows, or of a later format.
        """
        coming = iter(rows)
        try:
            form, last_applied, last_time_ms, session_count = next(coming)
        except (StopIteration, ValueError, TypeError):
            raise StateRowsError("no first row of four fields") from None
        if form != ROWS_FORMAT:
            raise StateRowsError(f"rows of format {form!r}, we read format {ROWS_FORMAT}")
        if not all(isinstance(number, int) and number >= 0 for number in (last_applied, last_time_ms, session_count)):
            raise StateRowsError("first row without its three numbers")
        session_rows = list(islice(coming, session_count))
        if len(session_rows) != session_count:
            raise StateRowsError(f"{len(session_rows)} session rows, expected {session_count}")
        sessions = SessionTable.from_rows(session_rows)
        tree = Tree.from_rows(coming, standalone=standalone, config=config)
        return cls(tree, sessions, Zxid(last_applied), last_time_ms)

    def digest(self) -> tuple[int, int, int]:
        """Equal exactly when the states are, up to chance: zxid, digest of the tree, digest of the sessions."""
        return self.last_applied, self.tree.digest(), self.sessions.digest()


class FrozenState:
    """A moment of a `State`, handed out in slices while the state goes on."""

    def __init__(self, state: State) -> None:
        sessions = list(state.sessions.rows())
        first = (ROWS_FORMAT, state.last_applied, state.last_time_ms, len(sessions))
        self.last_applied = state.last_applied
        self._head = chain([first], sessions)
        self._tree: Frozen = state.tree.freeze()

    def rows(self, count: int) -> list[Row]:
        """The next rows, about ``count`` of them; none when all have been given."""
        return list(islice(self._head, count)) or self._tree.rows(count)

    def close(self) -> None:
        """The rows are no longer wanted."""
        self._tree.close()


class StateRowsError(ZabpyError):
    """These rows are not a state."""
