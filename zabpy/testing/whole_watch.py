"""What a whole simulation sees of one life of a server, and tells the checkers of checkers.py.

`Watch` stands between the real driver, replica and store: each effect is told of at the moment it is carried out, and
the platter, which is what must be on the disk, has what the store has said is durable.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from zabpy.model import NO_TIP, Entry, Tip, Zxid
from zabpy.zab.effects import (
    Append,
    Deliver,
    Install,
    Note,
    Phase,
    ReadConfirmed,
    Role,
    RoleChanged,
    Send,
    Truncate,
)
from zabpy.zab.inputs import Installed, ReadAsked, Received, SnapshotSaved, Submitted, Tick

from .checkers import SYNCS
from .disk import PowerLost
from .drive import Snapshot
from .facts import ViolationError

if TYPE_CHECKING:
    from .whole_machine import Life, Machine, WatchedServer

#: Of so many deliveries one is followed by a digest of the whole state.
DIGEST_EVERY = 16


class Watch:
    """Between one server's driver, its replica and its store."""

    def __init__(self, machine: "Machine", life: "Life", server: "WatchedServer") -> None:
        self._machine, self._life, self._server, self._sim = machine, life, server, machine.sim
        self._replica, self._store = server.replica, server.store
        self._deliveries = 0

    def begin(self) -> None:
        replica: Any = self._replica  # what is replaced here are methods
        store: Any = self._store
        step, start = replica.step, replica.start
        replica.step = lambda given, now_ms: self._step(step, given, now_ms)
        replica.start = lambda now_ms: self._carry_out(start(now_ms))
        append, truncate, save_epoch, install = (
            store.append_and_sync, store.truncate, store.save_epoch, store.install,
        )  # fmt: skip

        def do(kind: str, what: Any, right: Callable[[Any], None], done: Callable[[Any], None]) -> None:
            self._machine._under_way = kind, what
            right(what)
            self._check(lambda: done(what))
            self._machine._under_way = "", None

        store.append_and_sync = lambda entries: do("append", entries, append, self._appended)
        store.truncate = lambda after: do("truncate", after, truncate, self._truncated)
        store.save_epoch = lambda epoch: do("epoch", epoch, save_epoch, self._saved_epoch)
        store.install = lambda tip: do("install", tip, install, self._installed)

    def _check(self, look: Callable[[], None]) -> None:
        try:
            look()
        except ViolationError as error:
            self._sim.broke(error)
            raise PowerLost(str(error)) from error

    # The disk ---------------------------------------------------------------------------------------------------------

    def _appended(self, entries: Sequence[Entry]) -> None:
        self._sim.checkers.writing(self._life, entries)
        self._life.platter.append(list(entries))

    def _truncated(self, after: Zxid) -> None:
        self._sim.checkers.lost(self._life, self._life.platter.truncate(after))

    def _saved_epoch(self, epoch: int) -> None:
        self._sim.checkers.saving_epoch(self._life, epoch)
        self._life.platter.accepted_epoch = epoch

    def _installed(self, tip: Tip) -> None:
        snapshot = Snapshot(tip, self._machine.toy_at(tip).image())
        self._sim.checkers.installing(self._life, snapshot)
        self._sim.checkers.lost(self._life, self._life.platter.install(snapshot))

    # The replica ------------------------------------------------------------------------------------------------------

    def _step(self, step: Callable[..., Sequence[Any]], given: Any, now_ms: int) -> Iterator[Any]:
        sim, life, replica = self._sim, self._life, self._replica
        if not life.alive:
            raise PowerLost(f"{life} is no more")
        sim.stepped(life, given)
        kind = type(given)
        if kind is Submitted:
            sim.submitted.update(given.payloads)
        elif kind is ReadAsked:
            life.reads[given.number] = sim.facts.chosen_end
        elif kind is SnapshotSaved:
            self._check(lambda: self._snapshot_saved(given))
        elif kind is Installed:
            sim.count("images installed")
            self._check(lambda: self._loaded(given.tip))
        stale = kind is Received and replica.links.get(given.peer) != given.link
        effects = step(given, now_ms)
        if stale:
            sim.count("F19 message of a former link")
            if effects:
                self._check(lambda: sim.checkers.stale(life, given.message, effects))
        if kind is Tick:
            self._check(lambda: sim.checkers.ticked(life, now_ms))
        return self._carry_out(effects)

    def _snapshot_saved(self, given: SnapshotSaved) -> None:
        life, machine = self._life, self._machine
        if given.tip != life.platter.snapshot_tip and given.tip.zxid > life.platter.snapshot_tip.zxid:
            snapshot = Snapshot(given.tip, machine.toy_at(given.tip).image())
            self._sim.checkers.snapshot_saving(life, snapshot)
            life.platter.snapshots = [snapshot]
            self._sim.count("snapshots")
        machine._cut_base(given.log_base)

    def _loaded(self, tip: Tip) -> None:
        self._life.state = self._machine.toy_at(tip)
        self._sim.checkers.delivered(self._life)
        self._same_state()

    def _same_state(self) -> None:
        state = self._server.driver.state
        digest = state.digest()
        wanted = self._sim.witness.digests.get(state.last_applied)
        if digest != wanted:
            raise ViolationError("I17", "StateMachineEquality", f"{self._life} is in state {digest}, not {wanted}")

    def _carry_out(self, effects: Sequence[Any]) -> Iterator[Any]:
        life, sim = self._life, self._sim
        for effect in effects:
            if life.effects_left:
                life.effects_left -= 1
                if not life.effects_left:
                    sim.count("F2 crash between two effects")
                    self._machine.crash(model=sim.draw_model(), down_ms=self._machine.down_ms)
            if not life.alive:
                raise PowerLost(f"{life} is no more")
            look = _LOOKS.get(type(effect))
            if look is not None:
                self._check(lambda: look(self, effect))  # noqa: B023
            yield effect
            if type(effect) is Deliver:
                self._check(self._delivered)

    def _send(self, effect: Send) -> None:
        message = effect.message
        look = self._sim.checkers.sent.get(type(message))
        if look is not None:
            look(self._life, effect.peer, message)
        elif type(message) in SYNCS:
            self._sim.count(SYNCS[type(message)])

    def _append(self, effect: Append) -> None:
        self._sim.checkers.appended(self._life, effect.entries)
        last = effect.entries[-1]
        self._life.visible = Tip(last.zxid, last.chain)

    def _truncate(self, effect: Truncate) -> None:
        self._sim.checkers.truncated(self._life, effect.after)
        record = self._sim.facts.records.get(effect.after)
        self._life.visible = Tip(record.zxid, record.chain) if record else NO_TIP

    def _install(self, effect: Install) -> None:
        self._life.visible = effect.tip

    def _deliver(self, effect: Deliver) -> None:
        life: Any = self._life  # as a `Process`
        checkers = self._sim.checkers
        if life.role is Role.LEADING and effect.entries[-1].zxid > life.committed:
            checkers.commit(life, effect.entries[-1].zxid)
        for entry in effect.entries:
            checkers.delivering(life, entry)
            life.state.apply(entry)

    def _delivered(self) -> None:
        self._sim.checkers.delivered(self._life)
        self._deliveries += 1
        if not self._deliveries % DIGEST_EVERY:
            self._same_state()

    def _read_confirmed(self, effect: ReadConfirmed) -> None:
        self._sim.checkers.read_confirmed(self._life, effect.number, effect.zxid)
        self._sim.count("reads confirmed")

    def _role_changed(self, effect: RoleChanged) -> None:
        life, sim = self._life, self._sim
        life.role, life.phase, life.epoch, life.leader = effect.role, effect.phase, effect.epoch, effect.leader
        life.reads.clear()
        sim.checkers.role_changed(life)
        sim.say(f"{life} {effect.role} {effect.phase} epoch {effect.epoch} {effect.why}")
        if effect.role is Role.LEADING and effect.phase is Phase.BROADCAST:
            sim.count("leaders")

    def _note(self, effect: Note) -> None:
        self._sim.checkers.noted(self._life, effect)


_LOOKS: dict[type, Callable[[Watch, Any], None]] = {
    Send: Watch._send,
    Append: Watch._append,
    Truncate: Watch._truncate,
    Install: Watch._install,
    Deliver: Watch._deliver,
    ReadConfirmed: Watch._read_confirmed,
    RoleChanged: Watch._role_changed,
    Note: Watch._note,
}
