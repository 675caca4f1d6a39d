"""shell.toml, the environment and the options: what is refused, and who has the say."""

from pathlib import Path

import pytest

from shell.choosing import Options, choose, of_place
from shell.credentials import Identity, Secret, Tls
from shell.errors import UsageError
from shell.profiles import File, Profile, load, location
from shell.settings import Rules, Settings

GOOD = """\
default = "dev"
output = "yaml"
colors = { prompt = "ansigreen" }

[profile.dev]
servers = "127.0.0.1:2181"

[profile.prod]
servers = "zk1,zk2:2182"
chroot = "/app"
timeout = "5s"
session_timeout = "30s"
output = "json"
color = "always"
read_only = true
confirm_name = true
no_rm = true
forbid = ["mv"]
colors = { path = "bold" }

[profile.prod.tls]
ca = "~/ca.pem"
password_env = "KEY"
verify_names = false

[[profile.prod.auth]]
scheme = "digest"
user = "ann"
password_command = "pass show zk"

[profile.prod.sasl]
mechanism = "scram-sha-256"
user = "bob"
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "shell.toml"
    path.write_text(GOOD)
    return path


def read(path: Path) -> File:
    return load({"ZABPY_SHELL_CONFIG": str(path)})


def test_all_that_a_profile_may_say(config: Path) -> None:
    file = read(config)
    assert (file.default, file.top.output, list(file.profiles), file.remarks) == ("dev", "yaml", ["dev", "prod"], [])
    assert file.profiles["prod"] == Profile(
        "prod",
        output="json",
        color="always",
        timeout_ms=5_000,
        session_timeout_ms=30_000,
        colors={"prompt": "ansigreen", "path": "bold"},
        servers="zk1,zk2:2182/app",
        read_only=True,
        confirm_name=True,
        forbid=frozenset({"rm", "mv"}),
        auth=[Identity("digest", "ann", Secret(command="pass show zk"))],
        sasl=Identity("scram-sha-256", "bob", Secret()),
        tls=Tls({"ca": str(Path("~/ca.pem").expanduser()), "verify_names": False}, Secret(env="KEY")),
    )


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ("outptu = 'json'", "1: outptu: no such key; did you mean output?"),
        ("\noutput = 'xml'", "2: output: expected one of table, json, ndjson, yaml, raw, not 'xml'"),
        ("timeout = '5 parsecs'", "1: timeout: '5 parsecs': expected a time such as 500ms, 30s, 5m, 2h or 1d"),
        ("[profile.x]\nserver = 'a'", "2: profile.x.server: no such key; did you mean servers?"),
        ("[profile.x]\nread_onyl = true", "2: profile.x.read_onyl: no such key; did you mean read_only?"),
        ("[profile.x]\nread_only = 'yes'\nservers = 'a'", "2: profile.x.read_only: expected true or false, not 'yes'"),
        ("\n[profile.x]\n", "2: profile.x: servers is missing: whom to connect to"),
        ("[profile.x]\nservers = 'a/b'\nchroot = '/c'", "3: profile.x.chroot: servers has a chroot already"),
        ("[profile.x]\nservers = 'a'\nchroot = 'c'", "3: profile.x.chroot: 'c' does not begin with /"),
        ("[profile.'a b']\nservers = 'a'", "1: profile.a b: a profile's name consists of letters, digits, - _ and ."),
        (
            "default = 'pord'\n[profile.prod]\nservers = 'a'",
            "1: default: there is no [profile.pord]; did you mean prod?",
        ),
        ("[profile.x]\nservers='a'\nauth = {scheme='digest'}", "3: profile.x.auth: user is missing"),
        ("[profile.x]\nservers='a'\nauth = {user='a'}", "3: profile.x.auth: scheme is missing"),
        (
            "[profile.x]\nservers='a'\n[profile.x.auth]\nscheme='digest'\nuser='u'\npassword_env='A'\npassword_command='b'",
            "6: profile.x.auth.password_env: a password comes from one place, and password_command is another",
        ),
        (
            "[profile.x]\nservers='a'\nsasl = {mechanism='plain',user='u'}",
            "3: profile.x.sasl.mechanism: expected one of digest-md5, scram-sha-256",
        ),
        ("[profile.x]\nservers='a'\ntls = 'yes'", "3: profile.x.tls: expected a table"),
        ("[profile.x]\nservers='a'\ntls = {cert='x'}", "no such key; did you mean certificate?"),
        ("[profile", "Expected ']' at the end of a table declaration (at end of document)"),
    ],
)
def test_a_wrong_file_is_refused_with_its_line_and_what_comes_nearest(config: Path, wrong: str, why: str) -> None:
    config.write_text(wrong)
    with pytest.raises(UsageError) as caught:
        read(config)
    assert str(caught.value).startswith(f"{config}:")
    assert str(caught.value).endswith(why)


def test_a_file_with_a_password_is_for_its_owner_only(config: Path) -> None:
    config.write_text("[profile.x]\nservers='a'\nauth = {scheme='digest', user='u', password='hush'}\n")
    config.chmod(0o644)
    with pytest.raises(UsageError, match=r"others may read it, and it holds a password \(x's auth 1\): chmod 600 it"):
        read(config)
    config.chmod(0o600)
    file = read(config)
    assert len(file.remarks) == 1 and "x's auth 1 holds a password in the clear" in file.remarks[0]
    assert "hush" not in repr(file)


def test_a_file_that_says_what_to_run_is_written_by_its_owner_only(config: Path) -> None:
    config.chmod(0o666)
    with pytest.raises(UsageError, match=r"others may write to it, and it says what to run \(prod's auth 1\)"):
        read(config)


def test_where_the_file_is(tmp_path: Path) -> None:
    assert location({}) == Path("~/.config/zabpy/shell.toml").expanduser()
    assert location({"XDG_CONFIG_HOME": "/etc/xdg"}) == Path("/etc/xdg/zabpy/shell.toml")
    assert location({"XDG_CONFIG_HOME": "/etc/xdg", "ZABPY_SHELL_CONFIG": "/x.toml"}) == Path("/x.toml")
    assert load({"XDG_CONFIG_HOME": str(tmp_path)}).profiles == {}  # there need not be one
    with pytest.raises(UsageError, match="no such file, as ZABPY_SHELL_CONFIG names"):
        load({"ZABPY_SHELL_CONFIG": str(tmp_path / "none")})


# Who has the say ------------------------------------------------------------------------------------------------------


def chosen(config: Path, environment: dict[str, str] | None = None, **options: object) -> Settings:
    return choose(Options(**options), environment or {}, read(config))  # type: ignore[arg-type]


def test_an_option_comes_before_the_environment_and_that_before_the_profile(config: Path) -> None:
    config.write_text(
        "default='dev'\ncolor='never'\noutput='raw'\n[profile.dev]\nservers='dev'\noutput='yaml'\ntimeout='1s'\n"
    )
    env = {"ZABPY_OUTPUT": "ndjson", "ZABPY_TIMEOUT": "2s"}
    settings = chosen(config, env, format="json")
    assert (settings.format, settings.timeout_ms, settings.colour) == ("json", 2_000, "never")
    assert chosen(config, env).format == "ndjson"
    assert (chosen(config).format, chosen(config).timeout_ms) == ("yaml", 1_000)
    assert chosen(config, servers="other").format == "raw"
    assert choose(Options(), {}, File(Profile(""))) == Settings("127.0.0.1:2181", "", "table", "auto", 15_000)


def test_a_profile_asked_for_by_an_option_comes_before_the_environment(config: Path) -> None:
    env = {"ZABPY_SERVERS": "elsewhere", "ZABPY_OUTPUT": "raw", "ZABPY_TIMEOUT": "9s", "ZABPY_AUTH": "digest:x:y"}
    settings = chosen(config, env, profile="prod")
    assert (settings.servers, settings.format, settings.timeout_ms) == ("zk1,zk2:2182/app", "json", 5_000)
    assert [each.name for each in settings.auth] == ["digest:ann"]
    assert chosen(config, {**env, "ZABPY_PROFILE": "dev"}, profile="prod").profile == "prod"
    assert chosen(config, env).format == "raw"


def test_a_profile_goes_with_its_servers(config: Path) -> None:
    """Other servers must not be told its passwords, nor be held for it."""
    config.write_text(GOOD.replace('default = "dev"', 'default = "prod"'))
    for settings in (
        chosen(config, servers="other"),
        chosen(config, {"ZABPY_SERVERS": "other"}),
        chosen(config, {"ZABPY_PROFILE": "prod"}, servers="other"),
    ):
        assert (settings.servers, settings.profile, settings.auth, settings.sasl) == ("other", "", [], None)
    # ... but for who asks for both: one server of the ensemble, say.
    for settings in (
        chosen(config, servers="zk2", profile="prod"),
        chosen(config, {"ZABPY_SERVERS": "zk2", "ZABPY_PROFILE": "prod"}),
    ):
        assert (settings.servers, settings.profile, len(settings.auth)) == ("zk2", "prod", 1)


def test_guard_rails_add_up(config: Path) -> None:
    forbid = frozenset({"rm", "mv"})
    assert chosen(config, profile="prod").rules == Rules(True, False, True, "prod", forbid)
    assert chosen(config, profile="prod", yes=True).rules.yes is False  # its name is wanted
    assert chosen(config, profile="prod", confirm="prod").rules.yes is True
    assert chosen(config, {"ZABPY_READ_ONLY": "1"}, profile="dev").rules == Rules(
        True, name="dev", stays_read_only=True
    )
    with pytest.raises(UsageError, match="--confirm dev: the profile is prod"):
        chosen(config, profile="prod", confirm="dev")


@pytest.mark.parametrize(
    ("environment", "options", "why"),
    [
        ({}, {"profile": "prdo"}, "prdo: no such profile; did you mean prod?"),
        ({"ZABPY_OUTPUT": "xml"}, {}, "ZABPY_OUTPUT=xml: expected one of"),
        ({"ZABPY_READ_ONLY": "maybe"}, {}, "ZABPY_READ_ONLY=maybe: expected 1 or 0"),
        ({"ZABPY_TIMEOUT": "soon"}, {}, "ZABPY_TIMEOUT: 'soon': expected a time"),
        ({"ZABPY_AUTH": "ann"}, {}, "ZABPY_AUTH: expected SCHEME:USER, or SCHEME:USER:PASSWORD"),
        ({}, {"sasl": "plain:ann"}, "--sasl: plain: no such mechanism; there are digest-md5, scram-sha-256"),
    ],
)
def test_what_is_said_wrong_is_named(
    config: Path, environment: dict[str, str], options: dict[str, object], why: str
) -> None:
    with pytest.raises(UsageError) as caught:
        chosen(config, environment, **options)
    assert str(caught.value).startswith(why)


def test_a_password_on_the_command_line_is_remarked_on(config: Path) -> None:
    settings = chosen(config, auth=("digest:ann:hush", "digest:bob"))
    assert [each.secret for each in settings.auth] == [Secret(clear="hush"), Secret()]
    assert len(settings.remarks) == 1 and settings.remarks[0].startswith("--auth: the password is seen in the list of")
    assert "hush" not in repr(settings)


def test_another_place_is_told_nothing_of_this_one(config: Path) -> None:
    here = chosen(config, profile="prod")
    there = of_place("zk9:2181/app", read(config), here)
    assert (there.servers, there.auth, there.rules) == ("zk9:2181/app", [], Rules())
    assert of_place("dev", read(config), here).servers == "127.0.0.1:2181"
    assert of_place("localhost", read(config), here).servers == "localhost"
    with pytest.raises(UsageError, match="prdo: no such profile; did you mean prod?"):
        of_place("prdo", read(config), here)
