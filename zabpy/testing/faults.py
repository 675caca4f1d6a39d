"""What a simulation's script can say, and how a script is made from a seed.

A line is (milliseconds, word, argument…). Whatever lasts has its length in the line, so that any subset of a script is
a script: that is what shrinking needs. To add a word: a function, a row in `WORDS`.

Not every run has every kind of fault: a few are drawn for each seed (swarm testing), since faults hide each other.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random
from typing import TYPE_CHECKING, Any

from zabpy.zab.effects import Phase, Role
from zabpy.zab.messages import (
    Ack,
    AckEpoch,
    Commit,
    Diff,
    FollowerInfo,
    Image,
    ImageChunk,
    LeaderInfo,
    NewLeader,
    Pong,
    Propose,
    Trunc,
)

from .run import Line, Settings

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


# Drawing -------------------------------------------------------------------------------------------------------------


def _sid(rng: Random, settings: Settings) -> int:
    return rng.choice(settings.servers)


def _ms(rng: Random, settings: Settings) -> int:
    """Mostly short, sometimes longer than every timeout."""
    return int(settings.tick_ms * (0.2 + 25 * rng.random() ** 4))


def _long_ms(rng: Random, settings: Settings) -> int:
    """Long enough to fall behind what others keep."""
    return settings.tick_ms * rng.randrange(3, 40)


def _one(rng: Random, settings: Settings) -> Args:
    return _sid(rng, settings), _ms(rng, settings)


def _pair(rng: Random, settings: Settings) -> Args:
    return tuple(rng.sample(settings.servers, 2))


def _side(rng: Random, settings: Settings) -> int:
    return rng.randrange(1, 2 ** len(settings.servers) - 1) << 1


MESSAGES: dict[str, type] = {
    kind.__name__: kind
    for kind in (
        Ack,
        AckEpoch,
        Commit,
        Diff,
        FollowerInfo,
        Image,
        ImageChunk,
        LeaderInfo,
        NewLeader,
        Pong,
        Propose,
        Trunc,
    )
}

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
    "snapshot": Word(snapshot, lambda rng, s: (_sid(rng, s),)),
    "kill": Word(kill, _one, "F1"),
    "kill-leader": Word(kill_leader, lambda rng, s: (_ms(rng, s),), "F1"),
    # These four and fail-sync are counted when they strike (F2, F6).
    "kill-at-effect": Word(kill_at_effect, lambda rng, s: (_sid(rng, s), rng.randrange(1, 40), _ms(rng, s))),
    "kill-at-disk": Word(kill_at_disk, lambda rng, s: (rng.choice(_ROLES), rng.randrange(1, 12), _ms(rng, s))),
    "kill-in-role": Word(kill_in_role, lambda rng, s: (*rng.choice(_POINTS), rng.randrange(1, 15), _ms(rng, s))),
    "leave-behind": Word(power_cut, lambda rng, s: (_sid(rng, s), _long_ms(rng, s)), "F4"),
    "power-cut-all": Word(power_cut_all, lambda rng, s: (_ms(rng, s),), "F3"),
    "power-cut": Word(power_cut, _one, "F4"),
    "fail-sync": Word(fail_sync, _one),
    "at-message": Word(
        at_message,
        lambda rng, s: (rng.choice(tuple(MESSAGES)), rng.randrange(1, 6), rng.choice(_DEEDS), _ms(rng, s)),
    ),
    "slow-disk": Word(slow_disk, lambda rng, s: (_sid(rng, s), rng.choice((5, 20, 100)), _ms(rng, s)), "F7"),
    "stall-disk": Word(stall_disk, _one, "F7"),
    "fill-disk": Word(fill_disk, _one, "F8"),
    "rot-snapshot": Word(rot_snapshot, _one, "F9"),
    "rot-log": Word(lose_disk, _one, "F9"),  # it does not start; then the disk is replaced
    "lost-write": Word(lose_disk, _one, "F10"),  # as the chain of the records tells at the next start
    "lose-disk": Word(lose_disk, _one, "F11"),
    "isolate": Word(isolate, _one, "F12"),
    "isolate-leader": Word(isolate_leader, lambda rng, s: (_ms(rng, s),), "F12"),
    "split": Word(split, lambda rng, s: (_side(rng, s), _ms(rng, s)), "F12"),
    "cut": Word(cut, lambda rng, s: (*_pair(rng, s), _ms(rng, s)), "F13"),
    "deafen": Word(deafen, _one, "F13"),
    "mute": Word(mute, _one, "F13"),
    "bridge": Word(bridge, lambda rng, s: (_sid(rng, s), _side(rng, s), _ms(rng, s)), "F14"),
    "ring": Word(ring, lambda rng, s: (_ms(rng, s),), "F14"),
    "reset": Word(reset, _pair, "F16"),
    "half-reset": Word(half_reset, lambda rng, s: (*_pair(rng, s), rng.randrange(20, 400)), "F16"),
    "reset-all": Word(reset_all, lambda rng, s: (), "F16"),
    "clog": Word(clog, lambda rng, s: (*_pair(rng, s), _ms(rng, s)), "F17"),
    "lose-votes": Word(lose_votes, _one, "F18"),
    "slow-follower": Word(slow_follower, lambda rng, s: (_sid(rng, s), rng.choice((2, 10, 50)), _ms(rng, s)), "F22"),
    "drift": Word(drift, lambda rng, s: (_sid(rng, s), rng.choice((900, 950, 1000, 1050, 1100))), "F20"),
    "pause": Word(pause, _one, "F21"),
    "pause-leader": Word(pause_leader, lambda rng, s: (_ms(rng, s),), "F21"),
}

#: What a seed may choose from, in the table's order.
DRAWN = tuple(word for word in WORDS if WORDS[word].draw)


def _two_left_behind(rng: Random, settings: Settings, at: int) -> list[Line]:
    """Two miss different lengths of one epoch, and a leader ends between their returns."""
    first, second = rng.sample(settings.servers, 2)
    short = _long_ms(rng, settings) // 2
    long = short + rng.randrange(3, 15) * settings.tick_ms
    back = at + short + rng.randrange(1, 8) * settings.tick_ms
    return [(at, "power-cut", first, short), (at, "kill", second, long), (back, "kill-leader", long)]


def _rival_epochs(rng: Random, settings: Settings, at: int) -> list[Line]:
    """Who promised an epoch to a leader that dies is away while others choose the next one."""
    tick = settings.tick_ms
    return [
        (at, "at-message", "AckEpoch", rng.choice((1, 2)), "kill-receiver+isolate-sender", rng.randrange(5, 15) * tick),
        (at, "kill-leader", rng.randrange(1, 10) * tick),
    ]


def _promise_of_one(rng: Random, settings: Settings, at: int) -> list[Line]:
    """One server alone hears a new epoch and promises it; its leader dies, and it comes back when others have chosen
    the same number."""
    tick = settings.tick_ms
    return [
        (at, "at-message", "LeaderInfo", 1, "kill-sender", rng.randrange(10, 30) * tick),
        (at, "at-message", "AckEpoch", 1, "isolate-sender", rng.randrange(3, 15) * tick),
        (at, "kill-leader", rng.randrange(1, 3) * tick),
    ]


def _behind_an_image(rng: Random, settings: Settings, at: int) -> list[Line]:
    """The greatest id comes back by a snapshot and leads; then one comes back that is behind that snapshot."""
    tick, greatest = settings.tick_ms, settings.voters
    lagging = rng.randrange(1, greatest)
    away, settle, long = rng.randrange(20, 35) * tick, 8 * tick, rng.randrange(10, 20) * tick
    lines: list[Line] = [(at, "power-cut", greatest, away), (at + settle, "kill", lagging, away - settle + long)]
    for sid in settings.servers:
        lines.append((at + away - rng.randrange(3, 8) * tick, "snapshot", sid))
    return [*lines, (at + away + 3 * tick, "kill-leader", 2 * long)]


def _lonely_tail(rng: Random, settings: Settings, at: int) -> list[Line]:
    """A leader writes what nobody else has, and comes back to another leader."""
    ms = rng.randrange(5, 20) * settings.tick_ms
    lines: list[Line] = [(at, "isolate-leader", ms)]
    return lines + [(at + rng.randrange(1, 200), "write", rng.choice((1, 3, 10))) for _ in range(3)]


def _sleeping_leader(rng: Random, settings: Settings, at: int) -> list[Line]:
    """A leader sleeps while others elect another and write; then it finds what its clients asked meanwhile."""
    tick = settings.tick_ms
    ms = rng.randrange(8, 20) * tick
    asked: list[Line] = [(at + rng.randrange(1, ms), "read") for _ in range(4)]
    return [(at, "pause-leader", ms), *asked, (at + ms - 2, "write", 1)]


_SCENES = (_sleeping_leader, _two_left_behind, _rival_epochs, _promise_of_one, _behind_an_image, _lonely_tail)


def draw(
    seed: int, *, servers: int | None = None, watching: int | None = None, calm: bool = False
) -> tuple[Settings, tuple[Line, ...]]:
    """The settings and the script of a seed. ``servers``: that many voters, else three to five; ``watching``: that many
    observers, else up to two."""
    rng = Random(f"{seed}/settings")
    voters = servers or rng.choice((3, 3, 4, 5, 5))
    observers = rng.choice((0, 0, 0, 1, 2)) if servers is None else rng.choice((0, 0, 0, 1))
    if watching is not None:
        observers = watching
    bits = _core(rng, voters, observers)
    settings = Settings(
        seed=seed,
        voters=voters,
        observers=observers,
        script_ms=rng.choice((4000, 8000, 8000, 15_000)),
        latency_us=rng.choice((100, 300, 3000)),
        jitter_us=rng.choice((200, 2000, 20_000)),
        spike_permille=rng.choice((0, 2, 20)),
        spike_us=rng.choice((20_000, 200_000)),
        disk_us=rng.choice((100, 1000, 5000)),
        disk_jitter_us=rng.choice((500, 10_000)),
        keepalive_ms=rng.choice((250, 500, 2000)),
        redial_ms=rng.choice((5, 30, 100)),
        replace_permille=rng.choice((0, 300, 900)),
        drift_permille=rng.choice((0, 0, 20, 100)),
        snapshot_every=rng.choice((0, 5, 15, 40)),
        lazier=rng.choice((1, 1, 5, 1000)),
        snapshots_kept=rng.choice((1, 1, 3)),
        recent_entries=rng.choice((0, 3, 10, 1000)),
        slice_entries=rng.choice((1, 4, 50)),
        transfer_ms=rng.choice((0, 0, 0, 0, 2000)),
        start_counter=0xFFFF0000 - rng.randrange(1, 150) if rng.random() < 0.08 else 0,
        handover_at=rng.choice((20, 60, 200)) if rng.random() < 0.1 else 0,
        core=bits,
        rest_dead=rng.randrange(2),
    )
    if rng.random() < 0.3 and not observers:
        settings = replace(settings, core=2 ** (voters + 1) - 2, shape=_shape(rng, settings))
    else:
        settings = _weighed(settings)
    if calm:
        full = sum(1 << sid for sid in settings.servers)
        settings = _calm(settings, full)
    return settings, _script(settings, rng)


def _core(rng: Random, voters: int, observers: int) -> int:
    size = rng.randrange(voters // 2 + 1, voters + 1)
    core = rng.sample(range(1, voters + 1), size)
    core += [sid for sid in range(voters + 1, voters + observers + 1) if rng.random() < 0.7]
    return sum(1 << sid for sid in core)


def _weighed(settings: Settings) -> Settings:
    """Now and then not all voters have the same say."""
    rng = Random(f"{settings.seed}/quorums")
    if rng.random() > 0.2:
        return settings
    weights, groups = "1" * settings.voters, "1" * settings.voters
    if rng.random() < 0.7:
        weights = "".join(str(rng.choice((0, 1, 1, 1, 2, 3))) for _ in weights)
    if rng.random() < 0.5:
        groups = "".join(str(rng.randint(1, 3)) for _ in groups)
    return replace(settings, weights=int(weights) or 1, groups=int(groups))


def _shape(rng: Random, settings: Settings) -> int:
    if rng.random() < 0.5:
        return 1
    return 1 << _sid(rng, settings) | _side(rng, settings) << 16


def _calm(settings: Settings, full: int) -> Settings:
    return replace(
        settings,
        spike_permille=0,
        jitter_us=min(settings.jitter_us, 5000),
        drift_permille=0,
        start_counter=0,
        handover_at=0,
        core=full,
        shape=0,
        calm=1,
    )


def _script(settings: Settings, rng: Random) -> tuple[Line, ...]:
    lines: list[Line] = []
    end = settings.script_ms
    warm = settings.tick_ms * rng.choice((0, 3, 10))
    clients = Random(f"{settings.seed}/clients")
    at, gap = 0, rng.choice((10, 30, 100))
    while at < end:
        at += 1 + int(clients.expovariate(1 / gap))
        lines.append((at, "read") if clients.random() < 0.15 else (at, "write", clients.choice((1, 1, 1, 2, 5, 20))))
    changes = Random(f"{settings.seed}/observers")
    if settings.observers and changes.random() < 0.7:
        gap, at = changes.choice((100, 400, 1500)), 0
        while (at := at + 1 + int(changes.expovariate(1 / gap))) < end:
            lines.append((at, "observers", changes.randrange(2**settings.observers) << settings.voters + 1))
    if not settings.calm:
        faults = Random(f"{settings.seed}/faults")
        kinds = faults.sample(DRAWN, faults.choice((1, 2, 3, 5, 8, len(DRAWN))))
        gap = faults.choice((50, 150, 500))
        scenes = faults.choice((0, 0, 0.1, 0.5))
        if faults.random() < 0.1:  # the leader changes every so often, whatever else is done
            every = faults.choice((3, 7, 15)) * settings.tick_ms
            lines += [(at, "kill-leader", faults.randrange(1, 500)) for at in range(warm + every, end, every)]
        if faults.random() < 0.15 and end > 6000:  # one scene, and next to nothing beside it
            lines += faults.choice(_SCENES)(faults, settings, faults.randrange(warm + 1000, end - 4000))
            gap, scenes = 3000, 0
        at = warm
        while True:
            at += 1 + int(faults.expovariate(1 / gap))
            if at >= end:
                break
            if faults.random() < scenes:
                lines += faults.choice(_SCENES)(faults, settings, at)
                continue
            word = faults.choice(kinds)
            drawn = WORDS[word].draw
            assert drawn is not None
            lines.append((at, word, *drawn(faults, settings)))
    lines.sort(key=lambda line: line[0])
    return tuple(lines)
