"""The same client and recipes for code that does not wait with ``await``: scripts, web workers, notebooks.

    with zabpy.blocking.connect("zk1,zk2/app") as zk:
        zk.create("/greeting", b"hello")

May import: zabpy.model, zabpy.client, zabpy.recipes; anyio. Threads only in portal.py. zabpy.config only in config.py
and store.py, which are loaded when `open_config` or `open_store` is asked for, and pydantic-settings only in
settings_source.py, by `ConfigSource`.
Imported by: users.
Read portal.py first (an event loop in one thread, and calls from others), then stays.py (a ``with`` on it), pumps.py (a
``for``), opening.py (open, close, fork). client.py is every class of the async client for plain code: nobody edits it,
``python -m tests.blocking.generate`` writes it, and has to be run after each change of a public signature.
"""

from typing import TYPE_CHECKING

from .client import (
    Assignment as Assignment,
    AtomicValue as AtomicValue,
    Barrier as Barrier,
    BarrierMember as BarrierMember,
    Claim as Claim,
    Client as Client,
    Counter as Counter,
    DelayQueue as DelayQueue,
    DoubleBarrier as DoubleBarrier,
    Election as Election,
    EventStream as EventStream,
    Fired as Fired,
    Group as Group,
    GroupWatch as GroupWatch,
    HeldLease as HeldLease,
    HeldLock as HeldLock,
    HeldLocks as HeldLocks,
    HeldTimedLease as HeldTimedLease,
    Item as Item,
    Leaders as Leaders,
    Lock as Lock,
    Membership as Membership,
    MultiLock as MultiLock,
    Partitioner as Partitioner,
    ReadWriteLock as ReadWriteLock,
    Registration as Registration,
    Semaphore as Semaphore,
    ServiceRegistration as ServiceRegistration,
    ServiceView as ServiceView,
    Session as Session,
    Term as Term,
    TimedLease as TimedLease,
    Transaction as Transaction,
    TreeCache as TreeCache,
    WorkQueue as WorkQueue,
    connect as connect,
)
from .portal import TimedOutError as TimedOutError
from .stays import Lost as Lost, OnLost as OnLost
from .wrapping import Context as Context, Holding as Holding, NotHeldError as NotHeldError, Stream as Stream

if TYPE_CHECKING:
    from .config import Config as Config, open_config as open_config
    from .settings_source import ConfigSource as ConfigSource
    from .store import Store as Store, open_store as open_store


def __getattr__(name: str) -> object:
    if name in ("Config", "open_config"):
        from . import config

        return getattr(config, name)
    if name in ("Store", "open_store"):
        from . import store

        return getattr(store, name)
    if name == "ConfigSource":
        from .settings_source import ConfigSource

        return ConfigSource
    raise AttributeError(f"module 'zabpy.blocking' has no attribute {name!r}")
