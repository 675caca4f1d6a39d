"""Traps: synchronisation from which histories part."""

from collections.abc import Iterator
from typing import Any

from zabpy.model import Entry, Tip, Zxid, epoch_of
from zabpy.zab import broadcast, replica as zab_replica, synchronization
from zabpy.zab.effects import Phase, Send
from zabpy.zab.history import History, Need
from zabpy.zab.messages import Ack, Diff, Image, NewLeader, Propose, Trunc
from zabpy.zab.replica import Replica
from zabpy.zab.roles import Following, Leading

from ..drive import Platter, Snapshot
from ..instead import instead, instead_in
from .trap import TRAPS, trap


@trap("B1", "I3", "I24", "CORE", "I4")
def _diff_by_range() -> Iterator[None]:
    """A learner whose last zxid is within the leader's range gets a diff, though the leader lacks that record."""
    right = History.need_of

    def need_of(self: History, ends: tuple[Zxid, ...]) -> tuple[Need, Zxid]:
        if ends and self.log_base <= ends[-1] <= self.last.zxid and self.memory_from <= ends[-1]:
            return Need.DIFF, ends[-1]
        return right(self, ends)

    with instead(History, "need_of", need_of):
        yield


@trap("trunc-too-far", "I7", "CORE")
def _cut_too_much() -> Iterator[None]:
    """A learner is told to cut at the last common epoch's beginning instead of the last common record."""
    right = History.need_of

    def need_of(self: History, ends: tuple[Zxid, ...]) -> tuple[Need, Zxid]:
        need, common = right(self, ends)
        start = Zxid(epoch_of(common) << 32)
        if need is not Need.IMAGE and start and self.log_base <= start < common and self.memory_from <= start:
            return Need.TRUNC, start
        return need, common

    with instead(History, "need_of", need_of):
        yield


@trap("B4", "I9")
def _what_was_applied_for_the_log() -> Iterator[None]:
    """A server says what it has delivered where it should say what is in its log."""

    def ends(self: History) -> tuple[Zxid, ...]:
        known = (min(end, self.delivered) for end in self._ends.values())
        return tuple(sorted({end for end in known if end}))

    with instead(History, "ends", ends):
        yield


@trap("B7", "I9", "I3", "CORE")
def _log_behind_an_image() -> Iterator[None]:
    """After a snapshot was received the old log behind it is taken for part of the new one."""
    right = History.install

    def install(self: History, tip: Tip) -> None:
        base = self.log_base
        right(self, tip)
        self.log_base = base

    with instead(History, "install", install):
        yield


@trap("A10", "I24", "CORE")
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

    with instead(synchronization, "synchronise", synchronise), instead_in(zab_replica.MESSAGES, Ack, on_ack):
        yield


@trap("A8", "I24")
def _new_leader_before_history() -> Iterator[None]:
    """The end of the history is told before the history is sent."""
    right = synchronization.synchronise

    def synchronise(replica: Replica, leading: Leading, learner: Any, now_ms: int) -> None:
        before = len(replica._effects)
        right(replica, leading, learner, now_ms)
        sent = replica._effects[before:]
        if sent and isinstance(sent[-1], Send) and isinstance(sent[-1].message, NewLeader):
            replica._effects[before:] = [sent[-1], *sent[:-1]]

    with instead(synchronization, "synchronise", synchronise):
        yield


def _unchecked() -> Any:
    """Succession and checksum of what is received are not looked at."""
    return instead(synchronization, "check", lambda entries, tip: None)


@trap("B1-unverified", "I3", "I4")
def _diff_by_range_and_unverified() -> Iterator[None]:
    """As B1, and the learner does not verify the common record."""
    with TRAPS["B1"].set(), _unchecked():
        yield


def _seam() -> Any:
    def entries_after(self: History, zxid: Zxid) -> tuple[Entry, ...]:
        found = right(self, zxid)
        return found[1:] if zxid == self.memory_from else found

    right = History.entries_after
    return instead(History, "entries_after", entries_after)


@trap("B8", "I24", "CORE")
def _seam_between_disk_and_memory() -> Iterator[None]:
    """One entry falls between what is sent from disk and what is sent from memory."""
    with _seam():
        yield


@trap("B8-unverified", "I3", "I4", "I24", "CORE")
def _seam_and_unverified() -> Iterator[None]:
    """As B8, and the learner does not look at the succession of what it receives: the hole spreads."""
    with _seam(), _unchecked():
        yield


@trap("B13", "I7")
def _cut_below_what_is_final() -> Iterator[None]:
    """A learner that is told to cut below what it has delivered does so."""

    def on_trunc(replica: Replica, peer: int, told: Any, now_ms: int) -> None:
        delivered, replica.history.delivered = replica.history.delivered, Zxid(0)
        right(replica, peer, told, now_ms)
        replica.history.delivered = delivered

    def truncate(self: History, after: Zxid) -> None:
        delivered, self.delivered = self.delivered, Zxid(0)
        right_truncate(self, after)
        self.delivered = delivered

    right, right_truncate = synchronization.on_trunc, History.truncate
    with TRAPS["trunc-too-far"].set(), instead_in(zab_replica.MESSAGES, Trunc, on_trunc):
        with instead(History, "truncate", truncate):
            yield


@trap("subscribed-early", "I24")
def _subscribed_before_the_backlog() -> Iterator[None]:
    """A learner gets what is proposed from the moment it was told the epoch on, before the history that goes there."""

    def on_submitted(replica: Replica, given: Any, now_ms: int) -> None:
        before = replica.history.last.zxid
        right(replica, given, now_ms)
        leading = replica.state
        assert isinstance(leading, Leading)
        for learner in leading.learners.values():
            if learner.told_epoch and not learner.streaming:
                replica.emit(Send(learner.peer, Propose(replica.history.entries_after(before))))

    right = broadcast.on_submitted
    with instead(broadcast, "on_submitted", on_submitted):
        yield


@trap("E7", "I9")
def _position_from_what_was_announced() -> Iterator[None]:
    """A learner takes the end that is announced to it, of a diff or of a snapshot, for its own before that has come."""

    def on_diff(replica: Replica, peer: int, told: Any, now_ms: int) -> None:
        right(replica, peer, told, now_ms)
        following = replica.state
        if isinstance(following, Following):
            replica.history._ends[following.epoch] = Zxid(following.epoch << 32)

    def on_image(replica: Replica, peer: int, told: Any, now_ms: int) -> None:
        right_image(replica, peer, told, now_ms)
        replica.history._ends[epoch_of(told.tip.zxid)] = told.tip.zxid

    right, right_image = synchronization.on_diff, synchronization.on_image
    with instead_in(zab_replica.MESSAGES, Diff, on_diff), instead_in(zab_replica.MESSAGES, Image, on_image):
        yield


@trap("D9", "L1")
def _deadline_without_progress() -> Iterator[None]:
    """A synchronisation has so much time from its beginning on, however far it has come."""

    def heard_leader(replica: Replica, following: Following, now_ms: int) -> None:
        if following.phase is Phase.BROADCAST:
            right(replica, following, now_ms)

    right = broadcast.heard_leader
    with instead(broadcast, "heard_leader", heard_leader):
        yield


@trap("D9-silent", "L1")
def _prospective_leader_says_nothing() -> Iterator[None]:
    """A leader that waits for a long transfer to one learner says nothing to those that hold the history already: they
    give it up, and the transfer begins again. (Ours did; found by `transfer_ms`.)"""

    def ping(replica: Replica, leading: Leading) -> None:
        if leading.phase is Phase.BROADCAST:
            right(replica, leading)

    right = broadcast.ping
    with instead(broadcast, "ping", ping):
        yield


@trap("purged-log", "I9")
def _purged_too_far() -> Iterator[None]:
    """The log is purged up to the newest snapshot, and held to reach back to the oldest."""

    def keep(self: Platter, snapshot: Snapshot, retained: int) -> Zxid:
        base = right(self, snapshot, retained)
        gone = [entry for entry in self.entries if entry.zxid <= snapshot.tip.zxid]
        if gone:
            del self.entries[: len(gone)], self._zxids[: len(gone)]
            self.log_base = snapshot.tip
        return base

    right = Platter.keep
    with instead(Platter, "keep", keep):
        yield
