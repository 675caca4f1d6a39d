"""Settings → an object of the model that the program has: pydantic, dataclass, attrs, msgspec, TypedDict, a mapping.

What stands in a plain key is text, and becomes what the model says: ``int``, ``float``, ``bool`` (true and false, yes
and no, on and off, 1 and 0), ``Enum`` (by value, then by name), ``Path``, ``timedelta`` ("1h30m", "250ms", "90": of
seconds), ``datetime``, ``date``, ``time``, ``Decimal``, ``UUID``, ``bytes``. Lists come from documents. pydantic and
msgspec convert by their own rules. Of a union the first that takes the value. Settings that no field is for are left
out, unless the model says otherwise. A model is looked through once, when it is given: what no text can become is a
`BadArgumentsError` then.

None of those packages is imported here: a class of theirs can only come from whoever has imported it.
"""

import contextlib
import dataclasses
import enum
import math
import re
import sys
import types
import typing
from collections import abc
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Final, Generic, NamedTuple, TypeVar
from uuid import UUID

from zabpy.model import BadArgumentsError

from .frozen import FrozenDict, FrozenList, FrozenSet, frozen
from .layers import Merged, Setting
from .values import BadSettingsError, Problem

T = TypeVar("T")

Place = tuple[object, ...]


class Binder(Generic[T]):
    """Makes objects of one model. ``None`` for a model makes mappings."""

    def __init__(self, model: type[T] | None) -> None:
        """Raises `BadArgumentsError` for what is no model, naming the field that cannot be."""
        self.model = model
        try:
            self._make = next(make for holds, make in KINDS if holds(model))(model)
        except _Unfit as error:
            raise BadArgumentsError(f"model {_name(model)}: {error}") from None

    def bind(self, merged: Merged) -> T:
        """The object. Raises `BadSettingsError`, which names every value that does not fit."""
        refused: list[_Refused] = []
        made = None
        try:
            made = self._make(merged.tree(), ())
        except _Refusals as error:
            refused = error.refused
        if refused:  # outside of the except: what was given, secrets and all, is in the context of what is raised there
            raise BadSettingsError(_problem(merged, each) for each in refused)
        return typing.cast(T, frozen(made))

    def bind_changed(self, before: T, merged: Merged, changed: Mapping[tuple[str, ...], Setting]) -> T:
        """The object, where one was made ``before`` of what differs in these values only. Raises as `bind` does."""
        if self.model is not None:
            return self.bind(merged)
        made: Any = before
        for path, setting in changed.items():
            made = _with(made, path, frozen(setting.value))
        return typing.cast(T, made)


def _with(mapping: FrozenDict, path: tuple[str, ...], value: Any) -> FrozenDict:
    """A mapping in which another value stands there."""
    name, *below = path
    return FrozenDict({**mapping, name: _with(mapping[name], tuple(below), value) if below else value})


def _problem(merged: Merged, refused: "_Refused") -> Problem:
    return merged.problem(refused.path, refused.reason, missing=refused.missing)


class _Unfit(Exception):
    """No model can have this."""


class _Refused(NamedTuple):
    path: Place
    reason: str
    missing: bool = False


class _Refusals(Exception):
    def __init__(self, refused: list[_Refused]) -> None:
        super().__init__(refused)
        self.refused = refused


#: What turns a value, which stands at a place, into what is wanted; raises `_Refusals`.
Make = Callable[[Any, Place], Any]


def _refuse(path: Place, reason: str, *, missing: bool = False) -> typing.NoReturn:
    raise _Refusals([_Refused(path, reason, missing)])


# Models of other packages ---------------------------------------------------------------------------------------------


def _is_of(package: str, base: str) -> Callable[[Any], bool]:
    def holds(kind: Any) -> bool:
        found = getattr(sys.modules.get(package), base, None)
        return found is not None and isinstance(kind, type) and issubclass(kind, found)

    return holds


def _is_pydantic(kind: Any) -> bool:
    # Its dataclasses have one of these, too.
    return isinstance(kind, type) and hasattr(kind, "__pydantic_validator__")


def _pydantic(kind: Any) -> Make:
    pydantic = sys.modules["pydantic"]
    validate = kind.model_validate if hasattr(kind, "model_validate") else pydantic.TypeAdapter(kind).validate_python

    def make(value: Any, path: Place) -> Any:
        refused = []
        try:
            return validate(value)
        except pydantic.ValidationError as error:
            for each in error.errors(include_url=False, include_context=False):
                at = _known(each["loc"], value, each["type"] == "missing")
                refused.append(_Refused((*path, *at), each["msg"], each["type"] == "missing"))
        except Exception as error:  # a validator's own, a source of pydantic-settings
            refused.append(_Refused(path, _said(error)))
        raise _Refusals(refused)

    return make


def _known(loc: tuple[object, ...], value: Any, missing: bool) -> Place:
    """Without the names of validators and of a union's choices, which pydantic puts between those of values."""
    found: list[object] = []
    for index, name in enumerate(loc):
        if isinstance(value, dict | list) and name in (value if isinstance(value, dict) else range(len(value))):
            value = value[typing.cast(Any, name)]
        elif not missing or index < len(loc) - 1:
            continue
        found.append(name)
    return tuple(found)


def _msgspec(kind: Any) -> Make:
    msgspec = sys.modules["msgspec"]

    def make(value: Any, path: Place) -> Any:
        try:
            return msgspec.convert(value, kind, strict=False)
        except msgspec.ValidationError as error:
            reason, _, where = str(error).partition(" - at `$")
            names = [int(index) if index else name for name, index in re.findall(r"\.([^.\[\]`]+)|\[(\d+)\]", where)]
            missing = re.search(r"missing required field `([^`]+)`", reason)
            at = (*path, *names, *([missing[1]] if missing else []))
            refused = _Refused(at, reason, missing is not None)
        except Exception as error:  # its __post_init__'s own
            refused = _Refused(path, _said(error))
        raise _Refusals([refused])

    return make


def _attrs(kind: Any) -> Make:
    hints = _hints(kind)
    fields = []
    for each in kind.__attrs_attrs__:
        if each.init:
            # A converter is to have what stands there.
            make = _raw if each.converter is not None else _field(each.name, hints.get(each.name, Any))
            required = each.default is sys.modules["attr"].NOTHING
            fields.append(_Field(each.name, each.alias, make, required))
    return _object(kind, fields)


# Models of the standard library ---------------------------------------------------------------------------------------


class _Field(NamedTuple):
    name: str
    parameter: str
    make: Make
    required: bool


def _dataclass(kind: Any) -> Make:
    hints = _hints(kind)
    return _object(
        kind,
        [
            _Field(
                each.name,
                each.name,
                _field(each.name, hints[each.name]),
                each.default is dataclasses.MISSING and each.default_factory is dataclasses.MISSING,
            )
            for each in dataclasses.fields(kind)
            if each.init
        ],
    )


def _named_tuple(kind: Any) -> Make:
    hints = _hints(kind)
    return _object(
        kind,
        [
            _Field(name, name, _field(name, hints.get(name, Any)), name not in kind._field_defaults)
            for name in kind._fields
        ],
    )


def _typed_dict(kind: Any) -> Make:
    # Not what the class says of what is required: where annotations are texts it does not know that.
    fields = []
    for name, hint in _hints(kind).items():
        origin = typing.get_origin(hint)
        required = kind.__total__ if origin not in (typing.Required, typing.NotRequired) else origin is typing.Required
        fields.append(_Field(name, name, _field(name, hint), required and name not in kind.__optional_keys__))
    return _object(lambda **named: FrozenDict(named), fields)


def _object(call: Callable[..., Any], fields: list[_Field]) -> Make:
    def make(value: Any, path: Place) -> Any:
        if isinstance(value, call if isinstance(call, type) else ()):
            return value
        if not isinstance(value, dict):
            _refuse(path, f"expected a mapping, not {_kind_of(value)}")
        named: dict[str, Any] = {}
        refused: list[_Refused] = []
        for field in fields:
            if field.name not in value:
                if field.required:
                    refused.append(_Refused((*path, field.name), "it is missing", True))
                continue
            try:
                named[field.parameter] = field.make(value[field.name], (*path, field.name))
            except _Refusals as error:
                refused += error.refused
        if not refused:
            try:
                return call(**named)
            except Exception as error:  # its __post_init__'s, its validators'
                refused.append(_Refused(path, _said(error)))
        raise _Refusals(refused)

    return make


def _said(error: Exception) -> str:
    return str(error).partition("\n")[0] or type(error).__name__


def _hints(kind: Any) -> dict[str, Any]:
    try:
        return typing.get_type_hints(kind, include_extras=True)
    except Exception as error:
        raise _Unfit(f"the types of its fields are not to be found: {error}") from None


def _field(name: str, hint: Any) -> Make:
    try:
        return _maker(hint)
    except _Unfit as error:
        raise _Unfit(f"{name}: {error}") from None


# Types of fields ------------------------------------------------------------------------------------------------------


def _maker(hint: Any) -> Make:
    """What makes a thing of this type. Raises `_Unfit`."""
    while True:  # what only decorates
        if isinstance(hint, typing.NewType):
            hint = hint.__supertype__
        elif type(hint).__name__ == "TypeAliasType":
            hint = hint.__value__
        elif typing.get_origin(hint) in WRAPPERS:
            hint = typing.get_args(hint)[0]
        else:
            break
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if hint in (Any, object):
        return _raw
    if hint in (None, type(None)):
        return _none
    if origin in (typing.Union, types.UnionType):
        return _union(hint, [_maker(each) for each in args])
    if origin is typing.Literal:
        return _literal(args)
    container = CONTAINERS.get(origin or hint)
    if container is not None:
        return container(args)
    if hint in SCALARS:
        return _scalar(hint)
    for holds, kind in KINDS[:-1]:  # the last one is for no model
        if hint is not None and holds(hint):
            return _later(hint, kind)
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return _enum(hint)
    for base in (Path, str, int, float):  # a class of somebody's that is one of these
        if isinstance(hint, type) and issubclass(hint, base):
            return _derived(hint, _scalar(base if base is not Path else Path))
    raise _Unfit(f"what stands in the store cannot become a {_name(hint)}")


_making: list[tuple[Any, list[Make]]] = []


def _later(hint: Any, kind: Callable[[Any], Make]) -> Make:
    """A model within a model, which may be within itself."""
    for other, made in _making:
        if other is hint:
            return lambda value, path: made[0](value, path)
    made = []
    _making.append((hint, made))
    try:
        made.append(kind(hint))
    finally:
        _making.pop()
    return made[0]


def _raw(value: Any, path: Place) -> Any:
    return frozen(value)


def _none(value: Any, path: Place) -> None:
    if value is not None:
        _refuse(path, f"expected null, not {_kind_of(value)}")


def _union(hint: Any, choices: list[Make]) -> Make:
    def make(value: Any, path: Place) -> Any:
        deepest: list[_Refused] = []
        for choice in choices:
            try:
                return choice(value, path)
            except _Refusals as error:
                # Of mappings within a union, what is said of a part of one is more use than "no mapping".
                if max(len(each.path) for each in error.refused) > max([len(path), *(len(e.path) for e in deepest)]):
                    deepest = error.refused
        if deepest:
            raise _Refusals(deepest)
        _refuse(path, f"expected {_name(hint)}")

    return make


def _literal(choices: tuple[Any, ...]) -> Make:
    def make(value: Any, path: Place) -> Any:
        for each in choices:
            if (each == value and type(each) is type(value)) or (isinstance(value, str) and str(each) == value):
                return each
        _refuse(path, f"expected one of {', '.join(map(str, choices))}")

    return make


def _enum(kind: type[enum.Enum]) -> Make:
    def make(value: Any, path: Place) -> Any:
        for each in kind:
            if each.value == value and type(each.value) is type(value):
                return each
        for each in kind:
            if isinstance(value, str) and (str(each.value) == value or each.name == value):
                return each
        names = ", ".join(str(each.value) for each in kind)
        _refuse(path, f"expected one of {names}")

    return make


def _derived(kind: type, make_base: Make) -> Make:
    def make(value: Any, path: Place) -> Any:
        base = make_base(value, path)
        try:
            return kind(base)
        except Exception as error:
            reason = _said(error)
        _refuse(path, reason)

    return make


# Containers -----------------------------------------------------------------------------------------------------------


def _listed(call: Callable[[Any], Any]) -> Callable[[tuple[Any, ...]], Make]:
    def container(args: tuple[Any, ...]) -> Make:
        item = _maker(args[0]) if args else _raw
        return lambda value, path: call(_items(value, path, [item] * len(_a_list(value, path))))

    return container


def _tupled(args: tuple[Any, ...]) -> Make:
    if not args or args[-1] is Ellipsis:
        return _listed(tuple)(args[:1])
    items = [_maker(each) for each in args]

    def make(value: Any, path: Place) -> Any:
        if len(_a_list(value, path)) != len(items):
            _refuse(path, f"expected {len(items)} values, not {len(value)}")
        return tuple(_items(value, path, items))

    return make


def _a_list(value: Any, path: Place) -> list[Any]:
    if not isinstance(value, list):
        hint = "; a list is written as a document, in a key that ends with .json, .yaml or .toml"
        _refuse(path, f"expected a list, not {_kind_of(value)}{hint if isinstance(value, str) else ''}")
    return value


def _items(value: list[Any], path: Place, makes: list[Make]) -> list[Any]:
    found, refused = [], []
    for index, (each, make) in enumerate(zip(value, makes)):
        try:
            found.append(make(each, (*path, index)))
        except _Refusals as error:
            refused += error.refused
    if refused:
        raise _Refusals(refused)
    return found


def _mapping(args: tuple[Any, ...]) -> Make:
    make_name, make_value = (_maker(args[0]), _maker(args[1])) if args else (_scalar(str), _raw)

    def make(value: Any, path: Place) -> Any:
        if not isinstance(value, dict):
            _refuse(path, f"expected a mapping, not {_kind_of(value)}")
        if not args:  # names are texts, and values what they are
            return FrozenDict({name: _raw(each, path) for name, each in value.items()})
        found, refused = {}, []
        for name, each in value.items():
            try:
                found[make_name(name, (*path, name))] = make_value(each, (*path, name))
            except _Refusals as error:
                refused += error.refused
        if refused:
            raise _Refusals(refused)
        return FrozenDict(found)

    return make


# Single values --------------------------------------------------------------------------------------------------------


def _scalar(kind: type) -> Make:
    what, convert = SCALARS[kind]

    def make(value: Any, path: Place) -> Any:
        with contextlib.suppress(ValueError, OverflowError, InvalidOperation):
            return convert(value)
        quotes = ": write it in quotes" if kind is str and not isinstance(value, list | dict) else ""
        _refuse(path, f"expected {what}, not {_kind_of(value)}{quotes}" if quotes else f"expected {what}")

    return make


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError
    return value


def _of_text(convert: Callable[[str], Any]) -> Callable[[Any], Any]:
    return lambda value: convert(_text(value).strip())


def _bool(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    return BOOLS[_word(value)]


def _word(value: Any) -> str:
    word = _text(value).strip().lower()
    if word not in BOOLS:
        raise ValueError
    return word


def _int(value: Any) -> int:
    if isinstance(value, str):
        return int(value.strip())
    if type(value) is int or (isinstance(value, float) and value.is_integer()):
        return int(value)
    raise ValueError


def _float(value: Any) -> float:
    number = float(value.strip()) if isinstance(value, str) else value
    if isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number):
        raise ValueError
    return float(number)


def _decimal(value: Any) -> Decimal:
    if isinstance(value, bool):
        raise ValueError
    number = Decimal(value.strip() if isinstance(value, str) else repr(_float(value)))
    if not number.is_finite():
        raise ValueError
    return number


def _timedelta(value: Any) -> timedelta:
    if not isinstance(value, str) or re.fullmatch(r"\s*-?\d+(\.\d+)?\s*", value):
        return timedelta(seconds=_float(value))
    text = "".join(value.split())
    parts = re.findall(r"(\d+(?:\.\d+)?)(ms|us|[wdhms])", text)
    if not parts or "".join(map("".join, parts)) != text:
        raise ValueError
    return sum((float(number) * UNITS[unit] for number, unit in parts), timedelta())


def _kind_of(value: Any) -> str:
    return KIND_NAMES.get(type(value), type(value).__name__)


def _name(hint: Any) -> str:
    return hint.__name__ if isinstance(hint, type) and not typing.get_args(hint) else str(hint).replace("typing.", "")


KIND_NAMES: Final = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "a boolean",
    list: "a list",
    dict: "a mapping",
    type(None): "null",
}
UNITS: Final = {
    "us": timedelta(microseconds=1),
    "ms": timedelta(milliseconds=1),
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
    "w": timedelta(weeks=1),
}
BOOLS: Final = {
    "true": True, "yes": True, "on": True, "1": True,
    "false": False, "no": False, "off": False, "0": False,
}  # fmt: skip
#: Type → what is expected, and what makes one or raises ValueError.
SCALARS: Final[dict[type, tuple[str, Callable[[Any], Any]]]] = {
    str: ("text", _text),
    bytes: ("text", lambda value: _text(value).encode()),
    bool: ("true or false", _bool),
    int: ("a whole number", _int),
    float: ("a number", _float),
    Decimal: ("a number", _decimal),
    Path: ("a path", lambda value: Path(_text(value))),
    UUID: ("a UUID", _of_text(UUID)),
    datetime: ("a time such as 2026-11-23T01:00:00+00:00", _of_text(datetime.fromisoformat)),
    date: ("a date such as 2026-11-23", _of_text(date.fromisoformat)),
    time: ("a time such as 01:00:00", _of_text(time.fromisoformat)),
    timedelta: ("a duration such as 1h30m, 250ms or 90 (seconds)", _timedelta),
}
CONTAINERS: Final[dict[Any, Callable[[tuple[Any, ...]], Make]]] = {
    list: _listed(FrozenList),
    abc.Sequence: _listed(tuple),
    abc.Iterable: _listed(tuple),
    abc.Collection: _listed(tuple),
    set: _listed(FrozenSet),
    abc.MutableSet: _listed(FrozenSet),
    frozenset: _listed(frozenset),
    abc.Set: _listed(frozenset),
    tuple: _tupled,
    dict: _mapping,
    Mapping: _mapping,
    abc.MutableMapping: _mapping,
}
WRAPPERS: Final = (typing.Annotated, typing.Required, typing.NotRequired, typing.Final, typing.ClassVar)
#: Whether a class is of a kind → what makes objects of that class. The first that holds.
KINDS: Final[tuple[tuple[Callable[[Any], bool], Callable[[Any], Make]], ...]] = (
    (_is_pydantic, _pydantic),
    (_is_of("msgspec", "Struct"), _msgspec),
    (lambda kind: isinstance(kind, type) and hasattr(kind, "__attrs_attrs__"), _attrs),
    (lambda kind: isinstance(kind, type) and dataclasses.is_dataclass(kind), _dataclass),
    (typing.is_typeddict, _typed_dict),
    (lambda kind: isinstance(kind, type) and issubclass(kind, tuple) and hasattr(kind, "_fields"), _named_tuple),
    (lambda kind: True, lambda kind: _maker(dict[str, Any] if kind in (None, dict, Mapping) else kind)),
)
