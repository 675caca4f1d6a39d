"""A zoo.cfg gives a Config, or one line that says what is wrong where."""

import dataclasses
from pathlib import Path

import pytest

from zabpy.server.config import WORDS, Config, known_keys, load, parse
from zabpy.server.config_keys import KEYS, UNUSED_FIELDS
from zabpy.server.config_text import ConfigError

ALONE = "dataDir=/srv/data\nclientPort=2181\n"
ENSEMBLE = """
tickTime=2000
initLimit=4
syncLimit=2
dataDir=/srv/data
clientPort=2181
server.1=one:2888:3888
server.2=two:2888:3888:participant
server.3=three:2888:3888:observer
zabpy.peerSecretFile=secret
"""

#: Every key of ZooKeeper's guide; N stands for a number.
ZOOKEEPER_KEYS = """
tickTime dataDir dataLogDir clientPort clientPortAddress secureClientPort secureClientPortAddress minSessionTimeout
maxSessionTimeout maxClientCnxns maxCnxns clientPortListenBacklog initLimit syncLimit server.N
autopurge.snapRetainCount autopurge.purgeInterval 4lw.commands.whitelist jute.maxbuffer jute.maxbuffer.extrasize
standaloneEnabled
reconfigEnabled dynamicConfigFile peerType group.N weight.N leaderServes electionAlg cnxTimeout quorumCnxnTimeoutMs
connectToLearnerMasterLimit electionPortBindRetry quorumListenOnAllIPs tcpKeepAlive clientTcpKeepAlive
multiAddress.enabled multiAddress.reachabilityCheckTimeoutMs multiAddress.reachabilityCheckEnabled
fastleader.minNotificationInterval fastleader.maxNotificationInterval leader.maxTimeToWaitForEpoch
leader.maxConcurrentSnapSyncs leader.maxConcurrentDiffSyncs observerMasterPort observer.reconnectDelayMs
observer.election.DelayMs syncEnabled learner.asyncSending learner.closeSocketAsync leader.closeSocketAsync
localSessionsEnabled localSessionsUpgradingEnabled readonlymode.enabled oraclePath snapCount snapSizeLimitInKb
preAllocSize txnLogSizeLimitInKb commitLogCount snapshotSizeFactor forceSync fsync.warningthresholdms flushDelay
maxBatchSize maxWriteQueuePollTime globalOutstandingLimit snapshot.compression.method snapshot.trust.empty
serializeLastProcessedZxid.enabled digest.enabled closeSessionTxn.enabled datadir.autocreate db.autocreate
maxResponseCacheSize maxGetChildrenResponseCacheSize serverCnxnFactory nio.numSelectorThreads nio.numWorkerThreads
nio.directBufferBytes nio.sessionlessCnxnTimeout commitProcessor.numWorkerThreads maxReadBatchSize maxCommitBatchSize
watchManagerName watcherCleanThreadsNum watcherCleanThreshold watcherCleanIntervalInSeconds bitHashCacheSize
enforceQuota extendedTypesEnabled emulate353TTLNodes znode.container.checkIntervalMs znode.container.maxPerMinute
znode.container.maxNeverUsedIntervalMs skipACL enableEagerACLCheck largeRequestThreshold largeRequestMaxBytes
connection_throttle_tokens connection_throttle_fill_time connection_throttle_fill_count connection_throttle_freeze_time
connection_throttle_drop_increase connection_throttle_drop_decrease connection_throttle_decrease_ratio
request_throttle_max_requests request_throttle_stall_time request_throttle_drop_stale request_stale_connection_check
request_stale_latency_check throttled_op_wait_time request_throttler.shutdownTimeout netty.advancedFlowControl.enabled
netty.server.outstandingHandshake.limit admin.enableServer admin.serverPort admin.serverAddress admin.commandURL
admin.idleTimeout admin.portUnification admin.forceHttps admin.needClientAuth admin.snapshot.enabled
admin.restore.enabled admin.rateLimiterIntervalInMS metricsProvider.className metricsProvider.httpHost
metricsProvider.httpPort metricsProvider.httpsPort metricsProvider.exportJvmInfo audit.enable audit.impl.class
jvm.pause.monitor jvm.pause.sleep.time.ms jvm.pause.info-threshold.ms jvm.pause.warn-threshold.ms
messageTracker.Enabled messageTracker.BufferSize authProvider.N DigestAuthenticationProvider.enabled
DigestAuthenticationProvider.superDigest DigestAuthenticationProvider.digestAlg superUser superUser.N
X509AuthenticationProvider.superUser IPAuthenticationProvider.usexforwardedfor ensembleAuthName
sessionRequireClientSASLAuth allowSaslFailedClients enforce.auth.enabled enforce.auth.schemes
sasl.serverconfig SASLAuthenticationProvider.superPassword letAnySaslUserDoX ssl.keyStore.location
ssl.keyStore.password ssl.keyStore.passwordPath ssl.keyStore.type ssl.trustStore.location ssl.trustStore.password
ssl.quorum.keyStore.location ssl.quorum.trustStore.type ssl.protocol ssl.enabledProtocols ssl.ciphersuites
ssl.clientAuth ssl.hostnameVerification ssl.clientHostnameVerification ssl.crl ssl.ocsp ssl.sslProvider
ssl.handshakeDetectionTimeoutMillis client.portUnification client.certReload sslQuorum portUnification
sslQuorumReloadCertFiles quorum.auth.enableSasl quorum.auth.serverRequireSasl quorum.auth.learnerRequireSasl
quorum.auth.kerberos.servicePrincipal quorum.cnxn.threads.size kerberos.removeHostFromPrincipal
kerberos.removeRealmFromPrincipal kerberos.canonicalizeHostNames fips-mode java.security.auth.login.config
""".split()


def one_line(error: pytest.ExceptionInfo[ConfigError]) -> str:
    text = str(error.value)
    assert "\n" not in text
    return text


def test_two_keys_are_enough_for_a_standalone_server() -> None:
    config = parse(ALONE)
    assert (config.data_dir, config.data_log_dir, config.client_port) == ("/srv/data", "/srv/data", 2181)
    assert config.standalone
    assert config.server_id == 0
    assert (config.tick_ms, config.min_session_timeout_ms, config.max_session_timeout_ms) == (3000, 6000, 60000)


def test_defaults_are_safe() -> None:
    config = parse(ALONE)
    assert config.client_host == "127.0.0.1"
    assert config.purge
    assert config.words == {"conf", "isro", "mntr", "ruok", "srvr", "stat"}
    assert any("clientPortAddress" in notice for notice in config.notices)


def test_an_ensemble_has_members_in_the_order_of_their_numbers() -> None:
    config = parse(ENSEMBLE, server_id=2)
    assert [(each.server_id, each.host, each.voter) for each in config.members] == [
        (1, "one", True),
        (2, "two", True),
        (3, "three", False),
    ]
    assert config.member.host == "two"
    assert (config.init_limit_ticks, config.sync_limit_ticks) == (4, 2)
    assert (
        config.members_text() == "server.1=one:2888:3888:participant\n"
        "server.2=two:2888:3888:participant\n"
        "server.3=three:2888:3888:observer\n"
        "version=0"
    )


def test_a_server_line_may_name_ipv6_addresses_several_addresses_and_a_client_port() -> None:
    text = ENSEMBLE.replace("clientPort=2181\n", "").replace("one:2888:3888", "[fd00::1]:2888:3888;[::1]:2181")
    text = text.replace("two:2888:3888:participant", "two:2888:3888|too:2889:3889:observer;2182")
    config = parse(text, server_id=1)
    assert config.members[0].host == "fd00::1"
    assert (config.client_host, config.client_port) == ("::1", 2181)
    assert (config.members[1].host, config.members[1].voter, config.members[1].client_port) == ("two", False, 2182)
    assert config.members[0].text() == "server.1=[fd00::1]:2888:3888:participant;[::1]:2181"
    assert any("the first is used, two" in warning for warning in config.warnings)


@pytest.mark.parametrize(
    ("lines", "open_to"),
    [
        ("server.1=127.0.0.1:1:2\nserver.2=two:1:2\n", "server.2=two"),
        ("server.1=localhost:1:2\nserver.2=10.0.0.1:1:2\n", "server.2=10.0.0.1"),
        ("server.1=127.0.0.1:1:2\nserver.2=[::1]:1:2\nquorumListenOnAllIPs=true\n", "quorumListenOnAllIPs=true"),
        ("server.1=127.0.0.1:1:2\nserver.2=127.8.8.8:1:2\nserver.3=LOCALHOST:1:2\n", None),
    ],
)
def test_servers_that_strangers_can_reach_prove_who_they_are_or_do_not_start(lines: str, open_to: str | None) -> None:
    base = "dataDir=/srv/data\nclientPort=2181\ninitLimit=4\nsyncLimit=2\n" + lines
    proofs = ["zabpy.peerSecretFile=secret\n", "sslQuorum=true\nssl.quorum.keyStore.location=k\n"]
    proofs[1] += "ssl.quorum.trustStore.location=t\n"
    for proof in proofs:
        assert parse(base + proof, server_id=1).warnings == ()
    (warning,) = parse(base + "zabpy.peersUnproven=true\n", server_id=1).warnings
    assert "whoever reaches a peer port may vote" in warning
    # Certificates prove nothing where one may come without.
    mixed = base + proofs[1] + "portUnification=true\n"
    assert len(parse(mixed + proofs[0], server_id=1).warnings) == 1
    unproven = parse(mixed + "zabpy.peersUnproven=true\n", server_id=1).warnings
    assert [line for line in unproven if "whoever reaches a peer port may vote" in line]
    if open_to is not None:
        with pytest.raises(ConfigError, match="nothing proves to the servers who they are"):
            parse(mixed, server_id=1)
    if open_to is None:
        assert parse(base, server_id=1).warnings == ()
    else:
        with pytest.raises(ConfigError) as caught:
            parse(base, server_id=1)
        assert str(caught.value) == (
            f"zoo.cfg: nothing proves to the servers who they are, and {open_to} is not loopback: expected "
            "zabpy.peerSecretFile=FILE (a secret they share), or sslQuorum=true without portUnification "
            "(certificates), or, where only they can reach their ports, zabpy.peersUnproven=true"
        )


def test_the_file_of_the_secret_stands_beside_the_one_that_names_it() -> None:
    config = parse(ENSEMBLE, path="/etc/zabpy/zoo.cfg", server_id=1)
    assert (config.peer_secret_path, config.peers_unproven) == ("/etc/zabpy/secret", False)
    alone = parse(ALONE + "zabpy.peerSecretFile=secret\n")
    assert any("zabpy.peerSecretFile" in notice for notice in alone.notices)


def test_groups_and_weights_belong_to_the_members() -> None:
    config = parse(ENSEMBLE + "group.1=1:3\ngroup.2=2\nweight.1=3\n", server_id=1)
    assert [(each.weight, each.group) for each in config.members] == [(3, 1), (1, 2), (1, 1)]
    assert config.members_text().endswith("group.1=1:3\ngroup.2=2\nweight.1=3\nweight.2=1\nweight.3=1\nversion=0")


def test_a_list_of_one_server_runs_standalone_with_its_client_port() -> None:
    config = parse("dataDir=/srv/data\nserver.1=localhost:2888:3888;2181\n")
    assert config.standalone
    assert config.client_port == 2181


def test_every_key_of_zookeeper_is_known() -> None:
    assert [key for key in ZOOKEEPER_KEYS if key not in known_keys()] == []


def test_every_key_of_the_table_has_a_field_of_its_own() -> None:
    fields = {field.name for field in dataclasses.fields(Config)}
    named = [key.field for key in KEYS.values()]
    assert len(named) == len(set(named))
    assert set(named) - UNUSED_FIELDS <= fields


def test_keys_that_mean_nothing_here_are_one_notice_and_the_unknown_ones_a_warning_each() -> None:
    config = parse(ALONE + "electionAlg=3\nnio.numWorkerThreads=7\nmaxClientConxns=5\nqwertz=1\n")
    assert "zoo.cfg: keys of ZooKeeper that mean nothing here: electionAlg, nio.numWorkerThreads" in config.notices
    assert config.warnings == (
        "zoo.cfg:5: unknown key 'maxClientConxns': the nearest known one is maxClientCnxns",
        "zoo.cfg:6: unknown key 'qwertz': there is none like it",
    )


def test_features_not_served_yet_are_warned_of_only_when_switched_on() -> None:
    quiet = parse(ALONE + "enforceQuota=false\nreconfigEnabled=false\nclientPortAddress=0.0.0.0\n")
    assert quiet.warnings == quiet.notices == ()
    loud = parse(ALONE + "ssl.crl=true\naudit.enable=true\n")
    assert loud.warnings == (
        "zoo.cfg: looking for revoked certificates is not served yet, so without effect: ssl.crl",
        "zoo.cfg: the audit log is not served yet, so without effect: audit.enable",
    )


def test_the_property_name_means_the_same_as_the_key() -> None:
    config = parse(ALONE + "zookeeper.snapCount=500\nzookeeper.DigestAuthenticationProvider.superDigest=super:D/In=\n")
    assert config.snapshot_entries == 500
    assert config.super_digest == "super:D/In="
    assert config.warnings == ()


def test_sizes_come_in_their_units() -> None:
    config = parse(ALONE + "preAllocSize=1024\nsnapSizeLimitInKb=-1\njute.maxbuffer=4194304\n")
    assert config.log_segment_bytes == 1024 * 1024
    assert config.snapshot_log_bytes == 0
    assert config.frame_bytes_max == 4194304


@pytest.mark.parametrize(
    ("value", "purge", "interval_ms"),
    [
        ("0", False, 86_400_000),
        ("1", True, 3_600_000),
        ("90s", True, 90_000),
        ("250 ms", True, 250),
        ("2d", True, 172_800_000),
    ],
)
def test_the_purge_interval_is_in_hours_or_has_a_unit(value: str, purge: bool, interval_ms: int) -> None:
    config = parse(ALONE + f"autopurge.purgeInterval={value}\n")
    assert (config.purge, config.purge_interval_ms) == (purge, interval_ms)


def test_unsafe_values_are_replaced_and_said_so() -> None:
    config = parse(ALONE + "forceSync=no\nautopurge.snapRetainCount=1\n4lw.commands.whitelist=ruok, rouk\n")
    assert config.snapshots_kept == 3
    assert config.words == {"isro", "ruok", "srvr"}
    assert [warning.split(":")[1] for warning in config.warnings] == ["3", "4", "5"]


def test_a_star_allows_every_word() -> None:
    assert parse(ALONE + "4lw.commands.whitelist=*\n").words == WORDS


def test_the_file_is_read_as_java_properties() -> None:
    text = "# a comment\n! another\n  dataDir : /srv/a\\\n   b\nclientPort 2181\n"
    config = parse(text + "clientPortAddress\\u0020x=1\n\ntickTime=\\u0037\n")
    assert config.data_dir == "/srv/ab"
    assert config.client_port == 2181
    assert config.tick_ms == 7
    assert "unknown key 'clientPortAddress x'" in config.warnings[0]


def test_of_two_lines_with_one_key_the_last_counts_and_a_warning_says_so() -> None:
    config = parse(ALONE + "clientPort=2182\n")
    assert config.client_port == 2182
    assert config.warnings == ("zoo.cfg:3: clientPort stands here and in line 2: this one counts",)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("tickTime=fast", "zoo.cfg:3: tickTime=fast: expected a whole number of milliseconds, 1 or more"),
        ("tickTime=0", "zoo.cfg:3: tickTime=0: expected a whole number of milliseconds, 1 or more"),
        ("tickTime=", "zoo.cfg:3: tickTime=: expected a whole number of milliseconds, 1 or more"),
        ("tickTime=1_0", "zoo.cfg:3: tickTime=1_0: expected a whole number of milliseconds, 1 or more"),
        ("clientPort=70000", "zoo.cfg:3: clientPort=70000: expected a port from 0 (any free one) to 65535"),
        ("clientPortAddress=a b", "zoo.cfg:3: clientPortAddress=a b: expected a host name or address"),
        ("leaderServes=maybe", "zoo.cfg:3: leaderServes=maybe: expected yes or no"),
        ("peerType=king", "zoo.cfg:3: peerType=king: expected participant or observer"),
        ("forceSync=perhaps", "zoo.cfg:3: forceSync=perhaps: expected yes or no"),
        ("jute.maxbuffer=99999999999", "zoo.cfg:3: jute.maxbuffer=99999999999: expected a whole number of bytes from"),
        ("autopurge.purgeInterval=soon", "zoo.cfg:3: autopurge.purgeInterval=soon: expected whole hours"),
        ("autopurge.snapRetainCount=-1", "zoo.cfg:3: autopurge.snapRetainCount=-1: expected a whole number"),
        ("DigestAuthenticationProvider.superDigest=x", "Provider.superDigest=x: expected user:hash"),
        (
            "maxSessionTimeout=5000",
            "zoo.cfg:3: maxSessionTimeout=5000: expected minSessionTimeout (6000 ms) not above",
        ),
        ("minSessionTimeout=70000", "zoo.cfg:3: minSessionTimeout=70000: expected minSessionTimeout (70000 ms) not"),
        ("server.x=a:1:2", "zoo.cfg:3: server.x=a:1:2: expected a whole number behind 'server.'"),
        ("server.0=a:1:2", "zoo.cfg:3: server.0=a:1:2: expected a server number from 1 to 255"),
        ("server.1=a:1", "zoo.cfg:3: server.1=a:1: expected host:peerPort:electionPort[:role][;[clientAddress:]"),
        ("server.1=a:1:2:king", "the role is 'king', not participant or observer"),
        ("server.1=a:1:99999", "'99999' is not a port from 1 to 65535"),
        ("server.1=:1:2", "'' is not a host"),
        ("server.1=[::1:1:2", "has a bracket that is not closed"),
        ("server.1=a:1:2;b:c:3", "'b:c:3' is not a client address and port"),
        ("server.1=a:1:2:observer", "expected at least one participant in the list"),
        ("weight.1=1", "zoo.cfg:3: weight.1=1: expected lines server.N beside it"),
        (
            "dynamicConfigFile=/nowhere/at.all",
            "zoo.cfg:3: dynamicConfigFile=/nowhere/at.all: expected a readable file",
        ),
    ],
)
def test_a_wrong_value_is_one_line_with_file_line_key_value_and_what_was_expected(line: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse(ALONE + line)
    assert message in one_line(error)


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("initLimit=4\n", "", "zoo.cfg: initLimit is missing: expected ticks for a server to connect and catch up"),
        ("syncLimit=2\n", "", "zoo.cfg: syncLimit is missing: expected ticks a server may lag behind"),
        ("dataDir=", "datadir=", "zoo.cfg: dataDir is missing: expected the directory"),
        ("dataDir=", "datadir=", "; line 5 has 'datadir'"),
        ("clientPort=2181\n", "", "zoo.cfg: clientPort is missing: expected the port for clients"),
        ("server.2=two:2888", "server.2=one:2888", "expected a host and peer port of its own; server.1 has the same"),
        ("server.1=one:2888:3888\n", "", "zoo.cfg: server.1 is missing: expected this server in its own list"),
        ("tickTime=2000", "group.1=1:3", "expected server 2 in one of the groups, as the others are"),
        ("tickTime=2000", "group.1=1:2:7", "there is no server.7"),
        ("tickTime=2000", "group.1=1:2\ngroup.2=2", "expected each server in one group"),
        ("tickTime=2000", "weight.9=1", "there is no server.9"),
        ("tickTime=2000", "weight.1=0\nweight.2=0", "at least one participant with a weight above 0"),
        ("one:2888:3888", "one:2888:3888;2199", "expected the client port 2181 of line 6"),
    ],
)
def test_a_list_that_cannot_be_is_one_line(before: str, after: str, message: str) -> None:
    assert before in ENSEMBLE
    with pytest.raises(ConfigError) as error:
        parse(ENSEMBLE.replace(before, after), server_id=1)
    assert message in one_line(error)


# With files ----------------------------------------------------------------------------------------------------------


def config_file(tmp_path: Path, text: str) -> str:
    path = tmp_path / "zoo.cfg"
    path.write_text(text.replace("/srv/data", str(tmp_path / "data")), encoding="utf-8")
    return str(path)


def files_below(tmp_path: Path) -> list[str]:
    return sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*"))


def test_load_takes_the_number_from_myid(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/myid").write_text(" 2\n")
    config = load(config_file(tmp_path, ENSEMBLE))
    assert config.server_id == 2
    assert config.snapshot_dir == config.log_dir == str(tmp_path / "data" / "zabpy")


def test_load_makes_nothing(tmp_path: Path) -> None:
    config = load(config_file(tmp_path, ALONE))
    assert config.server_id == 0
    assert files_below(tmp_path) == ["zoo.cfg"]


@pytest.mark.parametrize(
    ("myid", "message"),
    [
        (None, "/data/myid is missing: expected a file with this server's number, one of 1, 2, 3 (server.N in "),
        ("", "/data/myid: '': expected this server's number, one of 1, 2, 3"),
        ("two", "/data/myid: 'two': expected this server's number, one of 1, 2, 3"),
        ("4", "/data/myid: 4: expected this server's number, one of 1, 2, 3 (server.N in "),
        ("\xff\xfe", "/data/myid: "),
    ],
)
def test_a_myid_that_cannot_be_is_one_line(tmp_path: Path, myid: str | None, message: str) -> None:
    (tmp_path / "data").mkdir()
    if myid is not None:
        (tmp_path / "data/myid").write_text(myid, encoding="latin-1")
    path = config_file(tmp_path, ENSEMBLE)
    before = files_below(tmp_path)
    with pytest.raises(ConfigError) as error:
        load(path)
    assert message in one_line(error)
    assert files_below(tmp_path) == before


def test_a_data_directory_that_cannot_be_is_one_line(tmp_path: Path) -> None:
    path = config_file(tmp_path, ALONE)
    (tmp_path / "data").write_text("a file")
    with pytest.raises(ConfigError, match=r"zoo.cfg:1: dataDir=.*/data: expected a directory; there is something else"):
        load(path)
    below_a_file = config_file(tmp_path, ALONE.replace("/srv/data", "/srv/data/deeper/still"))
    with pytest.raises(ConfigError, match=r"/data is not one that this user may write"):
        load(below_a_file)


def test_no_directory_is_wanted_when_making_them_is_off(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="datadir.autocreate is off"):
        load(config_file(tmp_path, ALONE + "datadir.autocreate=false\n"))


def test_a_file_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none.cfg: No such file or directory: expected a readable file of lines"):
        load(str(tmp_path / "none.cfg"))
    with pytest.raises(ConfigError, match="Is a directory: expected a readable file"):
        load(str(tmp_path))
    (tmp_path / "binary.cfg").write_bytes(b"dataDir=\xff\xff")
    with pytest.raises(ConfigError, match="not UTF-8 at byte 8"):
        load(str(tmp_path / "binary.cfg"))


def test_data_of_apache_zookeeper_is_left_alone_and_said_so(tmp_path: Path) -> None:
    (tmp_path / "data/version-2").mkdir(parents=True)
    config = load(config_file(tmp_path, ALONE))
    assert "looks like data of Apache ZooKeeper" in config.warnings[0]


def test_a_dynamic_file_is_read_as_a_static_list(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/myid").write_text("1")
    (tmp_path / "servers").write_text("server.1=127.0.0.1:1:2;2181\nserver.2=127.0.0.2:1:2;2181\nversion=100\n")
    base = "dataDir=/srv/data\ninitLimit=4\nsyncLimit=2\ndynamicConfigFile=servers\n"
    config = load(config_file(tmp_path, base))
    assert [each.host for each in config.members] == ["127.0.0.1", "127.0.0.2"]
    assert config.client_port == 2181
    with pytest.raises(ConfigError, match="the server list in one place"):
        load(config_file(tmp_path, base + "server.3=c:1:2\n"))
    (tmp_path / "servers").write_text("tickTime=7\n")
    with pytest.raises(ConfigError, match=r"servers:1: tickTime=7: expected only server.N"):
        load(config_file(tmp_path, base))


# TLS ------------------------------------------------------------------------------------------------------------------

STORES = "ssl.keyStore.location=/k\nssl.trustStore.location=/t\n"
PEER_STORES = "ssl.quorum.keyStore.location=/qk\nssl.quorum.trustStore.location=/qt\n"


def test_a_secure_port_may_be_the_only_one_and_needs_certificates_of_its_clients() -> None:
    config = parse("dataDir=/d\nsecureClientPort=2281\nssl.keyStore.password=never shown\n" + STORES)
    assert (config.client_port, config.secure_client_port) == (None, 2281)
    tls = config.client_tls
    assert tls is not None and tls.trust_store is not None
    assert (tls.client_auth, tls.check_accepted, tls.protocols) == ("need", False, ("TLSv1.2", "TLSv1.3"))
    assert (tls.key_store.path, tls.trust_store.path) == ("/k", "/t")
    assert tls.key_store.password == "never shown"
    assert "never shown" not in repr(config)
    assert config.notices == (
        "zoo.cfg: secureClientPortAddress is not set: clients are served on 127.0.0.1 only; "
        "secureClientPortAddress=0.0.0.0 is for all addresses",
    )
    assert config.peer_tls is None


def test_the_stores_of_clients_and_of_servers_are_apart() -> None:
    config = parse(
        ENSEMBLE + "sslQuorum=true\nportUnification=true\nssl.clientAuth=none\n" + STORES + PEER_STORES, server_id=1
    )
    assert config.client_tls is None
    tls = config.peer_tls
    assert tls is not None and tls.trust_store is not None
    assert (tls.key_store.path, tls.trust_store.path) == ("/qk", "/qt")
    assert (tls.client_auth, tls.check_dialled, tls.check_accepted) == ("need", True, True)
    assert "zoo.cfg: portUnification=true: servers without TLS are let in too" in config.warnings
    assert any("without effect" in line and "ssl.keyStore.location" in line for line in config.notices)
    loose = parse(ENSEMBLE + "sslQuorum=true\nssl.quorum.hostnameVerification=false\n" + PEER_STORES, server_id=1)
    assert loose.peer_tls is not None
    assert (loose.peer_tls.check_dialled, loose.peer_tls.check_accepted) == (False, False)


def test_versions_that_are_too_old_are_not_spoken_and_that_is_said() -> None:
    config = parse(ALONE + "secureClientPort=2281\nssl.enabledProtocols=TLSv1,TLSv1.1,TLSv1.2\n" + STORES)
    assert "zoo.cfg:4: ssl.enabledProtocols: TLSv1, TLSv1.1 is not spoken here" in config.warnings


@pytest.mark.parametrize(
    ("lines", "protocols", "ciphers"),
    [
        ("ssl.protocol=TLSv1.2", ("TLSv1.2",), ()),
        ("ssl.protocol=TLS", ("TLSv1.2", "TLSv1.3"), ()),
        ("ssl.enabledProtocols=TLSv1.3, TLSv1.2", ("TLSv1.2", "TLSv1.3"), ()),
        ("ssl.enabledProtocols=TLSv1,TLSv1.1,TLSv1.2", ("TLSv1.2",), ()),
        ("ssl.protocol=TLSv1.2\nssl.enabledProtocols=TLSv1.3", ("TLSv1.3",), ()),
        (
            "ssl.ciphersuites=TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,TLS_DHE_RSA_WITH_AES_256_GCM_SHA384,"
            "TLS_RSA_WITH_AES_128_CBC_SHA256,TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
            ("TLSv1.2",),
            (
                "ECDHE-RSA-AES128-GCM-SHA256",
                "DHE-RSA-AES256-GCM-SHA384",
                "AES128-SHA256",
                "ECDHE-ECDSA-CHACHA20-POLY1305",
            ),
        ),
        (
            "ssl.ciphersuites=TLS_AES_128_GCM_SHA256,ECDHE-RSA-AES128-GCM-SHA256",
            ("TLSv1.2", "TLSv1.3"),
            ("ECDHE-RSA-AES128-GCM-SHA256",),
        ),
        ("ssl.ciphersuites=TLS_AES_128_GCM_SHA256", ("TLSv1.3",), ()),
    ],
)
def test_versions_and_ciphers_by_their_names_in_java(lines: str, protocols: object, ciphers: object) -> None:
    tls = parse(ALONE + f"secureClientPort=2281\n{lines}\n" + STORES).client_tls
    assert tls is not None
    assert (tls.protocols, tls.ciphers) == (protocols, ciphers)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("ssl.keyStore.location=/k", "zoo.cfg: ssl.trustStore.location is missing: expected a file"),
        ("ssl.trustStore.location=/t", "zoo.cfg: ssl.keyStore.location is missing: expected a file"),
        (f"{STORES}ssl.enabledProtocols=SSLv3", "zoo.cfg:6: ssl.enabledProtocols=SSLv3: expected TLSv1.2, TLSv1.3"),
        (f"{STORES}ssl.enabledProtocols=TLSv1.2,TLSv9", "expected TLSv1.2, TLSv1.3"),
        (f"{STORES}ssl.clientAuth=perhaps", "expected need, want or none"),
        (f"{STORES}ssl.keyStore.type=BCFKS", "expected JKS, PEM or PKCS12"),
        (f"{STORES}ssl.ciphersuites=a b", "expected cipher suites by their names"),
        (f"{STORES}ssl.ciphersuites=TLS_AES_512_GCM_SHA256", "expected cipher suites by their names"),
        (
            f"{STORES}ssl.protocol=TLSv1.2\nssl.ciphersuites=TLS_AES_128_GCM_SHA256",
            "ssl.ciphersuites: none of them is of the versions of TLS that are left",
        ),
    ],
)
def test_tls_that_cannot_be_is_one_line(lines: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(ALONE + f"secureClientPort=2281\n{lines}\n")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


SASL = "org.apache.zookeeper.server.auth.SASLAuthenticationProvider"


def test_providers_switch_their_schemes_on() -> None:
    assert parse(ALONE).auth_schemes == {"digest", "ip"}
    for name in ("1", "sasl", "x.y"):
        assert parse(ALONE + f"authProvider.{name}={SASL}\n").auth_schemes == {"digest", "ip", "sasl"}
    prefix = "org.apache.zookeeper.server.auth."
    text = "".join(f"authProvider.{name}={prefix}{name}AuthenticationProvider\n" for name in ("X509", "Ensemble", "IP"))
    assert parse(ALONE + text).auth_schemes == {"digest", "ip", "x509", "ensemble"}
    off = "DigestAuthenticationProvider.enabled=false\n"
    assert parse(ALONE + off).auth_schemes == {"ip"}
    assert parse(ALONE + off + f"authProvider.1={prefix}DigestAuthenticationProvider\n").auth_schemes == {
        "digest",
        "ip",
    }


def test_plug_ins_of_java_are_warned_of() -> None:
    config = parse(ALONE + "authProvider.1=com.example.Ldap\nrequireClientAuthScheme=sasl\n")
    assert config.auth_schemes == {"digest", "ip"}
    assert config.warnings == (
        "zoo.cfg:3: authProvider.1=com.example.Ldap: plug-ins of Java cannot be loaded, so this switches no scheme on",
        "zoo.cfg:4: requireClientAuthScheme requires nothing, nor does it in ZooKeeper; "
        "sessionRequireClientSASLAuth=true does",
    )


def test_what_is_required() -> None:
    sasl = f"authProvider.1={SASL}\njava.security.auth.login.config=j\n"
    assert parse(ALONE + sasl + "sessionRequireClientSASLAuth=true\n").required_schemes == {"sasl"}
    text = "enforce.auth.enabled=true\nenforce.auth.schemes=digest, sasl\n"
    assert parse(ALONE + sasl + text).required_schemes == {"digest", "sasl"}
    assert parse(ALONE + sasl + text.replace("true", "false")).required_schemes == frozenset()
    assert parse(ALONE + sasl + text + "sessionRequireClientSASLAuth=true\n").required_schemes == {"sasl"}
    assert parse(ALONE + sasl + text).warnings == ()
    (warning,) = parse(ALONE + f"authProvider.1={SASL}\n" + text).warnings
    assert "nobody can log in by SASL without java.security.auth.login.config" in warning


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("enforce.auth.enabled=true", "zoo.cfg:3: enforce.auth.enabled=true: expected enforce.auth.schemes beside it"),
        ("enforce.auth.enabled=true\nenforce.auth.schemes=digest,,ip", "schemes with commas between them"),
        ("enforce.auth.enabled=true\nenforce.auth.schemes=world", "schemes that are switched on; world is not"),
        ("sessionRequireClientSASLAuth=true", f"sasl is not; authProvider.sasl={SASL} does it"),
        ("DigestAuthenticationProvider.digestAlg=SHA1024", "expected a digest as Java calls it"),
        ("superUser.1=", "expected the name of a SASL account"),
    ],
)
def test_what_cannot_be_required(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse(ALONE + text)
    assert message in one_line(error)


def test_sasl_of_the_configuration() -> None:
    config = parse(
        ALONE
        + "superUser=a\nsuperUser.1=b\nzookeeper.superUser.x=c\nsasl.serverconfig=Mine\n"
        + "zookeeper.SASLAuthenticationProvider.superPassword=p w\nensembleAuthName=blue, green\n"
    )
    assert config.sasl_super_users == {"a", "b", "c"}
    assert (config.jaas_section, config.sasl_super_password) == ("Mine", "p w")
    assert config.ensemble_names == {"blue", "green"}
    assert (
        parse(ALONE + "java.security.auth.login.config=jaas.conf\n", "/etc/zk/zoo.cfg").jaas_path == "/etc/zk/jaas.conf"
    )


def test_no_error_shows_a_password() -> None:
    with pytest.raises(ConfigError) as error:
        parse(ALONE + "SASLAuthenticationProvider.superPassword=hunter2\\uZZZZ")
    assert one_line(error) == (
        "zoo.cfg:3: SASLAuthenticationProvider.superPassword=...: expected four hexadecimal digits behind \\u"
    )


@pytest.mark.parametrize("nothing", ["\\u0000", "\0"])
def test_a_value_with_the_character_that_ends_names_of_files_is_refused(nothing: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse(ALONE + f"zabpy.peerSecretFile=a{nothing}b")
    assert one_line(error).startswith("zoo.cfg:3: zabpy.peerSecretFile=a")
    assert one_line(error).endswith(": expected text without the character of number 0")
