"""A queue whose items are due at a time: a `WorkQueue` of work for later.

    await zk.delay_queue("/reminders").put(b"...", delay_ms=60_000)

    async with zk.delay_queue("/reminders") as queue:
        async with queue.take() as item: ...        # not before it is due

**By whose clock:** the leading server's. Putting adds the delay to the time there, as far as it is known: to within
half a round trip. Taking waits until it must be later there than the due time, and looks at the stamp of its lease:
no item is given out before the clock of the server that leads then shows its due time. Clocks of clients do not count,
as long as they run forward at about the right speed. When another server leads, whose clock is ahead or behind, times
are by that one from then on.

How late an item comes is not promised: as long as it takes until a consumer is free and connected. Otherwise as
`WorkQueue`: at least once, leases, attempts, ``dead``. Among items that are due, those due first come first.
"""

from collections.abc import Sequence
from random import Random
from uuid import uuid4

import anyio

from zabpy.client import Client
from zabpy.model import Acls, NoNodeError, Stat, join

from .arguments import bad, check_at_least
from .clock_range import ClockRange
from .leases import Item, LeaseQueue
from .patience import TRANSIENT, Patience
from .removal import Removal
from .sessions import current_session

#: The servers' time is asked for again when it was not heard of for so long; or, where it matters, for so long.
CLOCK_AGE_MS_MAX, CLOCK_AGE_MS_SURE = 600_000, 1_000
#: Digits of a due time, so that names sort by it.
DIGITS = 15


class DelayQueue(LeaseQueue):
    """See the head of this file. `Item.rank` is the due time, in ms since 1970. Putting needs no ``async with``."""

    _kind = "delay_queue"

    def __init__(
        self,
        zk: Client,
        path: str,
        *,
        attempts_max: int | None = None,
        acl: Acls | None = None,
        rng: Random | None = None,
    ) -> None:
        super().__init__(zk, path, attempts_max=attempts_max, acl=acl, rng=rng)
        self._clock = ClockRange()

    async def put(self, data: bytes, *, delay_ms: int | None = None, due_ms: int | None = None) -> int:
        """Put one item, exactly once though answers may get lost. Gives its due time.

        Args:
            delay_ms: from now on.
            due_ms: at this time, in ms since 1970; one of the two.
        Raises:
            BadArgumentsError: a time that is none, or no data.
            SessionLostError: the session was lost while it was put, so it may be there or not.
            ConnectionLossError: that, too; only of servers that let nobody keep account (``lost_reply="once"`` of
                `Client.create`), or with data that fills a request but for 200 bytes.
        """
        return await self.put_all([data], delay_ms=delay_ms, due_ms=due_ms)

    async def put_all(self, items: Sequence[bytes], *, delay_ms: int | None = None, due_ms: int | None = None) -> int:
        """Put all of them, or none. As `put`."""
        if (delay_ms is None) == (due_ms is None):
            raise bad("one of delay_ms and due_ms is expected", "put", self.path)
        values = self._checked(items)
        if delay_ms is not None:
            check_at_least("delay_ms", delay_ms, 0, "put", self.path)
            due_ms = round(await self.server_time_ms()) + delay_ms
        assert due_ms is not None
        if type(due_ms) is not int or not 0 <= due_ms < 10**DIGITS:
            raise bad(f"due_ms={due_ms!r} is no time in ms since 1970", "put", self.path)
        if values:
            await self._put(values, f"{due_ms:0{DIGITS}d}")
        return due_ms

    async def server_time_ms(self) -> float:
        """The leading server's time now, to within half a round trip, in ms since 1970."""
        if not self._clock.known or self._clock.age_ms(_now_ms()) > CLOCK_AGE_MS_MAX:
            await self._look_at_clock()
        return self._clock.middle_ms(_now_ms())

    async def _look_at_clock(self) -> None:
        """By the stamp of a znode that we create."""
        session, name = await current_session(self._zk), f"clock-{uuid4().hex}"
        path = join(self.path, name)
        try:
            sent_ms = _now_ms()
            made = await self._zk.create(path, acl=self._acl, ephemeral=True, lost_reply="find", session=session)
            self._clock.observe(made.stat.ctime_ms, sent_ms, _now_ms())
        except NoNodeError:
            await self._ensure()
            await self._look_at_clock()
        finally:
            Removal(self._zk, session, self.path, name=name)

    # What is due ------------------------------------------------------------------------------------------------------

    async def _prepare(self) -> None:
        due_ms, now_ms = self._backlog.rank_min, _now_ms()
        if due_ms is None:
            return
        age_ms = self._clock.age_ms(now_ms) if self._clock.known else CLOCK_AGE_MS_MAX
        # Look again where it is not said for sure that something is due, though it should be.
        doubtful = self._clock.middle_ms(now_ms) >= due_ms > self._clock.earliest_ms(now_ms)
        if age_ms >= (CLOCK_AGE_MS_SURE if doubtful else CLOCK_AGE_MS_MAX):
            try:
                await self._look_at_clock()
            except TRANSIENT:
                await Patience(self._zk).wait()

    def _rank_max(self) -> int | None:
        return int(self._clock.earliest_ms(_now_ms())) if self._clock.known else -1

    def _wait_ms(self) -> float | None:
        due_ms = self._backlog.rank_min
        if due_ms is None:
            return None
        return max(1.0, min(due_ms - self._clock.middle_ms(_now_ms()), CLOCK_AGE_MS_MAX))

    def _is_due(self, item: Item, lease: Stat) -> bool:
        if lease.mtime_ms >= item.rank:
            return True
        # The leader's clock is behind what it was, or another one leads: begin anew with what it says.
        self._clock = ClockRange()
        return False


def _now_ms() -> float:
    return anyio.current_time() * 1000
