"""find, grep, du, count."""

import gzip
import json

import anyio
import cbor2
import pytest

import zabpy
from shell.output import Look

from .conftest import Run
from .test_look_listing import Fill, closed_to_all, fill

__all__ = ["fill"]

TERMINAL = Look(is_terminal=True, width=80)


async def tree(zk: zabpy.Client) -> None:
    await zk.create("/app/db/url", b"jdbc:x\nuser=Root\n", parents=True)
    await zk.create("/app/db/big", b"y" * 5000)
    await zk.create("/app/Empty")
    await zk.create("/app/two words", b"root")
    await zk.create("/gz", gzip.compress(b"root\nother\n"))
    await zk.create("/cbor", cbor2.dumps({"user": "root"}))
    await zk.create("/bin", b"\x00root\xff")


def paths(*names: str) -> list[str]:
    return [*names]


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("/app", paths("/app", "/app/Empty", "/app/db", "/app/db/big", "/app/db/url", "/app/two words")),
        ("/app -name 'b*'", paths("/app/db/big")),
        ("/app -iname empty", paths("/app/Empty")),
        ("/app -name empty", paths()),
        ("/app -path '*/db/*'", paths("/app/db/big", "/app/db/url")),
        ("-regex '.*/(bin|gz)'", paths("/bin", "/gz")),
        ("/app -size +4k", paths("/app/db/big")),
        ("/app -size -10 -size +0", paths("/app/two words")),
        ("/app -size 5000", paths("/app/db/big")),
        ("/app -children 2", paths("/app/db")),
        ("/app -empty", paths("/app/Empty")),
        ("/app -mindepth 2", paths("/app/db/big", "/app/db/url")),
        ("/app -maxdepth 1 -mindepth 1", paths("/app/Empty", "/app/db", "/app/two words")),
        ("/app -mtime +1h", paths()),
        ("/app/db -mtime -1h -name url", paths("/app/db/url")),
        ("/app -newer /gz", paths()),
        ("/cbor /bin -newer /gz -type p", paths("/cbor", "/bin")),
        ("/app -ephemeral", paths()),
        ("/app/db -name 'b*' -ls", None),
    ],
)
def test_find(zabsh: Run, fill: Fill, asked: str, found: list[str] | None) -> None:
    fill(tree)
    told = zabsh(f"find {asked}")
    assert (told.status, told.err) == (0, "")
    if found is not None:
        assert told.lines == found
    else:
        assert told.lines[1].split()[:3] + told.lines[1].split()[-1:] == ["---", "0", "5000", "/app/db/big"]


def test_find_whose(zabsh: Run, fill: Fill) -> None:
    fill(tree)
    told = zabsh("create -e /app/eph", "find / -type e", "find -owner 0x1", "find /app -ephemeral -ls", format="ndjson")
    rows = [json.loads(line) for line in told.lines[-2:]]
    assert [row["path"] for row in rows] == ["/app/eph"] * 2
    owner = rows[1]["ephemeral_owner"]
    assert owner.startswith("0x") and len(told.lines) == 3
    assert zabsh(f"find / -owner {owner}").lines == []
    told = zabsh("find -print0 /app -name 'two*'")
    assert told.out == "/app/two words\0"
    assert zabsh("find /app -name 'two*'", look=TERMINAL).lines == ["'/app/two words'"]


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("-size x", "find: Invalid value for '-size': 'x': expected a size such as 10, 10k or 1.5M"),
        ("-mtime 1h", "find: Invalid value for '-mtime': '1h': expected +1h for longer ago, or -1h for since then"),
        ("-owner me", "find: Invalid value for '-owner': 'me': expected the id of a session, such as"),
        ("-regex '('", "find: (: missing ), unterminated subpattern at position 0"),
        ("/nope", "find: /nope: no such znode"),
        ("-delete", "find: -delete: find deletes nothing, rm does"),
    ],
)
def test_find_what_cannot_be(zabsh: Run, asked: str, told: str) -> None:
    said = zabsh(f"find {asked}")
    assert said.err.startswith(told)
    assert said.status == (1 if "/nope" in asked else 2)


def test_grep(zabsh: Run, fill: Fill) -> None:
    fill(tree)
    told = zabsh("grep -r root")
    assert (told.status, told.lines) == (
        0, ["/app/two words:root", "binary value matches: /bin", '/cbor:  "user": "root"', "/gz:root"])  # fmt: skip
    assert zabsh("grep root /gz").lines == ["root"]
    assert zabsh("grep -i root /app/db/url /gz").lines == ["/app/db/url:user=Root", "/gz:root"]
    assert zabsh("grep -v root /gz; grep -n other /gz; grep -c o /gz; grep -o 'o.' /gz").lines == [
        "other", "2:other", "2", "oo", "ot"]  # fmt: skip
    assert zabsh("grep -rl -i ROOT /app; grep -rc root /app").lines == [
        "/app/db/url", "/app/two words", "/app/two words:1"]  # fmt: skip
    assert zabsh("grep -F j.bc /app/db/url") == (1, "", "")
    assert zabsh("grep j.bc /app/db/url; grep -w jdb /app/db/url; grep -w user /app/db/url").lines == [
        "jdbc:x", "user=Root"]  # fmt: skip
    assert zabsh("grep -q root /gz") == (0, "", "")
    assert zabsh("grep '(' /gz").err.startswith("grep: (: missing ), unterminated")
    assert zabsh("grep x /nope") == (1, "", "grep: /nope: no such znode\n")
    assert [json.loads(line) for line in zabsh("grep -r root /gz /bin", format="ndjson").lines] == [
        {"path": "/gz", "line": 1, "text": "root"}, {"path": "/bin", "line": None, "text": None}]  # fmt: skip
    coloured = Look(is_terminal=True, colour=True)
    assert zabsh("grep -r oo /gz", look=coloured).out == "\x1b[36m/gz\x1b[0m:r\x1b[1;31moo\x1b[0mt\n"


def test_du_and_count(zabsh: Run, fill: Fill) -> None:
    fill(tree)
    assert [line.split(None, 2) for line in zabsh("du /app").lines] == [
        ["BYTES", "ZNODES", "PATH"], ["5021", "6", "/app"], ["0", "1", "/app/Empty"], ["5017", "3", "/app/db"],
        ["5000", "1", "/app/db/big"], ["17", "1", "/app/db/url"], ["4", "1", "/app/two words"]]  # fmt: skip
    assert [line.split()[2] for line in zabsh("du --sort -d 1 -n 3 /app").lines[1:]] == ["/app", "/app/db", "/app/two"]
    assert zabsh("du -s /app /gz", look=TERMINAL).lines == [
        "BYTES  ZNODES  PATH", " 5.0K       6  /app", "   31       1  /gz"]  # fmt: skip
    assert json.loads(zabsh("du -s /app", format="json").out) == [
        {"path": "/app", "bytes": 5021, "znodes": 6, "depth": 0}]  # fmt: skip
    assert zabsh("count /app /gz").lines == [
        "CHILDREN  DESCENDANTS  PATH", "       3            5  /app", "       0            0  /gz"]  # fmt: skip
    assert zabsh("count /nope") == (1, "", "count: /nope: no such znode\n")


def test_a_closed_subtree(zabsh: Run, fill: Fill) -> None:
    async def closed(zk: zabpy.Client) -> None:
        await tree(zk)
        await closed_to_all(zk, "/app/db")

    fill(closed)
    told = zabsh("find /app")
    assert (told.status, told.lines) == (7, ["/app", "/app/Empty", "/app/db", "/app/two words"])
    assert told.err == "/app/db: permission denied: READ is needed; what is there and below is left out\n"
    told = zabsh("grep -r root /app")
    assert (told.status, told.lines) == (7, ["/app/two words:root"])
    told = zabsh("du -s /app")
    assert (told.status, told.lines[1].split()[2]) == (7, "/app")


def test_what_goes_while_it_is_looked_at_is_left_out(zabsh: Run, fill: Fill) -> None:
    async def many(zk: zabpy.Client) -> None:
        await zk.create("/m")
        async with anyio.create_task_group() as tasks:
            for n in range(300):
                tasks.start_soon(zk.create, f"/m/{n:03}", b"x")

    fill(many)

    async def race(zk: zabpy.Client) -> None:
        from shell.walk import Walk

        seen = 0
        async for node in Walk(zk, "data").nodes(["/m"]):
            if seen == 0:
                await zk.delete_tree("/m")
            seen += 1
            assert node.path.startswith("/m")
        assert seen == 1

    fill(race)
