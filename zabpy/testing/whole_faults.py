"""What the script of a whole simulation can say, and how one is made from a seed.

A line is (milliseconds, word, argument…), and whatever lasts has its length in the line, so that any subset of a script
is a script. A few kinds of fault are drawn for each seed (swarm testing), since faults hide each other. To add a word:
a function, a row in `WORDS`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

import trio

from .disk import CutModel
from .run import Line
from .whole import MODELS, WholeSettings, WholeSimulation
from .whole_clients import change_observers, never_read
from .whole_machine import Machine

Args = tuple[Any, ...]
Sim = WholeSimulation


@dataclass(frozen=True)
class Word:
    """``act`` does it, or returns False when there was nothing to do; ``draw`` makes its arguments. ``fault``: the
    class of faults it belongs to; "": what it leads to is counted elsewhere, or it is none."""

    act: Callable[..., bool | None]
    draw: Callable[[Random, WholeSettings], Args]
    fault: str = ""


# Processes and machines ----------------------------------------------------------------------------------------------


def _model(number: int) -> CutModel | None:
    """0: the process is killed; 1 to 3: the power goes, and that is what the disk keeps."""
    return MODELS[number - 1] if number else None


def kill(sim: Sim, sid: int, ms: int) -> bool:
    return _crash(sim.machines[sid], 0, ms)


def power_cut(sim: Sim, sid: int, model: int, ms: int) -> bool:
    return _crash(sim.machines[sid], model, ms)


def kill_leader(sim: Sim, model: int, ms: int) -> bool:
    return sum(_crash(machine, model, ms) for machine in sim.machines.values() if machine.is_leader) > 0


def power_cut_all(sim: Sim, model: int, ms: int) -> bool:
    return sum(_crash(machine, model, ms) for machine in sim.machines.values()) == len(sim.machines)


def _crash(machine: Machine, model: int, ms: int) -> bool:
    if not machine.is_up:
        return False
    machine.crash(model=_model(model), down_ms=ms)
    return True


def kill_at_disk(sim: Sim, who: str, number: int, model: int, ms: int) -> None:
    """The power of whoever is in this role ("any") goes before or after its n-th disk operation from now."""
    sim.disk_traps.append([who, number, MODELS[model - 1], ms])


def kill_at_effect(sim: Sim, sid: int, number: int, ms: int) -> None:
    machine = sim.machines[sid]
    if machine.life is not None:
        machine.down_ms, machine.life.effects_left = ms, number


def pause(sim: Sim, sid: int, ms: int) -> bool:
    machine = sim.machines[sid]
    return machine.freeze() and _later(sim, ms, machine.thaw)


def pause_leader(sim: Sim, ms: int) -> bool:
    return sum(pause(sim, machine.id, ms) for machine in sim.machines.values() if machine.is_leader) > 0


def pause_client(sim: Sim, number: int, ms: int) -> bool:
    client = sim.clients[number - 1]
    return client.freeze() and _later(sim, ms, client.thaw)


def jump_clock(sim: Sim, sid: int, ms: int) -> None:
    """The wall clock of a server, forth or back."""
    sim.machines[sid].clock.wall_jump_ms += ms


# Disks ---------------------------------------------------------------------------------------------------------------


def fail_disk(sim: Sim, sid: int, kind: str, ms: int) -> None:
    """The next operation of this kind is refused."""
    machine = sim.machines[sid]
    machine.fails, machine.down_ms = kind, ms


def slow_disk(sim: Sim, sid: int, factor: int, ms: int) -> None:
    machine = sim.machines[sid]
    machine.disk_factor = factor

    def end() -> None:
        machine.disk_factor = 1

    _later(sim, ms, end)


def stall_disk(sim: Sim, sid: int, ms: int) -> None:
    """Nothing is finished for a while, then all at once."""
    sim.disturb(ms)
    machine = sim.machines[sid]
    machine.stalled_until = max(machine.stalled_until, trio.current_time() + ms / 1000)


def full_disk(sim: Sim, sid: int, room: int, ms: int) -> None:
    """There is room for so many bytes more."""
    files = sim.machines[sid].files
    files.bytes_max = files.used + room

    def end() -> None:
        files.bytes_max = None

    _later(sim, ms, end)


# The network ---------------------------------------------------------------------------------------------------------


def _host(id: int | str) -> str:
    return f"server{id}" if isinstance(id, int) else id


def _cut(sim: Sim, pairs: list[tuple[str, str]], ms: int) -> bool:
    for pair in pairs:
        sim.network.cut(*pair)

    def end() -> None:
        for pair in pairs:
            sim.network.heal(*pair)

    return _later(sim, ms, end)


def _pairs(sim: Sim) -> list[tuple[int, int]]:
    servers = sim.settings.servers
    return [(a, b) for a in servers for b in servers if a != b]


def _cut_servers(sim: Sim, pairs: list[tuple[int, int]], ms: int) -> bool:
    return _cut(sim, [(_host(a), _host(b)) for a, b in pairs], ms)


def isolate(sim: Sim, sid: int, ms: int) -> bool:
    return _cut_servers(sim, [pair for pair in _pairs(sim) if sid in pair], ms)


def isolate_leader(sim: Sim, ms: int) -> bool:
    return sum(isolate(sim, machine.id, ms) for machine in sim.machines.values() if machine.is_leader) > 0


def split(sim: Sim, side: int, ms: int) -> bool:
    return _cut_servers(sim, [(a, b) for a, b in _pairs(sim) if (side >> a & 1) != (side >> b & 1)], ms)


def cut(sim: Sim, sender: int, receiver: int, ms: int) -> bool:
    return _cut_servers(sim, [(sender, receiver)], ms)


def deafen(sim: Sim, sid: int, ms: int) -> bool:
    return _cut_servers(sim, [pair for pair in _pairs(sim) if pair[1] == sid], ms)


def mute(sim: Sim, sid: int, ms: int) -> bool:
    return _cut_servers(sim, [pair for pair in _pairs(sim) if pair[0] == sid], ms)


def bridge(sim: Sim, middle: int, side: int, ms: int) -> bool:
    pairs = [(a, b) for a, b in _pairs(sim) if middle not in (a, b) and (side >> a & 1) != (side >> b & 1)]
    return bool(pairs) and _cut_servers(sim, pairs, ms)


def ring(sim: Sim, ms: int) -> bool:
    count = len(sim.settings.servers)
    pairs = [(a, b) for a, b in _pairs(sim) if abs(a - b) not in (1, count - 1)]
    return bool(pairs) and _cut_servers(sim, pairs, ms)


def cut_client(sim: Sim, number: int, sid: int, ways: int, ms: int) -> bool:
    """``ways``: 1 what it says, 2 what it is told, 3 both."""
    client, server = f"client{number}", _host(sid)
    pairs = [(client, server)] * (ways & 1) + [(server, client)] * (ways >> 1)
    return _cut(sim, pairs, ms)


def isolate_client(sim: Sim, number: int, ways: int, ms: int) -> bool:
    for sid in sim.settings.servers:
        cut_client(sim, number, sid, ways, ms)
    return True


def break_at(sim: Sim, one: str, other: str, size: int) -> bool:
    """All connections from the one to the other break once so many bytes more have arrived there."""
    found = sim.network.between(one, other)
    for connection in found:
        connection.direction(one).breaks_after = size
    return bool(found)


def half_close(sim: Sim, one: str, other: str) -> bool:
    found = sim.network.between(one, other)
    for connection in found:
        connection.direction(one).half_close()
    return bool(found)


def reset_host(sim: Sim, host: str) -> bool:
    found = sim.network.of_host(host)
    for connection in found:
        connection.reset()
    return bool(found)


def clog(sim: Sim, sender: str, receiver: str, ms: int) -> None:
    sim.disturb(ms)
    path = sim.network.path(sender, receiver)
    path.clogged_until = max(path.clogged_until, trio.current_time() + ms / 1000)


def delay(sim: Sim, sender: str, receiver: str, delay_us: int, ms: int) -> None:
    path = sim.network.path(sender, receiver)
    path.delay_us = delay_us

    def end() -> None:
        path.delay_us = 0

    _later(sim, ms, end)


def slow_link(sim: Sim, sender: str, receiver: str, rate: int, ms: int) -> None:
    """So many bytes a second, and no more."""
    path = sim.network.path(sender, receiver)
    path.rate = rate

    def end() -> None:
        path.rate = 0

    _later(sim, ms, end)


# Clients -------------------------------------------------------------------------------------------------------------


def leave(sim: Sim, number: int) -> None:
    sim.clients[number - 1].leave()


def abandon(sim: Sim, number: int) -> None:
    sim.clients[number - 1].abandon()


def observers_change(sim: Sim, sid: int, joins: int, ms: int) -> bool:
    """An observer is let in, or has to leave, by somebody who tries for so long."""
    if sid <= sim.settings.voters:
        return False
    text = sim.machines[sid].line
    joining, leaving = (text, "") if joins else ("", str(sid))
    sim.nursery.start_soon(_operated, sim, joining, leaving, ms / 1000)
    return True


async def _operated(sim: Sim, joining: str, leaving: str, seconds: float) -> None:
    with trio.CancelScope() as scope:
        sim.operators.append(scope)
        await change_observers(sim, joining, leaving, seconds)


def glutton(sim: Sim, sid: int, ms: int) -> None:
    sim.disturb(ms)
    sim.nursery.start_soon(never_read, sim, _host(sid), ms / 1000)


def _later(sim: Sim, ms: int, end: Callable[[], None]) -> bool:
    """The fault ends after so long."""
    sim.disturb(ms)

    async def wait() -> None:
        await trio.sleep(ms / 1000)
        if not sim.healed:
            end()

    sim.nursery.start_soon(wait)
    return True


# Drawing -------------------------------------------------------------------------------------------------------------


def _sid(rng: Random, settings: WholeSettings) -> int:
    return rng.choice(settings.servers)


def _number(rng: Random, settings: WholeSettings) -> int:
    return rng.randint(1, settings.clients)


def _ms(rng: Random, settings: WholeSettings) -> int:
    """Mostly short, sometimes longer than every timeout."""
    return int(settings.tick_ms * (0.2 + 25 * rng.random() ** 4))


def _long_ms(rng: Random, settings: WholeSettings) -> int:
    return settings.tick_ms * rng.randrange(5, 35)


def _one(rng: Random, settings: WholeSettings) -> Args:
    return _sid(rng, settings), _ms(rng, settings)


def _ends(rng: Random, settings: WholeSettings) -> tuple[str, str]:
    """Two hosts that may be connected: servers, or a client and a server."""
    one, other = rng.sample(settings.servers, 2)
    ends = [_host(one), _host(other)] if rng.random() < 0.5 else [f"client{_number(rng, settings)}", _host(other)]
    rng.shuffle(ends)
    return ends[0], ends[1]


def _side(rng: Random, settings: WholeSettings) -> int:
    return rng.randrange(1, 2 ** len(settings.servers) - 1) << 1


def _cut_model(rng: Random) -> int:
    return rng.randint(1, 3)


def _at_disk(rng: Random, settings: WholeSettings) -> Args:
    who = rng.choice(("any", "leading", "following"))
    return who, rng.randrange(1, 30), _cut_model(rng), _ms(rng, settings)


WORDS: dict[str, Word] = {
    "kill": Word(kill, _one, "F1"),
    "kill-leader": Word(kill_leader, lambda rng, s: (rng.randint(0, 3), _ms(rng, s)), "F1"),
    "kill-at-disk": Word(kill_at_disk, _at_disk),
    "kill-at-effect": Word(kill_at_effect, lambda rng, s: (_sid(rng, s), rng.randrange(1, 60), _ms(rng, s))),
    "power-cut-all": Word(power_cut_all, lambda rng, s: (_cut_model(rng), _ms(rng, s)), "F3"),
    "power-cut": Word(power_cut, lambda rng, s: (_sid(rng, s), _cut_model(rng), _ms(rng, s)), "F4"),
    "leave-behind": Word(power_cut, lambda rng, s: (_sid(rng, s), _cut_model(rng), _long_ms(rng, s)), "F4"),
    "fail-disk": Word(fail_disk, lambda rng, s: (_sid(rng, s), rng.choice(("sync", "write")), _ms(rng, s))),
    "slow-disk": Word(slow_disk, lambda rng, s: (_sid(rng, s), rng.choice((5, 20, 80)), _ms(rng, s)), "F7"),
    "stall-disk": Word(stall_disk, _one, "F7"),
    "full-disk": Word(full_disk, lambda rng, s: (_sid(rng, s), rng.choice((0, 3_000, 20_000)), _ms(rng, s))),
    "isolate": Word(isolate, _one, "F12"),
    "isolate-leader": Word(isolate_leader, lambda rng, s: (_ms(rng, s),), "F12"),
    "split": Word(split, lambda rng, s: (_side(rng, s), _ms(rng, s)), "F12"),
    "cut-client": Word(
        cut_client, lambda rng, s: (_number(rng, s), _sid(rng, s), rng.randint(1, 3), _ms(rng, s)), "F12"
    ),
    "isolate-client": Word(
        isolate_client, lambda rng, s: (_number(rng, s), rng.randint(1, 3), _long_ms(rng, s)), "F12"
    ),
    "cut": Word(cut, lambda rng, s: (*rng.sample(s.servers, 2), _ms(rng, s)), "F13"),
    "deafen": Word(deafen, _one, "F13"),
    "mute": Word(mute, _one, "F13"),
    "bridge": Word(bridge, lambda rng, s: (_sid(rng, s), _side(rng, s), _ms(rng, s)), "F14"),
    "ring": Word(ring, lambda rng, s: (_ms(rng, s),), "F14"),
    # Counted when it breaks.
    "break-at": Word(break_at, lambda rng, s: (*_ends(rng, s), int(10 ** (4 * rng.random())) - 1)),
    "half-close": Word(half_close, lambda rng, s: _ends(rng, s), "F16"),
    "reset-host": Word(reset_host, lambda rng, s: (rng.choice(_ends(rng, s)),), "F16"),
    "clog": Word(clog, lambda rng, s: (*_ends(rng, s), _ms(rng, s)), "F17"),
    "delay": Word(delay, lambda rng, s: (*_ends(rng, s), rng.choice((5_000, 30_000, 150_000)), _ms(rng, s)), "F17"),
    "jump-clock": Word(
        jump_clock, lambda rng, s: (_sid(rng, s), rng.choice((-86_400_000, -3_000, 500, 60_000, 86_400_000))), "F20"
    ),
    "pause": Word(pause, _one, "F21"),
    "pause-leader": Word(pause_leader, lambda rng, s: (_ms(rng, s),), "F21"),
    "pause-client": Word(pause_client, lambda rng, s: (_number(rng, s), _ms(rng, s)), "F21"),
    "slow-link": Word(slow_link, lambda rng, s: (*_ends(rng, s), rng.choice((500, 5_000, 50_000)), _ms(rng, s)), "F22"),
    "glutton": Word(glutton, _one, "F23"),
    "abandon": Word(abandon, lambda rng, s: (_number(rng, s),), "F1"),
    # Counted when it is done.
    "observers": Word(observers_change, lambda rng, s: (s.servers[-1], rng.randrange(2), _long_ms(rng, s))),
    "leave": Word(leave, lambda rng, s: (_number(rng, s),)),
}


def draw(seed: int) -> tuple[WholeSettings, tuple[Line, ...]]:
    """The settings and the script of a seed."""
    rng = Random(f"{seed}/whole/settings")
    settings = WholeSettings(
        seed=seed,
        voters=rng.choice((3, 3, 3, 5)),
        observers=rng.choice((0, 0, 1)),
        clients=rng.choice((2, 3)),
        client_gap_ms=rng.choice((20, 40, 80)),
        tick_ms=rng.choice((50, 100, 100, 200)),
        script_ms=rng.choice((1_500, 2_500, 4_000)),
        latency_us=rng.choice((100, 300, 2_000)),
        jitter_us=rng.choice((200, 2_000, 10_000)),
        spike_permille=rng.choice((0, 2, 10)),
        spike_us=rng.choice((20_000, 100_000)),
        split_permille=rng.choice((0, 50, 500)),
        disk_us=rng.choice((100, 1_000, 4_000)),
        disk_jitter_us=rng.choice((500, 8_000)),
        snapshot_entries=rng.choice((10, 30, 100, 1_000)),
        snapshots_kept=rng.choice((3, 3, 5)),
    )
    return settings, _script(settings)


def _script(settings: WholeSettings) -> tuple[Line, ...]:
    rng = Random(f"{settings.seed}/whole/faults")
    kinds = rng.sample(list(WORDS), rng.choice((1, 2, 3, 5, 8, len(WORDS))))
    gap = rng.choice((60, 150, 400)) * settings.tick_ms / 100
    lines: list[Line] = []
    at = 0
    while (at := at + 1 + int(rng.expovariate(1 / gap))) < settings.script_ms:
        word = rng.choice(kinds)
        lines.append((at, word, *WORDS[word].draw(rng, settings)))
    return tuple(lines)
