"""What is done to real processes. A fault is an async function that begins something, waits, and ends it.

To add one: a function of `Trouble`, with its class of faults in its row of `FAULTS`.
"""

import errno
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from random import Random

import trio

from .ensemble import Processes
from .links import Way

RECOVERY_SECONDS_MAX = 10.0
BACK_SECONDS_MAX = 5.0
LATE_MS = 700


@dataclass
class Trouble:
    """All that is wrong with an ensemble, and was."""

    servers: Processes
    rng: Random
    counts: Counter[str] = field(default_factory=Counter)
    #: From, to, in ns of the monotonic clock; what is going on has no end yet.
    times: list[list[int]] = field(default_factory=list)
    on_connections: list[Callable[[], None]] = field(default_factory=list)
    #: Servers whose processes live on; they may be cut off, stopped and slowed.
    spared: set[int] = field(default_factory=set)

    @property
    def now(self) -> bool:
        """Whether anything is wrong now."""
        return any(not end for _, end in self.times)

    def server(self) -> int:
        return self.rng.choice(self.servers.ids)

    async def leader_or_any(self) -> int:
        leader = await self.servers.leader() if self.rng.random() < 0.5 else None
        return leader if leader is not None else self.server()

    def victims(self, ids: Iterable[int]) -> list[int]:
        """Who of these can be killed."""
        return [id for id in ids if self.servers.runs(id) and id not in self.spared]

    def others(self, *ids: int) -> list[int]:
        return [id for id in self.servers.ids if id not in ids]

    async def wait(self, least_ms: int = 200, most_ms: int = 2500) -> None:
        """Mostly short, sometimes longer than every timeout of theirs."""
        await trio.sleep((least_ms + (most_ms - least_ms) * self.rng.random() ** 2) / 1000)

    async def cut(self, ways: Iterable[Way]) -> None:
        ways = list(ways)
        await self.servers.links.cut(ways)
        try:
            await self.wait()
        finally:
            with trio.CancelScope(shield=True):
                await self.servers.links.heal(ways)

    def ways(self) -> list[Way]:
        return [(a, b) for a in self.servers.ids for b in self.servers.ids if a != b]

    def halves(self) -> tuple[set[int], set[int]]:
        ids = list(self.servers.ids)
        self.rng.shuffle(ids)
        at = self.rng.randrange(1, len(ids))
        return set(ids[:at]), set(ids[at:])


# Processes ------------------------------------------------------------------------------------------------------------


async def kill(trouble: Trouble) -> bool:
    return await _kill(trouble, [await trouble.leader_or_any()])


async def kill_all(trouble: Trouble) -> bool:
    return await _kill(trouble, list(trouble.servers.ids))


async def kill_several(trouble: Trouble) -> bool:
    ids = list(trouble.servers.ids)
    return await _kill(trouble, trouble.rng.sample(ids, trouble.rng.randrange(1, len(ids))))


async def _kill(trouble: Trouble, ids: list[int]) -> bool:
    servers = trouble.servers
    hit = trouble.victims(ids)
    for id in hit:
        servers.excused.add(id)
        servers.kill(id)
    if hit:
        await trouble.wait(50, 1500)
    for id in hit:
        if not servers.runs(id):
            servers.start(id)
    await _back(servers, hit)
    return bool(hit)


async def restart(trouble: Trouble) -> bool:
    """As an operator does: SIGTERM, and a start once it has ended."""
    servers = trouble.servers
    hit = [id for id in trouble.victims([await trouble.leader_or_any()]) if id not in servers.stopped]
    for id in hit:
        servers.excused.add(id)
        servers.processes[id].terminate()
        with trio.move_on_after(BACK_SECONDS_MAX):
            while servers.runs(id):  # noqa: ASYNC110
                await trio.sleep(0.02)
        if servers.runs(id):
            trouble.counts["restarts that needed kill -9"] += 1
            servers.kill(id)
        servers.start(id)
    await _back(servers, hit)
    return bool(hit)


async def power_cut(trouble: Trouble) -> bool:
    """Syncs are slow for a moment, and then what was not synced is lost: at one server, at some, or at all."""
    servers = trouble.servers
    ids = list(servers.ids)
    one = [await trouble.leader_or_any()]
    return await _power_cut(trouble, trouble.rng.choice((one, ids, ids[: servers.count // 2 + 1])), [])


async def power_cut_behind_leader(trouble: Trouble) -> bool:
    """The leader's disk is quick and all others are slow; the power goes, and the leader comes back when the others
    serve again. What was acknowledged must have been on one of theirs."""
    leader = await trouble.servers.leader()
    return leader is not None and await _power_cut(trouble, trouble.others(leader), [leader])


async def _power_cut(trouble: Trouble, slow: list[int], quick: list[int]) -> bool:
    servers, rng = trouble.servers, trouble.rng
    if not servers.bad_disks:
        return False
    for id in slow:
        servers.bad_disks[id].set(rng.choice((20, 100, 400)))
    await trouble.wait(200, 1000)
    hit = trouble.victims((*slow, *quick))
    for id in hit:
        servers.excused.add(id)
    for id in hit:
        servers.kill(id)  # all of them first: else the last ones serve on for a moment
    for id in hit:
        trouble.counts["writes lost in power cuts"] += servers.bad_disks[id].power_cut(rng)
    for id in slow:
        servers.bad_disks[id].set()
    for ids in (slow, quick):
        for id in ids:
            if id in hit and not servers.runs(id):
                servers.start(id)
        await _back(servers, [id for id in ids if id in hit])
    return bool(hit)


async def pause(trouble: Trouble) -> bool:
    """SIGSTOP. A leader that wakes finds another one."""
    id, servers = await trouble.leader_or_any(), trouble.servers
    if not servers.runs(id):
        return False
    servers.pause(id)
    try:
        # Either any time, or just long enough that it is given up while requests wait in its sockets.
        await trouble.wait(*trouble.rng.choice(((100, 3000), (1000, 1800))))
    finally:
        servers.go_on(id)
    return True


# Links ----------------------------------------------------------------------------------------------------------------


async def isolate(trouble: Trouble) -> bool:
    id = await trouble.leader_or_any()
    await trouble.cut(way for way in trouble.ways() if id in way)
    return True


async def split(trouble: Trouble) -> bool:
    one, other = trouble.halves()
    await trouble.cut((a, b) for a, b in trouble.ways() if (a in one) is (b in other))
    return True


async def one_way(trouble: Trouble) -> bool:
    """It hears nobody, or nobody hears it, or one does not hear one other."""
    id = await trouble.leader_or_any()
    kind = trouble.rng.randrange(3)
    if kind == 2:
        await trouble.cut([(id, trouble.rng.choice(trouble.others(id)))])
    else:
        await trouble.cut(way for way in trouble.ways() if way[kind] == id)
    return True


async def late_word(trouble: Trouble) -> bool:
    """Nobody hears a leader, and it hears late that they have left it: for a moment there are two that lead."""
    leader = await trouble.servers.leader()
    if leader is None:
        return False
    links = trouble.servers.links
    to_it = [way for way in trouble.ways() if way[1] == leader]
    from_it = [way[::-1] for way in to_it]
    await links.delay(to_it, LATE_MS)
    await links.cut(from_it)
    try:
        await trouble.wait(1500, 3000)
    finally:
        with trio.CancelScope(shield=True):
            await links.heal(from_it)
            await links.delay(to_it, 0)
    return True


async def bridge(trouble: Trouble) -> bool:
    """Two sides, and one server that reaches both."""
    middle = await trouble.leader_or_any()
    others = trouble.others(middle)
    side = set(others[: len(others) // 2])
    await trouble.cut((a, b) for a, b in trouble.ways() if middle not in (a, b) and (a in side) is not (b in side))
    return True


async def ring(trouble: Trouble) -> bool:
    """Each reaches its two neighbours: all see a majority, and no two the same."""
    ids = list(trouble.servers.ids)
    if len(ids) < 5:
        return False
    trouble.rng.shuffle(ids)
    near = {frozenset((id, ids[at - 1])) for at, id in enumerate(ids)}
    await trouble.cut(way for way in trouble.ways() if frozenset(way) not in near)
    return True


async def delay(trouble: Trouble) -> bool:
    ids = trouble.rng.sample(list(trouble.servers.ids), trouble.rng.randrange(1, 3))
    ways = [way for way in trouble.ways() if way[0] in ids]
    await trouble.servers.links.delay(ways, trouble.rng.choice((5, 30, 150)))
    try:
        await trouble.wait()
    finally:
        with trio.CancelScope(shield=True):
            await trouble.servers.links.delay(ways, 0)
    return True


async def reset(trouble: Trouble) -> bool:
    id = await trouble.leader_or_any()
    done = any([await trouble.servers.links.reset(id, other) for other in trouble.others(id)])
    await trouble.wait(100, 300)  # until they have found each other again
    return done


async def drop_clients(trouble: Trouble) -> bool:
    """Clients lose their connections, with whatever is on its way."""
    done = bool(trouble.on_connections)
    for drop in list(trouble.on_connections):
        drop()
    await trouble.wait(100, 300)
    return done


# Disks ----------------------------------------------------------------------------------------------------------------


async def slow_disk(trouble: Trouble) -> bool:
    return await _syncs(trouble, [await trouble.leader_or_any()], trouble.rng.choice((5, 50, 400)), 0)


async def slow_disks(trouble: Trouble) -> bool:
    return await _syncs(trouble, list(trouble.servers.ids), trouble.rng.choice((5, 50)), 0)


async def failing_sync(trouble: Trouble) -> bool:
    """EIO: who cannot sync must end, and say nothing that was not on its disk; what was not may be gone."""
    id, servers = await trouble.leader_or_any(), trouble.servers
    if not trouble.victims([id]):
        return False
    servers.excused.add(id)
    done = await _syncs(trouble, [id], 0, errno.EIO)
    if trouble.rng.random() < 0.5 and id in servers.bad_disks:
        servers.kill(id)
        trouble.counts["writes lost after a failed sync"] += servers.bad_disks[id].power_cut(trouble.rng)
    await _again(servers, id)
    return done


async def _syncs(trouble: Trouble, ids: list[int], delay_ms: int, error: int) -> bool:
    disks = [trouble.servers.bad_disks[id] for id in ids if id in trouble.servers.bad_disks]
    for disk in disks:
        disk.set(delay_ms, error)
    try:
        if disks:
            await trouble.wait()
    finally:
        for disk in disks:
            disk.set()
    return bool(disks)


async def full_disk(trouble: Trouble) -> bool:
    """No room at all: ENOSPC, where a file system could be mounted."""
    id, servers = await trouble.leader_or_any(), trouble.servers
    if not servers.disks[id].mounted or not trouble.victims([id]):
        return False
    servers.excused.add(id)
    servers.disks[id].fill()
    try:
        await trouble.wait(500, 3000)
    finally:
        servers.disks[id].free()
    await _again(servers, id)
    return True


async def full_file(trouble: Trouble) -> bool:
    """EFBIG for whatever is written past the first kilobyte, which needs no privileges."""
    id, servers = await trouble.leader_or_any(), trouble.servers
    if not trouble.victims([id]) or not hasattr(servers, "limit_files"):
        return False
    servers.excused.add(id)
    servers.limit_files(id, 1024)
    await trouble.wait(500, 3000)
    if servers.runs(id):
        servers.limit_files(id, -1)
    await _again(servers, id)
    return True


async def _again(servers: Processes, id: int) -> None:
    """The disk is well again: as an operator would, start what has ended; else it may not end by itself from now on."""
    if servers.runs(id):
        servers.kill(id)  # whether it has noticed or not; what it had said is on its disk
    servers.start(id)
    await _back(servers, [id])


async def _back(servers: Processes, ids: list[int]) -> None:
    """A fault lasts until who was hurt serves again, or something else keeps it from that."""
    with trio.move_on_after(BACK_SECONDS_MAX):
        for id in ids:
            while servers.runs(id) and not await servers.mode(id):  # noqa: ASYNC110  # another process: it can only be asked
                await trio.sleep(0.05)


Fault = Callable[[Trouble], Awaitable[bool]]
#: Name → what it is, its class in the list of faults, and how often it is drawn beside the others.
FAULTS: dict[str, tuple[Fault, str, int]] = {
    "kill": (kill, "F1", 4),
    "kill several": (kill_several, "F1", 2),
    "kill all": (kill_all, "F3", 1),
    "power cut": (power_cut, "F4", 3),
    "power cut behind leader": (power_cut_behind_leader, "F4", 2),
    "restart": (restart, "F1", 2),
    "pause": (pause, "F21", 4),
    "isolate": (isolate, "F12", 4),
    "split": (split, "F12", 2),
    "one way": (one_way, "F13", 4),
    "late word": (late_word, "F13", 2),
    "bridge": (bridge, "F14", 2),
    "ring": (ring, "F14", 2),
    "delay": (delay, "F17", 2),
    "reset": (reset, "F16", 2),
    "drop clients": (drop_clients, "F16", 2),
    "slow disk": (slow_disk, "F7", 2),
    "slow disks": (slow_disks, "F7", 1),
    "failing sync": (failing_sync, "F6", 1),
    "full disk": (full_disk, "F8", 1),
    "full file": (full_file, "F8", 1),
}


async def torment(trouble: Trouble, names: list[str], gap_ms: int) -> None:
    """One fault after the other, now and then two at a time, until cancelled. What is going on then is ended."""
    weights = [FAULTS[name][2] for name in names]
    async with trio.open_nursery() as nursery:
        while True:
            await trio.sleep(gap_ms / 1000 * (0.5 + trouble.rng.random()))
            (name,) = trouble.rng.choices(names, weights)
            if trouble.rng.random() < 0.2:
                nursery.start_soon(_do, trouble, name)
                continue
            await _do(trouble, name)
            if trouble.rng.random() < 0.8:
                await _recovered(trouble.servers)


async def _recovered(servers: Processes) -> None:
    """On a busy machine a server takes seconds to start; hurt without a pause nobody would ever serve."""
    with trio.move_on_after(RECOVERY_SECONDS_MAX):
        while await servers.leader() is None:  # noqa: ASYNC110  # likewise
            await trio.sleep(0.05)


async def _do(trouble: Trouble, name: str) -> None:
    time = [_now_ns(), 0]
    trouble.times.append(time)
    done = True  # also one that is cut short
    try:
        done = await FAULTS[name][0](trouble)
    finally:
        time[1] = _now_ns()
        if done:
            trouble.counts[name] += 1
        else:
            trouble.times.remove(time)


def _now_ns() -> int:
    import time

    return time.monotonic_ns()
