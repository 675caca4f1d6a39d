"""The file with the last good settings: it is whole, ours and nobody else's, or it is refused."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from zabpy.config.cache import Cached, CacheError, load, save

CACHED = Cached(
    "/config/app", 7, 1_700_000_000_000, {"default": {"db.host": "é x".encode(), "raw": b"\xff\0"}, "env.prod": {}}
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "settings.cache"


def test_what_was_saved_is_loaded(file: Path) -> None:
    assert load(file, "/config/app") is None
    save(file, CACHED)
    assert load(file, "/config/app") == CACHED
    assert file.stat().st_mode & 0o7777 == 0o600
    assert os.listdir(file.parent) == [file.name]


def test_changed_and_missing_bytes_are_found(file: Path) -> None:
    save(file, CACHED)
    good = file.read_bytes()
    for index in range(0, len(good), 3):
        file.write_bytes(good[:index] + bytes([good[index] ^ 1]) + good[index + 1 :])
        with pytest.raises(CacheError):
            load(file, "/config/app")
    for length in range(0, len(good), 3):
        file.write_bytes(good[:length])
        with pytest.raises(CacheError, match="damaged"):
            load(file, "/config/app")


@pytest.mark.parametrize("data", [b"", b"[]", b"null", b"{}", b"[" * 100_000, b"\xff", b'{"format": "other"}'])
def test_other_files_are_refused(file: Path, data: bytes) -> None:
    file.write_bytes(data)
    file.chmod(0o600)
    with pytest.raises(CacheError):
        load(file, "/config/app")


def test_of_another_namespace_or_version(file: Path) -> None:
    save(file, CACHED)
    with pytest.raises(CacheError, match="it is of '/config/app', not of '/config/other'"):
        load(file, "/config/other")
    content = json.loads(file.read_bytes()) | {"version": 2}
    file.write_text(json.dumps(content))
    with pytest.raises(CacheError, match="no cache of this version"):
        load(file, "/config/app")


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_what_others_may_write_is_not_trusted(file: Path, mode: int) -> None:
    save(file, CACHED)
    file.chmod(mode)
    with pytest.raises(CacheError, match=f"others may write it .mode {mode:04o}"):
        load(file, "/config/app")


def test_what_belongs_to_another_user_is_not_trusted(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(file, CACHED)
    if os.geteuid() == 0:
        os.chown(file, 12345, -1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: 12345)
    with pytest.raises(CacheError, match="it belongs to user"):
        load(file, "/config/app")


def test_no_pipe_and_no_directory(file: Path) -> None:
    os.mkfifo(file)
    with pytest.raises(CacheError, match="no file"):
        load(file, "/config/app")
    file.unlink()
    file.mkdir()
    with pytest.raises(CacheError):
        load(file, "/config/app")
    with pytest.raises(CacheError):
        save(file, CACHED)
    assert os.listdir(file.parent) == [file.name]  # and no temporary one is left


def test_a_save_that_fails_leaves_the_old_one(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(file, CACHED)

    def no_space(number: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(CacheError, match="No space left"):
        save(file, Cached("/config/app", 8, 0, {}))
    assert load(file, "/config/app") == CACHED and os.listdir(file.parent) == [file.name]
    with pytest.raises(CacheError):
        save(file.parent / "none" / "x", CACHED)


def test_whoever_is_killed_while_saving_leaves_a_whole_one(file: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from zabpy.config.cache import *\n"
        "for n in range(10**9): save(Path(sys.argv[1]), Cached('/c', n, 0, {'default': {'k': b'x' * 100_000}}))"
    )
    for _ in range(2):
        file.unlink(missing_ok=True)
        process = subprocess.Popen([sys.executable, "-c", code, str(file)])
        deadline = time.monotonic() + 10
        while (found := load(file, "/c")) is None or found.revision < 3:
            assert time.monotonic() < deadline
        process.kill()
        process.wait()
        found = load(file, "/c")
        assert found is not None and found.layers == {"default": {"k": b"x" * 100_000}}
