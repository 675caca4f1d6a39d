"""Members share out work: each item is worked on by one member at a time, and all by somebody.

    async with zk.partitioner("/jobs", shards) as p:
        await p.run(work)                                   # async def work(claim: Claim) -> None

    async with zk.partitioner("/jobs", shards) as p:
        async for assignment in p:                          # all items of ours at a time
            async with assignment: await serve(assignment.items)

**Who gets what.** Every member computes it from who takes part and which items there are, by `share_out`: nobody has
more than one item more than another, and when members come or go few items move but those that have to. Changes are
waited out for ``settle_ms``, so that ten members that start together do not share out ten times.

**Never two at once.** A member works on an item under a `Lock` of that item. One that shall give an item up is
cancelled and lets go of the lock once its work has ended, however long that takes; the next one waits for that. So for
a while an item may be worked on by nobody, and members that do not agree yet on who takes part cannot work on the same
item. As with any lock, ``claim.token`` is for stores that must refuse who was the owner before.

All members must be given the same items; an item that only some know belongs to nobody for as long as the others think
that it is somebody's. Layout: members below ``path/members`` (`Group`), locks below ``path/items``.
"""

from collections.abc import Awaitable, Callable, Iterable
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self
from urllib.parse import quote

import anyio

from zabpy.client import Client
from zabpy.model import Acls, join

from .arguments import bad, check_at_least, check_path
from .assignment import Assignments
from .claim import Claim
from .errors import LockLost
from .latest import Latest
from .lock import HeldLock, Lock
from .membership import Group, Membership
from .patience import TRANSIENT, Patience
from .sharing import share_out

Work = Callable[[Claim], Awaitable[object]]


class Partitioner:
    """See the head of this file."""

    def __init__(
        self,
        zk: Client,
        path: str,
        items: Iterable[str],
        *,
        name: str = "member",
        settle_ms: int = 1_000,
        acl: Acls | None = None,
    ) -> None:
        """
        Args:
            name: what this member is called in ``path/members``; it need not be its own.
            settle_ms: how long nobody must have come or gone before items are shared out anew.
        """
        check_path(path, "partitioner")
        check_at_least("settle_ms", settle_ms, 0, "partitioner", path)
        self.path = path
        self._zk, self._name, self._settle_ms, self._acl = zk, name, settle_ms, acl
        self._group = Group(zk, join(path, "members"))
        self._watch = self._group.watch()
        self._items = _checked(items)
        self._mine = Latest[frozenset[str]](frozenset())
        self._following, self._waiting = anyio.CancelScope(), anyio.CancelScope()
        self._followed = anyio.Event()
        self._stack = AsyncExitStack()
        self._member: Membership | None = None
        self._running = False
        self._assignments: Assignments | None = None

    @property
    def items(self) -> frozenset[str]:
        """All, whoever's they are."""
        return self._items

    def set_items(self, items: Iterable[str]) -> None:
        """Share out other items from now on. To be told to all members."""
        self._items = _checked(items)
        self._waiting.cancel()

    @property
    def mine(self) -> frozenset[str]:
        """Our share as it shall be; what we work on follows as the others let go of it, and we do."""
        return self._mine.value

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._watch)
            self._member = await stack.enter_async_context(self._group.member(self._name, acl=self._acl))
            self._zk.background(self._follow)
            stack.push_async_callback(self._unfollow)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return await self._stack.__aexit__(kind, error, trace)

    async def run(self, work: Work) -> None:
        """Call ``work`` with each item that is ours, all at once, each in a task of its own, until this is cancelled.

        A call is cancelled when its item shall be another's, or was lost; the item is let go of when it has ended. If
        it is ours again, or still, ``work`` is called again, with another token. A call that returns keeps the item,
        and is not made again before it was away. What a call raises ends the others and comes out here, as it is.
        """
        if self._running:
            raise RuntimeError("the partitioner runs already")
        self._running = True
        await self._run(work)

    async def _run(self, work: Work) -> None:
        scopes: dict[str, anyio.CancelScope] = {}
        failures: list[Exception] = []

        def start(item: str) -> None:
            scopes[item] = anyio.CancelScope()
            tasks.start_soon(one, item, scopes[item])

        async def one(item: str, scope: anyio.CancelScope) -> None:
            try:
                with scope:
                    await self._serve(item, work)
            except Exception as error:
                failures.append(error)
                tasks.cancel_scope.cancel()
            finally:
                del scopes[item]
            if item in self._mine.value and not failures:
                start(item)  # it was to go, and is ours again

        async with anyio.create_task_group() as tasks, self._mine.stream() as shares:
            try:
                async for share in shares:
                    for item, scope in scopes.items():
                        if item not in share:
                            scope.cancel()
                    for item in share - scopes.keys():
                        start(item)
            except Exception as error:  # of what keeps our share
                failures.append(error)
            tasks.cancel_scope.cancel()
        if failures:
            raise failures[0]

    def __aiter__(self) -> Assignments:
        """All that is ours at a time: see `Assignment`."""
        if self._running:
            raise RuntimeError("the partitioner runs already")
        self._running = True
        assignments = Assignments(self._zk, self.path, self._mine, self._settle_ms)
        holding, over = anyio.CancelScope(), anyio.Event()

        async def hold() -> None:
            error: Exception | None = None
            try:
                with holding:
                    await self._run(assignments.hold)
            except Exception as failure:
                error = failure
            finally:
                assignments.end(error)
                over.set()

        async def let_go() -> None:
            assignments.end(None)
            holding.cancel()
            with anyio.CancelScope(shield=True):
                await over.wait()

        self._zk.background(hold)
        self._stack.push_async_callback(let_go)
        return assignments

    async def _serve(self, item: str, work: Work) -> None:
        patience = Patience(self._zk)
        while True:
            await patience.wait()
            held: HeldLock | None = None
            try:
                async with Lock(self._zk, join(self.path, f"items/{_znode(item)}"), acl=self._acl) as held:
                    patience.reset()
                    await work(Claim(item, held))
                    await anyio.sleep_forever()
            except LockLost:
                if held is None or not held.lost:
                    raise  # of some lock of the work's own
            except TRANSIENT:
                if held is not None:
                    raise  # the work's own trouble

    async def _follow(self) -> None:
        """The keeper of our share."""
        error: Exception | None = None
        try:
            with self._following:
                while True:
                    members, items = self._watch.members, self._items
                    with anyio.CancelScope() as self._waiting:
                        with anyio.move_on_after(self._settle_ms / 1000) as settling:
                            await self._watch.wait_other(members)
                        if settling.cancelled_caught:
                            assert self._member is not None
                            owners = share_out((each.id for each in members), items)
                            self._mine.set(frozenset(i for i, owner in owners.items() if owner == self._member.id))
                            await self._watch.wait_other(members)
        except Exception as failure:
            error = failure
        finally:
            self._mine.end(error)
            self._followed.set()

    async def _unfollow(self) -> None:
        self._following.cancel()
        with anyio.CancelScope(shield=True):
            await self._followed.wait()


def _checked(items: Iterable[str]) -> frozenset[str]:
    found = frozenset(items)
    if "" in found:
        raise bad("an item without a name", "partitioner")
    return found


def _znode(item: str) -> str:
    """The item's name as a part of a path."""
    name = quote(item, safe=" !#$&'()+,:;=@[]{}")
    return name.replace(".", "%2E") if name in (".", "..") else name
