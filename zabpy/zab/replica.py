"""Replica: one server's part in ZAB. Inputs in, effects out; no clock, no socket, no disk, no chance of its own.

Which phase we are in and what may happen in it stands in the tables at the end; what is done stands in the phase files.
A message that is not legal where we are ends the link it came on. A rule of our own that is broken is an `assert` or an
exception that leaves `step`: the process must stop before it spreads.
"""

from collections.abc import Callable, Mapping
from random import Random
from typing import Any

from zabpy.model import NO_ZXID, ZabpyError, Zxid, epoch_of

from . import broadcast, discovery, election, synchronization
from .effects import Effect, Hangup, Note, Role, SaveEpoch
from .ensemble import Ensemble, Timing
from .history import History, Recovered
from .inputs import (
    Durable,
    EnsembleChanged,
    EpochSaved,
    Input,
    Installed,
    Linked,
    LinkId,
    PeerId,
    ReadAsked,
    Received,
    SnapshotSaved,
    Submitted,
    Tick,
    Unlinked,
)
from .messages import (
    Ack,
    AckEpoch,
    Commit,
    Diff,
    FollowerInfo,
    Image,
    ImageChunk,
    LeaderInfo,
    Message,
    NewLeader,
    Notification,
    Ping,
    Pong,
    Propose,
    Trunc,
)
from .roles import NOBODY, Following, Held, Leading, Learner, Looking, RoleState


class PeerProtocolError(ZabpyError):
    """A peer said what ZAB does not allow here: close that link, log who, when and what, go on."""

    def __init__(self, peer: PeerId, role: str, phase: str, message: object) -> None:
        super().__init__(f"server {peer} sent {message!r:.200} to one that is {role} in {phase}")
        self.peer = peer


class Replica:
    """One server's state machine. Not thread-safe; `start` once, then `step` for each input.

    Args:
        me: this server's id; it must be in ``ensemble``.
        recovered: what storage found, all of it durable.
        rng: spreads election rounds; nothing else depends on chance.
    """

    def __init__(self, me: PeerId, ensemble: Ensemble, timing: Timing, recovered: Recovered, rng: Random) -> None:
        assert me in ensemble.servers
        self.me = me
        self.ensemble = ensemble
        self.timing = timing
        self.rng = rng
        # On disk:
        self.history = History(recovered)
        self.accepted_epoch = recovered.accepted_epoch
        assert epoch_of(self.history.last.zxid) <= self.accepted_epoch or self.history.last.zxid == NO_ZXID
        # On its way to the disk:
        self.saving_epoch = 0
        self.installing = False
        # Volatile, in every role:
        self.state: RoleState = Looking(NOBODY)
        self.links: dict[PeerId, LinkId] = {}
        self.heard: dict[PeerId, Notification] = {}
        self.held: dict[PeerId, Held] = {}
        self.round = 0
        self.elected_zxid: Zxid = self.history.durable
        self.epoch_floor = 0
        self.failed_leads = 0
        self.abstain_until_ms = 0
        self._effects: list[Effect] = []

    # What the layer above may ask -------------------------------------------------------------------------------------

    @property
    def role(self) -> Role:
        if isinstance(self.state, Leading):
            return Role.LEADING
        if isinstance(self.state, Looking):
            return Role.LOOKING
        return Role.FOLLOWING if self.me in self.ensemble.voters else Role.OBSERVING

    @property
    def epoch(self) -> int:
        """The epoch we are in, 0 while it is not known; of a looking server, its log's."""
        return epoch_of(self.history.last.zxid) if isinstance(self.state, Looking) else self.state.epoch

    @property
    def leader(self) -> PeerId | None:
        if isinstance(self.state, Looking):
            return None
        return self.me if isinstance(self.state, Leading) else self.state.leader

    @property
    def may_submit(self) -> bool:
        """We lead, are activated, and the epoch has room."""
        state = self.state
        return isinstance(state, Leading) and state.phase == "broadcast" and not state.handing_over

    @property
    def last_zxid(self) -> Zxid:
        """The end of our log. While `may_submit`, the next payload submitted gets the zxid after it."""
        return self.history.last.zxid

    @property
    def delivered(self) -> Zxid:
        return self.history.delivered

    @property
    def in_step(self) -> frozenset[PeerId]:
        """While we lead: who holds our history, or has held it on this very link. We ourselves, first of all."""
        state = self.state
        if not isinstance(state, Leading):
            return frozenset()
        return frozenset((self.me, *(learner.peer for learner in state.learners.values() if learner.synced)))

    @property
    def outstanding(self) -> int:
        """Entries in our log that are not delivered, across an epoch's border at the most one too few."""
        return max(0, self.history.last.zxid - self.history.delivered)

    @property
    def wake_at_ms(self) -> int:
        """When a `Tick` is wanted at the latest."""
        state = self.state
        if isinstance(state, Looking):
            return min(state.finalize_at_ms, state.repeat_at_ms, state.round_ends_at_ms)
        if isinstance(state, Leading):
            return min(state.deadline_ms, state.next_ping_ms)
        return state.deadline_ms

    # Inputs -----------------------------------------------------------------------------------------------------------

    def start(self, now_ms: int) -> list[Effect]:
        """Begin to look for a leader. Call once, before the first `step`."""
        election.begin(self, "started", now_ms)
        return self._take_effects()

    def step(self, given: Input, now_ms: int) -> list[Effect]:
        """Take one input in and return what is to be done, in order.

        Raises:
            HistoryPartedError: our final history is not this ensemble's; stop, a human decides.
            AssertionError: a bug; stop.
        """
        INPUTS[type(given)](self, given, now_ms)
        return self._take_effects()

    def _take_effects(self) -> list[Effect]:
        effects, self._effects = self._effects, []
        return effects

    def _linked(self, given: Linked, now_ms: int) -> None:
        if given.peer in self.links:
            self._unlinked(Unlinked(given.peer, self.links[given.peer]), now_ms)
        if given.peer not in self.ensemble.servers or given.peer == self.me:
            self.emit(Hangup(given.peer, "not in our ensemble"))
            return
        self.links[given.peer] = given.link
        election.on_linked(self, given.peer, now_ms)

    def _unlinked(self, given: Unlinked, now_ms: int) -> None:
        if self.links.get(given.peer) != given.link:
            return
        self._forget_link(given.peer)
        state = self.state
        if isinstance(state, Looking):
            election.on_unlinked(self, given.peer, now_ms)
        elif isinstance(state, Following):
            if given.peer == state.leader:
                election.begin(self, f"the link to server {given.peer} was lost", now_ms)
        elif state.learners.pop(given.peer, None):
            broadcast.keep_quorum(self, state, now_ms)

    def _received(self, given: Received, now_ms: int) -> None:
        peer, message = given.peer, given.message
        if self.links.get(peer) != given.link:
            return  # from a link that is gone: nothing after close
        try:
            handler = MESSAGES.get(type(message))
            self.demand(handler is not None, peer, message)
            assert handler is not None
            handler(self, peer, message, now_ms)
            self._heard(peer, now_ms)
        except PeerProtocolError as error:
            self.emit(Note("peer_protocol_error", (("peer", peer), ("what", str(error)))))
            link = self.links[peer]
            self.emit(Hangup(peer, "it broke the protocol"))
            self._unlinked(Unlinked(peer, link), now_ms)

    def _heard(self, peer: PeerId, now_ms: int) -> None:
        state = self.state
        if isinstance(state, Leading):
            if learner := state.learners.get(peer):
                broadcast.heard_learner(self, learner, now_ms)
        elif isinstance(state, Following) and peer == state.leader:
            broadcast.heard_leader(self, state, now_ms)

    def _submitted(self, given: Submitted, now_ms: int) -> None:
        broadcast.on_submitted(self, given, now_ms)

    def _read_asked(self, given: ReadAsked, now_ms: int) -> None:
        broadcast.on_read_asked(self, given, now_ms)

    def _durable(self, given: Durable, now_ms: int) -> None:
        assert self.history.durable <= given.zxid <= self.history.last.zxid  # our own disk, so our own bug
        self.history.durable = given.zxid
        broadcast.on_durable(self, now_ms)

    def _epoch_saved(self, given: EpochSaved, now_ms: int) -> None:
        assert given.epoch == self.saving_epoch > self.accepted_epoch
        self.accepted_epoch, self.saving_epoch = given.epoch, 0
        if isinstance(self.state, Leading):
            discovery.on_own_promise_saved(self, self.state, now_ms)
        elif isinstance(self.state, Following):
            discovery.on_promise_saved(self, self.state)
        else:
            election.settle(self, now_ms)

    def _installed(self, given: Installed, now_ms: int) -> None:
        assert self.installing and self.history.snapshot == given.tip
        self.installing = False
        broadcast.on_durable(self, now_ms)

    def _snapshot_saved(self, given: SnapshotSaved, now_ms: int) -> None:
        if not self.installing and given.tip.zxid >= self.history.snapshot.zxid:
            self.history.snapshot_saved(given.tip, given.log_base)

    def _ensemble_changed(self, given: EnsembleChanged, now_ms: int) -> None:
        """Who is no observer any more has nothing more to say here, and hears nothing more. No quorum changes by it."""
        assert given.ensemble.quorums == self.ensemble.quorums and self.me in given.ensemble.servers
        self.ensemble = given.ensemble
        state = self.state
        for peer in sorted(self.links.keys() - given.ensemble.servers):
            if isinstance(state, Leading):
                state.learners.pop(peer, None)
            self.hang_up(peer, "it is no observer any more")

    def _tick(self, given: Tick, now_ms: int) -> None:
        state = self.state
        if isinstance(state, Looking):
            election.tick(self, now_ms)
        elif isinstance(state, Following):
            synchronization.tick_following(self, state, now_ms)
        elif state.phase == "broadcast":
            broadcast.tick_leading(self, state, now_ms)
        else:
            discovery.tick_leading(self, state, now_ms)

    # For the phase files ----------------------------------------------------------------------------------------------

    def emit(self, *effects: Effect) -> None:
        self._effects += effects

    def demand(self, legal: bool, peer: PeerId, message: object) -> None:
        """Unless ``legal``, the peer broke the protocol with this message."""
        if not legal:
            raise PeerProtocolError(peer, self.role, getattr(self.state, "phase", "election"), message)

    def following(self, peer: PeerId) -> Following:
        """Our role, if it is to follow this peer; anything else it may not say what it said."""
        state = self.state
        if not isinstance(state, Following) or state.leader != peer:
            raise PeerProtocolError(peer, self.role, getattr(state, "phase", "election"), "a leader's message")
        return state

    def leading(self, peer: PeerId) -> Leading:
        """Our role, if it is to lead this peer."""
        state = self.state
        if not isinstance(state, Leading) or peer not in state.learners:
            raise PeerProtocolError(peer, self.role, getattr(state, "phase", "election"), "a learner's message")
        return state

    @property
    def disk_is_busy(self) -> bool:
        history = self.history
        return bool(self.saving_epoch or self.installing or history.durable < history.last.zxid)

    def keeps_to(self, epoch: int) -> bool:
        """Whether we may take part in this epoch: no later one is promised. To an observer its log alone matters."""
        if self.me in self.ensemble.voters:
            return self.accepted_epoch == epoch
        return epoch_of(self.history.last.zxid) <= epoch <= self.accepted_epoch

    def save_epoch(self, epoch: int) -> None:
        assert not self.saving_epoch and epoch > self.accepted_epoch
        self.saving_epoch = epoch
        self.emit(SaveEpoch(epoch))

    def lead(self, now_ms: int) -> None:
        discovery.lead(self, now_ms)

    def follow(self, leader: PeerId, now_ms: int) -> None:
        discovery.follow(self, leader, now_ms)

    def synchronise(self, leading: Leading, learner: Learner, now_ms: int) -> None:
        synchronization.synchronise(self, leading, learner, now_ms)

    def leave_role(self, why: str) -> None:
        """Hang up on all with whom we had this role: no message of it can reach what comes next, on either side."""
        state = self.state
        if isinstance(state, Leading):
            for peer in sorted(state.learners):
                self.hang_up(peer, why)
        elif isinstance(state, Following):
            synchronization.break_off(self, state)
            if state.leader in self.links:
                self.hang_up(state.leader, why)

    def hang_up(self, peer: PeerId, why: str) -> None:
        self._forget_link(peer)
        self.emit(Hangup(peer, why))

    def _forget_link(self, peer: PeerId) -> None:
        self.links.pop(peer, None)
        self.heard.pop(peer, None)
        self.held.pop(peer, None)


#: All that can happen. What is not here cannot, and a KeyError is our own bug.
INPUTS: Mapping[type, Callable[[Replica, Any, int], None]] = {
    Linked: Replica._linked,
    Unlinked: Replica._unlinked,
    Received: Replica._received,
    Submitted: Replica._submitted,
    ReadAsked: Replica._read_asked,
    Durable: Replica._durable,
    EpochSaved: Replica._epoch_saved,
    Installed: Replica._installed,
    SnapshotSaved: Replica._snapshot_saved,
    EnsembleChanged: Replica._ensemble_changed,
    Tick: Replica._tick,
}

#: Who handles which message; each first demands that we are in the role and phase where it is legal.
MESSAGES: dict[type[Message], Callable[[Replica, PeerId, Any, int], None]] = {
    Notification: election.on_notification,
    FollowerInfo: discovery.on_follower_info,
    LeaderInfo: discovery.on_leader_info,
    AckEpoch: discovery.on_ack_epoch,
    Diff: synchronization.on_diff,
    Trunc: synchronization.on_trunc,
    Image: synchronization.on_image,
    ImageChunk: synchronization.on_image_chunk,
    NewLeader: synchronization.on_new_leader,
    Propose: synchronization.on_propose,
    Ack: broadcast.on_ack,
    Commit: broadcast.on_commit,
    Ping: broadcast.on_ping,
    Pong: broadcast.on_pong,
}
