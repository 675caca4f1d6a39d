"""What every class of `client.py` is made of: an object of the async client, and the portal to the loop it lives on."""

import contextvars
import functools
import random
import time
from collections.abc import Awaitable, Callable, Coroutine
from types import TracebackType
from typing import Any, ClassVar, Final, Generic, ParamSpec, Self, TypeVar

from zabpy.client import ClientError
from zabpy.model import BadArgumentsError
from zabpy.recipes import Value

from .portal import Job, Portal, in_thread
from .pumps import Pump
from .stays import Lost, OnLost, Stay

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
V = TypeVar("V", bound=Value)

#: How long an update that others were faster than waits at most.
UPDATE_PAUSE_MS_MAX: Final = 100


class NotHeldError(ClientError):
    """What a body relied on is lost, or never was."""


class Blocking:
    """Stands for an object of the async client. Equal to whatever else stands for the same one."""

    #: Class of the async client → what stands for it.
    classes: ClassVar[dict[type, type["Blocking"]]] = {}

    def __init__(self, parent: "Blocking", bare: Any) -> None:
        self._home: object = parent._home  # the client is not dropped while somebody has a part of it
        self._portal: Portal = parent._portal
        self._bare: Any = bare
        self._timeout_ms: int | None = parent._timeout_ms
        self._on_lost: OnLost = parent._on_lost
        self._stay: Stay | None = None

    def with_timeout(self, timeout_ms: int | None) -> Self:
        """The same thing, but what is called on it, and on what that returns, may take no longer than ``timeout_ms``.

        Then it is given up and cleaned up after, and `TimedOutError` raised; a write may have been done all the same.
        None: as long as it takes, which is the default. An operation that no server answers ends with an error of its
        own even so; what waits for others (a lock, a watch) does not.

        Raises:
            BadArgumentsError: that is no time.
        """
        if timeout_ms is not None and (type(timeout_ms) is not int or timeout_ms < 0):
            raise BadArgumentsError(f"timeout_ms={timeout_ms!r}: expected whole milliseconds, 0 or more, or None")
        return self._varied(_timeout_ms=timeout_ms)

    def _varied(self, **fields: Any) -> Self:
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        other.__dict__.update(fields)
        return other

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Blocking) and self._bare is other._bare

    def __hash__(self) -> int:
        return id(self._bare)

    def __repr__(self) -> str:
        return f"<blocking {self._bare!r}>"

    # For the generated classes ----------------------------------------------------------------------------------------

    def _call(self, fn: Callable[P, Coroutine[Any, Any, R]], *args: P.args, **named: P.kwargs) -> R:
        """Await it on the loop."""
        return self._portal.call(functools.partial(fn, *args, **named), timeout_ms=self._timeout_ms)

    def _ask(self, fn: Callable[P, Coroutine[Any, Any, R]], *args: P.args, **named: P.kwargs) -> R:
        """The same for one that awaits nothing but answers of servers."""
        return self._portal.ask(functools.partial(fn, *args, **named), timeout_ms=self._timeout_ms)

    def _plain(self, fn: Callable[P, R], *args: P.args, **named: P.kwargs) -> R:
        """Call a plain function of the async client, whose place is on the loop, too."""
        return self._portal.call_plain(functools.partial(fn, *args, **named))

    def _direct(self, fn: Callable[P, R], *args: P.args, **named: P.kwargs) -> R:
        """Call one whose place need not be the loop."""
        self._portal.check()
        return fn(*args, **named)

    def _read(self, name: str) -> Any:
        """A property."""
        portal = self._portal
        if portal.closed and not portal.forked:
            return self._wrapped(getattr(self._bare, name))  # nothing changes any more
        return self._wrapped(portal.call_plain(functools.partial(getattr, self._bare, name)))

    def _from_thread(self, fn: Callable[..., R]) -> Callable[..., Awaitable[R]]:
        """A user's function as what the async client awaits. What it is given is told when that would be cancelled."""

        context = contextvars.copy_context()

        async def run(*args: Any) -> R:
            given = [self._wrapped(each) for each in args]
            lost = Lost(self._portal)
            for each in given:
                if isinstance(each, Holding):
                    each._lost = lost
            return await self._portal.in_thread(context.copy().run, fn, *given, cancelled=lost.set)

        return run

    def _wrapped(self, value: Any) -> Any:
        """What stands for this value, if something does; also inside tuples, lists and dicts."""
        kind = type(value)
        for base in kind.__mro__:
            found = Blocking.classes.get(base)
            if found is not None:
                return found(self, value)
        if kind is tuple or kind is list:
            return kind(map(self._wrapped, value))
        if kind is dict:
            return {key: self._wrapped(each) for key, each in value.items()}
        return value


def bare(value: Any) -> Any:
    """The async client's own, for what stands for it; also inside tuples and lists."""
    if isinstance(value, Blocking):
        return value._bare
    if isinstance(value, tuple | list):
        return type(value)(map(bare, value))
    return value


class Context(Blocking, Generic[T]):
    """To be used in a ``with``. What it is, is what the method says that returned it."""

    def __init__(self, parent: Blocking, bare: Any) -> None:
        super().__init__(parent, bare)
        self._stays: list[Stay] = []

    def __enter__(self) -> T:
        stay = Stay(self._portal, self._bare, self._on_lost)
        value = stay.enter(self._timeout_ms)
        self._stays.append(stay)
        entered = self._wrapped(value)
        if entered is value and hasattr(type(value), "__anext__"):
            entered = Stream(self, value)
        if isinstance(entered, Blocking):
            entered._stay = stay
        result: T = entered
        return result

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        # The innermost of this thread's; for a `with` begun on another thread, the innermost of all.
        mine = [stay for stay in self._stays if stay.is_of_this_thread] or self._stays
        stay = mine[-1]
        self._stays.remove(stay)
        return stay.leave(error)


class Entered(Context[Any]):
    """To be used in a ``with``, which gives it itself."""

    def __enter__(self) -> Self:
        entered: Self = super().__enter__()
        return entered


class PlainContext(Blocking, Generic[T]):
    """To be used in a ``with``, which is none that waits."""

    def __enter__(self) -> T:
        entered: T = self._wrapped(self._plain(self._bare.__enter__))
        return entered

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        swallowed: bool | None = self._plain(self._bare.__exit__, kind, error, trace)
        return swallowed


class Stream(Blocking, Generic[T]):
    """One item after another: ``for item in stream``, or `next` where waiting is to have an end."""

    def __init__(self, parent: Blocking, bare: Any) -> None:
        super().__init__(parent, bare)
        self._keeper = _Keeper(Pump[Any](self._portal, bare))

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> T:
        try:
            return self._item(self._timeout_ms)
        except StopAsyncIteration:
            raise StopIteration from None

    def next(self, *, timeout_ms: int | None = None) -> T:
        """The next item, waiting for it no longer than this (None: as `with_timeout` says, or for ever).

        Who gives up loses nothing: the item is the next one's who asks. Several threads may ask; each item is for one.

        Raises:
            TimedOutError: there was none so far.
            StopIteration: there will be none.
        """
        try:
            return self._item(self._timeout_ms if timeout_ms is None else timeout_ms)
        except StopAsyncIteration:
            raise StopIteration from None

    def close(self) -> None:
        """No more items are wanted. Also what happens when nobody holds the stream any more."""
        self._keeper.pump.close()

    def _item(self, timeout_ms: int | None) -> T:
        item: T = self._wrapped(self._keeper.pump.next(timeout_ms))
        return item


class _Keeper:
    """Of a pump, for all that stand for its stream; the pump ends with the last of them."""

    def __init__(self, pump: Pump[Any]) -> None:
        self.pump = pump

    def __del__(self) -> None:
        self.pump.close()


class Holding(Blocking):
    """What is entered by a ``with``, and whose end there, if it comes too early, cancels a coroutine's body."""

    def __init__(self, parent: Blocking, bare: Any) -> None:
        super().__init__(parent, bare)
        self._lost: Lost | None = None

    @property
    def lost(self) -> Lost:
        """Set when it is lost, however long the ``with`` still lasts. The end of the ``with`` will then raise why.

        Whoever relies on it looks here before each step that does, or calls ``check()``.
        """
        if self._lost is None:
            if self._stay is not None:
                self._lost = self._stay.lost
            elif hasattr(self._bare, "on_lost"):
                self._lost = Lost(self._portal)
                self._plain(self._bare.on_lost, self._lost.set)
            else:
                raise NotHeldError("it was not entered by a `with`, or this is not what that `with` gave")
        return self._lost

    def check(self) -> None:
        """Raise `NotHeldError` if it is lost."""
        if self.lost:
            raise NotHeldError("lost; the end of the `with` says why")

    def run(self, fn: Callable[P, R], *args: P.args, **named: P.kwargs) -> R:
        """Call ``fn`` on a thread of its own, and return or raise what it does.

        If that is lost which is held, then ``fn`` is waited for no longer and what `check` raises is raised. A thread
        cannot be stopped: ``fn`` goes on until it looks at `lost` or calls `check` itself.
        """
        self.check()
        done: Job[R] = Job()
        fn_in_context = functools.partial(contextvars.copy_context().run, fn, *args, **named)

        def body() -> None:
            try:
                done.finish(fn_in_context())
            except BaseException as error:
                done.finish(None, error)
            first.finish(None)

        with self.lost.also() as first:
            in_thread(body)
            first.wait()
        if not done.finished:
            self.check()
            raise NotHeldError("lost; the end of the `with` says why")
        return done.outcome()


def update_by(get: Callable[[], V], swap: Callable[[V, bytes], V | None], change: Callable[[bytes], bytes]) -> V:
    """Write what ``change``, which is called in this thread, makes of a value, as often as others were faster."""
    pause_ms = 1
    while True:
        seen = get()
        written = swap(seen, change(seen.data))
        if written is not None:
            return written
        pause_ms = min(2 * pause_ms, UPDATE_PAUSE_MS_MAX)
        time.sleep(random.random() * pause_ms / 1000)
