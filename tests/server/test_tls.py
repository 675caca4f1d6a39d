"""A connection under TLS is a connection: on sockets and on streams, in pieces and in heaps, to its end."""

import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import trio

from tests.server.authority import Authority
from tests.server.test_transport import Side
from zabpy.server import Channel, Network
from zabpy.server.credentials import Credentials
from zabpy.server.tls import HANDSHAKES_A_TURN, TlsChannel, TlsDoor
from zabpy.server.tls_settings import TLS12, StoreSettings, TlsSettings


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("stranger"))


def credentials(key: str, trust: str, **more: object) -> Credentials:
    settings = TlsSettings(
        config_path="zoo.cfg",
        key_store=StoreSettings(key="ssl.keyStore", path=key),
        trust_store=StoreSettings(key="ssl.trustStore", path=trust),
        **more,  # type: ignore[arg-type]
    )
    made = Credentials(settings)
    made.load()
    return made


class Meeting:
    """Two ends, and what each end's door was told of refusals."""

    def __init__(self) -> None:
        self.refusals: dict[str, list[str]] = {"dialler": [], "acceptor": []}
        self.dialler: Side
        self.acceptor: Side


@asynccontextmanager
async def meeting(
    network: Network,
    accepting: Credentials,
    dialling: Credentials | None,
    *,
    host: str = "localhost",
    secured: Callable[[TlsChannel], bool] = lambda channel: True,
    plain_too: bool = False,
    before: Callable[[Meeting], None] = lambda given: None,
) -> AsyncIterator[Meeting]:
    """``dialling`` None: the one who dials does without TLS."""
    given = Meeting()
    came = trio.Event()

    async with trio.open_nursery() as nursery:
        await nursery.start(network.run, lambda: None, print)
        doors = {
            who: TlsDoor(
                network,
                accepting if dialling is None else contexts,
                lambda channel, why, who=who: given.refusals[who].append(why),  # type: ignore[misc]
                secured if who == "acceptor" else lambda channel: True,
                plain_too=plain_too,
            )
            for who, contexts in (("dialler", dialling or accepting), ("acceptor", accepting))
        }

        def accept(raw: Channel) -> None:
            channel = doors["acceptor"].accepted(raw)
            given.acceptor = Side(channel)
            channel.start(given.acceptor)
            came.set()

        listener = await network.listen("127.0.0.1", 0, accept)
        raw = await network.dial("127.0.0.1", listener.port)
        channel = raw if dialling is None else doors["dialler"].dialled(raw, host)
        given.dialler = Side(channel)
        before(given)
        channel.start(given.dialler)
        await came.wait()
        yield given
        nursery.cancel_scope.cancel()


@pytest.fixture(scope="module")
def ours(authority: Authority) -> Credentials:
    return credentials(authority.pem("ours.pem", "localhost", "127.0.0.1"), authority.trust)


@pytest.fixture(scope="module")
def ours_12(authority: Authority) -> Credentials:
    return credentials(authority.pem("ours.pem", "localhost"), authority.trust, protocols=(TLS12,))


@pytest.mark.parametrize("versions", ["ours", "ours_12"])
async def test_bytes_arrive_whole_and_in_order_in_both_directions(
    network: Network, versions: str, request: pytest.FixtureRequest
) -> None:
    made: Credentials = request.getfixturevalue(versions)

    def before(given: Meeting) -> None:
        given.dialler.channel.send(b"early,")  # before there is TLS at all

    async with meeting(network, made, made, before=before) as given:
        one, other = given.dialler, given.acceptor
        sent = b"".join(b"%d," % number for number in range(300_000))
        one.channel.send(sent[:1000])
        one.channel.send(sent[1000:])
        await other.wait(lambda: len(other.data) == len(sent) + 6)
        assert other.data == b"early," + sent
        other.channel.send(b"back")
        await one.wait(lambda: one.data == b"back")
        await one.wait(lambda: one.channel.backlog == 0)
        assert given.refusals == {"dialler": [], "acceptor": []}
        assert isinstance(other.channel, TlsChannel)
        assert other.channel.shown()["subjectAltName"][0] == ("DNS", "localhost")


async def test_a_paused_end_is_not_told_and_loses_nothing_that_was_decrypted_or_not(
    network: Network, ours: Credentials
) -> None:
    async with meeting(network, ours, ours) as given:
        one, other = given.dialler, given.acceptor
        whole = bytes(range(256)) * (1 << 14)  # 4 MiB: many records in a read, and records in two
        pauses = 0

        def received(data: bytes) -> None:
            nonlocal pauses
            Side.received(other, data)
            other.channel.pause()
            pauses += 1

        other.received = received  # type: ignore[method-assign]
        one.channel.send(whole)
        while len(other.data) < len(whole):
            before = len(other.data)
            await trio.sleep(0.001)
            assert len(other.data) - before <= 65536
            other.channel.resume()
        assert other.data == whole
        assert pauses >= len(whole) // 65536


async def test_finishing_delivers_the_last_bytes_and_the_end(network: Network, ours: Credentials) -> None:
    async with meeting(network, ours, ours) as given:
        one, other = given.dialler, given.acceptor
        other.channel.send(b"x" * (4 << 20))
        await one.wait(lambda: bool(one.data))
        other.channel.finish()
        await one.wait(lambda: bool(one.ends))
        assert len(one.data) == 4 << 20
        assert (one.ends, other.ends) == (["closed by the other side"], [])
        assert given.refusals == {"dialler": [], "acceptor": []}


async def test_the_end_of_a_connection_is_told_once_to_the_other_side_only(network: Network, ours: Credentials) -> None:
    async with meeting(network, ours, ours) as given:
        one, other = given.dialler, given.acceptor
        one.channel.send(b"x")
        await other.wait(lambda: other.data == b"x")
        one.channel.close()
        one.channel.close()
        one.channel.send(b"into nothing")
        await other.wait(lambda: bool(other.ends))
        await trio.sleep(0.05)
        assert (one.ends, len(other.ends)) == ([], 1)
        other.channel.send(b"into nothing")
        other.channel.finish()


# Refusals -------------------------------------------------------------------------------------------------------------


async def refused(given: Meeting) -> tuple[str, str]:
    """What both sides say of it: the one who dials, the one who accepts."""
    for side in (given.dialler, given.acceptor):
        await side.wait(lambda side=side: bool(side.ends))  # type: ignore[misc]
        assert len(side.ends) == 1
        assert side.data == b""
    dialler, acceptor = given.refusals["dialler"], given.refusals["acceptor"]
    assert len(dialler) <= 1 and len(acceptor) == 1
    return "".join(dialler), acceptor[0]


@pytest.mark.parametrize("versions", [(), (TLS12,)], ids=["1.3", "1.2"])
@pytest.mark.parametrize("kind", ["expired", "stranger"])
async def test_a_certificate_that_is_not_trusted_is_refused_in_words_on_both_sides(
    network: Network,
    authority: Authority,
    stranger: Authority,
    ours: Credentials,
    kind: str,
    versions: tuple[str, ...],
) -> None:
    key = (authority if kind == "expired" else stranger).pem("bad.pem", "localhost", expired=kind == "expired")
    more = {"protocols": versions} if versions else {}
    async with meeting(network, ours, credentials(key, authority.trust, **more)) as given:
        dialler, acceptor = await refused(given)
    if kind == "expired":
        assert acceptor == "TLS: the certificate of the other side is not accepted: certificate has expired"
        assert dialler == "TLS: the other side says that our certificate has expired"
    else:
        assert acceptor.startswith("TLS: the certificate of the other side is not accepted: ")
        assert "issuer" in acceptor or "self-signed" in acceptor
        assert dialler == "TLS: the other side does not know the authority of our certificate"


async def test_one_without_a_certificate_is_refused_in_words_on_both_sides(
    network: Network, authority: Authority, ours: Credentials
) -> None:
    bare = credentials(authority.pem("bare.pem", "localhost"), authority.trust)
    bare.dialling = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    bare.dialling.load_verify_locations(authority.trust)
    async with meeting(network, ours, bare) as given:
        assert await refused(given) == (
            "TLS: the other side wants a certificate of us",
            "TLS: the other side has shown no certificate",
        )


async def test_who_dials_another_name_than_the_certificate_has_goes_away(network: Network, ours: Credentials) -> None:
    async with meeting(network, ours, ours, host="elsewhere") as given:
        dialler, acceptor = await refused(given)
        assert "Hostname mismatch" in dialler and "elsewhere" in dialler
        assert acceptor == "TLS: the other side does not accept our certificate"


async def test_no_common_version_is_said(network: Network, authority: Authority, ours_12: Credentials) -> None:
    newer = credentials(authority.pem("newer.pem", "localhost"), authority.trust, protocols=("TLSv1.3",))
    async with meeting(network, ours_12, newer) as given:
        dialler, acceptor = await refused(given)
        assert acceptor == "TLS: no version of TLS that both sides have"
        assert dialler.startswith("TLS: the other side has none of our versions of TLS")


@pytest.mark.parametrize("said", [b"ruok", b"\0\0\0\x2c" + bytes(44), b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 70_000])
async def test_plain_text_and_garbage_end_the_connection(network: Network, ours: Credentials, said: bytes) -> None:
    async with meeting(network, ours, None) as given:
        given.dialler.channel.send(said)
        await given.dialler.wait(lambda: bool(given.dialler.ends))
        assert given.dialler.data == bytes.fromhex("15030300020246")  # an alert, for whom it may concern
        assert given.refusals["acceptor"] == ["TLS: the other side does not speak TLS"]
        assert given.acceptor.data == b"" and len(given.acceptor.ends) == 1


async def test_garbage_behind_the_first_byte_ends_the_connection(network: Network, ours: Credentials) -> None:
    async with meeting(network, ours, None) as given:
        given.dialler.channel.send(b"\x16\x03\x01" + b"\xff" * 70_000)
        await given.acceptor.wait(lambda: bool(given.acceptor.ends))
        assert len(given.refusals["acceptor"]) == 1
        assert given.refusals["acceptor"][0].startswith("TLS: ")


async def test_a_record_that_was_changed_on_the_way_ends_the_connection(network: Network, ours: Credentials) -> None:
    async with meeting(network, ours, ours) as given:
        one, other = given.dialler, given.acceptor
        one.channel.send(b"x")
        await other.wait(lambda: other.data == b"x")
        assert isinstance(one.channel, TlsChannel)
        one.channel._raw.send(b"\x17\x03\x03\x00\x20" + bytes(32))
        await other.wait(lambda: bool(other.ends))
        assert other.ends == ["TLS: a record that cannot be decrypted"] == given.refusals["acceptor"]
        assert other.data == b"x"


async def test_one_who_goes_away_in_the_handshake_is_noted_and_one_who_never_spoke_is_not(
    network: Network, ours: Credentials
) -> None:
    async with meeting(network, ours, None) as given:
        given.dialler.channel.close()
        await given.acceptor.wait(lambda: bool(given.acceptor.ends))
        assert given.refusals["acceptor"] == []


async def test_a_half_handshake_is_noted_when_it_is_given_up(network: Network, ours: Credentials) -> None:
    async with meeting(network, ours, None) as given:
        given.dialler.channel.send(b"\x16\x03\x01\x02\x00\x01")
        accepted = given.acceptor.channel
        assert isinstance(accepted, TlsChannel)
        with trio.fail_after(5):
            while not accepted._began:  # noqa: ASYNC110
                await trio.sleep(0.01)
        given.acceptor.channel.close()
        assert given.refusals["acceptor"] == ["TLS: closed before the handshake was done"]


# What a door can do besides -------------------------------------------------------------------------------------------


async def test_one_that_is_held_hears_nothing_until_it_is_let_in(network: Network, ours: Credentials) -> None:
    held: list[TlsChannel] = []

    def secured(channel: TlsChannel) -> bool:
        held.append(channel)
        return False

    async with meeting(network, ours, ours, secured=secured) as given:
        given.dialler.channel.send(b"hello")
        with trio.fail_after(5):
            while not held:  # noqa: ASYNC110
                await trio.sleep(0.01)
        given.acceptor.channel.send(b"too early")
        given.dialler.channel.send(b" you")
        await trio.sleep(0.05)
        assert given.acceptor.data == given.dialler.data == b""
        held[0].admit()
        await given.acceptor.wait(lambda: given.acceptor.data == b"hello you")
        await given.dialler.wait(lambda: given.dialler.data == b"too early")


async def test_one_that_is_held_can_be_refused(network: Network, ours: Credentials) -> None:
    def secured(channel: TlsChannel) -> bool:
        channel.refuse("TLS: not you")
        return False

    async with meeting(network, ours, ours, secured=secured) as given:
        given.dialler.channel.send(b"hello")
        await given.dialler.wait(lambda: bool(given.dialler.ends))
        assert given.refusals["acceptor"] == given.acceptor.ends == ["TLS: not you"]
        assert given.acceptor.data == b""


@pytest.mark.parametrize("plain", [True, False])
async def test_a_port_for_both_tells_them_by_the_first_byte(network: Network, ours: Credentials, plain: bool) -> None:
    async with meeting(network, ours, None if plain else ours, plain_too=True) as given:
        one, other = given.dialler, given.acceptor
        other.channel.send(b"first,")  # waits for the first byte, to know how
        one.channel.send(b"\0\0\0\x04")
        one.channel.send(b"x" * 200_000)
        await other.wait(lambda: len(other.data) == 200_004)
        other.channel.send(b"then")
        await one.wait(lambda: one.data == b"first,then")
        assert isinstance(other.channel, TlsChannel)
        assert other.channel.secure is not plain
        assert (other.channel.certificate() is None) is plain


# With a hand on both buffers ------------------------------------------------------------------------------------------


class Raw:
    """A channel without a network: what was sent to it, and whether it reads."""

    def __init__(self) -> None:
        self.remote = ("127.0.0.1", 1)
        self.backlog = 0
        self.sent = b""
        self.reads = True
        self.over = ""

    def start(self, handler: object) -> None: ...

    def send(self, data: bytes) -> None:
        self.sent += data

    def pause(self) -> None:
        self.reads = False

    def resume(self) -> None:
        self.reads = True

    def finish(self) -> None:
        self.over = "finished"

    def close(self) -> None:
        self.over = "closed"


class Wakes:
    """As a network: what a door wants to have called."""

    def __init__(self) -> None:
        self.calls: list[Callable[[], None]] = []

    def waker(self, call: Callable[[], None]) -> Callable[[], None]:
        return lambda: self.calls.append(call)

    def turn(self) -> None:
        calls, self.calls = self.calls, []
        for call in calls:
            call()


class Hand:
    """A client that is OpenSSL alone, and the channel that it talks to."""

    def __init__(
        self,
        contexts: Credentials,
        context: ssl.SSLContext,
        session: ssl.SSLSession | None = None,
        door: TlsDoor | None = None,
    ) -> None:
        self.wakes, self.raw, self.refusals = Wakes(), Raw(), list[str]()
        if door is None:
            door = TlsDoor(self.wakes, contexts, lambda channel, why: self.refusals.append(why))  # type: ignore[arg-type]
        self.channel = door.accepted(self.raw)
        self.side = Side(self.channel)
        self.channel.start(self.side)
        self._in, self.out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.client = context.wrap_bio(self._in, self.out, server_hostname="localhost", session=session)

    def shake(self) -> bool:
        """Whether the client is through."""
        for _ in range(4):
            try:
                self.client.do_handshake()
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLError:
                return False
            if self.out.pending:
                self.channel.received(self.out.read())
            self.wakes.turn()
            self.read()
        return True

    def read(self) -> None:
        self._in.write(self.raw.sent)
        self.raw.sent = b""


def client_of(
    authority: Authority, certificate: str, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3
) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=authority.trust)
    context.maximum_version = version
    context.load_cert_chain(certificate)
    return context


async def test_what_comes_in_single_bytes_is_the_same(ours: Credentials, authority: Authority) -> None:
    hand = Hand(ours, client_of(authority, authority.pem("drip.pem", "localhost")))
    for _ in range(4):
        try:
            hand.client.do_handshake()
        except ssl.SSLWantReadError:
            pass
        for byte in hand.out.read():
            hand.channel.received(bytes([byte]))
            hand.wakes.turn()
        hand.read()
    hand.client.write(b"whole")
    for byte in hand.out.read():
        hand.channel.received(bytes([byte]))
    assert hand.side.data == b"whole"
    assert hand.raw.reads


async def test_while_its_handshake_waits_for_its_turn_nothing_more_is_read(
    ours: Credentials, authority: Authority
) -> None:
    hand = Hand(ours, client_of(authority, authority.pem("waits.pem", "localhost")))
    with pytest.raises(ssl.SSLWantReadError):
        hand.client.do_handshake()
    hand.channel.received(hand.out.read())
    assert (hand.raw.reads, hand.raw.sent) == (False, b"")
    hand.wakes.turn()
    assert hand.raw.reads and hand.raw.sent


async def test_what_was_read_before_a_pause_waits_for_the_network_and_comes_not_from_within_resume(
    ours: Credentials, authority: Authority
) -> None:
    hand = Hand(ours, client_of(authority, authority.pem("pause.pem", "localhost")))
    assert hand.shake()
    hand.channel.pause()
    hand.client.write(b"later")
    hand.channel.received(hand.out.read())
    hand.channel.resume()
    assert hand.side.data == b""
    hand.wakes.turn()
    assert hand.side.data == b"later"
    assert hand.raw.reads


async def test_who_comes_back_with_old_keys_is_refused_once_its_certificate_has_ended(
    ours: Credentials, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = client_of(authority, authority.pem("back.pem", "localhost"), ssl.TLSVersion.TLSv1_2)
    first = Hand(ours, context)
    assert first.shake()
    again = Hand(ours, context, first.client.session)
    assert again.shake() and again.client.session_reused
    again.client.write(b"x")
    again.channel.received(again.out.read())
    assert again.side.data == b"x"
    monkeypatch.setattr("time.time", lambda: 1e11)  # the certificate is valid for a thousand years
    late = Hand(ours, context, first.client.session)
    late.shake()
    assert late.refusals == late.side.ends == ["TLS: the certificate of the other side has expired"]
    assert late.raw.over == "finished"


async def test_tls_13_keeps_no_keys_for_a_comeback(ours: Credentials, authority: Authority) -> None:
    hand = Hand(ours, client_of(authority, authority.pem("keys.pem", "localhost")))
    assert hand.shake()
    with pytest.raises(ssl.SSLWantReadError):
        hand.client.read(1)
    assert hand.client.session is None or not hand.client.session.has_ticket


async def test_many_handshakes_at_once_leave_others_their_turn(ours: Credentials, authority: Authority) -> None:
    """A door takes a few steps at a time: in between the network deals with what else has come."""
    wakes = Wakes()
    door = TlsDoor(wakes, ours, lambda channel, why: None)  # type: ignore[arg-type]
    context = client_of(authority, authority.pem("many.pem", "localhost"))
    hands = [Hand(ours, context, door=door) for _ in range(2 * HANDSHAKES_A_TURN + 1)]
    for hand in hands:
        with pytest.raises(ssl.SSLWantReadError):
            hand.client.do_handshake()
        hand.channel.received(hand.out.read())
    stepped = []
    for _ in range(4):
        wakes.turn()
        stepped.append(sum(bool(hand.raw.sent) for hand in hands))
    assert stepped == [HANDSHAKES_A_TURN, 2 * HANDSHAKES_A_TURN, len(hands), len(hands)]
    assert wakes.calls == []
