"""Files that the shell writes: whole, or as they were."""

import fcntl
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from shell.files import remove_stale_parts, whole_file, write_whole
from shell.settings import Rules

from .conftest import Run

FULL = Path("/dev/full")


def test_what_was_there_stays_until_all_is_written(zabsh: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk, found out as late as can be."""
    file = tmp_path / "x.ndjson"
    file.write_text("yesterday's")
    file.chmod(0o640)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        told = zabsh("create /a x", f"export -f / {file}", f"cp -f /a file:{file}")
    assert told.err.count("No space left on device") == 2 and file.read_text() == "yesterday's"
    assert os.listdir(tmp_path) == ["x.ndjson"]
    assert zabsh(f"export -f / {file}").status == 0 and "zabpy_export" in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o640


def test_behind_a_link_is_the_file_that_is_meant(tmp_path: Path) -> None:
    (tmp_path / "to").write_text("old")
    (tmp_path / "link").symlink_to("to")
    write_whole(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "to").read_bytes() == b"new"


@pytest.mark.skipif(not FULL.exists(), reason="there is no such device")
def test_no_file_takes_the_place_of_a_device_or_a_folder(zabsh: Run, tmp_path: Path) -> None:
    """Which root would have the right to."""
    os.mkfifo(tmp_path / "fifo")
    reader = os.open(tmp_path / "fifo", os.O_RDONLY | os.O_NONBLOCK)
    told = zabsh("create /a x", f"export / {tmp_path}/fifo", rules=Rules(yes=True))
    assert (told.status, stat.S_ISFIFO(os.stat(tmp_path / "fifo").st_mode)) == (0, True), told.err
    assert b'"end": true' in os.read(reader, 65536)
    os.close(reader)
    assert "No space left on device" in zabsh("export / /dev/full", rules=Rules(yes=True)).err
    told = zabsh(f"export -f / {tmp_path}", rules=Rules(yes=True))
    assert told.status == 2 and "is a folder" in told.err


def test_what_a_killed_process_has_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    dead, target = process.pid, tmp_path / "x"
    names = [f".x.{os.getppid()}.part", f".x.5.{dead}.part", f".xy.{dead}.part", f"x.{dead}.part", ".x.y.part"]
    for name in [*names, f".x.{dead}.part"]:
        (tmp_path / name).write_text("half")
    (tmp_path / "link").symlink_to("x")
    with (tmp_path / f".x.{dead}.part").open("rb") as stream:  # as one of another container with that id would have it
        fcntl.flock(stream, fcntl.LOCK_EX)
        assert remove_stale_parts(target) == []
    assert remove_stale_parts(tmp_path / "link") == [tmp_path / f".x.{dead}.part"]
    assert sorted(os.listdir(tmp_path)) == sorted([*names, "link"])


def test_what_is_being_written_is_locked(tmp_path: Path) -> None:
    with whole_file(tmp_path / "x"):
        (part,) = tmp_path.iterdir()
        with part.open("rb") as stream, pytest.raises(BlockingIOError):
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert os.listdir(tmp_path) == ["x"]
