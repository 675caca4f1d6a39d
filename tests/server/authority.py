"""Certificates for tests: authorities, and what they sign, in each form that a server reads."""

import hashlib
import struct
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
    pkcs12,
)
from cryptography.x509 import load_pem_x509_certificate

PASSWORD = "pass wörd"


class Authority:
    """Signs certificates, and writes them as files into its directory."""

    def __init__(self, directory: Path) -> None:
        self.ca = trustme.CA(organization_name=directory.name)
        self.directory = directory
        directory.mkdir(exist_ok=True)
        self.trust = str(directory / "trust.pem")
        self.ca.cert_pem.write_to_path(self.trust)

    def issue(self, *hosts: str, name: str | None = None, expired: bool = False) -> trustme.LeafCert:
        ends = datetime.now(UTC) - timedelta(days=1) if expired else None
        return self.ca.issue_cert(*hosts, common_name=name, not_after=ends)

    def pem(self, file: str, *hosts: str, name: str | None = None, expired: bool = False) -> str:
        """The path of a file with a new key and its certificates."""
        path = self.directory / file
        write_whole(path, pem_of(self.issue(*hosts, name=name, expired=expired)))
        return str(path)


def write_whole(path: Path, data: bytes) -> None:
    """As everybody should replace a file that another process reads."""
    new = path.with_suffix(".new")
    new.write_bytes(data)
    new.rename(path)


def pem_of(leaf: trustme.LeafCert, password: str = "") -> bytes:
    key = leaf.private_key_pem.bytes()
    if password:
        loaded = load_pem_private_key(key, None)
        key = loaded.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(password.encode()))
    return key + b"".join(blob.bytes() for blob in leaf.cert_chain_pems)


def pkcs12_of(leaf: trustme.LeafCert, password: str = PASSWORD) -> bytes:
    key: Any = load_pem_private_key(leaf.private_key_pem.bytes(), None)
    own, *others = [load_pem_x509_certificate(blob.bytes()) for blob in leaf.cert_chain_pems]
    return pkcs12.serialize_key_and_certificates(
        b"server", key, own, others or None, BestAvailableEncryption(password.encode())
    )


def jks_of(leaf: trustme.LeafCert, password: str = PASSWORD) -> bytes:
    key: Any = load_pem_private_key(leaf.private_key_pem.bytes(), None)
    der = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    chain = [load_pem_x509_certificate(blob.bytes()).public_bytes(Encoding.DER) for blob in leaf.cert_chain_pems]
    secret, salt = password.encode("utf-16-be"), b"twenty bytes of salt"
    stream, block = b"", salt
    while len(stream) < len(der):
        block = hashlib.sha1(secret + block).digest()
        stream += block
    hidden = bytes(a ^ b for a, b in zip(der, stream, strict=False))
    wrapped = salt + hidden + hashlib.sha1(secret + der).digest()
    algorithm = bytes.fromhex("300e060a2b060104012a021101010500")
    entry = algorithm + b"\x04\x82" + struct.pack(">H", len(wrapped)) + wrapped
    entry = b"\x30\x82" + struct.pack(">H", len(entry)) + entry
    return _jks(
        [_entry(1, "server") + _sized(entry) + struct.pack(">i", len(chain)) + b"".join(map(_typed, chain))], secret
    )


def jks_trust_of(authority: Authority, password: str = PASSWORD) -> bytes:
    der = load_pem_x509_certificate(authority.ca.cert_pem.bytes()).public_bytes(Encoding.DER)
    return _jks([_entry(2, "ca") + _typed(der)], password.encode("utf-16-be"))


def _jks(entries: Sequence[bytes], secret: bytes) -> bytes:
    body = struct.pack(">Iii", 0xFEEDFEED, 2, len(entries)) + b"".join(entries)
    return body + hashlib.sha1(secret + b"Mighty Aphrodite" + body).digest()


def _entry(tag: int, alias: str) -> bytes:
    return struct.pack(">iH", tag, len(alias)) + alias.encode() + bytes(8)


def _typed(certificate: bytes) -> bytes:
    return b"\0\x05X.509" + _sized(certificate)


def _sized(data: bytes) -> bytes:
    return struct.pack(">i", len(data)) + data
