"""ls, cd, tree, get, stat, exists."""

import gzip
import json
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import cbor2
import pytest

import zabpy
from shell.output import Look
from zabpy.client import Client
from zabpy.model import world_acl

from .conftest import Run, runner

TERMINAL = Look(is_terminal=True, width=40)
Fill = Callable[[Callable[[zabpy.Client], Awaitable[object]]], None]


@pytest.fixture
def fill(hosts: str) -> Fill:
    def run(story: Callable[[zabpy.Client], Awaitable[object]]) -> None:
        async def opened() -> None:
            async with zabpy.connect(hosts) as zk:
                await story(zk)

        anyio.run(opened, backend="asyncio")

    return run


async def closed_to_all(zk: zabpy.Client, path: str) -> None:
    """Nobody may read it any more, nor what is below."""
    await zk.set_acl(path, [world_acl("cda")])


async def some(zk: zabpy.Client) -> None:
    await zk.create("/a", b"x" * 2000)
    await zk.create("/a/two words", b"1")
    await zk.create("/a/seq-0000000003")
    await zk.create("/b", container=True)
    await zk.create("/c/d/e", b"deep", parents=True)


def test_ls(zabsh: Run, fill: Fill) -> None:
    fill(some)
    assert zabsh("ls").lines == ["a", "b", "c"]
    assert zabsh("ls -r /").lines == ["c", "b", "a"]
    assert zabsh("ls -S; ls -S -r").lines == ["a", "b", "c", "c", "b", "a"]
    assert zabsh("ls /a").lines == ["seq-0000000003", "two words"]
    assert zabsh("ls /a", look=TERMINAL).lines == ["seq-0000000003  'two words'"]
    assert zabsh("ls -1 /a", look=TERMINAL).lines == ["seq-0000000003", "'two words'"]
    assert zabsh("ls -R /c").lines == ["/c", "/c/d", "/c/d/e"]
    assert zabsh("ls -R -S -r /c").lines == ["/c/d", "/c", "/c/d/e"]
    assert zabsh("ls -d /a /nope /c") == (1, "/a\n/c\n", "ls: /nope: no such znode\n")
    assert zabsh("ls /a /c") == (0, "/a:\nseq-0000000003\ntwo words\n\n/c:\nd\n", "")
    assert zabsh("ls /nope /c") == (1, "\n/c:\nd\n", "/nope: no such znode\n")
    assert json.loads(zabsh("ls /c", format="json").out) == [{"path": "/c/d", "name": "d"}]
    assert zabsh("ls /b", format="json").out == "[]\n"
    assert zabsh("ls -R /c", format="raw").lines == ["/c", "/c/d", "/c/d/e"]


def test_ls_newest_first(zabsh: Run, fill: Fill) -> None:
    async def aged(zk: zabpy.Client) -> None:
        for name in "bca":
            await zk.create(f"/{name}")
            await anyio.sleep(0.005)

    fill(aged)
    assert zabsh("ls -t; ls -t -r").lines == ["a", "c", "b", "b", "c", "a"]


def test_ls_long(zabsh: Run, fill: Fill) -> None:
    fill(some)
    lines = zabsh("create -e /eph; ls -l").lines[1:]
    assert [line.split()[:4] + line.split()[5:] for line in lines] == [
        ["MODE", "CHILDREN", "SIZE", "VERSION", "OWNER", "NAME"],
        ["d--", "2", "2000", "0", "-", "a"],
        ["---", "0", "0", "0", "-", "b"],
        ["d--", "1", "0", "0", "-", "c"],
        ["-e-", "0", "0", "0", lines[4].split()[5], "eph"],
    ]
    assert lines[4].split()[5].startswith("0x")
    assert lines[1].split()[4].startswith("20") and lines[1].split()[4].endswith("Z")
    assert " 2.0K " in zabsh("ls -l", look=TERMINAL).lines[1]
    row = json.loads(zabsh("ls -l /a", format="json").out)[0]
    assert {"path": "/a/seq-0000000003", "mode": "--s", "num_children": 0}.items() <= row.items()
    coloured = zabsh("ls -l", look=Look(is_terminal=True, colour=True, width=40)).lines
    assert "\x1b[1;34ma\x1b[0m" in coloured[1]


def test_ls_with_the_stat_as_zkcli_does(zabsh: Run, fill: Fill) -> None:
    fill(some)
    lines = zabsh("ls -s /c").lines
    assert lines[:2] == ["d", "path            /c"] and "num_children    1" in lines
    told = json.loads(zabsh("ls -s /c", format="json").out)
    assert (told["path"], told["children"], told["num_children"]) == ("/c", ["d"], 1)


def test_ls_of_many(zabsh: Run, fill: Fill) -> None:
    async def many(zk: zabpy.Client) -> None:
        await zk.create("/m")
        async with anyio.create_task_group() as tasks:
            for n in range(700):
                tasks.start_soon(zk.create, f"/m/{n:04}", b"x" * (20_000 if n > 600 else n))

    fill(many)
    rows = json.loads(zabsh("ls -l /m", format="json").out)
    assert [(row["name"], row["data_length"]) for row in rows] == [
        (f"{n:04}", 20_000 if n > 600 else n) for n in range(700)]  # fmt: skip
    assert len(zabsh("ls -R /m").lines) == 701
    assert zabsh("tree -n 3 /m").lines == [
        "/m", "├── 0000", "├── 0001", "├── 0002", "└── … 697 more", "",
        "4 znodes, 697 more left out with all that is below them"]  # fmt: skip


def test_what_may_not_be_read_is_told_and_the_rest_shown(zabsh: Run, fill: Fill) -> None:
    async def closed(zk: zabpy.Client) -> None:
        await some(zk)
        await closed_to_all(zk, "/c/d")

    fill(closed)
    told = "/c/d: permission denied: READ is needed; what is below is left out\n"
    assert zabsh("ls -R /c") == (7, "/c\n/c/d\n", told)
    assert zabsh("ls -R -S /c") == (7, "/c\n/c/d\n", told)
    assert zabsh("tree /c") == (7, "/c\n└── d\n\n2 znodes\n", told)
    assert zabsh("ls -l /c").status == 0
    denied = "/c/d: permission denied: children needs READ on /c/d\n"
    assert zabsh("ls /c/d") == (4, "", f"ls: {denied}")
    assert zabsh("ls /c/d /c") == (4, "\n/c:\nd\n", denied)
    assert zabsh("get /c/d").status == 4


def test_a_tree_leaves_out_what_servers_keep_unless_it_is_asked_for(one_server: str) -> None:
    lines = runner(one_server)("tree /", "tree / --output raw", "tree /zookeeper", "find /").lines
    assert sum("zookeeper" in line for line in lines[: lines.index("/zookeeper")]) == 1
    assert [line[4:] for line in lines].count("config") == lines.count("/zookeeper/config") == 1


def test_tree(zabsh: Run, fill: Fill) -> None:
    fill(some)
    assert zabsh("tree /a /c", look=TERMINAL).lines == [
        "/a", "├── seq-0000000003", "└── 'two words'", "/c", "└── d", "    └── e", "", "6 znodes"]  # fmt: skip
    lines = zabsh("cd /; create /c/d2; create /c/d/e2; tree").lines[2:]
    assert [line for line in lines if "zookeeper" not in line] == [
        "/", "├── a", "│   ├── seq-0000000003", "│   └── two words", "├── b", "└── c", "    ├── d", "    │   ├── e",
        "    │   └── e2", "    └── d2", "", "10 znodes"]  # fmt: skip
    assert zabsh("tree -L 1 /c").lines == ["/c", "├── d", "└── d2", "", "3 znodes"]
    assert zabsh("tree -L 0 /c").lines == ["/c", "", "1 znode"]
    assert zabsh("tree -n 1 /c").lines == [
        "/c", "├── d", "│   ├── e", "│   └── … 1 more", "└── … 1 more", "",
        "3 znodes, 2 more left out with all that is below them"]  # fmt: skip
    assert zabsh("tree -l /a", look=TERMINAL).lines[0] == "/a  (2.0K)"
    assert [row["depth"] for row in json.loads(zabsh("tree /c", format="json").out)] == [0, 1, 2, 2, 1]
    assert zabsh("tree /nope") == (1, "", "tree: /nope: no such znode\n")
    assert zabsh("tree -L 0 /nope") == (1, "", "tree: /nope: no such znode\n")


def test_cd(zabsh: Run, fill: Fill) -> None:
    fill(some)
    assert zabsh("cd /c/d; pwd; cd ..; pwd; cd -; ls; cd d/../e; pwd; cd; pwd").lines == [
        "/c/d", "/c", "/c/d", "e", "/c/d/e", "/"]  # fmt: skip
    assert zabsh("cd /c/*; pwd").lines == ["/c/d"]
    assert zabsh("cd /*").err == "cd: /*: stands for 3 znodes, where one is expected\nusage: cd [OPTIONS] [PATH]\n"


async def values(zk: zabpy.Client) -> None:
    await zk.create("/text", b"hello")
    await zk.create("/json", b'{"db":{"host":"h","ports":[1,2]}}')
    await zk.create("/yaml", b"db:\n  host: h\n")
    await zk.create("/gz", gzip.compress(b'{"a":1}', mtime=0))
    await zk.create("/cbor", cbor2.dumps({"a": [1]}))
    await zk.create("/bin", b"\x00\x01\xff")
    await zk.create("/esc", b"\x1b[31m")
    await zk.create("/empty")


def test_get(zabsh: Run, fill: Fill) -> None:
    fill(values)
    assert zabsh("get /text; get /json; get --raw /text").out == 'hello\n{"db":{"host":"h","ports":[1,2]}}\nhello'
    assert zabsh("get /json /gz", look=TERMINAL).lines[:3] == ["==> /json <==", "{", '  "db": {']
    told = zabsh("get /gz; get /cbor; get /bin; get /empty; get /esc", look=TERMINAL)
    assert told.lines == [
        "{", '  "a": 1', "}", "{", '  "a": [', "    1", "  ]", "}",
        "00000000  00 01 ff                                          |...|",
        "00000000  1b 5b 33 31 6d                                    |.[31m|"]  # fmt: skip
    assert told.err.splitlines()[:2] == ["(gzip json, 27 bytes)", "(cbor, 5 bytes)"]
    assert zabsh("get -x /text; get -b /text; get -x /empty").lines == [
        "00000000  68 65 6c 6c 6f                                    |hello|", "aGVsbG8="]  # fmt: skip
    assert zabsh("get /text /nope /yaml") == (
        1, "==> /text <==\nhello\n\n==> /yaml <==\ndb:\n  host: h\n", "/nope: no such znode\n")  # fmt: skip
    assert zabsh("get /nope") == (1, "", "get: /nope: no such znode\n")
    assert zabsh("get --raw -x /text").status == 2
    assert "\x1b[" in zabsh("get /json", look=Look(is_terminal=True, colour=True)).out
    assert zabsh("get -s /text").lines[:3] == ["hello", "path            /text", zabsh("get -s /text").lines[2]]


def test_get_in_other_formats(zabsh: Run, fill: Fill) -> None:
    fill(values)
    told = json.loads(zabsh("get /bin", format="json").out)
    assert {"path": "/bin", "data": None, "data_base64": "AAH/", "format": "binary", "data_length": 3}.items() <= (
        told.items())  # fmt: skip
    told = json.loads(zabsh("get /text /nope /json", format="json").out)
    assert [(row["path"], row["data"]) for row in told] == [
        ("/text", "hello"), ("/json", '{"db":{"host":"h","ports":[1,2]}}')]  # fmt: skip
    assert zabsh("get /text", format="raw").out == "hello"


def test_get_a_part(zabsh: Run, fill: Fill) -> None:
    fill(values)
    assert zabsh("get /json .db.host; get /json .db; get /yaml .db.host; get /cbor .a[0]").lines == [
        "h", '{"host": "h", "ports": [1, 2]}', "h", "1"]  # fmt: skip
    assert zabsh("cd /json; get .db.ports[*]; get .db.ports[-1]").lines == ["[1, 2]", "2"]
    assert zabsh("get /json .db.nope") == (1, "", "get: /json: .db.nope: there is no .nope in an object\n")
    assert zabsh("get /text .a") == (1, "", "get: /text: text, which has no parts: JSON, YAML or CBOR have\n")
    assert json.loads(zabsh("get /json .db.ports", format="json").out) == {
        "path": "/json", "part": ".db.ports", "value": [1, 2]}  # fmt: skip
    assert zabsh("get /json .a .b").status == 2


def test_stat_and_exists(zabsh: Run, fill: Fill) -> None:
    fill(values)
    told = zabsh("stat /text")
    assert [line.split()[0] for line in told.lines] == [
        "path", "czxid", "mzxid", "pzxid", "ctime", "mtime", "version", "cversion", "aversion", "ephemeral_owner",
        "data_length", "num_children"]  # fmt: skip
    assert json.loads(zabsh("stat /text", format="json").out)["data_length"] == 5
    assert [line.split()[:3] for line in zabsh("stat /text /bin").lines] == [
        ["PATH", "NUM_CHILDREN", "DATA_LENGTH"], ["/text", "0", "5"],
        ["/bin", "0", "3"]]  # fmt: skip
    assert zabsh("stat /nope") == (1, "", "stat: /nope: no such znode\n")
    assert zabsh("exists /text") == (0, "yes\n", "")
    assert zabsh("exists /text /nope") == (1, "yes /text\nno  /nope\n", "")
    assert zabsh("exists /nope", format="json").out == '[\n  {\n    "path": "/nope",\n    "exists": false\n  }\n]\n'


def test_one_shot_watches_are_told_when_they_fire(zabsh: Run, fill: Fill) -> None:
    fill(values)
    told = zabsh(
        "get -w /text", "stat -w /nope || ls -w /bin", "set /text x", "create /nope", "create /bin/x", "sync /"
    )
    assert sorted(told.err.splitlines()) == [
        "stat: /nope: no such znode", "watch: /bin: children changed", "watch: /nope: created",
        "watch: /text: changed"]  # fmt: skip


@pytest.mark.parametrize(
    "line", ["ls -l /m", "tree /m", "ls -R /m", "find / -name x", "grep -r x /m", "du /m", "ls -d /m/*"]
)
def test_many_are_read_with_few_requests(zabsh: Run, fill: Fill, monkeypatch: pytest.MonkeyPatch, line: str) -> None:
    async def many(zk: zabpy.Client) -> None:
        await zk.create("/m")
        async with anyio.create_task_group() as tasks:
            for n in range(1_000):
                tasks.start_soon(zk.create, f"/m/{n}", b"x")

    fill(many)
    asked = 0
    ask = zabpy.Client._ask

    async def counted(*args: Any, **settings: Any) -> Any:
        nonlocal asked
        asked += 1
        return await ask(*args, **settings)

    monkeypatch.setattr(Client, "_ask", counted)
    assert len(zabsh(line).lines) >= (1_000 if "find" not in line else 0)
    assert asked < 100


def test_names_that_would_turn_lines_round(zabsh: Run, fill: Fill) -> None:
    async def odd(zk: zabpy.Client) -> None:
        await zk.create("/o")
        for name in ("a\u202eb", "it's", "日本"):
            await zk.create(f"/o/{name}")

    fill(odd)
    assert zabsh("ls -l /o").lines[1].endswith("  a\\u202eb")
    assert zabsh("ls -1 /o", look=TERMINAL).lines == ["'a\\u202eb'", '"it\'s"', "日本"]
    assert json.loads(zabsh("ls /o", format="json").out)[0]["name"] == "a\u202eb"
