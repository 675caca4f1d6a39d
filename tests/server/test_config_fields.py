"""No key is accepted and then ignored: every field of `Config` that a file can fill is read where something is done."""

import ast
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

from zabpy.server import config as config_module
from zabpy.server.config import SPECIAL, Config
from zabpy.server.config_keys import KEYS, MEANINGLESS, NOT_SERVED_BY_KEY, UNUSED_FIELDS

ROOT = Path(__file__).parent.parent.parent / "zabpy"

#: Fields that do their work before there is a server.
READ_WHILE_THE_FILE_IS = {
    "path": "names the file in messages about it",
    "create_directories": "decides whether a directory that is missing is an error",
}


def sources() -> Iterator[ast.Module]:
    for path in sorted(ROOT.rglob("*.py")):
        # What the simulator and the commands make of a Config is not what the server does with it.
        if path.parent.name in ("server", "zabpy") and not path.name.startswith("config"):
            yield ast.parse(path.read_text(encoding="utf-8"))


def attributes_of(tree: ast.AST, *bases: str) -> set[str]:
    """Names read of a thing called so: ``config.words``, ``self.config.words``."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
            base = node.value
            name = base.id if isinstance(base, ast.Name) else base.attr if isinstance(base, ast.Attribute) else ""
            if name in bases:
                found.add(node.attr)
    return found


def read_fields() -> set[str]:
    """All that is read of configs, through properties and methods of `Config` too."""
    read: set[str] = set()
    for tree in sources():
        read |= attributes_of(tree, "config", "_config")
    module = ast.parse(Path(config_module.__file__).read_text(encoding="utf-8"))
    body = next(node.body for node in module.body if isinstance(node, ast.ClassDef) and node.name == "Config")
    for _ in range(2):
        for method in body:
            if isinstance(method, ast.FunctionDef) and method.name in read:
                read |= attributes_of(method, "self")
    return read


def test_every_field_is_read_where_something_is_done() -> None:
    not_yet = {key.field for key in KEYS.values() if key.not_served}
    unread = {field.name for field in fields(Config)} - read_fields() - set(READ_WHILE_THE_FILE_IS) - not_yet
    assert unread == set()


def test_every_key_fills_a_field() -> None:
    names = {field.name for field in fields(Config)}
    assert {key.field for key in KEYS.values() if key.field not in names} <= UNUSED_FIELDS
    assert set(READ_WHILE_THE_FILE_IS) <= names


def test_a_key_is_of_one_kind() -> None:
    kinds = [set(KEYS), set(SPECIAL), set(MEANINGLESS), set(NOT_SERVED_BY_KEY)]
    assert [(a & b) for at, a in enumerate(kinds) for b in kinds[at + 1 :] if a & b] == []
