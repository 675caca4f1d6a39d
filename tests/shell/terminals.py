"""Shells in a terminal, for tests: one that many share, and new ones."""

from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

import zabpy

from .screen import CTRL_C, CTRL_L, ENTER, Screen

PROGRAM = str(Path(__file__).parents[2] / ".venv/bin/zabsh")


def zabsh(hosts: str, tmp_path: Path, *arguments: str, **env: str) -> Screen:
    """A shell at its first prompt with a session."""
    screen = Screen([PROGRAM, "--server", hosts, *arguments], {**places(tmp_path), **env})
    screen.until("connected, ")
    return screen


def places(tmp_path: Path) -> dict[str, str]:
    """Nothing of the person's own who runs the tests."""
    return {
        "XDG_STATE_HOME": str(tmp_path / "state"),
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
        "TERM": "xterm-256color",
        "PAGER": "less -R",
        "LESS": "",
        "PROMPT_TOOLKIT_COLOR_DEPTH": "DEPTH_4_BIT",
    }


@pytest.fixture(scope="session")
def one_shell(one_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Screen]:
    make(one_server, "/terminal")
    with zabsh(f"{one_server}/terminal", tmp_path_factory.mktemp("shell")) as screen:
        yield screen


@pytest.fixture
def screen(one_shell: Screen, one_server: str) -> Screen:
    """A shell that others have used before, with an empty screen."""
    one_shell.type(CTRL_C + "pwd" + ENTER)
    one_shell.until(lambda it: it.prompt == f"{one_server}/terminal />" and "status" not in it.text)
    one_shell.type(CTRL_L)
    one_shell.until(lambda it: it.lines[0] == it.prompt == f"{one_server}/terminal />")
    return one_shell


def make(hosts: str, *paths: str, data: bytes = b"") -> None:
    async def story() -> None:
        async with zabpy.connect(hosts) as zk:
            for path in paths:
                await zk.create(path, data, parents=True)

    anyio.run(story, backend="trio")
