"""SASL DIGEST-MD5, the server's side; zabpy.wire.digest_md5 has what both sides share.

Plain, and without state but for the nonce. What is accepted is what Java's own server accepts with the properties that
ZooKeeper gives it: its realm and no other, a nonce that is used once (so a nonce count of 1), ``qop=auth`` or none.
The client proves that it knows the password by a hash over both sides' nonces; ``rspauth`` proves that we do.
"""

import hmac
import re
from collections.abc import Callable

from zabpy.wire import digest_md5 as shared

DigestError = shared.DigestError
REALM = shared.REALM
_HEX = re.compile(rb"[0-9a-f]{32}")


def challenge(nonce: str) -> bytes:
    """What the server says first. ``nonce``: printable, never used before, 128 bits of chance or more."""
    return f'realm="{REALM}",nonce="{nonce}",charset=utf-8,algorithm=md5-sess'.encode("ascii")


def check(message: bytes, nonce: str, secrets_for: Callable[[str], tuple[bytes, ...] | None]) -> tuple[str, bytes]:
    """Who sent this response to the challenge with ``nonce``, and the last word to it.

    An authorization id is hashed as it must be, and otherwise ignored, as in ZooKeeper: a client is whose password it
    knows.

    Raises:
        DigestError: it does not prove that the client knows the password.
    """
    said = shared.directives(message)
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
    if said["digest-uri"].lower() != f"{shared.SERVICE}/{shared.HOST}".encode():
        raise DigestError("a response for another server")
    if not _HEX.fullmatch(said["response"]):
        raise DigestError("a response that is no hash")
    name, secrets = _account(said["username"], charset is not None, secrets_for)
    for secret in secrets or _NOBODY:  # a name that is not known takes as long as one that is
        if hmac.compare_digest(shared.proof(secret, said, b"AUTHENTICATE:"), said["response"]) and secrets:
            return name, b"rspauth=" + shared.proof(secret, said, b":")
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
