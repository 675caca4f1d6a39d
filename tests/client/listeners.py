"""Servers that are none, for what a client makes of them."""

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import anyio
from anyio.abc import AnyByteStream, SocketAttribute
from anyio.streams.tls import TLSListener

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
