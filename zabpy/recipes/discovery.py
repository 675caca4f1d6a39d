"""Service discovery: instances register themselves, clients choose among those that are there.

    async with zk.registered_service("/services", ServiceInstance("api", "host1", "10.0.0.7", 80)):
        await serve()

    async with zk.service("/services", "api") as api:       # a view: one watch, whatever the number of instances
        with api.use() as instance:                         # or api.choose()
            await ask(instance.address, instance.port)

Layout and JSON are those of Curator's x-discovery, ``path/name/id``, so its providers and registrations and ours see
each other. A view never waits: it chooses from memory. During an outage it goes on with what it knew and says so in
``stale``; clients find out for themselves who answers, see `ServiceView.mark_failed`.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from types import TracebackType
from typing import Self

import anyio

from zabpy.client import Client, Znode
from zabpy.model import Acls, join

from .arguments import bad, check_path
from .choice import STRATEGIES, DownPolicy, Health, Strategy
from .errors import RecipeError, about
from .instance import ServiceInstance
from .registration import TakeOver, Upkeep
from .tree_cache import TreeCache


class NoInstanceError(RecipeError):
    """There is nobody to choose. ``retry_ms``: when one of those that were marked as failed may be tried again; None
    if there is none of those."""

    def __init__(self, message: str, retry_ms: int | None) -> None:
        super().__init__(message)
        self.retry_ms = retry_ms


class ServiceRegistration(Upkeep):
    """One's own end: all that `Registration` says holds here, too. ``instance`` is what is told of it."""

    def __init__(
        self, zk: Client, path: str, instance: ServiceInstance, *, acl: Acls | None = None, take_over: TakeOver = "own"
    ) -> None:
        """``path``: below which the znodes of the services stand, each as ``name/id``."""
        super().__init__(
            zk, join(join(path, instance.name), instance.id), instance.to_json(), acl=acl, take_over=take_over
        )
        self.instance = instance

    async def update(self, instance: ServiceInstance) -> None:
        """Tell something else, as `Registration.update` does. Name and id stay."""
        if (instance.name, instance.id) != (self.instance.name, self.instance.id):
            raise bad(f"it cannot become {instance.name}/{instance.id}: register that one", "update", self.path)
        await self._update(instance.to_json())
        self.instance = instance


class ServiceView:
    """The instances of one service. ``async with`` loads them; then nothing but `changes` waits."""

    def __init__(
        self,
        zk: Client,
        path: str,
        name: str,
        *,
        strategy: str | Strategy = "round_robin",
        down: DownPolicy | None = None,
        rng: Random | None = None,
    ) -> None:
        """
        Args:
            path: as it was given to those who registered the instances.
            name: of the service.
            strategy: ``round_robin``, ``random``, ``sticky``, ``least_used``, or a function of one's own.
            down: when an instance that failed is left alone, and for how long.
        """
        if isinstance(strategy, str) and strategy not in STRATEGIES:
            raise bad(f"strategy is one of {', '.join(STRATEGIES)}, or a function; not {strategy!r}", "service", path)
        check_path(path, "service")
        self.name, self.path, self._top = name, path, join(path, name)
        self._strategy = STRATEGIES[strategy](rng or Random()) if isinstance(strategy, str) else strategy
        self._down = down or DownPolicy()
        self._cache = TreeCache(zk, self._top, depth_max=1)
        self._read: dict[str, tuple[Znode, ServiceInstance | ValueError]] = {}
        self._edition = -1  # of the cache, when it was read
        self._health: dict[str, Health] = {}
        self._in_use: Counter[str] = Counter()
        self._told: tuple[ServiceInstance, ...] | None = None

    async def __aenter__(self) -> Self:
        await self._cache.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._cache.__aexit__(kind, error, trace)

    # What there is ----------------------------------------------------------------------------------------------------

    @property
    def instances(self) -> tuple[ServiceInstance, ...]:
        """All that are registered, also those that are not enabled or were marked as failed, in the order of ids."""
        self._look()
        return tuple(found for _, found in self._read.values() if isinstance(found, ServiceInstance))

    @property
    def broken(self) -> dict[str, ValueError]:
        """Names of znodes that hold no instance, and why not. They are never chosen."""
        self._look()
        return {id: found for id, (_, found) in self._read.items() if isinstance(found, ValueError)}

    @property
    def stale(self) -> bool:
        """Whether there may be news that cannot have come: there is no connection, or it has only just come back."""
        return self._cache.stale

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> tuple[ServiceInstance, ...]:
        """The instances at first, then whenever they are others; what comes quickly after another is told once."""
        if not await self._cache.wait(lambda: self.instances != self._told):
            raise StopAsyncIteration
        self._told = self.instances
        return self._told

    async def wait_instance(self) -> ServiceInstance:
        """Choose one as soon as there is one to choose. It takes a turn as `choose` does; `use` takes the next one."""
        while True:
            seen = self.instances
            try:
                return self.choose()
            except NoInstanceError as error:
                await self._wait_other(seen, error.retry_ms)

    async def _wait_other(self, seen: tuple[ServiceInstance, ...], wait_ms: int | None) -> None:
        with anyio.move_on_after(None if wait_ms is None else wait_ms / 1000):
            await self._cache.wait(lambda: self.instances != seen)

    # Choosing ---------------------------------------------------------------------------------------------------------

    def choose(self) -> ServiceInstance:
        """One that is enabled and not left alone. Raises `NoInstanceError`."""
        now_ms = _now_ms()
        enabled = [each for each in self.instances if each.enabled]
        up = [each for each in enabled if each.id not in self._health or not self._health[each.id].is_down(now_ms)]
        if up:
            return self._strategy(up, self._in_use)
        waits = [self._health[each.id].down_until_ms or now_ms for each in enabled]
        if waits:
            error = NoInstanceError(f"all {len(waits)} instances of {self.name} have failed", min(waits) - now_ms)
        else:
            error = NoInstanceError(f"no instance of {self.name} below {self._top}", None)
        raise about(error, "choose", self._top)

    @contextmanager
    def use(
        self, failures: type[BaseException] | tuple[type[BaseException], ...] = (OSError, TimeoutError)
    ) -> Iterator[ServiceInstance]:
        """Choose one and count it as in use within the block. If one of ``failures`` comes out of the block it is
        marked as failed; if the block just ends, as working."""
        instance = self.choose()
        self._in_use[instance.id] += 1
        try:
            yield instance
        except failures:
            self.mark_failed(instance)
            raise
        else:
            self.mark_working(instance)
        finally:
            self._in_use[instance.id] -= 1
            if not self._in_use[instance.id]:
                del self._in_use[instance.id]

    def mark_failed(self, instance: ServiceInstance) -> None:
        """It did not answer. How often it may do so, and what then, says the `DownPolicy`."""
        if any(each.id == instance.id for each in self.instances):
            self._health.setdefault(instance.id, Health(self._down)).failed(_now_ms())

    def mark_working(self, instance: ServiceInstance) -> None:
        """It answered: what was marked before is forgotten."""
        self._health.pop(instance.id, None)

    def _look(self) -> None:
        """Read what is new in the cache."""
        self._cache.get(self._top)  # raises what ended it
        if self._edition == self._cache.edition:
            return
        self._edition = self._cache.edition
        before, self._read = self._read, {}
        for id in self._cache.children(self._top):
            node = self._cache.get(join(self._top, id))
            if node is None:
                continue
            known = before.get(id)
            if known is None or known[0].stat.czxid != node.stat.czxid:
                self._health.pop(id, None)  # it has started anew
            self._read[id] = known if known is not None and known[0] is node else (node, _instance(node.data))
        for id in before.keys() - self._read.keys():
            self._health.pop(id, None)


def _instance(data: bytes) -> ServiceInstance | ValueError:
    try:
        return ServiceInstance.from_json(data)
    except ValueError as error:
        return error


def _now_ms() -> int:
    return int(anyio.current_time() * 1000)
