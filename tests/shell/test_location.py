"""Where trees are: here, in another cluster, in a file."""

import click
import pytest

from shell.command import REGISTRY, ZLocation, command
from shell.location import File, Location, Znode, clients, of_url
from shell.problems import UsageError
from shell.shell import Shell
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
