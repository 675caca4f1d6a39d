"""SASL DIGEST-MD5 as far as ZooKeeper speaks it, both sides' part: RFC 2831 with qop=auth, md5-sess and charset=utf-8.

How a message is written, and the hashes that prove who knows a password. Plain; what a server accepts stands in
zabpy.server, what a client says in zabpy.client, which do not know each other; so this stands here, among the bytes.
"""

import hashlib
import re

#: The protocol and the server's name, as ZooKeeper's server names itself whatever its host is called.
SERVICE, HOST = "zookeeper", "zk-sasl-md5"
REALM = HOST
#: RFC 2831 §2.1.2: a longer message is an error.
MESSAGE_BYTES_MAX = 4096

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


class DigestError(Exception):
    """The message is not one, or proves nothing. One line that shows nothing of what the other side sent."""


def directives(message: bytes) -> dict[str, bytes]:
    """``name=value,name="va\\"lue"`` as names in small letters and values without quotes.

    Raises:
        DigestError: too long, not such a list, or a name that comes twice.
    """
    if len(message) > MESSAGE_BYTES_MAX:
        raise DigestError("a message that is too long")
    found: dict[str, bytes] = {}
    at = 0
    while at < len(message):
        match = _DIRECTIVE.match(message, at)
        if match is None:
            raise DigestError("a message that is no list of directives")
        at = match.end()
        if match["name"] is None:
            continue
        name = match["name"].decode("ascii").lower()
        if name in found:
            raise DigestError("a directive that comes twice")
        found[name] = _ESCAPE.sub(rb"\1", match["quoted"]) if match["quoted"] is not None else match["token"]
    return found


def secrets_of(name: str, password: str, realm: str = REALM) -> tuple[bytes, ...]:
    """The hashes ``MD5(name:realm:password)``, which are all that the proof needs; each is worth the password here.

    RFC 2831 takes each of the three in ISO 8859-1 where that has its characters; clients in Python take UTF-8 for all.
    So a name or password beyond ASCII has two, and either counts.
    """
    forms = (b":".join(_latin_or_utf8(part) for part in (name, realm, password)), f"{name}:{realm}:{password}".encode())
    return tuple(dict.fromkeys(_md5(form) for form in forms))


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
