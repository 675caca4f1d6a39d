"""The disk that forgets: what was synced stays, of the rest any part may go; and what was there before comes back."""

import os
import subprocess
import sys
import time
from pathlib import Path
from random import Random

import pytest

from tests.processes.disk import BadDisk

pytestmark = pytest.mark.skipif(not BadDisk.possible(), reason="needs a C compiler, and Linux")


class Home:
    def __init__(self, home: Path) -> None:
        self.data = home / "data"
        self.data.mkdir()
        self.disk = BadDisk(home, self.data)

    def does(self, text: str) -> str:
        """Python in a process on this disk; ``f`` is a file descriptor of data/log, which it makes if need be."""
        begin = f"import os; f = os.open({str(self.data / 'log')!r}, os.O_RDWR | os.O_CREAT)\n"
        environment = os.environ | self.disk.environment()
        done = subprocess.run(
            [sys.executable, "-S", "-c", begin + text], env=environment, capture_output=True, text=True, check=False
        )
        return done.stderr

    @property
    def log(self) -> bytes:
        return (self.data / "log").read_bytes()


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def test_what_was_synced_stays_and_what_was_not_may_go(home: Home) -> None:
    assert not home.does("os.pwrite(f, b'aaaa', 0); os.fdatasync(f)")
    before = "os.pwrite(f, b'bb', 2); os.pwrite(f, b'cccc', 4); os.ftruncate(f, 1)"
    left = set()
    for seed in range(40):
        assert not home.does(before)
        assert home.log == b"a"
        home.disk.power_cut(Random(seed))
        left.add(home.log)
        (home.data / "log").write_bytes(b"aaaa")
    assert {b"aaaa", b"a", b"aabbcccc", b"aabb"} <= left
    assert all(each[:1] == b"a" for each in left)


def test_what_stayed_is_undone_no_more(home: Home) -> None:
    assert not home.does("os.pwrite(f, b'aaaa', 0)")
    home.disk.power_stayed()
    assert home.disk.power_cut(Random(1)) == 0
    assert home.log == b"aaaa"


def test_a_file_that_is_gone_or_replaced_is_not_brought_back(home: Home) -> None:
    log = str(home.data / "log")
    assert not home.does(f"os.pwrite(f, b'aaaa', 0); os.unlink({log!r})")
    assert not home.does("os.pwrite(f, b'bbbb', 0); os.fsync(f)")
    assert home.disk.power_cut(Random(1)) == 0
    assert home.log == b"bbbb"
    new = str(home.data / "new")
    assert not home.does(
        f"os.pwrite(f, b'cccc', 0); n = os.open({new!r}, os.O_RDWR | os.O_CREAT); os.replace({new!r}, {log!r})"
    )
    assert home.disk.power_cut(Random(1)) == 0
    assert home.log == b""


def test_syncs_are_slow_or_fail_as_told(home: Home) -> None:
    assert not home.does("os.fsync(f)")
    home.disk.set(delay_ms=300)
    began = time.monotonic()
    assert not home.does("os.fdatasync(f)")
    assert time.monotonic() - began >= 0.3
    home.disk.set(error=5)
    assert "OSError: [Errno 5]" in home.does("os.fdatasync(f)")
    assert "OSError: [Errno 5]" in home.does("os.fsync(f)")
    home.disk.set()
    assert not home.does("os.fsync(f)")
