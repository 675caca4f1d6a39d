"""Every bit turned over, every length cut: the same state, a torn tail cut off, or a refusal that names the place."""

import contextlib
import zlib
from collections.abc import Iterator
from random import Random
from typing import NamedTuple

import pytest

from tests.storage.stories import LOG_DIR, SNAP_DIR, entries_after, open_store
from zabpy.model import NO_TIP, Entry, Tip, Zxid, make_zxid
from zabpy.storage import (
    DamagedError,
    DamagedLogError,
    DamagedMetaError,
    DamagedSnapshotError,
    ForeignDirectoryError,
    LockedError,
    NewerFormatError,
    Store,
    StoreError,
)
from zabpy.storage.epochs import Meta, create_meta
from zabpy.storage.format import LogHeader, SnapshotHeader, log_name, pack_trailer
from zabpy.testing.disk import CutModel, FaultyFiles, PowerLost

FAR = Zxid(1 << 63)
META = f"{LOG_DIR}/epochs"


class Directory(NamedTuple):
    """A small data directory and what is in it.

    ``marked`` entries are known to be synced from what stands in the last segment, ``noted`` ones from the meta file.
    """

    contents: dict[str, bytes]
    accepted_epoch: int
    entries: list[Entry]
    marked: int
    noted: int
    snapshots: list[Tip]
    #: The other files are those of another directory here, bit by bit.
    only_logs: bool = False

    def logs(self) -> list[str]:
        return [path for path in self.contents if "/log." in path]


def write(store: Store, sizes: list[int], *, epoch: int | None = None) -> list[Entry]:
    entries = entries_after(store.tip, sizes, epoch=epoch)
    store.append_and_sync(entries)
    return entries


def snapshot(store: Store, body: bytes) -> Tip:
    writer = store.begin_snapshot(store.synced)
    writer.write(body)
    writer.commit()
    return store.snapshot


def running() -> Directory:
    """Three segments, two snapshots; the process was killed."""
    files = FaultyFiles()
    store = open_store(files)
    store.save_epoch(1)
    entries = write(store, [3], epoch=1) + write(store, [20, 0, 7])
    first = snapshot(store, b"first")
    entries += write(store, [5, 20]) + write(store, [9])
    second = snapshot(store, b"second")
    entries += write(store, [1, 2]) + write(store, [30])
    marked = len(entries)
    entries += write(store, [8, 9])
    return Directory(files.contents(), 1, entries, marked, len(entries), [first, second])


def cut_off() -> Directory:
    """The same after a power cut: what the meta file was told last did not get to the disk."""
    directory = running()
    contents = {**directory.contents, META: directory.contents[META][:8192]}
    return directory._replace(contents=contents, noted=7, only_logs=True)


def stopped() -> Directory:
    """The same after a clean stop."""
    directory = running()
    files = FaultyFiles.holding(directory.contents)
    open_store(files).close()
    return directory._replace(contents=files.contents(), only_logs=True)


def installed() -> Directory:
    """The log begins at a snapshot that came from the leader; there is no other."""
    files = FaultyFiles()
    store = open_store(files)
    write(store, [3, 4], epoch=1)
    store.keep_image(b"image")
    tip = Tip(make_zxid(4, 17), 0xABCDEF)
    store.install(tip)
    store.save_epoch(5)
    entries = write(store, [10, 11])
    marked = len(entries)
    entries += write(store, [12])
    return Directory(files.contents(), 5, entries, marked, len(entries), [tip])


DIRECTORIES = {"running": running, "cut off": cut_off, "stopped": stopped, "installed": installed}


@pytest.fixture(params=DIRECTORIES, scope="module")
def directory(request: pytest.FixtureRequest) -> Directory:
    return DIRECTORIES[request.param]()


def verdict(directory: Directory, files: FaultyFiles, path: str, known: int) -> str:
    """Open what was damaged at ``path`` and hold what comes of it against the rules.

    ``known``: how many entries are known to be synced; any after those may be taken for a torn tail.
    """
    before = files.contents()
    try:
        store = open_store(files)
    except StoreError as error:
        text = str(error)
        assert "\n" not in text
        assert path in text
        assert "offset" in text
        assert files.contents() == before, "a directory that was refused was changed"
        assert files.operations == 0
        return type(error).__name__
    recovered = store.recovered
    assert recovered.accepted_epoch == directory.accepted_epoch
    assert recovered.snapshot in [NO_TIP, *directory.snapshots]
    if recovered.snapshot != NO_TIP:
        store.open_snapshot(recovered.snapshot).read(1000)
    assert store.log_base <= recovered.snapshot.zxid
    whole = [entry for entry in directory.entries if entry.zxid > recovered.snapshot.zxid]
    if recovered.entries == whole:
        return "same"
    if recovered.cut is not None:
        assert recovered.cut.path == path
    assert recovered.entries == whole[: len(recovered.entries)]
    assert len(whole) - len(recovered.entries) <= len(directory.entries) - known
    return "cut" if recovered.cut is not None else "short"


def bits_of(path: str, data: bytes) -> Iterator[int]:
    """All, but only some of the zeros that are room and nothing else."""
    used = len(data.rstrip(b"\0"))
    gaps = {*range(80, 4096), *range(4176, 8192)} if path == META else set()
    for byte in range(len(data)):
        if byte < used and byte not in gaps:
            yield from range(byte * 8, byte * 8 + 8)
        elif byte % 61 == 0:
            yield byte * 8 + byte % 8


def test_no_flipped_bit_gives_a_wrong_state(directory: Directory) -> None:
    verdicts: dict[str, set[str]] = {}
    logs = directory.logs()
    for path, data in directory.contents.items():
        if directory.only_logs and path not in logs:
            continue
        for bit in bits_of(path, data):
            files = FaultyFiles.holding(directory.contents)
            files.flip(path, bit)
            try:
                known = max(directory.marked, directory.noted)
                verdicts.setdefault(path, set()).add(verdict(directory, files, path, known))
            except BaseException as error:
                error.add_note(f"bit {bit} (byte {bit // 8}) of {path}")
                raise

    assert directory.only_logs or verdicts.pop(META) == {"same"}  # one slot of two
    assert all(verdicts[path] == {"DamagedLogError"} for path in logs[:-1])
    assert "DamagedLogError" in verdicts[logs[-1]]
    assert ("cut" in verdicts[logs[-1]]) == (directory.noted < len(directory.entries))
    assert "short" not in verdicts[logs[-1]]
    for path in verdicts.keys() - set(logs):
        assert verdicts[path] == ({"same"} if directory.logs()[0].endswith("0" * 16) else {"DamagedSnapshotError"})


def test_no_truncated_file_gives_a_wrong_state(directory: Directory) -> None:
    for path, data in directory.contents.items():
        for size in range(len(data)):
            if path == META and size % 97 and not (size < 90 or 4090 < size < 4180 or size > 8180):
                continue
            files = FaultyFiles.holding({**directory.contents, path: data[:size]})
            try:
                # A file that is shorter may have lost the marks in it.
                verdict(directory, files, path, directory.noted)
            except BaseException as error:
                error.add_note(f"{path} cut to {size} bytes")
                raise


def test_no_missing_file_gives_a_wrong_state(directory: Directory) -> None:
    for path in directory.contents:
        contents = {name: data for name, data in directory.contents.items() if name != path}
        files = FaultyFiles.holding(contents)
        if path == META:
            with pytest.raises(DamagedMetaError, match=META):
                open_store(files)
        elif len(directory.logs()) > 1 and path == directory.logs()[0]:
            # What was in it stands in the snapshots; should those go too, see below.
            assert open_store(files).recovered.entries == [
                entry for entry in directory.entries if entry.zxid > directory.snapshots[-1].zxid
            ]
        elif "snapshot" in path and len(directory.snapshots) == 1:
            with pytest.raises(DamagedSnapshotError, match=f"{path}: offset 0: expected this snapshot or a later"):
                open_store(files)
        elif path in directory.logs():
            with pytest.raises(DamagedLogError, match="offset [0-9]+: expected"):
                open_store(files)
        else:
            assert open_store(files).recovered.entries


def test_without_any_whole_snapshot_a_purged_log_is_refused() -> None:
    directory = running()
    contents = {path: data for path, data in directory.contents.items() if path != directory.logs()[0]}
    for path in list(contents):
        if "snapshot" in path:
            contents[path] = b""
    files = FaultyFiles.holding(contents)

    with pytest.raises(DamagedSnapshotError, match="offset 0: expected a whole snapshot header"):
        open_store(files)

    assert files.contents() == contents


def test_damage_behind_which_a_later_batch_names_it_synced_is_not_a_torn_tail() -> None:
    directory = running()
    path = directory.logs()[-1]
    entry = directory.entries[-3]
    data = directory.contents[path]
    directory.contents[META] = directory.contents[META][:8192]
    at = data.index(entry.chain.to_bytes(4, "big"))
    files = FaultyFiles.holding({**directory.contents, path: data[:at] + b"\xff" + data[at + 1 :]})

    with pytest.raises(DamagedLogError, match=rf"{path}: offset {at - 5}: expected the record after 0x\w+, since all"):
        open_store(files)


def test_a_damaged_newest_snapshot_is_set_aside_for_an_older_one() -> None:
    directory = running()
    path = max(path for path in directory.contents if "snapshot" in path)
    files = FaultyFiles.holding(directory.contents)
    files.flip(path, 400)

    store = open_store(files)

    assert store.recovered.snapshot == directory.snapshots[0]
    assert store.tip == Tip(directory.entries[-1].zxid, directory.entries[-1].chain)
    assert [text.startswith(f"{path}: offset ") for text in store.recovered.damaged_snapshots] == [True]
    assert f"{path}.damaged" in files.contents()
    assert path not in files.contents()


def test_a_segment_of_the_past_is_not_taken_for_the_present() -> None:
    """A file that came back from a backup: right server, right name, whole in itself."""
    past = running()
    files = FaultyFiles()
    store = open_store(files)
    store.save_epoch(1)
    write(store, [3], epoch=1)
    write(store, [20, 0, 8])
    snapshot(store, b"first")
    write(store, [5, 20])
    contents = files.contents()
    path = past.logs()[1]
    assert path in contents

    with pytest.raises(DamagedLogError, match=f"{path}: offset 0: expected a segment that goes on after"):
        open_store(FaultyFiles.holding({**contents, path: past.contents[path]}))


def test_a_segment_under_another_name_is_refused() -> None:
    directory = running()
    path = directory.logs()[-1]
    contents = dict(directory.contents)
    contents[f"{LOG_DIR}/{log_name(1, Zxid(int(path[-16:], 16) + 1))}"] = contents.pop(path)

    with pytest.raises(DamagedLogError, match="offset 0: expected the segment that the file's name says"):
        open_store(FaultyFiles.holding(contents))


def test_a_meta_file_older_than_the_log_is_refused() -> None:
    before = running().contents[META]
    directory = installed()
    files = FaultyFiles.holding({**directory.contents, META: before})

    with pytest.raises(DamagedMetaError, match=f"{META}: offset 0: names log generation 1, but .* in use"):
        open_store(files)

    assert files.contents() == {**directory.contents, META: before}


def test_both_slots_damaged_is_refused_and_never_guessed_from_the_log() -> None:
    directory = running()
    files = FaultyFiles.holding(directory.contents)
    files.flip(META, 300)
    files.flip(META, 4096 * 8 + 300)

    with pytest.raises(DamagedMetaError, match="both are damaged"):
        open_store(files)


@pytest.mark.parametrize("slot_offset", [0, 4096])
def test_the_only_whole_slot_is_not_the_one_that_is_written_first(slot_offset: int) -> None:
    """A power cut left one slot torn, and another one comes while the start after it saves."""
    contents = running().contents
    for operation in range(1, 16):
        for seed in range(12):
            files = FaultyFiles.holding(contents)
            files.flip(META, slot_offset * 8 + 300)

            def lose_power(when: str, kind: str, path: str) -> None:
                if when == "after" and files.operations == operation:  # noqa: B023
                    raise PowerLost

            files.hook = lose_power
            with contextlib.suppress(PowerLost):
                open_store(files)
            files.hook = None
            files.power_cut(Random(seed), CutModel.PREFIX)

            assert open_store(files).recovered.accepted_epoch == 1


def test_another_servers_directory_is_refused() -> None:
    directory = running()
    files = FaultyFiles.holding(directory.contents)

    with pytest.raises(ForeignDirectoryError, match=f"{META}: expected the directory of server 4, it is that of .* 3"):
        Store.open(files, LOG_DIR, SNAP_DIR, 4)

    assert files.contents() == directory.contents


def test_another_servers_log_is_refused() -> None:
    directory = running()
    path = directory.logs()[-1]
    header = LogHeader(9, 1, Tip(Zxid(int(path[-16:], 16)), 77))
    files = FaultyFiles.holding({**directory.contents, path: header.packed()})

    with pytest.raises(ForeignDirectoryError, match=f"{path}: offset 0: expected the log of server 3"):
        open_store(files)


@pytest.mark.parametrize("kind", ["epochs", "log.", "snapshot."])
def test_a_newer_format_is_refused(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as later:
        later.setattr("zabpy.storage.format.FORMAT", 2)
        contents = running().contents
    now = running().contents
    mixed = {path: (contents if f"/{kind}" in path else now)[path] for path in now}
    files = FaultyFiles.holding(mixed)

    with pytest.raises(NewerFormatError, match=rf"/{kind}.*: format 2, but this version of zabpy knows"):
        open_store(files)

    assert files.contents() == mixed


def test_a_directory_is_one_processs() -> None:
    files = FaultyFiles()
    store = open_store(files)

    with pytest.raises(LockedError, match="/log: expected to be the only process here"):
        open_store(files)
    store.close()

    open_store(files)


def test_zeros_are_never_a_log() -> None:
    """Also in a place where the watermark does not reach: the file was lengthened, its content never came."""
    files = FaultyFiles()
    create_meta(files := _with_dirs(files), LOG_DIR, Meta(1, 3, generation=1))
    path = f"{LOG_DIR}/{log_name(1, Zxid(0))}"
    files.open(path, create=True).write(bytes(5000), 0)

    with pytest.raises(DamagedError, match=f"{path}: offset 0: expected a whole segment header"):
        open_store(files)


def _with_dirs(files: FaultyFiles) -> FaultyFiles:
    files.make_dir(LOG_DIR)
    files.make_dir(SNAP_DIR)
    return files


def test_a_successor_that_was_never_finished_still_says_that_the_segment_before_it_was_whole() -> None:
    directory = cut_off()
    path = directory.logs()[-1]
    successor = f"{LOG_DIR}/{log_name(1, Zxid(directory.entries[-1].zxid))}"
    whole = {**directory.contents, path: directory.contents[path].rstrip(b"\0"), successor: b""}
    assert open_store(FaultyFiles.holding(whole)).recovered.cut is None
    files = FaultyFiles.holding(whole)
    files.flip(path, (len(whole[path]) - 1) * 8)

    with pytest.raises(DamagedLogError, match=f"{path}: offset"):
        open_store(files)


@pytest.mark.parametrize("number", [0, 1])
def test_a_snapshot_of_another_history_is_refused(number: int) -> None:
    """Whole, with the right name and zxid, but of other records: at a segment's base, or in the middle of one."""
    directory = running() if number else installed()
    tip = directory.snapshots[-1]
    (path,) = [path for path in directory.contents if path.endswith(f"{tip.zxid:016x}") and "snapshot" in path]
    header = SnapshotHeader(1 if number else 2, tip._replace(chain=tip.chain ^ 1))
    body = b"other"
    data = header.packed() + body + pack_trailer(header, len(body), zlib.crc32(body))

    with pytest.raises(DamagedLogError, match=rf"offset \d+: expected chain {tip.chain ^ 1:#x} at {tip.zxid:#x}"):
        open_store(FaultyFiles.holding({**directory.contents, path: data}))


def test_a_meta_file_of_before_the_logs_epoch_is_refused() -> None:
    """What a server has in its log it has promised to follow: an accepted epoch below that is an old copy's."""
    files = FaultyFiles()
    store = open_store(files)
    store.save_epoch(1)
    write(store, [3], epoch=1)
    before = files.contents()[META]
    store.save_epoch(2)
    write(store, [4], epoch=2)
    contents = {**files.contents(), META: before}
    files = FaultyFiles.holding(contents)
    files.make_dir(SNAP_DIR)

    with pytest.raises(DamagedMetaError, match=f"{META}: offset 0: accepted epoch 1, but the log is of epoch 2"):
        open_store(files)

    assert files.contents() == contents
