"""export and import: nothing is lost, a plan is right, bad files do no harm."""

import fcntl
import gzip
import json
import os
import tarfile
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
import pytest
from hypothesis import given, strategies as st

import zabpy
from shell import spool
from shell.archive import line_of, record_of
from shell.records import Record
from shell.settings import Rules
from shell.shell import Asker
from shell.stats import stat_fields
from shell.trees import TreeReader
from shell.values import data_fields, data_of
from zabpy.model import Acl, Stat

from .conftest import Run

YES = Rules(yes=True)
TREE = (
    "create /t top world:anyone:cdrwa",
    "create -c /t/container",
    "create -p '/t/a b/ü/%data' 'x y'",
    "create /t/binary --hex 00ff80",
    "create /t/acl '' world:anyone:cdra",
    "create /t/seq; create -s /t/seq/n-; create -s /t/seq/n-",
)


def tree(hosts: str, top: str) -> dict[str, tuple[bytes, object, int]]:
    """Paths below ``top``, with data, ACL and owner."""

    async def read() -> dict[str, tuple[bytes, object, int]]:
        found: dict[str, tuple[bytes, object, int]] = {}
        waiting = [top]
        async with zabpy.connect(hosts) as zk:
            while waiting:
                path = waiting.pop()
                data, stat = await zk.get(path)
                found[path[len(top) :]] = (data, (await zk.get_acl(path))[0], stat.ephemeral_owner)
                waiting += [f"{path}/{name}" for name in await zk.children(path)]
        return found

    return anyio.run(read)


@pytest.mark.parametrize("name", ["x.ndjson", "x.ndjson.gz", "x.tar", "x.tgz"])
def test_nothing_is_lost(zabsh: Run, hosts: str, tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    told = zabsh(*TREE, f"export /t {file}", f"import {file} /u", f"import {file} /u", f"import -n {file} /u")
    assert told.status == 0
    told_lines = told.err.splitlines()
    assert told_lines[0].startswith("10 znodes exported in ")
    assert told_lines[1:3] == ["10 created, 0 changed, 0 deleted, 0 the same"] + [
        "0 created, 0 changed, 0 deleted, 10 the same"
    ]
    assert tree(hosts, "/u") == tree(hosts, "/t")
    assert [each.name for each in tmp_path.iterdir()] == [name]


def test_an_export_is_lines_of_json(zabsh: Run, tmp_path: Path) -> None:
    told = zabsh("create -p /t/a '{}'", "export /t")
    begin, top, below, end = map(json.loads, told.out.splitlines()[1:])
    assert begin["zabpy_export"] == 1 and begin["path"] == "/t" and begin["zxid"].startswith("0x")
    assert (top["path"], top["data"], top["num_children"], below["path"], below["data"]) == ("/", "", 1, "/a", "{}")
    assert below["acl"] == "world:anyone:cdrwa" and below["kind"] == "persistent"
    assert end["end"] is True and end["znodes"] == 2 and end["denied"] == []
    told = zabsh(f"export --format ndjson.gz /t {tmp_path}/x", f"export --format tar.gz /t > {tmp_path}/y")
    assert len(gzip.decompress((tmp_path / "x").read_bytes()).splitlines()) == 4
    with tarfile.open(tmp_path / "y") as tar:
        assert tar.getnames() == ["export.json", "znodes", "znodes/%data", "znodes/a", "end.json"]


@given(st.text(), st.binary(max_size=20), st.builds(Stat, *[st.integers(-(2**63), 2**63 - 1)] * 11))
def test_a_line_is_what_json_would_write(name: str, data: bytes, stat: Stat) -> None:
    record = Record.of(f"/{name}", data, stat, (Acl(31, "world", 'any"one'),))
    expected = {"path": f"/{name}", **data_fields(data), "acl": 'world:any"one:cdrwa', **stat_fields(stat)}
    expected["kind"] = "ephemeral" if stat.ephemeral_owner else "persistent"
    assert json.loads(line_of(record)) == expected and list(json.loads(line_of(record))) == list(expected)


def test_a_line_is_read_as_it_was_written() -> None:
    for owner in (0, 0x1_0000_0001, 0xFFFF_0000_0000_0001):
        record = Record.of("/a", b"\xff", Stat(1, 2, 3, 4, 5, 6, 7, owner, 9, 0, 11), (Acl(1, "ip", "::1"),))
        fields = json.loads(line_of(record))
        read = record_of(fields, data_of(fields) or b"")
        record.stat = None
        assert read == record


def test_import_plans_and_mirrors(zabsh: Run, hosts: str, tmp_path: Path) -> None:
    file = tmp_path / "x.ndjson"
    told = zabsh(
        "create /t; create /t/same; create /t/old 1; create /t/gone; create /t/acl",
        f"export /t {file}",
        "set /t/old 2; rm /t/gone; create -p /t/new/below; acl /t/acl world:anyone:cdra",
        f"import -n --delete {file}",
        f"import --delete {file}",
        rules=YES,
    )
    assert told.lines[6:] == [
        "create  /t/gone",
        "acl     /t/acl",
        "set     /t/old",
        "delete  /t/new/below",
        "delete  /t/new",
    ]
    assert told.err.splitlines()[1:] == [
        "1 to create, 2 to change, 2 to delete, 2 the same, 0 ephemerals left out; nothing was done",
        "1 created, 2 changed, 2 deleted, 2 the same",
    ]
    assert sorted(tree(hosts, "/t")) == ["", "/acl", "/gone", "/old", "/same"]
    assert "There is nobody to ask" in zabsh("create /t/more", f"import --delete {file}").err


class Meddler(Asker):
    """Says yes, and before that others have changed something."""

    def __init__(self, hosts: str, change: Callable[[zabpy.Client], Awaitable[object]]) -> None:
        self._hosts, self._change = hosts, change

    async def confirm(self, question: str, must_type: str = "") -> bool:
        async with zabpy.connect(self._hosts) as zk:
            await self._change(zk)
        return True


@pytest.mark.parametrize(
    ("change", "said", "left"),
    [
        (
            lambda zk: zk.set("/t/new/below", b"precious"),
            "/t/new/below: was changed after it was looked at, so it was not deleted",
            ["", "/kept", "/new", "/new/below"],
        ),
        (
            lambda zk: zk.create("/t/new/below/more"),
            "/t/new/below: something was created below it, so it was not deleted",
            ["", "/kept", "/new", "/new/below", "/new/below/more"],
        ),
        (lambda zk: zk.delete("/t/new/below"), "", ["", "/kept"]),
    ],
    ids=["set", "created below", "deleted"],
)
def test_a_mirror_deletes_nothing_that_was_not_looked_at(
    zabsh: Run,
    hosts: str,
    tmp_path: Path,
    change: Callable[[zabpy.Client], Awaitable[object]],
    said: str,
    left: list[str],
) -> None:
    file = tmp_path / "x.ndjson"
    zabsh("create /t; create /t/kept", f"export /t {file}", "create -p /t/new/below; create /t/other")
    told = zabsh(f"import --delete {file}", asker=Meddler(hosts, change))
    assert sorted(tree(hosts, "/t")) == left, told.err
    assert told.status == (7 if said else 0) and said in told.err and "/t/new:" not in told.err
    assert not said or "1 deleted; 1 problem." in told.err


def test_ephemerals_are_left_out_and_said(zabsh: Run, hosts: str, tmp_path: Path) -> None:
    told = zabsh("create /t; create -e /t/e", f"export /t {tmp_path}/x", f"import {tmp_path}/x /u")
    assert "/u/e: left out, an ephemeral of session 0x" in told.err
    assert sorted(tree(hosts, "/u")) == [""]


def test_bad_files_do_nothing(zabsh: Run, tmp_path: Path) -> None:
    file = tmp_path / "x.ndjson"
    zabsh(*TREE, f"export /t {file}")
    lines = file.read_text().splitlines()
    lines[3] = lines[3].replace('"path": "/', '"path": "//')
    lines[4] = lines[4][:20]
    (tmp_path / "bad").write_text("\n".join(lines[:-1]))
    told = zabsh(f"import {tmp_path}/bad /u", "ls /")
    assert "t" in told.lines and "u" not in told.lines
    assert "bad: line 4: path '//" in told.err and "bad: line 5: " in told.err
    assert "so nothing was done; --partial takes the rest" in told.err
    (tmp_path / "cut").write_text("\n".join(lines[:3]))
    cut = tmp_path / "cut"
    told = zabsh(f"import {cut} /u", f"import --partial {cut} /u", f"import --partial --delete {cut} /u")
    assert "it is cut off: behind 2 znodes its end is missing" in told.err and "2 created" in told.err
    (tmp_path / "no").write_text("hello")
    assert "no export of zabpy: line 1: " in zabsh(f"import {tmp_path}/no /u").err
    (tmp_path / "gz").write_bytes(gzip.compress(b"x" * 1_000)[:20])
    assert "no export of zabpy: it cannot be read further" in zabsh(f"import {tmp_path}/gz /u").err
    assert zabsh("import /nope /u").err == "import: /nope: No such file or directory\n"


def test_what_may_not_be_read_is_said(zabsh: Run, tmp_path: Path) -> None:
    told = zabsh("create /t; create /t/no '' ip:203.0.113.1:r; create /t/yes", f"export /t {tmp_path}/x")
    assert told.status == 7
    assert "/t/no: permission denied: get needs READ on /t/no" in told.err
    assert json.loads((tmp_path / "x").read_text().splitlines()[-1])["denied"] == ["/t/no"]


def test_many_znodes_and_large_ones(zabsh: Run, hosts: str, tmp_path: Path) -> None:
    file = tmp_path / "x.ndjson"
    lines = ['{"zabpy_export": 1, "path": "/t"}', '{"path": "/"}']
    lines += [json.dumps({"path": f"/n{i}", "data": "x" * (900_000 if i % 500 == 7 else i % 50)}) for i in range(2_000)]
    file.write_text("\n".join([*lines, '{"end": true}']))
    told = zabsh(f"import {file}", f"export /t {tmp_path}/y", f"import -n {tmp_path}/y")
    assert told.status == 0 and "2,001 created" in told.err and "2,001 the same" in told.err


def test_files_by_hand_may_ask_for_containers(zabsh: Run, tmp_path: Path) -> None:
    lines = ['{"zabpy_export": 1}', '{"path": "/", "kind": "container", "data": "x"}', '{"end": true}']
    (tmp_path / "x").write_text("\n".join(lines))
    assert zabsh(f"import {tmp_path}/x /c", "rm /c").err == "1 created, 0 changed, 0 deleted, 0 the same\n"
    (tmp_path / "y").write_text(lines[0] + '\n{"path": "/", "kind": "ttl"}\n{"path": "x"}\n{"path": "/a", "acl": "no"}')
    assert [line.partition("y: ")[2] for line in zabsh(f"import {tmp_path}/y /c").err.splitlines()[:3]] == [
        "line 2: ttl_ms: expected whole ms, not None",
        "line 3: path 'x' does not start with a slash",
        "line 4: no: expected SCHEME:ID:PERMISSIONS with letters of cdrwa, such as world:anyone:cdrwa",
    ]


def test_what_vanishes_while_it_is_exported_leaves_no_orphans(
    zabsh: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though it should come again at once, with the same children: import would refuse the file."""
    real = TreeReader._acls_of

    async def acls_of(self: TreeReader, paths: list[str]) -> list[object]:
        return [None if path == "/t/gone" else acl for path, acl in zip(paths, await real(self, paths), strict=True)]

    monkeypatch.setattr(TreeReader, "_acls_of", acls_of)
    told = zabsh("create /t; create /t/gone; create /t/gone/x", f"export /t {tmp_path}/t", f"import {tmp_path}/t /u")
    assert told.status == 0 and zabsh("exists /u/gone").status == 1


def test_what_is_not_whole_is_never_taken_for_whole(zabsh: Run, tmp_path: Path) -> None:
    file, zipped, twice = tmp_path / "x", tmp_path / "z", tmp_path / "twice"
    zabsh("create /t; create /t/a; create /t/b", f"export /t {file}")
    lines = file.read_text().splitlines(keepends=True)
    twice.write_text("".join(lines * 2))
    broken = bytearray(gzip.compress("".join(lines * 50).encode()))
    broken[40:60] = bytes(20)
    zipped.write_bytes(broken)
    file.write_text("".join(lines[:2] + lines[3:]))
    told = zabsh(f"import {file} /u; import {twice} /u; import {zipped} /u; exists /u")
    assert told.status == 1 and told.out == "no\n"
    assert "its end tells of 3 znodes, and there are 2" in told.err
    assert "it stands behind the end, as if two files were one" in told.err
    assert "it cannot be read further: Error -3" in told.err


def test_what_fits_into_no_memory_is_in_a_file(zabsh: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And is gone through as often: what is planned, created and changed is the same."""
    monkeypatch.setattr(spool, "MEMORY_BYTES", 100)
    monkeypatch.setattr(spool, "PIECE_RECORDS", 3)
    told = zabsh(*TREE, f"export /t {tmp_path}/x.tar", "set /t changed; rm /t/binary", f"import {tmp_path}/x.tar",
                 "cp -r -p /t /u", f"import -n {tmp_path}/x.tar /u")  # fmt: skip
    assert told.err.splitlines()[1:] == [
        "1 created, 1 changed, 0 deleted, 8 the same",
        "10 created, 0 changed, 0 deleted, 0 the same",
        "0 to create, 0 to change, 0 to delete, 10 the same, 0 ephemerals left out; nothing was done",
    ]


def test_there_may_be_nothing_to_go_on_with(zabsh: Run, tmp_path: Path) -> None:
    file, part = tmp_path / "x", tmp_path / f".x.{os.getpid()}.part"
    anew = "no export to x has left anything to go on with: it is begun anew\n"
    told = zabsh("create /t; create /t/a", f"export --resume /t {file}")
    assert told.status == 0 and told.err.startswith(anew) and "2 znodes exported" in told.err
    before = file.read_text()
    assert zabsh(f"export --resume /t {file}").status == 4 and file.read_text() == before  # it asks, as without
    part.write_bytes(b"")
    told = zabsh(f"export -f --resume /t {file}")
    assert told.err.startswith(anew) and f"{part}: removed" in told.err
    part.write_text(before)
    with part.open("rb") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        told = zabsh(f"export -f --resume /t {file}")
        assert told.err.startswith(f"{part}: another export is writing it, so it is left alone\n{anew}")
        assert part.exists() and "--resume" not in zabsh(f"export -f /t {file}").err
    part.write_text(before[:-1])  # all znodes are there, and only the end is cut off
    assert ", 2 of them from the old part, exactly" in zabsh(f"export -f --resume /t {file}").err
    zabsh(f"export /t {tmp_path}/y.tar")
    part.write_bytes((tmp_path / "y.tar").read_bytes())
    told = zabsh(f"export -f --resume /t {file}")
    assert told.status == 2 and f"{part}: is not of an export to NDJSON" in told.err and part.exists()
    for line in (
        "export --resume /t",
        f"export --resume /t {tmp_path}/y.tar",
        f"export --resume --format tar /t {file}",
    ):
        assert zabsh(line).status == 2


def test_a_line_of_another_moment_is_not_taken(zabsh: Run, tmp_path: Path) -> None:
    """Each field of a stat alone; a path that is another's; a value with a hole in it, as a power failure leaves it."""
    file, part = tmp_path / "x", tmp_path / f".x.{os.getpid()}.part"
    zabsh("create /t; create /t/a value", f"export /t {file}")
    whole = file.read_text().splitlines(keepends=True)
    line = json.loads(whole[2])
    spoilt = [{**line, name: 77} for name in stat_fields(Stat(*[0] * 11))]
    spoilt.append({**line, "path": "/b"})
    texts = [json.dumps(each) + "\n" for each in spoilt] + [whole[2].replace("lu", "\0\0")]
    for text in texts:
        part.write_text("".join(whole[:2]) + text)
        told = zabsh(f"export -f --resume /t {file}")
        assert ", 1 of them from the old part" in told.err, text
        assert file.read_text().splitlines()[1:3] == "".join(whole[1:3]).splitlines()
