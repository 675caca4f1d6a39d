"""Whole servers and whole clients in one process and one thread, on a clock that jumps; the same run for the same seed.

The servers are those of `zabpy.server`, with driver, pipeline, storage, sessions and client port; the clients are
`zabpy.client`'s. Simulated are time, the network (whole_network.py), disks (disk.py), and machines, which lose power,
freeze and come back (whole_machine.py). What is done to them stands in a script made up front (whole_faults.py). Then
everything is healed; all servers have to serve, every client has to get on, and all replicas to be the same.

The invariants are those of checkers.py, on each server's own effects, and those of whole_witness.py, on every answer.
"""

import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, cast

import trio

from zabpy.model import Member, Zxid, zxid_text
from zabpy.server import Config

from . import repeatable
from .checkers import ALL, Checkers
from .disk import CutModel
from .facts import Facts, ViolationError
from .run import Line, RunResult, RunSettings
from .whole_clients import CLIENT_PORT, NO, OK, Attempt, SimClient, change_observers
from .whole_machine import Machine
from .whole_network import WholeNetwork
from .whole_witness import Committed, SessionView, Witness

PEER_PORT = 2888
#: The identity digest of ``super:test``.
SUPER_DIGEST = "super:D/InIHSb7yEEbrWz8b9l71RjZJU="
POLL_SECONDS = 0.02
#: Before the script: servers to be up, clients to be at work.
WARM_MS = 1_500
#: Events in a run, at most: more is somebody who talks without end.
EVENTS_MAX = 2_000_000
MODELS = (CutModel.PREFIX, CutModel.PIECES, CutModel.ANY_ORDER)


@dataclass(frozen=True)
class WholeSettings(RunSettings):
    """A run of `WholeSimulation`."""

    voters: int = 3
    script_ms: int = 5_000
    spike_permille: int = 2
    spike_us: int = 50_000
    snapshots_kept: int = 3
    clients: int = 3
    client_gap_ms: int = 20
    split_permille: int = 50
    snapshot_entries: int = 50


class WholeResult(RunResult[WholeSettings]):
    """What a run of `WholeSimulation` came to."""

    @property
    def is_vacuous(self) -> bool:
        """Faults, and hardly anybody who was served meanwhile."""
        return self.counts.get("writes acked during faults", 0) < 5


class WholeSimulation:
    """One run. `run` it once."""

    def __init__(self, settings: WholeSettings, script: Sequence[Line], *, record: bool = False) -> None:
        self.settings, self.script = settings, tuple(script)
        self.counts: dict[str, int] = {}
        self.lines: list[str] | None = [] if record else None
        self.events = self.trace = 0
        self.violation: ViolationError | None = None
        self.healed = self.over = False
        self.operators: list[trio.CancelScope] = []
        self.disturbed_until = 0.0
        #: Power cuts that wait for a disk operation: [who, how many, model, down_ms].
        self.disk_traps: list[list[Any]] = []
        self.submitted: set[bytes] = set()
        self.attempts: list[Attempt] = []
        self.sessions: dict[int, SessionView] = {}
        self.machines: dict[int, Machine] = {}
        self.clients: list[SimClient] = []
        self._numbered: dict[str, Zxid] = {}
        self._models = self.random_for("models")

    @property
    def servers(self) -> dict[int, Machine]:
        """As the checkers call them."""
        return self.machines

    # Chance, counting, telling ----------------------------------------------------------------------------------------

    def random_for(self, concern: str) -> Random:
        return Random(f"{self.settings.seed}/whole/{concern}")

    def draw_model(self) -> CutModel:
        return self._models.choice(MODELS)

    def count(self, what: str, times: int = 1) -> None:
        self.counts[what] = self.counts.get(what, 0) + times

    def say(self, text: str) -> None:
        if self.lines is not None:
            self.lines.append(f"{trio.current_time() * 1000:10.3f} {text}")

    def log_line(self, line: str) -> None:
        if self.lines is not None:
            self.say("    " + line.rstrip().partition(" ")[2])

    def disturb(self, ms: int) -> None:
        """Something is broken for that long."""
        self.disturbed_until = max(self.disturbed_until, trio.current_time() + ms / 1000)

    def broke(self, error: ViolationError) -> None:
        """An invariant does not hold: the run ends."""
        if self.violation is None:
            self.violation = error
            self.say(f"violation {error}")
            self._scope.cancel()

    def stepped(self, life: object, given: object) -> None:
        self.events += 1
        if self.events > EVENTS_MAX:
            self.broke(ViolationError("I25", "Bounds", "somebody talks without end"))

    def moved(self, sender: str, receiver: str, data: bytes) -> None:
        """These bytes have arrived: the trace of the run is made of this."""
        self.events += 1
        head = f"{int(trio.current_time() * 1e6)} {sender} {receiver} {len(data)}".encode()
        self.trace = zlib.crc32(data, zlib.crc32(head, self.trace))

    def write_acked(self) -> None:
        self.count("writes acked")
        if trio.current_time() < self.disturbed_until:
            self.count("writes acked during faults")

    def attempted(self, attempt: Attempt) -> None:
        """A client has been told what became of a write: it must be so now, and at the end."""
        self.attempts.append(attempt)
        try:
            self._check_attempt(attempt)
        except ViolationError as error:
            self.broke(error)

    def _check_attempt(self, attempt: Attempt) -> None:
        times = len(self.witness.payloads.get(attempt.payload, ()))
        if {OK: times != 1, NO: times != 0}.get(attempt.outcome, times > 1):
            text = f"{attempt.client} was told {attempt.outcome!r} of its {attempt.what} of {attempt.payload!r}"
            raise ViolationError("I19", "Outcomes", f"{text}, which was done {times} times")

    def numbered(self, path: str, zxid: Zxid) -> None:
        """A name in sequence was given away."""
        if path in self._numbered:
            text = f"{path} was created at {zxid_text(self._numbered[path])} and at {zxid_text(zxid)}"
            self.broke(ViolationError("I20", "SequenceNumbers", text))
        self._numbered[path] = zxid

    def hosts_for(self, rng: Random) -> str:
        """The servers as one client is told of them: some, or all."""
        ids = list(self.settings.servers)
        rng.shuffle(ids)
        return ",".join(f"server{id}:{CLIENT_PORT}" for id in ids[: rng.choice((2, len(ids), len(ids)))])

    # The run ----------------------------------------------------------------------------------------------------------

    def run(self) -> WholeResult:
        """All of it. Whatever breaks is in the result, not raised."""
        begun = time.process_time()
        repeatable.run(self.settings.seed, self._main)
        return WholeResult(
            self.settings,
            self.script,
            self.violation,
            self.events,
            self._simulated_ms,
            self.trace,
            self.counts,
            time.process_time() - begun,
            self.lines or [],
        )

    async def _main(self) -> None:
        settings = self.settings
        self.freezer = repeatable.Freezer()
        self.network = WholeNetwork(
            self.random_for("network"),
            latency_us=settings.latency_us,
            jitter_us=settings.jitter_us,
            spike_permille=settings.spike_permille,
            spike_us=settings.spike_us,
            split_permille=settings.split_permille,
            count=self.count,
            moved=self.moved,
        )
        self.facts = Facts(cast(Any, self), None)
        self.checkers = Checkers(self.facts, (*ALL[:-1], Committed, ALL[-1]))
        configs = self._configs()
        self.witness = Witness(
            standalone=False, config=configs[1].members_text().encode(), session_believes=self._session_believes
        )
        self.machines = {id: Machine(self, id, config) for id, config in configs.items()}
        self.clients = [SimClient(self, number) for number in range(1, settings.clients + 1)]
        with trio.CancelScope() as self._scope:
            async with trio.open_nursery() as nursery:
                self.nursery = nursery
                try:
                    await self._story(nursery)
                except ViolationError as error:
                    self.broke(error)
                finally:
                    self._thaw()  # who is frozen would never end
                    nursery.cancel_scope.cancel()
        self._simulated_ms = int(trio.current_time() * 1000)

    async def _story(self, nursery: trio.Nursery) -> None:
        nursery.start_soon(self.network.run)
        for machine in self.machines.values():
            nursery.start_soon(machine.live)
        for client in self.clients:
            nursery.start_soon(client.live)
        await self._play(nursery)
        self.heal()
        await self._converge()
        self.over = True
        for client in self.clients:
            client.leave()
        await self._until(lambda: all(client.is_over for client in self.clients), 60, "clients do not end")
        await self._end()

    async def _play(self, nursery: trio.Nursery) -> None:
        from .whole_faults import WORDS

        for at_ms, name, *arguments in self.script:
            await trio.sleep_until((WARM_MS + at_ms) / 1000)
            word = WORDS[name]
            self.say("--- " + " ".join(map(str, (name, *arguments))))
            if word.act(self, *arguments) is not False and word.fault:
                self.count(f"{word.fault} {name}")
        await trio.sleep_until((WARM_MS + self.settings.script_ms) / 1000)

    def heal(self) -> None:
        """All faults end."""
        self.say("--- heal")
        self.healed = True
        # Whoever still tries to have an observer leave would do so when all have been let in again.
        for operator in self.operators:
            operator.cancel()
        self.disk_traps.clear()
        self.network.heal_all()
        self._thaw()
        for machine in self.machines.values():
            machine.disk_factor, machine.stalled_until, machine.fails = 1, 0.0, ""
            machine.files.bytes_max = None
            if machine.life is not None:
                machine.life.effects_left = 0
            machine.start_now()

    def _thaw(self) -> None:
        for machine in self.machines.values():
            machine.thaw()
        for client in self.clients:
            client.thaw()

    async def _converge(self) -> None:
        """L1: before long all serve, and every client gets a write done."""
        settings, since = self.settings, trio.current_time()
        ticks = settings.init_limit + 2 * settings.sync_limit + 10
        while self.settings.observers and not await self._let_in():
            if trio.current_time() > since + 40 * settings.tick_ms / 1000:
                raise ViolationError("L1", "Convergence", "observers cannot be let in")
        await self._until(lambda: all(machine.serving for machine in self.machines.values()), ticks, "not all serve")
        # Clients back off, for up to their session's time and more; watches and deletes are no writes that are acked.
        await self._until(
            lambda: all(client.last_ok > since for client in self.clients), 100, "a client gets nothing done"
        )
        self.counts["converged after ms"] = int((trio.current_time() - since) * 1000)

    async def _let_in(self) -> bool:
        """All observers, whoever has had them leave."""
        settings = self.settings
        observers = [machine for machine in self.machines.values() if machine.id > settings.voters]
        joining = ",".join(machine.line for machine in observers)
        return await change_observers(self, joining, "", 25 * settings.tick_ms / 1000)

    async def _until(self, holds: Any, ticks: int, what: str) -> None:
        """Look every `POLL_SECONDS` of virtual time: these conditions are of many, and none of them tells."""
        until = trio.current_time() + ticks * self.settings.tick_ms / 1000
        while not holds():
            if trio.current_time() > until:
                machines = [f"{m.host}: {m.life and (m.life.role, m.life.phase)}" for m in self.machines.values()]
                clients = [f"{c.name}: {c.zk and c.zk.state}, {c.last_ok:.3f}" for c in self.clients]
                raise ViolationError("L1", "Convergence", f"{what} after {ticks} ticks: {machines} {clients}")
            await trio.sleep(POLL_SECONDS)

    async def _end(self) -> None:
        """All sessions end in time, and with them their znodes; all replicas are the same; nothing acked is missing."""
        witness = self.witness

        def is_quiet() -> bool:
            states = [machine.server.driver.state for machine in self.machines.values() if machine.server is not None]
            return (
                len(states) == len(self.machines)
                and all(state.last_applied == witness.end for state in states)
                and not witness.state.sessions.ids()
            )

        # The largest timeout, what a new leader gives them from the start, and the ticks in which it looks.
        await self._until(is_quiet, 3 * 20 + 40, "sessions that nobody has any more do not end")
        for machine in self.machines.values():
            assert machine.server is not None
            digest = machine.server.driver.state.digest()
            if digest != witness.digests[witness.end]:
                raise ViolationError("I17", "StateMachineEquality", f"{machine.host} ends in state {digest}")
        left = [path for path in witness.state.tree.nodes if path.startswith("/e/")]
        if left or len(witness.state.tree.ephemerals):
            raise ViolationError("I22", "Ephemerals", f"{left} are there, and no sessions")
        for attempt in self.attempts:
            self._check_attempt(attempt)

    def _session_believes(self, session_id: int) -> str:
        return next((why for client in self.clients if (why := client.believes(session_id))), "")

    def _configs(self) -> dict[int, Config]:
        settings = self.settings
        members = tuple(
            Member(id, f"server{id}", PEER_PORT, PEER_PORT + 1000, voter=id <= settings.voters)
            for id in settings.servers
        )
        return {
            id: Config(
                path=f"server{id}.cfg",
                server_id=id,
                members=members,
                data_dir=f"/server{id}",
                data_log_dir=f"/server{id}",
                client_host=f"server{id}",
                client_port=CLIENT_PORT,
                tick_ms=settings.tick_ms,
                init_limit_ticks=settings.init_limit,
                sync_limit_ticks=settings.sync_limit,
                peer_dial_timeout_ms=5 * settings.tick_ms,
                handshake_timeout_ms=10 * settings.tick_ms,
                address_connections_max=0,
                snapshot_entries=settings.snapshot_entries,
                snapshots_kept=settings.snapshots_kept,
                log_segment_bytes=16 << 10,
                reconfig=True,
                super_digest=SUPER_DIGEST,
            )
            for id in settings.servers
        }
