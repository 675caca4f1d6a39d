"""ZooKeeper's own shell asks for observers to be added and removed."""

import os
import shutil
from collections.abc import Iterator

import pytest

from tests.interop.ensembles import serves, wait_until
from tests.interop.programs import JVM
from tests.interop.test_command_lines import ZKCLI, CommandLine
from zabpy.bench.systems import Servers

LINE = "server.9=127.0.0.1:1:2:observer;127.0.0.1:3"
MORE = "reconfigEnabled=true\nDigestAuthenticationProvider.superDigest=super:D/InIHSb7yEEbrWz8b9l71RjZJU=\n"


@pytest.fixture
def zkcli() -> Iterator[CommandLine]:
    if not os.path.exists(ZKCLI) or not shutil.which("java"):
        pytest.skip("no zkCli.sh: Debian's zookeeper and default-jre-headless")
    with Servers("zabpy", 3, more=MORE) as servers:
        ports = servers.client_ports.values()
        wait_until(lambda: all(map(serves, ports)), "all serve")
        command = [ZKCLI, "-timeout", "10000", "-server", ",".join(f"127.0.0.1:{port}" for port in ports)]
        shell = CommandLine(["sh", "-c", 'exec "$0" "$@" 2>&1', *command], {"CLIENT_JVMFLAGS": " ".join(JVM)})
        try:
            shell.wait_for("state:SyncConnected type:None")
            yield shell
        finally:
            print(shell.transcript())
            shell.kill()


def test_zkcli_adds_and_removes_an_observer(zkcli: CommandLine) -> None:
    zkcli.type("config -w", "=version=0")
    zkcli.type(f"reconfig -add {LINE}", "Insufficient permission", "NoAuth")
    zkcli.send("addauth digest super:test")
    zkcli.send(f"reconfig -add {LINE}")
    event = "type:NodeDataChanged path:/zookeeper/config"
    *_, told = zkcli.wait_for_all(event, "Committed new configuration:", f"={LINE}", "version=")
    version = told.removeprefix("version=")
    zkcli.type("config -c", "127.0.0.1:3")
    zkcli.type("reconfig -v 7 -remove 9", "BadVersion", "version No is not valid")
    zkcli.type("reconfig -remove 3", "Unimplemented")
    zkcli.type(f"reconfig -v {version} -remove 9", "Committed new configuration:")
    assert LINE not in zkcli.wait_for("version=", LINE)
