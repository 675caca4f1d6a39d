"""Texts and documents: what they are read as, and what is refused with which reason."""

import json

import pytest
from hypothesis import given, strategies as st

from zabpy.config.values import (
    BadDocumentError,
    BadSettingsError,
    env_form,
    env_name,
    is_secret,
    parse,
    path_of,
)


def test_a_plain_key_is_text_whatever_it_looks_like() -> None:
    for text in ("5432", "true", "null", '{"a": 1}', "", " x\n", "!enc abc", "ünïcode"):
        assert parse("db.port", text.encode()) == text


def test_the_suffix_makes_a_document_and_is_no_part_of_the_place() -> None:
    assert path_of("db.host") == ("db", "host")
    assert path_of("db.pool.json") == ("db", "pool")
    assert path_of("json") == ("json",)
    assert path_of("db.xml") == ("db", "xml")


@pytest.mark.parametrize("key", ["a..b", ".a", "a.", "a..json"])
def test_a_key_with_an_empty_name_has_no_place(key: str) -> None:
    with pytest.raises(BadDocumentError, match="a name between the dots of the key is missing"):
        path_of(key)


def test_documents() -> None:
    wanted = {"host": "x", "ports": [1, 2], "deep": {"on": True, "rate": 1.5}}
    assert parse("db.json", json.dumps(wanted).encode()) == wanted
    assert parse("db.yaml", b"host: x\nports: [1, 2]\ndeep: {on: true, rate: 1.5}\n") == wanted
    assert parse("db.toml", b'host = "x"\nports = [1, 2]\n[deep]\non = true\nrate = 1.5\n') == wanted


def test_what_yaml_1_1_makes_of_plain_words_is_not_what_is_meant() -> None:
    text = b"country: no\nat: 12:30\nzip: 010\nday: 2026-11-23\nanswer: yes\nsize: 0x10\nsmall: 1e-3\nnothing: ~\n"
    assert parse("a.yaml", text) == {
        "country": "no",
        "at": "12:30",
        "zip": "010",
        "day": "2026-11-23",
        "answer": "yes",
        "size": 16,
        "small": 0.001,
        "nothing": None,
    }


def test_an_empty_yaml_or_toml_says_nothing() -> None:
    assert parse("a.yaml", b"") == parse("a.yaml", b"# later\n") == parse("a.toml", b"") == {}
    assert parse("a.yaml", b"null") is None


def test_times_of_toml_are_text() -> None:
    assert parse("a.toml", b"at = 2026-11-23T01:02:03Z\n") == {"at": "2026-11-23T01:02:03+00:00"}


def test_merged_mappings_of_yaml() -> None:
    text = b"base: &base {a: 1, b: 2}\nmine:\n  <<: *base\n  b: 3\nyours:\n  <<: *base\n  c: 4\n"
    document = parse("a.yaml", text)
    assert document["mine"] == {"a": 1, "b": 3} and document["yours"] == {"a": 1, "b": 2, "c": 4}


def test_an_encrypted_word_of_yaml() -> None:
    assert parse("a.yaml", b"password: !enc AbC=\nother: '!enc x'\n") == {"password": "!enc AbC=", "other": "!enc x"}


@pytest.mark.parametrize(
    ("key", "data", "reason"),
    [
        ("a", b"\xff", "no UTF-8: invalid start byte at byte 0"),
        ("a.json", b'{"a": 1', "no JSON: Expecting ',' delimiter: line 1 column 8 (char 7)"),
        ("a.json", b"", "no JSON: Expecting value: line 1 column 1 (char 0)"),
        ("a.json", b'{"a": 1, "a": 2}', "no JSON that can be used here: the name 'a' stands in it twice"),
        ("a.json", b'{"a": NaN}', "no JSON that can be used here: NaN is no number here"),
        ("a.json", b'{"": 1}', "no JSON that can be used here: a name is empty"),
        ("a.json", b"[" * 40 + b"]" * 40, "no JSON that can be used here: deeper than 32 levels"),
        ("a.json", b"[" * 100_000, "deeper than 32 levels"),
        ("a.json", b"1" * 5000, "no JSON: Exceeds the limit"),
        ("a.yaml", b"a: 1\nb: [1\n", "expected ',' or ']', but got '<stream end>' in line 3, column 1"),
        ("a.yaml", b"a: 1\na: 2\n", "the name 'a' stands there twice in line 2, column 1"),
        ("a.yaml", b"1: x\n", "the name '1' is no text: put it in quotes in line 1, column 1"),
        ("a.yaml", b"a: 1\n---\nb: 2\n", "but found another document in line 2, column 1"),
        ("a.yaml", b"a: !!python/object:os.system x\n", "could not determine a constructor for the tag"),
        ("a.yaml", b"a: !!binary aGk=\n", "a bytes has no place in a document"),
        ("a.yaml", b"a: &a [*a]\n", "deeper than 32 levels"),
        ("a.yaml", b"a: .inf\nb: .nan\n", None),
        ("a.yaml", b"a: \x01\n", "special characters are not allowed"),
        ("a.toml", b"a = 1\na = 2\n", "no TOML: Cannot overwrite a value (at line 2, column 6)"),
        ("a.toml", b"a = inf\n", "inf is no number here"),
    ],
)
def test_what_cannot_be_is_refused_with_its_line(key: str, data: bytes, reason: str | None) -> None:
    if reason is None:
        assert parse(key, data) == {"a": ".inf", "b": ".nan"}
        return
    with pytest.raises(BadDocumentError) as raised:
        parse(key, data)
    assert reason in str(raised.value)


def test_a_billion_laughs_are_cut_short() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    with pytest.raises(BadDocumentError, match="more than 100000 values"):
        parse("a.yaml", "\n".join(lines).encode())


_documents = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(min_size=1), inner, max_size=4),
    max_leaves=10,
)


@given(_documents)
def test_json_comes_back_as_it_was(document: object) -> None:
    assert parse("a.json", json.dumps(document).encode()) == document


@given(st.sampled_from(["a", "a.json", "a.yaml", "a.toml"]), st.binary(max_size=60) | st.text(max_size=60))
def test_any_bytes_are_read_or_refused(key: str, data: bytes | str) -> None:
    try:
        parse(key, data if isinstance(data, bytes) else data.encode("utf-8", "surrogatepass"))
    except BadDocumentError:
        pass


def test_the_form_for_environments() -> None:
    assert env_name("app", ("db", "max-size")) == "APP__DB__MAX_SIZE"
    leaves = {("db", "host"): "x", ("db", "on"): True, ("n",): None, ("l",): [1, "é"]}
    assert env_form(leaves, "app") == {
        "APP__DB__HOST": "x",
        "APP__DB__ON": "true",
        "APP__N": "",
        "APP__L": '[1, "é"]',
    }
    with pytest.raises(BadSettingsError, match="b_c: as a variable it would be A__B_C, as b-c is"):
        env_form({("b-c",): "1", ("b_c",): "2"}, "a")
    with pytest.raises(BadSettingsError, match="zero byte"):
        env_form({("b",): "1\0"}, "a")


def test_what_is_secret() -> None:
    assert is_secret(("db", "password"), "x") and is_secret(("s3", "api-key"), "x") and is_secret(("x",), "!enc y")
    assert not is_secret(("db", "host"), "x") and not is_secret(("key",), "x")
