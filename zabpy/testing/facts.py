"""What happened in a run so far, as the checkers need it; the state machine that it happens to; and how a rule breaks.

The root of `Facts` is one tree of all records ever written: a record's chain covers all before it, so "these two
histories agree up to z" is one comparison. What a leader commits is appended to ``chosen``.
"""

import struct
import zlib
from typing import TYPE_CHECKING

from zabpy.model import NO_TIP, Entry, Tip, ZabpyError, Zxid, epoch_of, zxid_text

from .drive import Snapshot

if TYPE_CHECKING:
    from .simulation import Simulation


class ViolationError(ZabpyError):
    """An invariant does not hold. ``id`` and ``name`` say which."""

    def __init__(self, id: str, name: str, text: str) -> None:
        super().__init__(f"{id} {name}: {text}")
        self.id, self.name, self.text = id, name, text


#: Clients submit so many payloads at once, at the most.
BATCH_MAX = 64

_STATE = struct.Struct(">IQIQi")
_FILL = b"." * 48


class State:
    """The toy state machine: how many entries it took, the last one, and a digest of their payloads; and who observes,
    a bit for each, -1 before an entry has said so."""

    __slots__ = ("count", "digest", "observers", "tip")

    def __init__(self, count: int = 0, tip: Tip = NO_TIP, digest: int = 0, observers: int = -1) -> None:
        self.count, self.tip, self.digest, self.observers = count, tip, digest, observers

    def apply(self, entry: Entry) -> None:
        if entry.payload[:1] == b"o":
            self.observers = int(entry.payload[1:].partition(b"#")[0])
        self.digest = zlib.adler32(entry.payload, self.digest & 0xFFFFFFFF) | (self.count & 0xFFFF) << 32
        self.count += 1
        self.tip = Tip(entry.zxid, entry.chain)

    @property
    def all(self) -> tuple[int, int]:
        """What two servers must have alike at the same zxid."""
        return self.digest, self.observers

    def image(self) -> bytes:
        return _STATE.pack(self.count, self.tip.zxid, self.tip.chain, self.digest, self.observers) + _FILL

    @classmethod
    def of_image(cls, image: bytes) -> "State":
        if len(image) != _STATE.size + len(_FILL):
            raise ViolationError("I18", "SnapshotSoundness", f"an image of {len(image)} bytes is not whole")
        count, zxid, chain, digest, observers = _STATE.unpack_from(image)
        return cls(count, Tip(Zxid(zxid), chain), digest, observers)


class Facts:
    """What happened in this run so far."""

    def __init__(self, sim: "Simulation", base: Snapshot | None) -> None:
        self.sim = sim
        self.records: dict[Zxid, Entry] = {}
        self.parents: dict[Zxid, Zxid] = {}
        self.chosen: list[Entry] = []
        self.chosen_at: dict[Zxid, int] = {}
        self.chosen_in: list[int] = []  # the epoch of the leader that committed it
        self.states: list[tuple[int, int]] = [(0, -1)]  # after chosen[:n]: digest, and who observes
        self.established: dict[int, int] = {}
        self.activated: dict[int, int] = {}
        #: By epoch: where each earlier epoch ends in its leader's initial history.
        self.ends: dict[int, dict[int, Zxid]] = {}
        self.acked: dict[int, dict[int, Zxid]] = {}
        self.promised: dict[tuple[int, int], int] = {}
        #: By server and epoch: acks of a disk that is gone.
        self.forgiven: set[tuple[int, int]] = set()
        self._state = State()
        if base is not None:
            # A long past before the run, of which only the last record is known.
            self._state = State.of_image(base.image)
            entry = Entry(base.tip.zxid, b"", base.tip.chain)
            self.records[entry.zxid] = entry
            self.chosen.append(entry)
            self.chosen_at[entry.zxid] = 0
            self.chosen_in.append(0)
            self.states.append(self._state.all)
            self.ends[epoch_of(entry.zxid)] = {}

    @property
    def chosen_end(self) -> Zxid:
        return self.chosen[-1].zxid if self.chosen else Zxid(0)

    def forgive(self, sid: int) -> None:
        """Its disk is gone: what it said of it is true no more. What others were told by it they may go on with."""
        self.forgiven |= {(sid, epoch) for epoch, acked in self.acked.items() if sid in acked}
        for key in [key for key in self.promised if key[0] == sid]:
            del self.promised[key]

    def choose(self, upto: Zxid) -> list[Entry]:
        """A leader commits up to here: the entries that become chosen by that."""
        end = self.chosen_end
        if upto in self.chosen_at:
            return []
        path: list[Entry] = []
        zxid = upto
        while zxid != end:
            if zxid < end or zxid not in self.records:
                raise ViolationError(
                    "I11",
                    "PrefixConsistency",
                    f"{zxid_text(upto)} is committed, whose history does not hold {zxid_text(end)}, committed before",
                )
            path.append(self.records[zxid])
            zxid = self.parents[zxid]
        path.reverse()
        return path

    def add_chosen(self, entry: Entry, epoch: int) -> None:
        self.chosen_in.append(epoch)
        self.chosen_at[entry.zxid] = len(self.chosen)
        self.chosen.append(entry)
        self._state.apply(entry)
        self.states.append(self._state.all)

    def in_history_of(self, epoch: int, zxid: Zxid) -> bool:
        """Whether the record is in what the leader of this established epoch began with."""
        return zxid <= self.ends[epoch].get(epoch_of(zxid), -1)
