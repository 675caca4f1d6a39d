"""Several locks at once: all or none, held together, lost together.

    async with zk.multi_lock(["/accounts/7", "/accounts/12"]) as held:
        transfer(fences=held.tokens)

They are taken in the order of their paths, whatever order they are given in; so two that want some of the same cannot
wait for each other for ever. While one is waited for, those before it are held. If one of them is lost meanwhile, all
are given back, and it begins again.
"""

from collections.abc import Sequence
from types import TracebackType

import anyio

from zabpy.client import Client
from zabpy.model import ZabpyError

from .arguments import bad, check_timeout
from .entered import Entered
from .errors import AcquireTimeoutError, about, acquire_timeout
from .holding import RELEASE_WAIT_MS, Holding
from .lock import HeldLock, Lock


class HeldLocks(Holding):
    """All of them, by path in ``locks``; see `Holding`. Lost as soon as one of them is."""

    def __init__(self, zk: Client, what: str, locks: dict[str, HeldLock]) -> None:
        super().__init__(zk, next(iter(locks.values())).session, what)
        self.locks = locks
        for held in locks.values():
            held.on_lost(lambda held=held: self.call_off(f"{held.what}: {held.reason}"))  # type: ignore[misc]

    @property
    def tokens(self) -> dict[str, int]:
        """The fencing token of each path."""
        return {path: held.token for path, held in self.locks.items()}

    async def _give_up(self) -> None:
        await _release(list(self.locks.values()))


class MultiLock:
    """See the head of this file. To be used as a `Lock` is."""

    def __init__(self, zk: Client, locks: Sequence[Lock]) -> None:
        self._zk = zk
        self._locks = sorted(locks, key=lambda lock: lock.path)
        paths = [lock.path for lock in self._locks]
        if not paths or len(set(paths)) < len(paths):
            raise bad(f"several locks, each once, not {', '.join(paths) or 'none'}", "multi_lock")
        self._entered = Entered[HeldLocks]()

    def __str__(self) -> str:
        return f"the locks {', '.join(lock.path for lock in self._locks)}"

    async def acquire(self, timeout_ms: int | None = None) -> HeldLocks:
        """As `Lock.acquire`: ``timeout_ms`` is for all together."""
        check_timeout(timeout_ms, None)
        result: HeldLocks | None = None
        try:
            with anyio.move_on_after(timeout_ms / 1000 if timeout_ms else None):
                while result is None:
                    result = await self._acquire(0 if timeout_ms == 0 else None)
        except AcquireTimeoutError as error:
            why = AcquireTimeoutError(f"{self}: not to be had at once: {error}")
            raise about(why, "acquire", error.path) from None
        if result is None:
            raise acquire_timeout(str(self), None, timeout_ms)
        return result

    async def __aenter__(self) -> HeldLocks:
        return await self._entered.enter(await self.acquire())

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return await self._entered.leave(self, kind, error, trace)

    async def _acquire(self, timeout_ms: int | None) -> HeldLocks | None:
        """None if one of those that were held was lost on the way."""
        locks: dict[str, HeldLock] = {}
        result: HeldLocks | None = None
        try:
            with anyio.CancelScope() as any_lost:
                for lock in self._locks:
                    held = locks[lock.path] = await lock.acquire(timeout_ms)
                    held.on_lost(any_lost.cancel)
            if not any(held.lost for held in locks.values()) and len(locks) == len(self._locks):
                result = HeldLocks(self._zk, str(self), locks)
            return result
        finally:
            if result is None:
                with anyio.move_on_after(RELEASE_WAIT_MS / 1000, shield=True):
                    await _release(list(locks.values()))


async def _release(locks: list[HeldLock]) -> None:
    """All at once, so that none has to wait for what another one's release waits for."""
    failed: list[ZabpyError] = []

    async def release(held: HeldLock) -> None:
        try:
            await held.release()
        except ZabpyError as error:
            failed.append(error)

    async with anyio.create_task_group() as tasks:
        for held in locks:
            tasks.start_soon(release, held)
    if failed:
        raise failed[0]
