"""Traps: epochs, promises, and who counts."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from zabpy.model import Zxid, counter_of, epoch_of
from zabpy.zab import Quorums, Replica, broadcast, discovery, election, replica as zab_replica
from zabpy.zab.effects import SaveEpoch, Send
from zabpy.zab.history import History
from zabpy.zab.messages import AckEpoch, LeaderInfo
from zabpy.zab.roles import Following, Leading, Looking, Vote

from ..drive import Drive, Platter
from ..instead import instead, instead_in
from .trap import trap


@trap("A6", "I6")
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

    with instead(election, "better", better), instead_in(zab_replica.MESSAGES, AckEpoch, on_ack_epoch):
        yield


@trap("A7", "I2")
def _epoch_told_before_saved() -> Iterator[None]:
    """A leader tells the new epoch before its own promise is on its disk."""
    right = Replica.save_epoch

    def save_epoch(self: Replica, epoch: int) -> None:
        right(self, epoch)
        if isinstance(self.state, Leading):
            for peer in sorted(self.state.learners):
                self.emit(Send(peer, LeaderInfo(epoch)))

    with instead(Replica, "save_epoch", save_epoch):
        yield


@trap("minus-one", "I9", "I1")
def _promise_counted_twice() -> Iterator[None]:
    """A promise that was made before, perhaps to another, counts again (the -1 rule dropped)."""
    right = discovery._promise

    def promise(replica: Replica, following: Following, *, counted: bool) -> None:
        right(replica, following, counted=True)

    with instead(discovery, "_promise", promise):
        yield


@trap("promise-unsaved", "I9")
def _promise_before_saved() -> Iterator[None]:
    """A follower answers the new epoch before its promise is on disk."""
    right = Replica.save_epoch

    def save_epoch(self: Replica, epoch: int) -> None:
        right(self, epoch)
        state = self.state
        if isinstance(state, Following) and not state.promised:
            discovery._promise(self, state, counted=True)

    with instead(Replica, "save_epoch", save_epoch):
        yield


@trap("D7", "I8", "I1", "I6")
def _observers_counted() -> Iterator[None]:
    """Whoever answers counts for the quorum, observers too."""

    def is_quorum(self: Quorums, servers: Any) -> bool:
        return 2 * len(set(servers)) > len(self.voters)

    in_touch = broadcast.in_touch

    def all_in_touch(replica: Replica, leading: Leading) -> set[int]:
        return {replica.me, *leading.learners} or in_touch(replica, leading)

    with instead(Quorums, "is_quorum", is_quorum), instead(broadcast, "in_touch", all_in_touch):
        yield


@trap("D1", "L1", "I25")
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

    with instead(election, "better", better):
        yield


@trap("forgotten-promise", "I2", "I9")
def _promise_forgotten_over_a_restart() -> Iterator[None]:
    """A restarted server takes the epoch of its log for the latest it has promised."""

    def recovered(self: Platter) -> Any:
        return replace(right(self), accepted_epoch=epoch_of(self.tip.zxid))

    right = Platter.recovered
    with instead(Platter, "recovered", recovered):
        yield


@trap("torn-promise", "I26", "I2")
def _promise_written_in_place() -> Iterator[None]:
    """The file of the promise is overwritten in place: a crash in the middle leaves none."""

    def crash(self: Drive, keep_all: bool) -> None:
        if self.at_work and isinstance(self.at_work[0], SaveEpoch):
            self.platter.accepted_epoch = 0
            self.at_work.clear()
        right(self, keep_all)

    right = Drive.crash
    with instead(Drive, "crash", crash):
        yield


@trap("D4", "I2")
def _epoch_of_our_own_only() -> Iterator[None]:
    """A new epoch is one more than what the leader itself has promised, whatever its learners have."""

    def propose_epoch(replica: Replica, leading: Leading, now_ms: int) -> None:
        if not leading.epoch:
            known = {peer: learner.accepted_epoch for peer, learner in leading.learners.items()}
            for learner in leading.learners.values():
                learner.accepted_epoch = 0

            right(replica, leading, now_ms)
            for peer, learner in leading.learners.items():
                learner.accepted_epoch = known[peer]

    right = discovery.propose_epoch
    with instead(discovery, "propose_epoch", propose_epoch):
        yield


@trap("D6", "I26")
def _crash_state_refused() -> Iterator[None]:
    """A server does not start when the epochs of its log and of its promise differ, which a crash can leave."""

    def init(self: Replica, me: int, ensemble: Any, timing: Any, recovered: Any, rng: Any) -> None:
        right(self, me, ensemble, timing, recovered, rng)
        if epoch_of(self.history.last.zxid) != self.accepted_epoch:
            raise ValueError("the log is not of the accepted epoch")

    right = Replica.__init__
    with instead(Replica, "__init__", init):
        yield


@trap("B11", "I6", "I7", "I11", "I16")
def _empty_log_helps_to_elect() -> Iterator[None]:
    """A server that has lost its disk counts as one that never had any: its promise helps to elect one who lacks what
    it had acknowledged."""
    with instead(History, "has_transactions", property(lambda self: False)):
        yield
