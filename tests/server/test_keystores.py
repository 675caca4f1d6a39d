"""Stores in every form, and each thing that can be wrong with one in a line of its own."""

import base64
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.server.authority import PASSWORD, Authority, jks_of, jks_trust_of, pem_of, pkcs12_of
from zabpy.server.credentials import Credentials, CredentialsError
from zabpy.server.keystores import StoreError, WrongPasswordError, read_key_store, read_trust_store
from zabpy.server.tls_settings import StoreSettings, TlsSettings

#: keytool -genkeypair -keyalg EC -groupname secp256r1 -storetype JKS -storepass secret1 -dname CN=golden
GOLDEN_JKS = base64.b64decode(
    """
/u3+7QAAAAIAAAABAAAAAQABYQAAAaIDETlTAAAAfzB9MA4GCisGAQQBKgIRAQEFAARry2TJ0pJoUuEX7MhMvTxf7Dm5ow0mJrlKbzxvGfLM3JvWIM3y
X0hay4IeZ8z6dO2SMCmUCEUun6gu+Zj15CtZtTn6UQ/lAyb//4Pj0lxnqoaVWl5hMKqBlTcVQx8OUFg6fFU282GRiHzL6G4AAAABAAVYLjUwOQAAAT8w
ggE7MIHioAMCAQICCQC4bQIg0X6EFjAKBggqhkjOPQQDAjARMQ8wDQYDVQQDEwZnb2xkZW4wIBcNMjYxMTIyMTE0MzA5WhgPMjEyNjEwMjkxMTQzMDla
MBExDzANBgNVBAMTBmdvbGRlbjBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABBYiW6w8AjBnJICs0zE0VoUK1FvMZcyXzRNivycFDZJ10hDQzgcJ6IFU
Z2GM2NKJEp6vdpewsIzN0e5ofXwTisijITAfMB0GA1UdDgQWBBTurGrCgG3BCWTrqnRidbI2ezpFDDAKBggqhkjOPQQDAgNIADBFAiB+XzsrLRwMftDu
eiRvvG50l+YSp6Is0jT65Q2ONiSz2gIhAPrqsKqZHb8WzOA56QNtak9kOv5+Tl21bOnGnptclg+C+3fb/86Xp8Oqc+wrRGLerKRNOhE=
"""
)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


def test_the_same_key_and_chain_come_out_of_every_form(authority: Authority) -> None:
    leaf = authority.issue("localhost")
    plain = read_key_store(pem_of(leaf), "")
    assert len(plain.chain) == 1
    whole = plain.key.private_numbers()  # type: ignore[union-attr]
    for data in (pem_of(leaf, PASSWORD), pkcs12_of(leaf), jks_of(leaf)):
        store = read_key_store(data, PASSWORD)
        assert store.chain == plain.chain
        assert store.key.private_numbers() == whole  # type: ignore[union-attr]
        for wrong in ("wrong", ""):
            with pytest.raises(WrongPasswordError):
                read_key_store(data, wrong)
    assert read_key_store(pem_of(leaf), "not needed").chain == plain.chain


def test_the_chain_begins_with_the_certificate_of_the_key_whatever_the_order(authority: Authority) -> None:
    middle = authority.ca.create_child_ca()
    leaf = middle.issue_cert("localhost")
    key, *chain = (leaf.private_key_pem.bytes(), *(blob.bytes() for blob in leaf.cert_chain_pems))
    assert len(chain) == 2
    stores = [read_key_store(b"".join(data), "") for data in ([key, *chain], [*reversed(chain), key])]
    assert stores[0].chain == stores[1].chain == read_key_store(pkcs12_of(leaf), PASSWORD).chain
    assert stores[0].chain == read_key_store(jks_of(leaf), PASSWORD).chain


def test_java_wrote_this() -> None:
    store = read_key_store(GOLDEN_JKS, "secret1")
    assert len(store.chain) == 1
    assert read_trust_store(GOLDEN_JKS, "secret1") == store.chain  # as Java: a key's own certificate is trusted
    assert "golden" not in repr(store) and "key" not in repr(store)


@pytest.mark.skipif(not shutil.which("keytool"), reason="java is not installed")
@pytest.mark.parametrize("kind", ["JKS", "PKCS12"])
def test_what_keytool_writes_today_is_read(tmp_path: Path, authority: Authority, kind: str) -> None:
    def keytool(*words: str) -> None:
        command = ["keytool", *words, "-storetype", kind, "-storepass", "secret1"]
        subprocess.run(command, check=True, capture_output=True, timeout=60)

    keys, trust = str(tmp_path / "keys"), str(tmp_path / "trust")
    keytool("-genkeypair", "-alias", "a", "-keyalg", "RSA", "-dname", "CN=x", "-keystore", keys)
    keytool("-importcert", "-noprompt", "-alias", "b", "-file", authority.trust, "-keystore", trust)
    assert len(read_key_store(Path(keys).read_bytes(), "secret1").chain) == 1
    expected = read_trust_store(Path(authority.trust).read_bytes(), "")
    assert read_trust_store(Path(trust).read_bytes(), "secret1") == expected


def test_trust_stores_of_every_form(authority: Authority) -> None:
    (certificate,) = read_trust_store(Path(authority.trust).read_bytes(), "")
    jks = jks_trust_of(authority)
    assert read_trust_store(jks, PASSWORD) == read_trust_store(jks, "") == (certificate,)  # as Java: without password
    with pytest.raises(WrongPasswordError):
        read_trust_store(jks, "wrong")
    leaf = authority.ca.create_child_ca().issue_cert("localhost")
    own = read_key_store(pkcs12_of(leaf), PASSWORD).chain[0]
    assert read_trust_store(pkcs12_of(leaf), PASSWORD) == (own,)  # not the chain that came with the key


@pytest.mark.parametrize("cut", [5, 50, 400, -1])
def test_a_damaged_store_is_an_error_of_one_line(authority: Authority, cut: int) -> None:
    leaf = authority.issue("localhost")
    for data in (pem_of(leaf, PASSWORD), pkcs12_of(leaf), jks_of(leaf), jks_trust_of(authority)):
        for read in (read_key_store, read_trust_store):
            for password in (PASSWORD, ""):
                said = _failure(read, data[:cut] + data[cut + 40 :] if cut > 0 else b"", password)
                # Of a trust store read without its password what was cut out may have been of no certificate.
                assert said or read is read_trust_store
                assert "\n" not in said


def _failure(read: Callable[[bytes, str], object], data: bytes, password: str) -> str:
    try:
        read(data, password)
    except StoreError as error:
        return str(error)
    return ""


# With the file and the key of zoo.cfg ---------------------------------------------------------------------------------


def loaded(
    key: str, trust: str, *, password: str = "", password_path: str | None = None, **more: object
) -> Credentials:
    settings = TlsSettings(
        config_path="zoo.cfg",
        key_store=StoreSettings(key="ssl.keyStore", path=key, password=password, password_path=password_path),
        trust_store=StoreSettings(key="ssl.trustStore", path=trust),
        **more,  # type: ignore[arg-type]
    )
    made = Credentials(settings)
    made.load()
    return made


def test_each_thing_that_is_wrong_has_its_line(authority: Authority, tmp_path: Path) -> None:
    good = authority.pem("good.pem", "localhost")
    locked = tmp_path / "locked.p12"
    locked.write_bytes(pkcs12_of(authority.issue("localhost")))
    mixed = tmp_path / "mixed.pem"
    other = pem_of(authority.issue("localhost"))
    mixed.write_bytes(
        Path(good).read_bytes().partition(b"-----BEGIN CERT")[0] + other[other.index(b"-----BEGIN CERT") :]
    )
    empty = tmp_path / "empty.pem"
    empty.write_bytes(b"")
    jceks = tmp_path / "old.jceks"
    jceks.write_bytes(bytes.fromhex("cececece") + bytes(100))
    missing = str(tmp_path / "missing")

    def error(key: str, trust: str, **more: str) -> str:
        with pytest.raises(CredentialsError) as caught:
            loaded(key, trust, **more)
        assert PASSWORD not in str(caught.value)
        return str(caught.value)

    trust = authority.trust
    assert error(missing, trust) == (
        f"zoo.cfg: ssl.keyStore.location={missing}: No such file or directory: expected a readable file"
    )
    assert error(good, missing).startswith(f"zoo.cfg: ssl.trustStore.location={missing}: No such file")
    assert error(str(locked), trust, password="wrong") == (
        f"zoo.cfg: ssl.keyStore.location={locked}: PKCS#12 that cannot be read: a wrong password, or a damaged file "
        "(ssl.keyStore.password)"
    )
    assert error(str(mixed), trust).endswith("the private key belongs to none of its certificates")
    assert error(good, str(empty)).startswith(f"zoo.cfg: ssl.trustStore.location={empty}: not PEM, PKCS#12 or JKS")
    assert error(trust, trust).endswith("no private key in it")
    assert "keytool -importkeystore" in error(str(jceks), trust)
    assert error(str(locked), trust, password_path=missing).startswith(
        f"zoo.cfg: ssl.keyStore.passwordPath={missing}: No"
    )


def test_a_password_may_stand_in_a_file_of_its_own(authority: Authority, tmp_path: Path) -> None:
    locked, password = tmp_path / "locked.p12", tmp_path / "password"
    locked.write_bytes(pkcs12_of(authority.issue("localhost")))
    password.write_text(PASSWORD + "\n")
    made = loaded(str(locked), authority.trust, password="wrong", password_path=str(password))
    assert PASSWORD not in repr(made.settings)
    assert "wrong" not in repr(made.settings)


def test_ciphers_are_those_that_exist_and_that_authenticate(authority: Authority) -> None:
    key = authority.pem("good.pem", "localhost")
    made = loaded(key, authority.trust, ciphers=("ECDHE-RSA-AES128-GCM-SHA256",))
    old = [each["name"] for each in made.accepting.get_ciphers() if each["protocol"] != "TLSv1.3"]
    assert old == ["ECDHE-RSA-AES128-GCM-SHA256"]
    for wrong in ("NO-SUCH-SUITE", "ADH-AES128-SHA256", "NULL-SHA256"):
        with pytest.raises(CredentialsError, match="ssl.ciphersuites"):
            loaded(key, authority.trust, ciphers=(wrong,))


def test_nothing_of_the_key_stays_in_the_directory_for_temporary_files(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    loaded(authority.pem("good.pem", "localhost"), authority.trust)
    assert list(tmp_path.iterdir()) == []
