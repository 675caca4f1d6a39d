"""Driver: the one place that steps the replica, and the table of what its effects become.

`Driver.feed` is a plain call, so no other task can come in between and nothing is locked. What an effect's handler
wants to feed in turn goes through a small queue: never recursion. Effects never wait: the disk's go into its queue, a
peer's onto its link, deliveries are applied here and now.

Requests are gathered during a turn and handed on together at its end: as one `Submitted` where we lead, as one
`Forward` where we follow.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

from zabpy.model import (
    COUNTER_MAX,
    LOCAL_SESSION,
    CloseSessionTxn,
    CreateSessionTxn,
    ReconfigTxn,
    Request,
    Tip,
    Txn,
    Zxid,
    origin_of,
    zxid_text,
)
from zabpy.pipeline import Preparer, State, Upkeep, apply_entry
from zabpy.tree import Outcome
from zabpy.wire import Op, TxnDecodeError, decode_txn, encode_txn
from zabpy.zab import (
    Append,
    Deliver,
    DropImage,
    Effect,
    EnsembleChanged,
    Hangup,
    Input,
    Install,
    Installed,
    KeepImage,
    Note,
    PeerId,
    Phase,
    ReadAsked,
    ReadConfirmed,
    Replica,
    Role,
    RoleChanged,
    SaveEpoch,
    Send,
    SendImage,
    SendTail,
    Submitted,
    Truncate,
)
from zabpy.zab.messages import Forward, Message, Revalidate, Revalidated, SyncDone, Touched

from .clock import Clock
from .counts import Counts
from .disk import Disk
from .log import Log
from .membership import Membership
from .peers import Peers

#: Payload bytes given to the replica, or records sent to the leader, at once: a batch becomes one frame to each peer.
BATCH_BYTES_MAX = 4 * 1024 * 1024
#: Requests in one `Forward`. Each carries its client's identities, which may be long too.
FORWARD_REQUESTS_MAX = 500


class Audience(Protocol):
    """Who waits for what the driver learns: the clients' side."""

    def delivering(self) -> None:
        """Transactions are final: they are applied now, one after the other."""

    def applied(self, zxid: Zxid, txn: Txn, outcome: Outcome) -> None:
        """This transaction has just been applied: tell the watchers, then whoever asked for it."""

    def synced(self, request_id: int) -> None:
        """That sync is done."""

    def revalidated(self, request_id: int, valid: bool) -> None:
        """The leader's answer about a session."""

    def serving_changed(self, serving: bool) -> None:
        """From now on clients are served, or not; in both cases what they waited for is undecided."""


class Driver:
    """Between the replica and the world."""

    def __init__(
        self,
        replica: Replica,
        state: State,
        *,
        me: PeerId,
        start_number: int,
        tip: Tip,
        clock: Clock,
        log: Log,
        make_preparer: Callable[[State, dict[int, int]], Preparer],
        make_upkeep: Callable[[State, int], Upkeep],
        load_state: Callable[[Tip], State],
        membership: Membership,
        counts: Counts | None = None,
    ) -> None:
        """``state`` stands at ``tip``. ``make_preparer`` and ``make_upkeep`` are called for each reign, with the owner
        map and the time in ms; ``load_state`` reads an installed snapshot, in the disk's worker."""
        self.replica, self.state, self.me, self.tip = replica, state, me, tip
        self._clock, self._log = clock, log
        self._make_preparer, self._make_upkeep, self._load_state = make_preparer, make_upkeep, load_state
        self._membership = membership
        # Set once, by whoever builds the server, before the first feed.
        self.disk: Disk
        self.peers: Peers
        self.clients: Audience
        self.delivered: Callable[[int, int], None] = lambda entries, size: None

        self.serving = False
        self._inputs: deque[Input] = deque()
        self._stepping = False
        self._requests: list[Request] = []
        self._syncs: list[int] = []
        # While we lead: who judges requests, who watches over sessions, and which server each session is connected to.
        self._preparer: Preparer | None = None
        self._upkeep: Upkeep | None = None
        self._owners: dict[int, int] = {}
        self._reign_began_ms = 0
        self._proposed: dict[Zxid, Txn] = {}
        self._last_time_ms = 0
        self._read_number = start_number << 32
        self._reads: dict[int, list[int]] = {}
        #: Sessions found alive, to be told so once a quorum says that we still lead: at which server, by which request.
        self._resumed: list[tuple[PeerId, int, int]] = []
        self._resuming: dict[int, list[tuple[PeerId, int, int]]] = {}
        self._sync_waiting: deque[tuple[Zxid, int]] = deque()
        self._loaded: State | None = None
        self.counts = Counts() if counts is None else counts
        self._unavailable_since_ms: int | None = clock.now_ms()
        self._looking_since_ms: int | None = None
        self.reset_counts()

    def reset_counts(self) -> None:
        """For the status: sizes of proposals, last, smallest, largest; -1 before the first."""
        self.proposal_bytes = [-1, -1, -1]

    # The replica ------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        self._act(self.replica.start(self._clock.now_ms()))

    def feed(self, given: Input) -> None:
        """Step the replica and act on what it returns; from within an effect: right after that step."""
        self._inputs.append(given)
        if not self._stepping:
            self._act(())

    def _act(self, effects: Sequence[Effect]) -> None:
        inputs, actions, step = self._inputs, _ACTIONS, self.replica.step
        self._stepping = True
        try:
            for effect in effects:
                actions[type(effect)](self, effect)
            while inputs:
                for effect in step(inputs.popleft(), self._clock.now_ms()):
                    actions[type(effect)](self, effect)
        finally:
            self._stepping = False

    def _send(self, effect: Send) -> None:
        self.peers.send(effect.peer, effect.message)

    def _send_tail(self, effect: SendTail) -> None:
        self.counts.diffs.value += 1
        self.peers.send_tail(effect.peer, effect.after, effect.upto)

    def _send_image(self, effect: SendImage) -> None:
        self.counts.snaps.value += 1
        self.peers.send_image(effect.peer, effect.tip)

    def _hangup(self, effect: Hangup) -> None:
        self.peers.hangup(effect.peer, effect.why)

    def _append(self, effect: Append) -> None:
        if self.replica.role is not Role.LEADING:
            self.counts.learner_proposals.value += len(effect.entries)
        self.disk.append(effect.entries)

    def _truncate(self, effect: Truncate) -> None:
        self.disk.truncate(effect.after)

    def _save_epoch(self, effect: SaveEpoch) -> None:
        self.disk.save_epoch(effect.epoch)

    def _keep_image(self, effect: KeepImage) -> None:
        self.disk.keep_image(effect.data)

    def _drop_image(self, effect: DropImage) -> None:
        self.disk.drop_image()

    def _install(self, effect: Install) -> None:
        """The state is read in the worker, behind the switch of the files; it becomes ours with `Installed`."""

        def load() -> Input:
            self._loaded = self._load_state(effect.tip)
            return Installed(effect.tip)

        self.disk.install(effect.tip, load)

    def _deliver(self, effect: Deliver) -> None:
        state, proposed, applied = self.state, self._proposed, self.clients.applied
        size = 0
        self.clients.delivering()
        for entry in effect.entries:
            zxid, payload, _ = entry
            if not zxid & COUNTER_MAX:
                apply_entry(state, zxid, None)
                continue
            txn = proposed.pop(zxid, None) if proposed else None
            if txn is None:
                try:
                    txn = decode_txn(payload)
                except TxnDecodeError as error:
                    raise TxnDecodeError(f"zxid {zxid:#x}: {error}") from None
            size += len(payload)
            outcome = apply_entry(state, zxid, txn)
            if type(txn.body) in _OF_MORE_THAN_ZNODES:
                self._more_changed(txn)
            applied(zxid, txn, outcome)
        leads = self.replica.role is Role.LEADING
        commits = self.counts.commits if leads else self.counts.learner_commits
        commits.value += len(effect.entries)
        last = effect.entries[-1]
        self.tip = Tip(last.zxid, last.chain)
        if self._preparer is not None:
            self._preparer.pending.forget(last.zxid)
        waiting = self._sync_waiting
        while waiting and waiting[0][0] <= state.last_applied:
            self.clients.synced(waiting.popleft()[1])
        self.delivered(len(effect.entries), size)

    def _more_changed(self, txn: Txn) -> None:
        if isinstance(txn.body, ReconfigTxn):
            self._config_changed()
        elif self._upkeep is not None:
            if isinstance(txn.body, CreateSessionTxn):
                self._upkeep.heard(txn.session_id, self._clock.now_ms())
            else:
                self._upkeep.closed(txn.session_id)

    def _config_changed(self) -> None:
        """The state has another configuration than before: from a transaction, or with a snapshot."""
        membership = self._membership
        listed = membership.lists_us
        if not membership.take(self.state.tree):
            return
        members, version = membership.members
        observers = sorted(member.server_id for member in members if not member.voter)
        self._log("config", version=f"{version:x}", observers=observers or "none")
        if self.serving and listed and not membership.lists_us:
            # Not on the way through an older history, which may know nothing of us yet.
            self._log("removed", why="no observer of this ensemble any more; without a link nothing is served")
        self.peers.allow(membership.addresses())
        self.feed(EnsembleChanged(membership.ensemble))

    def _read_confirmed(self, effect: ReadConfirmed) -> None:
        for request_id in self._reads.pop(effect.number, ()):
            origin = origin_of(request_id)
            if origin == self.me:
                self._sync_done(request_id, effect.zxid)
            else:
                self.peers.send(origin, SyncDone(request_id, effect.zxid))
        for owner, request_id, session_id in self._resuming.pop(effect.number, ()):
            assert self._preparer is not None
            self._tell_of_session(owner, request_id, session_id, self._preparer.pending.is_open(session_id))

    def _role_changed(self, effect: RoleChanged) -> None:
        leader = "none" if effect.leader is None else effect.leader
        self._log("role", role=effect.role, phase=effect.phase, epoch=effect.epoch, leader=leader, why=effect.why)
        self.serving = effect.phase is Phase.BROADCAST
        self._time_roles(effect.role)
        # Whatever was asked before is undecided now. Who waits for it is told nothing: the connection ends.
        self._requests.clear()
        self._syncs.clear()
        self._reads.clear()
        self._resumed.clear()
        self._resuming.clear()
        self._sync_waiting.clear()
        self._proposed.clear()
        # Nothing of a reign outlives it. A new leader knows of no owners: clients come back after every change of
        # roles, each coming back is asked for here, and so the owners are known again.
        self._owners = {}
        self._preparer, self._upkeep = None, None
        if self.serving and effect.role is Role.LEADING:
            self._preparer = self._make_preparer(self.state, self._owners)
            self._reign_began_ms = self._clock.now_ms()
            self._upkeep = self._make_upkeep(self.state, self._reign_began_ms)
        self.clients.serving_changed(self.serving)

    def _time_roles(self, role: Role) -> None:
        """How long it takes to find a leader, and to serve again."""
        now_ms, counts = self._clock.now_ms(), self.counts
        if role is Role.LOOKING:
            if self._looking_since_ms is None:
                self._looking_since_ms = now_ms
                counts.looking.value += 1
        elif self._looking_since_ms is not None:
            counts.election_time.add(now_ms - self._looking_since_ms)
            self._looking_since_ms = None
        if not self.serving:
            if self._unavailable_since_ms is None:
                self._unavailable_since_ms = now_ms
        elif self._unavailable_since_ms is not None:
            counts.unavailable_time.add(now_ms - self._unavailable_since_ms)
            self._unavailable_since_ms = None

    def _note(self, effect: Note) -> None:
        self._log(effect.event, **dict(effect.facts))

    # Requests ---------------------------------------------------------------------------------------------------------

    @property
    def leading(self) -> bool:
        return self._preparer is not None and self.replica.may_submit

    @property
    def pending_syncs(self) -> int:
        return sum(map(len, self._reads.values()))

    @property
    def reign_ms(self) -> int:
        """How long we have led, 0 while we do not."""
        return 0 if self._preparer is None else self._clock.now_ms() - self._reign_began_ms

    @property
    def busy(self) -> bool:
        """Whether `flush` has something to do."""
        return bool(self._requests or self._syncs or self._resumed)

    def submit(self, request: Request) -> None:
        """A write, a sync or a session's beginning or end, of a client of ours. Handed on by the next `flush`."""
        self._requests.append(request)

    def flush(self) -> None:
        """Hand on what was gathered in this turn, as one batch."""
        requests = self._requests
        if requests:
            assert self.serving  # in read-only mode nothing is ever submitted
            self._requests = []
            if self.leading:
                self._propose(requests)
            elif self.replica.role is not Role.LEADING and self.replica.leader is not None:
                for batch in _batches(requests):
                    self.peers.send(self.replica.leader, Forward(batch))
        if not self.leading:
            self._syncs, self._resumed = [], []
        if self._syncs or self._resumed:
            # One confirmation by a quorum serves all that came before it was asked for.
            self._read_number += 1
            self._reads[self._read_number], self._syncs = self._syncs, []
            self._resuming[self._read_number], self._resumed = self._resumed, []
            self.feed(ReadAsked(self._read_number))

    def _propose(self, requests: list[Request]) -> None:
        preparer = self._preparer
        assert preparer is not None
        prepare, proposed = preparer.prepare, self._proposed
        time_ms = self._last_time_ms = max(self._clock.wall_ms(), self._last_time_ms, self.state.last_time_ms)
        zxid = self.replica.last_zxid
        payloads: list[bytes] = []
        size = 0
        for request in requests:
            if request.op == Op.SYNC:
                # Of a session that ends it is not answered: its client would take it for alive. The connection goes,
                # too, as soon as the end is applied where it is.
                if request.session_id in _NO_SESSION or preparer.pending.is_open(request.session_id):
                    self._syncs.append(request.request_id)
                continue
            zxid = Zxid(zxid + 1)
            txn = prepare(request, zxid, time_ms)
            payload = encode_txn(txn)
            proposed[zxid] = txn
            payloads.append(payload)
            size += len(payload)
            if size > BATCH_BYTES_MAX:
                self._submit(payloads, size)
                payloads, size = [], 0
                if not self.leading:
                    return
        if payloads:
            self._submit(payloads, size)

    def _submit(self, payloads: list[bytes], size: int) -> None:
        self.counts.proposals.value += len(payloads)
        self.proposal_bytes[0] = len(payloads[-1])
        smallest, largest = len(min(payloads, key=len)), len(max(payloads, key=len))
        if self.proposal_bytes[1] < 0 or smallest < self.proposal_bytes[1]:
            self.proposal_bytes[1] = smallest
        if largest > self.proposal_bytes[2]:
            self.proposal_bytes[2] = largest
        self.feed(Submitted(tuple(payloads)))

    # Sessions ---------------------------------------------------------------------------------------------------------

    def revalidate(self, request_id: int, session_id: int, timeout_ms: int) -> None:
        """Ask the leader whether this session lives; the answer goes to `Audience.revalidated`, or never comes."""
        if self.leading:
            self._revalidate(request_id, session_id, timeout_ms, self.me)
        elif self.serving and self.replica.leader is not None:
            self.counts.revalidations.value += 1
            self.peers.send(self.replica.leader, Revalidate(request_id, session_id, timeout_ms))

    def touch(self, heard: list[tuple[int, int]]) -> None:
        """Clients of ours were heard from: session id and when, in ms."""
        if self._upkeep is not None:
            for session_id, heard_ms in heard:
                self._upkeep.heard(session_id, heard_ms)
        elif heard and self.serving and self.replica.leader is not None:
            self.peers.send(self.replica.leader, Touched(tuple(session_id for session_id, _ in heard)))

    def keep_up(self) -> None:
        """To be called every half tick: what a leader does by itself, as requests like any other."""
        if self._upkeep is not None and self.leading:
            due = self._upkeep.due(self._clock.now_ms(), self._clock.wall_ms())
            if due:
                self.counts.sessions_expired.value += sum(request.op == Op.CLOSE_SESSION for request in due)
                self._requests += due

    @property
    def expiry_ms(self) -> int | None:
        """How long until a session may have expired, where we lead."""
        return None if self._upkeep is None else self._upkeep.next_ms(self._clock.now_ms())

    @property
    def deadlines(self) -> list[tuple[int, list[int]]] | None:
        """Where we lead: when silent sessions are over, in ms of the clock, and which; None elsewhere."""
        return None if self._upkeep is None else self._upkeep.deadlines()

    def _revalidate(self, request_id: int, session_id: int, timeout_ms: int, owner: PeerId) -> None:
        """Whether the session lives; if so it is ``owner``'s from now on, and was just heard from.

        That it lives is told by a leader only who still is one: its client counts its time from here, and if there were
        another leader by now, that one would not.
        """
        assert self._preparer is not None and self._upkeep is not None
        if self._preparer.pending.is_open(session_id):
            self._owners[session_id] = owner
            self._upkeep.heard(session_id, self._clock.now_ms(), timeout_ms)
            self._resumed.append((owner, request_id, session_id))
        else:
            self._tell_of_session(owner, request_id, session_id, False)

    def _tell_of_session(self, owner: PeerId, request_id: int, session_id: int, valid: bool) -> None:
        if owner == self.me:
            self.clients.revalidated(request_id, valid)
        else:
            self.peers.send(owner, Revalidated(request_id, session_id, valid))

    # What peers send past the replica ---------------------------------------------------------------------------------

    def carried(self, peer: PeerId, message: Message) -> None:
        """A message that is not the replica's. From a peer that is in no such role with us: dropped, since its sender
        will learn of the change of roles, and drops what it waits for."""
        _CARRIED[type(message)](self, peer, message)

    def _forwarded(self, peer: PeerId, message: Forward) -> None:
        """Their sessions are heard of: clients of ours count on it that whoever was answered by us was heard by us."""
        if self.leading:
            requests = [
                request
                for request in message.requests
                if origin_of(request.request_id) == peer and (request.session_id or request.op in _WITHOUT_SESSION)
            ]
            self._requests += requests
            self._touched(peer, Touched(tuple({request.session_id for request in requests})))

    def _sync_told(self, peer: PeerId, message: SyncDone) -> None:
        if self.serving and peer == self.replica.leader:
            self._sync_done(message.request_id, message.zxid)

    def _touched(self, peer: PeerId, message: Touched) -> None:
        if self._upkeep is not None:
            now_ms = self._clock.now_ms()
            for session_id in message.session_ids:
                self._upkeep.heard(session_id, now_ms)

    def _asked_to_revalidate(self, peer: PeerId, message: Revalidate) -> None:
        if self.leading:
            self._revalidate(message.request_id, message.session_id, message.timeout_ms, peer)

    def _told_of_session(self, peer: PeerId, message: Revalidated) -> None:
        if self.serving and peer == self.replica.leader:
            self.clients.revalidated(message.request_id, message.valid)

    def _sync_done(self, request_id: int, zxid: Zxid) -> None:
        if self.state.last_applied >= zxid:
            self.clients.synced(request_id)
        else:
            self._sync_waiting.append((zxid, request_id))

    # A snapshot from the leader ---------------------------------------------------------------------------------------

    def feed_from_disk(self, given: Input) -> None:
        """What the disk has done. When that was an `Install`, the state that was read takes the place of ours."""
        if isinstance(given, Installed):
            assert self._loaded is not None
            self.state, self._loaded, self.tip = self._loaded, None, given.tip
            self._log("installed", zxid=zxid_text(given.tip.zxid), znodes=len(self.state.tree.nodes))
            self._config_changed()
        self.feed(given)


def _batches(requests: list[Request]) -> Iterator[tuple[Request, ...]]:
    """The same, in order, in pieces that fit a frame between servers."""
    start = size = 0
    for at, request in enumerate(requests):
        size += len(request.record)
        if size > BATCH_BYTES_MAX or at - start == FORWARD_REQUESTS_MAX:
            yield tuple(requests[start : at + 1])
            start, size = at + 1, 0
    if start < len(requests):
        yield tuple(requests[start:])


#: What others may ask of a leader for no session. All else that has none is what it asks of itself: `Upkeep`.
_WITHOUT_SESSION = frozenset((int(Op.CREATE_SESSION), int(Op.SYNC)))
#: Whose syncs need no session that the leader knows: clients on their way in, and sessions that only one server has.
_NO_SESSION = frozenset((0, LOCAL_SESSION))
_OF_MORE_THAN_ZNODES = frozenset((CreateSessionTxn, CloseSessionTxn, ReconfigTxn))

_ACTIONS: dict[type, Callable[[Driver, Any], None]] = {
    Send: Driver._send,
    SendTail: Driver._send_tail,
    SendImage: Driver._send_image,
    Hangup: Driver._hangup,
    Append: Driver._append,
    Truncate: Driver._truncate,
    SaveEpoch: Driver._save_epoch,
    KeepImage: Driver._keep_image,
    DropImage: Driver._drop_image,
    Install: Driver._install,
    Deliver: Driver._deliver,
    ReadConfirmed: Driver._read_confirmed,
    RoleChanged: Driver._role_changed,
    Note: Driver._note,
}

_CARRIED: dict[type, Callable[[Driver, PeerId, Any], None]] = {
    Forward: Driver._forwarded,
    SyncDone: Driver._sync_told,
    Touched: Driver._touched,
    Revalidate: Driver._asked_to_revalidate,
    Revalidated: Driver._told_of_session,
}
