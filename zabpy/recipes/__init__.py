"""Recipes: locks, elections, queues, barriers and the like, made of a client's public methods and nothing else.

May import: zabpy.model, zabpy.client; anyio.
Imported by: users, zabpy.blocking, the shell.
Read holding.py first (what happens when what a body relies on is lost), then lock.py; client.py has a method for each.
"""

from .assignment import Assignment as Assignment
from .barrier import Barrier as Barrier
from .candidates import Candidate as Candidate, Leaders as Leaders, in_order as in_order
from .choice import DownPolicy as DownPolicy, Strategy as Strategy
from .claim import Claim as Claim
from .client import Client as Client, connect as connect
from .contenders import Contender as Contender, contender as contender
from .counter import Counter as Counter, NotACounterError as NotACounterError
from .delay_queue import DelayQueue as DelayQueue
from .discovery import (
    NoInstanceError as NoInstanceError,
    ServiceRegistration as ServiceRegistration,
    ServiceView as ServiceView,
)
from .double_barrier import (
    BarrierLost as BarrierLost,
    BarrierMember as BarrierMember,
    DoubleBarrier as DoubleBarrier,
)
from .election import Election as Election, Term as Term
from .errors import (
    AcquireTimeoutError as AcquireTimeoutError,
    AssignmentLost as AssignmentLost,
    LeadershipLost as LeadershipLost,
    LockLost as LockLost,
    LostError as LostError,
    NotReentrantError as NotReentrantError,
    RecipeError as RecipeError,
)
from .fencing import Fence as Fence, StaleTokenError as StaleTokenError
from .guarded import Guard as Guard, GuardedTransaction as GuardedTransaction
from .holding import Holding as Holding
from .instance import ServiceInstance as ServiceInstance
from .leases import Item as Item, LeaseLost as LeaseLost
from .lock import HeldLock as HeldLock, Lock as Lock, Waiting as Waiting
from .membership import Group as Group, GroupWatch as GroupWatch, Member as Member, Membership as Membership
from .mirror import (
    Added as Added,
    CacheChange as CacheChange,
    Missed as Missed,
    Removed as Removed,
    Updated as Updated,
)
from .multi_lock import HeldLocks as HeldLocks, MultiLock as MultiLock
from .partitioner import Partitioner as Partitioner
from .patience import TRANSIENT as TRANSIENT, Patience as Patience
from .read_write_lock import ReadWriteLock as ReadWriteLock
from .registration import Presence as Presence, Registration as Registration
from .semaphore import HeldLease as HeldLease, LeasesMaxError as LeasesMaxError, Semaphore as Semaphore
from .timed_lease import HeldTimedLease as HeldTimedLease, LeaseHolder as LeaseHolder, TimedLease as TimedLease
from .tree_cache import TreeCache as TreeCache
from .value import AtomicValue as AtomicValue, Value as Value
from .who import ACTING_FOR as ACTING_FOR
from .work_queue import WorkQueue as WorkQueue
