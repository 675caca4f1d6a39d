"""Completion in bash, zsh and fish: by running them, where they are installed."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from shell.completing import complete, script_for
from shell.main import zabsh as program

from .conftest import Run

BIN = str(Path(sys.executable).parent)


@pytest.fixture(autouse=True)
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hosts: str) -> None:
    (tmp_path / "shell.toml").write_text(f"[profile.prod]\nservers = '{hosts}'\n[profile.preview]\nservers = 'b'\n")
    monkeypatch.setenv("ZABPY_SHELL_CONFIG", str(tmp_path / "shell.toml"))
    monkeypatch.setenv("PATH", BIN + os.pathsep + os.environ["PATH"])


def offered(capsys: pytest.CaptureFixture[str], *words: str) -> list[str]:
    complete(program, words)
    return [line.partition("\t")[0] for line in capsys.readouterr().out.splitlines()]


def test_options_profiles_and_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert offered(capsys, "--out") == ["--output"]
    assert offered(capsys, "--output", "") == ["table", "json", "ndjson", "yaml", "raw"]
    assert {"prod", "preview", "profiles"} <= set(offered(capsys, "pr"))
    assert offered(capsys, "-p", "pr") == ["preview", "prod"]
    assert offered(capsys, "prod", "pro") == ["profiles"]
    assert offered(capsys, "-f", "") == [":files"]
    assert offered(capsys, "--nope", "x") == [] == offered(capsys, "nope", "")


def test_flags_and_paths_of_a_command(capsys: pytest.CaptureFixture[str], zabsh: Run) -> None:
    zabsh("create /abc; create /abd; create /abc/x")
    assert "--output" in offered(capsys, "prod", "rm", "--")
    assert "--recursive" in offered(capsys, "rm", "--rec")
    assert offered(capsys, "ls", "--output", "js") == ["json"]
    assert offered(capsys, "prod", "ls", "/ab") == ["/abc", "/abd"]
    assert offered(capsys, "prod", "ls", "/abc", "/abc/") == ["/abc/x"]
    assert offered(capsys, "-p", "preview", "ls", "/") == []  # nobody is there


@pytest.mark.parametrize(
    ("name", "typed"),
    [
        ("zabsh", {"zabsh -o json prof": "profiles", "zabsh --server 127.0.0.1:1": ""}),
        ("zabpy shell", {"zabpy se": "serve", "zabpy shell --output ya": "yaml"}),
    ],
)
def test_bash(name: str, typed: dict[str, str]) -> None:
    script = (
        f"{script_for('bash', name)}\ncomplete -p {name.split()[0]} >/dev/null || exit 9\n"
        f'for COMP_LINE; do COMP_POINT=${{#COMP_LINE}}; _{name.replace(" ", "_")}; echo "${{COMPREPLY[@]}}"; done'
    )
    done = subprocess.run(["bash", "-c", script, "bash", *typed], capture_output=True, text=True, timeout=60)
    assert (done.stdout.splitlines(), done.stderr) == (list(typed.values()), "")


def test_the_scripts_are_printed() -> None:
    done = subprocess.run(["zabsh", "--completion", "bash"], capture_output=True, text=True, check=True)
    assert done.stdout == script_for("bash", "zabsh")


@pytest.mark.skipif(not shutil.which("zsh"), reason="no zsh")
def test_zsh() -> None:
    script = (
        "compdef() { }; _describe() { print -l -- ${(P)2} }; source <(zabsh --completion zsh); "
        'words=(zabsh --output ""); CURRENT=3; _zabsh; words=(zabsh prof); CURRENT=2; _zabsh'
    )
    done = subprocess.run(["zsh", "-fc", script], capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines() == [
        *(f"{each}:{each}" for each in ("table", "json", "ndjson", "yaml", "raw")),
        "profiles:The clusters of shell.toml, for connect.",
    ], done


@pytest.mark.skipif(not shutil.which("fish"), reason="no fish")
def test_fish() -> None:
    script = "zabsh --completion fish | source; complete -C 'zabsh --output '; complete -C 'zabsh prof'"
    done = subprocess.run(["fish", "-Nc", script], capture_output=True, text=True, timeout=60)
    assert done.stdout.split("\n")[:6] == [
        "json",
        "ndjson",
        "raw",
        "table",
        "yaml",
        "profiles\tThe clusters of shell.toml, for connect.",
    ], done


@pytest.mark.parametrize("name", ["zabsh", "zabpy shell"])
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_scripts_are_whole(shell: str, name: str) -> None:
    text = script_for(shell, name)
    assert name in text and not any(
        mark in text for mark in ("FUNCTION", "PROGRAM", "NAME", "SKIP", "CHECK", "SUBCOMMANDS")
    )
    if shutil.which(shell):
        assert subprocess.run([shell, "-n"], input=text, text=True, capture_output=True).stderr == ""
