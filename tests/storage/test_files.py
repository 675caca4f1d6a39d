"""The real file system: calls that do less than asked, errors that name the file, and nothing left open."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.storage.stories import LOG_DIR, SNAP_DIR, Narrator, entries_after, open_store, tell
from zabpy.storage import DamagedLogError, DamagedSnapshotError, OsFiles, Store, inspect_segment


@pytest.fixture
def pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """The system reads and writes seven bytes at a time, as it may."""
    read, write = os.pread, os.pwrite
    monkeypatch.setattr(os, "pread", lambda fd, size, offset: read(fd, min(size, 7), offset))
    monkeypatch.setattr(os, "pwrite", lambda fd, data, offset: write(fd, data[:7], offset))


@pytest.mark.usefixtures("pieces")
@pytest.mark.parametrize("size", [1, 6, 7, 8, 13, 14, 15, 30])
def test_what_is_read_and_written_in_pieces_is_whole(tmp_path: Path, size: int) -> None:
    data = bytes(range(100, 100 + size))
    file = OsFiles().open(str(tmp_path / "a"), create=True)
    file.write(b"....", 0)
    file.write(data, 2)
    try:
        assert file.size() == max(4, 2 + size)
        assert file.read(size, 2) == data
        assert file.read(2 + size, 0) == b".." + data
        assert file.read(size - 1, 2) == data[:-1]
        assert file.read(100, 3) == data[1:].ljust(1, b".")  # no more than there is
        assert file.read(10, 100) == b""
    finally:
        file.close()
    with pytest.raises(OSError, match=str(tmp_path / "a")):
        file.read(1, 0)


def test_what_a_store_opens_it_closes(tmp_path: Path) -> None:
    """Also what it only looks at while it repairs: servers live for years, and descriptors are few."""
    log_dir, snap_dir = f"{tmp_path}{LOG_DIR}", f"{tmp_path}{SNAP_DIR}"
    files = OsFiles()

    def opened(does: Callable[[], None]) -> int:
        before = len(os.listdir("/proc/self/fd"))
        does()
        return len(os.listdir("/proc/self/fd")) - before

    def story() -> None:
        tell(Narrator(files, log_dir, snap_dir))
        store = reopened()
        store.purge(3)
        store.close()

    def reopened() -> Store:
        return open_store(files, log_dir, snap_dir)

    def killed_in_the_middle_of_a_batch() -> None:
        store = reopened()
        store.append_and_sync(entries_after(store.tip, [5, 5]))
        store.append(entries_after(store.tip, [300]))
        found = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
        store.close()
        for path, data in found.items():  # as they were when it was killed
            path.write_bytes(data)
        newest = Path(_newest(log_dir))
        newest.write_bytes(newest.read_bytes().rstrip(b"\0")[:-20])  # torn
        recovered = reopened()
        assert recovered.recovered.cut
        assert list(inspect_segment(files, str(newest)))
        recovered.close()

    def with_a_snapshot_that_is_damaged() -> None:
        store = reopened()
        tip = store.synced
        for _ in range(2):
            writer = store.begin_snapshot(tip)
            writer.write(b"x" * 3000)
            writer.commit()
            store.append_and_sync(entries_after(store.tip, [5]))
            tip = store.synced
        aborted = store.begin_snapshot(tip)
        aborted.write(b"half")
        aborted.abort()
        newest = store.snapshot
        path = store.snapshot_path(newest)
        with store.open_snapshot(newest) as reader:
            assert reader.read(10) == b"x" * 10
        data = bytearray(Path(path).read_bytes())
        data[2000] ^= 1
        Path(path).write_bytes(data)
        with store.open_snapshot(newest) as reader, pytest.raises(DamagedSnapshotError):
            while reader.read(999):
                pass
        Path(path).write_bytes(data[:20])
        with pytest.raises(DamagedSnapshotError):
            store.open_snapshot(newest)
        Path(path).write_bytes(data)
        store.close()
        store = reopened()
        assert store.recovered.damaged_snapshots
        assert store.snapshot != newest
        store.close()

    def refused() -> None:
        path = _newest(log_dir)
        data = bytearray(Path(path).read_bytes())
        data[3] ^= 1
        Path(path).write_bytes(data)
        for _ in range(2):  # the second time, too: the directory was let go of
            with pytest.raises(DamagedLogError):
                reopened()

    left_open: list[int] = []
    for does in (story, killed_in_the_middle_of_a_batch, with_a_snapshot_that_is_damaged, refused):
        left_open.append(opened(does))
    assert left_open == [0, 0, 0, 0]


def _newest(directory: str) -> str:
    return max(f"{directory}/{name}" for name in os.listdir(directory) if name.startswith("log"))
