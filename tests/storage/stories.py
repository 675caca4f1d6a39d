"""A life of a data directory, told step by step, with what must be found when the power goes in the middle of it."""

from dataclasses import dataclass, field

from zabpy.model import NO_TIP, Entry, Tip, Zxid, counter_of, entry_after, epoch_of, make_zxid
from zabpy.storage import Files, Store

LOG_DIR, SNAP_DIR = "/log", "/data"
SERVER_ID = 3


def open_store(files: Files, log_dir: str = LOG_DIR, snap_dir: str = SNAP_DIR) -> Store:
    """Small, so that segments and allocations turn over often."""
    return Store.open(files, log_dir, snap_dir, SERVER_ID, segment_bytes=2500, allocate_bytes=1000)


def entries_after(tip: Tip, sizes: list[int], *, epoch: int | None = None, fill: bytes = b"x") -> list[Entry]:
    """Entries behind ``tip`` with payloads of these sizes; the first one starts ``epoch``, if that is given."""
    entries = []
    zxid, chain = tip
    for size in sizes:
        if epoch is not None and epoch_of(zxid) != epoch:
            zxid = make_zxid(epoch, 0)
        else:
            zxid = make_zxid(epoch_of(zxid), counter_of(zxid) + 1)
        entry = entry_after(chain, zxid, (b"%x:" % zxid + fill * size)[:size])
        entries.append(entry)
        chain = entry.chain
    return entries


def image_at(tip: Tip) -> bytes:
    """Stands for the state at ``tip``."""
    return b"state at %x %x " % tip + bytes(range(256)) * 6


@dataclass
class History:
    """What a store may hold: entries behind a base, of which at least ``least`` must be there."""

    base: Tip = NO_TIP
    entries: list[Entry] = field(default_factory=list)
    least: int = 0

    def tip(self) -> Tip:
        return Tip(self.entries[-1].zxid, self.entries[-1].chain) if self.entries else self.base


@dataclass
class Expected:
    """What may be found now. Several of a kind while a step is under way; one is what was, one what is to be."""

    histories: list[History] = field(default_factory=lambda: [History()])
    epochs: list[int] = field(default_factory=lambda: [0])
    snapshots: list[Tip] = field(default_factory=lambda: [NO_TIP])

    def copy(self) -> "Expected":
        histories = [History(each.base, list(each.entries), each.least) for each in self.histories]
        return Expected(histories, list(self.epochs), list(self.snapshots))


class Narrator:
    """Carries out steps on a store and says, before and after each, what must be found."""

    def __init__(self, files: Files, log_dir: str = LOG_DIR, snap_dir: str = SNAP_DIR) -> None:
        self._where = files, log_dir, snap_dir
        self.expected = Expected()
        self.store = open_store(*self._where)

    @property
    def history(self) -> History:
        (history,) = self.expected.histories
        return history

    def append(self, sizes: list[int], *, epoch: int | None = None, fill: bytes = b"x") -> None:
        if epoch is not None and epoch > self.store.accepted_epoch:
            self.save_epoch(epoch)  # no log is ahead of what its server has promised
        entries = entries_after(self.store.tip, sizes, epoch=epoch, fill=fill)
        self.history.entries += entries
        self.store.append(entries)

    def sync(self) -> None:
        self.store.sync()
        self.history.least = len(self.history.entries)

    def write(self, sizes: list[int], *, epoch: int | None = None, fill: bytes = b"x") -> None:
        self.append(sizes, epoch=epoch, fill=fill)
        self.sync()

    def truncate(self, after: Zxid) -> None:
        history = self.history
        kept = [entry for entry in history.entries if entry.zxid <= after]
        history.least = min(history.least, len(kept))
        self.store.truncate(after)
        history.entries, history.least = kept, len(kept)

    def save_epoch(self, epoch: int) -> None:
        self.expected.epochs.append(epoch)
        self.store.save_epoch(epoch)
        self.expected.epochs = [epoch]

    def take_snapshot(self) -> Tip:
        tip = self.store.synced
        self.expected.snapshots.append(tip)
        writer = self.store.begin_snapshot(tip)
        image = image_at(tip)
        for at in range(0, len(image), 700):
            writer.write(image[at : at + 700])
        writer.commit()
        self.expected.snapshots = [tip]
        return tip

    def keep_image(self, tip: Tip) -> None:
        image = image_at(tip)
        for at in range(0, len(image), 900):
            self.store.keep_image(image[at : at + 900])

    def install(self, tip: Tip) -> None:
        self.keep_image(tip)
        self.expected.histories.append(History(tip))
        self.expected.snapshots.append(tip)
        self.store.install(tip)
        self.expected.histories = [History(tip)]
        self.expected.snapshots = [tip]

    def reopen(self) -> None:
        self.store.close()
        self.store = open_store(*self._where)


def tell(narrator: Narrator) -> None:
    """Everything a store can do, the borders of segments included."""
    tell_beginning(narrator)
    narrator.truncate(Zxid(narrator.history.entries[-4].zxid))
    narrator.save_epoch(2)
    narrator.write([120, 700, 60], epoch=2, fill=b"y")
    for epoch in (3, 4, 5):
        narrator.take_snapshot()
        narrator.save_epoch(epoch)
        narrator.write([64, 1500, 20, 600], epoch=epoch)
        narrator.append([900])
        narrator.write([10, 10])
    narrator.take_snapshot()
    narrator.write([30] * 4)
    narrator.store.purge(3)
    narrator.write([2000, 1, 1])
    narrator.reopen()
    narrator.write([5, 1200])
    narrator.keep_image(Tip(make_zxid(9, 9), 9))
    narrator.store.drop_image()
    narrator.save_epoch(7)
    narrator.install(Tip(make_zxid(6, 40), 0x12345678))
    narrator.write([300], epoch=7)
    narrator.write([1000, 1000, 700])
    narrator.write([400])
    narrator.truncate(make_zxid(6, 40))
    narrator.write([80, 80], epoch=8, fill=b"z")
    narrator.take_snapshot()
    narrator.append([20])
    narrator.store.close()


def tell_beginning(narrator: Narrator) -> None:
    narrator.save_epoch(1)
    narrator.write([40], epoch=1)
    for sizes in ([150], [400, 400, 30, 700], [0, 1, 2, 3], [900, 500, 300], [20], [600] * 4, [150], [700]):
        narrator.write(sizes)
    narrator.append([150, 20])
    narrator.append([1300])
    narrator.append([40] * 5)
    narrator.sync()
