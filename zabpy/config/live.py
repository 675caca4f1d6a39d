"""Settings that are there at the start and follow the store: what a service holds.

    async with Config.open(zk, "/config/app", model=Settings, layers=["env.prod", "host.web1"]) as cfg:
        cfg.current.db.host                     # one whole revision, and no waiting: an attribute
        async for update in cfg.changes():      # old, new, and what differs
            ...

**What is promised.** `Config.current` is always settings that fit the model, all of one revision. They are swapped
whole, between two steps of the program, so who needs two values that belong together reads ``current`` once. What is
committed and does not fit is not taken: `Config.current` stays what it was, and the alarm is raised
(`Config.last_error`, a log line of level ERROR, ``on_alarm``), until a later commit fits. Without the servers it stays
what it was, too, and `Config.stale` says so.

**How it starts.** It waits for the servers, ``wait_ms`` at most. If they cannot be reached by then, or what they have
does not fit, it starts with what ``cache``, a file, has from the last time, and goes on trying. Give it the servers'
addresses, or a function that makes a client, where the start is to survive that they are away: an open client cannot
be had without them.

**Layers.** The later one in ``layers`` wins over the earlier, and all of them over ``default``, which needs no naming.
"""

import inspect
import json
import logging
import os
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Any, Final, Generic, Self, TypeVar, cast, overload
from uuid import uuid4

import anyio

from zabpy import recipes
from zabpy.client import Client, ClosedClientError, State
from zabpy.model import BadArgumentsError, ZabpyError
from zabpy.recipes import TRANSIENT, Registration

from .binding import Binder
from .cache import Cached, CacheError, load, save
from .canary import Canary
from .errors import ConfigError
from .layers import DEFAULT, Explanation, Layer, Merged, Reveal, explain, merge, merge_changed
from .reading import Seen, follow
from .update import Update, differences
from .values import BadSettingsError

log = logging.getLogger("zabpy.config")

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., object])

#: Between two attempts to reach the servers, and at most.
RETRY_MS, RETRY_MS_MAX = 100, 5_000
#: Readers tell within so long which revision they run: not all at once, whenever somebody commits.
SPLAY_MS_MAX: Final = 5_000

#: Who gives a client: servers' addresses, or a function that makes one, or one that is open.
Source = Client | str | Sequence[str] | Callable[[], Client]


class NotReadyError(ConfigError, TimeoutError):
    """There are no settings yet: none came from the servers in time, and none were in a cache."""


class _Missing:
    pass


_MISSING: Final = _Missing()


@dataclass(frozen=True, slots=True)
class _Snapshot(Generic[T]):
    """What the program has, and what it was made of. ``revision`` 0: a default."""

    value: T
    merged: Merged
    layers: tuple[Layer, ...]
    revision: int
    fresh: bool  # from the servers
    canary: int | None = None


class Config(Generic[T]):
    """See the head of this file. To be had from `Config.open`, and used within ``async with``, once."""

    def __init__(
        self,
        source: Source,
        path: str,
        *,
        model: type[T] | None,
        layers: Sequence[str],
        cache: str | os.PathLike[str] | None,
        reveal: Reveal | None,
        host: str | None,
        labels: Mapping[str, str] | None,
        wait_ms: int,
        on_alarm: Callable[[ZabpyError], object] | None,
        announce: bool,
        rng: Random | None,
    ) -> None:
        if type(wait_ms) is not int or wait_ms < 0:
            raise BadArgumentsError(f"wait_ms={wait_ms!r}: expected whole milliseconds, 0 or more")
        if isinstance(layers, str):
            raise BadArgumentsError(f"layers={layers!r}: expected a list of names")
        for index, name in enumerate(layers):
            if name in layers[:index]:
                raise BadArgumentsError(f"layers: {name!r} stands in it twice")
        self.path = path
        #: From the lowest on.
        self.layers = tuple(layers) if DEFAULT in layers else (DEFAULT, *layers)
        self._source, self._reveal = source, reveal
        self._binder = Binder(model)
        self._cache = None if cache is None else Path(cache)
        self._host, self._labels = socket.gethostname() if host is None else host, dict(labels or {})
        self._wait_ms, self._on_alarm, self._announces = wait_ms, on_alarm, announce
        self._rng = Random() if rng is None else rng
        self._now: _Snapshot[T] | None = None
        self._cached: _Snapshot[T] | None = None
        self._newest: tuple[Layer, ...] | None = None  # of the store, whether they fit or not
        self._held: Seen | None = None  # of the store, whether it fits or not
        self._error: ZabpyError | None = None
        self._zk: Client | None = None
        self._linked = False  # and told of all that is new
        self._entered = self._over = False
        self._changed = anyio.Event()

    @overload
    @classmethod
    def open(
        cls,
        client: Source,
        path: str,
        *,
        model: type[T],
        layers: Sequence[str] = (),
        cache: str | os.PathLike[str] | None = None,
        reveal: Reveal | None = None,
        host: str | None = None,
        labels: Mapping[str, str] | None = None,
        wait_ms: int = 10_000,
        on_alarm: Callable[[ZabpyError], object] | None = None,
        announce: bool = True,
        rng: Random | None = None,
    ) -> "Config[T]": ...

    @overload
    @classmethod
    def open(
        cls,
        client: Source,
        path: str,
        *,
        model: None = None,
        layers: Sequence[str] = (),
        cache: str | os.PathLike[str] | None = None,
        reveal: Reveal | None = None,
        host: str | None = None,
        labels: Mapping[str, str] | None = None,
        wait_ms: int = 10_000,
        on_alarm: Callable[[ZabpyError], object] | None = None,
        announce: bool = True,
        rng: Random | None = None,
    ) -> "Config[Mapping[str, Any]]": ...

    @classmethod
    def open(
        cls,
        client: Source,
        path: str,
        *,
        model: Any = None,
        layers: Sequence[str] = (),
        cache: str | os.PathLike[str] | None = None,
        reveal: Reveal | None = None,
        host: str | None = None,
        labels: Mapping[str, str] | None = None,
        wait_ms: int = 10_000,
        on_alarm: Callable[[ZabpyError], object] | None = None,
        announce: bool = True,
        rng: Random | None = None,
    ) -> "Config[Any]":
        """
        Args:
            client: one that is open; or servers' addresses, or a function that makes a client, for a start that waits
                for no servers if there is a ``cache``.
            path: the namespace.
            model: what the settings become, see binding.py; None: nested mappings, whose values are text or come from
                documents. What cannot be changed in place is a model with ``frozen=True``.
            layers: their names, the later ones win.
            cache: a file to keep the last good settings in.
            reveal: decrypts what is encrypted.
            host, labels: what this reader is, for a staged rollout; the host's name if it is not given.
            wait_ms: how long ``async with`` waits for the servers before it takes to the cache, or raises. 0: it does
                not wait at all, and what waits is `ready`.
            on_alarm: called (and awaited, if that can be) with what is wrong, when something is.
            announce: tell the others which revision this reader runs, by an ephemeral znode. Where that is not allowed,
                or there is no such place, nothing is told.
        Raises:
            BadArgumentsError: such settings there cannot be.
        """
        return Config(
            client,
            path,
            model=model,
            layers=layers,
            cache=cache,
            reveal=reveal,
            host=host,
            labels=labels,
            wait_ms=wait_ms,
            on_alarm=on_alarm,
            announce=announce,
            rng=rng,
        )

    async def __aenter__(self) -> Self:
        """Raises, where there is no cache to start with: `NotReadyError` for servers that are away, `BadSettingsError`
        for values that do not fit, what the servers say (`NoAuthError` ...), or that there is no config store.
        """
        if self._entered:
            raise RuntimeError("a config is opened once; make another one")
        self._entered = True
        self._tasks = anyio.create_task_group()
        await self._tasks.__aenter__()
        try:
            if self._cache is not None:
                self._cached = await anyio.to_thread.run_sync(self._load, self._cache)
                self._tasks.start_soon(self._keep_cache, self._cache)
            self._tasks.start_soon(self._keep_up)
            if self._announces:
                self._tasks.start_soon(self._keep_announced)
            if self._wait_ms > 0:
                with anyio.move_on_after(self._wait_ms / 1000):
                    await self._wait(lambda: self._now is not None or self._error is not None)
            if self._now is None:
                self._make_do()
        except BaseException:
            await self.__aexit__(None, None, None)
            raise
        return self

    def _make_do(self) -> None:
        """Nothing good has come from the servers."""
        if self._cached is not None:
            log.warning("%s: starting with revision %d from %s", self.path, self._cached.revision, self._cache)
            self._swap(self._cached)
        elif self._wait_ms > 0:
            raise self._error or NotReadyError(
                f"{self.path}: no settings within {self._wait_ms} ms, and none in a cache"
            )

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over = True
        self._tell()
        self._tasks.cancel_scope.cancel()
        # Told of no error, as the client's own tasks are: what the body raised comes out as it was.
        await self._tasks.__aexit__(None, None, None)

    # What it holds ----------------------------------------------------------------------------------------------------

    @property
    def current(self) -> T:
        """The settings. Raises `NotReadyError` before there are any, which ``wait_ms=0`` allows."""
        if self._now is None:
            raise NotReadyError(f"{self.path}: no settings yet; wait for `ready`")
        return self._now.value

    @property
    def revision(self) -> int:
        """Of `current`. 0 for a default, and before there are any settings."""
        return 0 if self._now is None else self._now.revision

    @property
    def canary(self) -> int | None:
        """The revision that began the staged rollout whose changes this reader has before others; None without one."""
        return None if self._now is None else self._now.canary

    @property
    def merged(self) -> Merged:
        """What `current` is made of: each value with the layer and the key that it comes from."""
        if self._now is None:
            raise NotReadyError(f"{self.path}: no settings yet; wait for `ready`")
        return self._now.merged

    @property
    def stale(self) -> bool:
        """Whether there may be news that could not come: `current` is from the cache or a default, or there is no
        connection. What came and was refused is no matter of this but of `last_error`."""
        return self._now is None or not self._now.fresh or not self._is_linked()

    @property
    def last_error(self) -> ZabpyError | None:
        """Why what the store holds now is not `current`; None if it is, as far as we know."""
        return self._error

    async def ready(self, timeout_ms: int | None = None, *, default: T | _Missing = _MISSING) -> T:
        """The settings, as soon as there are some; for ever, or so long.

        Then ``default`` is `current`, until there are others; without one `NotReadyError` is raised, or what is wrong.
        """
        with anyio.move_on_after(None if timeout_ms is None else timeout_ms / 1000):
            await self._wait(lambda: self._now is not None)
        if self._now is None:
            if isinstance(default, _Missing):
                raise self._error or NotReadyError(f"{self.path}: no settings within {timeout_ms} ms")
            self._swap(_Snapshot(default, Merged({}), (), 0, fresh=False))
        return self.current

    def explain(self, key: str) -> list[Explanation]:
        """For that key, or each one below it, what every layer of the store says now, and which of them wins.

        Secrets are masked. It tells of what was refused, too. Empty where no layer says anything.
        """
        layers = self._newest if self._newest is not None else () if self._now is None else self._now.layers
        return explain(layers, key, self._reveal)

    # What changes -----------------------------------------------------------------------------------------------------

    def changes(self, pattern: str = "*") -> "Changes[T]":
        """A stream of what changes from now on in keys that match: ``async for update in cfg.changes("db.*")``.

        Who reads slowly is not told of each step: what changed since he last looked comes as one `Update`. It ends
        when the config is closed.
        """
        return Changes(self, pattern)

    def on_change(self, pattern: str = "*") -> Callable[[F], F]:
        """Have a function called, and awaited if that can be, after each change from now on, with the `Update`.

            @cfg.on_change("db.*")
            async def reconnect(update): ...

        It is called with the next one when it is done with the one before. What it raises is logged, and it is called
        again the next time.
        """

        def register(fn: F) -> F:
            if not self._entered or self._over:
                raise RuntimeError("the config is not open: use it within `async with`")
            self._tasks.start_soon(self._keep_calling, fn, self.changes(pattern))
            return fn

        return register

    async def _keep_calling(self, fn: Callable[..., object], changes: "Changes[T]") -> None:
        async for update in changes:
            await _called(fn, update)

    async def _wait(self, condition: Callable[[], bool]) -> bool:
        """Until it holds, which is then True; False if the config is closed before."""
        while not condition():
            if self._over:
                return False
            await self._changed.wait()
        return True

    def _tell(self) -> None:
        changed, self._changed = self._changed, anyio.Event()
        changed.set()

    # Keeping up -------------------------------------------------------------------------------------------------------

    async def _keep_up(self) -> None:
        pause_ms = RETRY_MS
        while True:
            held = self._held
            try:
                async with AsyncExitStack() as stack:
                    if isinstance(self._source, Client):
                        zk = self._source
                    else:
                        zk = await stack.enter_async_context(self._made())
                    self._zk = zk
                    await self._follow(zk)
            except Exception as error:
                if isinstance(error, ClosedClientError) and isinstance(self._source, Client):
                    return  # by whom it belongs to; `stale` says so
                self._troubled(error)
            finally:
                self._linked, self._zk = False, None
                self._tell()
            pause_ms = RETRY_MS if self._held is not held else min(2 * pause_ms, RETRY_MS_MAX)
            await anyio.sleep(pause_ms * (0.5 + self._rng.random() / 2) / 1000)

    def _made(self) -> Client:
        source = self._source
        assert not isinstance(source, Client)
        return source() if callable(source) else recipes.connect(source)

    async def _follow(self, zk: Client) -> None:
        async with follow(zk, self.path, self.layers, self._held) as states:
            async for state in states:
                self._linked = True
                self._take(state)

    def _is_first(self, canary: Canary) -> bool:
        return canary.takes(self._host, self._labels)

    def _layers_of(self, state: Seen) -> tuple[Layer, ...]:
        entries: dict[str, dict[str, bytes]] = {name: {} for name in self.layers}
        canary = state.canary
        found = state.entries if canary is None or not self._is_first(canary) else canary.applied(state.entries)
        for (layer, key), value in found.items():
            if layer in entries:
                entries[layer][key] = value
        return tuple(Layer(name, values) for name, values in entries.items())

    def _is_linked(self) -> bool:
        return self._linked and self._zk is not None and self._zk.state is State.CONNECTED

    def _take(self, state: Seen) -> None:
        """The store has another revision. It is in use when this returns, or refused."""
        self._held = state
        layers = self._newest = self._layers_of(state)
        canary = None if state.canary is None or not self._is_first(state.canary) else state.canary.revision
        try:
            self._swap(replace(self._snapshot(layers, state.revision, fresh=True), canary=canary))
        except BadSettingsError as error:
            self._alarm(BadSettingsError(error.problems, self._in_use(state.revision)))
            return
        if self._error is not None:
            log.info("%s: revision %d is in use; all is well again", self.path, state.revision)
            self._error = None

    def _snapshot(self, layers: tuple[Layer, ...], revision: int, *, fresh: bool) -> _Snapshot[T]:
        now = self._now
        if now is not None and now.layers == layers:
            return replace(now, revision=revision, fresh=fresh or now.fresh)
        if now is not None and now.layers:
            found = merge_changed(now.merged, now.layers, layers, self._reveal)
            if found is not None:
                merged, changed = found
                value = self._binder.bind_changed(now.value, merged, changed) if now.merged != merged else now.value
                return _Snapshot(value, merged, layers, revision, fresh)
        merged = merge(layers, self._reveal)
        if now is not None and now.layers and now.merged == merged:
            # What was handed out stays the same object as long as it says the same.
            return _Snapshot(now.value, merged, layers, revision, fresh)
        return _Snapshot(self._binder.bind(merged), merged, layers, revision, fresh)

    def _swap(self, snapshot: _Snapshot[T]) -> None:
        self._now = snapshot
        self._tell()

    def _in_use(self, revision: int) -> str:
        kept = "there are none yet" if self._now is None else f"those of revision {self.revision} stay in use"
        return f"{self.path}: the settings of revision {revision} are refused, {kept}"

    # What goes wrong --------------------------------------------------------------------------------------------------

    def _troubled(self, error: Exception) -> None:
        """The store cannot be followed, for now."""
        if isinstance(error, TRANSIENT):
            log.info("%s: no connection to the store: %s", self.path, error)
        elif isinstance(error, ZabpyError):
            self._alarm(error)
        else:  # our own bug: the program keeps its settings all the same
            log.error("%s: the store cannot be followed", self.path, exc_info=error)
            self._alarm(ConfigError(f"{self.path}: {error!r}"))

    def _alarm(self, error: ZabpyError) -> None:
        if self._error is not None and str(self._error) == str(error):
            return
        self._error = error
        log.error("%s", error)
        self._tell()
        if self._on_alarm is not None:
            self._tasks.start_soon(_called, self._on_alarm, error)

    # The cache --------------------------------------------------------------------------------------------------------

    def _load(self, file: Path) -> _Snapshot[T] | None:
        try:
            cached = load(file, self.path)
            if cached is None:
                return None
            layers = tuple(Layer(name, cached.layers[name]) for name in self.layers)
            self._held = Seen(cached.revision, {})  # what comes from the servers is not to be older
            return self._snapshot(layers, cached.revision, fresh=False)
        except KeyError as error:
            log.warning("cache %s: it has nothing of layer %s, and is not used", file, error.args[0])
        except (CacheError, BadSettingsError) as error:
            log.warning("%s", error)
        return None

    async def _keep_cache(self, file: Path) -> None:
        """One save after the other, of what is newest when it begins."""
        saved = self._cached

        def due() -> bool:
            return self._now is not None and self._now.fresh and self._now is not saved

        while await self._wait(due):
            saved = now = cast(_Snapshot[T], self._now)
            cached = Cached(
                self.path, now.revision, time.time_ns() // 1_000_000, {each.name: each.entries for each in now.layers}
            )
            try:
                await anyio.to_thread.run_sync(save, file, cached)
            except CacheError as error:
                log.warning("%s", error)

    # Telling others ---------------------------------------------------------------------------------------------------

    async def _keep_announced(self) -> None:
        """Be among the readers of the namespace while it is followed."""
        instance = uuid4().hex
        while await self._wait(self._is_linked):
            zk = self._zk
            assert zk is not None
            try:
                await self._announce(zk, instance)
            except TRANSIENT:
                pass
            except ZabpyError as error:
                log.info("%s: others are not told of this reader: %s", self.path, error)
                return
            await anyio.sleep(RETRY_MS_MAX / 1000)

    async def _announce(self, zk: Client, instance: str) -> None:
        """Returns when another client is to be taken."""
        told = self._said(instance)

        def due() -> bool:
            return self._said(instance) != told or self._zk is not zk

        async with Registration(zk, f"{self.path}/.readers/{instance}", told, wait=False) as here:
            while await self._wait(due) and self._zk is zk:
                # Not all at once; and of several revisions within that time only the last is told.
                await anyio.sleep(self._rng.random() * SPLAY_MS_MAX / 1000)
                told = self._said(instance)
                await here.update(told)

    def _said(self, instance: str) -> bytes:
        told = {"host": self._host, "pid": os.getpid(), "instance": instance, "revision": self.revision}
        return json.dumps({**told, "canary": self.canary, "refused": self._error is not None}).encode()


class Changes(Generic[T]):
    """A stream of updates, see `Config.changes`."""

    def __init__(self, config: Config[T], pattern: str) -> None:
        self._config, self._pattern = config, pattern
        self._seen = config._now

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Update[T]:
        config = self._config
        while await config._wait(lambda: config._now is not self._seen):
            before, now = self._seen, cast(_Snapshot[T], config._now)
            self._seen = now
            if before is None:
                continue  # the first settings are no change
            diff = differences(before.merged, now.merged, self._pattern)
            if diff:
                return Update(before.value, now.value, now.revision, diff)
        raise StopAsyncIteration


async def _called(fn: Callable[..., object], given: object) -> None:
    """Call a user's function, and wait for what it does. What it raises is its own affair."""
    try:
        done = fn(given)
        if inspect.isawaitable(done):
            await done
    except Exception:
        log.exception("%r failed, which was called with %r", fn, given)
