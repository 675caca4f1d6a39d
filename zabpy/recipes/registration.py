"""An ephemeral znode at a fixed path that repairs itself: it says "I am here" for as long as the block lasts.

    async with zk.registered("/services/api/10.0.0.7:80", payload) as here:
        await serve()                       # the znode comes back after a lost session, or if somebody deletes it

**What is promised.** While the block runs, and for as long as a quorum can be reached, the znode is there and belongs
to our session; after the block it is gone. A znode has one owner at a time. It is no lock, though: between the loss of
a session and the moment that we learn of it, others may see the znode gone, or take its place. To do something that
only one may do use `Lock` or `Election`.

**What stands there already.** A znode of somebody else's is never touched: we wait for its end and come after it. Of
our own there may be one from a session that this client has lost, which the servers have not ended yet; that one is
replaced (``take_over="own"``). After a restart of the process its former incarnation's may stand there until that
session's time is over. With ``take_over="same_data"`` one with exactly our data is taken for it and replaced, but only
when the block begins: give it only if the data names this instance and no other. An incarnation that was alive after
all finds its znode taken, says so in ``state``, and waits. With ``take_over="never"`` whatever is there is waited for.
"""

import enum
from types import TracebackType
from typing import Final, Literal, Self
from weakref import WeakKeyDictionary

import anyio

from zabpy.client import Client, Session, TransactionFailedError
from zabpy.model import (
    Acls,
    BadVersionError,
    NodeExistsError,
    NoNodeError,
    NotEmptyError,
    Stat,
    join,
    name_of,
    parent_of,
)

from .arguments import check_data, check_one_of, check_path
from .errors import NotReentrantError, about
from .latest import Latest, LatestStream
from .patience import TRANSIENT, Patience
from .removal import Removal

TakeOver = Literal["own", "same_data", "never"]
TAKE_OVERS: Final = ("own", "same_data", "never")
#: How long the end of a block waits until its znode is gone. Then the client goes on trying by itself.
LEAVE_MS: Final = 5_000


class Presence(enum.Enum):
    """`ABSENT`: not there, as far as we know; `OCCUPIED`: another session's znode is; `PRESENT`: ours is."""

    ABSENT = "absent"
    OCCUPIED = "occupied"
    PRESENT = "present"


#: What each client has registered: two registrations of one path in one session could not be told apart.
_paths: WeakKeyDictionary[Client, set[str]] = WeakKeyDictionary()


class Upkeep:
    """What `Registration` and `ServiceRegistration` have in common: all but what they are told to say."""

    def __init__(
        self,
        zk: Client,
        path: str,
        data: bytes = b"",
        *,
        acl: Acls | None = None,
        take_over: TakeOver = "own",
        wait: bool = True,
    ) -> None:
        """What is missing above ``path`` is created, and stays."""
        check_path(path, "registered")
        check_data(data, "registered", path)
        check_one_of("take_over", take_over, TAKE_OVERS, "registered", path)
        self.path = path
        self._zk, self._data, self._acl = zk, data, acl
        self._take_over, self._wait = take_over, wait
        self._state = Latest(Presence.ABSENT)
        self._wanted = 0  # counts updates
        self._written = Latest(0)  # the last of them that the znode holds
        self._stat: Stat | None = None
        self._session: Session | None = None  # the last one in which a znode may have been made here
        self._own: set[int] = set()  # all of them
        self._keeper, self._body, self._waiting = anyio.CancelScope(), anyio.CancelScope(), anyio.CancelScope()
        self._kept = anyio.Event()
        self._error: Exception | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.path} token {self.token:#x} {self.state.value}>"

    @property
    def state(self) -> Presence:
        return self._state.value

    @property
    def present(self) -> bool:
        """Whether the znode is there and ours, as far as we know. Never once our session is known to be lost."""
        session = self._session
        return self._state.value is Presence.PRESENT and session is not None and not session.lost

    @property
    def token(self) -> int:
        """The czxid of our znode that is, or was last, there: a larger one each time it was made anew; 0 before."""
        return self._stat.czxid if self._stat else 0

    def states(self) -> LatestStream[Presence]:
        """The state now, then each that it comes to: ``async with here.states() as s: async for state in s``."""
        return self._state.stream()

    async def wait_present(self) -> None:
        """Until the znode is there and ours. Raises what ended the registration; `EOFError`, if its block did."""
        await self._state.wait(lambda state: state is Presence.PRESENT)

    async def _update(self, data: bytes) -> None:
        self._data = data
        self._wanted = wanted = self._wanted + 1
        self._waiting.cancel()
        await self._written.wait(lambda written: written >= wanted)

    async def __aenter__(self) -> Self:
        paths = _paths.setdefault(self._zk, set())
        if self._kept.is_set():
            raise RuntimeError(f"the registration of {self.path} is over; make another one")
        if self.path in paths:
            error = NotReentrantError(f"{self.path} is registered by this client already")
            raise about(error, "registered", self.path)
        self._zk.background(self._keep)
        paths.add(self.path)
        self._body.__enter__()
        try:
            if self._wait:
                await self._state.wait(lambda state: state is Presence.PRESENT)
        except BaseException as error:
            await self.__aexit__(type(error), error, error.__traceback__)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        try:
            with anyio.CancelScope(shield=True):
                self._keeper.cancel()
                await self._kept.wait()
                await self._leave()
        finally:
            _paths[self._zk].discard(self.path)
            swallowed = self._body.__exit__(kind, error, trace)
        if self._error is not None and (error is None or swallowed):
            raise self._error
        return bool(swallowed)

    async def _keep(self) -> None:
        """The keeper: runs in the client's own task group for as long as the block does."""
        patience = Patience(self._zk)
        try:
            with self._keeper:
                while True:
                    try:
                        await patience.wait()
                        await self._once(self._zk.session)
                        patience.reset()
                    except TRANSIENT:
                        if self._session is None or self._session.lost:  # a jeopardy takes nothing away
                            self._state.set(Presence.ABSENT)
        except Exception as error:
            self._error = error
            self._body.cancel()
        finally:
            self._state.set(Presence.ABSENT)
            self._state.end(self._error)
            self._written.end(self._error)
            self._kept.set()

    async def _once(self, session: Session) -> None:
        """Look, and do what is to be done; if that is nothing, wait until something has changed."""
        stat, fired = await self._zk.exists_watched(self.path, session=session)
        with fired:
            if stat is None:
                return await self._create(session)
            if stat.ephemeral_owner == session.id and session.id in self._own:
                if self._written.value < self._wanted:
                    return await self._write(stat.version, session)
                self._stat = stat
                self._state.set(Presence.PRESENT)
            else:
                self._state.set(Presence.OCCUPIED)
                if await self._may_replace(stat, session):
                    return await self._replace(stat, session)
            with anyio.CancelScope() as self._waiting:
                await fired.wait()

    async def _create(self, session: Session) -> None:
        self._state.set(Presence.ABSENT)
        self._begin(session)
        wanted, data = self._wanted, self._data
        try:
            await self._zk.create(self.path, data, ephemeral=True, acl=self._acl, parents=True, session=session)
        except NodeExistsError:
            return  # somebody was faster
        self._written.set(wanted)

    async def _write(self, version: int, session: Session) -> None:
        wanted, data = self._wanted, self._data
        try:
            # With a lost reply the next look finds the data or not, and it is written again: no harm.
            await self._zk.set(self.path, data, version, session=session)
        except (BadVersionError, NoNodeError):
            return  # somebody else's hand; look again
        self._written.set(wanted)

    async def _may_replace(self, stat: Stat, session: Session) -> bool:
        if self._take_over == "never" or stat.ephemeral_owner == 0:
            return False
        if stat.ephemeral_owner in self._own:
            return True  # of a session that is lost here: it may end before the servers end it
        if self._take_over == "own" or self._stat is not None:
            return False
        try:
            data, read = await self._zk.get(self.path, session=session)
        except NoNodeError:
            return False  # the watch has fired
        return data == self._data and read.czxid == stat.czxid

    async def _replace(self, stat: Stat, session: Session) -> None:
        # In one go, so that nobody sees it missing, and a displaced owner finds ours. There is no delete "of this
        # czxid": if the znode ends by itself just now and another session makes one of the same version in the same
        # moment, that one is replaced; its maker waits then, as any displaced owner does.
        self._begin(session)
        wanted, data = self._wanted, self._data
        transaction = self._zk.transaction(session=session)
        transaction.delete(self.path, stat.version)
        transaction.create(self.path, data, ephemeral=True, acl=self._acl)
        try:
            await transaction.commit()
        except TransactionFailedError as failed:
            if not isinstance(failed.error, BadVersionError | NoNodeError | NotEmptyError):
                raise failed.error from failed
        else:
            self._written.set(wanted)

    def _begin(self, session: Session) -> None:
        """From here on there may be a znode of this session."""
        self._session = session
        self._own.add(session.id)

    async def _leave(self) -> None:
        """Have the znode be gone; where that cannot be done soon the client goes on trying."""
        session = self._session
        if session is None or session.lost:
            return
        withdrawal = _Withdrawal(self._zk, session, parent_of(self.path), name=name_of(self.path))
        with anyio.move_on_after(LEAVE_MS / 1000):
            await withdrawal.wait()


class Registration(Upkeep):
    """See the head of this file. ``async with`` waits until the znode is there; with ``wait=False`` it does not.

    Raises, out of ``async with``, what the server refuses for good (`NoAuthError`, `InvalidAclError`,
    `NoChildrenForEphemeralsError` ...). If that happens later the body is cancelled for it.
    """

    async def update(self, data: bytes) -> None:
        """Give the znode other data, and wait until it holds it or that of a later update.

        A znode that is not there will be created with it. When cancelled, the data will be written all the same.
        """
        check_data(data, "update", self.path)
        await self._update(data)


class _Withdrawal(Removal):
    """Of what is at a fixed path, and so may be somebody else's by now."""

    async def _delete(self, name: str) -> None:
        path, session = join(self._parent, name), self._session
        assert session is not None
        await self._zk.sync(path, session=session)  # behind it stands whatever a lost create of ours has led to
        while True:
            stat = await self._zk.exists(path, session=session)
            if stat is None or stat.ephemeral_owner != session.id:
                return
            try:
                return await self._zk.delete(path, stat.version, session=session)
            except BadVersionError:
                pass  # somebody has written into it meanwhile
