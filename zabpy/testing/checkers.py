"""What must hold at every event of a simulation, by names and numbers (I1, I2, ...) that stand with each.

The checkers see everything: each server's disk, each message, each delivery, over the whole run and across crashes.
They are told at the moment something happens, so a broken rule is seen where it is broken and not two crashes later.
All are checked at every event that could break them; only L1 (once faults end, a core converges) and L2 (without
faults no leader changes) are checked at the end of a run, by `Simulation` itself, and I26 at every start.

What several of them need stands in facts.py.

I5 (prefix property) is `UniqueProposals` on that tree; I13 and I14 follow from I3, I10 and I11; I25 is watched
for the timers and the number of events; what concerns clients, sessions and watches (I19, I20, I22, I23) begins above
this tier, see history_checks.py, and whole_witness.py for whole servers in simulated time; I16 is asserted of the
committing leader's epoch, see `NoLateCommit`.

To add one: a class with an `id`, a docstring and any of the methods of `HOOKS`; then a row in `ALL`.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from zabpy.model import (
    COUNTER_HANDOVER,
    Entry,
    Zxid,
    chain_of,
    counter_of,
    epoch_of,
    make_zxid,
    succeeds,
    zxid_text,
)
from zabpy.zab import Ensemble
from zabpy.zab.effects import Note, Phase, Role
from zabpy.zab.messages import Ack, AckEpoch, Commit, Diff, Image, LeaderInfo, Message, Notification, Trunc
from zabpy.zab.roles import Leading

from .drive import Snapshot
from .facts import BATCH_MAX, Facts, State, ViolationError

if TYPE_CHECKING:
    from .process import Process


class Checker:
    """One invariant. ``facts`` is shared; `HOOKS` are called when defined."""

    id = ""

    def __init__(self, facts: Facts) -> None:
        self.facts, self.sim = facts, facts.sim

    def fail(self, text: str) -> ViolationError:
        return ViolationError(self.id, type(self).__name__, text)


class UniqueProposals(Checker):
    """For each zxid one record, everywhere and always, and one history before it."""

    id = "I4"

    def appended(self, process: "Process", entries: Sequence[Entry]) -> None:
        facts = self.facts
        records, parents = facts.records, facts.parents
        zxid, chain = process.visible
        for entry in entries:
            known = records.get(entry.zxid)
            if known is None:
                if chain_of(chain, entry.zxid, entry.payload) != entry.chain:
                    raise self.fail(f"{process} appends {_name(entry)} with a checksum of another history")
                if counter_of(entry.zxid) == 0:
                    self._establish(process, epoch_of(entry.zxid))
                facts.sim.checkers.new_record(process, entry)
                records[entry.zxid] = entry
                parents[entry.zxid] = zxid
            elif known != entry:
                raise self.fail(f"{process} appends {entry}, but {known} has been there")
            elif parents.get(entry.zxid, 0) != zxid:
                raise self.fail(f"{process} appends {_name(entry)} after {zxid_text(zxid)}, not where it belongs")
            zxid, chain = entry.zxid, entry.chain

    def _establish(self, process: "Process", epoch: int) -> None:
        facts = self.facts
        self.sim.checkers.establishing(process, epoch)
        last = process.visible.zxid
        ends = dict(facts.ends.get(epoch_of(last), {}))
        if last:
            ends[epoch_of(last)] = last
        facts.ends[epoch] = ends
        facts.established[epoch] = process.sid


class OneLeaderPerEpoch(Checker):
    """At most one server is established in an epoch, and only that one is activated."""

    id = "I1"

    def establishing(self, process: "Process", epoch: int) -> None:
        if epoch in self.facts.established:
            raise self.fail(f"{process} is established in epoch {epoch}; {self.facts.established[epoch]} was before")
        if process.replica.role is not Role.LEADING:
            raise self.fail(f"{process} writes the start of epoch {epoch} without leading")

    def role_changed(self, process: "Process") -> None:
        if process.role is Role.LEADING and process.phase is Phase.BROADCAST:
            epoch = process.epoch
            if self.facts.established.get(epoch) != process.sid:
                raise self.fail(f"{process} is activated in epoch {epoch} without being established")
            if epoch in self.facts.activated:
                raise self.fail(f"{process} is activated in epoch {epoch} for the second time")
            self.facts.activated[epoch] = process.sid


class Epochs(Checker):
    """The durable epoch of the log is at most the accepted one, which never goes back; a leader's promise to itself
    is on its disk before it tells the epoch, which is greater than any that those have promised who let it choose."""

    id = "I2"

    def promising(self, process: "Process", epoch: int) -> None:
        state = process.replica.state
        if not isinstance(state, Leading):
            return
        for learner in state.learners.values():
            if learner.voter and learner.accepted_epoch >= epoch:
                why = f"server {learner.peer} has promised {learner.accepted_epoch}"
                raise self.fail(f"{process} chooses epoch {epoch}, but {why}")

    def saving_epoch(self, process: "Process", epoch: int) -> None:
        if epoch < process.platter.accepted_epoch:
            raise self.fail(f"{process} accepts epoch {epoch} after {process.platter.accepted_epoch}")

    def writing(self, process: "Process", entries: Sequence[Entry]) -> None:
        if epoch_of(entries[-1].zxid) > process.platter.accepted_epoch:
            raise self.fail(f"{process} has epoch {epoch_of(entries[-1].zxid)} in its log without having accepted it")

    def sent_leader_info(self, process: "Process", peer: int, message: LeaderInfo) -> None:
        if process.platter.accepted_epoch != message.epoch:
            raise self.fail(f"{process} tells epoch {message.epoch}; {process.platter.accepted_epoch} is on its disk")


class WellFormedLog(Checker):
    """Every record directly follows the one before it, in the log as the process sees it and on the disk."""

    id = "I3"

    def appended(self, process: "Process", entries: Sequence[Entry]) -> None:
        zxid = process.visible.zxid
        for entry in entries:
            if not succeeds(entry.zxid, zxid):
                raise self.fail(f"{process} appends {_name(entry)} after {zxid_text(zxid)}")
            zxid = entry.zxid

    def writing(self, process: "Process", entries: Sequence[Entry]) -> None:
        tip = process.platter.tip
        if chain_of(tip.chain, entries[0].zxid, entries[0].payload) != entries[0].chain:
            raise self.fail(f"{process} writes {_name(entries[0])} after {zxid_text(tip.zxid)}")


class LeaderCompleteness(Checker):
    """When a leader is established, all that leaders of earlier epochs committed is on its disk.

    Of earlier ones: its last promise may come late, when others have promised a later epoch already and a leader of
    that one has committed. Such a leader can be established, and never activated.
    """

    id = "I6"

    def establishing(self, process: "Process", epoch: int) -> None:
        facts = self.facts
        for entry, chosen_in in zip(reversed(facts.chosen), reversed(facts.chosen_in), strict=True):
            if chosen_in < epoch:
                if not process.platter.holds(entry):
                    raise self.fail(
                        f"{process} is established in epoch {epoch} without {_name(entry)}, which is chosen"
                    )
                break


class CommittedNeverLost(Checker):
    """Nothing chosen leaves a disk that held it, unless a snapshot there contains it."""

    id = "I7"

    def truncated(self, process: "Process", after: Zxid) -> None:
        if after < process.state.tip.zxid:
            delivered = zxid_text(process.state.tip.zxid)
            raise self.fail(f"{process} cuts after {zxid_text(after)}, having delivered {delivered}")

    def lost(self, process: "Process", gone: Sequence[Entry]) -> None:
        for entry in gone:
            if entry.zxid in self.facts.chosen_at and not process.platter.holds(entry):
                raise self.fail(f"{process} drops {_name(entry)}, which is chosen")

    def recovering(self, process: "Process", snapshot: Snapshot | None) -> None:
        facts = self.facts
        for epoch, acked in facts.acked.items():
            zxid = acked.get(process.sid)
            if (process.sid, epoch) in facts.forgiven:
                continue
            if zxid is not None and zxid in facts.chosen_at and not process.platter.holds(facts.records[zxid]):
                raise self.fail(f"{process} comes back without {zxid_text(zxid)}, which it acked and which is chosen")


class CommitRule(Checker):
    """What a leader commits is of its own epoch, in which it is activated, and on the disks of a quorum whose acks of
    this very epoch say so."""

    id = "I8"

    def committing(self, process: "Process", upto: Zxid) -> None:
        facts, epoch = self.facts, epoch_of(upto)
        if process.role is not Role.LEADING or facts.established.get(epoch) != process.sid:
            raise self.fail(f"{process} commits {zxid_text(upto)}, not being the leader of that epoch")
        record = facts.records.get(upto)
        if record is None:
            raise self.fail(f"{process} commits {zxid_text(upto)}, which nobody proposed")
        acked = facts.acked.get(epoch, {})
        having = [sid for sid, zxid in acked.items() if zxid >= upto]
        if process.platter.holds(record):
            having.append(process.sid)
        for sid in having:
            if (sid, epoch) not in facts.forgiven and not self.sim.servers[sid].platter.holds(record):
                raise self.fail(f"{process} commits {_name(record)} by an ack of {sid}, whose disk does not hold it")
        if not self.sim.settings.decides(having):
            raise self.fail(f"{process} commits {_name(record)}, which is on the disks of {sorted(having)} only")


def _keeps_to(process: "Process", epoch: int) -> bool:
    """An observer is bound by its log alone: it may have promised a later epoch, which came to nothing."""
    accepted = process.platter.accepted_epoch
    if process.sid in process.replica.ensemble.voters:
        return accepted == epoch
    return epoch_of(process.platter.tip.zxid) <= epoch <= accepted


class AckSoundness(Checker):
    """What a server says of its disk is on its disk."""

    id = "I9"

    def sent_ack(self, process: "Process", peer: int, message: Ack) -> None:
        facts, epoch = self.facts, epoch_of(message.zxid)
        entry = facts.records.get(message.zxid)
        if entry is None or not process.platter.holds(entry) or process.platter.tip.zxid < message.zxid:
            raise self.fail(f"{process} acks {zxid_text(message.zxid)}; {_tip(process)} is on its disk")
        if not _keeps_to(process, epoch):
            accepted = process.platter.accepted_epoch
            raise self.fail(f"{process} acks {zxid_text(message.zxid)}, having accepted {accepted}")
        if facts.established.get(epoch) != peer:
            raise self.fail(f"{process} acks {zxid_text(message.zxid)} to {peer}, which does not lead that epoch")
        acked = facts.acked.setdefault(epoch, {})
        acked[process.sid] = max(acked.get(process.sid, message.zxid), message.zxid)

    def sent_ack_epoch(self, process: "Process", peer: int, message: AckEpoch) -> None:
        platter = process.platter
        if not _keeps_to(process, message.epoch):
            raise self.fail(f"{process} promises epoch {message.epoch}; {platter.accepted_epoch} is on its disk")
        last = message.ends[-1] if message.ends else Zxid(0)
        if last != platter.tip.zxid:
            raise self.fail(f"{process} says its log ends at {zxid_text(last)}; {_tip(process)} is on its disk")
        if not message.counted:
            self.sim.count("promises made again, not counted")
        else:
            before = self.facts.promised.setdefault((process.sid, message.epoch), peer)
            if before != peer:
                raise self.fail(f"{process} promises epoch {message.epoch} to {peer}, and did to {before}")

    def sent_notification(self, process: "Process", peer: int, message: Notification) -> None:
        if message.leader == process.sid and message.state == "looking" and message.zxid != process.platter.tip.zxid:
            raise self.fail(f"{process} stands with {zxid_text(message.zxid)}; {_tip(process)} is on its disk")


class DeliveryOrder(Checker):
    """A server delivers each entry once, directly after the one before, and never one that is not on its own disk."""

    id = "I10"

    def delivering(self, process: "Process", entry: Entry) -> None:
        tip = process.state.tip
        if not succeeds(entry.zxid, tip.zxid):
            raise self.fail(f"{process} delivers {_name(entry)} after {zxid_text(tip.zxid)}")
        if not process.platter.holds(entry) or process.platter.tip.zxid < entry.zxid:
            raise self.fail(f"{process} delivers {_name(entry)}, which is not on its disk")


class PrefixConsistency(Checker):
    """The n-th entry any server delivers is the n-th that was chosen: agreement and total order (I13, I14) in one."""

    id = "I11"

    def delivering(self, process: "Process", entry: Entry) -> None:
        chosen, count = self.facts.chosen, process.state.count
        if count >= len(chosen):
            raise self.fail(f"{process} delivers {_name(entry)}, which no leader committed")
        if chosen[count] != entry:
            raise self.fail(f"{process} delivers {_name(entry)} where {_name(chosen[count])} was chosen")


class Integrity(Checker):
    """Every record was written first by the leader of its epoch and stems from one request of one client."""

    id = "I12"

    def __init__(self, facts: Facts) -> None:
        super().__init__(facts)
        self._placed: dict[bytes, Zxid] = {}

    def new_record(self, process: "Process", entry: Entry) -> None:
        if counter_of(entry.zxid) == 0:
            return
        if self.facts.established.get(epoch_of(entry.zxid)) != process.sid:
            raise self.fail(f"{_name(entry)} appears at {process}, which does not lead its epoch")
        if entry.payload not in self.sim.submitted:
            raise self.fail(f"nobody submitted {_name(entry)}")
        if self._placed.setdefault(entry.payload, entry.zxid) != entry.zxid:
            raise self.fail(f"{_name(entry)} was already put in order at {zxid_text(self._placed[entry.payload])}")


class PrimaryIntegrity(Checker):
    """Before its first entry of an epoch a leader is activated and has delivered all that was chosen before it."""

    id = "I15"

    def new_record(self, process: "Process", entry: Entry) -> None:
        epoch = epoch_of(entry.zxid)
        if counter_of(entry.zxid) == 0:
            return
        if self.facts.activated.get(epoch) != process.sid:
            raise self.fail(f"{process} proposes {_name(entry)} before it is activated")
        if counter_of(entry.zxid) > 1:
            return
        for chosen in reversed(self.facts.chosen):
            if epoch_of(chosen.zxid) < epoch:
                if process.state.tip.zxid < chosen.zxid:
                    raise self.fail(f"{process} proposes {_name(entry)} without having delivered {_name(chosen)}")
                break


class NoLateCommit(Checker):
    """Once an epoch is established, a leader of an earlier one commits nothing that its history does not hold.

    Of the committing leader's epoch, not of the record's: an epoch that was established but never activated may die
    with its start record, and a later one may begin with more of an old history than the dead one did.
    """

    id = "I16"

    def choosing(self, process: "Process", entry: Entry) -> None:
        for later in self.facts.established:
            if later > process.epoch and not self.facts.in_history_of(later, entry.zxid):
                raise self.fail(f"{process} commits {_name(entry)}; epoch {later} is established without it")


class StateMachineEquality(Checker):
    """At the same zxid all states are equal, live, replayed or from a snapshot."""

    id = "I17"

    def delivered(self, process: "Process") -> None:
        state = process.state
        if state.all != self.facts.states[state.count]:
            raise self.fail(f"{process} is in another state at {zxid_text(state.tip.zxid)}")


class SnapshotSoundness(Checker):
    """A snapshot named z holds exactly what was chosen up to z."""

    id = "I18"

    def snapshot_saving(self, process: "Process", snapshot: Snapshot) -> None:
        self._check(process, snapshot)
        if snapshot.tip.zxid > process.state.tip.zxid:
            raise self.fail(f"{process} has a snapshot at {zxid_text(snapshot.tip.zxid)}, which it has not delivered")
        if snapshot.tip.zxid > process.platter.tip.zxid:
            raise self.fail(f"{process} snapshots {zxid_text(snapshot.tip.zxid)}; {_tip(process)} is on its disk")

    def installing(self, process: "Process", snapshot: Snapshot) -> None:
        self._check(process, snapshot)

    def recovering(self, process: "Process", snapshot: Snapshot | None) -> None:
        if snapshot is not None:
            self._check(process, snapshot)

    def _check(self, process: "Process", snapshot: Snapshot) -> None:
        state, facts = State.of_image(snapshot.image), self.facts
        if state.tip != snapshot.tip:
            name = zxid_text(snapshot.tip.zxid)
            raise self.fail(f"{process} has a snapshot named {name} of {zxid_text(state.tip.zxid)}")
        at = facts.chosen_at.get(state.tip.zxid)
        if at is None:
            raise self.fail(f"{process} has a snapshot at {zxid_text(state.tip.zxid)}, which is not chosen")
        same = facts.chosen[at].chain == state.tip.chain and facts.states[at + 1] == state.all
        if not same or state.count != at + 1:
            raise self.fail(f"{process} has a snapshot at {zxid_text(state.tip.zxid)} of another history")


class Membership(Checker):
    """Who takes part is what was delivered last, and nobody else is linked or led."""

    id = "I27"

    def ensemble_changed(self, process: "Process", ensemble: Ensemble) -> None:
        replica = process.replica
        if replica.ensemble != ensemble:
            raise self.fail(f"{process} goes by {replica.ensemble}; {ensemble} was delivered")
        servers = ensemble.servers
        if not (replica.links.keys() <= servers and getattr(replica.state, "learners", {}).keys() <= servers):
            raise self.fail(f"{process} has links {sorted(replica.links)}, and only {sorted(servers)} take part")


class InStepBeforeServing(Checker):
    """Whoever begins to serve has delivered all of the history its epoch began with, the start record included."""

    id = "I28"

    def role_changed(self, process: "Process") -> None:
        start = make_zxid(process.epoch, 0)
        if process.phase is Phase.BROADCAST and process.state.tip.zxid < start:
            delivered = zxid_text(process.state.tip.zxid)
            raise self.fail(f"{process} serves in epoch {process.epoch}, having delivered {delivered}")


class LinearizableReads(Checker):
    """A confirmed read sees all that was committed anywhere before it was asked for."""

    id = "I21"

    def read_confirmed(self, process: "Process", number: int, zxid: Zxid) -> None:
        asked = process.reads.pop(number, None)
        if asked is None:
            raise self.fail(f"{process} answers read {number}, which nobody waits for")
        if zxid < asked:
            raise self.fail(f"{process} lets a read see {zxid_text(zxid)}; {zxid_text(asked)} was committed before it")


class DeadLinks(Checker):
    """A message of a link that is not the peer's current one changes nothing."""

    id = "I24"

    def stale(self, process: "Process", message: Message, effects: Sequence[object]) -> None:
        if effects:
            raise self.fail(f"{process} acts on {message} of a dead link: {list(effects)}")


class LegalMessages(Checker):
    """No server ever says what is not legal where the other is; every server here is ours."""

    id = "I24"

    def noted(self, process: "Process", note: Note) -> None:
        if note.event == "peer_protocol_error":
            raise self.fail(f"{process} {dict(note.facts)}")


class Bounds(Checker):
    """Nothing grows without end: no timer spins, and an epoch's counter stops well before its end."""

    id = "I25"

    def new_record(self, process: "Process", entry: Entry) -> None:
        handover_at = getattr(self.sim.settings, "handover_at", 0) or COUNTER_HANDOVER  # whole.py has no such setting
        if counter_of(entry.zxid) > handover_at + BATCH_MAX:
            raise self.fail(f"{process} proposes {_name(entry)}, where it should have made way for another epoch")

    def ticked(self, process: "Process", now_ms: int) -> None:
        if process.replica.wake_at_ms <= now_ms:
            raise self.fail(f"{process} wants to be woken at {process.replica.wake_at_ms}, at {now_ms}")


ALL: tuple[type[Checker], ...] = (
    OneLeaderPerEpoch,
    Epochs,
    WellFormedLog,
    LeaderCompleteness,
    CommittedNeverLost,
    CommitRule,
    AckSoundness,
    DeliveryOrder,
    PrefixConsistency,
    Integrity,
    PrimaryIntegrity,
    NoLateCommit,
    StateMachineEquality,
    SnapshotSoundness,
    Membership,
    InStepBeforeServing,
    LinearizableReads,
    DeadLinks,
    LegalMessages,
    Bounds,
    UniqueProposals,  # last: it takes the records in that the others have judged
)

#: What a checker can be told of, by the name of its method.
HOOKS = (
    "appended",
    "choosing",
    "committing",
    "delivered",
    "delivering",
    "ensemble_changed",
    "establishing",
    "installing",
    "lost",
    "new_record",
    "noted",
    "promising",
    "read_confirmed",
    "recovering",
    "role_changed",
    "saving_epoch",
    "snapshot_saving",
    "stale",
    "ticked",
    "truncated",
    "writing",
)

#: Messages that somebody looks at when they leave, and the method that does.
SENT: dict[type, str] = {
    Ack: "sent_ack",
    AckEpoch: "sent_ack_epoch",
    LeaderInfo: "sent_leader_info",
    Notification: "sent_notification",
}


#: By what message a learner is brought into step, as runs count it.
SYNCS: dict[type, str] = {Diff: "syncs by diff", Trunc: "syncs by trunc", Image: "syncs by image"}


class Checkers:
    """All of them, as one: each hook is a function that tells those who have it."""

    appended: Callable[..., None]
    choosing: Callable[..., None]
    committing: Callable[..., None]
    delivered: Callable[..., None]
    delivering: Callable[..., None]
    ensemble_changed: Callable[..., None]
    establishing: Callable[..., None]
    installing: Callable[..., None]
    lost: Callable[..., None]
    new_record: Callable[..., None]
    noted: Callable[..., None]
    promising: Callable[..., None]
    read_confirmed: Callable[..., None]
    recovering: Callable[..., None]
    role_changed: Callable[..., None]
    saving_epoch: Callable[..., None]
    snapshot_saving: Callable[..., None]
    stale: Callable[..., None]
    ticked: Callable[..., None]
    truncated: Callable[..., None]
    writing: Callable[..., None]

    def __init__(self, facts: Facts, classes: Sequence[type[Checker]] = ALL) -> None:
        self._facts = facts
        checkers = [cls(facts) for cls in classes]
        for hook in HOOKS:
            setattr(self, hook, _all_of([getattr(checker, hook) for checker in checkers if hasattr(checker, hook)]))
        self.sent: dict[type, Callable[..., None]] = {
            message: _all_of([getattr(checker, name) for checker in checkers if hasattr(checker, name)])
            for message, name in SENT.items()
        }
        self.sent[Commit] = self._sent_commit

    def _sent_commit(self, process: "Process", peer: int, message: Commit) -> None:
        if message.zxid > process.committed:
            self.commit(process, message.zxid)

    def commit(self, process: "Process", upto: Zxid) -> None:
        """A leader lets it be known, to a peer or by delivering it, that all up to here is final."""
        if upto not in self._facts.chosen_at:
            self.committing(process, upto)
            for entry in self._facts.choose(upto):
                self.choosing(process, entry)
                self._facts.add_chosen(entry, epoch_of(upto))
        process.committed = upto


def _all_of(methods: list[Callable[..., None]]) -> Callable[..., None]:
    if len(methods) == 1:
        return methods[0]

    def tell(*facts: Any) -> None:
        for method in methods:
            method(*facts)

    return tell


def _name(entry: Entry) -> str:
    payload = entry.payload if len(entry.payload) <= 16 else entry.payload[:16]
    return f"{zxid_text(entry.zxid)} {payload.decode(errors='replace')!r}"


def _tip(process: "Process") -> str:
    return zxid_text(process.platter.tip.zxid)
