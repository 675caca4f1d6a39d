"""Phase 0, both sides: fast leader election.

It is for liveness only: phase 1 checks the winner again. Its duty is that a connected, quiet quorum settles on the one
with the most recent log. Four things differ from ZooKeeper's:

* A vote is (end of the durable log, id). The epoch needs no field of its own: it is the zxid's high half, because the
  log holds epoch-start records.
* Votes of servers we are not linked with do not count, and nobody votes for a candidate out of its reach or stands
  without a quorum in reach: with a network cut into a chain or a ring, somebody in the middle still wins (trap D10).
* When all in reach agree there is no waiting for a better vote, or only a moment for those out of reach.
* Everybody tells what it is doing when that changes, not only when asked, so who joins learns it from the first word.
"""

from typing import TYPE_CHECKING

from zabpy.model import epoch_of

from . import discovery
from .effects import Note, Phase, Role, RoleChanged, Send
from .inputs import PeerId
from .messages import Notification
from .roles import NEVER, NOBODY, Leading, Looking, Vote

if TYPE_CHECKING:
    from .replica import Replica


def begin(replica: "Replica", why: str, now_ms: int) -> None:
    """Look for a leader, whatever we did before. What we said and heard in the old role ends with its links."""
    replica.leave_role(why)
    replica.state = Looking(vote=NOBODY)
    replica.emit(RoleChanged(Role.LOOKING, Phase.ELECTION, replica.epoch, None, why))
    settle(replica, now_ms)


def settle(replica: "Replica", now_ms: int) -> None:
    """Go on once our disk has done all it was asked to: only then is our vote the truth."""
    looking = replica.state
    assert isinstance(looking, Looking)
    if not looking.settled and not replica.disk_is_busy:
        looking.settled = True
        new_round(replica, now_ms)


def new_round(replica: "Replica", now_ms: int, number: int | None = None) -> None:
    """Enter a round (the next one unless told which) with our own vote, and tell everybody."""
    looking = replica.state
    assert isinstance(looking, Looking) and looking.settled
    replica.round = replica.round + 1 if number is None else number
    looking.votes.clear()
    looking.vote = own_vote(replica, now_ms)
    timing = replica.timing
    looking.repeat_at_ms = now_ms + timing.repeat_ms
    looking.round_ends_at_ms = now_ms + timing.round_ms + replica.rng.randrange(timing.round_ms)
    looking.finalize_at_ms = NEVER
    announce(replica)
    this = replica.round
    for peer, said in sorted(replica.heard.items()):
        if said.state == Role.LOOKING and said.round >= this and replica.round == this:
            consider(replica, peer, said, now_ms)
    if replica.round == this and replica.state is looking:
        decide(replica, now_ms)


def own_vote(replica: "Replica", now_ms: int) -> Vote:
    """For ourselves, if we can reach a quorum and did not just fail to lead one."""
    if not replica.ensemble.may_lead(replica.me) or now_ms < replica.abstain_until_ms:
        return NOBODY
    if not replica.ensemble.quorums.is_quorum({replica.me, *replica.links}):
        return NOBODY
    return Vote(replica.history.durable, replica.me)


def notification(replica: "Replica") -> Notification:
    """What we say of ourselves now."""
    state = replica.state
    if isinstance(state, Looking):
        vote = state.vote
        return Notification(Role.LOOKING, replica.round, vote.leader, vote.zxid, epoch_of(vote.zxid))
    leader = replica.me if isinstance(state, Leading) else state.leader
    return Notification(replica.role, replica.round, leader, replica.elected_zxid, replica.epoch)


def announce(replica: "Replica") -> None:
    """Tell everybody in reach. While our disk settles we have nothing to say."""
    if isinstance(replica.state, Looking) and not replica.state.settled:
        return
    said = notification(replica)
    for peer in sorted(replica.links):
        replica.emit(Send(peer, said))


def on_linked(replica: "Replica", peer: PeerId, now_ms: int) -> None:
    """Somebody came into reach: say what we do; perhaps we can stand now, or vote for it."""
    looking = replica.state
    if not isinstance(looking, Looking):
        replica.emit(Send(peer, notification(replica)))
        return
    if not looking.settled:
        return
    replica.emit(Send(peer, notification(replica)))
    better(replica, own_vote(replica, now_ms))
    decide(replica, now_ms)


def on_unlinked(replica: "Replica", peer: PeerId, now_ms: int) -> None:
    """Somebody went out of reach while we look: its vote no longer counts, and it cannot be ours."""
    looking = replica.state
    if not isinstance(looking, Looking) or not looking.settled:
        return
    looking.votes.pop(peer, None)
    if looking.vote.leader == peer or (looking.vote.leader == replica.me and own_vote(replica, now_ms) == NOBODY):
        new_round(replica, now_ms)
    else:
        looking.finalize_at_ms = NEVER
        decide(replica, now_ms)


def on_notification(replica: "Replica", peer: PeerId, said: Notification, now_ms: int) -> None:
    """A word from another server; what it means depends on what we are doing."""
    replica.heard[peer] = said
    looking = replica.state
    if not isinstance(looking, Looking):
        if said.state == Role.LOOKING:
            replica.emit(Send(peer, notification(replica)))
        discovery.on_word(replica, peer, said, now_ms)
    elif looking.settled:
        if said.state == Role.LOOKING and (said.round < replica.round or peer not in replica.ensemble.voters):
            # So that it catches up, or learns who leads. An observer's word helps nobody, and one that answered would
            # be answered in turn, without end.
            if replica.me in replica.ensemble.voters:
                replica.emit(Send(peer, notification(replica)))
        else:
            consider(replica, peer, said, now_ms)
        if replica.state is looking:
            decide(replica, now_ms)


def consider(replica: "Replica", peer: PeerId, said: Notification, now_ms: int) -> None:
    """Take in a looking voter's word of our round or a later one. A settled one's counts in `follow_the_settled`."""
    looking = replica.state
    assert isinstance(looking, Looking)
    if said.state != Role.LOOKING or peer not in replica.ensemble.voters:
        return
    if said.round > replica.round:
        # Its round, and the better of its vote and our own first one; what we heard in our old round is void.
        new_round(replica, now_ms, number=said.round)
    elif said.round == replica.round:
        looking.votes[peer] = Vote(said.zxid, said.leader)
        better(replica, looking.votes[peer])


def better(replica: "Replica", vote: Vote) -> None:
    """Adopt and announce this vote if it beats ours and its candidate is within our reach."""
    looking = replica.state
    assert isinstance(looking, Looking)
    # What others remember of us from before a restart or a cut is not what our log is now.
    in_reach = vote.leader in replica.links or vote == (replica.history.durable, replica.me)
    if vote > looking.vote and in_reach and replica.ensemble.may_lead(vote.leader):
        looking.vote = vote
        looking.finalize_at_ms = NEVER
        announce(replica)


def decide(replica: "Replica", now_ms: int) -> None:
    """End the election if it can be ended: somebody leads already, or a quorum agrees with us."""
    looking = replica.state
    assert isinstance(looking, Looking) and looking.settled
    if follow_the_settled(replica, now_ms):
        return
    voters, me = replica.ensemble.voters, replica.me
    if looking.vote == NOBODY or me not in voters:
        return
    agreeing = {peer for peer, vote in looking.votes.items() if vote == looking.vote} | {me}
    if not replica.ensemble.quorums.is_quorum(agreeing):
        looking.finalize_at_ms = NEVER
        return
    if agreeing >= voters:
        conclude(replica, now_ms)
    elif looking.finalize_at_ms == NEVER:
        all_in_reach_agree = agreeing >= voters & (replica.links.keys() | {me})
        timing = replica.timing
        looking.finalize_at_ms = now_ms + (timing.finalize_ms if all_in_reach_agree else timing.finalize_disagreed_ms)


def follow_the_settled(replica: "Replica", now_ms: int) -> bool:
    """Join an ensemble that is running: a quorum says who leads in which epoch, and that one says so itself.

    Zxid and round are not compared: members of a running ensemble remember different ones (trap D2). Without the
    leader's own word, servers that remember a dead leader would elect it again.
    """
    settled = {
        peer: said
        for peer, said in replica.heard.items()
        if said.state in (Role.LEADING, Role.FOLLOWING) and peer in replica.ensemble.voters
    }
    for peer in sorted(settled):
        leader = settled[peer]
        if leader.state != Role.LEADING or leader.leader != peer or peer == replica.me:
            continue
        agreeing = {p for p, said in settled.items() if said.leader == peer and said.epoch == leader.epoch}
        looking = replica.state
        assert isinstance(looking, Looking)
        if Vote(leader.zxid, peer) >= looking.vote:
            # It needs perhaps no more than us: a prospective leader's electors may have restarted and forgotten it.
            agreeing |= {replica.me} & replica.ensemble.voters
            agreeing |= {p for p, vote in looking.votes.items() if vote.leader == peer}
        # We voted for it in this very round, and it counted a quorum of such votes. We may never see that quorum: in a
        # ring of servers its two neighbours do not hear each other (trap D10).
        elected_by_us = leader.round == replica.round and looking.vote.leader == peer
        if elected_by_us or replica.ensemble.quorums.is_quorum(agreeing):
            replica.round = max(replica.round, leader.round)
            replica.elected_zxid = leader.zxid
            replica.follow(peer, now_ms)
            return True
    return False


def conclude(replica: "Replica", now_ms: int) -> None:
    """The election is over: lead or follow."""
    looking = replica.state
    assert isinstance(looking, Looking)
    replica.elected_zxid = looking.vote.zxid
    if looking.vote.leader == replica.me:
        replica.lead(now_ms)
    else:
        replica.follow(looking.vote.leader, now_ms)


def tick(replica: "Replica", now_ms: int) -> None:
    looking = replica.state
    assert isinstance(looking, Looking)
    if not looking.settled:
        return
    if now_ms >= looking.finalize_at_ms:
        conclude(replica, now_ms)
    elif now_ms >= looking.round_ends_at_ms:
        replica.emit(Note("election_unsettled", (("round", replica.round), ("heard", sorted(looking.votes)))))
        new_round(replica, now_ms)
    elif now_ms >= looking.repeat_at_ms:
        looking.repeat_at_ms = now_ms + replica.timing.repeat_ms
        better(replica, own_vote(replica, now_ms))  # an abstention may have ended
        announce(replica)
