"""Every block of Python in README.md and docs/*.md runs, as it stands there, and prints what stands there.

How a page is read (all of it is plain Markdown, nothing has to be marked):

* The blocks below one heading ``##`` are one story: they run in their order, share their names, and have an empty tree.
* A block with an ``await`` outside of its functions runs under trio in one test and under asyncio in another, and is
  given ``zk``, a connected client, and ``ensemble``, the servers. A story without one runs once, as a plain script.
* ``127.0.0.1:2181``, or several such, stand for the servers. TLS files that are named are there.
* A block ``text`` right behind it is what it prints; ``...`` in that is anything.
* A block with functions that are called ``test_...`` is a file for pytest.
"""

import ast
import contextlib
import importlib
import inspect
import io
import itertools
import re
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import anyio
import kazoo
import pytest
import sniffio
import trustme
from kazoo.client import KazooClient

import zabpy
import zabpy.blocking
import zabpy.client
import zabpy.recipes
import zabpy.testing
from zabpy.testing import Ensemble

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SERVERS = re.compile(r"127\.0\.0\.1:218\d(,127\.0\.0\.1:218\d)*")
_numbers = itertools.count(1)


class Block(NamedTuple):
    page: Path
    line: int
    code: str
    prints: str | None

    @property
    def is_for_pytest(self) -> bool:
        return re.search(r"^(async )?def test_", self.code, re.MULTILINE) is not None

    def compiled(self, hosts: str) -> types.CodeType:
        # The blank lines have tracebacks show the lines of the page.
        code = "\n" * (self.line - 1) + SERVERS.sub(hosts, self.code)
        flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        compiled: types.CodeType = compile(code, str(self.page), "exec", flags, dont_inherit=True)
        return compiled


class Story(NamedTuple):
    name: str
    blocks: list[Block]

    @property
    def waits(self) -> bool:
        return any(each.compiled("zk1").co_flags & inspect.CO_COROUTINE for each in self.blocks)


def stories_of(page: Path) -> list[Story]:
    stories = [Story(f"{page.name}: the top", [])]
    lines = iter(enumerate(page.read_text(encoding="utf-8").splitlines(), 1))
    behind: Block | None = None  # a block that nothing but blank lines has followed
    for number, line in lines:
        if line.startswith("## "):
            stories.append(Story(f"{page.name}: {line.removeprefix('## ')}", []))
        elif line.startswith("```"):
            body = [each for _, each in itertools.takewhile(lambda found: found[1] != "```", lines)]
            text = "".join(f"{each}\n" for each in body)
            if line == "```python":
                behind = Block(page, number + 1, text, None)
                stories[-1].blocks.append(behind)
                continue
            if line == "```text" and behind is not None:
                stories[-1].blocks[-1] = behind._replace(prints=text)
        if line.strip():
            behind = None
    return [story for story in stories if story.blocks]


STORIES = [story for page in PAGES for story in stories_of(page)]
WAITING = {story.name: story for story in STORIES if story.waits}
PLAIN = {story.name: story for story in STORIES if not story.waits}


@pytest.fixture(scope="module")
def ensemble() -> Iterator[Ensemble]:
    with Ensemble() as ensemble:
        yield ensemble


@pytest.fixture
def hosts(ensemble: Ensemble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Where to connect, in a directory with the files that the pages name, and where Celery seems to be installed."""
    monkeypatch.chdir(tmp_path)
    authority = trustme.CA()
    authority.cert_pem.write_to_path("ca.pem")
    authority.issue_cert("worker-7").private_key_and_cert_chain_pem.write_to_path("worker-7.pem")
    celery = types.ModuleType("celery.signals")
    celery.worker_process_init = types.SimpleNamespace(connect=lambda fn: fn)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "celery", types.ModuleType("celery"))
    monkeypatch.setitem(sys.modules, "celery.signals", celery)
    chroot = f"/page-{next(_numbers)}"
    with zabpy.blocking.connect(ensemble.hosts) as zk:
        zk.create(chroot)
    return ensemble.hosts + chroot


def check(block: Block, printed: str) -> None:
    if block.prints is not None:
        expected = ".*".join(map(re.escape, block.prints.split("...")))
        assert re.fullmatch(expected, printed, re.DOTALL), f"{block.page}:{block.line} printed\n{printed}"


@pytest.mark.parametrize("backend", ["trio", "asyncio"])
@pytest.mark.parametrize("name", WAITING)
def test_what_waits(name: str, backend: str, hosts: str, ensemble: Ensemble) -> None:
    async def tell() -> None:
        assert sniffio.current_async_library() == backend
        with anyio.fail_after(60):
            async with zabpy.connect(hosts) as zk:
                names: dict[str, Any] = {"__name__": "__main__", "zk": zk, "ensemble": ensemble}
                for block in WAITING[name].blocks:
                    with contextlib.redirect_stdout(io.StringIO()) as printed:
                        awaitable = eval(block.compiled(hosts), names)
                        if awaitable is not None:
                            await awaitable
                    check(block, printed.getvalue())

    anyio.run(tell, backend=backend)


@pytest.mark.parametrize("name", PLAIN)
def test_what_is_plain(name: str, hosts: str) -> None:
    names: dict[str, Any] = {"__name__": "__main__"}
    for block in PLAIN[name].blocks:
        if block.is_for_pytest:
            run_pytest(block)
            continue
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(block.compiled(hosts), names)
        check(block, printed.getvalue())


def run_pytest(block: Block) -> None:
    """It stands alone: what it needs it imports."""
    Path("test_page.py").write_text(block.code, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_page.py"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_there_is_something_to_run() -> None:
    assert len(WAITING) > 10 and len(PLAIN) > 3


def test_a_page_that_lies_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "## One\n\n```python\nprint(1 + 1)\n```\n\n```text\n3\n```\n\n## Two\n\n```python\nawait x()\n```\n"
    )
    one, two = stories_of(page)
    assert (one.waits, two.waits) == (False, True)
    assert (one.blocks[0].line, one.blocks[0].prints, two.blocks[0].prints) == (4, "3\n", None)
    with pytest.raises(AssertionError, match="printed"):
        check(one.blocks[0], "2\n")
    check(one.blocks[0], "3\n")


# The names in docs/coming-from-kazoo.md -------------------------------------------------------------------------------

KAZOO = ROOT / "docs" / "coming-from-kazoo.md"


def names_of(column: int) -> list[str]:
    """What stands in backquotes in a column of the table below "Names", and is a name."""
    part = KAZOO.read_text(encoding="utf-8").partition("\n## Names\n")[2].partition("\n## ")[0]
    rows = [line.split("|")[1:] for line in part.splitlines() if line.startswith("| ")][1:]
    return [name for row in rows for name in re.findall(r"`([^`]+)`", row[column])]


def resolve(name: str, variables: dict[str, object]) -> object:
    first, *rest = name.split(".")
    if first in variables:
        found = variables[first]
    else:
        found = importlib.import_module(first)
    for index, each in enumerate(rest, 1):
        if isinstance(found, types.ModuleType) and not hasattr(found, each):
            importlib.import_module(".".join([first, *rest[:index]]))
        found = getattr(found, each)
    return found


#: These need packages that kazoo does not: they are looked for in its source.
IN_SOURCE = ("kazoo.handlers.gevent.", "kazoo.handlers.eventlet.", "kazoo.testing.")


def test_the_names_of_kazoo_are_there() -> None:
    names = names_of(0)
    assert len(names) > 60
    for name in names:
        if name.startswith(IN_SOURCE):
            source = Path(next(iter(kazoo.__path__))).joinpath(*name.split(".")[1:-1])
            files = [source.with_suffix(".py"), *source.glob("*.py")]
            assert any(f"class {name.rpartition('.')[2]}(" in each.read_text() for each in files if each.exists()), name
        else:
            resolve(name, {"client": KazooClient()})


def test_our_names_are_there() -> None:
    names = names_of(1)
    assert len(names) > 60
    for name in names:
        # Attributes of an open client are asked of its class.
        resolve(name, {"zk": types.SimpleNamespace(chroot="", **vars_of(zabpy.Client))})


def vars_of(kind: type) -> dict[str, object]:
    return {name: getattr(kind, name) for name in dir(kind) if not name.startswith("_")}


def test_no_method_of_ours_that_kazoo_lacks_is_forgotten() -> None:
    """Each recipe stands in the table, so that nobody looks for it in vain."""
    recipes = {name for name in vars(zabpy.Client) if not name.startswith("_")} - {"observe"}
    assert recipes <= {name.removeprefix("zk.") for name in names_of(1)}


def test_every_public_class_says_what_it_is() -> None:
    folders = (zabpy, zabpy.client, zabpy.recipes, zabpy.blocking, zabpy.testing)
    named = [getattr(folder, name) for folder in folders for name in getattr(folder, "__all__", dir(folder))]
    classes = [each for each in named if isinstance(each, type) and each.__module__.startswith("zabpy")]
    assert len(classes) > 100
    for each in classes:
        said = each.__dict__.get("__doc__") or ""
        # Where nobody has written one, dataclasses have made one that looks like a call.
        assert said and not said.startswith(f"{each.__name__}("), each
