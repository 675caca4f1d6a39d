"""A seed's settings and script.

Not every run has every kind of fault: a few are drawn for each seed (swarm testing), since faults hide each other.
"""

from dataclasses import replace
from random import Random

from .faults import WORDS, a_long_ms, a_sid, a_side
from .run import Line, Settings

#: What a seed may choose from, in the table's order.
DRAWN = tuple(word for word in WORDS if WORDS[word].draw)


def _two_left_behind(rng: Random, settings: Settings, at: int) -> list[Line]:
    """Two miss different lengths of one epoch, and a leader ends between their returns."""
    first, second = rng.sample(settings.servers, 2)
    short = a_long_ms(rng, settings) // 2
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
    elif voters == 5 and Random(f"{seed}/seam").random() < 0.08:
        return _seam(settings)
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


def _seam(settings: Settings) -> tuple[Settings, tuple[Line, ...]]:
    """One scene in a world that it shows something in: a leader whose log begins at an image that it was sent. It takes
    five voters, two of which are away at a time, and drawn by chance it is one seed in a thousand (trap B7)."""
    settings = replace(
        settings, script_ms=15_000, snapshot_every=5, lazier=1000, snapshots_kept=1, recent_entries=3, transfer_ms=0,
        start_counter=0, handover_at=0, weights=0, groups=0,
    )  # fmt: skip
    rng = Random(f"{settings.seed}/seam/script")
    lines = [
        *_clients(settings, rng.choice((10, 30, 100))),
        *_behind_an_image(rng, settings, rng.randrange(1000, 3000)),
    ]
    return settings, tuple(sorted(lines, key=lambda line: line[0]))


def _shape(rng: Random, settings: Settings) -> int:
    if rng.random() < 0.5:
        return 1
    return 1 << a_sid(rng, settings) | a_side(rng, settings) << 16


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


def _clients(settings: Settings, gap: int) -> list[Line]:
    """What they ask, about every ``gap`` milliseconds."""
    clients = Random(f"{settings.seed}/clients")
    lines: list[Line] = []
    at = 0
    while at < settings.script_ms:
        at += 1 + int(clients.expovariate(1 / gap))
        lines.append((at, "read") if clients.random() < 0.15 else (at, "write", clients.choice((1, 1, 1, 2, 5, 20))))
    return lines


def _script(settings: Settings, rng: Random) -> tuple[Line, ...]:
    end = settings.script_ms
    warm = settings.tick_ms * rng.choice((0, 3, 10))
    lines = _clients(settings, rng.choice((10, 30, 100)))
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
