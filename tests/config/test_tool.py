"""``zabpy config`` on a real server: what it prints, what it ends with, and what programs under it are given.

``ZABPY_TESTED_ON=Apache`` runs the same on Apache's server.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import click
import pytest

from zabpy.config import Keyring, Secrets, key_line

from .tool import NAMESPACE, Committed, Zabpy, on


def test_get_shows_what_layers_make_and_masks_secrets(config: Zabpy, committed: Committed, tmp_path: Path) -> None:
    line = key_line("k1")
    (tmp_path / "keys").write_text(line)
    (tmp_path / "keys").chmod(0o600)
    sealed = Secrets(Keyring.parse(line, ""), NAMESPACE).conceal("default", "db.url", "pg://me:hunter2@db")
    committed({"db.host": "db1", "db.json": '{"port": 5432}', "db.url": sealed})
    committed({"db.host": "db2"}, "env.prod")

    assert config("get", "db.host") == (0, "db1\n", "")
    assert config("get", "db.host", layers=("env.prod",)).out == "db2\n"
    assert config("get", "db.port", format="raw").out == "5432\n"
    assert config("get", layers=("env.prod",)).out.splitlines() == [
        "KEY      VALUE  LAYER",
        "db.host  db2    env.prod",
        "db.port  5432   default",
        "db.url   ***    default",
    ]
    rows = json.loads(config("get", "db", format="json").out)
    assert rows[1] == {"key": "db.port", "value": 5432, "layer": "default", "secret": False}
    assert config("get", "db.url").out == "***\n"
    keys = f"file:{tmp_path / 'keys'}"
    assert config("get", "db.url", "--reveal", keys=keys).out == "pg://me:hunter2@db\n"
    assert config("get", "db.url", "--reveal").status == 2
    assert config("get", "nothing").status == 1
    (tmp_path / "keys").chmod(0o644)
    told = config("get", "db.url", "--reveal", keys=keys)
    assert told.status == 8 and "chmod 600" in told.err


def test_a_place_that_is_no_namespace_is_said_to_be_none(config: Zabpy) -> None:
    told = config("get")
    assert told.status == 1 and "no config store" in told.err


def test_explain_shows_every_layer(config: Zabpy, committed: Committed) -> None:
    committed({"db.host": "db1"})
    committed({"db.json": '{"host": "db2"}'}, "env.prod")

    rows = json.loads(config("explain", "db", format="json").out)
    assert [(row["layer"], row["value"], row["wins"], row["of"]) for row in rows] == [
        ("default", "'db1'", False, "db.host"),
        ("env.prod", "'db2'", True, "db.json"),
    ]
    assert config("explain", "nothing").status == 1


def test_validate_names_what_does_not_fit(config: Zabpy, committed: Committed, hosts: str, tmp_path: Path) -> None:
    committed({"db.port": "x", "web.yaml": "a: 1\nport: [\n"})
    told = config("validate")
    assert told.status == 1 and "there is no schema" in told.err and "line 3" in told.out

    schema = {"properties": {"db": {"properties": {"port": {"type": "integer"}}}}}
    committed({"web.yaml": None})
    on(hosts, lambda zk: zk.create(f"{NAMESPACE}/.schema", json.dumps(schema).encode()))
    assert config("validate") == (1, "db.port (layer default) = 'x': expected integer\n", "")
    [row] = json.loads(config("validate", format="json").out)
    assert (row["key"], row["layer"], row["reason"]) == ("db.port", "default", "expected integer")
    (tmp_path / "values.env").write_text("db.port=5\n")
    assert config("validate", str(tmp_path)) == (0, "", "")
    (tmp_path / ".schema.json").write_text("{")
    told = config("validate", str(tmp_path))
    assert told.status == 8 and "no JSON" in told.err


def test_export_writes_what_differs(config: Zabpy, committed: Committed, tmp_path: Path) -> None:
    committed({"db.host": "db1", "web.yaml": "a: 1\n"})
    committed({"db.host": "db2"}, "env.prod")
    target = tmp_path / "out"

    assert config("export", str(target), "--dry-run").out.count("create") == 3
    assert not target.exists()
    assert config("export", str(target)).status == 0
    assert (target / "env.prod/values.env").read_text() == "db.host=db2\n"
    told = config("export", str(target), format="json")
    assert json.loads(told.out) == [] and "nothing was done" in told.err


def test_render_once_makes_files_and_says_what_is_missing(config: Zabpy, committed: Committed, tmp_path: Path) -> None:
    committed({"greeting": "hello"})
    (tmp_path / "a.j2").write_text("{{ greeting }}, {{ name }}!\n")
    words = ("render", "--once", "--template", str(tmp_path / "a.j2"), str(tmp_path / "a"))

    told = config(*words)
    assert told.status == 7 and "no setting: name (line 1)" in told.err and not (tmp_path / "a").exists()
    committed({"name": "you"})
    assert config(*words).status == 0
    assert (tmp_path / "a").read_text() == "hello, you!\n"
    assert config("render").status == 2
    assert config("render", str(tmp_path / "gone.toml")).status == 8


def test_a_verb_that_is_none_is_refused(config: Zabpy) -> None:
    with pytest.raises(click.UsageError, match=r"reveal: no such verb"):
        config("reveal")
    with pytest.raises(click.UsageError, match=r"Did you mean render"):
        config("rendr")


# As a program ---------------------------------------------------------------------------------------------------------


def program(hosts: str, *words: str, **environ: str) -> "subprocess.Popen[str]":
    arguments = [sys.executable, "-c", "from shell.config_tool import main; main()", "-s", hosts, "-n", NAMESPACE]
    return subprocess.Popen(
        [*arguments, *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environ},
        start_new_session=True,
    )


def test_help_of_a_verb_shows_how_it_is_called() -> None:
    out, err = program("127.0.0.1:1", "get", "--help").communicate(timeout=30)
    assert out.startswith("Usage: zabpy config get [OPTIONS] [KEY]\n") and err == ""


def until(condition: Callable[[], bool]) -> None:
    for _ in range(1000):
        if condition():
            return
        time.sleep(0.01)
    pytest.fail("not within 10 s")


def test_run_gives_a_command_its_environment_and_restarts_it_when_that_changes(
    hosts: str, committed: Committed, tmp_path: Path
) -> None:
    committed({"db.host": "db1", "web.json": '{"workers": 3}'})
    log = tmp_path / "log"
    script = f'echo "$APP__DB__HOST $APP__WEB__WORKERS" >> {log}; test "$APP__DB__HOST" = db3 && exit 7; exec sleep 60'
    zabpy = program(hosts, "run", "--prefix", "app", "--wait", "10ms", "--", "sh", "-c", script)
    try:
        until(lambda: log.exists() and log.read_text() == "db1 3\n")
        committed({"other": "x"})  # another environment, too
        until(lambda: log.read_text() == "db1 3\ndb1 3\n")
        committed({"web.json": "{"})  # which cannot be
        committed({"web.json": '{"workers": 3}'})  # and is what it was
        committed({"db.host": "db3"})
        _, err = zabpy.communicate(timeout=20)
    finally:
        zabpy.kill()
        zabpy.wait()
    assert zabpy.returncode == 7, err
    assert log.read_text() == "db1 3\ndb1 3\ndb3 3\n"
    assert "the command is restarted" in err


def test_run_sends_a_signal_passes_others_on_and_ends_with_its_command(
    hosts: str, committed: Committed, tmp_path: Path
) -> None:
    committed({"a": "1"})
    log = tmp_path / "log"
    log.touch()
    script = f"trap 'echo hup >> {log}' HUP; trap 'echo term >> {log}; exit 3' TERM; echo up >> {log}"
    script += "; while :; do sleep 0.01; done"
    zabpy = program(hosts, "run", "--on-change", "signal", "--wait", "10ms", "--", "sh", "-c", script)
    try:
        until(lambda: log.read_text() == "up\n")
        committed({"a": "2"})
        until(lambda: log.read_text() == "up\nhup\n")
        zabpy.send_signal(signal.SIGTERM)
        _, err = zabpy.communicate(timeout=20)
    finally:
        zabpy.kill()
        zabpy.wait()
    assert zabpy.returncode == 3, err
    assert log.read_text() == "up\nhup\nterm\n"


def test_a_command_that_is_not_there_and_servers_that_are_away_have_statuses(hosts: str, committed: Committed) -> None:
    committed({"a": "1"})
    zabpy = program(hosts, "run", "--", "no-such-program")
    _, err = zabpy.communicate(timeout=20)
    assert zabpy.returncode == 127 and "no-such-program: No such file" in err
    zabpy = program("127.0.0.1:1", "get", ZABPY_TIMEOUT="200ms")
    _, err = zabpy.communicate(timeout=20)
    assert zabpy.returncode == 5 and err
