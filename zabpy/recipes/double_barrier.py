"""A double barrier: so many begin together, and nobody goes on before all have ended.

    async with zk.double_barrier("/rounds", count=3) as member:
        ...             # three are in; cancelled when our membership is lost, then BarrierLost is raised

**Entering** waits until ``count`` members are there. **Leaving** waits until all that were in when we began to leave
are gone: they have left, or their sessions have ended. A body that raises, or is cancelled, takes its member out and
waits for nobody. Who enters while others are still in goes through at once; those that leave later wait for it, too.

The layout is that of kazoo's DoubleBarrier and Curator's DistributedDoubleBarrier: each member an ephemeral znode, and
``ready`` from when the count was reached. What they get wrong and ours does not:

* ``ready`` stays behind when all members die, and opens the next round to whoever comes first. Here it counts only
  if a member older than it is still there (by czxid), else whoever completes the count replaces it.
* One who left and enters again at once keeps a slow one that is still leaving waiting, and waits for it: for ever.
  Here who leaves does not wait for members that came later (by czxid).
* One that has no connection while ``ready`` comes to be hears of it when it is back. With kazoo's among the members
  that cannot be promised: the first of those to leave deletes ``ready``, though somebody may not have seen it yet.
"""

from types import TracebackType
from uuid import uuid4

from zabpy.client import Client, Created, Session, TransactionFailedError
from zabpy.model import Acls, NodeExistsError, NoNodeError, Stat, join

from .arguments import check_at_least, check_data, check_path
from .errors import LostError, NotReentrantError, about
from .holding import Holding
from .patience import TRANSIENT, Patience
from .removal import Removal

READY = "ready"


class BarrierLost(LostError):
    """We are no member of the double barrier any more, and others may have left it without us."""


class BarrierMember(Holding):
    """What ``async with`` gives: ``lost``, ``check()`` and the rest of `Holding`. ``path``: of its znode."""

    def __init__(self, zk: Client, session: Session, barrier: str) -> None:
        super().__init__(zk, session, f"a member of the barrier {barrier}", BarrierLost, path=barrier)
        self._name = uuid4().hex
        self.path = join(barrier, self._name)
        #: The czxid of its znode.
        self.token = 0
        self._barrier = barrier
        #: Whether all others of the round are gone: then ``ready`` goes with us. None: not known.
        self.is_last: bool | None = None

    async def _give_up(self) -> None:
        try:
            if self.is_last is None:  # the body has raised
                names = await self._zk.children(self._barrier, session=self.session)
                self.is_last = set(names) == {self._name, READY}
            if self.is_last:
                gone = self._zk.transaction(session=self.session).delete(self.path).delete(join(self._barrier, READY))
                await gone.commit()
                return
        except (TransactionFailedError, NoNodeError, *TRANSIENT):
            pass  # without ``ready``, or not known: what follows is right in any case
        await self.remove().wait()

    def remove(self) -> Removal:
        """Have its znode deleted, if there is one. Begins at once, and goes on until that is acknowledged."""
        return Removal(
            self._zk, self.session, self._barrier, name=self._name if self.token else None, prefix=self._name
        )


class DoubleBarrier:
    """See the head of this file. May be entered again after it was left."""

    def __init__(self, zk: Client, path: str, count: int, *, data: bytes = b"", acl: Acls | None = None) -> None:
        """
        Args:
            count: how many have to be there; all members have to agree on it.
            data: of our member's znode, for people who look at it.
        Raises:
            BadArgumentsError: that is no path, or a count below 1.
        """
        check_path(path, "double_barrier")
        check_at_least("count", count, 1, "double_barrier", path)
        check_data(data, "double_barrier", path)
        self._zk, self.path, self.count, self._data, self._acl = zk, path, count, data, acl
        self._ready = join(path, READY)
        self._busy = False
        self._member: BarrierMember | None = None

    async def __aenter__(self) -> BarrierMember:
        if self._busy:
            error = NotReentrantError(f"the barrier {self.path} is entered already; make another object")
            raise about(error, "double_barrier", self.path)
        self._busy = True
        try:
            self._member = await self._enter()
            return await self._member.__aenter__()
        except BaseException:
            self._busy = False
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        member, self._member = self._member, None
        assert member is not None
        self._busy = False
        if kind is None and not member.lost:
            try:
                await self._leave(member)
            except BaseException as left:
                if not await member.__aexit__(type(left), left, left.__traceback__):
                    raise
                return False
        return await member.__aexit__(kind, error, trace)

    # Entering ---------------------------------------------------------------------------------------------------------

    async def _enter(self) -> BarrierMember:
        patience = Patience(self._zk)
        while True:
            await patience.wait()
            member = BarrierMember(self._zk, self._zk.session, self.path)
            try:
                await self._join(member)
                await self._wait_ready(member)
                _, _, fired = await self._zk.get_watched(member.path, session=member.session)
                member.guard(member.path, fired)
                return member
            except (*TRANSIENT, NoNodeError):
                member.remove()  # with a new session, or where somebody deleted our znode: once more
            except BaseException:
                member.remove()
                raise

    async def _join(self, member: BarrierMember) -> None:
        made = await self._zk.create(
            member.path,
            self._data,
            acl=self._acl,
            ephemeral=True,
            parents=True,
            lost_reply="find",
            session=member.session,
        )
        assert made.stat.ephemeral_owner == member.session.id
        member.token = made.stat.czxid

    async def _wait_ready(self, member: BarrierMember) -> None:
        """Until the round has begun. Each looks once at who is there, after it has joined, so the last one to join sees
        all, and tells the others by ``ready``: nobody needs to watch who comes."""
        zk, session = self._zk, member.session
        while True:
            ready, fired = await zk.exists_watched(self._ready, session=session)
            with fired:
                if ready is not None and ready.czxid > member.token:
                    return
                names = [name for name in await zk.children(self.path, session=session) if name != READY]
                if member._name not in names:
                    raise NoNodeError(f"{member.path} was deleted by somebody")
                if ready is not None and await self._under_way(names, ready, session):
                    return
                if len(names) >= self.count:
                    if await self._open(ready is not None, session):
                        return
                    continue
                if isinstance(await fired.wait(), Created):
                    return  # whatever became of it since

    async def _under_way(self, names: list[str], ready: Stat, session: Session) -> bool:
        """Whether somebody is still in whom this ``ready`` has let in."""
        for name in names:
            stat = await self._zk.exists(join(self.path, name), session=session)
            if stat is not None and stat.czxid < ready.czxid:
                return True
        return False

    async def _open(self, is_old: bool, session: Session) -> bool:
        """Let all in. False: somebody else has changed something, look again."""
        opening = self._zk.transaction(lost_reply="again", session=session)
        if is_old:
            opening.delete(self._ready)
        try:
            await opening.create(self._ready, acl=self._acl).commit()
        except TransactionFailedError as failed:
            if isinstance(failed.error, NodeExistsError | NoNodeError):
                return False
            raise
        return True

    # Leaving ----------------------------------------------------------------------------------------------------------

    async def _leave(self, member: BarrierMember) -> None:
        """As kazoo and Curator do it: the first by name stays until all others are gone, and they wait for it, so that
        one who goes wakes few."""
        patience = Patience(self._zk)
        boundary = -1  # who came after this zxid is of another round
        later: set[str] = set()
        left = False
        while True:
            try:
                names, stat = await self._zk.children_and_stat(self.path)
                if boundary < 0:
                    boundary = stat.pzxid
                names = sorted(name for name in names if name != READY and name not in later)
                others = [name for name in names if name != member._name]
                if not left and (not others or names[0] != member._name):
                    member.is_last = not others
                    await member.release()
                    left = True
                if not others:
                    return
                await self._wait_gone(others[0] if left else others[-1], boundary, later)
                patience.reset()
            except NoNodeError:
                return  # the last one has gone, and the barrier's znode with it: it may be a container
            except TRANSIENT:
                await patience.wait()

    async def _wait_gone(self, name: str, boundary: int, later: set[str]) -> None:
        stat, fired = await self._zk.exists_watched(join(self.path, name))
        with fired:
            if stat is None:
                return
            if stat.czxid > boundary:
                later.add(name)
            else:
                await fired.wait()
