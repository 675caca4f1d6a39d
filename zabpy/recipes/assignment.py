"""All items of a member at a time, as a stream: for work that is not cut up into items.

    async for assignment in partitioner:
        async with assignment:                  # cancelled when these are not just our items any more
            await serve(assignment.items)

Then what has to go is let go of, and the next assignment comes. A loss (of the session, or of an item's lock to
somebody's delete) raises `AssignmentLost` out of the block; a loop that goes on after that is given the next one, too.
"""

from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Self

import anyio

from zabpy.client import Client, Session

from .claim import Claim
from .errors import AssignmentLost
from .holding import Holding
from .latest import Latest
from .patience import Patience


class Assignment(Holding):
    """Items that are ours, until one of them has to go or another one comes. Each of ``claims`` has its token."""

    def __init__(
        self, zk: Client, session: Session, path: str, claims: Iterable[Claim], over: Callable[["Assignment"], None]
    ) -> None:
        super().__init__(zk, session, f"the assignment of {path}", AssignmentLost, path=path)
        self.claims: tuple[Claim, ...] = tuple(claims)
        self.items: tuple[str, ...] = tuple(claim.item for claim in self.claims)
        self._tell_over = over
        for claim in self.claims:
            self._lose_with(claim)

    def _lose_with(self, claim: Claim) -> None:
        claim.held.on_lost(lambda: self.lose(f"{claim.item}: {claim.held.reason}"))

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        try:
            return await super().__aexit__(kind, error, trace)
        finally:
            self._tell_over(self)


class Assignments:
    """The stream of a `Partitioner`'s assignments: the next one comes once the last one has ended and what it left is
    not the same any more. What is to be given up is kept until the block of the assignment has ended."""

    def __init__(self, zk: Client, path: str, mine: Latest[frozenset[str]], settle_ms: int) -> None:
        self._zk, self._path, self._mine, self._settle_ms = zk, path, mine, settle_ms
        self._held: dict[str, Claim] = {}
        self._changes = Latest(0)
        self._out: Assignment | None = None  # handed out, and not over
        self._told: tuple[Claim, ...] = ()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Assignment:
        """Raises what ended the partitioner, if something did."""
        if self._out is not None:
            self._over(self._out)  # a block that did not begin
        await self._wait(lambda: self._claims() != self._told)
        with anyio.move_on_after(self._settle_ms / 1000):
            await self._wait(lambda: self._mine.value == self._held.keys())
        await Patience(self._zk).wait()
        self._told = claims = self._claims()
        session = claims[0].held.session if claims else self._zk.session
        self._out = Assignment(self._zk, session, self._path, claims, self._over)
        return self._out

    async def hold(self, claim: Claim) -> None:
        """What is done with each item that was got: it is kept until it has to go and nobody works with it."""
        self._held[claim.item] = claim
        self._changed()
        try:
            await anyio.sleep_forever()
        finally:
            undo = claim.held.on_lost(self._changed)
            self._changed()
            with anyio.CancelScope(shield=True):
                while self._out is not None and claim in self._out.claims and not claim.held.lost:
                    await self._changes.wait_change()
            undo()
            del self._held[claim.item]
            self._changed()

    def end(self, error: Exception | None) -> None:
        """No other assignment will come."""
        if self._out is not None:
            self._over(self._out)
        self._changes.end(error)

    def _claims(self) -> tuple[Claim, ...]:
        """What we have, and may keep."""
        return tuple(self._held[item] for item in sorted(self._mine.value & self._held.keys()))

    def _changed(self) -> None:
        if self._out is not None and self._out.claims != self._claims():
            self._out.stop()
        self._changes.set(self._changes.value + 1)

    def _over(self, assignment: Assignment) -> None:
        if self._out is assignment:
            self._out = None
            self._changed()

    async def _wait(self, condition: Callable[[], bool]) -> None:
        while not condition():
            try:
                await self._changes.wait_change()
            except EOFError:
                raise StopAsyncIteration from None
