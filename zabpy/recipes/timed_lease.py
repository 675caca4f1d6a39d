"""A lease for a stretch of time, which outlives its holder: for a job that one of many is to do once a day.

    lease = zk.timed_lease("/jobs/daily", duration_ms=24 * 3_600_000, name="host-7")
    held = await lease.acquire(timeout_ms=0)    # AcquireTimeoutError: somebody else has it
    async with held:                            # cancelled when its time is over; the end of the body does not end it
        await job(fence=held.token)

Who has the lease, acquires it again under the same name, for another such stretch from then on.

**Whose clock.** The time is counted by the servers: a lease lasts until the ``mtime`` of its znode plus its duration,
and who wants it compares that with the ``ctime`` of the lock znode that it had to create to ask. The holder counts by
its own clock from before it asked, so it stops before any other may begin. What is relied on: that clocks run at the
same speed, and that a new leader's clock is not ahead of the last one's. A holder that wants more has its token checked
where it writes.

The layout is that of kazoo's NonBlockingLease: a lock below ``path``, and ``path/lease_holder``. kazoo's clients
compare the end that is written there with their own clocks, and theirs is judged by us with the servers'.
"""

import json
import logging
import math
from datetime import UTC, datetime
from types import TracebackType
from typing import NamedTuple
from uuid import uuid4

import anyio

from zabpy.client import Client, ClosedClientError, ConnectionLossError, Session, SessionLostError
from zabpy.model import Acls, BadVersionError, NodeExistsError, NoNodeError, Stat, ZabpyError, join

from .arguments import bad, check_at_least, check_timeout
from .entered import Entered
from .errors import LockLost, acquire_timeout
from .holding import Holding
from .lock import HeldLock, Lock
from .patience import TRANSIENT, Patience
from .who import ACTING_FOR

HOLDER = "lease_holder"
#: kazoo's format, and its number.
DATE, VERSION = "%Y-%m-%dT%H:%M:%S", 1
log = logging.getLogger(__name__)


def now_ms() -> int:
    """By the local clock, which never goes back."""
    return int(anyio.current_time() * 1000)


class LeaseHolder(NamedTuple):
    """Who had it last, and until when by the servers' clock, in ms since 1970; ``token`` as in `HeldTimedLease`."""

    name: str
    ends_ms: int
    token: int


class Period(Session):
    """A stretch of time by the local clock, in place of a session."""

    def __init__(self, duration_ms: int, ends_ms: int) -> None:
        super().__init__(0, b"", duration_ms, ends_ms, now_ms)

    def check(self) -> None:
        if self.lost or now_ms() >= self.deadline_ms:
            raise SessionLostError(f"its time of {self.timeout_ms} ms is over")


class HeldTimedLease(Holding):
    """Lost when its time is over. The end of the body leaves the lease to its holder until then: see `release`."""

    def __init__(self, lease: "TimedLease", period: Period, stat: Stat) -> None:
        super().__init__(lease._zk, period, str(lease), LockLost, path=lease.path)
        #: Larger than that of everybody who had the lease before: the zxid at which it was acquired.
        self.token = stat.mzxid
        self._lease, self._path, self._period = lease, join(lease.path, HOLDER), period
        self._zk.background(self._run_out)

    @property
    def time_left_ms(self) -> int:
        """By the local clock."""
        return self._period.time_left_ms

    async def release(self) -> None:
        """Have it be free for others before its time. Does nothing if that is over, or if somebody has it since.

        Raises:
            LockLost: the session was lost meanwhile; it may have been done, or not. To do it again does no harm.
            NoServerError: no server could be reached for as long as the client waits for one.
        """
        self._look()
        self._end()
        if self._reason:
            return
        # Versions begin anew where kazoo acquires a lease: it deletes the znode. Nobody does while we have the lock.
        async with self._lease._lock as lock:
            while True:
                try:
                    stat = await self._zk.exists(self._path, session=lock.session)
                    if stat is not None and stat.mzxid == self.token:
                        await self._zk.delete(self._path, stat.version, session=lock.session)
                    return
                except (BadVersionError, NoNodeError):
                    return
                except ConnectionLossError:
                    pass  # look whether it was done

    async def _leave(self) -> None:
        self._look()
        if not self._ended:
            self._end()

    async def _run_out(self) -> None:
        with anyio.move_on_after(self._period.time_left_ms / 1000):
            await self._over.wait()
        self._look()


class TimedLease:
    """See the head of this file."""

    def __init__(self, zk: Client, path: str, duration_ms: int, *, name: str = "", acl: Acls | None = None) -> None:
        """
        Args:
            duration_ms: for how long it is ours, from when it was asked for.
            name: who we are: one that nobody else has, and that we still have after a restart. If it is not given,
                nobody is taken for us.
        """
        check_at_least("duration_ms", duration_ms, 1, "timed_lease", path)
        if not isinstance(name, str):
            raise bad(f"a name is a str, not {name!r}", "timed_lease", path)
        self.path, self.duration_ms = path, duration_ms
        self.name = name or uuid4().hex
        self._zk, self._acl = zk, acl
        self._lock = Lock(zk, path, data=self.name.encode(), acl=acl)
        self._entered = Entered[HeldTimedLease]()
        self._given_up: set[bytes] = set()  # nonces of ours that may be there and that nobody relies on

    def __str__(self) -> str:
        return f"the timed lease {self.path}"

    async def acquire(self, timeout_ms: int | None = None) -> HeldTimedLease:
        """Have it as soon as it is free or ours, which is waited for at most so long; 0 is to say now or never.

        What the servers take to answer, and to ask others that ask at the same moment, comes on top. When its time is
        over all who wait ask again, at once: it is made for few.

        Raises:
            AcquireTimeoutError: somebody else has it, for longer than that.
            LockLost: the session was lost while we asked: ask again.
            NoServerError: no server could be reached for as long as the client waits for one.

        If it raises, or is cancelled, what it may have written is taken back, in the background; only if the client is
        closed then and reaches no server meanwhile is the lease taken until its time is over. What was ours already is
        not taken back: it then lasts longer than we know.
        """
        check_timeout(timeout_ms, self.path)
        until = math.inf if timeout_ms is None else anyio.current_time() + timeout_ms / 1000
        while True:
            request = _Request(self)
            try:
                async with self._lock as lock:
                    found = await request.ask(lock)
            except BaseException:
                request.take_back()
                raise
            if isinstance(found, HeldTimedLease):
                return found
            if anyio.current_time() >= until:
                raise acquire_timeout(str(self), self.path, timeout_ms)
            with anyio.CancelScope(deadline=until):
                await self._wait_other(found)

    async def __aenter__(self) -> HeldTimedLease:
        return await self._entered.enter(await self.acquire())

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return await self._entered.leave(self, kind, error, trace)

    async def holder(self) -> LeaseHolder | None:
        """Who had it last, perhaps until a time that is over; None if nobody has, or it was given back."""
        try:
            return _read(*await self._zk.get(join(self.path, HOLDER)))
        except NoNodeError:
            return None

    async def _wait_other(self, taken: "_Taken") -> None:
        """Until somebody gives it back or acquires it anew, or its time may be over."""
        try:
            stat, fired = await self._zk.exists_watched(join(self.path, HOLDER))
            with fired:
                if stat is not None and stat.mzxid == taken.token:
                    with anyio.move_on_after(None if taken.left_ms is None else taken.left_ms / 1000):
                        await fired.wait()
        except SessionLostError:
            pass  # who asks does so in the next one


class _Request:
    """One look at who has the lease, and a write if nobody has. ``take_back`` if it does not end well."""

    def __init__(self, lease: TimedLease) -> None:
        self._lease, self._zk = lease, lease._zk
        self._path, self._nonce = join(lease.path, HOLDER), uuid4().hex.encode()
        self._period: Period | None = None
        self._writes = False  # what was nobody's; what was ours before stays ours
        self._held: HeldTimedLease | None = None

    async def ask(self, lock: HeldLock) -> "HeldTimedLease | _Taken":
        duration_ms = self._lease.duration_ms
        period = self._period = Period(duration_ms, now_ms() + duration_ms)
        while True:
            try:
                data, stat = await self._zk.get(self._path, session=lock.session)
            except NoNodeError:
                version, ours = None, False
            else:
                version = stat.version
                if self._nonce in data:
                    return self._have(period, stat)  # the answer to our write was lost
                there = _read(data, stat)
                if there is None:
                    return _Taken(stat.mzxid, None)
                left_ms = there.ends_ms - lock.clock.now_ms()
                if there.name != self._lease.name and left_ms > 0:
                    return _Taken(stat.mzxid, left_ms)
                ours = left_ms > 0 and not any(nonce in data for nonce in self._lease._given_up)
            data = self._written(lock.clock.now_ms() + duration_ms)
            self._writes = not ours
            try:
                if version is None:
                    made = await self._zk.create(
                        self._path, data, acl=self._lease._acl, lost_reply="raise", session=lock.session
                    )
                    return self._have(period, made.stat)
                return self._have(period, await self._zk.set(self._path, data, version, session=lock.session))
            except (ConnectionLossError, BadVersionError, NodeExistsError, NoNodeError):
                pass  # look again

    def _have(self, period: Period, stat: Stat) -> HeldTimedLease:
        self._held = HeldTimedLease(self._lease, period, stat)
        return self._held

    def _written(self, ends_ms: int) -> bytes:
        return json.dumps(
            {
                "version": VERSION,
                "holder": self._lease.name,
                "end": datetime.fromtimestamp(ends_ms / 1000, UTC).strftime(DATE),
                "duration_ms": self._lease.duration_ms,
                "nonce": self._nonce.decode(),
            }
        ).encode()

    def take_back(self) -> None:
        """Nobody is told that he has the lease: have it be free again, if we have written. In the background."""
        if self._held is not None:
            self._held.lose("it was not acquired to the end")
        if self._writes:
            self._lease._given_up.add(self._nonce)
            try:
                self._zk.background(self._take_back, cleanup=True)
            except ClosedClientError:
                pass

    async def _take_back(self) -> None:
        assert self._period is not None
        ACTING_FOR.set(None)  # whoever gave up may hold the lock again
        patience = Patience(self._zk)
        with anyio.move_on_after(self._period.time_left_ms / 1000):  # then it is over anyway
            try:
                while not await self._taken_back():
                    await patience.wait()
            except ClosedClientError:
                pass
            except ZabpyError as error:
                log.warning("the lease %s, which was given up, cannot be taken back: %s", self._path, error)
        self._lease._given_up.discard(self._nonce)

    async def _taken_back(self) -> bool:
        # Once we have the lock, what the session that has written had on its way was done, or will never be. And while
        # we have it nobody deletes the znode and makes another one, whose versions begin anew.
        try:
            async with self._lease._lock as lock:
                data, stat = await self._zk.get(self._path, session=lock.session)
                if self._nonce in data:
                    await self._zk.delete(self._path, stat.version, session=lock.session)
        except (NoNodeError, BadVersionError):
            pass
        except (LockLost, *TRANSIENT):
            return False
        return True


class _Taken(NamedTuple):
    """Somebody else has it, for so long; None: nobody knows how long."""

    token: int
    left_ms: int | None


def _read(data: bytes, stat: Stat) -> LeaseHolder | None:
    """None for what nobody of us has written: that is not touched."""
    try:
        said = json.loads(data)
        if said["version"] != VERSION:
            return None
        if "duration_ms" in said:
            ends_ms = stat.mtime_ms + int(said["duration_ms"])
        else:
            ends_ms = int(datetime.strptime(said["end"], DATE).replace(tzinfo=UTC).timestamp() * 1000)
        return LeaseHolder(str(said["holder"]), ends_ms, stat.mzxid)
    except (ValueError, KeyError, TypeError):
        return None
