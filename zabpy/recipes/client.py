"""The client that users hold: the plain one, and a method for each recipe."""

from collections.abc import Callable, Iterable, Sequence
from typing import Unpack

from zabpy import client
from zabpy.client import LostReply, Session, Settings, Transaction
from zabpy.model import Acls

from .barrier import Barrier
from .candidates import Leaders
from .choice import DownPolicy, Strategy
from .contenders import Layout
from .counter import Counter, Layout as CounterLayout
from .delay_queue import DelayQueue
from .discovery import ServiceRegistration, ServiceView
from .double_barrier import DoubleBarrier
from .election import Election
from .guarded import Guard, GuardedTransaction
from .instance import ServiceInstance
from .lock import Lock, OnRevocation
from .membership import Group, GroupLayout, Membership
from .multi_lock import MultiLock
from .partitioner import Partitioner
from .read_write_lock import ReadWriteLock
from .registration import Registration, TakeOver
from .semaphore import Semaphore
from .timed_lease import TimedLease
from .tree_cache import TreeCache
from .value import AtomicValue
from .work_queue import WorkQueue


class Client(client.Client):
    """`zabpy.client.Client` with a method for each recipe: ``zk.lock(path)`` is ``Lock(zk, path)``."""

    def lock(
        self,
        path: str,
        *,
        data: bytes = b"",
        lock_delay_ms: int = 0,
        on_revocation: OnRevocation = "tell",
        layout: Layout = "kazoo",
        acl: Acls | None = None,
    ) -> Lock:
        """``async with zk.lock(path) as held``: one at a time, with a fencing token: see `Lock`."""
        return Lock(
            self,
            path,
            data=data,
            lock_delay_ms=lock_delay_ms,
            on_revocation=on_revocation,
            layout=layout,
            acl=acl,
        )

    def read_write_lock(
        self,
        path: str,
        *,
        data: bytes = b"",
        on_revocation: OnRevocation = "tell",
        layout: Layout = "kazoo",
        acl: Acls | None = None,
    ) -> ReadWriteLock:
        """``async with rw.read`` for many at a time, ``async with rw.write`` for one alone: see `ReadWriteLock`."""
        return ReadWriteLock(self, path, data=data, on_revocation=on_revocation, layout=layout, acl=acl)

    def multi_lock(
        self, paths: Iterable[str], *, data: bytes = b"", layout: Layout = "kazoo", acl: Acls | None = None
    ) -> MultiLock:
        """Several locks, all or none: see `MultiLock`."""
        return MultiLock(self, [Lock(self, path, data=data, layout=layout, acl=acl) for path in paths])

    def semaphore(
        self,
        path: str,
        leases_max: int,
        *,
        data: bytes = b"",
        layout: Layout = "kazoo",
        acl: Acls | None = None,
    ) -> Semaphore:
        """``async with zk.semaphore(path, 3) as held``: so many at a time: see `Semaphore`."""
        return Semaphore(self, path, leases_max, data=data, layout=layout, acl=acl)

    def timed_lease(self, path: str, duration_ms: int, *, name: str = "", acl: Acls | None = None) -> TimedLease:
        """For a job that one is to do once in so long: see `TimedLease`."""
        return TimedLease(self, path, duration_ms, name=name, acl=acl)

    def registered(
        self, path: str, data: bytes = b"", *, acl: Acls | None = None, take_over: TakeOver = "own", wait: bool = True
    ) -> Registration:
        """An ephemeral znode that repairs itself for as long as the block lasts: see `Registration`."""
        return Registration(self, path, data, acl=acl, take_over=take_over, wait=wait)

    def barrier(self, path: str, *, acl: Acls | None = None) -> Barrier:
        """Up while its znode is there; whoever waits goes on when it is gone."""
        return Barrier(self, path, acl=acl)

    def double_barrier(self, path: str, count: int, *, data: bytes = b"", acl: Acls | None = None) -> DoubleBarrier:
        """So many begin together and end together: ``async with zk.double_barrier(path, 3) as member``."""
        return DoubleBarrier(self, path, count, data=data, acl=acl)

    def counter(self, path: str, *, start: int = 0, layout: CounterLayout = "text", acl: Acls | None = None) -> Counter:
        """A number that many count up and down together."""
        return Counter(self, path, start=start, layout=layout, acl=acl)

    def atomic_value(self, path: str, *, default: bytes = b"", acl: Acls | None = None) -> AtomicValue:
        """A value that many change, where nobody's change is lost."""
        return AtomicValue(self, path, default=default, acl=acl)

    def work_queue(self, path: str, *, attempts_max: int | None = None, acl: Acls | None = None) -> WorkQueue:
        """Work that is done at least once: ``async with zk.work_queue(path) as queue``, then ``queue.take()``."""
        return WorkQueue(self, path, attempts_max=attempts_max, acl=acl)

    def transaction(
        self, *, guard: Guard | None = None, lost_reply: LostReply = "raise", session: Session | None = None
    ) -> Transaction:
        """Several writes as one; with a ``guard`` only while that is held: ``zk.transaction(guard=held)``."""
        if guard is None:
            return super().transaction(lost_reply=lost_reply, session=session)
        return GuardedTransaction(self, guard, lost_reply)

    def delay_queue(self, path: str, *, attempts_max: int | None = None, acl: Acls | None = None) -> DelayQueue:
        """Work for later, by the servers' clock: ``async with zk.delay_queue(path) as queue``; see `DelayQueue`."""
        return DelayQueue(self, path, attempts_max=attempts_max, acl=acl)

    def tree_cache(
        self, path: str, *, depth_max: int | None = None, keep: Callable[[str], bool] | None = None
    ) -> TreeCache:
        """A subtree kept in memory: ``async with zk.tree_cache(path) as cache``."""
        return TreeCache(self, path, depth_max=depth_max, keep=keep)

    def group(self, path: str, *, layout: GroupLayout = "party") -> Group:
        """The members of a group: see `Group`."""
        return Group(self, path, layout=layout)

    def member(
        self,
        path: str,
        name: str,
        data: bytes | None = None,
        *,
        layout: GroupLayout = "party",
        acl: Acls | None = None,
    ) -> Membership:
        """Take part in a group for as long as the block lasts: see `Group`."""
        return Group(self, path, layout=layout).member(name, data, acl=acl)

    def election(
        self,
        path: str,
        *,
        data: bytes = b"",
        lock_delay_ms: int = 0,
        layout: Layout = "kazoo",
        acl: Acls | None = None,
    ) -> Election:
        """Stand for leader, term after term, or see who does: see `Election`."""
        return Election(self, path, data=data, lock_delay_ms=lock_delay_ms, layout=layout, acl=acl)

    def observe(self, path: str) -> Leaders:
        """Who leads, and who comes to: ``async with zk.observe(path) as leaders: async for leader in leaders``."""
        return Leaders(self, path)

    def partitioner(
        self,
        path: str,
        items: Iterable[str],
        *,
        name: str = "member",
        settle_ms: int = 1_000,
        acl: Acls | None = None,
    ) -> Partitioner:
        """Share out work with others: see `Partitioner`."""
        return Partitioner(self, path, items, name=name, settle_ms=settle_ms, acl=acl)

    def registered_service(
        self, path: str, instance: ServiceInstance, *, acl: Acls | None = None, take_over: TakeOver = "own"
    ) -> ServiceRegistration:
        """Have an instance be found at ``path/name/id`` for as long as the block lasts: see `ServiceRegistration`."""
        return ServiceRegistration(self, path, instance, acl=acl, take_over=take_over)

    def service(
        self, path: str, name: str, *, strategy: str | Strategy = "round_robin", down: DownPolicy | None = None
    ) -> ServiceView:
        """The instances of a service, to choose among: see `ServiceView`."""
        return ServiceView(self, path, name, strategy=strategy, down=down)


def connect(servers: str | Sequence[str], **settings: Unpack[Settings]) -> Client:
    """A client for these servers: ``async with connect("zk1,zk2/app") as zk``. The settings are `Client`'s."""
    return Client(servers, **settings)
