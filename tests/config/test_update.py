"""What is told of a change."""

from zabpy.config.layers import Layer, merge
from zabpy.config.update import ABSENT, Difference, differences


def said(pattern: str, old: dict[str, bytes], new: dict[str, bytes]) -> list[str]:
    return [str(each) for each in differences(merge([Layer("a", old)]), merge([Layer("a", new)]), pattern)]


def test_what_came_went_and_is_another_now() -> None:
    old = {"db.host": b"a", "db.port": b"1", "name": b"x", "l.json": b"[1]"}
    new = {"db.host": b"b", "db.size": b"2", "name": b"x", "l.json": b"[true]"}
    assert said("*", old, new) == [
        "db.host: 'a' -> 'b'",
        "db.port: '1' -> ABSENT",
        "db.size: ABSENT -> '2'",
        "l: [1] -> [True]",
    ]
    assert said("db.*", old, new) == said("*", old, new)[:3]
    assert said("*.port", old, new) == ["db.port: '1' -> ABSENT"]
    assert said("db", old, new) == said("d", old, new) == []
    assert not ABSENT


def test_where_a_value_stands_does_not_matter() -> None:
    assert said("*", {"db.host": b"a"}, {"db.json": b'{"host": "a"}'}) == []


def test_secrets_do_not_show() -> None:
    assert said("*", {"password": b"a"}, {"password": b"b"}) == ["password: *** -> ***"]
    assert "hush" not in repr(Difference("x", "hush", ABSENT, secret=True))
