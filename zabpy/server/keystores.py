"""Key stores and trust stores: PEM, PKCS#12, and the JKS of older Java.

What a file is, is told by its first bytes and not by its name: Java writes PKCS#12 into ``.jks`` since version 9.
Nothing here logs, and no error text quotes what is in a file but for the names of its forms.

JKS (no standard; sun.security.provider.JavaKeyStore, and github.com/kurtbrose/pyjks for the protection of keys): all
numbers big-endian; magic, version, count; an entry is a key (alias, date, PKCS#8 in a proprietary wrapping, chain) or a
certificate (alias, date, certificate); at the end SHA-1 over password, a phrase and all before it.
"""

import hashlib
import hmac
import re
import struct
from collections.abc import Callable
from typing import NamedTuple

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
    load_pem_private_key,
    pkcs12,
)

from zabpy.model import ZabpyError

from .x509 import inside

#: More than any store of one server holds, and little enough to read at once.
STORE_BYTES_MAX = 4 * 1024 * 1024


class StoreError(ZabpyError):
    """A store that cannot be used; the text says why and quotes nothing of it."""


class WrongPasswordError(StoreError):
    """The password, or the lack of one, is what is wrong."""


class KeyStore(NamedTuple):
    """A key and its certificates in DER, its own first."""

    key: PrivateKeyTypes
    chain: tuple[bytes, ...]

    def __repr__(self) -> str:
        return f"KeyStore({len(self.chain)} certificates)"

    def pem(self, password: bytes) -> bytes:
        """As OpenSSL reads it: the key, encrypted with ``password``, and the chain."""
        key = self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(password))
        return key + b"".join(
            x509.load_der_x509_certificate(certificate).public_bytes(Encoding.PEM) for certificate in self.chain
        )


class _Found(NamedTuple):
    key: PrivateKeyTypes | None
    certificates: list[bytes]


def read_key_store(data: bytes, password: str) -> KeyStore:
    """The first key in the file and the chain behind it. Raises StoreError."""
    found = _read(data, password, keys=True)
    if found.key is None:
        raise StoreError("no private key in it")
    if not found.certificates:
        raise StoreError("no certificate in it")
    public = _spki(found.key.public_key())
    for at, certificate in enumerate(found.certificates):
        if _spki(_certificate(certificate).public_key()) == public:
            others = found.certificates[:at] + found.certificates[at + 1 :]
            return KeyStore(found.key, (certificate, *others))
    raise StoreError("the private key belongs to none of its certificates")


def read_trust_store(data: bytes, password: str) -> tuple[bytes, ...]:
    """All certificates in the file, in DER: each of them is trusted. Raises StoreError."""
    found = _read(data, password, keys=False)
    if not found.certificates:
        raise StoreError("no certificate in it")
    for certificate in found.certificates:
        _certificate(certificate)
    return tuple(dict.fromkeys(found.certificates))


def _read(data: bytes, password: str, *, keys: bool) -> _Found:
    if len(data) > STORE_BYTES_MAX:
        raise StoreError(f"larger than {STORE_BYTES_MAX} bytes")
    if data.startswith(_JKS_MAGIC):
        return _read_jks(data, password, keys)
    if b"-----BEGIN " in data:
        return _read_pem(data, password, keys)
    if data.startswith(b"\x30"):
        return _read_pkcs12(data, password, keys)
    kind = "JCEKS" if data.startswith(_JCEKS_MAGIC) else "unknown"
    raise StoreError(
        f"not PEM, PKCS#12 or JKS ({kind}): make one of it with keytool -importkeystore -srckeystore FILE "
        "-destkeystore FILE.p12 -deststoretype PKCS12"
    )


def _certificate(data: bytes) -> x509.Certificate:
    try:
        return x509.load_der_x509_certificate(data)
    except ValueError:
        raise StoreError("a certificate in it cannot be read") from None


def _spki(key: object) -> bytes:
    assert hasattr(key, "public_bytes")
    data: bytes = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return data


# PEM ------------------------------------------------------------------------------------------------------------------

_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----.*?-----END \1-----", re.DOTALL)


def _read_pem(data: bytes, password: str, keys: bool) -> _Found:
    key: PrivateKeyTypes | None = None
    certificates: list[bytes] = []
    for block in _BLOCK.finditer(data):
        label = block[1]
        if label in (b"CERTIFICATE", b"X509 CERTIFICATE"):
            try:
                certificate = x509.load_pem_x509_certificate(block[0].replace(b"X509 ", b""))
            except ValueError:
                raise StoreError("a certificate in it cannot be read") from None
            certificates.append(certificate.public_bytes(Encoding.DER))
        elif label.endswith(b"PRIVATE KEY") and keys and key is None:
            locked = label.startswith(b"ENCRYPTED") or b"Proc-Type: 4,ENCRYPTED" in block[0]
            if locked and not password:
                raise WrongPasswordError("its private key is encrypted and there is no password")
            key = _key(lambda: load_pem_private_key(block[0], password.encode() if locked else None))  # noqa: B023
    return _Found(key, certificates)


def _key(load: Callable[[], PrivateKeyTypes]) -> PrivateKeyTypes:
    try:
        return load()
    except UnsupportedAlgorithm:
        raise StoreError("its private key is of a kind, or encrypted in a way, that cannot be read") from None
    except (ValueError, TypeError):
        raise WrongPasswordError("its private key cannot be read: a wrong password, or a damaged file") from None


# PKCS#12 --------------------------------------------------------------------------------------------------------------


def _read_pkcs12(data: bytes, password: str, keys: bool) -> _Found:
    try:
        store = pkcs12.load_pkcs12(data, password.encode())
    except UnsupportedAlgorithm:
        raise StoreError("PKCS#12 that is encrypted in a way that cannot be read: write it anew") from None
    except ValueError:
        raise WrongPasswordError("PKCS#12 that cannot be read: a wrong password, or a damaged file") from None
    held = [each.certificate for each in (store.cert, *store.additional_certs) if each is not None]
    if not keys and store.key is not None and store.cert is not None:
        held = _without_chain(held)
    return _Found(store.key if keys else None, [each.public_bytes(Encoding.DER) for each in held])


def _without_chain(certificates: list[x509.Certificate]) -> list[x509.Certificate]:
    """Of a store that holds a key Java trusts the key's own certificate, the first here, and not the chain behind it;
    what is in the store besides it trusts."""
    own, *others = certificates
    last = own
    while last.issuer != last.subject:
        above = next((each for each in others if each.subject == last.issuer), None)
        if above is None:
            break
        others.remove(above)
        last = above
    return [own, *others]


# JKS ------------------------------------------------------------------------------------------------------------------

_JKS_MAGIC, _JCEKS_MAGIC = bytes.fromhex("feedfeed"), bytes.fromhex("cececece")
_KEY_ENTRY, _CERTIFICATE_ENTRY = 1, 2
_KEY_PROTECTION = bytes.fromhex("060a2b060104012a02110101")  # 1.3.6.1.4.1.42.2.17.1.1
_PHRASE = b"Mighty Aphrodite"
_SHA1_BYTES = 20


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def take(self, count: int) -> bytes:
        if not 0 <= count <= len(self._data) - self._at:
            raise StoreError("JKS that ends too early: a damaged file")
        self._at += count
        return self._data[self._at - count : self._at]

    def int(self) -> int:
        number: int = struct.unpack(">i", self.take(4))[0]
        return number

    def text(self) -> bytes:
        return self.take(struct.unpack(">H", self.take(2))[0])


def _read_jks(data: bytes, password: str, keys: bool) -> _Found:
    """Java checks the sum only if there is a password, and so do we: a trust store may be read without."""
    secret = password.encode("utf-16-be")
    body, checksum = data[:-_SHA1_BYTES], data[-_SHA1_BYTES:]
    if password and not hmac.compare_digest(_sha1(secret + _PHRASE + body), checksum):
        raise WrongPasswordError("JKS whose checksum is wrong: a wrong password, or a damaged file")
    reader = _Reader(body)
    reader.take(4)
    version, count = reader.int(), reader.int()
    if version not in (1, 2):
        raise StoreError(f"JKS of version {version}, expected 1 or 2")
    key: PrivateKeyTypes | None = None
    chain: list[bytes] = []
    trusted: list[bytes] = []

    def certificate() -> bytes:
        if version == 2:
            reader.text()  # X.509; there is no other
        return reader.take(reader.int())

    for _ in range(count):
        tag = reader.int()
        reader.text()
        reader.take(8)
        if tag == _KEY_ENTRY:
            wrapped = reader.take(reader.int())
            certificates = [certificate() for _ in range(reader.int())]
            trusted += certificates[:1]  # as Java does it
            if keys and key is None:
                key, chain = _key_of_jks(wrapped, secret), certificates
        elif tag == _CERTIFICATE_ENTRY:
            trusted.append(certificate())
        else:
            raise StoreError("JKS with an entry that is neither key nor certificate: a damaged file")
    return _Found(key, chain if keys else trusted)


def _key_of_jks(wrapped: bytes, secret: bytes) -> PrivateKeyTypes:
    """Salt, key and checksum; the key under a stream of SHA-1 sums, each of the password and the sum before it."""
    try:
        (_, algorithm, _), (_, protected, _) = inside(wrapped)
    except ValueError:
        raise StoreError("JKS with a key that cannot be read: a damaged file") from None
    if not algorithm.startswith(_KEY_PROTECTION):
        raise StoreError("JKS with a key that is protected in another way than Java's")
    block, hidden, checksum = protected[:_SHA1_BYTES], protected[_SHA1_BYTES:-_SHA1_BYTES], protected[-_SHA1_BYTES:]
    stream = bytearray()
    while len(stream) < len(hidden):
        block = _sha1(secret + block)
        stream += block
    plain = bytes(a ^ b for a, b in zip(hidden, stream, strict=False))
    if not hmac.compare_digest(_sha1(secret + plain), checksum):
        raise WrongPasswordError("JKS whose key has another password")
    return _key(lambda: load_der_private_key(plain, None))


def _sha1(data: bytes) -> bytes:
    return hashlib.sha1(data, usedforsecurity=False).digest()
