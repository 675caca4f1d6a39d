"""asyncio's connections: what comes is handed on as it comes, and they end as every stream does."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable

import anyio
import pytest
import trustme
from anyio.abc import SocketAttribute
from anyio.streams.tls import TLSStream

import zabpy
from zabpy.client.dialling import Pushing
from zabpy.client.pushing import HELD_BYTES_MAX, PushingStream, dialled

Story = Callable[[PushingStream, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def with_peer(story: Story) -> None:
    async def run() -> None:
        came: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()
        server = await asyncio.start_server(lambda *both: came.put_nowait(both), "127.0.0.1", 0)
        with anyio.fail_after(20):
            stream = await dialled("127.0.0.1", server.sockets[0].getsockname()[1])
            reader, writer = await came.get()
            await story(stream, reader, writer)
            await stream.aclose()
            writer.close()
            server.close()

    anyio.run(run, backend="asyncio")


def test_all_that_comes_is_pushed_in_order_also_what_came_before() -> None:
    async def story(stream: PushingStream, _: asyncio.StreamReader, peer: asyncio.StreamWriter) -> None:
        peer.write(b"early,")
        await asyncio.sleep(0.05)
        got = bytearray()
        async with anyio.create_task_group() as tasks:

            async def push() -> None:
                with pytest.raises(anyio.EndOfStream):
                    await stream.push(got.extend)

            tasks.start_soon(push)
            for i in range(100):
                peer.write(b"%d," % i)
                await asyncio.sleep(0)
            peer.close()
        assert got == b"early," + b"".join(b"%d," % i for i in range(100))

    with_peer(story)


def test_what_goes_wrong_with_what_comes_is_raised_where_it_is_waited_for() -> None:
    async def story(stream: PushingStream, _: asyncio.StreamReader, peer: asyncio.StreamWriter) -> None:
        def received(data: bytes) -> None:
            raise ValueError(data)

        async with anyio.create_task_group() as tasks:

            async def push() -> None:
                with pytest.raises(ValueError, match="bad"):
                    await stream.push(received)

            tasks.start_soon(push)
            await asyncio.sleep(0.05)
            peer.write(b"bad")

    with_peer(story)


def test_who_is_not_read_from_has_to_wait() -> None:
    async def story(stream: PushingStream, _: asyncio.StreamReader, peer: asyncio.StreamWriter) -> None:
        size = 40 * HELD_BYTES_MAX
        peer.write(bytes(size))
        await asyncio.sleep(0.2)
        assert HELD_BYTES_MAX <= len(stream._held) <= 3 * HELD_BYTES_MAX
        got = len(await stream.receive(1000))
        assert got == 1000
        while got < size:
            got += len(await stream.receive())
        with anyio.move_on_after(0.05):
            await stream.receive()

    with_peer(story)


def test_who_reads_and_who_writes_hear_of_the_end() -> None:
    async def story(stream: PushingStream, reader: asyncio.StreamReader, peer: asyncio.StreamWriter) -> None:
        await stream.send(b"x" * 10)
        assert await reader.readexactly(10) == b"x" * 10
        async with anyio.create_task_group() as tasks:

            async def send() -> None:
                with pytest.raises((anyio.BrokenResourceError, anyio.EndOfStream)):
                    while True:
                        await stream.send(bytes(1 << 20))  # nobody reads it, so this waits

            tasks.start_soon(send)
            await asyncio.sleep(0.1)
            peer.transport.abort()
        with pytest.raises((anyio.BrokenResourceError, anyio.EndOfStream)):
            await stream.receive()
        await stream.aclose()
        with pytest.raises((anyio.BrokenResourceError, anyio.EndOfStream)):
            await stream.send(b"more")

    with_peer(story)


def test_closing_it_ends_who_waits_for_something() -> None:
    async def story(stream: PushingStream, _: asyncio.StreamReader, peer: asyncio.StreamWriter) -> None:
        async with anyio.create_task_group() as tasks:

            async def receive() -> None:
                with pytest.raises(anyio.ClosedResourceError):
                    await stream.receive()

            tasks.start_soon(receive)
            await asyncio.sleep(0.05)
            await stream.aclose()

    with_peer(story)


def test_a_client_uses_it_under_asyncio(hosts: str) -> None:
    async def story() -> None:
        async with zabpy.connect(hosts) as zk:
            stream = zk._connection._stream
            assert isinstance(stream, Pushing)
            assert stream.extra(SocketAttribute.remote_port) == int(hosts.split("/")[0].split(":")[1])
            await zk.create("/big", big := bytes(700_000))
            assert (await zk.get("/big")).data == big

    anyio.run(story, backend="asyncio")


def test_tls_reads_from_it_what_is_more_than_one_record() -> None:
    authority = trustme.CA()
    ours, theirs = ssl.create_default_context(), ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.configure_trust(ours)
    authority.issue_cert("localhost").configure_cert(theirs)
    sent = bytes(range(256)) * 8000

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readexactly(len(sent)))
        await writer.drain()
        writer.close()

    async def run() -> None:
        server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=theirs)
        with anyio.fail_after(20):
            plain = await dialled("127.0.0.1", server.sockets[0].getsockname()[1])
            stream = await TLSStream.wrap(plain, hostname="localhost", ssl_context=ours, standard_compatible=False)
            await stream.send(sent)
            got = b""
            while len(got) < len(sent):
                got += await stream.receive()
            assert got == sent
            await anyio.aclose_forcefully(stream)
        server.close()

    anyio.run(run, backend="asyncio")
