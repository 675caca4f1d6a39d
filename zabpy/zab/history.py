"""History: what is in this server's log, how far it is on disk and delivered, and how to bring another log to it.

The log begins with nothing or with a snapshot, and every epoch in it begins with its epoch-start record (counter 0).
Hence two facts that synchronisation rests on. (1) The epoch of the last record is the epoch whose leader this server
last followed: there is no separate ``currentEpoch`` to keep in step with the log (traps A3, A4, A6, D6 cannot be
written). (2) Within one epoch all logs are prefixes of that leader's, so logs that both hold a record are equal up to
it; the last common record of two logs is the lesser end in the latest epoch that both have.

Only the entries that are not delivered yet, and some before them, are kept in memory; older ones are on disk.
"""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from operator import attrgetter

from zabpy.model import (
    NO_TIP,
    NO_ZXID,
    Entry,
    Tip,
    ZabpyError,
    Zxid,
    chain_of,
    counter_of,
    epoch_of,
    succeeds,
    zxid_text,
)

from .messages import ENDS_MAX

#: Delivered entries kept in memory for learners that lag a little.
RECENT_ENTRIES = 1000
RECENT_BYTES = 8 * 1024 * 1024


class OutOfOrderError(ZabpyError):
    """An entry does not directly follow the one before it: a gap, a repeat or a step back."""


class OtherHistoryError(ZabpyError):
    """An entry is at the right zxid, but its chain says that it stands on other records than ours."""


@dataclass(frozen=True, slots=True)
class Recovered:
    """What storage found at the start.

    ``entries`` are those after ``snapshot``, all durable; which of them are final, the next leader tells.
    ``log_base``: entries after it can be read from disk.
    """

    accepted_epoch: int = 0
    snapshot: Tip = NO_TIP
    log_base: Zxid = NO_ZXID
    entries: Sequence[Entry] = ()


class Need(Enum):
    """What a lagging server needs first."""

    DIFF = "diff"
    TRUNC = "trunc"
    IMAGE = "image"


class History:
    def __init__(self, recovered: Recovered) -> None:
        self.snapshot = recovered.snapshot
        self.log_base = recovered.log_base
        #: From this zxid on we know every epoch in our log; older epochs are hidden in the snapshot we started from.
        self._known_from = recovered.snapshot.zxid
        self._before = recovered.snapshot  # the tip in front of the first entry in memory
        self._entries: list[Entry] = []
        self._delivered_count = 0  # of those in memory, these are delivered
        self._recent_bytes = 0
        self.last = recovered.snapshot
        self.delivered = recovered.snapshot.zxid
        self._ends: dict[int, Zxid] = {}
        if self.last.zxid:
            self._ends[epoch_of(self.last.zxid)] = self.last.zxid
        self.append(recovered.entries)
        self.durable = self.last.zxid

    def append(self, entries: Sequence[Entry]) -> None:
        """Take these in at the end.

        Raises:
            OutOfOrderError: one does not directly follow the one before it.
            OtherHistoryError: one's checksum says that it stands on other records than ours.
            In both cases none was taken.
        """
        check(entries, self.last)
        self.extend(entries)

    def extend(self, entries: Sequence[Entry]) -> None:
        """`append` for entries that we have just chained to our own end ourselves."""
        if not entries:
            return
        self._entries += entries
        first, last = entries[0].zxid, entries[-1].zxid
        self.last = Tip(last, entries[-1].chain)
        if epoch_of(first) == epoch_of(last):
            self._ends[epoch_of(last)] = last
        else:
            for entry in entries:
                self._ends[epoch_of(entry.zxid)] = entry.zxid

    def take(self, upto: Zxid) -> tuple[Entry, ...]:
        """The entries to deliver now: the next ones up to ``upto``, as far as they are durable."""
        upto = min(upto, self.durable)
        if upto <= self.delivered:
            return ()
        start = self._delivered_count
        end = bisect_right(self._entries, upto, lo=start, key=_zxid)
        taken = tuple(self._entries[start:end])
        if taken:
            self.delivered = taken[-1].zxid
            self._delivered_count = end
            self._forget_old(taken)
        return taken

    def truncate(self, after: Zxid) -> None:
        """Drop all entries after ``after``, which must be one of ours and not before what was delivered."""
        assert self.delivered <= after, "what was delivered is final"
        tip = self.tip_at(after)
        assert tip is not None, "cannot cut after a record that is not there"
        del self._entries[bisect_right(self._entries, after, key=_zxid) :]
        self.last = tip
        self.durable = min(self.durable, after)
        self._ends = {epoch: min(zxid, after) for epoch, zxid in self._ends.items() if epoch <= epoch_of(after)}

    def install(self, tip: Tip) -> None:
        """Start anew behind a snapshot that replaces everything."""
        self.__init__(Recovered(snapshot=tip, log_base=tip.zxid))  # type: ignore[misc]  # it is a new history

    def snapshot_saved(self, tip: Tip, log_base: Zxid) -> None:
        assert tip.zxid <= self.delivered and log_base <= tip.zxid
        self.snapshot, self.log_base = tip, log_base

    def tip_at(self, zxid: Zxid) -> Tip | None:
        """The tip at this zxid if a record of ours stands there; None if not, or if it is too old to be in memory."""
        end = bisect_right(self._entries, zxid, key=_zxid)
        tip = Tip(self._entries[end - 1].zxid, self._entries[end - 1].chain) if end else self._before
        return tip if tip.zxid == zxid else None

    def ends(self) -> tuple[Zxid, ...]:
        """See `AckEpoch.ends`."""
        return tuple(self._ends[epoch] for epoch in sorted(self._ends))[-ENDS_MAX:]

    @property
    def has_transactions(self) -> bool:
        """Whether our log, or the snapshot before it, holds more than epoch-start records."""
        return self.snapshot.zxid != NO_ZXID or any(counter_of(end) for end in self._ends.values())

    def need_of(self, ends: tuple[Zxid, ...]) -> tuple[Need, Zxid]:
        """What a log with these ends needs to become ours, and the last common record (for an image: its zxid)."""
        common = next(
            (min(end, self._ends[epoch_of(end)]) for end in reversed(ends) if epoch_of(end) in self._ends), None
        )
        if common is None and self._known_from == NO_ZXID and len(ends) < ENDS_MAX:
            common = NO_ZXID  # we know all our epochs and it has none of them: nothing is common
        if common is None or common < self.log_base:
            return Need.IMAGE, self.snapshot.zxid
        return (Need.DIFF if not ends or common == ends[-1] else Need.TRUNC), common

    @property
    def memory_from(self) -> Zxid:
        """Entries after this zxid are in memory."""
        return self._before.zxid

    def entries_after(self, zxid: Zxid) -> tuple[Entry, ...]:
        """From memory; ``zxid`` must not be before `memory_from`."""
        assert self.memory_from <= zxid
        return tuple(self._entries[bisect_right(self._entries, zxid, key=_zxid) :])

    def _forget_old(self, delivered: tuple[Entry, ...]) -> None:
        self._recent_bytes += sum(map(len, map(_payload, delivered)))
        if self._delivered_count < 2 * RECENT_ENTRIES and self._recent_bytes < 2 * RECENT_BYTES:
            return
        drop, kept_bytes = self._delivered_count, 0
        while drop and self._delivered_count - drop < RECENT_ENTRIES and kept_bytes < RECENT_BYTES:
            drop -= 1
            kept_bytes += len(self._entries[drop].payload)
        if drop:
            gone = self._entries[drop - 1]
            self._before = Tip(gone.zxid, gone.chain)
            del self._entries[:drop]
            self._delivered_count -= drop
        self._recent_bytes = kept_bytes


def check(entries: Sequence[Entry], tip: Tip) -> None:
    """Raise, as `History.append` does, unless these entries directly follow ``tip``."""
    before, chain_before = tip
    for zxid, payload, chain in entries:
        if not succeeds(zxid, before):
            raise OutOfOrderError(f"{zxid_text(zxid)} does not follow {zxid_text(before)}")
        if chain_of(chain_before, zxid, payload) != chain:
            raise OtherHistoryError(f"the record at {zxid_text(zxid)} stands on another one at {zxid_text(before)}")
        before, chain_before = zxid, chain


_zxid: Callable[[Entry], Zxid] = attrgetter("zxid")
_payload: Callable[[Entry], bytes] = attrgetter("payload")
