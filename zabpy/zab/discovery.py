"""Phase 1, both sides: an epoch that no quorum will let anybody else use, and proof that its leader is recent enough.

    learner  FollowerInfo(latest epoch promised)      → leader, until a quorum wishes to follow
    leader   promises e = 1 + the greatest, durably;    LeaderInfo(e)  → learners
    learner  promises e, durably;                       AckEpoch(e, where my log ends) → leader
    leader   a quorum promised and nobody in it is more recent: established; writes the epoch-start record

Two prospective leaders can both say LeaderInfo(e). Only one can collect a quorum that promises it for the first time;
that, and "store, then answer", is the whole proof of one established leader per epoch.
"""

from typing import TYPE_CHECKING

from zabpy.model import EPOCH_MAX, NO_ZXID, entry_after, epoch_of, make_zxid, zxid_text

from . import broadcast, election
from .effects import Append, Note, Phase, Role, RoleChanged, Send
from .inputs import PeerId
from .messages import AckEpoch, FollowerInfo, LeaderInfo, Notification
from .roles import Following, Held, Leading, Learner, Looking

if TYPE_CHECKING:
    from .replica import Replica

#: After this many attempts to lead in a row that found no quorum, let others try (trap D10).
FAILED_LEADS_MAX = 2


# The learner's side --------------------------------------------------------------------------------------------------


def follow(replica: "Replica", leader: PeerId, now_ms: int) -> None:
    """Wish to follow the elected leader. It is in reach: nobody votes for one who is not."""
    assert leader in replica.links
    replica.state = Following(leader, Phase.DISCOVERY, now_ms + replica.timing.discovery_ms)
    replica.emit(RoleChanged(replica.role, Phase.DISCOVERY, 0, leader, f"server {leader} was elected"))
    election.announce(replica)
    replica.emit(Send(leader, FollowerInfo(replica.accepted_epoch)))


def on_leader_info(replica: "Replica", peer: PeerId, told: LeaderInfo, now_ms: int) -> None:
    following = replica.following(peer)
    replica.demand(following.epoch == 0 and 0 < told.epoch <= EPOCH_MAX, peer, told)
    # An observer's promise has helped nobody to lead, and nobody asks what it promised (trap D7): held to it, one that
    # was told of an epoch that came to nothing would be left out until there is a later one. Its log binds it.
    bound = replica.accepted_epoch if replica.me in replica.ensemble.voters else epoch_of(replica.history.last.zxid)
    if told.epoch < bound:
        why = f"server {peer} offers epoch {told.epoch}, but {bound} is promised already"
        election.begin(replica, why, now_ms)
        return
    following.epoch = told.epoch
    following.phase = Phase.SYNCHRONIZATION
    following.deadline_ms = now_ms + replica.timing.init_timeout_ms
    if told.epoch <= replica.accepted_epoch:
        # We promised it before, perhaps to another who computed the same number: follow, but do not count again.
        _promise(replica, following, counted=False)
    else:
        replica.save_epoch(told.epoch)


def on_promise_saved(replica: "Replica", following: Following) -> None:
    """Our promise is on disk: only now may it be said."""
    if following.epoch == replica.accepted_epoch and not following.promised:
        _promise(replica, following, counted=True)


def _promise(replica: "Replica", following: Following, *, counted: bool) -> None:
    assert replica.history.durable == replica.history.last.zxid  # what we say of our log is on disk
    following.promised = True
    replica.emit(Send(following.leader, AckEpoch(following.epoch, counted, replica.history.ends())))
    why = f"promised epoch {following.epoch} to server {following.leader}"
    replica.emit(RoleChanged(replica.role, Phase.SYNCHRONIZATION, following.epoch, following.leader, why))


# The leader's side ---------------------------------------------------------------------------------------------------


def lead(replica: "Replica", now_ms: int) -> None:
    """We were elected: wait for a quorum that wishes to follow. Some may have said so already."""
    history = replica.history
    assert history.durable == history.last.zxid
    replica.state = Leading(Phase.DISCOVERY, now_ms + replica.timing.discovery_ms, start=history.durable)
    replica.emit(RoleChanged(Role.LEADING, Phase.DISCOVERY, 0, replica.me, "elected"))
    election.announce(replica)
    held, replica.held = replica.held, {}
    leading = replica.state
    for peer, info in sorted(held.items()):
        if replica.state is leading and replica.links.get(peer) == info.link:
            add_learner(replica, leading, peer, info.accepted_epoch, now_ms)
    if replica.state is leading:
        propose_epoch(replica, leading, now_ms)


def on_follower_info(replica: "Replica", peer: PeerId, told: FollowerInfo, now_ms: int) -> None:
    replica.demand(0 <= told.accepted_epoch < EPOCH_MAX, peer, told)
    state = replica.state
    if isinstance(state, Looking):
        replica.held[peer] = Held(replica.links[peer], told.accepted_epoch)  # it decided sooner than we did
    elif isinstance(state, Following):
        replica.emit(Send(peer, election.notification(replica)))  # it is wrong: tell it whom we follow
    else:
        replica.demand(peer not in state.learners, peer, told)
        add_learner(replica, state, peer, told.accepted_epoch, now_ms)
        if replica.state is state:
            propose_epoch(replica, state, now_ms)


def add_learner(replica: "Replica", leading: Leading, peer: PeerId, accepted_epoch: int, now_ms: int) -> None:
    voter = peer in replica.ensemble.voters
    if voter and leading.epoch and accepted_epoch > leading.epoch:
        # It may not follow us, and would be lost to this ensemble until the next election: so let that be now.
        replica.epoch_floor = max(replica.epoch_floor, accepted_epoch)
        why = f"server {peer} has promised epoch {accepted_epoch}, later than our {leading.epoch}"
        election.begin(replica, why, now_ms)
        return
    deadline_ms = now_ms + replica.timing.init_timeout_ms
    learner = Learner(peer, replica.links[peer], voter, accepted_epoch, deadline_ms)
    leading.learners[peer] = learner
    if leading.epoch_saved:
        _tell_epoch(replica, leading, learner)


def propose_epoch(replica: "Replica", leading: Leading, now_ms: int) -> None:
    """With a quorum that wishes to follow, ourselves included, choose the epoch and promise it to ourselves first."""
    wishing = [learner for learner in leading.learners.values() if learner.voter]
    if leading.epoch or not replica.ensemble.quorums.is_quorum({replica.me, *(learner.peer for learner in wishing)}):
        return
    promised = [replica.accepted_epoch, replica.epoch_floor, *(learner.accepted_epoch for learner in wishing)]
    leading.epoch = max(promised) + 1
    assert leading.epoch <= EPOCH_MAX
    leading.deadline_ms = now_ms + replica.timing.discovery_ms
    replica.save_epoch(leading.epoch)


def on_own_promise_saved(replica: "Replica", leading: Leading, now_ms: int) -> None:
    assert leading.epoch == replica.accepted_epoch
    leading.epoch_saved = True
    leading.promised.add(replica.me)
    for peer in sorted(leading.learners):
        _tell_epoch(replica, leading, leading.learners[peer])
    establish(replica, leading, now_ms)


def _tell_epoch(replica: "Replica", leading: Leading, learner: Learner) -> None:
    learner.told_epoch = True
    replica.emit(Send(learner.peer, LeaderInfo(leading.epoch)))


def on_ack_epoch(replica: "Replica", peer: PeerId, told: AckEpoch, now_ms: int) -> None:
    leading = replica.leading(peer)
    learner = leading.learners[peer]
    first_and_ours = learner.told_epoch and learner.ends is None and told.epoch == leading.epoch
    ascending = all(epoch_of(a) < epoch_of(b) for a, b in zip(told.ends, told.ends[1:], strict=False))
    replica.demand(first_and_ours and ascending, peer, told)
    learner.ends = told.ends
    learner.deadline_ms = now_ms + replica.timing.init_timeout_ms
    if leading.phase is Phase.DISCOVERY:
        last = told.ends[-1] if told.ends else NO_ZXID
        if learner.voter and told.counted:
            if last > leading.start:
                why = f"server {peer} is more recent: {zxid_text(last)}, ours ends at {zxid_text(leading.start)}"
                election.begin(replica, why, now_ms)
                return
            # A voter with an empty log, among servers whose logs hold transactions, has lost its disk, or was never
            # here. What it once acknowledged is gone, so its promise must not help to elect one who lacks that
            # (trap B11); once synchronised it counts as any other. A new ensemble is not hindered: before a first
            # transaction there is nothing to lose, and a first transaction needs a quorum with epoch-start records.
            if told.ends or not replica.history.has_transactions:
                leading.promised.add(peer)
            else:
                facts = (("peer", peer), ("epoch", leading.epoch))
                replica.emit(Note("promise_of_an_empty_log_not_counted", facts))
        establish(replica, leading, now_ms)
    else:
        replica.synchronise(leading, learner, now_ms)


def establish(replica: "Replica", leading: Leading, now_ms: int) -> None:
    """With a quorum of promises the epoch is ours: its start record goes onto our disk, before any other's."""
    if leading.phase is not Phase.DISCOVERY or not replica.ensemble.quorums.is_quorum(leading.promised):
        return
    leading.epoch_start = make_zxid(leading.epoch, 0)
    leading.phase = Phase.SYNCHRONIZATION
    leading.deadline_ms = now_ms + replica.timing.init_timeout_ms
    leading.next_ping_ms = now_ms + replica.timing.ping_ms
    record = entry_after(replica.history.last.chain, leading.epoch_start, b"")
    replica.history.extend((record,))
    why = f"servers {sorted(leading.promised)} promised epoch {leading.epoch}"
    replica.emit(RoleChanged(Role.LEADING, Phase.SYNCHRONIZATION, leading.epoch, replica.me, why))
    replica.emit(Append((record,)))


# Both ----------------------------------------------------------------------------------------------------------------


def on_word(replica: "Replica", peer: PeerId, said: Notification, now_ms: int) -> None:
    """Another server's vote, heard while we lead or follow. Give up early what cannot succeed (trap D3)."""
    state = replica.state
    if isinstance(state, Following):
        if state.leader == peer and said.state in (Role.FOLLOWING, Role.OBSERVING):
            election.begin(replica, f"server {peer}, whom we elected, follows server {said.leader}", now_ms)
        elif state.leader == peer and said.state == Role.LOOKING and said.round > replica.round:
            election.begin(replica, f"server {peer}, whom we elected, looks for a leader itself", now_ms)
    elif isinstance(state, Leading) and state.phase is not Phase.BROADCAST and peer in replica.ensemble.voters:
        left = said.state == Role.LOOKING and said.round > replica.round
        if left and not replica.ensemble.quorums.is_quorum(broadcast.in_touch(replica, state) - {peer}):
            election.begin(
                replica, f"server {peer} looks for a leader again, and without it there is no quorum", now_ms
            )


def tick_leading(replica: "Replica", leading: Leading, now_ms: int) -> None:
    """A prospective leader's time is over: perhaps it cannot be heard. Until then, who holds the history already is
    to know that we still wait for others, to whom it may be long (trap D9)."""
    if now_ms >= leading.next_ping_ms:
        leading.next_ping_ms = now_ms + replica.timing.ping_ms
        broadcast.ping(replica, leading)
    if now_ms >= leading.deadline_ms:
        replica.failed_leads += 1
        if replica.failed_leads >= FAILED_LEADS_MAX:
            replica.abstain_until_ms = now_ms + replica.timing.round_ms
        election.begin(replica, f"no quorum followed within the time for {leading.phase}", now_ms)
