"""Known ways to get ZAB wrong, each as a switch for tests: the check of the checks.

A trap is a context manager that replaces one function of `zabpy.zab`, or of the simulated driver where the trap lives
there, by one that makes the old mistake. Production code knows nothing of it. ``caught_by`` are the invariants that may
name it; a suite that runs with a trap and finds nothing is itself broken.

Never use one outside tests.
"""

from collections.abc import Callable, Iterator, MutableMapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

from zabpy.model import Entry, Tip, Zxid, counter_of, epoch_of
from zabpy.zab import Quorums, Replica, broadcast, discovery, election, replica as zab_replica, synchronization
from zabpy.zab.effects import Deliver, ReadConfirmed, Send, Truncate
from zabpy.zab.history import History, Need
from zabpy.zab.inputs import Durable, Installed, Received
from zabpy.zab.messages import Ack, AckEpoch, Commit, LeaderInfo, NewLeader
from zabpy.zab.roles import Following, Leading, Looking, Vote

from .checkers import State
from .drive import Drive, Platter, Snapshot
from .simulation import Simulation


@dataclass(frozen=True)
class Trap:
    """``mistake`` in a sentence; ``caught_by``: ids of the invariants that may name it."""

    mistake: str
    set: Callable[[], AbstractContextManager[None]]
    caught_by: frozenset[str]


TRAPS: dict[str, Trap] = {}


def _trap(name: str, *caught_by: str) -> Callable[[Callable[[], Iterator[None]]], None]:
    def register(make: Callable[[], Iterator[None]]) -> None:
        assert make.__doc__ and name not in TRAPS
        TRAPS[name] = Trap(make.__doc__, contextmanager(make), frozenset(caught_by))

    return register


@contextmanager
def _instead(owner: Any, name: str, value: Any) -> Iterator[None]:
    before = vars(owner)[name]
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


@contextmanager
def _instead_in(table: Any, key: type, value: Any) -> Iterator[None]:
    assert isinstance(table, MutableMapping)
    before = table[key]
    table[key] = value
    try:
        yield
    finally:
        table[key] = before


# Acked before it was durable -----------------------------------------------------------------------------------------


@_trap("A1", "I9")
def _ack_of_history_before_disk() -> Iterator[None]:
    """A learner acks the end of the history when it was told of it, not when it has it on disk."""

    def acknowledge(replica: Replica, following: Following) -> None:
        if following.mark is not None and not replica.installing:
            ackable = max(following.mark, replica.history.durable)
            if ackable != following.acked:
                following.acked = ackable
                replica.emit(Send(following.leader, Ack(ackable)))

    with _instead(synchronization, "acknowledge", acknowledge):
        yield


@_trap("A2", "I9")
def _ack_when_queued() -> Iterator[None]:
    """A learner in BROADCAST acks what it has handed to its disk."""
    right = synchronization.on_propose

    def on_propose(replica: Replica, peer: int, told: Any, now_ms: int) -> None:
        right(replica, peer, told, now_ms)
        following = replica.state
        if isinstance(following, Following) and following.acked:
            following.acked = replica.history.last.zxid
            replica.emit(Send(peer, Ack(following.acked)))

    from zabpy.zab.messages import Propose

    with _instead_in(zab_replica.MESSAGES, Propose, on_propose):
        yield


@_trap("A4", "I9", "CORE")
def _speak_while_disk_is_busy() -> Iterator[None]:
    """A server that has left a role stands for election while its disk still works for the old one."""
    with _instead(Replica, "disk_is_busy", property(lambda self: False)):
        yield


@_trap("A9", "I3", "I7", "I9", "I10", "I18", "CORE")
def _image_in_memory_only() -> Iterator[None]:
    """A received snapshot is loaded, but not made permanent."""

    def install(self: Drive, operation: Any) -> Installed:
        snapshot = Snapshot(operation.tip, bytes(self._staged))
        self._staged.clear()
        self.platter.snapshots = [snapshot, *self.platter.snapshots]  # found by the state machine, not by a restart
        self.platter.snapshots.append(self.platter.snapshots.pop(0))
        return Installed(operation.tip)

    from zabpy.zab.effects import Install

    from . import drive

    with _instead_in(drive._DONE, Install, install):
        yield


@_trap("A12", "I7", "I9", "I16", "I8", "I6", "I11", "CORE", "I10", "I3")
def _cut_not_synced() -> Iterator[None]:
    """A truncation is not synced: a power cut brings the old tail back, over what was written since."""
    right = Drive.crash

    def cut(self: Drive, operation: Truncate) -> None:
        self.__dict__.setdefault("uncut", []).append((operation.after, self.platter.truncate(operation.after)))

    def crash(self: Drive, keep_all: bool) -> None:
        right(self, keep_all)
        for after, gone in self.__dict__.get("uncut", ()):
            if gone and not keep_all and after >= self.platter.log_base.zxid:
                self.platter.truncate(after)
                self.platter.append(gone)

    from . import drive

    with _instead_in(drive._DONE, Truncate, cut), _instead(Drive, "crash", crash):
        yield


@_trap("B6", "I9", "I3", "I10")
def _failed_sync_ignored() -> Iterator[None]:
    """A failed sync is taken for a good one; the process lives on and its memory speaks for the disk."""

    def failed(self: Drive) -> None:
        from zabpy.zab.effects import Append

        last = self.at_work[-1]
        if not isinstance(last, Append):
            self._done()
            return
        self.at_work.clear()
        if self.waiting:
            self._begin()
        self._sim.step(self._process, Durable(last.entries[-1].zxid))

    with _instead(Drive, "_failed", failed):
        yield


@_trap("B10", "I7", "I9")
def _recovery_cuts_too_far() -> Iterator[None]:
    """Recovery takes the last record for a torn one, always."""
    right = Platter.recovered

    def recovered(self: Platter) -> Any:
        if self.entries and self.entries[-1].zxid > self.snapshot_tip.zxid:
            self.truncate(self.entries[-2].zxid if len(self.entries) > 1 else self.log_base.zxid)
        return right(self)

    with _instead(Platter, "recovered", recovered):
        yield


# Epochs and promises -------------------------------------------------------------------------------------------------


@_trap("A6", "I6")
def _election_by_id_and_unchecked() -> Iterator[None]:
    """The greatest id wins, whatever its log, and phase 1 does not check the winner."""

    def better(replica: Replica, vote: Vote) -> None:
        looking = replica.state
        assert isinstance(looking, Looking)
        in_reach = vote.leader == replica.me or vote.leader in replica.links
        if vote.leader > looking.vote.leader and in_reach and replica.ensemble.may_lead(vote.leader):
            looking.vote = vote
            looking.finalize_at_ms = 1 << 62
            election.announce(replica)

    right = discovery.on_ack_epoch

    def on_ack_epoch(replica: Replica, peer: int, told: AckEpoch, now_ms: int) -> None:
        leading = replica.state
        if isinstance(leading, Leading):
            start, leading.start = leading.start, Zxid(1 << 62)
            right(replica, peer, told, now_ms)
            leading.start = start
        else:
            right(replica, peer, told, now_ms)

    with _instead(election, "better", better), _instead_in(zab_replica.MESSAGES, AckEpoch, on_ack_epoch):
        yield


@_trap("A7", "I2")
def _epoch_told_before_saved() -> Iterator[None]:
    """A leader tells the new epoch before its own promise is on its disk."""
    right = Replica.save_epoch

    def save_epoch(self: Replica, epoch: int) -> None:
        right(self, epoch)
        if isinstance(self.state, Leading):
            for peer in sorted(self.state.learners):
                self.emit(Send(peer, LeaderInfo(epoch)))

    with _instead(Replica, "save_epoch", save_epoch):
        yield


@_trap("minus-one", "I9", "I1")
def _promise_counted_twice() -> Iterator[None]:
    """A promise that was made before, perhaps to another, counts again (the -1 rule dropped)."""
    right = discovery._promise

    def promise(replica: Replica, following: Following, *, counted: bool) -> None:
        right(replica, following, counted=True)

    with _instead(discovery, "_promise", promise):
        yield


@_trap("promise-unsaved", "I9")
def _promise_before_saved() -> Iterator[None]:
    """A follower answers the new epoch before its promise is on disk."""
    right = Replica.save_epoch

    def save_epoch(self: Replica, epoch: int) -> None:
        right(self, epoch)
        state = self.state
        if isinstance(state, Following) and not state.promised:
            discovery._promise(self, state, counted=True)

    with _instead(Replica, "save_epoch", save_epoch):
        yield


@_trap("D7", "I8", "I1", "I6")
def _observers_counted() -> Iterator[None]:
    """Whoever answers counts for the quorum, observers too."""

    def is_quorum(self: Quorums, servers: Any) -> bool:
        return 2 * len(set(servers)) > len(self.voters)

    in_touch = broadcast.in_touch

    def all_in_touch(replica: Replica, leading: Leading) -> set[int]:
        return {replica.me, *leading.learners} or in_touch(replica, leading)

    with _instead(Quorums, "is_quorum", is_quorum), _instead(broadcast, "in_touch", all_in_touch):
        yield


@_trap("D1", "L1", "I25")
def _no_total_order_of_votes() -> Iterator[None]:
    """The id breaks ties of the counter, whatever the epochs: a beats b, and b beats a."""

    def better(replica: Replica, vote: Vote) -> None:
        looking = replica.state
        assert isinstance(looking, Looking)
        mine = looking.vote
        wins = vote.zxid > mine.zxid or (counter_of(vote.zxid) == counter_of(mine.zxid) and vote.leader > mine.leader)
        in_reach = vote.leader == replica.me or vote.leader in replica.links
        if wins and vote != mine and in_reach and replica.ensemble.may_lead(vote.leader):
            looking.vote = vote
            looking.finalize_at_ms = 1 << 62
            election.announce(replica)

    with _instead(election, "better", better):
        yield


# Histories that part -------------------------------------------------------------------------------------------------


@_trap("B1", "I3", "I24", "CORE", "I4")
def _diff_by_range() -> Iterator[None]:
    """A learner whose last zxid is within the leader's range gets a diff, though the leader lacks that record."""
    right = History.need_of

    def need_of(self: History, ends: tuple[Zxid, ...]) -> tuple[Need, Zxid]:
        if ends and self.log_base <= ends[-1] <= self.last.zxid and self.memory_from <= ends[-1]:
            return Need.DIFF, ends[-1]
        return right(self, ends)

    with _instead(History, "need_of", need_of):
        yield


@_trap("trunc-too-far", "I7", "CORE")
def _cut_too_much() -> Iterator[None]:
    """A learner is told to cut at the last common epoch's beginning instead of the last common record."""
    right = History.need_of

    def need_of(self: History, ends: tuple[Zxid, ...]) -> tuple[Need, Zxid]:
        need, common = right(self, ends)
        start = Zxid(epoch_of(common) << 32)
        if need is not Need.IMAGE and start and self.log_base <= start < common and self.memory_from <= start:
            return Need.TRUNC, start
        return need, common

    with _instead(History, "need_of", need_of):
        yield


@_trap("B4", "I9")
def _what_was_applied_for_the_log() -> Iterator[None]:
    """A server says what it has delivered where it should say what is in its log."""

    def ends(self: History) -> tuple[Zxid, ...]:
        known = (min(end, self.delivered) for end in self._ends.values())
        return tuple(sorted({end for end in known if end}))

    with _instead(History, "ends", ends):
        yield


@_trap("B7", "I9", "I3", "CORE")
def _log_behind_an_image() -> Iterator[None]:
    """After a snapshot was received the old log behind it is taken for part of the new one."""
    right = History.install

    def install(self: History, tip: Tip) -> None:
        base = self.log_base
        right(self, tip)
        self.log_base = base

    with _instead(History, "install", install):
        yield


@_trap("A10", "I24", "CORE")
def _subscribed_late() -> Iterator[None]:
    """A learner gets the stream only once it has acked the history: what was proposed meanwhile is missing."""
    right, right_ack = synchronization.synchronise, broadcast.on_ack

    def synchronise(replica: Replica, leading: Leading, learner: Any, now_ms: int) -> None:
        if learner.owing_since_ms == -1:
            return
        right(replica, leading, learner, now_ms)
        if learner.streaming:
            learner.streaming, learner.owing_since_ms = False, -1

    def on_ack(replica: Replica, peer: int, told: Ack, now_ms: int) -> None:
        if isinstance(replica.state, Leading) and peer in replica.state.learners:
            replica.state.learners[peer].streaming = True
        right_ack(replica, peer, told, now_ms)

    with _instead(synchronization, "synchronise", synchronise), _instead_in(zab_replica.MESSAGES, Ack, on_ack):
        yield


@_trap("A8", "I24")
def _new_leader_before_history() -> Iterator[None]:
    """The end of the history is told before the history is sent."""
    right = synchronization.synchronise

    def synchronise(replica: Replica, leading: Leading, learner: Any, now_ms: int) -> None:
        before = len(replica._effects)
        right(replica, leading, learner, now_ms)
        sent = replica._effects[before:]
        if sent and isinstance(sent[-1], Send) and isinstance(sent[-1].message, NewLeader):
            replica._effects[before:] = [sent[-1], *sent[:-1]]

    with _instead(synchronization, "synchronise", synchronise):
        yield


# Committing and delivering -------------------------------------------------------------------------------------------


@_trap("no-quorum", "I8")
def _committed_by_one_less() -> Iterator[None]:
    """Half of the voters is taken for a quorum when acks are counted."""

    def agreed(self: Quorums, positions: Any) -> int:
        ranked = sorted((position for server, position in positions if server in self.voters), reverse=True)
        needed = max(1, len(self.voters) // 2)
        return ranked[needed - 1] if len(ranked) >= needed else 0

    with _instead(Quorums, "agreed", agreed):
        yield


@_trap("old-epoch", "I8")
def _old_epoch_committed_by_counting() -> Iterator[None]:
    """Entries of an earlier epoch are committed once a quorum has them, without the new epoch's start record."""
    right = discovery.establish

    def establish(replica: Replica, leading: Leading, now_ms: int) -> None:
        start = leading.start
        right(replica, leading, now_ms)
        if leading.phase == "synchronization" and start > replica.history.delivered:
            holding = [(replica.me, start), *((p, x.ends[-1] if x.ends else 0) for p, x in leading.learners.items())]
            final = Zxid(replica.ensemble.quorums.agreed(holding))
            entries = replica.history.take(min(final, start))
            if entries:
                replica.emit(Deliver(entries))

    with _instead(discovery, "establish", establish):
        yield


@_trap("commit-to-all", "I24")
def _commit_before_its_proposal() -> Iterator[None]:
    """Commits go to every learner at once, also to those that do not hold the history yet."""
    right = broadcast.advance

    def advance(replica: Replica, leading: Leading, now_ms: int) -> None:
        before = leading.committed
        right(replica, leading, now_ms)
        if replica.state is leading and leading.committed > before:
            for learner in leading.learners.values():
                if learner.told_epoch and not learner.synced:
                    replica.emit(Send(learner.peer, Commit(leading.committed)))

    with _instead(broadcast, "advance", advance):
        yield


@_trap("memory-ahead", "I10")
def _delivered_before_own_disk() -> Iterator[None]:
    """What others made final is delivered before it is on this server's own disk."""
    right = History.take

    def take(self: History, upto: Zxid) -> tuple[Entry, ...]:
        durable, self.durable = self.durable, self.last.zxid
        taken = right(self, upto)
        self.durable = durable
        return taken

    with _instead(History, "take", take):
        yield


@_trap("early-proposal", "I15", "CORE")
def _proposed_before_activation() -> Iterator[None]:
    """A leader that is established, but not activated, proposes."""

    def may_submit(self: Replica) -> bool:
        return isinstance(self.state, Leading) and self.state.phase != "discovery" and not self.state.handing_over

    with _instead(Replica, "may_submit", property(may_submit)):
        yield


# Links, reads, snapshots ---------------------------------------------------------------------------------------------


@_trap("stale-link", "I24", "I9", "CORE")
def _message_of_a_dead_link() -> Iterator[None]:
    """A message is processed whichever link it came on."""
    right = Replica._received

    def received(self: Replica, given: Received, now_ms: int) -> None:
        right(self, Received(given.peer, self.links.get(given.peer, given.link), given.message), now_ms)

    with _instead_in(zab_replica.INPUTS, Received, received):
        yield


@_trap("G1", "I21")
def _read_from_memory() -> Iterator[None]:
    """A leader answers a linearizable read without asking whether it still leads."""

    def read_asked(self: Replica, given: Any, now_ms: int) -> None:
        assert isinstance(self.state, Leading)
        self.emit(ReadConfirmed(given.number, self.state.committed))

    from zabpy.zab.inputs import ReadAsked

    with _instead_in(zab_replica.INPUTS, ReadAsked, read_asked):
        yield


@_trap("G2", "I21")
def _read_by_an_old_ping() -> Iterator[None]:
    """A read is confirmed by answers to a ping that was sent before it was asked."""
    from zabpy.zab.inputs import ReadAsked
    from zabpy.zab.roles import PendingRead

    def read_asked(self: Replica, given: Any, now_ms: int) -> None:
        leading = self.state
        assert isinstance(leading, Leading)
        leading.reads.append(PendingRead(given.number, leading.committed, leading.ping))
        broadcast._confirm_reads(self, leading)

    with _instead_in(zab_replica.INPUTS, ReadAsked, read_asked):
        yield


@_trap("B2", "I18")
def _snapshot_of_what_is_not_final() -> Iterator[None]:
    """A snapshot is taken of all that is in the log, committed or not."""
    right = Simulation.begin_snapshot

    def begin_snapshot(self: Simulation, process: Any) -> None:
        delivered = process.state
        process.state = State(delivered.count, delivered.tip, delivered.digest, delivered.observers)
        for entry in process.platter.entries:
            if entry.zxid > delivered.tip.zxid:
                process.state.apply(entry)
        right(self, process)
        process.state = delivered

    with _instead(Simulation, "begin_snapshot", begin_snapshot):
        yield


@_trap("C1", "I18")
def _snapshot_named_too_high() -> Iterator[None]:
    """A snapshot's name promises one entry more than it holds."""

    def image(self: State) -> bytes:
        from .checkers import _FILL, _STATE

        return _STATE.pack(self.count - 1, self.tip.zxid, self.tip.chain, self.digest, self.observers) + _FILL

    with _instead(State, "image", image):
        yield
