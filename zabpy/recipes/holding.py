"""Something held for as long as a session and a znode live: the one place that decides what happens when it is lost.

    async with held:
        ...             # cancelled when it is lost; then LockLost is raised
        held.check()    # raises at once, also where the event loop was too busy to notice the loss yet

It is lost when the session is (the servers say so, or its time is up by the local clock, whether or not any server can
be reached), when somebody deletes its znode, and when the recipe says so by `lose`. Once lost it stays lost.

What comes out at the end of the body when it was lost:

==================================================  ==============================================
the body                                            comes out
==================================================  ==============================================
ended, or was cancelled by the loss                 `LockLost` (or the recipe's own kind of it)
raised our errors only, which the loss has caused   `LockLost`, from that error
was cancelled from further out, too                 that cancellation
raised anything else                                that exception, with a note
==================================================  ==============================================

It is left in the task in which it was entered. What is left in another one is released, and a RuntimeError says so: a
body can be cancelled only in its own task.

What cannot be promised: code that does not wait is not cancelled, and what it has sent to another system may arrive
there after somebody else holds the lock. That system has to compare fencing tokens, see `Lock`.
"""

from collections.abc import Callable
from types import TracebackType
from typing import Self

import anyio

from zabpy.client import (
    Client,
    ClosedClientError,
    ConnectionLossError,
    Deleted,
    Fired,
    NoServerError,
    Session,
    SessionLostError,
)
from zabpy.model import NoNodeError, ZabpyError

from .errors import LockLost, LostError, about
from .who import this_task

#: How long the end of a body waits for the release to be acknowledged; it then goes on in the background.
RELEASE_WAIT_MS = 2_000
#: What an operation of the body raises when the loss is what broke it.
CONSEQUENCES = (LostError, SessionLostError, ConnectionLossError, NoServerError, ClosedClientError)


class Holding:
    """See the head of this file. Recipes derive from it and say in `_give_up` how it is given up."""

    def __init__(
        self,
        zk: Client,
        session: Session,
        what: str,
        error: type[LostError] = LockLost,
        *,
        path: str | None = None,
    ) -> None:
        """
        Args:
            session: what it lives in.
            what: how messages name it, such as ``the lock /jobs/daily``.
            error: what is raised when it is lost.
            path: which that error says; as the user gave it, not that of the znode behind it.
        """
        self.session = session
        self._told_path = path
        self._zk, self.what, self._error = zk, what, error
        self._reason = ""
        self._ended = False  # given up by us, or lost: nobody relies on it any more
        self._over = anyio.Event()
        self._on_lost: dict[object, Callable[[], None]] = {}
        self._scope: anyio.CancelScope | None = None
        self._entered_in: object | None = None  # which task
        self._stopped = False
        self._guarding = anyio.CancelScope()
        self._undo: Callable[[], None] = lambda: None
        self._undo = session.on_lost(lambda: self.lose(session.why_lost))

    def __repr__(self) -> str:
        how = f"lost: {self._reason}" if self._reason else "released" if self._ended else "held"
        token = getattr(self, "token", None)
        token_too = "" if token is None else f" token {token:#x}"
        where = self.what if self._told_path is None else self._told_path
        return f"<{type(self).__name__} {where}{token_too} session {self.session.id & 2**64 - 1:#x} {how}>"

    # How it stands ----------------------------------------------------------------------------------------------------

    @property
    def lost(self) -> bool:
        """Whether it was lost, by the clock this very moment; a release is no loss."""
        self._look()
        return bool(self._reason)

    @property
    def reason(self) -> str:
        """Why it was lost; "" if it was not."""
        return self._reason

    def check(self) -> None:
        """Raise `LockLost` (or the recipe's own kind of it) unless it is held by the clock this very moment."""
        self._look()
        if self._ended or self._reason:
            raise self._loss()

    async def wait_lost(self) -> str:
        """Until it is lost: why. Raises `LockLost` when it was released instead."""
        if not self.lost:
            await self._over.wait()
        if not self._reason:
            raise self._loss()
        return self._reason

    # For recipes ------------------------------------------------------------------------------------------------------

    @property
    def body_runs(self) -> bool:
        """Whether the body of ``async with`` has begun and has not ended."""
        return self._scope is not None

    def lose(self, reason: str) -> None:
        """It is not held any more, and not because we gave it up: cancel who relies on it. A plain call."""
        if not self._ended:
            self._end()
            self.call_off(reason)

    def call_off(self, reason: str) -> None:
        """Cancel who relies on it as if it was lost; it is still held, though, until it is released after that."""
        if self._reason:
            return
        self._reason = reason
        self._over.set()
        if self._scope is not None:
            self._scope.cancel()
        callbacks, self._on_lost = self._on_lost, {}
        for callback in callbacks.values():
            callback()

    def stop(self) -> None:
        """Cancel the body, now or once it begins, without a loss: it ends, and that is all. A plain call."""
        self._stopped = True
        if self._scope is not None:
            self._scope.cancel()

    def on_lost(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Have ``callback`` called when it is lost, at once if it is; as `Session.on_lost` does."""
        if self._reason:
            callback()
            return lambda: None
        key = object()
        self._on_lost[key] = callback
        return lambda: (self._on_lost.pop(key, None), None)[1]

    def guard(self, path: str, fired: Fired | None = None) -> None:
        """Lose it when the znode ``path`` is deleted. ``fired``: of `Client.get_watched` on it, if you have that."""
        self._zk.background(self._guard, path, fired)

    async def _give_up(self) -> None:
        """Have it be free for others. It is no loss from here on. To be defined by recipes."""

    async def _changed(self, data: bytes) -> None:
        """The data of the guarded znode was read, or was changed. To be defined by recipes that care."""

    # Giving it up -----------------------------------------------------------------------------------------------------

    async def release(self) -> None:
        """Give it up, and wait until the servers have acknowledged that. Does nothing if it was lost or released.

        If the connection is away, the release goes on in the background, also when this is cancelled.
        """
        self._look()
        if not self._ended:
            self._end()
            await self._give_up()

    async def _leave(self) -> None:
        """What the end of the body does."""
        await self.release()

    async def _leave_soon(self) -> None:
        """`_leave`, but after `RELEASE_WAIT_MS` it is not waited for any more."""
        with anyio.move_on_after(RELEASE_WAIT_MS / 1000, shield=True):
            await self._leave()

    async def __aenter__(self) -> Self:
        try:
            self.check()
        except LostError:
            # Lost before anybody relied on it: what of it is still there (`call_off`) nobody else will give back.
            await self._leave_soon()
            raise
        self._enter()
        return self

    def _enter(self) -> None:
        if self._entered_in is not None:
            raise RuntimeError(f"{self.what}: a holding is entered once")
        self._entered_in = this_task()
        self._scope = anyio.CancelScope()
        self._scope.__enter__()
        if self._stopped:
            self._scope.cancel()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        scope, self._scope = self._scope, None
        if scope is None:
            raise RuntimeError(f"{self.what}: it is not entered, and cannot be left")
        if this_task() is not self._entered_in:
            await self._leave_soon()
            raise RuntimeError(
                f"{self.what}: it was entered in one task and is left in another one; it is held no more, but its end "
                "could not have cancelled the body. Enter and leave it in the same task"
            )
        remains = error
        try:
            if scope.__exit__(kind, error, trace):
                remains = None
        except BaseException as rest:  # of a group of exceptions, without the cancellations
            remains = rest
        lost = self.lost
        try:
            await self._leave_soon()
        except ZabpyError as failed:
            if remains is None:
                raise
            remains.add_note(f"{self.what} could not be released: {failed}")
        if lost:
            self._say_lost(remains)
        if remains is not None and remains is not error:
            raise remains
        return remains is None  # a cancellation by `stop` ends here

    def _say_lost(self, remains: BaseException | None) -> None:
        """Decide what comes out of a body that what it relied on was taken from."""
        if isinstance(remains, self._error) and remains.what == self.what:
            return  # the body has asked itself, by `check`
        if remains is None or _is_consequence(remains):
            raise self._loss() from remains
        if not isinstance(remains, anyio.get_cancelled_exc_class()):
            remains.add_note(f"{self.what} was lost meanwhile: {self._reason}")

    # Inside -----------------------------------------------------------------------------------------------------------

    def _loss(self) -> LostError:
        error = self._error(self.what, self._reason or "it was released")
        return about(error, "hold", self._told_path, self.session.id)

    def _look(self) -> None:
        """Notice what the clock says, even if the task that is to do that has not run yet."""
        if not self._ended:
            try:
                self.session.check()
            except SessionLostError as error:
                self.lose(str(error))

    def _end(self) -> None:
        self._ended = True
        self._undo()
        self._over.set()
        self._guarding.cancel()

    async def _guard(self, path: str, fired: Fired | None) -> None:
        with self._guarding:
            while not self._ended:
                try:
                    if fired is None:
                        data, fired = await self._read(path)
                        await self._changed(data)
                    with fired:
                        event = await fired.wait()
                    if isinstance(event, Deleted):
                        raise NoNodeError
                    fired = None
                except NoNodeError:
                    self.lose(f"its znode {path} was deleted")
                except (SessionLostError, ClosedClientError) as error:
                    self.lose(str(error))
                except ZabpyError as error:
                    return self.call_off(f"its znode {path} cannot be watched any more: {error}")

    async def _read(self, path: str) -> tuple[bytes, Fired]:
        while True:
            try:
                data, _, fired = await self._zk.get_watched(path, session=self.session)
                return data, fired
            except NoServerError:
                pass  # the session decides how long that may last


def _is_consequence(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return all(map(_is_consequence, error.exceptions))
    return isinstance(error, CONSEQUENCES)
