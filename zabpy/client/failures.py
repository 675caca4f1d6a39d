"""Why an attempt at a server failed, in words; and whether waiting could cure it.

Waiting cures a server that is down, starting, overloaded, without a quorum or cut off, and a name server that does not
answer. It does not cure a name that does not exist, a certificate that is not for this server, not signed by whom we
trust or out of date, a certificate of ours that the server refuses, and a port that speaks something else. When all
servers of the list fail for such a reason, `connect` raises at once. Once a session was there nothing is final: the
client goes on trying, for names and certificates change while it runs.
"""

import os
import re
import socket
import ssl
from typing import NamedTuple

import anyio

_NO_SUCH_NAME = {socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)}
#: OpenSSL's reasons, to ours.
_ALERTS = {
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "it asks for a certificate: give one with TLS(certificate=...)",
    "SSLV3_ALERT_HANDSHAKE_FAILURE": "it refused our TLS handshake (it may ask for a certificate)",
    "SSLV3_ALERT_BAD_CERTIFICATE": "it refused our certificate as bad",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": "it refused our certificate",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "it refused our certificate as expired",
    "TLSV1_ALERT_UNKNOWN_CA": "it refused our certificate: it does not trust its authority",
    "TLSV1_ALERT_DECRYPT_ERROR": "it refused our certificate",
    "TLSV1_ALERT_ACCESS_DENIED": "it refused our certificate: access denied",
    "TLSV1_ALERT_PROTOCOL_VERSION": "it speaks no version of TLS that we do",
    "UNSUPPORTED_PROTOCOL": "it speaks no version of TLS that we do",
    "NO_PROTOCOLS_AVAILABLE": "it speaks no version of TLS that we do",
    "WRONG_VERSION_NUMBER": "it does not speak TLS: a plain port, or no server of ZooKeeper's",
    "HTTP_REQUEST": "it does not speak TLS",
    "UNEXPECTED_MESSAGE": "it does not speak TLS",
}
SPEAKS_TLS = "it speaks TLS, and this client does not: connect with tls=True or a TLS(...)"


class Failure(NamedTuple):
    """``for_good``: waiting does not cure it."""

    why: str
    for_good: bool = False


class DialError(OSError):
    """An attempt failed, and why is known."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.why)
        self.failure = failure


def failure_of(error: BaseException) -> Failure:
    """What an exception of a dial, or of a stream, means."""
    if isinstance(error, DialError):
        return error.failure
    if isinstance(error, ssl.SSLCertVerificationError):
        return Failure(f"its certificate is not to be trusted: {error.verify_message.rstrip('.')}", True)
    if isinstance(error, ssl.SSLEOFError):
        return Failure("it closed the connection")
    if isinstance(error, ssl.SSLError):
        reason = error.reason or ""
        known = _ALERTS.get(reason)
        return Failure(known or f"TLS: {reason.replace('_', ' ').lower() or error}", known is not None)
    if isinstance(error, socket.gaierror):
        what = re.sub(r"^\[Errno -?\d+\] ", "", str(error))
        return Failure(f"the name cannot be looked up: {what}", error.errno in _NO_SUCH_NAME)
    if isinstance(error, UnicodeError):  # of a name that is none, by IDNA
        return Failure(f"the name cannot be looked up: {error}", True)
    if isinstance(error, anyio.EndOfStream):
        return Failure("it closed the connection")
    cause = error.__cause__
    if isinstance(cause, BaseExceptionGroup):
        cause = cause.exceptions[0]
    if isinstance(cause, OSError):
        return failure_of(cause)
    if isinstance(error, OSError) and error.errno:
        return Failure(os.strerror(error.errno).lower())
    return Failure(str(error) or (str(cause) if cause else "") or type(error).__name__)
