"""create, set, touch, rm and sync: what they do, and what they say when it cannot be done."""

import io
from pathlib import Path

import anyio
import pytest

import zabpy
from shell.shell import Asker, Rules, Shell

from .conftest import Run


class Answers(Asker):
    """Says yes or no, and remembers what it was asked."""

    def __init__(self, yes: bool = True, secret: str = "") -> None:
        self.yes, self.asked, self._secret = yes, list[str](), secret

    async def confirm(self, question: str, must_type: str = "") -> bool:
        self.asked.append(question)
        return self.yes

    async def secret(self, prompt: str) -> str:
        self.asked.append(prompt)
        return self._secret


def value_at(hosts: str, path: str) -> bytes:
    async def read() -> bytes:
        async with zabpy.connect(hosts) as zk:
            return (await zk.get(path)).data

    return anyio.run(read)


def test_create_prints_the_path(zabsh: Run) -> None:
    told = zabsh("create /a", "create -s /a/s- x", "create -s /a/", "create -p /b/c/d x", "cd /b", "create e", "ls /b")
    assert told.lines == ["/a", "/a/s-0000000000", "/a/0000000001", "/b/c/d", "/b/e", "c", "e"]


def test_create_has_all_modes(zabsh: Run) -> None:
    told = zabsh("create -e -s /e", "create -c /c", "rm /c", "create /a/b/c", "create /c && create /c")
    assert (told.status, told.out) == (3, "/e0000000000\n/c\n/c\n")
    assert told.err == "create: /a/b/c: no such znode\ncreate: /c: exists already\n"
    told = zabsh("create -c -e /x", "create -t 0 /x", "create '/a b' \"it's\"", "create /ü ö")
    assert told.out == "/a b\n/ü\n"
    assert "a container is neither ephemeral nor in sequence" in told.err and "a lifetime of 0 ms" in told.err


def test_values_come_from_everywhere(zabsh: Run, tmp_path: Path) -> None:
    (tmp_path / "v").write_bytes(b"\0\xff")

    def setup(shell: Shell) -> None:
        shell.stdin = io.BytesIO(b"from stdin")

    told = zabsh(
        "create /a -",
        f"create /f --file {tmp_path}/v",
        "create /h --hex 'de ad'",
        "create /b --base64 aGk=",
        "create /none",
        *(f"set -s /{each} new{each}" for each in "afhb"),
        setup=setup,
    )
    assert told.status == 0 and told.err == ""
    told = zabsh("create /x --hex xyz", "create /x --base64 '%'", "create /x y --file z", "create /x --file /nope")
    assert told.err.startswith("create: not hexadecimal: non-hexadecimal number found")
    assert "create: not base64: " in told.err and "/nope: No such file or directory" in told.err
    assert "- stands for the standard input, which is where commands come from here" in zabsh("create /x -").err


def test_set_is_compare_and_set(zabsh: Run) -> None:
    told = zabsh("create /a 1", "set -v 0 /a 2", "set /a 3 1", "set -v 0 /a 4", format="ndjson")
    assert (told.status, told.err) == (3, "set: /a: has another version than the one given; somebody changed it\n")
    assert '"version": 3' in zabsh("create /b", "set /b 1", "set /b 2", "set -s /b 3", format="ndjson").out
    assert zabsh("set /b").status == zabsh("set /b a b").status == 2


@pytest.mark.parametrize(
    ("before", "typed", "after"),
    [
        ('{"db": {"port": 1}}', ".db.port=5", '{"db": {"port": 5}}'),
        ('{"a": 1}', ".a=NaN", '{"a": "NaN"}'),
        ('{"a":1,"b":[1,2]}', ".b[1]=x .c.d=true", '{"a":1,"b":["1","x"],"c":{"d":true}}'.replace('"1"', "1")),
        ("a: 1\nb:\n  c: x\n", ".b.c=5", "a: 1\nb:\n  c: 5\n"),
        ('{\n  "a": 1\n}\n', ".a=null", '{\n  "a": null\n}\n'),
    ],
)
def test_set_changes_within_a_value(
    zabsh: Run, hosts: str, tmp_path: Path, before: str, typed: str, after: str
) -> None:
    (tmp_path / "v").write_text(before)
    told = zabsh(f"create /a --file {tmp_path}/v", f"set /a {typed}")
    assert (told.status, told.err) == (0, "")
    assert value_at(hosts, "/a") == after.encode()


def test_set_refuses_changes_that_lead_nowhere(zabsh: Run) -> None:
    told = zabsh("create /a '{\"x\":[1]}'", "set /a .x.y=1", "set /a .x[1]=1", "create /t text", "set /t .x=1")
    assert told.err.splitlines()[::2] == [
        "set: /a: .x is a list, so there is no .y in it",
        "set: /a: .x has 1 elements, so there is no [1]",
        "set: /t: its value is neither a JSON nor a YAML object; --text sets it to what was typed",
    ]
    assert zabsh("create /y 'a: 1 # why'", "set /y .a=2").err.startswith("set: /y: its value has comments")


def test_touch(zabsh: Run) -> None:
    told = zabsh("touch /a /b", "touch /a", "set -v 1 /a x", "touch -c /c", "touch -p /d/e", "ls", "touch /x/y")
    assert told.lines == ["a", "b", "d"]
    assert (told.status, told.err) == (1, "touch: /x/y: no such znode\n")


def test_rm_of_one(zabsh: Run) -> None:
    told = zabsh("create -p /a/b", "rm /a", "rm -v 1 /a/b", "rm -n /a/b", "rm /a/b", "rm /a /a", "rm -f /a")
    assert told.lines == ["/a/b", "would delete /a/b"]
    assert told.err.splitlines() == [
        "rm: /a: has children; rm -r deletes them with it",
        "rm: /a/b: has another version than the one given; somebody changed it",
        "rm: /a: no such znode",
    ]


def test_rm_of_a_tree_counts_and_asks(zabsh: Run) -> None:
    many = "; ".join(f"create -p /a/x{i}/y" for i in range(20))
    no, yes = Answers(yes=False), Answers()
    told = zabsh(many, "rm -r /a", "ls", asker=no)
    assert told.err == "rm: nothing was done\n" and told.lines[-1] == "a"
    told = zabsh("create -e /a/e", "rm -r /a", "ls", asker=yes)
    assert (no.asked, yes.asked) == (["delete 41 znodes under /a?"], ["delete 42 znodes under /a?"])
    assert told.lines == ["/a/e"]
    assert zabsh("rm -r /a").err == "rm: /a: no such znode; nothing was done\n"
    assert "There is nobody to ask: say --yes" in zabsh("create /a", "rm -r /a").err
    told = zabsh("create /a/b", "rm -rn /a", "rm -rf /a", "ls")
    assert told.lines == ["/a/b", "would delete /a/b", "would delete /a"]


def test_force_is_not_stronger_than_a_profile(zabsh: Run) -> None:
    no = Answers(yes=False)
    rules = Rules(confirm_name=True, name="prod")
    told = zabsh("create /a", "rm -rf /a", "create /b x", "cp -f /b /a", "ls /", asker=no, rules=rules)
    assert no.asked == ["delete 1 znode under /a?", "write over 1 znode at /a?"] and told.lines[-2:] == ["a", "b"]


def test_rm_keeps_what_is_the_servers(zabsh: Run) -> None:
    assert zabsh("rm -r /", rules=Rules(yes=True)) == (
        4,
        "",
        "rm: /: stays: it is the root; rm -r /* deletes what is below\n",
    )


def test_rm_says_which_permission_is_missing(zabsh: Run) -> None:
    told = zabsh(
        "create -p /a/b/c",
        "create /a/d",
        "create -p /a/e/f",
        "create /a/no '' ip:203.0.113.1:cdrwa",
        "acl /a/b world:anyone:r",
        "rm -r /a",
        "ls /a",
        "acl /a/b",
        rules=Rules(yes=True),
    )
    assert "/a/b/c: permission denied: delete needs DELETE on /a/b" in told.err
    assert "4 of 7 znodes were deleted" in told.err or "3 of 7 znodes were deleted" in told.err


def test_sync(zabsh: Run) -> None:
    assert zabsh("sync", format="ndjson").out.startswith('{"path": "/", "zxid": "0x')
