"""Greeting: what two servers say to each other before a link stands, and how each proves that it belongs here.

    the one who dials        the one who is dialled
    Hello, with a nonce  →
                         ←   Challenge: who I am, a nonce of mine
    Proof                →
                         ←   Proof
                         ←   Hello

A `Proof` is a MAC under the ensemble's secret (`peer_secrets.py`) over both nonces, both servers' numbers, the voters
the dialler named, and which of the two proves itself. So one that was heard on another connection is worth nothing
here, and what we say ourselves cannot be said back to us. Whoever dials proves itself first: who only can connect to
us learns our number, and nothing that a secret went into.

Without a secret only the two Hellos are said, as by servers that know no secrets yet; these ignore the nonce. What
comes behind the greeting is bare: whoever can change bytes between the servers can wait for the greeting to pass. Only
TLS keeps them out.
"""

from collections.abc import Callable

from zabpy.model import ZabpyError
from zabpy.wire import (
    PEER_VERSION,
    Challenge,
    Hello,
    Proof,
    decode_greeting,
    encode_greeting,
    frame,
    transcript,
)
from zabpy.zab import PeerId

from .peer_secrets import Secrets, proof_of

NONCE_BYTES = 32


class PeerLinkError(ZabpyError):
    """The other end of a link said what it may not; the text says what."""


class Greeting:
    """One end of it. Give it the frames that come; send what it answers; it is over when there is a `hello`."""

    def __init__(
        self,
        me: PeerId,
        ensemble: str,
        *,
        expected: PeerId | None,
        secrets: Secrets | None,
        unproven: bool,
        nonce: Callable[[int], bytes],
        check: Callable[[Hello], None],
    ) -> None:
        """``expected``: whom we dialled; None: they dialled us. ``unproven``: one without a proof is let in too.
        ``check`` raises PeerLinkError when the one who says this Hello may not link, whoever it is."""
        self._me, self._ensemble, self._expected, self._secrets = me, ensemble, expected, secrets
        self._unproven, self._nonce, self._check = unproven, nonce, check
        self._ours = self._theirs = b""
        self._said: Hello | None = None
        self._used = b""
        self._take = self._take_hello if expected is None else self._take_answer
        self.hello: Hello | None = None
        self.proven = False
        #: What to make of it when the other side closes now.
        self.closed_why: str | None = None

    def begin(self) -> bytes:
        """What the one who dials says first."""
        if self._secrets is not None:
            self._ours = self._nonce(NONCE_BYTES)
        self._said = self._own_hello()
        return _framed(self._said)

    def take(self, payload: bytes) -> bytes:
        """The next frame of the other side; what to answer.

        Raises:
            PeerDecodeError, PeerLinkError: the link is not to be.
        """
        return self._take(decode_greeting(payload))

    def _own_hello(self) -> Hello:
        return Hello(PEER_VERSION, self._me, self._ensemble, self._ours)

    # We were dialled --------------------------------------------------------------------------------------------------

    def _take_hello(self, said: Hello | Challenge | Proof) -> bytes:
        if not isinstance(said, Hello):
            raise PeerLinkError("the first frame is no Hello")
        self._check(said)
        self._said, self._theirs = said, said.nonce
        if self._secrets is None or (self._unproven and not said.nonce):
            self.hello = said
            return _framed(self._own_hello())
        # To one without a secret too: so it learns what it lacks.
        self._ours = self._nonce(NONCE_BYTES)
        self._take = self._take_dialler_proof
        if said.nonce:
            self.closed_why = "closed when it was asked for a proof"
        else:
            self.closed_why = f"says it is server {said.sid} and has no secret (zabpy.peerSecretFile)"
        return _framed(Challenge(self._me, self._ours))

    def _take_dialler_proof(self, said: Hello | Challenge | Proof) -> bytes:
        assert self._said is not None
        assert self._secrets is not None
        if not isinstance(said, Proof) or len(self._theirs) != NONCE_BYTES:
            raise PeerLinkError(f"says it is server {self._said.sid}, and proves nothing")
        secret = self._secrets.shown_by(said.mac, self._transcript(_DIALLER))
        if secret is None:
            raise PeerLinkError(
                f"says it is server {self._said.sid}, and its proof is made with no secret of ours "
                "(zabpy.peerSecretFile), or for another connection"
            )
        self.hello, self.proven = self._said, True
        own = Hello(PEER_VERSION, self._me, self._ensemble)
        return _framed(Proof(proof_of(secret, self._transcript(_DIALLED)))) + _framed(own)

    # We dialled -------------------------------------------------------------------------------------------------------

    def _take_answer(self, said: Hello | Challenge | Proof) -> bytes:
        if isinstance(said, Hello):
            if self._secrets is not None and not self._unproven:
                raise PeerLinkError(
                    f"says it is server {said.sid} and has no secret (zabpy.peerSecretFile); zabpy.peersUnproven=true "
                    "is for the time until all have one"
                )
            return self._take_last_hello(said)
        if not isinstance(said, Challenge):
            raise PeerLinkError("the first frame is no Hello")
        if self._secrets is None:
            raise PeerLinkError(
                "wants a proof that we know the ensemble's secret: zabpy.peerSecretFile is not set here"
            )
        if said.sid != self._expected:
            raise PeerLinkError(f"says it is server {said.sid}, expected {self._expected}")
        if len(said.nonce) != NONCE_BYTES:
            raise PeerLinkError(f"its challenge has {len(said.nonce)} bytes")
        self._theirs, self._used = said.nonce, self._secrets.first
        self._take = self._take_dialled_proof
        self.closed_why = "closed when it had our proof: its secrets may be others (zabpy.peerSecretFile)"
        return _framed(Proof(proof_of(self._used, self._transcript(_DIALLER))))

    def _take_dialled_proof(self, said: Hello | Challenge | Proof) -> bytes:
        if not isinstance(said, Proof) or Secrets((self._used,)).shown_by(said.mac, self._transcript(_DIALLED)) is None:
            raise PeerLinkError(f"says it is server {self._expected}, and proves nothing")
        self.proven = True
        self._take = self._take_last_hello
        return b""

    def _take_last_hello(self, said: Hello | Challenge | Proof) -> bytes:
        if not isinstance(said, Hello):
            raise PeerLinkError("expected a Hello")
        self._check(said)
        self.hello = said
        return b""

    def _transcript(self, role: str) -> bytes:
        """All that the proof of ``role`` is about. An array of CBOR: no two transcripts have the same bytes."""
        assert self._said is not None
        dialler, dialled = (self._said.sid, self._me) if self._expected is None else (self._me, self._expected)
        dialler_nonce, dialled_nonce = (
            (self._theirs, self._ours) if self._expected is None else (self._ours, self._theirs)
        )
        return transcript(role, self._said.version, dialler, dialled, dialler_nonce, dialled_nonce, self._said.ensemble)


_DIALLER, _DIALLED = "zabpy peer link 1: who dials", "zabpy peer link 1: who is dialled"


def _framed(said: Hello | Challenge | Proof) -> bytes:
    return frame(encode_greeting(said))
