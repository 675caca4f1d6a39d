"""How requests get onto the connection: one alone is written by who asks it, whatever the socket takes of it."""

import ssl
from collections.abc import Callable

import anyio
import pytest
import trustme
from anyio.abc import ByteStream
from anyio.streams.tls import TLSStream

import zabpy
from tests.client.conftest import Story, reconnect
from zabpy.client.connection import _own_socket

OnBoth = Callable[[Story], None]


class Stingy:
    """A socket that takes so many bytes of each write, or is full."""

    def __init__(self, takes: int, beneath: object) -> None:
        self.takes, self._beneath, self.writes = takes, beneath, 0

    def send(self, data: bytes) -> int:
        self.writes += 1
        if self.takes == 0:
            raise BlockingIOError
        return int(self._beneath.send(data[: self.takes]))  # type: ignore[attr-defined]

    def close(self) -> None:
        self._beneath.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize("takes", [0, 1, 5, 20, 1_000_000])
def test_what_the_socket_does_not_take_at_once_comes_behind_it_in_order(
    on_both: OnBoth, hosts: str, takes: int
) -> None:
    async def story() -> None:
        async with zabpy.connect(hosts) as zk:
            await zk.create("/a", b"x" * 1000)
            connection = zk._connection
            assert connection._socket is not None
            connection._socket = stingy = Stingy(takes, connection._socket)  # type: ignore[assignment]
            for i in range(5):
                await zk.set("/a", data := bytes([i]) * 5000)
                assert (await zk.get("/a")).data == data
            assert stingy.writes >= 5  # a reply may be quicker than the end of the writing before

            async with anyio.create_task_group() as tasks:
                for i in range(50):
                    tasks.start_soon(zk.create, f"/a/{i}")
            assert len(await zk.children("/a")) == 50
            await reconnect(zk)
            assert len(await zk.children("/a")) == 50

    on_both(story)


def test_who_is_cancelled_in_his_call_has_sent_all_of_it_or_nothing(on_both: OnBoth, hosts: str) -> None:
    async def story() -> None:
        async with zabpy.connect(hosts) as zk:
            await zk.create("/a")
            connection = zk._connection
            connection._socket = Stingy(7, connection._socket)  # type: ignore[assignment]
            for i in range(20):
                with anyio.move_on_after(0):
                    await zk.set("/a", bytes([i]) * 5000)
                assert len((await zk.get("/a")).data) in (0, 5000)
            assert zk.session.id and zk.state is zabpy.State.CONNECTED

    on_both(story)


def test_the_copy_of_the_socket_ends_with_the_connection(on_both: OnBoth, hosts: str) -> None:
    async def story() -> None:
        async with zabpy.connect(hosts) as zk:
            first = zk._connection._socket
            await reconnect(zk)
            second = zk._connection._socket
            assert first is not None and second is not None
            assert first.fileno() == -1 and second.fileno() >= 0
        assert second.fileno() == -1

    on_both(story)


def test_nothing_is_written_past_tls(on_both: OnBoth) -> None:
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    seen: list[ByteStream] = []

    async def story() -> None:
        async def served(stream: ByteStream) -> None:
            async with await TLSStream.wrap(stream, server_side=True, ssl_context=context, standard_compatible=False):
                await anyio.sleep_forever()

        listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        async with listener, anyio.create_task_group() as tasks:
            tasks.start_soon(listener.serve, served)
            plain = await anyio.connect_tcp("127.0.0.1", port)
            copy = _own_socket(plain)
            assert copy is not None
            copy.close()
            stream = await TLSStream.wrap(
                plain, server_side=False, hostname="localhost", ssl_context=trusting, standard_compatible=False
            )
            seen.append(stream)
            assert stream.extra(anyio.abc.SocketAttribute.raw_socket, None) is not None
            assert _own_socket(stream) is None
            await anyio.aclose_forcefully(stream)
            tasks.cancel_scope.cancel()

    on_both(story)
    assert seen
