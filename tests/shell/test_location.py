"""Where trees are: here, in another cluster, in a file."""

from pathlib import Path

import anyio
import click
import pytest

from shell.command import REGISTRY, ZLocation, command
from shell.location import File, Location, Znode, clients, of_url
from shell.output import Output
from shell.problems import ShellError, Status, UsageError
from shell.settings import Settings
from shell.shell import Shell
from shell.starting import started
from zabpy import State

from .conftest import Run


def test_what_urls_mean() -> None:
    assert of_url("zk://h:1,g:2/a/b/") == Znode("/a/b", "h:1,g:2")
    assert of_url("zk://prod") == Znode("/", "prod")
    assert of_url("zk://h/a b/%20") == Znode("/a b/%20", "h")
    assert (of_url("file:x/y"), of_url("file:///x")) == (File("x/y"), File("/x"))
    assert of_url("-") == File("-")
    assert (of_url("/zk"), of_url("zkx"), of_url("../a")) == (None, None, None)
    assert (str(Znode("/a", "h:1")), str(Znode("/a")), str(File("b")), str(File("-"))) == (
        "zk://h:1/a", "/a", "file:b", "-")  # fmt: skip
    assert (Znode("/").below("/a").path, Znode("/b").below("/a").path, Znode("/").below("").path) == ("/a", "/b/a", "/")


@pytest.mark.parametrize("text", ["zk:/a", "zk://", "zk:///a", "zk://h/a/../b", "file:", "http://h/a"])
def test_urls_that_cannot_be(text: str) -> None:
    with pytest.raises(UsageError, match=text.replace(".", r"\.")):
        of_url(text)


def test_a_command_has_one_client_a_cluster(hosts: str, zabsh: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    servers = hosts.partition("/")[0]
    seen: list[Location] = []
    monkeypatch.setattr("shell.command.REGISTRY", dict(REGISTRY))

    @command("try-locations", group="Shell")
    @click.argument("places", type=ZLocation(), nargs=-1)
    async def run(shell: Shell, places: tuple[Znode, ...]) -> None:
        seen.extend(places)
        async with clients(shell) as each:
            here, same, there, again = [await each.of(place) for place in places]
            assert here is same is await shell.zk()
            assert there is again is not here
            assert await there.exists("/zookeeper") is not None
        assert there.state is State.CLOSED

    assert zabsh(f"try-locations . / zk://{servers}/a zk://{servers}/*") == (0, "", "")
    assert seen == [Znode("/"), Znode("/"), Znode("/a", servers), Znode("/*", servers)]


def test_another_cluster_has_rules_of_its_own(
    zabsh: Run, hosts: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZABPY_SHELL_CONFIG", str(tmp_path / "shell.toml"))
    (tmp_path / "shell.toml").write_text(f"[profile.prod]\nservers = '{hosts}'\nread_only = true\n")

    async def story() -> None:
        output = Output(bytearray().extend, bytearray().extend)
        async with started(Settings(hosts), output, keeps_trying=False) as shell, clients(shell) as found:
            there = Znode("/a", "prod")
            assert await (await found.of(there)).exists("/") is not None
            with pytest.raises(ShellError, match="zk://prod/a: the profile is read-only") as caught:
                await found.of(there, writes="cp")
            assert caught.value.status == Status.DENIED
            await found.of(Znode("/a"), writes="cp")

    anyio.run(story, backend="asyncio")
