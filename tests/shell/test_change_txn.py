"""txn, and begin … commit or abort."""

from shell.settings import Rules

from .conftest import Run


def test_a_transaction_in_one_line(zabsh: Run) -> None:
    told = zabsh(
        "create /a 1; create /c",
        "txn 'check /a 0; set /a x; create -s /b- \"two words\"; rm /c'",
        "ls /",
        format="table",
    )
    assert [line.split() for line in told.lines[2:]] == [
        ["NUMBER", "OPERATION", "PATH", "RESULT"],
        ["1", "check", "/a", "as", "expected"],
        ["2", "set", "/a", "version", "1"],
        ["3", "create", "/b-0000000002", "created"],
        ["4", "delete", "/c", "deleted"],
        ["a"],
        ["b-0000000002"],
    ]


def test_nothing_of_it_is_done_and_it_says_why(zabsh: Run) -> None:
    told = zabsh("create /a", "txn 'create /b; set -v 7 /a x; create /c'", "ls /")
    assert told.lines == ["/a", "a"]
    assert told.err == (
        "txn: operation 2 of 3, set /a at version 7: has another version, it is 0 now; nothing was done\n"
    )
    told = zabsh("txn 'create /x/y'", "txn check /nope", "txn 'create /a'", "txn 'rm /q; rm /q'")
    assert told.err.splitlines() == [
        "txn: operation 1 of 1, create /x/y: has no parent; nothing was done",
        "txn: operation 1 of 1, check /nope: no such znode; nothing was done",
        "txn: operation 1 of 1, create /a: exists already; nothing was done",
        "txn: operation 1 of 2, delete /q: no such znode; nothing was done",
    ]
    assert zabsh("txn 'ls /'").err.startswith("txn: operation 1, ls: expected check, create, set or rm\n")
    assert zabsh('txn "set \'x"').err.startswith("txn: the ' at column 5 does not end")
    assert zabsh("txn 'set'").status == zabsh("check /a").status == zabsh("commit").status == 2


def test_a_transaction_line_by_line(zabsh: Run) -> None:
    told = zabsh("create /a", "begin", "check /a 0", "set /a x", "create /b", "ls /", "commit -n", "commit", "ls /")
    assert told.status == 0
    assert told.err.splitlines() == [
        "1: check /a at version 0 (commit does it)",
        "2: set /a (commit does it)",
        "3: create /b (commit does it)",
        "nothing was done",
    ]
    assert told.lines[:2] == ["/a", "a"] and told.lines[-2:] == ["a", "b"]
    assert any(line.split() == ["3", "create", "/b", "-", "not", "there"] for line in told.lines)
    told = zabsh("begin", "rm /a", "begin", "rm -r /a", "abort", "ls /", "begin", rules=Rules(yes=True))
    assert told.lines == ["a", "b"]
    assert "1 operations forgotten" in told.err and "a subtree is not deleted in a transaction" in told.err
