"""The keys of a ``zoo.cfg``: which field of `Config` each one fills and how its value is read; which are known and do
nothing here. Names and meaning: the ZooKeeper administrator's guide."""

import hashlib
from collections.abc import Callable
from typing import Any, NamedTuple

from zabpy.model import host_of, whole
from zabpy.pipeline import DIGEST_ALGORITHMS

from . import tls_settings as tls

TICK_MS = 3000
MIB = 1024 * 1024
DAY_MS = 24 * 60 * 60 * 1000


def flag(text: str) -> bool:
    if text.lower() not in ("true", "yes", "false", "no"):
        raise ValueError(text)
    return text.lower() in ("true", "yes")


def filled(text: str) -> str:
    if not text:
        raise ValueError(text)
    return text


def digest(text: str) -> str:
    user, colon, hashed = text.partition(":")
    if not (user and colon and hashed):
        raise ValueError(text)
    return text


def any_text(text: str) -> str:
    return text


def algorithm(text: str) -> str:
    name = DIGEST_ALGORITHMS.get(text.upper(), "")
    hashlib.new(name, usedforsecurity=False)  # ValueError, too, for one that this machine has not
    return name


def names(text: str) -> frozenset[str]:
    found = frozenset(part.strip() for part in text.split(","))
    if "" in found:
        raise ValueError(text)
    return found


def choice(*allowed: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text.lower() not in allowed:
            raise ValueError(text)
        return text.lower()

    return read


def interval_ms(text: str) -> int:
    for unit, milliseconds in (("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", DAY_MS)):
        if text.endswith(unit):
            return whole(0)(text.removesuffix(unit).strip()) * milliseconds
    return whole(0)(text) * 3_600_000


def share(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise ValueError(text)
    return value


class Key(NamedTuple):
    """A key of the file that one field of `Config` comes from."""

    field: str
    read: Callable[[str], Any]
    expected: str
    not_served: str = ""


_MS = "a whole number of milliseconds, 1 or more"
_MS0 = "a whole number of milliseconds, 0 or more"
_FLAG = "true or false"
_TOKENS = "a whole number of tokens, 1 or more"
_SHARE = "a number from 0 to 1"
_PORT = "a port from 0 (any free one) to 65535"
_HOST = "a host name or address"

KEYS: dict[str, Key] = {
    "dataDir": Key("dataDir", filled, "a directory"),
    "dataLogDir": Key("dataLogDir", filled, "a directory"),
    "clientPort": Key("client_port", whole(0, 65535), _PORT),
    "clientPortAddress": Key("client_host", host_of, _HOST),
    "secureClientPort": Key("secure_client_port", whole(0, 65535), _PORT),
    "secureClientPortAddress": Key("secure_client_host", host_of, _HOST),
    "clientPortListenBacklog": Key("listen_backlog", whole(-1, 65535), "a whole number from -1 (default) to 65535"),
    "quorumListenOnAllIPs": Key("peer_listen_all", flag, _FLAG),
    "peerType": Key("peer_type", choice("participant", "observer"), "participant or observer"),
    "standaloneEnabled": Key("standalone_enabled", flag, _FLAG),
    "tickTime": Key("tick_ms", whole(1, 2**31 - 1), _MS),
    "initLimit": Key("init_limit_ticks", whole(1, 2**31 - 1), "a whole number of ticks, 1 or more"),
    "syncLimit": Key("sync_limit_ticks", whole(1, 2**31 - 1), "a whole number of ticks, 1 or more"),
    "minSessionTimeout": Key("min_session_timeout_ms", whole(-1, 2**31 - 1), f"{_MS}, or -1 for 2 ticks"),
    "maxSessionTimeout": Key("max_session_timeout_ms", whole(-1, 2**31 - 1), f"{_MS}, or -1 for 20 ticks"),
    "cnxTimeout": Key("peer_dial_timeout_ms", whole(1, 2**31 - 1), _MS),
    "nio.sessionlessCnxnTimeout": Key("handshake_timeout_ms", whole(1, 2**31 - 1), _MS),
    "request_throttler.shutdownTimeout": Key("shutdown_timeout_ms", whole(1, 2**31 - 1), _MS),
    "fsync.warningthresholdms": Key("fsync_warning_ms", whole(0), _MS0),
    "maxClientCnxns": Key("address_connections_max", whole(0), "a whole number of connections, 0 for no bound"),
    "maxCnxns": Key("connections_max", whole(0), "a whole number of connections, 0 for no bound"),
    "jute.maxbuffer": Key("frame_bytes_max", whole(1024, 16 * MIB), "a whole number of bytes from 1024 to 16777216"),
    "globalOutstandingLimit": Key("outstanding_max", whole(1), "a whole number of requests, 1 or more"),
    "largeRequestThreshold": Key("large_request_bytes_min", whole(-1), "a whole number of bytes, or -1 for no bound"),
    "largeRequestMaxBytes": Key("large_requests_bytes_max", whole(1), "a whole number of bytes, 1 or more"),
    "connection_throttle_tokens": Key("handshake_tokens_max", whole(0), "a whole number of tokens, 0 for no bound"),
    "connection_throttle_fill_time": Key("handshake_fill_ms", whole(1), _MS),
    "connection_throttle_fill_count": Key("handshake_fill_tokens", whole(1), _TOKENS),
    "connection_throttle_freeze_time": Key("handshake_freeze_ms", whole(-1), f"{_MS0}, or -1 for never"),
    "connection_throttle_drop_increase": Key("handshake_drop_increase", share, _SHARE),
    "connection_throttle_drop_decrease": Key("handshake_drop_decrease", share, _SHARE),
    "connection_throttle_decrease_ratio": Key("handshake_decrease_ratio", share, _SHARE),
    "connection_throttle_weight_enabled": Key("handshake_weighted", flag, _FLAG),
    "connection_throttle_global_session_weight": Key("new_session_tokens", whole(1), _TOKENS),
    "connection_throttle_local_session_weight": Key("local_session_tokens", whole(1), _TOKENS),
    "connection_throttle_renew_session_weight": Key("resumed_session_tokens", whole(1), _TOKENS),
    "leaderServes": Key("leader_serves", flag, "yes or no"),
    "preAllocSize": Key("log_segment_bytes", whole(64, 2**22, 1024), "a whole number of KiB from 64 to 4194304"),
    "snapCount": Key("snapshot_entries", whole(2), "a whole number of transactions, 2 or more"),
    "snapSizeLimitInKb": Key(
        "snapshot_log_bytes", whole(-(2**40), 2**40, 1024), "a whole number of KiB, 0 for no bound"
    ),
    "datadir.autocreate": Key("create_directories", flag, _FLAG),
    "enforceQuota": Key("enforce_quota", flag, _FLAG),
    "extendedTypesEnabled": Key("ttl_znodes", flag, _FLAG),
    "znode.container.checkIntervalMs": Key("container_check_ms", whole(1), _MS),
    "znode.container.maxPerMinute": Key("container_deletes_per_minute_max", whole(1), "a whole number, 1 or more"),
    "znode.container.maxNeverUsedIntervalMs": Key("container_never_used_ms", whole(0), _MS0),
    "DigestAuthenticationProvider.superDigest": Key("super_digest", digest, "user:hash"),
    "client.portUnification": Key("client_port_unification", flag, _FLAG),
    "sslQuorum": Key("peer_tls_dialled", flag, _FLAG),
    "portUnification": Key("peer_port_unification", flag, _FLAG),
    "X509AuthenticationProvider.superUser": Key(
        "x509_super", filled, "the subject of a certificate, like CN=admin,O=x"
    ),
    "reconfigEnabled": Key("reconfig", flag, _FLAG),
    "readonlymode.enabled": Key("read_only_mode", flag, _FLAG),
    "localSessionsEnabled": Key("local_sessions", flag, _FLAG),
    "localSessionsUpgradingEnabled": Key("local_sessions_upgrading", flag, _FLAG),
    "java.security.auth.login.config": Key("jaas_path", filled, "the path of a JAAS file"),
    "sasl.serverconfig": Key("jaas_section", filled, "the name of a section of the JAAS file"),
    "SASLAuthenticationProvider.superPassword": Key("sasl_super_password", filled, "a password"),
    "allowSaslFailedClients": Key("sasl_failed_may_stay", flag, _FLAG),
    "letAnySaslUserDoX": Key("sasl_any_user", filled, "the id of an ACL of scheme sasl"),
    "sessionRequireClientSASLAuth": Key("sasl_required", flag, _FLAG),
    "enforce.auth.enabled": Key("enforce_enabled", flag, _FLAG),
    "enforce.auth.schemes": Key("enforce_schemes", names, "schemes with commas between them, like digest,sasl"),
    "ensembleAuthName": Key("ensemble_names", names, "names with commas between them"),
    "DigestAuthenticationProvider.enabled": Key("digest_enabled", flag, _FLAG),
    "DigestAuthenticationProvider.digestAlg": Key(
        "digest_algorithm", algorithm, "a digest as Java calls it, like SHA1, SHA-256, SHA-512, SHA3-256"
    ),
    "skipACL": Key("acls_off", flag, _FLAG),
    # Ours. How servers prove to each other who they are.
    "zabpy.peerSecretFile": Key("peer_secret_path", filled, "the path of a file with the ensemble's secret"),
    "zabpy.peersUnproven": Key("peers_unproven", flag, _FLAG),
    # Ours. Bounds that ZooKeeper has no key for.
    "zabpy.connectionOutstandingMax": Key(
        "connection_outstanding_max", whole(1), "a whole number of requests, 1 or more"
    ),
    "zabpy.connectionSendBytesMax": Key(
        "connection_send_bytes_max", whole(MIB), "a whole number of bytes, 1048576 or more"
    ),
    "zabpy.receiveBytesMax": Key("receive_bytes_max", whole(MIB), "a whole number of bytes, 1048576 or more"),
    "zabpy.sendBytesMax": Key("send_bytes_max", whole(MIB), "a whole number of bytes, 1048576 or more"),
    "zabpy.peerSendBytesMax": Key("peer_send_bytes_max", whole(MIB), "a whole number of bytes, 1048576 or more"),
}

_FILE = "the path of a file"
_STORE_TYPE = "JKS, PEM or PKCS12 (and the file itself tells which)"
#: How TLS is done: these stand behind ``ssl.`` and ``ssl.quorum.``, and go into a `TlsSettings`.
TLS_KEYS: dict[str, Key] = {
    f"{prefix}{name}": Key(f"{prefix}{name}", read, expected)
    for prefix in (tls.CLIENT, tls.QUORUM)
    for name, read, expected in (
        *((f"{kind}Store.location", filled, _FILE) for kind in ("key", "trust")),
        *((f"{kind}Store.password", any_text, "a password") for kind in ("key", "trust")),
        *((f"{kind}Store.passwordPath", filled, _FILE) for kind in ("key", "trust")),
        *((f"{kind}Store.type", choice(*tls.STORE_TYPES), _STORE_TYPE) for kind in ("key", "trust")),
        ("clientAuth", choice("need", "want", "none"), "need, want or none"),
        ("hostnameVerification", flag, _FLAG),
        ("clientHostnameVerification", flag, _FLAG),
        ("protocol", tls.protocol, "TLSv1.2, TLSv1.3, or TLS for both"),
        ("enabledProtocols", tls.protocols, "TLSv1.2, TLSv1.3 or both, with a comma between them"),
        ("ciphersuites", tls.ciphers, "cipher suites by their names in Java or OpenSSL, with commas between them"),
    )
}
TLS_KEYS["client.certReload"] = Key("client.certReload", flag, _FLAG)
TLS_KEYS["sslQuorumReloadCertFiles"] = Key("sslQuorumReloadCertFiles", flag, _FLAG)
KEYS.update(TLS_KEYS)

#: Read into the draft, but no field of a Config.
UNUSED_FIELDS = frozenset(
    {
        *("dataDir", "dataLogDir", "peer_type"),
        *TLS_KEYS,
        *("sasl_required", "enforce_enabled", "enforce_schemes", "digest_enabled"),
    }
)

#: Classes of ``authProvider.*`` and the scheme each one switches on.
AUTH_PROVIDERS: dict[str, str] = {
    f"org.apache.zookeeper.server.auth.{name}AuthenticationProvider": scheme
    for name, scheme in (
        ("Digest", "digest"), ("IP", "ip"), ("SASL", "sasl"), ("X509", "x509"), ("Ensemble", "ensemble"),
    )
}  # fmt: skip

#: Features that are not served yet: a warning, when the key switches one on. Why → keys.
NOT_SERVED: dict[str, tuple[str, ...]] = {
    "looking for revoked certificates is": ("ssl.crl", "ssl.ocsp", "ssl.quorum.crl", "ssl.quorum.ocsp"),
    "a choice of TLS classes of Java is": (
        *("ssl.authProvider", "ssl.context.supplier.class", "ssl.quorum.context.supplier.class"),
    ),
    "SASL between servers (TLS between them, sslQuorum, is what serves) is": (
        *("quorum.auth.enableSasl", "quorum.auth.serverRequireSasl", "quorum.auth.learnerRequireSasl"),
        *("quorum.auth.kerberos.servicePrincipal", "quorum.cnxn.threads.size"),
        *("quorum.auth.learner.saslLoginContext", "quorum.auth.server.saslLoginContext"),
    ),
    "the admin server is": (
        *("admin.enableServer", "admin.serverPort", "admin.serverAddress", "admin.commandURL", "admin.idleTimeout"),
        *("admin.portUnification", "admin.forceHttps", "admin.needClientAuth", "admin.snapshot.enabled"),
        *("admin.restore.enabled", "admin.rateLimiterIntervalInMS"),
    ),
    "the metrics exporter is": (
        *("metricsProvider.className", "metricsProvider.httpHost", "metricsProvider.httpPort"),
        *("metricsProvider.httpsPort", "metricsProvider.exportJvmInfo"),
    ),
    "the audit log is": ("audit.enable", "audit.impl.class"),
    "following a follower is": ("observerMasterPort",),
    "an oracle is": ("oraclePath",),
    "the guard against an empty start is": ("db.autocreate",),
}

#: Values that switch a feature off.
OFF = frozenset({"", "false", "no", "0", "-1"})

#: Keys of ZooKeeper that mean nothing here: they steer Java, its threads and its caches, or how it does what we do
#: otherwise. Of the two keepalives: servers say something on their links every half tick, clients ping, and who is
#: silent for too long is closed, so there is no dead connection that the kernel would have to find.
MEANINGLESS = frozenset(
    # request_throttle_…, request_stale_…, throttled_op_…: of a queue between connections and the order. There is none
    # here: what is too much stays unread on its connection (globalOutstandingLimit), and goes with it.
    """
    request_throttle_max_requests request_throttle_stall_time request_throttle_drop_stale
    request_stale_connection_check request_stale_latency_check throttled_op_wait_time
    jute.maxbuffer.extrasize clientTcpKeepAlive tcpKeepAlive electionAlg quorumCnxnTimeoutMs
    connectToLearnerMasterLimit electionPortBindRetry
    multiAddress.enabled multiAddress.reachabilityCheckTimeoutMs multiAddress.reachabilityCheckEnabled
    fastleader.minNotificationInterval fastleader.maxNotificationInterval leader.maxTimeToWaitForEpoch
    leader.maxConcurrentSnapSyncs leader.maxConcurrentDiffSyncs maxConcurrentSnapSyncs maxConcurrentDiffSyncs
    observer.reconnectDelayMs observer.election.DelayMs syncEnabled learner.asyncSending learner.closeSocketAsync
    leader.closeSocketAsync txnLogSizeLimitInKb commitLogCount snapshotSizeFactor flushDelay maxBatchSize
    maxWriteQueuePollTime snapshot.compression.method snapshot.trust.empty serializeLastProcessedZxid.enabled
    digest.enabled closeSessionTxn.enabled maxResponseCacheSize maxGetChildrenResponseCacheSize serverCnxnFactory
    nio.numSelectorThreads nio.numWorkerThreads nio.directBufferBytes nio.shutdownTimeout
    commitProcessor.numWorkerThreads commitProcessor.maxReadBatchSize commitProcessor.maxCommitBatchSize
    commitProcessor.shutdownTimeout maxReadBatchSize maxCommitBatchSize watchManagerName watcherCleanThreadsNum
    watcherCleanThreshold watcherCleanIntervalInSeconds bitHashCacheSize maxInProcessingDeadWatchers
    emulate353TTLNodes enableEagerACLCheck netty.advancedFlowControl.enabled netty.server.outstandingHandshake.limit
    outstandingHandshake.limit jvm.pause.monitor jvm.pause.monitor.sleep.time.ms jvm.pause.sleep.time.ms
    jvm.pause.info-threshold.ms jvm.pause.warn-threshold.ms messageTracker.Enabled messageTracker.BufferSize
    IPAuthenticationProvider.usexforwardedfor kerberos.removeHostFromPrincipal kerberos.removeRealmFromPrincipal
    ssl.sslProvider ssl.quorum.sslProvider ssl.handshakeDetectionTimeoutMillis
    ssl.quorum.handshakeDetectionTimeoutMillis kerberos.canonicalizeHostNames jaasLoginRenew fips-mode clientCnxnSocket
    """.split()
)

SERVER_ID_MAX = 255  # a session id and a request id give it eight bits
SNAPSHOTS_KEPT_MIN = 3  # as in ZooKeeper

NOT_SERVED_BY_KEY = {key: why for why, keys in NOT_SERVED.items() for key in keys}


def not_served_why(name: str) -> str | None:
    if (why := NOT_SERVED_BY_KEY.get(name)) is not None:
        return why
    return None


def known_name(key: str) -> str:
    """``zookeeper.snapCount``, as the property is called, means the same as ``snapCount``."""
    return key.removeprefix("zookeeper.")
