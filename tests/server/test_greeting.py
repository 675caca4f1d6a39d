"""Servers prove to each other who they are: what a stranger may try, and what the secret may not be."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.server.servers import client_of, ensemble
from tests.server.test_peers import closed, hello
from zabpy.server import Server
from zabpy.server.greeting import Greeting, PeerLinkError
from zabpy.server.log import Log
from zabpy.server.peer_secrets import PeerSecretError, Secrets, SecretsFile, parse_secrets
from zabpy.server.peers import UNNAMED_MAX
from zabpy.testing.ensemble import PEER_PORT, MemoryEnsemble
from zabpy.wire import Challenge, Hello, PeerDecodeError, Proof, decode_greeting, encode_greeting, frame

OLD, NEW, OTHER = (b"%s secret, with enough characters in it" % name for name in (b"old", b"new", b"other"))
TEXT = "1,2,3"


def fine(hello: Hello) -> None: ...


def end(
    me: int,
    expected: int | None,
    *secrets: bytes,
    unproven: bool = False,
    nonce: Callable[[int], bytes] = os.urandom,
    text: str = TEXT,
) -> Greeting:
    known = Secrets(secrets) if secrets else None
    return Greeting(me, text, expected=expected, secrets=known, unproven=unproven, nonce=nonce, check=fine)


def payloads(data: bytes) -> list[bytes]:
    found = []
    while data:
        stop = 4 + int.from_bytes(data[:4], "big")
        found.append(data[4:stop])
        data = data[stop:]
    return found


def greet(dialler: Greeting, dialled: Greeting) -> list[tuple[bool, bytes]]:
    """Let them talk. What was said, each with whether it was the dialler's. Raises what either raises."""
    said = [(True, each) for each in payloads(dialler.begin())]
    for mine, each in said:
        said += [(not mine, answer) for answer in payloads((dialled if mine else dialler).take(each))]
    return said


def test_two_who_know_the_secret_prove_it_to_each_other() -> None:
    dialler, dialled = end(2, 1, OLD), end(1, None, OLD)
    said = greet(dialler, dialled)
    assert [type(decode_greeting(each)) for _, each in said] == [Hello, Challenge, Proof, Proof, Hello]
    assert dialler.hello is not None
    assert dialled.hello is not None
    assert (dialler.hello.sid, dialled.hello.sid) == (1, 2)
    assert dialler.proven
    assert dialled.proven


@pytest.mark.parametrize(
    ("dials", "is_dialled", "who_says", "what"),
    [
        ((OLD,), (OTHER,), "dialled", "with no secret of ours"),
        ((), (OLD,), "dialler", "wants a proof that we know the ensemble's secret: zabpy.peerSecretFile is not set"),
        ((OLD,), (), "dialler", "says it is server 1 and has no secret"),
    ],
)
def test_who_does_not_know_it_is_refused(
    dials: tuple[bytes, ...], is_dialled: tuple[bytes, ...], who_says: str, what: str
) -> None:
    dialler, dialled = end(2, 1, *dials), end(1, None, *is_dialled)
    with pytest.raises(PeerLinkError, match=what):
        greet(dialler, dialled)
    assert dialler.hello is None
    assert not dialler.proven
    assert not dialled.proven
    refused = dialled if who_says == "dialled" else dialler
    assert refused.hello is None


@pytest.mark.parametrize(("dials", "is_dialled"), [((OLD,), ()), ((), (OLD,)), ((), ())])
def test_until_all_have_a_secret_those_without_are_let_in_where_that_is_said(
    dials: tuple[bytes, ...], is_dialled: tuple[bytes, ...]
) -> None:
    dialler, dialled = end(2, 1, *dials, unproven=True), end(1, None, *is_dialled, unproven=True)
    greet(dialler, dialled)
    assert dialler.hello is not None
    assert dialled.hello is not None
    assert not dialler.proven
    wrong = end(2, 1, OTHER, unproven=True)
    with pytest.raises(PeerLinkError, match="no secret of ours"):
        greet(wrong, end(1, None, OLD, unproven=True))


@pytest.mark.parametrize(
    ("dials", "is_dialled"),
    [((OLD,), (OLD, NEW)), ((NEW, OLD), (OLD, NEW)), ((OLD, NEW), (NEW, OLD)), ((NEW,), (OLD, NEW))],
)
def test_while_a_secret_gives_way_to_another_all_know_each_other(
    dials: tuple[bytes, ...], is_dialled: tuple[bytes, ...]
) -> None:
    dialler, dialled = end(3, 1, *dials), end(1, None, *is_dialled)
    greet(dialler, dialled)
    assert dialler.proven
    assert dialled.proven


def test_what_was_said_once_proves_nothing_on_another_connection() -> None:
    """All that a dialler said, and all that one who was dialled said, once more."""
    said = greet(end(2, 1, OLD), end(1, None, OLD))
    dialled = end(1, None, OLD)
    ours = [each for mine, each in said if mine]
    dialled.take(ours[0])
    with pytest.raises(PeerLinkError, match="for another connection"):
        dialled.take(ours[1])
    dialler = end(2, 1, OLD)
    dialler.begin()
    challenge, proof, _ = [each for mine, each in said if not mine]
    dialler.take(challenge)
    with pytest.raises(PeerLinkError, match="proves nothing"):
        dialler.take(proof)


def test_our_own_words_prove_nothing_to_us() -> None:
    """One who knows no secret lets 1 prove itself and says that back: as the one who dials and as the one dialled, with
    the same nonces on both sides."""

    def same(count: int) -> bytes:
        return bytes(count)

    dialler = end(2, 1, OLD, nonce=same)
    dialler.begin()
    (proof,) = payloads(dialler.take(encode_greeting(Challenge(1, bytes(32)))))
    with pytest.raises(PeerLinkError, match="proves nothing"):
        dialler.take(proof)  # reflected
    dialled = end(2, None, OLD, nonce=same)  # and to 2 itself, as if 1 dialled it
    dialled.take(encode_greeting(Hello(1, 1, TEXT, bytes(32))))
    with pytest.raises(PeerLinkError, match="for another connection"):
        dialled.take(proof)


@pytest.mark.parametrize("change", ["sid", "ensemble", "version", "nonce"])
def test_a_proof_is_about_all_that_was_said(change: str) -> None:
    """Between an honest dialler and an honest server somebody changes one field of the Hello."""
    dialler, dialled = end(2, 1, OLD), end(1, None, OLD)
    said = decode_greeting(payloads(dialler.begin())[0])
    assert isinstance(said, Hello)
    fields: dict[str, Any] = {"sid": 3, "ensemble": "1,2", "version": 2, "nonce": bytes(32)}
    changed = replace(said, **{change: fields[change]})
    (challenge,) = payloads(dialled.take(encode_greeting(changed)))
    (proof,) = payloads(dialler.take(challenge))
    with pytest.raises(PeerLinkError, match="no secret of ours"):
        dialled.take(proof)


def test_a_challenge_of_another_server_is_not_answered() -> None:
    dialler = end(3, 1, OLD)
    dialler.begin()
    with pytest.raises(PeerLinkError, match="says it is server 2, expected 1"):
        dialler.take(encode_greeting(Challenge(2, bytes(32))))


def test_any_frames_end_in_a_declared_error_or_in_a_greeting() -> None:
    """And never in one that is proven."""
    chance = Random(7)
    real = [each for _, each in greet(end(2, 1, OLD), end(1, None, OLD))]
    for _ in range(3_000):
        greeting = end(1, None, OLD) if chance.random() < 0.5 else end(2, 1, OLD)
        if greeting._expected is not None:
            greeting.begin()
        try:
            for _ in range(5):
                data = bytearray(chance.choice(real))
                for _ in range(chance.randrange(3)):
                    data[chance.randrange(len(data))] = chance.randrange(256)
                greeting.take(bytes(data))
                if greeting.hello is not None:
                    break
        except (PeerLinkError, PeerDecodeError):
            pass
        assert not greeting.proven
        assert greeting.hello is None


# The file -------------------------------------------------------------------------------------------------------------


def test_a_file_has_a_secret_a_line() -> None:
    assert parse_secrets(b"# new\n" + NEW + b"\n\n  " + OLD + b"\r\n" + NEW, "f") == Secrets((NEW, OLD))
    assert OLD not in repr(Secrets((OLD,))).encode()


@pytest.mark.parametrize(
    ("raw", "what"),
    [
        (b"", "f: 0 secrets: expected 1 to 16"),
        (b"# nothing\n", "f: 0 secrets"),
        (OLD + b"\nshort\n", "f:2: a secret of 5 characters: expected 32 or more; openssl"),
        (b"\n".join(b"%032d" % each for each in range(17)), "f: 17 secrets"),
    ],
)
def test_a_file_that_cannot_be_is_one_line_without_the_secret(raw: bytes, what: str) -> None:
    with pytest.raises(PeerSecretError) as caught:
        parse_secrets(raw, "f")
    assert str(caught.value).startswith(what)
    assert "short" not in str(caught.value).replace("shorter", "")


@pytest.mark.parametrize(
    ("mode", "good"), [(0o600, True), (0o400, True), (0o440, True), (0o644, False), (0o660, False)]
)
def test_a_file_that_others_can_read_is_refused(tmp_path: Path, mode: int, good: bool) -> None:
    path = tmp_path / "secret"
    path.write_bytes(OLD)
    path.chmod(mode)
    file = SecretsFile(str(path), Log(_Clock()))
    if good:
        file.open_blocking()
        assert file.now == Secrets((OLD,))
    else:
        with pytest.raises(PeerSecretError, match=f"its mode is 0{mode:o}.*chmod 600"):
            file.open_blocking()


def test_what_is_no_file_is_refused_at_once(tmp_path: Path) -> None:
    """A pipe that nobody writes to would be waited for."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe, 0o600)
    for path in (pipe, tmp_path):
        with pytest.raises(PeerSecretError, match=f"^{path}: (no regular file|Is a directory): expected "):
            SecretsFile(str(path), Log(_Clock())).open_blocking()


async def test_a_changed_file_is_read_again_and_one_that_cannot_be_changes_nothing(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    path = tmp_path / "secret"
    path.write_bytes(OLD)
    path.chmod(0o600)
    lines: list[str] = []
    file = SecretsFile(str(path), Log(_Clock(), write=lines.append))
    file.open_blocking()

    async def aside(call: Callable[[], object]) -> object:
        return call()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(file.watch, aside)
        path.write_bytes(NEW + b"\n" + OLD)
        await trio.sleep(6)
        assert file.now == Secrets((NEW, OLD))
        path.write_bytes(b"too short")
        await trio.sleep(20)
        path.unlink()
        await trio.sleep(20)
        assert file.now == Secrets((NEW, OLD))
        nursery.cancel_scope.cancel()
    assert [line.split("event=")[1].split()[0] for line in lines] == ["peer_secrets"] + ["peer_secrets_kept"] * 2
    assert not any("enough characters" in line for line in lines)


class _Clock:
    def now_ms(self) -> int:
        return 0

    def wall_ms(self) -> int:
        return 0


# Whole servers --------------------------------------------------------------------------------------------------------


@pytest.fixture
def secret(tmp_path: Path) -> str:
    path = tmp_path / "secret"
    path.write_bytes(OLD)
    path.chmod(0o600)
    return str(path)


async def said_by(servers: MemoryEnsemble, data: bytes, *, to: str = "server1") -> tuple[bool, bytes]:
    """A stranger's connection to a peer port: whether it is closed within ten seconds, and what it heard."""
    stream = await servers.wires.dial("stranger", to, PEER_PORT)
    heard = b""
    with trio.move_on_after(10):
        try:
            await stream.send_all(data)
            while more := await stream.receive_some():
                heard += bytes(more)
        except trio.BrokenResourceError:
            pass
        return True, heard
    return False, heard


async def test_servers_with_a_secret_serve_and_a_stranger_does_not_get_in(
    autojump_clock: MockClock, secret: str
) -> None:
    async with ensemble(servers=3, observers=1, seed=1, fields={"peer_secret_path": secret}) as servers:
        client = await client_of(servers, 1)
        assert all("proven_by=" in line and "secret" in line for line in servers.lines if "event=linked" in line)
        before = len(servers.lines)
        links = {id: dict(server.peers.links) for id, server in servers.servers.items()}
        for data in (
            hello(2),  # without a nonce
            frame(encode_greeting(Hello(1, 2, TEXT, bytes(32)))),  # silent when asked
            frame(encode_greeting(Hello(1, 2, TEXT, bytes(32)))) + frame(encode_greeting(Proof(bytes(32)))),
            frame(encode_greeting(Proof(bytes(32)))),
            frame(encode_greeting(Challenge(1, bytes(32)))),
        ):
            data = data.replace(TEXT.encode(), servers.servers[1].peers.ensemble.encode().ljust(len(TEXT), b" "))
            over, heard = await said_by(servers, data)
            assert over
            assert all(isinstance(decode_greeting(each), Challenge) for each in payloads(heard))
        lines = servers.lines[before:]
        assert not any("event=linked" in line or "event=unlinked" in line for line in lines)
        assert sum("event=link_refused" in line for line in lines) == 5
        assert {id: dict(server.peers.links) for id, server in servers.servers.items()} == links
        assert (await client.create("/fine")).err == 0


async def test_a_running_ensemble_gets_its_secret_by_two_rounds_of_restarts(
    autojump_clock: MockClock, secret: str
) -> None:
    async with ensemble(servers=3, seed=2, fields={"peers_unproven": True}) as servers:
        for fields in ({"peer_secret_path": secret}, {"peers_unproven": False}):
            servers.limit(**fields)
            for id in (1, 2, 3):
                await servers.stop(id)
                await servers.wait_serving()  # two go on meanwhile
                await servers.start(id)
                await servers.wait_serving()
        client = await client_of(servers, 2)
        assert (await client.create("/fine")).err == 0
        assert all(
            "secret" in line for line in servers.lines[-200:] if "event=linked" in line and "nothing" not in line
        )
        last = {line.split("server=")[1][0]: line for line in servers.lines if "event=linked" in line}
        assert all("nothing" not in line for line in last.values())
        assert not any("has no secret" in line for line in servers.lines)


async def test_a_server_with_another_secret_stays_outside_and_both_sides_say_why(
    autojump_clock: MockClock, secret: str, tmp_path: Path
) -> None:
    async with ensemble(servers=3, seed=3, fields={"peer_secret_path": secret}) as servers:
        await servers.stop(3)
        other = tmp_path / "other"
        other.write_bytes(OTHER)
        other.chmod(0o600)
        servers.limit(peer_secret_path=str(other))
        before = len(servers.lines)
        server: Server = await servers.start(3)
        await trio.sleep(20)
        assert not server.serving
        refused = [line for line in servers.lines[before:] if "event=link_refused" in line]
        assert any("server=1 " in line and "no secret of ours" in line for line in refused)
        assert any("server=3 " in line and "its secrets may be others" in line for line in refused)


async def test_a_flood_of_greetings_that_never_end_keeps_no_peer_out(autojump_clock: MockClock, secret: str) -> None:
    """Three times as many as may be unnamed, again and again, from the peer's own address too; and one that drips."""
    async with ensemble(servers=3, seed=4, fields={"peer_secret_path": secret}) as servers:
        leader = servers.leader
        assert leader is not None
        assert leader > 1
        follower = 5 - leader
        client = await client_of(servers, leader)
        half = frame(encode_greeting(Hello(1, 2, TEXT, bytes(32))))

        async def flood(host: str) -> None:
            while True:
                streams = []
                for _ in range(3 * UNNAMED_MAX):
                    try:
                        stream = await servers.wires.dial(host, "server1", PEER_PORT)
                        await stream.send_all(half)
                        streams.append(stream)
                    except (OSError, trio.BrokenResourceError):
                        pass
                for stream in streams:
                    await stream.aclose()

        async def drip() -> None:
            stream = await servers.wires.dial("slow", "server1", PEER_PORT)
            began = trio.current_time()
            with pytest.raises(trio.BrokenResourceError):
                for byte in half * 10:
                    await stream.send_all(bytes([byte]))
                    await trio.sleep(0.5)
            assert trio.current_time() - began < 5

        async with trio.open_nursery() as nursery:
            nursery.start_soon(flood, "stranger")
            nursery.start_soon(flood, f"server{follower}")
            nursery.start_soon(drip)
            await trio.sleep(1)
            peers = servers.servers[1].peers
            servers.servers[follower].peers.links[1].end("to link anew, in the flood")
            servers.servers[follower].settle()
            for turn in range(20):
                assert (await client.create(f"/{turn}")).err == 0
                await trio.sleep(0.2)
                assert len(peers._unnamed) <= UNNAMED_MAX
            assert peers.links.keys() == {2, 3}
            await trio.sleep(5)
            nursery.cancel_scope.cancel()
        stream = await servers.wires.dial("stranger", "server1", PEER_PORT)
        assert await closed(stream)
