"""A semaphore: at most so many hold a lease at a time.

    async with zk.semaphore("/licences", leases_max=3) as held:
        ...                                                     # cancelled when the lease is lost

A lease is an ephemeral znode. Who wants one takes a lock, the gate; at the gate he waits until there are fewer leases
than there may be, and makes his. So one waits for leases, and the others for the gate, first come first served, and no
herd. Whose lease turns out to be one too many by czxid, because somebody had deleted the gate's znode, gives it back.

The layout is kazoo's Semaphore's: leases below ``path``, the gate at ``path-__lock__``, the number as the data of
``path``; or with ``layout="curator"`` that of Curator's InterProcessSemaphoreV2, below ``path/leases`` and
``path/locks``, where the number is known to the clients only. Clients of that library and ours may share a path.
"""

from types import TracebackType
from uuid import uuid4

import anyio

from zabpy.client import Client, Session, SessionLostError
from zabpy.model import Acls, NodeExistsError, NoNodeError, join, name_of

from .arguments import check_at_least, check_one_of, check_path, check_timeout
from .contenders import Layout, curator_guid
from .entered import Entered
from .errors import AcquireTimeoutError, RecipeError, about, acquire_timeout
from .holding import Holding
from .lock import HeldLock, Lock, Waiting
from .reading import read_all
from .removal import Removal

#: How long one who wants a lease now or never waits at the gate, where there are free ones.
GATE_WAIT_MS = 1_000


class LeasesMaxError(RecipeError):
    """Others use the semaphore with another number of leases: all have to be given the same."""


class HeldLease(Holding):
    """A lease of a semaphore: lost when its session is, or somebody deletes its znode; see `Holding`.

    The number of leases is kept as the servers see it: like a lock, it cannot stop what was sent before a loss.
    """

    def __init__(self, semaphore: "Semaphore", session: Session, path: str, token: int) -> None:
        super().__init__(semaphore._zk, session, str(semaphore), path=semaphore.path)
        #: The czxid of its znode. Unlike with a lock, those who hold the other leases may have larger ones.
        self.token = token
        self.path = path
        self.guard(path)

    async def _give_up(self) -> None:
        parent, _, name = self.path.rpartition("/")
        await Removal(self._zk, self.session, parent, name=name).wait()


class Semaphore:
    """See the head of this file. One object may be used again and again, and by several tasks; one may hold several."""

    def __init__(
        self,
        zk: Client,
        path: str,
        leases_max: int,
        *,
        data: bytes = b"",
        layout: Layout = "kazoo",
        acl: Acls | None = None,
    ) -> None:
        """
        Args:
            leases_max: must be the same everywhere.
            data: of our znode: what `holders` shows of us.
        """
        check_path(path, "semaphore")
        check_at_least("leases_max", leases_max, 1, "semaphore", path)
        check_one_of("layout", layout, ("kazoo", "curator"), "semaphore", path)
        self.path, self.leases_max, self.data = path, leases_max, data
        self._zk, self._layout, self._acl = zk, layout, acl
        gate, self._leases = (f"{path}-__lock__", path) if layout == "kazoo" else (f"{path}/locks", f"{path}/leases")
        self._gate = Lock(zk, gate, data=data, layout=layout, acl=acl)
        self._entered = Entered[HeldLease]()

    def __str__(self) -> str:
        return f"a lease of {self.path}"

    async def acquire(self, timeout_ms: int | None = None) -> HeldLease:
        """Wait for a lease, at most so long; with 0 as long as it takes to see whether there is one.

        Raises:
            AcquireTimeoutError: there was none in time.
            LeasesMaxError: others have another number of them.
            NoServerError: no server could be reached for as long as the client waits for one.
        """
        check_timeout(timeout_ms, self.path)
        held: HeldLease | None = None
        with anyio.move_on_after(timeout_ms / 1000 if timeout_ms else None):
            while held is None:
                await self._ensure()
                try:
                    if timeout_ms == 0 and len(await self._zk.children(self._leases)) >= self.leases_max:
                        break
                    gate = await self._gate.acquire(GATE_WAIT_MS if timeout_ms == 0 else None)
                    held = await self._pass(gate, wait=timeout_ms != 0)
                    if held is None and timeout_ms == 0:
                        break
                except (SessionLostError, NoNodeError):
                    await anyio.lowlevel.checkpoint()
                except AcquireTimeoutError:
                    break
        if held is None:
            raise acquire_timeout(str(self), self.path, timeout_ms)
        return held

    async def __aenter__(self) -> HeldLease:
        return await self._entered.enter(await self.acquire())

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return await self._entered.leave(self, kind, error, trace)

    async def holders(self) -> list[Waiting]:
        """Who holds a lease, the oldest first."""
        try:
            names = await self._zk.children(self._leases)
        except NoNodeError:
            return []
        paths = [join(self._leases, name) for name in names]
        found = [
            Waiting(path, each.data, each.stat.ephemeral_owner, each.stat.czxid, each.stat.ctime_ms, True)
            for path, each in zip(paths, await read_all(self._zk, paths), strict=True)
            if each is not None
        ]
        return sorted(found, key=lambda each: each.token)

    # At the gate ------------------------------------------------------------------------------------------------------

    async def _ensure(self) -> None:
        """The znodes are there, and nobody says another number."""
        if self._layout == "curator":
            return await self._zk.ensure(self._leases, acl=self._acl)
        number = str(self.leases_max).encode()
        try:
            data = (await self._zk.get(self.path)).data
        except NoNodeError:
            try:
                await self._zk.create(self.path, number, acl=self._acl, parents=True, lost_reply="again")
                return
            except NodeExistsError:
                data = (await self._zk.get(self.path)).data
        if data.isdigit() and int(data) != self.leases_max:
            error = LeasesMaxError(f"{self.path} has {int(data)} leases, not {self.leases_max}")
            raise about(error, "acquire", self.path)

    async def _pass(self, gate: HeldLock, *, wait: bool) -> HeldLease | None:
        """Through the gate that we hold. None if it was lost, or there is none and we may not wait."""
        try:
            with anyio.CancelScope() as gate_lost:
                gate.on_lost(gate_lost.cancel)
                if await self._wait_free(gate.session, wait=wait):
                    return await self._lease(gate.session)
            return None
        finally:
            gate.release_soon()

    async def _wait_free(self, session: Session, *, wait: bool) -> bool:
        while True:
            names, _, fired = await self._zk.children_watched(self._leases, session=session)
            with fired:
                if len(names) < self.leases_max:
                    return True
                if not wait:
                    return False
                await fired.wait()

    async def _lease(self, session: Session) -> HeldLease | None:
        guid = uuid4().hex
        curator = self._layout == "curator"
        prefix = f"{curator_guid(guid)}-lease-" if curator else guid
        held: HeldLease | None = None
        name: str | None = None
        try:
            made = await self._zk.create(
                join(self._leases, prefix),
                self.data,
                acl=self._acl,
                ephemeral=True,
                sequence=curator,
                lost_reply="find",
                session=session,
            )
            assert made.stat.ephemeral_owner == session.id
            name = name_of(made.path)
            if await self._is_one_too_many(session, name, made.stat.czxid):
                return None
            session.check()
            held = HeldLease(self, session, made.path, made.stat.czxid)
            return held
        finally:
            if held is None:
                Removal(self._zk, session, self._leases, name=name, prefix=prefix)

    async def _is_one_too_many(self, session: Session, own: str, token: int) -> bool:
        names = await self._zk.children(self._leases, session=session)
        if len(names) <= self.leases_max:
            return False
        others = await read_all(self._zk, [join(self._leases, name) for name in names if name != own])
        return sum(each is not None and each.stat.czxid < token for each in others) >= self.leases_max
