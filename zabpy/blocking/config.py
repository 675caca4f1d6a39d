"""Settings that follow the store, for plain code: `zabpy.config.Config` with an event loop in a thread of its own.

    with zabpy.blocking.open_config("zk1,zk2", "/config/app", model=Settings, cache="/var/lib/app/config") as cfg:
        cfg.current.db.host                     # memory: no other thread is asked
        for update in cfg.changes("db.*"): ...

It opens and closes the way a client does, and survives forks the same way, see `Opening`: ``after_fork()`` gives the
child settings that follow the store for themselves. Names, parameters and promises are those of the async one;
tests/config/test_blocking.py holds it to that.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any, Generic, TypeVar, overload

from zabpy import config
from zabpy.model import BadArgumentsError, ZabpyError
from zabpy.recipes import Client

from .opening import Opening
from .wrapping import Stream

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., object])

#: Servers' addresses, or a function that makes an async client: this one is not shared with others.
Servers = str | Sequence[str] | Callable[[], Client]

_NO_DEFAULT: Any = object()


class Config(Opening, Generic[T]):
    """See the head of this file. To be had from `open_config`. `zabpy.config.Config` says what each of it promises."""

    _bare: config.Config[T]

    @property
    def path(self) -> str:
        return self._bare.path

    @property
    def layers(self) -> tuple[str, ...]:
        """From the lowest on."""
        return self._bare.layers

    @property
    def current(self) -> T:
        """The settings. They may be read by any thread, and cost an attribute's time."""
        self._portal.check()
        return self._bare.current

    @property
    def revision(self) -> int:
        """Of `current`. 0 for a default, and before there are any settings."""
        self._portal.check()
        return self._bare.revision

    @property
    def canary(self) -> int | None:
        """The revision that began the staged rollout whose changes this reader has before others; None without one."""
        self._portal.check()
        return self._bare.canary

    @property
    def merged(self) -> config.Merged:
        """What `current` is made of: each value with the layer and the key that it comes from."""
        self._portal.check()
        return self._bare.merged

    @property
    def stale(self) -> bool:
        """Whether there may be news that could not come."""
        self._portal.check()
        return self._bare.stale

    @property
    def last_error(self) -> ZabpyError | None:
        """Why what the store holds now is not `current`; None if it is, as far as we know."""
        self._portal.check()
        return self._bare.last_error

    def ready(self, timeout_ms: int | None = None, *, default: T = _NO_DEFAULT) -> T:
        """The settings, as soon as there are some; for ever, or so long. Then ``default`` is `current`, if given."""
        named = {} if default is _NO_DEFAULT else {"default": default}
        return self._call(self._bare.ready, timeout_ms, **named)

    def explain(self, key: str) -> list[config.Explanation]:
        """For that key, or each one below it, what every layer of the store says now, and which of them wins."""
        return self._plain(self._bare.explain, key)

    def changes(self, pattern: str = "*") -> Stream[config.Update[T]]:
        """A stream of what changes from now on in keys that match: ``for update in cfg.changes("db.*")``."""
        return Stream(self, self._plain(self._bare.changes, pattern))

    def on_change(self, pattern: str = "*") -> Callable[[F], F]:
        """Have a function called after each change from now on, with the `Update`, on a thread of its own."""

        def register(fn: F) -> F:
            self._plain(self._bare.on_change(pattern), self._from_thread(fn))
            return fn

        return register


@overload
def open_config(
    client: Servers,
    path: str,
    *,
    model: type[T],
    layers: Sequence[str] = (),
    cache: str | os.PathLike[str] | None = None,
    reveal: config.Reveal | None = None,
    host: str | None = None,
    labels: Mapping[str, str] | None = None,
    wait_ms: int = 10_000,
    on_alarm: Callable[[ZabpyError], object] | None = None,
    announce: bool = True,
    rng: Random | None = None,
) -> Config[T]: ...


@overload
def open_config(
    client: Servers,
    path: str,
    *,
    model: None = None,
    layers: Sequence[str] = (),
    cache: str | os.PathLike[str] | None = None,
    reveal: config.Reveal | None = None,
    host: str | None = None,
    labels: Mapping[str, str] | None = None,
    wait_ms: int = 10_000,
    on_alarm: Callable[[ZabpyError], object] | None = None,
    announce: bool = True,
    rng: Random | None = None,
) -> Config[Mapping[str, Any]]: ...


def open_config(
    client: Servers,
    path: str,
    *,
    model: Any = None,
    layers: Sequence[str] = (),
    cache: str | os.PathLike[str] | None = None,
    reveal: config.Reveal | None = None,
    host: str | None = None,
    labels: Mapping[str, str] | None = None,
    wait_ms: int = 10_000,
    on_alarm: Callable[[ZabpyError], object] | None = None,
    announce: bool = True,
    rng: Random | None = None,
) -> Config[Any]:
    """`zabpy.config.Config.open` for plain code: ``with open_config("zk1,zk2", "/config/app", model=Settings) as cfg``.

    The arguments are the same, but for ``client``: an open client lives on a loop of its own. ``on_alarm`` is called on
    a thread of its own.
    """
    if not isinstance(client, str | Sequence) and not callable(client):
        raise BadArgumentsError(
            f"client: servers' addresses are expected, or a function, not a {type(client).__name__}"
        )

    def make() -> config.Config[Any]:
        return config.Config(
            client,
            path,
            model=model,
            layers=layers,
            cache=cache,
            reveal=reveal,
            host=host,
            labels=labels,
            wait_ms=wait_ms,
            on_alarm=None if on_alarm is None else made._from_thread(on_alarm),
            announce=announce,
            rng=rng,
        )

    made: Config[Any] = Config(make)
    make()  # what cannot be is said here, not when it is opened
    return made
