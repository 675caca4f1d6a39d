"""Credentials: a server's own certificate, whom it trusts, and the files of both, which may change while it runs.

Whoever is loaded here is verified: there is no way to a context that trusts everybody. All loading blocks on disk (and
on the slow hash that protects a key's passage into OpenSSL), so it is done aside.
"""

import os
import secrets
import ssl
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, TypeVar

import trio
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.x509 import load_der_x509_certificate

from zabpy.model import ZabpyError

from .clock import Clock
from .keystores import (
    STORE_BYTES_MAX,
    KeyStore,
    StoreError,
    WrongPasswordError,
    read_key_store,
    read_trust_store,
)
from .log import Log
from .tls_settings import TLS12, StoreSettings, TlsSettings

T = TypeVar("T")

#: How often the files are looked at, and how often we say that our certificate ends soon.
LOOK_EVERY_SECONDS = 5
SAY_EVERY_MS = 24 * 60 * 60 * 1000
ENDS_SOON_MS = 30 * 24 * 60 * 60 * 1000

_VERSIONS = {"TLSv1.2": ssl.TLSVersion.TLSv1_2, "TLSv1.3": ssl.TLSVersion.TLSv1_3}
_AUTH = {"need": ssl.CERT_REQUIRED, "want": ssl.CERT_OPTIONAL, "none": ssl.CERT_NONE}


class CredentialsError(ZabpyError):
    """One line: the file, the key of zoo.cfg that names it, and what is wrong with it."""


class Credentials:
    """Of the client port, or of the links between servers. As `tls.Contexts`: what counts now."""

    def __init__(self, settings: TlsSettings) -> None:
        self.settings = settings
        self.accepting: ssl.SSLContext
        self.dialling: ssl.SSLContext
        self.ends_wall_ms = 0
        """When our certificate ends, in ms since 1970."""
        self._seen: tuple[object, ...] = ()

    def load(self) -> None:
        """Read the files and make the contexts; those there were stay until all has gone well. Blocks.

        Raises:
            CredentialsError: a file, a password or a choice of ciphers that cannot be used.
        """
        self._seen = self._identities()  # before reading: a change meanwhile is one for the next look
        try:
            self._load()
        except (ssl.SSLError, UnsupportedAlgorithm, OSError, TypeError, ValueError) as error:
            # What OpenSSL or the directory for temporary files does not take must not end a server that only looks at
            # a new file.
            what = (error.strerror if isinstance(error, OSError) else "") or type(error).__name__
            raise _error(self.settings, self.settings.key_store, f"cannot be used: {what}") from None

    def _load(self) -> None:
        settings = self.settings
        key_store = _load(settings, settings.key_store, read_key_store)
        trusted = () if settings.trust_store is None else _load(settings, settings.trust_store, read_trust_store)
        accepting = self._context(ssl.PROTOCOL_TLS_SERVER, key_store, trusted)
        accepting.verify_mode = _AUTH[settings.client_auth]
        # Whoever comes back proves anew who it is. In TLS 1.2 it may come back without for as long as its certificate
        # is valid (tls.py looks at that), but not to other contexts, so not after new files were read.
        accepting.num_tickets = 0
        dialling = self._context(ssl.PROTOCOL_TLS_CLIENT, key_store, trusted)
        dialling.check_hostname = settings.check_dialled
        assert dialling.verify_mode is ssl.CERT_REQUIRED
        assert trusted or accepting.verify_mode is ssl.CERT_NONE
        ends = load_der_x509_certificate(key_store.chain[0]).not_valid_after_utc
        self.accepting, self.dialling, self.ends_wall_ms = accepting, dialling, int(ends.timestamp() * 1000)

    def changed(self) -> bool:
        """Whether a file is another than the one that `load` has read, or tried to. Blocks."""
        return self._identities() != self._seen

    def _identities(self) -> tuple[object, ...]:
        found: list[object] = []
        for store in (self.settings.key_store, self.settings.trust_store):
            for path in () if store is None else (store.path, store.password_path):
                if path is not None:
                    try:
                        stat = os.stat(path)
                    except OSError as error:
                        found.append(error.errno)
                    else:
                        found.append((stat.st_mtime_ns, stat.st_ino, stat.st_size))
        return tuple(found)

    def _context(self, side: int, key_store: KeyStore, trusted: Sequence[bytes]) -> ssl.SSLContext:
        settings = self.settings
        context = ssl.SSLContext(side)
        versions = [_VERSIONS[name] for name in settings.protocols]
        context.minimum_version, context.maximum_version = min(versions), max(versions)
        context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_TICKET
        if settings.ciphers and TLS12 in settings.protocols:
            _choose_ciphers(context, settings)
        # Java trusts whatever stands in a trust store, also a certificate that another has signed.
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        if trusted:
            try:
                context.load_verify_locations(cadata=b"".join(trusted))
            except ssl.SSLError as error:
                assert settings.trust_store is not None
                raise _error(settings, settings.trust_store, f"OpenSSL does not take it: {_reason(error)}") from None
        self._load_key(context, key_store)
        return context

    def _load_key(self, context: ssl.SSLContext, key_store: KeyStore) -> None:
        """Through a file that only we may read, for OpenSSL takes no other; encrypted, and gone a moment later."""
        password = secrets.token_hex(16)
        with tempfile.NamedTemporaryFile(prefix="zabpy-") as file:
            file.write(key_store.pem(password.encode()))
            file.flush()
            try:
                context.load_cert_chain(file.name, password=password)
            except ssl.SSLError as error:
                raise _error(
                    self.settings, self.settings.key_store, f"OpenSSL does not take it: {_reason(error)}"
                ) from None


def _load(settings: TlsSettings, store: StoreSettings, read: Callable[[bytes, str], T]) -> T:
    password, where = store.password, "password"
    if store.password_path is not None:
        where = "passwordPath"
        password = _contents(settings, store, store.password_path, "passwordPath").decode("utf-8", "replace")
        password = password.rstrip("\r\n")
    data = _contents(settings, store, store.path, "location")
    try:
        return read(data, password)
    except WrongPasswordError as error:
        raise _error(settings, store, f"{error} ({store.key}.{where})") from None
    except StoreError as error:
        raise _error(settings, store, str(error)) from None
    except (UnsupportedAlgorithm, TypeError, ValueError) as error:  # such as a kind of key that nobody has thought of
        raise _error(settings, store, f"cannot be used: {type(error).__name__}") from None


def _contents(settings: TlsSettings, store: StoreSettings, path: str, name: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(STORE_BYTES_MAX + 1)
    except OSError as error:
        raise CredentialsError(
            f"{settings.config_path}: {store.key}.{name}={path}: {error.strerror}: expected a readable file"
        ) from None


def _reason(error: ssl.SSLError) -> str:
    return (error.reason or "unknown reason").lower().replace("_", " ")


def _error(settings: TlsSettings, store: StoreSettings, what: str) -> CredentialsError:
    return CredentialsError(f"{settings.config_path}: {store.key}.location={store.path}: {what}")


def _choose_ciphers(context: ssl.SSLContext, settings: TlsSettings) -> None:
    key = settings.key_store.key.removesuffix("keyStore") + "ciphersuites"
    context.set_ciphers("ALL:!aNULL:!eNULL:!PSK:!SRP")
    known = {str(each["name"]) for each in context.get_ciphers()}
    for name in settings.ciphers:
        if name not in known:
            raise CredentialsError(
                f"{settings.config_path}: {key}: {name}: expected names of Java or OpenSSL for cipher suites of TLS 1.2"
            )
    context.set_ciphers(":".join(settings.ciphers))


# While the server runs ------------------------------------------------------------------------------------------------


class Aside(Protocol):
    def __call__(self, call: Callable[[], T], /) -> Awaitable[T]: ...


class Watch:
    """Looks after `Credentials`: new files are used, and what ends soon is said."""

    def __init__(self, credentials: Sequence[Credentials], *, clock: Clock, log: Log, aside: Aside) -> None:
        self._credentials, self._clock, self._log, self._aside = credentials, clock, log, aside
        self._said_ms: dict[str, int] = {}

    async def run(self) -> None:
        while True:
            for each in self._credentials:
                if each.settings.reload and await self._aside(each.changed):
                    await self._reload(each)
                self._say_end(each)
            await trio.sleep(LOOK_EVERY_SECONDS)

    async def _reload(self, credentials: Credentials) -> None:
        key = credentials.settings.key_store.key
        try:
            await self._aside(credentials.load)
        except CredentialsError as error:
            self._log("certificates_not_reloaded", key=key, why=str(error), used="the ones from before")
        else:
            self._log("certificates_reloaded", key=key, ends=_date(credentials.ends_wall_ms))
            self._said_ms.pop(key, None)

    def _say_end(self, credentials: Credentials) -> None:
        now_ms, key = self._clock.wall_ms(), credentials.settings.key_store.key
        left_ms = credentials.ends_wall_ms - now_ms
        if left_ms < ENDS_SOON_MS and now_ms - self._said_ms.get(key, -SAY_EVERY_MS) >= SAY_EVERY_MS:
            self._said_ms[key] = now_ms
            event = "certificate_ends_soon" if left_ms > 0 else "certificate_has_expired"
            path = credentials.settings.key_store.path
            self._log(event, key=key, file=path, ends=_date(credentials.ends_wall_ms))


def _date(wall_ms: int) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(wall_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%MZ")
