"""What a replica is doing now: looking, following or leading, and all it must remember while it does.

Plain state; the code that changes it stands in the phase files. Leaving a role drops its object whole, so nothing of an
old role can reach the next one.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

from zabpy.model import NO_ZXID, Tip, Zxid

from .effects import Phase
from .inputs import LinkId, PeerId

#: A time that never comes.
NEVER = 1 << 62


class Vote(NamedTuple):
    """A candidate and the end of its durable log. The order of the fields is the order of preference: the more recent
    log wins, then the greater id (the epoch is the zxid's high half). A total order, so votes cannot chase each other
    (trap D1)."""

    zxid: Zxid
    leader: PeerId


#: The vote of one that cannot lead and knows nobody who can. Less than any other.
NOBODY = Vote(NO_ZXID, 0)


@dataclass(slots=True)
class Looking:
    """Phase 0. ``settled`` stays False until everything handed to our disk is there: before, we could not say truly
    how recent we are (trap A4)."""

    vote: Vote
    settled: bool = False
    #: The latest word of each voter that is looking in our round.
    votes: dict[PeerId, Vote] = field(default_factory=dict)
    finalize_at_ms: int = NEVER
    repeat_at_ms: int = NEVER
    round_ends_at_ms: int = NEVER


@dataclass(slots=True)
class Following:
    """The learner's side of phases 1 to 3."""

    leader: PeerId
    phase: Phase
    deadline_ms: int
    #: The epoch we promised to this leader; 0 before it told one.
    epoch: int = 0
    #: We have sent `AckEpoch` and wait to hear how to synchronise.
    promised: bool = False
    #: Told how: entries may come.
    streaming: bool = False
    #: Cut here before the next append, which proves that we are cutting at a common record. None: nothing to cut.
    cut_after: Zxid | None = None
    #: The snapshot we are receiving; None before it is offered and after it is complete.
    image: Tip | None = None
    #: The end of our history when `NewLeader` came: once it is durable we count. None before.
    mark: Zxid | None = None
    acked: Zxid = NO_ZXID
    committed: Zxid = NO_ZXID
    progress_at_ms: int = 0


@dataclass(slots=True)
class Learner:
    """The leader's view of one that follows it, over one link."""

    peer: PeerId
    link: LinkId
    voter: bool
    accepted_epoch: int
    deadline_ms: int
    told_epoch: bool = False
    #: Where its log ends, once it has said so.
    ends: tuple[Zxid, ...] | None = None
    #: It gets all that is proposed.
    streaming: bool = False
    #: It has all of the history and counts. ``acked`` is then the end of what it has on disk.
    synced: bool = False
    acked: Zxid = NO_ZXID
    durable: Zxid = NO_ZXID
    #: Since when it has owed us an ack without moving.
    owing_since_ms: int = NEVER
    ponged: int = 0


class PendingRead(NamedTuple):
    """A linearizable read that waits for a quorum to answer a ping sent after it came."""

    number: int
    zxid: Zxid
    ping: int


@dataclass(slots=True)
class Leading:
    """The leader's side of phases 1 to 3."""

    phase: Phase
    deadline_ms: int
    #: Our own log's end when we began: whoever is more recent makes us step back.
    start: Zxid
    #: Proposed epoch; 0 before a quorum wished to follow. ``epoch_saved``: our own promise is on disk.
    epoch: int = 0
    epoch_saved: bool = False
    #: Who promised this epoch and counts, we among them. Promises outlive links: they are on disk.
    promised: set[PeerId] = field(default_factory=set)
    learners: dict[PeerId, Learner] = field(default_factory=dict)
    #: The epoch-start record; NO_ZXID before we are established. Only from it on can anything be committed by counting.
    epoch_start: Zxid = NO_ZXID
    committed: Zxid = NO_ZXID
    ping: int = 0
    next_ping_ms: int = NEVER
    reads: list[PendingRead] = field(default_factory=list)
    #: The counter nears its end: nothing more is proposed, and when all is delivered we make way.
    handing_over: bool = False


RoleState = Looking | Following | Leading


class Held(NamedTuple):
    """A `FollowerInfo` that came before we knew that we lead."""

    link: LinkId
    accepted_epoch: int
