import errno
import os
import sys
from pathlib import Path

import pytest

from zabpy.server import Log
from zabpy.server.log import LINES_A_SECOND_MAX, LinesToStderr


class HandClock:
    def __init__(self) -> None:
        self.ms = 1_700_000_000_000

    def now_ms(self) -> int:
        return self.ms

    def wall_ms(self) -> int:
        return self.ms


def test_an_event_is_one_line_of_keys_and_values_whatever_is_in_them() -> None:
    lines: list[str] = []
    log = Log(HandClock(), server_id=3, write=lines.append)
    log("role", epoch=7, why="elected, with 2 votes", raw=b"\n\0".decode(), quoted='a"b', empty="")
    assert lines == [
        '2023-11-14T22:13:20.000Z server=3 event=role epoch=7 why="elected, with 2 votes" raw="\\n\\x00"'
        ' quoted="a\\"b" empty=""\n'
    ]


def test_a_flood_of_one_event_is_held_back_and_counted_and_others_are_not() -> None:
    lines: list[str] = []
    clock = HandClock()
    log = Log(clock, write=lines.append)
    for _ in range(LINES_A_SECOND_MAX + 30):
        log("flood")
    log("other")
    assert len(lines) == LINES_A_SECOND_MAX + 1
    clock.ms += 1000
    log("flood")
    assert lines[-1].endswith("event=flood held_back=30\n")


def test_a_pipe_that_nobody_empties_costs_lines_and_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = os.pipe()
    with open(ours, "rb", buffering=0) as reader, open(theirs, "w", encoding="utf-8") as stderr:
        monkeypatch.setattr(sys, "stderr", stderr)
        lines = LinesToStderr()
        for number in range(3000):
            lines.write(f"{number:0100}\n")
        os.set_blocking(ours, False)
        shown = reader.read(1 << 20).decode().splitlines()
        assert shown == [f"{number:0100}" for number in range(len(shown))]
        assert len(shown) > 100
        lines.write("here again\n")
        lines.write("and again\n")
        lost = f"{3000 - len(shown)} lines are missing here: nobody read them"
        assert reader.read(1 << 20).decode().splitlines() == [lost, "here again", "and again"]


def test_a_line_longer_than_what_is_left_is_told_of_and_the_next_is_a_line_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ours, theirs = os.pipe()
    with open(ours, "rb", buffering=0) as reader, open(theirs, "w", encoding="utf-8") as stderr:
        monkeypatch.setattr(sys, "stderr", stderr)
        lines = LinesToStderr()
        lines.write("x" * (1 << 20) + "\n")
        assert set(reader.read(1 << 20)) == {ord("x")}
        lines.write("next\n")
        assert reader.read(1 << 20) == b"\n1 lines are missing here: nobody read them\nnext\n"


def test_a_reader_that_is_gone_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = os.pipe()
    os.close(ours)
    with open(theirs, "w", encoding="utf-8") as stderr:
        monkeypatch.setattr(sys, "stderr", stderr)
        LinesToStderr().write("nobody there\n")


def test_a_closed_stderr_is_no_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with open(tmp_path / "lines", "w", encoding="utf-8") as stderr:
        monkeypatch.setattr(sys, "stderr", stderr)
    LinesToStderr().write("nobody there\n")


def test_a_line_that_an_error_cuts_off_is_ended_before_the_next(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "lines"
    room = [5]  # bytes, and then the disk is full
    real = os.write

    def write(fd: int, data: bytes) -> int:
        if room and not room[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        written = real(fd, data[: room[0]] if room else data)
        if room:
            room[0] -= written
        return written

    with open(path, "w", encoding="utf-8") as stderr:
        monkeypatch.setattr(sys, "stderr", stderr)
        lines = LinesToStderr()
        monkeypatch.setattr(os, "write", write)
        lines.write("cut off\n")
        room.clear()
        lines.write("next\n")
    assert path.read_text() == "cut o\n1 lines are missing here: nobody read them\nnext\n"
