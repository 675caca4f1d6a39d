"""All messages between servers, each with who says it to whom and when.

One link stands between any two servers and carries everything: elections too, unlike ZooKeeper's two ports, so that a
pair is either connected or not. A replica that leaves a role hangs up on those it had it with, so a message never
meets a later conversation than the one it belongs to.

The last group is carried for the layer above and never stepped: the driver takes it out before the replica sees it.
"""

from dataclasses import dataclass

from zabpy.model import Entry, Request, Tip, Zxid

# Phase 0, election ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Notification:
    """Any server to any other: my vote, in this round, and what I am doing.

    ``state`` is a `Role` value. ``leader`` and ``zxid`` are the vote: the candidate and the end of its durable log.
    ``epoch`` is, of a looking server, the epoch of that zxid; of a settled one, the epoch it is in.
    """

    state: str
    round: int
    leader: int
    zxid: Zxid
    epoch: int


# Phase 1, discovery --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FollowerInfo:
    """Learner to the leader it chose: I wish to follow; this is the latest epoch I have promised."""

    accepted_epoch: int


@dataclass(frozen=True, slots=True)
class LeaderInfo:
    """Leader to learner: the new epoch is this. The leader has promised it to itself, durably."""

    epoch: int


@dataclass(frozen=True, slots=True)
class AckEpoch:
    """Learner to leader: I promise that epoch, durably, and this is my durable log.

    ``counted`` is False when the promise was made before (perhaps to another), and must not count again (paper, rule
    of the -1). ``ends`` are the last zxid of each epoch in the log, ascending, at most `ENDS_MAX` of the latest, none
    for an empty log: with them the leader finds the last common record exactly, instead of guessing from ranges.
    """

    epoch: int
    counted: bool
    ends: tuple[Zxid, ...]


# Phase 2, synchronisation --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Diff:
    """Leader to learner: your log is a prefix of mine up to its end, ``common``; the rest follows as `Propose`.

    No checksum of the common record is sent, because the next entry's chain is one: a learner whose record differs
    finds it at the first entry that follows, and there is always one more, the epoch-start record at the latest.
    """

    common: Zxid


@dataclass(frozen=True, slots=True)
class Trunc:
    """Leader to learner: our logs agree up to ``common``; cut yours after it; the rest follows as `Propose`."""

    common: Zxid


@dataclass(frozen=True, slots=True)
class Image:
    """Leader to learner: replace all you have by the snapshot that follows in `ImageChunk`s; then `Propose`."""

    tip: Tip


@dataclass(frozen=True, slots=True)
class ImageChunk:
    """Leader to learner: the next bytes of the snapshot."""

    data: bytes
    last: bool


@dataclass(frozen=True, slots=True)
class NewLeader:
    """Leader to learner: here ends the history that you must hold before you may count for this epoch.

    The epoch-start record itself came before it, in a `Propose`, as any other entry.
    """

    epoch: int


# Phase 3, broadcast --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Propose:
    """Leader to learner: put these at the end of your log (in phase 2: they are part of the history).

    Nobody on the way opens a payload: the leader encodes it once, and log and wire carry those bytes.
    """

    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Ack:
    """Learner to leader: all up to this zxid is on my disk. The first one names the epoch-start record or later."""

    zxid: Zxid


@dataclass(frozen=True, slots=True)
class Commit:
    """Leader to learner: all up to this zxid is final. The first one tells that the epoch is activated."""

    zxid: Zxid


@dataclass(frozen=True, slots=True)
class Ping:
    """Leader to learner: are you there, in this epoch? Numbers are never reused."""

    number: int
    epoch: int


@dataclass(frozen=True, slots=True)
class Pong:
    """Learner to leader: at this ping I still followed you in this epoch, and my disk was this far."""

    number: int
    epoch: int
    durable: Zxid


# Carried for the layer above, never stepped --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Forward:
    """Learner to leader: put these requests of my clients in order. In the order my clients sent them."""

    requests: tuple[Request, ...]


@dataclass(frozen=True, slots=True)
class SyncDone:
    """Leader to learner: that sync request is answered once you have applied this zxid."""

    request_id: int
    zxid: Zxid


@dataclass(frozen=True, slots=True)
class Touched:
    """Learner to leader: these sessions were heard from since the last report."""

    session_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Revalidate:
    """Learner to leader: a client came back to me with this session and this timeout; does it live?"""

    request_id: int
    session_id: int
    timeout_ms: int


@dataclass(frozen=True, slots=True)
class Revalidated:
    """Leader to learner: the answer to a `Revalidate`. When valid, you own the session from now on."""

    request_id: int
    session_id: int
    valid: bool


Message = (
    Notification
    | FollowerInfo
    | LeaderInfo
    | AckEpoch
    | Diff
    | Trunc
    | Image
    | ImageChunk
    | NewLeader
    | Propose
    | Ack
    | Commit
    | Ping
    | Pong
    | Forward
    | SyncDone
    | Touched
    | Revalidate
    | Revalidated
)

#: What the driver takes out; all others are the replica's.
CARRIED = (Forward, SyncDone, Touched, Revalidate, Revalidated)

#: See `AckEpoch.ends`. Elections that old are behind any snapshot.
ENDS_MAX = 256
