"""Ends a session behind its client's back, as its expiry would: what it owned is gone, and nobody told the client."""

from collections.abc import Callable

import anyio

from zabpy.client import Session
from zabpy.wire import FrameBuffer, Op, frame, packed, records as r


async def kill(hosts: str, session: Session) -> None:
    """By another connection that takes the session up and closes it. Returns once the servers have done so."""
    host, _, port = hosts.partition("/")[0].rpartition(":")
    async with await anyio.connect_tcp(host, int(port)) as stream:
        await stream.send(frame(packed(r.ConnectRequest(0, 0, 10_000, session.id, session.password, False))))
        await stream.send(frame(packed(r.RequestHeader(1, Op.CLOSE_SESSION))))
        frames, seen = FrameBuffer(1 << 20), 0
        while seen < 2:
            frames.feed(await stream.receive())
            seen += len(list(frames.frames()))


async def until(condition: Callable[[], object]) -> None:
    """Look again and again until it holds; the test's own deadline is its limit."""
    while not condition():  # noqa: ASYNC110
        await anyio.sleep(0.01)
