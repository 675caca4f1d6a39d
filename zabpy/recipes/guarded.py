"""Writes that are done only while a lock is held, decided by the servers and not by our clock.

    async with zk.lock("/locks/job") as held:
        async with zk.transaction(guard=held) as t:
            t.set("/job/state", b"...")

The transaction also checks that the znode is there that stands for what is held, so that it is done while it is held or
not at all: a pause of this process between asking and sending cannot make it late (etcd's ``IsOwner`` as a condition).
For stores outside of the tree there is `zabpy.recipes.fencing`.
"""

from typing import Protocol

from zabpy.client import Client, LostReply, Session, Transaction, TransactionFailedError
from zabpy.model import Stat


class Guard(Protocol):
    """What can guard a transaction: a held lock, a lease of a semaphore, a term, an item of a queue, and the like."""

    session: Session

    @property
    def path(self) -> str:
        """Of the znode that stands for it."""

    def check(self) -> None: ...

    def lose(self, reason: str) -> None: ...


class GuardedTransaction(Transaction):
    """As `Transaction`; `commit` also raises `LockLost`, or what its guard raises, and nothing was done then."""

    def __init__(self, zk: Client, guard: Guard, lost_reply: LostReply) -> None:
        guard.check()
        super().__init__(zk, lost_reply, guard.session)
        self._guard = guard

    async def commit(self) -> list[str | Stat | None]:
        guarded = len(self)
        self.check(self._guard.path)
        self._guard.check()
        try:
            results = await super().commit()
        except TransactionFailedError as failed:
            if failed.index == guarded:
                self._guard.lose(f"its znode {self._guard.path} is gone")
                self._guard.check()
            raise
        self.results = results[:guarded]
        return self.results
