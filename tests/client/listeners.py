"""Servers that are none, for what a client makes of them."""

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import anyio
from anyio.abc import AnyByteStream, SocketAttribute
from anyio.streams.tls import TLSListener

from zabpy.wire import FrameBuffer, frame, packed, records as r

Talk = Callable[[AnyByteStream], Awaitable[None]]


async def silence(stream: AnyByteStream) -> None:
    await anyio.sleep_forever()


async def hang_up(stream: AnyByteStream) -> None:
    """At once."""


@asynccontextmanager
async def listening(talk: Talk, context: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """``127.0.0.1:port``, where each who comes is talked to so, over TLS if there is a context, and hung up on."""

    async def handle(stream: AnyByteStream) -> None:
        try:
            async with stream:
                await talk(stream)
        except (anyio.BrokenResourceError, anyio.EndOfStream, ssl.SSLError):
            pass  # the client has gone

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = listener.extra(SocketAttribute.local_port)
    async with anyio.create_task_group() as tasks:
        if context is None:
            tasks.start_soon(listener.serve, handle)
        else:
            tasks.start_soon(TLSListener(listener, context, standard_compatible=False).serve, handle)
        yield f"127.0.0.1:{port}"
        tasks.cancel_scope.cancel()


def fake_server(
    auth: Callable[[int], int | None], connections: list[int], *, read_only: bool = False
) -> Callable[[AnyByteStream], Awaitable[None]]:
    """Speaks the protocol as far as greetings, pings and credentials go; all else is answered with success.

    Args:
        auth: number of the connection, from 1 → the answer to a credential; None: it hangs up without one.
        connections: gets the number of each that comes.
    """

    async def talk(stream: AnyByteStream) -> None:
        connections.append(number := len(connections) + 1)
        frames, greeted = FrameBuffer(1 << 20), False
        while True:
            frames.feed(await stream.receive())
            for payload in frames.frames():
                if not greeted:
                    greeted = True
                    await stream.send(frame(packed(r.ConnectResponse(0, 10_000, 7, bytes(16), read_only))))
                    continue
                xid = int.from_bytes(payload[:4], "big", signed=True)
                err: int | None = 0
                if xid == -4:
                    err = auth(number)
                if err is None:
                    return
                header = xid.to_bytes(4, "big", signed=True) + (1).to_bytes(8, "big")
                await stream.send(frame(header + err.to_bytes(4, "big", signed=True) + bytes(100)))
                if err:
                    return

    return talk
