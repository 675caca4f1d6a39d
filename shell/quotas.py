"""Quotas: how many znodes and bytes a subtree may have. Layout: ZooKeeper's, in ``/zookeeper/quota``, whatever the
chroot; so requests go by their full paths. Only servers with ``enforceQuota=true`` refuse what goes beyond a hard
limit; the others, and all of them at soft ones, write a warning into their log.
"""

from typing import NamedTuple, Self

import zabpy
from zabpy.client import Client, Op, records as r
from zabpy.model import OPEN_ACL, NodeExistsError, NoNodeError, NotEmptyError, parent_of

from .problems import ShellError, Status

ROOT = "/zookeeper/quota"
LIMITS, STATS = "zookeeper_limits", "zookeeper_stats"
#: How often it is begun anew when others change a quota at the same time.
TRIES_MAX = 16


class Numbers(NamedTuple):
    """Limits, or usage. -1: none."""

    znodes: int = -1
    data_bytes: int = -1
    znodes_hard: int = -1
    data_bytes_hard: int = -1

    @classmethod
    def read(cls, data: bytes) -> Self:
        found: dict[str, int] = {}
        for pair in data.decode("utf-8", "replace").replace(";", ",").split(","):
            name, _, number = pair.strip("=").partition("=")
            if number.lstrip("+-").isdigit():
                found[name] = int(number)
        names = ("count", "bytes", "countHardLimit", "byteHardLimit")
        return cls(*(found.get(name, -1) for name in names))

    def packed(self) -> bytes:
        """As ZooKeeper writes it: an ``=`` before the first ``;``, for parsers older than 3.7."""
        hard = {"byteHardLimit": self.data_bytes_hard, "countHardLimit": self.znodes_hard}
        tail = "".join(f";{name}={number}" for name, number in hard.items() if number != -1)
        return f"count={self.znodes},bytes={self.data_bytes}{'=' if tail else ''}{tail}".encode()


class Quota(NamedTuple):
    """Of one path, as the shell has it."""

    path: str
    limits: Numbers
    usage: Numbers | None


def full_of(zk: Client, path: str) -> str:
    return zk.chroot + path if path != "/" else zk.chroot or "/"


async def read(zk: Client, path: str) -> Quota | None:
    """The quota of exactly this path."""
    above = ROOT + full_of(zk, path).rstrip("/")
    limits = await _get(zk, f"{above}/{LIMITS}")
    if limits is None:
        return None
    usage = await _get(zk, f"{above}/{STATS}")
    return Quota(path, Numbers.read(limits[0]), Numbers.read(usage[0]) if usage else None)


async def below(zk: Client, path: str) -> list[str]:
    """The paths at or below this one that have a quota, sorted."""
    top = ROOT + full_of(zk, path).rstrip("/")
    found, waiting = [], [top]
    while waiting:
        above = waiting.pop()
        for name in await _children(zk, above) or ():
            if name == LIMITS:
                found.append(above[len(ROOT) + len(zk.chroot) :] or "/")
            elif name != STATS:
                waiting.append(f"{above}/{name}")
    return sorted(found)


async def above(zk: Client, path: str) -> str | None:
    """The full path of the nearest one above this that has a quota."""
    full = full_of(zk, path)
    while full != "/" and (full := parent_of(full)) != "/":
        if await _get(zk, f"{ROOT}{full}/{LIMITS}") is not None:
            return full
    return None


async def write(zk: Client, path: str, given: dict[str, int]) -> Numbers:
    """Set these limits, and leave the others as they are; what they are then.

    Raises:
        ShellError: there is a quota above or below, and ZooKeeper has one along each path.
    """
    full = full_of(zk, path)
    if full == "/" or full.startswith("/zookeeper"):
        raise ShellError(f"{path}: has no quota and can have none: it is the servers' own", Status.USAGE)
    if await zk.exists(path) is None:
        raise ShellError(f"{path}: no such znode", Status.NO)
    where = f"{ROOT}{full}/{LIMITS}"
    for _ in range(TRIES_MAX):
        before = await _get(zk, where)
        if before is None:
            if (other := await above(zk, path)) is not None:
                raise ShellError(f"{path}: there is a quota above it, at {other}", Status.CONFLICT)
            if others := await below(zk, path):
                raise ShellError(f"{path}: there is a quota below it, at {others[0]}", Status.CONFLICT)
            new = Numbers()._replace(**given)
            try:
                await _ensure(zk, ROOT + full)
                await _create(zk, where, new.packed())
            except (NodeExistsError, NoNodeError):
                continue
        else:
            new = Numbers.read(before[0])._replace(**given)
            try:
                await zk.request(Op.SET_DATA, r.SetDataRequest(where, new.packed(), before[1].version))
            except (zabpy.BadVersionError, NoNodeError):
                continue
        try:
            # The servers fill it in, and keep it up, from its creation on.
            await _create(zk, f"{ROOT}{full}/{STATS}", Numbers(0, 0).packed())
        except NodeExistsError:
            pass
        return new
    raise ShellError(f"{path}: others change its quota all the time", Status.CONFLICT)


async def delete(zk: Client, path: str, names: set[str]) -> bool:
    """Take these limits away; all of them, and the quota is gone. Whether there was one."""
    found = await read(zk, path)
    if found is None:
        return False
    left = found.limits._replace(**dict.fromkeys(names, -1))
    if names and left != Numbers():
        await write(zk, path, dict.fromkeys(names, -1))
        return True
    full = ROOT + full_of(zk, path)
    for name in (STATS, LIMITS):
        await _delete(zk, f"{full}/{name}")
    while full != ROOT and await _delete(zk, full):  # what is empty now, as zkCli.sh does
        full = parent_of(full)
    return True


async def _get(zk: Client, full: str) -> tuple[bytes, zabpy.Stat] | None:
    try:
        reply = await zk.request(Op.GET_DATA, r.GetDataRequest(full, False))
    except NoNodeError:
        return None
    return reply.data or b"", reply.stat


async def _children(zk: Client, full: str) -> list[str] | None:
    try:
        return list((await zk.request(Op.GET_CHILDREN, r.GetChildrenRequest(full, False))).children)
    except NoNodeError:
        return None


async def _create(zk: Client, full: str, data: bytes) -> None:
    await zk.request(Op.CREATE, r.CreateRequest(full, data, OPEN_ACL, 0))


async def _ensure(zk: Client, full: str) -> None:
    at = ROOT
    for name in full[len(ROOT) + 1 :].split("/"):
        at = f"{at}/{name}"
        try:
            await _create(zk, at, b"")
        except NodeExistsError:
            pass


async def _delete(zk: Client, full: str) -> bool:
    try:
        await zk.request(Op.DELETE, r.DeleteRequest(full, -1))
    except NoNodeError:
        return True
    except NotEmptyError:
        return False
    return True
