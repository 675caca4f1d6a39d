"""Election of a leader, as a stream of terms.

    async with zk.election("/leaders/api", data=b"host1:80") as election:
        async for term in election.terms(stand_again=True):
            async with term:                          # cancelled when the leadership is lost
                await serve(fence=term.token)

**How the loop goes on.** To ask for the next term is to stand, at the end of the queue. When the block of a term ends,
however it ends, the leadership is given up; the loop's next round stands again, ``break`` does not. A term that was
lost (the session is over, by the servers' word or by our clock; somebody deleted the znode) cancels its block and
raises `LeadershipLost` out of it. So by default a loss ends the loop, unless you catch it inside. With
``stand_again=True`` it is not raised: the block just ends, and the loop stands again; put nothing behind the block then
that only a leader may do. While we wait for a term, lost connections and sessions are nobody's business: we go on.

**What is promised**, and what cannot be, is what `Lock` says, for an election is a lock: of all who stand one leads at
a time, as the servers see it; who is cut off from them all stops by its own clock before they let anybody else lead;
and what a stopped process sends late has to be refused by whom it is sent to, by ``term.token``, the fencing token.

Layouts, where others stand, too: ``kazoo`` for kazoo's Election, ``latch`` for Curator's LeaderLatch, ``curator`` for
its LeaderSelector. kazoo and Curator cannot share a path, see contenders.py.
"""

from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self, TypeVar

import anyio

from zabpy.client import Client, NoServerError
from zabpy.model import Acls

from .candidates import Candidate, Leaders, look
from .contenders import Layout
from .errors import LeadershipLost
from .lock import HeldLock, Lock
from .patience import Patience
from .place import Place

T = TypeVar("T")


class Term(HeldLock):
    """One time of being the leader: `Holding` says what happens when it is lost. ``token`` is its fencing token."""

    _kind = LeadershipLost
    _stands_again = False

    def resign(self) -> None:
        """Have it end, though nothing is lost: the block is cancelled, ends without an error, and gives it up.

        A plain call, from inside or outside the block.
        """
        self.stop()

    async def __aenter__(self) -> Self:
        try:
            return await super().__aenter__()
        except LeadershipLost:
            if not self._stands_again:
                raise
            # A block cannot be left out; this one is cancelled when it waits for the first time.
            self.stop()
            self._enter()
            return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        try:
            ended = await super().__aexit__(kind, error, trace)
        except LeadershipLost as loss:
            if not self._is_own(loss):
                raise
            return True
        return ended or (error is not None and self._is_own(error))

    def _is_own(self, error: BaseException) -> bool:
        """Whether that is the loss of this term, and is not to be raised."""
        return self._stands_again and isinstance(error, LeadershipLost) and error.what == self.what


class _Leadership(Lock):
    def __str__(self) -> str:
        return f"the leadership of {self.path}"

    def _hold(self, place: Place) -> Term:
        return Term(self, place)


class Election:
    """See the head of this file."""

    def __init__(
        self,
        zk: Client,
        path: str,
        *,
        data: bytes = b"",
        lock_delay_ms: int = 0,
        layout: Layout = "kazoo",
        acl: Acls | None = None,
    ) -> None:
        """
        Args:
            path: of the znode below which those who stand have theirs. It is created if need be, and stays.
            data: of our znode: what others see of us, such as an address.
            lock_delay_ms: if we end in an unclean way while we lead, nobody else of ours leads for so long.
            layout: how our znodes are named; see the head of this file.
        """
        self.path, self.data = path, data
        self._zk = zk
        self._lock = _Leadership(zk, path, data=data, lock_delay_ms=lock_delay_ms, layout=layout, acl=acl)
        self._term: Term | None = None
        self._standing: anyio.CancelScope | None = None
        self._withdrawn = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._end_term()

    def terms(self, *, stand_again: bool = False) -> "Terms":
        """Stand, and be given a `Term` each time that we lead. See the head of this file for how the loop goes on."""
        return Terms(self, stand_again=stand_again)

    async def run(self, serve: Callable[[Term], Awaitable[T]]) -> T:
        """Stand until ``serve(term)`` has returned in a term that was not lost, and return what it did.

        What it raises comes out, as it is. If the term is lost, or resigned, it is cancelled, and called again in the
        next one. After `withdraw` there is none, and `LeadershipLost` is raised.
        """
        async for term in self.terms():
            result: list[T] = []
            try:
                async with term:
                    result.append(await serve(term))
            except LeadershipLost as loss:
                if loss.what != str(self._lock) or not term.lost:
                    raise
            else:
                if result:  # it may have resigned instead
                    return result[0]
        raise LeadershipLost(str(self._lock), "we have withdrawn")

    def withdraw(self) -> None:
        """Do not stand any more: a term ends as by `Term.resign`, and the loop over the terms with it. A plain call."""
        self._withdrawn = True
        if self._standing is not None:
            self._standing.cancel()
        if self._term is not None:
            self._term.resign()

    async def leader(self) -> Candidate | None:
        """Who leads; nobody if nobody stands. As of the servers' state that our server has; `sync` first for newer."""
        async with self.observe() as leaders:
            return await anext(leaders)

    async def candidates(self) -> list[Candidate]:
        """All who stand, the leader first. A request for each."""
        return await look(self._zk, self.path)

    def observe(self) -> Leaders:
        """Who leads, and who comes to, without standing: ``async with election.observe() as leaders``."""
        return Leaders(self._zk, self.path)

    async def _next_term(self) -> Term | None:
        await self._end_term()
        if not self._withdrawn:
            with anyio.CancelScope() as self._standing:
                self._term = await self._stand()
            self._standing = None
        if self._withdrawn:
            await self._end_term()
        return self._term

    async def _stand(self) -> Term:
        patience = Patience(self._zk)
        while True:
            try:
                await patience.wait()
                term = await self._lock.acquire()
                assert isinstance(term, Term)
                return term
            except NoServerError:
                continue  # who stands has time

    async def _end_term(self) -> None:
        term, self._term = self._term, None
        if term is not None:
            if term.body_runs:
                raise RuntimeError(f"{self._lock}: the next term while one is still going on")
            await term.release()


class Terms:
    """The stream of an `Election`."""

    def __init__(self, election: Election, *, stand_again: bool) -> None:
        self._election, self._stand_again = election, stand_again

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Term:
        term = await self._election._next_term()
        if term is None:
            raise StopAsyncIteration
        term._stands_again = self._stand_again
        return term
