"""SASL SCRAM-SHA-256 (RFC 5802, RFC 7677), the server's side, through scramp; and verifiers, which hold no password.

scramp is loaded when there are accounts, not before: it takes a tenth of a second, which a server without SASL need
not wait for.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from scramp import ScramException
    from scramp.core import ScramServer

MECHANISM = "SCRAM-SHA-256"
#: What RFC 7677 asks for at least. A verifier made elsewhere may have more.
ITERATIONS = 4096
ITERATIONS_MAX = 10_000_000
SALT_BYTES = 16
#: A longer message is none; the longest of a client has its name and two nonces in it.
MESSAGE_BYTES_MAX = 4096


class ScramError(Exception):
    """The client's message is none, or proves nothing. One line that shows nothing of what it sent."""


class Verifier(NamedTuple):
    """What a server needs to check a proof, and cannot log in with."""

    salt: bytes
    stored_key: bytes
    server_key: bytes
    iterations: int

    def __repr__(self) -> str:
        return f"Verifier(iterations={self.iterations})"

    def text(self) -> str:
        """As it stands in a file, which is PostgreSQL's form: ``SCRAM-SHA-256$4096:salt$stored:server``, in base64."""
        salt, stored, server = (
            base64.b64encode(part).decode("ascii") for part in (self.salt, self.stored_key, self.server_key)
        )
        return f"{MECHANISM}${self.iterations}:{salt}${stored}:{server}"


def make_verifier(password: str, salt: bytes, iterations: int = ITERATIONS) -> Verifier:
    """Takes milliseconds: call it aside.

    Raises:
        ValueError: SASLprep (RFC 4013) forbids this password; the text does not show it.
    """
    from scramp import ScramException, ScramMechanism

    try:
        salt, stored, server, iterations = ScramMechanism(MECHANISM).make_auth_info(password, iterations, salt)
    except ScramException as error:
        raise ValueError(f"SASLprep: {error.args[0]}") from None
    return Verifier(salt, stored, server, iterations)


def parse_verifier(text: str) -> Verifier:
    """The reverse of `Verifier.text`.

    Raises:
        ValueError: it is none; the text does not show it.
    """
    mechanism, dollar, rest = text.partition("$")
    if mechanism != MECHANISM or not dollar:
        raise ValueError(f"it does not begin with {MECHANISM}$")
    try:
        begin, keys = rest.split("$")
        iterations_text, salt_text = begin.split(":")
        salt, stored, server = (base64.b64decode(part, validate=True) for part in (salt_text, *keys.split(":")))
        iterations = int(iterations_text) if iterations_text.isascii() and iterations_text.isdecimal() else 0
    except (ValueError, binascii.Error):
        raise ValueError("it is not iterations:salt$storedkey:serverkey, the last three in base64") from None
    if len(stored) != 32 or len(server) != 32:
        raise ValueError("its keys are not of 32 bytes each")
    if not 12 <= len(salt) <= 256:
        raise ValueError("its salt is not of 12 to 256 bytes")
    if not ITERATIONS <= iterations <= ITERATIONS_MAX:
        raise ValueError(f"its iterations are not from {ITERATIONS} to {ITERATIONS_MAX}")
    return Verifier(salt, stored, server, iterations)


def prepared(name: str) -> str | None:
    """A user name as SASLprep makes it, by which names are compared; None if it forbids it."""
    from scramp import ScramException
    from scramp.utils import saslprep

    try:
        return str(saslprep(name)) or None
    except ScramException:
        return None


def invented(secret: bytes, name: str, like: Verifier) -> Verifier:
    """For a name that is not known: the same one each time, which no password fits, and which looks like ``like``."""

    def drawn(what: bytes, size: int) -> bytes:
        return hashlib.shake_256(hmac.digest(secret, what + name.encode(), "sha256")).digest(size)

    return Verifier(drawn(b"salt", len(like.salt)), drawn(b"stored", 32), drawn(b"server", 32), like.iterations)


def is_first(token: bytes) -> bool:
    """Whether a client that begins so speaks SCRAM: the flag of RFC 5802's gs2-header."""
    return token[:2] in (b"n,", b"y,", b"p=")


class ScramExchange:
    """One login: two messages of the client, and an answer to each.

    Args:
        nonce: the server's part; printable, never used before.
        find: prepared name → (whose account it is, its verifier).
    """

    def __init__(self, nonce: str, find: Callable[[str], tuple[str, Verifier]]) -> None:
        from scramp import ScramMechanism

        self._find = find
        self._name = ""
        self._server: ScramServer = ScramMechanism(MECHANISM).make_server(self._look_up, s_nonce=nonce)

    def _look_up(self, name: str) -> tuple[bytes, bytes, bytes, int]:
        self._name, verifier = self._find(name)
        return verifier.salt, verifier.stored_key, verifier.server_key, verifier.iterations

    def first(self, message: bytes) -> bytes:
        """Raises: ScramError."""
        from scramp import ScramException

        text = _text(message)
        try:
            self._server.set_client_first(text)
            return self._server.get_server_first().encode()  # type: ignore[no-any-return]
        except ScramException as error:
            raise _reason(error) from None

    def final(self, message: bytes) -> tuple[str, bytes]:
        """Who it is, and the last word to it. Raises: ScramError."""
        from scramp import ScramException

        text = _text(message)
        try:
            self._server.set_client_final(text)
            if not self._name:
                raise ScramError("a wrong name or password")  # cannot be: the verifier is invented
            return self._name, self._server.get_server_final().encode()
        except ScramException as error:
            raise _reason(error) from None


def find_in(verifiers: Mapping[str, tuple[str, Verifier]], secret: bytes) -> Callable[[str], tuple[str, Verifier]]:
    """A name that is not known gets a verifier like that of a name that is, so that nobody can ask which are."""
    patterns = [verifier for _, verifier in verifiers.values()] or [Verifier(bytes(SALT_BYTES), b"", b"", ITERATIONS)]

    def find(name: str) -> tuple[str, Verifier]:
        found = verifiers.get(name)
        if found is not None:
            return found
        drawn = int.from_bytes(hmac.digest(secret, name.encode(), "sha256")[:8], "big")
        return "", invented(secret, name, patterns[drawn % len(patterns)])

    return find


def _text(message: bytes) -> str:
    if len(message) > MESSAGE_BYTES_MAX:
        raise ScramError("a message that is too long")
    try:
        return message.decode()
    except UnicodeDecodeError:
        raise ScramError("a message that is not UTF-8") from None


def _reason(error: "ScramException") -> ScramError:
    # Its texts may quote the message, so only its kind is told.
    kind = error.server_error.value if error.server_error is not None else "other-error"
    return ScramError("a wrong name or password" if kind == "invalid-proof" else f"SCRAM: {kind}")
