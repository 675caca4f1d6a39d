"""No password shows anywhere: each way in, and all that the program says meanwhile, its debug log among it."""

import os
import secrets
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from shell.choosing import Options, choose
from shell.errors import UsageError
from shell.interactive.history import is_secret
from shell.profiles import load
from tests.server.authority import Authority, pem_of

from .screen import CTRL_L, ENTER, UP
from .terminals import PROGRAM, places, zabsh

#: What must not show, another one each time, so that no other program's words have it.
HUSH = "hush" + secrets.token_hex(6)
ANN = '[profile.p]\nservers = "HOSTS"\nauth = [{ scheme = "digest", user = "ann", MORE }]\n'
SASL = '[profile.p]\nservers = "HOSTS"\nsasl = { mechanism = "digest-md5", user = "ann", MORE }\n'
TLS = '[profile.p]\nservers = "HOSTS"\ntls = { certificate = "KEYS/ann.crt", key = "KEYS/ann.key", MORE }\n'
KEY = {"ZABPY_TLS_CERT": "KEYS/ann.crt", "ZABPY_TLS_KEY": "KEYS/ann.key"}
#: What is said of a shell itself, and which processes run.
ALL = "whoami; auth; option; history; profiles; ls / | cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' '"


class Case(NamedTuple):
    #: The lines on stdin.
    lines: str
    #: What is told, so that the case is known to have come as far as it should.
    told: str
    profile: str = ""
    words: tuple[str, ...] = ()
    env: dict[str, str] = {}


CASES = {
    "a line": Case(f"addauth digest bob:{HUSH}; {ALL}", "also digest bob"),
    "words": Case("", "also digest bob", words=("auth", "digest", f"bob:{HUSH}")),
    "nobody to ask": Case(f"auth digest {HUSH[:1]}", "nobody to ask"),
    "apart": Case(f"auth digest bob {HUSH}", "unexpected extra argument"),
    "a flag": Case(f"auth digest bob --{HUSH}=x", "No such option"),
    "with its scheme": Case(f"auth digest:bob:{HUSH}", "a scheme has no :"),
    "misspelt": Case(f"addauht digest bob:{HUSH}", "no such command"),
    "no such scheme": Case(f"auth nosuch bob:{HUSH}", "auth: "),
    "no UTF-8": Case(f"auth digest bob:{HUSH}\udcff", "not in UTF-8"),
    "while a transaction is put together": Case(
        f"begin; create /mine x; auth digest bob:{HUSH}; txn; commit -n; {ALL}", "also digest bob"
    ),
    "its hash": Case(f"auth --digest bob:{HUSH}", "digest:bob:"),
    "an ACL": Case(f"acl / digest:bob:{HUSH}", "expected SCHEME:ID"),
    "an ACL without permissions": Case(f"acl / digest:bob:{HUSH}:", "no permission"),
    "an ACL to add": Case(f"acl / --add digest:bob:{HUSH}:xyz", "acl: "),
    "an ACL to take out": Case(f"acl / --remove digest:bob:{HUSH}", "no entry for it"),
    "an ACL of a new znode": Case(f"create /mine x digest:bob:{HUSH}:", "no permission"),
    "an ACL as zkCli.sh sets it": Case(f"setAcl / digest:bob:{HUSH}", "expected SCHEME:ID"),
    "--auth": Case("ls /", "the password is seen in the list of processes", words=("--auth", f"digest:ann:{HUSH}")),
    "--auth without a user": Case("ls /", "expected SCHEME:USER", words=("--auth", f"digest::{HUSH}")),
    "--auth, nothing but": Case("ls /", "expected SCHEME:USER", words=("--auth", HUSH)),
    "--sasl": Case("ls /", "SASL", words=("--sasl", f"digest-md5:ann:{HUSH}")),
    "--sasl, no such": Case("ls /", "no such mechanism", words=("--sasl", f"plain:ann:{HUSH}")),
    "ZABPY_AUTH": Case(ALL, "read_only", env={"ZABPY_AUTH": f"digest:ann:{HUSH}"}),
    "ZABPY_AUTH, wrong": Case("ls /", "ZABPY_AUTH: expected", env={"ZABPY_AUTH": f":{HUSH}"}),
    "ZABPY_SASL": Case("ls /", "SASL", env={"ZABPY_SASL": f"digest-md5:ann:{HUSH}"}),
    "a profile's": Case(ALL, "in the clear", ANN.replace("MORE", f'password = "{HUSH}"')),
    "a profile's, no text": Case("ls /", "expected a text, not list", ANN.replace("MORE", f'password = ["{HUSH}"]')),
    "a profile's, no TOML": Case("ls /", "shell.toml: ", ANN.replace("MORE", f'password = "{HUSH}')),
    "a profile's, the wrong key": Case(
        "ls /", "expected true or false, not str", ANN.replace("MORE", f'password_prompt = "{HUSH}"')
    ),
    "profiles": Case("", "digest:ann", ANN.replace("MORE", f'password = "{HUSH}"'), ("--list-profiles",)),
    "a profile's variable": Case(ALL, "read_only", ANN.replace("MORE", 'password_env = "ANN"'), env={"ANN": HUSH}),
    "a command": Case(ALL, "read_only", ANN.replace("MORE", f'password_command = "echo {HUSH}"')),
    "a command that fails": Case(
        "ls /",
        "shell.toml:3: profile.p.auth.password_command ended with status 3",
        ANN.replace("MORE", f'password_command = "echo {HUSH}; echo locked >&2; exit 3"'),
    ),
    "a command, no UTF-8": Case(
        "ls /", "not in UTF-8", ANN.replace("MORE", f"password_command = 'printf \"{HUSH}\\377\"'")
    ),
    "a command's SASL": Case("ls /", "SASL", SASL.replace("MORE", f'password_command = "echo {HUSH}"')),
    "a profile's SASL": Case("ls /", "SASL", SASL.replace("MORE", f'password = "{HUSH}"')),
    "a key's": Case("ls /", "no server within", env={**KEY, "ZABPY_TLS_KEY_PASSWORD": HUSH}, words=("--timeout", "1s")),
    "a key's, wrong": Case("ls /", "not the key's", env={**KEY, "ZABPY_TLS_KEY_PASSWORD": f"{HUSH}x"}),
    "a key's, by a profile, wrong": Case("ls /", "not the key's", TLS.replace("MORE", f'password = "{HUSH}x"')),
    "a key's, by a command, wrong": Case(
        "ls /", "not the key's", TLS.replace("MORE", f'password_command = "echo {HUSH}x"')
    ),
    "completion": Case("", "whoami", words=("--complete", "--auth", f"digest:ann:{HUSH}", "who")),
    "completion behind it": Case("", "", words=("--complete", "auth", "digest", f"bob:{HUSH}")),
}
#: The program, with a bug in it.
PLANTED = """
import zabpy.client
async def add_auth(self, scheme, credential): raise RuntimeError("planted")
zabpy.client.Client.add_auth = add_auth
from shell.main import main
main()
"""


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where ann.crt is, and ann.key, whose password is the secret."""
    authority = Authority(tmp_path_factory.mktemp("secrets"))
    whole = pem_of(authority.issue("ann.example", name="ann"), HUSH)
    at = whole.index(b"-----BEGIN CERTIFICATE-----")
    (authority.directory / "ann.key").write_bytes(whole[:at])
    (authority.directory / "ann.crt").write_bytes(whole[at:])
    return Path(authority.directory)


def run(case: Case, tmp_path: Path, hosts: str, keys: Path, program: tuple[str, ...] = (PROGRAM,)) -> str:
    """All that the program says, with -vv."""
    env = {name: value.replace("KEYS", str(keys)) for name, value in case.env.items()}
    words = case.words
    if words[:1] != ("--complete",):
        words = ("-vv", *(("-p", "p") if case.profile else ("-s", hosts)), "--timeout", "5s", "-k", *words)
    if case.profile:
        file = tmp_path / "shell.toml"
        file.write_text(case.profile.replace("HOSTS", hosts).replace("KEYS", str(keys)))
        file.chmod(0o600)
        env["ZABPY_SHELL_CONFIG"] = str(file)
    done = subprocess.run(
        [*program, *words],
        input=case.lines.encode("utf-8", "surrogateescape"),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, **places(tmp_path), **env},
        timeout=60,
        check=False,
    )
    return done.stdout.decode("utf-8", "backslashreplace")


@pytest.mark.parametrize("name", CASES)
def test_a_secret_shows_nowhere(name: str, tmp_path: Path, hosts: str, keys: Path) -> None:
    said = run(CASES[name], tmp_path, hosts, keys)
    assert CASES[name].told in said and "Traceback" not in said, said
    assert HUSH not in said


def test_a_traceback_shows_no_secret(tmp_path: Path, hosts: str, keys: Path) -> None:
    said = run(Case(f"auth digest bob:{HUSH}", ""), tmp_path, hosts, keys, (sys.executable, "-c", PLANTED))
    assert "Traceback" in said and "RuntimeError: planted" in said, said
    assert HUSH not in said


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.profile])
def test_no_repr_shows_a_secret(name: str, tmp_path: Path) -> None:
    file = tmp_path / "shell.toml"
    file.write_text(CASES[name].profile)
    file.chmod(0o600)
    shown: object
    try:
        profiles = load({"ZABPY_SHELL_CONFIG": str(file)})
        shown = profiles, choose(Options(profile="p"), {}, profiles)
    except UsageError as error:
        shown = error
    assert HUSH not in repr(shown)


def test_no_repr_of_options_shows_a_secret() -> None:
    options = Options(auth=(f"digest:ann:{HUSH}",), sasl=f"digest-md5:ann:{HUSH}")
    environment = {"ZABPY_AUTH": f"digest:ann:{HUSH}", "ZABPY_TLS": "1", "ZABPY_TLS_KEY_PASSWORD": HUSH}
    for given in (options, Options()):
        assert HUSH not in repr((given, choose(given, environment, load({"XDG_CONFIG_HOME": "/nowhere"}))))


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if HUSH in case.lines])
def test_no_history_has_a_secret(name: str) -> None:
    assert is_secret(CASES[name].lines)
    assert is_secret(f"auth 'digest' \"bob:{HUSH}\"")


@pytest.mark.parametrize("line", ["acl /a --add digest:bob:fpKCvTnIaHM4Cq7bJQBAF0pnb3Y=:r", "get /digest/a:b"])
def test_history_has_what_is_none(line: str) -> None:
    assert not is_secret(line)


def test_what_is_typed_at_a_prompt(tmp_path: Path, hosts: str) -> None:
    with zabsh(hosts, tmp_path) as screen:
        screen.run("pwd")
        screen.type(f"auth digest bob{ENTER}")
        screen.until("password of bob: ?$")
        screen.type(HUSH + ENTER)
        screen.until("also digest bob")
        assert HUSH not in screen.text
        screen.run(f"addauth digest bob:{HUSH}")
        screen.run(f"addauht digest bob:{HUSH}")
        screen.type(CTRL_L)
        screen.until(lambda it: HUSH not in it.text)
        for line in ("history", "redo 0", "whoami"):
            screen.run(line)
        screen.type(UP)
        screen.until("> whoami$")
        assert HUSH not in screen.text
    kept = [each for each in (tmp_path / "state").rglob("*") if each.is_file()]
    assert kept and not [each for each in kept if HUSH.encode() in each.read_bytes()]
