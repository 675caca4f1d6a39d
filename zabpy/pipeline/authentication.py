"""Who a connection is: the auth packet, and what each scheme makes of it. Rules: ZooKeeper's.

Passwords come in clear. They are hashed here and kept nowhere, neither in an error nor in a text.
"""

import hmac
from collections.abc import Callable
from typing import NamedTuple

from zabpy.model import AuthFailedError, Identity, digest_id
from zabpy.wire import JuteError, Reader

from .replies import reply_frame

Identities = tuple[Identity, ...]

SUPER = Identity("super", "")
#: What all identities of a connection may take together, in characters. They travel with each of its requests, and an
#: ACL entry ``auth`` is stored as all of them; ZooKeeper has no bound here, nor a client that comes near this one.
IDENTITIES_CHARS_MAX = 16_384

#: What Java calls them, in capitals, and what hashlib does.
DIGEST_ALGORITHMS: dict[str, str] = {
    "MD5": "md5",
    **dict.fromkeys(("SHA", "SHA1", "SHA-1"), "sha1"),
    **{f"SHA{dash}{bits}": f"sha{bits}" for bits in (224, 256, 384, 512) for dash in ("", "-")},
    **{f"SHA{dash}512/{bits}": f"sha512_{bits}" for bits in (224, 256) for dash in ("", "-")},
    **{f"SHA3-{bits}": f"sha3_{bits}" for bits in (224, 256, 384, 512)},
}


class AuthRules(NamedTuple):
    """What auth packets may do on a server.

    ``schemes``: those that are switched on. ``digest_algorithm``: as hashlib calls it. ``super_digest``:
    ``super:<hash>``; whoever's digest is this one may do everything. ``ensemble_names``: what the scheme ``ensemble``
    takes; empty: any.
    """

    schemes: frozenset[str] = frozenset(("digest", "ip"))
    digest_algorithm: str = "sha1"
    super_digest: str | None = None
    ensemble_names: frozenset[str] = frozenset()


class AuthAnswer(NamedTuple):
    """``frame`` is the reply. The connection's requests from now on have ``identities``.

    Unless ``why`` is empty, the connection ends behind the reply, for this reason; nothing that the client sent is in
    it.
    """

    frame: bytes
    identities: Identities
    why: str = ""


def answer_auth(xid: int, record: bytes, identities: Identities, rules: AuthRules = AuthRules()) -> AuthAnswer:  # noqa: B008  # immutable
    """Carry out an auth packet as soon as it is read; its reply waits its turn. ``xid`` is echoed, whatever it is.

    A record that cannot be read has no reply, as in ZooKeeper: the connection just ends.
    """
    try:
        # Not through the record class: its repr would show the password.
        reader = Reader(record)
        reader.int()
        scheme, auth = reader.text(), reader.buffer()
    except JuteError:
        return AuthAnswer(b"", identities, "an auth packet that cannot be read")
    try:
        identities = authenticate(scheme, auth, identities, rules)
    except AuthFailedError as error:
        # A client of another ensemble gets no reply either: to close is all that ZooKeeper does.
        frame = b"" if scheme == "ensemble" and scheme in rules.schemes else reply_frame(xid, 0, error.code)
        return AuthAnswer(frame, identities, str(error))
    return AuthAnswer(reply_frame(xid, 0, 0), identities)


def authenticate(scheme: str, auth: bytes | None, identities: Identities, rules: AuthRules) -> Identities:
    """The identities of a connection that had ``identities`` and has sent this.

    Raises:
        AuthFailedError: no such scheme, or not for auth packets, or more identities than anybody needs. Its text tells
            nothing that came from the client, who may have put a password anywhere.
    """
    prove = _SCHEMES.get(scheme)
    if prove is None:
        raise AuthFailedError(f"no auth packets of scheme {scheme}" if scheme in _OTHERS else "no such scheme")
    if scheme not in rules.schemes:
        raise AuthFailedError(f"scheme {scheme} is switched off")
    together = tuple(dict.fromkeys(identities + prove(auth, identities, rules)))
    if sum(len(id) for _, id in together) > IDENTITIES_CHARS_MAX:
        raise AuthFailedError("too many identities on one connection")
    return together


def _digest(auth: bytes | None, identities: Identities, rules: AuthRules) -> Identities:
    # Hardly ever fails: whoever knows the password becomes the one whom the ACL names.
    if auth is None:
        raise AuthFailedError("null where user:password must be")
    mine = Identity("digest", digest_id(auth.decode("utf-8", "replace"), rules.digest_algorithm))
    if rules.super_digest is not None and hmac.compare_digest(mine.id.encode(), rules.super_digest.encode()):
        return SUPER, mine
    return (mine,)


def _ip(auth: bytes | None, identities: Identities, rules: AuthRules) -> Identities:
    return ()  # the address has been an identity from the first moment


def _x509(auth: bytes | None, identities: Identities, rules: AuthRules) -> Identities:
    if not any(scheme == "x509" for scheme, _ in identities):
        raise AuthFailedError("no certificate on this connection")
    return ()  # it was looked at when the connection came, and is an identity since then


def _ensemble(auth: bytes | None, identities: Identities, rules: AuthRules) -> Identities:
    # Nobody becomes anything: a client makes sure that it is where it wants to be.
    if auth and rules.ensemble_names and auth.decode("utf-8", "replace") not in rules.ensemble_names:
        raise AuthFailedError("a client of another ensemble")
    return ()


#: What an auth packet may name.
_SCHEMES: dict[str, Callable[[bytes | None, Identities, AuthRules], Identities]] = {
    "digest": _digest,
    "ip": _ip,
    "x509": _x509,
    "ensemble": _ensemble,
}
#: Schemes of access control lists that have no auth packets: `world` is everybody, and SASL has requests of its own.
_OTHERS = frozenset(("world", "auth", "sasl", "super"))
