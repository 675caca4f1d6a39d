"""Completion in bash, zsh and fish: by running them, where they are installed."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from shell.completing import SUBCOMMANDS, complete, complete_in_bash, script_for
from shell.main import zabsh as program
from zabpy.__main__ import commands

from .conftest import Run
from .screen import Screen

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


def test_what_bash_is_to_put_into_its_line(capsys: pytest.CaptureFixture[str], zabsh: Run) -> None:
    """Names come from anybody: what a shell would run, or take apart, is quoted as the line has it."""
    zabsh("create '/a b' x; create '/a b/c' x; create '/d$(rm x)' x; create /e:1 x; create \"/f'g\" x")

    def put(line: str) -> list[str]:
        complete_in_bash(program, ["1", " \t\n\"'@><=;|&(:", f"zabsh {line}"])
        return capsys.readouterr().out.splitlines()

    assert put("prod ls /a") == put("prod ls '/z' /a") == [":nospace", r"/a\ b"]
    assert put("prod ls '/a") == put('prod ls "/a') == [":nospace", "/a b"]
    assert put("prod ls '/f") == [":nospace", r"/f'\''g"] and put('prod ls "/f') == [":nospace", "/f'g"]
    assert put(r"prod ls /a\ b/") == put("prod ls '/a b'/")[:1] + [r"/a\ b/c"]
    assert put("prod ls '/a b'/") == [":nospace", "/c"]  # what is behind the quote is what bash replaces
    assert put("prod ls /d") == [":nospace", r"/d\$\(rm\ x\)"] and put('prod ls "/d') == [":nospace", r"/d\$(rm x)"]
    assert put("prod ls /e:") == [":nospace", "1"]
    assert put("-f ") == [":files"] and put("--output ra") == [":", "raw"]


TYPED = {
    r"zabsh prod ls /two": r"zabsh prod ls /two\ words",
    r"zabsh prod ls '/two w": r"zabsh prod ls '/two words",
    r"zabsh prod ls /two\ words/": r"zabsh prod ls /two\ words/sub",
    r"zabsh prod ls /q": r"zabsh prod ls /qu\'ote",
    r"zabsh prod tre": r"zabsh prod tree",
}
SETUP = {
    "bash": (["--norc", "--noprofile", "-i"], "PS1='> '; source <(zabsh --completion bash); echo ready"),
    "zsh": (
        ["-f", "-i"],
        "PS1='> '; autoload -Uz compinit && compinit -u -D; source <(zabsh --completion zsh); echo ready",
    ),
    "fish": (["-N", "-i"], "function fish_prompt; echo -n '> '; end; zabsh --completion fish | source; echo ready"),
}


@pytest.mark.parametrize("shell", SETUP)
def test_tab_in_a_real_shell(shell: str, zabsh: Run, tmp_path: Path) -> None:
    if not shutil.which(shell):
        pytest.skip(f"no {shell}")
    zabsh("create '/two words' x; create '/two words/sub' x; create \"/qu'ote\" x")
    arguments, setup = SETUP[shell]
    env = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path), "TERM": "xterm"}
    with Screen([shell, *arguments], env) as screen:
        screen.type(f"{setup}\r")
        # What is typed before the prompt is there may be echoed by the terminal in front of it.
        screen.until(lambda it: "\nready\n" in it.text and it.prompt == ">")
        for typed, completed in TYPED.items():
            screen.type(typed)
            screen.until(lambda it, typed=typed: it.prompt.endswith(typed))  # type: ignore[misc]
            screen.type("\t")
            screen.until(lambda it, completed=completed: f"> {completed}" in it.prompt)  # type: ignore[misc]
            screen.type("\x15")  # Ctrl-U
            screen.until(lambda it: it.prompt.endswith(">"))


def test_all_of_zabpys_commands_are_offered() -> None:
    assert SUBCOMMANDS.split() == sorted(commands().commands)


@pytest.mark.parametrize("name", ["zabsh", "zabpy shell"])
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_scripts_are_whole(shell: str, name: str) -> None:
    text = script_for(shell, name)
    assert name in text and not any(
        mark in text for mark in ("FUNCTION", "PROGRAM", "NAME", "SKIP", "CHECK", "SUBCOMMANDS")
    )
    assert SUBCOMMANDS in text or name == "zabsh"
    if shutil.which(shell):
        assert subprocess.run([shell, "-n"], input=text, text=True, capture_output=True).stderr == ""
