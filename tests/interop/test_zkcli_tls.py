"""ZooKeeper's own shell, over TLS: its key stores, its TLS and its verification of names, against our servers."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server.authority import Authority, jks_of, jks_trust_of, pkcs12_of, write_whole
from tests.server.test_tls_servers import Fleet, subject

ZKCLI = "/usr/share/zookeeper/bin/zkCli.sh"
#: Debian's shell names one jar, whose manifest leaves out some of netty, without which there is no TLS. A second -cp
#: among the flags counts before the first.
JARS = "zookeeper zookeeper-jute slf4j-log4j12 log4j-1.2 netty-codec netty-resolver netty-transport-native-unix-common"
CLASSPATH = ":".join(["/etc/zookeeper/conf", *(f"/usr/share/java/{jar}.jar" for jar in JARS.split())])
#: Java takes only ASCII from a command line, whatever the locale.
PASSWORD = "only-for-tests"

pytestmark = [
    pytest.mark.skipif(not shutil.which("java"), reason="java is not installed"),
    pytest.mark.skipif(not os.path.exists(ZKCLI), reason=f"{ZKCLI} is not there (Debian: zookeeper)"),
    pytest.mark.timeout(180),
]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    made = Authority(tmp_path_factory.mktemp("authority"))
    write_whole(made.directory / "trust.jks", jks_trust_of(made, PASSWORD))
    return made


@pytest.fixture(scope="module")
def fleet(authority: Authority) -> Iterator[Fleet]:
    """Three servers with TLS between them and for clients, whose certificates must name where they come from."""
    servers = Fleet(3)
    write_whole(authority.directory / "server.p12", pkcs12_of(authority.issue("localhost", "127.0.0.1"), PASSWORD))
    stores = {
        f"ssl_{prefix}{kind}": value
        for prefix in ("", "quorum_")
        for kind, value in (
            ("keyStore_location", authority.directory / "server.p12"),
            ("keyStore_password", PASSWORD),
            ("trustStore_location", authority.directory / "trust.jks"),
            ("trustStore_password", PASSWORD),
        )
    }
    for i in (1, 2, 3):
        more = {"sslQuorum": "true", "ssl_clientHostnameVerification": "true", **stores}
        servers.tell(i, secureClientPort=servers.secure_ports[i], **more)
    with servers:
        for i in (1, 2, 3):
            servers.wait_serving(i)
        yield servers


def zkcli(port: int, store: Path | None, trust: Path, *words: str, host: str = "localhost") -> str:
    flags = {
        "clientCnxnSocket": "org.apache.zookeeper.ClientCnxnSocketNetty",
        "client.secure": "true",
        "ssl.trustStore.location": str(trust),
        "ssl.trustStore.password": PASSWORD,
        "ssl.hostnameVerification": "true",
    }
    if store is not None:
        flags |= {"ssl.keyStore.location": str(store), "ssl.keyStore.password": PASSWORD}
    jvm = " ".join(f"-Dzookeeper.{key}={value}" for key, value in flags.items())
    done = subprocess.run(
        [ZKCLI, "-timeout", "10000", "-server", f"{host}:{port}", *words],
        env={**os.environ, "CLIENT_JVMFLAGS": f"-cp {CLASSPATH} {jvm} -XX:TieredStopAtLevel=1 -Xmx128m"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.stdout + done.stderr


@pytest.mark.parametrize("kind", ["jks", "p12"])
def test_the_shell_works_over_tls_with_names_verified_on_both_sides(
    fleet: Fleet, authority: Authority, kind: str
) -> None:
    leaf = authority.issue("localhost", "127.0.0.1", name=f"shell {kind}")
    store = authority.directory / f"client.{kind}"
    write_whole(store, jks_of(leaf, PASSWORD) if kind == "jks" else pkcs12_of(leaf, PASSWORD))
    trust = authority.directory / "trust.jks"
    one, other = fleet.secure_ports[1], fleet.secure_ports[3]
    told = zkcli(one, store, trust, "create", f"/{kind}", "some data", "auth::cdrwa")
    assert f"Created /{kind}" in told, told
    assert "some data" in zkcli(other, store, trust, "get", f"/{kind}")
    pem = authority.directory / f"client-{kind}.pem"
    pem.write_bytes(leaf.cert_chain_pems[0].bytes())
    mine = subject(str(pem)).replace(",", "%2C")  # the shell writes commas so, for the list of entries has some too
    assert f"'x509,'{mine}" in zkcli(other, store, trust, "getAcl", f"/{kind}")


def test_the_shell_with_a_certificate_for_elsewhere_is_refused(fleet: Fleet, authority: Authority) -> None:
    store = authority.directory / "elsewhere.p12"
    write_whole(store, pkcs12_of(authority.issue("elsewhere.example"), PASSWORD))
    told = zkcli(fleet.secure_ports[1], store, authority.directory / "trust.jks", "ls", "/")
    assert "[zookeeper" not in told
    fleet.wait_line(1, "event=client_refused", "the certificate is for elsewhere.example, not for 127.0.0.1")


def test_the_shell_without_a_certificate_is_refused(fleet: Fleet, authority: Authority) -> None:
    told = zkcli(fleet.secure_ports[1], None, authority.directory / "trust.jks", "ls", "/")
    assert "[zookeeper" not in told
    fleet.wait_line(1, "event=client_refused", "the other side has shown no certificate")
