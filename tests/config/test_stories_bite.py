"""Mistakes that are planted into the config store, and the stories that find them: so their judgement has teeth."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from trio.testing import MockClock

from tests.recipes.stories.story import find
from zabpy.client.transaction import Result, Transaction
from zabpy.config import reading
from zabpy.config.errors import ConflictError
from zabpy.config.head import At, Head, applied
from zabpy.config.history import Record, Revision
from zabpy.config.reading import Seen
from zabpy.config.writing import Writer

from .story import SmallPlay
from .test_stories import small as small

Patch = pytest.MonkeyPatch


def torn_read(patch: Patch) -> None:
    """What takes several requests is taken for one revision, though a commit came between."""
    patch.setattr(reading, "_is_same", lambda before, after: True)


def names_are_read_once(patch: Patch) -> None:
    """What came between the list of names and the values is overlooked."""
    patch.setattr(reading, "_is_listed", lambda place, pzxid: True)


def missed_commit(patch: Patch) -> None:
    """Who comes late takes the last commit for all that he has missed."""

    def since(self: Head, revision: int) -> dict[At, bytes | None] | None:
        return real(self, max(revision, self.revision - 1))

    real = Head.since
    patch.setattr(Head, "since", since)
    patch.setattr(Head, "sums", property(lambda self: {}))


def never_behind(patch: Patch) -> None:
    """What is held is held to be new."""
    really = reading._next

    async def next(zk: Any, path: str, layers: Any, held: Seen | None) -> Seen:
        if held is not None and held.revision % 5 == 4:
            return held
        return await really(zk, path, layers, held)

    patch.setattr(reading, "_next", next)


def double_commit(patch: Patch) -> None:
    """A commit whose answer was lost is taken for one that was not done."""

    async def is_mine(self: Writer, revision: int, mine: str) -> bool:
        return False

    patch.setattr(Writer, "_is_mine", is_mine)


def somebody_elses_commit(patch: Patch) -> None:
    """A commit whose answer was lost is taken for one that was done, once there is one."""

    async def is_mine(self: Writer, revision: int, mine: str) -> bool:
        return True

    patch.setattr(Writer, "_is_mine", is_mine)


def wrong_undo(patch: Patch) -> None:
    """What was created is not deleted when that is undone."""

    def undone(self: Record, after: Revision) -> Revision:
        before = {at: value for at, value in self.before.items() if value is not None}
        return Revision(self.revision - 1, applied(after.entries, before), after.schema)

    patch.setattr(Record, "undone", undone)


def any_base(patch: Patch) -> None:
    """A commit is done on whichever revision there is."""

    async def base(self: Writer, base: int, now: Any, step: Any, rebase: bool) -> int:
        return int(now.revision)

    patch.setattr(Writer, "_base", base)


def rebased_onto_conflicts(patch: Patch) -> None:
    """What others did to the same keys is written over."""
    really = Writer._base

    async def base(self: Writer, base: int, now: Any, step: Any, rebase: bool) -> int:
        try:
            return await really(self, base, now, step, rebase)
        except ConflictError:
            return int(now.revision)

    patch.setattr(Writer, "_base", base)


def commit_in_two_parts(patch: Patch) -> None:
    """Values and head are not written by one transaction."""
    really = Transaction.commit

    async def commit(self: Transaction) -> list[Result]:
        if len(self._planned) < 4:
            return await really(self)
        first, second = (Transaction(self._client, self._lost_reply, self._session) for _ in range(2))
        first._planned, second._planned = self._planned[:1] + self._planned[2:], self._planned[1:2]
        return await really(first) + await really(second)

    patch.setattr(Transaction, "commit", commit)


def forgotten_rollout(patch: Patch) -> None:
    """A commit ends the staged rollout."""
    really = Writer._transaction

    async def transaction(self: Writer, now: Any, step: Any, *others: Any) -> Transaction:
        if step.kind == "commit":
            step = replace(step, canary=None)
        return await really(self, now, step, *others)

    patch.setattr(Writer, "_transaction", transaction)


#: The mistake, and the seed of the story that is told first.
PLANTED: list[tuple[Callable[[Patch], None], int]] = [
    (torn_read, 8),
    (names_are_read_once, 6),
    (missed_commit, 14),
    (never_behind, 4),
    (double_commit, 6),
    (somebody_elses_commit, 4),
    (wrong_undo, 6),
    (any_base, 14),
    (rebased_onto_conflicts, 0),
    (commit_in_two_parts, 6),
    (forgotten_rollout, 4),
]
#: Of each story: what they are to find is not far.
FAULTS = 2


@pytest.mark.parametrize(("mistake", "seed"), PLANTED, ids=lambda each: getattr(each, "__name__", ""))
async def test_a_planted_mistake_is_found(
    mistake: Callable[[Patch], None], seed: int, autojump_clock: MockClock, monkeypatch: Patch
) -> None:
    mistake(monkeypatch)
    await find(mistake.__name__, seed, SmallPlay, faults=FAULTS)
