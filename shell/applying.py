"""Many writes, in order, a few hundred in one request and several requests at once; with an account of each.

A request is a transaction: should one of its writes be refused, the others are done without it. When a connection
breaks meanwhile, nobody knows what was done of the requests under way; so those are gone through one by one, and what
is there already as it was to be counts as done. All this can be done again from the start without harm.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import anyio

import zabpy
from zabpy.client import Client, ConnectionLossError, RequestTooLargeError, SessionLostError, TransactionFailedError
from zabpy.model import (
    Acls,
    BadVersionError,
    CodeError,
    NodeExistsError,
    NoNodeError,
    NotEmptyError,
    ZabpyError,
    parent_of,
)

WRITES_MAX = 400
CHUNK_BYTES = 400 * 1024
CHUNKS_MAX = 6
#: What one write costs in a request besides its path and value, about.
WRITE_BYTES = 100
#: So many are taken out of a request one by one; then all that is left of it is done in this way.
SPLITS_MAX = 3
#: So many refusals are kept to be told.
TOLD_MAX = 1_000
#: How often one write is sent when sessions are lost under it.
SENDINGS_MAX = 3


@dataclass(slots=True)
class Write:
    """``operation``: create, set, delete, or acl."""

    operation: str
    path: str
    data: bytes = b""
    acl: Acls | None = None
    is_container: bool = False
    ttl_ms: int | None = None
    version: int = -1


class Applier:
    """``async with Applier(zk) as applier: await applier.put(write)``; behind the block all is done, or has failed."""

    def __init__(self, zk: Client, advance: Callable[[int], object] = lambda count: None) -> None:
        self._zk, self._advance = zk, advance
        self.done = 0
        #: Why writes were refused, which were left out: of the first ones, and how many there are.
        self.failed: list[ZabpyError] = []
        self.failures = 0
        #: What cannot be deleted, because of something below it that was told of; deletes come children first.
        self._stays_above: set[str] = set()
        #: Why it was given up, with an unknown number done of what was under way.
        self.ended_by: ZabpyError | None = None
        self._chunk: list[Write] = []
        self._bytes = 0
        self._slots = anyio.Semaphore(CHUNKS_MAX)
        self._last = anyio.Event()
        self._last.set()
        self._tasks = anyio.create_task_group()

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None and self.ended_by is None:
            try:
                await self._send()
            except BaseException as own:  # cancelled while it waits for its turn: the tasks are to end all the same
                await self._tasks.__aexit__(type(own), own, own.__traceback__)
                raise
        await self._tasks.__aexit__(kind, error, trace)

    async def put(self, write: Write) -> None:
        """Take one more; it waits while enough is under way. After `ended_by` was set nothing is done any more."""
        size = len(write.path) + len(write.data) + WRITE_BYTES
        if self._chunk and (len(self._chunk) >= WRITES_MAX or self._bytes + size > CHUNK_BYTES):
            await self._send()
        self._chunk.append(write)
        self._bytes += size

    async def _send(self) -> None:
        chunk, self._chunk, self._bytes = self._chunk, [], 0
        if not chunk or self.ended_by is not None:
            return
        await self._slots.acquire()
        before, self._last = self._last, anyio.Event()
        self._tasks.start_soon(self._work, chunk, before, self._last)

    async def _work(self, chunk: list[Write], before: anyio.Event, done: anyio.Event) -> None:
        try:
            if self.ended_by is None:
                await self._do(chunk, before)
        except ZabpyError as error:
            self.ended_by = self.ended_by or error
        finally:
            done.set()
            self._slots.release()

    async def _do(self, chunk: list[Write], before: anyio.Event) -> None:
        acls = [write for write in chunk if write.operation == "acl"]
        writes = [write for write in chunk if write.operation != "acl"]
        for _ in range(SPLITS_MAX):
            if not writes:
                break
            transaction = self._zk.transaction()
            for write in writes:
                _put_into(transaction, write)
            try:
                await transaction.commit()
            except TransactionFailedError as error:
                await before.wait()  # it may be for want of what a request before was to create
                index = error.index
                for write in writes[:index]:
                    await self._one(write)
                await self._one(writes[index])
                writes = writes[index + 1 :]
            except (ConnectionLossError, SessionLostError, RequestTooLargeError):
                await before.wait()
                break
            else:
                self._count(len(writes))
                writes = []
        for write in writes + acls:
            await self._one(write)

    async def _one(self, write: Write) -> None:
        zk = self._zk
        for sending in range(SENDINGS_MAX):
            try:
                match write.operation:
                    case "create":
                        await zk.create(
                            write.path,
                            write.data,
                            acl=write.acl,
                            container=write.is_container,
                            ttl_ms=write.ttl_ms,
                            lost_reply="again",
                        )
                    case "set":
                        await zk.set(write.path, write.data, write.version, lost_reply="again")
                    case "delete":
                        await self._delete(write)
                    case _:
                        await zk.set_acl(write.path, write.acl or (), write.version, lost_reply="again")
            except SessionLostError as error:
                if sending == SENDINGS_MAX - 1:
                    raise error
            except (NodeExistsError, BadVersionError) as error:
                if await self._is_done(write):
                    self._count(1)
                else:
                    self._fail(write, error)
                return
            except (CodeError, RequestTooLargeError) as error:
                self._fail(write, error)
                return
            else:
                self._count(1)
                return

    async def _delete(self, write: Write) -> None:
        """Gone is gone, by whomever."""
        try:
            await self._zk.delete(write.path, write.version, lost_reply="again")
        except NoNodeError:
            pass

    async def _is_done(self, write: Write) -> bool:
        """Whether what is there is what was to be: the answer to it was lost, or somebody else did the same."""
        if write.operation == "delete":
            return False
        try:
            if write.operation == "acl":
                return set((await self._zk.get_acl(write.path))[0]) == set(write.acl or ())
            return (await self._zk.get(write.path)).data == write.data
        except (NoNodeError, zabpy.NoAuthError):
            return False

    def _fail(self, write: Write, error: ZabpyError) -> None:
        """One more was refused."""
        if isinstance(error, NotEmptyError) and write.path in self._stays_above:
            return
        if write.operation == "delete":
            self._stays_above.update(_above(write.path))
        self.failures += 1
        if len(self.failed) < TOLD_MAX:
            self.failed.append(error)

    def _count(self, number: int) -> None:
        self.done += number
        self._advance(number)


def _put_into(transaction: zabpy.Transaction, write: Write) -> None:
    if write.operation == "create":
        transaction.create(write.path, write.data, acl=write.acl, container=write.is_container, ttl_ms=write.ttl_ms)
    elif write.operation == "delete":
        transaction.delete(write.path, write.version)
    else:
        transaction.set(write.path, write.data, write.version)


def _above(path: str) -> Iterator[str]:
    while path != "/":
        path = parent_of(path)
        yield path
