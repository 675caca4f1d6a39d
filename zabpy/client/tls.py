"""TLS towards servers: ``connect(..., tls=True)``, or with a `TLS`, or with an `ssl.SSLContext` of one's own."""

import os
import ssl
from dataclasses import dataclass, field

from zabpy.model import BadArgumentsError

StrPath = str | os.PathLike[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class TLS:
    """How servers are verified, and who we are to them. All files are PEM, and read once, when the client is made.

    Attributes:
        ca: certificates of the authorities to trust; None: those that the system trusts.
        certificate: ours, with the chain below its authority; may hold the key, too.
        key: of our certificate, where that file does not hold it.
        password: of the key.
        server_name: what the servers' certificates must be for, where that is not the host of the list: all of them.
        verify_names: False: any certificate of a trusted authority will do, whomever it is for. So whoever has one can
            pose as a server.
    """

    ca: StrPath | None = None
    certificate: StrPath | None = None
    key: StrPath | None = None
    password: str | None = field(default=None, repr=False)
    server_name: str | None = None
    verify_names: bool = True

    def context(self) -> ssl.SSLContext:
        """TLS 1.2 or newer. Raises `BadArgumentsError` that names the file which cannot be used, and why."""
        try:
            context = ssl.create_default_context(cafile=self.ca)
        except (OSError, ssl.SSLError) as error:
            raise BadArgumentsError(f"TLS(ca={os.fspath(self.ca or '')!r}): {_why(error)}") from None
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.check_hostname = self.verify_names
        if self.certificate is None:
            if self.key is not None or self.password is not None:
                raise BadArgumentsError("TLS: a key or its password without a certificate")
            return context
        try:
            # Without a password OpenSSL would ask for one at the terminal.
            context.load_cert_chain(self.certificate, self.key, password=self.password or "")
        except (OSError, ssl.SSLError, ValueError) as error:
            named = f"certificate={os.fspath(self.certificate)!r}"
            named += f", key={os.fspath(self.key)!r}" if self.key is not None else ""
            raise BadArgumentsError(f"TLS({named}): {self._what_of_the_key(error)}") from None
        return context

    def _what_of_the_key(self, error: Exception) -> str:
        """OpenSSL tells a file without a key and a wrong password by the same words."""
        if isinstance(error, ssl.SSLError) and self.certificate is not None:
            with open(self.certificate, "rb") as certificates, open(self.key or self.certificate, "rb") as keys:
                if b"-----BEGIN CERTIFICATE-----" not in certificates.read():
                    return "there is no certificate in it"
                key = keys.read()
                if b"PRIVATE KEY-----" not in key:
                    return "there is no key in it"
                if b"ENCRYPTED" in key:
                    return "the password is not the key's"
        return _why(error)


def context_of(tls: "TLS | ssl.SSLContext | bool") -> tuple[ssl.SSLContext | None, str | None]:
    """The context, None for no TLS; and whom all certificates must be for, if that is not the host of the list."""
    if isinstance(tls, ssl.SSLContext):
        return tls, None
    if isinstance(tls, TLS):
        return tls.context(), tls.server_name
    if isinstance(tls, bool):
        return (TLS().context() if tls else None), None
    raise BadArgumentsError(f"tls={tls!r}: expected True, a zabpy.TLS or an ssl.SSLContext")


def _why(error: Exception) -> str:
    reason = getattr(error, "reason", None)
    if reason in ("NO_CERTIFICATE_OR_CRL_FOUND", "NO_START_LINE"):
        return "there is no certificate in it"
    if reason == "KEY_VALUES_MISMATCH":
        return "the key is not this certificate's"
    return getattr(error, "strerror", None) or (reason or str(error)).replace("_", " ").lower()
