"""How a run ends: without faults the leader has stayed (L2); once faults end, a core converges before long (L1)."""

from typing import TYPE_CHECKING

from zabpy.model import zxid_text
from zabpy.zab.effects import Phase, Role

from .facts import ViolationError

if TYPE_CHECKING:
    from .simulation import Simulation


def check_calm(sim: "Simulation") -> None:
    leaders = sim.counts.get("leaders", 0)
    if sim.settings.calm and leaders != 1:
        raise ViolationError("L2", "NoNeedlessElection", f"{leaders} leaders without any fault")


def converge(sim: "Simulation") -> None:
    heal(sim)
    settings = sim.settings
    limit_ms = (settings.init_limit + 2 * settings.sync_limit + 10) * settings.tick_ms + 3 * settings.transfer_ms
    # The history may have to be sent from disk, where a slice takes a millisecond; and then once more.
    limit_ms += 2 * len(sim.facts.chosen) // settings.slice_entries
    begun, end = sim.now, sim.now + limit_ms * 1000
    voters = range(1, settings.voters + 1)
    if settings.shape and all(sim.servers[sid].platter.tip.zxid for sid in voters):
        # With an empty log among them, perhaps nobody both reaches a quorum that may elect and is recent enough.
        _converge_in_shape(sim, end, limit_ms)
        return
    wrote = False
    while True:
        sim.run_until(sim.now + settings.tick_ms * 500)
        why = _unsettled(sim)
        if why is None and not wrote:
            wrote = True
            sim.write(1)
        elif why is None:
            sim.counts["converged after ms"] = (sim.now - begun) // 1000
            return
        if sim.now >= end:
            raise ViolationError("L1", "Convergence", f"{limit_ms} ms after the faults ended: {why or 'no write'}")


def _converge_in_shape(sim: "Simulation", end: int, limit_ms: int) -> None:
    """Cut for good what the shape lacks; a new write must be acked."""
    count, sides = len(sim.settings.servers), sim.settings.shape >> 16
    for a, b in sim.network.paths:
        if sides:
            middle = sim.settings.shape >> a & 1 or sim.settings.shape >> b & 1
            lacks = not middle and (sides >> a & 1) != (sides >> b & 1)
        else:
            lacks = abs(a - b) not in (1, count - 1)
        if lacks:
            sim.network.cut(a, b)
    wanted = sim.counts.get("writes acked", 0)
    while sim.counts.get("writes acked", 0) == wanted:
        if sim.now >= end:
            raise ViolationError("L1", "Convergence", f"{limit_ms} ms after the faults ended no write is acked")
        sim.run_until(sim.now + sim.settings.tick_ms * 500)
        wanted = sim.counts.get("writes acked", 0)
        sim.write(1)
        sim.run_until(sim.now + sim.settings.tick_ms * 500)


def _unsettled(sim: "Simulation") -> str | None:
    """Why the core has not converged; None when it has."""
    core = [sim.processes.get(sid) for sid in sim.core]
    leaders = [p for p in core if p is not None and p.role is Role.LEADING and p.phase is Phase.BROADCAST]
    if len(leaders) != 1:
        return f"{leaders} lead"
    leader = leaders[0]
    for process in core:
        if process is not None and process.sid not in leader.replica.ensemble.servers:
            if process.phase is Phase.BROADCAST:
                return f"{process} follows, and is no observer any more"
            continue
        if process is None or process.phase is not Phase.BROADCAST:
            return f"{process} is not in BROADCAST"
        if process is not leader and process.leader != leader.sid:
            return f"{process} follows {process.leader}, not {leader.sid}"
        if process.state.tip != leader.state.tip or leader.waiting:
            return f"{process} has delivered {zxid_text(process.state.tip.zxid)}"
    return None


def heal(sim: "Simulation") -> None:
    """Faults end for the core; the others stay dead, or are cut off from it."""
    sim.healed = True
    sim.traps.clear()
    sim.core = core = _fit_core(sim)
    sim.say(f"--- heal {core}")
    for sid in sim.settings.servers:
        server = sim.servers[sid]
        process = sim.processes.get(sid)
        if sid in core:
            server.disk_factor, server.disk_stalled_until, server.disk_fails = 1, 0, False
            server.disk_full_until = 0
            if process is not None:
                process.effects_left = 0
                if process.paused:
                    sim.resume(process)
            else:
                sim.start_server(sid)
        elif sim.settings.rest_dead and process is not None:
            sim.crash(process, power=True, down_ms=0)
        else:
            for peer in core:
                sim.network.cut(sid, peer)
                sim.network.cut(peer, sid)
    sim.network.heal_all(set(core))


def _fit_core(sim: "Simulation") -> list[int]:
    """The core, with as many voters more as it takes for a quorum that is not empty-handed: a server with an empty
    log does not help to elect among servers that hold data (trap B11), so without such a quorum nobody may lead."""
    settings, core = sim.settings, sim.settings.core_servers
    holding = [sid for sid in range(1, settings.voters + 1) if sim.servers[sid].platter.tip.zxid]
    for sid in holding:
        if sid not in core and not settings.decides({*core} & {*holding}):
            core.append(sid)
    for sid in range(1, settings.voters + 1):  # what was drawn is a majority, which need not be most of the weight
        if sid not in core and not settings.decides(core):
            core.append(sid)
    return sorted(core)
