"""Faults that are planted into the recipes, and the stories that find them: so the stories' judgement has teeth."""

from collections.abc import Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock

import zabpy
from zabpy.client import core, operations, watches
from zabpy.recipes import (
    barrier,
    delay_queue,
    double_barrier,
    leases,
    place,
    registration,
    removal,
    semaphore,
    tree_cache,
)

from .stories import data, exclusive, presence
from .stories.story import Play, find

Patch = pytest.MonkeyPatch


def no_local_deadline(patch: Patch) -> None:
    """A client that is cut off believes in its session until the servers tell it."""

    def counts(kept: core.Core, sent_ms: int) -> None:
        assert kept.session is not None
        kept.session.deadline_ms = 1 << 60

    patch.setattr(core.Core, "_counts", counts)


def release_without_delete(patch: Patch) -> None:
    async def remove(self: removal.Removal) -> None:
        self._done.set()

    patch.setattr(removal.Removal, "_remove", remove)


def wrong_predecessor(patch: Patch) -> None:
    """Whoever is the second believes to be the first."""
    is_first = place.Place.is_first

    async def wrong(self: place.Place) -> bool:
        await is_first(self)
        assert self._before is not None
        return len(self._before) <= 1

    patch.setattr(place.Place, "is_first", wrong)


def first_predecessor(patch: Patch) -> None:
    """Whoever waits goes in once the eldest has gone."""

    async def wait_next(self: place.Place) -> None:
        assert self._before is not None
        self._before = self._before[:1]
        await real(self)

    real = place.Place.wait_next
    patch.setattr(place.Place, "wait_next", wait_next)


def create_in_any_session(patch: Patch) -> None:
    """What makes a znode does not see to it that the session that is relied upon is its owner."""
    create = operations.Operations.create

    async def anyhow(self: Any, path: str, *args: Any, **settings: Any) -> Any:
        wanted = settings.pop("session", None)
        made = await create(self, path, *args, **settings)
        if wanted is None or not settings.get("ephemeral"):
            return made
        return made._replace(stat=made.stat._replace(ephemeral_owner=wanted.id))

    patch.setattr(operations.Operations, "create", anyhow)


def lost_creates_are_forgotten(patch: Patch) -> None:
    """Of a create whose answer never came nothing is looked for."""

    async def found(self: removal.Removal) -> list[str]:
        return [] if self._name is None else [self._name]

    patch.setattr(removal.Removal, "_found", found)


def once_is_again(patch: Patch) -> None:
    create = operations.Operations.create

    async def again(self: Any, path: str, *args: Any, **settings: Any) -> Any:
        return await create(self, path, *args, **{"lost_reply": "again", **settings})

    patch.setattr(operations.Operations, "create", again)


def unknown_is_not_done(patch: Patch) -> None:
    """A write whose answer was lost is taken for one that was not done."""
    real = operations.Operations.set

    async def set(self: Any, *args: Any, **settings: Any) -> Any:
        try:
            return await real(self, *args, **{**settings, "lost_reply": "raise"})
        except zabpy.ConnectionLossError:
            raise zabpy.BadVersionError from None

    patch.setattr(operations.Operations, "set", set)


def finished_without_acknowledgement(patch: Patch) -> None:
    """The end of the work is told before the servers know."""

    async def finish(self: leases.Item) -> None:
        self.check()
        self._end()
        self.remove_lease()

    patch.setattr(leases.Item, "finish", finish)


def due_by_the_wrong_clock(patch: Patch) -> None:

    patch.setattr(delay_queue.DelayQueue, "_rank_max", lambda self: None)
    patch.setattr(delay_queue.DelayQueue, "_is_due", lambda self, item, lease: True)


def gaps_are_not_read(patch: Patch) -> None:
    note = tree_cache.TreeCache._note

    def without(self: tree_cache.TreeCache, event: zabpy.Event) -> None:
        if not isinstance(event, zabpy.Resynced) or not self._loaded:
            note(self, event)

    patch.setattr(tree_cache.TreeCache, "_note", without)


def watches_are_not_renewed(patch: Patch) -> None:
    patch.setattr(watches.WatchTable, "renewal", lambda self, last_zxid, session_changed: iter(()))


def a_lost_session_opens_the_barrier(patch: Patch) -> None:
    async def wait(self: barrier.Barrier) -> None:
        stat, fired = await self._zk.exists_watched(self.path)
        with fired:
            if stat is not None:
                await trio.sleep(1)

    patch.setattr(barrier.Barrier, "wait", wait)


def leaving_waits_for_nobody(patch: Patch) -> None:
    async def leave(self: object, member: double_barrier.BarrierMember) -> None:
        await member.release()

    patch.setattr(double_barrier.DoubleBarrier, "_leave", leave)


def no_gate(patch: Patch) -> None:
    async def free(self: object, session: object, *, wait: bool) -> bool:
        return True

    async def too_many(self: object, *args: object) -> bool:
        return False

    patch.setattr(semaphore.Semaphore, "_wait_free", free)
    patch.setattr(semaphore.Semaphore, "_is_one_too_many", too_many)


def gone_for_good(patch: Patch) -> None:
    """A registration is not repaired."""

    create = registration.Registration._create

    async def once(self: registration.Registration, session: zabpy.Session) -> None:
        if self._own and session.id not in self._own:
            await trio.sleep_forever()
        await create(self, session)

    patch.setattr(registration.Registration, "_create", once)


#: The fault, the recipe, and the seed of the story that is told first.
PLANTED: list[tuple[Callable[[Patch], None], type[Play], int]] = [
    (no_local_deadline, exclusive.LockPlay, 1),
    (release_without_delete, exclusive.LockPlay, 0),
    (wrong_predecessor, exclusive.LockPlay, 0),
    (first_predecessor, exclusive.LockPlay, 0),
    (create_in_any_session, exclusive.MultiLockPlay, 11),
    (lost_creates_are_forgotten, exclusive.LockPlay, 6),
    (once_is_again, data.CreatesPlay, 2),
    (unknown_is_not_done, data.CounterPlay, 0),
    (finished_without_acknowledgement, data.WorkQueuePlay, 0),
    (due_by_the_wrong_clock, data.DelayQueuePlay, 0),
    (gaps_are_not_read, data.TreeCachePlay, 1),
    (watches_are_not_renewed, exclusive.LockPlay, 0),
    (a_lost_session_opens_the_barrier, data.BarrierPlay, 0),
    (leaving_waits_for_nobody, data.DoubleBarrierPlay, 0),
    (no_gate, exclusive.SemaphorePlay, 0),
    (gone_for_good, presence.RegistrationPlay, 0),
]


@pytest.mark.parametrize(("fault", "play", "seed"), PLANTED, ids=lambda each: getattr(each, "__name__", None))
async def test_a_planted_fault_is_found(
    fault: Callable[[Patch], None], play: type[Play], seed: int, autojump_clock: MockClock, monkeypatch: Patch
) -> None:
    fault(monkeypatch)
    await find(fault.__name__, seed, play)
