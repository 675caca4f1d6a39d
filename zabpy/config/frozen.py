"""Mappings, lists and sets that nobody changes: what `Config.current` is made of, besides the objects of a model.

They are a dict, a list and a set to whoever reads them (json, pydantic, FastAPI, ``==``); a copy is a plain one.
Whether an object of a model can be changed its class says (``frozen=True``); what it holds of the three cannot.
"""

import dataclasses
import sys
from collections.abc import Callable
from typing import Any, Final, NoReturn


def _refuse(self: object, *_: object, **__: object) -> NoReturn:
    raise TypeError("settings are not changed in place: commit a change to the store, or work on a copy")


class FrozenDict(dict[Any, Any]):
    """A dict that refuses to be changed."""

    __slots__ = ()
    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse

    def copy(self) -> dict[Any, Any]:
        return dict(self)

    def __reduce__(self) -> tuple[Any, ...]:
        return (dict, (dict(self),))


class FrozenList(list[Any]):
    """A list that refuses to be changed."""

    __slots__ = ()
    __setitem__ = __delitem__ = __iadd__ = __imul__ = _refuse
    append = extend = insert = pop = remove = clear = sort = reverse = _refuse

    def copy(self) -> list[Any]:
        return list(self)

    def __reduce__(self) -> tuple[Any, ...]:
        return (list, (list(self),))


class FrozenSet(set[Any]):
    """A set that refuses to be changed."""

    __slots__ = ()
    __iand__ = __ior__ = __ixor__ = __isub__ = _refuse
    add = clear = discard = pop = remove = _refuse
    update = difference_update = intersection_update = symmetric_difference_update = _refuse

    def copy(self) -> set[Any]:
        return set(self)

    def __reduce__(self) -> tuple[Any, ...]:
        return (set, (set(self),))


#: Most values are of these.
_PLAIN: Final = frozenset((str, int, float, bool, type(None)))


def frozen(value: Any) -> Any:
    """The same, with every dict, list and set in it frozen, those in the objects of models, too."""
    if type(value) in _PLAIN:
        return value
    if isinstance(value, dict):
        return FrozenDict({name: frozen(each) for name, each in value.items()})
    if isinstance(value, list):
        return FrozenList(frozen(each) for each in value)
    if type(value) is tuple:
        return tuple(frozen(each) for each in value)
    if isinstance(value, set):
        return FrozenSet(value)
    names, put = _fields(value)
    for name in names:
        before = getattr(value, name, None)
        after = frozen(before)
        if after is not before:
            put(name, after)
    return value


def _fields(value: Any) -> tuple[list[str], Callable[[str, Any], object]]:
    """Of an object of a model: the names of its fields, and how one is set though the class forbids it."""
    kind = type(value)
    if hasattr(kind, "__struct_fields__"):  # msgspec's
        force = sys.modules["msgspec"].structs.force_setattr
        return list(kind.__struct_fields__), lambda name, each: force(value, name, each)
    if hasattr(kind, "__pydantic_fields__") and hasattr(value, "__pydantic_extra__"):
        if value.__pydantic_extra__:
            object.__setattr__(value, "__pydantic_extra__", frozen(value.__pydantic_extra__))
        return list(value.__dict__), value.__dict__.__setitem__
    names = [each.name for each in getattr(kind, "__attrs_attrs__", ())]
    if hasattr(kind, "__dataclass_fields__"):
        names = [each.name for each in dataclasses.fields(value)]
    return names, lambda name, each: object.__setattr__(value, name, each)
