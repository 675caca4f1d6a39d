"""A namespace's schema refuses what does not fit it, and says which key of which layer, which line, and why."""

import json
from typing import Any

import pytest

from zabpy.config.schema import BadSchemaError, Schema, line_of
from zabpy.config.secrets import Keyring, Secrets, key_line

DB = {
    "type": "object",
    "properties": {
        "db": {
            "type": "object",
            "properties": {
                "host": {"type": "string", "minLength": 1},
                "port": {"type": "integer", "minimum": 1, "maximum": 65535},
                "pool": {"type": "array", "items": {"type": "integer"}},
                "timeout": {"type": ["number", "null"]},
                "mode": {"enum": ["fast", "safe", 3]},
                "password": {"type": "string", "minLength": 8},
            },
            "required": ["host"],
            "additionalProperties": False,
        },
        "debug": {"type": "boolean"},
    },
    "required": ["db"],
}


def told(schema: Any, **layers: dict[str, str]) -> list[str]:
    given = {name: {key: text.encode() for key, text in each.items()} for name, each in layers.items()}
    return [str(problem) for problem in Schema(schema).problems(given)]


def test_what_fits_is_taken_with_texts_read_as_the_schema_wants_them() -> None:
    assert told(DB, default={"db.host": "5", "db.port": "5432", "debug": "true", "db.mode": "3"}) == []
    assert told(DB, default={"db.json": '{"host": "a", "port": 1, "pool": [1, 2], "timeout": null}'}) == []
    assert told(DB, default={"db.host": "a", "db.timeout": "2.5", "db.pool": "[1, 2]"}) == []


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        ({"db.port": "x"}, "db.port (layer default) = 'x': expected integer"),
        ({"db.port": "70000"}, "db.port (layer default) = '70000': 70000 is greater than the maximum of 65535"),
        ({"db.port": ""}, "db.port (layer default) = '': expected integer"),
        ({"debug": "yes"}, "debug (layer default) = 'yes': expected boolean"),
        ({"db.mode": "slow"}, "db.mode (layer default) = 'slow': expected one of 'fast', 'safe', 3"),
        ({"db.hots": "b"}, "db: Additional properties are not allowed ('hots' was unexpected)"),
    ],
)
def test_what_does_not_fit_is_named(entries: dict[str, str], expected: str) -> None:
    [problem] = told(DB, default={"db.host": "a", **entries})

    assert problem.replace("db (layer default)", "db") == expected


def test_in_a_document_the_line_is_named_and_text_is_text() -> None:
    yaml = "# pools\nhost: a\npool:\n  - 1\n  - two\n"
    problems = told(DB, default={"db.yaml": yaml})
    assert len(problems) == 1
    assert "expected integer (line 5 of db.yaml)" in problems[0]
    assert problems[0].startswith("db.pool.1 (layer default) = 'two'")
    assert "(line 2 of db.json)" in told(DB, default={"db.json": '{"host": "a",\n "port": "1"}'})[0]
    assert "(line 2 of db.toml)" in told(DB, default={"db.toml": 'host = "a"\nport = "1"\n'})[0]


def test_a_document_that_cannot_be_read_is_named_with_its_line() -> None:
    [problem] = told(DB, default={"db.yaml": "host: a\n  port: [\n"})
    assert "line 2" in problem and problem.startswith("db.yaml")


def test_what_is_missing_is_missing_only_if_no_layer_has_it() -> None:
    assert told(DB, default={"db.port": "1"}, prod={"db.host": "a"}, web={"debug": "true"}) == []
    assert told(DB, default={"db.port": "1"}, prod={"debug": "true"}) == ["db: 'host' is a required property"]
    assert told(DB, default={}) == ["the settings: 'db' is a required property"]


def test_a_wrong_value_is_found_in_whichever_layer_it_stands() -> None:
    problems = told(DB, default={"db.host": "a", "db.port": "1"}, prod={"db.port": "x"}, web={"db.port": "2"})
    assert problems == ["db.port (layer prod) = 'x': expected integer"]


def test_where_the_schema_names_sets_of_layers_each_has_to_be_whole() -> None:
    schema = {**DB, "x-layers": [["prod"], ["test", "host*"]]}

    assert told(schema, default={"db.port": "1"}, prod={"db.host": "a"}, test={}, host1={"db.host": "b"}) == []
    assert told(schema, default={}, prod={"db.host": "a"}, test={}, host1={"db.host": "b"}, host2={}) == [
        "the settings: 'db' is a required property"
    ]


def test_only_sets_with_a_layer_that_changed_are_looked_at() -> None:
    layers = {"default": {"db.host": b"a"}, "prod": {"db.port": b"x"}, "test": {}}

    assert Schema(DB).problems(layers, changed={"test"}) == []
    assert len(Schema(DB).problems(layers, changed={"prod"})) == 1
    assert len(Schema(DB).problems(layers, changed={"default"})) == 1


def test_what_is_encrypted_is_looked_into_with_keys_only_and_never_shown() -> None:
    secrets = Secrets(Keyring.parse(key_line("k"), "test"), "/config/app")
    sealed = secrets.conceal("default", "db.password", "short")
    layers = {"default": {"db.host": b"a", "db.password": sealed.encode(), "db.port": b"1"}}

    assert Schema(DB).problems(layers) == []
    [problem] = Schema(DB).problems(layers, secrets.reveal)
    assert str(problem) == "db.password (layer default) = ***: it does not fit minLength: 8"


def test_choices_say_what_comes_nearest() -> None:
    schema = {"properties": {"a": {"anyOf": [{"type": "integer"}, {"type": "null"}]}}}

    assert told(schema, default={"a": "7"}) == []
    assert "fits nothing of anyOf" in told(schema, default={"a": "x"})[0]


def test_formats_are_looked_at() -> None:
    schema = {"properties": {"ip": {"type": "string", "format": "ipv4"}}}

    assert told(schema, default={"ip": "10.0.0.1"}) == []
    assert "is not a 'ipv4'" in told(schema, default={"ip": "10.0.0.256"})[0]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"{", "no JSON"),
        (b"[]", "a list, where an object is needed"),
        (b'{"type": "strnig"}', "at /type"),
        (b'{"properties": {"a": {"minimum": "x"}}}', "at /properties/a/minimum"),
        (b'{"properties": {"a": {"pattern": "("}}}', "at /properties/a/pattern"),
        (b'{"$schema": "https://example.org/mine"}', "is not known here"),
        (b'{"$schema": 3}', "is no text"),
        (b'{"$ref": "#/$defs/nothing"}', "leads nowhere"),
        (b'{"$ref": "https://example.org/other.json"}', "leads nowhere"),
        (b'{"$ref": "#"}', "without end"),
        (b'{"x-layers": ["prod"]}', "expected a list of lists"),
        (b"\xff", "no UTF-8"),
    ],
)
def test_a_schema_that_is_none_is_refused(text: bytes, reason: str) -> None:
    with pytest.raises(BadSchemaError, match=reason):
        Schema.parse(text)


def test_a_schema_of_another_draft_is_taken() -> None:
    schema = {"$schema": "http://json-schema.org/draft-07/schema#", "properties": {"a": {"type": "integer"}}}
    assert len(told(schema, default={"a": "x"})) == 1


def test_properties_may_have_the_names_of_keywords() -> None:
    assert told({"properties": {"pattern": {"type": "string"}}}, default={"pattern": "("}) == []


def test_a_line_that_is_not_to_be_found_is_none() -> None:
    assert line_of("a.json", b"{", ["x"]) is None
    assert line_of("a.json", json.dumps({"b": [1, 2]}).encode(), ["b", 5]) is None
    assert line_of("a.toml", b"x = 1\n[t]\nx = 2\n", ["t", "x"]) is None
