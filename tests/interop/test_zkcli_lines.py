"""What is typed to zkCli.sh is typed to our shell, too: both say the same facts and leave the same tree behind."""

import os
import re
import shutil
import time
from collections.abc import Iterator

import anyio
import pytest

import zabpy
from shell.commands import load
from shell.output import Look, Output
from shell.settings import Settings
from shell.starting import started
from tests.interop.programs import JVM, REPLY_SECONDS
from tests.interop.test_command_lines import ZKCLI, CommandLine
from tests.shell.zkcli import CASES, COMMANDS
from zabpy.bench.systems import Servers

load()

#: Of each znode: its value, ACL, versions, number of children, and whether it is ephemeral.
Tree = dict[str, tuple[object, ...]]
#: Not redo, because the lines of our own in between have numbers, too.
LINES = [case for case in CASES if case.line not in ("redo 10", "close", "quit")]


@pytest.fixture(scope="module", params=["zabpy", "Apache"])
def server(request: pytest.FixtureRequest) -> Iterator[str]:
    if not os.path.exists(ZKCLI) or not shutil.which("java"):
        pytest.skip("no zkCli.sh: Debian's zookeeper and default-jre-headless")
    with Servers(request.param, 1) as servers:
        yield f"127.0.0.1:{servers.client_ports[1]}"


async def tree(zk: zabpy.Client, path: str = "/") -> Tree:
    data, stat = await zk.get(path)
    acls, _ = await zk.get_acl(path)
    counts = stat.version, stat.cversion, stat.aversion, stat.num_children
    found: Tree = {path: (data, sorted(acls), *counts, stat.ephemeral_owner != 0)}
    for name in await zk.children(path):
        found |= await tree(zk, f"{path.rstrip('/')}/{name}")
    return found


async def looked_at(hosts: str) -> Tree:
    async with zabpy.connect(hosts) as zk:
        await zk.add_auth("digest", "ann:secret")
        return await tree(zk)


async def make(server: str, *paths: str) -> None:
    async with zabpy.connect(server, connect_timeout_ms=30_000) as zk:
        for path in paths:
            await zk.create(path)


def test_the_same_lines_say_and_do_the_same(server: str) -> None:
    anyio.run(make, server, "/theirs", "/ours")
    their_texts, their_tree = theirs(f"{server}/theirs")
    our_texts, our_tree = anyio.run(ours, f"{server}/ours")
    wrong = [
        f"{case.line}: {who} said nothing of {pattern!r}:\n{text}"
        for case, *texts in zip(LINES, their_texts, our_texts)
        for who, text in zip(("zkCli.sh", "ours"), texts)
        for pattern in case.says
        if not re.search(pattern, text, re.IGNORECASE)
    ]
    assert not wrong, "\n".join(wrong)
    # Under a chroot zkCli.sh puts its quotas below that, too, where no server looks for them.
    their_tree = {path: what for path, what in their_tree.items() if not path.startswith("/zookeeper")}
    del their_tree["/"], our_tree["/"]
    assert our_tree == their_tree and len(our_tree) > 8


def theirs(hosts: str) -> tuple[list[str], Tree]:
    command = [ZKCLI, "-timeout", "10000", "-server", hosts]
    zkcli = CommandLine(["sh", "-c", 'exec "$0" "$@" 2>&1', *command], {"CLIENT_JVMFLAGS": " ".join(JVM)})
    try:
        zkcli.wait_for("state:SyncConnected type:None")
        texts = [typed(zkcli, case.line, number) for number, case in enumerate(LINES)]
        assert set(COMMANDS) <= set(re.findall(r"^\t(\w+)", typed(zkcli, "help", len(LINES)), re.MULTILINE))
        return texts, anyio.run(looked_at, hosts)
    finally:
        print(zkcli.transcript())
        zkcli.kill()


def typed(zkcli: CommandLine, line: str, number: int) -> str:
    """What is printed up to the answer to a line of our own behind it."""
    zkcli.send(line)
    zkcli.send(f"ls /end-{number}")
    found: list[str] = []
    deadline = time.monotonic() + REPLY_SECONDS
    while (text := zkcli.line(deadline - time.monotonic())) is not None:
        if f"Node does not exist: /end-{number}" in text:
            return "".join(f"{each}\n" for each in found)
        found.append(text)
    raise AssertionError(f"no end behind {line}\n{zkcli.transcript()}")


async def ours(hosts: str) -> tuple[list[str], Tree]:
    said = bytearray()
    texts = []
    output = Output(said.extend, said.extend, "table", Look())
    async with started(Settings(hosts), output, keeps_trying=False) as shell:
        for case in LINES:
            said.clear()
            shell.lines.append(case.line)
            await shell.run(case.line)
            texts.append(said.decode())
        return texts, await looked_at(hosts)
