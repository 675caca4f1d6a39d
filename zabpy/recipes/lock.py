"""A lock that one session at a time holds, with a token that tells a later holder from an earlier one.

    async with zk.lock("/jobs/daily") as held:
        await store.write(data, fence=held.token)      # cancelled when the lock is lost; then LockLost is raised

**What is promised.** Of all who take the lock, in our way or in that of kazoo (see contenders.py), one at a time holds
it, as the servers see it. Who lost it is told no later than when its session's time is up by its own clock, which is
before the servers let anybody else have it. Tokens of later holders are larger, for as long as the ensemble lives.

**What is not.** Between a look at the clock and what is done after it time passes: a process that is stopped in
between (by its garbage collector, its hypervisor, or its user) does what it was about to do when it goes on, though
another one holds the lock by then. No lock can help that. What must not happen twice has to be refused by the system
it happens in: hand it the token, and let it refuse one that is smaller than the largest it has seen. After a restore of
an older backup zxids, and so tokens, go back.

An uncontended lock takes one round trip, from one holder to the next about two pass; the waiting ones send
nothing meanwhile. Not re-entrant. Fair: first come, first served.
"""

from collections.abc import Hashable
from types import TracebackType
from typing import Literal, NamedTuple, Self
from weakref import WeakKeyDictionary

import anyio
import anyio.lowlevel

from zabpy.client import Client, ClosedClientError, Session, SessionLostError, State
from zabpy.model import Acls, NoNodeError, join

from . import delay
from .arguments import check_at_least, check_data, check_one_of, check_path, check_timeout
from .contenders import LAYOUTS, REVOKE, Layout, contender
from .entered import Entered
from .errors import LockLost, LostError, NotReentrantError, about, acquire_timeout
from .holding import RELEASE_WAIT_MS, Holding
from .place import Place, PlaceLostError
from .reading import read_all
from .removal import Removal
from .sessions import current_session
from .who import who

OnRevocation = Literal["tell", "end"]
_Key = tuple[str, Hashable]
#: Of each client: who holds or waits for which lock in which task. The same again could only wait for itself.
_engaged: WeakKeyDictionary[Client, dict[_Key, object]] = WeakKeyDictionary()


class Waiting(NamedTuple):
    """One in a lock's queue; the first one holds it, or several where it is shared.

    ``token`` is its znode's czxid, ``session_id`` the session that it ends with, ``created_ms`` by the servers' clock.
    """

    path: str
    data: bytes
    session_id: int
    token: int
    created_ms: int
    shared: bool


class HeldLock(Holding):
    """A lock that is held, see `Lock`; `Holding` says what happens when it is lost."""

    _key: _Key | None = None
    _kind: type[LostError] = LockLost

    def __init__(self, lock: "Lock", place: Place) -> None:
        super().__init__(lock._zk, place.session, str(lock), self._kind, path=lock.path)
        #: The fencing token: larger than that of everybody who held the lock before.
        self.token = place.token
        #: Of the znode that stands for it.
        self.path = place.path
        self.clock = place.clock
        self._lock, self._place = lock, place
        self._revocation = anyio.Event()
        self.guard(place.path)

    @property
    def revocation_requested(self) -> bool:
        """Whether somebody has asked us to give it up: by `Lock.request_revocation`, or with Curator's Revoker."""
        return self._revocation.is_set()

    async def wait_revocation_requested(self) -> None:
        """Until somebody asks us to give it up; for ever, if nobody does or it is lost before."""
        await self._revocation.wait()

    def release_soon(self) -> None:
        """As `release`, but all of it in the background."""
        if not self._ended:
            self._end()
            if self._lock.lock_delay_ms:
                delay.take_away(self._zk, self._lock.path, self._place.guid)
            self._place.leave()

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        self._engage(who())  # it may have been acquired in another task
        return self

    async def _changed(self, data: bytes) -> None:
        if data == REVOKE and not self.revocation_requested:
            self._revocation.set()
            if self._lock._on_revocation == "end":
                self.call_off("somebody asked for its revocation")

    async def _give_up(self) -> None:
        try:
            if self._lock.lock_delay_ms:
                # Before the other one: if we die in between, nobody has to wait.
                await delay.take_away(self._zk, self._lock.path, self._place.guid).wait()
        finally:
            removal = self._place.leave()
        await removal.wait()

    def lose(self, reason: str) -> None:
        if not self._ended and self._lock.lock_delay_ms:
            # Whoever comes next waits for its end and deletes it. If nobody does, we are to.
            try:
                self._zk.background(self._end_delay)
            except ClosedClientError:
                pass  # then whoever comes next is the only one who can
        super().lose(reason)

    async def _end_delay(self) -> None:
        await anyio.sleep(self._lock.lock_delay_ms / 1000)
        delay.take_away(self._zk, self._lock.path, self._place.guid)

    def _engage(self, task: Hashable) -> None:
        engaged = _engaged.setdefault(self._zk, {})
        if self._key is not None:
            engaged.pop(self._key, None)
        self._key = (self._lock.path, task)
        engaged[self._key] = self

    def _end(self) -> None:
        super()._end()
        if self._key is not None:
            _engaged.get(self._zk, {}).pop(self._key, None)


class Lock:
    """See the head of this file. One object may be used again and again, and by several tasks, which then take turns.

    ``async with lock as held`` waits for it without a limit; `acquire` can be given one.
    """

    _shared = False  # others that share it may hold it as well
    _rw = False  # of a read/write lock

    def __init__(
        self,
        zk: Client,
        path: str,
        *,
        data: bytes = b"",
        lock_delay_ms: int = 0,
        on_revocation: OnRevocation = "tell",
        layout: Layout = "kazoo",
        acl: Acls | None = None,
    ) -> None:
        """
        Args:
            path: of the znode below which the contenders' stand. It is created if need be, and stays.
            data: of our znode: what `queue` shows of us; UTF-8 text, if kazoo's ``contenders`` are to understand it.
            lock_delay_ms: if we end in an unclean way while we hold it, nobody else of ours gets it for so long.
            on_revocation: what is done when somebody asks us to give it up: ``tell`` sets
                `HeldLock.revocation_requested`, ``end`` cancels the body and raises `LockLost`.
            layout: how our znodes are named, see contenders.py: ``curator`` where Curator's clients contend.
            acl: of all znodes that are created; anybody may do anything, if it is not given.
        """
        check_path(path, "lock")
        check_one_of("layout", layout, LAYOUTS, "lock", path)
        check_one_of("on_revocation", on_revocation, ("tell", "end"), "lock", path)
        check_at_least("lock_delay_ms", lock_delay_ms, 0, "lock", path)
        check_data(data, "lock", path)
        self.path, self.data, self.lock_delay_ms = path, data, lock_delay_ms
        self._zk, self._layout, self._acl = zk, layout, acl
        self._on_revocation = on_revocation
        self._entered = Entered[HeldLock]()

    def __str__(self) -> str:
        return f"the lock {self.path}"

    async def acquire(self, timeout_ms: int | None = None) -> HeldLock:
        """Wait for it, at most so long; 0 is to say now or never, and waits for nothing but the servers' answers.

        Survives lost connections and sessions: we then stand at the end of the queue again. What is not given back, by
        ``async with`` on the result or by `Holding.release`, is held until the session ends.

        Raises:
            AcquireTimeoutError: it was not to be had in time.
            NotReentrantError: this task holds it.
            NoServerError: no server could be reached for as long as the client waits for one.
        """
        check_timeout(timeout_ms, self.path)
        engaged = _engaged.setdefault(self._zk, {})
        task = who()
        if (self.path, task) in engaged:
            error = NotReentrantError(f"{self}: this task holds it already, and would wait for itself for ever")
            other = engaged[self.path, task]
            raise about(error, "acquire", self.path, other.session.id if isinstance(other, HeldLock) else 0)
        engaged[self.path, task] = self
        held: HeldLock | None = None
        attempt = _Attempt(self, wait=timeout_ms != 0)
        try:
            with anyio.move_on_after(timeout_ms / 1000 if timeout_ms else None):
                held = await attempt.run()
            if held is None:
                await attempt.wait_left()
                raise acquire_timeout(str(self), self.path, timeout_ms)
        finally:
            if held is None:
                del engaged[self.path, task]
        held._engage(task)
        return held

    async def __aenter__(self) -> HeldLock:
        return await self._entered.enter(await self.acquire())

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return await self._entered.leave(self, kind, error, trace)

    def _hold(self, place: Place) -> HeldLock:
        """It is ours. What is built like a lock may hold something else."""
        return HeldLock(self, place)

    # Who else ---------------------------------------------------------------------------------------------------------

    async def queue(self) -> list[Waiting]:
        """Who holds it and who waits for it, in that order; also kazoo's and Curator's. One request each."""
        try:
            names = await self._zk.children(self.path)
        except NoNodeError:
            return []
        found = [each for each in map(contender, names) if each is not None]
        read = await read_all(self._zk, [join(self.path, each.name) for each in found])
        waiting = [
            Waiting(
                join(self.path, each.name),
                znode.data,
                znode.stat.ephemeral_owner,
                znode.stat.czxid,
                znode.stat.ctime_ms,
                each.shared,
            )
            for each, znode in zip(found, read, strict=True)
            if znode is not None
        ]
        return sorted(waiting, key=lambda each: each.token)

    async def request_revocation(self) -> list[Waiting]:
        """Ask who holds it to give it up. Returns who was asked: nobody if it is free, several if it is shared.

        As Curator's Revoker does it: by overwriting the data of their znodes. It is up to them what they do.
        """
        asked: list[Waiting] = []
        for each in await self.queue():
            if asked and not (each.shared and asked[0].shared):
                break
            try:
                await self._zk.set(each.path, REVOKE, lost_reply="again")
            except NoNodeError:
                continue
            asked.append(each)
        return asked


class _Attempt:
    """One call of `Lock.acquire`."""

    def __init__(self, lock: Lock, *, wait: bool) -> None:
        self._lock, self._wait = lock, wait
        self._zk = lock._zk
        self._left: list[Removal] = []

    async def run(self) -> HeldLock | None:
        """None if it is not to be had at once."""
        if not self._wait and await self._is_taken():
            return None
        while True:
            try:
                return await self._queue_up(await current_session(self._zk))
            except (SessionLostError, PlaceLostError):
                await anyio.lowlevel.checkpoint()

    async def wait_left(self) -> None:
        """Until nothing of the attempt is left; not long, and not if that needs another connection first."""
        with anyio.move_on_after(RELEASE_WAIT_MS / 1000, shield=True):
            for removal in self._left:
                if self._zk.state is State.CONNECTED:
                    await removal.wait()

    async def _is_taken(self) -> bool:
        try:
            names = await self._zk.children(self._lock.path)
        except NoNodeError:
            return False
        others = map(contender, names)
        return any(other is not None and not (other.shared and self._lock._shared) for other in others)

    async def _queue_up(self, session: Session) -> HeldLock | None:
        lock = self._lock
        place = Place(self._zk, session, lock.path, layout=lock._layout, shared=lock._shared, rw=lock._rw)
        held: HeldLock | None = None
        delayed = False
        try:
            await place.take(lock.data, lock._acl)
            while True:
                if not await place.is_first():
                    if not self._wait:
                        return None
                    await place.wait_next()
                elif delay.among(place.names):
                    if not await delay.wait_out(
                        self._zk, session, lock.path, place.names, place.clock, wait=self._wait
                    ):
                        return None
                else:
                    break
            if lock.lock_delay_ms:
                delayed = True
                await delay.put(self._zk, session, lock.path, place.guid, lock.lock_delay_ms, lock._acl)
            session.check()
            held = lock._hold(place)
            return held
        finally:
            if held is None:
                if delayed:
                    self._left.append(delay.take_away(self._zk, lock.path, place.guid))
                self._left.append(place.leave())
