"""Who holds what: locks, elections, sessions, ephemeral znodes, watches."""

import base64
from datetime import UTC, datetime
from typing import Any

import click

from zabpy.client import Client, in_parallel
from zabpy.model import NoAuthError, NoNodeError, join

from ..command import ZPath, command
from ..errors import Status
from ..queues import Place, places_of, queues_below
from ..servers import ensemble_of, missing, word_of_all
from ..sessions import Told, sessions_of
from ..shell import Shell
from ..stats import hexed
from ..walk import Denied, Reading
from ..words import parse_wchc, parse_wchp

#: Queues that are read at one time.
AT_ONCE = 32


@command("locks", group="Coordinate")
@click.argument("path", type=ZPath(glob=False), default="/")
@click.option("--held", is_flag=True, help="Only who holds, not who waits.")
async def locks(shell: Shell, path: str, held: bool) -> int:
    """The queue of each lock at a znode or below: who holds it and who waits, since when, from where.

    Knows the locks of zabpy, kazoo, Curator and aiozk by how their znodes are called; elections are locks, too. The
    token is larger for each holder. Addresses need the word cons at the servers (4lw.commands.whitelist).
    """
    return await _queues(shell, path, held, ("holds", "waits"))


@command("elections", group="Coordinate")
@click.argument("path", type=ZPath(glob=False), default="/")
@click.option("--leaders", is_flag=True, help="Only who leads.")
async def elections(shell: Shell, path: str, leaders: bool) -> int:
    """Who leads and who stands, in each election at a znode or below, in order.

    By its znodes an election is a lock, so locks are shown, too; but not semaphores.
    """
    return await _queues(shell, path, leaders, ("leads", "stands"), leases=False)


async def _queues(shell: Shell, path: str, first: bool, words: tuple[str, str], *, leases: bool = True) -> int:
    zk = await shell.zk()
    if await zk.exists(path) is None:
        raise _no_node(path)
    await zk.sync()
    hidden: list[str] = []
    queues = [queue async for queue in queues_below(zk, path, hidden) if leases or not queue.is_lease]
    places = [
        place for found in await in_parallel(lambda queue: places_of(zk, queue), queues, AT_ONCE) for place in found
    ]
    told = await _connections(shell) if places else Told()
    columns = ("path", "state", "position", "session", "address", "since", "token", "data", "layout")
    spare = ("layout", "token", "data", "position", "address", "since")
    async with shell.out.rows(*columns, spare=spare) as rows:
        for place in places:
            if place.holds or not first:
                await rows.add(**_place(place, words, told))
    for line in told.remarks:
        await shell.out.tell(line)
    for each in hidden:
        await shell.out.tell(f"{each}: permission denied, so what is below is not shown")
    return Status.PARTIAL if hidden else Status.OK


def _no_node(path: str) -> NoNodeError:
    error = NoNodeError(path)
    error.path = path
    return error


async def _connections(shell: Shell) -> Told:
    """Where sessions come from, as far as servers tell."""
    return await sessions_of(shell, await ensemble_of(shell), ("cons",))


def _place(place: Place, words: tuple[str, str], told: Told) -> dict[str, Any]:
    stat = place.stat
    session = told.sessions.get(stat.ephemeral_owner)
    text = _text(place.data)
    return {
        "path": place.queue,
        "state": words[0 if place.holds else 1],
        "position": place.position,
        "session": hexed(stat.ephemeral_owner) if stat.ephemeral_owner else None,
        "address": None if session is None else session.address,
        "since": _date(stat.ctime_ms),
        "since_ms": stat.ctime_ms,
        "token": stat.czxid,
        "data": text,
        "data_base64": base64.b64encode(place.data).decode() if text is None else None,
        "shared": place.shared,
        "layout": place.layout,
        "znode": place.path,
        "server": None if session is None else session.server,
    }


def _text(data: bytes) -> str | None:
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return None
    return text if text.isprintable() else None


def _date(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{ms % 1000:03}Z"


# Sessions -----------------------------------------------------------------------------------------------------------


@command("sessions", group="Ensemble")
async def sessions(shell: Shell) -> int:
    """All sessions: from where, at which server, their timeout, what they own and watch.

    Put together from the words cons, dump and wchc of all servers, which have to allow them (4lw.commands.whitelist).
    """
    told = await sessions_of(shell, await ensemble_of(shell))
    columns = (
        "session",
        "address",
        "server",
        "since",
        "timeout_ms",
        "ephemerals",
        "watches",
        "last_operation",
        "expires",
    )
    mine = shell.cluster.zk.core.session if shell.cluster.zk is not None else None
    spare = ("expires", "last_operation", "since", "watches", "ephemerals", "timeout_ms", "server")
    async with shell.out.rows(*columns, spare=spare) as rows:
        for id, each in sorted(told.sessions.items()):
            await rows.add(
                session=hexed(id),
                address=each.address,
                server=each.server,
                since=None if each.established_ms is None else _date(each.established_ms),
                timeout_ms=each.timeout_ms,
                ephemerals=each.ephemerals,
                watches=each.watches,
                last_operation=each.last_operation,
                expires=each.expires,
                established_ms=each.established_ms,
                connected=None if each.address is None and not told.knows_connections else each.address is not None,
                own=mine is not None and mine.id == id,
            )
    for line in told.remarks:
        await shell.out.tell(line)
    return told.status


@command("ephemerals", group="Ensemble")
@click.argument("path", type=ZPath(glob=False), default="/")
async def ephemerals(shell: Shell, path: str) -> int:
    """Ephemeral znodes at a path or below, and the session that owns each.

    As the word dump of the servers tells it; where none allows that, the tree is walked, which takes longer. Addresses
    need the word cons (4lw.commands.whitelist).
    """
    zk = await shell.zk()
    if await zk.exists(path) is None:
        raise _no_node(path)
    told = await sessions_of(shell, await ensemble_of(shell), ("cons", "dump"))
    hidden: list[str] = []
    if told.ephemerals is None:
        found = await _walk(zk, path, hidden)
        told.remarks.append("so all of the tree was walked, for want of dump")
    else:
        top = (zk.chroot + path).rstrip("/")
        below = [(each, id) for id, paths in told.ephemerals.items() for each in paths]
        found = [(each[len(zk.chroot) :], id) for each, id in below if each == top or each.startswith(top + "/")]
    found.sort()
    stats = await Reading(zk).stats([each for each, _ in found])
    async with shell.out.rows("path", "session", "address", "since", "server", spare=("server", "since")) as rows:
        for (each, id), stat in zip(found, stats, strict=True):
            if stat is None:
                continue  # it has gone since the servers told of it
            session, since_ms = told.sessions.get(id), None if isinstance(stat, Denied) else stat.ctime_ms
            await rows.add(
                path=each,
                session=hexed(id),
                address=None if session is None else session.address,
                since=None if since_ms is None else _date(since_ms),
                since_ms=since_ms,
                server=None if session is None else session.server,
            )
    for line in told.remarks:
        await shell.out.tell(line)
    for each in hidden:
        await shell.out.tell(f"{each}: permission denied, so what is below is not shown")
    return Status.PARTIAL if hidden else Status.OK


async def _walk(zk: Client, top: str, hidden: list[str]) -> list[tuple[str, int]]:
    found: list[tuple[str, int]] = []
    level = [top]
    while level:
        below: list[str] = []

        async def look(path: str, below: list[str] = below) -> None:
            try:
                names, stat = await zk.children_and_stat(path)
            except NoNodeError:
                return
            except NoAuthError:
                hidden.append(path)
                return
            if stat.ephemeral_owner:
                found.append((path, stat.ephemeral_owner))
            below += [join(path, name) for name in names if path != "/" or name != "zookeeper"]

        await in_parallel(look, level)
        level = below
    return found


@command("watches", group="Ensemble")
@click.option("--summary", is_flag=True, help="Only how many, at each server.")
@click.option("--by", type=click.Choice(["path", "session"]), default="path", help="What a line is about.")
async def watches(shell: Shell, summary: bool, by: str) -> int:
    """Who watches what: of all servers, for each knows those of its own clients only.

    The words wchs, wchp and wchc have to be allowed by the servers (4lw.commands.whitelist). Those on data and
    existence are told of, not those on children.
    """
    ensemble = await ensemble_of(shell)
    word = "wchs" if summary else "wchp" if by == "path" else "wchc"
    answers = await word_of_all(shell, ensemble.servers, word)
    chroot = shell.cluster.zk.chroot if shell.cluster.zk is not None else ""
    if summary:
        async with shell.out.rows("server", "connections", "paths", "watches") as rows:
            for answer in answers:
                numbers = [int(each) for each in (answer.value or "").replace(":", " ").split() if each.isdecimal()]
                if len(numbers) == 3:
                    await rows.add(
                        server=str(answer.server), connections=numbers[0], paths=numbers[1], watches=numbers[2]
                    )
    else:
        async with shell.out.rows(*(("path", "session") if by == "path" else ("session", "path")), "server") as rows:
            for answer in answers:
                text = answer.value or ""
                if by == "path":
                    pairs = list(parse_wchp(text))
                else:
                    pairs = [(path, id) for id, paths in parse_wchc(text).items() for path in paths]
                for path, id in pairs:
                    if path.startswith(chroot + "/") or path == chroot:
                        await rows.add(path=path[len(chroot) :] or "/", session=hexed(id), server=str(answer.server))
    failed, lines = missing(answers, word)
    for line in lines:
        await shell.out.tell(line)
    return failed
