"""Patterns: what they match, what they cost, what they cannot see."""

import time

import pytest

import zabpy
from shell.errors import UsageError
from shell.glob import braces, matcher, matches, plain

from .conftest import Run
from .test_look_listing import Fill, closed_to_all, fill

__all__ = ["fill"]


@pytest.mark.parametrize(
    ("pattern", "those", "not_those"),
    [
        ("*", ["", "a", ".a", "a\nb", "*"], []),
        ("a*", ["a", "ab"], ["ba", ""]),
        ("*a", ["a", "ba", "aa"], ["ab"]),
        ("*a*b", ["ab", "xaxb", "aab", "abab"], ["ba", "a", "b"]),
        ("a*bc*c", ["abcc", "axbcbcc"], ["abc"]),
        ("a?c", ["abc", "a/c"[:1] + "é" + "c"], ["ac", "abbc"]),
        ("[a-c]x", ["ax", "cx"], ["dx", "-x"]),
        ("[!a-c]x", ["dx"], ["ax", "x"]),
        ("[^a]", ["b", "^"], ["a"]),
        ("[]a]", ["]", "a"], ["b"]),
        ("[a&&b]", ["a", "&", "b"], ["c"]),
        ("[z-a]", ["[z-a]"], ["z", "b"]),
        ("[a", ["[a"], ["a"]),
        ("a.c", ["a.c"], ["abc"]),
        (r"a\*", ["a*"], ["ab"]),
        (r"\[a\]", ["[a]"], ["a"]),
        ("**", ["", "abc"], []),
    ],
)
def test_one_name(pattern: str, those: list[str], not_those: list[str]) -> None:
    fits = matcher(pattern).match
    assert [name for name in those if not fits(name)] == []
    assert [name for name in not_those if fits(name)] == []


def test_no_pattern_takes_long() -> None:
    begun = time.perf_counter()
    assert not matcher("*a" * 30 + "*b").match("a" * 5_000)
    assert not matcher("*a?" * 30 + "b").match("a" * 5_000)
    assert time.perf_counter() - begun < 1


def test_braces() -> None:
    assert list(braces("a{b,c}{d,e}")) == ["abd", "abe", "acd", "ace"]
    assert list(braces("{a,b{c,d}}")) == ["a", "bc", "bd"]
    assert list(braces("{a}{b")) == ["{a}{b"]
    assert list(braces(r"\{a,b}")) == [r"\{a,b}"]
    assert list(braces("{,x}")) == ["", "x"]
    assert (plain(r"a\*b"), plain("a*")) == ("a*b", None)


async def tree(zk: zabpy.Client) -> None:
    for path in ("/a/x/conf", "/a/y/conf", "/a/z", "/b/x/deep/conf", "/b/{k}", "/b/s*r", "/b/two words"):
        await zk.create(path, parents=True)


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("/a/*", "/a/x /a/y /a/z"),
        ("a/*/conf", "/a/x/conf /a/y/conf"),
        ("/*/x", "/a/x /b/x"),
        ("/a/[xz]", "/a/x /a/z"),
        ("/{a,b}/x", "/a/x /b/x"),
        ("/{a,b}/{x,nope}", "/a/x /b/x"),
        ("/a/**", "/a /a/x /a/x/conf /a/y /a/y/conf /a/z"),
        ("/**/conf", "/a/x/conf /a/y/conf /b/x/deep/conf"),
        ("/**/deep/**", "/b/x/deep /b/x/deep/conf"),
        ("/a/../b/x/*", "/b/x/deep"),
        ("'/b/s*'*", "/b/s*r"),
        (r"/b/\{k\}?", ""),
        ("/b/*k*", "/b/{k}"),
        ("/b/t*", "/b/two words"),
        ("/nope/*", ""),
        ("/b/x/deep/conf/*", ""),
    ],
)
def test_paths(zabsh: Run, fill: Fill, typed: str, found: str) -> None:
    fill(tree)
    told = zabsh(f"ls -d {typed}", format="raw")
    assert " ".join(told.lines) == found
    assert told.err == ("" if found else f"ls: {typed}: no znode matches\n".replace("\\", ""))


def test_from_where_one_is_also_if_its_name_looks_like_a_pattern(zabsh: Run, fill: Fill) -> None:
    fill(tree)
    assert zabsh("cd /a/x; ls -d ../*; ls -d ./*", format="raw").lines == ["/a/x", "/a/y", "/a/z", "/a/x/conf"]
    assert zabsh("create '/b/s*r/in'; cd '/b/s*r'; ls -d *", format="raw").lines[-1:] == ["/b/s*r/in"]


def test_what_may_not_be_read_is_passed_over_and_told(zabsh: Run, fill: Fill) -> None:
    async def closed(zk: zabpy.Client) -> None:
        await tree(zk)
        await closed_to_all(zk, "/a/x")

    fill(closed)
    told = "/a/x: permission denied: READ is needed; what is below is not in /a/**\n"
    assert zabsh("ls -d /a/**") == (0, "/a\n/a/x\n/a/y\n/a/y/conf\n/a/z\n", told)


def test_bounds(fill: Fill, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(zk: zabpy.Client) -> None:
        with pytest.raises(UsageError, match="more than 10,000 patterns"):
            await matches(zk, "/" + "{a,b}" * 20)
        for n in range(6):
            await zk.create(f"/n{n}")
        monkeypatch.setattr("shell.glob.MATCHES_MAX", 5)
        with pytest.raises(UsageError, match=r"/n\*: stands for more than 5 znodes"):
            await matches(zk, "/n*")
        with pytest.raises(UsageError, match="stands for more than 5 znodes"):
            await matches(zk, "/**")
        assert len(await matches(zk, "/n[0-4]")) == 5

    fill(story)
