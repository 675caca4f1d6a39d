"""What must not be done is not done by another command's name, another way, or another cluster's door either."""

from pathlib import Path

import pytest

from shell.settings import Rules

from .conftest import Run
from .test_change_writing import Answers, value_at


@pytest.fixture
def other(hosts: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A profile, ``prod``, whose name has to be typed, and which has no mv; at the same servers. Its address."""
    servers, _, chroot = hosts.partition("/")
    config = tmp_path / "shell.toml"
    config.write_text(
        f'[profile.prod]\nservers = "{servers}"\nchroot = "/{chroot}"\nconfirm_name = true\nforbid = ["mv"]\n'
        f'[profile.dev]\nservers = "{servers}"\nchroot = "/{chroot}"\n'
    )
    monkeypatch.setenv("ZABPY_SHELL_CONFIG", str(config))
    return hosts


@pytest.mark.parametrize("way", ["connect dev", "connect {hosts}", "connect dev; connect"])
def test_a_shell_that_was_made_read_only_stays_so_wherever_it_goes(zabsh: Run, other: str, way: str) -> None:
    told = zabsh("option read_only on", way.format(hosts=other), "create /made")
    assert told.status == 4 and "read-only" in told.err
    told = zabsh(way.format(hosts=other), "create /made", rules=Rules(read_only=True, stays_read_only=True))
    assert (told.status, zabsh("exists /made").out) == (4, "no\n")


def test_another_cluster_has_its_own_rules(zabsh: Run, hosts: str, other: str) -> None:
    zabsh("create /a x", "create /b y")
    told = zabsh("cp -f /a zk://prod/b", rules=Rules(yes=True))
    assert told.status == 4 and "say --confirm prod" in told.err and value_at(hosts, "/b") == b"y"
    told = zabsh("cp -f /a zk://prod/b", asker=Answers(yes=False))
    assert "nothing was done" in told.err and value_at(hosts, "/b") == b"y"
    told = zabsh("mv zk://prod/a zk://prod/c", "mv /a zk://prod/c", asker=Answers())
    assert told.err.count("the profile prod forbids mv, so nothing was done") == 2
    asker = Answers()
    assert zabsh("cp -f /a /b zk://prod/", "cp -f /a zk://prod/c", asker=asker).status == 0
    assert len(asker.asked) == 2 and value_at(hosts, "/c") == b"x"


@pytest.mark.parametrize(
    ("forbidden", "line"),
    [
        ("rm", "deleteall /a"),
        ("rm", "rmr /a"),
        ("rm", "delete /a"),
        ("rm", "txn 'rm /a'"),
        ("rm", "txn 'delete /a'"),
        ("rm", "time deleteall /a"),
        ("RM", "DeleteAll /a"),
        ("deleteall", "rmr /a"),
        ("acl", "setAcl /a world:anyone:r"),
        ("quota", "setquota -n 5 /a"),
    ],
)
def test_who_forbids_a_command_forbids_its_other_spellings(zabsh: Run, forbidden: str, line: str) -> None:
    told = zabsh("create /a", line, rules=Rules(yes=True, name="prod", forbid=frozenset({forbidden})))
    assert told.status == 4 and "forbids it" in told.err
    assert zabsh("exists /a").out == "yes\n"
