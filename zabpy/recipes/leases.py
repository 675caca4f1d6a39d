"""What queues have in common: entries that are leased to one consumer at a time, and deleted when their work is done.

    PATH/entries/entry-100-0000000042   an item: its rank, and a number of the server's; never written again
    PATH/taken/entry-100-0000000042     its lease, ephemeral, while somebody works on it
    PATH/dead/…                         items that were tried too often

One recursive watch on PATH tells each consumer of entries and leases, so that taking one lists nothing, however many
there are. A lease is one transaction; it also creates and deletes a child of the entry, which leaves nothing but a
count: the attempts are half the entry's ``cversion``, and survive whoever takes it.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from random import Random
from types import TracebackType
from typing import Self
from uuid import uuid4

import anyio

from zabpy.client import (
    Client,
    ClosedClientError,
    ConnectionLossError,
    Created,
    Deleted,
    Event,
    NameLostError,
    NoServerError,
    Resynced,
    Session,
    SessionLostError,
    TransactionFailedError,
)
from zabpy.model import Acls, NodeExistsError, NoNodeError, Stat, ZabpyError, join, parent_of

from .arguments import check_at_least, check_data, check_path
from .backlog import Backlog, rank_of
from .errors import LostError
from .holding import Holding
from .patience import TRANSIENT, Patience
from .removal import Removal
from .sessions import current_session

#: Consumers that met at one entry choose among so many at most, and wait a random time up to so long before they try
#: for one. Who loses doubles its time, who wins takes a quarter off: that is even where each item is tried for in vain
#: less than once, whatever their number n, as long as the time may grow to n times what the news of a lease takes.
SPREAD_MAX, PAUSE_MS_MAX = 16, 1_024
#: Of our leases; kazoo's have 0.
LEASE_VERSION = 1


class LeaseLost(LostError):
    """The item may be, or may have been, given to another consumer: what the body did for it may be done again."""


class Item(Holding):
    """A leased item: ``data``, and how often it was given to somebody, this time included: ``attempts``.

    ``token`` is the lease's czxid: a fencing token, greater each time the item is leased. ``rank`` is its priority or
    due time. ``path`` is the lease's, ``entry_path`` the item's.
    """

    def __init__(self, zk: Client, session: Session, path: str, name: str, acl: Acls | None) -> None:
        super().__init__(zk, session, f"the lease of {path}/entries/{name}", LeaseLost, path=f"{path}/entries/{name}")
        self.name = name
        self.mark = uuid4().hex.encode()  # the lease's data: a znode of its name may also be the next one's lease
        self._acl = acl
        self.entry_path, self.path = f"{path}/entries/{name}", f"{path}/taken/{name}"
        self.data = b""
        self.token = self.attempts = self.rank = 0
        self._grave = f"{path}/dead/{name}"
        self._bury = False
        self._finished = anyio.Event()
        self._failed: ZabpyError | None = None

    def watch(self) -> None:
        """Lose it when somebody deletes the lease."""
        self._zk.background(self._watch_lease)

    async def _watch_lease(self) -> None:
        try:
            _, fired = await self._read(self.path)
        except NoNodeError:
            self.lose("the lease was deleted by somebody")
        except ZabpyError as error:
            self.lose(str(error))
        else:
            await self._guard(self.path, fired)

    async def finish(self) -> None:
        """The work is done: delete item and lease in one transaction, and wait until that is acknowledged.

        It goes on in the background when this is cancelled. Raises `LeaseLost` if the session ended before; whether the
        item was deleted is then not known: if it is gone, another consumer may have done it meanwhile.
        """
        self.check()
        self._end()  # that the lease goes is no loss from here on
        self._failed = ClosedClientError("the client was closed before the end of the work was acknowledged")
        self._zk.background(self._finish, cleanup=True)
        await self._finished.wait()
        if self._failed is not None:
            raise self._failed

    async def _finish(self) -> None:
        try:
            await self._delete_both()
            self._failed = None
        except SessionLostError as error:
            self._reason = str(error)
            self._failed = self._loss()
        except ZabpyError as error:
            self._failed = error
        finally:
            self._finished.set()

    async def _delete_both(self) -> None:
        patience = Patience(self._zk)
        while True:
            try:
                ending = self._zk.transaction(lost_reply="once", session=self.session)
                await ending.delete(self.entry_path).delete(self.path, version=LEASE_VERSION).commit()
                return
            except TransactionFailedError as failed:
                if failed.path == self.path:
                    self._reason = f"the lease was deleted by somebody: {failed.error}"
                    raise self._loss() from failed
                await self.remove_lease().wait()
                if not isinstance(failed.error, NoNodeError):
                    raise
                return  # somebody deleted the item; or we, where servers keep no account and an answer got lost
            except (ConnectionLossError, NoServerError):
                await patience.wait()

    def bury(self) -> None:
        """When it is given back, have it moved to ``dead``."""
        self._bury = True

    async def _give_up(self) -> None:
        if self._bury:
            try:
                await self._move_to_dead()
                return
            except (TransactionFailedError, *TRANSIENT):
                pass  # given back instead: the next one to lease it finds that it was tried too often
        await self.remove_lease().wait()

    async def _move_to_dead(self) -> None:
        # A name of its own: numbers of entries begin anew when a queue is deleted and made again.
        stat = await self._zk.exists(self.entry_path, session=self.session)
        if stat is None:
            await self.remove_lease().wait()
            return
        grave = f"{self._grave}-{stat.czxid:x}"
        await self._zk.ensure(parent_of(grave), acl=self._acl, session=self.session)
        moving = self._zk.transaction(session=self.session)
        await moving.create(grave, self.data, acl=self._acl).delete(self.entry_path).delete(self.path).commit()

    def remove_lease(self) -> Removal:
        """Have the lease deleted, if it is there and this one. Begins at once, in the background."""
        return _LeaseRemoval(self)


class _LeaseRemoval(Removal):
    """What stands there may be the next one's lease, if the answer to a first delete was lost."""

    def __init__(self, item: Item) -> None:
        self._item = item
        super().__init__(item._zk, item.session, parent_of(item.path), name=item.name)

    async def _delete(self, name: str) -> None:
        item = self._item
        # Behind it stands whatever came of a transaction, or of a delete, whose answer we have not had.
        await self._zk.sync(self._parent, session=item.session)
        data, stat = await self._zk.get(item.path, session=item.session)
        if data == item.mark and stat.ephemeral_owner == item.session.id:
            await super()._delete(name)


class LeaseQueue:
    """See the head of this file. What the kinds of queues differ in are the ranks, and who may be leased when."""

    _kind: str

    def __init__(
        self,
        zk: Client,
        path: str,
        *,
        attempts_max: int | None = None,
        acl: Acls | None = None,
        rng: Random | None = None,
    ) -> None:
        check_path(path, self._kind)
        if attempts_max is not None:
            check_at_least("attempts_max", attempts_max, 1, self._kind, path)
        self._zk, self.path, self.attempts_max, self._acl = zk, path, attempts_max, acl
        self._rng = Random() if rng is None else rng
        self._entries, self._leases = join(path, "entries"), join(path, "taken")
        self._backlog = Backlog()
        self._changed = anyio.Event()
        self._error: Exception | None = None
        self._spread, self._pause_ms = 1, 0.0
        self._scope = anyio.CancelScope()
        self._over: anyio.Event | None = None

    async def __aenter__(self) -> Self:
        if self._over is not None:
            raise RuntimeError("a queue is opened for taking once; make another object")
        self._over = anyio.Event()
        self._zk.background(self._keep_up, self._over)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._over is not None
        self._scope.cancel()
        with anyio.CancelScope(shield=True):
            await self._over.wait()

    async def size(self) -> int:
        """How many items there are, those that are being worked on included."""
        stat = await self._zk.exists(self._entries)
        return 0 if stat is None else stat.num_children

    @asynccontextmanager
    async def take(self) -> AsyncIterator[Item]:
        """The next item, leased; waits until there is one. Several tasks may take from one object at once.

        When the body ends, the item is deleted, and that has been acknowledged when this returns. When it raises or is
        cancelled the item is given back, or, at its last attempt, moved to ``dead``. When the lease is lost the body is
        cancelled and `LeaseLost` raised. (`LeaseLost` also where the body had ended, and the session was over before
        the end of the work could be acknowledged.)
        """
        item = await self._next()
        try:
            async with item:
                yield item
                await item.finish()
        finally:
            self._backlog.unreserve(item.name)
            self._tell()

    # For the kinds of queues ------------------------------------------------------------------------------------------

    async def _prepare(self) -> None:
        """What has to be done before each look for an entry."""

    def _rank_max(self) -> int | None:
        """Up to which rank entries may be leased now; None: all."""
        return None

    def _wait_ms(self) -> float | None:
        """How long until that may be another one; None: not by itself."""
        return None

    def _is_due(self, item: Item, lease: Stat) -> bool:
        """Whether it may be given out, now that it was leased at a time that the servers know."""
        return True

    def _checked(self, items: Sequence[bytes]) -> list[bytes]:
        for data in items:
            check_data(data, "put", self.path)
        return list(items)

    async def _put(self, values: list[bytes], rank: str) -> None:
        """All of them or none, exactly once."""
        prefix = join(self._entries, f"entry-{rank}-")
        while True:
            putting = self._zk.transaction(lost_reply="once")
            for value in values:
                putting.create(prefix, value, acl=self._acl, sequence=True)
            try:
                await putting.commit()
                return
            except NameLostError:
                return  # they were put, and are done already
            except TransactionFailedError as failed:
                if not isinstance(failed.error, NoNodeError):
                    raise
            await self._ensure()

    # Taking -----------------------------------------------------------------------------------------------------------

    async def _next(self) -> Item:
        if self._over is None or self._over.is_set():
            raise self._error or RuntimeError("take items within `async with queue:`")
        patience = Patience(self._zk)
        while True:
            name = await self._pick()
            self._backlog.reserve(name)
            item: Item | None = None
            try:
                item = await self._lease(name)
            except TRANSIENT:
                await patience.wait()
            finally:
                if item is None:
                    self._backlog.unreserve(name)
                    self._tell()
            if item is not None:
                return item

    async def _pick(self) -> str:
        """A free entry, once there is one."""
        while True:
            if self._error is not None:
                raise self._error
            await self._prepare()
            name = self._backlog.pick(self._rng, self._spread, self._rank_max())
            if name is not None and self._pause_ms >= 1:
                # Others were faster the last times: let some of them be, and the news of it come here.
                await anyio.sleep(self._rng.random() * self._pause_ms / 1000)
                if not self._backlog.is_free(name):
                    continue
            if name is not None:
                return name
            wait_ms = self._wait_ms()
            changed = self._changed
            with anyio.move_on_after(None if wait_ms is None else wait_ms / 1000):
                await changed.wait()

    async def _lease(self, name: str) -> Item | None:
        """Try to have this entry. None: somebody else has it, or it is gone."""
        item = Item(self._zk, await current_session(self._zk), self.path, name, self._acl)
        try:
            lease = await self._try(item)
        except BaseException:
            item.remove_lease()  # whether it came to be is not known
            raise
        if lease is None:
            self._spread = min(2 * self._spread, SPREAD_MAX)
            self._pause_ms = min(2 * self._pause_ms + 1, PAUSE_MS_MAX)
            return None
        self._spread, self._pause_ms = max(1, self._spread // 2), self._pause_ms * 0.75
        try:
            return await self._fetch(item, lease)
        except NoNodeError:
            item.remove_lease()
            return None
        except BaseException:
            item.remove_lease()
            raise

    async def _fetch(self, item: Item, lease: Stat) -> Item | None:
        item.token = lease.mzxid  # which is its czxid; that is not told if it is gone again and the answer was lost
        item.rank = rank_of(item.name) or 0
        if not self._is_due(item, lease):
            await item.release()
            return None
        item.watch()
        item.data, stat = await self._zk.get(item.entry_path, session=item.session)
        item.attempts = stat.cversion // 2
        if self.attempts_max is not None and item.attempts >= self.attempts_max:
            item.bury()
            if item.attempts > self.attempts_max:
                await item.release()
                return None
        return item

    async def _try(self, item: Item) -> Stat | None:
        child = join(item.entry_path, "attempt")
        # Once, or else a lease that we do not know of might come to be after we have looked for it.
        leasing = self._zk.transaction(lost_reply="once", session=item.session)
        # A create in a transaction gives no stat, a set does.
        leasing.create(item.path, acl=self._acl, ephemeral=True).set(item.path, item.mark)
        leasing.create(child).delete(child)
        try:
            stat = (await leasing.commit())[1]
            assert isinstance(stat, Stat)
            return stat
        except TransactionFailedError as failed:
            if failed.index == 0 and isinstance(failed.error, NoNodeError):
                await self._ensure()
            elif not isinstance(failed.error, NodeExistsError | NoNodeError):
                raise
            return None

    # Knowing what there is --------------------------------------------------------------------------------------------

    async def _keep_up(self, over: anyio.Event) -> None:
        try:
            with self._scope:
                async with self._zk.watch(self.path, recursive=True) as events:
                    async for event in events:
                        if isinstance(event, Resynced):
                            await self._list()
                        else:
                            self._note(event)
                        self._tell()
        except Exception as error:
            self._error = error  # whoever takes next is told
        finally:
            over.set()
            self._tell()

    def _tell(self) -> None:
        changed, self._changed = self._changed, anyio.Event()
        changed.set()

    async def _list(self) -> None:
        # What happens between the two, or before and behind them, is told by events that are still to be read here.
        patience = Patience(self._zk)
        while True:
            try:
                names = await self._zk.children(self._entries)
                self._backlog.reset(names, await self._zk.children(self._leases))
                return
            except NoNodeError:
                await self._ensure()
            except TRANSIENT:
                await patience.wait()

    def _note(self, event: Event) -> None:
        folder, _, name = event.path.rpartition("/")
        if folder == self._entries:
            if isinstance(event, Created):
                self._backlog.add(name)
            elif isinstance(event, Deleted):
                self._backlog.remove(name)
        elif folder == self._leases:
            if isinstance(event, Created):
                self._backlog.take(name)
            elif isinstance(event, Deleted):
                self._backlog.untake(name)

    async def _ensure(self) -> None:
        for path in (self._entries, self._leases):
            await self._zk.ensure(path, acl=self._acl)
