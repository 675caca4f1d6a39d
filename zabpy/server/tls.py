"""TLS over any `Channel`: the bytes of a connection, encrypted on the way through.

A `TlsChannel` stands between the raw channel, whose handler it is, and whoever deals with the connection, to whom it
looks like any other channel. It holds no thread and no task: OpenSSL works on two buffers in memory. One `TlsDoor`
makes the channels of a port: it has the certificates, says what to do once a handshake is done, and logs why one
failed, in words.

A handshake costs this task a millisecond or two, so a door does a few of them at a time and lets the network have its
turn in between: a thousand clients that come at once must not keep the others, or the peers, waiting for seconds.
"""

import re
import ssl
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from .transport import RECEIVE_BYTES_MAX, Channel, Handler, Network

#: Given to OpenSSL at a time when sending.
SEND_SLICE_BYTES = 64 * 1024
#: Handshakes that are taken a step further before others get their turn.
HANDSHAKES_A_TURN = 4
#: A TLS record that carries a handshake begins with this byte, one that carries an alert with that.
_HANDSHAKE, _ALERT = 0x16, 0x15
#: To whoever does not speak TLS: the alert "protocol version", so that one who can read it knows why.
_PLAIN_REFUSAL = bytes.fromhex("15030300020246")
#: What somebody who speaks TLS begins with, to one who does not expect it.
TLS_BEGINNINGS = (b"\x16\x03", b"\x15\x03")
#: What `Handler.closed` is told begins with this when it was TLS that failed.
TLS_FAILED = "TLS: "


class Contexts(Protocol):
    """The certificates that count now; new connections ask each time."""

    @property
    def accepting(self) -> ssl.SSLContext: ...

    @property
    def dialling(self) -> ssl.SSLContext: ...


class TlsDoor:
    """The TLS of one port, or of all that we dial for one purpose.

    Args:
        contexts: asked for each new connection.
        refused: told of each connection that TLS ended, and why; whoever deals with it is told that it is closed.
        secured: called when a handshake is done, before any byte is handed on. False: hand on nothing until
            `TlsChannel.admit` or `TlsChannel.refuse` is called.
        plain_too: a connection that does not begin with a TLS handshake is let through as it is.
    """

    def __init__(
        self,
        network: Network,
        contexts: Contexts,
        refused: "Callable[[TlsChannel, str], None]",
        secured: "Callable[[TlsChannel], bool]" = lambda channel: True,
        *,
        plain_too: bool = False,
    ) -> None:
        self.contexts, self.refused, self.secured, self.plain_too = contexts, refused, secured, plain_too
        self._shaking: dict[TlsChannel, None] = {}
        self._reading: dict[TlsChannel, None] = {}
        self._wake = network.waker(self._go_on)

    def accepted(self, channel: Channel) -> "TlsChannel":
        """The other side is to begin the handshake."""
        return TlsChannel(self, channel, host=None)

    def dialled(self, channel: Channel, host: str) -> "TlsChannel":
        """We begin it, with one who must have a certificate for ``host``, a name or an address."""
        return TlsChannel(self, channel, host=host)

    def later(self, channel: "TlsChannel", *, shaking: bool) -> None:
        """Have `TlsChannel.go_on` called by the network: in its turn when it is ``shaking`` hands, else soon."""
        if not (self._shaking or self._reading):
            self._wake()
        (self._shaking if shaking else self._reading)[channel] = None

    def forget(self, channel: "TlsChannel") -> None:
        self._shaking.pop(channel, None)
        self._reading.pop(channel, None)

    def _go_on(self) -> None:
        reading, self._reading = self._reading, {}
        shaking = list(self._shaking)[:HANDSHAKES_A_TURN]
        for channel in shaking:
            del self._shaking[channel]
        for channel in (*reading, *shaking):
            channel.go_on()  # one that is over by now knows it
        if self._shaking or self._reading:
            self._wake()


# Where a channel is: in its handshake; that done, but not let in yet; in use; or used without TLS; or gone.
_SHAKING, _HELD, _OPEN, _PLAIN, _OVER = range(5)


class TlsChannel:
    """One connection under TLS: a `Channel` for those above, the `Handler` of the channel below."""

    __slots__ = (
        "_began", "_door", "_early", "_handler", "_host", "_in", "_out", "_paused", "_phase", "_raw", "_tls",
        "remote",
    )  # fmt: skip

    def __init__(self, door: TlsDoor, raw: Channel, *, host: str | None) -> None:
        """``host``: whose certificate the other side must show, if we dialled it; None if it dialled us."""
        self._door, self._raw, self._host = door, raw, host
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls: ssl.SSLObject | None = None
        self._handler: Handler = _NOBODY
        self._phase = _SHAKING
        self._began = self._paused = False
        self._early = bytearray()
        self.remote = raw.remote

    @property
    def backlog(self) -> int:
        return self._raw.backlog + len(self._early)

    @property
    def handler(self) -> Handler:
        return self._handler

    @property
    def secure(self) -> bool:
        """Whether the handshake is done and TLS is in use."""
        return self._phase in (_HELD, _OPEN)

    @property
    def dialled(self) -> bool:
        return self._host is not None

    def certificate(self) -> bytes | None:
        """The other side's, in DER; it has been verified. None without one, and without TLS."""
        return self._tls.getpeercert(binary_form=True) if self._tls is not None and self.secure else None

    def shown(self) -> dict[str, Any]:
        """The same in parts, as the standard library gives them; empty without one."""
        return dict(self._tls.getpeercert() or {}) if self._tls is not None and self.secure else {}

    # As a channel -----------------------------------------------------------------------------------------------------

    def start(self, handler: Handler) -> None:
        self._handler = handler
        self._raw.start(self)
        if self._host is not None:
            self._door.later(self, shaking=True)

    def send(self, data: bytes) -> None:
        if self._phase == _OPEN:
            self._encrypt(data)
        elif self._phase == _PLAIN:
            self._raw.send(data)
        elif self._phase != _OVER:
            self._early += data  # in the backlog, by which those who send bound themselves

    def pause(self) -> None:
        self._paused = True
        self._raw.pause()

    def resume(self) -> None:
        if self._paused:
            self._paused = False
            if self._phase == _OPEN and self._undelivered:
                self._door.later(self, shaking=False)  # and read on behind that
            elif self._phase != _HELD:
                self._raw.resume()

    def finish(self) -> None:
        if self._phase == _OPEN:
            self._say_goodbye()
        self._over()
        self._raw.finish()

    def close(self) -> None:
        if self._phase == _SHAKING and self._began:
            self._door.refused(self, f"{TLS_FAILED}closed before the handshake was done")
        self._over()
        self._raw.close()

    # What the door says -----------------------------------------------------------------------------------------------

    def admit(self) -> None:
        """Let in one that was held: what has come is handed on."""
        if self._phase == _HELD:
            self._open()

    def refuse(self, why: str) -> None:
        """End the connection and tell the door why."""
        if self._phase != _OVER:
            self._fail(why)

    def go_on(self) -> None:
        """By the network: what had to wait."""
        if self._phase == _SHAKING:
            self._shake()
        elif self._phase == _OPEN and not self._paused:
            self._raw.resume()
            self._hand_on()

    # As the handler of the channel below ------------------------------------------------------------------------------

    def received(self, data: bytes) -> None:
        if self._phase == _OPEN:
            self._in.write(data)
            self._hand_on()
        elif self._phase == _PLAIN:
            self._handler.received(data)
        elif self._phase == _SHAKING:
            if not self._began and not self._begins_well(data):
                return
            self._in.write(data)
            self._raw.pause()  # until its turn has come
            self._door.later(self, shaking=True)
        elif self._phase == _HELD:
            self._in.write(data)

    def drained(self) -> None:
        if self._phase in (_OPEN, _PLAIN):
            self._handler.drained()

    def closed(self, why: str) -> None:
        if self._phase == _SHAKING and self._tls is not None and self._in.pending:
            self._shake()  # the last that came may say why the other side has gone
        if self._phase == _OVER:
            return
        if self._phase == _SHAKING and (self._began or self._host is not None):
            why = f"{TLS_FAILED}{why} during the handshake"
            self._door.refused(self, why)
        handler = self._handler
        self._over()
        handler.closed(why)

    # TLS --------------------------------------------------------------------------------------------------------------

    def _begins_well(self, data: bytes) -> bool:
        """Look at the first byte. OpenSSL would wait for five, and know less of what the others mean."""
        self._began = True
        if data[0] == _HANDSHAKE or (self._host is not None and data[0] == _ALERT):
            return True
        if self._door.plain_too and self._host is None:
            self._phase = _PLAIN
            self._send_early()
            self._handler.received(data)
            return False
        if self._host is None:
            self._raw.send(_PLAIN_REFUSAL)
        self._fail(f"{TLS_FAILED}the other side does not speak TLS")
        return False

    def _shake(self) -> None:
        """Take the handshake as far as it goes with what has come."""
        try:
            if self._tls is None:
                self._tls = self._wrapped()
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
            if not self._paused:
                self._raw.resume()
            return
        except (ssl.SSLError, ValueError) as error:  # a ValueError: a host that cannot be in a certificate
            self._fail(f"{TLS_FAILED}{words_of(error)}")
            return
        if self._tls.session_reused and _has_ended(self._tls.getpeercert()):
            # TLS 1.2: who comes back with the keys of an earlier connection does not show its certificate anew.
            self._fail(f"{TLS_FAILED}the certificate of the other side has expired")
            return
        self._flush()
        self._phase = _HELD
        if self._door.secured(self):
            self._open()

    def _wrapped(self) -> ssl.SSLObject:
        if self._host is None:
            return self._door.contexts.accepting.wrap_bio(self._in, self._out, server_side=True)
        return self._door.contexts.dialling.wrap_bio(self._in, self._out, server_hostname=self._host)

    def _open(self) -> None:
        if self._phase != _HELD:  # refused by the one who was asked
            return
        self._phase = _OPEN
        self._send_early()
        if not self._paused:
            self._raw.resume()
            self._hand_on()

    def _hand_on(self) -> None:
        """Decrypt all that has come, as far as the handler wants it."""
        assert self._tls is not None
        read = self._tls.read
        while self._phase == _OPEN and not self._paused:
            parts: list[bytes] = []
            room, why = RECEIVE_BYTES_MAX, None
            try:
                while room > 0:
                    part = read(room)
                    if not part:
                        why = "closed by the other side"
                        break
                    parts.append(part)
                    room -= len(part)
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLZeroReturnError:
                why = "closed by the other side"
            except ssl.SSLError as error:
                why = f"{TLS_FAILED}{words_of(error)}"
            if self._out.pending:  # an answer of TLS itself: to a new key, or an alert
                self._flush()
            if parts:
                self._handler.received(parts[0] if len(parts) == 1 else b"".join(parts))
            if why is not None and self._phase == _OPEN:
                self._fail(why)
            elif room > 0:
                return

    def _encrypt(self, data: bytes | memoryview) -> None:
        assert self._tls is not None
        with memoryview(data) as view:
            try:
                for at in range(0, len(view), SEND_SLICE_BYTES):
                    piece = view[at : at + SEND_SLICE_BYTES]
                    while piece:
                        piece = piece[self._tls.write(piece) :]
                    self._raw.send(self._out.read())
            except ssl.SSLError:
                # The connection has ended or is broken; whoever sends hears of it not now, but from the network.
                self._door.later(self, shaking=False)

    def _say_goodbye(self) -> None:
        assert self._tls is not None
        try:
            self._tls.unwrap()
        except ssl.SSLError:  # nearly always: it wants the other side's answer, which nobody waits for
            pass
        self._flush()

    def _send_early(self) -> None:
        if self._early:
            early, self._early = bytes(self._early), bytearray()
            self.send(early)

    def _flush(self) -> None:
        if self._out.pending:
            self._raw.send(self._out.read())

    @property
    def _undelivered(self) -> bool:
        return bool(self._in.pending or (self._tls is not None and self._tls.pending()))

    def _fail(self, why: str) -> None:
        self._flush()
        handler, told = self._handler, why != "closed by the other side"
        if told:
            self._door.refused(self, why)
        self._over()
        self._raw.finish()  # the other side is to read the alert
        handler.closed(why)

    def _over(self) -> None:
        self._phase, self._handler = _OVER, _NOBODY
        self._early = bytearray()
        self._door.forget(self)


class _Nobody:
    """The handler of a channel that is no longer anybody's."""

    def received(self, data: bytes) -> None: ...
    def drained(self) -> None: ...
    def closed(self, why: str) -> None: ...


_NOBODY = _Nobody()

#: OpenSSL's name for what went wrong → in words. An alert is what the other side says of us.
_REASONS = {
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "the other side has shown no certificate",
    "NO_SHARED_CIPHER": "no cipher suite that both sides have",
    "NO_SHARED_SIGNATURE_ALGORITHMS": "no signature algorithm that both sides have",
    "NO_SUITABLE_SIGNATURE_ALGORITHM": "no signature algorithm that both sides have",
    "UNSUPPORTED_PROTOCOL": "no version of TLS that both sides have",
    "UNKNOWN_PROTOCOL": "no version of TLS that both sides have",
    "VERSION_TOO_LOW": "no version of TLS that both sides have",
    "WRONG_VERSION_NUMBER": "the other side does not speak TLS",
    "WRONG_SSL_VERSION": "the other side does not speak TLS",
    "HTTP_REQUEST": "the other side speaks HTTP",
    "HTTPS_PROXY_REQUEST": "the other side speaks HTTP",
    "DECRYPTION_FAILED_OR_BAD_RECORD_MAC": "a record that cannot be decrypted",
    "SSLV3_ALERT_BAD_CERTIFICATE": "the other side does not accept our certificate",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": "the other side does not accept our certificate",
    "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE": "the other side cannot use our certificate",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "the other side says that our certificate has expired",
    "SSLV3_ALERT_CERTIFICATE_REVOKED": "the other side says that our certificate is revoked",
    "TLSV1_ALERT_UNKNOWN_CA": "the other side does not know the authority of our certificate",
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "the other side wants a certificate of us",
    "TLSV1_ALERT_PROTOCOL_VERSION": "the other side has none of our versions of TLS, or does not speak TLS there",
    "SSLV3_ALERT_HANDSHAKE_FAILURE": "the other side found nothing that both sides have, or wants a certificate",
    "TLSV1_ALERT_ACCESS_DENIED": "the other side does not let us in",
    "TLSV1_ALERT_DECRYPT_ERROR": "the other side could not verify what we signed",
}


def _has_ended(certificate: Mapping[str, Any] | None) -> bool:
    ends = (certificate or {}).get("notAfter")
    return ends is not None and ssl.cert_time_to_seconds(ends) < time.time()


def words_of(error: Exception) -> str:
    """What went wrong, for people: from OpenSSL's reason, and from what it says of a certificate."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate of the other side is not accepted: {error.verify_message}"
    reason = getattr(error, "reason", None)
    if not isinstance(reason, str):
        return f"it cannot begin: {error}"
    return _REASONS.get(reason) or re.sub("^(sslv3|tlsv1|tlsv13) alert", "alert:", reason.lower().replace("_", " "))
