"""What is asked of `zabpy` wrongly is one line and an exit status that is not 0, and nothing is written."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


def zabpy(*arguments: str, cwd: Path) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-m", "zabpy", *arguments], cwd=cwd, capture_output=True, text=True, timeout=60, check=False
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    ("arguments", "status", "line"),
    [
        (["serve"], 2, "zabpy: Missing argument 'CONFIG'. Try 'zabpy serve --help'.\n"),
        (
            ["serve", "no.cfg"],
            2,
            "zabpy: no.cfg: No such file or directory: expected a readable file of lines key=value\n",
        ),
        (["serve", "--fast", "no.cfg"], 2, "zabpy: No such option '--fast'. Try 'zabpy serve --help'.\n"),
        (["surf"], 2, "zabpy: No such command 'surf'. Try 'zabpy --help'.\n"),
        (["dev", "--dir", "a file"], 1, "zabpy: --dir a file: Not a directory: expected a directory\n"),
    ],
)
def test_a_mistake_is_one_line(tmp_path: Path, arguments: list[str], status: int, line: str) -> None:
    (tmp_path / "a file").touch()
    assert zabpy(*arguments, cwd=tmp_path) == (status, "", line)
    assert os.listdir(tmp_path) == ["a file"]


def test_a_config_with_a_wrong_value_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "zoo.cfg").write_text("dataDir=data\nclientPort=2181\ntickTime=soon\n")
    assert zabpy("serve", "zoo.cfg", cwd=tmp_path) == (
        2,
        "",
        "zabpy: zoo.cfg:3: tickTime=soon: expected a whole number of milliseconds, 1 or more\n",
    )
    assert os.listdir(tmp_path) == ["zoo.cfg"]


def test_a_port_in_use_is_one_line_and_nothing_is_written(tmp_path: Path) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        (tmp_path / "zoo.cfg").write_text(f"dataDir=data\nclientPort={port}\nclientPortAddress=127.0.0.1\n")
        status, out, lines = zabpy("serve", "zoo.cfg", cwd=tmp_path)
    assert (status, out, lines.count("\n")) == (1, "", 1)
    assert str(port) in lines
    assert os.listdir(tmp_path) == ["zoo.cfg"]


def test_help_names_every_command(tmp_path: Path) -> None:
    status, text, _ = zabpy(cwd=tmp_path)
    assert status == 0
    assert all(f"  {name} " in text for name in ("bench", "dev", "serve", "simulate", "status"))
