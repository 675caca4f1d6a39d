"""Writes zabpy/blocking/client.py: for every class that users of the async client meet, one for plain code.

    python -m tests.blocking.generate           # after any change of a public signature in client or recipes
    python -m tests.blocking.generate --check   # says whether that was forgotten, by its exit code; so does a test

It stands among the tests because it has to run also where that file cannot be imported. It begins at the `Client` of
zabpy.recipes and follows what methods return. Which methods there are, their parameters, defaults and docstrings are
read from the source, so that types stay as they are spelled there. What becomes of them:

* ``async def`` → ``def``; the call is awaited on the client's loop. A plain method or property is called there, too.
* ``async with`` → ``with``; ``AsyncIterator[T]`` → `Stream` of T.
* A class with anything of the kind → one of the same name here; as a parameter it is taken back to what it stands for.
* A parameter that is an async function → a plain one, which is called on a thread of its own.
* A method that returns what stands in no ``__init__`` is for the recipe's own parts, but for one of the client.
* A method whose result leads to something that is held and may be lost gets one more parameter, ``on_lost``.

What has no place in plain code is named, with the reason, in `LEFT_OUT`; so is what cannot be translated.
"""

import ast
import builtins
import functools
import importlib
import inspect
import re
import subprocess
import sys
import textwrap
import types
import typing
from collections import abc
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import zabpy.client
import zabpy.model
import zabpy.recipes

TARGET: Final = Path(__file__).parents[2] / "zabpy" / "blocking" / "client.py"
#: Class.name → why it is not here.
LEFT_OUT: Final = {
    "Client.core": "the session core: of the async client's own parts",
    "Client.chroot": "part of the address",
    "Client.background": "runs coroutines, for recipes",
    "Client.seen": "for the client's own parts",
    "Session.on_lost": "its callback runs on the I/O task; `wait_lost` on a thread does the same",
    "Session.lose": "for the session core",
    "Holding.lose": "for recipes",
    "Holding.stop": "for recipes",
    "Holding.call_off": "for recipes",
    "Holding.body_runs": "for recipes",
    "Holding.what": "for messages",
    "Holding.guard": "for recipes",
    "Holding.on_lost": "its callback runs on the I/O task; here it is the parameter `on_lost` of what gives it",
    "Holding.lost": "here it is a flag that can be waited for, see `zabpy.blocking.Holding`",
    "Changes.put": "for the cache that tells of them",
    "HeldLock.clock": "for recipes",
    "EventStream.put": "for the client",
    "EventStream.end": "for the client",
    "EventStream.leave": "for the client",
    "EventStream.receive_nowait": "`next(timeout_ms=0)`",
    "Item.watch": "for the queue",
    "Assignments.hold": "for the partitioner",
    "Assignments.end": "for the partitioner",
    "Session.deadline_ms": "on the loop's clock; `time_left_ms` says the same",
}
#: Classes with nothing async in them whose methods need the loop all the same (its clock).
NEED_THE_LOOP: Final = {"Session"}
#: Classes whose coroutines await nothing but answers of servers, and so need no task.
ASKING: Final = {"Operations", "Transaction"}
#: What need not go to the loop: it looks into memory, in one step that no other thread can come in between, or writes
#: down what only the caller knows of.
DIRECT: Final = {
    "TreeCache.get",
    "TreeCache.__contains__",
    "TreeCache.__len__",
    "Transaction.create",
    "Transaction.set",
    "Transaction.delete",
    "Transaction.check",
    "Transaction.__len__",
}
SPECIAL: Final = {"__len__", "__getitem__", "__contains__", "__iter__", "__bool__", "__enter__", "__exit__", "__call__"}
#: Where a user's plain function would be called on the loop for as long as it likes: what is done instead.
INSTEAD: Final = {"AtomicValue.update": "return _update_by(self.get, self.compare_and_set, change)"}
#: What the async client knows by a protocol that names none of its classes → what of wrapping.py fulfils it here.
PROTOCOLS: Final[dict[type, str]] = {zabpy.recipes.Guard: "Holding"}
FOLDERS: Final = {"_client": zabpy.client, "_recipes": zabpy.recipes, "_model": zabpy.model}

HEAD: Final = '''"""Every class of the async client for plain code. Generated: see tests/blocking/generate.py.

    with zabpy.blocking.connect("zk1,zk2/app") as zk:
        zk.create("/greeting", b"hello")

What each method does, promises and raises is what its docstring says, taken from the async one. In plain code all of
them may raise `TimedOutError` besides (see `Blocking.with_timeout`), `ForkedClientError` and `ClosedClientError`.
"""
'''


class Cannot(Exception):
    """Something in the async client that no rule here is for."""


class Source:
    """A class of the async client: what it is, and its source."""

    def __init__(self, cls: type) -> None:
        self.cls, self.name = cls, cls.__name__
        self.globals = vars(sys.modules[cls.__module__])
        self.node = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]
        assert isinstance(self.node, ast.ClassDef)
        self.body = self.node.body


_sources: dict[type, list[Source]] = {}


class Member(typing.NamedTuple):
    """One public name of a class: a method (with its overloads before it), a property or an attribute."""

    name: str
    source: Source
    nodes: list[ast.FunctionDef | ast.AsyncFunctionDef]
    annotation: ast.expr | None

    @property
    def node(self) -> ast.FunctionDef | ast.AsyncFunctionDef:
        return self.nodes[-1]

    def decorated(self, name: str) -> bool:
        return bool(self.nodes) and any(
            (isinstance(each, ast.Name) and each.id == name) or (isinstance(each, ast.Attribute) and each.attr == name)
            for each in self.node.decorator_list
        )


def sources(cls: type) -> list[Source]:
    """The class and its bases, as far as they are ours."""
    if cls not in _sources:
        _sources[cls] = [Source(each) for each in cls.__mro__ if each.__module__.startswith("zabpy.")]
    return _sources[cls]


@functools.cache
def members(cls: type) -> list[Member]:
    """Its public names in the order of the source, those of the bases first; what is inherited and replaced, once."""
    found: dict[str, Member] = {}
    for source in reversed(sources(cls)):
        for node in source.body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                if node.name == "__init__":
                    for name, annotation in assigned(node, source.globals):
                        found.setdefault(name, Member(name, source, [], annotation))
                    continue
                before = found.get(node.name)
                overloads = before.nodes if before and before.source is source and before.decorated("overload") else []
                found[node.name] = Member(node.name, source, [*overloads, node], None)
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                found[node.target.id] = Member(node.target.id, source, [], node.annotation)
    return [
        member
        for member in found.values()
        if (not member.name.startswith("_") or member.name in SPECIAL)
        and not any(f"{each.__name__}.{member.name}" in LEFT_OUT for each in cls.__mro__)
        and (issubclass(cls, zabpy.client.Client) or not is_internal(member))
    ]


def is_internal(member: Member) -> bool:
    """Whether it is or returns what has no public name, and is no stream: so it is for the recipe's own parts."""
    return any(
        each.__module__.startswith("zabpy.recipes.") and not is_exported(each) and special(each, "__anext__") is None
        for each in classes_in(member.node.returns if member.nodes else member.annotation, member.source)
    )


def assigned(
    init: ast.FunctionDef | ast.AsyncFunctionDef, known: dict[str, Any]
) -> Iterator[tuple[str, ast.expr | None]]:
    """Public attributes that ``__init__`` sets, and what is said of their types."""
    of_parameters = {each.arg: each.annotation for each in (*init.args.args, *init.args.kwonlyargs)}
    for node in ast.walk(init):
        pairs: list[tuple[ast.expr, ast.expr | None]] = []
        if isinstance(node, ast.AnnAssign):
            pairs = [(node.target, node.annotation)]
        elif isinstance(node, ast.Assign):
            for target in node.targets:
                if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                    pairs += [
                        (each, type_of(value, of_parameters, known))
                        for each, value in zip(target.elts, node.value.elts)
                    ]
                elif isinstance(target, ast.Tuple):
                    pairs += [(each, None) for each in target.elts]
                else:
                    pairs.append((target, type_of(node.value, of_parameters, known)))
        for place, annotation in pairs:
            if isinstance(place, ast.Attribute) and isinstance(place.value, ast.Name) and place.value.id == "self":
                if not place.attr.startswith("_"):
                    yield place.attr, annotation


def type_of(value: ast.expr, of_parameters: dict[str, ast.expr | None], known: dict[str, Any]) -> ast.expr | None:
    if isinstance(value, ast.Name):
        return of_parameters.get(value.id)
    if isinstance(value, ast.Constant) and type(value.value) in (bool, int, str, bytes):
        return ast.Name(type(value.value).__name__)
    if (
        isinstance(value, ast.Call)
        and isinstance(value.func, ast.Name)
        and inspect.isfunction(known.get(value.func.id))
    ):
        returned = inspect.signature(known[value.func.id]).return_annotation
        return of_builtin(returned)
    if isinstance(value, ast.Attribute) and isinstance(value.value, ast.Name):
        given = of_parameters.get(value.value.id)
        cls = known.get(ast.unparse(given)) if given is not None else None
        if isinstance(cls, type):
            for member in members(cls):
                if member.name == value.attr:
                    kind = member.node.returns if member.nodes else member.annotation
                    return kind if kind is not None and hasattr(builtins, ast.unparse(kind)) else None
    return None


def inferred(cls: type, name: str) -> ast.expr:
    """The type of an attribute for which the source has no word: mypy is asked. It may be made of builtins."""
    asked = (
        f"import {cls.__module__}\n\ndef f(x: {cls.__module__}.{cls.__name__}) -> None:\n    reveal_type(x.{name})\n"
    )
    answer = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file=", "--follow-imports=silent", "-c", asked],
        capture_output=True,
        text=True,
    ).stdout
    found = re.search(r'Revealed type is "([^"]*)"', answer)
    text = "" if found is None else found[1].replace("builtins.", "")
    if not text or "." in text or "Any" in text or "?" in text:
        raise Cannot(f"{cls.__name__}.{name}: say its type: `self.{name}: int = ...` (mypy says {text or answer!r})")
    return ast.parse(text, mode="eval").body


def of_builtin(kind: object) -> ast.expr | None:
    return ast.Name(kind.__name__) if kind in (bool, int, str, bytes) and isinstance(kind, type) else None


class Types:
    """Annotations as they stand in the async source → as they are to stand here, and what they need imported."""

    def __init__(self, wrapped: dict[type, str], streams: list[type]) -> None:
        self.wrapped, self.streams = wrapped, streams
        self.imports: set[str] = set()
        self.type_vars: dict[str, typing.TypeVar] = {}

    def spelled(self, node: ast.expr | None, source: Source) -> str:
        if node is None:
            return "None"
        return ast.unparse(_Speller(self, source).visit(ast.parse(ast.unparse(node), mode="eval").body))

    def mentions(self, node: ast.expr | None, source: Source) -> set[type]:
        """The wrapped classes in it."""
        if node is None:
            return set()
        speller = _Speller(self, source)
        speller.visit(ast.parse(ast.unparse(node), mode="eval").body)
        return speller.met

    def of(self, found: object, name: str) -> str:
        """How a thing of this name is called here."""
        if is_async_function(found):
            return self.shown(found)  # a name for that would be one of the async client
        if isinstance(found, type) and found in self.wrapped:
            return self.wrapped[found]
        if isinstance(found, type) and found in PROTOCOLS:
            return PROTOCOLS[found]
        if isinstance(found, typing.TypeVar):
            self.type_vars[found.__name__] = found
            return found.__name__
        if getattr(typing, name, None) is found:
            self.imports.add(f"from typing import {name}")
            return name
        if getattr(importlib.import_module("builtins"), name, None) is found:
            return name
        for alias, folder in FOLDERS.items():
            if getattr(folder, name, None) is found:
                return f"{alias}.{name}"
        module = getattr(found, "__module__", "")
        if module.startswith("zabpy.wire."):
            self.imports.add("from typing import Any")  # this folder does not know that one; the async client looks
            return "Any"
        if isinstance(found, type) and module.startswith("zabpy."):
            folder_name = ".".join(module.split(".")[:2])
            raise Cannot(f"{module}.{name} is met by users, so name it in {folder_name.replace('.', '/')}/__init__.py")
        if isinstance(found, type) or (typing.get_origin(found) is None and module):
            self.imports.add(f"from {module} import {name}")
            return name
        return self.shown(found)  # an alias that stands in no `__init__`: what it is short for

    def shown(self, found: object) -> str:
        """A type that is there as an object."""
        origin, args = typing.get_origin(found), typing.get_args(found)
        if found is None or found is type(None):
            return "None"
        if found is Ellipsis:
            return "..."
        if isinstance(found, list):
            return f"[{', '.join(map(self.shown, found))}]"
        if origin is typing.Literal:
            self.imports.add("from typing import Literal")
            return f"Literal[{', '.join(map(repr, args))}]"
        if str(origin) in ("<class 'types.UnionType'>", "typing.Union"):
            return " | ".join(map(self.shown, args))
        if origin in (abc.Awaitable, abc.Coroutine):
            return self.shown(args[-1])
        if origin is not None:
            if origin.__name__ == "Callable":
                self.imports.add("from collections.abc import Callable")
                return f"Callable[{', '.join(map(self.shown, args))}]"
            return f"{self.of(origin, origin.__name__)}[{', '.join(map(self.shown, args))}]"
        name = getattr(found, "__name__", None)
        if name is None:
            raise Cannot(f"no name for {found!r}")
        return self.of(found, name)


class _Speller(ast.NodeTransformer):
    def __init__(self, types: Types, source: Source) -> None:
        self._types, self._source = types, source
        self.met: set[type] = set()

    def _found(self, node: ast.expr) -> Any:
        try:
            return eval(ast.unparse(node), dict(self._source.globals))
        except NameError:
            # Imported for type checkers only, or defined further down.
            raise Cannot(f"{self._source.name}: {ast.unparse(node)} is not to be found where it is named") from None

    def _named(self, node: ast.Name | ast.Attribute) -> ast.expr:
        found = self._found(node)
        if isinstance(found, type):
            self.met |= {found} & (set(self._types.wrapped) | set(PROTOCOLS))
        if found is None:
            return ast.Constant(None)
        if found in self._types.streams:
            return self._stream(found)
        name = node.id if isinstance(node, ast.Name) else node.attr
        return ast.parse(self._types.of(found, name), mode="eval").body

    def _stream(self, cls: type, item: ast.expr | None = None) -> ast.expr:
        """What stands for a class that is only a stream: of ``item``, or of what it says itself."""
        given = special(cls, "__anext__")
        assert given is not None
        if item is None:
            item = ast.parse(self._types.spelled(given[0].returns, given[1]), mode="eval").body
        stream = ast.Subscript(ast.Name("Stream"), item)
        return ast.Subscript(ast.Name("Context"), stream) if special(cls, "__aenter__") else stream

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return self._named(node)

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        return self._named(node)

    def visit_Constant(self, node: ast.Constant) -> ast.expr:
        if isinstance(node.value, str):  # a forward reference
            visited: ast.expr = self.visit(ast.parse(node.value, mode="eval").body)
            return visited
        return node

    def visit_Subscript(self, node: ast.Subscript) -> ast.expr:
        head = self._found(node.value) if isinstance(node.value, ast.Name | ast.Attribute) else None
        name = getattr(head, "__name__", "")
        if head is typing.Literal:
            self._types.imports.add("from typing import Literal")
            return ast.Subscript(ast.Name("Literal"), node.slice)
        if head in self._types.streams:
            return self._stream(head, self.visit(node.slice))
        if name in ("AsyncIterator", "AsyncIterable", "AsyncGenerator"):
            item = node.slice.elts[0] if isinstance(node.slice, ast.Tuple) else node.slice
            return ast.Subscript(ast.Name("Stream"), self.visit(item))
        if name in ("AbstractAsyncContextManager", "AsyncContextManager"):
            item = node.slice.elts[0] if isinstance(node.slice, ast.Tuple) else node.slice
            return ast.Subscript(ast.Name("Context"), self.visit(item))
        if name in ("Awaitable", "Coroutine"):
            last = node.slice.elts[-1] if isinstance(node.slice, ast.Tuple) else node.slice
            visited: ast.expr = self.visit(last)
            return visited
        return ast.Subscript(self.visit(node.value), self.visit(node.slice))


def is_async_function(kind: object) -> bool:
    """Whether this type, or what it may be besides None, is that of functions whose result is awaited."""
    if typing.get_origin(kind) in (types.UnionType, typing.Union):
        return any(map(is_async_function, typing.get_args(kind)))
    args = typing.get_args(kind)
    return typing.get_origin(kind) is abc.Callable and typing.get_origin(args[-1]) in (abc.Awaitable, abc.Coroutine)


def needs_wrapping(cls: type, seen: tuple[type, ...] = ()) -> bool:
    if not cls.__module__.startswith(("zabpy.client.", "zabpy.recipes.")) or getattr(cls, "_is_protocol", False):
        return False
    if issubclass(cls, BaseException):
        return False
    if cls.__name__ in NEED_THE_LOOP:
        return True
    for source in sources(cls):
        for node in source.body:
            if isinstance(node, ast.AsyncFunctionDef) or (
                isinstance(node, ast.FunctionDef) and node.name in ("__aiter__", "__anext__", "__aenter__")
            ):
                return True
    return any(
        needs_wrapping(each, (*seen, cls))
        for node, source in annotations_of(cls)
        for each in classes_in(node, source)
        if each not in (*seen, cls)
    )


def evaluated(node: ast.expr | None, source: Source) -> object:
    """The type that an annotation is; None where it cannot be told."""
    try:
        return None if node is None else eval(ast.unparse(node), dict(source.globals))
    except (NameError, TypeError):  # forward references are not functions
        return None


def is_exported(cls: type) -> bool:
    return any(getattr(folder, cls.__name__, None) is cls for folder in FOLDERS.values())


def is_only_a_stream(cls: type) -> bool:
    return special(cls, "__anext__") is not None and not list(members(cls))


def enters_a_scope(cls: type) -> bool:
    """Whether it enters a scope by hand, which is to stay entered while the body runs."""
    return any(
        ".__enter__()" in ast.unparse(node)
        for source in sources(cls)
        for node in source.body
        if isinstance(node, ast.AsyncFunctionDef) and node.name == "__aenter__"
    )


def classes_in(node: ast.expr | None, source: Source) -> Iterator[type]:
    """All classes that an annotation names."""
    if node is None:
        return
    for each in ast.walk(node):
        if isinstance(each, ast.Constant) and isinstance(each.value, str):
            yield from classes_in(ast.parse(each.value, mode="eval").body, source)
        elif isinstance(each, ast.Name):
            found = source.globals.get(each.id)
            if isinstance(found, type):
                yield found


def annotations_of(cls: type) -> Iterator[tuple[ast.expr | None, Source]]:
    """Of all that it returns or has, and of what it is in a ``with`` or a ``for``."""
    for member in members(cls):
        for node in member.nodes:
            yield node.returns, member.source
        yield member.annotation, member.source
    for name in ("__aenter__", "__anext__", "__aiter__"):
        found = special(cls, name)
        if found is not None:
            yield found[0].returns, found[1]


def given_to_functions(cls: type) -> Iterator[type]:
    """What its parameters that are async functions are given."""
    for member in members(cls):
        for node in member.nodes:
            for each in (*node.args.args, *node.args.kwonlyargs):
                kind = evaluated(each.annotation, member.source)
                for choice in (kind, *typing.get_args(kind)):
                    if is_async_function(choice) and isinstance(typing.get_args(choice)[0], list):
                        yield from (given for given in typing.get_args(choice)[0] if isinstance(given, type))


def special(cls: type, name: str) -> tuple[ast.FunctionDef | ast.AsyncFunctionDef, Source] | None:
    for source in sources(cls):
        for node in source.body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == name:
                return node, source
    return None


def reached(root: type) -> list[type]:
    """The root and every class that needs one here, in the order they are met."""
    order, waiting = [], [root]
    while waiting:
        cls = waiting.pop(0)
        if cls in order:
            continue
        order.append(cls)
        waiting += [each for each in given_to_functions(cls) if needs_wrapping(each)]
        for node, source in annotations_of(cls):
            waiting += [each for each in classes_in(node, source) if needs_wrapping(each) and each not in waiting]
    return order


class Writer:
    def __init__(self) -> None:
        self.root = zabpy.recipes.Client
        # A base of the client that somebody's annotation names is the client to users.
        self.classes = [each for each in reached(self.root) if each is self.root or not issubclass(self.root, each)]
        # A class without a public name that is nothing but a stream is one of ours, which is as good.
        self.streams = [each for each in self.classes if not is_exported(each) and is_only_a_stream(each)]
        self.classes = [each for each in self.classes if each not in self.streams]
        for cls in list(self.classes):  # bases first
            for base in cls.__mro__[1:]:
                if base in self.classes and self.classes.index(base) > self.classes.index(cls):
                    self.classes.remove(base)
                    self.classes.insert(self.classes.index(cls), base)
        for cls in self.classes:
            if not is_exported(cls):
                raise Cannot(
                    f"{cls.__module__}.{cls.__name__} is met by users, so name it in "
                    f"{'/'.join(cls.__module__.split('.')[:2])}/__init__.py"
                )
        self.types = Types({cls: cls.__name__ for cls in self.classes}, self.streams)
        for base in self.root.__mro__:
            if base.__module__.startswith("zabpy."):
                self.types.wrapped[base] = "Client"
        self.holding = {each for each in self.classes if self._is_held(each)}

    def _is_held(self, cls: type) -> bool:
        """Whether it may be lost while a body, or a function that is called with it, relies on it."""
        given = {each for other in self.classes for each in given_to_functions(other)}
        return cls is not self.root and (issubclass(cls, zabpy.recipes.Holding) or cls in given or enters_a_scope(cls))

    def _returned(self, cls: type, node: ast.FunctionDef | ast.AsyncFunctionDef, source: Source) -> set[type]:
        """The classes here that its result is or contains."""
        text = ast.unparse(node.returns) if node.returns is not None else ""
        if text.strip("'\"") in ("Self", "typing.Self"):
            return {cls}
        found = set(classes_in(node.returns, source))
        for each in found & set(self.streams):
            item = special(each, "__anext__")
            assert item is not None
            found |= set(classes_in(item[0].returns, item[1]))
        return found & set(self.classes)

    def leads_to_holding(self, cls: type, seen: frozenset[type] = frozenset()) -> bool:
        if cls is self.root or cls in seen:
            return False
        if cls in self.holding:
            return True
        nodes = [(member.node, member.source) for member in members(cls) if member.nodes]
        nodes += [found for name in ("__aenter__", "__aiter__", "__anext__") if (found := special(cls, name))]
        next_ones = {each for node, source in nodes for each in self._returned(cls, node, source)}
        for member in members(cls):
            next_ones |= set(classes_in(member.annotation, member.source)) & set(self.classes)
        return any(self.leads_to_holding(each, seen | {cls}) for each in next_ones - {cls})

    # The file ---------------------------------------------------------------------------------------------------------

    def text(self) -> str:
        bodies = [self.class_text(cls) for cls in self.classes]
        connect = self.connect_text()
        table = "".join(
            f"        {self.bare_name(cls)}: {cls.__name__},\n" for cls in self.classes if cls is not self.root
        )
        type_vars = "".join(f"{name} = {self.type_var(each)}\n" for name, each in sorted(self.types.type_vars.items()))
        imports = self.types.imports | {"from functools import partial"}
        if type_vars:
            imports.add("from typing import TypeVar")
        return "\n".join(
            [
                HEAD,
                "from __future__ import annotations",
                "",
                *sorted(imports),
                "from zabpy import client as _client, model as _model, recipes as _recipes",
                "from .opening import Opening",
                "from .stays import OnLost",
                "from .wrapping import Blocking, Context, Entered, Holding, PlainContext, Stream",
                "from .wrapping import bare as _bare, update_by as _update_by",
                "",
                type_vars,
                connect,
                *bodies,
                "",
                "Blocking.classes.update(\n    {\n" + table + "    }\n)",
                "",
            ]
        )

    def type_var(self, found: typing.TypeVar) -> str:
        bound = f", bound={self.types.shown(found.__bound__)}" if found.__bound__ else ""
        return f'TypeVar("{found.__name__}"{bound})'

    def bare_name(self, cls: type) -> str:
        return next(
            f"{alias}.{cls.__name__}" for alias, folder in FOLDERS.items() if getattr(folder, cls.__name__, None) is cls
        )

    def connect_text(self) -> str:
        tree = ast.parse(inspect.getsource(zabpy.recipes.connect)).body[0]
        assert isinstance(tree, ast.FunctionDef)
        source = Source(self.root)
        signature, passed = self.parameters(tree, source)
        return (
            f"\n\ndef connect({signature}) -> Client:\n{self.doc(tree, 4)}"
            f"    return Client(partial(_recipes.connect, {passed}))\n"
        )

    def class_text(self, cls: type) -> str:
        bases = self.bases(cls)
        above = self.above(cls)
        own = [each for each in members(cls) if not (above and issubclass(above, each.source.cls))]
        found = [self.member_text(cls, member) for member in own]
        doc = inspect.getdoc(cls) if cls.__doc__ else None
        lines = [f"\n\nclass {cls.__name__}({', '.join(bases)}):"]
        if doc:
            doc = doc.replace("the head of this file", f"the head of `{cls.__module__}`")
            lines.append(self.doc_text(doc, 4))
        parameters = getattr(cls, "__parameters__", ())
        bare = self.bare_name(cls) + (f"[{', '.join(each.__name__ for each in parameters)}]" if parameters else "")
        lines.append(f"    _bare: {bare}\n")
        iterated = special(cls, "__aiter__")
        if iterated is not None and special(cls, "__anext__") is None:
            stream = self.types.spelled(iterated[0].returns, iterated[1])
            assert stream.startswith("Stream["), f"{cls.__name__}.__aiter__ is to return an AsyncIterator"
            found.append(
                f"    def __iter__(self) -> {stream}:\n        return Stream(self, self._plain(self._bare.__aiter__))\n"
            )
        return "\n".join([*lines, *found])

    def bases(self, cls: type) -> list[str]:
        if cls is self.root:
            return ["Opening"]
        above = self.above(cls)
        bases = [above.__name__] if above else []

        def own(name: str) -> tuple[ast.FunctionDef | ast.AsyncFunctionDef, Source] | None:
            found = special(cls, name)
            return found if found and not (above and issubclass(above, found[1].cls)) else None

        if cls in self.holding and not (above and above in self.holding):
            bases.append("Holding")
        if item := own("__anext__"):
            bases.append(f"Stream[{self.quoted(item[0].returns, item[1])}]")
        if entered := own("__aenter__"):
            itself = ast.unparse(entered[0].returns or ast.Constant(None)) == "Self"
            if not itself:
                bases.append(f"Context[{self.quoted(entered[0].returns, entered[1])}]")
            elif not (above and special(above, "__aenter__")):
                bases.append("Entered")
        parameters = getattr(cls, "__parameters__", ())
        if parameters:
            for each_var in parameters:
                self.types.type_vars[each_var.__name__] = each_var
            self.types.imports.add("from typing import Generic")
            bases.append(f"Generic[{', '.join(each.__name__ for each in parameters)}]")
        return bases or ["Blocking"]

    def above(self, cls: type) -> type | None:
        """The class that it is derived from here, too."""
        return next((each for each in cls.__mro__[1:] if each in self.classes), None)

    def quoted(self, node: ast.expr | None, source: Source) -> str:
        text = self.types.spelled(node, source)
        return f'"{text}"' if self.types.mentions(node, source) else text

    # One member -------------------------------------------------------------------------------------------------------

    def member_text(self, cls: type, member: Member) -> str:
        name, source = member.name, member.source
        where = f"{source.cls.__module__}.{source.name}.{name}"
        try:
            if not member.nodes:
                return self.attribute_text(member, where)
            node = member.node
            if member.decorated("property") or member.decorated("cached_property"):
                return self.property_text(member)
            if name == "__enter__":
                return "    def __enter__(self) -> Self:\n        return self\n" + self.need("from typing import Self")
            if name == "__exit__":
                return (
                    "    def __exit__(self, *_: object) -> None:\n"
                    "        self._plain(self._bare.__exit__, None, None, None)\n"
                )
            for unknown in ("staticmethod", "classmethod"):
                if member.decorated(unknown):
                    raise Cannot(f"{where}: no rule for a {unknown}; leave it out or add one")
            overloads = ""
            for each in member.nodes[:-1]:
                self.need("from typing import overload")
                signature, returns = self.parameters(each, source)[0], self.returned(cls, each, member)
                overloads += f"    @overload\n    def {name}({signature}) -> {returns}: ...\n\n"
            return overloads + self.method_text(cls, member, node)
        except Cannot as error:
            raise Cannot(f"{where}: {error}") from None

    def need(self, line: str) -> str:
        self.types.imports.add(line)
        return ""

    def attribute_text(self, member: Member, where: str) -> str:
        if member.annotation is None:
            member = member._replace(annotation=inferred(member.source.cls, member.name))
        assert member.annotation is not None
        if "ClassVar" in ast.unparse(member.annotation) or "Final" in ast.unparse(member.annotation):
            return ""
        spelled = self.types.spelled(member.annotation, member.source)
        read = f"self._bare.{member.name}"
        if self.types.mentions(member.annotation, member.source):
            read = f"self._wrapped({read})"
        return (
            f"    @property\n    def {member.name}(self) -> {spelled}:\n"
            f"        value: {spelled} = {read}\n        return value\n"
        )

    def property_text(self, member: Member) -> str:
        spelled = self.types.spelled(member.node.returns, member.source)
        return (
            f"    @property\n    def {member.name}(self) -> {spelled}:\n{self.doc(member.node, 8)}"
            f'        value: {spelled} = self._read("{member.name}")\n        return value\n'
        )

    def returned(self, cls: type, node: ast.FunctionDef | ast.AsyncFunctionDef, member: Member) -> str:
        spelled = self.types.spelled(node.returns, member.source)
        if member.decorated("asynccontextmanager"):
            assert spelled.startswith("Stream["), spelled
            spelled = "Context[" + spelled.removeprefix("Stream[")
        if member.decorated("contextmanager"):
            assert spelled.startswith("Iterator["), spelled
            spelled = "PlainContext[" + spelled.removeprefix("Iterator[")
        return spelled

    def method_text(self, cls: type, member: Member, node: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
        source = member.source
        lossy = [
            each for each in classes_in(node.returns, source) if each in self.classes and self.leads_to_holding(each)
        ]
        extra = lossy if cls is self.root else []
        signature, passed = self.parameters(node, source, on_lost=bool(extra))
        returns = self.returned(cls, node, member)
        plain = returns
        is_async = isinstance(node, ast.AsyncFunctionDef) and not member.decorated("asynccontextmanager")
        is_generator = is_async and any(isinstance(each, ast.Yield) for each in ast.walk(node))
        how = "_call" if is_async and not is_generator else "_plain"
        if f"{source.name}.{member.name}" in DIRECT:
            how = "_direct"
        if how == "_call" and source.name in ASKING:
            how = "_ask"
        call = f"self.{how}({', '.join(filter(None, [f'self._bare.{member.name}', passed]))})"
        wraps = (
            bool(self.types.mentions(node.returns, source)) or "Stream[" in plain or "Context[" in plain
        )  # also in PlainContext[
        lines = [f"    def {member.name}({signature}) -> {returns}:", self.doc(node, 8).rstrip("\n")]
        if extra:
            wrapped = f"self._varied(_on_lost=on_lost)._wrapped({call})"
        else:
            wrapped = f"self._wrapped({call})"
        for kind in ("Context", "PlainContext", "Stream"):
            if plain.startswith(kind):
                wrapped = f"{kind}({'self._varied(_on_lost=on_lost)' if extra else 'self'}, {call})"
        if instead := INSTEAD.get(f"{source.name}.{member.name}"):
            lines.append(f"        {instead}")
        elif plain == "None":
            lines.append(f"        {call}")
        elif plain == "Self":
            lines += [f"        {call}", "        return self"]
        elif wraps:
            lines += [f"        result: {plain} = {wrapped}", "        return result"]
        else:
            lines.append(f"        return {call}")
        return "\n".join(filter(None, lines)) + "\n"

    def parameters(
        self, node: ast.FunctionDef | ast.AsyncFunctionDef, source: Source, *, on_lost: bool = False
    ) -> tuple[str, str]:
        """The parameters as they are declared here, and as they are handed on."""
        args = node.args
        declared: list[str] = []
        passed: list[str] = []
        positional = [*args.posonlyargs, *args.args]
        defaults: list[ast.expr | None] = [None] * (len(positional) - len(args.defaults)) + list(args.defaults)

        def one(each: ast.arg, default: ast.expr | None, by_name: bool) -> None:
            if each.annotation is None:
                assert each.arg == "self", f"{each.arg} of {node.name} has no type"
                declared.append("self")
                return
            spelled = self.types.spelled(each.annotation, source)
            after = "" if default is None else f" = {self.default(default, source)}"
            declared.append(f"{each.arg}: {spelled}{after}")
            value = self.handed_on(each, source)
            passed.append(f"{each.arg}={value}" if by_name else value)

        for each, default in zip(positional, defaults):
            one(each, default, by_name=False)
            if args.posonlyargs and each is args.posonlyargs[-1]:
                declared.append("/")
        if args.vararg is not None:
            assert args.vararg.annotation is not None
            declared.append(f"*{args.vararg.arg}: {self.types.spelled(args.vararg.annotation, source)}")
            mentioned = self.types.mentions(args.vararg.annotation, source)
            passed.append(f"*_bare({args.vararg.arg})" if mentioned else f"*{args.vararg.arg}")
        elif args.kwonlyargs or on_lost:
            declared.append("*")
        for each, kw_default in zip(args.kwonlyargs, args.kw_defaults):
            one(each, kw_default, by_name=True)
        if on_lost:
            declared.append('on_lost: OnLost = "flag"')
        if args.kwarg is not None:
            assert args.kwarg.annotation is not None
            declared.append(f"**{args.kwarg.arg}: {self.types.spelled(args.kwarg.annotation, source)}")
            passed.append(f"**{args.kwarg.arg}")
        return ", ".join(declared), ", ".join(passed)

    def handed_on(self, each: ast.arg, source: Source) -> str:
        if is_async_function(evaluated(each.annotation, source)):
            optional = type(None) in typing.get_args(evaluated(each.annotation, source))
            adapted = f"self._from_thread({each.arg})"
            return f"None if {each.arg} is None else {adapted}" if optional else adapted
        if self.types.mentions(each.annotation, source):
            return f"_bare({each.arg})"
        return each.arg

    def default(self, node: ast.expr, source: Source) -> str:
        return ast.unparse(_Defaults(self.types, source).visit(ast.parse(ast.unparse(node), mode="eval").body))

    def doc(self, node: ast.FunctionDef | ast.AsyncFunctionDef, indent: int) -> str:
        text = ast.get_docstring(node)
        return self.doc_text(text, indent) + "\n" if text else ""

    def doc_text(self, text: str, indent: int) -> str:
        for old, new in (
            ("async with", "with"),
            ("async for", "for"),
            ("await ", ""),
            ("zabpy.connect", "zabpy.blocking.connect"),
        ):
            text = text.replace(old, new)
        quotes = '"""'
        raw = "r" if "\\" in text else ""
        lines = f"{raw}{quotes}{text}{quotes}" if "\n" not in text else f"{raw}{quotes}{text}\n{quotes}"
        return textwrap.indent(lines, " " * indent)


class _Defaults(ast.NodeTransformer):
    """Names in default values → where they are to be had here."""

    def __init__(self, types: Types, source: Source) -> None:
        self._types, self._source = types, source

    def visit_Name(self, node: ast.Name) -> ast.expr:
        # What is not there is True, None or a builtin.
        return self._named(self._source.globals[node.id], node.id) if node.id in self._source.globals else node

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        return self._named(eval(ast.unparse(node), dict(self._source.globals)), node.attr)

    def _named(self, found: object, name: str) -> ast.expr:
        for alias, folder in FOLDERS.items():
            if getattr(folder, name, None) is found:
                return ast.Attribute(ast.Name(alias), name)
        if isinstance(found, str | int | float | bytes | bool | None):
            return ast.Constant(found)
        raise Cannot(f"the default value {name} stands in no `__init__`")


def generated() -> dict[Path, str]:
    """File → what is to stand in it."""
    writer = Writer()
    names = "".join(
        f"    {name} as {name},\n" for name in sorted({*(each.__name__ for each in writer.classes), "connect"})
    )
    init = TARGET.parent / "__init__.py"
    # Not by importing it: that would fail where client.py is not what it should be.
    listed = re.sub(r"from \.client import \([^)]*\)", f"from .client import (\n{names})", init.read_text("utf-8"))
    text = formatted(writer.text())
    if any(len(line) > 120 for line in text.splitlines()):  # a docstring that grew by a word
        text = text.replace(HEAD, HEAD + "\n# ruff: noqa: E501\n", 1)
    return {TARGET: text, init: listed}


def main() -> int:
    files = generated()
    if "--check" in sys.argv[1:]:
        return any(path.read_text("utf-8") != text for path, text in files.items())
    for path, text in files.items():
        path.write_text(text, "utf-8")
    return 0


def formatted(text: str) -> str:
    ruff = [sys.executable, "-m", "ruff"]
    sorted_ = subprocess.run(
        [*ruff, "check", "--select", "I,F401", "--fix", "--quiet", "--stdin-filename", str(TARGET), "-"],
        input=text, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    return subprocess.run(
        [*ruff, "format", "--quiet", "--stdin-filename", str(TARGET), "-"],
        input=sorted_, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
