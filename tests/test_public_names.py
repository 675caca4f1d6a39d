"""What a folder names in its `__init__` is there, and says who may import it."""

import ast
import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = sorted(path.parent for path in (ROOT / "zabpy").rglob("__init__.py"))


def module_name(folder: Path) -> str:
    return ".".join(folder.relative_to(ROOT).parts)


def named(folder: Path) -> list[str]:
    """The names that an `__init__` re-exports, `from .x import Y as Y`, or defines."""
    tree = ast.parse((folder / "__init__.py").read_text(encoding="utf-8"))
    names = []
    # zabpy itself and zabpy.wire name behind an `if` what they load only when it is asked for
    for node in [each for outer in tree.body for each in (outer.body if isinstance(outer, ast.If) else [outer])]:
        if isinstance(node, ast.ImportFrom) and node.level:  # of its own files
            assert all(each.asname == each.name for each in node.names), f"{folder}: write `{ast.unparse(node)} as ...`"
            names += [each.name for each in node.names]
    return names


def test_users_find_the_version() -> None:
    import zabpy

    assert re.fullmatch(r"\d+\.\d+\.\d+", zabpy.__version__)


@pytest.mark.parametrize("folder", FOLDERS, ids=module_name)
def test_a_folder_says_what_it_is_and_who_may_hold_it(folder: Path) -> None:
    tree = ast.parse((folder / "__init__.py").read_text(encoding="utf-8"))
    text = ast.get_docstring(tree) or ""
    assert re.search(r"^May import: ", text, re.MULTILINE), f"{folder}: a line 'May import: ...' is missing"
    assert re.search(r"^Imported by: ", text, re.MULTILINE), f"{folder}: a line 'Imported by: ...' is missing"


@pytest.mark.parametrize("folder", FOLDERS, ids=module_name)
def test_what_it_names_is_there_once(folder: Path) -> None:
    names = named(folder)
    assert len(names) == len(set(names))
    module = importlib.import_module(module_name(folder))
    assert [name for name in names if not hasattr(module, name)] == []
