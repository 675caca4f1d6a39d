"""The verbs of ``zabpy config`` that commit, on a real server; ``ZABPY_TESTED_ON=Apache``: on Apache's."""

import io
import json
import stat
import sys
from pathlib import Path

import click
import pytest

from shell.config_commits import AUTHOR
from shell.settings import Rules
from zabpy.client import Client
from zabpy.config import Keyring, Secrets, Store, key_line

from .tool import NAMESPACE, Zabpy, on

YES = Rules(yes=True)


@pytest.fixture(autouse=True)
def author(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(AUTHOR, "ann")


@pytest.fixture
def keys(tmp_path: Path) -> str:
    (tmp_path / "keys").write_text(key_line("k1"))
    (tmp_path / "keys").chmod(0o600)
    return f"file:{tmp_path / 'keys'}"


def stdin(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))


def test_values_are_set_and_unset_each_time_by_one_commit(config: Zabpy) -> None:
    assert config("init") == (0, f"{NAMESPACE}: a config store at 0\n", "")
    assert config("set", "db.host=db1", "db.url=a=b", "-m", "first").out == "revision 1\n"
    assert config("set", "db.host=db2", "--in", "env.prod").out == "revision 2\n"
    assert config("set", "db.host=db1") == (0, "nothing to change; revision 2\n", "")
    assert config("get", "db.url").out == "a=b\n"
    assert config("get", "db.host", layers=("env.prod",)).out == "db2\n"
    assert config("unset", "db.host", "nothing") == (
        1,
        "",
        "unset: nothing: the layer default has no such key; nothing was done\n",
    )
    assert json.loads(config("unset", "db.host", format="json").out) == {"revision": 3, "changed": True}
    assert config("diff").out == "- db.host = db1\n"
    assert config("diff", "-3", "2").out == "+ db.host (layer env.prod) = db2\n"
    assert config("diff", "3", "3") == (0, "", "")
    rows = json.loads(config("log", format="json").out)
    assert [(row["revision"], row["author"], row["message"], row["kind"]) for row in rows] == [
        (3, "ann", "", "commit"),
        (2, "ann", "", "commit"),
        (1, "ann", "first", "commit"),
    ]
    assert rows[2]["keys"] == [{"layer": "default", "key": key} for key in ("db.host", "db.url")]
    assert "db.host (layer env.prod)" in config("log", "-c", "2").out


def test_what_cannot_be_set_is_refused_and_nothing_is_done(config: Zabpy) -> None:
    assert config("set", "a=1").status == 1  # no namespace yet
    config("init")
    config("set", "a=1")
    for words, status, why in (
        (("set", "a"), 2, "expected KEY=VALUE"),
        (("set", "a=1", "a=2"), 2, "a is named twice"),
        (("set", "A=1"), 2, "names are of a-z"),
        (("set", "a=1", "--in", "../x"), 2, "names are of a-z"),
        (("set", "a", "b", "--file", "x"), 2, "takes one KEY"),
        (("set", "a", "--file", "/nothing/there"), 8, "/nothing/there: No such file"),
        (("set", "a=2", "--secret"), 8, "there is no key to encrypt it with"),
        (("set", "a=2", "--base", "0"), 3, "made for revision 0, but it is at 1"),
        (("set", "a=2", "--base", "0", "--rebase"), 3, "changed since revision 0, by others: a"),
        (("set", "web.json={"), 1, "web.json (layer default)"),
        (("rollback", "7"), 1, "7"),
        (("promote",), 3, "staged rollout"),
        (("withdraw",), 3, "staged rollout"),
        (("canary", "a=2"), 2, "for whom?"),
        (("canary", "a=2", "--label", "x"), 2, "expected NAME=VALUE"),
        (("rotate",), 2, "needs --keys"),
        (("commit", "/nothing/there"), 8, "/nothing/there: No such file"),
        (("schema", "x", "--remove"), 2, "takes no FILE"),
        (("import", "/nothing/there"), 8, "/nothing/there: no such folder"),
    ):
        told = config(*words)
        assert (told.status, told.out) == (status, "") and why in told.err, (words, told)
    with pytest.raises(click.UsageError, match="not a valid integer"):
        config("rollback", "x")
    assert config("set", "a=1", "b=2", "--base", "0", "--rebase").status == 3
    assert config("set", "b=2", "--base", "0", "--rebase").out == "revision 2\n"
    assert config("log", "-c", "1", format="json").out.count('"revision"') == 1
    read_only = Rules(read_only=True)
    for words in (
        ("set", "a=3"),
        ("unset", "a"),
        ("rollback", "1"),
        ("edit",),
        ("init",),
        ("canary", "a=3", "--host", "x"),
    ):
        told = config(*words, rules=read_only)
        assert told.status == 4 and "allows no commits" in told.err, words
    assert config("set", "a=3", rules=Rules(forbid=frozenset({"set"}), name="prod")).status == 4
    assert config("set", "a=3", "-n", rules=read_only) == (0, "~ a: 1 -> 3\n", "")
    assert config("get", "a").out == "1\n"


def test_values_come_from_files_and_stdin(config: Zabpy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config("init")
    (tmp_path / "motd").write_text("hello\n")
    (tmp_path / "web.yaml").write_text("port: 80\n")
    config("set", "motd", "--file", str(tmp_path / "motd"))
    config("set", "web.yaml", "--file", str(tmp_path / "web.yaml"))
    assert config("get", "motd", format="raw").out == "hello\n" and config("get", "web.port").out == "80\n"
    stdin(monkeypatch, b"from stdin")
    config("set", "motd", "--file", "-")
    assert config("get", "motd").out == "from stdin\n"

    text = "default:\n  motd: null\n  on: true\n  db.json: {port: 1}\nenv.prod:\n  motd: x\n"
    stdin(monkeypatch, text.encode())
    assert config("commit", "-", "-n").out.splitlines() == [
        "+ db.json",
        "    @@ -0,0 +1,3 @@",
        "    +{",
        '    +  "port": 1',
        "    +}",
        "- motd = from stdin",
        "+ on = true",
        "+ motd (layer env.prod) = x",
    ]
    stdin(monkeypatch, text.encode())
    assert config("commit", "-").out == "revision 4\n"
    assert config("get", "db.port").out == "1\n"
    for wrong, why in (
        ("- 1", "expected a mapping"),
        ("default: x", "expected a mapping"),
        ("default: {a: [1]}", "only a document's key takes that, such as a.json"),
        ("default:\n  a: [\n", "line 3"),
    ):
        (tmp_path / "wrong").write_text(wrong)
        told = config("commit", str(tmp_path / "wrong"))
        assert told.status == 2 and why in told.err, told


def test_a_folder_is_imported_once_it_was_looked_at(config: Zabpy, tmp_path: Path, keys: str) -> None:
    config("init")
    config("set", "db.host=db1", "old=x")
    source = tmp_path / "settings"
    (source / "env.prod").mkdir(parents=True)
    (source / "values.env").write_text("db.host=db2\ndb.password=hunter2\n")
    (source / "web.yaml").write_text("port: 80\n")
    (source / "env.prod" / "values.env").write_text("db.host=db7\n")
    (source / ".schema.json").write_text('{"properties": {"db": {"properties": {"port": {"type": "integer"}}}}}')
    words = ("import", str(source), "--secret", "*.password", "--prune")

    plan = config(*words, "-n", keys=keys)
    assert plan.status == 0 and "the schema changes, too" in plan.err
    assert plan.out.splitlines() == [
        "~ db.host: db1 -> db2",
        "+ db.password = ***",
        "- old = x",
        "+ web.yaml = port: 80",
        "+ db.host (layer env.prod) = db7",
    ]
    told = config(*words, keys=keys)
    assert told.status == 4 and "commit 5 values, 1 of them deleted? There is nobody to ask: say --yes" in told.err
    assert config("get", "old").out == "x\n"
    assert config(*words, keys=keys, rules=YES).out.endswith("\nrevision 2\n")
    assert config(*words, keys=keys, rules=YES).out == "nothing to change; revision 2\n"
    assert config("get", "db.password").out == "***\n"
    assert config("get", "db.password", "--reveal", keys=keys).out == "hunter2\n"
    assert "hunter2" not in config("log").out + config("diff").out + config("diff", format="json").out

    (source / "values.env").write_text("db.port=x\n")
    refused = config(*words, keys=keys, rules=YES)
    assert refused.status == 1 and "it would be refused:" in refused.err and "expected integer" in refused.err
    assert config("log", "-c", "1").out.splitlines()[1].split()[0] == "2"


def test_a_rollback_is_a_new_commit(config: Zabpy) -> None:
    config("init")
    for value in ("1", "2", "3"):
        config("set", f"a={value}")
    assert config("rollback", "-2", "-n").out == "~ a: 3 -> 2\n"
    assert config("rollback", "1", "-m", "back").out == "revision 4\n"
    assert config("get", "a").out == "1\n"
    [row] = json.loads(config("log", "-c", "1", format="json").out)
    assert (row["kind"], row["of"], row["message"]) == ("rollback", 1, "back")


def test_a_schema_is_asked_before_a_commit(config: Zabpy, tmp_path: Path) -> None:
    config("init")
    config("set", "db.port=x")
    schema = tmp_path / "schema.json"
    schema.write_text('{"properties": {"db": {"properties": {"port": {"type": "integer"}}}}}')
    assert config("schema").status == 1
    told = config("schema", str(schema))
    assert told.status == 1 and "db.port (layer default) = 'x': expected integer" in told.err
    config("set", "db.port=5432")
    assert config("schema", str(schema)).out == "revision 3\n"
    assert config("schema").out == schema.read_text() + "\n"
    told = config("set", "db.port=y")
    assert told.status == 1 and "expected integer" in told.err
    assert config("schema", "--remove").out == "revision 4\n"
    assert config("set", "db.port=y").status == 0
    assert "the schema" in config("log").out


def test_a_rollout_in_stages(config: Zabpy) -> None:
    config("init")
    config("set", "a=1", "b=1")
    assert config("canary") == (1, "", "canary: none is under way\n")
    assert config("canary", "a=2", "--unset", "b", "--host", "web1", "--percent", "10").out == "revision 2\n"
    assert config("canary") == (0, "~ a: 1 -> 2\n- b = 1\n", "since revision 2, for web1 or 10 %:\n")
    assert config("get", "a").out == "1\n"
    assert config("canary", "a=3", "--host", "x").status == 3
    config("canary", "--label", "zone=a")
    assert "for zone=a:" in config("canary").err
    config("set", "a=5")
    told = config("promote")
    assert told.status == 3 and "by others: a" in told.err
    assert config("withdraw").status == 0
    config("canary", "a=6", "--percent", "50")
    assert config("promote").status == 0 and config("get", "a").out == "6\n"


def test_secrets_are_sealed_and_sealed_anew(config: Zabpy, keys: str, tmp_path: Path) -> None:
    config("init")
    config("set", "db.url=pg://hunter2", "--secret", keys=keys)
    assert config("set", "db.url=pg://hunter2", "--secret", keys=keys).out == "nothing to change; revision 1\n"
    (tmp_path / "keys").write_text(key_line("k2") + (tmp_path / "keys").read_text())
    assert config("rotate", "-n", keys=keys).out == "~ db.url: *** -> ***\n"
    assert config("rotate", keys=keys).out == "revision 2\n"
    assert config("rotate", keys=keys).out == "nothing to change; revision 2\n"
    assert config("get", "db.url", "--reveal", keys=keys).out == "pg://hunter2\n"


def test_what_hands_have_done_is_found_and_a_head_is_made_anew(config: Zabpy, hosts: str) -> None:
    config("init")
    config("set", "a=1")
    assert config("verify") == (0, "", "")
    on(hosts, lambda zk: zk.set(f"{NAMESPACE}/.head", b"rubbish"))
    assert config("verify").status != 0
    assert config("repair").status == 4  # nobody to ask
    assert config("repair", rules=YES).status == 0
    assert config("get", "a").out == "1\n" and config("verify").status == 0


# In an editor ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def editor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A script that is the editor: its lines are run with the file as $1, the first time and every time."""
    script = tmp_path / "editor"
    script.write_text("#!/bin/sh\n")
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("VISUAL", str(script))
    return script


def test_plain_values_of_a_layer_are_edited_as_lines(config: Zabpy, editor: Path) -> None:
    config("init")
    config("set", "a=1", "b=two words", 'web.json={"x": 1}')
    assert config("edit").err == "unchanged; nothing was committed\n"
    editor.write_text("#!/bin/sh\nsed -i -e 's/a=1/a=9/' -e '/^b=/d' \"$1\"; echo 'c=\"x y\"' >> \"$1\"\n")
    assert config("edit", "-m", "by hand").out == "revision 2\n"
    assert config("diff").out == "~ a: 1 -> 9\n- b = two words\n+ c = x y\n"
    editor.write_text("#!/bin/sh\necho 'port = 1' > \"$1\"\n")
    told = config("edit", "--in", "env.prod")
    assert told.status == 0 and config("get", "port", layers=("env.prod",)).out == "1\n"


def test_a_document_is_edited_as_one(config: Zabpy, editor: Path) -> None:
    config("init")
    config("set", "web.json={}")
    editor.write_text('#!/bin/sh\ncase "$1" in *.json) echo \'{"x": 2}\' > "$1";; esac\n')
    assert config("edit", "web.json").out == "revision 2\n"
    assert config("get", "web.x").out == "2\n"
    editor.write_text("#!/bin/sh\necho '{' > \"$1\"\n")
    told = config("edit", "web.json")
    assert told.status == 2 and "web.json (layer default)" in told.err and "What was typed is in" in told.err
    kept = Path(told.err.strip().rpartition(" ")[2])
    assert kept.read_text() == "{\n"
    kept.unlink()
    editor.write_text("#!/bin/sh\necho 'no line' > \"$1\"\n")
    told = config("edit")
    assert told.status == 2 and "line :1: expected key=value" in told.err
    Path(told.err.strip().rpartition(" ")[2]).unlink()


def test_a_secret_is_edited_as_what_it_means(config: Zabpy, editor: Path, keys: str) -> None:
    config("init")
    config("set", "db.url=hunter2", "--secret", keys=keys)
    editor.write_text('#!/bin/sh\nsed -i s/hunter2/hunter3/ "$1"\n')
    assert config("edit", "db.url", keys=keys).out == "revision 2\n"
    assert config("get", "db.url", "--reveal", keys=keys).out == "hunter3\n"


def test_who_edits_what_others_change_meanwhile_is_told(config: Zabpy, editor: Path, hosts: str) -> None:
    config("init")
    config("set", "a=1", "b=1")
    other = editor.parent / "other.py"
    other.write_text(
        "import anyio, sys\n"
        "from zabpy.client import Client\n"
        "from zabpy.config import Store\n"
        "async def main():\n"
        f"    async with Client({hosts!r}) as zk:\n"
        f"        await Store(zk, {NAMESPACE!r}).commit({{sys.argv[1]: sys.argv[2]}})\n"
        "anyio.run(main)\n"
    )
    editor.write_text(f'#!/bin/sh\n{sys.executable} {other} b 7\nsed -i s/a=1/a=2/ "$1"\n')
    assert config("edit").out == "revision 3\n"  # others changed another key: both stand
    assert config("get", "b").out == "7\n" and config("get", "a").out == "2\n"
    editor.write_text(f'#!/bin/sh\n{sys.executable} {other} a 8\nsed -i s/a=2/a=3/ "$1"\n')
    told = config("edit")
    assert told.status == 3 and "changed since revision 3, by others: a" in told.err
    assert "-a=2" in told.out and "+a=8" in told.out
    Path(told.err.strip().rpartition(" ")[2]).unlink()
    assert config("get", "a").out == "8\n"


def test_the_layers_of_a_store_of_python_are_the_tools(config: Zabpy, hosts: str) -> None:
    async def story(zk: Client) -> None:
        store = Store(zk, NAMESPACE, secrets=Secrets(Keyring.parse(key_line("k"), ""), NAMESPACE))
        await store.create()
        await store.commit({("env.prod", "a"): "1"}, author="bob")

    on(hosts, story)
    assert "bob" in config("log").out
    assert config("get", "a", layers=("env.prod",)).out == "1\n"
