"""The two clients with a command line that Debian packages: what a person would type, and what he would see."""

import os
import shutil
import time
from collections.abc import Iterator

import pytest
from kazoo.exceptions import NoAuthError

from tests.interop.ensembles import Ensemble, wait_until
from tests.interop.programs import JVM, REPLY_SECONDS, Lines

ZKCLI = "/usr/share/zookeeper/bin/zkCli.sh"
CLI_MT = "/usr/lib/zookeeper/bin/cli_mt"


class CommandLine(Lines):
    """Types a line, then reads until the answer is there."""

    def type(self, line: str, *answers: str, seconds: float = REPLY_SECONDS) -> str:
        """The line that holds one of these texts, or that is one, for a text that starts with =."""
        self.send(line)
        return self.wait_for(*answers, seconds=seconds)

    def wait_for(self, *answers: str, seconds: float = REPLY_SECONDS) -> str:
        deadline = time.monotonic() + seconds
        while (line := self.line(deadline - time.monotonic())) is not None:
            if any(_is_in(answer, line) for answer in answers):
                return line
        raise AssertionError(f"none of {answers} within {seconds:.0f} s\n{self.transcript()}")

    def wait_for_all(self, *answers: str, seconds: float = REPLY_SECONDS) -> list[str]:
        """A line for each, whatever comes first: answers and events are not told by the same thread."""
        deadline, found = time.monotonic() + seconds, dict[str, str]()
        while len(found) < len(answers):
            line = self.line(deadline - time.monotonic())
            assert line is not None, f"no {set(answers) - set(found)} within {seconds:.0f} s\n{self.transcript()}"
            found |= {answer: line for answer in answers if answer not in found and _is_in(answer, line)}
        return [found[answer] for answer in answers]

    def type_until(self, line: str, answer: str, not_yet: str) -> None:
        """For what may fail while the client has no connection."""
        deadline = time.monotonic() + REPLY_SECONDS
        while self.type(line, answer, not_yet) != answer[1:]:
            assert time.monotonic() < deadline, self.transcript()
            time.sleep(0.1)


def _is_in(answer: str, line: str) -> bool:
    return line == answer[1:] if answer[:1] == "=" else answer in line


@pytest.fixture
def zkcli(ensemble: Ensemble) -> Iterator[CommandLine]:
    if not os.path.exists(ZKCLI) or not shutil.which("java"):
        pytest.skip("no zkCli.sh: Debian's zookeeper and default-jre-headless")
    environment = {"CLIENT_JVMFLAGS": " ".join(JVM)}
    command = [ZKCLI, "-timeout", "10000", "-server", ensemble.hosts]
    with_errors = CommandLine(["sh", "-c", 'exec "$0" "$@" 2>&1', *command], environment)
    with_errors.wait_for("state:SyncConnected type:None")
    yield with_errors
    print(with_errors.transcript())
    with_errors.kill()


def test_zkcli(ensemble: Ensemble, zkcli: CommandLine, situation: str) -> None:
    top = "/zkcli-" + situation.replace(" ", "-")
    zkcli.type(f"create {top} one", f"Created {top}")
    zkcli.type(f"get {top}", "=one")
    assert ensemble.data(top) == b"one"
    zkcli.type(f"create {top} two", f"Node already exists: {top}")
    zkcli.type(f"get {top}/none", f"Node does not exist: {top}/none")
    zkcli.type(f"set -v 7 {top} two", "version No is not valid")
    zkcli.send(f"set -v 0 {top} two")
    wait_until(lambda: ensemble.data(top) == b"two", "set")
    zkcli.type(f"stat {top}", "dataVersion = 1")

    # watches: for data, for children, for all below
    zkcli.type(f"get -w {top}", "=two")
    ensemble.set(top, b"three")
    zkcli.wait_for(f"state:SyncConnected type:NodeDataChanged path:{top}")
    zkcli.send(f"addWatch -m PERSISTENT_RECURSIVE {top}")
    zkcli.type(f"ls -w {top}", "=[]")
    ensemble.look.create(f"{top}/a", b"")
    zkcli.wait_for(f"type:NodeCreated path:{top}/a")
    zkcli.type(f"ls -R {top}", f"={top}/a")

    # sequential and ephemeral
    path = zkcli.type(f"create -s -e {top}/seq- x", f"Created {top}/seq-").removeprefix("Created ")
    assert path == f"{top}/seq-0000000001"
    session = ensemble.owner(path)
    zkcli.type("getEphemerals", path)
    zkcli.type(f"create -c {top}/container", f"Created {top}/container")
    zkcli.type(f"getAllChildrenNumber {top}", "=3")

    # what only its creator may see
    zkcli.send("addauth digest ann:secret")
    zkcli.type(f"create {top}/private hush auth::crwda", f"Created {top}/private")
    zkcli.type(f"getAcl {top}/private", "'digest,'ann:")
    zkcli.type(f"get {top}/private", "=hush")
    with pytest.raises(NoAuthError):
        ensemble.data(f"{top}/private")
    zkcli.type(f"create {top}/other x digest:bob:4qYOGp9S5Ye0RiC6EzYxKOqxMUM=:r", f"Created {top}/other")
    zkcli.type(f"get {top}/other", "Insufficient permission", "NoAuth")

    # the server it is on dies
    ensemble.kill_server_of(zkcli.process.pid)
    zkcli.wait_for("state:Disconnected type:None")
    zkcli.wait_for("state:SyncConnected type:None")
    zkcli.type_until(f"get {top}/private", "=hush", "ConnectionLoss")
    assert ensemble.owner(path) == session
    ensemble.look.retry(ensemble.look.create, f"{top}/a/b", b"")
    zkcli.wait_for(f"type:NodeCreated path:{top}/a/b")  # the persistent watch was set again

    zkcli.type("quit", "state:Closed type:None")
    wait_until(lambda: not ensemble.exists(path), "its ephemeral znode is gone", 2)


@pytest.fixture
def cli_mt(ensemble: Ensemble) -> Iterator[CommandLine]:
    if not os.path.exists(CLI_MT):
        pytest.skip("no cli_mt: Debian's zookeeper-bin")
    client = CommandLine(["sh", "-c", 'exec stdbuf -oL "$0" "$@" 2>&1', CLI_MT, ensemble.hosts])
    client.wait_for("CONNECTED_STATE")
    yield client
    print(client.transcript())
    client.kill()


def test_cli_mt(ensemble: Ensemble, cli_mt: CommandLine, situation: str) -> None:
    top = "/cli-mt-" + situation.replace(" ", "-")
    cli_mt.type(f"create {top}", f"[{top}]: rc = 0")
    cli_mt.wait_for(f"name = {top}")
    cli_mt.type(f"create {top}", f"[{top}]: rc = -110")
    cli_mt.type(f"set {top} one", f"{top}: rc = 0")
    assert ensemble.data(top) == b"one"
    cli_mt.type(f"get {top}", "value_len = 3")
    cli_mt.wait_for("=one")
    cli_mt.type(f"get {top}/none", f"{top}/none: rc = -101")

    # a watch for a znode that is not there yet
    cli_mt.type(f"wexists {top}/later", f"Error -101 for {top}/later")
    ensemble.look.create(f"{top}/later", b"")
    cli_mt.wait_for("CREATED_EVENT")

    cli_mt.type(f"create +es {top}/seq-", f"[{top}/seq-]: rc = 0")
    path = f"{top}/seq-0000000001"
    cli_mt.wait_for(f"name = {path}")
    session = ensemble.owner(path)
    assert session != 0
    cli_mt.type(f"ls {top}", "=\tseq-0000000001")

    # the server it is on dies
    cli_mt.type(f"wexists {top}/after", f"Error -101 for {top}/after")
    ensemble.kill_server_of(cli_mt.process.pid)
    cli_mt.wait_for("CONNECTED_STATE")
    ensemble.look.retry(ensemble.look.create, f"{top}/after", b"")
    cli_mt.wait_for("CREATED_EVENT")
    assert ensemble.owner(path) == session
    cli_mt.send("quit")
    assert cli_mt.process.wait(REPLY_SECONDS) == 0
    wait_until(lambda: not ensemble.exists(path), "its ephemeral znode is gone", 2)
