"""What a value is, and its forms."""

import gzip
import json

import cbor2
import pytest

from shell.errors import ShellError, UsageError
from shell.selection import is_selection, parse_selection
from shell.values import as_json, brief, data_fields, data_of, hex_dump, pretty, recognised


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"", "empty"),
        (b"hello", "text"),
        ("grüße\n".encode(), "text"),
        (b"17", "text"),
        (b'"x"', "text"),
        (b'{"a": [1, 2]}', "json"),
        (b" [1]\n", "json"),
        (b'{"a": ', "text"),
        (b"[" * 100_000, "text"),
        (b"a: 1\nb:\n  - x\n", "yaml"),
        (b"- a: 1\n", "yaml"),
        (b"see: this is prose, is it not", "yaml"),
        (b"http://host:80/x", "text"),
        (b"a sentence. then: another\nand one more line", "text"),
        (b"server.1=a:2888:3888\nserver.2=b:2888", "text"),
        (b"a: [1", "text"),
        (cbor2.dumps({"a": b"\xff"}), "cbor"),
        (cbor2.dumps({"a": 1}) + b"x", "binary"),
        (b"\x00\x01", "binary"),
        (b"\x1b[31mred", "binary"),
        (b"\xff\xfe", "binary"),
        (gzip.compress(b'{"a":1}'), "gzip json"),
        (gzip.compress(b"x")[:-3], "binary"),
        (gzip.compress(b""), "gzip empty"),
    ],
)
def test_what_a_value_is(data: bytes, name: str) -> None:
    assert recognised(data).name == name


def test_a_bomb_is_not_unpacked_and_a_huge_text_is_not_parsed() -> None:
    assert recognised(gzip.compress(bytes(65 << 20))).name == "binary"
    assert recognised(b"[" + b"1," * (3 << 20) + b"1]").name == "text"
    assert recognised(b"a: 1\n" * 20_000).name == "text"


def test_for_people() -> None:
    assert pretty(recognised('{"b":"ü","a":[1]}'.encode())) == '{\n  "b": "ü",\n  "a": [\n    1\n  ]\n}'
    assert pretty(recognised(b"a: 1\n")) == "a: 1"
    assert json.loads(pretty(recognised(cbor2.dumps({"a": b"\xff", "b": b"t"})))) == {"a": "ff", "b": "t"}
    assert hex_dump(b"\x00AB\xff" * 5).splitlines() == [
        "00000000  00 41 42 ff 00 41 42 ff  00 41 42 ff 00 41 42 ff  |.AB..AB..AB..AB.|",
        "00000010  00 41 42 ff                                       |.AB.|",
    ]
    assert brief(b"a\nb") == "a\\nb"
    assert brief(b"x" * 100, 10) == "xxxxxxxxx…"
    assert brief(bytes(range(20))) == "20 bytes: 00 01 02 03 04 05 06 07 08 09 0a 0b 0c 0d 0e 0f …"


@pytest.mark.parametrize("data", [b"", b"text", b"\xff\x00", None, "ü\n".encode(), b"\x1b"])
def test_json_keeps_every_byte(data: bytes | None) -> None:
    fields = json.loads(json.dumps(data_fields(data)))
    assert list(fields) == ["data", "data_base64"]
    assert data_of(fields) == data


@pytest.mark.parametrize("fields", [{"data": "a", "data_base64": "YQ=="}, {"data_base64": "!"}, {"data": 7}])
def test_json_that_is_no_value(fields: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="data"):
        data_of(fields)


CONFIG = {"db": {"host": "h", "ports": [1, 2]}, "a b": None, "of": [{"n": 1}, {}, {"n": 3}]}


@pytest.mark.parametrize(
    ("text", "part"),
    [
        (".db.host", "h"),
        (".db.ports[0]", "1"),
        (".db.ports[-1]", "2"),
        ('."a b"', "null"),
        (".of[*].n", "[1, 3]"),
        (".db[*]", '["h", [1, 2]]'),
        (".", json.dumps(CONFIG)),
    ],
)
def test_a_part_of_a_value(text: str, part: str) -> None:
    assert is_selection(text) or text == "."
    assert as_json(parse_selection(text if text != "." else "").of(CONFIG)) == part


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (".db.nope", ".db.nope: there is no .nope in an object"),
        (".db.host.x", '.db.host.x: there is no .x in "h"'),
        (".db.ports[2]", ".db.ports[2]: there is no [2] in a list of 2"),
        (".db[0]", ".db[0]: there is no [0] in an object"),
        (".db.host[*]", '.db.host[*]: there is no [*] in "h"'),
    ],
)
def test_a_part_that_is_not_there(text: str, told: str) -> None:
    with pytest.raises(ShellError) as caught:
        parse_selection(text).of(CONFIG)
    assert str(caught.value) == told


def test_what_is_no_selection() -> None:
    assert [is_selection(each) for each in (".", "..", "./a", "../a", "a", "/a.b", ".a/b", ".a", ".[0]")] == [
        False, False, False, False, False, False, False, True, True]  # fmt: skip
    with pytest.raises(UsageError, match=r"column 3"):
        parse_selection(".a..b")
