"""The classes for plain code have the same methods, with the same parameters, as those of the async client."""

import inspect
from collections.abc import Iterator

import pytest

import zabpy.blocking
import zabpy.recipes
from tests.blocking import generate
from zabpy.blocking.opening import Opening
from zabpy.blocking.wrapping import Blocking, Context, Holding, Stream

PAIRS = [(zabpy.recipes.Client, zabpy.blocking.Client), *Blocking.classes.items()]
#: What only plain code has: timeouts, the client's opening and closing, being told of a loss.
MORE = {name for cls in (Blocking, Context, Holding, Opening, Stream) for name in vars(cls) if not name.startswith("_")}
MORE_PARAMETERS = {"on_lost"}


def public(cls: type) -> set[str]:
    return {name for name in dir(cls) if not name.startswith("_")}


def left_out(cls: type) -> set[str]:
    bases = {base.__name__ for base in cls.__mro__}
    known = {each.name for each in generate.members(cls)}
    internal = {name for name in public(cls) if name not in known and callable(getattr(cls, name))}
    return {name.split(".")[1] for name in generate.LEFT_OUT if name.split(".")[0] in bases} | internal


def test_it_is_what_the_generator_writes() -> None:
    """If not: ``python -m tests.blocking.generate``."""
    for path, text in generate.generated().items():
        assert path.read_text("utf-8") == text


@pytest.mark.parametrize(("cls", "blocking"), PAIRS, ids=lambda cls: cls.__name__)
def test_names_are_the_same(cls: type, blocking: type) -> None:
    assert public(cls) - left_out(cls) <= public(blocking)
    properties = {name for name in public(blocking) if isinstance(getattr(blocking, name), property)}
    assert public(blocking) - public(cls) - MORE <= properties  # what only `__init__` sets, dir() does not see


def methods() -> Iterator[tuple[type, type, str]]:
    for cls, blocking in PAIRS:
        for name in sorted(public(cls) - left_out(cls)):
            if callable(getattr(cls, name)):
                yield cls, blocking, name


@pytest.mark.parametrize(("cls", "blocking", "name"), list(methods()), ids=lambda each: getattr(each, "__name__", each))
def test_parameters_are_the_same(cls: type, blocking: type, name: str) -> None:
    ours = [
        (each.name, each.kind, each.default)
        for each in inspect.signature(getattr(blocking, name)).parameters.values()
        if each.name not in MORE_PARAMETERS
    ]
    theirs = inspect.signature(getattr(cls, name)).parameters.values()
    assert ours == [(each.name, each.kind, each.default) for each in theirs]
    assert not inspect.iscoroutinefunction(getattr(blocking, name))
    assert bool(getattr(blocking, name).__doc__) is bool(getattr(cls, name).__doc__)


def test_connect_takes_the_same() -> None:
    ours, theirs = inspect.signature(zabpy.blocking.connect), inspect.signature(zabpy.connect)
    assert [(each.name, each.kind, each.default) for each in ours.parameters.values()] == [
        (each.name, each.kind, each.default) for each in theirs.parameters.values()
    ]


def test_what_is_left_out_is_there_to_be_left_out() -> None:
    known = {base.__name__: base for cls, _ in PAIRS for base in cls.__mro__}
    for each in generate.LEFT_OUT:
        cls, name = each.split(".")
        if cls in known:
            assert hasattr(known[cls], name) or f"self.{name}" in inspect.getsource(known[cls]), each


def test_users_find_every_class() -> None:
    for cls in Blocking.classes.values():
        assert getattr(zabpy.blocking, cls.__name__) is cls, f"name {cls.__name__} in zabpy/blocking/__init__.py"
