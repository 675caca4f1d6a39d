"""Traps: committing and delivering."""

from collections.abc import Iterator
from typing import Any

from zabpy.model import Entry, Zxid
from zabpy.zab import Quorums, Replica, broadcast, discovery
from zabpy.zab.effects import Deliver, Phase, Send
from zabpy.zab.history import History
from zabpy.zab.messages import Commit
from zabpy.zab.roles import Following, Leading

from ..instead import instead
from .trap import trap


@trap("no-quorum", "I8")
def _committed_by_one_less() -> Iterator[None]:
    """Half of the voters is taken for a quorum when acks are counted."""

    def agreed(self: Quorums, positions: Any) -> int:
        ranked = sorted((position for server, position in positions if server in self.voters), reverse=True)
        needed = max(1, len(self.voters) // 2)
        return ranked[needed - 1] if len(ranked) >= needed else 0

    with instead(Quorums, "agreed", agreed):
        yield


@trap("old-epoch", "I8")
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

    with instead(discovery, "establish", establish):
        yield


@trap("commit-to-all", "I24")
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

    with instead(broadcast, "advance", advance):
        yield


@trap("memory-ahead", "I10")
def _delivered_before_own_disk() -> Iterator[None]:
    """What others made final is delivered before it is on this server's own disk."""
    right = History.take

    def take(self: History, upto: Zxid) -> tuple[Entry, ...]:
        durable, self.durable = self.durable, self.last.zxid
        taken = right(self, upto)
        self.durable = durable
        return taken

    with instead(History, "take", take):
        yield


@trap("early-proposal", "I15", "CORE")
def _proposed_before_activation() -> Iterator[None]:
    """A leader that is established, but not activated, proposes."""

    def may_submit(self: Replica) -> bool:
        return isinstance(self.state, Leading) and self.state.phase != "discovery" and not self.state.handing_over

    with instead(Replica, "may_submit", property(may_submit)):
        yield


@trap("A5-commit", "I28")
def _first_commit_dropped() -> Iterator[None]:
    """A learner that is told to serve has nothing pending to commit, and serves without the history's end."""

    def deliver(replica: Replica, upto: Zxid) -> None:
        following = replica.state
        if not isinstance(following, Following) or following.phase is not Phase.SYNCHRONIZATION:
            right(replica, upto)

    right = broadcast._deliver
    with instead(broadcast, "_deliver", deliver):
        yield


@trap("one-commit", "I10")
def _commit_for_one_entry() -> Iterator[None]:
    """A commit is taken for that of one entry, not of all up to it."""

    def take(self: History, upto: Zxid) -> tuple[Entry, ...]:
        return right(self, upto)[-1:]

    right = History.take
    with instead(History, "take", take):
        yield


@trap("own-disk", "I8")
def _leader_counts_itself_at_once() -> Iterator[None]:
    """A leader counts itself for what it has proposed, not for what is on its disk."""

    def advance(replica: Replica, leading: Leading, now_ms: int) -> None:
        durable = replica.history.durable
        replica.history.durable = replica.history.last.zxid
        take = History.take

        def take_durable(self: History, upto: Zxid) -> tuple[Entry, ...]:
            return take(self, min(upto, durable))

        with instead(History, "take", take_durable):
            right(replica, leading, now_ms)
        replica.history.durable = durable

    right = broadcast.advance
    with instead(broadcast, "advance", advance):
        yield


@trap("unheard-leader", "L1")
def _leads_without_a_quorum() -> Iterator[None]:
    """A leader goes on leading whoever is left with it."""
    with instead(broadcast, "keep_quorum", lambda replica, leading, now_ms: True):
        yield


@trap("E8", "I25")
def _counter_runs_on() -> Iterator[None]:
    """Near the end of the counter nobody hands over."""

    def on_submitted(replica: Replica, given: Any, now_ms: int) -> None:
        right(replica, given, now_ms)
        leading = replica.state
        assert isinstance(leading, Leading)
        leading.handing_over = False

    right = broadcast.on_submitted
    with instead(broadcast, "on_submitted", on_submitted):
        yield
