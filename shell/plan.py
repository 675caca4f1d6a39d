"""What has to be done for a tree to be like the records of another one: found out first, shown, and then done."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import zabpy
from zabpy.model import Acls, NoAuthError, Stat

from .applying import Applier, Write
from .pipelined import each
from .records import Record
from .removal import found_below
from .trees import SYSTEM

#: What is there where a record is to go: data, stat and ACL; or why nobody may say.
Found = tuple[bytes, Stat, Acls | None] | NoAuthError | None

CHUNK = 100
CHUNKS_MAX = 8


@dataclass
class Plan:
    """``target``: the path that the records' top is to be at. Paths are those of the target."""

    target: str
    create: list[Write] = field(default_factory=list)
    change: list[Write] = field(default_factory=list)
    same: list[str] = field(default_factory=list)
    delete: list[str] = field(default_factory=list)
    #: Of these so many are ephemerals, so some session's.
    ephemerals: int = 0
    #: Ephemerals, which are a session's and are not written.
    skipped: list[Record] = field(default_factory=list)
    #: Of the target: they may not be read, so nobody can say what would have to be done.
    denied: list[NoAuthError] = field(default_factory=list)

    @property
    def is_empty(self) -> bool:
        return not (self.create or self.change or self.delete)


def at(target: str, path: str) -> str:
    return target.rstrip("/") + path or "/"


async def plan_for(
    zk: zabpy.Client, target: str, records: Sequence[Record], *, acls: bool, mirror: bool = False
) -> Plan:
    """``acls``: those of the records are to be there, too. ``mirror``: what is not among the records is to go."""
    plan = Plan(target)
    plan.skipped = [record for record in records if record.owner is not None]
    wanted = [record for record in records if record.owner is None]
    chunks = [wanted[start : start + CHUNK] for start in range(0, len(wanted), CHUNK)]

    async def look(chunk: list[Record]) -> list[Found]:
        return await _looked_at(zk, target, chunk, acls)

    for chunk, found in zip(chunks, await each(look, chunks, CHUNKS_MAX), strict=True):
        for record, there in zip(chunk, found, strict=True):
            path = at(target, record.path)
            acl = record.acl if acls else None
            if there is None:
                plan.create.append(Write("create", path, record.data, acl, record.is_container, record.ttl_ms))
                continue
            if isinstance(there, NoAuthError):
                plan.denied.append(there)
                continue
            data, stat, acl_now = there
            changes = []
            if data != record.data:
                changes.append(Write("set", path, record.data, version=stat.version))
            if acl is not None and acl_now is not None and set(acl) != set(acl_now):
                changes.append(Write("acl", path, acl=acl, version=stat.aversion))
            plan.change += changes
            if not changes:
                plan.same.append(path)
    if mirror:
        keep = {at(target, record.path) for record in records}
        found_there = await found_below(zk, target)
        plan.denied += found_there.denied
        levels = found_there.levels[::-1]
        plan.delete = [path for level in levels for path in sorted(level) if path not in keep and not _system(zk, path)]
        plan.ephemerals = sum(path in found_there.ephemerals for path in plan.delete)
    return plan


def _system(zk: zabpy.Client, path: str) -> bool:
    return not zk.chroot and (path == SYSTEM or path.startswith(SYSTEM + "/"))


async def _looked_at(zk: zabpy.Client, target: str, chunk: list[Record], acls: bool) -> list[Found]:
    paths = [at(target, record.path) for record in chunk]
    try:
        znodes = await zk.get_many(paths)
        there = [path for path, znode in zip(paths, znodes, strict=True) if znode is not None]
        entries = dict(zip(there, await zk.get_acl_many(there), strict=True)) if acls and there else {}
    except NoAuthError as error:
        if len(chunk) == 1:
            return [error]
        return [found for one in chunk for found in await _looked_at(zk, target, [one], acls)]
    result: list[Found] = []
    for path, znode in zip(paths, znodes, strict=True):
        entry = entries.get(path)
        acl = entry[0] if entry is not None else None
        result.append(None if znode is None else (znode.data, znode.stat, acl))
    return result


async def carry_out(applier: Applier, plan: Plan) -> None:
    """Create and change what the plan says; ``applier`` knows what was done, whatever happens."""
    async with applier:
        for write in [*plan.create, *plan.change]:
            if applier.ended_by is not None:
                break
            await applier.put(write)
