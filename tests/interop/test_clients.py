"""One script for every client that can be told what to do: what it does, another client sees."""

import time
from collections.abc import Callable

import pytest
from kazoo.exceptions import NoAuthError

from tests.interop.ensembles import Ensemble, wait_until
from tests.interop.programs import (
    BAD_VERSION,
    CONNECTION_LOSS,
    NO_AUTH,
    NO_NODE,
    NODE_EXISTS,
    PROGRAMS,
    Program,
    Refused,
)

Start = Callable[[str, int], Program]
TIMEOUT_MS = 10_000
NO_RECIPES = {"c", "node"}
NO_AUTH_CALL = {"aiozk"}

each_client = pytest.mark.parametrize("name", PROGRAMS)


@pytest.fixture
def root(ensemble: Ensemble, request: pytest.FixtureRequest) -> str:
    path = "/" + "".join(letter if letter.isalnum() else "-" for letter in request.node.name)
    created: str = ensemble.look.create(path)
    return created


@each_client
def test_what_a_client_writes_another_one_reads(name: str, ensemble: Ensemble, clients: Start, root: str) -> None:
    client = clients(name, TIMEOUT_MS)

    # create, read, write, with and without the right version
    assert client.ask("create", f"{root}/znode", "one", "p", "open") == f"{root}/znode"
    assert client.ask("get", f"{root}/znode") == "one 0"
    assert ensemble.data(f"{root}/znode") == b"one"
    client.ask("set", f"{root}/znode", "two", "0")
    assert ensemble.data(f"{root}/znode") == b"two"
    assert refusal_of(client, "set", f"{root}/znode", "three", "0") == BAD_VERSION
    assert refusal_of(client, "create", f"{root}/znode", "one", "p", "open") == NODE_EXISTS
    assert refusal_of(client, "get", f"{root}/none") == NO_NODE

    # a watch fires for what somebody else writes
    client.ask("watch", f"{root}/znode")
    ensemble.set(f"{root}/znode", b"three")
    client.event(f"{root}/znode")

    # all or nothing
    client.ask("create", f"{root}/multi", "x", "p", "open")
    client.ask("multi", f"{root}/multi")
    assert ensemble.data(f"{root}/multi/a") == b"two"
    assert refusal_of(client, "badmulti", f"{root}/multi") == NO_NODE
    assert client.ask("children", f"{root}/multi") == "a b"
    assert ensemble.children(f"{root}/multi") == ["a", "b"]

    # sequence numbers go up
    paths = [client.ask("create", f"{root}/seq-", "x", "s", "open") for _ in range(3)]
    numbers = [int(path[-10:]) for path in paths]
    assert numbers == sorted(set(numbers)) and all(ensemble.exists(path) for path in paths)

    client.ask("delete", f"{root}/znode")
    assert not ensemble.exists(f"{root}/znode")

    # what only its creator may see
    if name not in NO_AUTH_CALL:
        client.ask("auth", "ann:secret")
        client.ask("create", f"{root}/private", "hush", "p", "creator")
        assert client.ask("get", f"{root}/private") == "hush 0"
        with pytest.raises(NoAuthError):
            ensemble.data(f"{root}/private")
        stranger = clients(name, TIMEOUT_MS)  # maybe on a server that is behind
        wait_until(lambda: refusal_of(stranger, "get", f"{root}/private") != NO_NODE, "its server has the znode", 10)
        assert refusal_of(stranger, "get", f"{root}/private") == NO_AUTH
        stranger.ask("auth", "ann:secret")
        assert stranger.ask("get", f"{root}/private") == "hush 0"
        stranger.quit()

    # an ephemeral znode goes with its session
    client.ask("create", f"{root}/here", "x", "e", "open")
    assert ensemble.owner(f"{root}/here") == int(client.ask("session"), 16)
    client.quit()
    wait_until(lambda: not ensemble.exists(f"{root}/here"), "its ephemeral znode is gone", TIMEOUT_MS / 2_000)


@each_client
def test_a_session_outlives_the_server_it_was_on(name: str, ensemble: Ensemble, clients: Start, root: str) -> None:
    client = clients(name, TIMEOUT_MS)
    session = client.ask("session")
    client.ask("create", f"{root}/here", "x", "e", "open")
    client.ask("create", f"{root}/watched", "one", "p", "open")
    client.ask("create", f"{root}/missed", "one", "p", "open")
    client.ask("watch", f"{root}/watched")
    client.ask("watch", f"{root}/missed")
    if name not in NO_AUTH_CALL:
        client.ask("auth", "ann:secret")
        client.ask("create", f"{root}/private", "hush", "p", "creator")

    ensemble.kill_server_of(client.process.pid)
    ensemble.set(f"{root}/missed", b"two")  # most likely while the client is not connected

    assert client.persist("get", f"{root}/missed") == "two 1"
    assert client.persist("session") == session
    client.event(f"{root}/missed")
    ensemble.set(f"{root}/watched", b"two")
    client.event(f"{root}/watched")
    if name not in NO_AUTH_CALL:
        assert client.persist("get", f"{root}/private") == "hush 0"  # it has said who it is again
    assert ensemble.exists(f"{root}/here")
    assert ensemble.owner(f"{root}/here") == int(session, 16)
    client.quit()
    wait_until(lambda: not ensemble.exists(f"{root}/here"), "its ephemeral znode is gone", TIMEOUT_MS / 2_000)


@each_client
def test_a_lock_has_one_holder(name: str, ensemble: Ensemble, clients: Start, root: str, situation: str) -> None:
    first, second = clients(name, TIMEOUT_MS), clients(name, 4000)
    lock = Sequential if name in NO_RECIPES else Recipe
    ours, theirs = lock(first, f"{root}/lock"), lock(second, f"{root}/lock")
    if lock is Sequential:
        ensemble.look.create(f"{root}/lock")

    ours.start()
    assert ours.wait(30)
    theirs.start()
    assert not theirs.wait(0.3)
    wait_until(lambda: len(ensemble.children(f"{root}/lock")) == 2, "both have asked for the lock")
    ours.release()
    assert theirs.wait(30)

    if situation == "three":  # a holder that dies holds it for as long as its session lasts, and no longer
        ours.start()
        started = time.monotonic()
        second.kill()
        assert not ours.wait(1)
        assert ours.wait(30)
        assert time.monotonic() - started < 8
    first.quit()


def test_curator_elects_one_leader(ensemble: Ensemble, clients: Start, root: str) -> None:
    ann, bob = clients("curator", TIMEOUT_MS), clients("curator", TIMEOUT_MS)
    ann.ask("lead", f"{root}/election", "ann")
    ann.event("ann")
    bob.ask("lead", f"{root}/election", "bob")
    assert not bob.event_within(0.5, "bob")
    ann.ask("resign")
    bob.event("bob")
    ann.quit()
    bob.quit()


def test_curators_cache_follows_through_the_death_of_a_server(ensemble: Ensemble, clients: Start, root: str) -> None:
    client = clients("curator", TIMEOUT_MS)
    ensemble.look.create(f"{root}/tree/a", b"one", makepath=True)
    client.ask("cache", f"{root}/tree")
    client.event(f"{root}/tree/a=one")
    ensemble.look.create(f"{root}/tree/a/b", b"two")
    client.event(f"{root}/tree/a/b=two")
    ensemble.kill_server_of(client.process.pid)
    ensemble.set(f"{root}/tree/a", b"three")
    client.event(f"{root}/tree/a=three")
    ensemble.look.retry(ensemble.look.create, f"{root}/tree/c", b"four")
    client.event(f"{root}/tree/c=four")
    client.quit()


def refusal_of(client: Program, *words: str) -> int:
    with pytest.raises(Refused) as refused:
        client.ask(*words)
    assert refused.value.code != CONNECTION_LOSS
    return refused.value.code


class Recipe:
    """The client's own lock."""

    def __init__(self, client: Program, path: str) -> None:
        self._client, self._path = client, path

    def start(self) -> None:
        self._client.send(f"lock {self._path}")

    def wait(self, seconds: float) -> bool:
        """Whether it is ours."""
        return self._client.reply_within(seconds, "lock") is not None

    def release(self) -> None:
        self._client.ask("unlock", self._path)


class Sequential:
    """A lock out of a client's own sequential ephemeral znodes and watches, as ZooKeeper's recipe has it."""

    def __init__(self, client: Program, path: str) -> None:
        self._client, self._path = client, path
        self._mine = ""

    def start(self) -> None:
        self._mine = self._client.ask("create", f"{self._path}/n-", "x", "es", "open").rpartition("/")[2]

    def wait(self, seconds: float) -> bool:
        """Whether it is ours."""
        deadline = time.monotonic() + seconds
        while (names := self._client.ask("children", self._path).split())[0] != self._mine:
            before = f"{self._path}/{names[names.index(self._mine) - 1]}"
            try:
                self._client.ask("watch", before)
            except Refused as refused:
                if refused.code != NO_NODE:  # it went as we looked
                    raise
            else:
                if not self._client.event_within(deadline - time.monotonic(), before):
                    return False
        return True

    def release(self) -> None:
        self._client.ask("delete", f"{self._path}/{self._mine}")
