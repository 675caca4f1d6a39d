"""A subtree kept in memory, as it is on the servers.

    async with zk.tree_cache("/config") as cache:       # loaded once you are inside
        cache.get("/config/db").data                    # no waiting: memory
        async with cache.changes() as changes:
            async for change in changes: ...            # Added, Updated, Removed

**What it holds.** Each znode as it was at some moment, and never as it was at an earlier one than it showed before;
when nothing is written any more it soon equals the tree. It is not a snapshot: two znodes written in one transaction
may be seen one after the other. `TreeCache.wait_until` waits until it has all up to a zxid: after a write of your own,
or one that somebody told you of.

**How.** One recursive watch (so servers from ZooKeeper 3.6 on), set before the first read, tells which znodes to read
again. After every gap in it the whole tree is compared, at the cost of one request for each znode, and the differences
come out as changes.

A cached ``stat`` is that of the last time the znode was read: when only its children came or went it is not read
again, so ``num_children``, ``cversion`` and ``pzxid`` may be old; `children` is not. What may not be read
(`NoAuthError`) is left out; `unreadable` names it.
"""

from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from itertools import islice
from types import TracebackType
from typing import NamedTuple, Protocol, Self, cast

import anyio

from zabpy.client import (
    Client,
    ConnectionLossError,
    Deleted,
    Event,
    NoServerError,
    Resynced,
    SessionLostError,
    State,
    Znode,
)
from zabpy.model import NoAuthError, NoNodeError, join, parent_of

from .arguments import bad, check_path
from .mirror import CacheChange, Mirror, Missed

#: How many reads are under way at once, and how many changes wait for one who reads them.
READS_MAX, CHANGES_MAX = 64, 10_000
#: Between two looks for a zxid that no server has yet.
POLL_MS, POLL_MS_MAX = 10, 1_000


class Events(Protocol):
    """A stream of a watch."""

    def receive_nowait(self) -> Event: ...

    async def __anext__(self) -> Event: ...


class Found(NamedTuple):
    """What a look at a path found: None for no znode; ``names`` only if its children were asked for."""

    node: Znode | None
    names: list[str] | None = None
    readable: bool = True


class TreeCache:
    """See the head of this file. Its memory: the data, and about 1 KiB for each znode."""

    def __init__(
        self,
        zk: Client,
        path: str,
        *,
        depth_max: int | None = None,
        keep: Callable[[str], bool] | None = None,
    ) -> None:
        """
        Args:
            path: the top of the tree; it need not be there.
            depth_max: how far below ``path`` to look: 0 is the znode alone, 1 its children, too; None is all.
            keep: called with a path; if it says False, neither that znode nor what is below it is kept. It must always
                say the same of the same path.
        Raises:
            BadArgumentsError: that is no path.
        """
        check_path(path, "tree_cache")
        self._zk, self.path, self._depth_max, self._keep = zk, path, depth_max, keep
        self._mirror = Mirror()
        #: Paths of znodes that may not be read with the client's identities, as of the last time that they were
        #: looked at: servers tell nobody of a znode that he may not read (CVE-2024-23944). So one that was deleted is
        #: forgotten when one above it is deleted, or after the next gap.
        self.unreadable: set[str] = set()
        self._todo: dict[str, bool] = {}  # what to read; True: its children, too
        self._deleted: set[str] = set()  # since the reads under way were sent
        self._gap = False
        self._seen_zxid = self._zxid = 0
        self._loaded = False
        self._link = 0  # whose gap it knows of
        #: Grows with every change: who has computed something from the cache need not do so again before it did.
        self.edition = 0
        self._error: Exception | None = None
        self._changed = anyio.Event()
        self._readers: list[Changes] = []
        self._asked = self._answered = 0
        self._idle: anyio.CancelScope | None = None
        self._scope: anyio.CancelScope | None = None
        self._over: anyio.Event | None = None  # set once it is closed, or has failed

    async def __aenter__(self) -> Self:
        if self._over is not None:
            raise RuntimeError("a cache is opened once; make another one")
        self._scope, self._over = anyio.CancelScope(), anyio.Event()
        self._zk.background(self._keep_up, self._scope, self._over)
        try:
            await self.wait(lambda: self._loaded)
        except BaseException:
            await self._stop(self._scope, self._over)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._scope is not None and self._over is not None
        await self._stop(self._scope, self._over)

    async def _stop(self, scope: anyio.CancelScope, over: anyio.Event) -> None:
        scope.cancel()
        with anyio.CancelScope(shield=True):
            await over.wait()

    # What it holds ----------------------------------------------------------------------------------------------------

    def get(self, path: str) -> Znode | None:
        """Data and stat; None if there is no such znode. Raises `BadArgumentsError` for what is not in its scope, and
        whatever ended the cache, if something did."""
        self._check(path)
        return self._mirror.get(path)

    def children(self, path: str) -> list[str]:
        """Names, sorted; none where there is no such znode. Raises as `get`."""
        self._check(path)
        return self._mirror.names(path)

    def __contains__(self, path: str) -> bool:
        return self.get(path) is not None

    def __len__(self) -> int:
        return len(self._mirror)

    def __iter__(self) -> Iterator[str]:
        """All paths, sorted, as they are now."""
        self._check(self.path)
        return iter(self._mirror.paths())

    @property
    def stale(self) -> bool:
        """Whether there may be news that cannot have come: without a connection, or while a gap is being read up."""
        unlinked = self._zk.state is not State.CONNECTED or self._link != self._zk.core.links
        return unlinked or not self._loaded or self._error is not None

    @property
    def zxid(self) -> int:
        """It has all that was written in the tree up to this zxid; perhaps more."""
        return self._zxid

    async def wait_until(self, zxid: int) -> None:
        """Until the cache has all that was written in the tree up to ``zxid`` (``stat.mzxid`` of a write, say).

        Costs nothing if it has; else a `sync`. Waits for ever for what is never written. Raises as `get`.
        """
        poll_ms = POLL_MS
        self._check(self.path)
        while self._zxid < zxid:
            self._check(self.path)
            # Of what the servers had when this was asked, our server has told us all before it answers; so all of it
            # is in the stream of events by now, whatever zxids those have (none, before 3.9).
            await self._zk.sync(self.path)
            await self._caught_up()
            if self._zxid < zxid:
                await anyio.sleep(poll_ms / 1000)
                poll_ms = min(2 * poll_ms, POLL_MS_MAX)

    @asynccontextmanager
    async def changes(self) -> "AsyncIterator[Changes]":
        """A stream of what changes from now on: ``async with cache.changes() as changes: async for change in changes``.

        What the cache holds when it begins is not told. At most `CHANGES_MAX` wait for you, then `Missed` comes.
        """
        reader = Changes(self)
        self._readers.append(reader)
        try:
            yield reader
        finally:
            self._readers.remove(reader)

    def _check(self, path: str) -> None:
        if self._error is not None:
            raise self._error
        if self._over is None or self._over.is_set():
            raise RuntimeError("the cache is not open: use it within `async with`")
        if not self._in_scope(path):
            raise bad(f"it is not in the scope of the cache of {self.path}", "get", path)

    def _in_scope(self, path: str) -> bool:
        top = self.path
        if path != top and top != "/" and not path.startswith(top + "/"):
            return False
        if self._depth_max is not None and self._depth(path) > self._depth_max:
            return False
        if self._keep is not None:
            while self._keep(path):
                if path == top:
                    return True
                path = parent_of(path)
            return False
        return True

    def _depth(self, path: str) -> int:
        return 0 if path == self.path else path.count("/") - (self.path.count("/") if self.path != "/" else 0)

    # Waiting ----------------------------------------------------------------------------------------------------------

    async def wait(self, condition: Callable[[], bool]) -> bool:
        """Until the condition holds, which is then True; False if the cache was closed before."""
        assert self._over is not None
        while not condition():
            if self._error is not None:
                raise self._error
            if self._over.is_set():
                return False
            await self._changed.wait()
        return True

    def _tell(self) -> None:
        changed, self._changed = self._changed, anyio.Event()
        changed.set()

    async def _caught_up(self) -> None:
        """Until all that has come so far is taken in."""
        self._asked += 1
        mine = self._asked
        if self._idle is not None:
            self._idle.cancel()
        await self.wait(lambda: self._answered >= mine)

    # Keeping up -------------------------------------------------------------------------------------------------------

    async def _keep_up(self, scope: anyio.CancelScope, over: anyio.Event) -> None:
        try:
            with scope:
                await self._follow()
        except Exception as error:
            self._error = error  # whoever asks the cache next is told
        finally:
            over.set()
            self._tell()

    async def _follow(self) -> None:
        async with self._zk.watch(self.path, recursive=True) as stream:
            events = cast(Events, stream)
            while True:
                asked = self._asked
                self._take_in(events)
                # Events come before all answers that are of their state or a later one. So what was written up to the
                # newest answer there was is known by now, and read if all that is to be read has been.
                zxid = max(self._seen_zxid, self._zk.last_zxid)
                while self._todo:
                    await self._read_some(events)
                self._zxid = max(self._zxid, zxid)
                self._loaded, self._answered = True, asked
                self._tell()
                if self._asked == asked:
                    with anyio.CancelScope() as self._idle:
                        self._note(await anext(events))
                    self._idle = None

    def _take_in(self, events: Events) -> None:
        """All events that wait. Nothing else happens meanwhile."""
        while True:
            try:
                self._note(events.receive_nowait())
            except anyio.WouldBlock:
                return

    def _note(self, event: Event) -> None:
        if isinstance(event, Resynced):
            self._gap, self._loaded, self._link = True, False, self._zk.core.links
            self._todo = {self.path: True}
            return
        self._seen_zxid = max(self._seen_zxid, event.zxid or 0)
        if not self._in_scope(event.path):
            return
        if isinstance(event, Deleted):
            self._deleted.add(event.path)
            self._todo.pop(event.path, None)
            self._forget(event.path)
            self._publish(self._mirror.remove(event.path))
        else:
            self._todo.setdefault(event.path, False)

    async def _read_some(self, events: Events) -> None:
        """Read what is to be read next, and take it in, in the order of paths."""
        wanted = dict(islice(self._todo.items(), READS_MAX))
        for path in wanted:
            del self._todo[path]
        self._gap = False
        self._deleted.clear()
        found: dict[str, Found] = {}
        failed: list[Exception] = []

        async def look(path: str, with_children: bool) -> None:
            try:
                found[path] = await self._look(path, with_children)
            except (ConnectionLossError, SessionLostError, NoServerError) as error:
                failed.append(error)

        async with anyio.create_task_group() as tasks:
            for path, with_children in wanted.items():
                tasks.start_soon(look, path, with_children)
        if failed:  # no server for long: it is asked for again until the client is closed
            for path, with_children in wanted.items():
                self._again(path, with_children)
            await self._zk.wait_connected()
        self._take_in(events)
        if not failed and not self._gap:
            for path in sorted(found):
                self._apply(path, found[path])

    async def _look(self, path: str, with_children: bool) -> Found:
        known = self._mirror.get(path)
        names: list[str] | None = None
        try:
            if with_children and known is not None:
                # A gap was: most znodes are as they were, and their data need not be sent.
                names, stat = await self._zk.children_and_stat(path)
                if stat.mzxid == known.stat.mzxid:  # no other znode has it, but one of the same version may be here
                    return Found(Znode(known.data, stat), names)
            node = await self._zk.get(path)
            if with_children:
                # Children that come later are told of: the watch was there before.
                names = await self._zk.children(path) if node.stat.num_children else []
            return Found(node, names)
        except NoNodeError:
            return Found(None)
        except NoAuthError:
            return Found(None, readable=False)

    def _again(self, path: str, with_children: bool) -> None:
        self._todo[path] = self._todo.get(path, False) or with_children

    def _apply(self, path: str, found: Found) -> None:
        if found.readable:
            self.unreadable.discard(path)
        elif path not in self._deleted:
            self.unreadable.add(path)
        if found.node is None:
            if found.readable:
                self._forget(path)
            self._publish(self._mirror.remove(path))
            return
        if path in self._deleted:
            return  # if it was created again since, an event has told, and it is to be read again
        self._publish(self._mirror.put(path, found.node))
        if found.names is None:
            return
        children = [join(path, name) for name in found.names]
        for name in self._mirror.names(path):
            if name not in found.names:  # all that is here was read before these were listed
                self._publish(self._mirror.remove(join(path, name)))
        below = path if path == "/" else path + "/"
        for each in list(self.unreadable):
            if each.startswith(below) and each[len(below) :].partition("/")[0] not in found.names:
                self.unreadable.discard(each)
        for child in children:
            if self._in_scope(child):
                self._again(child, True)

    def _forget(self, path: str) -> None:
        """Neither it nor anything below it is there any more."""
        below = path if path == "/" else path + "/"
        self.unreadable -= {each for each in self.unreadable if each == path or each.startswith(below)}

    def _publish(self, changes: Iterable[CacheChange]) -> None:
        for change in changes:
            self.edition += 1
            for reader in self._readers:
                reader.put(change)
        self._tell()


class Changes:
    """A stream of changes, see `TreeCache.changes`. It ends with the cache, by raising what ended that if it failed."""

    def __init__(self, cache: TreeCache) -> None:
        self._cache = cache
        self._waiting: deque[CacheChange] = deque()

    def put(self, change: CacheChange) -> None:
        if len(self._waiting) >= CHANGES_MAX:
            self._waiting.clear()
            self._waiting.append(Missed(self._cache.path))
        self._waiting.append(change)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> CacheChange:
        if not await self._cache.wait(lambda: bool(self._waiting)):
            raise StopAsyncIteration
        return self._waiting.popleft()
