"""What has to be done for a tree to be like the records of another one: found out first, shown, and then done.

In memory: a byte for each record, 8 for each that is to be changed; with ``mirror`` the paths of both trees. What is
to be written is read anew from the records when its turn has come. First all that is missing is created, parents before
their children, and then what differs is changed: an ACL may forbid to create below it.
"""

from array import array
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

from zabpy.client import Client, ReplyTooLargeError
from zabpy.model import Acls, NoAuthError, Stat

from .applying import Applier, Write
from .pipelined import each
from .records import Record
from .removal import found_below
from .spool import Spool
from .trees import SYSTEM

#: What is there where a record is to go: data, stat and ACL; or why nobody may say.
Found = tuple[bytes, Stat, Acls | None] | NoAuthError | None

#: Znodes are looked at so many at a time, or so many bytes of values that are to be there; so many requests in flight.
CHUNK, CHUNK_BYTES = 100, 1024 * 1024
CHUNKS_MAX = 8
#: So many of what is left out or may not be read are kept to be told one by one.
TOLD_MAX = 1_000
#: What is to be done for a record, as bits of a byte; with none of them it is there as it is to be.
CREATE, SET, ACL, DENIED, SKIP = 1, 2, 4, 8, 16


@dataclass
class Plan:
    """``target``: the path that the records' top is to be at. Paths are those of the target."""

    target: str
    records: Spool
    todo: bytearray = field(default_factory=bytearray)
    #: Of each record to be changed, in order: the versions of data and ACL that are there now.
    versions: "array[int]" = field(default_factory=lambda: array("i"))
    #: How many are to be created, how many writes others take, how many znodes these are, how many are the same.
    creates: int = 0
    changes: int = 0
    changed: int = 0
    same: int = 0
    #: Children before their parents, each at the version at which it was seen.
    delete: list[Write] = field(default_factory=list)
    #: Of these so many are ephemerals, so some session's.
    ephemerals: int = 0
    #: Ephemerals, which are a session's and are not written; and the first of them.
    skipped: int = 0
    first_skipped: list[Record] = field(default_factory=list)
    #: Of the target: they may not be read, so nobody can say what would have to be done; and the first of them.
    denied: int = 0
    first_denied: list[NoAuthError] = field(default_factory=list)

    @property
    def is_empty(self) -> bool:
        return not (self.creates or self.changes or self.delete)

    async def writes(self) -> AsyncGenerator[Write]:
        """All that is to be created, then all that is to be changed; in the records' order."""
        if self.creates:
            async for bits, record in self._those(CREATE):
                path = at(self.target, record.path)
                acl = record.acl if bits & ACL else None
                yield Write("create", path, record.data, acl, record.is_container, record.ttl_ms)
        if self.changes:
            versions = iter(self.versions)
            async for bits, record in self._those(SET | ACL):
                if bits & CREATE:
                    continue
                path, version, aversion = at(self.target, record.path), next(versions), next(versions)
                if bits & SET:
                    yield Write("set", path, record.data, version=version)
                if bits & ACL:
                    yield Write("acl", path, acl=record.acl, version=aversion)

    async def skips(self) -> AsyncIterator[Record]:
        if self.skipped:
            async for _, record in self._those(SKIP):
                yield record

    async def _those(self, wanted: int) -> AsyncIterator[tuple[int, Record]]:
        start = 0
        async for piece in self.records:
            for bits, record in zip(self.todo[start : start + len(piece)], piece, strict=True):
                if bits & wanted:
                    yield bits, record
            start += len(piece)

    def _decide(self, record: Record, there: Found, acls: bool) -> int:
        """The bits of one record, which is counted, too."""
        if record.owner is not None:
            self.skipped += 1
            if len(self.first_skipped) < TOLD_MAX:
                self.first_skipped.append(record)
            return SKIP
        acl = record.acl if acls else None
        if there is None:
            self.creates += 1
            return CREATE | (ACL if acl is not None else 0)
        if isinstance(there, NoAuthError):
            self.deny(there)
            return DENIED
        data, stat, acl_now = there
        bits = SET if data != record.data else 0
        if acl is not None and acl_now is not None and set(acl) != set(acl_now):
            bits |= ACL
        if bits:
            self.versions.extend((stat.version, stat.aversion))
            self.changes += bits.bit_count()
            self.changed += 1
        else:
            self.same += 1
        return bits

    def deny(self, error: NoAuthError) -> None:
        self.denied += 1
        if len(self.first_denied) < TOLD_MAX:
            self.first_denied.append(error)


def at(target: str, path: str) -> str:
    return target.rstrip("/") + path or "/"


async def plan_for(zk: Client, target: str, records: Spool, *, acls: bool, mirror: bool = False) -> Plan:
    """``acls``: those of the records are to be there, too. ``mirror``: what is not among the records is to go."""
    plan = Plan(target, records)
    keep: set[str] = set()

    async def look(chunk: list[Record]) -> list[Found]:
        return await _looked_at(zk, target, chunk, acls)

    async for piece in records:
        chunks = list(_chunks([record for record in piece if record.owner is None]))
        found = iter([there for chunk in await each(look, chunks, CHUNKS_MAX) for there in chunk])
        for record in piece:
            plan.todo.append(plan._decide(record, next(found) if record.owner is None else None, acls))
        if mirror:
            keep.update(at(target, record.path) for record in piece)
    if mirror:
        found_there = await found_below(zk, target)
        for error in found_there.denied:
            plan.deny(error)
        levels = found_there.levels[::-1]
        plan.delete = [
            Write("delete", path, version=found_there.versions.get(path, -1))
            for level in levels
            for path in sorted(level)
            if path not in keep and not _system(zk, path)
        ]
        plan.ephemerals = sum(write.path in found_there.ephemerals for write in plan.delete)
    return plan


def _chunks(records: Sequence[Record]) -> Iterable[list[Record]]:
    chunk: list[Record] = []
    size = 0
    for record in records:
        if chunk and (len(chunk) >= CHUNK or size + len(record.data) > CHUNK_BYTES):
            yield chunk
            chunk, size = [], 0
        chunk.append(record)
        size += len(record.data)
    if chunk:
        yield chunk


def _system(zk: Client, path: str) -> bool:
    return not zk.chroot and (path == SYSTEM or path.startswith(SYSTEM + "/"))


async def _looked_at(zk: Client, target: str, chunk: list[Record], acls: bool) -> list[Found]:
    paths = [at(target, record.path) for record in chunk]
    try:
        znodes = await zk.get_many(paths)
        there = [path for path, znode in zip(paths, znodes, strict=True) if znode is not None]
        entries = dict(zip(there, await zk.get_acl_many(there), strict=True)) if acls and there else {}
    except (NoAuthError, ReplyTooLargeError) as error:  # the values that are there may be large ones
        if len(chunk) == 1:
            if isinstance(error, NoAuthError):
                return [error]
            raise
        return [found for one in chunk for found in await _looked_at(zk, target, [one], acls)]
    result: list[Found] = []
    for path, znode in zip(paths, znodes, strict=True):
        entry = entries.get(path)
        acl = entry[0] if entry is not None else None
        result.append(None if znode is None else (znode.data, znode.stat, acl))
    return result


async def carry_out(applier: Applier, plan: Plan) -> None:
    """Create and change what the plan says; ``applier`` knows what was done, whatever happens."""
    async with applier, aclosing(plan.writes()) as writes:
        async for write in writes:
            if applier.ended_by is not None:
                break
            await applier.put(write)


async def carry_out_deletes(applier: Applier, plan: Plan) -> None:
    """The rest of it."""
    async with applier:
        for write in plan.delete:
            if applier.ended_by is not None:
                break
            await applier.put(write)
