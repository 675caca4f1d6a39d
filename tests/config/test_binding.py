"""Settings → objects of a program's model; what does not fit is told by key, layer, value and reason."""

import copy
import dataclasses
import enum
import json
import pickle
import traceback
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, NewType, NotRequired, TypedDict
from uuid import UUID

import attrs
import msgspec
import pydantic
import pydantic.dataclasses
import pytest

from zabpy.config.binding import Binder
from zabpy.config.layers import Layer, merge
from zabpy.config.values import BadSettingsError
from zabpy.model import BadArgumentsError


def bind(model: Any, **values: object) -> Any:
    """``db__host="x"`` is a plain key, and what is no text a document."""
    entries = {}
    for name, value in values.items():
        key = name.replace("__", ".")
        if isinstance(value, str):
            entries[key] = value.encode()
        else:
            entries[f"{key}.json"] = json.dumps(value).encode()
    return Binder(model).bind(merge([Layer("default", entries)]))


def problems(model: Any, **values: object) -> list[str]:
    with pytest.raises(BadSettingsError) as raised:
        bind(model, **values)
    return [str(each) for each in raised.value.problems]


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


UserId = NewType("UserId", int)


@dataclass(frozen=True)
class Pool:
    size: int = 5
    wait: timedelta = timedelta(seconds=1)


@dataclass(frozen=True)
class Database:
    host: str
    port: int = 5432
    pool: Pool = field(default_factory=Pool)


@dataclass(frozen=True)
class Settings:
    db: Database
    debug: bool = False
    rate: float = 1.0
    color: Color = Color.RED
    tags: list[str] = field(default_factory=list)
    limits: dict[str, int] = field(default_factory=dict)
    data: Path | None = None


def test_a_dataclass_with_others_in_it() -> None:
    found = bind(
        Settings,
        db__host="x",
        db__port="1234",
        db__pool__wait="1m30s",
        debug="yes",
        rate="2.5",
        color="blue",
        tags=["a", "b"],
        limits={"x": 1, "y": "2"},
        data="/srv",
        unknown="is left out",
    )
    assert found == Settings(
        Database("x", 1234, Pool(5, timedelta(seconds=90))),
        True,
        2.5,
        Color.BLUE,
        ["a", "b"],
        {"x": 1, "y": 2},
        Path("/srv"),
    )


def test_what_does_not_fit_is_told_all_at_once() -> None:
    assert problems(Settings, db__port="many", debug="perhaps", tags="a,b", color="green", limits={"x": 1.5}) == [
        "db.host: it is missing",
        "db.port (layer default) = 'many': expected a whole number",
        "debug (layer default) = 'perhaps': expected true or false",
        "color (layer default) = 'green': expected one of red, blue",
        "tags (layer default) = 'a,b': expected a list, not text; a list is written as a document, in a key that ends "
        "with .json, .yaml or .toml",
        "limits.x (layer default) = 1.5: expected a whole number",
    ]


@dataclass
class Kinds:
    value: Any


@pytest.mark.parametrize(
    ("kind", "given", "wanted"),
    [
        (int, " 42\n", 42),
        (int, -1, -1),
        (int, 3.0, 3),
        (float, "1e3", 1000.0),
        (float, 2, 2.0),
        (bool, "ON", True),
        (bool, "0", False),
        (bool, True, True),
        (str, "", ""),
        (bytes, "é", "é".encode()),
        (Path, "a/b", Path("a/b")),
        (Decimal, "0.10", Decimal("0.10")),
        (Decimal, 0.1, Decimal("0.1")),
        (UUID, "12345678-1234-5678-1234-567812345678", UUID("12345678-1234-5678-1234-567812345678")),
        (datetime, "2026-11-23T01:02:03+00:00", datetime.fromisoformat("2026-11-23T01:02:03+00:00")),
        (date, "2026-11-23", date(2026, 11, 23)),
        (timedelta, "1h 30m", timedelta(minutes=90)),
        (timedelta, "250ms", timedelta(milliseconds=250)),
        (timedelta, "1.5", timedelta(seconds=1.5)),
        (timedelta, 90, timedelta(seconds=90)),
        (Color, "red", Color.RED),
        (Color, "BLUE", Color.BLUE),
        (Level, "2", Level.HIGH),
        (Level, 1, Level.LOW),
        (UserId, "7", 7),
        (Annotated[int, "x"], "7", 7),
        (Literal["a", 2], "a", "a"),
        (Literal["a", 2], "2", 2),
        (int | None, None, None),
        (int | str, "x", "x"),
        (int | str, "5", 5),
        (list[int], [1, "2"], [1, 2]),
        (Sequence[int], [1], (1,)),
        (tuple[int, str], [1, "x"], (1, "x")),
        (tuple[int, ...], [1, "2"], (1, 2)),
        (set[str], ["x", "x"], {"x"}),
        (frozenset[str], ["x"], frozenset("x")),
        (Mapping[str, Pool], {"a": {"size": 1}}, {"a": Pool(1)}),
        (dict[int, bool], {"1": "yes"}, {1: True}),
        (dict, {"a": [1, {"b": None}]}, {"a": [1, {"b": None}]}),
        (list[Pool] | None, [{"size": 2}], [Pool(2)]),
        (Any, {"a": 1}, {"a": 1}),
    ],
)
def test_types(kind: Any, given: object, wanted: object) -> None:
    found = bind(dataclasses.make_dataclass("Made", [("value", kind)]), value=given).value
    assert found == wanted and isinstance(found, type(wanted))


@pytest.mark.parametrize(
    ("kind", "given", "said"),
    [
        (int, "1.5", "value (layer default) = '1.5': expected a whole number"),
        (int, True, "value (layer default) = True: expected a whole number"),
        (int, "1" * 5000, f"value (layer default) = '{'1' * 196}...: expected a whole number"),
        (float, "nan", "value (layer default) = 'nan': expected a number"),
        (float, "1e999", "value (layer default) = '1e999': expected a number"),
        (str, 5, "value (layer default) = 5: expected text, not a whole number: write it in quotes"),
        (str, ["a"], "value (layer default) = ['a']: expected text"),
        (bool, 1, "value (layer default) = 1: expected true or false"),
        (timedelta, "soon", "value (layer default) = 'soon': expected a duration such as 1h30m, 250ms or 90 (seconds)"),
        (Literal["a", "b"], "c", "value (layer default) = 'c': expected one of a, b"),
        (int | None, "x", "value (layer default) = 'x': expected int | None"),
        (tuple[int, int], [1], "value (layer default) = [1]: expected 2 values, not 1"),
        (list[int], [1, "x", 2], "value.1 (layer default) = 'x': expected a whole number"),
        (Pool, "5", "value (layer default) = '5': expected a mapping, not text"),
        (Pool | None, {"size": "x"}, "value.size (layer default) = 'x': expected a whole number"),
        (list[Pool], [{"size": "x"}], "value.0.size (layer default) = 'x': expected a whole number"),
        (date, "23.11.2026", "value (layer default) = '23.11.2026': expected a date such as 2026-11-23"),
    ],
)
def test_what_types_refuse(kind: Any, given: object, said: str) -> None:
    assert problems(dataclasses.make_dataclass("Made", [("value", kind)]), value=given) == [said]


def test_a_model_that_no_text_can_become_is_refused_at_once() -> None:
    @dataclass
    class Within:
        connect: typing.Callable[[], None]

    @dataclass
    class Model:
        within: Within

    with pytest.raises(BadArgumentsError, match=r"model Model: within: connect: .* cannot become a"):
        Binder(Model)
    with pytest.raises(BadArgumentsError, match="model socket: what stands in the store cannot become a socket"):
        import socket

        Binder(socket.socket)


@dataclass
class Branch:
    name: str
    below: "list[Branch]" = field(default_factory=list)


def test_a_model_may_contain_itself() -> None:
    found = bind(Branch, name="a", below=[{"name": "b", "below": [{"name": "c"}]}])
    assert found == Branch("a", [Branch("b", [Branch("c")])])


def test_what_a_dataclass_checks_itself_is_a_problem_of_that_part() -> None:
    @dataclass
    class Range:
        low: int
        high: int

        def __post_init__(self) -> None:
            if self.low > self.high:
                raise ValueError(f"{self.low} is more than {self.high}")

    @dataclass
    class Model:
        range: Range

    assert problems(Model, range__low="3", range__high="2") == ["range (layer default): 3 is more than 2"]


# Models of other packages ---------------------------------------------------------------------------------------------


class PydanticPool(pydantic.BaseModel):
    size: Annotated[int, pydantic.Field(ge=1)] = 5
    tags: list[str] = []


class PydanticSettings(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(frozen=True)
    host: str
    port: int = 1
    wait: timedelta = timedelta(0)
    pool: PydanticPool = PydanticPool()
    size: int | PydanticPool = 0
    limits: dict[str, int] = {}
    password: pydantic.SecretStr = pydantic.SecretStr("")

    @pydantic.field_validator("host")
    @classmethod
    def known(cls, host: str) -> str:
        if host == "bad":
            raise ValueError(f"host {host} is bad")
        return host


def test_pydantic() -> None:
    found = bind(PydanticSettings, host="x", port="2", pool__size="3", wait="PT5S", limits={"a": 1}, password="pw")
    assert found == PydanticSettings(
        host="x",
        port=2,
        wait=timedelta(seconds=5),
        pool=PydanticPool(size=3),
        limits={"a": 1},
        password=pydantic.SecretStr("pw"),
    )
    assert json.loads(found.model_dump_json())["limits"] == {"a": 1}
    assert problems(PydanticSettings, host="bad", port="x", pool={"size": 0, "tags": [1]}, size={"size": "y"}) == [
        "host (layer default) = 'bad': Value error, host bad is bad",
        "port (layer default) = 'x': Input should be a valid integer, unable to parse string as an integer",
        "pool.size (layer default) = 0: Input should be greater than or equal to 1",
        "pool.tags.0 (layer default) = 1: Input should be a valid string",
        "size (layer default): Input should be a valid integer",
        "size.size (layer default) = 'y': Input should be a valid integer, unable to parse string as an integer",
    ]
    assert problems(PydanticSettings) == ["host: Field required"]


def test_a_pydantic_dataclass_and_a_pydantic_model_within_a_dataclass() -> None:
    @pydantic.dataclasses.dataclass
    class Model:
        port: int

    @dataclass
    class Outer:
        inner: PydanticPool

    assert bind(Model, port="5") == Model(5)
    assert problems(Model, port="x")[0].startswith("port (layer default) = 'x': Input should be a valid integer")
    assert bind(Outer, inner__size="7") == Outer(PydanticPool(size=7))
    assert problems(Outer, inner__size="0")[0].startswith("inner.size (layer default) = '0': Input should be greater")


def _split(given: str | tuple[str, ...]) -> tuple[str, ...]:
    return tuple(given.split(",")) if isinstance(given, str) else given


@attrs.frozen
class AttrsSettings:
    host: str
    port: int = attrs.field(default=1, validator=attrs.validators.gt(0))
    names: Any = attrs.field(default=(), converter=_split)
    pool: Pool = Pool()
    _hidden: bool = False


def test_attrs() -> None:
    found = bind(AttrsSettings, host="x", port="2", names="a,b", pool__size="3", _hidden="yes")
    assert found == AttrsSettings("x", 2, "a,b", Pool(3), True) and found.names == ("a", "b")
    assert problems(AttrsSettings, port="x") == [
        "host: it is missing",
        "port (layer default) = 'x': expected a whole number",
    ]
    assert problems(AttrsSettings, host="x", port="0") == ["the settings: 'port' must be > 0: 0"]


class MsgspecPool(msgspec.Struct):
    size: Annotated[int, msgspec.Meta(ge=1)] = 5
    tags: list[str] = []


class MsgspecSettings(msgspec.Struct, frozen=True):
    host: str
    port: int = 1
    pool: MsgspecPool = msgspec.field(default_factory=MsgspecPool)
    limits: dict[str, int] = {}


def test_msgspec() -> None:
    found = bind(MsgspecSettings, host="x", port="2", pool={"size": 3, "tags": ["a"]}, limits={"a": 1})
    assert found == MsgspecSettings("x", 2, MsgspecPool(3, ["a"]), {"a": 1})
    assert problems(MsgspecSettings, host="x", port="y") == ["port (layer default) = 'y': Expected `int`, got `str`"]
    assert problems(MsgspecSettings, host="x", pool={"tags": [1]}) == [
        "pool.tags.0 (layer default) = 1: Expected `str`, got `int`"
    ]
    assert problems(MsgspecSettings) == ["host: Object missing required field `host`"]
    with pytest.raises(TypeError):
        found.pool.tags.append("b")


class Typed(TypedDict):
    host: str
    port: NotRequired[int]


class Named(NamedTuple):
    host: str
    port: int = 1


def test_typed_dicts_named_tuples_and_plain_mappings() -> None:
    assert bind(Typed, host="x", port="2", more="y") == {"host": "x", "port": 2}
    assert bind(Typed, host="x") == {"host": "x"}
    assert problems(Typed, port="x") == [
        "host: it is missing",
        "port (layer default) = 'x': expected a whole number",
    ]
    assert bind(Named, host="x") == Named("x", 1)
    assert bind(None, db__host="x", l=[1]) == {"db": {"host": "x"}, "l": [1]}
    assert bind(dict[str, int], a="1") == {"a": 1}
    assert bind(dict, a="1") == {"a": "1"}
    assert bind(None) == {}


# Nothing that was bound is changed ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [
        bind(None, db={"a": {"x": 1}, "l": [[1], {"y": [2]}]}),
        bind(PydanticSettings, host="x", pool={"tags": ["a"]}, limits={"x": 1}),
        bind(Settings, db__host="x"),  # lists and dicts that are defaults
        bind(Branch, name="a", below=[{"name": "b"}]),
    ],
)
def test_no_list_or_mapping_in_it_can_be_changed(value: Any) -> None:
    found: list[Any] = []

    def walk(part: Any) -> None:
        if isinstance(part, dict | list):
            found.append(part)
        inner = part if isinstance(part, list) else part.values() if isinstance(part, dict) else vars_of(part)
        for each in inner:
            walk(each)

    def vars_of(part: Any) -> list[Any]:
        return list(vars(part).values()) if hasattr(part, "__dict__") and not isinstance(part, enum.Enum) else []

    walk(value)
    assert found
    for part in found:
        for name, args in (("clear", ()), ("pop", ()), ("__setitem__", (0, 1))):
            with pytest.raises(TypeError, match="not changed in place"):
                getattr(part, name)(*args)


def test_copies_can_be_changed() -> None:
    value = bind(None, a={"l": [1]}, s=[2])
    for made in (copy.deepcopy(value), pickle.loads(pickle.dumps(value))):
        made["a"]["l"].append(2)
        made["s"] += [3]
        assert made == {"a": {"l": [1, 2]}, "s": [2, 3]}
    assert type(value.copy()) is dict and json.dumps(value) == '{"a": {"l": [1]}, "s": [2]}'
    assert (value | {"b": 1})["b"] == 1 and value["s"] + [1] == [2, 1]


# Secrets --------------------------------------------------------------------------------------------------------------


class Secrets(pydantic.BaseModel):
    pin: int = 0
    words: list[str] = []

    @pydantic.field_validator("words")
    @classmethod
    def known(cls, words: list[str]) -> list[str]:
        raise ValueError(f"I do not like {words}")


@dataclass
class SecretsToo:
    pin: int = 0
    words: tuple[int, ...] = ()


class Both(pydantic.BaseModel):
    pin: str = ""
    host: str = ""

    @pydantic.model_validator(mode="after")
    def known(self) -> "Both":
        raise ValueError(f"{self.host} does not know {self.pin}")


def test_nor_in_what_a_model_says_of_several_values() -> None:
    merged = merge([Layer("a", {"pin": b"!enc X", "host": b"web"})], lambda layer, key, text: "hush" + text[-1])
    with pytest.raises(BadSettingsError) as raised:
        Binder(Both).bind(merged)
    assert str(raised.value) == "the settings: Value error, web does not know ***"


@pytest.mark.parametrize("model", [Secrets, SecretsToo])
def test_what_is_secret_shows_in_no_complaint(model: Any) -> None:
    entries = {"pin": b"!enc X", "words.json": b'["!enc Y", "!enc Z"]'}
    merged = merge([Layer("default", entries)], lambda layer, key, text: "hush" + text[-1])
    with pytest.raises(BadSettingsError) as raised:
        Binder(model).bind(merged)
    whole = "".join(traceback.format_exception(raised.value)) + repr(raised.value) + repr(raised.value.problems)
    assert "hush" not in whole and "***" in whole
    assert raised.value.__context__ is None and {"pin"} < {each.key.partition(".")[0] for each in raised.value.problems}
    assert str(pickle.loads(pickle.dumps(raised.value))) == str(raised.value)
