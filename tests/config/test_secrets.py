"""What is encrypted can be read at its place, with its key, and not otherwise; and nothing shows it."""

import os
import pickle
from pathlib import Path

import pytest

from zabpy.config.layers import Layer, merge
from zabpy.config.secrets import Keyring, KeySourceError, SecretError, Secrets, UnknownKeyError, key_ids, key_line
from zabpy.config.values import BadSettingsError

OLD, NEW = key_line("k1"), key_line("k2")


@pytest.fixture
def secrets() -> Secrets:
    return Secrets(Keyring.parse(OLD, "test"), "/config/app")


def test_what_was_concealed_is_revealed_at_its_place(secrets: Secrets) -> None:
    for text in ("hunter2", "", "ключ \N{KEY}\n", "x" * 100_000):
        concealed = secrets.conceal("default", "db.password", text)

        assert concealed.startswith("!enc 1:k1:")
        assert secrets.reveal("default", "db.password", concealed) == text


def test_the_same_text_is_never_encrypted_the_same_way(secrets: Secrets) -> None:
    assert secrets.conceal("default", "a", "x") != secrets.conceal("default", "a", "x")


@pytest.mark.parametrize(
    ("namespace", "layer", "key"),
    [
        ("/config/other", "default", "db.password"),
        ("/config/app", "env.prod", "db.password"),
        ("/config/app", "default", "db.user"),
        ("/config/ap", "pdefault", "db.password"),
    ],
)
def test_a_value_cannot_be_moved(secrets: Secrets, namespace: str, layer: str, key: str) -> None:
    concealed = secrets.conceal("default", "db.password", "hunter2")

    with pytest.raises(SecretError, match=f"was not for {namespace} {key}"):
        Secrets(secrets.keys, namespace).reveal(layer, key, concealed)


def test_not_one_character_of_it_can_be_changed(secrets: Secrets) -> None:
    concealed = secrets.conceal("default", "a", "x")
    begin = len("!enc 1:k1:")
    for at in range(begin, len(concealed) - 1):  # of the last one some bits are padding
        other = "A" if concealed[at] != "A" else "B"
        with pytest.raises(SecretError):
            secrets.reveal("default", "a", concealed[:at] + other + concealed[at + 1 :])
    for length in range(len(concealed) - 2):
        with pytest.raises(SecretError):
            secrets.reveal("default", "a", concealed[:length])


def test_a_key_that_is_not_at_hand_is_named(secrets: Secrets) -> None:
    concealed = Secrets(Keyring.parse(NEW, "test"), "/config/app").conceal("default", "a", "x")

    with pytest.raises(UnknownKeyError, match="with the key 'k2', and at hand are only: k1") as caught:
        secrets.reveal("default", "a", concealed)
    assert caught.value.key_id == "k2"
    assert pickle.loads(pickle.dumps(caught.value)).known == ("k1",)


def test_another_key_of_the_same_id_is_told_of(secrets: Secrets) -> None:
    other = Secrets(Keyring.parse(key_line("k1"), "test"), "/config/app")

    with pytest.raises(SecretError, match="another key of that id"):
        other.reveal("default", "a", secrets.conceal("default", "a", "x"))


def test_after_a_rotation_the_older_key_is_not_needed(secrets: Secrets) -> None:
    old = secrets.conceal("default", "db.password", "hunter2")
    inside = secrets.conceal("env.prod", "db.yaml", "swordfish")
    entries = {
        ("default", "db.password"): old.encode(),
        ("default", "db.host"): b"db1",
        ("env.prod", "db.yaml"): f"# kept\npassword: {inside}\nquoted: '{inside}'\n".encode(),
        ("default", "binary"): b"\xff\x00",
    }
    both = Secrets(Keyring.parse(NEW + OLD, "test"), "/config/app")

    changed = both.rotated(entries)

    assert set(changed) == {("default", "db.password"), ("env.prod", "db.yaml")}
    new = Secrets(Keyring.parse(NEW, "test"), "/config/app")
    assert new.reveal("default", "db.password", changed["default", "db.password"].decode()) == "hunter2"
    merged = merge([Layer("env.prod", {"db.yaml": changed["env.prod", "db.yaml"]})], new.reveal)
    assert merged.tree() == {"db": {"password": "swordfish", "quoted": "swordfish"}}
    assert changed["env.prod", "db.yaml"].startswith(b"# kept\n")
    assert set(key_ids(changed["env.prod", "db.yaml"])) == {"k2"}
    assert both.rotated({**entries, **changed}) == {}


def test_a_rotation_that_meets_a_foreign_value_changes_nothing_and_names_it(secrets: Secrets) -> None:
    third = Secrets(Keyring.parse(key_line("k3"), "test"), "/config/app").conceal("default", "a", "x")

    with pytest.raises(SecretError, match="a .layer default.: it is encrypted with the key 'k3'"):
        secrets.rotated({("default", "a"): third.encode()})


def test_nothing_secret_shows(secrets: Secrets) -> None:
    entries = {"db.port": secrets.conceal("default", "db.port", "hunter2").encode()}

    merged = merge([Layer("default", entries)], secrets.reveal)

    assert merged.at(("db", "port")) is not None
    assert "hunter2" not in repr(merged.leaves)
    assert OLD.split()[1] not in repr(secrets.keys)
    with pytest.raises(BadSettingsError) as caught:
        merge([Layer("default", entries)])
    assert "!enc" not in str(caught.value)


def test_keys_of_a_file_that_others_may_read_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(f"# ours\n\n{NEW}{OLD}")
    file.chmod(0o640)
    with pytest.raises(KeySourceError, match=r"mode 0640.: chmod 600"):
        Keyring.load(f"file:{file}")

    file.chmod(0o600)
    assert Keyring.load(f"file:{file}").ids == ("k2", "k1")
    with pytest.raises(KeySourceError, match="no such variable"):
        Keyring.load("env:ZABPY_NO_SUCH_KEYS")
    with pytest.raises(KeySourceError, match="No such file"):
        Keyring.load(f"file:{file}.gone")
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(KeySourceError, match="it is no file"):
        Keyring.load(f"file:{tmp_path / 'pipe'}")


def test_keys_of_the_environment_and_of_a_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZABPY_KEYS", f"{NEW.strip()};{OLD.strip()}")

    assert Keyring.load("env:ZABPY_KEYS").ids == ("k2", "k1")
    assert Keyring.load('command:sh -c \'echo "$ZABPY_KEYS" | tr ";" "\\n"\'').ids == ("k2", "k1")
    with pytest.raises(KeySourceError, match="command:sh: it failed with status 3"):
        Keyring.load("command:sh -c 'exit 3'")
    with pytest.raises(KeySourceError, match="command:no-such-program: No such file"):
        Keyring.load("command:no-such-program secret-argument")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no key in it"),
        ("k1", "line 1: expected the id"),
        ("\nk1 !!!", "line 2: the key 'k1' is no base64"),
        ("k1 c2hvcnQ=", "has 5 bytes"),
        (OLD + OLD, "line 2: the key 'k1' stands there twice"),
        ("-bad- " + OLD.split()[1], "expected the id"),
    ],
)
def test_a_keyring_that_is_wrong_says_where(text: str, reason: str) -> None:
    with pytest.raises(KeySourceError, match=reason) as caught:
        Keyring.parse(text, "here")
    assert OLD.split()[1] not in str(caught.value)


@pytest.mark.parametrize("source", ["", "file:", "vault:x", "/etc/keys"])
def test_a_source_that_is_none_is_refused(source: str) -> None:
    with pytest.raises(KeySourceError, match="expected file:PATH, env:NAME or command:LINE"):
        Keyring.load(source)
