"""Every file of conf/ loads as it is, and so do its commented keys at the defaults they show."""

import os
import re
from pathlib import Path

import pytest

from zabpy.server import jaas
from zabpy.server.accounts import accounts_of
from zabpy.server.config import OWN_DIR, SPECIAL, load, parse
from zabpy.server.config_keys import KEYS
from zabpy.server.scram import make_verifier

CONF = Path(__file__).parent.parent / "conf"
FILES = sorted(CONF.rglob("*.cfg"))


def test_there_are_files() -> None:
    assert [str(path.relative_to(CONF)) for path in FILES] == [
        "ensemble/1.cfg",
        "ensemble/2.cfg",
        "ensemble/3.cfg",
        "single.cfg",
        "tls.cfg",
    ]


def test_the_example_of_accounts_has_none_and_its_lines_make_some() -> None:
    text = (CONF / "jaas.conf").read_text(encoding="utf-8")
    assert len(accounts_of(jaas.parse(text, "f")["Server"], "f", os.urandom)) == 0
    verifier = make_verifier("x", os.urandom(16)).text()
    text = text.replace('// user_alice="..."', 'user_alice="x"')
    text = text.replace('// scram_bob="SCRAM-SHA-256$4096:...$...:..."', f'scram_bob="{verifier}"')
    assert len(accounts_of(jaas.parse(text, "f")["Server"], "f", os.urandom)) == 2


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(CONF)))
def test_it_loads_without_a_warning(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    number = int(path.stem) if path.stem.isdecimal() else 0
    if number:
        (tmp_path / "data" / path.stem).mkdir(parents=True)
        (tmp_path / "data" / path.stem / "myid").write_text(f"{number}\n")
    config = load(str(path))
    assert config.server_id == number
    assert config.log_dir == str(tmp_path / "data" / path.stem / OWN_DIR)
    assert config.warnings == config.notices == ()


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(CONF)))
def test_the_defaults_it_shows_are_the_defaults(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    number = int(path.stem) if path.stem.isdecimal() else 0
    shown = re.sub(r"^#([A-Za-z0-9._]+=.+)$", r"\1", text, flags=re.MULTILINE)
    assert shown != text
    assert parse(shown, server_id=number) == parse(text, server_id=number)


def test_every_key_is_shown_somewhere() -> None:
    """But for those that only repeat another: with TLS between servers, and in files made for ZooKeeper."""
    shown = set(re.findall(r"^#? ?([A-Za-z0-9._]+)=", "\n".join(path.read_text() for path in FILES), re.MULTILINE))
    unsaid = {"standaloneEnabled", "peerType", "dynamicConfigFile", "forceSync", "ssl.hostnameVerification"}
    unsaid |= {"requireClientAuthScheme"} | {key for key in KEYS if key.startswith("ssl.quorum.")}
    assert (set(KEYS) | set(SPECIAL)) - unsaid - shown == set()
