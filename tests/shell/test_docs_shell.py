"""Every transcript in docs/shell.md is typed, and prints what stands there; every command stands there.

How the page is read: the blocks ``console`` below one heading ``##`` are one story, in an empty tree of its own.
``zabsh> LINE`` is typed into one shell at a terminal without colours, in this process, and all questions are answered
with y; ``$ LINE`` is run by bash, beside a ``zabsh`` whose servers are the same. What follows is what is printed, on
stdout and stderr, where ``...`` stands for anything.
"""

import itertools
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import anyio
import pytest

from shell.command import REGISTRY
from shell.errors import Status
from shell.output import Look, Output
from shell.settings import Settings
from shell.shell import Asker
from shell.starting import started
from tests.client.conftest import TESTED_ON
from zabpy.bench.systems import Servers

PAGE = Path(__file__).parent.parent.parent / "docs" / "shell.md"
TEXT = PAGE.read_text(encoding="utf-8")
PROMPTS = ("zabsh> ", "$ ")


class Typed(NamedTuple):
    """``prints`` is what stands behind it, and ``number`` the line of the page."""

    number: int
    prompt: str
    line: str
    prints: str


def stories() -> dict[str, list[Typed]]:
    found: dict[str, list[Typed]] = {}
    heading = ""
    lines = iter(enumerate(TEXT.splitlines(), 1))
    for number, line in lines:
        if line.startswith("## "):
            heading = line.removeprefix("## ")
        elif line == "```console":
            story = found.setdefault(heading, [])
            for inner, text in itertools.takewhile(lambda each: each[1] != "```", lines):
                prompt = next((each for each in PROMPTS if text.startswith(each)), None)
                if prompt is not None:
                    story.append(Typed(inner, prompt, text.removeprefix(prompt), ""))
                else:
                    assert story, f"{PAGE}:{number}: nothing is typed"
                    story[-1] = story[-1]._replace(prints=story[-1].prints + text + "\n")
    return found


STORIES = stories()


@pytest.fixture(scope="module")
def one_server() -> Iterator[str]:
    """One that answers all four-letter words."""
    with Servers(TESTED_ON, 1, more="4lw.commands.whitelist=*\n") as servers:
        yield f"127.0.0.1:{servers.client_ports[1]}"


class Yes(Asker):
    def __init__(self, said: bytearray) -> None:
        self._said = said

    async def confirm(self, question: str, must_type: str = "") -> bool:
        self._said += f"{question} [y/N] y\n".encode()
        return True


async def printed(hosts: str, story: list[Typed]) -> list[str]:
    """What each line prints."""
    said, found = bytearray(), []
    output = Output(said.extend, said.extend, "table", Look(is_terminal=True, width=100))
    async with started(Settings(hosts), output, keeps_trying=False, asker=Yes(said)) as shell:
        for typed in story:
            said.clear()
            if typed.prompt == "$ ":
                found.append(await by_bash(typed.line, hosts))
                continue
            shell.lines.append(typed.line)
            await shell.run(typed.line)
            found.append(said.decode())
    return found


async def by_bash(line: str, hosts: str) -> str:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "ZABPY_SERVERS": hosts}
    done = await anyio.run_process(["bash", "-c", line], stderr=subprocess.STDOUT, env=environment, check=False)
    return done.stdout.decode()


@pytest.mark.parametrize("heading", STORIES)
def test_what_is_typed_prints_what_stands_there(
    heading: str, hosts: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZABPY_SHELL_CONFIG", str(tmp_path / "shell.toml"))
    monkeypatch.setenv("EDITOR", "true")
    # By a name that guard rails do not know, or those of prod would be those of all that is typed.
    prod = hosts.replace("127.0.0.1", "127.1")
    (tmp_path / "shell.toml").write_text(f"[profile.prod]\nservers = '{prod}'\nread_only = true\n")
    story = STORIES[heading]
    for typed, text in zip(story, anyio.run(printed, hosts, story, backend="asyncio")):
        expected = ".*".join(re.escape(part) for part in typed.prints.split("..."))
        assert re.fullmatch(expected, text, re.DOTALL), f"{PAGE}:{typed.number}: {typed.line}\nprinted\n{text}"


def test_every_command_stands_there() -> None:
    missing = {it.name for it in REGISTRY.values() if not it.hidden and f"`{it.name}" not in TEXT}
    assert missing == set()


def test_every_status_stands_there() -> None:
    table = dict(re.findall(r"^\| (\d+) \| (.+?) \|$", TEXT, re.MULTILINE))
    assert {int(number) for number in table} >= {int(each) for each in Status}
