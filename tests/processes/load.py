"""The load of a soak: clients that work for hours, and know of each thing they were told what must be true later.

Each `Part` is one kind of work with its own invariants. It works in turns, so that all can be stopped between two of
them (`Load.quiet`), and then says in `verify` whether everything it was told still holds. What had no answer is
unknown: it may have been done, or not, and is held against nobody.

To add one: a subclass of `Part`, and its row in `PARTS`.
"""

import logging
import threading
import time
from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import trio
from kazoo import exceptions as kazoo_errors
from kazoo.client import KazooClient
from kazoo.handlers.threading import KazooTimeoutError

import zabpy
from zabpy.model import BadVersionError, NoNodeError, ThrottledError, ZabpyError
from zabpy.recipes import AcquireTimeoutError, Client as Zabpy, LostError
from zabpy.recipes.holding import Holding
from zabpy.testing.histories import History

from .client import EPHEMERAL, Client, Lost
from .ensemble import SESSION_TIMEOUT_MS

ROOT = "/soak"
IDLE_SESSION_TIMEOUT_MS = 20_000
#: What was done stays remembered for so many things.
REMEMBERED_MAX = 2_000
VERIFY_SECONDS_MAX = 120.0
UNKNOWN = (zabpy.ConnectionLossError, zabpy.SessionLostError)
REFUSED = (zabpy.NoServerError, ThrottledError)


class Wrong(Exception):
    """Something does not hold that was promised."""


class Tally:
    """What all the load was told."""

    def __init__(self, is_trouble: Callable[[], bool]) -> None:
        self._is_trouble = is_trouble
        self.acknowledged: Counter[str] = Counter()
        self.unknown: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        #: Of the acknowledged ones, writes; and those of them that were answered while something was wrong.
        self.writes = self.writes_during = 0
        self._waiting: list[tuple[int, trio.Event]] = []

    def told(self, kind: str, called_ns: int, *, write: bool = True, by_thread: bool = False) -> None:
        """``by_thread``: called in another one, so nobody can be woken."""
        self.acknowledged[kind] += 1
        if write:
            self.writes += 1
            self.writes_during += self._is_trouble()
            if not by_thread:
                for since_ns, event in self._waiting:
                    if called_ns >= since_ns:
                        event.set()

    def failed(self, kind: str, error: BaseException) -> None:
        """Raises ``error`` again unless it is one that faults explain."""
        if isinstance(error, REFUSED):
            self.refused[kind] += 1
        elif isinstance(error, (*UNKNOWN, Lost, LostError, AcquireTimeoutError)):
            self.unknown[kind] += 1
        else:
            raise Wrong(f"{kind}: {type(error).__name__}: {error}") from error

    async def wait_written(self, since_ns: int) -> None:
        """Until a write is acknowledged that was called since then."""
        event = trio.Event()
        waiting = (since_ns, event)
        self._waiting.append(waiting)
        try:
            await event.wait()
        finally:
            self._waiting.remove(waiting)


class Load:
    """All parts, on the servers at ``addresses``."""

    def __init__(self, addresses: list[tuple[str, int]], seed: str, tally: Tally, *, idle: int = 60) -> None:
        self.addresses, self.tally, self.idle = addresses, tally, idle
        self.hosts = ",".join(f"{host}:{port}" for host, port in addresses)
        self.rng = Random(f"{seed}/load")
        #: Pauses are so many times as long as they are meant to be: see soak.py.
        self.slower = 1.0
        self._may_go = trio.Event()
        self._busy = 0
        self.parts: list[Part] = []
        self.lock, self.election = Inside("lock"), Inside("election")
        self._auditor: Zabpy | None = None

    @property
    def auditor(self) -> Zabpy:
        assert self._auditor is not None
        return self._auditor

    @asynccontextmanager
    async def client(self, **settings: Any) -> AsyncIterator[Zabpy]:
        settings = {"session_timeout_ms": SESSION_TIMEOUT_MS, "connect_timeout_ms": 120_000} | settings
        rng = Random(self.rng.random())
        async with zabpy.connect(self.hosts, rng=rng, **settings) as zk:
            yield zk

    async def run(self, wrong: Callable[[str], None], *, task_status: trio.TaskStatus[None]) -> None:
        """Until cancelled. ``wrong`` is told what does not hold."""
        async with self.client() as self._auditor, trio.open_nursery() as nursery:
            await self._auditor.ensure(ROOT)
            self.parts += [make(self, number) for make, count in PARTS.items() for number in range(count)]
            for part in self.parts:
                await part.prepare()
                nursery.start_soon(self._run_part, part, wrong)
            for _ in range(self.idle):
                nursery.start_soon(self._sit)
            self.go_on()
            task_status.started()
            await trio.sleep_forever()

    async def _run_part(self, part: "Part", wrong: Callable[[str], None]) -> None:
        try:
            await part.run()
        except* Wrong as errors:
            wrong("; ".join(str(each) for each in _flat(errors)))

    async def _sit(self) -> None:
        while True:
            try:
                async with self.client(session_timeout_ms=IDLE_SESSION_TIMEOUT_MS):
                    await trio.sleep_forever()
            except REFUSED:
                pass

    # Turns ------------------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def turn(self, pause_ms: float) -> AsyncIterator[None]:
        """A pause of about so long, then something that is not interrupted by a quiet moment."""
        await trio.sleep(self.rng.expovariate(1) * pause_ms * self.slower / 1000)
        await self._may_go.wait()
        self._busy += 1
        try:
            yield
        finally:
            self._busy -= 1

    @property
    def goes(self) -> bool:
        return self._may_go.is_set()

    def go_on(self) -> None:
        self._may_go.set()

    async def quiet(self) -> None:
        """Nobody begins anything from now on; returns when nobody is at anything."""
        self._may_go = trio.Event()
        while self._busy:  # noqa: ASYNC110
            await trio.sleep(0.02)

    async def verify(self) -> None:
        """In quiet moments. Raises Wrong."""
        for part in self.parts:
            with trio.move_on_after(VERIFY_SECONDS_MAX) as scope:
                await part.verify()
            if scope.cancelled_caught:
                raise Wrong(
                    f"{part}: not looked at within {VERIFY_SECONDS_MAX:.0f} s though nothing is wrong: {part.state()}"
                )

    async def surely(self, ask: Callable[[], Awaitable[Any]]) -> Any:
        """Of what changes nothing: again and again until it is answered."""
        while True:
            try:
                return await ask()
            except (*UNKNOWN, *REFUSED):
                await trio.sleep(0.05)

    async def read(self, path: str) -> tuple[bytes, int] | None:
        """Data and version as they are now; None: it is not there."""

        async def ask() -> tuple[bytes, int] | None:
            await self.auditor.sync(path)
            try:
                data, stat = await self.auditor.get(path)
            except NoNodeError:
                return None
            return data, stat.version

        found: tuple[bytes, int] | None = await self.surely(ask)
        return found

    async def names(self, path: str) -> set[str]:
        async def ask() -> list[str]:
            await self.auditor.sync(path)
            return await self.auditor.children(path)

        return set(await self.surely(ask))

    async def remove(self, path: str) -> None:
        async def ask() -> None:
            try:
                await self.auditor.delete(path)
            except NoNodeError:
                pass

        await self.surely(ask)


class Part(ABC):
    """One kind of work."""

    name = ""

    def __init__(self, load: Load, number: int) -> None:
        self.load, self.tally, self.number = load, load.tally, number
        self.rng = Random(load.rng.random())

    def __str__(self) -> str:
        return f"{self.name} {self.number}"

    def state(self) -> str:
        return ""

    async def prepare(self) -> None:  # noqa: B027
        """Before anything else, once."""

    @abstractmethod
    async def run(self) -> None: ...

    async def verify(self) -> None:  # noqa: B027
        """In a quiet moment: does all hold? Raises Wrong."""


# Plain writes ---------------------------------------------------------------------------------------------------------


class Slot:
    """A znode that one writes alone, each time over the version that it knows: so it is known what must be there."""

    def __init__(self, path: str) -> None:
        self.path, self.version, self.data = path, 0, b"0"
        #: Written over this version, each without an answer: one of them may be there, or none.
        self.pending: list[bytes] = []

    def written(self, data: bytes) -> list[bytes]:
        """Acknowledged; those that now never will be there."""
        never, self.pending = self.pending, []
        self.version += 1
        self.data = data
        return never

    def seen(self, found: tuple[bytes, int] | None) -> bool:
        """Whether one of the pending ones turns out to be there. Raises Wrong."""
        if found == (self.data, self.version):
            return False
        if found is not None and found[1] == self.version + 1 and found[0] in self.pending:
            return True
        raise Wrong(
            f"{self.path}: acknowledged was version {self.version}, {self.data!r}"
            f" (without an answer: {self.pending}), but there is {found}"
        )


class Writer(Part):
    """setData, create, delete, multi and getData, some with `lost_reply="once"`."""

    name = "writer"
    SLOTS = 8
    NAMES = 20

    def __init__(self, load: Load, number: int) -> None:
        super().__init__(load, number)
        self.path = f"{ROOT}/{self.name}-{number}"
        self.slots = [Slot(f"{self.path}/slot-{each}") for each in range(self.SLOTS)]
        #: Of names that are used once: what is there, what is gone, and what had no answer.
        self.there: dict[str, bytes] = {}
        self.gone: deque[str] = deque(maxlen=REMEMBERED_MAX)
        self.maybe: set[str] = set()
        #: Data of a multi without an answer → the name it makes.
        self._with: dict[bytes, str] = {}
        self._count = 0

    async def prepare(self) -> None:
        await self.load.auditor.ensure(self.path)
        for slot in self.slots:
            await self.load.auditor.create(slot.path, slot.data)

    def _next(self) -> bytes:
        self._count += 1
        return b"%d-%d" % (self.number, self._count)

    async def run(self) -> None:
        async with self.load.client() as zk:
            while True:
                async with self.load.turn(15):
                    await self._one(zk)

    async def _one(self, zk: Zabpy) -> None:
        what = self.rng.random()
        if what < 0.5:
            await self._set(zk, self.rng.choice(self.slots), once=what < 0.1)
        elif what < 0.6:
            await self._multi(zk, self.rng.choice(self.slots))
        elif what < 0.75 and len(self.there) < self.NAMES:
            await self._create(zk)
        elif what < 0.87 and self.there:
            await self._delete(zk, self.rng.choice(list(self.there)))
        else:
            await self._look(self.rng.choice(self.slots))

    async def _set(self, zk: Zabpy, slot: Slot, *, once: bool) -> None:
        data, called_ns = self._next(), time.monotonic_ns()
        try:
            await zk.set(slot.path, data, slot.version, lost_reply="once" if once else "raise")
        except BadVersionError:
            await self._look(slot, must_have_moved=True)
        except ZabpyError as error:
            self.tally.failed("set", error)
            if not isinstance(error, REFUSED):
                slot.pending.append(data)
        else:
            self.tally.told("set", called_ns)
            self._never(slot.written(data))

    async def _multi(self, zk: Zabpy, slot: Slot) -> None:
        data, called_ns = self._next(), time.monotonic_ns()
        name = f"m-{data.decode()}"
        multi = zk.transaction()
        multi.create(f"{self.path}/{name}", data).set(slot.path, data, slot.version)
        try:
            await multi.commit()
        except zabpy.TransactionFailedError as failed:
            if not isinstance(failed.error, BadVersionError):
                raise Wrong(f"{self}: {failed}") from failed
            self.gone.append(name)
            await self._look(slot, must_have_moved=True)
        except ZabpyError as error:
            self.tally.failed("multi", error)
            if not isinstance(error, REFUSED):
                slot.pending.append(data)
                self._with[data] = name
                self.maybe.add(name)
        else:
            self.tally.told("multi", called_ns)
            self._never(slot.written(data))
            self.there[name] = data

    async def _create(self, zk: Zabpy) -> None:
        data, called_ns = self._next(), time.monotonic_ns()
        name = f"n-{data.decode()}"
        try:
            await zk.create(f"{self.path}/{name}", data, lost_reply="raise")
        except ZabpyError as error:
            self.tally.failed("create", error)
            if not isinstance(error, REFUSED):
                self.maybe.add(name)
        else:
            self.tally.told("create", called_ns)
            self.there[name] = data

    async def _delete(self, zk: Zabpy, name: str) -> None:
        called_ns = time.monotonic_ns()
        try:
            await zk.delete(f"{self.path}/{name}", 0)
        except NoNodeError:
            raise Wrong(f"{self.path}/{name}: its creation was acknowledged, and it is not there to delete") from None
        except ZabpyError as error:
            self.tally.failed("delete", error)
            if not isinstance(error, REFUSED):
                del self.there[name]
                self.maybe.add(name)
        else:
            self.tally.told("delete", called_ns)
            del self.there[name]
            self.gone.append(name)

    def _never(self, pending: list[bytes]) -> None:
        """Those were not done: nor was what they would have done with it."""
        for data in pending:
            name = self._with.pop(data, None)
            if name is not None:
                self.maybe.discard(name)
                self.gone.append(name)

    async def _look(self, slot: Slot, *, must_have_moved: bool = False) -> None:
        """By another client, which syncs first."""
        called_ns = time.monotonic_ns()
        found = await self.load.read(slot.path)
        self.tally.told("get", called_ns, write=False)
        if slot.seen(found):
            assert found is not None
            name = self._with.pop(found[0], None)
            if name is not None:
                self.maybe.discard(name)
                self.there[name] = found[0]
            slot.pending.remove(found[0])
            self._never(slot.written(found[0]))
        elif must_have_moved:
            raise Wrong(f"{slot.path}: a write over version {slot.version} was refused, though that is what is there")

    async def verify(self) -> None:
        for slot in self.slots:
            await self._look(slot)
        names = {name for name in await self.load.names(self.path) if not name.startswith("slot-")}
        if lost := self.there.keys() - names:
            raise Wrong(f"{self.path}: acknowledged, and not there: {sorted(lost)}")
        if back := names & set(self.gone):
            raise Wrong(f"{self.path}: there, though gone for certain: {sorted(back)}")
        if strange := names - self.there.keys() - self.maybe:
            raise Wrong(f"{self.path}: nobody has made {sorted(strange)}")
        for name, data in list(self.there.items())[:5]:
            found = await self.load.read(f"{self.path}/{name}")
            if found != (data, 0):
                raise Wrong(f"{self.path}/{name}: made with {data!r}, and there is {found}")
        # Their requests may still be on their way somewhere, so these names stay in doubt.
        for name in names & self.maybe:
            await self.load.remove(f"{self.path}/{name}")
        if len(self.maybe) > REMEMBERED_MAX:
            self.maybe = set(self._with.values())


class KazooWriter(Part):
    """kazoo, in a thread of its own, as its users have it: setData over known versions."""

    name = "kazoo"
    SLOTS = 4

    def __init__(self, load: Load, number: int) -> None:
        super().__init__(load, number)
        self.path = f"{ROOT}/{self.name}-{number}"
        self.slots = [Slot(f"{self.path}/slot-{each}") for each in range(self.SLOTS)]
        self._idle, self._over = threading.Event(), threading.Event()
        self._idle.set()

    async def prepare(self) -> None:
        await self.load.auditor.ensure(self.path)
        for slot in self.slots:
            await self.load.auditor.create(slot.path, slot.data)

    async def run(self) -> None:
        try:
            await trio.to_thread.run_sync(self._work, abandon_on_cancel=True)
        finally:
            self._over.set()

    def _work(self) -> None:
        silent = logging.getLogger("soak-kazoo")
        silent.disabled = True
        zk = KazooClient(self.load.hosts, timeout=SESSION_TIMEOUT_MS / 1000, randomize_hosts=True, logger=silent)
        count = 0
        zk.start(timeout=120)
        try:
            while not self._over.is_set():
                time.sleep(self.rng.expovariate(1) * 0.025 * self.load.slower)
                if not self.load.goes:
                    continue
                self._idle.clear()
                count += 1
                try:
                    self._one(zk, b"k-%d" % count)
                finally:
                    self._idle.set()
        finally:
            zk.stop()
            zk.close()

    def _one(self, zk: Any, data: bytes) -> None:
        slot, called_ns = self.rng.choice(self.slots), time.monotonic_ns()
        try:
            if not self.load.goes:
                return
            if slot.pending or self.rng.random() < 0.2:
                zk.sync(slot.path)
                found = zk.get(slot.path)
                if slot.seen((found[0], found[1].version)):
                    slot.written(found[0])
                self.tally.acknowledged["kazoo get"] += 1
        except (kazoo_errors.KazooException, KazooTimeoutError) as error:
            self._failed(error)
            return
        try:
            zk.set(slot.path, data, slot.version)
        except kazoo_errors.BadVersionError:
            if not slot.pending:
                raise Wrong(f"{slot.path}: a write over version {slot.version}, the last one, was refused") from None
        except (kazoo_errors.KazooException, KazooTimeoutError) as error:
            self._failed(error)
            slot.pending.append(data)
        else:
            slot.written(data)
            self.tally.told("kazoo set", called_ns, by_thread=True)

    def _failed(self, error: Exception) -> None:
        known = (
            kazoo_errors.ConnectionLoss,
            kazoo_errors.ConnectionClosedError,
            kazoo_errors.SessionExpiredError,
            kazoo_errors.OperationTimeoutError,
            kazoo_errors.SessionMovedError,
            KazooTimeoutError,
        )
        if not isinstance(error, known):
            raise Wrong(f"{self}: {error!r}") from error
        self.tally.unknown["kazoo"] += 1

    async def verify(self) -> None:
        while not self._idle.is_set():  # noqa: ASYNC110
            await trio.sleep(0.02)
        for slot in self.slots:
            found = await self.load.read(slot.path)
            if slot.seen(found):
                assert found is not None
                slot.written(found[0])


# Recipes --------------------------------------------------------------------------------------------------------------


class Inside:
    """Who is inside, by itself and by the token that a store would see."""

    def __init__(self, what: str) -> None:
        self._what, self.turns, self._token = what, 0, 0
        self._held: Holding | None = None

    def enter(self, held: Any) -> None:
        """Raises Wrong."""
        if held.token <= self._token:
            raise Wrong(f"{self._what}: token {held.token:#x} after {self._token:#x}")
        # One whose time is up by the clock is being cancelled this moment.
        if self._held is not None and not self._held.lost:
            raise Wrong(f"{self._what}: {held} is inside together with {self._held}")
        self._held, self._token = held, held.token
        self.turns += 1

    def leave(self, held: Any) -> None:
        if self._held is held:
            self._held = None


class Locks(Part):
    """Contend for a lock, and stand for election."""

    name = "lock"

    def __init__(self, load: Load, number: int) -> None:
        super().__init__(load, number)
        #: For all of them.
        self.lock, self.election = load.lock, load.election

    async def run(self) -> None:
        async with self.load.client() as zk, trio.open_nursery() as nursery:
            nursery.start_soon(self._contend, zk)
            nursery.start_soon(self._stand, zk)

    async def _contend(self, zk: Zabpy) -> None:
        lock = zk.lock(f"{ROOT}/lock", data=b"%d" % self.number)
        while True:
            async with self.load.turn(60):
                called_ns = time.monotonic_ns()
                try:
                    async with await lock.acquire(self.rng.choice((2_000, 5_000))) as held:
                        self.lock.enter(held)
                        self.tally.told("lock", called_ns)
                        try:
                            await trio.sleep(self.rng.random() * 0.05)
                        finally:
                            self.lock.leave(held)
                except (ZabpyError, LostError) as error:
                    self.tally.failed("lock", error)

    async def _stand(self, zk: Zabpy) -> None:
        while True:
            async with self.load.turn(200):
                with trio.move_on_after(5):
                    try:
                        async with zk.election(f"{ROOT}/election", data=b"%d" % self.number) as election:
                            async for term in election.terms():
                                async with term:
                                    self.election.enter(term)
                                    self.tally.told("election", time.monotonic_ns())
                                    try:
                                        await trio.sleep(self.rng.random() * 0.3)
                                    finally:
                                        self.election.leave(term)
                                break
                    except (ZabpyError, LostError) as error:
                        self.tally.failed("election", error)


class Queue(Part):
    """One puts, two take: what was put is done, and what is done is not given out again."""

    name = "queue"
    WAITING_MAX = 40

    def __init__(self, load: Load, number: int) -> None:
        super().__init__(load, number)
        self.path = f"{ROOT}/queue-{number}"
        self._count = 0
        self._waiting: set[bytes] = set()
        self._working: dict[bytes, Any] = {}
        #: Done by a body whose end was not acknowledged: that may be done again.
        self._unsure: set[bytes] = set()
        self._done: deque[bytes] = deque(maxlen=REMEMBERED_MAX)

    def state(self) -> str:
        return f"waiting {sorted(self._waiting)}, unsure {sorted(self._unsure)}"

    async def prepare(self) -> None:
        await self.load.auditor.ensure(f"{self.path}/entries")

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._put)
            nursery.start_soon(self._consume)
            nursery.start_soon(self._consume)

    async def _put(self) -> None:
        async with self.load.client() as zk:
            queue = zk.work_queue(self.path)
            while True:
                async with self.load.turn(80):
                    if len(self._waiting) >= self.WAITING_MAX:
                        continue
                    self._count += 1
                    data, called_ns = b"%d" % self._count, time.monotonic_ns()
                    try:
                        self._unsure.add(data)  # it may be taken before we are told
                        await queue.put(data)
                    except ZabpyError as error:
                        self.tally.failed("put", error)
                    else:
                        self.tally.told("put", called_ns)
                        self._unsure.discard(data)
                        if data not in self._done:
                            self._waiting.add(data)

    async def _consume(self) -> None:
        while True:
            try:
                async with self.load.client() as zk, zk.work_queue(self.path) as queue:
                    while True:
                        await self._take(queue)
            except (*UNKNOWN, *REFUSED) as error:
                self.tally.failed("take", error)
                await trio.sleep(0.1)

    async def _take(self, queue: Any) -> None:
        data, ended, called_ns = b"", False, 0
        try:
            async with queue.take() as item:
                data, called_ns = item.data, time.monotonic_ns()
                if data in self._done:
                    raise Wrong(f"{self.path}: {data!r} was done, acknowledged, and is given out again")
                other = self._working.get(data)
                if other is not None and not other.lost:
                    raise Wrong(f"{self.path}: {data!r} is with two at once")
                self._working[data] = item
                await trio.sleep(self.rng.random() * 0.02)
                ended = True
        except (ZabpyError, LostError) as error:
            if ended:
                self._unsure.add(data)
                self._waiting.discard(data)
            self.tally.failed("take", error)
        else:
            self.tally.told("take", called_ns)
            self._done.append(data)
            self._waiting.discard(data)
        finally:
            self._working.pop(data, None)

    async def verify(self) -> None:
        while (await self.load.names(f"{self.path}/entries")) or self._working:  # noqa: ASYNC110
            await trio.sleep(0.05)
        if self._waiting:
            raise Wrong(f"{self.path}: put, acknowledged, never done, and not in the queue: {sorted(self._waiting)}")
        self._unsure.clear()


class Counting(Part):
    """Two count the same number up."""

    name = "counter"

    def __init__(self, load: Load, number: int) -> None:
        super().__init__(load, number)
        self.path = f"{ROOT}/counter-{number}"
        self.sure = self.unsure = 0

    async def prepare(self) -> None:
        await self.load.auditor.create(self.path, b"0")

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._count)
            nursery.start_soon(self._count)

    async def _count(self) -> None:
        async with self.load.client() as zk:
            counter = zk.counter(self.path)
            while True:
                async with self.load.turn(100):
                    called_ns = time.monotonic_ns()
                    try:
                        await counter.add(1)
                    except ZabpyError as error:
                        self.tally.failed("count", error)
                        self.unsure += not isinstance(error, REFUSED)
                    else:
                        self.tally.told("count", called_ns)
                        self.sure += 1

    async def verify(self) -> None:
        found = await self.load.read(self.path)
        if found is None or not self.sure <= int(found[0]) <= self.sure + self.unsure:
            raise Wrong(f"{self.path}: {self.sure} added, {self.unsure} perhaps, and there is {found}")


class Ephemerals(Part):
    """Sessions that end, or are left behind, by a client that shares nothing with ours; their znodes go with them."""

    name = "ephemerals"

    def __init__(self, load: Load, number: int) -> None:
        super().__init__(load, number)
        self.path = f"{ROOT}/ephemerals-{number}"
        self._count = 0

    async def prepare(self) -> None:
        await self.load.auditor.ensure(self.path)

    async def run(self) -> None:
        history = History(about={})
        client = Client(self.number, self.load.addresses, history, self.rng, session_timeout_ms=SESSION_TIMEOUT_MS)
        try:
            while True:
                async with self.load.turn(300):
                    await self._one(client)
                    history.records.clear()
        finally:
            await client.leave()

    async def _one(self, client: Client) -> None:
        self._count += 1
        path, called_ns = f"{self.path}/e{self._count}", time.monotonic_ns()
        try:
            made = await client.create(path, "x", EPHEMERAL)
            if made.error:
                return
            self.tally.told("ephemeral", called_ns)
            seen = await client.get(path)
            if seen.error and seen.session == made.session:
                raise Wrong(f"{path}: gone while its session goes on")
            if self.rng.random() < 0.7:
                await client.close()
                return
        except Lost as error:
            self.tally.failed("ephemeral", error)
        await client.leave()
        client.forget()

    async def verify(self) -> None:
        while await self.load.names(self.path):  # noqa: ASYNC110
            await trio.sleep(0.1)


class Watcher(Part):
    """Reads a znode whenever it is told to; in the end it has seen the last state."""

    name = "watcher"

    def __init__(self, load: Load, number: int) -> None:
        super().__init__(load, number)
        self.path = f"{ROOT}/writer-{number}/slot-0"
        self.saw: tuple[bytes, int] | None = None

    def state(self) -> str:
        return f"saw {self.saw}"

    async def run(self) -> None:
        while True:
            try:
                async with self.load.client() as zk, zk.watch(self.path) as events:
                    async for _ in events:
                        called_ns = time.monotonic_ns()
                        self.saw = await self._read(zk)
                        self.tally.told("watched", called_ns, write=False)
            except (*UNKNOWN, *REFUSED) as error:
                self.tally.failed("watch", error)

    async def _read(self, zk: Zabpy) -> tuple[bytes, int]:
        while True:
            try:
                data, stat = await zk.get(self.path)
                return data, stat.version
            except (*UNKNOWN, *REFUSED):
                await trio.sleep(0.02)

    async def verify(self) -> None:
        while self.saw != await self.load.read(self.path):  # noqa: ASYNC110
            await trio.sleep(0.05)


PARTS: dict[Callable[[Load, int], Part], int] = {
    Writer: 8,
    KazooWriter: 1,
    Locks: 3,
    Queue: 1,
    Counting: 1,
    Ephemerals: 1,
    Watcher: 3,
}


def _flat(group: BaseExceptionGroup[Any]) -> list[BaseException]:
    found: list[BaseException] = []
    for each in group.exceptions:
        found += _flat(each) if isinstance(each, BaseExceptionGroup) else [each]
    return found
