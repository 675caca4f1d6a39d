"""What a simulation's script can say, and how the arguments of each word are drawn. drawing.py makes scripts of them.

A line is (milliseconds, word, argument…). Whatever lasts has its length in the line, so that any subset of a script is
a script: that is what shrinking needs. To add a word: a function, a row in `WORDS`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any

from zabpy.zab import messages as m
from zabpy.zab.effects import Phase, Role

from .run import Settings

if TYPE_CHECKING:
    from .simulation import Simulation

Args = tuple[Any, ...]


@dataclass(frozen=True)
class Word:
    """``act`` does it, or returns False when there was nothing to do; ``draw`` makes its arguments, or is None for
    what no seed draws."""

    act: Callable[..., bool | None]
    draw: Callable[[Random, Settings], Args] | None = None
    #: The class of faults it belongs to; "" for what is no fault.
    fault: str = ""


# Clients -------------------------------------------------------------------------------------------------------------


def write(sim: "Simulation", number: int) -> None:
    sim.write(number)


def read(sim: "Simulation") -> None:
    sim.read()


def observers(sim: "Simulation", bits: int) -> None:
    """Observers join and leave: from then on there are those with a bit set."""
    sim.change_observers(bits)


def snapshot(sim: "Simulation", sid: int) -> None:
    process = sim.processes.get(sid)
    if process is not None and not process.paused:
        sim.begin_snapshot(process)


# Processes and machines ----------------------------------------------------------------------------------------------


def kill(sim: "Simulation", sid: int, ms: int) -> bool:
    return _crash(sim, sid, ms, power=False)


def power_cut(sim: "Simulation", sid: int, ms: int) -> bool:
    return _crash(sim, sid, ms, power=True)


def power_cut_all(sim: "Simulation", ms: int) -> None:
    for sid in sim.settings.servers:
        if process := sim.processes.get(sid):
            sim.crash(process, power=True, down_ms=ms)


def _crash(sim: "Simulation", sid: int, ms: int, *, power: bool) -> bool:
    process = sim.processes.get(sid)
    if process is not None:
        sim.crash(process, power=power, down_ms=ms)
    return process is not None


def pause(sim: "Simulation", sid: int, ms: int) -> bool:
    if sid not in sim.processes:
        return False
    sim.disturb(ms)
    sim.pause(sid, ms)
    return True


def pause_leader(sim: "Simulation", ms: int) -> bool:
    for sid in sim.settings.servers:
        process = sim.processes.get(sid)
        if process is not None and process.role is Role.LEADING:
            return pause(sim, sid, ms)
    return False


def drift(sim: "Simulation", sid: int, rate: int) -> None:
    sim.servers[sid].set_rate(rate, sim.now)


# Crashes at a chosen point -------------------------------------------------------------------------------------------


def kill_at_effect(sim: "Simulation", sid: int, number: int, ms: int) -> None:
    """Crash before its n-th effect from now."""
    if process := sim.processes.get(sid):
        process.effects_left = number
        process.server.down_ms = ms


def kill_at_disk(sim: "Simulation", role: str, number: int, ms: int) -> None:
    """Crash a server of this role ("any") while its n-th disk operation from now is at work."""
    sim.traps.append(["disk", role, number, ms])


def kill_in_role(sim: "Simulation", role: str, phase: str, number: int, ms: int) -> None:
    """Crash whoever next comes into this role and phase, before its n-th effect from there."""
    sim.traps.append(["role", Role(role), Phase(phase), number, ms])


def at_message(sim: "Simulation", kind: str, number: int, what: str, ms: int) -> None:
    """When the n-th message of this kind from now leaves, do something to its sender, its receiver, or both."""
    sim.traps.append(["message", MESSAGES[kind], number, what, ms])


def strike(sim: "Simulation", what: str, sender: int, receiver: int, ms: int) -> None:
    """What an `at-message` waited for has happened."""
    sim.count("F2 " + what)
    for name in what.split("+"):
        deed, whom = name.split("-")
        sid = sender if whom == "sender" else receiver
        if deed == "isolate":
            isolate(sim, sid, ms)
        elif process := sim.processes.get(sid):
            sim.crash(process, power=deed == "cut", down_ms=ms)


def isolate_leader(sim: "Simulation", ms: int) -> bool:
    """What it proposes from here on is on its own disk only."""
    for sid in sim.settings.servers:
        process = sim.processes.get(sid)
        if process is not None and process.role is Role.LEADING:
            isolate(sim, sid, ms)
            return True
    return False


def kill_leader(sim: "Simulation", ms: int) -> None:
    for sid in sim.settings.servers:
        process = sim.processes.get(sid)
        if process is not None and process.role is Role.LEADING:
            sim.crash(process, power=False, down_ms=ms)


# Disks ---------------------------------------------------------------------------------------------------------------


def slow_disk(sim: "Simulation", sid: int, factor: int, ms: int) -> None:
    sim.disturb(ms)
    sim.servers[sid].disk_factor = factor
    sim.after_ms(ms, _normal_disk, (sim, sid))


def _normal_disk(what: "tuple[Simulation, int]") -> None:
    what[0].servers[what[1]].disk_factor = 1


def stall_disk(sim: "Simulation", sid: int, ms: int) -> None:
    """Nothing is finished for a while, then all at once: acks are held."""
    sim.disturb(ms)
    server = sim.servers[sid]
    server.disk_stalled_until = max(server.disk_stalled_until, sim.now + ms * 1000)


def fail_sync(sim: "Simulation", sid: int, ms: int) -> None:
    server = sim.servers[sid]
    server.disk_fails = True
    server.down_ms = ms


def fill_disk(sim: "Simulation", sid: int, ms: int) -> None:
    """No room for a while: snapshots are given up, and whoever must write its log ends."""
    sim.disturb(ms)
    server = sim.servers[sid]
    server.disk_full_until = sim.now + ms * 1000
    server.down_ms = ms // 4


def rot_snapshot(sim: "Simulation", sid: int, ms: int) -> bool:
    """The newest snapshot is not whole when the server comes back: an older one does, or it is as if all were lost."""
    platter = sim.servers[sid].platter
    if len(platter.snapshots) < 2 or platter.log_base.zxid > platter.snapshots[-2].tip.zxid:
        return lose_disk(sim, sid, ms)
    if process := sim.processes.get(sid):
        sim.crash(process, power=True, down_ms=ms)
    platter.snapshots.pop()
    return True


def lose_disk(sim: "Simulation", sid: int, ms: int) -> bool:
    """The disk is gone, or what is on it is refused at the start, and somebody puts an empty one in its place."""
    return sim.lose_disk(sid, ms)


# Links ---------------------------------------------------------------------------------------------------------------


def cut(sim: "Simulation", sender: int, receiver: int, ms: int) -> None:
    """One way."""
    _cut_all(sim, [(sender, receiver)], ms)


def isolate(sim: "Simulation", sid: int, ms: int) -> None:
    _cut_all(sim, [pair for pair in sim.network.paths if sid in pair], ms)


def deafen(sim: "Simulation", sid: int, ms: int) -> None:
    """It hears nobody, all hear it."""
    _cut_all(sim, [pair for pair in sim.network.paths if pair[1] == sid], ms)


def mute(sim: "Simulation", sid: int, ms: int) -> None:
    """It hears everybody, nobody hears it."""
    _cut_all(sim, [pair for pair in sim.network.paths if pair[0] == sid], ms)


def split(sim: "Simulation", side: int, ms: int) -> None:
    """Two sides; ``side`` has a bit for each server of the one."""
    _cut_all(sim, [(a, b) for a, b in sim.network.paths if (side >> a & 1) != (side >> b & 1)], ms)


def bridge(sim: "Simulation", middle: int, side: int, ms: int) -> None:
    """Two sides, and one server that reaches both."""
    paths = sim.network.paths
    _cut_all(sim, [(a, b) for a, b in paths if middle not in (a, b) and (side >> a & 1) != (side >> b & 1)], ms)


def ring(sim: "Simulation", ms: int) -> None:
    """Each server reaches its two neighbours only."""
    servers = list(sim.settings.servers)
    near = {(a, servers[(at + 1) % len(servers)]) for at, a in enumerate(servers)}
    _cut_all(sim, [(a, b) for a, b in sim.network.paths if (a, b) not in near and (b, a) not in near], ms)


def clog(sim: "Simulation", sender: int, receiver: int, ms: int) -> None:
    sim.disturb(ms)
    sim.network.clog(sender, receiver, sim.now + ms * 1000)


def slow_follower(sim: "Simulation", sid: int, pace: int, ms: int) -> None:
    """It takes so many milliseconds for each thing that it reads."""
    sim.disturb(ms)
    sim.network.slow_down(sid, pace * 1000, sim.now + ms * 1000)


def lose_votes(sim: "Simulation", sid: int, ms: int) -> None:
    """Its votes go as datagrams would: some are lost, some come twice or out of turn."""
    sim.disturb(ms)
    sim.network.votes_lost_until[sid] = sim.now + ms * 1000


def reset(sim: "Simulation", one: int, other: int) -> None:
    sim.network.reset(one, other)


def half_reset(sim: "Simulation", one: int, other: int, ms: int) -> bool:
    return sim.network.half_reset(one, other, ms)


def reset_all(sim: "Simulation") -> None:
    for one, other in sim.network.paths:
        if one < other:
            sim.network.reset(one, other)


def _cut_all(sim: "Simulation", pairs: list[tuple[int, int]], ms: int) -> None:
    sim.disturb(ms)
    for pair in pairs:
        sim.network.cut(*pair)
    sim.after_ms(ms, _heal_all, (sim, pairs))


def _heal_all(what: "tuple[Simulation, list[tuple[int, int]]]") -> None:
    sim, pairs = what
    if not sim.healed:
        for pair in pairs:
            sim.network.heal(*pair)


# Arguments -----------------------------------------------------------------------------------------------------------


def a_sid(rng: Random, settings: Settings) -> int:
    return rng.choice(settings.servers)


def _ms(rng: Random, settings: Settings) -> int:
    """Mostly short, sometimes longer than every timeout."""
    return int(settings.tick_ms * (0.2 + 25 * rng.random() ** 4))


def a_long_ms(rng: Random, settings: Settings) -> int:
    """Long enough to fall behind what others keep."""
    return settings.tick_ms * rng.randrange(3, 40)


def _one(rng: Random, settings: Settings) -> Args:
    return a_sid(rng, settings), _ms(rng, settings)


def _pair(rng: Random, settings: Settings) -> Args:
    return tuple(rng.sample(settings.servers, 2))


def a_side(rng: Random, settings: Settings) -> int:
    return rng.randrange(1, 2 ** len(settings.servers) - 1) << 1


MESSAGES: dict[str, type] = {
    kind.__name__: kind
    for kind in (m.Ack, m.AckEpoch, m.Commit, m.Diff, m.FollowerInfo, m.Image, m.ImageChunk, m.LeaderInfo, m.NewLeader,
                 m.Pong, m.Propose, m.Trunc)
}  # fmt: skip
_DEEDS = (
    "kill-sender",
    "kill-receiver",
    "cut-sender",
    "cut-receiver",
    "isolate-sender",
    "isolate-receiver",
    "kill-sender+kill-receiver",
    "kill-receiver+isolate-sender",
    "isolate-receiver+kill-sender",
)

_ROLES = ("any", "leading", "following", "looking")
_POINTS = (
    ("leading", "discovery"),
    ("leading", "synchronization"),
    ("leading", "broadcast"),
    ("following", "discovery"),
    ("following", "synchronization"),
    ("following", "broadcast"),
)

WORDS: dict[str, Word] = {
    "write": Word(write),
    "read": Word(read),
    "observers": Word(observers, fault="F29"),  # not drawn with the faults: it comes beside any of them
    "snapshot": Word(snapshot, lambda rng, s: (a_sid(rng, s),)),
    "kill": Word(kill, _one, "F1"),
    "kill-leader": Word(kill_leader, lambda rng, s: (_ms(rng, s),), "F1"),
    # These four and fail-sync are counted when they strike (F2, F6).
    "kill-at-effect": Word(kill_at_effect, lambda rng, s: (a_sid(rng, s), rng.randrange(1, 40), _ms(rng, s))),
    "kill-at-disk": Word(kill_at_disk, lambda rng, s: (rng.choice(_ROLES), rng.randrange(1, 12), _ms(rng, s))),
    "kill-in-role": Word(kill_in_role, lambda rng, s: (*rng.choice(_POINTS), rng.randrange(1, 15), _ms(rng, s))),
    "leave-behind": Word(power_cut, lambda rng, s: (a_sid(rng, s), a_long_ms(rng, s)), "F4"),
    "power-cut-all": Word(power_cut_all, lambda rng, s: (_ms(rng, s),), "F3"),
    "power-cut": Word(power_cut, _one, "F4"),
    "fail-sync": Word(fail_sync, _one),
    "at-message": Word(
        at_message,
        lambda rng, s: (rng.choice(tuple(MESSAGES)), rng.randrange(1, 6), rng.choice(_DEEDS), _ms(rng, s)),
    ),
    "slow-disk": Word(slow_disk, lambda rng, s: (a_sid(rng, s), rng.choice((5, 20, 100)), _ms(rng, s)), "F7"),
    "stall-disk": Word(stall_disk, _one, "F7"),
    "fill-disk": Word(fill_disk, _one, "F8"),
    "rot-snapshot": Word(rot_snapshot, _one, "F9"),
    "rot-log": Word(lose_disk, _one, "F9"),  # it does not start; then the disk is replaced
    "lost-write": Word(lose_disk, _one, "F10"),  # as the chain of the records tells at the next start
    "lose-disk": Word(lose_disk, _one, "F11"),
    "isolate": Word(isolate, _one, "F12"),
    "isolate-leader": Word(isolate_leader, lambda rng, s: (_ms(rng, s),), "F12"),
    "split": Word(split, lambda rng, s: (a_side(rng, s), _ms(rng, s)), "F12"),
    "cut": Word(cut, lambda rng, s: (*_pair(rng, s), _ms(rng, s)), "F13"),
    "deafen": Word(deafen, _one, "F13"),
    "mute": Word(mute, _one, "F13"),
    "bridge": Word(bridge, lambda rng, s: (a_sid(rng, s), a_side(rng, s), _ms(rng, s)), "F14"),
    "ring": Word(ring, lambda rng, s: (_ms(rng, s),), "F14"),
    "reset": Word(reset, _pair, "F16"),
    "half-reset": Word(half_reset, lambda rng, s: (*_pair(rng, s), rng.randrange(20, 400)), "F16"),
    "reset-all": Word(reset_all, lambda rng, s: (), "F16"),
    "clog": Word(clog, lambda rng, s: (*_pair(rng, s), _ms(rng, s)), "F17"),
    "lose-votes": Word(lose_votes, _one, "F18"),
    "slow-follower": Word(slow_follower, lambda rng, s: (a_sid(rng, s), rng.choice((2, 10, 50)), _ms(rng, s)), "F22"),
    "drift": Word(drift, lambda rng, s: (a_sid(rng, s), rng.choice((900, 950, 1000, 1050, 1100))), "F20"),
    "pause": Word(pause, _one, "F21"),
    "pause-leader": Word(pause_leader, lambda rng, s: (_ms(rng, s),), "F21"),
}
