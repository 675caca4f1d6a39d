"""A lock that many readers share, or one writer holds alone.

    rw = zk.read_write_lock("/config")
    async with rw.read as held: ...
    async with rw.write as held: ...

Fair: who comes after a waiting writer waits for him, so that readers who come and go do not keep a writer away. Neither
side may be upgraded to the other, and a task that has one and asks for the other is refused (`NotReentrantError`).

The names below ``path`` are kazoo's (ReadLock, WriteLock, and Lock, which is a writer that kazoo's readers respect), or
with ``layout="curator"`` those of Curator's InterProcessReadWriteLock: see contenders.py, also for who sees whom.
"""

from zabpy.client import Client
from zabpy.model import Acls

from .contenders import Layout
from .lock import Lock, OnRevocation


class ReadLock(Lock):
    """The side of readers; otherwise as `Lock`."""

    _shared = _rw = True

    def __str__(self) -> str:
        return f"the read lock {self.path}"


class WriteLock(Lock):
    """The side of writers; otherwise as `Lock`."""

    _rw = True

    def __str__(self) -> str:
        return f"the write lock {self.path}"


class ReadWriteLock:
    """See the head of this file: ``read`` and ``write`` are used as a `Lock` is."""

    def __init__(
        self,
        zk: Client,
        path: str,
        *,
        data: bytes = b"",
        on_revocation: OnRevocation = "tell",
        layout: Layout = "kazoo",
        acl: Acls | None = None,
    ) -> None:
        """The arguments are those of `Lock`."""
        self.path = path
        self.read: Lock = ReadLock(zk, path, data=data, on_revocation=on_revocation, layout=layout, acl=acl)
        self.write: Lock = WriteLock(zk, path, data=data, on_revocation=on_revocation, layout=layout, acl=acl)
