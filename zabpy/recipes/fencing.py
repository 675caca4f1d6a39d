"""Fencing tokens for stores outside of the tree: who has an old token writes nothing any more.

A lock cannot stop what its former holder has already sent. The store can: it keeps the highest token it has seen, and
refuses what comes with a lower one. `HeldLock.token` and its like are the czxid of the znode that was created to hold
it: 64 bits, greater for each holder than for all before it, on all servers, for ever (until an old backup is restored
without a new epoch).

**Where each row has a column for it**, one statement is enough; no row changed means that the token is too old::

    UPDATE accounts SET balance = :balance, fence = :token WHERE id = :id AND fence <= :token

Equal tokens pass: the same holder writes as often as it likes.

**For anything else that is written in one database transaction** there is `Fence`: a table with a row for each lock.

    fence = Fence("nightly-report")
    with sqlite3.connect(...) as db:            # one transaction, committed at its end
        fence.admit(db.cursor(), held.token)    # StaleTokenError: somebody newer was here
        db.execute("INSERT INTO reports ...")

It works on SQLite from 3.24 on and on PostgreSQL, through any DB-API 2 driver (PEP 249). In PostgreSQL the row is
locked until the transaction ends, and in SQLite the database is, so nobody with a newer token comes in between.

A system that cannot compare tokens cannot be protected; then what is left is the lock's own promise, see `Lock`.
"""

import re
from typing import Final, Protocol

from .arguments import bad
from .errors import RecipeError

#: How drivers write a parameter, by their ``paramstyle``.
_MARKS: Final = {"qmark": "?", "format": "%s", "pyformat": "%s"}


class StaleTokenError(RecipeError):
    """A newer holder has written: nothing may be written under this token any more."""

    def __init__(self, resource: str, token: int) -> None:
        super().__init__(
            f"{resource}: token {token:#x} is older than one that was seen; somebody else holds the lock now"
        )
        self.resource, self.token = resource, token
        self.operation = "admit"


class Cursor(Protocol):
    """As much of PEP 249's cursor as is needed."""

    @property
    def rowcount(self) -> int: ...

    def execute(self, operation: str, parameters: tuple[str | int, ...] = ..., /) -> object: ...


class Fence:
    """Keeps the highest token of one resource in a table. See the head of this file."""

    def __init__(self, resource: str, *, table: str = "fences", paramstyle: str = "qmark") -> None:
        """
        Args:
            resource: what the lock protects; a row's key.
            paramstyle: the driver module's: ``sqlite3.paramstyle``, say.
        Raises:
            BadArgumentsError: a table's name that is none, or a paramstyle that is not qmark, format or pyformat.
        """
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)?", table):
            raise bad(f"table={table!r} is no name of a table", "Fence")
        if paramstyle not in _MARKS:
            raise bad(f"paramstyle={paramstyle!r}: {', '.join(_MARKS)} are known", "Fence")
        self.resource, self._table, self._mark = resource, table, _MARKS[paramstyle]

    def create_table(self, cursor: Cursor) -> None:
        """Create the table, if it is not there."""
        cursor.execute(
            f"CREATE TABLE IF NOT EXISTS {self._table} (resource VARCHAR(255) PRIMARY KEY, token BIGINT NOT NULL)"
        )

    def admit(self, cursor: Cursor, token: int) -> None:
        """Note the token. Call it first in each database transaction; roll that back if this raises.

        Raises:
            StaleTokenError: a higher token was seen.
        """
        cursor.execute(
            f"INSERT INTO {self._table} (resource, token) VALUES ({self._mark}, {self._mark})"
            f" ON CONFLICT (resource) DO UPDATE SET token = excluded.token"
            f" WHERE {self._table}.token <= excluded.token",
            (self.resource, token),
        )
        if cursor.rowcount == 0:
            raise StaleTokenError(self.resource, token)
