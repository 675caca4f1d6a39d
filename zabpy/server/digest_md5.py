"""SASL DIGEST-MD5, the server's side, as far as ZooKeeper's clients need it: RFC 2831 with qop=auth and charset=utf-8.

Plain, and without state but for the nonce. What is accepted is what Java's own server accepts with the properties that
ZooKeeper gives it: its realm and no other, a nonce that is used once (so a nonce count of 1), ``qop=auth`` or none.
The client proves that it knows the password by a hash over both sides' nonces; ``rspauth`` proves that we do.
"""

import hashlib
import hmac
import re
from collections.abc import Callable

#: The protocol and the server's name, as ZooKeeper's server names itself whatever its host is called.
SERVICE, HOST = "zookeeper", "zk-sasl-md5"
REALM = HOST
#: RFC 2831 §2.1.2: a longer response is an error.
RESPONSE_BYTES_MAX = 4096

_SPACE = rb"[ \t\r\n]*+"
_DIRECTIVE = re.compile(
    _SPACE
    + rb"(?:(?P<name>[^\x00-\x20\x7f-\xff()<>@,;:\\\"/\[\]?={}]++)"
    + _SPACE
    + rb"="
    + _SPACE
    + rb"(?:\"(?P<quoted>(?:[^\"\\]|\\.)*+)\"|(?P<token>[^\x00-\x20\",]++))"
    + _SPACE
    + rb")?(?:,|\Z)",
    re.DOTALL,
)
_ESCAPE = re.compile(rb"\\(.)", re.DOTALL)
_HEX = re.compile(rb"[0-9a-f]{32}")


class DigestError(Exception):
    """The response is not one, or proves nothing. One line that shows nothing of what the client sent."""


def directives(message: bytes) -> dict[str, bytes]:
    """``name=value,name="va\\"lue"`` as names in small letters and values without quotes.

    Raises:
        DigestError: too long, not such a list, or a name that comes twice.
    """
    if len(message) > RESPONSE_BYTES_MAX:
        raise DigestError("a response that is too long")
    found: dict[str, bytes] = {}
    at = 0
    while at < len(message):
        match = _DIRECTIVE.match(message, at)
        if match is None:
            raise DigestError("a response that is no list of directives")
        at = match.end()
        if match["name"] is None:
            continue
        name = match["name"].decode("ascii").lower()
        if name in found:
            raise DigestError("a directive that comes twice")
        found[name] = _ESCAPE.sub(rb"\1", match["quoted"]) if match["quoted"] is not None else match["token"]
    return found


def challenge(nonce: str) -> bytes:
    """What the server says first. ``nonce``: printable, never used before, 128 bits of chance or more."""
    return f'realm="{REALM}",nonce="{nonce}",charset=utf-8,algorithm=md5-sess'.encode("ascii")


def secrets_of(name: str, password: str, realm: str = REALM) -> tuple[bytes, ...]:
    """The hashes ``MD5(name:realm:password)``, which are all that the proof needs; each is worth the password here.

    RFC 2831 takes each of the three in ISO 8859-1 where that has its characters; clients in Python take UTF-8 for all.
    So a name or password beyond ASCII has two, and either counts.
    """
    forms = (b":".join(_latin_or_utf8(part) for part in (name, realm, password)), f"{name}:{realm}:{password}".encode())
    return tuple(dict.fromkeys(_md5(form) for form in forms))


def check(message: bytes, nonce: str, secrets_for: Callable[[str], tuple[bytes, ...] | None]) -> tuple[str, bytes]:
    """Who sent this response to the challenge with ``nonce``, and the last word to it.

    An authorization id is hashed as it must be, and otherwise ignored, as in ZooKeeper: a client is whose password it
    knows.

    Raises:
        DigestError: it does not prove that the client knows the password.
    """
    said = directives(message)
    charset = said.get("charset")
    if charset is not None and charset.lower() != b"utf-8":
        raise DigestError("a charset other than utf-8")
    missing = [
        name for name in ("username", "realm", "nonce", "nc", "cnonce", "digest-uri", "response") if name not in said
    ]
    if missing:
        raise DigestError(f"no {missing[0]} in the response")
    if said["realm"] != REALM.encode():
        raise DigestError("another realm")
    if not hmac.compare_digest(said["nonce"], nonce.encode()):
        raise DigestError("a nonce that is not ours")
    if said["nc"] != b"00000001":
        raise DigestError("a nonce count other than 1")
    if said.get("qop", b"auth") != b"auth":
        raise DigestError("a quality of protection other than auth")
    if said["digest-uri"].lower() != f"{SERVICE}/{HOST}".encode():
        raise DigestError("a response for another server")
    if not _HEX.fullmatch(said["response"]):
        raise DigestError("a response that is no hash")
    name, secrets = _account(said["username"], charset is not None, secrets_for)
    for secret in secrets or _NOBODY:  # a name that is not known takes as long as one that is
        if hmac.compare_digest(proof(secret, said, b"AUTHENTICATE:"), said["response"]) and secrets:
            return name, b"rspauth=" + proof(secret, said, b":")
    raise DigestError("a wrong name or password")


_NOBODY = (bytes(16),)


def _account(
    raw: bytes, utf8: bool, secrets_for: Callable[[str], tuple[bytes, ...] | None]
) -> tuple[str, tuple[bytes, ...] | None]:
    """Without ``charset=utf-8`` a name is in ISO 8859-1; kazoo's is in UTF-8 all the same."""
    for encoding in ("utf-8",) if utf8 else ("utf-8", "latin-1"):
        try:
            name = raw.decode(encoding)
        except UnicodeDecodeError:
            continue
        secrets = secrets_for(name)
        if secrets is not None:
            return name, secrets
    return "", None


def proof(secret: bytes, said: dict[str, bytes], before: bytes) -> bytes:
    """RFC 2831 §2.1.2.1, algorithm md5-sess: what the client sends, and with ``before=b":"`` what it gets."""
    start = b":".join((secret, said["nonce"], said["cnonce"]))
    if "authzid" in said:
        start += b":" + said["authzid"]
    parts = (_hex(start), said["nonce"], said["nc"], said["cnonce"], b"auth", _hex(before + said["digest-uri"]))
    return _hex(b":".join(parts))


def _latin_or_utf8(text: str) -> bytes:
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        return text.encode()


def _md5(data: bytes) -> bytes:
    return hashlib.md5(data, usedforsecurity=False).digest()


def _hex(data: bytes) -> bytes:
    return _md5(data).hex().encode("ascii")
