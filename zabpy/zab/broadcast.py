"""Phase 3, both sides: give payloads an order, and deliver what a quorum has on disk.

Acks and commits are watermarks: each covers all before it, since links are FIFO and logs have no holes. What is
delivered here is never beyond this server's own disk, even when others' disks made the quorum: memory
never speaks of what a crash would take away.
"""

from typing import TYPE_CHECKING

from zabpy.model import COUNTER_HANDOVER, NO_ZXID, Zxid, counter_of, entry_after, zxid_text

from . import election, synchronization
from .effects import Append, Deliver, Phase, ReadConfirmed, Role, RoleChanged, Send
from .inputs import PeerId, ReadAsked, Submitted
from .messages import Ack, Commit, Ping, Pong, Propose
from .roles import NEVER, Following, Leading, Learner, PendingRead

if TYPE_CHECKING:
    from .replica import Replica


# The leader's side ---------------------------------------------------------------------------------------------------


def on_submitted(replica: "Replica", given: Submitted, now_ms: int) -> None:
    """Next zxids, into our own log and to every learner at once: the log's order is the order of sending."""
    leading = replica.state
    assert isinstance(leading, Leading) and replica.may_submit and given.payloads
    zxid, chain = replica.history.last
    entries = []
    for payload in given.payloads:
        zxid = Zxid(zxid + 1)
        entry = entry_after(chain, zxid, payload)
        chain = entry.chain
        entries.append(entry)
    assert counter_of(zxid) >= len(entries)  # did not run into the next epoch
    proposed = tuple(entries)
    replica.history.extend(proposed)
    replica.emit(Append(proposed))
    message = Propose(proposed)
    for learner in leading.learners.values():
        if learner.streaming:
            replica.emit(Send(learner.peer, message))
            learner.owing_since_ms = min(learner.owing_since_ms, now_ms)
    if counter_of(zxid) >= COUNTER_HANDOVER:
        leading.handing_over = True  # trap E8: on our own terms, not at the last number


def on_ack(replica: "Replica", peer: PeerId, told: Ack, now_ms: int) -> None:
    leading = replica.leading(peer)
    learner = leading.learners[peer]
    known = learner.acked <= told.zxid <= replica.history.last.zxid and leading.epoch_start <= told.zxid
    replica.demand(learner.streaming and known, peer, told)
    learner.acked = learner.durable = told.zxid
    learner.owing_since_ms = NEVER if told.zxid == replica.history.last.zxid else now_ms
    if not learner.synced:
        learner.synced = True
        if leading.phase is Phase.BROADCAST:
            replica.emit(Send(peer, Commit(leading.committed)))
    advance(replica, leading, now_ms)


def advance(replica: "Replica", leading: Leading, now_ms: int) -> None:
    """Commit what a quorum has on disk, our own disk being one of it; deliver what is committed and on our disk."""
    positions = [(learner.peer, learner.acked) for learner in leading.learners.values() if learner.synced]
    final = Zxid(replica.ensemble.quorums.agreed([(replica.me, replica.history.durable), *positions]))
    # Only this epoch's records are committed by counting; with its first, all of the initial history is.
    if leading.epoch_start != NO_ZXID and final >= leading.epoch_start and final > leading.committed:
        leading.committed = final
        message = Commit(final)
        for learner in leading.learners.values():
            if learner.synced:
                replica.emit(Send(learner.peer, message))
    _deliver(replica, leading.committed)
    if leading.phase is Phase.SYNCHRONIZATION and leading.committed:
        activate(replica, leading, now_ms)
    if leading.handing_over and replica.history.delivered == replica.history.last.zxid:
        election.begin(replica, f"counter {counter_of(replica.history.delivered):#x} nears its end", now_ms)


def activate(replica: "Replica", leading: Leading, now_ms: int) -> None:
    """A quorum holds our history and this epoch's start: it is final, and we may propose and serve."""
    assert replica.history.delivered >= leading.epoch_start  # our own disk is part of what `agreed` may miss
    leading.phase = Phase.BROADCAST
    leading.deadline_ms = NEVER
    leading.next_ping_ms = now_ms + replica.timing.ping_ms
    replica.failed_leads = 0
    why = f"a quorum holds the history up to {zxid_text(leading.epoch_start)}"
    replica.emit(RoleChanged(Role.LEADING, Phase.BROADCAST, leading.epoch, replica.me, why))
    election.announce(replica)


def on_read_asked(replica: "Replica", given: ReadAsked, now_ms: int) -> None:
    """Note what is committed now, and ask a quorum whether we still lead. A ping sent before would prove nothing."""
    leading = replica.state
    assert isinstance(leading, Leading) and leading.phase is Phase.BROADCAST
    ping(replica, leading)
    leading.reads.append(PendingRead(given.number, leading.committed, leading.ping))
    _confirm_reads(replica, leading)


def on_pong(replica: "Replica", peer: PeerId, told: Pong, now_ms: int) -> None:
    leading = replica.leading(peer)
    learner = leading.learners[peer]
    replica.demand(told.epoch == leading.epoch and told.number <= leading.ping, peer, told)
    moved = told.durable > learner.durable
    learner.durable = max(learner.durable, told.durable)
    # An answer to a ping says that it lives; one that nobody asked for (number 0), that it comes forward.
    if leading.phase is not Phase.BROADCAST and learner.voter and (moved or told.number == 0):
        leading.deadline_ms = now_ms + replica.timing.init_timeout_ms  # it moves: wait for it (trap D9)
    if told.number > learner.ponged:
        learner.ponged = told.number
        if leading.reads:
            _confirm_reads(replica, leading)


def _confirm_reads(replica: "Replica", leading: Leading) -> None:
    answered = [(learner.peer, learner.ponged) for learner in leading.learners.values() if learner.synced]
    confirmed = replica.ensemble.quorums.agreed([(replica.me, leading.ping), *answered])
    while leading.reads and leading.reads[0].ping <= confirmed:
        read = leading.reads.pop(0)
        replica.emit(ReadConfirmed(read.number, read.zxid))


def ping(replica: "Replica", leading: Leading) -> None:
    leading.ping += 1
    message = Ping(leading.ping, leading.epoch)
    for learner in leading.learners.values():
        if learner.streaming:
            replica.emit(Send(learner.peer, message))


def heard_learner(replica: "Replica", learner: Learner, now_ms: int) -> None:
    """Any word of a learner keeps it for another while."""
    timing = replica.timing
    learner.deadline_ms = now_ms + (timing.sync_timeout_ms if learner.synced else timing.init_timeout_ms)


def in_touch(replica: "Replica", leading: Leading) -> set[PeerId]:
    """Ourselves and the voters that follow us."""
    return {replica.me, *(learner.peer for learner in leading.learners.values() if learner.voter)}


def tick_leading(replica: "Replica", leading: Leading, now_ms: int) -> None:
    """Every half tick: give up learners that are silent or owe an ack for too long, then see who is left."""
    if now_ms < leading.next_ping_ms:
        return
    leading.next_ping_ms = now_ms + replica.timing.ping_ms
    for learner in list(leading.learners.values()):
        if now_ms >= learner.deadline_ms:
            drop(replica, leading, learner, "nothing heard of it in time")
        elif learner.synced and now_ms - learner.owing_since_ms >= replica.timing.sync_timeout_ms:
            drop(replica, leading, learner, "its disk does not keep up")
    if keep_quorum(replica, leading, now_ms):
        ping(replica, leading)


def drop(replica: "Replica", leading: Leading, learner: Learner, why: str) -> None:
    del leading.learners[learner.peer]
    replica.hang_up(learner.peer, why)


def keep_quorum(replica: "Replica", leading: Leading, now_ms: int) -> bool:
    """Go on only while a quorum follows us; else nothing could be committed and our clients would read old data."""
    touched = in_touch(replica, leading)
    if leading.epoch and not replica.ensemble.quorums.is_quorum(touched):
        election.begin(replica, f"only servers {sorted(touched)} are left of a quorum", now_ms)
        return False
    return True


# The learner's side --------------------------------------------------------------------------------------------------


def on_commit(replica: "Replica", peer: PeerId, told: Commit, now_ms: int) -> None:
    following = replica.following(peer)
    in_order = following.committed <= told.zxid <= replica.history.last.zxid
    replica.demand(following.acked != NO_ZXID and in_order and told.zxid >> 32 == following.epoch, peer, told)
    following.committed = told.zxid
    _deliver(replica, told.zxid)
    if following.phase is Phase.SYNCHRONIZATION:
        following.phase = Phase.BROADCAST
        following.deadline_ms = now_ms + replica.timing.sync_timeout_ms
        replica.failed_leads = 0
        why = f"in step with server {peer} at {zxid_text(replica.history.delivered)}"
        replica.emit(RoleChanged(replica.role, Phase.BROADCAST, following.epoch, peer, why))
        election.announce(replica)


def on_ping(replica: "Replica", peer: PeerId, told: Ping, now_ms: int) -> None:
    """Answering says that we follow this leader still and have promised nobody a later epoch: see `ReadAsked`."""
    following = replica.following(peer)
    replica.demand(following.promised and told.epoch == following.epoch, peer, told)
    assert replica.keeps_to(following.epoch)
    replica.emit(Send(peer, Pong(told.number, told.epoch, replica.history.durable)))


def heard_leader(replica: "Replica", following: Following, now_ms: int) -> None:
    """Any word of the leader keeps us with it for another while; before it told the epoch, only that would."""
    timing = replica.timing
    if following.phase is Phase.BROADCAST:
        following.deadline_ms = now_ms + timing.sync_timeout_ms
    elif following.phase is Phase.SYNCHRONIZATION:
        following.deadline_ms = now_ms + timing.init_timeout_ms


# Both ----------------------------------------------------------------------------------------------------------------


def on_durable(replica: "Replica", now_ms: int) -> None:
    """More of our log is on disk."""
    state = replica.state
    if isinstance(state, Leading):
        if state.phase is Phase.SYNCHRONIZATION:
            for peer in sorted(state.learners):
                replica.synchronise(state, state.learners[peer], now_ms)
        advance(replica, state, now_ms)
    elif isinstance(state, Following):
        synchronization.acknowledge(replica, state)
        if state.phase is Phase.BROADCAST:
            _deliver(replica, state.committed)
    else:
        election.settle(replica, now_ms)


def _deliver(replica: "Replica", upto: Zxid) -> None:
    entries = replica.history.take(upto)
    if entries:
        replica.emit(Deliver(entries))
