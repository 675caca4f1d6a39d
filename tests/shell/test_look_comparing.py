"""diff."""

import json
from pathlib import Path

import zabpy
from shell.output import Look
from zabpy.model import world_acl

from .conftest import Run
from .test_look_listing import Fill, closed_to_all, fill

__all__ = ["fill"]


async def two(zk: zabpy.Client) -> None:
    await zk.create("/old/conf", b"a\nb\nc\n", parents=True)
    await zk.create("/new/conf", b"a\nB\nc\n", parents=True)
    for top in ("/old", "/new"):
        await zk.create(f"{top}/same", b"x")
        await zk.create(f"{top}/a", b"")
        await zk.create(f"{top}/a/deep", b'{"k":1,"l":2}' if top == "/old" else b'{"k":1,"l":3}')
        await zk.create(f"{top}/bin", b"\xff" if top == "/old" else b"\xfe\xff")
    await zk.create("/old/a-gone", b"x")
    await zk.create("/old/a-gone/below", b"x")
    await zk.create("/new/b-new", b"x")
    await zk.create("/new/zz", b"x")


def test_two_values(zabsh: Run, fill: Fill) -> None:
    fill(two)
    assert zabsh("diff /old/conf /new/conf") == (
        1, "--- /old/conf\n+++ /new/conf\n@@ -1,3 +1,3 @@\n a\n-b\n+B\n c\n", "")  # fmt: skip
    assert zabsh("diff /old/same /new/same") == (0, "", "")
    assert zabsh("diff /old /new") == (0, "", "")
    assert zabsh("diff -U 0 /old/conf /new/conf").lines[2:] == ["@@ -2 +2 @@", "-b", "+B"]
    assert "\x1b[31m-b\x1b[0m" in zabsh("diff /old/conf /new/conf", look=Look(is_terminal=True, colour=True)).out
    assert zabsh("diff /old/conf /nope") == (1, "", "diff: /nope: no such znode\n")
    assert zabsh("create /l 'a b'; create /m 'a b\n'; diff /l /m").lines[-1] == (
        "/l and /m: values differ, but only in what does not show: spaces, line ends, or how they are packed"
    )


TREES = [
    "/a/deep changed", "/a-gone removed", "/a-gone/below removed", "/b-new added", "/bin changed", "/conf changed",
    "/zz added"]  # fmt: skip


def test_two_trees(hosts: str, zabsh: Run, fill: Fill) -> None:
    fill(two)
    told = zabsh("diff -r -q /old /new")
    assert (told.status, told.err) == (1, "")
    assert told.lines == [
        "/old/a/deep and /new/a/deep differ", "- only: /old/a-gone", "- only: /old/a-gone/below",
        "+ only: /new/b-new",
        "/old/bin and /new/bin differ", "/old/conf and /new/conf differ", "+ only: /new/zz"]  # fmt: skip
    lines = zabsh("diff -r /old /new").lines
    assert lines[:9] == [
        "--- /old/a/deep", "+++ /new/a/deep", "@@ -1,4 +1,4 @@", " {", '   "k": 1,', '-  "l": 2', '+  "l": 3', " }",
        "- only: /old/a-gone"]  # fmt: skip
    assert "/old/bin and /new/bin: binary values differ: 1 bytes, 2 bytes" in lines
    rows = json.loads(zabsh("diff -r /old /new", format="json").out)
    assert [f"{row['path']} {row['change']}" for row in rows] == TREES
    assert (rows[5]["old_data"], rows[5]["new_data"], rows[4]["old_data_base64"]) == ("a\nb\nc\n", "a\nB\nc\n", "/w==")
    assert zabsh("diff -r /old /old", format="json") == (0, "[]\n", "")
    # The same in another cluster: here another session of the same one, with the chroot in the path.
    servers, _, chroot = hosts.partition("/")
    told = zabsh(f"diff -r -q /old zk://{servers}/{chroot}/new")
    assert (told.status, told.lines[-1]) == (1, f"+ only: zk://{servers}/{chroot}/new/zz")
    assert len(told.lines) == 7


def test_a_znode_and_a_file(zabsh: Run, fill: Fill, tmp_path: Path) -> None:
    fill(two)
    (tmp_path / "conf").write_bytes(b"a\nb\nc\n")
    assert zabsh(f"diff file:{tmp_path}/conf /old/conf") == (0, "", "")
    assert zabsh(f"diff file:{tmp_path}/conf /new/conf").lines[:2] == [f"--- file:{tmp_path}/conf", "+++ /new/conf"]
    assert zabsh(f"diff -r file:{tmp_path}/conf /new").status == 2
    assert zabsh(f"diff file:{tmp_path} /new").err == f"diff: file:{tmp_path}: is a folder; a file is expected\n"
    assert "No such file" in zabsh(f"diff file:{tmp_path}/nope /new").err


def test_acls(zabsh: Run, fill: Fill) -> None:
    async def other_acl(zk: zabpy.Client) -> None:
        await zk.create("/x/a", parents=True)
        await zk.create("/y/a", parents=True)
        await zk.set_acl("/y/a", [world_acl("ra")])

    fill(other_acl)
    assert zabsh("diff -r /x /y") == (0, "", "")
    assert zabsh("diff -r --acl /x /y") == (
        1, "/x/a and /y/a have other ACLs\n-world:anyone:cdrwa\n+world:anyone:ra\n", "")  # fmt: skip


def test_what_may_not_be_read(zabsh: Run, fill: Fill) -> None:
    async def closed(zk: zabpy.Client) -> None:
        await two(zk)
        await closed_to_all(zk, "/new/conf")

    fill(closed)
    told = zabsh("diff -r -q /old /new")
    assert told.status == 7
    assert told.err == "/new/conf: permission denied: READ is needed; what is there and below is not compared\n"
    assert len(told.lines) == 6
