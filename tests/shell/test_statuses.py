"""Each status that docs/shell.md names, from a line that ends with it."""

import pytest

from shell.errors import Status
from shell.settings import Rules

from .conftest import Run

#: What is typed for each; those of locks that are lost and of output that nobody reads are tested where those are.
LINES: dict[Status, tuple[str, ...]] = {
    Status.OK: ("create /a && get /a", "exists /", "rm -f /none", "ls /none || pwd"),
    Status.NO: ("get /none", "exists /none", "ls /none*", "create /a x; grep y /a", "cd /none", "delquota /none"),
    Status.USAGE: ("lss", "ls --nope", "set /a", "cd 'x", "sleep soon", "create /a x no:acl", "get /a/\x01"),
    Status.CONFLICT: ("create /a; create /a", "create /a; set -v 7 /a x", "create -p /a/b x; rm /a"),
    Status.DENIED: (
        "create /a; rm -r /a",  # there is nobody to be asked
        "create /a x ip:1.2.3.4:cdrwa; get /a",
        "create /a x ip:1.2.3.4:cdrwa; create /a/b",
        "rm -r /",
    ),
    Status.CONNECTION: ("close; ls /", "connect 127.0.0.1:1"),
    Status.TIMEOUT: ("watch /none --timeout 10ms",),
    Status.PARTIAL: ("create /a; create /a/b x ip:1.2.3.4:cdrwa; ls -R /a",),
    Status.FAILED: ("pwd > /no/such/file",),
}


@pytest.mark.parametrize(
    ("status", "line"),
    [(status, line) for status, lines in LINES.items() for line in lines if "127.0.0.1:1" not in line],
)
def test_each_status(zabsh: Run, status: Status, line: str) -> None:
    told = zabsh(line)
    assert told.status == status, told
    assert told.err or status in (Status.OK, Status.NO)


def test_all_are_tested() -> None:
    assert set(Status) - set(LINES) == {Status.LOST, Status.INTERRUPTED, Status.PIPE}


def test_a_read_only_shell_refuses_by_the_command(zabsh: Run) -> None:
    for line in ("create /a", "set /a x", "rm /a", "touch /a", "deleteall /a", "setquota -n 1 /a", "setAcl /a x"):
        told = zabsh(line, rules=Rules(read_only=True))
        assert told.status == Status.DENIED and "this shell is read-only, so nothing was done" in told.err, line
