"""Words, quotes, operators, places: text to statements."""

from contextlib import suppress

import pytest
from hypothesis import given, strategies as st

from shell.line import After, LineError, parse, parse_so_far, quoted


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("ls /a /b", ["ls", "/a", "/b"]),
        ("  ls\t/a ", ["ls", "/a"]),
        ("set /a 'two words'", ["set", "/a", "two words"]),
        ('set /a "say \\"hi\\" \\\\ \\n"', ["set", "/a", 'say "hi" \\ \\n']),
        ('set /a {"port":1}', ["set", "/a", '{"port":1}']),
        ("find --name='a b'", ["find", "--name=a b"]),
        ("set /a 'x'\"y\"'z'", ["set", "/a", "xyz"]),
        ("set /a two\\ words", ["set", "/a", "two words"]),
        ("set /a C:\\temp", ["set", "/a", "C:\\temp"]),
        ("set /a ''", ["set", "/a", ""]),
        ("set /a it's", ["set", "/a", "it's"]),
        ("reconfig -add server.4=h:1:2;2181 -v 1; ", ["reconfig", "-add", "server.4=h:1:2;2181", "-v", "1"]),
        ("option output=json;", ["option", "output=json"]),
        ("get /a#b # ", ["get", "/a#b", "#"]),
    ],
)
def test_words(typed: str, words: list[str]) -> None:
    (statement,) = parse(typed)
    assert statement.words == words


def test_patterns_know_what_was_quoted() -> None:
    (statement,) = parse("ls /a* '/b*' /c\\* /d\\*{x,y}")
    assert [word.pattern for word in statement.words] == [None, "/a*", None, None, "/d\\*{x,y}"]
    assert statement.words[1:] == ["/a*", "/b*", "/c*", "/d*{x,y}"]


def test_statements() -> None:
    found = parse("ls; get /a && set /a 1 || pwd\n# nothing\n\nls | grep 'a;b' | wc -l; ls > x >> y\n;;")
    assert [(each.after, each.words, each.pipe) for each in found] == [
        (After.ALWAYS, ["ls"], None),
        (After.ALWAYS, ["get", "/a"], None),
        (After.SUCCESS, ["set", "/a", "1"], None),
        (After.FAILURE, ["pwd"], None),
        (After.ALWAYS, ["ls"], "grep 'a;b' | wc -l"),
        (After.ALWAYS, ["ls"], None),
    ]
    assert found[-1].target == "y" and found[-1].appends


@pytest.mark.parametrize(
    ("typed", "why", "at"),
    [
        ("set /a 'x", "the ' at column 8 does not end", 7),
        ("ls &&", "nothing stands behind &&", 5),
        ("&& ls", "nothing stands before &&", 0),
        ("| wc", "nothing stands before |", 0),
        ("ls |", "nothing stands behind |", 3),
        ("ls > ", "expected a file behind >", 3),
    ],
)
def test_what_cannot_be_read(typed: str, why: str, at: int) -> None:
    with pytest.raises(LineError) as caught:
        parse(typed)
    assert (str(caught.value), caught.value.at) == (why, at)
    parse_so_far(typed)  # while it is typed nothing is wrong yet


def test_places() -> None:
    text = "ls  '/a b' | wc"
    (statement,) = parse(text)
    assert [text[word.start : word.end] for word in statement.words] == ["ls", "'/a b'"]
    assert text[statement.pipe_start :] == " wc"


@given(st.lists(st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=8), min_size=1))
def test_a_quoted_word_is_read_as_it_was(words: list[str]) -> None:
    (statement,) = parse(" ".join(["set", *map(quoted, words)]))
    assert statement.words == ["set", *words]


@given(st.text())
def test_anything_is_read_or_refused(text: str) -> None:
    assert parse_so_far(text)
    with suppress(LineError):
        parse(text)
