"""What a store does, on real files and on simulated ones."""

import errno
import os
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest

from tests.storage.stories import (
    LOG_DIR,
    SNAP_DIR,
    Narrator,
    entries_after,
    image_at,
    open_store,
    tell,
    tell_beginning,
)
from zabpy.model import NO_TIP, NO_ZXID, Entry, Tip, Zxid, make_zxid
from zabpy.storage import (
    BrokenStoreError,
    CannotTruncateError,
    DamagedLogError,
    DamagedSnapshotError,
    Files,
    LockedError,
    OsFiles,
    OutOfOrderError,
    PurgedError,
    SnapshotFailed,
    Store,
    UnusableDirectoryError,
    inspect_segment,
)
from zabpy.testing.disk import CutModel, FaultyFiles, PowerLost

FAR = Zxid(1 << 63)


class Place:
    """A directory on some disk, to be opened again and again."""

    def __init__(self, files: Files, path: str) -> None:
        self.files, self.path = files, path

    def open(self) -> Store:
        return open_store(self.files, self.path, self.path)


@pytest.fixture(params=["real", "simulated"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "real":
        return Place(OsFiles(), str(tmp_path / "new" / "data"))
    return Place(FaultyFiles(), "/new/data")


def fill(store: Store, sizes: list[int], *, epoch: int = 1) -> list[Entry]:
    if epoch > store.accepted_epoch:
        store.save_epoch(epoch)
    entries = entries_after(store.tip, sizes, epoch=epoch)
    store.append_and_sync(entries)
    return entries


def take_snapshot(store: Store) -> Tip:
    tip = store.synced
    writer = store.begin_snapshot(tip)
    writer.write(image_at(tip))
    writer.commit()
    return tip


def test_an_empty_directory_is_initialised(place: Place) -> None:
    store = place.open()

    recovered = store.recovered
    assert (recovered.fresh, recovered.accepted_epoch, recovered.start_number) == (True, 0, 1)
    assert (recovered.snapshot, recovered.log_base, recovered.entries) == (NO_TIP, NO_ZXID, [])
    store.close()
    store = place.open()
    assert (store.recovered.fresh, store.recovered.clean, store.recovered.start_number) == (False, True, 2)
    store.close()


def test_an_empty_directory_counts_its_starts_from_where_it_is_told(place: Place) -> None:
    for expected in (1_000, 1_001):
        store = Store.open(place.files, place.path, place.path, 1, first_start=1_000)
        assert store.recovered.start_number == expected
        store.close()


def test_what_was_appended_is_there_after_a_restart(place: Place) -> None:
    store = place.open()
    entries = fill(store, [10] * 50)
    entries += fill(store, [3000, 0, 1])
    assert store.synced == store.tip == Tip(entries[-1].zxid, entries[-1].chain)
    store.close()

    store = place.open()
    assert store.recovered.entries == entries
    entries += fill(store, [4], epoch=2)
    store.close()

    store = place.open()
    assert store.recovered.entries == entries
    store.close()


def test_entries_must_follow_the_end_of_the_log(place: Place) -> None:
    store = place.open()
    good = fill(store, [1, 1])
    last = store.tip
    (follower,) = entries_after(last, [5])
    for wrong in (
        follower._replace(chain=follower.chain ^ 1),
        follower._replace(payload=b"other"),
        follower._replace(zxid=Zxid(follower.zxid + 1)),
        good[-1],
        entries_after(Tip(make_zxid(2, 4), last.chain), [1])[0],
    ):
        with pytest.raises(OutOfOrderError, match="cannot follow 0x100000001"):
            store.append([follower, wrong] if wrong.zxid == 7 else [wrong])
    assert store.tip == last

    store.append_and_sync([follower])

    store.close()
    store = place.open()
    assert store.recovered.entries == [*good, follower]
    store.close()


def test_nothing_to_append_is_fine(place: Place) -> None:
    store = place.open()
    store.append_and_sync([])
    store.sync()
    store.close()


def test_entries_are_read_by_zxid_across_segments(place: Place) -> None:
    store = place.open()
    entries: list[Entry] = []
    for number in range(40):
        entries += fill(store, [Random(number).randint(0, 400) for _ in range(1 + number % 7)], epoch=1 + number // 10)
    fill_big = fill(store, [600_000, 10, 10], epoch=5)  # larger than a window of reading
    entries += fill_big

    assert store.read_entries(NO_ZXID, FAR, 1 << 30) == entries
    for start in range(0, len(entries), 3):
        after = entries[start].zxid
        for count in (0, 1, 5):
            upto = entries[min(start + count, len(entries) - 1)].zxid
            assert store.read_entries(after, upto, 1 << 30) == entries[start + 1 : start + 1 + count]
        assert store.tip_at(after) == Tip(after, entries[start].chain)
    assert store.tip_at(make_zxid(1, 77_000)) is None
    assert store.tip_at(NO_ZXID) == NO_TIP
    assert store.tip_at(FAR) is None
    store.close()


def test_reading_stops_at_the_bytes_asked_for_but_gives_at_least_one(place: Place) -> None:
    store = place.open()
    entries = fill(store, [100, 100, 100])

    assert store.read_entries(NO_ZXID, FAR, 1) == entries[:1]
    assert store.read_entries(NO_ZXID, FAR, 200) == entries[:2]
    assert store.read_entries(entries[0].zxid, FAR, 299) == entries[1:]
    assert store.read_entries(entries[2].zxid, FAR, 299) == []
    store.close()


def test_truncation_cuts_behind_the_record_and_what_follows_is_another_history(place: Place) -> None:
    store = place.open()
    entries = fill(store, [700] * 12)
    entries += fill(store, [700] * 12)
    for kept in (23, 20, 12, 11, 3, 1):
        store.truncate(entries[kept - 1].zxid)
        del entries[kept:]
        assert store.tip == Tip(entries[-1].zxid, entries[-1].chain)
        assert store.read_entries(NO_ZXID, FAR, 1 << 30) == entries
        entries += fill(store, [30, 2600], epoch=40 - kept)
        store.close()
        store = place.open()
        assert store.recovered.entries == entries
    store.truncate(NO_ZXID)
    assert store.tip == NO_TIP
    entries = fill(store, [1], epoch=60)
    store.close()
    store = place.open()
    assert store.recovered.entries == entries
    store.close()


def test_truncation_at_no_record_or_below_a_snapshot_is_refused_and_changes_nothing(place: Place) -> None:
    store = place.open()
    entries = fill(store, [5] * 9)
    take_snapshot(store)
    entries += fill(store, [5] * 3)

    with pytest.raises(CannotTruncateError, match="below this snapshot"):
        store.truncate(entries[7].zxid)
    with pytest.raises(CannotTruncateError, match="no record at 0x10000000f"):
        store.truncate(make_zxid(1, 15))

    store.truncate(entries[9].zxid)
    assert store.read_entries(NO_ZXID, FAR, 1 << 30) == entries[:10]
    store.truncate(entries[8].zxid)  # exactly at the snapshot
    store.close()
    store = place.open()
    assert store.recovered.entries == []
    assert store.recovered.snapshot == store.tip == Tip(entries[8].zxid, entries[8].chain)
    store.close()


def test_the_accepted_epoch_is_kept_and_never_goes_back(place: Place) -> None:
    store = place.open()
    store.save_epoch(7)
    with pytest.raises(ValueError, match="accepted epoch 6 is before 7"):
        store.save_epoch(6)
    store.close()

    store = place.open()
    assert store.recovered.accepted_epoch == store.accepted_epoch == 7
    store.close()


def test_a_snapshot_replaces_the_log_before_it_at_a_start(place: Place) -> None:
    store = place.open()
    fill(store, [50] * 5)
    tip = take_snapshot(store)
    rest = fill(store, [50] * 2)
    store.close()

    store = place.open()
    assert (store.recovered.snapshot, store.recovered.entries) == (tip, rest)
    with store.open_snapshot(tip) as reader:
        assert reader.size == len(image_at(tip))
        assert b"".join(iter(lambda: reader.read(100), b"")) == image_at(tip)
    with pytest.raises(DamagedSnapshotError, match="expected a snapshot, it is missing"):
        store.open_snapshot(Tip(Zxid(tip.zxid + 1), 0))
    store.close()


@pytest.mark.parametrize("left_bytes", [0, 3, 60])
def test_a_snapshot_that_was_cut_short_since_is_damage(place: Place, left_bytes: int) -> None:
    store = place.open()
    fill(store, [50] * 5)
    tip = take_snapshot(store)
    file = place.files.open(store.snapshot_path(tip))
    file.truncate(left_bytes)
    file.close()
    with pytest.raises(DamagedSnapshotError, match="offset 0: expected a whole snapshot header"):
        store.open_snapshot(tip)
    store.close()


def test_to_append_nothing_begins_no_segment(place: Place) -> None:
    store = place.open()
    fill(store, [50] * 5)
    writer = store.begin_snapshot(store.synced)
    before = place.files.list(place.path)
    store.append([])
    assert place.files.list(place.path) == before
    writer.abort()
    store.close()


def test_a_snapshot_must_be_of_this_history(place: Place) -> None:
    store = place.open()
    entries = fill(store, [50] * 5)
    for wrong in (Tip(entries[2].zxid, 1), Tip(Zxid(entries[4].zxid + 1), 0)):
        with pytest.raises(SnapshotFailed, match="is not one of this log"):
            store.begin_snapshot(wrong)
    store.append(unsynced := entries_after(store.tip, [1]))
    with pytest.raises(SnapshotFailed, match="is not one of this log"):
        store.begin_snapshot(Tip(unsynced[0].zxid, unsynced[0].chain))

    writer = store.begin_snapshot(Tip(entries[4].zxid, entries[4].chain))
    writer.write(b"overtaken")
    store.truncate(entries[1].zxid)
    with pytest.raises(SnapshotFailed, match="is not one of this log"):
        writer.commit()

    assert store.snapshot == NO_TIP
    assert "snapshot.tmp" not in place.files.list(place.path)
    store.close()


def test_a_snapshot_may_have_an_empty_body(place: Place) -> None:
    store = place.open()
    fill(store, [1])
    tip = store.synced
    store.begin_snapshot(tip).commit()

    with store.open_snapshot(tip) as reader:
        assert (reader.size, reader.read(100)) == (0, b"")
    store.close()
    store = place.open()
    assert (store.recovered.snapshot, store.recovered.damaged_snapshots) == (tip, ())
    store.close()


def test_an_aborted_snapshot_leaves_nothing(place: Place) -> None:
    store = place.open()
    fill(store, [1])
    writer = store.begin_snapshot(store.synced)
    with pytest.raises(ValueError, match="another snapshot is being written"):
        store.begin_snapshot(store.synced)
    writer.write(b"half")
    writer.abort()
    writer.abort()
    with pytest.raises(SnapshotFailed, match="broken off"):
        writer.commit()

    assert [name for name in place.files.list(place.path) if "snapshot" in name] == []
    take_snapshot(store)
    store.close()


def test_purge_keeps_whole_snapshots_and_the_log_they_need(place: Place) -> None:
    store = place.open()
    tips = []
    for _ in range(6):
        fill(store, [500] * 4)
        tips.append(take_snapshot(store))
    fill(store, [500])
    with pytest.raises(ValueError, match="at least 3"):
        store.purge(2)

    assert store.purge(4) == tips[2].zxid
    assert store.purge(3) == store.log_base == tips[3].zxid

    names = place.files.list(place.path)
    assert [name for name in names if name.startswith("snap")] == [f"snapshot.00000001.{t.zxid:016x}" for t in tips[3:]]
    assert next(name for name in names if name.startswith("log")) == f"log.00000001.{tips[3].zxid:016x}"
    with pytest.raises(PurgedError, match=f"the log begins after {tips[3].zxid:#x}"):
        store.read_entries(tips[2].zxid, FAR, 1000)
    assert len(store.read_entries(tips[3].zxid, FAR, 1 << 20)) == 9
    store.close()
    store = place.open()
    assert store.log_base == tips[3].zxid
    assert store.purge(3) == tips[3].zxid
    store.close()


def test_purge_does_not_count_a_snapshot_that_is_not_whole() -> None:
    """Trap P1."""
    files = FaultyFiles()
    store = open_store(files)
    tips = []
    for _ in range(5):
        fill(store, [500] * 4)
        tips.append(take_snapshot(store))
    path = store.snapshot_path(tips[3])
    store.close()
    files.flip(path, 999)

    store = open_store(files)
    assert store.purge(3) == tips[1].zxid

    assert f"{path}.damaged" in files.contents()
    assert store.snapshot_path(tips[1]) in files.contents()
    assert store.snapshot_path(tips[0]) not in files.contents()


def test_an_image_takes_the_place_of_everything(place: Place) -> None:
    store = place.open()
    fill(store, [500] * 10)
    take_snapshot(store)
    store.save_epoch(9)
    tip = Tip(make_zxid(8, 123), 456)
    for at in range(0, len(image_at(tip)), 100):
        store.keep_image(image_at(tip)[at : at + 100])
    store.install(tip)
    assert (store.tip, store.synced, store.snapshot, store.log_base) == (tip, tip, tip, tip.zxid)
    entries = fill(store, [5, 6], epoch=8)
    assert entries[0].zxid == tip.zxid + 1
    with pytest.raises(CannotTruncateError):
        store.truncate(make_zxid(1, 3))
    store.close()

    store = place.open()
    assert (store.recovered.snapshot, store.recovered.log_base) == (tip, tip.zxid)
    assert store.recovered.entries == entries
    assert store.recovered.accepted_epoch == 9
    assert store.open_snapshot(tip).read(1 << 20) == image_at(tip)
    assert sorted(place.files.list(place.path)) == [
        "epochs",
        "log.00000002.000000080000007b",
        "snapshot.00000002.000000080000007b",
    ]
    store.close()


def test_a_dropped_image_leaves_nothing(place: Place) -> None:
    store = place.open()
    store.keep_image(b"half")
    assert "image.tmp" in place.files.list(place.path)
    store.drop_image()
    store.drop_image()

    assert "image.tmp" not in place.files.list(place.path)
    store.close()


def test_after_close_nothing_works_and_the_directory_is_free(place: Place) -> None:
    store = place.open()
    store.close()
    store.close()

    for call in calls_on(store):
        with pytest.raises(BrokenStoreError, match="closed"):
            call()
    place.open().close()


def calls_on(store: Store) -> list[Callable[[], object]]:
    return [
        lambda: store.append(entries_after(store.tip, [1])),
        store.sync,
        lambda: store.truncate(NO_ZXID),
        lambda: store.save_epoch(99),
        lambda: store.begin_snapshot(store.synced),
        lambda: store.keep_image(b""),
        lambda: store.install(Tip(make_zxid(1, 1), 1)),
        lambda: store.purge(3),
        lambda: store.read_entries(NO_ZXID, FAR, 1),
    ]


def test_a_second_process_is_kept_out(tmp_path: Path) -> None:
    log_dir, snap_dir = str(tmp_path / "log"), str(tmp_path / "snap")
    store = open_store(OsFiles(), log_dir, snap_dir)

    with pytest.raises(LockedError, match=log_dir):
        open_store(OsFiles(), log_dir, str(tmp_path / "other"))
    with pytest.raises(LockedError, match=snap_dir):
        open_store(OsFiles(), str(tmp_path / "third"), snap_dir)

    store.close()
    open_store(OsFiles(), log_dir, snap_dir).close()


def test_a_directory_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")

    with pytest.raises(UnusableDirectoryError, match=f"{tmp_path}/file.*: Not a directory|File exists"):
        open_store(OsFiles(), str(tmp_path / "file" / "data"), str(tmp_path))


def test_segments_of_a_real_log_can_be_listed(place: Place) -> None:
    store = place.open()
    entries = fill(store, [5, 0]) + fill(store, [7])
    store.close()
    path = f"{place.path}/log.00000001.0000000000000000"

    seen = list(inspect_segment(place.files, path))

    assert [frame.kind for frame in seen] == ["header", "mark", "record", "record", "mark", "record"]
    assert [(frame.zxid, frame.payload, frame.chain) for frame in seen if frame.kind == "record"] == entries
    assert [frame.synced for frame in seen if frame.kind == "mark"] == [44, seen[4].offset]
    assert all(frame.offset + frame.size == behind.offset for frame, behind in pairwise(seen))
    assert all(frame.valid for frame in seen)
    assert seen[-1].size - seen[2].size == 7 - 5  # their payloads
    file = place.files.open(path)
    file.write(b"?", file.size() - 1)
    file.close()
    bad = list(inspect_segment(place.files, path))[-1]
    assert (bad.kind, bad.valid, bad.zxid, bad.offset) == ("bad", False, entries[-1].zxid, seen[-1].offset)


def test_the_whole_story_on_real_files_gives_what_it_gives_on_simulated_ones(tmp_path: Path) -> None:
    simulated = FaultyFiles()
    tell(Narrator(simulated))

    tell(Narrator(OsFiles(), f"{tmp_path}{LOG_DIR}", f"{tmp_path}{SNAP_DIR}"))

    real = {
        f"{directory}/{name}": (tmp_path / directory[1:] / name).read_bytes()
        for directory in (SNAP_DIR, LOG_DIR)
        for name in sorted(os.listdir(f"{tmp_path}{directory}"))
    }
    assert real == simulated.contents()


# Failing disks --------------------------------------------------------------------------------------------------------


def test_any_failure_of_the_disk_breaks_the_store_and_a_restart_finds_what_was_promised() -> None:
    """Each operation of the story fails once: the call says so, nothing works after it, nothing promised is lost."""
    counted = FaultyFiles()
    tell(Narrator(counted))
    for failing in range(1, counted.operations + 1):
        files = FaultyFiles()
        hit: list[str] = []
        files.hook = partial(fail_at, files, failing, hit)
        narrator: Narrator | None = None
        raised: Exception | None = None
        try:
            narrator = Narrator(files)
            tell(narrator)
        except (OSError, SnapshotFailed, UnusableDirectoryError) as error:
            raised = error
        assert hit
        try:
            if narrator is None:
                assert isinstance(raised, UnusableDirectoryError)
            elif isinstance(raised, OSError):
                check_broken(narrator.store, files)
            files.hook = None
            files.kill()
            check_promises(files, narrator, Random(failing))
        except BaseException as error:
            error.add_note(f"operation {failing} failed: {hit}")
            raise


def fail_at(files: FaultyFiles, failing: int, hit: list[str], when: str, kind: str, path: str) -> None:
    if when == "before" and files.operations == failing:
        hit.append(f"{kind} {path}")
        raise OSError(errno.EIO, "I/O error", path)


def check_broken(store: Store, files: FaultyFiles) -> None:
    operations = files.operations
    for call in calls_on(store):
        with pytest.raises(BrokenStoreError, match="I/O error"):
            call()
    assert files.operations == operations, "a broken store went on writing"
    store.close()


def check_promises(files: FaultyFiles, narrator: Narrator | None, rng: Random) -> None:
    store = open_store(files)
    recovered = store.recovered
    if narrator is not None:
        expected = narrator.expected
        assert recovered.accepted_epoch in expected.epochs
        assert recovered.snapshot in expected.snapshots
        if len(expected.histories) == 1 and (least := expected.histories[0].least):
            assert store.tip.zxid >= expected.histories[0].entries[least - 1].zxid
    files.power_cut(rng, CutModel.PREFIX)
    again = open_store(files).recovered
    assert (again.entries, again.accepted_epoch) == (recovered.entries, recovered.accepted_epoch)


def test_a_tail_that_only_the_cache_holds_is_written_again() -> None:
    """A sync failed, the process died; reads show the batch and a sync succeeds, but the disk never got it."""
    files = FaultyFiles()
    store = open_store(files)
    entries = fill(store, [30, 30])
    store.append(tail := entries_after(store.tip, [40, 700]))

    def fail(when: str, kind: str, path: str) -> None:
        if kind == "sync":
            raise OSError(errno.EIO, "I/O error", path)

    files.hook = fail
    with pytest.raises(OSError, match="I/O error"):
        store.sync()
    files.hook = None
    files.kill()

    store = open_store(files)
    assert store.recovered.entries == [*entries, *tail]
    files.power_cut(Random(0), CutModel.PREFIX)

    assert open_store(files).recovered.entries == [*entries, *tail]


def test_a_full_disk_fails_the_snapshot_and_not_the_log() -> None:
    files = FaultyFiles()
    store = open_store(files)
    fill(store, [100])
    used = sum(map(len, files.contents().values()))
    files.bytes_max = used + 500
    for _ in range(2):
        writer = store.begin_snapshot(store.synced)
        writer.write(b"x" * 300)
        with pytest.raises(SnapshotFailed, match="snapshot.tmp: offset 300: No space left on device"):
            writer.write(b"x" * 300)
        with pytest.raises(SnapshotFailed, match="broken off"):
            writer.commit()
    with pytest.raises(SnapshotFailed, match="image.tmp: .*: No space left on device"):
        store.keep_image(b"x" * 1000)
    assert sum(map(len, files.contents().values())) == used
    files.bytes_max = None

    fill(store, [100])
    store.close()

    assert len(open_store(files).recovered.entries) == 2


def test_no_room_even_to_begin_a_snapshot() -> None:
    files = FaultyFiles()
    store = open_store(files)
    fill(store, [100])

    def fail(when: str, kind: str, path: str) -> None:
        if kind == "create":
            raise OSError(errno.ENOSPC, "No space left on device", path)

    files.hook = fail
    with pytest.raises(SnapshotFailed, match="No space left"):
        store.begin_snapshot(store.synced)
    files.hook = None
    take_snapshot(store)


def test_a_full_disk_in_the_log_breaks_the_store() -> None:
    files = FaultyFiles()
    store = open_store(files)
    entries = fill(store, [100])
    files.bytes_max = sum(map(len, files.contents().values()))

    with pytest.raises(OSError, match="No space left on device"):
        fill(store, [2000])
    with pytest.raises(BrokenStoreError, match="No space left on device"):
        fill(store, [1])

    files.kill()
    files.bytes_max = None
    assert open_store(files).recovered.entries == entries


def test_a_snapshot_that_does_not_read_back_is_not_kept() -> None:
    files = FaultyFiles()
    store = open_store(files)
    fill(store, [100])
    writer = store.begin_snapshot(store.synced)
    writer.write(b"x" * 100)

    def rot(when: str, kind: str, path: str) -> None:
        if (when, kind) == ("after", "sync"):
            files.flip(path, 500)

    files.hook = rot
    with pytest.raises(SnapshotFailed, match=r"offset \d+: expected a trailer .* when read back"):
        writer.commit()

    assert not [path for path in files.contents() if "snapshot" in path]


def test_rot_in_the_log_is_found_when_it_is_read() -> None:
    files = FaultyFiles()
    store = open_store(files)
    entries = fill(store, [100] * 5)
    files.flip(f"{LOG_DIR}/log.00000001.0000000000000000", 3000)

    with pytest.raises(DamagedLogError, match=r"log.00000001.0000000000000000: offset \d+: expected the record after"):
        store.read_entries(entries[0].zxid, FAR, 1 << 20)


def test_leftovers_are_removed_at_a_start() -> None:
    files = FaultyFiles()
    store = open_store(files)
    fill(store, [1])
    writer = store.begin_snapshot(store.synced)
    writer.write(b"half")
    store.keep_image(b"half")
    files.kill()
    assert {f"{SNAP_DIR}/snapshot.tmp", f"{SNAP_DIR}/image.tmp"} < files.contents().keys()

    open_store(files)

    assert not [path for path in files.contents() if path.endswith(".tmp")]


def test_a_handle_from_before_the_power_cut_is_of_no_use() -> None:
    """Of the simulated disk: a dead process cannot write."""
    files = FaultyFiles()
    narrator = Narrator(files)
    tell_beginning(narrator)
    files.power_cut(Random(1), CutModel.ANY_ORDER)

    with pytest.raises(PowerLost):
        fill(narrator.store, [1])
