"""TLS in a ``zoo.cfg``: the keys ``ssl.…`` of the client port and ``ssl.quorum.…`` between servers.

Names and meaning: the ZooKeeper administrator's guide. What is stricter here: certificates are always verified against
a trust store of one's own, never against whatever the machine trusts; TLS before 1.2 is not spoken.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .config_text import ConfigError

CLIENT, QUORUM = "ssl.", "ssl.quorum."
#: Keys behind either prefix that say how TLS is done.
NAMES = (
    *("keyStore.location", "keyStore.password", "keyStore.passwordPath", "keyStore.type"),
    *("trustStore.location", "trustStore.password", "trustStore.passwordPath", "trustStore.type"),
    *("clientAuth", "hostnameVerification", "clientHostnameVerification"),
    *("protocol", "enabledProtocols", "ciphersuites"),
)
STORE_TYPES = ("jks", "pem", "pkcs12")
TLS12, TLS13 = "TLSv1.2", "TLSv1.3"
#: The cipher suites of TLS 1.3.
_TLS13_SUITES = frozenset(
    ("TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256", "TLS_AES_128_CCM_SHA256")
)
_OLD = frozenset(("SSLv2Hello", "SSLv3", "TLSv1", "TLSv1.0", "TLSv1.1"))


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreSettings:
    """A key store or a trust store. Passwords are never shown."""

    key: str
    """The key of the file that its keys begin with, like ``ssl.keyStore``; for messages."""
    path: str
    password: str = field(default="", repr=False)
    password_path: str | None = None
    """Counts before ``password``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsSettings:
    """TLS on the client port, or between servers."""

    config_path: str
    """The file that it comes from, for messages."""
    key_store: StoreSettings
    trust_store: StoreSettings | None
    """None only where nobody is asked for a certificate."""
    client_auth: str = "need"
    """Whoever comes to us: ``need`` a certificate, ``want`` one, or ``none``."""
    check_dialled: bool = True
    """The certificate of one whom we dial must name the host that we dialled."""
    check_accepted: bool = False
    """The certificate of one who comes must name where it comes from, or, of a server, where our list says it is."""
    protocols: tuple[str, ...] = (TLS12, TLS13)
    ciphers: tuple[str, ...] = ()
    """For TLS 1.2, by OpenSSL's names, best first; empty for its own choice. Those of 1.3 are fixed."""
    reload: bool = True
    """Look whether the files have changed, and use the new ones for new connections."""


def protocols(text: str) -> tuple[str, ...]:
    """``ssl.enabledProtocols``: those of the list that we speak. Raises ValueError when there is none, or nonsense."""
    named = _listed(text)
    known = tuple(name for name in (TLS12, TLS13) if name in named)
    if not known or not set(named) <= {TLS12, TLS13} | _OLD:
        raise ValueError(text)
    return known


def old_protocols(text: str) -> list[str]:
    """Those of the list that are too old to be spoken."""
    return [name for name in _listed(text) if name in _OLD]


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def protocol(text: str) -> tuple[str, ...]:
    """``ssl.protocol``: one of Java's names for a context. ``TLS`` is all there are."""
    return (TLS12, TLS13) if text == "TLS" else protocols(text)


def ciphers(text: str) -> tuple[str, ...]:
    """``ssl.ciphersuites`` by OpenSSL's names; Java's are translated. Which of them exist, OpenSSL says later.
    Raises ValueError."""
    named = tuple(_openssl_name(part.strip()) for part in text.replace(":", ",").split(",") if part.strip())
    if not named:
        raise ValueError(text)
    return tuple(dict.fromkeys(named))


def _openssl_name(name: str) -> str:
    """``TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256`` → ``ECDHE-RSA-AES128-GCM-SHA256``; those of TLS 1.3 have one name."""
    if not name or not all(char.isascii() and (char.isalnum() or char in "-_") for char in name):
        raise ValueError(name)
    exchange, with_, cipher = name.removeprefix("TLS_").partition("_WITH_")
    if not with_:
        if is_tls13_suite(name) and name not in _TLS13_SUITES:
            raise ValueError(name)
        return name
    cipher = cipher.replace("AES_128", "AES128").replace("AES_256", "AES256").replace("_CBC", "")
    if cipher.startswith("CHACHA20_POLY1305"):
        cipher = "CHACHA20_POLY1305"
    exchange = "" if exchange == "RSA" else exchange.replace("_", "-") + "-"
    return exchange + cipher.replace("_", "-")


def is_tls13_suite(name: str) -> bool:
    return name.startswith("TLS_")


def settings_of(values: Mapping[str, Any], prefix: str, config_path: str, switched_on_by: str) -> TlsSettings:
    """From the values read so far, by their whole key.

    Raises:
        ConfigError: a store that must be there is not named.
    """

    def store(kind: str) -> StoreSettings | None:
        path = values.get(f"{prefix}{kind}.location")
        if path is None:
            return None
        return StoreSettings(
            key=f"{prefix}{kind}",
            path=path,
            password=values.get(f"{prefix}{kind}.password", ""),
            password_path=values.get(f"{prefix}{kind}.passwordPath"),
        )

    def missing(kind: str, what: str) -> ConfigError:
        return ConfigError(
            f"{config_path}: {prefix}{kind}.location is missing: expected a file (PEM, PKCS#12 or JKS) with {what}, "
            f"because of {switched_on_by}"
        )

    quorum = prefix == QUORUM
    client_auth = "need" if quorum else values.get(f"{prefix}clientAuth", "need")
    key_store, trust_store = store("keyStore"), store("trustStore")
    if key_store is None:
        raise missing("keyStore", "this server's private key and certificate")
    if trust_store is None and client_auth != "none":
        raise missing("trustStore", "the certificates of the authorities to trust")
    spoken = values.get(f"{prefix}enabledProtocols") or values.get(f"{prefix}protocol") or (TLS12, TLS13)
    suites = values.get(f"{prefix}ciphersuites", ())
    older = tuple(name for name in suites if not is_tls13_suite(name))
    if suites and not older:
        spoken = tuple(name for name in spoken if name == TLS13)
    elif suites and len(older) == len(suites):
        spoken = tuple(name for name in spoken if name == TLS12)
    if not spoken:
        raise ConfigError(f"{config_path}: {prefix}ciphersuites: none of them is of the versions of TLS that are left")
    check = values.get(f"{prefix}hostnameVerification", True)
    return TlsSettings(
        config_path=config_path,
        key_store=key_store,
        trust_store=trust_store,
        client_auth=client_auth,
        check_dialled=check,
        check_accepted=values.get(f"{prefix}clientHostnameVerification", quorum and check),
        protocols=spoken,
        ciphers=older,
        reload=values.get("sslQuorumReloadCertFiles" if quorum else "client.certReload", True),
    )
