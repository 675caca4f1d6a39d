"""Logging in by SASL: ``connect(..., sasl=Digest("bob", password))``, on every connection before anything else is sent.

Both sides prove that they know the password, so a server that does not is noticed. Neither mechanism encrypts what
comes after: take TLS for that. Without I/O: the session core moves the tokens.
"""

import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from zabpy.model import AuthFailedError, BadArgumentsError
from zabpy.wire import digest_md5 as md5

#: Computing a proof takes about 0.4 s at most, during which nothing else moves; servers ask for 4,096 or 600,000.
SCRAM_ITERATIONS_MAX = 1_000_000


class Exchange(Protocol):
    """One login. ``first`` is the token to begin with."""

    first: bytes

    def answer(self, token: bytes | None) -> bytes | None:
        """What to say to what the server said; None: it has proved that it knows the password, and we are in.

        Raises:
            AuthFailedError: it has not.
        """


class Sasl(Protocol):
    """A mechanism and who logs in by it."""

    def begin(self) -> Exchange: ...


@dataclass(frozen=True, slots=True)
class Digest:
    """DIGEST-MD5: the one that ZooKeeper's servers know (where FIPS mode is off), and ours.

    For accounts of the servers' JAAS file. Not to be confused with the scheme ``digest`` of `Client.add_auth`.
    """

    user: str
    password: str = field(repr=False)

    def begin(self) -> Exchange:
        return DigestExchange(self.user, self.password, secrets.token_urlsafe(24).encode())


@dataclass(frozen=True, slots=True)
class Scram:
    """SCRAM-SHA-256 (RFC 7677): servers of ours only. The password cannot be had from what they store.

    Raises:
        BadArgumentsError: SASLprep (RFC 4013) forbids a character of the name or the password.
    """

    user: str
    password: str = field(repr=False)

    def __post_init__(self) -> None:
        from scramp import ScramException  # it takes a tenth of a second to load, and few clients need it

        try:
            ScramExchange(self.user, self.password)
        except ScramException as error:
            raise BadArgumentsError(f"the name or the password: {error.args[0]}") from None

    def begin(self) -> Exchange:
        return ScramExchange(self.user, self.password)


class DigestExchange:
    def __init__(self, user: str, password: str, nonce: bytes) -> None:
        self.first = b""
        self._user, self._password, self._nonce = user, password, nonce
        self._last: bytes | None = None

    def answer(self, token: bytes | None) -> bytes | None:
        if self._last is not None:
            if token is None:  # as with zookeeper.allowSaslFailedClients
                raise AuthFailedError("SASL: a wrong name or password (the server would take us without it)")
            if not hmac.compare_digest(token, self._last):
                raise AuthFailedError("SASL: the server has not proved that it knows the password")
            return None
        if token is None:
            raise AuthFailedError("SASL: the server has none")
        try:
            given = md5.directives(token)
        except md5.DigestError:
            given = {}
        if "nonce" not in given or given.get("algorithm") != b"md5-sess":
            raise AuthFailedError("SASL: the server does not speak DIGEST-MD5")
        said = {
            "username": self._user.encode(),
            "realm": given.get("realm", md5.REALM.encode()),
            "nonce": given["nonce"],
            "nc": b"00000001",
            "cnonce": self._nonce,
            "digest-uri": f"{md5.SERVICE}/{md5.HOST}".encode(),
        }
        secret = md5.secrets_of(self._user, self._password, said["realm"].decode("utf-8", "replace"))[0]
        self._last = b"rspauth=" + md5.proof(secret, said, b":")
        quoted = ("username", "realm", "nonce", "cnonce", "digest-uri")
        parts = [b"charset=utf-8", *(name.encode() + b'="' + _escaped(said[name]) + b'"' for name in quoted)]
        parts += [b"nc=00000001", b"qop=auth", b"response=" + md5.proof(secret, said, b"AUTHENTICATE:")]
        return b",".join(parts)


def _escaped(value: bytes) -> bytes:
    return value.replace(b"\\", b"\\\\").replace(b'"', b'\\"')


class ScramExchange:
    def __init__(self, user: str, password: str) -> None:
        from scramp import ScramClient

        self._client = ScramClient(["SCRAM-SHA-256"], user, password)
        self.first = self._client.get_client_first().encode()
        self._step: Callable[[str], str | None] = self._first_answer

    def answer(self, token: bytes | None) -> bytes | None:
        from scramp import ScramException

        if token is None:
            raise AuthFailedError("SASL: the server has none")
        try:
            text = self._step(token.decode())
        except (ScramException, UnicodeDecodeError, ValueError, KeyError):  # what scramp says may quote the message
            where = "speak SCRAM-SHA-256" if self._step == self._first_answer else "know the password"
            raise AuthFailedError(f"SASL: the server does not {where}") from None
        return None if text is None else text.encode()

    def _first_answer(self, text: str) -> str:
        self._client.set_server_first(text)
        if int(self._client.iterations) > SCRAM_ITERATIONS_MAX:
            raise AuthFailedError(f"SASL: the server asks for more than {SCRAM_ITERATIONS_MAX} iterations of SCRAM")
        final: str = self._client.get_client_final()
        self._step = self._final_answer
        return final

    def _final_answer(self, text: str) -> None:
        self._client.set_server_final(text)
