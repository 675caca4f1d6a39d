"""Servers that join and leave the ensemble: clients take to them and leave them, by what ``/zookeeper/config`` says."""

from random import Random
from typing import cast

import pytest
import trio
from trio.testing import MockClock

import zabpy
from tests.server.servers import ensemble
from zabpy.client.connection import Connection
from zabpy.client.following import Following, client_addresses
from zabpy.client.hosts import Host, Hosts, parse_servers
from zabpy.testing.dialling import MemoryDial

CONFIG = """\
server.1=10.0.0.1:2888:3888:participant;0.0.0.0:2181
server.2=zk2.example:2888:3888:participant;[::]:2182
server.3=[fd00::3]:2888:3888:observer;127.0.0.1:2181
server.4=10.0.0.4:2888:3888:participant;10.1.0.4:2181
server.5=10.0.0.5:2888:3888:participant
server.6=10.0.0.6:2888:3888:participant;;0.0.0.0:2281
server.7=10.0.0.7:2888:3888:participant;0.0.0.0:2181;[fd00::7]:2281
version=100000000"""


def test_the_addresses_for_clients() -> None:
    assert client_addresses(CONFIG, secure=False) == [
        Host("10.0.0.1", 2181),
        Host("zk2.example", 2182),
        Host("fd00::3", 2181),
        Host("10.1.0.4", 2181),
        Host("10.0.0.7", 2181),
    ]


def test_the_addresses_for_clients_with_tls() -> None:
    assert client_addresses(CONFIG, secure=True) == [Host("10.0.0.6", 2281), Host("fd00::7", 2281)]


@pytest.mark.parametrize("text", ["", "version=0", "server.1=10.0.0.1:2888:3888:participant"])
def test_a_configuration_without_addresses_for_clients(text: str) -> None:
    assert client_addresses(text, secure=False) == []


def test_members_come_first_where_we_reach_servers_by_their_addresses_there() -> None:
    given, new = (Host("a", 1), Host("b", 1)), (Host("b", 1), Host("c", 1), Host("d", 1))
    for known, order in ((True, [{"b", "c", "d"}, {"a"}]), (False, [{"a", "b"}, {"c", "d"}])):
        hosts = Hosts(given, Random(1))
        hosts.follow(new, new[0], known=known)
        turns = [hosts.next().name for _ in range(4)]
        assert [set(turns[: len(order[0])]), set(turns[len(order[0]) :])] == order
        assert turns[len(order[0]) - 1] == "b", "the current one is the last of its kind"


def test_what_has_left_and_was_not_given_is_dropped() -> None:
    a, b, c = (Host(name, 1) for name in "abc")
    hosts = Hosts((a,), Random(1))
    hosts.follow([a, b], a, known=True)
    hosts.follow([b, c], b, known=True)
    assert sorted(hosts.next().name for _ in range(3)) == ["a", "b", "c"]
    hosts.follow([c], b, known=True)
    assert sorted(hosts.next().name for _ in range(2)) == ["a", "c"]


def servers_of(dial: MemoryDial, since: int = 0) -> set[str]:
    return {host for host, _ in dial.attempts[since:]}


async def test_a_server_that_joins_is_used_and_one_that_leaves_is_left(autojump_clock: MockClock) -> None:
    async with ensemble(servers=3) as servers:
        dial = servers.dial("client1")
        async with (
            zabpy.connect(servers.hosts, dial=dial, rng=Random(1)) as zk,
            zabpy.connect(servers.hosts, dial=servers.dial("client2"), auth=[("digest", "super:test")]) as root,
        ):
            session = zk.session
            await zk.create("/mine", ephemeral=True)
            member = servers.add_observer(4)
            await servers.start(4)
            await root.reconfig(joining=member.text())
            await servers.wait_serving([4])
            await trio.sleep(1)
            for id in (1, 2, 3):
                servers.cut(id, "client1")
            dial.break_now()
            await zk.get("/mine")
            assert zk.server == f"{member.client_host}:{member.client_port}"
            assert zk.session is session
            servers.heal()
            lost = []
            session.on_lost(lambda: lost.append("lost"))
            with pytest.raises(zabpy.BadVersionError):
                await root.reconfig(leaving="4", version=0)
            await root.reconfig(leaving="4", version=(await root.get_config()).members.version)
            while zk.server.startswith(f"{member.client_host}:"):  # noqa: ASYNC110
                await trio.sleep(0.1)
            assert (await zk.get("/mine")).stat.ephemeral_owner == session.id
            assert not lost and zk.session is session
            count = len(dial.attempts)
            dial.break_now()
            for _ in range(5):
                await zk.get("/mine")
                dial.break_now()
            assert member.client_host not in servers_of(dial, count)


class Link:
    """A connection that only knows whom it goes to."""

    def __init__(self, host: Host, remote_address: tuple[str, int] | None) -> None:
        self.host, self.remote_address = host, remote_address
        self.left = False

    def leave(self, why: str) -> None:
        self.left = True


@pytest.mark.parametrize(
    ("given", "remote", "before", "after", "leaves"),
    [
        ("ZK1:2181", None, "zk1", "zk2", True),
        ("zk1:2181", None, "zk1", "zk1", False),
        ("alias:2181", ("10.0.0.1", 2181), "10.0.0.1", "10.0.0.2", True),
        ("alias:2181", ("10.0.0.1", 2181), "10.0.0.1", "10.0.0.1", False),
        ("[fd00:0::1]:2181", ("fd00::1", 2181), "[fd00::1]", "[fd00::2]", True),
        ("alias:2181", ("192.168.0.1", 2181), "10.0.0.1", "10.0.0.2", False),  # behind an address translation
        ("zk1:2182", None, "zk1", "zk2", False),
    ],
)
def test_a_client_leaves_a_server_that_was_a_member_and_is_none_any_more(
    given: str, remote: tuple[str, int] | None, before: str, after: str, leaves: bool
) -> None:
    host = parse_servers(given)[0][0]
    link = Link(host, remote)
    hosts = Hosts((host, Host("other", 1)), Random(1))
    following = Following(never, never, hosts, cast(Connection, link), secure=False)
    for member in (before, after):
        following.changed(client_addresses(f"server.1={member}:1:2:participant;2181", secure=False))
    assert link.left is leaves
    # Members come first where they are those that we know, else what was given.
    known = leaves or before == after
    assert (hosts.next().name == after.strip("[]")) is known


async def never(*args: object) -> None:
    raise AssertionError


async def test_it_can_be_switched_off(autojump_clock: MockClock) -> None:
    async with ensemble(servers=3) as servers:
        dial = servers.dial("client1")
        async with (
            zabpy.connect(servers.hosts, dial=dial, follow_ensemble=False) as zk,
            zabpy.connect(servers.hosts, dial=servers.dial("client2"), auth=[("digest", "super:test")]) as root,
        ):
            member = servers.add_observer(4)
            await servers.start(4)
            await root.reconfig(joining=member.text())
            await servers.wait_serving([4])
            for _ in range(6):
                dial.break_now()
                await zk.get("/")
            assert member.client_host not in servers_of(dial)


async def test_a_users_watch_of_the_configuration_is_its_own(autojump_clock: MockClock) -> None:
    async with ensemble(servers=3) as servers:
        async with zabpy.connect(servers.hosts, dial=servers.dial("client1"), auth=[("digest", "super:test")]) as zk:
            await trio.sleep(1)
            async with zk.watch("/zookeeper/config") as events:
                assert isinstance(await anext(events), zabpy.Resynced)
                _, _, fired = await zk.get_watched("/zookeeper/config")
                member = servers.add_observer(4)
                await zk.reconfig(joining=member.text())
                assert isinstance(await anext(events), zabpy.Changed)
                assert isinstance(await fired.wait(), zabpy.Changed)
                await zk.reconfig(leaving="4")
                assert isinstance(await anext(events), zabpy.Changed)
            assert await zk.exists("/") is not None


async def test_where_the_configuration_may_not_be_read_nothing_is_said(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "zabpy.client")
    async with ensemble(servers=3) as servers:
        dial, root_dial = servers.dial("client1"), servers.dial("client2")
        async with zabpy.connect(servers.hosts, dial=root_dial, auth=[("digest", "super:test")]) as root:
            await root.set_acl("/zookeeper/config", [zabpy.digest_acl("root", "x")])
            async with zabpy.connect(servers.hosts + "/app", dial=dial) as zk:
                await zk.ensure("/")
                for _ in range(3):
                    dial.break_now()
                    await zk.get("/")
                    await trio.sleep(1)
        assert not [record for record in caplog.records if "config" in record.getMessage()]
