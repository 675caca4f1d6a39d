"""Who may import whom: the arrows point down, and the lower half knows neither clock, chance, socket nor thread.

The table is the architecture. A new row or a wider one is a decision: give the reason in the file that needs it.
"""

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parent.parent

#: What the folders that only decide must not know; time, chance and threads are handed in or come as inputs.
WORLD = frozenset(
    "asyncio concurrent ctypes datetime fcntl logging multiprocessing os pathlib queue random secrets select selectors "
    "shutil signal socket socketserver ssl subprocess tempfile threading time uuid".split()
)
THREADS = frozenset({"threading", "concurrent", "multiprocessing", "_thread"})

SEVERAL = frozenset({"multiprocessing"})  # seeds are independent: a process each core


class May(NamedTuple):
    """What a folder may import: of ours (whole folders, or modules written with a dot), of others, and what of the
    standard library it must not. ``but`` gives single files more of the standard library."""

    ours: str = ""
    others: str = ""
    not_standard: frozenset[str] = frozenset()
    but: dict[str, frozenset[str]] = {}


LOWER = "model metrics wire zab tree sessions storage pipeline admin"

TABLE: dict[str, May] = {
    # L0
    "model": May(not_standard=WORLD),
    "metrics": May(not_standard=WORLD),
    # L1: five that do not know each other, but for the spelling of ZAB's messages
    "wire": May("model zab.messages", "cbor2", WORLD),
    # Chance is a Random handed in: only its type is imported.
    "zab": May("model", "", WORLD - {"random"}),
    "tree": May("model", "sortedcontainers", WORLD),
    "sessions": May("model", "sortedcontainers", WORLD),
    "storage": May("model", "", WORLD, {"files.py": frozenset({"os", "fcntl", "time", "pathlib"})}),
    # L2
    "pipeline": May("model metrics wire tree sessions", "", WORLD - {"random"}),
    # `envi` tells of the process, which is all it needs `os` for; the version stands in zabpy/__init__.py
    "admin": May("model metrics", "starlette prometheus_client", WORLD - {"os"}),
    # L3
    # Who logs in by SCRAM computes with scramp, as the server does. Clients know which thread they are of.
    "client": May("model wire", "anyio scramp", THREADS, {"home.py": THREADS, "clock.py": THREADS}),
    "server": May(LOWER, "trio hypercorn cryptography scramp", THREADS, {"disk.py": THREADS}),
    # L4
    "recipes": May("model client", "anyio", THREADS),
    # Secrets, files made of settings, schemas and documents: each needs one of the others.
    # referencing is a part of jsonschema.
    "config": May("model client recipes", "anyio cryptography jinja2 jsonschema referencing yaml", THREADS),
    # Of settings config.py alone, which nothing else there loads; settings_source.py is for who has pydantic-settings.
    "blocking": May("model client recipes config", "anyio pydantic pydantic_settings", THREADS, {"portal.py": THREADS}),
    "testing": May(
        f"{LOWER} client server blocking",
        "trio anyio sortedcontainers click pytest",
        THREADS,
        {
            "seeds.py": SEVERAL,
            "fuzz.py": SEVERAL,
            "background.py": THREADS,
        },
    ),
    "bench": May("model client recipes blocking testing", "anyio click kazoo"),
    # L5
    "dev": May("model"),
    "__main__": May("server storage client testing bench dev model", "click trio"),
    "__init__": May("client model recipes"),
    # click takes the words of a command apart; cbor2 and yaml show what a value is.
    "shell": May(
        "model client recipes config", "anyio cbor2 click hypercorn prompt_toolkit pygments rich starlette yaml"
    ),
}

SOURCES = sorted([*(ROOT / "zabpy").rglob("*.py"), *(ROOT / "shell").rglob("*.py")])


class Import(NamedTuple):
    path: Path
    line: int
    module: str

    def __str__(self) -> str:
        return f"{self.path.relative_to(ROOT)}:{self.line} imports {self.module}"


def unit_of(path: Path) -> str:
    """The row of the table that a file falls under."""
    parts = path.relative_to(ROOT).parts
    return "shell" if parts[0] == "shell" else parts[1].removesuffix(".py")


def imports_of(path: Path) -> Iterator[Import]:
    package = path.relative_to(ROOT).parent.parts
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
        if isinstance(node, ast.Import):
            for each in node.names:
                yield Import(path, node.lineno, each.name)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            module = ".".join(part for part in (base, node.module or "") if part)
            if module in ("zabpy", ""):  # from zabpy import model
                for each in node.names:
                    yield Import(path, node.lineno, f"{module}.{each.name}")
            else:
                yield Import(path, node.lineno, module)


def forbidden(found: Import) -> bool:
    unit, row = unit_of(found.path), TABLE[unit_of(found.path)]
    top, _, inside = found.module.partition(".")
    if top in ("zabpy", "zabpy_shell", "shell"):
        folder = inside.partition(".")[0]
        allowed = {unit, *row.ours.split()}
        return not (
            folder in allowed
            or inside in allowed
            or folder in ("", "__version__")
            or (top == "shell" and unit == "shell")
        )
    if top in sys.stdlib_module_names:
        return top in row.not_standard - row.but.get(found.path.name, frozenset())
    return top not in row.others.split()


def test_every_file_has_its_row() -> None:
    assert {unit_of(path) for path in SOURCES} <= set(TABLE)


@pytest.mark.parametrize("unit", sorted(TABLE))
def test_imports_point_down(unit: str) -> None:
    files = [path for path in SOURCES if unit_of(path) == unit]
    assert [str(found) for path in files for found in imports_of(path) if forbidden(found)] == []


@pytest.mark.parametrize(
    ("file", "module", "bad"),
    [
        ("zab/replica.py", "zabpy.model", False),
        ("zab/replica.py", "zabpy.wire", True),
        ("zab/replica.py", "time", True),
        ("wire/peer.py", "zabpy.zab.messages", False),
        ("wire/peer.py", "zabpy.zab.replica", True),
        ("tree/tree.py", "cbor2", True),
        ("storage/log.py", "os", True),
        ("storage/files.py", "os", False),
        ("pipeline/prepare.py", "zabpy.storage", True),
        ("server/clients.py", "threading", True),
        ("server/disk.py", "threading", False),
        ("server/clients.py", "cbor2", True),
        ("client/client.py", "trio", True),
        ("model/stat.py", "zabpy.wire.jute", True),
        ("admin/status.py", "zabpy.__version__", False),
    ],
)
def test_the_rule_can_be_broken(file: str, module: str, bad: bool) -> None:
    assert forbidden(Import(ROOT / "zabpy" / file, 1, module)) is bad


def test_folders_reach_into_no_other_folder_past_its_init() -> None:
    """What is meant for others stands in the folder's `__init__`; zab.messages is named in the table."""
    past = [
        str(found)
        for path in SOURCES
        if unit_of(path) not in ("testing", "__main__", "__init__")
        for found in imports_of(path)
        if found.module.startswith("zabpy.")
        and found.module.count(".") > 1
        and found.module.split(".")[1] != unit_of(path)
        and found.module != "zabpy.zab.messages"
    ]
    assert past == []


def test_serving_loads_nothing_that_it_does_not_need() -> None:
    """`zabpy serve` is to take a first write within a moment of its start: what is slow to load stays inside."""
    heavy = {"click", "asyncio", "difflib", "zabpy.testing", "zabpy.bench", "zabpy.client", "ctypes"}
    main = ROOT / "zabpy" / "__main__.py"
    at_the_top = {
        name.name if isinstance(node, ast.Import) else node.module
        for node in ast.parse(main.read_text(encoding="utf-8")).body
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in node.names
    }
    assert not at_the_top & (heavy | {"trio", "zabpy.server"})


def test_every_package_is_installed() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    folders = {".".join(path.parent.relative_to(ROOT).parts) for path in SOURCES}
    wanted = {
        "zabpy_shell" + folder.removeprefix("shell") if folder.startswith("shell") else folder for folder in folders
    }
    assert set(settings["packages"]) == wanted


def test_a_server_loads_what_few_servers_need_only_where_it_is_needed() -> None:
    few = "cryptography scramp click difflib zabpy.server.accounts zabpy.server.credentials zabpy.server.jaas"
    code = f"import sys, zabpy.server.main; print([name for name in {few.split()} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "[]\n"


def test_a_client_starts_without_what_only_servers_need() -> None:
    code = "import sys, zabpy.client; print([m for m in sys.modules if m.startswith(('zabpy.zab', 'cbor2'))])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
