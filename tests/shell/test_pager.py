"""What is held until it is known whether it fits the screen; with a pager that writes a file."""

from pathlib import Path

import pytest

from shell.interactive.pager import Pager

MANY = b"".join(b"line %d\n" % number for number in range(100))


@pytest.fixture
def read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What has been in the pager."""
    monkeypatch.setenv("PAGER", f"cat > '{tmp_path}/read'")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("LINES", "24")
    return tmp_path / "read"


@pytest.fixture
def shown() -> bytearray:
    return bytearray()


@pytest.fixture
def pager(shown: bytearray, read: Path) -> Pager:
    return Pager(shown.extend, shown.extend)


def test_a_remark_in_what_fits_stands_at_its_place(pager: Pager, shown: bytearray, read: Path) -> None:
    pager.remark(b"first\n")
    assert shown == b"first\n"
    pager.hold(b"a\n")
    pager.remark(b"remark\n")
    pager.hold(b"b\n")
    pager.remark(b"last")
    pager.end()
    assert shown == b"first\na\nremark\nb\nlast" and not pager.is_at_start and not read.exists()


def test_a_remark_in_what_is_paged_comes_behind_it_and_all_lines_are_in_the_pager(
    pager: Pager, shown: bytearray, read: Path
) -> None:
    pager.hold(b"before\n")
    pager.remark(b"one\n")
    pager.hold(MANY)
    pager.remark(b"two\n")
    pager.hold(b"after\n")
    pager.end()
    assert read.read_bytes() == b"before\n" + MANY + b"after\n" and shown == b"one\ntwo\n"
    pager.hold(b"of the next\n")
    pager.end()
    assert shown == b"one\ntwo\nof the next\n"
    pager.hold(MANY)  # and the next is paged again
    pager.end()
    assert read.read_bytes() == MANY and shown == b"one\ntwo\nof the next\n"


def test_without_a_pager_all_is_in_order(pager: Pager, shown: bytearray, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAGER", "cat")
    pager.hold(b"before\n")
    pager.remark(b"one\n")
    pager.hold(MANY)
    pager.remark(b"two\n")
    pager.end()
    assert shown == b"before\none\n" + MANY + b"two\n"


def test_what_a_cancelled_command_said_is_shown_and_not_the_rest_of_its_listing(pager: Pager, shown: bytearray) -> None:
    pager.hold(b"before\n")
    pager.remark(b"one\n")
    pager.hold(b"rest\n")
    pager.drop()
    pager.remark(b"stopped\n")
    pager.end()
    assert shown == b"before\none\nstopped\n"
