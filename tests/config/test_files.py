"""A folder becomes a namespace and a namespace a folder, byte by byte; what is wrong in it is named with its line."""

from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from zabpy.config.files import (
    BadFilesError,
    Step,
    files_of,
    read_folder,
    steps,
    write_folder,
)

KEYS = st.from_regex(r"[a-z0-9][a-z0-9._-]{0,20}", fullmatch=True).filter(
    lambda key: not key.endswith((".json", ".yaml", ".toml", ".yml"))
)
ENTRIES = st.dictionaries(
    st.tuples(st.sampled_from(["default", "env.prod", "host.web1"]), KEYS),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20).map(str.encode),
    max_size=8,
)


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def test_a_folder_is_read(tmp_path: Path) -> None:
    write(
        tmp_path,
        **{
            "values.env": "# the database\ndb.host=db1\nexport DB__PORT = 5432  # its port\n\nempty=\n",
            "more.env": "none= # nothing\nurl=a#b\r\n"
            'text="a\\n\\"b\\" \\\\ #no" # a remark\nraw=\'a\\n $x\'\nodd-key=a=b\nred=#fff\n',
            "db.yaml": "pool: 5\n",
            "cache.yml": "{}\n",
            "env.prod/values.env": "db.host=db2\npassword=!enc 1:k1:abc\n",
            "env.prod/tls.toml": "on = true\n",
            ".schema.json": "{}",
            ".git/config": "x",
            "README.md": "x",
        },
    )
    found = read_folder(tmp_path)

    assert found.schema == b"{}"
    assert {f"{layer} {key}": value.decode() for (layer, key), value in found.entries.items()} == {
        "default db.host": "db1",
        "default db.port": "5432",
        "default empty": "",
        "default text": 'a\n"b" \\ #no',
        "default raw": "a\\n $x",
        "default odd-key": "a=b",
        "default red": "#fff",
        "default none": "",
        "default url": "a#b",
        "default db.yaml": "pool: 5\n",
        "default cache.yaml": "{}\n",
        "env.prod db.host": "db2",
        "env.prod password": "!enc 1:k1:abc",
        "env.prod tls.toml": "on = true\n",
    }
    assert found.where["default", "db.port"] == f"{tmp_path}/values.env:3"


def test_all_that_is_wrong_is_named_with_its_line(tmp_path: Path) -> None:
    write(
        tmp_path,
        **{
            "a.env": 'db.host=x\nnonsense\nBad-Key=1\nq="open\nr=\'a\' b\ns="\\q"\nx.json={}\n',
            "b.env": "db.host=y\n",
            "c.yaml": "a: [\n",
            "d.ymal": "a: 1\n",
            "Layer/x.env": "",
            "prod/deep/x.env": "",
        },
    )
    (tmp_path / "e.env").write_bytes(b"a=1\nb=\xff\n")
    with pytest.raises(BadFilesError) as caught:
        read_folder(tmp_path)

    found = [line.removeprefix(f"{tmp_path}/") for line in caught.value.problems]
    for begin, reason in (
        ("Layer: ", "no layer"),
        ("a.env:2: ", "expected key=value"),
        ("a.env:3: ", "'Bad-Key' cannot be a key"),
        ("a.env:4: ", "does not end in this line"),
        ("a.env:5: ", "stands more"),
        ("a.env:6: ", "\\q is not known"),
        ("a.env:7: ", "a file of its own"),
        ("b.env:1: ", "db.host stands in"),
        ("c.yaml: ", "line 2"),
        ("d.ymal: ", "not one of ours"),
        ("e.env:2: ", "no UTF-8"),
        ("prod/deep: ", "no folders"),
    ):
        assert [line for line in found if line.startswith(begin) and reason in line], (begin, found)
    assert len(found) == 12
    with pytest.raises(BadFilesError, match="no such folder"):
        read_folder(tmp_path / "gone")


@settings(max_examples=20, deadline=None)
@given(entries=ENTRIES)
def test_what_is_written_out_is_read_in_again(tmp_path_factory: pytest.TempPathFactory, entries: dict) -> None:  # type: ignore[type-arg]
    entries = {**entries, ("default", "doc.yaml"): b"a: 1 # kept\n"}
    folder = tmp_path_factory.mktemp("out")
    files = files_of(entries, b'{"type": "object"}')

    write_folder(folder, files)
    found = read_folder(folder)

    assert found.entries == entries and found.schema == b'{"type": "object"}'
    assert write_folder(folder, files, prune=True) == []
    assert steps(entries, found.entries, prune=True) == []


def test_steps_are_what_differs_and_nothing_goes_unless_that_is_said() -> None:
    now = {("default", "a"): b"1", ("default", "b"): b"2", ("prod", "c"): b"3"}
    wanted = {("default", "a"): b"1", ("default", "b"): b"9", ("test", "d"): b"4"}

    changed, created = Step("default", "b", b"2", b"9"), Step("test", "d", None, b"4")
    assert steps(now, wanted) == [changed, created]
    assert steps(now, wanted, prune=True) == [changed, Step("prod", "c", b"3", None), created]
    assert [each.what for each in steps(now, wanted, prune=True)] == ["change", "delete", "create"]


def test_an_export_deletes_only_what_is_ours_and_only_if_it_is_to(tmp_path: Path) -> None:
    write(tmp_path, **{"old.yaml": "a: 1\n", "README.md": "x", ".git/config": "x", "env.prod/values.env": "a=1\n"})
    files = files_of({("default", "a"): b"1"})

    assert write_folder(tmp_path, files, dry_run=True) == ["create values.env"]
    assert not (tmp_path / "values.env").exists()
    assert write_folder(tmp_path, files) == ["create values.env"]
    assert write_folder(tmp_path, files, prune=True) == ["delete env.prod/values.env", "delete old.yaml"]
    assert (tmp_path / "README.md").exists() and (tmp_path / ".git/config").exists()


def test_a_value_that_is_no_text_cannot_be_exported() -> None:
    with pytest.raises(BadFilesError, match=r"bad .layer prod.: it is no UTF-8"):
        files_of({("prod", "bad"): b"\xff"})
