"""Ends a session behind its client's back, as its expiry would: what it owned is gone, and nobody told the client."""

from collections.abc import Callable

import anyio

from zabpy.client import Session
from zabpy.wire import FrameBuffer, Op, Reader, frame, packed, records as r


async def kill(hosts: str, session: Session) -> None:
    """By other connections, that take the session up and close it until there is none. Returns once that is so."""
    host, _, port = hosts.partition("/")[0].rpartition(":")
    while True:
        async with await anyio.connect_tcp(host, int(port)) as stream:
            greeting = frame(packed(r.ConnectRequest(0, 0, 10_000, session.id, session.password, False)))
            await stream.send(greeting + frame(packed(r.RequestHeader(1, Op.CLOSE_SESSION))))
            frames, answers = FrameBuffer(1 << 20), list[bytes]()
            try:
                while len(answers) < 2:
                    frames.feed(await stream.receive())
                    answers += frames.frames()
            except (anyio.EndOfStream, anyio.BrokenResourceError):
                pass  # refused, or the client has taken its session back
            if answers and r.ConnectResponse.read(Reader(answers[0])).timeout_ms <= 0:
                return


async def until(condition: Callable[[], object]) -> None:
    """Look again and again until it holds; the test's own deadline is its limit."""
    while not condition():  # noqa: ASYNC110
        await anyio.sleep(0.01)
