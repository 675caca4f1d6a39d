"""SessionTable: the sessions that are open, opened and closed by txns alone."""

from collections.abc import Iterable
from hashlib import blake2b
from typing import NamedTuple

from zabpy.model import ZabpyError

#: id, timeout_ms, password.
Row = tuple[int, int, bytes]

_MASK = 0xFFFFFFFFFFFFFFFF


class SessionRowsError(ZabpyError):
    """Rows that cannot be a table of sessions: a wrong shape, or an id twice."""


class Session(NamedTuple):
    """What every replica knows of a session. Whoever tells id and password may take it over."""

    timeout_ms: int
    password: bytes


class SessionTable:
    """Open sessions by id, in the order of their opening. Ids are signed 64-bit numbers."""

    def __init__(self) -> None:
        self._sessions: dict[int, Session] = {}

    @classmethod
    def from_rows(cls, rows: Iterable[tuple[object, ...]]) -> "SessionTable":
        """The table that `rows` came from.

        Raises:
            SessionRowsError: they cannot be one.
        """
        table = cls()
        for row in rows:
            match row:
                case (int(id), int(timeout_ms), bytes(password)) if id not in table:
                    table.open(id, timeout_ms, password)
                case _:
                    raise SessionRowsError(f"not a row of a session, or its second: {row!r:.200}")
        return table

    def __len__(self) -> int:
        return len(self._sessions)

    def __contains__(self, id: int) -> bool:
        return id in self._sessions

    def get(self, id: int) -> Session | None:
        return self._sessions.get(id)

    def ids(self) -> list[int]:
        """In the order of their opening; a new list."""
        return list(self._sessions)

    def open(self, id: int, timeout_ms: int, password: bytes) -> None:
        assert id not in self._sessions, id
        self._sessions[id] = Session(timeout_ms, password)

    def close(self, id: int) -> None:
        del self._sessions[id]

    def rows(self) -> list[Row]:
        """All of them as they are now; later changes do not show in the list."""
        return [(id, timeout_ms, password) for id, (timeout_ms, password) in self._sessions.items()]

    def digest(self) -> int:
        """64 bits over all fields, whatever the order; the same on every machine, Python and hash seed."""
        hashes = (blake2b(repr(row).encode("ascii"), digest_size=8).digest() for row in self.rows())
        return sum(int.from_bytes(hash, "big") for hash in hashes) & _MASK
