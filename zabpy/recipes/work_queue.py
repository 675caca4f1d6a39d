"""A queue of work that is done at least once.

    await zk.work_queue("/mails").put(b"...")

    async with zk.work_queue("/mails", attempts_max=5) as queue:
        while True:
            async with queue.take() as item:
                await send(item.data)       # cancelled when the lease is lost; then LeaseLost

**Promised.** An item that `put` has returned for is given to consumers until one of them has ended its body without an
exception and the servers have acknowledged that, or until it was tried ``attempts_max`` times and is moved to ``dead``.
While one consumer holds the lease of an item no other gets it. A consumer that dies, or is cut off, loses its leases
when its session ends, and its items are given to others.

**Not promised.** That an item is worked on once: a lease may be lost when the work is done but not acknowledged, or
while the body does something that cannot be cancelled. So the work has to bear being done twice; where another system
is written to, compare `Item.token` there. Nor a strict order: those with the lowest priority number come first, and
among those the eldest about first. Nor that every item has its turn: priorities do not age, so if more items of a lower
number are put than are done, those of a higher one wait for ever. Consumers that meet at one item spread over the first
`SPREAD_MAX`; an item that was given back comes again at its old place. ``attempts`` counts leases, so one whose
consumer died at once counts.

**Together with kazoo's LockingQueue** on one path, while a fleet migrates: entries and leases are named alike, and
neither side takes what the other has leased. kazoo's consumers count no attempts, and go on when their lease is lost
(they look only when they consume). An item's children do not exist outside of our transactions, so kazoo deletes it.
Not with kazoo's plain Queue nor Curator's queues, which have no leases.
"""

from collections.abc import Sequence

from .arguments import bad
from .leases import LeaseQueue


class WorkQueue(LeaseQueue):
    """See the head of this file. Putting needs no ``async with``."""

    _kind = "work_queue"

    async def put(self, data: bytes, priority: int = 100) -> None:
        """Put one item, exactly once though answers may get lost.

        Args:
            priority: 0 to 999; lower ones are taken first.
        Raises:
            BadArgumentsError: that is no priority, or no data.
            SessionLostError: the session was lost while it was put, so it may be there or not.
            ConnectionLossError: that, too; only of servers that let nobody keep account (``lost_reply="once"`` of
                `Client.create`), or with data that fills a request but for 200 bytes.
        """
        await self.put_all([data], priority)

    async def put_all(self, items: Sequence[bytes], priority: int = 100) -> None:
        """Put all of them, in this order, or none: they have to fit into one request. Raises as `put`."""
        if type(priority) is not int or not 0 <= priority <= 999:
            raise bad(f"priority={priority!r}: 0 to 999 is expected", "put", self.path)
        values = self._checked(items)
        if values:
            await self._put(values, f"{priority:03d}")
