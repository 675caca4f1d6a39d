"""Who a connection is: the auth packet, and what each scheme makes of it. Rules: client-protocol.md §6 and §13.

Passwords come in clear. They are hashed here and kept nowhere, neither in an error nor in a text.
"""

import base64
import hashlib
from collections.abc import Callable
from typing import NamedTuple

from zabpy.model import AuthFailedError, CodeError, Identity
from zabpy.wire import Reader

from .replies import reply_frame

Identities = tuple[Identity, ...]

SUPER = Identity("super", "")
#: What all identities of a connection may take together, in characters. They travel with each of its requests, and an
#: ACL entry ``auth`` is stored as all of them; ZooKeeper has no bound here, nor a client that comes near this one.
IDENTITIES_CHARS_MAX = 16_384


class AuthAnswer(NamedTuple):
    """``frame`` is the reply. The connection's requests from now on have ``identities``; unless ``ok``, it ends."""

    frame: bytes
    identities: Identities
    ok: bool


def answer_auth(xid: int, record: bytes, identities: Identities, super_digest: str | None = None) -> AuthAnswer:
    """Carry out an auth packet as soon as it is read; its reply waits its turn. ``xid`` is echoed, whatever it is."""
    try:
        # Not through the record class: its repr would show the password.
        reader = Reader(record)
        reader.int()
        scheme, auth = reader.text(), reader.buffer()
        identities = authenticate(scheme, auth or b"", identities, super_digest)
    except CodeError as error:
        ok = not isinstance(error, AuthFailedError)  # a record that cannot be read costs nobody the connection
        return AuthAnswer(reply_frame(xid, 0, error.code), identities, ok)
    return AuthAnswer(reply_frame(xid, 0, 0), identities, True)


def authenticate(scheme: str, auth: bytes, identities: Identities, super_digest: str | None = None) -> Identities:
    """The identities of a connection that had ``identities`` and has sent this.

    Args:
        super_digest: ``super:<hash>``; whoever's digest is this one may do everything.
    Raises:
        AuthFailedError: no such scheme, or not for auth packets, or more identities than anybody needs.
    """
    if scheme == "x509" and any(identity.scheme == "x509" for identity in identities):
        return identities  # proved by the handshake of TLS, before all packets; said once more it changes nothing
    prove = _SCHEMES.get(scheme)
    if prove is None:
        raise AuthFailedError(f"no auth packets of scheme {scheme[:32]!r}")
    together = tuple(dict.fromkeys(identities + prove(auth, super_digest)))
    if sum(len(id) for _, id in together) > IDENTITIES_CHARS_MAX:
        raise AuthFailedError("too many identities on one connection")
    return together


def digest_id(user_and_password: str) -> str:
    """``user:hash`` for ``user:password``, as it stands in ACLs."""
    hashed = hashlib.sha1(user_and_password.encode(), usedforsecurity=False).digest()
    return f"{user_and_password.partition(':')[0]}:{base64.b64encode(hashed).decode('ascii')}"


def _digest(auth: bytes, super_digest: str | None) -> Identities:
    # Never fails: whoever knows the password becomes the one whom the ACL names.
    mine = Identity("digest", digest_id(auth.decode("utf-8", "replace")))
    return (SUPER, mine) if super_digest is not None and mine.id == super_digest else (mine,)


def _ip(auth: bytes, super_digest: str | None) -> Identities:
    return ()  # the address has been an identity from the first moment


#: What an auth packet may name. Of the other schemes, `world` is everybody, and certificates and SASL have ways of
#: their own.
_SCHEMES: dict[str, Callable[[bytes, str | None], Identities]] = {"digest": _digest, "ip": _ip}
