"""What must not be done is not done by another command's name, another way, or another cluster's door either."""

import re
from pathlib import Path

import pytest

from shell.choosing import Options, choose, of_place
from shell.command import REGISTRY
from shell.errors import UsageError
from shell.names import COMMANDS
from shell.profiles import load
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
        ("delete", "rm /a"),
        ("deleteall", "rm -r /a"),
        ("rmr", "delete /a"),
        ("setAcl", "acl /a world:anyone:r"),
        ("cat", "get /a"),
        ("rm", "import --delete nothing.ndjson"),
    ],
)
def test_who_forbids_a_command_forbids_its_other_spellings(zabsh: Run, forbidden: str, line: str) -> None:
    told = zabsh("create /a", line, rules=Rules(yes=True, name="prod", forbid=frozenset({forbidden})))
    assert told.status == 4 and re.search("forbids (it|rm)", told.err)
    assert zabsh("exists /a").out == "yes\n"


def test_the_names_are_those_of_the_commands() -> None:
    assert {name: it.same_as or it.name for name, it in REGISTRY.items()} == COMMANDS


@pytest.mark.parametrize(
    ("forbidden", "said"),
    [
        ("delet", r"shell\.toml:3: profile\.x\.forbid: delet: no such command; did you mean delete\?"),
        ("rm -r", "rm -r: no such command; did you mean rmr?"),
        ("zzzzzz", "zzzzzz: no such command; help lists them"),
    ],
)
def test_a_profile_forbids_no_command_that_there_is_not(tmp_path: Path, forbidden: str, said: str) -> None:
    config = tmp_path / "shell.toml"
    config.write_text(f'[profile.x]\nservers = "a"\nforbid = ["RM", "{forbidden}"]\n')
    with pytest.raises(UsageError, match=said):
        load({"ZABPY_SHELL_CONFIG": str(config)})


CLUSTERS = """
[profile.a]
servers = "a1:2181,a2"
chroot = "/app"
confirm_name = true
[profile.b]
servers = "b1"
[profile.c]
servers = "c1"
read_only = true
forbid = ["mv"]
"""


@pytest.mark.parametrize(
    ("options", "where", "yes"),
    [
        (Options(profile="a", confirm="a"), "b", False),
        (Options(profile="a", confirm="a"), "b1:2181", False),
        (Options(profile="a", confirm="a"), "a", True),
        (Options(profile="a", confirm="a", yes=True), "b", True),
        (Options(profile="b", yes=True), "a", False),
        (Options(profile="b", yes=True), "A2:2181", False),
        (Options(profile="b", yes=True), "a2:2182", True),
        (Options(profile="b", yes=True), "b1:2181", True),
    ],
)
def test_a_yes_by_name_is_for_that_cluster(tmp_path: Path, options: Options, where: str, yes: bool) -> None:
    config = tmp_path / "shell.toml"
    config.write_text(CLUSTERS)
    file = load({"ZABPY_SHELL_CONFIG": str(config)})
    assert of_place(where, file, choose(options, {}, file)).rules.yes is yes


@pytest.mark.parametrize(
    ("where", "guard"),
    [
        ("c1:2181", "c"),
        ("x,C1/any/where", "c"),
        ("a2/app/below", "a"),
        ("a1:2181", "a"),
        ("a1/other", ""),
        ("a1/application", ""),
        ("b1:2181", ""),
        ("[::1]:2181", ""),
    ],
)
def test_an_address_is_no_way_around_a_profile(tmp_path: Path, where: str, guard: str) -> None:
    config = tmp_path / "shell.toml"
    config.write_text(CLUSTERS)
    file = load({"ZABPY_SHELL_CONFIG": str(config)})
    rules = of_place(where, file, choose(Options(servers="x"), {}, file)).rules
    assert (rules.name, rules.confirm_name, rules.read_only) == (guard, guard == "a", guard == "c")
    assert rules.forbids("mv") is (guard == "c")


@pytest.mark.parametrize(
    ("where", "guard"),
    [
        ("localhost:2181", "here"),
        ("127.0.0.1", "here"),
        ("[::1]:2181", "here"),
        ("::1", "here"),
        ("[::ffff:127.0.0.1]:2181", "here"),
        ("0.0.0.0:2181", "here"),
        ("LOCALHOST.", "here"),
        ("localhost:2182", ""),
        ("[fd00::0:1]:2181", "six"),
        ("fd00::1", "six"),
        ("[fd00::1]:2182", ""),
    ],
)
def test_a_server_by_another_of_its_addresses_is_the_same(tmp_path: Path, where: str, guard: str) -> None:
    config = tmp_path / "shell.toml"
    config.write_text(
        '[profile.here]\nservers = "127.0.0.1:2181"\nconfirm_name = true\n'
        '[profile.six]\nservers = "[fd00::1]:2181"\nconfirm_name = true\n'
    )
    file = load({"ZABPY_SHELL_CONFIG": str(config)})
    assert choose(Options(servers=where), {}, file).rules.name == guard


@pytest.mark.parametrize(
    ("options", "environment", "guard", "yes"),
    [
        (Options(servers="a1"), {}, "a", False),
        (Options(servers="a1", yes=True), {}, "a", False),
        (Options(servers="a1", confirm="a"), {}, "a", True),
        (Options(), {"ZABPY_SERVERS": "c1"}, "c", False),
        (Options(servers="c1", profile="b"), {}, "b", False),
        (Options(servers="b1", yes=True), {}, "", True),
    ],
)
def test_the_command_line_is_no_way_around_a_profile(
    tmp_path: Path, options: Options, environment: dict[str, str], guard: str, yes: bool
) -> None:
    config = tmp_path / "shell.toml"
    config.write_text(CLUSTERS)
    found = choose(options, environment, load({"ZABPY_SHELL_CONFIG": str(config)}))
    assert (found.rules.name, found.rules.yes, found.rules.read_only) == (guard, yes, guard == "c")
    assert found.auth == [] and (found.profile == "" or options.profile)


def test_another_cluster_is_not_confirmed(tmp_path: Path) -> None:
    config = tmp_path / "shell.toml"
    config.write_text(CLUSTERS)
    with pytest.raises(UsageError, match="--confirm b"):
        choose(Options(servers="a1", confirm="b"), {}, load({"ZABPY_SHELL_CONFIG": str(config)}))


def test_a_transaction_stays_with_its_cluster(zabsh: Run, other: str) -> None:
    told = zabsh("begin", "create /made", "connect dev", "commit", "exists /made")
    assert "connect: a transaction is being put together for this cluster" in told.err
    assert told.lines[-1] == "yes"
