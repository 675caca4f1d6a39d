"""Seeds of a data directory: the real `zabpy.storage.Store` on a simulated disk, by chance, through crashes and damage.

What S1 takes for granted of a disk (drive.py) is held here against the code that provides it. A run is some fifty
operations of a small store; at any operation of the disk the process may be killed, the power may go, or the disk may
refuse. After each end the store is opened again, and must hold what it promised: see `_Run.check`. Broken promises are
named as in checkers.py.
"""

import errno
import os
from random import Random

from zabpy.model import NO_TIP, Entry, Tip, Zxid, counter_of, entry_after, epoch_of, make_zxid
from zabpy.storage import DamagedError, SnapshotFailed, Store, StoreError
from zabpy.storage.format import names_of

from .disk import CutModel, FaultyFiles, PowerLost
from .facts import ViolationError

LOG_DIR, SNAP_DIR = "/log", "/data"
SERVER_ID = 3
OPERATIONS = 50
FAR = Zxid(1 << 63)
KEPT = 3


def run_store_seed(seed: int) -> ViolationError | None:
    """What the seed breaks, if anything."""
    try:
        _Run(seed).run()
    except ViolationError as violation:
        return violation
    return None


class _Run:
    def __init__(self, seed: int) -> None:
        self.rng = Random(f"{seed}/store")
        self.files = FaultyFiles(bytes_max=self.rng.choice((None, None, 30_000, 60_000)))
        self.files.hook = self.on_disk
        self.left = 0  # operations of the disk until something happens; 0: nothing will
        self.fails = False
        # The history: entries behind `base`, of which `least` must be there. The others are what may be found instead
        # while something is under way.
        self.base, self.entries, self.least = NO_TIP, list[Entry](), 0
        self.installing: Tip | None = None
        self.cutting_to: int | None = None
        self.epochs = [0]
        self.snapshots: list[Tip] = [NO_TIP]  # that are whole, the newest last
        self.writing: Tip | None = None
        self.store = self.open()

    def on_disk(self, when: str, kind: str, path: str) -> None:
        if not self.left:
            return
        self.left -= 1
        if not self.left:
            if self.fails and when == "before":
                raise OSError(errno.EIO, os.strerror(errno.EIO), path)
            if not self.fails:
                raise PowerLost

    def run(self) -> None:
        for _ in range(OPERATIONS):
            draw = self.rng.random()
            self.left, self.fails = (self.rng.randrange(1, 12) if draw < 0.25 else 0), draw < 0.08
            try:
                self.rng.choice(_OPERATIONS)(self)
                self.left = 0
            except (PowerLost, OSError):
                self.crash()
            except AssertionError as error:
                raise ViolationError("CORE", "AssertionError", f"{error!r}") from error
            except StoreError as error:
                raise ViolationError("I26", "Recovery", f"{type(error).__name__}: {error}") from error
        self.crash()

    def open(self) -> Store:
        return Store.open(self.files, LOG_DIR, SNAP_DIR, SERVER_ID, segment_bytes=2500, allocate_bytes=1000)

    def crash(self) -> None:
        """The process ends, perhaps with the machine, perhaps again while it recovers; then it comes back."""
        for again in (True, False):
            self.left = 0
            if self.rng.random() < 0.7:
                self.files.power_cut(self.rng, self.rng.choice(list(CutModel)))
            else:
                self.files.kill()
            room, self.files.bytes_max = self.files.bytes_max, None  # somebody made room for it to start
            self.left, self.fails = (self.rng.randrange(1, 12) if again and self.rng.random() < 0.3 else 0), False
            try:
                self.store = self.open()
                break
            except PowerLost:
                pass  # once more
            except StoreError as error:
                raise ViolationError("I26", "Recovery", f"it does not start: {error}") from error
            except AssertionError as error:
                raise ViolationError("CORE", "AssertionError", f"{error!r}") from error
            finally:
                self.files.bytes_max = room
        self.left = 0
        self.check()

    def check(self) -> None:
        """What is found is what was promised, and becomes what the run goes on from."""
        store, recovered = self.store, self.store.recovered
        if recovered.accepted_epoch not in self.epochs:
            raise ViolationError("I2", "Epochs", f"epoch {recovered.accepted_epoch} of {self.epochs}")
        self.epochs = [recovered.accepted_epoch]
        if self.installing is not None and recovered.snapshot == self.installing:
            self.base, self.entries, self.least = self.installing, [], 0
            self.snapshots = [self.installing]
        elif self.writing is not None and recovered.snapshot == self.writing:
            self.snapshots.append(self.writing)
        elif recovered.snapshot != self.snapshots[-1]:
            text = f"the newest is {recovered.snapshot}, not {self.snapshots[-1]}"
            raise ViolationError("I18", "SnapshotSoundness", text)
        self.read_snapshot(recovered.snapshot)
        found = store.read_entries(store.log_base, FAR, 1 << 30)
        whole = [entry for entry in self.entries if entry.zxid > store.log_base]
        gone = len(self.entries) - len(whole)
        least = self.least if self.cutting_to is None else min(self.least, self.cutting_to)
        if found != whole[: len(found)]:
            raise ViolationError("I3", "WellFormedLog", f"{len(found)} entries, not those that were written")
        if gone + len(found) < least or store.log_base > recovered.snapshot.zxid:
            raise ViolationError(
                "I7", "CommittedNeverLost", f"{gone + len(found)} entries, of {least} that were synced"
            )
        if list(recovered.entries) != [entry for entry in found if entry.zxid > recovered.snapshot.zxid]:
            raise ViolationError("I26", "Recovery", "what was recovered is not what is in the log")
        del self.entries[gone + len(found) :]
        self.least = len(self.entries)
        self.installing = self.cutting_to = self.writing = None

    def read_snapshot(self, tip: Tip) -> None:
        if tip != NO_TIP:
            try:
                with self.store.open_snapshot(tip) as reader:
                    body = reader.read(1 << 20)
            except DamagedError as error:
                raise ViolationError("I18", "SnapshotSoundness", str(error)) from error
            if body != _image(tip):
                raise ViolationError("I18", "SnapshotSoundness", f"the one at {tip} is not what was written")

    # What is done to it -----------------------------------------------------------------------------------------------

    def write(self) -> None:
        if self.store.tip == NO_TIP:
            self.new_epoch()
        tip = self.store.tip
        sizes = [self.rng.choice((0, 5, 40, 400, 1200)) for _ in range(self.rng.choice((1, 1, 3, 8)))]
        entries = _entries_after(tip, sizes, fill=self.rng.randrange(256))
        self.entries += entries
        self.store.append(entries)
        if self.rng.random() < 0.8:
            self.store.sync()
            self.least = len(self.entries)

    def new_epoch(self) -> None:
        epoch = max(self.epochs[-1], epoch_of(self.store.tip.zxid)) + self.rng.choice((1, 1, 2))
        self.epochs.append(epoch)
        self.store.save_epoch(epoch)
        self.epochs = [epoch]
        record = entry_after(self.store.tip.chain, make_zxid(epoch, 0), b"")
        self.entries.append(record)
        self.store.append_and_sync([record])
        self.least = len(self.entries)

    def truncate(self) -> None:
        floor = self.snapshots[-1].zxid
        places = [number for number, entry in enumerate(self.entries) if entry.zxid >= floor]
        if not places:
            return
        self.store.sync()
        self.least = len(self.entries)
        kept = self.rng.choice(places[-12:]) + 1
        self.cutting_to = kept
        self.store.truncate(self.entries[kept - 1].zxid)
        self.cutting_to = None
        del self.entries[kept:]
        self.least = kept

    def snapshot(self) -> None:
        self.store.sync()
        self.least = len(self.entries)
        tip = self.store.synced
        if tip.zxid <= self.snapshots[-1].zxid:
            return
        self.writing = tip
        try:
            writer = self.store.begin_snapshot(tip)
            image = _image(tip)
            for at in range(0, len(image), 700):
                writer.write(image[at : at + 700])
            writer.commit()
        except SnapshotFailed:
            self.writing = None
            return
        self.writing = None
        self.snapshots.append(tip)

    def purge(self) -> None:
        """After it, each of the snapshots that are to be kept must do alone, with the log behind it."""
        self.rot_a_snapshot()
        base = self.store.log_base
        self.store.purge(KEPT)
        self.left = 0
        on_disk = {name.zxid for name in names_of("snapshot", self.files.list(SNAP_DIR))}
        whole = [tip for tip in self.snapshots[1:] if tip.zxid in on_disk]
        if self.store.log_base > base and len(whole) < KEPT:
            raise ViolationError(
                "I7", "CommittedNeverLost", f"the log was purged, and {len(whole)} snapshots are whole"
            )
        if whole and self.store.log_base > whole[-KEPT:][0].zxid:
            raise ViolationError("I7", "CommittedNeverLost", "the log does not reach back to the oldest kept snapshot")

    def rot_a_snapshot(self) -> None:
        """One of those that are neither the newest nor the oldest; nobody has looked at it since the start."""
        if self.rng.random() < 0.5 or len(self.snapshots) < 3:
            return
        self.crash()
        tip = self.rng.choice(self.snapshots[1:-1])
        path = self.store.snapshot_path(tip)
        contents = self.files.contents()
        if path in contents:
            self.files.flip(path, self.rng.randrange(8 * len(contents[path])))
            self.snapshots.remove(tip)

    def install(self) -> None:
        epoch = epoch_of(self.store.tip.zxid) + 1
        if epoch > self.epochs[-1]:
            self.epochs.append(epoch)
            self.store.save_epoch(epoch)
            self.epochs = [epoch]
        tip = Tip(make_zxid(epoch, self.rng.randrange(1, 99)), self.rng.getrandbits(32))
        image = _image(tip)
        try:
            if self.rng.random() < 0.3:
                self.store.keep_image(image[:900])
                self.store.drop_image()
            for at in range(0, len(image), 900):
                self.store.keep_image(image[at : at + 900])
            self.installing = tip
            self.store.install(tip)
        except SnapshotFailed:
            self.installing = None
            return
        self.installing = None
        self.base, self.entries, self.least = tip, [], 0
        self.snapshots = [tip]

    def reopen(self) -> None:
        self.store.close()
        self.least = len(self.entries)
        self.store = self.open()
        if not self.store.recovered.clean:
            raise ViolationError("I26", "Recovery", "a clean stop was not noted")
        self.check()

    def damage(self) -> None:
        """A bit of the log turns over, or a segment is gone: refused, or nothing that was synced is missing."""
        self.store.close()
        self.least = len(self.entries)
        contents = self.files.contents()
        logs = sorted(path for path in contents if "/log." in path)
        path = self.rng.choice(logs)
        copy = dict(contents)
        if self.rng.random() < 0.5 and len(logs) > 2 and path != logs[0]:
            del copy[path]
        else:
            data = bytearray(copy[path])
            data[self.rng.randrange(len(data))] ^= 1 << self.rng.randrange(8)
            copy[path] = bytes(data)
        sound = self.files
        self.files = FaultyFiles.holding(copy)
        try:
            self.store = self.open()
        except DamagedError:
            pass  # as it must be
        except StoreError as error:
            raise ViolationError("I26", "Recovery", f"refused, and not for damage: {error}") from error
        else:
            self.check()
        self.files = sound
        self.store = self.open()
        self.check()


_OPERATIONS = (
    *(_Run.write,) * 8,
    *(_Run.snapshot,) * 4,
    _Run.new_epoch,
    _Run.truncate,
    _Run.purge,
    _Run.install,
    _Run.reopen,
    _Run.damage,
    _Run.crash,
)


def _image(tip: Tip) -> bytes:
    return b"state at %x %x " % tip + bytes(range(256)) * 6


def _entries_after(tip: Tip, sizes: list[int], *, fill: int) -> list[Entry]:
    entries: list[Entry] = []
    zxid, chain = tip
    for size in sizes:
        zxid = Zxid(zxid + 1) if counter_of(zxid) or epoch_of(zxid) else make_zxid(1, 0)
        entries.append(entry_after(chain, zxid, bytes([fill]) * size))
        chain = entries[-1].chain
    return entries
