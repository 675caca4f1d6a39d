"""Phase 2, both sides: make the learner's history a copy of the leader's, then let it count.

    leader   Diff | Trunc | Image, ImageChunk…    then Propose… up to the end, then NewLeader(e)
    learner  cuts, installs, appends; when all up to the mark is on disk: Ack
    leader   a quorum acked the epoch-start record: activated; Commit to each that acked

All of the leader's log counts as committed once a quorum has it together with the epoch-start record behind it, and
only so: nothing of an earlier epoch is ever committed by counting acks. The start record ends the initial
history, so a learner that holds it holds all before it: the order "history, then epoch, then ack" (traps A1 to A4)
is one append and one sync.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from zabpy.model import Entry, ZabpyError, epoch_of, zxid_text

from . import election
from .effects import Append, DropImage, Install, KeepImage, Note, Phase, Send, SendImage, SendTail, Truncate
from .history import Need, OtherHistoryError, OutOfOrderError, check
from .inputs import PeerId
from .messages import Ack, Diff, Image, ImageChunk, NewLeader, Pong, Propose, Trunc
from .roles import Following, Leading, Learner

if TYPE_CHECKING:
    from .replica import Replica

#: Of history that is sent from memory, a `Propose` holds so many entries, and no more bytes unless one entry has them:
#: a message must fit a peer's frame whatever clients write.
MESSAGE_ENTRIES_MAX = 500
MESSAGE_BYTES_MAX = 1024 * 1024


class HistoryPartedError(ZabpyError):
    """This server holds, as final, what its ensemble never agreed on: damage, or another ensemble's directory.

    Nothing here can tell which side is right, so this server stops and a human decides (traps B12, B13).
    """


# The leader's side ---------------------------------------------------------------------------------------------------


def synchronise(replica: "Replica", leading: Leading, learner: Learner, now_ms: int) -> None:
    """Send this learner all it lacks and let it take part from here on, in one step: so every entry reaches it exactly
    once, through the backlog or the stream. Waits until our own epoch-start record is durable."""
    if learner.ends is None or learner.streaming or replica.history.durable < leading.epoch_start:
        return
    history, peer = replica.history, learner.peer
    need, common = history.need_of(learner.ends)
    replica.emit(
        Note("sync", (("peer", peer), ("kind", need.value), ("from", zxid_text(common)), ("epoch", leading.epoch)))
    )
    if need is Need.IMAGE:
        assert common == history.snapshot.zxid != 0
        replica.emit(Send(peer, Image(history.snapshot)), SendImage(peer, history.snapshot))
    else:
        replica.emit(Send(peer, Diff(common) if need is Need.DIFF else Trunc(common)))
    if common < history.memory_from:
        replica.emit(SendTail(peer, common, history.memory_from))
        common = history.memory_from
    for entries in in_messages(history.entries_after(common)):
        replica.emit(Send(peer, Propose(entries)))
    replica.emit(Send(peer, NewLeader(leading.epoch)))
    learner.streaming = True
    learner.deadline_ms = now_ms + replica.timing.init_timeout_ms


def in_messages(entries: tuple[Entry, ...]) -> Iterator[tuple[Entry, ...]]:
    """Cut into pieces of which each fits one message."""
    start = size = 0
    for end, entry in enumerate(entries):
        if end > start and (end - start == MESSAGE_ENTRIES_MAX or size + len(entry.payload) > MESSAGE_BYTES_MAX):
            yield entries[start:end]
            start, size = end, 0
        size += len(entry.payload)
    if start < len(entries):
        yield entries[start:]


# The learner's side --------------------------------------------------------------------------------------------------


def on_diff(replica: "Replica", peer: PeerId, told: Diff, now_ms: int) -> None:
    following = _start(replica, peer, told, now_ms)
    replica.demand(told.common == replica.history.last.zxid, peer, told)
    following.streaming = True


def on_trunc(replica: "Replica", peer: PeerId, told: Trunc, now_ms: int) -> None:
    following = _start(replica, peer, told, now_ms)
    history = replica.history
    if told.common < history.delivered:
        raise HistoryPartedError(
            f"server {peer}, leader of epoch {following.epoch}, has nothing of our history after"
            f" {zxid_text(told.common)}, but we delivered {zxid_text(history.delivered)}"
        )
    replica.demand(history.tip_at(told.common) is not None, peer, told)
    following.cut_after = told.common
    following.streaming = True


def on_image(replica: "Replica", peer: PeerId, told: Image, now_ms: int) -> None:
    following = _start(replica, peer, told, now_ms)
    history = replica.history
    if told.tip.zxid < history.delivered:
        raise HistoryPartedError(
            f"server {peer}, leader of epoch {following.epoch}, offers a snapshot at {zxid_text(told.tip.zxid)}, but we"
            f" delivered {zxid_text(history.delivered)}"
        )
    following.image = told.tip


def on_image_chunk(replica: "Replica", peer: PeerId, told: ImageChunk, now_ms: int) -> None:
    following = replica.following(peer)
    tip = following.image
    replica.demand(tip is not None, peer, told)
    assert tip is not None
    replica.emit(KeepImage(told.data))
    if told.last:
        # All we had up to where we agree with the leader is in the image, and nothing beyond was final.
        following.image = None
        following.streaming = True
        replica.history.install(tip)
        replica.installing = True
        replica.emit(Install(tip))
    _progress(replica, following, now_ms)


def on_propose(replica: "Replica", peer: PeerId, told: Propose, now_ms: int) -> None:
    """More of the leader's log, in phase 2 and 3 alike: one path, so nothing can be taken in by one and not the other
    (traps A10, B8)."""
    following = replica.following(peer)
    replica.demand(following.streaming and bool(told.entries), peer, told)
    history = replica.history
    cut = following.cut_after
    tip = history.last if cut is None else history.tip_at(cut)
    assert tip is not None
    try:
        check(told.entries, tip)
    except OutOfOrderError:
        replica.demand(False, peer, told)
    except OtherHistoryError as error:
        if following.phase is Phase.BROADCAST:
            replica.demand(False, peer, told)
        raise HistoryPartedError(f"server {peer}, leader of epoch {following.epoch}: {error}") from error
    if cut is not None:
        following.cut_after = None
        history.truncate(cut)
        replica.emit(Truncate(cut))
    history.extend(told.entries)
    replica.emit(Append(told.entries))
    if following.phase is not Phase.BROADCAST:
        _progress(replica, following, now_ms)


def on_new_leader(replica: "Replica", peer: PeerId, told: NewLeader, now_ms: int) -> None:
    """The history ends here, for what we must hold to count. The epoch-start record must be in it."""
    following = replica.following(peer)
    last = replica.history.last.zxid
    ready = following.streaming and following.cut_after is None and following.mark is None
    replica.demand(ready and told.epoch == following.epoch == epoch_of(last), peer, told)
    following.mark = last
    acknowledge(replica, following)


def acknowledge(replica: "Replica", following: Following) -> None:
    """Say how far our log is on disk; first when all of the history is. The only place an `Ack` comes from."""
    durable = replica.history.durable
    if following.mark is None or replica.installing or durable < following.mark or durable == following.acked:
        return
    assert epoch_of(durable) == following.epoch and replica.keeps_to(following.epoch)
    following.acked = durable
    replica.emit(Send(following.leader, Ack(durable)))


def break_off(replica: "Replica", following: Following) -> None:
    """What was received and is not yet ours is forgotten; what is in the log is a prefix of a leader's and may stay."""
    if following.image is not None:
        replica.emit(DropImage())


def _start(replica: "Replica", peer: PeerId, told: Diff | Trunc | Image, now_ms: int) -> Following:
    following = replica.following(peer)
    fresh = following.promised and not following.streaming and following.image is None
    replica.demand(fresh, peer, told)
    following.deadline_ms = now_ms + replica.timing.init_timeout_ms
    return following


def _progress(replica: "Replica", following: Following, now_ms: int) -> None:
    """During a long transfer, let the leader know now and then that it moves (trap D9)."""
    if now_ms - following.progress_at_ms >= replica.timing.ping_ms:
        following.progress_at_ms = now_ms
        replica.emit(Send(following.leader, Pong(0, following.epoch, replica.history.durable)))


def tick_following(replica: "Replica", following: Following, now_ms: int) -> None:
    if now_ms >= following.deadline_ms:
        election.begin(replica, f"nothing heard of server {following.leader} in time, in {following.phase}", now_ms)
