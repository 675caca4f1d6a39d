"""A place in a queue: an ephemeral znode of ours among others', until all that are before it are gone.

Only the next one before us is watched, so when the holder goes, one client wakes, and asks for one list of children.
contenders.py says who is before whom.
"""

from uuid import uuid4

import anyio

from zabpy.client import Client, NewZnode, Session
from zabpy.model import Acls, NoNodeError, ZabpyError, join, name_of

from .contenders import Layout, before, contender, prefix
from .errors import RecipeError
from .removal import Removal
from .server_clock import ServerClock


class PlaceLostError(RecipeError):
    """Somebody deleted the znode while we waited: queue up again."""


class Place:
    """``take`` it, ``wait_next`` until it ``is_first``, and ``leave`` it even if ``take`` failed."""

    def __init__(
        self, zk: Client, session: Session, parent: str, *, layout: Layout, shared: bool = False, rw: bool = False
    ) -> None:
        self.session = session
        self.guid = uuid4().hex
        self.path = ""
        self.token = 0
        self._zk, self._parent = zk, parent
        self._prefix = prefix(layout, self.guid, shared=shared, rw=rw)
        self._before: list[str] | None = None  # the next one last; None before the first list of children
        self._early: list[str] | None = None  # the children, asked for right behind our create
        #: The children when they were last listed.
        self.names: list[str] = []

    async def take(self, data: bytes, acl: Acls | None = None) -> None:
        """Stand at the end of the queue. Raises what `Client.create` raises."""
        path = join(self._parent, self._prefix)
        while True:
            try:
                made = await self._create(path, data, acl)
            except NoNodeError:
                await self._zk.ensure(self._parent, session=self.session)
                continue
            # The name has our GUID; it is ours only if it is of this very session, too (CURATOR-498, 620, 696).
            assert made.stat.ephemeral_owner == self.session.id
            self.token = made.stat.czxid
            self.clock = ServerClock(made.stat)
            return

    async def _create(self, path: str, data: bytes, acl: Acls | None) -> NewZnode:
        """With the list of children asked for right behind it, not an answer later. Servers do in order what one
        session asks; should a broken connection have changed that, our name is not in the list, and nobody uses it."""
        made: NewZnode | None = None
        failed: Exception | None = None
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._look_early)
            try:
                made = await self._zk.create(
                    path, data, acl=acl, ephemeral=True, sequence=True, lost_reply="find", session=self.session
                )
                if made.stat.ephemeral_owner == self.session.id:
                    self.path = made.path  # from here on we know what to delete, should the list be long in coming
            except Exception as error:  # it is not to come out in a group
                failed = error
                tasks.cancel_scope.cancel()
        if failed is not None:
            raise failed
        assert made is not None
        return made

    async def _look_early(self) -> None:
        try:
            self._early = await self._zk.children(self._parent, session=self.session)
        except ZabpyError:
            pass  # `is_first` asks again, and says why not

    async def is_first(self) -> bool:
        """Look at who is there now: whether nobody before us is. Raises `PlaceLostError` if we are not there."""
        own = name_of(self.path)
        early, self._early = self._early, None
        if early is not None and own in early:
            self.names = early
        else:
            try:
                self.names = await self._zk.children(self._parent, session=self.session)
            except NoNodeError:
                self.names = []
        here = set(self.names)
        if own not in here:
            raise PlaceLostError(f"{self.path} was deleted by somebody")
        if self._before is None:
            us = contender(own)
            assert us is not None
            self._before = before(us, self.names)
        else:
            self._before = [name for name in self._before if name in here]
        return not self._before

    async def wait_next(self) -> None:
        """Until something happens to the next one before us."""
        assert self._before
        try:
            _, stat, fired = await self._zk.get_watched(join(self._parent, self._before[-1]), session=self.session)
        except NoNodeError:
            return
        with fired:
            if stat.czxid > self.token:
                self._before.pop()  # its number is not one that a server gave it
                return
            await fired.wait()

    def leave(self) -> Removal:
        """Have the znode deleted, if it may exist, by the client and in the background."""
        name = name_of(self.path) if self.path else None
        return Removal(self._zk, self.session, self._parent, name=name, prefix=self._prefix)
