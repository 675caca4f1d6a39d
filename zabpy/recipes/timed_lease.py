"""A lease for a stretch of time, which outlives its holder: for a job that one of many is to do once a day.

    lease = zk.timed_lease("/jobs/daily", duration_ms=24 * 3_600_000, identifier="host-7")
    held = await lease.obtain()         # None: somebody else has it
    if held is not None:
        async with held:                # cancelled when its time is over; the end of the body does not end the lease
            await job(fence=held.token)

Who has the lease, obtains it again under the same identifier, for another such stretch from then on.

**Whose clock.** The time is counted by the servers: a lease lasts until the ``mtime`` of its znode plus its duration,
and who wants it compares that with the ``ctime`` of the lock znode that it had to create to ask. The holder counts by
its own clock from before it asked, so it stops before any other may begin. What is relied on: that clocks run at the
same speed, and that a new leader's clock is not ahead of the last one's. A holder that wants more has its token checked
where it writes.

The layout is that of kazoo's NonBlockingLease: a lock below ``path``, and ``path/lease_holder``. kazoo's clients
compare the end that is written there with their own clocks, and theirs is judged by us with the servers'.
"""

import json
from datetime import UTC, datetime
from typing import NamedTuple
from uuid import uuid4

import anyio

from zabpy.client import Client, ConnectionLossError, Session, SessionLostError
from zabpy.model import Acls, BadArgumentsError, BadVersionError, NodeExistsError, NoNodeError, Stat, join

from .errors import LockLost
from .holding import Holding
from .lock import HeldLock, Lock

HOLDER = "lease_holder"
#: kazoo's format, and its number.
DATE, VERSION = "%Y-%m-%dT%H:%M:%S", 1


def now_ms() -> int:
    """By the local clock, which never goes back."""
    return int(anyio.current_time() * 1000)


class LeaseHolder(NamedTuple):
    """Who had it last, and until when by the servers' clock, in ms since 1970; ``token`` as in `HeldTimedLease`."""

    identifier: str
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
    """Lost when its time is over. The end of the body, or `release`, leaves the lease as it is: see `give_back`."""

    def __init__(self, lease: "TimedLease", period: Period, stat: Stat) -> None:
        super().__init__(lease._zk, period, str(lease), LockLost)
        #: Larger than that of everybody who had the lease before: the zxid at which it was obtained.
        self.token = stat.mzxid
        self._lease, self._path, self._period = lease, join(lease.path, HOLDER), period
        self._zk.background(self._run_out)

    @property
    def time_left_ms(self) -> int:
        """By the local clock."""
        return self._period.time_left_ms

    async def give_back(self) -> None:
        """Have it be free before its time. Does nothing if that is over, or if somebody has obtained it since.

        Raises:
            LockLost: the session was lost meanwhile; it may have been done, or not. To do it again does no harm.
            NoServerError: no server could be reached for as long as the client waits for one.
        """
        self._look()
        self._end()
        if self._reason:
            return
        # Versions begin anew where kazoo obtains a lease: it deletes the znode. Nobody does while we have the lock.
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

    async def _run_out(self) -> None:
        with anyio.move_on_after(self._period.time_left_ms / 1000):
            await self._over.wait()
        self._look()


class TimedLease:
    """See the head of this file."""

    def __init__(
        self, zk: Client, path: str, duration_ms: int, *, identifier: str = "", acl: Acls | None = None
    ) -> None:
        """``identifier``: who we are: a name that no other one uses, and that we still have after a restart. If it is
        not given, nobody is taken for us."""
        if duration_ms < 1:
            raise BadArgumentsError(f"a lease of {duration_ms} ms")
        self.path, self.duration_ms = path, duration_ms
        self.identifier = identifier or uuid4().hex
        self._zk, self._acl = zk, acl
        self._lock = Lock(zk, path, identifier=self.identifier.encode(), acl=acl)

    def __str__(self) -> str:
        return f"the timed lease {self.path}"

    async def obtain(self) -> HeldTimedLease | None:
        """The lease, if it is free or ours; None if somebody else has it. Waits for nothing but others that ask, too.

        Raises:
            LockLost: the session was lost while we asked; we may have it or not: ask again.
            NoServerError: no server could be reached for as long as the client waits for one.
        """
        async with self._lock as lock:
            return await self._obtain(lock)

    async def holder(self) -> LeaseHolder | None:
        """Who had it last, perhaps until a time that is over; None if nobody has, or it was given back."""
        try:
            return _read(*await self._zk.get(join(self.path, HOLDER)))
        except NoNodeError:
            return None

    async def _obtain(self, lock: HeldLock) -> HeldTimedLease | None:
        path, nonce = join(self.path, HOLDER), uuid4().hex
        period = Period(self.duration_ms, now_ms() + self.duration_ms)
        while True:
            try:
                data, stat = await self._zk.get(path, session=lock.session)
            except NoNodeError:
                version = None
            else:
                version = stat.version
                if nonce.encode() in data:
                    return HeldTimedLease(self, period, stat)  # the answer to our write was lost
                there = _read(data, stat)
                if there is None or (there.identifier != self.identifier and lock.clock.now_ms() < there.ends_ms):
                    return None
            data = self._written(lock.clock.now_ms() + self.duration_ms, nonce)
            try:
                if version is None:
                    made = await self._zk.create(path, data, acl=self._acl, lost_reply="raise", session=lock.session)
                    return HeldTimedLease(self, period, made.stat)
                return HeldTimedLease(self, period, await self._zk.set(path, data, version, session=lock.session))
            except (ConnectionLossError, BadVersionError, NodeExistsError, NoNodeError):
                pass  # look again

    def _written(self, ends_ms: int, nonce: str) -> bytes:
        return json.dumps(
            {
                "version": VERSION,
                "holder": self.identifier,
                "end": datetime.fromtimestamp(ends_ms / 1000, UTC).strftime(DATE),
                "duration_ms": self.duration_ms,
                "nonce": nonce,
            }
        ).encode()


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
