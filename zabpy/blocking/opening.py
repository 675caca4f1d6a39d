"""The client's beginning, end and fork; what it can do besides stands in `client.py`, which is generated."""

import atexit
import warnings
import weakref
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from zabpy.client import ClosedClientError

from .portal import Portal, new_lock
from .stays import Stay
from .wrapping import Blocking


class Opening(Blocking):
    """A client in plain code: ``with connect(...) as zk``, or ``open()`` and ``close()``.

    May be used by any number of threads. What is called before it is open, or after it is closed, raises
    `ClosedClientError`. If the program ends without closing it, it is closed then. If nobody holds it any more, nor
    anything that was had from it, its session is ended with a ResourceWarning.

    **Forks** (gunicorn, Celery, uWSGI, multiprocessing): a session belongs to one process. In a fork of the process
    that opened the client every call raises `ForkedClientError` at once, until ``after_fork()`` is called there, which
    opens it anew, with a session of its own. What was entered or created before belongs to the parent and stays so: a
    lock held by the parent is not held by the child, who cannot release it either.

        zk = zabpy.blocking.connect("zk1,zk2").open()           # gunicorn's configuration, with preload_app
        def post_fork(server, worker): zk.after_fork()

        @celery.signals.worker_process_init.connect             # Celery's prefork pool
        def opened(**_): zk.after_fork()

        multiprocessing.get_context("fork").Pool(initializer=zk.after_fork)
        os.register_at_fork(after_in_child=zk.after_fork)       # always, whoever forks

    **Notebooks** run an event loop in the thread that runs the cells; that does no harm here, for ours is another one.
    """

    _home: "_Home"

    def __init__(self, make: Callable[[], Any]) -> None:
        self._home = _Home(make)
        self._timeout_ms = None
        self._on_lost = "flag"
        self._stay = None

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            if name in ("_portal", "_bare"):  # they are others each time that it is opened
                return getattr(self._home.there(), name[1:])
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def open(self) -> Self:
        """Have a session; what ``with`` begins with. Raises `NoServerError` if none can be had in time.

        Harmless if it is open. A closed one may be opened again, which is another session.
        """
        self._home.open(self._timeout_ms)
        return self

    def close(self) -> None:
        """End the session. What other threads wait for raises `ClosedClientError`. Harmless if it is closed."""
        self._home.close(None)

    def after_fork(self) -> Self:
        """In a fork: open it anew, with a session of its own, if it was open. Elsewhere: nothing."""
        self._home.after_fork(self._timeout_ms)
        return self

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._home.close(error)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Opening) and self._home is other._home

    def __hash__(self) -> int:
        return id(self._home)

    def __repr__(self) -> str:
        return f"<blocking client, {self._home}>"


class _There:
    """A client that is open."""

    def __init__(self, make: Callable[[], Any], timeout_ms: int | None) -> None:
        self.portal = Portal()
        try:
            self.bare = self.portal.call_plain(make)
            self.stay = _ClientStay(self.portal, self.bare)
            self.stay.enter(timeout_ms)
        except BaseException:
            self.portal.close()
            raise


class _ClientStay(Stay):
    _over_is_told: Callable[[], object] | None = None

    async def _see_the_body_out(self) -> None:
        """The client broke down. Whoever calls it will be told, so nobody is waited for."""

    def drop(self, over: Callable[[], object]) -> None:
        """Leave, and end the thread. Waits for nothing; ``over`` is called on the thread when the session has ended."""
        self._over_is_told = over
        self.portal.tell(self._drop)

    def _drop(self) -> None:
        self._body_over.set()
        if self._over.finished:
            self._finish(False)

    def _finish(self, swallowed: bool, error: BaseException | None = None) -> None:
        super()._finish(swallowed, error)
        if self._over_is_told is not None:
            self._over_is_told()
            self.portal.stop()


class _Home:
    """Where the client is, if it is open: what all hold in common that stand for it."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self._there: _There | None = None
        self._changing = new_lock()

    def there(self) -> _There:
        there = self._there
        if there is None:
            raise ClosedClientError("the client is not open: use it within `with`, or call open()")
        return there

    def open(self, timeout_ms: int | None) -> None:
        if self._there is not None and self._there.portal.forked:
            self._there.portal.check()
        with self._changing:
            if self._there is None:
                self._there = _There(self._make, timeout_ms)
                _open.add(self)

    def close(self, error: BaseException | None) -> None:
        there = self._there
        if there is None or there.portal.forked:
            return
        with self._changing:
            if self._there is not there:
                return
            self._there = None
            _open.discard(self)
        try:
            there.stay.leave(error)
        finally:
            there.portal.close()

    def after_fork(self, timeout_ms: int | None) -> None:
        there = self._there
        if there is None or not there.portal.forked:
            return
        _inherited.append(there)
        self._there, self._changing = None, new_lock()  # somebody in the parent may have had the other one
        _open.discard(self)
        self.open(timeout_ms)

    def at_exit(self) -> None:
        """End the session, so that nobody waits for what it leaves behind. The thread may stay as it is."""
        there, self._there = self._there, None
        if there is None:
            return
        if there.portal.forked:
            _inherited.append(there)
        else:
            there.stay.leave(None)

    def __del__(self) -> None:
        there = self._there
        if there is None:
            return
        if there.portal.forked:
            _inherited.append(there)
            return
        _dropped.add(there)
        there.stay.drop(lambda: _dropped.discard(there))
        warnings.warn(f"{there.bare!r} was dropped without being closed: close() it", ResourceWarning, 2, source=self)

    def __repr__(self) -> str:
        there = self._there
        return "closed" if there is None else "of another process" if there.portal.forked else repr(there.bare)


_open: weakref.WeakSet[_Home] = weakref.WeakSet()
#: Clients that nobody holds any more, and whose sessions are being ended.
_dropped: set[_There] = set()
#: Clients of the process that this one is a fork of. They share its sockets and its epoll, so let nobody tidy them up.
_inherited: list[_There] = []


@atexit.register
def _close_all() -> None:
    for home in list(_open):
        home.at_exit()
    for there in list(_dropped):
        if not there.portal.forked:
            there.stay.leave(None)
