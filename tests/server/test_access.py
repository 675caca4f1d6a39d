"""Who a client is on the wire: answers byte for byte as Apache ZooKeeper 3.8.0 gives them, but where a test says so."""

import struct
from pathlib import Path
from typing import Any

import pytest
import trio
from scramp import ScramClient
from trio.testing import MockClock

from tests.server.raw_client import RawClient, Reply
from tests.server.sasl_client import ask_sasl, digest_response, login, token_of
from tests.server.servers import client_of, ensemble
from zabpy.model import OPEN_ACL, Acl, digest_id
from zabpy.server.config import Config, parse
from zabpy.wire import Op, Reader, frame, packed, records as r

NULL, EMPTY = b"\xff\xff\xff\xff", b"\0\0\0\0"
ALONE = "dataDir=/srv/data\nclientPort=2181\n"
PROVIDER = "authProvider.1=org.apache.zookeeper.server.auth.SASLAuthenticationProvider\n"
JAAS = 'Server { m required user_super="super_secret" user_bob="bobpw"; };'


def fields(tmp_path: Path | None, text: str = PROVIDER, jaas: str = JAAS) -> dict[str, Any]:
    """What a configuration file with these lines gives, for an ensemble in memory."""
    if tmp_path is not None:
        (tmp_path / "jaas.conf").write_text(jaas)
        (tmp_path / "jaas.conf").chmod(0o600)
        text += f"java.security.auth.login.config={tmp_path}/jaas.conf\n"
    config = parse(ALONE + text)
    names = (
        "auth_schemes acls_off required_schemes digest_algorithm ensemble_names jaas_path jaas_section super_digest "
        "sasl_super_users sasl_super_password sasl_any_user sasl_failed_may_stay"
    )
    return {name: getattr(config, name) for name in names.split()}


async def is_closed(client: RawClient) -> bool:
    try:
        await client.reply()
    except EOFError:
        return True
    return False


async def who(client: RawClient) -> set[tuple[str, str]]:
    told = await client.ask(Op.WHO_AM_I)
    assert told.err == 0
    return {(info.auth_scheme, info.user) for info in r.WhoAmIResponse.read(Reader(told.body)).client_info}


async def send_auth(client: RawClient, scheme: str, auth: bytes) -> Reply:
    await client.send(Op.AUTH, r.AuthPacket(0, scheme, auth), xid=-4)
    return await client.reply()


async def create(client: RawClient, path: str, *acl: tuple[int, str, str]) -> int:
    entries = tuple(Acl(*entry) for entry in acl)
    return (await client.ask(Op.CREATE, r.CreateRequest(path, b"", entries, 0))).err


# SASL


async def test_a_login_by_digest_md5_on_the_wire(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with ensemble(servers=1, fields=fields(tmp_path, PROVIDER + "superUser.1=super\n")) as servers:
        client = await client_of(servers, 1)
        told = await ask_sasl(client, b"")
        assert told[:3] == (1, 0, 0)
        challenge = token_of(told)
        assert challenge is not None
        assert challenge.startswith(b'realm="zk-sasl-md5",nonce="')
        assert challenge.endswith(b'",charset=utf-8,algorithm=md5-sess')
        response, last = digest_response(challenge, "bob", "bobpw")
        assert await ask_sasl(client, response) == (2, 0, 0, struct.pack(">i", len(last)) + last)
        assert await who(client) == {("ip", "client"), ("sasl", "bob")}

        other = await client_of(servers, 1)
        assert (await login(other, "super", "super_secret")).err == 0
        assert await who(other) == {("ip", "client"), ("sasl", "super"), ("super", "")}


async def test_a_login_by_scram_on_the_wire(tmp_path: Path, autojump_clock: MockClock) -> None:
    """Not in ZooKeeper."""
    async with ensemble(servers=1, fields=fields(tmp_path)) as servers:
        client = await client_of(servers, 1)
        scram = ScramClient(["SCRAM-SHA-256"], "bob", "bobpw")
        first = token_of(await ask_sasl(client, scram.get_client_first().encode()))
        assert first is not None
        scram.set_server_first(first.decode())
        last = token_of(await ask_sasl(client, scram.get_client_final().encode()))
        assert last is not None
        scram.set_server_final(last.decode())
        assert ("sasl", "bob") in await who(client)


@pytest.mark.parametrize("name", ["bob", "nobody"])
async def test_a_failed_login_is_told_and_ends_the_connection(
    name: str, tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with ensemble(servers=1, fields=fields(tmp_path)) as servers:
        client = await client_of(servers, 1)
        assert await login(client, name, "wrong") == (2, 0, -115, NULL)
        assert await is_closed(client)
        assert servers.servers[1].counts.auth_failed.value == 1
        assert "event=auth_failed remote=client:" in "".join(servers.lines)


@pytest.mark.parametrize("record", [NULL, b"", b"\0\0", b"\xff\xff\xff\xfe", b"\0\0\0\x09abc"])
async def test_a_token_that_is_none_ends_the_connection_without_a_word(
    record: bytes, tmp_path: Path, autojump_clock: MockClock
) -> None:
    for settings in (fields(tmp_path), fields(None)):
        async with ensemble(servers=1, fields=settings) as servers:
            client = await client_of(servers, 1)
            await client.send(Op.SASL, record)
            assert await is_closed(client)


async def test_what_comes_in_the_wrong_order_ends_the_connection(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with ensemble(servers=1, fields=fields(tmp_path)) as servers:
        twice = await client_of(servers, 1)
        assert (await ask_sasl(twice, b"")).err == 0
        assert await ask_sasl(twice, b"") == (2, 0, -115, NULL)
        assert await is_closed(twice)
        again = await client_of(servers, 1)
        assert (await login(again, "bob", "bobpw")).err == 0
        assert await ask_sasl(again, b"") == (3, 0, -115, NULL)
        assert await is_closed(again)
        early = await client_of(servers, 1)
        response, _ = digest_response(b'realm="zk-sasl-md5",nonce="x"', "bob", "bobpw")
        assert (await ask_sasl(early, response)).body.startswith(b'\0\0\0erealm="zk-sasl-md5"')  # a challenge


async def test_a_failed_client_may_stay_where_it_is_allowed_and_hears_it_once(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """Apache's server says it for ever; there are clients that ask for ever."""
    text = PROVIDER + "allowSaslFailedClients=true\n"
    async with ensemble(servers=1, fields=fields(tmp_path, text)) as servers:
        client = await client_of(servers, 1)
        assert await login(client, "bob", "wrong") == (2, 0, 0, NULL)
        assert await who(client) == {("ip", "client")}
        assert await ask_sasl(client, b"") == (4, 0, -115, NULL)
        assert await is_closed(client)


async def test_without_sasl_a_client_is_told_once_and_goes_on(autojump_clock: MockClock) -> None:
    """As above: the second answer is ours."""
    async with ensemble(servers=1) as servers:
        client = await client_of(servers, 1)
        assert await ask_sasl(client, b"") == (1, 0, 0, NULL)
        assert (await client.create("/a")).err == 0
        assert await ask_sasl(client, b"") == (3, 0, -115, NULL)
        assert await is_closed(client)


async def test_answers_of_sasl_come_in_order_and_hold_for_what_is_read_behind_them(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with ensemble(servers=3, fields=fields(tmp_path)) as servers:
        client = await client_of(servers, 1)
        await client.send(Op.CREATE, r.CreateRequest("/a", b"", OPEN_ACL, 0), xid=1)
        await client.send(Op.SASL, r.GetSASLRequest(b""), xid=2)
        await client.send(Op.CREATE, r.CreateRequest("/b", b"", (Acl(31, "auth", ""),), 0), xid=3)
        assert [(told.xid, told.err) for told in [await client.reply() for _ in range(2)]] == [(1, 0), (2, 0)]
        challenge = token_of(client.log[-1])
        assert challenge is not None
        assert (await client.reply())[::2] == (3, -114)
        response, _ = digest_response(challenge, "bob", "bobpw")
        await client.send(Op.CREATE, r.CreateRequest("/c", b"", OPEN_ACL, 0), xid=4)
        await client.send(Op.SASL, r.GetSASLRequest(response), xid=5)
        await client.send(Op.CREATE, r.CreateRequest("/d", b"", (Acl(31, "auth", ""),), 0), xid=6)
        await client.send(Op.GET_DATA, r.GetDataRequest("/d", False), xid=7)
        assert [(told.xid, told.err) for told in [await client.reply() for _ in range(4)]] == [
            (4, 0),
            (5, 0),
            (6, 0),
            (7, 0),
        ]
        stranger = await client_of(servers, 2)
        await stranger.sync()
        assert (await stranger.get("/d"))[0] == -102


async def test_lists_name_accounts_on_every_server(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with ensemble(servers=3, fields=fields(tmp_path)) as servers:
        bob, other = await client_of(servers, 2), await client_of(servers, 3)
        assert (await login(bob, "bob", "bobpw")).err == 0
        assert await create(bob, "/mine", (31, "sasl", "bob")) == 0
        await other.sync()
        assert (await other.get("/mine"))[0] == -102
        assert (await other.set("/mine", b"x")).err == -102
        assert (await bob.set("/mine", b"x")).err == 0
        assert (await login(other, "super", "super_secret")).err == 0  # the account of that name matches every list
        assert (await other.set("/mine", b"y")).err == 0


async def test_sasl_lists_need_the_provider(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with ensemble(servers=1, fields=fields(tmp_path, "")) as servers:
        bob = await client_of(servers, 1)
        assert (await login(bob, "bob", "bobpw")).err == 0
        assert await create(bob, "/a", (31, "sasl", "bob")) == -114
        assert await create(bob, "/a", (31, "auth", "")) == -114
        assert (await send_auth(bob, "sasl", b"x")).err == -115


async def test_a_list_that_names_an_account_lets_nobody_in_once_the_provider_is_gone(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with ensemble(servers=1, fields=fields(tmp_path)) as servers:
        bob = await client_of(servers, 1)
        assert (await login(bob, "bob", "bobpw")).err == 0
        assert await create(bob, "/mine", (31, "sasl", "bob")) == 0
        await servers.stop(1)
        await servers.wait_ended(1)
        servers.servers.pop(1, None)
        servers.limit(**fields(tmp_path, ""))
        await servers.start(1)
        await servers.wait_serving()
        bob = await client_of(servers, 1)
        assert (await login(bob, "bob", "bobpw")).err == 0
        assert (await bob.get("/mine"))[0] == -102


async def test_any_account_may_do_what_one_id_may(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with ensemble(servers=3, fields=fields(tmp_path, PROVIDER + "letAnySaslUserDoX=any\n")) as servers:
        bob, other = await client_of(servers, 1), await client_of(servers, 2)
        assert (await login(bob, "bob", "bobpw")).err == 0
        assert await create(bob, "/any", (31, "sasl", "any")) == 0
        assert (await bob.set("/any", b"x")).err == 0
        assert await who(bob) == {("ip", "client"), ("sasl", "bob")}
        assert await create(bob, "/mine", (31, "auth", "")) == 0
        await other.sync()
        assert (await other.get("/any"))[0] == -102


async def test_a_new_password_counts_without_a_restart(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with ensemble(servers=1, fields=fields(tmp_path)) as servers:
        (tmp_path / "jaas.conf").write_text(JAAS.replace("bobpw", "another"))
        await trio.sleep(3)
        assert (await login(await client_of(servers, 1), "bob", "bobpw")).err == -115
        assert (await login(await client_of(servers, 1), "bob", "another")).err == 0


# What must be logged in first

X509 = "authProvider.x509=org.apache.zookeeper.server.auth.X509AuthenticationProvider\n"

ENFORCED = [
    (PROVIDER + "sessionRequireClientSASLAuth=true\nallowSaslFailedClients=true\n", -124),
    (PROVIDER + "enforce.auth.enabled=true\nenforce.auth.schemes=x509, sasl\n" + X509, -124),
]


@pytest.mark.parametrize(
    "op",
    [Op.PING, Op.GET_DATA, Op.EXISTS, Op.CREATE, Op.SYNC, Op.CLOSE_SESSION, Op.WHO_AM_I, Op.SET_WATCHES, 77, Op.MULTI],
)
@pytest.mark.parametrize("text", [text for text, _ in ENFORCED])
async def test_who_has_not_logged_in_may_nothing(text: str, op: int, tmp_path: Path, autojump_clock: MockClock) -> None:
    async with ensemble(servers=1, fields=fields(tmp_path, text)) as servers:
        client = await client_of(servers, 1)
        await client.send(op, r.GetDataRequest("/", False), xid=9)
        assert await client.reply() == (9, 0, -124, b"")
        assert await is_closed(client)


@pytest.mark.parametrize(("text", "code"), ENFORCED)
async def test_who_has_logged_in_may_all(text: str, code: int, tmp_path: Path, autojump_clock: MockClock) -> None:
    async with ensemble(servers=1, fields=fields(tmp_path, text)) as servers:
        bob = await client_of(servers, 1)
        assert (await login(bob, "bob", "bobpw")).err == 0
        assert (await bob.get("/"))[0] == 0
        assert (await bob.create("/a")).err == 0
        eve = await client_of(servers, 1)
        assert await login(eve, "bob", "wrong") == (2, 0, code, NULL)
        assert await is_closed(eve)
        half = await client_of(servers, 1)
        assert (await ask_sasl(half, b"")).err == 0
        assert (await half.get("/"))[0] == -124
        digest = await client_of(servers, 1)
        assert (await send_auth(digest, "digest", b"a:b")).err == 0
        assert (await digest.get("/"))[0] == -124


async def test_one_of_several_schemes_is_enough(tmp_path: Path, autojump_clock: MockClock) -> None:
    text = PROVIDER + "enforce.auth.enabled=true\nenforce.auth.schemes=digest,sasl\n"
    async with ensemble(servers=1, fields=fields(tmp_path, text)) as servers:
        client = await client_of(servers, 1)
        assert (await send_auth(client, "ip", b"")).err == 0
        assert (await send_auth(client, "digest", b"a:b")).err == 0
        assert (await client.get("/"))[0] == 0


async def test_nothing_behind_a_refusal_is_done(tmp_path: Path, autojump_clock: MockClock) -> None:
    """A client that sends all at once: what comes before its login is read is refused."""
    text = "enforce.auth.enabled=true\nenforce.auth.schemes=digest\n"
    async with ensemble(servers=1, fields=fields(None, text)) as servers:
        client = await client_of(servers, 1)
        ask = frame(struct.pack(">ii", 1, Op.CREATE) + packed(r.CreateRequest("/a", b"", OPEN_ACL, 0)))
        auth = frame(struct.pack(">ii", -4, Op.AUTH) + packed(r.AuthPacket(0, "digest", b"a:b")))
        await client.stream.send_all(ask + auth + ask)
        assert (await client.reply())[::2] == (1, -124)
        assert await is_closed(client)
        second = await client_of(servers, 1)
        await second.stream.send_all(auth + ask)
        assert [(await second.reply())[::2] for _ in range(2)] == [(-4, 0), (1, 0)]


# Auth packets and lists


async def test_an_auth_packet_that_cannot_be_read_ends_the_connection_behind_what_was_asked(
    autojump_clock: MockClock,
) -> None:
    async with ensemble(servers=1) as servers:
        client = await client_of(servers, 1)
        await client.send(Op.CREATE, r.CreateRequest("/a", b"", OPEN_ACL, 0), xid=1)
        await client.send(Op.AUTH, b"\0\0", xid=-4)
        assert (await client.reply())[::2] == (1, 0)
        assert await is_closed(client)


async def test_the_digest_may_be_another_and_may_be_off(autojump_clock: MockClock) -> None:
    algorithm = "DigestAuthenticationProvider.digestAlg=SHA-256\n"
    super_digest = f"DigestAuthenticationProvider.superDigest={digest_id('super:test', 'sha256')}\n"
    async with ensemble(servers=1, fields=fields(None, algorithm + super_digest)) as servers:
        client = await client_of(servers, 1)
        assert (await send_auth(client, "digest", b"super:test")).err == 0
        assert ("super", "") in await who(client)
        assert await create(client, "/a", (31, "auth", "")) == 0
        told = await client.ask(Op.GET_ACL, r.GetACLRequest("/a"))
        (entry,) = r.GetACLResponse.read(Reader(told.body)).acl
        assert entry == Acl(31, "digest", "super:wjySwxg860UATFtciuZ1lpzrCHrPeov6SPu/ZD56uig=")
    async with ensemble(servers=1, fields=fields(None, "DigestAuthenticationProvider.enabled=false\n")) as servers:
        client = await client_of(servers, 1)
        assert await create(client, "/a", (31, "digest", "a:b")) == -114
        assert await send_auth(client, "digest", b"a:b") == (-4, 0, -115, b"")


async def test_lists_can_be_switched_off(autojump_clock: MockClock) -> None:
    async with ensemble(servers=3, fields=fields(None, "skipACL=yes\n")) as servers:
        client, other = await client_of(servers, 1), await client_of(servers, 2)
        assert await create(client, "/a", (1, "digest", "a:b")) == 0
        assert await create(client, "/b", (1, "nonsense", "a:b")) == -114
        assert await create(client, "/b", (31, "auth", "")) == -114
        await other.sync()
        assert (await other.get("/a"))[0] == 0
        assert (await other.set("/a", b"x")).err == 0
        told = await other.ask(Op.GET_ACL, r.GetACLRequest("/a"))
        assert r.GetACLResponse.read(Reader(told.body)).acl == (Acl(1, "digest", "a:b"),)
        assert await who(other) == {("ip", "client")}


# Secrets

MARKER = "hunter2-marker"


async def test_no_password_is_ever_logged_or_shown(tmp_path: Path, autojump_clock: MockClock) -> None:
    jaas = f'Server {{ m required user_bob="{MARKER}" user_super="x"; }};'
    text = PROVIDER + f"SASLAuthenticationProvider.superPassword={MARKER}2\n"
    raw = MARKER.encode()
    async with ensemble(servers=3, fields=fields(tmp_path, text, jaas)) as servers:
        for scheme in ("digest", "ip", "sasl", "x509", MARKER, "world"):
            client = await client_of(servers, 1)
            await send_auth(client, scheme, b"bob:" + raw)
            await client.send(Op.AUTH, packed(r.AuthPacket(0, "digest", raw))[:-3], xid=-4)
        for name, password in (("bob", MARKER), ("bob", MARKER + "x"), (MARKER, MARKER), ("super", MARKER + "2")):
            client = await client_of(servers, 2)
            await login(client, name, password)
        tokens = (raw, b"n,," + raw, b"n,,n=" + raw + b",r=" + raw, b'username="' + raw + b'",response="' + raw)
        for first in tokens:
            for second in tokens:
                client = await client_of(servers, 3)
                await ask_sasl(client, first)
                await client.send(Op.SASL, r.GetSASLRequest(second))
                await trio.sleep(0.1)
        client = await client_of(servers, 1)
        await client.send(Op.AUTH, raw, xid=-4)
        await client.send(77, raw)
        (tmp_path / "jaas.conf").write_text(f'Server {{ m required user_bob={MARKER} {MARKER} "{MARKER}" }};')
        await trio.sleep(5)
        server = servers.servers[1]
        assert server.counts.auth_failed.value > 5
        shown = "".join(servers.lines) + repr(server.config) + repr(server.access.accounts) + repr(server.access.rules)
        assert "event=auth_failed" in shown
        assert "event=accounts_kept" in shown
        assert MARKER not in shown


def test_the_configuration_shows_no_password() -> None:
    assert MARKER not in repr(parse(ALONE + f"SASLAuthenticationProvider.superPassword={MARKER}\n"))
    assert isinstance(parse(ALONE), Config)
