"""Sizes, times, columns."""

import anyio
import pytest

from shell.looks import age, cut, in_columns, shown, size, when, width
from shell.output import Output
from shell.stats import hexed, mode, stat_fields
from zabpy.model import Stat


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0"), (1023, "1023"), (1024, "1.0K"), (1025, "1.1K"), (10_000, "9.8K"), (10_240, "10K"), (1_048_575, "1.0M"),
     (1_048_576, "1.0M"), (1_500_000, "1.5M"), (5 << 40, "5.0T"), (5 << 70, "5120E")],
)  # fmt: skip
def test_sizes(count: int, text: str) -> None:
    assert size(count) == text


def test_times() -> None:
    assert [age(ms) for ms in (-5, 999, 59_999, 60_000, 7_200_000, 200_000_000)] == [
        "0s",
        "0s",
        "59s",
        "1m",
        "2h",
        "2d",
    ]
    assert [when(ms) for ms in (0, 1_000, 2**62)] == ["-", "1970-01-01T00:00:01Z", f"{2**62} ms"]


def test_wide_characters_stand_in_line() -> None:
    assert [width(text) for text in ("abc", "日本", "é", "e\u0301", "\x1b[1mx\x1b[0m", "😀")] == [3, 4, 1, 1, 1, 2]
    assert (cut("日本語", 5), cut("abc", 3), cut("abcd", 3)) == ("日本…", "abc", "ab…")


def test_the_columns_of_a_table_are_of_one_width_and_numbers_stand_at_the_right() -> None:
    printed = bytearray()

    async def story() -> None:
        out = Output(printed.extend, printed.extend)
        async with out.rows("name", "size") as rows:
            await rows.add(name="日本", size=7)
            await rows.add(name="a", size=12)
        await out.end()

    anyio.run(story)
    assert printed.decode().splitlines() == ["NAME  SIZE", "日本     7", "a       12"]


def test_columns() -> None:
    assert list(in_columns([], 10)) == []
    assert list(in_columns(["a", "bb", "c", "d"], 100)) == ["a  bb  c  d"]
    assert list(in_columns(["a", "bb", "c", "d"], 6)) == ["a   c", "bb  d"]
    assert list(in_columns(["a" * 20, "b"], 10)) == ["a" * 20, "b"]
    assert list(in_columns(["日本", "b", "c"], 7)) == ["日本  c", "b"]


def test_names_as_they_are_typed() -> None:
    assert [shown(name) for name in ("a-b.c", "a b", "it's", "*", "a\nb", "ü")] == [
        "a-b.c", "'a b'", '"it\'s"', "'*'", "'a\\nb'", "ü"]  # fmt: skip


def stat(owner: int = 0, children: int = 0) -> Stat:
    return Stat(1, 2, 3, 4, 5, 6, 7, owner, 8, children, 9)


def test_what_a_stat_tells() -> None:
    assert [mode("a", stat()), mode("a-0000000003", stat(5)), mode("d", stat(0, 1))] == ["---", "-es", "d--"]
    assert hexed(-2) == "0xfffffffffffffffe"
    assert stat_fields(stat(16)) == {
        "czxid": "0x1", "mzxid": "0x2", "pzxid": "0x9", "ctime_ms": 3, "mtime_ms": 4, "version": 5, "cversion": 6,
        "aversion": 7, "ephemeral_owner": "0x10", "data_length": 8, "num_children": 0}  # fmt: skip
    assert stat_fields(stat())["ephemeral_owner"] is None
