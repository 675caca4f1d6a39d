"""cp and mv."""

from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from shell.cluster import Cluster
from shell.folders import read_folder, write_folder
from shell.records import Record
from shell.settings import Rules

from .conftest import Run
from .test_change_dumping import TREE, tree
from .test_change_writing import Answers, value_at

YES = Rules(yes=True)


def test_a_tree_is_copied(zabsh: Run, hosts: str) -> None:
    told = zabsh(*TREE, "create -e /t/e", "cp -r -p /t /u", "create /v", "cp -r /t/seq /t/binary /v/")
    assert told.status == 0
    assert "/u/e: left out, an ephemeral of session 0x" in told.err
    assert tree(hosts, "/u") == tree(hosts, "/t")
    assert sorted(tree(hosts, "/v")) == ["", "/binary", "/seq", "/seq/n-0000000000", "/seq/n-0000000001"]


def test_one_value_is_copied_and_overwriting_is_asked(zabsh: Run, hosts: str) -> None:
    no, yes = Answers(yes=False), Answers()
    told = zabsh("create /a 1; create /a/below; create /b 2", "cp /a /b", asker=no)
    assert (told.status, no.asked) == (130, ["write over 1 znode at /b?"]) and value_at(hosts, "/b") == b"2"
    assert zabsh("cp /a /b", asker=yes).status == 0 and value_at(hosts, "/b") == b"1"
    assert zabsh("cp /a /b", "cp -f /a /c", "cp -n /b /d", "ls /").lines == ["create  /d", "a", "b", "c"]


def test_copies_that_cannot_be(zabsh: Run) -> None:
    told = zabsh(
        "create -p /a/b", "cp /a /a", "cp -r /a /a/c", "cp /nope /b", "cp /a /x/y", "cp -r /a /a/b /c", "mv / /x"
    )
    assert [line for line in told.err.splitlines() if not line.startswith("usage")] == [
        "cp: /a: is the same as the target; nothing was done",
        "cp: /a/c: is below /a, which cannot go below itself; nothing was done",
        "cp: /nope: no such znode",
        "cp: /x: no such znode; nothing was done",
        "cp: /c: 2 znodes go below it if it ends with a slash: /c/",
        "mv: /x: is below /, which cannot go below itself; nothing was done",
    ]


def test_between_clusters(zabsh: Run, hosts: str) -> None:
    zabsh(*TREE, "create /other")
    url = f"zk://{hosts.partition('/')[0]}/{hosts.partition('/')[2]}"  # the same server, reached without a chroot
    told = zabsh(f"cp -r -p {url}/t /u", f"cp /t/binary {url}/other/", "mv /u " + url + "/w", rules=YES)
    assert told.status == 0, told.err
    assert tree(hosts, "/w") == tree(hosts, "/t") and value_at(hosts, "/other/binary") == b"\x00\xff\x80"
    assert zabsh("ls /").lines == ["other", "t", "w"]


def test_to_files_and_back(zabsh: Run, hosts: str, tmp_path: Path) -> None:
    told = zabsh(
        *TREE, f"cp -r /t file:{tmp_path}/d", f"cp /t file:{tmp_path}/one", "cp /t -", f"cp -r file:{tmp_path}/d /u"
    )
    assert told.status == 0 and told.out.endswith("top") and "10 znodes as " in told.err
    assert (tmp_path / "one").read_bytes() == b"top" and (tmp_path / "d/%data").read_bytes() == b"top"
    assert (tmp_path / "d/a b/ü/%25data").read_bytes() == b"x y"
    assert {path: data for path, (data, _, _) in tree(hosts, "/u").items()} == {
        path: data for path, (data, _, _) in tree(hosts, "/t").items()
    }
    told = zabsh(
        f"cp /t file:{tmp_path}/one", f"cp /t file:{tmp_path}", f"cp file:{tmp_path}/d /x", f"cp file:{tmp_path}/one /x"
    )
    assert "write over" in told.err and "is a folder; file:" in told.err and "is a folder; -r copies it" in told.err
    assert value_at(hosts, "/x") == b"top"


def test_folders_hold_any_tree(tmp_path: Path) -> None:
    records = [Record("", b"")] + [
        Record(path, data) for path, data in (("/%data", b"1"), ("/a", b"\0"), ("/a/%25", b""))
    ]
    assert write_folder(tmp_path / "x", records, {"", "/a"}) == 3
    assert list(read_folder(tmp_path / "x")) == records


def test_mv_is_one_transaction(zabsh: Run, hosts: str) -> None:
    told = zabsh(*TREE, "cp -r -p /t /u", "create /x", "mv -n /t /x/", "mv /t /x/", "ls /", "mv /x/t /u", "mv /nope /y")
    assert told.lines[-3:] == ["would move 10 znodes from /t to /x/t, in one transaction", "u", "x"]
    assert told.err.splitlines()[-2:] == ["mv: /u: exists already; nothing was done", "mv: /nope: no such znode"]
    assert tree(hosts, "/x/t") == tree(hosts, "/u")
    told = zabsh("create /e; create -e /e/x", "mv /e /f")
    assert told.err.startswith("mv: /e/x: an ephemeral of session 0x") and told.status == 3


def test_mv_of_what_is_large_copies_first(zabsh: Run, hosts: str, tmp_path: Path) -> None:
    (tmp_path / "v").write_bytes(b"x" * 300_000)
    asker = Answers()
    lines = "; ".join(f"create /t/n{i} --file {tmp_path}/v" for i in range(3))
    told = zabsh("create /t", lines, "create /t/n1/below", "mv /t /u", "ls /", asker=asker)
    assert told.status == 0 and told.lines[-1] == "u"
    assert asker.asked[0].startswith("move 5 znodes from /t to /u? They do not fit into one transaction")
    assert sorted(tree(hosts, "/u")) == ["", "/n0", "/n1", "/n1/below", "/n2"]


def test_what_may_not_be_read_is_left_out_and_said(zabsh: Run, hosts: str) -> None:
    told = zabsh("create /t; create /t/no '' ip:203.0.113.1:r; create /t/yes", "cp -r /t /u", "mv /t /v")
    assert told.err.splitlines()[1:] == [
        "/t/no: permission denied: get needs READ on /t/no",
        "cp: 1 znode may not be read, and were left out with all that is below",
        "mv: /t/no: permission denied: get needs READ on /t/no",
    ]
    assert sorted(tree(hosts, "/u")) == ["", "/yes"]


def test_of_several_that_go_somewhere_it_is_said_which_did(zabsh: Run, hosts: str) -> None:
    told = zabsh("create /d; create /e; create /d/b; create /a 1; create /b 2", "mv /a /b /d/")
    assert told.status == 7
    assert told.err == "mv: /d/b: exists already; nothing was done. Before that 1 were moved: /a\n"
    told = zabsh("create /x; create /x/b", "cp /b /x/b /e/")
    assert (told.status, told.err.splitlines()[0]) == (2, "cp: /b and /x/b would both be /e/b; nothing was done")
    assert sorted(tree(hosts, "/e")) == [""]


def test_a_mirror_says_what_belongs_to_sessions(zabsh: Run, hosts: str, tmp_path: Path) -> None:
    asker = Answers(yes=False)
    file = tmp_path / "m"
    zabsh("create /m; create /m/a", f"export /m {file}")
    zabsh("create -e /m/live; create /m/b", f"import --delete {file}", asker=asker)
    assert asker.asked == ["delete 2 znodes under /m, 1 of them ephemeral?"]


def test_nothing_is_deleted_where_something_could_not_be_written(zabsh: Run, hosts: str, tmp_path: Path) -> None:
    zabsh("create /m; create /m/a new", f"export --no-acl /m {tmp_path}/m", "set /m/a old; create /m/b")
    told = zabsh("acl /m/a world:anyone:r", f"import --no-acl --delete {tmp_path}/m", rules=Rules(yes=True))
    assert told.status == 7 and "0 of 1 writes done, 0 deleted; 1 problem" in told.err
    assert sorted(tree(hosts, "/m")) == ["", "/a", "/b"]


def test_another_cluster_is_waited_for_no_longer_than_our_own(
    zabsh: Run, hosts: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else what waits for an answer from there waits for a session's end, whatever --timeout says."""
    patient: list[str] = []
    real = Cluster.patience

    def patience(self: Cluster) -> AbstractContextManager[None]:
        patient.append(self.servers)
        return real(self)

    monkeypatch.setattr(Cluster, "patience", patience)
    server, _, root = hosts.partition("/")
    assert zabsh("create /a", f"cp -r zk://{server}/{root}/a /b", f"diff -r zk://{server}/{root}/a /b").status == 0
    assert patient == [hosts, hosts, server, hosts, server]
