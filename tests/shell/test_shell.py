"""A line is run: statements, patterns, pipes, statuses."""

from pathlib import Path

from .conftest import Run


def test_paths_and_patterns(zabsh: Run) -> None:
    assert zabsh("pwd; cd ..; pwd").lines == ["/", "/"]
    told = zabsh("cd /nope || pwd; ls /nope; ls /x*")
    assert (told.status, told.out) == (1, "/\n")
    assert told.err == "cd: /nope: no such znode\nls: /nope: no such znode\nls: /x*: no znode matches\n"


def test_what_is_typed_wrong_is_said_with_the_usage(zabsh: Run) -> None:
    assert zabsh("lss") == (2, "", "lss: no such command; did you mean ls?\n")
    assert zabsh("ls --zzz") == (2, "", "ls: No such option '--zzz'\nusage: ls [OPTIONS] [PATHS]...\n")
    assert zabsh("ls 'x") == (2, "", "the ' at column 4 does not end (column 4)\n")


def test_pipes_and_files(zabsh: Run, tmp_path: Path) -> None:
    told = zabsh(f"pwd > '{tmp_path}/out'; pwd >> '{tmp_path}/out'; pwd | cat >> '{tmp_path}/out'; pwd | exit 3")
    assert (told.status, told.out, told.err) == (3, "", "")
    assert (tmp_path / "out").read_text() == "/\n/\n/\n"


def test_exit_ends_all(zabsh: Run) -> None:
    assert zabsh("exit 7; pwd", "pwd") == (7, "", "")
